package pixel

import (
	"bytes"
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"testing"
)

// areaReference is the mean over the covered source area in floating point.
func areaReference(src *image.Gray, crop image.Rectangle, w, h int) []float64 {
	crop = crop.Intersect(src.Rect)
	out := make([]float64, w*h)
	sx, sy := float64(crop.Dx())/float64(w), float64(crop.Dy())/float64(h)
	cover := func(lo, hi float64, i int) float64 {
		return math.Max(0, math.Min(hi, float64(i+1))-math.Max(lo, float64(i)))
	}
	for y := range h {
		y0, y1 := float64(y)*sy, float64(y+1)*sy
		for x := range w {
			x0, x1 := float64(x)*sx, float64(x+1)*sx
			sum := 0.0
			for j := int(y0); j < crop.Dy() && float64(j) < y1; j++ {
				cy := cover(y0, y1, j)
				for i := int(x0); i < crop.Dx() && float64(i) < x1; i++ {
					sum += cy * cover(x0, x1, i) * float64(src.GrayAt(crop.Min.X+i, crop.Min.Y+j).Y)
				}
			}
			out[y*w+x] = sum / (sx * sy)
		}
	}
	return out
}

func TestResampleAreaAgainstFloat(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	fills := map[string]func(x, y int) uint8{
		"noise":   func(x, y int) uint8 { return uint8(rng.UintN(256)) },
		"extreme": func(x, y int) uint8 { return uint8(255 * rng.UintN(2)) },
		"rows":    func(x, y int) uint8 { return uint8(255 * (y & 1)) },
		"columns": func(x, y int) uint8 { return uint8(255 * (x & 1)) },
		"white":   func(x, y int) uint8 { return 255 },
	}
	cases := []struct{ sw, sh, w, h int }{
		{800, 600, 224, 168}, {800, 600, 224, 224}, {640, 480, 224, 168}, {224, 224, 224, 224},
		{1, 1, 5, 7}, {7, 5, 1, 1}, {17, 9, 40, 33}, {100, 100, 99, 101}, {3, 1200, 2, 3}, {1200, 3, 7, 2},
		{33, 31, 32, 30}, {9, 10, 400, 1000}, {448, 448, 224, 224}, {5, 2000, 3, 1},
	}
	for _, c := range cases {
		for name, fill := range fills {
			src := image.NewGray(image.Rect(-3, 4, -3+c.sw+6, 4+c.sh+5))
			for y := src.Rect.Min.Y; y < src.Rect.Max.Y; y++ {
				for x := src.Rect.Min.X; x < src.Rect.Max.X; x++ {
					src.Pix[src.PixOffset(x, y)] = fill(x, y)
				}
			}
			crop := image.Rect(src.Rect.Min.X+2, src.Rect.Min.Y+1, src.Rect.Min.X+2+c.sw, src.Rect.Min.Y+1+c.sh)
			dst := image.NewGray(image.Rect(0, 0, c.w, c.h))
			ResampleArea(dst, src, crop)
			inGo := image.NewGray(dst.Rect)
			resampleGo(inGo.Pix, inGo.Stride, c.w, c.h, src.Pix[src.PixOffset(crop.Min.X, crop.Min.Y):], src.Stride, c.sw, c.sh)
			if !bytes.Equal(inGo.Pix, dst.Pix) {
				t.Fatalf("%v %s: Go and C differ", c, name)
			}
			for i, want := range areaReference(src, crop, c.w, c.h) {
				if d := math.Abs(float64(dst.Pix[i]) - want); d > 1 {
					t.Fatalf("%v %s: pixel %d is %d, exact mean %.3f", c, name, i, dst.Pix[i], want)
				}
			}
		}
	}
}

// A destination inside a larger picture, as letterboxing needs, is written
// only inside.
func TestResampleAreaSubImage(t *testing.T) {
	src := image.NewGray(image.Rect(0, 0, 64, 48))
	for i := range src.Pix {
		src.Pix[i] = 200
	}
	box := image.NewGray(image.Rect(0, 0, 32, 32))
	inner := image.Rect(0, 4, 32, 28)
	ResampleArea(box.SubImage(inner).(*image.Gray), src, src.Rect)
	for y := range 32 {
		for x := range 32 {
			want := uint8(0)
			if image.Pt(x, y).In(inner) {
				want = 200
			}
			if got := box.GrayAt(x, y).Y; got != want {
				t.Fatalf("pixel %d,%d is %d, want %d", x, y, got, want)
			}
		}
	}
}

func BenchmarkResampleArea(b *testing.B) {
	for _, size := range []int{224, 256} {
		b.Run(fmt.Sprintf("800x600to%d", size), func(b *testing.B) {
			src := image.NewGray(image.Rect(0, 0, 800, 600))
			for i := range src.Pix {
				src.Pix[i] = uint8(i * 7)
			}
			dst := image.NewGray(image.Rect(0, 0, size, size))
			for b.Loop() {
				ResampleArea(dst, src, src.Rect)
			}
		})
		b.Run(fmt.Sprintf("800x600to%d-go", size), func(b *testing.B) {
			src := image.NewGray(image.Rect(0, 0, 800, 600))
			dst := image.NewGray(image.Rect(0, 0, size, size))
			for b.Loop() {
				resampleGo(dst.Pix, dst.Stride, size, size, src.Pix, src.Stride, 800, 600)
			}
		})
	}
}
