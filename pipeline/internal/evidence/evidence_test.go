package evidence

import (
	"bytes"
	"image"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/echonode/echonode/pipeline/lv"
)

const side = 224

// fan draws a sector of 70 degrees from (112, 8), 180 pixels deep, with speckle
// of level gray; what lies right of cut is black.
func fan(gray uint8, cut float64) *image.Gray {
	img := image.NewGray(image.Rect(0, 0, side, side))
	for y := range side {
		for x := range side {
			dx, dy := float64(x)-112, float64(y)-8
			if math.Hypot(dx, dy) < 180 && math.Abs(math.Atan2(dx, dy)) < 35*math.Pi/180 && float64(x) < cut {
				img.Pix[y*side+x] = gray + uint8((x*7+y*13)%20)
			}
		}
	}
	return img
}

func TestSector(t *testing.T) {
	img := fan(40, 300)
	// A line of text, an ECG and a scale are no part of it.
	for x := range 200 {
		img.Pix[3*side+x+10] = 255
		img.Pix[(215+int(4*math.Sin(float64(x)/5)))*side+x+10] = 255
		img.Pix[(x+10)*side+220] = 255
	}
	// Nor does a dark wall at the edge make it smaller: others are bright there.
	for y := 90; y < 130; y++ {
		for x := 150; x < side; x++ {
			img.Pix[y*side+x] = 0
		}
	}
	var b Brightest
	b.Add(img)
	sector := b.Sector()
	want := 70. / 360 * math.Pi * 180 * 180
	if a := lv.PolygonArea(sector, lv.Spacing{X: 1, Y: 1}); math.Abs(a-want) > 0.06*want {
		t.Errorf("area %.0f, want %.0f", a, want)
	}
	lo, hi := lv.Bounds(sector)
	for _, c := range []struct{ got, want float64 }{{lo.Y, 9}, {hi.Y, 188}, {lo.X, 112 - 180*math.Sin(35*math.Pi/180)},
		{hi.X, 112 + 180*math.Sin(35*math.Pi/180)}} {
		if math.Abs(c.got-c.want) > 4 {
			t.Errorf("bound at %.1f, want %.1f", c.got, c.want)
		}
	}
	var cut Brightest
	cut.Add(fan(40, 140))
	if _, hi := lv.Bounds(cut.Sector()); math.Abs(hi.X-139.5) > 1.5 {
		t.Errorf("a sector that is cut at 140 ends at %.1f", hi.X)
	}
	var dark Brightest
	if dark.Add(image.NewGray(image.Rect(0, 0, side, side))); dark.Sector() != nil {
		t.Error("a black picture has a sector")
	}
}

// heart draws a dark half ellipse with a bright wall; the wall right of the
// middle is dark too when lost.
func heart(lost bool) (*image.Gray, []lv.Point, lv.Point, lv.Point) {
	img := image.NewGray(image.Rect(0, 0, side, side))
	base, apex := lv.Point{X: 112, Y: 160}, lv.Point{X: 112, Y: 50}
	for y := range side {
		for x := range side {
			u, v := (float64(x)-112)/32, (160-float64(y))/110
			r := math.Hypot(u, v)
			switch {
			case v < 0 || r > 1.5:
			case r > 1 && !(lost && x > 112):
				img.Pix[y*side+x] = 120
			default:
				img.Pix[y*side+x] = 10
			}
		}
	}
	var outline []lv.Point
	for i := range 101 {
		sin, cos := math.Sincos(math.Pi + math.Pi*float64(i)/100)
		outline = append(outline, lv.Point{X: 112 + 32*cos, Y: 160 + 110*sin})
	}
	return img, outline, base, apex
}

func TestUnseen(t *testing.T) {
	img, outline, base, apex := heart(false)
	if u := Unseen(img, outline, base, apex); u != 0 {
		t.Errorf("%.2f of a whole wall is not seen", u)
	}
	img, outline, base, apex = heart(true)
	if u := Unseen(img, outline, base, apex); math.Abs(u-0.5) > 0.05 {
		t.Errorf("%.2f of a half wall is not seen, want 0.5", u)
	}
	// Nothing to see at all, and nothing to divide by.
	if u := Unseen(image.NewGray(image.Rect(0, 0, 8, 8)), nil, base, base); u != 0 {
		t.Errorf("no outline: %v", u)
	}
}

// TestBrighten compares eight bytes at a time with one.
func TestBrighten(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 1))
	for n := range 70 {
		to, from, want := make([]byte, n), make([]byte, n), make([]byte, n)
		for i := range to {
			to[i], from[i] = byte(rng.IntN(256)), byte(rng.IntN(256))
			want[i] = max(to[i], from[i])
		}
		brighten(to, from)
		if !bytes.Equal(to, want) {
			t.Fatalf("%v and %v", to, want)
		}
	}
	for a := range 256 {
		for b := range 256 {
			to, from := bytes.Repeat([]byte{byte(a)}, 8), bytes.Repeat([]byte{byte(b)}, 8)
			if brighten(to, from); to[0] != byte(max(a, b)) || to[7] != byte(max(a, b)) {
				t.Fatalf("%d and %d: %d", a, b, to[0])
			}
		}
	}
}
