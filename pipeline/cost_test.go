package pipeline

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"slices"
	"testing"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/result"
)

// cancels is an engine that ends the caller's context.
type cancels struct {
	*brightness
	cancel context.CancelFunc
}

func (e cancels) Infer(ctx context.Context, _ []byte, _ int, _ *models.Output) error {
	e.cancel()
	<-ctx.Done()
	return ctx.Err()
}

// An object that costs more than its bound costs only itself: its study is
// reported without it.
func TestOneObjectDoesNotCostItsStudy(t *testing.T) {
	dir := t.TempDir()
	good := standard("1.2.3.2")
	large := standard("1.2.3.3")
	large.width, large.height = 2*large.width, 2*large.height
	wide := standard("1.2.3.4")
	wide.lengthMM, wide.diameterMM = wide.lengthMM[:1], wide.diameterMM[:1]
	wide.width = 3000
	paths := []string{large.write(t, dir), wide.write(t, dir), good.write(t, dir)}
	pixels := int64(good.width) * int64(good.height) * int64(len(good.lengthMM))
	o := Options{LV: lv.DefaultOptions(), MaxPixels: pixels,
		// Enough for the other loops, not for a frame of the wide one.
		Limits: dicomio.Limits{Memory: dicomio.NewMemory(1 << 20)}}
	s, err := NewAnalyzer(newBrightness(models.ViewA4C), o, slog.New(slog.DiscardHandler)).Analyze(context.Background(), paths, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{result.TooManyPixels, result.DecodeFailed} {
		if l := s.Loops[i]; l.Status == result.Analysed || l.Reason == nil || l.Reason.Code != want || l.Reason.Text == "" {
			t.Errorf("object %d: %s %+v, want %s", i, l.Status, l.Reason, want)
		}
	}
	if ef := value(t, s.Measurements, result.EF); math.Abs(ef-59.2) > 1.5 {
		t.Errorf("EF %.1f, want the good loop's 59.2", ef)
	}
	if used := o.Limits.Memory.InUse(); used != 0 {
		t.Errorf("%d bytes of the budget are still held", used)
	}
	// Decoding has a time of its own, which the frames of one object use up
	// together.
	o = Options{LV: lv.DefaultOptions(), Timeout: 1, Workers: 1}
	s, err = NewAnalyzer(newBrightness(models.ViewA4C), o, slog.New(slog.DiscardHandler)).Analyze(context.Background(), paths[2:], nil)
	if err != nil {
		t.Fatal(err)
	}
	if l := s.Loops[0]; l.Status != result.Failed || l.Reason.Code != result.TimeLimit {
		t.Errorf("an object over its time: %s %+v", l.Status, l.Reason)
	}
	// The caller's end is no fault of the object.
	ctx, cancel := context.WithCancel(context.Background())
	if _, err := NewAnalyzer(cancels{newBrightness(models.ViewA4C), cancel}, Options{LV: lv.DefaultOptions()}, slog.New(slog.DiscardHandler)).
		Analyze(ctx, paths[2:], nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Analyze that is cancelled: %v", err)
	}
}

// A cine of minutes is measured by its first frames, says so, and its overlay and
// report are made of them; of its times and R waves those count that were seen.
func TestLongCineIsMeasuredInPart(t *testing.T) {
	dir := t.TempDir()
	cine := standard("1.2.3.2")
	whole := len(cine.lengthMM)
	cine.lengthMM, cine.diameterMM = append(cine.lengthMM, cine.lengthMM...), append(cine.diameterMM, cine.diameterMM...)
	a := NewAnalyzer(newBrightness(models.ViewA4C),
		Options{Software: result.Software{Name: "EchoNode", Version: "test"}, LV: lv.DefaultOptions(), MaxFrames: whole,
			MaxPixels: int64(whole) * int64(cine.width) * int64(cine.height)}, slog.New(slog.DiscardHandler))
	s, err := a.Analyze(context.Background(), []string{cine.write(t, dir)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	l := s.Loops[0]
	if l.Status != result.Analysed || l.Frames != whole || l.ObjectFrames != 2*whole || len(l.FrameResults) != whole || len(l.FrameTimes) != whole {
		t.Fatalf("%s %v: %d of %d frames, %d results, %d times", l.Status, l.Reason, l.Frames, l.ObjectFrames, len(l.FrameResults), len(l.FrameTimes))
	}
	if !slices.ContainsFunc(l.Warnings, func(w result.Reason) bool { return w.Code == result.TooManyFrames }) {
		t.Errorf("nothing says that it was measured in part: %v", l.Warnings)
	}
	if ef := value(t, s.Measurements, result.EF); math.Abs(ef-59.2) > 1.5 {
		t.Errorf("EF %.1f, want 59.2", ef)
	}
	if err := write(s, t.TempDir(), objectsOnly()); err != nil {
		t.Fatal(err)
	}
	overlays := 0
	for _, o := range s.Outputs {
		if o.Kind != result.KindOverlay {
			continue
		}
		overlays++
		f, err := dicomio.Open(o.File, dicomio.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if n, _ := f.DataSet.Int(tag.NumberOfFrames); n != int64(whole) {
			t.Errorf("an overlay of %d frames, want %d", n, whole)
		}
		f.Close()
	}
	if overlays == 0 {
		t.Errorf("no overlay: %v", s.Outputs)
	}
}

// One who waits in its place for a disk does not hold up all others.
func TestPlaces(t *testing.T) {
	for workers, want := range map[int]int{1: 2, 2: 2, 5: 5} {
		if got := NewAnalyzer(newBrightness(models.ViewA4C), Options{Workers: workers}, slog.New(slog.DiscardHandler)).Places().Size(); got != want {
			t.Errorf("%d places with %d workers, want %d", got, workers, want)
		}
	}
}
