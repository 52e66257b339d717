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
// A quarter is for indexes, held from opening to File.Close; a quarter for the
// processes that decode video, from File.Frames to File.Close; the rest for
// other frames, each held while it is decoded. Who holds memory for a frame
// waits for nothing, who waits for a video decoder holds an index at most, and
// who waits for an index does so for a bounded time: so waiting ends.
type Memory struct {
	index, frames, video pool
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
	m.index.size, m.video.size = max(bytes/4, 1), max(bytes/4, 1)
	m.frames.size = max(bytes-m.index.size-m.video.size, 1)
	for _, p := range m.pools() {
		p.sem = semaphore.NewWeighted(p.size)
	}
	return m
}

func (m *Memory) pools() []*pool { return []*pool{&m.index, &m.frames, &m.video} }

// Total is the whole budget in bytes.
func (m *Memory) Total() (n int64) {
	for _, p := range m.pools() {
		n += p.size
	}
	return n
}

// InUse is what is held now, in bytes.
func (m *Memory) InUse() (n int64) {
	for _, p := range m.pools() {
		n += p.used.Load()
	}
	return n
}

// Peak is the sum of the most that each part held.
func (m *Memory) Peak() (n int64) {
	for _, p := range m.pools() {
		n += p.peak.Load()
	}
	return n
}

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

// indexes, frameWork and videoWork are the parts of a budget that may be nil.
func (m *Memory) indexes() *pool {
	if m == nil {
		return nil
	}
	return &m.index
}

func (m *Memory) frameWork() *pool {
	if m == nil {
		return nil
	}
	return &m.frames
}

func (m *Memory) videoWork() *pool {
	if m == nil {
		return nil
	}
	return &m.video
}
