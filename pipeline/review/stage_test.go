package review

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/pipeline/store"
)

// A study whose ejection fraction at rest was refused has none on the worklist,
// whatever was measured under stress.
func TestWorklistEFIsAtRest(t *testing.T) {
	low, normal := 35.0, 62.0
	refused := result.Measurement{Name: result.EF, Stage: "Rest", Reason: &result.Reason{Code: "x"}}
	stress := result.Measurement{Name: result.EF, Stage: "Peak", Value: &low}
	for name, tc := range map[string]struct {
		ms    []result.Measurement
		ef    *float64
		flags store.Flags
	}{
		"rest refused":         {[]result.Measurement{refused, stress}, nil, store.NotMeasured},
		"stress comes first":   {[]result.Measurement{stress, {Name: result.EF, Stage: "Baseline", Value: &normal}}, &normal, 0},
		"stages without names": {[]result.Measurement{{Name: result.EF, Value: &low}}, &low, store.ReducedEF},
	} {
		summary, err := json.Marshal(map[string]any{"measurements": tc.ms})
		if err != nil {
			t.Fatal(err)
		}
		var l store.Listing
		if err := summarize(store.Run{Summary: string(summary)}, &l); err != nil {
			t.Fatal(err)
		}
		if (l.EF == nil) != (tc.ef == nil) || l.EF != nil && *l.EF != *tc.ef || l.Flags != tc.flags {
			t.Errorf("%s: %+v", name, l)
		}
	}
}

func TestStagesOfStudy(t *testing.T) {
	var s result.Study
	for _, stage := range []string{"Rest post", "Peak", "Pre-stress", "", "Peak"} {
		s.Measurements = append(s.Measurements, result.Measurement{Name: result.EF, Stage: stage})
	}
	if got, want := stagesOf(&s), []string{"Pre-stress", "", "Peak", "Rest post"}; !slices.Equal(got, want) {
		t.Errorf("stages %q, want %q", got, want)
	}
}

// Adults are compared with adults, children with children of their size where that
// is published, and nobody under stress.
func TestNormalRanges(t *testing.T) {
	all, _, err := loadWords()
	if err != nil {
		t.Fatal(err)
	}
	years := func(n int) *int { return &n }
	child := &result.Subject{AgeYears: years(7), HeightCM: 115, WeightKG: 20}
	for name, tc := range map[string]struct {
		quantity, stage string
		subject         *result.Subject
		want            string
	}{
		"an adult":                {result.EDV, "", &result.Subject{AgeYears: years(40)}, "62.0–150.0"},
		"of unknown age":          {result.EDV, "Rest", nil, "62.0–150.0"},
		"under stress":            {result.EDV, "Peak", nil, ""},
		"a child":                 {result.EDV, "", child, "28.4–64.0"}, // (62.02 -+ 2*11.94) * 0.797^1.3
		"a child of unknown size": {result.EDV, "", &result.Subject{AgeYears: years(7)}, ""},
		"not published":           {result.ESV, "", child, ""},
		"a name of no row":        {"x", "", nil, ""},
	} {
		if got := normal(all["en"], result.Measurement{Name: tc.quantity, Stage: tc.stage}, tc.subject, "M"); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
		m := result.Measurement{Name: tc.quantity, Stage: tc.stage, Quality: result.Quality{Grade: result.Poor}}
		if got := normal(all["en"], m, tc.subject, "M"); got != "" {
			t.Errorf("%s, contradicted: %q", name, got)
		}
	}
}
