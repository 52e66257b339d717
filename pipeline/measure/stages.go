package measure

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/quantity"
	"github.com/echonode/echonode/pipeline/result"
)

// stage is a stage of the study with its analysed loops.
type stage struct {
	name   string // as received from its first loop; "Stage N" where only the number is known
	number int    // 0 when unknown
	loops  []*loop
}

// stages groups the analysed loops by stage number and name. Names are
// compared without case and spaces at the ends; a loop that lacks the number or
// the name joins the only stage that agrees in the other. What are planes of one
// state at rest are one stage, see oneState. Stages with a number come in its
// order, the others in that of their first loops. Every loop is told the name
// under which its stage's values stand.
func (s *study) stages() []*stage {
	numbersAreViews := s.numbersAreViews()
	type key struct {
		number int
		name   string
	}
	keyOf := func(l *loop) key {
		if numbersAreViews && l.StageView != "" {
			return key{name: result.StageKey(l.Stage)}
		}
		return key{max(l.StageNumber, 0), result.StageKey(l.Stage)}
	}
	full := map[key]bool{}
	for _, l := range s.loops {
		if k := keyOf(l); l.Status == result.Analysed && k.number > 0 && k.name != "" {
			full[k] = true
		}
	}
	complete := func(k key) key {
		var fits []key
		for f := range full {
			if (k.number == 0 || k.number == f.number) && (k.name == "" || k.name == f.name) {
				fits = append(fits, f)
			}
		}
		if k != (key{}) && len(fits) == 1 {
			return fits[0]
		}
		return k
	}
	index := map[key]*stage{}
	var stages []*stage
	for _, l := range s.loops {
		l.StageOfValues = ""
		if l.Status != result.Analysed {
			continue
		}
		k := complete(keyOf(l))
		st := index[k]
		if st == nil {
			st = &stage{number: k.number, name: strings.TrimSpace(l.Stage)}
			index[k] = st
			stages = append(stages, st)
		}
		if st.name == "" {
			st.name = strings.TrimSpace(l.Stage)
		}
		st.loops = append(st.loops, l)
	}
	stages = oneState(joined(stages))
	for _, st := range stages {
		// The first of a protocol says nothing where there is no other stage.
		if st.name == "" && st.number > 0 && (len(stages) > 1 || st.number > 1) {
			st.name = fmt.Sprintf("Stage %d", st.number)
		}
	}
	// Two of one name are told apart by their numbers: everything goes by the name.
	count := map[string]int{}
	for _, st := range stages {
		count[result.StageKey(st.name)]++
	}
	for _, st := range stages {
		if st.number > 0 && count[result.StageKey(st.name)] > 1 {
			st.name = fmt.Sprintf("%s (%d)", st.name, st.number)
		}
		for _, l := range st.loops {
			if st.name != strings.TrimSpace(l.Stage) {
				l.StageOfValues = st.name
			}
		}
	}
	slices.SortStableFunc(stages, func(a, b *stage) int {
		if a.number > 0 && b.number > 0 {
			return cmp.Compare(a.number, b.number)
		}
		return 0
	})
	return stages
}

// numbersAreViews reports whether the study's Stage Numbers count views: machines that
// write the view's name as Stage Name number the pictures so. That is so where two views
// or more have a number each, none has two, and nothing speaks of stress.
func (s *study) numbersAreViews() bool {
	numbers, views := map[string]int{}, map[int]string{}
	for _, l := range s.loops {
		if !quantity.AtRest(l.Stage) || slices.ContainsFunc(l.Warnings, func(w result.Reason) bool { return w.Code == result.StageUnknown }) {
			return false
		}
		if l.StageNumber <= 0 {
			continue
		}
		view := result.StageKey(l.StageView)
		if n, ok := numbers[view]; view == "" || ok && n != l.StageNumber {
			return false
		}
		if v, ok := views[l.StageNumber]; ok && v != view {
			return false
		}
		numbers[view], views[l.StageNumber] = l.StageNumber, view
	}
	return len(numbers) > 1
}

// joined puts a stage without name and number to the only other one where that is at
// rest: nothing says that they differ.
func joined(stages []*stage) []*stage {
	if len(stages) != 2 {
		return stages
	}
	named, other := stages[0], stages[1]
	if named.name == "" {
		named, other = other, named
	}
	if other.name != "" || other.number > 0 || named.name == "" || !quantity.AtRest(named.name) {
		return stages
	}
	named.loops = append(named.loops, other.loops...)
	return []*stage{named}
}

