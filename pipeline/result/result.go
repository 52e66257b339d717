// Package result defines the document that an analysis produces: what was
// found in every loop of a study, what was measured, and the reason wherever
// something was not. `echonode analyze --json` prints it, the node stores it
// beside each run, and the structured report is built from it.
//
// The schema is versioned by the string in Document.Schema. Fields are added
// within a version; a field is only removed or redefined under a new one.
//
// Coordinates are source pixels: x right, y down, origin at the centre of the
// top-left pixel of the frame as stored in the source object. Frame indices
// are 0-based. Times are milliseconds from the first frame. Lengths are cm,
// areas cm2, volumes ml, masses g, ratios per cent, as units in the report.
package result

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Schema names the version of Document.
const Schema = "echonode.result/1"

// Document is the root of the JSON output.
type Document struct {
	Schema   string    `json:"schema"`
	Created  time.Time `json:"created"`
	Software Software  `json:"software"`
	Model    Model     `json:"model"`
	// Notice reminds every consumer what these numbers are.
	Notice  string  `json:"notice"`
	Studies []Study `json:"studies"`
	// Rejected lists inputs that could not be read as DICOM at all, and objects
	// that share the SOP Instance UID of another one of their study.
	Rejected []RejectedFile `json:"rejected,omitempty"`
}

// Software identifies the program that made the document.
type Software struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Model identifies the network and what ran it.
type Model struct {
	Name     string `json:"name"`
	Version  string `json:"version"`
	SHA256   string `json:"sha256"`
	Provider string `json:"provider"`
}

// RejectedFile is an input that was not analysed.
type RejectedFile struct {
	File   string `json:"file"`
	Reason Reason `json:"reason"`
}

// Reason says why something was refused or not measured. Code is stable and
// meant for programs, Text for people.
type Reason struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

func (r Reason) Error() string { return r.Text }

// Reasonf builds a Reason with a formatted text.
//
// Texts of objects and errors among args may hold anything: control characters
// become spaces, and what is no UTF-8 the replacement character.
func Reasonf(code, format string, args ...any) Reason {
	text := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(fmt.Sprintf(format, args...), "\uFFFD"))
	return Reason{Code: code, Text: text}
}

// Codes of Reason used by the pipeline. The quality gates of package lv add
// their own.
const (
	NotUltrasound    = "not-ultrasound"
	NoPixels         = "no-pixels"
	NotTwoD          = "not-2d"
	Volume           = "volume"
	Derived          = "derived"
	ColourDoppler    = "colour-doppler"
	SpectralDoppler  = "spectral-doppler"
	MMode            = "m-mode"
	ViewNotMeasured  = "view-not-measured"
	ViewUncertain    = "view-uncertain"
	Unfamiliar       = "unlike-training"
	MirroredDisplay  = "mirrored-display"
	Contrast         = "contrast-agent"
	Transoesophageal = "transoesophageal"
	NotHuman         = "not-human"
	Fetal            = "fetal"
	Intracardiac     = "intracardiac"
	DecodeFailed     = "decode-failed"
	Unreadable       = "unreadable"
	Truncated        = "truncated"
	SameUID          = "same-uid"
	SingleFrame      = "single-frame"
	NoFrameTimes     = "no-frame-times"
	NoContour        = "no-contour"
	NoCalibration    = "no-calibration"
	NoBeat           = "no-beat"
	NoLoop           = "no-loop"
	NotValidated     = "not-validated"
	LowConfidence    = "low-confidence"
	ViewsDisagree    = "views-disagree"
	TooManyFrames    = "too-many-frames"
	TooManyPixels    = "too-many-pixels"
	TimeLimit        = "time-limit"
	InternalError    = "internal-error"
	ImplausibleValue = "implausible-value"
	NetworkOutput    = "network-output"
	// Rhythm is the code of remarks on beats and R waves.
	Rhythm = "rhythm"
	// FrameTimes is the code of doubts about the frame times.
	FrameTimes = "frame-times"
	// Doubts that an object raises about itself: rates that contradict each
	// other, another number of frames than announced, several 2D regions.
	HeartRateDoubt = "heart-rate"
	FrameCount     = "frame-count"
	Regions        = "regions"
	// Scale is the code of remarks on sizes of a pixel that contradict each other.
	Scale = "scale"
	// Inverse is a loop that says of its gray both that small values are dark and
	// that they are bright.
	Inverse = "inverse"
	// Delimiter is a loop whose object lacks the mark that ends its pixel data; nothing
	// of it is missing.
	Delimiter = "delimiter"
	// NotUsed is the code of remarks on attributes that hold what cannot be, from
	// which nothing was taken.
	NotUsed = "not-used"
	// SeverelyReduced is an EF too small to be measured: an answer, not a fault.
	SeverelyReduced = "severely-reduced"
	// TwoPatients is a study that holds objects of more than one patient.
	TwoPatients = "two-patients"
	// OnePlane is a volume from a view that does not stand alone by custom.
	OnePlane = "one-plane"
	// LoopsDisagree is a value that other loops of the stage contradict.
	LoopsDisagree = "loops-disagree"
	// ByReader is the code of a loop or beat that a reader left out, and of what
	// a reader rejected.
	ByReader = "reader"
	// OtherDay is a loop that was recorded on another day than the one beside it.
	OtherDay = "other-day"
	// OtherStage is a plane that lies in another stage than the one beside it.
	OtherStage = "other-stage"
	// StageUnknown is a loop of an examination under stress that names no stage.
	StageUnknown = "stage-unknown"
	// SeveralClips is a loop that is several, one behind the other.
	SeveralClips = "several-clips"
	// Drawn is a loop into whose pictures lines are drawn around the ventricle.
	Drawn = "drawn"
	// Repeated is a loop whose pictures stand still, or come again.
	Repeated = "repeated-frames"
	// TwoPlanes is a loop whose screen holds two planes of one recording, both measured.
	TwoPlanes = "two-planes"
	// SamePicture is a loop that shows another one's picture, or its mirror image.
	SamePicture = "same-picture"
	// ViewName is a loop whose object calls its view otherwise than the network.
	ViewName = "view-name"
	// UnusualSize is a value that adults do not have.
	UnusualSize = "unusual-size"
	// BodySize and PatientAge are remarks on what objects say of their patient: a
	// height or weight that no person has, an age that another one contradicts.
	BodySize   = "body-size"
	PatientAge = "patient-age"
)

