//go:build !cgo || purego

package jpeg

import (
	"bytes"
	"errors"
	"image"
	stdjpeg "image/jpeg"
	"io"

	"github.com/echonode/echonode/dicomio/internal/fault"
	"github.com/echonode/echonode/dicomio/pixel"
	"github.com/echonode/echonode/dicomio/tag"
)

// Library names what decodes JPEG in this build.
const Library = "image/jpeg"

// Form is a form of decoded JPEG frames.
type Form int

const (
	Gray Form = iota // luma, one byte
	RGBA             // four bytes, the last 255
	RGB              // three bytes
	Raw              // the components as they are, interleaved
)

// decode8 decodes an 8-bit DCT frame with image/jpeg into rows of dst.
// Luma is within 1 of libjpeg; chroma, which image/jpeg does not interpolate,
// differs more.
func decode8(src []byte, w, h, comps int, rgb bool, out Form, dst []byte, stride int, limit int64) error {
	if tooManyScans(src, w, h, comps) {
		return fault.New("jpeg", tag.PixelData, -1, fault.ErrCodestream, "too many scans")
	}
	img, err := stdjpeg.Decode(bytes.NewReader(src))
	if err != nil {
		kind := fault.ErrCodestream
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			kind = fault.ErrTruncated
		}
		return fault.New("jpeg", tag.PixelData, -1, kind, "%v", err)
	}
	if img.Bounds() != image.Rect(0, 0, w, h) {
		return fault.New("jpeg", tag.PixelData, -1, fault.ErrMismatch, "%v, expected %dx%d", img.Bounds(), w, h)
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
		return fault.New("jpeg", tag.PixelData, -1, fault.ErrUnsupported, "%d components", comps)
	}
	for y := range h {
		row := dst[y*stride:]
		for x := range w {
			a, b, c, ycc := at(x, y)
			switch out {
			case Gray:
				if !ycc {
					a = pixel.Luma(a, b, c)
				}
				row[x] = a
			case Raw:
				row[x*comps] = a
				if comps == 3 {
					row[x*3+1], row[x*3+2] = b, c
				}
			default:
				if ycc {
					a, b, c = pixel.YBRFull(a, b, c)
				}
				if out == RGB {
					row[3*x], row[3*x+1], row[3*x+2] = a, b, c
				} else {
					row[4*x], row[4*x+1], row[4*x+2], row[4*x+3] = a, b, c, 255
				}
			}
		}
	}
	return nil
}

// tooManyScans reports whether a stream has an absurd number of scans. Each passes
// over all blocks, however few bytes it has: large frames get fewer of them.
func tooManyScans(src []byte, w, h, comps int) bool {
	most := min(100, max(10, 1<<28/(w*h*comps+1))) // cjpeg -progressive writes 10
	for at, scans := 2, 0; ; {
		m, _, next, err := segment(src, at)
		switch {
		case err != nil || m == 0 || m == 0xD9:
			return false
		case m == 0xDA:
			if scans++; scans > most {
				return true
			}
		}
		at = next
	}
}

// Encode encodes a picture as JPEG Baseline. quality is 1 to 100; alpha is
// ignored. image/jpeg writes 4:2:0 chroma; with cgo it is 4:2:2, the form of
// Photometric Interpretation YBR_FULL_422.
func Encode(img *image.RGBA, quality int) ([]byte, error) {
	return encodeGo(img, quality)
}

// encodeGo checks the arguments and encodes.
func encodeGo(img image.Image, quality int) ([]byte, error) {
	if img.Bounds().Empty() {
		return nil, fault.New("jpeg encode", tag.PixelData, -1, fault.ErrValue, "an empty picture")
	}
	if quality < 1 || quality > 100 {
		return nil, fault.New("jpeg encode", tag.PixelData, -1, fault.ErrValue, "quality %d", quality)
	}
	var b bytes.Buffer
	if err := stdjpeg.Encode(&b, img, &stdjpeg.Options{Quality: quality}); err != nil {
		return nil, fault.New("jpeg encode", tag.PixelData, -1, fault.ErrValue, "%v", err)
	}
	return b.Bytes(), nil
}
