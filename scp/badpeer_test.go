package scp

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/echonode/echonode/conformance/golden"
	"github.com/echonode/echonode/dicomio/uid"
)

// serverEnv makes the test binary a server, see serverProcess.
const serverEnv = "SCP_TEST_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(serverEnv) != "" {
		serverProcess()
		return
	}
	// Most tests wait for timeouts, not for a processor.
	flag.Parse()
	flag.Set("test.parallel", "32")
	os.Exit(m.Run())
}

// badPeerTimeouts are short enough for every slow peer to be caught in a test.
var badPeerTimeouts = Timeouts{
	ARTIM: 6 * time.Second, Idle: 8 * time.Second, PDU: 5 * time.Second,
	Rate: 5 * time.Second, Write: 5 * time.Second, Linger: 200 * time.Millisecond,
}

// sinkHandler discards objects and takes commitments.
type sinkHandler struct{}

func (sinkHandler) Store(_ context.Context, req *StoreRequest, r io.Reader) error {
	if req.SOPInstanceUID == "6.6.6" {
		panic("object of doom")
	}
	_, err := io.Copy(io.Discard, r)
	return err
}

func (sinkHandler) Commit(_ context.Context, req *CommitRequest) (*CommitAnswer, error) {
	return &CommitAnswer{Result: &CommitResult{TransactionUID: req.TransactionUID, Committed: req.References}}, nil
}

// serverProcess serves until its standard input ends. It prints its plain and
// TLS addresses, and for each line of input its goroutines, descriptors, live
// heap and peak resident set in KiB.
func serverProcess() {
	var listeners [2]net.Listener
	for i := range listeners {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		listeners[i] = l
	}
	cert, _ := selfSigned("localhost")
	servers := []*Server{
		{AETitle: "ECHONODE", Handler: sinkHandler{}, Timeouts: badPeerTimeouts},
		{AETitle: "ECHONODE", Handler: sinkHandler{}, Timeouts: badPeerTimeouts, TLSConfig: ServerTLS(cert, nil)},
	}
	for i, s := range servers {
		go s.Serve(listeners[i])
	}
	fmt.Println(listeners[0].Addr(), listeners[1].Addr())
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		runtime.GC()
		var ms runtime.MemStats
		runtime.ReadMemStats(&ms)
		fds, _ := os.ReadDir("/proc/self/fd")
		fmt.Println(runtime.NumGoroutine(), len(fds), ms.HeapAlloc>>10, peakRSS())
	}
	os.Exit(0)
}

// peakRSS is VmHWM in KiB, 0 where the system does not tell.
func peakRSS() int {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, _ := strconv.Atoi(strings.Fields(v)[0])
			return n
		}
	}
	return 0
}

// victim is a server in a process of its own.
type victim struct {
	plain, tls string
	in         io.Writer
	out        *bufio.Scanner
}

type vitals struct{ goroutines, fds, heapKiB, peakKiB int }

func startVictim(t *testing.T) *victim {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serverEnv+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("server process: %v", err)
		}
	})
	v := &victim{in: in, out: bufio.NewScanner(out)}
	if !v.out.Scan() {
		t.Fatal("server process says nothing")
	}
	fmt.Sscan(v.out.Text(), &v.plain, &v.tls)
	return v
}

func (v *victim) vitals(t *testing.T) (s vitals) {
	t.Helper()
	fmt.Fprintln(v.in, "vitals")
	if !v.out.Scan() {
		t.Fatal("server process is gone")
	}
	fmt.Sscan(v.out.Text(), &s.goroutines, &s.fds, &s.heapKiB, &s.peakKiB)
	return s
}

// echo wants the server to answer a well-behaved peer.
func (v *victim) echo(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := testDialer().Dial(ctx, v.plain, []PresentationContext{{uid.Verification, []string{uid.ImplicitVRLittleEndian}}})
	if err != nil {
		t.Fatalf("the server no longer associates: %v", err)
	}
	defer c.Abort()
	if err := c.Echo(ctx); err != nil {
		t.Fatalf("the server no longer echoes: %v", err)
	}
	if err := c.Release(ctx); err != nil {
		t.Fatalf("the server no longer releases: %v", err)
	}
}

