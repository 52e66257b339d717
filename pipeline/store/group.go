package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
)

// group lets the writers of SQLite, of whom there is one at a time, share
// commits: whoever comes while one is under way waits for the next, and all who
// wait are committed together. So many senders and workers cost one wait for the
// disk, and none that is alone waits for another.
type group struct {
	mu    sync.Mutex
	queue []*turn
	busy  bool
}

// turn is one writer's part of a commit.
type turn struct {
	ctx     context.Context
	f       func(*Tx) error
	begun   bool // guarded by group.mu
	err     error
	crashed *crash
	done    chan struct{}
}

// crash is a panic of a writer, which is its own.
type crash struct {
	value any
	stack []byte
}

func (c *crash) Error() string { return fmt.Sprintf("%v\n%s", c.value, c.stack) }

// maxTurns bounds the writers of one commit.
const maxTurns = 64

// transactSQLite runs f in a transaction, which may be one with others. f may run
// again, by itself, after that was rolled back. What f has begun is waited for
// whatever becomes of ctx, as it works on what is the caller's.
func (s *Store) transactSQLite(ctx context.Context, f func(*Tx) error) error {
	t := &turn{ctx: ctx, f: f, done: make(chan struct{})}
	g := &s.writing
	g.mu.Lock()
	g.queue = append(g.queue, t)
	if !g.busy {
		g.busy = true
		go s.write()
	}
	g.mu.Unlock()
	select {
	case <-t.done:
	case <-ctx.Done():
		g.mu.Lock()
		if !t.begun {
			t.begun = true // nobody begins it now
			g.mu.Unlock()
			return context.Cause(ctx)
		}
		g.mu.Unlock()
		<-t.done
	}
	if t.crashed != nil {
		panic(t.crashed)
	}
	return t.err
}

// write commits what waits until nothing does.
func (s *Store) write() {
	g := &s.writing
	for {
		var turns []*turn
		g.mu.Lock()
		for len(g.queue) > 0 && len(turns) < maxTurns {
			if t := g.queue[0]; !t.begun {
				t.begun = true
				turns = append(turns, t)
			}
			g.queue = g.queue[1:]
		}
		if len(turns) == 0 {
			g.busy, g.queue = false, nil
			g.mu.Unlock()
			return
		}
		g.mu.Unlock()
		if err := s.db.file.check(); err != nil {
			for _, t := range turns {
				t.err = err
			}
		} else if len(turns) == 1 || !s.together(turns) {
			for _, t := range turns {
				t.err = s.alone(t)
			}
		}
		for _, t := range turns {
			close(t.done)
		}
	}
}

// alone runs a writer in a transaction of its own.
func (s *Store) alone(t *turn) error {
	tx, err := s.sql.BeginTx(t.ctx, nil)
	if err != nil {
		return err
	}
	if err := t.run(&Tx{handle: handle{on: tx}, sqlite: tx}); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// together runs writers in one transaction and reports whether it was
// committed; what one of them failed with is undone and its own. Otherwise
// nothing has happened.
func (s *Store) together(turns []*turn) bool {
	ctx := context.Background()
	tx, err := s.sql.BeginTx(ctx, nil)
	if err != nil {
		return false
	}
	exec := func(statement string) bool {
		_, err := tx.ExecContext(ctx, statement)
		return err == nil
	}
	for _, t := range turns {
		if t.err = context.Cause(t.ctx); t.err != nil {
			continue
		}
		if !exec(`SAVEPOINT turn`) {
			_ = tx.Rollback() // the connection is given up if that fails
			return false
		}
		t.err = t.run(&Tx{handle: handle{on: unhurried{tx}}, sqlite: tx})
		// A full disk may have undone the whole transaction.
		if t.err != nil && !exec(`ROLLBACK TO turn`) || !exec(`RELEASE turn`) {
			_ = tx.Rollback()
			return false
		}
	}
	return tx.Commit() == nil
}

// run calls the writer's function. Its panic stays its own.
func (t *turn) run(tx *Tx) (err error) {
	defer func() {
		if r := recover(); r != nil {
			t.crashed = &crash{r, debug.Stack()}
			err = t.crashed
		}
	}()
	t.crashed = nil
	return t.f(tx)
}

// unhurried runs statements to their end: SQLite answers an interrupt by undoing
// the whole transaction, which is others' too.
type unhurried struct{ tx *sql.Tx }

func (u unhurried) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return u.tx.ExecContext(context.WithoutCancel(ctx), query, args...)
}

func (u unhurried) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return u.tx.QueryContext(context.WithoutCancel(ctx), query, args...)
}

func (u unhurried) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	return u.tx.QueryRowContext(context.WithoutCancel(ctx), query, args...)
}
