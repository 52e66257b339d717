package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/performance"
	"github.com/chromedp/chromedp"

	"github.com/echonode/echonode/conformance/review/browser"
)

const studies = 10000

// paint is one measurement of the worklist's first page, ms.
type paint struct{ at, server, client float64 }

func (b *bench) worklist() error {
	at, err := b.addresses(1)
	if err != nil {
		return err
	}
	server, err := b.start(b.helper, "worklist", b.dir, at[0], strconv.Itoa(studies))
	if err != nil {
		return err
	}
	address := "http://" + at[0]
	if err := answers(address + "/login"); err != nil {
		return err
	}
	var all []paint
	for range b.repeat {
		p, err := firstPaint(address, server.Process.Pid)
		if err != nil {
			return err
		}
		all = append(all, p)
	}
	m := func(f func(paint) float64) float64 { return median(all, f) }
	fmt.Printf("Worklist of %d studies, its first page; medians of %d rounds: first paint after %.0f ms; "+
		"processor time of server and page until then %.0f + %.0f ms.\n\n",
		studies, b.repeat, m(func(p paint) float64 { return p.at }), m(func(p paint) float64 { return p.server }), m(func(p paint) float64 { return p.client }))
	return nil
}

// firstPaint opens the worklist in a browser that has its programs already.
func firstPaint(address string, pid int) (p paint, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	w, err := browser.Open(ctx)
	if err != nil {
		return p, err
	}
	defer w.Close()
	if err := w.SignIn(address, user, password); err != nil {
		return p, err
	}
	if err := w.Do(chromedp.Navigate("about:blank")); err != nil {
		return p, err
	}
	if _, err := browser.Call(w, performance.Enable, performance.EnableParams{TimeDomain: performance.EnableTimeDomainThreadTicks}); err != nil {
		return p, err
	}
	tasks := func() (float64, error) {
		metrics, err := browser.Call(w, performance.GetMetrics, cdp.Empty{})
		for _, m := range metrics.Metrics {
			if m.Name == "TaskDuration" {
				return 1000 * m.Value, err
			}
		}
		return 0, errors.Join(err, errors.New("no TaskDuration"))
	}
	idle, err := tasks()
	if err != nil {
		return p, err
	}
	before, err := processorTime(pid)
	if err != nil {
		return p, err
	}
	if err := w.Do(chromedp.Navigate(address + "/")); err != nil {
		return p, err
	}
	if err := wait(w, `performance.getEntriesByName("first-contentful-paint").length == 1`); err != nil {
		return p, err
	}
	after, err := processorTime(pid)
	if err != nil {
		return p, err
	}
	p.server = after - before
	if p.at, err = browser.Eval[float64](w, `performance.getEntriesByName("first-contentful-paint")[0].startTime`); err != nil {
		return p, err
	}
	// A new document may begin with a new count.
	if p.client, err = tasks(); err == nil && p.client >= idle {
		p.client -= idle
	}
	return p, err
}

// processorTime is what a process has used so far, ms.
func processorTime(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// After the name, which ends at the last parenthesis: user and system time
	// are the 12th and 13th, in hundredths of a second.
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(f) < 13 {
		return 0, errors.New("/proc/PID/stat is short")
	}
	user, err := strconv.ParseFloat(f[11], 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseFloat(f[12], 64)
	return 10 * (user + system), err
}
