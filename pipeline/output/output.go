// Package output makes the objects and files of a study from its result and
// its source objects, and from nothing else: the same function serves a new
// analysis, a re-issue and a result that a reader has corrected.
//
//	output.go    which objects are made, and their identity
//	sources.go   the objects that the study came from
//	stages.go    the stages of a stress examination
//	report.go    the structured reports
//	words.go     values and their spread in words
//	scene.go     what is drawn on a frame
//	summary.go   the summary pages
//
// The same result, sources and options give the same bytes under the same
// UIDs. SOP Instance UIDs are digests of the objects' content, so that no UID
// ever names two objects.
package output

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/echonode/echonode/dicomio/encoding"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/instance"
	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/derived"
	"github.com/echonode/echonode/pipeline/indices"
	"github.com/echonode/echonode/pipeline/internal/longaxis"
	"github.com/echonode/echonode/pipeline/internal/overlay"
	"github.com/echonode/echonode/pipeline/internal/turns"
	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/quantity"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/sr"
)

// Options say what is made of a study.
type Options struct {
	Report  bool
	Codeset sr.Codeset
	// Stages is [StagesRest] (also when empty), [StagesSeparate] or [StagesAll].
	Stages string
	// Strain puts the strain from contour length into the report.
	Strain      bool
	Overlay     string // "all", "measured" or "none"
	JPEGQuality int    // of overlay frames, 1 to 100
	// Class of overlays: secondary capture, or derived ultrasound for
	// workstations that load nothing else.
	Class derived.Class
	// Structures are drawn and segmented beside the cavity: [StructureMyocardium],
	// [StructureAtrium].
	Structures []string
	// Segmentation adds a SEG object for every apical loop that was measured.
	Segmentation bool
	// Summary makes a page with the result of each stage as a secondary capture,
	// PDF the same pages as an encapsulated PDF.
	Summary, PDF bool
	// Pictures adds the report as text and HTML, and for every overlay an
	// animated GIF, the area curve and the ED and ES frames.
	Pictures bool
	// Station is the AE title of this node, for the equipment module.
	Station string
	// DeviceUID identifies this installation as the observer of its reports; one
	// made of the station's name when empty.
	DeviceUID string
	Revision  int
	// Predecessor is the report that this one replaces; nil for the first.
	Predecessor *instance.Ref
	// Drawn are, by SOP Instance UID, what Draw has made of loops before. They
	// are listed and not made again.
	Drawn map[string][]result.Output `json:"-"`
	// Keep, where it is set, keeps what make makes in a folder under a key, and
	// lists it; what is kept already is not made again. Summary pages go
	// through it: the page of a stage in which nothing has changed stays the
	// object that it was. It may be called from several goroutines.
	Keep func(key string, make func(dir string) ([]result.Output, error)) ([]result.Output, error) `json:"-"`
}

// OfLoop are the options that what is drawn of a loop depends on.
func (o Options) OfLoop() Options {
	return Options{Overlay: o.Overlay, JPEGQuality: o.JPEGQuality, Class: o.Class, Structures: o.Structures, Segmentation: o.Segmentation, Pictures: o.Pictures,
		Station: o.Station, DeviceUID: o.DeviceUID}
}

// ofPage are the options that the summary page of a stage depends on.
func (o Options) ofPage() Options {
	return Options{Strain: o.Strain, Structures: o.Structures, Summary: o.Summary, Station: o.Station, DeviceUID: o.DeviceUID}
}

