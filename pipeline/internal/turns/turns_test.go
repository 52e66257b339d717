package turns

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// crowd asks for places in the order of its calls, and notes who is served.
type crowd struct {
	t      *testing.T
	p      *Places
	mu     sync.Mutex
	served []string
}

// ask waits for a place and has it for a time.
func (c *crowd) ask(party string, work Work, d time.Duration) {
	go func() {
		turn, err := c.p.Take(c.t.Context(), party, work)
		if err != nil {
			c.t.Error(err)
			return
		}
		c.mu.Lock()
		c.served = append(c.served, party)
		c.mu.Unlock()
		time.Sleep(d)
		turn.Done()
	}()
	synctest.Wait()
}

func (c *crowd) want(want ...string) {
	c.t.Helper()
	time.Sleep(time.Hour)
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Equal(c.served, want) {
		c.t.Errorf("served %v, want %v", c.served, want)
	}
	if c.p.Idle() != c.p.Size() {
		c.t.Errorf("%d of %d places are free", c.p.Idle(), c.p.Size())
	}
}

// Who has had least is next, whoever asks first or most often.
func TestLeastUsedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &crowd{t: t, p: New(NewAccounts(), 1)}
		for range 4 {
			c.ask("much", Analysing, time.Second)
		}
		for range 3 {
			c.ask("little", Analysing, time.Second)
		}
		// The first has begun before the others asked.
		c.want("much", "little", "much", "little", "much", "little", "much")
	})
}

// Time counts, not turns: one whose steps are short has more of them.
func TestTimeCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &crowd{t: t, p: New(NewAccounts(), 1)}
		for range 2 {
			c.ask("slow", Analysing, 3*time.Second)
		}
		for range 5 {
			c.ask("quick", Analysing, time.Second)
		}
		c.want("slow", "quick", "quick", "quick", "slow", "quick", "quick")
	})
}

// Whoever comes after a stream of others is served first until it has caught up
// by Credit, and from then on gets its half: what it has not used before that
// gives it nothing.
func TestCreditIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := NewAccounts()
		a.Charge("stream", time.Hour)
		c := &crowd{t: t, p: New(a, 1)}
		const step = Credit / 2
		for range 4 {
			c.ask("stream", Analysing, step)
		}
		for range 6 {
			c.ask("newcomer", Analysing, step)
		}
		// It begins Credit behind, the first of the stream having made that
		// half a Credit more.
		c.want("stream", "newcomer", "newcomer", "stream", "newcomer", "stream", "newcomer", "stream", "newcomer", "newcomer")
	})
}

// The report of a party's study goes before its other work, but not before
// another party's.
func TestMakingFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := NewAccounts()
		a.Charge("rich", time.Second)
		c := &crowd{t: t, p: New(a, 1)}
		c.ask("rich", Analysing, time.Second)
		c.ask("rich", Receiving, 0)
		c.ask("rich", Making, 0)
		c.ask("poor", Analysing, 0)
		a.mu.Lock()
		var kinds []Work
		for _, r := range c.p.queues["rich"] {
			kinds = append(kinds, r.work)
		}
		first := c.p.firstOf(c.p.queues["rich"]).work
		a.mu.Unlock()
		if !slices.Equal(kinds, []Work{Receiving, Making}) || first != Making {
			t.Errorf("queue %v, first %v", kinds, first)
		}
		c.want("rich", "poor", "rich", "rich")
	})
}

// Receiving has all places while there is nothing else, and half of them as soon
// as there is: the others stay for what does not wait for a disk.
func TestReceivingLeavesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &crowd{t: t, p: New(NewAccounts(), 4)}
		for range 8 {
			c.ask("a", Receiving, time.Second)
		}
		busy := func() [3]int {
			c.p.accounts.mu.Lock()
			defer c.p.accounts.mu.Unlock()
			return c.p.busy
		}
		if n := busy()[Receiving]; n != 4 {
			t.Errorf("%d places are used for receiving alone", n)
		}
		for range 3 {
			c.ask("b", Analysing, 10*time.Second)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if b := busy(); b[Receiving] != 1 || b[Analysing] != 3 {
			t.Errorf("%d places for receiving, %d for analysis", b[Receiving], b[Analysing])
		}
		c.mu.Lock()
		slices.Sort(c.served[4:]) // those of one instant are noted in any order
		c.mu.Unlock()
		c.want("a", "a", "a", "a", "a", "b", "b", "b", "a", "a", "a")
	})
}

// Who leaves takes nothing along.
func TestNothingIsLost(t *testing.T) {
	p := New(NewAccounts(), 3)
	var group sync.WaitGroup
	for k := range 200 {
		group.Go(func() {
			ctx, leave := context.WithCancel(With(t.Context(), p, string(rune('a'+k%7)), Work(k%3)))
			if k%3 == 0 {
				go leave()
			}
			defer leave()
			steps := Begin(ctx)
			defer steps.End()
			for range 3 {
				if err := steps.Next(ctx); err != nil {
					if !errors.Is(err, context.Canceled) {
						t.Error(err)
					}
					return
				}
			}
		})
	}
	group.Wait()
	if p.Idle() != 3 || len(p.queues) != 0 || p.asked != 0 || p.busy != [3]int{} {
		t.Errorf("%d idle, %d queues, %d asked, busy %v", p.Idle(), len(p.queues), p.asked, p.busy)
	}
}

// What is remembered is bounded, whoever comes.
func TestAccountsAreBounded(t *testing.T) {
	a := NewAccounts()
	for i := range 10 * maxParties {
		a.Charge(time.Duration(i).String(), time.Second)
	}
	if len(a.used) > maxParties {
		t.Errorf("%d parties are remembered", len(a.used))
	}
	a.Charge("one", 20*Credit)
	for i := range 2 * maxParties {
		a.Charge(time.Duration(i).String(), time.Millisecond)
	}
	if len(a.used) > maxParties || a.top != a.of("one") && a.of("one") < a.top-Credit {
		t.Errorf("%d parties, top %v, one %v", len(a.used), a.top, a.of("one"))
	}
}

// Without places nobody waits, but a context that has ended is heard of.
func TestNoPlaces(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := Begin(ctx)
	if err := s.Next(ctx); err != nil {
		t.Error(err)
	}
	s.End()
	cancel()
	if err := s.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v", err)
	}
}
