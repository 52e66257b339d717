package lv

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// BeatOptions are the inputs and thresholds of [FindBeats].
type BeatOptions struct {
	// RWaveMS are the times of R peaks relative to the first frame.
	RWaveMS []float64
	// HeartRateBPM is the rate the device stored; 0 when unknown. It is used
	// only where neither R peaks nor the curve give a period.
	HeartRateBPM float64
	// RateOfRWaves says that HeartRateBPM was itself taken from RWaveMS.
	RateOfRWaves bool

	// MinFrames is the smallest number of frames with a value.
	MinFrames int
	// MinFrameRate in frames per second; below it systole has too few frames
	// for a minimum to mean end systole. Own choice.
	MinFrameRate float64
	// MaxMissing is the largest part of frames without a value.
	MaxMissing float64
	// SmoothingMS and SmoothingPart bound the standard deviation of the
	// Gaussian in time that smooths the curve before extremes are sought: so
	// many ms, and at most so large a part of the beat. Own choice: wide enough
	// that the noise of single frames does not choose ED and ES, narrow enough
	// for the 150 ms systole of a fast heart.
	SmoothingMS, SmoothingPart float64
	// OutlierFraction is how far, as a part of its level, a single frame may lie
	// beyond what its neighbours on both sides allow before it is taken for a
	// failed outline (see [Outliers]), and OutlierGapMS how far away in time
	// neighbours may be to judge it. Own choice: three times the frame to frame
	// noise of the network.
	OutlierFraction, OutlierGapMS float64
	// MinAreaChange is the smallest (ED-ES)/ED of a beat. Normal fractional
	// area change is above 0.35; a ventricle with an EF of 10 % still has
	// about 0.06. Own choice.
	MinAreaChange float64
	// MinSignalToNoise is the smallest ratio of the range of the curve, smoothed
	// with SmoothingMS, to the noise from frame to frame. Own choice: pure noise
	// at 30 frames per second reaches 2.5.
	MinSignalToNoise float64
	// GapSteps and GapMS say when frames follow each other so late that what lay
	// between is not known: after more than GapSteps times the usual step and more
	// than GapMS. Own choice: an end-systole fits into 120 ms. No beat may come
	// within GapMarginMS of a gap with its ED or ES, or have one between them.
	GapSteps, GapMS, GapMarginMS float64
	// Cuts are the frames whose times are set apart from those before by [Apart]: what
	// a cut hides is told otherwise than what the frame times leave out.
	Cuts []int
	// TurnFraction is the part of the curve's range by which it must turn back
	// for an extreme to count; it must exceed the dip of diastasis and the
	// atrial kick. EchoNet-Dynamic uses a prominence of half the range; own
	// choice lower, for beats of unequal size.
	TurnFraction float64
	// RecoveryFraction is the part of the beat's amplitude that the curve must
	// regain after ES, to show that the clip does not end within systole.
	RecoveryFraction float64
	// ClipSystoleFraction is the part of electromechanical systole (QS2, see
	// ExpectedSystoleMS) that a clip without the following rise must cover for
	// its smallest area to stand for ES. Own choice: ejection is fastest early,
	// and after three quarters of QS2 little of the stroke is left.
	ClipSystoleFraction float64
	// StartFraction is the part of the curve's range that the first frame must
	// reach to stand for ED when the clip begins with the descent.
	StartFraction float64
	// RWindowBeforeMS and RWindowAfterMS bound the search for the largest area
	// around an R peak.
	RWindowBeforeMS, RWindowAfterMS float64
	// MinSystoleMS and MaxSystoleMS bound the time from ED to ES, and
	// MaxSystoleFraction bounds it as a part of the period when it is known.
	MinSystoleMS, MaxSystoleMS float64
	MaxSystoleFraction         float64
	// MinRate and MaxRate bound a plausible heart rate per minute.
	MinRate, MaxRate float64
}

// DefaultBeatOptions returns the thresholds documented on [BeatOptions].
func DefaultBeatOptions() BeatOptions {
	return BeatOptions{
		MinFrames: 8, MinFrameRate: 10, MaxMissing: 0.4,
		SmoothingMS: 40, SmoothingPart: 0.05, OutlierFraction: 0.10, OutlierGapMS: 110,
		MinAreaChange: 0.05, MinSignalToNoise: 4.5,
		GapSteps: 2.5, GapMS: 120, GapMarginMS: 60,
		TurnFraction: 0.35, RecoveryFraction: 0.25, StartFraction: 0.75, ClipSystoleFraction: 0.75,
		RWindowBeforeMS: 50, RWindowAfterMS: 80,
		MinSystoleMS: 100, MaxSystoleMS: 600, MaxSystoleFraction: 0.7,
		MinRate: 25, MaxRate: 250,
	}
}

