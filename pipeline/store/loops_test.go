package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"syscall"
	"testing"
	"time"
)

func lease(t *testing.T, s *Store, onArrival bool) Lease {
	t.Helper()
	l, err := s.LeaseLoop(context.Background(), time.UnixMilli(1_000_000), onArrival, 100)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func queue(t *testing.T, s *Store, uid, basis string) (due bool) {
	t.Helper()
	queued, err := s.Queue(context.Background(), uid, time.UnixMilli(1_000_000), basis, func(*Tx, string, int) error { due = true; return nil })
	if err != nil || !queued {
		t.Fatalf("study %s: queued %v, %v", uid, queued, err)
	}
	return due
}

// Complete studies first, among them in turn, in each the oldest first; then in
// turn those that are still received, unless that is switched off.
func checkOrderOfLoops(t *testing.T, s *Store) {
	ctx := context.Background()
	for i := range 5 {
		add(t, s, instance("large", fmt.Sprintf("large.%d", i+1), int64(1000+i)))
	}
	for _, study := range []string{"small", "arriving", "other"} {
		for i := range 2 {
			add(t, s, instance(study, fmt.Sprintf("%s.%d", study, i+1), int64(2000+i)))
		}
	}
	if _, err := s.LeaseLoop(ctx, time.UnixMilli(1_000_000), false, 100); !errors.Is(err, ErrNotFound) {
		t.Fatalf("without arrival, nothing complete: %v", err)
	}
	if queue(t, s, "large", "b") || queue(t, s, "small", "b") {
		t.Fatal("combined before its loops were looked at")
	}
	var got []string
	for range 9 {
		l := lease(t, s, true)
		got = append(got, l.SOPInstanceUID)
	}
	want := []string{"large.1", "small.1", "large.2", "small.2", "large.3", "large.4", "large.5", "arriving.1", "other.1"}
	if !slices.Equal(got, want) {
		t.Errorf("order %v\nwant  %v", got, want)
	}
	if st := study(t, s, "large"); st.State != Analysing {
		t.Errorf("large is %s", st.State)
	}
	if done, total, err := s.LoopsDone(ctx, "large"); err != nil || done != 0 || total != 5 {
		t.Errorf("large: %d of %d, %v", done, total, err)
	}
}

// The last loop of a complete study makes its combination due, once.
func checkLastLoopCombines(t *testing.T, s *Store) {
	ctx := context.Background()
	add(t, s, instance("1", "1.1", 1000))
	add(t, s, instance("1", "1.2", 1000))
	var due []int
	combine := func(_ *Tx, study string, revision int) error { due = append(due, revision); return nil }
	a := lease(t, s, true)
	if err := s.FinishLoop(ctx, a, "b", "key a", "", combine); err != nil || due != nil {
		t.Fatalf("first loop: %v, due %v", err, due)
	}
	b := lease(t, s, true)
	if queue(t, s, "1", "b") {
		t.Fatal("due while a loop is worked on")
	}
	if err := s.FinishLoop(ctx, b, "b", "key b", "", combine); err != nil || !slices.Equal(due, []int{1}) {
		t.Fatalf("last loop: %v, due %v", err, due)
	}
	loops, err := s.Loops(ctx, "1")
	if err != nil || len(loops) != 2 || loops[0].Result != "key a" || loops[1].Number != 2 || loops[1].State != LoopDone {
		t.Errorf("%+v, %v", loops, err)
	}
	// Everything was done before the study was complete: due at once. A late
	// object is the only one that waits.
	run, err := s.StartRun(ctx, "1", 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.FinishRun(ctx, run, nil, nil, nil); err != nil {
		t.Fatal(err)
	}
	add(t, s, instance("1", "1.3", 2000))
	if l := lease(t, s, true); l.SOPInstanceUID != "1.3" || l.Number != 3 {
		t.Errorf("leased %+v", l)
	} else if err := s.FinishLoop(ctx, l, "b", "key c", "", noJob); err != nil {
		t.Fatal(err)
	}
	if !queue(t, s, "1", "b") {
		t.Error("not due although every loop is done")
	}
}

// Results under another basis, failures, and what may come out better.
func checkLoopsWaitAgain(t *testing.T, s *Store) {
	ctx := context.Background()
	for i := range 3 {
		add(t, s, instance("1", fmt.Sprintf("1.%d", i+1), 1000))
	}
	finish := func(l Lease, basis, problem string) {
		t.Helper()
		if err := s.FinishLoop(ctx, l, basis, "k", problem, noJob); err != nil {
			t.Fatal(err)
		}
	}
	finish(lease(t, s, true), "old", "")
	finish(lease(t, s, true), "new", "out of time")
	failed := lease(t, s, true)
	if err := s.FailLoop(ctx, failed, errors.New("no engine"), time.UnixMilli(2_000_000), noJob); err != nil {
		t.Fatal(err)
	}
	if _, err := s.LeaseLoop(ctx, time.UnixMilli(1_999_999), true, 100); !errors.Is(err, ErrNotFound) {
		t.Errorf("leased before its time: %v", err)
	}
	failed, err := s.LeaseLoop(ctx, time.UnixMilli(2_000_000), true, 100)
	if err != nil || failed.Attempts != 1 {
		t.Fatalf("%+v, %v", failed, err)
	}
	if err := s.FailLoop(ctx, failed, errors.New("no engine"), time.Time{}, noJob); err != nil {
		t.Fatal(err)
	}
	states := func() (out []LoopState) {
		t.Helper()
		loops, err := s.Loops(ctx, "1")
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range loops {
			out = append(out, l.State)
		}
		return out
	}
	if got := states(); !slices.Equal(got, []LoopState{LoopDone, LoopDone, LoopFailed}) {
		t.Fatalf("states %v", got)
	}
	counted := func(waiting, working, failed int) {
		t.Helper()
		got, err := s.LoopCounts(ctx)
		if err != nil || !maps.Equal(got, map[LoopState]int{LoopWaiting: waiting, LoopWorking: working, LoopFailed: failed}) {
			t.Errorf("counted %v, %v, want %d, %d, %d", got, err, waiting, working, failed)
		}
	}
	counted(0, 0, 1)
	if queue(t, s, "1", "new") {
		t.Error("due with loops under an old basis")
	}
	if got := states(); !slices.Equal(got, []LoopState{LoopWaiting, LoopDone, LoopWaiting}) {
		t.Errorf("new basis: %v", got)
	}
	counted(2, 0, 0)
	again := lease(t, s, false)
	counted(1, 1, 0)
	finish(again, "new", "")
	finish(lease(t, s, false), "new", "")
	if st := study(t, s, "1"); st.Error != "" {
		t.Errorf("the study still says %q", st.Error)
	}
	if err := s.FailRun(ctx, Run{StudyInstanceUID: "1", Revision: 1}, errors.New("disk full"), true); err != nil {
		t.Fatal(err)
	}
	if err := s.Requeue(ctx, "1", "new", noJob); err != nil {
		t.Fatal(err)
	}
	if got := states(); !slices.Equal(got, []LoopState{LoopDone, LoopWaiting, LoopDone}) {
		t.Errorf("asked for again: %v", got)
	}
	counted(1, 0, 0)
}

// Only the latest lease may write.
func checkLeaseIsAFence(t *testing.T, s *Store) {
	ctx := context.Background()
	add(t, s, instance("1", "1.1", 1000))
	add(t, s, instance("2", "2.1", 3000))
	old := lease(t, s, true)
	if n, studies, err := s.FreeLoops(ctx); err != nil || n != 1 || !slices.Equal(studies, []string{"1"}) {
		t.Fatalf("recovered %v, %v", studies, err)
	}
	if err := s.FinishLoop(ctx, old, "b", "late", "", noJob); !errors.Is(err, ErrStale) {
		t.Errorf("a lost lease wrote: %v", err)
	}
	// What a process died over is told apart, and counted.
	suspect, err := s.LeaseSuspect(ctx)
	if err != nil || suspect.SOPInstanceUID != "1.1" || suspect.Deaths != 1 {
		t.Fatalf("suspect %+v, %v", suspect, err)
	}
	if err := s.FinishLoop(ctx, old, "b", "late", "", noJob); !errors.Is(err, ErrStale) {
		t.Errorf("a lost lease wrote: %v", err)
	}
	if err := s.ReleaseLoop(ctx, suspect); err != nil {
		t.Fatal(err)
	}
	if suspect, err = s.LeaseSuspect(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.FinishLoop(ctx, suspect, "b", "k", "", noJob); err != nil {
		t.Fatal(err)
	}
	if _, err := s.LeaseSuspect(ctx); !errors.Is(err, ErrNotFound) {
		t.Errorf("another suspect: %v", err)
	}
	gone := lease(t, s, true)
	if err := s.Delete(ctx, "2"); err != nil {
		t.Fatal(err)
	}
	if err := s.FinishLoop(ctx, gone, "b", "k", "", noJob); !errors.Is(err, ErrStale) {
		t.Errorf("a removed object: %v", err)
	}
	// Another patient's object under the same UID, which is being looked at, is not what was looked at before.
	add(t, s, instance("2", "2.1", 5000))
	other := lease(t, s, true)
	for _, err := range []error{s.FinishLoop(ctx, gone, "b", "k", "", noJob), s.FailLoop(ctx, gone, errors.New("x"), time.Time{}, noJob),
		s.ReleaseLoop(ctx, gone)} {
		if !errors.Is(err, ErrStale) {
			t.Errorf("the lease of a removed object wrote to the one that came after it: %v", err)
		}
	}
	if err := s.FinishLoop(ctx, other, "b", "k", "", noJob); other.SOPInstanceUID != "2.1" || err != nil {
		t.Errorf("%+v: %v", other, err)
	}
	if err := s.ForgetLoop(ctx, "1.1"); err != nil {
		t.Fatal(err)
	}
	if l := lease(t, s, true); l.SOPInstanceUID != "1.1" {
		t.Errorf("leased %+v", l)
	}
}

// What is no loop begins no run.
func checkOnlyLoopsBeginARun(t *testing.T, s *Store) {
	ctx := context.Background()
	report := instance("1", "1.9", 1000)
	report.Loop = false
	if !add(t, s, report) {
		t.Fatal("not new")
	}
	if st := study(t, s, "1"); st.State != Done || st.Revision != 0 {
		t.Errorf("a study of a report alone is %+v", st)
	}
	if err := s.Requeue(ctx, "1", "b", noJob); !errors.Is(err, ErrNotFound) {
		t.Errorf("requeued without a loop: %v", err)
	}
	add(t, s, instance("1", "1.1", 2000))
	report.SOPInstanceUID = "1.10"
	report.Received = time.UnixMilli(3000)
	add(t, s, report)
	if st := study(t, s, "1"); st.State != Receiving || st.First.UnixMilli() != 2000 || st.Last.UnixMilli() != 3000 {
		t.Errorf("%+v", st)
	}
	look(t, s)
	if !queue(t, s, "1", "basis") {
		t.Fatal("not due")
	}
	run, err := s.StartRun(ctx, "1", 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.FinishRun(ctx, run, nil, nil, nil); err != nil {
		t.Fatal(err)
	}
	report.SOPInstanceUID = "1.11"
	add(t, s, report)
	if st := study(t, s, "1"); st.State != Done || st.Revision != 1 {
		t.Errorf("a late report began a run: %+v", st)
	}
}

// Senders take turns, whatever one of them has sent, and no sender takes every
// place.
func checkSendersTakeTurns(t *testing.T, s *Store) {
	ctx := context.Background()
	send := func(sender, study, sop string) {
		in := instance(study, sop, 1000)
		in.Sender, in.Loop = sender, true
		add(t, s, in)
	}
	for i := range 20 {
		send("10.0.0.9", fmt.Sprint("9.", i), fmt.Sprint("9.1.", i))
	}
	next := func(atOnce int) (Lease, error) { return s.LeaseLoop(ctx, time.UnixMilli(1_000_000), true, atOnce) }
	for range 3 {
		if l, err := next(3); err != nil || l.StudyInstanceUID[:2] != "9." {
			t.Fatalf("%+v, %v", l, err)
		}
	}
	if l, err := next(3); !errors.Is(err, ErrNotFound) {
		t.Errorf("a fourth place for the same sender: %+v, %v", l, err)
	}
	for i := range 4 {
		send("10.0.0.1", "1", fmt.Sprint("1.", i))
	}
	got := ""
	for range 6 {
		l, err := next(100)
		if err != nil {
			t.Fatal(err)
		}
		got += l.StudyInstanceUID[:1]
	}
	if got != "191919" {
		t.Errorf("turns %s, want one each", got)
	}
}

// BenchmarkLoop is what one loop costs the store: recorded, leased, finished.
// CPU is this process's; PostgreSQL's own comes on top.
func BenchmarkLoop(b *testing.B) {
	for _, d := range databases {
		b.Run(d.name, func(b *testing.B) {
			s := open(b, d.open(b))
			ctx := b.Context()
			var before, after syscall.Rusage
			if err := syscall.Getrusage(syscall.RUSAGE_SELF, &before); err != nil {
				b.Fatal(err)
			}
			n := 0
			for b.Loop() {
				n++
				if _, err := s.AddInstance(ctx, instance(fmt.Sprint(n/20), fmt.Sprintf("%d.%d", n/20, n), int64(n))); err != nil {
					b.Fatal(err)
				}
				l, err := s.LeaseLoop(ctx, time.Now(), true, 100)
				if err != nil {
					b.Fatal(err)
				}
				if err := s.FinishLoop(ctx, l, "basis", "key", "", noJob); err != nil {
					b.Fatal(err)
				}
			}
			if err := syscall.Getrusage(syscall.RUSAGE_SELF, &after); err != nil {
				b.Fatal(err)
			}
			cpu := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
			b.ReportMetric(cpu.Seconds()*1000/float64(n), "cpu-ms/loop")
		})
	}
}
