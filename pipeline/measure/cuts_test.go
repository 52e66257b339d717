package measure

import (
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/measure/heart"
	"github.com/echonode/echonode/pipeline/result"
)

// cutAfter is a loop whose picture changes at once: the frames of one clip behind those of another.
func cutAfter(first, second heart.Clip) result.Loop {
	l, m := first.Loop(), second.Loop()
	l.Cuts = []int{l.Frames}
	for i, f := range m.FrameResults {
		f.Index = l.Frames + i
		l.FrameResults = append(l.FrameResults, f)
		l.FrameTimes = append(l.FrameTimes, l.FrameTimes[l.Frames-1]+m.FrameTimes[i]+1000/first.FPS)
	}
	l.Frames += m.Frames
	l.Warnings = []result.Reason{{Code: result.SeveralClips, Text: "gain, depth or place of the probe change at 2 s"}}
	return l
}

// Where the picture changes at once, wherever in the beat, no beat and no interval counts across
// it: EF and rate are those of the whole beats on either side, R waves or not, and nothing is said
// of gaps in the frame times or of outlines that jump.
func TestBeatsAcrossACut(t *testing.T) {
	at := func(ef, start, length float64, seed uint64) heart.Clip {
		return heart.Clip{Beats: heart.Regular(65, ef, 117.81, 6), FPS: 40, Start: start, Length: length, Noise: 0.005, Seed: seed, RWaves: true}
	}
	for _, first := range []float64{1900, 2100, 2300, 2500, 2700} { // the last frame of the first part, in ms
		for _, second := range []float64{100, 250, 400, 600, 800} { // the first of the second, after an R wave
			l := cutAfter(at(60, 500, first, 1), at(60, second, 2400, 2))
			Loop(&l, options())
			cut := l.Cuts[0]
			for _, b := range l.Beats {
				if b.ED < cut && max(b.ES, b.NextED) >= cut || b.BeforeMS > 1000 || b.AfterMS > 1000 || b.BeforeMS > 0 && b.BeforeMS < 850 {
					t.Errorf("%g, %g: %+v, cut in frame %d", first, second, b, cut)
				}
			}
			ef, hr := find(t, l.Measurements, result.EF), find(t, l.Measurements, result.HR)
			if ef.Value == nil || math.Abs(*ef.Value-60) > 2 || hr.Value == nil || math.Abs(*hr.Value-65) > 1.5 {
				t.Errorf("%g, %g: EF %+v, HR %+v", first, second, ef, hr)
			}
			for _, w := range ef.Quality.Warnings {
				if w.Code != result.SeveralClips {
					t.Errorf("%g, %g: %+v", first, second, w)
				}
			}
		}
	}
	// Two beats, each cut off by the change, are none.
	l := cutAfter(at(60, 0, 350, 1), at(60, 900, 350, 2))
	Loop(&l, options())
	if ef := find(t, l.Measurements, result.EF); ef.Value != nil || !strings.Contains(ef.Reason.Text, "across a sudden change of the picture") {
		t.Errorf("cut in two: %+v", ef)
	}
}

// A change of the picture at which EF changes as it must not between two loops of a stage is said,
// and the values are poor; one that leaves EF as it was is not.
func TestEFOnEitherSideOfACut(t *testing.T) {
	clip := func(ef float64, n int, seed uint64) heart.Clip {
		return heart.Clip{Beats: heart.Regular(65, ef, 117.81, n), FPS: 40, Start: 500, Noise: 0.005, Seed: seed}
	}
	for _, tt := range []struct {
		first, second heart.Clip
		want          bool
	}{
		{clip(60, 4, 1), clip(40, 4, 2), true},
		{clip(60, 6, 1), clip(40, 3, 2), true},
		{clip(60, 4, 1), clip(52, 4, 2), false},
		{clip(60, 4, 1), clip(60, 4, 2), false},
	} {
		l := cutAfter(tt.first, tt.second)
		Loop(&l, options())
		ef := find(t, l.Measurements, result.EF)
		said := slices.ContainsFunc(ef.Quality.Warnings, func(w result.Reason) bool {
			return w.Code == string(lv.GateBeatVolumes) && strings.Contains(w.Text, "two recordings may stand one behind the other")
		})
		if ef.Value == nil || said != tt.want || (ef.Quality.Grade == result.Poor) != tt.want {
			t.Errorf("EF of %g and %g: %+v", tt.first.Beats[0].EF, tt.second.Beats[0].EF, ef)
		}
	}
}