// Beat is one heart beat by frame index.
type Beat struct {
	ED int `json:"ed"`
	ES int `json:"es"`
	// NextED is the end diastole that closes the beat, or -1 when the clip
	// ends before it.
	NextED int `json:"next_ed"`
	// EDFrom says how ED was found: AtRWave, AtMaximum or AtClipStart.
	EDFrom string `json:"ed_from"`
	// Clipped says that the clip ends before the cavity fills again: ES is the
	// smallest area in it, and the true one may be smaller.
	Clipped bool `json:"clipped,omitempty"`
	// Crossed says that ES is before ED: it ends the beat before, because the
	// clip begins within one systole and ends within the next.
	Crossed bool `json:"crossed,omitempty"`
	// Late says that the clip begins while the cavity is already emptying: ED is
	// its first frame, and the true one may be larger.
	Late bool `json:"late,omitempty"`
	// BeforeMS and AfterMS are the times from the ED, or R wave, of the beat
	// before to that of this one, and from there to the next; 0 when unknown.
	BeforeMS float64 `json:"before_ms,omitempty"`
	AfterMS  float64 `json:"after_ms,omitempty"`
	// AfterWeak says that the beat before contracted too little to be found.
	AfterWeak bool `json:"after_weak,omitempty"`
	// AreaChange is (ED-ES)/ED of the smoothed curve.
	AreaChange float64 `json:"area_change"`
}

// How the end-diastolic frame was found.
const (
	AtRWave     = "r-wave"
	AtMaximum   = "maximum"
	AtClipStart = "clip start"
)

// Where the heart rate comes from.
const (
	RateFromRWaves = "r-waves"
	RateFromCurve  = "area curve"
	RateFromDevice = "device"
)

// Rhythm is what [FindBeats] found.
type Rhythm struct {
	Beats []Beat `json:"beats"`
	// HeartRate per minute, 0 when unknown, and where it comes from.
	HeartRate       float64 `json:"heart_rate,omitempty"`
	HeartRateSource string  `json:"heart_rate_source,omitempty"`
	// Noise is the standard deviation of a single frame's value, and Range the
	// whole change of the smoothed curve, both as parts of its level.
	Noise float64 `json:"noise,omitempty"`
	Range float64 `json:"range,omitempty"`
	// Smoothed is the curve in which extremes were sought, one value a frame;
	// frames without a value are interpolated.
	Smoothed []float64 `json:"-"`
	// Removed are the frames that were left out as failed outlines.
	Removed []int `json:"removed,omitempty"`
	// Stored is the rate that the object tells, whether it was used or not: over its R
	// waves in the clip but those left out, else the device's; 0 without one.
	Stored float64 `json:"stored_rate,omitempty"`
	// Weak says that every second beat may have contracted too little to be found,
	// SomeWeak that some beats did; "" where nothing speaks for it.
	Weak     string `json:"weak,omitempty"`
	SomeWeak string `json:"some_weak,omitempty"`
	// Notes are remarks for a reader, for example that R peaks were ignored.
	Notes []string `json:"notes,omitempty"`
}

// NoBeatReason is why no beat was found.
type NoBeatReason string

// The reasons of a [NoBeatError].
const (
	TooFewFrames      NoBeatReason = "the clip is too short to show a beat"
	NoTiming          NoBeatReason = "the frame times cannot be used"
	FrameRateTooLow   NoBeatReason = "the frame rate is too low to find end-systole"
	TooManyMissing    NoBeatReason = "the cavity could be outlined in too few frames"
	CurveFlat         NoBeatReason = "the ventricle hardly moves"
	CurveNoisy        NoBeatReason = "the outlines vary too much from frame to frame to find the beats"
	NoCompleteSystole NoBeatReason = "the clip shows no complete contraction"
)

// NoBeatError says that no beat was found and why.
type NoBeatError struct {
	Reason NoBeatReason
	Detail string
}

func (e *NoBeatError) Error() string {
	if e.Detail == "" {
		return string(e.Reason)
	}
	return string(e.Reason) + ": " + e.Detail
}

func noBeat(r NoBeatReason, format string, args ...any) error {
	return &NoBeatError{Reason: r, Detail: fmt.Sprintf(format, args...)}
}

