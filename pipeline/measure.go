package pipeline

import (
	"errors"
	"math"

	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/result"
)

// beat is one heart beat of an apical loop with its two outlines measured.
type beat struct {
	lv.Beat
	ed, es lv.Plane
	ef     float64
}

// series are the values of one quantity over beats, with the findings that
// concern it.
type series struct {
	name, unit, method string
	values             []float64
	needsCalibration   bool
	phase              string // "ED", "ES" or "" for both
}

// measure fills in beats and measurements of an analysed loop.
func (a *Analyzer) measure(l *loop) {
	switch l.View {
	case models.ViewPLAX:
		a.measureLinear(l)
	default:
		a.measureApical(l)
	}
}

// apicalNames are the quantities of an apical loop, for the case that none of
// them can be measured.
func (l *loop) apicalNames() []series {
	planimetry := []series{
		{name: result.FAC, unit: result.UnitPercent, method: result.Planimetry},
		{name: result.AreaED, unit: result.UnitArea, method: result.Planimetry},
		{name: result.AreaES, unit: result.UnitArea, method: result.Planimetry},
		{name: result.LenED, unit: result.UnitLength, method: result.Planimetry},
		{name: result.LenES, unit: result.UnitLength, method: result.Planimetry},
	}
	if l.View == models.ViewA3C {
		return planimetry // the long-axis view is not a plane of the method of disks
	}
	return append([]series{
		{name: result.EF, unit: result.UnitPercent, method: result.SinglePlane},
		{name: result.EDV, unit: result.UnitVolume, method: result.SinglePlane},
		{name: result.ESV, unit: result.UnitVolume, method: result.SinglePlane},
		{name: result.SV, unit: result.UnitVolume, method: result.SinglePlane},
	}, planimetry...)
}

func (a *Analyzer) measureApical(l *loop) {
	o := a.opt.LV
	area := make([]float64, len(l.frames))
	for i, f := range l.frames {
		area[i] = math.NaN()
		if f.outline != nil {
			area[i] = lv.PolygonArea(f.outline.Points, l.spacing)
		}
	}
	if !l.findBeats(area, o, l.apicalNames()) {
		return
	}
	common := lv.CheckView(l.ViewProbability, o.Quality)
	common = append(common, lv.CheckAreaJumps(area, l.FrameTimes, o.Quality)...)
	common = append(common, lv.CheckFrameRate(l.FrameTimes, o.Quality)...)
	common = append(common, lv.CheckClipped(l.rhythm.Beats)...)
	lo := lv.Point{X: float64(l.region.Min.X), Y: float64(l.region.Min.Y)}
	hi := lv.Point{X: float64(l.region.Max.X - 1), Y: float64(l.region.Max.Y - 1)}

	axis := l.axisOptions(o.Axis)
	var findings []lv.Finding
	for i, b := range l.rhythm.Beats {
		measured := beat{Beat: b}
		var own []lv.Finding
		ok := true
		for _, phase := range []struct {
			frame int
			plane *lv.Plane
		}{{b.ED, &measured.ed}, {b.ES, &measured.es}} {
			f := &l.frames[phase.frame]
			if f.outline == nil {
				ok = false // an extreme on an interpolated frame
				continue
			}
			plane, err := lv.MeasurePlane(f.outline.Points, l.spacing, landmarks(f), axis)
			if err != nil {
				own = append(own, lv.Finding{Gate: lv.GateShape, Severity: lv.Reject, Frame: phase.frame, Reason: err.Error()})
				ok = false
				continue
			}
			*phase.plane = plane
			own = append(own, lv.CheckOutline(*f.outline, phase.frame, o.Quality)...)
			own = append(own, lv.CheckSolidity(f.outline.Points, phase.frame, o.Quality)...)
			own = append(own, lv.CheckBorder(f.outline.Points, phase.frame, lo, hi, o.Quality)...)
		}
		if ok {
			own = append(own, lv.CheckPlanes(measured.ed, measured.es, l.Spacing.Trusted, o.Quality)...)
			measured.ef = lv.EF(measured.ed.VolumeML, measured.es.VolumeML)
			own = append(own, lv.CheckEF(measured.ef, o.Quality)...)
		}
		// One bad beat does not spoil the others; its findings count only
		// when no beat is left.
		if ok && !lv.Rejected(own) {
			l.beats = append(l.beats, measured)
		} else {
			l.Beats[i].Rejected = rejection(own)
		}
		findings = append(findings, own...)
	}
	if len(l.beats) > 0 {
		findings = keepWarnings(findings)
		var efs []float64
		for _, b := range l.beats {
			efs = append(efs, b.ef)
		}
		findings = append(findings, lv.CheckEFSpread(efs, o.Quality)...)
	}
	findings = append(common, findings...)

	collect := func(f func(beat) float64) []float64 {
		out := make([]float64, len(l.beats))
		for i, b := range l.beats {
			out[i] = f(b)
		}
		return out
	}
	edv := func(b beat) float64 { return b.ed.VolumeML }
	esv := func(b beat) float64 { return b.es.VolumeML }
	var all []series
	if l.View != models.ViewA3C {
		all = append(all,
			series{result.EF, result.UnitPercent, result.SinglePlane, collect(func(b beat) float64 { return b.ef }), false, ""},
			series{result.EDV, result.UnitVolume, result.SinglePlane, collect(edv), true, "ED"},
			series{result.ESV, result.UnitVolume, result.SinglePlane, collect(esv), true, "ES"},
			series{result.SV, result.UnitVolume, result.SinglePlane, collect(func(b beat) float64 { return lv.StrokeVolume(edv(b), esv(b)) }), true, ""})
	}
	all = append(all,
		series{result.FAC, result.UnitPercent, result.Planimetry, collect(func(b beat) float64 { return lv.FAC(b.ed.AreaMM2, b.es.AreaMM2) }), false, ""},
		series{result.AreaED, result.UnitArea, result.Planimetry, collect(func(b beat) float64 { return b.ed.AreaMM2 / 100 }), true, "ED"},
		series{result.AreaES, result.UnitArea, result.Planimetry, collect(func(b beat) float64 { return b.es.AreaMM2 / 100 }), true, "ES"},
		series{result.LenED, result.UnitLength, result.Planimetry, collect(func(b beat) float64 { return b.ed.Axis.LengthMM / 10 }), true, "ED"},
		series{result.LenES, result.UnitLength, result.Planimetry, collect(func(b beat) float64 { return b.es.Axis.LengthMM / 10 }), true, "ES"})
	beats := make([]lv.Beat, len(l.beats))
	for i, b := range l.beats {
		beats[i] = b.Beat
	}
	l.add(all, beats, findings)
	l.addHeartRate()
}

