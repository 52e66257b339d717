package review

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/echonode/echonode/dicomio/tag"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/pipeline/node"
	"github.com/echonode/echonode/pipeline/quantity"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/pipeline/store"
)

// indexEvery is how often the indexer looks for changes.
const indexEvery = 500 * time.Millisecond

// index writes the listings of studies that changed and tells open pages.
func (s *Server) index(ctx context.Context) error {
	tick := time.NewTicker(indexEvery)
	defer tick.Stop()
	for {
		s.indexChanges(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// indexChanges lists what has changed until now. What goes wrong is said once in
// a while: it is tried twice a second.
func (s *Server) indexChanges(ctx context.Context) {
	for {
		changes, err := s.opt.Store.Changes(ctx, 200)
		if err != nil && ctx.Err() == nil {
			s.complaints.Log(s.log, "review: looking for changed studies", err)
		}
		var listed []string
		for _, c := range changes {
			if err := s.list(ctx, c); err != nil {
				if ctx.Err() == nil {
					s.complaints.Log(s.log, "review: listing a study", err, "study", c.StudyInstanceUID)
				}
				continue
			}
			listed = append(listed, c.StudyInstanceUID)
		}
		s.hub.publish(listed)
		if len(listed) == 0 {
			return
		}
	}
}

// follow tells open pages of what other processes have listed.
func (s *Server) follow(ctx context.Context) {
	for ctx.Err() == nil {
		// What was listed while nobody heard, pages look for themselves.
		err := s.opt.Store.FollowListed(ctx, s.hub.publishAll, func(study string) { s.hub.publish([]string{study}) })
		if err != nil && ctx.Err() == nil {
			s.complaints.Log(s.log, "review: changes at other processes", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(2 * time.Second):
		}
	}
}

// list brings the listing of one study up to date.
func (s *Server) list(ctx context.Context, c store.Change) error {
	l, err := s.listing(ctx, c.StudyInstanceUID)
	if errors.Is(err, store.ErrNotFound) {
		return s.opt.Store.List(ctx, c, nil)
	}
	if err != nil {
		return err
	}
	return s.opt.Store.List(ctx, c, l)
}

func (s *Server) listing(ctx context.Context, uid string) (*store.Listing, error) {
	st := s.opt.Store
	study, err := st.Study(ctx, uid)
	if err != nil {
		return nil, err
	}
	instances, err := st.Instances(ctx, uid)
	if err != nil {
		return nil, err
	}
	runs, err := st.Runs(ctx, uid)
	if err != nil {
		return nil, err
	}
	deliveries, err := st.Deliveries(ctx, uid)
	if err != nil {
		return nil, err
	}
	l := &store.Listing{StudyInstanceUID: uid, Time: study.First, State: study.State, Revision: study.Revision, Objects: len(instances)}
	loops, err := st.Loops(ctx, uid)
	if err != nil {
		return nil, err
	}
	// Whom the study is of says the loop received last, as in everything that is made of the study.
	isLoop := map[string]bool{}
	naming := make([]store.Instance, 0, len(loops)+len(instances))
	for _, loop := range slices.Backward(loops) {
		isLoop[loop.SOPInstanceUID] = true
		if i := slices.IndexFunc(instances, func(in store.Instance) bool { return in.SOPInstanceUID == loop.SOPInstanceUID }); i >= 0 {
			naming = append(naming, instances[i])
		}
	}
	for _, in := range append(naming, instances...) {
		if s.patient(ctx, in, l) == nil {
			l.NamedBy = &in
			break // the first that is what was received
		}
	}
	if study.State == store.Failed {
		l.Flags |= store.AnalysisFailed
	}
	if slices.ContainsFunc(deliveries, func(d store.Delivery) bool { return d.State == store.Dead }) {
		l.Flags |= store.DeliveryFailed
	}
	i := slices.IndexFunc(runs, func(r store.Run) bool { return !r.Finished.IsZero() && r.Error == "" })
	if i < 0 {
		return l, nil
	}
	first := runs[len(runs)-1].Started
	// Another version of an object that was there is no late one.
	if slices.ContainsFunc(instances, func(in store.Instance) bool {
		return isLoop[in.SOPInstanceUID] && in.Corrections == 0 && in.Received.After(first)
	}) {
		l.Flags |= store.LateObjects
	}
	reviews, err := st.Reviews(ctx, uid)
	if err != nil {
		return nil, err
	}
	if runs[i].Revision == study.Revision {
		l.Verdict = reviews[study.Revision].Verdict
	}
	if err := summarize(runs[i], l); err != nil {
		s.complaints.Log(s.log, "review: listing a study", err, "study", uid)
	}
	return l, nil
}

// summarize takes the ejection fraction at rest, and what is to be
// said of it, from a run's summary.
func summarize(run store.Run, l *store.Listing) error {
	var summary struct {
		Measurements []result.Measurement `json:"measurements"`
	}
	if err := json.Unmarshal([]byte(run.Summary), &summary); err != nil {
		return fmt.Errorf("summary of run %d: %w", run.ID, err)
	}
	for _, m := range summary.Measurements {
		if slices.ContainsFunc(m.Quality.Warnings, func(w result.Reason) bool { return w.Code == result.ViewsDisagree }) {
			l.Flags |= store.Disagreement
		}
	}
	if m := quantity.RestingEF(summary.Measurements); m != nil {
		l.EF, l.EFMethod, l.EFGrade = m.Value, m.Method, m.Quality.Grade
	}
	switch {
	case l.EF == nil:
		l.Flags |= store.NotMeasured
	case *l.EF < lowestNormalEF(l.Sex):
		l.Flags |= store.ReducedEF
	}
	return nil
}

// lowestNormalEF is the lower limit of a normal ejection fraction in per cent.
// Of an unknown sex the lower one counts.
func lowestNormalEF(sex string) float64 {
	q, _ := quantity.Of(result.EF)
	if sex != "F" {
		sex = "M"
	}
	r, _ := q.NormalFor(sex)
	return r.Lo
}

// patient reads who the study is of, and when it was, from one of its objects.
// One that a disk has changed says nothing.
func (s *Server) patient(ctx context.Context, in store.Instance, l *store.Listing) error {
	hold := s.opt.Objects.Hold()
	defer hold.Release()
	node.Expect(hold, in)
	path, err := hold.File(ctx, in.Path)
	if err != nil {
		return err
	}
	f, err := dicomio.Open(path, dicomio.Options{Limits: s.opt.Limits})
	if err != nil {
		return err
	}
	defer f.Close() // read only
	ds := f.DataSet
	l.PatientName = personName(ds.String(tag.PatientName))
	l.PatientID = ds.String(tag.PatientID)
	l.BirthDate = ds.String(tag.PatientBirthDate)
	l.Sex = ds.String(tag.PatientSex)
	l.Accession = ds.String(tag.AccessionNumber)
	l.Description = ds.String(tag.StudyDescription)
	if t, ok := dicomTime(ds.String(tag.StudyDate), ds.String(tag.StudyTime)); ok {
		l.Time = t
	}
	return nil
}

// dicomTime reads a date (DA) and a time (TM) as local time; a time that is
// missing or wrong is midnight.
func dicomTime(date, clock string) (time.Time, bool) {
	day, err := time.ParseInLocation("20060102", date, time.Local)
	if err != nil {
		return time.Time{}, false
	}
	for _, layout := range []string{"150405", "1504", "15"} {
		if len(clock) >= len(layout) {
			if t, err := time.Parse(layout, clock[:len(layout)]); err == nil {
				return day.Add(time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute + time.Duration(t.Second())*time.Second), true
			}
		}
	}
	return day, true
}

// ---- telling open pages ----

// hub hands changed studies to open pages. A page that does not listen fast
// enough is told to look at everything again.
type hub struct {
	mu   sync.Mutex
	open map[chan []string]string
	done chan struct{}
}

func newHub() *hub { return &hub{open: map[chan []string]string{}, done: make(chan struct{})} }

func (h *hub) close() { close(h.done) }

func (h *hub) publish(studies []string) {
	if len(studies) > 0 {
		h.tell(studies)
	}
}

// publishAll has every page look at everything again.
func (h *hub) publishAll() { h.tell([]string{}) }

func (h *hub) tell(studies []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.open {
		select {
		case c <- studies:
		default:
			select {
			case <-c:
			default:
			}
			select {
			case c <- []string{}: // everything
			default:
			}
		}
	}
}

// subscribe opens a stream for a user; c is nil where there are too many, of his
// or in all.
func (h *hub) subscribe(user string) (c chan []string, cancel func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	his := 0
	for _, u := range h.open {
		if u == user {
			his++
		}
	}
	if len(h.open) >= maxListeners || his >= maxListenersEach {
		return nil, func() {}
	}
	c = make(chan []string, 16)
	h.open[c] = user
	return c, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.open, c)
	}
}

// How many pages may listen at once, and those of one user.
const (
	maxListeners     = 500
	maxListenersEach = 50
)

// signedOut is the event that leads an open page to the sign-in.
const signedOut = "event: signed-out\ndata: {}\n\n"

// events is the stream of server-sent events: "studies" with the UIDs that
// changed, an empty list for all, and "signed-out" at the session's end. A page
// that names its study and the run that it shows is told at once where
// another is shown by now.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	changes, cancel := s.hub.subscribe(visitorOf(r.Context()).Name)
	defer cancel()
	if changes == nil {
		http.Error(w, "too many open pages", http.StatusServiceUnavailable)
		return
	}
	rc := http.NewResponseController(w)
	// The server's deadline for reading a request would end the stream.
	if err := rc.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		s.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	send := func(format string, args ...any) bool {
		if err := rc.SetWriteDeadline(time.Now().Add(30 * time.Second)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return false
		}
		if _, err := fmt.Fprintf(w, format, args...); err != nil {
			return false
		}
		return rc.Flush() == nil
	}
	changed := func(studies ...string) bool {
		b, err := json.Marshal(studies)
		return err == nil && send("event: studies\ndata: %s\n\n", b)
	}
	if !send(": listening\n\n") {
		return
	}
	if uid := r.FormValue("study"); uid != "" && s.showsOther(r.Context(), uid, r.FormValue("run")) {
		changed(uid)
	}
	alive := time.NewTicker(20 * time.Second)
	defer alive.Stop()
	for {
		select {
		case <-r.Context().Done():
			return
		case <-s.hub.done:
			return
		case studies := <-changes:
			if !changed(studies...) {
				return
			}
		case <-alive.C:
			if _, ok, err := s.identify(r, false); err == nil && !ok { // of a database that is away nobody is signed out
				send(signedOut)
				return
			}
			if !send(": alive\n\n") {
				return
			}
		}
	}
}

// showsOther reports whether the page of a study would show another run
// than this one.
func (s *Server) showsOther(ctx context.Context, uid, version string) bool {
	runs, err := s.opt.Store.Runs(ctx, uid)
	if err != nil {
		return false // it listens, and hears of what comes
	}
	now := ""
	if run := runShown(runs); run != nil {
		now = run.Version()
	}
	return now != version
}
