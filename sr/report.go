package sr

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/encoding"
	"github.com/echonode/echonode/dicomio/instance"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
)

// ErrReport says that a [Report] cannot be turned into a valid document.
var ErrReport = errors.New("invalid report")

// Template is the identifier of the template that this package makes.
const Template = "5200"

// Settings choose the form of the document.
type Settings struct {
	// Codeset is SCT when empty.
	Codeset Codeset
	// Enhanced makes an Enhanced SR instead of a Comprehensive SR, for
	// destinations that accept nothing else; the content is the same.
	Enhanced bool
}

// SOPClassUID is the storage class of a document with these settings.
func (s Settings) SOPClassUID() string {
	if s.Enhanced {
		return uid.EnhancedSRStorage
	}
	return uid.ComprehensiveSRStorage
}

// Report is everything that goes into a document.
type Report struct {
	// Source is any data set of the study; patient and study are copied.
	Source *dicomio.DataSet
	// SOPInstanceUID and SeriesInstanceUID identify the document; see
	// [instance.UID]. An empty SOPInstanceUID is made from the content; see
	// [instance.Seal].
	SOPInstanceUID    string
	SeriesInstanceUID string
	SeriesNumber      int
	SeriesDescription string    // "AI Echo Measurements" when empty
	Time              time.Time // of the content
	Observer          instance.Equipment
	Algorithm         instance.Algorithm
	// Evidence are the images that the report is about, and nothing but images
	// (see [instance.IsImage]). They make the image library; every source of a
	// measurement must be among them. None for a study without usable images.
	Evidence []instance.Ref
	// Pictures say, by SOP Instance UID, what images of Evidence show, so that their
	// entries in the image library can be told apart.
	Pictures map[string]Picture
	// Predecessor is the document that this one replaces, if any.
	Predecessor *instance.Ref
	// Subject is written when its body surface area is known.
	Subject *Subject
	// Measurements in the order of preference: the first value of a concept is
	// the one that importers take.
	Measurements []Measurement
	// NotMeasured says what could not be measured, and why.
	NotMeasured []NotMeasured
	// Comments are further remarks, one sentence each.
	Comments []string
	// Verified is who signed the report; nil leaves it UNVERIFIED and
	// PRELIMINARY.
	Verified *Verification
	Settings Settings
}

// Verification is a person's signature under a report (PS3.3 C.17.2).
type Verification struct {
	Name         string // PN
	Organisation string
	Time         time.Time
}

// Subject holds the patient characteristics of TID 5201.
type Subject struct {
	AgeYears int    // 0 when unknown
	Sex      string // M, F, O or empty
	HeightCM float64
	WeightKG float64
	BSA      float64 // m2, needed
	// Formula behind BSA; 0 when it is not known.
	Formula BSAFormula
}

// Measurement is one value about the left ventricle or atrium.
type Measurement struct {
	Quantity Quantity
	Value    float64
	Unit     Unit
	// Decimals are those that the number is written with at least, zeros too, as
	// far as its unit has so many.
	Decimals int
	// The modifiers are left out when zero.
	Method     Method
	Mode       Mode
	View       View
	CyclePoint CyclePoint
	Derivation Derivation
	Selection  Selection
	// Spread is how far the value of a single heart beat differs; nil for a value
	// that is not from several.
	Spread *Spread
	// Group names the measurement group, for example a stage of a stress
	// examination; values of one group stay together. Empty is the main group.
	Group string
	// Stage is the code of that stage, when it is known; see [StageOf].
	Stage Stage
	// Sources are the images, and contours on them, behind the value.
	Sources []Source
	// Remarks are warnings about the value, one sentence each. They are written
	// once for each measurement group, however many values share them.
	Remarks []string
}

// Spread are the sample statistics of a value over heart beats.
type Spread struct {
	Beats int     // at least 2
	SD    float64 // standard deviation of the sample, in the unit of the value
}

