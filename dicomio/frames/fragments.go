package frames

import (
	"encoding/binary"
	"math"

	"github.com/echonode/echonode/dicomio/internal/fault"
	"github.com/echonode/echonode/dicomio/internal/source"
	"github.com/echonode/echonode/dicomio/tag"
)

// group assigns fragments to frames: one each; all to a single frame; by an
// offset table that hits the starts of items; by the start codes of the
// codestreams. Anything else is ErrFrames.
func (r *Reader) group() error {
	if len(r.src.Items) == 0 {
		return fault.New("frames", tag.PixelData, r.src.Start, fault.ErrMalformed, "no basic offset table item")
	}
	table, frags := r.src.Items[0], r.src.Items[1:]
	n := r.Info.Frames
	if len(frags) == 0 {
		return fault.New("frames", tag.PixelData, r.src.Start, fault.ErrFrames, "no fragments for %d frames", n)
	}
	if r.ts.Video {
		r.frames = [][]Span{frags}
		return nil
	}
	if len(frags) == n {
		r.frames = make([][]Span, n)
		for i := range frags {
			r.frames[i] = frags[i : i+1]
		}
		return r.checkFragments()
	}
	base := frags[0].Off - 8
	starts, err := r.starts(frags)
	if err != nil {
		return err
	}
	// A single frame may be in several fragments; when each of them begins with a
	// start code they are frames that nobody counted.
	if n == 1 && len(starts) < len(frags) {
		r.frames = [][]Span{frags}
		return r.checkFragments()
	}
	// A table of more frames than there are items cannot hit the start of one for
	// each, and is not read: its length is what the sender says.
	tabled := n < len(frags)
	if tabled && r.src.Offsets != nil && r.groupAt(frags, base, r.src.Offsets(n)) {
		return r.checkFragments()
	}
	if tabled && table.N == 4*int64(n) {
		b := make([]byte, table.N)
		if err := source.ReadFull(r.src.Bytes, b, table.Off); err != nil {
			return &fault.Error{Op: "frames", Tag: tag.PixelData, Offset: table.Off, Err: err}
		}
		offs := make([]int64, n)
		for i := range offs {
			offs[i] = int64(binary.LittleEndian.Uint32(b[4*i:]))
		}
		if r.groupAt(frags, base, offs) {
			return r.checkFragments()
		}
	}
	if len(starts) == n && r.groupAt(frags, base, starts) {
		return r.checkFragments()
	}
	// Another number of frames than announced, each beginning with a start code.
	if len(starts) <= r.limits.Frames && r.groupAt(frags, base, starts) {
		r.Info.Frames = len(starts)
		return r.checkFragments()
	}
	return fault.New("frames", tag.PixelData, r.src.Start, fault.ErrFrames, "%d fragments cannot be assigned to %d frames", len(frags), n)
}

// starts are the places of the fragments that begin a frame, counted from the
// first fragment as offset tables do.
func (r *Reader) starts(frags []Span) (out []int64, err error) {
	for _, s := range frags {
		ok, err := r.startsFrame(s)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, s.Off-frags[0].Off)
		}
	}
	return out, nil
}

// checkFragments bounds the compressed frames.
func (r *Reader) checkFragments() error {
	for i, fr := range r.frames {
		total := int64(0)
		for _, s := range fr {
			total += s.N
		}
		if total > r.limits.Frame {
			return fault.New("frames", tag.PixelData, fr[0].Off, fault.ErrLimit, "frame %d has %d compressed bytes, limit %d", i, total, r.limits.Frame)
		}
		if total == 0 {
			return fault.New("frames", tag.PixelData, fr[0].Off, fault.ErrFrames, "frame %d is empty", i)
		}
	}
	return nil
}

// groupAt assigns fragments by the offsets of the first item of each frame.
// It fails unless the offsets ascend from 0 and every one hits an item.
func (r *Reader) groupAt(frags []Span, base int64, offs []int64) bool {
	if len(offs) == 0 || offs[0] != 0 {
		return false
	}
	var frames [][]Span
	k := 0
	for i := range offs {
		first := k
		stop := int64(math.MaxInt64)
		if i+1 < len(offs) {
			stop = offs[i+1]
		}
		if k >= len(frags) || frags[k].Off-8-base != offs[i] {
			return false
		}
		for k < len(frags) && frags[k].Off-8-base < stop {
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

// startsFrame reports whether a fragment begins with the start code of a
// codestream: SOI of JPEG and JPEG-LS, SOC of JPEG 2000, an RLE header.
func (r *Reader) startsFrame(s Span) (bool, error) {
	var b [12]byte
	n := min(s.N, int64(len(b)))
	if err := source.ReadFull(r.src.Bytes, b[:n], s.Off); err != nil {
		return false, &fault.Error{Op: "frames", Tag: tag.PixelData, Offset: s.Off, Err: err}
	}
	return n >= 8 && r.codecs.Starts(r.ts.UID, b[:n]), nil
}
