package dicomio

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// jpegHeader is what the markers before the first scan of a JPEG or JPEG-LS
// stream say.
type jpegHeader struct {
	sof       byte // marker of the frame header: 0xC0.., 0xF7 for JPEG-LS
	precision int
	rows      int
	cols      int
	ids       []byte
	h, v      []int // sampling factors
	jfif      bool
	adobe     int // transform of the Adobe marker, -1 when there is none
}

// parseJPEG reads markers up to the frame header.
func parseJPEG(b []byte) (jpegHeader, error) {
	h := jpegHeader{adobe: -1}
	bad := func(at int, why string) (jpegHeader, error) {
		return h, fail("jpeg", tagPixels, int64(at), ErrCodestream, "%s", why)
	}
	if len(b) < 4 || b[0] != 0xFF || b[1] != 0xD8 {
		return bad(0, "no SOI marker")
	}
	for at := 2; ; {
		if at+4 > len(b) {
			return h, fail("jpeg", tagPixels, int64(at), ErrTruncated, "no frame header")
		}
		if b[at] != 0xFF {
			at++ // fill bytes that some encoders leave between segments
			continue
		}
		m := b[at+1]
		if m == 0xFF || m == 0 || m == 1 || m >= 0xD0 && m <= 0xD8 {
			at++
			continue
		}
		n := int(binary.BigEndian.Uint16(b[at+2:]))
		if n < 2 {
			return bad(at, "a segment without length")
		}
		if at+2+n > len(b) {
			return h, fail("jpeg", tagPixels, int64(at), ErrTruncated, "inside a segment")
		}
		seg := b[at+4 : at+2+n]
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
			h.sof, h.precision = m, int(seg[0])
			h.rows, h.cols = int(binary.BigEndian.Uint16(seg[1:])), int(binary.BigEndian.Uint16(seg[3:]))
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
				h.ids, h.h, h.v = append(h.ids, c[0]), append(h.h, hs), append(h.v, vs)
			}
			return h, nil
		}
		at += 2 + n
	}
}

// check compares the header with the attributes.
func (h jpegHeader) check(in PixelInfo) error {
	if h.rows != in.Rows || h.cols != in.Columns || len(h.ids) != in.Samples || h.precision > max(in.BitsAllocated, 8) || h.precision < 2 {
		return fail("jpeg", tagPixels, -1, ErrMismatch, "%dx%d, %d components of %d bits; the attributes say %dx%d, %d of %d",
			h.cols, h.rows, len(h.ids), h.precision, in.Columns, in.Rows, in.Samples, in.BitsAllocated)
	}
	return nil
}

// rgb tells whether three components are R, G and B. Photometric
// Interpretation and the Adobe marker are both often wrong, so what the coder
// cannot have got wrong comes first: nobody subsamples the components of RGB.
// Then a marker that says YCbCr (transform 1, or JFIF); one that says "no
// transform" is only believed when the attribute does not say YBR; then
// component identifiers, and then the attribute.
func (h jpegHeader) rgb(photometric string) bool {
	switch {
	case len(h.ids) != 3, h.subsampled():
		return false
	case h.adobe == 0:
		return !strings.HasPrefix(photometric, "YBR")
	case h.adobe > 0, h.jfif:
		return false
	case string(h.ids) == "RGB":
		return true
	}
	return photometric == "RGB"
}

// subsampled reports whether the second and third component have fewer samples
// than the first.
func (h jpegHeader) subsampled() bool {
	return h.h[0] > h.h[1] || h.v[0] > h.v[1]
}

// dct8 reports whether the attributes allow 8-bit DCT frames.
func (r *FrameReader) dct8() bool {
	return r.Info.BitsAllocated == 8 && (r.Info.Samples == 1 || r.Info.Samples == 3)
}

// fastJPEG decodes an 8-bit DCT frame straight into rows of dst. It returns
// false when the frame is of another kind.
func (r *FrameReader) fastJPEG(b []byte, out jpegOut, dst []byte, stride int) (bool, error) {
	if len(b) < 2 || b[0] != 0xFF || b[1] != 0xD8 {
		return false, nil
	}
	h, err := parseJPEG(b)
	if err != nil {
		return false, err
	}
	if h.sof > 0xC2 || h.precision != 8 || r.Info.Photometric == "MONOCHROME1" || r.Info.Photometric == "PALETTE COLOR" || r.Info.BitsStored != 8 || r.Info.Signed {
		return false, nil
	}
	if err := h.check(r.Info); err != nil {
		return false, err
	}
	return true, decodeJPEG8(b, h.cols, h.rows, len(h.ids), h.rgb(r.Info.Photometric), out, dst, stride, r.limits.Frame)
}

// decodeJPEG decodes a JPEG or JPEG-LS frame to stored values.
func (r *FrameReader) decodeJPEG(b []byte, dst *Frame) error {
	h, err := parseJPEG(b)
	if err != nil {
		return err
	}
	if err := h.check(r.Info); err != nil {
		return err
	}
	switch {
	case h.sof == 0xF7:
		return decodeJPEGLS(b, dst)
	case h.sof == 0xC3:
		if err := decodeJPEGLossless(b, dst); err != nil {
			return err
		}
		if dst.Samples == 3 && !h.rgb(dst.Photometric) && h.adobe >= 0 {
			dst.Photometric = "YBR_FULL"
		}
		return nil
	case h.sof <= 0xC2 && h.precision == 8 && dst.Bits == 8:
		out := jpegRaw
		if dst.Samples == 3 {
			out = jpegRGB
			dst.Photometric = "RGB"
		}
		return decodeJPEG8(b, h.cols, h.rows, len(h.ids), h.rgb(r.Info.Photometric), out, dst.Data, h.cols*len(h.ids), r.limits.Frame)
	case h.sof <= 0xC1:
		return decodeJPEG12(b, h, dst)
	}
	return fail("jpeg", tagPixels, -1, ErrUnsupported, "JPEG process with SOF marker %#x", h.sof)
}