// Point is a position in source pixels: x right, y down, origin at the centre
// of the top-left pixel. The half pixel to the origin of DICOM's spatial
// coordinates is added when the document is made, and taken off when it is read.
type Point struct{ X, Y float64 }

// Source is an image behind a value.
type Source struct {
	SOPInstanceUID string
	// Frame counts from 1; 0 is the whole object. It is not written for a
	// single-frame image.
	Frame int
	// Contour is drawn on that frame; empty for a reference without
	// coordinates. Closed repeats its first point at the end.
	Contour []Point
	Closed  bool
}

// NotMeasured is a value that the report does not have.
type NotMeasured struct {
	// What names the value and its circumstances, for example
	// "Left Ventricular Ejection Fraction, Apical two chamber".
	What   string
	Reason string
}

const (
	mainGroup         = "AI LV Function"
	notMeasuredPrefix = "Not measured: "
	defaultSeries     = "AI Echo Measurements"
	maxContour        = 4000 // points, half of what one FL element can hold
)

// Picture is what an image shows.
type Picture struct {
	Name  string // what people call it: "loop 7"; empty for none
	View  View
	Stage Stage
}

// Disclaimer is the comment that every report carries that nobody has verified.
const Disclaimer = "Automatic analysis without review by a physician. Not for diagnosis."

// Signed stands in its place in a report that somebody has verified.
const Signed = "Automatic analysis, reviewed and signed by the verifying observer."

// Build makes the document: TID 5200 with a findings section for the left
// ventricle and one for the left atrium, as far as there are values, COMPLETE,
// and UNVERIFIED and PRELIMINARY unless somebody has verified it. A report
// without measurements has no findings section; its comments say why. Comments
// and missing values are TEXT items (121106, DCM, "Comment") at the end of the
// root container, and those about values at the end of their measurement group,
// which the extensible template allows.
//
// It returns an error wrapping [ErrReport] for a report that would not be
// valid, among them: a unit that does not belong to the quantity, a value that
// is no number, a second value of one concept in one group without a selection
// status on the first, a source that is not in the evidence.
func Build(r Report) (*dicomio.DataSet, error) {
	cs := r.Settings.Codeset
	switch cs {
	case "":
		cs = SCT
	case SCT, SRT:
	default:
		return nil, fmt.Errorf("%w: unknown code set %q", ErrReport, cs)
	}
	if r.Algorithm.Name == "" || r.Algorithm.Version == "" {
		return nil, fmt.Errorf("%w: algorithm without name or version", ErrReport)
	}
	if r.SeriesDescription == "" {
		r.SeriesDescription = defaultSeries
	}
	ds, err := instance.New(instance.Header{
		Source: r.Source, SOPClassUID: r.Settings.SOPClassUID(), SOPInstanceUID: r.SOPInstanceUID,
		SeriesInstanceUID: r.SeriesInstanceUID, SeriesNumber: r.SeriesNumber, InstanceNumber: 1,
		SeriesDescription: r.SeriesDescription, Modality: "SR", Time: r.Time, Equipment: r.Observer,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReport, err)
	}
	b := builder{cs: cs, r: r, classes: map[string]string{}}
	for _, e := range r.Evidence {
		b.classes[e.SOPInstanceUID] = e.SOPClassUID
	}
	root, err := b.root()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReport, err)
	}
	if err := b.document(ds); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReport, err)
	}
	root.encode(ds)
	if err := ds.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReport, err)
	}
	if r.SOPInstanceUID == "" {
		if _, err := instance.Seal(ds, "report", dicomio.WriteOptions{}); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrReport, err)
		}
	}
	if problems := Check(ds, r.Evidence); len(problems) > 0 {
		return nil, fmt.Errorf("%w: %s", ErrReport, problems[0])
	}
	return ds, nil
}

type builder struct {
	cs      Codeset
	r       Report
	classes map[string]string // SOP class by instance UID, of the evidence
}

