package node

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/riverqueue/river"

	"github.com/echonode/echonode/pipeline/deliver"
	"github.com/echonode/echonode/pipeline/store"
	"github.com/echonode/echonode/scp"
)

// deliverArgs name what one run has to send to one destination.
type deliverArgs struct {
	Run         int64  `json:"run"`
	Destination string `json:"destination"`
}

// Kind implements river.JobArgs.
func (deliverArgs) Kind() string { return "deliver" }

func (n *Node) enqueueDelivery(ctx context.Context, tx *sql.Tx, run int64, destination string) error {
	_, err := n.jobs.InsertTx(ctx, tx, deliverArgs{run, destination}, &river.InsertOpts{Queue: deliveryPrefix + destination, MaxAttempts: n.opt.Deliveries})
	return err
}

// Retry takes up the dead deliveries of a study again and says how many.
func (n *Node) Retry(ctx context.Context, study string) (int, error) {
	return n.store.ReviveDeliveries(ctx, study, func(tx *sql.Tx, run int64, destination string) error {
		return n.enqueueDelivery(ctx, tx, run, destination)
	})
}

type deliverWorker struct {
	river.WorkerDefaults[deliverArgs]
	node *Node
}

// NextRetry implements river.Worker.
func (w *deliverWorker) NextRetry(job *river.Job[deliverArgs]) time.Time {
	return w.node.nextRetry(job.Attempt)
}

// nextRetry waits half as long again after every failure, up to the maximum.
func (n *Node) nextRetry(attempt int) time.Time {
	wait := float64(n.opt.RetryFirst) * math.Pow(1.5, float64(attempt-1))
	return time.Now().Add(time.Duration(min(wait, float64(n.opt.RetryMax))))
}

// Work implements river.Worker: it sends what is still pending, records every
// answer, and fails if anything is left.
func (w *deliverWorker) Work(ctx context.Context, job *river.Job[deliverArgs]) error {
	n, args := w.node, job.Args
	i := slices.IndexFunc(n.opt.Destinations, func(d Destination) bool { return d.Name == args.Destination })
	if i < 0 {
		return river.JobCancel(fmt.Errorf("destination %q is not configured", args.Destination))
	}
	dest := n.opt.Destinations[i]
	err := n.deliver(ctx, dest, args.Run)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return river.JobSnooze(0)
	}
	log := n.log.With("destination", dest.Name, "run", args.Run, "attempt", job.Attempt)
	if job.Attempt < job.MaxAttempts {
		log.Warn("delivery failed, will be tried again", "error", err)
		return err
	}
	log.Error("delivery given up: restart it with `echonode retry`", "error", err)
	return errors.Join(err, n.store.BuryDeliveries(context.WithoutCancel(ctx), args.Run, dest.Name))
}

func (n *Node) deliver(ctx context.Context, dest Destination, run int64) error {
	pending, err := n.store.PendingDeliveries(ctx, run, dest.Name)
	if err != nil {
		return err
	}
	if len(pending) == 0 {
		return nil
	}
	sources := make([]scp.ObjectSource, len(pending))
	for i, d := range pending {
		sources[i] = deliver.Source{Path: d.Path, Convert: dest.Convert}
	}
	var problems []error
	_, err = dest.Dialer.SendAll(ctx, dest.Address, sources, func(i int, r scp.SendResult) {
		d := pending[i]
		d.State, d.Status, d.Comment, d.Error = store.Pending, nil, r.Result.Comment, ""
		outcome := "error"
		var refused *scp.StatusError
		switch {
		case r.Err == nil:
			d.Status, d.State, outcome = &r.Result.Status, store.Sent, "success"
			if r.Result.Warning {
				d.State, outcome = store.Warning, "warning"
			}
		case errors.As(r.Err, &refused):
			d.Status, outcome = &refused.Status, "failure"
			fallthrough
		default:
			d.Error = r.Err.Error()
			problems = append(problems, fmt.Errorf("%s %s: %w", d.Kind, d.SOPInstanceUID, r.Err))
		}
		n.metrics.delivered(dest.Name, outcome)
		// An answer that was received must be remembered even while stopping.
		if err := n.store.RecordDelivery(context.WithoutCancel(ctx), d); err != nil {
			problems = append(problems, err)
		}
		if d.Status != nil {
			n.log.Info("delivered", "destination", dest.Name, "syntax", r.Sent, "kind", d.Kind, "object", d.SOPInstanceUID, "status", fmt.Sprintf("%04XH", *d.Status))
		}
	})
	return errors.Join(append(problems, err)...)
}
