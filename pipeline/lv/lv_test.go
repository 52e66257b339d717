package lv

import (
	"errors"
	"math"
	"slices"
	"testing"
)

func near(t *testing.T, what string, got, want, tol float64) {
	t.Helper()
	if math.IsNaN(got) || math.Abs(got-want) > tol {
		t.Errorf("%s = %.4f, want %.4f +/- %g", what, got, want, tol)
	}
}

// halfEllipse is a cavity of base diameter d and length l in pixels, its apex
// up at (cx, top), turned by angle about the middle of its base.
func halfEllipse(cx, top, d, l, angle float64, n int) []Point {
	sin, cos := math.Sincos(angle)
	pts := make([]Point, n)
	for i := range pts {
		phi := math.Pi + math.Pi*float64(i)/float64(n-1)
		x, y := d/2*math.Cos(phi), l*math.Sin(phi)
		pts[i] = Point{cx + cos*x - sin*y, top + l + sin*x + cos*y}
	}
	return pts
}

// identity maps a plane onto itself.
func identity() Affine { return Affine{Sx: 1, Sy: 1} }

// Worked numbers: half ellipsoid of base diameter 5 cm and length 9 cm has
// pi/6*D^2*L = 117.81 mL, 20 mid-point disks give 117.85; with ES 3.5 x 7.5 cm
// the EF is 59.2 %.
func TestHalfEllipsoid(t *testing.T) {
	const mmPerPx = 0.25
	s := Spacing{mmPerPx, mmPerPx}
	px := func(cm float64) float64 { return cm * 10 / mmPerPx }
	for _, deg := range []float64{0, 30, 90, 135, 180, -70} {
		a := deg * math.Pi / 180
		ed, err := MeasurePlane(halfEllipse(500, 100, px(5), px(9), a, 2001), s, Landmarks{}, DefaultAxisOptions())
		if err != nil {
			t.Fatal(err)
		}
		es, err := MeasurePlane(halfEllipse(500, 100, px(3.5), px(7.5), a, 2001), s, Landmarks{}, DefaultAxisOptions())
		if err != nil {
			t.Fatal(err)
		}
		near(t, "EDV", ed.VolumeML, 117.85, 0.02)
		near(t, "length", ed.Axis.LengthMM, 90, 0.01)
		near(t, "area", ed.AreaMM2, math.Pi/4*50*90, 0.1)
		near(t, "EF", EF(ed.VolumeML, es.VolumeML), 59.2, 0.05)
		near(t, "area-length", AreaLengthVolume(ed.AreaMM2, ed.Axis.LengthMM), 117.81, 0.02)
		bp, err := BiplaneVolume(ed.Disks, ed.Axis.LengthMM, ed.Disks, ed.Axis.LengthMM*1.1)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "biplane", bp, 117.85*1.1, 0.03)
		if f := CheckPlanes(ed, es, true, DefaultQualityOptions()); len(f) != 0 {
			t.Errorf("findings on a good beat: %v", f)
		}
	}
}

// The same shape on pixels that are not square must give the same volume.
func TestAnisotropicPixels(t *testing.T) {
	s := Spacing{X: 0.4, Y: 0.25}
	mm := halfEllipse(80, 20, 50, 90, 0.4, 2001)
	px := make([]Point, len(mm))
	for i, p := range mm {
		px[i] = s.unscale(p)
	}
	p, err := MeasurePlane(px, s, Landmarks{}, DefaultAxisOptions())
	if err != nil {
		t.Fatal(err)
	}
	near(t, "volume", p.VolumeML, 117.85, 0.02)
	near(t, "area", PolygonArea(px, s), math.Pi/4*50*90, 0.1)
	d := p.Disks[0]
	near(t, "disk", s.Distance(d.A, d.B), d.DiameterMM, 1e-6)
}

