package output

import (
	"fmt"

	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/overlay"
	"github.com/echonode/echonode/pipeline/result"
)

// points are a contour's points as the geometry takes them.
func points(c result.Contour) []lv.Point {
	out := make([]lv.Point, len(c))
	for i, p := range c {
		out[i] = lv.Point{X: p[0], Y: p[1]}
	}
	return out
}

// spacing is the size of a pixel, or its shape where that is not known.
func spacing(l *result.Loop) lv.Spacing {
	x, y := l.PixelSize()
	return lv.Spacing{X: x, Y: y}
}

// keypoint finds a point by name; nil when the frame has none.
func keypoint(f *result.Frame, name string) *lv.Keypoint {
	for _, k := range f.Keypoints {
		if k.Name == name {
			return &lv.Keypoint{Point: lv.Point{X: k.X, Y: k.Y}, Confidence: k.Confidence}
		}
	}
	return nil
}

// longAxis is the axis of the cavity in a frame.
func longAxis(l *result.Loop, f *result.Frame) (lv.Axis, error) {
	o := lv.DefaultAxisOptions()
	if r := l.Region; r != nil {
		// Apical loops have the transducer, and so the apex, at the top.
		o.ApexSide = &lv.Point{X: float64(r.MinX+r.MaxX) / 2, Y: float64(r.MinY)}
	}
	return lv.LongAxis(points(f.Contour), spacing(l), lv.Landmarks{
		Apex: keypoint(f, models.KeypointApex), MitralA: keypoint(f, models.KeypointMitralSeptal), MitralB: keypoint(f, models.KeypointMitralLateral),
	}, o)
}

// scene is what is drawn on frame i of a loop.
func scene(l *result.Loop, i int) overlay.Scene {
	s := overlay.Scene{Status: fmt.Sprintf("%s  frame %d/%d", l.View, i+1, l.Frames)}
	if len(l.FrameTimes) == l.Frames {
		s.Status += fmt.Sprintf("  %.0f ms", l.FrameTimes[i])
	}
	for _, b := range l.Beats {
		switch i {
		case b.ED, b.NextED:
			s.Badge = "ED"
		case b.ES:
			s.Badge = "ES"
		}
	}
	f := l.FrameAt(i)
	if f == nil {
		return s
	}
	if l.View == models.ViewPLAX {
		if c, ok := calipers(f); ok {
			s.Keypoints = []lv.Point{c.IVSRight, c.IVSLeft, c.PWInner, c.PWOuter}
			s.Lines = []overlay.Line{{A: c.IVSRight, B: c.IVSLeft}, {A: c.IVSLeft, B: c.PWInner}, {A: c.PWInner, B: c.PWOuter}}
		}
		return s
	}
	if o, ok := f.Structures[models.ClassLVMyocardium]; ok {
		s.Outlines = append(s.Outlines, overlay.Outline{Kind: overlay.Myocardium, Points: points(o)})
	}
	if o, ok := f.Structures[models.ClassLeftAtrium]; ok {
		s.Outlines = append(s.Outlines, overlay.Outline{Kind: overlay.Atrium, Points: points(o)})
	}
	if len(f.Contour) == 0 {
		return s
	}
	s.Outlines = append(s.Outlines, overlay.Outline{Kind: overlay.Ventricle, Points: points(f.Contour)})
	if l.Spacing.Trusted {
		s.Status += fmt.Sprintf("  LV %.1f cm2", lv.PolygonArea(points(f.Contour), spacing(l))/100)
	}
	if axis, err := longAxis(l, f); err == nil {
		s.Axis = &axis
		s.Keypoints = []lv.Point{axis.Apex, axis.Annulus[0], axis.Annulus[1]}
	}
	return s
}

// calipers are the four points of the parasternal long-axis view.
func calipers(f *result.Frame) (c lv.Calipers, ok bool) {
	for name, p := range map[string]*lv.Point{models.KeypointIVSRight: &c.IVSRight, models.KeypointIVSLeft: &c.IVSLeft,
		models.KeypointPWInner: &c.PWInner, models.KeypointPWOuter: &c.PWOuter} {
		k := keypoint(f, name)
		if k == nil {
			return c, false
		}
		*p = k.Point
	}
	return c, true
}
