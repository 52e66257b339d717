package measure

import (
	"fmt"
	"math"
	"slices"

	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/result"
)

// volumeNames are the quantities that always come from one set of loops.
var volumeNames = []string{result.EF, result.EDV, result.ESV, result.SV}

// volumeSet is what a stage says of the volumes, with the loops that were
// chosen for it; each may be nil.
type volumeSet struct {
	four, two    *loop
	measurements []result.Measurement
}

// chooseVolumes takes the best pair of planes that belong together, else the
// four-chamber loop, else the two-chamber loop; of those that agree in EF one that
// gives volumes.
func (st *stage) chooseVolumes(o Options) volumeSet {
	fours, twos := st.ranked(models.ViewA4C), st.ranked(models.ViewA2C)
	set := volumeSet{}
	if len(fours) > 0 {
		set.four = fours[0]
	}
	if len(twos) > 0 {
		set.two = twos[0]
	}
	var why *result.Reason
	for _, p := range pairs(fours, twos) {
		measurements, r := biplane(p[0], p[1], o)
		if r == nil {
			set = volumeSet{p[0], p[1], measurements}
			st.addOthers(&set)
			return coherent(set)
		}
		if why == nil || p[0] == fours[0] && p[1] == twos[0] {
			why = r
		}
	}
	single := set.four
	if single == nil || single.measured(result.EF) == nil && single.severity() == nil && set.two != nil && set.two.measured(result.EF) != nil {
		single = set.two
	}
	if single == nil {
		return set
	}
	if sized := single.sizedInstead(slices.Concat(fours, twos)); sized != nil {
		single = sized
		if single.View == models.ViewA4C {
			set.four = single
		} else {
			set.two = single
		}
	}
	for _, name := range volumeNames {
		i := slices.IndexFunc(single.Measurements, func(m result.Measurement) bool { return m.Name == name })
		if i < 0 {
			continue
		}
		m := single.Measurements[i]
		if m.Value != nil {
			remarks := slices.Clone(m.Quality.Warnings)
			if why != nil {
				remarks = append(remarks, *why)
			}
			if single.View == models.ViewA2C {
				remarks = append(remarks, result.Reasonf(result.OnePlane, "from the two-chamber view alone"))
			}
			remarks = append(remarks, st.foreshortened(single, o)...)
			m.Quality = gradeOf(m.Name, remarks)
		}
		set.measurements = append(set.measurements, m)
	}
	st.addOthers(&set)
	return coherent(set)
}

// sizedInstead is the first of the loops that gives the volumes that a loop with an EF does not, as
// where it alone is calibrated: all four volumes are then its own. It says the same of the
// ventricle, in the same state; nil without one.
func (l *loop) sizedInstead(loops []*loop) *loop {
	ef, rate := l.measured(result.EF), l.measured(result.HR)
	if ef == nil || l.measured(result.EDV) != nil {
		return nil
	}
	for _, o := range loops {
		other, hr := o.measured(result.EF), o.measured(result.HR)
		switch {
		case other == nil || o.measured(result.EDV) == nil || o.measured(result.ESV) == nil || o.measured(result.SV) == nil:
		case other.Quality.Grade == result.Poor || math.Abs(*other.Value-*ef.Value) > otherLoops:
		case rate != nil && hr != nil && math.Abs(*hr.Value-*rate.Value) > rejectRates*max(*hr.Value, *rate.Value):
		case o.View != l.View && (otherDays(l, o) != nil || samePicture(l.Loop, o.Loop)), l.onScreenWith(o) && len(sameBeats(l, o)) == 0:
		default:
			return o
		}
	}
	return nil
}

// pairs are the pairs of planes in the order in which they are tried: those of one
// recording, which have the same beats, then the best with the best.
func pairs(fours, twos []*loop) (out [][2]*loop) {
	for _, together := range []bool{true, false} {
		for _, four := range fours {
			for _, two := range twos {
				if four.onScreenWith(two) == together {
					out = append(out, [2]*loop{four, two})
				}
			}
		}
	}
	return out
}

