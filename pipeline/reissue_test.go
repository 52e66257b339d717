package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/echonode/echonode/dicomio/tag"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/derived"
	"github.com/echonode/echonode/pipeline/output"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/sr"
)

// twoViewStudy is a study of a four- and a two-chamber loop, with its files.
func twoViewStudy(t *testing.T) *Study {
	t.Helper()
	dir := t.TempDir()
	four, two := standard("1.2.3.1"), standard("1.2.3.2")
	two.diameterMM, two.mark = beats(60, 43, 1), true
	return analyse(t, twoViews{newBrightness(models.ViewA4C)}, four.write(t, dir), two.write(t, dir))
}

func allOutputs() output.Options {
	return output.Options{Report: true, Codeset: sr.SCT, Overlay: "all", JPEGQuality: 90, Pictures: true, Segmentation: true, Summary: true, PDF: true,
		Station: "ECHONODE", Revision: 1}
}

// objectsOnly are all objects without the pictures for people.
func objectsOnly() output.Options {
	o := allOutputs()
	o.Pictures = false
	return o
}

// copyOf is the result after a way through JSON.
func copyOf(t *testing.T, s *result.Study) *result.Study {
	t.Helper()
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var back result.Study
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	return &back
}

// contents are the digests of the files of a folder.
func contents(t *testing.T, dir string) map[string][32]byte {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][32]byte{}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = sha256.Sum256(b)
	}
	return out
}

// A result that was stored as JSON gives the same bytes as the one in memory:
// nothing that outputs need is lost on the way.
func TestReissueGivesTheSameBytes(t *testing.T) {
	s := twoViewStudy(t)
	stored := copyOf(t, &s.Study)
	first, second := t.TempDir(), t.TempDir()
	made, err := output.Write(context.Background(), &s.Study, output.FilesOf(&s.Study, dicomio.Limits{}), first, allOutputs())
	if err != nil {
		t.Fatal(err)
	}
	again, err := output.Write(context.Background(), stored, output.FilesOf(stored, dicomio.Limits{}), second, allOutputs())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(contents(t, first), contents(t, second)); d != "" {
		t.Errorf("files differ:\n%s", d)
	}
	if len(made) == 0 || len(made) != len(again) {
		t.Fatalf("%d outputs, then %d", len(made), len(again))
	}
	for i := range made {
		if made[i].SOPInstanceUID != again[i].SOPInstanceUID || made[i].Kind != again[i].Kind {
			t.Errorf("output %d: %+v, then %+v", i, made[i], again[i])
		}
	}
}

