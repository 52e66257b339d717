// Package frames finds, reads and decodes the frames of pixel data. It knows the
// bytes and their description, no data sets and no files.
package frames

import (
	"bytes"
	"cmp"
	"compress/flate"
	"context"
	"errors"
	"image"
	"io"
	"iter"
	"math"
	"runtime"
	"sync"
	"time"

	"github.com/echonode/echonode/dicomio/encoding"
	"github.com/echonode/echonode/dicomio/internal/budget"
	"github.com/echonode/echonode/dicomio/internal/codec"
	"github.com/echonode/echonode/dicomio/internal/codec/jpeg"
	"github.com/echonode/echonode/dicomio/internal/fault"
	"github.com/echonode/echonode/dicomio/internal/source"
	"github.com/echonode/echonode/dicomio/internal/video"
	"github.com/echonode/echonode/dicomio/pixel"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
)

// Span is a range of bytes.
type Span struct{ Off, N int64 }

// Limits bounds what frames may cost; all fields are set.
type Limits struct {
	Value  int64          // most bytes that Raw loads
	Frame  int64          // one frame, compressed or decoded
	Frames int            // in one loop
	Video  time.Duration  // wall time of one video decoder process
	Memory *budget.Memory // nil: none that is shared
}

// Source is pixel data and what the attributes say of them.
type Source struct {
	Context  context.Context // frames are not decoded after it ends; nil: without end
	Bytes    io.ReaderAt     // what the spans are ranges of
	Syntax   uid.Syntax
	Known    bool // the transfer syntax is in the table of package uid
	Encoding encoding.Syntax
	Start    int64 // of the element in Bytes, for errors
	Info     pixel.Info
	Counted  bool // Number of Frames is there
	Display  pixel.Display
	Limits   Limits

	// Native pixel data: where they are, and their bytes when they are in memory.
	Native   Span
	InMemory []byte
	Words    bool // they are OW

	// Encapsulated pixel data: the items, the basic offset table first; nil when
	// they are native. Offsets reads the extended offset table: nil where there is
	// none of n frames. It is asked once limits and items allow for so many.
	Items   []Span
	Offsets func(n int) []int64

	Processes *Processes // that decode video
}

// Reader gives the frames of a file. Its methods may be called from
// several goroutines; each call holds one compressed and one decoded frame at a time.
type Reader struct {
	Rows, Columns int
	Info          pixel.Info
	// Announced is the number of frames that the attributes announce. The pixel
	// data may hold another number, and then Len counts what they hold: frames
	// are neither lost nor invented, and who reads them can say so.
	Announced int

	codecs  codec.Registry
	src     Source
	ts      uid.Syntax
	limits  Limits
	frames  [][]Span // fragments of each encapsulated frame
	video   *video.Decoder
	ctx     context.Context
	bufs    sync.Pool // *[]byte
	decoded sync.Pool // *pixel.Frame

	rangeLock sync.Mutex
	ranged    *pixel.Window // of a loop without window, once it was found
}

// Index finds the frames and checks that they are what the attributes say:
// ErrFrames, ErrTruncated for fewer or others than announced. Of its result
// only Len, Info and Raw work: it needs no codec.
func Index(s Source) (*Reader, error) {
	if s.Info.Frames > s.Limits.Frames {
		return nil, fault.New("frames", tag.NumberOfFrames, -1, fault.ErrLimit, "%d frames, limit %d", s.Info.Frames, s.Limits.Frames)
	}
	r := &Reader{
		Rows: s.Info.Rows, Columns: s.Info.Columns, Info: s.Info, Announced: s.Info.Frames,
		codecs: codec.Standard(), src: s, ts: s.Syntax, limits: s.Limits, ctx: s.Context,
	}
	if r.ctx == nil {
		r.ctx = context.Background()
	}
	r.bufs.New = func() any { return new([]byte) }
	r.decoded.New = func() any { return new(pixel.Frame) }
	r.ts.Encapsulated = s.Items != nil
	if r.ts.Encapsulated {
		return r, r.group()
	}
	if s.Syntax.Encapsulated && s.Known {
		return nil, fault.New("frames", tag.PixelData, s.Start, fault.ErrMalformed, "native pixel data under %s", s.Syntax.Name)
	}
	return r, r.checkNative()
}

