package scp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/echonode/echonode/dicomio/uid"
)

func serve(t *testing.T, s *Server) (addr string, done chan error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done = make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	return l.Addr().String(), done
}

// TestShutdownLetsWorkFinish: an object in progress is stored and answered, an
// idle association is aborted, new ones are refused.
func TestShutdownLetsWorkFinish(t *testing.T) {
	storing, release := make(chan struct{}), make(chan struct{})
	h := &memoryStore{fail: func(*StoreRequest) error { close(storing); <-release; return nil }}
	s := &Server{AETitle: "ECHONODE", Handler: h, Timeouts: Timeouts{Linger: 100 * time.Millisecond}}
	addr, done := serve(t, s)
	ctx := testContext(t)
	idle := dialRaw(t, addr)
	idle.associate(nil)
	busy, err := testDialer().Dial(ctx, addr, []PresentationContext{{testClass, []string{uid.ExplicitVRLittleEndian}}})
	if err != nil {
		t.Fatal(err)
	}
	stored := make(chan error, 1)
	go func() {
		_, err := busy.Store(ctx, Object{SOPClassUID: testClass, SOPInstanceUID: "1.2.3", TransferSyntaxUID: uid.ExplicitVRLittleEndian,
			DataSet: bytes.NewReader(make([]byte, 1000))})
		if err == nil {
			err = busy.Release(ctx)
		}
		stored <- err
	}()
	happens(t, "the object arrives", storing)
	finished := make(chan error, 1)
	go func() { finished <- s.Shutdown(ctx) }()
	if err := <-done; !errors.Is(err, ErrServerClosed) {
		t.Errorf("Serve: %v", err)
	}
	if b := idle.expect(pduAbort); len(b) == 4 && b[2] != AbortByUser {
		t.Errorf("idle association: A-ABORT source %d", b[2])
	}
	select {
	case err := <-finished:
		t.Fatalf("Shutdown returned %v while an object was in progress", err)
	default:
	}
	close(release)
	if err := <-stored; err != nil {
		t.Errorf("object in progress: %v", err)
	}
	if err := <-finished; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if h.count() != 1 {
		t.Error("object not stored")
	}
	if _, err := testDialer().Dial(ctx, addr, []PresentationContext{{testClass, []string{uid.ExplicitVRLittleEndian}}}); err == nil {
		t.Error("associated after shutdown")
	}
	if err := s.Serve(mustListen(t)); !errors.Is(err, ErrServerClosed) {
		t.Errorf("Serve after Shutdown: %v", err)
	}
}

func mustListen(t *testing.T) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestShutdownDeadlineAndClose: a handler that waits for data is cut, its
// reader fails and its context ends.
func TestShutdownDeadlineAndClose(t *testing.T) {
	for _, how := range []string{"Shutdown", "Close"} {
		t.Run(how, func(t *testing.T) {
			half, readErr := make(chan struct{}), make(chan error, 1)
			s := &Server{AETitle: "ECHONODE", Handler: HandlerFunc(func(ctx context.Context, _ *StoreRequest, r io.Reader) error {
				if _, err := io.ReadFull(r, make([]byte, 4)); err == nil {
					close(half)
				}
				_, err := io.Copy(io.Discard, r)
				<-ctx.Done()
				readErr <- err
				return err
			})}
			addr, done := serve(t, s)
			p := dialRaw(t, addr)
			p.associate(nil)
			p.send(commandPDU(ctxStore, storeRQ(1, "1.2.3")), dataPDU(ctxStore, 0, []byte("half")))
			happens(t, "half an object arrives", half)
			if how == "Shutdown" {
				ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
				defer cancel()
				if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Shutdown: %v", err)
				}
			} else if err := s.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
			if err := <-readErr; err == nil {
				t.Error("reader of half an object ended without an error")
			}
			<-done
			until(t, "the association has ended", func() bool { return s.Associations() == 0 })
		})
	}
}

// TestShutdownDoesNotWaitForTheSilent: peers that stopped in the middle of an
// object, of a command or before their association are not waited for until the
// time of Shutdown is over.
func TestShutdownDoesNotWaitForTheSilent(t *testing.T) {
	half := make(chan struct{})
	receive := HandlerFunc(func(_ context.Context, _ *StoreRequest, r io.Reader) error {
		if _, err := io.ReadFull(r, make([]byte, 4)); err == nil {
			close(half)
		}
		_, err := io.Copy(io.Discard, r)
		return err
	})
	// Nothing but Shutdown ends them in time.
	long := Timeouts{ARTIM: time.Hour, Idle: time.Hour, PDU: time.Hour, Rate: time.Hour, Write: time.Hour, Linger: 50 * time.Millisecond}
	s := &Server{AETitle: "ECHONODE", Timeouts: long, Handler: receive}
	addr, done := serve(t, s)
	p := dialRaw(t, addr)
	p.associate(nil)
	p.send(commandPDU(ctxStore, storeRQ(1, "1.2.3")), dataPDU(ctxStore, 0, []byte("half")))
	happens(t, "half an object arrives", half)
	q := dialRaw(t, addr)
	q.associate(nil)
	q.send(commandPDU(ctxStore, storeRQ(1, "1.2.4"))[:10])
	dialRaw(t, addr)
	until(t, "three connections", func() bool { return s.Associations() == 3 })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	<-done
}

