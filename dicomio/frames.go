package dicomio

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"errors"
	"image"
	"io"
	"iter"
	"math"
	"runtime"
	"sync"

	"github.com/echonode/echonode/dicomio/encoding"
	"github.com/echonode/echonode/dicomio/internal/codec"
	"github.com/echonode/echonode/dicomio/internal/codec/jpeg"
	"github.com/echonode/echonode/dicomio/internal/video"
	"github.com/echonode/echonode/dicomio/pixel"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
)

// FrameReader gives the frames of a file. Its methods may be called from
// several goroutines; each call holds one compressed and one decoded frame.
type FrameReader struct {
	Rows, Columns int
	Info          PixelInfo
	// Announced is the number of frames that the attributes announce. The pixel
	// data may hold another number, and then Len counts what they hold: frames
	// are neither lost nor invented, and who reads them can say so.
	Announced int

	codecs  codec.Registry
	src     io.ReaderAt
	enc     encoding.Syntax
	ts      uid.Syntax
	limits  Limits
	lazy    span     // native pixel data
	frames  [][]span // fragments of each encapsulated frame
	val     []byte   // native pixel data set in memory
	words   bool     // native data are OW
	palette *palette
	voi     voi
	ranged  voi // of a loop without window
	video   *video.Decoder
	ctx     context.Context // of the file; frames are not decoded after it ends
	bufs    sync.Pool       // *[]byte
	decoded sync.Pool       // *Frame

	rangeOnce sync.Once
	counted   bool // the attributes say how many frames there are
}

// Frame is one decoded frame.
type Frame = pixel.Frame

