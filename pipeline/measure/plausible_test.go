package measure

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/measure/heart"
	"github.com/echonode/echonode/pipeline/result"
)

// A loop whose scale is k times too large, seen with the same heart.
func scaled(k float64, seed uint64) result.Loop {
	l := heart.Clip{Beats: heart.Regular(60, 60, 117.81, 4), FPS: 40, Start: 300, Seed: seed}.Loop()
	l.Spacing.X, l.Spacing.Y = k*l.Spacing.X, k*l.Spacing.Y
	Loop(&l, options())
	return l
}

func warned(m *result.Measurement, code, text string) bool {
	return m != nil && slices.ContainsFunc(m.Quality.Warnings, func(w result.Reason) bool { return w.Code == code && strings.Contains(w.Text, text) })
}

// Two loops of a view whose scales contradict each other: neither's volumes are
// good. Of three the one that differs is not chosen, and it is told. A foreshortened
// loop is as wide as the other and contradicts nothing.
func TestScalesOfLoops(t *testing.T) {
	study := func(loops ...result.Loop) []result.Measurement {
		s := &result.Study{Loops: loops}
		Study(s, options())
		return s.Measurements
	}
	for _, k := range []float64{0.75, 1.3, 1.6} {
		ms := study(scaled(1, 1), scaled(k, 2))
		for _, name := range []string{result.EDV, result.ESV, result.SV} {
			if m := value(ms, name); !warned(m, result.LoopsDisagree, "another A4C loop gives an EDV") || m.Quality.Grade != result.Poor {
				t.Errorf("%g: %s %+v", k, name, m)
			}
		}
		for _, name := range []string{result.LenED, result.LenES, result.AreaED, result.AreaES} {
			if m := value(ms, name); !warned(m, result.LoopsDisagree, "another A4C loop gives an EDV") || m.Quality.Grade != result.Poor {
				t.Errorf("%g: %s %+v", k, name, m)
			}
		}
		for _, name := range []string{result.EF, result.FAC, result.HR} {
			if m := value(ms, name); m == nil || m.Quality.Grade != result.Good {
				t.Errorf("%g: %s %+v, which no scale changes", k, name, m)
			}
		}
	}
	ms := study(scaled(1, 1), scaled(1.6, 2), scaled(1, 3))
	if m := value(ms, result.EDV); m == nil || *m.Value > 125 || !warned(m, result.LoopsDisagree, "another A4C loop gives an EDV of 4") {
		t.Errorf("of three: %+v", m)
	}
	short := heart.Clip{Beats: heart.Regular(60, 60, 117.81, 4), FPS: 40, Start: 300, Seed: 4, Foreshortened: 0.2}.Loop()
	Loop(&short, options())
	if m := value(study(scaled(1, 1), short), result.EDV); m == nil || m.Quality.Grade != result.Good {
		t.Errorf("beside a foreshortened loop: %+v", m)
	}
}

// Sizes that no adult has are remarked on, with all that has a length in it; a
// child may have them.
func TestUnusualSizes(t *testing.T) {
	for _, tc := range []struct {
		scale float64
		text  string // "" for none
		ratio bool
	}{{1, "", false}, {0.5, "End-diastolic volume of 14.7 mL is unusual", false}, {1.6, "End-diastolic volume of 4", false}, {0.7, "", false}} {
		l := scaled(tc.scale, 1)
		for _, name := range []string{result.EDV, result.ESV, result.SV, result.LenED, result.AreaES} {
			if m := value(l.Measurements, name); m != nil && warned(m, result.UnusualSize, tc.text) != (tc.text != "") {
				t.Errorf("%g: %s %+v", tc.scale, name, m)
			}
		}
		for _, name := range []string{result.EF, result.FAC} {
			if m := value(l.Measurements, name); m == nil || warned(m, result.UnusualSize, "") {
				t.Errorf("%g: %s %+v", tc.scale, name, m)
			}
		}
	}
	child := scaled(0.5, 1)
	years := 4
	child.Subject = &result.Subject{AgeYears: &years}
	Loop(&child, options())
	if m := value(child.Measurements, result.EDV); m == nil || len(m.Quality.Warnings) > 0 {
		t.Errorf("of a child: %+v", m)
	}
	// A stroke volume of 306 mL is none.
	// Nor are the volumes that it is made of.
	l := scaled(1.63, 1)
	for _, name := range []string{result.SV, result.EDV, result.ESV, result.AreaED} {
		if m := value(l.Measurements, name); m != nil {
			t.Errorf("%+v", m)
		}
	}
	if value(l.Measurements, result.EF) == nil {
		t.Error("the ratio needs no scale")
	}
	newborn, boy := scaled(1, 1), scaled(1, 1)
	for _, tc := range []struct {
		l     *result.Loop
		years int
		want  bool
	}{{&newborn, 0, true}, {&boy, 4, false}} {
		tc.l.Subject = &result.Subject{AgeYears: &tc.years}
		Loop(tc.l, options())
		if m := value(tc.l.Measurements, result.EDV); m == nil || warned(m, result.UnusualSize, "unusual for a child aged 0") != tc.want {
			t.Errorf("at %d years: %+v", tc.years, m)
		}
	}
}

