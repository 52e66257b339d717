package cli

import (
	"context"
	"encoding/binary"
	"image"
	"image/color"
	"image/gif"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/pipeline/echo"
	"github.com/echonode/echonode/pipeline/result"
)

// stack is a TIFF with a page of 20 x 16 gray pixels for each value, in the byte order
// given; kinds are the NewSubfileType of pages that are not 0.
func stack(order binary.AppendByteOrder, heights []int, kinds map[int]uint32) []byte {
	b := []byte("II*\x00")
	if order == binary.AppendByteOrder(binary.BigEndian) {
		b = []byte("MM\x00*")
	}
	at := len(b) // where the offset of the next directory stands
	b = order.AppendUint32(b, 0)
	for page, height := range heights {
		pixels := len(b)
		for range 20 * height {
			b = append(b, byte(50+10*page))
		}
		order.(binary.ByteOrder).PutUint32(b[at:], uint32(len(b)))
		entries := [][3]uint32{{254, 4, kinds[page]}, {256, 4, 20}, {257, 3, uint32(height)}, {258, 3, 8}, {259, 3, 1}, {262, 3, 1}, {273, 4, uint32(pixels)},
			{277, 3, 1}, {278, 4, uint32(height)}, {279, 4, uint32(20 * height)}}
		b = order.AppendUint16(b, uint16(len(entries)))
		for _, e := range entries {
			b = order.AppendUint32(order.AppendUint16(order.AppendUint16(b, uint16(e[0])), uint16(e[1])), 1)
			if e[1] == 3 {
				b = order.AppendUint16(order.AppendUint16(b, uint16(e[2])), 0)
			} else {
				b = order.AppendUint32(b, e[2])
			}
		}
		at = len(b)
		b = order.AppendUint32(b, 0)
	}
	return b
}

// A TIFF of several pages is a cine, as programs for images write loops; its times are
// --fps or nothing.
func TestPagesOfATIFF(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, order := range map[string]binary.AppendByteOrder{"i1.tif": binary.LittleEndian, "m1.tif": binary.BigEndian} {
		path := write(name, stack(order, []int{16, 16, 16, 16}, map[int]uint32{1: 1}))
		for _, fps := range []float64{0, 25} {
			m, err := toDICOM(context.Background(), path, t.TempDir(), mediaSettings{fps: fps, frames: 2})
			if err != nil || m.frames != 3 || (m.timeless == "") != (fps > 0) {
				t.Fatalf("%s: %+v, %v", name, m, err)
			}
			f, err := dicomio.Open(m.path, dicomio.Options{Strict: true})
			if err != nil {
				t.Fatal(err)
			}
			facts, err := echo.Read(f)
			if err != nil || facts.Frames != 2 || facts.SOPClassUID != uid.UltrasoundMultiFrameImageStorage || (len(facts.FrameTimes) == 2) != (fps > 0) {
				t.Errorf("%s: %+v, %v", name, facts, err)
			}
			frames, err := f.Frames()
			if err != nil {
				t.Fatal(err)
			}
			var img image.RGBA
			if err := frames.RGB(1, &img); err != nil || img.RGBAAt(5, 5).R != 70 { // of the third page: the second is a thumbnail
				t.Errorf("%s: %v, %v", name, img.RGBAAt(5, 5), err)
			}
			_ = f.Close() // read only
		}
	}
	// Stacks that are numbered are each a cine, and no frames of one.
	first, second := write("s1.tif", stack(binary.LittleEndian, []int{16, 16}, nil)), write("s2.tif", stack(binary.LittleEndian, []int{16, 16, 16}, nil))
	if out, _, unreadable, _ := convert(context.Background(), []string{first, second}, t.TempDir(), mediaSettings{fps: 25, frames: 10}); len(out) != 2 ||
		len(unreadable) != 0 {
		t.Errorf("two stacks: %v, %v", out, unreadable)
	}
	// Of pages of several sizes the first is the picture, and the rest is told.
	path := write("sizes.tif", stack(binary.LittleEndian, []int{16, 18}, nil))
	m, err := toDICOM(context.Background(), path, t.TempDir(), mediaSettings{frames: 10})
	if err != nil || m.frames != 2 {
		t.Fatalf("%+v, %v", m, err)
	}
	s := result.Study{Loops: []result.Loop{{File: m.path, Frames: 1}}}
	(origins{m.path: m}).cut(&s)
	if len(s.Loops[0].Warnings) != 1 || s.Loops[0].Warnings[0].Text != "only the first 1 of 2 frames were analysed" {
		t.Errorf("%+v", s.Loops[0].Warnings)
	}
	// One whose next page is not there is no still of the first.
	cut := stack(binary.LittleEndian, []int{16, 16, 16}, nil)
	if _, err := toDICOM(context.Background(), write("cut.tif", cut[:len(cut)-40]), t.TempDir(), mediaSettings{frames: 10}); err == nil ||
		!strings.Contains(err.Error(), "behind page 2") {
		t.Errorf("a damaged stack: %v", err)
	}
	// Directories that lie over each other are more than the file can hold.
	over := append([]byte("II*\x00\x08\x00\x00\x00"), make([]byte, 4096)...)
	binary.LittleEndian.PutUint16(over[8:], 300)
	binary.LittleEndian.PutUint16(over[10:], 300)
	binary.LittleEndian.PutUint32(over[8+2+12*300:], 10)
	if _, _, err := tiffPages(write("over.tif", over)); err == nil || !strings.Contains(err.Error(), "over each other") {
		t.Errorf("directories that overlap: %v", err)
	}
	for name, b := range map[string][]byte{"none.tif": nil, "short.tif": []byte("II*\x00\x08\x00"), "far.tif": []byte("II*\x00\xff\xff\x00\x00"),
		"round.tif": []byte("II*\x00\x08\x00\x00\x00\x00\x00\x08\x00\x00\x00")} {
		if movesAsPicture(write(name, b)) {
			t.Errorf("%s is a cine", name)
		}
	}
}

