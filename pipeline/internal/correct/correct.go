// Package correct applies what a reader changed to a study's result and has it
// measured again, by the same code that measured the network's. What the
// network found stays in the result beside what the reader made of it.
package correct

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/internal/longaxis"
	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/measure"
	"github.com/echonode/echonode/pipeline/result"
)

// ErrInvalid says that a correction does not fit the study.
var ErrInvalid = errors.New("the correction does not fit the study")

// Problem says which correction does not fit, and why. It is an [ErrInvalid].
type Problem struct {
	Kind  Kind
	Loop  string // SOP Instance UID
	Frame int    // from 0, where Kind is about a frame
}

// Kind of a problem.
type Kind string

// Kinds of problems.
const (
	NoLoop      Kind = "noloop"      // no such loop in the study
	NotAnalysed Kind = "notanalysed" // a loop that was not analysed
	NoView      Kind = "noview"      // no view that can be chosen
	NotWhole    Kind = "notwhole"    // a view of a loop whose frames the network has not all looked at
	Refused     Kind = "refused"     // a view of a loop that was refused for something else
	NoBeat      Kind = "nobeat"      // ED or ES that is no frame, or the same frame twice
	NoFrame     Kind = "noframe"     // no such frame, or none with an outline
	NoOutline   Kind = "nooutline"   // an outline of too few or too many points
	Outside     Kind = "outside"     // a point outside the picture
	NoPoints    Kind = "nopoints"    // not the four wall points of the parasternal view, or those of another view
	Order       Kind = "order"       // wall points that do not follow each other along their line
	Implausible Kind = "implausible" // wall points so far apart or so close as no wall or cavity is
	TooMany     Kind = "toomany"     // more calipers than are kept, or a frame twice
)

func (p *Problem) Error() string {
	return fmt.Sprintf("loop %s, frame %d: %s", p.Loop, p.Frame, p.Kind)
}

func (p *Problem) Unwrap() error { return ErrInvalid }

// Corrections are what a reader changed, by the loops' SOP Instance UIDs.
type Corrections struct {
	Loops map[string]Loop `json:"loops,omitempty"`
}

// Loop is what a reader changed in a loop.
type Loop struct {
	// Excluded leaves the loop out of the study.
	Excluded bool `json:"excluded,omitempty"`
	// View is what the reader sees, one of the apical views; empty leaves the
	// network's. It overrides what the network and the object say of the view, and
	// no other reason for which a loop was refused.
	View string `json:"view,omitempty"`
	// Beats replace those that were found; nil leaves them. Only ED and ES are
	// read.
	Beats []Beat `json:"beats,omitempty"`
	// Frames are corrected outlines.
	Frames []Frame `json:"frames,omitempty"`
	// Calipers replace those kept with the loop; nil leaves them. They change no
	// value.
	Calipers []Caliper `json:"calipers,omitempty"`
}

// Caliper is a distance in a frame, between two points in source pixels.
type Caliper struct {
	Frame int        `json:"frame"`
	A     [2]float64 `json:"a"`
	B     [2]float64 `json:"b"`
}

// Beat is a heart beat by the frames of its end-diastole and end-systole,
// counted from 0.
type Beat struct {
	ED int `json:"ed"`
	ES int `json:"es"`
}

// Frame is what a reader drew in a frame, in source pixels: of an apical view
// the outline of the cavity, closed, without the first point repeated, with the
// apex and the mitral hinge points; of the parasternal long axis the four points
// of its walls.
type Frame struct {
	Frame   int            `json:"frame"`
	Contour result.Contour `json:"contour,omitempty"`
	Apex    *[2]float64    `json:"apex,omitempty"`
	Septal  *[2]float64    `json:"septal,omitempty"`
	Lateral *[2]float64    `json:"lateral,omitempty"`
	// WallPoints are by the names of the network's points ([WallPoints]).
	WallPoints map[string][2]float64 `json:"wall_points,omitempty"`
}

// WallPoints are the points of the parasternal long axis, along the line that
// septum, cavity and posterior wall are measured on.
var WallPoints = []string{models.KeypointIVSRight, models.KeypointIVSLeft, models.KeypointPWInner, models.KeypointPWOuter}

// Views that a reader may choose.
var Views = []string{models.ViewA4C, models.ViewA2C, models.ViewA3C}

