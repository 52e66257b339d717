package pipeline

import (
	"cmp"
	"context"
	"errors"
	"image"
	"log/slog"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/pipeline/echo"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/internal/evidence"
	"github.com/echonode/echonode/pipeline/internal/turns"
	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/measure"
	"github.com/echonode/echonode/pipeline/result"
)

// Options are the settings of an Analyzer. Zero values are replaced by the
// defaults named.
type Options struct {
	Software  result.Software
	Workers   int           // frames decoded or traced at once; 0: GOMAXPROCS
	MaxFrames int           // of a longer loop only so many are analysed, from its beginning; 0: 2000
	MaxPixels int64         // of all frames of an object together; 0: 2e9
	Timeout   time.Duration // for decoding one object, all its frames together; 0: 10 minutes
	LV        lv.Options
	Limits    dicomio.Limits
	Mirrored  MirroredDisplay // what becomes of mirrored displays; empty: MeasureMirrored
	// Places are shared with who else works on this processor; nil: as many as
	// Workers, but at least two, so that one who waits for a disk does not hold up
	// all others.
	Places *turns.Places
}

// Analyzer runs the network over loops and measures them. It is safe for
// concurrent use.
type Analyzer struct {
	engine models.Engine
	opt    Options
	log    *slog.Logger
	flow   *flow
}

// NewAnalyzer returns an Analyzer on an open engine, which stays the caller's.
func NewAnalyzer(engine models.Engine, opt Options, log *slog.Logger) *Analyzer {
	if opt.Workers <= 0 {
		opt.Workers = runtime.GOMAXPROCS(0)
	}
	if opt.MaxFrames <= 0 {
		opt.MaxFrames = 2000
	}
	if opt.MaxPixels <= 0 {
		opt.MaxPixels = 2e9
	}
	if opt.Timeout <= 0 {
		opt.Timeout = 10 * time.Minute
	}
	if opt.Places == nil {
		opt.Places = turns.New(turns.NewAccounts(), max(opt.Workers, 2))
	}
	slots := max(models.InFlight(engine), opt.Places.Size())
	return &Analyzer{engine: engine, opt: opt, log: log, flow: newFlow(engine.Card(), slots, opt.Places)}
}

// Limits are those that the analysed objects are read under.
func (a *Analyzer) Limits() dicomio.Limits { return a.opt.Limits }

// Places are where the work on the processor is done.
func (a *Analyzer) Places() *turns.Places { return a.opt.Places }

// Model names the network and what runs it.
func (a *Analyzer) Model() result.Model {
	c := a.engine.Card()
	return result.Model{Name: c.Name, Version: c.Version, SHA256: c.SHA256, Provider: a.engine.Provider()}
}

// frame is what one frame gave, in source pixels. It is written by the one
// goroutine that has the frame.
type frame struct {
	done       bool
	digest     uint64         // of the picture as the network saw it
	small      []byte         // the picture as the network saw it, see cutSide
	lost       *result.Reason // why nothing is known of a frame that was looked at
	outline    *lv.Outline
	structures map[string]lv.Outline
	keypoints  map[string]lv.Keypoint
	views      []float32
	extras     []float32 // see models.Card.Extras
	unseen     float64   // part of the outline without a wall beside it
}

// loop is one object under analysis: the result under construction and what
// later steps need of its pixels.
type loop struct {
	result.Loop
	path   string
	party  string // whose turn its frames take
	facts  echo.Facts
	region image.Rectangle
	box    models.Letterbox
	frames []frame
	drawn  map[int][]image.Point // what is drawn into the frames that were looked at for colour, in source pixels
	other  *echo.TissueRegion    // that may show the other plane of one recording
	// brightest of the frames as they came, and mirrored
	brightest [2]evidence.Brightest
	spacing   lv.Spacing   // the pixel's shape when not calibrated
	decoded   atomic.Int64 // frames
	took      struct{ decode, infer, contour atomic.Int64 }
}

// sampleFrames is how many frames decide the view and whether there is colour.
const sampleFrames = 8

