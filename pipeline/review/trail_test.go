package review

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/echonode/echonode/pipeline/store"
)

// trail is what the database holds of an action, oldest first.
func (s *site) trail(action string) (out []store.AuditEntry) {
	s.t.Helper()
	all, err := s.store.AuditAfter(s.t.Context(), 0, 10_000)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, e := range all {
		if e.Action == action {
			out = append(out, e)
		}
	}
	return out
}

// Whoever is refused may ask as often as he likes, and as long: the trail holds
// who, what and how often, and does not grow with it.
func TestRefusalsAreCounted(t *testing.T) {
	s := newSite(t, func(o *Options) { o.Operator = &operator{} })
	b := s.as("viewer")
	study := strings.Repeat("9", 60_000)
	for range 300 {
		b.want(http.StatusForbidden, http.MethodPost, "/study/"+study+"/do/remove", "", func(r *http.Request) { r.Header.Set("X-CSRF-Token", "x") })
	}
	const action = "request without the page's token refused"
	got := s.trail(action)
	if len(got) != refusalsEach {
		t.Fatalf("%d entries", len(got))
	}
	for _, e := range got {
		if e.User != "viewer" || !strings.HasPrefix(e.Detail, "POST /study/999") || len(e.Detail) > maxDetail+4 || e.Study != "" || !e.Failed {
			t.Fatalf("%.400v", e)
		}
	}
	s.pass(refusalsFor)
	s.server.tellRefusals(t.Context(), s.now())
	s.server.tellRefusals(t.Context(), s.now())
	if got = s.trail(action); len(got) != refusalsEach+1 || !strings.HasPrefix(got[refusalsEach].Detail, "and 290 more since ") ||
		got[refusalsEach].User != "viewer" || !got[refusalsEach].Failed {
		t.Fatalf("%d entries, the last %+v", len(got), got[len(got)-1])
	}
	// From then on each counts again; what names a study is found under it.
	server := s.server
	for _, study := range []string{"1.2.840", study} {
		r, err := http.NewRequest(http.MethodPost, "/", nil)
		if err != nil {
			t.Fatal(err)
		}
		server.auditRefusal(t.Context(), server.entryOf(r, study, action, "", true))
	}
	if got = s.trail(action)[refusalsEach+1:]; len(got) != 2 || got[0].Study != "1.2.840" || got[1].Study != "" {
		t.Errorf("%.400v", got)
	}
	// Nobody that is known is counted by address, and addresses are not without end.
	for i := range 3 * maxRefused {
		server.auditRefusal(t.Context(), store.AuditEntry{At: s.now(), Address: fmt.Sprint(i % (2 * maxRefused)), Action: "sign-in"})
	}
	if n := len(server.refusals.of); n > maxRefused+1 {
		t.Errorf("%d are counted apart", n)
	}
	s.pass(refusalsFor)
	server.tellRefusals(t.Context(), s.now())
	if n := len(server.refusals.of); n != 0 {
		t.Errorf("%d are left", n)
	}
}

// While another program holds the database pages come all the same, and what
// happened is entered when it can be.
func TestPagesDoNotWaitForTheTrail(t *testing.T) {
	s := newSite(t)
	s.add(sample{study: "1.2.1", loop: "1.2.1.1", name: "Doe^Jane", view: "A4C", ef: value(60)})
	b := s.as("viewer")
	s.server.late.wait = 10 * time.Millisecond
	s.pass(s.server.opt.Idle / touches) // the session has to be noted, too
	db, err := sql.Open("sqlite", "file:"+filepath.Join(s.dir, "node.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(t.Context(), `BEGIN IMMEDIATE`); err != nil {
		t.Fatal(err)
	}
	b.want(http.StatusOK, http.MethodGet, "/study/1.2.1", "")
	if got := s.trail("study opened"); len(got) != 0 {
		t.Fatalf("the database was free: %v", got)
	}
	if _, err := db.ExecContext(t.Context(), `ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	s.server.late.end(3 * time.Minute)
	if got := s.trail("study opened"); len(got) != 1 || got[0].User != "viewer" || got[0].Study != "1.2.1" {
		t.Errorf("%v", got)
	}
}

// What cannot be entered stands in the log as a whole.
func TestLostEntriesAreLogged(t *testing.T) {
	var log lockedBuffer
	s := newSite(t, func(o *Options) { o.Log = slog.New(slog.NewJSONHandler(&log, nil)) })
	db, err := sql.Open("sqlite", "file:"+filepath.Join(s.dir, "node.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), `DROP TABLE audit`); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	e := store.AuditEntry{At: s.now(), User: "reader", Address: "10.0.0.7", Action: "sign", Study: "1.2.840", Detail: "accepted, revision 3", Failed: true}
	whole := func(what string) {
		t.Helper()
		for _, want := range []string{`"user":"reader"`, `"address":"10.0.0.7"`, `"action":"sign"`, `"study":"1.2.840"`, `"detail":"accepted, revision 3"`,
			`"failed":true`, `"at":"`} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("%s: %s is not in %q", what, want, log.String())
			}
		}
		log.reset()
	}
	s.server.auditEntry(t.Context(), e)
	whole("no table")
	// Nor what nobody waits for any more.
	l := s.server.late
	l.room = make(chan struct{}, 1)
	hold, held := make(chan struct{}), make(chan struct{})
	l.wait = 0
	l.do(func() error { <-hold; close(held); return errors.New("too late") }, func(err error) { log.add(err.Error()) })
	s.server.auditEntry(t.Context(), e)
	whole("too many wait")
	l.end(0)
	if got := log.String(); got != errUnknown.Error() {
		t.Errorf("what waited at the end: %q", got)
	}
	close(hold)
	<-held
	l.room <- struct{}{} // its end
	if got := log.String(); got != errUnknown.Error() {
		t.Errorf("said twice: %q", got)
	}
}

