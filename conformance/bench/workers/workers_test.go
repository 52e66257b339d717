// Package workers measures how the analysis grows with the processes that do it:
// the built program, one process that receives and several that analyse, on one
// PostgreSQL and one shared folder.
//
//	go test -run '^$' -bench StandIn -benchtime 1x -timeout 30m ./conformance/bench/workers
//	go test -run '^$' -bench Pinned -benchtime 1x -timeout 30m ./conformance/bench/workers
//
// StandIn: 1 and 16 processes on an inference server of fixed latency (KServe
// v2 over HTTP), so that what the queue and the store let them do at the same
// time is measured and not this machine's processors. Pinned: 1 and 2 processes
// with the network itself, each pinned to a processor of its own; the database
// and the receiver run on the same processors. loops/s are those between the
// first tenth of the loops and the last fifth, while all have work; cpu-ms/loop
// is the processor time of the workers then.
package workers

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/echonode/echonode/conformance/freeport"
	"github.com/echonode/echonode/conformance/postgres"
	"github.com/echonode/echonode/dicomio"
	_ "github.com/echonode/echonode/models/devlibrary"
	"github.com/echonode/echonode/pipeline/store"
	"github.com/echonode/echonode/scp"
)

const (
	// loopsEach is how many loops there are for each worker. A worker takes some
	// at a time, so there have to be many.
	loopsEach = 30
	// latency of the stand-in for a frame; a worker has four on their way.
	latency = 500 * time.Millisecond
)

func BenchmarkStandIn(b *testing.B) {
	for _, workers := range []int{1, 16} {
		b.Run(fmt.Sprint(workers), func(b *testing.B) {
			engine, url := startStandIn(b, latency)
			s := start(b, workers, func(int) (string, []int) { return "provider: remote, remote: \"" + url + "\", workers: 4", nil })
			engine.hold()
			s.send(workers * loopsEach)
			engine.release()
			b.ReportMetric(s.rate(), "loops/s")
		})
	}
}

func BenchmarkPinned(b *testing.B) {
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		b.Fatal(err)
	}
	var processors []int
	for i := range 1024 {
		if all.IsSet(i) {
			processors = append(processors, i)
		}
	}
	if len(processors) < 2 {
		b.Skip("one processor")
	}
	for _, workers := range []int{1, 2} {
		b.Run(fmt.Sprintf("network/%d", workers), func(b *testing.B) { network(b, processors[:workers]) })
		b.Run(fmt.Sprint(workers), func(b *testing.B) {
			s := start(b, workers, func(i int) (string, []int) { return "provider: cpu, workers: 1", processors[i : i+1] })
			s.server.Pin(b, processors[:workers]...)
			s.signal(s.workers, syscall.SIGSTOP) // so that all begin together, with all loops there
			s.send(4 * loopsEach)
			s.signal(s.receivers, syscall.SIGSTOP)
			s.signal(s.workers, syscall.SIGCONT)
			b.ReportMetric(s.rate(), "loops/s")
		})
	}
}

// network runs the network alone in a process on each of the processors at the
// same time, and reports the frames of all of them in a second.
func network(b *testing.B, processors []int) {
	const frames = 600
	bin := build(b, "github.com/echonode/echonode/conformance/bench/analysis")
	var all []*exec.Cmd
	start := time.Now()
	for _, p := range processors {
		cmd := exec.Command("taskset", "-c", strconv.Itoa(p), bin, "-infer", strconv.Itoa(frames))
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		all = append(all, cmd)
	}
	for _, cmd := range all {
		if err := cmd.Wait(); err != nil {
			b.Error(err)
		}
	}
	b.ReportMetric(float64(frames*len(all))/time.Since(start).Seconds(), "frames/s")
}

// build builds a program of this tree.
func build(b *testing.B, of string) string {
	b.Helper()
	bin := filepath.Join(b.TempDir(), "program")
	if out, err := exec.Command("go", "build", "-o", bin, of).CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	return bin
}

// site is the processes of one installation.
type site struct {
	b         *testing.B
	dicom     string
	server    *postgres.Server
	receivers []*exec.Cmd
	workers   []*exec.Cmd
	store     *store.Store
	studies   []string
	total     int
}

// start builds the program and starts a receiver and workers, each of which is
// given its part of the configuration's analysis and the processors it may use,
// and waits until all are ready.
func start(b *testing.B, workers int, of func(i int) (analysis string, processors []int)) *site {
	b.Helper()
	bin := build(b, "github.com/echonode/echonode/cmd/echonode")
	server := postgres.Start(b)
	database, shared := server.Create(b), b.TempDir()
	s := &site{b: b, dicom: freeport.Addr(b), server: server}
	var ready []string
	for i := -1; i < workers; i++ {
		dir, web := b.TempDir(), freeport.Addr(b)
		role, analysis, processors := "receive", "provider: cpu, workers: 1", []int(nil)
		if i >= 0 {
			role = "analyse"
			analysis, processors = of(i)
		}
		secret := filepath.Join(dir, "password")
		if err := os.WriteFile(secret, []byte(postgres.Password+"\n"), 0o600); err != nil {
			b.Fatal(err)
		}
		config := filepath.Join(dir, "echonode.yaml")
		text := fmt.Sprintf(`roles: [%s]
dicom: {listen: "%s"}
http: {listen: "%s"}
storage: {database: "%s", database_password_file: "%s", directory: "%s", min_free: 16MiB, objects: {kind: shared, shared: "%s"}}
study: {idle: 1h, cap: 2h}
analysis: {%s}
outputs: {device_uid: "2.25.329800735698586629295641978511506172918", overlay: none}
`, role, s.dicom, web, database, secret, filepath.Join(dir, "data"), shared, analysis)
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
		s.run(bin, config, i >= 0, processors)
		ready = append(ready, web)
	}
	for _, web := range ready {
		s.wait("http://" + web + "/healthz")
	}
	var err error
	if s.store, err = store.OpenPostgreSQL(b.Context(), database, postgres.Password); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.store.Close() })
	return s
}