// FindBeats finds end-diastolic and end-systolic frames in a curve of cavity
// areas (or of internal dimensions), one value per frame with NaN where there
// is none. timesMS are the frame times from the first frame, which need not be
// evenly spaced; everything is judged in seconds, never in frames.
//
// Failed outlines are set aside (see [Outliers]), gaps interpolated and the
// curve smoothed. ED and ES are the alternating extremes of the curve. With R
// peaks that fit them, ED is the largest area near each R; peaks that do not are
// ignored with a note, and so is their rate. ES is the smallest area between ED
// and the next ED.
//
// A beat counts when
//   - its ES is followed by a rise that regains RecoveryFraction of its
//     amplitude: a systole that the clip cuts off is dropped;
//   - its ED is an R peak or a maximum inside the clip. A descent from the
//     very first frame is dropped when the clip holds a beat with a proper ED;
//     in a clip of one beat (stress loops begin at the R peak) the first frame
//     stands for ED if it reaches StartFraction of the curve's range and the
//     cavity does not become larger later: then the later maximum stands for it,
//     marked Crossed. A first frame that falls fast already is marked Late;
//   - or the clip is a systolic one, as stress protocols store them: it begins
//     with ED, ends before the cavity fills again, and lasts at least
//     ClipSystoleFraction of the systole expected at the heart rate, or, where
//     that is unknown, the emptying has come to its end. Such a beat is marked
//     Clipped, and used only when there is no other;
//   - or, when there is nothing else, the clip shows the end of one systole,
//     a whole filling and the beginning of the next systole: ES and the ED that
//     follows it, marked Crossed;
//   - its amplitude and the time from ED to ES are plausible: where the cavity empties
//     for longer than MaxSystoleMS the frame times are not the heart's.
//
// The error is a [*NoBeatError]; the Rhythm that comes with it still holds the
// smoothed curve and the heart rate, where they exist.
func FindBeats(area, timesMS []float64, o BeatOptions) (Rhythm, error) {
	var r Rhythm
	peaks := plausiblePeaks(o, timesMS)
	stored := peaks
	r.HeartRate, r.HeartRateSource = rateFromPeaks(peaks)
	if r.HeartRate == 0 && o.HeartRateBPM >= o.MinRate && o.HeartRateBPM <= o.MaxRate {
		r.HeartRate, r.HeartRateSource = o.HeartRateBPM, RateFromDevice
	}

	n := len(area)
	if n < max(o.MinFrames, 3) {
		return r, noBeat(TooFewFrames, "%d frames, %d needed", n, max(o.MinFrames, 3))
	}
	if err := checkTimes(timesMS, n); err != nil {
		return r, err
	}
	if fps := FrameRate(timesMS); fps < o.MinFrameRate {
		return r, noBeat(FrameRateTooLow, "%.1f frames per second, %.0f needed", fps, o.MinFrameRate)
	}
	values := slices.Clone(area)
	for i, v := range values {
		if math.IsInf(v, 0) || v <= 0 {
			values[i] = math.NaN()
		}
	}
	r.Removed = Outliers(values, timesMS, o.OutlierFraction, o.OutlierGapMS)
	for _, i := range r.Removed {
		values[i] = math.NaN()
	}
	if have := len(present(values)); have < o.MinFrames || float64(n-have) > o.MaxMissing*float64(n) {
		return r, noBeat(TooManyMissing, "%d of %d", have, n)
	}
	curve := interpolate(values, timesMS)
	r.Noise = frameNoise(curve, timesMS) / median(curve)
	wide := smooth(curve, timesMS, o.SmoothingMS)
	sigma := min(o.SmoothingMS, o.SmoothingPart*firstPeriod(wide, timesMS, o))
	r.Smoothed = smooth(curve, timesMS, sigma)

	lo, hi := slices.Min(r.Smoothed), slices.Max(r.Smoothed)
	r.Range = (hi - lo) / hi
	if r.Range < o.MinAreaChange {
		return r, noBeat(CurveFlat, "its area changes by %.0f %% at most", 100*r.Range)
	}
	if signal := slices.Max(wide) - slices.Min(wide); signal < o.MinSignalToNoise*r.Noise*median(curve) {
		return r, noBeat(CurveNoisy, "by %.0f %% of the area, while all motion is %.0f %%", 100*r.Noise, 100*r.Range)
	}

	f := finder{o: o, t: timesMS, a: r.Smoothed, missing: values, lo: lo, hi: hi, gaps: gapsOf(timesMS, o), sigma: sigma, noise: r.Noise * median(curve)}
	if note := f.gapNote(); note != "" {
		r.Notes = append(r.Notes, note)
	}
	byCurve, clipStart, clipped := f.fromExtremes(r.HeartRate)
	found := len(byCurve) + len(clipStart) + len(clipped)
	byCurve, clipStart, clipped = f.without(byCurve), f.without(clipStart), f.without(clipped)
	r.Beats = byCurve
	doubt := ""
	sorted := f.sortPeaks(peaks)
	if less := sorted.withoutExtra(); len(less) < len(peaks) {
		r.Notes = append(r.Notes, fmt.Sprintf("%d of %d stored R waves belong to no contraction: they were left out", len(peaks)-len(less), len(peaks)))
		peaks = less
		sorted = f.sortPeaks(peaks)
		r.HeartRate, r.HeartRateSource = rateFromPeaks(peaks)
	}
	if len(peaks) > 0 {
		byPeaks := f.without(f.fromPeaks(peaks, r.HeartRate))
		if doubt = f.doubt(sorted, byPeaks, append(slices.Clone(byCurve), clipStart...)); doubt != "" {
			r.Notes = append(r.Notes, doubt)
			r.HeartRate, r.HeartRateSource = deviceRate(o), RateFromDevice
			if r.HeartRate == 0 || o.RateOfRWaves {
				r.HeartRate, r.HeartRateSource = 0, ""
			}
		} else {
			if !f.partly(sorted, byPeaks, byCurve) {
				r.Beats = byPeaks
			}
			r.SomeWeak = sorted.unseen()
			f.markAfterWeak(r.Beats, sorted)
		}
	}
	if len(r.Beats) == 0 && !f.slow {
		r.Beats = f.incomplete(clipStart, clipped)
	}
	f.intervals(r.Beats, peaks)
	if r.HeartRateSource != RateFromRWaves {
		if bpm := rateFromBeats(r.Beats); bpm >= o.MinRate && bpm <= o.MaxRate {
			r.HeartRate, r.HeartRateSource = bpm, RateFromCurve
		}
	}
	r.Stored = cmp.Or(rateOverall(f.near(peaks)), deviceRate(o))
	if rate := rateOverall(stored); rate > 0 {
		f.findWeak(&r, rate, RateFromRWaves, doubt)
	} else {
		f.findWeak(&r, deviceRate(o), RateFromDevice, "")
	}
	if r.Weak != "" && doubt != "" && (r.HeartRateSource == RateFromRWaves || strings.HasPrefix(r.Weak, doubt)) {
		// They do fit, a beat that was not found each; or that is said.
		r.Notes = slices.DeleteFunc(r.Notes, func(n string) bool { return n == doubt })
	}
	switch {
	case len(r.Beats) == 0 && f.slow:
		return r, noBeat(NoCompleteSystole, "it takes more than %.0f ms, longer than a heart's: the frame times may be those of playback", o.MaxSystoleMS)
	case len(r.Beats) == 0 && found > 0:
		return r, noBeat(NoCompleteSystole, "%s", f.whatLiesAcross())
	case len(r.Beats) == 0:
		return r, noBeat(NoCompleteSystole, "%s", f.whyNone())
	}
	return r, nil
}

