package measure

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/result"
)

// studyNames are the quantities every study answers for, measured or not.
var studyNames = []series{
	{name: result.EF, unit: result.UnitPercent},
	{name: result.EDV, unit: result.UnitVolume},
	{name: result.ESV, unit: result.UnitVolume},
	{name: result.SV, unit: result.UnitVolume},
	{name: result.FAC, unit: result.UnitPercent},
	{name: result.AreaED, unit: result.UnitArea},
	{name: result.AreaES, unit: result.UnitArea},
	{name: result.LenED, unit: result.UnitLength},
	{name: result.LenES, unit: result.UnitLength},
	{name: result.IVSd, unit: result.UnitLength},
	{name: result.LVIDd, unit: result.UnitLength},
	{name: result.LVPWd, unit: result.UnitLength},
	{name: result.LVIDs, unit: result.UnitLength},
	{name: result.FS, unit: result.UnitPercent},
	{name: result.Mass, unit: result.UnitMass},
	{name: result.RWT, unit: result.UnitRatio},
	{name: result.HR, unit: result.UnitRate},
}

// Study chooses the study's values from its measured loops, stage by stage in
// order of appearance: volumes biplane where a four- and a two-chamber loop
// allow it, otherwise from the better single plane, everything else from the
// best loop of the view it belongs to. It replaces s.Measurements.
func Study(r *result.Study, o Options) {
	s := &study{Study: r}
	for i := range r.Loops {
		s.loops = append(s.loops, reopen(&r.Loops[i], o))
	}
	s.combine()
}

// study is a study under combination.
type study struct {
	*result.Study
	loops []*loop
}

// reopen prepares a measured loop for combination: the beats that entered its
// values get their planes back.
func reopen(r *result.Loop, o Options) *loop {
	l := open(r, o)
	if l.Status != result.Analysed || l.View == models.ViewPLAX {
		return l
	}
	axis := l.axisOptions(o.LV.Axis)
	for _, b := range l.Beats {
		if b.Rejected != nil || b.ED >= len(l.frames) || b.ES >= len(l.frames) {
			continue
		}
		ed, errED := l.plane(b.ED, axis)
		es, errES := l.plane(b.ES, axis)
		if errED != nil || errES != nil {
			continue
		}
		l.beats = append(l.beats, beat{Beat: lv.Beat{ED: b.ED, ES: b.ES, NextED: b.NextED}, ed: ed, es: es, ef: lv.EF(ed.VolumeML, es.VolumeML)})
	}
	return l
}

func (s *study) combine() {
	s.Measurements = []result.Measurement{}
	var stages []string
	for _, l := range s.loops {
		if l.Status == result.Analysed && !slices.Contains(stages, l.Stage) {
			stages = append(stages, l.Stage)
		}
	}
	if len(stages) == 0 {
		r := result.Reasonf(result.NoLoop, "no loop of the study could be measured: %s", s.why())
		for _, n := range studyNames {
			s.Measurements = append(s.Measurements, (&loop{Loop: &result.Loop{}}).missing(n, r))
		}
		return
	}
	for _, stage := range stages {
		s.Measurements = append(s.Measurements, s.combineStage(stage)...)
	}
}

// why sums up the loops' reasons: "12 view-not-measured, 3 colour-doppler".
func (s *study) why() string {
	counts := map[string]int{}
	var order []string
	for _, l := range s.loops {
		if l.Reason != nil {
			if counts[l.Reason.Code] == 0 {
				order = append(order, l.Reason.Code)
			}
			counts[l.Reason.Code]++
		}
	}
	if len(order) == 0 {
		return "it holds no image"
	}
	parts := make([]string, len(order))
	for i, code := range order {
		parts[i] = fmt.Sprintf("%d %s", counts[code], code)
	}
	return strings.Join(parts, ", ")
}

func (s *study) combineStage(stage string) []result.Measurement {
	best := map[string]*loop{}
	for _, l := range s.loops {
		if l.Status == result.Analysed && l.Stage == stage && (best[l.View] == nil || l.score() > best[l.View].score()) {
			best[l.View] = l
		}
	}
	four, two := best[models.ViewA4C], best[models.ViewA2C]
	chosen := map[string]result.Measurement{}
	var reasons []result.Reason
	if four != nil && two != nil {
		biplane, why := biplane(four, two)
		for _, m := range biplane {
			chosen[m.Name] = m
		}
		if why != nil {
			reasons = append(reasons, *why)
		}
	}
	for _, l := range []*loop{four, two, best[models.ViewPLAX], best[models.ViewA3C]} {
		if l == nil {
			continue
		}
		for _, m := range l.Measurements {
			if old, ok := chosen[m.Name]; !ok || old.Value == nil && m.Value != nil {
				m.Quality.Warnings = append(slices.Clone(m.Quality.Warnings), biplaneNote(m, reasons)...)
				chosen[m.Name] = m
			}
		}
	}
	var out []result.Measurement
	for _, n := range studyNames {
		m, ok := chosen[n.name]
		if !ok {
			m = (&loop{Loop: &result.Loop{Stage: stage}}).missing(n, result.Reasonf(result.NoLoop, "no loop of a view that shows it"))
		}
		out = append(out, m)
	}
	return out
}

