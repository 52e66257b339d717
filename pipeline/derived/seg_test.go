package derived

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/pipeline/lv"
)

func circle(cx, cy, r float64) []lv.Point {
	pts := make([]lv.Point, 180)
	for i := range pts {
		s, c := math.Sincos(2 * math.Pi * float64(i) / 180)
		pts[i] = lv.Point{X: cx + r*c, Y: cy + r*s}
	}
	return pts
}

func segmentation() Segmentation {
	src := loop(9)
	src.SetInt(tag.Rows, 47) // odd sizes: frames do not end on byte borders
	src.SetInt(tag.Columns, 63)
	return Segmentation{
		Identity: identity("seg"), Source: src, Frames: 9, Spacing: &[2]float64{0.3, 0.4},
		Segments: []Segment{
			{Cavity, []Region{{7, [][]lv.Point{circle(30, 20, 8)}}, {1, [][]lv.Point{circle(30, 20, 10)}}}},
			{Myocardium, []Region{{1, [][]lv.Point{circle(30, 20, 14), circle(30, 20, 10)}}}},
		},
	}
}

func TestSegmentation(t *testing.T) {
	s := segmentation()
	var b bytes.Buffer
	if _, err := s.Write(&b); err != nil {
		t.Fatal(err)
	}
	f, file := reopen(t, b.Bytes())
	validate(t, file)
	ds := f.DataSet
	// What OHIF needs to open it.
	shared := ds.Item(tag.SharedFunctionalGroupsSequence, 0)
	if m := shared.Item(tag.PixelMeasuresSequence, 0); m == nil || m.String(tag.PixelSpacing) != "0.3" {
		t.Error("no pixel spacing")
	}
	if o, p := shared.Item(tag.PlaneOrientationSequence, 0), shared.Item(tag.PlanePositionSequence, 0); o == nil || p == nil ||
		len(o.Strings(tag.ImageOrientationPatient)) != 6 || len(p.Strings(tag.ImagePositionPatient)) != 3 {
		t.Error("no orientation or position")
	}
	if n, _ := ds.Int(tag.NumberOfFrames); n != 3 {
		t.Fatalf("%d frames", n)
	}
	pixels, err := ds.Bytes(tag.PixelData)
	if err != nil || len(pixels) != (3*47*63+7)/8+(3*47*63+7)/8%2 {
		t.Fatalf("%d bytes of pixels, %v", len(pixels), err)
	}
	// Frames come by segment, then by source frame: LV 1, LV 7, myocardium 1.
	for i, want := range []struct {
		segment, frame int64
		inner, outer   float64
	}{{1, 1, 0, 10}, {1, 7, 0, 8}, {2, 1, 10, 14}} {
		g := ds.Items(tag.PerFrameFunctionalGroupsSequence)[i]
		number, _ := g.Item(tag.SegmentIdentificationSequence, 0).Int(tag.ReferencedSegmentNumber)
		source := g.Item(tag.DerivationImageSequence, 0).Item(tag.SourceImageSequence, 0)
		frame, _ := source.Int(tag.ReferencedFrameNumber)
		if number != want.segment || frame != want.frame || source.String(tag.ReferencedSOPInstanceUID) != "1.2.3.1.1" {
			t.Errorf("frame %d is segment %d of source frame %d", i, number, frame)
		}
		for y := range 47 {
			for x := range 63 {
				k := (i*47+y)*63 + x
				got := pixels[k/8]>>(k%8)&1 == 1
				d := math.Hypot(float64(x)-30, float64(y)-20)
				if math.Abs(d-want.inner) < 0.1 && want.inner > 0 || math.Abs(d-want.outer) < 0.1 {
					continue // on the border of the polygon
				}
				if in := d < want.outer && d >= want.inner; got != in {
					t.Fatalf("frame %d pixel (%d, %d) is %v", i, x, y, got)
				}
			}
		}
	}
}

func TestSegmentationOfStill(t *testing.T) {
	s := segmentation()
	s.Source.Delete(tag.NumberOfFrames)
	s.Source.SetString(tag.SOPClassUID, uid.UltrasoundImageStorage)
	s.Source.SetString(tag.LossyImageCompression, "00")
	s.Segments[0].Regions = s.Segments[0].Regions[1:]
	var b bytes.Buffer
	if _, err := s.Write(&b); err != nil {
		t.Fatal(err)
	}
	f, file := reopen(t, b.Bytes())
	validate(t, file)
	if f.DataSet.String(tag.LossyImageCompression) != "00" {
		t.Error("lossless source became lossy")
	}
}

func TestSegmentationRefuses(t *testing.T) {
	for name, change := range map[string]func(*Segmentation){
		"no source":       func(s *Segmentation) { s.Source = nil },
		"no segments":     func(s *Segmentation) { s.Segments = nil },
		"no regions":      func(s *Segmentation) { s.Segments[1].Regions = nil },
		"frame 0":         func(s *Segmentation) { s.Segments[0].Regions[0].Frame = 0 },
		"frame past end":  func(s *Segmentation) { s.Segments[0].Regions[0].Frame = 10 },
		"frame twice":     func(s *Segmentation) { s.Segments[0].Regions[0].Frame = 1 },
		"structure twice": func(s *Segmentation) { s.Segments[1].Structure = Cavity },
		"structure 9":     func(s *Segmentation) { s.Segments[1].Structure = 9 },
		"no rows":         func(s *Segmentation) { s.Source.Delete(tag.Rows) },
		"no model":        func(s *Segmentation) { s.Identity.Algorithm.Version = "" },
	} {
		s := segmentation()
		change(&s)
		if _, err := s.Write(&bytes.Buffer{}); !errors.Is(err, ErrSegmentation) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A polygon far outside the image must neither fail nor wrap around.
func TestFillClips(t *testing.T) {
	plane := make([]byte, 20)
	fill(plane, 4, 5, [][]lv.Point{{{X: -1e9, Y: -1e9}, {X: 1e9, Y: -1e9}, {X: 1e9, Y: 1e9}, {X: -1e9, Y: 1e9}}, nil, {{X: math.NaN(), Y: 1}}})
	if bytes.Contains(plane, []byte{0}) {
		t.Errorf("plane %v", plane)
	}
	fill(plane, 4, 5, [][]lv.Point{circle(-50, 2, 10)})
	if bytes.Contains(plane, []byte{1}) {
		t.Errorf("plane %v", plane)
	}
}
