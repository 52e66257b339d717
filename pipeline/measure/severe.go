package measure

import (
	"math"
	"slices"

	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/quantity"
	"github.com/echonode/echonode/pipeline/result"
)

// Own choice: an EF below severeEF is reported in words where it cannot be
// measured: where its uncertainty exceeds so large a part of it. Whoever prints
// only the EF that come out high enough, prints those that came out too high.
const (
	severeEF   = 20
	severePart = 0.25
)

// tooLow reports whether an EF is too low for a number: it may be below
// what can be measured at all, or what it is surely within is large beside it. The
// latter with the uncertainty of the noise itself: of simulated hearts of 10 and
// 12 % at 3 % of noise those would get a number, 2 to 3 points too high, whose noise
// was underestimated.
func (l *loop) tooLow(ef float64) bool {
	return tooLow(ef, l.precision(), l.surelyWithin(), l.o.LV.Quality)
}

func tooLow(ef, precision, surely float64, o lv.QualityOptions) bool {
	return ef-precision < o.SevereEF || ef < severeEF && surely > severePart*ef
}

// severelyReduced is the answer for a ventricle that moves too little for beats
// to be told from noise: "severely reduced", with the EF that the motion and
// its noise allow at most. It is nil where the curve allows more, where the
// picture stands still, or where there is no curve.
func (l *loop) severelyReduced() *result.Reason {
	r := l.rhythm
	if len(r.Smoothed) == 0 || r.Noise < 1e-4 || len(l.doubtfulOutlines()) > 0 {
		return nil
	}
	if len(lv.CheckFrameRate(l.times, l.HeartRate, l.o.LV.Quality)) > 0 {
		return nil // a fast heart looks still in too few frames
	}
	// The volume follows the area to the power of 1.5; half of the noise stays
	// in the smoothed curve.
	most := 100 * (1 - math.Pow(1-min(r.Range+r.Noise/2, 1), 1.5))
	if most > severeEF {
		return nil
	}
	return severe(most)
}

// meanEF is the EF of the mean volumes of the chosen beats.
func (l *loop) meanEF() float64 {
	edv, esv := 0.0, 0.0
	for _, b := range l.beats {
		edv, esv = edv+b.ed.VolumeML, esv+b.es.VolumeML
	}
	return lv.EF(edv, esv)
}

// tooStill reports whether the chosen beats move the ventricle too little for a number:
// an EF that is too low for one, and what then falls below all that can be by the noise alone.
func (l *loop) tooStill(s series) bool {
	q, _ := quantity.Of(s.name)
	switch s.name {
	case result.EF:
		return l.tooLow(s.value)
	case result.FAC, result.SV:
		return len(s.values) > 0 && s.value < q.Plausible.Lo && l.tooLow(l.meanEF())
	}
	return false
}

// severe is the answer for chosen beats whose EF is too low for a number.
func (l *loop) severe() *result.Reason { return severe(l.meanEF() + l.precision()) }

func severe(most float64) *result.Reason {
	return because(result.SeverelyReduced, "severely reduced, below what can be measured: EF is under about %.0f %%", math.Ceil(max(most, 5)/5)*5)
}

// doubtfulOutlines are findings on the outlines of the whole loop that forbid to
// call a ventricle severely reduced: outlines that leak or jump hide its motion.
func (l *loop) doubtfulOutlines() []lv.Finding {
	all := lv.Around{}
	areas := make([]float64, len(l.frames))
	for i, f := range l.frames {
		areas[i] = math.NaN()
		if f.used {
			all.Frames, areas[i] = append(all.Frames, i), f.plane.AreaMM2
		}
	}
	if len(all.Frames) == 0 {
		return nil
	}
	for range all.Frames {
		all.Weights = append(all.Weights, 1/float64(len(all.Frames)))
	}
	planes := make([]lv.Plane, len(all.Frames))
	for k, i := range all.Frames {
		planes[k] = l.frames[i].plane
	}
	mean := lv.MeanPlane(planes, all.Weights)
	out := l.checkPhase(lv.ED, all)
	out = append(out, lv.CheckPlanes(mean, mean, false, l.o.LV.Quality)...)
	out = append(out, lv.CheckAreaJumps(areas, l.times, l.o.LV.Quality)...)
	return slices.DeleteFunc(out, func(f lv.Finding) bool { return !hidesMotion(f) })
}

// hidesMotion reports whether a finding may be the reason why a ventricle seems
// to move little.
func hidesMotion(f lv.Finding) bool {
	return slices.Contains([]lv.Gate{lv.GateAnnulus, lv.GateShape, lv.GateLeak, lv.GateWall, lv.GateBorder, lv.GateFragments, lv.GateAreaJump, lv.GatePlace,
		lv.GateFrameRate}, f.Gate)
}
