package pipeline

import (
	"image"
	"math"
	"testing"

	"github.com/echonode/echonode/pipeline/lv"
)

// Lines around the ventricle are remarked on; an ECG below it, a label and a single frame are not.
func TestDrawnAround(t *testing.T) {
	var circle []lv.Point // of 50 pixels, around 100, 100
	for i := range 64 {
		a := 2 * math.Pi * float64(i) / 64
		circle = append(circle, lv.Point{X: 100 + 50*math.Cos(a), Y: 100 + 50*math.Sin(a)})
	}
	if p := perimeter(circle); math.Abs(p-2*math.Pi*50) > 1 {
		t.Fatalf("perimeter %v, want 314", p)
	}
	ring := func(radius float64) (out []image.Point) {
		for i := range 300 {
			a := 2 * math.Pi * float64(i) / 300
			out = append(out, image.Pt(int(100+radius*math.Cos(a)), int(100+radius*math.Sin(a))))
		}
		return out
	}
	var ecg, label []image.Point
	for x := range 200 {
		ecg = append(ecg, image.Pt(x, 190))
	}
	for x := range 60 {
		label = append(label, image.Pt(80+x, 90))
	}
	for name, tt := range map[string]struct {
		drawn [3][]image.Point
		want  bool
	}{
		"nothing":           {[3][]image.Point{}, false},
		"on the outline":    {[3][]image.Point{ring(50), ring(50), ring(50)}, true},
		"inside":            {[3][]image.Point{ring(40), ring(38), ring(40)}, true},
		"outside":           {[3][]image.Point{ring(62), ring(62), ring(62)}, true},
		"far outside":       {[3][]image.Point{ring(80), ring(80), ring(80)}, false},
		"an ECG":            {[3][]image.Point{ecg, ecg, ecg}, false},
		"a label":           {[3][]image.Point{label, label, label}, false},
		"one frame of them": {[3][]image.Point{ring(50), nil, nil}, false},
	} {
		l := &loop{frames: make([]frame, 3), drawn: map[int][]image.Point{}}
		for i, points := range tt.drawn {
			l.frames[i].outline = &lv.Outline{Points: circle}
			l.drawn[i] = points
		}
		if got := l.drawnAround(); (got != nil) != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