// analyse does everything that one object allows. What is wrong with the
// object ends up in its result; the error is the caller's context, the engine
// that broke, or a lack of memory that others hold.
func (a *Analyzer) analyse(ctx context.Context, path, party string) (*loop, error) {
	start := time.Now()
	l := &loop{path: path, party: party, Loop: result.Loop{File: path}}
	err := a.inspect(ctx, l)
	if ctx.Err() != nil {
		return l, context.Cause(ctx) // what failed then is no fault of the object
	}
	var v *verdict
	switch {
	case err == nil:
		l.Status = result.Analysed
	case errors.As(err, &v):
		l.Status, l.Reason = v.status, &v.reason
	default:
		return l, err
	}
	l.report(a.engine.Card())
	if l.Status == result.Analysed {
		measure.Loop(&l.Loop, a.measuring())
	}
	l.Timing = result.Timing{
		Wall:      ms(time.Since(start)),
		Decode:    ms(time.Duration(l.took.decode.Load())),
		Inference: ms(time.Duration(l.took.infer.Load())),
		Contours:  ms(time.Duration(l.took.contour.Load())),
	}
	return l, nil
}

// inspect reads the object and looks at its frames. A *verdict says why the
// loop is not measured; the caller alone records it.
func (a *Analyzer) inspect(ctx context.Context, l *loop) error {
	file, err := dicomio.OpenContext(ctx, l.path, dicomio.Options{Limits: a.opt.Limits})
	if errors.Is(err, dicomio.ErrBusy) {
		return err
	}
	if err != nil {
		return failed(result.Unreadable, "not readable as DICOM: %v", err)
	}
	defer file.Close()
	if err := a.admit(l, file); err != nil {
		return err
	}
	frames, err := a.open(l, file)
	if err != nil {
		return err
	}
	sample := spread(l.Frames, sampleFrames)
	if err := a.findPicture(ctx, l, frames, sample); err != nil {
		return err
	}
	if err := a.lookThrough(ctx, l, file, frames, sample); err != nil {
		return err
	}
	return a.lookBeside(ctx, l, file, frames, sample)
}

// lookThrough looks at all frames of the picture that was found, those of the sample
// first, which say whether its view is measured.
func (a *Analyzer) lookThrough(ctx context.Context, l *loop, file *dicomio.File, frames *dicomio.FrameReader, sample []int) error {
	if err := a.infer(ctx, l, frames, sample); err != nil {
		return err
	}
	if err := a.decideView(ctx, l, frames, sample); err != nil {
		return err
	}
	if echo.Reworked(file.DataSet, file.DataSet.Strings(tag.ImageType)) {
		l.Warnings = append(l.Warnings, result.Reasonf(result.Derived,
			"derived from another image: what a program has drawn into it or cut from it is measured too"))
	}
	if r := calledOtherwise(file.DataSet, l.View); r != nil {
		l.Warnings = append(l.Warnings, *r)
	}
	for _, doubt := range []*result.Reason{stageNotSaid(file.DataSet, &l.Loop), acquisitionDoubt(file.DataSet)} {
		if doubt != nil {
			l.Warnings = append(l.Warnings, *doubt)
		}
	}
	rest := make([]int, 0, l.Frames)
	for i := range l.frames {
		if !l.frames[i].done {
			rest = append(rest, i)
		}
	}
	if err := a.infer(ctx, l, frames, rest); err != nil {
		return err
	}
	if err := l.judgeCuts(a.engine.Card().Views, a.opt.LV.Beats); err != nil {
		return err
	}
	if r := l.drawnAround(); r != nil {
		l.Warnings = append(l.Warnings, *r)
	}
	digests := make([]uint64, len(l.frames))
	for i := range l.frames {
		digests[i] = l.frames[i].digest
	}
	if r := repeats(digests, l.FrameTimes); r != nil {
		l.Warnings = append(l.Warnings, *r)
	}
	return nil
}

