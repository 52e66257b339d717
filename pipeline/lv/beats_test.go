package lv

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// cavity is the area of a beating cavity at time t after ED (ms): ejection
// over 35 % of the period, rapid filling, diastasis and an atrial kick.
func cavity(t, period float64) float64 {
	const ed, es, pre = 35.0, 20.0, 33.8
	x := math.Mod(t, period) / period
	if x < 0 {
		x++
	}
	cosine := func(a, b, x float64) float64 { return a + (b-a)*(1-math.Cos(math.Pi*x))/2 }
	switch {
	case x < 0.35:
		return cosine(ed, es, x/0.35)
	case x < 0.60:
		return cosine(es, pre, (x-0.35)/0.25)
	case x < 0.85:
		return pre
	default:
		return cosine(pre, ed, (x-0.85)/0.15)
	}
}

// clip samples cavity from start for the given length, with steps in ms that
// repeat, and noise of standard deviation sd.
func clip(start, length, period, sd float64, steps ...float64) (area, times []float64) {
	rng := rand.New(rand.NewPCG(1, 2))
	for t, i := 0.0, 0; t <= length; i++ {
		area = append(area, cavity(start+t, period)+sd*rng.NormFloat64())
		times = append(times, t)
		t += steps[i%len(steps)]
	}
	return area, times
}

func TestFindBeats(t *testing.T) {
	tests := []struct {
		name                  string
		start, length, period float64
		steps                 []float64
		r                     []float64
		eds                   []float64 // expected ED times
		from                  string
		rate                  float64
	}{
		{"three beats", 500, 2800, 900, []float64{33.3}, nil, []float64{400, 1300, 2200}, AtMaximum, 66.7},
		{"uneven frame times", 500, 2800, 900, []float64{20, 50, 33}, nil, []float64{400, 1300, 2200}, AtMaximum, 66.7},
		{"one beat from R without R time", 0, 899, 900, []float64{33.3}, nil, []float64{0}, AtClipStart, 0},
		{"one beat from R with R time", 0, 899, 900, []float64{33.3}, []float64{0}, []float64{0}, AtRWave, 0},
		{"one short beat at 130", 0, 460, 461, []float64{20}, nil, []float64{0}, AtClipStart, 0},
		{"two R peaks", 500, 1400, 900, []float64{25}, []float64{400, 1300}, []float64{400}, AtRWave, 66.7},
		{"R peaks in mid systole are ignored", 500, 2800, 900, []float64{33.3}, []float64{700, 1600}, []float64{400, 1300, 2200}, AtMaximum, 66.7},
		{"slow with long diastasis", 1500, 3500, 1600, []float64{40}, nil, []float64{100, 1700}, AtMaximum, 37.5},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			area, times := clip(tt.start, tt.length, tt.period, 0.1, tt.steps...)
			o := DefaultBeatOptions()
			o.RWaveMS = tt.r
			got, err := FindBeats(area, times, o)
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Beats) != len(tt.eds) {
				t.Fatalf("beats %+v, want ED at %v ms; notes %v", got.Beats, tt.eds, got.Notes)
			}
			for i, b := range got.Beats {
				near(t, "ED time", times[b.ED], tt.eds[i], 60)
				near(t, "ES time", times[b.ES], tt.eds[i]+0.35*tt.period, 60)
				if b.EDFrom != tt.from {
					t.Errorf("ED from %q, want %q", b.EDFrom, tt.from)
				}
				near(t, "area change", b.AreaChange, 15.0/35, 0.05)
			}
			if tt.rate == 0 && got.HeartRate != 0 {
				t.Errorf("heart rate %v from one beat", got.HeartRate)
			} else if tt.rate != 0 {
				near(t, "rate", got.HeartRate, tt.rate, 3)
			}
		})
	}
}

