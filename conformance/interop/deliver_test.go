package interop

import (
	"bytes"
	"errors"
	"image"
	"os"
	"path/filepath"
	"testing"

	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"

	"github.com/echonode/echonode/conformance/freeport"
	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/pipeline/deliver"
	"github.com/echonode/echonode/scp"
)

// An archive that takes nothing but Implicit VR Little Endian, dcmtk's storescp
// so told, gets the report and the loop, the compressed one decompressed with
// the same pixels. By the rule "never" the compressed one stays here.
func TestArchiveOfImplicitVR(t *testing.T) {
	program := need(t, "storescp")
	for _, c := range []struct {
		rule  deliver.Conversion
		takes int
	}{{deliver.Auto, 4}, {deliver.Never, 3}} {
		t.Run(string(c.rule), func(t *testing.T) {
			dir, port := t.TempDir(), freeport.Port(t)
			start(t, port, program, "-od", dir, "+xi", "-aet", "STORESCP", port)
			var sources []scp.ObjectSource
			files := archived(t)
			for _, f := range files {
				sources = append(sources, deliver.Source{Path: f, Convert: c.rule})
			}
			results, err := dialer("STORESCP").SendAll(timeout(t), hostPort(port), sources, nil)
			if err != nil {
				t.Fatal(err)
			}
			stored := 0
			for _, r := range results {
				var refused *scp.ContextError
				switch {
				case r.Err == nil && r.Sent == uid.ImplicitVRLittleEndian:
					stored++
				case c.rule == deliver.Never && r.Header.TransferSyntaxUID == uid.JPEGBaseline8Bit && errors.As(r.Err, &refused):
				default:
					t.Errorf("%+v", r)
				}
			}
			got, err := filepath.Glob(filepath.Join(dir, "*"))
			if err != nil || len(got) != c.takes || stored != c.takes {
				t.Fatalf("%d stored, %d files, want %d; %v", stored, len(got), c.takes, err)
			}
			for _, path := range got {
				f, err := dicomio.Open(path, dicomio.Options{Strict: true})
				if err != nil {
					t.Fatal(err)
				}
				if f.TransferSyntax != uid.ImplicitVRLittleEndian {
					t.Errorf("stored in %s", f.TransferSyntax)
				}
				if f.DataSet.String(tag.SOPInstanceUID) == loopsA+".1" {
					samePixels(t, files[0], f)
				}
				if err := f.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// samePixels compares the first frames of two files.
func samePixels(t *testing.T, path string, got *dicomio.File) {
	t.Helper()
	want, err := dicomio.Open(path, dicomio.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer want.Close()
	pixels := func(f *dicomio.File) []byte {
		r, err := f.Frames()
		if err != nil {
			t.Fatal(err)
		}
		var img image.RGBA
		if err := r.RGB(0, &img); err != nil {
			t.Fatal(err)
		}
		return img.Pix
	}
	if !bytes.Equal(pixels(got), pixels(want)) {
		t.Error("the pixels arrived otherwise")
	}
}

// dcmsend ends its association at the first object whose class is not taken, so
// that the loops behind it never come: an ECG and a vendor's own object in the
// study are taken, and the loop comes.
func TestDcmsendWithWaveformInTheStudy(t *testing.T) {
	program := need(t, "dcmsend")
	n := startNode(t, func(s *scp.Server) { s.Others = scp.DefaultTransferSyntaxes() })
	dir := t.TempDir()
	write := func(name, class, object string) {
		ds := dicomio.NewDataSet().SetString(tag.SOPClassUID, class).SetString(tag.SOPInstanceUID, object).SetString(tag.StudyInstanceUID, studyA).
			SetString(tag.SeriesInstanceUID, studyA+".9").SetString(tag.Modality, "ECG").SetString(tag.PatientID, "FETCH")
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(dicomio.Write(f, ds, dicomio.WriteOptions{}), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	write("1-ecg.dcm", "1.2.840.10008.5.1.4.1.1.9.1.1", studyA+".9.1")
	write("2-vendor.dcm", "1.3.46.670589.2.4.1.1", studyA+".9.2")
	loop, err := os.ReadFile(archived(t)[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "3-loop.dcm"), loop, 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, program, "-aec", "ECHONODE", n.host, n.port, filepath.Join(dir, "1-ecg.dcm"), filepath.Join(dir, "2-vendor.dcm"), filepath.Join(dir, "3-loop.dcm"))
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, uid := range []string{studyA + ".9.1", studyA + ".9.2", loopsA + ".2"} {
		if n.entries[uid].Path == "" {
			t.Errorf("%s did not come", uid)
		}
	}
}
