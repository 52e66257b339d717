package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image/gif"
	"log/slog"
	"math"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/instance"
	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/output"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/sr"
)

// brightness is an engine that segments what is bright, so that geometry can
// be followed exactly from source pixels to volumes: the cavity is where the
// input is above 100. The view is told by the test.
type brightness struct {
	view   string
	broken error
	panics bool
	card   models.Card
}

func newBrightness(view string) *brightness {
	return &brightness{view: view, card: models.Card{
		Contract: 1, Name: "brightness", Version: "1", Input: models.CardInput{Width: 224, Height: 224, Channels: 1},
		Classes:   []string{models.ClassLVCavity},
		Keypoints: []string{models.KeypointIVSRight, models.KeypointIVSLeft, models.KeypointPWInner, models.KeypointPWOuter},
		Views:     []string{models.ViewA4C, models.ViewA2C, models.ViewA3C, models.ViewPLAX, models.ViewPSAX, models.ViewOther},
		SHA256:    "0",
	}}
}

func (b *brightness) Card() models.Card { return b.card }
func (b *brightness) Provider() string  { return "test" }
func (b *brightness) Close() error      { return nil }

func (b *brightness) Infer(_ context.Context, frames []byte, n int, out *models.Output) error {
	if b.broken != nil {
		return b.broken
	}
	if b.panics {
		panic("index out of range")
	}
	side := b.card.Input.Width
	mask, heat := side/models.MaskStride, side/models.HeatmapStride
	out.N, out.MaskWidth, out.MaskHeight, out.HeatWidth, out.HeatHeight = n, mask, mask, heat, heat
	out.Classes, out.Keypoints, out.Views = 1, len(b.card.Keypoints), len(b.card.Views)
	out.Mask = make([]uint8, n*mask*mask)
	out.Heatmaps = make([]float32, n*out.Keypoints*heat*heat)
	out.View = make([]float32, n*out.Views)
	for y := range mask {
		for x := range mask {
			sum := 0
			for _, d := range [][2]int{{0, 0}, {1, 0}, {0, 1}, {1, 1}} {
				sum += int(frames[(2*y+d[1])*side+2*x+d[0]])
			}
			// 0 at grey 0, 255 at grey 200: the border at one half.
			out.Mask[y*mask+x] = uint8(min(255, sum*255/800))
		}
	}
	out.View[b.card.View(b.view)] = 1
	return nil
}

// cine describes a synthetic loop: a bright half ellipse, base down, on black.
type cine struct {
	sop, study      string
	width, height   int
	spacingX        float64 // mm per pixel; 0 for no calibration
	spacingY        float64
	lengthMM        []float64 // of the long axis, per frame
	diameterMM      []float64 // at the base, per frame
	frameTimeMS     float64
	edit            func(*dicomio.DataSet)
	x0, y0, x1, y1  int // of the region; zero for the whole frame
	cutPixels, mark bool
	noPixels        bool
	shift           float64 // of the heart to the right, pixels
	stage, modality string
	beside          *cine // another heart on the same screen, in the region of its own, with its own scale and mark
	screen          bool  // the region is the whole screen, which is black outside of x0 to x1
}

// beats is a curve from a (diastole) to b (systole) and back, n beats of 24
// frames each, beginning in diastole.
func beats(a, b float64, n int) []float64 {
	var v []float64
	for i := range n*24 + 6 {
		v = append(v, b+(a-b)*(0.5+0.5*math.Cos(2*math.Pi*float64(i-3)/24)))
	}
	return v
}

