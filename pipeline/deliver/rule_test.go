package deliver

import (
	"slices"
	"testing"
	"time"

	"github.com/echonode/echonode/pipeline/result"
)

func TestRules(t *testing.T) {
	value := func(v float64) *float64 { return &v }
	age := func(n int) *result.Subject { return &result.Subject{AgeYears: &n} }
	at := func(s string) time.Time {
		x, err := time.Parse("15:04", s)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	rest := &result.Study{Subject: age(60), Loops: []result.Loop{{Stage: "Rest"}}, Measurements: []result.Measurement{{Name: result.EF, Value: value(35)}}}
	stress := &result.Study{Loops: []result.Loop{{Stage: "Rest"}, {Stage: "Peak Dose"}},
		Measurements: []result.Measurement{{Name: result.EF, Stage: "Peak Dose", Value: value(70)}, {Name: result.EF, Stage: "Rest", Value: value(55)}}}
	child := &result.Study{Subject: age(9), Measurements: []result.Measurement{{Name: result.EF}, {Name: result.HR, Value: value(90)}}}
	for _, c := range []struct {
		name string
		when Condition
		f    Facts
		want bool
	}{
		{"nothing asked", Condition{}, Facts{Study: rest}, true},
		{"from", Condition{From: []string{"VIVID", "EPIQ"}}, Facts{Study: rest, From: []string{"EPIQ"}}, true},
		{"from another", Condition{From: []string{"VIVID"}}, Facts{Study: rest, From: []string{"EPIQ"}}, false},
		{"network", Condition{Networks: []string{"10.2.0.0/16", "10.1.0.0/16"}}, Facts{Study: rest, Sender: "10.1.2.3"}, true},
		{"network, another", Condition{Networks: []string{"10.2.0.0/16"}}, Facts{Study: rest, Sender: "10.1.2.3"}, false},
		{"network, an address mapped into IPv6", Condition{Networks: []string{"10.1.2.3"}}, Facts{Study: rest, Sender: "::ffff:10.1.2.3"}, true},
		{"network, IPv6 with a zone", Condition{Networks: []string{"fe80::/10"}}, Facts{Study: rest, Sender: "fe80::1%eth0"}, true},
		{"network unknown", Condition{Networks: []string{"0.0.0.0/0"}}, Facts{Study: rest}, false},
		{"adult", Condition{Age: "18-"}, Facts{Study: rest}, true},
		{"adult, a child", Condition{Age: "18-"}, Facts{Study: child}, false},
		{"child", Condition{Age: "0-17"}, Facts{Study: child}, true},
		{"age unknown", Condition{Age: "0-200"}, Facts{Study: stress}, false},
		{"stress", Condition{Stress: "yes"}, Facts{Study: stress}, true},
		{"no stress", Condition{Stress: "no"}, Facts{Study: stress}, false},
		{"rest only", Condition{Stress: "no"}, Facts{Study: rest}, true},
		{"measured", Condition{Result: "measured"}, Facts{Study: rest}, true},
		{"a heart rate is no result", Condition{Result: "nothing"}, Facts{Study: child}, true},
		{"low EF", Condition{EF: "-40"}, Facts{Study: rest}, true},
		{"EF of rest, not of peak", Condition{EF: "60-"}, Facts{Study: stress}, false},
		{"no EF", Condition{EF: "-40"}, Facts{Study: child}, false},
		{"by day", Condition{Hours: "07:00-19:00"}, Facts{Study: rest, Ready: at("07:00")}, true},
		{"by day, in the evening", Condition{Hours: "07:00-19:00"}, Facts{Study: rest, Ready: at("19:00")}, false},
		{"by night", Condition{Hours: "19:00-07:00"}, Facts{Study: rest, Ready: at("03:30")}, true},
		{"by night, at noon", Condition{Hours: "19:00-07:00"}, Facts{Study: rest, Ready: at("12:00")}, false},
		{"all of them", Condition{Age: "18-", EF: "-40", Stress: "no"}, Facts{Study: rest}, true},
		{"one of them not", Condition{Age: "18-", EF: "50-"}, Facts{Study: rest}, false},
	} {
		if err := c.when.Check(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := c.when.holds(c.f); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	rules := []Rule{{When: Condition{Result: "nothing"}}, {When: Condition{Age: "18-"}, Send: []string{"report"}}}
	for _, c := range []struct {
		s    *result.Study
		want []string
		rule int
	}{{child, nil, 1}, {rest, []string{"report"}, 2}, {stress, []string{"report", "overlay"}, 0}} {
		if got, rule := Choose(rules, []string{"report", "overlay"}, Facts{Study: c.s}); !slices.Equal(got, c.want) || rule != c.rule {
			t.Errorf("rule %d: %v, want %d: %v", rule, got, c.rule, c.want)
		}
	}
	for _, bad := range []Condition{{Age: "18"}, {Age: "a-b"}, {Age: "20-10"}, {EF: "-"}, {Hours: "7-19"}, {Hours: "25:00-26:00"}, {Hours: "07:00-07:00"},
		{Networks: []string{"10.1"}}, {Stress: "maybe"}, {Result: "some"}} {
		if bad.Check() == nil {
			t.Errorf("%+v passes", bad)
		}
	}
}
