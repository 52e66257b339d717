package pipeline

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/output"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/sr"
)

// everything are the options for all objects and files that are made of a study.
func everything() output.Options {
	return output.Options{Report: true, Codeset: sr.SCT, Overlay: "all", Segmentation: true, Summary: true, PDF: true, Pictures: true,
		Stages: output.StagesSeparate, JPEGQuality: 80, Station: "X"}
}

// What an object says in words may hold anything, as the rest of a buffer behind a
// NUL, line ends or tabs, and be of any length: it costs no output, and what is told
// of it is plain and short.
func TestTextsOfObjectsCostNoOutput(t *testing.T) {
	words := func(at dicomio.Tag, vr, text string) func(*dicomio.DataSet) {
		return func(ds *dicomio.DataSet) { ds.SetBytes(at, vr, []byte(text)) }
	}
	within := func(at, in dicomio.Tag, text string) func(*dicomio.DataSet) {
		return func(ds *dicomio.DataSet) {
			item := dicomio.NewDataSet()
			words(in, "LO", text)(item)
			ds.SetItems(at, item)
		}
	}
	long := strings.Repeat("Stress echo ", 5000)
	for name, c := range map[string]struct {
		edit   func(*dicomio.DataSet)
		stage  string
		report string // is told
	}{
		"stage NUL":            {words(tag.StageName, "SH", "Rest\x001"), "Rest 1", ""},
		"stage SOH":            {words(tag.StageName, "SH", "Rest\x01"), "Rest", ""},
		"stage TAB":            {words(tag.StageName, "SH", "Rest\t1 "), "Rest 1", ""},
		"stage LF":             {words(tag.StageName, "SH", "Rest\n1 "), "Rest 1", ""},
		"stage ESC":            {words(tag.StageName, "SH", "Rest\x1b1"), "", ""},
		"stage DEL":            {words(tag.StageName, "SH", "Rest\x7f1"), "Rest 1", ""},
		"stage of noise":       {words(tag.StageName, "SH", "\xff\xfe\x80\x01"), "", ""},
		"stage long":           {words(tag.StageName, "UT", strings.Repeat("Hall 7 ", 9000)), "", "which is no known name"},
		"stage none":           {words(tag.StageName, "SH", "N/A\x00junk"), "", ""},
		"stage code":           {within(tag.StageCodeSequence, tag.CodeMeaning, "Rest\x00 2"), "Rest 2", ""},
		"series":               {words(tag.SeriesDescription, "LO", "A4C\tRest"), "A4C Rest", ""},
		"study description":    {words(tag.StudyDescription, "LO", "Stress\x01 echo"), "", "under stress (Stress echo) and no stage"},
		"long description":     {words(tag.StudyDescription, "UT", long), "", "under stress (Stress echo Stress"},
		"protocol":             {words(tag.ProtocolName, "LO", "Stress\x00 echo"), "", "under stress (Stress echo) and no stage"},
		"contrast":             {words(tag.StudyDescription, "UT", "Definity\r\n "+long), "", "contrast agent (Definity Stress echo"},
		"species":              {words(tag.PatientSpeciesDescription, "LO", "Canis\x00lupus"), "", "of an animal (Canis lupus)"},
		"species coded":        {within(tag.PatientSpeciesCodeSequence, tag.CodeMeaning, "Cat\x01"), "", "of an animal (Cat)"},
		"breed":                {words(tag.PatientBreedDescription, "LO", "Sphynx\x01\x02x"), "", "of an animal (Sphynx x)"},
		"view":                 {words(tag.ViewName, "SH", "A2C\x01"), "", `the view "A2C"`},
		"view long":            {words(tag.ViewName, "UT", "A2C\x01"+long), "", `the view "A2C Stress echo`},
		"modality":             {words(tag.Modality, "CS", "O\x01T"), "", "modality is O T"},
		"transducer":           {words(tag.TransducerType, "CS", "TEE\x01"), "", "(type TEE)"},
		"heart rate":           {words(tag.HeartRate, "IS", "60\x01x61"), "", `Heart Rate is no number ("60 x61")`},
		"size":                 {words(tag.PatientSize, "DS", "1\x018"), "", "Size is no number"},
		"maker":                {words(tag.Manufacturer, "LO", "GE\x00x"), "", ""},
		"patient":              {words(tag.PatientName, "PN", "Te\x01st^A\x00"), "", ""},
		"patient ID":           {words(tag.PatientID, "LO", "T\x001 "), "", ""},
		"physician":            {words(tag.ReferringPhysicianName, "PN", "D\x00r"), "", ""},
		"method":               {words(tag.LossyImageCompressionMethod, "CS", "jpeg\x01 "), "", ""},
		"acquisition time":     {words(tag.AcquisitionTime, "TM", "101010.\x01 "), "", ""},
		"number of the stage":  {words(tag.StageNumber, "IS", "1\x012 "), "", ""},
		"body part and region": {within(tag.AnatomicRegionSequence, tag.CodeMeaning, "Heart\x00"), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			loop := standard("1.2.3.1")
			loop.edit = func(ds *dicomio.DataSet) {
				ds.SetString(tag.LossyImageCompression, "01").SetString(tag.LossyImageCompressionRatio, "9")
				c.edit(ds)
			}
			s := analyse(t, newBrightness(models.ViewA4C), loop.write(t, t.TempDir()))
			l := s.Loops[0]
			if c.stage != "" && l.Stage != c.stage {
				t.Errorf("stage %q, want %q", l.Stage, c.stage)
			}
			dir := t.TempDir()
			list, err := output.Write(context.Background(), &s.Study, output.FilesOf(&s.Study, dicomio.Limits{}), dir, everything())
			if err != nil {
				t.Fatal(err)
			}
			if n := count(list, result.KindOverlay); n != 1 && l.Status == result.Analysed {
				t.Errorf("%d overlays", n)
			}
			if n := count(list, result.KindSummary) + count(list, result.KindPDF); n != 2 {
				t.Errorf("%d summaries", n)
			}
			all := textsOf(t, filepath.Join(dir, "report.dcm"))
			if !strings.Contains(strings.Join(all, "\n"), c.report) {
				t.Errorf("%q is not told:\n%s", c.report, strings.Join(all, "\n"))
			}
			for _, text := range all {
				if strings.ContainsFunc(text, unicode.IsControl) || len(text) > 1000 {
					t.Errorf("text %.1000q", text)
				}
			}
		})
	}
}

