package measure

import (
	"errors"
	"fmt"
	"math"

	"github.com/echonode/echonode/pipeline/internal/longaxis"
	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/quantity"
	"github.com/echonode/echonode/pipeline/result"
)

// linearNames are the quantities of a parasternal long-axis loop.
func linearNames() []series {
	return []series{
		{name: result.IVSd, unit: result.UnitLength, method: result.Linear, needsCalibration: true, phase: lv.ED},
		{name: result.LVIDd, unit: result.UnitLength, method: result.Linear, needsCalibration: true, phase: lv.ED},
		{name: result.LVPWd, unit: result.UnitLength, method: result.Linear, needsCalibration: true, phase: lv.ED},
		{name: result.LVIDs, unit: result.UnitLength, method: result.Linear, needsCalibration: true, phase: lv.ES},
		{name: result.FS, unit: result.UnitPercent, method: result.Linear},
		{name: result.Mass, unit: result.UnitMass, method: result.Cube, needsCalibration: true, phase: lv.ED},
		{name: result.RWT, unit: result.UnitRatio, method: result.Linear, phase: lv.ED},
	}
}

// linearValues are the values of linearNames for dimensions in mm at both
// phases.
func linearValues(d, s lv.Linear) []float64 {
	return []float64{d.IVSmm / 10, d.LVIDmm / 10, d.PWmm / 10, s.LVIDmm / 10, lv.FS(d.LVIDmm, s.LVIDmm),
		lv.CubeMass(d.IVSmm/10, d.LVIDmm/10, d.PWmm/10), lv.RWT(d.PWmm, d.LVIDmm)}
}

// Why four points cannot be the walls of the parasternal long axis.
var (
	ErrOrder       = errors.New("the points do not follow each other from the right side of the septum to the outside of the posterior wall")
	ErrImplausible = errors.New("a wall or cavity of this size cannot be")
)

// Walls checks four points of the parasternal long axis, in the frame's pixels:
// that they follow each other along their line, the septum nearer to the transducer
// in the middle of the region's upper edge, and, where the loop is
// calibrated, that septum, cavity and posterior wall have sizes that can be, at
// either phase ([quantity.Quantity.Plausible]). The error wraps [ErrOrder] or
// [ErrImplausible].
func Walls(l *result.Loop, c lv.Calipers) error { return wallsOf(l, c, c.Measure(longaxis.Spacing(l))) }

func wallsOf(l *result.Loop, c lv.Calipers, d lv.Linear) error {
	s := longaxis.Spacing(l)
	transducer := *longaxis.Options(l, lv.AxisOptions{}).ApexSide
	if d.Disordered || s.Distance(transducer, c.IVSRight) > s.Distance(transducer, c.PWOuter) {
		return ErrOrder
	}
	if !l.Spacing.Trusted {
		return nil
	}
	ivs, _ := quantity.Of(result.IVSd)
	pw, _ := quantity.Of(result.LVPWd)
	diastole, _ := quantity.Of(result.LVIDd)
	systole, _ := quantity.Of(result.LVIDs)
	cavity := quantity.Range{Lo: systole.Plausible.Lo, Hi: diastole.Plausible.Hi}
	for _, p := range []struct {
		name string
		r    quantity.Range
		mm   float64
	}{{"septum", ivs.Plausible, d.IVSmm}, {"cavity", cavity, d.LVIDmm}, {"posterior wall", pw.Plausible, d.PWmm}} {
		if !p.r.Holds(p.mm / 10) {
			return fmt.Errorf("%w: %s of %.2f cm", ErrImplausible, p.name, p.mm/10)
		}
	}
	return nil
}

// maxGrowth is how much larger than at end-diastole the cavity, by its diameter or its
// area, may be at end-systole: more than a ventricle that does not move, and its measurement,
// explain (own choice). Beyond, the phases or their points are interchanged.
const maxGrowth = 1.1

// measureLinear measures a parasternal long-axis loop by its four points. As
// with volumes, several frames around each phase count, and what is derived
// follows from the mean dimensions over the beats. Where a reader placed the
// points of a beat, and the network's have not been shown to be good enough, the
// reader's alone are measured. A reason says why nothing is measured.
func (l *loop) measureLinear() *result.Reason {
	some, byReader := l.placed()
	if !l.o.WallPoints && some && !byReader {
		return because(result.NoBeat, "the wall points were not placed at both end-diastole and end-systole of a beat")
	}
	if !l.o.WallPoints && !byReader {
		return because(result.NotValidated, "the model's parasternal points have not been shown to be accurate enough to measure with")
	}
	w := l.measureWalls()
	if n := len(w.curve); !byReader && n > 1 && float64(w.seen) < (1-l.o.LV.Beats.MaxMissing)*float64(n) {
		return because(result.LowConfidence, "the four wall points were found with enough confidence in %d of %d frames only", w.seen, n)
	}
	if reason := l.findBeats(w.curve); reason != nil {
		return reason
	}
	l.drop(l.rhythm.Removed)
	values := l.linearSeries(&w)
	findings := lv.CheckView(l.ViewProbability, l.o.LV.Quality)
	findings = append(findings, lv.CheckFrameRate(l.times, l.rhythm.HeartRate, l.o.LV.Quality)...)
	findings = append(findings, lv.CheckClipped(l.rhythm.Beats)...)
	findings = append(findings, l.doubts()...)
	if l.trusts() {
		findings = remarks(findings)
	}
	findings = append(findings, w.drawn...)
	findings = append(findings, l.checkSizes(values)...)
	if len(l.beats) == 0 {
		findings = append(w.refused, findings...) // why there is no beat
	}
	l.report(values, findings)
	l.addHeartRate(findings)
	return nil
}

