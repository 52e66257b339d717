package dicomio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/echonode/echonode/dicomio/internal/codec/j2k"
	"github.com/echonode/echonode/dicomio/pixel"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
)

// decodeAllFrames decodes every frame of a file.
func decodeAllFrames(t *testing.T, f *File) []Frame {
	t.Helper()
	r, err := f.Frames()
	if err != nil {
		t.Fatal(err)
	}
	out := make([]Frame, r.Len())
	for i := range out {
		if err := r.Decode(i, &out[i]); err != nil {
			t.Fatalf("frame %d: %v", i, err)
		}
	}
	return out
}

// skipWithout skips what this build cannot decode.
func skipWithout(t *testing.T, f *File) bool {
	t.Helper()
	_, err := f.Frames()
	if errors.Is(err, ErrUnsupported) && !j2k.Available {
		t.Logf("not in this build: %v", err)
		return true
	}
	return false
}

// Every fixture decodes to its native original: exactly for lossless coding,
// closely for lossy coding.
func TestFixturesDecode(t *testing.T) {
	for _, name := range fixtures(t) {
		t.Run(name, func(t *testing.T) {
			f := readBytes(t, fixture(t, name), Options{})
			if skipWithout(t, f) {
				return
			}
			base, _, _ := strings.Cut(name, "-")
			want := decodeAllFrames(t, readBytes(t, fixture(t, base), Options{}))
			got := decodeAllFrames(t, f)
			worst, mean := int64(0), 0.0
			switch {
			case strings.Contains(name, "jlsn"):
				worst = 3
			case strings.HasSuffix(name, "jpeg12"):
				worst, mean = 1200, 140 // of 4095
			case strings.Contains(name, "jpeg") || strings.Contains(name, "progressive"):
				worst, mean = 255, 14
			case strings.Contains(name, "lossy"):
				worst, mean = 60, 6
			}
			for i := range want {
				d := frameDistance(&got[i], &want[i])
				if d < 0 || d > worst {
					t.Errorf("frame %d: %d off, at most %d expected (%+v)", i, d, worst, got[i].Photometric)
				}
				if mean > 0 {
					sum := 0.0
					n := got[i].Rows * got[i].Columns * got[i].Samples
					for k := range n {
						sum += math.Abs(float64(got[i].Value(k) - want[i].Value(k)))
					}
					if sum/float64(n) > mean {
						t.Errorf("frame %d: %.1f off in the mean", i, sum/float64(n))
					}
				}
			}
		})
	}
}

// Gray and RGB of a frame agree with its stored values.
func TestGrayAndRGBAgree(t *testing.T) {
	for _, name := range []string{"gray8", "rgb", "palette", "rgb-jpeg", "rgb-rle", "rgb-jls-sample", "gray16"} {
		r, err := readBytes(t, fixture(t, name), Options{}).Frames()
		if err != nil {
			t.Fatal(err)
		}
		var g image.Gray
		var c image.RGBA
		if err := r.Gray(0, &g); err != nil {
			t.Fatal(err)
		}
		if err := r.RGB(0, &c); err != nil {
			t.Fatal(err)
		}
		worst := 0
		for y := range r.Rows {
			for x := range r.Columns {
				p := c.RGBAAt(x, y)
				if p.A != 255 {
					t.Fatalf("%s: alpha %d", name, p.A)
				}
				d := int(g.GrayAt(x, y).Y) - int(pixel.Luma(p.R, p.G, p.B))
				worst = max(worst, d, -d)
			}
		}
		// JPEG gray is the luma of the stream; RGB was clamped.
		limit := 0
		if name == "rgb-jpeg" {
			limit = 40
		}
		if worst > limit {
			t.Errorf("%s: gray and RGB differ by %d", name, worst)
		}
	}
}

