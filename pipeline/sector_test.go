package pipeline

import (
	"image"
	"math"
	"math/rand/v2"
	"testing"
)

// screen draws a fan with its tip at (tipX, 60), 45 degrees to either side and 340 deep, a dark chamber in it, text beside it,
// a ruler and an ECG below.
func screen(tipX int) *image.Gray {
	r := rand.New(rand.NewPCG(1, 2))
	g := image.NewGray(image.Rect(0, 0, 640, 480))
	for y := range 480 {
		for x := range 640 {
			dx, dy := float64(x-tipX), float64(y-60)
			chamber := math.Hypot(dx, dy-170) < 45
			if d := math.Hypot(dx, dy); d < 340 && math.Abs(dx) < dy && !chamber {
				g.Pix[y*g.Stride+x] = uint8(20 + r.IntN(150))
			}
		}
	}
	for i := range 400 {
		g.Pix[(20+12*(i%6)+i%7)*g.Stride+10+i%60] = 255                 // text
		g.Pix[(60+i)*g.Stride+620+i%3] = 200                            // ruler
		g.Pix[(450+int(8*math.Sin(float64(i)/9)))*g.Stride+100+i] = 255 // ECG
	}
	return g
}

func TestSector(t *testing.T) {
	for _, tipX := range []int{300, 260} {
		got, pictures := sector(screen(tipX))
		if pictures != 1 {
			t.Errorf("tip at %d: %d pictures", tipX, pictures)
		}
		want := image.Rect(tipX-240, 60, tipX+240, 400)
		for _, d := range []int{got.Min.X - want.Min.X, got.Min.Y - want.Min.Y, got.Max.X - want.Max.X, got.Max.Y - want.Max.Y} {
			if d < -20 || d > 20 {
				t.Fatalf("tip at %d: %v, want about %v", tipX, got, want)
			}
		}
	}
	full := image.NewGray(image.Rect(0, 0, 320, 240))
	for i := range full.Pix {
		full.Pix[i] = 90
	}
	for name, g := range map[string]*image.Gray{"a picture all over": full, "black": image.NewGray(full.Rect), "tiny": image.NewGray(image.Rect(0, 0, 20, 20))} {
		if got, _ := sector(g); !got.Empty() {
			t.Errorf("%s: %v, want nothing", name, got)
		}
	}
}

// Two planes side by side in one picture without regions: one is taken, and it is said that there is another.
func TestTwoSectors(t *testing.T) {
	one := screen(300)
	g := image.NewGray(image.Rect(0, 0, 1040, 480))
	for y := range 480 {
		copy(g.Pix[y*g.Stride:], one.Pix[y*one.Stride+60:][:490])
		copy(g.Pix[y*g.Stride+520:], one.Pix[y*one.Stride+60:][:490])
	}
	got, pictures := sector(g)
	if pictures != 2 || got.Dx() > 520 {
		t.Errorf("%d pictures, the largest %v", pictures, got)
	}
}
