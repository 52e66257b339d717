package scp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/echonode/echonode/dicomio/encoding"
	"github.com/echonode/echonode/dicomio/uid"
)

// SubOperations counts the C-STORE sub-operations of a C-GET or C-MOVE (PS3.4
// C.4.2.1 and C.4.3.1).
type SubOperations struct {
	Remaining, Completed, Failed, Warnings uint16
}

// Identifier makes the data set of a query, encoded in a transfer syntax.
type Identifier func(transferSyntax string) ([]byte, error)

// ErrEnough, returned by the function that takes the matches of Find, cancels
// the query; Find then returns nil.
var ErrEnough = errors.New("scp: enough matches")

// maxMatches bounds the matches of one query.
const maxMatches = 1_000_000

// query sends a C-FIND, C-GET or C-MOVE request.
func (c *Client) query(field uint16, class string, id Identifier, destination string) (*clientContext, *command, error) {
	pc, err := c.find(class, "")
	if err != nil {
		return nil, nil, err
	}
	data, err := id(pc.syntax)
	if err != nil {
		return nil, nil, err
	}
	cmd := &command{Field: field, MessageID: c.nextID(), HasMessageID: true, HasPriority: true, DataSetType: 1, AffectedSOPClass: class,
		MoveDestination: destination}
	if err := c.link.writeMessage(pc.id, cmd, data); err != nil {
		return nil, nil, c.writeFailed(err)
	}
	return pc, cmd, nil
}

// answer reads one response to cmd, with its data set, and answers requests of
// the peer that come before it with request.
func (c *Client) answer(cmd *command, request func(id byte, rq *command) error) (*command, []byte, error) {
	for {
		id, rsp, err := c.link.readCommand("response", c.tmo.Response)
		switch {
		case errors.Is(err, errReleaseRequested):
			c.link.write(appendRelease(nil, pduReleaseRP))
			return nil, nil, protocolErrorf(AbortUnexpectedPDU, "A-RELEASE-RQ instead of a response")
		case err != nil:
			return nil, nil, unexpected(err)
		}
		if !rsp.isResponse() {
			if err := request(id, rsp); err != nil {
				return nil, nil, err
			}
			continue
		}
		if rsp.Field != cmd.Field|cmdResponse || rsp.RespondedTo != cmd.MessageID || !rsp.HasStatus {
			return nil, nil, protocolErrorf(AbortUnexpectedParam, "response %04XH to message %d, waiting for %04XH to %d",
				rsp.Field, rsp.RespondedTo, cmd.Field|cmdResponse, cmd.MessageID)
		}
		var data []byte
		if rsp.hasDataSet() {
			if data, err = c.readDataSet(id); err != nil {
				return nil, nil, err
			}
		}
		return rsp, data, nil
	}
}

// cancel asks the peer to end what it does for cmd.
func (c *Client) cancel(pc *clientContext, cmd *command) error {
	return c.link.writeMessage(pc.id, &command{Field: cmdCancelRQ, RespondedTo: cmd.MessageID, DataSetType: noDataSet}, nil)
}

// Find sends a C-FIND with an identifier and calls match with the data set of
// every match, in the transfer syntax named. An error of match ends the
// association, except ErrEnough, which cancels the query.
func (c *Client) Find(ctx context.Context, class string, id Identifier, match func(transferSyntax string, data []byte) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.step(ctx, func() error {
		pc, cmd, err := c.query(cmdFindRQ, class, id, "")
		if err != nil {
			return err
		}
		enough := false
		for n := 0; ; n++ {
			rsp, data, err := c.answer(cmd, c.request)
			switch {
			case err != nil:
				return err
			case ClassOf(rsp.Status) == ClassCancel && enough, ClassOf(rsp.Status) == ClassSuccess:
				return nil
			case ClassOf(rsp.Status) != ClassPending:
				return failure(rsp)
			case n >= maxMatches:
				return protocolErrorf(AbortNotSpecified, "more than %d matches", maxMatches)
			case enough:
				continue // on its way when the query was cancelled
			}
			switch err := match(pc.syntax, data); {
			case errors.Is(err, ErrEnough):
				enough = true
				if err := c.cancel(pc, cmd); err != nil {
					return c.writeFailed(err)
				}
			case err != nil:
				return err
			}
		}
	})
}

// Move sends a C-MOVE: the peer sends what the identifier names to the
// application entity destination, which it has to know. progress, when not nil,
// is told of pending responses. Sub-operations that failed are in the result and
// no error unless all of them failed.
func (c *Client) Move(ctx context.Context, class, destination string, id Identifier, progress func(SubOperations)) (SubOperations, error) {
	if !encoding.ValidAETitle(destination) {
		return SubOperations{}, fmt.Errorf("scp: move destination %q is no AE title", destination)
	}
	return c.retrieve(ctx, cmdMoveRQ, class, destination, id, c.request, progress)
}

