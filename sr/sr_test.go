package sr

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/instance"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
)

var update = flag.Bool("update", false, "write the golden files anew")

// study is the data set of an ultrasound loop as far as reports need it.
func study() *dicomio.DataSet {
	ds := dicomio.NewDataSet()
	ds.SetString(tag.SOPClassUID, uid.UltrasoundMultiFrameImageStorage)
	ds.SetString(tag.SOPInstanceUID, "1.2.3.1.1")
	ds.SetString(tag.StudyInstanceUID, "1.2.3")
	ds.SetString(tag.SeriesInstanceUID, "1.2.3.1")
	ds.SetString(tag.PatientName, "Müller^Jürgen")
	ds.SetString(tag.PatientID, "P-1")
	ds.SetString(tag.PatientBirthDate, "19600102")
	ds.SetString(tag.PatientSex, "M")
	ds.SetString(tag.StudyDate, "20240110")
	ds.SetString(tag.StudyTime, "101500")
	ds.SetString(tag.StudyID, "1")
	ds.SetString(tag.StudyDescription, "TTE")
	ds.SetString(tag.AccessionNumber, "ACC0001")
	return ds
}

func contour(n int) []Point {
	pts := make([]Point, n)
	for i := range pts {
		s, c := math.Sincos(2 * math.Pi * float64(i) / float64(n))
		pts[i] = Point{128 + 30*c, 90 + 55*s}
	}
	return pts
}

func report() Report {
	a4c := instance.Ref{StudyUID: "1.2.3", SeriesUID: "1.2.3.1", SOPClassUID: uid.UltrasoundMultiFrameImageStorage, SOPInstanceUID: "1.2.3.1.1"}
	a2c := instance.Ref{StudyUID: "1.2.3", SeriesUID: "1.2.3.1", SOPClassUID: uid.UltrasoundMultiFrameImageStorage, SOPInstanceUID: "1.2.3.1.2"}
	ed := []Source{{SOPInstanceUID: "1.2.3.1.1", Frame: 1, Contour: contour(60), Closed: true}}
	es := []Source{{SOPInstanceUID: "1.2.3.1.1", Frame: 9, Contour: contour(50), Closed: true}}
	return Report{
		Source:         study(),
		SOPInstanceUID: instance.UID("test", "sr"), SeriesInstanceUID: instance.UID("test", "series"), SeriesNumber: 9003,
		Time:      time.Date(2024, 1, 10, 10, 30, 0, 0, time.UTC),
		Observer:  instance.Equipment{Manufacturer: "EchoNode", Model: "EchoNode", Version: "0.1.0", Station: "ECHONODE", Serial: "SN1", UID: "2.25.1"},
		Algorithm: instance.Algorithm{Name: "echonode-lv", Version: "0.3", Parameters: []string{"sha256=00ff"}},
		Evidence:  []instance.Ref{a4c, a2c},
		Pictures:  map[string]Picture{"1.2.3.1.1": {Name: "loop 7", View: A4C, Stage: Resting}, "1.2.3.1.2": {View: A2C}},
		Subject:   &Subject{AgeYears: 64, Sex: "M", HeightCM: 180, WeightKG: 80, BSA: 1.9964, Formula: DuBois},
		Measurements: []Measurement{
			{Quantity: HeartRate, Value: 72, Unit: BPM, Mode: Mode2D},
			{Quantity: EDV, Value: 117.848, Unit: ML, Method: DisksBiplane, Mode: Mode2D, Sources: ed, CyclePoint: EndDiastole, Remarks: []string{"view probability 0.75 is below 0.80"}},
			{Quantity: ESV, Value: 48.1, Unit: ML, Method: DisksBiplane, Mode: Mode2D, Sources: es, CyclePoint: EndSystole, Remarks: []string{"view probability 0.75 is below 0.80", " "}},
			{Quantity: EF, Value: 59.2, Unit: Percent, Method: DisksBiplane, Mode: Mode2D, Derivation: Mean, Selection: MeanChosen, Spread: &Spread{Beats: 3, SD: 1.2}},
			{Quantity: EF, Value: 57.9, Unit: Percent, Method: DisksSinglePlane, Mode: Mode2D, View: A4C, Derivation: Mean, Sources: append(append([]Source(nil), ed...), es...)},
			{Quantity: StrokeVolume, Value: 69.7, Unit: ML, Method: DisksBiplane, Mode: Mode2D},
			{Quantity: LVAreaD, Value: 35.34, Unit: CM2, Mode: Mode2D, View: A4C, Sources: ed},
			{Quantity: LVLengthD, Value: 9, Unit: CM, Mode: Mode2D, View: A4C,
				Sources: []Source{{SOPInstanceUID: "1.2.3.1.1", Frame: 1, Contour: []Point{{128, 140}, {128, 30}}}}},
			{Quantity: FractionalAreaChange, Value: 41.7, Unit: Percent, Mode: Mode2D, View: A2C,
				Sources: []Source{{SOPInstanceUID: "1.2.3.1.2"}}},
			{Quantity: EF, Value: 66, Unit: Percent, Method: DisksSinglePlane, Mode: Mode2D, View: A4C, Group: "Peak", Stage: StageOf("Peak"), Remarks: []string{"systole is cut off"}},
		},
		NotMeasured: []NotMeasured{{"Left Ventricle Mass", "no parasternal long axis loop in the study"}},
		Comments:    []string{"A2C: relative difference of the apical lengths 0.14 is above 0.10"},
	}
}

