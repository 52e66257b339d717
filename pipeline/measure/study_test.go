package measure

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/measure/heart"
	"github.com/echonode/echonode/pipeline/result"
)

// plane is a loop of four beats.
func plane(view string, seed uint64, edit ...func(*heart.Clip)) result.Loop {
	c := heart.Clip{Beats: heart.Regular(65, 60, 117.81, 5), View: view, FPS: 40, Start: 500, Length: 3300, Seed: seed}
	for _, e := range edit {
		e(&c)
	}
	return measured(c)
}

func ef(v float64) func(*heart.Clip) {
	return func(c *heart.Clip) {
		for i := range c.Beats {
			c.Beats[i].EF = v
		}
	}
}

func combined(loops ...result.Loop) result.Study {
	s := result.Study{StudyInstanceUID: "1.2.3", Loops: loops}
	Study(&s, options())
	return s
}

// Half an ellipsoid 50 mm wide in one plane and 60 mm in the other, 90 mm long:
// pi/6 * 5 * 6 * 9 = 141.4 mL, of which an EF of 60 % leaves 56.5.
func TestBiplane(t *testing.T) {
	wide := func(c *heart.Clip) { c.Wide = 1.1 }
	s := combined(plane("A4C", 1), plane("A2C", 2, wide))
	near(t, "EDV", measure(t, s.Measurements, result.EDV), 129.59, 1.5)
	near(t, "ESV", measure(t, s.Measurements, result.ESV), 51.84, 1)
	near(t, "EF", measure(t, s.Measurements, result.EF), 60, 0.6)
	m := find(t, s.Measurements, result.EF)
	if m.Method != result.Biplane || m.Quality.Grade != result.Good || len(m.Beats) != 3 || len(m.Sources) != 12 {
		t.Errorf("%s, %s, %d beats, %d sources; want biplane over all three beats", m.Method, m.Quality.Grade, len(m.Beats), len(m.Sources))
	}
}

// All beats of both planes count: single planes and biplane agree when the
// beats are alike.
func TestBiplaneAveragesAllBeats(t *testing.T) {
	uneven := func(c *heart.Clip) { c.Beats[1].EF, c.Beats[2].EF, c.Beats[3].EF = 55, 60, 65 }
	s := combined(plane("A4C", 1, uneven), plane("A2C", 2, uneven))
	near(t, "EF", measure(t, s.Measurements, result.EF), 60, 1)
	if m := find(t, s.Measurements, result.EF); len(m.Beats) != 3 || slices.Max(m.Beats)-slices.Min(m.Beats) < 8 {
		t.Errorf("beats %v, want three from 55 to 65", m.Beats)
	}
}

