package lv

import (
	"math"
)

// Point is a position in source pixels: x right, y down, origin at the centre
// of the top-left pixel.
type Point struct {
	X float64 `json:"x"`
	Y float64 `json:"y"`
}

// Spacing is the size of a pixel in mm along x and y.
type Spacing struct {
	X float64 `json:"x"`
	Y float64 `json:"y"`
}

// Valid reports whether both sizes are finite and positive.
func (s Spacing) Valid() bool {
	return s.X > 0 && s.Y > 0 && !math.IsInf(s.X, 0) && !math.IsInf(s.Y, 0)
}

// scale maps a point from pixels to millimetres.
func (s Spacing) scale(p Point) Point { return Point{p.X * s.X, p.Y * s.Y} }

// unscale maps a point from millimetres to pixels.
func (s Spacing) unscale(p Point) Point { return Point{p.X / s.X, p.Y / s.Y} }

// Distance is the length in mm of the segment between two pixel positions.
func (s Spacing) Distance(a, b Point) float64 {
	return math.Hypot((a.X-b.X)*s.X, (a.Y-b.Y)*s.Y)
}

// Affine maps the column i and row j of a probability plane to source pixels:
// x = Sx*i + Ox, y = Sy*j + Oy. Plane coordinates have their origin at the
// centre of the first cell.
type Affine struct{ Sx, Sy, Ox, Oy float64 }

// Apply maps a plane position to source pixels.
func (a Affine) Apply(p Point) Point {
	return Point{a.Sx*p.X + a.Ox, a.Sy*p.Y + a.Oy}
}

// PolygonArea is the area enclosed by a closed polygon (the last point joins
// the first) in mm2, with the two pixel sizes taken separately.
// A polygon of fewer than three points has no area.
func PolygonArea(poly []Point, s Spacing) float64 {
	return math.Abs(signedArea(poly)) * s.X * s.Y
}

// signedArea is positive for a polygon that runs clockwise on the screen
// (y down).
func signedArea(poly []Point) float64 {
	if len(poly) < 3 {
		return 0
	}
	var sum float64
	prev := poly[len(poly)-1]
	for _, p := range poly {
		sum += prev.X*p.Y - p.X*prev.Y
		prev = p
	}
	return sum / 2
}

// Perimeter is the length of the closed polygon in mm.
func Perimeter(poly []Point, s Spacing) float64 {
	if len(poly) < 2 {
		return 0
	}
	var sum float64
	prev := poly[len(poly)-1]
	for _, p := range poly {
		sum += s.Distance(prev, p)
		prev = p
	}
	return sum
}

// Centroid is the centre of area of a closed polygon, in the polygon's own
// coordinates. It falls back to the mean of the points when there is no area.
func Centroid(poly []Point) Point {
	a := signedArea(poly)
	if a == 0 {
		var c Point
		for _, p := range poly {
			c.X += p.X / float64(len(poly))
			c.Y += p.Y / float64(len(poly))
		}
		return c
	}
	var c Point
	prev := poly[len(poly)-1]
	for _, p := range poly {
		cross := prev.X*p.Y - p.X*prev.Y
		c.X += (prev.X + p.X) * cross
		c.Y += (prev.Y + p.Y) * cross
		prev = p
	}
	return Point{c.X / (6 * a), c.Y / (6 * a)}
}

// Resample returns n points at equal distances along the closed polygon,
// beginning at its first point. A polygon that already has n points or fewer
// is returned as it is.
func Resample(poly []Point, n int) []Point {
	if n < 3 || len(poly) <= n {
		return poly
	}
	unit := Spacing{1, 1}
	step := Perimeter(poly, unit) / float64(n)
	if step == 0 {
		return poly[:n:n]
	}
	out := make([]Point, 0, n)
	out = append(out, poly[0])
	walked, target := 0.0, step
	for i := range poly {
		a, b := poly[i], poly[(i+1)%len(poly)]
		d := unit.Distance(a, b)
		for d > 0 && target <= walked+d && len(out) < n {
			t := (target - walked) / d
			out = append(out, Point{a.X + t*(b.X-a.X), a.Y + t*(b.Y-a.Y)})
			target += step
		}
		walked += d
	}
	return out
}

// Contains reports whether p lies inside the closed polygon (even-odd rule).
func Contains(poly []Point, p Point) bool {
	in := false
	for i, j := 0, len(poly)-1; i < len(poly); j, i = i, i+1 {
		a, b := poly[i], poly[j]
		if (a.Y > p.Y) != (b.Y > p.Y) && p.X < a.X+(p.Y-a.Y)/(b.Y-a.Y)*(b.X-a.X) {
			in = !in
		}
	}
	return in
}

// Bounds is the smallest upright rectangle around the points.
func Bounds(poly []Point) (lo, hi Point) {
	if len(poly) == 0 {
		return Point{}, Point{}
	}
	lo, hi = poly[0], poly[0]
	for _, p := range poly[1:] {
		lo.X, lo.Y = math.Min(lo.X, p.X), math.Min(lo.Y, p.Y)
		hi.X, hi.Y = math.Max(hi.X, p.X), math.Max(hi.Y, p.Y)
	}
	return lo, hi
}

// scaled maps a polygon to millimetres.
func scaled(poly []Point, s Spacing) []Point {
	out := make([]Point, len(poly))
	for i, p := range poly {
		out[i] = s.scale(p)
	}
	return out
}

func sub(a, b Point) Point                { return Point{a.X - b.X, a.Y - b.Y} }
func dot(a, b Point) float64              { return a.X*b.X + a.Y*b.Y }
func midpoint(a, b Point) Point           { return Point{(a.X + b.X) / 2, (a.Y + b.Y) / 2} }
func along(a, dir Point, t float64) Point { return Point{a.X + t*dir.X, a.Y + t*dir.Y} }
func perpendicular(d Point) Point         { return Point{-d.Y, d.X} }
func direction(from, to Point) (Point, float64) {
	d := sub(to, from)
	l := math.Hypot(d.X, d.Y)
	if l == 0 {
		return Point{}, 0
	}
	return Point{d.X / l, d.Y / l}, l
}
