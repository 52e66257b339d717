// Package quantity is the table of everything that EchoNode measures: name,
// unit, phase, methods, whether a calibration is needed, code, decimals, the
// range outside which a number is refused, and the normal range by sex.
// Measuring, the report, the pages and the tables read it; a quantity is added
// here and nowhere else.
package quantity

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/sr"
)

// Quantity is one row of the table.
type Quantity struct {
	Name  string // as in [result.Measurement]
	Title string // for people
	Unit  string // UCUM
	Phase string // "ED", "ES", or "" where both phases or none count
	// Methods that give it, the preferred one first.
	Methods []string
	// Calibrated quantities need the size of a pixel; the others are ratios or
	// times.
	Calibrated bool
	// Indexed quantities are divided by the body surface area.
	Indexed bool
	// Decimals that a reader gets; finer than any repetition of the measurement.
	Decimals int
	// Plausible is where a number may lie at all: outside it the calibration or
	// the outline is wrong, and nothing is reported.
	Plausible Range
	// Usual is where the values of adults lie, ill ones too: outside it the size of
	// a pixel, or whatever else it is made of, is in doubt, and the value is
	// remarked on. Own choice.
	Usual  Range
	Normal Normal
	// Child is how the value grows with children, where that is published.
	Child Growth
	// Code in the report; 0 for what has none and stays out of it.
	Code sr.Quantity
	// Core quantities are answered for in every study, measured or not; the
	// others are listed when they were measured.
	Core bool
	// OnRequest quantities are left out of the report unless it is asked for.
	OnRequest bool
}

// Range is a closed range; the zero Range stands for none.
type Range struct{ Lo, Hi float64 }

// Known reports whether there is a range.
func (r Range) Known() bool { return r != Range{} }

// Holds reports whether v lies in the range. No range holds every number, and
// no range holds what is not finite.
func (r Range) Holds(v float64) bool {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return false
	}
	return !r.Known() || v >= r.Lo && v <= r.Hi
}

// Normal are the normal ranges of adults with their source.
type Normal struct {
	Male, Female Range
	Source       string
}

// ASE2015 is the source of the normal ranges: Lang RM et al., Recommendations
// for cardiac chamber quantification by echocardiography in adults, J Am Soc
// Echocardiogr 2015;28:1-39 (ASE/EACVI).
const ASE2015 = "ASE/EACVI 2015"

// PHN2017 is the source of the values of children: Lopez L et al., Relationship of
// echocardiographic z scores adjusted for body surface area to age, sex, race, and
// ethnicity: the Pediatric Heart Network normal echocardiogram database, Circ
// Cardiovasc Imaging 2017;10:e006979. Healthy children up to 18 years; the
// surface by Haycock. Diameter and walls are from the short axis there, the
// length from the four-chamber view, the volume by area and length (5/6).
const PHN2017 = "PHN 2017"

// Growth is the distribution of a quantity, divided by a power of the body surface
// area in m2, in healthy children.
type Growth struct {
	Exponent, Mean, SD float64
	Source             string
	// View from which alone the published values are; "" for any.
	View string
	// Otherwise is how the children were measured where that is not as here.
	Otherwise string
}

// ZScore is by how many standard deviations, to a tenth as it is told, a value of a
// view lies above what is usual for a child of a body surface area (Haycock); ok
// is false where that is not published.
func (q Quantity) ZScore(v float64, view string, bsa float64) (z float64, ok bool) {
	if _, ok := q.NormalForChild(view, bsa); !ok || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, false
	}
	z = (v/math.Pow(bsa, q.Child.Exponent) - q.Child.Mean) / q.Child.SD
	return math.Round(10*z) / 10, true
}

// NormalForChild is the range of z-scores of -2 to 2.
func (q Quantity) NormalForChild(view string, bsa float64) (r Range, ok bool) {
	if q.Child.SD == 0 || !(bsa > 0) || q.Child.View != "" && q.Child.View != view {
		return Range{}, false
	}
	power := math.Pow(bsa, q.Child.Exponent)
	return Range{(q.Child.Mean - 2*q.Child.SD) * power, (q.Child.Mean + 2*q.Child.SD) * power}, true
}

func ase(maleLo, maleHi, femaleLo, femaleHi float64) Normal {
	return Normal{Range{maleLo, maleHi}, Range{femaleLo, femaleHi}, ASE2015}
}

var (
	disks  = []string{result.Biplane, result.SinglePlane}
	planar = []string{result.Planimetry}
	linear = []string{result.Linear}

	areaLength = []string{result.BiplaneAreaLength, result.AreaLength}
)

