package echo

import (
	"image"
	"math"
)

// Own choice, see Drawn; tried on 16 A4C frames at three resolutions, brightened up to three times, with
// speckle, noise and JPEG, of which none has so long a line, and with outlines of one and two pixels drawn in.
const (
	white       = 190   // gray level of a white line, at least
	lineOver    = 60    // gray levels by which it is above what lies on both sides
	lineReach   = 0.012 // of the region's width: how far beside it that is looked for ...
	lineReachPx = 3     // ... in pixels, at least
	lineLength  = 0.16  // of the region's width: the diagonal of the box around a line, at least
	drawnPart   = 0.1   // of the pixels: more are no lines
	mostDrawn   = 100_000
)

// Drawn lists the pixels of r that a machine or a person has drawn, not the ultrasound: those of
// long thin lines of a clear colour, and of white ones, which are brighter than what lies on
// both sides of them.
func Drawn(img *image.RGBA, r image.Rectangle) []image.Point {
	r = r.Intersect(img.Rect)
	reach := max(lineReachPx, int(lineReach*float64(r.Dx())+0.5))
	// over reports whether a pixel that is coloured, or so bright, stands out from that at x, y.
	over := func(x, y int, coloured bool, bright int) bool {
		p := img.Pix[img.PixOffset(x, y):][:3:3]
		lo, hi := min(p[0], p[1], p[2]), max(p[0], p[1], p[2])
		if coloured {
			return hi-lo <= saturated
		}
		return int(hi) <= bright-lineOver
	}
	most := min(int(drawnPart*float64(r.Dx()*r.Dy()))+1, mostDrawn)
	var found []image.Point
	for y := r.Min.Y; y < r.Max.Y && len(found) < most; y++ {
		row := img.Pix[img.PixOffset(r.Min.X, y):][:4*r.Dx()]
		for i := 0; i+4 <= len(row); i += 4 {
			p := row[i : i+4 : i+4]
			if p[0] < white && p[0] == p[1] && p[1] == p[2] {
				continue
			}
			x, lo, hi := r.Min.X+i/4, min(p[0], p[1], p[2]), max(p[0], p[1], p[2])
			coloured := hi-lo > saturated
			if !coloured && lo < white {
				continue
			}
			across := x-reach >= r.Min.X && x+reach < r.Max.X && over(x-reach, y, coloured, int(lo)) && over(x+reach, y, coloured, int(lo))
			along := y-reach >= r.Min.Y && y+reach < r.Max.Y && over(x, y-reach, coloured, int(lo)) && over(x, y+reach, coloured, int(lo))
			if across || along {
				found = append(found, image.Pt(x, y))
			}
		}
	}
	return long(found, lineLength*float64(r.Dx()))
}

// long keeps the points, which come row by row, that hang together over a distance.
func long(points []image.Point, least float64) (out []image.Point) {
	at := make(map[image.Point]int, len(points))
	for i, p := range points {
		at[p] = i
	}
	seen := make([]bool, len(points))
	for start := range points {
		if seen[start] {
			continue
		}
		seen[start] = true
		part, box := []int{start}, image.Rectangle{Min: points[start], Max: points[start].Add(image.Pt(1, 1))}
		for k := 0; k < len(part); k++ {
			p := points[part[k]]
			box = box.Union(image.Rectangle{Min: p, Max: p.Add(image.Pt(1, 1))})
			for dy := -1; dy <= 1; dy++ {
				for dx := -1; dx <= 1; dx++ {
					if next, ok := at[p.Add(image.Pt(dx, dy))]; ok && !seen[next] {
						seen[next] = true
						part = append(part, next)
					}
				}
			}
		}
		if math.Hypot(float64(box.Dx()), float64(box.Dy())) < least {
			continue
		}
		for _, i := range part {
			out = append(out, points[i])
		}
	}
	return out
}
