// Package echo says what an echocardiogram's attributes and pixels tell of it:
// what is calibrated and whether that can be trusted, when its frames and R waves
// are, which stage and view it is, and whether it is colour, Doppler, M-mode or a
// volume. It reports and judges; it corrects nothing.
//
// Regions that exceed the pixels mean that the picture was resampled, so their
// deltas are refused. Ultrasound Color Data Present is set on plain B-mode by HP
// and Toshiba devices and therefore only reported (ColourFlag); colour is told by
// region data type, by the mode bits of Image Type and, in loops that declare
// neither, by ColourFraction of the pixels, which knows tinted grey maps. What an
// object says twice and differently, or only weakly, is in Facts.Doubts in words
// for the report.
package echo

import (
	"cmp"
	"fmt"
	"image"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/encoding"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
)

// EchoFacts is what a pipeline for echocardiography needs to know of a file
// before it looks at pixels. Times are in milliseconds.
type Facts struct {
	Modality, SOPClassUID, SOPInstanceUID, SeriesUID, StudyUID string
	Manufacturer, Model                                        string
	TransferSyntax                                             string

	Frames, Rows, Columns int
	Photometric           string

	// FrameTimes holds the time of each frame from the first one, strictly
	// ascending; nil when no attribute tells it. len(FrameTimes) == Frames.
	FrameTimes      []float64
	FrameTimeSource string // keyword of the attribute the times come from
	TimingWarning   string // why the times deserve doubt, "" when they do not; also among Doubts

	pixelSpacing, pixelAspect []float64 // as the object has them, down first
	RWaveTimes                []float64
	HeartRate                 float64 // per minute, 0 when unknown: from R waves, else Heart Rate
	HeartRateSource           string

	StageName, ViewName     string
	StageView               string // what Stage Name says where that is a view: the caller's word
	StageNumber, ViewNumber int

	Regions     []Region
	Tissue      *Region     // the 2D region to measure in, or nil; points into Regions
	Calibration Calibration // of Tissue; for a contour see CalibrationFor
	// Volume says why the frames are slices of a volume and no cine; "" where
	// they are a cine as far as the attributes tell.
	Volume string
	// Doubts are what whoever reads a value from this object ought to know.
	Doubts []Doubt

	HasColour   bool // a region or Image Type says colour flow or tissue Doppler
	ColourFlag  bool // Ultrasound Color Data Present; many devices set it on plain B-mode too
	HasSpectral bool // pulsed or continuous wave spectrum
	HasMMode    bool
	HasECG      bool

	BurnedIn    string // Burned In Annotation: YES, NO or ""
	LossySource bool   // lossy compression was applied at some time
}

// Doubt is something about an object that contradicts itself or is unusual,
// and was dealt with as Text says. Codes are below.
type Doubt struct{ Code, Text string }

// Codes of a Doubt.
const (
	DoubtFrameTimes = "frame-times" // sources of the frame times contradict each other, or there is only a weak one
	DoubtHeartRate  = "heart-rate"  // R waves and Heart Rate contradict each other
	DoubtFrameCount = "frame-count" // the pixel data hold another number of frames than announced
	DoubtRegions    = "regions"     // more than one 2D region
	DoubtScale      = "scale"       // the region and the object's own attributes give pixels other sizes or shapes
	DoubtInverse    = "inverse"     // the object says of its gray both that small values are dark and that they are bright
	DoubtDelimiter  = "delimiter"   // the mark that ends the pixel data is missing
	DoubtNotUsed    = "not-used"    // an attribute holds what cannot be, and nothing is taken from it
)

func (e *Facts) doubt(code, format string, args ...any) {
	e.Doubts = append(e.Doubts, Doubt{code, encoding.LookupVR("UT").Clean(fmt.Sprintf(format, args...))})
}

// Region is an item of Sequence of Ultrasound Regions (PS3.3 C.8.5.5).
type Region struct {
	SpatialFormat int             // 1 2D, 2 M-mode, 3 spectral, 4 waveform, 5 graphics
	DataType      int             // 1 tissue, 2 colour flow, 3 PW, 4 CW, 0xA ECG, ...
	Flags         int             // Region Flags
	Rect          image.Rectangle // half-open, source pixels, as the file says
	UnitsX        int             // 3 cm, 4 s, 7 cm/s, ...
	UnitsY        int
	DeltaX        float64 // physical units per pixel; the sign is kept
	DeltaY        float64
	Fits          bool // the rectangle lies within the pixels
}