// Times are set apart behind each cut, and left alone without one.
func TestUntilCut(t *testing.T) {
	l := &loop{Loop: &result.Loop{Cuts: []int{3, 7}}, times: make([]float64, 10)}
	for i, want := range []int{2, 2, 2, 6, 6, 6, 6, 9, 9, 9} {
		if got := l.untilCut(i); got != want {
			t.Errorf("%d: %d, want %d", i, got, want)
		}
	}
	if got := lv.Apart([]float64{0, 40, 80, 120}, []int{1, 3}); got[0] != 0 || got[1]-got[0] < 400 || got[2]-got[1] != 40 || got[3]-got[2] < 400 {
		t.Errorf("%v", got)
	}
}

// Rest and stress behind one another in pictures so alike that no cut is seen: the rate gives way at
// once to another, and neither EF nor rate is of one state: they are poor. A heart that slows down,
// an irregular one and premature beats are none.
func TestRateThatChangesAtOnce(t *testing.T) {
	clip := func(beats ...heart.Beat) result.Loop {
		l := heart.Clip{Beats: beats, FPS: 40, Start: 300, Noise: 0.005, Seed: 1}.Loop()
		Loop(&l, options())
		return l
	}
	of := func(rate, ef float64, n int) []heart.Beat { return heart.Regular(rate, ef, 117.81, n) }
	at := func(rates ...float64) (out []heart.Beat) {
		for _, r := range rates {
			out = append(out, of(r, 60, 1)...)
		}
		return out
	}
	cut := func(a, b []heart.Beat) result.Loop {
		first, second := heart.Clip{Beats: a, FPS: 40, Start: 200, Noise: 0.005, Seed: 1}, heart.Clip{Beats: b, FPS: 40, Start: 300, Noise: 0.005, Seed: 2}
		l := cutAfter(first, second)
		l.Cuts, l.Warnings = nil, nil
		Loop(&l, options())
		return l
	}
	for name, tt := range map[string]struct {
		l    result.Loop
		want string
	}{
		"rest and stress":     {clip(slices.Concat(of(65, 60, 5), of(120, 75, 7))...), "from 6[56] to 1(19|20|21) beats"},
		"cut within a beat":   {cut(of(65, 60, 5), of(120, 75, 7)), "from 6[56] to 1(19|20|21) beats"},
		"stress and recovery": {clip(slices.Concat(of(140, 70, 7), of(90, 60, 5))...), "from 1(39|40|41) to (89|90|91) beats"},
		"one rate":            {clip(of(65, 60, 9)...), ""},
		"slows down":          {clip(at(120, 115, 110, 105, 100, 95, 90, 86, 82, 78, 75)...), ""},
		"irregular":           {clip(at(70, 110, 62, 95, 120, 66, 88, 105, 72)...), ""},
		"bigeminy":            {clip(at(100, 60, 100, 60, 100, 60, 100, 60)...), ""},
		"a premature beat":    {clip(at(65, 65, 65, 65, 105, 45, 65, 65, 65)...), ""},
	} {
		for _, q := range []string{result.EF, result.HR} {
			m := find(t, tt.l.Measurements, q)
			said := slices.ContainsFunc(m.Quality.Warnings, func(w result.Reason) bool {
				return w.Code == result.LoopsDisagree && tt.want != "" && regexp.MustCompile(tt.want).MatchString(w.Text)
			})
			if m.Value == nil || said != (tt.want != "") || has(m, result.LoopsDisagree) != said || said && m.Quality.Grade != result.Poor {
				t.Errorf("%s: %+v", name, m)
			}
		}
	}
}
