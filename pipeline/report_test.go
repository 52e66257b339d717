package pipeline

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/kept"
	"github.com/echonode/echonode/pipeline/objects"
	"github.com/echonode/echonode/pipeline/output"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/sr"
)

// made are the outputs of a study by file name.
func made(t *testing.T, s *result.Study, o output.Options) map[string]*dicomio.File {
	t.Helper()
	dir := t.TempDir()
	list, err := output.Write(context.Background(), s, output.FilesOf(s, dicomio.Limits{}), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*dicomio.File{}
	for _, m := range list {
		if m.SOPInstanceUID == "" {
			continue
		}
		f, err := dicomio.Open(m.File, dicomio.Options{Strict: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() }) // read only
		out[filepath.Base(m.File)] = f
		validateObject(t, m)
	}
	return out
}

// validateObject runs dciodvfy on an object, and dsrdump on a report.
func validateObject(t *testing.T, m result.Output) {
	t.Helper()
	check := func(tool string, bad func(line string) bool, args ...string) {
		path, err := exec.LookPath(tool)
		if err != nil {
			return // make test insists on it
		}
		b, err := exec.Command(path, append(args, m.File)...).CombinedOutput()
		if tool == "dsrdump" && err != nil {
			t.Errorf("%s: dsrdump: %v\n%s", filepath.Base(m.File), err, b)
		}
		for line := range strings.Lines(string(b)) {
			if bad(line) {
				t.Errorf("%s: %s: %s", filepath.Base(m.File), tool, strings.TrimSpace(line))
			}
		}
	}
	check("dciodvfy", func(line string) bool { return strings.HasPrefix(line, "Error") }, "-new")
	if m.Kind == result.KindReport {
		check("dsrdump", func(line string) bool { return strings.HasPrefix(line, "E:") })
	}
}

func parsed(t *testing.T, f *dicomio.File) *sr.Document {
	t.Helper()
	if f == nil {
		t.Fatal("no report")
	}
	doc, err := sr.Parse(f.DataSet)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// reportOnly are the options for a report and nothing else.
func reportOnly(stages string) output.Options {
	return output.Options{Report: true, Codeset: sr.SCT, Overlay: "none", Stages: stages}
}

// stressStudy has loops at peak, which come first, at rest, and immediately
// after; the true ejection fractions are 79 at peak and 59 at rest.
func stressStudy(t *testing.T) *Study {
	t.Helper()
	dir := t.TempDir()
	peak, rest, low := standard("1.2.3.1"), standard("1.2.3.2"), standard("1.2.3.3")
	peak.stage, rest.stage, low.stage = "Peak Dose", "Rest Stage", "Low Dose"
	for i, c := range []*cine{&peak, &rest, &low} {
		number := []int64{3, 1, 2}[i]
		c.edit = func(ds *dicomio.DataSet) {
			ds.SetInt(tag.StageNumber, number)
			ds.SetInt(tag.ViewNumber, 1)
			ds.SetInt(tag.InstanceNumber, int64(10+i))
		}
	}
	peak.diameterMM, low.diameterMM = beats(50, 25, 1), beats(50, 30, 1)
	return analyse(t, newBrightness(models.ViewA4C), peak.write(t, dir), rest.write(t, dir), low.write(t, dir))
}

// readers are three ways in which importers in the field take a value: the
// first of a code, the last, and any that carries no stage.
func readers(doc *sr.Document) map[string]float64 {
	out := map[string]float64{}
	for _, m := range doc.Measurements() {
		if !m.Concept.Is(sr.EF.Code(sr.SCT)) {
			continue
		}
		if _, ok := out["first"]; !ok {
			out["first"] = m.Value
		}
		out["last"] = m.Value
		if m.Selection == (sr.Code{}) && out["unmarked"] == 0 {
			out["unmarked"] = m.Value
		}
	}
	return out
}

// A report of a stress study never lets an importer that knows no stages store
// the ejection fraction at peak as the one at rest.
func TestStressReportsAndReadersWithoutStages(t *testing.T) {
	s := stressStudy(t)
	rest := parsed(t, made(t, &s.Study, reportOnly(output.StagesRest))["report.dcm"])
	for rule, ef := range readers(rest) {
		if ef < 57 || ef > 61 {
			t.Errorf("a reader that takes the %s value stores EF %g, at rest it is 59", rule, ef)
		}
	}
	comments := strings.Join(rest.Comments(), "\n")
	if !strings.Contains(comments, "Peak Dose (in words only") || !strings.Contains(comments, "EF 78 %") || !strings.Contains(comments, "Low Dose") {
		t.Errorf("the other stages are not told: %s", comments)
	}

	separate := made(t, &s.Study, reportOnly(output.StagesSeparate))
	if len(separate) != 3 {
		t.Fatalf("%d reports for three stages", len(separate))
	}
	series := map[string]bool{}
	for name, want := range map[string]sr.Stage{"report.dcm": sr.Resting, "report-stage-2.dcm": sr.Stress, "report-stage-3.dcm": sr.PeakStress} {
		doc := parsed(t, separate[name])
		for _, m := range doc.Measurements() {
			if m.Stage.Meaning != want.String() {
				t.Errorf("%s holds %s of %s, want %s", name, m.Concept, m.Stage, want)
			}
		}
		series[separate[name].DataSet.String(tag.SeriesInstanceUID)] = true
	}
	if len(series) != 3 {
		t.Error("reports of different stages share a series")
	}
	for rule, ef := range readers(parsed(t, separate["report.dcm"])) {
		if ef < 57 || ef > 61 {
			t.Errorf("separate: a reader that takes the %s value stores EF %g", rule, ef)
		}
	}

	all := parsed(t, made(t, &s.Study, reportOnly(output.StagesAll))["report.dcm"])
	var order []string
	for _, m := range all.Measurements() {
		if !slices.Contains(order, m.Group) {
			order = append(order, m.Group)
		}
		if preferred := m.Selection != (sr.Code{}); preferred != (m.Group == "Rest Stage") {
			t.Errorf("%s in %s: preferred %v", m.Concept, m.Group, preferred)
		}
	}
	if fmt.Sprint(order) != "[Rest Stage Low Dose Peak Dose]" {
		t.Errorf("groups in the order %v", order)
	}
}

// A study of peak loops alone has no resting value to code.
func TestPeakAloneIsNotRest(t *testing.T) {
	c := standard("1.2.3.1")
	c.stage = "IMPOST"
	s := analyse(t, newBrightness(models.ViewA4C), c.write(t, t.TempDir()))
	doc := parsed(t, made(t, &s.Study, reportOnly(output.StagesRest))["report.dcm"])
	if n := len(doc.Measurements()); n != 0 {
		t.Errorf("%d values of the peak stage are coded as if at rest", n)
	}
	if !strings.Contains(strings.Join(doc.Comments(), "\n"), "IMPOST (in words only") {
		t.Errorf("comments %q", doc.Comments())
	}
}

// The report takes patient and accession from the last object, and says that
// the objects differ; the overlay has the same.
func TestCorrectedPatient(t *testing.T) {
	dir := t.TempDir()
	old, corrected := standard("1.2.3.1"), standard("1.2.3.2")
	old.edit = func(ds *dicomio.DataSet) {
		ds.SetString(tag.PatientName, "Typo^N")
		ds.SetString(tag.AccessionNumber, "ACC-OLD")
	}
	corrected.edit = func(ds *dicomio.DataSet) {
		ds.SetString(tag.PatientName, "Typo^Name")
		ds.SetString(tag.AccessionNumber, "ACC-NEW")
	}
	s := analyse(t, newBrightness(models.ViewA4C), old.write(t, dir), corrected.write(t, dir))
	o := allOutputs()
	o.Pictures = false
	for name, f := range made(t, &s.Study, o) {
		if n, a := f.DataSet.String(tag.PatientName), f.DataSet.String(tag.AccessionNumber); n != "Typo^Name" || a != "ACC-NEW" {
			t.Errorf("%s is of %s, %s", name, n, a)
		}
		if name == "report.dcm" {
			all := strings.Join(parsed(t, f).Comments(), "\n")
			if !strings.Contains(all, "ACC-OLD, ACC-NEW") || !strings.Contains(all, "differ in the patient's name") {
				t.Errorf("the conflict is not named: %s", all)
			}
		}
	}
}

// Persons who share a Patient ID are never combined; of one of them nothing is
// said under the other's name.
func TestPersonsWhoShareAnID(t *testing.T) {
	dir := t.TempDir()
	one, other := standard("1.2.3.1"), standard("1.2.3.2")
	one.edit = func(ds *dicomio.DataSet) {
		ds.SetString(tag.PatientID, "0").SetString(tag.PatientName, "One^A").SetString(tag.PatientBirthDate, "19400101")
	}
	other.edit = func(ds *dicomio.DataSet) {
		ds.SetString(tag.PatientID, "0").SetString(tag.PatientName, "Other^B").SetString(tag.PatientBirthDate, "19900101")
	}
	s := analyse(t, newBrightness(models.ViewA4C), one.write(t, dir), other.write(t, dir))
	for _, m := range s.Measurements {
		if m.Value != nil || m.Reason == nil || m.Reason.Code != result.TwoPatients {
			t.Errorf("%s: %v, %v", m.Name, m.Value, m.Reason)
		}
	}
}

// Objects that are no images are not listed as images: dcmtk refuses a report
// that does so.
func TestNoImagesAreNotListed(t *testing.T) {
	dir := t.TempDir()
	c := standard("1.2.3.1")
	ds := dicomio.NewDataSet()
	for at, v := range map[dicomio.Tag]string{tag.SOPClassUID: uid.ComprehensiveSRStorage, tag.SOPInstanceUID: "1.2.3.9", tag.StudyInstanceUID: "1.2.3",
		tag.SeriesInstanceUID: "1.2.3.8", tag.Modality: "SR", tag.PatientID: "T1", tag.PatientName: "Test^Synthetic"} {
		ds.SetString(at, v)
	}
	path := filepath.Join(dir, "cart-sr.dcm")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := dicomio.Write(f, ds, dicomio.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	s := analyse(t, newBrightness(models.ViewA4C), path, c.write(t, dir))
	doc := parsed(t, made(t, &s.Study, reportOnly(""))["report.dcm"])
	if len(doc.Evidence) != 1 || doc.Evidence[0].SOPInstanceUID != "1.2.3.1" {
		t.Errorf("evidence %v", doc.Evidence)
	}
}

// Lengths are drawn as the axis they are; areas and volumes as the contour.
func TestSourcesShowWhatWasMeasured(t *testing.T) {
	c := standard("1.2.3.1")
	s := analyse(t, newBrightness(models.ViewA4C), c.write(t, t.TempDir()))
	doc := parsed(t, made(t, &s.Study, reportOnly(""))["report.dcm"])
	seen := 0
	for _, m := range doc.Measurements() {
		for _, src := range m.Sources {
			switch {
			case m.Concept.Is(sr.LVLengthD.Code(sr.SCT)):
				seen++
				if len(src.Contour) != 2 || src.Closed {
					t.Fatalf("length: %d points", len(src.Contour))
				}
				dx, dy := src.Contour[0].X-src.Contour[1].X, src.Contour[0].Y-src.Contour[1].Y
				if mm := 0.6 * (dx*dx + dy*dy); mm < 50 {
					t.Error("the axis has no length")
				}
			case m.Concept.Is(sr.EDV.Code(sr.SCT)):
				seen++
				if len(src.Contour) < 10 || !src.Closed {
					t.Errorf("volume: %d points", len(src.Contour))
				}
			}
		}
	}
	if seen < 2 {
		t.Error("no length or no volume in the report")
	}
}

// The surface area, the age and what belongs to them.
func TestPatientCharacteristics(t *testing.T) {
	dir := t.TempDir()
	with := func(sop string, pairs ...string) *Study {
		c := standard(sop)
		c.edit = func(ds *dicomio.DataSet) {
			for i, at := range []dicomio.Tag{tag.PatientSex, tag.PatientAge, tag.PatientSize, tag.PatientWeight} {
				ds.SetString(at, pairs[i])
			}
		}
		return analyse(t, newBrightness(models.ViewA4C), c.write(t, dir))
	}
	adult := made(t, &with("1.2.3.1", "F", "045Y", "1.8", "80").Study, reportOnly(""))["report.dcm"]
	var text strings.Builder
	if err := parsed(t, adult).WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "Body Surface Area") || !strings.Contains(text.String(), "EF 58 %: normal (ASE/EACVI 2015)") {
		t.Errorf("report of an adult:\n%s", text.String())
	}
	child := parsed(t, made(t, &with("1.2.3.2", "F", "007Y", "1.2", "25").Study, reportOnly(""))["report.dcm"])
	text.Reset()
	if err := child.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	// 25 kg and 120 cm have 0.914 m2; half an ellipsoid of 118 mL is large for that.
	if !strings.Contains(text.String(), "The patient was 7 years old") || !strings.Contains(text.String(), "a body surface of 0.91 m2 by Haycock (PHN 2017)") ||
		!strings.Contains(text.String(), ": z-score +6.") || strings.Contains(text.String(), "ASE/EACVI") {
		t.Errorf("report of a child:\n%s", text.String())
	}
	// The files for people do not have the template's title, which is that of adults;
	// numbers have their decimals, units are written as on the summary page.
	for name, title := range map[string]string{"045Y": "Adult Echocardiography Procedure Report\n",
		"007Y": "Echocardiography Procedure Report, child of 7 years\n"} {
		s, o, dir := with("1.2.3.3", "O", name, "1.5", "50"), reportOnly(""), t.TempDir()
		o.Pictures = true
		v := 27.0
		for i := range s.Measurements {
			if s.Measurements[i].Name == result.AreaED {
				s.Measurements[i].Value = &v
			}
		}
		if _, err := output.Write(context.Background(), &s.Study, output.FilesOf(&s.Study, dicomio.Limits{}), dir, o); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(dir, "report.txt"))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"27.0 cm2", " mL ", "Other sex"} {
			if !strings.Contains(string(b), want) {
				t.Errorf("%s: no %q:\n%s", name, want, b)
			}
		}
		if !strings.HasPrefix(string(b), title) || strings.Contains(string(b), " ml ") {
			t.Errorf("%s:\n%s", name, b)
		}
	}
}

