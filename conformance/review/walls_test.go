package review

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/sr"
)

// wallHandle is an expression for the lowest of the four wall points, in CSS
// pixels of the window: dots in the colour of points, below the name of the phase.
const wallHandle = `(() => {
	const c = document.querySelector("#screen canvas.drawing"), d = c.getContext("2d").getImageData(0, 0, c.width, c.height);
	const box = c.getBoundingClientRect();
	for (let y = c.height - 1; y > 60; y--) for (let x = 0; x < c.width; x++) {
		const i = 4 * (y * c.width + x);
		if (Math.abs(d.data[i] - 255) < 3 && Math.abs(d.data[i+1] - 224) < 3 && Math.abs(d.data[i+2] - 102) < 3 && d.data[i+3] > 250)
			return [box.left + x * box.width / c.width + 1, box.top + y * box.height / c.height - 3];
	}
	return [];
})()`

// A reader says where ED and ES of a parasternal loop are, whose points the
// network is not trusted in, drags a point in both, and signs: the archive gets
// the diameters that the page showed.
func TestWallPoints(t *testing.T) {
	s := newSite(t, "")
	loop := slices.DeleteFunc(examples(t), func(f string) bool { return !strings.HasSuffix(f, "I_000007.dcm") })
	if len(loop) != 1 {
		t.Fatalf("%d loops", len(loop))
	}
	s.send(1, loop...)
	first := s.only(nil)
	b := s.open("reader")
	do(t, b, chromedp.EmulateViewport(1280, 720))
	eval[bool](t, b, `document.querySelector("#rows tr[data-study] a").click(), true`)
	until(t, b, atStudy)
	eval[bool](t, b, `document.querySelector(".loopcard a").click(), true`)
	until(t, b, `document.querySelector("#screen[data-ready]") !== null`)
	after := func(name string) string { return `document.querySelector("#correct [data-after$=` + name + `]")` }
	for _, phase := range []string{"ed", "es"} {
		do(t, b, chromedp.Click(`[data-do=sethere-`+phase+`]`))
		until(t, b, wallHandle+`.length == 2`)
		p := eval[[]float64](t, b, wallHandle)
		do(t, b, chromedp.DragAndDropXY(p[0], p[1], p[0]+2, p[1]+12))
		until(t, b, `document.querySelector("[data-do=undo]").disabled == false`)
		if phase == "ed" {
			eval[bool](t, b, `(() => { const s = document.querySelector("#scrub"); s.value = "4"; s.dispatchEvent(new Event("input")); return true; })()`)
		}
	}
	until(t, b, after("LVIDd")+`?.tagName == "STRONG"`)
	shown := map[sr.Quantity]float64{}
	for name, q := range map[string]sr.Quantity{"IVSd": sr.IVSd, "LVIDd": sr.LVIDd, "LVPWd": sr.LVPWd, "LVIDs": sr.LVIDs} {
		shown[q] = number(t, eval[string](t, b, after(name)+`.textContent`))
	}
	// Without the points of ES there is no beat to measure.
	do(t, b, chromedp.Click(`[data-do=undo]`))
	until(t, b, after("LVIDd")+` === null`)
	p := eval[[]float64](t, b, wallHandle)
	do(t, b, chromedp.DragAndDropXY(p[0], p[1], p[0]+2, p[1]+12))
	until(t, b, after("LVIDd")+`?.tagName == "STRONG"`)

	do(t, b, chromedp.KeyEvent("\r"), chromedp.WaitVisible(`#sign[open]`))
	eval[bool](t, b, `document.querySelector("#sign [data-sign='']").click(), true`)
	until(t, b, `document.querySelector(".notice.signed") !== null`)
	s.settled(1)
	signed := s.only(map[string]report{first.uid: first})
	if signed.verification != "VERIFIED" || signed.predecessor != first.uid {
		t.Errorf("the signed report: %+v", signed)
	}
	f, err := dicomio.Open(signed.path, dicomio.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() // read only
	doc, err := sr.Parse(f.DataSet)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range doc.Measurements() {
		q, ok := sr.QuantityOf(m.Concept)
		want, compared := shown[q]
		if !ok || !compared {
			continue
		}
		delete(shown, q)
		if math.Abs(m.Value-want) > 1e-9 || m.Selection.Value != "121410" {
			t.Errorf("%v is %g in the report (%+v), %g on the page", q, m.Value, m.Selection, want)
		}
	}
	if len(shown) > 0 {
		t.Errorf("the report has nothing of %v", shown)
	}
	judge(t, signed.path)
	quiet(t, b)
}
