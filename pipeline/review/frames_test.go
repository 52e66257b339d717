package review

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/pipeline/store"
)

// level is the gray value of a JPEG.
func level(t *testing.T, b io.Reader) int {
	t.Helper()
	img, err := jpeg.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	r, _, _, _ := img.At(30, 20).RGBA()
	return int(r >> 8)
}

// A stored JPEG goes out as it is where it is the picture, and not where the object
// shows small values bright.
func TestStoredInverse(t *testing.T) {
	const w, h = 64, 48
	img := image.NewGray(image.Rect(0, 0, w, h))
	for i := range img.Pix {
		img.Pix[i] = 60
	}
	var stream bytes.Buffer
	if err := jpeg.Encode(&stream, img, nil); err != nil {
		t.Fatal(err)
	}
	for shape, want := range map[string]int{"IDENTITY": 60, "INVERSE": 195} {
		ds := dicomio.NewDataSet().SetString(tag.SOPClassUID, uid.UltrasoundMultiFrameImageStorage).SetString(tag.SOPInstanceUID, "1.2").
			SetString(tag.PhotometricInterpretation, "MONOCHROME2").SetInt(tag.SamplesPerPixel, 1).SetInt(tag.Rows, h).SetInt(tag.Columns, w).
			SetInt(tag.BitsAllocated, 8).SetInt(tag.BitsStored, 8).SetInt(tag.HighBit, 7).SetInt(tag.PixelRepresentation, 0).
			SetInt(tag.NumberOfFrames, 1).SetString(tag.PresentationLUTShape, shape)
		var b bytes.Buffer
		o := dicomio.WriteOptions{TransferSyntax: uid.JPEGBaseline8Bit, Pixels: dicomio.FrameBytes([][]byte{stream.Bytes()})}
		if err := dicomio.Write(&b, ds, o); err != nil {
			t.Fatal(err)
		}
		in := store.Instance{Path: filepath.Join(t.TempDir(), "1.dcm")}
		if err := os.WriteFile(in.Path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		loops := newOpenLoops(files(t), limits())
		got, err := loops.frame(t.Context(), in, loops.file(in), 0)
		if err != nil {
			t.Fatal(err)
		}
		if is := level(t, bytes.NewReader(got)); !near(is, want) || bytes.HasPrefix(got, stream.Bytes()) != (want == 60) {
			t.Errorf("%s: gray %d, want %d", shape, is, want)
		}
		loops.close()
	}
}

func near(a, b int) bool { return a >= b-2 && a <= b+2 }

// In a directory the UIDs, paths, revisions and, in SQLite, the numbers of runs
// of a removed study are those of another patient's that comes under the same
// UIDs: nothing of the one is shown, or can be signed, in the place of the other.
func TestAnotherStudyUnderTheSameUIDs(t *testing.T) {
	s := newSite(t, func(o *Options) { o.Signer = nobody{t} })
	a := sample{study: "1.2.1", loop: "1.2.1.1", name: "Swapped^Anna", view: "A4C", ef: value(61)}
	s.add(a)
	b := s.as("reader")
	frame := func(v string) string { return "/study/1.2.1/loop/1.2.1.1/frame/0?v=" + v }
	in := func() store.Instance {
		in, err := s.store.Instance(t.Context(), a.loop)
		if err != nil {
			t.Fatal(err)
		}
		return in
	}
	was, run := in(), s.last(a.study)
	_, page := b.want(http.StatusOK, http.MethodGet, "/study/1.2.1", "")
	if !strings.Contains(page, `data-ef="61"`) || !strings.Contains(page, "frame/0?v="+was.Version()) || !strings.Contains(page, run.Version()) {
		t.Fatalf("the page names no versions:\n%s", page)
	}
	res, text := b.want(http.StatusOK, http.MethodGet, frame(was.Version()), "")
	if got := level(t, strings.NewReader(text)); !near(got, 60) {
		t.Fatalf("gray %d", got)
	}
	b.want(http.StatusOK, http.MethodGet, "/study/1.2.1/loop/1.2.1.1/data?run="+run.Version(), "")

	if err := s.store.Delete(t.Context(), a.study); err != nil {
		t.Fatal(err)
	}
	b.want(http.StatusNotFound, http.MethodGet, frame(was.Version()), "")
	if err := os.Remove(was.Path); err != nil {
		t.Fatal(err)
	}
	s.pass(time.Second)
	a.name, a.ef, a.level = "Swapped^Berta", value(38), 40
	s.add(a)
	is, runNow := in(), s.last(a.study)
	if is.Path != was.Path || runNow.Revision != run.Revision || runNow.Directory != run.Directory {
		t.Fatalf("nothing is used again: %+v, %+v", is, runNow)
	}

	asked := func(r *http.Request) { r.Header.Set("If-None-Match", res.Header.Get("ETag")) }
	for _, path := range []string{frame(is.Version()), frame("")} {
		if _, text := b.want(http.StatusOK, http.MethodGet, path, "", asked); !near(level(t, strings.NewReader(text)), 100) {
			t.Errorf("%s: the picture of the patient before", path)
		}
	}
	_, page = b.want(http.StatusOK, http.MethodGet, "/study/1.2.1", "")
	if !strings.Contains(page, `data-ef="38"`) || strings.Contains(page, was.Version()) || strings.Contains(page, run.Version()) {
		t.Errorf("the result of the patient before:\n%s", page)
	}
	// Pages that are open still get nothing that is not theirs.
	b.want(http.StatusGone, http.MethodGet, frame(was.Version()), "", asked)
	b.want(http.StatusGone, http.MethodGet, "/study/1.2.1/loop/1.2.1.1/data?run="+run.Version(), "")
	for _, path := range []string{"/study/1.2.1/recalculate", "/study/1.2.1/sign"} {
		for _, of := range []string{run.Version(), ""} {
			b.want(http.StatusConflict, http.MethodPost, path, fmt.Sprintf(`{"base": 1, "run": %q, "corrections": {"loops": {}}, "verdict": "rejected"}`, of),
				func(r *http.Request) { r.Header.Set("Content-Type", "application/json") })
		}
	}
}

// A file that has taken the place of a damaged one, with nothing else recorded, is
// the one that is shown: also of frames that were made before, and to browsers
// that have them.
func TestHealedFile(t *testing.T) {
	a := sample{study: "1.2", loop: "1.2.1"}
	in := store.Instance{Path: filepath.Join(t.TempDir(), "1.dcm")} // of a program that recorded no sums
	o := newOpenLoops(files(t), limits())
	defer o.close()
	var tags []string
	for _, a.level = range []byte{0, 30} {
		writeLoop(t, in.Path+".new", a)
		if err := os.Rename(in.Path+".new", in.Path); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			got, err := o.frame(t.Context(), in, o.file(in), 1)
			if err != nil {
				t.Fatal(err)
			}
			if is := level(t, bytes.NewReader(got)); !near(is, 120+int(a.level)) {
				t.Errorf("gray %d of a file of %d", is, 120+a.level)
			}
		}
		tags = append(tags, etag(in, o.file(in), 1))
	}
	if tags[0] == tags[1] {
		t.Error("a browser keeps the frame of the file before")
	}
	if o.order.Len() != 1 || o.cached.Len() != 1 {
		t.Errorf("%d open, %d kept", o.order.Len(), o.cached.Len())
	}
}