// walls is what the wall points of the frames of a loop give.
type walls struct {
	dims  []lv.Linear // of every frame that counts
	curve []float64   // the cavity in mm; NaN in a frame that does not count
	seen  int         // frames that count
	// drawn is what is remarked on of points that a reader placed, refused why
	// frames and beats do not count.
	drawn, refused []lv.Finding
}

// measureWalls measures the wall points of every frame. Where the network's have
// not been shown to be good enough only those that a reader placed count.
func (l *loop) measureWalls() walls {
	w := walls{dims: make([]lv.Linear, len(l.frames)), curve: make([]float64, len(l.frames))}
	for i := range l.frames {
		w.curve[i] = math.NaN()
		if !l.o.WallPoints && !l.byReader(i) {
			continue
		}
		c, ok := longaxis.Calipers(l.frames[i].keypoints, l.o.LV.Axis.MinConfidence)
		if !ok {
			continue
		}
		w.dims[i] = c.Measure(l.spacing)
		if err := wallsOf(l.Loop, c, w.dims[i]); err != nil {
			w.refused = append(w.refused, lv.Finding{Gate: result.ImplausibleValue, Severity: lv.Reject, Frame: i, Reason: err.Error()})
			continue
		}
		findings := lv.CheckCalipers(w.dims[i], i, l.o.LV.Quality)
		if l.byReader(i) {
			findings = remarks(findings)
			w.drawn = append(w.drawn, findings...)
		}
		if !lv.Rejected(findings) {
			w.curve[i], l.frames[i].used = w.dims[i].LVIDmm, true
			w.seen++
		}
	}
	return w
}

// linearSeries measures both phases of every beat, and returns the quantities
// with their values of each beat, and of the mean dimensions over the beats.
func (l *loop) linearSeries(w *walls) []series {
	all := linearNames()
	var ds, ss []lv.Linear
	for i, b := range l.rhythm.Beats {
		if !l.frames[b.ED].used || !l.frames[b.ES].used {
			l.Beats[i].Rejected = because(result.LowConfidence, "no trusted points at end-diastole or end-systole")
			continue
		}
		d, s := l.meanLinear(w.dims, b.ED, b), l.meanLinear(w.dims, b.ES, b)
		if r := l.grown(d.LVIDmm/10, s.LVIDmm/10, result.UnitLength); r != nil {
			l.Beats[i].Rejected = r
			w.refused = append(w.refused, lv.Finding{Gate: lv.Gate(r.Code), Severity: lv.Reject, Frame: b.ES, Reason: r.Text})
			continue
		}
		ds, ss = append(ds, d), append(ss, s)
		l.beats = append(l.beats, beat{Beat: b, index: i})
		for k, v := range linearValues(d, s) {
			all[k].values = append(all[k].values, v)
		}
	}
	if len(l.beats) > 0 {
		for k, v := range linearValues(mean(ds), mean(ss)) {
			all[k].value = v
		}
	}
	return all
}

// grown is why a beat whose cavity has a larger diameter or area at end-systole, s, than
// at end-diastole, d, does not count.
func (l *loop) grown(d, s float64, unit string) *result.Reason {
	if !(s > maxGrowth*d) {
		return nil
	}
	if !l.Spacing.Trusted {
		return because(result.ImplausibleValue, "the cavity is larger at end-systole than at end-diastole: are the phases interchanged?")
	}
	return because(result.ImplausibleValue, "the cavity is larger at end-systole (%.1f %s) than at end-diastole (%.1f %s): are the phases interchanged?",
		s, unit, d, unit)
}

// meanLinear averages the dimensions of the frames around a frame.
func (l *loop) meanLinear(dims []lv.Linear, at int, b lv.Beat) lv.Linear {
	around := l.around(at, b)
	var m lv.Linear
	for k, i := range around.Frames {
		w := around.Weights[k]
		m.IVSmm += w * dims[i].IVSmm
		m.LVIDmm += w * dims[i].LVIDmm
		m.PWmm += w * dims[i].PWmm
	}
	return m
}

func mean(v []lv.Linear) lv.Linear {
	var m lv.Linear
	for _, d := range v {
		m.IVSmm += d.IVSmm / float64(len(v))
		m.LVIDmm += d.LVIDmm / float64(len(v))
		m.PWmm += d.PWmm / float64(len(v))
	}
	return m
}