func TestLongAxisKeypoints(t *testing.T) {
	c := halfEllipse(100, 20, 50, 90, 0, 400)
	s := Spacing{1, 1}
	kp := func(x, y, conf float64) *Keypoint { return &Keypoint{Point{x, y}, conf} }
	tests := []struct {
		name          string
		marks         Landmarks
		annulus, apex string
		length        float64
	}{
		{"none", Landmarks{}, FromContour, FromContour, 90},
		{"all", Landmarks{kp(100, 22, 0.9), kp(76, 109, 0.8), kp(124, 109, 0.8)}, FromKeypoints, FromKeypoints, 89},
		{"weak", Landmarks{kp(100, 22, 0.2), kp(76, 109, 0.1), kp(124, 109, 0.8)}, FromContour, FromContour, 90},
		{"one hinge far off", Landmarks{nil, kp(76, 109, 0.9), kp(190, 109, 0.9)}, FromContour, FromContour, 90},
		{"hinges together", Landmarks{nil, kp(99, 110, 0.9), kp(102, 110, 0.9)}, FromContour, FromContour, 90},
		{"apex on the wall", Landmarks{kp(122, 90, 0.9), kp(75, 110, 0.8), kp(125, 110, 0.8)}, FromKeypoints, FromContour, 90},
		{"NaN confidence", Landmarks{kp(100, 22, math.NaN()), nil, nil}, FromContour, FromContour, 90},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, err := LongAxis(c, s, tt.marks, DefaultAxisOptions())
			if err != nil {
				t.Fatal(err)
			}
			if a.AnnulusSource != tt.annulus || a.ApexSource != tt.apex {
				t.Errorf("annulus from %s, apex from %s; want %s, %s", a.AnnulusSource, a.ApexSource, tt.annulus, tt.apex)
			}
			near(t, "length", a.LengthMM, tt.length, 0.3)
		})
	}
}

// An ellipse has no base of its own: the side of the transducer decides.
func TestApexSide(t *testing.T) {
	var c []Point
	for i := range 200 {
		sin, cos := math.Sincos(2 * math.Pi * float64(i) / 200)
		c = append(c, Point{100 + 25*cos, 100 + 45*sin})
	}
	o := DefaultAxisOptions()
	for _, side := range []Point{{100, 0}, {100, 300}} {
		o.ApexSide = &side
		a, err := LongAxis(c, Spacing{1, 1}, Landmarks{}, o)
		if err != nil {
			t.Fatal(err)
		}
		if (a.Apex.Y < 100) != (side.Y < 100) {
			t.Errorf("transducer at %v, apex at %v", side, a.Apex)
		}
	}
}

func TestLongAxisErrors(t *testing.T) {
	c := halfEllipse(100, 20, 50, 90, 0, 50)
	for name, f := range map[string]func() error{
		"no points": func() error { _, err := LongAxis(nil, Spacing{1, 1}, Landmarks{}, DefaultAxisOptions()); return err },
		"line": func() error {
			_, err := LongAxis([]Point{{0, 0}, {1, 1}, {2, 2}}, Spacing{1, 1}, Landmarks{}, DefaultAxisOptions())
			return err
		},
		"no spacing": func() error { _, err := LongAxis(c, Spacing{}, Landmarks{}, DefaultAxisOptions()); return err },
		"empty axis": func() error { _, err := Disks(c, Spacing{1, 1}, Axis{}, 20); return err },
	} {
		if err := f(); !errors.Is(err, ErrNoAxis) {
			t.Errorf("%s: %v, want ErrNoAxis", name, err)
		}
	}
	if _, err := BiplaneVolume(make([]Disk, 20), 1, make([]Disk, 19), 1); err == nil {
		t.Error("biplane of unequal disks gave no error")
	}
}

func TestIndices(t *testing.T) {
	near(t, "mass", CubeMass(1, 5, 1), 181.98, 0.005)
	near(t, "RWT", RWT(1, 5), 0.40, 1e-9)
	near(t, "DuBois", BSADuBois(80, 180), 1.996, 0.0005)
	near(t, "EF", EF(118, 46), 61.02, 0.005)
	near(t, "FS", FS(50, 32), 36, 1e-9)
	near(t, "FAC", FAC(35.34, 20.62), 41.65, 0.01)
	near(t, "CO", CardiacOutput(StrokeVolume(118, 46), 72), 5.184, 1e-9)
	if !math.IsNaN(EF(0, 0)) || !math.IsNaN(RWT(1, 0)) {
		t.Error("a ratio over nothing is not NaN")
	}
	for _, tt := range []struct {
		mass, rwt float64
		sex       Sex
		want      Geometry
	}{
		{100, 0.40, Male, NormalGeometry},
		{100, 0.40, Female, EccentricHypertrophy},
		{100, 0.40, SexUnknown, GeometryUnknown},
		{90, 0.50, SexUnknown, ConcentricRemodelling},
		{120, 0.43, Male, ConcentricHypertrophy},
		{115, 0.42, Male, NormalGeometry},
		{math.NaN(), 0.42, Male, GeometryUnknown},
	} {
		if got := ClassifyGeometry(tt.mass, tt.rwt, tt.sex); got != tt.want {
			t.Errorf("geometry(%v, %v, %v) = %q, want %q", tt.mass, tt.rwt, tt.sex, got, tt.want)
		}
	}
	l := Calipers{Point{0, 0}, Point{0, 10}, Point{0, 60}, Point{10, 60}}.Measure(Spacing{1, 0.5})
	near(t, "IVS", l.IVSmm, 5, 1e-9)
	near(t, "LVID", l.LVIDmm, 25, 1e-9)
	near(t, "PW", l.PWmm, 10, 1e-9)
	near(t, "bend", l.BendDeg, 90, 1e-6)
	if !Rejected(CheckCalipers(l, 0, DefaultQualityOptions())) {
		t.Error("bent calipers pass")
	}
	sum := Summarize([]float64{50, math.NaN(), 60})
	near(t, "SD", sum.SD, 7.0711, 1e-4)
	if sum.N != 2 || sum.Mean != 55 || sum.Min != 50 || sum.Max != 60 {
		t.Errorf("summary %+v", sum)
	}
}

