package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/part10"
	"github.com/echonode/echonode/pipeline/deliver"
	"github.com/echonode/echonode/pipeline/internal/jobs"
	"github.com/echonode/echonode/pipeline/objects"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/pipeline/store"
	"github.com/echonode/echonode/scp"
)

// Retry takes up the dead deliveries of a study again and says how many.
func (n *Node) Retry(ctx context.Context, study string) (int, error) {
	if _, err := n.store.Study(ctx, study); err != nil {
		return 0, err
	}
	return n.store.ReviveDeliveries(ctx, study, "", n.jobs.Deliver)
}

// RetryAll takes up the dead deliveries of all studies to a destination again, "" for
// all destinations, and says how many.
func (n *Node) RetryAll(ctx context.Context, destination string) (count int, err error) {
	if destination != "" && !n.configured(destination) {
		return 0, fmt.Errorf("destination %q is not configured: %w", destination, store.ErrNotFound)
	}
	studies, err := n.store.DeadStudies(ctx, destination)
	if err != nil {
		return 0, err
	}
	for _, study := range studies {
		k, err := n.store.ReviveDeliveries(ctx, study, destination, n.jobs.Deliver)
		count += k
		if err != nil {
			return count, fmt.Errorf("after %d deliveries, study %s: %w", count, study, err)
		}
	}
	n.log.Info("deliveries start again by command", "destination", destination, "deliveries", count)
	return count, nil
}

// deliveryWait is half as long again after every failure, up to the maximum.
func (n *Node) deliveryWait(attempt int) time.Duration {
	wait := float64(n.opt.RetryFirst) * math.Pow(1.5, float64(attempt-1))
	return time.Duration(min(wait, float64(n.opt.RetryMax)))
}

// deliverRun is the job that sends what a run has made and what is still
// pending at a destination. It records every answer, and fails if anything is
// left.
func (n *Node) deliverRun(ctx context.Context, job jobs.Job, run int64, destination string) error {
	i := slices.IndexFunc(n.opt.Destinations, func(d Destination) bool { return d.Name == destination })
	if i < 0 {
		return jobs.Cancel(fmt.Errorf("destination %q is not configured", destination))
	}
	dest := n.opt.Destinations[i]
	err := n.deliverInOrder(ctx, dest, run)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return jobs.Later(0)
	}
	var wait *awaited
	if errors.As(err, &wait) {
		return jobs.Later(wait.pause)
	}
	var order *behind
	if errors.As(err, &order) {
		n.log.Info("delivery waits for the report of an earlier run", "destination", dest.Name, "run", run, "error", order.error)
		return jobs.Later(order.pause)
	}
	if errors.Is(err, objects.ErrUnavailable) {
		// That is not the destination's fault, and counts as no attempt.
		n.log.Warn("delivery waits for the object store", "destination", dest.Name, "run", run, "error", err)
		return jobs.Later(storeWait)
	}
	log := n.log.With("destination", dest.Name, "run", run, "attempt", job.Attempt)
	if !job.Last() {
		log.Warn("delivery failed, will be tried again", "error", err)
		return err
	}
	log.Error("delivery given up: restart it with `echonode retry`", "error", err)
	return errors.Join(err, n.store.BuryDeliveries(context.WithoutCancel(ctx), run, dest.Name))
}

// deliverInOrder sends a report that earlier runs of a run's study still have to send
// before what the run has: who takes the last report that came for the right one gets
// the newest last. While an earlier one may get through soon the run waits with it,
// which is a *behind. One that will not, whatever the reason, gives way, and is not
// sent any more when the run is.
func (n *Node) deliverInOrder(ctx context.Context, dest Destination, run int64) error {
	older, err := n.store.OlderReports(ctx, run, dest.Name)
	if err != nil {
		return err
	}
	for _, before := range older {
		failed, err := n.attempt(ctx, dest, before.RunID)
		if err != nil && len(failed) == 0 {
			return err // nothing was sent to anybody
		}
		if reason := failed[before.SOPInstanceUID]; reason != nil && !ofItself(reason) && before.Attempts < n.opt.Deliveries {
			return &behind{err, n.deliveryWait(before.Attempts + 1)}
		}
	}
	_, err = n.attempt(ctx, dest, run)
	if len(older) == 0 {
		return err
	}
	// The report counts, whatever else is left.
	ctx = context.WithoutCancel(ctx)
	left, perr := n.store.PendingDeliveries(ctx, run, dest.Name)
	if perr != nil || slices.ContainsFunc(left, func(d store.Delivery) bool { return d.Kind == result.KindReport }) {
		return errors.Join(err, perr)
	}
	for _, before := range older {
		err = errors.Join(err, n.store.Overtaken(ctx, before))
	}
	return err
}