func build(t *testing.T, r Report) *dicomio.DataSet {
	t.Helper()
	ds, err := Build(r)
	if err != nil {
		t.Fatal(err)
	}
	return ds
}

// write stores a data set as a file and returns its name.
func write(t *testing.T, ds *dicomio.DataSet) string {
	t.Helper()
	var b bytes.Buffer
	if err := dicomio.Write(&b, ds, dicomio.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "sr.dcm")
	if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// reread writes a data set and reads it back.
func reread(t *testing.T, ds *dicomio.DataSet) *dicomio.DataSet {
	t.Helper()
	f, err := dicomio.Open(write(t, ds), dicomio.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f.DataSet
}

// The three forms of the document pass both validators.
func TestValidators(t *testing.T) {
	empty := report()
	empty.Measurements, empty.Evidence, empty.Subject = nil, nil, nil
	empty.NotMeasured = []NotMeasured{{"Left ventricular function", "no two-dimensional apical or parasternal loop in the study"}}
	forms := map[string]Report{"sct": report(), "srt": report(), "enhanced": report(), "empty": empty, "predecessor": report()}
	for name, r := range forms {
		switch name {
		case "srt":
			r.Settings.Codeset = SRT
		case "enhanced":
			r.Settings.Enhanced = true
		case "predecessor":
			r.Predecessor = &instance.Ref{StudyUID: "1.2.3", SeriesUID: "2.25.7", SOPClassUID: uid.ComprehensiveSRStorage, SOPInstanceUID: "2.25.8"}
		}
		t.Run(name, func(t *testing.T) {
			file := write(t, build(t, r))
			for _, line := range dciodvfy(t, file) {
				if strings.HasPrefix(line, "Error") || (strings.HasPrefix(line, "Warning") && !strings.Contains(line, "deprecated = <SRT>") &&
					!strings.Contains(line, "term = <"+ownScheme+">")) {
					t.Error(line)
				}
			}
			dsrdump(t, file)
		})
	}
}

// dciodvfy returns the validator's messages.
func dciodvfy(t *testing.T, file string) []string {
	t.Helper()
	tool, err := exec.LookPath("dciodvfy")
	if err != nil {
		t.Skip("dciodvfy is not installed (Debian package dicom3tools)")
	}
	var b bytes.Buffer
	cmd := exec.Command(tool, "-new", file)
	cmd.Stderr, cmd.Stdout = &b, &b
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(b.String()), "\n")
}

// dsrdump fails the test when the tool does not accept the file.
func dsrdump(t *testing.T, file string) {
	t.Helper()
	tool, err := exec.LookPath("dsrdump")
	if err != nil {
		t.Skip("dsrdump is not installed (Debian package dcmtk)")
	}
	out, err := exec.Command(tool, file).CombinedOutput()
	if err != nil {
		t.Errorf("dsrdump: %v\n%s", err, out)
	}
	for _, l := range strings.Split(string(out), "\n") {
		if (strings.HasPrefix(l, "W:") || strings.HasPrefix(l, "E:")) && !strings.Contains(l, "ISO_IR 192") {
			t.Error(l)
		}
	}
}

func TestGolden(t *testing.T) {
	doc, err := Parse(reread(t, build(t, report())))
	if err != nil {
		t.Fatal(err)
	}
	var text, html bytes.Buffer
	if err := doc.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if err := doc.WriteHTML(&html); err != nil {
		t.Fatal(err)
	}
	var tree strings.Builder
	doc.Root.Walk(func(path []int, it *Item) {
		fmt.Fprintf(&tree, "%s%s %s (%s,%s) %s%s%s %s%s %v%d\n", strings.Repeat(" ", len(path)-1), it.Relationship, it.Type,
			it.Concept.Value, it.Concept.Scheme, it.Text, it.Number, it.Unit.Value, it.Code.Value, it.Graphic.Type, it.Image.Frames, len(it.Graphic.Data))
	})
	for name, got := range map[string]string{"report.txt": text.String(), "report.html": html.String(), "report.tree": tree.String()} {
		file := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), got); d != "" {
			t.Errorf("%s differs (-want +got):\n%s", name, d)
		}
	}
}

