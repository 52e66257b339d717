package review

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/echonode/echonode/conformance/review/browser"
)

// portal is another program's web page: one that has a link to an address, and
// shows it in a frame.
func portal(t *testing.T) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		at := r.URL.Query().Get("at")
		fmt.Fprintf(w,
			`<!doctype html><title>PACS</title><link rel="icon" href="data:,"><a href="%s">EchoNode</a><iframe src="%[1]s" width="900" height="600"></iframe>`, at)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// framed opens an address in a frame of a portal and says what the frame shows
// in the end, or that the browser refuses it.
func framed(t *testing.T, b *browser.Browser, portal, at string) string {
	t.Helper()
	do(t, b, chromedp.Navigate(portal+"/?at="+at), chromedp.WaitReady(`iframe`))
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		answer, err := browser.Call(b, page.GetFrameTree, cdp.Empty{})
		if err != nil {
			t.Fatal(err)
		}
		if children := answer.FrameTree.ChildFrames; len(children) == 1 {
			switch f := children[0].Frame; {
			case strings.HasPrefix(f.URL, "chrome-error:") || f.UnreachableURL != "":
				return "refused"
			case strings.HasPrefix(f.URL, "http"):
				return f.URL
			}
		}
		if time.Now().After(end) {
			t.Fatalf("the frame stays empty: %+v", answer.FrameTree)
		}
	}
}

// links opens a study from other programs' pages: by a link, with and without a
// session, and in a frame, which only those that the configuration names may.
func (s *site) links(study, named string) {
	t, b := s.t, s.open("viewer")
	if at := framed(t, b, named, study); at != study {
		t.Errorf("in a frame of a page that the configuration names: %s", at)
	}
	// The link goes to the study, since the browser has a session.
	eval[bool](t, b, `document.querySelector("a").click(), true`)
	until(t, b, `document.querySelector("[data-ef]") !== null`)
	if at := eval[string](t, b, `location.href`); at != study {
		t.Errorf("the link leads to %s", at)
	}
	quiet(t, b)
	if at := framed(t, b, portal(t), study); at != "refused" {
		t.Errorf("in a frame of a page that the configuration does not name: %s", at)
	}
	if p := strings.Join(b.Problems(), "\n"); !strings.Contains(p, "frame-ancestors") {
		t.Errorf("the browser complains of %q", p)
	}
	// Without a session the link leads to the sign-in, and from there to the study.
	stranger := s.open("")
	do(t, stranger, chromedp.Navigate(named+"/?at="+study))
	eval[bool](t, stranger, `document.querySelector("a").click(), true`)
	until(t, stranger, `document.querySelector(".login form") !== null`)
	do(t, stranger, chromedp.SendKeys(`[name=name]`, "viewer"), chromedp.SendKeys(`[name=password]`, password), chromedp.Click(`.login form button`))
	until(t, stranger, `document.querySelector("[data-ef]") !== null`)
	if at := eval[string](t, stranger, `location.href`); at != study {
		t.Errorf("after the sign-in: %s", at)
	}
}
