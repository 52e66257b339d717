package measure

import (
	"errors"

	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/result"
)

// findBeats looks for heart beats in a curve and records them; without any it
// lists every quantity as not measured, with the reason.
func (l *loop) findBeats(curve []float64, o lv.Options, quantities []series) bool {
	none := func(r result.Reason) bool {
		for _, s := range quantities {
			l.Measurements = append(l.Measurements, l.missing(s, r))
		}
		l.addHeartRate()
		return false
	}
	if len(l.frames) == 1 {
		return none(result.Reasonf(result.SingleFrame, "a single frame has no heart beat"))
	}
	if len(l.FrameTimes) != len(l.frames) {
		return none(result.Reasonf(result.NoFrameTimes, "the object does not say when its frames were taken"))
	}
	options := o.Beats
	options.RWaveMS, options.HeartRateBPM = l.RWaves, l.HeartRate
	rhythm, err := lv.FindBeats(curve, l.FrameTimes, options)
	l.rhythm = rhythm
	if len(rhythm.Smoothed) > 0 {
		l.Curve = &result.Curve{Smoothed: rhythm.Smoothed, Removed: rhythm.Spikes}
	}
	for _, n := range rhythm.Notes {
		l.Warnings = append(l.Warnings, result.Reason{Code: result.Rhythm, Text: n})
	}
	var noBeat *lv.NoBeatError
	if errors.As(err, &noBeat) {
		return none(result.Reason{Code: result.NoBeat, Text: noBeat.Error()})
	}
	if err != nil {
		return none(result.Reasonf(result.NoBeat, "%v", err))
	}
	for _, b := range rhythm.Beats {
		l.Beats = append(l.Beats, result.Beat{ED: b.ED, ES: b.ES, NextED: b.NextED})
	}
	return true
}
