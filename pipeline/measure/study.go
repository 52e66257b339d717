package measure

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/indices"
	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/quantity"
	"github.com/echonode/echonode/pipeline/result"
)

// Study chooses the study's values from its measured loops, stage by stage, and
// replaces s.Measurements.
//
// EF, EDV, ESV and SV of a stage come from one method and one set of loops:
// biplane from the best pair of a four- and a two-chamber loop that belong
// together, otherwise from the best loop of one plane. Everything else comes
// from the chosen loop of the view it belongs to. What the loops that were not
// chosen say is kept beside the value.
//
// Objects of two patients are never combined: their study has no values.
func Study(r *result.Study, o Options) {
	r.Subject = subjectOf(r.Loops)
	s := &study{Study: r, o: o}
	for i := range r.Loops {
		l := &r.Loops[i]
		s.loops = append(s.loops, reopen(l, o))
		if l.Beside != nil && l.Status == result.Analysed {
			s.loops = append(s.loops, reopen(beside(l), o))
		}
	}
	s.combine()
	indices.OfStudy(r)
}

// beside is the other plane of a loop with what its object says; the loop's own is not
// written to, as it may be kept elsewhere.
func beside(l *result.Loop) *result.Loop {
	out := *l.Beside
	out.Subject, out.Date, out.Dates, out.Number = l.Subject, l.Date, l.Dates, l.Number
	out.Stage, out.StageNumber, out.StageView = l.Stage, l.StageNumber, l.StageView
	return &out
}

// study is a study under combination.
type study struct {
	*result.Study
	o     Options
	loops []*loop
}

// reopen prepares a measured loop for combination: the beats that entered its
// values get their planes back.
func reopen(r *result.Loop, o Options) *loop {
	l := open(r, o)
	if l.Status != result.Analysed || l.View == models.ViewPLAX || l.Curve == nil || len(l.FrameTimes) != len(l.frames) {
		return l
	}
	l.measureFrames()
	l.drop(l.Curve.Removed)
	l.rhythm.Noise, l.rhythm.Range = l.Curve.Noise, l.Curve.Range
	if rate := l.measured(result.HR); rate != nil {
		l.rhythm.HeartRate = *rate.Value
	}
	for i, b := range l.Beats {
		if b.Rejected == nil && b.ED < len(l.frames) && b.ES < len(l.frames) {
			m, _, _ := l.planes(i, lv.Beat{ED: b.ED, ES: b.ES, NextED: b.NextED, BeforeMS: b.BeforeMS, AfterMS: b.AfterMS, Clipped: b.Partial})
			l.beats = append(l.beats, m)
		}
	}
	return l
}

// measured finds a value of the loop; nil when it was not measured.
func (l *loop) measured(name string) *result.Measurement { return value(l.Measurements, name) }

func value(ms []result.Measurement, name string) *result.Measurement {
	i := slices.IndexFunc(ms, func(m result.Measurement) bool { return m.Name == name && m.Value != nil })
	if i < 0 {
		return nil
	}
	return &ms[i]
}

func (s *study) combine() {
	s.Measurements = []result.Measurement{}
	none := func(r result.Reason) {
		for _, q := range quantity.All() {
			if q.Core {
				s.Measurements = append(s.Measurements, unmeasured(q, result.Loop{}, r))
			}
		}
	}
	if n := s.patients(); n > 1 {
		none(result.Reasonf(result.TwoPatients, "the study holds objects of %d patients: nothing is combined", n))
		return
	}
	stages := s.stages()
	if len(stages) == 0 {
		none(result.Reasonf(result.NoLoop, "no loop of the study could be measured: %s", s.why()))
		return
	}
	for _, st := range stages {
		s.Measurements = append(s.Measurements, st.combine(s.o)...)
	}
	s.compareRest()
	s.planesElsewhere(stages)
	s.compareRates()
}

// compareRest remarks on EF of stages that may all be at rest and differ: a protocol
// that was begun late leaves a loop without a stage.
func (s *study) compareRest() {
	var efs []*result.Measurement
	for i := range s.Measurements {
		if m := &s.Measurements[i]; m.Name == result.EF && m.Value != nil && quantity.AtRest(m.Stage) {
			efs = append(efs, m)
		}
	}
	remarks := map[*result.Measurement]result.Reason{}
	for _, m := range efs {
		for _, o := range efs {
			if math.Abs(*m.Value-*o.Value) > otherLoops {
				remarks[m] = result.Reasonf(result.LoopsDisagree, "loops of another stage that may be at rest too (%s) give an EF of %.0f %%",
					cmp.Or(o.Stage, "no name"), *o.Value)
			}
		}
	}
	for m, r := range remarks {
		remark(m, r)
	}
}

