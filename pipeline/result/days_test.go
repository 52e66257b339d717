package result

import (
	"slices"
	"testing"
)

// Days are compared by one attribute: the day of writing of a recoded loop is not
// that on which another was recorded.
func TestDays(t *testing.T) {
	at := func(acquisition, content, study string) *Loop {
		d := Dates{acquisition, content, study}
		l := &Loop{Dates: d}
		for _, s := range []string{acquisition, content, study} {
			if l.Date == "" {
				l.Date = s
			}
		}
		return l
	}
	before := &Loop{Date: "20260105"}
	for name, tc := range map[string]struct {
		loops []*Loop
		want  []string
	}{
		"both acquired":       {[]*Loop{at("20260102", "20260201", "20260101"), at("20260103", "20260101", "20260101")}, []string{"20260102", "20260103"}},
		"one recoded":         {[]*Loop{at("20260102", "", "20260101"), at("", "20260301", "20260101")}, []string{"20260101", "20260101"}},
		"by content":          {[]*Loop{at("20260102", "20260102", ""), at("", "20260301", "20260101")}, []string{"20260102", "20260301"}},
		"nothing in common":   {[]*Loop{at("20260102", "", ""), at("", "", "20260101")}, []string{"", ""}},
		"one says nothing":    {[]*Loop{at("20260102", "", ""), {}}, []string{"20260102", ""}},
		"a result of before":  {[]*Loop{at("20260102", "", ""), before}, []string{"20260102", "20260105"}},
		"none":                {nil, []string{}},
		"three, one recoded":  {[]*Loop{at("20260102", "", "20260101"), at("20260109", "", "20260101"), at("", "", "20260101")}, []string{"20260101", "20260101", "20260101"}},
		"one loop, all of it": {[]*Loop{at("20260102", "20260103", "20260104")}, []string{"20260102"}},
	} {
		if got := Days(tc.loops...); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}
