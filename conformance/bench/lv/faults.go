package main

import (
	"fmt"
	"math"

	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/measure/heart"
	"github.com/echonode/echonode/pipeline/result"
)

// fault is one family of what goes wrong: it makes a clip of a heart with the
// given EF from a sound one.
type fault struct {
	name string
	make func(b *bench, c *heart.Clip, ef float64)
}

// every edits the frames of systole's end, or all of them.
func every(atEndSystole bool, f func(*result.Frame)) func(int, float64, *result.Frame) {
	return func(_ int, phase float64, r *result.Frame) {
		if !atEndSystole || phase > 0.25 && phase < 0.65 {
			f(r)
		}
	}
}

func weakHinges(f *result.Frame) {
	for k := range f.Keypoints {
		f.Keypoints[k].Confidence = 0.1
	}
}

// leak lets the outline run into the atrium: an ellipse below the base.
func leak(f *result.Frame) {
	base, left, right := f.Keypoints[1].Y, f.Keypoints[1].X, f.Keypoints[2].X
	var c result.Contour
	for _, p := range f.Contour {
		if p[1] < base-0.5 {
			c = append(c, p)
		}
	}
	cx, w := (left+right)/2, (right-left)/2
	for i := range 25 {
		sin, cos := math.Sincos(math.Pi * float64(i) / 24)
		c = append(c, [2]float64{cx + w*cos, base + 60*sin})
	}
	f.Contour = c
	area(f)
}

func area(f *result.Frame) {
	points := make([]lv.Point, len(f.Contour))
	for i, p := range f.Contour {
		points[i] = lv.Point{X: p[0], Y: p[1]}
	}
	f.LVAreaPixels = lv.PolygonArea(points, lv.Spacing{X: 1, Y: 1})
}

// cut ends the picture at x: the outline runs along the sector's edge there.
func cut(x float64) func(*result.Frame) {
	return func(f *result.Frame) {
		for i := range f.Contour {
			f.Contour[i][0] = min(f.Contour[i][0], x)
		}
		for k := range f.Keypoints {
			f.Keypoints[k].X = min(f.Keypoints[k].X, x)
		}
		f.Contour = dense(f.Contour)
		area(f)
	}
}

// dense spaces the points evenly.
func dense(c result.Contour) result.Contour {
	var out result.Contour
	for i, p := range c {
		q := c[(i+1)%len(c)]
		n := int(math.Hypot(q[0]-p[0], q[1]-p[1])/2) + 1
		for k := range n {
			t := float64(k) / float64(n)
			out = append(out, [2]float64{p[0] + t*(q[0]-p[0]), p[1] + t*(q[1]-p[1])})
		}
	}
	return out
}