// Dates and times say in which zone they stand: that of the source where it
// names one.
func TestTimeZone(t *testing.T) {
	dir := t.TempDir()
	c := standard("1.2.3.1")
	s := analyse(t, newBrightness(models.ViewA4C), c.write(t, dir))
	s.Run.Time = time.Date(2024, 1, 10, 23, 30, 0, 0, time.FixedZone("", 3600))
	ds := made(t, &s.Study, reportOnly(""))["report.dcm"].DataSet
	if z, d, c := ds.String(tag.TimezoneOffsetFromUTC), ds.String(tag.ContentDate), ds.String(tag.ContentTime); z != "+0100" || d != "20240110" || c != "233000" {
		t.Errorf("own zone: %s %s %s", d, c, z)
	}
	c.sop = "1.2.3.2"
	c.edit = func(ds *dicomio.DataSet) { ds.SetString(tag.TimezoneOffsetFromUTC, "+0900") }
	s = analyse(t, newBrightness(models.ViewA4C), c.write(t, dir))
	s.Run.Time = time.Date(2024, 1, 10, 23, 30, 0, 0, time.FixedZone("", 3600))
	ds = made(t, &s.Study, reportOnly(""))["report.dcm"].DataSet
	if z, d, c := ds.String(tag.TimezoneOffsetFromUTC), ds.String(tag.ContentDate), ds.String(tag.ContentTime); z != "+0900" || d != "20240111" || c != "073000" {
		t.Errorf("the source's zone: %s %s %s", d, c, z)
	}
}

