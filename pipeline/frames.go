package pipeline

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"image"
	"io/fs"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/pixel"
	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/internal/evidence"
	"github.com/echonode/echonode/pipeline/internal/longaxis"
	"github.com/echonode/echonode/pipeline/internal/turns"
	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/measure"
	"github.com/echonode/echonode/pipeline/result"
)

// flow is what the loops of an Analyzer, of all studies together, may hold at
// a time: as many frames as keep the engine busy (slots), and for work on the
// processor, before and after the engine, as many benches as there are
// workers. A loop whose frames come slowly holds no bench while it waits for
// the engine, so that frames of others are decoded meanwhile, and the engine
// finds the frames of all of them waiting, which is how its batches fill. Senders
// take turns for both, and for the time of the engine.
type flow struct {
	places *turns.Places // of the work on the processor
	lanes  *turns.Places // of the engine; one for each slot
	// What belongs to a place and to a lane; there is one for whoever has one.
	benches chan *bench
	slots   chan *slot
	open    *semaphore.Weighted // room for objects of Begin
	seed    maphash.Seed        // of digests, which tell pictures of one loop apart
}

// slot is one frame on its way through the engine.
type slot struct {
	input *image.Gray
	out   models.Output
}

// bench is the scratch memory of a worker.
type bench struct {
	gray image.Gray
	rgba image.RGBA
}

func newFlow(card models.Card, slots int, places *turns.Places) *flow {
	f := &flow{places: places, lanes: turns.New(places.Accounts(), slots), benches: make(chan *bench, places.Size()), slots: make(chan *slot, slots),
		seed: maphash.MakeSeed()}
	for range slots {
		f.slots <- &slot{input: image.NewGray(image.Rect(0, 0, card.Input.Width, card.Input.Height))}
	}
	for range places.Size() {
		f.benches <- new(bench)
	}
	f.open = semaphore.NewWeighted(int64(f.loops()))
	return f
}

// work waits for a place for a step of a party's work; done gives it back.
func (f *flow) work(ctx context.Context, party string) (b *bench, done func(), err error) {
	turn, err := f.places.Take(ctx, party, turns.Analysing)
	if err != nil {
		return nil, nil, err
	}
	b = <-f.benches
	return b, func() {
		f.benches <- b
		turn.Done()
	}, nil
}

// lane waits until a frame of a party may go to the engine; leave makes room for
// another.
func (f *flow) lane(ctx context.Context, party string) (s *slot, leave func(), err error) {
	turn, err := f.lanes.Take(ctx, party, turns.Analysing)
	if err != nil {
		return nil, nil, err
	}
	s = <-f.slots
	return s, func() {
		f.slots <- s
		turn.Leave() // a frame's time in Infer is counted: that of its whole batch, and waiting for the batch
	}, nil
}

// loops is how many loops at a time keep the engine busy: one for every sample
// by which views are judged that fits into the slots, and one more whose object
// is being opened.
func (f *flow) loops() int { return min(1+(f.lanes.Size()+sampleFrames-1)/sampleFrames, maxLoops) }

// maxLoops bounds the objects that are open at a time.
const maxLoops = 16

