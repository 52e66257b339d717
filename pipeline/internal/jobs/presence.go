package jobs

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/riverqueue/river"

	"github.com/echonode/echonode/pipeline/store"
)

// A process shows that it lives by counting in the database, see
// [store.Process]. The library has no heartbeats: it would give a job back an
// hour after its process died, and one that is merely slow too. Here the jobs of
// a process that has stopped counting are free after Horizon, as new jobs: what
// a process that was taken for dead too early still does with the old ones
// changes nothing, and what it would write is refused by the token of the run or
// the loop.

// Defaults of Options.
const (
	DefaultBeat    = 2 * time.Second
	DefaultHorizon = 15 * time.Second
)

// processID names this start of this process.
func processID(host string) string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	host = regexp.MustCompile(`[^A-Za-z0-9.-]`).ReplaceAllString(host, "-")
	return fmt.Sprintf("%.50s-%d-%s", host, os.Getpid(), hex.EncodeToString(b[:]))
}

// watch is what a process has seen of the others.
type watch struct {
	seen map[string]sighting
	last time.Time // of the last successful look
}

type sighting struct {
	beats int64
	since time.Time // when it was first seen to have counted so far
}

// dead lists the processes that have not counted on for the horizon, at a time
// by a clock that nobody sets. Where the watcher itself could not look for a
// while, nobody else may have been able to count: they all get their time anew.
func (w *watch) dead(now time.Time, all []store.Process, self string, horizon time.Duration) (dead []store.Process) {
	if w.seen == nil || now.Sub(w.last) > horizon/2 {
		w.seen = map[string]sighting{}
	}
	w.last = now
	still := map[string]sighting{}
	for _, p := range all {
		if p.ID == self {
			continue
		}
		s, known := w.seen[p.ID]
		if !known || s.beats != p.Beats {
			s = sighting{p.Beats, now}
		}
		still[p.ID] = s
		if now.Sub(s.since) >= horizon {
			dead = append(dead, p)
		}
	}
	w.seen = still
	return dead
}

// Recover registers the process, and frees what processes that are not there
// any more were working on. Jobs that have used up their attempts are given up
// instead, so that a job that ends the process cannot do so for ever, and the
// handlers are told. It comes before Start. Where the process or another has to
// be alone and is not: *NotAloneError, and nothing is changed.
func (r *Room) Recover(ctx context.Context) error {
	if err := r.store.Enter(ctx, r.self); err != nil {
		return err
	}
	if err := r.checkAlone(ctx); err != nil {
		return errors.Join(err, r.store.Leave(context.WithoutCancel(ctx)))
	}
	return r.rescue(ctx)
}

// NotAloneError refuses a process that does not go together with one that lives.
type NotAloneError struct {
	Other store.Process
	Self  bool // it is the refused process that has to be alone
}

func (e *NotAloneError) Error() string {
	who := "that process"
	if e.Self {
		who = "this one"
	}
	return fmt.Sprintf("the process %s works on the same database, and one of the two keeps objects where "+
		"the other cannot see them (%s, storage.objects of kind directory): "+
		"a database for each, or storage.objects of kind shared or s3 for both", e.Other.ID, who)
}

// aloneSeat begins the seats of processes that have to be alone.
const aloneSeat = "alone:"

