// Command load runs the built node against many associations of the worst
// objects of each kind at once, and a well-behaved study in the middle. It
// fails unless the node lives, stays within its memory and reports that study
// in time.
//
//	go run ./conformance/load -seconds 120
//
// # The kinds
//
// Objects are valid, or nearly, and cost more than their length. Those made
// here are of harmless size: each would cost an unguarded reader some tens of
// megabytes or a fraction of a second. Where a kind has a size, -sizes names a
// JSON file with others, in the form of [Sizes]; none is in the repository.
//
//	deflate   a deflated data set of one value of zeros: a thousandth on the wire
//	elements  empty elements in number, each of which an index holds an entry for
//	padding   zeros after the pixels and zeros where elements must be
//	j2k       JPEG 2000 frames of one empty packet: the picture's size is a header
//	rle       RLE frames of runs: each two bytes make up to 128
//	jpeg      one flat JPEG picture repeated over many frames
//	video     an MPEG-2 stream of flat pictures, for the child process
//	loops     a study of very many objects
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/echonode/echonode/conformance/freeport"
	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/uid"
	_ "github.com/echonode/echonode/models/devlibrary"
	"github.com/echonode/echonode/scp"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

// limits are what the node has to keep.
const (
	maxAbove = 400 // MiB of resident memory above idle
	maxSlow  = 2.0 // times its usual time, for the well-behaved study
)

