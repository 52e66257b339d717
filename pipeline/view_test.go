package pipeline

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/result"
)

// sided knows a grey mark in the top left corner as a mirrored display and one in the top right corner as the usual
// one; its extras are what the test sets.
type sided struct {
	*brightness
	novelty, sure, dice float32
	looks               atomic.Int64
	left                bool // knows the mark in the top left corner as the usual display, and its lack as a mirrored one
	fooled              bool // takes the mirrored display for another view on the usual one, but less surely
}

func newSided() *sided {
	b := newBrightness(models.ViewA4C)
	b.card.Views = append(b.card.Views, models.ViewA4CMirrored, models.ViewA2CMirrored)
	b.card.Extras = []string{models.ExtraNovelty, models.ExtraExpectedDice}
	return &sided{brightness: b, novelty: 1, sure: 1, dice: 0.95}
}

func (e *sided) Infer(ctx context.Context, frames []byte, n int, out *models.Output) error {
	if err := e.brightness.Infer(ctx, frames, n, out); err != nil {
		return err
	}
	e.looks.Add(int64(n))
	view, w := models.ViewA4C, e.card.Input.Width
	if (frames[26*w+3] > 30) != e.left {
		view = models.ViewA4CMirrored
	}
	sure := e.sure
	if e.fooled && view == models.ViewA4CMirrored {
		view, sure = models.ViewA2C, 0.7
	}
	clear(out.View)
	out.View[e.card.View(view)] = sure
	out.View[e.card.View(models.ViewOther)] = 1 - sure
	out.NumExtras, out.Extras = 2, []float32{e.novelty, e.dice}
	return nil
}

// loopOf analyses one loop.
func loopOf(t *testing.T, e models.Engine, mirrored MirroredDisplay, path string) result.Loop {
	t.Helper()
	a := NewAnalyzer(e, Options{LV: lv.DefaultOptions(), Mirrored: mirrored}, slog.New(slog.DiscardHandler))
	s, err := a.Analyze(context.Background(), []string{path}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s.Loops[0]
}

// TestMirroredDisplay turns a mirrored loop for the network and brings its contours back to where they are.
func TestMirroredDisplay(t *testing.T) {
	c := standard("1.2.3.1")
	c.mark, c.shift = true, 25
	path := c.write(t, t.TempDir())
	want := loopOf(t, newBrightness(models.ViewA4C), "", path)
	for _, fooled := range []bool{false, true} {
		e := newSided()
		e.fooled = fooled
		testTurned(t, loopOf(t, e, MeasureMirrored, path), want)
	}
	refused := loopOf(t, newSided(), RefuseMirrored, path)
	if refused.Status != result.Refused || refused.Reason.Code != result.MirroredDisplay {
		t.Errorf("status %s, reason %v", refused.Status, refused.Reason)
	}
	c.mark = false
	if plain := loopOf(t, newSided(), RefuseMirrored, c.write(t, t.TempDir())); plain.Status != result.Analysed || plain.Mirrored {
		t.Errorf("the usual display: status %s, mirrored %v", plain.Status, plain.Mirrored)
	}
	// A display that is surely the usual one costs one frame more.
	usual := newSided()
	usual.left = true
	plain := loopOf(t, usual, RefuseMirrored, path)
	if n := usual.looks.Load(); n != int64(plain.Frames)+1 {
		t.Errorf("%d frames looked at of a loop of %d", n, plain.Frames)
	}
}

// testTurned expects an A4C loop on a mirrored display with the contours of want.
func testTurned(t *testing.T, got, want result.Loop) {
	t.Helper()
	if got.Status != result.Analysed || got.View != models.ViewA4C || !got.Mirrored || got.ViewProbability != 1 {
		t.Fatalf("status %s, view %s %v, mirrored %v", got.Status, got.View, got.ViewProbability, got.Mirrored)
	}
	if !slices.ContainsFunc(got.Warnings, func(r result.Reason) bool { return r.Code == result.MirroredDisplay }) {
		t.Errorf("warnings %v do not name the mirrored display", got.Warnings)
	}
	for i, f := range got.FrameResults {
		a, b := points(f.Contour), points(want.FrameResults[i].Contour)
		if d := lv.PolygonArea(a, lv.Spacing{X: 1, Y: 1}) / lv.PolygonArea(b, lv.Spacing{X: 1, Y: 1}); math.Abs(d-1) > 0.01 {
			t.Errorf("frame %d: area %.3f times that of the loop as it came", i, d)
		}
		ax, bx := middle(a), middle(b)
		if math.Abs(ax-bx) > 0.5 {
			t.Errorf("frame %d: contour at x = %.1f, the cavity is at %.1f", i, ax, bx)
		}
	}
}

func points(c result.Contour) []lv.Point {
	out := make([]lv.Point, len(c))
	for i, p := range c {
		out[i] = lv.Point{X: p[0], Y: p[1]}
	}
	return out
}

// middle is the mean x of the bounding box.
func middle(p []lv.Point) float64 {
	x := func(a, b lv.Point) int { return int(math.Copysign(1, a.X-b.X)) }
	return (slices.MinFunc(p, x).X + slices.MaxFunc(p, x).X) / 2
}

// TestLimitsOfTheModel refuses what the card's limits exclude, and nothing when there are none.
func TestLimitsOfTheModel(t *testing.T) {
	path := standard("1.2.3.1").write(t, t.TempDir())
	for name, c := range map[string]struct {
		limits        models.Limits
		novelty, sure float32
		want          string
	}{
		"none":            {models.Limits{}, 99, 0.55, ""},
		"within":          {models.Limits{View: 0.5, Novelty: 3}, 2.9, 0.55, ""},
		"unlike training": {models.Limits{View: 0.5, Novelty: 3}, 3.1, 0.55, result.Unfamiliar},
		"uncertain view":  {models.Limits{View: 0.6, Novelty: 3}, 1, 0.55, result.ViewUncertain},
		"another view":    {models.Limits{View: 0.6, Novelty: 3}, 1, 0.45, result.ViewNotMeasured},
	} {
		t.Run(name, func(t *testing.T) {
			e := newSided()
			e.card.Limits, e.novelty, e.sure = c.limits, c.novelty, c.sure
			l := loopOf(t, e, "", path)
			got := ""
			if l.Reason != nil {
				got = l.Reason.Code
			}
			if got != c.want {
				t.Errorf("reason %q, want %q (%v)", got, c.want, l.Reason)
			}
			if l.Novelty != result.Round(float64(c.novelty), 3) {
				t.Errorf("novelty %v in the result", l.Novelty)
			}
		})
	}
}

// TestExpectedAgreement remarks on a loop whose outlines are expected to agree too little with a reader's.
func TestExpectedAgreement(t *testing.T) {
	path := standard("1.2.3.1").write(t, t.TempDir())
	for dice, remarked := range map[float32]bool{0.95: false, 0.8: true} {
		e := newSided()
		e.dice, e.card.Limits.ExpectedDice = dice, 0.87
		l := loopOf(t, e, "", path)
		if got := l.FrameResults[3].ExpectedDice; got != result.Round(float64(dice), 4) {
			t.Errorf("expected Dice %v in the result, want %v", got, dice)
		}
		got := false
		for _, m := range l.Measurements {
			got = got || strings.Contains(fmt.Sprint(m), "reader's outline")
		}
		if got != remarked {
			t.Errorf("expected Dice %.2f: remarked on %v, want %v", dice, got, remarked)
		}
	}
}
