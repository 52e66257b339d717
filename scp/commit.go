package scp

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

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
	res, err := parseCommitment(b, pc.TransferSyntaxes[0] != uid.ImplicitVRLittleEndian)
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
	res, err := parseCommitment(b, pc.TransferSyntaxes[0] != uid.ImplicitVRLittleEndian)
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
	explicit := a.contexts[id].TransferSyntaxes[0] != uid.ImplicitVRLittleEndian
	a.lastID++
	if a.reports == nil {
		a.reports = make(map[uint16]func(error))
	}
	a.reports[a.lastID] = sent
	return a.link.writeMessage(id, eventReportCommand(a.lastID, answer.Result), encodeCommitment(answer.Result, explicit))
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

// Tags of storage commitment data sets.
const (
	tagRefSOPClass    = 0x00081150
	tagRefSOPInstance = 0x00081155
	tagTransactionUID = 0x00081195
	tagFailureReason  = 0x00081197
	tagFailedSequence = 0x00081198
	tagRefSequence    = 0x00081199
	tagItem           = 0xFFFEE000
	tagItemEnd        = 0xFFFEE00D
	tagSequenceEnd    = 0xFFFEE0DD

	undefinedLength = 0xFFFFFFFF
	maxNesting      = 8
)

// parseCommitment decodes the data set of an N-ACTION-RQ (only Committed is
// filled) or N-EVENT-REPORT-RQ, in little endian. Errors are *StatusError.
func parseCommitment(b []byte, explicit bool) (*CommitResult, error) {
	r := &CommitResult{}
	err := scanElements(b, explicit, 0, func(tag uint32, value []byte) error {
		switch tag {
		case tagTransactionUID:
			r.TransactionUID = uid.Trim(value)
		case tagRefSequence, tagFailedSequence:
			return scanItems(value, explicit, 1, func(item []byte) error {
				var f FailedReference
				err := scanElements(item, explicit, 1, func(tag uint32, value []byte) error {
					switch tag {
					case tagRefSOPClass:
						f.SOPClassUID = uid.Trim(value)
					case tagRefSOPInstance:
						f.SOPInstanceUID = uid.Trim(value)
					case tagFailureReason:
						if len(value) >= 2 {
							f.Reason = binary.LittleEndian.Uint16(value)
						}
					}
					return nil
				})
				if err != nil {
					return err
				}
				if !uid.Valid(f.SOPClassUID) || !uid.Valid(f.SOPInstanceUID) {
					return &StatusError{Status: StatusInvalidArgument, Comment: "reference without valid UIDs"}
				}
				if len(r.Committed)+len(r.Failed) == maxReferences {
					return &StatusError{Status: StatusResourceLimitation, Comment: "too many references"}
				}
				if tag == tagFailedSequence {
					r.Failed = append(r.Failed, f)
				} else {
					r.Committed = append(r.Committed, f.Reference)
				}
				return nil
			})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if !uid.Valid(r.TransactionUID) {
		return nil, &StatusError{Status: StatusInvalidArgument, Comment: "no valid Transaction UID"}
	}
	return r, nil
}

func malformed(what string) error {
	return &StatusError{Status: StatusInvalidArgument, Comment: "malformed data set: " + what}
}

// elementHeader decodes one element header and returns what follows it.
func elementHeader(b []byte, explicit bool) (tag, size uint32, sequence bool, rest []byte, err error) {
	if len(b) < 8 {
		return 0, 0, false, nil, malformed("element cut off")
	}
	tag = uint32(binary.LittleEndian.Uint16(b))<<16 | uint32(binary.LittleEndian.Uint16(b[2:]))
	switch {
	case !explicit || tag>>16 == 0xFFFE:
		size, rest = binary.LittleEndian.Uint32(b[4:]), b[8:]
		sequence = tag == tagRefSequence || tag == tagFailedSequence
	default:
		vr := string(b[4:6])
		switch vr {
		case "SQ", "UN", "OB", "OD", "OF", "OL", "OV", "OW", "SV", "UC", "UR", "UT", "UV":
			if len(b) < 12 {
				return 0, 0, false, nil, malformed("element cut off")
			}
			size, rest = binary.LittleEndian.Uint32(b[8:]), b[12:]
		default:
			size, rest = uint32(binary.LittleEndian.Uint16(b[6:])), b[8:]
		}
		sequence = vr == "SQ"
	}
	sequence = sequence || size == undefinedLength
	return tag, size, sequence, rest, nil
}

// scanElements calls visit with each element of a data set. The value of a
// sequence is its items, without a delimiter.
func scanElements(b []byte, explicit bool, depth int, visit func(tag uint32, value []byte) error) error {
	for len(b) > 0 {
		tag, size, _, rest, err := elementHeader(b, explicit)
		if err != nil {
			return err
		}
		n := int(size)
		after := 0
		if size == undefinedLength {
			if n, after, err = extent(rest, explicit, tagSequenceEnd, depth+1); err != nil {
				return err
			}
		}
		if n+after > len(rest) {
			return malformed("length beyond the end")
		}
		if err := visit(tag, rest[:n]); err != nil {
			return err
		}
		b = rest[n+after:]
	}
	return nil
}

// scanItems calls visit with the content of each item of a sequence.
func scanItems(b []byte, explicit bool, depth int, visit func(item []byte) error) error {
	for len(b) > 0 {
		tag, size, _, rest, err := elementHeader(b, explicit)
		if err != nil {
			return err
		}
		if tag != tagItem {
			return malformed("no item where one should be")
		}
		n, after := int(size), 0
		if size == undefinedLength {
			if n, after, err = extent(rest, explicit, tagItemEnd, depth+1); err != nil {
				return err
			}
		}
		if n+after > len(rest) {
			return malformed("length beyond the end")
		}
		if err := visit(rest[:n]); err != nil {
			return err
		}
		b = rest[n+after:]
	}
	return nil
}

// extent finds the delimiter end of a sequence or item of undefined length: n
// bytes of content, then after bytes of delimiter.
func extent(b []byte, explicit bool, end uint32, depth int) (n, after int, err error) {
	if depth > maxNesting {
		return 0, 0, malformed("nested too deeply")
	}
	for pos := 0; ; {
		tag, size, _, rest, err := elementHeader(b[pos:], explicit)
		if err != nil {
			return 0, 0, err
		}
		header := len(b) - pos - len(rest)
		if tag == end {
			return pos, header, nil
		}
		inner, delim := int(size), 0
		if size == undefinedLength {
			innerEnd := uint32(tagSequenceEnd)
			if tag == tagItem {
				innerEnd = tagItemEnd
			}
			if inner, delim, err = extent(rest, explicit, innerEnd, depth+1); err != nil {
				return 0, 0, err
			}
		}
		if inner+delim > len(rest) {
			return 0, 0, malformed("length beyond the end")
		}
		pos += header + inner + delim
	}
}

// encodeCommitment encodes the data set of an N-EVENT-REPORT-RQ, or of an
// N-ACTION-RQ when nothing failed, in little endian with defined lengths.
func encodeCommitment(r *CommitResult, explicit bool) []byte {
	b := appendUI(nil, tagTransactionUID, r.TransactionUID, explicit)
	if len(r.Failed) > 0 {
		b = appendSequence(b, tagFailedSequence, explicit, len(r.Failed), func(b []byte, i int) []byte {
			f := r.Failed[i]
			b = appendUI(b, tagRefSOPClass, f.SOPClassUID, explicit)
			b = appendUI(b, tagRefSOPInstance, f.SOPInstanceUID, explicit)
			b = appendShortHeader(b, tagFailureReason, "US", 2, explicit)
			return binary.LittleEndian.AppendUint16(b, f.Reason)
		})
	}
	if len(r.Committed) > 0 {
		b = appendSequence(b, tagRefSequence, explicit, len(r.Committed), func(b []byte, i int) []byte {
			b = appendUI(b, tagRefSOPClass, r.Committed[i].SOPClassUID, explicit)
			return appendUI(b, tagRefSOPInstance, r.Committed[i].SOPInstanceUID, explicit)
		})
	}
	return b
}

func appendTag(b []byte, tag uint32) []byte {
	b = binary.LittleEndian.AppendUint16(b, uint16(tag>>16))
	return binary.LittleEndian.AppendUint16(b, uint16(tag))
}

func appendShortHeader(b []byte, tag uint32, vr string, n int, explicit bool) []byte {
	b = appendTag(b, tag)
	if explicit {
		b = append(b, vr...)
		return binary.LittleEndian.AppendUint16(b, uint16(n))
	}
	return binary.LittleEndian.AppendUint32(b, uint32(n))
}

func appendUI(b []byte, tag uint32, uid string, explicit bool) []byte {
	b = appendShortHeader(b, tag, "UI", len(uid)+len(uid)%2, explicit)
	b = append(b, uid...)
	if len(uid)%2 == 1 {
		b = append(b, 0)
	}
	return b
}

func appendSequence(b []byte, tag uint32, explicit bool, n int, item func(b []byte, i int) []byte) []byte {
	b = appendTag(b, tag)
	if explicit {
		b = append(b, "SQ\x00\x00"...)
	}
	b = append(b, 0, 0, 0, 0)
	start := len(b)
	for i := range n {
		b = appendTag(b, tagItem)
		b = append(b, 0, 0, 0, 0)
		at := len(b)
		b = item(b, i)
		binary.LittleEndian.PutUint32(b[at-4:], uint32(len(b)-at))
	}
	binary.LittleEndian.PutUint32(b[start-4:], uint32(len(b)-start))
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
