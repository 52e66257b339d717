package lv

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// floodHoles is the plain way: what the corner cannot reach is a hole.
func floodHoles(inside []bool, w, h int) []bool {
	outside := make([]bool, w*h)
	stack := []int{0}
	outside[0] = true
	for len(stack) > 0 {
		at := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		x, y := at%w, at/w
		for _, d := range [4][2]int{{1, 0}, {-1, 0}, {0, 1}, {0, -1}} {
			i, j := x+d[0], y+d[1]
			if i >= 0 && j >= 0 && i < w && j < h && !inside[j*w+i] && !outside[j*w+i] {
				outside[j*w+i] = true
				stack = append(stack, j*w+i)
			}
		}
	}
	filled := make([]bool, w*h)
	for i := range filled {
		filled[i] = !outside[i]
	}
	return filled
}

// TestFillHoles compares the sweeps with a flood on random planes of every
// density, and on a spiral, whose channel winds to the middle.
func TestFillHoles(t *testing.T) {
	const w, h = 34, 28
	random := rand.New(rand.NewPCG(1, 2))
	planes := make([][]bool, 0, 301)
	for n := range 300 {
		plane := make([]bool, w*h)
		for j := 1; j < h-1; j++ {
			for i := 1; i < w-1; i++ {
				plane[j*w+i] = random.Float64() < float64(n)/300
			}
		}
		planes = append(planes, plane)
	}
	spiral := make([]bool, w*h)
	x, y, dx, dy := 1, 1, 1, 0
	for turn, length := 0, w-3; length > 2; turn++ {
		for range length {
			spiral[y*w+x] = true
			x, y = x+dx, y+dy
		}
		dx, dy = -dy, dx
		if turn%2 == 0 {
			length -= w - h
		} else {
			length += w - h - 2
		}
	}
	planes = append(planes, spiral)
	for n, plane := range planes {
		x0, y0, x1, y1, cells := w, h, 0, 0, 0
		for at, in := range plane {
			if in {
				x0, x1, y0, y1 = min(x0, at%w), max(x1, at%w), min(y0, at/w), max(y1, at/w)
				cells++
			}
		}
		if cells == 0 {
			continue
		}
		want := floodHoles(plane, w, h)
		holes := 0
		for i := range want {
			if want[i] && !plane[i] {
				holes++
			}
		}
		if got := fillHoles(plane, w, x0, y0, x1, y1); got != holes {
			t.Errorf("plane %d: %d cells filled, want %d", n, got, holes)
		}
		for i := range want {
			if want[i] != plane[i] {
				t.Fatalf("plane %d: cell %d,%d is %v", n, i%w, i/w, plane[i])
			}
		}
	}
}

// TestComponents compares the runs with a flood fill on random planes.
func TestComponents(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 1))
	for range 300 {
		w, h := 1+rng.IntN(20), 1+rng.IntN(20)
		prob := make([]uint8, w*h)
		for i := range prob {
			prob[i] = uint8(128 * (rng.IntN(10) / (1 + rng.IntN(9))))
		}
		cells, total := flood(prob, w, h, 128)
		runs, all := components(prob, w, h, 128)
		var got []int
		for _, r := range runs {
			for x := r.from; x < r.to; x++ {
				got = append(got, int(r.y)*w+int(x))
			}
		}
		if all != total || !slices.Equal(got, cells) {
			t.Fatalf("%dx%d %v: %d cells, %v; want %d, %v", w, h, prob, all, got, total, cells)
		}
	}
}

// flood finds the cells of the largest component, cell by cell.
func flood(prob []uint8, w, h int, level uint8) (largest []int, total int) {
	seen := make([]bool, len(prob))
	for start := range prob {
		if prob[start] < level || seen[start] {
			continue
		}
		part := []int{start}
		seen[start] = true
		for k := 0; k < len(part); k++ {
			x, y := part[k]%w, part[k]/w
			for j := max(y-1, 0); j <= min(y+1, h-1); j++ {
				for i := max(x-1, 0); i <= min(x+1, w-1); i++ {
					if at := j*w + i; prob[at] >= level && !seen[at] {
						seen[at] = true
						part = append(part, at)
					}
				}
			}
		}
		total += len(part)
		if len(part) > len(largest) {
			largest = part
		}
	}
	slices.Sort(largest)
	return largest, total
}
