package pipeline

import (
	"cmp"
	"testing"

	"github.com/echonode/echonode/dicomio/tag"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/measure"
	"github.com/echonode/echonode/pipeline/result"
)

func TestSubjectOf(t *testing.T) {
	ds := func(pairs ...any) *dicomio.DataSet {
		d := dicomio.NewDataSet()
		for i := 0; i < len(pairs); i += 2 {
			d.SetString(pairs[i].(dicomio.Tag), pairs[i+1].(string))
		}
		return d
	}
	old := ds(tag.PatientSex, "FEMALE")
	old.SetBytes(tag.PatientBirthDate, "DA", []byte("1980.06.15")).SetBytes(tag.StudyDate, "DA", []byte("2024-06-15"))
	for name, tc := range map[string]struct {
		ds             *dicomio.DataSet
		sex            string
		height, weight float64
		age            int // -1 for unknown
	}{
		"all":               {ds(tag.PatientSex, "F", tag.PatientSize, "1.8", tag.PatientWeight, "80", tag.PatientAge, "045Y"), "F", 180, 80, 45},
		"nothing":           {ds(), "", 0, 0, -1},
		"centimetres":       {ds(tag.PatientSize, "180"), "", 0, 0, -1},
		"in words":          {old, "F", 0, 0, 44},
		"other":             {ds(tag.PatientSex, "O"), "O", 0, 0, -1},
		"months":            {ds(tag.PatientAge, "030M"), "", 0, 0, 2},
		"dates":             {ds(tag.PatientBirthDate, "19800615", tag.StudyDate, "20240614"), "", 0, 0, 43},
		"birthday":          {ds(tag.PatientBirthDate, "19800615", tag.StudyDate, "20240615"), "", 0, 0, 44},
		"born after study":  {ds(tag.PatientBirthDate, "20300101", tag.StudyDate, "20240615"), "", 0, 0, -1},
		"nonsense":          {ds(tag.PatientSex, "X", tag.PatientAge, "??YY", tag.PatientWeight, "0"), "", 0, 0, -1},
		"weight in grammes": {ds(tag.PatientWeight, "80000"), "", 0, 0, -1},
	} {
		s := SubjectOf(tc.ds)
		years := -1
		if s.AgeYears != nil {
			years = *s.AgeYears
		}
		if s.Sex != tc.sex || s.HeightCM != tc.height || s.WeightKG != tc.weight || years != tc.age {
			t.Errorf("%s: %+v, age %d", name, s, years)
		}
	}
	a, b := SubjectOf(ds(tag.PatientID, "A")), SubjectOf(ds(tag.PatientID, "A", tag.IssuerOfPatientID, "H"))
	if a.Key == b.Key || a.Key == "" {
		t.Errorf("keys %q and %q", a.Key, b.Key)
	}
	for name, tc := range map[string]struct {
		ds   *dicomio.DataSet
		age  int // -1 for unknown
		want string
	}{
		"size in cm":            {ds(tag.PatientSize, "180"), -1, "Patient's Size of 180 m is no person's: nothing is indexed by the body surface"},
		"weight in g":           {ds(tag.PatientWeight, "80000"), -1, "Patient's Weight of 80000 kg is no person's: nothing is indexed by the body surface"},
		"with a unit":           {dicomio.NewDataSet().SetBytes(tag.PatientSize, "DS", []byte("1.75m")), -1, `Patient's Size is no number ("1.75m"): nothing is indexed by the body surface`},
		"with a comma":          {dicomio.NewDataSet().SetBytes(tag.PatientWeight, "DS", []byte("80,5")), -1, `Patient's Weight is no number ("80,5"): nothing is indexed by the body surface`},
		"not weighed":           {ds(tag.PatientWeight, "0", tag.PatientSize, "0"), -1, ""},
		"age without zeros":     {ds(tag.PatientAge, "7Y"), 7, ""},
		"a year apart":          {ds(tag.PatientAge, "017Y", tag.PatientBirthDate, "20080101", tag.StudyDate, "20260102"), 17, ""},
		"child or adult":        {ds(tag.PatientAge, "006Y", tag.PatientBirthDate, "19500101", tag.StudyDate, "20260102"), -1, "Patient's Age of 6 years contradicts the birth date, by which it is 76: no value is compared with a normal range"},
		"adult or child":        {ds(tag.PatientAge, "075Y", tag.PatientBirthDate, "20200101", tag.StudyDate, "20260102"), -1, "Patient's Age of 75 years contradicts the birth date, by which it is 6: no value is compared with a normal range"},
		"a birth date made up":  {ds(tag.PatientAge, "045Y", tag.PatientBirthDate, "19000101", tag.StudyDate, "20260102"), 45, "Patient's Age of 45 years contradicts the birth date, by which it is 126: the former counts"},
		"two years as a child":  {ds(tag.PatientAge, "004Y", tag.PatientBirthDate, "20200101", tag.StudyDate, "20260102"), 4, "Patient's Age of 4 years contradicts the birth date, by which it is 6: the former counts"},
		"born after the study":  {ds(tag.PatientBirthDate, "20301231", tag.StudyDate, "20260102"), -1, "the birth date lies after the study: no value is compared with a normal range"},
		"no age but birth date": {ds(tag.PatientBirthDate, "20200101", tag.StudyDate, "20260102"), 6, ""},
	} {
		s := SubjectOf(tc.ds)
		got, years := "", -1
		for _, d := range s.Doubts {
			got += d.Text
		}
		if s.AgeYears != nil {
			years = *s.AgeYears
		}
		if got != tc.want || years != tc.age {
			t.Errorf("%s: age %d, %q", name, years, got)
		}
	}
}

// A study that is put together from kept loops knows its patient as well as one
// that is analysed at once: the indexed volumes are there.
func TestKeptLoopsKeepThePatient(t *testing.T) {
	c := standard("1.2.3.1")
	c.edit = func(ds *dicomio.DataSet) {
		ds.SetString(tag.PatientSize, "1.8")
		ds.SetString(tag.PatientWeight, "80")
	}
	s := analyse(t, newBrightness("A4C"), c.write(t, t.TempDir()))
	kept := &Study{result.Study{StudyInstanceUID: s.StudyInstanceUID, Run: s.Run, Loops: s.Loops}}
	measure.Study(&kept.Study, measure.Options{LV: lv.DefaultOptions()})
	for _, study := range []*Study{s, kept} {
		if got := value(t, study.Measurements, result.EDVIndex); got < 56 || got > 61 { // 117.8 mL and 1.996 m2
			t.Errorf("EDV index %.1f, want 59", got)
		}
	}
}

func TestRecordedOn(t *testing.T) {
	for want, set := range map[string]func(*dicomio.DataSet){
		"20260103": func(d *dicomio.DataSet) {
			d.SetString(tag.AcquisitionDateTime, "20260103101112.5+0100").SetString(tag.StudyDate, "20260102")
		},
		"20260104": func(d *dicomio.DataSet) {
			d.SetString(tag.AcquisitionDate, "20260104").SetString(tag.ContentDate, "20260105")
		},
		"20260105": func(d *dicomio.DataSet) {
			d.SetString(tag.AcquisitionDate, "00000000").SetString(tag.ContentDate, "20260105")
		},
		"20260106": func(d *dicomio.DataSet) { d.SetString(tag.StudyDate, "20260106") },
		"":         func(d *dicomio.DataSet) { d.SetString(tag.StudyDate, "2026") },
	} {
		d := dicomio.NewDataSet()
		set(d)
		if got := recordedOn(d); cmp.Or(got.Acquisition, got.Content, got.Study) != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