func TestFindBeatsDropsIncomplete(t *testing.T) {
	// Begins in diastole, ends in the third systole: two whole beats and one cut.
	area, times := clip(-300, 300+2*900+200, 900, 0, 33.3)
	got, err := FindBeats(area, times, DefaultBeatOptions())
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Beats) != 2 {
		t.Fatalf("beats %+v, want the two whole ones", got.Beats)
	}
	if b := got.Beats[1]; b.NextED < 0 || math.Abs(times[b.NextED]-2100) > 60 {
		t.Errorf("second beat is closed at %d", b.NextED)
	}
	// A descent from the first frame is dropped when another beat is whole.
	area, times = clip(0, 1800, 900, 0, 33.3)
	got, err = FindBeats(area, times, DefaultBeatOptions())
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Beats) != 1 || got.Beats[0].EDFrom != AtMaximum {
		t.Errorf("beats %+v, want the second one only", got.Beats)
	}
}

func TestFindBeatsReasons(t *testing.T) {
	good, times := clip(500, 2800, 900, 0, 33.3)
	flat := make([]float64, len(good))
	for i := range flat {
		flat[i] = 30 + 0.1*math.Sin(float64(i))
	}
	gaps := append([]float64(nil), good...)
	for i := range gaps {
		if i%2 == 0 {
			gaps[i] = math.NaN()
		}
	}
	systole, systoleT := clip(0, 200, 900, 0, 25)
	filling, fillingT := clip(315, 400, 900, 0, 25)
	slow, slowT := clip(500, 2800, 900, 0, 150)
	rng := rand.New(rand.NewPCG(3, 4))
	noise := make([]float64, len(good))
	for i := range noise {
		noise[i] = 30 + 2*rng.NormFloat64()
	}
	still := make([]float64, len(times))
	for _, tt := range []struct {
		name        string
		area, times []float64
		want        NoBeatReason
	}{
		{"nothing", nil, nil, TooFewFrames},
		{"few", good[:5], times[:5], TooFewFrames},
		{"no times", good, nil, NoTiming},
		{"time stands still", good, still, NoTiming},
		{"slow", slow, slowT, FrameRateTooLow},
		{"gaps", gaps, times, TooManyMissing},
		{"flat", flat, times, CurveFlat},
		{"noise", noise, times, CurveNoisy},
		{"systole only", systole, systoleT, NoCompleteSystole},
		{"filling only", filling, fillingT, NoCompleteSystole},
	} {
		_, err := FindBeats(tt.area, tt.times, DefaultBeatOptions())
		var e *NoBeatError
		if !errors.As(err, &e) || e.Reason != tt.want {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
			continue
		}
		if !strings.HasPrefix(e.Error(), string(tt.want)) {
			t.Errorf("%s: message %q", tt.name, e)
		}
	}
}

func TestFindBeatsSpikesAndGaps(t *testing.T) {
	area, times := clip(500, 2800, 900, 0.05, 33.3)
	clean, err := FindBeats(area, times, DefaultBeatOptions())
	if err != nil {
		t.Fatal(err)
	}
	area[20] *= 0.3 // failed outline
	area[30] = math.NaN()
	area[31] = math.Inf(1)
	area[32] = -1
	got, err := FindBeats(area, times, DefaultBeatOptions())
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Beats) != len(clean.Beats) {
		t.Fatalf("beats %+v, want %+v", got.Beats, clean.Beats)
	}
	if len(got.Removed) != 1 || got.Removed[0] != 20 {
		t.Errorf("spikes %v, want frame 20", got.Removed)
	}
	for i := range got.Beats {
		near(t, "ED", times[got.Beats[i].ED], times[clean.Beats[i].ED], 70)
		near(t, "ES", times[got.Beats[i].ES], times[clean.Beats[i].ES], 70)
	}
}

func TestDeviceRateIsTheLastResort(t *testing.T) {
	area, times := clip(0, 899, 900, 0, 33.3)
	o := DefaultBeatOptions()
	o.HeartRateBPM = 71
	got, err := FindBeats(area, times, o)
	if err != nil {
		t.Fatal(err)
	}
	if got.HeartRate != 71 || got.HeartRateSource != RateFromDevice {
		t.Errorf("rate %v from %q", got.HeartRate, got.HeartRateSource)
	}
	o.HeartRateBPM = 4000
	if got, _ = FindBeats(area, times, o); got.HeartRate != 0 {
		t.Errorf("implausible rate %v kept", got.HeartRate)
	}
}

