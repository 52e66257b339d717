package lv

import (
	"math"
	"testing"
)

func TestSolidity(t *testing.T) {
	square := []Point{{0, 0}, {4, 0}, {4, 4}, {0, 4}}
	notched := []Point{{0, 0}, {4, 0}, {4, 4}, {2, 2}, {0, 4}} // a quarter is missing
	for name, tc := range map[string]struct {
		poly []Point
		want float64
	}{
		"square":      {square, 1},
		"notched":     {notched, 0.75},
		"no area":     {[]Point{{0, 0}, {1, 1}, {2, 2}}, 0},
		"no points":   {nil, 0},
		"with middle": {[]Point{{0, 0}, {2, 0}, {4, 0}, {4, 4}, {0, 4}, {0, 0}}, 1},
	} {
		if got := Solidity(tc.poly); math.Abs(got-tc.want) > 1e-12 {
			t.Errorf("%s: solidity %g, want %g", name, got, tc.want)
		}
	}
	o := DefaultQualityOptions()
	if f := CheckSolidity(Solidity(square), ED, 3, o); len(f) != 0 {
		t.Errorf("a square is refused: %v", f)
	}
	if f := CheckSolidity(Solidity(notched), ED, 3, o); !Rejected(f) || f[0].Frame != 3 {
		t.Errorf("a ragged outline passes: %v", f)
	}
}

// A systolic clip as stress protocols store it: it begins at ED and ends
// before the cavity fills again.
func TestFindBeatsInSystolicClip(t *testing.T) {
	area := []float64{33, 32.5, 31, 29, 26, 24, 22, 20.5, 19.5, 19}
	clip := func(stepMS float64) []float64 {
		times := make([]float64, len(area))
		for i := range times {
			times[i] = float64(i) * stepMS
		}
		return times
	}
	o := DefaultBeatOptions()
	o.HeartRateBPM = 75 // QS2 = 546 - 2.1*75 = 388.5 ms, three quarters of it 291 ms
	r, err := FindBeats(area, clip(40), o)
	if err != nil || len(r.Beats) != 1 {
		t.Fatalf("360 ms of systole: %+v, %v", r.Beats, err)
	}
	if b := r.Beats[0]; !b.Clipped || b.ED != 0 || b.ES != 9 || b.NextED != -1 {
		t.Errorf("beat = %+v, want the whole clip, marked as clipped", b)
	}
	if f := CheckClipped(r.Beats); len(f) != 1 || f[0].Severity != Warn {
		t.Errorf("findings = %v, want a warning", f)
	}
	if _, err := FindBeats(area, clip(30), o); err == nil {
		t.Error("270 ms are taken for a whole systole at 75 per minute")
	}
	// Without a heart rate the emptying must have come to its end.
	o.HeartRateBPM = 0
	if r, err := FindBeats(area, clip(40), o); err != nil || !r.Beats[0].Clipped {
		t.Errorf("a systole that levels off: %+v, %v", r.Beats, err)
	}
	if _, err := FindBeats(area[:8], clip(40)[:8], o); err == nil {
		t.Error("a clip that ends while the cavity still empties fast gives a beat")
	}
}

// A clip that begins within one systole and ends within the next still shows
// an end-systole and an end-diastole.
func TestFindBeatsAcrossTwoBeats(t *testing.T) {
	var area, times []float64
	for i := range 30 { // period 800 ms, ED at 640 ms, ES at 200 ms
		ms := float64(i) * 33
		times = append(times, ms)
		area = append(area, 26+8*math.Cos(2*math.Pi*(ms-640)/880))
	}
	r, err := FindBeats(area, times, DefaultBeatOptions())
	if err != nil || len(r.Beats) != 1 {
		t.Fatalf("beats = %+v, %v", r.Beats, err)
	}
	b := r.Beats[0]
	if !b.Crossed || math.Abs(times[b.ES]-200) > 34 || math.Abs(times[b.ED]-640) > 34 {
		t.Errorf("beat = %+v (ES %.0f ms, ED %.0f ms), want 200 and 640 ms, crossed", b, times[b.ES], times[b.ED])
	}
	if f := CheckClipped(r.Beats); len(f) != 1 {
		t.Errorf("findings = %v, want a warning", f)
	}
	// Filling alone, without any contraction before it, is no beat.
	if _, err := FindBeats(area[6:20], times[6:20], DefaultBeatOptions()); err == nil {
		t.Error("a clip of filling alone gives a beat")
	}
}
