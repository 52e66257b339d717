package quantity

import (
	"math"
	"slices"
	"testing"

	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/sr"
)

func TestRestingEF(t *testing.T) {
	ef := func(stage string, v float64) result.Measurement {
		return result.Measurement{Name: result.EF, Stage: stage, Value: &v}
	}
	refused := result.Measurement{Name: result.EF, Stage: "Rest", Reason: &result.Reason{Code: "x"}}
	for name, tc := range map[string]struct {
		in   []result.Measurement
		want float64 // 0 for none
	}{
		"no stages":             {[]result.Measurement{ef("", 61)}, 61},
		"stress comes first":    {[]result.Measurement{ef("Peak", 35), ef("Rest", 62)}, 62},
		"rest refused":          {[]result.Measurement{refused, ef("Peak", 35)}, 0},
		"rest refused, unnamed": {[]result.Measurement{refused, ef("A4C", 35)}, 0},
		"rest after unnamed":    {[]result.Measurement{ef("A4C", 35), ef("Baseline", 62)}, 62},
		"before stress":         {[]result.Measurement{ef("Rest post", 35), ef("Pre-stress", 62)}, 62},
		"stress only":           {[]result.Measurement{ef("Pre Peak", 35)}, 0},
		"another quantity":      {[]result.Measurement{{Name: result.EDV, Value: new(float64)}}, 0},
	} {
		m := RestingEF(tc.in)
		if got := m != nil; got != (tc.want != 0) || got && *m.Value != tc.want {
			t.Errorf("%s: %+v, want %g", name, m, tc.want)
		}
	}
}

func TestTableIsConsistent(t *testing.T) {
	seen := map[string]bool{}
	codes := map[sr.Quantity]string{}
	for _, q := range All() {
		if q.Name == "" || q.Title == "" || q.Unit == "" || seen[q.Name] {
			t.Errorf("row %+v is incomplete or comes twice", q)
		}
		seen[q.Name] = true
		if other, ok := codes[q.Code]; q.Code != 0 && ok {
			t.Errorf("%s and %s share a code", q.Name, other)
		}
		codes[q.Code] = q.Name
		if q.Code != 0 && !slices.Contains(q.Code.Units(), sr.Unit(q.Unit)) {
			t.Errorf("%s: unit %s is not one of the report's %v", q.Name, q.Unit, q.Code.Units())
		}
		if q.Plausible.Lo >= q.Plausible.Hi {
			t.Errorf("%s: plausible %v", q.Name, q.Plausible)
		}
		for _, r := range []Range{q.Normal.Male, q.Normal.Female} {
			if r.Known() && (r.Lo >= r.Hi || !q.Plausible.Holds(r.Lo) || !q.Plausible.Holds(r.Hi)) {
				t.Errorf("%s: normal range %v outside the plausible %v", q.Name, r, q.Plausible)
			}
		}
		if (q.Normal.Male.Known() || q.Normal.Female.Known()) && q.Normal.Source == "" {
			t.Errorf("%s: normal range without a source", q.Name)
		}
		if ratio := q.Unit == result.UnitPercent || q.Unit == result.UnitRatio || q.Unit == result.UnitRate || q.Unit == result.UnitPerSecond; ratio == q.Calibrated {
			t.Errorf("%s in %s: calibrated %v", q.Name, q.Unit, q.Calibrated)
		}
	}
	if _, ok := Of("no such thing"); ok {
		t.Error("unknown quantity found")
	}
}

func TestNormalFor(t *testing.T) {
	ef, _ := Of(result.EF)
	for _, tc := range []struct {
		sex  string
		want Range
	}{{"M", Range{52, 72}}, {"F", Range{54, 74}}, {"", Range{54, 72}}, {"O", Range{54, 72}}} {
		if r, ok := ef.NormalFor(tc.sex); !ok || r != tc.want {
			t.Errorf("EF, sex %q: %v, want %v", tc.sex, r, tc.want)
		}
	}
	if fac, _ := Of(result.FAC); true {
		if _, ok := fac.NormalFor("M"); ok {
			t.Error("FAC has no published normal range here")
		}
	}
}

func TestEFBand(t *testing.T) {
	for _, tc := range []struct {
		ef   float64
		sex  string
		want string
	}{
		{5, "M", BandSevere}, {29.4, "M", BandSevere}, {29.5, "M", BandModerate}, {40.4, "F", BandModerate}, {40.6, "F", BandMild},
		{51, "M", BandMild}, {52, "M", BandNormal}, {52, "F", BandMild}, {53.4, "F", BandMild}, {54, "F", BandNormal},
		{52, "", "normal or mildly reduced"}, {54, "", BandNormal}, {72, "M", BandNormal}, {73, "M", BandAbove},
		{74, "F", BandNormal}, {75, "F", BandAbove}, {73, "O", "normal or above normal"}, {math.NaN(), "M", ""},
	} {
		if got := EFBand(tc.ef, tc.sex); got != tc.want {
			t.Errorf("EF %g, sex %q: %q, want %q", tc.ef, tc.sex, got, tc.want)
		}
	}
}

func TestRounding(t *testing.T) {
	rwt, _ := Of(result.RWT)
	if got := rwt.Format(0.4049); got != "0.40" || rwt.Round(0.4051) != 0.41 {
		t.Errorf("%s, %g", got, rwt.Round(0.4051))
	}
	if q := (Range{}); !q.Holds(5) || q.Holds(math.NaN()) || (Range{1, 2}).Holds(2.1) {
		t.Error("Holds")
	}
}

// A child of 0.80 m2: an EDV of 62.02 * 0.80^1.3 = 46.40 mL is usual, one of two
// standard deviations more 64.27 mL; a diameter of 3.89 * 0.80^0.45 = 3.518 cm.
func TestZScores(t *testing.T) {
	edv, _ := Of(result.EDV)
	lvidd, _ := Of(result.LVIDd)
	for _, tc := range []struct {
		q       Quantity
		v, want float64
	}{{edv, 46.40, 0}, {edv, 64.27, 2}, {edv, 28.54, -2}, {lvidd, 3.518, 0}, {lvidd, 4.117, 2}, {lvidd, 4.15, 2.1}} {
		if z, ok := tc.q.ZScore(tc.v, "", 0.80); !ok || math.Abs(z-tc.want) > 1e-9 {
			t.Errorf("%s of %g: z %.3f, want %g", tc.q.Name, tc.v, z, tc.want)
		}
	}
	if r, ok := edv.NormalForChild("A2C", 0.80); !ok || math.Abs(r.Lo-28.54) > 0.02 || math.Abs(r.Hi-64.27) > 0.02 {
		t.Errorf("%+v", r)
	}
	esv, _ := Of(result.ESV)
	if _, ok := esv.ZScore(20, "", 0.8); ok {
		t.Error("a z-score of what is not published")
	}
	if _, ok := edv.ZScore(20, "", 0); ok {
		t.Error("a z-score without a body surface")
	}
	if _, ok := edv.ZScore(math.NaN(), "", 0.8); ok {
		t.Error("a z-score of no number")
	}
	length, _ := Of(result.LenED) // published of the four-chamber view
	if _, ok := length.ZScore(6.31, "A2C", 1); ok {
		t.Error("a z-score of another view's length")
	}
	if z, ok := length.ZScore(6.77, "A4C", 1); !ok || z != 1 {
		t.Errorf("z %g of a length one deviation above the mean", z)
	}
}
