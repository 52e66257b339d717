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
	GateAnnulus        Gate = "annulus"
	GateLeak           Gate = "leak"
	GateAreaVolume     Gate = "area-volume"
	GatePlace          Gate = "place"
	GateWall           Gate = "wall"
	GatePrecision      Gate = "precision"
	GateBeats          Gate = "beats"
	GateVolumes        Gate = "volumes"
	GateBeatVolumes    Gate = "beat-volumes"
	GateWeakBeats      Gate = "weak-beats"
	GateSomeWeakBeats  Gate = "some-weak-beats"
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

// Phase is a moment of the heart cycle.
type Phase string

// The phases that are measured.
const (
	ED Phase = "ED"
	ES Phase = "ES"
)

// String is the phase in words.
func (p Phase) String() string {
	switch p {
	case ED:
		return "end-diastole"
	case ES:
		return "end-systole"
	}
	return "both phases"
}

// Finding is the outcome of a quality gate that did not pass.
type Finding struct {
	Gate     Gate     `json:"gate"`
	Severity Severity `json:"severity"`
	// Frame is the frame it is about, or -1.
	Frame int `json:"frame"`
	// Phase is the phase whose values it concerns; empty for all.
	Phase Phase `json:"phase,omitempty"`
	// Reason is one sentence for a reader.
	Reason string `json:"reason"`
}

// QualityOptions are the thresholds of the quality gates. A value between a
// Warn and a Reject threshold passes with a warning.
type QualityOptions struct {
	// Least certainty of an outline (see [Outline]) at either phase. The warning
	// was fitted to the shipped network 0.4 on 200 patients that it had not seen
	// (CAMUS, A4C): the 142 above both levels have a mean error of EF of 4.8
	// points, 11 % of them more than 10; the 58 others 8.6 points, 28 %.
	WarnCertaintyED, WarnCertaintyES, RejectCertainty float64
	// MinView is the probability of the view. Own choice.
	WarnView, RejectView float64
	// SectorMargin is how near to the edge of the sector, as a part of the
	// sector's larger side, a contour point counts as touching it: about 5 mm, a
	// wall's thickness. WarnBorder and RejectBorder: of 495 patients (CAMUS) 10 %
	// have more than 0.15 of the outline there at end-diastole and 2 % more than
	// 0.24; with the lateral wall cut off 95 % have more than 0.37.
	SectorMargin float64
	// WarnNarrowed and RejectNarrowed are the part of a wall from base to apex that
	// lies nearer to a side of the sector that is narrowed (see [Narrowed]) than
	// 0.15 and 0.10 of the ventricle's length: the wall, 0.07 to 0.11 of the length
	// thick, is then not in the picture, and the network draws the cavity smaller.
	// Of 470 patients (CAMUS) none have a part of a wall there; with a side of the
	// sector cut so that the outline loses a twelfth of its area 19 of 20 have more
	// than 0.2 within 0.15 at end-diastole. RejectNarrowed is our own choice.
	WarnNarrowed, RejectNarrowed float64
	// WarnUnseen and RejectUnseen are the part of an outline beside which no wall
	// is seen (package evidence gives the distribution).
	WarnUnseen, RejectUnseen float64
	// WarnTurn is how far in degrees the axis may turn from the usual 10 to the
	// right of the transducer's direction, WarnMove and RejectMove how far the
	// middle of the cavity may move from ED to ES, as a part of the length. Of 470
	// patients (CAMUS) all lie within 31 degrees, and move by 0.17 at most.
	WarnTurn, WarnMove, RejectMove float64
	// BorderMargin in source pixels within which a contour point counts as
	// touching, and the part of the contour that may touch. Own choice.
	BorderMargin             float64
	WarnBorder, RejectBorder float64
	// WarnStray and RejectStray are the part of cells outside the largest
	// component. Own choice.
	WarnStray, RejectStray float64
	// WarnLonger and RejectLonger are how much longer the cavity may be at ES
	// than at ED, as a part of its length at ED. Own choice.
	WarnLonger, RejectLonger float64
	// WarnLeak and RejectLeak are the part of an outline beyond the line between
	// the hinge points. Own choice.
	WarnLeak, RejectLeak float64
	// WarnPrecision and RejectPrecision are the uncertainty of EF, in points, from
	// the noise of the outlines, and WarnAnnulus the part of a phase's frames in
	// which the mitral annulus should be found, WarnAnnulusOften that of all
	// frames; between 1-WarnAnnulusOften and that the loop is rejected. Own choice; on 495 patients (CAMUS) it was found in every frame.
	WarnPrecision, RejectPrecision, WarnAnnulus, WarnAnnulusOften float64
	// WarnAreaVolume and RejectAreaVolume are the difference in points between
	// EF and the EF that the fractional area change suggests. Of 470 patients
	// (CAMUS) all lie within 10.
	WarnAreaVolume, RejectAreaVolume float64
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
	// WarnFramesPerBeat is how many frames a beat should have.
	WarnFrameRate, WarnFramesPerBeat float64
	// Plausible ranges; outside them the number is rejected. Own choice, wide:
	// they catch wrong calibrations and wrong outlines, not disease.
	// ImpossibleEF is an EF below which the outlines contradict each other;
	// between it and SevereEF the answer is "severely reduced".
	ImpossibleEF, SevereEF, MaxEF float64
	MinLengthMM, MaxLengthMM      float64
	MinVolumeML, MaxVolumeML      float64
	// MinAspect and MaxAspect bound length over mean diameter of the cavity, and
	// WarnAspectED and WarnAspectES are where an outline is unusually long: of 470
	// patients (CAMUS) 1 % exceed 2.1 at end-diastole and 2.6 at end-systole.
	MinAspect, MaxAspect       float64
	WarnAspectED, WarnAspectES float64
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
		WarnCertaintyED: 0.87, WarnCertaintyES: 0.84, RejectCertainty: 0.60,
		WarnView: 0.80, RejectView: 0.50,
		SectorMargin: 0.034, WarnNarrowed: 0.2, RejectNarrowed: 0.6,
		WarnUnseen: 0.25, RejectUnseen: 0.35,
		WarnTurn: 30, WarnMove: 0.20, RejectMove: 0.35,
		BorderMargin: 1.5, WarnBorder: 0.10, RejectBorder: 0.25,
		WarnStray: 0.10, RejectStray: 0.40, WarnJump: 0.25,
		WarnLonger: 0.01, RejectLonger: 0.10,
		WarnLeak: 0.05, RejectLeak: 0.30,
		WarnPrecision: 5, RejectPrecision: 15, WarnAnnulus: 0.5, WarnAnnulusOften: 0.8,
		WarnAreaVolume: 9, RejectAreaVolume: 16,
		WarnCoverage: 0.95, RejectCoverage: 0.60,
		WarnForeshortening: 0.10, RejectForeshortening: 0.35,
		WarnEFSpread: 10, RejectEFSpread: 25,
		WarnFrameRate: 20, WarnFramesPerBeat: 8,
		ImpossibleEF: -10, SevereEF: 5, MaxEF: 90,
		MinLengthMM: 15, MaxLengthMM: 150,
		MinVolumeML: 1, MaxVolumeML: 800,
		MinAspect: 0.9, MaxAspect: 3.5, WarnAspectED: 2.15, WarnAspectES: 2.8,
		WarnSolidity: 0.92, RejectSolidity: 0.82,
		RejectBend: 30,
	}
}

