package output

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/pipeline/internal/summary"
	"github.com/echonode/echonode/pipeline/quantity"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/sr"
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

// Walls of 12 mm around a cavity of 48 mm weigh 0.832*(7.2^3-4.8^3)+0.6 = 219 g;
// 80 kg and 180 cm are 2.00 m2 (DuBois), which makes 110 g/m2, and 2*12/48 = 0.50.
// A man up to 115 g/m2 has concentric remodelling then, a woman above 95
// concentric hypertrophy. Values of a stress stage, of a child, or without one of
// the two say nothing.
func TestGeometryIsTold(t *testing.T) {
	index, rwt, years := 219.13/1.9964, 0.5, 12
	of := func(sex string, age *int, ms ...result.Measurement) *writer {
		return &writer{s: &result.Study{Subject: &result.Subject{Sex: sex, AgeYears: age}, Measurements: ms}}
	}
	mass := result.Measurement{Name: result.MassIndex, Value: &index, Unit: "g/m2"}
	wall := result.Measurement{Name: result.RWT, Value: &rwt, Unit: "1"}
	for _, tt := range []struct {
		w    *writer
		st   stage
		want string
	}{
		{of("M", nil), stage{measurements: []result.Measurement{mass, wall}}, "LV geometry: concentric remodelling (LV mass index 110 g/m2, RWT 0.50; ASE/EACVI 2015)"},
		{of("F", nil), stage{measurements: []result.Measurement{mass, wall}}, "LV geometry: concentric hypertrophy (LV mass index 110 g/m2, RWT 0.50; ASE/EACVI 2015)"},
		{of("M", nil), stage{code: sr.PeakStress, measurements: []result.Measurement{mass, wall}}, ""},
		{of("M", &years), stage{measurements: []result.Measurement{mass, wall}}, ""},
		{of("M", nil), stage{measurements: []result.Measurement{wall}}, ""},
	} {
		if got := tt.w.geometry(tt.st); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

func TestConcerned(t *testing.T) {
	for _, tt := range []struct{ names, want string }{
		{"EF SV CO ESVi ESV FAC", "EF, ESV"},
		{"EDV EDVi", "EDV"},
		{"FAC HR", "FAC, HR"},
		{"FAC HR RWT FS LVIDd", "FAC, HR, RWT and 2 more"},
	} {
		if got := concerned(strings.Fields(tt.names)); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.names, got, tt.want)
		}
	}
}

// A remark on one plane is told with those on both, and what holds for both
// planes once.
func TestRemarksOfPlanesAreUnited(t *testing.T) {
	v := 60.0
	ef := result.Measurement{Name: result.EF, Value: &v, Method: result.Biplane}
	area := result.Measurement{Name: result.AreaED, Value: &v, Method: result.Planimetry, View: "A4C"}
	rate := result.Measurement{Name: result.HR, Value: &v, View: "A4C"}
	stage := []result.Measurement{ef, area, rate}
	if got := about("cut", area, stage); got != "A4C: cut" {
		t.Error(got)
	}
	for _, got := range []string{about("cut", ef, stage), about("cut", rate, stage), about("cut", area, stage[1:])} {
		if got != "cut" {
			t.Error(got)
		}
	}
	g := newGroups()
	for _, x := range [][2]string{{"A4C: cut", "EF"}, {"far", "EF"}, {"A2C: cut", "EF"}, {"A2C: dark", "EF"}, {"A4C: cut", "LV area ED"}} {
		g.add(x[0], x[1])
	}
	u := g.united()
	if strings.Join(u.order, "; ") != "A4C, A2C: cut; far; A2C: dark" || strings.Join(distinct(u.of["A4C, A2C: cut"]), ",") != "EF,LV area ED" {
		t.Errorf("%q", u)
	}
}

func TestRecordingDays(t *testing.T) {
	loops := func(dates ...string) *result.Study {
		s := &result.Study{}
		for _, d := range dates {
			s.Loops = append(s.Loops, result.Loop{Status: result.Analysed, Date: d})
		}
		return s
	}
	if got := strings.Join(recordingDays(loops("20260102", "", "20240102", "20260102")), ", "); got != "2024-01-02, 2026-01-02" {
		t.Errorf("%q", got)
	}
	for _, s := range []*result.Study{loops("20260102", "20260103"), loops("20260102"), loops()} {
		if got := recordingDays(s); got != nil {
			t.Errorf("%q", got)
		}
	}
	other := loops("20260102", "20240102")
	other.Loops[1].Status = result.Refused
	if got := recordingDays(other); got != nil {
		t.Errorf("of a loop that is not measured: %q", got)
	}
}

