package measure

import (
	"math"

	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/result"
)

// measureLinear measures a parasternal long-axis loop by its four points.
func (l *loop) measureLinear() {
	o := l.o.LV
	names := []series{
		{name: result.IVSd, unit: result.UnitLength, method: result.Linear},
		{name: result.LVIDd, unit: result.UnitLength, method: result.Linear},
		{name: result.LVPWd, unit: result.UnitLength, method: result.Linear},
		{name: result.LVIDs, unit: result.UnitLength, method: result.Linear},
		{name: result.FS, unit: result.UnitPercent, method: result.Linear},
		{name: result.Mass, unit: result.UnitMass, method: result.Cube},
		{name: result.RWT, unit: result.UnitRatio, method: result.Linear},
	}
	if !l.o.WallPoints {
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