// Frames finds the frames of the pixel data and checks that they are what the
// attributes say. ErrNoPixels: there is none. ErrFrames, ErrTruncated: fewer
// or other frames than announced. ErrUnsupported: no codec for the transfer
// syntax in this build; Raw frames are then still to be had from RawFrames.
func (f *File) Frames() (*FrameReader, error) {
	r, err := f.RawFrames()
	if err != nil {
		return nil, err
	}
	if !f.Known || r.ts.Encapsulated && !r.codecs.Decodes(r.ts) {
		return nil, fail("frames", tagPixels, -1, ErrUnsupported, "transfer syntax %s %s", f.TransferSyntax, r.ts.Name)
	}
	if n := r.decodedBytes(); n > f.limits.Frame {
		return nil, fail("frames", tagPixels, -1, ErrLimit, "a frame of %d bytes, limit %d", n, f.limits.Frame)
	}
	if r.Info.Photometric == "PALETTE COLOR" {
		if r.palette, err = readPalette(f.DataSet, r.Info); err != nil {
			return nil, err
		}
	}
	r.voi = readVOI(f.DataSet)
	if pool := f.limits.Memory.frameWork(); pool != nil {
		if need := r.decodedBytes()*r.workspace(r.codecs.JPEG2000(r.ts.UID)) + r.longest(); need > pool.size {
			return nil, fail("frames", tagPixels, -1, ErrLimit, "a frame needs %d bytes of memory, %d are set aside for frames", need, pool.size)
		}
	}
	if r.ts.Video {
		if err := f.openVideo(r); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// workspace is how many times its decoded bytes a frame needs while it is
// decoded: the samples, the picture made of them, and what the codec holds.
// JPEG 2000 keeps 32 bits a sample, and transforms them in a second array;
// progressive JPEG keeps 16-bit coefficients.
func (r *FrameReader) workspace(j2k bool) int64 {
	switch {
	case r.ts.Video:
		return 2
	case !r.ts.Encapsulated:
		return 3
	case j2k:
		return 12
	}
	return 5
}

// longest is the length of the longest compressed frame.
func (r *FrameReader) longest() (n int64) {
	if r.ts.Video {
		return 0 // streamed
	}
	for _, fr := range r.frames {
		total := int64(0)
		for _, s := range fr {
			total += s.n
		}
		n = max(n, total)
	}
	return n
}

// lease takes the memory that decoding frame i needs. The codec is told from
// the codestream, as decode does.
func (r *FrameReader) lease(i int) (lease, error) {
	pool := r.limits.Memory.frameWork()
	if pool == nil {
		return lease{}, nil
	}
	n, j2k := int64(0), false
	if i >= 0 && i < len(r.frames) {
		var head [12]byte
		for k, s := range r.frames[i] {
			if k == 0 {
				h := head[:min(s.n, int64(len(head)))]
				if err := readFull(r.src, h, s.off); err != nil {
					return lease{}, &Error{Op: "frames", Tag: tagPixels, Offset: s.off, Err: err}
				}
				j2k = codec.IsJ2K(h)
			}
			n += s.n
		}
	}
	l, err := pool.take(r.ctx, n+r.decodedBytes()*r.workspace(j2k), 0)
	if err != nil {
		err = &Error{Op: "frames", Tag: tagPixels, Offset: -1, Err: err}
	}
	return l, err
}

// RawFrames is Frames for transfer syntaxes that cannot be decoded: only Len,
// Info and Raw of the result work.
func (f *File) RawFrames() (*FrameReader, error) {
	if f.truncated != nil {
		return nil, f.truncated
	}
	e, ok := f.DataSet.Get(tagPixels)
	if !ok {
		if f.DataSet.Has(tag.Tag(0x7FE00008)) || f.DataSet.Has(tag.Tag(0x7FE00009)) {
			return nil, fail("frames", tagPixels, -1, ErrUnsupported, "float pixel data")
		}
		return nil, fail("frames", tagPixels, -1, ErrNoPixels, "")
	}
	info, err := PixelInfoOf(f.DataSet)
	if err != nil {
		return nil, err
	}
	if info.Frames > f.limits.Frames {
		return nil, fail("frames", tagNumberOfFrames, -1, ErrLimit, "%d frames, limit %d", info.Frames, f.limits.Frames)
	}
	r := &FrameReader{
		Rows: info.Rows, Columns: info.Columns, Info: info, Announced: info.Frames,
		codecs: codec.Standard(), src: f.body, enc: e.enc, ts: f.Syntax, limits: f.limits, ctx: f.ctx,
	}
	if r.ctx == nil {
		r.ctx = context.Background()
	}
	_, r.counted = f.DataSet.Int(tagNumberOfFrames)
	r.bufs.New = func() any { return new([]byte) }
	r.decoded.New = func() any { return new(Frame) }
	if e.frags != nil {
		r.ts.Encapsulated = true
		return r, r.group(f, e)
	}
	r.ts.Encapsulated = false
	if f.Syntax.Encapsulated && f.Known {
		return nil, fail("frames", tagPixels, e.start, ErrMalformed, "native pixel data under %s", f.Syntax.Name)
	}
	r.words = e.VR == "OW"
	r.lazy = span{e.voff, e.n}
	if e.src == nil {
		r.val = e.val
	} else if e.val != nil {
		r.val = e.val
	}
	return r, r.checkNative(e)
}

// checkNative compares the length of native pixel data with the attributes.
func (r *FrameReader) checkNative(e *Element) error {
	in := &r.Info
	if in.Subsampled() {
		full := int64(in.Rows) * int64(in.Columns) * 3 * int64(in.BitsAllocated/8) * int64(in.Frames)
		if e.n == full+full%2 {
			in.Photometric = "YBR_FULL" // labelled 4:2:2 but stored in full
		} else if in.Columns%2 == 1 {
			return fail("frames", tagPixels, e.start, ErrUnsupported, "4:2:2 with an odd number of columns")
		}
	}
	if per := in.FrameBytes(); in.BitsAllocated > 1 && e.n%per <= 1 && e.n/per >= 1 && e.n/per <= int64(r.limits.Frames) {
		// Whole frames, one or two more or fewer than announced, or not announced
		// at all. A multiple of what is announced would be a volume.
		if have := int(e.n / per); r.counted && have != in.Frames && have < 2*in.Frames || !r.counted {
			in.Frames = have
		}
	}
	need := in.FrameBytes() * int64(in.Frames)
	if in.BitsAllocated == 1 {
		need = (in.Values()*int64(in.Frames) + 7) / 8
	}
	if in.FrameBytes() > math.MaxInt64/int64(in.Frames) || e.n < need {
		return fail("frames", tagPixels, e.start, ErrFrames, "%d bytes for %d frames of %d", e.n, in.Frames, in.FrameBytes())
	}
	if e.n-need >= in.FrameBytes() && e.n-need > 1 {
		return fail("frames", tagPixels, e.start, ErrFrames, "%d bytes, more than %d frames of %d", e.n, in.Frames, in.FrameBytes())
	}
	return nil
}

// Len is the number of frames.
func (r *FrameReader) Len() int { return r.Info.Frames }

// Sequential reports whether the frames come out of one stream, so that asking
// for them one after the other and in order is what costs least.
func (r *FrameReader) Sequential() bool { return r.ts.Video }

// decodedBytes is the size of a decoded frame.
func (r *FrameReader) decodedBytes() int64 {
	return r.Info.Values() * int64(max(r.Info.BitsAllocated, 8)/8)
}

// group assigns fragments to frames: one each; all to a single frame; by an
// offset table that hits the starts of items; by the start codes of the
// codestreams. Anything else is ErrFrames.
func (r *FrameReader) group(f *File, e *Element) error {
	if len(e.frags) == 0 {
		return fail("frames", tagPixels, e.start, ErrMalformed, "no basic offset table item")
	}
	frags := e.frags[1:]
	n := r.Info.Frames
	if len(frags) == 0 {
		return fail("frames", tagPixels, e.start, ErrFrames, "no fragments for %d frames", n)
	}
	if r.ts.Video {
		r.frames = [][]span{frags}
		return nil
	}
	if len(frags) == n {
		r.frames = make([][]span, n)
		for i := range frags {
			r.frames[i] = frags[i : i+1]
		}
		return r.checkFragments(e)
	}
	base := frags[0].off - 8
	starts, err := r.starts(frags)
	if err != nil {
		return err
	}
	// A single frame may be in several fragments; when each of them begins with a
	// start code they are frames that nobody counted.
	if n == 1 && len(starts) < len(frags) {
		r.frames = [][]span{frags}
		return r.checkFragments(e)
	}
	if offs, err := f.extendedOffsets(n); err == nil && offs != nil {
		if r.groupAt(frags, base, offs) {
			return r.checkFragments(e)
		}
	}
	if t := e.frags[0]; t.n == 4*int64(n) {
		b := make([]byte, t.n)
		if err := readFull(f.body, b, t.off); err != nil {
			return &Error{Op: "frames", Tag: tagPixels, Offset: t.off, Err: err}
		}
		offs := make([]int64, n)
		for i := range offs {
			offs[i] = int64(binary.LittleEndian.Uint32(b[4*i:]))
		}
		if r.groupAt(frags, base, offs) {
			return r.checkFragments(e)
		}
	}
	if len(starts) == n && r.groupAt(frags, base, starts) {
		return r.checkFragments(e)
	}
	// Another number of frames than announced, each beginning with a start code.
	if len(starts) <= r.limits.Frames && r.groupAt(frags, base, starts) {
		r.Info.Frames = len(starts)
		return r.checkFragments(e)
	}
	return fail("frames", tagPixels, e.start, ErrFrames, "%d fragments cannot be assigned to %d frames", len(frags), n)
}

// starts are the places of the fragments that begin a frame, counted from the
// first fragment as offset tables do.
func (r *FrameReader) starts(frags []span) (out []int64, err error) {
	for _, s := range frags {
		ok, err := r.startsFrame(s)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, s.off-frags[0].off)
		}
	}
	return out, nil
}

