// Command reader goes from the worklist of a running node to a signature as a
// reader would, with the mouse, and says how many clicks and drags that takes,
// how long the machine takes for each, and how long a person's hand would:
//
//	go run ./reader -url http://127.0.0.1:8105 -user NAME -password PASSWORD [-repeat 5]
//
// It signs the first study with an ejection fraction twice a round, as it is and
// with a point of the outline dragged at ED and at ES: use it on a node for
// trying, such as that of `make demo WEB=1`.
//
// The machine's part is from letting go of the mouse's button to the moment at which the
// page shows what comes of it, medians of the rounds. The hand's part is an
// estimate by the keystroke-level model (Card, Moran, Newell: Communications of
// the ACM 1980; 23: 396-410): 1.35 s to make up one's mind before each action
// (M), 1.1 s to point (P), and 0.1 s to press or release a button (B; Kieras 2001).
// It says nothing of the time for which a reader looks at the heart.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"github.com/echonode/echonode/conformance/review/browser"
)

// Times of the keystroke-level model, seconds.
const (
	mental = 1.35
	point  = 1.1
	button = 0.1
	click  = mental + point + 2*button
	drag   = mental + 2*(point+button)
)

func main() {
	url := flag.String("url", "http://127.0.0.1:8105", "address of the page")
	user := flag.String("user", "", "account of a reader")
	password := flag.String("password", "", "its password")
	repeat := flag.Int("repeat", 5, "rounds; medians count")
	flag.Parse()
	if err := run(*url, *user, *password, *repeat); err != nil {
		fmt.Fprintln(os.Stderr, "reader:", err)
		os.Exit(1)
	}
}

// step is one action of the hand.
type step struct {
	what string
	hand float64               // seconds
	act  func(r *reader) error // what the mouse does
	done string                // an expression that is true when the page shows what comes of it
	took []time.Duration       // of the machine, by round
}

type reader struct {
	*browser.Browser
	released time.Time // the button of the mouse, last
}

const (
	listed = `document.querySelector("#rows .ef") !== null`
	// The pictures of the stage that is shown are there, and so is what is drawn on them.
	drawn = `document.body.dataset.page == "study" && [...document.querySelectorAll("[data-stage]:not([hidden]) .still canvas")].length > 0 &&
		[...document.querySelectorAll("[data-stage]:not([hidden]) .still canvas")].every((c) => {
			const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
			for (let i = 0; i < d.length; i += 4) if (d[i + 1] > 60) return true;
			return false;
		})`
	measured = `[...document.querySelectorAll("[data-pending]")].some((e) => e.offsetParent &&
	e.querySelector(".changes").dataset.seen != e.querySelector(".changes").innerText)`
	asked  = `document.querySelector("#sign").open && document.querySelector("#sign [data-after$=EF]") !== null`
	signed = `document.body.dataset.page == "study" && document.querySelector(".notice.signed") !== null && window.before !== true && ` + drawn
)

func run(url, user, password string, repeat int) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	b, err := browser.Open(ctx)
	if err != nil {
		return err
	}
	defer b.Close()
	if err := b.Do(chromedp.EmulateViewport(1280, 720)); err != nil {
		return err
	}
	if err := b.SignIn(url, user, password); err != nil {
		return err
	}
	r := &reader{Browser: b}
	open := step{what: "click on the study in the worklist", hand: click, done: drawn,
		act: func(r *reader) error {
			return r.click(`document.querySelector("#rows .ef").closest("tr").querySelector("a")`)
		}}
	ask := step{what: "click on Sign…", hand: click, done: asked,
		act: func(r *reader) error {
			return r.click(`[...document.querySelectorAll("[data-open-sign]")].find((e) => e.offsetParent)`)
		}}
	sign := step{what: "click on Sign", hand: click, done: signed, act: func(r *reader) error {
		if _, err := browser.Eval[bool](r.Browser, `window.before = true`); err != nil {
			return err
		}
		return r.click(`document.querySelector("#sign [data-sign='']")`)
	}}
	correct := func(phase string) step {
		return step{what: "drag of a point of the outline at " + phase, hand: drag, done: measured, act: func(r *reader) error { return r.drag(phase) }}
	}
	for _, way := range []struct {
		name  string
		steps []step
	}{
		{"as it is", []step{open, ask, sign}},
		{"corrected at ED and ES", []step{open, correct("ED"), correct("ES"), ask, sign}},
	} {
		for range repeat {
			if err := r.Do(chromedp.Navigate(url + "/")); err != nil {
				return err
			}
			if err := r.until(listed); err != nil {
				return err
			}
			for i := range way.steps {
				s := &way.steps[i]
				if err := s.act(r); err != nil {
					return fmt.Errorf("%s: %w", s.what, err)
				}
				if err := r.until(s.done); err != nil {
					return fmt.Errorf("%s: %w", s.what, err)
				}
				s.took = append(s.took, time.Since(r.released))
			}
		}
		fmt.Printf("| %s | hand, estimated | machine, median |\n|---|---|---|\n", way.name)
		var hand, machine float64
		for _, s := range way.steps {
			slices.Sort(s.took)
			took := s.took[len(s.took)/2].Seconds()
			hand, machine = hand+s.hand, machine+took
			fmt.Printf("| %s | %.1f s | %.2f s |\n", s.what, s.hand, took)
		}
		fmt.Printf("| %d actions | %.1f s | %.1f s |\n\n", len(way.steps), hand, machine)
	}
	for _, p := range b.Problems() {
		return errors.New("the page reports: " + p)
	}
	return nil
}