func TestSameInputSameBytes(t *testing.T) {
	var a, b bytes.Buffer
	for _, w := range []*bytes.Buffer{&a, &b} {
		if err := dicomio.Write(w, build(t, report()), dicomio.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("two reports of the same input differ")
	}
}

func TestReadBack(t *testing.T) {
	for _, cs := range []Codeset{SCT, SRT} {
		r := report()
		r.Settings.Codeset = cs
		doc, err := Parse(reread(t, build(t, r)))
		if err != nil {
			t.Fatal(err)
		}
		got := doc.Measurements()
		if len(got) != len(r.Measurements) {
			t.Fatalf("%d measurements, want %d", len(got), len(r.Measurements))
		}
		// Measurement groups keep the order here, as each group is given in one run.
		for i, m := range r.Measurements {
			g := got[i]
			if q, ok := QuantityOf(g.Concept); !ok || q != m.Quantity {
				t.Errorf("%d: concept %v", i, g.Concept)
			}
			if math.Abs(g.Value-m.Value) > 0.051 || !g.HasValue {
				t.Errorf("%s: %v, want %v", m.Quantity, g.Value, m.Value)
			}
			number, err := formatNumber(m.Value, m.Unit)
			if err != nil {
				t.Fatal(err)
			}
			want := Reading{
				Concept: m.Quantity.Code(cs), Value: g.Value, HasValue: true, Number: number, Unit: m.Unit.Code(), Site: leftVentricle.code(cs),
				Method: methods[m.Method].code(cs), Mode: modes[m.Mode].code(cs), View: views[m.View].code(cs),
				CyclePoint: cyclePoints[m.CyclePoint].code(cs), Derivation: derivations[m.Derivation].code(cs),
				Selection: selections[m.Selection].code(cs), Group: m.Group, Stage: stages[m.Stage].code(cs), Sources: g.Sources, Path: g.Path,
				Spread: m.Spread,
			}
			if want.Group == "" {
				want.Group = mainGroup
			}
			if d := cmp.Diff(want, g); d != "" {
				t.Errorf("%s (-want +got):\n%s", m.Quantity, d)
			}
			if len(g.Sources) != len(m.Sources) {
				t.Fatalf("%s: %d sources, want %d", m.Quantity, len(g.Sources), len(m.Sources))
			}
			for j, s := range m.Sources {
				o := g.Sources[j]
				if o.SOPInstanceUID != s.SOPInstanceUID || o.Frame != s.Frame || o.Closed != s.Closed || len(o.Contour) != len(s.Contour) {
					t.Fatalf("%s: source %+v, want %+v", m.Quantity, o, s)
				}
				for k := range s.Contour {
					if math.Hypot(o.Contour[k].X-s.Contour[k].X, o.Contour[k].Y-s.Contour[k].Y) > 1e-4 {
						t.Errorf("%s: point %d is %v, want %v", m.Quantity, k, o.Contour[k], s.Contour[k])
					}
				}
			}
		}
		remarks := []Remark{{mainGroup, "view probability 0.75 is below 0.80"}, {"Peak", "systole is cut off"}}
		if d := cmp.Diff(remarks, doc.Remarks()); d != "" {
			t.Errorf("remarks (-want +got):\n%s", d)
		}
		if d := cmp.Diff(r.NotMeasured, doc.NotMeasured()); d != "" {
			t.Errorf("not measured (-want +got):\n%s", d)
		}
		if d := cmp.Diff(append(r.Comments, Disclaimer), doc.Comments()); d != "" {
			t.Errorf("comments (-want +got):\n%s", d)
		}
		if d := cmp.Diff(r.Evidence, doc.Evidence); d != "" {
			t.Errorf("evidence (-want +got):\n%s", d)
		}
		if doc.PatientName != "Müller^Jürgen" {
			t.Errorf("patient name %q", doc.PatientName)
		}
		if n, v := doc.Algorithm(); n != "echonode-lv" || v != "0.3" {
			t.Errorf("algorithm %q %q", n, v)
		}
	}
}

// A frame number is not allowed for a single-frame image, and not needed.
func TestSingleFrameSource(t *testing.T) {
	r := report()
	for i := range r.Evidence {
		r.Evidence[i].SOPClassUID = uid.UltrasoundImageStorage
	}
	r.Measurements = r.Measurements[6:8] // both on frame 1
	ds := build(t, r)
	doc, err := Parse(ds)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range doc.Measurements() {
		if m.Sources[0].Frame != 0 {
			t.Errorf("%s refers to frame %d of a single-frame image", m.Concept, m.Sources[0].Frame)
		}
	}
	for _, line := range dciodvfy(t, write(t, ds)) {
		if strings.HasPrefix(line, "Error") {
			t.Error(line)
		}
	}
	r.Measurements[0].Sources[0].Frame = 2
	if _, err := Build(r); !errors.Is(err, ErrReport) {
		t.Errorf("frame 2 of a single-frame image: %v", err)
	}
}

func TestBuildRefuses(t *testing.T) {
	for name, spoil := range map[string]func(*Report){
		"no source":              func(r *Report) { r.Source = nil },
		"no study UID":           func(r *Report) { r.Source.Delete(tag.StudyInstanceUID) },
		"bad instance UID":       func(r *Report) { r.SOPInstanceUID = "1.2.x" },
		"no time":                func(r *Report) { r.Time = time.Time{} },
		"no observer UID":        func(r *Report) { r.Observer.UID = "" },
		"no model version":       func(r *Report) { r.Algorithm.Version = "" },
		"unknown code set":       func(r *Report) { r.Settings.Codeset = "icd" },
		"unknown quantity":       func(r *Report) { r.Measurements[0].Quantity = 99 },
		"unknown method":         func(r *Report) { r.Measurements[1].Method = 99 },
		"unknown view":           func(r *Report) { r.Measurements[1].View = 99 },
		"unit of another":        func(r *Report) { r.Measurements[1].Unit = CM },
		"NaN":                    func(r *Report) { r.Measurements[1].Value = math.NaN() },
		"infinite":               func(r *Report) { r.Measurements[1].Value = math.Inf(1) },
		"negative":               func(r *Report) { r.Measurements[1].Value = -1 },
		"zero volume":            func(r *Report) { r.Measurements[1].Value = 0 },
		"second value":           func(r *Report) { r.Measurements[3].Selection = 0 },
		"two preferred":          func(r *Report) { r.Measurements[4].Selection = UserChosen },
		"foreign source":         func(r *Report) { r.Measurements[1].Sources[0].SOPInstanceUID = "9.9" },
		"evidence without class": func(r *Report) { r.Evidence[0].SOPClassUID = "" },
		"unknown stage":          func(r *Report) { r.Measurements[9].Stage = 9 },
		"unknown formula":        func(r *Report) { r.Subject.Formula = 9 },
		"negative frame":         func(r *Report) { r.Measurements[1].Sources[0].Frame = -1 },
		"one point":              func(r *Report) { r.Measurements[7].Sources[0].Contour = []Point{{1, 1}} },
		"NaN point":              func(r *Report) { r.Measurements[7].Sources[0].Contour = []Point{{1, 1}, {math.NaN(), 2}} },
		"endless contour":        func(r *Report) { r.Measurements[7].Sources[0].Contour = make([]Point, 5000) },
		"no reason":              func(r *Report) { r.NotMeasured = []NotMeasured{{"EF", " "}} },
		"sex":                    func(r *Report) { r.Subject.Sex = "X" },
		"station too long":       func(r *Report) { r.Observer.Station = "A NAME OF MORE THAN SIXTEEN" },
	} {
		r := report()
		spoil(&r)
		if _, err := Build(r); !errors.Is(err, ErrReport) {
			t.Errorf("%s: %v, want ErrReport", name, err)
		}
	}
}

// content finds the first content item with the concept value, depth first.
func content(ds *dicomio.DataSet, concept string) *dicomio.DataSet {
	for _, it := range ds.Items(tag.ContentSequence) {
		if it.Item(tag.ConceptNameCodeSequence, 0).String(tag.CodeValue) == concept {
			return it
		}
		if found := content(it, concept); found != nil {
			return found
		}
	}
	return nil
}

// ofType finds the first content item of a value type, depth first.
func ofType(ds *dicomio.DataSet, vt string) *dicomio.DataSet {
	for _, it := range ds.Items(tag.ContentSequence) {
		if it.String(tag.ValueType) == vt {
			return it
		}
		if found := ofType(it, vt); found != nil {
			return found
		}
	}
	return nil
}

// Each fault is one edit of a good document; most are missed by dciodvfy, by
// dsrdump or by both.
func TestCheckFindsFaults(t *testing.T) {
	num := func(ds *dicomio.DataSet) *dicomio.DataSet { return content(ds, "18026-5") }
	for _, tt := range []struct {
		name  string
		rule  Rule
		spoil func(ds *dicomio.DataSet)
	}{
		{"a: unit missing", RuleUnit, func(ds *dicomio.DataSet) {
			num(ds).Item(tag.MeasuredValueSequence, 0).Delete(tag.MeasurementUnitsCodeSequence)
		}},
		{"b: method under CONTAINS", RuleRelationship, func(ds *dicomio.DataSet) {
			content(num(ds), "370129005").SetString(tag.RelationshipType, "CONTAINS")
		}},
		{"c: no evidence", RuleEvidence, func(ds *dicomio.DataSet) { ds.Delete(tag.CurrentRequestedProcedureEvidenceSequence) }},
		{"d: other evidence", RuleEvidence, func(ds *dicomio.DataSet) {
			ds.Item(tag.CurrentRequestedProcedureEvidenceSequence, 0).Item(tag.ReferencedSeriesSequence, 0).
				Item(tag.ReferencedSOPSequence, 0).SetString(tag.ReferencedSOPInstanceUID, "1.2.3.99")
		}},
		{"d: other class", RuleEvidence, func(ds *dicomio.DataSet) {
			ds.Item(tag.CurrentRequestedProcedureEvidenceSequence, 0).Item(tag.ReferencedSeriesSequence, 0).
				Item(tag.ReferencedSOPSequence, 0).SetString(tag.ReferencedSOPClassUID, uid.SecondaryCaptureImageStorage)
		}},
		{"e: long number", RuleValue, func(ds *dicomio.DataSet) {
			num(ds).Item(tag.MeasuredValueSequence, 0).SetBytes(tag.NumericValue, "DS", []byte("117.84812345678901"))
		}},
		{"e: no number", RuleValue, func(ds *dicomio.DataSet) {
			num(ds).Item(tag.MeasuredValueSequence, 0).SetBytes(tag.NumericValue, "DS", []byte("NaN "))
		}},
		{"f: polygon", RuleGraphic, func(ds *dicomio.DataSet) { ofType(ds, "SCOORD").SetString(tag.GraphicType, "POLYGON") }},
		{"g: no template", RuleTemplate, func(ds *dicomio.DataSet) { ds.Delete(tag.ContentTemplateSequence) }},
		{"h: no finding site", RuleFindingSite, func(ds *dicomio.DataSet) {
			f := content(ds, "59776-5")
			f.SetItems(tag.ContentSequence, f.Items(tag.ContentSequence)[1:]...)
		}},
		{"h: other finding site", RuleFindingSite, func(ds *dicomio.DataSet) {
			content(ds, "363698007").SetItems(tag.ConceptCodeSequence, instance.Code("73829009", "SCT", "Right atrium"))
		}},
		{"i: no completion flag", RuleHeader, func(ds *dicomio.DataSet) { ds.Delete(tag.CompletionFlag) }},
		{"j: no concept name", RuleConcept, func(ds *dicomio.DataSet) { num(ds).Delete(tag.ConceptNameCodeSequence) }},
		{"k: other meaning", RuleMeaning, func(ds *dicomio.DataSet) {
			content(ds, "18043-0").SetItems(tag.ConceptNameCodeSequence, instance.Code("18043-0", "LN", "Right Ventricular Ejection Fraction"))
		}},
		{"l: verified", RuleHeader, func(ds *dicomio.DataSet) { ds.SetString(tag.VerificationFlag, "VERIFIED") }},
		{"m: odd coordinates", RuleGraphic, func(ds *dicomio.DataSet) { ofType(ds, "SCOORD").SetFloat(tag.GraphicData, 1, 2, 3, 4, 5) }},
		{"m: coordinates without image", RuleGraphic, func(ds *dicomio.DataSet) { ofType(ds, "SCOORD").Delete(tag.ContentSequence) }},
		{"m: negative coordinate", RuleGraphic, func(ds *dicomio.DataSet) { ofType(ds, "SCOORD").SetFloat(tag.GraphicData, 1, 2, -3, 4) }},
		{"o: unit mL/foo", RuleUnit, func(ds *dicomio.DataSet) {
			num(ds).Item(tag.MeasuredValueSequence, 0).SetItems(tag.MeasurementUnitsCodeSequence, instance.Code("mL/foo", "UCUM", "mL/foo"))
		}},
		{"unit mL", RuleUnit, func(ds *dicomio.DataSet) {
			num(ds).Item(tag.MeasuredValueSequence, 0).SetItems(tag.MeasurementUnitsCodeSequence, instance.Code("mL", "UCUM", "mL"))
		}},
		{"concept out of the table", RuleConcept, func(ds *dicomio.DataSet) {
			num(ds).SetItems(tag.ConceptNameCodeSequence, instance.Code("11726-7", "LN", "Velocity"))
		}},
		{"method out of the table", RuleValue, func(ds *dicomio.DataSet) {
			content(num(ds), "370129005").SetItems(tag.ConceptCodeSequence, instance.Code("1", "DCM", "Guess"))
		}},
		{"mixed code sets", RuleCodeset, func(ds *dicomio.DataSet) {
			content(num(ds), "399264008").SetItems(tag.ConceptNameCodeSequence, instance.Code("G-0373", "SRT", "Image Mode"))
		}},
		{"negative volume", RuleValue, func(ds *dicomio.DataSet) {
			num(ds).Item(tag.MeasuredValueSequence, 0).SetString(tag.NumericValue, "-5")
		}},
		{"observer is a person", RuleObserver, func(ds *dicomio.DataSet) {
			content(ds, "121005").SetItems(tag.ConceptCodeSequence, instance.Code("121006", "DCM", "Person"))
		}},
		{"author missing", RuleObserver, func(ds *dicomio.DataSet) { ds.Delete(tag.AuthorObserverSequence) }},
		{"empty group", RuleGroup, func(ds *dicomio.DataSet) {
			g := content(ds, "125007")
			g.SetItems(tag.ContentSequence, g.Items(tag.ContentSequence)[:2]...)
		}},
		{"preference lost", RuleDuplicate, func(ds *dicomio.DataSet) {
			ef := content(ds, "18043-0")
			var kept []*dicomio.DataSet
			for _, it := range ef.Items(tag.ContentSequence) {
				if it.Item(tag.ConceptNameCodeSequence, 0).String(tag.CodeValue) != "121404" {
					kept = append(kept, it)
				}
			}
			ef.SetItems(tag.ContentSequence, kept...)
		}},
		{"reference to what is no image", RuleEvidence, func(ds *dicomio.DataSet) {
			pdf := func(d *dicomio.DataSet) { d.SetString(tag.ReferencedSOPClassUID, "1.2.840.10008.5.1.4.1.1.104.1") }
			pdf(ds.Item(tag.CurrentRequestedProcedureEvidenceSequence, 0).Item(tag.ReferencedSeriesSequence, 0).Item(tag.ReferencedSOPSequence, 0))
			pdf(content(ds, "111028").Item(tag.ContentSequence, 0).Item(tag.ReferencedSOPSequence, 0))
		}},
		{"nameless image", RuleConcept, func(ds *dicomio.DataSet) {
			content(ds, "111028").Item(tag.ContentSequence, 0).Delete(tag.ConceptNameCodeSequence)
		}},
		{"other modality", RuleHeader, func(ds *dicomio.DataSet) { ds.SetString(tag.Modality, "US") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := report()
			ds := build(t, r)
			tt.spoil(ds)
			if err := ds.Err(); err != nil {
				t.Fatal(err)
			}
			problems := Check(ds, r.Evidence)
			found := false
			for _, p := range problems {
				found = found || p.Rule == tt.rule
			}
			if !found {
				t.Errorf("problems %v, want one of rule %q", problems, tt.rule)
			}
		})
	}
}

func TestCheckKnowsTheStudy(t *testing.T) {
	r := report()
	ds := build(t, r)
	if p := Check(ds, r.Evidence[:1]); len(p) != 1 || p[0].Rule != RuleEvidence {
		t.Errorf("problems %v, want the instance that is not of the study", p)
	}
	if p := Check(study(), nil); len(p) != 1 || p[0].Rule != RuleHeader {
		t.Errorf("problems %v for a data set that is no report", p)
	}
}

func TestParseHostile(t *testing.T) {
	if _, err := Parse(nil); !errors.Is(err, ErrNotReport) {
		t.Errorf("nil: %v", err)
	}
	deep := dicomio.NewDataSet()
	deep.SetString(tag.ValueType, "CONTAINER")
	for range 200 {
		outer := dicomio.NewDataSet()
		outer.SetString(tag.ValueType, "CONTAINER")
		outer.SetItems(tag.ContentSequence, deep)
		deep = outer
	}
	if _, err := Parse(deep); !errors.Is(err, ErrNotReport) {
		t.Errorf("200 levels: %v", err)
	}
	// A NUM without a value and an image without a reference are read, and shown.
	r := report()
	ds := build(t, r)
	content(ds, "18026-5").SetEmpty(tag.MeasuredValueSequence)
	ofType(ds, "IMAGE").Delete(tag.ReferencedSOPSequence)
	doc, err := Parse(ds)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := doc.WriteText(&b); err != nil || !strings.Contains(b.String(), "Left Ventricular End Diastolic Volume") {
		t.Errorf("text %q, %v", b.String(), err)
	}
}

func TestHTMLEscapes(t *testing.T) {
	r := report()
	r.Comments = []string{`<script>alert("x")</script>`}
	doc, err := Parse(build(t, r))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := doc.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "<script>") || !strings.Contains(b.String(), "&lt;script&gt;") {
		t.Error("comment is not escaped")
	}
}

