package derived

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/instance"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
)

// loop is the data set of an ultrasound loop of n frames, without pixels.
func loop(n int) *dicomio.DataSet {
	ds := dicomio.NewDataSet()
	ds.SetString(tag.SOPClassUID, uid.UltrasoundMultiFrameImageStorage)
	ds.SetString(tag.SOPInstanceUID, "1.2.3.1.1")
	ds.SetString(tag.StudyInstanceUID, "1.2.3")
	ds.SetString(tag.SeriesInstanceUID, "1.2.3.1")
	ds.SetString(tag.PatientName, "Echo^Sample")
	ds.SetString(tag.PatientID, "P-1")
	ds.SetString(tag.PatientBirthDate, "19600102")
	ds.SetString(tag.PatientSex, "F")
	ds.SetString(tag.StudyDate, "20240110")
	ds.SetString(tag.StudyTime, "101500")
	ds.SetString(tag.StudyID, "1")
	ds.SetString(tag.AcquisitionDate, "20240110")
	ds.SetString(tag.AcquisitionTime, "101700")
	ds.SetInt(tag.NumberOfFrames, int64(n))
	ds.SetTags(tag.FrameIncrementPointer, tag.FrameTime)
	ds.SetString(tag.FrameTime, "33.333")
	ds.SetString(tag.LossyImageCompression, "01")
	ds.SetString(tag.LossyImageCompressionRatio, "12.5")
	ds.SetString(tag.LossyImageCompressionMethod, "ISO_10918_1")
	region := dicomio.NewDataSet()
	for _, v := range []struct {
		t dicomio.Tag
		n int64
	}{
		{tag.RegionSpatialFormat, 1}, {tag.RegionDataType, 1}, {tag.RegionFlags, 2},
		{tag.RegionLocationMinX0, 0}, {tag.RegionLocationMinY0, 0}, {tag.RegionLocationMaxX1, 63}, {tag.RegionLocationMaxY1, 47},
		{tag.PhysicalUnitsXDirection, 3}, {tag.PhysicalUnitsYDirection, 3},
	} {
		region.SetInt(v.t, v.n)
	}
	region.SetFloat(tag.PhysicalDeltaX, 0.03)
	region.SetFloat(tag.PhysicalDeltaY, 0.03)
	ds.SetItems(tag.SequenceOfUltrasoundRegions, region)
	return ds
}

func identity(kind string) Identity {
	return Identity{
		SOPInstanceUID: instance.UID(kind, "1.2.3.1.1"), SeriesInstanceUID: instance.UID(kind+" series", "1.2.3"),
		SeriesNumber: 9001, InstanceNumber: 1, SeriesDescription: "AI LV overlay",
		Time:      time.Date(2024, 1, 10, 10, 30, 0, 0, time.UTC),
		Equipment: instance.Equipment{Manufacturer: "EchoNode", Model: "EchoNode", Version: "0.1.0", UID: "2.25.1"},
		Algorithm: instance.Algorithm{Name: "echonode-lv", Version: "0.3"},
	}
}

func cine(n int) Cine {
	times := make([]float64, n)
	for i := range times {
		times[i] = 33.333 * float64(i)
	}
	return Cine{
		Identity: identity("overlay"), Source: loop(n), Rows: 60, Columns: 64, Frames: n, SameGeometry: true,
		Spacing: &[2]float64{0.3, 0.3}, TimesMS: times, Description: "Contours of the left ventricle burned in",
	}
}

// picture is a frame whose gray value says which one it is.
func picture(i int) (*image.RGBA, error) {
	img := image.NewRGBA(image.Rect(0, 0, 64, 60))
	for k := range img.Pix {
		img.Pix[k] = uint8(20 * i)
		if k%4 == 3 {
			img.Pix[k] = 255
		}
	}
	return img, nil
}

func writeCine(t *testing.T, c Cine) (*dicomio.File, string) {
	t.Helper()
	var b bytes.Buffer
	if _, err := c.Write(&b, picture); err != nil {
		t.Fatal(err)
	}
	return reopen(t, b.Bytes())
}

func reopen(t *testing.T, b []byte) (*dicomio.File, string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "object.dcm")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := dicomio.Open(name, dicomio.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, name
}

