package mainjob

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/echonode/echonode/conformance/freeport"
	"github.com/echonode/echonode/conformance/postgres"
	"github.com/echonode/echonode/conformance/s3gateway"
	"github.com/echonode/echonode/scp"
)

// balance hands connections to one address on to several in turn, and past those
// that do not answer.
func balance(t *testing.T, to []string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	var turn atomic.Uint32
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer in.Close()
				for range to {
					out, err := net.Dial("tcp", to[int(turn.Add(1))%len(to)])
					if err != nil {
						continue
					}
					defer out.Close()
					go func() { _, _ = io.Copy(out, in); _ = out.Close() }()
					_, _ = io.Copy(in, out)
					return
				}
			}()
		}
	}()
	return l.Addr().String()
}

// Two receivers behind one address, two that analyse, one of which delivers:
// processes on one database and one object store, each with a disk of its own.
// One after the other is killed at random instants while studies come in over
// both receivers; the database goes away meanwhile, and the object store is
// gone, slow, refuses or hangs. Nothing that was acknowledged is missing, every
// study is done and delivered, and nothing is there under two UIDs.
// ECHONODE_ROUNDS says how many rounds (default 1), ECHONODE_SEED which.
func TestRoles(t *testing.T) {
	t.Run("shared directory", func(t *testing.T) { rolesRounds(t, false) })
	t.Run("S3", func(t *testing.T) { rolesRounds(t, true) })
}

func rolesRounds(t *testing.T, s3 bool) {
	rounds, seed := 1, uint64(time.Now().UnixNano())
	if s := os.Getenv("ECHONODE_ROUNDS"); s != "" {
		rounds = atoi(t, s)
	}
	if s := os.Getenv("ECHONODE_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("seed %d", seed)
	database := postgres.Start(t)
	archive := &pacs{objects: map[string]*archived{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &scp.Server{AETitle: "PACS", Handler: archive}
	go func() { _ = srv.Serve(l) }() // ends with the test
	t.Cleanup(func() { _ = srv.Close() })

	first := newNode(t, l.Addr().String())
	var bucket *outages
	kind := fmt.Sprintf(`min_free: 16MiB, objects: {kind: shared, shared: "%s"}`, t.TempDir())
	if s3 {
		server, proxy := first.bucket()
		bucket = &outages{t: t, server: server, proxy: proxy, count: map[string]int{}}
		kind = "" // first's settings have it
	}
	first.on(database)
	text, err := os.ReadFile(first.config)
	if err != nil {
		t.Fatal(err)
	}
	settings := string(text) + "analysis: {attempts: 20}\noutputs: {device_uid: \"2.25.329800735698586629295641978511506172918\"}\n"
	if !s3 {
		settings = strings.Replace(settings, "min_free: 16MiB", kind, 1)
	}
	all := inRoles(first, settings)
	for _, n := range all {
		n.start()
	}
	keep := attend(t, all)
	// Studies go to one address; the account is asked of one who receives.
	outside := *first
	outside.dicom = balance(t, []string{all[0].dicom, all[1].dicom})
	f := &faults{t: t, n: &outside, archive: archive, random: rand.New(rand.NewPCG(seed, 0)), dir: t.TempDir(), acknowledged: map[string]map[string]bool{}}
	round := 0
	for ; round < rounds && !lateFor(t, round); round++ {
		numbers := []int{7, 8, 9}
		var paths []string
		var study string
		for _, number := range numbers {
			path, _, uid := copyLoop(t, f.dir, number, 1+round)
			paths, study = append(paths, path), uid
		}
		f.acknowledged[study] = map[string]bool{}
		var sending sync.WaitGroup
		sending.Go(func() { f.send(study, paths[:1]) })
		sending.Go(func() { f.send(study, paths[1:]) })
		if f.random.IntN(3) == 0 {
			f.outages++
			wait, away := time.Duration(f.random.IntN(4000))*time.Millisecond, time.Duration(f.random.IntN(3000))*time.Millisecond
			sending.Go(func() {
				time.Sleep(wait)
				database.Stop()
				time.Sleep(away)
				if err := database.Run(); err != nil {
					t.Error(err)
				}
			})
		}
		if bucket != nil {
			what, wait, away := f.random.IntN(len(storeFaults)+2), time.Duration(f.random.IntN(4000))*time.Millisecond,
				time.Duration(f.random.IntN(4000))*time.Millisecond
			sending.Go(func() { bucket.be(what, wait, away) })
		}
		f.random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		for _, n := range all {
			time.Sleep(time.Duration(f.random.IntN(1500)) * time.Millisecond)
			f.kills++
			away := time.Duration(f.random.IntN(500)) * time.Millisecond
			keep(func() {
				n.kill()
				time.Sleep(away)
				if err := n.again(); err != nil {
					t.Fatal(err)
				}
			})
		}
		sending.Wait()
		f.check(round, study, len(paths))
		if t.Failed() {
			for _, n := range all {
				t.Logf("%s:\n%s", n.config, n.log)
			}
			break
		}
	}
	t.Logf("%d rounds, %d kills, %d times without the database, the object store %v; %d objects in the archive", round, f.kills, f.outages,
		bucket.counts(), len(archive.objects))
}

// lateFor reports whether another round may not end before the test has to: as
// many are done as there is time for, at least one.
func lateFor(t *testing.T, done int) bool {
	end, ok := t.Deadline()
	return ok && done > 0 && time.Until(end) < 4*time.Minute
}

// inRoles is a node as several processes, of which the first two receive and the
// others analyse, each with a configuration of its own made from one.
func inRoles(first *node, settings string) (all []*node) {
	t := first.t
	t.Helper()
	for i, roles := range []string{"receive", "receive, web", "analyse", "analyse, deliver"} {
		n := first
		if i > 0 {
			n = &node{t: t, binary: first.binary, dir: t.TempDir(), dicom: freeport.Addr(t), http: freeport.Addr(t), archive: first.archive, healthy: first.healthy}
			n.config = filepath.Join(n.dir, "echonode.yaml")
		}
		own := "roles: [" + roles + "]\n" + strings.NewReplacer(first.dicom, n.dicom, first.http, n.http,
			`directory: "`+filepath.Join(first.dir, "data"), `directory: "`+filepath.Join(n.dir, "data")).Replace(settings)
		if err := os.WriteFile(n.config, []byte(own), 0o600); err != nil {
			t.Fatal(err)
		}
		all = append(all, n)
	}
	return all
}

// attend is what a service manager does: a process that has ended with status 1,
// as one does that loses its database while it starts, is started again. What is
// given to keep has the processes for itself.
func attend(t *testing.T, all []*node) (keep func(func())) {
	var mu sync.Mutex
	all = slices.Clone(all)
	stop, stopped := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(stop); <-stopped })
	restart := func() error {
		mu.Lock()
		defer mu.Unlock()
		for _, n := range all {
			if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.cmd.Process.Pid)); err == nil && strings.Contains(string(stat), ") Z ") {
				_ = n.cmd.Wait() // why it ended is in its log
				if code := n.cmd.ProcessState.ExitCode(); code != 1 {
					t.Errorf("a process of the node ended by itself: %s", n.cmd.ProcessState)
				}
				if err := n.again(); err != nil {
					return err
				}
			}
		}
		return nil
	}
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(500 * time.Millisecond):
			}
			if err := restart(); err != nil {
				t.Errorf("not started again: %v", err)
				return
			}
		}
	}()
	return func(f func()) {
		mu.Lock()
		defer mu.Unlock()
		f()
	}
}

