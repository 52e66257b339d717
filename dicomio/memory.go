package dicomio

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

// ErrBusy: the memory budget is held by other inputs, for longer than this one
// may wait. The input is not at fault; trying again later helps.
var ErrBusy = errors.New("memory budget in use")

// Memory is one budget for what all inputs together make a process hold: the
// indexes of their data sets and the frames that are being decoded, the
// codecs' own work space included. Inputs share it by Limits.Memory. An input
// that alone is over its part is refused (ErrLimit), others wait their turn.
//
// A quarter is for indexes, held from opening to File.Close; the rest is for
// frames, held while one is decoded. Who waits for a frame may hold an index,
// who waits for an index holds nothing, so waiting ends.
type Memory struct {
	index, frames pool
}

// pool is one part of the budget.
type pool struct {
	size int64
	sem  *semaphore.Weighted
	used atomic.Int64
	peak atomic.Int64
}

// indexShare is the part of all indexes that one may take: an input can be
// opened while another one is open.
const indexShare = 2

// indexWait is how long an input waits for others to be closed. It is bounded
// because a caller may keep several inputs open.
const indexWait = time.Minute

// NewMemory makes a budget of so many bytes.
func NewMemory(bytes int64) *Memory {
	m := &Memory{}
	m.index.size = max(bytes/4, 1)
	m.frames.size = max(bytes-m.index.size, 1)
	m.index.sem, m.frames.sem = semaphore.NewWeighted(m.index.size), semaphore.NewWeighted(m.frames.size)
	return m
}

// Total is the whole budget in bytes, InUse what is held now, Peak the most
// that was held by indexes and by frames, added.
func (m *Memory) Total() int64 { return m.index.size + m.frames.size }

// InUse is what is held now, in bytes.
func (m *Memory) InUse() int64 { return m.index.used.Load() + m.frames.used.Load() }

// Peak is the most that was held by indexes plus the most held by frames.
func (m *Memory) Peak() int64 { return m.index.peak.Load() + m.frames.peak.Load() }

// lease is a part of a pool. Its zero value is none.
type lease struct {
	p *pool
	n int64
}

// take waits for n bytes. The error wraps ErrLimit when the pool never has as
// much, ErrBusy after wait (0: none), or is that of ctx.
func (p *pool) take(ctx context.Context, n int64, wait time.Duration) (lease, error) {
	if p == nil || n <= 0 {
		return lease{}, nil
	}
	if n > p.size {
		return lease{}, fmt.Errorf("%w: needs %d bytes of memory, %d are set aside", ErrLimit, n, p.size)
	}
	if !p.sem.TryAcquire(n) {
		bounded := ctx
		if wait > 0 {
			var cancel context.CancelFunc
			bounded, cancel = context.WithTimeout(ctx, wait)
			defer cancel()
		}
		if err := p.sem.Acquire(bounded, n); err != nil {
			if ctx.Err() != nil {
				return lease{}, ctx.Err()
			}
			return lease{}, fmt.Errorf("%w: %d bytes not free after %v", ErrBusy, n, wait)
		}
	}
	used := p.used.Add(n)
	for peak := p.peak.Load(); used > peak && !p.peak.CompareAndSwap(peak, used); peak = p.peak.Load() {
	}
	return lease{p, n}, nil
}

// drop gives the lease back; a second call does nothing.
func (l *lease) drop() {
	if l.p != nil {
		l.p.used.Add(-l.n)
		l.p.sem.Release(l.n)
		*l = lease{}
	}
}

// indexes and framesPool are the parts of a budget that may be nil.
func (m *Memory) indexes() *pool {
	if m == nil {
		return nil
	}
	return &m.index
}

func (m *Memory) framesPool() *pool {
	if m == nil {
		return nil
	}
	return &m.frames
}
