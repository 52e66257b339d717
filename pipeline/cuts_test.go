package pipeline

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/echonode/echonode/pipeline/lv"
)

// Clips that stand one behind the other are told from the motion of one heart, from flashes,
// titles and from frames that were left out.
func TestClips(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	textures := map[int][]float64{}
	texture := func(scene int) []float64 {
		if textures[scene] == nil {
			for range cutSide * cutSide {
				textures[scene] = append(textures[scene], 30+60*rng.Float64())
			}
		}
		return textures[scene]
	}
	// picture shows a scene whose bright pixels follow the beat, with noise of a few gray levels.
	picture := func(scene int, phase float64) frame {
		f := frame{outline: &lv.Outline{}, small: make([]byte, cutSide*cutSide)}
		for i, v := range texture(scene) {
			f.small[i] = uint8(v + 15*math.Sin(2*math.Pi*phase+float64(i%7)) + 4*rng.Float64())
		}
		return f
	}
	black := frame{small: make([]byte, cutSide*cutSide)}
	loop := func(scenes ...int) (out []frame) {
		for i, s := range scenes {
			if s == 0 {
				out = append(out, black)
				continue
			}
			out = append(out, picture(s, float64(i)/25))
		}
		return out
	}
	times := func(n int) (out []float64) {
		for i := range n {
			out = append(out, 40*float64(i))
		}
		return out
	}
	join := func(parts ...[]int) []int { return slices.Concat(parts...) }
	of := func(scene, n int) []int { return slices.Repeat([]int{scene}, n) }
	jumps := loop(of(1, 60)...)
	jumps = append(jumps[:20], jumps[32:]...) // half a beat is missing
	for name, tt := range map[string]struct {
		frames []frame
		want   []int
	}{
		"one loop":                     {loop(of(1, 60)...), nil},
		"two":                          {loop(join(of(1, 30), of(2, 30))...), []int{0, 30}},
		"three, the last as the first": {loop(join(of(1, 20), of(2, 20), of(1, 20))...), []int{0, 20, 40}},
		"a flash":                      {loop(join(of(1, 30), of(2, 1), of(1, 30))...), nil},
		"a title before it":            {loop(join(of(0, 20), of(1, 40))...), nil},
		"a title between":              {loop(join(of(1, 20), of(0, 20), of(2, 20))...), []int{0, 40}},
		"a leftover at first":          {loop(join(of(2, 3), of(1, 40))...), nil},
		"frames left out":              {jumps, nil},
		"nothing known":                {make([]frame, 40), nil},
		"short":                        {loop(join(of(1, 4), of(2, 4))...), nil},
	} {
		starts := func(found []clip) (out []int) {
			for _, c := range found {
				out = append(out, c.from)
			}
			return out
		}
		if got := starts(clips(tt.frames, times(len(tt.frames)))); !slices.Equal(got, tt.want) {
			t.Errorf("%s: clips at %v, want %v", name, got, tt.want)
		}
		if got := starts(clips(tt.frames, nil)); !slices.Equal(got, tt.want) {
			t.Errorf("%s, without times: clips at %v, want %v", name, got, tt.want)
		}
	}
}

// What another heart or view makes is told from gain, place and depth that change on the way.
func TestJudgeCuts(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	views := []string{"A4C", "A2C", "A4C-mirrored"}
	heart := func() (out [cutSide + 8][cutSide + 8]float64) { // patches of four cells
		for y := range out {
			for x := range out[y] {
				if y%4 == 0 && x%4 == 0 {
					out[y][x] = 40 + 90*rng.Float64()
				} else {
					out[y][x] = out[y-y%4][x-x%4]
				}
			}
		}
		return out
	}
	one, other := heart(), heart()
	show := func(h [cutSide + 8][cutSide + 8]float64, gain float64, move, view int) (out []frame) {
		for range 20 {
			f := frame{outline: &lv.Outline{}, small: make([]byte, cutSide*cutSide), views: make([]float32, len(views))}
			f.views[view] = 0.8
			for i := range f.small {
				f.small[i] = uint8(min(255, gain*h[i/cutSide+move][i%cutSide+move]+6*rng.Float64()))
			}
			out = append(out, f)
		}
		return out
	}
	for name, tt := range map[string]struct {
		second  []frame
		refused bool
	}{
		"another heart":   {show(other, 1, 0, 0), true},
		"another view":    {show(one, 1.6, 0, 1), true},
		"gain":            {show(one, 1.6, 0, 0), false},
		"the probe moves": {show(one, 1, 2, 0), false},
		"turned display":  {show(one, 1.6, 0, 2), false},
	} {
		for _, timed := range []bool{true, false} {
			l := &loop{frames: append(show(one, 1, 0, 0), tt.second...)}
			if timed {
				for i := range l.frames {
					l.FrameTimes = append(l.FrameTimes, 40*float64(i))
				}
			}
			err := l.judgeCuts(views, lv.DefaultBeatOptions())
			if (err != nil) != tt.refused || len(l.Warnings) == 0 != tt.refused || !tt.refused && !slices.Equal(l.Cuts, []int{20}) {
				t.Errorf("%s: %v, remarks %v, cuts %v", name, err, l.Warnings, l.Cuts)
			}
		}
	}
	l := &loop{frames: show(one, 1, 0, 0)}
	if err := l.judgeCuts(views, lv.DefaultBeatOptions()); err != nil || len(l.Warnings) > 0 {
		t.Errorf("one clip: %v, %v", err, l.Warnings)
	}
}