// Pictures that move without times of the heart: what they show is told, and why there
// are no values; one picture alone needs no times.
func TestAnimationsHaveNoTimes(t *testing.T) {
	dir := t.TempDir()
	still := filepath.Join(dir, "one.gif")
	f, err := os.Create(still)
	if err != nil {
		t.Fatal(err)
	}
	if err := gif.Encode(f, image.NewPaletted(image.Rect(0, 0, 32, 24), color.Palette{color.Black, color.White}), nil); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	s := result.Study{Loops: []result.Loop{{File: "a"}}}
	missing := result.Measurement{Reason: &result.Reason{Code: result.NoFrameTimes, Text: "no times"}}
	s.Loops[0].Measurements, s.Measurements = []result.Measurement{missing},
		[]result.Measurement{missing, {Reason: &result.Reason{Code: result.NoLoop, Text: "no loop"}}}
	(origins{"a": made{timeless: "give --fps"}}).timeless(&s)
	if s.Loops[0].Measurements[0].Reason.Text != "no times: give --fps" || s.Measurements[0].Reason.Text != "no times: give --fps" ||
		s.Measurements[1].Reason.Text != "no loop" || len(s.Loops[0].Warnings) != 1 {
		t.Errorf("%+v", s)
	}
	tool, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is not installed")
	}
	encode := func(name string, more ...string) string {
		path := filepath.Join(dir, name)
		args := append([]string{"-v", "error", "-f", "lavfi", "-i", "testsrc=size=64x48:rate=25:duration=0.2"}, append(more, path)...)
		if out, err := exec.Command(tool, args...).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return path
	}
	for _, tc := range []struct {
		path     string
		frames   int
		timeless bool
		class    string
	}{
		{still, 1, false, uid.UltrasoundImageStorage},
		{encode("a.gif"), 5, true, uid.UltrasoundMultiFrameImageStorage},
		{encode("a.png", "-f", "apng"), 5, true, uid.UltrasoundMultiFrameImageStorage},
		{encode("still.png", "-frames:v", "1"), 1, false, uid.UltrasoundImageStorage},
		{encode("still.webp", "-frames:v", "1"), 1, false, uid.UltrasoundImageStorage},
	} {
		m, err := toDICOM(context.Background(), tc.path, t.TempDir(), mediaSettings{frames: 100})
		if err != nil || m.frames != tc.frames {
			t.Errorf("%s: %+v, %v", tc.path, m, err)
			continue
		}
		f, err := dicomio.Open(m.path, dicomio.Options{Strict: true})
		if err != nil {
			t.Fatal(err)
		}
		facts, err := echo.Read(f)
		// A video of one frame says that it is timeless, which concerns no value.
		if err != nil || facts.SOPClassUID != tc.class || facts.Frames != tc.frames || tc.timeless != (len(facts.FrameTimes) == 0) ||
			tc.timeless && !strings.Contains(m.timeless, "give --fps") {
			t.Errorf("%s: %+v, %q, %v", tc.path, facts, m.timeless, err)
		}
		_ = f.Close() // read only
	}
	animated := encode("a.webp")
	if _, err := toDICOM(context.Background(), animated, t.TempDir(), mediaSettings{frames: 100}); err == nil || !strings.Contains(err.Error(), "animated WebP") {
		t.Errorf("an animated WebP: %v", err)
	}
}