// behind says that a run waits for an earlier one.
type behind struct {
	error
	pause time.Duration
}

func (b *behind) Unwrap() error { return b.error }

// ofItself reports whether an object could not be delivered for a reason of its own
// that does not pass soon: it cannot be read, or the destination does not take such
// objects or this one.
func ofItself(err error) bool {
	var status *scp.StatusError
	var whole *deliver.HTTPError
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, scp.ErrNotTried):
		return false // it concerns all files of an owner, or others
	case errors.As(err, &status):
		return status.Status&0xFF00 != 0xA700 // out of resources
	case errors.As(err, &whole):
		return whole.Status/100 == 4 && !slices.Contains([]int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound,
			http.StatusRequestTimeout, http.StatusTooManyRequests}, whole.Status)
	}
	return errors.As(err, new(*scp.ContextError)) || errors.As(err, new(*fs.PathError)) || errors.As(err, new(*dicomio.Error)) ||
		errors.Is(err, objects.ErrDamaged) || errors.Is(err, objects.ErrUnreadable) || errors.Is(err, part10.ErrNotPart10)
}

// storeWait is how long work waits for an object store that is not available.
const storeWait = 10 * time.Second

// inDoubt are those of pending deliveries that were being sent when an answer was
// lost.
func (n *Node) inDoubt(ctx context.Context, dest Destination, run int64, pending []store.Delivery) ([]store.Delivery, error) {
	if len(pending) == 0 {
		return nil, nil
	}
	doubtful, err := n.store.Doubtful(ctx, run, dest.Name)
	if err != nil || len(doubtful) == 0 {
		return nil, err
	}
	var out []store.Delivery
	for _, d := range pending {
		if slices.Contains(doubtful, d.SOPInstanceUID) {
			out = append(out, d)
		}
	}
	return out, nil
}

// settle takes those deliveries out that were being sent when an answer was lost
// and that the destination says it has: by storage commitment first where it is
// to be asked for that, then by query, of those whose file is there.
func (n *Node) settle(ctx context.Context, dest Destination, run int64, pending []store.Delivery, files map[string]string,
	broken map[string]error) ([]store.Delivery, error) {
	doubtful, err := n.inDoubt(ctx, dest, run, pending)
	if err != nil || len(doubtful) == 0 || dest.Unasked {
		return pending, err
	}
	if dest.Commitment > 0 && dest.Stow == nil {
		if err := n.confirm(ctx, dest, run, doubtful); err != nil {
			return nil, err
		}
		if pending, err = n.store.PendingDeliveries(ctx, run, dest.Name); err != nil {
			return nil, err
		}
		if doubtful, err = n.inDoubt(ctx, dest, run, pending); err != nil || len(doubtful) == 0 {
			return pending, err
		}
	}
	var paths []string
	for _, d := range doubtful {
		if broken[d.Path] == nil {
			paths = append(paths, files[d.Path])
		}
	}
	if len(paths) == 0 {
		return pending, nil
	}
	there, err := n.has(ctx, dest, paths)
	if err != nil {
		// Then they are sent again.
		n.log.Info("the destination does not say what it has", "destination", dest.Name, "error", err)
	}
	var left []store.Delivery
	for _, d := range pending {
		if !there[d.SOPInstanceUID] {
			left = append(left, d)
			continue
		}
		status := scp.StatusSuccess
		d.State, d.Status, d.Comment, d.Error = store.Sent, &status, "", ""
		if err := n.store.RecordDelivery(context.WithoutCancel(ctx), d); err != nil {
			return nil, err
		}
		n.metrics.delivered(dest.Name, "success")
		n.log.Info("delivered before its answer was lost", "destination", dest.Name, "kind", d.Kind, "object", d.SOPInstanceUID)
	}
	return left, nil
}

