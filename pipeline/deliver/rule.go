package deliver

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/echonode/echonode/pipeline/quantity"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/sr"
)

// Rule says what a destination gets of studies for which all of its conditions
// hold.
type Rule struct {
	When Condition `yaml:"when"`
	// Send are the kinds of output, see package result; none is nothing.
	Send []string `yaml:"send"`
}

// Condition is a set of conditions on a study; those that are empty hold always.
type Condition struct {
	// From: an object of the study was sent by one of these AE titles.
	From []string `yaml:"from"`
	// Networks: the first object of the study came from one of these networks
	// (CIDR) or addresses.
	Networks []string `yaml:"networks"`
	// Age is a range of completed years at the study, "0-17" or "18-"; it does
	// not hold where the age is unknown.
	Age string `yaml:"age"`
	// Stress is "yes" for studies with another stage than rest, "no" for others.
	Stress string `yaml:"stress"`
	// Result is "measured" or "nothing": whether any value was measured.
	Result string `yaml:"result"`
	// EF is a range of the ejection fraction at rest in per cent, "-40"; it does
	// not hold where none was measured.
	EF string `yaml:"ef"`
	// Hours is a range of the time of day, local, at which the results are
	// ready: "07:00-19:00", or over midnight "19:00-07:00".
	Hours string `yaml:"hours"`
}

// Facts are what conditions are held against.
type Facts struct {
	From   []string // calling AE titles
	Sender string   // address that the first object came from, "" where that is not known
	Study  *result.Study
	Ready  time.Time // local
}

// Choose gives the kinds of output that a destination gets: those of the first
// rule whose conditions hold, otherwise the usual ones. rule is its number from
// 1, 0 for none.
func Choose(rules []Rule, usual []string, f Facts) (kinds []string, rule int) {
	for i, r := range rules {
		if r.When.holds(f) {
			return r.Send, i + 1
		}
	}
	return usual, 0
}

// Check says what is wrong with the conditions.
func (c Condition) Check() error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", key, fmt.Sprintf(format, args...)))
	}
	for key, v := range map[string]string{"age": c.Age, "ef": c.EF} {
		if _, _, err := numbers(v); err != nil {
			bad(key, "%v", err)
		}
	}
	if _, err := Prefixes(c.Networks); err != nil {
		bad("networks", "%v", err)
	}
	if _, _, err := hours(c.Hours); err != nil {
		bad("hours", "%v", err)
	}
	if !slices.Contains([]string{"", "yes", "no"}, c.Stress) {
		bad("stress", "%q is not yes or no", c.Stress)
	}
	if !slices.Contains([]string{"", "measured", "nothing"}, c.Result) {
		bad("result", "%q is not measured or nothing", c.Result)
	}
	return errors.Join(errs...)
}

func (c Condition) holds(f Facts) bool {
	if len(c.From) > 0 && !slices.ContainsFunc(f.From, func(a string) bool { return slices.Contains(c.From, a) }) {
		return false
	}
	if len(c.Networks) > 0 {
		at, err1 := netip.ParseAddr(f.Sender)
		networks, err2 := Prefixes(c.Networks)
		if err1 != nil || err2 != nil || !slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(at.Unmap().WithZone("")) }) {
			return false
		}
	}
	if c.Age != "" {
		if s := f.Study.Subject; s == nil || s.AgeYears == nil || !within(c.Age, float64(*s.AgeYears)) {
			return false
		}
	}
	if c.EF != "" {
		if ef := quantity.RestingEF(f.Study.Measurements); ef == nil || !within(c.EF, *ef.Value) {
			return false
		}
	}
	if c.Stress != "" && (c.Stress == "yes") != stressed(f.Study) {
		return false
	}
	if c.Result != "" && (c.Result == "measured") != measured(f.Study) {
		return false
	}
	if c.Hours != "" {
		from, to, err := hours(c.Hours)
		at := f.Ready.Hour()*60 + f.Ready.Minute()
		if err != nil || from <= to && (at < from || at >= to) || from > to && at < from && at >= to {
			return false
		}
	}
	return true
}

// Prefixes reads networks; a bare address is itself.
func Prefixes(networks []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range networks {
		if p, err := netip.ParsePrefix(s); err == nil {
			out = append(out, p.Masked())
			continue
		}
		a, err := netip.ParseAddr(s)
		if err != nil {
			return nil, fmt.Errorf("%q is neither an address nor a network such as 10.1.0.0/16", s)
		}
		out = append(out, netip.PrefixFrom(a, a.BitLen()))
	}
	return out, nil
}

// measured reports whether a value was measured, heart rate aside.
func measured(s *result.Study) bool {
	return slices.ContainsFunc(s.Measurements, func(m result.Measurement) bool { return m.Value != nil && m.Name != result.HR })
}

func stressed(s *result.Study) bool {
	return slices.ContainsFunc(s.Loops, func(l result.Loop) bool { return !sr.StageOf(l.Stage).AtRest() })
}

// numbers reads a range "a-b", "a-" or "-b"; "" is everything.
func numbers(s string) (lo, hi float64, err error) {
	lo, hi = 0, 1e9
	if s == "" {
		return lo, hi, nil
	}
	from, to, ok := strings.Cut(s, "-")
	if !ok || from == "" && to == "" {
		return 0, 0, fmt.Errorf("%q is not a range such as 18-, -17 or 40-60", s)
	}
	if from != "" {
		if lo, err = strconv.ParseFloat(from, 64); err != nil {
			return 0, 0, fmt.Errorf("%q is not a number", from)
		}
	}
	if to != "" {
		if hi, err = strconv.ParseFloat(to, 64); err != nil {
			return 0, 0, fmt.Errorf("%q is not a number", to)
		}
	}
	if lo > hi {
		return 0, 0, fmt.Errorf("%q ends before it begins", s)
	}
	return lo, hi, nil
}

// within reports whether v lies in a range, both ends included.
func within(s string, v float64) bool {
	lo, hi, err := numbers(s)
	return err == nil && v >= lo && v <= hi
}

// hours reads a range of the time of day, in minutes.
func hours(s string) (from, to int, err error) {
	if s == "" {
		return 0, 24 * 60, nil
	}
	a, b, ok := strings.Cut(s, "-")
	t1, err1 := time.Parse("15:04", a)
	t2, err2 := time.Parse("15:04", b)
	if !ok || err1 != nil || err2 != nil || t1.Equal(t2) {
		return 0, 0, fmt.Errorf("%q is not a range such as 07:00-19:00", s)
	}
	return t1.Hour()*60 + t1.Minute(), t2.Hour()*60 + t2.Minute(), nil
}
