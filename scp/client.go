package scp

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/echonode/echonode/dicomio/encoding"
	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/scp/bufpool"
)

// Dialer opens associations as their requestor. Set the fields before use; it
// may then be used by several goroutines.
type Dialer struct {
	CallingAE, CalledAE string
	TLSConfig           *tls.Config // nil: plain. See ClientTLS
	Identity            *UserIdentity
	Roles               []RoleSelection // proposed; see Client.Roles for the answer
	Extended            []ExtendedNegotiation
	Limits              Limits
	Timeouts            Timeouts

	Logger *slog.Logger // nil: discard. Warns of peers' certificates that expire
	// NetDial opens connections; nil is a net.Dialer.
	NetDial func(ctx context.Context, network, addr string) (net.Conn, error)

	pool         bufpool.Pool
	certificates certificateWarner
}

// Client is an association as its requestor sees it. Its methods may be called
// from several goroutines and take turns. After a timeout, a cancelled context
// or any other failure of the association it is over, and every further call
// returns ErrClientClosed: a late response could otherwise be taken for the
// answer to another request.
type Client struct {
	mu       sync.Mutex
	link     *link
	tmo      Timeouts
	contexts []clientContext
	roles    []RoleSelection
	identity []byte
	info     PeerInfo
	lastID   uint16
	reports  []*CommitResult // results of commitments that came early
	over     bool

	calling, called string // AE titles
	started         time.Time
}

// PeerInfo is what the peer said about itself when it accepted.
type PeerInfo struct {
	MaxPDU                 uint32 // 0 is unlimited
	ImplementationClassUID string
	ImplementationVersion  string
}

type clientContext struct {
	id       byte
	proposed PresentationContext
	result   byte
	syntax   string // when accepted
}

// Object is what Store sends: a bare data set, encoded in TransferSyntaxUID.
// DataSet is read to its end. Size is informative; -1 is unknown.
type Object struct {
	SOPClassUID, SOPInstanceUID, TransferSyntaxUID string
	DataSet                                        io.Reader
	Size                                           int64
	MoveOriginatorAE                               string // when sent on behalf of a C-MOVE
	MoveOriginatorID                               uint16
}

