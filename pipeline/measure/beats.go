package measure

import (
	"errors"
	"math"
	"slices"

	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/result"
)

// findBeats looks for heart beats in a curve, one value per frame, and records
// them; without any it says why.
func (l *loop) findBeats(curve []float64) *result.Reason {
	if reason := l.untimed(); reason != nil {
		return reason
	}
	options := l.o.LV.Beats
	options.RWaveMS, options.HeartRateBPM, options.RateOfRWaves = l.RWaves, l.HeartRate, l.rateOfRWaves()
	if options.Cuts = l.Cuts; len(l.Cuts) > 0 {
		options.RWaveMS = nil // nobody knows of which time they are
		if options.RateOfRWaves {
			options.HeartRateBPM = 0
		}
	}
	rhythm, err := lv.FindBeats(curve, l.times, options)
	if beats, ok := l.readersBeats(); ok {
		rhythm.Beats, err = beats, nil
		l.Curve = &result.Curve{}
	}
	l.rhythm = rhythm
	if len(rhythm.Smoothed) > 0 {
		l.Curve = &result.Curve{Smoothed: rhythm.Smoothed, Removed: rhythm.Removed, Noise: result.Round(rhythm.Noise, 6), Range: result.Round(rhythm.Range, 6)}
		l.rhythm.Noise, l.rhythm.Range = l.Curve.Noise, l.Curve.Range
	}
	for _, n := range rhythm.Notes {
		l.Warnings = append(l.Warnings, result.Reason{Code: result.Rhythm, Text: n})
	}
	if err != nil {
		return l.noBeat(err)
	}
	for _, b := range rhythm.Beats {
		l.Beats = append(l.Beats, result.Beat{ED: b.ED, ES: b.ES, NextED: b.NextED,
			BeforeMS: result.Round(b.BeforeMS, 3), AfterMS: result.Round(b.AfterMS, 3), Partial: b.Clipped || b.Crossed || b.Late})
	}
	return nil
}

// untimed is why no beats can be looked for in a loop, whatever it shows.
func (l *loop) untimed() *result.Reason {
	if len(l.frames) == 1 {
		return because(result.SingleFrame, "a single frame has no heart beat")
	}
	if len(l.FrameTimes) == len(l.frames) {
		return nil
	}
	for _, w := range l.Warnings {
		if w.Code == result.FrameTimes {
			return because(result.NoFrameTimes, "the object does not say when its frames were taken: %s", w.Text)
		}
	}
	return because(result.NoFrameTimes, "the object does not say when its frames were taken")
}

// noBeat is the reason for an error of [lv.FindBeats]: a ventricle that hardly
// moves is told as such.
func (l *loop) noBeat(err error) *result.Reason {
	var none *lv.NoBeatError
	if errors.As(err, &none) && (none.Reason == lv.CurveFlat || none.Reason == lv.CurveNoisy) {
		if r := l.severelyReduced(); r != nil {
			return r
		}
	}
	return because(result.NoBeat, "%v", err)
}

// rateOfRWaves reports whether the loop's heart rate is that of its R waves.
func (l *loop) rateOfRWaves() bool {
	n := len(l.RWaves)
	if n < 2 || l.RWaves[n-1] <= l.RWaves[0] {
		return false
	}
	return math.Abs(60000*float64(n-1)/(l.RWaves[n-1]-l.RWaves[0])-l.HeartRate) < 0.5
}

// Own choice: the rates of the motion and of the device may differ by so much.
const rateTolerance = 0.15

// Own choice: a beat, as far as the clip shows it, may be so many times as long as
// the stored heart rate says. The next contraction is seen by a fall of the curve of
// so large a part of this one.
const longBeat, nextFall = 1.3, 0.15

// doubts are findings about time and rhythm: contradicting frame times, R waves
// and heart rates that do not fit the motion.
func (l *loop) doubts() []lv.Finding {
	var out []lv.Finding
	warn := func(g lv.Gate, r result.Reason) {
		out = append(out, lv.Finding{Gate: g, Severity: lv.Warn, Frame: -1, Reason: r.Text})
	}
	for _, w := range l.Warnings {
		switch w.Code {
		case result.FrameTimes:
			warn(result.FrameTimes, result.Reasonf("", "the frame times are in doubt: %s", w.Text))
		case result.Rhythm, result.HeartRateDoubt, result.FrameCount, result.Regions, result.Scale, result.ViewName, result.Derived,
			result.StageUnknown, result.NotHuman, result.Contrast, result.Repeated, result.Drawn, result.SeveralClips, result.Unfamiliar,
			result.Inverse:
			warn(lv.Gate(w.Code), w)
		}
	}
	if l.rhythm.Weak != "" {
		warn(lv.GateWeakBeats, result.Reason{Text: l.rhythm.Weak})
	}
	if l.rhythm.SomeWeak != "" {
		warn(lv.GateSomeWeakBeats, result.Reason{Text: l.rhythm.SomeWeak})
	}
	if ms := l.contractionMS(); ms > longContraction {
		warn(result.FrameTimes, result.Reasonf("", "the frame times are in doubt: the cavity takes %.0f ms to empty, longer than a heart's", ms))
	}
	if before, after, ok := l.rateChange(); ok {
		warn(result.LoopsDisagree, result.Reasonf("", "the heart rate changes at once from %.0f to %.0f beats per minute: rest and stress may be one loop", before,
			after))
	}
	motion, device := l.rhythm.HeartRate, l.HeartRate
	if l.rhythm.HeartRateSource == lv.RateFromCurve && device > 0 && math.Abs(motion-device) > rateTolerance*device && !l.rateOfRWaves() &&
		!l.weakBeats() {
		warn(result.Rhythm, result.Reasonf("", "the motion shows %.0f beats per minute, the device says %.0f: frame times or rhythm are in doubt", motion, device))
	}
	if l.slowerMotion() {
		warn(result.Rhythm, result.Reasonf("", "the motion is slower than %.0f beats per minute: heart rate, frame times or rhythm are in doubt", motion))
	}
	for _, b := range l.rhythm.Beats {
		if rr := max(b.BeforeMS, b.AfterMS); rr > 0 && 60000/rr > l.o.LV.Beats.MaxRate {
			warn(result.FrameTimes, result.Reasonf("", "the motion shows %.0f beats per minute, more than a heart has: the frame times are in doubt", 60000/rr))
			break
		}
	}
	return out
}