// patients counts the patients whose objects the study holds.
func (s *study) patients() int {
	var persons []result.Person
	for _, l := range s.loops {
		switch subject := l.Subject; {
		case subject == nil:
		case subject.Person != nil:
			persons = append(persons, *subject.Person)
		case subject.Key != "":
			persons = append(persons, result.Person{ID: subject.Key}) // of a result from before
		}
	}
	return result.Patients(persons)
}

// mostReasons is how many reasons are told of a study without a measured loop. Own
// choice.
const mostReasons = 3

// why tells the loops' reasons, the most frequent first: "view PSAX is not measured (12
// loops); spectral Doppler (3 loops)".
func (s *study) why() string {
	counts := map[string]int{}
	var order []string
	for _, l := range s.loops {
		if l.Reason != nil {
			if counts[l.Reason.Text] == 0 {
				order = append(order, l.Reason.Text)
			}
			counts[l.Reason.Text]++
		}
	}
	switch len(order) {
	case 0:
		return "it holds no image"
	case 1:
		return order[0]
	}
	slices.SortStableFunc(order, func(a, b string) int { return counts[b] - counts[a] })
	var parts []string
	others := 0
	for i, text := range order {
		switch n := counts[text]; {
		case i >= mostReasons:
			others += n
		case n > 1:
			parts = append(parts, fmt.Sprintf("%s (%d loops)", text, n))
		default:
			parts = append(parts, text)
		}
	}
	if others > 0 {
		parts = append(parts, fmt.Sprintf("%d more for other reasons", others))
	}
	return strings.Join(parts, "; ")
}

// unmeasured is a quantity with the reason why it has no value.
func unmeasured(q quantity.Quantity, l result.Loop, r result.Reason) result.Measurement {
	return result.Measurement{Name: q.Name, Unit: q.Unit, View: l.View, Stage: l.Stage, StageNumber: l.StageNumber,
		Quality: result.Quality{Grade: result.None}, Reason: &r}
}

// combine gives the values of the stage, in the order of the table of
// quantities.
func (st *stage) combine(o Options) []result.Measurement {
	set := st.chooseVolumes(o)
	chosen := map[string]result.Measurement{}
	for _, m := range set.measurements {
		chosen[m.Name] = m
	}
	for _, l := range []*loop{set.four, set.two, st.best(models.ViewPLAX), st.best(models.ViewA3C)} {
		if l == nil {
			continue
		}
		for _, m := range l.Measurements {
			if slices.Contains(volumeNames, m.Name) {
				continue
			}
			if old, ok := chosen[m.Name]; !ok || old.Value == nil && m.Value != nil {
				chosen[m.Name] = st.scaled(&set, m)
			}
		}
	}
	st.beside(&set, chosen)
	var out []result.Measurement
	for _, q := range quantity.All() {
		m, ok := chosen[q.Name]
		if !ok && !q.Core {
			continue
		}
		if !ok {
			m = unmeasured(q, result.Loop{}, result.Reasonf(result.NoLoop, "no loop of a view that shows it"))
		}
		m.Stage, m.StageNumber = st.name, st.number
		out = append(out, m)
	}
	return out
}

// beside makes what belongs to the volumes theirs: the heart rate is that of their
// loop, and what contradicts them is said of it, and of the areas, too.
func (st *stage) beside(set *volumeSet, chosen map[string]result.Measurement) {
	ef := chosen[result.EF]
	if ef.Value == nil || len(ef.Sources) == 0 {
		return
	}
	for _, l := range []*loop{set.four, set.two} {
		if l != nil && l.gives(ef.Sources[0]) {
			if hr := l.measured(result.HR); hr != nil {
				chosen[result.HR] = *hr
			}
		}
	}
	for name, code := range map[string]string{result.HR: string(lv.GateBeats), result.FAC: result.LoopsDisagree} {
		m, ok := chosen[name]
		if !ok || m.Value == nil {
			continue
		}
		for _, w := range ef.Quality.Warnings {
			if w.Code == code && (code != string(lv.GateBeats) || strings.HasSuffix(w.Text, mixedStates)) && !slices.Contains(m.Quality.Warnings, w) {
				remark(&m, w)
			}
		}
		chosen[name] = m
	}
}

// scaled is a loop's value; where it is in centimetres and another loop of the view
// contradicts the scale, with the remark that the volumes have.
func (st *stage) scaled(set *volumeSet, m result.Measurement) result.Measurement {
	if q, ok := quantity.Of(m.Name); m.Value == nil || !ok || !q.Calibrated {
		return m
	}
	if r := st.otherSize(set, m); r != nil && !slices.Contains(m.Quality.Warnings, *r) {
		remark(&m, *r)
	}
	return m
}

// best is the loop of a view that is chosen: measured ones first; among them
// those with whole beats, the longest axis and the fewest remarks, at rest those of
// a slow heart.
func (st *stage) best(view string) *loop {
	ranked := st.ranked(view)
	if len(ranked) == 0 {
		return nil
	}
	return ranked[0]
}