// validate fails the test when dciodvfy finds an error, or a warning that is
// not among the allowed.
func validate(t *testing.T, file string, allowed ...string) {
	t.Helper()
	tool, err := exec.LookPath("dciodvfy")
	if err != nil {
		t.Skip("dciodvfy is not installed (Debian package dicom3tools)")
	}
	var b bytes.Buffer
	cmd := exec.Command(tool, "-new", file)
	cmd.Stderr, cmd.Stdout = &b, &b
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
lines:
	for _, line := range strings.Split(b.String(), "\n") {
		if !strings.HasPrefix(line, "Error") && !strings.HasPrefix(line, "Warning") {
			continue
		}
		for _, a := range allowed {
			if strings.HasPrefix(line, "Warning") && strings.Contains(line, a) {
				continue lines
			}
		}
		t.Error(line)
	}
}

func TestCineValidates(t *testing.T) {
	vector := cine(5)
	vector.TimesMS = []float64{0, 33, 67, 117, 150}
	untimed := cine(5)
	untimed.TimesMS = nil
	us := cine(5)
	us.Class = Ultrasound
	still := cine(1)
	stillUS := cine(1)
	stillUS.Class = Ultrasound
	for name, c := range map[string]Cine{"cine": cine(5), "vector": vector, "untimed": untimed, "ultrasound": us, "still": still, "ultrasound still": stillUS} {
		t.Run(name, func(t *testing.T) {
			f, file := writeCine(t, c)
			if got := f.DataSet.String(tag.SOPClassUID); got != c.SOPClassUID() {
				t.Errorf("class %s", got)
			}
			validate(t, file)
		})
	}
}

func TestCineContent(t *testing.T) {
	c := cine(5)
	f, file := writeCine(t, c)
	ds := f.DataSet
	for _, tt := range []struct {
		t    dicomio.Tag
		want string
	}{
		{tag.SOPClassUID, uid.MultiFrameTrueColorSecondaryCaptureImageStorage}, {tag.StudyInstanceUID, "1.2.3"},
		{tag.SeriesInstanceUID, c.Identity.SeriesInstanceUID}, {tag.PatientID, "P-1"}, {tag.Modality, "US"},
		{tag.ConversionType, "WSD"}, {tag.BurnedInAnnotation, "YES"}, {tag.BodyPartExamined, "HEART"},
		{tag.FrameTime, "33.333"}, {tag.CineRate, "30"}, {tag.RecommendedDisplayFrameRate, "30"},
		{tag.PhotometricInterpretation, "YBR_FULL_422"}, {tag.LossyImageCompression, "01"}, {tag.StopTrim, "5"},
	} {
		if got := ds.String(tt.t); got != tt.want {
			t.Errorf("%s is %q, want %q", tag.Keyword(tt.t), got, tt.want)
		}
	}
	if d := cmp.Diff([]string{"0.3", "0.3"}, ds.Strings(tag.PixelSpacing)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"ISO_10918_1", "ISO_10918_1"}, ds.Strings(tag.LossyImageCompressionMethod)); d != "" {
		t.Error(d)
	}
	if r := ds.Floats(tag.LossyImageCompressionRatio); len(r) != 2 || r[0] != 12.5 || r[1] < 5 {
		t.Errorf("ratios %v", r)
	}
	src := ds.Item(tag.SourceImageSequence, 0)
	if src.String(tag.ReferencedSOPInstanceUID) != "1.2.3.1.1" || src.String(tag.SpatialLocationsPreserved) != "YES" {
		t.Errorf("source image %v", src)
	}
	eq := ds.Item(tag.ContributingEquipmentSequence, 0)
	if d := cmp.Diff([]string{"0.1.0", "model echonode-lv 0.3"}, eq.Strings(tag.SoftwareVersions)); d != "" {
		t.Error(d)
	}

	frames, err := f.Frames()
	if err != nil {
		t.Fatal(err)
	}
	img := image.NewRGBA(image.Rect(0, 0, 64, 60))
	for i := range 5 {
		if err := frames.RGB(i, img); err != nil {
			t.Fatal(err)
		}
		if p := img.RGBAAt(30, 30); math.Abs(float64(p.R)-float64(20*i)) > 2 {
			t.Errorf("frame %d is %v, want %d", i, p, 20*i)
		}
	}
	if tool, err := exec.LookPath("dcmj2pnm"); err == nil {
		for n := 1; n <= 5; n++ {
			if out, err := exec.Command(tool, "+F", fmt.Sprint(n), file, filepath.Join(t.TempDir(), "x.ppm")).CombinedOutput(); err != nil {
				t.Errorf("dcmj2pnm frame %d: %v\n%s", n, err, out)
			}
		}
	}
}

