package derived

import (
	"cmp"
	"errors"
	"fmt"
	"image"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/encoding"
	"github.com/echonode/echonode/dicomio/instance"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
)

// ErrCine says that a [Cine] cannot be turned into a valid object.
var ErrCine = errors.New("invalid cine")

// Class is the storage class of a [Cine].
type Class int

const (
	// SecondaryCapture is Multi-frame True Color Secondary Capture, or
	// Secondary Capture for a single frame.
	SecondaryCapture Class = iota
	// Ultrasound is a derived ultrasound (multi-frame) image, for workstations
	// that load nothing else. It keeps the regions and so the calipers.
	Ultrasound
)

// Identity of a new instance; see [instance.UID].
type Identity struct {
	// SOPInstanceUID is made from the content when empty; see [instance.Seal].
	SOPInstanceUID    string
	SeriesInstanceUID string
	SeriesNumber      int
	InstanceNumber    int
	SeriesDescription string
	// Patient is the data set whose patient and study the object gets; the
	// source's own when nil.
	Patient   *dicomio.DataSet
	Time      time.Time
	Equipment instance.Equipment
	Algorithm instance.Algorithm
}

// Cine is the source loop with graphics burned in.
type Cine struct {
	Identity Identity
	// Source is the data set of the loop.
	Source *dicomio.DataSet
	Class  Class
	// Rows and Columns of the new frames, and their number.
	Rows, Columns, Frames int
	// SameGeometry says that the source's pixels lie unscaled at the top left
	// of the new frames, which may be larger.
	SameGeometry bool
	// Spacing is the size of a pixel in mm, from top to bottom and from left to
	// right, or nil. It is written only with SameGeometry; give it only when
	// the calibration is trusted.
	Spacing *[2]float64
	// TimesMS are the times of the frames from the first, as the loop was measured
	// with; nil when unknown. What the source says of them may be none that a cine
	// has, and is not looked at.
	TimesMS []float64
	// Description is the Derivation Description; at most 1024 characters.
	Description string
	// Quality of the JPEG compression, 1 to 100; 90 when 0. It is lower where the
	// frames would be larger than MaxBytes.
	Quality int
	// Identified says that the frames name the patient.
	Identified bool
	// MaxBytes bounds the compressed frames together; 512 MiB when 0.
	MaxBytes int64
	// MaxMemory bounds those of them that are held in memory until the header is
	// complete; 8 MiB when 0. The others are in a file in the folder Scratch
	// meanwhile, or where temporary files are when that is empty.
	MaxMemory int64
	Scratch   string
}

const (
	defaultQuality   = 90
	defaultMaxBytes  = 512 << 20
	defaultMaxMemory = 8 << 20
)

// SOPClassUID is the storage class of the object.
func (c Cine) SOPClassUID() string {
	switch {
	case c.Class == Ultrasound && c.Frames > 1:
		return uid.UltrasoundMultiFrameImageStorage
	case c.Class == Ultrasound:
		return uid.UltrasoundImageStorage
	case c.Frames > 1:
		return uid.MultiFrameTrueColorSecondaryCaptureImageStorage
	}
	return uid.SecondaryCaptureImageStorage
}

// Write asks for the frames one after the other, compresses them and writes
// the object as a Part 10 file in JPEG Baseline. A frame is done with when the
// next is asked for. It returns the SOP Instance UID.
func (c Cine) Write(w io.Writer, frame func(i int) (*image.RGBA, error)) (_ string, err error) {
	ds, err := c.dataSet()
	if err != nil {
		return "", err
	}
	quality, limit := cmp.Or(c.Quality, defaultQuality), cmp.Or(c.MaxBytes, defaultMaxBytes)
	frames := spill{memory: cmp.Or(c.MaxMemory, defaultMaxMemory), folder: c.Scratch}
	defer func() { err = errors.Join(err, frames.close()) }()
	var total int64
	for i := range c.Frames {
		img, err := frame(i)
		if err != nil {
			return "", fmt.Errorf("frame %d: %w", i, err)
		}
		if img.Rect.Dx() != c.Columns || img.Rect.Dy() != c.Rows {
			return "", fmt.Errorf("%w: frame %d is %d x %d, not %d x %d", ErrCine, i, img.Rect.Dx(), img.Rect.Dy(), c.Columns, c.Rows)
		}
		var b []byte
		if b, quality, err = compress(img, quality, (limit-total)/int64(c.Frames-i)); err != nil {
			return "", fmt.Errorf("frame %d: %w", i, err)
		}
		if total += int64(len(b)); total > limit {
			return "", fmt.Errorf("%w: compressed frames exceed %d bytes", ErrCine, limit)
		}
		if err := frames.add(b); err != nil {
			return "", fmt.Errorf("frame %d: %w", i, err)
		}
	}
	c.setLossy(ds, float64(c.Rows)*float64(c.Columns)*3*float64(c.Frames)/float64(total))
	return write(w, ds, "overlay", ErrCine, c.Identity, dicomio.WriteOptions{TransferSyntax: uid.JPEGBaseline8Bit, Pixels: frames.pixels()})
}

