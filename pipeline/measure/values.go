package measure

import (
	"math"
	"slices"

	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/quantity"
	"github.com/echonode/echonode/pipeline/result"
)

// series are the values of one quantity over beats and the value of the loop.
type series struct {
	name, unit, method string
	values             []float64
	value              float64
	needsCalibration   bool
	phase              lv.Phase // "" for both
}

// concerns reports whether a finding is about the quantity: what is wrong with
// the outline at end-systole says nothing of EDV.
func (s series) concerns(f lv.Finding) bool {
	if f.Gate == lv.GatePrecision {
		return s.name == result.EF || s.name == result.SV || s.name == result.FAC
	}
	if f.Gate == result.UnusualSize {
		return s.needsCalibration
	}
	if f.Gate == result.Repeated || f.Gate == lv.GateSomeWeakBeats {
		return s.name == result.HR
	}
	return s.phase == "" || f.Phase == "" || f.Phase == s.phase
}

// Own choice: the end-diastolic volume in mL of a child of completed years n that is
// more than this is remarked on; healthy newborns have 10, children of ten 90.
const childEDV, childEDVPerYear = 60, 20

// lowEF is an EF in per cent that explains a small stroke volume. Own choice.
const lowEF = 25

// checkSizes looks for sizes that cannot be, which take with them whatever is in
// centimetres, and remarks on those that no adult, or no child of the age, has.
func (l *loop) checkSizes(all []series) []lv.Finding {
	if !l.Spacing.Trusted {
		return nil
	}
	about := func(s lv.Severity, r *result.Reason) []lv.Finding {
		return []lv.Finding{{Gate: result.UnusualSize, Severity: s, Frame: -1, Reason: r.Text}}
	}
	for _, s := range all {
		if s.name == result.SV && len(s.values) > 0 && !l.tooStill(s) {
			if r := impossible(s); r != nil {
				return about(lv.Reject, r)
			}
		}
	}
	for _, s := range all {
		q, ok := quantity.Of(s.name)
		if !ok || !s.needsCalibration || len(s.values) == 0 {
			continue
		}
		if low := s.name == result.SV && s.value < q.Usual.Lo && all[0].name == result.EF && all[0].value < lowEF; low {
			continue // which explains it
		}
		if r := q.Unusual(s.value); r != nil && l.Subject.Adult() {
			return about(lv.Warn, r)
		}
		if s.name == result.EDV && l.Subject.Child() && s.value > childEDV+childEDVPerYear*float64(*l.Subject.AgeYears) {
			r := result.Reasonf(result.UnusualSize, "%s of %s %s is unusual for a child aged %d: is the size of a pixel right?", q.Title, q.Format(s.value),
				q.UnitText(), *l.Subject.AgeYears)
			return about(lv.Warn, &r)
		}
	}
	return nil
}

// report turns series into measurements: the value over the chosen beats, or
// the reason why there is none.
func (l *loop) report(all []series, findings []lv.Finding) {
	for _, s := range all {
		l.Measurements = append(l.Measurements, l.measurement(s, findings))
	}
}

func (l *loop) measurement(s series, findings []lv.Finding) result.Measurement {
	for _, f := range findings {
		if f.Severity == lv.Reject && (s.concerns(f) || len(l.beats) == 0) {
			return l.missing(s, reason(f))
		}
	}
	switch {
	case len(s.values) == 0:
		return l.missing(s, result.Reasonf(result.NoContour, "no beat with an outline at end-diastole and end-systole"))
	case s.needsCalibration && !l.Spacing.Trusted:
		return l.missing(s, result.Reasonf(result.NoCalibration, "no trustworthy calibration: %s", l.Spacing.Reason))
	case l.tooStill(s):
		for _, f := range findings {
			if hidesMotion(f) {
				return l.missing(s, reason(f))
			}
		}
		return l.missing(s, *l.severe())
	}
	if r := impossible(s); r != nil {
		return l.missing(s, *r)
	}
	m := l.missing(s, result.Reason{})
	m.Reason = nil
	m.Quality = gradeOf(s.name, warnings(findings, s.concerns))
	v := result.Round(s.value, 4)
	m.Value = &v
	for _, v := range s.values {
		m.Beats = append(m.Beats, result.Round(v, 4))
	}
	for _, b := range l.beats {
		m.Sources = append(m.Sources, l.sources(b.Beat, s.phase)...)
	}
	return m
}

// impossible is why a value cannot be reported whatever was found of its frames:
// it is not finite, or outside the range of its quantity.
func impossible(s series) *result.Reason {
	q, known := quantity.Of(s.name)
	finite := !math.IsNaN(s.value) && !math.IsInf(s.value, 0) && !slices.ContainsFunc(s.values, func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) })
	switch {
	case !finite:
		return because(result.ImplausibleValue, "%s cannot be computed from what was measured", q.Title)
	case known && !q.Plausible.Holds(s.value):
		return because(result.ImplausibleValue, "%s of %s %s cannot be", q.Title, q.Format(s.value), q.UnitText())
	}
	return nil
}

// sources are the frames of a beat that a value of the phase was measured on.
func (l *loop) sources(b lv.Beat, p lv.Phase) (out []result.Source) {
	if p != lv.ES {
		out = append(out, l.source(b.ED, lv.ED))
	}
	if p != lv.ED {
		out = append(out, l.source(b.ES, lv.ES))
	}
	return out
}