// severity is the loop's answer that EF is severely reduced, if it gave it.
func (l *loop) severity() *result.Reason {
	for _, m := range l.Measurements {
		if m.Name == result.EF && m.Reason != nil && m.Reason.Code == result.SeverelyReduced {
			return m.Reason
		}
	}
	return nil
}

// addOthers keeps the values of the loops of the same views that were not
// chosen, and warns where they disagree.
func (st *stage) addOthers(set *volumeSet) {
	for k := range set.measurements {
		m := &set.measurements[k]
		if m.Value == nil {
			continue
		}
		lo, hi := *m.Value, *m.Value
		for _, l := range st.loops {
			if l == set.four && m.Method == result.Biplane || l == set.two && m.Method == result.Biplane ||
				len(m.Sources) > 0 && l.gives(m.Sources[0]) {
				continue
			}
			if other := l.measured(m.Name); other != nil {
				m.Others = append(m.Others, *other.Value)
				lo, hi = min(lo, *other.Value), max(hi, *other.Value)
			}
		}
		if m.Name == result.EF && hi-lo > otherLoops {
			r := result.Reasonf(result.LoopsDisagree, "other loops of the stage give an EF of %.0f to %.0f %%", slices.Min(m.Others), slices.Max(m.Others))
			if len(m.Others) == 1 {
				r = result.Reasonf(result.LoopsDisagree, "another loop of the stage gives an EF of %.0f %%", m.Others[0])
			}
			remark(m, r)
			// What EF is made of is as doubtful as EF.
			for n := range set.measurements {
				if o := &set.measurements[n]; o.Value != nil && (o.Name == result.ESV || o.Name == result.SV) {
					remark(o, r)
				}
			}
		}
		if r := st.otherRate(set); r != nil {
			remark(m, *r)
		}
		if r := st.otherSize(set, *m); r != nil && m.Name != result.EF {
			remark(m, *r)
		}
	}
}

// otherRate looks for a loop of the stage whose heart beat so much slower or faster
// that it may have been in another state, as where a machine names no stages.
func (st *stage) otherRate(set *volumeSet) *result.Reason {
	for _, chosen := range []*loop{set.four, set.two} {
		if chosen == nil {
			continue
		}
		own := chosen.measured(result.HR)
		for _, l := range st.loops {
			other, ef := l.measured(result.HR), l.measured(result.EF)
			if l == chosen || l.View != chosen.View || own == nil || other == nil || ef == nil {
				continue
			}
			if math.Abs(*own.Value-*other.Value) > rejectRates*max(*own.Value, *other.Value) {
				r := result.Reasonf(string(lv.GateBeats),
					"another %s loop was recorded at %.0f beats per minute (EF %.0f %%), this one at %.0f: rest and stress may be mixed",
					l.View, *other.Value, *ef.Value, *own.Value)
				return &r
			}
		}
	}
	return nil
}

// otherSize looks among the loops of a value's views for one in which the ventricle
// has another size than foreshortening explains, which takes of the length and
// leaves the width: the scale of one of the two is wrong, or it shows another heart.
func (st *stage) otherSize(set *volumeSet, m result.Measurement) *result.Reason {
	for _, chosen := range []*loop{set.four, set.two} {
		if chosen == nil || m.Method != result.Biplane && m.View != chosen.View {
			continue
		}
		own := chosen.measured(result.EDV)
		for _, l := range st.loops {
			other := l.measured(result.EDV)
			if l == chosen || l.View != chosen.View || own == nil || other == nil {
				continue
			}
			volumes := math.Abs(*own.Value-*other.Value) / max(*own.Value, *other.Value)
			widths := math.Abs(chosen.widthED()-l.widthED()) / max(chosen.widthED(), l.widthED())
			lengths := math.Abs(chosen.lengthED()-l.lengthED()) / max(chosen.lengthED(), l.lengthED())
			if volumes > warnEDVs && (widths > otherWidths || lengths > mostForeshortened || min(widths, lengths) > bothSmaller) {
				r := result.Reasonf(result.LoopsDisagree, "another %s loop gives an EDV of %.0f mL, this one %.0f mL: the scale of one of them may be wrong",
					l.View, *other.Value, *own.Value)
				return &r
			}
		}
	}
	return nil
}