// Fingerprint stands for all that the object holds beside its frames.
func (c Cine) Fingerprint() (string, error) {
	ds, err := c.dataSet()
	if err != nil {
		return "", err
	}
	return instance.Seal(ds, strconv.Itoa(c.Quality), dicomio.WriteOptions{})
}

// write seals the object unless its UID was given, and writes it. What DICOM does
// not allow is told as invalid.
func write(w io.Writer, ds *dicomio.DataSet, kind string, invalid error, id Identity, o dicomio.WriteOptions) (uid string, err error) {
	if uid = id.SOPInstanceUID; uid == "" {
		uid, err = instance.Seal(ds, kind, o)
	}
	if err == nil {
		err = dicomio.Write(w, ds, o)
	}
	if dicomio.OfInput(err) {
		err = fmt.Errorf("%w: %w", invalid, err)
	}
	return uid, err
}

func (c Cine) validate() error {
	switch {
	case c.Rows < 1 || c.Columns < 1 || c.Rows > 65535 || c.Columns > 65535:
		return fmt.Errorf("%w: frames of %d x %d", ErrCine, c.Columns, c.Rows)
	case c.Frames < 1:
		return fmt.Errorf("%w: %d frames", ErrCine, c.Frames)
	case len(c.TimesMS) != 0 && len(c.TimesMS) != c.Frames:
		return fmt.Errorf("%w: %d times for %d frames", ErrCine, len(c.TimesMS), c.Frames)
	case c.Source == nil:
		return fmt.Errorf("%w: no source", ErrCine)
	}
	return nil
}

// dataSet makes everything but the pixel data and the lossy compression.
func (c Cine) dataSet() (*dicomio.DataSet, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	ds, source, err := start(c.Identity, c.Source, c.SOPClassUID(), "US", c.Description)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCine, err)
	}
	ds.SetEmpty(tag.PatientOrientation)
	ds.SetString(tag.BodyPartExamined, "HEART")
	setPlace(ds, c.Source)

	// General Image and Derivation (C.7.6.1, C.7.6.1.1.3).
	img := source.SOP()
	img.SetItems(tag.PurposeOfReferenceCodeSequence,
		instance.Code("121322", "DCM", "Source image for image processing operation"))
	img.SetString(tag.SpatialLocationsPreserved, yesNo(c.SameGeometry))
	ds.SetItems(tag.SourceImageSequence, img)
	ds.SetItems(tag.DerivationCodeSequence, instance.Code("113076", "DCM", "Segmentation"))
	burned := burnedIn(c.Source)
	if c.Identified {
		burned = "YES"
	}
	ds.SetString(tag.BurnedInAnnotation, burned)

	// Image Pixel (C.7.6.3).
	ds.SetInt(tag.SamplesPerPixel, 3)
	ds.SetString(tag.PhotometricInterpretation, "YBR_FULL_422")
	ds.SetInt(tag.PlanarConfiguration, 0)
	ds.SetInt(tag.Rows, int64(c.Rows))
	ds.SetInt(tag.Columns, int64(c.Columns))
	ds.SetInt(tag.BitsAllocated, 8)
	ds.SetInt(tag.BitsStored, 8)
	ds.SetInt(tag.HighBit, 7)
	ds.SetInt(tag.PixelRepresentation, 0)

	if c.Class == Ultrasound {
		// US Image (C.8.5.6): the third value of Image Type is empty.
		ds.SetString(tag.ImageType, "DERIVED", "PRIMARY")
		ds.SetInt(tag.UltrasoundColorDataPresent, 0)
		if c.SameGeometry {
			ds.CopyFrom(c.Source, tag.SequenceOfUltrasoundRegions)
		}
	} else {
		// SC Equipment (C.8.6.1).
		ds.SetString(tag.ImageType, "DERIVED", "SECONDARY")
		ds.SetString(tag.ConversionType, "WSD")
		ds.SetString(tag.SecondaryCaptureDeviceManufacturer, c.Identity.Equipment.Manufacturer)
		ds.SetString(tag.SecondaryCaptureDeviceManufacturerModelName, c.Identity.Equipment.Model)
		ds.SetString(tag.SecondaryCaptureDeviceSoftwareVersions, c.Identity.Equipment.Version)
		if c.Spacing != nil && c.SameGeometry {
			if !(c.Spacing[0] > 0 && c.Spacing[1] > 0) {
				return nil, fmt.Errorf("%w: pixel spacing %v", ErrCine, *c.Spacing)
			}
			ds.SetString(tag.PixelSpacing, decimal(c.Spacing[0]), decimal(c.Spacing[1]))
		}
	}
	if c.Frames > 1 {
		c.setTiming(ds)
	}
	if err := ds.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCine, err)
	}
	return ds, nil
}

