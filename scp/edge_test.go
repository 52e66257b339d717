package scp

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/scp/bufpool"
)

// echoRefuser is a Handler that refuses echoes.
type echoRefuser struct{ sinkHandler }

func (echoRefuser) Echo(context.Context, *AssociationInfo) error {
	return &StatusError{Status: StatusNotAuthorized, Comment: "not today"}
}

func TestEchoer(t *testing.T) {
	addr := startServer(t, &Server{Handler: echoRefuser{}})
	ctx := testContext(t)
	c, err := testDialer().Dial(ctx, addr, []PresentationContext{{uid.Verification, []string{uid.ImplicitVRLittleEndian}}})
	if err != nil {
		t.Fatal(err)
	}
	var se *StatusError
	if err := c.Echo(ctx); !errors.As(err, &se) || se.Status != StatusNotAuthorized || se.Comment != "not today" {
		t.Errorf("echo: %v", err)
	}
	if err := c.Release(ctx); err != nil {
		t.Error(err)
	}
}

// TestReaders reads a data set by every way a handler might.
func TestReaders(t *testing.T) {
	data := randomBytes(500000)
	for name, read := range map[string]func(io.Reader) ([]byte, error){
		"ReadAll": io.ReadAll,
		"WriteTo": func(r io.Reader) ([]byte, error) {
			var b bytes.Buffer
			_, err := r.(io.WriterTo).WriteTo(&b)
			return b.Bytes(), err
		},
		"bytes": func(r io.Reader) ([]byte, error) {
			var out []byte
			for one := make([]byte, 1); ; {
				n, err := r.Read(one)
				out = append(out, one[:n]...)
				if err == io.EOF {
					return out, nil
				}
				if err != nil {
					return nil, err
				}
			}
		},
		"long pieces": func(r io.Reader) (out []byte, err error) {
			for err == nil {
				var n int
				p := make([]byte, 100000)
				n, err = io.ReadFull(r, p)
				out = append(out, p[:n]...)
			}
			if err == io.ErrUnexpectedEOF || err == io.EOF {
				err = nil
			}
			return out, err
		},
		"first part only": func(r io.Reader) ([]byte, error) {
			_, err := io.ReadFull(r, make([]byte, 1000))
			return data, err
		},
		"after the end": func(r io.Reader) ([]byte, error) {
			b, err := io.ReadAll(r)
			if n, eof := r.Read(make([]byte, 10)); n != 0 || eof != io.EOF {
				return nil, errors.New("read on after the end")
			}
			return b, err
		},
		"failing writer": func(r io.Reader) ([]byte, error) {
			_, err := io.Copy(&shortWriter{}, r)
			if err == nil {
				return nil, errors.New("no error of the writer")
			}
			return data, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			result := make(chan []byte, 1)
			addr := startServer(t, &Server{Handler: HandlerFunc(func(_ context.Context, _ *StoreRequest, r io.Reader) error {
				b, err := read(r)
				result <- b
				return err
			})})
			ctx := testContext(t)
			c, err := testDialer().Dial(ctx, addr, []PresentationContext{{testClass, []string{uid.ExplicitVRLittleEndian}}})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Abort()
			for range 2 { // the association goes on after the first
				if _, err := c.Store(ctx, Object{SOPClassUID: testClass, SOPInstanceUID: "1.2", TransferSyntaxUID: uid.ExplicitVRLittleEndian,
					DataSet: bytes.NewReader(data)}); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(<-result, data) {
					t.Error("data differ")
				}
			}
		})
	}
}

