// Package compare says whether two files hold the same: the same picture, the same
// attributes beside it.
package compare

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"image"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/part10"
	"github.com/echonode/echonode/dicomio/tag"
)

// pixelDescription are the attributes without which the bytes of Pixel Data are
// no picture.
var pixelDescription = []tag.Tag{tag.Rows, tag.Columns, tag.NumberOfFrames, tag.SamplesPerPixel, tag.PhotometricInterpretation,
	tag.PlanarConfiguration, tag.BitsAllocated, tag.BitsStored, tag.HighBit, tag.PixelRepresentation}

// Pixels reports whether two files hold the same picture: Pixel Data that
// are equal byte by byte, with their offset table and fragments, under one
// transfer syntax and one description, or none in both. Under two transfer
// syntaxes the decoded frames are compared instead: they must be equal, or
// differ by what decoders of lossy compression differ by where one of the two
// is; of long loops some frames stand for all. Video in another transfer syntax
// is another picture. Every other attribute may differ.
func Pixels(ctx context.Context, pathA, pathB string, o dicomio.Options) (same bool, err error) {
	return PixelsBySteps(ctx, pathA, pathB, o, ended)
}

// PixelsBySteps is Pixels that asks before every step, of some megabytes or of
// what has to be decoded, whether it may go on. While it asks it holds nothing of
// Limits.Memory, so that nobody who goes on meanwhile waits for that.
func PixelsBySteps(ctx context.Context, pathA, pathB string, o dicomio.Options, step func(context.Context) error) (bool, error) {
	if err := step(ctx); err != nil {
		return false, err
	}
	var files [2]*os.File
	for i, path := range []string{pathA, pathB} {
		f, _, err := part10.Open(path)
		if err != nil {
			return false, err
		}
		defer f.Close()
		files[i] = f
	}
	same, rest, err := described(ctx, files, o)
	if err != nil || !same {
		return false, err
	}
	for _, r := range rest {
		if same, err := equalStreams(ctx, r[0], r[1], step); err != nil || !same {
			return false, err
		}
	}
	return true, nil
}

// described is whether two files may hold the same picture, as far as that takes
// their indexes. They do if the rest is equal too, which is read without.
func described(ctx context.Context, files [2]*os.File, o dicomio.Options) (same bool, rest [][2]*io.SectionReader, err error) {
	var read [2]*dicomio.File
	for i, file := range files {
		st, err := file.Stat()
		if err != nil {
			return false, nil, err
		}
		f, err := dicomio.ReadContext(ctx, file, st.Size(), o)
		if err != nil {
			return false, nil, err
		}
		defer f.Close()
		if err := f.Truncated(); err != nil {
			return false, nil, err
		}
		read[i] = f
	}
	a, b := read[0], read[1]
	if a.TransferSyntax != b.TransferSyntax {
		same, err = sameFrames(ctx, a, b)
		return same, nil, err
	}
	for _, t := range pixelDescription {
		if a.DataSet.String(t) != b.DataSet.String(t) {
			return false, nil, nil
		}
	}
	for _, t := range []tag.Tag{tag.FloatPixelData, tag.DoubleFloatPixelData, tag.PixelData} {
		ea, inA := a.DataSet.Get(t)
		eb, inB := b.DataSet.Get(t)
		if inA != inB {
			return false, nil, nil
		}
		if !inA {
			continue
		}
		ra, rb := ea.Stored(), eb.Stored()
		if ra.Size() != rb.Size() {
			return false, nil, nil
		}
		if !a.Syntax.Deflated {
			rest = append(rest, [2]*io.SectionReader{ra, rb})
			continue
		}
		// What was inflated is gone with the file.
		if same, err := equalStreams(ctx, ra, rb, ended); err != nil || !same {
			return false, nil, err
		}
	}
	return true, rest, nil
}

// ended lets everything go on until the context ends.
func ended(ctx context.Context) error { return ctx.Err() }

// stepBuffers is how many buffers are compared in a step.
const stepBuffers = 64

// equalStreams compares two streams of one length.
func equalStreams(ctx context.Context, a, b io.Reader, step func(context.Context) error) (bool, error) {
	bufA, bufB := make([]byte, 64<<10), make([]byte, 64<<10)
	for i := 1; ; i++ {
		if i%stepBuffers == 0 {
			if err := step(ctx); err != nil {
				return false, err
			}
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
func sameFrames(ctx context.Context, a, b *dicomio.File) (bool, error) {
	_, hasA := a.DataSet.Get(tag.PixelData)
	_, hasB := b.DataSet.Get(tag.PixelData)
	if !hasA && !hasB {
		return true, nil // no picture in either
	}
	if hasA != hasB || a.Syntax.Video || b.Syntax.Video {
		return false, nil
	}
	for _, t := range []tag.Tag{tag.Rows, tag.Columns, tag.NumberOfFrames, tag.SamplesPerPixel, tag.BitsStored} {
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

// Attributes reports whether two files say the same beside their pictures:
// every attribute outside the groups of the meta information, of the image's
// pixel description and of its pixels.
func Attributes(ctx context.Context, pathA, pathB string, o dicomio.Options) (same bool, err error) {
	var said [2][]string
	for i, path := range []string{pathA, pathB} {
		f, err := dicomio.OpenContext(ctx, path, o)
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
func attributes(d *dicomio.DataSet, out []string) []string {
	for _, e := range slices.SortedStableFunc(d.Elements(), func(a, b *dicomio.Element) int { return cmp.Compare(a.Tag, b.Tag) }) {
		switch g := e.Tag.Group(); {
		case g == 0x0002, g == 0x0028, g == 0x7FE0, e.Tag.Element() == 0, e.Tag == tag.SpecificCharacterSet:
			continue
		case g == 0xFFFC: // padding
			continue
		}
		text := d.Strings(e.Tag)
		if text == nil && e.InMemory() {
			if b, err := e.Bytes(); err == nil {
				text = []string{string(b)}
			}
		}
		out = append(out, e.Tag.String()+" "+strings.Join(text, "\\"))
		for _, it := range d.Items(e.Tag) {
			out = attributes(it, append(out, "item"))
		}
	}
	return out
}
