package dicomio

import (
	"fmt"
	"io"
	"math"

	"github.com/echonode/echonode/dicomio/encoding"
	"github.com/echonode/echonode/dicomio/internal/charset"
	"github.com/echonode/echonode/dicomio/uid"
)

// OffsetTable says how the frames of encapsulated pixel data are indexed.
type OffsetTable int

const (
	// OffsetsAuto writes a basic offset table, or an extended one when the
	// offsets pass 32 bits, when the lengths of all frames are known, and an
	// empty basic one otherwise.
	OffsetsAuto OffsetTable = iota
	// OffsetsNone writes an empty basic offset table.
	OffsetsNone
	// OffsetsBasic writes a basic offset table.
	OffsetsBasic
	// OffsetsExtended writes Extended Offset Table and Lengths.
	OffsetsExtended
)

// Pixels supplies pixel data to Write, frame by frame.
type Pixels struct {
	// Offsets is the index of encapsulated frames.
	Offsets OffsetTable

	frames int
	length func(i int) int64 // -1: not known before the frame is made
	frame  func(i int) ([]byte, error)
	bits   int // pixels per frame of one-bit data, 0 for bytes
}

// FrameBytes supplies frames that are in memory: compressed ones for an
// encapsulated syntax, each becoming one fragment, or native ones.
func FrameBytes(frames [][]byte) *Pixels {
	return &Pixels{
		frames: len(frames),
		length: func(i int) int64 { return int64(len(frames[i])) },
		frame:  func(i int) ([]byte, error) { return frames[i], nil },
	}
}

// FrameSizes supplies frames of known lengths in bytes, one at a time, in order, as
// FrameBytes does those that are in memory. Write is done with a frame when it asks
// for the next.
func FrameSizes(sizes []int64, frame func(i int) ([]byte, error)) *Pixels {
	return &Pixels{frames: len(sizes), length: func(i int) int64 { return sizes[i] }, frame: frame}
}

// FrameFunc supplies n frames made one at a time, in order. size is the
// length of every frame in bytes, or negative when the lengths differ, which
// only encapsulated syntaxes allow; the offset table is then empty. Write is
// done with a frame when it asks for the next.
func FrameFunc(n int, size int64, frame func(i int) ([]byte, error)) *Pixels {
	return &Pixels{frames: n, length: func(int) int64 { return size }, frame: frame}
}

// BitFrames supplies one-bit native frames, as binary segmentations have:
// frame returns one byte per pixel, zero or not, and the bits are packed
// without gaps across frames, first pixel in the lowest bit (PS3.5 8.1.1).
func BitFrames(n, pixels int, frame func(i int) ([]byte, error)) *Pixels {
	return &Pixels{frames: n, bits: pixels, length: func(int) int64 { return -1 }, frame: frame}
}

// check compares the frames with the attributes of the data set.
func (p *Pixels) check(ds *DataSet, ts uid.Syntax) error {
	want := int64(1)
	if n, ok := ds.Int(tagNumberOfFrames); ok {
		want = n
	}
	if int64(p.frames) != want {
		return fail("write", tagNumberOfFrames, -1, ErrFrames, "%d frames, the data set says %d", p.frames, want)
	}
	if ts.Encapsulated {
		if p.bits > 0 {
			return fail("write", tagPixels, -1, ErrUnsupported, "one-bit frames for %s", ts.Name)
		}
		return nil
	}
	info, err := PixelInfoOf(ds)
	if err != nil {
		return err
	}
	if p.bits > 0 {
		if info.BitsAllocated != 1 || int64(p.bits) != info.Values() {
			return fail("write", tagPixels, -1, ErrFrames, "frames of %d one-bit pixels, the data set says %d of %d bits", p.bits, info.Values(), info.BitsAllocated)
		}
		return nil
	}
	if info.BitsAllocated == 1 && p.frames > 1 && info.Values()%8 != 0 {
		return fail("write", tagPixels, -1, ErrUnsupported, "one-bit frames that share a byte: use BitFrames")
	}
	for i := 0; i < p.frames; i++ {
		if n := p.length(i); n != info.FrameBytes() {
			return fail("write", tagPixels, -1, ErrFrames, "frame %d has %d bytes, the data set says %d", i, n, info.FrameBytes())
		}
	}
	return nil
}

// pixelData writes the Pixels of the encoder.
func (c *encoder) pixelData(ds *DataSet) error {
	p := c.pixels
	if !c.ts.Encapsulated {
		info, err := PixelInfoOf(ds)
		if err != nil {
			return err
		}
		return c.nativePixels(p, info)
	}
	kind, err := c.offsetTable(p)
	if err != nil {
		return err
	}
	if kind == OffsetsExtended {
		if err := c.extendedOffsets(p); err != nil {
			return err
		}
	}
	if err := c.header(tagPixels, "OB", encoding.Undefined); err != nil {
		return err
	}
	if err := c.basicOffsets(p, kind); err != nil {
		return err
	}
	for i := range p.frames {
		if err := c.fragment(p, i); err != nil {
			return err
		}
	}
	return c.item(tagSeqEnd, 0)
}

