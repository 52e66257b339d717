package store

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// Locks make what concerns a name happen one after the other, in all processes
// that use the store: a name has a lock, which it may share with others. In
// PostgreSQL they are advisory locks of one connection of the process, so that
// they end with it; what happens under them must be harmless when the
// connection is lost meanwhile and somebody else goes on.
type Locks struct {
	store *Store
	space int32
	mu    [256]chan struct{} // full while it is held
}

// NewLocks are locks that have nothing to do with those of another space.
func (s *Store) NewLocks(space int32) *Locks {
	l := &Locks{store: s, space: space}
	for i := range l.mu {
		l.mu[i] = make(chan struct{}, 1)
	}
	return l
}

// Lock locks names until the returned function is called. It waits for others
// no longer than ctx; the error is that, or the database's.
func (l *Locks) Lock(ctx context.Context, names ...string) (unlock func(), err error) {
	var held [len(l.mu)]bool
	keys := make([]int32, len(names))
	for i, name := range names {
		h := fnv.New32a()
		_, _ = h.Write([]byte(name)) // never fails
		keys[i] = int32(h.Sum32())
		held[h.Sum32()%uint32(len(l.mu))] = true
	}
	unlock = func() {
		for i := range l.mu {
			if held[i] {
				<-l.mu[i]
			}
		}
	}
	for i := range l.mu { // in one order, so that nobody waits for each other
		if !held[i] {
			continue
		}
		select {
		case l.mu[i] <- struct{}{}:
		case <-ctx.Done():
			clear(held[i:]) // those that were not taken
			unlock()
			return nil, fmt.Errorf("lock: %w", ctx.Err())
		}
	}
	if !l.store.Shared() {
		return unlock, nil
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	release, err := l.advisory(ctx, keys)
	if err != nil {
		unlock()
		return nil, fmt.Errorf("lock: %w", err)
	}
	local := unlock
	return func() { release(); local() }, nil
}

// lockConn is the connection whose locks a process's are.
type lockConn struct {
	mu    sync.Mutex
	conn  *pgx.Conn
	times int64 // of connecting
}

// advisory takes all locks or none, until the returned function is called.
func (l *Locks) advisory(ctx context.Context, keys []int32) (func(), error) {
	for wait, lost := time.Millisecond, false; ; wait = min(2*wait, 50*time.Millisecond) {
		got, connection, err := l.try(ctx, keys)
		if err != nil && !lost && ctx.Err() == nil {
			lost = true // the connection was; there may be another
			continue
		}
		if err != nil {
			return nil, err
		}
		if got {
			return func() { l.release(connection, keys) }, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
		}
	}
}

func (l *Locks) try(ctx context.Context, keys []int32) (got bool, connection int64, err error) {
	c := &l.store.locks
	c.mu.Lock()
	defer c.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, postgresTimeout)
	defer cancel()
	if c.conn == nil {
		if c.conn, err = pgx.ConnectConfig(ctx, l.store.pool.Config().ConnConfig); err != nil {
			c.conn = nil
			return false, 0, err
		}
		c.times++
	}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	for i, key := range keys {
		var ok bool
		if err := c.conn.QueryRow(ctx, `SELECT pg_try_advisory_lock($1, $2)`, l.space, key).Scan(&ok); err != nil {
			return false, 0, err
		}
		if !ok {
			return false, 0, l.unlock(ctx, c, keys[:i])
		}
	}
	return true, c.times, nil
}

func (l *Locks) unlock(ctx context.Context, c *lockConn, keys []int32) error {
	for _, key := range keys {
		if _, err := c.conn.Exec(ctx, `SELECT pg_advisory_unlock($1, $2)`, l.space, key); err != nil {
			return err
		}
	}
	return nil
}

// release gives locks back, unless their connection is gone, and they with it.
func (l *Locks) release(connection int64, keys []int32) {
	c := &l.store.locks
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil || c.times != connection {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), postgresTimeout)
	defer cancel()
	if err := l.unlock(ctx, c, keys); err != nil {
		c.close() // which gives them back
	}
}

func (c *lockConn) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	conn := c.conn
	c.conn = nil
	_ = conn.Close(ctx) // it is broken already
}
