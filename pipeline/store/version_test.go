package store

import (
	"context"
	"errors"
	"testing"
	"time"
)

// After a removal another patient's study may come under the same UIDs, in a
// directory to the same paths, with the same revisions: what is still under way for
// the one is not recorded of the other.
func checkAnotherStudyUnderTheUIDs(t *testing.T, s *Store) {
	ctx := context.Background()
	none := func(*Tx, int64, string) error { return nil }
	begin := func(received int64) (Instance, Run) {
		t.Helper()
		in := instance("1", "1.1", received)
		add(t, s, in)
		if _, err := s.Queue(ctx, "1", study(t, s, "1").Last, "", noJob); err != nil {
			t.Fatal(err)
		}
		run, err := s.StartRun(ctx, "1", 1)
		if err != nil {
			t.Fatal(err)
		}
		if in, err = s.Instance(ctx, "1.1"); err != nil {
			t.Fatal(err)
		}
		return in, run
	}
	was, old := begin(1000)
	changes, err := s.Changes(ctx, "", 10)
	if err != nil || len(changes) != 1 {
		t.Fatal(changes, err)
	}
	if err := s.Delete(ctx, "1"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Millisecond) // times are recorded in milliseconds
	is, now := begin(2000)
	if now.Revision != old.Revision || now.Attempt != old.Attempt || is.Path != was.Path {
		t.Fatalf("nothing is used again: %+v, %+v", old, now)
	}
	if is.Version() == was.Version() || now.Version() == old.Version() {
		t.Error("both have one version")
	}
	if now.ID <= old.ID {
		t.Errorf("the number %d of a run is used again: %d", old.ID, now.ID)
	}
	old.ID = now.ID // as in a copy that was restored
	if err := s.FinishRun(ctx, old, nil, nil, none); !errors.Is(err, ErrOutdated) {
		t.Errorf("the run of the study before was recorded: %v", err)
	}
	if err := s.NoteRun(ctx, old, Done, errors.New("two patients"), nil, nil, none); !errors.Is(err, ErrOutdated) {
		t.Errorf("why the study before has no run was recorded: %v", err)
	}
	if err := s.FailRun(ctx, old, errors.New("of the study before"), true); err != nil {
		t.Fatal(err)
	}
	if st := study(t, s, "1"); st.State != Analysing || st.Error != "" {
		t.Errorf("%+v", st)
	}
	// The listing was read from the object before.
	list := func(name string, by Instance) {
		t.Helper()
		if err := s.List(ctx, changes[0], &Listing{StudyInstanceUID: "1", PatientName: name, NamedBy: &by}); err != nil {
			t.Fatal(err)
		}
	}
	list("Before", was)
	if l, err := s.Listing(ctx, "1"); !errors.Is(err, ErrNotFound) {
		t.Errorf("listed as %q, %v", l.PatientName, err)
	}
	if left, err := s.Changes(ctx, "", 10); err != nil || len(left) != 1 {
		t.Errorf("not to be listed any more: %v, %v", left, err)
	}
	list("Now", is)
	if l, err := s.Listing(ctx, "1"); err != nil || l.PatientName != "Now" {
		t.Errorf("listed as %q, %v", l.PatientName, err)
	}
	if err := s.FinishRun(ctx, now, nil, nil, none); err != nil {
		t.Error(err)
	}
	// So of what is being sent. Its outputs have the same UIDs too.
	send := func(run Run) Delivery {
		t.Helper()
		if err := s.FinishRun(ctx, run, []Output{{SOPInstanceUID: "1.8", Kind: "report"}}, []Route{{Destination: "pacs", Kinds: []string{"report"}}},
			none); err != nil {
			t.Fatal(err)
		}
		pending, err := s.PendingDeliveries(ctx, run.ID, "pacs")
		if err != nil || len(pending) != 1 {
			t.Fatal(pending, err)
		}
		return pending[0]
	}
	before := send(now)
	if err := s.Sending(ctx, before); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(ctx, "1"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Millisecond)
	_, third := begin(3000)
	after := send(third)
	before.RunID = third.ID // as in a copy that was restored
	if err := s.Sending(ctx, before); !errors.Is(err, ErrOutdated) {
		t.Errorf("an output of the study before is sent: %v", err)
	}
	status := uint16(0)
	before.State, before.Status = Sent, &status
	for _, id := range []int64{third.ID, third.ID + 1} {
		before.RunID = id
		if err := s.RecordDelivery(ctx, before); err != nil {
			t.Fatal(err)
		}
		if left, err := s.PendingDeliveries(ctx, third.ID, "pacs"); err != nil || len(left) != 1 || left[0].Attempts != 0 {
			t.Fatalf("the answer to an output of the study before counts for that of this one: %+v, %v", left, err)
		}
	}
	// One whose run is begun again by another process, as this one is slow, is the same.
	if _, err := s.StartRun(ctx, "1", 1); err != nil {
		t.Fatal(err)
	}
	after.State, after.Status = Sent, &status
	if err := s.RecordDelivery(ctx, after); err != nil {
		t.Fatal(err)
	}
	if left, err := s.PendingDeliveries(ctx, third.ID, "pacs"); err != nil || len(left) != 0 {
		t.Errorf("the answer is not recorded: %+v, %v", left, err)
	}
}

