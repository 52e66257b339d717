package echo

import (
	"image"
	"image/color"
	"math/rand/v2"
	"testing"
)

// Drawn lines are told from speckle, from broad bright tissue and from the colour of a map.
func TestDrawn(t *testing.T) {
	r := image.Rect(0, 0, 200, 160)
	speckle := func(tint func(v uint8) color.RGBA) *image.RGBA {
		rng, img := rand.New(rand.NewPCG(3, 4)), image.NewRGBA(r)
		for y := range 160 {
			for x := range 200 {
				v := uint8(rng.IntN(150))
				if y > 120 {
					v = uint8(230 + rng.IntN(26)) // pericardium
				}
				img.SetRGBA(x, y, tint(v))
			}
		}
		return img
	}
	grey := func(v uint8) color.RGBA { return color.RGBA{v, v, v, 255} }
	sepia := func(v uint8) color.RGBA { return color.RGBA{v, uint8(0.7 * float64(v)), uint8(0.3 * float64(v)), 255} }
	line := func(img *image.RGBA, c color.RGBA) *image.RGBA {
		for y := 20; y < 100; y++ {
			img.SetRGBA(80+y/4, y, c)
			img.SetRGBA(81+y/4, y, c)
		}
		return img
	}
	label := func(img *image.RGBA) *image.RGBA {
		for x := 20; x < 45; x++ {
			img.SetRGBA(x, 40, color.RGBA{255, 255, 0, 255})
		}
		return img
	}
	for name, tt := range map[string]struct {
		img         *image.RGBA
		least, most int
	}{
		"grey":                  {speckle(grey), 0, 0},
		"turned up":             {speckle(func(v uint8) color.RGBA { v = uint8(min(255, 2*int(v))); return grey(v) }), 0, 0},
		"turned up, tinted":     {speckle(func(v uint8) color.RGBA { return sepia(uint8(min(255, 2*int(v)))) }), 0, 0},
		"a label":               {label(speckle(grey)), 0, 0},
		"a white line":          {line(speckle(grey), color.RGBA{255, 255, 255, 255}), 120, 172},
		"a grey line":           {line(speckle(grey), color.RGBA{205, 205, 205, 255}), 60, 172},
		"a yellow line":         {line(speckle(grey), color.RGBA{255, 220, 0, 255}), 160, 172},
		"a tinted map":          {speckle(sepia), 0, 0},
		"a thin region of none": {image.NewRGBA(image.Rect(0, 0, 2, 2)), 0, 0},
	} {
		if got := len(Drawn(tt.img, r)); got < tt.least || got > tt.most {
			t.Errorf("%s: %d pixels, want %d to %d", name, got, tt.least, tt.most)
		}
	}
}
