package lv

import (
	"fmt"
	"slices"
)

// Limits of the time from an R peak to the largest area, in ms: contraction
// begins some 50 ms after R, and the area is level around it. Own choice.
const (
	earliestAfterR = -100
	latestAfterR   = 130
)

// Own choice: R peaks without a contraction between two with one that are less than so
// many usual intervals apart were miscounted, as T waves are; a premature beat that
// hardly contracts lies between two that are two apart, less what its pause lacks.
const twoBeats = 1.3

// rPeaks are stored R peaks sorted by what the curve shows of them.
type rPeaks struct {
	all   []float64
	with  int       // of which the clip shows to have a contraction before the next
	weak  []float64 // without a contraction, as far from the others as beats are
	extra []float64 // without a contraction, miscounted as far as one can tell
}

// sortPeaks looks which R peaks have a contraction of their own.
func (f *finder) sortPeaks(peaks []float64) rPeaks {
	p := rPeaks{all: peaks}
	if len(peaks) < 2 {
		return p
	}
	has := make([]bool, len(peaks))
	first, last, period := f.t[0], f.t[len(f.t)-1], median(differences(peaks))
	moments := f.contractions()
	for i, r := range peaks {
		next := r + period
		if i+1 < len(peaks) {
			next = peaks[i+1]
		}
		switch {
		case r < first || next > last || f.across(r, next, 0):
		case slices.ContainsFunc(moments, func(m float64) bool { return m > r && m <= next }):
			p.with++
		default:
			continue
		}
		has[i] = true
	}
	var usual []float64 // intervals from one with a contraction to the next
	for i := 1; i < len(peaks); i++ {
		if has[i-1] && has[i] {
			usual = append(usual, peaks[i]-peaks[i-1])
		}
	}
	for i := 0; i < len(peaks); {
		from := i
		for i < len(peaks) && !has[i] {
			i++
		}
		between := from > 0 && i < len(peaks) // two with a contraction
		if between && len(usual) > 0 && peaks[i]-peaks[from-1] >= twoBeats*median(usual) {
			p.weak = append(p.weak, peaks[from:i]...)
		} else {
			p.extra = append(p.extra, peaks[from:i]...)
		}
		i++
	}
	if 2*len(p.weak) > p.with { // every second one is another matter
		p.extra, p.weak = append(p.extra, p.weak...), nil
		slices.Sort(p.extra)
	}
	return p
}

// near are the R peaks within the clip.
func (f *finder) near(peaks []float64) (in []float64) {
	for _, r := range peaks {
		if r >= f.t[0] && r <= f.t[len(f.t)-1] {
			in = append(in, r)
		}
	}
	return in
}

// withoutExtra leaves out the miscounted peaks, where they are few and lie between
// two others.
func (p rPeaks) withoutExtra() []float64 {
	if len(p.extra) == 0 || 2*len(p.extra) >= p.with {
		return p.all
	}
	return slices.DeleteFunc(slices.Clone(p.all), func(r float64) bool {
		return r != p.all[0] && r != p.all[len(p.all)-1] && slices.Contains(p.extra, r)
	})
}

