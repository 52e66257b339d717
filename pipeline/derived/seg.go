package derived

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/instance"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/pipeline/lv"
)

// ErrSegmentation says that a [Segmentation] cannot be turned into a valid
// object.
var ErrSegmentation = errors.New("invalid segmentation")

// Structure is what a segment shows.
type Structure int

// The structures that can be segmented.
const (
	Cavity Structure = iota
	Myocardium
	Atrium
	SecondCavity // in the other plane of an object that shows two
)

// structures describe segments: label, property type within the category
// Anatomical Structure, and the recommended CIELab colour in DICOM's scaling
// (PS3.3 C.10.7.1.1), that of the overlay.
var structures = map[Structure]struct {
	id, label, code, meaning string
	lab                      [3]int64
}{
	Cavity:     {"LV", "Left ventricular cavity", "87878005", "Left Ventricle", [3]int64{53035, 16382, 43206}},
	Myocardium: {"LVMYO", "Left ventricular myocardium", "49848007", "Myocardium of left ventricle", [3]int64{50329, 39431, 51635}},
	Atrium:     {"LA", "Left atrial cavity", "82471001", "Left atrium", [3]int64{44165, 31518, 19957}},

	SecondCavity: {"LV2", "Left ventricular cavity, second plane", "87878005", "Left Ventricle", [3]int64{53035, 16382, 43206}},
}

// Region is one structure on one frame of the source.
type Region struct {
	// Frame of the source from 1.
	Frame int
	// Rings are closed contours in source pixels; a pixel whose centre lies
	// inside an odd number of them belongs to the structure, so that a second
	// ring makes a hole.
	Rings [][]lv.Point
}

// Segment is a structure over the frames.
type Segment struct {
	Structure Structure
	Regions   []Region
}

// Segmentation is a binary segmentation of a loop (PS3.3 A.51). It has no frame
// of reference, as ultrasound loops have none: every frame names the frame of
// the source that it was derived from, and rows and columns are the source's.
type Segmentation struct {
	Identity Identity
	Source   *dicomio.DataSet
	// Frames is how many the source's pixel data hold, whatever it says of that.
	Frames int
	// Spacing is the size of a pixel in mm, from top to bottom and from left to
	// right; nil when the calibration is not trusted.
	Spacing  *[2]float64
	Segments []Segment
}

// frameOf is one frame of the object: a region of a segment.
type frameOf struct {
	segment int // from 1
	Region
}

// Write writes the object as a Part 10 file in Explicit VR Little Endian and
// returns its SOP Instance UID.
func (s Segmentation) Write(w io.Writer) (string, error) {
	ds, frames, rows, columns, err := s.dataSet()
	if err != nil {
		return "", err
	}
	plane := make([]byte, rows*columns)
	pixels := dicomio.BitFrames(len(frames), rows*columns, func(i int) ([]byte, error) {
		fill(plane, rows, columns, frames[i].Rings)
		return plane, nil
	})
	return write(w, ds, "segmentation", ErrSegmentation, s.Identity, dicomio.WriteOptions{Pixels: pixels})
}

