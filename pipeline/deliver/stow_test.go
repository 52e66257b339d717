package deliver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/echonode/echonode/scp"
)

// An object that a service chokes on is not in the way of the others; what is the
// service's is not tried with all of them.
func TestStowGoesOn(t *testing.T) {
	const cut = 0 // the connection is cut
	for _, c := range []struct {
		name    string
		answers []int // to the objects in order
		tried   string
	}{
		{"one of them", []int{200, 500, 200, 504, 200}, "01234"},
		{"a lost answer", []int{200, cut, 200, cut, 200}, "01234"},
		{"two in a row", []int{200, 500, cut, 200, 200}, "012"},
		{"a wrong address", []int{404, 404, 404, 404, 404}, "01"},
		{"too many requests", []int{429, 429, 429, 429, 429}, "01"},
		{"an answer in between", []int{503, 409, 503, 409, 503}, "01234"},
		{"no credentials", []int{401, 200, 200, 200, 200}, "0"},
		{"not allowed", []int{200, 403, 200, 200, 200}, "01"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, tried := t.TempDir(), ""
			var mu sync.Mutex // a connection that is cut doesn't order its handler before what follows
			var sources []Source
			for i := range c.answers {
				sources = append(sources, Source{Path: object(t, dir, fmt.Sprintf("1.2.3.%d", 100+i), false)})
			}
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet {
					w.WriteHeader(http.StatusNotImplemented)
					return
				}
				b, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				for i, code := range c.answers {
					if !bytes.Contains(b, fmt.Appendf(nil, "1.2.3.%d", 100+i)) {
						continue
					}
					mu.Lock()
					tried += fmt.Sprint(i)
					mu.Unlock()
					if code == cut {
						panic(http.ErrAbortHandler)
					}
					w.WriteHeader(code)
				}
			}))
			defer srv.Close()
			results, err := (&Stow{URL: srv.URL}).SendAll(t.Context(), sources, nil)
			mu.Lock()
			defer mu.Unlock()
			if err != nil || tried != c.tried {
				t.Fatalf("tried %s, want %s, %v", tried, c.tried, err)
			}
			for i, r := range results {
				was := strings.Contains(tried, fmt.Sprint(i))
				if errors.Is(r.Err, scp.ErrNotTried) == was || (r.Err == nil) != (was && c.answers[i] == 200) {
					t.Errorf("object %d: %v", i, r.Err)
				}
			}
		})
	}
}

// A service that is not reached at all is everybody's error; one that goes away leaves
// the rest untried, as does the end of the sending. What cannot be read says so itself.
func TestStowWithoutAService(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	defer srv.Close()
	dir := t.TempDir()
	sources := []Source{{Broken: os.ErrNotExist}}
	for i := range 3 {
		sources = append(sources, Source{Path: object(t, dir, fmt.Sprintf("1.2.3.%d", i), false)})
	}
	locked, secrets := errors.New("no secret"), 0
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		name    string
		ctx     context.Context
		address string
		secrets int // that are to be had
		want    []bool
		why     error
	}{
		{"nobody listens", t.Context(), "http://127.0.0.1:1", 100, []bool{false, false, false, false}, nil},
		{"no secret", t.Context(), srv.URL, 0, []bool{false, false, false, false}, locked},
		{"no secret any more", t.Context(), srv.URL, 2, []bool{false, false, false, true}, locked},
		{"ended", ended, srv.URL, 100, []bool{false, true, true, true}, context.Canceled},
	} {
		secrets = 0
		s := &Stow{URL: c.address, Authorize: func(*http.Request) error {
			if secrets++; secrets > c.secrets {
				return locked
			}
			return nil
		}}
		results, err := s.SendAll(c.ctx, sources, nil)
		if !errors.Is(err, c.ctx.Err()) {
			t.Errorf("%s: %v", c.name, err)
		}
		var untried []bool
		for _, r := range results {
			untried = append(untried, errors.Is(r.Err, scp.ErrNotTried))
		}
		last := results[len(results)-1].Err
		if !slices.Equal(untried, c.want) || !errors.Is(results[0].Err, os.ErrNotExist) || last == nil || c.why != nil && !errors.Is(last, c.why) {
			t.Errorf("%s: %v", c.name, results)
		}
	}
}

// A file that cannot be read, and a question that is not answered, keep nobody from being
// told of the others; who answers nothing is not asked for all of them.
func TestAskedWhatItHas(t *testing.T) {
	dir, asked := t.TempDir(), ""
	var broken string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sop := r.URL.Query().Get("SOPInstanceUID")
		asked += sop[len(sop)-1:]
		if strings.Contains(broken, sop[len(sop)-1:]) {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		_, _ = fmt.Fprintf(w, `[{"00080018":{"vr":"UI","Value":["%s"]}}]`, sop)
	}))
	defer srv.Close()
	paths := []string{filepath.Join(dir, "gone.dcm"), ""}
	for i := range 5 {
		paths = append(paths, object(t, dir, fmt.Sprintf("1.2.3.%d", i), false))
	}
	for _, c := range []struct{ broken, asked, there string }{{"", "01234", "01234"}, {"1", "01234", "0234"}, {"13", "01234", "024"}, {"12", "012", "0"}} {
		broken, asked = c.broken, ""
		has, err := (&Stow{URL: srv.URL}).Has(t.Context(), paths)
		there := ""
		for i := range 5 {
			if has[fmt.Sprintf("1.2.3.%d", i)] {
				there += fmt.Sprint(i)
			}
		}
		var answer *HTTPError
		if asked != c.asked || there != c.there || !errors.Is(err, os.ErrNotExist) || errors.As(err, &answer) != (c.broken != "") {
			t.Errorf("%s unanswered: asked for %s, there are %s, %v", c.broken, asked, there, err)
		}
	}
	if _, err := (&Stow{URL: srv.URL}).Has(t.Context(), paths[2:]); !errors.As(err, new(*HTTPError)) {
		t.Error(err)
	}
	broken = ""
	if _, err := (&Stow{URL: srv.URL}).Has(t.Context(), paths[2:]); err != nil {
		t.Error(err)
	}
}