// Whatever changes the bytes of an object changes its UID, so that no UID ever
// names two objects; and what leaves the bytes alone leaves the UID alone.
func TestUIDNamesOneObject(t *testing.T) {
	s := twoViewStudy(t)
	seen := map[string][32]byte{}
	write := func(s *result.Study, o output.Options, src output.Files) map[string]string {
		t.Helper()
		dir := t.TempDir()
		made, err := output.Write(context.Background(), s, src, dir, o)
		if err != nil {
			t.Fatal(err)
		}
		files := contents(t, dir)
		uids := map[string]string{}
		for _, m := range made {
			if m.SOPInstanceUID == "" {
				continue
			}
			name := filepath.Base(m.File)
			uids[name] = m.SOPInstanceUID
			if old, ok := seen[m.SOPInstanceUID]; ok && old != files[name] {
				t.Errorf("%s: %s names two objects", name, m.SOPInstanceUID)
			}
			seen[m.SOPInstanceUID] = files[name]
			f, err := dicomio.Open(m.File, dicomio.Options{Strict: true})
			if err != nil {
				t.Fatal(err)
			}
			if in := f.DataSet.String(tag.SOPInstanceUID); in != m.SOPInstanceUID {
				t.Errorf("%s holds UID %s, listed as %s", name, in, m.SOPInstanceUID)
			}
			_ = f.Close() // read only
		}
		return uids
	}
	sources := output.FilesOf(&s.Study, dicomio.Limits{})
	base := write(&s.Study, objectsOnly(), sources)
	if len(base) != 7 { // report, two overlays, two segmentations, summary and PDF
		t.Fatalf("%d objects: %v", len(base), base)
	}
	if d := cmp.Diff(base, write(&s.Study, objectsOnly(), sources)); d != "" {
		t.Errorf("same inputs, other UIDs:\n%s", d)
	}
	renamed := renamedCopy(t, sources)
	for name, tc := range map[string]struct {
		study   func(*result.Study)
		options func(*output.Options)
		sources output.Files
		changed []string // nil for all
		but     string   // what of all does not depend on it
	}{
		"run time":     {study: func(s *result.Study) { s.Run.Time = s.Run.Time.Add(time.Second) }},
		"version":      {study: func(s *result.Study) { s.Run.Software.Version = "other" }},
		"model":        {study: func(s *result.Study) { s.Run.Model.Version = "2" }},
		"station":      {options: func(o *output.Options) { o.Station = "OTHER" }},
		"patient name": {sources: renamed},
		"JPEG quality": {options: func(o *output.Options) { o.JPEGQuality = 80 }, but: "summary.dcm"},
		"code set":     {options: func(o *output.Options) { o.Codeset = sr.SRT }, changed: []string{"report.dcm", "summary-pdf.dcm"}},
		"class":        {options: func(o *output.Options) { o.Class = derived.Ultrasound }, but: "summary.dcm"},
		"contour":      {study: func(s *result.Study) { s.Loops[0].FrameResults[4].Contour[3][0] += 2 }, changed: []string{"loop-01-a4c.dcm", "loop-01-a4c-seg.dcm", "summary-pdf.dcm"}},
		"value":        {study: func(s *result.Study) { *s.Measurements[0].Value = 33 }, changed: []string{"report.dcm", "summary.dcm", "summary-pdf.dcm"}},
	} {
		t.Run(name, func(t *testing.T) {
			study, o, src := copyOf(t, &s.Study), objectsOnly(), sources
			if tc.study != nil {
				tc.study(study)
			}
			if tc.options != nil {
				tc.options(&o)
			}
			if tc.sources.Paths != nil {
				src = tc.sources
			}
			uids := write(study, o, src)
			if tc.changed == nil {
				for name := range base {
					if name != tc.but {
						tc.changed = append(tc.changed, name)
					}
				}
			}
			for name := range base {
				if changed := uids[name] != base[name]; changed != slices.Contains(tc.changed, name) {
					t.Errorf("%s: its UID is another: %v", name, changed)
				}
			}
		})
	}
}

// What stands on the summary about its verification is what the report says.
func TestSummarySaysWhetherAReaderSigned(t *testing.T) {
	s := twoViewStudy(t)
	for name, tc := range map[string]struct {
		review   *result.Review
		standing string
	}{
		"nobody signed": {nil, "UNVERIFIED"},
		"accepted":      {&result.Review{Verdict: result.Accepted, Name: "Reader^Rita", Organisation: "Clinic", Time: s.Run.Time}, "VERIFIED"},
		"corrected":     {&result.Review{Verdict: result.Corrected, Name: "Reader^Rita", Organisation: "Clinic", Time: s.Run.Time}, "VERIFIED"},
	} {
		t.Run(name, func(t *testing.T) {
			study := copyOf(t, &s.Study)
			study.Review = tc.review
			o := objectsOnly()
			o.Overlay, o.Segmentation = "none", false
			made, err := output.Write(context.Background(), study, output.FilesOf(study, dicomio.Limits{}), t.TempDir(), o)
			if err != nil {
				t.Fatal(err)
			}
			seen := map[string]bool{}
			for _, m := range made {
				if m.Kind != result.KindReport && m.Kind != result.KindSummary && m.Kind != result.KindPDF {
					continue
				}
				seen[m.Kind] = true
				f, err := dicomio.Open(m.File, dicomio.Options{Strict: true})
				if err != nil {
					t.Fatal(err)
				}
				ds := f.DataSet
				_ = f.Close() // read only
				got := map[string]string{
					result.KindReport:  ds.String(tag.VerificationFlag),
					result.KindSummary: ds.String(tag.DerivationDescription),
					result.KindPDF:     ds.String(tag.DocumentTitle),
				}[m.Kind]
				if got != tc.standing && !strings.HasSuffix(got, ", "+tc.standing) {
					t.Errorf("%s: %q, want %s", m.Kind, got, tc.standing)
				}
			}
			if len(seen) != 3 {
				t.Errorf("looked at %v only", seen)
			}
		})
	}
}

