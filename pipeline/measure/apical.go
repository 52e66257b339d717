package measure

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/internal/longaxis"
	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/quantity"
	"github.com/echonode/echonode/pipeline/result"
)

// beat is one heart beat of an apical loop with its two phases measured.
type beat struct {
	lv.Beat
	index  int // in the loop's Beats
	ed, es lv.Plane
	ef     float64
	// variance of EF in squared points for a relative noise of 1 in the volume
	// of a single frame
	variance float64
	findings []lv.Finding
}

// measureApical measures a loop of an apical view: every frame's outline, the
// beats in the curve of their areas, both phases of every beat, and the means
// over the beats that stand for the rhythm. A reason says why nothing is measured.
func (l *loop) measureApical() *result.Reason {
	areas := l.measureFrames()
	strays, reason := l.displaced()
	if reason != nil {
		return reason
	}
	for _, i := range strays {
		areas[i] = math.NaN()
	}
	l.drop(strays)
	if reason := l.findBeats(areas); reason != nil {
		return reason
	}
	l.drop(l.rhythm.Removed)
	if len(strays) > 0 {
		l.Curve.Removed = append(l.Curve.Removed, strays...)
		slices.Sort(l.Curve.Removed)
	}
	for i, b := range l.rhythm.Beats {
		l.measureBeat(i, b)
	}
	findings := l.findings(areas)
	findings = append(findings, l.chooseBeats()...)
	if l.trusts() {
		findings = remarks(findings)
	}
	values := l.apicalSeries()
	findings = append(findings, l.checkSizes(values)...)
	l.report(values, findings)
	l.addHeartRate(findings)
	return nil
}

// measureFrames measures the outline of every frame and returns the areas in
// mm2, NaN where there is none.
func (l *loop) measureFrames() []float64 {
	axis := longaxis.Options(l.Loop, l.o.LV.Axis)
	areas := make([]float64, len(l.frames))
	for i := range l.frames {
		f := &l.frames[i]
		areas[i] = math.NaN()
		if f.outline == nil {
			continue
		}
		plane, err := lv.MeasurePlane(f.outline.points, l.spacing, longaxis.Landmarks(f.keypoints), axis)
		if err != nil {
			continue // an outline without an axis is no cavity
		}
		f.plane, f.used = plane, true
		areas[i] = plane.AreaMM2
	}
	return areas
}

// Own choice: an outline whose middle is more than half of the length of the
// ventricle from where it mostly is shows something else, and where that happens
// in more than a tenth of the frames the loop shows more than one picture. From
// end-diastole to end-systole the middle moves by 0.17 of the length at most
// (470 patients, CAMUS).
const (
	displacedPart  = 0.5
	displacedShare = 0.10
)

// displaced finds the frames whose outline lies elsewhere; the reason says that
// they are too many for failed outlines.
func (l *loop) displaced() ([]int, *result.Reason) {
	var x, y, length []float64
	var at []int
	for i, f := range l.frames {
		if f.used {
			c := lv.Centroid(f.outline.points)
			x, y, length, at = append(x, c.X*l.spacing.X), append(y, c.Y*l.spacing.Y), append(length, f.plane.Axis.LengthMM), append(at, i)
		}
	}
	if len(at) == 0 {
		return nil, nil
	}
	cx, cy, typical := lv.Median(x), lv.Median(y), lv.Median(length)
	var out []int
	for k, i := range at {
		if math.Hypot(x[k]-cx, y[k]-cy) > displacedPart*typical {
			out = append(out, i)
		}
	}
	if len(out) > 1 && float64(len(out)) > displacedShare*float64(len(at)) {
		return nil, because(string(lv.GatePlace), "the outline jumps between places in %d of %d frames: the loop shows more than one picture or chamber",
			len(out), len(at))
	}
	return out, nil
}

