package store

import (
	"context"
	"errors"
	"testing"
	"time"
)

// A review is recorded once, on the revision that was looked at, or not at all.
func TestSign(t *testing.T) {
	ctx := context.Background()
	s := open(t)
	add(t, s, instance("1", "1.1", 1000))
	if _, err := s.Queue(ctx, "1", study(t, s, "1").Last, "", noJob); err != nil {
		t.Fatal(err)
	}
	run, err := s.StartRun(ctx, "1", 1)
	if err != nil {
		t.Fatal(err)
	}
	report := func(uid string) []Output { return []Output{{SOPInstanceUID: uid, Kind: "report"}} }
	routes := []Route{{Destination: "pacs", Kinds: []string{"report"}}}
	r := Review{Verdict: "accepted", User: "reader", Name: "Müller^Anna", Organisation: "City Hospital", Comment: "fine", Corrections: "{}", Signed: time.UnixMilli(5000)}
	jobs := 0
	sign := func(base int, uid string) error {
		_, err := s.Sign(ctx, r, Run{StudyInstanceUID: "1", Started: time.Now(), Directory: "d", Summary: "{}"}, base, report(uid), routes,
			func(*Tx, int64, string) error { jobs++; return nil })
		return err
	}
	if err := sign(1, "9"); !errors.Is(err, ErrOutdated) {
		t.Errorf("signing a study that is being analysed: %v", err)
	}
	if err := s.FinishRun(ctx, run, report("8"), routes, func(*Tx, int64, string) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := sign(1, "9"); err != nil {
		t.Fatal(err)
	}
	if err := sign(1, "10"); !errors.Is(err, ErrOutdated) {
		t.Errorf("a second reader with the old page: %v", err)
	}
	if st := study(t, s, "1"); st.Revision != 2 || st.State != Done {
		t.Errorf("%+v", st)
	}
	got, err := s.Reviews(ctx, "1")
	if err != nil || len(got) != 1 || got[2] != r {
		t.Errorf("reviews %+v, %v", got, err)
	}
	deliveries, err := s.Deliveries(ctx, "1")
	if err != nil || len(deliveries) != 2 || deliveries[0].SOPInstanceUID != "9" || deliveries[0].State != Pending || jobs != 1 {
		t.Errorf("deliveries %+v, %d jobs, %v", deliveries, jobs, err)
	}
	// What cannot be enqueued is not signed.
	r.Verdict = "rejected"
	_, err = s.Sign(ctx, r, Run{StudyInstanceUID: "1", Started: time.Now()}, 2, report("11"), routes, func(*Tx, int64, string) error { return errors.New("no queue") })
	if err == nil || study(t, s, "1").Revision != 2 {
		t.Errorf("signed without a job: %v", err)
	}
	if err := s.Delete(ctx, "1"); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Reviews(ctx, "1"); err != nil || len(got) != 0 {
		t.Errorf("reviews of a removed study: %v, %v", got, err)
	}
}

func TestWorklistChanges(t *testing.T) {
	ctx := context.Background()
	s := open(t)
	add(t, s, instance("1", "1.1", 1000))
	c, err := s.Changes(ctx, 10)
	if err != nil || len(c) != 1 {
		t.Fatal(c, err)
	}
	add(t, s, instance("1", "1.2", 2000)) // while the listing is made
	if err := s.List(ctx, c[0], &Listing{StudyInstanceUID: "1"}); err != nil {
		t.Fatal(err)
	}
	again, err := s.Changes(ctx, 10)
	if err != nil || len(again) != 1 {
		t.Fatal("a change during the listing was forgotten", again, err)
	}
	if err := s.List(ctx, again[0], &Listing{StudyInstanceUID: "1", PatientName: "x"}); err != nil {
		t.Fatal(err)
	}
	if c, err := s.Changes(ctx, 10); err != nil || len(c) != 0 {
		t.Fatal(c, err)
	}
	if l, err := s.Listing(ctx, "1"); err != nil || l.PatientName != "x" {
		t.Fatal(l, err)
	}
	// A study that is gone cannot be listed, and one that was never listed leaves
	// no change behind.
	if err := s.Delete(ctx, "1"); err != nil {
		t.Fatal(err)
	}
	if c, err = s.Changes(ctx, 10); err != nil || len(c) != 1 {
		t.Fatal(c, err)
	}
	if err := s.List(ctx, c[0], &Listing{StudyInstanceUID: "1"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Listing(ctx, "1"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	add(t, s, instance("2", "2.1", 1000))
	if err := s.Delete(ctx, "2"); err != nil {
		t.Fatal(err)
	}
	if c, err := s.Changes(ctx, 10); err != nil || len(c) != 0 {
		t.Fatal(c, err)
	}
}

// BenchmarkWorklist lists one page of 100,000 studies.
func BenchmarkWorklist(b *testing.B) {
	ctx := context.Background()
	s, err := Open(ctx, b.TempDir()+"/node.db")
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	_, err = s.db.ExecContext(ctx, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 100000)
		INSERT INTO studies (study_uid, state, revision, first_received_at, last_received_at) SELECT '1.2.' || i, 'done', 1, i*60000, i*60000 FROM n`)
	if err == nil {
		_, err = s.db.ExecContext(ctx, `INSERT INTO worklist (`+listingColumns+`, search) SELECT study_uid, 'Name' || (last_received_at/60000 % 7919) || ', Given', 'P' || last_received_at, '19600101', 'F',
			'A' || last_received_at, '', last_received_at, state, revision, 10, last_received_at/60000 % 80, 'x', 'good', last_received_at/60000 % 64, '', 'name' || (last_received_at/60000 % 7919) || ', given' FROM studies`)
	}
	if err != nil {
		b.Fatal(err)
	}
	for name, q := range map[string]WorklistQuery{
		"first page": {Descending: true}, "last page": {Descending: true, Offset: 99950}, "search": {Descending: true, Search: "name77 given"}, "nothing found": {Descending: true, Search: "zzz"},
		"by name": {Order: ByName}, "by EF": {Order: ByEF, Descending: true}, "flag": {Flags: ReducedEF, Descending: true},
	} {
		q.Limit = 50
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, _, err := s.Worklist(ctx, q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
