package measure

import (
	"math"
	"reflect"
	"testing"

	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/result"
)

// A beat of 800 ms with frames 50 ms apart has 16, which may be measured crosswise
// while the range of the area is no more than 15 times the noise; with fewer than 14
// frames while it is no more than 13 times, and never with frames more than 51 ms apart.
func TestSplits(t *testing.T) {
	for _, tt := range []struct {
		name         string
		step, period float64
		times        float64 // the range of the area in its noise
		edit         func(l *loop, b *lv.Beat)
		want         float64
	}{
		{"16 frames, 15 times", 50, 800, 15, nil, 16},
		{"15.5 times", 50, 800, 15.5, nil, 0},
		{"14 frames, 15 times", 50, 700, 15, nil, 14},
		{"13 frames, 13 times", 50, 650, 13, nil, 13},
		{"13 frames, 13.5 times", 50, 650, 13.5, nil, 0},
		{"51 ms apart", 51, 816, 15, nil, 16},
		{"52 ms apart", 52, 832, 13, nil, 0},
		{"52 ms apart, few frames", 52, 520, 13, nil, 0},
		{"clipped", 50, 800, 1, func(_ *loop, b *lv.Beat) { b.Clipped = true }, 0},
		{"of no period", 50, 0, 1, nil, 0},
		{"ED by a reader", 50, 800, 1, func(l *loop, _ *lv.Beat) { l.frames[2].byReader = true }, 0},
		{"ES by a reader", 50, 800, 1, func(l *loop, _ *lv.Beat) { l.frames[8].byReader = true }, 0},
		{"cuts", 50, 800, 15, func(l *loop, _ *lv.Beat) { l.times = lv.Apart(l.times, []int{14, 15}) }, 16},
		{"another frame by a reader", 50, 800, 1, func(l *loop, _ *lv.Beat) { l.frames[5].byReader = true }, 16},
	} {
		l := &loop{Loop: &result.Loop{}, frames: make([]frame, 21)}
		for i := range l.frames {
			l.times = append(l.times, 1000+tt.step*float64(i))
		}
		l.rhythm.Noise, l.rhythm.Range = 1.0/64, tt.times/64
		b := lv.Beat{ED: 2, ES: 8}
		if tt.edit != nil {
			tt.edit(l, &b)
		}
		if got := l.splits(b, tt.period); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// From how many frames a beat has follows how its phases are measured: from 14 each by
// the frames of the other half, from 9 as the mean of that and of all frames, below by
// all. Every second frame of a noisy clip is 10 % larger, so that the ways differ.
func TestMomentByFrames(t *testing.T) {
	for frames, way := range map[float64]string{8: "all", 9: "mean", 13: "mean", 14: "crossed", 20: "crossed"} {
		l := &loop{Loop: &result.Loop{}, o: options(), frames: make([]frame, 60)}
		for i := range l.frames {
			l.times = append(l.times, 40*float64(i))
			area := 2000 + 500*math.Cos(2*math.Pi*float64(i)/frames)
			if i%2 == 1 {
				area *= 1.1
			}
			l.frames[i].plane.AreaMM2, l.frames[i].used = area, true
		}
		l.rhythm.Noise, l.rhythm.Range = 0.1, 0.4
		ed := int(frames)
		b := lv.Beat{ED: ed, ES: ed + int(frames)/2, AfterMS: 40 * frames}
		half, period := l.window(b)
		all, crossed := l.around(b.ED, b), l.crossed(lv.ED, b.ED, half, period)
		want := map[string]lv.Around{"all": all, "crossed": crossed, "mean": lv.Join(all, crossed)}[way]
		if got := l.moment(lv.ED, b); !reflect.DeepEqual(got, want) {
			t.Errorf("%.0f frames: %v, want %v (%s)", frames, got, want, way)
		}
		if reflect.DeepEqual(all, crossed) {
			t.Errorf("%.0f frames: both ways are one", frames)
		}
	}
}
