// Package compare says whether two files hold the same: the same picture, the same
// attributes beside it.
package compare

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"image"
	"io"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/encoding"
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
	for _, t := range []tag.Tag{tag.FloatPixelData, tag.DoubleFloatPixelData} {
		if same, err := sameSums(ctx, a, b, t); err != nil || !same {
			return false, err
		}
	}
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
	gray := ra.Info.Samples == 1 && ra.Info.Photometric != "PALETTE COLOR" && ra.Info.Photometric == rb.Info.Photometric
	var seen [2]image.RGBA
	var stored [2]dicomio.Frame
	n := min(ra.Len(), comparedFrames)
	for i := range n {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		at := i
		if n > 1 {
			at = i * (ra.Len() - 1) / (n - 1)
		}
		same := false
		if gray {
			// Windows and whatever else tells how values are shown are beside the picture.
			err = errors.Join(ra.Decode(at, &stored[0]), rb.Decode(at, &stored[1]))
			same = err == nil && sameValues(&stored[0], &stored[1], lossy)
		} else {
			err = errors.Join(ra.RGB(at, &seen[0]), rb.RGB(at, &seen[1]))
			same = err == nil && samePicture(&seen[0], &seen[1], lossy)
		}
		if err != nil || !same {
			return false, err
		}
	}
	return true, nil
}

// sameValues compares the stored values of two gray frames.
func sameValues(a, b *dicomio.Frame, lossy bool) bool {
	n := a.Rows * a.Columns
	if b.Rows*b.Columns != n || a.Signed != b.Signed {
		return false
	}
	level, sum := 255/float64(uint64(1)<<a.Stored-1), 0.0
	for k := range n {
		va, vb := a.Value(k), b.Value(k)
		if va == vb {
			continue
		}
		d := math.Abs(float64(va)-float64(vb)) * level
		if d > lossyMax || !lossy {
			return false
		}
		sum += d
	}
	return sum <= lossyMean*float64(n)
}