// table in the order in which reports list it.
var table = []Quantity{
	{Name: result.EF, Title: "Ejection fraction", Unit: result.UnitPercent, Methods: disks, Decimals: 0,
		Plausible: Range{0, 90}, Normal: ase(52, 72, 54, 74), Code: sr.EF, Core: true},
	{Name: result.EDV, Title: "End-diastolic volume", Unit: result.UnitVolume, Phase: "ED", Methods: disks, Calibrated: true, Decimals: 1,
		Plausible: Range{5, 800}, Usual: Range{30, 450}, Normal: ase(62, 150, 46, 106), Code: sr.EDV, Core: true,
		Child: Growth{Exponent: 1.30, Mean: 62.02, SD: 11.94, Source: PHN2017, Otherwise: "by area and length, 5/6"}},
	{Name: result.ESV, Title: "End-systolic volume", Unit: result.UnitVolume, Phase: "ES", Methods: disks, Calibrated: true, Decimals: 1,
		Plausible: Range{1, 750}, Normal: ase(21, 61, 14, 42), Code: sr.ESV, Core: true},
	{Name: result.SV, Title: "Stroke volume", Unit: result.UnitVolume, Methods: disks, Calibrated: true, Decimals: 1,
		Plausible: Range{1, 300}, Usual: Range{10, 250}, Code: sr.StrokeVolume, Core: true},
	{Name: result.CO, Title: "Cardiac output", Unit: result.UnitFlow, Methods: disks, Calibrated: true, Decimals: 1,
		Plausible: Range{0.2, 30}, Usual: Range{1, 20}, Code: sr.CardiacOutput},
	{Name: result.EDVIndex, Title: "End-diastolic volume index", Unit: result.UnitVolumeIndex, Phase: "ED", Methods: disks, Calibrated: true,
		Indexed: true, Decimals: 0,
		Plausible: Range{3, 500}, Normal: ase(34, 74, 29, 61), Code: sr.EDVIndex},
	{Name: result.ESVIndex, Title: "End-systolic volume index", Unit: result.UnitVolumeIndex, Phase: "ES", Methods: disks, Calibrated: true,
		Indexed: true, Decimals: 0,
		Plausible: Range{0.5, 470}, Normal: ase(11, 31, 8, 24), Code: sr.ESVIndex},
	{Name: result.SVIndex, Title: "Stroke volume index", Unit: result.UnitVolumeIndex, Methods: disks, Calibrated: true, Indexed: true, Decimals: 0,
		Plausible: Range{0.5, 200}, Code: sr.StrokeIndex},
	{Name: result.CI, Title: "Cardiac index", Unit: result.UnitFlowIndex, Methods: disks, Calibrated: true, Indexed: true, Decimals: 1,
		Plausible: Range{0.1, 20}, Code: sr.CardiacIndex},
	{Name: result.FAC, Title: "Fractional area change", Unit: result.UnitPercent, Methods: planar, Decimals: 0,
		Plausible: Range{0, 90}, Code: sr.FractionalAreaChange, Core: true},
	{Name: result.AreaED, Title: "End-diastolic area", Unit: result.UnitArea, Phase: "ED", Methods: planar, Calibrated: true, Decimals: 1,
		Plausible: Range{2, 150}, Code: sr.LVAreaD, Core: true},
	{Name: result.AreaES, Title: "End-systolic area", Unit: result.UnitArea, Phase: "ES", Methods: planar, Calibrated: true, Decimals: 1,
		Plausible: Range{1, 140}, Code: sr.LVAreaS, Core: true},
	{Name: result.LenED, Title: "End-diastolic length", Unit: result.UnitLength, Phase: "ED", Methods: planar, Calibrated: true, Decimals: 1,
		Plausible: Range{1.5, 15}, Usual: Range{5, 12.5}, Code: sr.LVLengthD, Core: true,
		Child: Growth{Exponent: 0.45, Mean: 6.31, SD: 0.46, Source: PHN2017, View: "A4C"}},
	{Name: result.LenES, Title: "End-systolic length", Unit: result.UnitLength, Phase: "ES", Methods: planar, Calibrated: true, Decimals: 1,
		Plausible: Range{1.5, 15}, Code: sr.LVLengthS, Core: true},
	{Name: result.IVSd, Title: "Septal thickness", Unit: result.UnitLength, Phase: "ED", Methods: linear, Calibrated: true, Decimals: 1,
		Plausible: Range{0.2, 4}, Normal: ase(0.6, 1.0, 0.6, 0.9), Code: sr.IVSd, Core: true,
		Child: Growth{Exponent: 0.40, Mean: 0.58, SD: 0.09, Source: PHN2017, Otherwise: "in the short axis"}},
	{Name: result.LVIDd, Title: "Internal diameter, diastole", Unit: result.UnitLength, Phase: "ED", Methods: linear, Calibrated: true, Decimals: 1,
		Plausible: Range{1, 12}, Usual: Range{2.5, 9}, Normal: ase(4.2, 5.8, 3.8, 5.2), Code: sr.LVIDd, Core: true,
		Child: Growth{Exponent: 0.45, Mean: 3.89, SD: 0.33, Source: PHN2017, Otherwise: "in the short axis"}},
	{Name: result.LVPWd, Title: "Posterior wall thickness", Unit: result.UnitLength, Phase: "ED", Methods: linear, Calibrated: true, Decimals: 1,
		Plausible: Range{0.2, 4}, Normal: ase(0.6, 1.0, 0.6, 0.9), Code: sr.LVPWd, Core: true,
		Child: Growth{Exponent: 0.40, Mean: 0.57, SD: 0.09, Source: PHN2017, Otherwise: "in the short axis"}},
	{Name: result.LVIDs, Title: "Internal diameter, systole", Unit: result.UnitLength, Phase: "ES", Methods: linear, Calibrated: true, Decimals: 1,
		Plausible: Range{0.5, 11}, Normal: ase(2.5, 4.0, 2.2, 3.5), Code: sr.LVIDs, Core: true},
	{Name: result.FS, Title: "Fractional shortening", Unit: result.UnitPercent, Methods: linear, Decimals: 0,
		Plausible: Range{0, 80}, Code: sr.FractionalShortening, Core: true},
	{Name: result.Mass, Title: "Mass", Unit: result.UnitMass, Phase: "ED", Methods: []string{result.Cube}, Calibrated: true, Decimals: 0,
		Plausible: Range{10, 1000}, Normal: ase(88, 224, 67, 162), Code: sr.LVMass, Core: true},
	{Name: result.MassIndex, Title: "Mass index", Unit: result.UnitMassIndex, Phase: "ED", Methods: []string{result.Cube}, Calibrated: true,
		Indexed: true, Decimals: 0,
		Plausible: Range{10, 500}, Normal: ase(49, 115, 43, 95), Code: sr.LVMassIndex},
	{Name: result.RWT, Title: "Relative wall thickness", Unit: result.UnitRatio, Phase: "ED", Methods: linear, Decimals: 2,
		Plausible: Range{0.1, 2}, Normal: ase(0.24, 0.42, 0.22, 0.42), Core: true},
	{Name: result.LAArea, Title: "Left atrial area", Unit: result.UnitArea, Phase: "ES", Methods: planar, Calibrated: true, Decimals: 1,
		Plausible: Range{2, 100}, Code: sr.LAArea},
	{Name: result.LAVolume, Title: "Left atrial volume", Unit: result.UnitVolume, Phase: "ES", Methods: areaLength, Calibrated: true, Decimals: 0,
		Plausible: Range{3, 500}, Code: sr.LAVolume},
	{Name: result.LAVolumeIndex, Title: "Left atrial volume index", Unit: result.UnitVolumeIndex, Phase: "ES", Methods: areaLength, Calibrated: true,
		Indexed: true, Decimals: 0,
		Plausible: Range{1, 300}, Normal: ase(16, 34, 16, 34)},
	{Name: result.AnnulusSeptal, Title: "Image-based MAPSE, septal", Unit: result.UnitLength, Methods: []string{result.PointTracking},
		Calibrated: true, Decimals: 1,
		Plausible: Range{0, 4}},
	{Name: result.AnnulusLateral, Title: "Image-based MAPSE, lateral", Unit: result.UnitLength, Methods: []string{result.PointTracking},
		Calibrated: true, Decimals: 1,
		Plausible: Range{0, 4}},
	{Name: result.ContourStrain, Title: "Endocardial longitudinal strain from contour length", Unit: result.UnitPercent,
		Methods: []string{result.ContourLength}, Decimals: 0,
		Plausible: Range{-50, 10}, Code: sr.ContourStrain, OnRequest: true},
	{Name: result.Sphericity, Title: "Sphericity (width over length)", Unit: result.UnitRatio, Phase: "ED", Methods: planar, Decimals: 2,
		Plausible: Range{0.2, 1.2}},
	{Name: result.PeakEjection, Title: "Peak ejection rate", Unit: result.UnitPerSecond, Methods: []string{result.VolumeCurve}, Decimals: 1,
		Plausible: Range{0.1, 10}},
	{Name: result.PeakFilling, Title: "Peak filling rate", Unit: result.UnitPerSecond, Methods: []string{result.VolumeCurve}, Decimals: 1,
		Plausible: Range{0.1, 10}},
	{Name: result.HR, Title: "Heart rate", Unit: result.UnitRate, Decimals: 0, Plausible: Range{20, 300}, Code: sr.HeartRate, Core: true},
}