func run() error {
	seconds := flag.Int("seconds", 120, "how long to load the node")
	associations := flag.Int("associations", 64, "associations at a time")
	sizesFile := flag.String("sizes", "", "JSON file with other sizes")
	good := flag.String("study", "", "folder with the loops of the well-behaved study (default: three examples of a Go module)")
	keep := flag.String("dir", "", "work in this folder and keep it")
	binary := flag.String("binary", "", "run this build of the node (default: of this tree)")
	flag.Parse()
	sizes, err := sizesOf(*sizesFile)
	if err != nil {
		return err
	}
	loops, err := goodLoops(*good)
	if err != nil {
		return err
	}
	dir := *keep
	if dir == "" {
		if dir, err = os.MkdirTemp("", "echonode-load"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	}
	pacs := &archive{got: make(chan string, 1<<16)}
	archiveAddr, err := listen(pacs)
	if err != nil {
		return err
	}
	n, err := startNode(dir, *binary, archiveAddr, *associations)
	if err != nil {
		return err
	}
	defer n.stop()

	kinds, err := makeKinds(sizes, dir)
	if err != nil {
		return err
	}
	before, err := n.unloaded(loops, pacs)
	if err != nil {
		return err
	}
	fmt.Printf("idle: %d MiB, the study is reported in %v\n", before.memory>>20, before.took.Round(10*time.Millisecond))
	l := n.underLoad(kinds, *associations, time.Duration(*seconds)*time.Second, loops, pacs)
	l.print(kinds)
	return errors.Join(l.judge(before), n.alive())
}

// idle is a node without load.
type idle struct {
	took   time.Duration // for the well-behaved study, the least of three
	memory int64         // resident, in bytes
}

// unloaded measures a node that has analysed something.
func (n *node) unloaded(loops []string, pacs *archive) (i idle, err error) {
	for k := range 3 {
		took, err := n.report(loops, fmt.Sprintf("usual %d", k), pacs)
		if err != nil {
			return i, err
		}
		if i.took == 0 || took < i.took {
			i.took = took
		}
	}
	i.memory, err = n.memory()
	return i, err
}

// load is what was seen of a node under load.
type load struct {
	lasted         time.Duration
	took           time.Duration // for the well-behaved study
	err            error         // of that study
	peak, children int64         // most resident memory of the node, and of its children, in bytes
	used           spent
	counts         []counter // by kind
}

// underLoad sends objects of all kinds for a while; a third of it has passed when
// the well-behaved study is sent.
func (n *node) underLoad(kinds []*kind, associations int, lasts time.Duration, loops []string, pacs *archive) load {
	ctx, cancel := context.WithTimeout(context.Background(), lasts)
	defer cancel()
	l := load{lasted: lasts, counts: make([]counter, len(kinds))}
	var all sync.WaitGroup
	for i := range associations {
		k := i % len(kinds)
		all.Go(func() { kinds[k].send(ctx, n.dicom, i, &l.counts[k]) })
	}
	before := n.spent()
	all.Go(func() {
		for ctx.Err() == nil {
			if m, err := n.memory(); err == nil {
				l.peak = max(l.peak, m)
			}
			l.children = max(l.children, n.childMemory())
			time.Sleep(100 * time.Millisecond)
		}
	})
	time.Sleep(lasts / 3)
	l.took, l.err = n.report(loops, "loaded", pacs)
	<-ctx.Done()
	l.used = n.spent().minus(before)
	all.Wait()
	return l
}

// print tells what was sent and what it cost.
func (l *load) print(kinds []*kind) {
	fmt.Printf("%-10s %10s %10s %10s\n", "kind", "kB each", "stored", "refused")
	for i, k := range kinds {
		fmt.Printf("%-10s %10d %10d %10d\n", k.name, k.bytes()>>10, l.counts[i].stored.Load(), l.counts[i].refused.Load())
	}
	seconds := l.lasted.Seconds()
	fmt.Printf("processor time, of %d processors: the node %.2f, its children %.2f, the senders here %.2f\n", runtime.NumCPU(),
		l.used.node.Seconds()/seconds, l.used.children.Seconds()/seconds, l.used.senders.Seconds()/seconds)
}

// judge compares the node with itself without load, tells how it was, and is an
// error where it was worse than it may be.
func (l *load) judge(i idle) error {
	var problems []error
	above := (l.peak - i.memory) >> 20
	fmt.Printf("memory: %d MiB at most, %d above idle; its children %d MiB\n", l.peak>>20, above, l.children>>20)
	if l.err != nil {
		problems = append(problems, fmt.Errorf("the well-behaved study: %w", l.err))
	} else {
		slow := float64(l.took) / float64(i.took)
		fmt.Printf("the study is reported in %v, %.2f times its usual time\n", l.took.Round(10*time.Millisecond), slow)
		if slow > maxSlow {
			problems = append(problems, fmt.Errorf("the well-behaved study took %.2f times as long, at most %.1f", slow, maxSlow))
		}
	}
	if above > maxAbove {
		problems = append(problems, fmt.Errorf("%d MiB above idle, at most %d", above, maxAbove))
	}
	return errors.Join(problems...)
}

// sizesOf are the sizes that a file names; harmless ones for those that it does
// not, and without a file.
func sizesOf(file string) (Sizes, error) {
	sizes := harmless
	if file == "" {
		return sizes, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return sizes, err
	}
	return sizes, json.Unmarshal(b, &sizes)
}

// counter counts answers.
type counter struct{ stored, refused atomic.Int64 }

// goodLoops are the files of the well-behaved study.
func goodLoops(dir string) ([]string, error) {
	if dir != "" {
		return filepath.Glob(filepath.Join(dir, "*"))
	}
	const module = "github.com/grailbio/go-dicom@v0.0.0-20211105193521-b0e216a1c5cd"
	cmd := exec.Command("go", "mod", "download", "-json", module)
	cmd.Dir = os.TempDir()
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("fetch the example loops: %w", err)
	}
	var answer struct{ Dir string }
	if err := json.Unmarshal(out, &answer); err != nil {
		return nil, err
	}
	var files []string
	for _, number := range []int{8, 9, 31} {
		files = append(files, filepath.Join(answer.Dir, "examples", fmt.Sprintf("I_%06d.dcm", number)))
	}
	return files, nil
}

// archive notes which studies reports come for.
type archive struct{ got chan string }

