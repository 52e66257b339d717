// Package indices derives further values from a loop or a study that is already
// measured: the left atrium, the motion of the mitral annulus, the shortening of
// the endocardial contour, the shape of the cavity, the slopes of the volume
// curve, and everything that is divided by the body surface or multiplied by the
// heart rate. Its functions are pure: they read a result document and need
// neither pixels nor the network.
//
// A loop whose ejection fraction was refused gives none of them.
package indices

import (
	"math"
	"slices"

	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/internal/longaxis"
	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/quantity"
	"github.com/echonode/echonode/pipeline/result"
)

// Own choices.
const (
	// minConfidence of a hinge point whose motion is measured.
	minConfidence = 0.5
	// edgeMargin in source pixels within which the atrium counts as touching the
	// edge of the analysed region, and the part of its outline that may do so.
	edgeMargin = 3
	edgePart   = 0.02
	// sectorMargin is the same for the edge of the sector, as a part of its larger
	// side: of 90 pictures (CAMUS, A4C, end-systole) 36 atria touch the picture's edge
	// and 4 more the sector's.
	sectorMargin = 0.01
	// minAtriumConfidence of the outline of an atrium: of those 90, which the network
	// has seen, one lies below 0.73. maxAtriumDifference is the most by which its
	// lengths in two planes may differ (mm; ASE/EACVI 2015).
	minAtriumConfidence = 0.7
	maxAtriumDifference = 5
	// maxStep between frames, in ms, and minSystolic of them from end-diastole to
	// end-systole for peak rates.
	maxStep     = 34
	minSystolic = 8
	// The slope of a peak rate is taken over such a part of the time from
	// end-diastole to end-systole, of 420 ms at 60 beats a minute. Of an ejection
	// that follows a cosine within 340 ms that finds 94 % of the steepest slope,
	// of a filling within 170 ms 92 %. Over 60 ms, as it was, the steepest of many
	// noisy slopes came out too steep by 20 to 70 % at a noise of 1 to 3 %.
	ejectionPart, fillingPart = 0.4, 0.25
	// maxSlopeError is how uncertain a peak rate may be (95 %), as a part of it. On
	// simulated hearts (EF 25 to 75 %, 30 to 80 frames a second, 60 to 150 beats a
	// minute, up to 3 % of noise) the rates of three beats are then 4 % too low, and
	// off by 14 % or less (root mean square of each kind of clip; 18 % in one of
	// them, EF 45 % at 3 % of noise).
	maxSlopeError = 0.2
	// The steepest slopes of ejection and filling that are expected, in the mean
	// slope of systole.
	ejectionSlope, fillingSlope = 1.7, 2.5
	// volumeNoise is how much more the volume of a frame varies than its area
	// (measure).
	volumeNoise = 1.8
)

// Options are what the model allows.
type Options struct {
	// Atrium are the views in which its left atrium has been shown to be accurate
	// enough to measure with (models.Card.ValidatedIn).
	Atrium []string
}

// OfLoop derives the values of an apical loop that was measured. They share the
// beats, the frames and the doubts of its ejection fraction.
func OfLoop(l *result.Loop, o Options) []result.Measurement {
	c := open(l)
	if c == nil {
		return nil
	}
	c.strain()
	c.sphericity()
	c.slopes()
	if l.View == models.ViewA4C {
		c.annulus()
	}
	c.atrium(slices.Contains(o.Atrium, l.View))
	return c.out
}

// open prepares a measured apical loop; it is nil where none of its values is
// taken.
func open(l *result.Loop) *cavity {
	ef := find(l.Measurements, result.EF)
	if ef == nil || (l.View != models.ViewA4C && l.View != models.ViewA2C) {
		return nil
	}
	c := &cavity{Loop: l, like: *ef}
	c.spacing.X, c.spacing.Y = l.PixelSize()
	for i, b := range l.Beats {
		if b.Rejected == nil {
			c.beats = append(c.beats, l.Beats[i])
		}
	}
	if len(c.beats) == 0 {
		return nil
	}
	return c
}

// find is a value that was measured; nil without it.
func find(ms []result.Measurement, name string) *result.Measurement {
	i := slices.IndexFunc(ms, func(m result.Measurement) bool { return m.Name == name && m.Value != nil })
	if i < 0 {
		return nil
	}
	return &ms[i]
}