var allFaults = []fault{
	{"none", func(*bench, *heart.Clip, float64) {}},
	{"one frame 20 % too wide", func(b *bench, c *heart.Clip, _ float64) { b.wide(c, 1.20, 1) }},
	{"one frame 40 % too wide", func(b *bench, c *heart.Clip, _ float64) { b.wide(c, 1.40, 1) }},
	{"one frame half as wide", func(b *bench, c *heart.Clip, _ float64) { b.wide(c, 0.5, 1) }},
	{"10 % of the frames without an outline", func(b *bench, c *heart.Clip, _ float64) { b.missing(c, 0.1) }},
	{"30 % of the frames without an outline", func(b *bench, c *heart.Clip, _ float64) { b.missing(c, 0.3) }},
	{"begins 150 ms after R, one beat", func(_ *bench, c *heart.Clip, _ float64) { c.Start, c.Length = 150, 1.1*c.Beats[0].RR }},
	{"begins 150 ms after R, three beats", func(_ *bench, c *heart.Clip, _ float64) { c.Start = 150 }},
	{"one beat from R to R", func(_ *bench, c *heart.Clip, _ float64) { c.Start, c.Length = 0, c.Beats[0].RR }},
	{"R to the end of systole", func(_ *bench, c *heart.Clip, _ float64) {
		c.Start, c.Length, c.Rate = 0, heart.Systole(c.Beats[0].RR), true
	}},
	{"R to the end of systole, last frame 30 % wide", func(_ *bench, c *heart.Clip, _ float64) {
		c.Start, c.Length, c.Rate = 0, heart.Systole(c.Beats[0].RR), true
		last := int(c.Length * c.FPS / 1000)
		c.Edit = func(i int, _ float64, f *result.Frame) {
			if i == last {
				widen(f, 1.3)
			}
		}
	}},
	{"R to the end of systole, no heart rate", func(_ *bench, c *heart.Clip, _ float64) {
		c.Start, c.Length = 0, heart.Systole(c.Beats[0].RR)
	}},
	{"mid to end of systole", func(_ *bench, c *heart.Clip, _ float64) {
		c.Start, c.Length, c.Rate = 150, heart.Systole(c.Beats[0].RR)-120, true
	}},
	{"R to mid systole", func(_ *bench, c *heart.Clip, _ float64) {
		c.Start, c.Length, c.Rate = 0, 0.6*heart.Systole(c.Beats[0].RR), true
	}},
	{"ends in the last systole", func(_ *bench, c *heart.Clip, _ float64) {
		c.Length = 2*c.Beats[0].RR + 150
		c.Start = c.Beats[0].RR * 0.8
	}},
	{"R waves stored", func(_ *bench, c *heart.Clip, _ float64) { c.RWaves = true }},
	{"R waves 200 ms late", func(b *bench, c *heart.Clip, _ float64) { c.RWaves = true; c.RDelay = 200 }},
	{"R waves at twice the rate", func(b *bench, c *heart.Clip, _ float64) { c.RWaves = true; c.RDouble = true }},
	{"atrial fibrillation", func(b *bench, c *heart.Clip, ef float64) { b.fibrillation(c, ef) }},
	{"one premature beat, EF 20 points lower", func(b *bench, c *heart.Clip, ef float64) { b.premature(c, ef, 20) }},
	{"one premature beat, EF 35 points lower", func(b *bench, c *heart.Clip, ef float64) { b.premature(c, ef, 35) }},
	{"leak at end-systole, good hinges", func(_ *bench, c *heart.Clip, _ float64) { c.Edit = every(true, leak) }},
	{"leak at end-systole, no hinges", func(_ *bench, c *heart.Clip, _ float64) {
		c.Edit = every(true, func(f *result.Frame) { leak(f); weakHinges(f) })
	}},
	{"leak throughout, good hinges", func(_ *bench, c *heart.Clip, _ float64) { c.Edit = every(false, leak) }},
	{"leak throughout, no hinges", func(_ *bench, c *heart.Clip, _ float64) {
		c.Edit = every(false, func(f *result.Frame) { leak(f); weakHinges(f) })
	}},
	{"hinges 12 mm too basal, leak", func(_ *bench, c *heart.Clip, _ float64) {
		c.Edit = every(false, func(f *result.Frame) {
			leak(f)
			for k := 1; k < 3; k++ {
				f.Keypoints[k].Y += 12 / heart.Spacing
			}
		})
	}},
	{"cavity split by a shadow", func(_ *bench, c *heart.Clip, _ float64) {
		c.Edit = every(false, func(f *result.Frame) { split(f) })
	}},
	{"lateral wall cut by the sector", func(b *bench, c *heart.Clip, _ float64) {
		x := heart.Columns/2 + 15 + 20*b.rng.Float64()
		c.Edit = every(false, cut(x))
		c.EditLoop = func(l *result.Loop) { l.Sector = heart.Narrowed(l.Sector, x) }
	}},
	// Where the wall is not in the picture the network draws the cavity smaller,
	// with a margin to the edge.
	{"sector narrowed, outline drawn inside it", func(b *bench, c *heart.Clip, _ float64) {
		x := heart.Columns/2 + 20 + 20*b.rng.Float64()
		c.Edit = every(false, cut(x-10/heart.Spacing*b.rng.Float64()))
		c.EditLoop = func(l *result.Loop) { l.Sector = heart.Narrowed(l.Sector, x) }
	}},
	{"lateral wall lost in a shadow at end-systole", func(_ *bench, c *heart.Clip, _ float64) {
		c.Edit = every(true, func(f *result.Frame) { shadow(f, 12) })
	}},
	{"ED in one picture, ES in another", func(_ *bench, c *heart.Clip, _ float64) {
		c.Edit = every(true, func(f *result.Frame) { shift(f, 120) })
	}},
	{"outline of another, larger picture throughout diastole", func(_ *bench, c *heart.Clip, _ float64) {
		c.Edit = func(_ int, phase float64, f *result.Frame) {
			if phase > 0.75 || phase < 0.1 {
				shift(f, 120)
				widen(f, 1.3)
			}
		}
	}},
	{"upside down", func(_ *bench, c *heart.Clip, _ float64) {
		c.Edit = every(false, func(f *result.Frame) {
			for i := range f.Contour {
				f.Contour[i][1] = heart.Rows - f.Contour[i][1]
			}
			for k := range f.Keypoints {
				f.Keypoints[k].Y = heart.Rows - f.Keypoints[k].Y
			}
		})
	}},
	{"a chamber that fills in systole", func(_ *bench, c *heart.Clip, _ float64) {
		c.Start = heart.Systole(c.Beats[0].RR) // R waves say so
		c.RWaves, c.RDelay = true, heart.Systole(c.Beats[0].RR)
	}},
}