// drop keeps frames out of every phase.
func (l *loop) drop(frames []int) {
	for _, i := range frames {
		l.frames[i].used = l.frames[i].used && l.byReader(i)
	}
}

// Own choice: frames within so many ms of ED and ES count for the phase, but
// within no more than such a part of the beat.
const (
	phaseMS   = 60
	phasePart = 0.09
)

// The motion of a ventricle that moves little is slow beside its noise, so that
// frames further away help more than they harm: where the range of the area is
// less than wideRange times the noise the window grows, up to widest times. Fitted
// to simulated hearts: at an EF of 20 % and 3 % of noise the standard deviation of
// EF falls from 2.2 to 1.8 points, at the price of a bias of -0.2.
const (
	wideRange = 10
	widest    = 1.5
)

// window is how far frames may lie from a phase of a beat, and the beat's
// length, 0 when it is unknown, in ms.
func (l *loop) window(b lv.Beat) (half, period float64) {
	half, period = phaseMS, b.AfterMS
	if rate := l.rhythm.HeartRate; period == 0 && rate > 0 {
		period = 60000 / rate
	}
	if period > 0 {
		half = min(half, phasePart*period)
	}
	if r := l.rhythm; r.Range > 0 {
		half *= min(max(wideRange*r.Noise/r.Range, 1), widest)
	}
	return half, period
}

// around are the frames that count for the phase of a beat at a frame.
func (l *loop) around(at int, b lv.Beat) lv.Around {
	if l.byReader(at) {
		// A reader has drawn this frame: it alone stands for the phase.
		return lv.Around{Frames: []int{at}, Weights: []float64{1}}
	}
	half, _ := l.window(b)
	return lv.FramesAround(l.times, l.isUsed, l.times[at], half)
}

// Own choice: with a range of the area of less than so many times the noise, and
// at least so many frames in a beat that are no further apart, ED and ES are found with one half of the
// frames and measured with the other; within so large a part of the beat. With
// fewer frames, down to blendFrames, halves see too little of the extremes: both
// ways are averaged, and only where the noise is larger still.
const (
	noisyRange    = 15
	splitFrames   = 14
	blendFrames   = 9
	blendRange    = 13
	splitStepMS   = 51
	searchPart    = 0.12
	mostSearchMS  = 120
	splitSmooth   = 1.5 // times the smoothing of the whole curve
	leastSmoothMS = 25
)

// phase averages the planes of the frames around a frame.
//
// Whoever looks for the largest value in a noisy curve finds noise: the frames
// around it are then too large by chance. So the frames that say where the phase
// is are not those that say what its values are: in a regular rhythm the other
// beats say where, elsewhere, if the noise is large enough to matter, every second
// frame of the beat, and the frames between say what, and the other way round.
func (l *loop) phase(p lv.Phase, b lv.Beat) (lv.Plane, lv.Around) {
	around := l.moment(p, b)
	planes := make([]lv.Plane, len(around.Frames))
	for k, i := range around.Frames {
		planes[k] = l.frames[i].plane
	}
	return lv.MeanPlane(planes, around.Weights), around
}

// moment are the frames that count for a phase of a beat.
func (l *loop) moment(p lv.Phase, b lv.Beat) lv.Around {
	at := b.ED
	if p == lv.ES {
		at = b.ES
	}
	half, period := l.window(b)
	if where, ok := l.inOtherBeats(p, b, period); ok {
		return lv.FramesAround(l.times, l.isUsed, where, half)
	}
	switch frames := l.splits(b, period); {
	case frames >= splitFrames:
		return l.crossed(p, at, half, period)
	case frames >= blendFrames:
		return lv.Join(l.around(at, b), l.crossed(p, at, half, period))
	}
	return l.around(at, b)
}

// isUsed reports whether the outline of a frame counts.
func (l *loop) isUsed(i int) bool { return l.frames[i].used }