// plane makes a probability plane from text: '#' is 255, '+' 160, '.' 0.
func plane(rows ...string) ([]uint8, int, int) {
	var p []uint8
	for _, r := range rows {
		for _, c := range r {
			p = append(p, map[rune]uint8{'#': 255, '+': 160, '.': 0}[c])
		}
	}
	return p, len(rows[0]), len(rows)
}

func TestExtractContourComponents(t *testing.T) {
	o := ContourOptions{Level: 128, MinCells: 1, MaxPoints: 200}
	p, w, h := plane(
		"..........",
		".####...#.",
		".#..#.....",
		".#..#.....",
		".####.....",
		".....###..",
		".....###..",
		"..........",
	)
	out, err := ExtractContour(p, w, h, identity(), o)
	if err != nil {
		t.Fatal(err)
	}
	// Ring (12 cells) and square (6) touch at a corner: one component of 18,
	// with a hole of 4 and one stray cell.
	if out.Cells != 18 || out.FilledCells != 4 || out.StrayCells != 1 || out.TouchesEdge {
		t.Errorf("outline %+v", out)
	}
	for _, q := range []Point{{1, 1}, {2.5, 2.5}, {5, 5}, {6, 6}, {4.5, 4.5}} {
		if !Contains(out.Points, q) {
			t.Errorf("%v is outside", q)
		}
	}
	for _, q := range []Point{{8, 1}, {5, 4}, {4, 5}, {0, 0}} {
		if Contains(out.Points, q) {
			t.Errorf("%v is inside", q)
		}
	}
	if signedArea(out.Points) <= 0 {
		t.Error("contour is not clockwise on the screen")
	}
}

func TestExtractContourEdgeAndMap(t *testing.T) {
	p := make([]uint8, 12*8)
	for i := range p {
		p[i] = 255
	}
	m := Affine{Sx: 3, Sy: 2, Ox: 100, Oy: 50}
	out, err := ExtractContour(p, 12, 8, m, ContourOptions{Level: 128, MinCells: 1, MaxPoints: 200})
	if err != nil {
		t.Fatal(err)
	}
	if !out.TouchesEdge {
		t.Error("a full plane does not touch the edge")
	}
	lo, hi := Bounds(out.Points)
	near(t, "left", lo.X, 100-1.5, 0.02)
	near(t, "right", hi.X, 100+11*3+1.5, 0.02)
	near(t, "top", lo.Y, 50-1, 0.02)
	near(t, "bottom", hi.Y, 50+7*2+1, 0.02)
	// Through a mirroring map it runs clockwise as well.
	m.Sx, m.Ox = -3, 200
	if out, err = ExtractContour(p, 12, 8, m, ContourOptions{Level: 128, MinCells: 1, MaxPoints: 200}); err != nil {
		t.Fatal(err)
	}
	near(t, "area of the mirrored outline", signedArea(out.Points), 36*16, 3)
}

func TestExtractContourErrors(t *testing.T) {
	o := DefaultContourOptions()
	if _, err := ExtractContour(make([]uint8, 64), 8, 8, identity(), o); !errors.Is(err, ErrNoContour) {
		t.Errorf("empty plane: %v", err)
	}
	p, w, h := plane("....", ".##.", ".##.", "....")
	if _, err := ExtractContour(p, w, h, identity(), o); !errors.Is(err, ErrNoContour) {
		t.Errorf("small component: %v", err)
	}
	if _, err := ExtractContour(p, 5, 5, identity(), o); err == nil || errors.Is(err, ErrNoContour) {
		t.Errorf("wrong size: %v", err)
	}
}