// maxPoints bounds an outline, maxCalipers the calipers of a loop.
const maxPoints, maxCalipers = 2000, 200

// Empty reports whether nothing was changed that a value depends on.
func (c Corrections) Empty() bool {
	for _, l := range c.Loops {
		if !l.empty() {
			return false
		}
	}
	return true
}

func (l Loop) empty() bool {
	return !l.Excluded && l.View == "" && l.Beats == nil && len(l.Frames) == 0
}

// Merge adds later corrections of a study to earlier ones; where both say
// something, the later count.
func (c Corrections) Merge(later Corrections) Corrections {
	out := Corrections{Loops: maps.Clone(c.Loops)}
	if out.Loops == nil {
		out.Loops = map[string]Loop{}
	}
	for uid, l := range later.Loops {
		m := out.Loops[uid]
		m.Excluded = l.Excluded || m.Excluded && l.empty()
		if l.View != "" {
			m.View = l.View
		}
		if l.Beats != nil {
			m.Beats = l.Beats
		}
		if l.Calipers != nil {
			m.Calipers = l.Calipers
		}
		m.Frames = slices.DeleteFunc(slices.Clone(m.Frames), func(f Frame) bool {
			return slices.ContainsFunc(l.Frames, func(n Frame) bool { return n.Frame == f.Frame })
		})
		m.Frames = append(m.Frames, l.Frames...)
		out.Loops[uid] = m
	}
	return out
}

// Fitting are those corrections that a study takes, loop by loop.
func Fitting(base *result.Study, c Corrections, o measure.Options) Corrections {
	out := Corrections{Loops: map[string]Loop{}}
	for uid, l := range c.Loops {
		if _, err := Apply(base, Corrections{Loops: map[string]Loop{uid: l}}, o); err == nil {
			out.Loops[uid] = l
		}
	}
	return out
}

// Apply returns a copy of a study's result with the corrections in it, measured
// again. It returns an error wrapping [ErrInvalid] for what does not fit.
func Apply(base *result.Study, c Corrections, o measure.Options) (*result.Study, error) {
	s := copyOf(base)
	for uid, change := range c.Loops {
		i := slices.IndexFunc(s.Loops, func(l result.Loop) bool { return l.SOPInstanceUID == uid })
		if i < 0 {
			return nil, &Problem{Kind: NoLoop, Loop: uid}
		}
		if err := own(&s.Loops[i]); err != nil {
			return nil, err
		}
		if err := putCalipers(&s.Loops[i], change.Calipers); err != nil {
			return nil, err
		}
		if change.empty() {
			continue
		}
		if err := apply(&s.Loops[i], change); err != nil {
			return nil, err
		}
		measure.Loop(&s.Loops[i], o)
	}
	measure.Study(s, o)
	measure.MarkReader(s)
	return s, nil
}

// copyOf is a copy of a study that shares nothing that measuring it writes to:
// loops that stay as they are share their frames.
func copyOf(s *result.Study) *result.Study {
	out := *s
	out.Loops = slices.Clone(s.Loops)
	out.Measurements = slices.Clone(s.Measurements)
	return &out
}

// own gives a loop contents of its own.
func own(l *result.Loop) error {
	b, err := json.Marshal(l)
	if err != nil {
		return err
	}
	*l = result.Loop{}
	return json.Unmarshal(b, l)
}

// putCalipers keeps a reader's calipers with a loop.
func putCalipers(l *result.Loop, calipers []Caliper) error {
	if calipers == nil {
		return nil
	}
	if len(calipers) > maxCalipers {
		return &Problem{Kind: TooMany, Loop: l.SOPInstanceUID}
	}
	if l.Reader == nil {
		l.Reader = new(result.LoopDecision)
	}
	l.Reader.Calipers = nil
	for _, c := range calipers {
		if c.Frame < 0 || c.Frame >= l.Frames {
			return &Problem{Kind: NoFrame, Loop: l.SOPInstanceUID, Frame: c.Frame}
		}
		if !inside(l, c.A) || !inside(l, c.B) {
			return &Problem{Kind: Outside, Loop: l.SOPInstanceUID, Frame: c.Frame}
		}
		k := result.Caliper{Frame: c.Frame, A: c.A, B: c.B}
		if plane := planeAt(l, c); plane.Spacing.Trusted {
			x, y := plane.PixelSize()
			k.MM = result.Round(math.Hypot((c.B[0]-c.A[0])*x, (c.B[1]-c.A[1])*y), 2)
		}
		l.Reader.Calipers = append(l.Reader.Calipers, k)
	}
	return nil
}

