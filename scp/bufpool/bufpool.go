// Package bufpool lends the buffers that objects pass through on their way from
// a connection to a file.
package bufpool

import (
	"sync"
	"sync/atomic"
)

const (
	Large    = 256 << 10 // bytes
	Small    = 32 << 10  // bytes
	MaxLarge = 64        // large buffers lent at a time
)

// Pool lends large buffers to the first MaxLarge borrowers and small ones to
// those beyond, so that a thousand peers sending at once take tens of megabytes
// and not hundreds. The zero value is ready for use.
type Pool struct {
	large, small sync.Pool
	lent         atomic.Int32 // large buffers
}

// Get lends a buffer of Large or Small bytes with any content.
func (p *Pool) Get() []byte {
	pool, size := &p.large, Large
	if p.lent.Add(1) > MaxLarge {
		p.lent.Add(-1)
		pool, size = &p.small, Small
	}
	if b, ok := pool.Get().(*[]byte); ok {
		return *b
	}
	return make([]byte, size)
}

// Put takes a buffer of Get back.
func (p *Pool) Put(b []byte) {
	if len(b) == Large {
		p.lent.Add(-1)
		p.large.Put(&b)
	} else {
		p.small.Put(&b)
	}
}

// LargeLent is the number of large buffers that are lent.
func (p *Pool) LargeLent() int { return int(p.lent.Load()) }
