package indices

import (
	"math"
	"slices"
	"strings"

	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/quantity"
	"github.com/echonode/echonode/pipeline/result"
)

// OfStudy adds to the values of a study, stage by stage, what follows from them:
// cardiac output and index from stroke volume and heart rate, indices by the
// body surface area (DuBois) where height and weight are known, and of the
// apical loops' further values the one from the loop that the ejection fraction
// came from.
func OfStudy(s *result.Study) {
	var out []result.Measurement
	var stage []result.Measurement
	flush := func() {
		out = append(out, stage...)
		out = append(out, further(s, stage)...)
		stage = nil
	}
	for i, m := range s.Measurements {
		if i > 0 && (m.Stage != s.Measurements[i-1].Stage || m.StageNumber != s.Measurements[i-1].StageNumber) {
			flush()
		}
		stage = append(stage, m)
	}
	flush()
	// In the order of the table, within each stage.
	order := map[string]int{}
	for i, q := range quantity.All() {
		order[q.Name] = i
	}
	for from := 0; from < len(out); {
		to := from + 1
		for to < len(out) && out[to].Stage == out[from].Stage && out[to].StageNumber == out[from].StageNumber {
			to++
		}
		slices.SortStableFunc(out[from:to], func(a, b result.Measurement) int { return order[a.Name] - order[b.Name] })
		from = to
	}
	s.Measurements = out
}

// BodySurface is the area in m2 by DuBois; 0 when height or weight is unknown.
func BodySurface(s *result.Subject) float64 {
	if s == nil || s.HeightCM <= 0 || s.WeightKG <= 0 {
		return 0
	}
	return lv.BSADuBois(s.WeightKG, s.HeightCM)
}

// LeastChildSurface in m2 of children who are compared with healthy ones. Own
// choice: healthy newborns have 0.18.
const LeastChildSurface = 0.15

// ChildSurface is the area in m2 by Haycock of a patient who is known to be a
// child; 0 of others, of premature infants, and where height or weight is unknown.
func ChildSurface(s *result.Subject) float64 {
	if !s.Child() || s.HeightCM <= 0 || s.WeightKG <= 0 {
		return 0
	}
	if bsa := lv.BSAHaycock(s.WeightKG, s.HeightCM); bsa >= LeastChildSurface {
		return bsa
	}
	return 0
}

// further are the values of a stage that follow from those it has.
func further(s *result.Study, stage []result.Measurement) (out []result.Measurement) {
	out = fromLoops(s, stage)
	biplaneAtrium(s, stage, out)
	all := append(slices.Clone(stage), out...)
	from := func(name string) *result.Measurement { return find(all, name) }
	add := func(name string, base *result.Measurement, v float64, beats []float64) {
		if base == nil || find(stage, name) != nil {
			return
		}
		m := finish(name, base.Method, *base, v, beats, base.Sources, true, "")
		if q, _ := quantity.Of(name); m.Value != nil && s.Subject.Adult() {
			if r := q.Unusual(v); r != nil {
				m.Quality = worse(m.Quality, result.Quality{Grade: result.Fair, Warnings: []result.Reason{*r}})
			}
		}
		out = append(out, m)
		all = append(all, m)
	}
	// The rate must be one at which a value of its own could be reported; it
	// takes its doubts along.
	if sv, hr := from(result.SV), from(result.HR); sv != nil && hr != nil {
		base := *sv
		base.Quality = worse(sv.Quality, hr.Quality)
		if weak := weakBeats(base.Quality); weak == nil {
			add(result.CO, &base, lv.CardiacOutput(*sv.Value, *hr.Value), nil)
		} else if find(stage, result.CO) == nil {
			out = append(out, refused(result.CO, base, *weak))
		}
	}
	bsa, doubt := BodySurface(s.Subject), s.Subject.SizeDoubt()
	if bsa <= 0 && doubt == nil {
		return out
	}
	for _, x := range []struct{ index, of string }{
		{result.EDVIndex, result.EDV}, {result.ESVIndex, result.ESV}, {result.SVIndex, result.SV}, {result.CI, result.CO},
		{result.LAVolumeIndex, result.LAVolume}, {result.MassIndex, result.Mass},
	} {
		switch base := from(x.of); {
		case base == nil:
		case bsa <= 0:
			if find(stage, x.index) == nil {
				out = append(out, refused(x.index, *base, *doubt))
			}
		default:
			beats := make([]float64, 0, len(base.Beats))
			for _, b := range base.Beats {
				beats = append(beats, b/bsa)
			}
			add(x.index, base, *base.Value/bsa, beats)
		}
	}
	return out
}

// weakBeats is the remark that beats may be too weak to be seen: the stroke volume
// is then that of the others, and no output for every beat.
func weakBeats(q result.Quality) *result.Reason {
	weak := func(r result.Reason) bool {
		return r.Code == string(lv.GateWeakBeats) || r.Code == string(lv.GateSomeWeakBeats)
	}
	if i := slices.IndexFunc(q.Warnings, weak); i >= 0 {
		return &q.Warnings[i]
	}
	return nil
}

