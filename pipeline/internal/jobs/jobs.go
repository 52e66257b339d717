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
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
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
	Created              time.Time // by this machine's clock
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
	// LoopsFreed, if set, is told of studies whose loops a process that died was
	// working on; Rescued how many loops and jobs were freed; Entered that this
	// process had been taken for dead.
	LoopsFreed func(studies []string) error
	Rescued    func(loops, jobs int)
	Entered    func()
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
	// NoCombining leaves the combination of studies, and NoDelivering deliveries
	// and reports, to other processes.
	NoCombining, NoDelivering bool
	// Seat is what only one process uses at a time on this machine: the one that
	// has it knows that the one before is dead. Roles and Version are shown.
	Seat string
	// Alone keeps other processes off the store: they could not see what this one
	// does its work with.
	Alone   bool
	Roles   []string
	Version string
	// Settings are told to other processes, see store.Process.
	Settings string
	// Beat is how often the process shows that it lives, Horizon after how long
	// without it is taken for dead. 0: the defaults.
	Beat, Horizon time.Duration
	// CombineWait and DeliveryWait are how long to wait after an attempt, from 1.
	CombineWait, DeliveryWait func(attempt int) time.Duration
}

// Room is the queue.
type Room struct {
	opt    Options
	store  *store.Store
	client queue
	h      Handlers
	log    *slog.Logger
	// complaints are the library's errors.
	complaints *complaints
	presence
}

// Open opens the queue in a store. It works on jobs from [Room.Start] on.
func Open(st *store.Store, opt Options, h Handlers, log *slog.Logger) (*Room, error) {
	if opt.Beat <= 0 {
		opt.Beat = DefaultBeat
	}
	if opt.Horizon <= 0 {
		opt.Horizon = DefaultHorizon
	}
	if opt.NoDelivering {
		opt.Destinations = nil
	}
	r := &Room{opt: opt, store: st, h: h, log: log, complaints: newComplaints(), presence: newPresence(opt)}
	workers := river.NewWorkers()
	if err := errors.Join(
		river.AddWorkerSafely(workers, &worker[combine]{room: r, wait: opt.CombineWait, work: func(ctx context.Context, j Job, a combine) error {
			return h.Combine(ctx, j, a.Study, a.Revision)
		}}),
		river.AddWorkerSafely(workers, &worker[deliver]{room: r, wait: opt.DeliveryWait, work: func(ctx context.Context, j Job, a deliver) error {
			return h.Deliver(ctx, j, a.Run, a.Destination)
		}}),
		river.AddWorkerSafely(workers, &worker[report]{room: r, wait: opt.DeliveryWait, work: func(ctx context.Context, j Job, a report) error {
			return h.Report(ctx, j, a.Peer, a.Result)
		}})); err != nil {
		return nil, err
	}
	queues := map[string]river.QueueConfig{} // those of destinations: see hold
	if !opt.NoCombining {
		queues[combineQueue] = river.QueueConfig{MaxWorkers: max(opt.CombineWorkers, 1)}
	}
	if !opt.NoDelivering {
		queues[reportQueue] = river.QueueConfig{MaxWorkers: 4}
	}
	r.works = len(queues) > 0
	if !r.works {
		queues, workers = nil, nil // it only enqueues
	}
	var err error
	r.client, err = newQueue(st, &river.Config{
		ID:         r.self.ID,
		Logger:     quiet(log, r.complaints),
		Queues:     queues,
		Workers:    workers,
		JobTimeout: -1, // each handler has its own deadline
		// A new job is heard of within 50 ms, by the driver's own messages; asking
		// every queue more often than the default costs more than it brings.
		FetchCooldown: 20 * time.Millisecond,
		// The jobs of processes that died are freed by their heartbeats.
		RescueStuckJobsAfter: max(opt.Longest, 365*24*time.Hour),
		// What was done is told by runs and deliveries.
		CompletedJobRetentionPeriod: time.Hour,
		DiscardedJobRetentionPeriod: 30 * 24 * time.Hour,
		// The library stamps jobs with the clock of who inserts them or puts them off,
		// and looks for those whose time has come by the database's; its times
		// can be replaced here alone.
		Test: river.TestConfig{Time: clock{st}},
	})
	if err != nil {
		return nil, fmt.Errorf("job queue: %w", err)
	}
	return r, nil
}