// Accession numbers that differ are told in plain words, and of many the first.
func TestAccessionNumbersOfObjectsAreToldPlainly(t *testing.T) {
	dir := t.TempDir()
	var files []string
	for i, number := range []string{"A\x01", "B\t2", "C", "D", "E", "F", strings.Repeat("G", 16)} {
		c := standard("1.2.3." + string(rune('1'+i)))
		c.lengthMM, c.diameterMM = c.lengthMM[:1], c.diameterMM[:1]
		c.edit = func(ds *dicomio.DataSet) { ds.SetBytes(tag.AccessionNumber, "SH", []byte(number)) }
		files = append(files, c.write(t, dir))
	}
	s := analyse(t, newBrightness(models.ViewA4C), files...)
	comments := strings.Join(parsed(t, made(t, &s.Study, reportOnly(""))["report.dcm"]).Comments(), "\n")
	if want := "The objects of the study differ in the accession number (A, B 2, C, D and 3 more); what was made"; !strings.Contains(comments, want) {
		t.Errorf("comments %.3000q", comments)
	}
}

// What an earlier program kept of texts costs no output either.
func TestTextsOfEarlierResultsCostNoOutput(t *testing.T) {
	s := analyse(t, newBrightness(models.ViewA4C), standard("1.2.3.1").write(t, t.TempDir()))
	s.Loops[0].Stage = "Rest\x001"
	for i := range s.Measurements {
		m := &s.Measurements[i]
		m.Stage = "Rest\x001"
		m.Quality.Warnings = append(m.Quality.Warnings, result.Reason{Code: "x", Text: "the object says \x01\xff"})
	}
	s.Review = &result.Review{Verdict: result.Accepted, Name: "Reader^R\x01", Organisation: "Clinic\t1", Time: s.Run.Time, Comment: "one\ntwo\x01"}
	for _, f := range made(t, &s.Study, everything()) {
		if text := f.DataSet.String(tag.SeriesDescription); strings.ContainsFunc(text, unicode.IsControl) {
			t.Errorf("series description %q", text)
		}
	}
}

func count(list []result.Output, kind string) (n int) {
	for _, o := range list {
		if o.Kind == kind {
			n++
		}
	}
	return n
}

// textsOf are all texts of a report.
func textsOf(t *testing.T, path string) (out []string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil || len(b) > 1<<20 {
		t.Fatal(len(b), err)
	}
	f, err := dicomio.Open(path, dicomio.Options{Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	parsed(t, f).Root.Walk(func(_ []int, it *sr.Item) {
		if it.Type == sr.Text {
			out = append(out, it.Text)
		}
	})
	if !slices.Contains(out, sr.Disclaimer) {
		t.Errorf("texts %q", out)
	}
	return out
}
