package pipeline

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
)

// Parties take turns, whoever asks first or most often.
func TestPoolTakesTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(1)
		thing, err := p.take(t.Context(), "much")
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var served []string
		ask := func(party string) {
			go func() {
				thing, err := p.take(t.Context(), party)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				served = append(served, party)
				mu.Unlock()
				p.give(thing)
			}()
			synctest.Wait()
		}
		for range 5 {
			ask("much")
		}
		for range 3 {
			ask("little")
		}
		ask("once")
		p.give(thing)
		synctest.Wait()
		// Each has its turn as often as it has something to ask for.
		if want := []string{"little", "once", "much", "little", "much", "little", "much", "much", "much"}; !slices.Equal(served, want) {
			t.Errorf("served %v, want %v", served, want)
		}
		if p.idle() != 1 {
			t.Error("a thing is lost")
		}
	})
}

// Who leaves takes nothing along.
func TestPoolLosesNothing(t *testing.T) {
	p := newPool(1, 2, 3)
	var group sync.WaitGroup
	for k := range 200 {
		group.Go(func() {
			ctx, leave := context.WithCancel(t.Context())
			if k%3 == 0 {
				go leave()
			}
			defer leave()
			thing, err := p.take(ctx, string(rune('a'+k%7)))
			if err != nil {
				if !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				return
			}
			p.give(thing)
		})
	}
	group.Wait()
	if p.idle() != 3 || len(p.waiting) != 0 {
		t.Errorf("%d things, %d waiting", p.idle(), len(p.waiting))
	}
}
