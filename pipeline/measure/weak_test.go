package measure

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/measure/heart"
	"github.com/echonode/echonode/pipeline/result"
)

// turns is a rhythm of n pairs of a strong and a weak beat.
func turns(n int, strong, weak heart.Beat) (beats []heart.Beat) {
	for range n {
		beats = append(beats, strong, weak)
	}
	return beats
}

// Every second beat moves less than a third of the strong ones: pulsus alternans and
// bigeminy. Before, the rate was half and everything "good", and right R waves were
// thrown away.
func TestEverySecondBeatTooWeak(t *testing.T) {
	alternans := turns(4, heart.Beat{RR: 800, EF: 50, EDV: 117.81}, heart.Beat{RR: 800, EF: 14, EDV: 117.81})
	bigeminy := turns(4, heart.Beat{RR: 600, EF: 55, EDV: 117.81}, heart.Beat{RR: 1100, EF: 12, EDV: 117.81})
	still := turns(4, heart.Beat{RR: 800, EF: 50, EDV: 117.81}, heart.Beat{RR: 800, EF: 1, EDV: 117.81})
	for name, tt := range map[string]struct {
		beats  []heart.Beat
		stored string
		rate   float64
		method string
		grade  string
		text   string
	}{
		"alternans":                  {alternans, "", 37.5, lv.RateFromCurve, result.Poor, "the curve shows a weaker contraction"},
		"alternans, R waves":         {alternans, "R", 75, lv.RateFromRWaves, result.Fair, "stored 75 beats"},
		"alternans, device":          {alternans, "device", 75, lv.RateFromDevice, result.Fair, "stored 75 beats"},
		"bigeminy":                   {bigeminy, "", 35.3, lv.RateFromCurve, result.Poor, "the curve shows a weaker contraction"},
		"bigeminy, R waves":          {bigeminy, "R", 70.6, lv.RateFromRWaves, result.Fair, "count both"},
		"nothing of it, R waves":     {still, "R", 37.5, lv.RateFromCurve, result.Poor, "may be too weak to be seen"},
		"nothing of it, device's 75": {still, "device", 37.5, lv.RateFromCurve, result.Poor, "may be too weak to be seen"},
	} {
		for _, noise := range []float64{0, 0.01} {
			c := heart.Clip{Beats: tt.beats, FPS: 40, Start: 300, Noise: noise, Seed: 3, RWaves: tt.stored == "R"}
			l := c.Loop()
			if tt.stored == "device" {
				l.HeartRate = 75
			}
			Loop(&l, options())
			hr := find(t, l.Measurements, result.HR)
			if hr.Value == nil || math.Abs(*hr.Value-tt.rate) > 0.05*tt.rate || hr.Method != tt.method || hr.Quality.Grade != tt.grade {
				t.Errorf("%s, noise %.2f: HR %+v, want about %.1f, %s from %s", name, noise, hr, tt.rate, tt.grade, tt.method)
			}
			for _, q := range []string{result.EF, result.EDV, result.ESV, result.SV, result.HR} {
				m := find(t, l.Measurements, q)
				said := false
				for _, w := range m.Quality.Warnings {
					said = said || w.Code == string(lv.GateWeakBeats) && strings.Contains(w.Text, tt.text)
				}
				if !said || m.Quality.Grade == result.Good {
					t.Errorf("%s, noise %.2f: %s %+v, want a remark %q", name, noise, q, m.Quality, tt.text)
				}
			}
		}
	}
}

// rhythm is a rhythm of intervals in ms whose beats have an EF of 55 % but for those
// named as weak, and 65 % for those after them.
func rhythm(weakEF float64, rr []float64, weak ...int) (beats []heart.Beat) {
	for i, ms := range rr {
		b := heart.Beat{RR: ms, EF: 55, EDV: 117.81}
		switch {
		case slices.Contains(weak, i):
			b.EF = weakEF
		case slices.Contains(weak, i-1):
			b.EF = 65
		}
		beats = append(beats, b)
	}
	return beats
}