// until waits for an expression to become true.
func (r *reader) until(expression string) error {
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		ok, err := browser.Eval[bool](r.Browser, expression)
		if err == nil && ok {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s does not become true: %w", expression, errors.Join(err, context.DeadlineExceeded))
		}
	}
}

// click presses and releases the button in the middle of an element.
func (r *reader) click(element string) error {
	at, err := browser.Eval[[]float64](r.Browser, `(() => { const e = `+element+`; e.scrollIntoView({block: "nearest"});
		const b = e.getBoundingClientRect(); return [b.left + b.width / 2, b.top + b.height / 2]; })()`)
	if err != nil {
		return err
	}
	return r.mouse(at[0], at[1])
}

// mouse presses the button at a place, moves along the row and lets go.
func (r *reader) mouse(x, y float64, along ...float64) error {
	left := func(p *input.DispatchMouseEventParams) { p.Button, p.ClickCount = input.MouseButtonLeft, 1 }
	steps := []browser.Step{chromedp.MouseEvent(chromedp.MouseMoved, x, y), chromedp.MouseEvent(chromedp.MousePressed, x, y, left)}
	for _, x = range along {
		steps = append(steps, chromedp.MouseEvent(chromedp.MouseMoved, x, y, left))
	}
	if err := r.Do(steps...); err != nil {
		return err
	}
	r.released = time.Now()
	return r.Do(chromedp.MouseEvent(chromedp.MouseReleased, x, y, left))
}

// drag moves a point of the wall in the picture of a phase by a few pixels.
func (r *reader) drag(phase string) error {
	still := `.still[data-phase=` + phase + `]`
	var at []float64
	for end := time.Now().Add(10 * time.Second); len(at) < 2; time.Sleep(5 * time.Millisecond) {
		// The points show under the mouse.
		box, err := browser.Eval[[]float64](r.Browser, `(() => { for (const e of document.querySelectorAll("[data-pending] .changes")) e.dataset.seen = e.innerText;
			const b = document.querySelector("`+still+`").getBoundingClientRect(); return [b.left + b.width / 2, b.top + 5]; })()`)
		if err != nil {
			return err
		}
		if err := r.Do(chromedp.MouseEvent("mouseMoved", box[0], box[1])); err != nil {
			return err
		}
		at, err = browser.Eval[[]float64](r.Browser, `(() => {
			const c = document.querySelector("`+still+` canvas.drawing"), d = c.getContext("2d").getImageData(0, 0, c.width, c.height), box = c.getBoundingClientRect();
			for (let y = Math.floor(c.height * 0.4); y < c.height * 0.8; y++) for (let x = 0; x < c.width; x++) {
				const i = 4 * (y * c.width + x);
				if (Math.min(d.data[i], d.data[i+1], d.data[i+2], d.data[i+3]) > 250)
			return [box.left + x * box.width / c.width + 1, box.top + y * box.height / c.height + 2];
			}
			return [];
		})()`)
		if err != nil {
			return err
		}
		if time.Now().After(end) {
			return errors.New("no points to drag")
		}
	}
	return r.mouse(at[0], at[1], at[0]-3, at[0]-6)
}