// Write makes the outputs of a study in dir, which must exist, and lists them.
// It reads the study and changes nothing in it. An overlay, a segmentation or a
// summary that could never be made of its objects is listed as left out, which the
// report says. An error leaves nothing in dir.
func Write(ctx context.Context, s *result.Study, src Sources, dir string, o Options) (_ []result.Output, err error) {
	w := &writer{s: s, src: src, dir: dir, o: o, run: s.Run, keep: o.Keep}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.discard())
		}
	}()
	if err := w.identify(ctx); err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for i := range s.Loops {
		l := &s.Loops[i]
		if !Wanted(s, l, o) || seen[l.SOPInstanceUID] {
			continue
		}
		seen[l.SOPInstanceUID] = true
		if drawn, ok := o.Drawn[l.SOPInstanceUID]; ok && w.corrected == nil {
			w.made = append(w.made, drawn...)
			continue
		}
		made, err := draw(ctx, s, i, src, dir, o, w.corrected)
		if Undrawable(ctx, err) {
			made, err = LeftOut(l, o, err), nil
		}
		if err != nil {
			return nil, err
		}
		w.made = append(w.made, made...)
	}
	if err := w.summaries(ctx); err != nil {
		return nil, fmt.Errorf("summary: %w", err)
	}
	if o.Report { // it says what could not be made, and stands before the others
		n := len(w.made)
		w.left = leftOut(w.made, w.loopNames())
		if err := w.reports(); err != nil {
			return nil, fmt.Errorf("report: %w", err)
		}
		w.made = slices.Concat(w.made[n:], w.made[:n])
	}
	for _, p := range w.pages {
		if err := w.create(result.Output{Kind: result.KindReportHTML, File: p.name},
			func(f io.Writer) error { return p.document.WriteHTML(f, w.figures...) }); err != nil {
			return nil, err
		}
	}
	return w.made, nil
}

// unmakeable reports whether an error says that an object would not be valid, however
// often it is made.
func unmakeable(err error) bool {
	return errors.Is(err, derived.ErrCine) || errors.Is(err, derived.ErrSegmentation) || errors.Is(err, derived.ErrDocument)
}

// Undrawable reports whether an error of [Draw] says that a loop cannot be drawn
// because of its object as it is: the others of its study are none the worse. An object
// that cannot be read at the moment can be drawn later.
func Undrawable(ctx context.Context, err error) bool {
	return ctx.Err() == nil && dicomio.OfInput(err)
}

// LeftOut lists what is left out of a loop that cannot be drawn.
func LeftOut(l *result.Loop, o Options, err error) []result.Output {
	var at *dicomio.Error
	if errors.As(err, &at) {
		err = at.Err // which frame it is at, and of which object, is for the log
	}
	left := []result.Output{{Kind: result.KindOverlay, Source: l.SOPInstanceUID, LeftOut: why(err)}}
	if segmented(l, trustOf(l), o) {
		left = append(left, result.Output{Kind: result.KindSegmentation, Source: l.SOPInstanceUID, LeftOut: why(err)})
	}
	return left
}

// why is an error as it stands in a list of outputs and in a report.
func why(err error) string { return instance.Clip(encoding.Line(err.Error()), 300) }

// attempt makes outputs of one kind. What can never be made is listed as left out.
func (w *writer) attempt(kind, source string, make func() error) error {
	err := make()
	if !unmakeable(err) {
		return err
	}
	w.made = append(w.made, result.Output{Kind: kind, Source: source, LeftOut: why(err)})
	return nil
}

// leftOut says of which loops what could not be made, and why.
func leftOut(made []result.Output, names map[string]string) (out []string) {
	what := map[string]string{result.KindOverlay: "The overlay", result.KindSegmentation: "The segmentation", result.KindSummary: "A summary page",
		result.KindPDF: "The summary as PDF"}
	left := newGroups()
	for _, o := range made {
		if o.LeftOut != "" {
			left.add(cmp.Or(what[o.Kind], o.Kind)+"%s could not be made: "+o.LeftOut, names[o.Source])
		}
	}
	for _, text := range left.order {
		of := ""
		if names := distinct(left.of[text]); names[0] != "" {
			of = " of " + together(names)
		}
		out = append(out, strings.Replace(text, "%s", of, 1)+".")
	}
	return out
}

// discard removes what was made in the writer's folder; what is kept elsewhere stays.
func (w *writer) discard() (err error) {
	for _, o := range w.made {
		if o.File != "" && filepath.Dir(o.File) == filepath.Clean(w.dir) {
			err = errors.Join(err, os.Remove(o.File))
		}
	}
	return err
}

