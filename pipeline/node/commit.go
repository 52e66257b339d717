package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/echonode/echonode/pipeline/internal/jobs"
	"github.com/echonode/echonode/pipeline/store"
	"github.com/echonode/echonode/scp"
)

// reportDelay is how long the same association may take to deliver a
// commitment report before a new one is tried.
const reportDelay = 30 * time.Second

// Committing is the node as a handler that also commits to storage (PS3.4
// annex J). It is a type of its own because a peer may delete what was
// committed to: the service is offered only where the configuration says so.
type Committing struct{ *Node }

// Peer is where a modality listens for commitment reports.
type Peer struct {
	Address string
	Dialer  *scp.Dialer
}

// Commit implements scp.Committer: it commits to the objects that are durable
// in the spool and recorded. The report is a job before it is promised, so
// that it survives a crash; the job is withdrawn when the same association
// delivered it.
func (c *Committing) Commit(ctx context.Context, req *scp.CommitRequest) (*scp.CommitAnswer, error) {
	result := &scp.CommitResult{TransactionUID: req.TransactionUID}
	for _, ref := range req.References {
		reason, err := c.notCommitted(ctx, ref)
		switch {
		case err != nil:
			return nil, err
		case reason != 0:
			result.Failed = append(result.Failed, scp.FailedReference{Reference: ref, Reason: reason})
		default:
			result.Committed = append(result.Committed, ref)
		}
	}
	log := c.log.With("calling", req.Association.CallingAE, "committed", len(result.Committed), "failed", len(result.Failed))
	if _, known := c.opt.CommitPeers[req.Association.CallingAE]; !known {
		return &scp.CommitAnswer{Result: result, Sent: func(err error) {
			if err != nil {
				log.Warn("commitment report not delivered, and no address is configured for the peer", "error", err)
			}
		}}, nil
	}
	withdraw, err := c.jobs.Report(ctx, req.Association.CallingAE, result, reportDelay)
	if err != nil {
		return nil, err
	}
	return &scp.CommitAnswer{Result: result, Sent: func(err error) {
		if err != nil {
			log.Info("commitment report will go out on a new association", "error", err)
			return
		}
		if err := withdraw(context.WithoutCancel(ctx)); err != nil {
			log.Warn("commitment report will be repeated", "error", err)
		}
	}}, nil
}

// notCommitted is the failure reason (PS3.3 C.14.1.1) of an object that is not
// safely stored, 0 for one that is.
func (c *Committing) notCommitted(ctx context.Context, ref scp.Reference) (uint16, error) {
	in, err := c.store.Instance(ctx, ref.SOPInstanceUID)
	if errors.Is(err, store.ErrNotFound) {
		return scp.StatusNoSuchInstance, nil
	}
	if err != nil {
		return 0, err
	}
	if in.SOPClassUID != ref.SOPClassUID {
		return scp.StatusClassInstance, nil
	}
	if _, err := c.files.Stat(ctx, in.Path); err != nil {
		return scp.StatusProcessingFailure, nil
	}
	return 0, nil
}

// reportCommitment is the job that reports a commitment on an association of
// its own.
func (n *Node) reportCommitment(ctx context.Context, job jobs.Job, title string, result *scp.CommitResult) error {
	peer, ok := n.opt.CommitPeers[title]
	if !ok {
		return jobs.Cancel(fmt.Errorf("no address is configured for %s", title))
	}
	err := peer.Dialer.ReportCommitment(ctx, peer.Address, result)
	var refused *scp.StatusError
	switch {
	case errors.As(err, &refused):
		return jobs.Cancel(err) // the peer has an answer for it: repeating changes nothing
	case err != nil && ctx.Err() != nil:
		return jobs.Later(0)
	case err != nil:
		n.log.Warn("commitment report failed, will be tried again", "peer", title, "attempt", job.Attempt, "error", err)
	}
	return err
}