// low and high grade a value that should be high or low; 0 lets it pass.
func low(v, warn, reject float64) Severity {
	switch {
	case math.IsNaN(v) || v < reject:
		return Reject
	case v < warn:
		return Warn
	}
	return 0
}

func high(v, warn, reject float64) Severity {
	switch {
	case math.IsNaN(v) || v > reject:
		return Reject
	case v > warn:
		return Warn
	}
	return 0
}

// finding is nothing for a severity of 0.
func finding(g Gate, s Severity, p Phase, frame int, format string, args ...any) []Finding {
	if s == 0 {
		return nil
	}
	return []Finding{{Gate: g, Severity: s, Frame: frame, Phase: p, Reason: fmt.Sprintf(format, args...)}}
}

// CheckView grades the probability of the view.
func CheckView(probability float64, o QualityOptions) []Finding {
	return finding(GateView, low(probability, o.WarnView, o.RejectView), "", -1,
		"the view is not certain (probability %.2f)", probability)
}

// CheckOutline grades the certainty of one outline, and the part of the
// segmented area that lies outside it.
func CheckOutline(certainty, stray float64, p Phase, frame int, o QualityOptions) []Finding {
	warn := o.WarnCertaintyES
	if p == ED {
		warn = o.WarnCertaintyED
	}
	f := finding(GateConfidence, low(certainty, warn, o.RejectCertainty), p, frame,
		"the outline at %v is uncertain (%.2f of 1)", p, certainty)
	return append(f, finding(GateFragments, high(stray, o.WarnStray, o.RejectStray), p, frame,
		"the cavity at %v falls into pieces: %.0f %% of it lies outside the outline", p, 100*stray)...)
}

