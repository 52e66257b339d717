package sr

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
)

// Code is a coded concept: value, coding scheme designator, meaning.
type Code struct {
	Value   string `json:"value"`
	Scheme  string `json:"scheme"`
	Meaning string `json:"meaning"`
}

// Is compares value and scheme; the meaning is not part of a code's identity.
func (c Code) Is(o Code) bool { return c.Value == o.Value && c.Scheme == o.Scheme }

// String is the meaning.
func (c Code) String() string { return c.Meaning }

// Codeset chooses the SNOMED designator of a document. LOINC, DCM and UCUM
// codes are the same in both.
type Codeset string

// The current edition uses SCT; many importers still match SRT literally.
const (
	SCT Codeset = "sct"
	SRT Codeset = "srt"
)

// term is one concept in both code sets.
type term struct{ sct, srt Code }

func (t term) code(cs Codeset) Code {
	if cs == SRT {
		return t.srt
	}
	return t.sct
}

func (t term) is(c Code) bool { return t.sct.Is(c) || t.srt.Is(c) }

func dcm(value, meaning string) term { return same(value, "DCM", meaning) }
func ln(value, meaning string) term  { return same(value, "LN", meaning) }
func same(value, scheme, meaning string) term {
	c := Code{value, scheme, meaning}
	return term{c, c}
}

func snomed(sct, srt, meaning string) term {
	return term{Code{sct, "SCT", meaning}, Code{srt, "SRT", meaning}}
}

// Concept names of the report's structure.
var (
	reportTitle     = dcm("125200", "Adult Echocardiography Procedure Report")
	language        = dcm("121049", "Language of Content Item and Descendants")
	country         = dcm("121046", "Country of Language")
	observerType    = dcm("121005", "Observer Type")
	observerUID     = dcm("121012", "Device Observer UID")
	observerName    = dcm("121013", "Device Observer Name")
	observerMaker   = dcm("121014", "Device Observer Manufacturer")
	observerModel   = dcm("121015", "Device Observer Model Name")
	observerSerial  = dcm("121016", "Device Observer Serial Number")
	device          = dcm("121007", "Device")
	characteristics = dcm("121118", "Patient Characteristics")
	subjectAge      = dcm("121033", "Subject Age")
	subjectSex      = dcm("121032", "Subject Sex")
	height          = ln("8302-2", "Patient Height")
	weight          = ln("29463-7", "Patient Weight")
	bsa             = ln("8277-6", "Body Surface Area")
	bsaFormula      = ln("8278-4", "Body Surface Area Formula")
	stage           = ln("18139-6", "Stage")
	imageLibrary    = dcm("111028", "Image Library")
	findings        = term{Code{"59776-5", "LN", "Findings"}, Code{"121070", "DCM", "Findings"}}
	findingSite     = snomed("363698007", "G-C0E3", "Finding Site")
	leftVentricle   = snomed("87878005", "T-32600", "Left Ventricle")
	leftAtrium      = snomed("82471001", "T-32300", "Left Atrium")
	group           = dcm("125007", "Measurement Group")
	protocol        = dcm("125203", "Acquisition Protocol")
	imageMode       = snomed("399264008", "G-0373", "Image Mode")
	imageView       = dcm("111031", "Image View")
	measureMethod   = snomed("370129005", "G-C036", "Measurement Method")
	cyclePoint      = snomed("272518008", "R-4089A", "Cardiac Cycle Point")
	derivation      = dcm("121401", "Derivation")
	selection       = dcm("121404", "Selection Status")
	deviation       = snomed("386136009", "R-10047", "Standard Deviation")
	beatCount       = same("BEATS", ownScheme, "Number of heart beats measured")
	sourceOf        = dcm("121112", "Source of Measurement")
	algorithmName   = dcm("111001", "Algorithm Name")
	algorithmParam  = dcm("111002", "Algorithm Parameters")
	algorithmVer    = dcm("111003", "Algorithm Version")
	comment         = dcm("121106", "Comment")
	english         = same("en", "RFC5646", "English")
	unitedStates    = same("US", "ISO3166_1", "United States")
)

// structure lists every concept name that is not a measurement.
func structure() []term {
	return []term{
		reportTitle, language, country, observerType, observerUID, observerName, observerMaker, observerModel,
		observerSerial, characteristics, subjectAge, subjectSex, height, weight, bsa, bsaFormula, imageLibrary,
		findings, findingSite, group, protocol, imageMode, imageView, measureMethod, cyclePoint, derivation,
		selection, deviation, beatCount, sourceOf, algorithmName, algorithmParam, algorithmVer, comment, stage,
	}
}

