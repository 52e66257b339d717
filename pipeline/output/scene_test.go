package output

import (
	"slices"
	"strings"
	"testing"

	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/internal/overlay"
	"github.com/echonode/echonode/pipeline/result"
)

// apical is a measured four-chamber loop of eight frames with two beats, of
// which the second was thrown out, and one removed outline.
func apical() *result.Loop {
	ef := 58.6
	l := &result.Loop{View: models.ViewA4C, Stage: "Peak ", Status: result.Analysed, Frames: 8, Rows: 100, Columns: 100,
		FrameTimes: []float64{0, 40, 80, 120, 160, 200, 240, 280}, Spacing: result.Spacing{X: 1, Y: 1, Trusted: true},
		Beats:        []result.Beat{{ED: 0, ES: 2, NextED: 4}, {ED: 4, ES: 6, NextED: -1, Rejected: &result.Reason{Code: "x", Text: "y"}}},
		Curve:        &result.Curve{Removed: []int{3}},
		Measurements: []result.Measurement{{Name: result.EF, Value: &ef, Unit: result.UnitPercent, Quality: result.Quality{Grade: result.Good}}}}
	for i := range l.Frames {
		square := result.Contour{{30, 20}, {70, 20}, {70, float64(60 + i)}, {30, float64(60 + i)}}
		l.FrameResults = append(l.FrameResults, result.Frame{Index: i, Contour: square,
			Structures: map[string]result.Contour{models.ClassLVMyocardium: square, models.ClassLeftAtrium: square}})
	}
	return l
}

func kinds(s overlay.Scene) map[overlay.Kind]int {
	n := map[overlay.Kind]int{}
	for _, o := range s.Outlines {
		n[o.Kind]++
	}
	return n
}

// Only what is measured with is drawn as measured, and the footer says what it
// is about.
func TestSceneDrawsOnlyWhatIsTrusted(t *testing.T) {
	w := &writer{}
	l := apical()
	tr := trustOf(l)
	for i, want := range []struct {
		badge                    string
		beat                     string
		ventricle, doubt, ghosts int
	}{
		{"ED", "beat 1/1", 1, 0, 0}, {"", "beat 1/1", 1, 0, 1}, {"ES", "beat 1/1", 1, 0, 1}, {"", "beat 1/1", 0, 1, 2},
		{"ED", "", 1, 0, 0}, {"", "", 1, 0, 0}, {"", "", 1, 0, 0}, {"", "", 1, 0, 0},
	} {
		s := w.scene(l, tr, i)
		k := kinds(s)
		if s.Badge != want.badge || k[overlay.Ventricle] != want.ventricle || k[overlay.Doubtful] != want.doubt || k[overlay.Ghost] != want.ghosts {
			t.Errorf("frame %d: badge %q, outlines %v; want %+v", i, s.Badge, k, want)
		}
		if !strings.HasPrefix(s.Title, "A4C  Peak  EF 59 % (good)") || strings.Contains(s.Title, "beat") != (want.beat != "") ||
			!strings.Contains(s.Title, want.beat) || s.Alert != "" {
			t.Errorf("frame %d: title %q, alert %q", i, s.Title, s.Alert)
		}
		if k[overlay.Myocardium]+k[overlay.Atrium] != 0 {
			t.Errorf("frame %d: structures that nobody asked for: %v", i, k)
		}
	}
}

func TestSceneOfWhatIsNotMeasured(t *testing.T) {
	w := &writer{}
	l := apical()
	l.Measurements[0].Value, l.Measurements[0].Reason = nil, &result.Reason{Code: "edge", Text: "the lateral wall is cut"}
	for i := range l.Frames {
		s := w.scene(l, trustOf(l), i)
		if k := kinds(s); k[overlay.Ventricle] != 0 || k[overlay.Doubtful] != 1 || s.Badge != "" || s.Axis != nil || len(s.Keypoints) != 0 {
			t.Errorf("frame %d: a loop that is not measured is drawn as one that is: %v, badge %q", i, k, s.Badge)
		}
		if s.Alert != "NOT MEASURED: the lateral wall is cut" {
			t.Errorf("frame %d: alert %q", i, s.Alert)
		}
	}
	plax := &result.Loop{View: models.ViewPLAX, Frames: 1, Measurements: []result.Measurement{{Name: result.LVIDd, Reason: &result.Reason{Text: "not validated"}}}}
	var points []result.Keypoint
	for _, name := range []string{models.KeypointIVSRight, models.KeypointIVSLeft, models.KeypointPWInner, models.KeypointPWOuter} {
		points = append(points, result.Keypoint{Name: name, X: 5, Y: 5, Confidence: 0.9})
	}
	plax.FrameResults = []result.Frame{{Keypoints: points}}
	if s := w.scene(plax, trustOf(plax), 0); len(s.Lines) != 0 || len(s.Keypoints) != 0 || s.Alert == "" {
		t.Errorf("calipers that nothing is measured with are drawn: %+v", s)
	}
	v := 4.8
	plax.Measurements[0].Value = &v
	if s := w.scene(plax, trustOf(plax), 0); len(s.Lines) != 3 {
		t.Errorf("%d calipers of a measured loop", len(s.Lines))
	}
}

