package lv

import (
	"errors"
	"fmt"
	"math"
)

// ErrNoAxis says that a long axis cannot be drawn: the contour has no area or
// the axis no length.
var ErrNoAxis = errors.New("no long axis")

// Keypoint is a landmark in source pixels with the network's confidence 0..1.
type Keypoint struct {
	Point
	Confidence float64 `json:"confidence"`
}

// Landmarks are the keypoints of an apical view. Each may be nil.
// The two mitral hinge points may be given in either order.
type Landmarks struct {
	Apex             *Keypoint
	MitralA, MitralB *Keypoint
}

// AxisOptions are the thresholds of [LongAxis].
type AxisOptions struct {
	// MinConfidence is the heatmap peak from which a keypoint is used.
	// 0.3 is the threshold EchoNet-LVH applies to its heatmaps.
	MinConfidence float64
	// MaxHingeGap is the largest distance of a hinge keypoint from the
	// contour, as a part of the contour's largest diameter. Own choice.
	MaxHingeGap float64
	// MinAnnulus and MaxAnnulus bound the distance of the two hinge keypoints,
	// as a part of the axis length. Own choice, wide around the adult
	// 0.3 to 0.6.
	MinAnnulus, MaxAnnulus float64
	// MinApexLength is the smallest length of an axis that points at the apex
	// keypoint, as a part of the longest one from the same annulus; below it
	// the farthest contour point is the apex. Own choice.
	MinApexLength float64
	// ApexSide is a position on the apex's side of the ventricle, for example
	// the transducer's; it decides between the two ends when the shape alone
	// does not. Nil leaves it to the shape.
	ApexSide *Point
	// MinFlatness is how much flatter one end of the contour must be than the
	// other for the shape to decide which is the base: the bulge of the contour
	// beyond the line between the hinge points, as a part of their distance. A
	// round end has 0.21. Own choice.
	MinFlatness float64
}

// DefaultAxisOptions returns the thresholds documented on [AxisOptions].
func DefaultAxisOptions() AxisOptions {
	return AxisOptions{
		MinConfidence: 0.3, MaxHingeGap: 0.15, MinAnnulus: 0.15, MaxAnnulus: 0.9,
		MinApexLength: 0.95, MinFlatness: 0.05,
	}
}

// Source of a landmark.
const (
	FromKeypoints = "keypoints"
	FromContour   = "contour"
)

// Axis is the long axis of the cavity, from the middle of the mitral annulus
// to the apex, in source pixels.
type Axis struct {
	Apex    Point    `json:"apex"`
	Base    Point    `json:"base"`
	Annulus [2]Point `json:"annulus"`
	// LengthMM is the length from Base to Apex.
	LengthMM float64 `json:"length_mm"`
	// AnnulusSource and ApexSource are FromKeypoints or FromContour.
	AnnulusSource string `json:"annulus_source"`
	ApexSource    string `json:"apex_source"`
}

// LongAxis draws the long axis of an apical contour in any orientation.
//
// The annulus is the pair of hinge keypoints when both are confident, lie near
// the contour and are a plausible distance apart; the base is their midpoint.
// The apex is where the line from the base towards a confident apex keypoint
// leaves the contour, unless that line is clearly shorter than the longest
// one; otherwise it is the contour point farthest from the base, as
// ASE/EACVI 2015 defines the length.
//
// Without keypoints both come from the shape. The principal axis of the area
// gives the direction; the hinge points of an end are the two contour points
// farthest out along the diagonals between that end and the walls; the axis
// runs from their midpoint to the farthest contour point; direction and hinges
// are found again from the new axis until they stay. The base is the flatter of
// the two ends, where the mitral line closes the contour. Which end is the apex
// is taken from a confident apex keypoint if there is one, and from ApexSide
// where the two ends are about equally flat.
func LongAxis(contour []Point, s Spacing, marks Landmarks, o AxisOptions) (Axis, error) {
	if !s.Valid() {
		return Axis{}, fmt.Errorf("spacing %g x %g mm: %w", s.X, s.Y, ErrNoAxis)
	}
	c := scaled(contour, s)
	if len(c) < 3 || signedArea(c) == 0 {
		return Axis{}, fmt.Errorf("contour without area: %w", ErrNoAxis)
	}
	mm := func(k *Keypoint) (Point, bool) {
		if k == nil || !(k.Confidence >= o.MinConfidence) {
			return Point{}, false
		}
		return s.scale(k.Point), true
	}

	hinges, fromKeypoints := hingeKeypoints(c, marks, mm, o)
	if !fromKeypoints {
		hinges = hingesFromShape(c, s, marks, mm, o)
	}
	base := midpoint(hinges[0], hinges[1])
	apex := farthest(c, base)
	axis := Axis{AnnulusSource: FromContour, ApexSource: FromContour}
	if fromKeypoints {
		axis.AnnulusSource = FromKeypoints
	}
	_, longest := direction(base, apex)
	if p, ok := mm(marks.Apex); ok {
		if q, ok := lastCrossing(c, base, p); ok {
			if _, l := direction(base, q); l >= o.MinApexLength*longest {
				apex, axis.ApexSource = q, FromKeypoints
			}
		}
	}
	_, axis.LengthMM = direction(base, apex)
	if axis.LengthMM == 0 {
		return Axis{}, fmt.Errorf("apex and base coincide: %w", ErrNoAxis)
	}
	axis.Apex, axis.Base = s.unscale(apex), s.unscale(base)
	axis.Annulus = [2]Point{s.unscale(hinges[0]), s.unscale(hinges[1])}
	return axis, nil
}

