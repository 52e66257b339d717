package output

import (
	"fmt"
	"strings"

	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/derived"
	"github.com/echonode/echonode/pipeline/internal/longaxis"
	"github.com/echonode/echonode/pipeline/internal/overlay"
	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/quantity"
	"github.com/echonode/echonode/pipeline/result"
)

// trust is what of a loop may be drawn as measured.
type trust struct {
	measured bool
	reason   string // why nothing was measured
	removed  map[int]bool
	beats    []result.Beat // those that entered the values
	headline string        // the loop's own result
}

func trustOf(l *result.Loop) trust {
	t := trust{removed: map[int]bool{}}
	for _, m := range l.Measurements {
		q, ok := quantity.Of(m.Name)
		if !ok || !q.Core || m.Name == result.HR {
			continue
		}
		switch {
		case m.Name == result.EF && severe(m):
			t.measured, t.headline = true, "EF "+m.Reason.Text
		case m.Value != nil:
			if !t.measured || m.Name == result.EF {
				t.headline = valueText(m)
				if m.Quality.Grade != "" {
					t.headline += " (" + m.Quality.Grade + ")"
				}
			}
			t.measured = true
		case t.reason == "" && m.Reason != nil:
			t.reason = m.Reason.Text
		}
	}
	if l.Curve != nil {
		for _, i := range l.Curve.Removed {
			t.removed[i] = true
		}
	}
	if !t.measured {
		return t
	}
	for _, b := range l.Beats {
		if b.Rejected == nil {
			t.beats = append(t.beats, b)
		}
	}
	return t
}

// said is what the title says of the loop.
func (t trust) said() string {
	if !t.measured {
		return "not measured"
	}
	return t.headline
}

// beat is the number, from 1, of the beat that a frame lies in; 0 for none.
func (t trust) beat(i int) int {
	for k, b := range t.beats {
		if i >= b.ED && (b.NextED < 0 && i <= b.ES || i < b.NextED) {
			return k + 1
		}
	}
	return 0
}

// held are the frames of end-diastole and end-systole.
func (t trust) held() (out []int) {
	for _, b := range t.beats {
		out = append(out, b.ED, b.ES)
	}
	return out
}

// scene is what is drawn on frame i of a loop. What is measured with is drawn
// as such; the rest is drawn as doubtful or not at all, and the picture says
// why.
func (w *writer) scene(l *result.Loop, t trust, i int) overlay.Scene {
	s := overlay.Scene{Title: l.View}
	if st := strings.TrimSpace(l.Stage); st != "" {
		s.Title += "  " + st
	}
	s.Title += "  " + t.said()
	var alerts []string // of two planes each names its own
	if !t.measured {
		alerts = append(alerts, "NOT MEASURED: "+t.reason)
	}
	if o := l.Beside; o != nil {
		second := trustOf(o)
		s.Title += "  " + o.View + "  " + second.said()
		if len(alerts) > 0 {
			alerts[0] = l.View + " " + alerts[0]
		}
		if !second.measured {
			alerts = append(alerts, o.View+" NOT MEASURED: "+second.reason)
		}
	}
	s.Alert = strings.Join(alerts, "; ")
	if n := t.beat(i); n > 0 {
		s.Title += fmt.Sprintf("  beat %d/%d", n, len(t.beats))
	}
	s.Status = fmt.Sprintf("frame %d/%d", i+1, l.Frames)
	if len(l.FrameTimes) == l.Frames {
		s.Status += fmt.Sprintf("  %.0f ms", l.FrameTimes[i])
	}
	for _, b := range t.beats {
		switch i {
		case b.ED, b.NextED:
			s.Badge = "ED"
		case b.ES:
			s.Badge = "ES"
		}
	}
	f := l.FrameAt(i)
	if f == nil {
		return s
	}
	if l.View == models.ViewPLAX {
		if c, ok := longaxis.Calipers(longaxis.Keypoints(f), 0); ok && t.measured && (f.Network != nil || !readersAlone(l)) {
			s.Keypoints = []lv.Point{c.IVSRight, c.IVSLeft, c.PWInner, c.PWOuter}
			s.Lines = []overlay.Line{{A: c.IVSRight, B: c.IVSLeft}, {A: c.IVSLeft, B: c.PWInner}, {A: c.PWInner, B: c.PWOuter}}
		}
		return s
	}
	for _, st := range w.structures(l) {
		if o, ok := f.Structures[st.class]; ok {
			s.Outlines = append(s.Outlines, overlay.Outline{Kind: st.kind, Points: longaxis.Points(o)})
		}
	}
	s.Outlines = append(s.Outlines, t.ghosts(l, i)...)
	s.Outlines = append(s.Outlines, outlineBeside(l, i)...)
	if len(f.Contour) == 0 {
		return s
	}
	if !t.measured || t.removed[i] {
		s.Outlines = append(s.Outlines, overlay.Outline{Kind: overlay.Doubtful, Points: longaxis.Points(f.Contour)})
		if t.measured {
			s.Status += "  outline not used"
		}
		return s
	}
	s.Outlines = append(s.Outlines, overlay.Outline{Kind: overlay.Ventricle, Points: longaxis.Points(f.Contour)})
	if l.Spacing.Trusted {
		s.Status += fmt.Sprintf("  LV %.1f cm2", lv.PolygonArea(longaxis.Points(f.Contour), longaxis.Spacing(l))/100)
	}
	if axis, err := longaxis.Of(l, f); err == nil {
		s.Axis = &axis
		s.Keypoints = []lv.Point{axis.Apex, axis.Annulus[0], axis.Annulus[1]}
	}
	return s
}