// cutStep is the distance of the cuts of n bytes: DICOMIO_EVERY_CUT tries
// every one, which takes a minute.
func cutStep(n int) int {
	if os.Getenv("DICOMIO_EVERY_CUT") != "" || n < 600 {
		return 1
	}
	return 7
}

// sameRaw reports whether r gives the frames of a file in fragments.
func sameRaw(t *testing.T, full *File, r *FrameReader) bool {
	t.Helper()
	want, err := full.Frames()
	if err != nil {
		t.Fatal(err)
	}
	same := full.Syntax.Encapsulated && r.Len() == want.Len()
	for i := 0; same && i < r.Len(); i++ {
		a, aerr := r.Raw(i)
		b, berr := want.Raw(i)
		same = aerr == nil && berr == nil && bytes.Equal(a, b)
	}
	return same
}

// A cut anywhere in a file is an error of Read or of Frames or of the frame;
// never a frame less or a frame that silently is not whole. Where only the delimiter
// of the fragments is cut, they are all there.
func TestEveryCutPointOfFixtures(t *testing.T) {
	for _, name := range fixtures(t) {
		b := fixture(t, name)
		full := readBytes(t, b, Options{})
		if skipWithout(t, full) || full.Syntax.Deflated {
			continue
		}
		for n := 0; n < len(b); n++ {
			if n%cutStep(len(b)) > 0 && n < len(b)-10 {
				continue
			}
			f, err := Read(bytes.NewReader(b[:n]), int64(n), Options{})
			var r *FrameReader
			if err == nil {
				r, err = f.Frames()
			}
			if err == nil && n >= len(b)-8 && sameRaw(t, full, r) {
				continue
			}
			if err == nil {
				t.Fatalf("%s cut at %d of %d: no error", name, n, len(b))
			}
			var typed *Error
			if !errors.As(err, &typed) {
				t.Fatalf("%s cut at %d: untyped error %v", name, n, err)
			}
		}
	}
}

// A deflated data set that is cut is an error as well.
func TestEveryCutPointDeflated(t *testing.T) {
	b := fixture(t, "rgb-deflated")
	for n := range len(b) - 1 {
		f, err := Read(bytes.NewReader(b[:n]), int64(n), Options{})
		if err == nil {
			_, err = f.Frames()
		}
		var typed *Error
		if !errors.As(err, &typed) {
			t.Fatalf("cut at %d of %d: %v", n, len(b), err)
		}
	}
}

// A codestream that is cut is an error, although its container is whole. What
// follows the last coded bit may be missing: an end marker or padding.
func TestEveryCutPointOfCodestreams(t *testing.T) {
	slack := map[string]int{uid.JPEG2000: 3, uid.JPEG2000Lossless: 3}
	for _, name := range fixtures(t) {
		f := readBytes(t, fixture(t, name), Options{})
		if !f.Syntax.Encapsulated || skipWithout(t, f) {
			continue
		}
		r, err := f.Frames()
		if err != nil {
			t.Fatal(err)
		}
		b, err := r.Raw(0)
		if err != nil {
			t.Fatal(err)
		}
		b = bytes.TrimRight(b, "\x00")
		tail := 3 // EOI and padding
		if n, ok := slack[f.TransferSyntax]; ok {
			tail = n
		}
		var whole Frame
		if err := decodeStream(r.Info, f.TransferSyntax, b, &whole); err != nil && f.TransferSyntax != uid.RLELossless {
			t.Fatalf("%s: %v", name, err)
		}
		for n := 0; n < len(b)-tail; n += cutStep(len(b)) {
			var d Frame
			err := decodeStream(r.Info, f.TransferSyntax, b[:n:n], &d)
			var typed *Error
			if err == nil && bytes.Equal(d.Data, whole.Data) {
				continue // only bytes that hold no pixels were cut
			}
			if !errors.As(err, &typed) {
				t.Errorf("%s: codestream cut at %d of %d: %v", name, n, len(b), err)
				break
			}
		}
	}
}