func (a *archive) Store(ctx context.Context, req *scp.StoreRequest, r io.Reader) error {
	if req.SOPClassUID != uid.ComprehensiveSRStorage {
		_, err := io.Copy(io.Discard, r)
		return err
	}
	f, err := os.CreateTemp("", "echonode-load-report")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	size, err := io.Copy(f, r)
	if err != nil {
		return err
	}
	id, err := dicomio.Identify(ctx, f, size, dicomio.Options{TransferSyntax: req.TransferSyntaxUID})
	if err != nil {
		return err
	}
	a.got <- id.StudyInstanceUID
	return nil
}

func listen(h scp.Handler) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() { _ = (&scp.Server{AETitle: "PACS", Handler: h}).Serve(l) }()
	return l.Addr().String(), nil
}

// node is the running program.
type node struct {
	cmd         *exec.Cmd
	done        chan error
	dicom, http string
	ports       []func() error // give them back
}

// address reserves an address for the node until it has stopped.
func (n *node) address() (string, error) {
	port, release, err := freeport.Reserve()
	if err != nil {
		return "", err
	}
	n.ports = append(n.ports, release)
	return net.JoinHostPort("127.0.0.1", port), nil
}

func startNode(dir, binary, archive string, associations int) (*node, error) {
	n := &node{done: make(chan error, 1)}
	var err error
	if n.dicom, err = n.address(); err != nil {
		return nil, err
	}
	if n.http, err = n.address(); err != nil {
		return nil, err
	}
	if binary == "" {
		binary = filepath.Join(dir, "echonode")
		if out, err := exec.Command("go", "build", "-o", binary, "github.com/echonode/echonode/cmd/echonode").CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build: %w: %s", err, out)
		}
	}
	// Room for the load and the study that is to get through.
	config := fmt.Sprintf(`dicom: {listen: "%s", max_associations: %d, max_associations_per_peer: %d, max_associations_per_network: %d}
http: {listen: "%s"}
storage: {directory: "%s", min_free: 1GiB, retention: 168h}
study: {idle: 2s, cap: 10m}
destinations: [{name: pacs, address: "%s", ae_title: PACS}]
`, n.dicom, associations+16, associations+16, associations+16, n.http, filepath.Join(dir, "data"), archive)
	path := filepath.Join(dir, "echonode.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	n.cmd = exec.Command(binary, "serve", "-c", path)
	n.cmd.Stdout, n.cmd.Stderr = log, log
	if err := n.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { n.done <- n.cmd.Wait() }()
	for range 300 {
		if n.alive() == nil {
			return n, nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return nil, errors.New("the node does not start")
}

func (n *node) stop() {
	_ = n.cmd.Process.Signal(os.Interrupt)
	select {
	case <-n.done:
	case <-time.After(30 * time.Second):
		_ = n.cmd.Process.Kill()
	}
	for _, release := range n.ports {
		_ = release()
	}
}

// alive asks for /healthz: a degraded node is alive, one that refuses is not.
func (n *node) alive() error {
	select {
	case err := <-n.done:
		n.done <- err
		return fmt.Errorf("the node has ended: %w", err)
	default:
	}
	client := http.Client{Timeout: 20 * time.Second}
	res, err := client.Get("http://" + n.http + "/healthz")
	if err != nil {
		return fmt.Errorf("the node does not answer: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(io.LimitReader(res.Body, 4096))
		return fmt.Errorf("the node refuses: %s", b)
	}
	return nil
}

// memory is the node's resident memory in bytes.
func (n *node) memory() (int64, error) { return resident(n.cmd.Process.Pid) }

// spent is processor time.
type spent struct{ node, children, senders time.Duration }

func (s spent) minus(o spent) spent {
	return spent{s.node - o.node, s.children - o.children, s.senders - o.senders}
}

// spent is the processor time of the node, of its children that have ended, and
// of this process.
func (n *node) spent() (s spent) {
	var own syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &own); err == nil {
		s.senders = time.Duration(own.Utime.Nano() + own.Stime.Nano())
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.cmd.Process.Pid))
	if err != nil {
		return s
	}
	// The name, in parentheses, may hold blanks. The times are in 1/100 s.
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	ticks := func(i int) time.Duration {
		t, _ := strconv.ParseInt(f[i], 10, 64)
		return time.Duration(t) * 10 * time.Millisecond
	}
	s.node, s.children = ticks(11)+ticks(12), ticks(13)+ticks(14)
	return s
}

// childMemory is that of the processes it has started.
func (n *node) childMemory() (total int64) {
	own, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", n.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", n.cmd.Process.Pid))
	for _, t := range tasks {
		b, err := os.ReadFile(t)
		if err != nil {
			continue
		}
		for _, f := range strings.Fields(string(b)) {
			// A child is its parent until it runs its own program.
			name, _ := os.ReadFile("/proc/" + f + "/comm")
			if pid, err := strconv.Atoi(f); err == nil && !bytes.Equal(name, own) {
				m, _ := resident(pid) // it may be gone
				total += m
			}
		}
	}
	return total
}

