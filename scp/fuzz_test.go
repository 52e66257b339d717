package scp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"reflect"
	"runtime"
	"testing"
	"time"

	"github.com/echonode/echonode/conformance/golden"
	"github.com/echonode/echonode/dicomio/encoding"
	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/scp/bufpool"
)

// allocated returns the bytes allocated while f runs.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// FuzzAssociate decodes A-ASSOCIATE bodies. What decodes must encode to
// something that decodes to the same, and no input may cost more memory than a
// small multiple of its length.
func FuzzAssociate(f *testing.F) {
	f.Add(golden.Bytes(f, goldenAssociateRQ)[6:], false)
	f.Add(golden.Bytes(f, goldenAssociateAC)[6:], true)
	f.Add(encodeAssociate(f, testAssociate())[6:], false)
	f.Add(golden.Bytes(f, capturedEchoscu)[6:], false)
	f.Fuzz(func(t *testing.T, b []byte, ac bool) {
		var p *associatePDU
		var err error
		if n := allocated(func() { p, err = parseAssociate(b, ac) }); n > uint64(64*len(b)+1<<16) {
			t.Fatalf("%d bytes allocated for %d", n, len(b))
		}
		if err != nil {
			if !errors.As(err, new(*ProtocolError)) {
				t.Fatalf("error %T", err)
			}
			return
		}
		enc, err := p.append(nil)
		if err != nil {
			return // items that only fit apart
		}
		again, err := parseAssociate(enc[6:], ac)
		if err != nil {
			t.Fatalf("%x was encoded as %x: %v", b, enc, err)
		}
		p.User.CommonExtended = 0 // not kept
		if !reflect.DeepEqual(p, again) {
			t.Fatalf("%+v came back as %+v", p, again)
		}
	})
}

// FuzzUserInformation does the same for the sub-items of user information.
func FuzzUserInformation(f *testing.F) {
	u := goldenRQ().User
	f.Add(u.append(nil)[0:])
	f.Add(golden.Bytes(f, "57000017 0007 312e322e332e34 0007 312e322e332e36 0003 000000"))
	f.Add(golden.Bytes(f, "59000006 0004 70617373"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var u, again userInformation
		if u.parse(b) != nil {
			return
		}
		if err := again.parse(u.append(nil)); err != nil {
			t.Fatalf("%x: %v", b, err)
		}
		u.CommonExtended = 0
		if !reflect.DeepEqual(u, again) {
			t.Fatalf("%+v came back as %+v", u, again)
		}
	})
}

// FuzzCommand does the same for command sets.
func FuzzCommand(f *testing.F) {
	for _, g := range goldenCommands {
		f.Add(golden.Bytes(f, g.text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var c *command
		var err error
		if n := allocated(func() { c, err = parseCommand(b) }); n > uint64(8*len(b)+1<<16) {
			t.Fatalf("%d bytes allocated for %d", n, len(b))
		}
		if err != nil {
			if !errors.As(err, new(*ProtocolError)) {
				t.Fatalf("error %T", err)
			}
			return
		}
		again, err := parseCommand(c.append(nil))
		if err != nil {
			t.Fatalf("%x: %v", b, err)
		}
		if !c.isResponse() && c.Field != cmdCancelRQ {
			c.RespondedTo = 0 // requests have none
		}
		again.Sub = c.Sub // counts of sub-operations are read only
		if !reflect.DeepEqual(c, again) {
			t.Fatalf("%+v came back as %+v", c, again)
		}
		StatusOf(failure(c))
		commentLO(c.ErrorComment)
	})
}

// FuzzCommitment does the same for storage commitment data sets.
func FuzzCommitment(f *testing.F) {
	res := &CommitResult{TransactionUID: "1.2.77", Committed: []Reference{{"1.2.3", "1.2.51"}}, Failed: []FailedReference{{Reference{"1.2.3", "1.2.52"}, 0x0112}}}
	f.Add(encodeCommitment(res, encoding.Syntax{}), true)
	f.Add(encodeCommitment(res, encoding.Syntax{Implicit: true}), false)
	f.Add(golden.Bytes(f, "0800 9511 06000000 312e322e3737 0800 9911 ffffffff feff00e0 ffffffff 0800 4011 ffffffff "+
		"feff00e0 00000000 feffdde0 00000000 feff0de0 00000000 feffdde0 00000000"), false)
	f.Fuzz(func(t *testing.T, b []byte, explicit bool) {
		var r *CommitResult
		var err error
		if n := allocated(func() { r, err = parseCommitment(b, encoding.Syntax{Implicit: !explicit}) }); n > uint64(64*len(b)+1<<16) {
			t.Fatalf("%d bytes allocated for %d", n, len(b))
		}
		if err != nil {
			if !errors.As(err, new(*StatusError)) {
				t.Fatalf("error %T", err)
			}
			return
		}
		again, err := parseCommitment(encodeCommitment(r, encoding.Syntax{}), encoding.Syntax{})
		if err != nil || !reflect.DeepEqual(r, again) {
			t.Fatalf("%+v came back as %+v, %v", r, again, err)
		}
	})
}

// scriptConn is a connection whose peer has sent everything it will send.
type scriptConn struct {
	in  *bytes.Reader
	out int
}

func (c *scriptConn) Read(p []byte) (int, error) { return c.in.Read(p) }
func (c *scriptConn) Write(p []byte) (int, error) {
	c.out += len(p)
	return len(p), nil
}
func (c *scriptConn) Close() error                     { return nil }
func (c *scriptConn) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
func (c *scriptConn) RemoteAddr() net.Addr             { return c.LocalAddr() }
func (c *scriptConn) SetDeadline(time.Time) error      { return nil }
func (c *scriptConn) SetReadDeadline(time.Time) error  { return nil }
func (c *scriptConn) SetWriteDeadline(time.Time) error { return nil }

// FuzzServer feeds a whole conversation to a server. It must end, cost no more
// than a few buffers and the answers, and the handler must never see a
// malformed request or more data than was sent.
func FuzzServer(f *testing.F) {
	associate := encodeAssociate(f, testAssociate())
	whole := concat(associate, commandPDU(ctxEcho, echoRQ(3)), commandPDU(ctxStore, storeRQ(4, "1.2.3")), dataPDU(ctxStore, 0, []byte("abcd")),
		dataPDU(ctxStore, pdvLast, []byte("ef")), appendRelease(nil, pduReleaseRQ))
	f.Add(whole)
	f.Add(concat(associate,
		commandPDU(ctxCommit, &command{Field: cmdActionRQ, MessageID: 1, HasMessageID: true, DataSetType: 1, RequestedSOPClass: uid.StorageCommitmentPushModel,
			RequestedSOPInstance: uid.StorageCommitmentPushModelInstance, ActionTypeID: 1, HasActionTypeID: true}),
		dataPDU(ctxCommit, pdvLast, encodeCommitment(&CommitResult{TransactionUID: "1.2.77", Committed: []Reference{{"1.2.3", "1.2.51"}}},
			encoding.Syntax{Implicit: true})),
		commandPDU(ctxCommit, &command{Field: cmdEventReportRQ | cmdResponse, RespondedTo: 1, DataSetType: noDataSet, HasStatus: true}),
		appendRelease(nil, pduReleaseRQ)))
	f.Add(concat(associate, appendAbort(nil, 0, 0)))
	f.Add(golden.Bytes(f, "0400 00000006 ffffffff 0100"))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		conn := &scriptConn{in: bytes.NewReader(b)}
		h := fuzzHandler{t, len(b)}
		s := &Server{AETitle: "ECHONODE", Handler: h}
		s.init()
		a := &association{srv: s, conn: conn, peer: "fuzz", log: s.log}
		n := allocated(func() {
			if err := a.guarded(func() error { a.run(); return nil }); err != nil {
				t.Fatal(err)
			}
		})
		// One large buffer, the decoded request, and responses at up to seven
		// times their size for a peer that takes eight-byte PDUs.
		if n > uint64(bufpool.Large+64*len(b)+32*conn.out+1<<18) {
			t.Fatalf("%d bytes allocated for %d in and %d out", n, len(b), conn.out)
		}
	})
}

