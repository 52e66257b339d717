package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func lastRun(t *testing.T, s *Store, study string) Run {
	t.Helper()
	runs, err := s.Runs(t.Context(), study)
	if err != nil || len(runs) == 0 {
		t.Fatal(runs, err)
	}
	return runs[0]
}

// A review is recorded once, on the revision that was looked at, or not at all.
func checkSign(t *testing.T, s *Store) {
	ctx := context.Background()
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
	r := Review{Verdict: "accepted", User: "reader", Name: "Müller^Anna", Organisation: "City Hospital", Comment: "fine", Corrections: "{}",
		Signed: time.UnixMilli(5000)}
	jobs := 0
	sign := func(base Run, uid string) error {
		_, err := s.Sign(ctx, r, Run{StudyInstanceUID: "1", Started: time.Now(), Directory: "d", Summary: "{}"}, base, report(uid), routes,
			func(*Tx, int64, string) error { jobs++; return nil })
		return err
	}
	if err := sign(run, "9"); !errors.Is(err, ErrOutdated) {
		t.Errorf("signing a study that is being analysed: %v", err)
	}
	if err := s.FinishRun(ctx, run, report("8"), routes, func(*Tx, int64, string) error { return nil }); err != nil {
		t.Fatal(err)
	}
	run = lastRun(t, s, "1")
	for _, other := range []Run{{ID: run.ID + 1, Revision: 1, Finished: run.Finished}, {ID: run.ID, Revision: 1, Finished: run.Finished.Add(-time.Minute)}} {
		if err := sign(other, "9"); !errors.Is(err, ErrOutdated) {
			t.Errorf("signing what another study under the UID was at the same revision: %v", err)
		}
	}
	if err := sign(run, "9"); err != nil {
		t.Fatal(err)
	}
	if err := sign(run, "10"); !errors.Is(err, ErrOutdated) {
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
	_, err = s.Sign(ctx, r, Run{StudyInstanceUID: "1", Started: time.Now()}, lastRun(t, s, "1"), report("11"), routes,
		func(*Tx, int64, string) error { return errors.New("no queue") })
	if err == nil || study(t, s, "1").Revision != 2 {
		t.Errorf("signed without a job: %v", err)
	}
	// A run that has the signed result is signed, and one with a result of its own is not.
	for i, like := range []int{2, 0, 1} {
		if err := s.Requeue(ctx, "1", "", noJob); err != nil {
			t.Fatal(err)
		}
		run, err := s.StartRun(ctx, "1", 3+i)
		if err != nil {
			t.Fatal(err)
		}
		run.Like = like
		for range 2 { // it may be repeated
			if err := s.FinishRun(ctx, run, nil, nil, func(*Tx, int64, string) error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := s.Reviews(ctx, "1"); err != nil || len(got) != 2 || got[3].User != "reader" || got[3] != got[2] {
			t.Errorf("like %d: reviews %+v, %v", like, got, err)
		}
	}
	if err := s.Delete(ctx, "1"); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Reviews(ctx, "1"); err != nil || len(got) != 0 {
		t.Errorf("reviews of a removed study: %v, %v", got, err)
	}
}

// What was given up is not sent again after what takes its place, nor counted:
// whether it was given up before or afterwards. Drawings stand until an analysis
// makes others.
func checkSuperseded(t *testing.T, s *Store) {
	ctx := context.Background()
	add(t, s, instance("1", "1.1", 1000))
	if _, err := s.Queue(ctx, "1", study(t, s, "1").Last, "", noJob); err != nil {
		t.Fatal(err)
	}
	routes := []Route{{Destination: "pacs", Kinds: []string{"report", "overlay"}}}
	none := func(*Tx, int64, string) error { return nil }
	made := func(report string) []Output {
		return []Output{{SOPInstanceUID: report, Kind: "report"}, {SOPInstanceUID: "overlay" + report, Kind: "overlay"}, {SOPInstanceUID: "same", Kind: "overlay"}}
	}
	analyse := func(revision int) Run {
		t.Helper()
		run, err := s.StartRun(ctx, "1", revision)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.FinishRun(ctx, run, made(fmt.Sprint(revision)), routes, none); err != nil {
			t.Fatal(err)
		}
		return run
	}
	bury := func(run Run) {
		t.Helper()
		if err := s.BuryDeliveries(ctx, run.ID, "pacs"); err != nil {
			t.Fatal(err)
		}
	}
	left := func(when, want string) {
		t.Helper()
		all, err := s.Deliveries(ctx, "1")
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, d := range all {
			got = append(got, d.SOPInstanceUID+" "+string(d.State))
		}
		slices.Sort(got)
		if strings.Join(got, ", ") != want {
			t.Errorf("%s: %q, want %q", when, got, want)
		}
	}
	first := analyse(1)
	bury(first)
	left("given up", "1 dead, overlay1 dead, same dead")
	review := Review{Verdict: "accepted", Corrections: "{}", Signed: time.Now()}
	signed, err := s.Sign(ctx, review, Run{StudyInstanceUID: "1", Started: time.Now()}, lastRun(t, s, "1"),
		[]Output{{SOPInstanceUID: "2", Kind: "report"}}, routes, none)
	if err != nil {
		t.Fatal(err)
	}
	left("signed", "2 pending, overlay1 dead, same dead")
	if err := s.Requeue(ctx, "1", "", noJob); err != nil {
		t.Fatal(err)
	}
	third := analyse(3)
	left("analysed again", "2 pending, 3 pending, overlay3 pending, same dead")
	bury(signed)
	bury(third)
	left("the signed one given up afterwards", "3 dead, overlay3 dead, same dead")
	if n, err := s.ReviveDeliveries(ctx, "1", "", none); err != nil || n != 3 {
		t.Errorf("%d sent again, %v", n, err)
	}
}

func checkWorklistChanges(t *testing.T, s *Store) {
	ctx := context.Background()
	add(t, s, instance("1", "1.1", 1000))
	c, err := s.Changes(ctx, "", 10)
	if err != nil || len(c) != 1 {
		t.Fatal(c, err)
	}
	add(t, s, instance("1", "1.2", 2000)) // while the listing is made
	if err := s.List(ctx, c[0], &Listing{StudyInstanceUID: "1"}); err != nil {
		t.Fatal(err)
	}
	again, err := s.Changes(ctx, "", 10)
	if err != nil || len(again) != 1 {
		t.Fatal("a change during the listing was forgotten", again, err)
	}
	if err := s.List(ctx, again[0], &Listing{StudyInstanceUID: "1", PatientName: "x"}); err != nil {
		t.Fatal(err)
	}
	if c, err := s.Changes(ctx, "", 10); err != nil || len(c) != 0 {
		t.Fatal(c, err)
	}
	if l, err := s.Listing(ctx, "1"); err != nil || l.PatientName != "x" {
		t.Fatal(l, err)
	}
	// Whose objects could not be asked stays to be listed, and is not listed so where
	// somebody else has listed it meanwhile.
	add(t, s, instance("1", "1.3", 3000))
	if c, err = s.Changes(ctx, "", 10); err != nil || len(c) != 1 {
		t.Fatal(c, err)
	}
	for _, name := range []string{"asked by nobody", "asked"} {
		l := Listing{StudyInstanceUID: "1", PatientName: name}
		if name != "asked" {
			l.Unread = errors.New("away")
		}
		for range 2 {
			if err := s.List(ctx, c[0], &l); err != nil {
				t.Fatal(err)
			}
			if left, err := s.Changes(ctx, "", 10); err != nil || (len(left) == 1) != (l.Unread != nil) {
				t.Errorf("%s: %v, %v", name, left, err)
			}
		}
		if is, err := s.Listing(ctx, "1"); err != nil || is.PatientName != name {
			t.Errorf("%+v, %v, want %s", is, err, name)
		}
	}
	if err := s.List(ctx, c[0], &Listing{StudyInstanceUID: "1", PatientName: "late", Unread: errors.New("away")}); err != nil {
		t.Fatal(err)
	}
	if is, err := s.Listing(ctx, "1"); err != nil || is.PatientName != "asked" {
		t.Errorf("%+v, %v", is, err)
	}
	// They come in order, from one on.
	for _, uid := range []string{"7", "5", "6"} {
		add(t, s, instance(uid, uid+".1", 1000))
	}
	if c, err := s.Changes(ctx, "5", 1); err != nil || len(c) != 1 || c[0].StudyInstanceUID != "6" {
		t.Error(c, err)
	}
	for _, uid := range []string{"7", "5", "6"} {
		if err := s.Delete(ctx, uid); err != nil {
			t.Fatal(err)
		}
	}
	// A study that is gone cannot be listed, and one that was never listed leaves
	// no change behind.
	if err := s.Delete(ctx, "1"); err != nil {
		t.Fatal(err)
	}
	if c, err = s.Changes(ctx, "", 10); err != nil || len(c) != 1 {
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
	if c, err := s.Changes(ctx, "", 10); err != nil || len(c) != 0 {
		t.Fatal(c, err)
	}
}

// many lists so many studies.
func many(t testing.TB, s *Store, n int) {
	t.Helper()
	ctx := t.Context()
	for _, query := range []string{`WITH RECURSIVE n(i) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT i+1 FROM n WHERE i < CAST(? AS BIGINT))
		INSERT INTO studies (study_uid, state, revision, first_received_at, last_received_at) SELECT '1.2.' || i, 'done', 1, i*60000, i*60000 FROM n`,
		`INSERT INTO worklist (` + listingColumns +
			`, search) SELECT study_uid, 'Name' || (last_received_at/60000 % 7919) || ', Given', 'P' || last_received_at, '19600101', 'F',
			'A' || last_received_at, '', last_received_at, state, revision, 10, last_received_at/60000 % 80, 'x', 'good', last_received_at/60000 % 64, '',
			'name' || (last_received_at/60000 % 7919) || ', given' || chr FROM studies, (SELECT CAST(? AS TEXT) AS chr) AS c`} {
		var arg any = n
		if strings.HasPrefix(query, "INSERT") {
			arg = "\n100%_"
		}
		if _, err := s.db.ExecContext(ctx, query, arg); err != nil {
			t.Fatal(err)
		}
	}
}

// Every word of a search must occur somewhere, as it is written.
func checkSearch(t *testing.T, s *Store) {
	many(t, s, 20000)
	ctx := t.Context()
	for search, want := range map[string]int{"": 20000, "name77": 36, "NAME77": 36, "me77,": 3, "name77 given": 36, "7": 12400, "77": 2064,
		"zzz": 0, "name77 zzz": 0,
		"100%_": 20000, "00_": 0, `"`: 0, `"given"`: 0, "given AND": 0, "%": 20000, `\`: 0} {
		page, total, err := s.Worklist(ctx, WorklistQuery{Search: search, Limit: 50, Order: ByName})
		if err != nil || len(page) != min(total, 50) {
			t.Errorf("%q: %d of %d, %v", search, len(page), total, err)
		}
		if search == "7" || search == "77" || search == "name77" || search == "NAME77" || search == "name77 given" || search == "me77," {
			// Counted here: the names are known.
			want = 0
			for i := 1; i <= 20000; i++ {
				if strings.Contains(fmt.Sprintf("name%d, given\n100%%_", i%7919), strings.ToLower(strings.Fields(search)[0])) {
					want++
				}
			}
		}
		if total != want {
			t.Errorf("%q: %d found, want %d", search, total, want)
		}
	}
	at := func(i int64) time.Time { return time.UnixMilli(i * 60000) }
	for _, c := range []struct {
		q    WorklistQuery
		want int
	}{
		{WorklistQuery{State: Done}, 20000},
		{WorklistQuery{State: Failed}, 0},
		{WorklistQuery{Flags: 1}, 10000},     // every second
		{WorklistQuery{Flags: 1 | 2}, 15000}, // any of them
		{WorklistQuery{Unreviewed: true}, 20000},
		{WorklistQuery{From: at(19001)}, 1000},
		{WorklistQuery{To: at(11)}, 10},
		{WorklistQuery{From: at(5), To: at(11), Flags: 1}, 3}, // 5, 7, 9
	} {
		if _, total, err := s.Worklist(ctx, c.q); err != nil || total != c.want {
			t.Errorf("%+v: %d found, %v; want %d", c.q, total, err, c.want)
		}
	}
	// What is listed anew or removed is found as it is now.
	if err := s.List(ctx, Change{StudyInstanceUID: "1.2.1"}, &Listing{StudyInstanceUID: "1.2.1", PatientName: "Renamed"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(ctx, "1.2.77"); err != nil {
		t.Fatal(err)
	}
	for search, want := range map[string]int{"renamed": 1, "name1, given": 2, "name77, given": 2} {
		if _, total, err := s.Worklist(ctx, WorklistQuery{Search: search, Limit: 1}); err != nil || total != want {
			t.Errorf("%q: %d found, %v; want %d", search, total, err, want)
		}
	}
}

// BenchmarkWorklist lists one page of 100,000 studies.
func BenchmarkWorklist(b *testing.B) {
	for _, d := range databases {
		b.Run(d.name, func(b *testing.B) {
			s := open(b, d.open(b))
			many(b, s, 100000)
			if s.pool != nil {
				if _, err := s.db.ExecContext(b.Context(), `ANALYZE`); err != nil {
					b.Fatal(err)
				}
			}
			for _, c := range []struct {
				name string
				q    WorklistQuery
			}{
				{"first page", WorklistQuery{Descending: true}}, {"last page", WorklistQuery{Descending: true, Offset: 99950}},
				{"search", WorklistQuery{Descending: true, Search: "name77 given"}}, {"two letters", WorklistQuery{Descending: true, Search: "zz"}},
				{"nothing found", WorklistQuery{Descending: true, Search: "zzz"}}, {"everything found", WorklistQuery{Descending: true, Search: "given"}},
				{"by name", WorklistQuery{Order: ByName}}, {"by EF", WorklistQuery{Order: ByEF, Descending: true}}, {"flag", WorklistQuery{Flags: ReducedEF, Descending: true}},
			} {
				c.q.Limit = 50
				b.Run(c.name, func(b *testing.B) {
					for b.Loop() {
						if _, _, err := s.Worklist(b.Context(), c.q); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
			b.Run("status", func(b *testing.B) {
				for b.Loop() {
					if _, _, err := s.Page(b.Context(), Query{Limit: 100}); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// Sessions are found by the hash of their token, end by account, and those that
// have ended make room.
func checkSessions(t *testing.T, s *Store) {
	ctx, now := context.Background(), time.UnixMilli(1_000_000_000)
	l := Lifetime{Idle: time.Minute, Longest: time.Hour}
	open := func(token, account string, at time.Time) error {
		return s.OpenSession(ctx, token, Session{Account: account, Mark: "m", CSRF: "c", Profile: "{}", Created: at, Seen: at}, l, 2)
	}
	if err := open("a", "anna", now); err != nil {
		t.Fatal(err)
	}
	want := Session{Account: "anna", Mark: "m", CSRF: "c", Profile: "{}", Created: now, Seen: now}
	if got, err := s.Session(ctx, "a"); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	if err := open("b", "anna", now.Add(30*time.Second)); err != nil {
		t.Fatal(err)
	}
	if err := open("c", "bert", now.Add(31*time.Second)); !errors.Is(err, ErrTooManySessions) {
		t.Errorf("a third session: %v", err)
	}
	// The first has ended meanwhile; the second was touched.
	for _, at := range []time.Duration{55, 40} { // an older sign of life counts nothing
		if err := s.TouchSession(ctx, "b", now.Add(at*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	if err := open("c", "bert", now.Add(time.Minute)); err != nil {
		t.Error(err)
	}
	if _, err := s.Session(ctx, "a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a session that has ended: %v", err)
	}
	if got, err := s.Session(ctx, "b"); err != nil || !got.Seen.Equal(now.Add(55*time.Second)) || l.Over(got, now.Add(114*time.Second)) ||
		!l.Over(got, now.Add(115*time.Second)) {
		t.Errorf("%+v, %v", got, err)
	}
	if n, err := s.CloseSessions(ctx, "anna"); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	_, gone := s.Session(ctx, "b")
	if _, err := s.Session(ctx, "c"); err != nil || !errors.Is(gone, ErrNotFound) {
		t.Errorf("all sessions of one account: %v, %v", gone, err)
	}
	if err := s.CloseSession(ctx, "c"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Session(ctx, "c"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a closed session: %v", err)
	}

	a := Attempts{Burst: 2, Every: time.Minute, AtMost: 2}
	take := func(subject string, at time.Duration) time.Duration {
		t.Helper()
		wait, err := s.TakeAttempt(ctx, subject, now.Add(at), a)
		if err != nil {
			t.Fatal(err)
		}
		return wait
	}
	for i, c := range []struct {
		subject  string
		at, want time.Duration
	}{
		{"x", 0, 0}, {"x", 0, 0}, {"x", 0, time.Minute}, // which costs nothing
		{"x", 59 * time.Second, time.Second}, {"x", time.Minute, 0}, {"x", time.Minute, time.Minute},
		{"y", time.Minute, 0}, {"z", time.Minute, 0}, {"z", time.Minute, 0}, {"z", time.Minute, 0}, // no more subjects than two
		{"z", 3*time.Minute + time.Second, 0}, {"x", 3*time.Minute + time.Second, 0}, // the others are forgotten
		{"x", -time.Hour, 2 * time.Minute}, // a clock that was set back
	} {
		if got := take(c.subject, c.at); got != c.want {
			t.Errorf("attempt %d: waits %v, want %v", i, got, c.want)
		}
	}
	later := 10 * time.Minute
	take("x", later)
	take("x", later)
	if err := s.ReturnAttempt(ctx, "x", a); err != nil {
		t.Fatal(err)
	}
	if one, none := take("x", later), take("x", later); one != 0 || none != time.Minute {
		t.Errorf("after one was given back: %v, then %v", one, none)
	}

	// At the same time there are no more than one after the other.
	var taken atomic.Int32
	var g sync.WaitGroup
	for range 8 {
		g.Go(func() {
			wait, err := s.TakeAttempt(ctx, "at once", now.Add(time.Hour), a)
			if err != nil {
				t.Error(err)
			}
			if err == nil && wait == 0 {
				taken.Add(1)
			}
		})
	}
	g.Wait()
	if n := taken.Load(); n != 2 {
		t.Errorf("%d attempts at once", n)
	}
}