// Own choice: how much the mean widths of two loops of one view may differ, and by
// what part of the length a plane may miss the apex.
const otherWidths, mostForeshortened = 0.12, 0.25

// Own choice: a plane that is shorter and narrower by this part is not foreshortened.
const bothSmaller = 0.06

// mixedStates ends the remark on loops of other heart rates.
const mixedStates = "mixed"

// widthED is the mean width at end-diastole in mm over the beats.
func (l *loop) widthED() float64 {
	var v []float64
	for _, b := range l.beats {
		v = append(v, b.ed.AreaMM2/b.ed.Axis.LengthMM)
	}
	return lv.Summarize(v).Mean
}

// Own choice: the largest difference in points between the EF of a stage and
// those of its other loops that needs no remark.
const otherLoops = 15

// Own choice: a cavity less than this times as long as it is wide at
// end-diastole may be cut obliquely. Of 470 expert outlines (CAMUS, A4C) 2 % are
// rounder.
const roundCavity = 1.35

// foreshortened looks for a plane that misses the apex: shorter than another
// apical view of the stage, or unusually round; for which the shape of its pixels may
// be the cause.
func (st *stage) foreshortened(l *loop, o Options) []result.Reason {
	length := l.lengthED()
	for _, other := range st.loops {
		if longer := other.lengthED(); other != l && length > 0 && longer > 0 && (longer-length)/longer > o.LV.Quality.WarnForeshortening {
			return []result.Reason{result.Reasonf(string(lv.GateForeshortening),
				"the ventricle is %.0f mm long in this loop and %.0f mm in another: it may be foreshortened, the volumes too small", length, longer)}
		}
	}
	var aspects, squares []float64
	for _, b := range l.beats {
		aspects, squares = append(aspects, aspect(b.ed)), append(squares, l.aspectIfSquare(b.ed))
	}
	a, square := lv.Summarize(aspects).Mean, lv.Summarize(squares).Mean
	switch {
	case a < roundCavity && l.oblong() && square >= roundCavity && square <= o.LV.Quality.WarnAspectED:
		return []result.Reason{result.Reasonf(result.Scale,
			"the ventricle is only %.1f times as long as wide at end-diastole, with square pixels %.1f times: that they are %.2g times as wide as high may be wrong",
			a, square, l.spacing.X/l.spacing.Y)}
	case a < roundCavity:
		return []result.Reason{result.Reasonf(string(lv.GateForeshortening),
			"the ventricle is only %.1f times as long as wide at end-diastole: it may be foreshortened, the volumes too small", a)}
	}
	return nil
}

// Own choice: how much the rates of two loops may differ, as a part of the
// higher one, and the EF of the two planes in points.
const (
	warnRates, rejectRates = 0.15, 0.25
	warnEFs, rejectEFs     = 15, 30
)

// How much the end-diastolic volumes of the two planes may differ, as a part of
// the larger one. Of 25 patients whose planes experts outlined (CAMUS) half differ
// by less than 0.15, nine in ten by less than 0.28, the worst by 0.36: beyond that
// one of the planes misses a part of the ventricle or shows something else.
const warnEDVs, rejectEDVs = 0.25, 0.40