// frames lists the frames of the object, by segment and source frame.
func (s Segmentation) frames() ([]frameOf, error) {
	if s.Source == nil {
		return nil, fmt.Errorf("%w: no source", ErrSegmentation)
	}
	var out []frameOf
	seen := map[Structure]bool{}
	for i, seg := range s.Segments {
		if _, ok := structures[seg.Structure]; !ok || seen[seg.Structure] {
			return nil, fmt.Errorf("%w: structure %d is unknown or comes twice", ErrSegmentation, seg.Structure)
		}
		seen[seg.Structure] = true
		regions := slices.Clone(seg.Regions)
		slices.SortFunc(regions, func(a, b Region) int { return a.Frame - b.Frame })
		for k, r := range regions {
			if r.Frame < 1 || r.Frame > s.Frames || k > 0 && regions[k-1].Frame == r.Frame {
				return nil, fmt.Errorf("%w: frame %d of %d is not there or comes twice", ErrSegmentation, r.Frame, s.Frames)
			}
			out = append(out, frameOf{i + 1, r})
		}
		if len(regions) == 0 {
			return nil, fmt.Errorf("%w: segment without a region", ErrSegmentation)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: no segments", ErrSegmentation)
	}
	return out, nil
}

func (s Segmentation) dataSet() (ds *dicomio.DataSet, frames []frameOf, rows, columns int, err error) {
	fail := func(err error) (*dicomio.DataSet, []frameOf, int, int, error) {
		return nil, nil, 0, 0, fmt.Errorf("%w: %w", ErrSegmentation, err)
	}
	if frames, err = s.frames(); err != nil {
		return nil, nil, 0, 0, err
	}
	r, okR := s.Source.Int(tag.Rows)
	c, okC := s.Source.Int(tag.Columns)
	if !okR || !okC || r < 1 || c < 1 || r > 65535 || c > 65535 {
		return fail(errors.New("source without rows and columns"))
	}
	id := s.Identity
	if id.Equipment.Serial == "" {
		// Enhanced General Equipment wants one; the device's UID is unique.
		id.Equipment.Serial = id.Equipment.UID
	}
	ds, source, err := start(id, s.Source, uid.SegmentationStorage, "SEG", "")
	if err != nil {
		return fail(err)
	}
	ds.SetString(tag.ImageType, "DERIVED", "PRIMARY")
	ds.SetEmpty(tag.PatientOrientation)
	ds.SetString(tag.BodyPartExamined, "HEART")
	ds.SetInt(tag.SamplesPerPixel, 1)
	ds.SetString(tag.PhotometricInterpretation, "MONOCHROME2")
	ds.SetInt(tag.NumberOfFrames, int64(len(frames)))
	ds.SetInt(tag.Rows, r)
	ds.SetInt(tag.Columns, c)
	ds.SetInt(tag.BitsAllocated, 1)
	ds.SetInt(tag.BitsStored, 1)
	ds.SetInt(tag.HighBit, 0)
	ds.SetInt(tag.PixelRepresentation, 0)
	if !instance.CopyLossy(ds, s.Source) {
		ds.SetString(tag.LossyImageCompression, "00")
	}
	ds.SetString(tag.SegmentationType, "BINARY")
	ds.SetString(tag.SegmentsOverlap, "NO")
	ds.SetString(tag.ContentLabel, "LV")
	ds.SetString(tag.ContentDescription, "Automatic left ventricular segmentation")
	ds.SetString(tag.ContentCreatorName, "EchoNode^AI")

	items := make([]*dicomio.DataSet, len(s.Segments))
	for i, seg := range s.Segments {
		items[i] = s.segment(i+1, seg)
	}
	ds.SetItems(tag.SegmentSequence, items...)
	s.dimensions(ds)
	ds.SetItems(tag.SharedFunctionalGroupsSequence, s.shared())
	groups := make([]*dicomio.DataSet, len(frames))
	for i, f := range frames {
		groups[i] = functionalGroups(f, source, s.Frames > 1 && !instance.SingleFrame(source.SOPClassUID))
	}
	ds.SetItems(tag.PerFrameFunctionalGroupsSequence, groups...)
	if err := ds.Err(); err != nil {
		return fail(err)
	}
	return ds, frames, int(r), int(c), nil
}

// shared makes the functional groups of all frames: the size of a pixel, and the
// plane of the picture itself. Ultrasound loops lie nowhere in the patient, and
// so does this; OHIF 3.13 shows a blank page without Pixel Measures and waits
// for ever without an orientation and a position, and highdicom 0.28 wants a
// thickness: all of them are nominal.
func (s Segmentation) shared() *dicomio.DataSet {
	measures := dicomio.NewDataSet()
	if s.Spacing != nil {
		measures.SetString(tag.PixelSpacing, decimal(s.Spacing[0]), decimal(s.Spacing[1]))
	}
	measures.SetString(tag.SliceThickness, "1")
	orientation := dicomio.NewDataSet()
	orientation.SetString(tag.ImageOrientationPatient, "1", "0", "0", "0", "1", "0")
	position := dicomio.NewDataSet()
	position.SetString(tag.ImagePositionPatient, "0", "0", "0")
	ds := dicomio.NewDataSet()
	ds.SetItems(tag.PixelMeasuresSequence, measures)
	ds.SetItems(tag.PlaneOrientationSequence, orientation)
	ds.SetItems(tag.PlanePositionSequence, position)
	return ds
}

// segment makes an item of Segment Sequence (C.8.20.2).
func (s Segmentation) segment(number int, seg Segment) *dicomio.DataSet {
	st := structures[seg.Structure]
	a := s.Identity.Algorithm
	ds := dicomio.NewDataSet()
	ds.SetInt(tag.SegmentNumber, int64(number))
	ds.SetString(tag.SegmentLabel, st.label)
	ds.SetString(tag.SegmentAlgorithmType, "AUTOMATIC")
	ds.SetString(tag.SegmentAlgorithmName, a.Name)
	ds.SetInt(tag.RecommendedDisplayCIELabValue, st.lab[:]...)
	ds.SetString(tag.TrackingID, st.id)
	ds.SetString(tag.TrackingUID, instance.UID("tracking", s.Source.String(tag.StudyInstanceUID), st.id))
	ds.SetItems(tag.SegmentedPropertyCategoryCodeSequence, instance.Code("91723000", "SCT", "Anatomical Structure"))
	ds.SetItems(tag.SegmentedPropertyTypeCodeSequence, instance.Code(st.code, "SCT", st.meaning))
	algorithm := dicomio.NewDataSet()
	algorithm.SetItems(tag.AlgorithmFamilyCodeSequence, instance.Code("123110", "DCM", "Artificial Intelligence"))
	algorithm.SetString(tag.AlgorithmName, a.Name)
	algorithm.SetString(tag.AlgorithmVersion, a.Version)
	ds.SetItems(tag.SegmentationAlgorithmIdentificationSequence, algorithm)
	return ds
}

// dimensions makes the Multi-frame Dimension module (C.7.6.17): segment, then
// place in time.
func (s Segmentation) dimensions(ds *dicomio.DataSet) {
	uid := instance.UID("dimensions", s.Identity.SeriesInstanceUID, s.Source.String(tag.SOPInstanceUID))
	organization := dicomio.NewDataSet()
	organization.SetString(tag.DimensionOrganizationUID, uid)
	ds.SetItems(tag.DimensionOrganizationSequence, organization)
	index := func(pointer, group dicomio.Tag, label string) *dicomio.DataSet {
		d := dicomio.NewDataSet()
		d.SetString(tag.DimensionOrganizationUID, uid)
		d.SetTags(tag.DimensionIndexPointer, pointer)
		d.SetTags(tag.FunctionalGroupPointer, group)
		d.SetString(tag.DimensionDescriptionLabel, label)
		return d
	}
	ds.SetItems(tag.DimensionIndexSequence,
		index(tag.ReferencedSegmentNumber, tag.SegmentIdentificationSequence, "Segment Number"),
		index(tag.TemporalPositionIndex, tag.FrameContentSequence, "Temporal Position Index"))
}

// functionalGroups makes the item of one frame (C.7.6.16.2). The index in time
// is the number of the source frame.
func functionalGroups(f frameOf, source instance.Ref, multiframe bool) *dicomio.DataSet {
	src := source.SOP()
	if multiframe {
		src.SetInt(tag.ReferencedFrameNumber, int64(f.Frame))
	}
	src.SetString(tag.SpatialLocationsPreserved, "YES")
	src.SetItems(tag.PurposeOfReferenceCodeSequence,
		instance.Code("121322", "DCM", "Source image for image processing operation"))
	derivation := dicomio.NewDataSet()
	derivation.SetItems(tag.SourceImageSequence, src)
	derivation.SetItems(tag.DerivationCodeSequence, instance.Code("113076", "DCM", "Segmentation"))
	content := dicomio.NewDataSet()
	content.SetInt(tag.TemporalPositionIndex, int64(f.Frame))
	content.SetInt(tag.DimensionIndexValues, int64(f.segment), int64(f.Frame))
	segment := dicomio.NewDataSet()
	segment.SetInt(tag.ReferencedSegmentNumber, int64(f.segment))

	ds := dicomio.NewDataSet()
	ds.SetItems(tag.DerivationImageSequence, derivation)
	ds.SetItems(tag.FrameContentSequence, content)
	ds.SetItems(tag.SegmentIdentificationSequence, segment)
	return ds
}

// fill sets the pixels whose centres lie inside an odd number of rings to 1 and
// all others to 0.
func fill(plane []byte, rows, columns int, rings [][]lv.Point) {
	clear(plane)
	var cuts []float64
	for y := range rows {
		cuts = cuts[:0]
		fy := float64(y)
		for _, ring := range rings {
			for i, j := 0, len(ring)-1; i < len(ring); j, i = i, i+1 {
				a, b := ring[j], ring[i]
				// Half open: a vertex on the row counts once.
				if (a.Y > fy) != (b.Y > fy) {
					cuts = append(cuts, a.X+(fy-a.Y)/(b.Y-a.Y)*(b.X-a.X))
				}
			}
		}
		slices.Sort(cuts)
		for k := 0; k+1 < len(cuts); k += 2 {
			x0 := int(math.Ceil(min(max(cuts[k], 0), float64(columns))))
			x1 := int(math.Floor(min(max(cuts[k+1], -1), float64(columns-1))))
			for x := x0; x <= x1; x++ {
				plane[y*columns+x] = 1
			}
		}
	}
}