var byName = func() map[string]*Quantity {
	m := make(map[string]*Quantity, len(table))
	for i := range table {
		m[table[i].Name] = &table[i]
	}
	return m
}()

// All is the table, in the order of reports.
func All() []Quantity { return slices.Clone(table) }

// Of finds the row of a name.
func Of(name string) (Quantity, bool) {
	q, ok := byName[name]
	if !ok {
		return Quantity{}, false
	}
	return *q, true
}

// Unusual says that a value is none that adults have; nil for one that they have.
func (q Quantity) Unusual(v float64) *result.Reason {
	if q.Usual.Holds(v) {
		return nil
	}
	r := result.Reasonf(result.UnusualSize, "%s of %s %s is unusual for an adult: is the size of a pixel right?", q.Title, q.Format(v), q.UnitText())
	if q.Name == result.CO {
		r.Text = fmt.Sprintf("%s of %s %s is unusual for an adult: are volume and heart rate right?", q.Title, q.Format(v), q.UnitText())
	}
	return &r
}

// Round rounds a value to the decimals of its quantity.
func (q Quantity) Round(v float64) float64 {
	p := math.Pow(10, float64(q.Decimals))
	return math.Round(v*p) / p
}

// Format writes a value with the decimals of its quantity, without the unit: the
// number that Round gives, as the report codes it.
func (q Quantity) Format(v float64) string {
	return strconv.FormatFloat(q.Round(v), 'f', q.Decimals, 64)
}

