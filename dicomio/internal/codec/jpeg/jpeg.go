// Package jpeg decodes JPEG frames (ITU-T T.81) and reads the markers of JPEG-LS.
package jpeg

import (
	"bytes"
	"encoding/binary"
	"strings"

	"github.com/echonode/echonode/dicomio/internal/fault"
	"github.com/echonode/echonode/dicomio/pixel"
	"github.com/echonode/echonode/dicomio/tag"
)

// Header is what the markers before the first scan of a JPEG or JPEG-LS
// stream say.
type Header struct {
	SOF       byte // marker of the frame header: 0xC0.., 0xF7 for JPEG-LS
	Precision int
	Rows      int
	Columns   int
	IDs       []byte
	H, V      []int // sampling factors
	quant     []int // selectors of the quantisation tables
	jfif      bool
	adobe     int // transform of the Adobe marker, -1 when there is none
}

// Parse reads markers up to the frame header.
func Parse(b []byte) (Header, error) {
	h := Header{adobe: -1}
	bad := func(at int, why string) (Header, error) {
		return h, fault.New("jpeg", tag.PixelData, int64(at), fault.ErrCodestream, "%s", why)
	}
	if len(b) < 4 || b[0] != 0xFF || b[1] != 0xD8 {
		return bad(0, "no SOI marker")
	}
	for at := 2; ; {
		m, seg, next, err := segment(b, at)
		if err != nil {
			return h, err
		}
		at = next - len(seg) - 4
		if m == 0 {
			return h, fault.New("jpeg", tag.PixelData, int64(at), fault.ErrTruncated, "no frame header")
		}
		switch {
		case m == 0xDA || m == 0xD9:
			return bad(at, "a scan without frame header")
		case m == 0xE0 && bytes.HasPrefix(seg, []byte("JFIF\x00")):
			h.jfif = true
		case m == 0xEE && len(seg) >= 12 && bytes.HasPrefix(seg, []byte("Adobe")):
			h.adobe = int(seg[11])
		case m >= 0xC0 && m <= 0xCF && m != 0xC4 && m != 0xC8 && m != 0xCC || m == 0xF7:
			if len(seg) < 6 {
				return bad(at, "a short frame header")
			}
			h.SOF, h.Precision = m, int(seg[0])
			h.Rows, h.Columns = int(binary.BigEndian.Uint16(seg[1:])), int(binary.BigEndian.Uint16(seg[3:]))
			n := int(seg[5])
			if n == 0 || n > 4 || len(seg) < 6+3*n {
				return bad(at, "the number of components")
			}
			for i := 0; i < n; i++ {
				c := seg[6+3*i:]
				hs, vs := int(c[1]>>4), int(c[1]&15)
				if hs < 1 || hs > 4 || vs < 1 || vs > 4 {
					return bad(at, "a sampling factor")
				}
				h.IDs, h.H, h.V, h.quant = append(h.IDs, c[0]), append(h.H, hs), append(h.V, vs), append(h.quant, int(c[2]))
			}
			return h, nil
		}
		at = next
	}
}

// segment is the first marker segment at or after b[at:], and where it ends.
// Markers without a segment are passed over, and so are fill bytes that some
// encoders leave between segments. At the end of the image seg is empty; at the
// end of b without one m is 0. The segment begins at next - len(seg) - 4.
func segment(b []byte, at int) (m byte, seg []byte, next int, err error) {
	for ; at+2 <= len(b); at++ {
		m := b[at+1]
		if b[at] != 0xFF || m == 0xFF || m == 0 || m == 1 || m >= 0xD0 && m <= 0xD8 {
			continue
		}
		if m == 0xD9 {
			return m, nil, at + 4, nil
		}
		if at+4 > len(b) {
			return 0, nil, 0, fault.New("jpeg", tag.PixelData, int64(at), fault.ErrTruncated, "inside a segment")
		}
		n := int(binary.BigEndian.Uint16(b[at+2:]))
		if n < 2 {
			return 0, nil, 0, fault.New("jpeg", tag.PixelData, int64(at), fault.ErrCodestream, "a segment without length")
		}
		if at+2+n > len(b) {
			return 0, nil, 0, fault.New("jpeg", tag.PixelData, int64(at), fault.ErrTruncated, "inside a segment")
		}
		return m, b[at+4 : at+2+n], at + 2 + n, nil
	}
	return 0, nil, at + 4, nil
}

