package indices

import (
	"math"
	"testing"

	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/internal/longaxis"
	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/result"
)

// box is the outline of a rectangle with its corners, a point every pixel.
func box(x0, y0, x1, y1 float64) result.Contour {
	var c result.Contour
	for x := x0; x < x1; x++ {
		c = append(c, [2]float64{x, y0})
	}
	for y := y0; y < y1; y++ {
		c = append(c, [2]float64{x1, y})
	}
	for x := x1; x > x0; x-- {
		c = append(c, [2]float64{x, y1})
	}
	for y := y1; y > y0; y-- {
		c = append(c, [2]float64{x0, y})
	}
	return c
}

// house is a box with a roof of 20 pixels over its top side.
func house(half, top, base float64) result.Contour {
	var c result.Contour
	line := func(x0, y0, x1, y1 float64) {
		n := math.Ceil(math.Hypot(x1-x0, y1-y0))
		for k := range int(n) {
			t := float64(k) / n
			c = append(c, [2]float64{x0 + t*(x1-x0), y0 + t*(y1-y0)})
		}
	}
	line(100-half, base, 100-half, top)
	line(100-half, top, 100, top-20)
	line(100, top-20, 100+half, top)
	line(100+half, top, 100+half, base)
	line(100+half, base, 100-half, base)
	return c
}

// loop is a house-shaped heart with pixels of 1 mm: walls of 60 mm, 40 mm apart,
// at end-diastole, of 48 mm, 30 mm apart, at end-systole, whose base moves up by
// 12 mm; the atrium below is 40 x 50 mm.
func loop() *result.Loop {
	v := func(x float64) *float64 { return &x }
	l := &result.Loop{SOPInstanceUID: "1.2.3", View: models.ViewA4C, Status: result.Analysed, Frames: 21, Rows: 300, Columns: 200,
		Spacing: result.Spacing{X: 1, Y: 1, Trusted: true}, Region: &result.Region{MinX: 0, MinY: 0, MaxX: 200, MaxY: 300},
		Beats: []result.Beat{{ED: 0, ES: 10, NextED: 20}},
		Measurements: []result.Measurement{{Name: result.EF, Value: v(55), Quality: result.Quality{Grade: result.Good},
			Sources: []result.Source{{SOPInstanceUID: "1.2.3", Frame: 0, Phase: "ED"}}}}}
	for i := range l.Frames {
		l.FrameTimes = append(l.FrameTimes, float64(30*i))
		part := float64(i) / 10 // of systole
		if i > 10 {
			part = 2 - part
		}
		half, base := 20-5*part, 160-12*part
		top := base - 60 + 12*part
		l.FrameResults = append(l.FrameResults, result.Frame{Index: i, Contour: house(half, top, base),
			Structures: map[string]result.Contour{models.ClassLeftAtrium: box(80, base, 120, base+50)},
			Keypoints: []result.Keypoint{{Name: models.KeypointApex, X: 100, Y: top - 20, Confidence: 0.9},
				{Name: models.KeypointMitralSeptal, X: 100 - half, Y: base, Confidence: 0.9},
				{Name: models.KeypointMitralLateral, X: 100 + half, Y: base, Confidence: 0.9}}})
	}
	return l
}

// both are the options of a model whose left atrium is validated in both views.
var both = Options{Atrium: []string{models.ViewA4C, models.ViewA2C}}