// htmlPage is a report that becomes a page once its pictures are drawn.
type htmlPage struct {
	name     string
	document *sr.Document
}

// Draw makes what is drawn of loop i of a study in dir: overlay, segmentation
// and pictures. It depends on that loop, its source object, the time and the
// program of its analysis, and the options of [Options.OfLoop]; whatever else
// the study holds, the same objects come out. The one exception is a patient or
// accession number on which the objects disagree: then [Write] draws anew.
func Draw(ctx context.Context, s *result.Study, i int, src Sources, dir string, o Options) ([]result.Output, error) {
	return draw(ctx, s, i, src, dir, o, nil)
}

// draw is Draw with another patient than that of the source.
func draw(ctx context.Context, s *result.Study, i int, src Sources, dir string, o Options, patient *dicomio.DataSet) ([]result.Output, error) {
	l := &s.Loops[i]
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	w := &writer{s: s, src: src, dir: dir, o: o.OfLoop(), run: s.Run, corrected: patient}
	if l.Run != nil {
		w.run = *l.Run
	}
	if err := w.describe(); err != nil {
		return nil, err
	}
	number := l.Number
	if number == 0 {
		number = i + 1
	}
	if err := w.loop(ctx, number, l); err != nil {
		return nil, errors.Join(fmt.Errorf("overlay of %s: %w", l.SOPInstanceUID, err), w.discard())
	}
	return w.made, nil
}

// identify collects what the outputs of the study have in common.
func (w *writer) identify(ctx context.Context) error {
	if w.s.StudyInstanceUID == "" {
		return ErrNoStudy
	}
	if err := w.describe(); err != nil {
		return err
	}
	return w.choosePatient(ctx)
}

// describe says what makes the outputs, and when.
func (w *writer) describe() error {
	run := w.run
	if run.Time.IsZero() || run.Software.Version == "" || run.Model.Name == "" {
		return errors.New("the result does not say when and by what it was made")
	}
	w.equipment = instance.Equipment{Manufacturer: result.Manufacturer, Model: "EchoNode", Version: run.Software.Version, Station: w.o.Station, UID: w.o.DeviceUID}
	if w.equipment.UID == "" {
		w.equipment.UID = instance.UID("device", w.o.Station)
	}
	w.algorithm = instance.Algorithm{Name: run.Model.Name, Version: run.Model.Version, Parameters: []string{"sha256=" + run.Model.SHA256}}
	settings, err := json.Marshal(w.o)
	if err != nil {
		return err
	}
	w.parts = []string{w.s.StudyInstanceUID, run.Time.Format(time.RFC3339Nano), run.Software.Version, run.Model.Name, run.Model.Version,
		run.Model.SHA256, string(settings)}
	return nil
}

// ErrNoStudy says that nothing can be made that would belong to the study.
var ErrNoStudy = errors.New("the objects have no Study Instance UID (0020,000D): no object can be made that belongs to them")

// ErrNoSource says that no object of the study can be read any more.
var ErrNoSource = errors.New("no object of the study can be read")