// offsetTable is the table that frames get, and whether it can be written.
func (c *encoder) offsetTable(p *Pixels) (OffsetTable, error) {
	total, known := int64(0), true
	for i := 0; i < p.frames && known; i++ {
		n := p.length(i)
		known = n >= 0
		total += 8 + n + n%2
	}
	kind := p.Offsets
	if kind == OffsetsAuto {
		switch {
		case !known || c.ts.Video:
			kind = OffsetsNone
		case total > math.MaxUint32:
			kind = OffsetsExtended
		default:
			kind = OffsetsBasic
		}
	}
	if kind != OffsetsNone && !known {
		return kind, fail("write", tagPixels, -1, ErrValue, "an offset table needs the lengths of the frames")
	}
	if kind == OffsetsBasic && total > math.MaxUint32 {
		return kind, fail("write", tagPixels, -1, ErrLimit, "%d bytes of frames for a basic offset table", total)
	}
	return kind, nil
}

// basicOffsets writes the item of the basic offset table, an empty one where the
// frames have another table or none.
func (c *encoder) basicOffsets(p *Pixels, kind OffsetTable) error {
	if kind != OffsetsBasic {
		return c.item(tagItem, 0)
	}
	if err := c.item(tagItem, 4*int64(p.frames)); err != nil {
		return err
	}
	off := int64(0)
	for i := range p.frames {
		if err := c.long(off); err != nil {
			return err
		}
		n := p.length(i)
		off += 8 + n + n%2
	}
	return nil
}

// fragment writes a frame as one fragment, of even length.
func (c *encoder) fragment(p *Pixels, i int) error {
	b, err := p.frame(i)
	if err != nil {
		return fmt.Errorf("dicomio: write frame %d: %w", i, err)
	}
	if n := p.length(i); len(b) == 0 || n >= 0 && n != int64(len(b)) {
		return fail("write", tagPixels, -1, ErrFrames, "frame %d has %d bytes", i, len(b))
	}
	n := int64(len(b))
	if n >= encoding.Undefined-1 {
		return fail("write", tagPixels, -1, ErrLimit, "a fragment of %d bytes", n)
	}
	if err := c.item(tagItem, n+n%2); err != nil {
		return err
	}
	if _, err := c.w.Write(b); err != nil {
		return err
	}
	if n%2 == 1 {
		return c.w.WriteByte(0)
	}
	return nil
}

// extendedOffsets writes (7FE0,0001) and (7FE0,0002), PS3.3 C.7.6.3.1.8.
func (c *encoder) extendedOffsets(p *Pixels) error {
	offs, lens := make([]byte, 0, 8*p.frames), make([]byte, 0, 8*p.frames)
	off := int64(0)
	put := func(b []byte, v int64) []byte {
		for i := 0; i < 8; i++ {
			b = append(b, byte(v>>(8*i)))
		}
		return b
	}
	for i := 0; i < p.frames; i++ {
		n := p.length(i)
		n += n % 2
		offs, lens = put(offs, off), put(lens, n)
		off += 8 + n
	}
	if err := c.element(&Element{Tag: tagEOT, VR: "OV", val: offs, n: int64(len(offs))}, charset.Set{}); err != nil {
		return err
	}
	return c.element(&Element{Tag: tagEOTLens, VR: "OV", val: lens, n: int64(len(lens))}, charset.Set{})
}

// nativePixels writes frames without encapsulation.
func (c *encoder) nativePixels(p *Pixels, info PixelInfo) error {
	total := int64(p.frames) * info.FrameBytes()
	if p.bits > 0 {
		total = (int64(p.frames)*int64(p.bits) + 7) / 8
	} else if info.BitsAllocated == 1 {
		total = (int64(p.frames)*info.Values() + 7) / 8
	}
	vr, size := "OB", 1
	if info.BitsAllocated > 8 || c.coding.Implicit {
		vr = "OW"
	}
	if info.BitsAllocated > 8 {
		size = info.BitsAllocated / 8
	}
	if total+total%2 > encoding.Undefined-1 {
		return fail("write", tagPixels, -1, ErrLimit, "%d bytes of native pixel data", total)
	}
	if err := c.header(tagPixels, vr, total+total%2); err != nil {
		return err
	}
	var acc byte
	var nbits uint
	for i := 0; i < p.frames; i++ {
		b, err := p.frame(i)
		if err != nil {
			return fmt.Errorf("dicomio: write frame %d: %w", i, err)
		}
		if p.bits > 0 {
			if len(b) != p.bits {
				return fail("write", tagPixels, -1, ErrFrames, "frame %d has %d pixels, expected %d", i, len(b), p.bits)
			}
			for _, v := range b {
				if v != 0 {
					acc |= 1 << nbits
				}
				if nbits++; nbits == 8 {
					if err := c.w.WriteByte(acc); err != nil {
						return err
					}
					acc, nbits = 0, 0
				}
			}
			continue
		}
		if int64(len(b)) != info.FrameBytes() {
			return fail("write", tagPixels, -1, ErrFrames, "frame %d has %d bytes, expected %d", i, len(b), info.FrameBytes())
		}
		if size > 1 && c.coding.Big {
			b = append([]byte(nil), b...)
			encoding.Swap(b, size)
		}
		if _, err := c.w.Write(b); err != nil {
			return err
		}
	}
	if nbits > 0 {
		if err := c.w.WriteByte(acc); err != nil {
			return err
		}
	}
	if total%2 == 1 {
		return c.w.WriteByte(0)
	}
	return nil
}

var _ io.WriterTo = (*File)(nil)
