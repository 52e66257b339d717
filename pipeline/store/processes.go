package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"slices"
	"time"
)

// Process is a process that works with the store. It shows that it lives by
// counting: whoever has not counted on for a while, by the clock of those who
// watch, is taken for dead, and what it held is free.
type Process struct {
	ID      string // of this start of the process
	Seat    string // what only one process uses at a time: a data directory on a machine
	Host    string
	Roles   string
	Version string
	// Settings are what it goes by that all have to agree on, JSON; "" of a program of
	// before.
	Settings string
	Started  time.Time
	Beats    int64
}

// Ahead is how much further the clock of this machine is than the database's, 0
// where it is not known to differ. It is found out with each heartbeat.
func (s *Store) Ahead() time.Duration { return time.Duration(s.ahead.Load()) }

// Now is the time by the clock of the database, which is one for all processes:
// by it they tell each other when something is to be done.
func (s *Store) Now() time.Time { return time.Now().Add(-s.Ahead()) }

// compareClocks finds out how far the clocks of this machine and the database are
// apart. What may be the time of the question itself is no difference.
func (s *Store) compareClocks(ctx context.Context) error {
	if !s.Shared() {
		return nil // it is one clock
	}
	const unsure = 20 * time.Millisecond
	asked := time.Now()
	var there int64
	if err := s.read.QueryRowContext(ctx, `SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)`).Scan(&there); err != nil {
		return err
	}
	took := time.Since(asked)
	ahead := asked.Add(took / 2).Round(0).Sub(time.UnixMicro(there))
	if ahead.Abs() <= took/2+unsure {
		ahead = 0
	}
	// What is known stays while it may be right: nothing goes back and forth with how
	// long the questions take.
	if (ahead - s.Ahead()).Abs() > took/2+unsure {
		s.ahead.Store(int64(ahead))
	}
	return nil
}

// Shared reports whether other processes may use the store at the same time.
func (s *Store) Shared() bool { return s.pool != nil }