// splits is the number of frames in a beat whose phases may be measured
// crosswise; 0 where they should not.
func (l *loop) splits(b lv.Beat, period float64) float64 {
	n := len(l.times)
	if l.byReader(b.ED) || l.byReader(b.ES) {
		return 0
	}
	if l.rhythm.Range > noisyRange*l.rhythm.Noise || b.Clipped || period == 0 {
		return 0
	}
	span, steps := l.times[n-1]-l.times[0], n-1
	usual := 1000 / lv.FrameRate(l.times)
	for i := 1; i < n; i++ {
		if d := l.times[i] - l.times[i-1]; d > 2*usual { // a gap or a cut
			span, steps = span-d, steps-1
		}
	}
	step := span / float64(steps)
	frames := period / step
	if step > splitStepMS || frames < splitFrames && l.rhythm.Range > blendRange*l.rhythm.Noise {
		return 0
	}
	return frames
}

// Own choice: beats are alike whose lengths differ by no more than this part.
const alikePart = 0.12

// inOtherBeats is the moment of a phase of a beat as the other beats of a regular
// rhythm have it: their frames, moved to this beat by the moment at which half of
// each contraction is done, say where the cavity is largest or smallest. ok is
// false where there is no other beat like this one.
func (l *loop) inOtherBeats(p lv.Phase, b lv.Beat, period float64) (where float64, ok bool) {
	if l.byReader(b.ED) || l.byReader(b.ES) || period == 0 {
		return 0, false
	}
	own, ok := l.contraction(b.ED, b.ES)
	if !ok {
		return 0, false
	}
	at := l.times[b.ED]
	if p == lv.ES {
		at = l.times[b.ES]
	}
	reach, sigma := l.search(period)
	var times, areas []float64
	for _, o := range l.Beats {
		moment, whole := l.contraction(o.ED, o.ES)
		if o.ED == b.ED || o.Partial || !whole || math.Abs(cmp.Or(o.AfterMS, o.BeforeMS)-period) > alikePart*period {
			continue
		}
		for i, f := range l.frames {
			t := l.times[i] + own - moment
			if f.used && math.Abs(t-at) < reach+3*sigma {
				times, areas = append(times, t), append(areas, f.plane.AreaMM2)
			}
		}
	}
	return lv.ExtremeBetween(areas, times, at-reach, at+reach, sigma, p == lv.ED)
}

// search is how far from its frame a phase is sought, and with what smoothing, in
// ms.
func (l *loop) search(period float64) (reach, sigma float64) {
	o := l.o.LV.Beats
	return min(searchPart*period, mostSearchMS), max(splitSmooth*min(o.SmoothingMS, o.SmoothingPart*period), leastSmoothMS)
}

// contraction is the moment at which half of a contraction is done in the
// smoothed curve.
func (l *loop) contraction(ed, es int) (ms float64, ok bool) {
	if l.Curve == nil || ed < 0 || es <= ed || es >= len(l.Curve.Smoothed) {
		return 0, false
	}
	c, t := l.Curve.Smoothed, l.times
	half := (c[ed] + c[es]) / 2
	for j := es; j > ed; j-- {
		if c[j-1] >= half && c[j] < half {
			return t[j-1] + (c[j-1]-half)/(c[j-1]-c[j])*(t[j]-t[j-1]), true
		}
	}
	return 0, false
}

// crossed finds a phase with one half of the used frames and measures it with
// the other, both ways.
func (l *loop) crossed(p lv.Phase, at int, half, period float64) lv.Around {
	rank := make([]int, len(l.frames))
	areas := make([]float64, len(l.frames))
	n := 0
	for i, f := range l.frames {
		rank[i] = -1
		if f.used {
			rank[i], areas[i] = n%2, f.plane.AreaMM2
			n++
		}
	}
	reach, sigma := l.search(period)
	var halves [2]lv.Around
	for k := range halves {
		where := lv.Extreme(areas, l.times, func(i int) bool { return rank[i] == 1-k }, l.times[at],
			reach, sigma, p == lv.ED)
		halves[k] = lv.FramesAround(l.times, func(i int) bool { return rank[i] == k }, where, half)
	}
	return lv.Join(halves[0], halves[1])
}

