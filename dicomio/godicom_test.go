package dicomio

import (
	"encoding/json"
	"fmt"
	"image"
	"os/exec"
	"path/filepath"
	"testing"
)

// goDicomVersion is the module whose examples folder holds 39 real echo files.
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

func TestGoDicomDecode(t *testing.T) {
	dir := goDicom(t)
	for i := 1; i <= 39; i++ {
		name := fmt.Sprintf("I_%06d.dcm", i)
		f, err := Open(filepath.Join(dir, name), Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		e, err := Echo(f)
		if err != nil {
			t.Errorf("%s: %v", name, err)
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
		}
		t.Logf("%s %d %dx%d %s src=%s warn=%q hr=%v(%s) R=%v stage=%q view=%q cal=%+v col=%v spec=%v mm=%v ecg=%v", name, e.Frames, e.Columns, e.Rows, e.Photometric, e.FrameTimeSource, e.TimingWarning, e.HeartRate, e.HeartRateSource, e.RWaveTimes, e.StageName, e.ViewName, e.Calibration, e.HasColour, e.HasSpectral, e.HasMMode, e.HasECG)
		for _, g := range e.Regions {
			t.Logf("     %+v", g)
		}
		f.Close()
	}
}
