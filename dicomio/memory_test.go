package dicomio

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
)

// identified is a data set with an identity, before what a test adds.
const identified = "\x08\x00\x16\x00UI\x1C\x001.2.840.10008.5.1.4.1.1.3.1" + "\x00" +
	"\x08\x00\x18\x00UI\x04\x001.9\x00" + "\x10\x00\x20\x00LO\x02\x00P1" +
	"\x20\x00\x0D\x00UI\x04\x001.7\x00" + "\x20\x00\x0E\x00UI\x04\x001.8\x00"

// deflated is a Part 10 file whose data set is the given bytes, deflated.
func deflated(t testing.TB, dataset string) []byte {
	t.Helper()
	var b bytes.Buffer
	b.Write(make([]byte, 128))
	b.WriteString("DICM\x02\x00\x10\x00UI\x16\x00" + uid.DeflatedExplicitVRLittleEndian)
	w, err := flate.NewWriter(&b, flate.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(dataset)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// tinyCine is a native cine of so many frames.
func tinyCine(t testing.TB, frames int) []byte {
	t.Helper()
	pixels := make([][]byte, frames)
	for i := range pixels {
		pixels[i] = syntheticFrame(i, 1, 8)
	}
	var b bytes.Buffer
	if err := Write(&b, syntheticBase(frames, 1, 8, 8, "MONOCHROME2"), WriteOptions{Pixels: FrameBytes(pixels)}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// allocated is how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// Whose object it is costs nothing, whatever the object is.
func TestIdentifyIsCheap(t *testing.T) {
	long := func(n int) string {
		return string([]byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)})
	}
	const zeros = 32 << 20
	pixels := "\xE0\x7F\x10\x00OB\x00\x00" + long(zeros) + strings.Repeat("\x00", zeros)
	cases := map[string][]byte{
		"deflated":        deflated(t, identified+pixels),
		"deflated, short": deflated(t, identified),
		"empty elements":  []byte(identified + strings.Repeat("\x21\x00\x10\x00LO\x00\x00", 300_000)),
		"empty items":     []byte(identified + "\x40\x00\x75\x02SQ\x00\x00" + long(8*300_000) + strings.Repeat("\xFE\xFF\x00\xE0\x00\x00\x00\x00", 300_000)),
		"zero padding":    []byte(identified + pixels[:12] + strings.Repeat("\x01", zeros) + strings.Repeat("\x00", 2<<20)),
		"long values":     []byte(identified + strings.Repeat("\x21\x00\x10\x00UT\x00\x00"+long(1<<20)+strings.Repeat("x", 1<<20), 16)),
	}
	for name, b := range cases {
		var id Identity
		var err error
		took := allocated(func() { id, err = Identify(context.Background(), bytes.NewReader(b), int64(len(b)), Options{}) })
		if err != nil || id.SOPInstanceUID != "1.9" || id.StudyInstanceUID != "1.7" || id.SeriesInstanceUID != "1.8" || id.PatientID != "P1" {
			t.Errorf("%s: %+v, %v", name, id, err)
		}
		if took > 1<<20 {
			t.Errorf("%s: %d bytes were allocated for an identity", name, took)
		}
	}
	truncated := []byte(identified + pixels[:1<<20])
	if _, err := Identify(context.Background(), bytes.NewReader(truncated), int64(len(truncated)), Options{}); !errors.Is(err, ErrTruncated) {
		t.Errorf("a truncated object: %v", err)
	}
	hidden := deflated(t, strings.Repeat("\x08\x00\x40\x11UT\x00\x00"+long(1<<20)+strings.Repeat("x", 1<<20), 3)+identified)
	if _, err := Identify(context.Background(), bytes.NewReader(hidden), int64(len(hidden)),
		Options{Limits: Limits{Inflated: 2 << 20}}); !errors.Is(err, ErrLimit) {
		t.Errorf("an identity behind the limit of inflation: %v", err)
	}
}

// Identify and Read agree on every file of the corpus, deflated ones included.
func TestIdentifyAgreesWithRead(t *testing.T) {
	dir, refs := corpus(t)
	for _, ref := range refs {
		b := mustRead(t, filepath.Join(dir, ref.Path))
		id, ierr := Identify(context.Background(), bytes.NewReader(b), int64(len(b)), Options{})
		f, err := Read(bytes.NewReader(b), int64(len(b)), Options{Strict: true})
		deflate := id.TransferSyntax == uid.DeflatedExplicitVRLittleEndian // whose end is not looked at
		if (err == nil) != (ierr == nil) && !deflate {
			t.Errorf("%s: Read %v, Identify %v", ref.Path, err, ierr)
		}
		if err != nil || ierr != nil {
			continue
		}
		for tg, got := range map[Tag]string{tag.SOPInstanceUID: id.SOPInstanceUID, tag.SOPClassUID: id.SOPClassUID, tag.StudyInstanceUID: id.StudyInstanceUID,
			tag.SeriesInstanceUID: id.SeriesInstanceUID, tag.PatientID: id.PatientID, tag.PatientName: id.PatientName, tag.PatientBirthDate: id.PatientBirthDate} {
			if want := strings.TrimSpace(f.DataSet.String(tg)); got != want {
				t.Errorf("%s: %v is %q, Read says %q", ref.Path, tg, got, want)
			}
		}
		if id.TransferSyntax != f.TransferSyntax {
			t.Errorf("%s: transfer syntax %s, Read says %s", ref.Path, id.TransferSyntax, f.TransferSyntax)
		}
	}
}

// A large inflated data set lies in a file without a name, not in memory.
func TestInflatedDataSetsAreNotHeld(t *testing.T) {
	const size = 24 << 20
	d := syntheticBase(1, 1, 8, 8, "MONOCHROME2").SetInt(tag.Rows, 4096).SetInt(tag.Columns, 6144)
	pixels := make([]byte, size)
	for i := range pixels {
		pixels[i] = byte(i >> 12)
	}
	var b bytes.Buffer
	if err := Write(&b, d, WriteOptions{TransferSyntax: uid.DeflatedExplicitVRLittleEndian, Pixels: FrameBytes([][]byte{pixels})}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var f *File
	took := allocated(func() {
		var err error
		if f, err = Read(bytes.NewReader(b.Bytes()), int64(b.Len()), Options{Limits: Limits{Scratch: dir}}); err != nil {
			t.Fatal(err)
		}
	})
	if took > 4<<20 {
		t.Errorf("opening allocated %d bytes", took)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("names in the scratch directory: %v, %v", left, err)
	}
	r, err := f.Frames()
	if err != nil {
		t.Fatal(err)
	}
	var img image.Gray
	if err := r.Gray(0, &img); err != nil || !bytes.Equal(img.Pix, pixels) {
		t.Errorf("the frame is not what was written: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if _, err := Read(bytes.NewReader(b.Bytes()), int64(b.Len()), Options{Limits: Limits{Scratch: "/nowhere", Inflated: size / 2}}); !errors.Is(err, ErrLimit) {
		t.Errorf("over the limit: %v, want the limit before anything is written", err)
	}
	// A thousand times its length is no picture.
	zeros := deflated(t, identified+"\xE0\x7F\x10\x00OB\x00\x00\x00\x00\x00\x08"+strings.Repeat("\x00", 128<<20))
	if _, err := Read(bytes.NewReader(zeros), int64(len(zeros)), Options{Limits: Limits{Scratch: "/nowhere"}}); !errors.Is(err, ErrLimit) {
		t.Errorf("%d bytes that inflate to 128 MiB: %v", len(zeros), err)
	}
}

// All inputs together hold no more than the budget: one that needs too much is
// refused before it is indexed, others wait for each other, and everything is
// given back.
func TestMemoryBudget(t *testing.T) {
	many := []byte(identified + strings.Repeat("\x21\x00\x10\x00LO\x00\x00", 100_000))
	read := func(ctx context.Context, m *Memory) (*File, error) {
		return ReadContext(ctx, bytes.NewReader(many), int64(len(many)), Options{Limits: Limits{Memory: m}})
	}
	small := NewMemory(64 << 20)
	took := allocated(func() {
		if _, err := read(context.Background(), small); !errors.Is(err, ErrLimit) {
			t.Errorf("an index over the budget: %v", err)
		}
	})
	if took > 1<<20 {
		t.Errorf("a refused index allocated %d bytes", took)
	}
	m := NewMemory(256 << 20)
	var kept uint64
	var first *File
	kept = allocated(func() {
		var err error
		if first, err = read(context.Background(), m); err != nil {
			t.Fatal(err)
		}
	})
	if used := m.InUse(); used < int64(kept)/2 || used > 2*int64(kept) {
		t.Errorf("an index of %d allocated bytes counts as %d", kept, used)
	}
	second, err := read(context.Background(), m)
	if err != nil {
		t.Fatal(err)
	}
	brief, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := read(brief, m); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("three indexes of %d bytes fit a quarter of %d: %v", m.InUse()/2, m.Total(), err)
	}
	if err := errors.Join(first.Close(), second.Close(), second.Close()); err != nil {
		t.Error(err)
	}
	if m.InUse() != 0 {
		t.Errorf("%d bytes are still held", m.InUse())
	}
}

// Frames wait for memory one after the other, and a frame that never fits is
// refused before it is decoded.
func TestFrameMemory(t *testing.T) {
	f := readBytes(t, tinyCine(t, 2), Options{Limits: Limits{Memory: NewMemory(1 << 20)}})
	r, err := f.Frames()
	if err != nil {
		t.Fatal(err)
	}
	pool := f.limits.Memory.Frames()
	synctest.Test(t, func(t *testing.T) {
		all, err := pool.Take(t.Context(), pool.Size(), 0)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { var img image.Gray; done <- r.Gray(0, &img) }()
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("a frame was decoded without memory: %v", err)
		default:
		}
		all.Drop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	if pool.InUse() != 0 {
		t.Errorf("%d bytes are still held", pool.InUse())
	}
	large := readBytes(t, fixture(t, "gray8-rle"), Options{Limits: Limits{Memory: NewMemory(1 << 20)}})
	large.DataSet.SetInt(tag.Rows, 3000).SetInt(tag.Columns, 3000)
	if _, err := large.Frames(); !errors.Is(err, ErrLimit) {
		t.Errorf("a frame over the budget: %v", err)
	}
}

// The end of the context is the end of decoding and of the child process.
func TestContextEndsDecoding(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	b := tinyCine(t, 2)
	f, err := ReadContext(ctx, bytes.NewReader(b), int64(len(b)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := f.Frames()
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	var img image.Gray
	if err := r.Gray(0, &img); !errors.Is(err, context.Canceled) {
		t.Errorf("a frame after the end: %v", err)
	}
}

// children are the processes that this one has started and that still are, but for
// those of before.
func children(t *testing.T, before []string) (out []string) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(stats) == 0 {
		t.Skip("no /proc to look for processes in")
	}
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // ended meanwhile
		}
		// pid (name) state ppid: the name may hold anything.
		_, after, _ := strings.Cut(string(b), ") ")
		if f := strings.Fields(after); len(f) > 1 && f[1] == strconv.Itoa(os.Getpid()) && !slices.Contains(before, path) {
			out = append(out, path)
		}
	}
	return out
}

// A decoder that hangs is ended after its time, which is told from damage, and
// not waited for again.
func TestVideoDecoderThatHangs(t *testing.T) {
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "ffmpeg"), []byte("#!/bin/sh\nexec sleep 300\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	var b bytes.Buffer
	d := syntheticBase(9, 3, 8, 8, "YBR_PARTIAL_420").SetInt(tag.Rows, 64).SetInt(tag.Columns, 64).SetInt(tag.NumberOfFrames, 1)
	if err := Write(&b, d, WriteOptions{TransferSyntax: uid.MPEG2MPML, Pixels: FrameBytes([][]byte{{0, 0, 1, 0xB3}})}); err != nil {
		t.Fatal(err)
	}
	before := children(t, nil)
	f, err := ReadContext(t.Context(), bytes.NewReader(b.Bytes()), int64(b.Len()), Options{Limits: Limits{Video: 50 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	f.DataSet.SetInt(tag.NumberOfFrames, 9)
	if _, err := f.Frames(); !errors.Is(err, ErrLimit) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if left := children(t, before); len(left) > 0 {
		t.Errorf("processes are left: %q", left)
	}
}

func TestVideoProcessEndsWithItsFile(t *testing.T) {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not installed")
	}
	const w, h, n = 128, 96, 200
	path := filepath.Join(t.TempDir(), "v")
	if out, err := exec.Command("ffmpeg", "-v", "error", "-f", "lavfi", "-i", fmt.Sprintf("testsrc=size=%dx%d:rate=25", w, h), "-frames:v", fmt.Sprint(n),
		"-c:v", "mpeg2video", "-pix_fmt", "yuv420p", "-threads", "1", "-f", "mpeg2video", path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var b bytes.Buffer
	d := syntheticBase(n, 3, 8, 8, "YBR_PARTIAL_420").SetInt(tag.Rows, h).SetInt(tag.Columns, w).SetInt(tag.NumberOfFrames, 1)
	if err := Write(&b, d, WriteOptions{TransferSyntax: uid.MPEG2MPML, Pixels: FrameBytes([][]byte{mustRead(t, path)})}); err != nil {
		t.Fatal(err)
	}
	m := NewMemory(512 << 20)
	before := children(t, nil) // decoders of files that other tests leave open
	for _, end := range []string{"context", "close"} {
		ctx, cancel := context.WithCancel(context.Background())
		f, err := ReadContext(ctx, bytes.NewReader(b.Bytes()), int64(b.Len()), Options{Limits: Limits{Memory: m}})
		if err != nil {
			t.Fatal(err)
		}
		f.DataSet.SetInt(tag.NumberOfFrames, n)
		r, err := f.Frames()
		if err != nil {
			t.Fatal(err)
		}
		var img image.Gray
		if err := r.Gray(0, &img); err != nil {
			t.Fatal(err)
		}
		if len(children(t, before)) != 1 {
			t.Error("no decoder process runs")
		}
		if held := m.Video().InUse(); held < 64<<20 {
			t.Errorf("a decoder process counts as %d bytes", held)
		}
		if end == "context" {
			cancel()
			if err := r.Gray(1, &img); !errors.Is(err, context.Canceled) {
				t.Errorf("a frame after the end: %v", err)
			}
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if end == "close" {
			if err := r.Gray(1, &img); !errors.Is(err, os.ErrClosed) {
				t.Errorf("a frame of a closed file: %v", err)
			}
		}
		cancel()
		if left := children(t, before); len(left) > 0 || m.InUse() != 0 {
			t.Errorf("after %s: processes %v, %d bytes held", end, left, m.InUse())
		}
	}
}

// What stands behind the pixels is padding: a few bytes, whatever they are, and
// zeros in any number. Zeros before elements are none.
func TestBytesBehindThePixels(t *testing.T) {
	b := tinyCine(t, 2)
	for name, tail := range map[string][]byte{"3 bytes": []byte("abc"), "7 bytes": []byte("\xFF\xFF\xFF\xFF\xFF\xFF\xFF"), "3 MiB of zeros": make([]byte, 3<<20),
		"odd zeros": make([]byte, 5)} {
		in := append(bytes.Clone(b), tail...)
		f, err := Read(bytes.NewReader(in), int64(len(in)), Options{Strict: true})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if r, err := f.Frames(); err != nil || r.Len() != 2 {
			t.Errorf("%s: %v", name, err)
		}
		var out bytes.Buffer
		if _, err := f.WriteTo(&out); err != nil || !bytes.Equal(out.Bytes(), in) {
			t.Errorf("%s: written back as %d of %d bytes, %v", name, out.Len(), len(in), err)
		}
	}
	zeros := []byte(identified + strings.Repeat("\x00", 1<<20) + "\x21\x00\x10\x00LO\x00\x00")
	if _, err := Read(bytes.NewReader(zeros), int64(len(zeros)), Options{}); !errors.Is(err, ErrMalformed) {
		t.Errorf("a million zeros before an element: %v", err)
	}
}

// An offset table is read for as many frames as the limits and the items allow,
// whatever the attributes say: it is no part of the memory budget.
func TestOffsetTablesOfTooManyFrames(t *testing.T) {
	const frames = 1 << 20
	short := func(v int) string { return string([]byte{byte(v), byte(v >> 8)}) }
	long := func(n int) string { return short(n) + short(n>>16) }
	us := func(element, v int) string { return "\x28\x00" + short(element) + "US\x02\x00" + short(v) }
	described := identified + us(0x02, 1) + "\x28\x00\x04\x00CS\x0C\x00MONOCHROME2 " + fmt.Sprintf("\x28\x00\x08\x00IS\x08\x00%-8d", frames) +
		us(0x10, 8) + us(0x11, 8) + us(0x100, 8) + us(0x101, 8) + us(0x102, 7) + us(0x103, 0)
	extended := "\xE0\x7F\x01\x00OV\x00\x00" + long(8*frames) + strings.Repeat("\x00", 8*frames)
	pixels := func(basic string) string {
		return "\xE0\x7F\x10\x00OB\x00\x00\xFF\xFF\xFF\xFF" + "\xFE\xFF\x00\xE0" + long(len(basic)) + basic +
			"\xFE\xFF\x00\xE0\x08\x00\x00\x00\xFF\xD8\xFF\xDB\x00\x00\xFF\xD9" + "\xFE\xFF\xDD\xE0\x00\x00\x00\x00"
	}
	native := "\xE0\x7F\x10\x00OB\x00\x00\x40\x00\x00\x00" + strings.Repeat("\x00", 64)
	for _, c := range []struct {
		name, dataset, syntax string
		limit                 int
		want                  error
	}{
		{"over the limit", described + extended + pixels(""), uid.JPEGBaseline8Bit, 2000, ErrLimit},
		{"more than items", described + extended + pixels(""), uid.JPEGBaseline8Bit, 2 * frames, nil}, // one frame was not counted
		{"basic table of more than items", described + pixels(strings.Repeat("\x00", 4*frames)), uid.JPEGBaseline8Bit, 2 * frames, nil},
		{"native", described + extended + native, uid.ExplicitVRLittleEndian, 2 * frames, nil},
	} {
		f, err := Read(strings.NewReader(c.dataset), int64(len(c.dataset)),
			Options{TransferSyntax: c.syntax, Limits: Limits{Memory: NewMemory(64 << 20), Frames: c.limit}})
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		for how, open := range map[string]func() (*FrameReader, error){"Frames": f.Frames, "RawFrames": f.RawFrames} {
			took := allocated(func() { _, err = open() })
			if !errors.Is(err, c.want) {
				t.Errorf("%s, %s: error %v, want %v", c.name, how, err, c.want)
			}
			if took > 1<<20 {
				t.Errorf("%s, %s: %d bytes were allocated, and %v", c.name, how, took, err)
			}
		}
	}
}

// wideCine is a loop of 16 bits without a window: every frame is dark but for one
// bright pixel. Its frames are RLE; the bad ones are cut.
func wideCine(t testing.TB, frames int, bad ...int) []byte {
	t.Helper()
	px := fixtureW * fixtureH
	pixels := make([][]byte, frames)
	for i := range pixels {
		// Two segments, of the high and the low bytes: runs of zeros, and 0x10 at the end of the high ones.
		segment := func(last byte) (b []byte) {
			for left := px - 1; left > 0; left -= min(left, 128) {
				b = append(b, byte(1-min(left, 128)), 0)
			}
			return append(b, 0, last)
		}
		b := binary.LittleEndian.AppendUint32(make([]byte, 0, 64), 2)
		high, low := segment(0x10), segment(0)
		b = binary.LittleEndian.AppendUint32(b, 64)
		b = binary.LittleEndian.AppendUint32(b, uint32(64+len(high)))
		pixels[i] = slices.Concat(b[:12], make([]byte, 52), high, low)
		if slices.Contains(bad, i) {
			pixels[i] = pixels[i][:70]
		}
	}
	var b bytes.Buffer
	err := Write(&b, syntheticBase(frames, 1, 16, 16, "MONOCHROME2"), WriteOptions{TransferSyntax: uid.RLELossless, Pixels: FrameBytes(pixels)})
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// The range of a loop without a window is found before memory is held for the
// frame that is asked for: a frame that needs more than half of what there is waited
// for itself until the context's end, and for ever without one.
func TestRangeWaitsForNothing(t *testing.T) {
	loop := wideCine(t, 3)
	const room = fixtureW * fixtureH * 2 * 5 * 3 / 2 // one frame and a half
	for name, wait := range map[string]int{"one": 1, "several at a time": 8} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			memory := NewMemory(1 << 20)
			others, err := memory.Frames().Take(ctx, memory.Frames().Size()-room, 0)
			if err != nil {
				t.Fatal(name, err)
			}
			f, err := ReadContext(ctx, bytes.NewReader(loop), int64(len(loop)), Options{Limits: Limits{Memory: memory}})
			if err != nil {
				t.Fatal(name, err)
			}
			defer f.Close()
			r, err := f.Frames()
			if err != nil {
				t.Fatal(name, err)
			}
			done := make(chan string, 2*wait)
			for i := range wait {
				go func() {
					var g image.Gray
					err := r.Gray(i%3, &g)
					done <- fmt.Sprint(err, g.Pix[0], g.Pix[len(g.Pix)-1])
				}()
				go func() {
					var c image.RGBA
					err := r.RGB(i%3, &c)
					done <- fmt.Sprint(err, c.Pix[0], c.Pix[len(c.Pix)-4])
				}()
			}
			for range 2 * wait {
				if got := <-done; got != "<nil> 0 255" {
					t.Errorf("%s: %s", name, got)
				}
			}
			others.Drop()
			if n := memory.Frames().InUse(); n != 0 {
				t.Errorf("%s: %d bytes are still held", name, n)
			}
		})
	}
}

// Who waits for memory while the range is found ends with the context, and has no
// picture of it.
func TestRangeEndsWithContext(t *testing.T) {
	loop := wideCine(t, 3)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		memory := NewMemory(4 << 20)
		f, err := ReadContext(ctx, bytes.NewReader(loop), int64(len(loop)), Options{Limits: Limits{Memory: memory}})
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		r, err := f.Frames()
		if err != nil {
			t.Fatal(err)
		}
		all, err := memory.Frames().Take(t.Context(), memory.Frames().Size(), 0)
		if err != nil {
			t.Fatal(err)
		}
		defer all.Drop()
		var g image.Gray
		if err := r.Gray(0, &g); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
}

// A damaged frame takes no picture from the others, whose range is without it;
// where all are damaged there is none.
func TestRangeOfDamagedLoop(t *testing.T) {
	for _, c := range []struct {
		bad  []int
		want []error
	}{
		{[]int{0}, []error{ErrCodestream, nil, nil}},
		{[]int{1, 2}, []error{nil, ErrCodestream, ErrCodestream}},
		{[]int{0, 1, 2}, []error{ErrCodestream, ErrCodestream, ErrCodestream}},
	} {
		r, err := readBytes(t, wideCine(t, 3, c.bad...), Options{}).Frames()
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range c.want {
			var g image.Gray
			err := r.Gray(i, &g)
			if !errors.Is(err, want) || want == nil && (g.Pix[0] != 0 || g.Pix[len(g.Pix)-1] != 255) {
				t.Errorf("frame %d without %v: %v", i, c.bad, err)
			}
		}
	}
}

// A value is read as numbers only as far as there may be numbers in it, whatever
// length its sender gives it: numbers are no part of the memory budget.
func TestLongNumbers(t *testing.T) {
	const n = 8 << 20
	long := string([]byte{0, 0, n >> 16 & 0xFF, 0})
	zeros := strings.Repeat("\x00", n)
	for name, element := range map[string]string{
		"FD": "\x18\x00\x2C\x60" + long + zeros, // Physical Delta X
		"FL": "\x18\x00\x04\x94" + long + zeros,
		"AT": "\x28\x00\x09\x00" + long + zeros, // Frame Increment Pointer
		"US": "\x28\x00\x10\x00" + long + zeros,
	} {
		f, err := Read(strings.NewReader(element), int64(len(element)), Options{TransferSyntax: uid.ImplicitVRLittleEndian})
		if err != nil {
			t.Fatal(err)
		}
		e := slices.Collect(f.DataSet.Elements())[0]
		took := allocated(func() {
			_, _ = f.DataSet.Int(e.Tag)
			_ = f.DataSet.Floats(e.Tag)
			_ = f.DataSet.Strings(e.Tag)
		})
		if e.VR != name || took > 1<<20 {
			t.Errorf("%s, %s: %d bytes were allocated", name, e.VR, took)
		}
	}
}

// Text is split into values only as far as there may be values in it. A value of
// backslashes alone is as many values as bytes, which take 24 times their bytes as
// texts and numbers; whoever asks for the first gets it without the others.
func TestManyValues(t *testing.T) {
	for _, c := range []struct {
		vr, tag string
		most    int // bytes that are read as values
	}{
		{"DS", "\x18\x00\x65\x10", maxNumbers}, // Frame Time Vector
		{"IS", "\x08\x00\x60\x11", maxNumbers}, // Referenced Frame Number
		{"CS", "\x08\x00\x08\x00", maxNumbers}, // Image Type
		{"UI", "\x08\x00\x1A\x00", maxNumbers},
		{"TM", "\x08\x00\x30\x00", maxNumbers},
		{"UN", "\x09\x00\x01\x10", maxText}, // private
		{"LO", "\x08\x00\x90\x10", maxText},
		{"PN", "\x10\x00\x10\x00", maxText},
	} {
		for _, n := range []int{c.most, c.most + 2, 16 << 20} {
			element := c.tag + string(binary.LittleEndian.AppendUint32(nil, uint32(n))) + "1" + strings.Repeat("\\", n-1)
			f, err := Read(strings.NewReader(element), int64(len(element)), Options{TransferSyntax: uid.ImplicitVRLittleEndian, Strict: true})
			if err != nil {
				t.Fatal(err)
			}
			e := slices.Collect(f.DataSet.Elements())[0]
			want := ""
			if n == c.most {
				want = "1"
			}
			var first string
			var number float64
			var all []string
			var numbers []float64
			took := allocated(func() {
				first, all, numbers = f.DataSet.String(e.Tag), f.DataSet.Strings(e.Tag), f.DataSet.Floats(e.Tag)
				number, _ = f.DataSet.Float(e.Tag)
				_, _ = f.DataSet.Int(e.Tag)
			})
			// Longer values than are held are read once for each of the calls.
			if bound := uint64(16 << 20); e.VR != c.vr || took > bound || first != want || (number == 1) != (want == "1") || all != nil || numbers != nil {
				t.Errorf("%s of %d bytes (%s): %d bytes allocated, %q first, %v, %d values, %d numbers", c.vr, n, e.VR, took, first, number, len(all), len(numbers))
			}
			took = allocated(func() { NewDataSet().CopyFrom(f.DataSet); _ = f.DataSet.Clone().Recode() })
			if took > 24<<20 {
				t.Errorf("%s of %d bytes: %d bytes allocated for a copy", c.vr, n, took)
			}
		}
	}
	// As many as may be are all read.
	ds := NewDataSet().SetStringVR(tag.FrameTimeVector, "DS", strings.Repeat("1\\", maxValues-1)+"2")
	if v := ds.Floats(tag.FrameTimeVector); len(v) != maxValues || v[maxValues-1] != 2 {
		t.Errorf("%d values", len(v))
	}
}

// Of numbers the first alone is read too.
func TestFirstNumber(t *testing.T) {
	ds := NewDataSet().SetFloatVR(tag.PhysicalDeltaX, "FD", 1.5, 2).SetIntVR(tag.Rows, "US", 7, 8).
		SetTags(tag.FrameIncrementPointer, tag.FrameTime, tag.FrameTimeVector)
	f, ok := ds.Float(tag.PhysicalDeltaX)
	i, whole := ds.Int(tag.Rows)
	if g, _ := ds.Float(tag.Rows); !ok || !whole || f != 1.5 || i != 7 || g != 7 {
		t.Errorf("%v, %v, %v", f, i, g)
	}
	for tg, want := range map[Tag]string{tag.PhysicalDeltaX: "1.5", tag.Rows: "7", tag.FrameIncrementPointer: "(0018,1063)"} {
		if got := ds.String(tg); got != want {
			t.Errorf("%v: %q, want %q", tg, got, want)
		}
	}
	long := NewDataSet().SetBytes(tag.Rows, "US", make([]byte, maxNumbers))
	if took := allocated(func() { _, _ = long.Int(tag.Rows); _, _ = long.Float(tag.Rows); _ = long.String(tag.Rows) }); took > 64<<10 {
		t.Errorf("%d bytes were allocated for the first number", took)
	}
}

// Text that is too long to be decoded goes into another character set where it
// is ASCII, and is refused where it is not; neither takes memory.
func TestRecodeLongText(t *testing.T) {
	for text, want := range map[string]error{strings.Repeat("a", maxText+2): nil, strings.Repeat("a", maxText) + "\xE4a": ErrCharset} {
		ds := NewDataSet().SetString(tagCharset, "ISO_IR 100").SetBytes(tag.TextValue, "UT", []byte(text))
		var err error
		if took := allocated(func() { err = ds.Recode() }); !errors.Is(err, want) || took > 1<<20 {
			t.Errorf("%v, %d bytes allocated", err, took)
		}
		if b, _ := ds.Bytes(tag.TextValue); string(b) != text {
			t.Errorf("%d bytes came out", len(b))
		}
	}
}

// A palette's table is bounded before it is read: what could have no more
// than 65,536 entries takes no memory that nobody has counted.
func TestLongPalette(t *testing.T) {
	const n = 8 << 20
	ds := NewDataSet().SetIntVR(tag.New(0x0028, 0x1101), "US", 256, 0, 16).SetBytes(tag.New(0x0028, 0x1201), "OW", make([]byte, n))
	if _, err := readPalette(ds, PixelInfo{}); !errors.Is(err, ErrLimit) {
		t.Errorf("a table of %d bytes: %v", n, err)
	}
}