func TestPlanesThatDoNotBelongTogether(t *testing.T) {
	for name, tt := range map[string]struct {
		two  result.Loop
		code string
	}{
		"heart rate":       {plane("A2C", 2, func(c *heart.Clip) { c.Beats = heart.Regular(125, 60, 117.81, 9) }), string(lv.GateBeats)},
		"EF":               {plane("A2C", 2, ef(25)), result.ViewsDisagree},
		"volumes":          {plane("A2C", 2, func(c *heart.Clip) { c.Wide = 0.75 }), result.ViewsDisagree}, // 66 beside 118 ml
		"length":           {plane("A2C", 2, func(c *heart.Clip) { c.Foreshortened = 0.37 }), result.ViewsDisagree},
		"no calibration":   {without(plane("A2C", 2)), result.NoCalibration},
		"mirrored picture": {mirrored(plane("A4C", 1)), result.SamePicture},
	} {
		s := combined(plane("A4C", 1), tt.two)
		m := find(t, s.Measurements, result.EF)
		if m.Value == nil || m.Method != result.SinglePlane || m.View != "A4C" || !has(m, tt.code) {
			t.Errorf("%s: %s in %s with %v, want the single plane and why", name, m.Method, m.View, m.Quality.Warnings)
			continue
		}
		near(t, name, *m.Value, 60, 1)
		if want := map[bool]string{true: result.Poor, false: result.Fair}[tt.code == result.ViewsDisagree || tt.code == result.SamePicture]; m.Quality.Grade != want {
			t.Errorf("%s: the grade is %s, want %s", name, m.Quality.Grade, want)
		}
	}
	// A difference that may be real passes with a remark.
	s := combined(plane("A4C", 1), plane("A2C", 2, ef(42)))
	if m := find(t, s.Measurements, result.EF); m.Method != result.Biplane || !has(m, string(lv.GateBeatSpread)) {
		t.Errorf("60 and 42 %%: %s, %v", m.Method, m.Quality.Warnings)
	}
	s = combined(plane("A4C", 1), plane("A2C", 2, func(c *heart.Clip) { c.Wide = 1.2 }))
	if m := find(t, s.Measurements, result.EDV); m.Method != result.Biplane || m.Quality.Grade != result.Fair || !has(m, string(lv.GateVolumes)) {
		t.Errorf("118 and 170 ml: %s, %s, %v", m.Method, m.Quality.Grade, m.Quality.Warnings)
	}
	s = combined(plane("A4C", 1), plane("A2C", 2, func(c *heart.Clip) { c.Foreshortened = 0.15 }))
	if m := find(t, s.Measurements, result.EDV); m.Method != result.Biplane || !has(m, string(lv.GateForeshortening)) {
		t.Errorf("15 %% shorter: %s, %v", m.Method, m.Quality.Warnings)
	}
}

func without(l result.Loop) result.Loop {
	l.Spacing = result.Spacing{Aspect: 1, Reason: "no calibration"}
	Loop(&l, options())
	return l
}

func mirrored(l result.Loop) result.Loop {
	l.View, l.SOPInstanceUID = "A2C", l.SOPInstanceUID+".2"
	twin := slices.Clone(l.Thumbnail)
	for i := range twin {
		twin[i] = l.Thumbnail[i/ThumbnailSide*ThumbnailSide+ThumbnailSide-1-i%ThumbnailSide]
	}
	l.Thumbnail = twin
	Loop(&l, options())
	return l
}

// EF and volumes come from one set of loops: an uncalibrated A4C (EF 59) beside
// a calibrated A2C (EF 38) never gives the EF of one and the volumes of the other.
func TestVolumesComeFromOneSet(t *testing.T) {
	s := combined(without(plane("A4C", 1, ef(59))), plane("A2C", 2, ef(38)))
	m := find(t, s.Measurements, result.EF)
	edv := find(t, s.Measurements, result.EDV)
	if m.View != edv.View {
		t.Errorf("EF from %s, EDV from %s", m.View, edv.View)
	}
	if edv.Value != nil {
		near(t, "EF", *m.Value, 100*measure(t, s.Measurements, result.SV) / *edv.Value, 0.01)
	}
}

