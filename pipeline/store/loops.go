package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// LoopState is how far the analysis of an object is.
type LoopState string

// States of a loop.
const (
	LoopWaiting LoopState = "waiting"
	LoopWorking LoopState = "working"
	LoopDone    LoopState = "done"   // its result is kept
	LoopFailed  LoopState = "failed" // what stood in its way would have stopped every loop
)

// Loop is an object under analysis.
type Loop struct {
	SOPInstanceUID, SOPClassUID         string
	StudyInstanceUID, SeriesInstanceUID string

	Number           int // order of arrival in the study, from 1
	State            LoopState
	Basis            string // what the result depends on beside the object
	Result           string // key of the kept result
	Problem          string // why it failed, or may come out better another time
	Attempts, Deaths int
	Path             string // of the object
	Sum              string // of the object, see Instance
	TransferSyntax   string // of the object, its UID
	Sender           string // of the study
}

// Problem is why the result of an object failed or may come out better another
// time, "" where there is nothing.
func (s *Store) Problem(ctx context.Context, sopUID string) (string, error) {
	var problem string
	err := s.read.QueryRowContext(ctx, `SELECT coalesce(max(problem), '') FROM loops WHERE sop_uid = ?`, sopUID).Scan(&problem)
	return problem, err
}

// Lease is the right to analyse a loop and to say what became of it, until
// somebody else gets it.
type Lease struct {
	Loop
	Token int64
}

// ErrStale says that a lease has passed to somebody else, or that the object is
// gone.
var ErrStale = errors.New("the lease has passed on")

// Enqueue adds a job for a revision of a study, in the transaction that makes
// it due.
type Enqueue func(tx *Tx, study string, revision int) error

const loopColumns = `SELECT l.sop_uid, i.sop_class, l.study_uid, i.series_uid, l.number, l.state, l.basis, l.result, l.problem, l.attempts,
	l.deaths, i.path, i.sum, i.transfer_syntax, o.sender, l.token
	FROM loops l JOIN instances i ON i.sop_uid = l.sop_uid JOIN studies o ON o.study_uid = l.study_uid `

func scanLease(r *sql.Rows) (l Lease, err error) { return l, l.scan(r.Scan) }

func (l *Lease) scan(scan func(...any) error) error {
	err := scan(&l.SOPInstanceUID, &l.SOPClassUID, &l.StudyInstanceUID, &l.SeriesInstanceUID, &l.Number, &l.State, &l.Basis, &l.Result, &l.Problem, &l.Attempts,
		&l.Deaths, &l.Path, &l.Sum, &l.TransferSyntax, &l.Sender, &l.Token)
	l.Sum = untied(l.Sum, l.Path)
	return err
}

// Loops lists the loops of a study, the one received last, corrected ones as
// their correction, at the end: its attributes count.
func (s *Store) Loops(ctx context.Context, study string) ([]Loop, error) {
	leases, err := collect(ctx, s.read, scanLease, loopColumns+`WHERE l.study_uid = ? ORDER BY i.received_at, i.corrections > 0, l.number`, study)
	loops := make([]Loop, len(leases))
	for i, l := range leases {
		loops[i] = l.Loop
	}
	return loops, err
}

// LeaseSuspect leases a loop over which a process has died before, of a study
// that is received or analysed. ErrNotFound: there is none.
func (s *Store) LeaseSuspect(ctx context.Context) (Lease, error) {
	return s.lease(ctx, `SELECT l.sop_uid `+suspects+` ORDER BY l.deaths, s.first_received_at, l.number LIMIT 1`)
}

const suspects = `FROM loops l JOIN studies s ON s.study_uid = l.study_uid
	WHERE l.state = 'waiting' AND l.deaths > 0 AND s.state IN ('receiving','queued','analysing')`

