package review

import (
	"archive/zip"
	"bytes"
	"context"
	"database/sql"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"image/png"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/internal/correct"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/pipeline/store"
)

func TestSelectionAsCSV(t *testing.T) {
	s := newSite(t)
	s.add(sample{study: "1.2.1", loop: "1.2.1.1", name: "Doe^Jane", view: "A4C", ef: value(61.23)})
	s.add(sample{study: "1.2.2", loop: "1.2.2.1", name: "Roe^Richard", view: "A4C", ef: value(44)})
	s.indexed()
	b := s.as("viewer")
	_, all := b.want(http.StatusOK, http.MethodPost, "/export/values.csv", "")
	if rows, err := csv.NewReader(strings.NewReader(all)).ReadAll(); err != nil || len(rows) != 3 {
		t.Errorf("%v, %q", err, all)
	}
	_, one := b.want(http.StatusOK, http.MethodPost, "/export/values.csv", url.Values{"search": {"roe"}}.Encode())
	rows, err := csv.NewReader(strings.NewReader(one)).ReadAll()
	if err != nil || len(rows) != 2 || rows[1][0] != "1.2.2" || rows[1][3] != "44" {
		t.Errorf("%v, %q", err, one)
	}
	if strings.Contains(all, "Roe") || strings.Contains(all, "P-1") {
		t.Error("the export names patients")
	}
	b.csrf = "other"
	b.want(http.StatusForbidden, http.MethodPost, "/export/values.csv", "")
}