// sameSums reports whether a value is in both files the same, or in neither.
func sameSums(ctx context.Context, a, b *dicomio.File, t tag.Tag) (bool, error) {
	var sums [2][]byte
	for i, f := range []*dicomio.File{a, b} {
		e, ok := f.DataSet.Get(t)
		if !ok {
			continue
		}
		s := newSummer(ctx, f)
		if err := s.stream(s.sum, e, encoding.LookupVR(e.VR)); err != nil {
			return false, err
		}
		sums[i] = s.sum.Sum(nil)
	}
	return bytes.Equal(sums[0], sums[1]), nil
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
// every attribute outside the meta information, of items too, but for the
// description of the pixels, what compression notes of itself, and the Pixel
// Data themselves. Text that is what its character set allows is compared as it
// is read, so that it may be in another one; every other value byte by byte in little endian,
// however long it is.
func Attributes(ctx context.Context, pathA, pathB string, o dicomio.Options) (same bool, err error) {
	var sums [2][]byte
	for i, path := range []string{pathA, pathB} {
		if sums[i], err = sumAttributes(ctx, path, o); err != nil {
			return false, err
		}
	}
	return bytes.Equal(sums[0], sums[1]), nil
}

// sumAttributes is the sum of what the file at path says.
func sumAttributes(ctx context.Context, path string, o dicomio.Options) (sum []byte, err error) {
	f, err := dicomio.OpenContext(ctx, path, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Truncated(); err != nil {
		return nil, err
	}
	s := newSummer(ctx, f)
	if err := s.dataSet(f.DataSet, true, ""); err != nil {
		return nil, err
	}
	return s.sum.Sum(nil), nil
}

// ofCompression are attributes in which an encoder notes what it did, and the
// extremes of pixels that it may have changed (PS3.3 C.7.6.1.1.5, C.7.6.3).
var ofCompression = []tag.Tag{tag.LossyImageCompression, tag.LossyImageCompressionRatio, tag.LossyImageCompressionMethod,
	tag.SmallestImagePixelValue, tag.LargestImagePixelValue, tag.SmallestPixelValueInSeries, tag.LargestPixelValueInSeries}

// beside reports whether an attribute is beside the picture of its data set. The
// icons in items are what they are as any other value.
func beside(d *dicomio.DataSet, t tag.Tag, top bool) bool {
	switch g := t.Group(); {
	case g == 0x0002, g == 0xFFFC, t.Element() == 0, t == tag.SpecificCharacterSet: // 0xFFFC is padding
		return false
	case !top:
		return true
	case g == 0x7FE0:
		return false
	}
	return !d.Has(tag.PixelData) || !slices.Contains(pixelDescription, t) && !slices.Contains(ofCompression, t)
}

// longValue is from how many bytes on a value stands in a sum by its own. Text
// stands there as it is read, up to the length to which it is.
const longValue = 64 << 10

// summer sums what data sets say, with what tells where each part ends.
type summer struct {
	ctx context.Context
	big bool // values are in big endian
	sum hash.Hash
	buf []byte
}

// newSummer sums what f says.
func newSummer(ctx context.Context, f *dicomio.File) summer {
	return summer{ctx: ctx, big: f.Syntax.BigEndian, sum: sha256.New(), buf: make([]byte, longValue)}
}

// dataSet sums a data set in the order of tags; top says that it is no item, charset
// is the character set around it.
func (s summer) dataSet(d *dicomio.DataSet, top bool, charset string) error {
	if own := d.Strings(tag.SpecificCharacterSet); len(own) > 0 {
		charset = strings.Join(own, "\\")
	}
	for _, e := range slices.SortedStableFunc(d.Elements(), func(a, b *dicomio.Element) int { return cmp.Compare(a.Tag, b.Tag) }) {
		if !beside(d, e.Tag, top) {
			continue
		}
		fmt.Fprintf(s.sum, "%v ", e.Tag)
		items := d.Items(e.Tag)
		for _, it := range items {
			fmt.Fprintf(s.sum, "item ")
			if err := s.dataSet(it, false, charset); err != nil {
				return err
			}
			fmt.Fprintf(s.sum, "end ")
		}
		if len(items) > 0 {
			continue
		}
		if err := s.value(d, e, charset); err != nil {
			return fmt.Errorf("%v: %w", e.Tag, err)
		}
	}
	return nil
}

// value sums the value of an element.
func (s summer) value(d *dicomio.DataSet, e *dicomio.Element, charset string) error {
	vr := encoding.LookupVR(e.VR)
	if vr == nil || vr.Name == "UN" {
		vr = encoding.LookupVR(encoding.DictionaryVR(e.Tag, false))
	}
	if vr != nil && vr.Text && d.Guessed(e.Tag) {
		// What it says another character set may correct.
		fmt.Fprintf(s.sum, "%q %d ", charset, e.Len())
		return s.stream(s.sum, e, vr)
	}
	if vr == nil || vr.Text || (vr.String || vr.Name == "UN") && e.Len() < longValue {
		if text := d.Strings(e.Tag); text != nil {
			joined := strings.Join(text, "\\")
			fmt.Fprintf(s.sum, "%d %s", len(joined), joined)
			return nil
		}
	}
	if e.Encapsulated() || e.Len() >= longValue {
		sum := sha256.New()
		if err := s.stream(sum, e, vr); err != nil {
			return err
		}
		fmt.Fprintf(s.sum, "sum %x", sum.Sum(nil))
		return nil
	}
	fmt.Fprintf(s.sum, "%d ", e.Len())
	return s.stream(s.sum, e, vr)
}

// stream gives the value of an element in little endian, and the fragments of
// an encapsulated one as they are.
func (s summer) stream(to hash.Hash, e *dicomio.Element, vr *encoding.VR) error {
	var from io.Reader = e.Stored()
	if !e.Encapsulated() {
		from = e.Reader()
	}
	for buf := s.buf; ; {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(from, buf)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return err
		}
		if s.big && vr != nil && vr.Size > 1 {
			encoding.Swap(buf[:n], vr.Size)
		}
		to.Write(buf[:n])
		if err != nil {
			return nil
		}
	}
}