// Study is everything found in one study. It holds all that outputs are made
// of, except the pixels and the patient of the source objects: what is read
// back from JSON gives the same outputs as what was written.
type Study struct {
	StudyInstanceUID string `json:"study_instance_uid"`
	Run              Run    `json:"run"`
	// Subject is what the objects say of the patient, the last object first.
	Subject *Subject `json:"subject,omitempty"`
	Loops   []Loop   `json:"loops"`
	// Measurements are the study's values: one per quantity and stage, chosen
	// from the loops, biplane where both apical views allow it.
	Measurements []Measurement `json:"measurements"`
	Outputs      []Output      `json:"outputs,omitempty"`
	// RemovedBefore says that the study was removed from the node after an earlier
	// report: this result is of what came since alone.
	RemovedBefore bool `json:"removed_before,omitempty"`
	// Review is the word of the reader who signed this result; nil for one that
	// nobody has.
	Review *Review `json:"review,omitempty"`
}

// Run says when and by what a study was analysed.
type Run struct {
	// Time of the analysis, to the second, in the node's time zone.
	Time     time.Time `json:"time"`
	Software Software  `json:"software"`
	Model    Model     `json:"model"`
}

// Subject is what measurements need to know of a patient. It holds no name and
// no number that people use.
type Subject struct {
	// Key is a digest of Patient ID and issuer: equal for one patient. Of a
	// study it has more where others share the Patient ID.
	Key string `json:"key,omitempty"`
	// Person tells patients apart that share a Patient ID.
	Person *Person `json:"person,omitempty"`
	// Sex as in DICOM: M, F, O or empty.
	Sex string `json:"sex,omitempty"`
	// AgeYears at the study, completed years; nil when unknown.
	AgeYears *int    `json:"age_years,omitempty"`
	HeightCM float64 `json:"height_cm,omitempty"` // 0 when unknown
	WeightKG float64 `json:"weight_kg,omitempty"` // 0 when unknown
	// Doubts are sentences on age and size that cannot be believed, with what
	// follows from that: what is not believed is unknown above.
	Doubts []Reason `json:"doubts,omitempty"`
}

// AdultAge is the age in years from which on people are compared with adults.
const AdultAge = 18

// Child reports whether the patient is known to be a child.
func (s *Subject) Child() bool { return s != nil && s.AgeYears != nil && *s.AgeYears < AdultAge }

// Adult reports whether the patient counts as an adult: of unknown age people do,
// unless what says their age contradicts itself.
func (s *Subject) Adult() bool {
	return s == nil || !s.Child() && (s.AgeYears != nil || s.doubt(PatientAge) == nil)
}

