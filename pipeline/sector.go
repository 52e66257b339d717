package pipeline

import (
	"context"
	"image"
	"slices"
	"time"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/pipeline/result"
)

// The picture is judged in cells: one whose pixels are mostly brighter than
// black belongs to the sector; text, rulers and ECG are thinner than that.
const (
	sectorCell  = 8   // pixels
	sectorBlack = 7   // grey value
	sectorGap   = 2   // cells: dark chambers up to twice as wide do not divide the sector
	sectorLeast = 0.1 // of the picture: less is not believed
	sectorMost  = 0.9 // of the picture: more is the picture
	// sectorSecond is how large another lit part must be beside the largest to be a picture of its own.
	sectorSecond = 0.35
)

// findSector takes the analysed region of an object that names none, or the whole screen,
// from its pixels: the largest lit part of some frames together. A region that is the whole
// screen stays where the sector is not much smaller; its scale stays.
func (a *Analyzer) findSector(ctx context.Context, l *loop, frames *dicomio.FrameReader, sample []int) error {
	some, most := 4, 1.0
	if l.regionIsScreen() {
		some, most = 2, sectorOnScreen // most of them are cropped pictures, as two frames show
	}
	lit := &image.Gray{}
	for n := 0; n < len(sample); n += max(1, len(sample)/some) {
		if err := a.brighten(ctx, l, frames, sample[n], lit); err != nil {
			return err
		}
	}
	r, pictures := sector(lit)
	if share := float64(r.Dx()) * float64(r.Dy()) / (float64(l.Columns) * float64(l.Rows)); share > most {
		return nil
	}
	if !r.Empty() {
		l.analyseRegion(r)
	}
	if pictures > 1 {
		l.Warnings = append(l.Warnings, result.Reasonf(result.Regions,
			"the screen seems to show %d pictures; the values are from the one at %v", pictures, l.region))
	}
	return nil
}

// wholeScreen is the part of the screen of which a region says nothing of where the
// picture is, and sectorOnScreen the part of it that the sector takes at most where
// that is looked at alone. Own choice: the sector of a cropped picture takes all of it.
const wholeScreen, sectorOnScreen = 0.95, 0.75

// regionIsScreen reports whether the only 2D region is the whole screen, as converters
// and some devices write.
func (l *loop) regionIsScreen() bool {
	r := l.region
	return l.facts.Tissue != nil && l.facts.Tissue.Fits && len(l.facts.TissueRegions()) == 1 &&
		float64(r.Dx())*float64(r.Dy()) >= wholeScreen*float64(l.Columns)*float64(l.Rows)
}

// brighten raises lit to frame i where that is brighter.
func (a *Analyzer) brighten(ctx context.Context, l *loop, frames *dicomio.FrameReader, i int, lit *image.Gray) (err error) {
	b, done, err := a.flow.work(ctx, l.party)
	if err != nil {
		return err
	}
	defer done()
	defer a.contain(l, i, &err)
	start := time.Now()
	defer func() { l.took.decode.Add(int64(time.Since(start))) }()
	if err := frames.Gray(i, &b.gray); err != nil {
		return damaged(i, err)
	}
	if lit.Rect != b.gray.Rect {
		*lit = *image.NewGray(b.gray.Rect)
	}
	for y := range b.gray.Rect.Dy() {
		from, to := b.gray.Pix[y*b.gray.Stride:], lit.Pix[y*lit.Stride:]
		for x := range b.gray.Rect.Dx() {
			to[x] = max(to[x], from[x])
		}
	}
	return nil
}

