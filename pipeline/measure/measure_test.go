package measure

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"testing"

	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/measure/heart"
	"github.com/echonode/echonode/pipeline/result"
)

func options() Options { return Options{LV: lv.DefaultOptions()} }

func measured(c heart.Clip) result.Loop {
	l := c.Loop()
	Loop(&l, options())
	return l
}

func find(t *testing.T, ms []result.Measurement, name string) result.Measurement {
	t.Helper()
	i := slices.IndexFunc(ms, func(m result.Measurement) bool { return m.Name == name })
	if i < 0 {
		t.Fatalf("no %s among the measurements", name)
	}
	return ms[i]
}

func measure(t *testing.T, ms []result.Measurement, name string) float64 {
	t.Helper()
	m := find(t, ms, name)
	if m.Value == nil {
		t.Fatalf("%s was not measured: %v", name, m.Reason)
	}
	return *m.Value
}

func near(t *testing.T, what string, got, want, to float64) {
	t.Helper()
	if !(math.Abs(got-want) <= to) {
		t.Errorf("%s = %.2f, want %.2f within %.2f", what, got, want, to)
	}
}

// A heart of 117.81 mL (half an ellipsoid, 50 mm wide, 90 mm long) that ejects
// 60 % keeps 47.12 mL: 35.5 mm wide and 71.6 mm long.
func TestLoop(t *testing.T) {
	l := measured(heart.Clip{Beats: heart.Regular(60, 60, 117.81, 4), FPS: 50, Start: 700})
	near(t, "EF", measure(t, l.Measurements, result.EF), 60, 0.5)
	near(t, "EDV", measure(t, l.Measurements, result.EDV), 117.81, 1)
	near(t, "ESV", measure(t, l.Measurements, result.ESV), 47.12, 0.8)
	near(t, "SV", measure(t, l.Measurements, result.SV), 70.69, 1)
	near(t, "length ED", measure(t, l.Measurements, result.LenED), 9, 0.05)
	near(t, "length ES", measure(t, l.Measurements, result.LenES), 7.16, 0.05)
	near(t, "heart rate", measure(t, l.Measurements, result.HR), 60, 1)
}

// What is measured depends on the result alone: a loop that was read back from
// JSON, or measured before, gives the same, to the byte.
func TestMeasuringIsPure(t *testing.T) {
	four := heart.Clip{Beats: heart.Regular(70, 55, 117.81, 4), FPS: 40, Start: 500, Noise: 0.01, Seed: 1}
	two := four
	two.View, two.Wide, two.Seed = "A2C", 1.1, 2
	once := result.Study{StudyInstanceUID: "1.2.3", Loops: []result.Loop{measured(four), measured(two)}}
	Study(&once, options())
	first, err := json.Marshal(once)
	if err != nil {
		t.Fatal(err)
	}
	var again result.Study
	if err := json.Unmarshal(first, &again); err != nil {
		t.Fatal(err)
	}
	for i := range again.Loops {
		Loop(&again.Loops[i], options())
	}
	Study(&again, options())
	second, err := json.Marshal(again)
	if err != nil {
		t.Fatal(err)
	}
	// Contours keep a thousandth of a pixel in JSON.
	near(t, "EF", measure(t, again.Measurements, result.EF), measure(t, once.Measurements, result.EF), 0.02)
	var third result.Study
	if err := json.Unmarshal(second, &third); err != nil {
		t.Fatal(err)
	}
	Study(&third, options())
	if b, err := json.Marshal(third); err != nil || !bytes.Equal(b, second) {
		t.Errorf("a combination of the same results differs (%v)", err)
	}
}