// measureBeat measures both phases of a beat. A beat that a gate rejects is
// left out with its reason.
func (l *loop) measureBeat(index int, b lv.Beat) {
	m, ed, es := l.planes(index, b)
	o := l.o.LV.Quality
	m.findings = append(m.findings, l.checkPhase(lv.ED, ed)...)
	m.findings = append(m.findings, l.checkPhase(lv.ES, es)...)
	m.findings = append(m.findings, l.checkPlanes(m)...)
	m.findings = append(m.findings, lv.CheckPlace(m.ed, m.es, l.spacing, l.Mirrored, o)...)
	if l.landmarks {
		m.findings = append(m.findings, lv.CheckAnnulusPhases(l.annulus(ed), l.annulus(es), o)...)
	}
	if l.byReader(b.ED) && l.byReader(b.ES) {
		m.findings = remarks(m.findings)
	}
	m.findings = append(l.contradiction(m), m.findings...)
	if r := rejection(m.findings); r != nil {
		l.leaveOut(m, *r)
		return
	}
	l.beats = append(l.beats, m)
}

// checkPlanes grades both planes of a beat. Where one has the shape of no ventricle, and would have
// if pixels were square, theirs is named.
func (l *loop) checkPlanes(m beat) []lv.Finding {
	out := lv.CheckPlanes(m.ed, m.es, l.Spacing.Trusted, l.o.LV.Quality)
	for i := range out {
		f := &out[i]
		if f.Gate != lv.GateShape {
			continue
		}
		plane, most := m.ed, l.o.LV.Quality.WarnAspectED
		if f.Phase == lv.ES {
			plane, most = m.es, l.o.LV.Quality.WarnAspectES
		}
		square := l.aspectIfSquare(plane)
		if !l.oblong() || square < roundCavity || square > most {
			continue
		}
		if f.Severity == lv.Warn {
			f.Gate = result.Scale
		}
		f.Reason = fmt.Sprintf(
			"the outline at %v is %.1f times as long as wide, with square pixels %.1f times: that they are %.2g times as wide as high may be wrong",
			f.Phase, aspect(plane), square, l.spacing.X/l.spacing.Y)
	}
	return out
}

// aspect is how many times as long as wide half an ellipse of the plane's length and area is.
func aspect(p lv.Plane) float64 { return math.Pi / 4 * p.Axis.LengthMM * p.Axis.LengthMM / p.AreaMM2 }

// aspectIfSquare is the aspect of a plane whose pixels are square.
func (l *loop) aspectIfSquare(p lv.Plane) float64 {
	x, y := p.Axis.Apex.X-p.Axis.Base.X, p.Axis.Apex.Y-p.Axis.Base.Y
	pixels := p.Axis.LengthMM * math.Hypot(x, y) / math.Hypot(x*l.spacing.X, y*l.spacing.Y)
	return math.Pi / 4 * pixels * pixels / (p.AreaMM2 / (l.spacing.X * l.spacing.Y))
}

// Own choice: pixels are not square where their sides differ by this factor.
const oblongPixels = 1.1

// oblong reports whether the pixels are said to be longer one way than the other.
func (l *loop) oblong() bool {
	k := l.spacing.X / l.spacing.Y
	return max(k, 1/k) > oblongPixels
}

// contradiction is what no two outlines of one beat show, whoever drew them: a cavity that
// fills in systole, an EF that no ventricle has. One that cannot be computed is judged with
// the values.
func (l *loop) contradiction(m beat) []lv.Finding {
	if math.IsNaN(m.ef) || math.IsInf(m.ef, 0) {
		return nil
	}
	area, _ := quantity.Of(result.AreaES)
	if r := l.grown(m.ed.AreaMM2/100, m.es.AreaMM2/100, area.UnitText()); r != nil {
		return []lv.Finding{{Gate: lv.Gate(r.Code), Severity: lv.Reject, Frame: m.ES, Reason: r.Text}}
	}
	return lv.CheckEF(m.ef, l.o.LV.Quality)
}

