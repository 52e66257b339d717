package store

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"
)

// What another destination has already is dropped, not sent twice.
func checkRedirect(t *testing.T, s *Store) {
	ctx := context.Background()
	add(t, s, instance("1", "1.1", 1000))
	look(t, s)
	if queued, err := s.Queue(ctx, "1", time.UnixMilli(2000), "basis", noJob); err != nil || !queued {
		t.Fatal(queued, err)
	}
	run, err := s.StartRun(ctx, "1", 1)
	if err != nil {
		t.Fatal(err)
	}
	outputs := []Output{{SOPInstanceUID: "2.1", Kind: "report"}, {SOPInstanceUID: "2.2", Kind: "overlay"}, {SOPInstanceUID: "2.3", Kind: "overlay"}}
	routes := []Route{{Destination: "old", Kinds: []string{"report", "overlay"}}, {Destination: "new", Kinds: []string{"report"}}}
	noDelivery := func(*Tx, int64, string) error { return nil }
	if err := s.FinishRun(ctx, run, outputs, routes, noDelivery); err != nil {
		t.Fatal(err)
	}
	var queues []string
	moved, dropped, err := s.Redirect(ctx, "old", "new", func(_ *Tx, _ int64, d string) error {
		queues = append(queues, d)
		return nil
	})
	if err != nil || moved != 2 || dropped != 1 || !slices.Equal(queues, []string{"new"}) {
		t.Errorf("%d moved, %d dropped, jobs for %v, %v", moved, dropped, queues, err)
	}
	if d, err := s.PendingDeliveries(ctx, run.ID, "new"); err != nil || len(d) != 3 {
		t.Errorf("%d deliveries to the other, %v", len(d), err)
	}
	if n, err := s.DropDeliveries(ctx, "old"); err != nil || n != 0 {
		t.Errorf("%d left of the first, %v", n, err)
	}
}

// A study is marked for its dead deliveries: where they are dropped, or redirected to
// who has the objects, its listing is out of date; of one whose other deliveries are
// dropped it is not.
func checkDroppedAreListed(t *testing.T, s *Store) {
	ctx := context.Background()
	noDelivery := func(*Tx, int64, string) error { return nil }
	for _, study := range []string{"1", "2", "3"} {
		add(t, s, instance(study, study+".1", 1000))
		look(t, s)
		if queued, err := s.Queue(ctx, study, time.UnixMilli(2000), "basis", noJob); err != nil || !queued {
			t.Fatal(queued, err)
		}
		run, err := s.StartRun(ctx, study, 1)
		if err != nil {
			t.Fatal(err)
		}
		routes := []Route{{Destination: "old", Kinds: []string{"report"}}, {Destination: "older", Kinds: []string{"report"}},
			{Destination: "new", Kinds: []string{"report"}}}
		if err := s.FinishRun(ctx, run, []Output{{SOPInstanceUID: study + ".9", Kind: "report"}}, routes, noDelivery); err != nil {
			t.Fatal(err)
		}
		for _, destination := range []string{"old", "older"} {
			if study == "3" {
				continue // its deliveries wait
			}
			if err := s.BuryDeliveries(ctx, run.ID, destination); err != nil {
				t.Fatal(err)
			}
		}
	}
	changed := func() (studies []string) {
		t.Helper()
		changes, err := s.Changes(ctx, "", 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range changes {
			studies = append(studies, c.StudyInstanceUID)
			if err := s.List(ctx, c, &Listing{StudyInstanceUID: c.StudyInstanceUID, Flags: DeliveryFailed}); err != nil {
				t.Fatal(err)
			}
		}
		slices.Sort(studies)
		return studies
	}
	changed() // all are listed
	if n, err := s.DropDeliveries(ctx, "old"); err != nil || n != 3 {
		t.Errorf("%d dropped, %v", n, err)
	}
	if got := changed(); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("dropped: listed anew are %v", got)
	}
	if moved, dropped, err := s.Redirect(ctx, "older", "new", noDelivery); err != nil || moved != 0 || dropped != 3 {
		t.Errorf("%d moved, %d dropped, %v", moved, dropped, err)
	}
	if got := changed(); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("redirected: listed anew are %v", got)
	}
	if err := s.Delete(ctx, "1"); err != nil {
		t.Fatal(err)
	}
	if got := changed(); !slices.Equal(got, []string{"1"}) {
		t.Errorf("removed: to be taken off the list are %v", got)
	}
}

