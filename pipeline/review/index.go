package review

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/echonode/echonode/dicomio/tag"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/pipeline/node"
	"github.com/echonode/echonode/pipeline/objects"
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

// changesAtOnce is how many changes are read at a time.
const changesAtOnce = 200

// indexChanges lists what has changed until now. What goes wrong is said once in
// a while, and waits behind the others, see unlisted.
func (s *Server) indexChanges(ctx context.Context) {
	for {
		known := map[store.Change]bool{} // whether it is a change still
		for _, c := range s.unlisted.waiting {
			known[c] = false
		}
		listed := 0
		for after, more := "", true; more; {
			changes, err := s.opt.Store.Changes(ctx, after, changesAtOnce)
			if err != nil {
				if ctx.Err() == nil {
					s.complaints.Log(s.log, "review: looking for changed studies", err)
				}
				return
			}
			more = len(changes) == changesAtOnce
			for _, c := range changes {
				after = c.StudyInstanceUID
				if _, failed := known[c]; failed {
					known[c] = true
				} else if s.listOne(ctx, c) {
					listed++
				} else {
					known[c] = true
					s.unlisted.waiting = append(s.unlisted.waiting, c)
				}
				if ctx.Err() != nil {
					return
				}
			}
		}
		// What is no change any more another process has listed.
		s.unlisted.waiting = slices.DeleteFunc(s.unlisted.waiting, func(c store.Change) bool { return !known[c] })
		if listed == 0 {
			break
		}
	}
	s.listAgain(ctx)
}

// unlisted are changes that could not be listed, the one that is tried next first.
// They stay changes: another process may be able to list them.
type unlisted struct {
	waiting []store.Change
	next    time.Time // when one of them is tried
}

// listAgainEvery is how often one of the changes is tried that could not be listed.
// When that works the others are tried at once.
const listAgainEvery = 3 * time.Second

func (s *Server) listAgain(ctx context.Context) {
	u := &s.unlisted
	if s.now().Before(u.next) {
		return
	}
	for len(u.waiting) > 0 && ctx.Err() == nil {
		c := u.waiting[0]
		if u.waiting = u.waiting[1:]; !s.listOne(ctx, c) {
			u.waiting, u.next = append(u.waiting, c), s.now().Add(listAgainEvery)
			return
		}
	}
}

// listOne lists a change and tells open pages, or says that it can't be listed now.
func (s *Server) listOne(ctx context.Context, c store.Change) bool {
	written, err := s.list(ctx, c)
	if written {
		s.hub.publish([]string{c.StudyInstanceUID})
	}
	if err != nil && ctx.Err() == nil {
		s.complaints.Log(s.log, "review: listing a study", err, "study", c.StudyInstanceUID)
	}
	return err == nil
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

// list brings the listing of one study up to date. Where its objects cannot be asked
// whom it is of, that is the error, and the listing has what is known without them.
func (s *Server) list(ctx context.Context, c store.Change) (written bool, err error) {
	l, err := s.listing(ctx, c.StudyInstanceUID)
	if errors.Is(err, store.ErrNotFound) {
		l, err = nil, nil
	}
	if err != nil {
		return false, err
	}
	if l != nil && l.Unread != nil {
		was, err := s.opt.Store.Listing(ctx, c.StudyInstanceUID)
		if err == nil && alike(was, *l) {
			return false, l.Unread
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return false, err
		}
	}
	if err := s.opt.Store.List(ctx, c, l); err != nil {
		return false, err
	}
	if l != nil {
		return true, l.Unread
	}
	return true, nil
}

// alike reports whether two listings say the same.
func alike(a, b store.Listing) bool {
	if (a.EF == nil) != (b.EF == nil) || a.EF != nil && *a.EF != *b.EF || !a.Time.Equal(b.Time) {
		return false
	}
	for _, l := range []*store.Listing{&a, &b} {
		l.EF, l.Time, l.NamedBy, l.Unread = nil, time.Time{}, nil, nil
	}
	return a == b
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
	naming = append(naming, instances...)
	for _, in := range naming {
		said, err := s.patient(ctx, in, l)
		if said {
			l.NamedBy = &in
		}
		if l.Unread = err; said || err != nil {
			break // the first that is what was received
		}
	}
	if l.NamedBy == nil && len(naming) > 0 {
		if err := s.asListed(ctx, naming[0], l); err != nil {
			return nil, err
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

// fetchPatience is how long the indexer waits for an object to be fetched, which
// goes on meanwhile.
const fetchPatience = 30 * time.Second

// patient reads who the study is of, and when it was, from one of its objects. One
// that a disk has changed says nothing. An error is why none can be asked now.
func (s *Server) patient(ctx context.Context, in store.Instance, l *store.Listing) (said bool, err error) {
	hold := s.opt.Objects.Hold()
	defer hold.Release()
	node.Expect(hold, in)
	bounded, cancel := context.WithTimeout(ctx, fetchPatience)
	path, err := hold.File(bounded, in.Path)
	cancel()
	if err != nil {
		return false, s.passing(in, err)
	}
	f, err := dicomio.OpenContext(ctx, path, dicomio.Options{Limits: s.opt.Limits})
	if err != nil {
		return false, s.passing(in, err)
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
	return true, nil
}

// passing is the error of reading an object where the next time may be another, nil
// where the object says nothing for good: it is gone, is not what it was, is none.
func (s *Server) passing(in store.Instance, err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission): // it concerns all files of an owner
		return err
	case errors.Is(err, objects.ErrDamaged), errors.Is(err, objects.ErrUnreadable), errors.Is(err, objects.ErrName):
		return nil
	case errors.Is(err, fs.ErrNotExist):
		if path, own := s.opt.Objects.InPlace(in.Path); own {
			_, err = os.Stat(filepath.Dir(path)) // without its folder the whole disk may not be there
			return err
		}
		return nil
	case errors.Is(err, dicomio.ErrBusy), errors.As(err, new(*fs.PathError)), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.As(err, new(*dicomio.Error)):
		return nil
	}
	return err
}

// asListed takes who a study is of, and when it was, from its listing of before, if
// that is of whom the object that counts is recorded to be of.
func (s *Server) asListed(ctx context.Context, in store.Instance, l *store.Listing) error {
	was, err := s.opt.Store.Listing(ctx, l.StudyInstanceUID)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	listed := result.PersonOf(strings.TrimSpace(was.PatientID), "", strings.Replace(was.PatientName, ", ", "^", 1), was.BirthDate, was.Sex)
	if in.Patient != "" && in.Patient != listed.ID {
		return nil
	}
	l.PatientName, l.PatientID, l.BirthDate, l.Sex = was.PatientName, was.PatientID, was.BirthDate, was.Sex
	l.Accession, l.Description, l.Time = was.Accession, was.Description, was.Time
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