func (c cine) write(t *testing.T, dir string) string {
	t.Helper()
	ds := dicomio.NewDataSet()
	ds.SetString(tag.SOPClassUID, uid.UltrasoundMultiFrameImageStorage)
	ds.SetString(tag.SOPInstanceUID, c.sop)
	ds.SetString(tag.StudyInstanceUID, c.study)
	ds.SetString(tag.SeriesInstanceUID, c.study+".1")
	ds.SetString(tag.PatientName, "Test^Synthetic")
	ds.SetString(tag.PatientID, "T1")
	if c.modality == "" {
		c.modality = "US"
	}
	ds.SetString(tag.Modality, c.modality)
	if c.stage != "" {
		ds.SetString(tag.StageName, c.stage)
	}
	n := len(c.lengthMM)
	ds.SetInt(tag.NumberOfFrames, int64(n))
	ds.SetInt(tag.Rows, int64(c.height))
	ds.SetInt(tag.Columns, int64(c.width))
	ds.SetInt(tag.SamplesPerPixel, 1)
	ds.SetString(tag.PhotometricInterpretation, "MONOCHROME2")
	ds.SetInt(tag.BitsAllocated, 8)
	ds.SetInt(tag.BitsStored, 8)
	ds.SetInt(tag.HighBit, 7)
	ds.SetInt(tag.PixelRepresentation, 0)
	if c.frameTimeMS > 0 {
		ds.SetTags(tag.FrameIncrementPointer, tag.FrameTime)
		ds.SetFloat(tag.FrameTime, c.frameTimeMS)
	}
	if c.x1 == 0 {
		c.x1, c.y1 = c.width, c.height
	}
	sx, sy := c.spacingX, c.spacingY
	if sx == 0 {
		sx, sy = 0.5, 0.5
	} else {
		region := dicomio.NewDataSet()
		region.SetInt(tag.RegionSpatialFormat, 1)
		region.SetInt(tag.RegionDataType, 1)
		x0, y0, x1, y1 := c.x0, c.y0, c.x1, c.y1
		if c.screen {
			x0, y0, x1, y1 = 0, 0, c.width, c.height
		}
		region.SetInt(tag.RegionFlags, 0)
		region.SetInt(tag.RegionLocationMinX0, int64(x0))
		region.SetInt(tag.RegionLocationMinY0, int64(y0))
		region.SetInt(tag.RegionLocationMaxX1, int64(x1-1))
		region.SetInt(tag.RegionLocationMaxY1, int64(y1-1))
		region.SetInt(tag.PhysicalUnitsXDirection, 3)
		region.SetInt(tag.PhysicalUnitsYDirection, 3)
		region.SetFloat(tag.PhysicalDeltaX, c.spacingX/10)
		region.SetFloat(tag.PhysicalDeltaY, c.spacingY/10)
		ds.SetItems(tag.SequenceOfUltrasoundRegions, region)
	}
	if b := c.beside; b != nil {
		ds.SetItems(tag.SequenceOfUltrasoundRegions, append(ds.Items(tag.SequenceOfUltrasoundRegions), b.region())...)
	}
	if c.edit != nil {
		c.edit(ds)
	}
	frames := make([][]byte, n)
	baseY := float64(c.y0) + 0.9*float64(c.y1-c.y0)
	midX := float64(c.x0+c.x1)/2 + c.shift
	for i := range frames {
		frames[i] = halfEllipse(c.width, c.height, midX, baseY, c.diameterMM[i]/2/sx, c.lengthMM[i]/sy)
		for k := range frames[i] {
			if x, y := k%c.width, k/c.width; c.screen && (x < c.x0 || x >= c.x1 || y < c.y0 || y >= c.y1) {
				frames[i][k] = 0
			}
		}
		if c.beside != nil {
			c.beside.drawInto(frames[i], c.width, c.height, i)
		}
		for k := 0; c.mark && k < 144; k++ {
			frames[i][k/12*c.width+k%12] = 60
		}
	}
	path := filepath.Join(dir, c.sop+".dcm")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	o := dicomio.WriteOptions{Pixels: dicomio.FrameBytes(frames)}
	if c.noPixels {
		o.Pixels = nil
	}
	if err := errors.Join(dicomio.Write(f, ds, o), f.Close()); err != nil {
		t.Fatal(err)
	}
	if c.cutPixels {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, info.Size()*2/3); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// region is the 2D region of a heart that shares its screen.
func (c cine) region() *dicomio.DataSet {
	r := dicomio.NewDataSet()
	for t, v := range map[dicomio.Tag]int{tag.RegionSpatialFormat: 1, tag.RegionDataType: 1, tag.RegionFlags: 0, tag.RegionLocationMinX0: c.x0,
		tag.RegionLocationMinY0: c.y0, tag.RegionLocationMaxX1: c.x1 - 1, tag.RegionLocationMaxY1: c.y1 - 1, tag.PhysicalUnitsXDirection: 3,
		tag.PhysicalUnitsYDirection: 3} {
		r.SetInt(t, int64(v))
	}
	r.SetFloat(tag.PhysicalDeltaX, c.spacingX/10)
	r.SetFloat(tag.PhysicalDeltaY, c.spacingY/10)
	return r
}

// drawInto draws frame i of the heart into its region of a screen.
func (c cine) drawInto(screen []byte, width, height, i int) {
	pix := halfEllipse(width, height, float64(c.x0+c.x1)/2+c.shift, float64(c.y0)+0.9*float64(c.y1-c.y0), c.diameterMM[i]/2/c.spacingX, c.lengthMM[i]/c.spacingY)
	for y := c.y0; y < c.y1; y++ {
		copy(screen[y*width+c.x0:y*width+c.x1], pix[y*width+c.x0:])
		if c.mark && y < c.y0+12 {
			for x := c.x0; x < c.x0+12; x++ {
				screen[y*width+x] = 60
			}
		}
	}
}

// tissue is the gray level around the cavity: the sector's picture, which the
// network does not take for a cavity.
const tissue = 12

// halfEllipse is bright (200) where the pixel lies above the base and inside
// the ellipse with half axes rx and ry, with coverage at the border.
func halfEllipse(w, h int, cx, base, rx, ry float64) []byte {
	const sub = 4
	pix := bytes.Repeat([]byte{tissue}, w*h)
	margin := 1.5 / min(rx, ry)
	for y := range h {
		for x := range w {
			u, v := (float64(x)-cx)/rx, (base-float64(y))/ry
			if r := math.Hypot(u, v); r > 1+margin || v < -margin {
				continue
			} else if r < 1-margin && v > margin {
				pix[y*w+x] = 200
				continue
			}
			n := 0
			for sy := range sub {
				for sx := range sub {
					px := float64(x) - 0.5 + (float64(sx)+0.5)/sub
					py := float64(y) - 0.5 + (float64(sy)+0.5)/sub
					if u, v := (px-cx)/rx, (base-py)/ry; v >= 0 && u*u+v*v <= 1 {
						n++
					}
				}
			}
			pix[y*w+x] = byte(tissue + (200-tissue)*n/(sub*sub))
		}
	}
	return pix
}

func analyzer(e models.Engine) *Analyzer {
	return NewAnalyzer(e, Options{Software: result.Software{Name: "EchoNode", Version: "test"}, LV: lv.DefaultOptions()}, slog.New(slog.DiscardHandler))
}

func analyse(t *testing.T, e models.Engine, paths ...string) *Study {
	t.Helper()
	s, err := analyzer(e).Analyze(context.Background(), paths, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// write makes the outputs from the result and its files alone.
func write(s *Study, dir string, o output.Options) (err error) {
	s.Outputs, err = output.Write(context.Background(), &s.Study, output.FilesOf(&s.Study, dicomio.Limits{}), dir, o)
	return err
}

func value(t *testing.T, ms []result.Measurement, name string) float64 {
	t.Helper()
	i := slices.IndexFunc(ms, func(m result.Measurement) bool { return m.Name == name })
	if i < 0 {
		t.Fatalf("no measurement %s", name)
	}
	if ms[i].Value == nil {
		t.Fatalf("%s was not measured: %v", name, ms[i].Reason)
	}
	return *ms[i].Value
}

func reason(t *testing.T, ms []result.Measurement, name string) string {
	t.Helper()
	i := slices.IndexFunc(ms, func(m result.Measurement) bool { return m.Name == name })
	if i < 0 || ms[i].Value != nil {
		t.Fatalf("%s was measured", name)
	}
	return ms[i].Reason.Code
}

// The volume of half an ellipsoid of revolution with base diameter D and
// length L is pi/6*D^2*L: 117.8 ml and 48.1 ml here, EF 59.2 % (clinical.md
// 2.1 has the same numbers). Whatever way the pixels take (scaling, padding,
// region, aspect ratio), the volumes have to come out.
func TestVolumesSurviveTheGeometry(t *testing.T) {
	for name, c := range map[string]cine{
		"square pixels":        {width: 400, height: 300, spacingX: 0.5, spacingY: 0.5},
		"tall frame":           {width: 260, height: 500, spacingX: 0.4, spacingY: 0.4},
		"non-square pixels":    {width: 440, height: 300, spacingX: 0.35, spacingY: 0.5},
		"region in a corner":   {width: 800, height: 600, spacingX: 0.4, spacingY: 0.4, x0: 250, y0: 40, x1: 700, y1: 480},
		"small frame":          {width: 180, height: 150, spacingX: 1, spacingY: 1},
		"large frame, fine":    {width: 1024, height: 768, spacingX: 0.2, spacingY: 0.2},
		"negative delta in x":  {width: 400, height: 300, spacingX: -0.5, spacingY: 0.5},
		"uneven aspect, small": {width: 200, height: 260, spacingX: 0.8, spacingY: 0.5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.sop, c.study, c.frameTimeMS = "1.2.3.1", "1.2.3", 35
			c.lengthMM, c.diameterMM = beats(90, 75, 2), beats(50, 35, 2)
			if c.spacingX < 0 { // as Acuson writes it
				delta := c.spacingX / 10
				c.spacingX = -c.spacingX
				c.edit = func(ds *dicomio.DataSet) {
					ds.Items(tag.SequenceOfUltrasoundRegions)[0].SetFloat(tag.PhysicalDeltaX, delta)
				}
			}
			s := analyse(t, newBrightness(models.ViewA4C), c.write(t, t.TempDir()))
			l := s.Loops[0]
			if l.Status != result.Analysed {
				t.Fatalf("%s: %v", l.Status, l.Reason)
			}
			if len(l.Beats) != 2 {
				t.Errorf("beats = %v, want two", l.Beats)
			}
			for _, b := range l.Beats {
				if b.ED%24 != 3 || b.ES%24 != 15 {
					t.Errorf("beat %+v, want ED at 3 and ES at 15 of each 24 frames", b)
				}
			}
			for _, want := range []struct {
				name      string
				value, to float64
			}{{result.EDV, 117.81, 3}, {result.ESV, 48.11, 3}, {result.EF, 59.2, 1.2}, {result.LenED, 9, 0.12}, {result.LenES, 7.5, 0.12},
				{result.AreaED, 35.34, 0.6}, {result.SV, 69.7, 3}} {
				if got := value(t, l.Measurements, want.name); math.Abs(got-want.value) > want.to {
					t.Errorf("%s = %.2f, want %.2f within %.2f", want.name, got, want.value, want.to)
				}
			}
		})
	}
}

// The contour is reported in source pixels: its bounds are those of the shape
// that was drawn, half a pixel or so exact.
func TestContourIsInSourcePixels(t *testing.T) {
	c := cine{sop: "1.2.3.1", study: "1.2.3", width: 640, height: 480, spacingX: 0.5, spacingY: 0.5, x0: 100, y0: 50, x1: 540, y1: 450,
		lengthMM: []float64{100}, diameterMM: []float64{80}}
	s := analyse(t, newBrightness(models.ViewA4C), c.write(t, t.TempDir()))
	l := s.Loops[0]
	if l.Status != result.Analysed || reason(t, l.Measurements, result.EF) != result.SingleFrame {
		t.Fatalf("single frame: %s, %v", l.Status, l.Measurements)
	}
	lo, hi := [2]float64{1e9, 1e9}, [2]float64{}
	for _, p := range l.FrameResults[0].Contour {
		for k := range 2 {
			lo[k], hi[k] = min(lo[k], p[k]), max(hi[k], p[k])
		}
	}
	// Centre 320, half width 80 px; base at 50+0.9*400 = 410, apex 200 px above.
	for _, check := range []struct {
		name      string
		got, want float64
	}{{"left", lo[0], 240}, {"right", hi[0], 400}, {"apex", lo[1], 210}, {"base", hi[1], 410}} {
		if math.Abs(check.got-check.want) > 2.0 { // one input pixel is 2 source pixels here
			t.Errorf("%s at %.2f, want %.0f", check.name, check.got, check.want)
		}
	}
	if got, want := l.FrameResults[0].LVAreaPixels, math.Pi/2*80*200; math.Abs(got-want) > 0.015*want {
		t.Errorf("area %.0f px, want %.0f", got, want)
	}
}

func standard(sop string) cine {
	return cine{sop: sop, study: "1.2.3", width: 300, height: 240, spacingX: 0.6, spacingY: 0.6, frameTimeMS: 35,
		lengthMM: beats(90, 75, 1), diameterMM: beats(50, 35, 1)}
}

func TestReasons(t *testing.T) {
	with := func(edit func(*cine)) cine {
		c := standard("1.2.3.1")
		edit(&c)
		return c
	}
	set := func(f func(*dicomio.DataSet)) cine { return with(func(c *cine) { c.edit = f }) }
	region := func(ds *dicomio.DataSet) *dicomio.DataSet { return ds.Items(tag.SequenceOfUltrasoundRegions)[0] }
	for name, tc := range map[string]struct {
		c            cine
		view         string
		status, code string
	}{
		"not ultrasound":    {with(func(c *cine) { c.modality = "XA" }), models.ViewA4C, result.Refused, result.NotUltrasound},
		"M-mode region":     {set(func(ds *dicomio.DataSet) { region(ds).SetInt(tag.RegionSpatialFormat, 2) }), models.ViewA4C, result.Refused, result.MMode},
		"spectral region":   {set(func(ds *dicomio.DataSet) { region(ds).SetInt(tag.RegionSpatialFormat, 3) }), models.ViewA4C, result.Refused, result.SpectralDoppler},
		"colour region":     {set(func(ds *dicomio.DataSet) { region(ds).SetInt(tag.RegionDataType, 2) }), models.ViewA4C, result.Refused, result.ColourDoppler},
		"colour image type": {set(func(ds *dicomio.DataSet) { ds.SetString(tag.ImageType, "ORIGINAL", "PRIMARY", "", "0011") }), models.ViewA4C, result.Refused, result.ColourDoppler},
		"graphics only":     {set(func(ds *dicomio.DataSet) { region(ds).SetInt(tag.RegionSpatialFormat, 5) }), models.ViewA4C, result.Refused, result.NotTwoD},
		"short axis":        {standard("1.2.3.1"), models.ViewPSAX, result.Refused, result.ViewNotMeasured},
		"derived": {with(func(c *cine) {
			c.edit = func(ds *dicomio.DataSet) {
				ds.SetString(tag.SOPClassUID, uid.MultiFrameTrueColorSecondaryCaptureImageStorage)
				ds.SetString(tag.ImageType, "DERIVED", "SECONDARY")
				ds.SetString(tag.DerivationDescription, "Contours by another program")
			}
		}), models.ViewA4C, result.Refused, result.Derived},
		"truncated pixels": {with(func(c *cine) { c.cutPixels = true }), models.ViewA4C, result.Failed, result.Truncated},
		"no pixel data":    {with(func(c *cine) { c.noPixels = true }), models.ViewA4C, result.Refused, result.NoPixels},
		"four-chamber":     {standard("1.2.3.1"), models.ViewA4C, result.Analysed, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := analyse(t, newBrightness(tc.view), tc.c.write(t, t.TempDir()))
			l := s.Loops[0]
			if l.Status != tc.status {
				t.Fatalf("status %s (%v), want %s", l.Status, l.Reason, tc.status)
			}
			if tc.code != "" && l.Reason.Code != tc.code {
				t.Errorf("reason %s, want %s", l.Reason.Code, tc.code)
			}
			if tc.status != result.Analysed && (l.Reason == nil || l.Reason.Text == "") {
				t.Error("no reason given")
			}
		})
	}
}

func TestMissingFactsLeaveOutOnlyWhatNeedsThem(t *testing.T) {
	dir := t.TempDir()
	plain := standard("1.2.3.1")
	plain.spacingX, plain.spacingY = 0, 0
	l := analyse(t, newBrightness(models.ViewA4C), plain.write(t, dir)).Loops[0]
	if ef := value(t, l.Measurements, result.EF); math.Abs(ef-59.2) > 1.5 {
		t.Errorf("EF without calibration %.1f, want 59.2: it is a ratio", ef)
	}
	for _, name := range []string{result.EDV, result.ESV, result.SV, result.AreaED, result.LenED} {
		if code := reason(t, l.Measurements, name); code != result.NoCalibration {
			t.Errorf("%s without calibration: %s", name, code)
		}
	}
	timeless := standard("1.2.3.2")
	timeless.frameTimeMS = 0
	l = analyse(t, newBrightness(models.ViewA4C), timeless.write(t, dir)).Loops[0]
	if code := reason(t, l.Measurements, result.EF); code != result.NoFrameTimes {
		t.Errorf("EF without frame times: %s", code)
	}
	if len(l.FrameResults) != l.Frames || len(l.FrameResults[0].Contour) == 0 {
		t.Error("contours are missing although they need no times")
	}
	still := standard("1.2.3.3")
	still.diameterMM, still.lengthMM = slices.Repeat([]float64{50}, 30), slices.Repeat([]float64{90}, 30)
	l = analyse(t, newBrightness(models.ViewA4C), still.write(t, dir)).Loops[0]
	if code := reason(t, l.Measurements, result.EF); code != result.NoBeat {
		t.Errorf("EF of a heart that stands still: %s", code)
	}
}

func TestEngineFailureFailsTheRun(t *testing.T) {
	e := newBrightness(models.ViewA4C)
	e.broken = errors.New("device lost")
	_, err := analyzer(e).Analyze(context.Background(), []string{standard("1.2.3.1").write(t, t.TempDir())}, nil)
	if !errors.Is(err, e.broken) {
		t.Errorf("Analyze = %v, want the engine's error: the study is tried again", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := analyzer(newBrightness(models.ViewA4C)).Analyze(ctx, []string{standard("1.2.3.1").write(t, t.TempDir())},
		nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Analyze with a cancelled context = %v", err)
	}
}

func TestPanicFailsOneLoopOnly(t *testing.T) {
	e := newBrightness(models.ViewA4C)
	e.panics = true
	l := analyse(t, e, standard("1.2.3.1").write(t, t.TempDir())).Loops[0]
	if l.Status != result.Failed || !strings.Contains(l.Reason.Text, "index out of range") {
		t.Errorf("status %s, reason %v", l.Status, l.Reason)
	}
}

// twoViews says A2C for frames with a grey mark in their top left corner and
// A4C otherwise, so that a biplane study can be made.
type twoViews struct{ *brightness }

func (e twoViews) Infer(ctx context.Context, frames []byte, n int, out *models.Output) error {
	if err := e.brightness.Infer(ctx, frames, n, out); err != nil {
		return err
	}
	clear(out.View)
	view := models.ViewA4C
	if frames[26*e.card.Input.Width+3] > 30 {
		view = models.ViewA2C
	}
	out.View[e.card.View(view)] = 1
	return nil
}

func TestBiplaneStudyAndItsOutputs(t *testing.T) {
	dir := t.TempDir()
	four := standard("1.2.3.1")
	two := standard("1.2.3.2")
	two.diameterMM, two.mark = beats(58, 41, 1), true
	mmode := standard("1.2.3.3")
	mmode.edit = func(ds *dicomio.DataSet) {
		ds.Items(tag.SequenceOfUltrasoundRegions)[0].SetInt(tag.RegionSpatialFormat, 2)
	}
	paths := []string{four.write(t, dir), two.write(t, dir), mmode.write(t, dir)}
	a := analyzer(twoViews{newBrightness(models.ViewA4C)})
	s, err := a.Analyze(context.Background(), paths, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s.Loops[0].View != models.ViewA4C || s.Loops[1].View != models.ViewA2C {
		t.Fatalf("views %s and %s", s.Loops[0].View, s.Loops[1].View)
	}
	// Half an ellipsoid with different diameters: pi/6*D4*D2*L.
	edv, esv := math.Pi/6*5*5.8*9, math.Pi/6*3.5*4.1*7.5
	for _, want := range []struct {
		name      string
		value, to float64
	}{{result.EDV, edv, 4}, {result.ESV, esv, 3}, {result.EF, 100 * (edv - esv) / edv, 1.5}} {
		if got := value(t, s.Measurements, want.name); math.Abs(got-want.value) > want.to {
			t.Errorf("biplane %s = %.2f, want %.2f", want.name, got, want.value)
		}
	}
	if m := s.Measurements[0]; m.Method != result.Biplane || len(m.Sources) != 4 {
		t.Errorf("EF = %+v, want biplane from four frames", m)
	}

	out := t.TempDir()
	o := output.Options{Report: true, Codeset: sr.SCT, Overlay: "all", JPEGQuality: 90, Pictures: true, Segmentation: true, Station: "ECHONODE", Revision: 1}
	if err := write(s, out, o); err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, o := range s.Outputs {
		kinds[o.Kind]++
	}
	for kind, n := range map[string]int{result.KindReport: 1, result.KindOverlay: 2, result.KindSegmentation: 2, result.KindAnimation: 2, result.KindCurve: 2,
		result.KindStill: 4, result.KindReportHTML: 1, result.KindReportText: 1} {
		if kinds[kind] != n {
			t.Errorf("%d outputs of kind %s, want %d", kinds[kind], kind, n)
		}
	}

	f, err := dicomio.Open(filepath.Join(out, "report.dcm"), dicomio.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	doc, err := sr.Parse(f.DataSet)
	if err != nil {
		t.Fatal(err)
	}
	found := map[sr.Quantity]float64{}
	for _, m := range doc.Measurements() {
		if q, ok := sr.QuantityOf(m.Concept); ok {
			found[q] = m.Value
		}
	}
	if math.Abs(found[sr.EF]-100*(edv-esv)/edv) > 1.6 {
		t.Errorf("EF in the report %.1f", found[sr.EF])
	}
	if all := fmt.Sprint(doc.Comments()); !strings.Contains(all, "M-mode") {
		t.Errorf("the report does not say why the M-mode object was left: %s", all)
	}
	if all := fmt.Sprint(doc.NotMeasured()); !strings.Contains(all, "LVIDd") {
		t.Errorf("the report does not list what was not measured: %s", all)
	}

	cine, err := dicomio.Open(filepath.Join(out, "loop-01-a4c.dcm"), dicomio.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer cine.Close()
	if n, _ := cine.DataSet.Int(tag.NumberOfFrames); int(n) != s.Loops[0].Frames {
		t.Errorf("overlay has %d frames, the loop %d", n, s.Loops[0].Frames)
	}
	if ft, _ := cine.DataSet.Float(tag.FrameTime); ft != 35 {
		t.Errorf("overlay frame time %g, want the loop's 35", ft)
	}
	// The segmentation holds the same area as the contour, frame by frame.
	seg, err := dicomio.Open(filepath.Join(out, "loop-01-a4c-seg.dcm"), dicomio.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer seg.Close()
	frames, err := seg.RawFrames()
	if err != nil {
		t.Fatal(err)
	}
	if frames.Len() != s.Loops[0].Frames {
		t.Fatalf("segmentation has %d frames of one structure, the loop %d", frames.Len(), s.Loops[0].Frames)
	}
	for i := range frames.Len() {
		b, err := frames.Raw(i)
		if err != nil {
			t.Fatal(err)
		}
		set := 0
		for _, v := range b {
			set += bits.OnesCount8(v)
		}
		if want := s.Loops[0].FrameResults[i].LVAreaPixels; math.Abs(float64(set)-want) > 0.01*want {
			t.Errorf("frame %d: %d pixels set, area of the contour %.0f", i, set, want)
		}
	}
	animation, err := os.Open(filepath.Join(out, "loop-01-a4c.gif"))
	if err != nil {
		t.Fatal(err)
	}
	defer animation.Close()
	if g, err := gif.DecodeAll(animation); err != nil || len(g.Image) < s.Loops[0].Frames-1 {
		t.Errorf("animation: %v", err)
	}

	former := instance.RefOf(f.DataSet)
	o.Predecessor, o.Revision = &former, 2
	next := t.TempDir()
	if err := write(s, next, o); err != nil {
		t.Fatal(err)
	}
	f2, err := dicomio.Open(filepath.Join(next, "report.dcm"), dicomio.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer f2.Close()
	if f2.DataSet.String(tag.SOPInstanceUID) == f.DataSet.String(tag.SOPInstanceUID) {
		t.Error("the second revision has the UID of the first")
	}
	if len(f2.DataSet.Items(tag.PredecessorDocumentsSequence)) != 1 {
		t.Error("the second revision does not name its predecessor")
	}
}

func TestStagesAreKeptApart(t *testing.T) {
	dir := t.TempDir()
	rest, peak := standard("1.2.3.1"), standard("1.2.3.2")
	rest.stage, peak.stage = "Baseline", "Peak"
	peak.diameterMM = beats(50, 25, 1)
	s := analyse(t, newBrightness(models.ViewA4C), rest.write(t, dir), peak.write(t, dir))
	ef := map[string]float64{}
	for _, m := range s.Measurements {
		if m.Name == result.EF {
			ef[m.Stage] = *m.Value
		}
	}
	if len(ef) != 2 || math.Abs(ef["Baseline"]-59.2) > 1.5 || math.Abs(ef["Peak"]-79.2) > 1.5 {
		t.Errorf("EF by stage = %v, want 59.2 at rest and 79.2 at peak", ef)
	}
}

func TestStudyWithoutUsableLoop(t *testing.T) {
	dir := t.TempDir()
	c := standard("1.2.3.1")
	a := analyzer(newBrightness(models.ViewOther))
	s, err := a.Analyze(context.Background(), []string{c.write(t, dir)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	if err := write(s, out, output.Options{Report: true, Overlay: "all", JPEGQuality: 90}); err != nil {
		t.Fatal(err)
	}
	f, err := dicomio.Open(filepath.Join(out, "report.dcm"), dicomio.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	doc, err := sr.Parse(f.DataSet)
	if err != nil {
		t.Fatal(err)
	}
	if len(doc.Measurements()) != 0 || !strings.Contains(fmt.Sprint(doc.NotMeasured()), "no loop of the study could be measured") {
		t.Errorf("report: %v / %v", doc.Measurements(), doc.NotMeasured())
	}
	if !slices.Contains(doc.Comments(), "Model: brightness 1") {
		t.Errorf("the report does not name the model: %q", doc.Comments())
	}
}

func TestDocumentRoundTrip(t *testing.T) {
	a := analyzer(newBrightness(models.ViewA4C))
	s, err := a.Analyze(context.Background(), []string{standard("1.2.3.1").write(t, t.TempDir())}, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := a.Document(s).Encode()
	if err != nil {
		t.Fatal(err)
	}
	var back result.Document
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if back.Schema != result.Schema || back.Notice == "" || back.Model.Name != "brightness" || len(back.Studies[0].Loops[0].FrameResults) != 30 {
		t.Errorf("document read back: %+v", back.Model)
	}
}

func TestSpread(t *testing.T) {
	for _, tc := range []struct {
		total, n int
		want     []int
	}{{1, 8, []int{0}}, {3, 8, []int{0, 1, 2}}, {10, 3, []int{0, 5, 9}}, {100, 2, []int{0, 99}}, {0, 8, []int{}}} {
		if got := spread(tc.total, tc.n); !slices.Equal(got, tc.want) {
			t.Errorf("spread(%d, %d) = %v, want %v", tc.total, tc.n, got, tc.want)
		}
	}
}

// A region that does not fit the pixels was written for another size of the
// picture: the whole picture is analysed, and nothing is measured in millimetres.
func TestRegionOfAnotherSize(t *testing.T) {
	c := standard("1.2.3.1")
	c.edit = func(ds *dicomio.DataSet) {
		region := ds.Items(tag.SequenceOfUltrasoundRegions)[0]
		region.SetInt(tag.RegionLocationMinX0, 160)
		region.SetInt(tag.RegionLocationMinY0, 120)
		region.SetInt(tag.RegionLocationMaxX1, 639)
		region.SetInt(tag.RegionLocationMaxY1, 479)
	}
	l := analyse(t, newBrightness(models.ViewA4C), c.write(t, t.TempDir())).Loops[0]
	if ef := value(t, l.Measurements, result.EF); math.Abs(ef-59.2) > 1.5 {
		t.Errorf("EF %.1f, want 59.2 from the whole picture", ef)
	}
	if code := reason(t, l.Measurements, result.EDV); code != result.NoCalibration {
		t.Errorf("EDV: %s", code)
	}
}
