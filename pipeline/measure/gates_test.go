package measure

import (
	"math"
	"strings"
	"testing"

	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/measure/heart"
	"github.com/echonode/echonode/pipeline/result"
)

// sound is three whole beats of a heart with an EF of 60 %.
func sound() heart.Clip {
	return heart.Clip{Beats: heart.Regular(65, 60, 117.81, 5), FPS: 40, Start: 500, Length: 3300}
}

// systolic edits the frames around end-systole only.
func systolic(edit func(*result.Frame)) func(int, float64, *result.Frame) {
	return func(_ int, phase float64, f *result.Frame) {
		if phase > 0.25 && phase < 0.65 {
			edit(f)
		}
	}
}

func always(edit func(*result.Frame)) func(int, float64, *result.Frame) {
	return func(_ int, _ float64, f *result.Frame) { edit(f) }
}

// intoAtrium lets the outline run into the atrium by mm.
func intoAtrium(mm float64) func(*result.Frame) {
	return func(f *result.Frame) {
		base, cx := f.Keypoints[1].Y, (f.Keypoints[1].X+f.Keypoints[2].X)/2
		w := (f.Keypoints[2].X - f.Keypoints[1].X) / 2
		var c result.Contour
		for _, p := range f.Contour {
			if p[1] < base-0.5 {
				c = append(c, p)
			}
		}
		for i := range 25 {
			sin, cos := math.Sincos(math.Pi * float64(i) / 24)
			c = append(c, [2]float64{cx + w*cos, base + mm/heart.Spacing*sin})
		}
		f.Contour = c
	}
}

func noHinges(f *result.Frame) {
	f.Keypoints[1].Confidence, f.Keypoints[2].Confidence = 0.1, 0.1
}

func move(dx float64) func(*result.Frame) {
	return func(f *result.Frame) {
		for i := range f.Contour {
			f.Contour[i][0] += dx
		}
		for i := range f.Keypoints {
			f.Keypoints[i].X += dx
		}
	}
}

// cutAt is a sector that ends at x, with the outline along its edge.
func cutAt(x float64) (func(*result.Frame), func(*result.Loop)) {
	return func(f *result.Frame) {
		var c result.Contour
		for i, p := range f.Contour { // evenly spaced, as the network's outlines are
			q := f.Contour[(i+1)%len(f.Contour)]
			n := int(math.Hypot(q[0]-p[0], q[1]-p[1])/2) + 1
			for k := range n {
				t := float64(k) / float64(n)
				c = append(c, [2]float64{min(p[0]+t*(q[0]-p[0]), x), p[1] + t*(q[1]-p[1])})
			}
		}
		f.Contour = c
	}, func(l *result.Loop) { l.Sector = heart.Narrowed(l.Sector, x) }
}