// Start begins to work on jobs, until Stop.
func (r *Room) Start(ctx context.Context) error {
	if _, err := r.store.Beat(ctx); errors.Is(err, store.ErrNotFound) {
		if err := r.store.Enter(ctx, r.self); err != nil {
			return err
		}
	}
	if err := r.hold(ctx); err != nil {
		return err
	}
	select {
	case mine := <-r.mine:
		r.adjust(ctx, mine)
	default:
	}
	if r.works {
		if err := r.client.Start(context.WithoutCancel(ctx)); err != nil {
			return fmt.Errorf("job queue: %w", err)
		}
	}
	ctx, r.end = context.WithCancel(context.WithoutCancel(ctx))
	r.beats.Go(func() { r.beating(ctx) })
	r.beats.Go(func() { r.queueing(ctx) })
	return nil
}

// Stop cancels running jobs, which go on at the next start, and waits for them
// no longer than ctx.
func (r *Room) Stop(ctx context.Context) (err error) {
	if r.works {
		if err = r.client.StopAndCancel(ctx); errors.Is(err, context.DeadlineExceeded) {
			err = nil
		}
		if err != nil {
			err = fmt.Errorf("job queue: %w", err)
		}
	}
	r.end()
	r.beats.Wait()
	if err := r.store.Leave(ctx); err != nil {
		// Another process finds out by itself.
		r.log.Warn("the process is not taken out of the database", "error", err)
	}
	return err
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
	return r.insert(tx, deliver{run, destination}, river.InsertOpts{Queue: deliveryPrefix + destination, MaxAttempts: r.opt.DeliveryAttempts,
		Priority: priority(backlog)})
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

// Report enqueues the report of a storage commitment for after a wait. The answer
// withdraws it.
func (r *Room) Report(ctx context.Context, peer string, result *scp.CommitResult, wait time.Duration) (withdraw func(context.Context) error, err error) {
	job, err := r.client.Insert(ctx, report{peer, result},
		&river.InsertOpts{Queue: reportQueue, MaxAttempts: r.opt.DeliveryAttempts, ScheduledAt: r.store.Now().Add(wait)})
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
	room *Room
	wait func(attempt int) time.Duration
	work func(ctx context.Context, j Job, args A) error
}

// NextRetry implements river.Worker.
func (w *worker[A]) NextRetry(job *river.Job[A]) time.Time {
	return w.room.store.Now().Add(w.wait(job.Attempt))
}

// Work implements river.Worker.
func (w *worker[A]) Work(ctx context.Context, job *river.Job[A]) error {
	w.room.working.Store(job.ID, nil)
	defer w.room.working.Delete(job.ID)
	return translate(w.work(ctx, Job{job.Attempt, job.MaxAttempts, job.CreatedAt.Add(w.room.store.Ahead())}, job.Args))
}

// Depth is how many jobs of a queue are in a state.
type Depth struct {
	Queue, State string
	Count        int
}

// longestAvailable is longer than the library lets a job wait that it calls
// available: five seconds.
const longestAvailable = 15 * time.Second

// unfinishedList are the states of jobs that will still run.
const unfinishedList = `'available','pending','retryable','running','scheduled'`

// Depths counts the jobs that have still to run, by queue.
func (r *Room) Depths(ctx context.Context) ([]Depth, error) {
	var out []Depth
	err := r.store.Rows(ctx, func(rows *sql.Rows) error {
		var d Depth
		err := rows.Scan(&d.Queue, &d.State, &d.Count)
		out = append(out, d)
		return err
	}, `SELECT queue, state, count(*) FROM river_job WHERE state IN (`+unfinishedList+`) GROUP BY queue, state ORDER BY queue, state`)
	if err != nil {
		return nil, err
	}
	return out, nil
}

// RescheduleFar makes jobs available that are scheduled later than any wait
// that the node gives, and those that are to be done now but for their time: a
// clock was ahead when they were. It says how many there were.
func (r *Room) RescheduleFar(ctx context.Context, longest time.Duration) (int, error) {
	var n int64
	err := r.store.Transact(ctx, func(tx *store.Tx) error {
		now := r.store.Now().UTC()
		words := r.client.words()
		res, err := tx.ExecContext(ctx, `UPDATE river_job SET scheduled_at = `+words.time+`, state = 'available'
			WHERE state IN ('retryable','scheduled') AND `+words.later+` OR state = 'available' AND `+words.later,
			words.stamp(now), words.stamp(now.Add(longest)), words.stamp(now.Add(longestAvailable)))
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
