// Package j2k decodes JPEG 2000 and HTJ2K frames (ITU-T T.800, T.814), and checks
// what a stream asks for before the decoder sees it.
package j2k

import (
	"bytes"
	"encoding/binary"

	"github.com/echonode/echonode/dicomio/internal/fault"
	"github.com/echonode/echonode/dicomio/pixel"
	"github.com/echonode/echonode/dicomio/tag"
)

// Codec decodes JPEG 2000.
type Codec struct{}

// Starts reports whether b begins as a codestream or a JP2 file does.
func (Codec) Starts(b []byte) bool { return Starts(b) }

// Decode decodes a frame into dst, whose geometry is set and which the stream must
// have: what the decoder holds follows from it.
func (Codec) Decode(b []byte, _ pixel.Info, dst *pixel.Frame, _ int64) error {
	return decode(b, dst)
}

// Starts reports whether b starts a JPEG 2000 codestream, bare or in a JP2 box.
func Starts(b []byte) bool {
	return bytes.HasPrefix(b, []byte{0xFF, 0x4F, 0xFF, 0x51}) || bytes.HasPrefix(b, []byte{0, 0, 0, 12, 'j', 'P', ' ', ' ', 13, 10, 0x87, 10})
}

// stream finds the codestream of a frame: itself, or the contents of the
// jp2c box of a JP2 file, which DICOM does not allow but files have.
func stream(b []byte) ([]byte, error) {
	if bytes.HasPrefix(b, []byte{0xFF, 0x4F}) {
		return b, nil
	}
	for at := 0; at+8 <= len(b); {
		n, head := int64(binary.BigEndian.Uint32(b[at:])), int64(8)
		switch n {
		case 0:
			n = int64(len(b) - at)
		case 1:
			if at+16 > len(b) {
				return nil, fault.New("jpeg 2000", tag.PixelData, int64(at), fault.ErrTruncated, "a box")
			}
			u := binary.BigEndian.Uint64(b[at+8:])
			if u > uint64(len(b)) {
				return nil, fault.New("jpeg 2000", tag.PixelData, int64(at), fault.ErrTruncated, "a box")
			}
			n, head = int64(u), 16
		}
		if n < head || int64(at)+n > int64(len(b)) {
			return nil, fault.New("jpeg 2000", tag.PixelData, int64(at), fault.ErrTruncated, "a box")
		}
		if string(b[at+4:at+8]) == "jp2c" {
			return b[int64(at)+head : int64(at)+n], nil
		}
		at += int(n)
	}
	return nil, fault.New("jpeg 2000", tag.PixelData, -1, fault.ErrCodestream, "no codestream box")
}

// header is the SIZ marker segment (ITU-T T.800 A.5.1).
type header struct {
	comps     int
	precision int
	signed    bool
	tiles     int64
	tileW     int64 // of the largest tile, cut to the image
	tileH     int64

	// Over all coding styles of the stream, for the cost of its packets.
	layers, precincts int64
	levels            int
	dx, dy            int64 // steps of the progressions by position
}

// maxJ2KBlocks bounds precincts and code blocks of a frame, for each of which
// a decoder keeps a few hundred bytes, however short the codestream.
const maxJ2KBlocks = 1 << 20

// maxJ2KPackets bounds the packets of a frame (layers of precincts), each of
// which is visited even where the codestream has no byte for it.
const maxJ2KPackets = 1 << 21

// maxJ2KPositions bounds the positions at which a progression by position
// looks for a precinct, in every component and resolution.
const maxJ2KPositions = 1 << 24