// document sets the SR Document Series and SR Document General modules
// (PS3.3 C.17.1 and C.17.2).
func (b *builder) document(ds *dicomio.DataSet) error {
	ds.SetEmpty(tag.ReferencedPerformedProcedureStepSequence)
	ds.SetEmpty(tag.PerformedProcedureCodeSequence)
	ds.SetString(tag.CompletionFlag, "COMPLETE")
	if err := b.verification(ds); err != nil {
		return err
	}

	o := b.r.Observer
	author := dicomio.NewDataSet()
	author.SetString(tag.ObserverType, "DEV")
	author.SetString(tag.StationName, o.Station)
	author.SetString(tag.DeviceUID, o.UID)
	author.SetString(tag.Manufacturer, o.Manufacturer)
	author.SetString(tag.ManufacturerModelName, o.Model)
	author.SetString(tag.InstitutionName, o.Institution)
	author.SetEmpty(tag.InstitutionCodeSequence)
	ds.SetItems(tag.AuthorObserverSequence, author)

	contribution, err := instance.Contribution(o, b.r.Algorithm, instance.Local(b.r.Source, b.r.Time), "Automatic left ventricular analysis")
	if err != nil {
		return err
	}
	ds.SetItems(tag.ContributingEquipmentSequence, contribution)

	if len(b.r.Evidence) > 0 {
		items, err := instance.ByStudy(b.r.Evidence)
		if err != nil {
			return err
		}
		ds.SetItems(tag.CurrentRequestedProcedureEvidenceSequence, items...)
	}
	if b.r.Predecessor != nil {
		items, err := instance.ByStudy([]instance.Ref{*b.r.Predecessor})
		if err != nil {
			return err
		}
		ds.SetItems(tag.PredecessorDocumentsSequence, items...)
	}
	return nil
}

// verification sets who has verified the document, or that nobody has.
func (b *builder) verification(ds *dicomio.DataSet) error {
	v := b.r.Verified
	if v == nil {
		ds.SetString(tag.VerificationFlag, "UNVERIFIED")
		ds.SetString(tag.PreliminaryFlag, "PRELIMINARY")
		return nil
	}
	if strings.Trim(v.Name, "^= ") == "" || strings.TrimSpace(v.Organisation) == "" || v.Time.IsZero() {
		return errors.New("a verification needs name, organisation and time")
	}
	ds.SetString(tag.VerificationFlag, "VERIFIED")
	ds.SetString(tag.PreliminaryFlag, "FINAL")
	observer := dicomio.NewDataSet()
	observer.SetString(tag.VerifyingOrganization, encoding.Line(v.Organisation))
	observer.SetString(tag.VerificationDateTime, v.Time.Format("20060102150405-0700"))
	observer.SetString(tag.VerifyingObserverName, encoding.Line(v.Name))
	observer.SetEmpty(tag.VerifyingObserverIdentificationCodeSequence)
	ds.SetItems(tag.VerifyingObserverSequence, observer)
	return nil
}

