package dicomio

import (
	"bytes"
	"context"
	"errors"
	"image"
	"io"
	"slices"
	"strings"

	"github.com/echonode/echonode/dicomio/tag"
)

// pixelDescription are the attributes without which the bytes of Pixel Data are
// no picture.
var pixelDescription = []Tag{tag.Rows, tag.Columns, tagNumberOfFrames, tag.SamplesPerPixel, tag.PhotometricInterpretation,
	tag.PlanarConfiguration, tag.BitsAllocated, tag.BitsStored, tag.HighBit, tagPixelRep}

// SamePixels reports whether two files hold the same picture: Pixel Data that
// are equal byte by byte, with their offset table and fragments, under one
// transfer syntax and one description, or none in both. Under two transfer
// syntaxes the decoded frames are compared instead: they must be equal, or
// differ by what decoders of lossy compression differ by where one of the two
// is; of long loops some frames stand for all. Video in another transfer syntax
// is another picture. Every other attribute may differ.
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
		return sameFrames(ctx, a, b)
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

// Bounds of what two decoders of one lossy stream differ by, in levels of 0 to
// 255: rounding of the transform and of the colours. Frames of a recompressed
// loop, or of another one, differ by more.
const (
	lossyMean = 1.0
	lossyMax  = 24
)

// comparedFrames bounds how many frames are decoded to compare two loops.
const comparedFrames = 48

// sameFrames compares what two files of different transfer syntaxes show.
func sameFrames(ctx context.Context, a, b *File) (bool, error) {
	_, hasA := a.DataSet.Get(tagPixels)
	_, hasB := b.DataSet.Get(tagPixels)
	if !hasA && !hasB {
		return true, nil // no picture in either
	}
	if hasA != hasB || a.Syntax.Video || b.Syntax.Video {
		return false, nil
	}
	for _, t := range []Tag{tag.Rows, tag.Columns, tagNumberOfFrames, tag.SamplesPerPixel, tag.BitsStored} {
		if a.DataSet.String(t) != b.DataSet.String(t) {
			return false, nil
		}
	}
	ra, err := a.Frames()
	if err != nil {
		return false, err
	}
	rb, err := b.Frames()
	if err != nil || ra.Len() != rb.Len() {
		return false, err
	}
	lossy := a.Syntax.Lossy || b.Syntax.Lossy
	var fa, fb image.RGBA
	n := min(ra.Len(), comparedFrames)
	for i := range n {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		at := i
		if n > 1 {
			at = i * (ra.Len() - 1) / (n - 1)
		}
		if err := errors.Join(ra.RGB(at, &fa), rb.RGB(at, &fb)); err != nil {
			return false, err
		}
		if !samePicture(&fa, &fb, lossy) {
			return false, nil
		}
	}
	return true, nil
}

// samePicture compares two frames.
func samePicture(a, b *image.RGBA, lossy bool) bool {
	if !lossy || a.Rect != b.Rect || len(a.Pix) != len(b.Pix) {
		return a.Rect == b.Rect && bytes.Equal(a.Pix, b.Pix)
	}
	sum := 0
	for i, v := range a.Pix {
		d := int(v) - int(b.Pix[i])
		if d = max(d, -d); d > lossyMax {
			return false
		}
		sum += d
	}
	return float64(sum) <= lossyMean*float64(len(a.Pix))*3/4 // a quarter is opacity
}

// SameAttributes reports whether two files say the same beside their pictures:
// every attribute outside the groups of the meta information, of the image's
// pixel description and of its pixels.
func SameAttributes(ctx context.Context, pathA, pathB string, o Options) (same bool, err error) {
	var said [2][]string
	for i, path := range []string{pathA, pathB} {
		f, err := OpenContext(ctx, path, o)
		if err != nil {
			return false, err
		}
		said[i] = attributes(f.DataSet, nil)
		if err := f.Close(); err != nil {
			return false, err
		}
	}
	return slices.Equal(said[0], said[1]), nil
}

// attributes lists what a data set says, in the order of tags.
func attributes(d *DataSet, out []string) []string {
	for _, e := range d.sorted() {
		switch g := e.Tag.Group(); {
		case g == 0x0002, g == 0x0028, g == 0x7FE0, e.Tag.Element() == 0, e.Tag == tagCharset:
			continue
		case g == 0xFFFC: // padding
			continue
		}
		text := e.strings(d.charset())
		if text == nil && e.val != nil {
			text = []string{string(e.val)}
		}
		out = append(out, e.Tag.String()+" "+strings.Join(text, "\\"))
		for _, it := range e.items {
			out = attributes(it, append(out, "item"))
		}
	}
	return out
}
