// Package browser drives a headless Chromium for tests and pictures of the
// review page.
package browser

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/chromedp"
)

// Find is the path of Chromium, or "".
func Find() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// Step is something a person does.
type Step = chromedp.Action[chromedp.Void]

// Browser is one tab of a browser with a profile of its own.
type Browser struct {
	ctx    context.Context
	cancel []context.CancelFunc

	mu       sync.Mutex
	problems []string
}

// Open starts a browser.
func Open(ctx context.Context, options ...chromedp.ExecAllocatorOption) (*Browser, error) {
	path := Find()
	if path == "" {
		return nil, errors.New("chromium is not installed")
	}
	all := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.Flag("lang", "en"), chromedp.WSURLReadTimeout(2*time.Minute))
	if os.Geteuid() == 0 {
		all = append(all, chromedp.NoSandbox) // Chromium refuses root otherwise
	}
	allocator, cancelAllocator := chromedp.NewExecAllocator(ctx, append(all, options...)...)
	tab, cancelTab := chromedp.NewContext(allocator)
	return watched(tab, cancelTab, cancelAllocator), nil
}

// Tab opens a further tab of the browser, in front of the others.
func (b *Browser) Tab() *Browser { return watched(chromedp.NewContext(b.ctx)) }

// watched is a tab whose complaints are kept.
func watched(tab context.Context, cancel ...context.CancelFunc) *Browser {
	b := &Browser{ctx: tab, cancel: cancel}
	messages := chromedp.Console(tab)
	// What the page complains about: errors of scripts and blocked content.
	go func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			if m.IsException() || m.Type == chromedp.ConsoleError {
				b.mu.Lock()
				b.problems = append(b.problems, m.Text+" "+m.URL)
				b.mu.Unlock()
			}
		}
	}()
	return b
}

// Problems are the errors that pages reported since the last call.
func (b *Browser) Problems() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.problems
	b.problems = nil
	return p
}

// Do performs steps one after the other.
func (b *Browser) Do(steps ...Step) error { return chromedp.Do(b.ctx, steps...) }

// Get performs an action and returns its value.
func Get[T any](b *Browser, a chromedp.Action[T]) (T, error) { return chromedp.Run(b.ctx, a) }

// Call performs a command of Chromium's protocol.
func Call[P, R any](b *Browser, cmd cdp.Command[P, R], params P) (R, error) {
	return chromedp.Call(b.ctx, cmd, params)
}

// Eval evaluates an expression in the page.
func Eval[T any](b *Browser, expression string) (T, error) {
	return chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
}

// Close ends the browser.
func (b *Browser) Close() {
	for _, c := range b.cancel {
		c()
	}
}

// SignIn opens the sign-in and signs in.
func (b *Browser) SignIn(url, user, password string) error {
	err := b.Do(
		chromedp.Navigate(url+"/login"),
		chromedp.WaitVisible(`.login form`),
		chromedp.SendKeys(`[name=name]`, user),
		chromedp.SendKeys(`[name=password]`, password),
		chromedp.Click(`.login form button`),
		chromedp.WaitVisible(`#rows table`),
	)
	if err != nil {
		return fmt.Errorf("sign-in: %w", err)
	}
	at, err := Get(b, chromedp.Location())
	if err == nil && strings.Contains(at, "/login") {
		err = fmt.Errorf("still at the sign-in: %s", at)
	}
	return err
}