// checkFragments bounds the compressed frames.
func (r *FrameReader) checkFragments(e *Element) error {
	for i, fr := range r.frames {
		total := int64(0)
		for _, s := range fr {
			total += s.n
		}
		if total > r.limits.Frame {
			return fail("frames", tagPixels, fr[0].off, ErrLimit, "frame %d has %d compressed bytes, limit %d", i, total, r.limits.Frame)
		}
		if total == 0 {
			return fail("frames", tagPixels, fr[0].off, ErrFrames, "frame %d is empty", i)
		}
	}
	return nil
}

// groupAt assigns fragments by the offsets of the first item of each frame.
// It fails unless the offsets ascend from 0 and every one hits an item.
func (r *FrameReader) groupAt(frags []span, base int64, offs []int64) bool {
	if len(offs) == 0 || offs[0] != 0 {
		return false
	}
	var frames [][]span
	k := 0
	for i := range offs {
		first := k
		stop := int64(math.MaxInt64)
		if i+1 < len(offs) {
			stop = offs[i+1]
		}
		if k >= len(frags) || frags[k].off-8-base != offs[i] {
			return false
		}
		for k < len(frags) && frags[k].off-8-base < stop {
			k++
		}
		if k == first {
			return false
		}
		frames = append(frames, frags[first:k])
	}
	if k != len(frags) {
		return false
	}
	r.frames = frames
	return true
}

