package dicomio

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
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

// Every cut point of a real cine is an error of Read or Frames, the same as
// that of Truncated, and with Strict it is Read's.
func TestEveryCutPointOfCine(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(goDicom(t), "I_000007.dcm"))
	if err != nil {
		t.Fatal(err)
	}
	step := 97
	if os.Getenv("DICOMIO_EVERY_CUT") != "" {
		step = 1
	}
	cuts := 0
	for n := 0; n < len(b); n += step {
		f, err := Read(bytes.NewReader(b[:n]), int64(n), Options{})
		_, strict := Read(bytes.NewReader(b[:n]), int64(n), Options{Strict: true})
		if err == nil {
			_, err = f.Frames()
			if cut := f.Truncated(); cut != nil && !errors.Is(err, cut) || (cut == nil) != (strict == nil) {
				t.Fatalf("cut at %d of %d: frames %v, truncated %v, strict %v", n, len(b), err, cut, strict)
			}
		} else if strict == nil {
			t.Fatalf("cut at %d of %d: %v only without Strict", n, len(b), err)
		}
		var typed *Error
		if !errors.As(err, &typed) {
			t.Fatalf("cut at %d of %d: %v", n, len(b), err)
		}
		cuts++
	}
	t.Logf("%d cut points of %d bytes", cuts, len(b))
}