// fromLoops takes the further values of the loops behind a stage's ejection
// fraction, of each the first.
func fromLoops(s *result.Study, stage []result.Measurement) (out []result.Measurement) {
	ef := find(stage, result.EF)
	if ef == nil {
		return nil
	}
	for _, src := range ef.Sources {
		for i := range s.Loops {
			if s.Loops[i].SOPInstanceUID != src.SOPInstanceUID || s.Loops[i].Status != result.Analysed {
				continue
			}
			l := s.Loops[i].Of(src)
			if l == nil {
				continue
			}
			for _, m := range l.Measurements {
				q, ok := quantity.Of(m.Name)
				taken := func(ms []result.Measurement) bool {
					return slices.ContainsFunc(ms, func(o result.Measurement) bool { return o.Name == m.Name && (o.Value != nil || m.Value == nil) })
				}
				if !ok || q.Core || taken(stage) || taken(out) {
					continue
				}
				out = slices.DeleteFunc(out, func(o result.Measurement) bool { return o.Name == m.Name })
				m.Stage, m.StageNumber = ef.Stage, ef.StageNumber
				out = append(out, m)
			}
		}
	}
	return out
}

// atrium gives the volume of the left atrium by both planes in the place of
// that by one, where the ejection fraction comes from two loops that belong
// together and both show the atrium whole. Lengths that differ by more than 5 mm
// are of planes of which one cuts it obliquely: the one plane stays, remarked on.
func biplaneAtrium(s *result.Study, stage, out []result.Measurement) {
	ef := find(stage, result.EF)
	at := slices.IndexFunc(out, func(m result.Measurement) bool { return m.Name == result.LAVolume })
	if ef == nil || ef.Method != result.Biplane || at < 0 || out[at].Value == nil {
		return
	}
	var planes [2]*cavity
	for _, src := range ef.Sources {
		for i := range s.Loops {
			if s.Loops[i].SOPInstanceUID != src.SOPInstanceUID {
				continue
			}
			l := s.Loops[i].Of(src)
			if l == nil || find(l.Measurements, result.LAVolume) == nil {
				continue
			}
			switch {
			case l.View == models.ViewA4C && planes[0] == nil:
				planes[0] = open(l)
			case l.View == models.ViewA2C && planes[1] == nil:
				planes[1] = open(l)
			}
		}
	}
	if planes[0] == nil || planes[1] == nil {
		return
	}
	four, _ := planes[0].atria()
	two, _ := planes[1].atria()
	if len(four) == 0 || len(two) == 0 {
		return
	}
	length := func(of []atrium) float64 {
		v := make([]float64, len(of))
		for i, a := range of {
			v[i] = a.length
		}
		return lv.Summarize(v).Mean
	}
	if l4, l2 := length(four), length(two); math.Abs(l4-l2) > maxAtriumDifference {
		out[at].Quality = worse(out[at].Quality, result.Quality{Grade: result.Fair, Warnings: []result.Reason{result.Reasonf("atrium-planes",
			"from one plane: the left atrium is %.0f mm long in A4C and %.0f mm in A2C", l4, l2)}})
		return
	}
	var volumes []float64
	for i := range max(len(four), len(two)) {
		a, b := four[i%len(four)], two[i%len(two)]
		volumes = append(volumes, lv.BiplaneAreaLengthVolume(a.area, a.length, b.area, b.length))
	}
	like := *ef
	like.View = ""
	sources := slices.Clone(find(planes[0].Measurements, result.LAVolume).Sources)
	sources = append(sources, find(planes[1].Measurements, result.LAVolume).Sources...)
	out[at] = finish(result.LAVolume, result.BiplaneAreaLength, like, lv.Summarize(volumes).Mean, volumes, sources, true, "")
}

// worse unites the doubts of two values.
func worse(a, b result.Quality) result.Quality {
	q := result.Quality{Grade: a.Grade, Warnings: slices.Clone(a.Warnings)}
	for _, w := range b.Warnings {
		if !slices.Contains(q.Warnings, w) {
			q.Warnings = append(q.Warnings, w)
		}
	}
	order := []string{result.None, result.Poor, result.Fair, result.Good}
	if slices.Index(order, b.Grade) < slices.Index(order, q.Grade) {
		q.Grade = b.Grade
	}
	return q
}

// Geometry names the pattern of the ventricle where mass index and relative wall
// thickness are known; "" elsewhere.
func Geometry(s *result.Study, stage []result.Measurement) string {
	index, rwt := find(stage, result.MassIndex), find(stage, result.RWT)
	if index == nil || rwt == nil || !s.Subject.Adult() {
		return ""
	}
	sex := lv.SexUnknown
	if s.Subject != nil {
		switch strings.ToUpper(s.Subject.Sex) {
		case quantity.Male:
			sex = lv.Male
		case quantity.Female:
			sex = lv.Female
		}
	}
	return string(lv.ClassifyGeometry(*index.Value, *rwt.Value, sex))
}
