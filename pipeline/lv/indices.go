package lv

import "math"

// EF is the ejection fraction in percent of end-diastolic and end-systolic
// volume; NaN when there is no end-diastolic volume.
func EF(edv, esv float64) float64 { return fraction(edv, esv) }

// FAC is the fractional area change in percent.
func FAC(eda, esa float64) float64 { return fraction(eda, esa) }

// FS is the fractional shortening in percent of the internal dimensions.
func FS(lvidd, lvids float64) float64 { return fraction(lvidd, lvids) }

func fraction(d, s float64) float64 {
	if !(d > 0) {
		return math.NaN()
	}
	return 100 * (d - s) / d
}

// StrokeVolume is EDV - ESV in mL.
func StrokeVolume(edv, esv float64) float64 { return edv - esv }

// CardiacOutput is in L/min for a stroke volume in mL and a rate per minute.
func CardiacOutput(sv, heartRate float64) float64 { return sv * heartRate / 1000 }

// CubeMass is the left ventricular mass in g from end-diastolic dimensions in
// cm: 0.8*1.04*((IVSd+LVIDd+PWd)^3 - LVIDd^3) + 0.6 (Devereux 1986,
// ASE/EACVI 2015).
func CubeMass(ivsd, lvidd, pwd float64) float64 {
	outer := ivsd + lvidd + pwd
	return 0.8*1.04*(outer*outer*outer-lvidd*lvidd*lvidd) + 0.6
}

// RWT is the relative wall thickness 2*PWd/LVIDd.
func RWT(pwd, lvidd float64) float64 {
	if !(lvidd > 0) {
		return math.NaN()
	}
	return 2 * pwd / lvidd
}

// BSAHaycock is the body surface area in m2 by the formula that is used for
// children (Haycock 1978).
func BSAHaycock(kg, cm float64) float64 {
	return 0.024265 * math.Pow(kg, 0.5378) * math.Pow(cm, 0.3964)
}

// BSADuBois is the body surface area in m2 (Du Bois 1916).
func BSADuBois(kg, cm float64) float64 {
	return 0.007184 * math.Pow(kg, 0.425) * math.Pow(cm, 0.725)
}

// Sex selects sex-specific limits.
type Sex int

// The sexes for which limits are published.
const (
	SexUnknown Sex = iota
	Male
	Female
)

// Geometry is the pattern of left ventricular remodelling.
type Geometry string

// The four patterns of ASE/EACVI 2015, figure 7.
const (
	GeometryUnknown       Geometry = ""
	NormalGeometry        Geometry = "normal geometry"
	ConcentricRemodelling Geometry = "concentric remodelling"
	EccentricHypertrophy  Geometry = "eccentric hypertrophy"
	ConcentricHypertrophy Geometry = "concentric hypertrophy"
)

// ClassifyGeometry names the pattern from the mass index in g/m2 (linear
// method: limits 115 for men and 95 for women) and the relative wall thickness
// (limit 0.42). Without the sex, the pattern is given only where both limits
// agree.
func ClassifyGeometry(massIndex, rwt float64, sex Sex) Geometry {
	if !(massIndex > 0) || !(rwt > 0) {
		return GeometryUnknown
	}
	var hypertrophy bool
	switch {
	case sex == Male:
		hypertrophy = massIndex > 115
	case sex == Female:
		hypertrophy = massIndex > 95
	case massIndex > 115:
		hypertrophy = true
	case massIndex > 95:
		return GeometryUnknown
	}
	switch concentric := rwt > 0.42; {
	case hypertrophy && concentric:
		return ConcentricHypertrophy
	case hypertrophy:
		return EccentricHypertrophy
	case concentric:
		return ConcentricRemodelling
	}
	return NormalGeometry
}

// Calipers are the four points of a parasternal long-axis frame, in source
// pixels: right and left side of the septum, inner and outer edge of the
// posterior wall.
type Calipers struct {
	IVSRight, IVSLeft, PWInner, PWOuter Point
}

// Linear holds the linear dimensions of one frame in mm.
type Linear struct {
	IVSmm, LVIDmm, PWmm float64
	// BendDeg is the largest angle between neighbouring calipers; they should
	// lie on one line perpendicular to the long axis.
	BendDeg float64
	// Disordered says that the points do not follow each other along the line
	// from the first to the last: two of them are interchanged, or coincide.
	Disordered bool
}

// Measure gives the dimensions between the caliper points.
func (c Calipers) Measure(s Spacing) Linear {
	a, b := s.scale(c.IVSRight), s.scale(c.IVSLeft)
	p, q := s.scale(c.PWInner), s.scale(c.PWOuter)
	d1, l1 := direction(a, b)
	d2, l2 := direction(b, p)
	d3, l3 := direction(p, q)
	angle := func(u, v Point) float64 {
		return math.Acos(min(max(dot(u, v), -1), 1)) * 180 / math.Pi
	}
	along, whole := direction(a, q)
	ordered := whole > 0 && l1*dot(d1, along) > 0 && l2*dot(d2, along) > 0 && l3*dot(d3, along) > 0
	return Linear{IVSmm: l1, LVIDmm: l2, PWmm: l3, BendDeg: max(angle(d1, d2), angle(d2, d3)), Disordered: !ordered}
}

// Summary describes values over several beats.
type Summary struct {
	N                  int
	Mean, SD, Min, Max float64
}

// Summarize gives mean, sample standard deviation (0 for one value), minimum
// and maximum of the finite values.
func Summarize(values []float64) Summary {
	s := Summary{Min: math.Inf(1), Max: math.Inf(-1)}
	for _, v := range values {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			continue
		}
		s.N++
		s.Mean += v
		s.Min, s.Max = min(s.Min, v), max(s.Max, v)
	}
	if s.N == 0 {
		nan := math.NaN()
		return Summary{Mean: nan, SD: nan, Min: nan, Max: nan}
	}
	s.Mean /= float64(s.N)
	for _, v := range values {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			s.SD += (v - s.Mean) * (v - s.Mean)
		}
	}
	if s.N > 1 {
		s.SD = math.Sqrt(s.SD / float64(s.N-1))
	}
	return s
}
