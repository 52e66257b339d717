package measure

import (
	"fmt"
	"slices"
	"strings"

	"github.com/echonode/echonode/pipeline/indices"
	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/result"
)

// Own choice: outside of these body mass indices in kg/m2 a height and a weight are
// not of one person; the second bound is for children of less than so many years.
// Small premature infants have 7, one adult in some ten thousands more than 70, and
// the heaviest children of that age about 40.
const (
	leastMassIndex, mostMassIndex = 6, 75
	mostOfSmall, smallYears       = 45, 12
)

// A child of completed years n is no taller than tallAtBirth + tallPerYear n in cm:
// own choice, 10 to 20 cm above the 97th percentile of the WHO.
const tallAtBirth, tallPerYear = 90, 10

// surfacesDiffer is by what part the body surfaces of a study's objects may differ
// for the last object to count. Own choice: an index would be wrong by as much.
const surfacesDiffer = 0.10

// subjectOf combines what the loops of a study say of the patient: the last that
// says a thing counts, as the one that was corrected. A size that cannot be one
// person's, and ages of which one is a child's, are left out, with a doubt.
func subjectOf(loops []result.Loop) *result.Subject {
	var s *result.Subject
	var ages, heights, weights []float64
	var ageless []result.Reason // why an object has no age
	for i := range loops {
		o := loops[i].Subject
		if o == nil {
			continue
		}
		if s == nil {
			s = &result.Subject{}
		}
		s.Key, s.Person = o.Key, o.Person
		if o.Sex != "" {
			s.Sex = o.Sex
		}
		if o.AgeYears != nil {
			s.AgeYears = o.AgeYears
			ages = append(ages, float64(*o.AgeYears))
		}
		if o.HeightCM > 0 {
			s.HeightCM = o.HeightCM
			heights = append(heights, o.HeightCM)
		}
		if o.WeightKG > 0 {
			s.WeightKG = o.WeightKG
			weights = append(weights, o.WeightKG)
		}
		for _, d := range o.Doubts {
			if d.Code == result.PatientAge && o.AgeYears == nil {
				ageless = append(ageless, d)
			}
			if !slices.Contains(s.Doubts, d) {
				s.Doubts = append(s.Doubts, d)
			}
		}
	}
	if s == nil {
		return nil
	}
	if s.HeightCM > 0 && s.WeightKG > 0 { // what another object had wrong
		s.Doubts = slices.DeleteFunc(s.Doubts, func(r result.Reason) bool { return r.Code == result.BodySize })
	}
	if s.AgeYears != nil { // the same of its age
		s.Doubts = slices.DeleteFunc(s.Doubts, func(r result.Reason) bool { return slices.Contains(ageless, r) })
	}
	oneAge(s, ages)
	oneSize(s, heights, weights)
	return s
}

// oneAge judges the ages that objects of one study give their patient. A birthday
// may lie between them.
func oneAge(s *result.Subject, ages []float64) {
	if len(ages) == 0 || slices.Max(ages)-slices.Min(ages) <= 1 {
		return
	}
	if slices.Min(ages) >= result.AdultAge || slices.Max(ages) < result.AdultAge {
		s.Doubts = append(s.Doubts, differs(result.PatientAge, "age", "years", ages, fmt.Sprintf("%d years of the last object count", *s.AgeYears)))
		return
	}
	s.AgeYears = nil
	s.Doubts = append(s.Doubts, differs(result.PatientAge, "age", "years", ages, "no value is compared with a normal range"))
}

// oneSize judges height and weight: those of several objects, then both together.
func oneSize(s *result.Subject, heights, weights []float64) {
	if len(heights) == 0 || len(weights) == 0 {
		return
	}
	refuse := func(r result.Reason) {
		s.HeightCM, s.WeightKG = 0, 0
		s.Doubts = append(s.Doubts, r)
	}
	const nothing = "nothing is indexed by the body surface"
	least := lv.BSADuBois(slices.Min(weights), slices.Min(heights))
	most := lv.BSADuBois(slices.Max(weights), slices.Max(heights))
	contradict := most > (1+surfacesDiffer)*least
	for _, of := range []struct {
		name, unit string
		values     []float64
		last       float64
	}{{"height", "cm", heights, s.HeightCM}, {"weight", "kg", weights, s.WeightKG}} {
		switch {
		case slices.Max(of.values) == slices.Min(of.values):
		case contradict:
			refuse(differs(result.BodySize, of.name, of.unit, of.values, nothing))
		case slices.Max(of.values)-slices.Min(of.values) <= 1: // rounding
		default:
			s.Doubts = append(s.Doubts, differs(result.BodySize, of.name, of.unit, of.values, fmt.Sprintf("%g %s of the last object counts", of.last, of.unit)))
		}
	}
	if s.HeightCM <= 0 || s.WeightKG <= 0 {
		return
	}
	index := s.WeightKG / (s.HeightCM / 100 * s.HeightCM / 100)
	small := s.AgeYears != nil && *s.AgeYears < smallYears
	switch {
	case index < leastMassIndex || index > mostMassIndex || small && index > mostOfSmall:
		refuse(result.Reasonf(result.BodySize, "a weight of %g kg does not belong to a height of %g cm (body mass index %.0f): %s", s.WeightKG, s.HeightCM,
			index, nothing))
	case s.Child() && s.HeightCM > tallAtBirth+tallPerYear*float64(*s.AgeYears):
		refuse(result.Reasonf(result.BodySize, "a height of %g cm is not that of a child aged %d: %s", s.HeightCM, *s.AgeYears, nothing))
	case s.Child() && lv.BSAHaycock(s.WeightKG, s.HeightCM) < indices.LeastChildSurface:
		s.Doubts = append(s.Doubts, result.Reasonf(result.BodySize, "a body surface of %.2f m2 is less than healthy newborns have: there are no z-scores",
			lv.BSAHaycock(s.WeightKG, s.HeightCM)))
	}
}

// differs says in what the objects of a study differ, and what follows from it.
func differs(code, name, unit string, values []float64, follows string) result.Reason {
	sorted := slices.Sorted(slices.Values(values))
	var texts []string
	for _, v := range slices.Compact(sorted) {
		texts = append(texts, fmt.Sprintf("%g", v))
	}
	return result.Reasonf(code, "the objects differ in the patient's %s (%s %s): %s", name, strings.Join(texts, ", "), unit, follows)
}
