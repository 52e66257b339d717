// Package measure turns what the network found in the frames of a loop into
// measurements, and the loops of a study into the study's values.
//
// Both steps are pure functions of a package result document: no pixels, no
// network, nothing private. A loop whose contour a reader has corrected is
// measured again by the same code, and a study is combined again from kept
// results whenever a loop joins it.
package measure

import (
	"slices"

	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/indices"
	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/result"
)

// Options are the settings of [Loop] and [Study].
type Options struct {
	LV lv.Options
	// WallPoints says that the network's parasternal points have been shown to
	// be accurate enough to measure with (models.Card.Validated).
	WallPoints bool
	// MinExpectedDice of an outline, below which it is remarked on; 0 for no
	// limit (models.Limits.ExpectedDice).
	MinExpectedDice float64
	Indices         indices.Options
}

// Loop measures an analysed loop, and the plane beside it: from FrameResults, FrameTimes, RWaves, Cuts
// and Spacing it makes Curve, Beats and Measurements, replacing those it had. Loops
// that were refused or failed are left alone.
func Loop(r *result.Loop, o Options) {
	if r.Status != result.Analysed {
		return
	}
	r.Curve, r.Beats, r.Measurements = nil, nil, nil
	r.Warnings = slices.DeleteFunc(r.Warnings, func(w result.Reason) bool { return w.Code == result.Rhythm })
	l := open(r, o)
	names, step := l.apicalNames(), l.measureApical
	if l.View == models.ViewPLAX {
		names, step = linearNames(), l.measureLinear
	}
	if reason := step(); reason != nil {
		for _, s := range names {
			l.Measurements = append(l.Measurements, l.missing(s, *reason))
		}
		l.addHeartRate(l.doubts())
	}
	r.Measurements = append(r.Measurements, indices.OfLoop(r, o.Indices)...)
	if r.Beside != nil {
		Loop(r.Beside, o)
	}
}

// loop is a loop under measurement.
type loop struct {
	*result.Loop
	o       Options
	spacing lv.Spacing // the pixel's shape when not calibrated
	times   []float64  // of the frames in ms, set apart at cuts
	frames  []frame    // one for every frame of the object
	rhythm  lv.Rhythm
	// beats are those that enter the values; rejections are the findings of
	// those that gates left out.
	beats      []beat
	rejections []lv.Finding
	// sector is the outline of the imaging sector; nil when unknown.
	sector []lv.Point
	// landmarks says that the network looks for the mitral annulus.
	landmarks bool
}

// frame is what was found in one frame, as the geometry takes it.
type frame struct {
	outline   *outline
	keypoints map[string]lv.Keypoint
	byReader  bool     // a reader drew the outline or placed the points
	plane     lv.Plane // of the outline
	used      bool     // plane counts
}

// outline is the contour of the cavity with what its segmentation said of it.
type outline struct {
	points           []lv.Point
	certainty, stray float64
	unseen           float64 // part without a wall beside it
	expectedDice     float64 // 0 when unknown
}

func open(r *result.Loop, o Options) *loop {
	l := &loop{Loop: r, o: o, frames: make([]frame, r.Frames), times: lv.Apart(r.FrameTimes, r.Cuts)}
	l.spacing.X, l.spacing.Y = r.PixelSize()
	for _, p := range r.Sector {
		l.sector = append(l.sector, lv.Point{X: p[0], Y: p[1]})
	}
	for _, f := range r.FrameResults {
		if f.Index >= 0 && f.Index < len(l.frames) {
			l.frames[f.Index] = readFrame(f)
			_, found := l.frames[f.Index].keypoints[models.KeypointMitralSeptal]
			l.landmarks = l.landmarks || found
		}
	}
	return l
}

func readFrame(f result.Frame) frame {
	out := frame{keypoints: make(map[string]lv.Keypoint, len(f.Keypoints)), byReader: f.Network != nil}
	if len(f.Contour) > 0 {
		out.outline = &outline{points: make([]lv.Point, len(f.Contour)), certainty: f.Confidence, stray: f.Stray, unseen: f.Unseen, expectedDice: f.ExpectedDice}
		for i, p := range f.Contour {
			out.outline.points[i] = lv.Point{X: p[0], Y: p[1]}
		}
	}
	for _, k := range f.Keypoints {
		out.keypoints[k.Name] = lv.Keypoint{Point: lv.Point{X: k.X, Y: k.Y}, Confidence: k.Confidence}
	}
	return out
}

// corners are the first and the last pixel of the analysed region.
func (l *loop) corners() (lo, hi lv.Point) {
	if r := l.Region; r != nil {
		return lv.Point{X: float64(r.MinX), Y: float64(r.MinY)}, lv.Point{X: float64(r.MaxX - 1), Y: float64(r.MaxY - 1)}
	}
	return lo, lv.Point{X: float64(l.Columns - 1), Y: float64(l.Rows - 1)}
}
