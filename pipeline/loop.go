package pipeline

import (
	"context"
	"errors"
	"fmt"
	"image"
	"log/slog"
	"math"
	"runtime"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"github.com/suyashkumar/dicom/pkg/tag"
	"golang.org/x/sync/errgroup"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/measure"
	"github.com/echonode/echonode/pipeline/result"
)

// Options are the settings of an Analyzer. Zero values are replaced by the
// defaults named.
type Options struct {
	Software  result.Software
	Workers   int // frames worked on at once; 0: GOMAXPROCS
	MaxFrames int // longest loop analysed; 0: 2000
	LV        lv.Options
	Limits    dicomio.Limits
}

// Analyzer runs the network over loops and measures them. It is safe for
// concurrent use.
type Analyzer struct {
	engine models.Engine
	opt    Options
	log    *slog.Logger
}

// NewAnalyzer returns an Analyzer on an open engine, which stays the caller's.
func NewAnalyzer(engine models.Engine, opt Options, log *slog.Logger) *Analyzer {
	if opt.Workers <= 0 {
		opt.Workers = runtime.GOMAXPROCS(0)
	}
	if opt.MaxFrames <= 0 {
		opt.MaxFrames = 2000
	}
	return &Analyzer{engine: engine, opt: opt, log: log}
}

// Model names the network and what runs it.
func (a *Analyzer) Model() result.Model {
	c := a.engine.Card()
	return result.Model{Name: c.Name, Version: c.Version, SHA256: c.SHA256, Provider: a.engine.Provider()}
}

// frame is what one frame gave, in source pixels. It is written by the one
// worker that has the frame.
type frame struct {
	done       bool
	outline    *lv.Outline
	structures map[string]lv.Outline
	keypoints  map[string]lv.Keypoint
	views      []float32
}

// loop is one object under analysis: the result under construction and what
// later steps need of its pixels.
type loop struct {
	result.Loop
	path    string
	facts   dicomio.EchoFacts
	region  image.Rectangle
	box     models.Letterbox
	frames  []frame
	spacing lv.Spacing // the pixel's shape when not calibrated
	took    struct{ decode, infer, contour atomic.Int64 }
}

func (l *loop) refuse(r result.Reason) { l.Status, l.Reason = result.Refused, &r }
func (l *loop) fail(r result.Reason)   { l.Status, l.Reason = result.Failed, &r }

// sampleFrames is how many frames decide the view and whether there is colour.
const sampleFrames = 8

// analyse does everything that one object allows. What is wrong with the
// object ends up in its result; the error is the caller's context or the
// engine that broke.
func (a *Analyzer) analyse(ctx context.Context, path string) (*loop, error) {
	start := time.Now()
	l := &loop{path: path, Loop: result.Loop{File: path}}
	defer func() {
		l.Timing = result.Timing{
			Wall:      ms(time.Since(start)),
			Decode:    ms(time.Duration(l.took.decode.Load())),
			Inference: ms(time.Duration(l.took.infer.Load())),
			Contours:  ms(time.Duration(l.took.contour.Load())),
		}
	}()
	// A truncated object is read as far as it goes, to say whose it is.
	file, err := dicomio.Open(path, dicomio.Options{Limits: a.opt.Limits})
	if err != nil {
		l.fail(result.Reasonf(result.Unreadable, "not readable as DICOM: %v", err))
		return l, nil
	}
	defer file.Close()
	l.facts, err = dicomio.Echo(file)
	l.describe()
	if n, ok := file.DataSet.Int(tag.InstanceNumber); ok && n > 0 {
		l.InstanceNumber = int(n)
	}
	if err != nil {
		l.fail(result.Reasonf(result.Unreadable, "attributes contradict each other: %v", err))
		return l, nil
	}
	if err := file.Truncated(); err != nil {
		l.fail(result.Reasonf(result.Truncated, "the object ends early: %v", err))
		return l, nil
	}
	if r := refuseByTags(l.facts); r != nil {
		l.refuse(*r)
		return l, nil
	}
	if l.Frames > a.opt.MaxFrames {
		l.refuse(result.Reasonf(result.TooManyFrames, "%d frames, at most %d are analysed", l.Frames, a.opt.MaxFrames))
		return l, nil
	}
	frames, err := file.Frames()
	if err != nil {
		l.fail(result.Reasonf(result.DecodeFailed, "pixel data cannot be read: %v", err))
		return l, nil
	}
	if err := l.place(a.engine.Card()); err != nil {
		l.fail(result.Reasonf(result.DecodeFailed, "%v", err))
		return l, nil
	}
	l.frames = make([]frame, frames.Len())

	sample := spread(frames.Len(), sampleFrames)
	if err := l.checkColour(frames, sample); err != nil {
		l.fail(result.Reasonf(result.DecodeFailed, "%v", err))
		return l, nil
	}
	if l.Status == result.Refused {
		return l, nil
	}
	if err := a.infer(ctx, l, frames, sample); err != nil {
		return l, err
	}
	if l.Status == result.Failed {
		return l, nil
	}
	a.decideView(l, sample)
	if !measuredView(l.View) {
		l.refuse(result.Reasonf(result.ViewNotMeasured, "view %s is not measured", l.View))
		l.report()
		return l, nil
	}
	rest := make([]int, 0, frames.Len())
	for i := range l.frames {
		if !l.frames[i].done {
			rest = append(rest, i)
		}
	}
	if err := a.infer(ctx, l, frames, rest); err != nil {
		return l, err
	}
	if l.Status == result.Failed {
		return l, nil
	}
	l.Status = result.Analysed
	l.report()
	measure.Loop(&l.Loop, a.measuring())
	return l, nil
}