// checkAlone looks whether a process lives that this one does not go together
// with: one that counts on. It counts itself meanwhile, so that two that start at
// the same time see each other. Whoever is merely registered may have died, and
// is given the horizon.
func (r *Room) checkAlone(ctx context.Context) error {
	if !r.store.Shared() {
		return nil
	}
	began := time.Now()
	seen := map[string]int64{}
	tick := time.NewTicker(r.opt.Beat)
	defer tick.Stop()
	for {
		all, err := r.store.Beat(ctx)
		if err != nil {
			return err
		}
		waiting := false
		for _, p := range all {
			if p.ID == r.self.ID || !r.opt.Alone && !strings.HasPrefix(p.Seat, aloneSeat) {
				continue
			}
			waiting = true
			if beats, known := seen[p.ID]; known && p.Beats != beats {
				return &NotAloneError{Other: p, Self: r.opt.Alone}
			}
			if len(seen) == 0 {
				r.log.Info("another process is registered on the database: waiting to see whether it lives", "process", p.ID)
			}
			seen[p.ID] = p.Beats
		}
		if !waiting || time.Since(began) >= r.opt.Horizon {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// rescue frees what nobody works on any more.
func (r *Room) rescue(ctx context.Context) error {
	loops, studies, err := r.store.FreeLoops(ctx)
	if err != nil {
		return err
	}
	if loops > 0 && r.h.LoopsFreed != nil {
		err = r.h.LoopsFreed(studies)
	}
	freed, died, more := r.release(ctx)
	err = errors.Join(err, more)
	if r.h.Rescued != nil && loops+freed+len(died) > 0 {
		r.h.Rescued(loops, freed+len(died))
	}
	for _, j := range died {
		err = errors.Join(err, r.giveUp(ctx, j))
	}
	err = errors.Join(err, r.reconcile(ctx))
	if err != nil {
		return fmt.Errorf("rescue: %w", err)
	}
	return nil
}

// reconcile enqueues what is due and has no job: whatever was lost on the way, a
// study or a delivery that waits for nobody would wait for ever. As a rule there is
// nothing: that is found out without keeping anybody from writing.
func (r *Room) reconcile(ctx context.Context) error {
	studies, deliveries, err := r.due(ctx, r.store)
	if err != nil || len(studies)+len(deliveries) == 0 {
		return err
	}
	return r.store.Transact(ctx, func(tx *store.Tx) error {
		if err := tx.Alone(ctx); err != nil {
			return err
		}
		studies, deliveries, err := r.due(ctx, tx) // some may have got one, or be done
		if err != nil {
			return err
		}
		for _, d := range studies {
			r.log.Warn("a study was due and had no job", "study", d.of, "revision", d.number)
			if err := r.Combine(tx, d.of, int(d.number)); err != nil {
				return err
			}
		}
		for _, d := range deliveries {
			r.log.Warn("deliveries were due and had no job", "run", d.number, "destination", d.of)
			if err := r.Deliver(tx, d.number, d.of); err != nil {
				return err
			}
		}
		return nil
	})
}

// due is a revision of a study, or a run for a destination.
type due struct {
	of     string
	number int64
}

// reader is a database, or a transaction.
type reader interface {
	Rows(ctx context.Context, each func(*sql.Rows) error, query string, args ...any) error
}

// due lists what is due and has no job. Each table is gone through once: with a
// destination away there are thousands of both. It is one statement, which sees one
// state of the database: between two, another process might commit a run with its
// job, or end one.
func (r *Room) due(ctx context.Context, in reader) (studies, deliveries []due, err error) {
	combined, delivered := map[string]bool{}, map[due]bool{}
	err = in.Rows(ctx, func(rows *sql.Rows) error {
		var kind string
		var args []byte
		var d due
		if err := rows.Scan(&kind, &args, &d.of, &d.number); err != nil {
			return err
		}
		switch {
		case kind == rowStudy:
			studies = append(studies, d)
		case kind == rowDelivery && slices.Contains(r.opt.Destinations, d.of):
			deliveries = append(deliveries, d)
		case kind == KindCombine:
			var a combine
			err := json.Unmarshal(args, &a)
			combined[a.Study] = true
			return err
		case kind == KindDeliver:
			var a deliver
			err := json.Unmarshal(args, &a)
			delivered[due{a.Destination, a.Run}] = true
			return err
		}
		return nil
	}, `SELECT kind, CAST(`+r.client.words().args+` AS TEXT), '', CAST(0 AS BIGINT) FROM river_job WHERE state IN (`+unfinishedList+`)
		UNION ALL SELECT '`+rowStudy+`', '', s.study_uid, s.revision FROM studies s WHERE s.state IN ('queued','analysing')
			AND NOT EXISTS (SELECT 1 FROM loops l WHERE l.study_uid = s.study_uid AND l.state IN ('waiting','working'))
		UNION ALL SELECT DISTINCT '`+rowDelivery+`', '', destination, run_id FROM deliveries WHERE state = 'pending'`)
	if err != nil {
		return nil, nil, err
	}
	studies = slices.DeleteFunc(studies, func(d due) bool { return combined[d.of] })
	deliveries = slices.DeleteFunc(deliveries, func(d due) bool { return delivered[d] })
	slices.SortFunc(deliveries, func(a, b due) int { return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(a.of, b.of)) })
	return studies, deliveries, nil
}

// What a row of due is of that is no job.
const (
	rowStudy    = "/study"
	rowDelivery = "/delivery"
)

func (r *Room) giveUp(ctx context.Context, j stored) error {
	switch j.kind {
	case KindCombine:
		var a combine
		if err := json.Unmarshal(j.args, &a); err != nil {
			return err
		}
		return r.h.CombineDied(ctx, a.Study, a.Revision)
	case KindDeliver:
		var a deliver
		if err := json.Unmarshal(j.args, &a); err != nil {
			return err
		}
		return r.h.DeliverDied(ctx, a.Run, a.Destination)
	}
	return nil
}

// stored is a job as the database has it.
type stored struct {
	id           int64
	kind         string
	args         []byte
	attempt, max int
}

// release makes the jobs available again that are running for a process that is
// not there, or for this one that knows nothing of them: their end could not be
// recorded. They become new jobs, so that nobody who still works on the old ones
// can end them. Those that have no attempt left are discarded and given.
func (r *Room) release(ctx context.Context) (freed int, died []stored, err error) {
	suspects, lost := r.strays(ctx)
	words := r.client.words()
	err = r.store.Transact(ctx, func(tx *store.Tx) error {
		freed, died = 0, nil
		if err := tx.Alone(ctx); err != nil {
			return err
		}
		jobs, err := list(ctx, tx, `SELECT id, kind, `+words.args+`, attempt, max_attempts FROM river_job j WHERE state = 'running'
			AND NOT EXISTS (SELECT 1 FROM processes p WHERE p.id = `+words.owner+`)`)
		if err != nil {
			return err
		}
		for _, j := range lost {
			if !slices.ContainsFunc(jobs, func(k stored) bool { return k.id == j.id }) {
				jobs = append(jobs, j)
			}
		}
		for _, j := range jobs {
			if j.attempt >= j.max {
				if _, err := tx.ExecContext(ctx, `UPDATE river_job SET state = 'discarded', finalized_at = CURRENT_TIMESTAMP WHERE id = ? AND state = 'running'`,
					j.id); err != nil {
					return err
				}
				died = append(died, j)
				continue
			}
			if _, err := tx.ExecContext(ctx,
				`INSERT INTO river_job (args, attempt, attempted_at, attempted_by, created_at, errors, kind, max_attempts, metadata, priority,
					queue, scheduled_at, state, tags)
				SELECT args, attempt, attempted_at, attempted_by, created_at, errors, kind, max_attempts, metadata, priority,
					queue, scheduled_at, 'available', tags
				FROM river_job WHERE id = ? AND state = 'running'`, j.id); err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, `DELETE FROM river_job WHERE id = ? AND state = 'running'`, j.id); err != nil {
				return err
			}
			freed++
		}
		return nil
	})
	if err == nil {
		r.suspects = suspects
	}
	return freed, died, err
}

// strays looks for jobs that are running for this process, and that it knows
// nothing of: lost are those that were seen so twice.
func (r *Room) strays(ctx context.Context) (suspects []int64, lost []stored) {
	if time.Since(r.strayed) < r.opt.Horizon {
		return r.suspects, nil
	}
	r.strayed = time.Now()
	words := r.client.words()
	mine, err := list(ctx, r.store, `SELECT id, kind, `+words.args+`, attempt, max_attempts FROM river_job j WHERE state = 'running' AND `+
		words.owner+` = ?`, r.self.ID)
	if err != nil {
		return r.suspects, nil
	}
	for _, j := range mine {
		if _, working := r.working.Load(j.id); working {
			continue
		}
		suspects = append(suspects, j.id)
		if slices.Contains(r.suspects, j.id) {
			lost = append(lost, j)
		}
	}
	return suspects, lost
}

func list(ctx context.Context, in reader, query string, args ...any) (jobs []stored, err error) {
	err = in.Rows(ctx, func(rows *sql.Rows) error {
		var j stored
		err := rows.Scan(&j.id, &j.kind, &j.args, &j.attempt, &j.max)
		jobs = append(jobs, j)
		return err
	}, query, args...)
	return jobs, err
}

// beating counts, watches the others and takes what they leave, until ctx ends.
func (r *Room) beating(ctx context.Context) {
	tick := time.NewTicker(r.opt.Beat)
	defer tick.Stop()
	var w watch
	var swept time.Time
	failing := false
	defer func() { r.complaints.settle(failing) }()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-r.complaints.wake:
		}
		sweep := time.Since(swept) > r.opt.Horizon
		err := r.beat(ctx, &w, sweep)
		switch {
		case err == nil && sweep:
			swept = time.Now()
		case err != nil && ctx.Err() == nil && !failing:
			r.log.Error("the database does not answer", "error", err)
		}
		if err == nil && failing {
			r.log.Info("the database answers again")
		}
		// What was said before it answered again is of the time before, too.
		r.complaints.settle(failing || err != nil)
		failing = err != nil
	}
}

