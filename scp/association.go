package scp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/echonode/echonode/dicomio/uid"
)

// association is the server's side of one connection.
type association struct {
	srv        *Server
	conn       net.Conn // as accepted, below TLS
	peer       string
	network    netip.Prefix
	seq        uint64 // in the order of connections
	overLimit  bool
	cut        bool // to make room; under Server.mu
	associated atomic.Bool

	link     *link
	info     *AssociationInfo
	contexts map[byte]PresentationContext // accepted, with one transfer syntax
	log      *slog.Logger
	objects  int
	failures int
	lastID   uint16                 // of messages this side sent
	reports  map[uint16]func(error) // N-EVENT-REPORT requests not yet answered

	idleSince atomic.Int64 // UnixNano while waiting between messages, else 0
	stopMu    sync.Mutex
	stopLink  *link // what stop may kick
}

// stop ends the association while it is idle. It may be called from any goroutine.
func (a *association) stop() {
	a.stopMu.Lock()
	defer a.stopMu.Unlock()
	if a.stopLink != nil {
		a.stopLink.kick()
	}
}

// stalled reports whether the peer has sent nothing for some time although it is
// its turn.
func (a *association) stalled(now time.Time, since time.Duration) bool {
	a.stopMu.Lock()
	defer a.stopMu.Unlock()
	if a.stopLink == nil {
		return false
	}
	waiting := a.stopLink.waiting.Load()
	return waiting != 0 && now.Sub(time.Unix(0, waiting)) > since
}

// run serves the connection from the first byte to the last.
func (a *association) run() {
	s := a.srv
	start := time.Now()
	defer a.conn.Close()
	conn := a.conn
	if s.TLSConfig != nil {
		t := tls.Server(conn, s.TLSConfig)
		ctx, cancel := context.WithTimeout(s.baseCtx, s.tmo.ARTIM)
		err := t.HandshakeContext(ctx)
		cancel()
		if err != nil {
			a.log.Info("TLS handshake failed", "error", err)
			s.Observer.rejected(RejectedAssociation{RemoteAddr: a.conn.RemoteAddr(), TLSFailed: true, Err: err})
			return
		}
		conn = t
	}
	l := newLink(conn, &s.pool, s.lim, s.tmo)
	defer l.drop()
	a.link = l
	a.stopMu.Lock()
	a.stopLink = l
	a.stopMu.Unlock()

	l.wait("artim", s.tmo.ARTIM-time.Since(start))
	if !a.negotiate() {
		return
	}
	a.associated.Store(true)
	s.Observer.opened(a.info)
	watcher, _ := s.Handler.(AssociationWatcher)
	if watcher != nil {
		watcher.AssociationOpened(a.info)
	}
	err := a.guarded(a.messages)
	if errors.Is(err, errReleaseRequested) {
		err = nil
	}
	a.dropReports(err)
	a.log.Info("association closed", "objects", a.objects, "failures", a.failures,
		"received", l.received.Load(), "sent", l.sent.Load(),
		"duration", time.Since(a.info.Started).Round(time.Millisecond), "outcome", outcome(err))
	s.Observer.closed(a.info, ClosedAssociation{Err: err, Received: l.received.Load(), Sent: l.sent.Load(), Objects: a.objects, Failures: a.failures})
	if watcher != nil {
		watcher.AssociationClosed(a.info, err)
	}
	l.finish(a.farewell(err))
}

// panicError is a panic of a handler, caught.
type panicError struct{ value any }

func (e *panicError) Error() string { return fmt.Sprint("scp: panic: ", e.value) }

// guarded runs f and turns a panic into an error.
func (a *association) guarded(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &panicError{r}
			a.log.Error("handler panicked", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			a.srv.Observer.panicked()
		}
	}()
	return f()
}

// farewell is the PDU that answers the way the association ended; nil when the
// connection is gone or the peer aborted.
func (a *association) farewell(err error) []byte {
	var (
		proto   *ProtocolError
		aborted *AbortError
		timeout *TimeoutError
		crash   *panicError
	)
	switch {
	case err == nil:
		return appendRelease(nil, pduReleaseRP)
	case errors.As(err, &proto):
		return appendAbort(nil, AbortByProvider, proto.Reason)
	case errors.As(err, &aborted):
		return nil
	case errors.As(err, &timeout), errors.As(err, &crash):
		return appendAbort(nil, AbortByProvider, AbortNotSpecified)
	case errors.Is(err, errKicked):
		return appendAbort(nil, AbortByUser, AbortNotSpecified)
	}
	return nil
}