// cavity is a loop under measurement.
type cavity struct {
	*result.Loop
	like    result.Measurement // whose beats and doubts the values share
	spacing lv.Spacing
	beats   []result.Beat
	out     []result.Measurement
}

// add lists a value over the beats; a number that cannot be is listed with its
// reason.
func (c *cavity) add(name, method string, beats []float64, sources []result.Source) {
	if len(beats) == 0 {
		return
	}
	trusted, why := c.Spacing.Trusted, c.Spacing.Reason
	if r := SizeRefused(c.Loop); r != nil {
		trusted, why = false, r.Text
	}
	c.out = append(c.out, finish(name, method, c.like, lv.Summarize(beats).Mean, beats, sources, trusted, why))
}

// SizeRefused is why nothing of a calibrated loop is given in centimetres: with its
// scale something has a size that cannot be. It is nil where that is not so.
func SizeRefused(l *result.Loop) *result.Reason {
	i := slices.IndexFunc(l.Measurements, func(m result.Measurement) bool { return m.Reason != nil && m.Reason.Code == result.UnusualSize })
	if i < 0 {
		return nil
	}
	return l.Measurements[i].Reason
}

// refuse lists a value with the reason why it is not given.
func (c *cavity) refuse(name, method, code, text string) {
	like := c.like
	like.Method, like.View = method, c.View
	c.out = append(c.out, refused(name, like, result.Reason{Code: code, Text: text}))
}

// finish makes a measurement with the gates that every quantity has.
func finish(name, method string, like result.Measurement, v float64, beats []float64, sources []result.Source, calibrated bool, why string) result.Measurement {
	q, _ := quantity.Of(name)
	m := result.Measurement{Name: name, Unit: q.Unit, Method: method, View: like.View, Stage: like.Stage, StageNumber: like.StageNumber,
		Quality: like.Quality, Sources: sources}
	refuse := func(r result.Reason) result.Measurement { return refused(name, m, r) }
	switch {
	case q.Calibrated && !calibrated:
		return refuse(result.Reasonf(result.NoCalibration, "no trustworthy calibration: %s", why))
	case !q.Plausible.Holds(v):
		return refuse(result.Reasonf(result.ImplausibleValue, "%s of %s %s cannot be", q.Title, q.Format(v), q.UnitText()))
	}
	v = result.Round(v, 4)
	m.Value = &v
	for _, b := range beats {
		m.Beats = append(m.Beats, result.Round(b, 4))
	}
	return m
}

// refused is a quantity that is not given, beside a value of its kind, with the
// reason.
func refused(name string, like result.Measurement, r result.Reason) result.Measurement {
	q, _ := quantity.Of(name)
	return result.Measurement{Name: name, Unit: q.Unit, Method: like.Method, View: like.View, Stage: like.Stage, StageNumber: like.StageNumber,
		Quality: result.Quality{Grade: result.None}, Reason: &r}
}

func (c *cavity) source(frame int, phase string) result.Source {
	return result.Source{SOPInstanceUID: c.SOPInstanceUID, Frame: frame, Phase: phase, Beside: c.SecondPlane}
}

// both are the sources of values that need end-diastole and end-systole.
func (c *cavity) both() (out []result.Source) {
	for _, b := range c.beats {
		out = append(out, c.source(b.ED, "ED"), c.source(b.ES, "ES"))
	}
	return out
}

// plane measures the outline of a frame.
func (c *cavity) plane(i int) (*result.Frame, lv.Plane, bool) {
	f := c.FrameAt(i)
	if f == nil || len(f.Contour) < 3 {
		return nil, lv.Plane{}, false
	}
	p, err := lv.MeasurePlane(longaxis.Points(f.Contour), c.spacing, longaxis.Landmarks(longaxis.Keypoints(f)),
		longaxis.Options(c.Loop, lv.DefaultAxisOptions()))
	return f, p, err == nil
}

