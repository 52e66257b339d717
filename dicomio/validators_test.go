package dicomio

import (
	"bytes"
	"image"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
)

// code makes an item of a code sequence.
func code(value, scheme, meaning string) *DataSet {
	return NewDataSet().SetString(tag.CodeValue, value).SetString(tag.CodingSchemeDesignator, scheme).SetString(tag.CodeMeaning, meaning)
}

// document is the patient, study, series and equipment part of an object.
func document(class, instance, modality string) *DataSet {
	return NewDataSet().
		SetString(tag.SOPClassUID, class).SetString(tag.SOPInstanceUID, instance).
		SetString(tag.PatientName, "Synthetic^Fixture").SetString(tag.PatientID, "FIXTURE").
		SetEmpty(tag.PatientBirthDate).SetEmpty(tag.PatientSex).
		SetString(tag.StudyInstanceUID, "1.2.826.0.1.3680043.10.2").SetString(tag.StudyDate, "20260101").SetString(tag.StudyTime, "101112").
		SetEmpty(tag.ReferringPhysicianName).SetString(tag.StudyID, "1").SetEmpty(tag.AccessionNumber).
		SetString(tag.Modality, modality).SetString(tag.SeriesInstanceUID, instance+".1").SetInt(tag.SeriesNumber, 90).SetInt(tag.InstanceNumber, 1).
		SetString(tag.Manufacturer, "EchoNode").SetString(tag.ManufacturerModelName, "EchoNode").
		SetString(tag.DeviceSerialNumber, "1").SetString(tag.SoftwareVersions, "1").
		SetString(tag.ContentDate, "20260101").SetString(tag.ContentTime, "101112").
		SetString(tag.BodyPartExamined, "HEART").SetEmpty(tag.PatientOrientation)
}

// pixelModule adds the Image Pixel module.
func pixelModule(d *DataSet, frames, samples, bits int64, photometric string) *DataSet {
	d.SetInt(tag.NumberOfFrames, frames).SetInt(tag.Rows, fixtureH).SetInt(tag.Columns, fixtureW).
		SetInt(tag.SamplesPerPixel, samples).SetInt(tag.BitsAllocated, bits).SetInt(tag.BitsStored, bits).SetInt(tag.HighBit, bits-1).
		SetInt(tag.PixelRepresentation, 0).SetString(tag.PhotometricInterpretation, photometric)
	if samples > 1 {
		d.SetInt(tag.PlanarConfiguration, 0)
	}
	return d
}

