package lv

import (
	"cmp"
	"slices"
)

// ConvexHull is the smallest convex polygon around the points, counter-clockwise
// in a frame with y up (Andrew's monotone chain, 1979).
func ConvexHull(points []Point) []Point {
	p := slices.Clone(points)
	slices.SortFunc(p, func(a, b Point) int { return cmp.Or(cmp.Compare(a.X, b.X), cmp.Compare(a.Y, b.Y)) })
	p = slices.Compact(p)
	if len(p) < 3 {
		return p
	}
	half := func(p []Point) []Point {
		var h []Point
		for _, q := range p {
			for len(h) >= 2 && turn(h[len(h)-2], h[len(h)-1], q) <= 0 {
				h = h[:len(h)-1]
			}
			h = append(h, q)
		}
		return h[:len(h)-1]
	}
	lower := half(p)
	slices.Reverse(p)
	return append(lower, half(p)...)
}

// turn is positive when a-b-c turns left (y up).
func turn(a, b, c Point) float64 {
	return (b.X-a.X)*(c.Y-a.Y) - (b.Y-a.Y)*(c.X-a.X)
}

// Solidity is the area of the polygon over that of its convex hull, 1 for a
// convex one. Pixel sizes cancel out. It is 0 when there is no area.
func Solidity(poly []Point) float64 {
	unit := Spacing{X: 1, Y: 1}
	hull := PolygonArea(ConvexHull(poly), unit)
	if hull == 0 {
		return 0
	}
	return PolygonArea(poly, unit) / hull
}

// CheckSolidity grades how ragged an outline is: the endocardial border of a
// left ventricle is nearly convex.
func CheckSolidity(solidity float64, p Phase, frame int, o QualityOptions) []Finding {
	return finding(GateShape, low(solidity, o.WarnSolidity, o.RejectSolidity), p, frame,
		"the outline at %v is ragged: it fills %.0f %% of its convex hull", p, 100*solidity)
}
