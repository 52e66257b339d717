package review

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/echonode/echonode/pipeline/store"
)

// pageSize is how many studies the worklist shows at once.
const pageSize = 50

// worklistPage is the worklist and its rows.
type worklistPage struct {
	page
	Rows       []worklistRow
	Total      int
	Query      worklistRequest
	From, To   int // of the rows shown, from 1
	Prev, Next int // offsets, -1 for none
	States     []store.State
	Flags      []flagName
	Labels     bool     // may export training labels
	Empty      bool     // there is no study
	Dates      []string // names of the fields with dates
}

type worklistRow struct {
	store.Listing
	Words *Words
	Date  string
	Birth string
	EF    string
	Marks []flagName
}

// flagName names a flag in the catalogue and in requests.
type flagName struct {
	Flag store.Flags
	Name string
}

var flagNames = []flagName{
	{store.ReducedEF, "reduced"}, {store.NotMeasured, "notmeasured"}, {store.Disagreement, "disagreement"},
	{store.LateObjects, "late"}, {store.DeliveryFailed, "undelivered"}, {store.AnalysisFailed, "failed"},
}

var states = []store.State{store.Receiving, store.Queued, store.Analysing, store.Done, store.Failed}

// worklistRequest is the body of POST /worklist: what a search for a patient
// asks stays out of addresses.
type worklistRequest struct {
	Search     string `json:"search"`
	State      string `json:"state"`
	Flag       string `json:"flag"`
	Unreviewed bool   `json:"unreviewed"`
	From       string `json:"from"` // see day; both included
	To         string `json:"to"`
	Order      string `json:"order"`
	Ascending  bool   `json:"ascending"`
	Offset     int    `json:"offset"`
}

// What people search for: the page takes no more characters.
const (
	maxSearch      = 200
	maxSearchWords = 16
	maxSearchBody  = 16 << 10
)

// errSearch says that a search is none that a page sends.
var errSearch = errors.New("not a search")

// check refuses what costs more than a search.
func (q worklistRequest) check() error {
	if utf8.RuneCountInString(q.Search) > maxSearch || len(strings.Fields(q.Search)) > maxSearchWords {
		return errSearch
	}
	return nil
}

func (q worklistRequest) store() store.WorklistQuery {
	out := store.WorklistQuery{Search: q.Search, Order: store.Order(q.Order), Descending: !q.Ascending, Limit: pageSize,
		Offset: max(q.Offset, 0), Unreviewed: q.Unreviewed}
	if slices.Contains(states, store.State(q.State)) {
		out.State = store.State(q.State)
	}
	if i := slices.IndexFunc(flagNames, func(f flagName) bool { return f.Name == q.Flag }); i >= 0 {
		out.Flags = flagNames[i].Flag
	}
	if t, ok := day(q.From); ok {
		out.From = t
	}
	if t, ok := day(q.To); ok {
		out.To = t.AddDate(0, 0, 1)
	}
	return out
}

// day reads a date as people write it in the languages of the page, whichever is
// chosen.
func day(s string) (time.Time, bool) {
	for _, form := range []string{time.DateOnly, "2.1.2006"} {
		if t, err := time.ParseInLocation(form, strings.TrimSpace(s), time.Local); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

func (s *Server) worklistOf(r *http.Request, q worklistRequest) (worklistPage, error) {
	p := worklistPage{page: s.page(r, "worklist.title"), Query: q, States: states, Flags: flagNames, Prev: -1, Next: -1}
	if err := q.check(); err != nil {
		return p, err
	}
	p.page.Name, p.Dates = "worklist", []string{"from", "to"}
	p.Labels = len(s.opt.LabelsKey) > 0 && visitorOf(r.Context()).May(Administrator)
	query := q.store()
	rows, total, err := s.opt.Store.Worklist(r.Context(), query)
	if err != nil {
		return p, err
	}
	p.Total = total
	p.Empty = total == 0 && q == worklistRequest{Order: q.Order, Ascending: q.Ascending}
	if len(rows) > 0 {
		p.From, p.To = query.Offset+1, query.Offset+len(rows)
	}
	if query.Offset > 0 {
		p.Prev = max(query.Offset-pageSize, 0)
	}
	if query.Offset+len(rows) < total && len(rows) > 0 {
		p.Next = query.Offset + len(rows)
	}
	for _, l := range rows {
		row := worklistRow{Listing: l, Words: p.Words, Date: p.Words.Time(l.Time), Birth: p.Words.Date(l.BirthDate)}
		if l.EF != nil {
			row.EF = p.Words.Number(*l.EF, 0)
		}
		for _, f := range flagNames {
			if l.Flags&f.Flag != 0 {
				row.Marks = append(row.Marks, f)
			}
		}
		p.Rows = append(p.Rows, row)
	}
	return p, nil
}

func (s *Server) worklist(w http.ResponseWriter, r *http.Request) {
	p, err := s.worklistOf(r, worklistRequest{})
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.audit(r, "", "worklist", "", false)
	s.render(w, r, http.StatusOK, "worklist.html", p)
}

// worklistRows answers a search with the table alone.
func (s *Server) worklistRows(w http.ResponseWriter, r *http.Request) {
	var q worklistRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxSearchBody)).Decode(&q); err != nil {
		http.Error(w, "not a search", http.StatusBadRequest)
		return
	}
	p, err := s.worklistOf(r, q)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.renderPart(w, r, http.StatusOK, "worklist.html", "rows", p)
}

// accession opens the study with an accession number; of several, the worklist
// of them.
func (s *Server) accession(w http.ResponseWriter, r *http.Request) {
	found, err := s.opt.Store.ByAccession(r.Context(), r.PathValue("accession"))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	switch len(found) {
	case 0:
		s.fail(w, r, store.ErrNotFound)
	case 1:
		http.Redirect(w, r, "/study/"+url.PathEscape(found[0].StudyInstanceUID), http.StatusSeeOther)
	default:
		p, err := s.worklistOf(r, worklistRequest{Search: r.PathValue("accession")})
		if err != nil {
			s.fail(w, r, err)
			return
		}
		s.render(w, r, http.StatusOK, "worklist.html", p)
	}
}