// SizeDoubt is why height or weight of the patient are not known although objects
// have them; nil where both are, or nothing says them.
func (s *Subject) SizeDoubt() *Reason {
	if s == nil || s.HeightCM > 0 && s.WeightKG > 0 {
		return nil
	}
	return s.doubt(BodySize)
}

func (s *Subject) doubt(code string) *Reason {
	i := slices.IndexFunc(s.Doubts, func(r Reason) bool { return r.Code == code })
	if i < 0 {
		return nil
	}
	return &s.Doubts[i]
}

// StageKey is a stage's name as names are compared: without case and spaces at the
// ends.
func StageKey(name string) string { return strings.Join(strings.Fields(strings.ToLower(name)), " ") }

// StageOf is the name under which the study's values tell the stage of a loop: two
// stages of one name have their numbers behind it, one without a name has its
// number alone, and a loop that lacks the name or the number may have joined one.
func (s *Study) StageOf(l *Loop) string {
	if l.StageOfValues != "" {
		return l.StageOfValues
	}
	own := StageKey(l.Stage)
	fits := func(m Measurement) bool {
		name := StageKey(m.Stage)
		if l.StageNumber > 0 && m.StageNumber == l.StageNumber {
			return own == "" || name == own || name == fmt.Sprintf("%s (%d)", own, l.StageNumber)
		}
		return own != "" && name == own || own == "" && name == "" && l.StageNumber <= 0
	}
	if i := slices.IndexFunc(s.Measurements, fits); i >= 0 {
		return s.Measurements[i].Stage
	}
	return l.Stage
}

// Other reports whether two subjects are known to be two patients.
func (s *Subject) Other(o *Subject) bool {
	switch {
	case s == nil || o == nil:
		return false
	case s.Person != nil && o.Person != nil && s.Person.Current() && o.Person.Current():
		return Patients([]Person{*s.Person, *o.Person}) > 1
	}
	return !SameKey(s.Key, o.Key) // of a result from before
}

// SameKey reports whether two keys of subjects are of one Patient ID and issuer.
func SameKey(a, b string) bool {
	a, _, _ = strings.Cut(a, "-")
	b, _, _ = strings.Cut(b, "-")
	return a == b
}

// Status of a loop.
const (
	Analysed = "analysed"
	Refused  = "refused" // by its tags or its view: not a loop that is measured
	Failed   = "failed"  // it should have been analysed, and could not be
)

