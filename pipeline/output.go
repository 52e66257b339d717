package pipeline

import (
	"context"
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

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/derived"
	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/overlay"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/sr"
	"github.com/echonode/echonode/sr/instance"
)

// OutputOptions say what is made of a study.
type OutputOptions struct {
	Report      bool
	Codeset     sr.Codeset
	Overlay     string // "all", "measured" or "none"
	JPEGQuality int    // of overlay frames, 1 to 100
	// Class of overlays: secondary capture, or derived ultrasound for
	// workstations that load nothing else.
	Class derived.Class
	// Segmentation adds a SEG object for every analysed apical loop.
	Segmentation bool
	// Pictures adds the report as text and HTML, and for every overlay an
	// animated GIF, the area curve and the ED and ES frames.
	Pictures bool
	// Station is the AE title of this node, for the equipment module.
	Station  string
	Revision int
	// Predecessor is the file of the report that this one replaces, or "".
	Predecessor string
}

// deviceUID identifies EchoNode as the observer of its reports.
const deviceUID = "2.25.164371280530964301571062518047309712664"

// Write makes the outputs of an analysed study in dir, which must exist, and
// lists them in s.Outputs.
func (a *Analyzer) Write(ctx context.Context, s *Study, dir string, o OutputOptions) error {
	id, closeSource, err := a.identity(s, o)
	if err != nil {
		return err
	}
	defer closeSource()
	w := &writer{a: a, s: s, dir: dir, o: o, id: id}
	if o.Report {
		if err := w.report(); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	for i, l := range s.loops {
		if !w.wanted(l) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := w.loop(ctx, i, l); err != nil {
			return fmt.Errorf("overlay of %s: %w", l.SOPInstanceUID, err)
		}
	}
	return nil
}

// identity collects what the outputs share. The source data set stays open
// until the returned function is called.
func (a *Analyzer) identity(s *Study, o OutputOptions) (identity, func(), error) {
	m := a.Model()
	id := identity{
		equipment: instance.Equipment{Manufacturer: "EchoNode", Model: "EchoNode", Version: a.opt.Software.Version, Station: o.Station, UID: deviceUID},
		algorithm: instance.Algorithm{Name: m.Name, Version: m.Version, Parameters: []string{"sha256=" + m.SHA256}},
		time:      time.Now(),
		parts:     []string{s.StudyInstanceUID, strconv.Itoa(o.Revision), a.opt.Software.Version, m.Name, m.Version, m.SHA256, string(o.Codeset)},
	}
	var uids []string
	for _, l := range s.loops {
		uids = append(uids, l.SOPInstanceUID)
	}
	slices.Sort(uids)
	id.parts = append(id.parts, uids...)
	if o.Predecessor != "" {
		f, err := dicomio.Open(o.Predecessor, dicomio.Options{Strict: true})
		if err != nil {
			return id, nil, fmt.Errorf("predecessor: %w", err)
		}
		ref := instance.RefOf(f.DataSet)
		id.predecessor = &ref
		if err := f.Close(); err != nil {
			return id, nil, err
		}
	}
	for _, l := range s.loops {
		f, err := dicomio.Open(l.path, dicomio.Options{Limits: a.opt.Limits})
		if err != nil {
			continue // its reason is in the result
		}
		id.source = f.DataSet
		return id, func() { _ = f.Close() }, nil // read only
	}
	return id, nil, errors.New("no object of the study can be read")
}

// writer makes the outputs of one study.
type writer struct {
	a   *Analyzer
	s   *Study
	dir string
	o   OutputOptions
	id  identity
}

func (w *writer) wanted(l *loop) bool {
	if l.Status != result.Analysed || w.o.Overlay == "none" {
		return false
	}
	if w.o.Overlay == "measured" {
		return slices.ContainsFunc(w.s.Measurements, func(m result.Measurement) bool {
			return m.Value != nil && slices.ContainsFunc(m.Sources, func(src result.Source) bool { return src.SOPInstanceUID == l.SOPInstanceUID })
		})
	}
	return true
}

// create writes one output file and lists it.
func (w *writer) create(o result.Output, write func(io.Writer) error) error {
	o.File = filepath.Join(w.dir, o.File)
	f, err := os.Create(o.File)
	if err != nil {
		return err
	}
	if err := errors.Join(write(f), f.Close()); err != nil {
		return err
	}
	w.s.Outputs = append(w.s.Outputs, o)
	return nil
}

func (w *writer) report() error {
	ds, err := w.s.report(w.id, sr.Settings{Codeset: w.o.Codeset})
	if err != nil {
		return err
	}
	ref := instance.RefOf(ds)
	if err := w.create(result.Output{Kind: result.KindReport, File: "report.dcm", SOPClassUID: ref.SOPClassUID, SOPInstanceUID: ref.SOPInstanceUID},
		func(f io.Writer) error {
			return dicomio.Write(f, ds, dicomio.WriteOptions{TransferSyntax: dicomio.ExplicitVRLittleEndian})
		}); err != nil {
		return err
	}
	if !w.o.Pictures {
		return nil
	}
	// What people read is made from the object itself, so that both say the same.
	doc, err := sr.Parse(ds)
	if err != nil {
		return err
	}
	return errors.Join(
		w.create(result.Output{Kind: result.KindReportText, File: "report.txt"}, doc.WriteText),
		w.create(result.Output{Kind: result.KindReportHTML, File: "report.html"}, doc.WriteHTML))
}

// loop writes the overlay cine of a loop and its pictures.
func (w *writer) loop(ctx context.Context, index int, l *loop) error {
	file, err := dicomio.Open(l.path, dicomio.Options{Limits: w.a.opt.Limits})
	if err != nil {
		return err
	}
	defer file.Close()
	frames, err := file.Frames()
	if err != nil {
		return err
	}
	m := w.a.Model()
	renderer, err := overlay.NewRenderer(l.Columns, l.Rows, fmt.Sprintf("EchoNode %s, model %s %s", w.a.opt.Software.Version, m.Name, m.Version))
	if err != nil {
		return err
	}
	var source image.RGBA
	canvas := renderer.NewImage()
	render := func(i int) (*image.RGBA, error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := frames.RGB(i, &source); err != nil {
			return nil, err
		}
		return canvas, renderer.Render(canvas, &source, l.scene(i))
	}
	name := fmt.Sprintf("loop-%02d-%s", index+1, strings.ToLower(l.View))
	cine := derived.Cine{
		Identity: w.derived(l, index, result.KindOverlay, overlaySeries, "AI LV Overlay"),
		Source:   file.DataSet, Class: w.o.Class, Rows: renderer.Size().Y, Columns: renderer.Size().X, Frames: len(l.frames),
		SameGeometry: true, TimesMS: l.FrameTimes, Quality: w.o.JPEGQuality,
		Description: fmt.Sprintf("Left ventricular contour by %s %s, UNVERIFIED", m.Name, m.Version),
	}
	if l.Spacing.Trusted {
		cine.Spacing = &[2]float64{l.Spacing.Y, l.Spacing.X}
	}
	if err := w.create(result.Output{Kind: result.KindOverlay, File: name + ".dcm", SOPClassUID: cine.SOPClassUID(),
		SOPInstanceUID: cine.Identity.SOPInstanceUID, Source: l.SOPInstanceUID}, func(f io.Writer) error { return cine.Write(f, render) }); err != nil {
		return err
	}
	if err := w.segmentation(l, file.DataSet, index, name); err != nil {
		return err
	}
	if !w.o.Pictures {
		return nil
	}
	if len(l.frames) > 1 && len(l.FrameTimes) == len(l.frames) {
		err := w.create(result.Output{Kind: result.KindAnimation, File: name + ".gif", Source: l.SOPInstanceUID}, func(f io.Writer) error {
			return overlay.WriteGIF(f, l.FrameTimes, overlay.DefaultGIFOptions(), func(i int) (image.Image, error) { return render(i) })
		})
		if err != nil {
			return err
		}
		if err := w.curve(l, name); err != nil {
			return err
		}
	}
	stills := map[string]int{}
	for i, b := range l.rhythm.Beats {
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
		img, err := render(stills[phase])
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

// derived is the identity of an object made from one loop.
func (w *writer) derived(l *loop, index int, kind string, series int, description string) derived.Identity {
	parts := append([]string{strconv.Itoa(int(w.o.Class))}, w.id.parts...)
	return derived.Identity{
		SOPInstanceUID:    instance.UID(kind, append([]string{l.SOPInstanceUID}, parts...)...),
		SeriesInstanceUID: instance.UID(kind+" series", parts...),
		SeriesNumber:      series,
		InstanceNumber:    index + 1,
		SeriesDescription: description,
		Time:              w.id.time,
		Equipment:         w.id.equipment,
		Algorithm:         w.id.algorithm,
	}
}

// segmentation writes cavity, myocardium and atrium of every frame as a SEG.
func (w *writer) segmentation(l *loop, source *dicomio.DataSet, index int, name string) error {
	if !w.o.Segmentation || l.View == models.ViewPLAX {
		return nil
	}
	cavity := derived.Segment{Structure: derived.Cavity}
	myocardium := derived.Segment{Structure: derived.Myocardium}
	atrium := derived.Segment{Structure: derived.Atrium}
	for i := range l.frames {
		f := &l.frames[i]
		if f.outline != nil {
			cavity.Regions = append(cavity.Regions, derived.Region{Frame: i + 1, Rings: [][]lv.Point{f.outline.Points}})
			// The myocardium's outline goes around the cavity, which is no part of it.
			if o, ok := f.structures[models.ClassLVMyocardium]; ok {
				myocardium.Regions = append(myocardium.Regions, derived.Region{Frame: i + 1, Rings: [][]lv.Point{o.Points, f.outline.Points}})
			}
		}
		if o, ok := f.structures[models.ClassLeftAtrium]; ok {
			atrium.Regions = append(atrium.Regions, derived.Region{Frame: i + 1, Rings: [][]lv.Point{o.Points}})
		}
	}
	seg := derived.Segmentation{Identity: w.derived(l, index, result.KindSegmentation, segmentationSeries, "AI LV Segmentation"), Source: source}
	for _, s := range []derived.Segment{cavity, myocardium, atrium} {
		if len(s.Regions) > 0 {
			seg.Segments = append(seg.Segments, s)
		}
	}
	if len(seg.Segments) == 0 {
		return nil
	}
	return w.create(result.Output{Kind: result.KindSegmentation, File: name + "-seg.dcm", SOPClassUID: dicomio.SOPSegmentation,
		SOPInstanceUID: seg.Identity.SOPInstanceUID, Source: l.SOPInstanceUID}, seg.Write)
}

// curve draws the area over time.
func (w *writer) curve(l *loop, name string) error {
	if l.View == models.ViewPLAX {
		return nil
	}
	c := overlay.Curve{Title: "LV area, " + l.View, Unit: "cm2", TimesMS: l.FrameTimes, Beats: l.rhythm.Beats, RWaveMS: l.facts.RWaveTimes}
	scale := 0.01 // mm2 to cm2
	if !l.Spacing.Trusted {
		c.Unit, scale = "pixels", 1
	}
	for _, f := range l.frames {
		v := math.NaN()
		if f.outline != nil {
			v = scale * lv.PolygonArea(f.outline.Points, l.spacing)
		}
		c.Values = append(c.Values, v)
	}
	for _, v := range l.rhythm.Smoothed {
		c.Smoothed = append(c.Smoothed, scale*v)
	}
	return w.create(result.Output{Kind: result.KindCurve, File: name + "-area.svg", Source: l.SOPInstanceUID}, c.WriteSVG)
}

// scene is what is drawn on a frame.
func (l *loop) scene(i int) overlay.Scene {
	f := &l.frames[i]
	s := overlay.Scene{Status: fmt.Sprintf("%s  frame %d/%d", l.View, i+1, len(l.frames))}
	if len(l.FrameTimes) == len(l.frames) {
		s.Status += fmt.Sprintf("  %.0f ms", l.FrameTimes[i])
	}
	for _, b := range l.rhythm.Beats {
		switch i {
		case b.ED, b.NextED:
			s.Badge = "ED"
		case b.ES:
			s.Badge = "ES"
		}
	}
	if l.View == models.ViewPLAX {
		if c, ok := calipers(f, 0); ok {
			s.Keypoints = []lv.Point{c.IVSRight, c.IVSLeft, c.PWInner, c.PWOuter}
			s.Lines = []overlay.Line{{A: c.IVSRight, B: c.IVSLeft}, {A: c.IVSLeft, B: c.PWInner}, {A: c.PWInner, B: c.PWOuter}}
		}
		return s
	}
	if o, ok := f.structures[models.ClassLVMyocardium]; ok {
		s.Outlines = append(s.Outlines, overlay.Outline{Kind: overlay.Myocardium, Points: o.Points})
	}
	if o, ok := f.structures[models.ClassLeftAtrium]; ok {
		s.Outlines = append(s.Outlines, overlay.Outline{Kind: overlay.Atrium, Points: o.Points})
	}
	if f.outline == nil {
		return s
	}
	s.Outlines = append(s.Outlines, overlay.Outline{Kind: overlay.Ventricle, Points: f.outline.Points})
	if l.Spacing.Trusted {
		s.Status += fmt.Sprintf("  LV %.1f cm2", lv.PolygonArea(f.outline.Points, l.spacing)/100)
	}
	if axis, err := lv.LongAxis(f.outline.Points, l.spacing, landmarks(f), l.axisOptions(lv.DefaultAxisOptions())); err == nil {
		s.Axis = &axis
		s.Keypoints = []lv.Point{axis.Apex, axis.Annulus[0], axis.Annulus[1]}
	}
	return s
}
