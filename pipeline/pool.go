package pipeline

import (
	"context"
	"slices"
	"sync"
)

// pool lends things to parties in turn: whoever asks for many waits behind who
// has had fewer turns, and among the requests of one party the first comes
// first.
type pool[T any] struct {
	size int

	mu      sync.Mutex
	free    []T
	waiting []*request[T] // in order of arrival
	turns   map[string]uint64
	turn    uint64 // of the last that was served
}

// request waits for a thing.
type request[T any] struct {
	party string
	got   chan T // of one
}

func newPool[T any](things ...T) *pool[T] {
	return &pool[T]{size: len(things), free: things, turns: map[string]uint64{}}
}

// take waits for one of the things.
func (p *pool[T]) take(ctx context.Context, party string) (thing T, err error) {
	if ctx.Err() != nil {
		return thing, context.Cause(ctx)
	}
	r := &request[T]{party: party, got: make(chan T, 1)}
	p.mu.Lock()
	p.waiting = append(p.waiting, r)
	p.serve()
	p.mu.Unlock()
	select {
	case thing = <-r.got:
		return thing, nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	if i := slices.Index(p.waiting, r); i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
		p.mu.Unlock()
	} else { // it was served at this moment
		p.mu.Unlock()
		p.give(<-r.got)
	}
	return thing, context.Cause(ctx)
}

// give brings a thing back.
func (p *pool[T]) give(thing T) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, thing)
	p.serve()
}

// serve hands what is free to those whose turn it is.
func (p *pool[T]) serve() {
	for len(p.free) > 0 && len(p.waiting) > 0 {
		next := 0
		for i, r := range p.waiting {
			if p.turns[r.party] < p.turns[p.waiting[next].party] {
				next = i
			}
		}
		r := p.waiting[next]
		p.waiting = slices.Delete(p.waiting, next, next+1)
		p.turn++
		p.turns[r.party] = p.turn
		last := len(p.free) - 1
		r.got <- p.free[last]
		p.free = p.free[:last]
	}
	if len(p.waiting) == 0 && len(p.turns) > maxParties {
		clear(p.turns) // nobody waits, so nobody is wronged
	}
}

// maxParties bounds what is remembered of parties.
const maxParties = 1000

// idle is how many things nobody has.
func (p *pool[T]) idle() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.free)
}
