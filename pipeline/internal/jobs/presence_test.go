package jobs

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/riverqueue/river"

	"github.com/echonode/echonode/conformance/postgres"
	"github.com/echonode/echonode/pipeline/store"
)

// A process is dead that has not counted for the horizon, by the watcher's own
// clock, while the watcher could look.
func TestWatch(t *testing.T) {
	start := time.Now()
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	all := func(beats ...int64) (out []store.Process) {
		for i, b := range beats {
			out = append(out, store.Process{ID: string(rune('a' + i)), Beats: b})
		}
		return out
	}
	var w watch
	for _, c := range []struct {
		at   int
		all  []store.Process
		dead string
	}{
		{0, all(1, 1, 1), ""},
		{5, all(2, 2, 1), ""},
		{10, all(3, 2, 1), ""},
		{14, all(3, 2, 1), ""},
		{15, all(3, 2, 1), "c"},
		{16, all(3, 2), ""},
		{20, all(3, 2), "b"}, // a is the watcher itself
		{21, all(3, 3), ""},  // it was alive after all
		// The watcher could not look: neither could b count, perhaps.
		{100, all(3, 3), ""},
		{105, all(3, 3), ""},
		{110, all(3, 3), ""},
		{115, all(3, 3), "b"},
	} {
		got := ""
		for _, p := range w.dead(at(c.at), c.all, "a", 15*time.Second) {
			got += p.ID
		}
		if got != c.dead {
			t.Errorf("after %d s: %q dead, want %q", c.at, got, c.dead)
		}
	}
}

// rooms are processes on one database.
func rooms(t *testing.T, database string, n int, h Handlers, change func(i int, o *Options)) ([]*Room, []*store.Store) {
	t.Helper()
	var all []*Room
	var stores []*store.Store
	for i := range n {
		st, err := store.Open(t.Context(), database)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := st.Close(); err != nil {
				t.Error(err)
			}
		})
		soon := func(int) time.Duration { return 10 * time.Millisecond }
		opt := Options{Destinations: []string{"pacs"}, CombineAttempts: 3, DeliveryAttempts: 3, Longest: time.Minute, CombineWait: soon, DeliveryWait: soon,
			Seat: string(rune('a' + i)), Beat: 100 * time.Millisecond, Horizon: 3 * time.Second}
		if change != nil {
			change(i, &opt)
		}
		r, err := Open(st, opt, h, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Recover(t.Context()); err != nil {
			t.Fatal(err)
		}
		all, stores = append(all, r), append(stores, st)
	}
	return all, stores
}

// The jobs and the queue of a process that stops counting are another's, while
// the job still runs there; what becomes of it there changes nothing.
func TestAnotherTakesOver(t *testing.T) {
	var combined, delivered, rescued atomic.Int32
	hang := make(chan struct{})
	h := Handlers{
		Combine: func(context.Context, Job, string, int) error {
			if combined.Add(1) == 1 {
				<-hang
			}
			return nil
		},
		Deliver: func(context.Context, Job, int64, string) error { delivered.Add(1); return nil },
		Rescued: func(_, jobs int) { rescued.Add(int32(jobs)) },
	}
	all, stores := rooms(t, postgres.Database(t), 2, h, nil)
	first := all[0]
	if err := first.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	in(t, stores[0], func(tx *store.Tx) error { return first.Combine(tx, "1.2", 1) })
	eventually(t, "the job runs", func() bool { return combined.Load() == 1 })
	run(t, all[1])
	in(t, stores[0], func(tx *store.Tx) error { return first.Deliver(tx, 7, "pacs") })
	eventually(t, "delivered by the one that has the queue", func() bool { return delivered.Load() == 1 })
	if held, err := stores[1].Hold(t.Context(), []string{deliveryPrefix + "pacs"}); err != nil || len(held) != 0 {
		t.Errorf("two processes deliver to one destination: %v, %v", held, err)
	}
	first.end() // it counts no more
	first.beats.Wait()
	eventually(t, "another has done it", func() bool { return combined.Load() == 2 && rescued.Load() == 1 })
	close(hang)
	eventually(t, "nothing left", func() bool { d, err := all[1].Depths(t.Context()); return err == nil && len(d) == 0 })
	// What is enqueued now is delivered by the other.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := first.client.StopAndCancel(ctx); err != nil {
		t.Fatal(err)
	}
	in(t, stores[1], func(tx *store.Tx) error { return all[1].Deliver(tx, 8, "pacs") })
	eventually(t, "delivered by the other", func() bool { return delivered.Load() == 2 })
	beat(t, stores[1], all[1])
	if combined.Load() != 2 {
		t.Errorf("combined %d times", combined.Load())
	}
}

