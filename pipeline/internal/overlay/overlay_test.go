package overlay

import (
	"bytes"
	"encoding/xml"
	"errors"
	"image"
	"image/color"
	"image/gif"
	"image/png"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/echonode/echonode/pipeline/lv"
)

func gray(w, h int, v uint8) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for i := range img.Pix {
		img.Pix[i] = v
		if i%4 == 3 {
			img.Pix[i] = 255
		}
	}
	return img
}

func square(x0, y0, x1, y1 float64) []lv.Point {
	return []lv.Point{{X: x0, Y: y0}, {X: x1, Y: y0}, {X: x1, Y: y1}, {X: x0, Y: y1}}
}

// A contour through pixel centres must colour those pixels and leave the rest
// of the image as it is, so that drawing is exact in source pixels.
func TestRenderIsExact(t *testing.T) {
	r, err := NewRenderer(320, 240, "EchoNode 0.1.0, model echonode-lv 0.3")
	if err != nil {
		t.Fatal(err)
	}
	dst := r.NewImage()
	scene := Scene{Outlines: []Outline{{Ventricle, square(100, 60, 200, 180)}}, Status: "A4C frame 1/30", Badge: "ED"}
	if err := r.Render(dst, gray(320, 240, 50), scene); err != nil {
		t.Fatal(err)
	}
	for _, p := range []image.Point{{100, 60}, {150, 60}, {200, 120}, {100, 180}} {
		if got := dst.RGBAAt(p.X, p.Y); got != colourVentricle {
			t.Errorf("on the contour at %v: %v", p, got)
		}
	}
	same := color.RGBA{50, 50, 50, 255}
	for _, p := range []image.Point{{0, 0}, {150, 57}, {150, 63}, {150, 120}, {319, 239}, {204, 184}} {
		if got := dst.RGBAAt(p.X, p.Y); got != same {
			t.Errorf("off the contour at %v: %v", p, got)
		}
	}
	if got := dst.RGBAAt(150, 61); got == same || got == colourVentricle {
		t.Errorf("edge of the line at (150, 61) is not soft: %v", got)
	}
	lit := 0
	for y := 240; y < r.Size().Y; y++ {
		for x := range 320 {
			if dst.RGBAAt(x, y) != (color.RGBA{0, 0, 0, 255}) {
				lit++
			}
		}
	}
	if lit < 300 {
		t.Errorf("footer has %d lit pixels", lit)
	}
	// Rendering again on the same image leaves no trace of the first scene.
	if err := r.Render(dst, gray(320, 240, 50), Scene{}); err != nil {
		t.Fatal(err)
	}
	if got := dst.RGBAAt(150, 60); got != same {
		t.Errorf("old contour at (150, 60): %v", got)
	}
}

func TestRenderEverythingAnywhere(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	wild := []lv.Point{{X: -1e9, Y: 3}, {X: 1e9, Y: 1e9}, {X: nan, Y: 4}, {X: inf, Y: 2}, {X: 5, Y: 5}}
	s := Scene{
		Outlines:  []Outline{{Ventricle, wild}, {Myocardium, wild[:1]}, {Atrium, nil}},
		Keypoints: wild, Lines: []Line{{wild[0], wild[4]}},
		Axis:   &lv.Axis{Apex: lv.Point{X: 10, Y: 1}, Base: lv.Point{X: 10, Y: 30}},
		Disks:  []lv.Disk{{A: lv.Point{X: 1, Y: 5}, B: lv.Point{X: 20, Y: 5}}},
		Status: strings.Repeat("long status ", 40), Badge: "ES",
	}
	for _, size := range []image.Point{{16, 16}, {33, 17}, {640, 480}} {
		r, err := NewRenderer(size.X, size.Y, "EchoNode dev, model x")
		if err != nil {
			t.Fatal(err)
		}
		if r.Size().Y%2 != size.Y%2 || r.Size().X != size.X {
			t.Errorf("size %v of a frame of %v", r.Size(), size)
		}
		if err := r.Render(r.NewImage(), gray(size.X, size.Y, 9), s); err != nil {
			t.Error(err)
		}
	}
}

// Dashes end, wherever rounding leaves the end of one beside the end of a side.
func TestDashesEnd(t *testing.T) {
	r, err := NewRenderer(768, 576, "test")
	if err != nil {
		t.Fatal(err)
	}
	img := image.NewRGBA(image.Rect(0, 0, 768, 576))
	random := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		var pts []lv.Point
		for range 40 {
			pts = append(pts, lv.Point{X: 100 + random.Float64()*20, Y: 100 + random.Float64()*20})
		}
		r.dashed(img, pts, 1, colourDoubtful, 1)
	}
	// Sides of as many pieces, and parts of pieces, as can be.
	r.dashed(img, []lv.Point{{X: 0}, {X: 5 * r.stroke}, {X: 15 * r.stroke}, {X: 15 * r.stroke}, {X: 7.5 * r.stroke}}, 1, colourDoubtful, 1)
}