// Control characters of a name or a comment reach no terminal and no page.
func TestRenderingDropsControlCharacters(t *testing.T) {
	doc, err := Parse(build(t, report()))
	if err != nil {
		t.Fatal(err)
	}
	doc.PatientName = "Esc\x1b[2Jape^\u009bC1"
	var text, page bytes.Buffer
	if err := errors.Join(doc.WriteText(&text), doc.WriteHTML(&page, Figure{"ED <1>", "image/png", []byte("data")})); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{text.String(), page.String()} {
		if strings.ContainsAny(s, "\x1b\u009b") || !strings.Contains(s, "Esc[2Jape") {
			t.Error("control characters are written")
		}
	}
	if !strings.Contains(page.String(), `src="data:image/png;base64,ZGF0YQ=="`) || !strings.Contains(page.String(), "ED &lt;1&gt;") {
		t.Error("the figure is not on the page")
	}
}

func TestReadableName(t *testing.T) {
	for pn, want := range map[string]string{
		"Müller^Jürgen^^Dr": "Müller, Jürgen Dr", "Stressecho^Example^^^": "Stressecho, Example", "ONE": "ONE", "": "",
		"Yamada^Tarou=山田^太郎": "Yamada, Tarou", "^Only": "Only",
		"=山田^太郎=やまだ^たろう": "山田, 太郎", "==やまだ^たろう": "やまだ, たろう", "^^=^": "",
	} {
		if got := ReadableName(pn); got != want {
			t.Errorf("%q is %q, want %q", pn, got, want)
		}
	}
}

