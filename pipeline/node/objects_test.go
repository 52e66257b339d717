package node

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/echonode/echonode/conformance/s3gateway"
	"github.com/echonode/echonode/pipeline/objects"
	"github.com/echonode/echonode/pipeline/store"
	"github.com/echonode/echonode/scp"
)

// bucket opens the bucket behind an address, with an empty folder for copies.
func bucket(t *testing.T, endpoint string) *objects.Files {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", s3gateway.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", s3gateway.SecretKey)
	s, err := objects.NewS3(objects.S3Options{Endpoint: endpoint, Region: "us-east-1", Bucket: s3gateway.Bucket, Prefix: "node/", Timeout: time.Second, Checksums: objects.ChecksumMD5})
	if err != nil {
		t.Fatal(err)
	}
	return copies(t, s)
}

func copies(t *testing.T, s objects.Store) *objects.Files {
	t.Helper()
	f, err := objects.NewFiles(s, filepath.Join(t.TempDir(), "cache"), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Received objects, results of loops, and outputs are in the store: a process
// that has nothing of the other's disk goes on with them, and removes them.
func TestOtherMachinesDisk(t *testing.T) {
	shared := t.TempDir()
	gateway := s3gateway.Start(t)
	for name, open := range map[string]func(t *testing.T) *objects.Files{
		"shared directory": func(t *testing.T) *objects.Files { return copies(t, objects.NewShared(shared)) },
		"S3":               func(t *testing.T) *objects.Files { return bucket(t, gateway.Endpoint) },
	} {
		t.Run(name, func(t *testing.T) {
			dir, pacs := t.TempDir(), &archive{}
			p := &fakeProcessor{t: t}
			o := Options{Objects: open(t), OnArrival: true, Destinations: []Destination{destination("pacs", listen(t, "PACS", pacs))}}
			n := start(t, dir, p, o)
			n.mustSend(t, writeObject(t, t.TempDir(), "1.2.3", "1.2.3.10", nil))
			n.mustSend(t, writeObject(t, t.TempDir(), "1.2.3", "1.2.3.11", nil))
			eventually(t, "delivered", func() bool { return pacs.objects() == 1 })
			n.stop()
			for _, e := range []string{"arriving", "scratch"} {
				if err := os.RemoveAll(filepath.Join(dir, e)); err != nil {
					t.Fatal(err)
				}
			}
			o.Objects = open(t)
			n = start(t, dir, p, o)
			n.mustSend(t, writeObject(t, t.TempDir(), "1.2.3", "1.2.3.12", nil))
			eventually(t, "a second report", func() bool { return pacs.objects() == 2 })
			if got := p.seen(); len(got) != 3 {
				t.Errorf("looked at %v: results of loops were not found", got)
			}
			if reqs := p.requests(); reqs[len(reqs)-1].Predecessor == nil {
				t.Error("no predecessor")
			}
			if err := n.Remove(context.Background(), "1.2.3"); err != nil {
				t.Fatal(err)
			}
			for _, folder := range []string{"received", resultsFolder} {
				for e, err := range objects.Walk(t.Context(), o.Objects, o.Objects.Name(folder)) {
					t.Errorf("%s is left, %v", e.Name, err)
				}
			}
		})
	}
}

// While the object store is not available, objects are refused with a status
// that says so, health says so, and work waits without using up its attempts.
func TestObjectStoreGone(t *testing.T) {
	proxy := s3gateway.NewProxy(t, s3gateway.Start(t).Endpoint)
	dir, pacs := t.TempDir(), &archive{}
	looked := make(chan struct{}, 100)
	p := &fakeProcessor{t: t, look: func(ctx context.Context, req LoopRequest) (Seen, error) {
		looked <- struct{}{}
		_, err := keyOf(ctx, req, "basis")
		return Seen{}, err
	}}
	o := Options{Objects: bucket(t, proxy.Endpoint), OnArrival: true, Attempts: 1, Destinations: []Destination{destination("pacs", listen(t, "PACS", pacs))}}
	n := start(t, dir, p, o)
	first := writeObject(t, t.TempDir(), "1.2.3", "1.2.3.10", nil)
	second := writeObject(t, t.TempDir(), "1.2.3", "1.2.3.11", nil)
	n.mustSend(t, first)
	eventually(t, "looked at", func() bool { return len(p.seen()) == 1 })
	proxy.Set(s3gateway.Refuse(http.StatusServiceUnavailable, "SlowDown"))
	var refused *scp.StatusError
	if r := n.send(t, second)[0]; !errors.As(r.Err, &refused) || refused.Status != scp.StatusOutOfResources {
		t.Errorf("%+v", r)
	}
	if h := n.Health(context.Background()); h.Status != HealthRefusing || len(h.Problems) == 0 || h.Problems[0].Code != ProblemObjects {
		t.Errorf("%+v", h)
	}
	time.Sleep(time.Second)
	if s := n.status(t, "1.2.3"); s.State == store.Failed {
		t.Errorf("%+v", s)
	}
	proxy.Set(nil)
	eventually(t, "taken again", func() bool { return n.send(t, second)[0].Err == nil })
	eventually(t, "delivered", func() bool { return pacs.objects() > 0 })
	eventually(t, "healthy", func() bool { return n.Health(context.Background()).Status == HealthOK })
}