func resident(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for _, line := range strings.Split(string(b), "\n") {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmRSS:" {
			kb, err := strconv.ParseInt(f[1], 10, 64)
			return kb << 10, err
		}
	}
	return 0, errors.New("no VmRSS")
}

// report sends copies of the loops as a new study and waits for its report.
func (n *node) report(loops []string, name string, pacs *archive) (time.Duration, error) {
	study := newUID("study", name)
	var sources []scp.ObjectSource
	dir, err := os.MkdirTemp("", "echonode-load-study")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	for i, path := range loops {
		copied := filepath.Join(dir, strconv.Itoa(i))
		if err := renamed(path, copied, study, newUID(name, strconv.Itoa(i))); err != nil {
			return 0, err
		}
		sources = append(sources, scp.FileSource(copied))
	}
	start := time.Now()
	d := &scp.Dialer{CallingAE: "CART", CalledAE: "ECHONODE"}
	results, err := d.SendAll(context.Background(), n.dicom, sources, nil)
	if err != nil {
		return 0, err
	}
	for _, r := range results {
		if r.Err != nil {
			return 0, r.Err
		}
	}
	deadline := time.After(5 * time.Minute)
	for {
		select {
		case got := <-pacs.got:
			if got == study {
				return time.Since(start), nil
			}
		case <-deadline:
			return 0, fmt.Errorf("no report within %v", time.Since(start).Round(time.Second))
		}
	}
}

// elsewhere is where the load comes from: another machine than the
// well-behaved study's.
var elsewhere = net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 9, 1)}}

// send sends objects of a kind, one association after the other, until ctx
// ends. What is refused is what the node is for.
func (k *kind) send(ctx context.Context, addr string, worker int, c *counter) {
	d := &scp.Dialer{CallingAE: "LOAD" + strconv.Itoa(worker), CalledAE: "ECHONODE", NetDial: elsewhere.DialContext}
	const perAssociation = 20
	for round := 0; ctx.Err() == nil; round++ {
		study := newUID(k.name, strconv.Itoa(worker), strconv.Itoa(round))
		if k.oneStudy {
			study = newUID(k.name, strconv.Itoa(worker))
		}
		client, err := d.Dial(ctx, addr, []scp.PresentationContext{{AbstractSyntax: uid.UltrasoundMultiFrameImageStorage, TransferSyntaxes: []string{k.syntax}}})
		if err != nil {
			c.refused.Add(1)
			time.Sleep(time.Second)
			continue
		}
		for i := range perAssociation {
			b := k.object(study, newUID(k.name, strconv.Itoa(worker), strconv.Itoa(round), strconv.Itoa(i)))
			res, err := client.Store(ctx, scp.Object{SOPClassUID: uid.UltrasoundMultiFrameImageStorage, SOPInstanceUID: b.sop, TransferSyntaxUID: k.syntax,
				DataSet: b.reader(), Size: b.size()})
			if err != nil {
				c.refused.Add(1)
				if res.Status == 0 {
					break // the association is over
				}
			} else {
				c.stored.Add(1)
			}
			select {
			case <-ctx.Done():
			case <-time.After(k.pause):
			}
			if ctx.Err() != nil {
				break
			}
		}
		client.Abort()
	}
}
