package review

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/echonode/echonode/conformance/review/browser"
	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/sr"
)

// stress are four loops of one study: four- and two-chamber views at two stages.
func stress(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, f := range examples(t) {
		for _, n := range []string{"09", "10", "15", "16"} {
			if strings.HasSuffix(f, "I_0000"+n+".dcm") {
				out = append(out, f)
			}
		}
	}
	if len(out) != 4 {
		t.Fatalf("%d loops", len(out))
	}
	return out
}

// report is what the archive holds of a report.
type report struct {
	path, uid, predecessor, verification, preliminary string
	observer                                          *dicomio.DataSet
	ef                                                float64
	chosen                                            bool // the EF is the user's choice
	comments                                          string
}

// reports reads the archive's reports, by their UID.
func (s *site) reports() map[string]report {
	s.t.Helper()
	files, err := filepath.Glob(filepath.Join(s.archive, "*.dcm"))
	if err != nil {
		s.t.Fatal(err)
	}
	out := map[string]report{}
	for _, path := range files {
		f, err := dicomio.Open(path, dicomio.Options{})
		if err != nil {
			s.t.Fatal(err)
		}
		ds := f.DataSet
		if ds.String(tag.Modality) == "SR" {
			doc, err := sr.Parse(ds)
			if err != nil {
				s.t.Fatal(err)
			}
			r := report{path: path, uid: ds.String(tag.SOPInstanceUID), verification: doc.Verification, preliminary: doc.Preliminary, ef: math.NaN(),
				comments: strings.Join(doc.Comments(), "\n")}
			if p := ds.Item(tag.PredecessorDocumentsSequence, 0); p != nil {
				r.predecessor = p.Item(tag.ReferencedSeriesSequence, 0).Item(tag.ReferencedSOPSequence, 0).String(tag.ReferencedSOPInstanceUID)
			}
			r.observer = ds.Item(tag.VerifyingObserverSequence, 0)
			for _, m := range doc.Measurements() {
				if q, ok := sr.QuantityOf(m.Concept); ok && q == sr.EF && math.IsNaN(r.ef) {
					r.ef, r.chosen = m.Value, m.Selection.Value == "121410"
				}
			}
			out[r.uid] = r
		}
		if err := f.Close(); err != nil {
			s.t.Fatal(err)
		}
	}
	return out
}

// only is the one report that is not among those known before.
func (s *site) only(before map[string]report) report {
	s.t.Helper()
	var found []report
	for uid, r := range s.reports() {
		if _, ok := before[uid]; !ok {
			found = append(found, r)
		}
	}
	if len(found) != 1 {
		s.t.Fatalf("%d new reports", len(found))
	}
	return found[0]
}

// handle is an expression for a handle on the wall in the view at a selector,
// in CSS pixels of the window, and which way is out.
func handle(view string) string {
	return `(() => {
	const c = document.querySelector("` + view + ` canvas.drawing"), d = c.getContext("2d").getImageData(0, 0, c.width, c.height);
	const box = c.getBoundingClientRect();
	// White dots are the handles on the walls.
	for (let y = Math.floor(c.height * 0.4); y < c.height * 0.8; y++) for (let x = 0; x < c.width; x++) {
		const i = 4 * (y * c.width + x);
		if (d.data[i] > 250 && d.data[i+1] > 250 && d.data[i+2] > 250 && d.data[i+3] > 250)
			return [box.left + x * box.width / c.width + 1, box.top + y * box.height / c.height + 2, x > c.width / 2 ? 40 : -40];
	}
	return [];
})()`
}