// oneState makes one stage of those that say nothing but that the heart was at rest
// ("Baseline" and "REST", "REST 1" and "REST 2", "Rest A4C" and "Rest A2C") where they
// are planes of one state: each has other views, and no stage that may be under load
// lies between them, which is known of numbered ones only.
func oneState(stages []*stage) []*stage {
	var rest []*stage
	lo, hi, numbered := 0, 0, true
	for _, st := range stages {
		if !onlyRest(st.name) {
			continue
		}
		rest = append(rest, st)
		numbered = numbered && st.number > 0
		if lo == 0 || st.number < lo {
			lo = st.number
		}
		hi = max(hi, st.number)
	}
	if len(rest) < 2 {
		return stages
	}
	for _, st := range stages {
		if !onlyRest(st.name) && (!numbered || st.number <= 0 || lo < st.number && st.number < hi) {
			return stages
		}
	}
	views := map[string]bool{}
	for _, st := range rest {
		for _, view := range []string{models.ViewA4C, models.ViewA2C} {
			if !st.shows(view) {
				continue
			}
			if views[view] {
				return stages
			}
			views[view] = true
		}
	}
	slices.SortStableFunc(rest, func(a, b *stage) int { return cmp.Compare(a.number, b.number) })
	for _, st := range rest[1:] {
		rest[0].loops = append(rest[0].loops, st.loops...)
	}
	return slices.DeleteFunc(stages, func(st *stage) bool { return slices.Contains(rest[1:], st) })
}

// shows reports whether the stage has a loop of the view.
func (st *stage) shows(view string) bool {
	return slices.ContainsFunc(st.loops, func(l *loop) bool { return l.View == view })
}

var (
	wordOrNumber = regexp.MustCompile(`[\pL]+[0-9][\pL]+|[0-9]+[\pL]+|[\pL]+|[0-9]+`)
	restWord     = regexp.MustCompile(`^(rest|resting|base|baseline|basal|basis|ruhe|repos|ripos|riposo|reposo|rust)$`)
	besideRest   = regexp.MustCompile(`^(at|in|im|au|a|en|al|state|stage|echo|view|images?|loops?|cine|` +
		`0?[0-9]|a[2345]c|[2345]ch|ap|ch|apical|chamber|plax|aplax)$`)
)

// onlyRest reports whether a stage's name says that the heart was at rest and, beside
// a view or a number, nothing else.
func onlyRest(name string) bool {
	if !quantity.SaysRest(name) {
		return false
	}
	said := false
	for _, w := range wordOrNumber.FindAllString(strings.ToLower(name), -1) {
		switch {
		case restWord.MatchString(w):
			said = true
		case !besideRest.MatchString(w):
			return false
		}
	}
	return said
}

// planesElsewhere remarks on EF of one plane where the other plane lies in another
// stage that is not known to be under load.
func (s *study) planesElsewhere(stages []*stage) {
	for i := range s.Measurements {
		m := &s.Measurements[i]
		if m.Name != result.EF || m.Value == nil || m.Method == result.Biplane || !quantity.AtRest(m.Stage) {
			continue
		}
		own := slices.IndexFunc(stages, func(st *stage) bool { return st.name == m.Stage })
		for _, missing := range []struct{ view, format string }{
			{models.ViewA2C, "not biplane: the two-chamber loop is of another stage (%s), which may be another state"},
			{models.ViewA4C, "not biplane: the four-chamber loop is of another stage (%s), which may be another state"},
		} {
			if own < 0 || m.View == missing.view || stages[own].shows(missing.view) {
				continue
			}
			other := slices.IndexFunc(stages, func(st *stage) bool { return st.mayBeAtRest() && st.shows(missing.view) })
			if other < 0 {
				continue
			}
			r := result.Reasonf(result.OtherStage, missing.format, cmp.Or(stages[other].name, "no name"))
			remark(m, r)
		}
	}
}

// mayBeAtRest reports whether the stage's name says nothing of stress; one that has
// only a number says nothing at all.
func (st *stage) mayBeAtRest() bool {
	return quantity.AtRest(st.name) || !slices.ContainsFunc(st.loops, func(l *loop) bool { return strings.TrimSpace(l.Stage) != "" })
}

// fasterAtRest is by what part the heart may be faster at rest than under stress. Own
// choice.
const fasterAtRest = 0.15

// compareRates remarks on the values of a stage at rest in which the heart is faster than
// in one under stress: the stages may be mixed up.
func (s *study) compareRates() {
	var rates []result.Measurement
	for _, m := range s.Measurements {
		if m.Name == result.HR && m.Value != nil {
			rates = append(rates, m)
		}
	}
	for _, rest := range rates {
		i := slices.IndexFunc(rates, func(m result.Measurement) bool {
			return quantity.SaysStress(m.Stage) && *rest.Value > (1+fasterAtRest)**m.Value
		})
		if i < 0 || !quantity.AtRest(rest.Stage) {
			continue
		}
		r := result.Reasonf(result.StageUnknown, "the heart is faster at %s (%.0f per minute) than at %s (%.0f): are the stages right?",
			cmp.Or(rest.Stage, "rest"), *rest.Value, rates[i].Stage, *rates[i].Value)
		for k := range s.Measurements {
			m := &s.Measurements[k]
			if m.Stage == rest.Stage && m.Value != nil && (m.Name == result.HR || slices.Contains(volumeNames, m.Name)) {
				remark(m, r)
			}
		}
	}
}