// A delivery that is under way when its study is corrected is kept, whatever
// becomes of it; what waits is not sent any more.
func checkWithdrawn(t *testing.T, s *Store) {
	ctx := context.Background()
	for _, c := range []struct {
		study  string
		status int  // of the answer; -1: it is lost
		again  bool // the same output is made again first
		want   []DeliveryState
	}{
		{"1", 0, false, []DeliveryState{Sent}},
		{"2", -1, false, []DeliveryState{Warning}},
		{"3", 0xA700, false, nil},
		{"4", -1, true, []DeliveryState{Pending}},
	} {
		in := instance(c.study, c.study+".1", 1000)
		add(t, s, in)
		look(t, s)
		make := func(revision int) Run {
			t.Helper()
			if queued, err := s.Queue(ctx, c.study, time.UnixMilli(9000), "basis", noJob); err != nil || !queued {
				t.Fatal(queued, err)
			}
			look(t, s)
			run, err := s.StartRun(ctx, c.study, revision)
			if err != nil {
				t.Fatal(err)
			}
			outputs := []Output{{SOPInstanceUID: c.study + ".8", Kind: "report"}, {SOPInstanceUID: c.study + ".9", Kind: "report"}}
			if err := s.FinishRun(ctx, run, outputs[:3-revision], []Route{{Destination: "pacs", Kinds: []string{"report"}}},
				func(*Tx, int64, string) error { return nil }); err != nil {
				t.Fatal(err)
			}
			return run
		}
		run := make(1)
		pending, err := s.PendingDeliveries(ctx, run.ID, "pacs")
		if err != nil || len(pending) != 2 {
			t.Fatal(pending, err)
		}
		if err := s.Sending(ctx, pending[0]); err != nil {
			t.Fatal(err)
		}
		in.Path, in.Patient, in.Received = c.study+".new", "another", time.UnixMilli(2000)
		if unsent, err := s.Replace(ctx, in); err != nil || unsent != 1 {
			t.Errorf("%d deliveries withdrawn, %v; want that which waits", unsent, err)
		}
		if err := s.Sending(ctx, pending[1]); !errors.Is(err, ErrOutdated) {
			t.Errorf("what was withdrawn may be sent: %v", err)
		}
		if c.again {
			make(2)
		}
		d := pending[0]
		d.State = Pending
		if c.status >= 0 {
			status := uint16(c.status)
			d.Status = &status
		}
		if c.status == 0 {
			d.State = Sent
		}
		if err := s.RecordDelivery(ctx, d); err != nil {
			t.Fatal(err)
		}
		var got []DeliveryState
		all, err := s.Deliveries(ctx, c.study)
		for _, d := range all {
			got = append(got, d.State)
		}
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("study %s: %v, %v; want %v", c.study, got, err, c.want)
		}
	}
}