// Spatial reports whether the region is calibrated in centimetres.
func (r Region) Spatial() bool {
	ok := func(d float64) bool { return d != 0 && !math.IsNaN(d) && !math.IsInf(d, 0) }
	return r.SpatialFormat == 1 && r.UnitsX == 3 && r.UnitsY == 3 && ok(r.DeltaX) && ok(r.DeltaY)
}

// Sources of a Calibration.
const (
	CalibrationRegion       = "region"
	CalibrationPixelSpacing = "pixel-spacing"
)

// Calibration is the size of a pixel. Values are only to be used for lengths
// when Trusted; AspectX2Y, the width of a pixel over its height, is always
// set, to 1 when nothing tells it.
type Calibration struct {
	MMPerPixelX, MMPerPixelY float64
	Source                   string // CalibrationRegion, CalibrationPixelSpacing or ""
	Trusted                  bool
	Reason                   string // why it is not trusted
	AspectX2Y                float64
}

// Bounds of plausible echo calibration, mm per pixel and width over height.
const (
	minMMPerPixel = 0.05
	maxMMPerPixel = 3.0
	maxAspect     = 2.0
)

// Read collects the facts. It needs no pixels and only fails when the
// attributes contradict each other so that nothing can be said: never for
// missing optional ones.
func Read(f *dicomio.File) (Facts, error) { return ReadFrames(f, 0) }

// ReadFrames is Read for pixel data that hold n frames, which may be another
// number than the attributes announce (see dicomio.FrameReader.Announced); 0 is
// not known.
func ReadFrames(f *dicomio.File, frames int) (Facts, error) {
	d := f.DataSet
	if d == nil || d.Len() == 0 {
		return Facts{}, &dicomio.Error{Op: "echo", Offset: -1, Err: fmt.Errorf("%w: an empty data set", dicomio.ErrValue)}
	}
	number := func(t dicomio.Tag) int {
		v, _ := d.Int(t)
		return int(max(min(v, 1<<31-1), 0))
	}
	e := Facts{
		Modality:       Text(d, tag.Modality),
		SOPClassUID:    d.String(tag.SOPClassUID),
		SOPInstanceUID: d.String(tag.SOPInstanceUID),
		SeriesUID:      d.String(tag.SeriesInstanceUID),
		StudyUID:       d.String(tag.StudyInstanceUID),
		Manufacturer:   Text(d, tag.Manufacturer),
		Model:          Text(d, tag.ManufacturerModelName),
		TransferSyntax: f.TransferSyntax,
		Frames:         max(number(tag.NumberOfFrames), 1),
		Rows:           number(tag.Rows),
		Columns:        number(tag.Columns),
		Photometric:    strings.ToUpper(d.String(tag.PhotometricInterpretation)),
		StageName:      Text(d, tag.StageName),
		ViewName:       Text(d, tag.ViewName),
		StageNumber:    number(tag.StageNumber),
		ViewNumber:     number(tag.ViewNumber),
		BurnedIn:       strings.ToUpper(d.String(tag.BurnedInAnnotation)),
	}
	if limit := f.Limits().Frames; e.Frames > limit {
		return e, &dicomio.Error{Op: "echo", Tag: tag.NumberOfFrames, Offset: -1, Err: fmt.Errorf("%w: %d frames, limit %d", dicomio.ErrLimit, e.Frames, limit)}
	}
	if frames > 0 && frames != e.Frames {
		announced := "Number of Frames is missing"
		if v, ok := d.Int(tag.NumberOfFrames); ok {
			announced = fmt.Sprintf("Number of Frames says %d", v)
		}
		e.doubt(DoubtFrameCount, "%s, the pixel data hold %d frames: all of them are used", announced, frames)
		e.Frames = frames
	}
	e.LossySource = d.String(tag.LossyImageCompression) == "01" || f.Syntax.Lossy && f.Known && f.Syntax.UID != uid.JPEG2000 && f.Syntax.UID != uid.HTJ2K
	if e.Photometric == "MONOCHROME2" && strings.EqualFold(d.String(tag.PresentationLUTShape), "INVERSE") {
		e.doubt(DoubtInverse, "Photometric Interpretation says MONOCHROME2, Presentation LUT Shape INVERSE: the picture is taken as inverted")
	}
	if px, ok := d.Get(tag.PixelData); ok && px.Undelimited() {
		e.doubt(DoubtDelimiter, "the mark that ends the pixel data is missing: all %d frames are there", e.Frames)
	}
	e.timing(d)
	e.heart(d)
	e.regions(d)
	e.Volume = e.volume(d)
	return e, nil
}

