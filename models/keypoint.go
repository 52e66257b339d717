package models

import "math"

// DecodeKeypoint finds the peak of a heatmap of w x h cells and answers in input pixels (origin at the centre of the
// top-left pixel). confidence is the value of the highest cell. An empty or non-finite map gives NaN coordinates and
// confidence 0.
//
// Method: a heatmap is trained towards a Gaussian, whose logarithm is a parabola. Around the highest cell a quadratic
// surface is fitted by least squares to the logarithms of the 3x3 neighbourhood, and its maximum is taken if it lies
// within one cell; for a true Gaussian this is exact (the idea of DARK, Zhang et al., CVPR 2020, with a fit in place of
// finite differences after smoothing, which is steadier where the map is noisy). Where the fit has no such maximum the
// centroid of the neighbourhood stands in, and at the rim of the map the cell itself.
func DecodeKeypoint(heat []float32, w, h int) (x, y, confidence float64) {
	if w <= 0 || h <= 0 || len(heat) < w*h {
		return math.NaN(), math.NaN(), 0
	}
	best, at := math.Inf(-1), -1
	for i, v := range heat[:w*h] {
		f := float64(v)
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return math.NaN(), math.NaN(), 0
		}
		if f > best {
			best, at = f, i
		}
	}
	i, j := at%w, at/w
	dx, dy := 0.0, 0.0
	if i > 0 && i < w-1 && j > 0 && j < h-1 && best > 0 {
		dx, dy = peakOffset(heat, w, at)
	}
	cell := inputFromCells(HeatmapStride)
	x, y = cell.Apply(float64(i)+dx, float64(j)+dy)
	return x, y, min(best, 1)
}

// peakOffset returns the maximum around the cell at, relative to its centre, in cells.
func peakOffset(heat []float32, w, at int) (dx, dy float64) {
	// Values under a thousandth of the peak are noise of the sigmoid; their logarithms would rule the fit.
	floor := float64(heat[at]) / 1000

	// Least squares of z = a + bu + cv + duu + evv + fuv on the grid u, v in {-1, 0, 1} has closed sums.
	var su, sv, suu, svv, suv, s float64 // of the logarithms
	var weight, centroidX, centroidY float64
	for v := -1; v <= 1; v++ {
		for u := -1; u <= 1; u++ {
			p := max(float64(heat[at+v*w+u]), floor)
			fu, fv, z := float64(u), float64(v), math.Log(p)
			s += z
			su += z * fu
			sv += z * fv
			suu += z * fu * fu
			svv += z * fv * fv
			suv += z * fu * fv
			weight += p
			centroidX += p * fu
			centroidY += p * fv
		}
	}
	b, c := su/6, sv/6
	d, e := suu/2-s/3, svv/2-s/3
	f := suv / 4
	// Gradient zero: (2d f; f 2e)(u v) = -(b c); a maximum needs a negative definite Hessian.
	if det := 4*d*e - f*f; d < 0 && e < 0 && det > 1e-9 {
		u, v := (f*c-2*e*b)/det, (f*b-2*d*c)/det
		if math.Abs(u) <= 1 && math.Abs(v) <= 1 {
			return u, v
		}
	}
	return centroidX / weight, centroidY / weight
}
