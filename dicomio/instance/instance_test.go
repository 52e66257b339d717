package instance

import (
	"errors"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
)

func TestUID(t *testing.T) {
	// Fixed, because archives keep objects under these UIDs: a change of the
	// derivation would make a repeated run look like new objects.
	const want = "2.25.151304244441708580133577781731865415290"
	if got := UID("sr", "1.2.3", "model 1"); got != want {
		t.Errorf("UID is %s, want %s", got, want)
	}
	form := regexp.MustCompile(`^2\.25\.[1-9][0-9]{1,38}$`)
	seen := map[string]string{}
	for _, parts := range [][]string{{"sr"}, {"sr", ""}, {"sr", "ab", "c"}, {"sr", "a", "bc"}, {"sc", "a", "bc"}, {"sr", "abc"}} {
		u := UID(parts[0], parts[1:]...)
		if !form.MatchString(u) || len(u) > 64 {
			t.Errorf("%v gives %q", parts, u)
		}
		if p, ok := seen[u]; ok {
			t.Errorf("%v and %s give the same UID", parts, p)
		}
		seen[u] = parts[0]
	}
}

func header() Header {
	src := dicomio.NewDataSet()
	src.SetString(tag.StudyInstanceUID, "1.2.3")
	src.SetString(tag.PatientName, "Ångström^Åsa")
	src.SetString(tag.PatientAge, "064Y")
	src.SetFloat(tag.PatientWeight, 80)
	src.SetString(tag.WindowWidth, "5")
	src.SetString(tag.SeriesDescription, "the source's own")
	return Header{
		Source: src, SOPClassUID: uid.ComprehensiveSRStorage, SOPInstanceUID: "2.25.5", SeriesInstanceUID: "2.25.6",
		SeriesNumber: 9003, Modality: "SR", Time: time.Date(2024, 1, 10, 10, 30, 5, 0, time.UTC),
		Equipment: Equipment{Manufacturer: "EchoNode", Model: "EchoNode", Version: "0.1.0", Serial: "7", UID: "2.25.1"},
	}
}

func TestNew(t *testing.T) {
	ds, err := New(header())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		t    dicomio.Tag
		want string
	}{
		{tag.StudyInstanceUID, "1.2.3"}, {tag.PatientName, "Ångström^Åsa"}, {tag.PatientAge, "064Y"}, {tag.PatientWeight, "80"},
		{tag.ContentDate, "20240110"}, {tag.ContentTime, "103005"}, {tag.InstanceNumber, "1"}, {tag.DeviceSerialNumber, "7"},
	} {
		if got := ds.String(tt.t); got != tt.want {
			t.Errorf("%s is %q, want %q", tag.Keyword(tt.t), got, tt.want)
		}
	}
	for _, tt := range required {
		if !ds.Has(tt) {
			t.Errorf("%s is missing", tag.Keyword(tt))
		}
	}
	for _, tt := range []dicomio.Tag{tag.WindowWidth, tag.SeriesDescription, tag.PatientSize} {
		if ds.Has(tt) {
			t.Errorf("%s was copied", tag.Keyword(tt))
		}
	}
}

