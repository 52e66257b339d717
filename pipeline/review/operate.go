package review

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/pipeline/node"
	"github.com/echonode/echonode/pipeline/store"
)

// Operator does what administrators ask for; *node.Node is one.
type Operator interface {
	Retry(ctx context.Context, study string) (int, error)
	Reanalyse(ctx context.Context, study string) error
	Remove(ctx context.Context, study string) error
	Health(ctx context.Context) node.Health
	Load(ctx context.Context) (node.Load, error)
}

// operate performs an administrator's action on a study.
func (s *Server) operate(w http.ResponseWriter, r *http.Request) {
	uid, action := r.PathValue("study"), r.PathValue("action")
	if _, err := s.opt.Store.Study(r.Context(), uid); err != nil {
		s.fail(w, r, err)
		return
	}
	next := "/study/" + url.PathEscape(uid)
	if r.PostFormValue("next") == "/operations" {
		next = "/operations"
	}
	var err error
	switch action {
	case "retry":
		_, err = s.opt.Operator.Retry(r.Context(), uid)
	case "reanalyse":
		err = s.opt.Operator.Reanalyse(r.Context(), uid)
	case "remove":
		if r.PostFormValue("sure") == "" {
			http.Error(w, s.words(r).T("error.sure"), http.StatusUnprocessableEntity)
			return
		}
		if s.opt.Syslog != nil {
			if l, err := s.opt.Store.Listing(r.Context(), uid); err == nil {
				s.removed.begin(uid, l.PatientID)
			}
		}
		if err = s.opt.Operator.Remove(r.Context(), uid); err != nil && !errors.Is(err, store.ErrNotFound) {
			s.removed.end(uid, time.Time{}) // it is still there
		}
		if next != "/operations" {
			next = "/"
		}
	default:
		http.NotFound(w, r)
		return
	}
	e := s.entryOf(r, uid, action, "", err != nil)
	if action == "remove" && (err == nil || errors.Is(err, store.ErrNotFound)) {
		s.removed.end(uid, e.At)
	}
	s.auditEntry(r.Context(), e)
	switch {
	case errors.Is(err, store.ErrNotFound):
		http.Error(w, s.words(r).T("error.state"), http.StatusConflict)
	case err != nil:
		s.fail(w, r, err)
	default:
		http.Redirect(w, r, next, http.StatusSeeOther)
	}
}

type operationsPage struct {
	page
	Health       node.Health
	Disk         diskView
	Queue        []stateCount
	Destinations []destinationView
	Studies      []operationRow
	More         bool // studies than are shown
}

type diskView struct{ Free, Total, MinFree string }

type stateCount struct {
	State string
	Count int
}

// destinationView is what waits for a destination.
type destinationView struct {
	Name          string
	Pending, Dead int
}

// operationRow is a study that somebody should look at, or that is under way.
type operationRow struct {
	worklistRow
	Reason string
	Dead   int
	Again  bool
	Said   []string // by receivers that refused
}

// maxOperations is how many studies of each kind the page of operations shows.
const maxOperations = 50

