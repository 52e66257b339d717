package pipeline

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/internal/correct"
	"github.com/echonode/echonode/pipeline/output"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/sr"
)

// twoPlanes is a screen of a matrix probe: the four-chamber view on the left, the
// two-chamber view of the same beats on the right at another scale. By the method of
// disks a heart of 50 and 45 mm by 90 mm holds pi/6*5*4.5*9 = 106.03 mL, one of 35 and
// 31.5 by 75 mm 43.30 mL: EF 59.2 %.
func twoPlanes() cine {
	c := standard("1.2.3.1")
	c.lengthMM, c.diameterMM = beats(90, 75, 3), beats(50, 35, 3)
	two := c
	two.x0, two.x1, two.y1, two.mark, two.shift = 340, 640, 240, true, 30
	two.spacingX, two.spacingY = 0.55, 0.55
	two.diameterMM = beats(45, 31.5, 3)
	c.width, c.x1, c.y1, c.beside = 640, 300, 240, &two
	return c
}

// Two planes of one recording are measured as such, each with its own scale, and what is
// told of a value names the plane that it is from.
func TestTwoPlanesOfOneRecording(t *testing.T) {
	e := seeing{newBrightness(models.ViewA4C)}
	s := analyse(t, e, twoPlanes().write(t, t.TempDir()))
	l := s.Loops[0]
	if l.Status != result.Analysed || l.View != models.ViewA4C || l.Beside == nil || l.Beside.View != models.ViewA2C || l.Beside.Region.MinX != 340 {
		t.Fatalf("%s, %v, view %s, beside %+v, warnings %v", l.Status, l.Reason, l.View, l.Beside, l.Warnings)
	}
	for _, want := range []struct {
		name      string
		value, to float64
	}{{result.EDV, 106.03, 3}, {result.ESV, 43.30, 2}, {result.EF, 59.2, 1.5}} {
		i := slices.IndexFunc(s.Measurements, func(m result.Measurement) bool { return m.Name == want.name })
		m := s.Measurements[i]
		if m.Value == nil || math.Abs(*m.Value-want.value) > want.to || m.Method != result.Biplane || m.Quality.Grade != result.Good || len(m.Beats) != 3 {
			t.Errorf("%s: %+v, want %.2f", want.name, m, want.value)
		}
		planes := map[bool]bool{}
		for _, src := range m.Sources {
			planes[src.Beside] = true
		}
		if len(planes) != 2 {
			t.Errorf("%s: sources %v", want.name, m.Sources)
		}
	}
	if said := about(l, result.TwoPlanes, result.Regions); len(said) != 1 || !strings.Contains(said[0], "A4C at (0, 0), A2C at (340, 0)") {
		t.Errorf("said: %v", l.Warnings)
	}
	// The report's contours lie in the plane they are of.
	files := made(t, &s.Study, output.Options{Report: true, Codeset: sr.SCT, Segmentation: true, Summary: true, Overlay: "all"})
	left, right := 0, 0
	for _, m := range parsed(t, files["report.dcm"]).Measurements() {
		if !m.Concept.Is(sr.EDV.Code(sr.SCT)) {
			continue
		}
		for _, src := range m.Sources {
			for _, p := range src.Contour {
				if p.X < 300 {
					left++
					break
				}
				right++
				break
			}
		}
	}
	if left != 3 || right != 3 {
		t.Errorf("%d contours in the left, %d in the right plane", left, right)
	}
	// Each cavity is a segment of its own, and there is no scale that is right for both.
	for name, file := range files {
		segmentation, overlay := strings.HasSuffix(name, "-seg.dcm"), strings.HasSuffix(name, "-a4c.dcm")
		if !segmentation && !overlay {
			continue
		}
		ds := file.DataSet
		var labels []string
		for _, it := range ds.Items(tag.SegmentSequence) {
			labels = append(labels, it.String(tag.SegmentLabel))
		}
		spacing := ds.Has(tag.PixelSpacing)
		for _, shared := range ds.Items(tag.SharedFunctionalGroupsSequence) {
			for _, measures := range shared.Items(tag.PixelMeasuresSequence) {
				spacing = spacing || measures.Has(tag.PixelSpacing)
			}
		}
		if spacing || segmentation && !slices.Equal(labels, []string{"Left ventricular cavity", "Left ventricular cavity, second plane"}) {
			t.Errorf("%s: segments %q, scale %v", name, labels, spacing)
		}
	}
}

// The name of one of the planes is that of the picture, another one is remarked on.
func TestNameOfTwoPlanes(t *testing.T) {
	for name, odd := range map[string]bool{"A4C": false, "A2C": false, "A4C/A2C": false, "Biplane": false, "PLAX": true} {
		c := twoPlanes()
		c.edit = func(ds *dicomio.DataSet) { ds.SetString(tag.ViewName, name) }
		l := loopOf(t, seeing{newBrightness(models.ViewA4C)}, "", c.write(t, t.TempDir()))
		if l.Beside == nil || (len(about(l, result.ViewName)) > 0) != odd || (len(about(*l.Beside, result.ViewName)) > 0) != odd {
			t.Errorf("%s: %v, %v", name, l.Warnings, l.Beside)
		}
	}
}

// about are a loop's remarks with one of the codes.
func about(l result.Loop, codes ...string) (out []string) {
	for _, w := range l.Warnings {
		if slices.Contains(codes, w.Code) {
			out = append(out, w.Text)
		}
	}
	return out
}

