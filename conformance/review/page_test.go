package review

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/echonode/echonode/conformance/review/browser"
)

// quiet fails the test if a page complained about a script or about blocked
// content.
func quiet(t *testing.T, b *browser.Browser) {
	t.Helper()
	for _, p := range b.Problems() {
		t.Errorf("the page reports: %s", p)
	}
}

// do performs steps that must succeed.
func do(t *testing.T, b *browser.Browser, steps ...browser.Step) {
	t.Helper()
	if err := b.Do(steps...); err != nil {
		t.Fatal(err)
	}
}

func eval[T any](t *testing.T, b *browser.Browser, expression string) T {
	t.Helper()
	v, err := browser.Eval[T](b, expression)
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// evalAsync evaluates an expression that is a promise.
func evalAsync[T any](t *testing.T, b *browser.Browser, expression string) T {
	t.Helper()
	v, err := browser.Get(b, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// patience is for what must come true, on however slow a machine.
const patience = 3 * time.Minute

// until waits for an expression to become true.
func until(t *testing.T, b *browser.Browser, expression string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		v, err := browser.Eval[bool](b, expression)
		if err == nil && v {
			return
		}
		if time.Now().After(deadline) {
			text, _ := browser.Eval[string](b, `document.body.innerText`)
			t.Fatalf("%s does not become true (%v)\n%s", expression, err, text)
		}
	}
}

// atStudy says that the page of a study is there, and its script has run.
const atStudy = `document.body.dataset.page == "study" && document.readyState == "complete"`

// measuredStudy is the first study of the worklist that has an ejection
// fraction.
const measuredStudy = `document.querySelector("#rows .ef").closest("tr").querySelector("a")`

// A reader looks at the demo's studies: worklist, search, study, loop, player.
func TestLook(t *testing.T) {
	pacs := portal(t)
	s := newSite(t, fmt.Sprintf("  embed_in: [%q]\n", pacs))
	b := s.open("viewer")
	// The open worklist shows what arrives, without being asked again.
	s.send(3, examples(t)...)
	until(t, b, `document.querySelectorAll("#rows tbody tr[data-study]").length == 3`)
	until(t, b, `[...document.querySelectorAll("#rows tbody td:nth-child(5)")].every((td) => td.textContent == "done")`)

	contrast(t, b, "worklist")

	do(t, b, chromedp.SendKeys(`[name=search]`, "stress"))
	until(t, b, `document.querySelectorAll("#rows tbody tr").length == 1`)
	if at := eval[string](t, b, `location.href`); strings.Contains(strings.ToLower(at), "stress") {
		t.Errorf("the search is in the address %s", at)
	}
	do(t, b, chromedp.KeyEvent("\x1b"), chromedp.Evaluate[chromedp.Void](`document.querySelector("#filter [type=reset]").click()`))
	until(t, b, `document.querySelectorAll("#rows tbody tr[data-study]").length == 3`)

	filters(t, b)

	// What the page says is what the node measured.
	var want string
	for _, st := range s.studies() {
		for _, m := range st.Runs[0].Summary.Measurements {
			if m.Name == "EF" && m.Value != nil && want == "" {
				want = fmt.Sprintf("%.0f", *m.Value)
			}
		}
	}
	if want == "" {
		t.Fatal("no study has an ejection fraction")
	}
	eval[bool](t, b, measuredStudy+`.click(), true`)
	until(t, b, atStudy)
	if got := eval[string](t, b, `document.querySelector("[data-ef]").dataset.ef`); got != want {
		t.Errorf("the page says EF %s, the node measured %s", got, want)
	}
	// Stills are drawn: their canvases are not black.
	until(t, b, `[...document.querySelectorAll("[data-stage]:not([hidden]) .still canvas.picture")].every((c) => {
		const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
		for (let i = 0; i < d.length; i += 4) if (d[i] > 60) return true;
		return false;
	})`)
	// With contours: green on the drawing.
	green := `((c) => { const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
		let n = 0; for (let i = 0; i < d.length; i += 4) if (d[i+1] > 180 && d[i] < 120 && d[i+3] > 128) n++; return n; })`
	if n := eval[int](t, b, green+`(document.querySelector(".still canvas.drawing"))`); n < 100 {
		t.Errorf("%d green points on the still", n)
	}

	contrast(t, b, "study")

	// To the loop by its number key, and through the player's keys.
	do(t, b, chromedp.KeyEvent("1"), chromedp.WaitVisible(`#screen[data-ready]`))
	position := func() string { return eval[string](t, b, `document.querySelector("#position").textContent`) }
	if p := position(); !strings.HasPrefix(p, "1/") || !strings.Contains(p, "ED") {
		t.Errorf("the loop opens at %q", p)
	}
	do(t, b, chromedp.KeyEvent("e"))
	if p := position(); !strings.Contains(p, "ES") {
		t.Errorf("E leads to %q", p)
	}
	do(t, b, chromedp.KeyEvent("d"), chromedp.KeyEvent("\u0303")) // arrow right
	if p := position(); !strings.HasPrefix(p, "2/") {
		t.Errorf("one frame on from ED: %q", p)
	}
	// Playing goes through the frames at the loop's speed.
	until(t, b, `document.querySelector("#position") !== null`)
	do(t, b, chromedp.KeyEvent(" "))
	before := position()
	until(t, b, fmt.Sprintf(`document.querySelector("#position").textContent != %q`, before))
	do(t, b, chromedp.KeyEvent(" "))
	// Without any drawing nothing green is left.
	do(t, b, chromedp.KeyEvent("d"), chromedp.KeyEvent("o"))
	until(t, b, green+`(document.querySelector("#screen canvas.drawing")) == 0`)
	do(t, b, chromedp.KeyEvent("c"))
	until(t, b, green+`(document.querySelector("#screen canvas.drawing")) > 100`)
	contrast(t, b, "loop")
	// The loop says whose it is, and goes back.
	do(t, b, chromedp.KeyEvent("\x1b"))
	until(t, b, atStudy)
	quiet(t, b)
	s.links(eval[string](t, b, `location.href`), pacs)

	// The pages of administrators.
	admin := s.open("")
	do(t, admin, chromedp.Navigate(s.page+"/login"))
	contrast(t, admin, "sign-in")
	if err := admin.SignIn(s.page, "admin", password); err != nil {
		t.Fatal(err)
	}
	for _, page := range []string{"operations", "audit"} {
		do(t, admin, chromedp.Navigate(s.page+"/"+page))
		until(t, admin, `document.querySelector("main table") !== null`)
		contrast(t, admin, page)
	}
	quiet(t, admin)
}

// filters clicks every filter of a worklist of three studies: what is left is what
// shows that state, that mark, or that day.
func filters(t *testing.T, b *browser.Browser) {
	t.Helper()
	const rows = `document.querySelectorAll("#rows tbody tr[data-study]").length`
	reset := func() {
		t.Helper()
		do(t, b, chromedp.Evaluate[chromedp.Void](`document.querySelector("#filter [type=reset]").click()`))
		until(t, b, `!history.state.state && !history.state.flag && !history.state.from && !history.state.to && !history.state.unreviewed && `+rows+` == 3`)
	}
	choose := func(name, value, left string) {
		t.Helper()
		for deadline := time.Now().Add(patience); ; {
			want := eval[int](t, b, left)
			do(t, b, chromedp.Evaluate[chromedp.Void](fmt.Sprintf(
				`((s) => { s.value = %q; s.dispatchEvent(new Event("input", {bubbles: true})); })(document.querySelector("#filter [name=%s]"))`,
				value, name)))
			until(t, b, fmt.Sprintf(`history.state.%s == %q`, name, value)) // the state of the rows shown
			got := eval[int](t, b, rows)
			reset()
			if got == want {
				return
			}
			// What the rows show may have changed between.
			if time.Now().After(deadline) {
				t.Fatalf("%s %s: %d studies, %d of all show it", name, value, got, want)
			}
		}
	}
	for _, name := range []string{"state", "flag"} {
		options := fmt.Sprintf(`[...document.querySelectorAll("#filter [name=%s] option")].map((o) => o.value).filter((v) => v)`, name)
		for _, value := range eval[[]string](t, b, options) {
			shows := fmt.Sprintf(`document.querySelectorAll("#rows tbody .mark.%s").length`, value)
			if name == "state" {
				shows = fmt.Sprintf(`((word) => [...document.querySelectorAll("#rows tbody td:nth-child(5)")].filter((td) => td.textContent == word).length)(
					document.querySelector("#filter [name=state] option[value=%s]").textContent)`, value)
			}
			choose(name, value, shows)
		}
	}
	choose("from", "2999-01-01", "0")
	choose("to", "1.1.1900", "0")
	choose("from", "1900-01-01", "3")
	do(t, b, chromedp.Click(`#filter [name=unreviewed]`))
	until(t, b, `history.state.unreviewed && `+rows+` == 3`) // nobody has signed yet
	reset()
	names := func() []string {
		return eval[[]string](t, b, `[...document.querySelectorAll("#rows tbody tr[data-study] a")].map((a) => a.textContent)`)
	}
	const order, way = `document.querySelector("[data-order=name]").click()`, `document.querySelector("[data-order=name]").dataset.on`
	before := "undefined"
	for range 2 {
		do(t, b, chromedp.Evaluate[chromedp.Void](order))
		until(t, b, fmt.Sprintf(`String(%s) != %q`, way, before))
		before = eval[string](t, b, way)
		got := names()
		want := slices.Sorted(slices.Values(got))
		if before == "down" {
			slices.Reverse(want)
		}
		if !slices.Equal(got, want) {
			t.Errorf("by name, %s: %q", before, got)
		}
	}
}