// CheckAgreement remarks on an outline that is expected to agree with a
// reader's (Dice) less than limit; expected is 0 where nobody says.
func CheckAgreement(expected, limit float64, p Phase, frame int) []Finding {
	if expected == 0 || expected >= limit {
		return nil
	}
	return finding(GateConfidence, Warn, p, frame,
		"a reader's outline at %v may differ (expected Dice %.2f, usually above %.2f)", p, expected, limit)
}

// CheckBorder grades the part of an outline that runs along the border of the
// image content: a wall that the picture does not show.
func CheckBorder(part float64, p Phase, frame int, o QualityOptions) []Finding {
	return finding(GateBorder, high(part, o.WarnBorder, o.RejectBorder), p, frame,
		"%.0f %% of the outline at %v runs along the edge of the picture: the wall there is not seen", 100*part, p)
}

// SectorPart is the part of a contour that lies on or beyond the edge of the
// imaging sector, a convex polygon; margin is a part of its larger side. Without
// a sector it is 0.
func SectorPart(contour, sector []Point, margin float64) float64 {
	if len(sector) < 3 || len(contour) == 0 {
		return 0
	}
	lo, hi := Bounds(sector)
	near := margin * max(hi.X-lo.X, hi.Y-lo.Y)
	n := 0
	for _, p := range contour {
		if !Contains(sector, p) || distanceToPolygon(sector, p) < near {
			n++
		}
	}
	return float64(n) / float64(len(contour))
}

// The margins to a narrowed side of the sector, as parts of the ventricle's
// length, that WarnNarrowed and RejectNarrowed are about, and the angle in degrees
// between a side and the transducer's direction from which on it is not narrowed:
// the sides of 470 apical pictures (CAMUS) lie at 30 to 45 degrees.
const (
	besideNarrowed, withinNarrowed = 0.15, 0.10
	narrowSide                     = 28
)

// Narrowed are the parts of the wall that is worse off which lie within
// 0.15 and within 0.10 of the length of the axis of a narrowed side of the
// sector, a convex polygon in the picture's direction. The valve and the apex,
// where the sector is narrow for everyone, are left out.
func Narrowed(contour, sector []Point, axis Axis, s Spacing) (beside, within float64) {
	base := s.scale(axis.Base)
	up, length := direction(base, s.scale(axis.Apex))
	if len(sector) < 3 || length == 0 {
		return 0, 0
	}
	var points, near, nearer [2]float64 // of either wall
	for _, p := range contour {
		q := s.scale(p)
		from := sub(q, base)
		if h := dot(from, up) / length; h < 0.15 || h > 0.8 {
			continue
		}
		side := 0
		if from.X*up.Y-from.Y*up.X > 0 {
			side = 1
		}
		points[side]++
		d, angle := nearestSide(sector, q, s)
		if !Contains(sector, p) {
			d = 0
		}
		if angle < narrowSide {
			if d < besideNarrowed*length {
				near[side]++
			}
			if d < withinNarrowed*length {
				nearer[side]++
			}
		}
	}
	for k, n := range points {
		if n > 0 {
			beside, within = max(beside, near[k]/n), max(within, nearer[k]/n)
		}
	}
	return beside, within
}

// nearestSide is the distance in mm of a point, in mm, from a polygon in pixels,
// and the angle in degrees between its nearest side and the vertical.
func nearestSide(polygon []Point, p Point, s Spacing) (mm, angle float64) {
	mm = math.Inf(1)
	a := s.scale(polygon[len(polygon)-1])
	for _, next := range polygon {
		b := s.scale(next)
		dir, l := direction(a, b)
		n := along(a, dir, min(max(dot(sub(p, a), dir), 0), l))
		if d := math.Hypot(p.X-n.X, p.Y-n.Y); d < mm {
			mm, angle = d, math.Atan2(math.Abs(dir.X), math.Abs(dir.Y))*180/math.Pi
		}
		a = b
	}
	return mm, angle
}