// rejection is the first finding that a beat was left out for.
func rejection(findings []lv.Finding) *result.Reason {
	for _, f := range findings {
		if f.Severity == lv.Reject {
			return &result.Reason{Code: string(f.Gate), Text: f.Reason}
		}
	}
	return &result.Reason{Code: result.NoContour, Text: "no contour at end-diastole or end-systole"}
}

// keepWarnings drops the rejections of beats that were left out.
func keepWarnings(findings []lv.Finding) []lv.Finding {
	var out []lv.Finding
	for _, f := range findings {
		if f.Severity == lv.Warn {
			out = append(out, f)
		}
	}
	return out
}

// findBeats looks for heart beats in a curve and records them; without any it
// lists every quantity as not measured, with the reason.
func (l *loop) findBeats(curve []float64, o lv.Options, quantities []series) bool {
	none := func(r result.Reason) bool {
		for _, s := range quantities {
			l.Measurements = append(l.Measurements, l.missing(s, r))
		}
		l.addHeartRate()
		return false
	}
	if len(l.frames) == 1 {
		return none(result.Reasonf(result.SingleFrame, "a single frame has no heart beat"))
	}
	if len(l.FrameTimes) != len(l.frames) {
		return none(result.Reasonf(result.NoFrameTimes, "the object does not say when its frames were taken"))
	}
	options := o.Beats
	options.RWaveMS, options.HeartRateBPM = l.facts.RWaveTimes, l.HeartRate
	rhythm, err := lv.FindBeats(curve, l.FrameTimes, options)
	l.rhythm = rhythm
	if len(rhythm.Smoothed) > 0 {
		l.Curve = &result.Curve{Smoothed: rhythm.Smoothed, Removed: rhythm.Spikes}
	}
	for _, n := range rhythm.Notes {
		l.Warnings = append(l.Warnings, result.Reason{Code: "rhythm", Text: n})
	}
	var noBeat *lv.NoBeatError
	if errors.As(err, &noBeat) {
		return none(result.Reason{Code: result.NoBeat, Text: noBeat.Error()})
	}
	if err != nil {
		return none(result.Reasonf(result.NoBeat, "%v", err))
	}
	for _, b := range rhythm.Beats {
		l.Beats = append(l.Beats, result.Beat{ED: b.ED, ES: b.ES, NextED: b.NextED})
	}
	return true
}

