package models

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"
	"time"
)

// selfTest runs a known picture before an engine is handed out: the answers must be in range, the same each time and not
// the same as for a black frame. The frames go through Infer as one call of every batch size in use, which also warms
// the device. A model that has not answered all of it within the limit is refused: its graph may hold a loop without end.
func selfTest(ctx context.Context, e Engine, limit time.Duration) error {
	card := e.Card()
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer within %v", limit))
	defer cancel()
	picture := testPicture(card.Input.Width, card.Input.Height)
	fail := func(format string, args ...any) error {
		return fmt.Errorf("models: %w: %s %s: "+format, append([]any{ErrSelfTest, card.Name, card.Version}, args...)...)
	}
	var first, again, black Output
	for _, run := range []struct {
		frame []byte
		out   *Output
	}{{picture, &first}, {picture, &again}, {make([]byte, len(picture)), &black}} {
		if err := e.Infer(ctx, run.frame, 1, run.out); err != nil {
			return fmt.Errorf("models: %w: %s %s: %w", ErrSelfTest, card.Name, card.Version, err)
		}
		if what := outOfRange(run.out); what != "" {
			return fail("%s", what)
		}
	}
	if !sameOutput(&first, &again) {
		return fail("the same picture gave two different answers")
	}
	if sameOutput(&first, &black) {
		return fail("a heart-like picture and a black one gave the same answer: the model ignores its input")
	}
	if b, ok := e.(*batcher); ok {
		return b.warm(ctx, picture)
	}
	return nil
}

// outOfRange names the first value that no model may answer, or nothing.
func outOfRange(o *Output) string {
	for _, v := range o.Heatmaps {
		if !(v >= 0 && v <= 1) { // also catches NaN
			return fmt.Sprintf("output \"heatmaps\" holds %v, want 0..1", v)
		}
	}
	for _, v := range o.Extras {
		if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
			return fmt.Sprintf("output \"extras\" holds %v", v)
		}
	}
	for i := range o.N {
		sum := 0.0
		for _, v := range o.ViewProbs(i) {
			if !(v >= 0 && v <= 1) {
				return fmt.Sprintf("output \"view\" holds %v, want 0..1", v)
			}
			sum += float64(v)
		}
		if math.Abs(sum-1) > 1e-3 {
			return fmt.Sprintf("output \"view\" sums to %v, want 1", sum)
		}
	}
	return ""
}

func sameOutput(a, b *Output) bool {
	return bytes.Equal(a.Mask, b.Mask) && slices.Equal(a.Heatmaps, b.Heatmaps) && slices.Equal(a.View, b.View) && slices.Equal(a.Extras, b.Extras)
}

// testPicture draws what an apical view looks like from afar: a bright sector with a dark oval in it. It is computed, so
// that it is the same for every input size.
func testPicture(w, h int) []byte {
	p := make([]byte, w*h)
	for j := range h {
		for i := range w {
			// x in -0.5..0.5 of the width, y in 0..1 of the height, the sector's tip at the top.
			x, y := (float64(i)+0.5)/float64(w)-0.5, (float64(j)+0.5)/float64(h)
			depth := math.Hypot(x, y)
			if depth > 0.95 || math.Abs(math.Atan2(x, y)) > math.Pi/4 {
				continue
			}
			gray := 150 - 60*depth
			if ex, ey := x/0.16, (y-0.42)/0.27; ex*ex+ey*ey < 1 {
				gray = 25
			}
			p[j*w+i] = uint8(gray)
		}
	}
	return p
}