// operations shows what the node is doing and what needs a person: queue, disk,
// deliveries of all studies.
func (s *Server) operations(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	load, err := s.opt.Operator.Load(ctx)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	p := operationsPage{page: s.page(r, "operations.title"), Health: s.opt.Operator.Health(ctx)}
	p.page.Name = "operations"
	size := func(n uint64) string {
		if n < 1<<30 {
			return p.Words.Number(float64(n)/(1<<20), 0) + " MiB"
		}
		return p.Words.Number(float64(n)/(1<<30), 1) + " GiB"
	}
	p.Disk = diskView{size(load.Free), size(load.Total), size(load.MinFree)}
	for _, state := range states {
		p.Queue = append(p.Queue, stateCount{string(state), load.Studies[state]})
	}
	for _, wait := range load.Waiting {
		i := slices.IndexFunc(p.Destinations, func(d destinationView) bool { return d.Name == wait.Destination })
		if i < 0 {
			i, p.Destinations = len(p.Destinations), append(p.Destinations, destinationView{Name: wait.Destination})
		}
		if wait.State == store.Dead {
			p.Destinations[i].Dead += wait.Count
		} else {
			p.Destinations[i].Pending += wait.Count
		}
	}
	seen := map[string]bool{}
	for _, q := range []store.WorklistQuery{
		{Flags: store.AnalysisFailed | store.DeliveryFailed}, {State: store.Analysing}, {State: store.Queued}, {State: store.Receiving},
	} {
		q.Order, q.Descending, q.Limit = store.ByTime, true, maxOperations
		rows, total, err := s.opt.Store.Worklist(ctx, q)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		p.More = p.More || total > len(rows)
		for _, l := range rows {
			if seen[l.StudyInstanceUID] {
				continue
			}
			seen[l.StudyInstanceUID] = true
			row, err := s.operation(ctx, p.Words, l)
			if errors.Is(err, store.ErrNotFound) {
				continue // removed meanwhile
			}
			if err != nil {
				s.fail(w, r, err)
				return
			}
			p.Studies = append(p.Studies, row)
		}
	}
	s.audit(r, "", "operations", "", false)
	s.render(w, r, http.StatusOK, "operations.html", p)
}

func (s *Server) operation(ctx context.Context, words *Words, l store.Listing) (operationRow, error) {
	row := operationRow{worklistRow: worklistRow{Listing: l, Words: words, Date: words.Time(l.Time)}}
	for _, f := range flagNames {
		if l.Flags&f.Flag != 0 {
			row.Marks = append(row.Marks, f)
		}
	}
	study, err := s.opt.Store.Study(ctx, l.StudyInstanceUID)
	if err != nil {
		return row, err
	}
	row.Reason, row.Again = study.Error, study.State == store.Done || study.State == store.Failed
	deliveries, err := s.opt.Store.Deliveries(ctx, l.StudyInstanceUID)
	for _, d := range deliveries {
		if d.State != store.Dead {
			continue
		}
		row.Dead++
		if said := strings.TrimSpace(d.Destination + ": " + d.Comment + " " + d.Error); !slices.Contains(row.Said, said) && len(row.Said) < 5 {
			row.Said = append(row.Said, said)
		}
	}
	return row, err
}

type auditPage struct {
	page
	Entries []auditRow
	Study   string // whose entries alone, "" for all
	Newest  string // address of the newest, "" when they are shown
	Older   string // address of those before, "" without any
}

type auditRow struct {
	store.AuditEntry
	Time string
}

// auditEntries is how many entries the page of the audit trail shows at once.
const auditEntries = 500

// trail shows the audit trail, newest entries first: of one study (?study=UID),
// or what was before an entry (?before=ID).
func (s *Server) trail(w http.ResponseWriter, r *http.Request) {
	study := r.URL.Query().Get("study")
	before, err := strconv.ParseInt(cmp.Or(r.URL.Query().Get("before"), "0"), 10, 64)
	if err != nil || before < 0 || study != "" && !uid.Valid(study) {
		http.Error(w, "not a page of the audit trail", http.StatusBadRequest)
		return
	}
	entries, err := s.opt.Store.AuditTrail(r.Context(), study, before, auditEntries+1)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.audit(r, study, "audit trail", "", false)
	p := auditPage{page: s.page(r, "audit.title"), Study: study}
	if before > 0 {
		p.Newest = trailAddress(study, 0)
	}
	if len(entries) > auditEntries {
		entries = entries[:auditEntries]
		p.Older = trailAddress(study, entries[auditEntries-1].ID)
	}
	for _, e := range entries {
		e.Study, e.Detail = short(e.Study), short(e.Detail) // earlier versions kept all
		p.Entries = append(p.Entries, auditRow{e, p.Words.Seconds(e.At.Local())})
	}
	s.render(w, r, http.StatusOK, "audit.html", p)
}

// trailAddress is where the trail of a study, or of all, is shown.
func trailAddress(study string, before int64) string {
	q := url.Values{}
	if study != "" {
		q.Set("study", study)
	}
	if before > 0 {
		q.Set("before", strconv.FormatInt(before, 10))
	}
	return (&url.URL{Path: "/audit", RawQuery: q.Encode()}).String()
}