func (l *loop) planes(index int, b lv.Beat) (m beat, ed, es lv.Around) {
	m = beat{Beat: b, index: index}
	m.ed, ed = l.phase(lv.ED, b)
	m.es, es = l.phase(lv.ES, b)
	m.ef = lv.EF(m.ed.VolumeML, m.es.VolumeML)
	m.variance = (100 - m.ef) * (100 - m.ef) * (ed.Variance() + es.Variance())
	return m, ed, es
}

// volumeNoise is how much more the volume of a frame varies than its area: the
// network's noise lies mostly in the width (1.7 to 1.9 times on real loops).
// phaseNoise is how much more the EF of simulated hearts varies than the noise of
// the frames measured says: the moments of the phases are uncertain too.
const (
	volumeNoise = 1.8
	phaseNoise  = 1.25
)

// precision is how far, in points, the noise of single outlines may move the EF
// of the chosen beats (95 %).
func (l *loop) precision() float64 {
	sum := 0.0
	for _, b := range l.beats {
		sum += b.variance
	}
	return 1.96 * volumeNoise * phaseNoise * l.rhythm.Noise * math.Sqrt(sum) / float64(len(l.beats))
}

// surelyWithin is the precision with what the noise itself is uncertain by: its
// standard deviation, found from n frames, has one of 1/sqrt(2n) of it, and of its
// robust estimate from frames that share their neighbours, twice that. A clip of
// two beats may look steadier than it is.
func (l *loop) surelyWithin() float64 {
	n := 0
	for _, f := range l.frames {
		if f.used {
			n++
		}
	}
	return l.precision() * (1 + math.Sqrt(2/float64(max(n, 2))))
}

// checkPhase grades the outlines that count for a phase, each by its weight.
// Where the network says how far it expects its outline to agree with a
// reader's, and from where on that is enough, this counts, else its certainty.
func (l *loop) checkPhase(p lv.Phase, a lv.Around) []lv.Finding {
	o := l.o.LV.Quality
	lo, hi := l.corners()
	var certainty, expected, stray, solidity, border, unseen, beside, within float64
	for k, i := range a.Frames {
		f, w := &l.frames[i], a.Weights[k]
		certainty += w * f.outline.certainty
		expected += w * f.outline.expectedDice
		stray += w * f.outline.stray
		unseen += w * f.outline.unseen
		solidity += w * lv.Solidity(f.outline.points)
		border += w * max(lv.BorderPart(f.outline.points, lo, hi, o.BorderMargin), lv.SectorPart(f.outline.points, l.sector, o.SectorMargin))
		near, nearer := lv.Narrowed(f.outline.points, l.sector, f.plane.Axis, l.spacing)
		beside, within = beside+w*near, within+w*nearer
	}
	at := -1
	if len(a.Frames) > 0 {
		at = a.Frames[0]
	}
	var out []lv.Finding
	if expected > 0 && l.o.MinExpectedDice > 0 {
		out = append(out, lv.CheckAgreement(expected, l.o.MinExpectedDice, p, at)...)
		o.WarnCertaintyED, o.WarnCertaintyES = 0, 0
	}
	out = append(out, lv.CheckOutline(certainty, stray, p, at, o)...)
	out = append(out, lv.CheckSolidity(solidity, p, at, o)...)
	out = append(out, lv.CheckBorder(border, p, at, o)...)
	out = append(out, lv.CheckNarrowed(beside, within, p, at, o)...)
	out = append(out, lv.CheckWall(unseen, p, at, o)...)
	if l.landmarks {
		out = append(out, lv.CheckAnnulus(l.annulus(a), p, at, o)...)
	}
	return out
}

