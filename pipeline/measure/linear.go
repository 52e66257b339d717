package measure

import (
	"math"

	"github.com/echonode/echonode/pipeline/longaxis"
	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/result"
)

// linearNames are the quantities of a parasternal long-axis loop.
func linearNames() []series {
	return []series{
		{name: result.IVSd, unit: result.UnitLength, method: result.Linear, needsCalibration: true, phase: lv.ED},
		{name: result.LVIDd, unit: result.UnitLength, method: result.Linear, needsCalibration: true, phase: lv.ED},
		{name: result.LVPWd, unit: result.UnitLength, method: result.Linear, needsCalibration: true, phase: lv.ED},
		{name: result.LVIDs, unit: result.UnitLength, method: result.Linear, needsCalibration: true, phase: lv.ES},
		{name: result.FS, unit: result.UnitPercent, method: result.Linear},
		{name: result.Mass, unit: result.UnitMass, method: result.Cube, needsCalibration: true, phase: lv.ED},
		{name: result.RWT, unit: result.UnitRatio, method: result.Linear, phase: lv.ED},
	}
}

// linearValues are the values of linearNames for dimensions in mm at both
// phases.
func linearValues(d, s lv.Linear) []float64 {
	return []float64{d.IVSmm / 10, d.LVIDmm / 10, d.PWmm / 10, s.LVIDmm / 10, lv.FS(d.LVIDmm, s.LVIDmm),
		lv.CubeMass(d.IVSmm/10, d.LVIDmm/10, d.PWmm/10), lv.RWT(d.PWmm, d.LVIDmm)}
}

// measureLinear measures a parasternal long-axis loop by its four points. As
// with volumes, several frames around each phase count, and what is derived
// follows from the mean dimensions over the beats. Where a reader placed the
// points of a beat, and the network's have not been shown to be good enough, the
// reader's alone are measured.
func (l *loop) measureLinear() {
	o := l.o.LV
	names := linearNames()
	none := func(r result.Reason) {
		for _, s := range names {
			l.Measurements = append(l.Measurements, l.missing(s, r))
		}
		l.addHeartRate(l.doubts())
	}
	some, byReader := l.placed()
	if !l.o.WallPoints && some && !byReader {
		none(result.Reasonf(result.NoBeat, "the wall points were not placed at both end-diastole and end-systole of a beat"))
		return
	}
	if !l.o.WallPoints && !byReader {
		none(result.Reasonf(result.NotValidated, "the model's parasternal points have not been shown to be accurate enough to measure with"))
		return
	}
	dims := make([]lv.Linear, len(l.frames))
	curve := make([]float64, len(l.frames))
	seen := 0
	var drawn []lv.Finding
	for i := range l.frames {
		curve[i] = math.NaN()
		if !l.o.WallPoints && !l.byReader(i) {
			continue
		}
		if c, ok := longaxis.Calipers(l.frames[i].keypoints, o.Axis.MinConfidence); ok {
			dims[i] = c.Measure(l.spacing)
			findings := lv.CheckCalipers(dims[i], i, o.Quality)
			if l.byReader(i) {
				findings = remarks(findings)
				drawn = append(drawn, findings...)
			}
			if !lv.Rejected(findings) {
				curve[i], l.frames[i].used = dims[i].LVIDmm, true
				seen++
			}
		}
	}
	if !byReader && len(curve) > 1 && float64(seen) < (1-o.Beats.MaxMissing)*float64(len(curve)) {
		none(result.Reasonf(result.LowConfidence, "the four wall points were found with enough confidence in %d of %d frames only", seen, len(curve)))
		return
	}
	if !l.findBeats(curve, o, names) {
		return
	}
	l.drop(l.rhythm.Removed)
	var ds, ss []lv.Linear
	for i, b := range l.rhythm.Beats {
		if !l.frames[b.ED].used || !l.frames[b.ES].used {
			l.Beats[i].Rejected = &result.Reason{Code: result.LowConfidence, Text: "no trusted points at end-diastole or end-systole"}
			continue
		}
		d, s := l.meanLinear(dims, b.ED, b), l.meanLinear(dims, b.ES, b)
		ds, ss = append(ds, d), append(ss, s)
		l.beats = append(l.beats, beat{Beat: b, index: i})
		for k, v := range linearValues(d, s) {
			names[k].values = append(names[k].values, v)
		}
	}
	if len(l.beats) > 0 {
		for k, v := range linearValues(mean(ds), mean(ss)) {
			names[k].value = v
		}
	}
	findings := lv.CheckView(l.ViewProbability, o.Quality)
	findings = append(findings, lv.CheckFrameRate(l.FrameTimes, l.rhythm.HeartRate, o.Quality)...)
	findings = append(findings, lv.CheckClipped(l.rhythm.Beats)...)
	findings = append(findings, l.doubts()...)
	if l.trusts() {
		findings = remarks(findings)
	}
	findings = append(findings, drawn...)
	l.report(names, findings)
	l.addHeartRate(findings)
}

// meanLinear averages the dimensions of the frames around a frame.
func (l *loop) meanLinear(dims []lv.Linear, at int, b lv.Beat) lv.Linear {
	around := l.around(at, b)
	var m lv.Linear
	for k, i := range around.Frames {
		w := around.Weights[k]
		m.IVSmm += w * dims[i].IVSmm
		m.LVIDmm += w * dims[i].LVIDmm
		m.PWmm += w * dims[i].PWmm
	}
	return m
}

func mean(v []lv.Linear) lv.Linear {
	var m lv.Linear
	for _, d := range v {
		m.IVSmm += d.IVSmm / float64(len(v))
		m.LVIDmm += d.LVIDmm / float64(len(v))
		m.PWmm += d.PWmm / float64(len(v))
	}
	return m
}
