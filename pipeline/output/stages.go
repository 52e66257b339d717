package output

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/sr"
)

// Stages of a stress examination in the report.
const (
	// StagesRest codes the values at rest only; the other stages are told in
	// words. Importers that know no stages then store the resting value,
	// whether they take the first, the last or any value of a code.
	StagesRest = "rest"
	// StagesSeparate makes one report for each stage, that at rest first.
	StagesSeparate = "separate"
	// StagesAll codes all stages in one report, rest first and marked as
	// preferred.
	StagesAll = "all"
)

// stage is the values of one stage of the examination.
type stage struct {
	name         string // as in the result; empty when the loops name none
	number       int    // Stage Number (0008,2122) of its loops; 0 for none
	code         sr.Stage
	measurements []result.Measurement
}

// unknown says that nobody knows what the stage's name means; "" where it is known,
// or there is none.
func (st stage) unknown() string {
	if st.code != 0 || st.name == "" {
		return ""
	}
	return fmt.Sprintf("The stage is called %q, which is no known name: its values are taken for those at rest.", st.name)
}

// compared reports whether a value is held against a normal range: those at rest are,
// but for what something in the study contradicts.
func (st stage) compared(m result.Measurement) bool {
	return st.code.AtRest() && m.Quality.Grade != result.Poor
}

// stagesOf sorts a study's values by stage: rest first, then what has no known
// name, stress, peak and recovery, and within them by number.
func stagesOf(s *result.Study) []stage {
	var out []stage
	for _, m := range s.Measurements {
		i := slices.IndexFunc(out, func(st stage) bool { return st.name == m.Stage })
		if i < 0 {
			i = len(out)
			out = append(out, stage{name: m.Stage, number: m.StageNumber, code: sr.StageOf(m.Stage)})
		}
		out[i].measurements = append(out[i].measurements, m)
	}
	slices.SortStableFunc(out, func(a, b stage) int {
		return cmp.Or(sr.CompareStages(a.code, b.code), cmp.Compare(a.number, b.number))
	})
	return out
}