// Half a table does not look like a whole one: its transfer is broken off.
func TestBrokenExport(t *testing.T) {
	s := newSite(t)
	s.add(sample{study: "1.2.1", loop: "1.2.1.1", name: "Doe^Jane", view: "A4C", ef: value(61.23)})
	s.indexed()
	b := s.as("viewer")
	db, err := sql.Open("sqlite", filepath.Join(s.dir, "node.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`ALTER TABLE worklist RENAME TO gone`); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodPost, s.http.URL+"/export/values.csv", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", s.http.URL)
	req.Header.Set("X-CSRF-Token", b.csrf)
	req.Header.Set("Cookie", b.cookie)
	res, err := b.client.Do(req)
	if err == nil {
		var text []byte
		text, err = io.ReadAll(res.Body)
		res.Body.Close()
		if err == nil {
			t.Errorf("%s: %q", res.Status, text)
		}
	}
}

func TestSummaryAsPDF(t *testing.T) {
	s := newSite(t)
	s.add(sample{study: "1.2.1", loop: "1.2.1.1", name: "Doe^Jane", view: "A4C", ef: value(61.23)})
	b := s.as("viewer")
	res, pdf := b.want(http.StatusOK, http.MethodGet, "/study/1.2.1/summary.pdf", "")
	if res.Header.Get("Content-Type") != "application/pdf" || !strings.HasPrefix(pdf, "%PDF-") || !strings.HasSuffix(strings.TrimSpace(pdf), "%%EOF") {
		t.Errorf("%v, %.20q", res.Header, pdf)
	}
	// Without its objects there is no picture to show.
	if err := os.Remove(filepath.Join(s.dir, "1.2.1.1.dcm")); err != nil {
		t.Fatal(err)
	}
	b.want(http.StatusNotFound, http.MethodGet, "/study/1.2.1/summary.pdf", "")
	b.want(http.StatusNotFound, http.MethodGet, "/study/9/summary.pdf", "")
}

// Few summaries are drawn at once; who waits for one may leave.
func TestFewSummariesAtOnce(t *testing.T) {
	s := newSite(t)
	s.add(sample{study: "1.2.1", loop: "1.2.1.1", name: "Doe^Jane", view: "A4C", ef: value(60)})
	b := s.as("viewer")
	for range maxDrawing {
		s.server.drawing <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	rec, err := s.server.record(t.Context(), "1.2.1")
	if err != nil {
		t.Fatal(err)
	}
	hold := s.server.opt.Objects.Hold()
	defer hold.Release()
	if err := s.server.drawSummary(ctx, rec, hold, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("drawn beside the others: %v", err)
	}
	<-s.server.drawing
	for range 2 {
		b.want(http.StatusOK, http.MethodGet, "/study/1.2.1/summary.pdf", "")
	}
}

// signed records a corrected outline of frame 0 of a sample, in a region that
// leaves the rows above 8 out.
func (s *site) signed(a sample) {
	s.t.Helper()
	doc := document(a)
	l := &doc.Studies[0].Loops[0]
	l.Region = &result.Region{MinX: 0, MinY: 8, MaxX: 64, MaxY: 48}
	f := &l.FrameResults[0]
	f.Network = &result.Found{Contour: f.Contour}
	f.Contour = result.NewContour(4, func(i int) (float64, float64) {
		return 20 + 20*float64(btoi(i == 1 || i == 2)), 12 + 30*float64(btoi(i >= 2))
	})
	f.Keypoints = []result.Keypoint{{Name: models.KeypointApex, X: 30, Y: 12, Confidence: 1},
		{Name: models.KeypointMitralSeptal, X: 20, Y: 42, Confidence: 1}, {Name: models.KeypointMitralLateral, X: 40, Y: 42, Confidence: 0.4}}
	if a.view == models.ViewPLAX {
		f.Contour, f.Keypoints = nil, nil
		for i, name := range correct.WallPoints {
			f.Keypoints = append(f.Keypoints, result.Keypoint{Name: name, X: 30, Y: float64(10 + 9*i), Confidence: 1})
		}
	}
	doc.Studies[0].Review = &result.Review{Verdict: result.Corrected,
		Before: []result.Measurement{{Name: result.EF, Value: value(33), Unit: result.UnitPercent, Quality: result.Quality{Grade: result.Good}}}}
	b, err := doc.Encode()
	if err != nil {
		s.t.Fatal(err)
	}
	dir := filepath.Join(s.dir, a.study+"-signed")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "result.json"), b, 0o600); err != nil {
		s.t.Fatal(err)
	}
	run := store.Run{StudyInstanceUID: a.study, Started: s.now(), Finished: s.now(), Directory: dir, Summary: "{}", Basis: "signed"}
	signed := store.Review{Verdict: result.Corrected, User: "reader", Corrections: "{}", Signed: time.Now()}
	_, err = s.store.Sign(s.t.Context(), signed, run, s.last(a.study), nil, nil,
		func(*store.Tx, int64, string) error { return nil })
	if err != nil {
		s.t.Fatal(err)
	}
}