// volume says by which attribute the frames are slices of a volume: the class,
// planes that have places in space, the private group of a Cartesian export
// (slices per frame in (3001,1001)), or pixel data of several whole pictures
// for every frame announced.
func (e *Facts) volume(d *dicomio.DataSet) string {
	if e.SOPClassUID == uid.EnhancedUSVolumeStorage {
		return "the object is an Enhanced US Volume"
	}
	if it := d.Strings(tag.ImageType); len(it) >= 3 && it[2] == "VOLUME" || d.String(tag.VolumetricProperties) == "VOLUME" {
		return "the object says that it is a volume"
	}
	if modes, ok := imageModes(d); ok && modes&0x40 != 0 {
		return "the object says that it is a rendered volume"
	}
	for _, g := range []*dicomio.DataSet{d.Item(tag.SharedFunctionalGroupsSequence, 0), d.Item(tag.PerFrameFunctionalGroupsSequence, 0)} {
		if g != nil && g.Has(tag.PlanePositionVolumeSequence) {
			return "its frames have positions in a volume"
		}
	}
	for el := range d.Elements() {
		if el.Tag.Group() == 0x3001 && el.Tag.Element()&0xFF == 1 && el.Tag.Element() >= 0x1000 {
			if n, ok := d.Int(el.Tag); ok && n > 1 {
				return fmt.Sprintf("it holds volumes of %d slices (%v)", n, el.Tag)
			}
		}
	}
	if px, ok := d.Get(tag.PixelData); ok && !px.Encapsulated() && e.Frames > 1 {
		if in, err := dicomio.PixelInfoOf(d); err == nil && in.FrameBytes() > 0 && in.BitsAllocated > 1 {
			if per := px.Len() / in.FrameBytes(); per >= 2*int64(e.Frames) && per%int64(e.Frames) == 0 && px.Len()-per*in.FrameBytes() <= 1 {
				return fmt.Sprintf("its pixel data hold %d pictures for each of %d frames", per/int64(e.Frames), e.Frames)
			}
		}
	}
	return ""
}

// maxRegions bounds how many regions are read; real files have up to a dozen.
const maxRegions = 256

