package lv

import (
	"math"
	"testing"
)

// The axis of a rectangle of 10 by 30 that is turned by any angle, whichever way
// round its corners are listed.
func TestAxisOfATurnedRectangle(t *testing.T) {
	for degrees := -80.0; degrees <= 90; degrees += 10 {
		sin, cos := math.Sincos(degrees * math.Pi / 180)
		var c []Point
		for _, q := range []Point{{-15, -5}, {15, -5}, {15, 5}, {-15, 5}} {
			c = append(c, Point{100 + q.X*cos - q.Y*sin, 50 + q.X*sin + q.Y*cos})
		}
		for range 2 {
			d := principalDirection(c, Point{100, 50})
			if along := math.Abs(d.X*cos + d.Y*sin); math.Abs(along-1) > 1e-9 {
				t.Errorf("%g degrees: direction %v, %.4f along the axis", degrees, d, along)
			}
			c[1], c[3] = c[3], c[1]
		}
	}
}

func TestValidSpacing(t *testing.T) {
	for s, want := range map[Spacing]bool{
		{0.3, 0.4}: true, {0, 0.4}: false, {0.3, 0}: false, {-0.3, 0.4}: false, {0.3, -0.4}: false,
		{math.Inf(1), 0.4}: false, {0.3, math.Inf(1)}: false, {math.NaN(), 0.4}: false, {0.3, math.NaN()}: false,
	} {
		if s.Valid() != want {
			t.Errorf("%v: valid %t", s, s.Valid())
		}
	}
}

// R-R intervals of 800, 900 and 800 ms: the median is 75 per minute.
func TestRateOfRWaves(t *testing.T) {
	if bpm, source := rateFromPeaks([]float64{100, 900, 1800, 2600}); math.Abs(bpm-75) > 1e-9 || source != RateFromRWaves {
		t.Errorf("%g per minute from %q", bpm, source)
	}
	if bpm, source := rateFromPeaks([]float64{100}); bpm != 0 || source != "" {
		t.Errorf("of one R wave: %g per minute from %q", bpm, source)
	}
}