// infer takes the given frames through decoding, network and contours. A
// damaged frame is a *verdict on the loop; any other error is the context's or
// the engine's.
func (a *Analyzer) infer(ctx context.Context, l *loop, frames *dicomio.FrameReader, indices []int) error {
	group, working := errgroup.WithContext(ctx)
	for _, i := range indices {
		s, leave, err := a.flow.lane(working, l.party)
		if err != nil {
			break // a frame failed, or the caller's context ended
		}
		decoded := false
		if frames.Sequential() {
			if err := a.decode(working, l, frames, i, s); err != nil {
				leave()
				group.Go(func() error { return err })
				break
			}
			decoded = true
		}
		group.Go(func() error {
			defer leave()
			if !decoded {
				if err := a.decode(working, l, frames, i, s); err != nil {
					return err
				}
			}
			return a.look(working, l, i, s)
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// decode fills the slot's input with the analysed region of frame i.
func (a *Analyzer) decode(ctx context.Context, l *loop, frames *dicomio.FrameReader, i int, s *slot) (err error) {
	b, done, err := a.flow.work(ctx, l.party)
	if err != nil {
		return err
	}
	defer done()
	defer a.contain(l, i, &err)
	// The object's own time: what others make it wait for does not count.
	if spent := time.Duration(l.took.decode.Load()); spent > a.opt.Timeout {
		return failed(result.TimeLimit, "%d of its %d frames took %v to decode, at most %v are spent on one object", l.decoded.Load(), l.Frames,
			spent.Round(time.Second), a.opt.Timeout)
	}
	start := time.Now()
	defer func() { l.took.decode.Add(int64(time.Since(start))); l.decoded.Add(1) }()
	if err := frames.Gray(i, &b.gray); err != nil {
		return damaged(i, err)
	}
	canvas, err := l.box.Canvas(s.input)
	if err != nil {
		return damaged(i, err)
	}
	pixel.ResampleArea(canvas, &b.gray, l.box.Crop)
	if l.box.Mirrored {
		models.Mirror(canvas)
	}
	return nil
}

// look runs the network on the slot's input and reads its output.
func (a *Analyzer) look(ctx context.Context, l *loop, i int, s *slot) (err error) {
	defer a.contain(l, i, &err)
	start := time.Now()
	if err := a.engine.Infer(ctx, s.input.Pix, 1, &s.out); err != nil {
		return fmt.Errorf("inference: %w", err)
	}
	took := time.Since(start)
	l.took.infer.Add(int64(took))
	a.flow.places.Accounts().Charge(l.party, took)
	_, done, err := a.flow.work(ctx, l.party)
	if err != nil {
		return err
	}
	defer done()
	start = time.Now()
	l.frames[i] = a.readFrame(a.engine.Card(), l.box, &s.out)
	l.frames[i].digest = maphash.Bytes(a.flow.seed, s.input.Pix) | 1 // 0 is none
	l.frames[i].small = reduced(s.input, cutSide)
	l.bright().Add(s.input)
	if o := l.frames[i].outline; o != nil {
		l.frames[i].unseen = l.unseen(s.input, &l.frames[i], a.opt.LV.Axis)
	}
	if i == 0 {
		l.Thumbnail = thumbnail(s.input)
	}
	l.took.contour.Add(int64(time.Since(start)))
	return nil
}

// thumbnail is the picture as the network saw it, in few gray levels: by it the
// same picture is recognised in another object.
func thumbnail(input *image.Gray) []byte { return reduced(input, measure.ThumbnailSide) }

// reduced is a picture of side x side pixels.
func reduced(input *image.Gray, side int) []byte {
	small := image.NewGray(image.Rect(0, 0, side, side))
	pixel.ResampleArea(small, input, input.Rect)
	return small.Pix
}

// bright collects the frames that were looked at in the present way of display.
func (l *loop) bright() *evidence.Brightest {
	if l.box.Mirrored {
		return &l.brightest[1]
	}
	return &l.brightest[0]
}

// unseen is the part of a frame's outline without a wall beside it.
func (l *loop) unseen(input *image.Gray, f *frame, o lv.AxisOptions) float64 {
	axis, err := lv.LongAxis(f.outline.Points, l.spacing, longaxis.Landmarks(f.keypoints), longaxis.Options(&l.Loop, o))
	if err != nil {
		return 0
	}
	toInput := l.box.InputFromSource()
	at := func(p lv.Point) lv.Point {
		x, y := toInput.Apply(p.X, p.Y)
		return lv.Point{X: x, Y: y}
	}
	outline := make([]lv.Point, len(f.outline.Points))
	for k, p := range f.outline.Points {
		outline[k] = at(p)
	}
	return evidence.Unseen(input, outline, at(axis.Base), at(axis.Apex))
}

// sector is the outline of the imaging sector in source pixels.
func (l *loop) sector() result.Contour {
	hull := l.bright().Sector()
	if len(hull) == 0 {
		return nil
	}
	toSource := l.box.SourceFromInput()
	return result.NewContour(len(hull), func(i int) (x, y float64) { return toSource.Apply(hull[i].X, hull[i].Y) })
}

// contain turns a panic over one frame into a verdict on its loop: one object
// must not end the node, whatever it makes a codec do.
func (a *Analyzer) contain(l *loop, frame int, err *error) {
	if r := recover(); r != nil {
		a.log.Error("frame panicked", "object", l.SOPInstanceUID, "frame", frame, "panic", r, "stack", string(debug.Stack()))
		*err = damaged(frame, fmt.Errorf("panic: %v", r))
	}
}

// damaged is the verdict on a loop one of whose frames cannot be decoded.
func damaged(frame int, err error) *verdict {
	return failed(codeOf(err), "frame %d of the cine: %v", frame, err)
}

// codeOf tells a decoder that takes too long from pixels that are damaged.
func codeOf(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return result.TimeLimit
	}
	return result.DecodeFailed
}

// verdict is why a loop is not measured. It is an error so that the steps of
// the analysis return it; it ends the loop, not the study.
type verdict struct {
	status string
	reason result.Reason
}

func (v *verdict) Error() string { return v.status + ": " + v.reason.Text }

func refused(code, format string, args ...any) *verdict {
	return &verdict{result.Refused, result.Reasonf(code, format, args...)}
}

// failed is of what could not be done. Reports say it: no path of this machine stands in it.
func failed(code, format string, args ...any) *verdict {
	for i, a := range args {
		var file *fs.PathError
		if err, ok := a.(error); ok && errors.As(err, &file) {
			args[i] = strings.ReplaceAll(err.Error(), file.Error(), file.Err.Error())
		}
	}
	return &verdict{result.Failed, result.Reasonf(code, format, args...)}
}

// readFrame turns the network's planes into contours and points of the source.
func (a *Analyzer) readFrame(card models.Card, box models.Letterbox, out *models.Output) frame {
	if !finite(out) {
		r := result.Reasonf(result.NetworkOutput, "the network's answer is not finite")
		return frame{done: true, lost: &r}
	}
	f := frame{done: true, structures: map[string]lv.Outline{}, keypoints: map[string]lv.Keypoint{}}
	mask := lv.Affine(box.SourceFromMask())
	w, h := card.Input.Width/models.MaskStride, card.Input.Height/models.MaskStride
	for c, name := range card.Classes {
		outline, err := lv.ExtractContour(out.MaskPlane(0, c), w, h, mask, a.opt.LV.Contour)
		if err != nil {
			continue // nothing of that structure in this frame
		}
		if box.Mirrored {
			slices.Reverse(outline.Points) // still clockwise in the source
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
	f.views, f.extras = slices.Clone(out.ViewProbs(0)), slices.Clone(out.ExtraValues(0))
	return f
}

// finite reports whether what the network says of one frame is numbers
// throughout. The masks are bytes and cannot be otherwise.
func finite(out *models.Output) bool {
	var sum float32
	for _, v := range out.Heatmaps {
		sum += v * 0 // 0, or NaN for what is not finite
	}
	for _, v := range out.View {
		sum += v * 0
	}
	for _, v := range out.Extras {
		sum += v * 0
	}
	return sum == 0
}