type finder struct {
	o       BeatOptions
	t, a    []float64
	missing []float64 // NaN where a frame has no value of its own
	lo, hi  float64
	gaps    []pause
	sigma   float64 // of the smoothing, in ms
	noise   float64 // of a single frame, in units of the curve
	slow    bool    // contractions were left out that take longer than any of a heart
}

// clearly is a part of an amplitude that is more than noise. Own choice.
func (f *finder) clearly(amplitude float64) float64 {
	return max(0.1*amplitude, 4*f.noise*f.noiseLeft())
}

// pause is a time in ms, from a frame to the next, of which nothing is known.
type pause struct {
	from, to float64
	cut      bool
}

// cutMS is how far apart times are set at a cut: more than any gap that counts and than
// a curve is smoothed over.
const cutMS = 500

// Apart are frame times in ms in which a time of which nothing is known lies before each
// of the frames cuts, as where the picture changes at once: no beat and no interval counts
// across it.
func Apart(timesMS []float64, cuts []int) []float64 {
	if len(cuts) == 0 {
		return timesMS
	}
	out := slices.Clone(timesMS)
	for _, cut := range cuts {
		for i := max(cut, 0); i < len(out); i++ {
			out[i] += cutMS
		}
	}
	return out
}

func gapsOf(t []float64, o BeatOptions) (out []pause) {
	limit := max(o.GapSteps*1000/FrameRate(t), o.GapMS)
	for i := 1; i < len(t); i++ {
		if t[i]-t[i-1] > limit {
			out = append(out, pause{t[i-1], t[i], slices.Contains(o.Cuts, i)})
		}
	}
	return out
}

// FrameRate is the usual number of frames per second at frame times in ms, whatever
// gaps they have; 0 for less than two frames.
func FrameRate(timesMS []float64) float64 {
	steps := make([]float64, 0, len(timesMS))
	for i := 1; i < len(timesMS); i++ {
		steps = append(steps, timesMS[i]-timesMS[i-1])
	}
	if len(steps) == 0 || !(median(steps) > 0) {
		return 0
	}
	return 1000 / median(steps)
}

// gapNote tells a reader of gaps in the frame times; "" without any.
func (f *finder) gapNote() string {
	longest, n := 0.0, 0
	for _, g := range f.gaps {
		if !g.cut {
			longest, n = max(longest, g.to-g.from), n+1
		}
	}
	switch n {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf("the frame times have a gap of %.0f ms: beats and intervals across it are not used", longest)
	}
	return fmt.Sprintf("the frame times have %d gaps, the longest of %.0f ms: beats and intervals across them are not used", n, longest)
}

// whatLiesAcross is why the beats that were found do not count.
func (f *finder) whatLiesAcross() string {
	if slices.ContainsFunc(f.gaps, func(g pause) bool { return !g.cut }) {
		return "what it shows lies across a gap in the frame times"
	}
	return "what it shows lies across a sudden change of the picture"
}

// across reports whether a gap lies between two times, or within margin of them.
func (f *finder) across(a, b, margin float64) bool {
	return slices.ContainsFunc(f.gaps, func(g pause) bool { return g.to > min(a, b)-margin && g.from < max(a, b)+margin })
}

// without leaves out the beats of which a gap hides a part, and the ends of those
// that a gap parts from the next.
func (f *finder) without(beats []Beat) []Beat {
	beats = slices.DeleteFunc(beats, func(b Beat) bool { return f.across(f.t[b.ED], f.t[b.ES], f.o.GapMarginMS) })
	for i := range beats {
		if b := &beats[i]; b.NextED >= 0 && f.across(f.t[b.ES], f.t[b.NextED], 0) {
			b.NextED = -1
		}
	}
	return beats
}

// intervals gives every beat the times to its neighbours: between R waves where
// ED was found at them, else between the moments at which half of each
// contraction is done, which noise moves less than the largest area.
func (f *finder) intervals(beats []Beat, peaks []float64) {
	moments := f.contractions()
	for i := range beats {
		b := &beats[i]
		at, of := moments, f.t[b.ES]
		if b.EDFrom == AtRWave {
			at, of = peaks, f.t[b.ED]+f.o.RWindowBeforeMS+1
		}
		if b.Crossed {
			continue
		}
		k := -1 // the last moment before
		for j, m := range at {
			if m < of {
				k = j
			}
		}
		if k < 0 || b.EDFrom != AtRWave && at[k] < f.t[b.ED] {
			continue
		}
		// R waves are known across a gap, contractions are not.
		known := func(from, to float64) bool { return b.EDFrom == AtRWave || !f.across(from, to, 0) }
		if k > 0 && known(at[k-1], at[k]) {
			b.BeforeMS = at[k] - at[k-1]
		}
		if k+1 < len(at) && known(at[k], at[k+1]) {
			b.AfterMS = at[k+1] - at[k]
		}
	}
}