// A blurred disc must come back with the sub-pixel area and centre it was
// drawn with.
func TestExtractContourSubPixel(t *testing.T) {
	const w, h, cx, cy, r = 112, 112, 55.3, 48.8, 24.4
	p := make([]uint8, w*h)
	for j := range h {
		for i := range w {
			d := r - math.Hypot(float64(i)-cx, float64(j)-cy)
			p[j*w+i] = uint8(math.Round(255 / (1 + math.Exp(-2*d))))
		}
	}
	out, err := ExtractContour(p, w, h, Affine{2, 2, 0.5, 0.5}, DefaultContourOptions())
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Points) > 200 {
		t.Errorf("%d points", len(out.Points))
	}
	c := Centroid(out.Points)
	near(t, "centre x", c.X, 2*cx+0.5, 0.02)
	near(t, "centre y", c.Y, 2*cy+0.5, 0.02)
	near(t, "area", PolygonArea(out.Points, Spacing{1, 1}), math.Pi*4*r*r, 8) // 0.1 %
	if f := CheckOutline(out.Certainty, out.Stray(), ED, 0, DefaultQualityOptions()); len(f) != 0 {
		t.Errorf("findings %v", f)
	}
	if !Contains(out.Points, c) || !slices.Contains([]bool{out.TouchesEdge}, false) {
		t.Error("contour is not around its centre")
	}
}

func FuzzExtractContour(f *testing.F) {
	f.Add([]byte{255, 0, 255, 0, 255, 0, 255, 0, 255}, 3)
	f.Fuzz(func(t *testing.T, p []byte, w int) {
		if w < 1 || w > 64 || len(p) == 0 || len(p) > 4096 || len(p)%w != 0 {
			return
		}
		out, err := ExtractContour(p, w, len(p)/w, identity(), ContourOptions{Level: 128, MinCells: 1, MaxPoints: 1 << 20})
		if err != nil {
			return
		}
		// The outline encloses every cell of the component and the holes, so
		// its area is near the number of cells: each lies within half a cell.
		n := float64(out.Cells + out.FilledCells)
		if a := PolygonArea(out.Points, Spacing{1, 1}); a <= 0 || a > n+Perimeter(out.Points, Spacing{1, 1}) {
			t.Errorf("area %v of %v cells", a, n)
		}
	})
}

// The extreme of values taken at uneven times, in any order: the parabola
// 100-(t-33)^2/10 has its maximum at 33 ms, its negative there its minimum.
func TestExtremeBetween(t *testing.T) {
	times := []float64{80, -20, 5, 41, 27, 60, 13, 49}
	up, down := make([]float64, len(times)), make([]float64, len(times))
	for i, u := range times {
		up[i] = 100 - (u-33)*(u-33)/10
		down[i] = -up[i]
	}
	for name, tt := range map[string]struct {
		v          []float64
		from, to   float64
		largest    bool
		want, near float64
		ok         bool
	}{
		"largest":         {up, -10, 70, true, 33, 3, true},
		"smallest":        {down, -10, 70, false, 33, 3, true},
		"at the edge":     {up, -10, 11, true, 10, 1.1, true},
		"nothing near":    {up, 300, 400, true, 0, 0, false},
		"no values":       {nil, 0, 10, true, 0, 0, false},
		"smallest of up":  {up, -10, 70, false, -10, 1e-9, true},
		"largest of down": {down, 34, 70, true, 70, 2, true},
	} {
		ts := times
		if tt.v == nil {
			ts = nil
		}
		if got, ok := ExtremeBetween(tt.v, ts, tt.from, tt.to, 8, tt.largest); ok != tt.ok || math.Abs(got-tt.want) > tt.near {
			t.Errorf("%s: %.1f, %v; want %.1f, %v", name, got, ok, tt.want, tt.ok)
		}
	}
}

func TestAnnulusOfTheTwoPhases(t *testing.T) {
	o := DefaultQualityOptions()
	for _, tt := range []struct {
		ed, es   float64
		rejected bool
	}{{1, 1, false}, {0.5, 0.5, false}, {0.49, 0.5, true}, {1, 0.3, true}, {0, 0, false}, {0.2, 0.4, false}} {
		if got := CheckAnnulusPhases(tt.ed, tt.es, o); Rejected(got) != tt.rejected {
			t.Errorf("%.2f and %.2f: %v", tt.ed, tt.es, got)
		}
	}
	for _, tt := range []struct {
		part float64
		want Severity
	}{{1, 0}, {0.8, 0}, {0.79, Reject}, {0.21, Reject}, {0.2, Warn}, {0, Warn}} {
		var got Severity
		if f := CheckAnnulusOften(tt.part, o); len(f) > 0 {
			got = f[0].Severity
		}
		if got != tt.want {
			t.Errorf("annulus in %.2f of the frames: %v, want %v", tt.part, got, tt.want)
		}
	}
}