func (b *builder) root() (*Item, error) {
	root := &Item{Type: Container, Concept: reportTitle.code(b.cs), Continuity: "SEPARATE", Template: Template}
	root.add(b.code(HasConceptMod, language, english).add(b.code(HasConceptMod, country, unitedStates)))

	o := b.r.Observer
	root.add(b.code(HasObsContext, observerType, device))
	root.add(&Item{Relationship: HasObsContext, Type: UIDRef, Concept: observerUID.code(b.cs), Text: o.UID})
	for _, t := range []struct {
		concept term
		value   string
	}{
		{observerName, o.Station}, {observerMaker, o.Manufacturer}, {observerModel, o.Model}, {observerSerial, o.Serial},
	} {
		if t.value != "" {
			root.add(b.text(HasObsContext, t.concept, t.value))
		}
	}
	if s := b.r.Subject; s != nil && s.BSA > 0 {
		item, err := b.subject(*s)
		if err != nil {
			return nil, err
		}
		root.add(item)
	}
	if len(b.r.Evidence) > 0 {
		library := &Item{Relationship: Contains, Type: Container, Concept: imageLibrary.code(b.cs), Continuity: "SEPARATE"}
		seen := map[string]bool{}
		for _, e := range b.r.Evidence {
			if !seen[e.SOPInstanceUID] {
				seen[e.SOPInstanceUID] = true
				// The template names no concept here. Readers that take every item's
				// name without asking whether there is one stop at nameless items.
				item := &Item{Relationship: Contains, Type: Image, Concept: sourceOf.code(b.cs), Image: ImageRef{
					SOPClassUID: e.SOPClassUID, SOPInstanceUID: e.SOPInstanceUID}}
				if err := b.picture(item, b.r.Pictures[e.SOPInstanceUID]); err != nil {
					return nil, err
				}
				library.add(item)
			}
		}
		root.add(library)
	}
	for _, site := range sites {
		section, err := b.section(site)
		if err != nil {
			return nil, err
		}
		if section != nil {
			root.add(section)
		}
	}
	for _, n := range b.r.NotMeasured {
		if strings.TrimSpace(n.What) == "" || strings.Contains(n.What, ": ") || strings.TrimSpace(n.Reason) == "" {
			return nil, errors.New("a missing value needs a name without a colon, and a reason")
		}
		root.add(b.text(Contains, comment, notMeasuredPrefix+n.What+": "+n.Reason))
	}
	for _, c := range b.r.Comments {
		if strings.TrimSpace(c) != "" {
			root.add(b.text(Contains, comment, c))
		}
	}
	if b.r.Verified != nil {
		root.add(b.text(Contains, comment, Signed))
	} else {
		root.add(b.text(Contains, comment, Disclaimer))
	}
	return root, nil
}

// subject makes TID 5201, with height and weight as extensions.
func (b *builder) subject(s Subject) (*Item, error) {
	c := &Item{Relationship: Contains, Type: Container, Concept: characteristics.code(b.cs), Continuity: "SEPARATE"}
	if s.AgeYears > 0 {
		age, err := b.num(subjectAge, float64(s.AgeYears), Year)
		if err != nil {
			return nil, err
		}
		c.add(age)
	}
	sex, ok := sexes[s.Sex]
	if !ok {
		return nil, fmt.Errorf("sex %q", s.Sex)
	}
	c.add(b.code(Contains, subjectSex, sex))
	for _, v := range []struct {
		concept term
		value   float64
		unit    Unit
	}{{height, s.HeightCM, CM}, {weight, s.WeightKG, Kilogram}} {
		if v.value <= 0 {
			continue
		}
		n, err := b.num(v.concept, v.value, v.unit)
		if err != nil {
			return nil, err
		}
		c.add(n)
	}
	area, err := b.num(bsa, s.BSA, M2)
	if err != nil {
		return nil, err
	}
	if err := b.addCoded(area, modifier(InferredFrom, bsaFormula, s.Formula, bsaFormulas)); err != nil {
		return nil, err
	}
	return c.add(area), nil
}

