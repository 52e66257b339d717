// Package longaxis draws the long axis of the left ventricle, and finds the points
// of its walls, in the frames of a result. Whoever measures, draws or judges by it asks here, so that all of them
// have the same axis.
package longaxis

import (
	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/result"
)

// Options adds to o on which side of the loop's pictures the apex lies, for
// where contour and points do not tell: apical loops have the transducer, and so
// the apex, in the middle of the analysed region's upper edge.
func Options(l *result.Loop, o lv.AxisOptions) lv.AxisOptions {
	r := result.Region{MaxX: l.Columns, MaxY: l.Rows}
	if l.Region != nil {
		r = *l.Region
	}
	o.ApexSide = &lv.Point{X: float64(r.MinX+r.MaxX) / 2, Y: float64(r.MinY)}
	return o
}

// Landmarks are the points that the axis is drawn by, among a frame's keypoints
// by name.
func Landmarks(keypoints map[string]lv.Keypoint) lv.Landmarks {
	get := func(name string) *lv.Keypoint {
		if k, ok := keypoints[name]; ok {
			return &k
		}
		return nil
	}
	return lv.Landmarks{Apex: get(models.KeypointApex), MitralA: get(models.KeypointMitralSeptal), MitralB: get(models.KeypointMitralLateral)}
}

// Of is the axis in a frame of a loop, in source pixels; its length is in mm, or
// in pixels where the loop is not calibrated.
func Of(l *result.Loop, f *result.Frame) (lv.Axis, error) {
	return lv.LongAxis(Points(f.Contour), Spacing(l), Landmarks(Keypoints(f)), Options(l, lv.DefaultAxisOptions()))
}

// Points are a contour's points as the geometry takes them.
func Points(c result.Contour) []lv.Point {
	out := make([]lv.Point, len(c))
	for i, p := range c {
		out[i] = lv.Point{X: p[0], Y: p[1]}
	}
	return out
}

// Spacing is the size of a pixel, or its shape where that is not known.
func Spacing(l *result.Loop) lv.Spacing {
	x, y := l.PixelSize()
	return lv.Spacing{X: x, Y: y}
}

// Keypoints are a frame's keypoints by name; the first of a name counts.
func Keypoints(f *result.Frame) map[string]lv.Keypoint {
	out := make(map[string]lv.Keypoint, len(f.Keypoints))
	for _, k := range f.Keypoints {
		if _, again := out[k.Name]; !again {
			out[k.Name] = lv.Keypoint{Point: lv.Point{X: k.X, Y: k.Y}, Confidence: k.Confidence}
		}
	}
	return out
}

// Keypoint finds a point by name; nil when the frame has none.
func Keypoint(f *result.Frame, name string) *lv.Keypoint {
	if k, ok := Keypoints(f)[name]; ok {
		return &k
	}
	return nil
}

// Calipers are the four points of the parasternal long-axis view among a frame's
// keypoints by name; ok is false where one is missing or less certain than
// minConfidence.
func Calipers(keypoints map[string]lv.Keypoint, minConfidence float64) (c lv.Calipers, ok bool) {
	for name, p := range map[string]*lv.Point{models.KeypointIVSRight: &c.IVSRight, models.KeypointIVSLeft: &c.IVSLeft,
		models.KeypointPWInner: &c.PWInner, models.KeypointPWOuter: &c.PWOuter} {
		k, known := keypoints[name]
		if !known || k.Confidence < minConfidence {
			return c, false
		}
		*p = k.Point
	}
	return c, true
}