// R waves of which every second has no contraction, as where T waves were counted,
// give neither beats nor rate.
func TestRWavesAtTwiceTheRate(t *testing.T) {
	for name, tc := range map[string]struct {
		length float64
		rate   float64 // 0 for none
	}{"two beats": {2200, 60}, "three beats": {3300, 60}, "to the fifth R wave": {2550, 60}, "a beat and a half": {1500, 0}} {
		l := heart.Clip{Beats: heart.Regular(60, 60, 117.81, 5), FPS: 40, Start: 950, Length: tc.length, Seed: 1, RWaves: true, RDouble: true}.Loop()
		l.HeartRate = 120
		Loop(&l, options())
		hr, ef := value(l.Measurements, result.HR), value(l.Measurements, result.EF)
		if tc.rate == 0 && hr != nil && hr.Quality.Grade != result.Poor ||
			tc.rate > 0 && (hr == nil || *hr.Value < 57 || *hr.Value > 63 || hr.Quality.Grade != result.Poor ||
				!warned(hr, string(lv.GateWeakBeats), "belong to no contraction")) {
			t.Errorf("%s: HR %+v", name, hr)
		}
		if ef == nil || *ef.Value < 58 || *ef.Value > 62 {
			t.Errorf("%s: EF %+v", name, ef)
		}
	}
}

// A stored heart rate that is too fast for the one contraction of a short clip is
// remarked on; the right one is not.
func TestRateOfAShortClip(t *testing.T) {
	for _, tc := range []struct {
		stored float64
		doubt  bool
	}{{70, false}, {80, false}, {140, true}, {130, true}} {
		l := heart.Clip{Beats: heart.Regular(70, 60, 117.81, 3), FPS: 30, Start: 0, Length: 733, Seed: 1}.Loop()
		l.HeartRate = tc.stored
		Loop(&l, options())
		if hr := value(l.Measurements, result.HR); hr == nil || *hr.Value != tc.stored || warned(hr, result.Rhythm, "the motion is slower") != tc.doubt {
			t.Errorf("%g: %+v", tc.stored, hr)
		}
	}
}

// Beats that alternate between two EF: none stands for the others. One of many
// that is far off is left out, and that is said.
func TestAlternatingBeats(t *testing.T) {
	film := func(efs ...float64) *result.Measurement {
		beats := heart.Regular(70, 30, 117.81, len(efs))
		for i, ef := range efs {
			beats[i].EF = ef
		}
		l := heart.Clip{Beats: beats, FPS: 40, Start: 600, Seed: 1}.Loop()
		Loop(&l, options())
		return value(l.Measurements, result.EF)
	}
	if ef := film(30, 30, 55, 30, 55, 30); ef == nil || len(ef.Beats) < 5 || *ef.Value < 36 || !warned(ef, "beat-spread", "EF differs between") {
		t.Errorf("%+v", ef)
	}
	if ef := film(30, 30, 55, 30, 30, 30); ef == nil || len(ef.Beats) != 4 || *ef.Value > 32 ||
		!warned(ef, "beat-spread", "one of 5 beats is left out, in which EF was 5") {
		t.Errorf("%+v", ef)
	}
}

// One R wave too many is left out, and the rate is that of the others.
func TestOneRWaveTooMany(t *testing.T) {
	l := heart.Clip{Beats: heart.Regular(70, 60, 117.81, 5), FPS: 40, Start: 0, Length: 3400, Seed: 1, RWaves: true}.Loop()
	l.RWaves = slices.Insert(l.RWaves, 2, (l.RWaves[1]+l.RWaves[2])/2)
	Loop(&l, options())
	hr, ef := value(l.Measurements, result.HR), value(l.Measurements, result.EF)
	if hr == nil || *hr.Value < 68 || *hr.Value > 72 || !warned(hr, result.Rhythm, "1 of 5 stored R waves belong to no contraction") ||
		ef == nil || len(ef.Beats) < 3 {
		t.Errorf("%v R waves: %+v, %+v", l.RWaves, hr, ef)
	}
}