// What a reader corrected is exported without the patient, and models/training
// reads it.
func TestLabels(t *testing.T) {
	s := newSite(t, func(o *Options) { o.LabelsKey = bytes.Repeat([]byte{7}, 32) })
	a := sample{study: "1.2.840.77.1", loop: "1.2.840.77.1.1", name: "Doe^Jane", view: "A4C", ef: value(61.23)}
	s.add(a)
	s.add(sample{study: "1.2.840.77.2", loop: "1.2.840.77.2.1", name: "Roe^Richard", view: "A4C", ef: value(44)}) // nothing signed
	s.signed(a)
	walls := sample{study: "1.2.840.77.3", loop: "1.2.840.77.3.1", name: "Doe^John", view: "PLAX", ef: value(50)}
	s.add(walls)
	s.signed(walls)
	s.indexed()
	for _, user := range []string{"viewer", "reader"} {
		s.as(user).want(http.StatusForbidden, http.MethodPost, "/export/labels.zip", "")
	}
	_, text := s.as("admin").want(http.StatusOK, http.MethodPost, "/export/labels.zip", "")
	z, err := zip.NewReader(strings.NewReader(text), int64(len(text)))
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(t.TempDir(), "corrected", "site-1")
	if err := os.MkdirAll(root, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(root, z); err != nil {
		t.Fatal(err)
	}
	table, err := os.ReadFile(filepath.Join(root, "labels.csv"))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(table)).ReadAll()
	if err != nil || len(rows) != 3 || len(z.File) != 3 {
		t.Fatalf("%v, %d files\n%s", err, len(z.File), table)
	}
	if rows[1][2] != "A4C" {
		rows[1], rows[2] = rows[2], rows[1]
	}
	// The region begins at row 8; a point that the reader did not set is not given.
	if got, want := strings.Join(rows[1][2:], ","), "A4C,ED,1,30,4,20,34,,,,,,,,,,,20 4 40 4 40 34 20 34"; got != want {
		t.Errorf("label %s, want %s", got, want)
	}
	if got, want := strings.Join(rows[2][2:], ","), "PLAX,ED,1,,,,,,,30,2,30,11,30,20,30,29,"; got != want {
		t.Errorf("label of walls %s, want %s", got, want)
	}
	for _, secret := range []string{"Doe", "Jane", "P-1.2", "1.2.840.77", "19600102", "A1.2"} {
		if strings.Contains(text, secret) || bytes.Contains(table, []byte(secret)) {
			t.Errorf("the export holds %q", secret)
		}
	}
	picture, err := os.Open(filepath.Join(root, rows[1][0]))
	if err != nil {
		t.Fatal(err)
	}
	defer picture.Close()
	if img, err := png.Decode(picture); err != nil || img.Bounds().Dx() != 64 || img.Bounds().Dy() != 40 {
		t.Errorf("picture %v, %v", img.Bounds(), err)
	}

	// The loader of the training, where what it stands on is installed.
	if err := exec.Command("/usr/bin/python3", "-c", "import numpy, PIL, scipy").Run(); err != nil {
		t.Skipf("the training's loader cannot run here: %v", err)
	}
	read := exec.Command("/usr/bin/python3", "-B", "-c", `
import json, sys
sys.path.insert(0, sys.argv[1])
from echotrain import corrected, geometry as geo, names
got = sorted(corrected.read(sys.argv[2]), key=lambda s: s.view)
s, w = got
print(json.dumps({"n": len(got), "source": s.source, "view": names.VIEWS[s.view], "phase": s.phase, "seg": s.seg, "mm": s.mm,
  "cavity": int((s.label == geo.LV).sum()), "scale": s.scale, "apex": s.points[0].tolist(), "state": s.state[:3].tolist(),
  "walls": w.points[3:].tolist(), "wallstate": w.state.tolist(), "wallseg": w.seg, "wallmm": w.mm, "wallview": names.VIEWS[w.view]}))`,
		"../../models/training", filepath.Dir(root))
	out, err := read.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		t.Fatalf("the training's loader: %v", err)
	}
	var got struct {
		N                   int
		Source, View, Phase string
		Seg, Cavity         int
		MM, Scale           float64
		Apex                [2]float64
		State               [3]int
		Walls               [4][2]float64
		WallState           [7]int
		WallSeg             int
		WallMM              float64
		WallView            string
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err, string(out))
	}
	// 64 x 40 pixels in a square of 320: five times, and 60 pixels from the top. The
	// cavity is 20 x 30 pixels.
	if got.N != 2 || got.Source != "corrected" || got.View != "A4C" || got.Phase != "ED" || got.Seg != 2 || got.MM != 1 || got.Scale != 5 ||
		got.Apex != [2]float64{152, 82} || got.Cavity < 20*30*25 || got.Cavity > 22*32*25 || got.State[0] != 1 {
		t.Errorf("the loader reads %+v", got)
	}
	if got.WallView != "PLAX" || got.WallSeg != 0 || got.WallMM != 1 || got.WallState != [7]int{-1, -1, -1, 1, 1, 1, 1} ||
		got.Walls != [4][2]float64{{152, 72}, {152, 117}, {152, 162}, {152, 207}} {
		t.Errorf("the loader reads of the walls %+v", got)
	}
}