// Get sends a C-GET: what the identifier names comes back on this association
// and is given to h. The contexts must include the storage classes and syntaxes
// that may come, and Dialer.Roles the SCP role for these classes (see GetRoles).
func (c *Client) Get(ctx context.Context, class string, id Identifier, h Handler, progress func(SubOperations)) (SubOperations, error) {
	return c.retrieve(ctx, cmdGetRQ, class, "", id, func(id byte, rq *command) error {
		if rq.Field != cmdStoreRQ {
			return c.request(id, rq)
		}
		return c.stored(ctx, id, rq, h)
	}, progress)
}

// GetRoles are the role selections that let a peer send objects of the contexts
// on an association that this side opened.
func GetRoles(contexts []PresentationContext) []RoleSelection {
	var out []RoleSelection
	for _, pc := range contexts {
		if uid.StorageClass(pc.AbstractSyntax) && !slices.ContainsFunc(out, func(r RoleSelection) bool { return r.SOPClassUID == pc.AbstractSyntax }) {
			out = append(out, RoleSelection{SOPClassUID: pc.AbstractSyntax, SCP: true})
		}
	}
	return out
}

func (c *Client) retrieve(ctx context.Context, field uint16, class, destination string, id Identifier, request func(byte, *command) error,
	progress func(SubOperations)) (SubOperations, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var sub SubOperations
	err := c.step(ctx, func() error {
		_, cmd, err := c.query(field, class, id, destination)
		if err != nil {
			return err
		}
		for {
			rsp, _, err := c.answer(cmd, request)
			if err != nil {
				return err
			}
			sub = rsp.Sub
			switch ClassOf(rsp.Status) {
			case ClassPending:
				if progress != nil {
					progress(sub)
				}
				continue
			case ClassSuccess:
				return nil
			case ClassWarning:
				if sub.Completed+sub.Warnings > 0 {
					return nil
				}
				return &StatusError{Status: rsp.Status, Comment: rsp.ErrorComment}
			}
			return failure(rsp)
		}
	})
	return sub, err
}

// stored takes a C-STORE that the peer sends for a C-GET.
func (c *Client) stored(ctx context.Context, id byte, rq *command, h Handler) error {
	i := slices.IndexFunc(c.contexts, func(pc clientContext) bool { return pc.id == id && pc.result == contextAccepted })
	if i < 0 {
		return protocolErrorf(AbortInvalidParam, "message on presentation context %d, which was not accepted", id)
	}
	pc := &c.contexts[i]
	body := &dataSetReader{l: c.link, contextID: id, limit: c.link.lim.MaxObject}
	if !rq.hasDataSet() {
		body.err = io.EOF
	}
	var status error
	switch {
	case pc.proposed.AbstractSyntax != rq.AffectedSOPClass:
		status = &StatusError{Status: StatusSOPClassUnsupported, Comment: "SOP class is not that of the presentation context"}
	case !uid.Valid(rq.AffectedSOPInstance):
		status = &StatusError{Status: StatusInvalidInstance, Comment: "SOP Instance UID is not a UID"}
	case !rq.hasDataSet():
		status = &StatusError{Status: StatusCannotUnderstand, Comment: "C-STORE without a data set"}
	default:
		status = h.Store(ctx, &StoreRequest{
			Association: c.association(), ContextID: id, MessageID: rq.MessageID, Priority: rq.Priority,
			SOPClassUID: rq.AffectedSOPClass, SOPInstanceUID: rq.AffectedSOPInstance, TransferSyntaxUID: pc.syntax,
			MoveOriginatorAE: rq.MoveOriginatorAE, MoveOriginatorID: rq.MoveOriginatorID,
		}, body)
	}
	if err := body.drain(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	code, comment := StatusOf(status)
	if body.tooLarge {
		code, comment = StatusOutOfResources, "object over the size limit"
	}
	return c.link.writeMessage(id, response(rq, code, comment), nil)
}

// association describes this association to a Handler: the peer calls.
func (c *Client) association() *AssociationInfo {
	return &AssociationInfo{
		CallingAE: c.called, CalledAE: c.calling, RemoteAddr: c.link.conn.RemoteAddr(), LocalAddr: c.link.conn.LocalAddr(),
		ImplementationClassUID: c.info.ImplementationClassUID, ImplementationVersion: c.info.ImplementationVersion, Started: c.started,
	}
}