// The times are those that the loop was measured with, whatever the source says.
func TestCineTiming(t *testing.T) {
	for _, tt := range []struct {
		name     string
		times    []float64
		source   func(*dicomio.DataSet)
		pointer  dicomio.Tag
		values   []string
		cineRate string
	}{
		{"even", []float64{0, 40, 80, 120, 160}, nil, tag.FrameTime, []string{"40"}, "25"},
		{"whole milliseconds", []float64{0, 33, 67, 100, 133}, nil, tag.FrameTime, []string{"33.25"}, "30"},
		{"uneven", []float64{0, 20, 50, 70, 100}, nil, tag.FrameTimeVector, []string{"0", "20", "30", "20", "30"}, "40"},
		{"unknown", nil, nil, tag.PageNumberVector, []string{"1", "2", "3", "4", "5"}, ""},
		{"unknown, Frame Time in seconds", nil, func(ds *dicomio.DataSet) { ds.SetString(tag.FrameTime, "0.035") },
			tag.PageNumberVector, []string{"1", "2", "3", "4", "5"}, ""},
		{"Frame Time in seconds", []float64{0, 35, 70, 105, 140}, func(ds *dicomio.DataSet) { ds.SetString(tag.FrameTime, "0.035") },
			tag.FrameTime, []string{"35"}, "29"},
		{"a vector of times", []float64{0, 35, 70, 105, 140}, func(ds *dicomio.DataSet) {
			ds.SetTags(tag.FrameIncrementPointer, tag.FrameTimeVector).SetString(tag.FrameTimeVector, "0", "35", "70", "105", "140")
		}, tag.FrameTime, []string{"35"}, "29"},
		{"part of the loop", []float64{0, 50, 100, 150, 200}, func(ds *dicomio.DataSet) { ds.SetInt(tag.NumberOfFrames, 9) },
			tag.FrameTime, []string{"50"}, "20"},
		{"no times at all", []float64{0, 40, 40, 20, 160}, nil, tag.PageNumberVector, []string{"1", "2", "3", "4", "5"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := cine(5)
			c.TimesMS = tt.times
			if tt.source != nil {
				tt.source(c.Source)
			}
			f, _ := writeCine(t, c)
			if p := f.DataSet.Tags(tag.FrameIncrementPointer); len(p) != 1 || p[0] != tt.pointer {
				t.Errorf("pointer %v", p)
			}
			if d := cmp.Diff(tt.values, f.DataSet.Strings(tt.pointer)); d != "" {
				t.Error(d)
			}
			if got := f.DataSet.String(tag.CineRate); got != tt.cineRate {
				t.Errorf("cine rate %q, want %q", got, tt.cineRate)
			}
		})
	}
}

// What the source does not allow must not be claimed.
func TestCineClaims(t *testing.T) {
	c := cine(5)
	c.SameGeometry = false
	c.Source.SetString(tag.BurnedInAnnotation, "NO")
	c.Source.SetBytes(tag.AcquisitionTime, "TM", []byte("nonsense"))
	c.Source.SetBytes(tag.PatientSex, "CS", []byte("X "))
	c.Source.Delete(tag.AcquisitionDate)
	c.Source.SetString(tag.WindowWidth, "0")
	f, _ := writeCine(t, c)
	if f.DataSet.Has(tag.WindowWidth) {
		t.Error("attributes of no concern were copied")
	}
	if f.DataSet.Has(tag.PixelSpacing) {
		t.Error("pixel spacing on a changed geometry")
	}
	if got := f.DataSet.Item(tag.SourceImageSequence, 0).String(tag.SpatialLocationsPreserved); got != "NO" {
		t.Errorf("spatial locations preserved: %q", got)
	}
	if got := f.DataSet.String(tag.BurnedInAnnotation); got != "NO" {
		t.Errorf("burned in annotation: %q", got)
	}
	if f.DataSet.Has(tag.AcquisitionTime) || f.DataSet.String(tag.PatientSex) != "" {
		t.Error("invalid values of the source were copied")
	}
	us := cine(5)
	us.Class, us.SameGeometry = Ultrasound, false
	f, _ = writeCine(t, us)
	if f.DataSet.Has(tag.SequenceOfUltrasoundRegions) {
		t.Error("regions on a changed geometry")
	}
}

