package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/echonode/echonode/pipeline/spool"
	"github.com/echonode/echonode/pipeline/store"
	"github.com/echonode/echonode/scp"
)

// ask sends a request to the node's API.
func ask(t *testing.T, n *running, method, path string, v any) *httptest.ResponseRecorder {
	t.Helper()
	n.health.mu.Lock()
	n.health.at = time.Time{} // nothing kept
	n.health.mu.Unlock()
	w := httptest.NewRecorder()
	n.API().ServeHTTP(w, httptest.NewRequest(method, path, nil))
	if v != nil {
		if err := json.Unmarshal(w.Body.Bytes(), v); err != nil {
			t.Fatalf("%s: %v: %s", path, err, w.Body)
		}
	}
	return w
}

// A database that cannot grow refuses objects with a status that passes, and
// /healthz says so until an object is recorded again, or for a minute: whoever
// asks it before sending would never send again.
func TestFullDatabase(t *testing.T) {
	dir := t.TempDir()
	n := start(t, dir, &fakeProcessor{t: t}, Options{Idle: time.Hour, Cap: 2 * time.Hour})
	if w := ask(t, n, http.MethodGet, "/healthz", nil); w.Code != http.StatusOK || w.Body.String() != "ok\n" {
		t.Fatalf("healthz: %d %s", w.Code, w.Body)
	}
	var refused *scp.StatusError
	last := ""
	for i := range 2000 {
		// No less than it has; each time, because the connection may be another.
		if _, err := n.store.SQLite().Exec(`PRAGMA max_page_count = 1`); err != nil {
			t.Fatal(err)
		}
		last = writeObject(t, dir, "1.2.3", fmt.Sprintf("1.2.3.%d", 1000+i), nil)
		if res := n.send(t, last)[0]; res.Err != nil {
			if !errors.As(res.Err, &refused) {
				t.Fatal(res.Err)
			}
			break
		}
	}
	if refused == nil || refused.Status != scp.StatusOutOfResources {
		t.Fatalf("a full database answers %v, want A700H", refused)
	}
	if w := ask(t, n, http.MethodGet, "/healthz", nil); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), ProblemDatabase) {
		t.Errorf("healthz: %d %s", w.Code, w.Body)
	}
	was := n.health.recording.Load()
	n.health.recording.Store(&fault{was.err, was.at.Add(-faultFor)})
	if w := ask(t, n, http.MethodGet, "/healthz", nil); strings.Contains(w.Body.String(), "could not be recorded") {
		t.Errorf("healthz after a minute: %d %s", w.Code, w.Body)
	}
	n.health.recording.Store(was)
	if _, err := n.store.SQLite().Exec(`PRAGMA max_page_count = 1000000`); err != nil {
		t.Fatal(err)
	}
	n.mustSend(t, last)
	if w := ask(t, n, http.MethodGet, "/healthz", nil); w.Code != http.StatusOK {
		t.Errorf("healthz after the repair: %d %s", w.Code, w.Body)
	}
}