// UnitText is the unit as people write it; empty for a ratio.
func (q Quantity) UnitText() string { return UnitText(q.Unit) }

// UnitText is a UCUM unit as people write it; empty for a ratio.
func UnitText(unit string) string {
	if unit == result.UnitPerSecond {
		return "EDV/s"
	}
	return sr.Unit(unit).Text()
}

// Sexes of normal ranges, as in Patient's Sex (0010,0040).
const (
	Male   = "M"
	Female = "F"
)

// NormalFor is the normal range for a sex. Without the sex it is what both
// ranges share, so that nothing is called normal that is not normal in both;
// ok is false where there is none.
func (q Quantity) NormalFor(sex string) (r Range, ok bool) {
	m, f := q.Normal.Male, q.Normal.Female
	switch {
	case sex == Male:
		r = m
	case sex == Female:
		r = f
	case m.Known() && f.Known():
		r = Range{max(m.Lo, f.Lo), min(m.Hi, f.Hi)}
	}
	return r, r.Known()
}

// Bands of the ejection fraction.
const (
	BandAbove    = "above normal"
	BandNormal   = "normal"
	BandMild     = "mildly reduced"
	BandModerate = "moderately reduced"
	BandSevere   = "severely reduced"
)

// EFBand names the range of an ejection fraction in per cent, rounded to whole
// points as it is reported (ASE/EACVI 2015, table 4: men 52-72 normal, 41-51
// mildly, 30-40 moderately, below 30 severely reduced; women 54-74, 41-53,
// 30-40, below 30). Without the sex, 52 and 53 are called "normal or mildly
// reduced" and 73 and 74 "normal or above normal".
func EFBand(ef float64, sex string) string {
	ef = math.Round(ef)
	switch {
	case math.IsNaN(ef):
		return ""
	case ef < 30:
		return BandSevere
	case ef <= 40:
		return BandModerate
	case ef <= 51:
		return BandMild
	case ef <= 53 && sex == Female:
		return BandMild
	case ef <= 53 && sex != Male:
		return BandNormal + " or " + BandMild
	case ef <= 72:
		return BandNormal
	case ef <= 74 && sex == Female:
		return BandNormal
	case ef <= 74 && sex != Male:
		return BandNormal + " or " + BandAbove
	}
	return BandAbove
}

// AtRest reports whether the values of a stage count as those at rest, by its name.
func AtRest(stage string) bool { return sr.StageOf(stage).AtRest() }

// SaysRest reports whether a stage's name says that the heart was at rest.
func SaysRest(stage string) bool { return sr.StageOf(stage) == sr.Resting }

// SaysStress reports whether a stage's name says that the heart was under stress, or at
// its peak.
func SaysStress(stage string) bool {
	s := sr.StageOf(stage)
	return s == sr.Stress || s == sr.PeakStress
}

// RestingEF is the ejection fraction of a study at rest: of the stage that is
// named so or, where none is, of the first one that has a value and whose name
// says nothing of stress. It is nil where that was not measured.
func RestingEF(ms []result.Measurement) *result.Measurement {
	named := slices.ContainsFunc(ms, func(m result.Measurement) bool { return sr.StageOf(m.Stage) == sr.Resting })
	for i, m := range ms {
		if st := sr.StageOf(m.Stage); m.Name == result.EF && m.Value != nil && (st == sr.Resting || !named && st == 0) {
			return &ms[i]
		}
	}
	return nil
}
