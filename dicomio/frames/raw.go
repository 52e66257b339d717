package frames

import (
	"math"

	"github.com/echonode/echonode/dicomio/encoding"
	"github.com/echonode/echonode/dicomio/internal/fault"
	"github.com/echonode/echonode/dicomio/internal/source"
	"github.com/echonode/echonode/dicomio/pixel"
	"github.com/echonode/echonode/dicomio/tag"
)

// checkNative compares the length of native pixel data with the attributes.
func (r *Reader) checkNative() error {
	in, n := &r.Info, r.src.Native.N
	if in.Subsampled() {
		full := int64(in.Rows) * int64(in.Columns) * 3 * int64(in.BitsAllocated/8) * int64(in.Frames)
		if n == full+full%2 {
			in.Photometric = "YBR_FULL" // labelled 4:2:2 but stored in full
		} else if in.Columns%2 == 1 {
			return fault.New("frames", tag.PixelData, r.src.Start, fault.ErrUnsupported, "4:2:2 with an odd number of columns")
		}
	}
	if per := in.FrameBytes(); in.BitsAllocated > 1 && n%per <= 1 && n/per >= 1 && n/per <= int64(r.limits.Frames) {
		// Whole frames, one or two more or fewer than announced, or not announced
		// at all. A multiple of what is announced would be a volume.
		if have := int(n / per); r.src.Counted && have != in.Frames && have < 2*in.Frames || !r.src.Counted {
			in.Frames = have
		}
	}
	need := in.FrameBytes() * int64(in.Frames)
	if in.BitsAllocated == 1 {
		need = (in.Values()*int64(in.Frames) + 7) / 8
	}
	if in.FrameBytes() > math.MaxInt64/int64(in.Frames) || n < need {
		return fault.New("frames", tag.PixelData, r.src.Start, fault.ErrFrames, "%d bytes for %d frames of %d", n, in.Frames, in.FrameBytes())
	}
	if n-need >= in.FrameBytes() && n-need > 1 {
		return fault.New("frames", tag.PixelData, r.src.Start, fault.ErrFrames, "%d bytes, more than %d frames of %d", n, in.Frames, in.FrameBytes())
	}
	return nil
}

// Raw returns frame i as it is stored: the compressed bytes with their
// padding, or the native bytes. One-bit frames are shifted to start at a byte.
// For video syntaxes frame 0 is the whole stream.
func (r *Reader) Raw(i int) ([]byte, error) {
	return r.raw(i, nil)
}

// raw is Raw into a buffer that is used when it is large enough.
func (r *Reader) raw(i int, buf []byte) ([]byte, error) {
	if i < 0 || i >= r.Len() {
		return nil, fault.New("frames", tag.PixelData, -1, fault.ErrFrames, "frame %d of %d", i, r.Len())
	}
	if r.frames != nil {
		if i >= len(r.frames) {
			return nil, fault.New("frames", tag.PixelData, -1, fault.ErrUnsupported, "frame %d of a video stream", i)
		}
		total := int64(0)
		for _, s := range r.frames[i] {
			total += s.N
		}
		if total > r.limits.Value {
			return nil, fault.New("frames", tag.PixelData, -1, fault.ErrLimit, "%d bytes", total)
		}
		b := pixel.Grow(buf, int(total))
		at := int64(0)
		for _, s := range r.frames[i] {
			if err := source.ReadFull(r.src.Bytes, b[at:at+s.N], s.Off); err != nil {
				return nil, &fault.Error{Op: "frames", Tag: tag.PixelData, Offset: s.Off, Err: err}
			}
			at += s.N
		}
		return b, nil
	}
	n := r.Info.FrameBytes()
	if n > r.limits.Value {
		return nil, fault.New("frames", tag.PixelData, -1, fault.ErrLimit, "%d bytes", n)
	}
	if r.Info.BitsAllocated == 1 {
		return r.rawBits(i, buf)
	}
	b := pixel.Grow(buf, int(n))
	return b, r.native(b, int64(i)*n)
}