// blocks counts the precincts and code blocks that coding style parameters
// (A.6.1, from the number of decomposition levels on) make of all tiles. It is
// an upper bound, or negative when the parameters are not valid.
func (h *header) blocks(p []byte, precincts bool) int64 {
	if len(p) < 5 {
		return -1
	}
	levels, cbw, cbh := int(p[0]), int(p[1]&15)+2, int(p[2]&15)+2
	if levels > 32 || cbw > 10 || cbh > 10 || precincts && len(p) < 5+levels+1 {
		return -1
	}
	ceil := func(v int64, shift int) int64 { return (v + 1<<uint(shift) - 1) >> uint(shift) }
	total, precs := int64(0), int64(0)
	h.levels = max(h.levels, levels)
	for r := 0; r <= levels; r++ {
		ppx, ppy := 15, 15
		if precincts {
			ppx, ppy = int(p[5+r]&15), int(p[5+r]>>4)
		}
		w, hh := ceil(h.tileW, levels-r), ceil(h.tileH, levels-r)
		h.dx, h.dy = min(h.dx, 1<<(ppx+levels-r)), min(h.dy, 1<<(ppy+levels-r))
		pw, ph := ceil(w, ppx)+1, ceil(hh, ppy)+1
		precs += pw * ph
		bands := int64(1)
		bx, by := min(cbw, ppx), min(cbh, ppy)
		if r > 0 {
			bands = 3
			w, hh = ceil(w, 1), ceil(hh, 1)
			bx, by = min(cbw, max(ppx-1, 0)), min(cbh, max(ppy-1, 0))
		}
		total += pw*ph + bands*(ceil(w, bx)+pw)*(ceil(hh, by)+ph)
	}
	h.precincts = max(h.precincts, precs*h.tiles*int64(h.comps))
	return total * h.tiles * int64(h.comps)
}

// checkStyle bounds a COD or COC marker segment, wherever it stands. seg
// starts after the length.
func (h *header) checkStyle(marker int, seg []byte, at int) error {
	n := int64(0)
	switch {
	case marker == 0xFF52 && len(seg) >= 5:
		n = h.blocks(seg[5:], seg[0]&1 != 0)
		h.layers = max(h.layers, int64(binary.BigEndian.Uint16(seg[2:])))
	case marker == 0xFF53:
		skip := 1
		if h.comps > 256 {
			skip = 2
		}
		if len(seg) < skip+1 {
			n = -1
			break
		}
		n = h.blocks(seg[skip+1:], seg[skip]&1 != 0)
	case marker == 0xFF52:
		n = -1
	}
	switch {
	case n < 0:
		return fault.New("jpeg 2000", tag.PixelData, int64(at), fault.ErrCodestream, "coding style")
	case n > maxJ2KBlocks:
		return fault.New("jpeg 2000", tag.PixelData, int64(at), fault.ErrLimit, "%d precincts and code blocks", n)
	case h.layers*h.precincts > maxJ2KPackets:
		return fault.New("jpeg 2000", tag.PixelData, int64(at), fault.ErrLimit, "%d packets", h.layers*h.precincts)
	}
	if n = (h.tileW/h.dx + 2) * (h.tileH/h.dy + 2) * h.tiles * int64(h.comps) * int64(h.levels+1); n > maxJ2KPositions {
		return fault.New("jpeg 2000", tag.PixelData, int64(at), fault.ErrLimit, "%d positions", n)
	}
	return nil
}

// parse reads SIZ and refuses what the attributes do not announce, before
// a library allocates anything for it.
func parse(b []byte, dst *pixel.Frame) (header, error) {
	var h header
	if len(b) < 42 || b[2] != 0xFF || b[3] != 0x51 {
		return h, fault.New("jpeg 2000", tag.PixelData, -1, fault.ErrTruncated, "SIZ")
	}
	u := func(i int) int64 { return int64(binary.BigEndian.Uint32(b[i:])) }
	xsiz, ysiz, xo, yo := u(8), u(12), u(16), u(20)
	xt, yt, xto, yto := u(24), u(28), u(32), u(36)
	h.comps = int(binary.BigEndian.Uint16(b[40:]))
	if xo >= xsiz || yo >= ysiz || xt == 0 || yt == 0 || xto > xo || yto > yo || xto+xt <= xo || yto+yt <= yo || h.comps == 0 {
		return h, fault.New("jpeg 2000", tag.PixelData, -1, fault.ErrCodestream, "SIZ")
	}
	if len(b) < 42+3*h.comps {
		return h, fault.New("jpeg 2000", tag.PixelData, -1, fault.ErrTruncated, "SIZ")
	}
	h.dx, h.dy = 1<<31, 1<<31
	h.tileW, h.tileH = min(xt, xsiz-xo), min(yt, ysiz-yo)
	h.tiles = ((xsiz - xto + xt - 1) / xt) * ((ysiz - yto + yt - 1) / yt)
	if xsiz-xo != int64(dst.Columns) || ysiz-yo != int64(dst.Rows) || h.comps != dst.Samples {
		return h, fault.New("jpeg 2000", tag.PixelData, -1, fault.ErrMismatch, "%dx%d with %d components; the attributes say %dx%d with %d", xsiz-xo, ysiz-yo,
			h.comps, dst.Columns, dst.Rows, dst.Samples)
	}
	for c := range h.comps {
		p := b[42+3*c:]
		prec := int(p[0]&0x7F) + 1
		if p[1] != 1 || p[2] != 1 {
			return h, fault.New("jpeg 2000", tag.PixelData, -1, fault.ErrUnsupported, "subsampled components")
		}
		if c > 0 && (prec != h.precision || (p[0]&0x80 != 0) != h.signed) {
			return h, fault.New("jpeg 2000", tag.PixelData, -1, fault.ErrUnsupported, "components of different depth")
		}
		h.precision, h.signed = prec, p[0]&0x80 != 0
	}
	if h.precision > dst.Bits || h.precision > 31 {
		return h, fault.New("jpeg 2000", tag.PixelData, -1, fault.ErrMismatch, "%d bits in %d allocated", h.precision, dst.Bits)
	}
	if h.tiles > 1<<16 || h.tiles > 64+int64(len(b))/12 {
		return h, fault.New("jpeg 2000", tag.PixelData, -1, fault.ErrLimit, "%d tiles in %d bytes", h.tiles, len(b))
	}
	return h, nil
}

