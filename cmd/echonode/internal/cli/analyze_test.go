package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/pipeline"
	"github.com/echonode/echonode/pipeline/result"
)

// still writes an ultrasound image of one grey level, which nobody can measure.
func still(t *testing.T, dir, sop, study, patient string) string {
	t.Helper()
	ds := dicomio.NewDataSet()
	for at, v := range map[dicomio.Tag]string{
		tag.SOPClassUID: uid.UltrasoundImageStorage, tag.SOPInstanceUID: sop, tag.StudyInstanceUID: study, tag.SeriesInstanceUID: strings.TrimPrefix(study+".1", "."),
		tag.PatientID: patient, tag.PatientName: patient, tag.Modality: "US", tag.PhotometricInterpretation: "MONOCHROME2",
	} {
		ds.SetString(at, v)
	}
	for at, v := range map[dicomio.Tag]int64{
		tag.Rows: 32, tag.Columns: 32, tag.SamplesPerPixel: 1, tag.BitsAllocated: 8, tag.BitsStored: 8, tag.HighBit: 7, tag.PixelRepresentation: 0,
	} {
		ds.SetInt(at, v)
	}
	var b bytes.Buffer
	if err := dicomio.Write(&b, ds, dicomio.WriteOptions{Pixels: dicomio.FrameBytes([][]byte{make([]byte, 32*32)})}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, sop+".dcm")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// A folder belongs to one study of one patient: another patient's results never
// come to lie beside it, and a repeated run leaves nothing of the first behind.
func TestOutputFoldersAreKeptApart(t *testing.T) {
	out := t.TempDir()
	study := func(uid, key string) *pipeline.Study {
		s := &pipeline.Study{}
		s.StudyInstanceUID, s.Subject = uid, &result.Subject{Key: key}
		return s
	}
	claim := func(s *pipeline.Study, outputs ...string) error {
		dir := filepath.Join(out, folderName(s.StudyInstanceUID))
		var run folders
		if err := run.reuse(dir, &s.Study); err != nil {
			return err
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range outputs {
			s.Outputs = append(s.Outputs, result.Output{File: filepath.Join(dir, name)})
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		b, err := json.Marshal(&s.Study)
		if err != nil {
			t.Fatal(err)
		}
		return os.WriteFile(filepath.Join(dir, resultFile), b, 0o644)
	}
	if err := claim(study("1.2.3", "a"), "loop-01.dcm", "loop-02.dcm"); err != nil {
		t.Fatal(err)
	}
	if err := claim(study("1.2.3", "a"), "loop-01.dcm"); err != nil {
		t.Errorf("same study again: %v", err)
	}
	if _, err := os.Stat(filepath.Join(out, "1.2.3", "loop-02.dcm")); !errors.Is(err, os.ErrNotExist) {
		t.Error("a loop of the first run is left beside the second")
	}
	if err := claim(study("1.2.3", "b")); !errors.Is(err, errOtherPatient) {
		t.Errorf("other patient: %v", err)
	}
	if err := claim(study("1.2.4", "b")); err != nil {
		t.Errorf("other study: %v", err)
	}
	foreign := filepath.Join(out, "1.2.5")
	if err := errors.Join(os.Mkdir(foreign, 0o755), os.WriteFile(filepath.Join(foreign, "thesis.txt"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	if err := claim(study("1.2.5", "b")); !errors.Is(err, errOtherStudy) {
		t.Errorf("somebody's folder: %v", err)
	}
	moved := study("1.2.3", "a")
	if err := os.Rename(filepath.Join(out, "1.2.4"), filepath.Join(out, "1.2.6")); err != nil {
		t.Fatal(err)
	}
	moved.StudyInstanceUID = "1.2.6"
	if err := claim(moved); !errors.Is(err, errOtherStudy) {
		t.Errorf("folder with another study's result: %v", err)
	}
	for _, bad := range []string{"", "..", "../x", "1.2/3", strings.Repeat("1", 65), "."} {
		if n := folderName(bad); !strings.HasPrefix(n, "study-") {
			t.Errorf("folder of %q is %q", bad, n)
		}
	}
}

// What an earlier run made is told from what lies beside it.
func TestOutputsOfEarlierRuns(t *testing.T) {
	dir := t.TempDir()
	s := &result.Study{StudyInstanceUID: "1.2.3", Outputs: []result.Output{{File: "/elsewhere/loop-01-a4c-ed.png"}, {File: "summary.png"}}}
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, resultFile), b, 0o644); err != nil {
		t.Fatal(err)
	}
	earlier := outputsOf{}
	for name, want := range map[string]bool{"loop-01-a4c-ed.png": true, "summary.png": true, "mine.png": false, resultFile: false} {
		if got := earlier.made(filepath.Join(dir, name)); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if earlier.made(filepath.Join(t.TempDir(), "summary.png")) || earlier.made("summary.png") {
		t.Error("a file of another folder")
	}
}

func TestGroupByStudyKeepsPatientsApart(t *testing.T) {
	dir := t.TempDir()
	files := []string{still(t, dir, "1.2.3.1", "1.2.3", "A"), still(t, dir, "1.2.3.2", "1.2.3", "B"), still(t, dir, "1.2.3.3", "1.2.3", "A")}
	broken := filepath.Join(dir, "broken.dcm")
	if err := os.WriteFile(broken, []byte("no DICOM"), 0o644); err != nil {
		t.Fatal(err)
	}
	g := groupByStudy(append(files, broken))
	order, byStudy, rejected := g.order, g.byStudy, g.rejected
	if len(order) != 2 || len(byStudy[order[0]]) != 2 || len(byStudy[order[1]]) != 1 {
		t.Errorf("%d studies: %v", len(order), byStudy)
	}
	if len(rejected) != 1 || rejected[0].File != broken {
		t.Errorf("rejected %v", rejected)
	}
	found, err := findFiles([]string{dir}, func(path string) bool { return isDICOM(path) || claimsDICOM(path) })
	if err != nil || len(found) != 4 {
		t.Errorf("found %v, %v: a file that calls itself DICOM must not be hidden", found, err)
	}
}

// Persons under one Patient ID have studies of their own too, whatever the order
// of their files, and an object that may be either's is in neither.
func TestGroupByStudyKeepsPersonsApart(t *testing.T) {
	dir := t.TempDir()
	file := func(sop, name, born string) string {
		path := filepath.Join(dir, sop+".dcm")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		ds := dicomio.NewDataSet().SetString(tag.SOPClassUID, uid.UltrasoundImageStorage).SetString(tag.SOPInstanceUID, sop).SetString(tag.StudyInstanceUID, "1.2.3").
			SetString(tag.PatientID, "0").SetString(tag.PatientName, name).SetString(tag.PatientBirthDate, born)
		if err := errors.Join(dicomio.Write(f, ds, dicomio.WriteOptions{TransferSyntax: uid.ExplicitVRLittleEndian}), f.Close()); err != nil {
			t.Fatal(err)
		}
		return path
	}
	files := []string{file("1.1", "Mueller^Anna", "19400203"), file("1.2", "Mueller^Hans", "19800202"), file("1.3", "MUELLER^ANNA^MARIA", "19400203"),
		file("1.4", "Mueller", "")}
	keys := func(files []string) map[string]string {
		g := groupByStudy(files)
		byStudy, instances := g.byStudy, g.instances
		of := map[string]string{}
		for key, paths := range byStudy {
			for _, p := range paths {
				of[instances[p]] = key.patient
			}
		}
		return of
	}
	of := keys(files)
	if of["1.1"] != of["1.3"] || of["1.1"] == of["1.2"] || of["1.4"] == of["1.1"] || of["1.4"] == of["1.2"] {
		t.Errorf("%v", of)
	}
	slices.Reverse(files)
	if again := keys(files); !maps.Equal(of, again) {
		t.Errorf("%v, in another order %v", of, again)
	}
	if some := keys(files[1:]); some["1.2"] != of["1.2"] || some["1.1"] != of["1.1"] {
		t.Errorf("%v, of fewer %v", of, some)
	}
	for _, key := range of {
		if strings.Trim(key, "0123456789abcdef-") != "" {
			t.Errorf("key %q", key)
		}
	}
}

// What a growing file has of a study is known by its objects: the key of a
// patient changes with who else shares the Patient ID.
func TestGrowingKnowsStudies(t *testing.T) {
	type studies map[studyKey][]string
	for _, c := range []struct {
		what       string
		was, now   studies
		todo, late string
	}{
		{"the same", studies{{"1", "k"}: {"a", "b"}}, studies{{"1", "k"}: {"a", "b"}}, "", ""},
		{"one more object", studies{{"1", "k"}: {"a"}}, studies{{"1", "k"}: {"a", "b"}}, "", "b"},
		{"other objects", studies{{"1", "k"}: {"a"}}, studies{{"1", "k"}: {"b"}}, "", "b"},
		{"another patient", studies{{"1", "k"}: {"a"}}, studies{{"1", "l"}: {"a"}}, "1 l", ""},
		{"another study", studies{{"1", "k"}: {"a"}}, studies{{"2", "k"}: {"a"}}, "2 k", ""},
		{"another person came", studies{{"1", "k"}: {"a"}}, studies{{"1", "k-1"}: {"b"}, {"1", "k-2"}: {"a"}}, "1 k-1", ""},
		{"and more of the first", studies{{"1", "k"}: {"a"}}, studies{{"1", "k-1"}: {"b"}, {"1", "k-2"}: {"a", "c"}}, "1 k-1", "c"},
		{"one of two has gone", studies{{"1", "k-1"}: {"b"}, {"1", "k-2"}: {"a"}}, studies{{"1", "k"}: {"a"}}, "", ""},
		{"the first is away", studies{{"1", "k"}: {"a"}, {"1", "k-1"}: {"b"}}, studies{{"1", "k"}: {"b"}}, "", ""},
		{"one name more", studies{{"1", "k-1"}: {"a"}, {"1", "k-2"}: {"b"}}, studies{{"1", "k-0"}: {"a", "c"}, {"1", "k-2"}: {"b"}}, "", "c"},
		{"one UID, two persons", studies{{"1", "k"}: {"a"}}, studies{{"1", "k-1"}: {"a"}, {"1", "k-2"}: {"a"}}, "1 k-2", ""},
	} {
		g := &growing{done: map[studyKey]map[string]bool{}}
		for k, loops := range c.was {
			g.done[k] = map[string]bool{}
			for _, l := range loops {
				g.done[k][l] = true
			}
		}
		g.match(c.now)
		var todo, late []string
		for _, k := range sortedKeys(c.now) {
			if !g.hasStudy(k) {
				todo = append(todo, k.study+" "+k.patient)
				continue
			}
			for _, l := range c.now[k] {
				if !g.hasLoop(k, l) {
					late = append(late, l)
				}
			}
		}
		if a, b := strings.Join(todo, ", "), strings.Join(late, ", "); a != c.todo || b != c.late {
			t.Errorf("%s: to do %q, want %q; late %q, want %q", c.what, a, c.todo, b, c.late)
		}
	}
}

// The folder of a study is found again although others share the Patient ID now,
// and where a program of before has written it.
func TestFolderIsFoundAgain(t *testing.T) {
	digest := func(s string) string {
		sum := sha256.Sum256([]byte(s))
		return hex.EncodeToString(sum[:8])
	}
	// As 0.4 wrote persons.
	before := func(id, name, family, born string) *result.Person {
		p := &result.Person{ID: digest(id), Family: digest(family), Born: digest(born)}
		if id == "" {
			p.ID = digest(name + "\x00" + born)
		}
		return p
	}
	now := func(id, name, born string) *result.Person {
		p := result.PersonOf(id, "", name, born, "")
		return &p
	}
	type subject struct {
		key    string
		person *result.Person
		loops  string
	}
	for what, c := range map[string]struct {
		was, is []subject
		want    string // the folders of is
	}{
		"the same":             {[]subject{{"k", now("0", "Doe^Jane", ""), "a"}}, []subject{{"k", now("0", "Doe^Jane", ""), "b"}}, "1.2"},
		"another ID":           {[]subject{{"k", now("0", "Doe^Jane", ""), "a"}}, []subject{{"l", now("1", "Doe^Jane", ""), "a"}}, "1.2-l"},
		"another person":       {[]subject{{"k", now("0", "Doe^Jane", ""), "a"}}, []subject{{"k", now("0", "Doe^John", ""), "b"}}, "1.2-k"},
		"another person came":  {[]subject{{"k", now("0", "Doe^Jane", ""), "a"}}, []subject{{"k-1", now("0", "Doe^John", ""), "b"}, {"k-2", now("0", "Doe^Jane", ""), "a"}}, "1.2-k-1 1.2"},
		"one that may be hers": {[]subject{{"k", now("0", "Doe^Jane", ""), "a"}}, []subject{{"k-1", now("0", "Doe", ""), "b"}, {"k-2", now("0", "Doe^Jane", ""), "a"}}, "1.2-k-1 1.2"},
		"one has gone": {[]subject{{"k-1", now("0", "Doe^Jane", ""), "a"}, {"k-2", now("0", "Doe^John", ""), "b"}},
			[]subject{{"k", now("0", "Doe^John", ""), "b"}}, "1.2-k-2"},
		"three in turn": {[]subject{{"k", now("0", "Doe^Jane", ""), "a"}, {"k", now("0", "Doe^John", ""), "b"}},
			[]subject{{"k", now("0", "Doe^Jack", ""), "c"}}, "1.2-k-" + now("0", "Doe^Jack", "").Digest()},
		"before, first of January": {[]subject{{"k", before("P1", "Doe^Jane", "Doe", "19400101"), "a"}}, []subject{{"k", now("P1", "Doe^Jane", "19400101"), "a"}}, "1.2"},
		"before, no Patient ID":    {[]subject{{"k", before("", "Doe^Jane", "Doe", "19400203"), "a"}}, []subject{{"k", now("", "Doe^Jane", "19400203"), "a"}}, "1.2"},
		"before, an odd date":      {[]subject{{"k", before("P1", "Doe^Jane", "Doe", "1940.02.03"), "a"}}, []subject{{"k", now("P1", "Doe^Jane", "1940.02.03"), "a"}}, "1.2"},
		"before, other objects":    {[]subject{{"k", before("", "Doe^Jane", "Doe", "19400203"), "a"}}, []subject{{"k", now("", "Roe^Hans", "19800101"), "b"}}, "1.2-k"},
		"before, another ID":       {[]subject{{"k", before("P1", "Doe^Jane", "Doe", "19400101"), "a"}}, []subject{{"l", now("P2", "Doe^Jane", "19400101"), "a"}}, "1.2-l"},
	} {
		t.Run(what, func(t *testing.T) {
			out := t.TempDir()
			var got []string
			var run folders
			for i, x := range append(c.was, c.is...) {
				if i == len(c.was) {
					run = folders{}
				}
				s := &result.Study{StudyInstanceUID: "1.2", Subject: &result.Subject{Key: x.key, Person: x.person}, Loops: []result.Loop{{SOPInstanceUID: x.loops}}}
				dir, err := run.claim(out, s)
				if err != nil {
					t.Fatal(err)
				}
				b, err := json.Marshal(s)
				if err := errors.Join(err, os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, resultFile), b, 0o644)); err != nil {
					t.Fatal(err)
				}
				got = append(got, filepath.Base(dir))
			}
			if got := strings.Join(got[len(c.was):], " "); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// What an earlier run left out of its outputs has no file to be removed.
func TestFolderWithAnOutputLeftOut(t *testing.T) {
	out := t.TempDir()
	dir := filepath.Join(out, "1.2")
	s := &result.Study{StudyInstanceUID: "1.2", Outputs: []result.Output{
		{Kind: result.KindReport, File: filepath.Join(dir, "report.dcm")}, {Kind: result.KindOverlay, Source: "1.2.3", LeftOut: "invalid cine"}}}
	b, err := json.Marshal(s)
	if err := errors.Join(err, os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, resultFile), b, 0o644),
		os.WriteFile(filepath.Join(dir, "report.dcm"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	if got, err := new(folders).claim(out, s); err != nil || got != dir {
		t.Fatal(got, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// However many studies share the name of a folder, a run reads each result of
// before no more than once, and none of its own.
func TestFoldersAreReadOnce(t *testing.T) {
	out := t.TempDir()
	study := func(i int) *result.Study {
		p := result.PersonOf("", "", "", "", "")
		return &result.Study{Subject: &result.Subject{Key: fmt.Sprintf("k-%d", i), Person: &p}}
	}
	claim := func(run *folders, i int) string {
		t.Helper()
		dir, err := run.claim(out, study(i))
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(study(i))
		if err := errors.Join(err, os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, resultFile), b, 0o644)); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	spoil := func(dirs ...string) { // whoever reads it again fails
		for _, dir := range dirs {
			if err := os.WriteFile(filepath.Join(dir, resultFile), []byte("spoilt"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	var first, second, third folders
	var dirs []string
	for i := range 4 {
		dirs = append(dirs, claim(&first, i))
	}
	if again := claim(&second, 2); again != dirs[2] {
		t.Errorf("%s, then %s", dirs[2], again)
	}
	claim(&third, 10)
	spoil(dirs...)
	for i := 11; i < 14; i++ {
		spoil(claim(&third, i))
	}
	slices.Sort(dirs)
	if len(slices.Compact(dirs)) != 4 {
		t.Errorf("folders %v", dirs)
	}
}

// A run that finds everything in its files already is no failure; what it cannot
// read is a part; and a loop that came later than its study's result is named.
func TestAnalyzeGoesOn(t *testing.T) {
	if os.Getenv("ECHONODE_ONNXRUNTIME") == "" {
		t.Skip("needs ONNX Runtime")
	}
	for flag, set := range map[string]func(a *analysis, path string){
		"csv":   func(a *analysis, path string) { a.csv = path },
		"jsonl": func(a *analysis, path string) { a.jsonl = path },
	} {
		t.Run(flag, func(t *testing.T) {
			dir, grown := t.TempDir(), filepath.Join(t.TempDir(), "grown")
			run := func() (string, error) {
				var out bytes.Buffer
				p := &program{version: "0.5.0-test", out: &out, err: &out}
				a := analysis{quiet: true}
				set(&a, grown)
				err := p.analyze(context.Background(), []string{dir}, a)
				return out.String(), err
			}
			var part partError
			still(t, dir, "1.2.3.1", "1.2.3", "A")
			if out, err := run(); err != nil || !strings.HasPrefix(out, "1 studies analysed") {
				t.Fatalf("first run: %v\n%s", err, out)
			}
			if out, err := run(); err != nil || !strings.HasPrefix(out, "0 studies analysed") {
				t.Errorf("again: %v\n%s", err, out)
			}
			broken := filepath.Join(dir, "broken.dcm")
			if err := os.WriteFile(broken, []byte("no DICOM"), 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := run(); !errors.As(err, &part) || !strings.Contains(err.Error(), "1 of 2 inputs could not be read or analysed") {
				t.Errorf("with a broken file: %v", err)
			}
			if err := os.Remove(broken); err != nil {
				t.Fatal(err)
			}
			late := still(t, dir, "1.2.3.2", "1.2.3", "A")
			still(t, dir, "1.2.4.1", "1.2.4", "A")
			if out, err := run(); !errors.As(err, &part) || !strings.Contains(err.Error(), late) || strings.Contains(err.Error(), "1.2.3.1.dcm") ||
				!strings.HasPrefix(out, "1 studies analysed") {
				t.Errorf("with a late loop and another study: %v\n%s", err, out)
			}
		})
	}
}

// A remark that several values have is printed once, under its number.
func TestRemarksArePrintedOnce(t *testing.T) {
	value := func(name string, v float64, remarks ...string) result.Measurement {
		m := result.Measurement{Name: name, Value: &v, Quality: result.Quality{Grade: result.Good}}
		for _, r := range remarks {
			m.Quality.Grade = result.Fair
			m.Quality.Warnings = append(m.Quality.Warnings, result.Reason{Text: r})
		}
		return m
	}
	var b strings.Builder
	printMeasurements(&b, []result.Measurement{value(result.EF, 60, "narrow", "noisy"), value(result.EDV, 100, "noisy"), value(result.HR, 70),
		{Name: result.FS, Reason: &result.Reason{Text: "no loop"}}})
	want := "\nQUANTITY\tSTAGE\tVALUE\tMETHOD\tQUALITY\n" +
		"EF\t\t60 %\t\tfair [1,2]\nEDV\t\t100.0 mL\t\tfair [2]\nHR\t\t70 /min\t\tgood\nnot measured\t\tFS: no loop\n[1] narrow\n[2] noisy\n"
	if b.String() != want {
		t.Errorf("%q, want\n%q", b.String(), want)
	}
}

// Two objects under one SOP Instance UID are not two loops: the first counts, the
// other is named. The same file twice is one.
func TestTwoObjectsOfOneUID(t *testing.T) {
	a := still(t, t.TempDir(), "1.2.3.4", "1.2.3", "A")
	b, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	again, other := filepath.Join(t.TempDir(), "again.dcm"), filepath.Join(t.TempDir(), "other.dcm")
	changed := bytes.Clone(b)
	changed[len(changed)-1]++ // a pixel
	if err := errors.Join(os.WriteFile(again, b, 0o644), os.WriteFile(other, changed, 0o644)); err != nil {
		t.Fatal(err)
	}
	g := groupByStudy([]string{a, again, other})
	if len(g.byStudy) != 1 || len(g.instances) != 1 || len(g.rejected) != 1 || g.rejected[0].File != other ||
		!strings.Contains(g.rejected[0].Reason.Text, a) || g.rejected[0].Reason.Code != result.SameUID {
		t.Errorf("%+v", g)
	}
	if len(g.same) != 1 || !strings.Contains(g.same[0], again) || !strings.Contains(g.same[0], a) {
		t.Errorf("the copy is not told: %q", g.same)
	}
	// Another study's object, or another patient's, is not the same.
	files := []string{a, still(t, t.TempDir(), "1.2.3.4", "1.2.4", "A"), still(t, t.TempDir(), "1.2.3.4", "1.2.3", "B")}
	if g = groupByStudy(files); len(g.byStudy) != 3 || len(g.instances) != 3 || len(g.rejected) != 0 || len(g.same) != 0 {
		t.Errorf("%+v", g)
	}
}

// Files that say neither their study nor their patient are not one study.
func TestFilesWithoutStudyAndPatient(t *testing.T) {
	a := still(t, t.TempDir(), "1.2.3.4", "", "")
	b := still(t, t.TempDir(), "1.2.3.5", "", "")
	c := still(t, t.TempDir(), "1.2.3.6", "", "P1")
	g := groupByStudy([]string{a, b, c})
	if len(g.byStudy) != 3 || len(g.rejected) != 0 {
		t.Errorf("%+v", g)
	}
	again := groupByStudy([]string{c, b}).order
	if n := slices.IndexFunc(again, func(k studyKey) bool { return len(g.byStudy[k]) == 1 && g.byStudy[k][0] == b }); n < 0 {
		t.Errorf("the same file has another key: %v, %v", again, g.byStudy)
	}
}