func number(t *testing.T, text string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// A reader corrects an outline and signs; the archive gets what the page showed.
func TestCorrectAndSign(t *testing.T) {
	s := newSite(t, "")
	loops := stress(t)
	s.send(1, loops[:3]...)
	first := s.only(nil)
	if first.verification != "UNVERIFIED" || math.IsNaN(first.ef) {
		t.Fatalf("the first report: %+v", first)
	}
	second := s.open("second") // opens the study before anything is signed, and is left alone until it is
	const deaf = `window.Heard = EventSource; window.EventSource = class extends EventTarget { close() {} }`
	if _, err := browser.Call(second, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: deaf}); err != nil {
		t.Fatal(err)
	}
	eval[bool](t, second, measuredStudy+`.click(), true`)
	until(t, second, atStudy)

	b := s.open("reader")
	do(t, b, chromedp.EmulateViewport(1280, 720))
	eval[bool](t, b, measuredStudy+`.click(), true`)
	until(t, b, atStudy)
	before := eval[string](t, b, `document.querySelector("[data-ef]").dataset.ef`)

	// On the page of the loop: a point is dragged, even out of the picture, and undone.
	eval[bool](t, b, `document.querySelector("a.still").click(), true`)
	until(t, b, `document.querySelector("#screen[data-ready]") !== null`)
	until(t, b, handle(`#screen`)+`.length == 3`)
	p := eval[[]float64](t, b, handle(`#screen`))
	do(t, b, chromedp.DragAndDropXY(p[0], p[1], 2, p[1]))
	after := `document.querySelector("#correct [data-after$=EF]")`
	until(t, b, after+` !== null && `+after+`.tagName == "STRONG"`)
	if text := eval[string](t, b, `document.querySelector("#message").innerText`); text != "" {
		t.Errorf("a point dragged out of the picture: %q", text)
	}
	do(t, b, chromedp.Click(`[data-do=undo]`))
	until(t, b, `document.querySelector("#correct .changes").childElementCount == 0`)
	p = eval[[]float64](t, b, handle(`#screen`))
	do(t, b, chromedp.DragAndDropXY(p[0], p[1], p[0]+p[2], p[1]))
	until(t, b, after+` !== null && `+after+`.tagName == "STRONG"`)
	if v := eval[string](t, b, after+`.textContent`); number(t, v) <= number(t, before) {
		t.Errorf("EF %s before and %s after ED was made larger", before, v)
	}
	do(t, b, chromedp.Click(`[data-do=discard]`))
	// A caliper is kept with its frame until it is signed.
	do(t, b, chromedp.KeyEvent("m"), chromedp.MouseClickXY(300, 200), chromedp.MouseClickXY(380, 260), chromedp.KeyEvent("m"))

	// ED and ES corrected and signed, from the worklist: 1 the study, 2 a point
	// on the still of ED, 3 one on that of ES, 4 Sign…, 5 Sign.
	do(t, b, chromedp.Navigate(s.page+"/"))
	until(t, b, measuredStudy+` !== null`)
	eval[bool](t, b, measuredStudy+`.click(), true`) // 1
	until(t, b, atStudy)
	pending := `[...document.querySelectorAll("[data-pending]")].find((e) => e.offsetParent)`
	after = pending + `?.querySelector("[data-after$=EF]")`
	var shown, last string
	for i, phase := range []string{"ED", "ES"} { // 2 and 3
		still := `.still[data-phase=` + phase + `]`
		box := eval[[]float64](t, b, `(() => { const r = document.querySelector("`+still+
			`").getBoundingClientRect(); return [r.left, r.top, r.width, r.height]; })()`)
		do(t, b, chromedp.MouseEvent(input.DispatchMouseEventTypeMouseMoved, box[0]+box[2]/2, box[1]+5)) // the handles show under the mouse
		until(t, b, handle(still)+`.length == 3`)
		p = eval[[]float64](t, b, handle(still))
		do(t, b, chromedp.DragAndDropXY(p[0], p[1], p[0]+p[2]/float64(2+2*i), p[1]))
		until(t, b, fmt.Sprintf(`%s?.tagName == "STRONG" && %s.textContent != %q`, after, after, last))
		last = eval[string](t, b, after+`.textContent`)
	}
	shown = last
	if at := eval[string](t, b, `document.body.dataset.page`); at != "study" {
		t.Errorf("after a drag on a still the page is %s", at)
	}

	eval[bool](t, b, `[...document.querySelectorAll("[data-open-sign]")].find((e) => e.offsetParent).click(), true`) // 4
	do(t, b, chromedp.WaitVisible(`#sign[open]`))
	if dialog := eval[string](t, b, `document.querySelector("#sign [data-after$=EF]").textContent`); dialog != shown {
		t.Errorf("the dialog says EF %s, the page %s", dialog, shown)
	}
	do(t, b, chromedp.SendKeys(`#sign textarea`, "septal wall <b>redrawn</b>"))
	eval[bool](t, b, `document.querySelector("#sign [data-sign='']").click(), true`) // 5
	until(t, b, `document.querySelector(".notice.signed") !== null`)
	if ef := eval[string](t, b, `document.querySelector("[data-ef]").dataset.ef`); ef != shown {
		t.Errorf("after signing the study says EF %s, not %s", ef, shown)
	}
	text := eval[string](t, b, `document.querySelector(".notice.signed").textContent`)
	if !strings.Contains(text, "corrected by Müller, Dr. Anna, City Hospital") ||
		!strings.Contains(text, "septal wall <b>redrawn</b>") || !strings.Contains(text, before) {
		t.Errorf("the study says %q", text)
	}
	s.settled(1)
	signed := s.only(map[string]report{first.uid: first})
	if signed.verification != "VERIFIED" || signed.preliminary != "FINAL" || signed.predecessor != first.uid || !signed.chosen {
		t.Errorf("the signed report: %+v", signed)
	}
	if signed.ef != number(t, shown) {
		t.Errorf("the archive has EF %g, the page showed %s", signed.ef, shown)
	}
	if o := signed.observer; o == nil || o.String(tag.VerifyingObserverName) != "Müller^Anna^^Dr." || o.String(tag.VerifyingOrganization) != "City Hospital" ||
		o.String(tag.VerificationDateTime) == "" {
		t.Errorf("verifying observer %v", o)
	}
	if !strings.Contains(signed.comments, "Reader: septal wall <b>redrawn</b>") || !strings.Contains(signed.comments, "EF "+before) {
		t.Errorf("comments of the report:\n%s", signed.comments)
	}
	judge(t, signed.path)
	quiet(t, b)

	// The second reader's page is from before: he is told, and nothing happens.
	// A click, since keys go to the page in front.
	eval[bool](t, second, `document.querySelector("[data-open-sign]").click(), true`)
	outdated := `document.querySelector("#message").innerText.includes("has changed since you opened it")`
	until(t, second, outdated)
	if eval[bool](t, second, `document.querySelector("#sign").open`) {
		t.Error("the second reader may sign an old page")
	}
	// It hears of the signature when it listens again, which takes nothing from the answer.
	until(t, second, `document.querySelector("#changed").hidden`)
	eval[bool](t, second, `EventSource = Heard, dispatchEvent(new Event("pagehide")), dispatchEvent(new Event("pageshow"))`)
	until(t, second, `!document.querySelector("#changed").hidden`)
	if !eval[bool](t, second, outdated) {
		t.Error("what happened to the study took the place of the answer to the click")
	}
	// Nor can his browser do so without asking.
	status := evalAsync[int](t, second,
		`(async () => (await fetch(location.pathname + "/sign", {method: "POST", headers: {"X-CSRF-Token": document.querySelector("meta[name=csrf]").content},
		body: JSON.stringify({base: 1, run: JSON.parse(document.querySelector("#data").textContent).run, corrections: {loops: {}}})})).status)()`)
	if status != http.StatusConflict {
		t.Errorf("signing an old revision: %d", status)
	}
	if n := len(s.reports()); n != 2 {
		t.Errorf("%d reports in the archive", n)
	}

	tabs(t, s, b)

	// A viewer sees it and may not sign.
	viewer := s.open("viewer")
	eval[bool](t, viewer, measuredStudy+`.click(), true`)
	until(t, viewer, atStudy)
	if eval[bool](t, viewer, `document.querySelector("#sign, [data-open-sign]") !== null`) {
		t.Error("a viewer is offered to sign")
	}
	status = evalAsync[int](t, viewer,
		`(async () => (await fetch(location.pathname + "/sign", {method: "POST", headers: {"X-CSRF-Token": document.querySelector("meta[name=csrf]").content},
		body: JSON.stringify({base: 2, run: JSON.parse(document.querySelector("#data").textContent).run, corrections: {loops: {}}})})).status)()`)
	if status != http.StatusForbidden {
		t.Errorf("a viewer signs: %d", status)
	}

	// Rejecting withdraws.
	eval[bool](t, second, `location.reload(), true`)
	until(t, second, `document.readyState == "complete" && document.querySelector(".notice.signed") !== null`)
	eval[bool](t, second, `document.querySelector("[data-open-sign]").click(), true`)
	until(t, second, `document.querySelector("#sign").open`)
	eval[bool](t, second, `document.querySelector("#sign [data-sign=rejected]").click(), true`)
	until(t, second, `document.querySelector(".notice.signed")?.innerText.includes("rejected by Roe, Richard")`)
	s.settled(1)
	withdrawn := s.only(map[string]report{first.uid: first, signed.uid: signed})
	if withdrawn.verification != "VERIFIED" || withdrawn.predecessor != signed.uid || !math.IsNaN(withdrawn.ef) ||
		!strings.Contains(withdrawn.comments, "rejected by the reader") {
		t.Errorf("the withdrawing report: %+v", withdrawn)
	}
	judge(t, withdrawn.path)

	// A loop that comes late begins with the network's values; what the reader
	// had corrected is offered, and gives the same value again. Nobody calls the
	// stages apart: they stand side by side, in step.
	s.send(1, loops[3])
	do(t, b, chromedp.Reload())
	until(t, b, `document.querySelector("#earlier:not([hidden])")?.innerText.includes("Müller, Dr. Anna") === true`)
	eval[bool](t, b, `document.querySelector("#earlier button").click(), true`)
	until(t, b, after+`?.textContent == "`+shown+`"`)
	do(t, b, chromedp.KeyEvent("q"))
	until(t, b,
		`document.querySelectorAll("#quad:not([hidden]) .quadcell canvas.picture").length == 4 && Number(document.querySelector("#quad").dataset.phase) > 0.1`)
	quiet(t, b)
}