// beat waits until a process has shown three times that it lives, which it does
// while it works on whatever it finds.
func beat(t *testing.T, st *store.Store, r *Room) {
	t.Helper()
	counted := func() int64 {
		all, err := st.Processes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range all {
			if p.ID == r.self.ID {
				return p.Beats
			}
		}
		return 0
	}
	before := counted()
	eventually(t, "three heartbeats", func() bool { return counted() >= before+3 })
}

// A process that was taken for dead while it lives enters again and works on.
func TestTakenForDead(t *testing.T) {
	var done atomic.Int32
	h := Handlers{Combine: func(context.Context, Job, string, int) error { done.Add(1); return nil }}
	all, stores := rooms(t, postgres.Database(t), 1, h, nil)
	run(t, all[0])
	in(t, stores[0], func(tx *store.Tx) error {
		_, err := tx.ExecContext(t.Context(), `DELETE FROM processes`)
		return err
	})
	eventually(t, "it is there again", func() bool {
		p, err := stores[0].Processes(t.Context())
		return err == nil && len(p) == 1 && p[0].ID == all[0].self.ID
	})
	in(t, stores[0], func(tx *store.Tx) error { return all[0].Combine(tx, "1.2", 1) })
	eventually(t, "it works", func() bool { return done.Load() == 1 })
}

// A job whose end could not be recorded runs again, though its process lives.
func TestStrayJob(t *testing.T) {
	for name, create := range databases {
		t.Run(name, func(t *testing.T) {
			var done atomic.Int32
			h := Handlers{Combine: func(context.Context, Job, string, int) error { done.Add(1); return nil }}
			all, stores := rooms(t, create(t), 1, h, func(_ int, o *Options) { o.Horizon = 300 * time.Millisecond })
			in(t, stores[0], func(tx *store.Tx) error { return all[0].Combine(tx, "1.2", 1) })
			by := `jsonb_array(?)`
			if stores[0].Shared() {
				by = `ARRAY[?]`
			}
			in(t, stores[0], func(tx *store.Tx) error {
				_, err := tx.ExecContext(t.Context(), `UPDATE river_job SET state = 'running', attempt = 1, attempted_at = CURRENT_TIMESTAMP, attempted_by = `+by,
					all[0].self.ID)
				return err
			})
			run(t, all[0])
			eventually(t, "it ran", func() bool { return done.Load() == 1 })
		})
	}
}

// A process that only enqueues works on nothing.
func TestRolesOfRooms(t *testing.T) {
	b := &book{}
	all, stores := rooms(t, postgres.Database(t), 3, b.handlers(), func(i int, o *Options) {
		o.NoCombining, o.NoDelivering = i != 1, i != 2
	})
	run(t, all[0])
	in(t, stores[0], func(tx *store.Tx) error {
		return errors.Join(all[0].Combine(tx, "1.2", 1), all[0].Deliver(tx, 7, "pacs"))
	})
	beat(t, stores[0], all[0])
	if done, _ := b.notes(); len(done) != 0 {
		t.Errorf("%v was done by nobody's role", done)
	}
	run(t, all[1])
	eventually(t, "combined", func() bool { done, _ := b.notes(); return slices.Equal(done, []string{"combine 1.2"}) })
	run(t, all[2])
	eventually(t, "delivered", func() bool {
		done, _ := b.notes()
		return slices.Equal(done, []string{"combine 1.2", "deliver to pacs"})
	})
}

