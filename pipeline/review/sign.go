package review

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/echonode/echonode/pipeline/internal/correct"
	"github.com/echonode/echonode/pipeline/node"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/pipeline/store"
)

// Signer records what a reader signed; *node.Node is one.
type Signer interface {
	Sign(ctx context.Context, req node.SignRequest) (revision int, err error)
}

// change is what a reader's browser sends: what was corrected, of which
// revision.
type change struct {
	Base        int                 `json:"base"`
	Run         string              `json:"run"` // see store.Run.Version
	Corrections correct.Corrections `json:"corrections"`
	// Loop is the loop that the page shows, if it shows one.
	Loop string `json:"loop,omitempty"`

	// For signing.
	Verdict string `json:"verdict,omitempty"` // "" or "rejected"
	Comment string `json:"comment,omitempty"`
	// Shown are the values that the reader saw, to be held against those signed.
	Shown map[string]string `json:"shown,omitempty"`
}

// changed answers a change with the values before and after it.
type changed struct {
	Stages []stageChange `json:"stages"`
	Loop   *loopData     `json:"loop,omitempty"`
	Values *string       `json:"values,omitempty"` // of the loop, as rows of HTML
}

type stageChange struct {
	Stage string        `json:"stage"`
	Rows  []valueChange `json:"rows"`
}

// valueChange is a value before and after, ready to be shown.
type valueChange struct {
	Key    string `json:"key"` // names the value in change.Shown
	Name   string `json:"name"`
	Unit   string `json:"unit"`
	Before string `json:"before"`
	After  string `json:"after"`
	Reason string `json:"reason,omitempty"` // why there is none after
	Grade  string `json:"grade"`
}

// compared are the values that stand beside each other before and after, linear
// those of the parasternal view, where there are any.
var (
	compared = []string{result.EF, result.EDV, result.ESV, result.SV, result.FAC, result.HR}
	linear   = []string{result.IVSd, result.LVIDd, result.LVPWd, result.LVIDs, result.FS, result.Mass, result.RWT}
)

// noText is of what no text holds (UT, PS3.5 6.1.3 and 6.2), and of what turns it
// round where it is shown.
func noText(r rune) bool {
	return unicode.IsControl(r) && r != '\n' && r != '\t' || r >= 0x202A && r <= 0x202E || r >= 0x2066 && r <= 0x2069
}

// maxComment bounds a reader's comment, in characters.
const maxComment = 1000

var errNotAnalysed = errors.New("the study has no result to correct")

// change reads a change and applies it to the study's result.
func (s *Server) change(r *http.Request) (change, *record, *result.Study, error) {
	var c change
	rec, err := s.record(r.Context(), r.PathValue("study"))
	if err != nil {
		return c, nil, nil, err
	}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return c, rec, nil, fmt.Errorf("%w: %w", correct.ErrInvalid, err)
	}
	if rec.result == nil || rec.run == nil {
		return c, nil, nil, errNotAnalysed
	}
	// The page that was opened before somebody else signed, or a late loop came,
	// shows what is no longer so.
	if rec.study.State != store.Done || rec.run.Revision != c.Base || rec.study.Revision != c.Base || rec.run.Version() != c.Run {
		return c, nil, nil, store.ErrOutdated
	}
	after, err := correct.Apply(rec.result, c.Corrections, s.opt.Measure)
	return c, rec, after, err
}

// refuse answers a change that cannot be made.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, rec *record, err error) {
	words := s.words(r)
	switch {
	case errors.Is(err, store.ErrOutdated):
		http.Error(w, words.T("sign.outdated"), http.StatusConflict)
	case errors.Is(err, errNotAnalysed):
		http.Error(w, words.T("sign.invalid", words.T("invalid.notanalysed")), http.StatusUnprocessableEntity)
	case errors.Is(err, correct.ErrInvalid):
		why := words.T("invalid.request")
		var p *correct.Problem
		if errors.As(err, &p) {
			why = words.T("invalid." + string(p.Kind))
			if l := rec.loop(p.Loop); l != nil {
				why += " (" + loopName(words, rec.result.LoopNames()[l.SOPInstanceUID]) +
					", " + words.T("loop.frame") + " " + strconv.Itoa(p.Frame+1) + ")"
			}
		}
		http.Error(w, words.T("sign.invalid", why), http.StatusUnprocessableEntity)
	default:
		s.fail(w, r, err)
	}
}

// recalculate answers what the corrections make of the values. It changes
// nothing.
func (s *Server) recalculate(w http.ResponseWriter, r *http.Request) {
	c, rec, after, err := s.change(r)
	if err != nil {
		s.refuse(w, r, rec, err)
		return
	}
	words := s.words(r)
	out := changed{Stages: compare(words, rec.result, after)}
	if c.Loop != "" {
		for i := range after.Loops {
			if l := &after.Loops[i]; l.SOPInstanceUID == c.Loop {
				d := rec.loopData(words, l, nil)
				out.Loop = &d
				var rows []valueRow
				for _, m := range l.Measurements {
					if l.Status == result.Analysed || m.Value == nil { // one left out keeps its numbers, and none counts
						rows = append(rows, valueOf(words, m))
					}
				}
				html, err := s.valueRows(words, rows)
				if err != nil {
					s.fail(w, r, err)
					return
				}
				out.Values = &html
			}
		}
	}
	answerJSON(w, out)
}