// admit says by its attributes whether an object is a loop to be measured. One
// that is truncated is read as far as it goes, to say whose it is.
func (a *Analyzer) admit(l *loop, file *dicomio.File) (err error) {
	l.facts, err = readFacts(file, 0)
	l.describe()
	l.bound(a.opt.MaxFrames)
	l.Dates = recordedOn(file.DataSet)
	l.Date = cmp.Or(l.Dates.Acquisition, l.Dates.Content, l.Dates.Study)
	subject := SubjectOf(file.DataSet)
	l.Subject = &subject
	if n, ok := file.DataSet.Int(tag.InstanceNumber); ok && n > 0 {
		l.InstanceNumber = int(n)
	}
	if n, ok := file.DataSet.Int(tag.SeriesNumber); ok && n > 0 {
		l.SeriesNumber = int(n)
	}
	if err != nil {
		return failed(result.Unreadable, "attributes contradict each other: %v", err)
	}
	if err := file.Truncated(); err != nil {
		return failed(result.Truncated, "the object ends early: %v", err)
	}
	kind := file.DataSet.Strings(tag.ImageType)
	if echo.FromOthers(kind) {
		l.Sources = echo.Sources(file.DataSet)
	}
	if echo.Derived(l.facts.SOPClassUID, kind) && echo.NamesSource(file.DataSet) {
		return refused(result.Derived, "derived from another image and no picture of an examination: it is not measured")
	}
	if r := refuseByTags(l.facts); r != nil {
		return &verdict{result.Refused, *r}
	}
	if r := refuseByAcquisition(file.DataSet); r != nil {
		return &verdict{result.Refused, *r}
	}
	return a.checkSize(l)
}

// checkSize refuses what is too large to be looked at.
func (a *Analyzer) checkSize(l *loop) error {
	if n := int64(l.Rows) * int64(l.Columns); n > a.opt.MaxPixels/int64(l.Frames) {
		return refused(result.TooManyPixels, "%d frames of %dx%d pixels, at most %d pixels are analysed", l.Frames, l.Columns, l.Rows, a.opt.MaxPixels)
	}
	return nil
}

// open opens the pixels. Where they hold another number of frames than announced
// the pixels are right.
func (a *Analyzer) open(l *loop, file *dicomio.File) (*dicomio.FrameReader, error) {
	frames, err := file.Frames()
	if errors.Is(err, dicomio.ErrNoPixels) {
		return nil, refused(result.NoPixels, "the object holds no image")
	}
	if err != nil {
		return nil, failed(codeOf(err), "pixel data cannot be read: %v", err)
	}
	if n := frames.Len(); n != l.facts.Frames {
		if l.facts, err = readFacts(file, n); err != nil {
			return nil, failed(result.Unreadable, "attributes contradict each other: %v", err)
		}
		l.describe()
		l.bound(a.opt.MaxFrames)
		if err := a.checkSize(l); err != nil {
			return nil, err
		}
	}
	l.frames = make([]frame, l.Frames)
	return frames, nil
}

// findPicture finds the part of the screen that is analysed, and refuses what is
// coloured there.
func (a *Analyzer) findPicture(ctx context.Context, l *loop, frames *dicomio.FrameReader, sample []int) error {
	find := a.chooseRegion
	if l.facts.Tissue == nil || !l.facts.Tissue.Fits || l.regionIsScreen() {
		find = a.findSector
	}
	if err := find(ctx, l, frames, sample); err != nil {
		return err
	}
	if err := l.place(a.engine.Card()); err != nil {
		return failed(result.DecodeFailed, "%v", err)
	}
	return a.checkColour(ctx, l, frames, sample)
}

// measuring are the settings of package measure.
func (a *Analyzer) measuring() measure.Options {
	card := a.engine.Card()
	o := measure.Options{LV: a.opt.LV, WallPoints: card.Validated(plaxPoints...), MinExpectedDice: card.Limits.ExpectedDice}
	for _, view := range []string{models.ViewA4C, models.ViewA2C} {
		if card.ValidatedIn(view, models.ClassLeftAtrium) {
			o.Indices.Atrium = append(o.Indices.Atrium, view)
		}
	}
	return o
}

