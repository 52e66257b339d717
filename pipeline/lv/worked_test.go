package lv

import (
	"math"
	"slices"
	"testing"
)

func approx(a, b float64) bool { return math.Abs(a-b) < 1e-9 }

// 1, 2 and 6: mean 3, sample variance (4+1+9)/2 = 7.
func TestSummarize(t *testing.T) {
	s := Summarize([]float64{2, math.NaN(), 1, 6, math.Inf(1)})
	if s.N != 3 || !approx(s.Mean, 3) || !approx(s.SD, math.Sqrt(7)) || s.Min != 1 || s.Max != 6 {
		t.Errorf("%+v", s)
	}
	if one := Summarize([]float64{4}); one.N != 1 || one.SD != 0 || one.Mean != 4 {
		t.Errorf("of one value %+v", one)
	}
	if none := Summarize(nil); none.N != 0 || !math.IsNaN(none.Mean) || !math.IsNaN(none.SD) {
		t.Errorf("of none %+v", none)
	}
}

// A cavity 40 mm wide and 100 long in a picture that ends upright 12 mm beside its
// right wall: all of that wall lies within 0.15 of the length of the edge, none of
// it within 0.10; at 8 mm all of it does. The same sides at 30 degrees, as whole
// sectors have them, say nothing, nor does a picture without a known sector.
func TestNarrowed(t *testing.T) {
	s := Spacing{X: 0.5, Y: 1}
	var cavity []Point
	for y := range 101 {
		cavity = append(cavity, Point{160, float64(y)}, Point{240, float64(y)})
	}
	axis := Axis{Apex: Point{200, 0}, Base: Point{200, 100}, LengthMM: 100}
	to := func(right float64) []Point { return []Point{{-400, -50}, {right, -50}, {right, 150}, {-400, 150}} }
	lean := math.Tan(30*math.Pi/180) * 200 / 0.5
	for name, c := range map[string]struct {
		sector         []Point
		beside, within float64
	}{
		"12 mm":      {to(264), 1, 0},
		"8 mm":       {to(256), 1, 1},
		"16 mm":      {to(272), 0, 0},
		"through it": {to(230), 1, 1},
		"left":       {[]Point{{136, -50}, {900, -50}, {900, 150}, {136, 150}}, 1, 0},
		"30 degrees": {[]Point{{-400, -50}, {210, -50}, {210 + lean, 150}, {-400, 150}}, 0, 0},
		"unknown":    {nil, 0, 0},
	} {
		beside, within := Narrowed(cavity, c.sector, axis, s)
		if !approx(beside, c.beside) || !approx(within, c.within) {
			t.Errorf("%s: %.2f and %.2f, want %.2f and %.2f", name, beside, within, c.beside, c.within)
		}
	}
	o := DefaultQualityOptions()
	for _, c := range []struct {
		beside, within float64
		want           Severity
	}{{0.19, 0, 0}, {0.21, 0.1, Warn}, {1, 0.59, Warn}, {1, 0.61, Reject}} {
		f := CheckNarrowed(c.beside, c.within, ED, 0, o)
		if c.want == 0 && len(f) != 0 || c.want != 0 && (len(f) != 1 || f[0].Severity != c.want || f[0].Gate != GateBorder) {
			t.Errorf("%v: %+v", c, f)
		}
	}
}

// Frames 40 ms before and after a moment, half-width 80 ms: (1-0.5^3)^3 = 0.6699
// each beside 1 for that in the middle, 2.3398 together. On a straight line the
// estimate is exact also where the clip ends.
func TestFramesAround(t *testing.T) {
	all := func(int) bool { return true }
	times := []float64{-80, -40, 0, 40, 80}
	a := FramesAround(times, all, 0, 80)
	w := math.Pow(1-math.Pow(0.5, 3), 3)
	if !slices.Equal(a.Frames, []int{1, 2, 3}) || !approx(a.Weights[0], w/(1+2*w)) || !approx(a.Weights[1], 1/(1+2*w)) || !approx(a.Weights[2], a.Weights[0]) {
		t.Errorf("%+v", a)
	}
	if v := a.Variance(); !approx(v, (1+2*w*w)/((1+2*w)*(1+2*w))) {
		t.Errorf("variance %v", v)
	}
	// On a straight line the estimate is exact also at the end.
	end := FramesAround(times, all, -80, 130)
	sum, value := 0.0, 0.0
	for k, i := range end.Frames {
		sum += end.Weights[k]
		value += end.Weights[k] * (5 + 0.25*times[i])
	}
	if !approx(sum, 1) || !approx(value, 5-0.25*80) {
		t.Errorf("weights of %v sum to %v, the line is %v there", end.Frames, sum, value)
	}
	if far := FramesAround(times, all, 200, 50); !slices.Equal(far.Frames, []int{4}) || far.Weights[0] != 1 {
		t.Errorf("out of reach: %+v", far)
	}
	if none := FramesAround(times, func(int) bool { return false }, 0, 80); len(none.Frames) != 0 {
		t.Errorf("without frames: %+v", none)
	}
	both := Join(a, FramesAround(times, all, 0, 80))
	if !approx(both.Variance(), a.Variance()) || len(both.Frames) != 6 {
		t.Errorf("the same twice: variance %v, want %v", both.Variance(), a.Variance())
	}
}

