package lv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// ErrNoContour says that the plane holds no region large enough to outline.
var ErrNoContour = errors.New("no region at the contour level")

// ContourOptions are the thresholds of [ExtractContour].
type ContourOptions struct {
	// Level is the plane value from which a cell belongs to the structure;
	// 128 of 255 is a probability of one half.
	Level uint8
	// MinCells is the smallest component that is outlined, in plane cells.
	// Own choice: 40 cells of a 112x112 plane are about 1 cm2 of a 16 cm deep
	// sector, far below any adult cavity.
	MinCells int
	// MaxPoints bounds the outline; longer ones are resampled at equal
	// distances. 200 keeps a contour well inside one explicit VR element.
	MaxPoints int
}

// DefaultContourOptions returns the thresholds documented on [ContourOptions].
func DefaultContourOptions() ContourOptions {
	return ContourOptions{Level: 128, MinCells: 40, MaxPoints: 200}
}

// Outline is the outer border of the largest component of a probability plane.
type Outline struct {
	// Points is the closed border in source pixels, clockwise on the screen;
	// the first point is not repeated at the end.
	Points []Point
	// Cells counts the plane cells of the component, holes not included.
	Cells int
	// FilledCells counts the cells of holes inside it, which the outline
	// encloses: papillary muscles and drop-outs belong to the cavity.
	FilledCells int
	// StrayCells counts cells at the level in other components.
	StrayCells int
	// Certainty is the mean of |2p-1| over the component and its direct
	// background neighbourhood (cells within the component's bounding box):
	// 1 when the network is sure of every cell, 0 when it is undecided.
	Certainty float64
	// TouchesEdge says that the component reaches the border of the plane.
	TouchesEdge bool
}

// Stray is the part of the segmented cells that lies outside the component.
func (o Outline) Stray() float64 {
	if o.StrayCells == 0 {
		return 0
	}
	return float64(o.StrayCells) / float64(o.Cells+o.StrayCells)
}

// ExtractContour outlines the largest 8-connected component of the plane prob
// (row-major, w columns, h rows, values 0..255) at the option's level.
// Holes are filled, the border is traced by marching squares with linear
// interpolation between cell centres (Lorensen and Cline 1987, in two
// dimensions), and the result is mapped to source pixels by m.
//
// It returns [ErrNoContour] when no component has MinCells cells.
func ExtractContour(prob []uint8, w, h int, m Affine, o ContourOptions) (Outline, error) {
	if w <= 0 || h <= 0 || len(prob) != w*h {
		return Outline{}, fmt.Errorf("probability plane of %d values is not %d x %d", len(prob), w, h)
	}
	runs, total := components(prob, w, h, o.Level)
	if len(runs) == 0 {
		return Outline{}, ErrNoContour
	}
	out := Outline{}
	x0, y0, x1, y1 := w, int(runs[0].y), -1, int(runs[len(runs)-1].y)
	for _, r := range runs {
		out.Cells += int(r.to - r.from)
		x0, x1 = min(x0, int(r.from)), max(x1, int(r.to)-1)
	}
	if out.Cells < max(o.MinCells, 1) {
		return Outline{}, ErrNoContour
	}
	out.StrayCells = total - out.Cells

	// The component's box gets a border of empty cells, so that every trace
	// closes. Cell (i, j) of it is cell (i+x0-1, j+y0-1) of the plane.
	pw, ph := x1-x0+3, y1-y0+3
	inside := make([]bool, pw*ph)
	for _, r := range runs {
		at := (int(r.y)-y0+1)*pw + int(r.from) - x0 + 1
		for i := range int(r.to - r.from) {
			inside[at+i] = true
		}
	}
	out.TouchesEdge = x0 == 0 || y0 == 0 || x1 == w-1 || y1 == h-1
	out.FilledCells = fillHoles(inside, pw, 1, 1, pw-2, ph-2)
	out.Certainty = certainty(prob, w, x0, y0, x1, y1)

	value := func(i, j int) float64 {
		x, y := i+x0-1, j+y0-1
		if x < 0 || y < 0 || x >= w || y >= h {
			return 0
		}
		v := float64(prob[y*w+x])
		if inside[j*pw+i] && v < float64(o.Level) {
			return 255 // a filled hole
		}
		return v
	}
	pts := trace(inside, pw, ph, x0, y0, float64(o.Level)-0.5, value)
	for i, p := range pts {
		pts[i] = m.Apply(Point{p.X - 1, p.Y - 1})
	}
	if signedArea(pts) < 0 {
		for i, j := 0, len(pts)-1; i < j; i, j = i+1, j-1 {
			pts[i], pts[j] = pts[j], pts[i]
		}
	}
	if o.MaxPoints > 0 {
		pts = Resample(pts, o.MaxPoints)
	}
	out.Points = pts
	return out, nil
}