// Deliveries that were given up, and those for a destination that was renamed,
// are seen and can be resolved.
func TestDeadAndOrphanedDeliveries(t *testing.T) {
	dir := t.TempDir()
	pacs := &archive{refuse: &scp.StatusError{Status: 0xA700}}
	addr := listen(t, "PACS", pacs)
	n := start(t, dir, &fakeProcessor{t: t}, Options{Deliveries: 1, Destinations: []Destination{destination("old", addr)}})
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.10", nil), writeObject(t, dir, "1.2.4", "1.2.4.10", nil))
	eventually(t, "given up", func() bool { return n.status(t, "1.2.3").Finished() && n.status(t, "1.2.4").Finished() })
	var h Health
	if w := ask(t, n, http.MethodGet, "/health", &h); w.Code != http.StatusOK || h.Status != HealthDegraded || len(h.Problems) != 1 ||
		h.Problems[0].Code != ProblemDead {
		t.Errorf("health with dead deliveries: %+v", h)
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(n.Collector())
	if err := testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP echonode_deliveries_waiting Objects not delivered yet, by destination and state: pending, dead.
# TYPE echonode_deliveries_waiting gauge
echonode_deliveries_waiting{destination="old",state="dead"} 2
echonode_deliveries_waiting{destination="old",state="pending"} 0
# HELP echonode_healthy 1 while nothing needs a person, see /healthz.
# TYPE echonode_healthy gauge
echonode_healthy 0
# HELP echonode_loops Loops that wait for their analysis or its next attempt (waiting), are being analysed (working), or of which that failed for good (failed).
# TYPE echonode_loops gauge
echonode_loops{state="failed"} 0
echonode_loops{state="waiting"} 0
echonode_loops{state="working"} 0
# HELP echonode_problem 1 while /healthz has a line with this code.
# TYPE echonode_problem gauge
echonode_problem{code="analysis"} 0
echonode_problem{code="clock"} 0
echonode_problem{code="database"} 0
echonode_problem{code="dead"} 1
echonode_problem{code="disk"} 0
echonode_problem{code="disk-space"} 0
echonode_problem{code="failed-studies"} 0
echonode_problem{code="files"} 0
echonode_problem{code="lost-objects"} 0
echonode_problem{code="no-destination"} 0
echonode_problem{code="nobody"} 0
echonode_problem{code="object-store"} 0
echonode_problem{code="settings"} 0
# HELP echonode_ready 1 while objects are taken.
# TYPE echonode_ready gauge
echonode_ready 1
# HELP echonode_studies Studies by state: receiving, queued, analysing, done, failed.
# TYPE echonode_studies gauge
echonode_studies{state="analysing"} 0
echonode_studies{state="done"} 2
echonode_studies{state="failed"} 0
echonode_studies{state="queued"} 0
echonode_studies{state="receiving"} 0
`), "echonode_deliveries_waiting", "echonode_healthy", "echonode_loops", "echonode_problem", "echonode_ready", "echonode_studies"); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v, %v", problems, err)
	}
	n.stop()

	// The destination has another name in the new configuration.
	pacs.mu.Lock()
	pacs.refuse = nil
	pacs.mu.Unlock()
	n = start(t, dir, &fakeProcessor{t: t}, Options{Destinations: []Destination{destination("new", addr)}})
	if ask(t, n, http.MethodGet, "/health", &h); h.Status != HealthDegraded || len(h.Problems) != 1 || h.Problems[0].Code != ProblemNoDest {
		t.Errorf("health with a renamed destination: %+v", h)
	}
	if w := ask(t, n, http.MethodPost, "/deliveries/redirect?from=old&to=nowhere", nil); w.Code != http.StatusNotFound {
		t.Errorf("redirect to nowhere: %d", w.Code)
	}
	if w := ask(t, n, http.MethodGet, "/studies?state=done&state=nonsense", nil); w.Code != http.StatusBadRequest {
		t.Errorf("studies in a state that there is not: %d", w.Code)
	}
	if w := ask(t, n, http.MethodPost, "/deliveries/redirect?from=new&to=new", nil); w.Code != http.StatusBadRequest {
		t.Errorf("redirect to itself: %d", w.Code)
	}
	var moved struct{ Deliveries, Dropped int }
	if ask(t, n, http.MethodPost, "/deliveries/redirect?from=old&to=new", &moved); moved.Deliveries != 2 {
		t.Errorf("%d deliveries redirected, want 2", moved.Deliveries)
	}
	eventually(t, "delivered under the new name", func() bool { return pacs.objects() == 2 })
	eventually(t, "healthy", func() bool { return ask(t, n, http.MethodGet, "/healthz", nil).Body.String() == "ok\n" })
	if count, err := n.Drop(context.Background(), "new"); err != nil || count != 0 {
		t.Errorf("Drop of what was delivered: %d, %v", count, err)
	}
	for _, path := range []string{"/deliveries/drop?destination=nwe", "/deliveries/redirect?from=odl&to=new"} {
		if w := ask(t, n, http.MethodPost, path, nil); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "no destination") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

// A job that the clock has sent a day ahead comes back.
func TestJobsFarAheadComeBack(t *testing.T) {
	dir := t.TempDir()
	pacs := &archive{refuse: &scp.StatusError{Status: 0xA700}}
	n := start(t, dir, &fakeProcessor{t: t}, Options{Destinations: []Destination{destination("pacs", listen(t, "PACS", pacs))}})
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.10", nil))
	eventually(t, "first attempt", func() bool {
		s := n.status(t, "1.2.3")
		return len(s.Deliveries) == 1 && s.Deliveries[0].Attempts > 0
	})
	eventually(t, "waiting for a day", func() bool {
		res, err := n.store.SQLite().Exec(`UPDATE river_job SET state = 'retryable', scheduled_at = datetime('now', '+1 day')
			WHERE kind = 'deliver' AND state IN ('retryable','scheduled','available')`)
		if err != nil {
			t.Fatal(err)
		}
		k, err := res.RowsAffected()
		return err == nil && k == 1
	})
	pacs.mu.Lock()
	pacs.refuse = nil
	pacs.mu.Unlock()
	if count, err := n.jobs.RescheduleFar(context.Background(), 25*time.Hour); err != nil || count != 0 {
		t.Errorf("a wait that is not too long: %d, %v", count, err)
	}
	n.tidy(context.Background(), time.Now())
	eventually(t, "delivered today", func() bool { return pacs.objects() == 1 })
}

// The clock is watched: after it was set nothing is removed for a day.
func TestClockWatch(t *testing.T) {
	day := time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)
	var c clockWatch
	for i, step := range []struct {
		day    time.Duration
		own    time.Duration
		jumped bool
		steady bool
	}{
		{0, time.Hour, false, true},
		{time.Hour + time.Second, 2 * time.Hour, false, true}, // drift
		{50 * time.Hour, 3 * time.Hour, true, false},          // set ahead
		{51 * time.Hour, 4 * time.Hour, false, false},
		{75 * time.Hour, 28 * time.Hour, false, true},
		{20 * time.Hour, 29 * time.Hour, true, false},                     // set back
		{20*time.Hour + 10*time.Minute - 1, 29 * time.Hour, false, false}, // as much as may be drift
		{44*time.Hour + 10*time.Minute - 1, 53 * time.Hour, false, false},
		{44*time.Hour + 10*time.Minute, 53*time.Hour + 1, false, true}, // more than a day later
		{44*time.Hour + 20*time.Minute, 53*time.Hour + 1, true, false}, // the least that is a jump
		{44*time.Hour + 10*time.Minute, 53*time.Hour + 1, true, false},
	} {
		if got := c.jumped(day.Add(step.day), step.own); got != step.jumped {
			t.Errorf("step %d: jumped %v", i, got)
		}
		if got := c.steady(step.own); got != step.steady {
			t.Errorf("step %d: steady %v", i, got)
		}
	}
}

// Studies are listed page by page, the last touched first, each once.
func TestStudiesAreListedByPage(t *testing.T) {
	dir := t.TempDir()
	n := start(t, dir, &fakeProcessor{t: t}, Options{Idle: time.Hour, Cap: 2 * time.Hour})
	ctx := context.Background()
	for i := range 25 {
		path, err := n.spool.(*spool.Spool).Path(fmt.Sprint("1.", i))
		if err != nil {
			t.Fatal(err)
		}
		in := store.Instance{SOPInstanceUID: fmt.Sprint("1.", i), StudyInstanceUID: fmt.Sprint("2.", i), Path: path, Loop: true,
			Received: time.UnixMilli(int64(1000 + i/2))}
		if _, err := n.store.AddInstance(ctx, in); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]bool{}
	after := ""
	for pages := 0; ; pages++ {
		var page []StudyStatus
		w := ask(t, n, http.MethodGet, "/studies?limit=10&after="+after, &page)
		for _, s := range page {
			if seen[s.StudyInstanceUID] || s.Objects != 1 {
				t.Errorf("study %s: listed twice, or %d objects", s.StudyInstanceUID, s.Objects)
			}
			seen[s.StudyInstanceUID] = true
		}
		if pages == 0 && page[0].StudyInstanceUID != "2.24" {
			t.Errorf("first is %s, want the last touched", page[0].StudyInstanceUID)
		}
		if after = w.Header().Get(NextPage); after == "" {
			if pages != 2 {
				t.Errorf("%d pages", pages+1)
			}
			break
		}
	}
	if len(seen) != 25 {
		t.Errorf("%d of 25 studies listed", len(seen))
	}
	var none []StudyStatus
	if ask(t, n, http.MethodGet, "/studies?state=failed&state=done", &none); len(none) != 0 {
		t.Errorf("%d studies in other states", len(none))
	}
	for path, want := range map[string]int{"/studies?after=x": 400, "/studies?limit=x": 400, "/studies?uid=9.9": 404} {
		if w := ask(t, n, http.MethodGet, path, nil); w.Code != want {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
	}
	if w := ask(t, n, http.MethodPost, "/studies/remove?uid=2.3", nil); w.Code != http.StatusOK {
		t.Errorf("remove: %d %s", w.Code, w.Body)
	}
	if w := ask(t, n, http.MethodGet, "/studies?uid=2.3", nil); w.Code != http.StatusNotFound {
		t.Errorf("a removed study: %d", w.Code)
	}
}

// A process that only receives tells that nobody does the rest while there is
// something to do.
func TestNobodyAnalyses(t *testing.T) {
	t.Run("that knows the destinations", func(t *testing.T) { nobodyAnalyses(t, destination("pacs", "127.0.0.1:1")) })
	t.Run("that knows none", func(t *testing.T) { nobodyAnalyses(t) })
}

func nobodyAnalyses(t *testing.T, destinations ...Destination) {
	dir := t.TempDir()
	n := start(t, dir, &fakeProcessor{t: t}, Options{Roles: []string{RoleReceive}, Idle: time.Hour, Cap: 2 * time.Hour, Destinations: destinations})
	look := func() string { return ask(t, n, http.MethodGet, "/healthz", nil).Body.String() }
	if got := look(); got != "ok\n" {
		t.Errorf("with nothing to do: %s", got)
	}
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.10", nil))
	if got := look(); !strings.Contains(got, HealthDegraded) ||
		!strings.Contains(got, "nobody: 1 loops and 0 studies wait, and no process with the role analyse lives") {
		t.Errorf("with a loop: %s", got)
	}
	run := func(query string, args ...any) {
		t.Helper()
		if _, err := n.store.SQLite().ExecContext(t.Context(), query, args...); err != nil {
			t.Fatal(err)
		}
	}
	enter := func(roles string) {
		t.Helper()
		run(`INSERT INTO processes (id, seat, host, roles, version, started_at) VALUES (?1, ?1, '', ?1, '', 9)`, roles)
	}
	enter("analyse,web")
	if got := look(); got != "ok\n" {
		t.Errorf("with somebody who analyses: %s", got)
	}
	// What was made waits for somebody who delivers.
	for _, query := range []string{`INSERT INTO runs (id, study_uid, revision, started_at, finished_at) VALUES (1, '1.2.3', 1, 0, 0)`,
		`INSERT INTO outputs (sop_uid, run_id, kind, sop_class, path) VALUES ('9.9', 1, 'report', '1.2', 'x')`,
		`INSERT INTO deliveries (run_id, sop_uid, destination, state, updated_at) VALUES (1, '9.9', 'pacs', 'pending', 0)`} {
		run(query)
	}
	if got := look(); !strings.Contains(got, "nobody: 1 deliveries wait, and no process with the role deliver lives") || strings.Contains(got, RoleAnalyse) {
		t.Errorf("with a delivery: %s", got)
	}
	enter("deliver")
	if got := look(); got != "ok\n" {
		t.Errorf("with all roles: %s", got)
	}
}

// A spool that cannot be written, for whatever reason, refuses what it would
// take another time, and says so before it is asked.
func TestSpoolCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	n := start(t, dir, &fakeProcessor{t: t}, Options{})
	healthy := func(want string, codes ...string) {
		t.Helper()
		h := n.examine(t.Context())
		if h.Status != want || len(h.Problems) != len(codes) {
			t.Errorf("%s, want %s: %v", h.Status, want, h.Problems)
		}
		for i, code := range codes {
			if len(h.Problems) == len(codes) && h.Problems[i].Code != code {
				t.Errorf("problem %v, want %s", h.Problems[i], code)
			}
		}
	}
	healthy(HealthOK)
	at, away := filepath.Join(dir, SpoolFolder), filepath.Join(dir, "away")
	if err := os.Rename(at, away); err != nil {
		t.Fatal(err)
	}
	healthy(HealthRefusing, ProblemDisk)
	path := writeObject(t, t.TempDir(), "1.2.3", "1.2.3.10", nil)
	var status *scp.StatusError
	if err := n.send(t, path)[0].Err; !errors.As(err, &status) || status.Status != scp.StatusOutOfResources {
		t.Errorf("refused with %v", err)
	}
	healthy(HealthRefusing, ProblemDisk, ProblemDisk)
	if err := os.Rename(away, at); err != nil {
		t.Fatal(err)
	}
	n.mustSend(t, path)
	healthy(HealthOK)
}

// A clock that is not the database's is told of.
func TestClocksDiffer(t *testing.T) {
	for ahead, want := range map[time.Duration]string{0: "", 5 * time.Second: "", -5 * time.Second: "",
		2 * time.Hour: "2h0m0s ahead of", -6 * time.Second: "6s behind"} {
		if got := clocksDiffer(ahead); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%v: %q", ahead, got)
		}
	}
}

// A database that answers and takes nothing is no database that works; one that was
// away and answers again is.
func TestDatabaseThatTakesNothing(t *testing.T) {
	full, away := errors.New("could not extend file"), fmt.Errorf("add object: %w", io.ErrUnexpectedEOF)
	for _, c := range []struct {
		err    error
		ago    time.Duration
		server bool
		told   bool
	}{
		{fmt.Errorf("add object: %w", full), 0, true, true},
		{full, faultFor, true, false},
		{full, 0, false, true},
		{away, 0, true, false},
		{away, 0, false, true}, // a file is not away
	} {
		var h healthCache
		h.recording.Store(&fault{c.err, time.Now().Add(-c.ago)})
		if err := h.unwritable(c.server); (err != nil) != c.told {
			t.Errorf("%v %v ago: %v", c.err, c.ago, err)
		}
	}
}