// planeAt is the plane in whose picture a caliper lies, of two that an object shows.
func planeAt(l *result.Loop, c Caliper) *result.Loop {
	if l.Beside == nil || l.Beside.Region == nil {
		return l
	}
	r, x, y := l.Beside.Region, (c.A[0]+c.B[0])/2, (c.A[1]+c.B[1])/2
	if x >= float64(r.MinX) && x < float64(r.MaxX) && y >= float64(r.MinY) && y < float64(r.MaxY) {
		return l.Beside
	}
	return l
}

// inside reports whether a point is in the picture of a loop.
func inside(l *result.Loop, p [2]float64) bool {
	return p[0] >= -1 && p[1] >= -1 && p[0] <= float64(l.Columns) && p[1] <= float64(l.Rows)
}

func apply(l *result.Loop, c Loop) error {
	if l.Reader == nil {
		l.Reader = new(result.LoopDecision)
	}
	if !l.CorrectedByReader() {
		l.Reader.NetworkView, l.Reader.NetworkBeats, l.Reader.NetworkReason = l.View, l.Beats, l.Reason
	}
	problem := func(k Kind) error { return &Problem{Kind: k, Loop: l.SOPInstanceUID} }
	l.Run = nil // its outputs are made anew
	if c.Excluded {
		l.Status, l.Reason = result.Refused, &result.Reason{Code: result.ByReader, Text: "left out by the reader"}
		return nil
	}
	whole := len(l.FrameResults) == l.Frames && l.Frames > 0
	if c.View != "" {
		if !slices.Contains(Views, c.View) {
			return problem(NoView)
		}
		if why := l.Reader.NetworkReason; why != nil && !slices.Contains(aboutView, why.Code) {
			return problem(Refused)
		}
		if !whole {
			return problem(NotWhole)
		}
		putView(l, c.View)
	}
	if l.Status != result.Analysed {
		return problem(NotAnalysed)
	}
	if len(c.Beats) > l.Frames {
		return problem(NoBeat)
	}
	if c.Beats != nil {
		l.Reader.Beats = []result.Beat{}
		for i, b := range c.Beats {
			if b.ED < 0 || b.ES < 0 || b.ED >= l.Frames || b.ES >= l.Frames || b.ED == b.ES {
				return problem(NoBeat)
			}
			next := -1
			if i+1 < len(c.Beats) {
				next = c.Beats[i+1].ED
			}
			l.Reader.Beats = append(l.Reader.Beats, result.Beat{ED: b.ED, ES: b.ES, NextED: next})
		}
	}
	seen := make(map[int]bool, min(len(c.Frames), l.Frames))
	for _, f := range c.Frames {
		if seen[f.Frame] {
			return &Problem{Kind: TooMany, Loop: l.SOPInstanceUID, Frame: f.Frame}
		}
		seen[f.Frame] = true
		if err := applyFrame(l, f); err != nil {
			return err
		}
	}
	return nil
}

// aboutView are the codes of reasons that a reader's view overrides: those that doubt which
// view it is, and those that doubt the picture beside it, which stay as a remark.
var aboutView = []string{result.ViewNotMeasured, result.ViewUncertain, result.Unfamiliar, result.MirroredDisplay}

// putView makes a loop one of the view that a reader sees. Remarks on another view are of
// the past then: that the object calls it otherwise than the network, and that it is the
// four-chamber plane of two on a screen.
func putView(l *result.Loop, view string) {
	why := l.Reader.NetworkReason
	if why != nil && (why.Code == result.Unfamiliar || why.Code == result.MirroredDisplay) && !slices.Contains(l.Warnings, *why) {
		l.Warnings = append(l.Warnings, *why)
	}
	l.Warnings = slices.DeleteFunc(l.Warnings, func(w result.Reason) bool {
		return w.Code == result.ViewName || w.Code == result.TwoPlanes && view != models.ViewA4C
	})
	l.View, l.ViewProbability, l.Status, l.Reason = view, 1, result.Analysed, nil
}