// sexes of CID 7455.
var sexes = map[string]term{"M": dcm("M", "Male"), "F": dcm("F", "Female"), "O": dcm("121102", "Other sex"), "": dcm("U", "Unknown sex")}

// Unit is a unit of measurement of the report, a UCUM code.
type Unit string

// The units of the report. The standard's echo text writes ml, and importers
// compare the string.
const (
	CM        Unit = "cm"
	MM        Unit = "mm"
	CM2       Unit = "cm2"
	ML        Unit = "ml"
	Percent   Unit = "%"
	Gram      Unit = "g"
	GramPerM2 Unit = "g/m2"
	MLPerM2   Unit = "ml/m2"
	LPerMin   Unit = "l/min"
	LPerMinM2 Unit = "l/min/m2"
	BPM       Unit = "{H.B.}/min"
	Ratio     Unit = "1"
	Millisec  Unit = "ms"
	Kilogram  Unit = "kg"
	Year      Unit = "a"
	M2        Unit = "m2"
)

// Code is the unit as a code; the meaning is the usual text.
func (u Unit) Code() Code {
	meaning := string(u)
	switch u {
	case BPM:
		meaning = "BPM"
	case Ratio:
		meaning = "no units"
	case Year:
		meaning = "year"
	}
	return Code{string(u), "UCUM", meaning}
}

// Text is the unit as people write it; empty for a ratio.
func (u Unit) Text() string {
	switch u {
	case BPM:
		return "/min"
	case Ratio:
		return ""
	case ML:
		return "mL"
	case MLPerM2:
		return "mL/m2"
	case LPerMin:
		return "L/min"
	case LPerMinM2:
		return "L/min/m2"
	case Year:
		return "years"
	}
	return string(u)
}

// decimals is the number of decimals that a value in this unit is written with:
// a tenth of a mm, cm2, ml, point or gram, which is finer than any repetition
// of the measurement.
func (u Unit) decimals() int {
	switch u {
	case CM, LPerMin, LPerMinM2, Ratio, M2:
		return 2
	case BPM, Year, Millisec:
		return 0
	}
	return 1
}

// Quantity is what a measurement is about: a concept of CID 12200 (Left
// Ventricle), which unites CID 12201, 12202, 12203, 12220, 12239 and 12240, or
// of CID 12205 (Left Atrium), or an extension that is named.
type Quantity int

// The quantities of the report.
const (
	LVIDd Quantity = iota + 1
	LVIDs
	IVSd
	IVSs
	LVPWd
	LVPWs
	FractionalShortening
	WallRatio
	LVLengthD
	LVLengthS
	EDV
	ESV
	EF
	LVMass
	LVMassIndex
	StrokeVolume
	CardiacOutput
	CardiacIndex
	StrokeIndex
	LVAreaD
	LVAreaS
	FractionalAreaChange
	HeartRate
	EDVIndex
	ESVIndex
	LAArea
	LAVolume
	ContourStrain
)

type quantity struct {
	term
	units []Unit
}

// admits reports whether a value can be one of the quantity: shortening has a
// sign, ratios of change may be nothing, everything else is larger.
func (q quantity) admits(v float64) bool {
	switch {
	case q.term == quantities[ContourStrain].term:
		return true
	case slices.Contains(q.units, Percent):
		return v >= 0
	}
	return v > 0
}

// ownScheme designates codes of our own, where the standard has none.
const ownScheme = "99ECHONODE"

// sites in the order of the template.
var sites = []term{leftVentricle, leftAtrium}

// site is what a quantity is about.
func (q Quantity) site() term {
	if q == LAArea || q == LAVolume {
		return leftAtrium
	}
	return leftVentricle
}