// Premature beats among others that hardly contract, with the pause after them: their R
// waves count. One with a contraction of its own that is as weak as noise must not be
// taken for a T wave, and without R waves the rate is not that of the beats that are seen.
func TestSomeBeatsTooWeak(t *testing.T) {
	single := []float64{850, 850, 500, 1200, 850, 850, 850, 500, 1200, 850}
	trigeminy := []float64{850, 500, 1200, 850, 500, 1200, 850, 500, 1200, 850}
	couplet := []float64{850, 850, 450, 450, 1250, 850, 850, 850, 850}
	shorter := []float64{850, 850, 450, 900, 850, 850, 850, 450, 900, 850} // a pause that makes nothing good
	for name, tt := range map[string]struct {
		beats  []heart.Beat
		stored string
		rate   float64 // 0 for any that is poor
		grade  string
	}{
		"single, R waves":           {rhythm(3, single, 3, 8), "R", 70.6, result.Fair},
		"single, larger, R waves":   {rhythm(14, single, 3, 8), "R", 70.6, result.Fair},
		"short pause, R waves":      {rhythm(3, shorter, 3, 8), "R", 70.6, result.Fair},
		"trigeminy, R waves":        {rhythm(3, trigeminy, 2, 5, 8), "R", 70.6, result.Fair},
		"couplet, R waves":          {rhythm(3, couplet, 3, 4), "R", 70.6, result.Fair},
		"single, larger":            {rhythm(16, single, 3, 8), "", 0, result.Poor},
		"single, the device's rate": {rhythm(3, trigeminy, 2, 5, 8), "device", 0, result.Poor},
	} {
		for _, noise := range []float64{0, 0.01} {
			c := heart.Clip{Beats: tt.beats, FPS: 40, Start: 300, Noise: noise, Seed: 3, RWaves: tt.stored == "R"}
			l := c.Loop()
			if tt.stored == "device" {
				l.HeartRate = 70
			}
			Loop(&l, options())
			hr := find(t, l.Measurements, result.HR)
			if hr.Value == nil || tt.rate > 0 && math.Abs(*hr.Value-tt.rate) > 0.05*tt.rate || hr.Quality.Grade != tt.grade || len(hr.Quality.Warnings) == 0 {
				t.Errorf("%s, noise %.2f: HR %+v, want about %.1f, %s", name, noise, hr, tt.rate, tt.grade)
			}
			if tt.stored != "device" && !has(hr, string(lv.GateSomeWeakBeats)) {
				t.Errorf("%s, noise %.2f: no word of weak beats: %+v", name, noise, hr.Quality)
			}
			within := 2.0 // without the beats after the weak ones
			if tt.stored == "device" {
				within = 6 // nobody knows which they are
			}
			near(t, name+": EF", measure(t, l.Measurements, result.EF), 55, within)
		}
	}
}

// One weak beat makes no rhythm irregular, and beats behind the last stored R wave are none
// after a weak one; where the rhythm is irregular every beat is one like the others.
func TestBeatsAfterWeakOnes(t *testing.T) {
	l := heart.Clip{Beats: rhythm(3, []float64{850, 850, 850, 500, 1200, 850, 850, 850, 850, 850}, 4), FPS: 40, Start: 300, Seed: 3, RWaves: true}.Loop()
	l.RWaves = l.RWaves[:5]
	Loop(&l, options())
	if ef := find(t, l.Measurements, result.EF); len(ef.Beats) < 6 {
		t.Errorf("R waves of a part: %+v", ef)
	}
	l = measured(heart.Clip{Beats: rhythm(16, []float64{850, 850, 850, 500, 1200, 850, 850, 850, 850, 850}, 4), FPS: 40, Start: 300, Seed: 3})
	ef, hr := find(t, l.Measurements, result.EF), find(t, l.Measurements, result.HR)
	if ef.Quality.Grade != result.Good || !has(hr, string(lv.GateSomeWeakBeats)) || has(hr, string(lv.GateBeats)) || math.Abs(*ef.Value-55) > 1.5 {
		t.Errorf("one weak beat: %+v, %+v", ef, hr.Quality)
	}
	l = measured(heart.Clip{Beats: rhythm(16, []float64{700, 1000, 850, 500, 1250, 1100, 650, 950, 700, 1150}, 4), FPS: 40, Start: 300, Seed: 3})
	for _, b := range l.Beats {
		if b.Rejected != nil {
			t.Errorf("irregular: %+v", *b.Rejected)
		}
	}
}

