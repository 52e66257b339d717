package node

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/echonode/echonode/pipeline/store"
)

// clock is a monotonic clock that a test moves.
type clock struct{ at time.Time }

func (c *clock) now() time.Time       { return c.at }
func (c *clock) pass(d time.Duration) { c.at = c.at.Add(d) }
func receiving(uid string, first time.Time) store.Study {
	return store.Study{StudyInstanceUID: uid, First: first, Last: first}
}

func TestStudyIsComplete(t *testing.T) {
	begin := func() (*arrivals, *clock) {
		c := &clock{time.Now()}
		a := newArrivals(time.Minute, time.Hour)
		a.now = c.now
		return a, c
	}
	expect := func(t *testing.T, a *arrivals, s store.Study, want string) {
		t.Helper()
		if got := a.complete(s); got != want {
			t.Errorf("complete because of %q, want %q", got, want)
		}
	}
	t.Run("silence after the association", func(t *testing.T) {
		a, c := begin()
		s := receiving("1", c.at.Round(0))
		a.received("1", 7)
		c.pass(10 * time.Minute)
		expect(t, a, s, "") // its association is open
		a.ended(7)
		c.pass(59 * time.Second)
		expect(t, a, s, "")
		c.pass(2 * time.Second)
		expect(t, a, s, "idle")
	})
	t.Run("cap", func(t *testing.T) {
		a, c := begin()
		s := receiving("1", c.at.Round(0))
		a.received("1", 7)
		c.pass(59 * time.Minute)
		expect(t, a, s, "")
		c.pass(2 * time.Minute)
		expect(t, a, s, "cap")
	})
	t.Run("the association goes on with other studies", func(t *testing.T) {
		a, c := begin()
		s := receiving("1", c.at.Round(0))
		a.received("1", 7)
		for i := range 7 {
			c.pass(10 * time.Second)
			a.received(fmt.Sprint("2.", i), 7)
		}
		expect(t, a, s, "idle")
		expect(t, a, receiving("2.6", c.at.Round(0)), "")
	})
	// What the database says of the time of day does not keep a study.
	for name, off := range map[string]time.Duration{"clock was a day ahead": 24 * time.Hour, "clock was set back": 2 * time.Hour,
		"clock was a day behind": -24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			a, c := begin()
			s := receiving("1", c.at.Round(0).Add(off))
			expect(t, a, s, "") // first look, after a restart
			c.pass(61 * time.Second)
			if got := a.complete(s); got == "" {
				t.Error("a study waits for the time of day")
			}
		})
	}
	t.Run("to the very end of a wait", func(t *testing.T) {
		a, c := begin()
		s := receiving("1", c.at.Round(0))
		a.received("1", 7)
		a.ended(7)
		c.pass(time.Minute - 1)
		expect(t, a, s, "")
		c.pass(1)
		expect(t, a, s, "idle")
		a.received("1", 8)
		c.pass(59*time.Minute - 1)
		expect(t, a, s, "")
		c.pass(1)
		expect(t, a, s, "cap")
	})
	// By another machine's clock it came an hour ago, or before a restart.
	t.Run("the cap goes by this process's clock alone", func(t *testing.T) {
		a, c := begin()
		s := receiving("1", c.at.Round(0).Add(-time.Hour))
		a.received("1", 7)
		c.pass(time.Hour - 1)
		expect(t, a, s, "")
		c.pass(1)
		expect(t, a, s, "cap")
	})
	t.Run("two associations", func(t *testing.T) {
		a, c := begin()
		s := receiving("1", c.at.Round(0))
		for i, step := range []struct {
			study       string
			association uint64
			first       bool
		}{{"1", 7, true}, {"1", 7, false}, {"1", 8, true}, {"2", 7, true}, {"1", 7, true}} {
			if got := a.received(step.study, step.association); got != step.first {
				t.Errorf("object %d is the first of its association: %v", i, got)
			}
		}
		if got := a.associations(); !maps.Equal(got, map[uint64]string{7: "1", 8: "1"}) {
			t.Errorf("associations send for %v", got)
		}
		a.ended(7)
		a.ended(7) // over is over
		a.ended(9) // sent nothing
		c.pass(time.Minute)
		expect(t, a, s, "") // the other is open
		a.ended(8)
		expect(t, a, s, "")
		c.pass(time.Minute)
		expect(t, a, s, "idle")
	})
	t.Run("what other processes receive", func(t *testing.T) {
		a, c := begin()
		touched := c.at.Round(0)
		s := receiving("1", touched)
		look := func(after time.Duration, senders int, last time.Time, want string) {
			t.Helper()
			c.pass(after)
			a.elsewhere("1", senders, last)
			expect(t, a, s, want)
		}
		look(0, 0, touched, "")
		look(40*time.Second, 1, touched, "") // an association there
		look(59*time.Second, 0, touched, "")
		look(time.Second, 0, touched, "idle")
		look(0, 0, touched.Add(time.Second), "") // an object came there
		look(59*time.Second, 0, touched.Add(time.Second), "")
		look(time.Second, 0, touched.Add(time.Second), "idle")
	})
	t.Run("queued with an open association", func(t *testing.T) {
		a, c := begin()
		a.received("1", 7)
		c.pass(time.Hour)
		s := receiving("1", c.at.Round(0))
		expect(t, a, s, "cap")
		a.queued("1")
		s.First = c.at.Round(0)
		expect(t, a, s, "") // a new round
		c.pass(time.Hour)
		expect(t, a, s, "cap")
	})
	t.Run("forgotten is what is neither received nor sent for", func(t *testing.T) {
		a, c := begin()
		for i, uid := range []string{"listed", "over", "sent"} {
			a.received(uid, uint64(i))
		}
		a.ended(0)
		a.ended(1)
		c.pass(time.Minute)
		a.received("new", 9)
		a.ended(9)
		for _, want := range []string{"[listed new over sent]", "[listed new sent]"} { // at the idle time, and after it
			a.forget([]store.Study{receiving("listed", c.at)})
			if got := fmt.Sprint(slices.Sorted(maps.Keys(a.studies))); got != want {
				t.Errorf("known are %s, want %s", got, want)
			}
			c.pass(1)
		}
	})
	t.Run("nothing is left of what is over", func(t *testing.T) {
		a, c := begin()
		for i := range 100 {
			uid := fmt.Sprint("1.", i)
			a.received(uid, uint64(i))
			a.ended(uint64(i))
			if i%2 == 0 {
				a.queued(uid)
			}
		}
		c.pass(2 * time.Minute)
		a.forget(nil)
		if len(a.studies) != 0 || len(a.sending) != 0 {
			t.Errorf("%d studies, %d associations are remembered", len(a.studies), len(a.sending))
		}
	})
}
