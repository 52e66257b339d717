package lv

import (
	"fmt"
	"math"
)

// Gate names a quality check.
type Gate string

// The quality gates.
const (
	GateConfidence     Gate = "confidence"
	GateView           Gate = "view"
	GateBorder         Gate = "border"
	GateFragments      Gate = "fragments"
	GateAreaJump       Gate = "area-jump"
	GateCoverage       Gate = "coverage"
	GateForeshortening Gate = "foreshortening"
	GateLengths        Gate = "lengths"
	GateShape          Gate = "shape"
	GateBeatSpread     Gate = "beat-spread"
	GateFrameRate      Gate = "frame-rate"
	GatePlausibility   Gate = "plausibility"
	GateCaliperBend    Gate = "caliper-bend"
	GateClippedSystole Gate = "clipped-systole"
)

// Severity says what a finding does to a measurement.
type Severity int

// Warn lets the number pass with a remark; Reject keeps it out of the report.
const (
	Warn Severity = iota + 1
	Reject
)

// String is "warning" or "rejected".
func (s Severity) String() string {
	if s == Reject {
		return "rejected"
	}
	return "warning"
}

// MarshalText makes the severity readable in JSON.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Finding is the outcome of a quality gate that did not pass.
type Finding struct {
	Gate     Gate     `json:"gate"`
	Severity Severity `json:"severity"`
	// Frame is the frame it is about, or -1.
	Frame int `json:"frame"`
	// Reason is one sentence for a reader.
	Reason string `json:"reason"`
}

// QualityOptions are the thresholds of the quality gates. A value between a
// Warn and a Reject threshold passes with a warning.
type QualityOptions struct {
	// MinCertainty of an outline (see [Outline]). Own choice.
	WarnCertainty, RejectCertainty float64
	// MinView is the probability of the view. Own choice.
	WarnView, RejectView float64
	// BorderMargin in source pixels within which a contour point counts as
	// touching, and the part of the contour that may touch. Own choice.
	BorderMargin             float64
	WarnBorder, RejectBorder float64
	// WarnStray is the part of cells outside the largest component.
	WarnStray float64
	// WarnJump is the largest change of area per 40 ms as a part of the
	// median area. Own choice: peak ejection empties about 15 % in 40 ms.
	WarnJump float64
	// WarnCoverage and RejectCoverage are parts of frames with a contour.
	WarnCoverage, RejectCoverage float64
	// WarnForeshortening is the difference of the two apical lengths as a part
	// of the longer one: more than 10 % suggests foreshortening. Above
	// RejectForeshortening the two loops hardly show one ventricle.
	WarnForeshortening, RejectForeshortening float64
	// WarnEFSpread and RejectEFSpread are the range of EF over the beats of
	// one loop in points. Own choice.
	WarnEFSpread, RejectEFSpread float64
	// WarnFrameRate in frames per second; ASE asks for native rates, 30 is the
	// usual floor of stored clips.
	WarnFrameRate float64
	// Plausible ranges; outside them the number is rejected. Own choice, wide:
	// they catch wrong calibrations and wrong outlines, not disease.
	MinEF, MaxEF             float64
	MinLengthMM, MaxLengthMM float64
	MinVolumeML, MaxVolumeML float64
	// MinAspect and MaxAspect bound length over mean diameter of the cavity.
	MinAspect, MaxAspect float64
	// WarnSolidity and RejectSolidity are the part of its convex hull that an
	// outline fills. Own choice: of 540 expert outlines (CAMUS, A4C) 95 % fill
	// more than 0.93, 99 % more than 0.88, the least 0.83.
	WarnSolidity, RejectSolidity float64
	// RejectBend is the largest angle between neighbouring calipers in degrees
	// (EchoNet-LVH: 30).
	RejectBend float64
}

// DefaultQualityOptions returns the thresholds documented on [QualityOptions].
func DefaultQualityOptions() QualityOptions {
	return QualityOptions{
		WarnCertainty: 0.80, RejectCertainty: 0.60,
		WarnView: 0.80, RejectView: 0.50,
		BorderMargin: 1.5, WarnBorder: 0.02, RejectBorder: 0.15,
		WarnStray: 0.10, WarnJump: 0.25,
		WarnCoverage: 0.95, RejectCoverage: 0.60,
		WarnForeshortening: 0.10, RejectForeshortening: 0.35,
		WarnEFSpread: 10, RejectEFSpread: 25,
		WarnFrameRate: 20,
		MinEF:         3, MaxEF: 90,
		MinLengthMM: 15, MaxLengthMM: 150,
		MinVolumeML: 1, MaxVolumeML: 800,
		MinAspect: 0.9, MaxAspect: 4,
		WarnSolidity: 0.92, RejectSolidity: 0.82,
		RejectBend: 30,
	}
}

