package scp

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/echonode/echonode/dicomio/part10"
	"github.com/echonode/echonode/dicomio/uid"
)

const (
	testClass = "1.2.840.10008.5.1.4.1.1.7"
	usmfClass = "1.2.840.10008.5.1.4.1.1.3.1"
	jpegTS    = "1.2.840.10008.1.2.4.50"
)

// memoryStore is a Handler that remembers what it was given.
type memoryStore struct {
	mu      sync.Mutex
	objects map[string]stored
	fail    func(*StoreRequest) error
	opened  int
	closed  []error
}

type stored struct {
	req  StoreRequest
	data []byte
}

func (m *memoryStore) Store(_ context.Context, req *StoreRequest, r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if m.fail != nil {
		if err := m.fail(req); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.objects == nil {
		m.objects = make(map[string]stored)
	}
	m.objects[req.SOPInstanceUID] = stored{*req, b}
	return nil
}

func (m *memoryStore) AssociationOpened(*AssociationInfo) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.opened++
}

func (m *memoryStore) AssociationClosed(_ *AssociationInfo, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = append(m.closed, err)
}

func (m *memoryStore) get(uid string) (stored, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.objects[uid]
	return s, ok
}

func (m *memoryStore) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.objects)
}

// startServer serves s on a loopback port until the test ends.
func startServer(t testing.TB, s *Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		s.Shutdown(ctx)
		if err := <-done; !errors.Is(err, ErrServerClosed) {
			t.Errorf("Serve returned %v", err)
		}
	})
	return l.Addr().String()
}

func testDialer() *Dialer { return &Dialer{CallingAE: "TESTER", CalledAE: "ECHONODE"} }

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// patience is for what must come true, on however slow a machine.
const patience = 2 * time.Minute

// until waits for what must come true.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// happens waits until what it is told of happens.
func happens(t testing.TB, what string, told <-chan struct{}) {
	t.Helper()
	select {
	case <-told:
	case <-time.After(patience):
		t.Fatalf("not within %v: %s", patience, what)
	}
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(n)})
	r.Read(b)
	return b
}