func (r *Room) beat(ctx context.Context, w *watch, sweep bool) error {
	ctx, cancel := context.WithTimeout(ctx, r.opt.Horizon)
	defer cancel()
	all, err := r.store.Beat(ctx)
	if errors.Is(err, store.ErrNotFound) {
		r.log.Warn("this process was taken for dead; what it worked on is done again")
		err = r.store.Enter(ctx, r.self)
		if err == nil && r.h.Entered != nil {
			r.h.Entered()
		}
	}
	if err != nil {
		return err
	}
	for _, p := range w.dead(time.Now(), all, r.self.ID, r.opt.Horizon) {
		buried, err := r.store.Bury(ctx, p)
		if err != nil {
			return err
		}
		if buried {
			r.log.Warn("a process has died; what it worked on is free", "process", p.ID, "roles", p.Roles)
			sweep = true
		}
	}
	if sweep {
		if err := r.rescue(ctx); err != nil {
			return err
		}
	}
	return r.hold(ctx)
}

// hold takes the queues of destinations that nobody works on: each is one
// process's, so that its order is kept.
func (r *Room) hold(ctx context.Context) error {
	names := make([]string, len(r.opt.Destinations))
	for i, d := range r.opt.Destinations {
		names[i] = deliveryPrefix + d
	}
	held, err := r.store.Hold(ctx, names)
	if err != nil {
		return err
	}
	select {
	case <-r.mine: // nobody has read of it yet
	default:
	}
	r.mine <- held
	return nil
}