// secondaryCapture is a Multi-frame True Color SC cine in JPEG Baseline.
func secondaryCapture(t *testing.T) []byte {
	t.Helper()
	d := document(uid.MultiFrameTrueColorSecondaryCaptureImageStorage, "1.2.826.0.1.3680043.10.5", "US").
		SetString(tag.ImageType, "DERIVED", "SECONDARY").SetString(tag.ConversionType, "WSD").
		SetString(tag.BurnedInAnnotation, "YES").SetTags(tag.FrameIncrementPointer, tag.FrameTime).SetFloat(tag.FrameTime, 33.333).
		SetString(tag.LossyImageCompression, "01").SetFloat(tag.LossyImageCompressionRatio, 8).SetString(tag.LossyImageCompressionMethod, "ISO_10918_1")
	pixelModule(d, 2, 3, 8, "YBR_FULL_422")
	var frames [][]byte
	for i := range 2 {
		img := image.NewRGBA(image.Rect(0, 0, fixtureW, fixtureH))
		for k, v := range syntheticFrame(i, 3, 8) {
			img.Pix[k/3*4+k%3] = v
		}
		b, err := EncodeJPEG(img, 90)
		if err != nil {
			t.Fatal(err)
		}
		frames = append(frames, b)
	}
	var b bytes.Buffer
	if err := Write(&b, d, WriteOptions{TransferSyntax: uid.JPEGBaseline8Bit, Pixels: FrameBytes(frames)}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// segmentation is a binary segmentation of two frames of a cine.
func segmentation(t *testing.T) []byte {
	t.Helper()
	const org = "1.2.826.0.1.3680043.10.7"
	source := func(frame int64) *DataSet {
		return NewDataSet().SetString(tag.ReferencedSOPClassUID, uid.UltrasoundMultiFrameImageStorage).
			SetString(tag.ReferencedSOPInstanceUID, "1.2.826.0.1.3680043.10.1").
			SetInt(tag.ReferencedFrameNumber, frame).SetItems(tag.PurposeOfReferenceCodeSequence, code("121322", "DCM", "Source image for image processing operation"))
	}
	d := document(uid.SegmentationStorage, "1.2.826.0.1.3680043.10.6", "SEG").
		SetString(tag.ImageType, "DERIVED", "PRIMARY").
		SetString(tag.ContentLabel, "LV").SetEmpty(tag.ContentDescription).SetEmpty(tag.ContentCreatorName).
		SetString(tag.LossyImageCompression, "00").SetString(tag.SegmentationType, "BINARY").SetString(tag.SegmentsOverlap, "NO").
		SetItems(tag.ReferencedSeriesSequence, NewDataSet().SetString(tag.SeriesInstanceUID, "1.2.826.0.1.3680043.10.3").
			SetItems(tag.ReferencedInstanceSequence, NewDataSet().SetString(tag.ReferencedSOPClassUID, uid.UltrasoundMultiFrameImageStorage).
				SetString(tag.ReferencedSOPInstanceUID, "1.2.826.0.1.3680043.10.1"))).
		SetItems(tag.DimensionOrganizationSequence, NewDataSet().SetString(tag.DimensionOrganizationUID, org)).
		SetItems(tag.DimensionIndexSequence,
			NewDataSet().SetString(tag.DimensionOrganizationUID, org).SetTags(tag.DimensionIndexPointer, tag.ReferencedSegmentNumber).
				SetTags(tag.FunctionalGroupPointer, tag.SegmentIdentificationSequence),
			NewDataSet().SetString(tag.DimensionOrganizationUID, org).SetTags(tag.DimensionIndexPointer, tag.TemporalPositionIndex).
				SetTags(tag.FunctionalGroupPointer, tag.FrameContentSequence)).
		SetItems(tag.SegmentSequence, NewDataSet().SetInt(tag.SegmentNumber, 1).SetString(tag.SegmentLabel, "Left ventricle").
			SetString(tag.SegmentAlgorithmType, "AUTOMATIC").SetString(tag.SegmentAlgorithmName, "EchoNode").
			SetItems(tag.SegmentedPropertyCategoryCodeSequence, code("91723000", "SCT", "Anatomical Structure")).
			SetItems(tag.SegmentedPropertyTypeCodeSequence, code("87878005", "SCT", "Left Ventricle"))).
		SetItems(tag.SharedFunctionalGroupsSequence, NewDataSet())
	for i := range int64(2) {
		d.AddItem(tag.PerFrameFunctionalGroupsSequence, NewDataSet().
			SetItems(tag.FrameContentSequence, NewDataSet().SetInt(tag.TemporalPositionIndex, i+1).SetInt(tag.DimensionIndexValues, 1, i+1)).
			SetItems(tag.SegmentIdentificationSequence, NewDataSet().SetInt(tag.ReferencedSegmentNumber, 1)).
			SetItems(tag.DerivationImageSequence, NewDataSet().SetItems(tag.DerivationCodeSequence, code("113076", "DCM", "Segmentation")).
				SetItems(tag.SourceImageSequence, source(i+1))))
	}
	pixelModule(d, 2, 1, 1, "MONOCHROME2")
	var b bytes.Buffer
	px := BitFrames(2, fixtureW*fixtureH, func(i int) ([]byte, error) {
		m := syntheticFrame(i, 1, 8)
		for k := range m {
			m[k] >>= 7
		}
		return m, nil
	})
	if err := Write(&b, d, WriteOptions{Pixels: px}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Objects made with Write are clean in dciodvfy and read by pydicom.
func TestObjectsInValidators(t *testing.T) {
	dir := t.TempDir()
	for name, b := range map[string][]byte{"sc": secondaryCapture(t), "seg": segmentation(t)} {
		path := filepath.Join(dir, name+".dcm")
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := exec.LookPath("dciodvfy"); err != nil {
			t.Log("dciodvfy is not installed")
		} else if out, err := exec.Command("dciodvfy", path).CombinedOutput(); err != nil || bytes.Contains(out, []byte("Error")) ||
			bytes.Contains(out, []byte("Warning")) {
			t.Errorf("%s: dciodvfy: %v\n%s", name, err, out)
		}
		script := "import pydicom,sys\nd=pydicom.dcmread(sys.argv[1])\n" +
			"print(d.SOPClassUID.name, d.NumberOfFrames, len(d.PixelData)>0, d.file_meta.TransferSyntaxUID==d.file_meta.TransferSyntaxUID)"
		if exec.Command("/usr/bin/python3", "-c", "import pydicom").Run() != nil {
			t.Log("pydicom is not installed")
		} else if out, err := exec.Command("/usr/bin/python3", "-W", "error", "-c", script, path).CombinedOutput(); err != nil ||
			!strings.Contains(string(out), " 2 True") {
			t.Errorf("%s: pydicom: %v\n%s", name, err, out)
		}
	}
}