func TestCineRefuses(t *testing.T) {
	broken := errors.New("broken")
	for name, tt := range map[string]struct {
		change func(*Cine)
		frame  func(int) (*image.RGBA, error)
		want   error
	}{
		"no frames":     {func(c *Cine) { c.Frames = 0 }, picture, ErrCine},
		"no source":     {func(c *Cine) { c.Source = nil }, picture, ErrCine},
		"no rows":       {func(c *Cine) { c.Rows = 0 }, picture, ErrCine},
		"times":         {func(c *Cine) { c.TimesMS = []float64{0} }, picture, ErrCine},
		"other size":    {func(c *Cine) { c.Rows = 61 }, picture, ErrCine},
		"no model":      {func(c *Cine) { c.Identity.Algorithm.Name = "" }, picture, ErrCine},
		"no series":     {func(c *Cine) { c.Identity.SeriesInstanceUID = "" }, picture, ErrCine},
		"spacing":       {func(c *Cine) { c.Spacing = &[2]float64{0, 1} }, picture, ErrCine},
		"source no UID": {func(c *Cine) { c.Source.Delete(tag.SOPInstanceUID) }, picture, instance.ErrSource},
		"too large":     {func(c *Cine) { c.MaxBytes = 1000 }, picture, ErrCine},
		"frame fails":   {func(*Cine) {}, func(int) (*image.RGBA, error) { return nil, broken }, broken},
	} {
		c := cine(5)
		tt.change(&c)
		if _, err := c.Write(&bytes.Buffer{}, tt.frame); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}

// speckle is a frame that compresses badly.
func speckle(i int) (*image.RGBA, error) {
	img, r := image.NewRGBA(image.Rect(0, 0, 64, 60)), rand.New(rand.NewPCG(1, uint64(i)))
	for k := range img.Pix {
		img.Pix[k] = uint8(r.Uint32())
	}
	return img, nil
}

// What memory has no room for lies in a file meanwhile, which goes with it; the object
// is the same.
func TestFramesOutsideMemory(t *testing.T) {
	var want bytes.Buffer
	if _, err := cine(9).Write(&want, speckle); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	for _, memory := range []int64{1, 12000, 1 << 20} { // of frames of some 5,000 bytes
		for _, end := range []error{nil, broken} {
			c, most := cine(9), 0
			c.MaxMemory, c.Scratch = memory, t.TempDir()
			files := func() int {
				all, err := os.ReadDir(c.Scratch)
				if err != nil {
					t.Fatal(err)
				}
				return len(all)
			}
			var got bytes.Buffer
			_, err := c.Write(&got, func(i int) (*image.RGBA, error) {
				if most = max(most, files()); i == 8 && end != nil {
					return nil, end
				}
				return speckle(i)
			})
			if !errors.Is(err, end) || end == nil && !bytes.Equal(got.Bytes(), want.Bytes()) {
				t.Errorf("%d bytes of memory: %v; %d bytes, want %d", memory, err, got.Len(), want.Len())
			}
			if n := files(); n != 0 || most != min(1, int((1<<20-1)/memory)) {
				t.Errorf("%d bytes of memory: up to %d files, %d left behind", memory, most, n)
			}
		}
	}
	c := cine(9)
	c.MaxMemory, c.Scratch = 1, filepath.Join(t.TempDir(), "gone")
	if _, err := c.Write(&bytes.Buffer{}, speckle); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrCine) {
		t.Errorf("no room for a file: %v, which is no fault of the object", err)
	}
}

// Frames that would be too large together are compressed more, none is left out; what
// finds no room even so is no cine.
func TestFramesFindRoom(t *testing.T) {
	size := func(limit int64) (int64, error) {
		c := cine(9)
		c.MaxBytes = limit
		var b bytes.Buffer
		if _, err := c.Write(&b, speckle); err != nil {
			return 0, err
		}
		f, _ := reopen(t, b.Bytes())
		frames, err := f.RawFrames()
		if err != nil || frames.Len() != 9 {
			t.Fatal(frames.Len(), err)
		}
		var total int64
		for i := range 9 {
			raw, err := frames.Raw(i)
			if err != nil {
				t.Fatal(err)
			}
			total += int64(len(raw))
		}
		return total, nil
	}
	whole, err := size(0)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []float64{1.1, 0.9, 0.7, 0.5} {
		limit := int64(part * float64(whole))
		if total, err := size(limit); err != nil || total > limit+9 || total < limit/2 { // frames are of even length
			t.Errorf("%d bytes where %d find room: %v", total, limit, err)
		}
	}
	if _, err := size(whole / 20); !errors.Is(err, ErrCine) {
		t.Errorf("no room: %v", err)
	}
}

func TestSameInputSameBytes(t *testing.T) {
	var a, b bytes.Buffer
	for _, w := range []*bytes.Buffer{&a, &b} {
		if _, err := cine(5).Write(w, picture); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("two objects of the same input differ")
	}
}