// Loops of one stage at rates of rest and of stress are told.
func TestRatesOfLoops(t *testing.T) {
	at := func(rate, ef float64, seed uint64) result.Loop {
		l := heart.Clip{Beats: heart.Regular(rate, ef, 117.81, 6), FPS: 50, Start: 200, Seed: seed}.Loop()
		Loop(&l, options())
		return l
	}
	for other, want := range map[float64]bool{60: false, 70: false, 140: true} {
		s := &result.Study{Loops: []result.Loop{at(60, 50, 1), at(other, 55, 2)}}
		Study(s, options())
		if ef := value(s.Measurements, result.EF); warned(ef, "beats", "rest and stress may be mixed") != want {
			t.Errorf("beside %g a minute: %+v", other, ef)
		}
	}
	// At rest the slower one counts, whichever has more beats and comes first.
	for stage, want := range map[string]float64{"": 55, "Rest": 55, "Peak": 100} {
		fast := at(100, 65, 1)
		slow := heart.Clip{Beats: heart.Regular(55, 50, 117.81, 3), FPS: 50, Start: 200, Length: 1500, Seed: 2}.Loop()
		Loop(&slow, options())
		fast.Stage, slow.Stage = stage, stage
		s := &result.Study{Loops: []result.Loop{fast, slow}}
		Study(s, options())
		hr, ef := value(s.Measurements, result.HR), value(s.Measurements, result.EF)
		if hr == nil || math.Abs(*hr.Value-want) > 3 || ef == nil || len(ef.Others) != 1 {
			t.Errorf("stage %q: %+v, %+v", stage, hr, ef)
		}
	}
}

// A loop without a stage may be at rest as that of the stage that says so.
func TestRestOfTwoStages(t *testing.T) {
	at := func(stage string, ef float64, seed uint64) result.Loop {
		l := heart.Clip{Beats: heart.Regular(60, ef, 117.81, 4), FPS: 40, Start: 200, Seed: seed}.Loop()
		l.Stage = stage
		Loop(&l, options())
		return l
	}
	for other, want := range map[string]bool{"Rest (supine)": true, "Peak": false} {
		s := &result.Study{Loops: []result.Loop{at("REST", 55, 1), at(other, 30, 2)}}
		Study(s, options())
		n := 0
		for i := range s.Measurements {
			if m := &s.Measurements[i]; m.Name == result.EF && warned(m, result.LoopsDisagree, "may be at rest too") && m.Quality.Grade == result.Poor {
				n++
			}
		}
		if (n == 2) != want || n == 1 {
			t.Errorf("beside %q: %d remarks", other, n)
		}
	}
	// One without name and number is of the only other stage.
	for named, want := range map[string]int{"REST": 1, "Peak": 2} {
		s := &result.Study{Loops: []result.Loop{at(named, 55, 1), at("", 52, 2)}}
		Study(s, options())
		n := 0
		for _, m := range s.Measurements {
			if m.Name == result.EF {
				n++
			}
		}
		if n != want {
			t.Errorf("%s and no stage: %d stages", named, n)
		}
	}
}

