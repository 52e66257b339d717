package node

import (
	"fmt"
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