// contractions are the times at which the curve has fallen half way from a
// maximum to the minimum that follows it.
func (f *finder) contractions() []float64 {
	var out []float64
	ex := f.extremes()
	for i := 0; i+1 < len(ex); i++ {
		if !ex[i].max {
			continue
		}
		half := (f.a[ex[i].at] + f.a[ex[i+1].at]) / 2
		// The last crossing: the first may be a dip of the plateau before.
		for j := ex[i+1].at; j > ex[i].at; j-- {
			if f.a[j-1] >= half && f.a[j] < half {
				out = append(out, f.t[j-1]+(f.a[j-1]-half)/(f.a[j-1]-f.a[j])*(f.t[j]-f.t[j-1]))
				break
			}
		}
	}
	return out
}

// extreme is a turning point of the curve.
type extreme struct {
	at  int
	max bool
}

// extremes walks the curve and returns its alternating turning points: a point
// counts once the curve has turned back by TurnFraction of its range. The first
// and the last extreme may lie at the ends of the clip.
func (f *finder) extremes() []extreme {
	delta := f.o.TurnFraction * (f.hi - f.lo)
	var out []extreme
	loAt, hiAt := 0, 0
	var rising, falling bool
	for i, v := range f.a {
		if v > f.a[hiAt] {
			hiAt = i
		}
		if v < f.a[loAt] {
			loAt = i
		}
		switch {
		case !falling && f.a[hiAt]-v >= delta:
			out = append(out, extreme{hiAt, true})
			rising, falling, loAt = false, true, i
		case !rising && v-f.a[loAt] >= delta:
			out = append(out, extreme{loAt, false})
			rising, falling, hiAt = true, false, i
		}
	}
	switch {
	case rising:
		out = append(out, extreme{hiAt, true})
	case falling:
		out = append(out, extreme{loAt, false})
	}
	return out
}

// ExpectedSystoleMS is the mean duration of electromechanical systole (QS2) at
// a heart rate per minute: 546 - 2.1*HR (Weissler, Harris and Schoenfeld,
// Circulation 1968;37:149-159, men; women 549 - 2.0*HR).
func ExpectedSystoleMS(rate float64) float64 { return 546 - 2.1*rate }

// fromExtremes finds beats from the curve alone. clipStart holds the beat
// whose ED is the first frame, clipped the beat of a systolic clip, if there is
// such a one.
func (f *finder) fromExtremes(rate float64) (beats, clipStart, clipped []Beat) {
	ex := f.extremes()
	for i, e := range ex {
		if !e.max || i+1 >= len(ex) {
			continue
		}
		next := -1
		if i+2 < len(ex) && ex[i+2].at < len(f.a)-1 {
			next = ex[i+2].at
		}
		end := len(f.a)
		if i+2 < len(ex) {
			end = ex[i+2].at + 1
		}
		ed := e.at
		if es := ex[i+1].at; f.t[es]-f.t[ed] > f.o.MaxSystoleMS {
			// The largest value lies early on a long diastolic plateau: ED is
			// the largest one within reach of ES.
			for ed = es; ed > 0 && f.t[es]-f.t[ed-1] <= f.o.MaxSystoleMS; ed-- {
			}
			first := ed
			for j := ed; j < es; j++ {
				if f.a[j] > f.a[ed] {
					ed = j
				}
			}
			if ed == first && f.a[e.at]-f.a[ed] > f.clearly(f.a[e.at]-f.a[es]) {
				f.slow = f.slow || !f.across(f.t[e.at], f.t[ex[i+1].at], 0) // no plateau: it has long been falling there
				continue
			}
		}
		b, ok := f.beat(ed, end, next, 0)
		if !ok {
			if i+2 >= len(ex) {
				clipped = append(clipped, f.systolicClip(b, rate)...)
			}
			continue
		}
		if ed > 0 {
			b.EDFrom = AtMaximum
			beats = append(beats, b)
		} else if f.a[0]-f.lo >= f.o.StartFraction*(f.hi-f.lo) {
			clipStart = append(clipStart, f.fromStart(b, end))
		}
	}
	return beats, clipStart, clipped
}

// fromStart judges a beat whose ED is the first frame of the clip. Where the
// cavity becomes clearly larger than that before the next systole, the clip
// began too late for its own end-diastole, and the next one stands for it.
func (f *finder) fromStart(b Beat, end int) Beat {
	later := b.ES
	for i := b.ES; i < end; i++ {
		if f.a[i] > f.a[later] && !math.IsNaN(f.missing[i]) {
			later = i
		}
	}
	if f.a[later]-f.a[b.ED] > startTolerance*(f.hi-f.lo) {
		return Beat{ED: later, ES: b.ES, NextED: -1, EDFrom: AtMaximum, Crossed: true, AreaChange: 1 - f.a[b.ES]/f.a[later]}
	}
	b.EDFrom, b.Late = AtClipStart, f.fallsAtStart(b)
	return b
}

