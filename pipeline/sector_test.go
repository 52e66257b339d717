package pipeline

import (
	"image"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/result"
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

// A region that is the whole screen says nothing of where the picture is: a sector that
// takes little of it is looked at alone, with the region's scale; one that takes most of
// it, and several, are left as they are.
func TestSectorOnScreen(t *testing.T) {
	base := standard("1.2.3.1")
	want := loopOf(t, newBrightness(models.ViewA4C), "", base.write(t, t.TempDir()))
	for name, tt := range map[string]struct {
		border int
		found  bool
	}{"small": {base.width / 2, true}, "large": {8, false}} {
		c := base
		c.screen = true
		c.x0, c.y0, c.x1, c.y1 = tt.border, tt.border, tt.border+base.width, tt.border+base.height
		c.width, c.height = base.width+2*tt.border, base.height+2*tt.border
		l := loopOf(t, newBrightness(models.ViewA4C), "", c.write(t, t.TempDir()))
		if found := l.Region.MaxX-l.Region.MinX < c.width*9/10; found != tt.found {
			t.Errorf("%s: the region is %+v of %d x %d", name, l.Region, c.width, c.height)
		}
		if !l.Spacing.Trusted {
			t.Errorf("%s: not calibrated: %+v", name, l.Spacing)
		}
		for i, m := range l.Measurements {
			if o := want.Measurements[i]; m.Name == result.EDV && (m.Value == nil || math.Abs(*m.Value / *o.Value - 1) > 0.04) {
				t.Errorf("%s: EDV %+v, of the picture alone %v", name, m, *o.Value)
			}
		}
	}
}