// Of two planes on one screen title and alert say of each what is so.
func TestSceneOfTwoPlanes(t *testing.T) {
	w := &writer{}
	none := func(l *result.Loop, why string) {
		l.Measurements[0].Value, l.Measurements[0].Reason = nil, &result.Reason{Code: "edge", Text: why}
	}
	for name, tt := range map[string]struct {
		first, second string // why it is not measured
		title, alert  string
	}{
		"both":   {"", "", "A4C  Peak  EF 59 % (good)  A2C  EF 59 % (good)", ""},
		"first":  {"cut", "", "A4C  Peak  not measured  A2C  EF 59 % (good)", "A4C NOT MEASURED: cut"},
		"second": {"", "dim", "A4C  Peak  EF 59 % (good)  A2C  not measured", "A2C NOT MEASURED: dim"},
		"none":   {"cut", "dim", "A4C  Peak  not measured  A2C  not measured", "A4C NOT MEASURED: cut; A2C NOT MEASURED: dim"},
	} {
		l, second := apical(), apical()
		second.View, second.SecondPlane = models.ViewA2C, true
		l.Beside = second
		if tt.first != "" {
			none(l, tt.first)
		}
		if tt.second != "" {
			none(second, tt.second)
		}
		s := w.scene(l, trustOf(l), 0)
		if title, _, _ := strings.Cut(s.Title, "  beat"); title != tt.title || s.Alert != tt.alert {
			t.Errorf("%s: %q, %q", name, s.Title, s.Alert)
		}
	}
}

// Structures are drawn by switch, and only where the network learnt them.
func TestSceneStructures(t *testing.T) {
	w := &writer{o: Options{Structures: []string{StructureAtrium, StructureMyocardium}}}
	l := apical()
	if k := kinds(w.scene(l, trustOf(l), 0)); k[overlay.Atrium] != 1 || k[overlay.Myocardium] != 1 {
		t.Errorf("four chambers: %v", k)
	}
	l.View = models.ViewA2C
	if k := kinds(w.scene(l, trustOf(l), 0)); k[overlay.Atrium]+k[overlay.Myocardium] != 0 {
		t.Errorf("two chambers: %v", k)
	}
}

// A ventricle that hardly moves is an answer: its outline is drawn as trusted,
// and the footer says so.
func TestSceneOfASeverelyReducedVentricle(t *testing.T) {
	w := &writer{}
	l := apical()
	l.Beats = nil
	l.Measurements[0].Value, l.Measurements[0].Reason = nil,
		&result.Reason{Code: result.SeverelyReduced, Text: "severely reduced, below what can be measured: EF is under about 10 %"}
	s := w.scene(l, trustOf(l), 0)
	if k := kinds(s); k[overlay.Ventricle] != 1 || s.Alert != "" || !strings.Contains(s.Title, "EF severely reduced") || s.Badge != "" {
		t.Errorf("outlines %v, title %q, alert %q", k, s.Title, s.Alert)
	}
}

// What is told in words carries its doubts like what is coded.
func TestStageInWordsHasItsDoubts(t *testing.T) {
	v := 75.0
	st := stage{name: "Peak", measurements: []result.Measurement{
		{Name: result.EF, Value: &v, Unit: "%", Method: result.Biplane, Quality: result.Quality{Grade: result.Fair, Warnings: []result.Reason{{Code: "x", Text: "the planes disagree"}}},
			Sources: []result.Source{{SOPInstanceUID: "1.2.3"}}},
		{Name: result.EDV, Reason: &result.Reason{Text: "not calibrated"}},
	}}
	w := &writer{s: &result.Study{Loops: []result.Loop{{SOPInstanceUID: "1.2.3", InstanceNumber: 9}}}}
	got := w.inWords(st, map[string]*result.Loop{
		"1.2.3": {SOPInstanceUID: "1.2.3", View: "A4C", InstanceNumber: 9, Warnings: []result.Reason{{Text: "frame times in doubt"}}}})
	want := []string{"Peak (in words only, so that no reader takes it for rest): EF 75 % (biplane method of disks)",
		"Peak: EF: the planes disagree", "Peak: EF: A4C, loop 9: frame times in doubt", "Peak: not measured: EDV: not calibrated"}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
}

func TestListed(t *testing.T) {
	for names, want := range map[string]string{"EF": "EF", "EF EDV ESV SV CO": "EF, EDV, ESV, SV, CO", "EF EDV ESV SV CO FAC": "EF, EDV, ESV, SV and 2 more"} {
		if got := listed(strings.Fields(names)); got != want {
			t.Errorf("%s: %q", names, got)
		}
	}
}