// TestReadSizes reads long and short pieces of data sets that come in long and
// short PDVs, one or several to a PDU, which arrive cut anywhere.
func TestReadSizes(t *testing.T) {
	rng, handlerRNG := rand.New(rand.NewPCG(1, 2)), rand.New(rand.NewPCG(3, 4))
	sizes := []int{2, 100, directMin - 2, directMin, directMin + 14, 60000, 100000}
	pick := func(rng *rand.Rand) int { return sizes[rng.IntN(len(sizes))] }
	var (
		mu  sync.Mutex
		got []byte
	)
	addr := startServer(t, &Server{Handler: HandlerFunc(func(_ context.Context, _ *StoreRequest, r io.Reader) error {
		mu.Lock()
		defer mu.Unlock()
		got = nil
		for {
			p := make([]byte, pick(handlerRNG)-handlerRNG.IntN(2))
			n, err := r.Read(p)
			got = append(got, p[:n]...)
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
		}
	})})
	p := dialRaw(t, addr)
	p.associate(nil)
	for round := range uint16(50) {
		data := randomBytes(2 * (1 + rng.IntN(200000)))
		stream := commandPDU(ctxStore, storeRQ(round, "1.2.1"))
		for rest := data; len(rest) > 0; {
			var pdvs []byte
			for len(rest) > 0 && (len(pdvs) == 0 || rng.IntN(3) == 0) && len(pdvs) < 20000 {
				n := min(pick(rng), len(rest))
				control := byte(0)
				if n == len(rest) {
					control = pdvLast
				}
				pdvs = append(binary.BigEndian.AppendUint32(pdvs, uint32(n+2)), ctxStore, control)
				pdvs = append(pdvs, rest[:n]...)
				rest = rest[n:]
			}
			stream = append(stream, pduData, 0)
			stream = append(binary.BigEndian.AppendUint32(stream, uint32(len(pdvs))), pdvs...)
		}
		for len(stream) > 0 {
			n := min(1+rng.IntN(150000), len(stream))
			p.send(stream[:n])
			stream = stream[n:]
		}
		p.expectStatus(cmdStoreRQ, round, StatusSuccess)
		mu.Lock()
		if !bytes.Equal(got, data) {
			t.Fatalf("round %d: %d bytes read, %d sent, or they differ", round, len(got), len(data))
		}
		mu.Unlock()
	}
	p.release()
}

type shortWriter struct{}

func (*shortWriter) Write(p []byte) (int, error) { return len(p) / 2, io.ErrShortWrite }

// TestObjectLimits: an object over the limit is refused and drained up to twice
// the limit; beyond that the association is cut.
func TestObjectLimits(t *testing.T) {
	for _, handler := range []Handler{sinkHandler{}, &memoryStore{}} {
		addr := startServer(t, &Server{Handler: handler, Limits: Limits{MaxObject: 10000}})
		p := dialRaw(t, addr)
		p.associate(nil)
		p.send(commandPDU(ctxStore, storeRQ(1, "1.2.1")), dataPDU(ctxStore, 0, make([]byte, 10000)), dataPDU(ctxStore, pdvLast, nil))
		p.expectStatus(cmdStoreRQ, 1, StatusSuccess)
		p.send(commandPDU(ctxStore, storeRQ(2, "1.2.2")), dataPDU(ctxStore, 0, make([]byte, 10000)), dataPDU(ctxStore, pdvLast, make([]byte, 8000)))
		p.expectStatus(cmdStoreRQ, 2, StatusOutOfResources)
		p.send(commandPDU(ctxStore, storeRQ(3, "1.2.3")), dataPDU(ctxStore, 0, make([]byte, 10000)), dataPDU(ctxStore, 0, make([]byte, 10000)),
			dataPDU(ctxStore, 0, make([]byte, 10000)))
		p.expectAbort(AbortNotSpecified)
	}
}

