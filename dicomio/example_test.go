package dicomio_test

import (
	"bytes"
	"fmt"
	"image"
	"log"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
)

// A cine of two frames is written as a file, read again without loading its
// pixels, and decoded to gray.
func Example() {
	ds := dicomio.NewDataSet().
		SetString(tag.SOPClassUID, uid.UltrasoundMultiFrameImageStorage).
		SetString(tag.SOPInstanceUID, "2.25.1").
		SetString(tag.PatientName, "Müller^Jo").
		SetInt(tag.NumberOfFrames, 2).
		SetInt(tag.Rows, 2).SetInt(tag.Columns, 3).
		SetInt(tag.SamplesPerPixel, 1).
		SetString(tag.PhotometricInterpretation, "MONOCHROME2").
		SetInt(tag.BitsAllocated, 8).SetInt(tag.BitsStored, 8).SetInt(tag.HighBit, 7).SetInt(tag.PixelRepresentation, 0)
	frames := dicomio.FrameBytes([][]byte{{0, 1, 2, 3, 4, 5}, {10, 11, 12, 13, 14, 15}})
	var file bytes.Buffer
	if err := dicomio.Write(&file, ds, dicomio.WriteOptions{Pixels: frames}); err != nil {
		log.Fatal(err)
	}

	f, err := dicomio.Read(bytes.NewReader(file.Bytes()), int64(file.Len()), dicomio.Options{Strict: true})
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	fmt.Println(f.Syntax.Name, f.DataSet.String(tag.PatientName))
	r, err := f.Frames()
	if err != nil {
		log.Fatal(err)
	}
	var gray image.Gray
	for i, err := range r.GrayFrames(&gray) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(i, gray.Rect.Size(), gray.Pix)
	}
	// Output:
	// Explicit VR Little Endian Müller^Jo
	// 0 (3,2) [0 1 2 3 4 5]
	// 1 (3,2) [10 11 12 13 14 15]
}