// badPeers are scripts of hostile, broken and merely odd peers, with what the
// server has to do.
var badPeers = []struct {
	name string
	run  func(p *rawPeer)
}{
	// Not DICOM at all.
	{"http", func(p *rawPeer) {
		p.send([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
		p.expectAbort(AbortUnrecognizedPDU)
	}},
	{"tls on the plain port", func(p *rawPeer) {
		err := tls.Client(p.Conn, &tls.Config{InsecureSkipVerify: true}).Handshake()
		if err == nil {
			p.t.Error("handshake on the plain port")
		}
	}},
	{"connect and close", func(p *rawPeer) { p.Close() }},
	{"connect and reset", func(p *rawPeer) { p.reset() }},
	{"zeros", func(p *rawPeer) { p.send(make([]byte, 1000)); p.expectAbort(AbortUnrecognizedPDU) }},

	// PDUs out of place.
	{"data before association", func(p *rawPeer) { p.send(commandPDU(1, echoRQ(1))); p.expectAbort(AbortUnexpectedPDU) }},
	{"release before association", func(p *rawPeer) { p.send(appendRelease(nil, pduReleaseRQ)); p.expectAbort(AbortUnexpectedPDU) }},
	{"accept before association", func(p *rawPeer) {
		p.send(lyingPDU(pduAssociateAC, 4, make([]byte, 4)))
		p.expectAbort(AbortUnexpectedPDU)
	}},
	{"abort before association", func(p *rawPeer) { p.send(appendAbort(nil, 0, 0)); p.expect(0) }},
	{"second association request", func(p *rawPeer) {
		p.associate(nil)
		p.send(encodeAssociate(p.t, testAssociate()))
		p.expectAbort(AbortUnexpectedPDU)
	}},
	{"unknown PDU on an association", func(p *rawPeer) {
		p.associate(nil)
		p.send(lyingPDU(0x99, 4, make([]byte, 4)))
		p.expectAbort(AbortUnrecognizedPDU)
	}},
	{"release reply unasked", func(p *rawPeer) { p.associate(nil); p.send(appendRelease(nil, pduReleaseRP)); p.expect(pduAbort) }},
	{"abort on an association", func(p *rawPeer) { p.associate(nil); p.send(appendAbort(nil, 0, 0)); p.expect(0) }},

	// Lengths that lie, level by level.
	{"4 GiB associate", func(p *rawPeer) { p.send(lyingPDU(pduAssociateRQ, 0xFFFFFFFF, nil)); p.expectAbort(AbortInvalidParam) }},
	{"associate of no bytes", func(p *rawPeer) { p.send(lyingPDU(pduAssociateRQ, 0, nil)); p.expectAbort(AbortInvalidParam) }},
	{"associate of 67 bytes", func(p *rawPeer) {
		p.send(lyingPDU(pduAssociateRQ, 67, make([]byte, 67)))
		p.expectAbort(AbortInvalidParam)
	}},
	{"4 GiB data before association", func(p *rawPeer) {
		p.send(golden.Bytes(p.t, "0400 00000006 ffffffff 0100"))
		p.expectAbort(AbortUnexpectedPDU)
	}},
	{"4 GiB data", func(p *rawPeer) {
		p.associate(nil)
		p.send(lyingPDU(pduData, 0xFFFFFFFF, nil))
		p.expectAbort(AbortInvalidParam)
	}},
	{"data one over the advertised length", func(p *rawPeer) {
		p.associate(nil)
		p.send(lyingPDU(pduData, 128<<10+1, nil))
		p.expectAbort(AbortInvalidParam)
	}},
	{"data of no bytes", func(p *rawPeer) {
		p.associate(nil)
		p.send(lyingPDU(pduData, 0, nil))
		p.expectAbort(AbortInvalidParam)
	}},
	{"data of five bytes", func(p *rawPeer) {
		p.associate(nil)
		p.send(lyingPDU(pduData, 5, make([]byte, 5)))
		p.expectAbort(AbortInvalidParam)
	}},
	{"PDV of 4 GiB", func(p *rawPeer) {
		p.associate(nil)
		p.send(golden.Bytes(p.t, "0400 00000006 ffffffff 0103"))
		p.expectAbort(AbortInvalidParam)
	}},
	{"PDV of no bytes", func(p *rawPeer) {
		p.associate(nil)
		p.send(golden.Bytes(p.t, "0400 00000006 00000000 0103"))
		p.expectAbort(AbortInvalidParam)
	}},
	{"PDV of one byte", func(p *rawPeer) {
		p.associate(nil)
		p.send(golden.Bytes(p.t, "0400 00000006 00000001 0103"))
		p.expectAbort(AbortInvalidParam)
	}},
	{"PDV longer than its PDU", func(p *rawPeer) {
		p.associate(nil)
		p.send(golden.Bytes(p.t, "0400 00000008 00000005 0103 0000"))
		p.expectAbort(AbortInvalidParam)
	}},
	{"stray bytes behind a PDV", func(p *rawPeer) {
		p.associate(nil)
		p.send(golden.Bytes(p.t, "0400 0000000b 00000004 0101 0000 000000"))
		p.expectAbort(AbortInvalidParam)
	}},
	{"release of five bytes", func(p *rawPeer) {
		p.associate(nil)
		p.send(lyingPDU(pduReleaseRQ, 5, make([]byte, 5)))
		p.expectAbort(AbortInvalidParam)
	}},
	{"abort of 4 GiB", func(p *rawPeer) {
		p.associate(nil)
		p.send(lyingPDU(pduAbort, 0xFFFFFFFF, nil))
		p.expectAbort(AbortInvalidParam)
	}},
	{"item longer than its PDU", func(p *rawPeer) {
		b := encodeAssociate(p.t, testAssociate())
		b[6+68+2], b[6+68+3] = 0xFF, 0xFF
		p.send(b)
		p.expectAbort(AbortInvalidParam)
	}},
	{"sub-item longer than its item", func(p *rawPeer) {
		b := encodeAssociate(p.t, testAssociate())
		i := bytes.Index(b, []byte{itemAbstractSyntax, 0, 0, 17})
		b[i+2] = 0xFF
		p.send(b)
		p.expectAbort(AbortInvalidParam)
	}},
	{"command element of 4 GiB", func(p *rawPeer) {
		p.associate(nil)
		p.send(dataPDU(ctxEcho, pdvCommand|pdvLast, golden.Bytes(p.t, "0000 0000 04000000 08000000 0000 0200 feffffff")))
		p.expectAbort(AbortInvalidParam)
	}},
	{"command set cut off in a header", func(p *rawPeer) {
		p.associate(nil)
		b := echoRQ(1).append(nil)
		p.send(dataPDU(ctxEcho, pdvCommand|pdvLast, b[:len(b)-5]))
		p.expectAbort(AbortInvalidParam)
	}},
	{"command set of group 0008", func(p *rawPeer) {
		p.associate(nil)
		p.send(dataPDU(ctxEcho, pdvCommand|pdvLast, golden.Bytes(p.t, "0800 0000 04000000 08000000")))
		p.expectAbort(AbortInvalidParam)
	}},
	{"command set without a command", func(p *rawPeer) {
		p.associate(nil)
		p.send(dataPDU(ctxEcho, pdvCommand|pdvLast, nil))
		p.expectAbort(AbortInvalidParam)
	}},
	{"command set with 5000 elements", func(p *rawPeer) {
		p.associate(nil)
		p.send(dataPDU(ctxEcho, pdvCommand|pdvLast, bytes.Repeat(golden.Bytes(p.t, "0000 0099 00000000"), 5000)))
		p.expectAbort(AbortInvalidParam)
	}},
	{"command set of 128 KiB", func(p *rawPeer) {
		p.associate(nil)
		for range 9 {
			p.send(dataPDU(ctxEcho, pdvCommand, make([]byte, 16000)))
		}
		p.expectAbort(AbortInvalidParam)
	}},
	{"10 MB of nested sequences as a command", func(p *rawPeer) {
		p.associate(nil)
		p.send(dataPDU(ctxEcho, pdvCommand, bytes.Repeat(golden.Bytes(p.t, "0000 9911 ffffffff feff00e0 ffffffff"), 2000)))
		p.send(dataPDU(ctxEcho, pdvCommand|pdvLast, bytes.Repeat(golden.Bytes(p.t, "0000 9911 ffffffff feff00e0 ffffffff"), 2000)))
		p.expectAbort(AbortInvalidParam)
	}},
	{"empty PDVs without end", func(p *rawPeer) {
		p.associate(nil)
		b := bytes.Repeat(dataPDU(ctxEcho, pdvCommand, nil), 1000)
		for range 5 {
			p.send(b)
		}
		p.expectAbort(AbortInvalidParam)
	}},

	// Messages out of order.
	{"data set without a command", func(p *rawPeer) {
		p.associate(nil)
		p.send(dataPDU(ctxStore, pdvLast, []byte("data")))
		p.expectAbort(AbortUnexpectedParam)
	}},
	{"command inside a data set", func(p *rawPeer) {
		p.associate(nil)
		p.send(commandPDU(ctxStore, storeRQ(1, uidN(1))), dataPDU(ctxStore, 0, []byte("data")), commandPDU(ctxEcho, echoRQ(2)))
		p.expectAbort(AbortUnexpectedParam)
	}},
	{"data set on another context", func(p *rawPeer) {
		p.associate(nil)
		p.send(commandPDU(ctxStore, storeRQ(1, uidN(1))), dataPDU(ctxJPEG, pdvLast, []byte("data")))
		p.expectAbort(AbortUnexpectedParam)
	}},
	{"command over two contexts", func(p *rawPeer) {
		p.associate(nil)
		b := echoRQ(1).append(nil)
		p.send(dataPDU(ctxEcho, pdvCommand, b[:20]), dataPDU(ctxStore, pdvCommand|pdvLast, b[20:]))
		p.expectAbort(AbortUnexpectedParam)
	}},
	{"release inside a command", func(p *rawPeer) {
		p.associate(nil)
		p.send(dataPDU(ctxEcho, pdvCommand, echoRQ(1).append(nil)[:20]), appendRelease(nil, pduReleaseRQ))
		p.expectAbort(AbortUnexpectedPDU)
	}},
	{"release inside a data set", func(p *rawPeer) {
		p.associate(nil)
		p.send(commandPDU(ctxStore, storeRQ(1, uidN(1))), dataPDU(ctxStore, 0, []byte("data")), appendRelease(nil, pduReleaseRQ))
		p.expectAbort(AbortUnexpectedPDU)
	}},
	{"context that was not accepted", func(p *rawPeer) {
		p.associate(nil)
		p.send(commandPDU(99, echoRQ(1)))
		p.expectAbort(AbortInvalidParam)
	}},
	{"even context", func(p *rawPeer) { p.associate(nil); p.send(commandPDU(2, echoRQ(1))); p.expectAbort(AbortInvalidParam) }},

	// Odd, but to be answered.
	{"stray responses", func(p *rawPeer) {
		p.associate(nil)
		for _, f := range []uint16{0x8001, 0x8030, 0x8100, 0x8130, 0xFFFF} {
			p.send(commandPDU(ctxEcho, &command{Field: f, RespondedTo: 1, DataSetType: noDataSet, HasStatus: true}))
		}
		p.send(commandPDU(ctxStore, &command{Field: 0x8020, RespondedTo: 1, DataSetType: 1, HasStatus: true, Status: 0xFF00}),
			dataPDU(ctxStore, pdvLast, []byte("data")))
		p.send(commandPDU(ctxEcho, echoRQ(9)))
		p.expectStatus(cmdEchoRQ, 9, 0)
		p.release()
	}},
	{"cancel of nothing", func(p *rawPeer) {
		p.associate(nil)
		p.send(commandPDU(ctxEcho, &command{Field: cmdCancelRQ, RespondedTo: 1, DataSetType: noDataSet}), commandPDU(ctxEcho, echoRQ(2)))
		p.expectStatus(cmdEchoRQ, 2, 0)
		p.release()
	}},
	{"unknown commands", func(p *rawPeer) {
		p.associate(nil)
		for i, f := range []uint16{0x0010, 0x0020, 0x0021, 0x0110, 0x0120, 0x0140, 0x0150, 0x1234, 0x0000} {
			id := uint16(i + 1)
			p.send(commandPDU(ctxStore, &command{Field: f, MessageID: id, HasMessageID: true, DataSetType: 1, AffectedSOPClass: testClass}),
				dataPDU(ctxStore, pdvLast, []byte("data")))
			p.expectStatus(f, id, StatusUnrecognizedOp)
		}
		p.release()
	}},
	{"message ID reuse", func(p *rawPeer) {
		p.associate(nil)
		for range 50 {
			p.send(commandPDU(ctxEcho, echoRQ(7)))
		}
		for range 50 {
			p.expectStatus(cmdEchoRQ, 7, 0)
		}
		p.release()
	}},
	{"400 pipelined requests", func(p *rawPeer) {
		p.associate(nil)
		var b []byte
		for i := range 400 {
			b = append(b, commandPDU(ctxEcho, echoRQ(uint16(i)))...)
		}
		p.send(b)
		for i := range 400 {
			p.expectStatus(cmdEchoRQ, uint16(i), 0)
		}
		p.release()
	}},
	{"100 pipelined objects", func(p *rawPeer) {
		p.associate(nil)
		go func() {
			for i := range 100 {
				p.send(commandPDU(ctxStore, storeRQ(uint16(i), uidN(i))), dataPDU(ctxStore, 0, make([]byte, 9000)), dataPDU(ctxStore, pdvLast, make([]byte, 9000)))
			}
		}()
		for i := range 100 {
			p.expectStatus(cmdStoreRQ, uint16(i), 0)
		}
		p.release()
	}},
	{"a byte at a time, fast", func(p *rawPeer) {
		for _, b := range concat(encodeAssociate(p.t, testAssociate()), commandPDU(ctxEcho, echoRQ(3)), appendRelease(nil, pduReleaseRQ)) {
			p.send([]byte{b})
		}
		p.expect(pduAssociateAC)
		p.expectStatus(cmdEchoRQ, 3, 0)
		p.expect(pduReleaseRP)
	}},
	{"everything in one packet", func(p *rawPeer) {
		p.send(concat(encodeAssociate(p.t, testAssociate()), commandPDU(ctxEcho, echoRQ(3)), commandPDU(ctxStore, storeRQ(4, uidN(1))),
			dataPDU(ctxStore, 0, []byte("ab")), dataPDU(ctxStore, pdvLast, nil), appendRelease(nil, pduReleaseRQ)))
		p.expect(pduAssociateAC)
		p.expectStatus(cmdEchoRQ, 3, 0)
		p.expectStatus(cmdStoreRQ, 4, 0)
		p.expect(pduReleaseRP)
	}},
	{"command and data set in one PDU", func(p *rawPeer) {
		p.associate(nil)
		one, two := commandPDU(ctxStore, storeRQ(4, uidN(1)))[6:], dataPDU(ctxStore, pdvLast, []byte("abcd"))[6:]
		p.send(lyingPDU(pduData, uint32(len(one)+len(two)), concat(one, two)))
		p.expectStatus(cmdStoreRQ, 4, 0)
		p.release()
	}},
	{"command in two-byte PDVs", func(p *rawPeer) {
		p.associate(nil)
		b := storeRQ(4, uidN(1)).append(nil)
		for i := 0; i < len(b); i += 2 {
			control := pdvCommand
			if i+2 == len(b) {
				control |= pdvLast
			}
			p.send(dataPDU(ctxStore, control, b[i:i+2]))
		}
		p.send(dataPDU(ctxStore, pdvLast, []byte("abcd")))
		p.expectStatus(cmdStoreRQ, 4, 0)
		p.release()
	}},
	{"max PDU 0", func(p *rawPeer) {
		p.associate(func(rq *associatePDU) { rq.User.MaxLength = 0 })
		p.send(commandPDU(ctxEcho, echoRQ(1)))
		p.expectStatus(cmdEchoRQ, 1, 0)
		p.release()
	}},
	{"max PDU 8", func(p *rawPeer) {
		p.associate(func(rq *associatePDU) { rq.User.MaxLength = 8 })
		p.send(commandPDU(ctxEcho, echoRQ(1)))
		p.expectStatus(cmdEchoRQ, 1, 0)
		p.release()
	}},
	{"max PDU 1", func(p *rawPeer) {
		rq := testAssociate()
		rq.User.MaxLength = 1
		p.send(encodeAssociate(p.t, rq))
		p.expectReject(RejectPermanent, SourceACSE, ReasonNoReason)
	}},
	{"max PDU 4 GiB", func(p *rawPeer) {
		p.associate(func(rq *associatePDU) { rq.User.MaxLength = 0xFFFFFFFF })
		p.send(commandPDU(ctxEcho, echoRQ(1)))
		p.expectStatus(cmdEchoRQ, 1, 0)
		p.release()
	}},
	{"object instance UIDs that are paths", func(p *rawPeer) {
		p.associate(nil)
		for i, uid := range []string{"../../../etc/passwd", "..", "/etc/passwd", "1.2.3/../../x", "1.2\x003", "C:\\x", strings.Repeat("1.", 200), ""} {
			p.send(commandPDU(ctxStore, storeRQ(uint16(i), uid)), dataPDU(ctxStore, pdvLast, []byte("data")))
			p.expectStatus(cmdStoreRQ, uint16(i), StatusInvalidInstance)
		}
		p.release()
	}},
	{"class of another context", func(p *rawPeer) {
		p.associate(nil)
		rq := storeRQ(1, uidN(1))
		rq.AffectedSOPClass = usmfClass
		p.send(commandPDU(ctxStore, rq), dataPDU(ctxStore, pdvLast, []byte("data")))
		p.expectStatus(cmdStoreRQ, 1, StatusSOPClassUnsupported)
		p.release()
	}},
	{"store without a data set", func(p *rawPeer) {
		p.associate(nil)
		rq := storeRQ(1, uidN(1))
		rq.DataSetType = noDataSet
		p.send(commandPDU(ctxStore, rq), commandPDU(ctxEcho, echoRQ(2)))
		p.expectStatus(cmdStoreRQ, 1, StatusCannotUnderstand)
		p.expectStatus(cmdEchoRQ, 2, 0)
		p.release()
	}},
	{"echo with a data set", func(p *rawPeer) {
		p.associate(nil)
		rq := echoRQ(1)
		rq.DataSetType = 0
		p.send(commandPDU(ctxEcho, rq), dataPDU(ctxEcho, pdvLast, make([]byte, 3000)))
		p.expectStatus(cmdEchoRQ, 1, 0)
		p.release()
	}},
	{"echo without its SOP class", func(p *rawPeer) {
		p.associate(nil)
		rq := echoRQ(1)
		rq.AffectedSOPClass = ""
		p.send(commandPDU(ctxEcho, rq), commandPDU(ctxStore, rq))
		p.expectStatus(cmdEchoRQ, 1, 0)
		p.expectStatus(cmdEchoRQ, 1, StatusUnrecognizedOp)
		p.release()
	}},
	{"store on the verification context", func(p *rawPeer) {
		p.associate(nil)
		rq := storeRQ(1, uidN(1))
		rq.AffectedSOPClass = uid.Verification
		p.send(commandPDU(ctxEcho, rq), dataPDU(ctxEcho, pdvLast, []byte("data")))
		p.expectStatus(cmdStoreRQ, 1, StatusUnrecognizedOp)
		p.release()
	}},
	{"handler panics", func(p *rawPeer) {
		p.associate(nil)
		p.send(commandPDU(ctxStore, storeRQ(1, "6.6.6")), dataPDU(ctxStore, pdvLast, []byte("data")))
		p.expectAbort(AbortNotSpecified)
	}},
	{"commitment without UIDs", func(p *rawPeer) {
		p.associate(nil)
		rq := &command{Field: cmdActionRQ, MessageID: 1, HasMessageID: true, DataSetType: 1, RequestedSOPClass: uid.StorageCommitmentPushModel,
			RequestedSOPInstance: uid.StorageCommitmentPushModelInstance, ActionTypeID: 1, HasActionTypeID: true}
		p.send(commandPDU(ctxCommit, rq), dataPDU(ctxCommit, pdvLast, bytes.Repeat(golden.Bytes(p.t, "0800 9911 ffffffff feff00e0 ffffffff"), 500)))
		p.expectStatus(cmdActionRQ, 1, StatusInvalidArgument)
		p.send(commandPDU(ctxCommit, rq), dataPDU(ctxCommit, pdvLast, []byte{8, 0, 0x95, 0x11, 0, 0, 0, 0}))
		p.expectStatus(cmdActionRQ, 1, StatusInvalidArgument)
		p.release()
	}},

	// Peers that are slow.
	{"silence after connect", func(p *rawPeer) { p.expect(0) }},
	{"slow association request", func(p *rawPeer) {
		for _, b := range encodeAssociate(p.t, testAssociate()) {
			if _, err := p.Write([]byte{b}); err != nil {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		p.expect(0)
	}},
	{"half an association request", func(p *rawPeer) { p.send(encodeAssociate(p.t, testAssociate())[:100]); p.expect(0) }},
	{"half a PDU header", func(p *rawPeer) { p.associate(nil); p.send([]byte{4, 0, 0}); p.expect(pduAbort) }},
	{"half a PDU", func(p *rawPeer) { p.associate(nil); p.send(commandPDU(ctxEcho, echoRQ(1))[:30]); p.expect(pduAbort) }},
	{"half a data set", func(p *rawPeer) {
		p.associate(nil)
		p.send(commandPDU(ctxStore, storeRQ(1, uidN(1))), dataPDU(ctxStore, 0, []byte("data")))
		p.expect(pduAbort)
	}},
	{"slow release", func(p *rawPeer) { p.associate(nil); p.send(appendRelease(nil, pduReleaseRQ)[:7]); p.expect(pduAbort) }},
	{"trickled data set", func(p *rawPeer) {
		// Every PDU is in time, the rate is not.
		p.associate(nil)
		p.send(commandPDU(ctxStore, storeRQ(1, uidN(1))))
		for range 300 {
			if _, err := p.Write(dataPDU(ctxStore, 0, []byte("ab"))); err != nil {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		p.expect(pduAbort)
	}},
	{"idle association", func(p *rawPeer) { p.associate(nil); p.expect(pduAbort) }},
	{"responses never read", func(p *rawPeer) {
		p.Conn.(*net.TCPConn).SetReadBuffer(4096)
		p.associate(nil)
		b := bytes.Repeat(commandPDU(ctxEcho, echoRQ(1)), 1000)
		for range 500 {
			if _, err := p.Write(b); err != nil {
				return // the server gave up, as it should
			}
		}
		p.t.Error("the server never gave up")
	}},

	// Resets at every state.
	{"reset in the request", func(p *rawPeer) { p.send(encodeAssociate(p.t, testAssociate())[:50]); p.reset() }},
	{"reset after the request", func(p *rawPeer) { p.send(encodeAssociate(p.t, testAssociate())); p.reset() }},
	{"reset after the accept", func(p *rawPeer) { p.associate(nil); p.reset() }},
	{"reset in a command", func(p *rawPeer) { p.associate(nil); p.send(commandPDU(ctxEcho, echoRQ(1))[:20]); p.reset() }},
	{"reset before the response", func(p *rawPeer) { p.associate(nil); p.send(commandPDU(ctxEcho, echoRQ(1))); p.reset() }},
	{"reset between command and data", func(p *rawPeer) { p.associate(nil); p.send(commandPDU(ctxStore, storeRQ(1, uidN(1)))); p.reset() }},
	{"reset in a data set", func(p *rawPeer) {
		p.associate(nil)
		p.send(commandPDU(ctxStore, storeRQ(1, uidN(1))), dataPDU(ctxStore, 0, make([]byte, 10000))[:5000])
		p.reset()
	}},
	{"reset after release", func(p *rawPeer) { p.associate(nil); p.send(appendRelease(nil, pduReleaseRQ)); p.reset() }},
	{"close in a data set", func(p *rawPeer) {
		p.associate(nil)
		p.send(commandPDU(ctxStore, storeRQ(1, uidN(1))), dataPDU(ctxStore, 0, make([]byte, 1000)))
		p.Close()
	}},
}

// reset ends the connection with a TCP RST.
func (p *rawPeer) reset() {
	p.Conn.(*net.TCPConn).SetLinger(0)
	p.Close()
}

// TestBadPeers runs every script against a server in another process, alone
// and then many at once, and looks at the server afterwards.
func TestBadPeers(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	v := startVictim(t)
	v.echo(t)
	time.Sleep(300 * time.Millisecond)
	before := v.vitals(t)

	t.Run("scripts", func(t *testing.T) {
		for _, tc := range badPeers {
			t.Run(tc.name, func(t *testing.T) {
				t.Parallel()
				tc.run(dialRaw(t, v.plain))
			})
		}
		t.Run("plain peer on the TLS port", func(t *testing.T) {
			t.Parallel()
			p := dialRaw(t, v.tls)
			p.send(encodeAssociate(t, testAssociate()))
			if typ, _ := p.pdu(); typ == pduAssociateAC {
				t.Error("accepted on the TLS port")
			}
		})
		t.Run("silence on the TLS port", func(t *testing.T) {
			t.Parallel()
			dialRaw(t, v.tls).expect(0)
		})
	})
	v.echo(t)

	t.Run("random bytes", func(t *testing.T) {
		r := rand.New(rand.NewPCG(3, 1))
		for i := range 300 {
			p := dialRaw(t, v.plain)
			if i%2 == 0 {
				p.associate(nil)
			}
			b := make([]byte, 1+r.IntN(4000))
			for j := range b {
				b[j] = byte(r.Uint32())
			}
			if i%4 == 0 {
				b[0] = byte(1 + r.IntN(7)) // a PDU type, so that the length is believed
				copy(b[1:], []byte{0, 0, 0})
			}
			p.send(b)
			p.Close()
		}
	})
	v.echo(t)

	t.Run("flipped bytes", func(t *testing.T) {
		r := rand.New(rand.NewPCG(4, 1))
		good := concat(encodeAssociate(t, testAssociate()), commandPDU(ctxStore, storeRQ(4, uidN(1))), dataPDU(ctxStore, pdvLast, []byte("abcd")),
			appendRelease(nil, pduReleaseRQ))
		for range 300 {
			b := bytes.Clone(good)
			for range 1 + r.IntN(3) {
				b[r.IntN(len(b))] = byte(r.Uint32())
			}
			p := dialRaw(t, v.plain)
			p.send(b)
			p.Close()
		}
	})
	v.echo(t)

	t.Run("500 idle associations", func(t *testing.T) {
		for range 500 {
			dialRaw(t, v.plain).associate(nil)
		}
		v.echo(t)
	})

	var after vitals
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(250 * time.Millisecond) {
		after = v.vitals(t)
		if after.goroutines <= before.goroutines && after.fds <= before.fds || time.Now().After(deadline) {
			break
		}
	}
	t.Logf("before %+v, after %+v", before, after)
	if after.goroutines > before.goroutines || after.fds > before.fds {
		t.Errorf("left behind: before %+v, after %+v", before, after)
	}
	if !raceEnabled && after.peakKiB > 64<<10 {
		t.Errorf("peak memory %d KiB", after.peakKiB)
	}
	v.echo(t)
}

// failingListener fails like a process without descriptors before it works.
type failingListener struct {
	net.Listener
	failures int
}

type noDescriptors struct{}

func (noDescriptors) Error() string   { return "accept4: too many open files" }
func (noDescriptors) Timeout() bool   { return false }
func (noDescriptors) Temporary() bool { return true }

func (l *failingListener) Accept() (net.Conn, error) {
	if l.failures > 0 {
		l.failures--
		return nil, noDescriptors{}
	}
	return l.Listener.Accept()
}

func TestAcceptWithoutDescriptors(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{AETitle: "ECHONODE"}
	start := time.Now()
	done := make(chan error, 1)
	go func() { done <- s.Serve(&failingListener{l, 5}) }()
	p := dialRaw(t, l.Addr().String())
	p.associate(nil)
	if d := time.Since(start); d < 100*time.Millisecond {
		t.Errorf("served after %v: no pause between failures", d)
	}
	p.release()
	s.Close()
	if err := <-done; !errors.Is(err, ErrServerClosed) {
		t.Error(err)
	}
}
