package correct

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/internal/longaxis"
	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/measure"
	"github.com/echonode/echonode/pipeline/result"
)

// ellipse is a half-ellipsoidal cavity: the base flat at the bottom, the apex at
// the top, so wide and long in pixels of 1 mm.
func ellipse(width, length float64) result.Contour {
	const n = 60
	return result.NewContour(n, func(i int) (float64, float64) {
		a := math.Pi * float64(i) / (n - 1)
		return 150 - width/2*math.Cos(a), 160 - length*math.Sin(a)
	})
}

// study is one four-chamber loop of three beats of 800 ms at 25 frames/s, of a
// width between 60 and 40 mm and a length of 90 mm.
func study() *result.Study {
	l := result.Loop{SOPInstanceUID: "1.2.3", Status: result.Analysed, View: models.ViewA4C, ViewProbability: 0.99, Frames: 60, Rows: 200, Columns: 300,
		Spacing: result.Spacing{X: 1, Y: 1, Aspect: 1, Trusted: true}, Region: &result.Region{MaxX: 300, MaxY: 200}}
	for i := range l.Frames {
		width := 50 + 10*math.Cos(2*math.Pi*float64(i-5)/20)
		c := ellipse(width, 90)
		a := lv.PolygonArea(longaxis.Points(c), lv.Spacing{X: 1, Y: 1})
		f := result.Frame{Index: i, Contour: c, Confidence: 0.97, LVAreaPixels: a, LVArea: a / 100}
		for name, p := range map[string][2]float64{models.KeypointApex: {150, 70}, models.KeypointMitralSeptal: {150 - width/2, 160},
			models.KeypointMitralLateral: {150 + width/2, 160}} {
			f.Keypoints = append(f.Keypoints, result.Keypoint{Name: name, X: p[0], Y: p[1], Confidence: 0.9})
		}
		l.FrameResults = append(l.FrameResults, f)
		l.FrameTimes = append(l.FrameTimes, 40*float64(i))
	}
	s := &result.Study{StudyInstanceUID: "1.2", Loops: []result.Loop{l}}
	measure.Loop(&s.Loops[0], options())
	measure.Study(s, options())
	return s
}

// stored is a result after a way through JSON.
func stored(t *testing.T, s *result.Study) *result.Study {
	t.Helper()
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	out := new(result.Study)
	if err := json.Unmarshal(b, out); err != nil {
		t.Fatal(err)
	}
	return out
}

func options() measure.Options { return measure.Options{LV: lv.DefaultOptions()} }

func find(t *testing.T, s *result.Study, name string) result.Measurement {
	t.Helper()
	for _, m := range s.Measurements {
		if m.Name == name {
			return m
		}
	}
	t.Fatalf("no %s", name)
	return result.Measurement{}
}

func value(t *testing.T, s *result.Study, name string) float64 {
	t.Helper()
	m := find(t, s, name)
	if m.Value == nil {
		t.Fatalf("%s was not measured: %s", name, m.Reason.Text)
	}
	return *m.Value
}

// volume of a half ellipsoid in ml: 2/3 pi (w/2)^2 l.
func volume(width, length float64) float64 {
	return 2.0 / 3 * math.Pi * width * width / 4 * length / 1000
}

// frame is a corrected frame with an outline of a width.
func frame(i int, width float64) Frame {
	return Frame{Frame: i, Contour: ellipse(width, 90), Apex: &[2]float64{150, 70}, Septal: &[2]float64{150 - width/2, 160},
		Lateral: &[2]float64{150 + width/2, 160}}
}

func TestNothingChangedChangesNothing(t *testing.T) {
	s := study()
	if v := value(t, s, result.EF); math.Abs(v-100*(1-40.0*40/60/60)) > 1.5 {
		t.Fatalf("EF %.1f of the study before", v)
	}
	got, err := Apply(s, Corrections{}, options())
	if err != nil {
		t.Fatal(err)
	}
	want := stored(t, s)
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if !(Corrections{}).Empty() || !(Corrections{Loops: map[string]Loop{"1": {}}}).Empty() ||
		(Corrections{Loops: map[string]Loop{"1": {Excluded: true}}}).Empty() {
		t.Error("Empty")
	}
}

