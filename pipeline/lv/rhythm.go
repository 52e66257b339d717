package lv

import (
	"math"
	"slices"
)

// Kind says what a beat is by its place in the rhythm.
type Kind string

// The kinds of beats. A premature beat fills and ejects less than the others,
// the one after it more; neither stands for the rhythm.
const (
	Regular     Kind = ""
	Premature   Kind = "premature"
	PostEctopic Kind = "post-ectopic"
)

// Limits of ClassifyBeats, own choice: sinus arrhythmia stays within 15 % of
// the median, and where a third of the beats come early, or the others still
// vary by 10 %, no beat is an exception.
const (
	prematurePart   = 0.85
	ectopicShare    = 0.34
	irregularSpread = 0.10
)

// ClassifyBeats names beats by the interval between them and the beat before,
// in ms, 0 where it is unknown; after is the interval that the last beat
// begins. irregular says that the rhythm as a whole varies, as in atrial
// fibrillation: every beat is then one like the others.
func ClassifyBeats(before []float64, after float64) (kinds []Kind, irregular bool) {
	kinds = make([]Kind, len(before))
	known := slices.DeleteFunc(append(slices.Clone(before), after), func(v float64) bool { return !(v > 0) })
	if len(known) < 2 {
		return kinds, false
	}
	typical := median(known)
	early := 0
	for i, v := range before {
		switch {
		case v > 0 && v < prematurePart*typical:
			kinds[i] = Premature
			early++
		case i > 0 && kinds[i-1] == Premature:
			kinds[i] = PostEctopic
		}
	}
	var rest []float64
	for i, v := range append(slices.Clone(before), after) {
		exception := i < len(kinds) && kinds[i] != Regular || i == len(kinds) && kinds[i-1] == Premature
		if v > 0 && !exception {
			rest = append(rest, v)
		}
	}
	s := Summarize(rest)
	if float64(early) > ectopicShare*float64(len(before)) || s.N > 2 && s.SD > irregularSpread*s.Mean {
		clear(kinds)
		all := Summarize(known)
		return kinds, all.N > 2 && all.SD > irregularSpread*all.Mean
	}
	return kinds, false
}

// OddBeats finds beats whose EF is far from the others' without a reason in the
// rhythm: more than limit points, and more than three times the usual
// deviation, from the median of at least three. They are a third at most: where
// more are, as in pulsus alternans, none stands for the others.
func OddBeats(efs []float64, limit float64) []int {
	if len(efs) < 3 {
		return nil
	}
	m := median(efs)
	deviations := make([]float64, len(efs))
	for i, v := range efs {
		deviations[i] = math.Abs(v - m)
	}
	limit = max(limit, 3*1.4826*median(deviations))
	var odd []int
	for i, d := range deviations {
		if d > limit {
			odd = append(odd, i)
		}
	}
	if 3*len(odd) > len(efs) {
		return nil
	}
	return odd
}