// measuring are the settings of package measure.
func (a *Analyzer) measuring() measure.Options {
	return measure.Options{LV: a.opt.LV, WallPoints: a.engine.Card().Validated(plaxPoints...)}
}

// describe copies the facts of the object into its result.
func (l *loop) describe() {
	f := &l.facts
	l.SOPInstanceUID, l.SOPClassUID, l.SeriesInstanceUID = f.SOPInstanceUID, f.SOPClassUID, f.SeriesUID
	l.Manufacturer = f.Manufacturer
	l.Stage, l.StageNumber, l.ViewNumber = f.StageName, max(f.StageNumber, 0), max(f.ViewNumber, 0)
	l.RWaves = f.RWaveTimes
	l.Frames, l.Rows, l.Columns = f.Frames, f.Rows, f.Columns
	l.FrameTimes, l.FrameTimeSource, l.HeartRate = f.FrameTimes, f.FrameTimeSource, f.HeartRate
	c := f.Calibration
	l.Spacing = result.Spacing{Aspect: c.AspectX2Y, Source: c.Source, Trusted: c.Trusted, Reason: c.Reason}
	if c.Trusted {
		l.Spacing.X, l.Spacing.Y = c.MMPerPixelX, c.MMPerPixelY
	}
	l.spacing.X, l.spacing.Y = l.PixelSize()
	l.region = image.Rect(0, 0, f.Columns, f.Rows)
	// A region that does not fit the pixels was written for another size of
	// the picture: its place says nothing then.
	if f.Tissue != nil && f.Tissue.Fits {
		l.region = f.Tissue.Rect.Intersect(l.region)
	}
	l.Region = &result.Region{MinX: l.region.Min.X, MinY: l.region.Min.Y, MaxX: l.region.Max.X, MaxY: l.region.Max.Y}
	l.Warnings = nil
	for _, d := range f.Doubts {
		l.Warnings = append(l.Warnings, result.Reason{Code: d.Code, Text: d.Text})
	}
}

// place fits the analysed region into the network's input.
func (l *loop) place(card models.Card) (err error) {
	l.box, err = models.NewLetterbox(l.region, l.spacing.X/l.spacing.Y, card.Input.Width, card.Input.Height)
	return err
}

// checkColour refuses loops with colour Doppler that their tags do not admit.
func (l *loop) checkColour(frames *dicomio.FrameReader, sample []int) error {
	var img image.RGBA
	for _, i := range []int{sample[0], sample[len(sample)/2], sample[len(sample)-1]} {
		start := time.Now()
		if err := frames.RGB(i, &img); err != nil {
			return fmt.Errorf("frame %d: %w", i, err)
		}
		l.took.decode.Add(int64(time.Since(start)))
		if f := dicomio.ColourFraction(&img, l.region); f > dicomio.ColourThreshold {
			l.refuse(result.Reasonf(result.ColourDoppler, "colour or tissue Doppler: %.0f %% of the pixels are coloured", 100*f))
			return nil
		}
	}
	return nil
}

