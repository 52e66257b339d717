package pipeline

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/output"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/sr"
)

// Pixel data hold another number of frames than the object says: all of them are
// measured, drawn and segmented.
func TestSegmentationOfMoreFramesThanAnnounced(t *testing.T) {
	for _, announced := range []string{"20", "40"} {
		path := standard("1.2.3.1").write(t, t.TempDir())
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		number := []byte("\x28\x00\x08\x00IS\x02\x00") // (0028,0008) IS, two bytes
		if err := os.WriteFile(path, bytes.Replace(b, append(number, "30"...), append(number, announced...), 1), 0o600); err != nil {
			t.Fatal(err)
		}
		s := analyse(t, newBrightness(models.ViewA4C), path)
		all := made(t, &s.Study, everything())
		seg := all["loop-01-a4c-seg.dcm"]
		if seg == nil || all["report.dcm"] == nil {
			t.Fatalf("announced %s: %d objects, %+v", announced, len(all), s.Loops[0].Reason)
		}
		items := seg.DataSet.Items(tag.PerFrameFunctionalGroupsSequence)
		if len(items) != 30 {
			t.Fatalf("announced %s: %d frames", announced, len(items))
		}
		source := items[29].Item(tag.DerivationImageSequence, 0).Item(tag.SourceImageSequence, 0)
		if n, _ := source.Int(tag.ReferencedFrameNumber); n != 30 {
			t.Errorf("announced %s: the last frame is of frame %d of the source", announced, n)
		}
		if doc := parsed(t, all["report.dcm"]); len(doc.Measurements()) < 8 {
			t.Errorf("announced %s: %d values", announced, len(doc.Measurements()))
		}
	}
}

