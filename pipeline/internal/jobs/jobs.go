// Package jobs owns the queue of jobs: what kinds there are, how they are
// enqueued, how often and when they are tried again, and what becomes of those
// that ran when the process died. It stands on River, in the database of
// package store, so that a change of state and the job that follows from it are
// committed together; nobody else touches the queue or knows the library.
//
// The analysis of loops is no job here: what is left of it follows from the
// state of the loops, see [store.Store.LeaseLoop].
package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/riverqueue/river"

	"github.com/echonode/echonode/pipeline/store"
	"github.com/echonode/echonode/scp"
)

// Kinds of job.
const (
	KindCombine = "analyse"           // combine a study from its loops
	KindDeliver = "deliver"           // deliver what a run has made to one destination
	KindReport  = "report-commitment" // report a storage commitment
)

// Queues. Each destination has one, so that one that is down holds up no other,
// and keeps its order.
const (
	combineQueue   = "analysis"
	deliveryPrefix = "deliver-"
	reportQueue    = "commitments"
)

// Job is the attempt at hand.
type Job struct {
	Attempt, MaxAttempts int
	Created              time.Time
}

// Last reports whether this is the last attempt.
func (j Job) Last() bool { return j.Attempt >= j.MaxAttempts }

// Handlers work on jobs. An error is tried again after a while as often as the
// kind allows; see [Cancel] and [Later].
type Handlers struct {
	Combine func(ctx context.Context, j Job, study string, revision int) error
	Deliver func(ctx context.Context, j Job, run int64, destination string) error
	Report  func(ctx context.Context, j Job, peer string, r *scp.CommitResult) error
	// CombineDied and DeliverDied are told of jobs whose last attempt ended
	// with the process.
	CombineDied func(ctx context.Context, study string, revision int) error
	DeliverDied func(ctx context.Context, run int64, destination string) error
}

// Cancel is an error after which a job is not tried again.
func Cancel(err error) error { return &outcome{err: err, cancel: true} }

// Later puts a job off without counting the attempt.
func Later(wait time.Duration) error { return &outcome{wait: wait} }

type outcome struct {
	err    error
	cancel bool
	wait   time.Duration
}

func (o *outcome) Error() string {
	if o.err != nil {
		return o.err.Error()
	}
	return fmt.Sprintf("put off for %v", o.wait)
}

func (o *outcome) Unwrap() error { return o.err }

// translate says it in the library's words.
func translate(err error) error {
	var o *outcome
	switch {
	case !errors.As(err, &o):
		return err
	case o.cancel:
		return river.JobCancel(err)
	}
	return river.JobSnooze(o.wait)
}

// Options are the settings of a Room.
type Options struct {
	Destinations     []string
	CombineWorkers   int           // studies combined at a time
	CombineAttempts  int           // of a combination
	DeliveryAttempts int           // of a delivery, and of a commitment report
	Longest          time.Duration // that a job may run
	// CombineWait and DeliveryWait are how long to wait after an attempt, from 1.
	CombineWait, DeliveryWait func(attempt int) time.Duration
}

// Room is the queue.
type Room struct {
	opt    Options
	store  *store.Store
	client queue
	h      Handlers
}

// Open opens the queue in a store. It works on jobs from [Room.Start] on.
func Open(st *store.Store, opt Options, h Handlers, log *slog.Logger) (*Room, error) {
	r := &Room{opt: opt, store: st, h: h}
	workers := river.NewWorkers()
	if err := errors.Join(
		river.AddWorkerSafely(workers, &worker[combine]{wait: opt.CombineWait, work: func(ctx context.Context, j Job, a combine) error {
			return h.Combine(ctx, j, a.Study, a.Revision)
		}}),
		river.AddWorkerSafely(workers, &worker[deliver]{wait: opt.DeliveryWait, work: func(ctx context.Context, j Job, a deliver) error {
			return h.Deliver(ctx, j, a.Run, a.Destination)
		}}),
		river.AddWorkerSafely(workers, &worker[report]{wait: opt.DeliveryWait, work: func(ctx context.Context, j Job, a report) error {
			return h.Report(ctx, j, a.Peer, a.Result)
		}})); err != nil {
		return nil, err
	}
	queues := map[string]river.QueueConfig{combineQueue: {MaxWorkers: max(opt.CombineWorkers, 1)}, reportQueue: {MaxWorkers: 4}}
	for _, d := range opt.Destinations {
		queues[deliveryPrefix+d] = river.QueueConfig{MaxWorkers: 1}
	}
	var err error
	r.client, err = newQueue(st, &river.Config{
		Logger:     quiet(log),
		Queues:     queues,
		Workers:    workers,
		JobTimeout: -1, // each handler has its own deadline
		// A new job is heard of within 50 ms, by the driver's own messages; asking
		// every queue more often than the default costs more than it brings.
		FetchCooldown:               20 * time.Millisecond,
		RescueStuckJobsAfter:        opt.Longest + time.Hour,
		CompletedJobRetentionPeriod: 24 * time.Hour,
		DiscardedJobRetentionPeriod: 30 * 24 * time.Hour,
	})
	if err != nil {
		return nil, fmt.Errorf("job queue: %w", err)
	}
	return r, nil
}