// infer takes the given frames through decoding, network and contours.
// Damaged frames fail the loop; a broken engine is returned.
func (a *Analyzer) infer(ctx context.Context, l *loop, frames *dicomio.FrameReader, indices []int) error {
	card := a.engine.Card()
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range min(a.opt.Workers, len(indices)) {
		group.Go(func() (err error) {
			at := -1
			defer func() {
				// One object must not end the node, whatever it makes a codec do.
				if r := recover(); r != nil {
					a.log.Error("frame panicked", "object", l.SOPInstanceUID, "frame", at, "panic", r, "stack", string(debug.Stack()))
					err = &frameError{at, fmt.Errorf("panic: %v", r)}
				}
			}()
			var gray image.Gray
			var out models.Output
			input := image.NewGray(image.Rect(0, 0, card.Input.Width, card.Input.Height))
			for {
				n := int(next.Add(1)) - 1
				if n >= len(indices) {
					return nil
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				i := indices[n]
				at = i
				start := time.Now()
				if err := l.load(frames, i, &gray, input); err != nil {
					return &frameError{i, err}
				}
				decoded := time.Now()
				if err := a.engine.Infer(ctx, input.Pix, 1, &out); err != nil {
					return fmt.Errorf("inference: %w", err)
				}
				inferred := time.Now()
				l.frames[i] = a.readFrame(card, l.box, &out)
				l.took.decode.Add(int64(decoded.Sub(start)))
				l.took.infer.Add(int64(inferred.Sub(decoded)))
				l.took.contour.Add(int64(time.Since(inferred)))
			}
		})
	}
	err := group.Wait()
	var damaged *frameError
	if errors.As(err, &damaged) {
		l.fail(result.Reasonf(result.DecodeFailed, "%v", damaged))
		return nil
	}
	return err
}

// frameError is a frame that cannot be decoded.
type frameError struct {
	index int
	err   error
}

func (e *frameError) Error() string { return fmt.Sprintf("frame %d of the cine: %v", e.index, e.err) }
func (e *frameError) Unwrap() error { return e.err }

// load decodes frame i and resamples the analysed region into the input.
func (l *loop) load(frames *dicomio.FrameReader, i int, gray, input *image.Gray) error {
	if err := frames.Gray(i, gray); err != nil {
		return err
	}
	canvas, err := l.box.Canvas(input)
	if err != nil {
		return err
	}
	dicomio.ResampleArea(canvas, gray, l.region)
	return nil
}

// readFrame turns the network's planes into contours and points of the source.
func (a *Analyzer) readFrame(card models.Card, box models.Letterbox, out *models.Output) frame {
	f := frame{done: true, structures: map[string]lv.Outline{}, keypoints: map[string]lv.Keypoint{}}
	mask := lv.Affine(box.SourceFromMask())
	w, h := card.Input.Width/models.MaskStride, card.Input.Height/models.MaskStride
	for c, name := range card.Classes {
		outline, err := lv.ExtractContour(out.MaskPlane(0, c), w, h, mask, a.opt.LV.Contour)
		if err != nil {
			continue // nothing of that structure in this frame
		}
		if name == models.ClassLVCavity {
			f.outline = &outline
		} else {
			f.structures[name] = outline
		}
	}
	toSource := box.SourceFromInput()
	for k, name := range card.Keypoints {
		x, y, confidence := models.DecodeKeypoint(out.Heatmap(0, k), card.Input.Width/models.HeatmapStride, card.Input.Height/models.HeatmapStride)
		x, y = toSource.Apply(x, y)
		f.keypoints[name] = lv.Keypoint{Point: lv.Point{X: x, Y: y}, Confidence: confidence}
	}
	f.views = slices.Clone(out.ViewProbs(0))
	return f
}

var (
	apicalPoints = []string{models.KeypointApex, models.KeypointMitralSeptal, models.KeypointMitralLateral}
	plaxPoints   = []string{models.KeypointIVSRight, models.KeypointIVSLeft, models.KeypointPWInner, models.KeypointPWOuter}
)

// decideView averages the view head over the sampled frames.
func (a *Analyzer) decideView(l *loop, sample []int) {
	names := a.engine.Card().Views
	l.Views = make(map[string]float64, len(names))
	for v, name := range names {
		sum := 0.0
		for _, i := range sample {
			sum += float64(l.frames[i].views[v])
		}
		p := sum / float64(len(sample))
		l.Views[name] = round(p, 4)
		if p > l.ViewProbability {
			l.View, l.ViewProbability = name, round(p, 4)
		}
	}
}

// report copies contours and points of the frames that were looked at into the
// result: all of an analysed loop, the sample of one whose view is refused.
func (l *loop) report() {
	points := apicalPoints
	if l.View == models.ViewPLAX {
		points = plaxPoints
	}
	for i := range l.frames {
		f := &l.frames[i]
		if !f.done {
			continue
		}
		r := result.Frame{Index: i}
		if f.outline != nil && l.View != models.ViewPLAX {
			r.Contour = contour(f.outline.Points)
			r.LVAreaPixels = round(lv.PolygonArea(f.outline.Points, lv.Spacing{X: 1, Y: 1}), 2)
			r.Confidence = round(f.outline.Certainty, 4)
			r.Stray = round(f.outline.Stray(), 4)
			if l.Spacing.Trusted {
				r.LVArea = round(lv.PolygonArea(f.outline.Points, l.spacing)/100, 4)
			}
		}
		if l.View != models.ViewPLAX && len(f.structures) > 0 {
			r.Structures = make(map[string]result.Contour, len(f.structures))
			for name, o := range f.structures {
				r.Structures[name] = contour(o.Points)
			}
		}
		for _, name := range points {
			if k, ok := f.keypoints[name]; ok {
				r.Keypoints = append(r.Keypoints, result.Keypoint{Name: name, X: round(k.X, 3), Y: round(k.Y, 3), Confidence: round(k.Confidence, 4)})
			}
		}
		l.FrameResults = append(l.FrameResults, r)
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

func round(v float64, digits int) float64 {
	p := math.Pow(10, float64(digits))
	return math.Round(v*p) / p
}

func ms(d time.Duration) float64 { return round(float64(d)/float64(time.Millisecond), 3) }