// findings are what concerns the loop as a whole.
func (l *loop) findings(areas []float64) []lv.Finding {
	o := l.o.LV.Quality
	out := lv.CheckView(l.ViewProbability, o)
	out = append(out, lv.CheckCoverage(areas, o)...)
	kept := slices.Clone(areas)
	for _, i := range l.rhythm.Removed {
		kept[i] = math.NaN()
	}
	out = append(out, lv.CheckAreaJumps(kept, l.times, o)...)
	out = append(out, lv.CheckFrameRate(l.times, l.rhythm.HeartRate, o)...)
	out = append(out, lv.CheckClipped(l.rhythm.Beats)...)
	if l.landmarks {
		out = append(out, lv.CheckAnnulusOften(l.annulusPart(), o)...)
	}
	return append(out, l.doubts()...)
}

// annulus is the part of a phase's frames, by weight, in which both ends of the
// mitral annulus were found.
func (l *loop) annulus(a lv.Around) float64 {
	found := 0.0
	for k, i := range a.Frames {
		if l.frames[i].plane.Axis.AnnulusSource == lv.FromKeypoints {
			found += a.Weights[k]
		}
	}
	return found
}

// annulusPart is the part of the outlined frames in which both ends of the mitral
// annulus were found.
func (l *loop) annulusPart() float64 {
	found, all := 0, 0
	for _, f := range l.frames {
		if !f.used {
			continue
		}
		all++
		if f.plane.Axis.AnnulusSource == lv.FromKeypoints {
			found++
		}
	}
	if all == 0 {
		return 1
	}
	return float64(found) / float64(all)
}

// chooseBeats leaves out the beats that do not stand for the rhythm and says
// what it found. Where every beat was rejected it returns their reasons.
func (l *loop) chooseBeats() []lv.Finding {
	if len(l.beats) == 0 {
		return l.rejections
	}
	before := make([]float64, len(l.beats))
	after := 0.0
	for i, b := range l.beats {
		before[i], after = b.BeforeMS, b.AfterMS
		if b.AfterWeak { // a pause, which is no interval of the rhythm
			before[i] = 0
		}
	}
	kinds, irregular := lv.ClassifyBeats(before, after)
	for i, b := range l.beats {
		if b.AfterWeak && !irregular && kinds[i] == lv.Regular {
			kinds[i] = lv.PostEctopic
		}
	}
	var out []lv.Finding
	if irregular {
		out = append(out, lv.CheckIrregular(len(l.beats))...)
	}
	out = append(out, l.checkClips()...)
	ectopic := func(i int) bool { return kinds[i] != lv.Regular }
	l.keepBeats(func(i int, _ beat) *result.Reason {
		if ectopic(i) {
			r := result.Reasonf(string(lv.GateBeats), "%s beat: left out of the mean", kinds[i])
			return &r
		}
		return nil
	})
	if !irregular {
		efs := l.efs()
		odd := lv.OddBeats(efs, l.o.LV.Quality.WarnEFSpread)
		if len(odd) > 0 {
			var left []float64
			for _, i := range odd {
				left = append(left, efs[i])
			}
			text := fmt.Sprintf("%d of %d beats are left out, in which EF was %.0f to %.0f %%", len(odd), len(efs), slices.Min(left), slices.Max(left))
			if len(odd) == 1 {
				text = fmt.Sprintf("one of %d beats is left out, in which EF was %.0f %%", len(efs), left[0])
			}
			out = append(out, lv.Finding{Gate: lv.GateBeatSpread, Severity: lv.Warn, Frame: -1, Reason: text})
		}
		l.keepBeats(func(i int, b beat) *result.Reason {
			if slices.Contains(odd, i) {
				r := result.Reasonf(string(lv.GateBeatSpread), "EF of %.0f %% in this beat is far from the others': left out of the mean", b.ef)
				return &r
			}
			return nil
		})
	}
	for _, b := range l.beats {
		out = append(out, b.findings...)
	}
	out = append(out, lv.CheckEFSpread(l.efs(), l.o.LV.Quality)...)
	if !irregular {
		out = append(out, l.checkBeatVolumes()...)
	}
	return append(out, lv.CheckPrecision(l.surelyWithin(), l.o.LV.Quality)...)
}