func faults(b *bench) {
	fmt.Print("Faults; 25 to 60 frames per second, 50 to 100 beats per minute, EF 45 to 70, noise 1.5 %.\n\n")
	fmt.Printf("| fault | %s commonest reasons |\n|---|---|---|---|---|---|---|---|\n", columns)
	for _, f := range allFaults {
		var s score
		for range b.n {
			ef := 45 + 25*b.rng.Float64()
			c := b.clip(50+50*b.rng.Float64(), ef, 25+35*b.rng.Float64(), 0.015)
			f.make(b, &c, ef)
			b.measure(&s, c, ef)
		}
		fmt.Printf("| %s | %s | %s |\n", f.name, &s, s.why())
	}
}

// wide makes n neighbouring frames wider, anywhere in the loop.
func (b *bench) wide(c *heart.Clip, factor float64, n int) {
	at := b.rng.IntN(int(c.Length*c.FPS/1000) - n)
	c.Edit = func(i int, _ float64, f *result.Frame) {
		if i >= at && i < at+n {
			widen(f, factor)
		}
	}
}

func widen(f *result.Frame, factor float64) {
	cx := (f.Keypoints[1].X + f.Keypoints[2].X) / 2
	for i := range f.Contour {
		f.Contour[i][0] = cx + factor*(f.Contour[i][0]-cx)
	}
	for k := range f.Keypoints {
		f.Keypoints[k].X = cx + factor*(f.Keypoints[k].X-cx)
	}
	area(f)
}

func shift(f *result.Frame, by float64) {
	for i := range f.Contour {
		f.Contour[i][0] += by
	}
	for k := range f.Keypoints {
		f.Keypoints[k].X += by
	}
}

// split keeps the apical two thirds: a shadow cuts off the base.
func split(f *result.Frame) {
	base := f.Keypoints[1].Y
	top := f.Keypoints[0].Y
	at := top + 0.66*(base-top)
	for i := range f.Contour {
		f.Contour[i][1] = min(f.Contour[i][1], at)
	}
	f.Contour = dense(f.Contour)
	stray(f, 0.3)
	area(f)
}

// shadow draws the lateral wall by mm to the inside.
func shadow(f *result.Frame, mm float64) {
	cx := (f.Keypoints[1].X + f.Keypoints[2].X) / 2
	for i := range f.Contour {
		if f.Contour[i][0] > cx {
			f.Contour[i][0] = max(f.Contour[i][0]-mm/heart.Spacing, cx)
		}
	}
	f.Unseen = 0.45
	area(f)
}

func (b *bench) missing(c *heart.Clip, part float64) {
	lost := make([]bool, 2000)
	for i := range lost {
		lost[i] = b.rng.Float64() < part
	}
	c.Edit = func(i int, _ float64, f *result.Frame) {
		if lost[i] {
			f.Contour, f.LVArea, f.LVAreaPixels = nil, 0, 0
		}
	}
}

// fibrillation varies RR by 20 %, and EF with the length of the beat before.
// The EF of the clip is the mean of its beats: they are drawn so that it stays.
func (b *bench) fibrillation(c *heart.Clip, ef float64) {
	rr := c.Beats[0].RR
	c.Beats = nil
	sum := 0.0
	for range 12 {
		v := heart.Beat{RR: rr * (0.7 + 0.6*b.rng.Float64()), EDV: 117.81, EF: ef + 4*b.rng.NormFloat64()}
		sum += v.EF
		c.Beats = append(c.Beats, v)
	}
	for i := range c.Beats {
		c.Beats[i].EF += ef - sum/12
	}
	c.Start, c.Length, c.RWaves = rr/2, 8*rr, b.rng.IntN(2) == 0
}

// premature puts an ectopic beat with a pause among regular ones.
func (b *bench) premature(c *heart.Clip, ef, less float64) {
	rr := c.Beats[0].RR
	c.Beats = heart.Regular(60000/rr, ef, 117.81, 7)
	at := 2 + b.rng.IntN(2)
	c.Beats[at-1].RR = 0.65 * rr
	c.Beats[at] = heart.Beat{RR: 1.35 * rr, EF: max(ef-less, 5), EDV: 100, Ectopic: true}
	c.Beats[at+1].EF, c.Beats[at+1].Ectopic = min(ef+8, 85), true
	c.Start, c.Length, c.RWaves = 0.5*rr, 4.6*rr, b.rng.IntN(2) == 0
}
