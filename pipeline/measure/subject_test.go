package measure

import (
	"strings"
	"testing"

	"github.com/echonode/echonode/pipeline/result"
)

// The last object that says a thing counts; what cannot be one person's is left
// out with a doubt.
func TestSubjectOf(t *testing.T) {
	person := func(age int, height, weight float64, doubts ...result.Reason) result.Loop {
		s := &result.Subject{Key: "k", HeightCM: height, WeightKG: weight, Doubts: doubts}
		if age >= 0 {
			s.AgeYears = &age
		}
		return result.Loop{Subject: s}
	}
	wrong := result.Reason{Code: result.BodySize, Text: "Patient's Size of 110 m is no person's"}
	noAge := result.Reason{Code: result.PatientAge, Text: "the birth date lies after the study"}
	const nothing = ": nothing is indexed by the body surface"
	for name, tc := range map[string]struct {
		loops          []result.Loop
		age            int
		height, weight float64
		doubts         string
	}{
		"pieces":            {[]result.Loop{person(-1, 0, 70), {}, person(50, 170, 70)}, 50, 170, 70, ""},
		"corrected":         {[]result.Loop{person(50, 180, 80), person(50, 180, 92)}, 50, 180, 92, "the objects differ in the patient's weight (80, 92 kg): 92 kg of the last object counts"},
		"rounded":           {[]result.Loop{person(50, 180, 80), person(51, 181, 79)}, 51, 181, 79, ""},
		"two sizes":         {[]result.Loop{person(6, 110, 19), person(6, 170, 70)}, 6, 0, 0, "the objects differ in the patient's height (110, 170 cm)" + nothing + "|the objects differ in the patient's weight (19, 70 kg)" + nothing},
		"infant's weights":  {[]result.Loop{person(0, 50, 2.5), person(0, 50, 3.4)}, 0, 0, 0, "the objects differ in the patient's weight (2.5, 3.4 kg)" + nothing},
		"hectograms":        {[]result.Loop{person(6, 110, 190)}, 6, 0, 0, "a weight of 190 kg does not belong to a height of 110 cm (body mass index 157)" + nothing},
		"digits exchanged":  {[]result.Loop{person(6, 110, 91)}, 6, 0, 0, "a weight of 91 kg does not belong to a height of 110 cm (body mass index 75)" + nothing},
		"heavy adult":       {[]result.Loop{person(40, 170, 200)}, 40, 170, 200, ""},
		"heaviest":          {[]result.Loop{person(-1, 170, 220)}, -1, 0, 0, "a weight of 220 kg does not belong to a height of 170 cm (body mass index 76)" + nothing},
		"thin":              {[]result.Loop{person(40, 180, 18)}, 40, 0, 0, "a weight of 18 kg does not belong to a height of 180 cm (body mass index 6)" + nothing},
		"tall child":        {[]result.Loop{person(3, 125, 20)}, 3, 0, 0, "a height of 125 cm is not that of a child aged 3" + nothing},
		"tallest child":     {[]result.Loop{person(3, 120, 20)}, 3, 120, 20, ""},
		"premature":         {[]result.Loop{person(0, 35, 1)}, 0, 35, 1, "a body surface of 0.10 m2 is less than healthy newborns have: there are no z-scores"},
		"newborn":           {[]result.Loop{person(0, 50, 3.4)}, 0, 50, 3.4, ""},
		"cm, then right":    {[]result.Loop{person(6, 0, 19, wrong), person(6, 110, 19)}, 6, 110, 19, ""},
		"cm in all":         {[]result.Loop{person(6, 0, 19, wrong), person(6, 0, 19, wrong)}, 6, 0, 19, wrong.Text},
		"an age, none":      {[]result.Loop{person(-1, 180, 80, noAge), person(40, 180, 80)}, 40, 180, 80, ""},
		"two adults":        {[]result.Loop{person(45, 180, 80), person(60, 180, 80)}, 60, 180, 80, "the objects differ in the patient's age (45, 60 years): 60 years of the last object count"},
		"a child, an adult": {[]result.Loop{person(45, 180, 80), person(12, 180, 80)}, -1, 180, 80, "the objects differ in the patient's age (12, 45 years): no value is compared with a normal range"},
	} {
		s := subjectOf(tc.loops)
		var texts []string
		for _, d := range s.Doubts {
			texts = append(texts, d.Text)
		}
		age := -1
		if s.AgeYears != nil {
			age = *s.AgeYears
		}
		if age != tc.age || s.HeightCM != tc.height || s.WeightKG != tc.weight || strings.Join(texts, "|") != tc.doubts {
			t.Errorf("%s: age %d, %g cm, %g kg, %q", name, age, s.HeightCM, s.WeightKG, texts)
		}
		if contradicted := name == "a child, an adult"; s.Adult() != (age < 0 && !contradicted || age >= 18) || s.Child() != (age >= 0 && age < 18) {
			t.Errorf("%s: adult %v, child %v", name, s.Adult(), s.Child())
		}
	}
	if s := subjectOf([]result.Loop{{}}); s != nil || !s.Adult() || s.Child() || s.SizeDoubt() != nil {
		t.Errorf("of nobody: %+v", s)
	}
}