// biplaneNote says on a single-plane volume why it is not biplane.
func biplaneNote(m result.Measurement, reasons []result.Reason) []result.Reason {
	if m.Method == result.SinglePlane && m.Value != nil {
		return reasons
	}
	return nil
}

// score orders loops of one view: measured ones first, then by certainty.
func (l *loop) score() float64 {
	certainty := 0.0
	n := 0
	for _, f := range l.frames {
		if f.outline != nil {
			certainty += f.outline.Certainty
			n++
		}
	}
	if n > 0 {
		certainty /= float64(n)
	}
	measured := 0.0
	for _, m := range l.Measurements {
		if m.Value != nil && m.Name != result.HR {
			measured++
		}
	}
	return 10*math.Min(measured, 4) + certainty + l.ViewProbability
}

// biplane combines the beat of each view whose EF is nearest to the loop's
// mean. The reason says why there is no biplane value although both views are
// there.
func biplane(four, two *loop) ([]result.Measurement, *result.Reason) {
	fail := func(code, format string, args ...any) ([]result.Measurement, *result.Reason) {
		r := result.Reasonf(code, "not biplane: "+format, args...)
		return nil, &r
	}
	for _, l := range []*loop{four, two} {
		if len(l.beats) == 0 || !l.has(result.EF) {
			return fail(result.NoBeat, "the %s loop gives no volumes", l.View)
		}
		if !l.Spacing.Trusted {
			return fail(result.NoCalibration, "the %s loop is not calibrated", l.View)
		}
	}
	b4, b2 := four.typicalBeat(), two.typicalBeat()
	findings := lv.CheckForeshortening(b4.ed.Axis.LengthMM, b2.ed.Axis.LengthMM, four.o.LV.Quality)
	findings = append(findings, lv.CheckForeshortening(b4.es.Axis.LengthMM, b2.es.Axis.LengthMM, four.o.LV.Quality)...)
	for _, f := range findings {
		if f.Severity == lv.Reject {
			return fail(result.ViewsDisagree, "%s", f.Reason)
		}
	}
	edv, err := lv.BiplaneVolume(b4.ed.Disks, b4.ed.Axis.LengthMM, b2.ed.Disks, b2.ed.Axis.LengthMM)
	if err != nil {
		return fail(result.InternalError, "%v", err)
	}
	esv, err := lv.BiplaneVolume(b4.es.Disks, b4.es.Axis.LengthMM, b2.es.Disks, b2.es.Axis.LengthMM)
	if err != nil {
		return fail(result.InternalError, "%v", err)
	}
	ef := lv.EF(edv, esv)
	if f := lv.CheckEF(ef, four.o.LV.Quality); lv.Rejected(f) {
		return fail(result.ImplausibleValue, "%s", f[0].Reason)
	}
	var warnings []result.Reason
	for _, f := range findings {
		warnings = append(warnings, result.Reason{Code: string(f.Gate), Text: f.Reason})
	}
	for _, l := range []*loop{four, two} {
		for _, m := range l.Measurements {
			if m.Name == result.EF {
				for _, w := range m.Quality.Warnings {
					warnings = append(warnings, result.Reason{Code: w.Code, Text: l.View + ": " + w.Text})
				}
			}
		}
	}
	grade := result.Good
	if len(warnings) > 0 {
		grade = result.Fair
	}
	source := func(phases ...string) (out []result.Source) {
		for _, p := range phases {
			for _, lb := range []struct {
				l *loop
				b beat
			}{{four, b4}, {two, b2}} {
				frame := lb.b.ED
				if p == "ES" {
					frame = lb.b.ES
				}
				out = append(out, result.Source{SOPInstanceUID: lb.l.SOPInstanceUID, Frame: frame, Phase: p})
			}
		}
		return out
	}
	value := func(name, unit string, v float64, sources []result.Source) result.Measurement {
		v = round(v, 4)
		return result.Measurement{Name: name, Value: &v, Unit: unit, Method: result.Biplane, Stage: four.Stage,
			Quality: result.Quality{Grade: grade, Warnings: warnings}, Sources: sources}
	}
	return []result.Measurement{
		value(result.EF, result.UnitPercent, ef, source("ED", "ES")),
		value(result.EDV, result.UnitVolume, edv, source("ED")),
		value(result.ESV, result.UnitVolume, esv, source("ES")),
		value(result.SV, result.UnitVolume, lv.StrokeVolume(edv, esv), source("ED", "ES")),
	}, nil
}

func (l *loop) has(name string) bool {
	return slices.ContainsFunc(l.Measurements, func(m result.Measurement) bool { return m.Name == name && m.Value != nil })
}

// typicalBeat is the beat whose EF is nearest to the mean.
func (l *loop) typicalBeat() beat {
	var efs []float64
	for _, b := range l.beats {
		efs = append(efs, b.ef)
	}
	mean := lv.Summarize(efs).Mean
	return slices.MinFunc(l.beats, func(x, y beat) int {
		return cmp.Compare(math.Abs(x.ef-mean), math.Abs(y.ef-mean))
	})
}