// biplane combines all beats of a four- and a two-chamber loop, each with the
// beat of the other plane whose RR interval is nearest. The reason says why
// there is no biplane value although both views are there.
func biplane(four, two *loop, o Options) ([]result.Measurement, *result.Reason) {
	findings, why := belongTogether(four, two, o)
	if why != nil {
		return nil, why
	}
	var edvs, esvs []float64
	pairs := pairBeats(four.beats, two.beats)
	if four.onScreenWith(two) {
		pairs = sameBeats(four, two)
	}
	for _, p := range pairs {
		edv, err := lv.BiplaneVolume(p[0].ed.Disks, p[0].ed.Axis.LengthMM, p[1].ed.Disks, p[1].ed.Axis.LengthMM)
		if err != nil {
			return nil, notBiplane(result.InternalError, "%v", err)
		}
		esv, err := lv.BiplaneVolume(p[0].es.Disks, p[0].es.Axis.LengthMM, p[1].es.Disks, p[1].es.Axis.LengthMM)
		if err != nil {
			return nil, notBiplane(result.InternalError, "%v", err)
		}
		edvs, esvs = append(edvs, edv), append(esvs, esv)
	}
	all := volumes(result.Biplane, edvs, esvs)
	if f := lv.CheckEF(all[0].value, o.LV.Quality); lv.Rejected(f) {
		return nil, notBiplane(result.ImplausibleValue, "%s", f[0].Reason)
	}
	sizes := four.checkSizes(all)
	if lv.Rejected(sizes) {
		return nil, notBiplane(result.UnusualSize, "%s", sizes[0].Reason)
	}
	findings = append(findings, sizes...)
	var out []result.Measurement
	for _, s := range all {
		out = append(out, biplaneValue(s, four, two, findings))
	}
	return out, nil
}

// why a loop has no EF, in words.
func (l *loop) why() string {
	for _, m := range l.Measurements {
		if m.Name == result.EF && m.Reason != nil {
			return m.Reason.Text
		}
	}
	return "no beat was measured"
}

func notBiplane(code, format string, args ...any) *result.Reason {
	r := result.Reasonf(code, "not biplane: "+format, args...)
	return &r
}

// belongTogether checks that two loops show one ventricle in the same state.
func belongTogether(four, two *loop, o Options) ([]lv.Finding, *result.Reason) {
	q := o.LV.Quality
	for _, l := range []*loop{four, two} {
		switch {
		case len(l.beats) == 0, l.measured(result.EF) == nil:
			return nil, notBiplane(result.NoBeat, "the %s loop gives no volumes (%s)", l.View, l.why())
		case !l.Spacing.Trusted:
			return nil, notBiplane(result.NoCalibration, "the %s loop is not calibrated", l.View)
		}
		if r := l.sizeRefused(); r != nil {
			return nil, notBiplane(result.UnusualSize, "the %s loop gives no volumes (%s)", l.View, r.Text)
		}
	}
	if days := otherDays(four, two); days != nil {
		return nil, notBiplane(result.OtherDay, "the planes were recorded on different days: %s in A4C, %s in A2C", result.DateText(days[0]),
			result.DateText(days[1]))
	}
	if samePicture(four.Loop, two.Loop) {
		return nil, notBiplane(result.SamePicture, "the two-chamber loop is the four-chamber loop mirrored: one of the views is wrong")
	}
	if four.onScreenWith(two) && len(sameBeats(four, two)) == 0 {
		return nil, notBiplane(result.Regions, "the planes on the screen contract at different times: they are no planes of one recording")
	}
	var findings []lv.Finding
	length := func(l *loop, p lv.Phase) float64 {
		var v []float64
		for _, b := range l.beats {
			plane := b.ed
			if p == lv.ES {
				plane = b.es
			}
			v = append(v, plane.Axis.LengthMM)
		}
		return lv.Summarize(v).Mean
	}
	for _, p := range []lv.Phase{lv.ED, lv.ES} {
		findings = append(findings, lv.CheckForeshortening(length(four, p), length(two, p), p, q)...)
	}
	add := func(s lv.Severity, g lv.Gate, format string, args ...any) {
		if s != 0 {
			findings = append(findings, lv.Finding{Gate: g, Severity: s, Frame: -1, Reason: fmt.Sprintf(format, args...)})
		}
	}
	if a, b := four.measured(result.HR), two.measured(result.HR); a != nil && b != nil {
		d := math.Abs(*a.Value-*b.Value) / max(*a.Value, *b.Value)
		if d > rejectRates {
			return nil, notBiplane(string(lv.GateBeats), "the heart rates of the planes differ: %.0f in A4C, %.0f in A2C", *a.Value, *b.Value)
		}
		add(grading(d, warnRates, rejectRates), lv.GateBeats, "the heart rates of the planes differ: %.0f in A4C, %.0f in A2C", *a.Value, *b.Value)
	}
	ef4, ef2 := lv.Summarize(four.efs()).Mean, lv.Summarize(two.efs()).Mean
	add(grading(math.Abs(ef4-ef2), warnEFs, rejectEFs), lv.GateBeatSpread, "the planes disagree: EF is %.0f %% in A4C and %.0f %% in A2C", ef4, ef2)
	v4, v2 := four.meanEDV(), two.meanEDV()
	add(grading(math.Abs(v4-v2)/max(v4, v2), warnEDVs, rejectEDVs), lv.GateVolumes, "the planes disagree: EDV is %.0f mL in A4C and %.0f mL in A2C", v4, v2)
	for _, f := range findings {
		if f.Severity == lv.Reject {
			return nil, notBiplane(result.ViewsDisagree, "%s", f.Reason)
		}
	}
	return findings, nil
}

