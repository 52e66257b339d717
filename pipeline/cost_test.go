package pipeline

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"testing"
	"time"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/result"
)

// hangs is an engine that does not come back from frames with a grey mark in
// their corner before its context ends.
type hangs struct{ *brightness }

func (e hangs) Infer(ctx context.Context, frames []byte, n int, out *models.Output) error {
	if frames[26*e.card.Input.Width+3] > 30 {
		<-ctx.Done()
		return ctx.Err()
	}
	return e.brightness.Infer(ctx, frames, n, out)
}

// An object that costs more than its bound costs only itself: its study is
// reported without it.
func TestOneObjectDoesNotCostItsStudy(t *testing.T) {
	dir := t.TempDir()
	slow, good := standard("1.2.3.1"), standard("1.2.3.2")
	slow.mark = true
	large := standard("1.2.3.3")
	large.width, large.height = 2*large.width, 2*large.height
	wide := standard("1.2.3.4")
	wide.lengthMM, wide.diameterMM = wide.lengthMM[:1], wide.diameterMM[:1]
	wide.width = 3000
	paths := []string{large.write(t, dir), wide.write(t, dir), slow.write(t, dir), good.write(t, dir)}
	pixels := int64(good.width) * int64(good.height) * int64(len(good.lengthMM))
	o := Options{LV: lv.DefaultOptions(), MaxPixels: pixels, Timeout: 500 * time.Millisecond,
		// Enough for the other loops, not for a frame of the wide one.
		Limits: dicomio.Limits{Memory: dicomio.NewMemory(1 << 20)}}
	s, err := NewAnalyzer(hangs{newBrightness(models.ViewA4C)}, o, slog.New(slog.DiscardHandler)).Analyze(context.Background(), paths, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{result.TooManyPixels, result.DecodeFailed, result.TimeLimit} {
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
	// The caller's own deadline is no fault of the object.
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if _, err := NewAnalyzer(hangs{newBrightness(models.ViewA4C)}, Options{LV: lv.DefaultOptions()}, slog.New(slog.DiscardHandler)).Analyze(ctx, paths[2:], nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Analyze under a deadline: %v", err)
	}
}