// Clips of one heart in one view are told apart by its rates: rest and stress are no change of
// gain. Where the rhythm is not steady, or a clip shows no whole interval, rates say nothing.
func TestJudgeCutsByRate(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	views := []string{"A4C", "A2C"}
	texture := make([]float64, cutSide*cutSide)
	for i := range texture {
		texture[i] = 40 + 90*rng.Float64()
	}
	const fps, length, width = 40, 90.0, 50.0
	// film shows contractions at intervals in ms, the cavity 36 mm wide at end-systole, 420 ms or less
	// than half an interval after the R wave.
	film := func(l *loop, gain float64, intervals ...float64) {
		for _, rr := range intervals {
			for ms := 0.0; ms < rr; ms += 1000 / fps {
				systole := min(420, 0.45*rr)
				done := ms / systole
				if ms > systole {
					done = max(0, 1-(ms-systole)/min(200, 0.3*rr))
				}
				w := width - 14*math.Sin(math.Pi/2*min(done, 1))
				f := frame{outline: &lv.Outline{}, small: make([]byte, cutSide*cutSide), views: []float32{0.9, 0.1}}
				for k := range 30 {
					a := math.Pi * float64(k) / 29
					f.outline.Points = append(f.outline.Points, lv.Point{X: 100 - w/2*math.Cos(a), Y: 120 - length*math.Sin(a)})
				}
				for i, v := range texture {
					f.small[i] = uint8(min(255, gain*v+6*rng.Float64()))
				}
				l.frames, l.FrameTimes = append(l.frames, f), append(l.FrameTimes, float64(len(l.FrameTimes))*1000/fps)
			}
		}
	}
	of := func(rr float64, n int) []float64 { return slices.Repeat([]float64{rr}, n) }
	for name, tt := range map[string]struct {
		clips   [][]float64
		refused bool
	}{
		"gain alone":              {[][]float64{of(920, 4), of(920, 4)}, false},
		"a little faster":         {[][]float64{of(920, 4), of(800, 4)}, false},
		"rest and stress":         {[][]float64{of(920, 4), of(500, 6)}, true},
		"stress and recovery":     {[][]float64{of(480, 6), of(700, 4)}, true},
		"step by step":            {[][]float64{of(920, 4), of(740, 4), of(600, 5)}, true},
		"an irregular rhythm":     {[][]float64{{920, 700, 1100, 600, 900}, {500, 700, 450, 650, 500, 600}}, false},
		"one beat of the one":     {[][]float64{of(920, 4), of(600, 1)}, false},
		"an interval of the one":  {[][]float64{of(920, 4), of(500, 3)}, true},
		"an interval of each one": {[][]float64{of(920, 2), of(500, 2)}, false},
	} {
		l := &loop{spacing: lv.Spacing{X: 1, Y: 1}}
		for i, rr := range tt.clips {
			film(l, []float64{1, 1.6, 1}[i], rr...)
		}
		if err := l.judgeCuts(views, lv.DefaultBeatOptions()); (err != nil) != tt.refused || len(l.Warnings) == 0 != tt.refused || len(l.Cuts) == 0 != tt.refused {
			var found [][]float64
			for _, c := range clips(l.frames, l.FrameTimes) {
				found = append(found, l.intervals(c, lv.DefaultBeatOptions()))
			}
			t.Errorf("%s: %v, remarks %v, cuts %v, intervals %.0f", name, err, l.Warnings, l.Cuts, found)
		}
	}
}