// Loop is one multi-frame (or single-frame) image object.
type Loop struct {
	SOPInstanceUID    string `json:"sop_instance_uid"`
	SOPClassUID       string `json:"sop_class_uid"`
	SeriesInstanceUID string `json:"series_instance_uid"`
	File              string `json:"file,omitempty"`
	// Number is the loop's place in the order in which the study's loops came,
	// from 1; 0 for its place in the result.
	Number int `json:"number,omitempty"`
	// Run says when and by what the loop was analysed; nil: as the study.
	Run *Run `json:"run,omitempty"`
	// Subject is the patient as this object has it; nil when it is not readable.
	Subject *Subject `json:"subject,omitempty"`
	Status  string   `json:"status"`
	// Reason is set unless Status is Analysed.
	Reason *Reason `json:"reason,omitempty"`

	Manufacturer string `json:"manufacturer,omitempty"`
	// Date of the recording as in DICOM (20260102); empty when unknown.
	Date string `json:"date,omitempty"`
	// Dates are all that the object says of its day; see [Days].
	Dates Dates `json:"dates,omitzero"`
	// Sources are the SOP Instance UIDs of the images from which the object says that
	// it was derived.
	Sources []string `json:"sources,omitempty"`
	// InstanceNumber, StageNumber and ViewNumber of the object; 0 when absent.
	InstanceNumber int    `json:"instance_number,omitempty"`
	SeriesNumber   int    `json:"series_number,omitempty"` // 0 when absent
	Stage          string `json:"stage,omitempty"`
	StageNumber    int    `json:"stage_number,omitempty"`
	ViewNumber     int    `json:"view_number,omitempty"`
	// StageView is what Stage Name says where that is a view, and no stage: Stage is
	// empty then.
	StageView string `json:"stage_view,omitempty"`
	// StageOfValues is the name under which the study's values tell the loop's stage,
	// where that is not Stage; see [Study.StageOf].
	StageOfValues string `json:"stage_of_values,omitempty"`
	// View is the network's view ("A4C", "A2C", "A3C", "PLAX", "PSAX",
	// "other"); empty when the loop was refused before pixels were looked at.
	View            string             `json:"view,omitempty"`
	ViewProbability float64            `json:"view_probability,omitempty"`
	Views           map[string]float64 `json:"views,omitempty"`
	// Mirrored: the display shows left and right the other way round. Contours
	// and points are in the pixels of the object as it is, points named by anatomy.
	Mirrored bool `json:"mirrored,omitempty"`
	// Novelty is how far the pictures lie from those the model was made from;
	// 0 when the model does not say.
	Novelty float64 `json:"novelty,omitempty"`

	// Frames that were analysed, and those that the object has where that is
	// more: of a very long cine only the first ones are looked at.
	Frames          int       `json:"frames"`
	ObjectFrames    int       `json:"object_frames,omitempty"`
	Rows            int       `json:"rows"`
	Columns         int       `json:"columns"`
	FrameTimes      []float64 `json:"frame_times_ms,omitempty"`
	FrameTimeSource string    `json:"frame_time_source,omitempty"`
	HeartRate       float64   `json:"heart_rate_bpm,omitempty"`
	// RWaves are the times of the R peaks that the object stores.
	RWaves []float64 `json:"r_waves_ms,omitempty"`
	// Cuts are the frames, from 0, in which gain, depth or place of the probe are others
	// at once than in the frame before: no beat is measured across one.
	Cuts    []int   `json:"cuts,omitempty"`
	Region  *Region `json:"region,omitempty"`
	Spacing Spacing `json:"spacing"`

	// Sector is the outline of the imaging sector as the pixels show it, convex.
	Sector Contour `json:"sector,omitempty"`
	// Thumbnail is the analysed region of the first frame as 16 x 16 gray levels,
	// row by row: by it the same picture is recognised, mirrored or not.
	Thumbnail []byte `json:"thumbnail,omitempty"`
	// FrameResults has every frame of an analysed loop, and of one that was refused
	// as several clips; of a loop that was refused for its view, the frames by which
	// the view was judged.
	FrameResults []Frame       `json:"frame_results,omitempty"`
	Curve        *Curve        `json:"curve,omitempty"`
	Beats        []Beat        `json:"beats,omitempty"`
	Measurements []Measurement `json:"measurements,omitempty"`
	// Beside is the other plane of a loop whose screen holds two of one recording side
	// by side, as matrix probes make them: another region of the same frames, with its own
	// view, scale, sector, outlines, beats and values; nil of other loops. What an object
	// says of itself and a reader decides stands in the loop alone.
	Beside *Loop `json:"beside,omitempty"`
	// SecondPlane says that this is the Beside of another.
	SecondPlane bool `json:"second_plane,omitempty"`
	// Reader is what a reader decided about the loop; nil where none did.
	Reader   *LoopDecision `json:"reader,omitempty"`
	Warnings []Reason      `json:"warnings,omitempty"`
	Timing   Timing        `json:"timing"`
}

// Dates of an object as in DICOM, each empty when unknown: of its acquisition, of
// its content, which recoding and anonymising set anew, and of its study.
type Dates struct {
	Acquisition string `json:"acquisition,omitempty"`
	Content     string `json:"content,omitempty"`
	Study       string `json:"study,omitempty"`
}

// Days are the dates of loops by the first attribute that all of them have, so that
// the day on which one was recorded is not compared with that on which another was
// written; "" for loops that say none at all. Without such an attribute all are "".
func Days(loops ...*Loop) []string {
	out := make([]string, len(loops))
	attributes := []func(*Loop) string{
		func(l *Loop) string { return l.Dates.Acquisition },
		func(l *Loop) string { return l.Dates.Content },
		func(l *Loop) string { return l.Dates.Study },
	}
	if slices.ContainsFunc(loops, func(l *Loop) bool { return l.Dates == (Dates{}) && l.Date != "" }) { // a result from before
		attributes = []func(*Loop) string{func(l *Loop) string { return l.Date }}
	}
	for _, of := range attributes {
		whole := true
		for i, l := range loops {
			out[i] = of(l)
			whole = whole && (out[i] != "" || l.Date == "")
		}
		if whole {
			return out
		}
	}
	return make([]string, len(loops))
}