// regions reads the ultrasound regions and what follows from them.
func (e *Facts) regions(d *dicomio.DataSet) {
	bounds := image.Rect(0, 0, e.Columns, e.Rows)
	for i, it := range d.Items(tag.SequenceOfUltrasoundRegions) {
		if i == maxRegions {
			break
		}
		n := func(t dicomio.Tag) int {
			v, _ := it.Int(t)
			return int(max(min(v, 1<<31-2), -1<<31))
		}
		r := Region{
			SpatialFormat: n(tag.RegionSpatialFormat),
			DataType:      n(tag.RegionDataType),
			Flags:         n(tag.RegionFlags),
			// Maximum coordinates are inclusive.
			Rect:   image.Rect(n(tag.RegionLocationMinX0), n(tag.RegionLocationMinY0), n(tag.RegionLocationMaxX1)+1, n(tag.RegionLocationMaxY1)+1),
			UnitsX: n(tag.PhysicalUnitsXDirection),
			UnitsY: n(tag.PhysicalUnitsYDirection),
		}
		r.DeltaX, _ = it.Float(tag.PhysicalDeltaX)
		r.DeltaY, _ = it.Float(tag.PhysicalDeltaY)
		// Some devices give the exclusive maximum: one pixel more is no misfit.
		r.Fits = !r.Rect.Empty() && r.Rect.In(image.Rect(0, 0, e.Columns+1, e.Rows+1))
		if r.Fits {
			r.Rect = r.Rect.Intersect(bounds)
			r.Fits = !r.Rect.Empty()
		}
		e.Regions = append(e.Regions, r)
		if r.DataType == 0xA {
			e.HasECG = true
		}
		// Devices leave items of zeros for what is not on the screen, and call the
		// strip of an ECG a spectrum.
		if r.DataType == 0xA || r.Rect.Dx() <= 1 && r.Rect.Dy() <= 1 {
			continue
		}
		switch {
		case r.SpatialFormat == 2:
			e.HasMMode = true
		case r.SpatialFormat == 3, r.DataType == 3, r.DataType == 4:
			e.HasSpectral = true
		}
		if r.DataType == 2 {
			e.HasColour = true
		}
	}
	if v, ok := d.Int(tag.UltrasoundColorDataPresent); ok && v == 1 {
		e.ColourFlag = true
	}
	if modes, ok := imageModes(d); ok {
		e.HasMMode = e.HasMMode || modes&0x22 != 0
		e.HasSpectral = e.HasSpectral || modes&0x0C != 0
		e.HasColour = e.HasColour || modes&0x0130 != 0
	}
	for _, r := range e.Regions {
		if r.SpatialFormat == 1 && (r.DataType == 1 || r.DataType == 2) && e.tiny(r) {
			e.doubt(DoubtRegions, "the 2D region at %v is too small for a picture: it is left out", r.Rect)
		}
	}
	e.Tissue = e.tissue(image.Rectangle{})
	e.Calibration = e.calibrate(d)
	e.checkScale(d)
	if all := e.TissueRegions(); len(all) > 1 {
		scale := "of one scale"
		for _, r := range all[1:] {
			if differ(r.DeltaX, all[0].DeltaX) || differ(r.DeltaY, all[0].DeltaY) {
				scale = "of different scales"
			}
		}
		e.doubt(DoubtRegions, "the picture has %d 2D regions %s; the values are from the one at %v", len(all), scale, all[0].Rect)
	}
}

// imageModes is value 4 of Image Type of ultrasound, a bit field of modes (PS3.3
// C.8.5.6.1.1).
func imageModes(d *dicomio.DataSet) (bits uint64, ok bool) {
	it := d.Strings(tag.ImageType)
	if len(it) < 4 || len(it[3]) != 4 {
		return 0, false
	}
	bits, err := strconv.ParseUint(it[3], 16, 16)
	return bits, err == nil
}

// TissueRegion is a 2D region with what a pixel in it measures.
type TissueRegion struct {
	Region
	Calibration Calibration
}

// TissueRegions lists the 2D regions that show tissue, the one of
// EchoFacts.Tissue first and then by size: one for an ordinary loop, two for
// a dual screen, simultaneous biplane or a zoom beside its overview. Regions
// that cover the same place are one. Calibrations are judged each for itself:
// where two scales claim the same pixels, none is trusted.
func (e *Facts) TissueRegions() []TissueRegion {
	if e.Tissue == nil {
		return nil
	}
	var out []TissueRegion
	add := func(r *Region) {
		for _, o := range out {
			in := r.Rect.Intersect(o.Rect)
			if 2*area(in) > min(area(r.Rect), area(o.Rect)) {
				return
			}
		}
		out = append(out, TissueRegion{*r, e.regionCalibration(r, r.Rect)})
	}
	add(e.Tissue)
	for i := range e.Regions {
		if r := &e.Regions[i]; r.SpatialFormat == 1 && r.DataType == e.Tissue.DataType && r.Fits && !e.tiny(*r) {
			add(r)
		}
	}
	slices.SortStableFunc(out[1:], func(a, b TissueRegion) int { return cmp.Compare(area(b.Rect), area(a.Rect)) })
	return out
}

// ColourApart reports whether the colour that the attributes name lies in regions
// of its own, beside the 2D region of tissue: a screen that compares the picture
// with and without colour.
func (e *Facts) ColourApart() bool {
	if e.Tissue == nil || e.Tissue.DataType != 1 || !e.Tissue.Fits {
		return false
	}
	coloured := false
	for _, r := range e.Regions {
		if r.DataType != 2 {
			continue
		}
		if coloured = true; r.Rect.Overlaps(e.Tissue.Rect) {
			return false
		}
	}
	return coloured
}