// CheckNarrowed grades the parts of a wall beside a narrowed side of the sector.
func CheckNarrowed(beside, within float64, p Phase, frame int, o QualityOptions) []Finding {
	severity := high(beside, o.WarnNarrowed, math.Inf(1))
	if within > o.RejectNarrowed {
		severity = Reject
	}
	return finding(GateBorder, severity, p, frame,
		"the sector is narrowed and ends along %.0f %% of a wall at %v: the wall is not seen whole, the volume may be too small", 100*beside, p)
}

// CheckWall grades the part of an outline beside which the picture shows no
// wall.
func CheckWall(unseen float64, p Phase, frame int, o QualityOptions) []Finding {
	return finding(GateWall, high(unseen, o.WarnUnseen, o.RejectUnseen), p, frame,
		"no wall is seen along %.0f %% of the outline at %v", 100*unseen, p)
}

// CheckPlace grades where the cavity lies and how it moves in a beat: its apex
// on the transducer's side, its axis as in an apical view, its middle nearly at
// rest. mirrored says that the display shows left and right exchanged.
func CheckPlace(ed, es Plane, s Spacing, mirrored bool, o QualityOptions) []Finding {
	apex, base := s.scale(ed.Axis.Apex), s.scale(ed.Axis.Base)
	if apex.Y > base.Y {
		return finding(GatePlace, Reject, "", -1, "the apex lies away from the transducer: the picture is upside down or no apical view")
	}
	turn := math.Atan2(base.X-apex.X, base.Y-apex.Y) * 180 / math.Pi
	if mirrored {
		turn = -turn
	}
	var f []Finding
	if off := turn - usualTurn; math.Abs(off) > o.WarnTurn {
		f = finding(GatePlace, Warn, "", -1, "the ventricle lies at an unusual angle (%.0f degrees): the view may be another, or the display mirrored", turn)
	}
	middle := func(p Plane) Point { return s.scale(midpoint(p.Axis.Apex, p.Axis.Base)) }
	_, moved := direction(middle(ed), middle(es))
	moved /= ed.Axis.LengthMM
	return append(f, finding(GatePlace, high(moved, o.WarnMove, o.RejectMove), "", -1,
		"the cavity moves by %.0f %% of its length between end-diastole and end-systole: the outlines may be of two structures", 100*moved)...)
}

// usualTurn is the median angle of the long axis in apical views, in degrees
// from the transducer's direction to the right (470 patients, CAMUS).
const usualTurn = 10

// BorderPart is the part of a contour that lies on the border of the rectangle
// from lo to hi, in source pixels.
func BorderPart(contour []Point, lo, hi Point, margin float64) float64 {
	if len(contour) == 0 {
		return 0
	}
	n := 0
	for _, p := range contour {
		if p.X < lo.X+margin || p.Y < lo.Y+margin || p.X > hi.X-margin || p.Y > hi.Y-margin {
			n++
		}
	}
	return float64(n) / float64(len(contour))
}

// CheckCoverage grades the part of frames in which the cavity was outlined.
func CheckCoverage(area []float64, o QualityOptions) []Finding {
	if len(area) == 0 {
		return nil
	}
	part := float64(len(present(area))) / float64(len(area))
	return finding(GateCoverage, low(part, o.WarnCoverage, o.RejectCoverage), "", -1,
		"the cavity could be outlined in %.0f %% of the frames only", 100*part)
}

// CheckAreaJumps warns of frames whose area changes faster than a ventricle
// can. Missing areas are NaN.
func CheckAreaJumps(area, timesMS []float64, o QualityOptions) []Finding {
	if len(timesMS) != len(area) {
		return nil
	}
	typical := median(present(area))
	var f []Finding
	for i := 1; i < len(area); i++ {
		dt := timesMS[i] - timesMS[i-1]
		if jump := math.Abs(area[i]-area[i-1]) / typical; jump > o.WarnJump*max(dt, 40)/40 {
			f = append(f, finding(GateAreaJump, Warn, "", i, "the outline jumps: its area changes by %.0f %% from frame %d to %d", 100*jump, i, i+1)...)
		}
	}
	return f
}

// CheckForeshortening compares the lengths of the four- and the two-chamber
// view at one phase.
func CheckForeshortening(l4, l2 float64, p Phase, o QualityOptions) []Finding {
	which := "A2C"
	if l4 < l2 {
		which = "A4C"
	}
	return finding(GateForeshortening, high(math.Abs(l4-l2)/max(l4, l2), o.WarnForeshortening, o.RejectForeshortening), p, -1,
		"the ventricle is %.0f mm long in A4C and %.0f mm in A2C at %v: %s may be foreshortened, the volumes too small", l4, l2, p, which)
}

