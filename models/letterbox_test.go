package models

import (
	"image"
	"math"
	"slices"
	"testing"
)

func near(a, b, tol float64) bool { return math.Abs(a-b) <= tol }

// TestLetterboxWorked checks one case by hand: a 400x300 crop at (100, 50) of square pixels into 224x224.
// Scale 0.56, content 224x168 at (0, 28).
func TestLetterboxWorked(t *testing.T) {
	l, err := NewLetterbox(image.Rect(100, 50, 500, 350), 1, 224, 224)
	if err != nil {
		t.Fatal(err)
	}
	if want := image.Rect(0, 28, 224, 196); l.Content != want {
		t.Fatalf("content %v, want %v", l.Content, want)
	}
	for _, c := range []struct{ sx, sy, ix, iy float64 }{
		{99.5, 49.5, -0.5, 27.5},     // outer edge of the crop's first pixel -> outer edge of the content
		{499.5, 349.5, 223.5, 195.5}, // and the last
		{299.5, 199.5, 111.5, 111.5}, // centre -> centre
		{100, 50, 0.5*0.56 - 0.5, 0.5*0.56 - 0.5 + 28},
	} {
		x, y := l.InputFromSource().Apply(c.sx, c.sy)
		if !near(x, c.ix, 1e-9) || !near(y, c.iy, 1e-9) {
			t.Errorf("source (%v, %v) -> input (%v, %v), want (%v, %v)", c.sx, c.sy, x, y, c.ix, c.iy)
		}
		x, y = l.SourceFromInput().Apply(c.ix, c.iy)
		if !near(x, c.sx, 1e-9) || !near(y, c.sy, 1e-9) {
			t.Errorf("input (%v, %v) -> source (%v, %v), want (%v, %v)", c.ix, c.iy, x, y, c.sx, c.sy)
		}
	}
	// Mask cell (0, 14) has its centre at input (0.5, 28.5): one input pixel right of and below the content's corner
	// edge, which is source 1/0.56 away from (99.5, 49.5).
	x, y := l.SourceFromMask().Apply(0, 14)
	if !near(x, 99.5+1/0.56, 1e-9) || !near(y, 49.5+1/0.56, 1e-9) {
		t.Errorf("mask cell (0, 14) -> (%v, %v)", x, y)
	}
	x, y = l.SourceFromHeatmap().Apply(0, 7)
	if !near(x, 99.5+2/0.56, 1e-9) || !near(y, 49.5+2/0.56, 1e-9) {
		t.Errorf("heatmap cell (0, 7) -> (%v, %v)", x, y)
	}
}

// TestLetterboxAspect uses pixels twice as wide as high: a 100x200 crop is physically square.
func TestLetterboxAspect(t *testing.T) {
	l, err := NewLetterbox(image.Rect(0, 0, 100, 200), 2, 224, 224)
	if err != nil {
		t.Fatal(err)
	}
	if want := image.Rect(0, 0, 224, 224); l.Content != want {
		t.Errorf("content %v, want %v", l.Content, want)
	}
	m := l.InputFromSource()
	if !near(m.Sx, 2.24, 1e-12) || !near(m.Sy, 1.12, 1e-12) {
		t.Errorf("scales %v, %v, want 2.24, 1.12", m.Sx, m.Sy)
	}
}

// TestLetterboxEveryShape holds for every crop: the content lies within the input and touches two opposite edges, the
// aspect ratio is off by at most one input pixel, the round trip is exact, and the four corners map onto each other.
func TestLetterboxEveryShape(t *testing.T) {
	for _, crop := range []image.Rectangle{
		image.Rect(0, 0, 1, 1), image.Rect(3, 5, 4, 900), image.Rect(0, 0, 636, 436), image.Rect(17, 29, 1017, 797),
		image.Rect(-20, -10, 333, 222), image.Rect(0, 0, 4000, 3), image.Rect(64, 48, 577, 431), image.Rect(0, 0, 224, 224),
	} {
		for _, aspect := range []float64{1, 0.5, 1.0927, 1.333} {
			l, err := NewLetterbox(crop, aspect, 224, 192)
			if err != nil {
				t.Fatal(err)
			}
			if !l.Content.In(image.Rect(0, 0, 224, 192)) || l.Content.Empty() {
				t.Errorf("%v: content %v outside the input", crop, l.Content)
			}
			if l.Content.Dx() != 224 && l.Content.Dy() != 192 {
				t.Errorf("%v: content %v fills neither direction", crop, l.Content)
			}
			left, right := l.Content.Min.X, 224-l.Content.Max.X
			top, bottom := l.Content.Min.Y, 192-l.Content.Max.Y
			if right-left < 0 || right-left > 1 || bottom-top < 0 || bottom-top > 1 {
				t.Errorf("%v: content %v not centred", crop, l.Content)
			}
			w, h := float64(crop.Dx())*aspect, float64(crop.Dy())
			s := math.Min(224/w, 192/h)
			if !near(math.Max(1, w*s), float64(l.Content.Dx()), 1) || !near(math.Max(1, h*s), float64(l.Content.Dy()), 1) {
				t.Errorf("%v aspect %v: content %v for %vx%v", crop, aspect, l.Content, w*s, h*s)
			}
			for _, p := range [][2]float64{{float64(crop.Min.X), float64(crop.Min.Y)}, {12.25, -3.5}, {333.125, 100}} {
				x, y := l.SourceFromInput().Apply(l.InputFromSource().Apply(p[0], p[1]))
				if !near(x, p[0], 1e-9) || !near(y, p[1], 1e-9) {
					t.Errorf("%v: round trip of %v gives (%v, %v)", crop, p, x, y)
				}
			}
			x, y := l.InputFromSource().Apply(float64(crop.Max.X)-0.5, float64(crop.Max.Y)-0.5)
			if !near(x, float64(l.Content.Max.X)-0.5, 1e-9) || !near(y, float64(l.Content.Max.Y)-0.5, 1e-9) {
				t.Errorf("%v: far corner maps to (%v, %v), content %v", crop, x, y, l.Content)
			}
		}
	}
}

