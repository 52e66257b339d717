package measure

import (
	"math"
	"slices"
	"testing"

	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/measure/heart"
	"github.com/echonode/echonode/pipeline/result"
)

func has(m result.Measurement, code string) bool {
	return slices.ContainsFunc(m.Quality.Warnings, func(w result.Reason) bool { return w.Code == code })
}

// widened makes the outline of frame at wider by a factor.
func widened(at int, factor float64) func(int, float64, *result.Frame) {
	return func(i int, _ float64, f *result.Frame) {
		if i == at {
			for k := range f.Contour {
				f.Contour[k][0] = heart.Columns/2 + factor*(f.Contour[k][0]-heart.Columns/2)
			}
		}
	}
}

// Fast hearts at low frame rates: the frame at end-systole differs from its
// neighbours by a third and is no failed outline.
func TestSharpExtremesAreKept(t *testing.T) {
	for _, tt := range []struct{ fps, rate, ef, to float64 }{
		{20, 150, 60, 2.5}, {20, 130, 75, 2.5}, {25, 150, 75, 2}, {50, 150, 75, 1}, {25, 100, 60, 1},
	} {
		for start := 0.0; start < 60000/tt.rate; start += 13 {
			l := measured(heart.Clip{Beats: heart.Regular(tt.rate, tt.ef, 117.81, 9), FPS: tt.fps, Start: start, Length: 3000})
			if l.Curve == nil || slices.ContainsFunc(l.Curve.Removed, func(i int) bool { return i > 0 && i < l.Frames-1 }) {
				t.Fatalf("%.0f frames/s, %.0f/min, EF %.0f, start %.0f: removed %v", tt.fps, tt.rate, tt.ef, start, l.Curve)
			}
			near(t, "EF", measure(t, l.Measurements, result.EF), tt.ef, tt.to)
		}
	}
}

// A single failed outline is left out and listed, wherever it is: inside the
// loop, at its ends, and at the last frame of a clip that ends at end-systole.
func TestFailedOutlinesAreListed(t *testing.T) {
	whole := heart.Clip{Beats: heart.Regular(65, 50, 117.81, 4), FPS: 30, Start: 500, Length: 2800}
	systole := heart.Clip{Beats: heart.Regular(65, 60, 117.81, 1), FPS: 30, Length: heart.Systole(60000 / 65.), Rate: true}
	last := int(systole.Length * systole.FPS / 1000)
	for _, tt := range []struct {
		name   string
		clip   heart.Clip
		at     int
		factor float64
		ef, to float64
	}{
		{"wide at ED", whole, 13, 1.2, 50, 1}, {"narrow at ES", whole, 25, 0.75, 50, 1}, {"first", whole, 0, 1.4, 50, 1},
		{"last", whole, 84, 0.6, 50, 1}, {"last of a systolic clip", systole, last, 0.7, 60, 5},
	} {
		c := tt.clip
		c.Edit = widened(tt.at, tt.factor)
		l := measured(c)
		if l.Curve == nil || !slices.Equal(l.Curve.Removed, []int{tt.at}) {
			t.Errorf("%s: removed %+v, want frame %d", tt.name, l.Curve, tt.at)
		}
		near(t, tt.name+": EF", measure(t, l.Measurements, result.EF), tt.ef, tt.to)
	}
	// Two in a row are no single failure.
	c := whole
	c.Edit = func(i int, phase float64, f *result.Frame) {
		widened(40, 1.2)(i, phase, f)
		widened(41, 1.2)(i, phase, f)
	}
	if l := measured(c); len(l.Curve.Removed) > 0 {
		t.Errorf("two wide frames in a row: removed %v", l.Curve.Removed)
	}
}