// DaysApart is by how many days two dates of recordings differ; 0 where one is
// unknown. A study that goes on past midnight has two that differ by one.
func DaysApart(a, b string) int {
	s, err1 := time.Parse("20060102", a)
	t, err2 := time.Parse("20060102", b)
	if err1 != nil || err2 != nil {
		return 0
	}
	return int(math.Abs(s.Sub(t).Hours()) / 24)
}

// DateText is the date of a recording as people read it.
func DateText(date string) string {
	if t, err := time.Parse("20060102", date); err == nil {
		return t.Format("2006-01-02")
	}
	return date
}

// LoopDecision is what a reader decided about a loop. Contours and points that
// the reader moved are in the frames, with what the network found beside them.
type LoopDecision struct {
	// Beats are measured instead of those that would be found; nil leaves that
	// to the curve.
	Beats []Beat `json:"beats,omitempty"`
	// NetworkView, NetworkBeats and NetworkReason are what stood here before.
	NetworkView   string  `json:"network_view,omitempty"`
	NetworkBeats  []Beat  `json:"network_beats,omitempty"`
	NetworkReason *Reason `json:"network_reason,omitempty"`
	// Calipers are distances that the reader measured on the page; no value
	// depends on them.
	Calipers []Caliper `json:"calipers,omitempty"`
}

// Caliper is a distance in a frame, between two points in source pixels.
type Caliper struct {
	Frame int        `json:"frame"` // from 0
	A     [2]float64 `json:"a"`
	B     [2]float64 `json:"b"`
	// MM is the distance in millimetres, 0 where the loop has no trusted calibration.
	MM float64 `json:"mm,omitempty"`
}

// CorrectedByReader reports whether a reader decided about the loop itself, more
// than put calipers on it.
func (l *Loop) CorrectedByReader() bool {
	d := l.Reader
	return d != nil && (d.Beats != nil || d.NetworkView != "" || d.NetworkBeats != nil) || l.Reason != nil && l.Reason.Code == ByReader
}

// Manufacturer (0008,0070) stands in every object that is made of a result. By it
// a node knows the objects of another one, which are no loops.
const Manufacturer = "EchoNode"

// Review is a reader's word on a study.
type Review struct {
	Verdict      string    `json:"verdict"` // Accepted, Corrected or Rejected
	Time         time.Time `json:"time"`
	Name         string    `json:"name"` // person name as DICOM writes it
	Organisation string    `json:"organisation,omitempty"`
	Comment      string    `json:"comment,omitempty"`
	// Before are the study's values as they were before the reader corrected or
	// rejected them.
	Before []Measurement `json:"before,omitempty"`
}

// Verdicts of a Review.
const (
	Accepted  = "accepted"
	Corrected = "corrected"
	Rejected  = "rejected"
)

// Round rounds a number to so many decimals, as numbers in a result are.
func Round(v float64, digits int) float64 {
	p := math.Pow(10, float64(digits))
	return math.Round(v*p) / p
}

// Region is the rectangle of the frame that was analysed, half-open, pixels.
type Region struct {
	MinX int `json:"min_x"`
	MinY int `json:"min_y"`
	MaxX int `json:"max_x"`
	MaxY int `json:"max_y"`
}

// PixelSize is the width and height of a source pixel in mm where the
// calibration is trusted; otherwise its shape, as a height of 1.
func (l *Loop) PixelSize() (x, y float64) {
	if l.Spacing.Trusted {
		return l.Spacing.X, l.Spacing.Y
	}
	if l.Spacing.Aspect > 0 {
		return l.Spacing.Aspect, 1
	}
	return 1, 1
}

// FrameAt is what was found in frame i, nil when it was not looked at.
func (l *Loop) FrameAt(i int) *Frame {
	if i >= 0 && i < len(l.FrameResults) && l.FrameResults[i].Index == i {
		return &l.FrameResults[i]
	}
	for k := range l.FrameResults {
		if l.FrameResults[k].Index == i {
			return &l.FrameResults[k]
		}
	}
	return nil
}

// CutFrom records that the loop's frames are the first ones of so many.
func (l *Loop) CutFrom(all int) {
	l.ObjectFrames = all
	l.Warnings = append(l.Warnings, Reasonf(TooManyFrames, "only the first %d of %d frames were analysed", l.Frames, all))
}

// Curve is the curve in which beats were sought: the area of the cavity in an
// apical view, its diameter in the long-axis view.
type Curve struct {
	// Smoothed has one value a frame, in mm2 or mm; in pixels of height 1 where
	// the loop is not calibrated.
	Smoothed []float64 `json:"smoothed,omitempty"`
	// Removed are the frames whose outline was left out as failed.
	Removed []int `json:"removed,omitempty"`
	// Noise is the standard deviation of a single frame's value, and Range the
	// whole change of the smoothed curve, both as parts of its level.
	Noise float64 `json:"noise,omitempty"`
	Range float64 `json:"range,omitempty"`
}