// attempt sends what is pending of a run. failed says why objects were not delivered,
// by their UIDs; an error without any is that nothing could be tried.
func (n *Node) attempt(ctx context.Context, dest Destination, run int64) (failed map[string]error, err error) {
	pending, err := n.store.PendingDeliveries(ctx, run, dest.Name)
	if err != nil {
		return nil, err
	}
	hold := n.files.Hold()
	defer hold.Release()
	files := make(map[string]string, len(pending)) // by name
	broken := map[string]error{}                   // why there is no file: the delivery says it
	for _, d := range pending {
		if files[d.Path], err = hold.File(ctx, d.Path); errors.Is(err, objects.ErrUnavailable) || ctx.Err() != nil {
			return nil, err
		}
		if broken[d.Path] = err; errors.Is(err, objects.ErrName) {
			// It is tried nevertheless.
			files[d.Path], broken[d.Path] = d.Path, nil
		}
	}
	if pending, err = n.settle(ctx, dest, run, pending, files, broken); err != nil || len(pending) == 0 {
		return nil, err
	}
	sources := make([]deliver.Source, len(pending))
	for i, d := range pending {
		sources[i] = deliver.Source{Path: files[d.Path], Broken: broken[d.Path], Convert: dest.Convert,
			Before: func() error { return n.store.Sending(ctx, d) }}
	}
	var problems []error
	failed = map[string]error{}
	err = dest.send(ctx, sources, func(i int, r scp.SendResult) {
		d := pending[i]
		if errors.Is(r.Err, store.ErrOutdated) {
			n.log.Info("not sent: the study was corrected meanwhile", "destination", dest.Name, "kind", d.Kind, "object", d.SOPInstanceUID)
			return
		}
		if errors.Is(r.Err, scp.ErrNotTried) {
			failed[d.SOPInstanceUID] = r.Err
			problems = append(problems, fmt.Errorf("%s %s: %w", d.Kind, d.SOPInstanceUID, r.Err))
			if d.Untried = true; d.Error == "" && ctx.Err() == nil { // what it failed of itself stays
				d.Error = r.Err.Error()
				problems = append(problems, n.store.RecordDelivery(context.WithoutCancel(ctx), d))
			}
			return
		}
		d.State, d.Status, d.Comment, d.Error = store.Pending, nil, shortened(r.Result.Comment), ""
		outcome := "error"
		var refused *scp.StatusError
		var whole *deliver.HTTPError
		if errors.As(r.Err, &whole) {
			d.Comment = shortened(whole.Text)
		}
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
			failed[d.SOPInstanceUID] = r.Err
			problems = append(problems, fmt.Errorf("%s %s: %w", d.Kind, d.SOPInstanceUID, r.Err))
		}
		n.metrics.delivered(dest.Name, outcome)
		// An answer that was received must be remembered even while stopping.
		if err := n.store.RecordDelivery(context.WithoutCancel(ctx), d); err != nil {
			problems = append(problems, err)
		}
		if d.Status != nil {
			what := "delivered"
			if r.Err != nil {
				what = "refused"
			}
			n.log.Info(what, "destination", dest.Name, "syntax", r.Sent, "kind", d.Kind, "object", d.SOPInstanceUID, "status", fmt.Sprintf("%04XH", *d.Status))
		}
	})
	return failed, errors.Join(append(problems, err)...)
}

// shortened is what is kept of a peer's words, of which an Error Comment (LO) may
// have 64 characters.
func shortened(words string) string {
	const most = 200
	if r := []rune(words); len(r) > most {
		return string(r[:most]) + "…"
	}
	return words
}

// has asks a destination which objects of some files it has.
func (d Destination) has(ctx context.Context, paths []string) (map[string]bool, error) {
	if d.Stow != nil {
		return d.Stow.Has(ctx, paths)
	}
	return deliver.Has(ctx, d.Dialer, d.Address, paths)
}

// send sends objects over DIMSE or DICOMweb.
func (d Destination) send(ctx context.Context, sources []deliver.Source, done func(int, scp.SendResult)) error {
	if d.Stow != nil {
		_, err := d.Stow.SendAll(ctx, sources, done)
		return err
	}
	all := make([]scp.ObjectSource, len(sources))
	for i, s := range sources {
		all[i] = s
	}
	_, err := d.Dialer.SendAll(ctx, d.Address, all, done)
	return err
}