// Noise must not raise EF: with the extremes of the curve as ED and ES, 3 % of
// noise made 25.6 of 20, and 39 of 35.
func TestNoiseDoesNotRaiseEF(t *testing.T) {
	for _, tt := range []struct{ ef, noise float64 }{{20, 0.02}, {20, 0.03}, {35, 0.03}, {50, 0.03}, {60, 0.03}, {70, 0.03}} {
		var off, size []float64
		for seed := range uint64(60) {
			l := measured(heart.Clip{Beats: heart.Regular(60+float64(seed%40), tt.ef, 117.81, 6), FPS: 30 + float64(seed%3)*10, Start: 37 * float64(seed%20),
				Length: 3000, Noise: tt.noise, Stray: 0.5, Seed: seed})
			if m := find(t, l.Measurements, result.EF); m.Value != nil {
				off, size = append(off, *m.Value-tt.ef), append(size, math.Abs(*m.Value-tt.ef))
			}
		}
		slices.Sort(size)
		if n := len(off); n < 45 || math.Abs(lv.Summarize(off).Mean) > 1 || size[n*95/100] > 5.5 {
			t.Errorf("EF %.0f at %.0f %% noise: bias %+.2f, 95 %% within %.1f (n %d)", tt.ef, 100*tt.noise, lv.Summarize(off).Mean, size[n*95/100], n)
		}
	}
}

func TestClipsThatDoNotShowAWholeContraction(t *testing.T) {
	rr := 60000 / 65.
	beats := heart.Regular(65, 60, 117.81, 3)
	for name, tt := range map[string]struct {
		clip heart.Clip
		text string
		to   float64
	}{
		"begins within systole, shows the next end-diastole": {heart.Clip{Beats: beats, FPS: 40, Start: 150, Length: 1.1 * rr}, "no whole contraction", 2},
		"ends at end-systole":                                {heart.Clip{Beats: beats, FPS: 40, Length: heart.Systole(rr), Rate: true}, "before the ventricle fills again", 2},
	} {
		l := measured(tt.clip)
		m := find(t, l.Measurements, result.EF)
		near(t, name, measure(t, l.Measurements, result.EF), 60, tt.to)
		if !has(m, string(lv.GateClippedSystole)) || !l.Beats[0].Partial {
			t.Errorf("%s: %+v, beat %+v; want a remark", name, m.Quality, l.Beats[0])
		}
	}
	// A whole beat needs none.
	l := measured(heart.Clip{Beats: beats, FPS: 40, Length: rr})
	if m := find(t, l.Measurements, result.EF); len(m.Quality.Warnings) > 0 {
		t.Errorf("one beat from R to R: %v", m.Quality.Warnings)
	}
}

// R waves that do not fit the motion give neither beats nor the heart rate,
// and the values say so.
func TestRWavesThatDoNotFit(t *testing.T) {
	base := heart.Clip{Beats: heart.Regular(66.7, 60, 117.81, 5), FPS: 40, Start: 600, Length: 3300, RWaves: true}
	for name, tt := range map[string]struct {
		edit        func(*heart.Clip)
		code, grade string
	}{
		"late":   {func(c *heart.Clip) { c.RDelay = 200 }, result.Rhythm, result.Fair},
		"double": {func(c *heart.Clip) { c.RDouble = true }, string(lv.GateWeakBeats), result.Poor},
	} {
		c := base
		tt.edit(&c)
		l := c.Loop()
		l.HeartRate = 60000 / (l.RWaves[1] - l.RWaves[0]) // as the object's facts derive it
		Loop(&l, options())
		near(t, name+": EF", measure(t, l.Measurements, result.EF), 60, 1)
		hr := find(t, l.Measurements, result.HR)
		if near(t, name+": HR", *hr.Value, 66.7, 2); !has(hr, tt.code) || len(hr.Quality.Warnings) != 1 ||
			hr.Quality.Grade != tt.grade || hr.Method != lv.RateFromCurve {
			t.Errorf("%s: heart rate from %s with %v, want one remark", name, hr.Method, hr.Quality)
		}
	}
	l := measured(base)
	if hr := find(t, l.Measurements, result.HR); hr.Method != lv.RateFromRWaves || hr.Quality.Grade != result.Good {
		t.Errorf("R waves that fit: %+v", hr)
	}
}