// axisOptions tell the apex's side where the points do not: apical loops have
// the transducer, and so the apex, at the top.
func (l *loop) axisOptions(o lv.AxisOptions) lv.AxisOptions {
	o.ApexSide = &lv.Point{X: float64(l.region.Min.X+l.region.Max.X) / 2, Y: float64(l.region.Min.Y)}
	return o
}

func landmarks(f *frame) lv.Landmarks {
	get := func(name string) *lv.Keypoint {
		if k, ok := f.keypoints[name]; ok {
			return &k
		}
		return nil
	}
	return lv.Landmarks{Apex: get(models.KeypointApex), MitralA: get(models.KeypointMitralSeptal), MitralB: get(models.KeypointMitralLateral)}
}

// measureLinear measures a parasternal long-axis loop by its four points.
func (a *Analyzer) measureLinear(l *loop) {
	o := a.opt.LV
	names := []series{
		{name: result.IVSd, unit: result.UnitLength, method: result.Linear},
		{name: result.LVIDd, unit: result.UnitLength, method: result.Linear},
		{name: result.LVPWd, unit: result.UnitLength, method: result.Linear},
		{name: result.LVIDs, unit: result.UnitLength, method: result.Linear},
		{name: result.FS, unit: result.UnitPercent, method: result.Linear},
		{name: result.Mass, unit: result.UnitMass, method: result.Cube},
		{name: result.RWT, unit: result.UnitRatio, method: result.Linear},
	}
	if !a.engine.Card().Validated(plaxPoints...) {
		for _, s := range names {
			l.Measurements = append(l.Measurements, l.missing(s, result.Reasonf(result.NotValidated,
				"the model's parasternal points have not been shown to be accurate enough to measure with")))
		}
		l.addHeartRate()
		return
	}
	dims := make([]lv.Linear, len(l.frames))
	curve := make([]float64, len(l.frames))
	for i := range l.frames {
		curve[i] = math.NaN()
		if c, ok := calipers(&l.frames[i], o.Axis.MinConfidence); ok {
			dims[i] = c.Measure(l.spacing)
			if !lv.Rejected(lv.CheckCalipers(dims[i], i, o.Quality)) {
				curve[i] = dims[i].LVIDmm
			}
		}
	}
	seen := 0
	for _, v := range curve {
		if !math.IsNaN(v) {
			seen++
		}
	}
	if len(curve) > 1 && float64(seen) < (1-o.Beats.MaxMissing)*float64(len(curve)) {
		for _, s := range names {
			l.Measurements = append(l.Measurements, l.missing(s, result.Reasonf(result.LowConfidence,
				"the four points were found with enough confidence in %d of %d frames only", seen, len(curve))))
		}
		l.addHeartRate()
		return
	}
	if !l.findBeats(curve, o, names) {
		return
	}
	findings := lv.CheckView(l.ViewProbability, o.Quality)
	findings = append(findings, lv.CheckFrameRate(l.FrameTimes, o.Quality)...)
	findings = append(findings, lv.CheckClipped(l.rhythm.Beats)...)
	values := make([][]float64, len(names))
	var beats []lv.Beat
	for i, b := range l.rhythm.Beats {
		if math.IsNaN(curve[b.ED]) || math.IsNaN(curve[b.ES]) {
			l.Beats[i].Rejected = &result.Reason{Code: result.LowConfidence, Text: "no trusted points at end-diastole or end-systole"}
			continue
		}
		beats = append(beats, b)
		d, s := dims[b.ED], dims[b.ES]
		for i, v := range []float64{d.IVSmm / 10, d.LVIDmm / 10, d.PWmm / 10, s.LVIDmm / 10, lv.FS(d.LVIDmm, s.LVIDmm),
			lv.CubeMass(d.IVSmm/10, d.LVIDmm/10, d.PWmm/10), lv.RWT(d.PWmm, d.LVIDmm)} {
			values[i] = append(values[i], v)
		}
	}
	phases := []string{"ED", "ED", "ED", "ES", "", "ED", "ED"}
	for i := range names {
		names[i].values, names[i].phase = values[i], phases[i]
		names[i].needsCalibration = names[i].unit != result.UnitPercent && names[i].unit != result.UnitRatio
	}
	l.add(names, beats, findings)
	l.addHeartRate()
}