// Who starts again on the same data directory takes over at once.
func TestSameSeat(t *testing.T) {
	for _, c := range []struct{ name, database string }{{"SQLite", filepath.Join(t.TempDir(), "node.db")}, {"PostgreSQL", ""}} {
		t.Run(c.name, func(t *testing.T) {
			if c.database == "" {
				c.database = postgres.Database(t)
			}
			var done atomic.Int32
			hang := make(chan struct{})
			defer close(hang)
			h := Handlers{Combine: func(context.Context, Job, string, int) error {
				if done.Add(1) == 1 {
					<-hang
				}
				return nil
			}}
			same := func(_ int, o *Options) { o.Seat, o.Horizon = "a", time.Hour }
			first, stores := rooms(t, c.database, 1, h, same)
			if err := first[0].Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			in(t, stores[0], func(tx *store.Tx) error { return first[0].Combine(tx, "1.2", 1) })
			eventually(t, "the job runs", func() bool { return done.Load() == 1 })
			first[0].end()
			first[0].beats.Wait()
			second, _ := rooms(t, c.database, 1, h, same)
			run(t, second[0])
			eventually(t, "it runs again", func() bool { return done.Load() == 2 })
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
			defer cancel()
			_ = first[0].client.StopAndCancel(ctx) // its job hangs
		})
	}
}

// A process whose objects others cannot see is not one of several: who comes
// second is refused and changes nothing, while a dead one keeps nobody out.
func TestAlone(t *testing.T) {
	for _, c := range []struct{ first, second, refused bool }{{true, true, true}, {true, false, true}, {false, true, true}, {false, false, false}} {
		t.Run(fmt.Sprintf("first %t, second %t", c.first, c.second), func(t *testing.T) {
			database := postgres.Database(t)
			first, _ := rooms(t, database, 1, Handlers{}, func(_ int, o *Options) { o.Alone = c.first })
			if err := first[0].Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				first[0].end()
				first[0].beats.Wait()
				if err := first[0].client.StopAndCancel(context.Background()); err != nil {
					t.Error(err)
				}
			})
			st, err := store.Open(t.Context(), database)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := st.Close(); err != nil {
					t.Error(err)
				}
			})
			second, err := Open(st, Options{Seat: "b", Alone: c.second, Beat: 100 * time.Millisecond, Horizon: 10 * time.Second}, Handlers{},
				slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			err = second.Recover(t.Context())
			var not *NotAloneError
			if errors.As(err, &not) != c.refused || (err != nil) != c.refused {
				t.Errorf("%v", err)
			}
			all, err := st.Processes(t.Context())
			if err != nil || len(all) != map[bool]int{true: 1, false: 2}[c.refused] {
				t.Errorf("processes %+v, %v", all, err)
			}
			if !c.refused {
				return
			}
			first[0].end() // it counts no more, and is still registered
			first[0].beats.Wait()
			second.opt.Horizon = time.Second
			// The last count may have been under way.
			eventually(t, "beside a dead one", func() bool { return second.Recover(t.Context()) == nil })
		})
	}
}

// holdingUp is a queue that takes its time to be left.
type holdingUp struct {
	queue
	leaving chan struct{}
	leave   chan struct{}
}

func (q *holdingUp) removeQueue(ctx context.Context, name string) error {
	select {
	case q.leaving <- struct{}{}:
	default:
	}
	<-q.leave
	return q.queue.removeQueue(ctx, name)
}

