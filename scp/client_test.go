package scp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/echonode/echonode/conformance/freeport"
	"github.com/echonode/echonode/dicomio/part10"
	"github.com/echonode/echonode/dicomio/uid"
)

// badServer accepts one connection, runs script on it and closes it.
func badServer(t *testing.T, script func(p *rawPeer)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(time.Minute))
		script(&rawPeer{t, c})
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

// acceptAll reads a request and accepts every context with its first syntax.
func (p *rawPeer) acceptAll(edit func(*associatePDU)) {
	p.t.Helper()
	rq, err := parseAssociate(p.expect(pduAssociateRQ), false)
	if err != nil {
		p.t.Error(err)
		return
	}
	ac := &associatePDU{AC: true, ProtocolVersion: 1, Called: rq.Called, Calling: rq.Calling, ApplicationContext: uid.DICOMApplicationContext,
		User: userInformation{MaxLength: 16384}}
	for _, c := range rq.Contexts {
		ac.Contexts = append(ac.Contexts, contextItem{ID: c.ID, TransferSyntaxes: c.TransferSyntaxes[:1]})
	}
	if edit != nil {
		edit(ac)
	}
	p.send(encodeAssociate(p.t, ac))
}

// drainUntilEnd reads until the client is gone.
func (p *rawPeer) drainUntilEnd() { io.Copy(io.Discard, p) }

var clientTimeouts = Timeouts{
	ARTIM: 5 * time.Second, PDU: 5 * time.Second, Response: 5 * time.Second,
	Release: 5 * time.Second, Connect: 20 * time.Second, Write: 5 * time.Second, Rate: 5 * time.Second,
}

// isA reports whether err is or wraps a T.
func isA[T error](err error) bool {
	var t T
	return errors.As(err, &t)
}

