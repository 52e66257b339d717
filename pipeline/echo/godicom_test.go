package echo

import (
	"encoding/json"
	"fmt"
	"image"
	"math"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/echonode/echonode/dicomio"
)

const goDicomVersion = "github.com/grailbio/go-dicom@v0.0.0-20211105193521-b0e216a1c5cd"

// goDicom finds the folder of the example loops in the module cache.
func goDicom(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("go", "mod", "download", "-json", goDicomVersion).Output()
	var m struct{ Dir string }
	if err != nil || json.Unmarshal(out, &m) != nil || m.Dir == "" {
		t.Skipf("%s is not available: %v", goDicomVersion, err)
	}
	return filepath.Join(m.Dir, "examples")
}

// exampleFacts is what dcmdump and arithmetic by hand say of one example:
// geometry, the time of the last frame (Frame Time times the number of steps,
// or the sum of Frame Time Vector without its first element), the heart rate,
// the regions and the pixel size in micrometres.
type exampleFacts struct {
	frames, cols, rows int
	lastMS             float64
	heartRate          float64
	regions            int
	tissue             image.Rectangle
	umX, umY           float64
	modes              string // c colour by header, s spectral, m M-mode, e ECG
}

// goDicomTable holds the 39 examples.
var goDicomTable = []exampleFacts{
	{34, 480, 430, 33 * 30, 117, 2, image.Rect(42, 4, 439, 354), 285.7143, 228.5714, "e"},
	{34, 480, 430, 33 * 31, 117, 2, image.Rect(42, 4, 439, 354), 285.7143, 228.5714, "e"},
	{17, 480, 430, 16 * 67, 120, 2, image.Rect(42, 4, 439, 354), 285.7143, 228.5714, "e"},
	{36, 480, 430, 35 * 31, 109, 2, image.Rect(42, 4, 439, 354), 285.7143, 228.5714, "e"},
	{26, 480, 430, 25 * 40, 114, 2, image.Rect(46, 4, 435, 354), 285.7143, 228.5714, "e"},
	{27, 480, 430, 26 * 40, 113, 2, image.Rect(46, 4, 435, 354), 285.7143, 228.5714, "e"},
	{10, 384, 288, 360, 39, 2, image.Rect(0, 0, 384, 288), 362.8118, 362.8118, ""},
	{10, 384, 288, 360, 42, 2, image.Rect(0, 0, 384, 288), 362.8118, 362.8118, ""},
	{10, 384, 288, 360, 40, 2, image.Rect(0, 0, 384, 288), 362.8118, 362.8118, ""},
	{10, 384, 288, 360, 35, 2, image.Rect(0, 0, 384, 288), 362.8118, 362.8118, ""},
	{10, 384, 288, 360, 38, 2, image.Rect(0, 0, 384, 288), 362.8118, 362.8118, ""},
	{10, 384, 288, 360, 35, 2, image.Rect(0, 0, 384, 288), 362.8118, 362.8118, ""},
	{15, 384, 288, 386.667, 50, 2, image.Rect(0, 0, 384, 288), 362.8118, 362.8118, ""},
	{16, 384, 288, 386.667, 50, 2, image.Rect(0, 0, 384, 288), 362.8118, 362.8118, ""},
	{15, 384, 288, 360, 73, 2, image.Rect(0, 0, 384, 288), 362.8118, 362.8118, ""},
	{15, 384, 288, 366.667, 63, 2, image.Rect(0, 0, 384, 288), 362.8118, 362.8118, ""},
	{15, 384, 288, 386.667, 63, 2, image.Rect(0, 0, 384, 288), 362.8118, 362.8118, ""},
	{15, 384, 288, 366.667, 80, 2, image.Rect(0, 26, 384, 288), 362.8118, 362.8118, ""},
	{11, 384, 288, 266.667, 95, 2, image.Rect(0, 0, 384, 288), 362.8118, 362.8118, ""},
	{10, 384, 288, 226.667, 100, 2, image.Rect(0, 0, 384, 288), 362.8118, 362.8118, ""},
	{11, 384, 288, 266.667, 103, 2, image.Rect(0, 0, 384, 288), 362.8118, 362.8118, ""},
	{11, 384, 288, 246.667, 105, 2, image.Rect(0, 0, 384, 288), 362.8118, 362.8118, ""},
	{11, 384, 288, 266.667, 103, 2, image.Rect(0, 8, 384, 288), 362.8118, 362.8118, ""},
	{10, 384, 288, 226.667, 102, 2, image.Rect(0, 14, 384, 288), 362.8118, 362.8118, ""},
	{11, 384, 288, 246.667, 120, 2, image.Rect(0, 0, 384, 288), 362.8118, 362.8118, ""},
	{10, 384, 288, 226.667, 126, 2, image.Rect(0, 0, 384, 288), 362.8118, 362.8118, ""},
	{10, 384, 288, 226.667, 135, 2, image.Rect(0, 0, 384, 288), 362.8118, 362.8118, ""},
	{11, 384, 288, 266.667, 131, 2, image.Rect(0, 0, 384, 288), 362.8118, 362.8118, ""},
	{11, 384, 288, 266.667, 133, 2, image.Rect(0, 0, 384, 288), 362.8118, 362.8118, ""},
	{11, 384, 288, 266.667, 131, 2, image.Rect(0, 23, 384, 288), 362.8118, 362.8118, ""},
	{64, 800, 600, 63 * 33.333, 56, 1, image.Rect(78, 76, 725, 509), 324.0741, 324.0741, ""},
	{67, 800, 600, 66 * 33.333, 57, 1, image.Rect(78, 76, 725, 509), 324.0741, 324.0741, "c"},
	{67, 800, 600, 66 * 33.333, 55, 1, image.Rect(78, 76, 725, 509), 324.0741, 324.0741, "c"},
	{1, 716, 537, 0, 56, 2, image.Rect(318, 47, 587, 205), 891.7198, 891.7198, "m"},
	{63, 800, 600, 62 * 33.333, 54, 1, image.Rect(78, 76, 725, 509), 324.0741, 324.0741, ""},
	{70, 800, 600, 69 * 33.333, 50, 1, image.Rect(78, 76, 725, 509), 393.5185, 393.5185, "c"},
	{61, 800, 600, 60 * 33.333, 57, 1, image.Rect(78, 76, 725, 509), 393.5185, 393.5185, "c"},
	{1, 716, 537, 0, 54, 3, image.Rect(318, 47, 587, 205), 1082.8026, 1082.8026, "cs"},
	{1, 716, 537, 0, 56, 3, image.Rect(318, 47, 587, 205), 1082.8026, 1082.8026, "cs"},
}