// checkTileParts follows the chain of tile-parts (A.4.2) and refuses a stream
// that ends early, which a decoder could take for one with fewer layers.
func checkTileParts(b []byte, h *header) error {
	cut := func(at int) error {
		return fault.New("jpeg 2000", tag.PixelData, int64(at), fault.ErrTruncated, "%d bytes of codestream", len(b))
	}
	tiles := map[int]bool{}
	announced, parts := 0, 0
	for at := 2; ; {
		if at+2 > len(b) {
			// Without an end marker all tiles and announced parts must be there.
			if at < len(b)-1 || int64(len(tiles)) < h.tiles || parts < announced || parts == 0 {
				return cut(at)
			}
			return nil
		}
		m := int(b[at])<<8 | int(b[at+1])
		switch {
		case m == 0xFFD9:
			return nil
		case m == 0xFF90:
			if at+12 > len(b) {
				return cut(at)
			}
			psot := int64(binary.BigEndian.Uint32(b[at+6:]))
			tile := int(b[at+4])<<8 | int(b[at+5])
			tiles[tile] = true
			if n := int(b[at+11]); n > 0 && int(b[at+10]) == 0 {
				announced += n
			} else if int(b[at+10]) == 0 {
				announced++
			}
			parts++
			end := int64(len(b))
			if psot > 0 {
				end = min(end, int64(at)+psot)
			}
			if err := h.checkTileHeader(b[:end], at+12); err != nil {
				return err
			}
			if psot == 0 {
				// To the end of the codestream.
				end := bytes.LastIndex(b, []byte{0xFF, 0xD9})
				if end < at {
					return cut(len(b))
				}
				return nil
			}
			if psot < 14 {
				return fault.New("jpeg 2000", tag.PixelData, int64(at), fault.ErrCodestream, "a tile-part of %d bytes", psot)
			}
			if int64(at)+psot > int64(len(b)) {
				return cut(at)
			}
			at += int(psot)
		case m>>8 != 0xFF:
			if m == 0 && parts > 0 && parts >= announced && int64(len(tiles)) >= h.tiles {
				return nil // padding instead of the end marker
			}
			return fault.New("jpeg 2000", tag.PixelData, int64(at), fault.ErrCodestream, "no marker where one must be")
		default:
			if at+4 > len(b) {
				return cut(at)
			}
			n := int(b[at+2])<<8 | int(b[at+3])
			if n < 2 || at+2+n > len(b) {
				return cut(at)
			}
			if err := h.checkStyle(m, b[at+4:at+2+n], at); err != nil {
				return err
			}
			at += 2 + n
		}
	}
}

// checkTileHeader bounds the coding styles of a tile-part, up to its data or the
// end of b, which is its own: each byte is passed once, however many parts there are.
func (h *header) checkTileHeader(b []byte, at int) error {
	for at+4 <= len(b) {
		m, n := int(b[at])<<8|int(b[at+1]), int(b[at+2])<<8|int(b[at+3])
		if m == 0xFF93 || m>>8 != 0xFF || n < 2 || at+2+n > len(b) {
			return nil
		}
		if err := h.checkStyle(m, b[at+4:at+2+n], at); err != nil {
			return err
		}
		at += 2 + n
	}
	return nil
}