// Headers of codestreams that contradict the attributes are refused.
func TestCodestreamMismatch(t *testing.T) {
	for _, name := range []string{"rgb-jpeg", "rgb-j2k", "rgb-jls", "rgb-lossless-sv1", "gray16-jpeg12", "gray8-rle"} {
		for _, edit := range []func(d *DataSet){
			func(d *DataSet) { d.SetInt(tag.Rows, fixtureH+1) },
			func(d *DataSet) { d.SetInt(tag.Columns, fixtureW*2) },
			func(d *DataSet) { d.SetInt(tag.SamplesPerPixel, 2) },
		} {
			f := readBytes(t, fixture(t, name), Options{})
			if skipWithout(t, f) {
				continue
			}
			edit(f.DataSet)
			r, err := f.Frames()
			if err != nil {
				t.Fatal(err)
			}
			var g image.Gray
			if err := r.Gray(0, &g); !errors.Is(err, ErrMismatch) && !(name == "gray8-rle" && errors.Is(err, ErrTruncated)) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// A gray picture of 4:2:2 whose Adobe marker claims that nothing was
// transformed, as some devices write it, stays gray at its level.
func TestAdobeMarkerOfSubsampledJPEG(t *testing.T) {
	img := image.NewRGBA(image.Rect(0, 0, 48, 32))
	draw.Draw(img, img.Rect, image.NewUniform(color.Gray{Y: 133}), image.Point{}, draw.Src)
	stream, err := EncodeJPEG(img, 95)
	if err != nil {
		t.Fatal(err)
	}
	jfif := 4 + int(stream[4])<<8 + int(stream[5])
	if !bytes.Equal(stream[:4], []byte{0xFF, 0xD8, 0xFF, 0xE0}) {
		t.Fatalf("no JFIF marker: % x", stream[:4])
	}
	stream = append([]byte("\xFF\xD8\xFF\xEE\x00\x0EAdobe\x00\x64\x00\x00\x00\x00\x00"), stream[jfif:]...)
	for _, photometric := range []string{"YBR_FULL_422", "RGB"} {
		d := syntheticBase(1, 3, 8, 8, photometric).SetInt(tag.Rows, 32).SetInt(tag.Columns, 48)
		var b bytes.Buffer
		if err := Write(&b, d, WriteOptions{TransferSyntax: uid.JPEGBaseline8Bit, Pixels: FrameBytes([][]byte{stream})}); err != nil {
			t.Fatal(err)
		}
		frames, err := readBytes(t, b.Bytes(), Options{}).Frames()
		if err != nil {
			t.Fatal(err)
		}
		var gray image.Gray
		var rgb image.RGBA
		if err := errors.Join(frames.Gray(0, &gray), frames.RGB(0, &rgb)); err != nil {
			t.Fatal(err)
		}
		if g, c := gray.GrayAt(20, 10).Y, rgb.RGBAAt(20, 10); g < 132 || g > 134 || c.R != c.G || c.G != c.B || c.R < 132 || c.R > 134 {
			t.Errorf("%s: gray %d, colour %v, want 133", photometric, g, c)
		}
	}
}

// Frames of 12 bits without a window share one scale: a bright pixel in one of
// them does not darken it, and all frames are shown alike.
func TestRangeOfLoop(t *testing.T) {
	px := fixtureW * fixtureH
	var raw [][]byte
	for i := range 3 {
		b := make([]byte, 2*px)
		for k := range px {
			binary.LittleEndian.PutUint16(b[2*k:], 1000)
		}
		binary.LittleEndian.PutUint16(b, 0)
		if i == 1 {
			binary.LittleEndian.PutUint16(b[2:], 4000)
		}
		raw = append(raw, b)
	}
	var b bytes.Buffer
	if err := Write(&b, syntheticBase(3, 1, 16, 12, "MONOCHROME2"), WriteOptions{Pixels: FrameBytes(raw)}); err != nil {
		t.Fatal(err)
	}
	r, err := readBytes(t, b.Bytes(), Options{}).Frames()
	if err != nil {
		t.Fatal(err)
	}
	var g image.Gray
	for i := range 3 {
		if err := r.Gray(i, &g); err != nil {
			t.Fatal(err)
		}
		if v := g.Pix[10]; v != 64 { // 1000 of 4000
			t.Errorf("frame %d: 1000 of 0 to 4000 is %d, want 64", i, v)
		}
	}
	if err := r.Gray(1, &g); err != nil || g.Pix[1] != 255 || g.Pix[0] != 0 {
		t.Errorf("ends of the range: %d and %d, %v", g.Pix[0], g.Pix[1], err)
	}
}

// Native layouts: planes, 4:2:2, big endian bytes in words, MONOCHROME1.
func TestNativeLayouts(t *testing.T) {
	px := fixtureW * fixtureH
	rgb := syntheticFrame(0, 3, 8)
	read := func(d *DataSet, frame []byte, ts string) *FrameReader {
		t.Helper()
		var b bytes.Buffer
		if err := Write(&b, d, WriteOptions{TransferSyntax: ts, Pixels: FrameBytes([][]byte{frame})}); err != nil {
			t.Fatal(err)
		}
		r, err := readBytes(t, b.Bytes(), Options{}).Frames()
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	planes := make([]byte, 3*px)
	for k := range px {
		for c := range 3 {
			planes[c*px+k] = rgb[3*k+c]
		}
	}
	r := read(syntheticBase(1, 3, 8, 8, "RGB").SetInt(tag.PlanarConfiguration, 1), planes, "")
	var f Frame
	if err := r.Decode(0, &f); err != nil || !bytes.Equal(f.Data, rgb) {
		t.Errorf("planes: %v", err)
	}

	ybr := make([]byte, 2*px)
	for k := 0; k < px; k += 2 {
		copy(ybr[2*k:], []byte{100, byte(k), 110, 150})
	}
	r = read(syntheticBase(1, 3, 8, 8, "YBR_FULL_422"), ybr, "")
	if err := r.Decode(0, &f); err != nil || !bytes.Equal(f.Data[:6], []byte{100, 110, 150, 0, 110, 150}) || f.Photometric != "YBR_FULL" {
		t.Errorf("4:2:2: %v %v", f.Data[:6], err)
	}
	var c image.RGBA
	if err := r.RGB(0, &c); err != nil {
		t.Fatal(err)
	}
	// R = 100 + 1.402 * 22 = 130.8; G = 100 - 0.344 * -18 - 0.714 * 22 = 90.5; B = 100 + 1.772 * -18 = 68.1
	if p := c.RGBAAt(0, 0); p.R != 131 || p.G != 90 && p.G != 91 || p.B != 68 {
		t.Errorf("4:2:2 to RGB: %v", p)
	}

	mono := syntheticFrame(0, 1, 8)
	r = read(syntheticBase(1, 1, 8, 8, "MONOCHROME1"), mono, "")
	var g image.Gray
	if err := r.Gray(0, &g); err != nil || g.Pix[700] != 255-mono[700] {
		t.Errorf("MONOCHROME1: %v", err)
	}
	r = read(syntheticBase(1, 1, 16, 12, "MONOCHROME2"), syntheticFrame(0, 1, 12), uid.ExplicitVRBigEndian)
	if err := r.Decode(0, &f); err != nil || !bytes.Equal(f.Data, syntheticFrame(0, 1, 12)) {
		t.Errorf("big endian: %v", err)
	}
}

// Eight-bit pixels in big endian words, of an odd number in a frame.
func TestBigEndianWords(t *testing.T) {
	var b bytes.Buffer
	d := syntheticBase(2, 3, 8, 8, "RGB").SetInt(tag.Rows, 3).SetInt(tag.Columns, 3).SetBytes(tagPixels, "OW", nil)
	logical := make([]byte, 54)
	for i := range logical {
		logical[i] = byte(i * 3)
	}
	d.SetBytes(tagPixels, "OW", logical)
	if err := Write(&b, d, WriteOptions{TransferSyntax: uid.ExplicitVRBigEndian}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(b.Bytes(), []byte{3, 0, 9, 6, 15, 12}) {
		t.Fatal("the words are not swapped in the file")
	}
	for i, f := range decodeAllFrames(t, readBytes(t, b.Bytes(), Options{})) {
		if !bytes.Equal(f.Data, logical[27*i:27*i+27]) {
			t.Errorf("frame %d: %v", i, f.Data)
		}
	}
}

// Frames may be decoded by several goroutines at once.
func TestConcurrentFrames(t *testing.T) {
	for _, name := range []string{"rgb-jpeg", "gray16-jls", "rgb-rle", "gray8"} {
		f := readBytes(t, fixture(t, name), Options{})
		r, err := f.Frames()
		if err != nil {
			t.Fatal(err)
		}
		var want [2]image.Gray
		for i := range want {
			if err := r.Gray(i, &want[i]); err != nil {
				t.Fatal(err)
			}
		}
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				var g image.Gray
				for k := range 20 {
					if err := r.Gray(k%2, &g); err != nil || !bytes.Equal(g.Pix, want[k%2].Pix) {
						t.Errorf("%s: frame %d differs (%v)", name, k%2, err)
					}
				}
			})
		}
		wg.Wait()
	}
}

// The iterators give every frame once and stop at the first error.
func TestFrameIterators(t *testing.T) {
	r, err := readBytes(t, fixture(t, "rgb-jpeg"), Options{}).Frames()
	if err != nil {
		t.Fatal(err)
	}
	var g image.Gray
	var c image.RGBA
	seen := 0
	for i, err := range r.GrayFrames(&g) {
		if err != nil || i != seen || g.Rect.Dx() != fixtureW {
			t.Errorf("gray frame %d: %v", i, err)
		}
		seen++
	}
	for i, err := range r.RGBFrames(&c) {
		if err != nil || c.Rect.Dy() != fixtureH {
			t.Errorf("colour frame %d: %v", i, err)
		}
		seen++
	}
	if seen != 4 {
		t.Errorf("%d frames", seen)
	}
	b := bytes.Clone(fixture(t, "rgb-jpeg"))
	b[bytes.Index(b, []byte{0xFF, 0xC0, 0, 17})+1] = 0xC8 // no frame header
	if r, err = readBytes(t, b, Options{}).Frames(); err != nil {
		t.Fatal(err)
	}
	seen = 0
	for _, err = range r.GrayFrames(&g) {
		seen++
	}
	if err == nil || seen != 1 {
		t.Errorf("damage: %d frames, %v", seen, err)
	}
}

// MPEG-2, H.264 and HEVC streams decode through ffmpeg, in every container and
// layout that encoders write; a stream gives the frames that it holds, whatever
// number is announced.
func TestVideo(t *testing.T) {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not installed")
	}
	const w, h, n = 128, 96, 12
	for _, c := range []struct {
		uid, codec, format string
		flags              []string
	}{
		{uid.MPEG2MPML, "mpeg2video", "mpeg2video", nil},
		{uid.MPEG2MPML, "mpeg2video", "mpeg", nil},
		{uid.MPEG4HP41, "libx264", "h264", nil},
		{uid.MPEG4HP422D, "libx264", "mpegts", nil},
		{uid.MPEG4HP41, "libx264", "mp4", nil}, // the index behind the media, as ffmpeg writes it by default
		{uid.MPEG4HP41, "libx264", "mp4", []string{"-movflags", "+faststart"}},
		{uid.MPEG4HP41, "libx264", "mp4", []string{"-movflags", "+frag_keyframe+empty_moov"}},
		{uid.MPEG4HP41, "libx264", "mov", []string{"-bf", "2"}},
		{uid.HEVCMP51, "libx265", "hevc", nil},
		{uid.HEVCMP51, "libx265", "mp4", nil},
	} {
		t.Run(c.uid+" "+c.format+strings.Join(c.flags, ""), func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "v")
			args := []string{"-v", "error", "-f", "lavfi", "-i", fmt.Sprintf("testsrc=size=%dx%d:rate=25", w, h), "-frames:v", fmt.Sprint(n),
				"-c:v", c.codec, "-pix_fmt", "yuv420p", "-threads", "1"}
			out, err := exec.Command("ffmpeg", append(append(args, c.flags...), "-f", c.format, path)...).CombinedOutput()
			if err != nil {
				t.Skipf("ffmpeg has no encoder %s: %.200s", c.codec, out)
			}
			stream := mustRead(t, path)
			r, err := videoFile(t, c.uid, stream, w, h, n).Frames()
			if err != nil {
				t.Fatal(err)
			}
			if r.Len() != n || r.Announced != n {
				t.Fatalf("%d frames of %d announced", r.Len(), r.Announced)
			}
			var first, again image.Gray
			var colour image.RGBA
			if err := r.Gray(0, &first); err != nil {
				t.Fatal(err)
			}
			if err := r.Gray(n-1, &again); err != nil {
				t.Fatal(err)
			}
			if bytes.Equal(first.Pix, again.Pix) {
				t.Error("first and last frame are the same")
			}
			if err := r.Gray(0, &again); err != nil || !bytes.Equal(first.Pix, again.Pix) {
				t.Errorf("going back gives another frame (%v)", err)
			}
			if err := r.RGB(3, &colour); err != nil || colour.Rect.Dx() != w {
				t.Errorf("colour: %v", err)
			}
			for _, announced := range []int{n + 1, n - 5, 1} {
				r, err := videoFile(t, c.uid, stream, w, h, announced).Frames()
				if err != nil {
					t.Fatal(err)
				}
				if r.Len() != n || r.Announced != announced {
					t.Errorf("%d announced: %d frames, announced %d", announced, r.Len(), r.Announced)
				}
				if err := r.Gray(r.Len()-1, &first); err != nil {
					t.Errorf("%d announced: %v", announced, err)
				}
			}
		})
	}
}