// otherDays are the days of two loops that were not recorded in one session, nil of others.
func otherDays(a, b *loop) []string {
	if days := result.Days(a.Loop, b.Loop); result.DaysApart(days[0], days[1]) > 1 {
		return days
	}
	return nil
}

// meanEDV is the end-diastolic volume of one plane over its beats, in ml.
func (l *loop) meanEDV() float64 {
	var v []float64
	for _, b := range l.beats {
		v = append(v, b.ed.VolumeML)
	}
	return lv.Summarize(v).Mean
}

func grading(v, warn, reject float64) lv.Severity {
	switch {
	case v > reject:
		return lv.Reject
	case v > warn:
		return lv.Warn
	}
	return 0
}

// pairBeats gives every beat of the plane that has more of them the beat of the
// other whose RR interval is nearest; without intervals they pair in turn.
func pairBeats(four, two []beat) [][2]beat {
	more, fewer := four, two
	if len(two) > len(four) {
		more, fewer = two, four
	}
	rr := func(b beat) float64 {
		if b.BeforeMS > 0 {
			return b.BeforeMS
		}
		return b.AfterMS
	}
	var out [][2]beat
	for i, b := range more {
		best := i % len(fewer)
		for k, c := range fewer {
			if rr(b) > 0 && rr(c) > 0 && math.Abs(rr(c)-rr(b)) < math.Abs(rr(fewer[best])-rr(b)) {
				best = k
			}
		}
		p := [2]beat{b, fewer[best]}
		if len(two) > len(four) {
			p[0], p[1] = p[1], p[0]
		}
		out = append(out, p)
	}
	return out
}

// onScreenWith reports whether two planes are those of one object.
func (l *loop) onScreenWith(o *loop) bool {
	return l.SOPInstanceUID == o.SOPInstanceUID && l.SecondPlane != o.SecondPlane
}

// Own choice: the end-systoles of one beat in two planes of one recording are no further
// apart than so many ms; the curves are level there.
const sameBeatMS = 120