// checkClips looks for beats on either side of a sudden change of the picture whose EF differ as
// those of two recordings of one stage must not: of which the loop's is, nobody knows.
func (l *loop) checkClips() []lv.Finding {
	efs := map[int][]float64{}
	for _, b := range l.beats {
		last := l.untilCut(b.ED)
		efs[last] = append(efs[last], b.ef)
	}
	var means []float64
	for _, of := range efs {
		means = append(means, lv.Summarize(of).Mean)
	}
	if len(means) < 2 || slices.Max(means)-slices.Min(means) <= otherLoops {
		return nil
	}
	return []lv.Finding{{Gate: lv.GateBeatVolumes, Severity: lv.Warn, Frame: -1, Reason: fmt.Sprintf(
		"where the picture changes at once EF does too, %.0f to %.0f %%: two recordings may stand one behind the other", slices.Min(means), slices.Max(means))}}
}

// checkBeatVolumes looks for beats of a regular rhythm that differ in size as two
// planes must not: depth or zoom was changed meanwhile, or the transducer moved.
func (l *loop) checkBeatVolumes() []lv.Finding {
	var edvs []float64
	for _, b := range l.beats {
		edvs = append(edvs, b.ed.VolumeML)
	}
	if len(edvs) < 2 || slices.Max(edvs)-slices.Min(edvs) <= warnEDVs*slices.Max(edvs) {
		return nil
	}
	return []lv.Finding{{Gate: lv.GateBeatVolumes, Severity: lv.Warn, Frame: -1, Reason: fmt.Sprintf(
		"the end-diastolic volumes of the beats differ by %.0f %%: depth, zoom or plane may have changed", 100*(1-slices.Min(edvs)/slices.Max(edvs)))}}
}

// keepBeats leaves out the beats for which why gives a reason, unless it does
// so for all of them.
func (l *loop) keepBeats(why func(i int, b beat) *result.Reason) {
	var kept []beat
	reasons := map[int]*result.Reason{}
	for i, b := range l.beats {
		if reasons[i] = why(i, b); reasons[i] == nil {
			kept = append(kept, b)
		}
	}
	if len(kept) == 0 {
		return
	}
	for i, b := range l.beats {
		if reasons[i] != nil {
			l.Beats[b.index].Rejected = reasons[i]
		}
	}
	l.beats = kept
}

func (l *loop) leaveOut(b beat, r result.Reason) {
	l.Beats[b.index].Rejected = &r
	l.rejections = append(l.rejections, b.findings...)
}

func (l *loop) efs() []float64 {
	out := make([]float64, len(l.beats))
	for i, b := range l.beats {
		out[i] = b.ef
	}
	return out
}

// rejection is the first finding that a beat is left out for.
func rejection(findings []lv.Finding) *result.Reason {
	for _, f := range findings {
		if f.Severity == lv.Reject {
			return &result.Reason{Code: string(f.Gate), Text: f.Reason}
		}
	}
	return nil
}