// strain is the change of the endocardial contour's length from end-diastole to
// end-systole in per cent of that at end-diastole, negative for shortening. The
// contour runs from one hinge point over the apex to the other; no tissue is
// followed, so that it is no speckle-tracking strain.
func (c *cavity) strain() {
	var beats []float64
	for _, b := range c.beats {
		_, ed, ok1 := c.plane(b.ED)
		_, es, ok2 := c.plane(b.ES)
		if !ok1 || !ok2 {
			continue
		}
		d := EndocardialLength(longaxis.Points(c.FrameAt(b.ED).Contour), ed.Axis, c.spacing)
		s := EndocardialLength(longaxis.Points(c.FrameAt(b.ES).Contour), es.Axis, c.spacing)
		if d > 0 && s > 0 {
			beats = append(beats, 100*(s-d)/d)
		}
	}
	c.add(result.ContourStrain, result.ContourLength, beats, c.both())
}

// EndocardialLength is the length in mm of the contour from one hinge point over
// the apex to the other: the closed contour without the mitral line.
func EndocardialLength(contour []lv.Point, axis lv.Axis, s lv.Spacing) float64 {
	n := len(contour)
	if n < 3 {
		return 0
	}
	nearest := func(p lv.Point) int {
		best := 0
		for i := range contour {
			if s.Distance(contour[i], p) < s.Distance(contour[best], p) {
				best = i
			}
		}
		return best
	}
	a, b, apex := nearest(axis.Annulus[0]), nearest(axis.Annulus[1]), nearest(axis.Apex)
	along := func(from, to int) (length float64, passes bool) {
		for i := from; i != to; i = (i + 1) % n {
			passes = passes || i == apex
			length += s.Distance(contour[i], contour[(i+1)%n])
		}
		return length, passes || to == apex
	}
	if length, passes := along(a, b); passes {
		return length
	}
	length, _ := along(b, a)
	return length
}

// sphericity is the width in the middle of the long axis over its length, at
// end-diastole.
func (c *cavity) sphericity() {
	var beats []float64
	var sources []result.Source
	for _, b := range c.beats {
		if _, p, ok := c.plane(b.ED); ok && p.Axis.LengthMM > 0 && len(p.Disks) > 0 {
			beats = append(beats, p.Disks[len(p.Disks)/2].DiameterMM/p.Axis.LengthMM)
			sources = append(sources, c.source(b.ED, "ED"))
		}
	}
	c.add(result.Sphericity, result.Planimetry, beats, sources)
}

// annulus is how far the hinge points move towards the apex between
// end-diastole and end-systole, along the long axis at end-diastole (image-based
// MAPSE).
func (c *cavity) annulus() {
	for _, side := range []struct{ point, name string }{{models.KeypointMitralSeptal, result.AnnulusSeptal},
		{models.KeypointMitralLateral, result.AnnulusLateral}} {
		var beats []float64
		for _, b := range c.beats {
			ed, p, ok := c.plane(b.ED)
			es := c.FrameAt(b.ES)
			if !ok || es == nil {
				continue
			}
			from, to := longaxis.Keypoint(ed, side.point), longaxis.Keypoint(es, side.point)
			if from == nil || to == nil || from.Confidence < minConfidence || to.Confidence < minConfidence {
				continue
			}
			ux, uy := (p.Axis.Apex.X-p.Axis.Base.X)*c.spacing.X, (p.Axis.Apex.Y-p.Axis.Base.Y)*c.spacing.Y
			if l := math.Hypot(ux, uy); l > 0 {
				mm := ((to.X-from.X)*c.spacing.X*ux + (to.Y-from.Y)*c.spacing.Y*uy) / l
				beats = append(beats, mm/10)
			}
		}
		c.add(side.name, result.PointTracking, beats, c.both())
	}
}