// area is the number of pixels of a rectangle.
func area(r image.Rectangle) int64 { return int64(r.Dx()) * int64(r.Dy()) }

// differ reports whether two sizes of a pixel are more than 1 % apart.
func differ(a, b float64) bool { return math.Abs(math.Abs(a)-math.Abs(b)) > 0.01*math.Abs(a) }

// tissue finds the region to measure in: 2D and calibrated in centimetres,
// tissue before colour, the largest of equals. field, when not empty, is
// where the contour lies: regions that do not hold most of it are left out.
func (e *Facts) tissue(field image.Rectangle) *Region {
	for _, want := range []func(Region) bool{
		func(r Region) bool { return r.Spatial() && r.DataType == 1 },
		func(r Region) bool { return r.Spatial() && r.DataType == 2 },
		func(r Region) bool { return r.SpatialFormat == 1 && r.DataType == 1 },
		func(r Region) bool { return r.SpatialFormat == 1 && r.DataType == 2 },
	} {
		var best *Region
		for i := range e.Regions {
			r := &e.Regions[i]
			if !want(*r) || e.tiny(*r) || !field.Empty() && 2*area(r.Rect.Intersect(field)) < area(field) {
				continue
			}
			if best == nil || r.Fits && !best.Fits || r.Fits == best.Fits && area(r.Rect) > area(best.Rect) {
				best = r
			}
		}
		if best != nil {
			return best
		}
	}
	return nil
}

// leastPicture is the part of the screen that a picture takes at least, and
// leastBeside that of the largest 2D region. Own choice: of six pictures on a
// screen each has a tenth, and an overview beside its zoom is no smaller.
const leastPicture, leastBeside = 0.02, 0.10

// tiny reports whether a region is too small for a picture.
func (e *Facts) tiny(r Region) bool {
	largest := int64(0)
	for _, o := range e.Regions {
		if o.SpatialFormat == 1 && (o.DataType == 1 || o.DataType == 2) && o.Fits {
			largest = max(largest, area(o.Rect))
		}
	}
	own := float64(area(r.Rect))
	return r.Fits && (own < leastPicture*float64(e.Rows)*float64(e.Columns) || own < leastBeside*float64(largest))
}

// CalibrationFor is the calibration for a contour within field, in source
// pixels (an empty one is the whole of Tissue): that of the region that holds
// it. It is not trusted when regions of different scale hold it.
func (e *Facts) CalibrationFor(field image.Rectangle) Calibration {
	if field.Empty() {
		return e.Calibration
	}
	r := e.tissue(field)
	if r == nil {
		if e.Calibration.Source == CalibrationRegion {
			c := e.Calibration
			c.Trusted, c.Reason = false, "the contour lies outside the calibrated regions"
			return c
		}
		return e.Calibration
	}
	return e.regionCalibration(r, field)
}

// regionCalibration judges one region among the others.
func (e *Facts) regionCalibration(r *Region, field image.Rectangle) Calibration {
	c := Calibration{Source: CalibrationRegion, AspectX2Y: 1}
	if !r.Spatial() {
		c.Source = ""
		c.Reason = "the 2D region has no units of length"
		return c
	}
	c.MMPerPixelX, c.MMPerPixelY = math.Abs(r.DeltaX)*10, math.Abs(r.DeltaY)*10
	aspect := c.MMPerPixelX / c.MMPerPixelY
	c.AspectX2Y = aspect
	switch {
	case !r.Fits:
		c.Reason = fmt.Sprintf("the region %v does not fit %dx%d pixels: the image was resampled", r.Rect, e.Columns, e.Rows)
	case c.MMPerPixelX < minMMPerPixel || c.MMPerPixelX > maxMMPerPixel || c.MMPerPixelY < minMMPerPixel || c.MMPerPixelY > maxMMPerPixel:
		c.Reason = fmt.Sprintf("%.4g x %.4g mm per pixel is not plausible", c.MMPerPixelX, c.MMPerPixelY)
	case aspect > maxAspect || aspect < 1/maxAspect:
		c.Reason = fmt.Sprintf("pixels %.4g times as wide as high are not plausible", aspect)
	default:
		if o := e.rival(r, field); o != nil {
			c.Reason = fmt.Sprintf("2D regions of different scale: %v and %v", r.Rect, o.Rect)
			break
		}
		c.Trusted = true
	}
	return c
}