// choosePatient takes patient and study from the last object, so that a
// corrected name or accession number is in everything that is made; what the
// objects disagree about becomes a remark.
func (w *writer) choosePatient(ctx context.Context) error {
	values := map[dicomio.Tag]*groups{}
	for i := range w.s.Loops {
		l := &w.s.Loops[i]
		if l.Subject.Other(w.s.Subject) {
			continue // another patient's object is no word on this one
		}
		f, err := w.src.Open(ctx, l.SOPInstanceUID)
		if err != nil {
			continue // its reason is in the result
		}
		for _, t := range correctable {
			if values[t] == nil {
				values[t] = newGroups()
			}
			values[t].add(spelt(t, f.DataSet.String(t)), "")
		}
		// One object is open at a time: the memory for indexes may have room for no more.
		patient, err := instance.Subject(f.DataSet)
		_ = f.Close() // read only
		if err != nil {
			continue
		}
		w.patient, w.patientUID = patient, l.SOPInstanceUID
	}
	if w.patient == nil && !slices.ContainsFunc(w.s.Loops, func(l result.Loop) bool { return l.SOPInstanceUID != "" }) {
		return fmt.Errorf("%w: none has a SOP Instance UID (0008,0018)", ErrNoSource)
	}
	if w.patient == nil {
		return ErrNoSource
	}
	if w.s.RemovedBefore {
		w.remarks = append(w.remarks, "This study was removed here after an earlier report: this result is of the objects that came since, and of no others.")
	}
	for _, t := range correctable {
		if len(values[t].order) < 2 {
			continue
		}
		w.corrected = w.patient
		text := "The objects of the study differ in " + correctableName(t)
		if t == tag.AccessionNumber {
			var numbers []string
			for _, v := range values[t].order {
				numbers = append(numbers, instance.Clip(encoding.Line(v), 64))
			}
			text += " (" + listed(numbers) + ")"
		}
		w.remarks = append(w.remarks, text+"; what was made of it has that of the last object.")
	}
	w.remarks = append(w.remarks, bodyRemarks(w.s)...)
	if days := recordingDays(w.s); len(days) > 1 {
		w.remarks = append(w.remarks, "The loops were recorded on different days: "+strings.Join(days, ", ")+".")
	}
	if s := w.s.Subject; s.Child() {
		compared := "no value is compared with a normal range"
		if bsa := indices.ChildSurface(s); bsa > 0 && slices.ContainsFunc(w.s.Measurements, func(m result.Measurement) bool { return hasZScore(m, bsa) }) {
			compared = fmt.Sprintf("no value is compared with a normal range of adults; "+
				"z-scores are those of healthy children of a body surface of %.2f m2 by Haycock (%s)", bsa, quantity.PHN2017)
		}
		w.remarks = append(w.remarks, fmt.Sprintf("The patient was %s old. The network was made with adults, and so was this template: %s.",
			years(*s.AgeYears), compared))
	}
	return nil
}

// hasZScore reports whether a value is one that is compared with healthy children.
func hasZScore(m result.Measurement, bsa float64) bool {
	q, ok := quantity.Of(m.Name)
	if !ok || m.Value == nil || m.Quality.Grade == result.Poor {
		return false
	}
	_, known := q.NormalForChild(m.View, bsa)
	return known
}

// bodyRemarks are the doubts about age and size of the patient as sentences.
func bodyRemarks(s *result.Study) (out []string) {
	if s.Subject == nil {
		return nil
	}
	for _, d := range s.Subject.Doubts {
		if d.Text != "" {
			out = append(out, strings.ToUpper(d.Text[:1])+d.Text[1:]+".")
		}
	}
	return out
}

// recordingDays are the days of a study's measured loops where they lie further
// apart than a night does.
func recordingDays(s *result.Study) []string {
	var measured []*result.Loop
	for i := range s.Loops {
		if s.Loops[i].Status == result.Analysed && s.Loops[i].Date != "" {
			measured = append(measured, &s.Loops[i])
		}
	}
	dates := result.Days(measured...)
	slices.Sort(dates)
	dates = slices.Compact(dates)
	if len(dates) < 2 || result.DaysApart(dates[0], dates[len(dates)-1]) < 2 {
		return nil
	}
	for i, d := range dates {
		dates[i] = result.DateText(d)
	}
	return dates
}

// correctable are the attributes that people correct after a study has begun.
var correctable = []dicomio.Tag{tag.PatientName, tag.PatientBirthDate, tag.PatientSex, tag.AccessionNumber, tag.StudyID}

// spelt is a value of a correctable attribute as the outputs have it.
func spelt(t dicomio.Tag, s string) string {
	switch t {
	case tag.PatientBirthDate:
		return instance.Date(s)
	case tag.PatientSex:
		return instance.Sex(s)
	}
	return s
}

func correctableName(t dicomio.Tag) string {
	return map[dicomio.Tag]string{tag.PatientName: "the patient's name", tag.PatientBirthDate: "the birth date", tag.PatientSex: "the sex",
		tag.AccessionNumber: "the accession number", tag.StudyID: "the study ID"}[t]
}

