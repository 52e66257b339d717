package echo

import (
	"bytes"
	"errors"
	"image"
	"image/jpeg"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
)

// region makes an item of Sequence of Ultrasound Regions.
func region(format, data, units int64, r image.Rectangle, dx, dy float64) *dicomio.DataSet {
	return dicomio.NewDataSet().
		SetInt(tag.RegionSpatialFormat, format).SetInt(tag.RegionDataType, data).SetInt(tag.RegionFlags, 0).
		SetInt(tag.RegionLocationMinX0, int64(r.Min.X)).SetInt(tag.RegionLocationMinY0, int64(r.Min.Y)).
		SetInt(tag.RegionLocationMaxX1, int64(r.Max.X-1)).SetInt(tag.RegionLocationMaxY1, int64(r.Max.Y-1)).
		SetInt(tag.PhysicalUnitsXDirection, units).SetInt(tag.PhysicalUnitsYDirection, units).
		SetFloat(tag.PhysicalDeltaX, dx).SetFloat(tag.PhysicalDeltaY, dy)
}

// echoOf collects the facts of a data set of 800x600 pixels.
func echoOf(t *testing.T, frames int64, edit func(d *dicomio.DataSet)) Facts {
	t.Helper()
	d := dicomio.NewDataSet().SetString(tag.Modality, "US").SetInt(tag.NumberOfFrames, frames).SetInt(tag.Rows, 600).SetInt(tag.Columns, 800)
	edit(d)
	if err := d.Err(); err != nil {
		t.Fatal(err)
	}
	e, err := Read(&dicomio.File{DataSet: d})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestCalibration(t *testing.T) {
	sector := image.Rect(100, 50, 700, 550)
	regions := func(items ...*dicomio.DataSet) func(d *dicomio.DataSet) {
		return func(d *dicomio.DataSet) { d.SetItems(tag.SequenceOfUltrasoundRegions, items...) }
	}
	cases := []struct {
		name    string
		edit    func(d *dicomio.DataSet)
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
		{"dual view of two scales", regions(region(1, 1, 3, image.Rect(0, 0, 400, 600), 0.03, 0.03), region(1, 1, 3, image.Rect(400, 0, 800, 600), 0.05, 0.05)), true, 0.3, 0.3, CalibrationRegion, ""},
		{"two scales for one place", regions(region(1, 1, 3, sector, 0.03, 0.03), region(1, 1, 3, sector.Inset(10), 0.05, 0.05)), false, 0.3, 0.3, CalibrationRegion, "different scale"},
		{"overview in a corner", regions(region(1, 1, 3, sector, 0.03, 0.03), region(1, 1, 3, image.Rect(110, 60, 250, 180), 0.08, 0.08)), true, 0.3, 0.3, CalibrationRegion, ""},
		{"colour box over tissue", regions(region(1, 2, 3, image.Rect(200, 100, 400, 300), 0.03, 0.03), region(1, 1, 3, sector, 0.03, 0.03)), true, 0.3, 0.3, CalibrationRegion, ""},
		{"M-mode beside", regions(region(1, 1, 3, image.Rect(300, 0, 500, 200), 0.08, 0.08), region(2, 1, 4, image.Rect(0, 220, 800, 500), 0.004, 0.05)), true, 0.8, 0.8, CalibrationRegion, ""},
		{"pixel spacing", func(d *dicomio.DataSet) { d.SetFloat(tag.PixelSpacing, 0.2, 0.25) }, true, 0.25, 0.2, CalibrationPixelSpacing, ""},
		{"absurd pixel spacing", func(d *dicomio.DataSet) { d.SetFloat(tag.PixelSpacing, 25, 25) }, false, 25, 25, CalibrationPixelSpacing, "plausible"},
		{"imager pixel spacing does not count", func(d *dicomio.DataSet) { d.SetFloat(tag.ImagerPixelSpacing, 0.2, 0.2) }, false, 0, 0, "", "no calibration"},
		{"nothing", func(d *dicomio.DataSet) {}, false, 0, 0, "", "no calibration"},
	}
	for _, c := range cases {
		e := echoOf(t, 1, c.edit)
		got := e.Calibration
		if got.Trusted != c.trusted || got.Source != c.source || math.Abs(got.MMPerPixelX-c.x) > 1e-9 || math.Abs(got.MMPerPixelY-c.y) > 1e-9 ||
			!strings.Contains(got.Reason, c.reason) || got.Trusted != (got.Reason == "") {
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
	// A contour in the overview is measured by the overview's scale.
	e = echoOf(t, 1, regions(region(1, 1, 3, sector, 0.03, 0.03), region(1, 1, 3, image.Rect(110, 60, 250, 180), 0.08, 0.08)))
	if c := e.CalibrationFor(image.Rect(130, 80, 220, 170)); c.Trusted {
		t.Errorf("a place that two scales claim: %+v", c)
	}
	if c := e.CalibrationFor(image.Rect(300, 100, 600, 500)); !c.Trusted || math.Abs(c.MMPerPixelX-0.3) > 1e-9 {
		t.Errorf("beside the overview: %+v", c)
	}
	// Only a pixel aspect ratio: vertical size over horizontal size.
	e = echoOf(t, 1, func(d *dicomio.DataSet) { d.SetInt(tag.PixelAspectRatio, 4, 5) })
	if c := e.Calibration; c.Trusted || c.AspectX2Y != 1.25 {
		t.Errorf("aspect ratio: %+v", c)
	}
}

// Every 2D region once, with its own scale; a second one is a doubt.
func TestTissueRegions(t *testing.T) {
	left, right := image.Rect(0, 0, 400, 600), image.Rect(400, 0, 800, 600)
	whole := image.Rect(0, 0, 800, 600)
	cases := []struct {
		name    string
		items   []*dicomio.DataSet
		want    []image.Rectangle
		mm      []float64
		doubt   string
		trusted bool
	}{
		{"one", []*dicomio.DataSet{region(1, 1, 3, whole, 0.03, 0.03)}, []image.Rectangle{whole}, []float64{0.3}, "", true},
		{"the same twice", []*dicomio.DataSet{region(1, 1, 3, whole, 0.03, 0.03), region(1, 1, 3, whole, 0.03, 0.03)}, []image.Rectangle{whole}, []float64{0.3}, "", true},
		{"colour box, ECG", []*dicomio.DataSet{region(1, 1, 3, whole, 0.03, 0.03), region(1, 2, 3, left, 0.03, 0.03), region(4, 10, 4, right, 1, 1)}, []image.Rectangle{whole}, []float64{0.3}, "", true},
		{"biplane", []*dicomio.DataSet{region(1, 1, 3, left, 0.03, 0.03), region(1, 1, 3, right, 0.03, 0.03)}, []image.Rectangle{left, right}, []float64{0.3, 0.3}, "2 2D regions of one scale", true},
		{"two scales", []*dicomio.DataSet{region(1, 1, 3, left, 0.03, 0.03), region(1, 1, 3, right, 0.05, 0.05)}, []image.Rectangle{left, right}, []float64{0.3, 0.5}, "2 2D regions of different scales", true},
		{"two scales of one place", []*dicomio.DataSet{region(1, 1, 3, whole, 0.03, 0.03), region(1, 1, 3, whole.Inset(5), 0.05, 0.05)}, []image.Rectangle{whole}, []float64{0.3}, "", false},
	}
	for _, c := range cases {
		e := echoOf(t, 1, func(d *dicomio.DataSet) { d.SetItems(tag.SequenceOfUltrasoundRegions, c.items...) })
		got := e.TissueRegions()
		if len(got) != len(c.want) {
			t.Errorf("%s: %+v", c.name, got)
			continue
		}
		for i := range got {
			if got[i].Rect != c.want[i] || math.Abs(got[i].Calibration.MMPerPixelX-c.mm[i]) > 1e-9 || got[i].Calibration.Trusted != c.trusted {
				t.Errorf("%s: region %d is %+v", c.name, i, got[i])
			}
		}
		if d := doubts(e, DoubtRegions); (d != "") != (c.doubt != "") || !strings.Contains(d, c.doubt) {
			t.Errorf("%s: doubt %q, want %q", c.name, d, c.doubt)
		}
	}
}

// doubts are the texts of the doubts of one code.
func doubts(e Facts, code string) string {
	var out []string
	for _, d := range e.Doubts {
		if d.Code == code {
			out = append(out, d.Text)
		}
	}
	return strings.Join(out, "; ")
}

// Slices of a volume are told from the frames of a cine.
func TestVolumes(t *testing.T) {
	pixels := func(d *dicomio.DataSet, n int) *dicomio.DataSet {
		return d.SetInt(tag.Rows, 6).SetInt(tag.Columns, 8).SetInt(tag.SamplesPerPixel, 1).SetInt(tag.BitsAllocated, 8).
			SetString(tag.PhotometricInterpretation, "MONOCHROME2").SetBytes(tag.PixelData, "OB", make([]byte, 48*n))
	}
	cases := []struct {
		name string
		edit func(d *dicomio.DataSet)
		want string
	}{
		{"cine", func(d *dicomio.DataSet) { pixels(d, 4) }, ""},
		{"no pixels", func(*dicomio.DataSet) {}, ""},
		{"class", func(d *dicomio.DataSet) { d.SetString(tag.SOPClassUID, uid.EnhancedUSVolumeStorage) }, "Enhanced US Volume"},
		{"image type", func(d *dicomio.DataSet) { d.SetString(tag.ImageType, "ORIGINAL", "PRIMARY", "VOLUME", "NONE") }, "volume"},
		{"planes in space", func(d *dicomio.DataSet) {
			d.SetItems(tag.PerFrameFunctionalGroupsSequence, dicomio.NewDataSet().SetItems(tag.PlanePositionVolumeSequence, dicomio.NewDataSet()))
		}, "positions"},
		{"private slices", func(d *dicomio.DataSet) {
			d.SetStringVR(tag.New(0x3001, 0x10), "LO", "Philips3D").SetIntVR(tag.Tag(0x30011001), "UL", 16)
		}, "16 slices"},
		{"one private slice", func(d *dicomio.DataSet) {
			d.SetStringVR(tag.New(0x3001, 0x10), "LO", "Philips3D").SetIntVR(tag.Tag(0x30011001), "UL", 1)
		}, ""},
		{"pictures for each frame", func(d *dicomio.DataSet) { pixels(d, 64) }, "16 pictures for each of 4 frames"},
		{"a frame more", func(d *dicomio.DataSet) { pixels(d, 5) }, ""},
	}
	for _, c := range cases {
		if got := echoOf(t, 4, c.edit).Volume; (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q", c.name, got)
		}
	}
}

func TestFrameTimes(t *testing.T) {
	cases := []struct {
		name   string
		edit   func(d *dicomio.DataSet)
		want   []float64
		source string
		warn   string
	}{
		{"frame time", func(d *dicomio.DataSet) { d.SetFloat(tag.FrameTime, 20) }, []float64{0, 20, 40, 60}, "FrameTime", ""},
		{"vector by pointer", func(d *dicomio.DataSet) {
			d.SetTags(tag.FrameIncrementPointer, tag.FrameTimeVector).SetFloat(tag.FrameTimeVector, 0, 20, 40, 20).SetFloat(tag.FrameTime, 26)
		}, []float64{0, 20, 60, 80}, "FrameTimeVector", ""},
		{"vector whose first is not 0", func(d *dicomio.DataSet) { d.SetFloat(tag.FrameTimeVector, 40, 20, 40, 20) }, []float64{0, 20, 60, 80}, "FrameTimeVector", ""},
		{"short vector", func(d *dicomio.DataSet) {
			d.SetTags(tag.FrameIncrementPointer, tag.FrameTimeVector).SetFloat(tag.FrameTimeVector, 0, 20).SetInt(tag.CineRate, 50)
		}, []float64{0, 20, 40, 60}, "CineRate", "2 increments for 4 frames"},
		{"vector of times", func(d *dicomio.DataSet) {
			d.SetTags(tag.FrameIncrementPointer, tag.FrameTimeVector).SetFloat(tag.FrameTimeVector, 0, 20, 40, 60).SetFloat(tag.FrameTime, 20)
		}, []float64{0, 20, 40, 60}, "FrameTime", "no increments"},
		{"vector of times alone", func(d *dicomio.DataSet) { d.SetFloat(tag.FrameTimeVector, 20, 40, 61, 80) }, nil, "", "no increments"},
		{"vector that slows down", func(d *dicomio.DataSet) { d.SetFloat(tag.FrameTimeVector, 0, 20, 22, 24) }, []float64{0, 20, 42, 66}, "FrameTimeVector", ""},
		{"vector without the first", func(d *dicomio.DataSet) { d.SetInt(tag.NumberOfFrames, 4).SetFloat(tag.FrameTimeVector, 20, 40, 21) },
			[]float64{0, 20, 60, 81}, "FrameTimeVector", "3 increments for 4 frames"},
		{"vector without the last", func(d *dicomio.DataSet) { d.SetInt(tag.NumberOfFrames, 4).SetFloat(tag.FrameTimeVector, 0, 40, 21) },
			nil, "", "3 increments for 4 frames"},
		{"even vector without the last", func(d *dicomio.DataSet) { d.SetInt(tag.NumberOfFrames, 4).SetFloat(tag.FrameTimeVector, 0, 40, 40) },
			[]float64{0, 40, 80, 120}, "FrameTimeVector", "the last one is taken for left out"},
		{"a step that no cine has", func(d *dicomio.DataSet) { d.SetFloat(tag.FrameTime, 40000) }, nil, "", "FrameTime says 40000 ms"},
		{"vector with 0", func(d *dicomio.DataSet) { d.SetFloat(tag.FrameTimeVector, 0, 20, 0, 20) }, nil, "", "increment 3 is 0"},
		{"cine rate", func(d *dicomio.DataSet) { d.SetInt(tag.CineRate, 50) }, []float64{0, 20, 40, 60}, "CineRate", ""},
		{"zero frame time", func(d *dicomio.DataSet) { d.SetFloat(tag.FrameTime, 0).SetInt(tag.CineRate, 50) }, []float64{0, 20, 40, 60}, "CineRate", ""},
		{"actual duration", func(d *dicomio.DataSet) { d.SetInt(tag.ActualFrameDuration, 20) }, []float64{0, 20, 40, 60}, "ActualFrameDuration", ""},
		{"effective duration", func(d *dicomio.DataSet) { d.SetFloat(tag.EffectiveDuration, 0.08) }, []float64{0, 20, 40, 60}, "EffectiveDuration", ""},
		{"display rate", func(d *dicomio.DataSet) { d.SetInt(tag.RecommendedDisplayFrameRate, 50) }, []float64{0, 20, 40, 60}, "RecommendedDisplayFrameRate", "alone tells the time"},
		{"display rate beside the time", func(d *dicomio.DataSet) { d.SetFloat(tag.FrameTime, 20).SetInt(tag.RecommendedDisplayFrameRate, 50) }, []float64{0, 20, 40, 60}, "FrameTime", ""},
		{"frame time in seconds", func(d *dicomio.DataSet) { d.SetFloat(tag.FrameTime, 0.02).SetInt(tag.CineRate, 50) }, []float64{0, 20, 40, 60}, "CineRate", "FrameTime says 0.02 ms per frame, which no cine has"},
		{"frame time in seconds alone", func(d *dicomio.DataSet) { d.SetFloat(tag.FrameTime, 0.02) }, nil, "", "which no cine has"},
		{"vector in seconds", func(d *dicomio.DataSet) {
			d.SetFloat(tag.FrameTimeVector, 0, 0.02, 0.02, 0.02).SetInt(tag.CineRate, 50)
		}, []float64{0, 20, 40, 60}, "CineRate", "which no cine has"},
		{"absurd frame time", func(d *dicomio.DataSet) { d.SetFloat(tag.FrameTime, 20000).SetInt(tag.CineRate, 50) }, []float64{0, 20, 40, 60}, "CineRate", "which no cine has"},
		{"vector against frame time", func(d *dicomio.DataSet) {
			d.SetTags(tag.FrameIncrementPointer, tag.FrameTimeVector).SetFloat(tag.FrameTimeVector, 0, 20, 20, 20).SetFloat(tag.FrameTime, 40)
		}, []float64{0, 20, 40, 60}, "FrameTimeVector", "FrameTime 40"},
		{"sources differ", func(d *dicomio.DataSet) { d.SetFloat(tag.FrameTime, 20).SetInt(tag.CineRate, 25) }, []float64{0, 20, 40, 60}, "FrameTime", "CineRate 40"},
		{"nothing", func(d *dicomio.DataSet) {}, nil, "", ""},
		{"garbage", func(d *dicomio.DataSet) { d.SetBytes(tag.FrameTime, "DS", []byte("fast")) }, nil, "", `FrameTime is no number ("fast")`},
		{"decimal comma", func(d *dicomio.DataSet) { d.SetBytes(tag.FrameTime, "DS", []byte("33,33")).SetInt(tag.CineRate, 50) },
			[]float64{0, 20, 40, 60}, "CineRate", `FrameTime is no number ("33,33")`},
	}
	for _, c := range cases {
		e := echoOf(t, 4, c.edit)
		if len(e.FrameTimes) != len(c.want) || e.FrameTimeSource != c.source || !strings.Contains(e.TimingWarning, c.warn) ||
			(c.warn == "") != (e.TimingWarning == "") {
			t.Errorf("%s: %v from %q, warning %q", c.name, e.FrameTimes, e.FrameTimeSource, e.TimingWarning)
			continue
		}
		if d := doubts(e, DoubtFrameTimes); d != e.TimingWarning {
			t.Errorf("%s: doubt %q, warning %q", c.name, d, e.TimingWarning)
		}
		for i := range c.want {
			if math.Abs(e.FrameTimes[i]-c.want[i]) > 1e-9 {
				t.Errorf("%s: %v, want %v", c.name, e.FrameTimes, c.want)
			}
		}
	}
}

func TestHeartCycle(t *testing.T) {
	e := echoOf(t, 4, func(d *dicomio.DataSet) { d.SetFloat(tag.RWaveTimeVector, 100, 900, 1700).SetInt(tag.HeartRate, 60) })
	if math.Abs(e.HeartRate-75) > 1e-9 || len(e.RWaveTimes) != 3 || e.HeartRateSource != "RWaveTimeVector" {
		t.Errorf("R waves: %v from %s", e.HeartRate, e.HeartRateSource)
	}
	if d := doubts(e, DoubtHeartRate); !strings.Contains(d, "R waves say 75") || !strings.Contains(d, "Heart Rate 60") {
		t.Errorf("R waves against Heart Rate: %q", d)
	}
	if e = echoOf(t, 4, func(d *dicomio.DataSet) { d.SetFloat(tag.RWaveTimeVector, 100, 900, 1700).SetInt(tag.HeartRate, 72) }); len(e.Doubts) > 0 {
		t.Errorf("rates that agree: %v", e.Doubts)
	}
	e = echoOf(t, 4, func(d *dicomio.DataSet) { d.SetFloat(tag.RWaveTimeVector, 100).SetInt(tag.HeartRate, 60) })
	if e.HeartRate != 60 || len(e.RWaveTimes) != 1 {
		t.Errorf("one R wave: %v, %v", e.HeartRate, e.RWaveTimes)
	}
	e = echoOf(t, 4, func(d *dicomio.DataSet) { d.SetFloat(tag.RWaveTimeVector, 900, 100).SetInt(tag.HeartRate, 600) })
	if e.HeartRate != 0 || e.RWaveTimes != nil {
		t.Errorf("nonsense: %v, %v", e.HeartRate, e.RWaveTimes)
	}
	text := echoOf(t, 4, func(d *dicomio.DataSet) { d.SetBytes(tag.HeartRate, "IS", []byte("70 bpm")) })
	if d := doubts(text, DoubtNotUsed); !strings.Contains(d, `no number ("70 bpm")`) {
		t.Errorf("a rate with its unit: %q", d)
	}
	if d := doubts(e, DoubtNotUsed); !strings.Contains(d, "Heart Rate of 600") || !strings.Contains(d, "R Wave Time Vector") {
		t.Errorf("nonsense is not named: %q", d)
	}
	if e = echoOf(t, 4, func(d *dicomio.DataSet) { d.SetInt(tag.HeartRate, 0) }); e.HeartRate != 0 || len(e.Doubts) > 0 {
		t.Errorf("a rate of 0 is none: %v, %v", e.HeartRate, e.Doubts)
	}
}

func TestModes(t *testing.T) {
	sector := image.Rect(0, 0, 100, 100)
	e := echoOf(t, 1, func(d *dicomio.DataSet) { d.SetInt(tag.UltrasoundColorDataPresent, 1) })
	if e.HasColour || !e.ColourFlag {
		t.Error("the flag that plain B-mode has too must not mean colour")
	}
	e = echoOf(t, 1, func(d *dicomio.DataSet) { d.SetString(tag.ImageType, "ORIGINAL", "PRIMARY", "TTE", "0011") })
	if !e.HasColour || e.HasMMode || e.HasSpectral {
		t.Errorf("image type 0011: %+v", e)
	}
	e = echoOf(t, 1, func(d *dicomio.DataSet) { d.SetString(tag.ImageType, "ORIGINAL", "PRIMARY", "TTE", "000A") })
	if e.HasColour || !e.HasMMode || !e.HasSpectral {
		t.Errorf("image type 000A: %+v", e)
	}
	e = echoOf(t, 1, func(d *dicomio.DataSet) {
		d.SetItems(tag.SequenceOfUltrasoundRegions, region(3, 3, 4, sector, 1, 1), region(4, 0xA, 4, sector, 1, 1), region(1, 2, 3, sector, 1, 1))
	})
	if !e.HasColour || !e.HasSpectral || !e.HasECG || e.HasMMode {
		t.Errorf("regions: %+v", e)
	}
}

// The SonoSite loop whose pixels were halved without its regions.
func TestResampledLoopIsNotTrusted(t *testing.T) {
	root := os.Getenv("ECHO_DATA")
	if root == "" {
		t.Skip("ECHO_DATA is not set: the corpus of DICOM files is not here")
	}
	var path string
	if err := filepath.WalkDir(filepath.Join(root, "dicom-corpus"), func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == "examples_ybr_color.dcm" {
			path = p
			return fs.SkipAll
		}
		return err
	}); err != nil || path == "" {
		t.Fatalf("examples_ybr_color.dcm is not in the corpus: %v", err)
	}
	f, err := dicomio.Open(path, dicomio.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	e, err := Read(f)
	if err != nil || e.Calibration.Trusted || !strings.Contains(e.Calibration.Reason, "resampled") {
		t.Errorf("%+v, %v", e.Calibration, err)
	}
	if e.Frames != 30 || len(e.FrameTimes) != 30 {
		t.Errorf("%d frames, %d times", e.Frames, len(e.FrameTimes))
	}
}

// The region's scale counts, and it is said where the object's own attributes
// contradict it by more than a tenth.
func TestContradictingScale(t *testing.T) {
	sector := image.Rect(100, 50, 700, 550)
	for name, c := range map[string]struct {
		edit func(d *dicomio.DataSet)
		want string // part of the doubt
	}{
		"nothing else":             {func(*dicomio.DataSet) {}, ""},
		"the same spacing":         {func(d *dicomio.DataSet) { d.SetFloat(tag.PixelSpacing, 0.363, 0.363) }, ""},
		"rounded":                  {func(d *dicomio.DataSet) { d.SetFloat(tag.PixelSpacing, 0.39, 0.34) }, ""},
		"another spacing":          {func(d *dicomio.DataSet) { d.SetFloat(tag.PixelSpacing, 0.5, 0.5) }, "0.363 x 0.363 mm per pixel, Pixel Spacing 0.5 x 0.5"},
		"another spacing, smaller": {func(d *dicomio.DataSet) { d.SetFloat(tag.PixelSpacing, 0.32, 0.32) }, "Pixel Spacing 0.32 x 0.32"},
		"another height":           {func(d *dicomio.DataSet) { d.SetFloat(tag.PixelSpacing, 0.5, 0.363) }, "Pixel Spacing 0.363 x 0.5"},
		"no spacing":               {func(d *dicomio.DataSet) { d.SetFloat(tag.PixelSpacing, 0, 0) }, ""},
		"square":                   {func(d *dicomio.DataSet) { d.SetInt(tag.PixelAspectRatio, 1, 1) }, ""},
		"another shape":            {func(d *dicomio.DataSet) { d.SetInt(tag.PixelAspectRatio, 2, 1) }, "Pixel Aspect Ratio says 0.5"},
		"no shape":                 {func(d *dicomio.DataSet) { d.SetInt(tag.PixelAspectRatio, 0, 1) }, ""},
	} {
		e := echoOf(t, 1, func(d *dicomio.DataSet) {
			d.SetItems(tag.SequenceOfUltrasoundRegions, region(1, 1, 3, sector, 0.0363, 0.0363))
			c.edit(d)
		})
		got := doubts(e, DoubtScale)
		if !strings.Contains(got, c.want) || (got == "") != (c.want == "") || !e.Calibration.Trusted || math.Abs(e.Calibration.MMPerPixelX-0.363) > 1e-9 {
			t.Errorf("%s: %q, %+v", name, got, e.Calibration)
		}
	}
}

// TestFrameCount: what the pixel data hold counts, and a difference is said.
func TestFrameCount(t *testing.T) {
	d := dicomio.NewDataSet().SetString(tag.Modality, "US").SetInt(tag.NumberOfFrames, 6).SetInt(tag.Rows, 600).SetInt(tag.Columns, 800).
		SetFloat(tag.FrameTime, 20)
	for n, want := range map[int]string{6: "", 5: "Number of Frames says 6, the pixel data hold 5 frames: all of them are used"} {
		e, err := ReadFrames(&dicomio.File{DataSet: d}, n)
		if err != nil || e.Frames != n || len(e.FrameTimes) != n || doubts(e, DoubtFrameCount) != want {
			t.Errorf("%d: %d frames, %d times, %v, %v", n, e.Frames, len(e.FrameTimes), e.Doubts, err)
		}
	}
}

// Gray that is called dark by one attribute and bright by another is remarked on.
func TestInverseDoubt(t *testing.T) {
	for _, c := range []struct {
		photometric, shape string
		want               bool
	}{
		{"MONOCHROME2", "INVERSE", true},
		{"MONOCHROME2", "IDENTITY", false},
		{"MONOCHROME1", "INVERSE", false},
		{"RGB", "INVERSE", false},
	} {
		d := dicomio.NewDataSet().SetString(tag.PhotometricInterpretation, c.photometric).SetString(tag.PresentationLUTShape, c.shape)
		e, err := Read(&dicomio.File{DataSet: d})
		if got := doubts(e, DoubtInverse); err != nil || (got != "") != c.want {
			t.Errorf("%s, %s: %q, %v", c.photometric, c.shape, got, err)
		}
	}
}

// That the delimiter of the pixel data is missing is said, and nothing else.
func TestDelimiterDoubt(t *testing.T) {
	var stream, b bytes.Buffer
	if err := jpeg.Encode(&stream, image.NewGray(image.Rect(0, 0, 32, 24)), nil); err != nil {
		t.Fatal(err)
	}
	d := dicomio.NewDataSet().SetString(tag.SOPClassUID, uid.UltrasoundMultiFrameImageStorage).SetString(tag.SOPInstanceUID, "1.2.3").
		SetInt(tag.NumberOfFrames, 2).SetInt(tag.Rows, 24).SetInt(tag.Columns, 32).SetFloat(tag.FrameTime, 20)
	o := dicomio.WriteOptions{TransferSyntax: uid.JPEGBaseline8Bit, Pixels: dicomio.FrameBytes([][]byte{stream.Bytes(), stream.Bytes()})}
	if err := dicomio.Write(&b, d, o); err != nil {
		t.Fatal(err)
	}
	for cut, want := range map[int]string{0: "", 8: "the mark that ends the pixel data is missing: all 2 frames are there"} {
		f, err := dicomio.Read(bytes.NewReader(b.Bytes()), int64(b.Len()-cut), dicomio.Options{})
		if err != nil {
			t.Fatal(err)
		}
		e, err := ReadFrames(f, 2)
		if got := doubts(e, DoubtDelimiter); err != nil || got != want || len(e.FrameTimes) != 2 {
			t.Errorf("%d bytes cut: %q, %v", cut, got, err)
		}
	}
}

// FuzzRead: whatever a data set says of regions, times and beats, reading it
// ends with facts or with a typed error.
func FuzzRead(f *testing.F) {
	for _, d := range []*dicomio.DataSet{
		dicomio.NewDataSet().SetString(tag.Modality, "US").SetInt(tag.NumberOfFrames, 30).SetInt(tag.Rows, 600).SetInt(tag.Columns, 800).
			SetFloat(tag.FrameTime, 33.3).
			SetItems(tag.SequenceOfUltrasoundRegions, region(1, 1, 3, image.Rect(100, 50, 700, 550), 0.03, 0.03)),
		dicomio.NewDataSet().SetInt(tag.NumberOfFrames, 3).SetFloat(tag.FrameTimeVector, 0, 20, 20).SetFloat(tag.RWaveTimeVector, 5, 900).SetInt(tag.HeartRate, 67),
	} {
		d.SetString(tag.SOPClassUID, uid.UltrasoundMultiFrameImageStorage).SetString(tag.SOPInstanceUID, "1.2.3")
		var b bytes.Buffer
		if err := dicomio.Write(&b, d, dicomio.WriteOptions{Bare: true}); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := dicomio.Read(bytes.NewReader(b), int64(len(b)), dicomio.Options{TransferSyntax: uid.ExplicitVRLittleEndian})
		if err != nil {
			return
		}
		e, err := Read(file)
		if err != nil && !errors.Is(err, dicomio.ErrLimit) && !errors.Is(err, dicomio.ErrValue) {
			t.Fatal(err)
		}
		if err == nil && len(e.FrameTimes) != 0 && len(e.FrameTimes) != e.Frames {
			t.Fatalf("%d times for %d frames", len(e.FrameTimes), e.Frames)
		}
	})
}

// fill colours all pixels of a picture.
func fill(img *image.RGBA, colour func(x, y int) (r, g, b float64)) {
	for y := img.Rect.Min.Y; y < img.Rect.Max.Y; y++ {
		for x := img.Rect.Min.X; x < img.Rect.Max.X; x++ {
			r, g, b := colour(x, y)
			p := img.Pix[img.PixOffset(x, y):]
			for c, v := range []float64{r, g, b} {
				p[c] = uint8(min(max(v, 0), 255))
			}
			p[3] = 255
		}
	}
}

// Grey tissue is a ramp of all levels; a tint gives each level one colour,
// flow has hues of its own at levels that tissue has too.
func TestColourFraction(t *testing.T) {
	img := image.NewRGBA(image.Rect(0, 0, 256, 100))
	tints := map[string][3]float64{"gray": {1, 1, 1}, "weak": {1, 0.93, 0.82}, "sepia": {1, 0.84, 0.62}, "amber": {1, 0.78, 0.5},
		"orange": {1, 0.75, 0.45}, "blue": {0.55, 0.75, 1}, "green": {0.5, 1, 0.6}}
	flow := map[string]func(y int) (r, g, b float64){
		"red":          func(int) (r, g, b float64) { return 200, 40, 30 },
		"blue":         func(int) (r, g, b float64) { return 30, 60, 220 },
		"red and blue": func(y int) (r, g, b float64) { return float64(200 * (y % 2)), 40, float64(220 * (1 - y%2)) },
	}
	for name, k := range tints {
		for _, gain := range []float64{1, 1.5} {
			tissue := func(x, _ int) (r, g, b float64) {
				v := float64(x) * gain
				return v * k[0], v * k[1], v * k[2]
			}
			fill(img, tissue)
			if f := ColourFraction(img, img.Rect); f > ColourThreshold/2 {
				t.Errorf("%s map, gain %v: %.4f of a B-mode picture are taken for colour", name, gain, f)
			}
			for hue, c := range flow {
				fill(img, func(x, y int) (r, g, b float64) {
					if x >= 60 && x < 110 && y >= 40 && y < 60 { // 4 % of the picture
						return c(y)
					}
					return tissue(x, y)
				})
				if f := ColourFraction(img, img.Rect); f < 0.03 || f > 0.05 {
					t.Errorf("%s map, gain %v, %s flow: %.4f, want about 0.04", name, gain, hue, f)
				}
			}
		}
	}
	// Colour alone on black, without a grey pixel: tissue Doppler of both signs.
	fill(img, func(x, y int) (r, g, b float64) {
		switch {
		case y < 50:
			return 0, 0, 0
		case x%2 == 0:
			return 220, 60, 20
		}
		return 20, 60, 220
	})
	if f := ColourFraction(img, img.Rect); f < ColourThreshold {
		t.Errorf("tissue Doppler: %.4f", f)
	}
}

// Real loops whose grey pixels are tinted as devices do it: B-mode stays B-mode,
// colour flow on a tinted map stays colour. Of the 39, these are the closest.
func TestColourFractionOfTintedLoops(t *testing.T) {
	dir := goDicom(t)
	for name, colour := range map[string]bool{
		"I_000010.dcm": false, "I_000024.dcm": false, "I_000031.dcm": false,
		"I_000006.dcm": true, "I_000032.dcm": true, "I_000037.dcm": true,
	} {
		f, err := dicomio.Open(filepath.Join(dir, name), dicomio.Options{})
		if err != nil {
			t.Fatal(err)
		}
		e, err := Read(f)
		if err != nil {
			t.Fatal(err)
		}
		frames, err := f.Frames()
		if err != nil {
			t.Fatal(err)
		}
		var img image.RGBA
		for tint, k := range map[string][3]float64{"none": {1, 1, 1}, "amber": {1, .78, .5}, "bright amber": {1.5, 1.17, .75}, "blue": {.55, .75, 1}} {
			most := 0.0
			for _, i := range []int{0, frames.Len() / 2, frames.Len() - 1} {
				if err := frames.RGB(i, &img); err != nil {
					t.Fatal(err)
				}
				fill(&img, func(x, y int) (r, g, b float64) {
					p := img.Pix[img.PixOffset(x, y):]
					if max(p[0], p[1], p[2])-min(p[0], p[1], p[2]) > 40 {
						return float64(p[0]), float64(p[1]), float64(p[2]) // flow and graphics keep their colour
					}
					return float64(p[0]) * k[0], float64(p[1]) * k[1], float64(p[2]) * k[2]
				})
				most = max(most, ColourFraction(&img, e.Tissue.Rect))
			}
			if (most > ColourThreshold) != colour {
				t.Errorf("%s, tint %s: %.4f, colour %v", name, tint, most, colour)
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A region of a few pixels is no picture: the whole screen is, without units.
func TestTinyRegion(t *testing.T) {
	region := func(x1, y1 int64, units int64) *dicomio.DataSet {
		r := dicomio.NewDataSet()
		r.SetInt(tag.RegionSpatialFormat, 1).SetInt(tag.RegionDataType, 1).SetInt(tag.RegionFlags, 0)
		r.SetInt(tag.RegionLocationMinX0, 0).SetInt(tag.RegionLocationMinY0, 0).SetInt(tag.RegionLocationMaxX1, x1).SetInt(tag.RegionLocationMaxY1, y1)
		r.SetInt(tag.PhysicalUnitsXDirection, units).SetInt(tag.PhysicalUnitsYDirection, units).SetFloat(tag.PhysicalDeltaX, 0.05).SetFloat(tag.PhysicalDeltaY, 0.05)
		return r
	}
	for part, tiny := range map[int64]bool{8: true, 4: true, 2: false} {
		e := echoOf(t, 4, func(d *dicomio.DataSet) {
			w, _ := d.Int(tag.Columns)
			h, _ := d.Int(tag.Rows)
			d.SetItems(tag.SequenceOfUltrasoundRegions, region(w/part, h/part, 3), region(w-1, h-1, 0))
		})
		if e.Tissue == nil || (e.Tissue.Rect.Dx() == e.Columns) != tiny || e.Calibration.Trusted == tiny || len(e.TissueRegions()) != 1 {
			t.Errorf("1/%d: %+v, %+v", part, e.Tissue, e.Calibration)
		}
		if strings.Contains(doubts(e, DoubtRegions), "too small for a picture") != tiny {
			t.Errorf("1/%d: %+v", part, e.Doubts)
		}
	}
}

// Pixel Spacing of exactly one millimetre is what converters write for none.
func TestSpacingOfOne(t *testing.T) {
	for _, tc := range []struct {
		x, y    float64
		trusted bool
	}{{1, 1, false}, {0.9, 0.9, true}, {1, 0.9, true}} {
		e := echoOf(t, 4, func(d *dicomio.DataSet) {
			d.Delete(tag.SequenceOfUltrasoundRegions)
			d.SetFloat(tag.PixelSpacing, tc.y, tc.x)
		})
		if c := e.Calibration; c.Trusted != tc.trusted || c.Source != CalibrationPixelSpacing || (c.Reason == "") != tc.trusted {
			t.Errorf("%g x %g mm: %+v", tc.x, tc.y, c)
		}
	}
}

func TestShort(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "80kg": "80kg", strings.Repeat("é", 64): strings.Repeat("é", 64), strings.Repeat("é", 1<<20): strings.Repeat("é", 64) + "...",
	} {
		if got := Short(text); got != want {
			t.Errorf("%d bytes: %q", len(text), got)
		}
	}
}
