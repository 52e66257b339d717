package cli

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/disintegration/imaging"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/pipeline/echo"
	"github.com/echonode/echonode/pipeline/result"
)

func TestParseSpacing(t *testing.T) {
	for s, want := range map[string][2]float64{"": {}, "0.3": {0.3, 0.3}, "0.3, 0.25": {0.3, 0.25}} {
		if got, err := parseSpacing(s); err != nil || got != want {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"0", "-1", "x", "0.3,", "inf", "nan"} {
		if got, err := parseSpacing(s); err == nil {
			t.Errorf("%q is taken for %v", s, got)
		}
	}
}

// picture writes a PNG with one red pixel.
func picture(t *testing.T, path string, w, h int) {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	img.Set(3, 2, color.RGBA{255, 0, 0, 255})
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := png.Encode(f, img); err != nil {
		t.Fatal(err)
	}
}

func TestStillBecomesAnObject(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "Pat ien\\t ü.png")
	picture(t, path, 40, 30)
	m, err := toDICOM(context.Background(), path, dir, mediaSettings{spacing: [2]float64{0.5, 0.25}})
	if err != nil {
		t.Fatal(err)
	}
	f, err := dicomio.Open(m.path, dicomio.Options{Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	facts, err := echo.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	if facts.Columns != 40 || facts.Rows != 30 || facts.Frames != 1 || !facts.Calibration.Trusted || facts.Calibration.MMPerPixelX != 0.5 ||
		facts.Calibration.MMPerPixelY != 0.25 {
		t.Errorf("%+v", facts)
	}
	frames, err := f.Frames()
	if err != nil {
		t.Fatal(err)
	}
	var img image.RGBA
	if err := frames.RGB(0, &img); err != nil || img.RGBAAt(3, 2) != (color.RGBA{255, 0, 0, 255}) || img.RGBAAt(2, 3).R != 0 {
		t.Errorf("the picture is another: %v, %v", img.RGBAAt(3, 2), err)
	}
	// The same content is the same study, under whatever name.
	other := filepath.Join(dir, "other.png")
	picture(t, other, 40, 30)
	again, err := toDICOM(context.Background(), other, t.TempDir(), mediaSettings{})
	if err != nil || filepath.Base(again.path) != filepath.Base(m.path) {
		t.Errorf("%v and %v, %v", m, again, err)
	}
	small := filepath.Join(dir, "small.png")
	picture(t, small, 8, 8)
	if _, err := toDICOM(context.Background(), small, dir, mediaSettings{}); err == nil {
		t.Error("a picture of 8 x 8 pixels is taken")
	}
}

// A picture that is stored as it lay is turned as its EXIF orientation says.
func TestTurnedPicture(t *testing.T) {
	img := image.NewGray(image.Rect(0, 0, 48, 32))
	for y := range 32 {
		for x := range 24 {
			img.SetGray(x, y, color.Gray{255}) // the left half is white
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 100}); err != nil {
		t.Fatal(err)
	}
	// APP1 with one entry of a TIFF directory: Orientation (0112H), SHORT, 6: to be turned a quarter clockwise.
	exif := append([]byte("Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01"), 0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0)
	whole := append([]byte{0xFF, 0xD8, 0xFF, 0xE1, 0, byte(len(exif) + 2)}, exif...)
	path := filepath.Join(t.TempDir(), "turned.jpg")
	if err := os.WriteFile(path, append(whole, b.Bytes()[2:]...), 0o644); err != nil {
		t.Fatal(err)
	}
	pix, size, err := readStill(path)
	if err != nil || size != image.Pt(32, 48) {
		t.Fatalf("%v, %v", size, err)
	}
	if top, bottom := pix[3*(5*32+16)], pix[3*(40*32+16)]; top < 200 || bottom > 50 {
		t.Errorf("above %d, below %d", top, bottom)
	}
}

// Kinds of pictures that people bring.
func TestKindsOfPictures(t *testing.T) {
	dir := t.TempDir()
	img := image.NewRGBA(image.Rect(0, 0, 20, 16))
	img.Set(3, 2, color.RGBA{255, 0, 0, 255})
	for _, name := range []string{"a.png", "a.bmp", "a.tif", "a.TIFF"} {
		path := filepath.Join(dir, name)
		if err := imaging.Save(img, path); err != nil {
			t.Fatal(err)
		}
		pix, size, err := readStill(path)
		if !isStill(path) || err != nil || size != image.Pt(20, 16) || pix[3*(2*20+3)] != 255 || pix[0] != 0 {
			t.Errorf("%s: %v, %v", name, size, err)
		}
	}
}

func TestVideoBecomesAnObject(t *testing.T) {
	tool, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is not installed")
	}
	dir := t.TempDir()
	for _, name := range []string{"loop.avi", "loop.mp4", "loop.wmv", "loop.gif"} {
		path := filepath.Join(dir, name)
		codec := []string{"-c:v", map[string]string{".avi": "mjpeg", ".mp4": "mpeg4", ".wmv": "wmv2", ".gif": "gif"}[filepath.Ext(name)]}
		args := append([]string{"-v", "error", "-f", "lavfi", "-i", "testsrc=size=64x48:rate=25:duration=0.8"}, append(codec, path)...)
		if out, err := exec.Command(tool, args...).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, tc := range []struct {
			o    mediaSettings
			step float64
		}{{mediaSettings{frames: 100}, 40}, {mediaSettings{frames: 100, fps: 50}, 20}} {
			m, err := toDICOM(context.Background(), path, t.TempDir(), tc.o)
			if name == "loop.gif" && tc.o.fps == 0 {
				if err != nil || !strings.Contains(m.timeless, "give --fps") {
					t.Errorf("%s without a rate: %+v, %v", name, m, err)
				}
				continue
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			f, err := dicomio.Open(m.path, dicomio.Options{Strict: true})
			if err != nil {
				t.Fatal(err)
			}
			facts, err := echo.Read(f)
			if err != nil {
				t.Fatal(err)
			}
			if facts.Frames != 20 || facts.Columns != 64 || len(facts.FrameTimes) != 20 || math.Abs(facts.FrameTimes[1]-tc.step) > 0.01 || facts.Calibration.Trusted {
				t.Errorf("%s: %d frames of %d, times %v", name, facts.Frames, facts.Columns, facts.FrameTimes)
			}
			_ = f.Close() // read only
		}
		cut, origin, unreadable, _ := convert(context.Background(), []string{path}, t.TempDir(), mediaSettings{frames: 15, fps: 25})
		if len(cut) != 1 || len(unreadable) != 0 {
			t.Fatalf("a long video: %v, %v", cut, unreadable)
		}
		f, err := dicomio.Open(cut[0], dicomio.Options{Strict: true})
		if err != nil {
			t.Fatal(err)
		}
		n, _ := f.DataSet.Int(tag.NumberOfFrames)
		if frames, err := f.Frames(); n != 15 || err != nil || frames.Len() != 15 {
			t.Errorf("%s: %d frames, %v, want the first 15", name, n, err)
		}
		_ = f.Close() // read only
		s := result.Study{Loops: []result.Loop{{File: cut[0], Frames: 15}, {File: "other", Frames: 15}}}
		origin.cut(&s)
		if l := s.Loops[0]; l.ObjectFrames != 20 || len(l.Warnings) != 1 ||
			l.Warnings[0] != (result.Reason{Code: result.TooManyFrames, Text: "only the first 15 of 20 frames were analysed"}) {
			t.Errorf("%+v", l)
		}
		if l := s.Loops[1]; l.ObjectFrames != 0 || len(l.Warnings) != 0 {
			t.Errorf("a file that was not cut: %+v", l)
		}
	}
	broken := filepath.Join(dir, "broken.avi")
	if err := os.WriteFile(broken, []byte("RIFF no video"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := toDICOM(context.Background(), broken, dir, mediaSettings{frames: 10}); err == nil {
		t.Error("a broken file became an object")
	}
}

// Numbered pictures are one cine, in the order of their numbers, once --fps says
// how fast they follow each other; others stay stills. One that is missing or of
// another size is an error.
func TestNumberedPicturesAreACine(t *testing.T) {
	dir, scratch := t.TempDir(), t.TempDir()
	for _, name := range []string{"f9.png", "f10.png", "f11.png", "other.png", "g0001.png"} {
		picture(t, filepath.Join(dir, name), 40, 30)
	}
	files := []string{filepath.Join(dir, "f10.png"), filepath.Join(dir, "f11.png"), filepath.Join(dir, "f9.png"), filepath.Join(dir, "g0001.png"),
		filepath.Join(dir, "other.png")}
	o := mediaSettings{fps: 25, spacing: [2]float64{0.5, 0.5}, frames: 2000}
	out, origin, unreadable, _ := convert(context.Background(), files, scratch, o)
	if len(unreadable) > 0 || len(out) != 2 { // the two stills are of equal content
		t.Fatalf("%v, %v", out, unreadable)
	}
	if want := filepath.Join(dir, "f"); origin.of(out[0]) != want {
		t.Errorf("the cine is %s, want %s", origin.of(out[0]), want)
	}
	f, err := dicomio.Open(out[0], dicomio.Options{Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	facts, err := echo.Read(f)
	if err != nil || facts.Frames != 3 || len(facts.FrameTimes) != 3 || math.Abs(facts.FrameTimes[2]-80) > 1e-6 || !facts.Calibration.Trusted {
		t.Errorf("%+v, %v", facts, err)
	}
	if cines, rest := sequences(files); len(cines) != 1 || len(rest) != 2 || filepath.Base(cines[0].paths[0]) != "f9.png" ||
		filepath.Base(cines[0].paths[2]) != "f11.png" {
		t.Errorf("%+v, %v", cines, rest)
	}
	if out, _, _, _ := convert(context.Background(), files, t.TempDir(), mediaSettings{frames: 2000}); len(out) != 1 {
		t.Errorf("without --fps %d objects, want one still of the one content", len(out))
	}
	for _, broken := range []struct {
		name, want string
		w          int
	}{{"f13.png", "number 12", 40}, {"f12.png", "another size", 44}} {
		picture(t, filepath.Join(dir, broken.name), broken.w, 30)
		_, _, unreadable, _ := convert(context.Background(), append(files[:3:3], filepath.Join(dir, broken.name)), t.TempDir(), o)
		if len(unreadable) != 1 || !strings.Contains(unreadable[0].Reason.Text, broken.want) {
			t.Errorf("%s: %v", broken.name, unreadable)
		}
	}
	o.frames = 2
	cut, origin, _, _ := convert(context.Background(), files, t.TempDir(), o)
	short, err := dicomio.Open(cut[0], dicomio.Options{Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	defer short.Close()
	if n, _ := short.DataSet.Int(tag.NumberOfFrames); n != 2 || origin[cut[0]].frames != 3 {
		t.Errorf("%d frames of %d, want the first 2 of 3", n, origin[cut[0]].frames)
	}
}

// videoOf has ffmpeg write a video of 64 x 48 pixels and 20 frames, the left half
// black, the right one white.
func videoOf(t *testing.T, name string, args ...string) string {
	t.Helper()
	tool, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is not installed")
	}
	path := filepath.Join(t.TempDir(), name)
	run := append([]string{"-v", "error", "-f", "lavfi", "-i", "color=black:size=64x48:rate=20:duration=1,drawbox=x=32:w=32:h=48:color=white:t=fill"}, args...)
	if out, err := exec.Command(tool, append(run, path)...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

func factsOf(t *testing.T, m made) (echo.Facts, *dicomio.File) {
	t.Helper()
	f, err := dicomio.Open(m.path, dicomio.Options{Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	facts, err := echo.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	return facts, f
}

// A telephone stores how it was held: the picture is the one that a player shows.
func TestTurnedVideo(t *testing.T) {
	upright := videoOf(t, "a.mp4", "-c:v", "mpeg4", "-q:v", "2", "-vf", "setsar=2")
	turned := filepath.Join(t.TempDir(), "b.mp4")
	if out, err := exec.Command("ffmpeg", "-v", "error", "-i", upright, "-c", "copy", "-metadata:s:v:0", "rotate=90", turned).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	m, err := toDICOM(context.Background(), turned, t.TempDir(), mediaSettings{frames: 100, spacing: [2]float64{0.5, 0.25}})
	if err != nil {
		t.Fatal(err)
	}
	facts, f := factsOf(t, m)
	if facts.Columns != 48 || facts.Rows != 64 || facts.Frames != 20 {
		t.Fatalf("%d frames of %d x %d, want 48 x 64", facts.Frames, facts.Columns, facts.Rows)
	}
	frames, err := f.Frames()
	if err != nil {
		t.Fatal(err)
	}
	var img image.RGBA
	if err := frames.RGB(19, &img); err != nil {
		t.Fatal(err)
	}
	for _, x := range []int{4, 44} { // what was left and right is above and below
		if a, b := img.RGBAAt(x, 8).G, img.RGBAAt(x, 56).G; (a > 128) == (b > 128) {
			t.Errorf("column %d is %d above and %d below", x, a, b)
		}
	}
	copied := filepath.Join(t.TempDir(), "copy.mp4")
	if b, err := os.ReadFile(upright); err != nil || os.WriteFile(copied, b, 0o644) != nil {
		t.Fatal(err)
	}
	if out, _, _, same := convert(context.Background(), []string{upright, copied}, t.TempDir(), mediaSettings{frames: 100}); len(out) != 1 || len(same) != 1 ||
		!strings.HasPrefix(same[0], copied) {
		t.Errorf("one content twice: %q, %q", out, same)
	}
	// Without a size the ratios are by the shape that the file says.
	if m, err = toDICOM(context.Background(), upright, t.TempDir(), mediaSettings{frames: 100}); err != nil {
		t.Fatal(err)
	}
	if facts, _ := factsOf(t, m); facts.Calibration.Trusted || facts.Calibration.AspectX2Y != 2 {
		t.Errorf("%+v", facts.Calibration)
	}
	// A pixel twice as wide as high is twice as high as wide after the turn.
	for path, want := range map[string]string{upright: "height 2)", turned: "height 0.5)"} {
		_, err := toDICOM(context.Background(), path, t.TempDir(), mediaSettings{frames: 100, spacing: [2]float64{0.5, 0.5}, square: true})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "--spacing across,down") {
			t.Errorf("one size for pixels that are not square: %v, want %q", err, want)
		}
	}
}

// Frames that do not follow each other evenly keep the times that the file has.
func TestVariableFrameRate(t *testing.T) {
	// 10 frames of 50 ms, a gap of 1.5 s, then one each 200 ms.
	path := videoOf(t, "vfr.mkv", "-vf", "setpts='round(if(lt(N,10),N*0.05,1.95+(N-10)*0.2)/TB)'", "-vsync", "passthrough", "-c:v", "mpeg4")
	for _, tc := range []struct {
		o      mediaSettings
		last   float64 // ms
		source string
	}{{mediaSettings{frames: 100}, 3750, "FrameTimeVector"}, {mediaSettings{frames: 12}, 2150, "FrameTimeVector"},
		{mediaSettings{frames: 100, fps: 25}, 760, "FrameTime"}} {
		m, err := toDICOM(context.Background(), path, t.TempDir(), tc.o)
		if err != nil {
			t.Fatal(err)
		}
		facts, _ := factsOf(t, m)
		if n := len(facts.FrameTimes); n != facts.Frames || math.Abs(facts.FrameTimes[n-1]-tc.last) > 2 || facts.FrameTimeSource != tc.source {
			t.Errorf("%+v: %s, %v", tc.o, facts.FrameTimeSource, facts.FrameTimes)
		}
	}
	v := video{frames: 3, fps: 20, times: []float64{0, 0.05, 0.05}}
	if err := v.timeVector(dicomio.NewDataSet()); err == nil || !strings.Contains(err.Error(), "--fps") {
		t.Errorf("two frames at one time: %v", err)
	}
}

// The table says of a loop that was cut how many frames it has.
func TestTableSaysCut(t *testing.T) {
	l := result.Loop{File: "long.mp4", Frames: 2000, Status: result.Analysed}
	l.CutFrom(2257)
	var out strings.Builder
	if err := printDocument(&out, &result.Document{Studies: []result.Study{{Loops: []result.Loop{l}}}}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "2000 of 2257") {
		t.Error(out.String())
	}
}