// Enter registers a process; leases and holds are in its name from then on. A
// process that had its seat before is dead: in SQLite, which one process uses,
// that is any.
func (s *Store) Enter(ctx context.Context, p Process) error {
	err := s.Transact(ctx, func(tx *Tx) error {
		query, args := `DELETE FROM processes WHERE id <> ?`, []any{p.ID}
		if s.Shared() {
			query, args = query+` AND seat = ?`, append(args, p.Seat)
		}
		if _, err := tx.ExecContext(ctx, query, args...); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO processes (id, seat, host, roles, version, settings, started_at) VALUES (?,?,?,?,?,?,?)
			ON CONFLICT (id) DO UPDATE SET beats = processes.beats + 1`, p.ID, p.Seat, p.Host, p.Roles, p.Version, p.Settings, p.Started.UnixMilli())
		return err
	})
	if err != nil {
		return fmt.Errorf("register process: %w", err)
	}
	s.process.Store(&p.ID)
	return s.compareClocks(ctx)
}

// owner is the process that was entered.
func (s *Store) owner() string {
	if id := s.process.Load(); id != nil {
		return *id
	}
	return ""
}

// Beat counts on, and lists the processes. ErrNotFound: this one was taken for
// dead, and has to enter again; what it held is somebody else's.
func (s *Store) Beat(ctx context.Context) ([]Process, error) {
	res, err := s.db.ExecContext(ctx, `UPDATE processes SET beats = beats + 1 WHERE id = ?`, s.owner())
	if err != nil {
		return nil, fmt.Errorf("heartbeat: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return nil, fmt.Errorf("heartbeat: %w", ErrNotFound)
	}
	if err := s.compareClocks(ctx); err != nil {
		return nil, fmt.Errorf("heartbeat: %w", err)
	}
	return s.Processes(ctx)
}

// Processes lists the processes that work with the store.
func (s *Store) Processes(ctx context.Context) ([]Process, error) {
	return collect(ctx, s.read, func(r *sql.Rows) (p Process, err error) {
		var started int64
		err = r.Scan(&p.ID, &p.Seat, &p.Host, &p.Roles, &p.Version, &p.Settings, &started, &p.Beats)
		p.Started = time.UnixMilli(started)
		return p, err
	}, `SELECT id, seat, host, roles, version, settings, started_at, beats FROM processes ORDER BY started_at, id`)
}

// Bury takes a process for dead that has not counted on since it was seen.
func (s *Store) Bury(ctx context.Context, p Process) (bool, error) {
	res, err := s.db.ExecContext(ctx, `DELETE FROM processes WHERE id = ? AND beats = ?`, p.ID, p.Beats)
	if err != nil {
		return false, fmt.Errorf("bury process: %w", err)
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

// Leave ends a process's part in the store.
func (s *Store) Leave(ctx context.Context) error {
	return s.Transact(ctx, func(tx *Tx) error {
		for _, query := range []string{`DELETE FROM processes WHERE id = ?`, `DELETE FROM holds WHERE process = ?`, `DELETE FROM associations WHERE process = ?`} {
			if _, err := tx.ExecContext(ctx, query, s.owner()); err != nil {
				return err
			}
		}
		return nil
	})
}

// FreeLoops frees what processes held that are not there any more: holds,
// associations, and loops, whose number and studies it gives.
func (s *Store) FreeLoops(ctx context.Context) (n int, studies []string, err error) {
	const orphan = ` NOT IN (SELECT id FROM processes)`
	err = s.Transact(ctx, func(tx *Tx) error {
		for _, query := range []string{`DELETE FROM holds WHERE process` + orphan, `DELETE FROM associations WHERE process` + orphan} {
			if _, err := tx.ExecContext(ctx, query); err != nil {
				return err
			}
		}
		if err := tx.lockOf(ctx, `SELECT DISTINCT study_uid FROM loops WHERE state = 'working' AND owner`+orphan); err != nil {
			return err
		}
		studies, err = collect(ctx, tx, scanText, `UPDATE loops SET state = 'waiting', deaths = deaths + 1, token = token + 1
			WHERE state = 'working' AND owner`+orphan+` RETURNING study_uid`)
		n = len(studies)
		return err
	})
	if err != nil {
		return 0, nil, fmt.Errorf("free loops: %w", err)
	}
	slices.Sort(studies)
	return n, slices.Compact(studies), nil
}

// Hold takes names for the process that nobody holds, and gives those of them
// that are this process's: each is one process's at a time, until it leaves or
// dies.
func (s *Store) Hold(ctx context.Context, names []string) (held []string, err error) {
	if len(names) == 0 {
		return nil, nil
	}
	names = slices.Sorted(slices.Values(names)) // in one order everywhere
	err = s.Transact(ctx, func(tx *Tx) error {
		for _, name := range names {
			if _, err := tx.ExecContext(ctx, `INSERT INTO holds (name, process) VALUES (?, ?) ON CONFLICT (name) DO NOTHING`, name, s.owner()); err != nil {
				return err
			}
		}
		held, err = collect(ctx, tx, scanText, `SELECT name FROM holds WHERE process = ? AND name IN (`+listRows+`) ORDER BY name`, s.owner(), list(names))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("hold: %w", err)
	}
	return held, nil
}

// Key is a key that all processes share: the one that the first of them gave.
func (s *Store) Key(ctx context.Context, name string, first []byte) ([]byte, error) {
	var value string
	err := s.Transact(ctx, func(tx *Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO keys (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING`, name, hex.EncodeToString(first)); err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, `SELECT value FROM keys WHERE name = ?`, name).Scan(&value)
	})
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", name, err)
	}
	return hex.DecodeString(value)
}

// Associate says which study each association of this process sends for, for
// the other processes.
func (s *Store) Associate(ctx context.Context, sending map[uint64]string) error {
	err := s.Transact(ctx, func(tx *Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM associations WHERE process = ?`, s.owner()); err != nil {
			return err
		}
		for association, study := range sending {
			if _, err := tx.ExecContext(ctx, `INSERT INTO associations (process, number, study_uid) VALUES (?, ?, ?)`, s.owner(),
				int64(association), study); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("note associations: %w", err)
	}
	return nil
}

// Elsewhere counts the associations of other processes by the study that they
// send for.
func (s *Store) Elsewhere(ctx context.Context) (map[string]int, error) {
	type count struct {
		study string
		n     int
	}
	all, err := collect(ctx, s.read, func(r *sql.Rows) (c count, err error) { return c, r.Scan(&c.study, &c.n) },
		`SELECT study_uid, count(*) FROM associations WHERE process <> ? GROUP BY study_uid`, s.owner())
	out := make(map[string]int, len(all))
	for _, c := range all {
		out[c.study] = c.n
	}
	return out, err
}