// Doubts about the patient are sentences of the report.
func TestBodyRemarks(t *testing.T) {
	s := &result.Study{Subject: &result.Subject{Doubts: []result.Reason{{Code: result.BodySize, Text: "the objects differ"}, {}, {Text: "Patient's Size"}}}}
	if got := strings.Join(bodyRemarks(s), "|"); got != "The objects differ.|Patient's Size." {
		t.Errorf("%q", got)
	}
	if got := bodyRemarks(&result.Study{}); got != nil {
		t.Errorf("%q", got)
	}
}

// A z-score is written with its sign.
func TestSigned(t *testing.T) {
	for z, want := range map[float64]string{1.4: "+1.4", -2: "-2.0", 0.04: "0.0", -0.04: "0.0", 2.0: "+2.0"} {
		if got := signed(z); got != want {
			t.Errorf("%g: %q", z, got)
		}
	}
}

// Reports, captions and files call a loop by one name, which no other has.
func TestLoopNames(t *testing.T) {
	for name, tt := range map[string]struct {
		loops []result.Loop // series and instance numbers
		want  []string
		order []int // places by number
	}{
		"one series":           {[]result.Loop{{InstanceNumber: 10}, {InstanceNumber: 5}}, []string{"loop 10", "loop 5"}, []int{1, 0}},
		"a series each":        {[]result.Loop{{SeriesNumber: 12, InstanceNumber: 1}, {SeriesNumber: 2, InstanceNumber: 1}}, []string{"series 12 loop 1", "series 2 loop 1"}, []int{1, 0}},
		"one number twice":     {[]result.Loop{{SeriesNumber: 2, InstanceNumber: 1}, {SeriesNumber: 2, InstanceNumber: 1}, {SeriesNumber: 2, InstanceNumber: 3}}, []string{"object 1", "object 2", "loop 3"}, []int{0, 1, 2}},
		"some without":         {[]result.Loop{{}, {InstanceNumber: 1}, {InstanceNumber: 2}}, []string{"object 1", "loop 1", "loop 2"}, []int{1, 2, 0}},
		"none with":            {[]result.Loop{{}, {SeriesNumber: 3}, {Number: 7}}, []string{"loop 1", "loop 2", "loop 7"}, []int{0, 1, 2}},
		"one without a series": {[]result.Loop{{InstanceNumber: 1}, {SeriesNumber: 2, InstanceNumber: 1}}, []string{"loop 1", "series 2 loop 1"}, []int{0, 1}},
	} {
		for i := range tt.loops {
			tt.loops[i].SOPInstanceUID = fmt.Sprint(i)
		}
		names := loopNames(&result.Study{Loops: tt.loops})
		for i, want := range tt.want {
			if got := names[fmt.Sprint(i)]; got != want {
				t.Errorf("%s: loop %d is called %q, want %q", name, i, got, want)
			}
		}
		var order []int
		for _, l := range byNumber(tt.loops) {
			n, _ := strconv.Atoi(l.SOPInstanceUID)
			order = append(order, n)
		}
		if !slices.Equal(order, tt.order) {
			t.Errorf("%s: order %v", name, order)
		}
	}
	for name, want := range map[string]string{"loop 7": "loop-07", "series 3 loop 12": "series-03-loop-12", "object 2": "object-02"} {
		if got := fileName(name); got != want {
			t.Errorf("%q: %q", name, got)
		}
	}
	for want, names := range map[string][]string{"loop 2, 5": {"loop 2", "loop 5"}, "loop 2, object 3": {"loop 2", "object 3"}} {
		if got := together(names); got != want {
			t.Errorf("%v: %q", names, got)
		}
	}
}