// setTiming writes the Multi-frame and Cine modules (C.7.6.6, C.7.6.5): the times
// given, or without any the frames' numbers only, so that no viewer is told a speed
// nobody knows.
func (c Cine) setTiming(ds *dicomio.DataSet) {
	ds.SetInt(tag.NumberOfFrames, int64(c.Frames))
	if len(c.TimesMS) != c.Frames || !increasing(c.TimesMS) {
		ds.SetTags(tag.FrameIncrementPointer, tag.PageNumberVector)
		numbers := make([]int64, c.Frames)
		for i := range numbers {
			numbers[i] = int64(i + 1)
		}
		ds.SetInt(tag.PageNumberVector, numbers...)
		return
	}
	fps := max(int64(math.Round(1000/c.setTimes(ds))), 1)
	ds.SetInt(tag.CineRate, fps)
	ds.SetInt(tag.RecommendedDisplayFrameRate, fps)
	ds.SetInt(tag.PreferredPlaybackSequencing, 0)
	ds.SetInt(tag.StartTrim, 1)
	ds.SetInt(tag.StopTrim, int64(c.Frames))
}

// setTimes writes TimesMS as a Frame Time where the steps are uniform, else as a
// vector, and returns the mean step: viewers that play a vector at a rate of their
// own know Frame Time.
func (c Cine) setTimes(ds *dicomio.DataSet) float64 {
	n := len(c.TimesMS)
	mean := (c.TimesMS[n-1] - c.TimesMS[0]) / float64(n-1)
	steps := make([]float64, n) // the first frame's does not count
	for i := 1; i < n; i++ {
		steps[i] = c.TimesMS[i] - c.TimesMS[i-1]
	}
	if uniform(steps[1:], mean) {
		ds.SetTags(tag.FrameIncrementPointer, tag.FrameTime)
		ds.SetString(tag.FrameTime, decimal(mean))
	} else {
		ds.SetTags(tag.FrameIncrementPointer, tag.FrameTimeVector)
		ds.SetString(tag.FrameTimeVector, decimals(steps)...)
	}
	return mean
}

// setLossy adds this compression to the source's history (C.7.6.1.1.5).
func (c Cine) setLossy(ds *dicomio.DataSet, ratio float64) {
	ds.SetString(tag.LossyImageCompression, "01")
	var ratios, methods []string
	if c.Source.String(tag.LossyImageCompression) == "01" {
		ratios = decimals(c.Source.Floats(tag.LossyImageCompressionRatio))
		methods = c.Source.Strings(tag.LossyImageCompressionMethod)
		bad := func(vr string) func(string) bool {
			return func(s string) bool { return encoding.LookupVR(vr).CheckString(s) != "" }
		}
		if len(methods) != len(ratios) || slices.ContainsFunc(ratios, bad("DS")) || slices.ContainsFunc(methods, bad("CS")) {
			ratios, methods = nil, nil // a history that does not match itself, or that no object can tell
		}
	}
	ds.SetString(tag.LossyImageCompressionRatio, append(ratios, strconv.FormatFloat(ratio, 'f', 2, 64))...)
	ds.SetString(tag.LossyImageCompressionMethod, append(methods, "ISO_10918_1")...)
}