// apicalNames are the quantities of an apical loop, for the case that none of
// them can be measured.
func (l *loop) apicalNames() []series {
	planimetry := []series{
		{name: result.FAC, unit: result.UnitPercent, method: result.Planimetry},
		{name: result.AreaED, unit: result.UnitArea, method: result.Planimetry},
		{name: result.AreaES, unit: result.UnitArea, method: result.Planimetry},
		{name: result.LenED, unit: result.UnitLength, method: result.Planimetry},
		{name: result.LenES, unit: result.UnitLength, method: result.Planimetry},
	}
	if l.View == models.ViewA3C {
		return planimetry // the long-axis view is not a plane of the method of disks
	}
	return append([]series{
		{name: result.EF, unit: result.UnitPercent, method: result.SinglePlane},
		{name: result.EDV, unit: result.UnitVolume, method: result.SinglePlane},
		{name: result.ESV, unit: result.UnitVolume, method: result.SinglePlane},
		{name: result.SV, unit: result.UnitVolume, method: result.SinglePlane},
	}, planimetry...)
}

// apicalSeries are the values over the chosen beats. EF, SV and FAC follow from
// the means of what they are made of, so that the values of a loop agree:
// EF = 100 SV/EDV.
func (l *loop) apicalSeries() []series {
	collect := func(f func(beat) float64) []float64 {
		out := make([]float64, len(l.beats))
		for i, b := range l.beats {
			out[i] = f(b)
		}
		return out
	}
	edv := collect(func(b beat) float64 { return b.ed.VolumeML })
	esv := collect(func(b beat) float64 { return b.es.VolumeML })
	eda := collect(func(b beat) float64 { return b.ed.AreaMM2 / 100 })
	esa := collect(func(b beat) float64 { return b.es.AreaMM2 / 100 })
	each := func(f func(d, s float64) float64, d, s []float64) []float64 {
		out := make([]float64, len(d))
		for i := range d {
			out[i] = f(d[i], s[i])
		}
		return out
	}
	mean := func(v []float64) float64 { return lv.Summarize(v).Mean }
	all := volumes(result.SinglePlane, edv, esv)
	all = append(all,
		series{name: result.FAC, unit: result.UnitPercent, method: result.Planimetry, values: each(lv.FAC, eda, esa), value: lv.FAC(mean(eda), mean(esa))},
		series{name: result.AreaED, unit: result.UnitArea, method: result.Planimetry, values: eda, value: mean(eda), needsCalibration: true, phase: lv.ED},
		series{name: result.AreaES, unit: result.UnitArea, method: result.Planimetry, values: esa, value: mean(esa), needsCalibration: true, phase: lv.ES})
	led := collect(func(b beat) float64 { return b.ed.Axis.LengthMM / 10 })
	les := collect(func(b beat) float64 { return b.es.Axis.LengthMM / 10 })
	all = append(all,
		series{name: result.LenED, unit: result.UnitLength, method: result.Planimetry, values: led, value: mean(led), needsCalibration: true, phase: lv.ED},
		series{name: result.LenES, unit: result.UnitLength, method: result.Planimetry, values: les, value: mean(les), needsCalibration: true, phase: lv.ES})
	if l.View == models.ViewA3C {
		return all[4:]
	}
	return all
}

// volumes are EF, EDV, ESV and SV of the same beats: the means of the volumes,
// and what follows from them.
func volumes(method string, edv, esv []float64) []series {
	ef, sv := make([]float64, len(edv)), make([]float64, len(edv))
	for i := range edv {
		ef[i], sv[i] = lv.EF(edv[i], esv[i]), lv.StrokeVolume(edv[i], esv[i])
	}
	d, s := lv.Summarize(edv).Mean, lv.Summarize(esv).Mean
	return []series{
		{name: result.EF, unit: result.UnitPercent, method: method, values: ef, value: lv.EF(d, s)},
		{name: result.EDV, unit: result.UnitVolume, method: method, values: edv, value: d, needsCalibration: true, phase: lv.ED},
		{name: result.ESV, unit: result.UnitVolume, method: method, values: esv, value: s, needsCalibration: true, phase: lv.ES},
		{name: result.SV, unit: result.UnitVolume, method: method, values: sv, value: lv.StrokeVolume(d, s), needsCalibration: true},
	}
}
