package measure

import (
	"math"
	"strings"
	"testing"

	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/measure/heart"
	"github.com/echonode/echonode/pipeline/result"
)

// slowed is a loop whose frame times are those of a playback that is so many times as
// slow as the heart was.
func slowed(c heart.Clip, times float64) result.Loop {
	l := c.Loop()
	for i := range l.FrameTimes {
		l.FrameTimes[i] *= times
	}
	Loop(&l, options())
	return l
}

// Loops of a high frame rate whose times are those of a playback: before, the search for
// end-diastole ended half-way down, EF came out too small, and all of it was "good".
func TestTimesOfPlayback(t *testing.T) {
	for _, times := range []float64{2, 2.4, 3, 4, 6} {
		for _, ef := range []float64{25, 50, 65} {
			for seed := range uint64(9) { // which begin and end anywhere
				noise := 0.01 * float64(seed%3)
				if ef < 30 {
					noise /= 2 // in more of it the contraction's time is not sure
				}
				c := heart.Clip{Beats: heart.Regular(70, ef, 117.81, 4), FPS: 120, Start: 95 * float64(seed), Length: 1900, Noise: noise, Stray: 0.5, Seed: seed}
				l := slowed(c, times)
				for _, name := range []string{result.EF, result.EDV, result.HR} {
					m := find(t, l.Measurements, name)
					if m.Value == nil {
						continue
					}
					if m.Quality.Grade == result.Good || !has(m, result.FrameTimes) || name == result.HR && m.Quality.Grade != result.Poor {
						t.Errorf("EF %.0f, %g times as slow, noise %.2f: %s %.1f %+v", ef, times, noise, name, *m.Value, m.Quality)
					}
					if name == result.EF && math.Abs(*m.Value-ef) > 5 {
						t.Errorf("EF %.0f, %g times as slow, noise %.2f: EF %.1f", ef, times, noise, *m.Value)
					}
				}
			}
		}
	}
}

// A slow heart is no playback: its systole is hardly longer than a fast one's.
func TestSlowHeartsAreNoPlayback(t *testing.T) {
	for _, rate := range []float64{28, 35, 50, 90} {
		for _, ef := range []float64{15, 30, 55, 70} {
			for seed := range uint64(20) {
				c := heart.Clip{Beats: heart.Regular(rate, ef, 117.81, 8), FPS: []float64{12, 20, 30, 60}[seed%4], Start: 173 * float64(seed), Length: 4800,
					Noise: 0.01 * float64(seed%4), Stray: 0.5, Seed: seed, RWaves: seed%3 == 0}
				l := measured(c)
				for _, name := range []string{result.EF, result.HR} {
					m := find(t, l.Measurements, name)
					if m.Value == nil && strings.Contains(m.Reason.Text, "those of playback") || m.Value != nil && has(m, result.FrameTimes) {
						t.Errorf("%.0f/min, EF %.0f, %.0f frames/s, noise %.2f: %+v", rate, ef, c.FPS, c.Noise, m)
					}
				}
			}
		}
	}
}

// A straight fall over 500 ms passes 90 % after 50 and 10 % after 450 ms.
func TestContractionMS(t *testing.T) {
	curve, times := []float64{100, 100}, []float64{0, 50}
	for i := 1; i <= 10; i++ {
		curve, times = append(curve, 100-6*float64(i)), append(times, 50+50*float64(i))
	}
	if got := lv.ContractionMS(curve, times, 1, 11); math.Abs(got-400) > 1e-9 {
		t.Errorf("%g ms, want 400", got)
	}
	if got := lv.ContractionMS(curve, times, 0, 11); math.Abs(got-400) > 1e-9 { // a level before it adds nothing
		t.Errorf("%g ms, want 400", got)
	}
	for _, at := range [][2]int{{11, 1}, {-1, 5}, {3, 3}, {0, 12}, {0, 1}} {
		if got := lv.ContractionMS(curve, times, at[0], at[1]); got != 0 {
			t.Errorf("%v: %g", at, got)
		}
	}
}