// rival finds another calibrated 2D region of different scale that holds most
// of the field.
func (e *Facts) rival(r *Region, field image.Rectangle) *Region {
	for i := range e.Regions {
		o := &e.Regions[i]
		if o == r || !o.Spatial() || !differ(r.DeltaX, o.DeltaX) && !differ(r.DeltaY, o.DeltaY) {
			continue
		}
		if o.DataType != 1 && o.DataType != 2 {
			continue
		}
		if 2*area(o.Rect.Intersect(field)) >= area(field) {
			return o
		}
	}
	return nil
}

// calibrate chooses the calibration of the file: the tissue region, else
// Pixel Spacing, else only a pixel aspect ratio or nothing.
func (e *Facts) calibrate(d *dicomio.DataSet) Calibration {
	c := Calibration{AspectX2Y: 1, Reason: "no calibration"}
	if e.Tissue != nil {
		c = e.regionCalibration(e.Tissue, e.Tissue.Rect)
		if c.Source != "" {
			return c
		}
	} else if len(e.Regions) > 0 {
		c.Reason = "no 2D region with units of length"
	}
	if s := d.Floats(tag.PixelSpacing); len(s) == 2 && s[0] > 0 && s[1] > 0 && !math.IsInf(s[0]*s[1], 0) {
		// Row spacing (down) comes first.
		c = Calibration{MMPerPixelX: s[1], MMPerPixelY: s[0], Source: CalibrationPixelSpacing, AspectX2Y: s[1] / s[0]}
		c.Trusted = min(s[0], s[1]) >= minMMPerPixel && max(s[0], s[1]) <= maxMMPerPixel && c.AspectX2Y <= maxAspect && c.AspectX2Y >= 1/maxAspect
		switch {
		case !c.Trusted:
			c.Reason = fmt.Sprintf("%.4g x %.4g mm per pixel is not plausible", s[1], s[0])
		case s[0] == 1 && s[1] == 1:
			c.Trusted, c.Reason = false, "Pixel Spacing of exactly 1 x 1 mm is what programs write that know none"
		}
		return c
	}
	if a := d.Floats(tag.PixelAspectRatio); len(a) == 2 && a[0] > 0 && a[1] > 0 {
		if r := a[1] / a[0]; r <= 4 && r >= 0.25 {
			c.AspectX2Y = r // vertical size comes first
		}
	}
	return c
}

// sizesDiffer is the factor from which on two sizes or shapes of a pixel
// contradict each other: more than rounding, 10 % of length, 30 % of volume.
const sizesDiffer = 1.1

// checkScale raises a doubt where the region, whose scale counts, is contradicted.
func (e *Facts) checkScale(d *dicomio.DataSet) {
	e.pixelSpacing, e.pixelAspect = d.Floats(tag.PixelSpacing), d.Floats(tag.PixelAspectRatio)
	if text := e.Contradicted(e.Calibration); text != "" {
		e.doubt(DoubtScale, "%s", text)
	}
}

// Contradicted says how Pixel Spacing or Pixel Aspect Ratio contradict the
// calibration of a region; it is empty where they do not.
func (e *Facts) Contradicted(c Calibration) string {
	if c.Source != CalibrationRegion || !c.Trusted {
		return ""
	}
	differ := func(a, b float64) bool { return max(a/b, b/a) > sizesDiffer }
	usable := func(s []float64) bool {
		return len(s) == 2 && s[0] > 0 && s[1] > 0 && !math.IsInf(s[0]*s[1], 0) && s[0]*s[1] > 0
	}
	// Row spacing (down) comes first, and so does the vertical size of a pixel.
	if s := e.pixelSpacing; usable(s) {
		if differ(s[1], c.MMPerPixelX) || differ(s[0], c.MMPerPixelY) {
			return fmt.Sprintf("the region says %.3g x %.3g mm per pixel, Pixel Spacing %.3g x %.3g: lengths and volumes are by the region", c.MMPerPixelX,
				c.MMPerPixelY, s[1], s[0])
		}
		return ""
	}
	if a := e.pixelAspect; usable(a) && differ(a[1]/a[0], c.AspectX2Y) {
		return fmt.Sprintf("the region has pixels %.3g times as wide as high, Pixel Aspect Ratio says %.3g: lengths and volumes are by the region",
			c.AspectX2Y, a[1]/a[0])
	}
	return ""
}

