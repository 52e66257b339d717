package lv

import (
	"maps"
	"math"
	"slices"
)

// Around are the frames near a moment, with weights that sum to 1.
type Around struct {
	Frames  []int
	Weights []float64
}

// FramesAround weighs the frames for which use is true for an estimate at the
// moment at: locally weighted linear regression with the tricube kernel
// (1-|d/half|^3)^3, which is nothing beyond half ms (Cleveland, J Am Stat Assoc
// 1979;74:829-836). One noisy frame so no longer decides the volume of a phase,
// and where the clip ends at it the slope is followed to the end. Without a
// frame in reach the nearest one stands alone.
func FramesAround(t []float64, use func(i int) bool, at, half float64) Around {
	var a Around
	var distances []float64
	var s0, s1, s2 float64
	nearest := -1
	for i := range t {
		if !use(i) {
			continue
		}
		d := t[i] - at
		if nearest < 0 || math.Abs(d) < math.Abs(t[nearest]-at) {
			nearest = i
		}
		if math.Abs(d) < half {
			w := 1 - math.Pow(math.Abs(d)/half, 3)
			w = w * w * w
			a.Frames, a.Weights, distances = append(a.Frames, i), append(a.Weights, w), append(distances, d)
			s0, s1, s2 = s0+w, s1+w*d, s2+w*d*d
		}
	}
	if len(a.Frames) == 0 {
		if nearest < 0 {
			return a
		}
		return Around{Frames: []int{nearest}, Weights: []float64{1}}
	}
	det := s0*s2 - s1*s1
	for i, w := range a.Weights {
		if len(a.Frames) > 2 && det > 1e-6*s0*s0*half*half {
			a.Weights[i] = w * (s2 - s1*distances[i]) / det
		} else {
			a.Weights[i] = w / s0
		}
	}
	return a
}

// Join averages two estimates of one moment.
func Join(a, b Around) Around {
	if len(a.Frames) == 0 || len(b.Frames) == 0 {
		return Around{append(a.Frames, b.Frames...), append(a.Weights, b.Weights...)}
	}
	out := Around{Frames: append(append([]int(nil), a.Frames...), b.Frames...)}
	for _, w := range append(append([]float64(nil), a.Weights...), b.Weights...) {
		out.Weights = append(out.Weights, w/2)
	}
	return out
}

// Extreme is the moment within reach ms of at where the values of the frames
// for which use is true, smoothed by a Gaussian of standard deviation sigma ms,
// are largest or smallest; at itself where no frame is in reach.
func Extreme(v, t []float64, use func(i int) bool, at, reach, sigma float64, largest bool) float64 {
	best, where := math.Inf(-1), at
	for i := range t {
		if math.Abs(t[i]-at) > reach {
			continue
		}
		var sum, weight float64
		for j := range t {
			if d := (t[j] - t[i]) / sigma; d*d < 9 && use(j) {
				w := math.Exp(-d * d / 2)
				sum, weight = sum+w*v[j], weight+w
			}
		}
		if weight == 0 {
			continue
		}
		m := sum / weight
		if !largest {
			m = -m
		}
		if m > best {
			best, where = m, t[i]
		}
	}
	return where
}

// extremeStepMS is how finely ExtremeBetween looks. Own choice.
const extremeStepMS = 2

// ExtremeBetween is the moment between from and to, in ms, where values taken at
// any times, in any order and smoothed by a Gaussian of standard deviation sigma
// ms, are largest or smallest; ok is false where none is near.
func ExtremeBetween(v, t []float64, from, to, sigma float64, largest bool) (where float64, ok bool) {
	best := math.Inf(-1)
	for at := from; at <= to; at += extremeStepMS {
		var sum, weight float64
		for j, u := range t {
			if d := (u - at) / sigma; d*d < 9 {
				w := math.Exp(-d * d / 2)
				sum, weight = sum+w*v[j], weight+w
			}
		}
		if weight == 0 {
			continue
		}
		m := sum / weight
		if !largest {
			m = -m
		}
		if m > best {
			best, where, ok = m, at, true
		}
	}
	return where, ok
}

// Variance of the weighted mean, as a part of that of a single frame.
func (a Around) Variance() float64 {
	of := map[int]float64{} // a frame may count twice
	for k, i := range a.Frames {
		of[i] += a.Weights[k]
	}
	sum := 0.0
	for _, i := range slices.Sorted(maps.Keys(of)) {
		sum += of[i] * of[i]
	}
	return sum
}

// MeanPlane averages planes of one phase: the diameters disk by disk, the
// lengths and the areas; the volume follows from the averaged disks. The axis
// is that of the heaviest plane, at the mean length.
func MeanPlane(planes []Plane, weights []float64) Plane {
	if len(planes) == 0 {
		return Plane{}
	}
	heaviest := 0
	for i, w := range weights {
		if w > weights[heaviest] {
			heaviest = i
		}
	}
	mean := planes[heaviest]
	mean.Disks = append([]Disk(nil), mean.Disks...)
	for k := range mean.Disks {
		mean.Disks[k].DiameterMM = 0
	}
	mean.Axis.LengthMM, mean.AreaMM2, mean.CutMM2 = 0, 0, 0
	for i, p := range planes {
		w := weights[i]
		mean.Axis.LengthMM += w * p.Axis.LengthMM
		mean.AreaMM2 += w * p.AreaMM2
		mean.CutMM2 += w * p.CutMM2
		for k := range mean.Disks {
			mean.Disks[k].DiameterMM += w * p.Disks[k].DiameterMM
		}
	}
	mean.VolumeML = SinglePlaneVolume(mean.Disks, mean.Axis.LengthMM)
	return mean
}