// All frames of the 39 real echo files decode, and the facts are those of the
// table.
func TestGoDicomExamples(t *testing.T) {
	dir := goDicom(t)
	frames := 0
	for i, want := range goDicomTable {
		name := fmt.Sprintf("I_%06d.dcm", i+1)
		f, err := dicomio.Open(filepath.Join(dir, name), dicomio.Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		e, err := Read(f)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		modes := ""
		for _, m := range []struct {
			on bool
			s  string
		}{{e.HasColour, "c"}, {e.HasSpectral, "s"}, {e.HasMMode, "m"}, {e.HasECG, "e"}} {
			if m.on {
				modes += m.s
			}
		}
		got := exampleFacts{e.Frames, e.Columns, e.Rows, 0, e.HeartRate, len(e.Regions), image.Rectangle{}, 0, 0, modes}
		if len(e.FrameTimes) != e.Frames {
			t.Errorf("%s: %d times for %d frames", name, len(e.FrameTimes), e.Frames)
			continue
		}
		got.lastMS = e.FrameTimes[e.Frames-1]
		if e.Tissue != nil {
			got.tissue = e.Tissue.Rect
		}
		if !e.Calibration.Trusted || e.Calibration.Source != CalibrationRegion {
			t.Errorf("%s: calibration %+v", name, e.Calibration)
		}
		got.umX, got.umY = e.Calibration.MMPerPixelX*1000, e.Calibration.MMPerPixelY*1000
		near := func(a, b, eps float64) bool { return math.Abs(a-b) <= eps }
		if !near(got.lastMS, want.lastMS, 0.01) || !near(got.umX, want.umX, 0.001) || !near(got.umY, want.umY, 0.001) {
			t.Errorf("%s: last frame at %v ms, %v x %v um; want %v, %v x %v", name, got.lastMS, got.umX, got.umY, want.lastMS, want.umX, want.umY)
		}
		got.lastMS, got.umX, got.umY = want.lastMS, want.umX, want.umY
		if got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
		r, err := f.Frames()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var g image.Gray
		var c image.RGBA
		for k := range r.Len() {
			if err := r.Gray(k, &g); err != nil {
				t.Errorf("%s frame %d: %v", name, k, err)
			}
			if err := r.RGB(k, &c); err != nil {
				t.Errorf("%s frame %d: %v", name, k, err)
			}
			frames++
		}
		f.Close()
	}
	t.Logf("%d files, %d frames", len(goDicomTable), frames)
}
