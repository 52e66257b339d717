package measure

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/echonode/echonode/pipeline/measure/heart"
	"github.com/echonode/echonode/pipeline/result"
)

// A heart of 60 beats a minute and an EF of 60 %, filmed for 5.4 seconds at 40
// frames a second, of which the frames within a time are lost: no beat and no
// interval across them counts, and the values say so. A gap that the clip closes
// up, as when frames are left out and the rest is numbered on, is none to see.
func TestGapsInFrameTimes(t *testing.T) {
	film := func(lost func(t float64) bool) result.Loop {
		c := heart.Clip{Beats: heart.Regular(60, 60, 117.81, 7), FPS: 40, Start: 300, Length: 5400, Seed: 3}
		l := c.Loop()
		var times []float64
		var frames []result.Frame
		for i, f := range l.FrameResults {
			if lost(l.FrameTimes[i]) {
				continue
			}
			f.Index = len(frames)
			frames, times = append(frames, f), append(times, l.FrameTimes[i])
		}
		l.FrameResults, l.FrameTimes, l.Frames = frames, times, len(frames)
		Loop(&l, options())
		return l
	}
	between := func(from, to float64) func(float64) bool { return func(t float64) bool { return t > from && t < to } }
	// R waves are at 700, 1700, 2700, 3700, 4700 ms; ends of systole 420 ms later.
	for name, tc := range map[string]struct {
		lost  func(float64) bool
		beats int
		note  string // "" for none
		rate  float64
	}{
		"none":                  {between(0, 0), 5, "", 60},
		"two frames":            {between(1900, 1960), 5, "", 60},
		"within a systole":      {between(1800, 2000), 4, "a gap of 200 ms", 60},
		"around an end-systole": {between(2080, 2300), 4, "a gap of", 60},
		"a beat and a half":     {between(1500, 3050), 3, "a gap of", 60},
		"within diastole":       {between(2350, 2500), 5, "a gap of 150 ms", 60},
		"300 ms of diastole, twice": {func(t float64) bool {
			return math.Mod(t, 1000) > 300 && math.Mod(t, 1000) < 600 && t > 1000 && t < 3000
		},
			5, "2 gaps, the longest of", 60},
		"in every diastole": {func(t float64) bool { return math.Mod(t, 1000) > 300 && math.Mod(t, 1000) < 600 }, 5, "gaps, the longest of", 0},
	} {
		l := film(tc.lost)
		ef, hr := value(l.Measurements, result.EF), value(l.Measurements, result.HR)
		if ef == nil || math.Abs(*ef.Value-60) > 1.5 || len(ef.Beats) != tc.beats {
			t.Errorf("%s: EF %+v", name, ef)
			continue
		}
		got := 0.0
		if hr != nil {
			got = *hr.Value
		}
		if math.Abs(got-tc.rate) > 1 {
			t.Errorf("%s: %.1f beats a minute, want %.0f", name, got, tc.rate)
		}
		said := slices.ContainsFunc(ef.Quality.Warnings, func(w result.Reason) bool {
			return w.Code == result.Rhythm && tc.note != "" && strings.Contains(w.Text, tc.note)
		})
		if said != (tc.note != "") || tc.note == "" && len(ef.Quality.Warnings) > 0 {
			t.Errorf("%s: %+v", name, ef.Quality)
		}
	}
	// Every systole and every filling has a gap: there is no value, and the reason is the gaps.
	l := film(func(t float64) bool { return math.Mod(t+200, 500) > 150 && math.Mod(t+200, 500) < 300 })
	if ef := l.Measurements[0]; ef.Value != nil || !strings.Contains(ef.Reason.Text, "gap in the frame times") {
		t.Errorf("%+v", ef)
	}
}