// Steps between frames that a cine can have, in ms: 1,000 frames per second,
// and one in ten seconds.
const minStep, maxStep = 1, 10000

// timing finds the frame times. The order of trust: the attribute Frame
// Increment Pointer names, Frame Time, Frame Time Vector, Cine Rate, Actual
// Frame Duration, Effective Duration, Recommended Display Frame Rate.
func (e *Facts) timing(d *dicomio.DataSet) {
	n := e.Frames
	if n < 2 {
		if n == 1 {
			e.FrameTimes = []float64{0}
		}
		return
	}
	type source struct {
		name string
		step float64 // mean step in ms, 0 when absent or unusable
		vec  []float64
	}
	var warnings []string
	// usable takes a step that a cine can have, and says so of one that it cannot.
	usable := func(name string, step float64) float64 {
		switch {
		case !(step > 0) || step > 1e7:
			return 0
		case step < minStep || step > maxStep:
			warnings = append(warnings, fmt.Sprintf("%s says %.6g ms per frame, which no cine has", name, step))
			return 0
		}
		return step
	}
	scalar := func(t dicomio.Tag, f func(float64) float64) source {
		s := source{name: tag.Keyword(t)}
		if v, ok := d.Float(t); ok && v > 0 {
			s.step = usable(s.name, f(v))
		} else if text := Text(d, t); !ok && text != "" {
			warnings = append(warnings, fmt.Sprintf("%s is no number (%q)", s.name, text))
		}
		return s
	}
	same := func(v float64) float64 { return v }
	rate := func(v float64) float64 { return 1000 / v }
	sources := []source{
		scalar(tag.FrameTime, same),
		{name: tag.Keyword(tag.FrameTimeVector)},
		scalar(tag.CineRate, rate),
		scalar(tag.ActualFrameDuration, same),
		scalar(tag.EffectiveDuration, func(v float64) float64 { return v * 1000 / float64(n) }),
		scalar(tag.RecommendedDisplayFrameRate, rate),
	}
	if v := d.Floats(tag.FrameTimeVector); len(v) > 0 {
		// Some writers leave out the 0 of the first frame, or the last step.
		if announced, ok := d.Int(tag.NumberOfFrames); ok && int(announced) == n && len(v) == n-1 {
			switch {
			case v[0] > 0:
				v = append([]float64{0}, v...)
				warnings = append(warnings, fmt.Sprintf("FrameTimeVector has %d increments for %d frames: the first frame's is taken for left out", n-1, n))
			case v[0] == 0 && n > 2 && slices.Max(v[1:]) < 1.1*slices.Min(v[1:]):
				v = append(slices.Clone(v), v[len(v)-1])
				warnings = append(warnings, fmt.Sprintf("FrameTimeVector has %d increments for %d frames: the last one is taken for left out", n-1, n))
			}
		}
		times, why := frameTimeVector(v, n)
		if why != "" {
			warnings = append(warnings, "FrameTimeVector: "+why)
		} else {
			sources[1].vec = times
			sources[1].step = usable(sources[1].name, times[n-1]/float64(n-1))
		}
	}
	order := []int{0, 1, 2, 3, 4, 5}
	if p := d.Tags(tag.FrameIncrementPointer); len(p) > 0 && p[0] == tag.FrameTimeVector {
		order[0], order[1] = 1, 0
	}
	var used *source
	for _, i := range order {
		s := &sources[i]
		if s.step == 0 {
			continue
		}
		if used == nil {
			used = s
		} else if r := s.step / used.step; r > 1.1 || r < 1/1.1 {
			warnings = append(warnings, fmt.Sprintf("%s says %.4g ms per frame, %s %.4g", used.name, used.step, s.name, s.step))
		}
	}
	if used == &sources[5] {
		warnings = append(warnings, used.name+" alone tells the time: the rate for showing the loop need not be that at which it was taken")
	}
	if e.TimingWarning = strings.Join(warnings, "; "); e.TimingWarning != "" {
		e.doubt(DoubtFrameTimes, "%s", e.TimingWarning)
	}
	if used == nil {
		return
	}
	e.FrameTimeSource = used.name
	if used.vec != nil {
		e.FrameTimes = used.vec
		return
	}
	e.FrameTimes = make([]float64, n)
	for i := range e.FrameTimes {
		e.FrameTimes[i] = used.step * float64(i)
	}
}