// What a reader draws is measured as drawn: not averaged with the network's
// outlines of the frames around it.
func TestContour(t *testing.T) {
	s := study()
	before, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	c := Corrections{Loops: map[string]Loop{"1.2.3": {Beats: []Beat{{ED: 25, ES: 35}}, Frames: []Frame{frame(25, 64), frame(35, 36)}}}}
	got, err := Apply(s, c, options())
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{result.EDV: volume(64, 90), result.ESV: volume(36, 90), result.EF: 100 * (1 - 36.0*36/64/64)} {
		if v := value(t, got, name); math.Abs(v-want) > 0.01*want {
			t.Errorf("%s %.2f, want %.2f", name, v, want)
		}
		if m := find(t, got, name); !m.ByReader {
			t.Errorf("%s is not marked as the reader's", name)
		}
	}
	if find(t, got, result.HR).ByReader {
		t.Error("the heart rate does not come from the outline")
	}
	f := got.Loops[0].FrameAt(25)
	if f.Network == nil || cmp.Diff(f.Network.Contour, s.Loops[0].FrameResults[25].Contour) != "" || got.Loops[0].Reader == nil ||
		len(got.Loops[0].Reader.NetworkBeats) == 0 {
		t.Error("what the network said is gone")
	}
	if after, _ := json.Marshal(s); string(after) != string(before) {
		t.Error("the result it was made from has changed")
	}
	// Kept as JSON and combined again, the values are the same.
	again := stored(t, got)
	measure.Study(again, options())
	measure.MarkReader(again)
	if d := cmp.Diff(got.Measurements, again.Measurements); d != "" {
		t.Error(d)
	}
}

// Outlines that the network is not sure of are not measured; those of a reader
// are, with the doubts as remarks.
func TestReaderIsTrusted(t *testing.T) {
	s := study()
	for i := range s.Loops[0].FrameResults {
		s.Loops[0].FrameResults[i].Confidence = 0.3
	}
	measure.Loop(&s.Loops[0], options())
	measure.Study(s, options())
	if m := find(t, s, result.EF); m.Value != nil {
		t.Fatal("the network's outlines were measured")
	}
	c := Corrections{Loops: map[string]Loop{"1.2.3": {Beats: []Beat{{ED: 25, ES: 35}}, Frames: []Frame{frame(25, 60), frame(35, 40)}}}}
	got, err := Apply(s, c, options())
	if err != nil {
		t.Fatal(err)
	}
	if v := value(t, got, result.EF); math.Abs(v-55.6) > 0.6 {
		t.Errorf("EF %.1f", v)
	}
}

func TestBeatsViewAndExclusion(t *testing.T) {
	s := study()
	one, err := Apply(s, Corrections{Loops: map[string]Loop{"1.2.3": {Beats: []Beat{{ED: 25, ES: 35}}}}}, options())
	if err != nil {
		t.Fatal(err)
	}
	if n := len(find(t, one, result.EF).Beats); n != 1 {
		t.Errorf("%d beats", n)
	}
	two, err := Apply(s, Corrections{Loops: map[string]Loop{"1.2.3": {View: models.ViewA2C}}}, options())
	if err != nil {
		t.Fatal(err)
	}
	if l := two.Loops[0]; l.View != models.ViewA2C || l.Reader.NetworkView != models.ViewA4C {
		t.Errorf("view %s, before %s", l.View, l.Reader.NetworkView)
	}
	out, err := Apply(s, Corrections{Loops: map[string]Loop{"1.2.3": {Excluded: true}}}, options())
	if err != nil {
		t.Fatal(err)
	}
	if m := find(t, out, result.EF); m.Value != nil || out.Loops[0].Reason.Code != result.ByReader {
		t.Errorf("a loop that was left out is measured: %+v", m)
	}
}

