package scp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/scp/bufpool"
)

// fakeArchive accepts one association after the other, every context with its
// first syntax, and lets serve answer the requests.
func fakeArchive(t *testing.T, serve func(l *link, id byte, cmd *command, data []byte)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var pool bufpool.Pool
	var running sync.WaitGroup
	t.Cleanup(func() {
		ln.Close()
		running.Wait()
	})
	running.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				l := newLink(conn, &pool, Limits{}.withDefaults(), Timeouts{}.withDefaults())
				l.wait("artim", 10*time.Second)
				rq, err := (&association{link: l, conn: conn}).readRequest()
				if err != nil {
					return
				}
				ac := &associatePDU{AC: true, ProtocolVersion: 1, Called: rq.Called, Calling: rq.Calling, ApplicationContext: uid.DICOMApplicationContext,
					User: userInformation{MaxLength: 16384, ImplementationClassUID: uid.ImplementationClass, Roles: rq.User.Roles}}
				for _, c := range rq.Contexts {
					ac.Contexts = append(ac.Contexts, contextItem{ID: c.ID, AbstractSyntax: c.AbstractSyntax, TransferSyntaxes: c.TransferSyntaxes[:1]})
				}
				l.peerMax = rq.User.MaxLength
				b, err := ac.append(nil)
				if err != nil || l.write(b) != nil {
					return
				}
				for {
					id, cmd, err := l.readCommand("idle", 10*time.Second)
					if errors.Is(err, errReleaseRequested) {
						l.write(appendRelease(nil, pduReleaseRP))
						return
					}
					if err != nil {
						return
					}
					var data []byte
					if cmd.hasDataSet() {
						data, _ = io.ReadAll(&dataSetReader{l: l, contextID: id, limit: 1 << 20})
					}
					serve(l, id, cmd, data)
				}
			})
		}
	})
	return ln.Addr().String()
}

// answerQuery sends a response with counts and perhaps a data set.
func answerQuery(l *link, id byte, rq *command, status uint16, sub SubOperations, data []byte) {
	rsp := response(rq, status, "")
	b := rsp.append(nil)
	if data != nil {
		rsp.DataSetType = 1
		b = rsp.append(nil)
	}
	for el, v := range map[tag.Tag]uint16{tag.NumberOfRemainingSuboperations: sub.Remaining, tag.NumberOfCompletedSuboperations: sub.Completed,
		tag.NumberOfFailedSuboperations: sub.Failed, tag.NumberOfWarningSuboperations: sub.Warnings} {
		b = commandSyntax.AppendUint16(b, el, v)
	}
	b[8], b[9] = byte(len(b)-12), byte((len(b)-12)>>8)
	out := l.appendFragments(nil, id, 3, b)
	if data != nil {
		out = l.appendFragments(out, id, 2, data)
	}
	l.write(out)
}

func queryClient(t *testing.T, addr string, roles []RoleSelection, contexts ...PresentationContext) *Client {
	t.Helper()
	d := testDialer()
	d.Roles = roles
	c, err := d.Dial(testContext(t), addr, contexts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Abort)
	return c
}

func bytesIdentifier(b string) Identifier {
	return func(string) ([]byte, error) { return []byte(b), nil }
}

func TestFind(t *testing.T) {
	cancelled := make(chan uint16, 1)
	addr := fakeArchive(t, func(l *link, id byte, cmd *command, data []byte) {
		switch {
		case cmd.Field == cmdCancelRQ:
			cancelled <- cmd.RespondedTo
		case string(data) == "all ":
			for i := range 3 {
				answerQuery(l, id, cmd, 0xFF00, SubOperations{}, []byte(fmt.Sprintf("m%d", i)))
			}
			answerQuery(l, id, cmd, 0, SubOperations{}, nil)
		case string(data) == "many":
			answerQuery(l, id, cmd, 0xFF00, SubOperations{}, []byte("m0"))
			answerQuery(l, id, cmd, 0xFF01, SubOperations{}, []byte("m1"))
			answerQuery(l, id, cmd, 0xFE00, SubOperations{}, nil)
		case string(data) == "bad ":
			answerQuery(l, id, cmd, 0xA700, SubOperations{}, nil)
		case string(data) == "odd ":
			other := *cmd
			other.MessageID++
			answerQuery(l, id, &other, 0, SubOperations{}, nil)
		}
	})
	pc := PresentationContext{uid.StudyRootQueryRetrieveInformationModelFind, []string{uid.ImplicitVRLittleEndian}}
	c := queryClient(t, addr, nil, pc)
	ctx := testContext(t)
	find := func(what string, stop error) (got []string, err error) {
		err = c.Find(ctx, uid.StudyRootQueryRetrieveInformationModelFind, bytesIdentifier(what), func(ts string, data []byte) error {
			if ts != uid.ImplicitVRLittleEndian {
				t.Errorf("syntax %s", ts)
			}
			got = append(got, string(data))
			return stop
		})
		return got, err
	}
	if got, err := find("all ", nil); err != nil || fmt.Sprint(got) != "[m0 m1 m2]" {
		t.Errorf("all: %v, %v", got, err)
	}
	if got, err := find("many", ErrEnough); err != nil || fmt.Sprint(got) != "[m0]" {
		t.Errorf("enough: %v, %v", got, err)
	}
	if id := <-cancelled; id != 2 {
		t.Errorf("cancelled message %d, want 2", id)
	}
	var status *StatusError
	if _, err := find("bad ", nil); !errors.As(err, &status) || status.Status != 0xA700 {
		t.Errorf("refused: %v", err)
	}
	if got, err := find("all ", nil); err != nil || len(got) != 3 {
		t.Errorf("after a refusal: %v, %v", got, err)
	}
	var proto *ProtocolError
	if _, err := find("odd ", nil); !errors.As(err, &proto) {
		t.Errorf("an answer to another message: %v", err)
	}
	if _, err := find("all ", nil); !errors.Is(err, ErrClientClosed) {
		t.Errorf("after a protocol error: %v", err)
	}
}

