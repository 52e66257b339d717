package scp

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/echonode/echonode/dicomio/encoding"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
)

// Action and event types of the storage commitment push model (PS3.4 J.3).
const (
	actionRequestCommitment = 1
	eventAllCommitted       = 1
	eventFailuresExist      = 2
)

// Failure reasons of a FailedReference (PS3.3 C.14.1.1).
const (
	FailureProcessing         uint16 = 0x0110
	FailureNoSuchInstance     uint16 = 0x0112
	FailureClassInstance      uint16 = 0x0119
	FailureClassUnsupported   uint16 = 0x0122
	FailureDuplicateUID       uint16 = 0x0131
	FailureResourceLimitation uint16 = 0x0213
)

// maxReferences bounds the references of one storage commitment message.
const maxReferences = 100000

// maxPendingReports bounds the unanswered N-EVENT-REPORTs of one association.
const maxPendingReports = 16

// Reference names an object.
type Reference struct {
	SOPClassUID, SOPInstanceUID string
}

// FailedReference names an object that is not committed, and why.
type FailedReference struct {
	Reference
	Reason uint16
}

// CommitRequest is a request for storage commitment (N-ACTION, PS3.4 J.3.2).
type CommitRequest struct {
	Association    *AssociationInfo
	TransactionUID string
	References     []Reference
}

// CommitResult is the answer to a CommitRequest (N-EVENT-REPORT, PS3.4 J.3.3).
type CommitResult struct {
	TransactionUID string
	Committed      []Reference
	Failed         []FailedReference
}

// CommitAnswer says how the result of a CommitRequest travels.
type CommitAnswer struct {
	// Result, when not nil, is sent on the same association, right after the
	// response to the request. With nil the handler reports later, on a new
	// association, with Dialer.ReportCommitment.
	Result *CommitResult
	// Sent, when not nil, is called once with what became of Result: nil after
	// the peer confirmed it, else an error, and then the handler has to report
	// on a new association.
	Sent func(error)
}

// Committer is a Handler that takes requests for storage commitment. An error
// is the status of the response, as with Store; nil promises a result. The
// answer may be nil.
type Committer interface {
	Commit(ctx context.Context, req *CommitRequest) (*CommitAnswer, error)
}

// CommitReceiver is a Handler that takes results of storage commitments it
// asked others for, when they come on an association of their own. An error is
// the status of the response.
type CommitReceiver interface {
	CommitReported(ctx context.Context, a *AssociationInfo, result *CommitResult) error
}

// action answers an N-ACTION-RQ.
func (a *association) action(pc PresentationContext, cmd *command, body *dataSetReader) (*CommitAnswer, error) {
	committer := a.srv.committer()
	if pc.AbstractSyntax != uid.StorageCommitmentPushModel || committer == nil {
		return nil, &StatusError{Status: StatusUnrecognizedOp}
	}
	if err := checkClass(pc, cmd.RequestedSOPClass); err != nil {
		return nil, err
	}
	if cmd.RequestedSOPInstance != uid.StorageCommitmentPushModelInstance {
		return nil, &StatusError{Status: StatusNoSuchInstance}
	}
	if cmd.ActionTypeID != actionRequestCommitment {
		return nil, &StatusError{Status: StatusNoSuchAction}
	}
	b, err := a.readDataSet(body)
	if err != nil {
		return nil, err
	}
	res, err := parseCommitment(b, commitSyntax(pc.TransferSyntaxes[0]))
	if err != nil {
		return nil, err
	}
	return committer.Commit(a.srv.baseCtx, &CommitRequest{
		Association: a.info, TransactionUID: res.TransactionUID, References: res.Committed,
	})
}

// eventReport answers an N-EVENT-REPORT-RQ.
func (a *association) eventReport(pc PresentationContext, cmd *command, body *dataSetReader) error {
	receiver := a.srv.commitReceiver()
	if pc.AbstractSyntax != uid.StorageCommitmentPushModel || receiver == nil {
		return &StatusError{Status: StatusUnrecognizedOp}
	}
	if err := checkClass(pc, cmd.AffectedSOPClass); err != nil {
		return err
	}
	b, err := a.readDataSet(body)
	if err != nil {
		return err
	}
	res, err := parseCommitment(b, commitSyntax(pc.TransferSyntaxes[0]))
	if err != nil {
		return err
	}
	return receiver.CommitReported(a.srv.baseCtx, a.info, res)
}

// reportHere sends the result of a commitment on this association. The
// response is taken by the message loop, see reportAnswered.
func (a *association) reportHere(id byte, answer *CommitAnswer) error {
	sent := answer.Sent
	if sent == nil {
		sent = func(error) {}
	}
	if len(a.reports) == maxPendingReports {
		sent(errors.New("scp: too many unanswered reports on this association"))
		return nil
	}
	syntax := commitSyntax(a.contexts[id].TransferSyntaxes[0])
	a.lastID++
	if a.reports == nil {
		a.reports = make(map[uint16]func(error))
	}
	a.reports[a.lastID] = sent
	return a.link.writeMessage(id, eventReportCommand(a.lastID, answer.Result), encodeCommitment(answer.Result, syntax))
}

// reportAnswered takes a response to an N-EVENT-REPORT of this side.
func (a *association) reportAnswered(cmd *command) bool {
	sent, ok := a.reports[cmd.RespondedTo]
	if !ok || cmd.Field != cmdEventReportRQ|cmdResponse {
		return false
	}
	delete(a.reports, cmd.RespondedTo)
	sent(failure(cmd))
	return true
}

// dropReports tells the senders of unanswered reports that the association is over.
func (a *association) dropReports(err error) {
	if err == nil {
		err = errors.New("scp: association released before the report was confirmed")
	}
	for id, sent := range a.reports {
		delete(a.reports, id)
		sent(err)
	}
}

