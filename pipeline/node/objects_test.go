package node

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
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
	s, err := objects.NewS3(objects.S3Options{Endpoint: endpoint, Region: "us-east-1", Bucket: s3gateway.Bucket, Prefix: "node/", Timeout: time.Minute,
		Checksums: objects.ChecksumMD5})
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
			n.mustSend(t, writeObject(t, t.TempDir(), "1.2.3", "1.2.3.10", nil), writeObject(t, t.TempDir(), "1.2.3", "1.2.3.11", nil))
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
	// What is at work meets the store several times, and waits.
	var asked atomic.Int32
	proxy.Set(func(w http.ResponseWriter, r *http.Request) bool {
		asked.Add(1)
		return s3gateway.Refuse(http.StatusServiceUnavailable, "SlowDown")(w, r)
	})
	eventually(t, "the store asked again", func() bool { return asked.Load() >= 5 })
	if s := n.status(t, "1.2.3"); s.State == store.Failed {
		t.Errorf("%+v", s)
	}
	proxy.Set(nil)
	eventually(t, "taken again", func() bool { return n.send(t, second)[0].Err == nil })
	eventually(t, "delivered", func() bool { return pacs.objects() > 0 })
	eventually(t, "healthy", func() bool { return n.Health(context.Background()).Status == HealthOK })
}

// A store that answers small questions and takes no object is no store that works,
// whatever it answers.
func TestStoreThatTakesNoObject(t *testing.T) {
	proxy := s3gateway.NewProxy(t, s3gateway.Start(t).Endpoint)
	n := start(t, t.TempDir(), &fakeProcessor{t: t}, Options{Objects: bucket(t, proxy.Endpoint), Idle: time.Hour, Cap: 2 * time.Hour})
	proxy.Set(func(w http.ResponseWriter, r *http.Request) bool {
		return r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/received/") && s3gateway.Refuse(http.StatusServiceUnavailable, "SlowDown")(w, r)
	})
	path := writeObject(t, t.TempDir(), "1.2.3", "1.2.3.10", nil)
	for range uploadsInARow {
		eventually(t, "it answers", func() bool { return n.Node.files.Trouble() == nil })
		if n.send(t, path)[0].Err == nil {
			t.Fatal("the object was taken")
		}
	}
	eventually(t, "it answers again", func() bool { return n.Node.files.Trouble() == nil })
	h := n.examine(t.Context())
	if h.Status != HealthRefusing || len(h.Problems) != 1 || h.Problems[0].Code != ProblemObjects ||
		!strings.Contains(h.Problems[0].Text, "did not take the last 2 objects") {
		t.Errorf("%+v", h)
	}
	proxy.Set(nil)
	eventually(t, "taken", func() bool { return n.send(t, path)[0].Err == nil })
	if h := n.examine(t.Context()); h.Status != HealthOK {
		t.Errorf("afterwards %+v", h)
	}
}

// remote is a directory whose objects have to be copied, as a bucket's.
type remote struct{ objects.Store }