// Overlays of a stress study are told apart by series description, stage and
// view.
func TestOverlaysAreToldApart(t *testing.T) {
	s := stressStudy(t)
	o := output.Options{Overlay: "all", JPEGQuality: 80}
	descriptions := map[string]bool{}
	for name, f := range made(t, &s.Study, o) {
		ds := f.DataSet
		descriptions[ds.String(tag.SeriesDescription)] = true
		if ds.String(tag.StageName) == "" || ds.String(tag.StageNumber) == "" || ds.String(tag.ViewNumber) == "" {
			t.Errorf("%s has lost stage or view", name)
		}
	}
	if len(descriptions) != 3 || !descriptions["AI LV A4C Peak Dose loop 10"+s.Run.Time.Format(" 2006-01-02 15:04")] {
		t.Errorf("series descriptions %v", descriptions)
	}
}

// Every stage has a summary page with its own values, valid as an object; the
// PDF holds all of them.
func TestSummaries(t *testing.T) {
	s := stressStudy(t)
	o := output.Options{Overlay: "none", Summary: true, PDF: true}
	all := made(t, &s.Study, o)
	if len(all) != 4 {
		t.Fatalf("%d objects for three stages", len(all))
	}
	for name, stage := range map[string]string{"summary.dcm": "Rest Stage", "summary-stage-2.dcm": "Low Dose", "summary-stage-3.dcm": "Peak Dose"} {
		f := all[name]
		if f == nil {
			t.Fatalf("no %s", name)
		}
		ds := f.DataSet
		if ds.String(tag.StageName) != stage || ds.String(tag.BurnedInAnnotation) != "YES" || ds.String(tag.SOPClassUID) != uid.SecondaryCaptureImageStorage {
			t.Errorf("%s: stage %q, burned in %s, class %s", name, ds.String(tag.StageName), ds.String(tag.BurnedInAnnotation), ds.String(tag.SOPClassUID))
		}
		if rows, _ := ds.Int(tag.Rows); rows != 1190 {
			t.Errorf("%s has %d rows", name, rows)
		}
	}
	pdf, err := all["summary-pdf.dcm"].DataSet.Bytes(tag.EncapsulatedDocument)
	if err != nil || strings.Count(string(pdf), "/Type /Page\n") < 3 && strings.Count(string(pdf), "/Type /Page") < 3 {
		t.Errorf("the PDF has not three pages: %v", err)
	}
	if n := len(all["summary-pdf.dcm"].DataSet.Items(tag.SourceInstanceSequence)); n != 3 {
		t.Errorf("%d sources of the PDF", n)
	}
}

