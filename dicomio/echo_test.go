package dicomio

import (
	"image"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/suyashkumar/dicom/pkg/tag"
)

// region makes an item of Sequence of Ultrasound Regions.
func region(format, data, units int64, r image.Rectangle, dx, dy float64) *DataSet {
	return NewDataSet().
		SetInt(tag.RegionSpatialFormat, format).SetInt(tag.RegionDataType, data).SetInt(tag.RegionFlags, 0).
		SetInt(tag.RegionLocationMinX0, int64(r.Min.X)).SetInt(tag.RegionLocationMinY0, int64(r.Min.Y)).
		SetInt(tag.RegionLocationMaxX1, int64(r.Max.X-1)).SetInt(tag.RegionLocationMaxY1, int64(r.Max.Y-1)).
		SetInt(tag.PhysicalUnitsXDirection, units).SetInt(tag.PhysicalUnitsYDirection, units).
		SetFloat(tag.PhysicalDeltaX, dx).SetFloat(tag.PhysicalDeltaY, dy)
}

// echoOf collects the facts of a data set of 800x600 pixels.
func echoOf(t *testing.T, frames int64, edit func(d *DataSet)) EchoFacts {
	t.Helper()
	d := NewDataSet().SetString(tag.Modality, "US").SetInt(tag.NumberOfFrames, frames).SetInt(tag.Rows, 600).SetInt(tag.Columns, 800)
	edit(d)
	if err := d.Err(); err != nil {
		t.Fatal(err)
	}
	e, err := Echo(&File{DataSet: d})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestCalibration(t *testing.T) {
	sector := image.Rect(100, 50, 700, 550)
	regions := func(items ...*DataSet) func(d *DataSet) {
		return func(d *DataSet) { d.SetItems(tag.SequenceOfUltrasoundRegions, items...) }
	}
	cases := []struct {
		name    string
		edit    func(d *DataSet)
		trusted bool
		x, y    float64
		source  string
		reason  string
	}{
		{"plain", regions(region(1, 1, 3, sector, 0.03, 0.03)), true, 0.3, 0.3, CalibrationRegion, ""},
		{"negative delta", regions(region(1, 1, 3, sector, -0.03, 0.03)), true, 0.3, 0.3, CalibrationRegion, ""},
		{"pixels that are not square", regions(region(1, 1, 3, sector, 0.03, 0.024)), true, 0.3, 0.24, CalibrationRegion, ""},
		{"first without units", regions(region(0, 0, 0, sector, 1, 1), region(1, 1, 3, sector, 0.03, 0.03)), true, 0.3, 0.3, CalibrationRegion, ""},
		{"no units at all", regions(region(1, 1, 0, sector, 0.03, 0.03)), false, 0, 0, "", "units"},
		{"does not fit", regions(region(1, 1, 3, image.Rect(100, 50, 1400, 1100), 0.03, 0.03)), false, 0.3, 0.3, CalibrationRegion, "resampled"},
		{"exclusive maximum", regions(region(1, 1, 3, image.Rect(0, 0, 801, 601), 0.03, 0.03)), true, 0.3, 0.3, CalibrationRegion, ""},
		{"not plausible", regions(region(1, 1, 3, sector, 3, 3)), false, 30, 30, CalibrationRegion, "plausible"},
		{"aspect", regions(region(1, 1, 3, sector, 0.1, 0.03)), false, 1, 0.3, CalibrationRegion, "plausible"},
		{"zero delta", regions(region(1, 1, 3, sector, 0, 0.03)), false, 0, 0, "", "units"},
		{"dual view of two scales", regions(region(1, 1, 3, image.Rect(0, 0, 400, 600), 0.03, 0.03), region(1, 1, 3, image.Rect(400, 0, 800, 600), 0.05, 0.05)), false, 0.3, 0.3, CalibrationRegion, "different scale"},
		{"colour box over tissue", regions(region(1, 2, 3, image.Rect(200, 100, 400, 300), 0.03, 0.03), region(1, 1, 3, sector, 0.03, 0.03)), true, 0.3, 0.3, CalibrationRegion, ""},
		{"M-mode beside", regions(region(1, 1, 3, image.Rect(300, 0, 500, 200), 0.08, 0.08), region(2, 1, 4, image.Rect(0, 220, 800, 500), 0.004, 0.05)), true, 0.8, 0.8, CalibrationRegion, ""},
		{"pixel spacing", func(d *DataSet) { d.SetFloat(tag.PixelSpacing, 0.2, 0.25) }, true, 0.25, 0.2, CalibrationPixelSpacing, ""},
		{"absurd pixel spacing", func(d *DataSet) { d.SetFloat(tag.PixelSpacing, 25, 25) }, false, 25, 25, CalibrationPixelSpacing, "plausible"},
		{"imager pixel spacing does not count", func(d *DataSet) { d.SetFloat(tag.ImagerPixelSpacing, 0.2, 0.2) }, false, 0, 0, "", "no calibration"},
		{"nothing", func(d *DataSet) {}, false, 0, 0, "", "no calibration"},
	}
	for _, c := range cases {
		e := echoOf(t, 1, c.edit)
		got := e.Calibration
		if got.Trusted != c.trusted || got.Source != c.source || math.Abs(got.MMPerPixelX-c.x) > 1e-9 || math.Abs(got.MMPerPixelY-c.y) > 1e-9 || !strings.Contains(got.Reason, c.reason) || got.Trusted != (got.Reason == "") {
			t.Errorf("%s: %+v", c.name, got)
		}
		if c.x > 0 && math.Abs(got.AspectX2Y-c.x/c.y) > 1e-9 || c.x == 0 && got.AspectX2Y != 1 {
			t.Errorf("%s: aspect %v", c.name, got.AspectX2Y)
		}
	}
	// A contour decides between two views.
	e := echoOf(t, 1, regions(region(1, 1, 3, image.Rect(0, 0, 400, 600), 0.03, 0.03), region(1, 1, 3, image.Rect(400, 0, 800, 600), 0.05, 0.05)))
	if c := e.CalibrationFor(image.Rect(450, 100, 700, 400)); !c.Trusted || math.Abs(c.MMPerPixelX-0.5) > 1e-9 {
		t.Errorf("right view: %+v", c)
	}
	e = echoOf(t, 1, regions(region(1, 1, 3, image.Rect(0, 0, 400, 600), 0.03, 0.03)))
	if c := e.CalibrationFor(image.Rect(450, 100, 700, 400)); c.Trusted || c.Reason == "" {
		t.Errorf("outside: %+v", c)
	}
	// Only a pixel aspect ratio: vertical size over horizontal size.
	e = echoOf(t, 1, func(d *DataSet) { d.SetInt(tag.PixelAspectRatio, 4, 5) })
	if c := e.Calibration; c.Trusted || c.AspectX2Y != 1.25 {
		t.Errorf("aspect ratio: %+v", c)
	}
}

func TestFrameTimes(t *testing.T) {
	cases := []struct {
		name   string
		edit   func(d *DataSet)
		want   []float64
		source string
		warn   string
	}{
		{"frame time", func(d *DataSet) { d.SetFloat(tag.FrameTime, 20) }, []float64{0, 20, 40, 60}, "FrameTime", ""},
		{"vector by pointer", func(d *DataSet) {
			d.SetTags(tag.FrameIncrementPointer, tag.FrameTimeVector).SetFloat(tag.FrameTimeVector, 0, 20, 40, 20).SetFloat(tag.FrameTime, 26)
		}, []float64{0, 20, 60, 80}, "FrameTimeVector", ""},
		{"vector whose first is not 0", func(d *DataSet) { d.SetFloat(tag.FrameTimeVector, 40, 20, 40, 20) }, []float64{0, 20, 60, 80}, "FrameTimeVector", ""},
		{"short vector", func(d *DataSet) {
			d.SetTags(tag.FrameIncrementPointer, tag.FrameTimeVector).SetFloat(tag.FrameTimeVector, 0, 20).SetInt(tag.CineRate, 50)
		}, []float64{0, 20, 40, 60}, "CineRate", "2 increments for 4 frames"},
		{"vector with 0", func(d *DataSet) { d.SetFloat(tag.FrameTimeVector, 0, 20, 0, 20) }, nil, "", "increment 3 is 0"},
		{"cine rate", func(d *DataSet) { d.SetInt(tag.CineRate, 50) }, []float64{0, 20, 40, 60}, "CineRate", ""},
		{"zero frame time", func(d *DataSet) { d.SetFloat(tag.FrameTime, 0).SetInt(tag.CineRate, 50) }, []float64{0, 20, 40, 60}, "CineRate", ""},
		{"actual duration", func(d *DataSet) { d.SetInt(tag.ActualFrameDuration, 20) }, []float64{0, 20, 40, 60}, "ActualFrameDuration", ""},
		{"effective duration", func(d *DataSet) { d.SetFloat(tag.EffectiveDuration, 0.08) }, []float64{0, 20, 40, 60}, "EffectiveDuration", ""},
		{"display rate", func(d *DataSet) { d.SetInt(tag.RecommendedDisplayFrameRate, 50) }, []float64{0, 20, 40, 60}, "RecommendedDisplayFrameRate", ""},
		{"sources differ", func(d *DataSet) { d.SetFloat(tag.FrameTime, 20).SetInt(tag.CineRate, 25) }, []float64{0, 20, 40, 60}, "FrameTime", "CineRate 40"},
		{"nothing", func(d *DataSet) {}, nil, "", ""},
		{"garbage", func(d *DataSet) { d.SetBytes(tag.FrameTime, "DS", []byte("fast")) }, nil, "", ""},
	}
	for _, c := range cases {
		e := echoOf(t, 4, c.edit)
		if len(e.FrameTimes) != len(c.want) || e.FrameTimeSource != c.source || !strings.Contains(e.TimingWarning, c.warn) || (c.warn == "") != (e.TimingWarning == "") {
			t.Errorf("%s: %v from %q, warning %q", c.name, e.FrameTimes, e.FrameTimeSource, e.TimingWarning)
			continue
		}
		for i := range c.want {
			if math.Abs(e.FrameTimes[i]-c.want[i]) > 1e-9 {
				t.Errorf("%s: %v, want %v", c.name, e.FrameTimes, c.want)
			}
		}
	}
}

func TestHeartCycle(t *testing.T) {
	e := echoOf(t, 4, func(d *DataSet) { d.SetFloat(tag.RWaveTimeVector, 100, 900, 1700).SetInt(tag.HeartRate, 60) })
	if math.Abs(e.HeartRate-75) > 1e-9 || len(e.RWaveTimes) != 3 || e.HeartRateSource != "RWaveTimeVector" {
		t.Errorf("R waves: %v from %s", e.HeartRate, e.HeartRateSource)
	}
	e = echoOf(t, 4, func(d *DataSet) { d.SetFloat(tag.RWaveTimeVector, 100).SetInt(tag.HeartRate, 60) })
	if e.HeartRate != 60 || len(e.RWaveTimes) != 1 {
		t.Errorf("one R wave: %v, %v", e.HeartRate, e.RWaveTimes)
	}
	e = echoOf(t, 4, func(d *DataSet) { d.SetFloat(tag.RWaveTimeVector, 900, 100).SetInt(tag.HeartRate, 600) })
	if e.HeartRate != 0 || e.RWaveTimes != nil {
		t.Errorf("nonsense: %v, %v", e.HeartRate, e.RWaveTimes)
	}
}

func TestModes(t *testing.T) {
	sector := image.Rect(0, 0, 100, 100)
	e := echoOf(t, 1, func(d *DataSet) { d.SetInt(tag.UltrasoundColorDataPresent, 1) })
	if e.HasColour || !e.ColourFlag {
		t.Error("the flag that plain B-mode has too must not mean colour")
	}
	e = echoOf(t, 1, func(d *DataSet) { d.SetString(tag.ImageType, "ORIGINAL", "PRIMARY", "TTE", "0011") })
	if !e.HasColour || e.HasMMode || e.HasSpectral {
		t.Errorf("image type 0011: %+v", e)
	}
	e = echoOf(t, 1, func(d *DataSet) { d.SetString(tag.ImageType, "ORIGINAL", "PRIMARY", "TTE", "000A") })
	if e.HasColour || !e.HasMMode || !e.HasSpectral {
		t.Errorf("image type 000A: %+v", e)
	}
	e = echoOf(t, 1, func(d *DataSet) {
		d.SetItems(tag.SequenceOfUltrasoundRegions, region(3, 3, 4, sector, 1, 1), region(4, 0xA, 4, sector, 1, 1), region(1, 2, 3, sector, 1, 1))
	})
	if !e.HasColour || !e.HasSpectral || !e.HasECG || e.HasMMode {
		t.Errorf("regions: %+v", e)
	}
}

// The SonoSite loop whose pixels were halved without its regions.
func TestResampledLoopIsNotTrusted(t *testing.T) {
	dir, refs := corpus(t)
	for _, r := range refs {
		if filepath.Base(r.Path) != "examples_ybr_color.dcm" {
			continue
		}
		f, err := Open(filepath.Join(dir, r.Path), Options{})
		if err != nil {
			t.Fatal(err)
		}
		e, err := Echo(f)
		if err != nil || e.Calibration.Trusted || !strings.Contains(e.Calibration.Reason, "resampled") {
			t.Errorf("%+v, %v", e.Calibration, err)
		}
		if e.Frames != 30 || len(e.FrameTimes) != 30 {
			t.Errorf("%d frames, %d times", e.Frames, len(e.FrameTimes))
		}
		return
	}
	t.Fatal("examples_ybr_color.dcm is not in the corpus")
}

func TestColourFraction(t *testing.T) {
	img := image.NewRGBA(image.Rect(0, 0, 100, 100))
	for i := 0; i < len(img.Pix); i += 4 {
		img.Pix[i], img.Pix[i+1], img.Pix[i+2], img.Pix[i+3] = 120, 100, 80, 255 // a sepia map
	}
	if f := ColourFraction(img, img.Rect); f != 0 {
		t.Errorf("sepia: %v", f)
	}
	for x := range 100 {
		img.Pix[img.PixOffset(x, 5)] = 255
	}
	if f := ColourFraction(img, image.Rect(0, 0, 100, 10)); f != 0.1 {
		t.Errorf("one red line of ten: %v", f)
	}
}