// TestSlowHandler: time the handler takes must not count against the peer.
func TestSlowHandler(t *testing.T) {
	addr := startServer(t, &Server{
		Handler: HandlerFunc(func(_ context.Context, _ *StoreRequest, r io.Reader) error {
			time.Sleep(2500 * time.Millisecond)
			_, err := io.Copy(io.Discard, r)
			return err
		}),
		Timeouts: Timeouts{PDU: 2 * time.Second, Rate: 2 * time.Second, Idle: 2 * time.Second},
	})
	ctx := testContext(t)
	c, err := testDialer().Dial(ctx, addr, []PresentationContext{{testClass, []string{uid.ExplicitVRLittleEndian}}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Abort()
	if _, err := c.Store(ctx, Object{SOPClassUID: testClass, SOPInstanceUID: "1.2", TransferSyntaxUID: uid.ExplicitVRLittleEndian,
		DataSet: bytes.NewReader(make([]byte, 3<<20))}); err != nil {
		t.Error(err)
	}
}

// TestEachPDUInOneWrite counts the writes of a client: a PDU in two writes
// meets Nagle's algorithm and delayed acknowledgements.
func TestEachPDUInOneWrite(t *testing.T) {
	addr := startServer(t, &Server{Handler: &memoryStore{}, Limits: Limits{MaxPDU: 16384}})
	var conn *countingConn
	d := testDialer()
	d.NetDial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		conn = &countingConn{Conn: c}
		return conn, err
	}
	ctx := testContext(t)
	c, err := d.Dial(ctx, addr, []PresentationContext{{testClass, []string{uid.ExplicitVRLittleEndian}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Store(ctx, Object{SOPClassUID: testClass, SOPInstanceUID: "1.2", TransferSyntaxUID: uid.ExplicitVRLittleEndian,
		DataSet: bytes.NewReader(make([]byte, 1<<20))}); err != nil {
		t.Fatal(err)
	}
	if err := c.Release(ctx); err != nil {
		t.Fatal(err)
	}
	for i, b := range conn.writes {
		for len(b) > 0 {
			n := 6 + int(b[2])<<24 + int(b[3])<<16 + int(b[4])<<8 + int(b[5])
			if n > len(b) {
				t.Fatalf("write %d ends inside a PDU", i)
			}
			if n-6 > 16384 {
				t.Fatalf("PDU of %d bytes for a peer that takes 16384", n-6)
			}
			b = b[n:]
		}
	}
	if len(conn.writes) > 10 {
		t.Errorf("%d writes for 1 MiB", len(conn.writes))
	}
}

type countingConn struct {
	net.Conn
	writes [][]byte
}

func (c *countingConn) Write(p []byte) (int, error) {
	c.writes = append(c.writes, bytes.Clone(p))
	return c.Conn.Write(p)
}

// TestManyAtOnce has 200 peers inside data sets at the same time: most of them
// get by with a medium buffer, all objects arrive whole.
func TestManyAtOnce(t *testing.T) {
	h := &memoryStore{}
	s := &Server{Handler: h}
	addr := startServer(t, s)
	data := randomBytes(70000)
	var peers []*rawPeer
	for i := range 200 {
		p := dialRaw(t, addr)
		p.associate(nil)
		p.send(commandPDU(ctxStore, storeRQ(1, uidN(i))), dataPDU(ctxStore, 0, data[:40000]))
		peers = append(peers, p)
	}
	until(t, "all large buffers are in use", func() bool { return s.pool.LargeLent() == bufpool.MaxLarge })
	for _, p := range peers {
		p.send(dataPDU(ctxStore, pdvLast, data[40000:]))
	}
	for i, p := range peers {
		p.expectStatus(cmdStoreRQ, 1, 0)
		if got, _ := h.get(uidN(i)); !bytes.Equal(got.data, data) {
			t.Errorf("object %d differs", i)
		}
		p.release()
	}
	until(t, "all large buffers are given back", func() bool { return s.pool.LargeLent() == 0 })
}

func TestStatusClasses(t *testing.T) {
	for status, want := range map[uint16]string{
		0x0000: "success", 0x0001: "warning", 0x0107: "warning", 0x0116: "warning", 0xB000: "warning", 0xB007: "warning", 0xBFFF: "warning",
		0xA700: "failure", 0xA900: "failure", 0xC000: "failure", 0x0110: "failure", 0x0122: "failure", 0x0211: "failure",
		0xFE00: "cancel", 0xFF00: "pending", 0xFF01: "pending",
	} {
		if got := ClassOf(status).String(); got != want {
			t.Errorf("%04X is a %s, want %s", status, got, want)
		}
	}
}

func TestPrintable(t *testing.T) {
	for s, want := range map[string]string{
		"disk full":             "disk full",
		"Größe, 心臓":             "Größe, 心臓",
		"a\x1b[2Jb\r\nc":        `a\x1b[2Jb\x0d\x0ac`,
		"a\xffb":                `a\xffb`,
		"evil\u202Etxt":         `evil\xe2\x80\xaetxt`,
		"\u0085 \u200b \ufffd?": `\xc2\x85 \xe2\x80\x8b \xef\xbf\xbd?`,
	} {
		if got := Printable(s); got != want {
			t.Errorf("Printable(%q) = %s, want %s", s, got, want)
		}
	}
}

func TestErrorTexts(t *testing.T) {
	cause := errors.New("cause")
	for want, err := range map[string]error{
		"dicom: status A700H (full): cause": &StatusError{Status: 0xA700, Comment: "full", Err: cause},
		// A peer's words are shown to who asks, not written into every log.
		"dicom: status A701H": &StatusError{Status: 0xA701, Comment: "Doe^Jane\x1b[2J", peer: true},
		"dicom: association rejected for now: local limit exceeded (result 2, source 3, reason 2)":               &RejectError{2, 3, 2},
		"dicom: association rejected permanently: protocol version not supported (result 1, source 2, reason 2)": &RejectError{1, 2, 2},
		"dicom: association rejected permanently: unknown reason (result 1, source 9, reason 9)":                 &RejectError{1, 9, 9},
		"dicom: association aborted by the peer's upper layer (source 2, reason 6)":                              &AbortError{2, 6},
		"dicom: idle timeout": &TimeoutError{"idle"},
		"dicom: presentation context for SOP class 1.2 in transfer syntax 1.3 was not proposed":                     &ContextError{"1.2", "1.3", false, 0},
		"dicom: presentation context for SOP class 1.2 in transfer syntax 1.3 was refused: SOP class not supported": &ContextError{"1.2", "1.3", true, 3},
	} {
		if err.Error() != want {
			t.Errorf("%q, want %q", err, want)
		}
	}
	if !errors.Is(&StatusError{Err: cause}, cause) {
		t.Error("StatusError hides its cause")
	}
	var ne net.Error = &TimeoutError{"pdu"}
	if !ne.Timeout() {
		t.Error("TimeoutError is no timeout")
	}
	if !(&RejectError{Result: RejectTransient}).Temporary() || (&RejectError{Result: RejectPermanent}).Temporary() {
		t.Error("RejectError: Temporary is wrong")
	}
}

func TestCommentLO(t *testing.T) {
	for in, want := range map[string]string{
		"disk full": "disk full", " a ": "a", "a\\b\nc": "a?b?c", "Größe": "Gr??e", strings.Repeat("x", 100): strings.Repeat("x", 64), "": "",
	} {
		if got := commentLO(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

func TestContextsFor(t *testing.T) {
	got := ContextsFor([]ObjectHeader{{"1.1", "x", "2.1"}, {"1.1", "y", "2.2"}, {"1.2", "z", "2.1"}, {"1.1", "w", "2.1"}})
	if len(got) != 3 || got[0].AbstractSyntax != "1.1" || got[1].TransferSyntaxes[0] != "2.2" || got[2].AbstractSyntax != "1.2" {
		t.Errorf("%v", got)
	}
}

// TestWaitCommitmentEnds covers the ways a result does not come.
func TestWaitCommitmentEnds(t *testing.T) {
	for name, tc := range map[string]struct {
		script func(p *rawPeer)
		want   func(error) bool
	}{
		"release": {func(p *rawPeer) { p.acceptAll(nil); p.send(appendRelease(nil, pduReleaseRQ)); p.expect(pduReleaseRP) },
			func(err error) bool { return errors.Is(err, io.EOF) }},
		"silence":  {func(p *rawPeer) { p.acceptAll(nil); p.drainUntilEnd() }, isA[*TimeoutError]},
		"response": {func(p *rawPeer) { p.acceptAll(nil); p.send(commandPDU(1, storeRSP(1, 0))); p.drainUntilEnd() }, isA[*ProtocolError]},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := testDialer()
			d.Timeouts = clientTimeouts
			ctx := context.Background()
			c, err := d.Dial(ctx, badServer(t, tc.script), commitContext)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.WaitCommitment(ctx); err == nil || !tc.want(err) {
				t.Errorf("%T %v", err, err)
			}
			if !c.isOver() {
				t.Error("association goes on")
			}
		})
	}
}

// TestReleaseCollision: the peer asks for release at the same moment.
func TestReleaseCollision(t *testing.T) {
	addr := badServer(t, func(p *rawPeer) {
		p.acceptAll(nil)
		p.expect(pduReleaseRQ)
		p.send(appendRelease(nil, pduReleaseRQ))
		p.expect(pduReleaseRP)
		p.send(appendRelease(nil, pduReleaseRP))
		p.expect(0)
	})
	ctx := testContext(t)
	c, err := testDialer().Dial(ctx, addr, commitContext)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Release(ctx); err != nil {
		t.Error(err)
	}
}

// TestPolicyError: any other error of a policy or of the authentication rejects
// without telling why.
func TestPolicyError(t *testing.T) {
	s := &Server{Policy: PolicyFunc(func(_ context.Context, r *AssociateRequest) error {
		if r.CallingAE == "BAD" && r.RemoteAddr != nil && len(r.Contexts) == 4 {
			return errors.New("secret reason")
		}
		return nil
	})}
	p := dialRaw(t, startServer(t, s))
	p.send(encodeAssociate(t, testAssociate()))
	p.expectReject(RejectPermanent, SourceUser, ReasonNoReason)
}

// TestCertificateTitles: no certificate, no titles.
func TestCertificateTitles(t *testing.T) {
	if got := CertificateTitles(tls.ConnectionState{}); got == nil || len(got) != 0 {
		t.Errorf("%v", got)
	}
	cert, _ := selfSigned("CART1")
	if got := CertificateTitles(tls.ConnectionState{PeerCertificates: nil}); len(got) != 0 {
		t.Errorf("%v", got)
	}
	cs := tls.ConnectionState{}
	cs.PeerCertificates = append(cs.PeerCertificates, cert.Leaf)
	if got := CertificateTitles(cs); len(got) != 2 || got[0] != "CART1" {
		t.Errorf("%v", got)
	}
}