func TestStageOf(t *testing.T) {
	for name, want := range map[string]Stage{
		"Baseline": Resting, "REST": Resting, "Low Dose": Stress, "Pre Peak": Stress, "Peak": PeakStress,
		"Peak Dose": PeakStress, "Max Dose": PeakStress, "Stage 4 Peak": PeakStress, "MAX": PeakStress, "Peak Exercise": PeakStress,
		"IMPOST": PeakStress, "Imm Post": PeakStress, "Immediate Post Exercise": PeakStress, "IMMED. POST": PeakStress,
		"Rest Stage": Resting, "Baseline (Stage 1)": Resting, "Rest ": Resting, "Pre-Exercise": Resting, "Stress": Stress, "POST EX": Recovery,
		"Prepeak": Stress, "Low-dose dobutamine": Stress, "50 W": Stress, "Protocol rest": Resting, "Restricted": 0,
		"Post Exercise": Recovery, "RECOVERY": Recovery, "Stage 2": Stress, "Exercise": Stress, "": 0, "A4C": 0,
		"Adenosine": Stress, "Atropine": Stress, "Dipyridamol 0.84 mg/kg": Stress, "Effort": Stress, "Pic": PeakStress, "Handgrip": Stress,
		"Valsalva": Stress, "Pacing 120": Stress, "Regadenoson": Stress, "Ergonovine": Stress, "Isoproterenol": Stress, "Leg raising": Stress,
		"Tilt 60": Stress, "Sforzo": Stress, "Esfuerzo": Stress, "Inspanning": Stress, "Pico": PeakStress, "Picco": PeakStress, "Piek": PeakStress,
		"vor Belastung": Resting, "Nachbelastung": Recovery, "nach Belastung": Recovery, "unter Belastung": Stress, "Belastung 50 W": Stress,
		"before stress": Resting, "avant effort": Resting, "Pre dobutamine": Resting, "Ruhe": Resting, "Basal": Resting, "Before the stress": Resting,
		"Pre-peak exercise": Stress, "pre peak stress": Stress, "Prepeak stress": Stress, "Pre-max dose": Stress, "Pre Peak Dobutamine": Stress,
		"before peak stress": Stress, "Vorletzte Belastungsstufe": Stress, "Maximum before stress stop": PeakStress, "Vorbelastung": Stress,
		"10 µg/kg/min": Stress, "Dobu 20": Stress, "DSE 20": Stress, "20 gamma": Stress, "Stufe 2": Stress, "Palier 2": Stress, "Étape 2": Stress,
		"Fase 2": Stress, "Level 2": Stress, "Phase 1": 0, "Ergometrie": Stress, "Treadmill": Stress, "Supine bike": Stress, "PLR": Stress,
		"Prima dello sforzo": Resting, "prima dell'esercizio": Resting, "apres effort": Recovery, "pacing off": Resting, "Post-op": 0, "Post TAVI": 0,
		"post MI": 0, "Post 3 min": Recovery, "Post": Recovery, "5 min post": Recovery, "PostEx": Recovery, "Post peak": Recovery,
		"REST2": Resting, "In rust": Resting, "Stage 1": 0, "STAGE 01": 0, "Stage 12": Stress, "REST (2)": Resting, "Stress (3)": Stress, "Vorhof": 0, "Picture": 0,
	} {
		if got := StageOf(name); got != want {
			t.Errorf("%q is %v, want %v", name, got, want)
		}
	}
}