// Two persons under one Patient ID have two names in exported labels, one person
// in two spellings has one, and names stay what they are when a person was removed.
func TestSubjects(t *testing.T) {
	s := newSite(t, func(o *Options) { o.LabelsKey = bytes.Repeat([]byte{7}, 32) })
	ctx, n := t.Context(), 0
	add := func(name, born string) store.Instance {
		n++
		p := result.PersonOf("0", "", name, born, "")
		in := store.Instance{SOPInstanceUID: fmt.Sprintf("1.%d.1", n), StudyInstanceUID: fmt.Sprintf("1.%d", n), SeriesInstanceUID: "1", SOPClassUID: "1",
			TransferSyntaxUID: "1", Path: fmt.Sprint(n), Received: s.now().Add(time.Duration(n) * time.Second), Loop: true,
			Person: store.Person{Patient: p.ID, Issuer: p.Issuer, Family: p.Family, Given: p.Given, Born: p.Born, Sex: p.Sex}}
		if _, err := s.store.AddInstance(ctx, in); err != nil {
			t.Fatal(err)
		}
		return in
	}
	export := func(all ...store.Instance) (names []string) {
		e := labels{s: s.server, subjects: map[store.Person]string{}}
		for _, in := range all {
			name, err := e.subject(ctx, in)
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, name)
		}
		return names
	}
	anna, hans, again := add("Mueller^Anna", "19600102"), add("Mueller^Hans", "19590304"), add("MÜLLER^ANNA", "19600102")
	got := export(anna, hans, again)
	if got[0] == got[1] || got[0] != got[2] {
		t.Errorf("names %q", got)
	}
	if later := export(again, hans, anna); later[0] != got[0] || later[1] != got[1] {
		t.Errorf("names %q, then %q", got, later)
	}
	// The one who has the name of the ID goes.
	for _, in := range []store.Instance{anna, again} {
		if err := s.store.Delete(ctx, in.StudyInstanceUID); err != nil {
			t.Fatal(err)
		}
	}
	if later := export(hans); later[0] != got[1] {
		t.Errorf("names %q, then %q", got, later)
	}
}

// taking is a client that looks, whenever it is given something, whether a turn to draw
// is held meanwhile.
type taking struct {
	bytes.Buffer
	s           *Server
	given, held int
}

func (c *taking) Write(b []byte) (int, error) {
	c.given++
	c.held += len(c.s.drawing)
	return c.Buffer.Write(b)
}

