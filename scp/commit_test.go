package scp

import (
	"context"
	"errors"
	"net"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/echonode/echonode/conformance/freeport"
	"github.com/echonode/echonode/dicomio/encoding"
	"github.com/echonode/echonode/dicomio/uid"
)

// commitHandler answers commitments with answer and records reports.
type commitHandler struct {
	mu      sync.Mutex
	answer  func(*CommitRequest) (*CommitAnswer, error)
	reports []*CommitResult
}

func (h *commitHandler) Commit(_ context.Context, req *CommitRequest) (*CommitAnswer, error) {
	return h.answer(req)
}

func (h *commitHandler) CommitReported(_ context.Context, _ *AssociationInfo, r *CommitResult) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.TransactionUID == "1.9" {
		return &StatusError{Status: StatusProcessingFailure, Comment: "unknown transaction"}
	}
	h.reports = append(h.reports, r)
	return nil
}

var commitContext = []PresentationContext{{uid.StorageCommitmentPushModel, []string{uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian}}}

func TestCommitmentOnTheSameAssociation(t *testing.T) {
	sent := make(chan error, 2)
	h := struct {
		*memoryStore
		*commitHandler
	}{&memoryStore{}, &commitHandler{}}
	h.answer = func(req *CommitRequest) (*CommitAnswer, error) {
		if len(req.References) == 0 {
			return nil, &StatusError{Status: StatusInvalidArgument, Comment: "nothing referenced"}
		}
		last := len(req.References) - 1
		return &CommitAnswer{
			Result: &CommitResult{
				TransactionUID: req.TransactionUID, Committed: req.References[:last],
				Failed: []FailedReference{{req.References[last], FailureNoSuchInstance}},
			},
			Sent: func(err error) { sent <- err },
		}, nil
	}
	addr := startServer(t, &Server{AETitle: "ECHONODE", Handler: h})
	ctx := testContext(t)
	c, err := testDialer().Dial(ctx, addr, append(commitContext, PresentationContext{uid.Verification, []string{uid.ImplicitVRLittleEndian}}))
	if err != nil {
		t.Fatal(err)
	}
	refs := make([]Reference, 2000)
	for i := range refs {
		refs[i] = Reference{testClass, uidN(i)}
	}
	if err := c.RequestCommitment(ctx, "1.2.77", refs); err != nil {
		t.Fatal(err)
	}
	// The report may come in front of the response to another request.
	if err := c.Echo(ctx); err != nil {
		t.Fatal(err)
	}
	res, err := c.WaitCommitment(ctx)
	if err != nil {
		t.Fatal(err)
	}
	want := &CommitResult{TransactionUID: "1.2.77", Committed: refs[:1999], Failed: []FailedReference{{refs[1999], FailureNoSuchInstance}}}
	if !reflect.DeepEqual(res, want) {
		t.Errorf("result of %d committed, %d failed", len(res.Committed), len(res.Failed))
	}
	var se *StatusError
	if err := c.RequestCommitment(ctx, "1.2.78", nil); !errors.As(err, &se) || se.Status != StatusInvalidArgument || se.Comment != "nothing referenced" {
		t.Errorf("empty request: %v", err)
	}
	if err := c.Release(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Errorf("Sent: %v", err)
	}

	// A peer that releases without confirming: the handler learns it.
	p := dialRaw(t, addr)
	p.associate(nil)
	rq := &command{Field: cmdActionRQ, MessageID: 1, HasMessageID: true, DataSetType: 1, RequestedSOPClass: uid.StorageCommitmentPushModel,
		RequestedSOPInstance: uid.StorageCommitmentPushModelInstance, ActionTypeID: 1, HasActionTypeID: true}
	data := encodeCommitment(&CommitResult{TransactionUID: "1.2.79", Committed: refs[:1]}, encoding.Syntax{Implicit: true})
	p.send(commandPDU(ctxCommit, rq), dataPDU(ctxCommit, pdvLast, data), appendRelease(nil, pduReleaseRQ))
	p.expectStatus(cmdActionRQ, 1, 0)
	if _, c := p.command(); c.Field != cmdEventReportRQ || c.EventTypeID != eventFailuresExist {
		t.Errorf("report %+v", c)
	}
	if err := <-sent; err == nil {
		t.Error("Sent: nil for a report that was not confirmed")
	}
}

