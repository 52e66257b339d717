package measure

import (
	"fmt"
	"strings"
	"testing"

	"github.com/echonode/echonode/pipeline/measure/heart"
	"github.com/echonode/echonode/pipeline/result"
)

// Planes of one state at rest are one stage, whatever it is called; what may be under
// load is never put to them, and EF says where the other plane lies.
func TestOneStateAtRest(t *testing.T) {
	at := func(view string, seed uint64, number int, name string) result.Loop {
		l := plane(view, seed)
		l.StageNumber, l.Stage = number, name
		return l
	}
	view := func(view string, seed uint64, number int, name string) result.Loop {
		l := at(view, seed, number, "")
		l.StageView = name
		return l
	}
	stress := view("A2C", 2, 2, "A2C")
	stress.Warnings = []result.Reason{{Code: result.StageUnknown}}
	for name, tt := range map[string]struct {
		loops []result.Loop
		want  string // number, name and method of each EF; "!" where another stage has the other plane
	}{
		"two words":               {[]result.Loop{at("A4C", 1, 1, "Baseline"), at("A2C", 2, 1, "REST")}, "1 Baseline biplane"},
		"two numbers":             {[]result.Loop{at("A2C", 1, 2, "REST"), at("A4C", 2, 1, "REST")}, "1 REST biplane"},
		"numbered words":          {[]result.Loop{at("A4C", 1, 0, "Rest 1"), at("A2C", 2, 0, "Rest 2")}, "0 Rest 1 biplane"},
		"with the view":           {[]result.Loop{at("A4C", 1, 0, "Rest A4C"), at("A2C", 2, 0, "REST - A2C")}, "0 Rest A4C biplane"},
		"before stress":           {[]result.Loop{at("A4C", 1, 1, "Baseline"), at("A2C", 2, 2, "Rest"), at("A4C", 3, 3, "Peak")}, "1 Baseline biplane, 3 Peak single-plane"},
		"stress between":          {[]result.Loop{at("A4C", 1, 1, "Rest"), at("A4C", 3, 2, "Peak"), at("A2C", 2, 3, "Rest")}, "1 Rest (1) single-plane!, 2 Peak single-plane, 3 Rest (3) single-plane!"},
		"stress without a number": {[]result.Loop{at("A4C", 1, 1, "Rest"), at("A4C", 3, 0, "Peak"), at("A2C", 2, 2, "Baseline")}, "1 Rest single-plane!, 0 Peak single-plane, 2 Baseline single-plane!"},
		"more than rest":          {[]result.Loop{at("A4C", 1, 0, "Rest"), at("A2C", 2, 0, "Rest leg raised")}, "0 Rest single-plane!, 0 Rest leg raised single-plane!"},
		"both have the view":      {[]result.Loop{at("A4C", 1, 1, "Rest"), at("A4C", 3, 2, "Rest"), at("A2C", 2, 2, "Rest")}, "1 Rest (1) single-plane!, 2 Rest (2) biplane"},
		"peak has the plane":      {[]result.Loop{at("A4C", 1, 1, "Rest"), at("A2C", 2, 2, "Peak")}, "1 Rest single-plane, 2 Peak single-plane"},
		"only a number":           {[]result.Loop{at("A4C", 1, 1, ""), at("A2C", 2, 2, "")}, "1 Stage 1 single-plane!, 2 Stage 2 single-plane"},
		"views as stages":         {[]result.Loop{view("A4C", 1, 1, "A4C"), view("A2C", 2, 2, "A2C")}, "0  biplane"},
		"one without a number":    {[]result.Loop{view("A4C", 1, 1, "A4C"), view("A2C", 2, 2, "A2C"), at("A4C", 3, 0, "")}, "0  biplane"},
		"views twice":             {[]result.Loop{view("A4C", 1, 1, "A4C"), view("A2C", 2, 2, "A2C"), view("A4C", 3, 3, "A4C")}, "1 Stage 1 single-plane!, 2 Stage 2 single-plane, 3 Stage 3 single-plane"},
		"one number of two":       {[]result.Loop{view("A4C", 1, 2, "A4C"), view("A2C", 2, 2, "A2C")}, "2 Stage 2 biplane"},
		"views beside stress":     {[]result.Loop{view("A4C", 1, 1, "A4C"), stress}, "1 Stage 1 single-plane!, 2 Stage 2 single-plane"},
		"views beside a stage":    {[]result.Loop{view("A4C", 1, 1, "A4C"), view("A2C", 2, 2, "A2C"), at("A4C", 3, 3, "Peak")}, "1 Stage 1 single-plane!, 2 Stage 2 single-plane, 3 Peak single-plane"},
	} {
		s := combined(tt.loops...)
		var got []string
		for i := range s.Measurements {
			if m := &s.Measurements[i]; m.Name == result.EF && m.Value != nil {
				said := fmt.Sprintf("%d %s %s", m.StageNumber, m.Stage, strings.Fields(m.Method)[0])
				if warned(m, result.OtherStage, "is of another stage (") {
					said += "!"
				}
				got = append(got, said)
			}
		}
		if got := strings.Join(got, ", "); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
		for i := range s.Loops {
			stage := s.StageOf(&s.Loops[i])
			found := false
			for _, m := range s.Measurements {
				for _, src := range m.Sources {
					found = found || src.SOPInstanceUID == s.Loops[i].SOPInstanceUID && m.Stage == stage
				}
			}
			if !found && name != "one without a number" {
				t.Errorf("%s: no value of loop %d is told under %q", name, i, stage)
			}
		}
	}
}

