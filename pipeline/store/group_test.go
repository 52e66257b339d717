package store

import (
	"context"
	"database/sql"
	"errors"
	"runtime"
	"sync"
	"testing"
)

// crowd lets n writers of a new store wait as for one under way, lets them go
// on, and returns what became of each.
func crowd(t *testing.T, n int, f func(ctx context.Context, k int, tx *Tx) error) (s *Store, errs []error, panics int) {
	t.Helper()
	s = open(t, databases[0].open(t))
	if _, err := s.sql.ExecContext(t.Context(), `CREATE TABLE notes (k INTEGER PRIMARY KEY)`); err != nil {
		t.Fatal(err)
	}
	s.writing.busy = true
	errs = make([]error, n)
	var group sync.WaitGroup
	var mu sync.Mutex
	for k := range n {
		group.Go(func() {
			defer func() {
				if r := recover(); r != nil {
					mu.Lock()
					defer mu.Unlock()
					panics++
				}
			}()
			errs[k] = s.Transact(t.Context(), func(tx *Tx) error { return f(t.Context(), k, tx) })
		})
	}
	for waiting := 0; waiting < n; runtime.Gosched() {
		s.writing.mu.Lock()
		waiting = len(s.writing.queue)
		s.writing.mu.Unlock()
	}
	go s.write()
	group.Wait()
	return s, errs, panics
}

func note(ctx context.Context, tx *Tx, k int) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO notes (k) VALUES (?)`, k)
	return err
}

func notes(t *testing.T, s *Store) map[int]bool {
	t.Helper()
	all, err := collect(t.Context(), s.read, func(r *sql.Rows) (k int, err error) { return k, r.Scan(&k) }, `SELECT k FROM notes`)
	if err != nil {
		t.Fatal(err)
	}
	out := map[int]bool{}
	for _, k := range all {
		out[k] = true
	}
	return out
}

// Writers that wait are committed together; one that fails, gives up or panics
// is undone, and the others are not.
func TestWritersShareCommits(t *testing.T) {
	const n = 30
	wrong := errors.New("wrong")
	var mu sync.Mutex
	transactions := map[*sql.Tx]bool{}
	s, errs, panics := crowd(t, n, func(ctx context.Context, k int, tx *Tx) error {
		mu.Lock()
		transactions[tx.sqlite] = true
		mu.Unlock()
		if k%5 == 3 {
			// What a caller who has left asks for runs to its end.
			left, leave := context.WithCancel(ctx)
			leave()
			ctx = left
		}
		if err := note(ctx, tx, k); err != nil {
			return err
		}
		switch k % 5 {
		case 1:
			return wrong
		case 2:
			panic("broken")
		}
		return nil
	})
	if len(transactions) > 1 {
		t.Errorf("%d transactions for %d writers", len(transactions), n)
	}
	if panics != n/5 {
		t.Errorf("%d panics, want %d", panics, n/5)
	}
	there := notes(t, s)
	for k := range n {
		fails := k%5 == 1 || k%5 == 2
		if there[k] == fails || k%5 != 2 && errors.Is(errs[k], wrong) != (k%5 == 1) {
			t.Errorf("writer %d: recorded %v, error %v", k, there[k], errs[k])
		}
	}
}

// Where the whole transaction is lost, as on a full disk, each writer is tried
// by itself.
func TestWritersOfALostTransaction(t *testing.T) {
	const n = 12
	s, errs, _ := crowd(t, n, func(ctx context.Context, k int, tx *Tx) error {
		if err := note(ctx, tx, k); err != nil {
			return err
		}
		if k == 7 {
			if _, err := tx.ExecContext(ctx, `ROLLBACK`); err != nil {
				return err
			}
			return errors.New("the disk is full")
		}
		return nil
	})
	there := notes(t, s)
	for k := range n {
		if there[k] != (k != 7) || (errs[k] == nil) != (k != 7) {
			t.Errorf("writer %d: recorded %v, error %v", k, there[k], errs[k])
		}
	}
}

// A writer whose caller has gone before its turn writes nothing, and does not
// hold its caller up.
func TestWriterWhoLeaves(t *testing.T) {
	s := open(t, databases[0].open(t))
	held, err := s.sql.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first := make(chan error, 1)
	go func() { first <- s.Transact(t.Context(), func(*Tx) error { return nil }) }()
	for begun := false; !begun; runtime.Gosched() {
		s.writing.mu.Lock()
		begun = s.writing.busy && len(s.writing.queue) == 0
		s.writing.mu.Unlock()
	}
	ctx, leave := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	leave(gone)
	if err := s.Transact(ctx, func(*Tx) error { t.Error("it was run"); return nil }); !errors.Is(err, gone) {
		t.Errorf("error %v", err)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-first; err != nil {
		t.Error(err)
	}
}