// tabs opens more pages than a browser has connections to a server of HTTP/1.1:
// all are answered. Without a screen all tabs are taken for visible, so they are
// told that another is in front of them.
func tabs(t *testing.T, s *site, b *browser.Browser) {
	t.Helper()
	behind := func(b *browser.Browser) {
		t.Helper()
		eval[bool](t, b, `Object.defineProperty(document, "hidden", {value: true}), document.dispatchEvent(new Event("visibilitychange"))`)
	}
	study := s.page + "/study/" + s.studies()[0].UID
	behind(b)
	for range 7 {
		tab := b.Tab()
		t.Cleanup(tab.Close)
		do(t, tab, chromedp.Navigate(study))
		until(t, tab, atStudy)
		eval[bool](t, tab, `document.querySelector("[data-open-sign]").click(), true`)
		until(t, tab, `document.querySelector("#sign").open`)
		quiet(t, tab)
		behind(tab)
	}
}

// judge has dicom3tools check a report, where it is installed.
func judge(t *testing.T, path string) {
	t.Helper()
	if _, err := exec.LookPath("dciodvfy"); err != nil {
		missing(t, "dciodvfy")
	}
	out, _ := exec.Command("dciodvfy", "-new", path).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "Error") {
			t.Errorf("dciodvfy: %s", line)
		}
	}
}