// TestClientAgainstBadServers wants an error of the right kind, in time, and
// never an association that is used again.
func TestClientAgainstBadServers(t *testing.T) {
	for _, tc := range []struct {
		name   string
		script func(p *rawPeer)
		want   func(error) bool
		dial   bool
		alive  bool // the association goes on
	}{
		{"silent", func(p *rawPeer) { p.drainUntilEnd() }, isA[*TimeoutError], true, false},
		{"closes", func(p *rawPeer) {}, nil, true, false},
		{"http", func(p *rawPeer) { p.send([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")); p.drainUntilEnd() }, isA[*ProtocolError], true, false},
		{"rejects", func(p *rawPeer) {
			p.expect(pduAssociateRQ)
			p.send(appendReject(nil, &RejectError{1, 1, 7}))
		}, isA[*RejectError], true, false},
		{"aborts", func(p *rawPeer) { p.expect(pduAssociateRQ); p.send(appendAbort(nil, 2, 0)) }, isA[*AbortError], true, false},
		{"accept of 4 GiB", func(p *rawPeer) { p.send(lyingPDU(pduAssociateAC, 0xFFFFFFFF, nil)); p.drainUntilEnd() }, isA[*ProtocolError], true, false},
		{"half an accept", func(p *rawPeer) { p.send(lyingPDU(pduAssociateAC, 200, make([]byte, 100))); p.drainUntilEnd() }, isA[*TimeoutError], true, false},
		{"accepts with another syntax", func(p *rawPeer) {
			p.acceptAll(func(ac *associatePDU) { ac.Contexts[0].TransferSyntaxes = []string{jpegTS} })
			p.drainUntilEnd()
		}, isA[*ProtocolError], true, false},
		{"maximum length 4", func(p *rawPeer) {
			p.acceptAll(func(ac *associatePDU) { ac.User.MaxLength = 4 })
			p.drainUntilEnd()
		}, isA[*ProtocolError], true, false},
		{"context refused", func(p *rawPeer) {
			p.acceptAll(func(ac *associatePDU) { ac.Contexts[0].Result = contextTransferSyntaxUnsupported })
			p.drainUntilEnd()
		}, isA[*ContextError], false, true},
		{"context not answered", func(p *rawPeer) {
			p.acceptAll(func(ac *associatePDU) { ac.Contexts = nil })
			p.drainUntilEnd()
		}, isA[*ContextError], false, true},
		{"no response", func(p *rawPeer) { p.acceptAll(nil); p.drainUntilEnd() }, isA[*TimeoutError], false, false},
		{"half a response", func(p *rawPeer) {
			p.acceptAll(nil)
			p.storeMessage()
			p.send(commandPDU(1, storeRSP(1, 0))[:20])
			p.drainUntilEnd()
		}, isA[*TimeoutError], false, false},
		{"response to another message", func(p *rawPeer) {
			p.acceptAll(nil)
			p.storeMessage()
			p.send(commandPDU(1, storeRSP(99, 0)))
			p.drainUntilEnd()
		}, isA[*ProtocolError], false, false},
		{"response to another command", func(p *rawPeer) {
			p.acceptAll(nil)
			p.storeMessage()
			r := storeRSP(1, 0)
			r.Field = cmdEchoRQ | cmdResponse
			p.send(commandPDU(1, r))
			p.drainUntilEnd()
		}, isA[*ProtocolError], false, false},
		{"response without status", func(p *rawPeer) {
			p.acceptAll(nil)
			p.storeMessage()
			r := storeRSP(1, 0)
			r.HasStatus = false
			p.send(commandPDU(1, r))
			p.drainUntilEnd()
		}, isA[*ProtocolError], false, false},
		{"release instead of a response", func(p *rawPeer) {
			p.acceptAll(nil)
			p.storeMessage()
			p.send(appendRelease(nil, pduReleaseRQ))
			p.drainUntilEnd()
		}, isA[*ProtocolError], false, false},
		{"abort instead of a response", func(p *rawPeer) {
			p.acceptAll(nil)
			p.storeMessage()
			p.send(appendAbort(nil, 0, 0))
			p.drainUntilEnd()
		}, isA[*AbortError], false, false},
		{"abort in the data set", func(p *rawPeer) {
			p.acceptAll(nil)
			p.pdu()
			p.send(appendAbort(nil, 0, 0))
			p.Conn.(*net.TCPConn).CloseWrite()
			p.drainUntilEnd()
		}, isA[*AbortError], false, false},
		{"refuses", func(p *rawPeer) {
			p.acceptAll(nil)
			p.storeMessage()
			p.send(commandPDU(1, storeRSP(1, 0xA700)))
			p.drainUntilEnd()
		}, isA[*StatusError], false, true},
		{"asks something itself", func(p *rawPeer) {
			p.acceptAll(nil)
			p.storeMessage()
			p.send(commandPDU(1, &command{Field: 0x0020, MessageID: 5, HasMessageID: true, DataSetType: 1, AffectedSOPClass: testClass}),
				dataPDU(1, pdvLast, []byte("ab")))
			p.expectStatus(0x0020, 5, StatusUnrecognizedOp)
			p.send(commandPDU(1, storeRSP(1, 0xC123)))
			p.drainUntilEnd()
		}, isA[*StatusError], false, true},
		{"never reads", func(p *rawPeer) {
			p.Conn.(*net.TCPConn).SetReadBuffer(4096)
			p.acceptAll(nil)
			<-p.t.Context().Done() // the client has given up
		}, isA[*TimeoutError], false, false},
		{"resets in the data set", func(p *rawPeer) { p.acceptAll(nil); p.pdu(); p.reset() }, nil, false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			addr := badServer(t, tc.script)
			d := testDialer()
			d.Timeouts = clientTimeouts
			ctx := testContext(t)
			size := 100 << 10
			if tc.name == "never reads" || tc.name == "resets in the data set" || tc.name == "abort in the data set" {
				size = 20 << 20 // more than the buffers in between
			}
			start := time.Now()
			c, err := d.Dial(ctx, addr, []PresentationContext{{testClass, []string{uid.ExplicitVRLittleEndian}}})
			if tc.dial {
				if err == nil {
					t.Fatal("associated")
				}
			} else if err != nil {
				t.Fatal(err)
			} else {
				defer c.Abort()
				_, err = c.Store(ctx, Object{SOPClassUID: testClass, SOPInstanceUID: "1.2.3", TransferSyntaxUID: uid.ExplicitVRLittleEndian,
					DataSet: bytes.NewReader(make([]byte, size))})
				if err == nil {
					t.Fatal("stored")
				}
				if alive := !c.isOver(); alive != tc.alive {
					t.Errorf("association alive: %v after %v", alive, err)
				}
			}
			if tc.want != nil && !tc.want(err) {
				t.Errorf("error %T %v", err, err)
			}
			if d := time.Since(start); d > 50*time.Second {
				t.Errorf("took %v", d)
			}
		})
	}
}

func storeRSP(id, status uint16) *command {
	return &command{Field: cmdStoreRQ | cmdResponse, RespondedTo: id, DataSetType: noDataSet, Status: status, HasStatus: true}
}

// storeMessage reads a C-STORE-RQ and its data set.
func (p *rawPeer) storeMessage() {
	p.t.Helper()
	p.command()
	for {
		typ, b := p.pdu()
		if typ != pduData || b[5]&pdvLast != 0 {
			return
		}
	}
}

func TestDialErrors(t *testing.T) {
	ctx := testContext(t)
	pcs := []PresentationContext{{uid.Verification, []string{uid.ImplicitVRLittleEndian}}}
	addr := freeport.Addr(t) // nobody listens
	if _, err := testDialer().Dial(ctx, addr, pcs); err == nil {
		t.Error("dialled a closed port")
	}
	for _, d := range []*Dialer{{CallingAE: "", CalledAE: "X"}, {CallingAE: "X", CalledAE: "SEVENTEEN LETTERS"}, {CallingAE: "A\\B", CalledAE: "X"}} {
		if _, err := d.Dial(ctx, addr, pcs); err == nil {
			t.Errorf("dialled as %q to %q", d.CallingAE, d.CalledAE)
		}
	}
	if _, err := testDialer().Dial(ctx, addr, nil); err == nil {
		t.Error("dialled without contexts")
	}
	if _, err := testDialer().Dial(ctx, addr, make([]PresentationContext, 129)); err == nil {
		t.Error("dialled with 129 contexts")
	}
	d := testDialer()
	d.Timeouts.Connect = 50 * time.Millisecond
	d.NetDial = func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
	var te *TimeoutError
	if _, err := d.Dial(ctx, addr, pcs); !errors.As(err, &te) || te.Phase != "connect" {
		t.Errorf("connect timeout: %v", err)
	}
}

// TestCancelledContext interrupts a store and wants no reuse.
func TestCancelledContext(t *testing.T) {
	addr := badServer(t, func(p *rawPeer) { p.acceptAll(nil); p.drainUntilEnd() })
	c, err := testDialer().Dial(testContext(t), addr, []PresentationContext{{testClass, []string{uid.ExplicitVRLittleEndian}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(100*time.Millisecond, cancel)
	o := Object{SOPClassUID: testClass, SOPInstanceUID: "1.2.3", TransferSyntaxUID: uid.ExplicitVRLittleEndian, DataSet: bytes.NewReader(nil)}
	if _, err := c.Store(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled store: %v", err)
	}
	if _, err := c.Store(context.Background(), o); !errors.Is(err, ErrClientClosed) {
		t.Errorf("store after a cancelled one: %v", err)
	}
}

// TestFailingSource: an error of the data set's reader must not look like a
// whole object to the peer.
func TestFailingSource(t *testing.T) {
	h := &memoryStore{}
	s := &Server{AETitle: "ECHONODE", Handler: h}
	addr := startServer(t, s)
	ctx := testContext(t)
	c, err := testDialer().Dial(ctx, addr, []PresentationContext{{testClass, []string{uid.ExplicitVRLittleEndian}}})
	if err != nil {
		t.Fatal(err)
	}
	r := io.MultiReader(bytes.NewReader(make([]byte, 300000)), &brokenReader{})
	_, err = c.Store(ctx, Object{SOPClassUID: testClass, SOPInstanceUID: "1.2.3", TransferSyntaxUID: uid.ExplicitVRLittleEndian, DataSet: r})
	if !errors.Is(err, os.ErrPermission) {
		t.Errorf("store: %v", err)
	}
	if !c.isOver() {
		t.Error("association goes on after half an object")
	}
	until(t, "the association has ended", func() bool { return s.Associations() == 0 })
	if h.count() != 0 {
		t.Error("half an object was stored")
	}
}

type brokenReader struct{}

func (*brokenReader) Read([]byte) (int, error) { return 0, os.ErrPermission }

// TestSendAllGoesOn loses an association in the middle.
func TestSendAllGoesOn(t *testing.T) {
	h := &memoryStore{fail: func(r *StoreRequest) error {
		switch r.SOPInstanceUID {
		case "1.2.4":
			panic("this object is poison")
		case "1.2.5":
			return &StatusError{Status: StatusDataSetMismatch, Comment: "no"}
		}
		return nil
	}}
	addr := startServer(t, &Server{AETitle: "ECHONODE", Handler: h, Timeouts: Timeouts{Linger: 50 * time.Millisecond},
		Contexts: []PresentationContext{{testClass, nil}}})
	dir := t.TempDir()
	var sources []ObjectSource
	for i := range 8 {
		class := testClass
		if i == 6 {
			class = usmfClass // not taken
		}
		path := filepath.Join(dir, fmt.Sprint(i))
		var b bytes.Buffer
		part10.Write(&b, part10.Meta{SOPClassUID: class, SOPInstanceUID: fmt.Sprintf("1.2.%d", i), TransferSyntaxUID: uid.ExplicitVRLittleEndian})
		b.WriteString("data")
		os.WriteFile(path, b.Bytes(), 0o600)
		sources = append(sources, FileSource(path))
	}
	var order []int
	results, err := testDialer().SendAll(testContext(t), addr, sources, func(i int, _ SendResult) { order = append(order, i) })
	if err != nil {
		t.Fatal(err)
	}
	var se *StatusError
	var ce *ContextError
	for i, r := range results {
		switch i {
		case 4:
			if r.Err == nil || errors.As(r.Err, &se) {
				t.Errorf("object 4: %+v", r)
			}
		case 5:
			if !errors.As(r.Err, &se) || r.Result.Status != StatusDataSetMismatch || r.Result.Comment != "no" {
				t.Errorf("object 5: %+v", r)
			}
		case 6:
			if !errors.As(r.Err, &ce) || ce.Result != contextAbstractSyntaxUnsupported {
				t.Errorf("object 6: %+v", r)
			}
		default:
			if r.Err != nil {
				t.Errorf("object %d: %+v", i, r)
			}
		}
	}
	if len(order) != 8 {
		t.Errorf("done called for %v", order)
	}
	if h.opened != 2 {
		t.Errorf("%d associations, want 2", h.opened)
	}
}

// What loses its association twice, and a peer that has gone, end it: the rest says that
// it was not tried, and why. One that was never reached is everybody's error.
func TestSendAllEnds(t *testing.T) {
	h := &memoryStore{fail: func(*StoreRequest) error { panic("these objects are poison") }}
	addr := startServer(t, &Server{AETitle: "ECHONODE", Handler: h, Timeouts: Timeouts{Linger: 50 * time.Millisecond},
		Contexts: []PresentationContext{{testClass, nil}}})
	dir := t.TempDir()
	var sources []ObjectSource
	for i := range 4 {
		path := filepath.Join(dir, fmt.Sprint(i))
		var b bytes.Buffer
		part10.Write(&b, part10.Meta{SOPClassUID: testClass, SOPInstanceUID: fmt.Sprintf("1.2.%d", i), TransferSyntaxUID: uid.ExplicitVRLittleEndian})
		b.WriteString("data")
		os.WriteFile(path, b.Bytes(), 0o600)
		sources = append(sources, FileSource(path))
	}
	away := errors.New("no route to host")
	for _, c := range []struct {
		name  string
		dials int // that reach the peer
		tried int // objects
		why   error
	}{{"two lost associations", 10, 2, nil}, {"the peer has gone", 1, 1, away}, {"it was never there", 0, 4, away}} {
		d, dials := testDialer(), 0
		d.NetDial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if dials++; dials > c.dials {
				return nil, away
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
		results, err := d.SendAll(testContext(t), addr, sources, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range results {
			if r.Err == nil || errors.Is(r.Err, ErrNotTried) != (i >= c.tried) || i == 3 && c.why != nil && !errors.Is(r.Err, c.why) {
				t.Errorf("%s, object %d: %v", c.name, i, r.Err)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	results, err := testDialer().SendAll(ctx, addr, sources, nil)
	if !errors.Is(err, context.Canceled) || !errors.Is(results[0].Err, ErrNotTried) || !errors.Is(results[0].Err, context.Canceled) {
		t.Errorf("%v, %v", results, err)
	}
}

func TestFileObjectRefuses(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string][]byte{
		"empty": nil, "short": make([]byte, 131), "no magic": make([]byte, 200),
		"no meta":      append(make([]byte, 128), "DICM"...),
		"huge element": append(append(make([]byte, 128), "DICM"...), 2, 0, 1, 0, 'O', 'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF),
		"cut off":      append(append(make([]byte, 128), "DICM"...), 2, 0, 2, 0, 'U', 'I', 20, 0, '1'),
	} {
		path := filepath.Join(dir, name)
		os.WriteFile(path, content, 0o600)
		if o, err := FileObject(path); !errors.Is(err, part10.ErrNotPart10) {
			o.Close()
			t.Errorf("%s: %v", name, err)
		}
	}
}