func (l *loop) source(frame int, p lv.Phase) result.Source {
	return result.Source{SOPInstanceUID: l.SOPInstanceUID, Frame: frame, Phase: string(p), Beside: l.SecondPlane}
}

// gives reports whether a source is a frame of the loop, and of its plane.
func (l *loop) gives(src result.Source) bool {
	return l.SOPInstanceUID == src.SOPInstanceUID && l.SecondPlane == src.Beside
}

// because is a reason where there may be none.
func because(code, format string, args ...any) *result.Reason {
	r := result.Reasonf(code, format, args...)
	return &r
}

func reason(f lv.Finding) result.Reason { return result.Reason{Code: string(f.Gate), Text: f.Reason} }

// warnings are the findings that let a value pass with a remark, the first of
// each gate and phase.
func warnings(findings []lv.Finding, concerns func(lv.Finding) bool) []result.Reason {
	type key struct {
		gate  lv.Gate
		phase lv.Phase
	}
	seen := map[key]bool{}
	var out []result.Reason
	for _, f := range findings {
		if k := (key{f.Gate, f.Phase}); f.Severity == lv.Warn && concerns(f) && !seen[k] {
			seen[k] = true
			out = append(out, reason(f))
		}
	}
	return out
}

// contradictions are the remarks that say that something else in the study, or
// in the loop, speaks against a value: nobody should rely on it unseen.
var contradictions = []string{result.ViewsDisagree, result.LoopsDisagree, result.SamePicture, string(lv.GateAnnulus), string(lv.GateBeatVolumes)}

// gradeOf is grade of a value of a quantity: one in centimetres is contradicted by
// whatever contradicts the scale.
func gradeOf(name string, warnings []result.Reason) result.Quality {
	out := grade(warnings)
	q, _ := quantity.Of(name)
	if q.Calibrated && slices.ContainsFunc(warnings, func(w result.Reason) bool { return w.Code == result.Scale }) {
		out.Grade = result.Poor
	}
	return out
}

// remark adds a remark to a value, whose grade never rises by it.
func remark(m *result.Measurement, r result.Reason) {
	poor := m.Quality.Grade == result.Poor
	m.Quality = gradeOf(m.Name, append(slices.Clone(m.Quality.Warnings), r))
	if poor {
		m.Quality.Grade = result.Poor
	}
}

// grade judges a value by its remarks; those that contradict it come first.
func grade(warnings []result.Reason) result.Quality {
	if len(warnings) == 0 {
		return result.Quality{Grade: result.Good}
	}
	contradicts := func(w result.Reason) bool { return slices.Contains(contradictions, w.Code) }
	sorted := slices.Clone(warnings)
	slices.SortStableFunc(sorted, func(a, b result.Reason) int {
		switch {
		case contradicts(a) && !contradicts(b):
			return -1
		case contradicts(b) && !contradicts(a):
			return 1
		}
		return 0
	})
	if contradicts(sorted[0]) {
		return result.Quality{Grade: result.Poor, Warnings: sorted}
	}
	return result.Quality{Grade: result.Fair, Warnings: sorted}
}

func (l *loop) missing(s series, r result.Reason) result.Measurement {
	return result.Measurement{Name: s.name, Unit: s.unit, Method: s.method, View: l.View, Stage: l.Stage, StageNumber: l.StageNumber,
		Quality: result.Quality{Grade: result.None}, Reason: &r}
}

// contradicts reports whether the loop itself speaks against a heart rate, which has
// its remark then: beats may be too weak to be seen, the object tells another rate,
// the motion is slower, or slower than any heart's, or it changes at once.
func (l *loop) contradicts(rate float64, method string) bool {
	if stored := l.rhythm.Stored; method != lv.RateFromRWaves && stored > 0 && math.Abs(rate-stored) > rateTolerance*stored {
		return true
	}
	if _, _, two := l.rateChange(); two {
		return true
	}
	return l.weakBeats() && method == lv.RateFromCurve || l.slowerMotion() || l.contractionMS() > longContraction
}

// addHeartRate reports the rate from the R waves or the motion, else the
// device's own. Doubts about time and rhythm concern it too.
func (l *loop) addHeartRate(findings []lv.Finding) {
	rate, method := l.rhythm.HeartRate, l.rhythm.HeartRateSource
	if rate == 0 && l.HeartRate > 0 && !(l.rateOfRWaves() && (len(l.rhythm.Notes) > 0 || l.weakBeats())) {
		rate, method = l.HeartRate, lv.RateFromDevice
	}
	s := series{name: result.HR, unit: result.UnitRate, method: method}
	if rate == 0 {
		l.Measurements = append(l.Measurements,
			l.missing(s, result.Reasonf(result.NoBeat, "neither R waves that fit the motion, a whole beat of 25 to 250 beats per minute nor a stored heart rate")))
		return
	}
	v := result.Round(rate, 1)
	m := l.missing(s, result.Reason{})
	m.Value, m.Reason = &v, nil
	m.Quality = grade(warnings(findings, func(f lv.Finding) bool {
		return slices.Contains([]lv.Gate{result.FrameTimes, result.Rhythm, lv.GateBeats, lv.GateWeakBeats, lv.GateSomeWeakBeats, result.HeartRateDoubt,
			result.Repeated, result.StageUnknown, result.LoopsDisagree}, f.Gate)
	}))
	if l.contradicts(rate, method) {
		m.Quality.Grade = result.Poor
	}
	m.Sources = []result.Source{l.source(0, "")}
	l.Measurements = append(l.Measurements, m)
}
