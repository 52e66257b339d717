package review

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/indices"
	"github.com/echonode/echonode/pipeline/internal/correct"
	"github.com/echonode/echonode/pipeline/quantity"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/pipeline/store"
	"github.com/echonode/echonode/sr"
)

type studyPage struct {
	page
	Listing    worklistRow
	Age        string
	Error      string
	Run        *store.Run
	Model      string
	Stages     []stageView
	Loops      []loopRow
	Deliveries []deliveryRow
	May        bool
	Dead       int  // deliveries that were given up
	Again      bool // may be analysed again
	Review     *reviewView
	Quad       []quadRow   // all stages side by side; nil for one stage
	Doubts     []string    // about the patient's age and size
	Earlier    *reviewView // a reader's corrections that something new came after
	Data       studyData   // for the client
}

// reviewView is a reader's word for people.
type reviewView struct {
	Verdict, Time, Name, Organisation, Comment string
	Before                                     []valueRow
}

func reviewOf(words *Words, v *result.Review) *reviewView {
	out := &reviewView{Verdict: v.Verdict, Time: words.Time(v.Time.Local()), Name: personName(v.Name), Organisation: v.Organisation, Comment: v.Comment}
	for _, m := range v.Before {
		row := valueOf(words, m)
		if m.Stage != "" {
			row.Name = m.Stage + ": " + row.Name
		}
		out.Before = append(out.Before, row)
	}
	return out
}

// maySign reports whether the visitor may correct and sign the study as it is
// now.
func (s *Server) maySign(r *http.Request, rec *record) bool {
	return s.opt.Signer != nil && visitorOf(r.Context()).May(Reader) && rec.run != nil && rec.study.State == store.Done && rec.study.Revision == rec.run.Revision
}

// stageView is what was measured in one stage; "" is the rest.
type stageView struct {
	Stage  string
	EF     *valueRow
	Others []valueRow // volumes, shown beside the EF
	Values []valueRow // the whole table
	Panels []panelView
}

// valueRow is one measurement for people.
type valueRow struct {
	Name, Value, Unit, Method, View, Beats, Spread, Grade, Reason string
	Normal                                                        string
	Warnings                                                      []string
	Missing, ByReader                                             bool
	Several                                                       bool // the names of several that are missing
}

// shownRemarks of a value stand on the page at once, so that the table of values
// is in sight below them; the others are folded away.
const shownRemarks = 3

// First are the remarks that are shown at once, More the others.
func (v *valueRow) First() []string {
	if len(v.Warnings) <= shownRemarks+1 { // one more takes no more room than to say so
		return v.Warnings
	}
	return v.Warnings[:shownRemarks]
}

// More are the remarks beyond First.
func (v *valueRow) More() []string { return v.Warnings[len(v.First()):] }

// valueTable is what the rows of a table of values are made from.
type valueTable struct {
	Rows  []valueRow
	Words *Words
}

// valueRows makes the rows of a table of values.
func (s *Server) valueRows(words *Words, rows []valueRow) (string, error) {
	var b strings.Builder
	err := s.templates["loop.html"].ExecuteTemplate(&b, "values", tableOf(rows, words))
	return b.String(), err
}