func TestWorkedLoop(t *testing.T) {
	ms := OfLoop(loop(), both)
	wallED := 2*60 + 2*math.Hypot(20, 20)
	for name, want := range map[string]struct{ value, to float64 }{
		result.ContourStrain: {100 * (2*48 + 2*25 - wallED) / wallED, 0.6}, // -17.3 %
		result.Sphericity:    {40.0 / 80, 0.02},
		result.AnnulusSeptal: {1.2, 0.05}, result.AnnulusLateral: {1.2, 0.05},
		result.LAArea:   {20, 0.1},
		result.LAVolume: {8 * 4e6 / (3 * math.Pi * math.Hypot(20, 50)) / 1000, 0.5}, // 63 mL
	} {
		m := find(ms, name)
		if m != nil && *m.Value != result.Round(*m.Value, 4) {
			t.Errorf("%s = %v has more than four decimals", name, *m.Value)
		}
		if m == nil {
			t.Errorf("%s is missing: %+v", name, ms)
			continue
		}
		if math.Abs(*m.Value-want.value) > want.to {
			t.Errorf("%s = %.3f, want %.3f", name, *m.Value, want.value)
		}
		if m.Quality.Grade != result.Good || len(m.Sources) == 0 || len(m.Beats) != 1 {
			t.Errorf("%s: %+v", name, m)
		}
	}
	for _, name := range []string{result.PeakEjection, result.PeakFilling} {
		if m := find(ms, name); m == nil || *m.Value < 1.5 || *m.Value > 3.5 {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

// A volume that falls and rises by 60 of 100 mL in 300 ms has slopes of 0.2 a ms.
// Over 40 ms to both sides nine values lie in a slope, whose standard error is
// 1/sqrt(2 * (10^2+20^2+30^2+40^2)) = 0.0129 per ms for a deviation of 1.
func TestPeakSlopes(t *testing.T) {
	var ts, vs []float64
	for i := range 61 {
		at := float64(10 * i)
		ts, vs = append(ts, at), append(vs, 100-0.2*math.Min(at, 600-at))
	}
	fall, rise := PeakSlopes(ts, vs, 300, 40, 20)
	if math.Abs(fall.PerMS+0.2) > 1e-9 || math.Abs(rise.PerMS-0.2) > 1e-9 {
		t.Errorf("%+v and %+v", fall, rise)
	}
	if one := slopeAt(ts, vs, 100, 40); math.Abs(one.Error-1/math.Sqrt(6000)) > 1e-12 || math.Abs(one.Level-80) > 1e-9 || math.Abs(one.PerMS+0.2) > 1e-9 {
		t.Errorf("%+v", one)
	}
	// 1.96 * 0.02 * 80 mL * 0.0129 = 0.0405 a ms: a fifth of 0.2024.
	if one := slopeAt(ts, vs, 100, 40); one.certain(0.02, 0.2023) || !one.certain(0.02, 0.2026) || (Slope{}).certain(0, 1) {
		t.Error("what is certain")
	}
	if fall, rise := PeakSlopes(ts[:2], vs[:2], 300, 40, 40); fall != (Slope{}) || rise != (Slope{}) {
		t.Error("two points have no slope")
	}
}

// Peak rates need frames in systole, a whole contraction and steady outlines.
func TestPeakRates(t *testing.T) {
	rates := func(edit func(*result.Loop)) (ejection, filling *result.Measurement) {
		l := loop()
		edit(l)
		for _, m := range OfLoop(l, both) {
			switch m.Name {
			case result.PeakEjection:
				ejection = &m
			case result.PeakFilling:
				filling = &m
			}
		}
		return ejection, filling
	}
	e, f := rates(func(*result.Loop) {})
	if e == nil || e.Value == nil || f == nil || f.Value == nil {
		t.Fatalf("%+v, %+v", e, f)
	}
	// Width and length change by a 40th and a 400th of 20 and 80 pixels a frame: the
	// volume, as width^2 * length, falls by 57 % in 300 ms, a little faster at first.
	if *e.Value < 1.9 || *e.Value > 2.6 {
		t.Errorf("peak ejection rate %.2f EDV/s", *e.Value)
	}
	for name, tc := range map[string]struct {
		edit func(*result.Loop)
		code string
	}{
		"17 frames a second": {func(l *result.Loop) {
			for i := range l.FrameTimes {
				l.FrameTimes[i] *= 2
			}
		}, "frame-rate"},
		"7 frames in systole": {func(l *result.Loop) { l.Beats[0].ES = 6 }, "frame-rate"},
		"begun in systole":    {func(l *result.Loop) { l.Beats[0].Partial = true }, result.NoBeat},
		"noise of 4 %":        {func(l *result.Loop) { l.Curve = &result.Curve{Noise: 0.04} }, "precision"},
		"frames left out":     {func(l *result.Loop) { l.Curve = &result.Curve{Removed: []int{1, 3, 5, 7}} }, "frame-rate"},
	} {
		e, f := rates(tc.edit)
		if e == nil || e.Value != nil || e.Reason.Code != tc.code || f == nil || f.Value != nil || f.Reason.Code != tc.code {
			t.Errorf("%s: %+v, %+v", name, e, f)
		}
	}
	if e, f := rates(func(l *result.Loop) { l.Curve = &result.Curve{Noise: 0.004} }); e.Value == nil || f == nil || f.Value == nil {
		t.Error("noise of 0.4 % hides the rates")
	}
	// A clip that ends at end-systole shows the ejection alone.
	if e, f := rates(func(l *result.Loop) { l.Beats[0].NextED = -1 }); e.Value == nil || f == nil || f.Value != nil || f.Reason.Code != result.NoBeat {
		t.Errorf("%+v, %+v", e, f)
	}
}

func TestGates(t *testing.T) {
	has := func(l *result.Loop, name string) (value, listed bool, code string) {
		for _, m := range OfLoop(l, both) {
			if m.Name == name {
				if m.Reason != nil {
					code = m.Reason.Code
				}
				return m.Value != nil, true, code
			}
		}
		return false, false, ""
	}
	cut := loop()
	cut.Region.MaxY = 198
	if v, listed, code := has(cut, result.LAVolume); v || !listed || code != "atrium-cut" {
		t.Errorf("an atrium at the edge: value %v, %s", v, code)
	}
	plain := loop()
	plain.Spacing = result.Spacing{}
	if v, listed, code := has(plain, result.LAArea); v || !listed || code != result.NoCalibration {
		t.Errorf("area without calibration: %v, %s", v, code)
	}
	if v, _, _ := has(plain, result.ContourStrain); !v {
		t.Error("strain is a ratio and needs no calibration")
	}
	blind := loop()
	for i := range blind.FrameResults {
		for k := range blind.FrameResults[i].Keypoints {
			blind.FrameResults[i].Keypoints[k].Confidence = 0.2
		}
	}
	if _, listed, _ := has(blind, result.AnnulusSeptal); listed {
		t.Error("displacement of points that were not found")
	}
	// One point at one phase that is uncertain or missing is enough.
	for name, edit := range map[string]func(es *result.Frame){
		"uncertain at end-systole": func(es *result.Frame) { es.Keypoints[1].Confidence = 0.49 },
		"missing at end-systole":   func(es *result.Frame) { es.Keypoints = append(es.Keypoints[:1:1], es.Keypoints[2]) },
	} {
		one := loop()
		edit(&one.FrameResults[10])
		if _, listed, _ := has(one, result.AnnulusSeptal); listed {
			t.Errorf("septal displacement with a point that is %s", name)
		}
		if v, _, _ := has(one, result.AnnulusLateral); !v {
			t.Errorf("no lateral displacement with a septal point that is %s", name)
		}
	}
	two := loop()
	two.View = models.ViewA2C
	for _, m := range OfLoop(two, Options{Atrium: []string{models.ViewA4C}}) {
		if m.Name == result.LAVolume && (m.Value != nil || m.Reason.Code != result.NotValidated) {
			t.Errorf("an atrium in a view that the model's card does not list: %+v", m)
		}
	}
	if v, _, _ := has(two, result.LAVolume); !v {
		t.Error("an atrium in a view that the card lists is not measured")
	}
	unsure := loop()
	for i := range unsure.FrameResults {
		unsure.FrameResults[i].StructureConfidence = map[string]float64{models.ClassLeftAtrium: 0.69}
	}
	if v, _, code := has(unsure, result.LAVolume); v || code != result.LowConfidence {
		t.Errorf("an uncertain atrium: %v, %s", v, code)
	}
	// The sector's right side runs at x = 121, the atrium's at 120.
	narrow := loop()
	narrow.Sector = result.Contour{{50, 0}, {121, 0}, {121, 290}, {50, 290}}
	if v, _, code := has(narrow, result.LAVolume); v || code != "atrium-cut" {
		t.Errorf("an atrium at the edge of the sector: %v, %s", v, code)
	}
	narrow.Sector = result.Contour{{50, 0}, {130, 0}, {130, 290}, {50, 290}}
	if v, _, _ := has(narrow, result.LAVolume); !v {
		t.Error("an atrium within the sector is refused")
	}
	refused := loop()
	refused.Measurements[0].Value, refused.Measurements[0].Reason = nil, &result.Reason{}
	if len(OfLoop(refused, both)) != 0 {
		t.Error("a loop without an ejection fraction gives values")
	}
	out := loop()
	out.Beats[0].Rejected = &result.Reason{}
	if len(OfLoop(out, both)) != 0 {
		t.Error("a rejected beat gives values")
	}
}

func TestEndocardialLengthEitherWay(t *testing.T) {
	c := longaxis.Points(box(80, 100, 120, 160))
	axis := lv.Axis{Apex: lv.Point{X: 100, Y: 100}, Annulus: [2]lv.Point{{X: 80, Y: 160}, {X: 120, Y: 160}}}
	one := EndocardialLength(c, axis, lv.Spacing{X: 1, Y: 1})
	axis.Annulus[0], axis.Annulus[1] = axis.Annulus[1], axis.Annulus[0]
	if two := EndocardialLength(c, axis, lv.Spacing{X: 1, Y: 1}); math.Abs(one-160) > 1e-9 || one != two {
		t.Errorf("%g and %g, want 160", one, two)
	}
	if EndocardialLength(c[:2], axis, lv.Spacing{X: 1, Y: 1}) != 0 {
		t.Error("two points have a length")
	}
}

// The stroke volume of the stronger beats and the rate of all make no output.
func TestNoOutputOfWeakBeats(t *testing.T) {
	v := func(x float64) *float64 { return &x }
	weak := result.Reason{Code: string(lv.GateWeakBeats), Text: "every second beat may be too weak to be seen"}
	s := &result.Study{Subject: &result.Subject{Sex: "M", HeightCM: 180, WeightKG: 80}, Measurements: []result.Measurement{
		{Name: result.SV, Value: v(44.5), Stage: "Rest", Method: result.Biplane, Quality: result.Quality{Grade: result.Fair, Warnings: []result.Reason{weak}}},
		{Name: result.HR, Value: v(75), Stage: "Rest", Quality: result.Quality{Grade: result.Fair}},
	}}
	OfStudy(s)
	if m := find(s.Measurements, result.CO); m != nil {
		t.Errorf("an output of %g", *m.Value)
	}
	said := false
	for _, m := range s.Measurements {
		said = said || m.Name == result.CO && m.Value == nil && m.Reason != nil && *m.Reason == weak
		if m.Name == result.CI && m.Value != nil {
			t.Errorf("an index of %g", *m.Value)
		}
	}
	if !said {
		t.Errorf("no reason: %+v", s.Measurements)
	}
}

// Without both height and weight there is no body surface.
func TestBodySurfaceNeedsBoth(t *testing.T) {
	for _, s := range []*result.Subject{nil, {}, {HeightCM: 180}, {WeightKG: 80}, {HeightCM: -1, WeightKG: 80}} {
		if got := BodySurface(s); got != 0 {
			t.Errorf("%+v: %g m2", s, got)
		}
	}
	if got := BodySurface(&result.Subject{HeightCM: 180, WeightKG: 80}); math.Abs(got-1.9964) > 0.001 {
		t.Errorf("180 cm, 80 kg: %g m2", got)
	}
}

func TestOfStudy(t *testing.T) {
	v := func(x float64) *float64 { return &x }
	value := func(name string, x float64, grade string) result.Measurement {
		return result.Measurement{Name: name, Value: v(x), Stage: "Rest", Method: result.Biplane, Quality: result.Quality{Grade: grade},
			Sources: []result.Source{{SOPInstanceUID: "1.2.3"}}}
	}
	l := loop()
	l.Measurements = append(l.Measurements, OfLoop(l, both)...)
	s := &result.Study{Loops: []result.Loop{*l}, Subject: &result.Subject{Sex: "M", HeightCM: 180, WeightKG: 80}, Measurements: []result.Measurement{
		value(result.EF, 59.2, result.Good), value(result.EDV, 117.81, result.Good), value(result.ESV, 48.11, result.Good), value(result.SV, 69.7, result.Good),
		value(result.Mass, 182, result.Good), value(result.RWT, 0.40, result.Good), value(result.HR, 60, result.Fair),
		{Name: result.EF, Stage: "Peak", Reason: &result.Reason{Text: "no"}},
	}}
	s.Measurements[1].Beats = []float64{110, 125.62} // of EDV
	OfStudy(s)
	bsa := 1.9964 // DuBois, 180 cm and 80 kg
	for name, want := range map[string]float64{result.EDVIndex: 117.81 / bsa, result.ESVIndex: 48.11 / bsa, result.SVIndex: 69.7 / bsa, result.CO: 4.182,
		result.CI: 4.182 / bsa, result.MassIndex: 182 / bsa, result.LAVolumeIndex: 63.05 / bsa} {
		m := find(s.Measurements, name)
		if m == nil {
			t.Errorf("%s is missing", name)
			continue
		}
		if math.Abs(*m.Value-want) > 0.01*want || m.Stage != "Rest" {
			t.Errorf("%s = %g of %s, want %g", name, *m.Value, m.Stage, want)
		}
	}
	if m := find(s.Measurements, result.EDVIndex); len(m.Beats) != 2 || math.Abs(m.Beats[0]-110/bsa) > 0.1 || math.Abs(m.Beats[1]-125.62/bsa) > 0.1 {
		t.Errorf("the beats of the indexed volume: %v", m.Beats)
	}
	if m := find(s.Measurements, result.CO); m.Quality.Grade != result.Fair {
		t.Error("the output does not take the doubts of the heart rate along")
	}
	if last := s.Measurements[len(s.Measurements)-1]; last.Stage != "Peak" {
		t.Errorf("the stages got mixed: %+v", last)
	}
	for i := 1; i < len(s.Measurements)-1; i++ {
		if s.Measurements[i].Name == result.CO && s.Measurements[i-1].Name != result.SV {
			t.Error("values do not come in the order of the table")
		}
	}
	if g := Geometry(s, s.Measurements); g != string(lv.NormalGeometry) {
		t.Errorf("geometry %q", g)
	}
	bare := &result.Study{Measurements: []result.Measurement{value(result.SV, 70, result.Good)}}
	OfStudy(bare)
	if len(bare.Measurements) != 1 {
		t.Errorf("without height, weight and rate: %+v", bare.Measurements)
	}
}

// The left atrium in both planes: 40 x 50 mm in A4C (L = 53.85 mm to the corner of
// its roof), 50 x 48 mm in A2C (L = 54.12 mm). 8 * 2000 * 2400 / (3 pi 53.85) =
// 75.66 mL.
func TestBiplaneAtrium(t *testing.T) {
	v := func(x float64) *float64 { return &x }
	study := func(edit func(two *result.Loop, ef *result.Measurement)) *result.Measurement {
		four, two := loop(), loop()
		two.View, two.SOPInstanceUID = models.ViewA2C, "1.2.4"
		for i := range two.FrameResults {
			base := two.FrameResults[i].Keypoints[1].Y
			two.FrameResults[i].Structures[models.ClassLeftAtrium] = box(75, base, 125, base+48)
		}
		ef := result.Measurement{Name: result.EF, Value: v(60), Stage: "Rest", Method: result.Biplane, Quality: result.Quality{Grade: result.Good},
			Sources: []result.Source{{SOPInstanceUID: "1.2.3"}, {SOPInstanceUID: "1.2.4"}}}
		edit(two, &ef)
		for _, l := range []*result.Loop{four, two} {
			l.Measurements[0].View = l.View
			l.Measurements = append(l.Measurements, OfLoop(l, both)...)
		}
		s := &result.Study{Loops: []result.Loop{*four, *two}, Measurements: []result.Measurement{ef}}
		OfStudy(s)
		for _, m := range s.Measurements {
			if m.Name == result.LAVolume {
				return &m
			}
		}
		t.Fatal("no left atrial volume")
		return nil
	}
	m := study(func(*result.Loop, *result.Measurement) {})
	if m.Method != result.BiplaneAreaLength || math.Abs(*m.Value-75.66) > 0.2 || m.View != "" || m.Stage != "Rest" || len(m.Sources) != 2 ||
		m.Sources[1].SOPInstanceUID != "1.2.4" || m.Quality.Grade != result.Good {
		t.Errorf("%+v of %g", m, *m.Value)
	}
	single := func(name string, edit func(two *result.Loop, ef *result.Measurement), remarks int) {
		m := study(edit)
		if m.Method != result.AreaLength || m.View != models.ViewA4C || math.Abs(*m.Value-63.05) > 0.2 || len(m.Quality.Warnings) != remarks {
			t.Errorf("%s: %+v", name, m)
		}
	}
	single("planes that do not belong together", func(_ *result.Loop, ef *result.Measurement) { ef.Method = result.SinglePlane }, 0)
	single("an atrium cut in A2C", func(two *result.Loop, _ *result.Measurement) { two.Region.MaxY = 190 }, 0)
	single("lengths 6 mm apart", func(two *result.Loop, _ *result.Measurement) {
		for i := range two.FrameResults {
			base := two.FrameResults[i].Keypoints[1].Y
			two.FrameResults[i].Structures[models.ClassLeftAtrium] = box(75, base, 125, base+54.5)
		}
	}, 1)
	m = study(func(two *result.Loop, _ *result.Measurement) { // 57.9 mm: 4 apart
		for i := range two.FrameResults {
			base := two.FrameResults[i].Keypoints[1].Y
			two.FrameResults[i].Structures[models.ClassLeftAtrium] = box(75, base, 125, base+52.2)
		}
	})
	if m.Method != result.BiplaneAreaLength {
		t.Errorf("lengths 4 mm apart: %+v", m)
	}
}

// twice is the loop with its beat again after the first: ED at 20, ES at 30, the next
// ED at 40.
func twice() *result.Loop {
	l := loop()
	for i := 1; i <= 20; i++ {
		f := l.FrameResults[i]
		f.Index = 20 + i
		l.FrameResults, l.FrameTimes = append(l.FrameResults, f), append(l.FrameTimes, 600+30*float64(i))
	}
	l.Frames = len(l.FrameResults)
	l.Beats = []result.Beat{{ED: 20, ES: 30, NextED: 40}}
	return l
}

// Peak rates do not depend on where in the clip a beat lies; beats that cannot be
// give none, whatever a result says.
func TestPeakRatesOfBeats(t *testing.T) {
	rate := func(l *result.Loop, name string) (value float64, code string) {
		for _, m := range OfLoop(l, both) {
			switch {
			case m.Name == name && m.Value != nil:
				value = *m.Value
			case m.Name == name:
				code = m.Reason.Code
			}
		}
		return value, code
	}
	for _, name := range []string{result.PeakEjection, result.PeakFilling} {
		first, _ := rate(loop(), name)
		if second, code := rate(twice(), name); second != first || first == 0 {
			t.Errorf("%s: %.3f in the first beat, %.3f in the second (%s)", name, first, second, code)
		}
	}
	slow := twice() // 60 ms a frame in the second beat, 30 in the first
	for i := 21; i <= 40; i++ {
		slow.FrameTimes[i] = 600 + 60*float64(i-20)
	}
	if v, code := rate(slow, result.PeakEjection); v != 0 || code != "frame-rate" {
		t.Errorf("17 frames a second in the second beat: %.3f, %s", v, code)
	}
	for name, b := range map[string]result.Beat{
		"the next ED is the frame after the last": {ED: 20, ES: 30, NextED: 41},
		"ES after the last frame":                 {ED: 20, ES: 41, NextED: -1},
		"ES before ED":                            {ED: 30, ES: 20, NextED: 40},
		"ES at ED":                                {ED: 20, ES: 20, NextED: 40},
		"ES at ED, nothing after it":              {ED: 20, ES: 20, NextED: -1},
	} {
		l := twice()
		l.Beats = []result.Beat{b}
		if v, code := rate(l, result.PeakEjection); v != 0 || code != result.NoBeat {
			t.Errorf("%s: %.3f, %q", name, v, code)
		}
	}
	want, _ := rate(loop(), result.PeakEjection)
	for _, next := range []int{-1, 0, 10} { // a next ED that is none
		l := loop()
		l.Beats[0].NextED = next
		if v, _ := rate(l, result.PeakEjection); v != want {
			t.Errorf("next ED %d: ejection %.3f, want %.3f", next, v, want)
		}
		if v, code := rate(l, result.PeakFilling); v != 0 || code != result.NoBeat {
			t.Errorf("next ED %d: filling %.3f, %s", next, v, code)
		}
	}
}

// The displacement takes points of a confidence of 0.5 and needs both phases.
func TestAnnulusPhases(t *testing.T) {
	septal := func(edit func(l *result.Loop)) bool {
		l := loop()
		edit(l)
		return find(OfLoop(l, both), result.AnnulusSeptal) != nil
	}
	sure := func(frame int, c float64) func(l *result.Loop) {
		return func(l *result.Loop) { l.FrameResults[frame].Keypoints[1].Confidence = c }
	}
	for name, tc := range map[string]struct {
		edit func(l *result.Loop)
		want bool
	}{
		"0.5 at end-diastole":        {sure(0, 0.5), true},
		"0.49 at end-diastole":       {sure(0, 0.49), false},
		"0.5 at end-systole":         {sure(10, 0.5), true},
		"no outline at end-diastole": {func(l *result.Loop) { l.FrameResults[0].Contour = nil }, false},
		"no frame at end-systole":    {func(l *result.Loop) { l.Beats[0].ES = 99 }, false},
		"neither":                    {func(l *result.Loop) { l.Beats[0] = result.Beat{ED: 98, ES: 99, NextED: -1} }, false},
	} {
		if got := septal(tc.edit); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// The volume falls from 83.7 to 38.6 mL in 300 ms, 0.150 a ms, and steepest within
// the first three frames (mean 78.2 mL, standard error 1/sqrt(2*30^2) = 0.0236): a
// noise n of the areas is allowed while 1.96 * 1.8 n * 78.2 * 0.0236 <= 0.2 * 1.7 * 0.150,
// so up to 0.78 %. A filling whose last frames are 18.5 ms apart is steepest there
// (error 0.0382) and allowed while 1.96 * 1.8 n * 78.1 * 0.0382 <= 0.2 * 2.5 * 0.150:
// up to 0.71 %.
func TestNoiseOfPeakRates(t *testing.T) {
	for _, tt := range []struct {
		noise             float64
		short             bool
		ejection, filling bool
	}{{0.0078, false, true, true}, {0.0079, false, false, true}, {0.0071, true, true, true}, {0.0073, true, true, false}} {
		l := loop()
		l.Curve = &result.Curve{Noise: tt.noise}
		if tt.short {
			l.FrameTimes[19], l.FrameTimes[20] = 558.5, 577
		}
		ms := OfLoop(l, both)
		for _, m := range ms {
			if m.Value == nil && m.Reason.Code != "precision" {
				t.Errorf("%s: %+v", m.Name, m.Reason)
			}
		}
		if len(ms) != len(OfLoop(loop(), both)) {
			t.Errorf("noise %.2f %%: a rate that is missing without a reason", 100*tt.noise)
		}
		if e, f := find(ms, result.PeakEjection) != nil, find(ms, result.PeakFilling) != nil; e != tt.ejection || f != tt.filling {
			t.Errorf("noise %.2f %%, short steps %v: ejection %v, filling %v", 100*tt.noise, tt.short, e, f)
		}
	}
}