// What a gate finds keeps the number out, or stands beside it; what is sound
// passes without a word.
func TestGates(t *testing.T) {
	cut, cutSector := cutAt(heart.Columns/2 + 25)
	for name, tt := range map[string]struct {
		edit     func(int, float64, *result.Frame)
		editLoop func(*result.Loop)
		code     lv.Gate
		measured bool
	}{
		"sound":                          {nil, nil, "", true},
		"leak at end-systole":            {systolic(intoAtrium(12)), nil, lv.GateLeak, true},
		"large leak":                     {always(intoAtrium(60)), nil, lv.GateLeak, false},
		"leak throughout, no hinges":     {always(func(f *result.Frame) { intoAtrium(30)(f); noHinges(f) }), nil, lv.GateAnnulus, true},
		"leak at end-systole, no hinges": {systolic(func(f *result.Frame) { intoAtrium(45)(f); noHinges(f) }), nil, lv.GateAnnulus, false},
		"no hinges in one frame of ten": {func(i int, _ float64, f *result.Frame) {
			if i%10 == 0 {
				noHinges(f)
			}
		}, nil, "", true},
		"sector cuts the lateral wall": {always(cut), cutSector, lv.GateBorder, false},
		"picture ends at the lateral wall": {always(cut), func(l *result.Loop) {
			l.Sector, l.Region = nil, &result.Region{MaxX: heart.Columns/2 + 26, MaxY: l.Rows}
		}, lv.GateBorder, false},
		"sector narrowed, 3 mm of the wall left":  {nil, narrowed(3), lv.GateBorder, false},
		"sector narrowed, 11 mm of the wall left": {nil, narrowed(11), lv.GateBorder, true},
		"sector narrowed beyond the wall":         {nil, narrowed(18), "", true},
		"no wall beside the outline":              {always(func(f *result.Frame) { f.Unseen = 0.45 }), nil, lv.GateWall, false},
		"some wall not seen":                      {always(func(f *result.Frame) { f.Unseen = 0.3 }), nil, lv.GateWall, true},
		"ED in one picture, ES in another":        {systolic(move(120)), nil, lv.GatePlace, false},
		"moves by a third of its length":          {systolic(move(70)), noSector, lv.GatePlace, false},
		"upside down":                             {always(flip), nil, lv.GatePlace, false},
		"lies on its side":                        {always(turn(55)), noSector, lv.GatePlace, true},
		"in pieces":                               {always(func(f *result.Frame) { f.Stray = 0.5 }), nil, lv.GateFragments, false},
		"a stray piece":                           {always(func(f *result.Frame) { f.Stray = 0.2 }), nil, lv.GateFragments, true},
		"uncertain outline":                       {always(func(f *result.Frame) { f.Confidence = 0.83 }), nil, lv.GateConfidence, true},
		"hardly an outline":                       {always(func(f *result.Frame) { f.Confidence = 0.5 }), nil, lv.GateConfidence, false},
		"longer at end-systole":                   {systolic(stretch(1.45)), nil, lv.GateLengths, false},
		"view doubtful":                           {nil, func(l *result.Loop) { l.ViewProbability = 0.7 }, lv.GateView, true},
		"view unknown":                            {nil, func(l *result.Loop) { l.ViewProbability = 0.4 }, lv.GateView, false},
		"scales that contradict": {nil, func(l *result.Loop) {
			l.Warnings = []result.Reason{{Code: result.Scale, Text: "another Pixel Spacing"}}
		}, result.Scale, true},
		"derived by a program": {nil, func(l *result.Loop) { l.Warnings = []result.Reason{{Code: result.Derived, Text: "derived"}} }, result.Derived, true},
		"several regions":      {nil, func(l *result.Loop) { l.Warnings = []result.Reason{{Code: result.Regions, Text: "two regions"}} }, result.Regions, true},
		"one frame whose outline elsewhere": {func(i int, _ float64, f *result.Frame) {
			if i == 60 {
				move(150)(f)
			}
		}, nil, "", true},
	} {
		c := sound()
		c.Edit, c.EditLoop = tt.edit, tt.editLoop
		l := measured(c)
		m := find(t, l.Measurements, result.EF)
		switch {
		case tt.measured && m.Value == nil:
			t.Errorf("%s: not measured: %v", name, m.Reason)
		case tt.measured && tt.code == "" && len(m.Quality.Warnings) > 0:
			t.Errorf("%s: %v", name, m.Quality.Warnings)
		case tt.measured && tt.code != "" && !has(m, string(tt.code)):
			t.Errorf("%s: remarks %v, want %s", name, m.Quality.Warnings, tt.code)
		case !tt.measured && (m.Value != nil || m.Reason.Code != string(tt.code)):
			t.Errorf("%s: %v, %v; want %s", name, m.Value, m.Reason, tt.code)
		}
	}
}

// narrowed ends the sector upright, so many mm beside the widest outline.
func narrowed(mm float64) func(*result.Loop) {
	return func(l *result.Loop) {
		right := 0.0
		for _, f := range l.FrameResults {
			for _, p := range f.Contour {
				right = max(right, p[0])
			}
		}
		l.Sector = heart.Narrowed(l.Sector, right+mm/heart.Spacing)
	}
}

func noSector(l *result.Loop) { l.Sector = nil }

func flip(f *result.Frame) {
	for i := range f.Contour {
		f.Contour[i][1] = heart.Rows - f.Contour[i][1]
	}
	for i := range f.Keypoints {
		f.Keypoints[i].Y = heart.Rows - f.Keypoints[i].Y
	}
}

func turn(degrees float64) func(*result.Frame) {
	sin, cos := math.Sincos(degrees * math.Pi / 180)
	at := func(x, y float64) (float64, float64) {
		x, y = x-heart.Columns/2, y-heart.Rows/2
		return heart.Columns/2 + cos*x + sin*y, heart.Rows/2 - sin*x + cos*y
	}
	return func(f *result.Frame) {
		for i, p := range f.Contour {
			f.Contour[i][0], f.Contour[i][1] = at(p[0], p[1])
		}
		for i, k := range f.Keypoints {
			f.Keypoints[i].X, f.Keypoints[i].Y = at(k.X, k.Y)
		}
	}
}

// stretch draws the cavity longer and narrower, its area nearly kept.
func stretch(factor float64) func(*result.Frame) {
	return func(f *result.Frame) {
		cx, top := (f.Keypoints[1].X+f.Keypoints[2].X)/2, f.Keypoints[0].Y
		at := func(x, y float64) (float64, float64) { return cx + (x-cx)/math.Sqrt(factor), top + (y-top)*factor }
		for i, p := range f.Contour {
			f.Contour[i][0], f.Contour[i][1] = at(p[0], p[1])
		}
		for i, k := range f.Keypoints {
			f.Keypoints[i].X, f.Keypoints[i].Y = at(k.X, k.Y)
		}
	}
}

