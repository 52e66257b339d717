package spool

import (
	"sync"
	"sync/atomic"
)

const (
	largeBuffer = 256 << 10
	smallBuffer = 64 << 10
	maxLarge    = 64 // large buffers at a time
)

// bufferPool lends a buffer to each object that is arriving: a large one to the
// first maxLarge of them, a small one beyond, so that a thousand at once take
// tens of megabytes and not hundreds.
type bufferPool struct {
	large, small sync.Pool
	inUse        atomic.Int32 // large buffers lent
}

func (p *bufferPool) get() []byte {
	pool, size := &p.large, largeBuffer
	if p.inUse.Add(1) > maxLarge {
		p.inUse.Add(-1)
		pool, size = &p.small, smallBuffer
	}
	if b, ok := pool.Get().(*[]byte); ok {
		return *b
	}
	return make([]byte, size)
}

func (p *bufferPool) put(b []byte) {
	if len(b) == largeBuffer {
		p.inUse.Add(-1)
		p.large.Put(&b)
	} else {
		p.small.Put(&b)
	}
}