// A job that outlives the study of its run, delivering or giving up, finds nothing
// that is of another study.
func checkRunNumbers(t *testing.T, s *Store) {
	ctx := context.Background()
	route := []Route{{Destination: "pacs", Kinds: []string{"report"}}}
	make := func(uid string) Run {
		t.Helper()
		add(t, s, instance(uid, uid+".1", 1000))
		look(t, s)
		if queued, err := s.Queue(ctx, uid, time.UnixMilli(2000), "basis", noJob); err != nil || !queued {
			t.Fatal(queued, err)
		}
		run, err := s.StartRun(ctx, uid, 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.FinishRun(ctx, run, []Output{{SOPInstanceUID: uid + ".8", Kind: "report"}}, route, func(*Tx, int64, string) error { return nil }); err != nil {
			t.Fatal(err)
		}
		return run
	}
	one := make("1")
	if err := s.Delete(ctx, "1"); err != nil {
		t.Fatal(err)
	}
	two := make("2")
	if err := s.Sending(ctx, Delivery{Output: Output{SOPInstanceUID: "2.8"}, RunID: two.ID, Begun: mark(two), Destination: "pacs"}); err != nil {
		t.Fatal(err)
	}
	if left, err := s.PendingDeliveries(ctx, one.ID, "pacs"); err != nil || len(left) != 0 {
		t.Errorf("the job of a removed study sends %+v, %v", left, err)
	}
	if doubt, err := s.Doubtful(ctx, one.ID, "pacs"); err != nil || len(doubt) != 0 {
		t.Errorf("and asks for %v, %v", doubt, err)
	}
	if err := s.BuryDeliveries(ctx, one.ID, "pacs"); err != nil {
		t.Fatal(err)
	}
	if left, err := s.PendingDeliveries(ctx, two.ID, "pacs"); err != nil || len(left) != 1 {
		t.Errorf("and has given another's up: %+v, %v", left, err)
	}
	// So for what a reader signs.
	if err := s.Delete(ctx, "2"); err != nil {
		t.Fatal(err)
	}
	three := make("3")
	base := lastRun(t, s, "3")
	signed, err := s.Sign(ctx, Review{Verdict: "accepted", User: "u", Signed: time.UnixMilli(5000)},
		Run{StudyInstanceUID: "3", Started: time.UnixMilli(4000)}, base,
		nil, nil, func(*Tx, int64, string) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(ctx, "3"); err != nil {
		t.Fatal(err)
	}
	if four := make("4"); two.ID <= one.ID || three.ID <= two.ID || signed.ID <= three.ID || four.ID <= signed.ID {
		t.Errorf("numbers of runs: %d, %d, %d, %d, %d", one.ID, two.ID, three.ID, signed.ID, four.ID)
	}
}

func mark(r Run) RunMark { return RunMark{r.Started, r.Attempt} }
