package jobs

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/echonode/echonode/conformance/postgres"
	"github.com/echonode/echonode/pipeline/store"
	"github.com/echonode/echonode/scp"
)

// book notes what handlers are asked for, and answers as it is told.
type book struct {
	mu     sync.Mutex
	done   []string
	tries  []int
	answer func(j Job) error
	died   []string
}

func (b *book) note(what string, j Job) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done, b.tries = append(b.done, what), append(b.tries, j.Attempt)
	if b.answer != nil {
		return b.answer(j)
	}
	return nil
}

func (b *book) notes() ([]string, []int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.done), slices.Clone(b.tries)
}

func (b *book) handlers() Handlers {
	return Handlers{
		Combine: func(_ context.Context, j Job, study string, _ int) error { return b.note("combine "+study, j) },
		Deliver: func(_ context.Context, j Job, _ int64, to string) error { return b.note("deliver to "+to, j) },
		Report: func(_ context.Context, j Job, peer string, r *scp.CommitResult) error {
			return b.note("report "+r.TransactionUID+" to "+peer, j)
		},
		CombineDied: func(_ context.Context, study string, _ int) error {
			b.died = append(b.died, "combine "+study)
			return nil
		},
		DeliverDied: func(_ context.Context, _ int64, to string) error {
			b.died = append(b.died, "deliver to "+to)
			return nil
		},
	}
}

// databases are what the room has to work on; a test is skipped where one is
// not installed.
var databases = map[string]func(t testing.TB) string{
	"SQLite":     func(t testing.TB) string { return filepath.Join(t.TempDir(), "node.db") },
	"PostgreSQL": postgres.Database,
}

func TestMain(m *testing.M) { postgres.Main(m) }

// TestConformance is what the room has to do, whatever database it is in.
func TestConformance(t *testing.T) {
	for database, create := range databases {
		t.Run(database, func(t *testing.T) {
			for name, check := range map[string]func(*testing.T, func(testing.TB) string){
				"every kind reaches its handler": checkKinds, "attempts": checkAttempts, "recover": checkRecover,
				"due": checkDue, "far": checkRescheduleFar, "due by a clock ahead": checkDueByAClockAhead,
				"the sweep only reads": checkSweepOnlyReads, "due and without a job of its own": checkDueIsExact,
				"due at one moment": checkDueAtOneMoment,
			} {
				t.Run(name, func(t *testing.T) { check(t, create) })
			}
		})
	}
}

