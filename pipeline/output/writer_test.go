package output

import (
	"io"
	"os"
	"syscall"
	"testing"

	"github.com/echonode/echonode/pipeline/result"
)

// Reports and drawings name patients: they are for the owner and the group,
// whatever the mask of the process.
func TestModeOfOutputs(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	w := &writer{dir: t.TempDir()}
	err := w.create(result.Output{File: "report.html"}, func(f io.Writer) error {
		_, err := io.WriteString(f, "report")
		return err
	})
	if err != nil || len(w.made) != 1 {
		t.Fatalf("made %v, %v", w.made, err)
	}
	if info, err := os.Stat(w.made[0].File); err != nil || info.Mode().Perm() != 0o640 || info.Size() != 6 {
		t.Errorf("%v, %v", info, err)
	}
}