// A reader's view overrides what is said of the view, and of nothing else: a loop of several
// clips stays refused, also when a reader has left it out before. A doubt of the picture stays.
func TestViewOfARefusedLoop(t *testing.T) {
	see := func(s *result.Study) (*result.Study, error) {
		return Apply(s, Corrections{Loops: map[string]Loop{"1.2.3": {View: models.ViewA2C}}}, options())
	}
	refusedFor := func(code string) *result.Study {
		s := study()
		l := &s.Loops[0]
		l.Status, l.Reason = result.Refused, &result.Reason{Code: code, Text: "for " + code}
		l.Curve, l.Beats, l.Measurements = nil, nil, nil
		measure.Study(s, options())
		return s
	}
	for _, tc := range []struct {
		code         string
		taken, doubt bool
	}{
		{result.ViewNotMeasured, true, false},
		{result.ViewUncertain, true, false},
		{result.Unfamiliar, true, true},
		{result.MirroredDisplay, true, true},
		{result.SeveralClips, false, false},
		{result.Derived, false, false},
		{result.InternalError, false, false},
	} {
		s := refusedFor(tc.code)
		out, err := Apply(s, Corrections{Loops: map[string]Loop{"1.2.3": {Excluded: true}}}, options())
		if err != nil {
			t.Fatal(err)
		}
		for how, base := range map[string]*result.Study{"at once": s, "left out before": stored(t, out)} {
			got, err := see(base)
			if !tc.taken {
				var p *Problem
				if !errors.As(err, &p) || p.Kind != Refused {
					t.Errorf("%s, %s: %v", tc.code, how, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s, %s: %v", tc.code, how, err)
				continue
			}
			said := slices.ContainsFunc(got.Loops[0].Warnings, func(w result.Reason) bool { return w.Code == tc.code })
			if m := find(t, got, result.EF); m.Value == nil || said != tc.doubt {
				t.Errorf("%s, %s: %+v, remarks %v", tc.code, how, m, got.Loops[0].Warnings)
			}
		}
	}
	// Of a loop that was measured, and one that was left out, the view can be set.
	out, err := Apply(study(), Corrections{Loops: map[string]Loop{"1.2.3": {Excluded: true}}}, options())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := see(out); err != nil || find(t, got, result.EF).Value == nil {
		t.Errorf("left out: %v", err)
	}
}

// Whoever sets the view has settled what it is: that the object calls it otherwise than the
// network is no remark on the values any more, nor that it is the first of a four- and a
// two-chamber plane on one screen. What is said of time and pictures stays.
func TestRemarksOnAnotherView(t *testing.T) {
	s := study()
	l := &s.Loops[0]
	l.Warnings = []result.Reason{
		{Code: result.ViewName, Text: `the object calls the view "A2C", the network takes it for A4C`},
		{Code: result.TwoPlanes, Text: "the screen holds two planes, which are measured as one recording: A4C at (0, 0), A2C at (340, 0)"},
		{Code: result.SeveralClips, Text: "gain, depth or place of the probe change at 1.2 s"},
	}
	measure.Loop(l, options())
	measure.Study(s, options())
	codes := func(ws []result.Reason) (out []string) {
		for _, w := range ws {
			out = append(out, w.Code)
		}
		return out
	}
	if got := codes(find(t, s, result.EF).Quality.Warnings); !slices.Contains(got, result.ViewName) {
		t.Fatalf("before: %v", got)
	}
	for view, want := range map[string][]string{
		models.ViewA2C: {result.SeveralClips},
		models.ViewA3C: {result.SeveralClips},
		models.ViewA4C: {result.TwoPlanes, result.SeveralClips},
	} {
		got, err := Apply(s, Corrections{Loops: map[string]Loop{"1.2.3": {View: view}}}, options())
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, codes(got.Loops[0].Warnings)); d != "" {
			t.Errorf("%s: %s", view, d)
		}
		for _, m := range got.Measurements {
			if slices.Contains(codes(m.Quality.Warnings), result.ViewName) {
				t.Errorf("%s: %s: %v", view, m.Name, m.Quality.Warnings)
			}
		}
	}
}

// Calipers are kept and change no value; they do not make a correction.
func TestCalipers(t *testing.T) {
	s := study()
	c := Corrections{Loops: map[string]Loop{"1.2.3": {Calipers: []Caliper{{Frame: 7, A: [2]float64{100, 100}, B: [2]float64{103, 104}}}}}}
	if !c.Empty() {
		t.Error("a caliper is a correction")
	}
	got, err := Apply(s, c, options())
	if err != nil {
		t.Fatal(err)
	}
	l := &got.Loops[0]
	want := []result.Caliper{{Frame: 7, A: [2]float64{100, 100}, B: [2]float64{103, 104}, MM: 5}} // 3-4-5, pixels of 1 mm
	if d := cmp.Diff(want, l.Reader.Calipers); d != "" || l.CorrectedByReader() {
		t.Errorf("calipers %s, corrected %v", d, l.CorrectedByReader())
	}
	if d := cmp.Diff(stored(t, s).Measurements, got.Measurements); d != "" {
		t.Error(d)
	}
	// In the other plane of the object it is by that plane's scale.
	two := study()
	beside := two.Loops[0]
	beside.Beside, beside.SecondPlane = nil, true
	beside.Region, beside.Spacing = &result.Region{MinX: 200, MaxX: 400, MaxY: 400}, result.Spacing{X: 2, Y: 2, Trusted: true}
	two.Loops[0].Beside = &beside
	for x, want := range map[float64]float64{100: 5, 250: 10} {
		l := two.Loops[0]
		if err := putCalipers(&l, []Caliper{{Frame: 7, A: [2]float64{x, 100}, B: [2]float64{x + 3, 104}}}); err != nil || l.Reader.Calipers[0].MM != want {
			t.Errorf("at %v: %+v, %v", x, l.Reader, err)
		}
	}
	// A correction later keeps them, and what the network said.
	got, err = Apply(got, Corrections{Loops: map[string]Loop{"1.2.3": {Beats: []Beat{{ED: 25, ES: 35}}}}}, options())
	if err != nil {
		t.Fatal(err)
	}
	if d := got.Loops[0].Reader; len(d.Calipers) != 1 || len(d.NetworkBeats) < 2 || !find(t, got, result.EF).ByReader {
		t.Errorf("%+v", d)
	}
	for name, bad := range map[string]Caliper{"frame": {Frame: 60}, "outside": {A: [2]float64{400, 0}}} {
		if _, err := Apply(s, Corrections{Loops: map[string]Loop{"1.2.3": {Calipers: []Caliper{bad}}}}, options()); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What was corrected step by step can be made again at once, as far as it fits.
func TestMergeAndFitting(t *testing.T) {
	first := Corrections{Loops: map[string]Loop{
		"1.2.3": {Beats: []Beat{{ED: 5, ES: 15}}, Frames: []Frame{frame(25, 64), frame(35, 36)}},
		"gone":  {Excluded: true},
	}}
	second := Corrections{Loops: map[string]Loop{"1.2.3": {Beats: []Beat{{ED: 25, ES: 35}}, Frames: []Frame{frame(35, 30)}}}}
	all := first.Merge(second)
	if len(first.Loops["1.2.3"].Frames) != 2 || first.Loops["1.2.3"].Frames[1].Septal[0] != 132 {
		t.Error("the first corrections have changed")
	}
	fit := Fitting(study(), all, options())
	if len(fit.Loops) != 1 || len(fit.Loops["1.2.3"].Frames) != 2 {
		t.Fatalf("%+v", fit)
	}
	got, err := Apply(study(), fit, options())
	if err != nil {
		t.Fatal(err)
	}
	if v := value(t, got, result.EF); math.Abs(v-100*(1-30.0*30/64/64)) > 1 {
		t.Errorf("EF %.1f", v)
	}
	if out := (Corrections{Loops: map[string]Loop{"a": {Excluded: true}}}).
		Merge(Corrections{Loops: map[string]Loop{"a": {View: "A4C"}}}); out.Loops["a"].Excluded {
		t.Error("a loop that was taken in again is left out")
	}
}

func TestWithdraw(t *testing.T) {
	s := study()
	got := Withdraw(s)
	for _, m := range got.Measurements {
		if m.Value != nil || m.Reason == nil {
			t.Errorf("%s has a value", m.Name)
		}
	}
	value(t, s, result.EF) // still there
}

func TestInvalid(t *testing.T) {
	far := ellipse(60, 90)
	far[3] = [2]float64{1e9, 0}
	nan := ellipse(60, 90)
	nan[3] = [2]float64{math.NaN(), 0}
	for name, c := range map[string]map[string]Loop{
		"loop":          {"9": {Excluded: true}},
		"view":          {"1.2.3": {View: "PLAX"}},
		"beat outside":  {"1.2.3": {Beats: []Beat{{ED: 0, ES: 60}}}},
		"beat negative": {"1.2.3": {Beats: []Beat{{ED: -1, ES: 6}}}},
		"one frame":     {"1.2.3": {Beats: []Beat{{ED: 5, ES: 5}}}},
		"frame":         {"1.2.3": {Frames: []Frame{{Frame: 99, Contour: ellipse(60, 90)}}}},
		"two points":    {"1.2.3": {Frames: []Frame{{Frame: 5, Contour: ellipse(60, 90)[:2]}}}},
		"many points":   {"1.2.3": {Frames: []Frame{{Frame: 5, Contour: make(result.Contour, maxPoints+1)}}}},
		"far":           {"1.2.3": {Frames: []Frame{{Frame: 5, Contour: far}}}},
		"NaN":           {"1.2.3": {Frames: []Frame{{Frame: 5, Contour: nan}}}},
		"apex":          {"1.2.3": {Frames: []Frame{{Frame: 5, Contour: ellipse(60, 90), Apex: &[2]float64{-50, 0}}}}},
	} {
		_, err := Apply(study(), Corrections{Loops: c}, options())
		var p *Problem
		if !errors.Is(err, ErrInvalid) || !errors.As(err, &p) || p.Kind == "" || p.Loop == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzApply(f *testing.F) {
	seed, _ := json.Marshal(Corrections{Loops: map[string]Loop{"1.2.3": {Beats: []Beat{{5, 15}}, Frames: []Frame{frame(5, 60)}}}})
	f.Add(seed)
	base := study()
	f.Fuzz(func(t *testing.T, b []byte) {
		var c Corrections
		if json.Unmarshal(b, &c) != nil {
			return
		}
		s, err := Apply(base, c, options())
		if err != nil {
			return
		}
		if _, err := json.Marshal(s); err != nil {
			t.Error(err)
		}
	})
}

// walls are the four points of the parasternal view, 10 mm of septum, so much of
// cavity and 10 mm of wall on one line, at 1 mm a pixel.
func walls(i int, cavity float64) Frame {
	f := Frame{Frame: i, WallPoints: map[string][2]float64{}}
	y := 40.0
	for k, name := range WallPoints {
		f.WallPoints[name] = [2]float64{120, y}
		y += []float64{10, cavity, 10, 0}[k]
	}
	return f
}

// parasternal is a study of a parasternal loop in whose points the network is not trusted.
func parasternal() *result.Study {
	s := study()
	l := &s.Loops[0]
	l.View, l.Curve, l.Beats = models.ViewPLAX, nil, nil
	for i := range l.FrameResults {
		f := &l.FrameResults[i]
		f.Contour, f.Keypoints = nil, nil
		for k, name := range WallPoints {
			f.Keypoints = append(f.Keypoints, result.Keypoint{Name: name, X: 100, Y: 30 + 20*float64(k), Confidence: 0.8})
		}
	}
	measure.Loop(l, options())
	measure.Study(s, options())
	return s
}

// Points that a reader places at ED and ES of a beat are measured, and nothing
// else of the loop: 50 mm at ED and 33 at ES are a shortening of 34 %; walls of
// 10 mm weigh 0.832*(7^3-5^3)+0.6 = 182 g, and 2*10/50 is 0.40.
func TestWallPoints(t *testing.T) {
	s := parasternal()
	if m := find(t, s, result.LVIDd); m.Value != nil || m.Reason.Code != result.NotValidated {
		t.Fatalf("the network's points: %+v", m)
	}
	uid := s.Loops[0].SOPInstanceUID
	with := func(l Loop) *result.Study {
		t.Helper()
		got, err := Apply(s, Corrections{Loops: map[string]Loop{uid: l}}, options())
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	got := with(Loop{Beats: []Beat{{ED: 5, ES: 15}}, Frames: []Frame{walls(5, 50), walls(15, 33)}})
	for name, want := range map[string]float64{result.IVSd: 1, result.LVIDd: 5, result.LVPWd: 1, result.LVIDs: 3.3, result.FS: 34,
		result.Mass: 182, result.RWT: 0.4} {
		if v := value(t, got, name); math.Abs(v-want) > 0.005*want {
			t.Errorf("%s is %g, want %g", name, v, want)
		}
		if !find(t, got, name).ByReader {
			t.Errorf("%s is not marked as the reader's", name)
		}
	}
	if n := got.Loops[0].FrameAt(5).Network; n == nil || len(n.Keypoints) != 4 || n.Keypoints[1].Y != 50 {
		t.Errorf("what the network found: %+v", n)
	}
	// A line that bends is the reader's word, with a remark.
	bent := walls(5, 50)
	bent.WallPoints[models.KeypointIVSRight] = [2]float64{140, 45}
	if m := find(t, with(Loop{Beats: []Beat{{ED: 5, ES: 15}}, Frames: []Frame{bent, walls(15, 33)}}), result.LVIDd); m.Value == nil ||
		len(m.Quality.Warnings) == 0 {
		t.Errorf("a bent line: %+v", m)
	}
	// One phase alone gives no value, and the reason says so.
	if m := find(t, with(Loop{Beats: []Beat{{ED: 5, ES: 15}}, Frames: []Frame{walls(5, 50)}}), result.LVIDd); m.Value != nil || m.Reason.Code != result.NoBeat {
		t.Errorf("points at end-diastole alone: %+v", m)
	}
	// Of two beats the one with points counts.
	if m := find(t, with(Loop{Beats: []Beat{{ED: 5, ES: 15}, {ED: 25, ES: 35}}, Frames: []Frame{walls(5, 50), walls(15, 33)}}), result.LVIDd); m.Value == nil ||
		len(m.Beats) != 1 {
		t.Errorf("two beats, one with points: %+v", m)
	}
	three, outside, both := walls(5, 50), walls(5, 50), walls(5, 50)
	delete(three.WallPoints, models.KeypointPWOuter)
	outside.WallPoints[models.KeypointPWOuter] = [2]float64{120, 400}
	both.Contour = ellipse(50, 90)
	for name, c := range map[string]struct {
		f    Frame
		want Kind
	}{"three points": {three, NoPoints}, "outside": {outside, Outside}, "an outline": {frame(5, 50), NoPoints}, "both": {both, NoPoints}} {
		_, err := Apply(s, Corrections{Loops: map[string]Loop{uid: {Frames: []Frame{c.f}}}}, options())
		var p *Problem
		if !errors.As(err, &p) || p.Kind != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	apical := study()
	if _, err := Apply(apical, Corrections{Loops: map[string]Loop{uid: {Frames: []Frame{walls(5, 50)}}}}, options()); !errors.Is(err, ErrInvalid) {
		t.Errorf("wall points in an apical loop: %v", err)
	}
}

// Points that are no walls are refused, and what contradicts itself gives no
// value: at 1 mm a pixel, end-diastole in frame 5 and end-systole in frame 15.
func TestWallPointsThatCannotBe(t *testing.T) {
	s := parasternal()
	uid := s.Loops[0].SOPInstanceUID
	at := func(i int, ys ...float64) Frame {
		f := Frame{Frame: i, WallPoints: map[string][2]float64{}}
		for k, name := range WallPoints {
			f.WallPoints[name] = [2]float64{120, ys[k]}
		}
		return f
	}
	apply := func(d, e Frame) (*result.Study, error) {
		return Apply(s, Corrections{Loops: map[string]Loop{uid: {Beats: []Beat{{ED: 5, ES: 15}}, Frames: []Frame{d, e}}}}, options())
	}
	good := at(15, 40, 50, 83, 93)
	nan := at(5, 40, 50, 100, 110)
	nan.WallPoints[models.KeypointPWInner] = [2]float64{math.NaN(), 100}
	inf := at(5, 40, 50, 100, 110)
	inf.WallPoints[models.KeypointPWInner] = [2]float64{120, math.Inf(1)}
	for name, c := range map[string]struct {
		d, e Frame
		want Kind
	}{
		"all on one pixel":           {at(5, 50, 50, 50, 50), good, Order},
		"no cavity":                  {at(5, 40, 50, 50, 60), good, Order},
		"septum and wall crossed":    {at(5, 40, 100, 50, 110), good, Order},
		"septum's sides changed":     {at(5, 50, 40, 100, 110), good, Order},
		"wall's sides changed":       {at(5, 40, 50, 110, 100), good, Order},
		"all from below":             {at(5, 110, 100, 50, 40), good, Order},
		"a tenth of a pixel apart":   {at(5, 50, 50.1, 50.2, 50.3), good, Implausible},
		"a septum of 10 cm":          {at(5, 10, 111, 112, 122), good, Implausible},
		"a septum of 1 mm":           {at(5, 40, 41, 90, 100), good, Implausible},
		"a cavity of 1 mm":           {at(5, 40, 50, 51, 61), good, Implausible},
		"a wall of 5 cm":             {at(5, 40, 50, 90, 140), good, Implausible},
		"a cavity of 3 mm, systole":  {at(5, 40, 50, 100, 110), at(15, 40, 50, 53, 63), Implausible},
		"not a number":               {nan, good, Outside},
		"no finite number":           {inf, good, Outside},
		"crossed at end-systole too": {at(5, 40, 50, 100, 110), at(15, 40, 80, 50, 90), Order},
	} {
		_, err := apply(c.d, c.e)
		var p *Problem
		if !errors.As(err, &p) || p.Kind != c.want || !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	all := []string{result.IVSd, result.LVIDd, result.LVPWd, result.LVIDs, result.FS, result.Mass, result.RWT}
	for name, c := range map[string]struct {
		d, e Frame
		none []string
	}{
		"phases interchanged":           {at(5, 40, 50, 83, 93), at(15, 40, 50, 100, 110), all},
		"a still ventricle":             {at(5, 40, 50, 99, 109), at(15, 40, 50, 100, 110), []string{result.FS}},
		"a wall too thick for the rest": {at(5, 40, 75, 90, 125), at(15, 40, 75, 86, 121), []string{result.RWT}},
		"all is well":                   {at(5, 40, 50, 100, 110), good, nil},
	} {
		got, err := apply(c.d, c.e)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := json.Marshal(got); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, q := range all {
			m := find(t, got, q)
			if none := slices.Contains(c.none, q); (m.Value == nil) != none || none && m.Reason.Code != result.ImplausibleValue {
				t.Errorf("%s: %s %+v", name, q, m)
			}
		}
	}
}

// Corrections cost no more than the frames that there are.
func TestAsManyAsFrames(t *testing.T) {
	s := study()
	for _, c := range []struct {
		loop Loop
		want Kind
	}{
		{Loop{Beats: slices.Repeat([]Beat{{ED: 5, ES: 15}}, s.Loops[0].Frames+1)}, NoBeat},
		{Loop{Frames: []Frame{frame(25, 64), frame(35, 36), frame(25, 60)}}, TooMany},
	} {
		_, err := Apply(s, Corrections{Loops: map[string]Loop{"1.2.3": c.loop}}, options())
		var p *Problem
		if !errors.As(err, &p) || p.Kind != c.want {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
}