// z-scores are announced where a value has one: EDV of a child does, a rate does not.
func TestHasZScore(t *testing.T) {
	v := 40.0
	for name, want := range map[string]bool{result.EDV: true, result.HR: false, "unknown": false} {
		if got := hasZScore(result.Measurement{Name: name, Value: &v}, 0.53); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if hasZScore(result.Measurement{Name: result.EDV}, 0.53) {
		t.Error("a value that was not measured has a z-score")
	}
}

// Indexed volumes of one plane, for which there is no code, are told in words; an
// unknown sex has what is normal in both, and only what is so in neither stands out.
func TestOnePlaneAndUnknownSex(t *testing.T) {
	v := func(name, method, unit string, v float64) result.Measurement {
		return result.Measurement{Name: name, Method: method, Unit: unit, Value: &v}
	}
	for method, want := range map[string]string{
		result.SinglePlane: "From one plane, for which there are no codes: EDVi 77 mL/m2 (normal 29 to 61, ASE/EACVI 2015)", result.Biplane: ""} {
		w := &writer{s: &result.Study{Subject: &result.Subject{Sex: "F"}}}
		if got := w.uncoded(stage{measurements: []result.Measurement{v(result.EDVIndex, method, result.UnitVolumeIndex, 77)}}); got != want {
			t.Errorf("%s: %q", method, got)
		}
	}
	w := &writer{s: &result.Study{Subject: &result.Subject{Sex: "O"}}}
	var p summary.Page
	w.values(stage{measurements: []result.Measurement{v(result.ESV, result.Biplane, result.UnitVolume, 48),
		v(result.EDV, result.Biplane, result.UnitVolume, 200)}}, &p)
	if len(p.Rows) != 2 || p.Rows[0].Outside || p.Rows[0].Normal != "21 to 42 (both sexes)" || !p.Rows[1].Outside {
		t.Errorf("%+v", p.Rows)
	}
}

// Spreads of several values are one sentence for each number of beats; those that are
// alike as they are told have no SD of 0.0.
func TestSpreadsAreToldTogether(t *testing.T) {
	v := func(name string, beats ...float64) result.Measurement {
		mean := 0.0
		for _, b := range beats {
			mean += b / float64(len(beats))
		}
		return result.Measurement{Name: name, Value: &mean, Beats: beats}
	}
	got := spreads([]result.Measurement{v(result.EDV, 88, 92), v(result.LenED, 7.21, 7.22), v(result.LenES, 5.6, 5.61),
		v(result.ESV, 40), v(result.CO, 3, 3.2, 3.4)})
	want := []string{"mean of 2 beats: EDV SD 2.8 mL, 88.0 to 92.0 mL; LV length ED, LV length ES alike", "mean of 3 beats: CO SD 0.2 L/min, 3.0 to 3.4 L/min"}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
	if got := spread(v(result.EF, 58, 61, 60)); !strings.HasPrefix(got, "mean of 3 beats, SD 2 %, 58 to 61 %") {
		t.Error(got)
	}
}

// What something in the study contradicts is held against no normal range, on the page
// as in the report: no band of an EF, no range that a volume is outside of, no z-score,
// no pattern of the ventricle.
func TestContradictedValuesHaveNoRange(t *testing.T) {
	adult, years := &result.Subject{Sex: "M"}, 4
	child := &result.Subject{Sex: "M", AgeYears: &years, HeightCM: 100, WeightKG: 16}
	for _, grade := range []string{result.Good, result.Fair, result.Poor} {
		v := func(name, method, unit string, v float64) result.Measurement {
			return result.Measurement{Name: name, Method: method, Unit: unit, Value: &v, Quality: result.Quality{Grade: grade}}
		}
		st := stage{measurements: []result.Measurement{v(result.EF, result.Biplane, result.UnitPercent, 58), v(result.EDV, result.Biplane, result.UnitVolume, 200),
			v(result.MassIndex, "", "g/m2", 110), v(result.RWT, "", "1", 0.5)}}
		for name, subject := range map[string]*result.Subject{"adult": adult, "child": child} {
			w := &writer{s: &result.Study{Subject: subject, Measurements: st.measurements}}
			var p summary.Page
			w.values(st, &p)
			g := group{w: w, stage: st}
			for _, m := range st.measurements[:2] {
				q, _ := quantity.Of(m.Name)
				g.add(q, m)
			}
			page, report := fmt.Sprint(p.Under, p.Remarks), strings.Join(g.remarks.order, "; ")
			compared := grade != result.Poor
			if edv := p.Rows[0]; (edv.Normal != "") != compared || edv.Outside != compared {
				t.Errorf("%s, %s: %+v", name, grade, edv)
			}
			if p.Doubtful == compared || !strings.Contains(page, "quality "+grade) {
				t.Errorf("%s, %s: doubtful %v, %s", name, grade, p.Doubtful, page)
			}
			switch told := "normal (ASE"; name {
			case "adult":
				if strings.Contains(page, told) != compared || strings.Contains(report, told) != compared || strings.Contains(page, "remodelling") != compared {
					t.Errorf("%s: page %s; report %s", grade, page, report)
				}
			default:
				if strings.Contains(report, "z-score") != compared || hasZScore(st.measurements[1], 0.66) != compared {
					t.Errorf("%s of a child: %s", grade, report)
				}
			}
		}
	}
}