// Own choice: the cavity falls from 90 to 10 % of its way within so many ms. Of simulated
// hearts at 35 beats per minute, whose systole (QS2) takes 470 ms, it takes 250 ms in the
// smoothed curve, and 60 ms more where ejection is prolonged as never (aortic stenosis,
// left bundle branch block).
// In a curve whose range is less than surelyRange times its noise that is noise.
const longContraction, surelyRange = 340, 8

// contractionMS is the median time of the contractions that are seen whole, 0 without any.
func (l *loop) contractionMS() float64 {
	if l.rhythm.Range < surelyRange*l.rhythm.Noise {
		return 0
	}
	var ms []float64
	for _, b := range l.rhythm.Beats {
		if b.Clipped || b.Crossed || b.Late {
			continue
		}
		if v := lv.ContractionMS(l.rhythm.Smoothed, l.times, b.ED, b.ES); v > 0 {
			ms = append(ms, v)
		}
	}
	if len(ms) == 0 {
		return 0
	}
	return lv.Median(ms)
}

// Own choice: of two rates of one loop each has at least leastOfRate intervals, both together mostOfRates,
// which differ by no more than steadyRate of their mean; up to betweenRates between them are of neither, as
// where one recording ends and another begins within a beat.
const (
	leastOfRate, mostOfRates = 2, 6
	steadyRate               = 0.1
	betweenRates             = 2
)

// rateChange looks for a steady rate that gives way at once to another as different as those at
// rest and under stress, in beats per minute.
func (l *loop) rateChange() (before, after float64, ok bool) {
	var rr []float64
	for i, b := range l.rhythm.Beats {
		if b.BeforeMS > 0 {
			rr = append(rr, b.BeforeMS)
		}
		if i == len(l.rhythm.Beats)-1 && b.AfterMS > 0 {
			rr = append(rr, b.AfterMS)
		}
	}
	steady := func(s lv.Summary) bool { return s.N >= leastOfRate && s.Max-s.Min <= steadyRate*s.Mean }
	for n := leastOfRate; n < len(rr); n++ {
		for left := 0; left <= betweenRates && n+left < len(rr); left++ {
			a, b := lv.Summarize(rr[:n]), lv.Summarize(rr[n+left:])
			if steady(a) && steady(b) && a.N+b.N >= mostOfRates && math.Abs(a.Mean-b.Mean) > rejectRates*max(a.Mean, b.Mean) {
				return 60000 / a.Mean, 60000 / b.Mean, true
			}
		}
	}
	return 0, 0, false
}

// slowerMotion reports whether a beat, as far as the clip shows it, is longer than the
// heart rate allows that the device stored.
func (l *loop) slowerMotion() bool {
	rate := l.rhythm.HeartRate
	if l.rhythm.HeartRateSource != lv.RateFromDevice || l.weakBeats() {
		return false
	}
	for _, b := range l.rhythm.Beats {
		last := l.times[l.untilCut(b.ED)]
		if c := l.rhythm.Smoothed; b.NextED >= 0 && (len(c) == 0 || c[b.NextED]-slices.Min(c[b.NextED:]) > nextFall*(c[b.ED]-c[b.ES])) {
			last = l.times[b.NextED] // the next contraction begins there
		}
		systole, whole := l.times[b.ES]-l.times[b.ED], last-l.times[b.ED]
		if period := 60000 / rate; !b.Crossed && (systole > l.o.LV.Beats.MaxSystoleFraction*period || whole > longBeat*period) {
			return true
		}
	}
	return false
}

// untilCut is the last frame that follows a frame without a cut.
func (l *loop) untilCut(i int) int {
	last := len(l.times) - 1
	for _, cut := range l.Cuts {
		if cut > i {
			last = min(last, cut-1)
		}
	}
	return last
}

// weakBeats reports whether beats may have contracted too little to be found.
func (l *loop) weakBeats() bool { return l.rhythm.Weak != "" || l.rhythm.SomeWeak != "" }