// Values that the standard does not allow come out empty or not at all.
func TestNewCleans(t *testing.T) {
	for _, tt := range []struct {
		t       dicomio.Tag
		vr, bad string
		gone    bool
	}{
		{tag.PatientBirthDate, "DA", "19601345", false},
		{tag.StudyDate, "DA", "2024.13.10", false},
		{tag.StudyTime, "TM", "10:15:00", false},
		{tag.PatientSex, "CS", "MALE?", false},
		{tag.PatientAge, "AS", "64", true},
		{tag.PatientSize, "DS", "0", true},
	} {
		h := header()
		h.Source.SetBytes(tt.t, tt.vr, []byte(tt.bad))
		ds, err := New(h)
		if err != nil {
			t.Fatal(err)
		}
		if got := ds.String(tt.t); got != "" || ds.Has(tt.t) == tt.gone {
			t.Errorf("%s: %q gives %q, present %v", tag.Keyword(tt.t), tt.bad, got, ds.Has(tt.t))
		}
	}
	for _, tt := range []struct {
		t             dicomio.Tag
		vr, old, want string
	}{{tag.PatientBirthDate, "DA", "1950.01.02", "19500102"}, {tag.StudyDate, "DA", "2024-01-10", "20240110"}, {tag.PatientSex, "CS", "FEMALE", "F"},
		{tag.PatientSex, "CS", "Male", "M"}, {tag.PatientSex, "CS", "f", "F"}, {tag.PatientSex, "CS", "O", "O"}} {
		h := header()
		h.Source.SetBytes(tt.t, tt.vr, []byte(tt.old))
		if ds, err := New(h); err != nil || ds.String(tt.t) != tt.want {
			t.Errorf("%s: %q gives %q, %v", tag.Keyword(tt.t), tt.old, ds.String(tt.t), err)
		}
	}
	for _, good := range []string{"10", "1015", "101500", "101500.25"} {
		h := header()
		h.Source.SetString(tag.StudyTime, good)
		if ds, err := New(h); err != nil || ds.String(tag.StudyTime) != good {
			t.Errorf("study time %q: %q, %v", good, ds.String(tag.StudyTime), err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for name, change := range map[string]func(*Header){
		"no source":    func(h *Header) { h.Source = nil },
		"no study":     func(h *Header) { h.Source.Delete(tag.StudyInstanceUID) },
		"no class":     func(h *Header) { h.SOPClassUID = "" },
		"no modality":  func(h *Header) { h.Modality = "" },
		"no time":      func(h *Header) { h.Time = time.Time{} },
		"no equipment": func(h *Header) { h.Equipment = Equipment{} },
		"bad UID":      func(h *Header) { h.SeriesInstanceUID = "1..2" },
	} {
		h := header()
		change(&h)
		if _, err := New(h); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	h := header()
	h.Source = nil
	if _, err := New(h); !errors.Is(err, ErrSource) {
		t.Errorf("no source: %v", err)
	}
}

func TestByStudy(t *testing.T) {
	a := Ref{"1", "1.1", "9", "1.1.1"}
	b := Ref{"1", "1.2", "9", "1.2.1"}
	c := Ref{"1", "1.1", "9", "1.1.2"}
	d := Ref{"2", "2.1", "9", "2.1.1"}
	items, err := ByStudy([]Ref{a, b, c, a, d})
	if err != nil {
		t.Fatal(err)
	}
	var got [][]string
	for _, study := range items {
		for _, series := range study.Items(tag.ReferencedSeriesSequence) {
			row := []string{study.String(tag.StudyInstanceUID), series.String(tag.SeriesInstanceUID)}
			for _, sop := range series.Items(tag.ReferencedSOPSequence) {
				row = append(row, sop.String(tag.ReferencedSOPInstanceUID))
			}
			got = append(got, row)
		}
	}
	want := [][]string{{"1", "1.1", "1.1.1", "1.1.2"}, {"1", "1.2", "1.2.1"}, {"2", "2.1", "2.1.1"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := ByStudy([]Ref{{StudyUID: "1"}}); err == nil {
		t.Error("reference without an instance")
	}
}

func TestContribution(t *testing.T) {
	e := header().Equipment
	long := Algorithm{Name: "a model whose name does not fit into the sixty-four characters of LO", Version: "1"}
	ds, err := Contribution(e, long, time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC), "x")
	if err != nil || len(ds.Strings(tag.SoftwareVersions)) != 2 {
		t.Errorf("%v", err)
	}
	if _, err := Contribution(e, Algorithm{}, time.Now(), "x"); err == nil {
		t.Error("algorithm without a name")
	}
}