// Close closes DataSet if it can be closed.
func (o Object) Close() error {
	if c, ok := o.DataSet.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// StoreResult is the peer's answer to a C-STORE.
type StoreResult struct {
	Status  uint16
	Comment string // Error Comment (0000,0902), verbatim
	Warning bool   // stored, with a reservation
	Bytes   int64  // data set bytes sent
}

// Dial connects to addr ("host:port") and negotiates an association with the
// given presentation contexts, at most 128. A refusal is a *RejectError.
func (d *Dialer) Dial(ctx context.Context, addr string, contexts []PresentationContext) (*Client, error) {
	if !encoding.ValidAETitle(d.CallingAE) || !encoding.ValidAETitle(d.CalledAE) {
		return nil, fmt.Errorf("scp: calling %q or called %q is no AE title", d.CallingAE, d.CalledAE)
	}
	if len(contexts) == 0 || len(contexts) > maxContexts {
		return nil, fmt.Errorf("scp: %d presentation contexts, need 1 to %d", len(contexts), maxContexts)
	}
	lim, tmo := d.Limits.withDefaults(), d.Timeouts.withDefaults()
	conn, err := d.connect(ctx, addr, tmo)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	if d.TLSConfig != nil {
		t, err := d.handshake(ctx, conn, addr, tmo)
		if err != nil {
			conn.Close()
			return nil, err
		}
		conn = t
	}
	c := &Client{link: newLink(conn, &d.pool, lim, tmo), tmo: tmo, calling: d.CallingAE, called: d.CalledAE, started: start}
	c.link.wait("artim", tmo.ARTIM-time.Since(start))
	if err := c.step(ctx, func() error { return c.associate(d, contexts) }); err != nil {
		return nil, fmt.Errorf("association with %s at %s: %w", d.CalledAE, addr, err)
	}
	return c, nil
}

func (d *Dialer) connect(ctx context.Context, addr string, tmo Timeouts) (net.Conn, error) {
	dial := d.NetDial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	dctx, cancel := context.WithTimeout(ctx, tmo.Connect)
	defer cancel()
	conn, err := dial(dctx, "tcp", addr)
	if err != nil && dctx.Err() != nil && ctx.Err() == nil {
		return nil, fmt.Errorf("connecting to %s: %w", addr, &TimeoutError{"connect"})
	}
	return conn, err
}

func (d *Dialer) handshake(ctx context.Context, conn net.Conn, addr string, tmo Timeouts) (net.Conn, error) {
	cfg := d.TLSConfig
	if cfg.ServerName == "" && !cfg.InsecureSkipVerify {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		cfg = cfg.Clone()
		cfg.ServerName = host
	}
	hctx, cancel := context.WithTimeout(ctx, tmo.ARTIM)
	defer cancel()
	t := tls.Client(conn, cfg)
	if err := t.HandshakeContext(hctx); err != nil {
		if hctx.Err() != nil && ctx.Err() == nil {
			err = &TimeoutError{"artim"}
		}
		return nil, fmt.Errorf("TLS handshake with %s: %w", addr, err)
	}
	d.certificates.check(d.Logger, t.ConnectionState(), time.Now())
	return t, nil
}

// associate sends the A-ASSOCIATE-RQ and reads the answer.
func (c *Client) associate(d *Dialer, contexts []PresentationContext) error {
	rq := &associatePDU{
		ProtocolVersion: 1, Called: aeField(d.CalledAE), Calling: aeField(d.CallingAE),
		ApplicationContext: uid.DICOMApplicationContext,
		User: userInformation{
			MaxLength:              uint32(c.link.lim.MaxPDU),
			ImplementationClassUID: uid.ImplementationClass,
			ImplementationVersion:  uid.ImplementationVersionName,
			Roles:                  d.Roles,
			Extended:               d.Extended,
			Identity:               d.Identity,
		},
	}
	for i, pc := range contexts {
		id := byte(2*i + 1)
		rq.Contexts = append(rq.Contexts, contextItem{ID: id, AbstractSyntax: pc.AbstractSyntax, TransferSyntaxes: pc.TransferSyntaxes})
		c.contexts = append(c.contexts, clientContext{id: id, proposed: pc, result: contextNoReason})
	}
	b, err := rq.append(nil)
	if err != nil {
		return err
	}
	if err := c.link.write(b); err != nil {
		return err
	}
	h, err := c.link.need(pduHeaderLen)
	if err != nil {
		return unexpected(err)
	}
	typ, n := h[0], binary.BigEndian.Uint32(h[2:])
	if n > uint32(c.link.lim.MaxAssociatePDU) {
		return protocolErrorf(AbortInvalidParam, "PDU %02XH of %d bytes as the answer to A-ASSOCIATE-RQ", typ, n)
	}
	body, err := c.link.body(int(n))
	if err != nil {
		return err
	}
	switch {
	case typ == pduAssociateRJ && n == 4:
		return &RejectError{body[1], body[2], body[3]}
	case typ == pduAbort && n == 4:
		return &AbortError{body[2], body[3]}
	case typ == pduAssociateAC:
		ac, err := parseAssociate(body, true)
		if err != nil {
			return err
		}
		return c.accepted(ac)
	}
	return protocolErrorf(AbortUnexpectedPDU, "PDU %02XH of %d bytes as the answer to A-ASSOCIATE-RQ", typ, n)
}

func (c *Client) accepted(ac *associatePDU) error {
	if m := ac.User.MaxLength; m != 0 && m < minPeerPDU {
		return protocolErrorf(AbortInvalidParam, "maximum PDU length %d leaves no room for a PDV", m)
	}
	for i := range c.contexts {
		for _, item := range ac.Contexts {
			if item.ID != c.contexts[i].id {
				continue
			}
			c.contexts[i].result = item.Result
			if item.Result != contextAccepted {
				continue
			}
			if len(item.TransferSyntaxes) != 1 || !slices.Contains(c.contexts[i].proposed.TransferSyntaxes, item.TransferSyntaxes[0]) {
				return protocolErrorf(AbortInvalidParam, "presentation context %d accepted with a transfer syntax that was not proposed", item.ID)
			}
			c.contexts[i].syntax = item.TransferSyntaxes[0]
		}
	}
	c.link.peerMax = ac.User.MaxLength
	c.roles, c.identity = ac.User.Roles, ac.User.IdentityResponse
	c.info = PeerInfo{ac.User.MaxLength, ac.User.ImplementationClassUID, ac.User.ImplementationVersion}
	return nil
}

// Peer is what the peer said about itself.
func (c *Client) Peer() PeerInfo { return c.info }

// Roles is the peer's answer to Dialer.Roles.
func (c *Client) Roles() []RoleSelection { return c.roles }

// IdentityResponse is the peer's answer to Dialer.Identity, nil when there was none.
func (c *Client) IdentityResponse() []byte { return c.identity }

// Accepts reports whether an object of the class and syntax can be sent: nil
// or a *ContextError.
func (c *Client) Accepts(sopClass, transferSyntax string) error {
	_, err := c.find(sopClass, transferSyntax)
	return err
}

// find returns the accepted context for a class and syntax; an empty syntax is any.
func (c *Client) find(class, syntax string) (*clientContext, error) {
	e := &ContextError{SOPClassUID: class, TransferSyntaxUID: syntax}
	for i := range c.contexts {
		pc := &c.contexts[i]
		if pc.proposed.AbstractSyntax != class {
			continue
		}
		if pc.result == contextAccepted && (syntax == "" || pc.syntax == syntax) {
			return pc, nil
		}
		if syntax == "" || slices.Contains(pc.proposed.TransferSyntaxes, syntax) {
			e.Proposed, e.Result = true, pc.result
		}
	}
	return nil, e
}

// step runs one exchange. Cancelling ctx interrupts it. After any error but a
// *StatusError or *ContextError the association is aborted and over.
func (c *Client) step(ctx context.Context, f func() error) error {
	if c.over {
		return ErrClientClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, c.link.kickBoth)
	err := f()
	if !stop() {
		if err == nil {
			err = ctx.Err()
		} else if ctx.Err() != nil {
			err = fmt.Errorf("%w (%w)", ctx.Err(), err)
		}
	}
	if err == nil {
		return nil
	}
	var se *StatusError
	var ce *ContextError
	if ctx.Err() == nil && (errors.As(err, &se) || errors.As(err, &ce)) {
		return err
	}
	c.end(err)
	return err
}

// end closes the connection, with an A-ABORT unless the peer has ended it.
func (c *Client) end(err error) {
	if c.over {
		return
	}
	c.over = true
	var aborted *AbortError
	var rejected *RejectError
	var proto *ProtocolError
	switch {
	case errors.As(err, &aborted), errors.As(err, &rejected), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		c.link.conn.Close()
	case errors.As(err, &proto):
		c.link.conn.SetWriteDeadline(time.Now().Add(time.Second))
		c.link.write(appendAbort(nil, AbortByProvider, proto.Reason))
		c.link.conn.Close()
	default:
		c.link.conn.SetWriteDeadline(time.Now().Add(time.Second))
		c.link.conn.Write(appendAbort(nil, AbortByUser, AbortNotSpecified))
		c.link.conn.Close()
	}
	c.link.drop()
}

func (c *Client) nextID() uint16 {
	c.lastID++
	if c.lastID == 0 {
		c.lastID = 1
	}
	return c.lastID
}

// Echo sends a C-ECHO. The verification class must be among the contexts.
func (c *Client) Echo(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.step(ctx, func() error {
		pc, err := c.find(uid.Verification, "")
		if err != nil {
			return err
		}
		cmd := &command{Field: cmdEchoRQ, MessageID: c.nextID(), HasMessageID: true, DataSetType: noDataSet, AffectedSOPClass: uid.Verification}
		if err := c.link.writeMessage(pc.id, cmd, nil); err != nil {
			return c.writeFailed(err)
		}
		rsp, err := c.response(cmd)
		if err != nil {
			return err
		}
		return failure(rsp)
	})
}

// Store sends an object. A *ContextError says that it was not sent; a
// *StatusError that the peer refused it, with the same status and comment in
// the result; after these the association goes on. Warnings are no errors.
func (c *Client) Store(ctx context.Context, o Object) (StoreResult, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var res StoreResult
	err := c.step(ctx, func() error {
		pc, err := c.find(o.SOPClassUID, o.TransferSyntaxUID)
		if err != nil {
			return err
		}
		if !uid.Valid(o.SOPInstanceUID) {
			return &StatusError{Status: StatusInvalidInstance, Comment: "not sent: SOP Instance UID is not a UID"}
		}
		cmd := &command{
			Field: cmdStoreRQ, MessageID: c.nextID(), HasMessageID: true, DataSetType: 1, HasPriority: true,
			AffectedSOPClass: o.SOPClassUID, AffectedSOPInstance: o.SOPInstanceUID,
			MoveOriginatorAE: o.MoveOriginatorAE, MoveOriginatorID: o.MoveOriginatorID, HasMoveOriginatorID: o.MoveOriginatorAE != "",
		}
		if err := c.link.writeMessage(pc.id, cmd, nil); err != nil {
			return c.writeFailed(err)
		}
		n, err := c.link.writeDataSet(pc.id, o.DataSet)
		res.Bytes = n
		if err != nil {
			return c.writeFailed(err)
		}
		rsp, err := c.response(cmd)
		if err != nil {
			return err
		}
		res.Status, res.Comment = rsp.Status, rsp.ErrorComment
		res.Warning = ClassOf(rsp.Status) == ClassWarning
		return failure(rsp)
	})
	return res, err
}

// writeFailed looks for an A-ABORT that explains why a write failed.
func (c *Client) writeFailed(err error) error {
	var src *sourceError
	if errors.As(err, &src) {
		return err
	}
	c.link.inMessage = false
	c.link.pduLeft, c.link.pdvLeft = 0, 0
	_, perr := c.link.nextPDV("response", 200*time.Millisecond)
	var aborted *AbortError
	if errors.As(perr, &aborted) {
		return aborted
	}
	return err
}

// response waits for the response to cmd. Requests of the peer that come in
// between are answered; responses to anything else are a protocol error.
func (c *Client) response(cmd *command) (*command, error) {
	deadline := time.Now().Add(c.tmo.Response)
	for {
		id, rsp, err := c.link.readCommand("response", time.Until(deadline))
		switch {
		case errors.Is(err, errReleaseRequested):
			c.link.write(appendRelease(nil, pduReleaseRP))
			return nil, protocolErrorf(AbortUnexpectedPDU, "A-RELEASE-RQ instead of a response")
		case err != nil:
			return nil, unexpected(err)
		}
		if !rsp.isResponse() {
			if err := c.request(id, rsp); err != nil {
				return nil, err
			}
			continue
		}
		if rsp.Field != cmd.Field|cmdResponse || rsp.RespondedTo != cmd.MessageID || !rsp.HasStatus {
			return nil, protocolErrorf(AbortUnexpectedParam, "response %04XH to message %d, waiting for %04XH to %d",
				rsp.Field, rsp.RespondedTo, cmd.Field|cmdResponse, cmd.MessageID)
		}
		if rsp.hasDataSet() {
			if _, err := c.readDataSet(id); err != nil {
				return nil, err
			}
		}
		return rsp, nil
	}
}

// readDataSet reads a data set of at most Limits.MaxDataSet bytes.
func (c *Client) readDataSet(id byte) ([]byte, error) {
	b, err := io.ReadAll(&dataSetReader{l: c.link, contextID: id, limit: int64(c.link.lim.MaxDataSet)})
	if errors.Is(err, ErrObjectTooLarge) {
		err = protocolErrorf(AbortNotSpecified, "data set of more than %d bytes", c.link.lim.MaxDataSet)
	}
	return b, err
}

// request answers what the peer asks on this association: a storage commitment
// result is kept for WaitCommitment, all else is an unrecognized operation.
func (c *Client) request(id byte, rq *command) error {
	var data []byte
	if rq.hasDataSet() {
		var err error
		if data, err = c.readDataSet(id); err != nil {
			return err
		}
	}
	i := slices.IndexFunc(c.contexts, func(pc clientContext) bool { return pc.id == id && pc.result == contextAccepted })
	if i < 0 {
		return protocolErrorf(AbortInvalidParam, "message on presentation context %d, which was not accepted", id)
	}
	if rq.Field == cmdCancelRQ {
		return nil
	}
	var status error = &StatusError{Status: StatusUnrecognizedOp}
	if rq.Field == cmdEventReportRQ && rq.AffectedSOPClass == uid.StorageCommitmentPushModel && len(c.reports) < maxPendingReports {
		var res *CommitResult
		if res, status = parseCommitment(data, commitSyntax(c.contexts[i].syntax)); status == nil {
			c.reports = append(c.reports, res)
		}
	}
	code, comment := StatusOf(status)
	return c.link.writeMessage(id, response(rq, code, comment), nil)
}

// RequestCommitment asks the peer to commit to the objects (N-ACTION). The
// result comes later: on this association, see WaitCommitment, or on one that
// the peer opens to a Server of this side, see CommitReceiver.
func (c *Client) RequestCommitment(ctx context.Context, transactionUID string, refs []Reference) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.step(ctx, func() error {
		pc, err := c.find(uid.StorageCommitmentPushModel, "")
		if err != nil {
			return err
		}
		cmd := &command{
			Field: cmdActionRQ, MessageID: c.nextID(), HasMessageID: true, DataSetType: 1,
			RequestedSOPClass: uid.StorageCommitmentPushModel, RequestedSOPInstance: uid.StorageCommitmentPushModelInstance,
			ActionTypeID: actionRequestCommitment, HasActionTypeID: true,
		}
		data := encodeCommitment(&CommitResult{TransactionUID: transactionUID, Committed: refs}, commitSyntax(pc.syntax))
		if err := c.link.writeMessage(pc.id, cmd, data); err != nil {
			return c.writeFailed(err)
		}
		rsp, err := c.response(cmd)
		if err != nil {
			return err
		}
		return failure(rsp)
	})
}