func TestQualityGates(t *testing.T) {
	o := DefaultQualityOptions()
	box := []Point{{0, 0}, {99, 0}, {99, 99}, {0, 99}}
	for _, tt := range []struct {
		name string
		f    []Finding
		gate Gate
		sev  Severity
	}{
		{"view low", CheckView(0.4, o), GateView, Reject},
		{"view doubtful", CheckView(0.7, o), GateView, Warn},
		{"view NaN", CheckView(math.NaN(), o), GateView, Reject},
		{"border", CheckBorder(BorderPart(box, Point{0, 0}, Point{99, 99}, 1.5), ED, 3, o), GateBorder, Reject},
		{"foreshortened", CheckForeshortening(90, 78, ED, o), GateForeshortening, Warn},
		{"not one ventricle", CheckForeshortening(90, 50, ED, o), GateForeshortening, Reject},
		{"spread", CheckEFSpread([]float64{50, 62, math.NaN()}, o), GateBeatSpread, Warn},
		{"jump", CheckAreaJumps([]float64{30, 30, 14, 30}, []float64{0, 33, 66, 99}, o), GateAreaJump, Warn},
		{"coverage", CheckCoverage([]float64{30, math.NaN(), math.NaN(), 30}, o), GateCoverage, Reject},
		{"rate", CheckFrameRate([]float64{0, 100, 200}, 0, o), GateFrameRate, Warn},
		{"EF", CheckEF(97, o), GatePlausibility, Reject},
		{"EF NaN", CheckEF(math.NaN(), o), GatePlausibility, Reject},
		{"stray", CheckOutline(1, Outline{Cells: 80, StrayCells: 20}.Stray(), ED, 0, o), GateFragments, Warn},
		{"agreement", CheckAgreement(0.8, 0.87, ED, 0), GateConfidence, Warn},
		{"unsure", CheckOutline(0.5, 0, ED, 0, o), GateConfidence, Reject},
	} {
		if len(tt.f) == 0 || tt.f[0].Gate != tt.gate || tt.f[0].Severity != tt.sev || tt.f[0].Reason == "" {
			t.Errorf("%s: %+v, want %s %s", tt.name, tt.f, tt.gate, tt.sev)
		}
		if Rejected(tt.f) != (tt.sev == Reject) {
			t.Errorf("%s: Rejected = %v", tt.name, Rejected(tt.f))
		}
	}
	for name, f := range map[string][]Finding{
		"view":   CheckView(0.95, o),
		"agrees": append(CheckAgreement(0.88, 0.87, ED, 0), CheckAgreement(0, 0.87, ED, 0)...),
		"border": CheckBorder(BorderPart(box, Point{-50, -50}, Point{200, 200}, 1.5), ED, 0, o),
		"length": CheckForeshortening(90, 88, ED, o),
		"spread": CheckEFSpread([]float64{50}, o),
		"jumps":  CheckAreaJumps([]float64{30, 28, 26}, []float64{0, 33, 66}, o),
		"rate":   CheckFrameRate([]float64{0, 33, 66}, 0, o),
		"EF":     CheckEF(60, o),
	} {
		if len(f) != 0 {
			t.Errorf("%s: findings on good input: %+v", name, f)
		}
	}
	wide := Plane{AreaMM2: 4000, Axis: Axis{LengthMM: 40}, VolumeML: 100}
	f := CheckPlanes(wide, wide, true, o)
	var gates []Gate
	for _, g := range f {
		gates = append(gates, g.Gate)
	}
	if len(f) != 2 { // two shapes; an EF of nothing is for the caller to say
		t.Errorf("gates %v for a disc that does not beat", gates)
	}
}
