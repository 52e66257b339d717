package measure

import (
	"strings"
	"testing"

	"github.com/echonode/echonode/pipeline/measure/heart"
	"github.com/echonode/echonode/pipeline/quantity"
	"github.com/echonode/echonode/pipeline/result"
)

// drawn is a loop of a heart with an EF of so many per cent in which a reader names ED and ES of
// its first beats and draws both outlines as the network did; interchanged says of which beats the
// phases are named the wrong way round.
func drawn(view string, ef float64, interchanged ...bool) result.Loop {
	l := heart.Clip{View: view, Beats: heart.Regular(65, ef, 180, 4), FPS: 40, Start: 200, Noise: 0.001, Seed: 1}.Loop()
	Loop(&l, options())
	l.Reader = &result.LoopDecision{}
	for i, wrong := range interchanged {
		b := result.Beat{ED: l.Beats[i].ED, ES: l.Beats[i].ES, NextED: -1}
		if wrong {
			b.ED, b.ES = b.ES, b.ED
		}
		l.Reader.Beats = append(l.Reader.Beats, b)
		for _, k := range []int{b.ED, b.ES} {
			f := l.FrameAt(k)
			f.Network = &result.Found{Contour: f.Contour, Keypoints: f.Keypoints}
		}
	}
	Loop(&l, options())
	return l
}

// A reader who names end-systole as end-diastole, outlines drawn or not, gets no value of an
// apical view and is asked whether the phases are interchanged; a beat named rightly beside it
// counts alone.
func TestInterchangedPhases(t *testing.T) {
	for _, view := range []string{"A4C", "A2C", "A3C"} {
		for _, calibrated := range []bool{true, false} {
			l := drawn(view, 60, true)
			if !calibrated {
				l.Spacing.Trusted = false
				Loop(&l, options())
			}
			for _, m := range l.Measurements {
				switch q, _ := quantity.Of(m.Name); {
				case m.Name == result.HR || !q.Core:
				case m.Value != nil:
					t.Errorf("%s: %s %.1f %v", view, m.Name, *m.Value, m.Quality)
				case !strings.Contains(m.Reason.Text, "are the phases interchanged?") || strings.Contains(m.Reason.Text, " cm2") != calibrated:
					t.Errorf("%s: %s: %s", view, m.Name, m.Reason.Text)
				}
			}
			if r := l.Beats[0].Rejected; r == nil || r.Code != result.ImplausibleValue {
				t.Errorf("%s: the beat: %+v", view, r)
			}
		}
	}
	for i := range 2 {
		both := []bool{i == 0, i == 1}
		l := drawn("A4C", 60, both...)
		if m := find(t, l.Measurements, result.EF); m.Value == nil || len(m.Beats) != 1 || *m.Value < 58 || *m.Value > 62 {
			t.Errorf("%v: %+v", both, m)
		}
	}
	l := drawn("A4C", 60, true)
	for i := range l.FrameResults {
		l.FrameResults[i].Network = nil
	}
	Loop(&l, options())
	if m := find(t, l.Measurements, result.EF); m.Value != nil || !strings.Contains(m.Reason.Text, "interchanged") {
		t.Errorf("not drawn: %+v", m)
	}
}

// A ventricle that hardly moves, whose cavity a reader draws a little larger at end-systole, is
// severely reduced: EF, stroke volume and the change of area say so, and none is below nothing.
// The sizes are what they are.
func TestReaderOfAStillVentricle(t *testing.T) {
	for _, view := range []string{"A4C", "A3C"} {
		l := drawn(view, 60, false)
		ed, es := l.FrameAt(l.Reader.Beats[0].ED), l.FrameAt(l.Reader.Beats[0].ES)
		es.Contour, es.Keypoints = nil, ed.Keypoints
		for _, p := range ed.Contour { // 2 % wider about its middle
			es.Contour = append(es.Contour, [2]float64{heart.Columns/2 + 1.02*(p[0]-heart.Columns/2), p[1]})
		}
		Loop(&l, options())
		for _, name := range []string{result.EF, result.SV, result.FAC} {
			if name != result.FAC && view == "A3C" {
				continue
			}
			if m := find(t, l.Measurements, name); m.Value != nil || m.Reason.Code != result.SeverelyReduced {
				t.Errorf("%s: %s %+v %+v", view, name, m, m.Reason)
			}
		}
		if m := find(t, l.Measurements, result.AreaES); m.Value == nil {
			t.Errorf("%s: %+v", view, m.Reason)
		}
	}
}

// An EF that no ventricle has is none, whoever drew it.
func TestReadersEFThatCannotBe(t *testing.T) {
	l := drawn("A4C", 60, false)
	es := l.FrameAt(l.Reader.Beats[0].ES)
	small := result.Contour{}
	for _, p := range es.Contour {
		small = append(small, [2]float64{heart.Columns/2 + 0.4*(p[0]-heart.Columns/2), p[1]})
	}
	es.Contour = small
	Loop(&l, options())
	if m := find(t, l.Measurements, result.EF); m.Value != nil || !strings.Contains(m.Reason.Text, "an ejection fraction of 9") {
		t.Errorf("%+v %+v", m, m.Reason)
	}
}