// hingeKeypoints returns the two hinge keypoints in mm when they may be used.
func hingeKeypoints(c []Point, marks Landmarks, mm func(*Keypoint) (Point, bool), o AxisOptions) ([2]Point, bool) {
	a, okA := mm(marks.MitralA)
	b, okB := mm(marks.MitralB)
	if !okA || !okB {
		return [2]Point{}, false
	}
	_, diameter := direction(farthest(c, c[0]), farthest(c, farthest(c, c[0])))
	for _, p := range [2]Point{a, b} {
		if distanceToPolygon(c, p) > o.MaxHingeGap*diameter {
			return [2]Point{}, false
		}
	}
	base := midpoint(a, b)
	_, width := direction(a, b)
	_, length := direction(base, farthest(c, base))
	if width < o.MinAnnulus*length || width > o.MaxAnnulus*length {
		return [2]Point{}, false
	}
	return [2]Point{a, b}, true
}

// hingesFromShape finds the hinge points, in mm, from the contour alone.
func hingesFromShape(c []Point, s Spacing, marks Landmarks, mm func(*Keypoint) (Point, bool), o AxisOptions) [2]Point {
	centre := Centroid(c)
	dir := principalDirection(c, centre)
	hinges, roundness := hingesAlong(c, dir)
	opposite, other := hingesAlong(c, Point{-dir.X, -dir.Y})
	base := midpoint(hinges[0], hinges[1])

	flip := other < roundness
	if p, ok := mm(marks.Apex); ok {
		flip = dot(sub(p, centre), sub(base, centre)) > 0
	} else if math.Abs(other-roundness) < o.MinFlatness && o.ApexSide != nil {
		flip = dot(sub(s.scale(*o.ApexSide), centre), sub(base, centre)) > 0
	}
	if flip {
		return opposite
	}
	return hinges
}

// hingesAlong takes the end of the contour in direction dir for the base and
// finds its hinge points. roundness is how far the contour bulges beyond the
// line between them, as a part of their distance: nothing for a flat base and
// 0.21 for a round end.
func hingesAlong(c []Point, dir Point) (hinges [2]Point, roundness float64) {
	for range 5 {
		side := perpendicular(dir)
		found := [2]Point{
			support(c, Point{dir.X + side.X, dir.Y + side.Y}),
			support(c, Point{dir.X - side.X, dir.Y - side.Y}),
		}
		if found == hinges {
			break
		}
		hinges = found
		base := midpoint(hinges[0], hinges[1])
		next, l := direction(farthest(c, base), base)
		// A turn of more than 60 degrees means that the farthest point lies
		// on a wall: the direction so far is the better guess.
		if l == 0 || dot(next, dir) < 0.5 {
			break
		}
		dir = next
	}
	chord, width := direction(hinges[0], hinges[1])
	if width == 0 {
		return hinges, math.Inf(1)
	}
	out := perpendicular(chord)
	if dot(out, dir) < 0 {
		out = Point{-out.X, -out.Y}
	}
	return hinges, dot(sub(support(c, out), hinges[0]), out) / width
}

// principalDirection is the unit vector of the largest second moment of the
// polygon's area about its centre.
func principalDirection(c []Point, centre Point) Point {
	var xx, yy, xy float64
	prev := sub(c[len(c)-1], centre)
	for _, q := range c {
		p := sub(q, centre)
		cross := prev.X*p.Y - p.X*prev.Y
		xx += cross * (prev.X*prev.X + prev.X*p.X + p.X*p.X)
		yy += cross * (prev.Y*prev.Y + prev.Y*p.Y + p.Y*p.Y)
		xy += cross * (prev.X*p.Y + 2*prev.X*prev.Y + 2*p.X*p.Y + p.X*prev.Y) / 2
		prev = p
	}
	if signedArea(c) < 0 {
		xx, yy, xy = -xx, -yy, -xy
	}
	angle := 0.5 * math.Atan2(2*xy, xx-yy)
	return Point{math.Cos(angle), math.Sin(angle)}
}

// farthest is the contour point with the largest distance from p.
func farthest(c []Point, p Point) Point {
	best, at := -1.0, c[0]
	for _, q := range c {
		if d := math.Hypot(q.X-p.X, q.Y-p.Y); d > best {
			best, at = d, q
		}
	}
	return at
}

// support is the contour point farthest out in direction d.
func support(c []Point, d Point) Point {
	best, at := math.Inf(-1), c[0]
	for _, q := range c {
		if t := dot(q, d); t > best {
			best, at = t, q
		}
	}
	return at
}

// lastCrossing is where the ray from a through b crosses the closed polygon
// for the last time.
func lastCrossing(c []Point, a, b Point) (Point, bool) {
	dir, l := direction(a, b)
	if l == 0 {
		return Point{}, false
	}
	side := perpendicular(dir)
	best := 0.0
	prev := sub(c[len(c)-1], a)
	for _, q := range c {
		p := sub(q, a)
		u, v := dot(prev, side), dot(p, side)
		if (u > 0) != (v > 0) {
			t := u / (u - v)
			best = max(best, dot(prev, dir)+t*(dot(p, dir)-dot(prev, dir)))
		}
		prev = p
	}
	return along(a, dir, best), best > 0
}

func distanceToPolygon(c []Point, p Point) float64 {
	best := math.Inf(1)
	prev := c[len(c)-1]
	for _, q := range c {
		dir, l := direction(prev, q)
		t := min(max(dot(sub(p, prev), dir), 0), l)
		n := along(prev, dir, t)
		best = min(best, math.Hypot(p.X-n.X, p.Y-n.Y))
		prev = q
	}
	return best
}
