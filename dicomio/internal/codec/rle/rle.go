// Package rle decodes RLE Lossless frames (PS3.5 annex G).
package rle

import (
	"encoding/binary"

	"github.com/echonode/echonode/dicomio/internal/fault"
	"github.com/echonode/echonode/dicomio/pixel"
	"github.com/echonode/echonode/dicomio/tag"
)

// maxSegments is how many offsets the header of a frame has (PS3.5 G.5).
const maxSegments = 15

// Codec decodes RLE Lossless.
type Codec struct{}

// Starts reports whether b begins with an RLE header: 1 to 15 segments, the
// first behind the header.
func (Codec) Starts(b []byte) bool {
	if len(b) < 8 {
		return false
	}
	n := binary.LittleEndian.Uint32(b)
	return n >= 1 && n <= maxSegments && binary.LittleEndian.Uint32(b[4:]) == 64
}

// Decode decodes an RLE Lossless frame (PS3.5 annex G) into dst, whose
// geometry is set: one PackBits segment per byte of a sample, most
// significant first, for each component in turn.
// One-bit frames are one segment of packed bits.
func (Codec) Decode(b []byte, in pixel.Info, dst *pixel.Frame, _ int64) error {
	bit := in.BitsAllocated == 1
	if len(b) < 64 {
		return fault.New("rle", tag.PixelData, -1, fault.ErrTruncated, "%d bytes for the header", len(b))
	}
	size := dst.Bits / 8
	want := dst.Samples * size
	n := int(binary.LittleEndian.Uint32(b))
	if n != want || n > maxSegments {
		return fault.New("rle", tag.PixelData, -1, fault.ErrMismatch, "%d segments, the attributes need %d, and there are at most %d",
			binary.LittleEndian.Uint32(b), want, maxSegments)
	}
	px := dst.Rows * dst.Columns
	out := dst.Data
	if bit {
		px = (px*dst.Samples + 7) / 8
		out = make([]byte, px)
		want = 1
		if dst.Samples != 1 {
			return fault.New("rle", tag.PixelData, -1, fault.ErrUnsupported, "one-bit frames with %d samples", dst.Samples)
		}
	}
	var offs [maxSegments + 1]int
	prev := 64
	for i := 0; i < n; i++ {
		o := binary.LittleEndian.Uint32(b[4+4*i:])
		if int64(o) > int64(len(b)) || int(o) < prev {
			return fault.New("rle", tag.PixelData, int64(4+4*i), fault.ErrCodestream, "segment %d at %d of %d bytes", i, o, len(b))
		}
		offs[i] = int(o)
		prev = int(o)
	}
	offs[n] = len(b)
	for i := 0; i < n; i++ {
		comp, byteNo := i/size, size-1-i%size
		if err := unpackBits(b[offs[i]:offs[i+1]], out[comp*size+byteNo:], px, want); err != nil {
			return fault.New("rle", tag.PixelData, int64(offs[i]), err, "segment %d", i)
		}
	}
	if bit {
		for i := range dst.Data {
			dst.Data[i] = out[i>>3] >> (i & 7) & 1
		}
	}
	return nil
}

// unpackBits writes n bytes, step apart, to dst.
func unpackBits(src, dst []byte, n, step int) error {
	at, o := 0, 0
	for at < n {
		if o >= len(src) {
			return fault.ErrTruncated
		}
		c := int(int8(src[o]))
		o++
		switch {
		case c >= 0:
			k := c + 1
			if o+k > len(src) {
				return fault.ErrTruncated
			}
			k = min(k, n-at)
			if step == 1 {
				copy(dst[at:at+k], src[o:o+k])
			} else {
				p := dst[at*step:]
				for j, v := range src[o : o+k] {
					p[j*step] = v
				}
			}
			o += c + 1
			at += k
		case c != -128:
			if o >= len(src) {
				return fault.ErrTruncated
			}
			k := min(1-c, n-at)
			v := src[o]
			o++
			if step == 1 {
				p := dst[at : at+k]
				for j := range p {
					p[j] = v
				}
			} else {
				p := dst[at*step:]
				for j := 0; j < k; j++ {
					p[j*step] = v
				}
			}
			at += k
		}
	}
	return nil
}
