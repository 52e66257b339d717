// Package budget bounds what all inputs together make a process hold.
package budget

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/echonode/echonode/dicomio/internal/fault"
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
	index, frames, video Pool
}

// Pool is one part of the budget.
type Pool struct {
	size int64
	sem  *semaphore.Weighted
	used atomic.Int64
	peak atomic.Int64
}

// New makes a budget of so many bytes.
func New(bytes int64) *Memory {
	m := &Memory{}
	m.index.size, m.video.size = max(bytes/4, 1), max(bytes/4, 1)
	m.frames.size = max(bytes-m.index.size-m.video.size, 1)
	for _, p := range m.pools() {
		p.sem = semaphore.NewWeighted(p.size)
	}
	return m
}

func (m *Memory) pools() []*Pool { return []*Pool{&m.index, &m.frames, &m.video} }

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

// Lease is a part of a pool. Its zero value is none.
type Lease struct {
	p *Pool
	n int64
}

// Take waits for n bytes. The error wraps ErrLimit when the pool never has as
// much, ErrBusy after wait (0: none), or is that of ctx.
func (p *Pool) Take(ctx context.Context, n int64, wait time.Duration) (Lease, error) {
	if p == nil || n <= 0 {
		return Lease{}, nil
	}
	if n > p.size {
		return Lease{}, fmt.Errorf("%w: needs %d bytes of memory, %d are set aside", fault.ErrLimit, n, p.size)
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
				return Lease{}, ctx.Err()
			}
			return Lease{}, fmt.Errorf("%w: %d bytes not free after %v", ErrBusy, n, wait)
		}
	}
	used := p.used.Add(n)
	for peak := p.peak.Load(); used > peak && !p.peak.CompareAndSwap(peak, used); peak = p.peak.Load() {
	}
	return Lease{p, n}, nil
}

// Held reports whether the lease is of anything.
func (l *Lease) Held() bool { return l.n > 0 }

// Drop gives the lease back; a second call does nothing.
func (l *Lease) Drop() {
	if l.p != nil {
		l.p.used.Add(-l.n)
		l.p.sem.Release(l.n)
		*l = Lease{}
	}
}

// Size is what the pool has in bytes.
func (p *Pool) Size() int64 { return p.size }

// InUse is what is held of it now, in bytes.
func (p *Pool) InUse() int64 { return p.used.Load() }

// Indexes is the part for the indexes of data sets; nil of a nil budget.
func (m *Memory) Indexes() *Pool {
	if m == nil {
		return nil
	}
	return &m.index
}

// Frames is the part for frames while they are decoded; nil of a nil budget.
func (m *Memory) Frames() *Pool {
	if m == nil {
		return nil
	}
	return &m.frames
}

// Video is the part for processes that decode video; nil of a nil budget.
func (m *Memory) Video() *Pool {
	if m == nil {
		return nil
	}
	return &m.video
}