// A grade does not rise by one more remark.
func TestRemarkKeepsTheGrade(t *testing.T) {
	m := result.Measurement{Name: result.HR, Quality: result.Quality{Grade: result.Poor}}
	remark(&m, result.Reason{Code: "beats", Text: "rest and stress may be mixed"})
	if m.Quality.Grade != result.Poor || len(m.Quality.Warnings) != 1 {
		t.Errorf("%+v", m.Quality)
	}
}

// T waves that were counted in some beats lie between two R waves a usual beat apart:
// they are no beats.
func TestSomeTWavesCounted(t *testing.T) {
	for _, rr := range [][]float64{{850, 850, 850, 850, 850, 850, 850, 850}, {850, 760, 900, 830, 940, 800, 870, 850}} {
		l := heart.Clip{Beats: rhythm(0, rr), FPS: 40, Start: 300, Noise: 0.01, Seed: 3, RWaves: true}.Loop()
		l.RWaves = append(l.RWaves, l.RWaves[1]+330, l.RWaves[4]+330)
		slices.Sort(l.RWaves)
		Loop(&l, options())
		hr := find(t, l.Measurements, result.HR)
		if hr.Value == nil || math.Abs(*hr.Value-70.6) > 2 || hr.Quality.Grade != result.Fair || !has(hr, result.Rhythm) || has(hr, string(lv.GateSomeWeakBeats)) {
			t.Errorf("%v: %+v", rr, hr)
		}
	}
}

// A stray far behind the clip says nothing against R waves that fit, and whatever makes a
// rate poor is said.
func TestStrayRWave(t *testing.T) {
	for name, edit := range map[string]func(*result.Loop){
		"stray":    func(l *result.Loop) { l.RWaves = append(l.RWaves, 9999999) },
		"unlike":   func(l *result.Loop) { l.RWaves = []float64{100, 200, 1800} },
		"slow":     func(l *result.Loop) { l.HeartRate = 40 },
		"fast":     func(l *result.Loop) { l.HeartRate = 120 },
		"too many": func(l *result.Loop) { l.RWaves = append(l.RWaves, 400, 900, 1000, 1300, 2000); slices.Sort(l.RWaves) },
	} {
		l := heart.Clip{Beats: heart.Regular(70, 55, 117.81, 4), FPS: 40, Start: 600, Seed: 3, RWaves: name == "stray" || name == "too many"}.Loop()
		edit(&l)
		Loop(&l, options())
		hr := find(t, l.Measurements, result.HR)
		if hr.Value == nil || hr.Quality.Grade == result.Poor && len(hr.Quality.Warnings) == 0 || name == "stray" && hr.Quality.Grade != result.Good {
			t.Errorf("%s: %+v", name, hr)
		}
	}
}

// Diastasis and atrial filling are no contraction, nor is noise.
func TestOrdinaryDiastoleIsNoWeakBeat(t *testing.T) {
	for _, rate := range []float64{35, 50, 70, 110, 170} {
		for _, ef := range []float64{12, 25, 40, 60} {
			for seed := range uint64(24) {
				c := heart.Clip{Beats: heart.Regular(rate, ef, 117.81, 14), FPS: []float64{15, 25, 40, 80}[seed%4], Start: 61 * float64(seed),
					Length: 5000, Noise: 0.01 * float64(seed%5), Stray: 0.5, Seed: seed}
				l := measured(c)
				if hr := find(t, l.Measurements, result.HR); has(hr, string(lv.GateWeakBeats)) || has(hr, string(lv.GateSomeWeakBeats)) {
					t.Errorf("%.0f/min, EF %.0f, %.0f frames/s, noise %.2f: %+v", rate, ef, c.FPS, c.Noise, hr.Quality)
				}
			}
		}
	}
}