// Own choice: how much larger, as a part of the curve's range, the cavity may
// become than in the first frame, and how fast it may empty in the first 60 ms,
// as a part of its fastest emptying, for that frame to be the end of diastole.
// Between the R wave and ejection the cavity stays level for 50 to 80 ms.
const (
	startTolerance = 0.10
	startSlope     = 0.75
	levelPart      = 0.2
	slopeMS        = 60
)

// fallsAtStart reports whether the curve falls from the first frame of the clip
// nearly as fast as it ever does in that systole.
func (f *finder) fallsAtStart(b Beat) bool {
	slope := func(i int) float64 {
		for j := i + 1; j <= b.ES; j++ {
			if dt := f.t[j] - f.t[i]; dt >= slopeMS-1 {
				return (f.a[i] - f.a[j]) / dt
			}
		}
		return 0
	}
	fastest := 0.0
	for i := b.ED; i < b.ES; i++ {
		fastest = max(fastest, slope(i))
	}
	return slope(b.ED) > startSlope*fastest
}

// systolicClip takes a beat that lacks only the rise after ES for the beat of
// a clip that was meant to show systole, if the clip is long enough for that.
func (f *finder) systolicClip(b Beat, rate float64) []Beat {
	if b.AreaChange < f.o.MinAreaChange || f.a[b.ED]-f.lo < f.o.StartFraction*(f.hi-f.lo) {
		return nil
	}
	if rate > 0 && !f.longEnough(b, rate) || rate <= 0 && !f.levelsOff(b) {
		return nil
	}
	b.Clipped, b.EDFrom = true, AtMaximum
	if b.ED == 0 {
		b.EDFrom, b.Late = AtClipStart, f.fallsAtStart(b)
	}
	return []Beat{b}
}

// longEnough reports whether the clip is long enough for the systole expected at
// the heart rate. Such clips begin at the R wave, which the largest area follows
// within some frames.
func (f *finder) longEnough(b Beat, rate float64) bool {
	begin := f.t[b.ED]
	if begin <= f.o.RWindowAfterMS {
		begin = 0
	}
	needed := f.o.ClipSystoleFraction * ExpectedSystoleMS(rate)
	return f.t[len(f.t)-1]-begin >= needed && f.t[b.ES]-begin >= needed/2
}

// levelsOff reports whether the emptying has come to its end when the clip
// ends, for clips that do not tell the heart rate: less than levelPart of
// the amplitude in the last 60 ms, after at least the shortest systole.
func (f *finder) levelsOff(b Beat) bool {
	last := len(f.t) - 1
	i := last
	for i > b.ED && f.t[last]-f.t[i] < slopeMS-1 {
		i--
	}
	return f.t[last]-f.t[b.ED] > 2*f.o.MinSystoleMS && f.a[i]-f.a[last] < levelPart*(f.a[b.ED]-f.a[b.ES])
}

// fromPeaks finds beats whose ED is the largest area near an R peak.
func (f *finder) fromPeaks(peaks []float64, rate float64) []Beat {
	last := f.t[len(f.t)-1]
	var eds []int
	for _, p := range peaks {
		ed := -1
		for i, t := range f.t {
			if t >= p-f.o.RWindowBeforeMS && t <= p+f.o.RWindowAfterMS && (ed < 0 || f.a[i] > f.a[ed]) {
				ed = i
			}
		}
		if ed >= 0 && (len(eds) == 0 || ed > eds[len(eds)-1]) {
			eds = append(eds, ed)
		}
	}
	var beats []Beat
	for i, ed := range eds {
		end, next, period := len(f.a), -1, 0.0
		if i+1 < len(eds) {
			next, end = eds[i+1], eds[i+1]+1
			period = f.t[next] - f.t[ed]
		} else if rate > 0 {
			period = 60000 / rate
			for f.t[end-1] > f.t[ed]+period {
				end--
			}
			if f.t[ed]+period < last {
				next = end - 1
			}
		}
		if b, ok := f.beat(ed, end, next, period); ok {
			b.EDFrom = AtRWave
			beats = append(beats, b)
		}
	}
	return beats
}

// incomplete are the beats that stand for whole ones where there are none: that which
// begins with the clip, that of a systolic clip, what lies between two systoles.
func (f *finder) incomplete(clipStart, clipped []Beat) []Beat {
	switch {
	case len(clipStart) > 0:
		return clipStart
	case len(clipped) > 0:
		return clipped
	}
	return f.without(f.fillings())
}

