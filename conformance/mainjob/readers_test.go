package mainjob

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Readers of others take reports and segmentations as they are: highdicom reads
// every one of them, and a plain reader that goes through all items finds the
// resting ejection fraction of a stress study whether it takes the first value
// of a code, the last, or the one without a stage.
func TestReadersOfOthers(t *testing.T) {
	python := os.Getenv("ECHONODE_PYTHON")
	if python == "" {
		python = "../../.build/peers/bin/python"
	}
	site, err := exec.Command(python, "-c", `import sysconfig; print(sysconfig.get_path("purelib"))`).Output()
	if err != nil {
		missing(t, "the Python peers")
	}
	dir := t.TempDir()
	settings := filepath.Join(dir, "all.yaml")
	if err := os.WriteFile(settings, []byte("outputs: {segmentation: true, summary: false}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// Peak first, as files may come in any order.
	if out, code := echonode(t, "analyze", "--quiet", "-c", settings, "--out", filepath.Join(dir, "out"), loop(t, 27), loop(t, 9), loop(t, 10)); code != 0 {
		t.Fatalf("exit %d:\n%s", code, out)
	}
	files, err := filepath.Glob(filepath.Join(dir, "out", "*", "*.dcm"))
	if err != nil || len(files) == 0 {
		t.Fatal("nothing was made", err)
	}
	// Debian's Python has numpy; highdicom and its pydicom come from the peers.
	cmd := exec.Command("/usr/bin/python3", append([]string{"testdata/readers.py"}, files...)...)
	cmd.Env = append(os.Environ(), "PYTHONPATH="+strings.TrimSpace(string(site)))
	b, err := cmd.Output()
	if err != nil {
		if os.Getenv("ECHONODE_PEERS") != "required" && exec.Command("/usr/bin/python3", "-c", "import numpy").Run() != nil {
			missing(t, "numpy")
		}
		var ended *exec.ExitError
		errors.As(err, &ended)
		t.Fatalf("%v\n%s\n%+v", err, b, ended)
	}
	var got struct {
		Reports map[string]struct {
			Values      map[string]float64
			First, Last float64
			Unmarked    []float64
		}
		Segmentations map[string]struct {
			Segments []string
			Pixels   int
		}
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Reports) != 1 || len(got.Segmentations) != 3 {
		t.Fatalf("%d reports and %d segmentations read of %d files", len(got.Reports), len(got.Segmentations), len(files))
	}
	for _, r := range got.Reports {
		ef := r.Values["18043-0 LN"]
		if ef < 60 || ef > 80 || r.First != ef || r.Last != ef || len(r.Unmarked) != 1 || r.Unmarked[0] != ef {
			t.Errorf("ejection fractions: first %g, last %g, without a stage %v; at rest it is %g", r.First, r.Last, r.Unmarked, ef)
		}
		for _, code := range []string{"18026-5 LN", "18148-7 LN", "8277-6 LN", "8867-4 LN"} {
			if r.Values[code] <= 0 {
				t.Errorf("%s is missing", code)
			}
		}
	}
	for path, s := range got.Segmentations {
		if len(s.Segments) != 1 || s.Pixels < 5000 {
			t.Errorf("%s: %+v", filepath.Base(path), s)
		}
	}
}