// A study whose loops have gone to another is looked at once more where
// something of it has been sent; its run makes nothing but notes.
func checkRecalled(t *testing.T, s *Store) {
	ctx := context.Background()
	for _, c := range []struct {
		study string
		sent  bool
		want  State
	}{{"1", true, Receiving}, {"2", false, Done}} {
		in := instance(c.study, c.study+".1", 1000)
		add(t, s, in)
		look(t, s)
		if queued, err := s.Queue(ctx, c.study, time.UnixMilli(9000), "basis", noJob); err != nil || !queued {
			t.Fatal(queued, err)
		}
		look(t, s)
		run, err := s.StartRun(ctx, c.study, 1)
		if err != nil {
			t.Fatal(err)
		}
		noDelivery := func(*Tx, int64, string) error { return nil }
		if err := s.FinishRun(ctx, run, []Output{{SOPInstanceUID: c.study + ".8", Kind: "report"}}, []Route{{Destination: "pacs", Kinds: []string{"report"}}},
			noDelivery); err != nil {
			t.Fatal(err)
		}
		if c.sent {
			status := uint16(0)
			if err := s.RecordDelivery(ctx, Delivery{Output: Output{SOPInstanceUID: c.study + ".8"}, RunID: run.ID, Begun: mark(run), Destination: "pacs", State: Sent,
				Status: &status}); err != nil {
				t.Fatal(err)
			}
		}
		in.StudyInstanceUID, in.Path, in.Received = c.study+".other", c.study+".new", time.UnixMilli(2000)
		if _, err := s.Replace(ctx, in); err != nil {
			t.Fatal(err)
		}
		if st, err := s.Study(ctx, c.study); err != nil || st.State != c.want {
			t.Fatalf("study %s: %+v, %v; want %s", c.study, st, err, c.want)
		}
		if !c.sent {
			continue
		}
		jobs := 0
		if queued, err := s.Queue(ctx, c.study, time.UnixMilli(9000), "basis", func(*Tx, string, int) error { jobs++; return nil }); err != nil ||
			!queued || jobs != 1 {
			t.Fatal(queued, jobs, err)
		}
		if run, err = s.StartRun(ctx, c.study, 2); err != nil {
			t.Fatal(err)
		}
		notes := []Output{{SOPInstanceUID: c.study + ".9", Kind: "withdrawal", To: []string{"pacs"}}}
		if err := s.NoteRun(ctx, run, Done, errors.New("no loop"), notes, []Route{{Destination: "pacs"}, {Destination: "other"}}, noDelivery); err != nil {
			t.Fatal(err)
		}
		pending, err := s.PendingDeliveries(ctx, run.ID, "pacs")
		st, serr := s.Study(ctx, c.study)
		if err != nil || serr != nil || len(pending) != 1 || st.State != Done || st.Error != "" {
			t.Errorf("%d notes to send, %+v, %v, %v", len(pending), st, err, serr)
		}
		run.Attempt++
		if err := s.NoteRun(ctx, run, Done, errors.New("no loop"), notes, nil, noDelivery); !errors.Is(err, ErrOutdated) {
			t.Errorf("another attempt: %v", err)
		}
	}
}

// What was being sent when a delivery is redirected or dropped stays in the
// account of the destination that may have it.
func checkDoubtIsKept(t *testing.T, s *Store) {
	ctx := context.Background()
	noDelivery := func(*Tx, int64, string) error { return nil }
	for _, study := range []string{"1", "2"} {
		add(t, s, instance(study, study+".1", 1000))
		look(t, s)
		if queued, err := s.Queue(ctx, study, time.UnixMilli(2000), "basis", noJob); err != nil || !queued {
			t.Fatal(queued, err)
		}
		run, err := s.StartRun(ctx, study, 1)
		if err != nil {
			t.Fatal(err)
		}
		outputs := []Output{{SOPInstanceUID: study + ".11", Kind: "report"}, {SOPInstanceUID: study + ".12", Kind: "overlay"},
			{SOPInstanceUID: study + ".13", Kind: "overlay"}}
		routes := []Route{{Destination: "old", Kinds: []string{"report", "overlay"}}, {Destination: "new", Kinds: []string{"report"}}}
		if err := s.FinishRun(ctx, run, outputs, routes, noDelivery); err != nil {
			t.Fatal(err)
		}
		for _, uid := range []string{".11", ".12"} {
			if err := s.Sending(ctx, Delivery{Output: Output{SOPInstanceUID: study + uid}, RunID: run.ID, Begun: mark(run), Destination: "old"}); err != nil {
				t.Fatal(err)
			}
		}
		if study == "1" {
			if moved, dropped, err := s.Redirect(ctx, "old", "new", noDelivery); err != nil || moved != 2 || dropped != 1 {
				t.Errorf("%d moved, %d dropped, %v", moved, dropped, err)
			}
		} else if n, err := s.DropDeliveries(ctx, "old"); err != nil || n != 3 {
			t.Errorf("%d dropped, %v", n, err)
		}
		all, err := s.Deliveries(ctx, study)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]DeliveryState{}
		for _, d := range all {
			got[d.Destination+d.SOPInstanceUID[1:]] = d.State
		}
		want := map[string]DeliveryState{"old.11": Warning, "old.12": Warning, "new.11": Pending}
		if study == "1" {
			want["new.12"], want["new.13"] = Pending, Pending
		}
		if !maps.Equal(got, want) {
			t.Errorf("study %s: %v, want %v", study, got, want)
		}
	}
}

// The first key that is given under a name is everybody's.
func checkKeys(t *testing.T, s *Store) {
	ctx := context.Background()
	for _, c := range []struct{ name, give, want string }{{"a", "first", "first"}, {"a", "second", "first"}, {"b", "second", "second"}} {
		if got, err := s.Key(ctx, c.name, []byte(c.give)); err != nil || string(got) != c.want {
			t.Errorf("key %s: %q, %v", c.name, got, err)
		}
	}
}