func outcome(err error) string {
	if err == nil {
		return "released"
	}
	return err.Error()
}

// messages reads and answers until the association ends; an orderly release is
// errReleaseRequested.
func (a *association) messages() error {
	for {
		a.idleSince.Store(time.Now().UnixNano())
		id, cmd, err := a.link.readCommand("idle", a.srv.tmo.Idle)
		a.idleSince.Store(0)
		if errors.Is(err, errReleaseReply) {
			err = protocolErrorf(AbortUnexpectedPDU, "A-RELEASE-RP without a request")
		}
		if err != nil {
			return err
		}
		ctx, ok := a.contexts[id]
		if !ok {
			return protocolErrorf(AbortInvalidParam, "message on presentation context %d, which was not accepted", id)
		}
		if err := a.message(id, ctx, cmd); err != nil {
			return err
		}
	}
}

// message handles one command and its data set. An error ends the association.
func (a *association) message(id byte, pc PresentationContext, cmd *command) error {
	start := time.Now()
	body := &dataSetReader{l: a.link, contextID: id, limit: a.srv.lim.MaxObject}
	if !cmd.hasDataSet() {
		body.err = io.EOF
	}
	switch {
	case cmd.isResponse():
		if !a.reportAnswered(cmd) {
			a.log.Debug("ignoring a response to nothing", "field", hex16(cmd.Field))
		}
		return body.drain()
	case cmd.Field == cmdCancelRQ:
		return body.drain()
	}

	var status error
	var answer *CommitAnswer
	switch cmd.Field {
	case cmdStoreRQ:
		status = a.store(id, pc, cmd, body)
	case cmdEchoRQ:
		status = a.echo(pc, cmd)
	case cmdActionRQ:
		answer, status = a.action(pc, cmd, body)
	case cmdEventReportRQ:
		status = a.eventReport(pc, cmd, body)
	default:
		status = &StatusError{Status: StatusUnrecognizedOp}
	}
	if err := body.drain(); err != nil {
		return err
	}
	code, comment := StatusOf(status)
	if body.tooLarge {
		code, comment = StatusOutOfResources, "object over the size limit"
	}
	if err := a.link.writeMessage(id, response(cmd, code, comment), nil); err != nil {
		return err
	}
	a.account(cmd, pc, code, body.n, time.Since(start), status)
	if answer != nil && answer.Result != nil {
		return a.reportHere(id, answer)
	}
	return nil
}

// response makes the response to a request: same context (of the caller), same
// class and instance, status, and the comment if there is room for one.
func response(rq *command, status uint16, comment string) *command {
	rsp := &command{
		Field:               rq.Field | cmdResponse,
		RespondedTo:         rq.MessageID,
		DataSetType:         noDataSet,
		Status:              status,
		HasStatus:           true,
		AffectedSOPClass:    shortUID(rq.sopClass()),
		AffectedSOPInstance: shortUID(rq.sopInstance()),
		ErrorComment:        commentLO(comment),
		EventTypeID:         rq.EventTypeID,
		HasEventTypeID:      rq.HasEventTypeID,
		ActionTypeID:        rq.ActionTypeID,
		HasActionTypeID:     rq.HasActionTypeID,
	}
	return rsp
}

// shortUID keeps a peer from having 64 KiB of its own repeated.
func shortUID(s string) string {
	if len(s) > 64 {
		return ""
	}
	return s
}

// StatusOf gives the DIMSE status and comment for what a [Handler] returned
// (PS3.4 B.2.3): 0000H for nil, those of a [StatusError], A700H for
// [ErrObjectTooLarge] and C000H for any other error.
func StatusOf(err error) (uint16, string) {
	var se *StatusError
	switch {
	case err == nil:
		return StatusSuccess, ""
	case errors.As(err, &se):
		return se.Status, se.Comment
	case errors.Is(err, ErrObjectTooLarge):
		return StatusOutOfResources, "object over the size limit"
	}
	return StatusCannotUnderstand, "storing failed"
}