// section makes TID 5202 for a finding site, one measurement group for each
// name and mode in the order of first mention; nil when nothing was measured
// there.
func (b *builder) section(site term) (*Item, error) {
	section := &Item{Relationship: Contains, Type: Container, Concept: findings.code(b.cs), Continuity: "SEPARATE"}
	section.add(b.code(HasConceptMod, findingSite, site))
	type key struct {
		name  string
		mode  Mode
		stage Stage
	}
	groups := map[key]*Item{}
	remarks := map[key][]string{}
	var order []key
	first := map[string]*Measurement{}
	for i := range b.r.Measurements {
		m := &b.r.Measurements[i]
		if m.Quantity.site() != site {
			continue
		}
		if m.Group == "" {
			m.Group = mainGroup
		}
		once := fmt.Sprintf("%d %s", m.Quantity, m.Group)
		if p := first[once]; p == nil {
			first[once] = m
		} else if p.Selection == 0 || m.Selection != 0 {
			return nil, fmt.Errorf("second value of %s in %q: the first, and only that, needs a selection status", m.Quantity, m.Group)
		}
		num, err := b.measurement(*m)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.Quantity, err)
		}
		k := key{m.Group, m.Mode, m.Stage}
		if groups[k] == nil {
			g := &Item{Relationship: Contains, Type: Container, Concept: group.code(b.cs), Continuity: "SEPARATE"}
			if mode, ok := modes[m.Mode]; ok {
				g.add(b.code(HasConceptMod, imageMode, mode))
			}
			g.add(b.text(HasConceptMod, protocol, m.Group))
			if err := b.addCoded(g, modifier(HasAcqContext, stage, m.Stage, stages)); err != nil {
				return nil, err
			}
			groups[k] = g
			order = append(order, k)
			section.add(g)
		}
		groups[k].add(num)
		for _, r := range m.Remarks {
			if strings.TrimSpace(r) != "" && !slices.Contains(remarks[k], r) {
				remarks[k] = append(remarks[k], r)
			}
		}
	}
	for _, k := range order {
		for _, r := range remarks[k] {
			groups[k].add(b.text(Contains, comment, r))
		}
	}
	if len(order) == 0 {
		return nil, nil
	}
	return section, nil
}

// measurement makes TID 5203 with TID 300 in the order of its rows.
func (b *builder) measurement(m Measurement) (*Item, error) {
	q, ok := quantities[m.Quantity]
	if !ok {
		return nil, fmt.Errorf("unknown quantity %d", m.Quantity)
	}
	if !slices.Contains(q.units, m.Unit) {
		return nil, fmt.Errorf("unit %q is not one of %q", m.Unit, q.units)
	}
	num, err := b.num(q.term, m.Value, m.Unit)
	if err != nil {
		return nil, err
	}
	num.Number = withDecimals(num.Number, min(m.Decimals, m.Unit.decimals()))
	if v, _ := num.Value(); !q.admits(v) {
		return nil, fmt.Errorf("value %g", m.Value)
	}
	for _, mod := range []coded{
		modifier(HasConceptMod, measureMethod, m.Method, methods),
		modifier(HasConceptMod, derivation, m.Derivation, derivations),
		modifier(HasProperties, selection, m.Selection, selections),
	} {
		if err := b.addCoded(num, mod); err != nil {
			return nil, err
		}
	}
	if err := b.spread(num, m); err != nil {
		return nil, err
	}
	for _, s := range m.Sources {
		item, err := b.source(s)
		if err != nil {
			return nil, err
		}
		num.add(item)
	}
	num.add(b.text(HasConceptMod, algorithmName, b.r.Algorithm.Name))
	num.add(b.text(HasConceptMod, algorithmVer, b.r.Algorithm.Version))
	for _, p := range b.r.Algorithm.Parameters {
		num.add(b.text(HasConceptMod, algorithmParam, p))
	}
	for _, mod := range []coded{
		modifier(HasConceptMod, cyclePoint, m.CyclePoint, cyclePoints),
		modifier(HasAcqContext, imageMode, m.Mode, modes),
		modifier(HasAcqContext, imageView, m.View, views),
	} {
		if err := b.addCoded(num, mod); err != nil {
			return nil, err
		}
	}
	return num, nil
}

// spread adds the measurement properties of TID 300: the standard deviation, and
// the number of beats under a code of our own, as the standard has none.
func (b *builder) spread(num *Item, m Measurement) error {
	s := m.Spread
	if s == nil {
		return nil
	}
	if s.Beats < 2 || !(s.SD >= 0) {
		return fmt.Errorf("standard deviation %g of %d beats", s.SD, s.Beats)
	}
	for _, p := range []struct {
		concept term
		value   float64
		unit    Unit
	}{{deviation, s.SD, m.Unit}, {beatCount, float64(s.Beats), Ratio}} {
		n, err := b.num(p.concept, p.value, p.unit)
		if err != nil {
			return err
		}
		n.Relationship = HasProperties
		num.add(n)
	}
	return nil
}

