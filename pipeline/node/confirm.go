package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/echonode/echonode/pipeline/deliver"
	"github.com/echonode/echonode/pipeline/store"
	"github.com/echonode/echonode/scp"
)

const (
	// reportPatience is how long the association of a request for commitment is
	// kept open for its report.
	reportPatience = 5 * time.Second
	// reportLook is how often somebody who waits looks whether the report came on
	// another association, perhaps to another process.
	reportLook = 250 * time.Millisecond
	// reportPause is how often a delivery that waits for a report looks for it.
	reportPause = 5 * time.Second
)

// awaited says that a delivery waits until its destination has said what it has.
type awaited struct{ pause time.Duration }

func (*awaited) Error() string { return "the report of a storage commitment is awaited" }

// Confirmed is a node as a handler that also takes reports of the storage
// commitments that it asks destinations for.
type Confirmed struct{ *Node }

// Handler is the node as handler of a server. With commits it commits to
// storage (see [Committing]); reports of commitments are taken where a
// destination is asked for any.
func (n *Node) Handler(commits bool) scp.Handler {
	asks := slices.ContainsFunc(n.opt.Destinations, func(d Destination) bool { return d.Commitment > 0 })
	switch {
	case commits && asks:
		return &struct {
			*Committing
			scp.CommitReceiver
		}{&Committing{Node: n}, Confirmed{n}}
	case commits:
		return &Committing{Node: n}
	case asks:
		return &Confirmed{Node: n}
	}
	return n
}

// CommitReported implements scp.CommitReceiver. A report that nobody waits for,
// any more or at all, is taken and changes nothing: refused, it would come again
// and again.
func (c Confirmed) CommitReported(ctx context.Context, a *scp.AssociationInfo, report *scp.CommitResult) error {
	asked, err := c.store.CommitmentOf(ctx, report.TransactionUID)
	if err == nil {
		err = c.committed(ctx, asked, report)
	}
	if errors.Is(err, store.ErrNotFound) {
		c.log.Info("report of a storage commitment that nobody waits for", "calling", a.CallingAE)
		return nil
	}
	return err
}

// committed records what a destination says that it has of what was sent to it
// and is in doubt. What it neither has nor lacks stays in doubt, and so does what it
// says both of, or has under another SOP class.
func (n *Node) committed(ctx context.Context, asked store.Commitment, report *scp.CommitResult) error {
	pending, err := n.store.PendingDeliveries(ctx, asked.RunID, asked.Destination)
	if err != nil {
		return err
	}
	doubtful, err := n.inDoubt(ctx, Destination{Name: asked.Destination}, asked.RunID, pending)
	if err != nil {
		return err
	}
	class := make(map[string]string, len(doubtful)) // of what is in doubt
	for _, d := range doubtful {
		class[d.SOPInstanceUID] = d.SOPClassUID
	}
	inDoubt := func(uid string) bool { return class[uid] != "" }
	committed, failed := map[string]bool{}, map[string]bool{}
	for _, r := range report.Committed {
		committed[r.SOPInstanceUID] = true
	}
	for _, f := range report.Failed {
		failed[f.SOPInstanceUID] = true
	}
	var has, lacks []string
	log := n.log.With("destination", asked.Destination, "run", asked.RunID)
	for _, r := range report.Committed {
		switch {
		case !inDoubt(r.SOPInstanceUID):
		case failed[r.SOPInstanceUID]:
			log.Warn("the destination says that it commits to an object and that it does not", "object", r.SOPInstanceUID)
		case r.SOPClassUID != class[r.SOPInstanceUID]:
			log.Warn("the destination commits to an object of another SOP class", "object", r.SOPInstanceUID, "class", r.SOPClassUID)
		default:
			has = append(has, r.SOPInstanceUID)
		}
	}
	for _, f := range report.Failed {
		switch {
		case !inDoubt(f.SOPInstanceUID) || committed[f.SOPInstanceUID]:
		case f.Reason == scp.FailureNoSuchInstance:
			lacks = append(lacks, f.SOPInstanceUID)
		default:
			log.Info("the destination does not commit to an object", "object", f.SOPInstanceUID, "reason", fmt.Sprintf("%04XH", f.Reason))
		}
	}
	// An answer that was received must be remembered even while stopping.
	sent, err := n.store.AnswerCommitment(context.WithoutCancel(ctx), asked, has, lacks)
	for _, uid := range sent {
		n.metrics.delivered(asked.Destination, "success")
		log.Info("delivered before its answer was lost: the destination has committed to it", "object", uid)
	}
	return err
}

// confirm asks a destination to commit to what it was sent and is in doubt,
// unless it has been asked and may still report. With *awaited the delivery
// waits; with nil everything that is known by then is recorded.
func (n *Node) confirm(ctx context.Context, dest Destination, run int64, doubtful []store.Delivery) error {
	log := n.log.With("destination", dest.Name, "run", run)
	asked, err := n.store.Commitment(ctx, run, dest.Name)
	switch {
	case err == nil && asked.Answered:
		return n.store.EndCommitment(ctx, asked)
	case err == nil:
		left := dest.Commitment - n.store.Now().Sub(asked.Asked)
		if left > 0 && left <= dest.Commitment {
			return &awaited{min(left, reportPause)}
		}
		log.Warn("the destination took a request for storage commitment and has not reported", "after", dest.Commitment)
		return n.store.EndCommitment(ctx, asked)
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	asked = store.Commitment{RunID: run, Destination: dest.Name, TransactionUID: deliver.NewTransaction(), Asked: n.store.Now()}
	if err := n.store.AskCommitment(ctx, asked); err != nil {
		return err
	}
	var refs []scp.Reference
	for _, d := range doubtful {
		refs = append(refs, scp.Reference{SOPClassUID: d.SOPClassUID, SOPInstanceUID: d.SOPInstanceUID})
	}
	patience, reported := context.WithTimeout(ctx, min(reportPatience, dest.Commitment))
	defer reported()
	go n.listenForReport(patience, asked, reported)
	kind, report, err := deliver.Commitment(ctx, patience, dest.Dialer, dest.Address, asked.TransactionUID, refs)
	switch kind {
	case deliver.Reported:
		if err := n.committed(ctx, asked, report); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		return n.store.EndCommitment(ctx, asked)
	case deliver.Promised:
		if err != nil {
			return err
		}
		if now, err := n.store.Commitment(ctx, run, dest.Name); err == nil && now.Answered {
			return n.store.EndCommitment(ctx, now)
		}
		return &awaited{min(dest.Commitment, reportPause)}
	case deliver.Refused:
		log.Info("the destination refuses a request for storage commitment", "error", err)
	default:
		if err != nil {
			log.Info("the destination cannot be asked for storage commitment", "error", err)
		} else {
			log.Info("the destination offers no storage commitment")
		}
	}
	return n.store.EndCommitment(ctx, asked)
}

// listenForReport calls reported when the question has been answered, and ends
// with ctx.
func (n *Node) listenForReport(ctx context.Context, asked store.Commitment, reported func()) {
	look := time.NewTicker(reportLook)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		if now, err := n.store.CommitmentOf(ctx, asked.TransactionUID); err == nil && now.Answered {
			reported()
			return
		}
	}
}