// quantities are the concept names with their allowed units.
var quantities = map[Quantity]quantity{
	// CID 12201
	LVIDd:                {ln("29436-3", "Left Ventricle Internal End Diastolic Dimension"), []Unit{CM, MM}},
	LVIDs:                {ln("29438-9", "Left Ventricle Internal Systolic Dimension"), []Unit{CM, MM}},
	IVSd:                 {ln("18154-5", "Interventricular Septum Diastolic Thickness"), []Unit{CM, MM}},
	IVSs:                 {ln("18158-6", "Interventricular Septum Systolic Thickness"), []Unit{CM, MM}},
	LVPWd:                {ln("18152-9", "Left Ventricle Posterior Wall Diastolic Thickness"), []Unit{CM, MM}},
	LVPWs:                {ln("18156-0", "Left Ventricle Posterior Wall Systolic Thickness"), []Unit{CM, MM}},
	FractionalShortening: {ln("18051-3", "Left Ventricular Fractional Shortening"), []Unit{Percent}},
	WallRatio:            {ln("18155-2", "Interventricular Septum to Posterior Wall Thickness Ratio"), []Unit{Ratio}},
	LVLengthD:            {ln("18077-8", "Left Ventricle diastolic major axis"), []Unit{CM, MM}},
	LVLengthS:            {ln("18076-0", "Left Ventricle systolic major axis"), []Unit{CM, MM}},
	// CID 12202
	EDV: {ln("18026-5", "Left Ventricular End Diastolic Volume"), []Unit{ML}},
	ESV: {ln("18148-7", "Left Ventricular End Systolic Volume"), []Unit{ML}},
	EF:  {ln("18043-0", "Left Ventricular Ejection Fraction"), []Unit{Percent}},
	// CID 12203
	LVMass: {ln("18087-7", "Left Ventricle Mass"), []Unit{Gram}},
	// Extension, from CID 12300: CID 12203 has no index of mass.
	LVMassIndex: {ln("80020-1", "Left ventricular mass (dimension method) 2D / BSA"), []Unit{GramPerM2}},
	// Extensions, from CID 12300: CID 12202 has no indexed volumes.
	EDVIndex: {ln("79997-3", "Left ventricular end diastolic volume biplane (MOD) / BSA"), []Unit{MLPerM2}},
	ESVIndex: {ln("80002-9", "Left ventricular end systolic volume biplane (MOD) / BSA"), []Unit{MLPerM2}},
	// A code of our own: the strains of CID 12304 are of tissue that is followed,
	// this is the change of a contour's length.
	ContourStrain: {same("ELSCL", ownScheme, "Endocardial longitudinal strain from contour length"), []Unit{Percent}},
	// CID 12239
	StrokeVolume:  {snomed("90096001", "F-32120", "Stroke Volume"), []Unit{ML}},
	CardiacOutput: {snomed("82799009", "F-32100", "Cardiac Output"), []Unit{LPerMin}},
	CardiacIndex:  {snomed("54993008", "F-32110", "Cardiac Index"), []Unit{LPerMinM2}},
	StrokeIndex:   {snomed("277381004", "F-00078", "Stroke Index"), []Unit{MLPerM2}},
	// CID 12240
	LVAreaS:              {snomed("399030000", "G-0374", "Left Ventricular Systolic Area"), []Unit{CM2}},
	LVAreaD:              {snomed("399109006", "G-0375", "Left Ventricular Diastolic Area"), []Unit{CM2}},
	FractionalAreaChange: {snomed("399287000", "G-0376", "Left Ventricular Fractional Area Change"), []Unit{Percent}},
	// CID 12205
	LAArea:   {ln("17977-0", "Left Atrium Area A4C view"), []Unit{CM2}},
	LAVolume: {snomed("399235004", "G-0383", "Left Atrium Systolic Volume"), []Unit{ML}},
	// CID 12220
	HeartRate: {ln("8867-4", "Heart rate"), []Unit{BPM}},
}

// String is the concept's meaning.
func (q Quantity) String() string { return quantities[q].sct.Meaning }

// Code is the concept name in a code set; the zero Code for an unknown one.
func (q Quantity) Code(cs Codeset) Code { return quantities[q].code(cs) }

// Units are the units that the quantity may have.
func (q Quantity) Units() []Unit { return slices.Clone(quantities[q].units) }

// QuantityOf finds the quantity of a concept name, in either code set.
func QuantityOf(c Code) (Quantity, bool) {
	for q, e := range quantities {
		if e.is(c) {
			return q, true
		}
	}
	return 0, false
}

// Method is how a value was obtained: CID 12228, 12232, 12227.
type Method int

// The methods of the report. The definition of single plane disks speaks of the
// four-chamber view; a two-chamber result carries its Image View.
const (
	AreaLengthBiplane Method = iota + 1
	AreaLengthSinglePlane
	CubeMethod
	DisksBiplane
	DisksSinglePlane
	Teichholz
	MassAreaLength
	DirectlyMeasured
)

