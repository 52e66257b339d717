package output

import (
	"testing"
	"time"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/pipeline/result"
)

func TestPageSaysWhetherAReaderSigned(t *testing.T) {
	signed := func(verdict, organisation string) *result.Review {
		return &result.Review{Verdict: verdict, Name: "Reader^Rita", Organisation: organisation, Time: time.Date(2026, 3, 4, 5, 6, 0, 0, time.UTC)}
	}
	for want, review := range map[string]*result.Review{
		"UNVERIFIED result of artificial intelligence. Not for diagnosis without review.":                                    nil,
		"Result of artificial intelligence, accepted and VERIFIED by a reader: Reader, Rita, Clinic, 2026-03-04 05:06 +0000": signed(result.Accepted, "Clinic"),
		"Result of artificial intelligence, corrected and VERIFIED by a reader: Reader, Rita, 2026-03-04 05:06 +0000":        signed(result.Corrected, ""),
	} {
		w := &writer{s: &result.Study{Review: review}, patient: &dicomio.DataSet{}}
		p := w.page(stage{})
		if p.Notice != want {
			t.Errorf("the page says %q, want %q", p.Notice, want)
		}
	}
}