// Spacing is the size of a source pixel in mm; absent numbers mean that the
// loop carries no calibration that can be trusted, and Reason says why.
type Spacing struct {
	// Aspect is the width of a pixel over its height.
	Aspect  float64 `json:"aspect,omitempty"`
	X       float64 `json:"x_mm,omitempty"`
	Y       float64 `json:"y_mm,omitempty"`
	Source  string  `json:"source,omitempty"`
	Trusted bool    `json:"trusted"`
	Reason  string  `json:"reason,omitempty"`
}

// Frame is what the network found in one frame.
type Frame struct {
	Index int `json:"index"`
	// Lost says why nothing is known of the frame although the network ran.
	Lost *Reason `json:"lost,omitempty"`
	// Contour of the LV cavity, closed, without the first point repeated.
	Contour Contour `json:"lv_contour,omitempty"`
	// Structures holds the other structures' contours by class name.
	Structures map[string]Contour `json:"structures,omitempty"`
	// StructureConfidence is of each of them what Confidence is of the cavity.
	StructureConfidence map[string]float64 `json:"structure_confidence,omitempty"`

	Keypoints []Keypoint `json:"keypoints,omitempty"`
	// LVAreaPixels is the area in source pixels, LVArea in cm2 when calibrated.
	LVAreaPixels float64 `json:"lv_area_px,omitempty"`
	LVArea       float64 `json:"lv_area_cm2,omitempty"`
	// Confidence is the mean certainty of the mask along its inside, 0..1.
	Confidence float64 `json:"confidence,omitempty"`
	// Network is what the network found in a frame that a reader has corrected.
	Network *Found `json:"network,omitempty"`
	// ExpectedDice is how far the network expects the contour to agree with a
	// reader's, 0..1 (Dice); 0 when it does not say.
	ExpectedDice float64 `json:"expected_dice,omitempty"`
	// Unseen is the part of the contour, the valve left out, beside which the
	// picture shows no wall, 0..1; absent for a contour that a reader drew.
	Unseen float64 `json:"wall_unseen,omitempty"`
	// Stray is the part of the segmented cavity that lies outside the contour,
	// in other pieces, 0..1.
	Stray float64 `json:"stray,omitempty"`
}

// Found is a contour with its points.
type Found struct {
	Contour   Contour    `json:"lv_contour,omitempty"`
	Keypoints []Keypoint `json:"keypoints,omitempty"`
}

// Contour is a list of points in source pixels, to a thousandth of a pixel; see
// [NewContour].
type Contour [][2]float64

// NewContour makes a contour of n points, rounded to what JSON keeps, so that
// whatever is made of it is the same after a reading back.
func NewContour(n int, point func(i int) (x, y float64)) Contour {
	c := make(Contour, n)
	for i := range c {
		x, y := point(i)
		c[i] = [2]float64{thousandth(x), thousandth(y)}
	}
	return c
}

func thousandth(v float64) float64 { return math.Round(v*1000) / 1000 }

// MarshalJSON writes coordinates with three decimals: a thousandth of a pixel.
func (c Contour) MarshalJSON() ([]byte, error) {
	b := make([]byte, 0, 2+len(c)*18)
	b = append(b, '[')
	for i, p := range c {
		if math.IsNaN(p[0]) || math.IsNaN(p[1]) || math.IsInf(p[0], 0) || math.IsInf(p[1], 0) {
			return nil, fmt.Errorf("contour point %d is not finite", i)
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '[')
		b = appendFixed(b, p[0])
		b = append(b, ',')
		b = appendFixed(b, p[1])
		b = append(b, ']')
	}
	return append(b, ']'), nil
}

// appendFixed is strconv.AppendFloat(b, thousandth(v), 'f', -1, 64), by the
// number of thousandths where that is an integer that float64 holds.
func appendFixed(b []byte, v float64) []byte {
	n := math.Round(v * 1000)
	if math.Abs(n) > 1e12 || n == 0 {
		return strconv.AppendFloat(b, thousandth(v), 'f', -1, 64)
	}
	if n < 0 {
		b, n = append(b, '-'), -n
	}
	whole, rest := uint64(n)/1000, uint64(n)%1000
	b = strconv.AppendUint(b, whole, 10)
	if rest == 0 {
		return b
	}
	b = append(b, '.', byte('0'+rest/100), byte('0'+rest/10%10), byte('0'+rest%10))
	for b[len(b)-1] == '0' {
		b = b[:len(b)-1]
	}
	return b
}