// start makes the modules that all objects of this package share and returns
// the reference to the source.
func start(id Identity, source *dicomio.DataSet, class, modality, description string) (*dicomio.DataSet, instance.Ref, error) {
	ref := instance.RefOf(source)
	if ref.SOPInstanceUID == "" || ref.SOPClassUID == "" || ref.SeriesUID == "" {
		return nil, ref, fmt.Errorf("source without class, instance or series UID: %w", instance.ErrSource)
	}
	patient := id.Patient
	if patient == nil {
		patient = source
	}
	ds, err := instance.New(instance.Header{
		Source: patient, SOPClassUID: class, SOPInstanceUID: id.SOPInstanceUID,
		SeriesInstanceUID: id.SeriesInstanceUID, SeriesNumber: id.SeriesNumber, InstanceNumber: id.InstanceNumber,
		SeriesDescription: id.SeriesDescription, Modality: modality, Time: id.Time, Equipment: id.Equipment,
	})
	if err != nil {
		return nil, ref, err
	}
	if description != "" {
		st := encoding.LookupVR("ST")
		ds.SetString(tag.DerivationDescription, instance.Clip(st.Clean(description), st.Max))
	}
	contribution, err := instance.Contribution(id.Equipment, id.Algorithm, instance.Local(patient, id.Time), "Automatic left ventricular segmentation")
	if err != nil {
		return nil, ref, err
	}
	ds.SetItems(tag.ContributingEquipmentSequence, contribution)

	// Common Instance Reference (C.12.2).
	series := dicomio.NewDataSet()
	series.SetString(tag.SeriesInstanceUID, ref.SeriesUID)
	series.SetItems(tag.ReferencedInstanceSequence, ref.SOP())
	ds.SetItems(tag.ReferencedSeriesSequence, series)
	return ds, ref, ds.Err()
}

// stageTags place a loop in the protocol of a stress examination (PS3.3
// C.8.5.6); copies of sixteen loops are not told apart without them.
var stageTags = []dicomio.Tag{tag.StageName, tag.StageNumber, tag.NumberOfStages, tag.ViewName, tag.ViewNumber, tag.NumberOfViewsInStage}

// setPlace says when the source was taken and where in a protocol, as far as what
// it says of that is valid.
func setPlace(ds, src *dicomio.DataSet) {
	for _, t := range stageTags {
		vr := encoding.LookupVR(encoding.DictionaryVR(t, false))
		if s := encoding.Line(src.String(t)); s != "" && vr.CheckString(s) == "" {
			ds.SetString(t, s)
		} else if s != "" && vr.Text {
			ds.SetString(t, instance.Clip(s, vr.Max))
		}
	}
	if _, err := time.Parse("20060102", src.String(tag.AcquisitionDate)); err == nil {
		ds.CopyFrom(src, tag.AcquisitionDate)
	}
	at := src.String(tag.AcquisitionTime)
	clock, _, _ := strings.Cut(at, ".")
	if _, err := time.Parse("150405", clock); err == nil && encoding.LookupVR("TM").CheckString(at) == "" {
		ds.CopyFrom(src, tag.AcquisitionTime)
	}
}

// burnedIn is NO only when the source says so: screens of ultrasound machines
// often show the patient's name, and nothing here removes it.
func burnedIn(src *dicomio.DataSet) string {
	if src.String(tag.BurnedInAnnotation) == "NO" {
		return "NO"
	}
	return "YES"
}

func yesNo(b bool) string {
	if b {
		return "YES"
	}
	return "NO"
}

// uniform reports whether all steps are the mean, to a hundredth of it: clocks
// of machines count whole milliseconds.
func uniform(steps []float64, mean float64) bool {
	for _, s := range steps {
		if math.Abs(s-mean) > max(0.01*mean, 1) {
			return false
		}
	}
	return true
}

func increasing(t []float64) bool {
	for i, v := range t {
		if math.IsNaN(v) || math.IsInf(v, 0) || i > 0 && v <= t[i-1] {
			return false
		}
	}
	return true
}

// decimal writes a number with at most six significant digits.
func decimal(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }

func decimals(v []float64) []string {
	out := make([]string, len(v))
	for i, x := range v {
		out[i] = decimal(x)
	}
	return out
}
