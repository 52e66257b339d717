package mainjob

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/echonode/echonode/scp"
)

// disk mounts a file system of its own at dir, which is made. It needs the right
// to; where there is none, as in many containers, the test is skipped.
func disk(t *testing.T, dir, size string) (resize func(size string)) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "echonode-test", dir).CombinedOutput(); err != nil {
		t.Skipf("no file system can be mounted here: %v %s", err, out)
	}
	t.Cleanup(func() {
		var out []byte
		var err error
		for range 100 { // who was killed may still be going
			if out, err = exec.Command("umount", dir).CombinedOutput(); err == nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Errorf("umount %s: %v %s", dir, err, out)
	})
	return func(size string) { run(t, "mount", "-o", "remount,size="+size, dir) }
}

// diskFaults is a node with an archive, whose settings let it use its disk to the
// last byte.
func diskFaults(t *testing.T) *faults {
	t.Helper()
	archive := &pacs{objects: map[string]*archived{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &scp.Server{AETitle: "PACS", Handler: archive}
	go func() { _ = srv.Serve(l) }() // ends with the test
	t.Cleanup(func() { _ = srv.Close() })
	n := newNode(t, l.Addr().String())
	text, err := os.ReadFile(n.config)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("min_free: 16MiB"), []byte("min_free: 1KiB"), 1)
	if err := os.WriteFile(n.config, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return &faults{t: t, n: n, archive: archive, dir: t.TempDir(), acknowledged: map[string]map[string]bool{}}
}

// study makes copies of loops as a study of their own.
func (f *faults) study(k int, numbers ...int) (study string, paths []string, bytes int64) {
	f.t.Helper()
	for _, number := range numbers {
		path, _, uid := copyLoop(f.t, f.dir, number, k)
		info, err := os.Stat(path)
		if err != nil {
			f.t.Fatal(err)
		}
		study, paths, bytes = uid, append(paths, path), bytes+info.Size()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.acknowledged[study] = map[string]bool{}
	return study, paths, bytes
}

// says reports whether the node's page holds a text.
func (n *node) says(page, text string) bool {
	res, err := client.Get("http://" + n.http + page)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return err == nil && strings.Contains(string(b), text)
}

// refusedFor reports whether objects were refused for a reason, and the node
// says that it is not ready because of it.
func (n *node) refusedFor(reason, problem string) bool {
	return n.says("/metrics", `echonode_objects_refused_total{reason="`+reason+`"} `) &&
		!n.says("/metrics", `echonode_objects_refused_total{reason="`+reason+`"} 0`) &&
		n.says("/metrics", "echonode_ready 0") && n.health() == http.StatusServiceUnavailable && n.says("/healthz", problem+":")
}

// The spool's disk fills up while a study arrives: what finds no room is refused
// as such, and visibly; the node is killed and started on the full disk; with room
// again the rest is taken, and the study is reported as if nothing had happened.
func TestFullSpool(t *testing.T) {
	f := diskFaults(t)
	study, paths, size := f.study(1, 7, 8, 9, 10, 19, 20, 21, 22)
	grow := disk(t, filepath.Join(f.n.dir, "data", "spool"), strconv.FormatInt(size*6/10, 10))
	f.n.start()
	var sending sync.WaitGroup
	sending.Go(func() { f.send(study, paths) })
	eventually(t, "the full disk shows", func() bool { return f.n.refusedFor("disk", "disk-space") })
	f.n.kill()
	if err := f.n.again(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the node on the full disk answers", func() bool { return f.n.health() != 0 })
	taken := func() int {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.acknowledged[study])
	}
	eventually(t, "the sender has heard of what was taken", func() bool { return taken() > 0 })
	if n := taken(); n == len(paths) {
		t.Errorf("all of %d objects taken by a disk that holds some", n)
	}
	grow("64m")
	sending.Wait()
	f.check(0, study, len(paths))
	eventually(t, "the node is well", func() bool { return f.n.health() == http.StatusOK })
}

// The database's disk fills up while one study is analysed and another arrives:
// what cannot be recorded is refused as such, and visibly; the node is killed;
// with room again both studies are reported.
func TestFullDatabase(t *testing.T) {
	f := diskFaults(t)
	data := filepath.Join(f.n.dir, "data")
	disk(t, data, "24m")
	disk(t, filepath.Join(data, "spool"), "256m")
	disk(t, filepath.Join(data, "results"), "256m")
	f.n.start()
	first, paths, _ := f.study(1, 7, 8, 9, 10)
	f.send(first, paths)
	ballast := filepath.Join(data, "ballast")
	fill(t, ballast)
	// The database may have room inside for one study or another.
	studies := map[string]int{first: len(paths)}
	var sending sync.WaitGroup
	var busy atomic.Int32
	eventually(t, "the full disk shows", func() bool {
		if busy.Load() == 0 && len(studies) < 20 {
			study, more, _ := f.study(1+len(studies), 19, 20)
			studies[study] = len(more)
			busy.Add(1)
			sending.Go(func() { defer busy.Add(-1); f.send(study, more) })
		}
		return f.n.refusedFor("database", "database")
	})
	f.n.kill()
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := f.n.again(); err != nil {
		t.Fatal(err)
	}
	sending.Wait()
	for study, objects := range studies {
		f.check(0, study, objects)
	}
	eventually(t, "the node is well", func() bool { return f.n.health() == http.StatusOK })
}

// fill writes a file until its disk is full, and again while others make room.
func fill(t *testing.T, path string) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, n := range []int{1 << 20, 1 << 12, 1} {
		for full := 0; full < 3; {
			if _, err := file.Write(make([]byte, n)); errors.Is(err, syscall.ENOSPC) {
				full++
				time.Sleep(10 * time.Millisecond)
			} else if err != nil {
				t.Fatal(err)
			}
		}
	}
}