// compare puts the values of every stage before and after a change side by
// side.
func compare(words *Words, before, after *result.Study) []stageChange {
	var out []stageChange
	stages := stagesOf(after)
	for _, st := range stagesOf(before) {
		if !slices.Contains(stages, st) {
			stages = append(stages, st)
		}
	}
	find := func(s *result.Study, stage, name string) *result.Measurement {
		for i := range s.Measurements {
			if m := &s.Measurements[i]; m.Stage == stage && m.Name == name {
				return m
			}
		}
		return nil
	}
	for _, st := range stages {
		c := stageChange{Stage: st}
		for _, name := range slices.Concat(compared, linear) {
			b, a := find(before, st, name), find(after, st, name)
			if a == nil && b == nil || slices.Contains(linear, name) && (a == nil || a.Value == nil) && (b == nil || b.Value == nil) {
				continue
			}
			row := valueChange{Key: shownKey(st, name), Name: nameOf(words, name)}
			if b != nil {
				row.Unit, row.Before = words.Unit(b.Unit), shown(words, b)
			}
			if a != nil {
				row.Unit, row.After, row.Grade = words.Unit(a.Unit), shown(words, a), a.Quality.Grade
				if a.Value == nil && a.Reason != nil {
					row.Reason = words.Reason(a.Reason.Text)
				}
			}
			c.Rows = append(c.Rows, row)
		}
		out = append(out, c)
	}
	return out
}

func shownKey(stage, name string) string { return stage + "\n" + name }

func shown(words *Words, m *result.Measurement) string {
	if m.Value == nil {
		return "–"
	}
	return words.Number(*m.Value, decimals(m.Name))
}

// sign records the reader's word.
func (s *Server) sign(w http.ResponseWriter, r *http.Request) {
	uid := r.PathValue("study")
	c, rec, after, err := s.change(r)
	if err != nil {
		s.audit(r, uid, "sign", "", true)
		s.refuse(w, r, rec, err)
		return
	}
	words := s.words(r)
	c.Comment = strings.TrimSpace(c.Comment)
	if utf8.RuneCountInString(c.Comment) > maxComment || strings.ContainsFunc(c.Comment, noText) ||
		c.Verdict != "" && c.Verdict != result.Rejected {
		s.refuse(w, r, rec, fmt.Errorf("comment or verdict: %w", correct.ErrInvalid))
		return
	}
	// What is signed is what was seen.
	for _, st := range compare(words, rec.result, after) {
		for _, row := range st.Rows {
			if seen, ok := c.Shown[row.Key]; (!ok || seen != row.After) && c.Verdict != result.Rejected {
				s.audit(r, uid, "sign", "other values were shown", true)
				s.refuse(w, r, rec, store.ErrOutdated)
				return
			}
		}
	}
	u := visitorOf(r.Context()).User
	verdict := result.Accepted
	if !c.Corrections.Empty() {
		verdict = result.Corrected
	}
	if c.Verdict == result.Rejected {
		verdict, after = result.Rejected, correct.Withdraw(rec.result)
	}
	at := s.now().Truncate(time.Second)
	after.Review = &result.Review{Verdict: verdict, Time: at, Name: u.Person, Organisation: u.Organisation, Comment: c.Comment}
	switch was := rec.result.Review; {
	case was != nil && len(was.Before) > 0:
		after.Review.Before = was.Before // what the analysis said, however often readers sign
	case verdict != result.Accepted:
		after.Review.Before = valuesOf(rec.result)
	}
	corrections, err := json.Marshal(c.Corrections)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	doc := *rec.doc
	doc.Created, doc.Studies = at, []result.Study{*after}
	revision, err := s.opt.Signer.Sign(context.WithoutCancel(r.Context()), node.SignRequest{Document: &doc, Base: *rec.run,
		Review: store.Review{Verdict: verdict, User: u.Name, Name: u.Person, Organisation: u.Organisation, Comment: c.Comment,
			Corrections: string(corrections), Signed: at},
		Silent: verdict == result.Rejected && s.opt.SilentRejection})
	if err != nil {
		s.audit(r, uid, "sign", verdict, true)
		s.refuse(w, r, rec, err)
		return
	}
	s.audit(r, uid, "sign", fmt.Sprintf("%s, revision %d", verdict, revision), false)
	answerJSON(w, map[string]any{"revision": revision, "verdict": verdict})
}

// valuesOf are the values that a signed result keeps as those before it.
func valuesOf(s *result.Study) []result.Measurement {
	var out []result.Measurement
	for _, m := range s.Measurements {
		if m.Value != nil && (slices.Contains(compared, m.Name) || slices.Contains(linear, m.Name)) {
			out = append(out, result.Measurement{Name: m.Name, Value: m.Value, Unit: m.Unit, Method: m.Method, Stage: m.Stage,
				Quality: result.Quality{Grade: m.Quality.Grade}})
		}
	}
	return out
}
