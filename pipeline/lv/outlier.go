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
// the nearest value, and may differ from both by what a fast heart does in the
// time between.
//
// The worst frame is taken first and its neighbours are then judged without it;
// a frame next to one that was taken out stays. Neighbours more than gap ms away
// judge nothing.
func Outliers(v, t []float64, fraction, gap float64) []int {
	if fraction <= 0 || len(v) != len(t) {
		return nil
	}
	v = slices.Clone(v)
	limit := fraction
	if noise := frameNoise(interpolate(v, t), t) / median(present(v)); noise > 0 {
		limit = max(limit, 4*noise)
	}
	var out []int
	for {
		worst, at := limit, -1
		for i := range v {
			if d := deviation(v, t, i, gap); d > worst && !beside(out, i) {
				worst, at = d, i
			}
		}
		if at < 0 {
			break
		}
		out = append(out, at)
		v[at] = math.NaN()
	}
	slices.Sort(out)
	return out
}

func beside(frames []int, i int) bool {
	return slices.ContainsFunc(frames, func(k int) bool { return k >= i-1 && k <= i+1 })
}

// deviation is how far frame i lies beyond what its neighbours allow, as a part
// of their level; 0 when they allow it or cannot tell.
func deviation(v, t []float64, i int, gap float64) float64 {
	if math.IsNaN(v[i]) {
		return 0
	}
	left, right := neighbours(v, t, i, -1, gap), neighbours(v, t, i, +1, gap)
	var expected []float64
	switch {
	case len(left) == 2 && len(right) == 2:
		expected = []float64{line(v, t, left[0], right[0], t[i]), line(v, t, left[0], left[1], t[i]), line(v, t, right[0], right[1], t[i])}
	case len(left) == 2 && i == len(v)-1:
		expected = []float64{v[left[0]], line(v, t, left[0], left[1], t[i])}
	case len(right) == 2 && i == 0:
		expected = []float64{v[right[0]], line(v, t, right[0], right[1], t[i])}
	case len(left) == 2 && len(right) == 1:
		expected = []float64{line(v, t, left[0], right[0], t[i]), line(v, t, left[0], left[1], t[i]), v[right[0]]}
	case len(left) == 1 && len(right) == 2:
		expected = []float64{line(v, t, left[0], right[0], t[i]), line(v, t, right[0], right[1], t[i]), v[left[0]]}
	default:
		return 0
	}
	lo, hi := slices.Min(expected), slices.Max(expected)
	switch {
	case v[i] > hi && hi > 0:
		return (v[i]-hi)/hi - allowance(t, i)
	case v[i] < lo && lo > 0:
		return (lo-v[i])/lo - allowance(t, i)
	}
	return 0
}

// allowance is for the first and the last frame: at a rate of 150 per minute and
// an EF of 75 % the area turns from one frame to the next by up to a third in
// 50 ms, 10 % of which is in every limit already.
func allowance(t []float64, i int) float64 {
	switch i {
	case 0:
		return 0.005 * (t[1] - t[0])
	case len(t) - 1:
		return 0.005 * (t[i] - t[i-1])
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
