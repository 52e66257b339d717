package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/measure"
)

func quick() *bench {
	return &bench{options: measure.Options{LV: lv.DefaultOptions()}, n: 24, rng: rand.New(rand.NewPCG(1, 5))}
}

// From 25 frames per second on and up to 3 % of noise EF is right on average
// within a point, and 95 % of the loops within five. The rows of the test are
// small, so that their limits are a little wider.
func TestReach(t *testing.T) {
	b := quick()
	for _, ef := range []float64{5, 10, 20, 35, 50, 60, 70, 80} {
		for _, noise := range []float64{0, 0.02, 0.03} {
			var s score
			for range b.n {
				b.measure(&s, b.clip(45+65*b.rng.Float64(), ef, pick(b.rng, 25, 30, 50, 80.), noise), ef)
			}
			if ef == 5 && len(s.errors) > b.n/8 {
				t.Errorf("EF 5 at %.0f %% noise: %d of %d numbers", 100*noise, len(s.errors), s.loops)
			}
			if len(s.errors) < 8 {
				continue // a severely reduced EF in words
			}
			size := make([]float64, len(s.errors))
			for i, e := range s.errors {
				size[i] = math.Abs(e)
			}
			slices.Sort(size)
			if mean := lv.Summarize(s.errors).Mean; math.Abs(mean) > 1.2 || size[len(size)*90/100] > 5 {
				t.Errorf("EF %.0f at %.0f %% noise: bias %+.1f, 90 %% within %.1f", ef, 100*noise, mean, size[len(size)*90/100])
			}
			if s.unnoted > 1 {
				t.Errorf("EF %.0f at %.0f %% noise: %d of %d wrong without a remark", ef, 100*noise, s.unnoted, s.loops)
			}
		}
	}
}

// At rates of the heart that leave a beat few frames EF is not biased either.
func TestReachAtHighRates(t *testing.T) {
	b := quick()
	for _, fps := range []float64{20, 30} {
		for _, rate := range []float64{120, 180} {
			var s score
			for range b.n {
				ef := 20 + 55*b.rng.Float64()
				b.measure(&s, b.clip(rate, ef, fps, 0.02), ef)
			}
			if mean := lv.Summarize(s.errors).Mean; len(s.errors) < b.n/2 || math.Abs(mean) > 1 {
				t.Errorf("%.0f frames/s, %.0f/min: bias %+.1f of %d", fps, rate, mean, len(s.errors))
			}
		}
	}
}

// Leaks, cut sectors, mirrored pictures and composite screens never give a wrong
// value without a remark.
func TestNoFaultPassesUnnoticed(t *testing.T) {
	b := quick()
	seen := 0
	for _, f := range allFaults {
		gate := false
		for _, word := range []string{"leak", "shadow", "cut", "picture", "upside", "fills in systole", "systole,"} {
			gate = gate || strings.Contains(f.name, word)
		}
		if !gate {
			continue
		}
		seen++
		var s score
		for range b.n {
			ef := 45 + 25*b.rng.Float64()
			c := b.clip(50+50*b.rng.Float64(), ef, 25+35*b.rng.Float64(), 0.015)
			f.make(b, &c, ef)
			b.measure(&s, c, ef)
		}
		if s.unnoted > 0 {
			t.Errorf("%s: %d of %d wrong without a remark", f.name, s.unnoted, s.loops)
		}
	}
	if seen < 10 {
		t.Errorf("%d families", seen)
	}
	for _, p := range allPairs {
		if s := b.pair(p); s.unnoted > 0 {
			t.Errorf("%s: %d of %d wrong without a remark", p.name, s.unnoted, s.loops)
		}
	}
}