// The plane that alone is calibrated, the two-chamber one or another four-chamber loop, gives the
// volumes and their EF where it agrees with the one that would give EF alone, and says so; where it
// shows another state or day, the same picture, or is poor, EF stays that of the better plane.
func TestVolumesOfTheCalibratedPlane(t *testing.T) {
	rate := func(c *heart.Clip) { c.Beats = heart.Regular(100, 60, 117.81, 8) }
	on := func(date string, l result.Loop) result.Loop {
		l.Date, l.Dates.Acquisition = date, date
		return l
	}
	poor := plane("A2C", 2)
	for i := range poor.Measurements {
		poor.Measurements[i].Quality.Grade = result.Poor
	}
	picture := without(plane("A4C", 1))
	picture.Thumbnail = make([]byte, ThumbnailSide*ThumbnailSide)
	for i := range picture.Thumbnail {
		picture.Thumbnail[i] = byte(i * i)
	}
	clipped := plane("A4C", 3, func(c *heart.Clip) { c.Start, c.Length = 0, 450 })
	for name, tt := range map[string]struct {
		four, other result.Loop
		view        string // of the volumes; "" for none
	}{
		"A2C":              {without(plane("A4C", 1)), plane("A2C", 2, ef(52)), "A2C"},
		"another A4C":      {without(plane("A4C", 1)), clipped, "A4C"},
		"A4C beside A2C":   {plane("A4C", 1), without(plane("A2C", 2)), "A4C"},
		"another EF":       {without(plane("A4C", 1)), plane("A2C", 2, ef(40)), ""},
		"another rate":     {without(plane("A4C", 1)), plane("A2C", 2, rate), ""},
		"another day":      {on("20260101", without(plane("A4C", 1))), on("20260201", plane("A2C", 2)), ""},
		"the same picture": {picture, mirroredOf(picture), ""},
		"poor":             {without(plane("A4C", 1)), poor, ""},
		"neither":          {without(plane("A4C", 1)), without(plane("A2C", 2)), ""},
	} {
		s := combined(tt.four, tt.other)
		m := find(t, s.Measurements, result.EF)
		if m.Value == nil || m.View != cmp.Or(tt.view, "A4C") {
			t.Errorf("%s: EF %+v", name, m)
			continue
		}
		for _, q := range []string{result.EDV, result.ESV, result.SV} {
			if v := find(t, s.Measurements, q); (v.Value != nil) != (tt.view != "") || v.View != m.View {
				t.Errorf("%s: %+v", name, v)
			}
		}
		if tt.view == "A2C" && (!has(m, result.OnePlane) || !has(m, result.NoCalibration) || len(m.Others) != 1 || m.Quality.Grade != result.Fair) {
			t.Errorf("%s: EF %+v", name, m)
		}
	}
}

// mirroredOf is the mirrored picture of a loop, calibrated, as a two-chamber loop.
func mirroredOf(l result.Loop) result.Loop {
	l.Spacing = plane("A4C", 1).Spacing
	return mirrored(l)
}

func TestVolumesThatContradictAreNotSent(t *testing.T) {
	v := func(x float64) *float64 { return &x }
	set := volumeSet{measurements: []result.Measurement{{Name: result.EF, Value: v(59.3)}, {Name: result.EDV, Value: v(168.5)},
		{Name: result.ESV, Value: v(105.3)}, {Name: result.SV, Value: v(63.2)}}}
	for _, m := range coherent(set).measurements {
		if m.Value != nil || m.Reason.Code != result.InternalError {
			t.Errorf("%s = %v, %v", m.Name, m.Value, m.Reason)
		}
	}
	// 117.81 - 47.12 = 70.69; 100*70.69/117.81 = 60.00.
	set = volumeSet{measurements: []result.Measurement{{Name: result.EF, Value: v(60.0034)}, {Name: result.EDV, Value: v(117.81)},
		{Name: result.ESV, Value: v(47.12)}, {Name: result.SV, Value: v(70.69)}}}
	if coherent(set).measurements[0].Value == nil {
		t.Error("values that agree are not sent")
	}
}

// A kept result that contradicts itself is not sent either.
func TestContradictingLoop(t *testing.T) {
	l := plane("A4C", 1)
	for i, m := range l.Measurements {
		if m.Name == result.EF {
			*l.Measurements[i].Value += 4
		}
	}
	if m := find(t, combined(l).Measurements, result.EF); m.Value != nil || m.Reason.Code != result.InternalError {
		t.Errorf("EF = %+v", m)
	}
}