// Suspects reports whether LeaseSuspect would give a loop.
func (s *Store) Suspects(ctx context.Context) (there bool, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 `+suspects+`)`).Scan(&there)
	return there, err
}

// LeaseLoop leases the loop that is next in turn at a time. Senders take turns,
// so that one who sends a lot, or what takes long, leaves room for the others;
// of a sender at most atOnce loops are worked on at a time by this process. Of a sender's
// studies complete ones go first, with onArrival followed by those that are
// still received; among either the study that was served longest ago; in it the
// oldest loop. So every study gets on, whatever the size of the others.
// Suspects are left out, see LeaseSuspect. A loop that is put off further than any is
// put off waits no longer. ErrNotFound: nothing waits.
func (s *Store) LeaseLoop(ctx context.Context, now time.Time, onArrival bool, atOnce int) (Lease, error) {
	states := `('queued','analysing')`
	if onArrival {
		states = `('queued','analysing','receiving')`
	}
	return s.lease(ctx, `SELECT l.sop_uid FROM loops l WHERE l.state = 'waiting' AND l.deaths = 0 AND (l.not_before <= ?1 OR l.not_before > ?4) AND l.study_uid = (
			SELECT s.study_uid FROM studies s LEFT JOIN senders f ON f.sender = s.sender WHERE s.state IN `+states+`
			AND EXISTS (SELECT 1 FROM loops w WHERE w.study_uid = s.study_uid AND w.state = 'waiting' AND w.deaths = 0 AND (w.not_before <= ?1 OR w.not_before > ?4))
			AND s.sender NOT IN (SELECT b.sender FROM loops w JOIN studies b ON b.study_uid = w.study_uid WHERE w.state = 'working' AND w.owner = ?3
				GROUP BY b.sender HAVING count(*) >= ?2)
			ORDER BY coalesce(f.served, 0), s.state = 'receiving', s.served, s.first_received_at, s.study_uid LIMIT 1)
		ORDER BY l.number LIMIT 1`, now.UnixMilli(), atOnce, s.owner(), now.Add(longestPause).UnixMilli())
}

// longestPause is longer than any between two attempts at a loop: one that was put off
// further was by a clock that was ahead.
const longestPause = 2 * time.Hour

// lease leases the loop that a query picks.
func (s *Store) lease(ctx context.Context, pick string, args ...any) (lease Lease, err error) {
	err = s.Transact(ctx, func(tx *Tx) error {
		if err := tx.one(ctx, lockLease); err != nil {
			return err
		}
		var sop string
		for taken := int64(0); taken == 0; {
			if err := tx.QueryRowContext(ctx, pick, args...).Scan(&sop); err != nil {
				return err
			}
			if err := tx.lockOf(ctx, `SELECT study_uid FROM loops WHERE sop_uid = ?`, sop); err != nil {
				return err
			}
			// It may have been removed or replaced before it was locked. No token comes twice, also where another object
			// came under the UID after a removal.
			res, err := tx.ExecContext(ctx, `UPDATE loops SET state = 'working', token = ?, owner = ? WHERE sop_uid = ? AND state = 'waiting'`,
				rand.Int64N(1<<62), s.owner(), sop)
			if err != nil {
				return err
			}
			if taken, err = res.RowsAffected(); err != nil {
				return err
			}
		}
		found, err := collect(ctx, tx, scanLease, loopColumns+`WHERE l.sop_uid = ?`, sop)
		if err != nil {
			return err
		}
		lease = found[0]
		if _, err := tx.ExecContext(ctx, nextTurn+`WHERE o.study_uid = ?`+served, lease.StudyInstanceUID); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, studyServed+`WHERE study_uid = ?`, lease.StudyInstanceUID)
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		return Lease{}, fmt.Errorf("no loop waits: %w", ErrNotFound)
	}
	if err != nil {
		return Lease{}, fmt.Errorf("lease loop: %w", err)
	}
	return lease, nil
}

// FreeLost frees the loops that are leased to this process under tokens that it
// does not know: the lease was recorded, and the answer was lost with the
// connection. Nobody leases for this process meanwhile; of a lease whose answer has
// just been lost the end is waited for.
func (s *Store) FreeLost(ctx context.Context, known []int64) (n int, err error) {
	type leased struct {
		sop   string
		token int64
	}
	err = s.Transact(ctx, func(tx *Tx) error {
		n = 0
		if err := tx.one(ctx, lockLease); err != nil {
			return err
		}
		mine, err := collect(ctx, tx, func(r *sql.Rows) (l leased, err error) { return l, r.Scan(&l.sop, &l.token) },
			`SELECT sop_uid, token FROM loops WHERE state = 'working' AND owner = ?`, s.owner())
		if err != nil {
			return err
		}
		mine = slices.DeleteFunc(mine, func(l leased) bool { return slices.Contains(known, l.token) })
		sops := make([]string, len(mine))
		for i, l := range mine {
			sops[i] = l.sop
		}
		// All at once, in the order of those who lock several.
		if err := tx.lockOf(ctx, `SELECT study_uid FROM loops WHERE sop_uid IN (`+listRows+`)`, list(sops)); err != nil {
			return err
		}
		for _, l := range mine {
			res, err := tx.ExecContext(ctx, `UPDATE loops SET state = 'waiting' WHERE sop_uid = ? AND state = 'working' AND token = ?`, l.sop, l.token)
			if err != nil {
				return err
			}
			freed, err := res.RowsAffected()
			if err != nil {
				return err
			}
			n += int(freed)
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("free leases whose answer was lost: %w", err)
	}
	return n, nil
}

const (
	nextTurn = `INSERT INTO senders (sender, served)
		SELECT o.sender, 1 + coalesce((SELECT max(served) FROM senders), 0) FROM studies o `
	served      = ` ON CONFLICT (sender) DO UPDATE SET served = excluded.served`
	studyServed = `UPDATE studies SET served = (SELECT max(served) + 1 FROM studies),
		state = CASE state WHEN 'queued' THEN 'analysing' ELSE state END `
)

// bounded is what is kept of the text of an error: engines and stores say what they like.
func bounded(text string) string {
	const most = 4000
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// FinishLoop records under which key the result of a loop is kept. problem says
// why a repetition may come out better, or is "". When it was the last loop of
// a complete study, enqueue is called. ErrStale: the result is not wanted.
func (s *Store) FinishLoop(ctx context.Context, l Lease, basis, key, problem string, enqueue Enqueue) error {
	return s.endLease(ctx, l, enqueue, `state = 'done', basis = ?, result = ?, problem = ?, attempts = 0, deaths = 0`, basis, key, bounded(problem))
}

// FailLoop records an error that is not the object's. The loop waits until the
// given time for another attempt, or with a zero time has failed.
func (s *Store) FailLoop(ctx context.Context, l Lease, cause error, retry time.Time, enqueue Enqueue) error {
	if retry.IsZero() {
		return s.endLease(ctx, l, enqueue, `state = 'failed', problem = ?, attempts = attempts + 1`, bounded(cause.Error()))
	}
	return s.endLease(ctx, l, enqueue, `state = 'waiting', problem = ?, attempts = attempts + 1, not_before = ?`, bounded(cause.Error()), retry.UnixMilli())
}

// ReleaseLoop gives a lease back: nothing has been learnt about the loop.
func (s *Store) ReleaseLoop(ctx context.Context, l Lease) error {
	return s.endLease(ctx, l, nil, `state = 'waiting'`)
}

// ForgetLoop lets a loop wait again whose kept result has gone.
func (s *Store) ForgetLoop(ctx context.Context, sopUID string) error {
	return s.Transact(ctx, func(tx *Tx) error {
		if err := tx.lockOf(ctx, `SELECT study_uid FROM loops WHERE sop_uid = ?`, sopUID); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `UPDATE loops SET state = 'waiting', result = '', not_before = 0 WHERE sop_uid = ? AND state = 'done'`, sopUID)
		return err
	})
}

func (s *Store) endLease(ctx context.Context, l Lease, enqueue Enqueue, set string, args ...any) error {
	err := s.Transact(ctx, func(tx *Tx) error {
		var ended int64
		var revision []int
		steps := []step{
			tx.locking(l.StudyInstanceUID),
			{query: `UPDATE loops SET ` + set + ` WHERE sop_uid = ? AND token = ? AND state = 'working'`, args: append(args, l.SOPInstanceUID, l.Token), rows: &ended},
			// A study says what its loops are tried again for.
			{query: `UPDATE studies SET error = why.problem FROM (
				SELECT coalesce((SELECT problem FROM loops WHERE study_uid = ?1 AND state IN ('waiting','failed') AND attempts > 0
					ORDER BY number LIMIT 1), '') AS problem) AS why
				WHERE study_uid = ?1 AND state IN ('receiving','queued','analysing') AND error <> why.problem`, args: []any{l.StudyInstanceUID}},
		}
		if enqueue != nil {
			steps = append(steps, step{query: due, args: []any{l.StudyInstanceUID}, numbers: &revision})
		}
		if err := tx.run(ctx, steps...); err != nil {
			return err
		}
		if ended == 0 {
			return ErrStale // which undoes the rest
		}
		if len(revision) == 0 {
			return nil
		}
		return enqueue(tx, l.StudyInstanceUID, revision[0])
	})
	if err != nil {
		return fmt.Errorf("loop %s: %w", l.SOPInstanceUID, err)
	}
	return nil
}

// combineIfDue enqueues the current revision of a complete study none of whose
// loops is left to do.
func (s *Store) combineIfDue(ctx context.Context, tx *Tx, study string, enqueue Enqueue) error {
	var revision int
	err := tx.QueryRowContext(ctx, due, study).Scan(&revision)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return enqueue(tx, study, revision)
}

// due is the revision of a study that can be combined.
const due = `SELECT revision FROM studies WHERE study_uid = ?1 AND state IN ('queued','analysing')
	AND NOT EXISTS (SELECT 1 FROM loops WHERE study_uid = ?1 AND state IN ('waiting','working'))`

// refresh lets those loops of a study wait again that have failed, and those
// whose results depend on something else than now; with retry also those that
// may come out better another time.
func refresh(ctx context.Context, tx *Tx, study, basis string, retry bool) error {
	_, err := tx.ExecContext(ctx, `UPDATE loops SET state = 'waiting', attempts = 0, deaths = 0, not_before = 0, problem = '' WHERE study_uid = ?
		AND (state = 'failed' OR state = 'done' AND (basis <> ? OR ? AND problem <> ''))`, study, basis, retry)
	return err
}

// LoopsDone counts the loops of a study, and those that need no more work.
func (s *Store) LoopsDone(ctx context.Context, study string) (done, total int, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT count(*) FILTER (WHERE state IN ('done','failed')), count(*) FROM loops WHERE study_uid = ?`, study).
		Scan(&done, &total)
	return done, total, err
}

// Backlog is how many studies of the sender of a study wait to be combined or
// are, in the transaction of a new job.
func (s *Store) Backlog(ctx context.Context, tx *Tx, study string) (n int, err error) {
	err = tx.QueryRowContext(ctx, `SELECT count(*) FROM studies WHERE state IN ('queued','analysing')
		AND sender = (SELECT sender FROM studies WHERE study_uid = ?)`, study).Scan(&n)
	return n, err
}

// DeliveryBacklog is how many runs of the sender of a run's study wait to be
// delivered to a destination.
func (s *Store) DeliveryBacklog(ctx context.Context, tx *Tx, run int64, destination string) (n int, err error) {
	err = tx.QueryRowContext(ctx, `SELECT count(DISTINCT d.run_id) FROM deliveries d JOIN runs r ON r.id = d.run_id JOIN studies s ON s.study_uid = r.study_uid
		WHERE d.state = 'pending' AND d.destination = ? AND s.sender = (SELECT p.sender FROM studies p JOIN runs q ON q.study_uid = p.study_uid WHERE q.id = ?)`,
		destination, run).Scan(&n)
	return n, err
}