// below grades a value that should be high.
func below(g Gate, frame int, v, warn, reject float64, what string) []Finding {
	switch {
	case math.IsNaN(v) || v < reject:
		return []Finding{{g, Reject, frame, fmt.Sprintf("%s %.2f is below %.2f", what, v, reject)}}
	case v < warn:
		return []Finding{{g, Warn, frame, fmt.Sprintf("%s %.2f is below %.2f", what, v, warn)}}
	}
	return nil
}

// above grades a value that should be low.
func above(g Gate, frame int, v, warn, reject float64, what string) []Finding {
	switch {
	case math.IsNaN(v) || v > reject:
		return []Finding{{g, Reject, frame, fmt.Sprintf("%s %.2f is above %.2f", what, v, reject)}}
	case v > warn:
		return []Finding{{g, Warn, frame, fmt.Sprintf("%s %.2f is above %.2f", what, v, warn)}}
	}
	return nil
}

// CheckView grades the probability of the view.
func CheckView(probability float64, o QualityOptions) []Finding {
	return below(GateView, -1, probability, o.WarnView, o.RejectView, "view probability")
}

// CheckOutline grades the certainty of one outline, and the part of the
// segmented area that lies outside it.
func CheckOutline(certainty, stray float64, frame int, o QualityOptions) []Finding {
	f := below(GateConfidence, frame, certainty, o.WarnCertainty, o.RejectCertainty, "certainty of the outline")
	if stray > o.WarnStray {
		f = append(f, Finding{GateFragments, Warn, frame, fmt.Sprintf(
			"%.0f %% of the segmented area lies outside the largest part", 100*stray)})
	}
	return f
}

// CheckBorder grades the part of a contour that runs along the border of the
// image content, from lo to hi in source pixels.
func CheckBorder(contour []Point, frame int, lo, hi Point, o QualityOptions) []Finding {
	if len(contour) == 0 {
		return nil
	}
	m, n := o.BorderMargin, 0
	for _, p := range contour {
		if p.X < lo.X+m || p.Y < lo.Y+m || p.X > hi.X-m || p.Y > hi.Y-m {
			n++
		}
	}
	return above(GateBorder, frame, float64(n)/float64(len(contour)), o.WarnBorder, o.RejectBorder,
		"part of the contour on the image border")
}

// CheckAreaJumps warns of frames whose area changes faster than a ventricle
// can, and grades the part of frames that have a contour. Missing areas are
// NaN; timesMS may be nil for a single frame.
func CheckAreaJumps(area, timesMS []float64, o QualityOptions) []Finding {
	var present []float64
	for _, a := range area {
		if !math.IsNaN(a) {
			present = append(present, a)
		}
	}
	if len(area) == 0 {
		return nil
	}
	f := below(GateCoverage, -1, float64(len(present))/float64(len(area)), o.WarnCoverage, o.RejectCoverage,
		"part of frames with a contour")
	if len(timesMS) != len(area) {
		return f
	}
	typical := median(present)
	for i := 1; i < len(area); i++ {
		dt := max(timesMS[i]-timesMS[i-1], 40)
		if jump := math.Abs(area[i]-area[i-1]) / typical * 40 / dt; jump > o.WarnJump {
			f = append(f, Finding{GateAreaJump, Warn, i, fmt.Sprintf(
				"area changes by %.0f %% from frame %d to %d", 100*jump*dt/40, i-1, i)})
		}
	}
	return f
}

// CheckForeshortening compares the lengths of the four- and the two-chamber
// view at one phase.
func CheckForeshortening(l4, l2 float64, o QualityOptions) []Finding {
	return above(GateForeshortening, -1, math.Abs(l4-l2)/max(l4, l2), o.WarnForeshortening, o.RejectForeshortening,
		fmt.Sprintf("relative difference of the apical lengths (%.0f and %.0f mm)", l4, l2))
}