// identifying are the attributes that every object of a series must share.
var identifying = append([]dicomio.Tag{tag.PatientID, tag.IssuerOfPatientID}, correctable...)

// seriesUID is the UID of a series of one kind of object about a patient.
func (w *writer) seriesUID(kind string, patient *dicomio.DataSet, more ...string) string {
	parts := slices.Clone(w.parts)
	for _, t := range identifying {
		parts = append(parts, patient.String(t))
	}
	return instance.UID(kind+" series", append(parts, more...)...)
}

// seriesNumber keeps the series of repeated runs apart.
func (w *writer) seriesNumber(n int) int { return n + runNumbers*max(w.o.Revision-1, 0) }

// described is a series description; from the second run on it says which.
func (w *writer) described(description, otherwise string) string {
	if description == "" {
		description = otherwise
	}
	if w.o.Revision > 1 {
		run := fmt.Sprintf(" (run %d)", w.o.Revision)
		return instance.Clip(description, 64-len(run)) + run
	}
	return instance.Clip(description, 64)
}

// dicomWriter writes a finished data set.
func dicomWriter(ds *dicomio.DataSet, ref instance.Ref) func(io.Writer) (string, error) {
	return func(f io.Writer) (string, error) {
		return ref.SOPInstanceUID, dicomio.Write(f, ds, dicomio.WriteOptions{})
	}
}

// Series numbers of the outputs, high enough not to mix with the study's own;
// the report of a repeated run has the next thousand.
const (
	reportSeries       = 9001
	overlaySeries      = 9101
	segmentationSeries = 9501
	summarySeries      = 9050
	pdfSeries          = 9051
	runNumbers         = 1000
)

// writer makes the outputs of one study.
type writer struct {
	s   *result.Study
	src Sources
	dir string
	o   Options
	run result.Run // when and by what the outputs are made
	// keep is Options.Keep.
	keep func(string, func(string) ([]result.Output, error)) ([]result.Output, error)

	patient    *dicomio.DataSet // whose patient and study the report has
	corrected  *dicomio.DataSet // the same where drawings must have it, else nil
	patientUID string
	remarks    []string // on patient and study
	equipment  instance.Equipment
	algorithm  instance.Algorithm
	// parts are what a series' UID is made of, with the kind of object.
	parts []string
	made  []result.Output

	names   map[string]string // of the loops, by SOP Instance UID; see loopNames
	left    []string          // what could not be made, in words
	pages   []htmlPage
	figures []sr.Figure
}

// fileName is what the files of a loop are called, as reports call the loop: "loop-07",
// "series-03-loop-01", "object-02".
func fileName(name string) string {
	words := strings.Fields(name)
	for i, word := range words {
		if n, err := strconv.Atoi(word); err == nil {
			words[i] = fmt.Sprintf("%02d", n)
		}
	}
	return strings.Join(words, "-")
}

// refOf refers to the object of a loop.
func refOf(s *result.Study, l *result.Loop) instance.Ref {
	return instance.Ref{StudyUID: s.StudyInstanceUID, SeriesUID: l.SeriesInstanceUID, SOPClassUID: l.SOPClassUID, SOPInstanceUID: l.SOPInstanceUID}
}

// Wanted reports whether something is drawn of a loop of a study.
func Wanted(s *result.Study, l *result.Loop, o Options) bool {
	if l.Status != result.Analysed || o.Overlay == "none" || !writable(refOf(s, l)) {
		return false
	}
	if o.Overlay == "measured" {
		return slices.ContainsFunc(s.Measurements, func(m result.Measurement) bool {
			return m.Value != nil && slices.ContainsFunc(m.Sources, func(src result.Source) bool { return src.SOPInstanceUID == l.SOPInstanceUID })
		})
	}
	return true
}

// create writes one output file and lists it.
func (w *writer) create(o result.Output, write func(io.Writer) error) error {
	return w.createObject(o, func(f io.Writer) (string, error) { return "", write(f) })
}