// videoFile is an object of one video stream that announces so many frames.
func videoFile(t *testing.T, uid string, stream []byte, w, h, frames int) *File {
	t.Helper()
	d := syntheticBase(1, 3, 8, 8, "YBR_PARTIAL_420").SetInt(tag.Rows, int64(h)).SetInt(tag.Columns, int64(w))
	var b bytes.Buffer
	if err := Write(&b, d, WriteOptions{TransferSyntax: uid, Pixels: FrameBytes([][]byte{stream})}); err != nil {
		t.Fatal(err)
	}
	f := readBytes(t, b.Bytes(), Options{})
	f.DataSet.SetInt(tag.NumberOfFrames, int64(frames))
	return f
}

// What a decoder complains about says nothing of its memory.
func TestVideoComplaint(t *testing.T) {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not installed")
	}
	for _, stream := range []string{
		"\x00\x00\x00\x10ftypisom\x00\x00\x00\x00" + "\x00\x00\x00\x10mdatnotmedia", // no index
		"\x00\x00\x00\x10ftypisom\x00\x00\x00\x00" + "\x00\x00\x00\x08moov",
		"\x00\x00\x01\x67 no picture at all, and no end",
	} {
		r, err := videoFile(t, uid.MPEG4HP41, []byte(stream), 64, 48, 3).Frames()
		if err != nil {
			t.Fatal(err)
		}
		var g image.Gray
		err = r.Gray(0, &g)
		var typed *Error
		if !errors.As(err, &typed) || strings.Contains(err.Error(), "0x") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v", err)
		}
		t.Log(err)
	}

}
