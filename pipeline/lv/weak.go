package lv

import (
	"fmt"
	"math"
	"slices"
)

// Own choice: a stored rate is that of twice as many beats as the curve shows when it
// is so many times the curve's.
const leastTwice, mostTwice = 1.7, 2.3

// Own choice: between two contractions a fall of the smoothed curve counts as one of a
// beat too weak for TurnFraction when it is at least weakPart of the range and
// weakNoise times the noise that is left in the smoothed curve, and as much is regained.
// Diastasis is level and atrial filling goes up. Of the cycles, two at
// least, weakShare must have one, within weakPhase of the cycle from the median; or one
// must be as long as two beats beside usualCycles without, as after a premature beat.
const (
	weakPart    = 0.12
	weakNoise   = 6
	weakShare   = 0.66
	weakPhase   = 0.12
	usualCycles = 2
	// No heart has two contractions, of which one is seen, in less than this time.
	shortestPair = 600.0
)

// findWeak looks for beats that contract too little to be found: where a stored rate is
// about twice the curve's, or the curve falls between two beats at the same moment of
// most cycles. Where both say so the stored rate is believed. The stored rate is 0 when
// unknown; unused is why R waves were not used, "" where they were or there are none.
func (f *finder) findWeak(r *Rhythm, stored float64, source, unused string) {
	if len(r.Beats) == 0 || r.Beats[0].EDFrom == AtRWave {
		return
	}
	curve := f.rateOfContractions()
	if curve == 0 {
		return
	}
	twice := stored >= leastTwice*curve && stored <= mostTwice*curve
	seen, pauses := f.weakContractions(r.Noise)
	switch {
	case twice && seen:
		r.HeartRate, r.HeartRateSource = stored, source
		r.Weak = fmt.Sprintf("a weaker contraction follows each one measured, the stored %.0f beats per minute count both: the weaker are not in the means",
			stored)
	case twice && unused != "":
		r.Weak = unused + ", every second beat may be too weak to be seen, or T waves were counted"
	case twice:
		r.Weak = fmt.Sprintf("the motion shows %.0f beats per minute, the stored rate is %.0f: every second beat may be too weak to be seen",
			curve, stored)
	case seen:
		r.Weak = "the curve shows a weaker contraction after each one measured: the weaker beats are not in the means, the heart rate may be twice as high"
	case len(pauses) > 0:
		r.SomeWeak = fmt.Sprintf("the curve shows weaker contractions between beats (%d): they are not in the means, the heart rate may be higher", len(pauses))
		for i := range r.Beats {
			b := &r.Beats[i]
			b.AfterWeak = slices.ContainsFunc(pauses, func(p cycle) bool { return b.ED > p.dip && b.ED < p.to && b.ES >= p.to })
		}
	}
}

// rateOfContractions is the rate of the median time between contractions; 0 without any.
func (f *finder) rateOfContractions() float64 {
	var rr []float64
	m := f.contractions()
	for i := 1; i < len(m); i++ {
		if !f.across(m[i-1], m[i], 0) {
			rr = append(rr, m[i]-m[i-1])
		}
	}
	if len(rr) == 0 {
		return 0
	}
	return 60000 / median(rr)
}

// cycle is the time from one end-systole to the next, by frame, with the moment of a
// smaller contraction in it.
type cycle struct{ from, to, dip int }

// weakContractions looks for smaller contractions between two that count: every says
// that most cycles have one at the same moment, pauses are those that are as long as
// two others. noise is that of a single frame as a part of the level.
func (f *finder) weakContractions(noise float64) (every bool, pauses []cycle) {
	least := max(weakPart*(f.hi-f.lo), weakNoise*noise*median(f.a)*f.noiseLeft())
	cycles := 0
	var phases, plain []float64 // lengths of cycles without one
	var with []cycle
	ex := f.extremes()
	length := func(c cycle) float64 { return f.t[c.to] - f.t[c.from] }
	for i := 0; i+2 < len(ex); i++ {
		c := cycle{from: ex[i].at, to: ex[i+2].at}
		if ex[i].max || f.across(f.t[c.from], f.t[c.to], 0) {
			continue
		}
		dips := false
		if length(c) >= shortestPair {
			cycles++
			c.dip, dips = f.dip(c.from, c.to, least)
		}
		if !dips {
			plain = append(plain, length(c))
			continue
		}
		with, phases = append(with, c), append(phases, (f.t[c.dip]-f.t[c.from])/length(c))
	}
	if len(plain) >= usualCycles {
		pauses = slices.DeleteFunc(with, func(c cycle) bool { return length(c) < twoBeats*median(plain) })
	}
	m, same := median(phases), 0
	for _, p := range phases {
		if math.Abs(p-m) <= weakPhase {
			same++
		}
	}
	return same >= 2 && float64(same) >= weakShare*float64(cycles), pauses
}

// dip is the frame of the deepest valley of the curve between two frames: that from
// which it is furthest to the highest values on both sides. ok is false where one of
// them is less than least above it.
func (f *finder) dip(from, to int, least float64) (at int, ok bool) {
	deepest := 0.0
	for j := from + 1; j < to; j++ {
		depth := min(slices.Max(f.a[from:j]), slices.Max(f.a[j+1:to+1])) - f.a[j]
		if depth > deepest {
			at, deepest = j, depth
		}
	}
	return at, deepest >= least
}

// noiseLeft is the part of the noise of single frames that the smoothing leaves.
func (f *finder) noiseLeft() float64 {
	step := 1000 / FrameRate(f.t)
	sum, squares := 0.0, 0.0
	for k := -100; k <= 100; k++ {
		d := float64(k) * step / max(f.sigma, 1)
		w := math.Exp(-d * d / 2)
		sum, squares = sum+w, squares+w*w
	}
	return math.Sqrt(squares) / sum
}
