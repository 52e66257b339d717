package interop

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/pipeline/spool"
	"github.com/echonode/echonode/scp"
)

// need returns the path of a program or skips the test.
func need(t *testing.T, names ...string) string {
	t.Helper()
	for _, name := range names {
		if p, err := exec.LookPath(name); err == nil {
			return p
		}
	}
	t.Skipf("not installed: %s", strings.Join(names, " or "))
	return ""
}

// patience is for what must come true, on however slow a machine.
const patience = 3 * time.Minute

// run runs a program to its end and fails the test when it fails.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := try(t, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, out)
	}
	return out
}

func try(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	return string(out), err
}

// output collects what a background program prints.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// start runs a program until the test ends and waits until it listens on port.
func start(t *testing.T, port string, name string, args ...string) *output {
	t.Helper()
	out := &output{}
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { cmd.Wait(); close(exited) }()
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		select {
		case <-exited:
		case <-time.After(5 * time.Second):
			cmd.Process.Kill()
			<-exited
		}
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(name), out)
		}
	})
	for deadline := time.Now().Add(patience); ; {
		c, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", port), time.Second)
		if err == nil {
			c.Close()
			return out
		}
		select {
		case <-exited:
			t.Fatalf("%s ended early:\n%s", filepath.Base(name), out)
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not listen on %s:\n%s", filepath.Base(name), port, out)
		}
	}
}

// node is our receiver: scp and spool, in this process.
type node struct {
	host, port string
	spool      *spool.Spool
	server     *scp.Server

	mu      sync.Mutex
	entries map[string]spool.Entry // by SOP instance UID
	syntax  map[string]string
	commits []*scp.CommitRequest
	reports chan *scp.CommitResult
	answer  func(*scp.CommitRequest) *scp.CommitAnswer
}

func startNode(t *testing.T, edit func(*scp.Server)) *node {
	t.Helper()
	sp, err := spool.Open(t.TempDir(), spool.Options{MinFree: -1, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	n := &node{spool: sp, entries: map[string]spool.Entry{}, syntax: map[string]string{}, reports: make(chan *scp.CommitResult, 10)}
	n.server = &scp.Server{AETitle: "ECHONODE", Handler: n}
	if edit != nil {
		edit(n.server)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n.host, n.port, _ = net.SplitHostPort(l.Addr().String())
	served := make(chan error, 1)
	go func() { served <- n.server.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		n.server.Shutdown(ctx)
		if err := <-served; !errors.Is(err, scp.ErrServerClosed) {
			t.Error(err)
		}
		sp.Close()
	})
	return n
}

func (n *node) addr() string { return net.JoinHostPort(n.host, n.port) }

// Store implements scp.Handler.
func (n *node) Store(_ context.Context, req *scp.StoreRequest, r io.Reader) error {
	in, err := n.spool.Create(req.Meta())
	if err != nil {
		return err
	}
	if _, err := in.ReadFrom(r); err != nil {
		return errors.Join(err, in.Abort())
	}
	e, err := in.Commit()
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.entries[req.SOPInstanceUID] = e
	n.syntax[req.SOPInstanceUID] = req.TransferSyntaxUID
	return nil
}

// Commit implements scp.Committer.
func (n *node) Commit(_ context.Context, req *scp.CommitRequest) (*scp.CommitAnswer, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.commits = append(n.commits, req)
	if n.answer == nil {
		return nil, nil
	}
	return n.answer(req), nil
}

// CommitReported implements scp.CommitReceiver.
func (n *node) CommitReported(_ context.Context, _ *scp.AssociationInfo, r *scp.CommitResult) error {
	n.reports <- r
	return nil
}

// wantObjects checks that each object has arrived in its own transfer syntax
// with the bytes it was sent with.
func (n *node) wantObjects(t *testing.T, objects []object) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, o := range objects {
		e, ok := n.entries[o.instance]
		switch {
		case !ok:
			t.Errorf("%s: did not arrive", o.name)
		case n.syntax[o.instance] != o.syntax:
			t.Errorf("%s: arrived in %s", o.name, n.syntax[o.instance])
		default:
			sameDataSet(t, o, e.Path)
		}
	}
	if len(n.entries) != len(objects) {
		t.Errorf("%d objects arrived, want %d", len(n.entries), len(objects))
	}
}

// sameDataSet compares the data set of a Part 10 file with what was sent.
func sameDataSet(t *testing.T, o object, path string) {
	t.Helper()
	got, syntax := dataSet(t, path)
	if syntax != o.syntax {
		t.Errorf("%s: stored in %s", o.name, syntax)
	}
	if o.syntax == deflated && len(got) == len(o.data)+1 && got[len(o.data)] == 0 {
		got = got[:len(o.data)] // padded to an even length, as PS3.5 A.5 asks
	}
	if sha256.Sum256(got) != sha256.Sum256(o.data) {
		at := 0
		for at < min(len(got), len(o.data)) && got[at] == o.data[at] {
			at++
		}
		t.Errorf("%s: %d bytes stored, %d sent, first difference at %d", o.name, len(got), len(o.data), at)
	}
}

// wantFiles checks the files of a peer that names them by SOP instance UID.
func wantFiles(t *testing.T, dir string, objects []object) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != len(objects) {
		t.Errorf("the peer wrote %d files, want %d", len(files), len(objects))
	}
	for _, f := range files {
		i := slices.IndexFunc(objects, func(o object) bool { return o.instance == strings.TrimSuffix(filepath.Base(f), ".dcm") })
		if i < 0 {
			t.Fatalf("unknown file %s", f)
		}
		sameDataSet(t, objects[i], f)
	}
}

// dataSet reads the bare data set of a Part 10 file.
func dataSet(t *testing.T, path string) (data []byte, syntax string) {
	t.Helper()
	o, err := scp.FileObject(path)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	data, err = io.ReadAll(o.DataSet)
	if err != nil {
		t.Fatal(err)
	}
	return data, o.TransferSyntaxUID
}

func dialer(called string) *scp.Dialer { return &scp.Dialer{CallingAE: "ECHONODE", CalledAE: called} }

func timeout(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// echo wants a C-ECHO to succeed.
func echo(t *testing.T, d *scp.Dialer, addr string) {
	t.Helper()
	c, err := d.Dial(timeout(t), addr, []scp.PresentationContext{{AbstractSyntax: uid.Verification, TransferSyntaxes: []string{uid.ImplicitVRLittleEndian}}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Abort()
	if err := c.Echo(timeout(t)); err != nil {
		t.Fatal(err)
	}
	if err := c.Release(timeout(t)); err != nil {
		t.Fatal(err)
	}
}

// sendAll wants every object to be stored.
func sendAll(t *testing.T, d *scp.Dialer, addr string, objects []object) {
	t.Helper()
	sources := make([]scp.ObjectSource, len(objects))
	for i, o := range objects {
		sources[i] = scp.FileSource(o.path)
	}
	results, err := d.SendAll(timeout(t), addr, sources, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if r.Err != nil || scp.ClassOf(r.Result.Status) != scp.ClassSuccess {
			t.Errorf("%s: status %04X, %v", objects[i].name, r.Result.Status, r.Err)
		}
	}
}

func hostPort(port string) string { return fmt.Sprintf("127.0.0.1:%s", port) }