// lockedBuffer is a log that several write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

var _ io.Writer = (*lockedBuffer)(nil)

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) add(text string) { _, _ = l.Write([]byte(text)) }

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lockedBuffer) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b.Reset()
}

// An entry about a study is about whose it was then: another patient's may have
// come under its UID.
func TestPatientOfAnEntry(t *testing.T) {
	s := newSite(t, func(o *Options) { o.Syslog = &Syslog{}; o.Operator = &operator{} })
	b := s.as("admin")
	var at []time.Time
	var want []string
	look := func(patient string) {
		s.pass(time.Second)
		at, want = append(at, s.now()), append(want, patient)
		s.pass(time.Second)
	}
	look("") // before there was any
	for i, patient := range []string{"P-1.2.1", "P-1.2.1", "P-1.2.1"} {
		s.add(sample{study: "1.2.1", loop: "1.2.1.1", name: "Doe^Jane", view: "A4C", ef: value(60)})
		s.indexed()
		if i == 2 {
			break
		}
		// Whose it is stands in its listing.
		s.server.removed.begin("1.2.1", fmt.Sprint(patient, "-", i))
		look(fmt.Sprint(patient, "-", i))
		if err := s.store.Delete(t.Context(), "1.2.1"); err != nil {
			t.Fatal(err)
		}
		s.server.removed.end("1.2.1", s.now())
		s.pass(time.Second)
	}
	look("P-1.2.1")
	want[0] = want[1] // what was removed first
	for i := range at {
		got, err := s.server.patientOf(t.Context(), store.AuditEntry{At: at[i], Study: "1.2.1"})
		if err != nil || got != want[i] {
			t.Errorf("entry %d: %q, %v; want %q", i, got, err, want[i])
		}
	}
	// Told, it is forgotten; what was before the study there is now is nobody's.
	s.server.removed.told("1.2.1", s.now())
	for i, want := range map[int]string{0: "", 2: "", 3: "P-1.2.1"} {
		if got, err := s.server.patientOf(t.Context(), store.AuditEntry{At: at[i], Study: "1.2.1"}); err != nil || got != want {
			t.Errorf("entry %d: %q, %v; want %q", i, got, err, want)
		}
	}
	// One that failed changes nothing.
	s.server.removed.begin("1.2.1", "x")
	s.server.removed.end("1.2.1", time.Time{})
	if len(s.server.removed.of) != 0 {
		t.Errorf("%v", s.server.removed.of)
	}
	b.want(http.StatusSeeOther, http.MethodPost, "/study/1.2.1/do/remove", "sure=on")
	if all := s.server.removed.of["1.2.1"]; len(all) != 1 || all[0].patient != "P-1.2.1" || all[0].until.IsZero() {
		t.Errorf("%+v", all)
	}
}

// What goes wrong twice a second, as while the database is away, is said once.
func TestIndexerComplainsOnce(t *testing.T) {
	var log lockedBuffer
	s := newSite(t, func(o *Options) { o.Log = slog.New(slog.NewJSONHandler(&log, nil)) })
	s.add(sample{study: "1.2.1", loop: "1.2.1.1", name: "Doe^Jane", view: "A4C", ef: value(60)})
	without := func(table string) {
		t.Helper()
		db, err := sql.Open("sqlite", "file:"+filepath.Join(s.dir, "node.db"))
		if err == nil {
			_, err = db.ExecContext(t.Context(), `DROP TABLE `+table)
			err = errors.Join(err, db.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			s.server.indexChanges(t.Context())
		}
	}
	without("reviews")
	without("worklist_changes")
	for _, want := range []string{`"review: listing a study","study":"1.2.1"`, `"review: looking for changed studies"`} {
		if n := strings.Count(log.String(), want); n != 1 {
			t.Errorf("%s is said %d times in %s", want, n, log.String())
		}
	}
}