// queueing works on the queues that the process holds, until ctx ends. The
// heartbeat does not wait for it: a queue that is given up is left when the
// delivery under way has ended, and others would take the process for dead.
func (r *Room) queueing(ctx context.Context) {
	var mine []string
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case mine = <-r.mine:
		case <-again:
		}
		again = nil
		if !r.adjust(ctx, mine) {
			again = time.After(r.opt.Beat)
		}
	}
}

// adjust adds the queues that are held and leaves those that are not any more.
// It reports whether nothing is left to do: a queue that is being left takes no
// more jobs, and is not held anew before it is gone.
func (r *Room) adjust(ctx context.Context, mine []string) bool {
	done := true
	failed := func(what, name string, err error) {
		done = false
		if err != nil && !errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			r.log.Warn(what, "queue", name, "error", err)
		}
	}
	for _, name := range mine {
		switch _, working := r.held[name]; {
		case r.held[name]: // it was given up and is held again: first it has to be gone
			failed("", name, nil)
		case !working:
			if err := r.client.addQueue(name, river.QueueConfig{MaxWorkers: 1}); err != nil {
				failed("a queue cannot be worked on", name, err)
				continue
			}
			r.held[name] = false
		}
	}
	for name, leaving := range r.held {
		if !leaving && slices.Contains(mine, name) {
			continue
		}
		r.held[name] = true
		soon, cancel := context.WithTimeout(ctx, min(r.opt.Beat, time.Second))
		err := r.client.removeQueue(soon, name)
		cancel()
		if err != nil {
			failed("a queue cannot be left", name, err)
			continue
		}
		delete(r.held, name)
		done = done && !slices.Contains(mine, name)
	}
	return done
}

// presence is what a Room knows of itself and others.
type presence struct {
	self     store.Process
	working  sync.Map // IDs of jobs
	suspects []int64
	strayed  time.Time
	mine     chan []string   // queues of destinations that the database gives this process
	held     map[string]bool // those that it works on, and whether it is leaving them; queueing's own
	works    bool            // it has queues
	end      context.CancelFunc
	beats    sync.WaitGroup
}

func newPresence(opt Options) presence {
	host, _ := os.Hostname()
	seat := host + ":" + opt.Seat
	if opt.Alone {
		seat = aloneSeat + seat
	}
	return presence{mine: make(chan []string, 1), held: map[string]bool{}, self: store.Process{
		ID: processID(host), Seat: seat, Host: host, Version: opt.Version, Roles: strings.Join(opt.Roles, ","), Settings: opt.Settings,
		Started: time.Now(),
	}}
}
