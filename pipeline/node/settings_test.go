package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/echonode/echonode/conformance/postgres"
	"github.com/echonode/echonode/pipeline/objects"
	"github.com/echonode/echonode/pipeline/store"
	"github.com/echonode/echonode/scp"
)

// Processes of one database that go by different settings say so, once and in
// health, until they go by the same.
func TestSettingsAreCompared(t *testing.T) {
	server := postgres.Start(t)
	database := postgres.WithPassword(server.Create(t))
	ctx := t.Context()
	open := func() *store.Store {
		st, err := store.Open(ctx, database)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := st.Close(); err != nil {
				t.Error(err)
			}
		})
		return st
	}
	var said bytes.Buffer
	n := &Node{store: open(), log: slog.New(slog.NewTextHandler(&said, nil)),
		opt: Options{Settings: map[string]string{"storage.retention": "168h0m0s", "destinations": "digest a"}}}
	other := open()
	enter := func(id string, settings map[string]string) {
		t.Helper()
		b, err := json.Marshal(settings)
		if err != nil {
			t.Fatal(err)
		}
		if settings == nil {
			b = nil
		}
		if err := other.Enter(ctx, store.Process{ID: id, Seat: "there", Settings: string(b), Started: time.UnixMilli(1)}); err != nil {
			t.Fatal(err)
		}
	}
	for i, c := range []struct {
		settings map[string]string
		want     string // what is said
		lines    int    // so far
	}{
		{nil, "", 0}, // a program of before
		{map[string]string{"study.idle": "30s"}, "", 0},
		{map[string]string{"storage.retention": "0s", "destinations": "digest a"}, "storage.retention is 168h0m0s here and 0s in process two", 1},
		{map[string]string{"storage.retention": "0s", "destinations": "digest b"}, "destinations is digest a here and digest b in process three", 2},
		{map[string]string{"storage.retention": "168h0m0s"}, "", 2},
	} {
		enter([]string{"zero", "one", "two", "three", "four"}[i], c.settings)
		for range 2 {
			n.compareSettings(ctx)
		}
		got := ""
		if p := n.differ.Load(); p != nil {
			got = *p
		}
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) || strings.Count(said.String(), "\n") != c.lines {
			t.Errorf("step %d: %q, want %q; log:\n%s", i, got, c.want, said.String())
		}
	}
}