func applyFrame(l *result.Loop, c Frame) error {
	problem := func(k Kind) error { return &Problem{Kind: k, Loop: l.SOPInstanceUID, Frame: c.Frame} }
	if c.Frame < 0 || c.Frame >= l.Frames {
		return problem(NoFrame)
	}
	if l.View == models.ViewPLAX || len(c.WallPoints) > 0 {
		return applyWallPoints(l, c)
	}
	if len(c.Contour) < 3 || len(c.Contour) > maxPoints {
		return problem(NoOutline)
	}
	for _, p := range c.Contour {
		if !inside(l, [2]float64{p[0], p[1]}) {
			return problem(Outside)
		}
	}
	f := l.FrameAt(c.Frame)
	if f == nil {
		return problem(NoFrame)
	}
	if f.Network == nil {
		f.Network = &result.Found{Contour: f.Contour, Keypoints: f.Keypoints}
	}
	f.Contour = result.NewContour(len(c.Contour), func(i int) (float64, float64) { return c.Contour[i][0], c.Contour[i][1] })
	f.Confidence, f.Stray, f.ExpectedDice, f.Unseen, f.Lost = 1, 0, 0, 0, nil
	points := slices.Clone(f.Network.Keypoints)
	for name, p := range map[string]*[2]float64{models.KeypointApex: c.Apex, models.KeypointMitralSeptal: c.Septal, models.KeypointMitralLateral: c.Lateral} {
		if p == nil {
			continue
		}
		if !inside(l, *p) {
			return problem(Outside)
		}
		k := result.Keypoint{Name: name, X: p[0], Y: p[1], Confidence: 1}
		if i := slices.IndexFunc(points, func(k result.Keypoint) bool { return k.Name == name }); i >= 0 {
			points[i] = k
		} else {
			points = append(points, k)
		}
	}
	f.Keypoints = points
	f.LVAreaPixels = result.Round(lv.PolygonArea(longaxis.Points(f.Contour), lv.Spacing{X: 1, Y: 1}), 2)
	if l.Spacing.Trusted {
		f.LVArea = result.Round(lv.PolygonArea(longaxis.Points(f.Contour), longaxis.Spacing(l))/100, 4)
	}
	return nil
}

// applyWallPoints puts a reader's points of the parasternal long axis into a frame.
func applyWallPoints(l *result.Loop, c Frame) error {
	problem := func(k Kind) error { return &Problem{Kind: k, Loop: l.SOPInstanceUID, Frame: c.Frame} }
	if l.View != models.ViewPLAX || len(c.WallPoints) != len(WallPoints) || len(c.Contour) > 0 {
		return problem(NoPoints)
	}
	var points []result.Keypoint
	for _, name := range WallPoints {
		p, ok := c.WallPoints[name]
		if !ok {
			return problem(NoPoints)
		}
		if !inside(l, p) {
			return problem(Outside)
		}
		points = append(points, result.Keypoint{Name: name, X: p[0], Y: p[1], Confidence: 1})
	}
	at := func(k int) lv.Point { return lv.Point{X: points[k].X, Y: points[k].Y} }
	err := measure.Walls(l, lv.Calipers{IVSRight: at(0), IVSLeft: at(1), PWInner: at(2), PWOuter: at(3)})
	switch {
	case errors.Is(err, measure.ErrOrder):
		return problem(Order)
	case err != nil:
		return problem(Implausible)
	}
	f := l.FrameAt(c.Frame)
	if f == nil {
		return problem(NoFrame)
	}
	if f.Network == nil {
		f.Network = &result.Found{Contour: f.Contour, Keypoints: f.Keypoints}
	}
	f.Keypoints, f.Lost = points, nil
	return nil
}

// Withdraw returns a copy of a study's result without any value: what a reader
// rejected.
func Withdraw(base *result.Study) *result.Study {
	s := copyOf(base)
	for i := range s.Measurements {
		m := &s.Measurements[i]
		m.Value, m.Beats, m.Others, m.Sources, m.ByReader = nil, nil, nil, nil, false
		m.Quality = result.Quality{Grade: result.None}
		m.Reason = &result.Reason{Code: result.ByReader, Text: "rejected by the reader"}
	}
	return s
}
