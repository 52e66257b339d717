package main

import (
	"fmt"

	"github.com/echonode/echonode/pipeline/measure"
	"github.com/echonode/echonode/pipeline/measure/heart"
	"github.com/echonode/echonode/pipeline/result"
)

// pair is a four- and a two-chamber loop of one study.
type pair struct {
	name string
	make func(b *bench, four, two *heart.Clip, ef float64)
	edit func(four, two *result.Loop)
}

var allPairs = []pair{
	{"alike", func(*bench, *heart.Clip, *heart.Clip, float64) {}, nil},
	{"A2C at twice the heart rate", func(b *bench, _, two *heart.Clip, ef float64) {
		*two = b.clip(60000/two.Beats[0].RR*2, ef, two.FPS, two.Noise)
		two.View = "A2C"
	}, nil},
	{"A2C with an EF 30 points lower", func(b *bench, _, two *heart.Clip, ef float64) {
		for i := range two.Beats {
			two.Beats[i].EF -= 30
		}
	}, nil},
	{"A2C 25 % shorter", func(_ *bench, _, two *heart.Clip, _ float64) { two.Foreshortened = 0.25 }, nil},
	{"A4C not calibrated", func(*bench, *heart.Clip, *heart.Clip, float64) {}, func(four, _ *result.Loop) {
		four.Spacing = result.Spacing{Aspect: 1}
	}},
	{"A2C is the A4C loop mirrored", func(_ *bench, four, two *heart.Clip, _ float64) { *two = *four; two.View = "A2C" }, func(four, two *result.Loop) {
		two.SOPInstanceUID += ".2"
		const side = measure.ThumbnailSide
		for i, v := range four.Thumbnail {
			two.Thumbnail[i/side*side+side-1-i%side] = v
		}
		for k := range two.FrameResults {
			f := &two.FrameResults[k]
			for i := range f.Contour {
				f.Contour[i][0] = heart.Columns - 1 - f.Contour[i][0]
			}
			for i := range f.Keypoints {
				f.Keypoints[i].X = heart.Columns - 1 - f.Keypoints[i].X
			}
			f.Keypoints[1].X, f.Keypoints[2].X = f.Keypoints[2].X, f.Keypoints[1].X
		}
	}},
	{"one foreshortened A4C beside a true one", nil, nil},
}

func pairs(b *bench) {
	fmt.Print("Studies of a four- and a two-chamber loop; 30 to 60 frames per second, 55 to 90 beats per minute, EF 45 to 70, noise 1.5 %.\n\n")
	fmt.Printf("| pair | %s commonest reasons |\n|---|---|---|---|---|---|---|---|\n", columns)
	for _, p := range allPairs {
		s := b.pair(p)
		fmt.Printf("| %s | %s | %s |\n", p.name, &s, s.why())
	}
}

// pair measures studies of one family.
func (b *bench) pair(p pair) score {
	var s score
	for range max(b.n/2, 20) {
		ef := 45 + 25*b.rng.Float64()
		rate, fps := 55+35*b.rng.Float64(), 30+30*b.rng.Float64()
		four, two := b.clip(rate, ef, fps, 0.015), b.clip(rate, ef, fps, 0.015)
		two.View = "A2C"
		study := result.Study{StudyInstanceUID: "1.2.3"}
		if p.make == nil {
			short := b.clip(rate, ef, fps, 0.015)
			short.Foreshortened = 0.25
			study.Loops = []result.Loop{short.Loop(), four.Loop()}
		} else {
			p.make(b, &four, &two, ef)
			study.Loops = []result.Loop{four.Loop(), two.Loop()}
			if p.edit != nil {
				p.edit(&study.Loops[0], &study.Loops[1])
			}
		}
		for i := range study.Loops {
			measure.Loop(&study.Loops[i], b.options)
		}
		measure.Study(&study, b.options)
		s.add(find(study.Measurements, result.EF), find(study.Measurements, result.EDV), ef, 117.81)
	}
	return s
}