// createObject writes one object, whose UID is known once it is written.
func (w *writer) createObject(o result.Output, write func(io.Writer) (uid string, err error)) error {
	o.File = filepath.Join(w.dir, o.File)
	f, err := os.OpenFile(o.File, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	o.SOPInstanceUID, err = write(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(o.File))
	}
	w.made = append(w.made, o)
	return nil
}

// loop writes the overlay cine of a loop, its segmentation and its pictures.
func (w *writer) loop(ctx context.Context, number int, l *result.Loop) error {
	file, err := w.src.Open(ctx, l.SOPInstanceUID)
	if err != nil {
		return err
	}
	defer file.Close()
	frames, err := file.Frames()
	if err != nil {
		return err
	}
	if want := cmp.Or(l.ObjectFrames, l.Frames); frames.Len() != want {
		return fmt.Errorf("the object has %d frames, its result says %d", frames.Len(), want)
	}
	trusted := trustOf(l)
	name := fmt.Sprintf("%s-%s", fileName(w.loopName(l)), strings.ToLower(l.View))
	d, undrawn := w.drawing(ctx, l, trusted, frames)
	defer d.steps.End()
	if err := w.attempt(result.KindOverlay, l.SOPInstanceUID, func() error {
		if undrawn != nil {
			return undrawn
		}
		return w.overlay(l, file.DataSet, number, name, d)
	}); err != nil {
		return err
	}
	if err := w.attempt(result.KindSegmentation, l.SOPInstanceUID, func() error {
		return w.segmentation(l, trusted, file.DataSet, number, name)
	}); err != nil || !w.o.Pictures || undrawn != nil {
		return err
	}
	return w.pictures(l, trusted, name, d)
}

// drawing draws the frames of a loop. A step is a frame that is decoded, drawn and
// compressed.
type drawing struct {
	size   image.Point
	render func(i int) (*image.RGBA, error) // done with when the next is asked for
	word   string                           // who answers for what is drawn
	steps  *turns.Steps
}

// drawing prepares for drawing a loop. The error says that its frames cannot be drawn on.
func (w *writer) drawing(ctx context.Context, l *result.Loop, t trust, frames *dicomio.FrameReader) (drawing, error) {
	d := drawing{word: "UNVERIFIED", steps: turns.Begin(ctx)}
	m := w.run.Model
	renderer, err := overlay.NewRenderer(l.Columns, l.Rows, fmt.Sprintf("EchoNode %s, model %s %s", w.run.Software.Version, m.Name, m.Version))
	if err != nil {
		return d, fmt.Errorf("%w: %w", derived.ErrCine, err)
	}
	if w.s.Review != nil && l.CorrectedByReader() {
		renderer.Notice, d.word = overlay.NoticeVerified, "corrected and VERIFIED by a reader"
	}
	var source image.RGBA
	canvas := renderer.NewImage()
	d.size = renderer.Size()
	d.render = func(i int) (*image.RGBA, error) {
		if err := d.steps.Next(ctx); err != nil {
			return nil, err
		}
		if err := frames.RGB(i, &source); err != nil {
			return nil, err
		}
		if err := renderer.Render(canvas, &source, w.scene(l, t, i)); err != nil {
			return nil, fmt.Errorf("%w: %w", derived.ErrCine, err)
		}
		return canvas, nil
	}
	return d, nil
}

// overlay writes the overlay cine of a loop.
func (w *writer) overlay(l *result.Loop, source *dicomio.DataSet, number int, name string, d drawing) error {
	cine := derived.Cine{
		Identity: w.derived(l, source, number, result.KindOverlay, overlaySeries, "AI LV"),
		Source:   source, Class: w.o.Class, Rows: d.size.Y, Columns: d.size.X, Frames: l.Frames,
		SameGeometry: true, TimesMS: l.FrameTimes, Quality: w.o.JPEGQuality, Spacing: spacingOf(l), Scratch: w.dir,
		Description: fmt.Sprintf("Left ventricular contour by %s %s, %s", w.run.Model.Name, w.run.Model.Version, d.word),
	}
	return w.createObject(result.Output{Kind: result.KindOverlay, File: name + ".dcm", SOPClassUID: cine.SOPClassUID(), Source: l.SOPInstanceUID},
		func(f io.Writer) (string, error) { return cine.Write(f, d.render) })
}

