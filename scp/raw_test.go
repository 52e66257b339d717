package scp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/echonode/echonode/dicomio/uid"
)

// rawPeer speaks bytes to a server.
type rawPeer struct {
	t testing.TB
	net.Conn
}

func dialRaw(t testing.TB, addr string) *rawPeer {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	return &rawPeer{t, c}
}

// send writes and ignores errors: the server may have given up already.
func (p *rawPeer) send(chunks ...[]byte) {
	for _, b := range chunks {
		p.Write(b)
	}
}

// pdu reads one PDU. After the connection ended the type is 0.
func (p *rawPeer) pdu() (typ byte, body []byte) {
	p.t.Helper()
	var h [6]byte
	if _, err := io.ReadFull(p, h[:]); err != nil {
		var ne net.Error
		if errors.As(err, &ne) && ne.Timeout() {
			p.t.Errorf("no answer and no end of the connection")
		}
		return 0, nil
	}
	n := binary.BigEndian.Uint32(h[2:])
	if n > 1<<20 {
		p.t.Fatalf("server sent a PDU %02X of %d bytes", h[0], n)
	}
	body = make([]byte, n)
	if _, err := io.ReadFull(p, body); err != nil {
		return 0, nil
	}
	return h[0], body
}

// expect reads PDUs until the connection ends or one has the type wanted; 0
// wants the end.
func (p *rawPeer) expect(want byte) []byte {
	p.t.Helper()
	typ, body := p.pdu()
	if typ != want {
		p.t.Errorf("PDU %02X %x, want %02X", typ, body, want)
	}
	return body
}

// expectAbort wants an A-ABORT with a reason, then the end.
func (p *rawPeer) expectAbort(reason byte) {
	p.t.Helper()
	if b := p.expect(pduAbort); len(b) == 4 && (b[2] != AbortByProvider || b[3] != reason) {
		p.t.Errorf("A-ABORT source %d reason %d, want 2, %d", b[2], b[3], reason)
	}
	p.expect(0)
}

// expectReject wants an A-ASSOCIATE-RJ.
func (p *rawPeer) expectReject(result, source, reason byte) {
	p.t.Helper()
	if b := p.expect(pduAssociateRJ); len(b) == 4 && (b[1] != result || b[2] != source || b[3] != reason) {
		p.t.Errorf("A-ASSOCIATE-RJ %v, want %d %d %d", b[1:], result, source, reason)
	}
}

// command reads one response command set, of any number of PDUs.
func (p *rawPeer) command() (contextID byte, c *command) {
	p.t.Helper()
	var set []byte
	for {
		typ, b := p.pdu()
		if typ != pduData || len(b) < 6 {
			p.t.Errorf("PDU %02X %x, want a response", typ, b)
			return 0, &command{}
		}
		for len(b) > 0 {
			n := binary.BigEndian.Uint32(b)
			set = append(set, b[6:4+n]...)
			contextID = b[4]
			last := b[5]&pdvLast != 0
			b = b[4+n:]
			if last {
				c, err := parseCommand(set)
				if err != nil {
					p.t.Fatal(err)
				}
				return contextID, c
			}
		}
	}
}

// expectStatus wants a response with a status to a message.
func (p *rawPeer) expectStatus(field, id, status uint16) {
	p.t.Helper()
	_, c := p.command()
	if c.Field != field|cmdResponse || c.RespondedTo != id || c.Status != status {
		p.t.Errorf("response %04X to %d with status %04X, want %04X to %d with %04X", c.Field, c.RespondedTo, c.Status, field|cmdResponse, id, status)
	}
}

// release wants an orderly end.
func (p *rawPeer) release() {
	p.t.Helper()
	p.send(appendRelease(nil, pduReleaseRQ))
	p.expect(pduReleaseRP)
	p.expect(0)
}

// Contexts of testAssociate.
const (
	ctxEcho   = 1 // Verification
	ctxStore  = 3 // Secondary Capture, Explicit VR Little Endian
	ctxJPEG   = 5 // US Multi-frame, JPEG Baseline
	ctxCommit = 7 // Storage Commitment, Implicit VR Little Endian
)

func testAssociate() *associatePDU {
	return &associatePDU{
		ProtocolVersion: 1, Called: aeField("ECHONODE"), Calling: aeField("BAD"),
		ApplicationContext: uid.DICOMApplicationContext,
		Contexts: []contextItem{
			{ID: ctxEcho, AbstractSyntax: uid.Verification, TransferSyntaxes: []string{uid.ImplicitVRLittleEndian}},
			{ID: ctxStore, AbstractSyntax: testClass, TransferSyntaxes: []string{uid.ExplicitVRLittleEndian}},
			{ID: ctxJPEG, AbstractSyntax: usmfClass, TransferSyntaxes: []string{jpegTS}},
			{ID: ctxCommit, AbstractSyntax: uid.StorageCommitmentPushModel, TransferSyntaxes: []string{uid.ImplicitVRLittleEndian}},
		},
		User: userInformation{MaxLength: 16384, ImplementationClassUID: "1.2.3"},
	}
}

func encodeAssociate(t testing.TB, rq *associatePDU) []byte {
	t.Helper()
	b, err := rq.append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// associate opens an association, changed by edit, and reads the answer.
func (p *rawPeer) associate(edit func(*associatePDU)) *associatePDU {
	p.t.Helper()
	rq := testAssociate()
	if edit != nil {
		edit(rq)
	}
	p.send(encodeAssociate(p.t, rq))
	b := p.expect(pduAssociateAC)
	ac, err := parseAssociate(b, true)
	if err != nil {
		p.t.Errorf("A-ASSOCIATE-AC: %v", err)
		return &associatePDU{}
	}
	return ac
}

// dataPDU is a P-DATA-TF of one PDV.
func dataPDU(contextID, control byte, payload []byte) []byte {
	return append(appendDataPDU(nil, contextID, control, len(payload)), payload...)
}

func commandPDU(contextID byte, c *command) []byte {
	return dataPDU(contextID, pdvCommand|pdvLast, c.append(nil))
}

func echoRQ(id uint16) *command {
	return &command{Field: cmdEchoRQ, MessageID: id, HasMessageID: true, DataSetType: noDataSet, AffectedSOPClass: uid.Verification}
}

func storeRQ(id uint16, uid string) *command {
	return &command{Field: cmdStoreRQ, MessageID: id, HasMessageID: true, HasPriority: true, DataSetType: 1, AffectedSOPClass: testClass, AffectedSOPInstance: uid}
}

// pdu of any type and any announced length.
func lyingPDU(typ byte, length uint32, payload []byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte{typ, 0}, length)
	return append(b, payload...)
}

func concat(parts ...[]byte) (out []byte) {
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

func uidN(n int) string { return fmt.Sprintf("1.2.3.4.%d", n) }