// tableOf puts values that follow each other and are missing for one reason into
// one row.
func tableOf(rows []valueRow, words *Words) valueTable {
	t := valueTable{Words: words}
	for _, row := range rows {
		if n := len(t.Rows) - 1; n >= 0 && row.Missing && t.Rows[n].Missing && row.Reason != "" && row.Reason == t.Rows[n].Reason {
			t.Rows[n].Name += ", " + row.Name
			t.Rows[n].Several = true
			continue
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// panelView is one loop that a stage's values come from.
type panelView struct {
	Loop, View string
	ED, ES     int  // frames, from 0
	Beat       bool // they are of a beat
	Index      int  // in studyData.Loops
}

// quadRow is one view of all stages, side by side.
type quadRow struct {
	View  string
	Cells []quadCell
}

// quadCell is a view in a stage.
type quadCell struct {
	Stage, EF string
	Panel     *panelView // nil where the stage has no such loop
}

// quad lays the panels of all stages out, a row for each view.
func quad(stages []stageView) []quadRow {
	if len(stages) < 2 {
		return nil
	}
	var rows []quadRow
	for _, view := range []string{models.ViewA4C, models.ViewA2C} {
		row, any := quadRow{View: view}, false
		for _, st := range stages {
			c := quadCell{Stage: st.Stage}
			if st.EF != nil && !st.EF.Missing {
				c.EF = st.EF.Value
			}
			if i := slices.IndexFunc(st.Panels, func(p panelView) bool { return p.View == view }); i >= 0 {
				c.Panel, any = &st.Panels[i], true
			}
			row.Cells = append(row.Cells, c)
		}
		if any {
			rows = append(rows, row)
		}
	}
	return rows
}

type loopRow struct {
	SOP, Name, View, Stage, Status, Reason string
	Version                                string // of the object
	Frames                                 int
	Middle                                 int // frame to show
	HasPixels                              bool
	Used                                   bool
	EF                                     string
	Warnings                               []string
}

type deliveryRow struct {
	store.Delivery
	StateText, KindText, StatusText, Time string
}

// studyData is what the client draws from.
type studyData struct {
	Study string `json:"study"`
	basis
	May   bool       `json:"may"`
	Loops []loopData `json:"loops"`
	// Earlier are corrections that can be made again.
	Earlier *correct.Corrections `json:"earlier,omitempty"`
}

// basis says of which result a page is.
type basis struct {
	Base int    `json:"base"` // revision
	Run  string `json:"run"`  // see store.Run.Version
	// Since names the first result of the study. Another study that came under its
	// UIDs after a removal has another one: no draft of the one is of the other.
	Since string `json:"since"`
}

func (rec *record) basis() basis {
	finished := func(r store.Run) bool { return !r.Finished.IsZero() && r.Error == "" }
	first := rec.run
	for i := range rec.runs {
		if finished(rec.runs[i]) {
			first = &rec.runs[i]
		}
	}
	return basis{rec.run.Revision, rec.run.Version(), first.Version()}
}

// loopData is a loop for the client. Coordinates are source pixels as in
// package result.
type loopData struct {
	Loop    string          `json:"loop"`
	Version string          `json:"version"` // of the object, see store.Instance.Version
	View    string          `json:"view"`
	Stage   string          `json:"stage,omitempty"`
	Frames  int             `json:"frames"`
	Rows    int             `json:"rows"`
	Columns int             `json:"columns"`
	Times   []float64       `json:"times,omitempty"` // ms; absent when the object does not tell
	RWaves  []float64       `json:"rwaves,omitempty"`
	Pixel   [2]float64      `json:"pixel"` // mm, or the pixel's shape
	MM      bool            `json:"mm"`    // Pixel is in millimetres
	Beats   []result.Beat   `json:"beats,omitempty"`
	Curve   *curveData      `json:"curve,omitempty"`
	Found   []frameData     `json:"found,omitempty"` // by frame
	Region  *result.Region  `json:"region,omitempty"`
	Status  string          `json:"status"`
	Reason  string          `json:"reason,omitempty"`
	Remarks []result.Reason `json:"remarks,omitempty"`
	// Decided is what a reader decided in an earlier review.
	Decided *result.LoopDecision `json:"decided,omitempty"`
}

// curveData is one value a frame; null where there is none.
type curveData struct {
	Kind   string     `json:"kind"` // "volume", "area" or "pixels"
	Unit   string     `json:"unit"`
	Values []*float64 `json:"values"`
}

// frameData is what was found in a frame.
type frameData struct {
	Frame      int                       `json:"frame"`
	Contour    result.Contour            `json:"contour,omitempty"`
	Structures map[string]result.Contour `json:"structures,omitempty"`
	Points     []result.Keypoint         `json:"points,omitempty"`
	Axis       *[3][2]float64            `json:"axis,omitempty"`    // apex and the two hinge points
	Network    result.Contour            `json:"network,omitempty"` // where a reader has corrected it
	Before     []result.Keypoint         `json:"before,omitempty"`  // the network's points of the parasternal view, where a reader has placed them
}

func (s *Server) study(w http.ResponseWriter, r *http.Request) {
	uid := r.PathValue("study")
	rec, err := s.record(r.Context(), uid)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	p, err := s.studyPage(r, rec)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.audit(r, uid, "study opened", "", false)
	s.render(w, r, http.StatusOK, "study.html", p)
}

func (s *Server) studyPage(r *http.Request, rec *record) (p studyPage, err error) {
	words := s.words(r)
	p = studyPage{page: s.page(r, "study.title"), Error: rec.study.Error, Run: rec.run, Data: studyData{Study: rec.study.StudyInstanceUID}}
	p.page.Name = "study"
	p.Listing = worklistRow{Listing: rec.listing, Words: words, Date: words.Time(rec.listing.Time), Birth: words.Date(rec.listing.BirthDate)}
	for _, f := range flagNames {
		if rec.listing.Flags&f.Flag != 0 {
			p.Listing.Marks = append(p.Listing.Marks, f)
		}
	}
	p.Age = age(rec.listing.BirthDate, rec.listing.Time)
	p.Again = rec.study.State == store.Done || rec.study.State == store.Failed
	for _, d := range rec.deliveries {
		if d.State == store.Dead {
			p.Dead++
		}
		row := deliveryRow{Delivery: d, StateText: words.T("delivery." + string(d.State)), KindText: words.Or("kind."+d.Kind, d.Kind), Time: words.Time(d.Updated)}
		if d.Status != nil {
			row.StatusText = fmt.Sprintf("%04XH", *d.Status)
		}
		p.Deliveries = append(p.Deliveries, row)
	}
	if rec.result == nil {
		return p, nil
	}
	if subject := rec.result.Subject; subject != nil {
		for _, d := range subject.Doubts {
			p.Doubts = append(p.Doubts, words.Reason(d.Text))
		}
	}
	p.Model = rec.doc.Model.Name + " " + rec.doc.Model.Version
	p.May = s.maySign(r, rec)
	p.Data.basis, p.Data.May = rec.basis(), p.May
	if rec.result.Review != nil {
		p.Review = reviewOf(words, rec.result.Review)
	}
	if p.May {
		if p.Earlier, p.Data.Earlier, err = s.earlier(r.Context(), words, rec); err != nil {
			return p, err
		}
	}
	used := map[string]bool{}
	for _, stage := range stagesOf(rec.result) {
		v := s.stage(words, rec.result, stage, rec.listing.Sex)
		for i := range v.Panels {
			panel := &v.Panels[i]
			used[panel.Loop] = true
			l := rec.loop(panel.Loop)
			panel.Index = len(p.Data.Loops)
			p.Data.Loops = append(p.Data.Loops, rec.loopData(words, l, []int{panel.ED, panel.ES}))
		}
		p.Stages = append(p.Stages, v)
	}
	p.Quad = quad(p.Stages)
	names := rec.result.LoopNames()
	for i := range rec.result.Loops {
		l := &rec.result.Loops[i]
		row := loopRow{SOP: l.SOPInstanceUID, Version: rec.versions[l.SOPInstanceUID], Name: loopName(words, names[l.SOPInstanceUID]), View: l.View, Stage: l.Stage,
			Status: l.Status, Frames: l.Frames,
			Middle: l.Frames / 2, HasPixels: l.Frames > 0 && rec.files[l.SOPInstanceUID] != "", Used: used[l.SOPInstanceUID]}
		if l.Reason != nil {
			row.Reason = words.Reason(l.Reason.Text)
		}
		if len(l.Beats) > 0 {
			row.Middle = l.Beats[0].ED
		}
		for _, m := range l.Measurements {
			if m.Name == result.EF && m.Value != nil {
				row.EF = words.Number(*m.Value, 0)
			}
		}
		for _, w := range l.Warnings {
			row.Warnings = append(row.Warnings, words.Reason(w.Text))
		}
		p.Loops = append(p.Loops, row)
	}
	return p, nil
}

// earlier are the corrections that readers signed of the study as it was before
// something new came: they can be made again, as far as they fit.
func (s *Server) earlier(ctx context.Context, words *Words, rec *record) (*reviewView, *correct.Corrections, error) {
	if rec.result.Review != nil {
		return nil, nil, nil
	}
	reviews, err := s.opt.Store.Reviews(ctx, rec.study.StudyInstanceUID)
	if err != nil {
		return nil, nil, err
	}
	var all correct.Corrections
	var last *store.Review
	for _, revision := range slices.Sorted(maps.Keys(reviews)) {
		review := reviews[revision]
		var c correct.Corrections
		if review.Verdict == result.Rejected || json.Unmarshal([]byte(review.Corrections), &c) != nil || len(c.Loops) == 0 {
			continue
		}
		all, last = all.Merge(c), &review
	}
	if last == nil {
		return nil, nil, nil
	}
	all = correct.Fitting(rec.result, all, s.opt.Measure)
	if all.Empty() {
		return nil, nil, nil
	}
	return &reviewView{Time: words.Time(last.Signed.Local()), Name: personName(last.Name), Organisation: last.Organisation}, &all, nil
}

// stagesOf lists the stages of a study in the report's order, the rest first.
func stagesOf(s *result.Study) []string {
	var out []string
	for _, m := range s.Measurements {
		if !slices.Contains(out, m.Stage) {
			out = append(out, m.Stage)
		}
	}
	slices.SortStableFunc(out, func(a, b string) int { return sr.CompareStages(sr.StageOf(a), sr.StageOf(b)) })
	return out
}

// beside are the measurements that stand beside the ejection fraction.
var beside = []string{result.EDV, result.ESV, result.SV, result.HR}

func (s *Server) stage(words *Words, study *result.Study, stage, sex string) stageView {
	v := stageView{Stage: stage}
	var sources []result.Source
	for _, m := range study.Measurements {
		if m.Stage != stage {
			continue
		}
		row := valueOf(words, m)
		row.Normal = normal(words, m, study.Subject, sex)
		v.Values = append(v.Values, row)
		switch {
		case m.Name == result.EF && (v.EF == nil || v.EF.Missing && !row.Missing):
			v.EF = &row
			sources = m.Sources
		case slices.Contains(beside, m.Name) && !row.Missing && !slices.ContainsFunc(v.Others, func(o valueRow) bool { return o.Name == row.Name }):
			v.Others = append(v.Others, row)
		}
	}
	v.Panels = panels(study, stage, sources)
	return v
}

// panels are the loops that a stage's ejection fraction comes from, else the
// first analysed loop of each apical view.
func panels(study *result.Study, stage string, sources []result.Source) []panelView {
	var out []panelView
	for _, view := range []string{models.ViewA4C, models.ViewA2C} {
		var chosen *result.Loop
		for i := range study.Loops {
			l := &study.Loops[i]
			if l.Status != result.Analysed || l.View != view || study.StageOf(l) != stage {
				continue
			}
			from := slices.ContainsFunc(sources, func(s result.Source) bool { return s.SOPInstanceUID == l.SOPInstanceUID && !s.Beside })
			if chosen == nil || from {
				chosen = l
			}
			if from {
				break
			}
		}
		if chosen == nil {
			continue
		}
		p := panelView{Loop: chosen.SOPInstanceUID, View: view}
		p.ED, p.ES, p.Beat = extremes(chosen, sources)
		out = append(out, p)
	}
	return out
}

// extremes are the frames of end-diastole and end-systole that stand for a
// loop: those the value comes from, else of its first beat, else the largest
// and smallest cavity.
func extremes(l *result.Loop, sources []result.Source) (ed, es int, beat bool) {
	ed, es = -1, -1
	for _, src := range sources {
		if src.SOPInstanceUID != l.SOPInstanceUID || src.Beside {
			continue
		}
		if src.Phase == "ED" && ed < 0 {
			ed = src.Frame
		}
		if src.Phase == "ES" && es < 0 {
			es = src.Frame
		}
	}
	if ed >= 0 && es >= 0 {
		return ed, es, true
	}
	if len(l.Beats) > 0 {
		return l.Beats[0].ED, l.Beats[0].ES, true
	}
	ed, es = 0, 0
	var most, least float64
	for _, f := range l.FrameResults {
		if f.LVAreaPixels > most {
			ed, most = f.Index, f.LVAreaPixels
		}
		if f.LVAreaPixels > 0 && (least == 0 || f.LVAreaPixels < least) {
			es, least = f.Index, f.LVAreaPixels
		}
	}
	return ed, es, false
}

// nameOf is what a quantity is called.
func nameOf(words *Words, name string) string {
	otherwise := name
	if q, ok := quantity.Of(name); ok {
		otherwise = q.Title
	}
	return words.Or("measure."+name, otherwise)
}

func valueOf(words *Words, m result.Measurement) valueRow {
	row := valueRow{Name: nameOf(words, m.Name), Unit: words.Unit(m.Unit), Method: words.Or("method."+m.Method, m.Method), View: m.View, Grade: m.Quality.Grade,
		ByReader: m.ByReader}
	for _, w := range m.Quality.Warnings {
		row.Warnings = append(row.Warnings, words.Reason(w.Text))
	}
	if m.Value == nil {
		row.Missing = true
		if m.Reason != nil {
			row.Reason = words.Reason(m.Reason.Text)
		}
		return row
	}
	row.Value = words.Number(*m.Value, decimals(m.Name))
	if n := len(m.Beats); n > 0 {
		row.Beats = words.Number(float64(n), 0)
	}
	if len(m.Beats) > 1 {
		row.Spread = words.Number(slices.Min(m.Beats), decimals(m.Name)) + "–" + words.Number(slices.Max(m.Beats), decimals(m.Name))
	}
	return row
}

// decimals of a value on the page: as many as stand in the report.
func decimals(name string) int {
	if q, ok := quantity.Of(name); ok {
		return q.Decimals
	}
	return 1
}

// normal is the normal range of a value at rest in adults of a sex, or in children
// of the patient's body surface where that is published; "" elsewhere, and for what
// something in the study contradicts, as in reports.
func normal(words *Words, m result.Measurement, subject *result.Subject, sex string) string {
	q, ok := quantity.Of(m.Name)
	if !ok || !sr.StageOf(m.Stage).AtRest() || m.Quality.Grade == result.Poor {
		return ""
	}
	r, ok := q.NormalFor(sex)
	if !subject.Adult() {
		r, ok = q.NormalForChild(m.View, indices.ChildSurface(subject))
	}
	if !ok {
		return ""
	}
	return words.Number(r.Lo, q.Decimals) + "–" + words.Number(r.Hi, q.Decimals)
}

// age in years at the time of the study, for people.
func age(birth string, at time.Time) string {
	b, err := time.Parse("20060102", birth)
	if err != nil || at.IsZero() || at.Before(b) {
		return ""
	}
	years := at.Year() - b.Year()
	if at.Month() < b.Month() || at.Month() == b.Month() && at.Day() < b.Day() {
		years--
	}
	return fmt.Sprint(years)
}

// loopName is what a loop is called on the pages, as in reports.
func loopName(words *Words, n result.LoopName) string {
	switch {
	case n.Place:
		return words.T("study.loop", fmt.Sprintf("#%d", n.Number))
	case n.Series > 0:
		return words.T("study.loop.series", n.Series, n.Number)
	}
	return words.T("study.loop", fmt.Sprint(n.Number))
}