// pictures writes what people look at of a loop.
func (w *writer) pictures(l *result.Loop, t trust, name string, d drawing) error {
	if l.Frames > 1 && len(l.FrameTimes) == l.Frames {
		animation := overlay.DefaultGIFOptions()
		animation.Hold, animation.HoldMS = t.held(), 500
		err := w.create(result.Output{Kind: result.KindAnimation, File: name + ".gif", Source: l.SOPInstanceUID}, func(f io.Writer) error {
			return overlay.WriteGIF(f, l.FrameTimes, animation, func(i int) (image.Image, error) { return d.render(i) })
		})
		if err != nil {
			return err
		}
		if err := w.curve(l, name); err != nil {
			return err
		}
	}
	stills := map[string]int{}
	for i, b := range t.beats {
		suffix := ""
		if i > 0 {
			suffix = strconv.Itoa(i + 1)
		}
		stills["ed"+suffix], stills["es"+suffix] = b.ED, b.ES
	}
	if len(stills) == 0 {
		stills["frame"] = 0
	}
	for _, phase := range slices.Sorted(maps.Keys(stills)) {
		img, err := d.render(stills[phase])
		if err != nil {
			return err
		}
		if err := w.create(result.Output{Kind: result.KindStill, File: name + "-" + phase + ".png", Source: l.SOPInstanceUID},
			func(f io.Writer) error { return overlay.WritePNG(f, img) }); err != nil {
			return err
		}
	}
	return nil
}

// derived is the identity of an object made from one loop. Every object has a
// series of its own, whose description says view and stage: viewers list
// series, and of sixteen alike nobody finds the right one. Its UID depends on the
// patient that the objects have: what is drawn anew after a correction of another
// loop does not join what the old name stands on.
func (w *writer) derived(l *result.Loop, source *dicomio.DataSet, number int, kind string, series int, what string) derived.Identity {
	parts := []string{what, l.View}
	if l.Stage != "" {
		parts = append(parts, strings.TrimSpace(l.Stage))
	}
	// Of several loops of one number the series tells; whether there are is not asked,
	// so that a drawing depends on nothing but its loop.
	if l.InstanceNumber > 0 && l.SeriesNumber > 1 {
		parts = append(parts, fmt.Sprintf("series %d", l.SeriesNumber))
	}
	if l.InstanceNumber > 0 {
		parts = append(parts, fmt.Sprintf("loop %d", l.InstanceNumber))
	}
	patient := source
	if w.corrected != nil {
		patient = w.corrected
	}
	// The time keeps repeated runs apart.
	made := w.run.Time.Format(" 2006-01-02 15:04")
	return derived.Identity{
		SeriesInstanceUID: w.seriesUID(kind, patient, l.SOPInstanceUID),
		SeriesNumber:      series + number - 1,
		InstanceNumber:    1,
		SeriesDescription: instance.Clip(strings.Join(parts, " "), 64-len(made)) + made,
		Patient:           w.corrected,
		Time:              w.run.Time,
		Equipment:         w.equipment,
		Algorithm:         w.algorithm,
	}
}

// segmented reports whether a segmentation of a loop is asked for.
func segmented(l *result.Loop, t trust, o Options) bool {
	return o.Segmentation && l.View != models.ViewPLAX && (t.measured || l.Beside != nil && trustOf(l.Beside).measured)
}