// sector is the rectangle around the largest lit part of a screen, empty where
// there is none to speak of or it is the whole screen, and how many parts are
// large enough to be a picture each.
func sector(g *image.Gray) (found image.Rectangle, pictures int) {
	w, h := g.Rect.Dx()/sectorCell, g.Rect.Dy()/sectorCell
	if w < 4 || h < 4 {
		return found, 0
	}
	cells := grid{w, h, make([]bool, w*h)}
	for y := range h {
		for x := range w {
			n := 0
			for dy := range sectorCell {
				for _, v := range g.Pix[(y*sectorCell+dy)*g.Stride+x*sectorCell:][:sectorCell] {
					if v > sectorBlack {
						n++
					}
				}
			}
			cells.lit[y*w+x] = 2*n >= sectorCell*sectorCell
		}
	}
	parts := cells.without(1).grown(sectorGap).shrunk(sectorGap).parts()
	if len(parts) == 0 {
		return found, 0
	}
	for _, p := range parts {
		if float64(p.cells) >= sectorSecond*float64(parts[0].cells) {
			pictures++
		}
	}
	box := parts[0].box
	found = image.Rect(box.Min.X*sectorCell, box.Min.Y*sectorCell, box.Max.X*sectorCell, box.Max.Y*sectorCell).
		Inset(-sectorCell).Add(g.Rect.Min).Intersect(g.Rect)
	share := float64(found.Dx()*found.Dy()) / float64(g.Rect.Dx()*g.Rect.Dy())
	if share < sectorLeast || share > sectorMost {
		return image.Rectangle{}, 0
	}
	return found, pictures
}

// grid is a picture of cells.
type grid struct {
	w, h int
	lit  []bool
}

// without leaves out what is not part of a lit square of n+1 cells.
func (g grid) without(n int) grid {
	return g.filter(func(x, y int) bool {
		for oy := -n; oy <= 0; oy++ {
			for ox := -n; ox <= 0; ox++ {
				if g.all(x+ox, y+oy, x+ox+n, y+oy+n) {
					return true
				}
			}
		}
		return false
	})
}

// grown lights every cell at most n away from a lit one.
func (g grid) grown(n int) grid {
	return g.filter(func(x, y int) bool {
		for v := max(0, y-n); v <= min(g.h-1, y+n); v++ {
			for u := max(0, x-n); u <= min(g.w-1, x+n); u++ {
				if g.lit[v*g.w+u] {
					return true
				}
			}
		}
		return false
	})
}

// shrunk keeps the cells around which everything is lit for n cells, or outside.
func (g grid) shrunk(n int) grid {
	return g.filter(func(x, y int) bool {
		return g.all(max(0, x-n), max(0, y-n), min(g.w-1, x+n), min(g.h-1, y+n))
	})
}

func (g grid) filter(keep func(x, y int) bool) grid {
	out := grid{g.w, g.h, make([]bool, len(g.lit))}
	for y := range g.h {
		for x := range g.w {
			out.lit[y*g.w+x] = keep(x, y)
		}
	}
	return out
}

// all reports whether the cells from (x0, y0) to (x1, y1) are there and lit.
func (g grid) all(x0, y0, x1, y1 int) bool {
	if x0 < 0 || y0 < 0 || x1 >= g.w || y1 >= g.h {
		return false
	}
	for y := y0; y <= y1; y++ {
		for x := x0; x <= x1; x++ {
			if !g.lit[y*g.w+x] {
				return false
			}
		}
	}
	return true
}

// part is a connected part of a grid: the box around it, in cells, and how many
// cells are lit.
type part struct {
	box   image.Rectangle
	cells int
}

// parts are the connected parts, the largest first.
func (g grid) parts() []part {
	var found []part
	seen := make([]bool, len(g.lit))
	for start, lit := range g.lit {
		if !lit || seen[start] {
			continue
		}
		var box image.Rectangle
		stack, n := []int{start}, 0
		seen[start] = true
		for len(stack) > 0 {
			at := stack[len(stack)-1]
			stack, n = stack[:len(stack)-1], n+1
			x, y := at%g.w, at/g.w
			box = box.Union(image.Rect(x, y, x+1, y+1))
			for _, d := range [4]image.Point{{X: 1}, {X: -1}, {Y: 1}, {Y: -1}} {
				u, v := x+d.X, y+d.Y
				if u >= 0 && v >= 0 && u < g.w && v < g.h && g.lit[v*g.w+u] && !seen[v*g.w+u] {
					seen[v*g.w+u] = true
					stack = append(stack, v*g.w+u)
				}
			}
		}
		found = append(found, part{box, n})
	}
	slices.SortStableFunc(found, func(a, b part) int { return b.cells - a.cells })
	return found
}