// A frame that waits for memory ends with the server, and not with one of the
// requests for it.
func TestWaitingFrameEndsWithServer(t *testing.T) {
	in := store.Instance{Path: filepath.Join(t.TempDir(), "1.dcm")}
	writeLoop(t, in.Path, sample{study: "1.2", loop: "1.2.1"})
	memory := dicomio.NewMemory(64 << 20)
	all, err := memory.Frames().Take(t.Context(), memory.Frames().Size(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer all.Drop()
	o := newOpenLoops(files(t), dicomio.Limits{Memory: memory})
	done := make(chan error, 1)
	go func() { _, err := o.frame(t.Context(), in, o.file(in), 1); done <- err }()
	for len(o.canvas) == maxMaking { // until it is being made
		select {
		case err := <-done:
			t.Fatalf("not waiting: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	o.close()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// What nobody looks at is closed and forgotten: it may have been removed.
func TestUnusedIsForgotten(t *testing.T) {
	s := newSite(t, func(o *Options) { o.unused = 100 * time.Millisecond })
	s.add(sample{study: "1.2.1", loop: "1.2.1.1", name: "Doe^Jane", view: "A4C", ef: value(60)})
	b := s.as("viewer")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	b.want(http.StatusOK, http.MethodGet, "/study/1.2.1", "")
	b.want(http.StatusOK, http.MethodGet, "/study/1.2.1/loop/1.2.1.1/frame/1", "")
	if n := s.open("1.2.1.1.dcm"); n != 1 {
		t.Fatalf("%d open files", n)
	}
	go func() { ended <- s.server.Run(ctx) }()
	left := func() int {
		s.server.loops.mu.Lock()
		s.server.documents.mu.Lock()
		defer s.server.loops.mu.Unlock()
		defer s.server.documents.mu.Unlock()
		return s.server.loops.order.Len() + s.server.loops.bytes + len(s.server.documents.by) + int(s.server.documents.size) + s.open("1.2.1.1.dcm")
	}
	for end := time.Now().Add(3 * time.Minute); left() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d kept", left())
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// open is how many of the process's open files have that name.
func (s *site) open(base string) (n int) {
	s.t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		s.t.Skip(err)
	}
	for _, f := range all {
		if to, err := os.Readlink(filepath.Join("/proc/self/fd", f.Name())); err == nil && to == filepath.Join(s.dir, base) {
			n++
		}
	}
	return n
}

// What is used stays while others are forgotten.
func TestUsedIsKept(t *testing.T) {
	dir := t.TempDir()
	o := newOpenLoops(files(t), limits())
	defer o.close()
	var all []store.Instance
	for i := range 2 {
		path := filepath.Join(dir, fmt.Sprintf("%d.dcm", i))
		writeLoop(t, path, sample{study: "1.2", loop: fmt.Sprintf("1.2.%d", i)})
		all = append(all, store.Instance{Path: path})
		if _, err := o.frame(t.Context(), all[i], o.file(all[i]), 0); err != nil {
			t.Fatal(err)
		}
	}
	for e := o.order.Back(); e != nil; e = e.Prev() {
		e.Value.(*openLoop).used = time.Now().Add(-time.Hour)
	}
	if _, err := o.frame(t.Context(), all[0], o.file(all[0]), 1); err != nil {
		t.Fatal(err)
	}
	o.forget(time.Minute)
	if o.order.Len() != 1 || o.order.Front().Value.(*openLoop).in.Path != all[0].Path {
		t.Errorf("%d are open", o.order.Len())
	}
}

// Without a budget there is no page.
func TestPagesHaveABudget(t *testing.T) {
	o := newSite(t).server.opt
	o.Limits.Memory = nil
	if _, err := New(o); err == nil {
		t.Error("pages without a limit of memory")
	}
}

// However many objects are looked at one after the other, those that nobody looks at
// any more leave room in the memory; nobody waits for it.
func TestIdleObjectsGiveTheirMemoryUp(t *testing.T) {
	l := dicomio.Limits{Memory: dicomio.NewMemory(2 << 20)}
	o := newOpenLoops(files(t), l)
	defer o.close()
	indexes, dir := l.Memory.Indexes(), t.TempDir()
	for i := range 2 * int(indexes.Size()/(64<<10)) { // what an index takes at least
		in := store.Instance{SOPInstanceUID: fmt.Sprintf("1.2.%d", i), SOPClassUID: uid.UltrasoundMultiFrameImageStorage,
			TransferSyntaxUID: uid.ExplicitVRLittleEndian, Path: filepath.Join(dir, fmt.Sprint(i))}
		writeLoop(t, in.Path, sample{study: "1.2", loop: in.SOPInstanceUID})
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		if _, err := o.frame(ctx, in, o.file(in), 0); err != nil {
			t.Fatalf("object %d: %v", i, err)
		}
		cancel()
		if used := indexes.InUse(); used > indexes.Size()/2 || used == 0 {
			t.Fatalf("after object %d indexes take %d bytes of %d", i, used, indexes.Size())
		}
	}
	o.close()
	if n := l.Memory.InUse(); n != 0 {
		t.Errorf("%d bytes are taken by nobody", n)
	}
}

// What was inflated, or is decoded by a process, is not kept for those who may come back
// while others are opened; what is in use stays.
func TestFewScarceObjectsAreOpen(t *testing.T) {
	o := newOpenLoops(files(t), limits())
	defer o.close()
	dir := t.TempDir()
	var all []store.Instance
	const deflated, plain = uid.DeflatedExplicitVRLittleEndian, uid.ExplicitVRLittleEndian
	for i, syntax := range []string{deflated, deflated, plain, deflated} {
		in := store.Instance{SOPInstanceUID: fmt.Sprintf("1.2.%d", i), SOPClassUID: uid.UltrasoundMultiFrameImageStorage, TransferSyntaxUID: syntax,
			Path: filepath.Join(dir, fmt.Sprint(i))}
		writeLoopAs(t, in.Path, sample{study: "1.2", loop: in.SOPInstanceUID}, syntax)
		all = append(all, in)
	}
	open := func() (out string) {
		for e := o.order.Front(); e != nil; e = e.Next() {
			out += strings.TrimPrefix(e.Value.(*openLoop).in.SOPInstanceUID, "1.2.")
		}
		return out
	}
	look := func(i int, want string) {
		t.Helper()
		if _, err := o.frame(t.Context(), all[i], o.file(all[i]), 0); err != nil {
			t.Fatal(err)
		}
		if got := open(); got != want {
			t.Errorf("after %d: %s are open, want %s", i, got, want)
		}
	}
	look(0, "0")
	look(1, "1")
	look(2, "21")
	o.mu.Lock()
	used := o.acquire(all[1], o.file(all[1]))
	o.mu.Unlock()
	look(3, "312")
	o.room(true)() // as for a summary
	if got := open(); got != "12" {
		t.Errorf("%s are open", got)
	}
	o.release(used)
	o.room(false)()
	if got := open(); got != "12" {
		t.Errorf("%s are open", got)
	}
	// Few are asked for at once.
	for range maxScarce {
		o.asking <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := o.frame(ctx, all[0], o.file(all[0]), 1); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := o.frame(t.Context(), all[2], o.file(all[2]), 1); err != nil {
		t.Error(err)
	}
}
