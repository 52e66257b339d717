package lv

import (
	"math"
	"slices"
	"testing"
)

// curveOf is a finder over a curve with a frame every step ms.
func curveOf(step float64, a ...float64) *finder {
	t := make([]float64, len(a))
	for i := range t {
		t[i] = step * float64(i)
	}
	return &finder{o: DefaultBeatOptions(), t: t, a: a, missing: a, lo: slices.Min(a), hi: slices.Max(a)}
}

// A turning point counts once the curve has come back by 35 % of its range, the
// last one as it is.
func TestExtremes(t *testing.T) {
	for _, tt := range []struct {
		a    []float64
		want []extreme
	}{
		{[]float64{10, 8, 6, 4, 2, 4, 6, 8, 9, 8}, []extreme{{0, true}, {4, false}, {8, true}}}, // back by 1 of 8
		{[]float64{2, 4, 6, 8, 10, 8, 6, 7}, []extreme{{0, false}, {4, true}, {6, false}}},
		{[]float64{20, 0, 7, 0}, []extreme{{0, true}, {1, false}, {2, true}, {3, false}}}, // 7 is 35 % of 20
		{[]float64{20, 0, 6.9, 0.1}, []extreme{{0, true}, {1, false}}},
	} {
		got := curveOf(40, tt.a...).extremes()
		if !slices.Equal(got, tt.want) {
			t.Errorf("%v: %v, want %v", tt.a, got, tt.want)
		}
	}
}

