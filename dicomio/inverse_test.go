package dicomio

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"testing"

	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
)

// grayJPEG is the baseline JPEG of one component of a picture of one level.
func grayJPEG(t *testing.T, w, h int, level uint8) []byte {
	t.Helper()
	g := image.NewGray(image.Rect(0, 0, w, h))
	for i := range g.Pix {
		g.Pix[i] = level
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, g, &jpeg.Options{Quality: 95}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Presentation LUT Shape INVERSE says of gray what MONOCHROME1 says, and a Rescale
// Slope below nothing turns it once more (PS3.3 C.7.6.3.1.2, C.11.1, C.11.6): the
// stored value 60 of 255 is shown as 60 or as 195, whichever way it is decoded.
func TestInverse(t *testing.T) {
	const rows, columns, stored = 16, 24, 60
	level := func(syntax string, bits int, edit func(*DataSet)) (gray, rgb uint8, inverted bool) {
		t.Helper()
		d := syntheticBase(1, 1, max(bits, 8), bits, "MONOCHROME2").SetInt(tag.Rows, rows).SetInt(tag.Columns, columns)
		edit(d)
		frame := bytes.Repeat([]byte{stored}, rows*columns)
		switch {
		case syntax == uid.JPEGBaseline8Bit:
			frame = grayJPEG(t, columns, rows, stored)
		case bits == 16:
			// 60/255 of the window's 1000.
			frame = bytes.Repeat([]byte{235, 0}, rows*columns)
		}
		var b bytes.Buffer
		if err := Write(&b, d, WriteOptions{TransferSyntax: syntax, Pixels: FrameBytes([][]byte{frame})}); err != nil {
			t.Fatal(err)
		}
		frames, err := readBytes(t, b.Bytes(), Options{}).Frames()
		if err != nil {
			t.Fatal(err)
		}
		var g image.Gray
		var c image.RGBA
		if err := errors.Join(frames.Gray(0, &g), frames.RGB(0, &c)); err != nil {
			t.Fatal(err)
		}
		return g.GrayAt(5, 5).Y, c.RGBAAt(5, 5).G, frames.Inverted()
	}
	near := func(a uint8, b int) bool { return int(a) >= b-1 && int(a) <= b+1 }
	for _, c := range []struct {
		photometric, shape string
		slope, intercept   float64
		want               int
	}{
		{"MONOCHROME2", "", 1, 0, 60},
		{"MONOCHROME2", "IDENTITY", 1, 0, 60},
		{"MONOCHROME2", "INVERSE", 1, 0, 195},
		{"MONOCHROME2", "inverse", 1, 0, 195},
		{"MONOCHROME1", "", 1, 0, 195},
		{"MONOCHROME1", "INVERSE", 1, 0, 195},
		{"MONOCHROME2", "", -1, 255, 195},
		{"MONOCHROME2", "INVERSE", -1, 255, 60},
		{"MONOCHROME1", "", -1, 255, 60},
	} {
		name := fmt.Sprintf("%s %s slope %g", c.photometric, c.shape, c.slope)
		for _, syntax := range []string{uid.ExplicitVRLittleEndian, uid.JPEGBaseline8Bit} {
			gray, rgb, inverted := level(syntax, 8, func(d *DataSet) {
				d.SetString(tag.PhotometricInterpretation, c.photometric).SetFloat(tag.RescaleSlope, c.slope).SetFloat(tag.RescaleIntercept, c.intercept)
				if c.shape != "" {
					d.SetBytes(tag.PresentationLUTShape, "CS", []byte(c.shape))
				}
			})
			if !near(gray, c.want) || !near(rgb, c.want) || inverted != (c.want == 195) {
				t.Errorf("%s in %s: gray %d, RGB %d, inverted %v", name, syntax, gray, rgb, inverted)
			}
		}
		// With a window of 0 to 1000, or of what the slope makes of it.
		gray, rgb, _ := level(uid.ExplicitVRLittleEndian, 16, func(d *DataSet) {
			d.SetString(tag.PhotometricInterpretation, c.photometric).SetFloat(tag.RescaleSlope, c.slope).SetFloat(tag.RescaleIntercept, 0)
			d.SetFloat(tag.WindowCenter, 500.5*c.slope).SetFloat(tag.WindowWidth, 1001)
			if c.shape != "" {
				d.SetBytes(tag.PresentationLUTShape, "CS", []byte(c.shape))
			}
		})
		if !near(gray, c.want) || !near(rgb, c.want) {
			t.Errorf("%s of 16 bits: gray %d, RGB %d", name, gray, rgb)
		}
	}
	// Colours have no such shape, and a presentation state's is not the image's.
	for name, edit := range map[string]func(*DataSet){
		"in an item": func(d *DataSet) {
			d.SetItems(tag.New(0x2050, 0x0500), NewDataSet().SetString(tag.PresentationLUTShape, "INVERSE"))
		},
	} {
		if gray, rgb, inverted := level(uid.ExplicitVRLittleEndian, 8, edit); gray != 60 || rgb != 60 || inverted {
			t.Errorf("%s: gray %d, RGB %d", name, gray, rgb)
		}
	}
	d := syntheticBase(1, 3, 8, 8, "RGB").SetInt(tag.Rows, 2).SetInt(tag.Columns, 2).SetString(tag.PresentationLUTShape, "INVERSE")
	var b bytes.Buffer
	if err := Write(&b, d, WriteOptions{Pixels: FrameBytes([][]byte{bytes.Repeat([]byte{stored}, 12)})}); err != nil {
		t.Fatal(err)
	}
	frames, err := readBytes(t, b.Bytes(), Options{}).Frames()
	if err != nil {
		t.Fatal(err)
	}
	var c image.RGBA
	if err := frames.RGB(0, &c); err != nil || c.RGBAAt(1, 1).G != stored || frames.Inverted() {
		t.Errorf("colours: %v, %v", c.RGBAAt(1, 1), err)
	}
}