// A process that gives up a destination's queue while a delivery is under way
// lives on, and works on the queue again once it is given back.
func TestLeavingAQueueHoldsNobodyUp(t *testing.T) {
	for _, d := range []struct{ name, database string }{{"SQLite", filepath.Join(t.TempDir(), "node.db")}, {"PostgreSQL", postgres.Database(t)}} {
		t.Run(d.name, func(t *testing.T) {
			var delivered atomic.Int32
			all, stores := rooms(t, d.database, 1, Handlers{Deliver: func(context.Context, Job, int64, string) error { delivered.Add(1); return nil }}, nil)
			r, st := all[0], stores[0]
			q := &holdingUp{queue: r.client, leaving: make(chan struct{}, 1), leave: make(chan struct{})}
			r.client = q
			run(t, r)
			give := func(to string) {
				t.Helper()
				in(t, st, func(tx *store.Tx) error {
					_, err := tx.ExecContext(t.Context(),
						`INSERT INTO processes (id, seat, host, roles, version, started_at) VALUES (?, 'its own', '', '', '', 9) ON CONFLICT DO NOTHING`, to)
					if err == nil {
						_, err = tx.ExecContext(t.Context(), `UPDATE holds SET process = ?`, to)
					}
					return err
				})
			}
			give("another")
			eventually(t, "the queue is being left", func() bool { return len(q.leaving) == 1 })
			beats := func() int64 {
				p, err := st.Processes(t.Context())
				i := slices.IndexFunc(p, func(p store.Process) bool { return p.ID == r.self.ID })
				if err != nil || i < 0 {
					t.Fatalf("%v, %v", p, err)
				}
				return p[i].Beats
			}
			was := beats()
			eventually(t, "it lives on", func() bool { return beats() > was+3 })
			give(r.self.ID)
			close(q.leave)
			in(t, st, func(tx *store.Tx) error { return r.Deliver(tx, 7, "pacs") })
			eventually(t, "it delivers again", func() bool { return delivered.Load() == 1 })
		})
	}
}

// failing is a queue that cannot be stopped in order.
type failing struct{ queue }

func (failing) StopAndCancel(context.Context) error { return errors.New("out of order") }