func TestCommitmentStatuses(t *testing.T) {
	h := struct {
		*memoryStore
		*commitHandler
	}{&memoryStore{}, &commitHandler{answer: func(*CommitRequest) (*CommitAnswer, error) { return nil, nil }}}
	addr := startServer(t, &Server{AETitle: "ECHONODE", Handler: h, Limits: Limits{MaxDataSet: 1000}})
	p := dialRaw(t, addr)
	p.associate(nil)
	good := command{Field: cmdActionRQ, MessageID: 1, HasMessageID: true, DataSetType: 1, RequestedSOPClass: uid.StorageCommitmentPushModel,
		RequestedSOPInstance: uid.StorageCommitmentPushModelInstance, ActionTypeID: 1, HasActionTypeID: true}
	data := encodeCommitment(&CommitResult{TransactionUID: "1.2.79", Committed: []Reference{{testClass, "1.2.3"}}}, encoding.Syntax{Implicit: true})
	for _, tc := range []struct {
		edit   func(*command)
		ctx    byte
		data   []byte
		status uint16
	}{
		{func(*command) {}, ctxCommit, data, StatusSuccess},
		{func(c *command) { c.RequestedSOPInstance = "1.2" }, ctxCommit, data, StatusNoSuchInstance},
		{func(c *command) { c.ActionTypeID = 2 }, ctxCommit, data, StatusNoSuchAction},
		{func(c *command) { c.RequestedSOPClass = testClass }, ctxCommit, data, StatusSOPClassUnsupported},
		{func(*command) {}, ctxStore, data, StatusUnrecognizedOp},
		{func(*command) {}, ctxCommit, make([]byte, 2000), StatusResourceLimitation},
		{func(*command) {}, ctxCommit, data[:len(data)-3], StatusInvalidArgument},
		{func(*command) {}, ctxCommit, data[14:], StatusInvalidArgument},
		{func(c *command) { c.DataSetType = noDataSet }, ctxCommit, nil, StatusInvalidArgument},
	} {
		rq := good
		tc.edit(&rq)
		p.send(commandPDU(tc.ctx, &rq))
		if tc.data != nil {
			p.send(dataPDU(tc.ctx, pdvLast, tc.data))
		}
		p.expectStatus(cmdActionRQ, 1, tc.status)
	}
	p.release()
}

func TestReportOnANewAssociation(t *testing.T) {
	h := struct {
		*memoryStore
		*commitHandler
	}{&memoryStore{}, &commitHandler{}}
	addr := startServer(t, &Server{AETitle: "ECHONODE", Handler: h})
	ctx := testContext(t)
	res := &CommitResult{TransactionUID: "1.2.77", Committed: []Reference{{testClass, "1.2.3"}}}
	if err := testDialer().ReportCommitment(ctx, addr, res); err != nil {
		t.Fatal(err)
	}
	if len(h.reports) != 1 || !reflect.DeepEqual(h.reports[0], res) {
		t.Errorf("reports %+v", h.reports)
	}
	var se *StatusError
	if err := testDialer().ReportCommitment(ctx, addr, &CommitResult{TransactionUID: "1.9"}); !errors.As(err, &se) || se.Comment != "unknown transaction" {
		t.Errorf("refused report: %v", err)
	}
	var ce *ContextError
	other := startServer(t, &Server{AETitle: "ECHONODE", Handler: &memoryStore{}})
	if err := testDialer().ReportCommitment(ctx, other, res); !errors.As(err, &ce) {
		t.Errorf("report to a server without commitment: %v", err)
	}
}

// TestReportRetried has a peer that is away at first.
func TestReportRetried(t *testing.T) {
	addr := freeport.Addr(t)
	h := struct {
		*memoryStore
		*commitHandler
	}{&memoryStore{}, &commitHandler{}}
	s := &Server{AETitle: "ECHONODE", Handler: h}
	served := make(chan error, 1)
	time.AfterFunc(150*time.Millisecond, func() {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			served <- err
			return
		}
		served <- s.Serve(l)
	})
	res := &CommitResult{TransactionUID: "1.2.77", Committed: []Reference{{testClass, "1.2.3"}}}
	if err := testDialer().RetryReport(testContext(t), addr, res, Retry{Attempts: 1000, Wait: 20 * time.Millisecond, MaxWait: 50 * time.Millisecond}); err != nil {
		t.Error(err)
	}
	s.Close()
	if err := <-served; !errors.Is(err, ErrServerClosed) {
		t.Error(err)
	}
	start := time.Now()
	if err := testDialer().RetryReport(testContext(t), addr, res, Retry{Attempts: 3, Wait: 10 * time.Millisecond}); err == nil {
		t.Error("a closed port took the report")
	}
	if d := time.Since(start); d < 30*time.Millisecond {
		t.Errorf("three attempts in %v: no waiting between them", d)
	}
}