// describe copies the facts of the object into its result.
func (l *loop) describe() {
	f := &l.facts
	l.SOPInstanceUID, l.SOPClassUID, l.SeriesInstanceUID = f.SOPInstanceUID, f.SOPClassUID, f.SeriesUID
	l.Manufacturer = f.Manufacturer
	l.Stage, l.StageNumber, l.ViewNumber = f.StageName, max(f.StageNumber, 0), max(f.ViewNumber, 0)
	l.StageView = f.StageView
	l.RWaves = f.RWaveTimes
	l.Frames, l.Rows, l.Columns = f.Frames, f.Rows, f.Columns
	l.FrameTimes, l.FrameTimeSource, l.HeartRate = f.FrameTimes, f.FrameTimeSource, f.HeartRate
	l.calibrate(f.Calibration)
	l.region = image.Rect(0, 0, f.Columns, f.Rows)
	// A region that does not fit the pixels was written for another size of
	// the picture: its place says nothing then.
	if f.Tissue != nil && f.Tissue.Fits {
		l.region = f.Tissue.Rect.Intersect(l.region)
	}
	l.analyseRegion(l.region)
	l.Warnings = nil
	for _, d := range f.Doubts {
		l.Warnings = append(l.Warnings, result.Reason{Code: d.Code, Text: d.Text})
	}
}

// describeBeside makes the other plane of a loop's object a loop that begins with what
// the object says, and with its own region.
func (l *loop) describeBeside(most int) *loop {
	o := &loop{path: l.path, party: l.party, facts: l.facts,
		Loop: result.Loop{File: l.File, InstanceNumber: l.InstanceNumber, SeriesNumber: l.SeriesNumber, SecondPlane: true}}
	o.describe()
	o.bound(most)
	o.frames = make([]frame, o.Frames)
	o.useAlone(*l.other)
	return o
}

// bound leaves out what follows the first frames of a cine of minutes: they hold
// beats enough, and what an object costs stays bounded.
func (l *loop) bound(most int) {
	l.ObjectFrames = 0
	if l.Frames <= most {
		return
	}
	all := l.Frames
	l.Frames = most
	l.CutFrom(all)
	if len(l.FrameTimes) != l.ObjectFrames {
		return
	}
	l.FrameTimes = l.FrameTimes[:most]
	l.RWaves = slices.DeleteFunc(slices.Clone(l.RWaves), func(ms float64) bool { return ms > l.FrameTimes[most-1] })
}

// calibrate takes over the size of a pixel.
func (l *loop) calibrate(c echo.Calibration) {
	l.Spacing = result.Spacing{Aspect: c.AspectX2Y, Source: c.Source, Trusted: c.Trusted, Reason: c.Reason}
	if c.Trusted {
		l.Spacing.X, l.Spacing.Y = c.MMPerPixelX, c.MMPerPixelY
	}
	l.spacing.X, l.spacing.Y = l.PixelSize()
}

func (l *loop) analyseRegion(r image.Rectangle) {
	l.region = r
	l.Region = &result.Region{MinX: r.Min.X, MinY: r.Min.Y, MaxX: r.Max.X, MaxY: r.Max.Y}
}

// place fits the analysed region into the network's input.
func (l *loop) place(card models.Card) (err error) {
	l.box, err = models.NewLetterbox(l.region, l.spacing.X/l.spacing.Y, card.Input.Width, card.Input.Height)
	return err
}

// checkColour refuses loops with colour Doppler that their tags do not admit.
func (a *Analyzer) checkColour(ctx context.Context, l *loop, frames *dicomio.FrameReader, sample []int) error {
	for _, i := range slices.Compact([]int{sample[0], sample[len(sample)/2], sample[len(sample)-1]}) {
		fraction, err := a.colour(ctx, l, frames, i)
		if err != nil {
			return err
		}
		if fraction > echo.ColourThreshold {
			return refused(result.ColourDoppler, "colour or tissue Doppler: %.0f %% of the pixels are coloured", 100*fraction)
		}
	}
	return nil
}