// One object that is damaged or missing costs itself: what else was left behind
// is recorded, and the others of its study are reported.
func TestLostObjectCostsItself(t *testing.T) {
	dir, bucket := t.TempDir(), t.TempDir()
	open := func() *objects.Files { return copies(t, remote{objects.NewDirectory(bucket)}) }
	o := Options{Objects: open(), Idle: time.Hour, Cap: 2 * time.Hour}
	n := start(t, dir, &fakeProcessor{t: t}, o)
	for _, sop := range []string{"1.2.3.10", "1.2.3.11", "1.2.3.12"} {
		n.mustSend(t, writeObject(t, t.TempDir(), "1.2.3", sop, nil))
	}
	n.stop()
	file := func(sop string) string {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(bucket, "received", "*", sop+".*"))
		if err != nil || len(files) != 1 {
			t.Fatalf("%v, %v", files, err)
		}
		return files[0]
	}
	damage := func(path string) {
		t.Helper()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)-1] ^= 1
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	damage(file("1.2.3.11"))
	if err := os.Remove(file("1.2.3.12")); err != nil {
		t.Fatal(err)
	}
	// Two more were received and not recorded; the first is damaged.
	o.Objects = open()
	n = start(t, t.TempDir(), &fakeProcessor{t: t}, o)
	n.mustSend(t, writeObject(t, t.TempDir(), "1.2.4", "1.2.4.1", nil))
	n.mustSend(t, writeObject(t, t.TempDir(), "1.2.4", "1.2.4.2", nil))
	n.stop()
	first, second := file("1.2.4.1"), file("1.2.4.2")
	if filepath.Dir(first) > filepath.Dir(second) {
		first, second = second, first
	}
	damage(first)
	long := time.Now().Add(-2 * time.Hour)
	for _, path := range []string{first, second} {
		if err := os.Chtimes(path, long, long); err != nil {
			t.Fatal(err)
		}
	}

	p := &fakeProcessor{t: t, look: func(ctx context.Context, req LoopRequest) (Seen, error) {
		_, err := req.Objects.File(ctx, req.Path)
		return Seen{}, err
	}}
	n = start(t, dir, p, Options{Objects: open(), Attempts: 1, RetryFor: 72 * time.Hour})
	if err := n.recoverSpool(t.Context()); err != nil {
		t.Error(err)
	}
	eventually(t, "what was left is recorded", func() bool {
		all, err := n.store.Instances(t.Context(), "1.2.4")
		return err == nil && len(all) == 1 && all[0].Size > 0
	})
	eventually(t, "done", func() bool { return n.status(t, "1.2.3").State == store.Done })
	slices.Sort(p.gaveUp)
	if len(p.gaveUp) != 2 || !strings.Contains(p.gaveUp[0], "1.2.3.11: the received object is damaged") ||
		!strings.Contains(p.gaveUp[1], "1.2.3.12: the received object is missing") {
		t.Errorf("given up: %v", p.gaveUp)
	}
}