// The page of a stage in which nothing has changed stays the object that it was,
// in a later run too, and is not drawn again; what Write makes without anything
// kept is the same.
func TestSummaryPagesAreKept(t *testing.T) {
	s := stressStudy(t)
	for i := range s.Loops {
		run := s.Run
		run.Time = run.Time.Add(-time.Duration(i) * time.Minute)
		s.Loops[i].Run = &run
	}
	home := t.TempDir()
	var drawn atomic.Int32 // pages are drawn at the same time
	files, err := objects.NewFiles(objects.NewDirectory(home), "", 0)
	if err != nil {
		t.Fatal(err)
	}
	keep := func(key string, make func(string) ([]result.Output, error)) ([]result.Output, error) {
		return kept.In(files, filepath.Join(home, "scratch"), "pages").Draw(t.Context(), key, "test", func(dir string) ([]result.Output, error) {
			drawn.Add(1)
			return make(dir)
		})
	}
	pages := func(o output.Options) map[string]string {
		o.Overlay, o.Summary = "none", true
		list, err := output.Write(context.Background(), &s.Study, output.FilesOf(&s.Study, dicomio.Limits{}), t.TempDir(), o)
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]string{}
		for _, m := range list {
			out[filepath.Base(m.File)] = m.SOPInstanceUID
		}
		return out
	}
	first := pages(output.Options{Keep: keep})
	if d := cmp.Diff(first, pages(output.Options{})); len(first) != 3 || drawn.Load() != 3 || d != "" {
		t.Fatalf("%d pages, %d drawn; made anew:\n%s", len(first), drawn.Load(), d)
	}
	// A later run, after a loop of the second stage came.
	s.Run.Time = s.Run.Time.Add(time.Hour)
	for i := range s.Loops {
		if s.Loops[i].Stage == "Low Dose" {
			s.Loops[i].Run.Time = s.Run.Time
		}
	}
	second := pages(output.Options{Keep: keep, Revision: 2})
	if drawn.Load() != 4 || second["summary-stage-2.dcm"] == first["summary-stage-2.dcm"] {
		t.Errorf("%d pages drawn, want the one that changed", drawn.Load()-3)
	}
	first["summary-stage-2.dcm"] = second["summary-stage-2.dcm"]
	if d := cmp.Diff(first, second); d != "" {
		t.Errorf("pages of the other stages changed:\n%s", d)
	}
	if d := cmp.Diff(second, pages(output.Options{Revision: 2})); d != "" {
		t.Errorf("made anew:\n%s", d)
	}
}

