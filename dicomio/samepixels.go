package dicomio

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/echonode/echonode/dicomio/tag"
)

// pixelDescription are the attributes without which the bytes of Pixel Data are
// no picture.
var pixelDescription = []Tag{tag.Rows, tag.Columns, tagNumberOfFrames, tag.SamplesPerPixel, tag.PhotometricInterpretation,
	tag.PlanarConfiguration, tag.BitsAllocated, tag.BitsStored, tag.HighBit, tagPixelRep}

// SamePixels reports whether two files hold the same picture: Pixel Data that
// are equal byte by byte, with their offset table and fragments, under one
// transfer syntax and one description, or none in both. Every other attribute
// may differ.
func SamePixels(ctx context.Context, pathA, pathB string, o Options) (same bool, err error) {
	a, err := OpenContext(ctx, pathA, o)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	b, err := OpenContext(ctx, pathB, o)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	for _, f := range []*File{a, b} {
		if err := f.Truncated(); err != nil {
			return false, err
		}
	}
	if a.TransferSyntax != b.TransferSyntax {
		return false, nil
	}
	for _, t := range pixelDescription {
		if a.DataSet.String(t) != b.DataSet.String(t) {
			return false, nil
		}
	}
	for _, t := range []Tag{tag.Tag(0x7FE00008), tag.Tag(0x7FE00009), tagPixels} {
		ra, na := a.stored(t)
		rb, nb := b.stored(t)
		if na != nb || (ra == nil) != (rb == nil) {
			return false, nil
		}
		if ra == nil {
			continue
		}
		if same, err := equalStreams(ctx, ra, rb); err != nil || !same {
			return false, err
		}
	}
	return true, nil
}

// stored is the value of an element as the file has it, items and delimiters
// included; nil when the element is absent.
func (f *File) stored(t Tag) (io.Reader, int64) {
	e, ok := f.DataSet.Get(t)
	if !ok {
		return nil, 0
	}
	n := e.end - e.voff
	return io.NewSectionReader(f.body, e.voff, n), n
}

// equalStreams compares two streams of one length.
func equalStreams(ctx context.Context, a, b io.Reader) (bool, error) {
	bufA, bufB := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		n, err := io.ReadFull(a, bufA)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return false, err
		}
		if m, berr := io.ReadFull(b, bufB[:n]); m < n && berr != nil {
			return false, berr
		}
		if !bytes.Equal(bufA[:n], bufB[:n]) {
			return false, nil
		}
		if err != nil {
			return true, nil
		}
	}
}