// colour is the fraction of coloured pixels in the analysed region of frame i.
func (a *Analyzer) colour(ctx context.Context, l *loop, frames *dicomio.FrameReader, i int) (fraction float64, err error) {
	b, done, err := a.flow.work(ctx, l.party)
	if err != nil {
		return 0, err
	}
	defer done()
	defer a.contain(l, i, &err)
	start := time.Now()
	defer func() { l.took.decode.Add(int64(time.Since(start))) }()
	if err := frames.RGB(i, &b.rgba); err != nil {
		return 0, damaged(i, err)
	}
	if l.drawn == nil {
		l.drawn = map[int][]image.Point{}
	}
	l.drawn[i] = echo.Drawn(&b.rgba, l.region)
	return echo.ColourFraction(&b.rgba, l.region), nil
}

var (
	apicalPoints = []string{models.KeypointApex, models.KeypointMitralSeptal, models.KeypointMitralLateral}
	plaxPoints   = []string{models.KeypointIVSRight, models.KeypointIVSLeft, models.KeypointPWInner, models.KeypointPWOuter}
)

// report copies contours and points of the frames that were looked at into the
// result: all of an analysed loop, the sample of one whose view is refused,
// none of one that failed.
func (l *loop) report(card models.Card) {
	if l.Status == result.Failed {
		return
	}
	points := apicalPoints
	if l.View == models.ViewPLAX {
		points = plaxPoints
	}
	expected := card.Extra(models.ExtraExpectedDice)
	l.Sector = l.sector()
	lost := 0
	for i := range l.frames {
		f := &l.frames[i]
		if !f.done {
			continue
		}
		r := result.Frame{Index: i, Lost: f.lost}
		if f.lost != nil {
			lost++
		}
		if f.outline != nil && l.View != models.ViewPLAX {
			r.Contour = contour(f.outline.Points)
			r.LVAreaPixels = result.Round(lv.PolygonArea(f.outline.Points, lv.Spacing{X: 1, Y: 1}), 2)
			r.Confidence = result.Round(f.outline.Certainty, 4)
			r.Stray = result.Round(f.outline.Stray(), 4)
			r.Unseen = result.Round(f.unseen, 4)
			if expected >= 0 {
				r.ExpectedDice = result.Round(float64(f.extras[expected]), 4)
			}
			if l.Spacing.Trusted {
				r.LVArea = result.Round(lv.PolygonArea(f.outline.Points, l.spacing)/100, 4)
			}
		}
		if l.View != models.ViewPLAX && len(f.structures) > 0 {
			r.Structures = make(map[string]result.Contour, len(f.structures))
			r.StructureConfidence = make(map[string]float64, len(f.structures))
			for name, o := range f.structures {
				r.Structures[name] = contour(o.Points)
				r.StructureConfidence[name] = result.Round(o.Certainty, 4)
			}
		}
		for _, name := range points {
			if k, ok := f.keypoints[name]; ok {
				r.Keypoints = append(r.Keypoints, result.Keypoint{Name: name, X: result.Round(k.X, 3), Y: result.Round(k.Y, 3), Confidence: result.Round(k.Confidence, 4)})
			}
		}
		l.FrameResults = append(l.FrameResults, r)
	}
	if lost > 0 {
		l.Warnings = append(l.Warnings, result.Reasonf(result.NetworkOutput, "%d of %d frames are left out: the network's answer is not finite",
			lost, len(l.FrameResults)))
	}
}

func contour(points []lv.Point) result.Contour {
	return result.NewContour(len(points), func(i int) (x, y float64) { return points[i].X, points[i].Y })
}

// spread returns up to n indices evenly over 0..total-1, first and last among
// them.
func spread(total, n int) []int {
	if total <= n {
		n = total
	}
	out := make([]int, n)
	for i := range out {
		if n > 1 {
			out[i] = (i*(total-1) + (n-1)/2) / (n - 1)
		}
	}
	return slices.Compact(out)
}

func ms(d time.Duration) float64 { return result.Round(float64(d)/float64(time.Millisecond), 3) }
