package measure

import (
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

func (l *loop) measureApical() {
	o := l.o.LV
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
	lo, hi := l.corners()

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
			plane, err := l.plane(phase.frame, axis)
			if err != nil {
				own = append(own, lv.Finding{Gate: lv.GateShape, Severity: lv.Reject, Frame: phase.frame, Reason: err.Error()})
				ok = false
				continue
			}
			*phase.plane = plane
			own = append(own, lv.CheckOutline(f.outline.Certainty, f.outline.stray, phase.frame, o.Quality)...)
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

// plane measures the contour of one frame.
func (l *loop) plane(i int, axis lv.AxisOptions) (lv.Plane, error) {
	f := &l.frames[i]
	if f.outline == nil {
		return lv.Plane{}, lv.ErrNoContour
	}
	return lv.MeasurePlane(f.outline.Points, l.spacing, landmarks(f), axis)
}