func TestGetAndMove(t *testing.T) {
	statuses := make(chan uint16, 10)
	object := randomBytes(70_000)
	var destination string
	addr := fakeArchive(t, func(l *link, id byte, cmd *command, data []byte) {
		switch cmd.Field {
		case cmdGetRQ:
			for i, uid := range []string{"1.2.1", "1.2.2", "not a uid"} {
				store := &command{Field: cmdStoreRQ, MessageID: uint16(100 + i), HasMessageID: true, DataSetType: 1, HasPriority: true, AffectedSOPClass: usmfClass,
					AffectedSOPInstance: uid}
				ctxID := byte(3)
				if string(data) == "odd " {
					ctxID = 9 // was never proposed
				}
				l.writeMessage(ctxID, store, nil)
				l.writeDataSet(ctxID, bytes.NewReader(object))
				_, rsp, err := l.readCommand("response", 5*time.Second)
				if err != nil {
					return
				}
				statuses <- rsp.Status
				answerQuery(l, id, cmd, 0xFF00, SubOperations{Remaining: uint16(2 - i), Completed: uint16(i + 1)}, nil)
			}
			answerQuery(l, id, cmd, 0xB000, SubOperations{Completed: 1, Failed: 2}, nil)
		case cmdMoveRQ:
			destination = cmd.MoveDestination
			if destination != "NODE" {
				answerQuery(l, id, cmd, 0xA801, SubOperations{}, nil)
				return
			}
			answerQuery(l, id, cmd, 0xFF00, SubOperations{Remaining: 1, Completed: 1}, nil)
			answerQuery(l, id, cmd, 0, SubOperations{Completed: 2}, nil)
		}
	})
	storage := PresentationContext{usmfClass, []string{jpegTS}}
	contexts := []PresentationContext{{uid.StudyRootQueryRetrieveInformationModelGet, []string{uid.ExplicitVRLittleEndian}}, storage,
		{uid.StudyRootQueryRetrieveInformationModelMove, []string{uid.ExplicitVRLittleEndian}}}
	if roles := GetRoles(contexts); len(roles) != 1 || roles[0] != (RoleSelection{SOPClassUID: usmfClass, SCP: true}) {
		t.Fatalf("roles %v", roles)
	}
	c := queryClient(t, addr, GetRoles(contexts), contexts...)
	ctx := testContext(t)
	var seen []SubOperations
	got := map[string][]byte{}
	h := HandlerFunc(func(_ context.Context, req *StoreRequest, r io.Reader) error {
		if req.TransferSyntaxUID != jpegTS || req.Association.CallingAE != "ECHONODE" || req.Association.CalledAE != "TESTER" {
			t.Errorf("%+v from %+v", req, req.Association)
		}
		if req.SOPInstanceUID == "1.2.2" {
			return &StatusError{Status: StatusOutOfResources}
		}
		b, err := io.ReadAll(r)
		got[req.SOPInstanceUID] = b
		return err
	})
	sub, err := c.Get(ctx, uid.StudyRootQueryRetrieveInformationModelGet, bytesIdentifier("all "), h, func(s SubOperations) { seen = append(seen, s) })
	if err != nil || sub != (SubOperations{Completed: 1, Failed: 2}) || len(seen) != 3 {
		t.Errorf("got %+v, progress %v, %v", sub, seen, err)
	}
	for i, want := range []uint16{0, StatusOutOfResources, StatusInvalidInstance} {
		if s := <-statuses; s != want {
			t.Errorf("object %d: %04XH, want %04XH", i, s, want)
		}
	}
	if len(got) != 1 || !bytes.Equal(got["1.2.1"], object) {
		t.Errorf("%d objects", len(got))
	}
	if sub, err := c.Move(ctx, uid.StudyRootQueryRetrieveInformationModelMove, "NODE", bytesIdentifier("all "), nil); err != nil || sub.Completed != 2 ||
		destination != "NODE" {
		t.Errorf("moved %+v to %q, %v", sub, destination, err)
	}
	var status *StatusError
	if _, err := c.Move(ctx, uid.StudyRootQueryRetrieveInformationModelMove, "NOBODY", bytesIdentifier("all "), nil); !errors.As(err, &status) ||
		status.Status != 0xA801 {
		t.Errorf("moved to nobody: %v", err)
	}
	if _, err := c.Move(ctx, uid.StudyRootQueryRetrieveInformationModelMove, "A TITLE THAT IS TOO LONG", bytesIdentifier("all "), nil); err == nil {
		t.Error("moved to what is no AE title")
	}
	var proto *ProtocolError
	if _, err := c.Get(ctx, uid.StudyRootQueryRetrieveInformationModelGet, bytesIdentifier("odd "), h, nil); !errors.As(err, &proto) {
		t.Errorf("an object on a context that was not proposed: %v", err)
	}
}
