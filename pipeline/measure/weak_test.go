package measure

import (
	"math"
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

// Diastasis and atrial filling are no contraction, nor is noise.
func TestOrdinaryDiastoleIsNoWeakBeat(t *testing.T) {
	for _, rate := range []float64{35, 50, 70, 110, 170} {
		for _, ef := range []float64{12, 25, 40, 60} {
			for seed := range uint64(24) {
				c := heart.Clip{Beats: heart.Regular(rate, ef, 117.81, 14), FPS: []float64{15, 25, 40, 80}[seed%4], Start: 61 * float64(seed),
					Length: 5000, Noise: 0.01 * float64(seed%5), Stray: 0.5, Seed: seed}
				l := measured(c)
				if hr := find(t, l.Measurements, result.HR); has(hr, string(lv.GateWeakBeats)) {
					t.Errorf("%.0f/min, EF %.0f, %.0f frames/s, noise %.2f: %+v", rate, ef, c.FPS, c.Noise, hr.Quality)
				}
			}
		}
	}
}
