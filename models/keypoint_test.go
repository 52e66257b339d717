package models

import (
	"math"
	"math/rand/v2"
	"testing"
)

// gaussian draws the training target: a peak of the given height and width (in cells) at (x, y) in cells.
func gaussian(w, h int, x, y, sx, sy, height float64) []float32 {
	heat := make([]float32, w*h)
	for j := range h {
		for i := range w {
			u, v := (float64(i)-x)/sx, (float64(j)-y)/sy
			heat[j*w+i] = float32(height * math.Exp(-(u*u+v*v)/2))
		}
	}
	return heat
}

// TestDecodeKeypointGaussian: the decoder is exact on what the network is trained towards, at every sub-cell position,
// round or not.
func TestDecodeKeypointGaussian(t *testing.T) {
	for _, sigma := range [][2]float64{{1.5, 1.5}, {2, 2}, {1, 1.8}} {
		for _, p := range [][2]float64{{20, 30}, {20.25, 30.4}, {19.51, 30.49}, {1.3, 1.2}, {54.2, 53.9}} {
			x, y, confidence := DecodeKeypoint(gaussian(56, 56, p[0], p[1], sigma[0], sigma[1], 0.8), 56, 56)
			if wx, wy := 4*p[0]+1.5, 4*p[1]+1.5; !near(x, wx, 0.01) || !near(y, wy, 0.01) {
				t.Errorf("sigma %v: (%v, %v), want (%v, %v)", sigma, x, y, wx, wy)
			}
			if confidence < 0.6 || confidence > 0.8001 {
				t.Errorf("confidence %v", confidence)
			}
		}
	}
}

// TestDecodeKeypointNoise adds noise as a sigmoid output has it; the error stays well under the cell of 4 input pixels.
func TestDecodeKeypointNoise(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var sum float64
	const n = 200
	for range n {
		px, py := 10+30*r.Float64(), 10+30*r.Float64()
		heat := gaussian(56, 56, px, py, 1.5, 1.5, 0.7)
		for i := range heat {
			heat[i] = float32(math.Max(0, float64(heat[i])+0.02*r.NormFloat64()))
		}
		x, y, _ := DecodeKeypoint(heat, 56, 56)
		sum += math.Hypot(x-(4*px+1.5), y-(4*py+1.5))
	}
	if mean := sum / n; mean > 0.5 {
		t.Errorf("mean error %v input pixels", mean)
	}
}

// TestDecodeKeypointOddMaps: at the rim, on a plateau, on a ridge and on an empty map the answer stays within the cell's
// neighbourhood; a map with NaN has no answer.
func TestDecodeKeypointOddMaps(t *testing.T) {
	corner := make([]float32, 8*8)
	corner[0] = 0.9
	if x, y, c := DecodeKeypoint(corner, 8, 8); x != 1.5 || y != 1.5 || !near(c, 0.9, 1e-6) {
		t.Errorf("corner: (%v, %v) %v", x, y, c)
	}
	single := make([]float32, 8*8)
	single[3*8+4] = 0.5
	if x, y, _ := DecodeKeypoint(single, 8, 8); !near(x, 17.5, 1e-6) || !near(y, 13.5, 1e-6) {
		t.Errorf("single cell: (%v, %v)", x, y)
	}
	flat := make([]float32, 8*8)
	for i := range flat {
		flat[i] = 0.25
	}
	if x, y, c := DecodeKeypoint(flat, 8, 8); math.IsNaN(x) || math.IsNaN(y) || c != 0.25 {
		t.Errorf("flat: (%v, %v) %v", x, y, c)
	}
	plateau := make([]float32, 8*8)
	for _, i := range []int{3*8 + 3, 3*8 + 4, 4*8 + 3, 4*8 + 4} {
		plateau[i] = 0.5
	}
	if x, y, _ := DecodeKeypoint(plateau, 8, 8); !near(x, 15.5, 2) || !near(y, 15.5, 2) {
		t.Errorf("plateau of four cells around (15.5, 15.5): (%v, %v)", x, y)
	}
	bad := make([]float32, 8*8)
	bad[5] = float32(math.NaN())
	if x, y, c := DecodeKeypoint(bad, 8, 8); !math.IsNaN(x) || !math.IsNaN(y) || c != 0 {
		t.Errorf("NaN: (%v, %v) %v", x, y, c)
	}
	if x, _, c := DecodeKeypoint(nil, 8, 8); !math.IsNaN(x) || c != 0 {
		t.Errorf("no map: %v %v", x, c)
	}
}