// Open is Index for frames that are decoded. ErrUnsupported: this build has no
// codec for the transfer syntax. ErrLimit: a frame is over its bounds.
func Open(s Source) (*Reader, error) {
	r, err := Index(s)
	if err != nil {
		return nil, err
	}
	if !s.Known || r.ts.Encapsulated && !r.codecs.Decodes(r.ts) {
		return nil, fault.New("frames", tag.PixelData, -1, fault.ErrUnsupported, "transfer syntax %s %s", s.Syntax.UID, r.ts.Name)
	}
	if n := r.Info.DecodedBytes(); n > r.limits.Frame {
		return nil, fault.New("frames", tag.PixelData, -1, fault.ErrLimit, "a frame of %d bytes, limit %d", n, r.limits.Frame)
	}
	if pool := r.limits.Memory.Frames(); pool != nil {
		if need := r.Info.DecodedBytes()*r.workspace(r.codecs.JPEG2000(r.ts.UID)) + r.longest(); need > pool.Size() {
			return nil, fault.New("frames", tag.PixelData, -1, fault.ErrLimit, "a frame needs %d bytes of memory, %d are set aside for frames", need, pool.Size())
		}
	}
	if r.ts.Video {
		if err := r.openVideo(); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// workspace is how many times its decoded bytes a frame needs while it is
// decoded: the samples, the picture made of them, and what the codec holds.
// JPEG 2000 keeps 32 bits a sample, and transforms them in a second array;
// progressive JPEG keeps 16-bit coefficients.
func (r *Reader) workspace(j2k bool) int64 {
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
func (r *Reader) longest() (n int64) {
	if r.ts.Video {
		return 0 // streamed
	}
	for _, fr := range r.frames {
		total := int64(0)
		for _, s := range fr {
			total += s.N
		}
		n = max(n, total)
	}
	return n
}

// lease takes the memory that decoding frame i needs. The codec is told from
// the codestream, as decode does.
func (r *Reader) lease(i int) (budget.Lease, error) {
	pool := r.limits.Memory.Frames()
	if pool == nil {
		return budget.Lease{}, nil
	}
	n, j2k := int64(0), false
	if i >= 0 && i < len(r.frames) {
		var head [12]byte
		for k, s := range r.frames[i] {
			if k == 0 {
				h := head[:min(s.N, int64(len(head)))]
				if err := source.ReadFull(r.src.Bytes, h, s.Off); err != nil {
					return budget.Lease{}, &fault.Error{Op: "frames", Tag: tag.PixelData, Offset: s.Off, Err: err}
				}
				j2k = codec.IsJ2K(h)
			}
			n += s.N
		}
	}
	l, err := pool.Take(r.ctx, n+r.Info.DecodedBytes()*r.workspace(j2k), 0)
	if err != nil {
		err = &fault.Error{Op: "frames", Tag: tag.PixelData, Offset: -1, Err: err}
	}
	return l, err
}

// Len is the number of frames.
func (r *Reader) Len() int { return r.Info.Frames }

// Sequential reports whether the frames come out of one stream, so that asking
// for them one after the other and in order is what costs least.
func (r *Reader) Sequential() bool { return r.ts.Video }

// pooled runs fn with frame i in a reused buffer, and lets the scheduler run
// afterwards: it counts a series of C calls as one turn, and when that has
// lasted 10 ms takes the goroutine's processor away at every tick. Without, two
// goroutines that decode are 1.7 times as fast as one, with it twice.
func (r *Reader) pooled(i int, fn func(b []byte) error) error {
	defer runtime.Gosched()
	if err := r.ctx.Err(); err != nil {
		return &fault.Error{Op: "frames", Tag: tag.PixelData, Offset: -1, Err: err}
	}
	l, err := r.lease(i)
	if err != nil {
		return err
	}
	defer l.Drop()
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
func (r *Reader) Decode(i int, dst *pixel.Frame) error {
	if r.video != nil {
		return r.videoDecode(i, dst)
	}
	if r.ts.Encapsulated && r.frames == nil {
		return fault.New("frames", tag.PixelData, -1, fault.ErrUnsupported, "%s", r.ts.Name)
	}
	return r.pooled(i, func(b []byte) error { return r.decode(b, dst) })
}

// begin sets the description of dst for the attributes and sizes its data.
func (r *Reader) begin(dst *pixel.Frame) {
	in := r.Info
	dst.Rows, dst.Columns, dst.Samples = in.Rows, in.Columns, in.Samples
	dst.Bits, dst.Stored, dst.HighBit = max(in.BitsAllocated, 8), in.BitsStored, in.HighBit
	dst.Signed, dst.Photometric = in.Signed, in.Photometric
	dst.Data = pixel.Grow(dst.Data, int(r.Info.DecodedBytes()))
}

// decode decodes the bytes of one frame.
func (r *Reader) decode(b []byte, dst *pixel.Frame) error {
	r.begin(dst)
	if !r.ts.Encapsulated {
		return r.decodeNative(b, dst, r.src.Encoding.Big, r.Info.Planar)
	}
	switch r.ts.UID {
	case uid.EncapsulatedUncompressedExplicitVRLittleEndian:
		if int64(len(b)) < r.Info.FrameBytes() {
			return fault.New("frames", tag.PixelData, -1, fault.ErrTruncated, "%d bytes of %d", len(b), r.Info.FrameBytes())
		}
		return r.decodeNative(b, dst, false, r.Info.Planar)
	case uid.DeflatedImageFrameCompression:
		zr := flate.NewReader(bytes.NewReader(b))
		raw := make([]byte, r.Info.FrameBytes())
		if _, err := io.ReadFull(zr, raw); err != nil {
			kind := fault.ErrCodestream
			if errors.Is(err, io.ErrUnexpectedEOF) || err == io.EOF {
				kind = fault.ErrTruncated
			}
			return fault.New("inflate", tag.PixelData, -1, kind, "%v", err)
		}
		return r.decodeNative(raw, dst, false, r.Info.Planar)
	}
	if c := r.codecs.For(r.ts.UID, b); c != nil {
		return c.Decode(b, r.Info, dst, r.limits.Frame)
	}
	return fault.New("decode", tag.PixelData, -1, fault.ErrCodestream, "no start of a codestream")
}

// Gray decodes frame i to 8-bit luma. dst is resized when it does not have
// the size of the frame. Stored values of more than 8 bits go through the
// rescale and the first window of the data set, or the range of the loop.
func (r *Reader) Gray(i int, dst *image.Gray) error {
	if r.video != nil {
		return r.videoGray(i, dst)
	}
	d, err := r.display()
	if err != nil {
		return err
	}
	pixel.SizeGray(dst, r.Columns, r.Rows)
	return r.pooled(i, func(b []byte) error {
		switch {
		case !r.ts.Encapsulated && r.Info.BitsAllocated == 8 && r.Info.BitsStored == 8 && r.Info.Samples == 1 &&
			r.Info.Photometric == "MONOCHROME2" && !r.Info.Signed && !r.Inverted():
			for y := 0; y < r.Rows; y++ {
				copy(dst.Pix[y*dst.Stride:][:r.Columns], b[y*r.Columns:])
			}
			return nil
		case r.ts.Encapsulated && r.dct8() && !r.Inverted():
			if done, err := r.paint(b, jpeg.Gray, dst.Pix, dst.Stride); done || err != nil {
				return err
			}
		}
		f := r.decoded.Get().(*pixel.Frame)
		defer r.decoded.Put(f)
		if err := r.decode(b, f); err != nil {
			return err
		}
		return r.picture(f, d.Gray(f, dst))
	})
}

// GrayFrames iterates over the frames in order, decoding each into dst. It
// ends after the first error.
func (r *Reader) GrayFrames(dst *image.Gray) iter.Seq2[int, error] {
	return r.each(func(i int) error { return r.Gray(i, dst) })
}

// RGBFrames is GrayFrames in colour.
func (r *Reader) RGBFrames(dst *image.RGBA) iter.Seq2[int, error] {
	return r.each(func(i int) error { return r.RGB(i, dst) })
}

// each iterates over the results of decode.
func (r *Reader) each(decode func(i int) error) iter.Seq2[int, error] {
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
func (r *Reader) RGB(i int, dst *image.RGBA) error {
	if r.video != nil {
		return r.videoRGB(i, dst)
	}
	d, err := r.display()
	if err != nil {
		return err
	}
	pixel.SizeRGBA(dst, r.Columns, r.Rows)
	return r.pooled(i, func(b []byte) error {
		if r.ts.Encapsulated && r.dct8() && !r.Inverted() {
			if done, err := r.paint(b, jpeg.RGBA, dst.Pix, dst.Stride); done || err != nil {
				return err
			}
		}
		f := r.decoded.Get().(*pixel.Frame)
		defer r.decoded.Put(f)
		if err := r.decode(b, f); err != nil {
			return err
		}
		return r.picture(f, d.RGB(f, dst))
	})
}

// rangeFrames bounds how many frames are looked at for the range of a loop.
const rangeFrames = 64

// display is the way to pictures: with the window of the data set, and where more
// than 8 bits come without one with the range of the loop, found once. The range of
// each frame for itself would make the loop flicker with its brightest pixel. It is
// asked for before memory is held for a frame, as it decodes others.
func (r *Reader) display() (pixel.Display, error) {
	d, in := r.src.Display, r.Info
	if in.Samples != 1 || in.Photometric == "PALETTE COLOR" || in.BitsStored <= 8 && !in.Signed || d.Window.Given {
		return d, nil
	}
	// Whoever waits here does so for frames of this reader, and as long as its context lasts.
	r.rangeLock.Lock()
	defer r.rangeLock.Unlock()
	if r.ranged == nil {
		lo, hi, err := r.rangeOfLoop()
		if err != nil {
			return d, err
		}
		w := d.Window.Over(lo, hi)
		r.ranged = &w
	}
	d.Window = *r.ranged
	return d, nil
}

// rangeOfLoop is the range of the rescaled values of the frames: of more than
// rangeFrames as many are looked at, spread over the loop. What of these is damaged
// does not count, and is the error where all are.
func (r *Reader) rangeOfLoop() (lo, hi float64, err error) {
	lo, hi = math.Inf(1), math.Inf(-1)
	n, seen := r.Len(), min(r.Len(), rangeFrames)
	for i := range seen {
		failed := r.pooled(i*(n-1)/max(seen-1, 1), func(b []byte) error {
			f := r.decoded.Get().(*pixel.Frame)
			defer r.decoded.Put(f)
			if err := r.decode(b, f); err != nil {
				return err
			}
			for k := range f.Rows * f.Columns {
				x := r.src.Display.Window.Rescaled(f.Value(k))
				lo, hi = min(lo, x), max(hi, x)
			}
			return nil
		})
		if failed != nil && r.ctx.Err() != nil {
			return 0, 0, &fault.Error{Op: "frames", Tag: tag.PixelData, Offset: -1, Err: r.ctx.Err()}
		}
		err = cmp.Or(err, failed)
	}
	if lo > hi {
		return 0, 0, err
	}
	return lo, hi, nil
}

// picture gives the error of making a picture of f its kind.
func (r *Reader) picture(f *pixel.Frame, err error) error {
	if err == nil {
		return nil
	}
	kind := fault.ErrUnsupported
	if f.Photometric == "PALETTE COLOR" {
		kind = fault.ErrValue
	}
	return fault.New("colour", tag.PhotometricInterpretation, -1, kind, "%v", err)
}

// Inverted reports whether the frames are gray and shown with small stored values
// bright: they are not the picture that their codestreams are.
func (r *Reader) Inverted() bool {
	in := r.Info
	return in.Samples == 1 && in.Photometric != "PALETTE COLOR" && r.src.Display.Window.Inverts(in.Photometric, in.BitsStored, in.Signed)
}

// dct8 reports whether the attributes allow 8-bit DCT frames.
func (r *Reader) dct8() bool {
	return r.Info.BitsAllocated == 8 && (r.Info.Samples == 1 || r.Info.Samples == 3)
}

// paint decodes an 8-bit DCT frame straight into rows of dst. It returns false
// when the frame is of another kind.
func (r *Reader) paint(b []byte, form jpeg.Form, dst []byte, stride int) (bool, error) {
	return jpeg.Codec{}.Paint(b, r.Info, form, dst, stride, r.limits.Frame)
}