// Whatever the queue says at the end, the process leaves: others need not wait
// until it is taken for dead.
func TestStopLeaves(t *testing.T) {
	all, stores := rooms(t, filepath.Join(t.TempDir(), "node.db"), 1, Handlers{}, nil)
	r := all[0]
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	own := r.client
	r.client = failing{own}
	if err := r.Stop(t.Context()); err == nil {
		t.Error("the error is lost")
	}
	if p, err := stores[0].Processes(t.Context()); err != nil || len(p) != 0 {
		t.Errorf("%v, %v", p, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := own.StopAndCancel(ctx); err != nil {
		t.Error(err)
	}
}

// pend records runs whose deliveries to a destination that is away wait, with their
// jobs, from one number to another.
func pend(t testing.TB, r *Room, st *store.Store, from, to int) {
	t.Helper()
	if err := st.Transact(t.Context(), func(tx *store.Tx) error {
		for n := from; n < to; n++ {
			uid := fmt.Sprintf("1.2.%d", n)
			for _, s := range []struct {
				query string
				args  []any
			}{
				{`INSERT INTO studies (study_uid, state, revision, first_received_at, last_received_at) VALUES (?,'done',1,1,1)`, []any{uid}},
				{`INSERT INTO runs (id, study_uid, revision, started_at, finished_at) VALUES (?,?,1,1,1)`, []any{n, uid}},
				{`INSERT INTO outputs (sop_uid, run_id, kind, sop_class, path) VALUES (?,?,'report','x','x')`, []any{uid + ".1", n}},
				{`INSERT INTO deliveries (run_id, sop_uid, destination, state, updated_at) VALUES (?,?,'pacs','pending',1)`, []any{n, uid + ".1"}},
			} {
				if _, err := tx.ExecContext(t.Context(), s.query, s.args...); err != nil {
					return err
				}
			}
			if err := r.insert(tx, deliver{int64(n), "pacs"}, river.InsertOpts{Queue: deliveryPrefix + "pacs", MaxAttempts: 30}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// While everything that is due has a job the sweep, and what metrics ask, wait for
// nobody who writes, and keep nobody from it.
func checkSweepOnlyReads(t *testing.T, create func(testing.TB) string) {
	r, st := open(t, create, &book{})
	pend(t, r, st, 1, 20)
	in(t, st, func(tx *store.Tx) error { // somebody writes
		if err := tx.Alone(t.Context()); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := r.reconcile(ctx); err != nil {
			t.Errorf("reconcile: %v", err)
		}
		if depths, err := r.Depths(ctx); err != nil || len(depths) != 1 || depths[0].Count != 19 {
			t.Errorf("depths %+v, %v", depths, err)
		}
		r.strayed = time.Time{}
		if suspects, lost := r.strays(ctx); len(suspects)+len(lost) != 0 || ctx.Err() != nil {
			t.Errorf("strays %v, %v, %v", suspects, lost, ctx.Err())
		}
		return nil
	})
}

// A job that has ended is none, and one for another destination or of another run
// is another's.
func checkDueIsExact(t *testing.T, create func(testing.TB) string) {
	r, st := open(t, create, &book{})
	pend(t, r, st, 1, 4)
	in(t, st, func(tx *store.Tx) error {
		for _, query := range []string{
			`UPDATE river_job SET state = 'discarded', finalized_at = CURRENT_TIMESTAMP WHERE CAST(args ->> 'run' AS BIGINT) = 2`,
			`INSERT INTO deliveries (run_id, sop_uid, destination, state, updated_at) VALUES (3,'1.2.3.1','other','pending',1)`,
			`INSERT INTO deliveries (run_id, sop_uid, destination, state, updated_at) VALUES (1,'1.2.1.1','other','sent',1)`,
			`INSERT INTO deliveries (run_id, sop_uid, destination, state, updated_at) VALUES (1,'1.2.1.1','gone','pending',1)`,
		} {
			if _, err := tx.ExecContext(t.Context(), query); err != nil {
				return err
			}
		}
		return nil
	})
	want := []due{{"pacs", 2}, {"other", 3}}
	if studies, deliveries, err := r.due(t.Context(), st); err != nil || len(studies) != 0 || !slices.Equal(deliveries, want) {
		t.Fatalf("%v, %v, %v; want %v", studies, deliveries, err, want)
	}
	if err := r.reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	if studies, deliveries, err := r.due(t.Context(), st); err != nil || len(studies)+len(deliveries) != 0 {
		t.Errorf("afterwards %v, %v, %v", studies, deliveries, err)
	}
}

// meanwhile reads a database in which something happens after every statement.
type meanwhile struct {
	reader
	then func()
}

func (m meanwhile) Rows(ctx context.Context, each func(*sql.Rows) error, query string, args ...any) error {
	err := m.reader.Rows(ctx, each, query, args...)
	m.then()
	return err
}

// What another process commits, or ends, while it is looked for what is due has had
// its job at every moment.
func checkDueAtOneMoment(t *testing.T, create func(testing.TB) string) {
	r, st := open(t, create, &book{})
	pend(t, r, st, 1, 3)
	n := 3
	studies, deliveries, err := r.due(t.Context(), meanwhile{st, func() {
		pend(t, r, st, n, n+1)
		n++
	}})
	if err != nil || len(studies)+len(deliveries) != 0 || n == 3 {
		t.Errorf("runs that come: %v, %v, %v", studies, deliveries, err)
	}
	studies, deliveries, err = r.due(t.Context(), meanwhile{st, func() {
		in(t, st, func(tx *store.Tx) error {
			for _, query := range []string{`UPDATE deliveries SET state = 'sent'`, `DELETE FROM river_job`} {
				if _, err := tx.ExecContext(t.Context(), query); err != nil {
					return err
				}
			}
			return nil
		})
	}})
	if err != nil || len(studies)+len(deliveries) != 0 {
		t.Errorf("runs that end: %v, %v, %v", studies, deliveries, err)
	}
}

// What the sweep costs with so many runs that wait for a destination.
func BenchmarkSweep(b *testing.B) {
	for _, n := range []int{500, 2000, 8000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			st, err := store.Open(b.Context(), filepath.Join(b.TempDir(), "node.db"))
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() {
				if err := st.Close(); err != nil {
					b.Error(err)
				}
			})
			r, err := Open(st, Options{Destinations: []string{"pacs"}, CombineAttempts: 3, DeliveryAttempts: 30, Longest: time.Minute,
				CombineWait: func(int) time.Duration { return 0 }, DeliveryWait: func(int) time.Duration { return 0 }}, (&book{}).handlers(),
				slog.New(slog.DiscardHandler))
			if err != nil {
				b.Fatal(err)
			}
			pend(b, r, st, 1, n+1)
			for b.Loop() {
				if err := r.reconcile(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/run")
		})
	}
}
