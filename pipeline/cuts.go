package pipeline

import (
	"math"
	"slices"

	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/result"
)

// cutSide is the width and height of the reduced pictures by which cuts are found:
// speckle is averaged out in them.
const cutSide = 28

// Own choice, on 23 cines of the views that are measured (one picture differs from the next by 15
// gray levels at most, and by 2.8 times the median) and on joined ones (31 to 134, 13 times).
const (
	cutLevels  = 20   // gray levels by which one picture differs from the next at a cut, at least
	cutUsual   = 3    // times the usual difference
	cutMotion  = 1.25 // times what the heart's motion makes of pictures on either side
	cutWindow  = 30   // frames on either side that show that motion
	cutStays   = 5    // frames on either side that differ across a cut: a flash is none
	clipFrames = 5    // of a clip, at least
	clipMS     = 250

	dark      = 8   // gray level up to which a pixel shows nothing
	likeMoves = 3   // cells by which pictures are moved to find how alike they are
	likeCells = 50  // cells that show something in both, at least
	oneHeart  = 0.5 // likeness of two pictures of one heart (gain and depth changed, probe moved: 0.63 to 0.99; two hearts: 0.32 at most)

	// A heart does not change its rate at once by more than otherState of the faster; clips tell it by
	// stateBeats intervals together that vary by steadyBeats of their mean in either.
	otherState  = 0.25
	stateBeats  = 3
	steadyBeats = 0.2
)

// clip is a part of a loop, from a frame to the one before another.
type clip struct{ from, to int }

// clips looks for cuts in a loop, as where recordings of a whole examination stand one
// behind the other in one object: pictures differ from one frame to the next as no motion
// makes them, and stay so. It returns the clips that show a ventricle, nil where there is
// one alone.
func clips(frames []frame, times []float64) []clip {
	n := len(frames)
	if n < 2*clipFrames || slices.ContainsFunc(frames, func(f frame) bool { return len(f.small) == 0 }) {
		return nil
	}
	steps := make([]float64, n-1)
	for i := range steps {
		steps[i] = difference(frames[i].small, frames[i+1].small)
	}
	least := max(cutLevels, cutUsual*lv.Median(steps))
	var leaps []int // frames behind which the picture differs much
	for i, step := range steps {
		if step >= least {
			leaps = append(leaps, i)
		}
	}
	var found []clip
	from := 0
	end := func(to int) {
		long := len(times) != n || times[to-1]-times[from] >= clipMS
		if to-from >= clipFrames && long && showsVentricle(frames[from:to]) {
			found = append(found, clip{from, to})
		}
		from = to
	}
	for k, i := range leaps {
		first, behind := 0, n
		if k > 0 {
			first = leaps[k-1] + 1
		}
		if k+1 < len(leaps) {
			behind = leaps[k+1] + 1
		}
		moved := max(motion(frames[max(first, i+1-cutWindow):i+1]), motion(frames[i+1:min(behind, i+1+cutWindow)]))
		if steps[i] >= cutMotion*moved && stays(frames, i, steps[i]) {
			end(i + 1)
		}
	}
	if end(n); len(found) < 2 {
		return nil
	}
	return found
}

// stays reports whether a step behind frame i is to be seen from all frames shortly before
// it to all shortly behind.
func stays(frames []frame, i int, step float64) bool {
	for _, a := range frames[max(0, i+1-cutStays) : i+1] {
		for _, b := range frames[i+1 : min(len(frames), i+1+cutStays)] {
			if difference(a.small, b.small) < step/2 {
				return false
			}
		}
	}
	return true
}

// motion is by how much pictures of a clip usually differ from its first.
func motion(side []frame) float64 {
	var all []float64
	for _, f := range side[1:] {
		all = append(all, difference(side[0].small, f.small))
	}
	if len(all) == 0 {
		return 0
	}
	return lv.Median(all)
}

// difference is the mean absolute difference of two pictures in gray levels, where
// either is not dark.
func difference(a, b []byte) float64 {
	sum, n := 0, 0
	for i := range a {
		if a[i] > dark || b[i] > dark {
			d := int(a[i]) - int(b[i])
			sum, n = sum+max(d, -d), n+1
		}
	}
	if n == 0 {
		return 0
	}
	return float64(sum) / float64(n)
}

// showsVentricle reports whether most frames have an outline of it: titles and black
// frames have none.
func showsVentricle(frames []frame) bool {
	with := 0
	for i := range frames {
		if frames[i].outline != nil {
			with++
		}
	}
	return 2*with > len(frames)
}

