package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/result"
)

// each is an engine that is asked before every call of brightness.
type each struct {
	*brightness
	before func(ctx context.Context) error
	after  func(out *models.Output)
}

func (e each) Infer(ctx context.Context, frames []byte, n int, out *models.Output) error {
	if e.before != nil {
		if err := e.before(ctx); err != nil {
			return err
		}
	}
	if err := e.brightness.Infer(ctx, frames, n, out); err != nil {
		return err
	}
	if e.after != nil {
		e.after(out)
	}
	return nil
}

func loops(t *testing.T, n int) []string {
	t.Helper()
	dir := t.TempDir()
	var paths []string
	for i := range n {
		c := cine{sop: fmt.Sprintf("1.2.3.%d", i+1), study: "1.2.3", width: 200, height: 150, spacingX: 1, spacingY: 1, frameTimeMS: 35,
			lengthMM: beats(90, 75, 2), diameterMM: beats(50, 35, 2)}
		paths = append(paths, c.write(t, dir))
	}
	return paths
}

// TestNotFinite: what is not finite in the network's answer on one frame costs
// that frame. Two beats of 24 frames bear that.
func TestNotFinite(t *testing.T) {
	for name, spoil := range map[string]func(*models.Output){
		"NaN in a heatmap":      func(o *models.Output) { o.Heatmaps[77] = float32(math.NaN()) },
		"infinity in a heatmap": func(o *models.Output) { o.Heatmaps[0] = float32(math.Inf(1)) },
		"NaN among the views":   func(o *models.Output) { o.View[2] = float32(math.NaN()) },
	} {
		t.Run(name, func(t *testing.T) {
			// The third call is one of those by which the view is judged, the
			// 30th is not.
			for _, which := range []int64{3, 30} {
				var calls atomic.Int64
				e := each{brightness: newBrightness(models.ViewA4C), after: func(o *models.Output) {
					if calls.Add(1) == which {
						spoil(o)
					}
				}}
				s := analyse(t, e, loops(t, 1)...)
				l := s.Loops[0]
				if l.Status != result.Analysed || l.View != models.ViewA4C || len(l.FrameResults) != 54 {
					t.Fatalf("%s as %s with %d frames: %v", l.Status, l.View, len(l.FrameResults), l.Reason)
				}
				lost := 0
				for _, f := range l.FrameResults {
					switch {
					case f.Lost != nil && f.Lost.Code == result.NetworkOutput && f.Contour == nil && f.Keypoints == nil:
						lost++
					case f.Contour == nil:
						t.Errorf("frame %d has no contour", f.Index)
					}
				}
				if lost != 1 || !slices.ContainsFunc(l.Warnings, func(r result.Reason) bool { return r.Code == result.NetworkOutput }) {
					t.Errorf("%d frames lost, warnings %v", lost, l.Warnings)
				}
				if edv := value(t, s.Measurements, result.EDV); math.Abs(edv-117.8) > 4 {
					t.Errorf("EDV = %.1f", edv)
				}
				if _, err := (&result.Document{Studies: []result.Study{s.Study}}).Encode(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	t.Run("everywhere", func(t *testing.T) {
		e := each{brightness: newBrightness(models.ViewA4C), after: func(o *models.Output) { o.View[0] = float32(math.NaN()) }}
		l := analyse(t, e, loops(t, 1)...).Loops[0]
		if l.Status != result.Failed || l.Reason.Code != result.NetworkOutput || l.FrameResults != nil {
			t.Errorf("%s: %v", l.Status, l.Reason)
		}
	})
}

// together is an engine that answers only when so many frames are there at once.
// most is the largest number that ever was.
func together(batch int) (e each, most func() int) {
	var mu sync.Mutex
	waiting, largest := 0, 0
	gate := make(chan struct{})
	e = each{brightness: newBrightness(models.ViewPSAX), before: func(ctx context.Context) error {
		mu.Lock()
		waiting++
		largest = max(largest, waiting)
		mine := gate
		if waiting == batch {
			waiting, gate = 0, make(chan struct{})
			close(mine)
		}
		mu.Unlock()
		select {
		case <-mine:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}}
	return e, func() int {
		mu.Lock()
		defer mu.Unlock()
		return largest
	}
}

// TestFramesOfSeveralLoopsAreInFlight: the engine answers only when twelve
// frames are there at once. A loop gives eight before its view is known, so
// they come from two loops at least, as batches need it; and never more.
func TestFramesOfSeveralLoopsAreInFlight(t *testing.T) {
	const batch = 12
	e, most := together(batch)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	a := NewAnalyzer(e, Options{Workers: batch, LV: lv.DefaultOptions()}, slog.New(slog.DiscardHandler))
	s, err := a.Analyze(ctx, loops(t, 3), nil) // 3 x 8 frames: two batches
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range s.Loops {
		if l.SOPInstanceUID != fmt.Sprintf("1.2.3.%d", i+1) || l.Reason.Code != result.ViewNotMeasured {
			t.Errorf("loop %d is %s: %v", i, l.SOPInstanceUID, l.Reason)
		}
	}
	if most() != batch {
		t.Errorf("%d frames in flight, want %d", most(), batch)
	}
}

// A study begins while the last loops of the one before are under analysis.
func TestStudiesFollowWithoutAGap(t *testing.T) {
	const batch = 12
	e, _ := together(batch)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	a := NewAnalyzer(e, Options{Workers: batch, LV: lv.DefaultOptions()}, slog.New(slog.DiscardHandler))
	paths := loops(t, 3)
	one := a.Begin(ctx, paths[:1], nil) // 8 frames do not suffice
	two := a.Begin(ctx, paths[1:], nil)
	for n, wait := range []func() (*Study, error){one, two} {
		s, err := wait()
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Loops) != n+1 {
			t.Errorf("%d loops, want %d", len(s.Loops), n+1)
		}
	}
	if !a.flow.open.TryAcquire(int64(a.flow.loops())) {
		t.Error("room is lost")
	}
	// Whoever begins after the end hears why.
	cancel()
	if _, err := a.Begin(ctx, paths, nil)(); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v", err)
	}
}

// TestCancelStopsEveryLoop: the engine never answers.
func TestCancelStopsEveryLoop(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("the node stops")
	var once sync.Once
	e := each{brightness: newBrightness(models.ViewA4C), before: func(ctx context.Context) error {
		once.Do(func() { cancel(why) })
		<-ctx.Done()
		return context.Cause(ctx)
	}}
	a := NewAnalyzer(e, Options{Workers: 3, LV: lv.DefaultOptions()}, slog.New(slog.DiscardHandler))
	if _, err := a.Analyze(ctx, loops(t, 4), nil); !errors.Is(err, why) {
		t.Errorf("error = %v", err)
	}
	// Everything is back where it belongs: the analyzer goes on working.
	if p, l := a.flow.places, a.flow.lanes; p.Idle() != p.Size() || l.Idle() != l.Size() || len(a.flow.benches) != p.Size() || len(a.flow.slots) != l.Size() {
		t.Errorf("%d of %d places, %d of %d lanes left", p.Idle(), p.Size(), l.Idle(), l.Size())
	}
}
