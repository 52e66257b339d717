package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"sync/atomic"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/echonode/echonode/conformance/review/browser"
)

// probe runs in every page: it looks at the canvas on every frame of the screen
// and notes when the number in the picture changes.
const probe = `(() => {
  const small = document.createElement("canvas"); small.width = 7; small.height = 1;
  const look = () => {
    const c = document.querySelector("#screen canvas.picture") ?? document.querySelector("canvas.cornerstone-canvas");
    if (!c || !c.width) return -1;
    const s = Math.min(c.width / 800, c.height / 600), ox = (c.width - 800 * s) / 2, oy = (c.height - 600 * s) / 2;
    const x = small.getContext("2d", {willReadFrequently: true});
    x.drawImage(c, ox + 16 * s, oy + 568 * s, 7 * 24 * s, 8 * s, 0, 0, 7, 1);
    const d = x.getImageData(0, 0, 7, 1).data;
    if (d[0] < 128) return -1;
    let n = 0;
    for (let k = 0; k < 6; k++) if (d[4 * (k + 1)] >= 128) n |= 1 << k;
    return n;
  };
  window.benchSeen = [];
  let last = -1;
  const tick = () => {
    const n = look();
    if (n >= 0 && n !== last) { window.benchSeen.push([performance.now(), n]); last = n; }
    requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
})()`

// played is one measurement.
type played struct {
	first           float64 // ms from the navigation to the first frame
	sentFirst, sent int64   // bytes until then, and until all frames were there
	rate            float64 // frames a second that were seen while it played
	dropped         int     // frames that were due meanwhile and not seen
}

// settle is how long all frames have to come.
const settle = 8 * time.Second

// open opens an address in a browser of its own, which has the programs of the
// pages already when before is done, and waits for the first frame.
func (b *bench) open(ctx context.Context, address string, sent *atomic.Int64, before func(*browser.Browser) error) (w *browser.Browser, p played, err error) {
	// There is no GPU: WebGL, which OHIF draws with, is computed, and canvases,
	// which the probe reads, and their composition are drawn without one.
	w, err = browser.Open(ctx, chromedp.WindowSize(1400, 1000), chromedp.Flag("use-angle", "swiftshader"), chromedp.Flag("enable-unsafe-swiftshader", true),
		chromedp.Flag("disable-gpu-compositing", true), chromedp.Flag("disable-accelerated-2d-canvas", true), chromedp.Flag("disable-dev-shm-usage", true))
	if err != nil {
		return nil, p, err
	}
	defer func() {
		if err != nil {
			w.Close()
		}
	}()
	if err := errors.Join(before(w), w.Do(chromedp.Navigate("about:blank"))); err != nil {
		return nil, p, err
	}
	if _, err := browser.Call(w, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: probe}); err != nil {
		return nil, p, err
	}
	from := sent.Load()
	if err := w.Do(chromedp.Navigate(address)); err != nil {
		return nil, p, err
	}
	if err := wait(w, `window.benchSeen?.length > 0`); err != nil {
		return nil, p, err
	}
	p.sentFirst = sent.Load() - from
	if p.first, err = browser.Eval[float64](w, `window.benchSeen[0][0]`); err != nil {
		return nil, p, err
	}
	time.Sleep(settle)
	p.sent = sent.Load() - from
	return w, p, nil
}

