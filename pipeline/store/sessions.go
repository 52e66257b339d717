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
	Mark    string // changes with the account's password
	CSRF    string
	Created time.Time
	Seen    time.Time // last activity, to a part of the time after which it ends
}

// Lifetime says when sessions end.
type Lifetime struct {
	Idle, Longest time.Duration
}

// Over reports whether a session has ended.
func (l Lifetime) Over(s Session, now time.Time) bool {
	return now.Sub(s.Seen) >= l.Idle || now.Sub(s.Created) >= l.Longest
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

// CloseSessions ends all sessions of an account.
func (s *Store) CloseSessions(ctx context.Context, account string) error {
	if _, err := s.db.ExecContext(ctx, `DELETE FROM sessions WHERE account = ?`, account); err != nil {
		return fmt.Errorf("close sessions: %w", err)
	}
	return nil
}

// Attempts is when all attempts of a subject to sign in are available again; in
// the past or zero when they are.
func (s *Store) Attempts(ctx context.Context, subject string) (time.Time, error) {
	var at int64
	err := s.read.QueryRowContext(ctx, `SELECT free_at FROM attempts WHERE subject = ?`, subject).Scan(&at)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("attempts: %w", err)
	}
	return time.UnixMilli(at), nil
}

// FailedAttempt counts an attempt of a subject, which is available again after
// every, and forgets the subjects of which all are. Of no more than a number of
// subjects attempts are counted.
func (s *Store) FailedAttempt(ctx context.Context, subject string, now time.Time, every time.Duration, atMost int) error {
	ms, later := now.UnixMilli(), every.Milliseconds()
	err := s.Transact(ctx, func(tx *Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM attempts WHERE free_at < ?`, ms); err != nil {
			return err
		}
		var n int
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM attempts WHERE subject <> ?`, subject).Scan(&n); err != nil || n >= atMost {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO attempts (subject, free_at) VALUES (?, ?) ON CONFLICT (subject) DO UPDATE SET free_at = attempts.free_at + ?`,
			subject, ms+later, later)
		return err
	})
	if err != nil {
		return fmt.Errorf("count attempt: %w", err)
	}
	return nil
}