// coded is a modifier of a measurement.
type coded struct {
	rel     Relationship
	concept term
	given   bool
	value   term
	known   bool
}

func (b *builder) addCoded(num *Item, c coded) error {
	if !c.given {
		return nil
	}
	if !c.known {
		return fmt.Errorf("unknown value of %s", c.concept.sct)
	}
	num.add(b.code(c.rel, c.concept, c.value))
	return nil
}

// modifier looks a coded modifier up; zero means that it is not given.
func modifier[K ~int](rel Relationship, concept term, key K, table map[K]term) coded {
	v, known := table[key]
	return coded{rel, concept, key != 0, v, known}
}

// source makes TID 320: an image, or a polyline on it.
func (b *builder) source(s Source) (*Item, error) {
	class, ok := b.classes[s.SOPInstanceUID]
	if !ok {
		return nil, fmt.Errorf("source %q is not in the evidence", s.SOPInstanceUID)
	}
	if s.Frame < 0 {
		return nil, fmt.Errorf("frame %d", s.Frame)
	}
	image := &Item{Relationship: SelectedFrom, Type: Image, Concept: sourceOf.code(b.cs), Image: ImageRef{SOPClassUID: class, SOPInstanceUID: s.SOPInstanceUID}}
	switch {
	case instance.SingleFrame(class) && s.Frame > 1:
		return nil, fmt.Errorf("frame %d of a single-frame image", s.Frame)
	case s.Frame > 0 && !instance.SingleFrame(class):
		image.Image.Frames = []int{s.Frame}
	}
	if len(s.Contour) == 0 {
		image.Relationship = InferredFrom
		return image, nil
	}
	if len(s.Contour) < 2 || (s.Closed && len(s.Contour) < 3) || len(s.Contour) > maxContour {
		return nil, fmt.Errorf("contour of %d points", len(s.Contour))
	}
	pts := s.Contour
	if s.Closed && pts[0] != pts[len(pts)-1] {
		pts = append(slices.Clip(pts), pts[0])
	}
	data := make([]float64, 0, 2*len(pts))
	for _, p := range pts {
		if math.IsNaN(p.X+p.Y) || math.IsInf(p.X+p.Y, 0) {
			return nil, fmt.Errorf("contour point %v", p)
		}
		// A contour may run along the outermost pixels; coordinates end at 0.
		data = append(data, max(p.X+0.5, 0), max(p.Y+0.5, 0))
	}
	coord := &Item{Relationship: InferredFrom, Type: SCoord, Concept: sourceOf.code(b.cs), Graphic: Graphic{"POLYLINE", data}}
	return coord.add(image), nil
}

// picture adds what an image shows to its entry in the library.
func (b *builder) picture(item *Item, p Picture) error {
	if name := strings.TrimSpace(p.Name); name != "" {
		item.add(b.text(HasAcqContext, comment, name))
	}
	if p.View != 0 {
		if err := b.addCoded(item, modifier(HasAcqContext, imageView, p.View, views)); err != nil {
			return err
		}
	}
	if p.Stage != 0 {
		return b.addCoded(item, modifier(HasAcqContext, stage, p.Stage, stages))
	}
	return nil
}

func (b *builder) code(rel Relationship, concept, value term) *Item {
	return &Item{Relationship: rel, Type: CodeValue, Concept: concept.code(b.cs), Code: value.code(b.cs)}
}

func (b *builder) text(rel Relationship, concept term, value string) *Item {
	// Texts come from objects, errors and people: what no value can hold costs no report.
	return &Item{Relationship: rel, Type: Text, Concept: concept.code(b.cs), Text: encoding.LookupVR("UT").Clean(value)}
}

func (b *builder) num(concept term, value float64, unit Unit) (*Item, error) {
	n, err := formatNumber(value, unit)
	if err != nil {
		return nil, err
	}
	return &Item{Relationship: Contains, Type: Num, Concept: concept.code(b.cs), Number: n, Unit: unit.Code()}, nil
}
