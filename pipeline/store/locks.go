package store

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
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

// lockConn is the connection whose locks a process's are. Nobody's impatience
// ends it: the server is asked under a context of its own.
type lockConn struct {
	busy  chan struct{} // full while somebody uses the rest; so who waits for it can leave
	conn  *pgx.Conn
	times int64 // of connecting
}

func newLockConn() lockConn { return lockConn{busy: make(chan struct{}, 1)} }

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

// answered is what the server said, and in which connection.
type answered struct {
	got        bool
	connection int64
	err        error
}

// try asks for the locks once. Who leaves meanwhile leaves nothing behind: what
// is got afterwards is given back.
func (l *Locks) try(ctx context.Context, keys []int32) (got bool, connection int64, err error) {
	if ctx.Err() != nil {
		return false, 0, ctx.Err()
	}
	c := &l.store.locks
	select {
	case c.busy <- struct{}{}:
	case <-ctx.Done():
		return false, 0, ctx.Err()
	}
	answer := make(chan answered) // somebody takes it, or has left
	go func() {
		a := l.ask(context.WithoutCancel(ctx), keys)
		<-c.busy
		select {
		case answer <- a:
		case <-ctx.Done():
			if a.got {
				l.release(a.connection, keys)
			}
		}
	}()
	select {
	case a := <-answer:
		return a.got, a.connection, a.err
	case <-ctx.Done():
		return false, 0, ctx.Err()
	}
}

// ask takes all locks or none. All that the process holds goes only with a
// connection that is broken, or that keeps what it should have given back.
func (l *Locks) ask(ctx context.Context, keys []int32) answered {
	c := &l.store.locks
	ctx, cancel := context.WithTimeout(ctx, postgresTimeout)
	defer cancel()
	if c.conn == nil {
		conn, err := pgx.ConnectConfig(ctx, l.store.pool.Config().ConnConfig)
		if err != nil {
			return answered{err: err}
		}
		c.conn = conn
		c.times++
	}
	var taken int
	if err := c.conn.QueryRow(ctx, takeLocks, l.space, keys).Scan(&taken); err != nil {
		return answered{err: errors.Join(err, l.unlock(ctx, c, keys))}
	}
	if taken < len(keys) {
		return answered{err: l.unlock(ctx, c, keys[:taken])}
	}
	return answered{got: true, connection: c.times}
}

// takeLocks takes locks in their order, up to the first that somebody else has,
// so that of two who want the same ones one gets them. What it has taken is not
// given back where it fails.
const takeLocks = `WITH RECURSIVE taking(i, got) AS (
		SELECT 0, true
		UNION ALL
		SELECT i + 1, pg_try_advisory_lock($1::int, ($2::int[])[i + 1]) FROM taking WHERE got AND i < cardinality($2::int[]))
	SELECT count(*) FILTER (WHERE got) - 1 FROM taking`

// unlock gives locks back, those of keys that are held, or the connection is
// closed, if it isn't already.
func (l *Locks) unlock(ctx context.Context, c *lockConn, keys []int32) error {
	var err error
	if !c.conn.IsClosed() && len(keys) > 0 {
		_, err = c.conn.Exec(ctx, `SELECT pg_advisory_unlock($1::int, key) FROM unnest($2::int[]) AS key`, l.space, keys)
	}
	if err != nil || c.conn.IsClosed() {
		c.close()
	}
	return err
}

// release gives locks back, unless their connection is gone, and they with it.
func (l *Locks) release(connection int64, keys []int32) {
	c := &l.store.locks
	c.busy <- struct{}{}
	defer func() { <-c.busy }()
	if c.conn == nil || c.times != connection {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), postgresTimeout)
	defer cancel()
	_ = l.unlock(ctx, c, keys) // what cannot be given back ends with the connection
}

func (c *lockConn) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	conn := c.conn
	c.conn = nil
	_ = conn.Close(ctx) // it is broken already
}