// Start begins to work on jobs, until Stop.
func (r *Room) Start(ctx context.Context) error {
	if err := r.client.Start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("job queue: %w", err)
	}
	return nil
}

// Stop cancels running jobs, which go on at the next start, and waits for them
// no longer than ctx.
func (r *Room) Stop(ctx context.Context) error {
	if err := r.client.StopAndCancel(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("job queue: %w", err)
	}
	return nil
}

// Arguments of the kinds, as they are stored.
type (
	combine struct {
		Study    string `json:"study"`
		Revision int    `json:"revision"`
	}
	deliver struct {
		Run         int64  `json:"run"`
		Destination string `json:"destination"`
	}
	report struct {
		Peer   string            `json:"peer"`
		Result *scp.CommitResult `json:"result"`
	}
)

func (combine) Kind() string { return KindCombine }
func (deliver) Kind() string { return KindDeliver }
func (report) Kind() string  { return KindReport }

// Combine enqueues the combination of a study; it is a [store.Enqueue].
func (r *Room) Combine(tx *store.Tx, study string, revision int) error {
	backlog, err := r.store.Backlog(context.Background(), tx, study)
	if err != nil {
		return err
	}
	return r.insert(tx, combine{study, revision}, river.InsertOpts{Queue: combineQueue, MaxAttempts: r.opt.CombineAttempts, Priority: priority(backlog)})
}

// Deliver enqueues the delivery of what a run has made and what is not answered
// yet.
func (r *Room) Deliver(tx *store.Tx, run int64, destination string) error {
	backlog, err := r.store.DeliveryBacklog(context.Background(), tx, run, destination)
	if err != nil {
		return err
	}
	return r.insert(tx, deliver{run, destination}, river.InsertOpts{Queue: deliveryPrefix + destination, MaxAttempts: r.opt.DeliveryAttempts, Priority: priority(backlog)})
}

// priority of a job of a sender of whom so many are waiting, from 1, the first,
// to 4: who sends a lot waits behind who does not.
func priority(backlog int) int {
	switch {
	case backlog <= 4:
		return 1
	case backlog <= 16:
		return 2
	case backlog <= 64:
		return 3
	}
	return 4
}

func (r *Room) insert(tx *store.Tx, args river.JobArgs, o river.InsertOpts) error {
	// The transaction ends with its own context.
	return r.client.insertTx(context.Background(), tx, args, &o)
}

// Report enqueues the report of a storage commitment for a time. The answer
// withdraws it.
func (r *Room) Report(ctx context.Context, peer string, result *scp.CommitResult, at time.Time) (withdraw func(context.Context) error, err error) {
	job, err := r.client.Insert(ctx, report{peer, result}, &river.InsertOpts{Queue: reportQueue, MaxAttempts: r.opt.DeliveryAttempts, ScheduledAt: at})
	if err != nil {
		return nil, fmt.Errorf("enqueue report: %w", err)
	}
	return func(ctx context.Context) error {
		_, err := r.client.JobDelete(ctx, job.Job.ID)
		return err
	}, nil
}

// worker adapts a handler to the library.
type worker[A river.JobArgs] struct {
	river.WorkerDefaults[A]
	wait func(attempt int) time.Duration
	work func(ctx context.Context, j Job, args A) error
}

// NextRetry implements river.Worker.
func (w *worker[A]) NextRetry(job *river.Job[A]) time.Time {
	return time.Now().Add(w.wait(job.Attempt))
}