// The area ends at the mitral line, as the disks do: a leak at end-systole with
// good hinges gave an EF of 59 beside a fractional area change of nothing.
func TestAreaEndsAtTheMitralLine(t *testing.T) {
	clean := measured(sound())
	c := sound()
	c.Edit = systolic(intoAtrium(12))
	l := measured(c)
	for _, name := range []string{result.EF, result.FAC, result.AreaES, result.ESV} {
		near(t, name, measure(t, l.Measurements, name), measure(t, clean.Measurements, name), 0.03*measure(t, clean.Measurements, name))
	}
}

// A remark concerns the values of its phase.
func TestRemarksNameTheirValues(t *testing.T) {
	c := sound()
	c.Edit = systolic(func(f *result.Frame) { f.Confidence = 0.8 })
	l := measured(c)
	for name, want := range map[string]bool{result.EF: true, result.ESV: true, result.AreaES: true, result.EDV: false, result.AreaED: false} {
		m := find(t, l.Measurements, name)
		if has(m, string(lv.GateConfidence)) != want {
			t.Errorf("%s: remarks %v", name, m.Quality.Warnings)
		}
		for _, w := range m.Quality.Warnings {
			if !strings.Contains(w.Text, "end-systole") {
				t.Errorf("%s: %q does not say where", name, w.Text)
			}
		}
	}
}

// A bad beat is left out with its reason, and its remarks with it.
func TestRemarksOfBeatsLeftOutDoNotCount(t *testing.T) {
	c := sound()
	beat, last := -1, 1.0
	c.Edit = func(_ int, phase float64, f *result.Frame) {
		if phase < last {
			beat++
		}
		last = phase
		if beat == 2 && phase > 0.25 && phase < 0.65 {
			f.Confidence, f.Stray = 0.83, 0.5
		}
	}
	l := measured(c)
	m := find(t, l.Measurements, result.EF)
	if m.Value == nil || len(m.Beats) != 2 || m.Quality.Grade != result.Good {
		t.Errorf("%+v, beats %+v; want two sound beats", m, l.Beats)
	}
	out := 0
	for _, b := range l.Beats {
		if b.Rejected != nil && b.Rejected.Code == string(lv.GateFragments) {
			out++
		}
	}
	if out != 1 {
		t.Errorf("beats %+v, want one left out for its pieces", l.Beats)
	}
}

// Where the network says how far its outline agrees with a reader's, this
// counts instead of the outline's certainty; without a limit for it, it does not.
func TestExpectedAgreement(t *testing.T) {
	for _, tt := range []struct {
		dice, certainty, limit float64
		grade                  string
	}{
		{0.93, 0.80, 0.89, result.Good}, {0.85, 0.95, 0.89, result.Fair}, {0, 0.80, 0.89, result.Fair}, {0, 0.95, 0.89, result.Good},
		{0.93, 0.80, 0, result.Fair}, {0.85, 0.95, 0, result.Good},
	} {
		c := sound()
		c.Edit = always(func(f *result.Frame) { f.ExpectedDice, f.Confidence = tt.dice, tt.certainty })
		l := c.Loop()
		o := options()
		o.MinExpectedDice = tt.limit
		Loop(&l, o)
		if m := find(t, l.Measurements, result.EF); m.Quality.Grade != tt.grade {
			t.Errorf("expected Dice %.2f, certainty %.2f: %s (%v)", tt.dice, tt.certainty, m.Quality.Grade, m.Quality.Warnings)
		}
	}
}