func open(t *testing.T, create func(testing.TB) string, b *book) (*Room, *store.Store) {
	t.Helper()
	st, err := store.Open(context.Background(), create(t))
	if err != nil {
		t.Fatal(err)
	}
	soon := func(int) time.Duration { return 10 * time.Millisecond }
	r, err := Open(st, Options{Destinations: []string{"pacs", "other"}, CombineAttempts: 3, DeliveryAttempts: 2, Longest: time.Minute,
		CombineWait: soon, DeliveryWait: soon},
		b.handlers(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return r, st
}

func run(t *testing.T, r *Room) {
	t.Helper()
	if err := r.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := r.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
}

// in calls f in a transaction.
func in(t *testing.T, st *store.Store, f func(tx *store.Tx) error) {
	t.Helper()
	if err := st.Transact(context.Background(), f); err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	const patience = 3 * time.Minute // on however slow a machine
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not within %v: %s", patience, what)
}

func checkKinds(t *testing.T, create func(testing.TB) string) {
	b := &book{}
	r, st := open(t, create, b)
	in(t, st, func(tx *store.Tx) error {
		return errors.Join(r.Combine(tx, "1.2", 1), r.Deliver(tx, 7, "pacs"), r.Deliver(tx, 7, "other"))
	})
	// What is rolled back was never asked for.
	undo := errors.New("undo")
	if err := st.Transact(context.Background(), func(tx *store.Tx) error { return errors.Join(r.Combine(tx, "9.9", 1), undo) }); !errors.Is(err, undo) {
		t.Fatal(err)
	}
	withdraw, err := r.Report(context.Background(), "CART", &scp.CommitResult{TransactionUID: "1.5"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	gone, err := r.Report(context.Background(), "CART", &scp.CommitResult{TransactionUID: "1.6"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := gone(context.Background()); err != nil {
		t.Fatal(err)
	}
	depths, err := r.Depths(context.Background())
	if err != nil || len(depths) != 4 {
		t.Errorf("%+v, %v: want one job in each of four queues", depths, err)
	}
	run(t, r)
	eventually(t, "four jobs", func() bool { done, _ := b.notes(); return len(done) == 4 })
	done, _ := b.notes()
	slices.Sort(done)
	if want := []string{"combine 1.2", "deliver to other", "deliver to pacs", "report 1.5 to CART"}; !slices.Equal(done, want) {
		t.Errorf("%v, want %v", done, want)
	}
	_ = withdraw // it is done
	eventually(t, "nothing left", func() bool { d, err := r.Depths(context.Background()); return err == nil && len(d) == 0 })
}

// An error is tried again as often as the kind allows, one that is cancelled is
// not, and what is put off does not count.
func checkAttempts(t *testing.T, create func(testing.TB) string) {
	for name, c := range map[string]struct {
		answer func(j Job) error
		tries  []int
	}{
		"errors":    {func(Job) error { return errors.New("down") }, []int{1, 2, 3}},
		"cancelled": {func(j Job) error { return Cancel(errors.New("never")) }, []int{1}},
		"last": {func(j Job) error {
			if j.Last() {
				return nil
			}
			return errors.New("down")
		}, []int{1, 2, 3}},
	} {
		t.Run(name, func(t *testing.T) {
			b := &book{answer: c.answer}
			r, st := open(t, create, b)
			run(t, r)
			in(t, st, func(tx *store.Tx) error { return r.Combine(tx, "1.2", 1) })
			eventually(t, "attempts", func() bool { _, tries := b.notes(); return len(tries) == len(c.tries) })
			eventually(t, "nothing left", func() bool { d, err := r.Depths(context.Background()); return err == nil && len(d) == 0 })
			if _, tries := b.notes(); !slices.Equal(tries, c.tries) {
				t.Errorf("attempts %v, want %v", tries, c.tries)
			}
		})
	}
	t.Run("put off", func(t *testing.T) {
		b := &book{}
		b.answer = func(Job) error { // note holds the lock
			if len(b.done) < 4 {
				return Later(10 * time.Millisecond)
			}
			return nil
		}
		r, st := open(t, create, b)
		run(t, r)
		in(t, st, func(tx *store.Tx) error { return r.Combine(tx, "1.2", 1) })
		eventually(t, "four calls", func() bool { done, _ := b.notes(); return len(done) == 4 })
		if _, tries := b.notes(); slices.Max(tries) != 1 {
			t.Errorf("attempts %v", tries)
		}
	})
}

// Jobs that were running when the process died run again, but not for ever.
func checkRecover(t *testing.T, create func(testing.TB) string) {
	b := &book{}
	r, st := open(t, create, b)
	in(t, st, func(tx *store.Tx) error {
		return errors.Join(r.Combine(tx, "1.1", 1), r.Combine(tx, "1.2", 1), r.Deliver(tx, 1, "pacs"))
	})
	for _, died := range []string{
		`UPDATE river_job SET state = 'running', attempt = 1`,
		`UPDATE river_job SET attempt = max_attempts WHERE kind = 'deliver' OR args ->> 'study' = '1.2'`,
	} {
		in(t, st, func(tx *store.Tx) error {
			_, err := tx.ExecContext(context.Background(), died)
			return err
		})
	}
	if err := r.Recover(context.Background()); err != nil {
		t.Fatal(err)
	}
	slices.Sort(b.died)
	if want := []string{"combine 1.2", "deliver to pacs"}; !slices.Equal(b.died, want) {
		t.Errorf("given up %v, want %v", b.died, want)
	}
	run(t, r)
	eventually(t, "the other one runs", func() bool { done, _ := b.notes(); return slices.Equal(done, []string{"combine 1.1"}) })
}

// What is due and has no job gets one, once.
func checkDue(t *testing.T, create func(testing.TB) string) {
	b := &book{}
	r, st := open(t, create, b)
	ctx := t.Context()
	for _, study := range []string{"1", "2", "3"} {
		if _, err := st.AddInstance(ctx, store.Instance{SOPInstanceUID: study + ".1", StudyInstanceUID: study, Path: study, Received: time.UnixMilli(1000),
			Loop: true}); err != nil {
			t.Fatal(err)
		}
	}
	lost := func(*store.Tx, string, int) error { return nil }
	for range 2 {
		l, err := st.LeaseLoop(ctx, time.Now(), true, 10)
		if err != nil {
			t.Fatal(err)
		}
		if err := st.FinishLoop(ctx, l, "b", "k", "", lost); err != nil {
			t.Fatal(err)
		}
	}
	for _, study := range []string{"1", "2", "3"} { // the third waits for its loop
		if ok, err := st.Queue(ctx, study, time.UnixMilli(2000), "b", lost); err != nil || !ok {
			t.Fatal(ok, err)
		}
	}
	run, err := st.StartRun(ctx, "2", 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.FinishRun(ctx, run, []store.Output{{SOPInstanceUID: "9", Kind: "report"}},
		[]store.Route{{Destination: "pacs", Kinds: []string{"report"}}, {Destination: "gone", Kinds: []string{"report"}}},
		func(*store.Tx, int64, string) error { return nil }); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := r.Recover(ctx); err != nil {
			t.Fatal(err)
		}
		depths, err := r.Depths(ctx)
		if err != nil || len(depths) != 2 || depths[0].Count != 1 || depths[1].Count != 1 {
			t.Errorf("%+v, %v: want a combination and a delivery", depths, err)
		}
	}
}

// A job that was scheduled by a clock that was far ahead does not wait for it.
func checkRescheduleFar(t *testing.T, create func(testing.TB) string) {
	b := &book{}
	r, _ := open(t, create, b)
	for _, in := range []time.Duration{time.Minute, 48 * time.Hour} {
		if _, err := r.Report(context.Background(), "CART", &scp.CommitResult{TransactionUID: in.String()}, in); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := r.RescheduleFar(context.Background(), time.Hour); err != nil || n != 1 {
		t.Fatalf("%d, %v", n, err)
	}
	run(t, r)
	eventually(t, "the far one runs", func() bool { done, _ := b.notes(); return slices.Equal(done, []string{"report 48h0m0s to CART"}) })
}

// What was to be done at once when the clock was ahead is done at once when it is
// right again.
func checkDueByAClockAhead(t *testing.T, create func(testing.TB) string) {
	b := &book{}
	r, st := open(t, create, b)
	in(t, st, func(tx *store.Tx) error {
		if err := r.Combine(tx, "1.2", 1); err != nil {
			return err
		}
		ahead := `datetime('now', '+3 days')`
		if st.Shared() {
			ahead = `now() + interval '3 days'`
		}
		_, err := tx.ExecContext(t.Context(), `UPDATE river_job SET scheduled_at = `+ahead+` WHERE state = 'available'`)
		return err
	})
	for i, want := range []int{1, 0} {
		if n, err := r.RescheduleFar(t.Context(), 100*24*time.Hour); err != nil || n != want {
			t.Fatalf("time %d: %d, %v, want %d", i, n, err, want)
		}
	}
	run(t, r)
	eventually(t, "it runs", func() bool { done, _ := b.notes(); return len(done) == 1 })
}

// What a process whose clock is not the database's enqueues, puts off and tries
// again is done when it should be, by itself and by others: here the clock of the
// server is the wrong one, which comes to the same.
func TestClocksThatDiffer(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"ahead": 2 * time.Hour, "behind": -2 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			database := postgres.Database(t)
			postgres.SetClock(t, database, ahead)
			b := &book{}
			r, st := open(t, func(testing.TB) string { return database }, b)
			b.answer = func(j Job) error {
				if age := time.Since(j.Created); age.Abs() > time.Hour {
					t.Errorf("a job that is %v old", age)
				}
				switch len(b.done) {
				case 1:
					return errors.New("once more")
				case 2:
					return Later(10 * time.Millisecond)
				}
				return nil
			}
			if err := r.Recover(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := st.Ahead(); (got - ahead).Abs() > time.Minute {
				t.Fatalf("the clock is %v ahead, want %v", got, ahead)
			}
			run(t, r)
			in(t, st, func(tx *store.Tx) error { return r.Combine(tx, "1.2", 1) })
			eventually(t, "three attempts", func() bool { done, _ := b.notes(); return len(done) == 3 })
		})
	}
}

// Who sends a lot waits behind who does not.
func TestPriority(t *testing.T) {
	last := 1
	for _, backlog := range []int{0, 1, 4, 5, 16, 17, 64, 65, 10000} {
		p := priority(backlog)
		if p < last || p > 4 {
			t.Errorf("priority %d of a backlog of %d", p, backlog)
		}
		last = p
	}
	if priority(1) != 1 || last != 4 {
		t.Errorf("priorities from %d to %d, want 1 to 4", priority(1), last)
	}
}
