package lv

import (
	"image"
	_ "image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// labelPlane reads one label of a mask as a probability plane.
func labelPlane(img image.Image, label uint8) ([]uint8, int, int) {
	b := img.Bounds()
	p := make([]uint8, b.Dx()*b.Dy())
	for y := range b.Dy() {
		for x := range b.Dx() {
			if v, _, _, _ := img.At(b.Min.X+x, b.Min.Y+y).RGBA(); uint8(v>>8) == label {
				p[y*b.Dx()+x] = 255
			}
		}
	}
	return p, b.Dx(), b.Dy()
}

// On expert outlines of real four-chamber frames the axis that the shape alone
// gives must agree with the one from the border between ventricle and atrium.
func TestAxisOnExpertOutlines(t *testing.T) {
	dir := os.Getenv("ECHO_DATA")
	if dir == "" {
		t.Skip("ECHO_DATA is not set")
	}
	files, err := filepath.Glob(filepath.Join(dir, "echo-labelled", "a4c", "mask", "*.png"))
	if err != nil || len(files) == 0 {
		t.Skipf("no labelled frames: %v", err)
	}
	const mm = 0.308
	s := Spacing{mm, mm}
	var gap, short []float64
	var turned []string
	wrong := 0
	for i, name := range files {
		if testing.Short() && i%10 != 0 {
			continue
		}
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		img, _, err := image.Decode(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		p, w, h := labelPlane(img, 85)
		out, err := ExtractContour(p, w, h, identity(), DefaultContourOptions())
		if err != nil {
			t.Fatal(name, err)
		}
		// The mitral line: contour points within 3 px of the atrium.
		la, _, _ := labelPlane(img, 255)
		var mitral []Point
		for _, q := range out.Points {
			near := false
			for dy := -3; dy <= 3 && !near; dy++ {
				for dx := -3; dx <= 3 && !near; dx++ {
					x, y := int(math.Round(q.X))+dx, int(math.Round(q.Y))+dy
					near = x >= 0 && y >= 0 && x < w && y < h && la[y*w+x] > 0
				}
			}
			if near {
				mitral = append(mitral, q)
			}
		}
		if len(mitral) < 2 {
			continue // no atrium in the picture
		}
		a := farthest(mitral, mitral[0])
		b := farthest(mitral, a)
		base := midpoint(a, b)
		axis, err := LongAxis(out.Points, s, Landmarks{}, DefaultAxisOptions())
		if err != nil {
			t.Fatal(name, err)
		}
		if axis.Apex.Y > axis.Base.Y {
			turned = append(turned, filepath.Base(name))
		}
		// The transducer, at the top of the sector, settles doubtful shapes.
		o := DefaultAxisOptions()
		o.ApexSide = &Point{float64(w) / 2, 0}
		if axis, err = LongAxis(out.Points, s, Landmarks{}, o); err != nil {
			t.Fatal(name, err)
		}
		length := s.Distance(base, farthest(out.Points, base))
		if axis.Apex.Y > axis.Base.Y {
			t.Logf("%s: apex %v lies below base %v", filepath.Base(name), axis.Apex, axis.Base)
			wrong++
		}
		gap = append(gap, s.Distance(axis.Base, base))
		short = append(short, 100*(axis.LengthMM-length)/length)
	}
	slices.Sort(gap)
	slices.Sort(short)
	n := len(gap)
	t.Logf("%d frames: base off by median %.1f mm, 95 %% %.1f mm; length off by median %.2f %%, 5 to 95 %% %.1f to %.1f %%",
		n, median(gap), gap[n*95/100], median(short), short[n*5/100], short[n*95/100])
	t.Logf("upside down: %d by shape alone %v, %d with the transducer's side", len(turned), turned, wrong)
	if len(turned)*50 > n || wrong*100 > n {
		t.Error("too many axes are upside down")
	}
	if median(gap) > 3 || math.Abs(median(short)) > 2 {
		t.Error("axis from the shape does not agree with the mitral line")
	}
}