// atrium measures the left atrium where it is largest, at the end of the
// ventricle's systole: its area, and the volume by area and length in one plane,
// 8 A^2 / (3 pi L), with L from the middle of the annulus to the farthest point
// of the roof (ASE/EACVI 2015). An atrium that the picture or the sector cuts, that is
// uncertain or that the model is not validated for is refused.
func (c *cavity) atrium(validated bool) {
	refuse := func(r result.Reason) {
		c.refuse(result.LAArea, result.Planimetry, r.Code, r.Text)
		c.refuse(result.LAVolume, result.AreaLength, r.Code, r.Text)
	}
	found, why := c.atria()
	switch {
	case len(found) == 0 && why == nil:
		return
	case !validated:
		refuse(result.Reasonf(result.NotValidated, "the model's left atrium has not been shown to be accurate enough to measure with in the view %s", c.View))
		return
	case len(found) == 0:
		refuse(*why)
		return
	}
	var areas, volumes []float64
	var sources []result.Source
	for _, a := range found {
		areas = append(areas, a.area/100)
		volumes = append(volumes, lv.AreaLengthVolume(a.area, a.length))
		sources = append(sources, c.source(a.frame, "ES"))
	}
	c.add(result.LAArea, result.Planimetry, areas, sources)
	c.add(result.LAVolume, result.AreaLength, volumes, sources)
}

// atrium is the left atrium in a frame: mm2 and mm, or pixels where the loop is
// not calibrated.
type atrium struct {
	frame        int
	area, length float64
}

// atria are the left atria at the end of systole of the beats; without any the
// reason says why those that were outlined do not count, and is nil where none
// was.
func (c *cavity) atria() (out []atrium, why *result.Reason) {
	for _, b := range c.beats {
		f, p, ok := c.plane(b.ES)
		if !ok {
			continue
		}
		outline := longaxis.Points(f.Structures[models.ClassLeftAtrium])
		if len(outline) < 3 {
			continue
		}
		if c.touchesEdge(outline) {
			r := result.Reasonf("atrium-cut", "the left atrium reaches the edge of the picture")
			why = &r
			continue
		}
		if sure, known := f.StructureConfidence[models.ClassLeftAtrium]; known && sure < minAtriumConfidence {
			r := result.Reasonf(result.LowConfidence, "the outline of the left atrium is uncertain")
			why = &r
			continue
		}
		a := atrium{frame: b.ES, area: lv.PolygonArea(outline, c.spacing)}
		for _, q := range outline {
			a.length = max(a.length, c.spacing.Distance(p.Axis.Base, q))
		}
		if a.area > 0 && a.length > 0 {
			out = append(out, a)
		}
	}
	return out, why
}

// touchesEdge reports whether an outline runs along the edge of the analysed
// region or of the sector.
func (c *cavity) touchesEdge(outline []lv.Point) bool {
	lo, hi := lv.Point{}, lv.Point{X: float64(c.Columns - 1), Y: float64(c.Rows - 1)}
	if r := c.Region; r != nil {
		lo, hi = lv.Point{X: float64(r.MinX), Y: float64(r.MinY)}, lv.Point{X: float64(r.MaxX - 1), Y: float64(r.MaxY - 1)}
	}
	return lv.BorderPart(outline, lo, hi, edgeMargin) > edgePart || lv.SectorPart(outline, longaxis.Points(c.Sector), sectorMargin) > edgePart
}

// slopes are the steepest fall of the volume during systole and its steepest
// rise before the next end-diastole, in end-diastolic volumes a second: each the
// regression line over a part of systole, so that both come out a little low
// rather than high with the noise of the outlines. They are given where the
// frame rate shows them and the noise of the outlines leaves them certain.
func (c *cavity) slopes() {
	if len(c.FrameTimes) != c.Frames {
		return
	}
	var ejection, filling []float64
	var whyEjection, whyFilling result.Reason
	for _, b := range c.beats {
		fall, rise := c.beatSlopes(b)
		if fall.why == nil {
			ejection = append(ejection, fall.rate)
		} else {
			whyEjection = *fall.why
		}
		if rise.why == nil {
			filling = append(filling, rise.rate)
		} else {
			whyFilling = *rise.why
		}
	}
	list := func(name string, rates []float64, why result.Reason) {
		if len(rates) == 0 {
			c.refuse(name, result.VolumeCurve, why.Code, why.Text)
			return
		}
		c.add(name, result.VolumeCurve, rates, c.both())
	}
	list(result.PeakEjection, ejection, whyEjection)
	list(result.PeakFilling, filling, whyFilling)
}

// peak is a rate in end-diastolic volumes a second, or why there is none.
type peak struct {
	rate float64
	why  *result.Reason
}