// frameTimeVector sums the increments. The first element belongs to the first
// frame and does not count (PS3.3 C.7.6.5).
func frameTimeVector(v []float64, n int) ([]float64, string) {
	if len(v) < n {
		return nil, fmt.Sprintf("%d increments for %d frames", len(v), n)
	}
	out := make([]float64, n)
	for i := 1; i < n; i++ {
		if !(v[i] > 0) || v[i] > 1e7 {
			return nil, fmt.Sprintf("increment %d is %v", i+1, v[i])
		}
		out[i] = out[i-1] + v[i]
	}
	if steady(v[:n]) {
		return nil, "its elements grow steadily, as times do: they are no increments"
	}
	return out, ""
}

// steady reports whether numbers grow by steps of nearly one size: times from the
// first frame, which no increments do.
func steady(v []float64) bool {
	if len(v) < 4 {
		return false
	}
	mean := (v[len(v)-1] - v[1]) / float64(len(v)-2)
	for i := 2; i < len(v); i++ {
		if step := v[i] - v[i-1]; !(mean > 0) || math.Abs(step-mean) > 0.25*mean {
			return false
		}
	}
	return v[1] < 2.5*mean // the second frame's time, from 0 or from one step; else frames that come ever later
}

// Short is what a remark quotes of an object's text, which may be long: the first 64 letters.
func Short(text string) string {
	const most = 64
	n := 0
	for at := range text {
		if n == most {
			return text[:at] + "..."
		}
		n++
	}
	return text
}

// Text is what an object says in an attribute, in one line and bounded, as it may
// stand in a result and in every object that is made of it.
func Text(d *dicomio.DataSet, t dicomio.Tag) string { return Short(encoding.Line(d.String(t))) }

// heart reads R waves and heart rate. Two R waves tell the rate; what is
// outside 20 to 300 per minute is not believed.
func (e *Facts) heart(d *dicomio.DataSet) {
	plausible := func(bpm float64) bool { return bpm >= 20 && bpm <= 300 }
	// Devices write 0 where they have no rate.
	if text := Text(d, tag.HeartRate); text != "" {
		if _, ok := d.Float(tag.HeartRate); !ok {
			e.doubt(DoubtNotUsed, "Heart Rate is no number (%q): it is not used", text)
		}
	}
	if v, ok := d.Float(tag.HeartRate); ok && v != 0 && !plausible(v) {
		e.doubt(DoubtNotUsed, "Heart Rate of %g per minute is none that a heart has: it is not used", v)
	}
	for i, v := range d.Floats(tag.RWaveTimeVector) {
		if i >= 10000 || math.IsNaN(v) || math.IsInf(v, 0) || len(e.RWaveTimes) > 0 && v <= e.RWaveTimes[len(e.RWaveTimes)-1] {
			e.RWaveTimes = nil
			e.doubt(DoubtNotUsed, "R Wave Time Vector is no list of times that rise: it is not used")
			break
		}
		e.RWaveTimes = append(e.RWaveTimes, v)
	}
	if k := len(e.RWaveTimes); k >= 2 {
		if bpm := 60000 * float64(k-1) / (e.RWaveTimes[k-1] - e.RWaveTimes[0]); plausible(bpm) {
			e.HeartRate, e.HeartRateSource = bpm, tag.Keyword(tag.RWaveTimeVector)
			if v, ok := d.Float(tag.HeartRate); ok && plausible(v) && math.Abs(v-bpm) > 0.15*bpm {
				e.doubt(DoubtHeartRate, "the R waves say %.0f beats per minute, Heart Rate %.0f", bpm, v)
			}
			return
		}
	}
	if v, ok := d.Float(tag.HeartRate); ok && plausible(v) {
		e.HeartRate, e.HeartRateSource = v, tag.Keyword(tag.HeartRate)
	}
}