// CheckPlanes grades the ED and the ES plane of one beat: the ventricle must
// shorten, both shapes must be those of a cavity, and the area must agree with
// the volume. With calibrated true, lengths and volumes must also lie in a
// plausible range.
func CheckPlanes(ed, es Plane, calibrated bool, o QualityOptions) []Finding {
	longer := es.Axis.LengthMM/ed.Axis.LengthMM - 1
	f := finding(GateLengths, high(longer, o.WarnLonger, o.RejectLonger), "", -1,
		"the ventricle is %.0f %% longer at end-systole than at end-diastole: one of the outlines is wrong", 100*longer)
	for _, p := range []struct {
		phase Phase
		Plane
	}{{ED, ed}, {ES, es}} {
		// A half ellipse of length L and base diameter D has the area pi/4*L*D.
		aspect := math.Pi / 4 * p.Axis.LengthMM * p.Axis.LengthMM / p.AreaMM2
		if !(aspect >= o.MinAspect && aspect <= o.MaxAspect) {
			f = append(f, finding(GateShape, Reject, p.phase, -1,
				"the outline at %v is no left ventricle: %.1f times as long as wide", p.phase, aspect)...)
		}
		unusual := o.WarnAspectES
		if p.phase == ED {
			unusual = o.WarnAspectED
		}
		if aspect > unusual && aspect <= o.MaxAspect {
			f = append(f, finding(GateShape, Warn, p.phase, -1,
				"the outline at %v is unusually long, %.1f times as long as wide: it may run into the atrium", p.phase, aspect)...)
		}
		leak := p.CutMM2 / (p.AreaMM2 + p.CutMM2)
		f = append(f, finding(GateLeak, high(leak, o.WarnLeak, o.RejectLeak), p.phase, -1,
			"%.0f %% of the outline at %v lies beyond the mitral valve and was cut off", 100*leak, p.phase)...)
		if !calibrated {
			continue
		}
		if l := p.Axis.LengthMM; !(l >= o.MinLengthMM && l <= o.MaxLengthMM) {
			f = append(f, finding(GatePlausibility, Reject, p.phase, -1, "a length of %.0f mm at %v is not plausible", l, p.phase)...)
		}
		if v := p.VolumeML; !(v >= o.MinVolumeML && v <= o.MaxVolumeML) {
			f = append(f, finding(GatePlausibility, Reject, p.phase, -1, "a volume of %.1f mL at %v is not plausible", v, p.phase)...)
		}
	}
	return append(f, CheckAreaAgainstVolume(ed, es, o)...)
}

// CheckAreaAgainstVolume compares EF with the fractional area change. Cavities
// that keep their shape lose volume as the 3/2 power of the area:
// EF = 1 - (1-FAC)^1.5; those of 470 patients (CAMUS) lie 2 points above it on
// average.
func CheckAreaAgainstVolume(ed, es Plane, o QualityOptions) []Finding {
	ef, fac := EF(ed.VolumeML, es.VolumeML), FAC(ed.AreaMM2, es.AreaMM2)
	expected := 100*(1-math.Pow(max(1-fac/100, 0), 1.5)) + 2
	return finding(GateAreaVolume, high(math.Abs(ef-expected), o.WarnAreaVolume, o.RejectAreaVolume), "", -1,
		"the area shrinks by %.0f %% but the volume by %.0f %%: one of the outlines or axes is wrong", fac, ef)
}

// CheckEF rejects an ejection fraction that no ventricle has. One near nothing
// is no error but a finding: see SevereEF.
func CheckEF(ef float64, o QualityOptions) []Finding {
	if ef >= o.ImpossibleEF && ef <= o.MaxEF {
		return nil
	}
	return finding(GatePlausibility, Reject, "", -1, "an ejection fraction of %.0f %% is not plausible", ef)
}

// CheckEFSpread grades the range of EF over the beats of one loop.
func CheckEFSpread(efs []float64, o QualityOptions) []Finding {
	s := Summarize(efs)
	if s.N < 2 {
		return nil
	}
	severity := high(s.Max-s.Min, o.WarnEFSpread, o.RejectEFSpread)
	if s.N > 2 {
		severity = min(severity, Warn) // the majority holds
	}
	return finding(GateBeatSpread, severity, "", -1, "EF differs between %d beats: %.0f to %.0f %%", s.N, s.Min, s.Max)
}

