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