// beatSlopes are the peak rates of a beat.
func (c *cavity) beatSlopes(b result.Beat) (ejection, filling peak) {
	no := func(code, format string, args ...any) peak {
		r := result.Reasonf(code, format, args...)
		return peak{why: &r}
	}
	neither := func(code, format string, args ...any) (peak, peak) {
		p := no(code, format, args...)
		return p, p
	}
	last := max(b.NextED, b.ES)
	if last >= c.Frames || b.ES <= b.ED || b.Partial {
		return neither(result.NoBeat, "the clip does not show a whole contraction")
	}
	step := (c.FrameTimes[last] - c.FrameTimes[b.ED]) / float64(last-b.ED)
	if !(step > 0) {
		return neither(result.NoFrameTimes, "the object does not say when its frames were taken")
	}
	var ts, vs []float64
	systolic := 0
	for i := b.ED; i <= last; i++ {
		if _, p, ok := c.plane(i); ok && (c.Curve == nil || !slices.Contains(c.Curve.Removed, i)) {
			ts, vs = append(ts, c.FrameTimes[i]), append(vs, p.VolumeML)
			if i <= b.ES {
				systolic++
			}
		}
	}
	if step > maxStep || systolic < minSystolic {
		return neither(string(lv.GateFrameRate), "%.0f frames per second, %d of them in systole: too few for the rate of a moment", 1000/step, systolic)
	}
	const noisy = "the outlines vary too much from frame to frame for the rate of a moment"
	systole := c.FrameTimes[b.ES] - c.FrameTimes[b.ED]
	noise := 0.0
	if c.Curve != nil {
		noise = volumeNoise * c.Curve.Noise
	}
	// What is certain is judged by the mean slope of systole, not by the steepest:
	// that would let pass what came out too steep.
	mean := (vs[0] - vs[systolic-1]) / systole
	fall, rise := PeakSlopes(ts, vs, c.FrameTimes[b.ES], ejectionPart*systole/2, fillingPart*systole/2)
	if ejection = (peak{rate: -fall.PerMS * 1000 / vs[0]}); !(vs[0] > 0) || !fall.certain(noise, ejectionSlope*mean) {
		ejection = no(string(lv.GatePrecision), noisy)
	}
	switch filling = (peak{rate: rise.PerMS * 1000 / vs[0]}); {
	case b.NextED <= b.ES:
		filling = no(result.NoBeat, "the clip ends before the next end-diastole")
	case !(vs[0] > 0) || !(rise.PerMS > 0) || !rise.certain(noise, fillingSlope*mean):
		filling = no(string(lv.GatePrecision), noisy)
	}
	return ejection, filling
}

// Slope of a curve by regression.
type Slope struct {
	PerMS float64
	// Level is the curve's mean where the slope was taken, and Error the standard
	// error of the slope for a standard deviation of 1 in a single value.
	Level, Error float64
}

// certain reports whether noise, a part of the level, moves the slope by no more
// than maxSlopeError of what is expected (95 %).
func (s Slope) certain(noise, expected float64) bool {
	return s.Error > 0 && 1.96*noise*s.Level*s.Error <= maxSlopeError*expected
}

// PeakSlopes are the most negative slope of a curve up to a time and the most
// positive after it, by regression over so many ms to both sides; the zero Slope
// where there are too few values.
func PeakSlopes(ts, vs []float64, split, ejection, filling float64) (fall, rise Slope) {
	for i := range ts {
		if ts[i] <= split {
			if s := slopeAt(ts, vs, ts[i], ejection); s.PerMS < fall.PerMS {
				fall = s
			}
		} else if s := slopeAt(ts, vs, ts[i], filling); s.PerMS > rise.PerMS {
			rise = s
		}
	}
	return fall, rise
}

// slopeAt is the regression line of the values within half of a time.
func slopeAt(ts, vs []float64, at, half float64) Slope {
	var n, st, sv, stt, stv float64
	for k := range ts {
		if t := ts[k] - at; math.Abs(t) <= half+1e-9 {
			n, st, sv, stt, stv = n+1, st+t, sv+vs[k], stt+t*t, stv+t*vs[k]
		}
	}
	d := n*stt - st*st
	if n < 3 || d <= 0 {
		return Slope{}
	}
	return Slope{PerMS: (n*stv - st*sv) / d, Level: sv / n, Error: math.Sqrt(n / d)}
}