// CheckPlanes grades the ED and the ES plane of one beat: the ventricle must
// shorten and both shapes must be those of a cavity. With calibrated true,
// lengths and volumes must also lie in a plausible range.
func CheckPlanes(ed, es Plane, calibrated bool, o QualityOptions) []Finding {
	var f []Finding
	if es.Axis.LengthMM >= ed.Axis.LengthMM {
		f = append(f, Finding{GateLengths, Warn, -1, fmt.Sprintf(
			"long axis does not shorten (ES %.3g, ED %.3g)", es.Axis.LengthMM, ed.Axis.LengthMM)})
	}
	for _, p := range []struct {
		name string
		Plane
	}{{"ED", ed}, {"ES", es}} {
		// A half ellipse of length L and base diameter D has the area pi/4*L*D.
		aspect := math.Pi / 4 * p.Axis.LengthMM * p.Axis.LengthMM / p.AreaMM2
		if !(aspect >= o.MinAspect && aspect <= o.MaxAspect) {
			f = append(f, Finding{GateShape, Reject, -1, fmt.Sprintf(
				"%s outline has a length of %.1f times its width", p.name, aspect)})
		}
		if !calibrated {
			continue
		}
		if l := p.Axis.LengthMM; !(l >= o.MinLengthMM && l <= o.MaxLengthMM) {
			f = append(f, Finding{GatePlausibility, Reject, -1, fmt.Sprintf("%s length of %.0f mm", p.name, l)})
		}
		if v := p.VolumeML; !(v >= o.MinVolumeML && v <= o.MaxVolumeML) {
			f = append(f, Finding{GatePlausibility, Reject, -1, fmt.Sprintf("%s volume of %.1f mL", p.name, v)})
		}
	}
	return append(f, CheckEF(EF(ed.VolumeML, es.VolumeML), o)...)
}

// CheckEF rejects an ejection fraction outside the plausible range.
func CheckEF(ef float64, o QualityOptions) []Finding {
	if ef >= o.MinEF && ef <= o.MaxEF {
		return nil
	}
	return []Finding{{GatePlausibility, Reject, -1, fmt.Sprintf("ejection fraction of %.0f %%", ef)}}
}

// CheckEFSpread grades the range of EF over the beats of one loop.
func CheckEFSpread(efs []float64, o QualityOptions) []Finding {
	if s := Summarize(efs); s.N > 1 {
		return above(GateBeatSpread, -1, s.Max-s.Min, o.WarnEFSpread, o.RejectEFSpread,
			"range of EF over the beats in points")
	}
	return nil
}

// CheckClipped warns of beats that the clip does not show whole.
func CheckClipped(beats []Beat) []Finding {
	for _, b := range beats {
		switch {
		case b.Clipped:
			return []Finding{{GateClippedSystole, Warn, b.ES,
				"the clip ends before the cavity fills again: the end-systolic values may be too large, EF too small"}}
		case b.Crossed:
			return []Finding{{GateClippedSystole, Warn, b.ES,
				"the clip shows no whole contraction: end-systole is of one beat, end-diastole of the next"}}
		}
	}
	return nil
}

// CheckFrameRate warns of a low frame rate.
func CheckFrameRate(timesMS []float64, o QualityOptions) []Finding {
	n := len(timesMS)
	if n < 2 || timesMS[n-1] <= timesMS[0] {
		return nil
	}
	if fps := 1000 * float64(n-1) / (timesMS[n-1] - timesMS[0]); fps < o.WarnFrameRate {
		return []Finding{{GateFrameRate, Warn, -1, fmt.Sprintf("%.1f frames per second", fps)}}
	}
	return nil
}

// CheckCalipers rejects parasternal calipers that are not on one line.
func CheckCalipers(l Linear, frame int, o QualityOptions) []Finding {
	if l.BendDeg <= o.RejectBend {
		return nil
	}
	return []Finding{{GateCaliperBend, Reject, frame, fmt.Sprintf(
		"calipers bend by %.0f degrees, %.0f allowed", l.BendDeg, o.RejectBend)}}
}

// Rejected reports whether any finding keeps the number out of the report.
func Rejected(findings []Finding) bool {
	for _, f := range findings {
		if f.Severity == Reject {
			return true
		}
	}
	return false
}

// Options are all thresholds of this package.
type Options struct {
	Contour ContourOptions
	Axis    AxisOptions
	Beats   BeatOptions
	Quality QualityOptions
}

// DefaultOptions returns the documented defaults.
func DefaultOptions() Options {
	return Options{DefaultContourOptions(), DefaultAxisOptions(), DefaultBeatOptions(), DefaultQualityOptions()}
}