// A node that is killed in the middle of signing has signed once or not at all,
// and what it signed is delivered.
func TestKilledWhileSigning(t *testing.T) {
	s := newSite(t, "")
	s.send(1, stress(t)[:2]...)
	uid := s.studies()[0].UID
	known := s.reports()
	for round := range 5 {
		before := s.studies()[0].Revision
		b := s.open("reader")
		do(t, b, chromedp.Navigate(s.page+"/study/"+uid))
		eval[bool](t, b,
			fmt.Sprintf(`fetch(location.pathname + "/recalculate", {method: "POST", headers: {"X-CSRF-Token": document.querySelector("meta[name=csrf]").content},
			body: JSON.stringify({base: %d, run: JSON.parse(document.querySelector("#data").textContent).run, corrections: {loops: {}}})})
			.then((r) => r.json()).then((c) => {
				const shown = {}; for (const s of c.stages) for (const r of s.rows) shown[r.key] = r.after;
				window.asked = true;
				return fetch(location.pathname + "/sign", {method: "POST", headers: {"X-CSRF-Token": document.querySelector("meta[name=csrf]").content},
				body: JSON.stringify({base: %d, run: JSON.parse(document.querySelector("#data").textContent).run, corrections: {loops: {}}, shown})}); }), true`, before, before))
		until(t, b, `window.asked === true`)
		time.Sleep(time.Duration(5*round*round+rand.IntN(5)) * time.Millisecond)
		s.kill()
		s.startNode()
		s.settled(1)
		now := s.studies()[0]
		switch now.Revision {
		case before: // not signed: nothing new may be there
			if n := len(s.reports()); n != len(known) {
				t.Fatalf("round %d: not signed, and %d reports instead of %d", round, n, len(known))
			}
		case before + 1:
			r := s.only(known)
			if r.verification != "VERIFIED" {
				t.Fatalf("round %d: %+v", round, r)
			}
			known[r.uid] = r
		default:
			t.Fatalf("round %d: revision %d after %d", round, now.Revision, before)
		}
		t.Logf("round %d: revision %d, then %d", round, before, now.Revision)
		b.Close()
	}
	if _, err := os.Stat(filepath.Join(s.dir, "data")); err != nil {
		t.Fatal(err)
	}
}