// outages of an object store.
type outages struct {
	t      *testing.T
	server *s3gateway.Server
	proxy  *s3gateway.Proxy
	count  map[string]int
}

// storeFaults are what a store that is there may do.
var storeFaults = []struct {
	name  string
	fault s3gateway.Fault
}{
	{"slow", func(_ http.ResponseWriter, r *http.Request) bool {
		select {
		case <-time.After(700 * time.Millisecond):
		case <-r.Context().Done():
		}
		return false
	}},
	{"busy", s3gateway.Refuse(http.StatusServiceUnavailable, "SlowDown")},
	{"denying", s3gateway.Refuse(http.StatusForbidden, "AccessDenied")},
	{"hanging", s3gateway.Hang},
	{"breaking off", s3gateway.Drop},
}

// be has the store misbehave for a while: the fault of a number, or it is gone,
// or nothing.
func (o *outages) be(what int, wait, away time.Duration) {
	time.Sleep(wait)
	switch {
	case what < len(storeFaults):
		o.count[storeFaults[what].name]++
		o.proxy.Set(storeFaults[what].fault)
		time.Sleep(away)
		o.proxy.Set(nil)
	case what == len(storeFaults):
		o.count["gone"]++
		o.server.Stop()
		time.Sleep(away)
		o.server.Restart(o.t)
	}
}

func (o *outages) counts() map[string]int {
	if o == nil {
		return nil
	}
	return o.count
}