// What is no second plane costs the first one nothing, and nothing is made of both.
func TestNoSecondPlane(t *testing.T) {
	for name, tt := range map[string]struct {
		edit  func(c, two *cine)
		there bool // the other plane is measured for itself
		said  string
	}{
		"half a beat later": {func(_, two *cine) { two.lengthMM, two.diameterMM = beats(90, 75, 4)[12:], beats(40, 28, 4)[12:] }, true, "contract at different times"},
		"frozen": {func(_, two *cine) {
			two.lengthMM, two.diameterMM = slices.Repeat([]float64{90}, 78), slices.Repeat([]float64{40}, 78)
		}, true, "the A2C loop gives no volumes"},
		"much smaller":   {func(_, two *cine) { two.x1, two.y1 = 520, 200 }, false, ""},
		"of one view":    {func(_, two *cine) { two.mark = false }, false, ""},
		"over the first": {func(c, two *cine) { two.x0, two.x1 = 280, 580 }, false, ""},
		"the same, mirrored": {func(_, two *cine) {
			two.shift, two.spacingX, two.spacingY, two.diameterMM = 0, 0.6, 0.6, beats(50, 35, 3)
		}, true, "the four-chamber loop mirrored"},
		"of another scale": {func(_, two *cine) {
			two.spacingX, two.spacingY = 0.25, 0.25
			two.shift = 10
			two.diameterMM = beats(20, 14, 3)
			two.lengthMM = beats(40, 34, 3)
		}, true, "not biplane"},
		"and a third picture": {func(c, two *cine) {
			third := *two
			third.mark, third.x0, third.x1 = false, 660, 900
			c.width = 900
			c.edit = func(ds *dicomio.DataSet) {
				ds.SetItems(tag.SequenceOfUltrasoundRegions, append(ds.Items(tag.SequenceOfUltrasoundRegions), third.region())...)
			}
		}, false, ""},
	} {
		c := twoPlanes()
		tt.edit(&c, c.beside)
		s := analyse(t, seeing{newBrightness(models.ViewA4C)}, c.write(t, t.TempDir()))
		l := s.Loops[0]
		if (l.Beside != nil) != tt.there {
			t.Errorf("%s: %s, %v, beside %v, %v", name, l.Status, l.Reason, l.Beside != nil, l.Warnings)
			continue
		}
		if name == "of one view" {
			if l.Status != result.Refused {
				t.Errorf("%s: %s", name, l.Status)
			}
			continue
		}
		i := slices.IndexFunc(s.Measurements, func(m result.Measurement) bool { return m.Name == result.EDV })
		m := s.Measurements[i]
		if m.Value == nil || math.Abs(*m.Value-117.81) > 3 || m.Method != result.SinglePlane || m.View != models.ViewA4C {
			t.Errorf("%s: %+v", name, m)
			continue
		}
		if tt.said != "" && !slices.ContainsFunc(m.Quality.Warnings, func(r result.Reason) bool { return strings.Contains(r.Text, tt.said) }) {
			t.Errorf("%s: %v", name, m.Quality.Warnings)
		}
		if !tt.there && len(about(l, result.Regions)) == 0 {
			t.Errorf("%s: no word of the other picture: %v", name, l.Warnings)
		}
	}
}

// What a reader decides about the loop holds for the object, and the outline that is
// drawn is that of the first plane: the second is measured on as it was.
func TestReaderOfTwoPlanes(t *testing.T) {
	e := seeing{newBrightness(models.ViewA4C)}
	a := analyzer(e)
	s := analyse(t, e, twoPlanes().write(t, t.TempDir()))
	var outline [][2]float64
	for _, p := range s.Loops[0].FrameAt(3).Contour {
		outline = append(outline, [2]float64{150 + 1.1*(p[0]-150), p[1]}) // a tenth wider
	}
	change := func(c correct.Loop) *result.Study {
		t.Helper()
		out, err := correct.Apply(&s.Study, correct.Corrections{Loops: map[string]correct.Loop{"1.2.3.1": c}}, a.measuring())
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	wider := change(correct.Loop{Beats: []correct.Beat{{ED: 3, ES: 15}}, Frames: []correct.Frame{{Frame: 3, Contour: outline}}})
	i := slices.IndexFunc(wider.Measurements, func(m result.Measurement) bool { return m.Name == result.EDV })
	if m := wider.Measurements[i]; m.Value == nil || m.Method != result.Biplane || !m.ByReader || math.Abs(*m.Value-1.1*106.03) > 4 || len(m.Beats) != 1 {
		t.Errorf("wider: %+v", m)
	}
	later := change(correct.Loop{Beats: []correct.Beat{{ED: 3, ES: 20}}})
	if m := later.Measurements[i]; m.Value == nil || m.Method != result.Biplane {
		t.Errorf("ES 175 ms later: %+v", m)
	}
	if got := wider.Loops[0].Beside; got == nil || got.CorrectedByReader() {
		t.Errorf("the other plane: %+v", got)
	}
	// An outline that is drawn as it was makes no two recordings one.
	c := twoPlanes()
	c.beside.lengthMM, c.beside.diameterMM = beats(90, 75, 4)[12:], beats(40, 28, 4)[12:]
	s = analyse(t, e, c.write(t, t.TempDir()))
	same := []correct.Frame{{Frame: 3, Contour: s.Loops[0].FrameAt(3).Contour}}
	for _, beats := range [][]correct.Beat{nil, {{ED: 3, ES: 15}}, {{ED: 3, ES: 26}}} {
		if m := change(correct.Loop{Frames: same, Beats: beats}).Measurements[i]; m.Value == nil || m.Method != result.SinglePlane {
			t.Errorf("out of step, beats %v: %+v", beats, m)
		}
	}
	if m := change(correct.Loop{Excluded: true}).Measurements[0]; m.Value != nil {
		t.Errorf("left out: %+v", m)
	}
}