// Work implements river.Worker.
func (w *worker[A]) Work(ctx context.Context, job *river.Job[A]) error {
	return translate(w.work(ctx, Job{job.Attempt, job.MaxAttempts, job.CreatedAt}, job.Args))
}

// Recover makes jobs available again that ran when the process died. Those that
// have used up their attempts are discarded instead, so that a job that ends
// the process cannot do so for ever, and the handlers are told. The caller is
// the only process using the database, before Start.
func (r *Room) Recover(ctx context.Context) error {
	died, err := r.release(ctx)
	for _, j := range died {
		var told error
		switch j.kind {
		case KindCombine:
			var a combine
			if told = json.Unmarshal(j.args, &a); told == nil {
				told = r.h.CombineDied(ctx, a.Study, a.Revision)
			}
		case KindDeliver:
			var a deliver
			if told = json.Unmarshal(j.args, &a); told == nil {
				told = r.h.DeliverDied(ctx, a.Run, a.Destination)
			}
		}
		err = errors.Join(err, told)
	}
	if err != nil {
		return fmt.Errorf("recover jobs: %w", err)
	}
	return nil
}

// stored is a job as the database has it.
type stored struct {
	kind string
	args []byte
}

// release ends the hold of the process that died on its jobs, and returns those
// that have no attempt left.
func (r *Room) release(ctx context.Context) (died []stored, err error) {
	err = r.store.Transact(ctx, func(tx *store.Tx) error {
		died = nil
		rows, err := tx.QueryContext(ctx, `UPDATE river_job SET state = 'discarded', finalized_at = CURRENT_TIMESTAMP
			WHERE state = 'running' AND attempt >= max_attempts RETURNING kind, `+r.client.words().args)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var j stored
			if err := rows.Scan(&j.kind, &j.args); err != nil {
				return err
			}
			died = append(died, j)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE river_job SET state = 'available' WHERE state = 'running'`)
		return err
	})
	return died, err
}

// Depth is how many jobs of a queue are in a state.
type Depth struct {
	Queue, State string
	Count        int
}

// unfinished are the states of jobs that will still run.
var unfinished = []string{"available", "pending", "retryable", "running", "scheduled"}

// Depths counts the jobs that have still to run, by queue.
func (r *Room) Depths(ctx context.Context) ([]Depth, error) {
	var out []Depth
	err := r.store.Transact(ctx, func(tx *store.Tx) error {
		out = nil
		rows, err := tx.QueryContext(ctx, `SELECT queue, state, count(*) FROM river_job GROUP BY queue, state ORDER BY queue, state`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var d Depth
			if err := rows.Scan(&d.Queue, &d.State, &d.Count); err != nil {
				return err
			}
			if slices.Contains(unfinished, d.State) {
				out = append(out, d)
			}
		}
		return rows.Err()
	})
	return out, err
}

// RescheduleFar makes jobs available that are scheduled later than any wait
// that the node gives: the clock was ahead when they were. It says how many
// there were.
func (r *Room) RescheduleFar(ctx context.Context, longest time.Duration) (int, error) {
	var n int64
	err := r.store.Transact(ctx, func(tx *store.Tx) error {
		now := time.Now().UTC()
		words := r.client.words()
		res, err := tx.ExecContext(ctx, `UPDATE river_job SET scheduled_at = `+words.time+`, state = 'available'
			WHERE state IN ('retryable','scheduled') AND `+words.later, words.stamp(now), words.stamp(now.Add(longest)))
		if err != nil {
			return err
		}
		n, err = res.RowsAffected()
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("reschedule jobs: %w", err)
	}
	return int(n), nil
}

// quiet keeps the library's own notes out of the log below warnings.
func quiet(log *slog.Logger) *slog.Logger {
	return slog.New(levelHandler{log.Handler(), slog.LevelWarn})
}

type levelHandler struct {
	slog.Handler
	min slog.Level
}

func (h levelHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= h.min && h.Handler.Enabled(ctx, l)
}
func (h levelHandler) WithAttrs(a []slog.Attr) slog.Handler {
	return levelHandler{h.Handler.WithAttrs(a), h.min}
}
func (h levelHandler) WithGroup(g string) slog.Handler {
	return levelHandler{h.Handler.WithGroup(g), h.min}
}
