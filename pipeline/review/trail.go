package review

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/pipeline/internal/origin"
	"github.com/echonode/echonode/pipeline/store"
)

const (
	// auditWait is how long a page waits for what it has to write down besides, as
	// its entry in the audit trail: the database may be another program's for long.
	auditWait = time.Second
	// maxLate bounds what waits for the database then.
	maxLate = 1000
	// maxDetail is how many bytes of a detail are kept, and of what else a browser
	// may choose.
	maxDetail = 200
)

// late writes what a page does not wait for longer than auditWait.
type late struct {
	wait time.Duration
	room chan struct{}

	mu      sync.Mutex
	waiting map[*lateWrite]bool
	ended   bool // nobody sees to what is left: everything is waited for
}

type lateWrite struct{ lost func(error) }

func newLate() *late {
	return &late{wait: auditWait, room: make(chan struct{}, maxLate), waiting: map[*lateWrite]bool{}}
}

var (
	errManyWait = errors.New("too much waits for the database already")
	errUnknown  = errors.New("the database has not answered until the end")
)

// do runs write, and lost with what became of it where it failed: here, or later
// where it takes longer than a page waits.
func (l *late) do(write func() error, lost func(error)) {
	w := &lateWrite{lost}
	select {
	case l.room <- struct{}{}:
	default:
		lost(errManyWait)
		return
	}
	l.mu.Lock()
	l.waiting[w] = true
	ended := l.ended
	l.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := write()
		if l.settled(w) && err != nil {
			lost(err)
		}
		<-l.room
	}()
	if ended {
		<-done
		return
	}
	timer := time.NewTimer(l.wait)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

// settled reports whether it is this call that has to say what became of a write.
func (l *late) settled(w *lateWrite) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.waiting[w]
	delete(l.waiting, w)
	return was
}

// end waits for what is left, at most so long. What is not written by then counts
// as lost.
func (l *late) end(atMost time.Duration) {
	l.mu.Lock()
	l.ended = true
	l.mu.Unlock()
	for until := time.Now().Add(atMost); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		l.mu.Lock()
		left := len(l.waiting)
		l.mu.Unlock()
		if left == 0 {
			return
		}
	}
	l.mu.Lock()
	left := l.waiting
	l.waiting = map[*lateWrite]bool{}
	l.mu.Unlock()
	for w := range left {
		w.lost(errUnknown)
	}
}

// audit writes an entry of the trail. What cannot be recorded is logged; it
// does not keep a reader from a patient.
func (s *Server) audit(r *http.Request, study, action, detail string, failed bool) {
	s.auditEntry(r.Context(), s.entryOf(r, study, action, detail, failed))
}

func (s *Server) entryOf(r *http.Request, study, action, detail string, failed bool) store.AuditEntry {
	return store.AuditEntry{At: s.now(), User: visitorOf(r.Context()).Name, Address: s.clientAddress(r), Action: action, Study: study,
		Detail: detail, Failed: failed}
}

func (s *Server) auditEntry(ctx context.Context, e store.AuditEntry) {
	if !uid.Valid(e.Study) {
		e.Study = "" // whatever an address holds
	}
	e.User, e.Address, e.Detail = short(e.User), short(e.Address), short(e.Detail)
	ctx = context.WithoutCancel(ctx)
	s.late.do(func() error { return s.opt.Store.Audit(ctx, e) }, func(err error) {
		s.log.Error("review: audit entry not recorded", slog.Time("at", e.At), "user", e.User, "address", e.Address, "action", e.Action,
			"study", e.Study, "detail", e.Detail, "failed", e.Failed, "error", err)
	})
}

// short is what is kept of a text that somebody else chose.
func short(text string) string {
	if len(text) <= maxDetail {
		return text
	}
	cut := maxDetail
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}

// ---- refusals ----

const (
	// refusalsEach is how many refusals of one user and kind are entered one by one
	// in refusalsFor; more are counted, and entered together.
	refusalsEach = 10
	refusalsFor  = time.Minute
	// maxRefused is of how many users, or addresses of nobody that is known, they
	// are counted apart.
	maxRefused = 1000
)