// Who takes the labels slowly holds no turn to draw, and however few pictures are held
// at once, they are the same.
func TestLabelsAreWrittenBetweenTurns(t *testing.T) {
	s := newSite(t, func(o *Options) { o.LabelsKey = bytes.Repeat([]byte{7}, 32) })
	a := sample{study: "1.2.840.77.1", loop: "1.2.840.77.1.1", name: "Doe^Jane", view: "A4C", ef: value(61.23)}
	s.add(a)
	s.signed(a)
	instances, err := s.store.Instances(t.Context(), a.study)
	if err != nil {
		t.Fatal(err)
	}
	study, err := s.server.latest(t.Context(), a.study, func(store.Run) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	l := &study.Loops[0]
	l.FrameResults = slices.Repeat(l.FrameResults[:1], 30)
	var archives [][]byte
	for _, most := range []int{1, 1000, maxPictures} {
		client := &taking{s: s.server}
		z, lines := zip.NewWriter(client), csv.NewWriter(io.Discard)
		e := labels{s: s.server, zip: z, lines: lines, subjects: map[store.Person]string{}, most: most}
		if err := errors.Join(e.loop(t.Context(), l, instances[0]), z.Close()); err != nil {
			t.Fatal(err)
		}
		if e.frames != 30 || e.left != 0 || client.given < 2 || client.held > 0 {
			t.Errorf("at most %d bytes: %d frames, %d left out; %d times given, %d turns held", most, e.frames, e.left, client.given, client.held)
		}
		archives = append(archives, client.Bytes())
	}
	if !bytes.Equal(archives[0], archives[2]) || !bytes.Equal(archives[1], archives[2]) {
		t.Error("the archives differ")
	}
}

// Without the site's consent there is no export of labels.
func TestNoLabelsUnlessConfigured(t *testing.T) {
	s := newSite(t)
	b := s.as("admin")
	b.want(http.StatusNotFound, http.MethodPost, "/export/labels.zip", "")
	if _, page := b.want(http.StatusOK, http.MethodGet, "/", ""); strings.Contains(page, "labels.zip") {
		t.Error("the export is offered")
	}
}

// Numbers that a disk has changed are not shown.
func TestDamagedResultIsNotShown(t *testing.T) {
	s := newSite(t)
	s.add(sample{study: "1.2.1", loop: "1.2.1.1", name: "Doe^Jane", view: "A4C", ef: value(61.23)})
	runs, err := s.store.Runs(t.Context(), "1.2.1")
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(runs[0].Directory, "result.json"))
	if err != nil {
		t.Fatal(err)
	}
	run := runs[0]
	run.Summary = `{"result_sha256":"` + result.Digest(b) + `"}`
	if _, err := newDocuments(files(t)).get(t.Context(), run); err != nil {
		t.Error(err)
	}
	run.Summary = `{"result_sha256":"` + result.Digest(append(b, ' ')) + `"}`
	if doc, err := newDocuments(files(t)).get(t.Context(), run); !errors.Is(err, result.ErrDamaged) {
		t.Errorf("%v, %v", doc, err)
	}
}

// Nothing is shown or exported of an object that is not what was received: not its
// frames, no summary under what its header says, no labels.
func TestDamagedObjectIsNotShown(t *testing.T) {
	s := newSite(t, func(o *Options) { o.LabelsKey = bytes.Repeat([]byte{7}, 32) })
	a := sample{study: "1.2.1", loop: "1.2.1.1", name: "Doe^Jane", view: "A4C", ef: value(61.23)}
	s.add(a)
	s.signed(a)
	s.indexed()
	pictures := func() (n int) {
		_, text := s.as("admin").want(http.StatusOK, http.MethodPost, "/export/labels.zip", "")
		z, err := zip.NewReader(strings.NewReader(text), int64(len(text)))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range z.File {
			if strings.HasSuffix(f.Name, ".png") {
				n++
			}
		}
		return n
	}
	if n := pictures(); n != 1 {
		t.Errorf("%d pictures of a whole object", n)
	}
	file := filepath.Join(s.dir, "1.2.1.1.dcm")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	other := bytes.Replace(b, []byte("P-1.2.1"), []byte("P-1.2.0"), 1)
	if err := os.WriteFile(file, other, 0o600); err != nil || bytes.Equal(b, other) {
		t.Fatal("nothing changed", err)
	}
	v := s.as("viewer")
	v.want(http.StatusUnprocessableEntity, http.MethodGet, "/study/1.2.1/loop/1.2.1.1/frame/0", "")
	v.want(http.StatusNotFound, http.MethodGet, "/study/1.2.1/summary.pdf", "")
	if n := pictures(); n != 0 {
		t.Errorf("%d pictures of a damaged object", n)
	}
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	v.want(http.StatusOK, http.MethodGet, "/study/1.2.1/loop/1.2.1.1/frame/0", "")
	v.want(http.StatusOK, http.MethodGet, "/study/1.2.1/summary.pdf", "")
}

// A panic while a result is read is that reader's error: the process has other things to do.
func TestPanicOfAReading(t *testing.T) {
	if _, err := newDocuments(nil).get(t.Context(), store.Run{ID: 7, Directory: "x"}); err == nil || !strings.Contains(err.Error(), "run 7 panicked") {
		t.Errorf("%v", err)
	}
}