// CheckPrecision grades how many points the noise of single outlines leaves EF
// uncertain by (95 %).
func CheckPrecision(points float64, o QualityOptions) []Finding {
	return finding(GatePrecision, high(points, o.WarnPrecision, o.RejectPrecision), "", -1,
		"the outlines vary from frame to frame: EF is uncertain by %.0f points", points)
}

// CheckIrregular names an irregular rhythm.
func CheckIrregular(beats int) []Finding {
	if beats < 5 {
		return finding(GateBeats, Warn, "", -1, "irregular rhythm: mean of %d beats, at least 5 are recommended", beats)
	}
	return finding(GateBeats, Warn, "", -1, "irregular rhythm: mean of %d beats", beats)
}

// CheckAnnulus grades the part of a phase's outlines at which both ends of the
// mitral annulus were found. Without them nothing says where the ventricle ends.
func CheckAnnulus(part float64, p Phase, frame int, o QualityOptions) []Finding {
	return finding(GateAnnulus, low(part, o.WarnAnnulus, 0), p, frame,
		"the mitral annulus was not found at %v: an outline that runs into the atrium would not be noticed", p)
}

// CheckAnnulusPhases rejects a beat in which the mitral annulus was found at one of
// the phases and lost at the other: the outline then ends at two different places,
// and at one of them it may run into the atrium. ed and es are parts of the
// phases' outlines.
func CheckAnnulusPhases(ed, es float64, o QualityOptions) []Finding {
	if (ed < o.WarnAnnulus) == (es < o.WarnAnnulus) {
		return nil
	}
	lost := ES
	if ed < o.WarnAnnulus {
		lost = ED
	}
	return finding(GateAnnulus, Reject, "", -1, "the mitral annulus was found at one phase and not at %v: the outline there may run into the atrium", lost)
}

// CheckAnnulusOften grades the part of all outlined frames in which both ends of
// the mitral annulus were found. Where they come and go the outlines end at
// different places within a beat, and nothing is measured; where they are hardly
// ever found the outlines may still agree with each other.
func CheckAnnulusOften(part float64, o QualityOptions) []Finding {
	severity := low(part, o.WarnAnnulusOften, 0)
	if severity == Warn && part > 1-o.WarnAnnulusOften+1e-9 {
		severity = Reject
	}
	return finding(GateAnnulus, severity, "", -1,
		"the mitral annulus was found in %.0f %% of the frames only: an outline that runs into the atrium might not be noticed", 100*part)
}

// CheckClipped warns of beats that the clip does not show whole.
func CheckClipped(beats []Beat) []Finding {
	for _, b := range beats {
		switch {
		case b.Clipped:
			return finding(GateClippedSystole, Warn, ES, b.ES,
				"the clip ends before the ventricle fills again: ESV may be too large and EF too small")
		case b.Late:
			return finding(GateClippedSystole, Warn, ED, b.ED,
				"the clip begins while the ventricle already empties: EDV and EF may be too small")
		case b.Crossed:
			return finding(GateClippedSystole, Warn, "", b.ES,
				"the clip shows no whole contraction: end-systole is of one beat, end-diastole of the next")
		}
	}
	return nil
}

// CheckFrameRate warns of a frame rate that is low, or low for the heart rate:
// end-systole may then fall between two frames. rate is 0 when unknown.
func CheckFrameRate(timesMS []float64, rate float64, o QualityOptions) []Finding {
	fps := FrameRate(timesMS)
	if fps == 0 {
		return nil
	}
	if fps < o.WarnFrameRate {
		return finding(GateFrameRate, Warn, "", -1, "%.0f frames per second: end-systole may fall between frames, EF may be too small", fps)
	}
	if perBeat := 60 * fps / rate; rate > 0 && perBeat < o.WarnFramesPerBeat {
		return finding(GateFrameRate, Warn, "", -1, "%.0f frames in a beat at %.0f per minute: end-systole may fall between frames, EF may be too small",
			perBeat, rate)
	}
	return nil
}

// CheckCalipers rejects parasternal calipers that are not on one line.
func CheckCalipers(l Linear, frame int, o QualityOptions) []Finding {
	if l.BendDeg <= o.RejectBend {
		return nil
	}
	return finding(GateCaliperBend, Reject, "", frame, "the wall points do not lie on one line: it bends by %.0f degrees", l.BendDeg)
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