// sameBeats pairs the beats of two planes on one screen by their end-systoles; a beat
// that was measured in one plane only is left out. Planes where less than half of the
// beats of that with fewer have one in the other were not recorded together: they have
// no pairs.
//
// A reader moves the phases of the first plane alone: whether the planes belong together
// is told by the beats as they were, and the reader's is that of the nearest of the other.
func sameBeats(four, two *loop) (out [][2]beat) {
	within := float64(sameBeatMS)
	own, other := four.endSystoles(), two.endSystoles()
	if before := four.networksEndSystoles(); before != nil {
		own, within = before, math.Inf(1)
	}
	if before := two.networksEndSystoles(); before != nil {
		other, within = before, math.Inf(1)
	}
	together := 0
	for _, at := range own {
		if i := nearest(other, at); i >= 0 && math.Abs(other[i]-at) <= sameBeatMS {
			together++
		}
	}
	if together == 0 || 2*together < min(len(own), len(other)) {
		return nil
	}
	times := two.endSystoles()
	for k, at := range four.endSystoles() {
		if i := nearest(times, at); i >= 0 && math.Abs(times[i]-at) <= within {
			out = append(out, [2]beat{four.beats[k], two.beats[i]})
		}
	}
	return out
}

// endSystoles are the times of end-systole of the beats that enter the values, in ms.
func (l *loop) endSystoles() []float64 {
	out := make([]float64, len(l.beats))
	for i, b := range l.beats {
		out[i] = l.FrameTimes[b.ES]
	}
	return out
}

// networksEndSystoles are those of the beats that a reader has replaced; nil where none
// did, or there were none.
func (l *loop) networksEndSystoles() (out []float64) {
	if l.Reader == nil || l.Reader.Beats == nil {
		return nil
	}
	for _, b := range l.Reader.NetworkBeats {
		if b.Rejected == nil && b.ES >= 0 && b.ES < len(l.FrameTimes) {
			out = append(out, l.FrameTimes[b.ES])
		}
	}
	return out
}

// nearest is the place of the time that is nearest to another; -1 without any.
func nearest(times []float64, at float64) int {
	best := -1
	for i, t := range times {
		if best < 0 || math.Abs(t-at) < math.Abs(times[best]-at) {
			best = i
		}
	}
	return best
}

// biplaneValue is a value over pairs with the remarks of both loops.
func biplaneValue(s series, four, two *loop, findings []lv.Finding) result.Measurement {
	v := result.Round(s.value, 4)
	m := result.Measurement{Name: s.name, Value: &v, Unit: s.unit, Method: s.method}
	for _, b := range s.values {
		m.Beats = append(m.Beats, result.Round(b, 4))
	}
	remarks := warnings(findings, s.concerns)
	for _, l := range []*loop{four, two} {
		if own := l.measured(s.name); own != nil {
			for _, w := range own.Quality.Warnings {
				remarks = append(remarks, result.Reason{Code: w.Code, Text: l.View + ": " + w.Text})
			}
		}
		for _, b := range l.beats {
			m.Sources = append(m.Sources, l.sources(b.Beat, s.phase)...)
		}
	}
	m.Quality = gradeOf(m.Name, remarks)
	return m
}

// coherent makes sure of what a reader takes for granted: SV = EDV - ESV and
// EF = 100 SV/EDV, from one set of loops. Values that break it are not sent.
func coherent(set volumeSet) volumeSet {
	ef, edv, esv, sv := value(set.measurements, result.EF), value(set.measurements, result.EDV), value(set.measurements, result.ESV),
		value(set.measurements, result.SV)
	if ef == nil || edv == nil || esv == nil || sv == nil {
		return set
	}
	if math.Abs(*edv.Value-*esv.Value-*sv.Value) < 0.01 && math.Abs(100**sv.Value / *edv.Value - *ef.Value) < 0.01 {
		return set
	}
	r := result.Reasonf(result.InternalError, "the volumes contradict each other: EF %.1f %%, EDV %.1f mL, ESV %.1f mL, SV %.1f mL", *ef.Value,
		*edv.Value, *esv.Value, *sv.Value)
	for k := range set.measurements {
		m := &set.measurements[k]
		m.Value, m.Beats, m.Sources, m.Others, m.Reason, m.Quality = nil, nil, nil, nil, &r, result.Quality{Grade: result.None}
	}
	return set
}
