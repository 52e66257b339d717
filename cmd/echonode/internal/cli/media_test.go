package cli

import (
	"context"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/echonode/echonode/dicomio"
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
	made, err := toDICOM(context.Background(), path, dir, mediaSettings{spacing: [2]float64{0.5, 0.25}})
	if err != nil {
		t.Fatal(err)
	}
	f, err := dicomio.Open(made, dicomio.Options{Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	facts, err := dicomio.Echo(f)
	if err != nil {
		t.Fatal(err)
	}
	if facts.Columns != 40 || facts.Rows != 30 || facts.Frames != 1 || !facts.Calibration.Trusted || facts.Calibration.MMPerPixelX != 0.5 || facts.Calibration.MMPerPixelY != 0.25 {
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
	if err != nil || filepath.Base(again) != filepath.Base(made) {
		t.Errorf("%s and %s, %v", made, again, err)
	}
	small := filepath.Join(dir, "small.png")
	picture(t, small, 8, 8)
	if _, err := toDICOM(context.Background(), small, dir, mediaSettings{}); err == nil {
		t.Error("a picture of 8 x 8 pixels is taken")
	}
}

func TestVideoBecomesAnObject(t *testing.T) {
	tool, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is not installed")
	}
	dir := t.TempDir()
	for _, name := range []string{"loop.avi", "loop.mp4"} {
		path := filepath.Join(dir, name)
		codec := []string{"-c:v", "mjpeg"}
		if strings.HasSuffix(name, "mp4") {
			codec = []string{"-c:v", "mpeg4"}
		}
		args := append([]string{"-v", "error", "-f", "lavfi", "-i", "testsrc=size=64x48:rate=25:duration=0.8"}, append(codec, path)...)
		if out, err := exec.Command(tool, args...).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, tc := range []struct {
			o    mediaSettings
			step float64
		}{{mediaSettings{frames: 100}, 40}, {mediaSettings{frames: 100, fps: 50}, 20}} {
			made, err := toDICOM(context.Background(), path, t.TempDir(), tc.o)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			f, err := dicomio.Open(made, dicomio.Options{Strict: true})
			if err != nil {
				t.Fatal(err)
			}
			facts, err := dicomio.Echo(f)
			if err != nil {
				t.Fatal(err)
			}
			if facts.Frames != 20 || facts.Columns != 64 || len(facts.FrameTimes) != 20 || math.Abs(facts.FrameTimes[1]-tc.step) > 0.01 || facts.Calibration.Trusted {
				t.Errorf("%s: %d frames of %d, times %v", name, facts.Frames, facts.Columns, facts.FrameTimes)
			}
			_ = f.Close() // read only
		}
		if _, err := toDICOM(context.Background(), path, dir, mediaSettings{frames: 19}); err == nil || !strings.Contains(err.Error(), "20 frames") {
			t.Errorf("too long a video: %v", err)
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
