package dicomio

import (
	"math"

	"github.com/echonode/echonode/dicomio/frames"
	"github.com/echonode/echonode/dicomio/pixel"
	"github.com/echonode/echonode/dicomio/tag"
)

// FrameReader gives the frames of a file.
type FrameReader = frames.Reader

// Frame is one decoded frame.
type Frame = pixel.Frame

// Frames finds the frames of the pixel data and checks that they are what the
// attributes say. ErrNoPixels: there is none. ErrFrames, ErrTruncated: fewer
// or other frames than announced. ErrUnsupported: no codec for the transfer
// syntax in this build; Raw frames are then still to be had from RawFrames.
func (f *File) Frames() (*FrameReader, error) {
	s, err := f.pixelSource()
	if err != nil {
		return nil, err
	}
	if s.Info.Photometric == "PALETTE COLOR" {
		if s.Display.Palette, err = readPalette(f.DataSet, s.Info); err != nil {
			return nil, err
		}
	}
	s.Display.Window = readWindow(f.DataSet)
	return frames.Open(s)
}

// RawFrames is Frames for transfer syntaxes that cannot be decoded: only Len,
// Info and Raw of the result work.
func (f *File) RawFrames() (*FrameReader, error) {
	s, err := f.pixelSource()
	if err != nil {
		return nil, err
	}
	return frames.Index(s)
}

// pixelSource describes the pixel data for their reader.
func (f *File) pixelSource() (frames.Source, error) {
	if f.truncated != nil {
		return frames.Source{}, f.truncated
	}
	e, ok := f.DataSet.Get(tagPixels)
	if !ok {
		if f.DataSet.Has(tag.FloatPixelData) || f.DataSet.Has(tag.DoubleFloatPixelData) {
			return frames.Source{}, fail("frames", tagPixels, -1, ErrUnsupported, "float pixel data")
		}
		return frames.Source{}, fail("frames", tagPixels, -1, ErrNoPixels, "")
	}
	info, err := PixelInfoOf(f.DataSet)
	if err != nil {
		return frames.Source{}, err
	}
	s := frames.Source{
		Context: f.ctx, Bytes: f.body, Syntax: f.Syntax, Known: f.Known, Encoding: e.enc, Start: e.start, Info: info,
		Native: frames.Span{Off: e.voff, N: e.n}, InMemory: e.val, Words: e.VR == "OW",
		Items: e.frags, Processes: &f.processes,
		Limits: frames.Limits{Value: f.limits.Value, Frame: f.limits.Frame, Frames: f.limits.Frames, Video: f.limits.Video, Memory: f.limits.Memory},
	}
	_, s.Counted = f.DataSet.Int(tagNumberOfFrames)
	s.Offsets = f.extendedOffsets
	return s, nil
}

// extendedOffsets reads Extended Offset Table, nil when there is none that can
// be one of n frames.
func (f *File) extendedOffsets(n int) []int64 {
	e, ok := f.DataSet.Get(tagEOT)
	if !ok || e.n != 8*int64(n) {
		return nil
	}
	b, err := e.Bytes()
	if err != nil {
		return nil
	}
	offs := make([]int64, n)
	for i := range offs {
		u := e.enc.Order().Uint64(b[8*i:])
		if u > math.MaxInt64 {
			return nil
		}
		offs[i] = int64(u)
	}
	return offs
}
