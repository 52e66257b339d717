package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Waiting is how many deliveries to a destination are in a state.
type Waiting struct {
	Destination string
	State       DeliveryState // Pending or Dead
	Count       int
}

// Waiting counts the deliveries that are not answered yet, by destination.
func (s *Store) Waiting(ctx context.Context) ([]Waiting, error) {
	return collect(ctx, s.read, func(r *sql.Rows) (w Waiting, err error) {
		return w, r.Scan(&w.Destination, &w.State, &w.Count)
	}, `SELECT destination, state, count(*) FROM deliveries WHERE state IN ('pending','dead') GROUP BY destination, state ORDER BY destination, state`)
}

// Redirect sends what is left to deliver to one destination to another: what
// that one has already is not sent again. It calls enqueue for every run
// concerned and says how many deliveries it moved, and how many it dropped
// because the other destination has, or is owed, the same object.
func (s *Store) Redirect(ctx context.Context, from, to string, enqueue func(tx *Tx, run int64, destination string) error) (moved, dropped int, err error) {
	err = s.Transact(ctx, func(tx *Tx) error {
		runs, err := collect(ctx, tx, func(r *sql.Rows) (id int64, err error) { return id, r.Scan(&id) },
			`SELECT DISTINCT run_id FROM deliveries WHERE destination = ? AND state IN ('pending','dead')`, from)
		if err != nil {
			return err
		}
		now := tx.now().UnixMilli()
		// What the one destination may have stays in its account.
		res, err := tx.ExecContext(ctx, `INSERT INTO deliveries (run_id, sop_uid, destination, state, updated_at)
			SELECT run_id, sop_uid, CAST(?1 AS TEXT), 'pending', CAST(?2 AS BIGINT) FROM deliveries
			WHERE destination = ?3 AND state IN ('pending','dead') AND sending = 1
			ON CONFLICT (sop_uid, destination) DO NOTHING`, to, now, from)
		if err != nil {
			return err
		}
		copied, err := res.RowsAffected()
		if err != nil {
			return err
		}
		doubtful, err := giveUp(ctx, tx, from)
		if err != nil {
			return err
		}
		res, err = tx.ExecContext(ctx, `DELETE FROM deliveries WHERE destination = ? AND state IN ('pending','dead')
			AND sop_uid IN (SELECT sop_uid FROM deliveries WHERE destination = ?)`, from, to)
		if err != nil {
			return err
		}
		k, err := res.RowsAffected()
		if err != nil {
			return err
		}
		dropped = int(k + doubtful - copied)
		res, err = tx.ExecContext(ctx, `UPDATE deliveries SET destination = ?, state = 'pending', attempts = 0, sending = 0, updated_at = ?
			WHERE destination = ? AND state IN ('pending','dead')`, to, now, from)
		if err != nil {
			return err
		}
		if k, err = res.RowsAffected(); err != nil {
			return err
		}
		moved = int(k + copied)
		for _, run := range runs {
			if err := enqueue(tx, run, to); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, 0, fmt.Errorf("redirect deliveries: %w", err)
	}
	return moved, dropped, nil
}

// givenUp is said of deliveries that were given up while they were being sent.
const givenUp = "given up while it was being sent: the destination may have it"

// giveUp lets what a destination was being sent count as sent with a Warning, as
// withdraw does, and says how much that was.
func giveUp(ctx context.Context, tx *Tx, destination string) (int64, error) {
	res, err := tx.ExecContext(ctx,
		`UPDATE deliveries SET state = 'warning', sending = 2, error = ?, updated_at = ? WHERE destination = ? AND state IN ('pending','dead') AND sending = 1`,
		givenUp, tx.now().UnixMilli(), destination)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// DropDeliveries forgets what is left to deliver to a destination, and says how
// much that was. What was being sent it may have: that counts as sent with a
// Warning. Outputs stay where they are.
func (s *Store) DropDeliveries(ctx context.Context, destination string) (int, error) {
	var n int64
	err := s.Transact(ctx, func(tx *Tx) error {
		doubtful, err := giveUp(ctx, tx, destination)
		if err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx, `DELETE FROM deliveries WHERE destination = ? AND state IN ('pending','dead')`, destination)
		if err != nil {
			return err
		}
		n, err = res.RowsAffected()
		n += doubtful
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("drop deliveries: %w", err)
	}
	return int(n), nil
}

// Probe writes to the database, to find out whether that can be done.
func (s *Store) Probe(ctx context.Context) error {
	_, err := s.db.ExecContext(ctx, `INSERT INTO probes (id, at) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET at = excluded.at`, s.Now().UnixMilli())
	if err != nil {
		return fmt.Errorf("write to the database: %w", err)
	}
	return nil
}

// Clock is when [Store.SetClock] was last called, and with what. Where it never was, by a
// program of before, it is when something was last received; ok is false where nothing
// was.
func (s *Store) Clock(ctx context.Context) (at time.Time, rest time.Duration, ok bool, err error) {
	var a, r int64
	err = s.read.QueryRowContext(ctx, `SELECT at, rest FROM clock WHERE id = 1`).Scan(&a, &r)
	if errors.Is(err, sql.ErrNoRows) {
		err = s.read.QueryRowContext(ctx, `SELECT coalesce(max(last_received_at), 0) FROM studies`).Scan(&a)
		return time.UnixMilli(a), 0, err == nil && a > 0, err
	}
	return time.UnixMilli(a), time.Duration(r) * time.Millisecond, err == nil, err
}

// restLeft is what is left of the recorded rest at the time that is noted.
const restLeft = `CASE WHEN excluded.at > clock.at THEN clock.rest - (excluded.at - clock.at) ELSE clock.rest END`

// SetClock notes the time of day, and how long nothing is removed from then on. Another
// process may have a longer time left, which goes on.
func (s *Store) SetClock(ctx context.Context, at time.Time, rest time.Duration) error {
	_, err := s.db.ExecContext(ctx, `INSERT INTO clock (id, at, rest) VALUES (1, ?, ?) ON CONFLICT (id) DO UPDATE SET at = excluded.at,
		rest = CASE WHEN `+restLeft+` > excluded.rest THEN `+restLeft+` ELSE excluded.rest END`,
		at.UnixMilli(), rest.Milliseconds())
	if err != nil {
		return fmt.Errorf("note the time: %w", err)
	}
	return nil
}

// StateCounts counts studies by state.
func (s *Store) StateCounts(ctx context.Context) (map[State]int, error) {
	type count struct {
		state State
		n     int
	}
	all, err := collect(ctx, s.read, func(r *sql.Rows) (c count, err error) {
		return c, r.Scan(&c.state, &c.n)
	}, `SELECT state, count(*) FROM studies GROUP BY state`)
	counts := map[State]int{Receiving: 0, Queued: 0, Analysing: 0, Done: 0, Failed: 0}
	for _, c := range all {
		counts[c.state] = c.n
	}
	return counts, err
}

// LoopsLeft counts the loops that are still to be analysed, without those that
// wait for another run of their study to begin.
func (s *Store) LoopsLeft(ctx context.Context) (n int, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT count(*) FROM loops l JOIN studies s ON s.study_uid = l.study_uid
		WHERE l.state IN ('waiting','working') AND s.state IN ('receiving','queued','analysing')`).Scan(&n)
	return n, err
}

// LoopCounts counts the loops that a person or another worker may be needed for:
// those that are still to be analysed, without those that wait for another run of
// their study to begin, those being analysed, and those that have failed.
func (s *Store) LoopCounts(ctx context.Context) (map[LoopState]int, error) {
	type count struct {
		state LoopState
		n     int
	}
	all, err := collect(ctx, s.read, func(r *sql.Rows) (c count, err error) {
		return c, r.Scan(&c.state, &c.n)
	}, `SELECT l.state, count(*) FROM loops l JOIN studies s ON s.study_uid = l.study_uid
		WHERE l.state IN ('waiting','working') AND s.state IN ('receiving','queued','analysing') GROUP BY l.state
		UNION ALL SELECT 'failed', count(*) FROM loops WHERE problem <> '' AND state = 'failed'`)
	counts := map[LoopState]int{LoopWaiting: 0, LoopWorking: 0, LoopFailed: 0}
	for _, c := range all {
		counts[c.state] = c.n
	}
	return counts, err
}

// LoopsWith counts the loops whose results have one of some problems, of studies
// that are there.
func (s *Store) LoopsWith(ctx context.Context, problems ...string) (n int, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT count(*) FROM loops WHERE problem <> '' AND problem IN (`+listRows+`)`, list(problems)).Scan(&n)
	return n, err
}

// Doubtful lists what a run still has to send to a destination and that was
// being sent when the process or the association ended: the destination may
// have it. An answer, see [Store.RecordDelivery], ends the doubt.
func (s *Store) Doubtful(ctx context.Context, run int64, destination string) ([]string, error) {
	return collect(ctx, s.read, func(r *sql.Rows) (uid string, err error) { return uid, r.Scan(&uid) },
		`SELECT sop_uid FROM deliveries WHERE run_id = ? AND destination = ? AND state = 'pending' AND sending = 1`, run, destination)
}

// Sending notes that one object is being sent from now on. ErrOutdated: it is
// not to be sent any more, since its study was corrected or removed meanwhile.
func (s *Store) Sending(ctx context.Context, d Delivery) error {
	err := s.Transact(ctx, func(tx *Tx) error {
		if err := tx.lockOf(ctx, `SELECT study_uid FROM runs WHERE id = ?`, d.RunID); err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx, `UPDATE deliveries SET sending = 1 WHERE run_id = ? AND sop_uid = ? AND destination = ? AND state = 'pending'`+sameStudy,
			append([]any{d.RunID, d.SOPInstanceUID, d.Destination}, d.ofRun()...)...)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, ErrOutdated)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("note what is sent: %w", err)
	}
	return nil
}