// segmentation writes the cavity of every frame that is measured with, and the
// structures asked for, as a SEG.
func (w *writer) segmentation(l *result.Loop, t trust, source *dicomio.DataSet, number int, name string) error {
	if !segmented(l, t, w.o) {
		return nil
	}
	segments := []derived.Segment{{Structure: derived.Cavity}}
	structures := w.structures(l)
	for _, st := range structures {
		segments = append(segments, derived.Segment{Structure: st.segment})
	}
	for i := range l.FrameResults {
		f := &l.FrameResults[i]
		if !t.measured || t.removed[f.Index] {
			continue
		}
		add := func(k int, rings ...[]lv.Point) {
			segments[k].Regions = append(segments[k].Regions, derived.Region{Frame: f.Index + 1, Rings: rings})
		}
		if len(f.Contour) > 0 {
			add(0, longaxis.Points(f.Contour))
		}
		for k, st := range structures {
			o, ok := f.Structures[st.class]
			switch {
			case !ok:
			case st.segment != derived.Myocardium:
				add(k+1, longaxis.Points(o))
			case len(f.Contour) > 0:
				// Its outline goes around the cavity, which is no part of it.
				add(k+1, longaxis.Points(o), longaxis.Points(f.Contour))
			}
		}
	}
	// The other plane's is a segment of its own: an area is that of one of them.
	second := derived.Segment{Structure: derived.SecondCavity}
	for i := range l.Frames {
		for _, o := range outlineBeside(l, i) {
			if o.Kind == overlay.Ventricle {
				second.Regions = append(second.Regions, derived.Region{Frame: i + 1, Rings: [][]lv.Point{o.Points}})
			}
		}
	}
	segments = append(segments, second)
	seg := derived.Segmentation{Identity: w.derived(l, source, number, result.KindSegmentation, segmentationSeries, "AI LV SEG"), Source: source,
		Frames: cmp.Or(l.ObjectFrames, l.Frames), Spacing: spacingOf(l)}
	for _, s := range segments {
		if len(s.Regions) > 0 {
			seg.Segments = append(seg.Segments, s)
		}
	}
	if len(seg.Segments) == 0 {
		return nil
	}
	return w.createObject(result.Output{Kind: result.KindSegmentation, File: name + "-seg.dcm", SOPClassUID: uid.SegmentationStorage, Source: l.SOPInstanceUID},
		seg.Write)
}

// spacingOf is the size of a pixel, down and across, of what is drawn of a loop; nil
// where it is not known, or that of its other plane is another.
func spacingOf(l *result.Loop) *[2]float64 {
	if !l.Spacing.Trusted {
		return nil
	}
	if o := l.Beside; o != nil {
		alike := func(a, b float64) bool { return math.Abs(a-b) <= 0.01*a }
		if !o.Spacing.Trusted || !alike(l.Spacing.X, o.Spacing.X) || !alike(l.Spacing.Y, o.Spacing.Y) {
			return nil
		}
	}
	return &[2]float64{l.Spacing.Y, l.Spacing.X}
}

// curve draws the area over time.
func (w *writer) curve(l *result.Loop, name string) error {
	if l.View == models.ViewPLAX {
		return nil
	}
	c := overlay.Curve{Title: "LV area, " + l.View, Unit: "cm2", TimesMS: l.FrameTimes, RWaveMS: l.RWaves}
	scale := 0.01 // mm2 to cm2
	if !l.Spacing.Trusted {
		c.Unit, scale = "pixels", 1
	}
	for _, b := range l.Beats {
		c.Beats = append(c.Beats, lv.Beat{ED: b.ED, ES: b.ES, NextED: b.NextED})
	}
	for i := range l.Frames {
		v := math.NaN()
		if f := l.FrameAt(i); f != nil && len(f.Contour) > 0 {
			v = scale * lv.PolygonArea(longaxis.Points(f.Contour), longaxis.Spacing(l))
		}
		c.Values = append(c.Values, v)
	}
	if !slices.ContainsFunc(c.Values, func(v float64) bool { return !math.IsNaN(v) }) {
		return nil // no frame has an outline
	}
	if l.Curve != nil {
		for _, v := range l.Curve.Smoothed {
			c.Smoothed = append(c.Smoothed, scale*v)
		}
	}
	return w.create(result.Output{Kind: result.KindCurve, File: name + "-area.svg", Source: l.SOPInstanceUID}, c.WriteSVG)
}
