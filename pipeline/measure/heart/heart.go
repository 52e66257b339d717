// Package heart simulates left ventricles as an analysis would see them: loops
// of contours and landmarks whose true volumes are known, with the noise,
// faults and rhythms that real loops have. Tests and the bench measure them.
//
// The cavity is half an ellipsoid of revolution, apex up, 0.5 mm per pixel. Its
// length follows the fourth root of the volume, so that it shortens by 20 % at
// an EF of 60 %. The volume over a beat is flat before ejection, falls to the
// end of systole (QS2, Weissler 1968), stays there for the isovolumic
// relaxation, and refills in an early and an atrial part.
package heart

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/pipeline/result"
)

// Beat is one heart beat.
type Beat struct {
	RR  float64 // to the next R wave, ms
	EF  float64 // per cent
	EDV float64 // mL
	// Ectopic marks beats that a reader would leave out: premature ones and
	// those that follow them.
	Ectopic bool
}

// Regular is a rhythm of n equal beats.
func Regular(rate, ef, edv float64, n int) []Beat {
	beats := make([]Beat, n)
	for i := range beats {
		beats[i] = Beat{RR: 60000 / rate, EF: ef, EDV: edv}
	}
	return beats
}

// Clip is how a heart was filmed.
type Clip struct {
	Beats []Beat
	View  string
	FPS   float64
	// Start is the time of the first frame after the first R wave, and Length
	// the time to the last one, in ms. A Length of 0 films all beats.
	Start, Length float64
	// Noise is the standard deviation of the area from frame to frame as a
	// part of it. As in the shipped network on real loops it lies mostly in
	// the width: the volume's is 1.8 times as large.
	Noise float64
	// Wide makes the cavity of this plane as much wider than a circle, for
	// biplane studies; 0 stands for 1.
	Wide float64
	// Foreshortened is the part of the length that the plane misses.
	Foreshortened float64
	// Stray is the standard deviation of the landmarks in mm.
	Stray float64
	Seed  uint64
	// Rate stores the heart rate with the loop, as the device shows it.
	Rate bool
	// RWaves stores the times of the R waves with the loop, RDelay ms late;
	// RDouble adds one in the middle of every beat, as a tall T wave does.
	RWaves, RDouble bool
	RDelay          float64
	// Edit changes a frame after it was drawn; phase is the time since the
	// last R wave over RR.
	Edit func(i int, phase float64, f *result.Frame)
	// EditLoop changes the loop after its frames.
	EditLoop func(l *result.Loop)
}

// Spacing in mm per pixel, and the size of the picture.
const (
	Spacing = 0.5
	Columns = 400
	Rows    = 300
)

// Systole is the time from the R wave to the end of systole in ms: QS2 =
// 546 - 2.1*rate (Weissler, Harris and Schoenfeld, Circulation 1968;37:149), but
// at least 45 % of the beat in hearts faster than that line's data.
func Systole(rr float64) float64 {
	if rr > 600 {
		return 546 - 2.1*60000/rr
	}
	return max(546-2.1*60000/rr, 0.45*rr)
}

// Volume at time t after the R wave, in mL.
func (b Beat) Volume(t float64) float64 {
	stroke := b.EDV * b.EF / 100
	return b.EDV - stroke*ejected(t, b.RR)
}

// ejected is the part of the stroke volume that is out of the cavity.
func ejected(t, rr float64) float64 {
	rise := func(from, to float64) float64 {
		u := min(max((t-from)/(to-from), 0), 1)
		return (1 - math.Cos(math.Pi*u)) / 2
	}
	systole := Systole(rr)
	contraction, relaxation := min(80, 0.12*rr), min(70, 0.1*rr)
	open := systole + relaxation
	if t < systole {
		return rise(contraction, systole)
	}
	diastole := rr - open
	if diastole < 300 { // early and atrial filling are one
		return 1 - rise(open, rr)
	}
	return 1 - 0.7*rise(open, open+170) - 0.3*rise(rr-130, rr)
}

// at finds the beat of a time after the first R wave.
func (c Clip) at(t float64) (b Beat, since float64) {
	for _, b = range c.Beats {
		if t < b.RR {
			return b, t
		}
		t -= b.RR
	}
	return b, b.RR // the last beat holds
}