// fillings pairs a minimum inside the clip with the maximum that follows it:
// end-systole of one beat and end-diastole of the next.
func (f *finder) fillings() []Beat {
	var beats []Beat
	ex := f.extremes()
	for i := 0; i+1 < len(ex); i++ {
		es, ed := ex[i], ex[i+1]
		if es.max || es.at == 0 || ed.at == len(f.a)-1 ||
			math.IsNaN(f.missing[es.at]) || math.IsNaN(f.missing[ed.at]) {
			continue
		}
		amplitude := f.a[ed.at] - f.a[es.at]
		took := f.t[ed.at] - f.t[es.at]
		fell := slices.Max(f.a[:es.at]) - f.a[es.at]    // the end of the systole before
		falls := f.a[ed.at] - slices.Min(f.a[ed.at+1:]) // the beginning of the next
		if amplitude < f.o.MinAreaChange*f.a[ed.at] || took < f.o.MinSystoleMS || took > 60000/f.o.MinRate ||
			fell < f.o.MinAreaChange*f.a[es.at] || falls < f.o.RecoveryFraction*amplitude {
			continue
		}
		beats = append(beats, Beat{ED: ed.at, ES: es.at, NextED: -1, EDFrom: AtMaximum, Crossed: true, AreaChange: amplitude / f.a[ed.at]})
	}
	return beats
}

// beat finds the ES of the beat that begins at frame ed, before frame end, and
// says whether it is a complete contraction. period is 0 when it is unknown.
func (f *finder) beat(ed, end, next int, period float64) (Beat, bool) {
	if math.IsNaN(f.missing[ed]) {
		ed = f.nearestPresent(ed)
	}
	longest := f.o.MaxSystoleMS
	if period > 0 {
		longest = min(longest, f.o.MaxSystoleFraction*period)
	}
	es := -1
	for i := ed + 1; i < end; i++ {
		systole := f.t[i] - f.t[ed]
		if systole > longest {
			break
		}
		if systole >= f.o.MinSystoleMS && !math.IsNaN(f.missing[i]) && (es < 0 || f.a[i] < f.a[es]) {
			es = i
		}
	}
	if es < 0 {
		return Beat{}, false
	}
	amplitude := f.a[ed] - f.a[es]
	if longest == f.o.MaxSystoleMS && es+1 < end && f.t[es+1]-f.t[ed] > longest && f.a[es]-slices.Min(f.a[es+1:end]) > f.clearly(amplitude) {
		f.slow = true // it goes on falling
		return Beat{}, false
	}
	// The last frame of the clip alone shows no filling.
	regained := slices.Max(f.a[es:max(min(end, len(f.a)-1), es+1)]) - f.a[es]
	complete := amplitude >= f.o.MinAreaChange*f.a[ed] && regained >= f.o.RecoveryFraction*amplitude
	return Beat{ED: ed, ES: es, NextED: next, AreaChange: amplitude / f.a[ed]}, complete
}

// nearestPresent is the frame with a value of its own that is nearest in time.
func (f *finder) nearestPresent(i int) int {
	best := i
	for j := range f.t {
		if !math.IsNaN(f.missing[j]) &&
			(math.IsNaN(f.missing[best]) || math.Abs(f.t[j]-f.t[i]) < math.Abs(f.t[best]-f.t[i])) {
			best = j
		}
	}
	return best
}

// whyNone describes in words why no beat counted.
func (f *finder) whyNone() string {
	ex := f.extremes()
	switch {
	case len(ex) == 2 && ex[0].max:
		return "the clip ends before the cavity fills again"
	case len(ex) == 2:
		return "the clip holds filling only"
	case len(ex) < 2:
		return "no clear contraction"
	}
	return fmt.Sprintf("%d turning points, none of them a plausible contraction", len(ex))
}

// plausiblePeaks are the R peaks in order; what lies further from the clip than the
// longest beat says nothing of it.
func plausiblePeaks(o BeatOptions, t []float64) []float64 {
	first, last := math.Inf(-1), math.Inf(1)
	if len(t) > 0 {
		first, last = t[0]-60000/o.MinRate, t[len(t)-1]+60000/o.MinRate
	}
	var peaks []float64
	for _, p := range o.RWaveMS {
		if p >= first && p <= last && !math.IsInf(p, 0) {
			peaks = append(peaks, p)
		}
	}
	slices.Sort(peaks)
	// Peaks closer than the shortest period are one peak.
	return slices.CompactFunc(peaks, func(a, b float64) bool { return math.Abs(b-a) < 60000/o.MaxRate })
}

// rateFromPeaks is the rate of the median R-R interval.
func rateFromPeaks(peaks []float64) (float64, string) {
	var rr []float64
	for i := 1; i < len(peaks); i++ {
		rr = append(rr, peaks[i]-peaks[i-1])
	}
	if len(rr) == 0 {
		return 0, ""
	}
	return 60000 / median(rr), RateFromRWaves
}

// rateOverall is the mean rate of R peaks, in which two intervals that take turns
// count alike.
func rateOverall(peaks []float64) float64 {
	n := len(peaks)
	if n < 2 {
		return 0
	}
	return 60000 * float64(n-1) / (peaks[n-1] - peaks[0])
}

// deviceRate is the plausible stored rate, 0 without one.
func deviceRate(o BeatOptions) float64 {
	if o.HeartRateBPM >= o.MinRate && o.HeartRateBPM <= o.MaxRate {
		return o.HeartRateBPM
	}
	return 0
}

// rateFromBeats is the rate of the median time between the beats.
func rateFromBeats(beats []Beat) float64 {
	var rr []float64
	for i, b := range beats {
		if b.BeforeMS > 0 {
			rr = append(rr, b.BeforeMS)
		}
		if b.AfterMS > 0 && (i+1 == len(beats) || beats[i+1].BeforeMS != b.AfterMS) {
			rr = append(rr, b.AfterMS)
		}
	}
	if len(rr) == 0 {
		return 0
	}
	return 60000 / median(rr)
}

