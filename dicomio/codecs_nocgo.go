//go:build !cgo || purego

package dicomio

import (
	"bytes"
	"errors"
	"image"
	"image/jpeg"
	"io"

	"github.com/echonode/echonode/dicomio/pixel"
)

// jpegLibrary names what decodes JPEG in this build.
const jpegLibrary = "image/jpeg"

// haveJ2K says that this build does not decode JPEG 2000.
const haveJ2K = false

// jpegOut is a form of decoded JPEG frames.
type jpegOut int

const (
	jpegGray jpegOut = iota // luma, one byte
	jpegRGBA                // four bytes, the last 255
	jpegRGB                 // three bytes
	jpegRaw                 // the components as they are, interleaved
)

// decodeJ2K is not in this build.
func decodeJ2K(b []byte, dst *Frame, limit int64) error {
	return fail("jpeg 2000", tagPixels, -1, ErrUnsupported, "this build has no JPEG 2000 (cgo with OpenJPEG is needed)")
}

// decodeJPEG8 decodes an 8-bit DCT frame with image/jpeg into rows of dst.
// Luma is within 1 of libjpeg; chroma, which image/jpeg does not interpolate,
// differs more.
func decodeJPEG8(src []byte, w, h, comps int, rgb bool, out jpegOut, dst []byte, stride int, limit int64) error {
	img, err := jpeg.Decode(bytes.NewReader(src))
	if err != nil {
		kind := ErrCodestream
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			kind = ErrTruncated
		}
		return fail("jpeg", tagPixels, -1, kind, "%v", err)
	}
	if img.Bounds() != image.Rect(0, 0, w, h) {
		return fail("jpeg", tagPixels, -1, ErrMismatch, "%v, expected %dx%d", img.Bounds(), w, h)
	}
	// Components by pixel, undoing what image/jpeg chose for the colours.
	var at func(x, y int) (a, b, c uint8, ycc bool)
	switch m := img.(type) {
	case *image.Gray:
		at = func(x, y int) (uint8, uint8, uint8, bool) {
			v := m.Pix[m.PixOffset(x, y)]
			return v, 128, 128, true
		}
	case *image.YCbCr:
		at = func(x, y int) (uint8, uint8, uint8, bool) {
			c := m.COffset(x, y)
			return m.Y[m.YOffset(x, y)], m.Cb[c], m.Cr[c], !rgb
		}
	case *image.RGBA:
		at = func(x, y int) (uint8, uint8, uint8, bool) {
			p := m.Pix[m.PixOffset(x, y):]
			return p[0], p[1], p[2], !rgb
		}
	default:
		return fail("jpeg", tagPixels, -1, ErrUnsupported, "%d components", comps)
	}
	for y := range h {
		row := dst[y*stride:]
		for x := range w {
			a, b, c, ycc := at(x, y)
			switch out {
			case jpegGray:
				if !ycc {
					a = pixel.Luma(a, b, c)
				}
				row[x] = a
			case jpegRaw:
				row[x*comps] = a
				if comps == 3 {
					row[x*3+1], row[x*3+2] = b, c
				}
			default:
				if ycc {
					a, b, c = pixel.YBRFull(a, b, c)
				}
				if out == jpegRGB {
					row[3*x], row[3*x+1], row[3*x+2] = a, b, c
				} else {
					row[4*x], row[4*x+1], row[4*x+2], row[4*x+3] = a, b, c, 255
				}
			}
		}
	}
	return nil
}

// EncodeJPEG encodes a picture as JPEG Baseline. quality is 1 to 100; alpha is
// ignored. image/jpeg writes 4:2:0 chroma; with cgo it is 4:2:2, the form of
// Photometric Interpretation YBR_FULL_422.
func EncodeJPEG(img *image.RGBA, quality int) ([]byte, error) {
	return encodeGo(img, quality)
}

// encodeGo checks the arguments and encodes.
func encodeGo(img image.Image, quality int) ([]byte, error) {
	if img.Bounds().Empty() {
		return nil, fail("jpeg encode", tagPixels, -1, ErrValue, "an empty picture")
	}
	if quality < 1 || quality > 100 {
		return nil, fail("jpeg encode", tagPixels, -1, ErrValue, "quality %d", quality)
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: quality}); err != nil {
		return nil, fail("jpeg encode", tagPixels, -1, ErrValue, "%v", err)
	}
	return b.Bytes(), nil
}
