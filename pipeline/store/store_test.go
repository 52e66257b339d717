package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func instance(study, sop string, at int64) Instance {
	return Instance{SOPInstanceUID: sop, StudyInstanceUID: study, SeriesInstanceUID: "1.9", SOPClassUID: "1.2",
		TransferSyntaxUID: "1.3", Path: sop + ".dcm", Size: 1, CallingAE: "CART", Received: time.UnixMilli(at), Loop: true}
}

func add(t *testing.T, s *Store, in Instance) bool {
	t.Helper()
	isNew, err := s.AddInstance(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	return isNew
}

func study(t *testing.T, s *Store, uid string) Study {
	t.Helper()
	st, err := s.Study(context.Background(), uid)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func noJob(*Tx, string, int) error { return nil }

// look finishes every loop that waits, as on arrival.
func look(t *testing.T, s *Store) {
	t.Helper()
	ctx := context.Background()
	for {
		l, err := s.LeaseLoop(ctx, time.Now(), true, 100)
		if errors.Is(err, ErrNotFound) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := s.FinishLoop(ctx, l, "basis", "key of "+l.SOPInstanceUID, "", noJob); err != nil {
			t.Fatal(err)
		}
	}
}

// The life of a study: received, queued once it is quiet, analysed, delivered,
// and taken up again by a late object.
func checkStudyLife(t *testing.T, s *Store) {
	ctx := context.Background()
	if !add(t, s, instance("1", "1.1", 1000)) || !add(t, s, instance("1", "1.2", 2000)) {
		t.Fatal("new instances not reported as new")
	}
	if add(t, s, instance("1", "1.2", 9000)) {
		t.Error("a repeated instance was reported as new")
	}
	st := study(t, s, "1")
	if st.State != Receiving || st.First.UnixMilli() != 1000 || st.Last.UnixMilli() != 2000 {
		t.Fatalf("after two objects and a repeat: %+v", st)
	}
	look(t, s)

	// An object that arrived after the caller looked keeps the study open.
	if queued, err := s.Queue(ctx, "1", time.UnixMilli(1999), "basis", noJob); err != nil || queued {
		t.Fatalf("Queue with an older look = %v, %v", queued, err)
	}
	// A job that cannot be enqueued must not leave a queued study behind.
	boom := errors.New("boom")
	if _, err := s.Queue(ctx, "1", st.Last, "basis", func(*Tx, string, int) error { return boom }); !errors.Is(err, boom) {
		t.Fatalf("Queue = %v, want the enqueue error", err)
	}
	if study(t, s, "1").State != Receiving {
		t.Fatal("a failed enqueue left the study queued")
	}
	revision := 0
	if queued, err := s.Queue(ctx, "1", st.Last, "basis", func(_ *Tx, _ string, r int) error { revision = r; return nil }); err != nil ||
		!queued || revision != 1 {
		t.Fatalf("Queue = %v, %v, revision %d", queued, err, revision)
	}

	run, err := s.StartRun(ctx, "1", 1)
	if err != nil {
		t.Fatal(err)
	}
	// After a crash the same revision starts again under the same run.
	again, err := s.StartRun(ctx, "1", 1)
	if err != nil || again.ID != run.ID {
		t.Fatalf("second start of a revision: run %d, %v; want %d", again.ID, err, run.ID)
	}
	// Who held the run before may not write any more.
	if err := s.FinishRun(ctx, run, nil, nil, nil); !errors.Is(err, ErrOutdated) {
		t.Errorf("finishing a run that was started again: %v", err)
	}
	run = again
	outputs := []Output{{SOPInstanceUID: "2.25.1", SOPClassUID: "sr", Kind: "report", Path: "r.dcm"},
		{SOPInstanceUID: "2.25.2", SOPClassUID: "sc", Kind: "overlay", Path: "o.dcm"},
		{SOPInstanceUID: "2.25.3", SOPClassUID: "sc", Kind: "summary", Path: "s.dcm"}}
	var jobs []string
	finish := func() {
		t.Helper()
		jobs = nil
		if err := s.FinishRun(ctx, run, outputs, []Route{{Destination: "pacs", Kinds: []string{"report", "overlay", "summary"}},
			{Destination: "archive", Kinds: []string{"report"}}}, func(_ *Tx, _ int64, d string) error { jobs = append(jobs, d); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	finish()
	if len(jobs) != 2 || study(t, s, "1").State != Done {
		t.Fatalf("after the run: jobs %v, state %s", jobs, study(t, s, "1").State)
	}
	if mine, err := s.IsOutput(ctx, "2.25.2"); err != nil || !mine {
		t.Errorf("IsOutput = %v, %v", mine, err)
	}

	pending, err := s.PendingDeliveries(ctx, run.ID, "pacs")
	if err != nil || len(pending) != 3 || pending[0].Kind != "report" {
		t.Fatalf("pending = %+v, %v; want the report first", pending, err)
	}
	status := uint16(0xB000)
	sent := pending[0]
	sent.State, sent.Status, sent.Comment = Warning, &status, "coerced"
	if err := s.RecordDelivery(ctx, sent); err != nil {
		t.Fatal(err)
	}
	finish() // repeated after a crash: what was sent stays sent
	if pending, err = s.PendingDeliveries(ctx, run.ID, "pacs"); err != nil || len(pending) != 2 {
		t.Fatalf("pending after one was sent and the run repeated = %+v, %v", pending, err)
	}
	// What has failed goes after what was not tried, of which that is no attempt.
	first := pending[0].SOPInstanceUID
	pending[0].Error, pending[1].Error, pending[1].Untried = "HTTP 500", "not tried", true
	for _, d := range pending {
		if err := s.RecordDelivery(ctx, d); err != nil {
			t.Fatal(err)
		}
	}
	if pending, err = s.PendingDeliveries(ctx, run.ID, "pacs"); err != nil || len(pending) != 2 || pending[1].SOPInstanceUID != first ||
		pending[0].Attempts != 0 || pending[0].Error != "not tried" || pending[1].Attempts != 1 {
		t.Errorf("pending after one has failed = %+v, %v", pending, err)
	}
	if err := s.BuryDeliveries(ctx, run.ID, "pacs"); err != nil {
		t.Fatal(err)
	}
	revived := 0
	if n, err := s.ReviveDeliveries(ctx, "1", "", func(*Tx, int64, string) error { revived++; return nil }); err != nil || n != 2 || revived != 1 {
		t.Fatalf("revived %d deliveries with %d jobs, %v", n, revived, err)
	}

	add(t, s, instance("1", "1.3", 50000))
	if st = study(t, s, "1"); st.State != Receiving || st.First.UnixMilli() != 50000 || st.Revision != 1 {
		t.Fatalf("after a late object: %+v", st)
	}
}

// A late object during the analysis must survive the end of that run.
func checkLateObjectDuringRun(t *testing.T, s *Store) {
	ctx := context.Background()
	add(t, s, instance("1", "1.1", 1000))
	look(t, s)
	if _, err := s.Queue(ctx, "1", time.UnixMilli(1000), "basis", noJob); err != nil {
		t.Fatal(err)
	}
	run, err := s.StartRun(ctx, "1", 1)
	if err != nil {
		t.Fatal(err)
	}
	add(t, s, instance("1", "1.2", 2000))
	if err := s.FinishRun(ctx, run, nil, nil, nil); err != nil {
		t.Fatal(err)
	}
	if st := study(t, s, "1"); st.State != Receiving {
		t.Errorf("state = %s, want receiving: the late object is not in the run", st.State)
	}
}

// A process that was taken for dead may fail its attempt when another has long
// been started, or has finished: that is told of nobody.
func checkLateFailure(t *testing.T, s *Store) {
	ctx := t.Context()
	add(t, s, instance("1", "1.1", 1000))
	look(t, s)
	if _, err := s.Queue(ctx, "1", time.UnixMilli(1000), "basis", noJob); err != nil {
		t.Fatal(err)
	}
	start := func() Run {
		t.Helper()
		run, err := s.StartRun(ctx, "1", 1)
		if err != nil {
			t.Fatal(err)
		}
		return run
	}
	check := func(when string, state State, why string) {
		t.Helper()
		runs, err := s.Runs(ctx, "1")
		if err != nil || len(runs) != 1 {
			t.Fatal(runs, err)
		}
		if st := study(t, s, "1"); st.State != state || st.Error != why || runs[0].Error != why {
			t.Errorf("%s: study %s %q, run %q; want %s %q", when, st.State, st.Error, runs[0].Error, state, why)
		}
	}
	fail := func(run Run, final bool) {
		t.Helper()
		if err := s.FailRun(ctx, run, errors.New("disk full"), final); err != nil {
			t.Fatal(err)
		}
	}
	// A study whose run could not even be started fails too.
	fail(Run{StudyInstanceUID: "1", Revision: 1}, false)
	if st := study(t, s, "1"); st.State != Queued || st.Error != "disk full" {
		t.Errorf("no run yet: %s %q", st.State, st.Error)
	}
	first := start()
	fail(first, false)
	check("first attempt", Queued, "disk full")
	second := start()
	if runs, err := s.Runs(ctx, "1"); err != nil || runs[0].Error != "" {
		t.Error(runs, err)
	}
	fail(first, true)
	if runs, err := s.Runs(ctx, "1"); err != nil || runs[0].Error != "" || study(t, s, "1").State == Failed {
		t.Errorf("the first attempt failed the second: %+v, %v", runs, err)
	}
	if err := s.FinishRun(ctx, second, nil, nil, nil); err != nil {
		t.Fatal(err)
	}
	check("finished", Done, "")
	for _, late := range []Run{first, second, {StudyInstanceUID: "1", Revision: 1}} {
		fail(late, true)
		check("late failure", Done, "")
	}
}

func checkFailAndRequeue(t *testing.T, s *Store) {
	ctx := context.Background()
	add(t, s, instance("1", "1.1", 1000))
	look(t, s)
	if _, err := s.Queue(ctx, "1", time.UnixMilli(1000), "basis", noJob); err != nil {
		t.Fatal(err)
	}
	if _, err := s.StartRun(ctx, "1", 1); err != nil {
		t.Fatal(err)
	}
	if err := s.FailRun(ctx, Run{StudyInstanceUID: "1", Revision: 1}, errors.New("disk full"), true); err != nil {
		t.Fatal(err)
	}
	if st := study(t, s, "1"); st.State != Failed || st.Error != "disk full" {
		t.Fatalf("after the failure: %+v", st)
	}
	revision := 0
	if err := s.Requeue(ctx, "1", "basis", func(_ *Tx, _ string, r int) error { revision = r; return nil }); err != nil || revision != 2 {
		t.Fatalf("Requeue: revision %d, %v", revision, err)
	}
	if err := s.Requeue(ctx, "1", "basis", noJob); !errors.Is(err, ErrNotFound) {
		t.Errorf("Requeue of a queued study = %v, want ErrNotFound", err)
	}
	if _, err := s.Study(ctx, "2"); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown study = %v, want ErrNotFound", err)
	}
}

func checkExpired(t *testing.T, s *Store) {
	ctx := context.Background()
	add(t, s, instance("1", "1.1", 1000))
	look(t, s)
	if _, err := s.Queue(ctx, "1", time.UnixMilli(1000), "basis", noJob); err != nil {
		t.Fatal(err)
	}
	run, err := s.StartRun(ctx, "1", 1)
	if err != nil {
		t.Fatal(err)
	}
	out := []Output{{SOPInstanceUID: "2.25.1", SOPClassUID: "sr", Kind: "report", Path: "r"}}
	if err := s.FinishRun(ctx, run, out, []Route{{Destination: "pacs", Kinds: []string{"report"}}}, func(*Tx, int64, string) error { return nil }); err != nil {
		t.Fatal(err)
	}
	later := Retention{Done: time.Now().Add(time.Hour), Failed: time.Now().Add(time.Hour)}
	if ids, err := s.Expired(ctx, later); err != nil || len(ids) != 0 {
		t.Fatalf("expired = %v, %v: an undelivered study must stay", ids, err)
	}
	// Given up: kept for a person, until the time for failed ones is over.
	if err := s.BuryDeliveries(ctx, run.ID, "pacs"); err != nil {
		t.Fatal(err)
	}
	if ids, err := s.Expired(ctx, Retention{Done: later.Done}); err != nil || len(ids) != 0 {
		t.Fatalf("expired = %v, %v: a study with a dead delivery must stay", ids, err)
	}
	if ids, err := s.Expired(ctx, Retention{Done: later.Done, Failed: time.Now().Add(-time.Hour)}); err != nil || len(ids) != 0 {
		t.Fatalf("expired = %v, %v: a study whose delivery was just given up must stay", ids, err)
	}
	if ids, err := s.Expired(ctx, later); err != nil || len(ids) != 1 {
		t.Fatalf("expired = %v, %v: want the study that was given up long ago", ids, err)
	}
	if err := s.RecordDelivery(ctx, Delivery{Output: out[0], RunID: run.ID, Begun: mark(run), Destination: "pacs", State: Sent}); err != nil {
		t.Fatal(err)
	}
	if ids, err := s.Expired(ctx, Retention{Done: later.Done}); err != nil || len(ids) != 1 {
		t.Fatalf("expired = %v, %v: want the delivered study", ids, err)
	}
	if ids, err := s.Expired(ctx, Retention{}); err != nil || len(ids) != 0 {
		t.Fatalf("expired = %v, %v: everything is kept for ever", ids, err)
	}
	// A failed study goes by its own time.
	add(t, s, instance("3", "3.1", 1000))
	if _, err := s.Queue(ctx, "3", time.UnixMilli(1000), "basis", noJob); err != nil {
		t.Fatal(err)
	}
	if err := s.FailRun(ctx, Run{StudyInstanceUID: "3", Revision: 1}, errors.New("broken"), true); err != nil {
		t.Fatal(err)
	}
	if ids, err := s.Expired(ctx, Retention{Done: later.Done}); err != nil || len(ids) != 1 || ids[0] != "1" {
		t.Fatalf("expired = %v, %v: a failed study must stay", ids, err)
	}
	if ids, err := s.Expired(ctx, Retention{Failed: time.UnixMilli(1001)}); err != nil || len(ids) != 1 || ids[0] != "3" {
		t.Fatalf("expired = %v, %v: want the failed study", ids, err)
	}
	if err := s.Delete(ctx, "1"); err != nil {
		t.Fatal(err)
	}
	if in, err := s.Instances(ctx, "1"); err != nil || len(in) != 0 {
		t.Errorf("instances after Delete = %v, %v", in, err)
	}
}

// A study is removed only as it was looked at, and a file is deleted only
// while no record has it.
func checkRemovalsGiveWayToObjects(t *testing.T, s *Store) {
	ctx := context.Background()
	add(t, s, instance("1", "1.1", 1000))
	add(t, s, instance("1", "1.2", 1000))
	finish := func() {
		t.Helper()
		st := study(t, s, "1")
		if _, err := s.Queue(ctx, "1", st.Last, "basis", noJob); err != nil {
			t.Fatal(err)
		}
		run, err := s.StartRun(ctx, "1", st.Revision+1)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.FinishRun(ctx, run, nil, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	finish()
	before := Retention{Done: time.UnixMilli(5000)}
	if got, err := s.Expired(ctx, before); err != nil || len(got) != 1 {
		t.Fatalf("Expired = %v, %v", got, err)
	}
	add(t, s, instance("1", "1.3", 2000)) // between the look and the removal
	if deleted, err := s.DeleteExpired(ctx, "1", before); err != nil || deleted {
		t.Fatalf("a study that received more was removed (%v, %v)", deleted, err)
	}
	finish()
	if deleted, err := s.DeleteExpired(ctx, "1", before); err != nil || !deleted {
		t.Fatalf("DeleteExpired = %v, %v", deleted, err)
	}
	if got, err := s.Removals(ctx); err != nil || len(got) != 3 {
		t.Fatalf("Removals = %v, %v", got, err)
	}
	add(t, s, instance("1", "1.2", 9000)) // comes again before its file is deleted
	if still, err := s.Removing(ctx, "1.2.dcm"); err != nil || still {
		t.Errorf("the file of a recorded object is still to be deleted (%v)", err)
	}
	if still, err := s.Removing(ctx, "1.1.dcm"); err != nil || !still {
		t.Errorf("the file of a removed object is not to be deleted (%v)", err)
	}
	if known, err := s.Paths(ctx); err != nil || len(known) != 3 {
		t.Errorf("Paths = %v, %v", known, err)
	}
	if err := s.Removed(ctx, "1.1.dcm"); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Removals(ctx); err != nil || len(got) != 1 || got[0].Path != "1.3.dcm" {
		t.Errorf("Removals = %v, %v", got, err)
	}
	if err := s.Delete(ctx, "7"); !errors.Is(err, ErrNotFound) {
		t.Errorf("Delete of nothing: %v", err)
	}
}

// Persons are listed once, and a correction takes the place of what was said before.
func checkPersons(t *testing.T, s *Store) {
	ctx := context.Background()
	for i, p := range []Person{{"a", "", "v9", "J", "1", "F"}, {"a", "", "v9", "J", "1", "F"}, {"a", "", "v9 M", "K", "1", "F"}} {
		in := instance("1", "1."+string(rune('1'+i)), 1000)
		in.Person, in.Loop = p, true
		add(t, s, in)
	}
	if got, err := s.Persons(ctx, "1"); err != nil || len(got) != 2 {
		t.Errorf("%v, %v", got, err)
	}
	in := instance("1", "1.1", 500) // the clock was set back
	in.Person, in.Loop, in.Path = Person{"a", "", "v9 N", "K", "1", "M"}, true, "corrected"
	if _, err := s.Replace(ctx, in); err != nil {
		t.Fatal(err)
	}
	loops, err := s.Loops(ctx, "1")
	if err != nil || len(loops) != 3 || loops[2].SOPInstanceUID != "1.1" || loops[2].Number != 1 {
		t.Errorf("the corrected loop is not the last: %+v, %v", loops, err)
	}
	if now, err := s.Instance(ctx, "1.1"); err != nil || now.Person != in.Person {
		t.Errorf("the corrected person: %+v, %v", now.Person, err)
	}
	if left, err := s.Unread(ctx, "1", "v9"); err != nil || len(left) != 0 {
		t.Errorf("to be read again: %v, %v", left, err)
	}
	// What a program of before records and corrects is read again, once.
	for _, before := range []string{`UPDATE instances SET given = NULL, sex = NULL, family = '0011223344556677' WHERE sop_uid = '1.2'`,
		`UPDATE instances SET family = '' WHERE sop_uid = '1.3'`} { // it knew no family name
		if _, err := s.db.ExecContext(ctx, before); err != nil {
			t.Fatal(err)
		}
	}
	left, err := s.Unread(ctx, "1", "v9")
	if err != nil || len(left) != 2 || left[0].SOPInstanceUID != "1.2" || left[1].SOPInstanceUID != "1.3" {
		t.Fatalf("to be read again: %v, %v", left, err)
	}
	for _, in := range left {
		in.Person = Person{"a", "", "v9", "", "1", ""}
		if err := s.SetPerson(ctx, in); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := s.Unread(ctx, "1", "v9"); err != nil || len(left) != 0 {
		t.Errorf("to be read again: %v, %v", left, err)
	}
	stale := in
	stale.Path, stale.Person = "1.1.dcm", Person{"b", "", "", "", "", ""}
	if err := s.SetPerson(ctx, stale); err != nil {
		t.Fatal(err)
	}
	if now, err := s.Instance(ctx, "1.1"); err != nil || now.Person != in.Person {
		t.Errorf("the person of a version that has gone is recorded: %+v, %v", now.Person, err)
	}
}

// The database is for its owner and group, whatever it was and whatever the
// mask of the process.
func TestModeOfTheDatabase(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	dir := t.TempDir()
	path := filepath.Join(dir, "node.db")
	if err := os.WriteFile(path, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	s, err := Open(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	add(t, s, instance("1", "1.1", 1000))
	files, err := os.ReadDir(dir)
	if err != nil || len(files) < 2 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode().Perm() != 0o640 {
			t.Errorf("%s has mode %v, %v", f.Name(), info.Mode(), err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// Objects that are recorded at the same time share transactions; one that
// cannot be recorded takes no other with it.
func checkAdditionsTogether(t *testing.T, s *Store) {
	ctx := context.Background()
	trigger := `CREATE TRIGGER refuse BEFORE INSERT ON instances WHEN NEW.calling_ae = 'BAD' BEGIN SELECT raise(ABORT, 'refused'); END`
	if s.PostgreSQL() != nil {
		trigger = `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused'; END $$;
			CREATE TRIGGER refuse BEFORE INSERT ON instances FOR EACH ROW WHEN (NEW.calling_ae = 'BAD') EXECUTE FUNCTION refuse()`
	}
	if _, err := s.db.on.ExecContext(ctx, trigger); err != nil {
		t.Fatal(err)
	}
	const n = 300
	var group sync.WaitGroup
	var isNew, failed atomic.Int32
	for i := range n {
		group.Go(func() {
			in := instance("1", fmt.Sprint("1.", i/2), 1000) // every object twice
			in.Loop = true
			if i/2%10 == 3 {
				in.CallingAE = "BAD"
			}
			added, err := s.AddInstance(ctx, in)
			switch {
			case (err != nil) != (in.CallingAE == "BAD"):
				t.Errorf("%s: %v", in.SOPInstanceUID, err)
			case err != nil:
				failed.Add(1)
			case added:
				isNew.Add(1)
			}
		})
	}
	group.Wait()
	if isNew.Load() != n/2*9/10 || failed.Load() != n/10 {
		t.Errorf("%d new, %d failed of %d", isNew.Load(), failed.Load(), n)
	}
	all, err := s.Instances(ctx, "1")
	loops, lerr := s.Loops(ctx, "1")
	if err != nil || lerr != nil || len(all) != n/2*9/10 || len(loops) != len(all) {
		t.Errorf("%d objects, %d loops, %v, %v", len(all), len(loops), err, lerr)
	}
	for i, l := range loops {
		if l.Number != i+1 {
			t.Fatalf("loop %d has number %d", i+1, l.Number)
		}
	}
}
