package derived

import (
	"bytes"
	"encoding/json"
	"image"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/pipeline/echo"
	"github.com/echonode/echonode/pipeline/internal/overlay"
)

// exampleLoops is the folder of real loops that comes with go-dicom, when the
// module cache holds it.
func exampleLoops(t *testing.T) string {
	t.Helper()
	cmd := exec.Command("go", "mod", "download", "-json", "github.com/grailbio/go-dicom@v0.0.0-20211105193521-b0e216a1c5cd")
	cmd.Env = append(cmd.Environ(), "GOPROXY=off", "GOFLAGS=-mod=mod")
	out, err := cmd.Output()
	var module struct{ Dir string }
	if err != nil || json.Unmarshal(out, &module) != nil || module.Dir == "" {
		t.Skip("the module cache does not hold github.com/grailbio/go-dicom")
	}
	return filepath.Join(module.Dir, "examples")
}

// Overlays of loops of several vendors are valid objects: whatever odd values
// the source holds, none may spoil the result.
func TestRealLoopsValidate(t *testing.T) {
	dir := exampleLoops(t)
	for _, name := range []string{"I_000001", "I_000009", "I_000031", "I_000036", "I_000038"} {
		t.Run(name, func(t *testing.T) {
			f, err := dicomio.Open(filepath.Join(dir, name+".dcm"), dicomio.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			frames, err := f.Frames()
			if err != nil {
				t.Fatal(err)
			}
			facts, err := echo.Read(f)
			if err != nil {
				t.Fatal(err)
			}
			r, err := overlay.NewRenderer(facts.Columns, facts.Rows, "EchoNode 0.1.0, model echonode-lv 0.3")
			if err != nil {
				t.Fatal(err)
			}
			c := Cine{
				Identity: identity(name), Source: f.DataSet, Rows: r.Size().Y, Columns: r.Size().X,
				Frames: min(frames.Len(), 3), SameGeometry: true, Description: "Contours burned in",
			}
			if facts.FrameTimes != nil {
				c.TimesMS = facts.FrameTimes[:c.Frames]
			}
			src, dst := image.NewRGBA(image.Rect(0, 0, facts.Columns, facts.Rows)), r.NewImage()
			var b bytes.Buffer
			_, err = c.Write(&b, func(i int) (*image.RGBA, error) {
				if err := frames.RGB(i, src); err != nil {
					return nil, err
				}
				return dst, r.Render(dst, src, overlay.Scene{Status: name})
			})
			if err != nil {
				t.Fatal(err)
			}
			_, file := reopen(t, b.Bytes())
			// These come from the source: an old form of a name, no study ID.
			// Stage and view are no attributes of a secondary capture; they are kept all the same.
			validate(t, file, "Retired Person Name form", "needed to build DICOMDIR", "Stage", "View")
		})
	}
}
