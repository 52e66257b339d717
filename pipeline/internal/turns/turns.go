// Package turns shares the processor among those for whom it works, so that
// one who sends a lot, or what takes long, leaves room for the others.
//
// Work is done in steps, each on one of a fixed number of places. Who is next is
// the party that has had least time on them, so that two who have always
// something to do get half of the places each, whatever they ask for and how
// often. A party that has had little for a while is served before all others,
// until it has caught up by [Credit]: a study of somebody who sends now and then
// does not wait behind a stream of others.
package turns

import (
	"context"
	"sync"
	"time"
)

// Credit is how far behind those who have had most a party can be, in time on a
// place. What it has not asked for beyond that is forgotten.
const Credit = 5 * time.Second

// Accounts say how long each party has had places, of one Places or several.
type Accounts struct {
	mu   sync.Mutex
	used map[string]time.Duration
	top  time.Duration // the most that any has used
}

// maxParties bounds what is remembered of parties between their turns.
const maxParties = 1000

// NewAccounts returns accounts in which nobody has used anything.
func NewAccounts() *Accounts { return &Accounts{used: map[string]time.Duration{}} }

// Charge counts time that a party has used elsewhere than on a place.
func (a *Accounts) Charge(party string, d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.charge(party, d)
}

// of is what a party has used, as far as it counts.
func (a *Accounts) of(party string) time.Duration { return max(a.used[party], a.top-Credit) }

func (a *Accounts) charge(party string, d time.Duration) {
	if d <= 0 {
		return
	}
	now := a.of(party) + d
	a.used[party] = now
	a.top = max(a.top, now)
	if len(a.used) <= maxParties {
		return
	}
	for p, used := range a.used {
		if used <= a.top-Credit {
			delete(a.used, p)
		}
	}
	if len(a.used) > maxParties { // then all have used nearly the same
		clear(a.used)
	}
}

// Work is what a place is taken for. Of one party's work the making of reports
// comes first: its study has waited for all the rest.
type Work int

// Kinds of work.
const (
	Analysing Work = iota
	Making         // the outputs of a complete study
	// Receiving may wait for a disk, so it has at most half of the places where
	// there is other work.
	Receiving
)

// Places are where the steps of all work are done. Its methods may be called
// from several goroutines.
type Places struct {
	accounts *Accounts // its lock is this one's too
	size     int
	taken    int
	busy     [3]int // places by work
	asked    int    // requests other than for receiving
	seq      uint64
	queues   map[string][]*request
}

// request waits for a place.
type request struct {
	work Work
	seq  uint64
	got  chan struct{}
}

// New makes places, whose time counts in the accounts.
func New(accounts *Accounts, size int) *Places {
	return &Places{accounts: accounts, size: max(size, 1), queues: map[string][]*request{}}
}

// Accounts are those that were given to New.
func (p *Places) Accounts() *Accounts { return p.accounts }

// Size is how many places there are.
func (p *Places) Size() int { return p.size }

// Idle is how many nobody has.
func (p *Places) Idle() int {
	p.accounts.mu.Lock()
	defer p.accounts.mu.Unlock()
	return p.size - p.taken
}

// Waiting is how many want a place and have none.
func (p *Places) Waiting() (n int) {
	p.accounts.mu.Lock()
	defer p.accounts.mu.Unlock()
	for _, queue := range p.queues {
		n += len(queue)
	}
	return n
}

// Take waits for a place. The caller gives it back with [Turn.Done] or
// [Turn.Leave] soon.
func (p *Places) Take(ctx context.Context, party string, work Work) (Turn, error) {
	if ctx.Err() != nil {
		return Turn{}, context.Cause(ctx)
	}
	r := &request{work: work, got: make(chan struct{}, 1)}
	p.accounts.mu.Lock()
	p.seq++
	r.seq = p.seq
	p.queues[party] = append(p.queues[party], r)
	if work != Receiving {
		p.asked++
	}
	p.serve()
	p.accounts.mu.Unlock()
	select {
	case <-r.got:
		return Turn{p, party, work, time.Now()}, nil
	case <-ctx.Done():
	}
	p.accounts.mu.Lock()
	defer p.accounts.mu.Unlock()
	if !p.drop(party, r) { // it was served at this moment
		p.free(r.work)
	}
	p.serve() // there may be room for another
	return Turn{}, context.Cause(ctx)
}

// Turn is a place that somebody has.
type Turn struct {
	places *Places
	party  string
	work   Work
	since  time.Time
}

// Done gives the place back and counts the time since it was taken.
func (t Turn) Done() { t.end(time.Since(t.since)) }

// Leave gives the place back without counting anything.
func (t Turn) Leave() { t.end(0) }

func (t Turn) end(used time.Duration) {
	p := t.places
	p.accounts.mu.Lock()
	defer p.accounts.mu.Unlock()
	p.accounts.charge(t.party, used)
	p.free(t.work)
	p.serve()
}

func (p *Places) free(w Work) {
	p.taken--
	p.busy[w]--
}

// drop takes a request out of its queue, if it is there.
func (p *Places) drop(party string, r *request) bool {
	queue := p.queues[party]
	for i := range queue {
		if queue[i] != r {
			continue
		}
		if len(queue) == 1 {
			delete(p.queues, party)
		} else {
			p.queues[party] = append(queue[:i:i], queue[i+1:]...)
		}
		if r.work != Receiving {
			p.asked--
		}
		return true
	}
	return false
}

// serve hands what is free to those whose turn it is.
func (p *Places) serve() {
	for p.taken < p.size {
		party, r := p.next()
		if r == nil {
			return
		}
		p.drop(party, r)
		p.taken++
		p.busy[r.work]++
		r.got <- struct{}{}
	}
}

// next is whose turn it is, nil if nobody may have a place now.
func (p *Places) next() (party string, first *request) {
	var least time.Duration
	for name, queue := range p.queues {
		r := p.firstOf(queue)
		if r == nil {
			continue
		}
		used := p.accounts.of(name)
		if first == nil || used < least || used == least && r.seq < first.seq {
			party, first, least = name, r, used
		}
	}
	return party, first
}

// firstOf is which of one party's requests is served first.
func (p *Places) firstOf(queue []*request) (first *request) {
	noReceiving := p.asked+p.taken-p.busy[Receiving] > 0 && p.busy[Receiving] >= max(p.size/2, 1)
	for _, r := range queue {
		switch {
		case r.work == Making:
			return r
		case first == nil && !(r.work == Receiving && noReceiving):
			first = r
		}
	}
	return first
}