// outlineBeside is the cavity in the other plane of a loop's object.
func outlineBeside(l *result.Loop, i int) []overlay.Outline {
	if l.Beside == nil {
		return nil
	}
	f, t := l.Beside.FrameAt(i), trustOf(l.Beside)
	if f == nil || len(f.Contour) == 0 {
		return nil
	}
	kind := overlay.Ventricle
	if !t.measured || t.removed[i] {
		kind = overlay.Doubtful
	}
	return []overlay.Outline{{Kind: kind, Points: longaxis.Points(f.Contour)}}
}

// readersAlone reports whether a reader placed the points of every phase that a
// loop was measured on: the network's points elsewhere were not measured with.
func readersAlone(l *result.Loop) bool {
	byReader := func(i int) bool { f := l.FrameAt(i); return f != nil && f.Network != nil }
	n := 0
	for _, b := range l.Beats {
		if b.Rejected != nil {
			continue
		}
		if !byReader(b.ED) || !byReader(b.ES) {
			return false
		}
		n++
	}
	return n > 0
}

// ghosts are the outlines at end-diastole, and after it at end-systole, of the
// beat that a frame lies in: they are held, so that the way between them shows.
func (t trust) ghosts(l *result.Loop, i int) (out []overlay.Outline) {
	n := t.beat(i)
	if n == 0 {
		return nil
	}
	b := t.beats[n-1]
	for _, at := range []int{b.ED, b.ES} {
		if f := l.FrameAt(at); at < i && f != nil && len(f.Contour) > 0 {
			out = append(out, overlay.Outline{Kind: overlay.Ghost, Points: longaxis.Points(f.Contour)})
		}
	}
	return out
}

// Structures beside the cavity that can be drawn.
const (
	StructureMyocardium = "myocardium"
	StructureAtrium     = "atrium"
)

type structure struct {
	class   string
	kind    overlay.Kind
	segment derived.Structure
}

// structures are those that the options ask for, in the view in which the
// network learnt them: the four-chamber view.
func (w *writer) structures(l *result.Loop) (out []structure) {
	if l.View != models.ViewA4C {
		return nil
	}
	for _, name := range w.o.Structures {
		switch name {
		case StructureMyocardium:
			out = append(out, structure{models.ClassLVMyocardium, overlay.Myocardium, derived.Myocardium})
		case StructureAtrium:
			out = append(out, structure{models.ClassLeftAtrium, overlay.Atrium, derived.Atrium})
		}
	}
	return out
}