// native fills b from an offset in native pixel data. Bytes that big endian
// data keep in swapped 16-bit words come in their logical order.
func (r *Reader) native(b []byte, off int64) error {
	if r.src.Encoding.Big && r.src.Words && r.Info.BitsAllocated <= 8 {
		lo, hi := off&^1, (off+int64(len(b))+1)&^1
		w := make([]byte, min(hi, r.src.Native.N)-lo)
		if err := r.stored(w, lo); err != nil {
			return err
		}
		encoding.Swap(w, 2)
		copy(b, w[off-lo:])
		return nil
	}
	return r.stored(b, off)
}

// stored fills b from an offset in native pixel data, as the file has it.
func (r *Reader) stored(b []byte, off int64) error {
	if off+int64(len(b)) > r.src.Native.N {
		return fault.New("frames", tag.PixelData, -1, fault.ErrTruncated, "native pixel data")
	}
	if r.src.InMemory != nil {
		copy(b, r.src.InMemory[off:])
		return nil
	}
	if err := source.ReadFull(r.src.Bytes, b, r.src.Native.Off+off); err != nil {
		return &fault.Error{Op: "frames", Tag: tag.PixelData, Offset: r.src.Native.Off + off, Err: err}
	}
	return nil
}

// rawBits reads a one-bit frame, which may start inside a byte.
func (r *Reader) rawBits(i int, buf []byte) ([]byte, error) {
	n := r.Info.Values()
	first := int64(i) * n
	lo, hi := first/8, (first+n+7)/8
	b := pixel.Grow(buf, int(hi-lo))
	if err := r.native(b, lo); err != nil {
		return nil, err
	}
	if s := uint(first % 8); s > 0 {
		for k := range b {
			b[k] >>= s
			if k+1 < len(b) {
				b[k] |= b[k+1] << (8 - s)
			}
		}
	}
	return b[:(n+7)/8], nil
}

// decodeNative converts native bytes: byte order, planes, chroma, single bits.
func (r *Reader) decodeNative(b []byte, dst *pixel.Frame, big bool, planar int) error {
	in := r.Info
	px := in.Rows * in.Columns
	if in.BitsAllocated == 1 {
		for i := range dst.Data {
			dst.Data[i] = b[i>>3] >> (i & 7) & 1
		}
		return nil
	}
	size := in.BitsAllocated / 8
	if big && size > 1 {
		encoding.Swap(b, size)
	}
	switch {
	case in.Subsampled():
		dst.Photometric = "YBR_FULL"
		if in.Photometric == "YBR_PARTIAL_422" {
			dst.Photometric = in.Photometric
		}
		unpack422(dst.Data, b, px, size)
	case in.Samples > 1 && planar == 1:
		interleave(dst.Data, b, px, in.Samples, size)
	default:
		copy(dst.Data, b)
	}
	return nil
}

// unpack422 turns Y1 Y2 Cb Cr into Y1 Cb Cr Y2 Cb Cr.
func unpack422(dst, src []byte, px, size int) {
	s := size
	for i := 0; i+1 < px; i += 2 {
		d, c := dst[i*3*s:(i*3+6)*s], src[i*2*s:(i*2+4)*s]
		copy(d[0:s], c[0:s])
		copy(d[s:3*s], c[2*s:4*s])
		copy(d[3*s:4*s], c[s:2*s])
		copy(d[4*s:6*s], c[2*s:4*s])
	}
}

// interleave turns planes into pixels.
func interleave(dst, src []byte, px, samples, size int) {
	if size == 1 {
		for c := 0; c < samples; c++ {
			plane := src[c*px : (c+1)*px]
			for i, v := range plane {
				dst[i*samples+c] = v
			}
		}
		return
	}
	for c := 0; c < samples; c++ {
		for i := 0; i < px; i++ {
			copy(dst[(i*samples+c)*size:(i*samples+c+1)*size], src[(c*px+i)*size:])
		}
	}
}
