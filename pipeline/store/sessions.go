package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Session is a browser that is signed in at the review page. It is known by a
// hash of its token, so that the database opens nothing.
type Session struct {
	Account string // user name
	Profile string // JSON, of an account that is not in the file of users
	Mark    string // changes with what the account's rights come from
	CSRF    string
	Created time.Time
	Seen    time.Time // last activity, to a part of the time after which it ends
}

// Lifetime says when sessions end.
type Lifetime struct {
	Idle, Longest time.Duration
}

// ahead is by how much clocks of several machines may differ.
const ahead = 5 * time.Minute

// Over reports whether a session has ended. One that was opened or used later than now
// has: the clock was ahead, and it would last until that time and longer.
func (l Lifetime) Over(s Session, now time.Time) bool {
	return now.Sub(s.Seen) >= l.Idle || now.Sub(s.Created) >= l.Longest || s.Seen.Sub(now) > ahead || s.Created.Sub(now) > ahead
}

// ErrTooManySessions is returned where no more may be opened.
var ErrTooManySessions = errors.New("too many sessions")

// OpenSession records a session under the hash of its token, and forgets those
// that have ended. No more than a number of them are kept.
func (s *Store) OpenSession(ctx context.Context, token string, v Session, l Lifetime, atMost int) error {
	err := s.Transact(ctx, func(tx *Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM sessions WHERE seen <= ? OR created <= ?`, v.Seen.Add(-l.Idle).UnixMilli(),
			v.Seen.Add(-l.Longest).UnixMilli()); err != nil {
			return err
		}
		var n int
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM sessions`).Scan(&n); err != nil {
			return err
		}
		if n >= atMost {
			return ErrTooManySessions
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO sessions (token, account, profile, mark, csrf, created, seen) VALUES (?, ?, ?, ?, ?, ?, ?)`,
			token, v.Account, v.Profile, v.Mark, v.CSRF, v.Created.UnixMilli(), v.Seen.UnixMilli())
		return err
	})
	if err != nil {
		return fmt.Errorf("open session: %w", err)
	}
	return nil
}

// Session is the session of a token's hash, else [ErrNotFound]. It may be over.
func (s *Store) Session(ctx context.Context, token string) (v Session, err error) {
	var created, seen int64
	err = s.read.QueryRowContext(ctx, `SELECT account, profile, mark, csrf, created, seen FROM sessions WHERE token = ?`, token).
		Scan(&v.Account, &v.Profile, &v.Mark, &v.CSRF, &created, &seen)
	if errors.Is(err, sql.ErrNoRows) {
		return v, ErrNotFound
	}
	if err != nil {
		return v, fmt.Errorf("session: %w", err)
	}
	v.Created, v.Seen = time.UnixMilli(created), time.UnixMilli(seen)
	return v, nil
}

// TouchSession notes activity.
func (s *Store) TouchSession(ctx context.Context, token string, seen time.Time) error {
	if _, err := s.db.ExecContext(ctx, `UPDATE sessions SET seen = ? WHERE token = ? AND seen < ?`, seen.UnixMilli(), token, seen.UnixMilli()); err != nil {
		return fmt.Errorf("touch session: %w", err)
	}
	return nil
}

// CloseSession ends the session of a token's hash, if there is one.
func (s *Store) CloseSession(ctx context.Context, token string) error {
	if _, err := s.db.ExecContext(ctx, `DELETE FROM sessions WHERE token = ?`, token); err != nil {
		return fmt.Errorf("close session: %w", err)
	}
	return nil
}

// CloseSessions ends all sessions of an account, and says how many there were.
func (s *Store) CloseSessions(ctx context.Context, account string) (int, error) {
	res, err := s.db.ExecContext(ctx, `DELETE FROM sessions WHERE account = ?`, account)
	var n int64
	if err == nil {
		n, err = res.RowsAffected()
	}
	if err != nil {
		return 0, fmt.Errorf("close sessions: %w", err)
	}
	return int(n), nil
}

// Attempts are how often a subject may try to sign in: Burst times at once, and
// once more after every Every.
type Attempts struct {
	Burst int
	Every time.Duration
	// AtMost is of how many subjects attempts are counted.
	AtMost int
}

// TakeAttempt takes one of a subject's attempts, before it is known whether it is
// right: so as many at the same time, by whichever process, are no more than
// Burst. Where none is left it takes none and says how long until one is.
// [Store.ReturnAttempt] gives it back.
func (s *Store) TakeAttempt(ctx context.Context, subject string, now time.Time, a Attempts) (wait time.Duration, err error) {
	ms, every := now.UnixMilli(), a.Every.Milliseconds()
	last := ms + int64(a.Burst-1)*every // all are available again by then: one is now
	err = s.Transact(ctx, func(tx *Tx) error {
		wait = 0
		if _, err := tx.ExecContext(ctx, `DELETE FROM attempts WHERE free_at < ?`, ms); err != nil {
			return err
		}
		var n int
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM attempts WHERE subject <> ?`, subject).Scan(&n); err != nil || n >= a.AtMost {
			return err
		}
		res, err := tx.ExecContext(ctx, `INSERT INTO attempts (subject, free_at) VALUES (?, ?)
			ON CONFLICT (subject) DO UPDATE SET free_at = attempts.free_at + ? WHERE attempts.free_at <= ?`, subject, ms+every, every, last)
		if err != nil {
			return err
		}
		if taken, err := res.RowsAffected(); err != nil || taken > 0 {
			return err
		}
		var free int64
		if err := tx.QueryRowContext(ctx, `SELECT free_at FROM attempts WHERE subject = ?`, subject).Scan(&free); err != nil {
			return err
		}
		// A clock that was set back locks nobody out for longer than the burst lasts.
		wait = min(time.Duration(free-last)*time.Millisecond, time.Duration(a.Burst)*a.Every)
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("take attempt: %w", err)
	}
	return wait, nil
}

// ReturnAttempt gives an attempt back that was taken.
func (s *Store) ReturnAttempt(ctx context.Context, subject string, a Attempts) error {
	if _, err := s.db.ExecContext(ctx, `UPDATE attempts SET free_at = free_at - ? WHERE subject = ?`, a.Every.Milliseconds(), subject); err != nil {
		return fmt.Errorf("return attempt: %w", err)
	}
	return nil
}