// reviewPage opens the loop on the review page and plays it.
func (b *bench) reviewPage(address string, sent *atomic.Int64) (p played, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	w, p, err := b.open(ctx, address+"/study/"+studyUID+"/loop/"+objectUID, sent, func(w *browser.Browser) error { return w.SignIn(address, user, password) })
	if err != nil {
		return p, err
	}
	defer w.Close()
	if err := w.Do(chromedp.KeyEvent(" ")); err != nil {
		return p, err
	}
	if err := wait(w, `window.benchSeen.length > 60`); err != nil {
		return p, fmt.Errorf("it does not play: %w", err)
	}
	if _, err := browser.Eval[bool](w, `window.benchSeen = [], true`); err != nil {
		return p, err
	}
	time.Sleep(10 * time.Second)
	seen, err := browser.Eval[[][2]float64](w, `window.benchSeen`)
	if err != nil || len(seen) < 2 {
		return p, fmt.Errorf("nothing plays: %w", err)
	}
	seconds := (seen[len(seen)-1][0] - seen[0][0]) / 1000
	p.rate = float64(len(seen)-1) / seconds
	// Each step is from one frame to the next, or over frames that were not shown.
	for i, at := range seen[1:] {
		p.dropped += (int(at[1]-seen[i][1])+frames)%frames - 1
	}
	// A frame that stays twice as long holds the clock: that is a frame too few.
	p.dropped = max(p.dropped, int(math.Round(seconds*60))-(len(seen)-1))
	return p, nil
}

// ohif opens the study in OHIF.
func (b *bench) ohif(address string, sent *atomic.Int64) (p played, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	w, p, err := b.open(ctx, address+"/viewer?StudyInstanceUIDs="+studyUID, sent, func(w *browser.Browser) error {
		if err := w.Do(chromedp.Navigate(address + "/")); err != nil {
			return err
		}
		return wait(w, `document.body.innerText.includes("Bench, Cine")`)
	})
	if err == nil {
		w.Close()
	}
	return p, err
}

// wait waits until an expression is true in the page.
func wait(w *browser.Browser, expression string) error {
	for end := time.Now().Add(90 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		ok, err := browser.Eval[bool](w, expression)
		if err == nil && ok {
			return nil
		}
		if time.Now().After(end) {
			text, _ := browser.Eval[string](w, `document.body.innerText.slice(0, 600)`)
			return errors.Join(fmt.Errorf("%s does not become true; the page says %q and complains %q", expression, text, w.Problems()), err)
		}
	}
}

func (b *bench) cine() error {
	file, err := b.cineFile()
	if err != nil {
		return err
	}
	n, err := b.node("cine")
	if err != nil {
		return err
	}
	if err := b.send(n, file); err != nil {
		return err
	}
	pages, err := proxyTo(n.page, false)
	if err != nil {
		return err
	}
	ours, oursSent, err := b.counted(pages)
	if err != nil {
		return err
	}
	viewer, viewerSent, err := b.viewer(file)
	if err != nil {
		return err
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	var page, other []played
	for range b.repeat {
		p, err := b.reviewPage(ours, oursSent)
		if err != nil {
			return fmt.Errorf("review page: %w", err)
		}
		page = append(page, p)
		if p, err = b.ohif(viewer, viewerSent); err != nil {
			return fmt.Errorf("OHIF: %w", err)
		}
		other = append(other, p)
	}
	first := func(p played) float64 { return p.first }
	fmt.Printf("Cine, %d frames of %dx%d at 60 frames/s, an object of %.1f MB; medians of %d rounds:\n\n", frames, columns, rows,
		float64(info.Size())/1e6, b.repeat)
	fmt.Printf("| | first frame | sent by then | %.0f s later | frames/s played | of those due in 10 s not shown |\n|---|---|---|---|---|---|\n", settle.Seconds())
	fmt.Printf("| review page | %.0f ms | %.1f MB | %.1f MB | %.1f | %.0f |\n", median(page, first),
		median(page, func(p played) float64 { return float64(p.sentFirst) / 1e6 }),
		median(page, func(p played) float64 { return float64(p.sent) / 1e6 }), median(page, func(p played) float64 { return p.rate }),
		median(page, func(p played) float64 { return float64(p.dropped) }))
	fmt.Printf("| OHIF on Orthanc | %.0f ms | %.1f MB | %.1f MB | not played | |\n\n", median(other, first),
		median(other, func(p played) float64 { return float64(p.sentFirst) / 1e6 }),
		median(other, func(p played) float64 { return float64(p.sent) / 1e6 }))
	fmt.Printf("Ratio of the times to the first frame: %.2f.\n\n", median(page, first)/median(other, first))
	return nil
}