func TestRenderRefuses(t *testing.T) {
	if _, err := NewRenderer(0, 10, ""); err == nil {
		t.Error("renderer without pixels")
	}
	r, err := NewRenderer(64, 64, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Render(r.NewImage(), gray(63, 64, 0), Scene{}); !errors.Is(err, errSize) {
		t.Errorf("frame of another size: %v", err)
	}
	if err := r.Render(gray(64, 64, 0), gray(64, 64, 0), Scene{}); !errors.Is(err, errSize) {
		t.Errorf("destination of another size: %v", err)
	}
}

func TestGIF(t *testing.T) {
	// 30 frames a second, then a pause: real delays, not rounded to one value.
	times := []float64{0, 33.3, 66.7, 100, 133.3, 333.3}
	var b bytes.Buffer
	calls := 0
	err := WriteGIF(&b, times, GIFOptions{MaxWidth: 100}, func(i int) (image.Image, error) {
		if i != calls {
			t.Errorf("frame %d asked for after %d", i, calls)
		}
		calls++
		img := gray(200, 120, uint8(40*i))
		img.SetRGBA(0, 0, colourVentricle)
		img.SetRGBA(1, 0, colourVentricle)
		img.SetRGBA(0, 1, colourVentricle)
		img.SetRGBA(1, 1, colourVentricle)
		return img, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	g, err := gif.DecodeAll(&b)
	if err != nil {
		t.Fatal(err)
	}
	if want := []int{3, 4, 3, 3, 20, 20}; len(g.Delay) != len(want) {
		t.Fatalf("delays %v, want %v", g.Delay, want)
	} else {
		for i := range want {
			if g.Delay[i] != want[i] {
				t.Errorf("delays %v, want %v", g.Delay, want)
				break
			}
		}
	}
	if g.LoopCount != 0 {
		t.Errorf("loop count %d", g.LoopCount)
	}
	for i, p := range g.Image {
		if p.Bounds().Dx() != 100 || p.Bounds().Dy() != 60 {
			t.Fatalf("frame %d is %v", i, p.Bounds())
		}
		c := color.RGBAModel.Convert(p.At(50, 30)).(color.RGBA)
		if math.Abs(float64(c.R)-float64(40*i)) > 2 || c.R != c.G || c.G != c.B {
			t.Errorf("frame %d is %v, want gray %d", i, c, 40*i)
		}
		if c := color.RGBAModel.Convert(p.At(0, 0)).(color.RGBA); c != colourVentricle {
			t.Errorf("frame %d: overlay colour %v", i, c)
		}
	}
}

// At 100 frames a second every other frame is shown, at the right speed.
func TestGIFSchedule(t *testing.T) {
	var times []float64
	for i := range 100 {
		times = append(times, float64(i)*10)
	}
	shown, delays := schedule(times)
	total := 0
	for _, d := range delays {
		total += d
		if d < shortestDelay {
			t.Errorf("delay %d", d)
		}
	}
	if len(shown) != 50 || total != 101 && total != 100 {
		t.Errorf("%d frames for %d hundredths of a second, want 50 for 100", len(shown), total)
	}
	if _, d := schedule([]float64{0}); len(d) != 1 || d[0] != 100 {
		t.Errorf("single frame: %v", d)
	}
}

func TestGIFErrors(t *testing.T) {
	if err := WriteGIF(io.Discard, nil, DefaultGIFOptions(), nil); err == nil {
		t.Error("animation without frames")
	}
	broken := errors.New("broken")
	err := WriteGIF(io.Discard, []float64{0}, DefaultGIFOptions(), func(int) (image.Image, error) { return nil, broken })
	if !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	if w := targetWidth(image.Pt(1000, 1000), 100, GIFOptions{MaxWidth: 800, MaxPixels: 1e6}); w != 100 {
		t.Errorf("100 frames in a million pixels are %d wide", w)
	}
}

func TestPNG(t *testing.T) {
	var b bytes.Buffer
	if err := WritePNG(&b, gray(20, 10, 77)); err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(&b)
	if err != nil || img.Bounds().Dx() != 20 {
		t.Errorf("%v, %v", img, err)
	}
}

func TestCurveSVG(t *testing.T) {
	c := Curve{Title: `A4C <1.2> & "x"`, Unit: "cm2", RWaveMS: []float64{10, 5000}}
	for i := range 40 {
		c.TimesMS = append(c.TimesMS, float64(i)*33)
		c.Values = append(c.Values, 28+7*math.Cos(float64(i)/4))
	}
	c.Smoothed = c.Values
	c.Values[5] = math.NaN()
	c.Beats = []lv.Beat{{ED: 0, ES: 12, NextED: 25}, {ED: 25, ES: 5, NextED: -1}}
	var b bytes.Buffer
	if err := c.WriteSVG(&b); err != nil {
		t.Fatal(err)
	}
	d := xml.NewDecoder(bytes.NewReader(b.Bytes()))
	circles := 0
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := tok.(xml.StartElement); ok && e.Name.Local == "circle" {
			circles++
		}
	}
	if circles != 39+3 { // one value is missing, and the mark on it
		t.Errorf("%d circles", circles)
	}
	if s := b.String(); strings.Count(s, ">ED<") != 2 || strings.Count(s, ">ES<") != 1 || strings.Count(s, ">R<") != 1 || strings.Contains(s, "NaN") {
		t.Errorf("marks are wrong:\n%s", s)
	}
	for name, bad := range map[string]Curve{
		"empty":    {},
		"no times": {Values: []float64{1}},
		"all NaN":  {TimesMS: []float64{0}, Values: []float64{math.NaN()}},
	} {
		if err := bad.WriteSVG(io.Discard); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	one := Curve{TimesMS: []float64{0}, Values: []float64{3}}
	if err := one.WriteSVG(io.Discard); err != nil {
		t.Errorf("one value: %v", err)
	}
}
