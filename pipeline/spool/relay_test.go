package spool_test

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/echonode/echonode/conformance/s3gateway"
	"github.com/echonode/echonode/dicomio/part10"
	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/pipeline/objects"
	"github.com/echonode/echonode/pipeline/spool"
)

func relay(t *testing.T, s objects.Store) (*spool.Relay, *objects.Files, string) {
	t.Helper()
	dir := t.TempDir()
	files, err := objects.NewFiles(s, filepath.Join(dir, "cache"), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	r, err := spool.OpenRelay(filepath.Join(dir, "arriving"), files, spool.Options{MinFree: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r, files, filepath.Join(dir, "arriving")
}

func send(r *spool.Relay, sop, data string) (spool.Entry, error) {
	in, err := r.Begin(part10.Meta{SourceAETitle: "CART", SOPClassUID: "1.2.840.10008.5.1.4.1.1.3.1",
		SOPInstanceUID: sop, TransferSyntaxUID: uid.ExplicitVRLittleEndian})
	if err != nil {
		return spool.Entry{}, err
	}
	if _, err := in.ReadFrom(strings.NewReader(data)); err != nil {
		return spool.Entry{}, errors.Join(err, in.Abort())
	}
	return in.Commit(context.Background())
}

// left counts what is left on the way.
func left(t *testing.T, dir string) (n int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && d.Name() != ".lock" {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestRelay: what was committed is in the store, whole, under a name of its own,
// for a process that has nothing of this one's disk.
func TestRelay(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) objects.Store{
		"shared directory": func(t *testing.T) objects.Store { return objects.NewShared(t.TempDir()) },
		"S3":               func(t *testing.T) objects.Store { return s3(t, s3gateway.Start(t).Endpoint, time.Minute) },
	} {
		t.Run(name, func(t *testing.T) {
			store := open(t)
			r, _, dir := relay(t, store)
			seen := map[string]bool{}
			for _, data := range []string{"first version", "first version", "other version"} {
				e, err := send(r, "1.2.3", data)
				if err != nil {
					t.Fatal(err)
				}
				if seen[e.Path] || e.Duplicate || e.Conflict || e.Size != int64(len(data)) || !strings.HasPrefix(e.Path, "received/") {
					t.Errorf("%+v", e)
				}
				seen[e.Path] = true
				_, other, _ := relay(t, store)
				hold := other.Hold()
				path, err := hold.File(t.Context(), e.Path)
				if err != nil {
					t.Fatal(err)
				}
				b, err := os.ReadFile(path)
				if err != nil || int64(len(b)) != e.FileSize || !strings.HasSuffix(string(b), data) {
					t.Errorf("%d bytes, %v", len(b), err)
				}
				hold.Release()
			}
			if n := left(t, dir); n != 0 {
				t.Errorf("%d files are left on the way", n)
			}
			// All are young: another process may be about to record them.
			if err := r.Each(t.Context(), func(name string) error { t.Error(name); return nil }); err != nil {
				t.Error(err)
			}
			for name := range seen {
				if err := errors.Join(r.Discard(t.Context(), name), r.Discard(t.Context(), name)); err != nil {
					t.Error(err)
				}
				if _, err := store.Stat(t.Context(), name); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
}

func s3(t *testing.T, endpoint string, timeout time.Duration) objects.Store {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", s3gateway.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", s3gateway.SecretKey)
	s, err := objects.NewS3(objects.S3Options{Endpoint: endpoint, Region: "us-east-1", Bucket: s3gateway.Bucket, Timeout: timeout,
		Checksums: objects.ChecksumMD5})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestRelayRefuses: while the store is not available, senders are told to try
// again later, at once, and afterwards objects are taken again. Nothing of the
// refused is left.
func TestRelayRefuses(t *testing.T) {
	p := s3gateway.NewProxy(t, s3gateway.Start(t).Endpoint)
	r, _, dir := relay(t, s3(t, p.Endpoint, time.Second))
	// taken sends an object until a store that is there has answered in time.
	taken := func(t *testing.T, sop, content string) {
		t.Helper()
		for end := time.Now().Add(3 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
			_, err := send(r, sop, content)
			if err == nil {
				return
			}
			if !errors.Is(err, objects.ErrUnavailable) || time.Now().After(end) {
				t.Fatal(err)
			}
		}
	}
	taken(t, "1.2.3", "before")
	for what, fault := range map[string]s3gateway.Fault{"hangs": s3gateway.Hang, "refuses": s3gateway.Refuse(http.StatusForbidden, "AccessDenied"),
		"is gone": s3gateway.Drop} {
		t.Run(what, func(t *testing.T) {
			p.Set(fault)
			defer p.Set(nil)
			if _, err := send(r, "1.2.4", "meanwhile"); !errors.Is(err, spool.ErrObjectStore) || !errors.Is(err, objects.ErrUnavailable) {
				t.Errorf("%v", err)
			}
			if err := r.Refuses(); !errors.Is(err, spool.ErrObjectStore) {
				t.Errorf("%v", err)
			}
			// At once: of several times one is fast, whatever else the machine does.
			best := time.Hour
			for range 5 {
				start := time.Now()
				if _, err := r.Begin(part10.Meta{SOPInstanceUID: "1.2.5"}); !errors.Is(err, objects.ErrUnavailable) {
					t.Error(err)
				}
				if best = min(best, time.Since(start)); best < 200*time.Millisecond {
					break
				}
			}
			if best > 200*time.Millisecond {
				t.Errorf("refused after %v", best)
			}
			if n := left(t, dir); n != 0 {
				t.Errorf("%d files are left on the way", n)
			}
			p.Set(nil)
			taken(t, "1.2.6", "afterwards")
			for end := time.Now().Add(3 * time.Minute); r.Refuses() != nil; time.Sleep(20 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("still refuses: %v", r.Refuses())
				}
			}
		})
	}
}