func meanChange(beats []Beat) float64 {
	if len(beats) == 0 {
		return 0
	}
	var sum float64
	for _, b := range beats {
		sum += b.AreaChange
	}
	return sum / float64(len(beats))
}

func checkTimes(t []float64, n int) error {
	if len(t) != n {
		return noBeat(NoTiming, "%d times for %d frames", len(t), n)
	}
	for i, v := range t {
		if math.IsNaN(v) || math.IsInf(v, 0) || (i > 0 && v <= t[i-1]) {
			return noBeat(NoTiming, "frame %d does not follow the one before it in time", i)
		}
	}
	return nil
}

// firstPeriod is the median time between the maxima of a curve. Where there is
// no whole beat, the clip stands for it.
func firstPeriod(curve, t []float64, o BeatOptions) float64 {
	f := finder{o: o, t: t, a: curve, missing: curve, lo: slices.Min(curve), hi: slices.Max(curve)}
	var periods []float64
	last := -1
	for _, e := range f.extremes() {
		if e.max {
			if last >= 0 {
				periods = append(periods, t[e.at]-t[last])
			}
			last = e.at
		}
	}
	if len(periods) == 0 {
		return t[len(t)-1] - t[0]
	}
	return median(periods)
}

// interpolate fills NaN linearly in time; the ends hold the nearest value.
func interpolate(v, t []float64) []float64 {
	out := slices.Clone(v)
	last := -1
	for i := range v {
		if math.IsNaN(v[i]) {
			continue
		}
		for j := last + 1; j < i; j++ {
			if last < 0 {
				out[j] = v[i]
				continue
			}
			w := (t[j] - t[last]) / (t[i] - t[last])
			out[j] = v[last] + w*(v[i]-v[last])
		}
		last = i
	}
	for j := last + 1; j < len(v) && last >= 0; j++ {
		out[j] = v[last]
	}
	return out
}

// smooth convolves with a Gaussian of standard deviation sigma ms, normalised
// over the frames that exist.
func smooth(v, t []float64, sigma float64) []float64 {
	if sigma <= 0 {
		return slices.Clone(v)
	}
	out := make([]float64, len(v))
	for i := range v {
		var sum, weight float64
		add := func(j int) bool {
			d := (t[j] - t[i]) / sigma
			if d*d > 9 {
				return false
			}
			w := math.Exp(-d * d / 2)
			sum, weight = sum+w*v[j], weight+w
			return true
		}
		for j := i; j >= 0 && add(j); j-- {
		}
		for j := i + 1; j < len(v) && add(j); j++ {
		}
		out[i] = sum / weight
	}
	return out
}

// frameNoise is a robust standard deviation of the noise from frame to frame:
// the distance of each value from the line between its two neighbours, or from
// the cubic through two on both sides, whichever is the smaller. The cubic
// follows the sharp turns of a fast heart at a low frame rate, the line those of
// a loop that was played forth and back.
func frameNoise(v, t []float64) float64 {
	return min(distanceFromNeighbours(v, t, 1), distanceFromNeighbours(v, t, 2))
}

// distanceFromNeighbours is the median distance of a value from the polynomial
// through k neighbours on both sides, scaled to the standard deviation of a
// single value; infinite where there are too few.
func distanceFromNeighbours(v, t []float64, k int) float64 {
	var d []float64
	for i := k; i+k < len(v); i++ {
		expected, variance := 0.0, 1.0
		for j := i - k; j <= i+k; j++ {
			if j == i {
				continue
			}
			w := 1.0 // Lagrange
			for m := i - k; m <= i+k; m++ {
				if m != i && m != j {
					w *= (t[i] - t[m]) / (t[j] - t[m])
				}
			}
			expected += w * v[j]
			variance += w * w
		}
		d = append(d, math.Abs(v[i]-expected)/math.Sqrt(variance))
	}
	if len(d) == 0 {
		return math.Inf(1)
	}
	return 1.4826 * median(d)
}

// ContractionMS is how long a curve takes to fall from 90 to 10 % of its way from the
// end-diastole of a beat to its end-systole, by frame; 0 where it cannot be told.
func ContractionMS(curve, timesMS []float64, ed, es int) float64 {
	if ed < 0 || es <= ed || es >= len(curve) || len(curve) != len(timesMS) {
		return 0
	}
	last := func(part float64) float64 { // crossing before ES
		level := curve[es] + part*(curve[ed]-curve[es])
		for j := es; j > ed; j-- {
			if a, b := curve[j-1], curve[j]; a >= level && b < level {
				return timesMS[j-1] + (a-level)/(a-b)*(timesMS[j]-timesMS[j-1])
			}
		}
		return math.NaN()
	}
	if d := last(0.1) - last(0.9); d > 0 {
		return d
	}
	return 0
}

// Median of the values; NaN without any.
func Median(v []float64) float64 { return median(v) }

func median(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	s := slices.Clone(v)
	slices.Sort(s)
	if m := len(s) / 2; len(s)%2 == 1 {
		return s[m]
	} else {
		return (s[m-1] + s[m]) / 2
	}
}