func TestFormatNumber(t *testing.T) {
	for _, tt := range []struct {
		v    float64
		u    Unit
		want string
	}{{117.848, ML, "117.8"}, {8.7146, CM, "8.71"}, {60.04, Percent, "60"}, {1.9964, M2, "2"}, {71.6, BPM, "72"}, {0.02, ML, "0"}} {
		if got, err := formatNumber(tt.v, tt.u); err != nil || got != tt.want {
			t.Errorf("%v: %q, %v; want %q", tt.v, got, err, tt.want)
		}
	}
	for _, tt := range []struct {
		s    string
		n    int
		want string
	}{{"27", 1, "27.0"}, {"27.1", 1, "27.1"}, {"8.7", 2, "8.70"}, {"27", 0, "27"}, {"-17", 1, "-17.0"}, {"123456789012345", 1, "123456789012345"}} {
		if got := withDecimals(tt.s, tt.n); got != tt.want {
			t.Errorf("%s with %d decimals is %q, want %q", tt.s, tt.n, got, tt.want)
		}
	}
	for _, v := range []float64{math.NaN(), math.Inf(-1), 1e20} {
		if got, err := formatNumber(v, ML); err == nil {
			t.Errorf("%v gave %q", v, got)
		}
	}
}

// Values of the atrium stand in a section of their own, so that no reader files
// them under the ventricle; strain is the one quantity with a sign.
func TestAtriumHasItsOwnSection(t *testing.T) {
	r := report()
	r.Measurements = append(r.Measurements,
		Measurement{Quantity: LAVolume, Value: 58, Unit: ML, Method: DisksSinglePlane, Mode: Mode2D, View: A4C},
		Measurement{Quantity: ContourStrain, Value: -17, Unit: Percent, Mode: Mode2D, View: A4C})
	doc, err := Parse(build(t, r))
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, m := range doc.Measurements() {
		switch {
		case m.Concept.Is(LAVolume.Code(SCT)):
			found++
			if m.Site.Meaning != "Left Atrium" || m.Value != 58 {
				t.Errorf("LA volume: %+v", m)
			}
		case m.Concept.Is(ContourStrain.Code(SCT)):
			found++
			if m.Site.Meaning != "Left Ventricle" || m.Value != -17 || m.Concept.Scheme != "99ECHONODE" {
				t.Errorf("strain: %+v", m)
			}
		case m.Site.Meaning != "Left Ventricle":
			t.Errorf("%s at %s", m.Concept, m.Site)
		}
	}
	if found != 2 {
		t.Errorf("%d of 2 values found", found)
	}
	r.Measurements[len(r.Measurements)-2].Value = -58
	if _, err := Build(r); err == nil {
		t.Error("negative volume accepted")
	}
}

