package echo

import "image"

// Own choice, see Drawn.
const (
	white       = 240   // gray level of a white line, at least
	lineOver    = 60    // gray levels by which it is above what lies on both sides
	lineReach   = 0.012 // of the region's width: how far beside it that is looked for ...
	lineReachPx = 3     // ... in pixels, at least
)

// Drawn lists the pixels of r that a machine or a person has drawn, not the ultrasound:
// clear colours in a grey picture, and white lines, which are brighter than what lies
// on both sides of them. Of a tinted map the colours are left out.
func Drawn(img *image.RGBA, r image.Rectangle) (out []image.Point) {
	r = r.Intersect(img.Rect)
	reach := max(lineReachPx, int(lineReach*float64(r.Dx())+0.5))
	at := func(x, y int) int { return int(img.Pix[img.PixOffset(x, y)]) } // of gray
	var coloured []image.Point
	most := int(ColourThreshold*float64(r.Dx()*r.Dy())) + 1 // of either: more are no lines
	for y := r.Min.Y; y < r.Max.Y; y++ {
		row := img.Pix[img.PixOffset(r.Min.X, y):][:4*r.Dx()]
		for i := 0; i+4 <= len(row); i += 4 {
			p := row[i : i+4 : i+4]
			if p[0] < white && p[0] == p[1] && p[1] == p[2] {
				continue
			}
			x := r.Min.X + i/4
			lo, hi := min(p[0], p[1], p[2]), max(p[0], p[1], p[2])
			if hi-lo > saturated {
				if len(coloured) < most {
					coloured = append(coloured, image.Pt(x, y))
				}
				continue
			}
			over := int(lo) - lineOver
			across := x-reach >= r.Min.X && x+reach < r.Max.X && at(x-reach, y) <= over && at(x+reach, y) <= over
			along := y-reach >= r.Min.Y && y+reach < r.Max.Y && at(x, y-reach) <= over && at(x, y+reach) <= over
			if lo >= white && (across || along) && len(out) < most {
				out = append(out, image.Pt(x, y))
			}
		}
	}
	if len(coloured) < most {
		out = append(out, coloured...)
	}
	return out
}