// Which of several loops is believed, and what is said of the values beside EF.
func TestWhichLoopIsBelieved(t *testing.T) {
	at := func(ef, rate float64, seed uint64, edit func(l *result.Loop)) result.Loop {
		l := heart.Clip{Beats: heart.Regular(rate, ef, 117.81, 5), FPS: 50, Start: 200, Seed: seed}.Loop()
		if edit != nil {
			edit(&l)
		}
		Loop(&l, options())
		return l
	}
	slowTimes := func(l *result.Loop) {
		for i := range l.FrameTimes {
			l.FrameTimes[i] *= 2
		}
	}
	worse := func(l *result.Loop) { l.ViewProbability = 0.7 }
	longer := func(l *result.Loop) { l.Spacing.X, l.Spacing.Y = 1.03*l.Spacing.X, 1.03*l.Spacing.Y }
	for name, tt := range map[string]struct {
		loops []result.Loop
		hr    float64
		ef    float64
	}{
		"frame times doubled":          {[]result.Loop{at(50, 70, 1, nil), at(50, 70, 2, slowTimes)}, 70, 50},
		"a worse loop of a slow heart": {[]result.Loop{at(50, 90, 1, nil), at(30, 60, 2, worse)}, 90, 50},
		"slow and as good":             {[]result.Loop{at(50, 90, 1, nil), at(50, 60, 2, nil)}, 60, 50},
		"two against a longer one":     {[]result.Loop{at(50, 70, 1, nil), at(22, 70, 2, longer), at(51, 70, 3, nil)}, 70, 50},
	} {
		s := &result.Study{Loops: tt.loops}
		Study(s, options())
		hr, ef := value(s.Measurements, result.HR), value(s.Measurements, result.EF)
		if hr == nil || math.Abs(*hr.Value-tt.hr) > 3 || ef == nil || math.Abs(*ef.Value-tt.ef) > 3 {
			t.Errorf("%s: %+v, %+v", name, hr, ef)
		}
	}
	s := &result.Study{Loops: []result.Loop{at(50, 90, 1, nil), at(50, 60, 2, nil)}}
	Study(s, options())
	for _, name := range []string{result.HR, result.CO} {
		if m := value(s.Measurements, name); !warned(m, "beats", mixedStates) {
			t.Errorf("%s: %+v", name, m)
		}
	}
	s = &result.Study{Loops: []result.Loop{at(55, 70, 1, nil), at(25, 70, 2, nil)}}
	Study(s, options())
	for _, name := range []string{result.EF, result.ESV, result.SV, result.CO, result.FAC} {
		if m := value(s.Measurements, name); m == nil || m.Quality.Grade != result.Poor {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

// The heart rate is that of the loop whose volumes are told.
func TestRateOfTheVolumes(t *testing.T) {
	four := heart.Clip{Beats: heart.Regular(100, 50, 117.81, 5), FPS: 50, Start: 200, Seed: 1, View: "A4C"}.Loop()
	for i := range four.FrameResults {
		four.FrameResults[i].Unseen = 0.6
	}
	two := heart.Clip{Beats: heart.Regular(60, 50, 117.81, 5), FPS: 50, Start: 200, Seed: 2, View: "A2C"}.Loop()
	Loop(&four, options())
	Loop(&two, options())
	s := &result.Study{Loops: []result.Loop{four, two}}
	Study(s, options())
	if hr, ef := value(s.Measurements, result.HR), value(s.Measurements, result.EF); ef == nil || ef.View != "A2C" || hr == nil || math.Abs(*hr.Value-60) > 3 {
		t.Errorf("%+v, %+v", hr, ef)
	}
}

// Beats of one rhythm whose volumes differ as the planes of one heart must not are
// remarked on, and so are sizes of which another scale is told.
func TestSizesOfBeats(t *testing.T) {
	for edv, want := range map[float64]string{100: "", 85: "the end-diastolic volumes of the beats differ by 28 %: depth, zoom or plane may have changed"} {
		l := &loop{}
		for _, v := range []float64{118, edv, 110} {
			l.beats = append(l.beats, beat{ed: lv.Plane{VolumeML: v}})
		}
		got := ""
		for _, f := range l.checkBeatVolumes() {
			if got = f.Reason; grade([]result.Reason{reason(f)}).Grade != result.Poor {
				t.Errorf("%+v", f)
			}
		}
		if got != want {
			t.Errorf("EDV of %g beside 118: %q", edv, got)
		}
	}
	l := heart.Clip{Beats: heart.Regular(60, 55, 117.81, 4), FPS: 40, Start: 300, Seed: 1}.Loop()
	l.Warnings = []result.Reason{{Code: result.Scale, Text: "another scale"}, {Code: result.Repeated, Text: "played forth and back"}}
	Loop(&l, options())
	s := &result.Study{Loops: []result.Loop{l}}
	Study(s, options())
	for name, want := range map[string]string{result.EF: result.Fair, result.EDV: result.Poor, result.LenED: result.Poor,
		result.HR: result.Fair, result.CO: result.Poor} {
		if m := value(s.Measurements, name); m == nil || m.Quality.Grade != want || warned(m, result.Repeated, "") != (name == result.HR || name == result.CO) {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

// What a plane cannot give with its scale the biplane method does not give either,
// nor do the values beside it; a remark on the planes is one on their volumes.
func TestBiplaneOfUnusualSizes(t *testing.T) {
	plane := func(view string, k float64, seed uint64) result.Loop {
		l := heart.Clip{Beats: heart.Regular(60, 60, 117.81, 4), FPS: 40, Start: 300, Seed: seed, View: view}.Loop()
		l.Spacing.X, l.Spacing.Y = k*l.Spacing.X, k*l.Spacing.Y
		Loop(&l, options())
		return l
	}
	for _, tc := range []struct {
		scale   float64
		volumes bool
		text    string
	}{{1, true, ""}, {1.58, true, "is unusual"}, {1.63, false, ""}} {
		s := &result.Study{Loops: []result.Loop{plane("A4C", tc.scale, 1), plane("A2C", tc.scale, 2)}}
		Study(s, options())
		for _, name := range []string{result.EDV, result.ESV, result.SV, result.CO} {
			m := value(s.Measurements, name)
			if (m != nil) != tc.volumes || m != nil && warned(m, result.UnusualSize, tc.text) != (tc.text != "") {
				t.Errorf("%g: %s %+v", tc.scale, name, m)
			}
		}
		if ef := value(s.Measurements, result.EF); ef == nil || (ef.Method == result.Biplane) != tc.volumes {
			t.Errorf("%g: %+v", tc.scale, ef)
		}
		for _, name := range []string{result.LenED, result.AnnulusSeptal} {
			if m := value(s.Measurements, name); (m != nil) != tc.volumes {
				t.Errorf("%g: %s %+v", tc.scale, name, m)
			}
		}
	}
}