// An object whose UID is none is not referred to by the report, which says so;
// what only has zeros before a component is drawn under the UID it has. The
// validators read the rest of the study.
func TestUIDsThatAreNone(t *testing.T) {
	for uid, drawn := range map[string]bool{"1.2.3.x": false, "1.2.003.2": true} {
		dir := t.TempDir()
		good, bad := standard("1.2.3.1"), standard("1.2.003.2")
		s := analyse(t, newBrightness(models.ViewA4C), good.write(t, dir), bad.write(t, dir))
		s.Loops[1].SOPInstanceUID, s.Loops[1].InstanceNumber = uid, 7
		for i := range s.Measurements {
			for k := range s.Measurements[i].Sources {
				if src := &s.Measurements[i].Sources[k]; src.SOPInstanceUID == "1.2.003.2" {
					src.SOPInstanceUID = uid
				}
			}
		}
		doc := parsed(t, made(t, &s.Study, reportOnly(""))["report.dcm"])
		if len(doc.Evidence) != 1 || doc.Evidence[0].SOPInstanceUID != "1.2.3.1" ||
			!strings.Contains(strings.Join(doc.Comments(), "\n"), "The UID of loop 7 is none that DICOM allows") {
			t.Errorf("%s: evidence %v, comments %q", uid, doc.Evidence, doc.Comments())
		}
		if len(doc.Measurements()) == 0 {
			t.Errorf("%s: the values are gone", uid)
		}
		list, err := output.Write(context.Background(), &s.Study, output.FilesOf(&s.Study, dicomio.Limits{}), t.TempDir(),
			output.Options{Overlay: "all", JPEGQuality: 80})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(list); n != 1 && !drawn || n != 2 && drawn {
			t.Errorf("%s: %d overlays", uid, n)
		}
	}
}

