// Package correct applies what a reader changed to a study's result and has it
// measured again, by the same code that measured the network's. What the
// network found stays in the result beside what the reader made of it.
package correct

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/longaxis"
	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/measure"
	"github.com/echonode/echonode/pipeline/result"
)

// ErrInvalid says that a correction does not fit the study.
var ErrInvalid = errors.New("the correction does not fit the study")

// Corrections are what a reader changed, by the loops' SOP Instance UIDs.
type Corrections struct {
	Loops map[string]Loop `json:"loops,omitempty"`
}

// Loop is what a reader changed in a loop.
type Loop struct {
	// Excluded leaves the loop out of the study.
	Excluded bool `json:"excluded,omitempty"`
	// View is what the reader sees, one of the apical views; empty leaves the
	// network's.
	View string `json:"view,omitempty"`
	// Beats replace those that were found; nil leaves them. Only ED and ES are
	// read.
	Beats []Beat `json:"beats,omitempty"`
	// Frames are corrected outlines.
	Frames []Frame `json:"frames,omitempty"`
}

// Beat is a heart beat by the frames of its end-diastole and end-systole,
// counted from 0.
type Beat struct {
	ED int `json:"ed"`
	ES int `json:"es"`
}

// Frame is the outline of the cavity in a frame as a reader drew it, closed,
// without the first point repeated, with the apex and the mitral hinge points,
// in source pixels.
type Frame struct {
	Frame   int            `json:"frame"`
	Contour result.Contour `json:"contour"`
	Apex    *[2]float64    `json:"apex,omitempty"`
	Septal  *[2]float64    `json:"septal,omitempty"`
	Lateral *[2]float64    `json:"lateral,omitempty"`
}

// Views that a reader may choose.
var Views = []string{models.ViewA4C, models.ViewA2C, models.ViewA3C}

// maxPoints bounds an outline.
const maxPoints = 2000

// Empty reports whether nothing was changed.
func (c Corrections) Empty() bool {
	for _, l := range c.Loops {
		if l.Excluded || l.View != "" || l.Beats != nil || len(l.Frames) > 0 {
			return false
		}
	}
	return true
}

// Apply returns a copy of a study's result with the corrections in it, measured
// again. It returns an error wrapping [ErrInvalid] for what does not fit.
func Apply(base *result.Study, c Corrections, o measure.Options) (*result.Study, error) {
	s := copyOf(base)
	for uid, change := range c.Loops {
		i := slices.IndexFunc(s.Loops, func(l result.Loop) bool { return l.SOPInstanceUID == uid })
		if i < 0 {
			return nil, fmt.Errorf("no loop %s: %w", uid, ErrInvalid)
		}
		if err := own(&s.Loops[i]); err != nil {
			return nil, err
		}
		if err := apply(&s.Loops[i], change); err != nil {
			return nil, fmt.Errorf("loop %s: %w", uid, err)
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

func apply(l *result.Loop, c Loop) error {
	if l.Reader == nil {
		l.Reader = &result.LoopDecision{NetworkView: l.View, NetworkBeats: l.Beats}
	}
	l.Run = nil // its outputs are made anew
	if c.Excluded {
		l.Status, l.Reason = result.Refused, &result.Reason{Code: result.ByReader, Text: "left out by the reader"}
		return nil
	}
	whole := len(l.FrameResults) == l.Frames && l.Frames > 0
	if c.View != "" {
		if !slices.Contains(Views, c.View) {
			return fmt.Errorf("view %q: %w", c.View, ErrInvalid)
		}
		if !whole {
			return fmt.Errorf("the network has not looked at every frame: %w", ErrInvalid)
		}
		l.View, l.ViewProbability, l.Status, l.Reason = c.View, 1, result.Analysed, nil
	}
	if l.Status != result.Analysed {
		return fmt.Errorf("a loop that was not analysed cannot be corrected: %w", ErrInvalid)
	}
	if c.Beats != nil {
		l.Reader.Beats = []result.Beat{}
		for i, b := range c.Beats {
			if b.ED < 0 || b.ES < 0 || b.ED >= l.Frames || b.ES >= l.Frames || b.ED == b.ES {
				return fmt.Errorf("ED %d and ES %d: %w", b.ED, b.ES, ErrInvalid)
			}
			next := -1
			if i+1 < len(c.Beats) {
				next = c.Beats[i+1].ED
			}
			l.Reader.Beats = append(l.Reader.Beats, result.Beat{ED: b.ED, ES: b.ES, NextED: next})
		}
	}
	for _, f := range c.Frames {
		if err := applyFrame(l, f); err != nil {
			return err
		}
	}
	return nil
}

func applyFrame(l *result.Loop, c Frame) error {
	if c.Frame < 0 || c.Frame >= l.Frames || len(c.Contour) < 3 || len(c.Contour) > maxPoints {
		return fmt.Errorf("frame %d with %d points: %w", c.Frame, len(c.Contour), ErrInvalid)
	}
	inside := func(x, y float64) bool {
		return !math.IsNaN(x) && !math.IsNaN(y) && x >= -1 && y >= -1 && x <= float64(l.Columns) && y <= float64(l.Rows)
	}
	for _, p := range c.Contour {
		if !inside(p[0], p[1]) {
			return fmt.Errorf("a point outside the picture in frame %d: %w", c.Frame, ErrInvalid)
		}
	}
	f := l.FrameAt(c.Frame)
	if f == nil {
		return fmt.Errorf("frame %d: %w", c.Frame, ErrInvalid)
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
		if !inside(p[0], p[1]) {
			return fmt.Errorf("a point outside the picture in frame %d: %w", c.Frame, ErrInvalid)
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