// The curve 0, 1, 3, 1, 0 has its middle at 80 ms, its neighbours pull the
// extreme nowhere; half of the frames alone see it beside.
func TestExtreme(t *testing.T) {
	times, v := []float64{0, 40, 80, 120, 160}, []float64{0, 1, 3, 1, 0}
	all := func(int) bool { return true }
	if at := Extreme(v, times, all, 60, 100, 20, true); at != 80 {
		t.Errorf("the largest is at %v", at)
	}
	if at := Extreme(v, times, all, 80, 40, 20, false); at != 40 {
		t.Errorf("the smallest within 40 ms is at %v", at)
	}
	// Smoothed with 60 ms a single high frame no longer wins over a broad rise.
	spiky, t9 := []float64{0, 0, 2.4, 0, 0, 2, 2, 2, 0}, []float64{0, 40, 80, 120, 160, 200, 240, 280, 320}
	if narrow, wide := Extreme(spiky, t9, all, 160, 200, 10, true), Extreme(spiky, t9, all, 160, 200, 60, true); narrow != 80 || wide != 240 {
		t.Errorf("narrow %v, wide %v; want 80 and 240", narrow, wide)
	}
	if at := Extreme(v, times, func(int) bool { return false }, 60, 100, 20, true); at != 60 {
		t.Errorf("without frames %v", at)
	}
}

// Two planes of equal weight average their diameters, lengths and areas; the
// volume follows from the disks: pi/4*30^2*60 = 42.4 ml. The planes stay as they were.
func TestMeanPlane(t *testing.T) {
	plane := func(d, l float64) Plane {
		p := Plane{AreaMM2: d * l, CutMM2: d, Axis: Axis{LengthMM: l}}
		for range DiskCount {
			p.Disks = append(p.Disks, Disk{DiameterMM: d})
		}
		return p
	}
	in := []Plane{plane(20, 50), plane(40, 70)}
	m := MeanPlane(in, []float64{0.5, 0.5})
	if !approx(m.Axis.LengthMM, 60) || !approx(m.AreaMM2, (1000+2800)/2.0) || !approx(m.CutMM2, 30) || !approx(m.Disks[7].DiameterMM, 30) ||
		math.Abs(m.VolumeML-math.Pi/4*0.9*60) > 0.01 {
		t.Errorf("length %v, area %v, cut %v, disk %v, volume %v", m.Axis.LengthMM, m.AreaMM2, m.CutMM2, m.Disks[7].DiameterMM, m.VolumeML)
	}
	if in[0].Disks[3].DiameterMM != 20 || in[1].Disks[3].DiameterMM != 40 || in[0].Axis.LengthMM != 50 {
		t.Error("the planes were changed")
	}
}

// Gaps are filled along the time, not along the number of frames; the ends hold.
func TestInterpolate(t *testing.T) {
	nan := math.NaN()
	got := interpolate([]float64{nan, 10, nan, nan, 40, nan}, []float64{0, 100, 120, 190, 200, 230})
	if want := []float64{10, 10, 16, 37, 40, 40}; !slices.EqualFunc(got, want, approx) {
		t.Errorf("%v, want %v", got, want)
	}
}

// A Gaussian of 40 ms gives neighbours at 40 ms exp(-1/2) = 0.6065 of the weight;
// beyond three deviations nothing counts.
func TestSmooth(t *testing.T) {
	got := smooth([]float64{1, 0, 5}, []float64{0, 40, 1000}, 40)
	w := math.Exp(-0.5)
	if want := []float64{1 / (1 + w), w / (1 + w), 5}; !slices.EqualFunc(got, want, approx) {
		t.Errorf("%v, want %v", got, want)
	}
	if same := smooth([]float64{1, 2}, []float64{0, 40}, 0); same[0] != 1 || same[1] != 2 {
		t.Errorf("without smoothing %v", same)
	}
}

// The main axis of a rectangle lies along its longer side, whichever way round
// its outline runs.
func TestPrincipalDirection(t *testing.T) {
	c := []Point{{0, 0}, {10, 0}, {10, 40}, {0, 40}}
	for range 2 {
		if d := principalDirection(c, Point{5, 20}); math.Abs(d.Y) < 0.999 {
			t.Errorf("direction %v of a standing rectangle", d)
		}
		slices.Reverse(c)
	}
}

func TestResample(t *testing.T) {
	square := []Point{{0, 0}, {4, 0}, {4, 4}, {0, 4}, {0, 2}}
	got := Resample(square, 4)
	if want := []Point{{0, 0}, {4, 0}, {4, 4}, {0, 4}}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for _, n := range []int{2, 5, 9} {
		if got := Resample(square, n); !slices.Equal(got, square) {
			t.Errorf("%d points of five: %v", n, got)
		}
	}
}