// An ejection fraction too small to be measured is told as what it is.
func TestSeverelyReducedIsTold(t *testing.T) {
	c := standard("1.2.3.1")
	s := analyse(t, newBrightness(models.ViewA4C), c.write(t, t.TempDir()))
	for i := range s.Measurements {
		if m := &s.Measurements[i]; m.Name == result.EF {
			m.Value, m.Beats, m.Reason = nil, nil,
				&result.Reason{Code: result.SeverelyReduced, Text: "severely reduced, below what can be measured: EF is under about 10 %"}
		}
	}
	doc := parsed(t, made(t, &s.Study, reportOnly(""))["report.dcm"])
	if !slices.Contains(doc.Comments(), "EF severely reduced, below what can be measured: EF is under about 10 %") {
		t.Errorf("comments %q", doc.Comments())
	}
	for _, m := range doc.NotMeasured() {
		if strings.Contains(m.What, "EF") {
			t.Errorf("listed as not measured: %+v", m)
		}
	}
}

// Two stages of one name and different numbers, as protocols that repeat a stage
// have them, are two stages everywhere: in the report, coded or in words, and each
// with a page of its own.
func TestTwoStagesOfOneName(t *testing.T) {
	dir := t.TempDir()
	var files []string
	for i := range 2 {
		c := standard("1.2.3." + strconv.Itoa(i+1))
		c.stage = "REST"
		c.edit = func(ds *dicomio.DataSet) { ds.SetInt(tag.StageNumber, int64(i+1)) }
		files = append(files, c.write(t, dir))
	}
	s := analyse(t, newBrightness(models.ViewA4C), files...)
	for i := range s.Loops {
		if got, want := s.StageOf(&s.Loops[i]), fmt.Sprintf("REST (%d)", i+1); got != want {
			t.Errorf("loop %d is told under %q, want %q", i+1, got, want)
		}
	}
	for _, stages := range []string{output.StagesRest, output.StagesSeparate, output.StagesAll} {
		o := reportOnly("")
		o.Stages, o.Summary = stages, true
		names := made(t, &s.Study, o)
		var text strings.Builder
		if err := parsed(t, names["report.dcm"]).WriteText(&text); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(text.String(), "REST (1)") || stages != output.StagesSeparate && !strings.Contains(text.String(), "REST (2)") {
			t.Errorf("%s:\n%s", stages, text.String())
		}
		if names["summary.dcm"] == nil || names["summary-stage-2.dcm"] == nil {
			t.Errorf("%s: %d objects", stages, len(names))
		}
	}
}

