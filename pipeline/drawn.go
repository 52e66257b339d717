package pipeline

import (
	"image"
	"math"

	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/result"
)

// Own choice: what is drawn over at least so much of the length of the ventricle's outline,
// within it made so many times larger, may have been followed by the network (12 apical cines
// of real hearts: nothing; traced ones: 0.5 to 4.5).
const (
	drawnPart   = 0.25
	drawnWithin = 1.35
)

// drawnAround says that most of the frames that were looked at for it have lines drawn
// around the ventricle, as clips have that a machine's own tracing was stored with.
func (l *loop) drawnAround() *result.Reason {
	with, of := 0, 0
	for i, points := range l.drawn {
		o := l.frames[i].outline
		if o == nil || len(o.Points) < 3 {
			continue
		}
		of++
		if float64(countWithin(enlarged(o.Points, drawnWithin), points)) >= drawnPart*perimeter(o.Points) {
			with++
		}
	}
	if 2*with <= of {
		return nil
	}
	r := result.Reasonf(result.Drawn, "lines are drawn into the picture around the ventricle: the outline may follow them and not the heart")
	return &r
}

// enlarged is a polygon scaled about the mean of its corners.
func enlarged(p []lv.Point, scale float64) []lv.Point {
	var c lv.Point
	for _, q := range p {
		c.X, c.Y = c.X+q.X/float64(len(p)), c.Y+q.Y/float64(len(p))
	}
	out := make([]lv.Point, len(p))
	for i, q := range p {
		out[i] = lv.Point{X: c.X + scale*(q.X-c.X), Y: c.Y + scale*(q.Y-c.Y)}
	}
	return out
}

// perimeter is the length of a closed polygon in pixels.
func perimeter(p []lv.Point) (length float64) {
	for i, q := range p {
		before := p[(i+len(p)-1)%len(p)]
		length += math.Hypot(q.X-before.X, q.Y-before.Y)
	}
	return length
}

// countWithin counts the points within a closed polygon.
func countWithin(p []lv.Point, points []image.Point) (n int) {
	for _, q := range points {
		x, y, in := float64(q.X), float64(q.Y), false
		for i, a := range p {
			b := p[(i+len(p)-1)%len(p)]
			if (a.Y > y) != (b.Y > y) && x < a.X+(y-a.Y)/(b.Y-a.Y)*(b.X-a.X) {
				in = !in
			}
		}
		if in {
			n++
		}
	}
	return n
}