// R waves of a part of the clip, as of the beats that were captured, are believed for
// what they tell of; the beats besides are those of the motion.
func TestRWavesOfAPartOfTheClip(t *testing.T) {
	whole := heart.Clip{Beats: heart.Regular(66.7, 60, 117.81, 5), FPS: 40, Start: 600, Length: 3300, RWaves: true}.Loop()
	Loop(&whole, options())
	for name, tt := range map[string]struct {
		from, to int
		method   string
	}{"the first two": {0, 2, lv.RateFromRWaves}, "the last two": {len(whole.RWaves) - 2, len(whole.RWaves), lv.RateFromRWaves}, "one": {1, 2, lv.RateFromCurve}} {
		l := heart.Clip{Beats: heart.Regular(66.7, 60, 117.81, 5), FPS: 40, Start: 600, Length: 3300, RWaves: true}.Loop()
		l.RWaves = l.RWaves[tt.from:tt.to]
		Loop(&l, options())
		ef, hr := find(t, l.Measurements, result.EF), find(t, l.Measurements, result.HR)
		near(t, name+": HR", *hr.Value, 66.7, 2)
		if hr.Method != tt.method || hr.Quality.Grade != result.Good || ef.Quality.Grade != result.Good ||
			len(ef.Beats) < len(find(t, whole.Measurements, result.EF).Beats) {
			t.Errorf("%s: %s, %+v; EF of %d beats %+v", name, hr.Method, hr.Quality, len(ef.Beats), ef.Quality)
		}
	}
}

// Doubts that the object raises about its times reach every value.
func TestTimingDoubtsReachTheValues(t *testing.T) {
	c := heart.Clip{Beats: heart.Regular(66.7, 60, 117.81, 4), FPS: 40, Start: 600}
	l := c.Loop()
	l.Warnings = []result.Reason{{Code: result.FrameTimes, Text: "FrameTime says 50 ms per frame, FrameTimeVector 25"}}
	Loop(&l, options())
	for _, name := range []string{result.EF, result.EDV, result.HR} {
		if m := find(t, l.Measurements, name); !has(m, result.FrameTimes) || m.Quality.Grade != result.Fair {
			t.Errorf("%s: %+v", name, m.Quality)
		}
	}
	l = c.Loop()
	l.HeartRate = 133
	Loop(&l, options())
	if m := find(t, l.Measurements, result.HR); !has(m, string(lv.GateWeakBeats)) || len(m.Quality.Warnings) != 1 || math.Abs(*m.Value-66.7) > 2 {
		t.Errorf("a device that says 133: %+v", m)
	}
	l = c.Loop()
	l.HeartRate = 90
	Loop(&l, options())
	if m := find(t, l.Measurements, result.HR); !has(m, result.Rhythm) || m.Quality.Grade != result.Poor || math.Abs(*m.Value-66.7) > 2 {
		t.Errorf("a device that says 90: %+v", m)
	}
}

// A premature beat and the one after it are left out by their intervals, and
// listed; the others' EF stays.
func TestPrematureBeatIsLeftOut(t *testing.T) {
	for _, rWaves := range []bool{true, false} {
		beats := heart.Regular(67, 60, 117.81, 7)
		beats[2].RR *= 0.65
		beats[3] = heart.Beat{RR: 1.35 * beats[3].RR, EF: 35, EDV: 100}
		beats[4].EF = 68
		l := measured(heart.Clip{Beats: beats, FPS: 40, Start: 500, Length: 5000, RWaves: rWaves})
		near(t, "EF", measure(t, l.Measurements, result.EF), 60, 1.5)
		var out []string
		for _, b := range l.Beats {
			if b.Rejected != nil {
				out = append(out, b.Rejected.Text)
			}
		}
		if len(out) < 1 || len(out) > 2 {
			t.Errorf("R waves %v: left out %q of %d beats", rWaves, out, len(l.Beats))
		}
	}
}

// One bad beat of three never withholds the loop: 59, 87, 59 give 59.
func TestOneBadBeatOfThree(t *testing.T) {
	beats := heart.Regular(70, 59, 117.81, 5)
	beats[2].EF = 87
	l := measured(heart.Clip{Beats: beats, FPS: 40, Start: 500})
	m := find(t, l.Measurements, result.EF)
	near(t, "EF", measure(t, l.Measurements, result.EF), 59, 1)
	if len(m.Beats) != 3 {
		t.Errorf("beats %v, want the three that agree", m.Beats)
	}
	// Of two beats that disagree so much nobody knows which is right.
	beats = heart.Regular(70, 59, 117.81, 3)
	beats[2].EF = 88
	l = measured(heart.Clip{Beats: beats, FPS: 40, Start: 500})
	if m := find(t, l.Measurements, result.EF); m.Value != nil || m.Reason.Code != string(lv.GateBeatSpread) {
		t.Errorf("59 and 88: %+v", m)
	}
}