// A file that cannot be deleted keeps nothing from the node: it starts, says so in
// health, and deletes the file when it can be.
func TestUndeletableFile(t *testing.T) {
	dir := t.TempDir()
	n := start(t, dir, &fakeProcessor{t: t}, Options{})
	n.mustSend(t, writeObject(t, t.TempDir(), "1.2.3", "1.2.3.10", nil))
	n.mustSend(t, writeObject(t, t.TempDir(), "1.2.4", "1.2.4.10", nil))
	eventually(t, "done", func() bool {
		return n.status(t, "1.2.3").State == store.Done && n.status(t, "1.2.4").State == store.Done
	})
	in, err := n.store.Instance(t.Context(), "1.2.3.10")
	if err != nil {
		t.Fatal(err)
	}
	// What is in a folder is not deleted as a file, by root neither.
	inside := filepath.Join(in.Path, "inside")
	if err := errors.Join(os.Remove(in.Path), os.MkdirAll(inside, 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := n.Remove(t.Context(), "1.2.3"); err == nil {
		t.Error("removed")
	}
	stuck := func(n *running, want bool) bool {
		t.Helper()
		for _, p := range n.examine(t.Context()).Problems {
			if p.Code == ProblemFiles {
				return want
			}
		}
		return !want
	}
	if !stuck(n, true) {
		t.Error("health does not say it")
	}
	n.stop()
	n = start(t, dir, &fakeProcessor{t: t}, Options{Retention: time.Millisecond})
	if !stuck(n, true) {
		t.Error("health does not say it after a start")
	}
	eventually(t, "others are removed", func() bool {
		_, err := n.store.Study(t.Context(), "1.2.4")
		return errors.Is(err, store.ErrNotFound)
	})
	if err := os.Remove(inside); err != nil {
		t.Fatal(err)
	}
	if err := n.deleteFiles(t.Context()); err != nil || !stuck(n, false) {
		t.Error("it is left", err)
	}
}

// undeletable is a store in which some objects cannot be removed.
type undeletable struct{ objects.Store }

func (u undeletable) Remove(ctx context.Context, name string) error {
	if strings.Contains(name, "stuck") {
		return os.ErrPermission
	}
	return u.Store.Remove(ctx, name)
}

// A folder of results that cannot be deleted is counted, and keeps no other.
func TestUndeletableResults(t *testing.T) {
	s := undeletable{objects.NewDirectory(t.TempDir())}
	n := start(t, t.TempDir(), &fakeProcessor{t: t}, Options{Objects: copies(t, s), Idle: time.Hour, Cap: 2 * time.Hour})
	stuck, free := studyFolder("1.2.3"), studyFolder("1.2.4")
	for _, name := range []string{s.Name(resultsFolder, stuck, "1", "stuck"), s.Name(resultsFolder, free, "1", "report")} {
		if err := objects.PutBytes(t.Context(), s, name, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.sweepResults(t.Context()); err != nil {
		t.Error(err)
	}
	// The node sweeps again while some are left, perhaps at this moment.
	eventually(t, "one is left", func() bool { return n.uncleared.Load() == 1 })
	if _, err := s.Stat(t.Context(), s.Name(resultsFolder, free, "1", "report")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the other is left: %v", err)
	}
}

// A start at a time that is far from when the node last ran removes nothing for a
// day, however often it is started meanwhile: the clock may be wrong, or the database
// a backup.
func TestClockAtAStart(t *testing.T) {
	dir := t.TempDir()
	o := Options{Retention: time.Millisecond}
	n := start(t, dir, &fakeProcessor{t: t}, Options{})
	n.mustSend(t, writeObject(t, t.TempDir(), "1.2.3", "1.2.3.10", nil))
	eventually(t, "done", func() bool { return n.status(t, "1.2.3").State == store.Done })
	for name, c := range map[string]struct {
		away, rest time.Duration
		keeps      bool
	}{"behind": {-25 * time.Hour, 0, true}, "ahead": {25 * time.Hour, 0, true}, "in its rest": {0, time.Hour, true}} {
		setClock(t, n, time.Now().Add(c.away), c.rest)
		n.stop()
		began := time.Now()
		n = start(t, dir, &fakeProcessor{t: t}, o)
		var rest time.Duration
		eventually(t, "the time is noted", func() bool {
			at, left, ok, err := n.store.Clock(t.Context())
			rest = left
			return err == nil && ok && !at.Before(began.Truncate(time.Millisecond)) && at.Sub(began) < time.Hour
		})
		if want := max(c.rest, min(c.away.Abs(), clockRest)); rest > want || rest < want-time.Minute {
			t.Errorf("%s: nothing is removed for %v", name, rest)
		}
		if _, err := n.store.Study(t.Context(), "1.2.3"); err != nil {
			t.Errorf("%s: the study is gone: %v", name, err)
		}
		if h := n.examine(t.Context()); h.Status != HealthDegraded || h.Problems[0].Code != ProblemClock {
			t.Errorf("%s: %+v", name, h)
		}
	}
	// A program of before has noted no time: what it received last says when that was.
	db := n.store.SQLite()
	for _, query := range []string{`DELETE FROM clock`, `UPDATE studies SET last_received_at = last_received_at - 90000000`} {
		if _, err := db.ExecContext(t.Context(), query); err != nil {
			t.Fatal(err)
		}
	}
	n.stop()
	n = start(t, dir, &fakeProcessor{t: t}, o)
	if left := n.clock.left(0); left != clockRest {
		t.Errorf("after a program of before nothing is removed for %v", left)
	}
	setClock(t, n, time.Now().Add(-23*time.Hour), 0)
	n.stop()
	n = start(t, dir, &fakeProcessor{t: t}, o)
	eventually(t, "removed", func() bool {
		_, err := n.store.Study(t.Context(), "1.2.3")
		return errors.Is(err, store.ErrNotFound)
	})
}

// Studies that failed, and those with deliveries that were given up, wait for a person:
// they are removed by a rule of their own or not at all.
func TestFailedAndDeadGoByTheirOwnRule(t *testing.T) {
	dir := t.TempDir()
	n := start(t, dir, &fakeProcessor{t: t, fail: errors.New("no room")}, Options{Attempts: 1})
	n.mustSend(t, writeObject(t, t.TempDir(), "1.2.3", "1.2.3.10", nil))
	eventually(t, "failed", func() bool { return n.status(t, "1.2.3").State == store.Failed })
	n.stop()
	o := Options{Deliveries: 1, Destinations: []Destination{destination("pacs", listen(t, "PACS", &archive{refuse: &scp.StatusError{Status: 0xC000}}))}}
	n = start(t, dir, &fakeProcessor{t: t}, o)
	n.mustSend(t, writeObject(t, t.TempDir(), "1.2.4", "1.2.4.10", nil))
	eventually(t, "given up", func() bool {
		s := n.status(t, "1.2.4")
		return len(s.Deliveries) == 1 && s.Deliveries[0].State == store.Dead
	})
	there := func() (n3, n4 bool) {
		_, err3 := n.store.Study(t.Context(), "1.2.3")
		_, err4 := n.store.Study(t.Context(), "1.2.4")
		return err3 == nil, err4 == nil
	}
	n.stop()
	o.Retention = time.Millisecond
	n = start(t, dir, &fakeProcessor{t: t}, o)
	n.mustSend(t, writeObject(t, t.TempDir(), "1.2.5", "1.2.5.10", nil))
	if err := n.removeExpired(t.Context(), n.retention(time.Now())); err != nil {
		t.Fatal(err)
	}
	if failed, dead := there(); !failed || !dead {
		t.Errorf("removed by the rule for others: failed %v, dead %v are left", failed, dead)
	}
	n.stop()
	o.RetentionFailed = time.Millisecond
	n = start(t, dir, &fakeProcessor{t: t}, o)
	eventually(t, "removed by their own rule", func() bool {
		failed, dead := there()
		return !failed && !dead
	})
}

// swallowing is a store that takes what it does not give.
type swallowing struct{ objects.Store }

func (s swallowing) Put(ctx context.Context, name string, r io.ReadSeeker, size int64) error {
	if strings.Contains(name, ".json.gz") {
		return nil
	}
	return s.Store.Put(ctx, name, r, size)
}

// A result that is not there after it was kept is a failure of the loop, which is told
// and comes to an end, and not a reason to look again for ever.
func TestResultThatIsNotKept(t *testing.T) {
	p := &fakeProcessor{t: t}
	n := start(t, t.TempDir(), p, Options{Objects: copies(t, swallowing{objects.NewDirectory(t.TempDir())}), Attempts: 1})
	n.mustSend(t, writeObject(t, t.TempDir(), "1.2.3", "1.2.3.10", nil))
	eventually(t, "failed", func() bool { return n.status(t, "1.2.3").State == store.Failed })
	if s := n.status(t, "1.2.3"); !strings.Contains(s.Error, "cannot be read after it was kept") || len(p.seen()) != 1 {
		t.Errorf("looked at %d times: %+v", len(p.seen()), s)
	}
}

// A node on which everything fails says so in health, until something succeeds; what is
// an object's own fault is none of it.
func TestHealthOfAnalysis(t *testing.T) {
	var broken atomic.Bool
	broken.Store(true)
	p := &fakeProcessor{t: t, look: func(_ context.Context, req LoopRequest) (Seen, error) {
		if broken.Load() {
			return Seen{}, errors.New("results cannot be written")
		}
		return Seen{}, nil
	}}
	n := start(t, t.TempDir(), p, Options{OnArrival: true, Attempts: 1, Idle: time.Hour, Cap: 2 * time.Hour})
	told := func() string {
		for _, p := range n.examine(t.Context()).Problems {
			if p.Code == ProblemAnalysis {
				return p.Text
			}
		}
		return ""
	}
	for i := range failuresInARow {
		if got := told(); got != "" {
			t.Errorf("after %d failures: %s", i, got)
		}
		n.mustSend(t, writeObject(t, t.TempDir(), "1.2.3", fmt.Sprint("1.2.3.1", i), nil))
		eventually(t, "failed", func() bool { count, _ := n.loopsFail.told(); return count == i+1 })
	}
	if got := told(); !strings.Contains(got, "the last 3 analyses of loops failed") || !strings.Contains(got, "results cannot be written") {
		t.Errorf("%q", got)
	}
	broken.Store(false)
	n.mustSend(t, writeObject(t, t.TempDir(), "1.2.3", "1.2.3.20", nil))
	eventually(t, "well again", func() bool { return told() == "" })
}

// setClock notes a time in place of whatever is noted.
func setClock(t *testing.T, n *running, at time.Time, rest time.Duration) {
	t.Helper()
	if _, err := n.store.SQLite().ExecContext(t.Context(), `DELETE FROM clock`); err != nil {
		t.Fatal(err)
	}
	if err := n.store.SetClock(t.Context(), at, rest); err != nil {
		t.Fatal(err)
	}
}

// Of several processes the one whose clock was set counts, until its rest is over.
func TestRestOfSeveral(t *testing.T) {
	n := start(t, t.TempDir(), &fakeProcessor{t: t}, Options{Roles: []string{RoleWeb}})
	now := time.Date(2026, 11, 28, 3, 0, 0, 0, time.UTC)
	setClock(t, n, now, time.Hour)
	for i, c := range []struct {
		after, rest, want time.Duration
	}{{time.Minute, 0, 59 * time.Minute}, {0, 30 * time.Minute, 59 * time.Minute}, {time.Minute, 2 * time.Hour, 2 * time.Hour},
		{-24 * time.Hour, 0, 2 * time.Hour}, {30 * time.Hour, 0, 0}} {
		now = now.Add(c.after)
		if err := n.store.SetClock(t.Context(), now, c.rest); err != nil {
			t.Fatal(err)
		}
		if at, rest, ok, err := n.store.Clock(t.Context()); err != nil || !ok || !at.Equal(now) || rest != c.want {
			t.Errorf("step %d: %v at %v, %v, want %v", i, rest, at, err, c.want)
		}
	}
}

// A machine whose clock is days ahead of the database's removes nothing that is not
// old by that.
func TestRetentionGoesByTheDatabase(t *testing.T) {
	const ahead, kept = 8 * 24 * time.Hour, 7 * 24 * time.Hour
	database := postgres.Database(t)
	postgres.SetClock(t, database, ahead)
	st, err := store.Open(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := st.Enter(t.Context(), store.Process{ID: "a", Seat: "here", Started: time.Now()}); err != nil {
		t.Fatal(err)
	}
	none := func(*store.Tx, string, int) error { return nil }
	for study, received := range map[string]time.Time{"1": time.Now().Add(-ahead), "2": time.Now().Add(-ahead - kept - time.Hour)} {
		if _, err := st.AddInstance(t.Context(), store.Instance{SOPInstanceUID: study + ".1", StudyInstanceUID: study, SeriesInstanceUID: study + ".0",
			SOPClassUID: "1.2", Path: study, Sender: "cart", Received: received, Loop: true}); err != nil {
			t.Fatal(err)
		}
		l, err := st.LeaseLoop(t.Context(), st.Now(), true, 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := st.FinishLoop(t.Context(), l, "b", "k", "", none); err != nil {
			t.Fatal(err)
		}
		if queued, err := st.Queue(t.Context(), study, received.Truncate(time.Millisecond), "b", none); err != nil || !queued {
			t.Fatal(queued, err)
		}
		run, err := st.StartRun(t.Context(), study, 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := st.FinishRun(t.Context(), run, nil, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	n := &Node{store: st, opt: Options{Retention: kept}}
	if got, err := st.Expired(t.Context(), n.retention(n.today(time.Now()))); err != nil || !slices.Equal(got, []string{"2"}) {
		t.Errorf("expired are %v, %v", got, err)
	}
}