func TestStages(t *testing.T) {
	at := func(l result.Loop, number int, name string) result.Loop {
		l.StageNumber, l.Stage = number, name
		return l
	}
	efs := func(s result.Study) string {
		var out []string
		for _, m := range s.Measurements {
			if m.Name == result.EF && m.Value != nil {
				out = append(out, fmt.Sprintf("%d %s %.0f %s", m.StageNumber, m.Stage, *m.Value, strings.Fields(m.Method)[0]))
			}
		}
		return strings.Join(out, ", ")
	}
	for name, tt := range map[string]struct {
		loops []result.Loop
		want  string
	}{
		"numbers without names": {[]result.Loop{at(plane("A4C", 1, ef(59)), 1, ""), at(plane("A4C", 2, ef(79)), 2, "")}, "1 Stage 1 59 single-plane, 2 Stage 2 79 single-plane"},
		"the first alone":       {[]result.Loop{at(plane("A4C", 1), 1, ""), at(plane("A2C", 2), 1, "")}, "1  60 biplane"},
		"another alone":         {[]result.Loop{at(plane("A4C", 1), 4, ""), at(plane("A2C", 2), 4, "")}, "4 Stage 4 60 biplane"},
		"case and spaces":       {[]result.Loop{at(plane("A4C", 1), 0, "REST"), at(plane("A2C", 2), 0, "Rest ")}, "0 REST 60 biplane"},
		"number on one of them": {[]result.Loop{at(plane("A4C", 1), 1, "Rest"), at(plane("A2C", 2), 0, "rest")}, "1 Rest 60 biplane"},
		"same name, two stages": {[]result.Loop{at(plane("A4C", 1, ef(50)), 3, "Post"), at(plane("A4C", 2, ef(70)), 4, "Post")}, "3 Post (3) 50 single-plane, 4 Post (4) 70 single-plane"},
		"order of the numbers":  {[]result.Loop{at(plane("A4C", 1, ef(70)), 2, "Peak"), at(plane("A4C", 2, ef(50)), 1, "Rest")}, "1 Rest 50 single-plane, 2 Peak 70 single-plane"},
	} {
		if got := efs(combined(tt.loops...)); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

func TestPatientsAreNotCombined(t *testing.T) {
	four, two := plane("A4C", 1), plane("A2C", 2)
	four.Subject, two.Subject = &result.Subject{Key: "a"}, &result.Subject{Key: "b"}
	s := combined(four, two)
	for _, m := range s.Measurements {
		if m.Value != nil || m.Reason.Code != result.TwoPatients {
			t.Fatalf("%s = %v, %v", m.Name, m.Value, m.Reason)
		}
	}
	two.Subject.Key = "a"
	if s := combined(four, two); find(t, s.Measurements, result.EF).Method != result.Biplane {
		t.Error("one patient's planes are not combined")
	}
}

// Of two loops of a view the one with whole beats and the longer axis counts;
// what the other says stays beside it.
func TestChoiceAmongLoops(t *testing.T) {
	short := plane("A4C", 3, func(c *heart.Clip) { c.Foreshortened = 0.2 })
	long := plane("A4C", 4)
	s := combined(short, long)
	m := find(t, s.Measurements, result.EDV)
	near(t, "EDV", *m.Value, 117.81, 1.5)
	if len(m.Others) != 1 || math.Abs(m.Others[0]-0.8*117.81) > 2 {
		t.Errorf("other loops say %v, want 94.2", m.Others)
	}
	systole := plane("A4C", 5, func(c *heart.Clip) { c.Start, c.Length, c.Rate = 0, heart.Systole(c.Beats[0].RR), true })
	if s := combined(systole, long); find(t, s.Measurements, result.EF).Sources[0].SOPInstanceUID != long.SOPInstanceUID {
		t.Error("a clip of one systole is chosen beside a loop with three whole beats")
	}
	s = combined(plane("A4C", 6, ef(40)), plane("A4C", 7, ef(62)))
	if m := find(t, s.Measurements, result.EF); !has(m, result.LoopsDisagree) {
		t.Errorf("40 and 62 %% in two loops: %v", m.Quality.Warnings)
	}
}

func TestLonePlanes(t *testing.T) {
	if m := find(t, combined(plane("A2C", 1)).Measurements, result.EF); !has(m, result.OnePlane) {
		t.Errorf("the two-chamber view alone: %v", m.Quality.Warnings)
	}
	if m := find(t, combined(plane("A4C", 1)).Measurements, result.EF); m.Quality.Grade != result.Good {
		t.Errorf("the four-chamber view alone: %v", m.Quality.Warnings)
	}
	// Shorter than the long-axis view of the same stage, or round.
	short := plane("A4C", 1, func(c *heart.Clip) { c.Foreshortened = 0.2 })
	if m := find(t, combined(short, plane("A3C", 2)).Measurements, result.EDV); !has(m, string(lv.GateForeshortening)) {
		t.Errorf("72 mm beside 90 mm: %v", m.Quality.Warnings)
	}
	round := plane("A4C", 1, func(c *heart.Clip) { c.Foreshortened = 0.3 })
	if m := find(t, combined(round).Measurements, result.EDV); !has(m, string(lv.GateForeshortening)) {
		t.Errorf("63 mm long and 50 mm wide: %v", m.Quality.Warnings)
	}
}

// What contradicts a value stands before its other remarks and makes it poor.
func TestGrade(t *testing.T) {
	r := func(code string) result.Reason { return result.Reason{Code: code} }
	for _, tt := range []struct {
		codes []string
		first string
		want  string
	}{{nil, "", result.Good}, {[]string{"border"}, "border", result.Fair}, {[]string{"border", result.ViewsDisagree, "wall"}, result.ViewsDisagree, result.Poor},
		{[]string{result.LoopsDisagree}, result.LoopsDisagree, result.Poor}, {[]string{"x", string(lv.GateAnnulus)}, string(lv.GateAnnulus), result.Poor}} {
		var in []result.Reason
		for _, c := range tt.codes {
			in = append(in, r(c))
		}
		q := grade(in)
		if q.Grade != tt.want || len(q.Warnings) != len(in) || len(in) > 0 && q.Warnings[0].Code != tt.first {
			t.Errorf("%v: %+v", tt.codes, q)
		}
	}
}

// Peak rates of simulated hearts: an ejection that follows a cosine is steepest at
// pi/2 times its mean slope. Noise must not make it steeper; where it would, there
// is no value.
func TestPeakRatesOfHearts(t *testing.T) {
	for _, tc := range []struct{ fps, rate, ef, noise float64 }{{34, 60, 60, 0.005}, {50, 60, 60, 0.02}, {50, 100, 45, 0.01}, {80, 150, 75, 0.03},
		{50, 60, 25, 0.03}} {
		rr := 60000 / tc.rate
		truth := math.Pi / 2 * tc.ef / 100 / (heart.Systole(rr) - min(80, 0.12*rr)) * 1000
		var off []float64
		for seed := range uint64(8) {
			l := heart.Clip{Beats: heart.Regular(tc.rate, tc.ef, 120, 3), FPS: tc.fps, Noise: tc.noise, Seed: seed + 1}.Loop()
			Loop(&l, Options{LV: lv.DefaultOptions()})
			if m := value(l.Measurements, result.PeakEjection); m != nil {
				off = append(off, *m.Value/truth-1)
			}
		}
		if tc.noise*100 >= 3 && tc.ef < 45 {
			if len(off) > 0 {
				t.Errorf("%+v: rates are given: %.2f", tc, off)
			}
			continue
		}
		if len(off) < 4 {
			t.Errorf("%+v: %d of 8 have a rate", tc, len(off))
		}
		if mean := lv.Summarize(off).Mean; mean < -0.12 || mean > 0.05 {
			t.Errorf("%+v: the mean rate is off by %.0f %%", tc, 100*mean)
		}
	}
}

// Planes of two examinations under one Study UID are no biplane; those of one that
// went on past midnight are.
func TestPlanesOfOneDay(t *testing.T) {
	for dates, want := range map[[2]string]string{{"20260102", "20240102"}: result.OtherDay, {"20260102", "20260104"}: result.OtherDay,
		{"20260102", "20260103"}: "", {"20260102", ""}: "", {"", ""}: "", {"20251231", "20260101"}: ""} {
		four, two := plane("A4C", 1), plane("A2C", 2)
		four.Date, two.Date = dates[0], dates[1]
		for _, l := range []*result.Loop{&four, &two} {
			Loop(l, Options{LV: lv.DefaultOptions()})
		}
		s := result.Study{Loops: []result.Loop{four, two}}
		Study(&s, Options{LV: lv.DefaultOptions()})
		ef := value(s.Measurements, result.EF)
		if ef == nil {
			t.Fatal("no EF")
		}
		said := slices.ContainsFunc(ef.Quality.Warnings, func(r result.Reason) bool { return r.Code == result.OtherDay })
		if biplane := ef.Method == result.Biplane; biplane != (want == "") || said != (want != "") {
			t.Errorf("%v: %s, told: %v", dates, ef.Method, said)
		}
	}
}

// A loop whose frame times are four times too short shows more beats than a heart
// has: its values say so.
func TestMoreBeatsThanAHeartHas(t *testing.T) {
	told := func(rate float64) bool {
		l := heart.Clip{Beats: heart.Regular(65, 60, 117.81, 2), FPS: 20, Length: 1840, Seed: 3}.Loop()
		for i := range l.FrameTimes {
			l.FrameTimes[i] *= 65 / rate
		}
		Loop(&l, Options{LV: lv.DefaultOptions()})
		ef := value(l.Measurements, result.EF)
		if ef == nil {
			t.Fatalf("no EF at %.0f beats per minute: %+v", rate, l.Measurements[0].Reason)
		}
		return slices.ContainsFunc(ef.Quality.Warnings, func(r result.Reason) bool {
			return r.Code == result.FrameTimes && strings.Contains(r.Text, "than a heart has")
		})
	}
	if !told(260) || told(65) {
		t.Errorf("at 260 beats per minute told %v, at 65 %v", told(260), told(65))
	}
}

// The planes of one recording have the same beats: they are a pair before a better plane
// of another one, which is told.
func TestPlanesOfOneRecordingFirst(t *testing.T) {
	film := func(ef, wide float64, seed uint64, view string) result.Loop {
		return heart.Clip{Beats: heart.Regular(70, ef, 117.81, 5), FPS: 40, Start: 200, View: view, Wide: wide, Seed: seed}.Loop()
	}
	both, second := film(50, 1, 1, "A4C"), film(50, 0.9, 2, "A2C")
	second.SOPInstanceUID, second.SecondPlane = both.SOPInstanceUID, true
	both.Beside = &second
	Loop(&both, options())
	other := heart.Clip{Beats: heart.Regular(70, 32, 117.81, 8), FPS: 40, Start: 200, View: "A4C", Seed: 3}.Loop()
	Loop(&other, options())
	for _, loops := range [][]result.Loop{{both, other}, {other, both}} {
		s := &result.Study{Loops: loops}
		Study(s, options())
		ef, edv := find(t, s.Measurements, result.EF), find(t, s.Measurements, result.EDV)
		if ef.Method != result.Biplane || math.Abs(*ef.Value-50) > 2 || !has(ef, result.LoopsDisagree) || ef.Quality.Grade != result.Poor {
			t.Errorf("EF %+v", ef)
		}
		// disks of D and 0.9 D
		if math.Abs(*edv.Value-0.9*117.81) > 3 {
			t.Errorf("EDV %.1f, want %.1f", *edv.Value, 0.9*117.81)
		}
		for _, src := range ef.Sources {
			if src.SOPInstanceUID != both.SOPInstanceUID {
				t.Errorf("source %+v", src)
			}
		}
	}
}