const (
	highBit  = 0x80
	highBits = 0x8080808080808080
)

// run is a row of neighbouring cells, to not included.
type run struct{ y, from, to int32 }

// components finds the 8-connected components of cells at or above level. It
// returns the largest one (of equal ones that which begins first) as its runs in
// row-major order, none when there is no such cell, and how many cells all of
// them have together.
//
// Runs of a row are joined with those of the row before that they touch, in a
// forest whose roots are the components' first runs.
func components(prob []uint8, w, h int, level uint8) (largest []run, total int) {
	var runs []run
	var parent []int32
	root := func(k int32) int32 {
		for parent[k] != k {
			parent[k] = parent[parent[k]]
			k = parent[k]
		}
		return k
	}
	before := 0 // first run of the row before
	for y := range h {
		row, first := prob[y*w:][:w], len(runs)
		touching := before
		for x := 0; x < w; x++ {
			// Most cells are empty: eight at a time have no high bit.
			for level >= highBit && x+8 <= w && binary.NativeEndian.Uint64(row[x:])&highBits == 0 {
				x += 8
			}
			if x == w || row[x] < level {
				continue
			}
			from := x
			for x < w && row[x] >= level {
				x++
			}
			k := int32(len(runs))
			runs = append(runs, run{int32(y), int32(from), int32(x)})
			parent = append(parent, k)
			total += x - from
			// Diagonal neighbours count, so ends may meet corner to corner.
			for touching < first && int(runs[touching].to) < from {
				touching++
			}
			for t := touching; t < first && int(runs[t].from) <= x; t++ {
				a, b := root(int32(t)), root(k)
				parent[max(a, b)] = min(a, b)
			}
		}
		before = first
	}
	size := make([]int, len(runs))
	best := int32(0)
	for k, r := range runs {
		size[root(int32(k))] += int(r.to - r.from)
	}
	for k, n := range size {
		if n > size[best] {
			best = int32(k)
		}
	}
	for k, r := range runs {
		if root(int32(k)) == best {
			largest = append(largest, r)
		}
	}
	return largest, total
}

// gap is a row of neighbouring empty cells between two that are set, to not
// included.
type gap struct {
	from, to int
	outside  bool
}

// fillHoles sets the cells that the outside cannot reach through 4-connected
// empty cells and returns their number. Only the rectangle x0..x1, y0..y1 (both
// ends included) holds cells that are set.
//
// Empty cells before the first and after the last set cell of a row are outside, so
// that only the gaps between set cells can be holes; hearts have few. The outside
// reaches a gap from the row above or below. That spreads by sweeps, down and up in
// turn until nothing changes: two for the shapes of hearts, one more for every turn
// of a spiral.
func fillHoles(inside []bool, w, x0, y0, x1, y1 int) int {
	var gaps []gap
	h := y1 - y0 + 1
	ends := make([][2]int, h) // of each row: its first set cell and that after its last; w and 0 for none
	starts := make([]int, h+1)
	for j := range h {
		row := inside[(y0+j)*w:][:x1+1]
		first, last := w, -1
		for i := x0; i <= x1; i++ {
			if !row[i] {
				continue
			}
			if last < 0 {
				first = i
			} else if i > last+1 {
				gaps = append(gaps, gap{from: last + 1, to: i, outside: j == 0 || j == h-1})
			}
			last = i
		}
		ends[j], starts[j+1] = [2]int{first, last + 1}, len(gaps)
	}
	if len(gaps) == 0 {
		return 0
	}
	reached := func(g gap, j int) bool { // from row j
		if g.from < ends[j][0] || g.to > ends[j][1] {
			return true
		}
		for _, o := range gaps[starts[j]:starts[j+1]] {
			if o.outside && o.from < g.to && g.from < o.to {
				return true
			}
		}
		return false
	}
	for changed := true; changed; {
		changed = false
		for j := 1; j < h-1; j++ {
			for k := starts[j]; k < starts[j+1]; k++ {
				if !gaps[k].outside && reached(gaps[k], j-1) {
					gaps[k].outside, changed = true, true
				}
			}
		}
		for j := h - 2; j > 0; j-- {
			for k := starts[j]; k < starts[j+1]; k++ {
				if !gaps[k].outside && reached(gaps[k], j+1) {
					gaps[k].outside, changed = true, true
				}
			}
		}
	}
	filled := 0
	for j := range h {
		for _, g := range gaps[starts[j]:starts[j+1]] {
			if g.outside {
				continue
			}
			filled += g.to - g.from
			for i := g.from; i < g.to; i++ {
				inside[(y0+j)*w+i] = true
			}
		}
	}
	return filled
}