// WaitCommitment waits for a commitment result on this association, until ctx
// ends or, without a deadline, for Timeouts.Response. A timeout ends the
// association.
func (c *Client) WaitCommitment(ctx context.Context) (*CommitResult, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var res *CommitResult
	err := c.step(ctx, func() error {
		first := c.tmo.Response
		if _, ok := ctx.Deadline(); ok {
			first = noTimeout
		}
		for len(c.reports) == 0 {
			id, rq, err := c.link.readCommand("response", first)
			if errors.Is(err, errReleaseRequested) {
				c.link.write(appendRelease(nil, pduReleaseRP))
				return io.EOF
			}
			if err != nil {
				return unexpected(err)
			}
			if rq.isResponse() {
				return protocolErrorf(AbortUnexpectedParam, "response %04XH to nothing", rq.Field)
			}
			if err := c.request(id, rq); err != nil {
				return err
			}
		}
		res, c.reports = c.reports[0], c.reports[1:]
		return nil
	})
	return res, err
}

// ReportCommitment opens an association to addr as the SCP of storage
// commitment, sends result (N-EVENT-REPORT) and waits for the peer's
// confirmation. A caller retries on every error but a *StatusError.
func (d *Dialer) ReportCommitment(ctx context.Context, addr string, result *CommitResult) error {
	role := Dialer{
		CallingAE: d.CallingAE, CalledAE: d.CalledAE, TLSConfig: d.TLSConfig, Identity: d.Identity,
		Roles:  []RoleSelection{{SOPClassUID: uid.StorageCommitmentPushModel, SCP: true}},
		Limits: d.Limits, Timeouts: d.Timeouts, NetDial: d.NetDial,
	}
	c, err := role.Dial(ctx, addr, []PresentationContext{{uid.StorageCommitmentPushModel, []string{uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian}}})
	if err != nil {
		return err
	}
	defer c.Abort()
	err = c.step(ctx, func() error {
		pc, err := c.find(uid.StorageCommitmentPushModel, "")
		if err != nil {
			return err
		}
		cmd := eventReportCommand(c.nextID(), result)
		if err := c.link.writeMessage(pc.id, cmd, encodeCommitment(result, commitSyntax(pc.syntax))); err != nil {
			return c.writeFailed(err)
		}
		rsp, err := c.response(cmd)
		if err != nil {
			return err
		}
		return failure(rsp)
	})
	if err != nil {
		return err
	}
	return c.Release(ctx)
}

// Release ends the association in order. The client is over afterwards, also
// after an error.
func (c *Client) Release(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.step(ctx, func() error {
		if err := c.link.write(appendRelease(nil, pduReleaseRQ)); err != nil {
			return c.writeFailed(err)
		}
		deadline := time.Now().Add(c.tmo.Release)
		for {
			id, rq, err := c.link.readCommand("release", time.Until(deadline))
			switch {
			case errors.Is(err, errReleaseReply):
				return nil
			case errors.Is(err, errReleaseRequested):
				// Release collision (PS3.8 7.2.2.7): the requestor answers first.
				if err := c.link.write(appendRelease(nil, pduReleaseRP)); err != nil {
					return err
				}
			case err != nil:
				return unexpected(err)
			case !rq.isResponse():
				if err := c.request(id, rq); err != nil {
					return err
				}
			}
		}
	})
	if !c.over {
		c.over = true
		c.link.conn.Close()
		c.link.drop()
	}
	return err
}

// Abort ends the association at once with an A-ABORT. It does nothing when the
// client is over, so it can be deferred.
func (c *Client) Abort() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end(errKicked)
}