// Keypoint is an anatomical point in source pixels with the peak of its
// heatmap (0..1) as confidence.
type Keypoint struct {
	Name       string  `json:"name"`
	X          float64 `json:"x"`
	Y          float64 `json:"y"`
	Confidence float64 `json:"confidence"`
}

// Beat is one cardiac cycle by frame index: end-diastole, end-systole, and
// the next end-diastole (-1 when the loop ends before it).
type Beat struct {
	ED     int `json:"ed"`
	ES     int `json:"es"`
	NextED int `json:"next_ed"`
	// BeforeMS and AfterMS are the times from the ED, or R wave, of the beat
	// before to that of this one, and from there to the next; 0 when unknown.
	BeforeMS float64 `json:"before_ms,omitempty"`
	AfterMS  float64 `json:"after_ms,omitempty"`
	// Partial says that the clip does not show the whole contraction.
	Partial bool `json:"partial,omitempty"`
	// Rejected says why the beat was not measured; nil for one that entered
	// the loop's values.
	Rejected *Reason `json:"rejected,omitempty"`
}

// Measurement is one quantity. Value is nil when it was not measured, and
// then Reason says why.
type Measurement struct {
	Name   string   `json:"name"`
	Value  *float64 `json:"value"`
	Unit   string   `json:"unit"`
	Method string   `json:"method,omitempty"`
	View   string   `json:"view,omitempty"`
	Stage  string   `json:"stage,omitempty"`
	// StageNumber of the stage; 0 when unknown.
	StageNumber int `json:"stage_number,omitempty"`
	// Beats holds the value of every beat that entered the mean.
	Beats []float64 `json:"beats,omitempty"`
	// Others are the values of the stage's loops that were not chosen.
	Others  []float64 `json:"others,omitempty"`
	Quality Quality   `json:"quality"`
	Reason  *Reason   `json:"reason,omitempty"`
	// ByReader says that the value depends on what a reader has corrected.
	ByReader bool `json:"by_reader,omitempty"`
	// Sources names where the value was measured.
	Sources []Source `json:"sources,omitempty"`
}

// Quality grades a value: "good", "fair" (warnings hold), "poor" (something
// contradicts it) or "none".
type Quality struct {
	Grade    string   `json:"grade"`
	Warnings []Reason `json:"warnings,omitempty"`
}

// Quality grades.
const (
	Good = "good"
	Fair = "fair"
	Poor = "poor"
	None = "none"
)

// Source points at the frame of an object that a value was measured on.
type Source struct {
	SOPInstanceUID string `json:"sop_instance_uid"`
	Frame          int    `json:"frame"`
	Phase          string `json:"phase,omitempty"` // "ED" or "ES"
	// Beside says that it is the other plane of the object; see [Loop.Of].
	Beside bool `json:"beside,omitempty"`
}

// Of is the plane of a loop that a source of its object is on; nil where the loop lacks
// that plane.
func (l *Loop) Of(src Source) *Loop {
	if src.Beside {
		return l.Beside
	}
	return l
}

// Planes are a loop and the other plane on its screen, where it has one.
func (l *Loop) Planes() []*Loop {
	if l.Beside == nil {
		return []*Loop{l}
	}
	return []*Loop{l, l.Beside}
}

// Names of measurements.
const (
	EF     = "EF"
	EDV    = "EDV"
	ESV    = "ESV"
	SV     = "SV"
	HR     = "HR"
	FAC    = "FAC"
	AreaED = "LV area ED"
	AreaES = "LV area ES"
	LenED  = "LV length ED"
	LenES  = "LV length ES"
	IVSd   = "IVSd"
	LVIDd  = "LVIDd"
	LVIDs  = "LVIDs"
	LVPWd  = "LVPWd"
	FS     = "FS"
	Mass   = "LV mass"
	RWT    = "RWT"

	CO             = "CO"
	CI             = "CI"
	EDVIndex       = "EDVi"
	ESVIndex       = "ESVi"
	SVIndex        = "SVi"
	MassIndex      = "LV mass index"
	LAArea         = "LA area"
	LAVolume       = "LA volume"
	LAVolumeIndex  = "LA volume index"
	AnnulusSeptal  = "annular displacement septal"
	AnnulusLateral = "annular displacement lateral"
	ContourStrain  = "endocardial longitudinal strain (contour length)"
	Sphericity     = "sphericity"
	PeakEjection   = "peak ejection rate"
	PeakFilling    = "peak filling rate"
)