func calipers(f *frame, minConfidence float64) (lv.Calipers, bool) {
	var c lv.Calipers
	for name, p := range map[string]*lv.Point{models.KeypointIVSRight: &c.IVSRight, models.KeypointIVSLeft: &c.IVSLeft, models.KeypointPWInner: &c.PWInner, models.KeypointPWOuter: &c.PWOuter} {
		k, ok := f.keypoints[name]
		if !ok || k.Confidence < minConfidence {
			return c, false
		}
		*p = k.Point
	}
	return c, true
}

// add turns series into measurements: the mean over beats, or the reason why
// there is none.
func (l *loop) add(all []series, beats []lv.Beat, findings []lv.Finding) {
	var rejected *result.Reason
	var warnings []result.Reason
	for _, f := range findings {
		r := result.Reason{Code: string(f.Gate), Text: f.Reason}
		if f.Severity == lv.Reject {
			if rejected == nil {
				rejected = &r
			}
		} else {
			warnings = append(warnings, r)
		}
	}
	warnings = distinct(warnings)
	for _, s := range all {
		switch {
		case rejected != nil:
			l.Measurements = append(l.Measurements, l.missing(s, *rejected))
		case len(s.values) == 0:
			l.Measurements = append(l.Measurements, l.missing(s, result.Reasonf(result.NoContour, "no beat with a contour at end-diastole and end-systole")))
		case s.needsCalibration && !l.Spacing.Trusted:
			l.Measurements = append(l.Measurements, l.missing(s, result.Reasonf(result.NoCalibration, "no trustworthy calibration: %s", l.Spacing.Reason)))
		default:
			m := result.Measurement{Name: s.name, Unit: s.unit, Method: s.method, View: l.View, Stage: l.Stage,
				Quality: result.Quality{Grade: result.Good, Warnings: warnings}}
			if len(warnings) > 0 {
				m.Quality.Grade = result.Fair
			}
			mean := round(lv.Summarize(s.values).Mean, 4)
			m.Value = &mean
			for _, v := range s.values {
				m.Beats = append(m.Beats, round(v, 4))
			}
			for _, b := range beats {
				if s.phase != "ES" {
					m.Sources = append(m.Sources, result.Source{SOPInstanceUID: l.SOPInstanceUID, Frame: b.ED, Phase: "ED"})
				}
				if s.phase != "ED" {
					m.Sources = append(m.Sources, result.Source{SOPInstanceUID: l.SOPInstanceUID, Frame: b.ES, Phase: "ES"})
				}
			}
			l.Measurements = append(l.Measurements, m)
		}
	}
}

func distinct(in []result.Reason) []result.Reason {
	seen := map[string]bool{}
	var out []result.Reason
	for _, r := range in {
		if !seen[r.Code] {
			seen[r.Code] = true
			out = append(out, r)
		}
	}
	return out
}

func (l *loop) missing(s series, r result.Reason) result.Measurement {
	return result.Measurement{Name: s.name, Unit: s.unit, Method: s.method, View: l.View, Stage: l.Stage,
		Quality: result.Quality{Grade: result.None}, Reason: &r}
}

// addHeartRate reports the rate from the R peaks or the curve, else the
// device's own.
func (l *loop) addHeartRate() {
	rate, method := l.rhythm.HeartRate, l.rhythm.HeartRateSource
	if rate == 0 && l.HeartRate > 0 {
		rate, method = l.HeartRate, lv.RateFromDevice
	}
	s := series{name: result.HR, unit: result.UnitRate, method: method}
	if rate == 0 {
		l.Measurements = append(l.Measurements, l.missing(s, result.Reasonf(result.NoBeat, "neither R peaks, a whole cycle nor a stored heart rate")))
		return
	}
	v := round(rate, 1)
	m := l.missing(s, result.Reason{})
	m.Value, m.Reason, m.Quality.Grade = &v, nil, result.Good
	m.Sources = []result.Source{{SOPInstanceUID: l.SOPInstanceUID, Frame: 0}}
	l.Measurements = append(l.Measurements, m)
}