// extendedOffsets reads Extended Offset Table, nil when there is none.
func (f *File) extendedOffsets(n int) ([]int64, error) {
	e, ok := f.DataSet.Get(tagEOT)
	if !ok || e.n != 8*int64(n) {
		return nil, nil
	}
	b, err := e.Bytes()
	if err != nil {
		return nil, err
	}
	offs := make([]int64, n)
	for i := range offs {
		u := e.enc.Order().Uint64(b[8*i:])
		if u > math.MaxInt64 {
			return nil, nil
		}
		offs[i] = int64(u)
	}
	return offs, nil
}

// startsFrame reports whether a fragment begins with the start code of a
// codestream: SOI of JPEG and JPEG-LS, SOC of JPEG 2000, an RLE header.
func (r *FrameReader) startsFrame(s span) (bool, error) {
	var b [12]byte
	n := min(s.n, int64(len(b)))
	if err := readFull(r.src, b[:n], s.off); err != nil {
		return false, &Error{Op: "frames", Tag: tagPixels, Offset: s.off, Err: err}
	}
	return n >= 8 && r.codecs.Starts(r.ts.UID, b[:n]), nil
}

// Raw returns frame i as it is stored: the compressed bytes with their
// padding, or the native bytes. One-bit frames are shifted to start at a byte.
// For video syntaxes frame 0 is the whole stream.
func (r *FrameReader) Raw(i int) ([]byte, error) {
	return r.raw(i, nil)
}

// raw is Raw into a buffer that is used when it is large enough.
func (r *FrameReader) raw(i int, buf []byte) ([]byte, error) {
	if i < 0 || i >= r.Len() {
		return nil, fail("frames", tagPixels, -1, ErrFrames, "frame %d of %d", i, r.Len())
	}
	if r.frames != nil {
		if i >= len(r.frames) {
			return nil, fail("frames", tagPixels, -1, ErrUnsupported, "frame %d of a video stream", i)
		}
		total := int64(0)
		for _, s := range r.frames[i] {
			total += s.n
		}
		if total > r.limits.Value {
			return nil, fail("frames", tagPixels, -1, ErrLimit, "%d bytes", total)
		}
		b := grow(buf, int(total))
		at := int64(0)
		for _, s := range r.frames[i] {
			if err := readFull(r.src, b[at:at+s.n], s.off); err != nil {
				return nil, &Error{Op: "frames", Tag: tagPixels, Offset: s.off, Err: err}
			}
			at += s.n
		}
		return b, nil
	}
	n := r.Info.FrameBytes()
	if n > r.limits.Value {
		return nil, fail("frames", tagPixels, -1, ErrLimit, "%d bytes", n)
	}
	if r.Info.BitsAllocated == 1 {
		return r.rawBits(i, buf)
	}
	b := grow(buf, int(n))
	return b, r.native(b, int64(i)*n)
}

// grow returns a slice of length n, in buf if it fits.
func grow(buf []byte, n int) []byte {
	if cap(buf) >= n {
		return buf[:n]
	}
	return make([]byte, n)
}