// Units of measurements, UCUM.
const (
	UnitLength  = "cm"
	UnitArea    = "cm2"
	UnitVolume  = "ml"
	UnitPercent = "%"
	UnitMass    = "g"
	UnitRatio   = "1"
	UnitRate    = "{H.B.}/min"

	UnitFlow        = "l/min"
	UnitFlowIndex   = "l/min/m2"
	UnitVolumeIndex = "ml/m2"
	UnitMassIndex   = "g/m2"
	UnitPerSecond   = "/s" // of the end-diastolic volume
)

// Methods of measurement.
const (
	Biplane     = "biplane method of disks"
	SinglePlane = "single-plane method of disks"
	Planimetry  = "planimetry"
	Linear      = "linear 2D"
	Cube        = "cube"

	PointTracking = "annulus points, along the long axis"
	ContourLength = "length of the endocardial contour"
	VolumeCurve   = "slope of the volume curve"
	AreaLength    = "area and length, single plane"

	BiplaneAreaLength = "area and length, biplane"
)

// Output is a DICOM object or a file for people made from the study.
type Output struct {
	Kind           string `json:"kind"`
	File           string `json:"file,omitempty"`
	SOPClassUID    string `json:"sop_class_uid,omitempty"`
	SOPInstanceUID string `json:"sop_instance_uid,omitempty"`
	// Source is the loop it was made from; empty for the report.
	Source string `json:"source,omitempty"`
	// LeftOut is why the output could not be made of its sources, however often it is
	// tried; it has no File then. Empty for what was made.
	LeftOut string `json:"left_out,omitempty"`
	// For names the destinations that get the object, where some have outputs of
	// their own form: "" is all others. Empty is all others, too.
	For []string `json:"for,omitempty"`
}

// Usual reports whether an output is what destinations get that have no form of
// their own.
func (o Output) Usual() bool { return len(o.For) == 0 || slices.Contains(o.For, "") }

// Kinds of Output.
const (
	KindReport       = "report"
	KindOverlay      = "overlay"
	KindSegmentation = "segmentation"
	KindReportHTML   = "report-html"
	KindReportText   = "report-text"
	KindAnimation    = "animation"
	KindStill        = "still"
	KindCurve        = "curve"

	// The summary page as a secondary capture and as an encapsulated PDF, and
	// the same as files.
	KindSummary = "summary"
	KindPDF     = "pdf"
	// KindWithdrawal is a note that earlier outputs are not to be used.
	KindWithdrawal     = "withdrawal"
	KindSummaryPicture = "summary-picture"
	KindPDFFile        = "pdf-file"
)

// Timing is where the wall time of a loop went, in ms, summed over frames
// (several frames are worked on at once).
type Timing struct {
	Wall      float64 `json:"wall_ms"`
	Decode    float64 `json:"decode_ms"`
	Inference float64 `json:"inference_ms"`
	Contours  float64 `json:"contours_ms"`
}

// Notice is the text every document carries.
const Notice = "UNVERIFIED research output of an artificial-intelligence system. " +
	"Not a cleared medical device; not for diagnosis without review by a qualified reader."

// Encode renders the document as JSON.
func (d *Document) Encode() ([]byte, error) { return json.Marshal(d) }

// ErrDamaged says that a stored document is not what was written.
var ErrDamaged = errors.New("the result is damaged")

// Digest is the SHA-256 of an encoded document, in hexadecimal digits.
func Digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Decode reads an encoded document whose digest is in the summary of its run, as
// JSON with the member result_sha256. Without one, as of earlier versions, it is
// not compared. Errors wrap [ErrDamaged].
func Decode(b []byte, summary string) (*Document, error) {
	var s struct {
		Digest string `json:"result_sha256"`
	}
	if summary != "" {
		if err := json.Unmarshal([]byte(summary), &s); err != nil {
			return nil, fmt.Errorf("summary of the run: %w: %w", ErrDamaged, err)
		}
	}
	if s.Digest != "" && s.Digest != Digest(b) {
		return nil, fmt.Errorf("%w: its digest is not that of its run", ErrDamaged)
	}
	d := new(Document)
	if err := json.Unmarshal(b, d); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return d, nil
}