// One object that cannot be read in a store that works costs itself, as one that is
// missing does: it waits for nothing, its study is reported without it, health says
// so until it is sent again. So does an output: its delivery is given up, and the
// others go out.
func TestUnreadableObjectCostsItself(t *testing.T) {
	shared, gateway := t.TempDir(), s3gateway.NewProxy(t, s3gateway.Start(t).Endpoint)
	deny := func(part string) {
		gateway.Set(func(w http.ResponseWriter, r *http.Request) bool {
			return r.Method != http.MethodPut && part != "" && strings.Contains(r.URL.Path, part) && s3gateway.Refuse(http.StatusForbidden, "AccessDenied")(w, r)
		})
	}
	// toItself makes the only file below shared whose name holds a part unreadable.
	toItself := func(part string) {
		found := 0
		err := filepath.WalkDir(shared, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || !strings.Contains(path, part) {
				return err
			}
			found++
			return selfLink(path)
		})
		if err != nil || found != 1 {
			t.Errorf("%d files of %s, %v", found, part, err)
		}
	}
	for name, kind := range map[string]struct {
		open func() *objects.Files
		harm func(part string)
	}{
		"shared": {func() *objects.Files { return copies(t, objects.NewShared(shared)) }, toItself},
		"S3":     {func() *objects.Files { return bucket(t, gateway.Endpoint) }, deny},
	} {
		t.Run(name, func(t *testing.T) {
			dir, pacs := t.TempDir(), &archive{}
			n := start(t, dir, &fakeProcessor{t: t}, Options{Objects: kind.open(), Idle: time.Hour, Cap: 2 * time.Hour})
			bad := writeObject(t, t.TempDir(), "1.2.3", "1.2.3.11", nil)
			n.mustSend(t, writeObject(t, t.TempDir(), "1.2.3", "1.2.3.10", nil), bad)
			in, err := n.store.Instance(t.Context(), "1.2.3.11")
			if err != nil {
				t.Fatal(err)
			}
			n.stop()
			kind.harm(filepath.Base(in.Path))
			p := &fakeProcessor{t: t, look: func(ctx context.Context, req LoopRequest) (Seen, error) {
				key, err := keyOf(ctx, req, "basis")
				return Seen{Key: key}, err
			}}
			o := Options{Objects: kind.open(), Attempts: 1, RetryFor: 72 * time.Hour, Deliveries: 12,
				Destinations: []Destination{destination("pacs", listen(t, "PACS", pacs))}}
			n = start(t, dir, p, o)
			eventually(t, "reported without it", func() bool { return n.status(t, "1.2.3").State == store.Done && pacs.objects() == 1 })
			p.mu.Lock()
			if want := []string{"1.2.3.11: " + objectUnreadable}; !slices.Equal(p.gaveUp, want) {
				t.Errorf("given up: %q", p.gaveUp)
			}
			p.mu.Unlock()
			lost := func(want bool) {
				t.Helper()
				h := n.examine(t.Context())
				if got := slices.ContainsFunc(h.Problems, func(p Problem) bool { return p.Code == ProblemLost }); got != want || h.Status == HealthRefusing {
					t.Errorf("lost objects in health: %v, want %v: %+v", got, want, h)
				}
			}
			lost(true)
			if v, err := n.Verify(t.Context(), "", false); err != nil || !slices.Equal(v.Damaged, []Damaged{{"1.2.3", "1.2.3.11", "unreadable"}}) {
				t.Errorf("%+v, %v", v, err)
			}
			n.mustSend(t, bad)
			eventually(t, "reported with it", func() bool { return n.status(t, "1.2.3").Revision == 2 && pacs.objects() == 2 })
			lost(false)

			// A report of another study is not to be had when it is to be sent.
			pacs.mu.Lock()
			pacs.refuse = &scp.StatusError{Status: scp.StatusOutOfResources}
			pacs.mu.Unlock()
			n.mustSend(t, writeObject(t, t.TempDir(), "1.2.5", "1.2.5.10", nil))
			eventually(t, "refused", func() bool { s := n.status(t, "1.2.5"); return len(s.Deliveries) == 1 && s.Deliveries[0].Attempts > 0 })
			made, err := n.store.Deliveries(t.Context(), "1.2.5")
			if err != nil || len(made) != 1 {
				t.Fatal(made, err)
			}
			n.stop()
			kind.harm(filepath.Base(made[0].Path))
			pacs.mu.Lock()
			pacs.refuse = nil
			pacs.mu.Unlock()
			o.Objects = kind.open()
			n = start(t, dir, p, o)
			n.mustSend(t, writeObject(t, t.TempDir(), "1.2.6", "1.2.6.10", nil))
			eventually(t, "given up, and others sent", func() bool { return n.status(t, "1.2.5").Finished() && pacs.objects() == 3 })
			if d := n.status(t, "1.2.5").Deliveries[0]; d.State != store.Dead || !strings.Contains(d.Error, objects.ErrUnreadable.Error()) {
				t.Errorf("%+v", d)
			}
			deny("")
		})
	}
}

// A disk that is not there is no reason to give objects up.
func TestDiskThatIsNotThere(t *testing.T) {
	dir := t.TempDir()
	hold := copies(t, objects.NewDirectory(dir)).Hold()
	defer hold.Release()
	req := LoopRequest{Path: filepath.Join(dir, "ab", "1.2.dcm"), Objects: hold}
	if err := objectGone(t.Context(), req); err != nil {
		t.Error(err)
	}
	if err := os.Mkdir(filepath.Dir(req.Path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := objectGone(t.Context(), req); !lost(err) {
		t.Errorf("a missing file: %v", err)
	}
	if err := os.WriteFile(req.Path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := objectGone(t.Context(), req); err != nil {
		t.Error(err)
	}
}