// renamedCopy are the sources with another patient name and the same UIDs.
func renamedCopy(t *testing.T, src output.Files) output.Files {
	t.Helper()
	dir := t.TempDir()
	out := output.Files{Paths: map[string]string{}}
	for uid, path := range src.Paths {
		f, err := dicomio.Open(path, dicomio.Options{})
		if err != nil {
			t.Fatal(err)
		}
		f.DataSet.SetString(tag.PatientName, "Other^Name")
		name := filepath.Join(dir, uid+".dcm")
		w, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := dicomio.Write(w, f.DataSet, dicomio.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		_ = f.Close() // read only
		out.Paths[uid] = name
	}
	return out
}

// No series ever holds objects under two names: what is drawn anew after one
// loop of a study was renamed has series of its own.
func TestSeriesHaveOnePatient(t *testing.T) {
	s := twoViewStudy(t)
	src := output.FilesOf(&s.Study, dicomio.Limits{})
	renamed := renamedCopy(t, src)
	renamed.Paths[s.Loops[0].SOPInstanceUID] = src.Paths[s.Loops[0].SOPInstanceUID] // only the second is corrected
	names := map[string]string{}
	objects := 0
	for _, files := range []output.Files{src, renamed} {
		dir := t.TempDir()
		made, err := output.Write(context.Background(), &s.Study, files, dir, objectsOnly())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range made {
			f, err := dicomio.Open(m.File, dicomio.Options{})
			if err != nil {
				t.Fatal(err)
			}
			series, name := f.DataSet.String(tag.SeriesInstanceUID), f.DataSet.String(tag.PatientName)
			if old, seen := names[series]; seen && old != name {
				t.Errorf("series of %s holds %q and %q", m.Kind, old, name)
			}
			names[series] = name
			objects++
			_ = f.Close() // read only
		}
	}
	if objects != 14 {
		t.Errorf("%d objects, want 7 of each", objects)
	}
}

// What is drawn of a loop depends on that loop alone: a late loop, another
// revision and a later time of the study leave it as it was, and what was drawn
// before is listed, not made again.
func TestDrawingsOutliveTheirStudy(t *testing.T) {
	s := twoViewStudy(t)
	src := output.FilesOf(&s.Study, dicomio.Limits{})
	for i := range s.Loops {
		run := s.Run
		run.Time = run.Time.Add(-time.Duration(i+1) * time.Hour) // on arrival
		s.Loops[i].Run, s.Loops[i].Number = &run, i+1
	}
	alone := result.Study{StudyInstanceUID: s.StudyInstanceUID, Run: s.Run, Loops: s.Loops[:1]}
	first := t.TempDir()
	drawn, err := output.Draw(context.Background(), &alone, 0, src, first, allOutputs())
	if err != nil {
		t.Fatal(err)
	}
	later := copyOf(t, &s.Study)
	later.Run.Time = later.Run.Time.Add(24 * time.Hour)
	o := allOutputs()
	o.Revision = 7
	second := t.TempDir()
	if _, err := output.Write(context.Background(), later, src, second, o); err != nil {
		t.Fatal(err)
	}
	before, after := contents(t, first), contents(t, second)
	if len(before) < 4 {
		t.Fatalf("%d files drawn", len(before))
	}
	for name, sum := range before {
		if after[name] != sum {
			t.Errorf("%s is another file in the later study", name)
		}
	}
	o.Drawn = map[string][]result.Output{s.Loops[0].SOPInstanceUID: drawn}
	third := t.TempDir()
	made, err := output.Write(context.Background(), later, src, third, o)
	if err != nil {
		t.Fatal(err)
	}
	listed := 0
	for _, m := range made {
		if filepath.Dir(m.File) == first {
			listed++
		}
	}
	for name := range contents(t, third) {
		if _, again := before[name]; again {
			t.Errorf("%s was made again", name)
		}
	}
	if listed != len(drawn) {
		t.Errorf("%d of %d drawings are listed", listed, len(drawn))
	}
}