// aloneOpen are sources that are to be opened one after the other.
type aloneOpen struct {
	t      *testing.T
	src    output.Files
	opened int
}

func (a *aloneOpen) Open(ctx context.Context, uid string) (*dicomio.File, error) {
	a.opened++
	if held := a.src.Limits.Memory.InUse(); held != 0 {
		a.t.Errorf("object %d is opened while %d bytes are held by others", a.opened, held)
	}
	return a.src.Open(ctx, uid)
}

// One object is open at a time while outputs are made: the memory for indexes may have
// room for no more than two.
func TestOutputsOpenOneObject(t *testing.T) {
	dir := t.TempDir()
	a, b := standard("1.2.3.1"), standard("1.2.3.2")
	b.edit = func(ds *dicomio.DataSet) {
		ds.SetString(tag.StudyID, "another").SetString(tag.TimezoneOffsetFromUTC, "+0230")
	}
	s := &analyse(t, newBrightness(models.ViewA4C), a.write(t, dir), b.write(t, dir)).Study
	src := &aloneOpen{t: t, src: output.FilesOf(s, dicomio.Limits{Memory: dicomio.NewMemory(64 << 20)})}
	o := objectsOnly()
	o.Keep = func(_ string, make func(string) ([]result.Output, error)) ([]result.Output, error) {
		return make(t.TempDir())
	}
	list, err := output.Write(t.Context(), s, src, t.TempDir(), o)
	if err != nil || src.opened < 4 {
		t.Fatal(src.opened, err)
	}
	for _, m := range list {
		if m.SOPInstanceUID == "" {
			continue
		}
		f, err := dicomio.Open(m.File, dicomio.Options{Strict: true})
		if err != nil {
			t.Fatal(err)
		}
		if got := []string{f.DataSet.String(tag.StudyID), f.DataSet.String(tag.TimezoneOffsetFromUTC)}; !slices.Equal(got, []string{"another", "+0230"}) {
			t.Errorf("%s: %q, want those of the last object", m.Kind, got)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A cine that a converter stored under the class of a single picture is measured like
// any other; the report refers to it without frames, says so, and holds the study's
// other loops as ever.
func TestCineOfASinglePicturesClass(t *testing.T) {
	for _, class := range []string{uid.UltrasoundImageStorage, uid.UltrasoundImageStorageRetired, uid.SecondaryCaptureImageStorage} {
		dir := t.TempDir()
		odd, peak := standard("1.2.3.1"), standard("1.2.3.2")
		odd.edit = func(ds *dicomio.DataSet) { ds.SetString(tag.SOPClassUID, class).SetInt(tag.InstanceNumber, 7) }
		peak.stage = "Peak"
		s := analyse(t, newBrightness(models.ViewA4C), odd.write(t, dir), peak.write(t, dir))
		o := everything()
		o.Stages = output.StagesAll
		all := made(t, &s.Study, o)
		doc := parsed(t, all["report.dcm"])
		values := map[string]int{}
		for _, m := range doc.Measurements() {
			for _, src := range m.Sources {
				values[src.SOPInstanceUID]++
				if named := src.Frame > 0 || len(src.Contour) > 0; named != (src.SOPInstanceUID == "1.2.3.2") {
					t.Errorf("%s: %s refers to %+v", class, m.Concept, src)
				}
			}
		}
		if values["1.2.3.1"] < 5 || values["1.2.3.2"] < 5 {
			t.Errorf("%s: references %v", class, values)
		}
		if text := strings.Join(doc.Comments(), "\n"); !strings.Contains(text, "Stored as a single picture, of which no frame can be named: loop 7.") {
			t.Errorf("%s: comments %s", class, text)
		}
		seg := all["loop-07-a4c-seg.dcm"]
		if seg == nil {
			t.Fatalf("%s: no segmentation", class)
		}
		source := seg.DataSet.Item(tag.PerFrameFunctionalGroupsSequence, 3).Item(tag.DerivationImageSequence, 0).Item(tag.SourceImageSequence, 0)
		if source.String(tag.ReferencedSOPInstanceUID) != "1.2.3.1" || source.Has(tag.ReferencedFrameNumber) {
			t.Errorf("%s: the segmentation names a frame of a single picture", class)
		}
	}
}

// An overlay is played at the speed at which its loop was measured, whatever the
// object says that the analysis did not believe; and at none where nobody knows one.
func TestOverlaysHaveTheMeasuredTimes(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*dicomio.DataSet)
		want string // Frame Time; "" for none
	}{
		"as it should be":        {func(*dicomio.DataSet) {}, "35"},
		"Frame Time in seconds":  {func(ds *dicomio.DataSet) { ds.SetFloat(tag.FrameTime, 0.035).SetInt(tag.CineRate, 28) }, "35.7143"},
		"seconds, and no rate":   {func(ds *dicomio.DataSet) { ds.SetFloat(tag.FrameTime, 0.035) }, ""},
		"a vector of increments": {vectorOf(func(i int) float64 { return 35 * float64(min(i, 1)) }), "35"},
		"a vector of times": {func(ds *dicomio.DataSet) {
			vectorOf(func(i int) float64 { return 35 * float64(i) })(ds)
			ds.SetInt(tag.CineRate, 28)
		}, "35.7143"},
	} {
		loop := standard("1.2.3.1")
		loop.edit = c.edit
		s := analyse(t, newBrightness(models.ViewA4C), loop.write(t, t.TempDir()))
		ds := made(t, &s.Study, output.Options{Overlay: "all", JPEGQuality: 80})["loop-01-a4c.dcm"].DataSet
		if got := ds.String(tag.FrameTime); got != c.want {
			t.Errorf("%s: Frame Time %q, want %q", name, got, c.want)
		}
		rate, known := ds.Int(tag.CineRate)
		if known != (c.want != "") || known && (rate < 28 || rate > 29) || ds.String(tag.RecommendedDisplayFrameRate) != ds.String(tag.CineRate) {
			t.Errorf("%s: Cine Rate %d, known %v", name, rate, known)
		}
		if ds.Has(tag.FrameTimeVector) {
			t.Errorf("%s: Frame Time Vector %v", name, ds.Strings(tag.FrameTimeVector))
		}
	}
}

// vectorOf makes a Frame Time Vector of thirty elements the source of the times.
func vectorOf(step func(i int) float64) func(*dicomio.DataSet) {
	return func(ds *dicomio.DataSet) {
		var v []float64
		for i := range 30 {
			v = append(v, step(i))
		}
		ds.Delete(tag.FrameTime).SetTags(tag.FrameIncrementPointer, tag.FrameTimeVector).SetFloat(tag.FrameTimeVector, v...)
	}
}
