package lv

import (
	"math"
	"slices"
)

// Outliers finds single frames whose value neither their neighbours on the left
// nor those on the right allow: failed outlines. v has one value a frame, NaN
// where there is none; t are the frame times in ms.
//
// A frame is compared with the line between its two neighbours and with the
// lines that the two frames before it and the two after it draw. A true extreme
// lies beyond the first but short of the others, however sharp it is at a low
// frame rate; a failed outline deviates from all three to the same side, by more
// than fraction and by more than four times the noise from frame to frame. The
// first and the last frame are compared with their two neighbours' line and with
// the nearest value; they may lie beyond both by as much more as the sharp turns
// inside the loop lie beyond the frames on one side of them.
//
// The worst frame is taken first and its neighbours are then judged without it;
// a frame next to one that was taken out stays. Neighbours more than gap ms away
// judge nothing.
func Outliers(v, t []float64, fraction, gap float64) []int {
	if fraction <= 0 || len(v) != len(t) || len(v) < 3 {
		return nil
	}
	v = slices.Clone(v)
	limit := fraction
	if noise := frameNoise(interpolate(v, t), t) / median(present(v)); noise > 0 {
		limit = max(limit, min(4*noise, mostNoise))
	}
	var out []int
	for {
		worst, at := limit, -1
		for i := 1; i < len(v)-1; i++ {
			if d := beyond(v[i], insideExpected(v, t, i, gap)); d > worst && !beside(out, i) {
				worst, at = d, i
			}
		}
		if at < 0 {
			break
		}
		out = append(out, at)
		v[at] = math.NaN()
	}
	for _, end := range []struct{ at, step int }{{0, +1}, {len(v) - 1, -1}} {
		if d := beyond(v[end.at], endExpected(v, t, end.at, end.step, gap)); d > fraction+turnFactor*usualTurns(v, t, end.step, gap) && !beside(out, end.at) {
			out = append(out, end.at)
		}
	}
	slices.Sort(out)
	return out
}

// mostNoise bounds what noise may explain, as a part of the level. Own choice:
// in a clip of few frames a failed outline is itself most of the noise.
const mostNoise = 0.18

func beside(frames []int, i int) bool {
	return slices.ContainsFunc(frames, func(k int) bool { return k >= i-1 && k <= i+1 })
}

// insideExpected are the values that the neighbours of a frame on both sides let
// one expect; none where they are too far away.
func insideExpected(v, t []float64, i int, gap float64) []float64 {
	left, right := neighbours(v, t, i, -1, gap), neighbours(v, t, i, +1, gap)
	if len(left) == 0 || len(right) == 0 || len(left)+len(right) < 3 {
		return nil
	}
	expected := []float64{line(v, t, left[0], right[0], t[i])}
	for _, side := range [][]int{left, right} {
		if len(side) == 2 {
			expected = append(expected, line(v, t, side[0], side[1], t[i]))
		} else {
			expected = append(expected, v[side[0]])
		}
	}
	return expected
}

// endExpected are the values that two neighbours on one side let one expect.
func endExpected(v, t []float64, i, step int, gap float64) []float64 {
	near := neighbours(v, t, i, step, gap)
	if len(near) < 2 {
		return nil
	}
	return []float64{v[near[0]], line(v, t, near[0], near[1], t[i])}
}

// turnQuantile is the part of the frames inside a loop whose turns, with their
// noise, count as usual, and turnFactor how much more one at its ends may turn.
// Own choice: a beat turns twice, in an eighth of its frames or more.
const (
	turnQuantile = 0.90
	turnFactor   = 1.3
)

// usualTurns is how far frames inside the loop lie beyond what their neighbours
// on one side let one expect.
func usualTurns(v, t []float64, step int, gap float64) float64 {
	var d []float64
	for i := 1; i < len(v)-1; i++ {
		if expected := endExpected(v, t, i, step, gap); len(expected) > 0 && !math.IsNaN(v[i]) {
			d = append(d, beyond(v[i], expected))
		}
	}
	if len(d) == 0 {
		return math.Inf(1)
	}
	slices.Sort(d)
	return d[min(int(turnQuantile*float64(len(d))), len(d)-1)]
}

// beyond is how far a value lies outside the expected ones, as a part of the
// nearest; 0 inside them, or where nothing is expected.
func beyond(x float64, expected []float64) float64 {
	if math.IsNaN(x) || len(expected) == 0 {
		return 0
	}
	lo, hi := slices.Min(expected), slices.Max(expected)
	switch {
	case x > hi && hi > 0:
		return (x - hi) / hi
	case x < lo && lo > 0:
		return (lo - x) / lo
	}
	return 0
}

// neighbours are the two nearest frames with a value in one direction, the
// nearest first, each within gap ms of the one before.
func neighbours(v, t []float64, i, step int, gap float64) []int {
	var out []int
	from := t[i]
	for j := i + step; j >= 0 && j < len(v) && len(out) < 2; j += step {
		if math.IsNaN(v[j]) {
			continue
		}
		if math.Abs(t[j]-from) > gap {
			break
		}
		out, from = append(out, j), t[j]
	}
	return out
}

// line is the value at time x of the line through frames a and b.
func line(v, t []float64, a, b int, x float64) float64 {
	return v[a] + (v[b]-v[a])*(x-t[a])/(t[b]-t[a])
}

// present are the values that are there.
func present(v []float64) []float64 {
	var out []float64
	for _, x := range v {
		if !math.IsNaN(x) {
			out = append(out, x)
		}
	}
	return out
}