// Loop films the heart. Its frames carry contours, landmarks and areas, as a
// loop has them before it is measured.
func (c Clip) Loop() result.Loop {
	if c.Length == 0 {
		c.Length = -c.Start
		for _, b := range c.Beats {
			c.Length += b.RR
		}
	}
	if c.View == "" {
		c.View = "A4C"
	}
	if c.Wide == 0 {
		c.Wide = 1
	}
	rng := rand.New(rand.NewPCG(c.Seed, 77))
	l := result.Loop{
		SOPInstanceUID: fmt.Sprintf("1.2.826.0.1.%d", 1000+c.Seed), SeriesInstanceUID: "1.2.826.0.1.1", SOPClassUID: uid.UltrasoundMultiFrameImageStorage,
		Status: result.Analysed, View: c.View, ViewProbability: 0.96, Rows: Rows, Columns: Columns, FrameTimeSource: "FrameTime",
		Region:  &result.Region{MaxX: Columns, MaxY: Rows},
		Sector:  Fan(),
		Spacing: result.Spacing{X: Spacing, Y: Spacing, Source: "region", Trusted: true},
	}
	for i := 0; ; i++ {
		t := float64(i) * 1000 / c.FPS
		if t > c.Length+1e-6 {
			break
		}
		l.FrameTimes = append(l.FrameTimes, t)
		b, since := c.at(c.Start + t)
		shape := Of(b.Volume(since), b.EDV)
		shape.Width *= c.Wide * (1 + 0.9*c.Noise*rng.NormFloat64())
		shape.Length *= (1 - c.Foreshortened) * (1 + 0.35*c.Noise*rng.NormFloat64())
		f := shape.Frame(i)
		for k := range f.Keypoints {
			f.Keypoints[k].X += c.Stray / Spacing * rng.NormFloat64()
			f.Keypoints[k].Y += c.Stray / Spacing * rng.NormFloat64()
		}
		if c.Edit != nil {
			c.Edit(i, since/b.RR, &f)
		}
		l.FrameResults = append(l.FrameResults, f)
	}
	l.Frames = len(l.FrameTimes)
	if c.Rate {
		l.HeartRate = 60000 / c.Beats[0].RR
	}
	// Some picture of its own, to be recognised by.
	l.Thumbnail = make([]byte, 256)
	for i := range l.Thumbnail {
		l.Thumbnail[i] = byte(rng.IntN(256))
	}
	if c.RWaves {
		r := -c.Start
		for _, b := range c.Beats {
			for _, t := range []float64{r + c.RDelay, r + c.RDelay + b.RR/2} {
				if t >= 0 && t <= c.Length {
					l.RWaves = append(l.RWaves, t)
				}
				if !c.RDouble {
					break
				}
			}
			r += b.RR
		}
	}
	if c.EditLoop != nil {
		c.EditLoop(&l)
	}
	return l
}

// Narrowed is a convex sector without what lies right of x.
func Narrowed(sector result.Contour, x float64) result.Contour {
	var out result.Contour
	for i, p := range sector {
		q := sector[(i+1)%len(sector)]
		if p[0] <= x {
			out = append(out, p)
		}
		if (p[0] < x) != (q[0] < x) && p[0] != q[0] {
			t := (x - p[0]) / (q[0] - p[0])
			out = append(out, [2]float64{x, p[1] + t*(q[1]-p[1])})
		}
	}
	return out
}

// Fan is the imaging sector: 90 degrees wide, from the middle of the picture's
// upper edge to its lower edge.
func Fan() result.Contour {
	fan := result.Contour{{Columns / 2, 0}}
	for i := range 25 {
		sin, cos := math.Sincos((45 + 90*float64(i)/24) * math.Pi / 180)
		fan = append(fan, [2]float64{Columns/2 + Rows*cos, Rows * sin})
	}
	return fan
}

// Shape of the cavity: half an ellipsoid of revolution, in mm; its volume is
// pi/6 * width^2 * length.
type Shape struct{ Width, Length float64 }

// Of is the shape of a heart that holds edv at end-diastole and now v, in mL.
// An EDV of 117.81 mL is 50 mm wide and 90 mm long.
func Of(v, edv float64) Shape {
	size := math.Cbrt(edv / (math.Pi / 6 * 5 * 5 * 9))
	part := v / edv
	return Shape{Width: 50 * size * math.Pow(part, 0.375), Length: 90 * size * math.Pow(part, 0.25)}
}

// Frame draws the shape with its apex at a fixed place, as hearts beat.
func (s Shape) Frame(index int) result.Frame {
	const cx, apexY = Columns / 2, 40.0
	w, h := s.Width/Spacing, s.Length/Spacing
	base := apexY + h
	f := result.Frame{Index: index, Confidence: 0.95}
	const arc, line = 64, 12
	for i := range arc + 1 {
		sin, cos := math.Sincos(math.Pi + math.Pi*float64(i)/arc)
		f.Contour = append(f.Contour, [2]float64{cx + w/2*cos, base + h*sin})
	}
	for i := 1; i < line; i++ {
		f.Contour = append(f.Contour, [2]float64{cx + w/2 - w*float64(i)/line, base})
	}
	f.LVAreaPixels = math.Pi / 4 * w * h
	f.LVArea = f.LVAreaPixels * Spacing * Spacing / 100
	f.Keypoints = []result.Keypoint{
		{Name: "apex", X: cx, Y: apexY, Confidence: 0.9},
		{Name: "mitral_septal", X: cx - w/2, Y: base, Confidence: 0.9},
		{Name: "mitral_lateral", X: cx + w/2, Y: base, Confidence: 0.9},
	}
	return f
}