func TestOnlyRest(t *testing.T) {
	for name, want := range map[string]bool{"REST": true, "Baseline": true, "At rest": true, "Rest 2": true, "REST1": true, "Rest (A4C)": true, "In Ruhe": true,
		"In rust": true, "Resting State": true, "Baseline (Stage 1)": true, "Au repos": true, "Rest supine": false, "Rest 2 min": false, "pacing off": false,
		"Pre-Exercise": false, "Rest post ex": false, "Peak": false, "": false, "A4C": false, "Baseline dobutamine": false, "Rest 120": false} {
		if got := onlyRest(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

// A heart that is faster at rest than under stress speaks against the stages.
func TestFasterAtRest(t *testing.T) {
	at := func(stage string, rate float64, seed uint64) result.Loop {
		l := heart.Clip{Beats: heart.Regular(rate, 55, 117.81, 5), FPS: 50, Start: 200, Seed: seed}.Loop()
		l.Stage = stage
		Loop(&l, options())
		return l
	}
	for name, tt := range map[string]struct {
		other       string
		rest, under float64
		want        bool
	}{"as usual": {"Peak", 70, 120, false}, "mixed up": {"Peak", 120, 70, true}, "alike": {"Low dose", 75, 70, false}, "recovery": {"Recovery", 120, 70, false}} {
		s := &result.Study{Loops: []result.Loop{at("REST", tt.rest, 1), at(tt.other, tt.under, 2)}}
		Study(s, options())
		for i := range s.Measurements {
			m := &s.Measurements[i]
			if m.Value == nil || m.Name != result.EF && m.Name != result.HR && m.Name != result.EDV && m.Name != result.CO {
				continue
			}
			if got := warned(m, result.StageUnknown, "are the stages right?"); got != (tt.want && m.Stage == "REST") || got && m.Quality.Grade == result.Good {
				t.Errorf("%s: %s of %s: %+v", name, m.Name, m.Stage, m.Quality)
			}
		}
	}
}

// A study without a measured loop tells the reasons in words, the most frequent first.
func TestWhyNothingIsMeasured(t *testing.T) {
	for want, texts := range map[string][]string{
		"it holds no image": nil, "view PSAX is not measured": {"view PSAX is not measured", "view PSAX is not measured"},
		"b (2 loops); a": {"a", "b", "b"},
		"c (3 loops); a; b; 2 more for other reasons": {"a", "b", "c", "c", "c", "d", "e"},
	} {
		s := &study{}
		for _, text := range texts {
			s.loops = append(s.loops, &loop{Loop: &result.Loop{Reason: &result.Reason{Text: text}}})
		}
		if got := s.why(); got != want {
			t.Errorf("%v: %q, want %q", texts, got, want)
		}
	}
}