// ranked are the loops of a view, the best first.
func (st *stage) ranked(view string) []*loop {
	var loops []*loop
	var lengths []float64
	for _, l := range st.loops {
		if l.View == view {
			loops = append(loops, l)
			if length := l.lengthED(); length > 0 {
				lengths = append(lengths, length)
			}
		}
	}
	// One that is much longer than most is no better plane: its scale is wrong.
	longest, typical := 0.0, lv.Median(lengths)
	for _, length := range lengths {
		if (1-mostForeshortened)*length <= typical {
			longest = max(longest, length)
		}
	}
	slowest, typicalEF := st.slowest(loops, longest), st.typicalEF(loops)
	score := func(l *loop) float64 {
		s := l.score(longest)
		if rate := l.measured(result.HR); rate != nil && slowest > 0 && *rate.Value-slowest > rejectRates**rate.Value {
			s -= 200 // more than all but a value
		}
		if ef := l.measured(result.EF); ef != nil && math.Abs(*ef.Value-typicalEF) > otherLoops {
			s -= 200
		}
		return s
	}
	slices.SortStableFunc(loops, func(a, b *loop) int { return cmp.Compare(score(b), score(a)) })
	return loops
}

// Own choice: a heart at rest beats at least so often a minute for its rate to choose
// a loop, and a loop may be worse than the best by so many points of score.
const restingRate, asGood = 50, 10

// slowest is the lowest heart rate among the loops of a stage at rest that are as
// good as the best, without a remark on their rate: one whose heart beats much faster
// may show exercise, where a machine names no stages. 0 where that does not count.
func (st *stage) slowest(loops []*loop, longest float64) (least float64) {
	if !quantity.AtRest(st.name) {
		return 0
	}
	best, fewest := 0.0, math.MaxInt
	for _, l := range loops {
		if ef := l.measured(result.EF); ef != nil {
			best, fewest = max(best, l.score(longest)), min(fewest, len(ef.Quality.Warnings))
		}
	}
	for _, l := range loops {
		rate, ef := l.measured(result.HR), l.measured(result.EF)
		if rate == nil || ef == nil || *rate.Value < restingRate || len(rate.Quality.Warnings) > 0 || len(ef.Quality.Warnings) > fewest ||
			l.score(longest) < best-asGood {
			continue
		}
		if least == 0 || *rate.Value < least {
			least = *rate.Value
		}
	}
	return least
}

// typicalEF is the median EF of three loops or more; NaN of fewer, which cannot say
// which of them is wrong.
func (st *stage) typicalEF(loops []*loop) float64 {
	var efs []float64
	for _, l := range loops {
		if ef := l.measured(result.EF); ef != nil {
			efs = append(efs, *ef.Value)
		}
	}
	if len(efs) < 3 {
		return math.NaN()
	}
	return lv.Median(efs)
}

// lengthED is the mean length of the long axis at end-diastole in mm over the
// beats, 0 where it is not known in mm.
func (l *loop) lengthED() float64 {
	if !l.Spacing.Trusted || len(l.beats) == 0 || l.sizeRefused() != nil {
		return 0
	}
	sum := 0.0
	for _, b := range l.beats {
		sum += b.ed.Axis.LengthMM
	}
	return sum / float64(len(l.beats))
}

// sizeRefused is why nothing of the loop is given in centimetres although it is
// calibrated; nil where it is.
func (l *loop) sizeRefused() *result.Reason { return indices.SizeRefused(l.Loop) }

// score ranks loops of one view. Own choice: a loop with a value before one
// without; then a whole beat counts as much as 15 % of the length of the axis,
// every further one (up to three) as 3 %, and a remark as 4 %.
func (l *loop) score(longest float64) float64 {
	score := 10*math.Min(l.ViewProbability, 1) + 10*l.certainty()
	m := l.measured(result.EF)
	if m == nil {
		m = l.measured(result.FAC)
	}
	if m == nil {
		m = l.measured(result.LVIDd)
	}
	if m == nil {
		return score
	}
	score += 1000 - 4*float64(min(len(m.Quality.Warnings), 5))
	whole := 0
	for _, b := range l.Beats {
		if b.Rejected == nil && !b.Partial {
			whole++
		}
	}
	if whole > 0 {
		score += 12 + 3*float64(min(whole, 3))
	}
	if length := l.lengthED(); length > 0 {
		score -= 100 * math.Abs(1-length/longest)
	} else if longest > 0 {
		score -= 20 // not calibrated, beside one that is
	}
	return score
}

// certainty is the mean certainty of the loop's outlines.
func (l *loop) certainty() float64 {
	sum, n := 0.0, 0
	for _, f := range l.frames {
		if f.outline != nil {
			sum += f.outline.certainty
			n++
		}
	}
	if n == 0 {
		return 0
	}
	return sum / float64(n)
}
