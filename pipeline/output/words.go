package output

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/quantity"
	"github.com/echonode/echonode/pipeline/result"
)

// statistics of a value over beats: how it was derived, and its spread.
type statistics struct {
	n              int
	mean, median   float64
	sd, least, top float64
}

func statisticsOf(beats []float64) statistics {
	s := lv.Summarize(beats)
	sorted := slices.Sorted(slices.Values(beats))
	out := statistics{n: s.N, mean: s.Mean, sd: s.SD, least: s.Min, top: s.Max}
	if n := len(sorted); n > 0 {
		out.median = (sorted[(n-1)/2] + sorted[n/2]) / 2
	}
	return out
}

// isMean and isMedian tell how a value came from its beats, to a tenth of a
// per cent of it.
func (s statistics) isMean(v float64) bool { return s.n > 1 && math.Abs(v-s.mean) <= 0.001*math.Abs(v) }
func (s statistics) isMedian(v float64) bool {
	return s.n > 1 && math.Abs(v-s.median) <= 0.001*math.Abs(v)
}

// spread says from how many beats a value is and how they differ: "mean of 3
// beats, SD 1 %, 58 to 61 %".
func spread(m result.Measurement) string {
	how, of := spreadOf(m)
	if how == "" {
		return ""
	}
	return how + ", " + of
}

// spreadOf is spread in its two parts: how the value is made of how many beats, and
// how they differ.
func spreadOf(m result.Measurement) (how, of string) {
	q, ok := quantity.Of(m.Name)
	if !ok || m.Value == nil || len(m.Beats) < 2 {
		return "", ""
	}
	s := statisticsOf(m.Beats)
	how = "from"
	switch {
	case s.isMean(*m.Value):
		how = "mean of"
	case s.isMedian(*m.Value):
		how = "median of"
	}
	how = fmt.Sprintf("%s %d beats", how, s.n)
	if q.Format(s.least) == q.Format(s.top) {
		return how, "which are alike"
	}
	unit := q.UnitText()
	if unit != "" {
		unit = " " + unit
	}
	return how, fmt.Sprintf("SD %s%s, %s to %s%s", q.Format(s.sd), unit, q.Format(s.least), q.Format(s.top), unit)
}

// spreads are the spreads of several values, a sentence for each number of beats:
// "mean of 3 beats: EDV SD 2.1 mL, 88.0 to 91.9 mL; LV length ED, LV length ES alike".
func spreads(ms []result.Measurement) (out []string) {
	differ, alike := newGroups(), newGroups()
	var order []string
	for _, m := range ms {
		how, of := spreadOf(m)
		if how == "" {
			continue
		}
		if !slices.Contains(order, how) {
			order = append(order, how)
		}
		if strings.HasPrefix(of, "SD") {
			differ.add(how, m.Name+" "+of)
		} else {
			alike.add(how, m.Name)
		}
	}
	for _, how := range order {
		parts := slices.Clone(differ.of[how])
		if names := alike.of[how]; len(names) > 0 {
			parts = append(parts, strings.Join(names, ", ")+" alike")
		}
		out = append(out, how+": "+strings.Join(parts, "; "))
	}
	return out
}

// valueText is a value with name and unit: "EF 59 %".
func valueText(m result.Measurement) string {
	q, ok := quantity.Of(m.Name)
	if !ok || m.Value == nil {
		return m.Name
	}
	return strings.TrimSpace(m.Name + " " + q.Format(*m.Value) + " " + q.UnitText())
}

// severe reports whether a value is too small to be measured, which is an answer
// and no fault.
func severe(m result.Measurement) bool {
	return m.Value == nil && m.Reason != nil && m.Reason.Code == result.SeverelyReduced
}

// years is an age: "7 years", "1 year".
func years(n int) string {
	if n == 1 {
		return "1 year"
	}
	return fmt.Sprintf("%d years", n)
}