// The first frame falls already where its slope over 60 ms (59 are enough) is more
// than three quarters of the steepest in the systole.
func TestFallsAtStart(t *testing.T) {
	for _, tt := range []struct {
		name string
		step float64
		es   int
		a    []float64
		want bool
	}{
		{"6 in 64 ms, 8 at most", 32, 6, []float64{36, 33, 30, 26, 22, 20, 19, 30}, false},
		{"6.5 in 64 ms, 8 at most", 32, 6, []float64{36.5, 33, 30, 26, 22, 20, 19, 30}, true},
		{"the steepest ends at ES: 4 of 10", 32, 4, []float64{36, 34, 32, 30, 22, 36}, false},
		{"the fall after ES is none of this systole: 4 of 4", 32, 2, []float64{36, 34, 32, 20, 10}, true},
		{"over 59 ms 4 of 8, over 88.5 it would be 10 of 10", 29.5, 5, []float64{36, 33, 32, 26, 24, 23}, false},
		{"over 60 ms 4 of 8, over 80 it would be 10 of 10", 20, 7, []float64{36, 35, 33, 32, 26, 25, 24, 23}, false},
		{"over 64 ms 7 of 9, from frame to frame 1 of 6", 32, 6, []float64{36, 35, 29, 26, 25, 24, 23}, true},
		{"it never falls", 32, 3, []float64{30, 30, 30, 30}, false},
	} {
		if got := curveOf(tt.step, tt.a...).fallsAtStart(Beat{ED: 0, ES: tt.es}); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
	// 6 in 64 ms are as steep as it gets where the 9 after take 100.
	f := curveOf(64, 36, 30, 24, 15, 15)
	f.t = []float64{0, 64, 128, 228, 292}
	if !f.fallsAtStart(Beat{ED: 0, ES: 4}) {
		t.Error("falls over longer steps are judged by their time")
	}
	// It is the slope at ED that counts, wherever that is.
	if curveOf(32, 50, 40, 30, 30, 30, 26, 20).fallsAtStart(Beat{ED: 2, ES: 6}) {
		t.Error("level for 64 ms after ED, and it falls")
	}
}

// A beat without the rise after ES is that of a systolic clip where the amplitude
// is enough, ED in the upper quarter of the range and the clip long enough for the
// rate, or the emptying at its end.
func TestSystolicClip(t *testing.T) {
	// 50 ms a frame; at 75 beats three quarters of QS2 are 291 ms.
	a := []float64{35, 38, 40, 35, 30, 26, 22, 20, 20, 20}
	f := curveOf(50, a...)
	b := Beat{ED: 2, ES: 7, NextED: -1, AreaChange: 0.5}
	got := f.systolicClip(b, 75)
	if len(got) != 1 || !got[0].Clipped || got[0].EDFrom != AtMaximum || got[0].Late {
		t.Errorf("%+v", got)
	}
	b.ED = 0 // 15 of 20 above the smallest: just in the upper quarter
	if got := f.systolicClip(b, 75); len(got) != 1 || !got[0].Clipped || got[0].EDFrom != AtClipStart || got[0].Late {
		t.Errorf("from the first frame: %+v", got)
	}
	b.AreaChange = f.o.MinAreaChange
	if got := f.systolicClip(b, 75); len(got) != 1 {
		t.Error("the least change of area is enough")
	}
	b.AreaChange -= 0.001
	if got := f.systolicClip(b, 75); got != nil {
		t.Errorf("less than the least change of area: %+v", got)
	}
	b.AreaChange = 0.5
	if got := curveOf(50, append([]float64{34.9}, a[1:]...)...).systolicClip(b, 75); got != nil {
		t.Errorf("below the upper quarter: %+v", got)
	}
	falling := curveOf(50, 40, 36, 32, 28, 24, 22, 21, 20, 20, 20)
	if got := falling.systolicClip(b, 75); len(got) != 1 || !got[0].Late {
		t.Errorf("a clip that begins in systole: %+v", got)
	}
	// The emptying has not come to its end, which only matters without a rate.
	still := curveOf(50, 40, 40, 36, 32, 29, 26, 23, 20)
	if got := still.systolicClip(b, 75); len(got) != 1 {
		t.Error("350 ms of 291 needed")
	}
	if got := still.systolicClip(b, 0); got != nil {
		t.Errorf("it still empties: %+v", got)
	}
	if got := f.systolicClip(b, 0); len(got) != 1 {
		t.Error("it has emptied")
	}
}

// At 60 beats QS2 is 420 ms: half of it, 210 ms, must be there, and ES not before 105.
func TestLongEnough(t *testing.T) {
	for _, tt := range []struct {
		name   string
		times  []float64
		ed, es int
		want   bool
	}{
		{"as long as needed", []float64{0, 105, 210}, 0, 1, true},
		{"1 ms too short", []float64{0, 105, 209}, 0, 1, false},
		{"ES 1 ms too early", []float64{0, 104, 210}, 0, 1, false},
		{"ED 80 ms after the R wave at the first frame", []float64{0, 80, 105, 210}, 1, 2, true},
		{"ED later: the clip begins at it", []float64{0, 81, 186, 291}, 1, 2, true},
		{"ED later, 1 ms too short", []float64{0, 81, 186, 290}, 1, 2, false},
		{"ED later, ES too early", []float64{0, 81, 185, 291}, 1, 2, false},
	} {
		f := curveOf(1, make([]float64, len(tt.times))...)
		f.t, f.o.ClipSystoleFraction = tt.times, 0.5
		if got := f.longEnough(Beat{ED: tt.ed, ES: tt.es}, 60); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

// Emptying is at its end after more than 200 ms with less than a fifth of the
// amplitude, here 4 of 20, in the last 60 ms, of which 59 count.
func TestLevelsOff(t *testing.T) {
	for _, tt := range []struct {
		name  string
		times []float64
		a     []float64
		want  bool
	}{
		{"3.9 in the last 59 ms", []float64{0, 100, 140, 182, 241}, []float64{40, 38, 30, 23.9, 20}, true},
		{"4 in the last 59 ms", []float64{0, 100, 140, 182, 241}, []float64{40, 38, 30, 24, 20}, false},
		{"of two frames within them the one before counts", []float64{0, 100, 140, 183, 241}, []float64{40, 38, 24, 23, 20}, false},
		{"200 ms", []float64{0, 50, 100, 141, 200}, []float64{40, 38, 30, 21, 20}, false},
		{"201 ms", []float64{0, 50, 100, 141, 201}, []float64{40, 38, 30, 21, 20}, true},
		{"40 ms", []float64{0, 20, 40}, []float64{40, 22, 20}, false},
		{"150 ms, late in the clip", []float64{0, 300, 350, 391, 450}, []float64{21, 40, 30, 21, 20}, false},
		{"201 ms, late in the clip", []float64{0, 300, 400, 442, 501}, []float64{21, 40, 30, 21, 20}, true},
	} {
		ed := slices.Index(tt.a, slices.Max(tt.a))
		f := curveOf(1, tt.a...)
		f.t = tt.times
		if got := f.levelsOff(Beat{ED: ed, ES: len(tt.a) - 1}); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

// The beat at the last R wave ends by the rate: at 75 beats 800 ms after its ED,
// where the clip shows that.
func TestLastBeatAtAnRWave(t *testing.T) {
	beats := func(lastMS, rate float64) []Beat {
		var a []float64
		for ms := 0.0; ms <= lastMS; ms += 50 {
			a = append(a, cavity(ms-100, 800))
		}
		return curveOf(50, a...).fromPeaks([]float64{100}, rate)
	}
	for _, tt := range []struct {
		lastMS, rate float64
		next         int
	}{{1300, 75, 18}, {950, 75, 18}, {900, 75, -1}, {850, 75, -1}, {1300, 0, -1}, {1300, 80, 17}} {
		got := beats(tt.lastMS, tt.rate)
		if len(got) != 1 || got[0].ED != 2 || got[0].NextED != tt.next || got[0].EDFrom != AtRWave {
			t.Errorf("%.0f ms at %.0f: %+v, want the next ED at %d", tt.lastMS, tt.rate, got, tt.next)
		}
	}
	// What lies after the end of the beat is not its ES: the curve falls to 19 at 1200 ms,
	// in the next beat, and to 20 at 400.
	a := []float64{35, 35, 30, 25, 20, 26, 32, 33, 35, 34, 30, 25, 19, 25}
	if got := curveOf(100, a...).fromPeaks([]float64{0}, 75); len(got) != 1 || got[0].ES != 4 {
		t.Errorf("%+v", got)
	}
}

// Between R waves 500 ms apart ES lies within 0.7 of that, 350 ms after ED, wherever
// in the clip the beat is.
func TestBeatBetweenRWaves(t *testing.T) {
	a := slices.Repeat([]float64{39}, 20)
	a = append(a, 40, 38, 36, 34, 32, 30, 28, 26, 25, 24, 40, 39, 39)
	got := curveOf(50, a...).fromPeaks([]float64{1000, 1500}, 0)
	if len(got) != 1 || got[0].ED != 20 || got[0].ES != 27 || got[0].NextED != 30 {
		t.Errorf("%+v, want ED 20, ES 27, the next ED 30", got)
	}
}

// ES is the smallest area from 100 ms after ED up to 600 ms, or to 0.7 of the
// period; the area must change by 5 % and come back by a quarter of that.
func TestBeatLimits(t *testing.T) {
	step := func(a ...float64) *finder { return curveOf(50, a...) }
	long := step(40, 39, 38, 37, 36, 35, 34, 33, 32, 31, 30, 29, 28, 27, 28, 40, 40)
	for _, tt := range []struct {
		name   string
		f      *finder
		end    int
		period float64
		es     int
		ok     bool
	}{
		{"600 ms", long, 17, 0, 12, true},
		{"0.7 of 500 ms", long, 17, 500, 7, true},
		{"0.7 of 1000 ms is more than 600", long, 17, 1000, 12, true},
		{"100 ms after ED", step(40, 30, 31, 40, 40, 40), 6, 0, 2, true},
		{"of equal areas the first", step(40, 35, 30, 30, 35, 40), 6, 0, 2, true},
		{"before the end of the beat", step(40, 35, 30, 35, 20, 40, 40), 4, 0, 2, true},
		{"5 % of 40", step(40, 39, 38, 39, 40, 40), 6, 0, 2, true},
		{"less than 5 %", step(40, 39, 38.1, 39, 40, 40), 6, 0, 2, false},
		{"back by a quarter", step(40, 35, 20, 25, 25, 25), 6, 0, 2, true},
		{"back by less", step(40, 35, 20, 24.9, 24.9, 24.9), 6, 0, 2, false},
		{"the last frame shows no filling", step(40, 35, 20, 21, 40), 5, 0, 2, false},
		{"the frame before the last does", step(40, 35, 20, 40, 20.5), 5, 0, 2, true},
		{"no frame after ED", step(40, 35, 20, 40, 40), 1, 0, -1, false},
	} {
		b, ok := tt.f.beat(0, tt.end, -1, tt.period)
		if ok != tt.ok || tt.es >= 0 && b.ES != tt.es {
			t.Errorf("%s: %+v, %v, want ES %d", tt.name, b, ok, tt.es)
		}
		if want := (40 - tt.f.a[max(tt.es, 0)]) / 40; math.Abs(b.AreaChange-want) > 1e-12 {
			t.Errorf("%s: area change %.3f, want %.3f", tt.name, b.AreaChange, want)
		}
	}
	// A frame without a value of its own is no ES, and the nearest to it is ED.
	f := step(39, 40, 35, 20, 21, 40, 40)
	f.missing = slices.Clone(f.a)
	f.missing[1], f.missing[3] = math.NaN(), math.NaN()
	if b, ok := f.beat(1, 7, -1, 0); !ok || b.ED != 0 || b.ES != 4 {
		t.Errorf("%+v, %v", b, ok)
	}
}

// One beat whose R wave lies in mid-systole, where the curve alone tells no rate:
// the device's counts, unless it came from the same R waves or is none.
func TestDeviceRateAfterIgnoredRWaves(t *testing.T) {
	area, times := clip(0, 899, 900, 0, 33.3)
	for _, tt := range []struct {
		device  float64
		ofThose bool
		want    float64
	}{
		{70, false, 70}, {70, true, 0}, {25, false, 25}, {24, false, 0}, {250, false, 250}, {251, false, 0}, {251, true, 0}, {24, true, 0}, {0, false, 0},
	} {
		o := DefaultBeatOptions()
		o.RWaveMS, o.HeartRateBPM, o.RateOfRWaves = []float64{250}, tt.device, tt.ofThose
		r, err := FindBeats(area, times, o)
		if err != nil || len(r.Notes) != 1 || len(r.Beats) != 1 || r.Beats[0].EDFrom != AtClipStart {
			t.Fatalf("%+v, %v", r, err)
		}
		source := map[bool]string{true: RateFromDevice, false: ""}[tt.want > 0]
		if r.HeartRate != tt.want || r.HeartRateSource != source {
			t.Errorf("device %.0f, of the R waves %v: %.0f from %q, want %.0f", tt.device, tt.ofThose, r.HeartRate, r.HeartRateSource, tt.want)
		}
	}
}

// The curve's rate counts up to the limits; without R waves nothing is said of them.
func TestRateOfTheCurveAtItsLimits(t *testing.T) {
	area, times := loop(3, 800, 1000, 25)
	o := DefaultBeatOptions()
	r, err := FindBeats(area, times, o)
	if err != nil || r.HeartRateSource != RateFromCurve || len(r.Notes) != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	for _, tt := range []struct {
		lo, hi float64
		want   float64
	}{{r.HeartRate, 250, r.HeartRate}, {25, r.HeartRate, r.HeartRate}, {r.HeartRate + 1e-9, 250, 0}, {25, r.HeartRate - 1e-9, 0}} {
		o.MinRate, o.MaxRate = tt.lo, tt.hi
		if got, err := FindBeats(area, times, o); err != nil || got.HeartRate != tt.want {
			t.Errorf("between %v and %v: %v, %v; want %v", tt.lo, tt.hi, got.HeartRate, err, tt.want)
		}
	}
}
