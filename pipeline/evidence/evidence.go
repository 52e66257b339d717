// Package evidence looks in the pixels for what an outline claims: that it lies
// in the imaging sector, and that there is a wall beside it.
//
// Pictures are the inputs of the network, gray, and coordinates their pixels.
package evidence

import (
	"image"
	"math"
	"slices"
	"sync"

	"github.com/echonode/echonode/pipeline/lv"
)

// Brightest is, for every pixel of the network's input, the brightest value
// that any frame of a loop had there: what stays dark is not part of the
// sector.
type Brightest struct {
	mu  sync.Mutex
	img *image.Gray
}

// Add takes a frame of the loop. It is safe for concurrent use.
func (b *Brightest) Add(input *image.Gray) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.img == nil {
		b.img = image.NewGray(input.Rect)
	}
	for i, v := range input.Pix {
		b.img.Pix[i] = max(b.img.Pix[i], v)
	}
}

// Own choice: the gray level that only the sector's picture exceeds, and the
// width in input pixels of lines that are no part of it (text, ECG, scales).
const (
	sectorLevel = 10
	thinLine    = 2
)

// Sector outlines the imaging sector: the convex hull of the largest bright
// area, after thin lines have been taken away. Sectors are convex, so that
// shadows and dark walls at their edges stay inside. It is nil where hardly
// anything is bright.
func (b *Brightest) Sector() []lv.Point {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.img == nil {
		return nil
	}
	w, h := b.img.Rect.Dx(), b.img.Rect.Dy()
	bright := make([]bool, w*h)
	for i, v := range b.img.Pix {
		bright[i] = v > sectorLevel
	}
	core := largest(erode(bright, w, h, thinLine), w, h)
	var points []lv.Point
	n := 0
	inside := func(i int) bool { return i >= 0 && i < len(core) && core[i] }
	for i, in := range core {
		if !in {
			continue
		}
		n++
		if inside(i-1) && inside(i+1) && inside(i-w) && inside(i+w) {
			continue // not on its border
		}
		// What was eroded is put back, and the pixel's own half.
		x, y := float64(i%w), float64(i/w)
		const r = thinLine + 0.5
		points = append(points, lv.Point{X: x - r, Y: y}, lv.Point{X: x + r, Y: y}, lv.Point{X: x, Y: y - r}, lv.Point{X: x, Y: y + r})
	}
	if n < w*h/100 {
		return nil
	}
	return lv.ConvexHull(points)
}

// erode keeps the pixels whose neighbours within r are all set.
func erode(in []bool, w, h, r int) []bool {
	row := make([]bool, w*h)
	for y := range h {
		for x := range w {
			all := x >= r && x < w-r
			for d := -r; all && d <= r; d++ {
				all = in[y*w+x+d]
			}
			row[y*w+x] = all
		}
	}
	out := make([]bool, w*h)
	for y := r; y < h-r; y++ {
		for x := range w {
			all := true
			for d := -r; all && d <= r; d++ {
				all = row[(y+d)*w+x]
			}
			out[y*w+x] = all
		}
	}
	return out
}

// largest keeps the largest 4-connected area.
func largest(in []bool, w, h int) []bool {
	label := make([]int, w*h)
	size := []int{0}
	var stack []int
	for start := range in {
		if !in[start] || label[start] != 0 {
			continue
		}
		l := len(size)
		size = append(size, 0)
		label[start] = l
		stack = append(stack[:0], start)
		for len(stack) > 0 {
			at := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			size[l]++
			x, y := at%w, at/w
			for _, d := range [4][2]int{{1, 0}, {-1, 0}, {0, 1}, {0, -1}} {
				i, j := x+d[0], y+d[1]
				if i < 0 || j < 0 || i >= w || j >= h {
					continue
				}
				if next := j*w + i; in[next] && label[next] == 0 {
					label[next] = l
					stack = append(stack, next)
				}
			}
		}
	}
	best := 0
	for l, n := range size {
		if l > 0 && (best == 0 || n > size[best]) {
			best = l
		}
	}
	out := make([]bool, w*h)
	for i, l := range label {
		out[i] = best > 0 && l == best
	}
	return out
}

// Levels are the mean gray levels beside the points of an outline, outside and
// inside of it along the normal, over 8 % of the length from base to apex. The
// points at the valve, in the last 15 % of the length, are left out.
func Levels(input *image.Gray, outline []lv.Point, base, apex lv.Point) (out, in []float64) {
	length := math.Hypot(apex.X-base.X, apex.Y-base.Y)
	if length == 0 {
		return nil, nil
	}
	ux, uy := (apex.X-base.X)/length, (apex.Y-base.Y)/length
	level := func(x, y float64) float64 {
		i, j := int(math.Round(x)), int(math.Round(y))
		if !(image.Point{X: i, Y: j}).In(input.Rect) {
			return 0
		}
		return float64(input.Pix[input.PixOffset(i, j)])
	}
	c := lv.Centroid(outline)
	n := len(outline)
	for i, p := range outline {
		if (p.X-base.X)*ux+(p.Y-base.Y)*uy < 0.15*length {
			continue // the valve
		}
		a, b := outline[(i+n-2)%n], outline[(i+2)%n]
		nx, ny := -(b.Y - a.Y), b.X-a.X
		l := math.Hypot(nx, ny)
		if l == 0 {
			continue
		}
		nx, ny = nx/l, ny/l
		if nx*(p.X-c.X)+ny*(p.Y-c.Y) < 0 {
			nx, ny = -nx, -ny
		}
		var o, v float64
		for k := 1; k <= 5; k++ {
			d := float64(k) * 0.016 * length
			o += level(p.X+d*nx, p.Y+d*ny) / 5
			v += level(p.X-d*nx, p.Y-d*ny) / 5
		}
		out, in = append(out, o), append(in, v)
	}
	return out, in
}

// Own choice, from 495 CAMUS patients: beside a wall that is seen the picture
// has at least so large a part of the brighter quarter of its walls' gray, or is
// brighter than inside by so large a part of it.
const (
	darkWall = 0.30
	contrast = 0.12
)

// Unseen is the part of an outline, the valve left out, beside which no wall is
// seen: it is as dark outside as inside. Of 495 expert-labelled patients (CAMUS)
// 5 % exceed 0.19 at end-diastole and 0.05 at end-systole; with the lateral wall
// in a shadow 95 % exceed 0.40 and 0.15.
func Unseen(input *image.Gray, outline []lv.Point, base, apex lv.Point) float64 {
	out, in := Levels(input, outline, base, apex)
	if len(out) == 0 {
		return 0
	}
	sorted := slices.Clone(out)
	slices.Sort(sorted)
	bright := sorted[len(sorted)*3/4]
	n := 0
	for i := range out {
		if out[i] < darkWall*bright && out[i]-in[i] < contrast*bright {
			n++
		}
	}
	return float64(n) / float64(len(out))
}
