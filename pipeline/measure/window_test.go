package measure

import (
	"math"
	"testing"

	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/result"
)

// Frames within 60 ms of a phase count, in a fast heart within 9 % of the beat; where the
// range of the area is less than ten times its noise the window grows by as much, to 1.5
// times.
func TestWindow(t *testing.T) {
	for name, tt := range map[string]struct {
		after, rate, noise, span float64
		half, period             float64
	}{
		"slow":                     {after: 1000, half: 60, period: 1000},
		"fast":                     {after: 500, half: 45, period: 500},
		"the rate's beat":          {rate: 120, half: 45, period: 500},
		"the beat before the rate": {after: 1000, rate: 200, half: 60, period: 1000},
		"no beat":                  {half: 60},
		"steady":                   {after: 1000, noise: 0.01, span: 0.4, half: 60, period: 1000},
		"noisy":                    {after: 1000, noise: 0.02, span: 0.16, half: 75, period: 1000}, // 10*0.02/0.16 = 1.25
		"noisier":                  {after: 1000, noise: 0.02, span: 0.1, half: 90, period: 1000},
	} {
		l := &loop{o: options()}
		l.rhythm = lv.Rhythm{HeartRate: tt.rate, Noise: tt.noise, Range: tt.span}
		if half, period := l.window(lv.Beat{AfterMS: tt.after}); math.Abs(half-tt.half) > 1e-9 || math.Abs(period-tt.period) > 1e-9 {
			t.Errorf("%s: %g ms of %g, want %g of %g", name, half, period, tt.half, tt.period)
		}
	}
}

// In a beat of 1000 ms a phase is sought within 120 ms, with 1.5 times the smoothing of
// 40 ms; in one of 300 ms within 36, with at least 25 ms.
func TestSearch(t *testing.T) {
	l := &loop{o: options()}
	for period, want := range map[float64][2]float64{1000: {120, 60}, 300: {36, 25}, 600: {72, 45}, 2000: {120, 60}} {
		if reach, sigma := l.search(period); math.Abs(reach-want[0]) > 1e-9 || math.Abs(sigma-want[1]) > 1e-9 {
			t.Errorf("%g ms: %g, %g, want %v", period, reach, sigma, want)
		}
	}
}

// Half of a fall from 10 to 4 is 7: on the way from 8 at 200 ms to 6 at 300 ms it is
// passed at 250 ms.
func TestContraction(t *testing.T) {
	l := &loop{times: []float64{0, 100, 200, 300, 400}, Loop: &result.Loop{Curve: &result.Curve{Smoothed: []float64{9, 10, 8, 6, 4}}}}
	if ms, ok := l.contraction(1, 4); !ok || math.Abs(ms-250) > 1e-9 {
		t.Errorf("%g %v", ms, ok)
	}
	for _, at := range [][2]int{{-1, 4}, {4, 4}, {4, 1}, {1, 5}} {
		if _, ok := l.contraction(at[0], at[1]); ok {
			t.Errorf("%v has a contraction", at)
		}
	}
	l.Curve = nil
	if _, ok := l.contraction(1, 4); ok {
		t.Error("no curve has a contraction")
	}
}