func TestEchoAndStoreLoopback(t *testing.T) {
	for _, sizes := range []struct{ server, client int }{{0, 0}, {4096, 0}, {0, 4096}, {1 << 20, 300 << 10}} {
		t.Run(fmt.Sprint(sizes), func(t *testing.T) {
			h := &memoryStore{}
			addr := startServer(t, &Server{AETitle: "ECHONODE", Handler: h, Limits: Limits{MaxPDU: sizes.server}})
			d := testDialer()
			d.Limits.MaxPDU = sizes.client
			ctx := testContext(t)
			c, err := d.Dial(ctx, addr, []PresentationContext{
				{uid.Verification, []string{uid.ImplicitVRLittleEndian}},
				{usmfClass, []string{jpegTS}},
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Echo(ctx); err != nil {
				t.Fatal(err)
			}
			for i, n := range []int{0, 1, 2, 4083, 4084, 4085, 4086, 131060, 131072, 262144, 1000000} {
				uid := fmt.Sprintf("1.2.3.%d", i+1)
				data := randomBytes(n)
				res, err := c.Store(ctx, Object{SOPClassUID: usmfClass, SOPInstanceUID: uid, TransferSyntaxUID: jpegTS, DataSet: bytes.NewReader(data)})
				if err != nil || res.Status != 0 || res.Bytes != int64(n) {
					t.Fatalf("size %d: %+v, %v", n, res, err)
				}
				if n%2 == 1 {
					data = append(data, 0) // fragments have to be even
				}
				got, ok := h.get(uid)
				if !ok || !bytes.Equal(got.data, data) {
					t.Fatalf("size %d: %d bytes arrived", n, len(got.data))
				}
				if got.req.TransferSyntaxUID != jpegTS || got.req.SOPClassUID != usmfClass || got.req.Association.CallingAE != "TESTER" {
					t.Fatalf("request %+v", got.req)
				}
			}
			if err := c.Echo(ctx); err != nil {
				t.Fatal(err)
			}
			if err := c.Release(ctx); err != nil {
				t.Fatal(err)
			}
			if err := c.Echo(ctx); !errors.Is(err, ErrClientClosed) {
				t.Fatalf("echo after release: %v", err)
			}
		})
	}
}

func TestStoreStatuses(t *testing.T) {
	h := &memoryStore{fail: func(r *StoreRequest) error {
		switch r.SOPInstanceUID {
		case "1.1":
			return &StatusError{Status: StatusOutOfResources, Comment: "disk full"}
		case "1.2":
			return errors.New("a secret path")
		case "1.3":
			return &StatusError{Status: 0xB007, Comment: "coerced"}
		case "1.4":
			return fmt.Errorf("wrapped: %w", &StatusError{Status: StatusDataSetMismatch})
		}
		return nil
	}}
	addr := startServer(t, &Server{AETitle: "ECHONODE", Handler: h, Limits: Limits{MaxObject: 1000}})
	ctx := testContext(t)
	c, err := testDialer().Dial(ctx, addr, []PresentationContext{{testClass, []string{uid.ExplicitVRLittleEndian}}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Abort()
	for _, tc := range []struct {
		uid     string
		size    int
		status  uint16
		comment string
		warning bool
	}{
		{"1.1", 10, 0xA700, "disk full", false},
		{"1.2", 10, 0xC000, "storing failed", false},
		{"1.3", 10, 0xB007, "coerced", true},
		{"1.4", 10, 0xA900, "", false},
		{"1.5", 1002, 0xA700, "object over the size limit", false},
		{"1.6", 1000, 0x0000, "", false},
	} {
		res, err := c.Store(ctx, Object{SOPClassUID: testClass, SOPInstanceUID: tc.uid, TransferSyntaxUID: uid.ExplicitVRLittleEndian,
			DataSet: bytes.NewReader(make([]byte, tc.size))})
		if res.Status != tc.status || res.Comment != tc.comment || res.Warning != tc.warning {
			t.Errorf("%s: %+v", tc.uid, res)
		}
		var se *StatusError
		if failed := ClassOf(tc.status) == ClassFailure; failed != errors.As(err, &se) {
			t.Errorf("%s: error %v", tc.uid, err)
		}
	}
	var ce *ContextError
	if _, err := c.Store(ctx, Object{SOPClassUID: testClass, SOPInstanceUID: "1.7", TransferSyntaxUID: jpegTS,
		DataSet: bytes.NewReader(nil)}); !errors.As(err, &ce) || ce.Proposed {
		t.Errorf("store without a context: %v", err)
	}
	if err := c.Release(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestSendAllBeyond128Contexts(t *testing.T) {
	h := &memoryStore{}
	addr := startServer(t, &Server{AETitle: "ECHONODE", Handler: h})
	dir := t.TempDir()
	var sources []ObjectSource
	want := map[string][32]byte{}
	for i, class := range DefaultStorageClasses()[:50] {
		for j, ts := range DefaultTransferSyntaxes()[:6] {
			uid := fmt.Sprintf("1.2.%d.%d", i+1, j+1)
			data := randomBytes(100 + 2*i)
			path := filepath.Join(dir, uid)
			var b bytes.Buffer
			part10.Write(&b, part10.Meta{SOPClassUID: class, SOPInstanceUID: uid, TransferSyntaxUID: ts, SourceAETitle: "SOMEONE"})
			b.Write(data)
			if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			sources = append(sources, FileSource(path))
			want[uid] = sha256.Sum256(data)
		}
	}
	sources = append(sources, FileSource(filepath.Join(dir, "missing")))
	results, err := testDialer().SendAll(testContext(t), addr, sources, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results[:300] {
		if r.Err != nil || r.Result.Status != 0 {
			t.Fatalf("object %d: %+v", i, r)
		}
		got, _ := h.get(r.Header.SOPInstanceUID)
		if sha256.Sum256(got.data) != want[r.Header.SOPInstanceUID] {
			t.Fatalf("object %d differs", i)
		}
	}
	if !errors.Is(results[300].Err, os.ErrNotExist) {
		t.Errorf("missing file: %v", results[300].Err)
	}
	if h.opened != 3 {
		t.Errorf("%d associations for 300 contexts, want 3", h.opened)
	}
}

// tool skips the test when a program is not installed.
func tool(t *testing.T, name string) string {
	t.Helper()
	p, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	return p
}

func TestDcmtkEcho(t *testing.T) {
	echoscu := tool(t, "echoscu")
	addr := startServer(t, &Server{AETitle: "ECHONODE"})
	host, port, _ := net.SplitHostPort(addr)
	if out, err := exec.Command(echoscu, "-aec", "ECHONODE", "--propose-ts", "3", "--repeat", "3", host, port).CombinedOutput(); err != nil {
		t.Fatalf("echoscu: %v\n%s", err, out)
	}
	out, err := exec.Command(echoscu, "-aec", "OTHER", host, port).CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("Called AE Title Not Recognized")) {
		t.Fatalf("echoscu to another title: %v\n%s", err, out)
	}
}