// Dimensions of the parasternal view: the inner diameter of end-systole is
// measured at end-systole. 50 mm at ED and 33 at ES are a shortening of 34 %;
// walls of 10 mm weigh 0.832*(7^3-5^3)+0.6 = 182 g, and 2*10/50 is 0.40.
func TestLinear(t *testing.T) {
	l := sound().Loop()
	l.View = "PLAX"
	for i := range l.FrameResults {
		f := &l.FrameResults[i]
		v := (f.Keypoints[2].X - f.Keypoints[1].X) * heart.Spacing // 50 mm wide at ED, 35.5 at ES
		d := 33 + (v-35.46)/(50-35.46)*17
		f.Contour = nil
		f.Keypoints = nil
		y := 60.0
		for k, name := range []string{"ivs_right", "ivs_left", "pw_inner", "pw_outer"} {
			f.Keypoints = append(f.Keypoints, result.Keypoint{Name: name, X: 200, Y: y, Confidence: 0.8})
			y += []float64{10, d, 10, 0}[k] / heart.Spacing
		}
	}
	o := options()
	Loop(&l, o)
	if m := find(t, l.Measurements, result.LVIDd); m.Value != nil || m.Reason.Code != result.NotValidated {
		t.Errorf("points that were not validated: %+v", m)
	}
	o.WallPoints = true
	Loop(&l, o)
	for name, want := range map[string]float64{result.IVSd: 1, result.LVIDd: 5, result.LVPWd: 1, result.LVIDs: 3.3, result.FS: 34,
		result.Mass: 182, result.RWT: 0.4} {
		near(t, name, measure(t, l.Measurements, name), want, 0.015*want)
	}
	for _, s := range find(t, l.Measurements, result.LVIDs).Sources {
		if s.Phase != string(lv.ES) {
			t.Errorf("LVIDs from %+v", s)
		}
	}
}

// Without a calibration there are ratios only.
func TestNoCalibration(t *testing.T) {
	l := without(plane("A4C", 1))
	near(t, "EF", measure(t, l.Measurements, result.EF), 60, 0.6)
	for _, name := range []string{result.EDV, result.ESV, result.SV, result.AreaED, result.LenED} {
		if m := find(t, l.Measurements, name); m.Value != nil || m.Reason.Code != result.NoCalibration {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

// A ventricle 90 mm long and 50 wide, 1.8 times: where the object says of its square pixels that they
// are wider than high, or higher than wide, it looks as round as a foreshortened one, or as long as one
// with its atrium. The remark is on the pixels then, and what is in centimetres is poor; a ventricle
// that is as round in any pixels may be foreshortened.
func TestShapeOfPixels(t *testing.T) {
	round := func(c *heart.Clip) { c.Foreshortened = 0.27 }
	for _, tt := range []struct {
		name        string
		x, y        float64 // times as large as the pixels are
		edit        func(*heart.Clip)
		code, text  string
		given, poor bool
	}{
		{"square", 1, 1, nil, "", "", true, false},
		{"1.9 times as wide", 1.9, 1, nil, result.Scale, "with square pixels 1.8 times: that they are 1.9 times as wide as high may be wrong", true, true},
		{"1.5 times as wide", 1.5, 1, nil, result.Scale, "with square pixels 1.8 times: that they are 1.5 times as wide as high may be wrong", true, true},
		{"1.4 times as high", 1, 1.4, nil, result.Scale, "2.5 times as long as wide, with square pixels 1.8 times: that they are 0.71 times", true, true},
		{"2.2 times as high", 1, 2.2, nil, string(lv.GateShape), "with square pixels 1.8 times: that they are 0.45 times as wide as high", false, false},
		{"foreshortened", 1, 1, round, string(lv.GateForeshortening), "it may be foreshortened", true, false},
		{"foreshortened, 1.12 times as wide", 1.12, 1, round, string(lv.GateForeshortening), "it may be foreshortened", true, false},
		{"a little wider", 1.05, 1, nil, "", "", true, false},
	} {
		c := heart.Clip{Beats: heart.Regular(65, 60, 117.81, 4), FPS: 40, Start: 200, Noise: 0.003, Seed: 1}
		if tt.edit != nil {
			tt.edit(&c)
		}
		for _, calibrated := range []bool{true, false} {
			l := c.Loop()
			l.Spacing.X, l.Spacing.Y = tt.x*l.Spacing.X, tt.y*l.Spacing.Y
			l.Spacing.Aspect, l.Spacing.Trusted = l.Spacing.X/l.Spacing.Y, calibrated
			Loop(&l, options())
			s := combined(l)
			ef, edv := find(t, s.Measurements, result.EF), find(t, s.Measurements, result.EDV)
			if !tt.given {
				if ef.Value != nil || ef.Reason.Code != tt.code || !strings.Contains(ef.Reason.Text, tt.text) {
					t.Errorf("%s: %+v %v", tt.name, ef, ef.Reason)
				}
				continue
			}
			if ef.Value == nil || has(ef, string(lv.GateForeshortening)) != (tt.code == string(lv.GateForeshortening)) || has(ef, string(lv.GateShape)) ||
				tt.code != "" && !warned(&ef, tt.code, tt.text) || tt.code == "" && has(ef, result.Scale) {
				t.Errorf("%s, calibrated %v: %+v", tt.name, calibrated, ef)
			}
			if calibrated && (edv.Value == nil || (edv.Quality.Grade == result.Poor) != tt.poor) {
				t.Errorf("%s: %+v", tt.name, edv)
			}
		}
	}
}