var methods = map[Method]term{
	AreaLengthBiplane:     dcm("125204", "Area-Length Biplane"),
	AreaLengthSinglePlane: dcm("125205", "Area-Length Single Plane"),
	CubeMethod:            dcm("125206", "Cube Method"),
	DisksBiplane:          dcm("125207", "Method of Disks, Biplane"),
	DisksSinglePlane:      dcm("125208", "Method of Disks, Single Plane"),
	Teichholz:             dcm("125209", "Teichholz"),
	MassAreaLength:        dcm("125270", "Left Ventricle Mass by Area Length"),
	DirectlyMeasured:      dcm("125316", "Directly measured"),
}

// String is the method's meaning.
func (m Method) String() string { return methods[m].sct.Meaning }

// Mode is an image mode of CID 12224.
type Mode int

// The image modes of the report.
const (
	Mode2D Mode = iota + 1
	ModeM
)

var modes = map[Mode]term{
	Mode2D: snomed("399064001", "G-03A2", "2D mode"),
	ModeM:  snomed("399155008", "G-0394", "M mode"),
}

// String is the mode's meaning.
func (m Mode) String() string { return modes[m].sct.Meaning }

// View is an image view of CID 12226.
type View int

// The views of the report.
const (
	A2C View = iota + 1
	A4C
	A3C
	PLAX
	PSAX
)

var views = map[View]term{
	A2C:  snomed("399232001", "G-A19B", "Apical two chamber"),
	A4C:  snomed("399214001", "G-A19C", "Apical four chamber"),
	A3C:  snomed("399339008", "G-0395", "Apical long axis"),
	PLAX: snomed("399139001", "G-0396", "Parasternal long axis"),
	PSAX: snomed("399306005", "G-0397", "Parasternal short axis"),
}

// String is the view's meaning.
func (v View) String() string { return views[v].sct.Meaning }

// CyclePoint is a cardiac cycle point of CID 12233.
type CyclePoint int

// The cycle points of the report.
const (
	EndDiastole CyclePoint = iota + 1
	EndSystole
)

var cyclePoints = map[CyclePoint]term{
	EndDiastole: snomed("416190007", "R-FAB5C", "End Diastole"),
	EndSystole:  snomed("416430001", "R-FAB5B", "End Systole"),
}

// String is the point's meaning.
func (p CyclePoint) String() string { return cyclePoints[p].sct.Meaning }

// Derivation is how one value came from several: CID 3627.
type Derivation int

// The derivations of the report.
const (
	Mean Derivation = iota + 1
	Median
	BestValue
	Calculated
	Measured
)

var derivations = map[Derivation]term{
	Mean:       snomed("373098007", "R-00317", "Mean"),
	Median:     snomed("373099004", "R-00319", "Median"),
	BestValue:  snomed("371912002", "R-002E1", "Best value"),
	Calculated: snomed("258090004", "R-41D2D", "Calculated"),
	Measured:   snomed("258104002", "R-41D41", "Measured"),
}

// String is the derivation's meaning.
func (d Derivation) String() string { return derivations[d].sct.Meaning }

// Selection marks the preferred value: CID 224.
type Selection int

// The selection states.
const (
	UserChosen Selection = iota + 1
	MostRecentChosen
	MeanChosen
)

var selections = map[Selection]term{
	UserChosen:       dcm("121410", "User chosen value"),
	MostRecentChosen: dcm("121411", "Most recent value chosen"),
	MeanChosen:       dcm("121412", "Mean value chosen"),
}

// String is the state's meaning.
func (s Selection) String() string { return selections[s].sct.Meaning }

// Stage is a stage of a stress examination, CID 12002.
type Stage int

// The stages of the report.
const (
	Resting Stage = iota + 1
	Stress
	PeakStress
	Recovery
)

var stages = map[Stage]term{
	Resting:    snomed("128975004", "F-01604", "Resting State"),
	Stress:     snomed("432655005", "F-05019", "Cardiac Stress State"),
	PeakStress: snomed("434161005", "F-05028", "Peak cardiac stress state"),
	Recovery:   snomed("432554001", "F-05018", "Cardiac stress recovery state"),
}

// String is the stage's meaning.
func (s Stage) String() string { return stages[s].sct.Meaning }

// AtRest reports whether values of the stage may be taken for those at rest: it
// says so, or says nothing of stress.
func (s Stage) AtRest() bool { return s == Resting || s == 0 }