// What cannot be made of an object is left out, with a remark, and costs nobody
// anything else: the report has the values of that loop too, and of the others all is made.
func TestWhatCannotBeMadeIsLeftOut(t *testing.T) {
	dir := t.TempDir()
	good, bad := standard("1.2.3.1"), standard("1.2.3.2")
	good.stage, bad.stage = "Rest", "Peak"
	good.edit = func(ds *dicomio.DataSet) { ds.SetInt(tag.InstanceNumber, 1) }
	bad.edit = func(ds *dicomio.DataSet) { ds.Delete(tag.SeriesInstanceUID).SetInt(tag.InstanceNumber, 2) } // of which nothing can be derived
	s := analyse(t, newBrightness(models.ViewA4C), good.write(t, dir), bad.write(t, dir))
	out := t.TempDir()
	o := everything()
	o.Stages = output.StagesAll
	list, err := output.Write(context.Background(), &s.Study, output.FilesOf(&s.Study, dicomio.Limits{}), out, o)
	if err != nil {
		t.Fatal(err)
	}
	left, had := map[string]string{}, map[string]int{}
	for _, m := range list {
		if m.LeftOut == "" {
			had[m.Kind+m.Source]++
			if _, err := os.Stat(m.File); err != nil {
				t.Error(err)
			}
			continue
		}
		if left[m.Kind+m.Source] = m.LeftOut; m.File != "" || m.SOPInstanceUID != "" {
			t.Errorf("left out and there: %+v", m)
		}
	}
	for _, key := range []string{result.KindOverlay + "1.2.3.2", result.KindSegmentation + "1.2.3.2", result.KindSummary} {
		if !strings.Contains(left[key], "series UID") {
			t.Errorf("%s is not left out: %v", key, left)
		}
	}
	if len(left) != 3 || list[0].Kind != result.KindReport {
		t.Errorf("left out %v; first %v", left, list[0])
	}
	for _, key := range []string{result.KindReport, result.KindOverlay + "1.2.3.1", result.KindSegmentation + "1.2.3.1", result.KindSummary, result.KindPDF,
		result.KindAnimation + "1.2.3.2", result.KindReportHTML} {
		if had[key] != 1 {
			t.Errorf("%d of %s", had[key], key)
		}
	}
	names, err := filepath.Glob(filepath.Join(out, "*"))
	if err != nil || len(names) != len(list)-len(left) {
		t.Errorf("%d files of %d outputs: %q %+v", len(names), len(list)-len(left), names, list)
	}
	f, err := dicomio.Open(filepath.Join(out, "report.dcm"), dicomio.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	doc := parsed(t, f)
	groups := map[string]int{}
	for _, m := range doc.Measurements() {
		groups[m.Group]++
	}
	if groups["Rest"] < 8 || groups["Peak"] < 8 {
		t.Errorf("values %v", groups)
	}
	comments := strings.Join(doc.Comments(), "\n")
	for _, want := range []string{"The overlay of loop 2 could not be made: invalid cine: source without", "The segmentation of loop 2 could not be made: ",
		"A summary page could not be made: "} {
		if !strings.Contains(comments, want) {
			t.Errorf("not told: %s\n%s", want, comments)
		}
	}
	// What was left out before is told in the same words where it is not tried again.
	var drawn []result.Output
	for _, m := range list {
		if m.Source == "1.2.3.2" {
			drawn = append(drawn, m)
		}
	}
	again := t.TempDir()
	o.Drawn = map[string][]result.Output{"1.2.3.2": drawn}
	if _, err := output.Write(context.Background(), &s.Study, output.FilesOf(&s.Study, dicomio.Limits{}), again, o); err != nil {
		t.Fatal(err)
	}
	one, err1 := os.ReadFile(filepath.Join(out, "report.dcm"))
	two, err2 := os.ReadFile(filepath.Join(again, "report.dcm"))
	if err := errors.Join(err1, err2); err != nil || !bytes.Equal(one, two) {
		t.Errorf("the report is another one: %v", err)
	}
}

// An object that was whole when it was analysed and is damaged when it is drawn
// costs its own drawings.
func TestDamagedObjectCostsItsDrawings(t *testing.T) {
	dir := t.TempDir()
	good, bad := standard("1.2.3.1"), standard("1.2.3.2")
	paths := []string{good.write(t, dir), bad.write(t, dir)}
	s := analyse(t, newBrightness(models.ViewA4C), paths...)
	info, err := os.Stat(paths[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(paths[1], info.Size()*2/3); err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	list, err := output.Write(context.Background(), &s.Study, output.FilesOf(&s.Study, dicomio.Limits{}), out, everything())
	if err != nil {
		t.Fatal(err)
	}
	if i := slices.IndexFunc(list, func(m result.Output) bool { return m.LeftOut != "" }); i < 0 || list[i].Source != "1.2.3.2" ||
		count(list, result.KindReport) != 1 || count(list, result.KindSegmentation) != 2 || count(list, result.KindSummary) != 1 {
		t.Errorf("made %+v", list)
	}
	f, err := dicomio.Open(filepath.Join(out, "report.dcm"), dicomio.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	comments := strings.Join(parsed(t, f).Comments(), "\n")
	for _, want := range []string{
		"The overlay of loop 2 could not be made: truncated: 2160000 bytes of value,", "The segmentation of loop 2 could not be made: ",
	} {
		if !strings.Contains(comments, want) {
			t.Errorf("not told: %s\n%s", want, comments)
		}
	}
	// Who waits for something else is told so, and nothing is left out for that.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if list, err := output.Write(ctx, &s.Study, output.FilesOf(&s.Study, dicomio.Limits{}), t.TempDir(), everything()); err == nil {
		t.Errorf("made %+v under a context that has ended", list)
	}
}

// A report that cannot be made says so, and leaves nothing of the rest behind.
func TestReportThatCannotBeMade(t *testing.T) {
	s := analyse(t, newBrightness(models.ViewA4C), standard("1.2.3.1").write(t, t.TempDir()))
	for i := range s.Measurements {
		if v := 1e40; s.Measurements[i].Name == result.EDV {
			s.Measurements[i].Value = &v
		}
	}
	out := t.TempDir()
	_, err := output.Write(context.Background(), &s.Study, output.FilesOf(&s.Study, dicomio.Limits{}), out, everything())
	if !errors.Is(err, sr.ErrReport) {
		t.Fatal(err)
	}
	d, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if names, err := d.Readdirnames(1); !errors.Is(err, io.EOF) {
		t.Errorf("left behind: %q, %v", names, err)
	}
}

// nothing finds no ventricle anywhere.
type nothing struct{ *brightness }

func (e nothing) Infer(ctx context.Context, frames []byte, n int, out *models.Output) error {
	err := e.brightness.Infer(ctx, frames, n, out)
	clear(out.Mask)
	return err
}

// A loop in which no frame has an outline has no curve, and costs nothing else.
func TestLoopWithoutAnyOutline(t *testing.T) {
	s := analyse(t, nothing{newBrightness(models.ViewA4C)}, standard("1.2.3.1").write(t, t.TempDir()))
	if s.Loops[0].Status != result.Analysed {
		t.Fatalf("it is not analysed: %v", s.Loops[0].Reason)
	}
	if all := made(t, &s.Study, everything()); all["report.dcm"] == nil || all["loop-01-a4c.dcm"] == nil {
		t.Errorf("made %d objects", len(all))
	}
}

// unreadable are sources on a share that goes away once an object is open.
type unreadable struct {
	output.Files
	away string // the object
}

func (u unreadable) Open(_ context.Context, uid string) (*dicomio.File, error) {
	b, err := os.ReadFile(u.Paths[uid])
	if err != nil {
		return nil, err
	}
	src := &share{Reader: bytes.NewReader(b), path: u.Paths[uid]}
	f, err := dicomio.Read(src, int64(len(b)), dicomio.Options{})
	src.away = uid == u.away
	return f, err
}

type share struct {
	*bytes.Reader
	path string
	away bool
}

func (s *share) ReadAt(b []byte, off int64) (int, error) {
	if s.away {
		return 0, &fs.PathError{Op: "read", Path: s.path, Err: syscall.ESTALE}
	}
	return s.Reader.ReadAt(b, off)
}

// An object that cannot be read at the moment costs an attempt: nothing is left out
// for good, no picture of a page either, and nothing is left in the folder.
func TestUnreadableNowIsNotLeftOut(t *testing.T) {
	dir := t.TempDir()
	s := analyse(t, newBrightness(models.ViewA4C), standard("1.2.3.1").write(t, dir), standard("1.2.3.2").write(t, dir))
	files := output.FilesOf(&s.Study, dicomio.Limits{})
	drawings, pages := everything(), everything()
	pages.Overlay, pages.Segmentation = "none", false
	for uid, o := range map[string]output.Options{"1.2.3.2": drawings, "1.2.3.1": pages} { // that of which a page shows pictures
		out := t.TempDir()
		list, err := output.Write(t.Context(), &s.Study, unreadable{files, uid}, out, o)
		if !errors.Is(err, syscall.ESTALE) || len(list) > 0 {
			t.Errorf("%s: %+v, %v", uid, list, err)
		}
		if left, err := os.ReadDir(out); err != nil || len(left) > 0 {
			t.Errorf("%s: %v is left, %v", uid, left, err)
		}
	}
}

// Why a file cannot be read is said without where it lies.
func TestReasonsNameNoPath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "1.2.3.1.dcm")
	for _, err := range []error{&fs.PathError{Op: "read", Path: path, Err: syscall.EIO},
		&dicomio.Error{Op: "frames", Offset: -1, Err: &fs.PathError{Op: "read", Path: path, Err: syscall.EIO}}} {
		if got := failed(result.DecodeFailed, "frame %d of the cine: %v", 3, err).reason.Text; strings.Contains(got, path) ||
			!strings.HasPrefix(got, "frame 3 of the cine: ") || !strings.HasSuffix(got, "input/output error") {
			t.Error(got)
		}
	}
	s := analyse(t, newBrightness(models.ViewA4C), path, standard("1.2.3.2").write(t, t.TempDir()))
	i := slices.IndexFunc(s.Loops, func(l result.Loop) bool { return l.File == path })
	if i < 0 || s.Loops[i].Reason == nil || s.Loops[i].Reason.Text != "not readable as DICOM: no such file or directory" {
		t.Errorf("%d: %+v", i, s.Loops)
	}
}

// A drawing that ends before its end leaves nothing in its folder.
func TestInterruptedDrawingLeavesNothing(t *testing.T) {
	s := analyse(t, newBrightness(models.ViewA4C), standard("1.2.3.1").write(t, t.TempDir()))
	files, out := output.FilesOf(&s.Study, dicomio.Limits{}), t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	go func() { // once the overlay is there
		defer close(done)
		for ctx.Err() == nil {
			if _, err := os.Stat(filepath.Join(out, "loop-01-a4c-seg.dcm")); err == nil {
				cancel()
			}
		}
	}()
	list, err := output.Write(ctx, &s.Study, files, out, everything())
	cancel()
	<-done
	if left, err2 := os.ReadDir(out); err == nil || err2 != nil || len(left) > 0 || len(list) > 0 {
		t.Errorf("%v, %v: %v is left; %+v", err, err2, left, list)
	}
}