// native fills b from an offset in native pixel data. Bytes that big endian
// data keep in swapped 16-bit words come in their logical order.
func (r *FrameReader) native(b []byte, off int64) error {
	if r.enc.Big && r.words && r.Info.BitsAllocated <= 8 {
		lo, hi := off&^1, (off+int64(len(b))+1)&^1
		w := make([]byte, min(hi, r.lazy.n)-lo)
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
func (r *FrameReader) stored(b []byte, off int64) error {
	if off+int64(len(b)) > r.lazy.n {
		return fail("frames", tagPixels, -1, ErrTruncated, "native pixel data")
	}
	if r.val != nil {
		copy(b, r.val[off:])
		return nil
	}
	if err := readFull(r.src, b, r.lazy.off+off); err != nil {
		return &Error{Op: "frames", Tag: tagPixels, Offset: r.lazy.off + off, Err: err}
	}
	return nil
}

// rawBits reads a one-bit frame, which may start inside a byte.
func (r *FrameReader) rawBits(i int, buf []byte) ([]byte, error) {
	n := r.Info.Values()
	first := int64(i) * n
	lo, hi := first/8, (first+n+7)/8
	b := grow(buf, int(hi-lo))
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

// pooled runs fn with frame i in a reused buffer, and lets the scheduler run
// afterwards: it counts a series of C calls as one turn, and when that has
// lasted 10 ms takes the goroutine's processor away at every tick. Without, two
// goroutines that decode are 1.7 times as fast as one, with it twice.
func (r *FrameReader) pooled(i int, fn func(b []byte) error) error {
	defer runtime.Gosched()
	if err := r.ctx.Err(); err != nil {
		return &Error{Op: "frames", Tag: tagPixels, Offset: -1, Err: err}
	}
	l, err := r.lease(i)
	if err != nil {
		return err
	}
	defer l.drop()
	p := r.bufs.Get().(*[]byte)
	defer r.bufs.Put(p)
	b, err := r.raw(i, *p)
	if err != nil {
		return err
	}
	*p = b
	return fn(b)
}

// Decode decodes frame i into dst, whose Data is reused when it is large
// enough: the stored values, as the codestream or the native data give them.
func (r *FrameReader) Decode(i int, dst *Frame) error {
	if r.video != nil {
		return r.videoDecode(i, dst)
	}
	if r.ts.Encapsulated && r.frames == nil {
		return fail("frames", tagPixels, -1, ErrUnsupported, "%s", r.ts.Name)
	}
	return r.pooled(i, func(b []byte) error { return r.decode(b, dst) })
}

// begin sets the description of dst for the attributes and sizes its data.
func (r *FrameReader) begin(dst *Frame) {
	in := r.Info
	dst.Rows, dst.Columns, dst.Samples = in.Rows, in.Columns, in.Samples
	dst.Bits, dst.Stored, dst.HighBit = max(in.BitsAllocated, 8), in.BitsStored, in.HighBit
	dst.Signed, dst.Photometric = in.Signed, in.Photometric
	dst.Data = grow(dst.Data, int(r.decodedBytes()))
}

// decode decodes the bytes of one frame.
func (r *FrameReader) decode(b []byte, dst *Frame) error {
	r.begin(dst)
	if !r.ts.Encapsulated {
		return r.decodeNative(b, dst, r.enc.Big, r.Info.Planar)
	}
	switch r.ts.UID {
	case uid.EncapsulatedUncompressedExplicitVRLittleEndian:
		if int64(len(b)) < r.Info.FrameBytes() {
			return fail("frames", tagPixels, -1, ErrTruncated, "%d bytes of %d", len(b), r.Info.FrameBytes())
		}
		return r.decodeNative(b, dst, false, r.Info.Planar)
	case uid.DeflatedImageFrameCompression:
		zr := flate.NewReader(bytes.NewReader(b))
		raw := make([]byte, r.Info.FrameBytes())
		if _, err := io.ReadFull(zr, raw); err != nil {
			kind := ErrCodestream
			if errors.Is(err, io.ErrUnexpectedEOF) || err == io.EOF {
				kind = ErrTruncated
			}
			return fail("inflate", tagPixels, -1, kind, "%v", err)
		}
		return r.decodeNative(raw, dst, false, r.Info.Planar)
	}
	if c := r.codecs.For(r.ts.UID, b); c != nil {
		return c.Decode(b, r.Info, dst, r.limits.Frame)
	}
	return fail("decode", tagPixels, -1, ErrCodestream, "no start of a codestream")
}

// decodeNative converts native bytes: byte order, planes, chroma, single bits.
func (r *FrameReader) decodeNative(b []byte, dst *Frame, big bool, planar int) error {
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

// setGray sizes a gray picture.
func setGray(dst *image.Gray, w, h int) {
	if dst.Rect != image.Rect(0, 0, w, h) || len(dst.Pix) < dst.Stride*(h-1)+w || dst.Stride < w {
		dst.Pix, dst.Stride, dst.Rect = grow(dst.Pix, w*h), w, image.Rect(0, 0, w, h)
	}
}

// setRGBA sizes a colour picture.
func setRGBA(dst *image.RGBA, w, h int) {
	if dst.Rect != image.Rect(0, 0, w, h) || len(dst.Pix) < dst.Stride*(h-1)+4*w || dst.Stride < 4*w {
		dst.Pix, dst.Stride, dst.Rect = grow(dst.Pix, 4*w*h), 4*w, image.Rect(0, 0, w, h)
	}
}

// Gray decodes frame i to 8-bit luma. dst is resized when it does not have
// the size of the frame. Stored values of more than 8 bits go through the
// rescale and the first window of the data set, or the range of the loop.
func (r *FrameReader) Gray(i int, dst *image.Gray) error {
	if r.video != nil {
		return r.videoGray(i, dst)
	}
	setGray(dst, r.Columns, r.Rows)
	return r.pooled(i, func(b []byte) error {
		switch {
		case !r.ts.Encapsulated && r.Info.BitsAllocated == 8 && r.Info.BitsStored == 8 && r.Info.Samples == 1 && r.Info.Photometric == "MONOCHROME2" && !r.Info.Signed:
			for y := 0; y < r.Rows; y++ {
				copy(dst.Pix[y*dst.Stride:][:r.Columns], b[y*r.Columns:])
			}
			return nil
		case r.ts.Encapsulated && r.dct8():
			if done, err := r.paint(b, jpeg.Gray, dst.Pix, dst.Stride); done || err != nil {
				return err
			}
		}
		f := r.decoded.Get().(*Frame)
		defer r.decoded.Put(f)
		if err := r.decode(b, f); err != nil {
			return err
		}
		return r.toGray(f, dst)
	})
}

// GrayFrames iterates over the frames in order, decoding each into dst. It
// ends after the first error.
func (r *FrameReader) GrayFrames(dst *image.Gray) iter.Seq2[int, error] {
	return r.each(func(i int) error { return r.Gray(i, dst) })
}

// RGBFrames is GrayFrames in colour.
func (r *FrameReader) RGBFrames(dst *image.RGBA) iter.Seq2[int, error] {
	return r.each(func(i int) error { return r.RGB(i, dst) })
}

// each iterates over the results of decode.
func (r *FrameReader) each(decode func(i int) error) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for i := range r.Len() {
			err := decode(i)
			if !yield(i, err) || err != nil {
				return
			}
		}
	}
}

// RGB decodes frame i for people, with alpha 255. dst is resized when it does
// not have the size of the frame.
func (r *FrameReader) RGB(i int, dst *image.RGBA) error {
	if r.video != nil {
		return r.videoRGB(i, dst)
	}
	setRGBA(dst, r.Columns, r.Rows)
	return r.pooled(i, func(b []byte) error {
		if r.ts.Encapsulated && r.dct8() {
			if done, err := r.paint(b, jpeg.RGBA, dst.Pix, dst.Stride); done || err != nil {
				return err
			}
		}
		f := r.decoded.Get().(*Frame)
		defer r.decoded.Put(f)
		if err := r.decode(b, f); err != nil {
			return err
		}
		return r.toRGB(f, dst)
	})
}