// judgeCuts refuses a loop that is several clips: of several hearts or views, or of one heart at
// several rates, as at rest and under stress. One whose picture changes at once in gain, depth or
// place has a remark, and its beats are found apart. views are the names of the network's views.
func (l *loop) judgeCuts(views []string, o lv.BeatOptions) error {
	found := clips(l.frames, l.FrameTimes)
	if found == nil {
		return nil
	}
	others, at := 1, 0
	var cuts []int
	rates := [][]float64{l.intervals(found[0], o)} // of the clips of one heart in one state
	for k, c := range found[1:] {
		before, behind := l.frames[found[k].from:found[k].to], l.frames[c.from:c.to]
		if cuts = append(cuts, found[k].to); c.from > found[k].to {
			cuts = append(cuts, c.from)
		}
		own := l.intervals(c, o)
		other := func(rate []float64) bool { return otherRate(rate, own) }
		if likeness(before[len(before)-1].small, behind[0].small) >= oneHeart && seenAs(before, views) == seenAs(behind, views) &&
			!slices.ContainsFunc(rates, other) {
			rates = append(rates, own)
			continue
		}
		rates = [][]float64{own}
		if others++; at == 0 {
			at = c.from
		}
	}
	timed := len(l.FrameTimes) == len(l.frames)
	switch {
	case others == 1:
		r := result.Reasonf(result.SeveralClips, "gain, depth or place of the probe change in frame %d", found[1].from+1)
		if timed {
			r = result.Reasonf(result.SeveralClips, "gain, depth or place of the probe change at %.1f s", (l.FrameTimes[found[1].from]-l.FrameTimes[0])/1000)
		}
		l.Warnings, l.Cuts = append(l.Warnings, r), cuts
		return nil
	case timed:
		return refused(result.SeveralClips, "%d clips stand one behind the other, the second from %.1f s on: they are to be given one by one",
			others, (l.FrameTimes[at]-l.FrameTimes[0])/1000)
	}
	return refused(result.SeveralClips, "%d clips stand one behind the other, the second from frame %d on: they are to be given one by one", others, at+1)
}

// intervals are the times in ms from one contraction of a clip to the next.
func (l *loop) intervals(c clip, o lv.BeatOptions) (out []float64) {
	if len(l.FrameTimes) != len(l.frames) {
		return nil
	}
	areas := make([]float64, 0, c.to-c.from)
	for _, f := range l.frames[c.from:c.to] {
		area := math.NaN()
		if f.outline != nil {
			area = lv.PolygonArea(f.outline.Points, l.spacing)
		}
		areas = append(areas, area)
	}
	rhythm, err := lv.FindBeats(areas, l.FrameTimes[c.from:c.to], o)
	if err != nil {
		return nil // it shows none
	}
	for i, b := range rhythm.Beats {
		if b.BeforeMS > 0 {
			out = append(out, b.BeforeMS)
		}
		if i == len(rhythm.Beats)-1 && b.AfterMS > 0 {
			out = append(out, b.AfterMS)
		}
	}
	return out
}

// otherRate reports whether the intervals of two clips are those of two rates of the heart:
// each of a rhythm that is steady, and further apart than a heart's can be at once.
func otherRate(a, b []float64) bool {
	if len(a) == 0 || len(b) == 0 || len(a)+len(b) < stateBeats {
		return false
	}
	x, y := lv.Summarize(a), lv.Summarize(b)
	steady := func(s lv.Summary) bool { return s.Max-s.Min <= steadyBeats*s.Mean }
	return steady(x) && steady(y) && math.Abs(x.Mean-y.Mean) > otherState*max(x.Mean, y.Mean)
}

// likeness is the largest correlation of two reduced pictures where either is moved a little
// against the other: gain and dynamic range change it little, the place of the probe somewhat.
func likeness(a, b []byte) float64 {
	best := -1.0
	for dy := -likeMoves; dy <= likeMoves; dy++ {
		for dx := -likeMoves; dx <= likeMoves; dx++ {
			var n, sa, sb, saa, sbb, sab float64
			for y := max(0, -dy); y < min(cutSide, cutSide-dy); y++ {
				for x := max(0, -dx); x < min(cutSide, cutSide-dx); x++ {
					u, v := float64(a[y*cutSide+x]), float64(b[(y+dy)*cutSide+x+dx])
					if u > dark && v > dark {
						n, sa, sb, saa, sbb, sab = n+1, sa+u, sb+v, saa+u*u, sbb+v*v, sab+u*v
					}
				}
			}
			if spread := (n*saa - sa*sa) * (n*sbb - sb*sb); n >= likeCells && spread > 0 {
				best = max(best, (n*sab-sa*sb)/math.Sqrt(spread))
			}
		}
	}
	return best
}

// seenAs is the view of which the network is surest over frames, without the way of display.
func seenAs(frames []frame, names []string) string {
	sum := map[string]float32{}
	for _, f := range frames {
		for v, p := range f.views {
			view, _ := models.Mirrored(names[v])
			sum[view] += p
		}
	}
	best := ""
	for _, name := range names {
		if view, _ := models.Mirrored(name); best == "" || sum[view] > sum[best] {
			best = view
		}
	}
	return best
}