// TestNothingLeftBehind runs associations that end in every way and counts
// goroutines and descriptors.
func TestNothingLeftBehind(t *testing.T) {
	count := func() (int, int) {
		fds, _ := os.ReadDir("/proc/self/fd")
		return runtime.NumGoroutine(), len(fds)
	}
	s := &Server{AETitle: "ECHONODE", Handler: &memoryStore{}, Timeouts: Timeouts{Linger: 50 * time.Millisecond}}
	addr, done := serve(t, s)
	ctx := testContext(t)
	run := func() {
		for i := range 30 {
			c, err := testDialer().Dial(ctx, addr, []PresentationContext{{testClass, []string{uid.ExplicitVRLittleEndian}}})
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.Store(ctx, Object{SOPClassUID: testClass, SOPInstanceUID: uidN(i), TransferSyntaxUID: uid.ExplicitVRLittleEndian,
				DataSet: bytes.NewReader(make([]byte, 100000))})
			if err != nil {
				t.Fatal(err)
			}
			if i%2 == 0 {
				c.Abort()
			} else if err := c.Release(ctx); err != nil {
				t.Fatal(err)
			}
			p := dialRaw(t, addr)
			p.associate(nil)
			p.reset()
		}
		until(t, "all associations have ended", func() bool { return s.Associations() == 0 })
	}
	run()
	runtime.GC()
	g0, f0 := count()
	run()
	run()
	var g, f int
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if g, f = count(); g <= g0 && f <= f0 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if g > g0 || f > f0 {
		t.Errorf("goroutines %d -> %d, descriptors %d -> %d", g0, g, f0, f)
	}
	s.Close()
	<-done
}

// TestObserver counts what an operator would.
func TestObserver(t *testing.T) {
	type counts struct{ opened, closed, rejected, messages, failures, panics, objects int }
	var c counts
	events := make(chan func(), 100)
	s := &Server{AETitle: "ECHONODE", Handler: &memoryStore{fail: func(r *StoreRequest) error {
		if r.SOPInstanceUID == "1.2.2" {
			panic("doom")
		}
		return nil
	}}, Timeouts: Timeouts{Linger: 50 * time.Millisecond}, Observer: Observer{
		AssociationOpened:   func(*AssociationInfo) { events <- func() { c.opened++ } },
		AssociationClosed:   func(_ *AssociationInfo, x ClosedAssociation) { events <- func() { c.closed++; c.objects += x.Objects } },
		AssociationRejected: func(RejectedAssociation) { events <- func() { c.rejected++ } },
		Panicked:            func() { events <- func() { c.panics++ } },
		Message: func(m MessageEvent) {
			events <- func() {
				c.messages++
				if ClassOf(m.Status) == ClassFailure {
					c.failures++
				}
				if m.Command == "C-STORE" && (m.Bytes != 4 && m.Status == 0 || m.TransferSyntaxUID != uid.ExplicitVRLittleEndian) {
					t.Errorf("event %+v", m)
				}
			}
		},
	}}
	addr := startServer(t, s)
	p := dialRaw(t, addr)
	p.associate(nil)
	p.send(commandPDU(ctxEcho, echoRQ(1)), commandPDU(ctxStore, storeRQ(2, "1.2.1")), dataPDU(ctxStore, pdvLast, []byte("data")),
		commandPDU(ctxStore, storeRQ(3, "..")), dataPDU(ctxStore, pdvLast, []byte("data")))
	p.expectStatus(cmdEchoRQ, 1, 0)
	p.expectStatus(cmdStoreRQ, 2, 0)
	p.expectStatus(cmdStoreRQ, 3, StatusInvalidInstance)
	p.release()
	p = dialRaw(t, addr)
	p.associate(nil)
	p.send(commandPDU(ctxStore, storeRQ(2, "1.2.2")), dataPDU(ctxStore, pdvLast, []byte("data")))
	p.expectAbort(0)
	p = dialRaw(t, addr)
	p.send([]byte("GET / HTTP/1.1\r\n"))
	p.expectAbort(AbortUnrecognizedPDU)
	want := counts{opened: 2, closed: 2, rejected: 1, messages: 3, failures: 1, panics: 1, objects: 2}
	for range 9 {
		select {
		case f := <-events:
			f()
		case <-time.After(patience):
			t.Fatalf("counted %+v, want %+v", c, want)
		}
	}
	if c != want {
		t.Errorf("counted %+v, want %+v", c, want)
	}
}