// CompareStages orders stages as they are told: rest, what has no known name,
// stress, peak, recovery.
func CompareStages(a, b Stage) int {
	place := func(s Stage) int { return slices.Index([]Stage{Resting, 0, Stress, PeakStress, Recovery}, s) }
	return cmp.Compare(place(a), place(b))
}

// agents are drugs that are given to stress the heart, by the beginnings of their
// names.
const agents = `dobut|adenos|atropin|dip[iy]r|regaden|ergono|isopr|nitrogly`

// Words by which machines and people name the stages. They are free text, so
// that more than one may match: the order of stageOf decides.
var (
	immediate = regexp.MustCompile(`\bim[a-z]*[ ._-]*post|\bipost`)
	ahead     = regexp.MustCompile(`\b(pre[ ._-]*|(vor|before|avant|antes|prima)[ ._-]+)((the|der|dem|de|del|dello|della|di|la|le|el|lo) |(dell)?['’]|l['’])?` +
		`(ex|stress|dose|dob|belast|effort|ejerc|eserc|` +
		`sforzo|esfuerzo|inspann|` + agents + `)`)
	after = regexp.MustCompile(`recov|\bpost[ ._-]*(\d|$)|\bpost[ ._-]*(\w+ )?(ex|stress|peak|max|load|dose|dob|belast|effort|ejerc|eserc|sforzo|` +
		`esfuerzo|inspann|treadmill|bike|` + agents + `)|erhol|\bnach[ ._-]*(\w+ )?belast|\bafter|\bapr[eè]s|\bdopo|despu[eé]s`)
	before     = regexp.MustCompile(`\bpre[ ._-]*(peak|max)|\b(vor|before|avant|antes|prima)[ ._-]+(\w+ )?(peak|max|pi[ck]\b|picco\b|spitze)`)
	top        = regexp.MustCompile(`peak|\bmax|\bpic\b|\bpico\b|\bpicco\b|\bpiek|\bspitze`)
	firstStage = regexp.MustCompile(`^stage ?0*1$`)
	rest       = regexp.MustCompile(`\brest(ing)?\d*\b|\bbase|\bbasal|\bruhe|\brepos|\bripos|\breposo|\brust\b|\bpac(ing|ed|er) off`)
	load       = regexp.MustCompile(`stress|exercise|\bex\b|dose|\blow|\bmid|interm|stage|watt|\d ?w\b|mcg|\bug\b|[µμ]g|\bgamma\b|\bdobu|\bdse\b|` +
		`belast|effort|ejercicio|esercizio|sforzo|esfuerzo|inspann|pacing|\bpaced|hand ?grip|valsalva|leg[ -]?rais|\bplr\b|\btilt|ergomet|treadmill|\bbike\b|squat|` +
		`\bntg\b|milrin|(\b(stufe|palier|etapa|fase|niveau|level|step|phase|stadio)|[eé]tape) ?0*([2-9]|1\d)\b|` + agents)
)

// StageOf recognises the Stage Name (0008,2120) of an ultrasound protocol; the
// names are free text of the machine. 0 stands for an unknown one. The pictures
// taken immediately after exercise are the peak stage of a treadmill test.
func StageOf(name string) Stage {
	n := strings.ToLower(strings.Join(strings.Fields(name), " "))
	switch {
	case immediate.MatchString(n):
		return PeakStress
	case before.MatchString(n):
		return Stress
	case ahead.MatchString(n) && !top.MatchString(n):
		return Resting
	case after.MatchString(n):
		return Recovery
	case top.MatchString(n):
		return PeakStress
	case rest.MatchString(n):
		return Resting
	case firstStage.MatchString(n):
		return 0 // which is at rest, as a rule, and where every examination is a protocol
	case load.MatchString(n):
		return Stress
	}
	return 0
}

// StageOfCode recognises a code value of CID 12002, in either code set, as Stage Code
// Sequence (0040,000A) holds it; 0 stands for another one.
func StageOfCode(value string) Stage {
	for s, t := range stages {
		if value != "" && (value == t.sct.Value || value == t.srt.Value) {
			return s
		}
	}
	return 0
}

// BSAFormula is how the body surface area was calculated, CID 3663.
type BSAFormula int

// The formulas of the report.
const (
	DuBois BSAFormula = iota + 1
	Mosteller
)

var bsaFormulas = map[BSAFormula]term{
	DuBois:    dcm("122241", "BSA = 0.007184*WT^ 0.425*HT^0.725"),
	Mosteller: dcm("122244", "BSA = (HT * WT/36) ^0.5"),
}