type fuzzHandler struct {
	t   *testing.T
	max int
}

func (h fuzzHandler) Store(_ context.Context, req *StoreRequest, r io.Reader) error {
	if !uid.Valid(req.SOPInstanceUID) || req.SOPClassUID == "" || req.TransferSyntaxUID == "" || req.Association.CalledAE != "ECHONODE" {
		h.t.Fatalf("request %+v", req)
	}
	n, err := io.Copy(io.Discard, r)
	if n > int64(h.max) {
		h.t.Fatalf("%d bytes of %d", n, h.max)
	}
	return err
}

func (h fuzzHandler) Commit(_ context.Context, req *CommitRequest) (*CommitAnswer, error) {
	if !uid.Valid(req.TransactionUID) {
		h.t.Fatalf("request %+v", req)
	}
	return &CommitAnswer{Result: &CommitResult{TransactionUID: req.TransactionUID, Committed: req.References}}, nil
}

// FuzzClient feeds a whole conversation to a client that echoes and stores.
func FuzzClient(f *testing.F) {
	ac := &associatePDU{AC: true, ProtocolVersion: 1, ApplicationContext: uid.DICOMApplicationContext,
		Contexts: []contextItem{{ID: 1, TransferSyntaxes: []string{uid.ImplicitVRLittleEndian}}, {ID: 3, TransferSyntaxes: []string{uid.ExplicitVRLittleEndian}}},
		User:     userInformation{MaxLength: 16384}}
	echoRSP := &command{Field: cmdEchoRQ | cmdResponse, RespondedTo: 1, DataSetType: noDataSet, HasStatus: true}
	f.Add(concat(encodeAssociate(f, ac), commandPDU(1, echoRSP), commandPDU(3, storeRSP(2, 0xB000)), appendRelease(nil, pduReleaseRP)))
	f.Add(concat(encodeAssociate(f, ac), commandPDU(1, eventReportCommand(4, &CommitResult{})), dataPDU(1, pdvLast, nil), commandPDU(1, echoRSP),
		appendAbort(nil, 0, 0)))
	f.Add(appendReject(nil, &RejectError{1, 1, 7}))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := testDialer()
		d.NetDial = func(context.Context, string, string) (net.Conn, error) {
			return &scriptConn{in: bytes.NewReader(b)}, nil
		}
		ctx := context.Background()
		n := allocated(func() {
			c, err := d.Dial(ctx, "peer:104", []PresentationContext{{uid.Verification, []string{uid.ImplicitVRLittleEndian}},
				{testClass, []string{uid.ExplicitVRLittleEndian}}})
			if err != nil {
				return
			}
			if c.Echo(ctx) == nil {
				c.Store(ctx, Object{SOPClassUID: testClass, SOPInstanceUID: "1.2.3", TransferSyntaxUID: uid.ExplicitVRLittleEndian,
					DataSet: bytes.NewReader(make([]byte, 1000))})
			}
			c.Release(ctx)
			if !c.isOver() {
				t.Fatal("association goes on after release")
			}
		})
		if n > uint64(2*bufpool.Large+128*len(b)+1<<18) {
			t.Fatalf("%d bytes allocated for %d", n, len(b))
		}
	})
}
