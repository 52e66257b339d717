package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/echonode/echonode/conformance/postgres"
)

func TestMain(m *testing.M) { postgres.Main(m) }

// databases open a new store each, and skip the test where the database is not
// installed.
var databases = []struct {
	name string
	open func(t testing.TB) string
}{
	{"SQLite", func(t testing.TB) string { return filepath.Join(t.TempDir(), "node.db") }},
	{"PostgreSQL", postgres.Database},
}

func open(t testing.TB, database string) *Store {
	t.Helper()
	s, err := Open(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.readers != nil {
			noScans(t, s)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// TestProcesses: several processes receive, analyse and combine the same studies
// through one database. Every object is recorded once, every loop is analysed by
// one of them, every study is combined once, and none is forgotten.
func TestProcesses(t *testing.T) {
	const processes, studies, loops = 4, 6, 20
	ctx := t.Context()
	database := postgres.Database(t)
	var stores []*Store
	var group sync.WaitGroup
	var mu sync.Mutex
	for range processes {
		group.Go(func() { // the first start, at the same time
			s, err := Open(ctx, database)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			stores = append(stores, s)
		})
	}
	group.Wait()
	if t.Failed() {
		return
	}
	defer func() {
		for _, s := range stores {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}()
	// Every object comes to two of them.
	var fresh atomic.Int32
	for p, s := range stores {
		for study := range studies {
			group.Go(func() {
				for i := range loops {
					if (i+p)%2 == 0 && p < 2 || p >= 2 && (i+p)%2 == 1 {
						continue
					}
					isNew, err := s.AddInstance(ctx, instance(fmt.Sprint(study), fmt.Sprintf("%d.%d", study, i), 1000))
					if err != nil {
						t.Error(err)
					}
					if isNew {
						fresh.Add(1)
					}
				}
			})
		}
	}
	group.Wait()
	if fresh.Load() != studies*loops {
		t.Fatalf("%d new objects, want %d", fresh.Load(), studies*loops)
	}
	var queued, combined atomic.Int32
	combine := func(*Tx, string, int) error { combined.Add(1); return nil }
	looked := map[string]int{}
	for _, s := range stores {
		for study := range studies {
			group.Go(func() {
				ok, err := s.Queue(ctx, fmt.Sprint(study), time.UnixMilli(1000), "basis", combine)
				if err != nil {
					t.Error(err)
				}
				if ok {
					queued.Add(1)
				}
			})
		}
		for range 4 {
			group.Go(func() {
				for {
					l, err := s.LeaseLoop(ctx, time.Now(), true, 1000)
					if errors.Is(err, ErrNotFound) {
						return
					}
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					looked[l.SOPInstanceUID]++
					mu.Unlock()
					if err := s.FinishLoop(ctx, l, "basis", "key", "", combine); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	group.Wait()
	if queued.Load() != studies || combined.Load() != studies {
		t.Errorf("%d studies queued, %d combined, want %d", queued.Load(), combined.Load(), studies)
	}
	if len(looked) != studies*loops {
		t.Errorf("%d loops analysed, want %d", len(looked), studies*loops)
	}
	for uid, n := range looked {
		if n != 1 {
			t.Errorf("loop %s was leased %d times", uid, n)
		}
	}
}

// What peers say is kept, whatever bytes it is.
func checkBytes(t *testing.T, s *Store) {
	in := instance("1", "1.1", 1000)
	in.CallingAE = "A\x00\xff\xfeB ü"
	add(t, s, in)
	got, err := s.Instance(t.Context(), "1.1")
	if err != nil || !strings.HasPrefix(got.CallingAE, "A") || !strings.HasSuffix(got.CallingAE, "B ü") {
		t.Errorf("%q, %v", got.CallingAE, err)
	}
}

// A corrected object changes its study, leases and files of the former version
// end, and what was not sent is withdrawn; removed objects take their files.
func checkReplace(t *testing.T, s *Store) {
	ctx := t.Context()
	add(t, s, instance("1", "1.1", 1000))
	add(t, s, instance("1", "1.2", 1000))
	lease, err := s.LeaseLoop(ctx, time.Now(), true, 100)
	if err != nil || lease.SOPInstanceUID != "1.1" {
		t.Fatal(lease, err)
	}
	in := instance("2", "1.1", 2000)
	in.Path, in.Person = "other.dcm", Person{Patient: "p", Issuer: "i"}
	if _, err := s.Replace(ctx, in); err != nil {
		t.Fatal(err)
	}
	if err := s.FinishLoop(ctx, lease, "", "key", "", noJob); !errors.Is(err, ErrStale) {
		t.Errorf("finishing a loop that was replaced: %v", err)
	}
	if removals, err := s.Removals(ctx); err != nil || len(removals) != 1 || removals[0].Path != "1.1.dcm" {
		t.Errorf("%v, %v", removals, err)
	}
	for _, c := range []struct{ patient, issuer string }{{"p", ""}, {"p", "i"}} {
		if studies, err := s.StudiesOf(ctx, c.patient, c.issuer); err != nil || len(studies) != 1 || studies[0] != "2" {
			t.Errorf("%v: %v, %v", c, studies, err)
		}
	}
	if _, err := s.Replace(ctx, instance("2", "9.9", 2000)); !errors.Is(err, ErrNotFound) {
		t.Errorf("replacing what is not there: %v", err)
	}
	if err := s.RecordConflict(ctx, "1.1", "CART"); err != nil {
		t.Fatal(err)
	}
	if err := s.RecordConflict(ctx, "1.1", "CART"); err != nil {
		t.Fatal(err)
	}
	if work, err := s.WorkOf(ctx, []string{"1", "2"}); err != nil || work["2"].Corrected != 1 || work["2"].Conflicts != 1 || work["1"].Loops != 1 {
		t.Errorf("%+v, %v", work, err)
	}
	if n, _, err := s.DeleteInstances(ctx, "2", []string{"1.1", "1.2"}); err != nil || n != 1 {
		t.Errorf("%d removed, %v", n, err)
	}
	if st := study(t, s, "2"); st.State != Done {
		t.Errorf("a study without loops is %s", st.State)
	}
	if page, next, err := s.Page(ctx, Query{States: []State{Done, Receiving}, Limit: 1}); err != nil || len(page) != 1 || next == "" {
		t.Errorf("%v, %q, %v", page, next, err)
	} else if page, next, err = s.Page(ctx, Query{After: next, Limit: 1}); err != nil || len(page) != 1 || next != "" {
		t.Errorf("second page %v, %q, %v", page, next, err)
	}
	if counts, err := s.StateCounts(ctx); err != nil || counts[Done] != 1 || counts[Receiving] != 1 {
		t.Errorf("%v, %v", counts, err)
	}
	if err := s.Probe(ctx); err != nil {
		t.Error(err)
	}
	if err := s.Audit(ctx, AuditEntry{At: time.UnixMilli(5), User: "u", Action: "a", Study: "1", Failed: true}); err != nil {
		t.Fatal(err)
	}
	if trail, err := s.AuditTrail(ctx, "1", 0, 10); err != nil || len(trail) != 1 || !trail[0].Failed || trail[0].User != "u" {
		t.Errorf("%v, %v", trail, err)
	}
}

// What a process holds is its own until it leaves or is buried.
func checkHeld(t *testing.T, s *Store) {
	ctx := t.Context()
	if _, err := s.Beat(ctx); !errors.Is(err, ErrNotFound) {
		t.Errorf("a heartbeat of nobody: %v", err)
	}
	first := Process{ID: "first", Seat: "here", Host: "h", Roles: "receive", Version: "1", Started: time.UnixMilli(1)}
	if err := s.Enter(ctx, first); err != nil {
		t.Fatal(err)
	}
	all, err := s.Beat(ctx)
	if err != nil || len(all) != 1 || all[0].ID != "first" || all[0].Beats != 1 || all[0].Roles != "receive" {
		t.Fatal(all, err)
	}
	if held, err := s.Hold(ctx, []string{"b", "a"}); err != nil || !slices.Equal(held, []string{"a", "b"}) {
		t.Error(held, err)
	}
	if err := s.Associate(ctx, map[uint64]string{1: "1.2", 2: "1.2", 3: "1.3"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Associate(ctx, map[uint64]string{1: "1.2", 2: "1.2"}); err != nil {
		t.Fatal(err)
	}
	add(t, s, instance("1", "1.1", 1000))
	if _, err := s.LeaseLoop(ctx, time.Now(), true, 100); err != nil {
		t.Fatal(err)
	}
	if n, studies, err := s.FreeLoops(ctx); err != nil || n != 0 {
		t.Errorf("a living process lost %d loops of %v, %v", n, studies, err)
	}
	// Another takes the place.
	if err := s.Enter(ctx, Process{ID: "second", Seat: "there", Started: time.UnixMilli(5)}); err != nil {
		t.Fatal(err)
	}
	if s.Shared() {
		elsewhere, err := s.Elsewhere(ctx)
		if err != nil || elsewhere["1.2"] != 2 || len(elsewhere) != 1 {
			t.Error(elsewhere, err)
		}
		if held, err := s.Hold(ctx, []string{"b", "c"}); err != nil || !slices.Equal(held, []string{"c"}) {
			t.Error(held, err)
		}
		first.Beats = 0
		if buried, err := s.Bury(ctx, first); err != nil || buried {
			t.Errorf("buried one that had counted on: %v, %v", buried, err)
		}
		first.Beats = 1
		if buried, err := s.Bury(ctx, first); err != nil || !buried {
			t.Errorf("not buried: %v, %v", buried, err)
		}
	}
	if n, studies, err := s.FreeLoops(ctx); err != nil || n != 1 || !slices.Equal(studies, []string{"1"}) {
		t.Errorf("freed %d loops of %v, %v", n, studies, err)
	}
	if held, err := s.Hold(ctx, []string{"a", "b"}); err != nil || len(held) != 2 {
		t.Error(held, err)
	}
	if elsewhere, err := s.Elsewhere(ctx); err != nil || len(elsewhere) != 0 {
		t.Error(elsewhere, err)
	}
	if all, err := s.Processes(ctx); err != nil || len(all) != 1 || !all[0].Started.Equal(time.UnixMilli(5)) {
		t.Error(all, err)
	}
	if err := s.Leave(ctx); err != nil {
		t.Fatal(err)
	}
	if all, err := s.Processes(ctx); err != nil || len(all) != 0 {
		t.Error(all, err)
	}
}

// A name is one's at a time, whichever process asks, also after the connection
// of the locks was lost.
func TestLocks(t *testing.T) {
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			database := d.open(t)
			stores := []*Store{open(t, database)}
			locks := []*Locks{stores[0].NewLocks(1)}
			if stores[0].Shared() {
				stores = append(stores, open(t, database))
				locks = append(locks, stores[1].NewLocks(1))
			}
			var inside, most atomic.Int32
			var group sync.WaitGroup
			for i := range 40 {
				group.Go(func() {
					names := []string{"x", fmt.Sprint(i % 3)}
					if i%2 == 0 {
						slices.Reverse(names)
					}
					unlock, err := locks[i%len(locks)].Lock(t.Context(), names...)
					if err != nil {
						t.Error(err)
						return
					}
					most.Store(max(most.Load(), inside.Add(1)))
					for range 100 {
						runtime.Gosched() // who may come in, does
					}
					inside.Add(-1)
					unlock()
				})
			}
			group.Wait()
			if most.Load() != 1 {
				t.Errorf("%d at a time", most.Load())
			}
			if !stores[0].Shared() {
				return
			}
			unlock, err := locks[0].Lock(t.Context(), "x")
			if err != nil {
				t.Fatal(err)
			}
			short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if _, err := locks[1].Lock(short, "x"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a lock of another process: %v", err)
			}
			if _, err := stores[1].db.ExecContext(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted`); err != nil {
				t.Fatal(err)
			}
			other, err := locks[1].Lock(t.Context(), "x")
			if err != nil {
				t.Fatal(err)
			}
			unlock() // it is not this one's any more
			other()
			if _, err := locks[0].Lock(t.Context(), "y"); err != nil {
				t.Error(err)
			}
		})
	}
}

// Who gives up waiting for a lock, and who asks for more than the server has,
// takes nothing from anybody: what the process holds it goes on holding, on the
// connection that it has.
func TestLocksOutliveWaiting(t *testing.T) {
	database := postgres.Database(t)
	one, other := open(t, database), open(t, database)
	mine, theirs := one.NewLocks(1), other.NewLocks(1)
	held := func(what string) {
		t.Helper()
		soon, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if unlock, err := theirs.Lock(soon, "held"); err == nil {
			unlock()
			t.Fatalf("%s: another process has a lock that is held", what)
		}
	}
	unlock, err := mine.Lock(t.Context(), "held")
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	rest, err := theirs.Lock(t.Context(), "theirs")
	if err != nil {
		t.Fatal(err)
	}
	// Those who leave do so at any moment, also while the server is asked.
	var busy, waiting sync.WaitGroup
	done := make(chan struct{})
	for i := range 4 {
		busy.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				unlock, err := mine.Lock(t.Context(), fmt.Sprint("busy ", i))
				if err != nil {
					t.Error(err)
					return
				}
				unlock()
			}
		})
	}
	others := one.NewLocks(2)
	for i := range 300 {
		// One waits for what another process has, others for nobody: they may get it.
		names := [][]string{{"theirs"}, {fmt.Sprint("free ", i%5), "free"}}[i%2]
		locks := []*Locks{mine, others}[i%2]
		waiting.Go(func() {
			soon, cancel := context.WithTimeout(t.Context(), time.Duration(i)*100*time.Microsecond)
			defer cancel()
			unlock, err := locks.Lock(soon, names...)
			switch {
			case err == nil && i%2 == 0:
				t.Error("got what another process has")
				unlock()
			case err == nil:
				unlock()
			case !errors.Is(err, context.DeadlineExceeded):
				t.Error(err)
			}
		})
	}
	waiting.Wait()
	close(done)
	busy.Wait()
	held("others have left")
	ended, end := context.WithCancel(t.Context())
	end()
	if unlock, err := mine.Lock(ended, "whatever"); err == nil {
		unlock()
		t.Error("a lock for somebody who has left")
	}
	var all []string
	for i := range 40_000 {
		all = append(all, fmt.Sprint(i))
	}
	if unlock, err := others.Lock(t.Context(), all...); err == nil {
		unlock()
		t.Error("the server has locks without end: the test shows nothing")
	}
	held("too many were asked for")
	if one.locks.times != 1 {
		t.Errorf("%d connections, one was enough", one.locks.times)
	}
	// What was taken by those who left, or on the way to too many, is free again.
	rest()
	soon, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	for _, names := range [][]string{{"theirs"}, {"free"}, all[:100]} {
		for _, l := range []*Locks{theirs, other.NewLocks(2)} {
			unlock, err := l.Lock(soon, names...)
			if err != nil {
				t.Fatal(names[0], err)
			}
			unlock()
		}
	}
}

// Who leaves does not wait for a server that hangs, and takes no lock away.
func TestLockOfAServerThatHangs(t *testing.T) {
	server := postgres.Start(t, "fsync=off")
	database := postgres.WithPassword(server.Create(t))
	one, other := open(t, database), open(t, database)
	locks := one.NewLocks(1)
	unlock, err := locks.Lock(t.Context(), "held")
	if err != nil {
		t.Fatal(err)
	}
	resume := server.Pause(t)
	start := time.Now()
	for range 3 {
		soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if _, err := locks.Lock(soon, "more"); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		cancel()
	}
	if waited := time.Since(start); waited > 2*postgresTimeout { // of three times that, if they waited
		t.Errorf("they waited %v", waited)
	}
	resume()
	soon, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if unlock, err := other.NewLocks(1).Lock(soon, "held"); err == nil {
		unlock()
		t.Error("another process has a lock that is held")
	}
	unlock()
	long, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	for _, name := range []string{"held", "more"} {
		unlock, err := other.NewLocks(1).Lock(long, name)
		if err != nil {
			t.Fatal(name, err)
		}
		unlock()
	}
}

func TestRebind(t *testing.T) {
	for query, want := range map[string]string{
		`a = ? AND b = ?`:                   `a = $1 AND b = $2`,
		`a = ?2 AND b = ?1 OR c = ?2`:       `a = $2 AND b = $1 OR c = $2`,
		`a = 'why?' AND b = ?`:              `a = 'why?' AND b = $1`,
		`a IN (` + listRows + `) AND b = ?`: `a IN (SELECT json_array_elements_text(CAST($1 AS json))) AND b = $2`,
		`VALUES (?,?,?,?,?,?,?,?,?,?,?)`:    `VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11)`,
	} {
		if got := rebind(query); got != want {
			t.Errorf("%s\nbecomes %s\nwant    %s", query, got, want)
		}
	}
}

// TestConformance is what a store has to do, whatever database it is in.
func TestConformance(t *testing.T) {
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			for _, c := range []struct {
				name  string
				check func(*testing.T, *Store)
			}{
				{"StudyLife", checkStudyLife},
				{"LateObjectDuringRun", checkLateObjectDuringRun},
				{"FailAndRequeue", checkFailAndRequeue},
				{"LateFailure", checkLateFailure},
				{"Expired", checkExpired},
				{"RemovalsGiveWayToObjects", checkRemovalsGiveWayToObjects},
				{"AdditionsTogether", checkAdditionsTogether},
				{"Persons", checkPersons},
				{"OrderOfLoops", checkOrderOfLoops},
				{"FreeLost", checkFreeLost},
				{"LastLoopCombines", checkLastLoopCombines},
				{"LoopsWaitAgain", checkLoopsWaitAgain},
				{"LeaseIsAFence", checkLeaseIsAFence},
				{"OnlyLoopsBeginARun", checkOnlyLoopsBeginARun},
				{"SendersTakeTurns", checkSendersTakeTurns},
				{"Sign", checkSign},
				{"Sessions", checkSessions},
				{"OldSessions", checkOldSessions},
				{"Superseded", checkSuperseded},
				{"WorklistChanges", checkWorklistChanges},
				{"Search", checkSearch},
				{"Bytes", checkBytes},
				{"Redirect", checkRedirect},
				{"a study whose dead deliveries are dropped is listed anew", checkDroppedAreListed},
				{"DoubtIsKept", checkDoubtIsKept},
				{"Keys", checkKeys},
				{"Withdrawn", checkWithdrawn},
				{"Commitments", checkCommitments},
				{"SentReports", checkSentReports},
				{"Recalled", checkRecalled},
				{"Replace", checkReplace},
				{"Heal", checkHeal},
				{"Held", checkHeld},
				{"Sums", checkSums},
				{"Relocate", checkRelocate},
				{"AnotherStudyUnderTheUIDs", checkAnotherStudyUnderTheUIDs},
				{"RunNumbers", checkRunNumbers},
				{"PageCost", checkPageCost},
			} {
				t.Run(c.name, func(t *testing.T) { c.check(t, open(t, d.open(t))) })
			}
		})
	}
}

// Who waits for a lock waits no longer than the context, and takes nothing with
// it.
func TestLockWaitsNoLonger(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "node.db"))
	locks := s.NewLocks(1)
	unlock, err := locks.Lock(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	waited := make(chan error, 1)
	go func() {
		_, err := locks.Lock(ctx, "a", "b", "c", "d")
		waited <- err
	}()
	cancel()
	select {
	case err := <-waited:
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case <-time.After(3 * time.Minute):
		t.Fatal("it waits on")
	}
	unlock()
	ctx, cancel = context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	if unlock, err = locks.Lock(ctx, "a", "b", "c", "d"); err != nil {
		t.Fatal(err)
	}
	unlock()
}