// run starts a process that ends with the benchmark.
func (s *site) run(bin, config string, worker bool, processors []int) {
	s.b.Helper()
	command := []string{bin, "serve", "-c", config}
	if processors != nil {
		command = append([]string{"taskset", "-c", strings.Trim(strings.Join(strings.Fields(fmt.Sprint(processors)), ","), "[]")}, command...)
	}
	cmd := exec.Command(command[0], command[1:]...)
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		s.b.Fatal(err)
	}
	if worker {
		s.workers = append(s.workers, cmd)
	} else {
		s.receivers = append(s.receivers, cmd)
	}
	s.b.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGCONT)
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // it was told to end
		if s.b.Failed() {
			s.b.Logf("%s", log.Bytes())
		}
	})
}

func (s *site) wait(url string) {
	s.b.Helper()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		res, err := http.Get(url)
		if err != nil {
			continue
		}
		_ = res.Body.Close()
		if res.StatusCode == http.StatusOK {
			return
		}
	}
	s.b.Fatalf("%s is not ready", url)
}

// signal stops processes and lets them go on.
func (s *site) signal(processes []*exec.Cmd, sig syscall.Signal) {
	s.b.Helper()
	for _, p := range processes {
		if err := p.Process.Signal(sig); err != nil {
			s.b.Fatal(err)
		}
	}
}

// perStudy is how many loops a study has.
const perStudy = 10

// send sends n copies of one loop.
func (s *site) send(n int) {
	s.b.Helper()
	data, id := example(s.b)
	var sources []scp.ObjectSource
	dir := s.b.TempDir()
	for i := range n {
		path := filepath.Join(dir, fmt.Sprint(i))
		another := func(uid string, i int) string { return fmt.Sprintf("%s%d", uid[:len(uid)-6], 100000+i) }
		study := another(id.StudyInstanceUID, i/perStudy)
		if i%perStudy == 0 {
			s.studies = append(s.studies, study)
		}
		changed := bytes.ReplaceAll(data, []byte(id.SOPInstanceUID), []byte(another(id.SOPInstanceUID, i)))
		if err := os.WriteFile(path, bytes.ReplaceAll(changed, []byte(id.StudyInstanceUID), []byte(study)), 0o600); err != nil {
			s.b.Fatal(err)
		}
		sources = append(sources, scp.FileSource(path))
	}
	results, err := (&scp.Dialer{CallingAE: "CART", CalledAE: "ECHONODE", NetDial: new(net.Dialer).DialContext}).SendAll(s.b.Context(), s.dicom, sources, nil)
	if err != nil {
		s.b.Fatal(err)
	}
	for _, r := range results {
		if r.Err != nil {
			s.b.Fatal(r.Err)
		}
	}
	s.total = n
}

// rate waits until all loops are done.
func (s *site) rate() float64 {
	s.b.Helper()
	var first, last time.Time
	var before, after time.Duration
	from, to, done := s.total/10, s.total*4/5, 0
	began, ended := 0, 0
	for deadline := time.Now().Add(20 * time.Minute); done < s.total; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.b.Fatalf("%d of %d loops are done", done, s.total)
		}
		done = 0
		for _, study := range s.studies {
			n, _, err := s.store.LoopsDone(s.b.Context(), study)
			if err != nil {
				s.b.Fatal(err)
			}
			done += n
		}
		now := time.Now()
		if first.IsZero() && done >= from {
			first, began, before = now, done, s.used()
		}
		if last.IsZero() && done >= to {
			last, ended, after = now, done, s.used()
		}
	}
	s.b.ReportMetric(float64((after-before).Milliseconds())/float64(ended-began), "cpu-ms/loop")
	return float64(ended-began) / last.Sub(first).Seconds()
}

// used is the processor time of the workers.
func (s *site) used() (total time.Duration) {
	for _, w := range s.workers {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", w.Process.Pid))
		if err != nil {
			s.b.Fatal(err)
		}
		// After the name, in parentheses; utime and stime in 1/100 s.
		for _, f := range strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))[11:13] {
			ticks, err := strconv.ParseInt(f, 10, 64)
			if err != nil {
				s.b.Fatal(err)
			}
			total += time.Duration(ticks) * 10 * time.Millisecond
		}
	}
	return total
}

// example is a loop of public test files, fetched as the demonstration fetches
// it.
func example(b *testing.B) ([]byte, dicomio.Identity) {
	b.Helper()
	cmd := exec.Command("go", "mod", "download", "-json", "github.com/grailbio/go-dicom@v0.0.0-20211105193521-b0e216a1c5cd")
	cmd.Dir = os.TempDir()
	out, err := cmd.Output()
	if err != nil {
		b.Fatal(err)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		b.Fatal(err)
	}
	f, err := os.Open(filepath.Join(module.Dir, "examples", "I_000013.dcm"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		b.Fatal(err)
	}
	id, err := dicomio.Identify(context.Background(), f, int64(len(data)), dicomio.Options{})
	if err != nil {
		b.Fatal(err)
	}
	return data, id
}