// TestLetterboxPixels paints a disc into a source frame, area-averages it through the letterbox into mask cells and
// maps the centroid of the cells back: it must be the disc's centre in source pixels.
func TestLetterboxPixels(t *testing.T) {
	const cx, cy, radius = 341.3, 207.8, 60.0
	crop := image.Rect(90, 40, 610, 437)
	l, err := NewLetterbox(crop, 1.1, 224, 224)
	if err != nil {
		t.Fatal(err)
	}
	// A mask cell's value is the share of the disc over the source area it stands for, sampled finely.
	toSource := l.SourceFromMask()
	var sum, sx, sy float64
	const fine = 8
	for j := range 112 {
		for i := range 112 {
			var hit float64
			for v := range fine {
				for u := range fine {
					x, y := toSource.Apply(float64(i)+(float64(u)+0.5)/fine-0.5, float64(j)+(float64(v)+0.5)/fine-0.5)
					if math.Hypot(x-cx, y-cy) < radius {
						hit++
					}
				}
			}
			sum += hit
			sx += hit * float64(i)
			sy += hit * float64(j)
		}
	}
	x, y := toSource.Apply(sx/sum, sy/sum)
	if !near(x, cx, 0.05) || !near(y, cy, 0.05) {
		t.Errorf("centroid (%v, %v), want (%v, %v)", x, y, cx, cy)
	}
	if area := sum / (fine * fine) * toSource.Sx * toSource.Sy; !near(area, math.Pi*radius*radius, 30) {
		t.Errorf("area %v, want %v", area, math.Pi*radius*radius)
	}
}

func TestLetterboxCanvas(t *testing.T) {
	l, err := NewLetterbox(image.Rect(0, 0, 30, 50), 1, 32, 32)
	if err != nil {
		t.Fatal(err)
	}
	dst := image.NewGray(image.Rect(0, 0, 32, 32))
	for i := range dst.Pix {
		dst.Pix[i] = 9
	}
	content, err := l.Canvas(dst)
	if err != nil {
		t.Fatal(err)
	}
	if content.Bounds() != l.Content {
		t.Errorf("canvas %v, want %v", content.Bounds(), l.Content)
	}
	for y := range 32 {
		for x := range 32 {
			want := uint8(0)
			if image.Pt(x, y).In(l.Content) {
				want = 9
			}
			if got := dst.GrayAt(x, y).Y; got != want {
				t.Fatalf("(%d, %d) is %d, want %d", x, y, got, want)
			}
		}
	}
	if _, err := l.Canvas(image.NewGray(image.Rect(0, 0, 16, 16))); err == nil {
		t.Error("an image of the wrong size is taken")
	}
}

func TestLetterboxRefuses(t *testing.T) {
	for _, c := range []struct {
		crop          image.Rectangle
		aspect        float64
		width, height int
	}{
		{image.Rectangle{}, 1, 224, 224},
		{image.Rect(0, 0, 10, 10), 0, 224, 224},
		{image.Rect(0, 0, 10, 10), math.NaN(), 224, 224},
		{image.Rect(0, 0, 10, 10), math.Inf(1), 224, 224},
		{image.Rect(0, 0, 10, 10), 1, 0, 224},
	} {
		if l, err := NewLetterbox(c.crop, c.aspect, c.width, c.height); err == nil {
			t.Errorf("%+v gives %+v", c, l)
		}
	}
}

// TestMirroredLetterbox follows a bright pixel: mirrored, it lies where the maps say.
func TestMirroredLetterbox(t *testing.T) {
	box, err := NewLetterbox(image.Rect(10, 20, 110, 70), 1, 128, 128)
	if err != nil {
		t.Fatal(err)
	}
	plain := box
	box.Mirrored = true
	x, y := plain.InputFromSource().Apply(30, 40)
	mx, my := box.InputFromSource().Apply(30, 40)
	if want := float64(box.Content.Min.X+box.Content.Max.X-1) - x; !near(mx, want, 1e-9) || !near(my, y, 1e-9) {
		t.Errorf("mirrored at (%v, %v), want (%v, %v)", mx, my, want, y)
	}
	sx, sy := box.SourceFromInput().Apply(mx, my)
	if math.Abs(sx-30) > 1e-9 || math.Abs(sy-40) > 1e-9 {
		t.Errorf("back at (%v, %v)", sx, sy)
	}
	img := image.NewGray(image.Rect(0, 0, 5, 2))
	copy(img.Pix, []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10})
	Mirror(img.SubImage(image.Rect(1, 0, 4, 2)).(*image.Gray))
	if want := []byte{1, 4, 3, 2, 5, 6, 9, 8, 7, 10}; !slices.Equal(img.Pix, want) {
		t.Errorf("mirrored part: %v, want %v", img.Pix, want)
	}
}