// The rhythm of atrial fibrillation is named, and all its beats count.
func TestIrregularRhythmIsNamed(t *testing.T) {
	var beats []heart.Beat
	mean := 0.0
	for i, rr := range []float64{700, 1150, 620, 980, 540, 860, 1240, 720, 900} {
		ef := 50 + []float64{0, 4, -3, 2, -4, 1, 3, -2, 0}[i]
		beats = append(beats, heart.Beat{RR: rr, EF: ef, EDV: 117.81})
		mean += ef / 9
	}
	l := measured(heart.Clip{Beats: beats, FPS: 40, Start: 400, RWaves: true})
	m := find(t, l.Measurements, result.EF)
	near(t, "EF", measure(t, l.Measurements, result.EF), mean, 1.5)
	if !has(m, string(lv.GateBeats)) || len(m.Beats) < 7 {
		t.Errorf("%d beats, %v; want all of them and a remark", len(m.Beats), m.Quality.Warnings)
	}
}

// A ventricle that hardly moves is an answer, not a fault; a picture that stands
// still is none.
func TestSeverelyReduced(t *testing.T) {
	for _, ef := range []float64{2, 4, 6} {
		l := measured(heart.Clip{Beats: heart.Regular(80, ef, 220, 5), FPS: 30, Start: 300, Noise: 0.02, Seed: 3})
		m := find(t, l.Measurements, result.EF)
		if m.Value != nil || m.Reason.Code != result.SeverelyReduced {
			t.Errorf("EF %.0f: %+v %v", ef, m.Value, m.Reason)
		}
	}
	l := measured(heart.Clip{Beats: heart.Regular(80, 0, 117.81, 5), FPS: 30, Start: 300})
	if m := find(t, l.Measurements, result.EF); m.Value != nil || m.Reason.Code != result.NoBeat {
		t.Errorf("a still picture: %+v", m)
	}
}

// The values of a loop agree with each other: EF = 100 SV/EDV, SV = EDV - ESV,
// from the same beats.
func TestValuesOfALoopAgree(t *testing.T) {
	beats := heart.Regular(70, 55, 117.81, 6)
	beats[2].EF, beats[3].EF = 60, 50
	l := measured(heart.Clip{Beats: beats, FPS: 35, Start: 400, Noise: 0.02, Seed: 9})
	ef, edv := measure(t, l.Measurements, result.EF), measure(t, l.Measurements, result.EDV)
	esv, sv := measure(t, l.Measurements, result.ESV), measure(t, l.Measurements, result.SV)
	near(t, "SV", sv, edv-esv, 0.001)
	near(t, "EF", ef, 100*sv/edv, 0.001)
	if n := len(find(t, l.Measurements, result.EF).Beats); n != len(find(t, l.Measurements, result.EDV).Beats) || n < 3 {
		t.Errorf("%d beats", n)
	}
}

// An EF is answered in words where 5 % lie within its uncertainty, and below 20 %
// where that is more than a quarter of it.
func TestTooLowForANumber(t *testing.T) {
	o := lv.DefaultQualityOptions()
	for _, c := range []struct {
		ef, precision float64
		want          bool
	}{
		{12, 2.9, false}, {12, 3.1, true}, {12.8, 3.5, true}, {19, 4.7, false}, {19, 4.8, true},
		{21, 6, false}, {8, 1.9, false}, {6, 1.1, true}, {21, 16.5, true},
	} {
		if got := tooLow(c.ef, c.precision, c.precision, o); got != c.want {
			t.Errorf("EF %v within %v: %v", c.ef, c.precision, got)
		}
	}
}

// The noise of 50 frames is itself known within a fifth: what is precise to 4.5
// points by it may be uncertain by 5.4.
func TestSurelyWithin(t *testing.T) {
	l := &loop{frames: make([]frame, 60), rhythm: lv.Rhythm{Noise: 0.02}, beats: []beat{{variance: 40}}}
	for i := range 50 {
		l.frames[i].used = true
	}
	if p, q := l.precision(), l.surelyWithin(); math.Abs(q-1.2*p) > 1e-9 {
		t.Errorf("%v, and surely within %v", p, q)
	}
}