// certainOf is how sure the network is of a cell with each value.
var certainOf = func() (c [256]float64) {
	for v := range c {
		c[v] = math.Abs(float64(v)/127.5 - 1)
	}
	return c
}()

func certainty(prob []uint8, w, x0, y0, x1, y1 int) float64 {
	var sum float64
	for j := y0; j <= y1; j++ {
		for _, v := range prob[j*w+x0 : j*w+x1+1] {
			sum += certainOf[v]
		}
	}
	return sum / float64((x1-x0+1)*(y1-y0+1))
}

// The edges of a marching square, and the square that lies across each.
const (
	top = iota
	right
	bottom
	left
)

var across = [4]struct{ dx, dy, edge int }{
	top: {0, -1, bottom}, right: {1, 0, left}, bottom: {0, 1, top}, left: {-1, 0, right},
}

// trace follows the outer border of the only component of inside from its
// first cell in row-major order. Squares with two opposite corners inside are
// joined through their middle, as the component is 8-connected. The points are
// those of the plane of which inside is the part from (dx, dy) on.
func trace(inside []bool, w, h, dx, dy int, iso float64, value func(i, j int) float64) []Point {
	start := 0
	for !inside[start] {
		start++
	}
	// The cell above the first one is outside: the border crosses the edge
	// between them, the left edge of the square at (start.x, start.y-1).
	x, y, enter := start%w, start/w-1, left
	x0, y0 := x, y
	var pts []Point
	for range 4 * w * h {
		pts = append(pts, crossing(x, y, enter, dx, dy, iso, value))
		leave := exit(inside, w, x, y, enter)
		n := across[leave]
		x, y, enter = x+n.dx, y+n.dy, n.edge
		if x == x0 && y == y0 && enter == left {
			break
		}
	}
	return pts
}

// exit gives the edge through which the border leaves the square whose
// top-left corner is (x, y) after coming in through enter, with the inside on
// the same hand throughout.
func exit(inside []bool, w, x, y, enter int) int {
	a, b := inside[y*w+x], inside[y*w+x+1]         // top left, top right
	d, c := inside[(y+1)*w+x], inside[(y+1)*w+x+1] // bottom left, bottom right
	crossed := [4]bool{top: a != b, right: b != c, bottom: c != d, left: d != a}
	if crossed[top] && crossed[right] && crossed[bottom] && crossed[left] {
		// Saddle. With a and c inside, the borders cut off b and d.
		if a {
			return [4]int{top: right, right: top, bottom: left, left: bottom}[enter]
		}
		return [4]int{top: left, left: top, bottom: right, right: bottom}[enter]
	}
	for e := range crossed {
		if e != enter && crossed[e] {
			return e
		}
	}
	return enter
}

// crossing interpolates the iso level on one edge of a square.
func crossing(x, y, edge, dx, dy int, iso float64, value func(i, j int) float64) Point {
	ax, ay, bx, by := x, y, x, y
	switch edge {
	case top:
		bx++
	case right:
		ax, bx, by = x+1, x+1, y+1
	case bottom:
		ay, bx, by = y+1, x+1, y+1
	case left:
		by++
	}
	va, vb := value(ax, ay), value(bx, by)
	t := 0.5
	if va != vb {
		t = min(max((iso-va)/(vb-va), 0), 1)
	}
	return Point{float64(ax+dx) + t*float64(bx-ax), float64(ay+dy) + t*float64(by-ay)}
}