// Check compares the header with the attributes.
func (h Header) Check(in pixel.Info) error {
	if h.Rows != in.Rows || h.Columns != in.Columns || len(h.IDs) != in.Samples || h.Precision > max(in.BitsAllocated, 8) || h.Precision < 2 {
		return fault.New("jpeg", tag.PixelData, -1, fault.ErrMismatch, "%dx%d, %d components of %d bits; the attributes say %dx%d, %d of %d",
			h.Columns, h.Rows, len(h.IDs), h.Precision, in.Columns, in.Rows, in.Samples, in.BitsAllocated)
	}
	return nil
}

// rgb tells whether three components are R, G and B. Photometric
// Interpretation and the Adobe marker are both often wrong, so what the coder
// cannot have got wrong comes first: nobody subsamples the components of RGB.
// Then a marker that says YCbCr (transform 1, or JFIF); one that says "no
// transform" is only believed when the attribute does not say YBR; then
// component identifiers, and then the attribute.
func (h Header) rgb(photometric string) bool {
	switch {
	case len(h.IDs) != 3, h.subsampled():
		return false
	case h.adobe == 0:
		return !strings.HasPrefix(photometric, "YBR")
	case h.adobe > 0, h.jfif:
		return false
	case string(h.IDs) == "RGB":
		return true
	}
	return photometric == "RGB"
}

// subsampled reports whether the second and third component have fewer samples
// than the first.
func (h Header) subsampled() bool {
	return h.H[0] > h.H[1] || h.V[0] > h.V[1]
}

// Codec decodes JPEG: baseline, extended and progressive DCT and lossless
// processes with Huffman coding.
type Codec struct{}

// Starts reports whether b begins as a JPEG or JPEG-LS stream does.
func (Codec) Starts(b []byte) bool { return len(b) > 2 && b[0] == 0xFF && b[1] == 0xD8 && b[2] == 0xFF }

// Paint decodes an 8-bit DCT frame straight into rows of dst, as luma or as
// RGBA. It returns false when the frame is of another kind.
func (Codec) Paint(b []byte, in pixel.Info, form Form, dst []byte, stride int, limit int64) (bool, error) {
	if len(b) < 2 || b[0] != 0xFF || b[1] != 0xD8 {
		return false, nil
	}
	h, err := Parse(b)
	if err != nil {
		return false, err
	}
	if h.SOF > 0xC2 || h.Precision != 8 || in.Photometric == "MONOCHROME1" || in.Photometric == "PALETTE COLOR" || in.BitsStored != 8 || in.Signed {
		return false, nil
	}
	if err := h.Check(in); err != nil {
		return false, err
	}
	return true, decode8(b, h.Columns, h.Rows, len(h.IDs), h.rgb(in.Photometric), form, dst, stride, limit)
}

// Decode decodes a frame to stored values, into dst, whose geometry is set.
func (Codec) Decode(b []byte, in pixel.Info, dst *pixel.Frame, limit int64) error {
	h, err := Parse(b)
	if err != nil {
		return err
	}
	if err := h.Check(in); err != nil {
		return err
	}
	switch {
	case h.SOF == 0xC3:
		if err := decodeLossless(b, h, dst); err != nil {
			return err
		}
		if dst.Samples == 3 && !h.rgb(dst.Photometric) && h.adobe >= 0 {
			dst.Photometric = "YBR_FULL"
		}
		return nil
	case h.SOF <= 0xC2 && h.Precision == 8 && dst.Bits == 8:
		out := Raw
		if dst.Samples == 3 {
			out = RGB
			dst.Photometric = "RGB"
		}
		return decode8(b, h.Columns, h.Rows, len(h.IDs), h.rgb(in.Photometric), out, dst.Data, h.Columns*len(h.IDs), limit)
	case h.SOF <= 0xC1:
		return decode12(b, h, dst)
	}
	return fault.New("jpeg", tag.PixelData, -1, fault.ErrUnsupported, "JPEG process with SOF marker %#x", h.SOF)
}