// A standard deviation of nothing is one; of a single beat there is none.
func TestSpread(t *testing.T) {
	r := report()
	r.Measurements = r.Measurements[3:4]
	r.Measurements[0].Spread = &Spread{Beats: 2}
	doc, err := Parse(build(t, r))
	if err != nil {
		t.Fatal(err)
	}
	if got := doc.Measurements()[0]; got.Spread == nil || *got.Spread != (Spread{Beats: 2}) || len(doc.Measurements()) != 1 {
		t.Errorf("%+v", got)
	}
	for _, s := range []Spread{{Beats: 1, SD: 1}, {Beats: 3, SD: -1}, {Beats: 3, SD: math.NaN()}} {
		r.Measurements[0].Spread = &s
		if _, err := Build(r); !errors.Is(err, ErrReport) {
			t.Errorf("%+v: %v", s, err)
		}
	}
}

// A page calls an image as the remarks do where the caller says how, and by its place
// elsewhere; a maker that is called as its product is named once.
func TestNamesOfImages(t *testing.T) {
	doc, err := Parse(build(t, report()))
	if err != nil {
		t.Fatal(err)
	}
	doc.Names = map[string]string{doc.Evidence[0].SOPInstanceUID: "loop 7"}
	var text, html strings.Builder
	if err := errors.Join(doc.WriteText(&text), doc.WriteHTML(&html)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"loop 7 frame ", "loop 7: <code>", "image 2: <code>", " by EchoNode 0."} {
		if !strings.Contains(html.String(), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(html.String(), "image 1") || !strings.Contains(text.String(), "  loop 7   "+doc.Evidence[0].SOPInstanceUID) {
		t.Errorf("%s", text.String())
	}
}
