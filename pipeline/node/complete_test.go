package node

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/echonode/echonode/conformance/postgres"
	"github.com/echonode/echonode/pipeline/store"
)

// What goes wrong again and again is said once a minute, and nothing else is
// kept back by it.
func TestComplaintsAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		log := slog.New(slog.NewTextHandler(&said, nil))
		var c Complaints
		for _, step := range []struct {
			after time.Duration
			what  string
			lines int // so far
		}{
			{0, "database", 1}, {time.Second, "database", 1}, {0, "loops", 2}, {58 * time.Second, "database", 2}, {time.Second, "database", 3},
			{59 * time.Second, "database", 3}, {0, "loops", 4},
		} {
			time.Sleep(step.after) // of the bubble's clock
			c.Log(log, step.what, errors.New("away"))
			if got := strings.Count(said.String(), "\n"); got != step.lines {
				t.Errorf("%q: %d lines, want %d", step.what, got, step.lines)
			}
		}
	})
}

// A study that an association of another process sends for is not complete: it
// waits the idle time after that process has said that the association is over.
func TestOthersAreHeard(t *testing.T) {
	server := postgres.Start(t)
	database := postgres.WithPassword(server.Create(t))
	ctx := t.Context()
	c := &clock{time.Now()}
	process := func(id string) *Node {
		st, err := store.Open(ctx, database)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := st.Close(); err != nil {
				t.Error(err)
			}
		})
		if err := st.Enter(ctx, store.Process{ID: id, Seat: id, Started: c.at}); err != nil {
			t.Fatal(err)
		}
		n := &Node{store: st, arrivals: newArrivals(time.Minute, time.Hour)}
		n.arrivals.now = c.now
		return n
	}
	receiver, other := process("receiver"), process("other")
	s := receiving("1.2", c.at.Round(0))
	expect := func(want string) {
		t.Helper()
		if err := other.hearOthers(ctx, []store.Study{s}); err != nil {
			t.Fatal(err)
		}
		if got := other.arrivals.complete(s); got != want {
			t.Errorf("complete because of %q, want %q", got, want)
		}
	}
	receiver.arrivals.received("1.2", 7)
	if err := receiver.tellOthers(ctx); err != nil {
		t.Fatal(err)
	}
	expect("")
	c.pass(2 * time.Minute)
	expect("")
	receiver.arrivals.ended(7)
	c.pass(2 * time.Minute)
	expect("") // it has not said so yet
	receiver.untold.Store(true)
	if err := receiver.hearOthers(ctx, nil); err != nil || receiver.untold.Load() {
		t.Fatal("the end was not told", err)
	}
	c.pass(time.Minute - 1)
	expect("")
	c.pass(1)
	expect("idle")

	// What could not be told is told at the next look.
	if err := receiver.store.Close(); err != nil {
		t.Fatal(err)
	}
	receiver.untold.Store(true)
	if err := receiver.hearOthers(ctx, nil); err == nil || !receiver.untold.Load() {
		t.Errorf("told without a database: %v", err)
	}
}

// Studies are kept for ever unless a time is set, for those that are done and
// those that failed apart.
func TestWhatMayBeRemoved(t *testing.T) {
	now := time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		opt  Options
		want store.Retention
	}{
		{Options{}, store.Retention{}},
		{Options{Retention: 24 * time.Hour}, store.Retention{Done: now.AddDate(0, 0, -1)}},
		{Options{RetentionFailed: 48 * time.Hour}, store.Retention{Failed: now.AddDate(0, 0, -2)}},
	} {
		if got := (&Node{opt: tt.opt}).retention(now); got != tt.want {
			t.Errorf("%v and %v: %+v, want %+v", tt.opt.Retention, tt.opt.RetentionFailed, got, tt.want)
		}
	}
	for wait, want := range map[time.Duration]time.Duration{time.Minute: time.Hour + reportDelay, 2 * time.Hour: 2*time.Hour + reportDelay} {
		if got := (&Node{opt: Options{RetryMax: wait}}).longestWait(); got != want {
			t.Errorf("attempts at most %v apart: a job waits at most %v, want %v", wait, got, want)
		}
	}
}