// failure is the *StatusError of a response, nil for success and warnings.
func failure(rsp *command) error {
	if c := ClassOf(rsp.Status); c == ClassSuccess || c == ClassWarning {
		return nil
	}
	return &StatusError{Status: rsp.Status, Comment: rsp.ErrorComment, peer: true}
}

func eventReportCommand(id uint16, r *CommitResult) *command {
	event := uint16(eventAllCommitted)
	if len(r.Failed) > 0 {
		event = eventFailuresExist
	}
	return &command{
		Field: cmdEventReportRQ, MessageID: id, HasMessageID: true, DataSetType: 1,
		AffectedSOPClass: uid.StorageCommitmentPushModel, AffectedSOPInstance: uid.StorageCommitmentPushModelInstance,
		EventTypeID: event, HasEventTypeID: true,
	}
}

// commitSyntax is how the data set of a storage commitment is encoded.
func commitSyntax(transferSyntax string) encoding.Syntax {
	return encoding.Syntax{Implicit: transferSyntax == uid.ImplicitVRLittleEndian}
}

// parseCommitment decodes the data set of an N-ACTION-RQ (only Committed is
// filled) or N-EVENT-REPORT-RQ, in little endian. Errors are *StatusError.
func parseCommitment(b []byte, s encoding.Syntax) (*CommitResult, error) {
	r := &CommitResult{}
	for e, err := range s.Elements(b) {
		if err != nil {
			return nil, malformed(err)
		}
		switch e.Tag {
		case tag.TransactionUID:
			r.TransactionUID = uid.Trim(e.Value)
		case tag.ReferencedSOPSequence, tag.FailedSOPSequence:
			if err := r.references(e, s); err != nil {
				return nil, err
			}
		}
	}
	if !uid.Valid(r.TransactionUID) {
		return nil, &StatusError{Status: StatusInvalidArgument, Comment: "no valid Transaction UID"}
	}
	return r, nil
}

// references adds those of a sequence.
func (r *CommitResult) references(sequence encoding.Element, s encoding.Syntax) error {
	for item, err := range s.Items(sequence.Value) {
		if err != nil {
			return malformed(err)
		}
		f, err := parseReference(item, s)
		if err != nil {
			return err
		}
		if len(r.Committed)+len(r.Failed) == maxReferences {
			return &StatusError{Status: StatusResourceLimitation, Comment: "too many references"}
		}
		if sequence.Tag == tag.FailedSOPSequence {
			r.Failed = append(r.Failed, f)
		} else {
			r.Committed = append(r.Committed, f.Reference)
		}
	}
	return nil
}

func parseReference(item []byte, s encoding.Syntax) (f FailedReference, err error) {
	for e, err := range s.Elements(item) {
		if err != nil {
			return f, malformed(err)
		}
		switch e.Tag {
		case tag.ReferencedSOPClassUID:
			f.SOPClassUID = uid.Trim(e.Value)
		case tag.ReferencedSOPInstanceUID:
			f.SOPInstanceUID = uid.Trim(e.Value)
		case tag.FailureReason:
			if len(e.Value) >= 2 {
				f.Reason = binary.LittleEndian.Uint16(e.Value)
			}
		}
	}
	if !uid.Valid(f.SOPClassUID) || !uid.Valid(f.SOPInstanceUID) {
		return f, &StatusError{Status: StatusInvalidArgument, Comment: "reference without valid UIDs"}
	}
	return f, nil
}

func malformed(err error) error {
	return &StatusError{Status: StatusInvalidArgument, Comment: "malformed data set", Err: err}
}

// encodeCommitment encodes the data set of an N-EVENT-REPORT-RQ, or of an
// N-ACTION-RQ when nothing failed, with defined lengths.
func encodeCommitment(r *CommitResult, s encoding.Syntax) []byte {
	b := s.AppendString(nil, tag.TransactionUID, "UI", r.TransactionUID)
	reference := func(b []byte, f Reference) []byte {
		b = s.AppendString(b, tag.ReferencedSOPClassUID, "UI", f.SOPClassUID)
		return s.AppendString(b, tag.ReferencedSOPInstanceUID, "UI", f.SOPInstanceUID)
	}
	if len(r.Failed) > 0 {
		b = s.AppendSequence(b, tag.FailedSOPSequence, len(r.Failed), func(b []byte, i int) []byte {
			return s.AppendUint16(reference(b, r.Failed[i].Reference), tag.FailureReason, r.Failed[i].Reason)
		})
	}
	if len(r.Committed) > 0 {
		b = s.AppendSequence(b, tag.ReferencedSOPSequence, len(r.Committed), func(b []byte, i int) []byte {
			return reference(b, r.Committed[i])
		})
	}
	return b
}

// Retry says how often a report is tried, and how long to wait in between: Wait
// at first, then twice as long each time, at most MaxWait (0: no bound).
type Retry struct {
	Attempts      int
	Wait, MaxWait time.Duration
}

// RetryReport is ReportCommitment until the peer has confirmed or refused, the
// attempts are used up, or ctx ends. A caller with a durable queue uses
// ReportCommitment instead, so that a report survives a restart.
func (d *Dialer) RetryReport(ctx context.Context, addr string, result *CommitResult, r Retry) error {
	wait := r.Wait
	for attempt := 1; ; attempt++ {
		err := d.ReportCommitment(ctx, addr, result)
		var refused *StatusError
		if err == nil || errors.As(err, &refused) || attempt >= r.Attempts || ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
		if wait *= 2; r.MaxWait > 0 {
			wait = min(wait, r.MaxWait)
		}
	}
}
