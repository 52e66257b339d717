package objects

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Copies that nobody asks for are forgotten: their objects may be gone. What is
// held stays.
func TestForget(t *testing.T) {
	ctx := t.Context()
	f, err := NewFiles(struct{ Store }{NewDirectory(t.TempDir())}, filepath.Join(t.TempDir(), "cache"), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	paths := map[string]string{}
	held, let := f.Hold(), f.Hold()
	defer held.Release()
	for base, h := range map[string]*Hold{"held": held, "let": let} {
		name := f.Name("x", base)
		if err := f.Put(ctx, name, strings.NewReader("abc"), 3); err != nil {
			t.Fatal(err)
		}
		if paths[base], err = h.File(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	let.Release()
	f.Forget(time.Hour)
	if _, err := os.Stat(paths["let"]); err != nil {
		t.Errorf("used a moment ago: %v", err)
	}
	f.Forget(0)
	if _, err := os.Stat(paths["let"]); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nobody has it: %v", err)
	}
	if _, err := os.Stat(paths["held"]); err != nil {
		t.Errorf("somebody has it: %v", err)
	}
}

// away is a store that does not answer.
type away struct {
	Store
	asked, ended chan struct{}
}

func (a away) Put(ctx context.Context, _ string, _ io.ReadSeeker, _ int64) error {
	if a.asked == nil {
		return unavailable(errors.New("away"))
	}
	select {
	case a.asked <- struct{}{}:
		<-ctx.Done()
		close(a.ended)
	default:
		return unavailable(errors.New("away"))
	}
	return ctx.Err()
}

// A store that is away is not tried any more when the process ends.
func TestCloseEndsProbing(t *testing.T) {
	a := away{Store: NewDirectory(t.TempDir()), asked: make(chan struct{}), ended: make(chan struct{})}
	f, err := NewFiles(a, filepath.Join(t.TempDir(), "cache"), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Put(t.Context(), f.Name("x"), strings.NewReader("abc"), 3); !errors.Is(err, ErrUnavailable) {
		t.Fatal(err)
	}
	select {
	case <-a.asked:
	case <-time.After(3 * time.Minute):
		t.Fatal("the store is not tried again")
	}
	f.Close()
	select {
	case <-a.ended:
	case <-time.After(3 * time.Minute):
		t.Fatal("it is still tried")
	}
}

// A list that stops coming is the store's fault, and ends.
func TestListFallsSilent(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "a")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "b")
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `<?xml version="1.0"?><ListBucketResult><Contents>`)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	defer srv.Close()
	s, err := NewS3(S3Options{Endpoint: srv.URL, Region: "us-east-1", Bucket: "bucket", Timeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		for _, err := range s.List(context.Background(), s.Name("received")) {
			done <- err
			return
		}
		done <- nil
	}()
	select {
	case err := <-done:
		if !errors.Is(err, ErrUnavailable) {
			t.Errorf("%v", err)
		}
	case <-time.After(3 * time.Minute):
		t.Fatal("it is waited for for ever")
	}
}