// doubt compares R peaks with the beats that the curve alone shows. Most
// of the curve's ED must lie at a peak, most peaks within the curve's beats must
// belong to one of them, and the beats at the peaks must not be clearly smaller
// than the curve's, those of peaks known to be weak aside. It returns what is wrong,
// or "".
func (f *finder) doubt(p rPeaks, byPeaks, byCurve []Beat) string {
	if len(byPeaks) == 0 {
		return "the stored R waves fit no contraction: the motion alone was used"
	}
	if len(byCurve) == 0 {
		return ""
	}
	strong := slices.DeleteFunc(slices.Clone(byPeaks), func(b Beat) bool {
		return slices.ContainsFunc(p.weak, func(r float64) bool {
			return f.t[b.ED] >= r-f.o.RWindowBeforeMS && f.t[b.ED] <= r+f.o.RWindowAfterMS
		})
	})
	if len(strong) > 0 && meanChange(strong) < 0.75*meanChange(byCurve) {
		return "the stored R waves do not fit the motion and were not used"
	}
	// A third without, and more: T waves were counted, or the beats do not move it.
	if without := len(p.extra); 3*without >= without+p.with && without > 0 {
		return unfollowed(without, p.with+without, len(p.all))
	}
	var eds []float64
	for _, b := range byCurve {
		if b.EDFrom != AtClipStart {
			eds = append(eds, f.t[b.ED])
		}
		if b.NextED >= 0 {
			eds = append(eds, f.t[b.NextED])
		}
	}
	slices.Sort(eds)
	eds = slices.Compact(eds)
	if len(eds) == 0 {
		return ""
	}
	if within := slices.DeleteFunc(slices.Clone(eds), func(ed float64) bool { return !p.reach(ed) }); len(within) > 0 {
		eds = within // of what the R waves say nothing about they are no witness
	}
	at := func(ed, peak float64) bool { return ed-peak >= earliestAfterR && ed-peak <= latestAfterR }
	matched, within, extra := 0, 0, 0
	for _, ed := range eds {
		if slices.ContainsFunc(p.all, func(r float64) bool { return at(ed, r) }) {
			matched++
		}
	}
	for _, r := range p.all {
		if r < eds[0]-latestAfterR || r > eds[len(eds)-1]-earliestAfterR || slices.Contains(p.weak, r) {
			continue
		}
		within++
		if !slices.ContainsFunc(eds, func(ed float64) bool { return at(ed, r) }) {
			extra++
		}
	}
	switch {
	case 2*matched <= len(eds):
		return "the stored R waves do not fit the motion and were not used"
	case 3*extra > within && extra > 1:
		return unfollowed(extra, within, len(p.all))
	}
	return ""
}

// reach reports whether the peaks, of which objects may hold those of a part of the
// clip, say anything about a moment.
func (p rPeaks) reach(ms float64) bool {
	return len(p.all) > 0 && ms >= p.all[0]+earliestAfterR && ms <= p.all[len(p.all)-1]+latestAfterR
}

// partly reports whether the curve shows more beats than there are at the peaks, before
// the first or behind the last one.
func (f *finder) partly(p rPeaks, byPeaks, byCurve []Beat) bool {
	return len(byPeaks) < len(byCurve) && slices.ContainsFunc(byCurve, func(b Beat) bool { return !p.reach(f.t[b.ED]) })
}

// unseen tells a reader of beats that the R waves tell of and the curve does not show;
// "" without any.
func (p rPeaks) unseen() string {
	if len(p.weak) == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d stored R waves are followed by a contraction too weak to be found: such beats may be missing in the means",
		len(p.weak), len(p.all))
}

// markAfterWeak marks the beats whose R wave follows one without a contraction.
func (f *finder) markAfterWeak(beats []Beat, p rPeaks) {
	for i := range beats {
		at := 0 // of the first R wave after that of the beat
		for at < len(p.all) && p.all[at] <= f.t[beats[i].ED]+f.o.RWindowBeforeMS {
			at++
		}
		own := at >= 2 && f.t[beats[i].ED]-p.all[at-1] <= latestAfterR
		beats[i].AfterWeak = own && slices.Contains(p.weak, p.all[at-2])
	}
}

// unfollowed says how many of the R waves that the clip shows whole have no
// contraction.
func unfollowed(without, shown, stored int) string {
	return fmt.Sprintf("%d of %d stored R waves belong to no contraction, as far as the clip shows (%d): none was used", without, stored, shown)
}

func differences(v []float64) []float64 {
	out := make([]float64, 0, len(v))
	for i := 1; i < len(v); i++ {
		out = append(out, v[i]-v[i-1])
	}
	return out
}
