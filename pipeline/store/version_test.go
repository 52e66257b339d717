package store

import (
	"context"
	"errors"
	"testing"
	"time"
)

// After a removal another patient's study may come under the same UIDs, in a
// directory to the same paths, with the same revisions and, in SQLite, the same
// numbers of runs: what is still under way for the one is not recorded of the
// other.
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
	changes, err := s.Changes(ctx, 10)
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
	old.ID = now.ID // as in SQLite
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
	if left, err := s.Changes(ctx, 10); err != nil || len(left) != 1 {
		t.Errorf("not to be listed any more: %v, %v", left, err)
	}
	list("Now", is)
	if l, err := s.Listing(ctx, "1"); err != nil || l.PatientName != "Now" {
		t.Errorf("listed as %q, %v", l.PatientName, err)
	}
	if err := s.FinishRun(ctx, now, nil, nil, none); err != nil {
		t.Error(err)
	}
}
