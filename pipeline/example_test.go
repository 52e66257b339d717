package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline"
	"github.com/echonode/echonode/pipeline/lv"
)

// threshold stands for a network: it takes what is bright for the cavity of an
// apical four chamber view. models.Open gives the shipped one.
type threshold struct{}

func (threshold) Card() models.Card {
	return models.Card{
		Contract: 1, Name: "threshold", Version: "1", Input: models.CardInput{Width: 224, Height: 224, Channels: 1},
		Classes: []string{models.ClassLVCavity}, Views: []string{models.ViewA4C, models.ViewOther},
	}
}
func (threshold) Provider() string { return "none" }
func (threshold) Close() error     { return nil }

func (threshold) Infer(_ context.Context, frames []byte, n int, out *models.Output) error {
	const side = 224 / models.MaskStride
	*out = models.Output{N: n, MaskWidth: side, MaskHeight: side, Classes: 1, Views: 2}
	out.Mask, out.View = make([]uint8, n*side*side), slices.Repeat([]float32{1, 0}, n)
	for i := range out.Mask {
		if at := i/side*models.MaskStride*224 + i%side*models.MaskStride; frames[at] > 100 {
			out.Mask[i] = 255
		}
	}
	return nil
}

// beating writes a cine of 54 frames, two beats, of a ventricle that is half an
// ellipsoid: 90 mm long and 50 mm wide in diastole (118 mL), 75 and 35 mm in
// systole (48 mL), at 0.5 mm per pixel.
func beating(path string) (err error) {
	const width, height, frames = 400, 300, 54
	region := dicomio.NewDataSet().
		SetInt(tag.RegionSpatialFormat, 1).SetInt(tag.RegionDataType, 1).SetInt(tag.RegionFlags, 0).
		SetInt(tag.RegionLocationMinX0, 0).SetInt(tag.RegionLocationMinY0, 0).
		SetInt(tag.RegionLocationMaxX1, width-1).SetInt(tag.RegionLocationMaxY1, height-1).
		SetInt(tag.PhysicalUnitsXDirection, 3).SetInt(tag.PhysicalUnitsYDirection, 3). // cm
		SetFloat(tag.PhysicalDeltaX, 0.05).SetFloat(tag.PhysicalDeltaY, 0.05)
	ds := dicomio.NewDataSet().
		SetString(tag.SOPClassUID, uid.UltrasoundMultiFrameImageStorage).SetString(tag.SOPInstanceUID, "2.25.3").
		SetString(tag.StudyInstanceUID, "2.25.1").SetString(tag.SeriesInstanceUID, "2.25.2").SetString(tag.Modality, "US").
		SetInt(tag.NumberOfFrames, frames).SetTags(tag.FrameIncrementPointer, tag.FrameTime).SetFloat(tag.FrameTime, 35).
		SetInt(tag.Rows, height).SetInt(tag.Columns, width).SetInt(tag.SamplesPerPixel, 1).
		SetString(tag.PhotometricInterpretation, "MONOCHROME2").
		SetInt(tag.BitsAllocated, 8).SetInt(tag.BitsStored, 8).SetInt(tag.HighBit, 7).SetInt(tag.PixelRepresentation, 0).
		SetItems(tag.SequenceOfUltrasoundRegions, region)
	picture := func(i int) ([]byte, error) {
		filled := 0.5 + 0.5*math.Cos(2*math.Pi*float64(i-3)/24) // 1 in diastole, 0 in systole
		long, half := (75+15*filled)/0.5, (35+15*filled)/2/0.5
		b := make([]byte, width*height)
		for at := range b {
			b[at] = 12
			if y := 270 - at/width; y >= 0 && math.Hypot(float64(at%width-200)/half, float64(y)/long) <= 1 {
				b[at] = 200
			}
		}
		return b, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return dicomio.Write(f, ds, dicomio.WriteOptions{Pixels: dicomio.FrameFunc(frames, width*height, picture)})
}

// A network looks at the loops of a study, and what it saw is measured. What
// cannot be measured says why.
func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "loop.dcm")
	if err := beating(path); err != nil {
		log.Fatal(err)
	}
	analyzer := pipeline.NewAnalyzer(threshold{}, pipeline.Options{LV: lv.DefaultOptions()}, slog.New(slog.DiscardHandler))
	study, err := analyzer.Analyze(context.Background(), []string{path}, nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, m := range study.Measurements {
		switch {
		case m.Value == nil && m.Name == "IVSd":
			fmt.Printf("%s is not measured: %v\n", m.Name, m.Reason)
		case m.Name == "EDV", m.Name == "ESV", m.Name == "EF":
			fmt.Printf("%s %.0f %s, %s, %d beats\n", m.Name, *m.Value, m.Unit, m.Method, len(m.Beats))
		}
	}
	// Output:
	// EF 58 %, single-plane method of disks, 2 beats
	// EDV 116 ml, single-plane method of disks, 2 beats
	// ESV 48 ml, single-plane method of disks, 2 beats
	// IVSd is not measured: no loop of a view that shows it
}