// A volume outside what can be is rejected although the length may be.
func TestImplausibleVolume(t *testing.T) {
	o := DefaultQualityOptions()
	plane := Plane{AreaMM2: 9000, Axis: Axis{LengthMM: 120}, VolumeML: 900}
	found := false
	for _, f := range CheckPlanes(plane, plane, true, o) {
		found = found || f.Gate == GatePlausibility && f.Severity == Reject && f.Phase == ED
	}
	if !found {
		t.Error("900 ml pass")
	}
}

// A rate that contradicts R waves is no rate; where they are ignored the device's
// counts, unless it came from the same R waves or is none.
func TestRateAfterIgnoredRWaves(t *testing.T) {
	area, times := loop(3, 800, 1000, 25)
	o := DefaultBeatOptions()
	for i := range 5 {
		o.RWaveMS = append(o.RWaveMS, 400+float64(i)*390)
	}
	for _, tt := range []struct {
		device  float64
		ofThose bool
		source  string
	}{{75, false, RateFromCurve}, {1000, false, RateFromCurve}, {75, true, RateFromCurve}} {
		o.HeartRateBPM, o.RateOfRWaves = tt.device, tt.ofThose
		r, err := FindBeats(area, times, o)
		if err != nil || len(r.Notes) == 0 && r.Weak == "" || r.HeartRateSource != tt.source || math.Abs(r.HeartRate-75) > 3 {
			t.Errorf("device %.0f: %.1f from %s, notes %v, %v", tt.device, r.HeartRate, r.HeartRateSource, r.Notes, err)
		}
	}
}

// loop is a curve of n beats of so many ms, between 1000 and 600 mm2.
func loop(n int, rr, from, fps float64) (area, times []float64) {
	for t := 0.0; t < float64(n)*rr; t += 1000 / fps {
		area = append(area, from-200*(1-math.Cos(2*math.Pi*t/rr)))
		times = append(times, t)
	}
	return area, times
}

// 90 and 81 mm differ by a tenth of the longer: not more than that passes. The
// plane that is named is the shorter one, whichever it is.
func TestForeshortening(t *testing.T) {
	o := DefaultQualityOptions()
	for _, tt := range []struct {
		l4, l2 float64
		want   Severity
		text   string
	}{
		{90, 81.1, 0, ""}, {81.1, 90, 0, ""},
		{90, 80, Warn, "the ventricle is 90 mm long in A4C and 80 mm in A2C at end-diastole: A2C may be foreshortened, the volumes too small"},
		{80, 90, Warn, "the ventricle is 80 mm long in A4C and 90 mm in A2C at end-diastole: A4C may be foreshortened, the volumes too small"},
		{100, 66, Warn, ""}, {100, 64, Reject, ""}, {64, 100, Reject, ""},
	} {
		f := CheckForeshortening(tt.l4, tt.l2, ED, o)
		var got Severity
		if len(f) > 0 {
			got = f[0].Severity
		}
		if got != tt.want || tt.text != "" && f[0].Reason != tt.text || len(f) > 0 && (f[0].Phase != ED || f[0].Gate != GateForeshortening) {
			t.Errorf("%.1f and %.1f mm: %+v", tt.l4, tt.l2, f)
		}
	}
}

// An atrium of 20 and 24 cm2, 54 and 50 mm long: 8*2000*2400/(3 pi 50) = 81.5 mL, by
// the shorter length.
func TestBiplaneAreaLength(t *testing.T) {
	for _, l := range [][2]float64{{54, 50}, {50, 54}} {
		if v := BiplaneAreaLengthVolume(2000, l[0], 2400, l[1]); math.Abs(v-81.487) > 0.001 {
			t.Errorf("%.3f mL", v)
		}
	}
	if one, both := AreaLengthVolume(2000, 50), BiplaneAreaLengthVolume(2000, 50, 2000, 50); math.Abs(one-both) > 1e-9 {
		t.Errorf("%g and %g of the same plane twice", one, both)
	}
}

// A child of 20 kg and 115 cm: 0.024265 * 20^0.5378 * 115^0.3964 = 0.797 m2.
func TestHaycock(t *testing.T) {
	if v := BSAHaycock(20, 115); math.Abs(v-0.797) > 0.0005 {
		t.Errorf("%.4f m2", v)
	}
}

// Two neighbours on one side and one on the other let one expect a value: between the
// nearest two 16, along the two on the left 14, as on the right 20. One on each side do not.
func TestInsideExpected(t *testing.T) {
	got := insideExpected([]float64{10, 12, 99, 20}, []float64{0, 10, 20, 30}, 2, 110)
	slices.Sort(got)
	if !slices.Equal(got, []float64{14, 16, 20}) {
		t.Errorf("%v, want 14, 16 and 20", got)
	}
	if got := insideExpected([]float64{12, 99, 20}, []float64{0, 10, 20}, 1, 110); got != nil {
		t.Errorf("%v of one on each side", got)
	}
}