// refusals counts what is refused, since those who are refused may ask as often
// as they like.
type refusals struct {
	mu sync.Mutex
	of map[refusal]*refused
}

type refusal struct{ user, from, action string } // from: see origin.Of

type refused struct {
	since time.Time
	n     int
	last  store.AuditEntry
}

// auditRefusal writes an entry of something that was refused, or counts it.
func (s *Server) auditRefusal(ctx context.Context, e store.AuditEntry) {
	e.Failed = true
	key := refusal{user: short(e.User), action: e.Action}
	if e.User == "" {
		key.from = origin.Of(short(e.Address))
	}
	s.tellRefusals(ctx, e.At)
	s.refusals.mu.Lock()
	if s.refusals.of[key] == nil && len(s.refusals.of) >= maxRefused {
		key = refusal{action: e.Action} // of all others together
	}
	r := s.refusals.of[key]
	if r == nil {
		r = &refused{since: e.At}
		s.refusals.of[key] = r
	}
	r.n++
	counted := r.n > refusalsEach
	if r.last = e; counted {
		r.last.Study, r.last.Detail = "", ""
	}
	s.refusals.mu.Unlock()
	if !counted {
		s.auditEntry(ctx, e)
	}
}

// tellRefusals enters how many there were beyond those that were entered, of each
// minute that is over.
func (s *Server) tellRefusals(ctx context.Context, now time.Time) {
	var entries []store.AuditEntry
	s.refusals.mu.Lock()
	for key, r := range s.refusals.of {
		if now.Sub(r.since) < refusalsFor {
			continue
		}
		delete(s.refusals.of, key)
		if more := r.n - refusalsEach; more > 0 {
			e := r.last
			e.Detail = fmt.Sprintf("and %d more since %s", more, r.since.UTC().Format(time.RFC3339))
			if key.user == "" && key.from == "" {
				e.Address = ""
			}
			entries = append(entries, e)
		}
	}
	s.refusals.mu.Unlock()
	for _, e := range entries {
		s.auditEntry(ctx, e)
	}
}

// countRefusals enters what was counted, until ctx ends.
func (s *Server) countRefusals(ctx context.Context) error {
	tick := time.NewTicker(refusalsFor / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			s.tellRefusals(ctx, s.now().Add(refusalsFor))
			return nil
		case <-tick.C:
			s.tellRefusals(ctx, s.now())
		}
	}
}

// ---- whose a removed study was ----

// removals are the Patient IDs of studies that were removed, until that is told
// to the collector of audit messages. Another study may come under the UID.
type removals struct {
	mu sync.Mutex
	of map[string][]removal // by study, in their order
}

type removal struct {
	patient string
	until   time.Time // zero while it is under way
}

// begin notes a removal that is under way.
func (m *removals) begin(study, patient string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := len(m.of[study]); n > 0 && m.of[study][n-1].until.IsZero() {
		return // of two at once
	}
	m.of[study] = append(m.of[study], removal{patient: patient})
}

// end notes when the study was gone; zero: it is still there.
func (m *removals) end(study string, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := m.of[study]
	n := len(all)
	switch {
	case n == 0 || !all[n-1].until.IsZero():
	case !at.IsZero():
		all[n-1].until = at
	case n == 1:
		delete(m.of, study)
	default:
		m.of[study] = all[:n-1]
	}
}

// patient is whose a study was at a time.
func (m *removals) patient(study string, at time.Time) (string, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.of[study] {
		if r.until.IsZero() || !at.After(r.until) {
			return r.patient, true
		}
	}
	return "", false
}

// told forgets the removals up to a time.
func (m *removals) told(study string, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := m.of[study]
	for len(all) > 0 && !all[0].until.IsZero() && !all[0].until.After(at.Add(time.Millisecond)) { // entries have milliseconds
		all = all[1:]
	}
	if m.of[study] = all; len(all) == 0 {
		delete(m.of, study)
	}
}