func (a *association) account(cmd *command, pc PresentationContext, code uint16, n int64, d time.Duration, err error) {
	level := slog.LevelDebug
	failed := ClassOf(code) == ClassFailure
	if cmd.Field == cmdStoreRQ {
		a.objects++
	}
	if failed {
		a.failures++
		level = slog.LevelWarn
	}
	if a.log.Enabled(a.srv.baseCtx, level) {
		attrs := []any{"command", commandName(cmd.Field), "status", hex16(code), "bytes", n, "duration", d}
		if err != nil {
			attrs = append(attrs, "error", err)
		}
		a.log.Log(a.srv.baseCtx, level, "message", attrs...)
	}
	a.srv.Observer.message(MessageEvent{
		Association: a.info, Command: commandName(cmd.Field), Status: code,
		SOPClassUID: pc.AbstractSyntax, TransferSyntaxUID: pc.TransferSyntaxes[0],
		Bytes: n, Duration: d,
	})
}

func hex16(v uint16) string { return fmt.Sprintf("%04XH", v) }

func commandName(field uint16) string {
	switch field {
	case cmdStoreRQ:
		return "C-STORE"
	case cmdEchoRQ:
		return "C-ECHO"
	case cmdActionRQ:
		return "N-ACTION"
	case cmdEventReportRQ:
		return "N-EVENT-REPORT"
	}
	return "other"
}

// checkClass refuses a request whose SOP class is not that of its presentation
// context.
func checkClass(pc PresentationContext, class string) error {
	if class != pc.AbstractSyntax {
		return &StatusError{Status: StatusSOPClassUnsupported, Comment: "SOP class is not that of the presentation context"}
	}
	return nil
}

func (a *association) echo(pc PresentationContext, cmd *command) error {
	// go-netdicom and others leave the class out.
	if cmd.AffectedSOPClass != "" {
		if err := checkClass(pc, cmd.AffectedSOPClass); err != nil {
			return err
		}
	}
	if pc.AbstractSyntax != uid.Verification {
		return &StatusError{Status: StatusUnrecognizedOp}
	}
	if e, ok := a.srv.Handler.(Echoer); ok {
		return e.Echo(a.srv.baseCtx, a.info)
	}
	return nil
}

func (a *association) store(id byte, pc PresentationContext, cmd *command, body *dataSetReader) error {
	if err := checkClass(pc, cmd.AffectedSOPClass); err != nil {
		return err
	}
	if pc.AbstractSyntax == uid.Verification || pc.AbstractSyntax == uid.StorageCommitmentPushModel {
		return &StatusError{Status: StatusUnrecognizedOp}
	}
	if !uid.Valid(cmd.AffectedSOPInstance) {
		return &StatusError{Status: StatusInvalidInstance, Comment: "SOP Instance UID is not a UID"}
	}
	if !cmd.hasDataSet() {
		return &StatusError{Status: StatusCannotUnderstand, Comment: "C-STORE without a data set"}
	}
	req := &StoreRequest{
		Association: a.info, ContextID: id, MessageID: cmd.MessageID, Priority: cmd.Priority,
		SOPClassUID: cmd.AffectedSOPClass, SOPInstanceUID: cmd.AffectedSOPInstance,
		TransferSyntaxUID: pc.TransferSyntaxes[0],
		MoveOriginatorAE:  cmd.MoveOriginatorAE, MoveOriginatorID: cmd.MoveOriginatorID,
	}
	return a.srv.Handler.Store(a.srv.baseCtx, req, body)
}

// readDataSet reads a whole data set of at most Limits.MaxDataSet bytes.
func (a *association) readDataSet(body *dataSetReader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(body, int64(a.srv.lim.MaxDataSet)+1))
	if err != nil {
		return nil, err
	}
	if len(b) > a.srv.lim.MaxDataSet {
		return nil, &StatusError{Status: StatusResourceLimitation, Comment: "data set over the size limit"}
	}
	return b, nil
}
