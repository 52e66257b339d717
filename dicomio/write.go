package dicomio

import (
	"bufio"
	"compress/flate"
	"fmt"
	"io"

	"github.com/echonode/echonode/dicomio/encoding"
	"github.com/echonode/echonode/dicomio/internal/charset"
	"github.com/echonode/echonode/dicomio/part10"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
)

// WriteOptions says how Write encodes.
type WriteOptions struct {
	// TransferSyntax; empty means Explicit VR Little Endian. It must be in the
	// table of this package.
	TransferSyntax string
	// Pixels is written as Pixel Data (7FE0,0010); nil writes the element that
	// the data set has, if any.
	Pixels *Pixels
	// Bare leaves out preamble and meta group: the form that travels in a
	// C-STORE request.
	Bare bool
	// SourceAE goes into Source Application Entity Title when not empty.
	SourceAE string
}

// Write encodes a data set as a Part 10 file: preamble, meta group made from
// SOP Class UID and SOP Instance UID, elements in ascending order. Elements
// that were parsed and not changed keep their bytes where the encoding allows
// it; text that was set is converted to the character set of the data set, or
// makes it ISO_IR 192 when it has none. Group lengths are left out.
func Write(w io.Writer, ds *DataSet, o WriteOptions) error {
	if err := ds.Err(); err != nil {
		return err
	}
	if o.TransferSyntax == "" {
		o.TransferSyntax = uid.ExplicitVRLittleEndian
	}
	ts, ok := uid.LookupSyntax(o.TransferSyntax)
	if !ok {
		return fail("write", tagSyntax, -1, ErrUnsupported, "transfer syntax %s", o.TransferSyntax)
	}
	if o.Pixels != nil {
		if err := o.Pixels.check(ds, ts); err != nil {
			return err
		}
	} else if e, ok := ds.Get(tagPixels); ok && e.Encapsulated() != ts.Encapsulated {
		return fail("write", tagPixels, -1, ErrUnsupported, "pixel data of another kind for %s", ts.Name)
	}
	cs, add := writeCharset(ds)
	out := bufio.NewWriterSize(w, 64<<10)
	enc := &encoder{w: out, ts: ts, coding: encoding.Syntax{Implicit: ts.Implicit, Big: ts.BigEndian}, pixels: o.Pixels, addCharset: add}
	if !o.Bare {
		if err := enc.meta(ds, ts, o.SourceAE); err != nil {
			return err
		}
	}
	if ts.Deflated {
		if err := out.Flush(); err != nil {
			return err
		}
		z, err := flate.NewWriter(w, flate.DefaultCompression)
		if err != nil {
			return err
		}
		enc.w = bufio.NewWriterSize(z, 64<<10)
		if err := enc.dataSet(ds, cs, true); err != nil {
			return err
		}
		if err := enc.w.Flush(); err != nil {
			return err
		}
		return z.Close()
	}
	if err := enc.dataSet(ds, cs, true); err != nil {
		return err
	}
	return out.Flush()
}

// countWriter counts what passes.
type countWriter struct {
	w io.Writer
	n int64
}

// Write implements io.Writer.
func (c *countWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// WriteTo writes the file with the preamble, meta group and transfer syntax it
// was read with: byte for byte when nothing was changed, and otherwise with
// only the changed elements encoded anew, and those that lack a delimiter, which get
// it. A truncated file is not written. It
// implements io.WriterTo.
func (f *File) WriteTo(w io.Writer) (int64, error) {
	if f.truncated != nil {
		return 0, f.truncated
	}
	c := &countWriter{w: w}
	if f.DataSet.unchanged() && f.Meta.unchangedMeta() {
		_, err := io.Copy(c, io.NewSectionReader(f.src, 0, f.size))
		return c.n, err
	}
	if err := f.DataSet.Err(); err != nil {
		return 0, err
	}
	out := bufio.NewWriterSize(c, 64<<10)
	ts := f.Syntax
	enc := &encoder{w: out, ts: ts, coding: f.syntaxOf, keepOrder: true}
	cs, add := writeCharset(f.DataSet)
	enc.addCharset = add
	if f.Meta.unchangedMeta() && f.sameIdentity() {
		if _, err := io.Copy(out, io.NewSectionReader(f.src, 0, f.metaEnd)); err != nil {
			return c.n, err
		}
	} else if f.metaEnd > 0 {
		if err := enc.meta(f.DataSet, ts, f.Meta.String(tag.SourceApplicationEntityTitle)); err != nil {
			return c.n, err
		}
	}
	if ts.Deflated {
		if err := out.Flush(); err != nil {
			return c.n, err
		}
		z, err := flate.NewWriter(c, flate.DefaultCompression)
		if err != nil {
			return c.n, err
		}
		enc.w = bufio.NewWriterSize(z, 64<<10)
		if err := enc.dataSet(f.DataSet, cs, true); err != nil {
			return c.n, err
		}
		if err := enc.w.Flush(); err != nil {
			return c.n, err
		}
		return c.n, z.Close()
	}
	if err := enc.dataSet(f.DataSet, cs, true); err != nil {
		return c.n, err
	}
	if err := enc.copySpan(f.body, f.trailer.Off, f.trailer.N); err != nil {
		return c.n, err
	}
	return c.n, out.Flush()
}

// unchangedMeta is unchanged for a meta group, which may be empty.
func (d *DataSet) unchangedMeta() bool {
	return !d.edited && (len(d.elems) == 0 || d.unchanged())
}

// sameIdentity reports whether the meta group still names the data set.
func (f *File) sameIdentity() bool {
	same := func(m, d Tag) bool { return !f.Meta.Has(m) || f.Meta.String(m) == f.DataSet.String(d) }
	return same(tag.MediaStorageSOPInstanceUID, tag.SOPInstanceUID) && same(tag.MediaStorageSOPClassUID, tag.SOPClassUID) ||
		!f.DataSet.editedAny(tag.SOPInstanceUID, tag.SOPClassUID)
}

// editedAny reports whether one of the elements was set.
func (d *DataSet) editedAny(tags ...Tag) bool {
	for _, t := range tags {
		if e, ok := d.Get(t); ok && e.src == nil {
			return true
		}
	}
	return false
}

// writeCharset chooses the character set to write with; add says that the
// element must be added because the data set has none.
func writeCharset(ds *DataSet) (cs charset.Set, add bool) {
	if ds.Has(tagCharset) {
		return ds.charset(), false
	}
	for _, e := range ds.All() {
		if e.utf8 && !plainASCII(e.val) {
			return charset.UTF8(), true
		}
	}
	return ds.charset(), false
}

// plainASCII reports whether b needs no character set.
func plainASCII(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

// encoder writes elements.
type encoder struct {
	w          *bufio.Writer
	ts         uid.Syntax
	coding     encoding.Syntax
	pixels     *Pixels
	addCharset bool
	keepOrder  bool // of the source, and group lengths
	scratch    [encoding.Longest]byte
}

// meta writes preamble and meta group (PS3.10 7.1).
func (c *encoder) meta(ds *DataSet, ts uid.Syntax, sourceAE string) error {
	class, instance := ds.String(tag.SOPClassUID), ds.String(tag.SOPInstanceUID)
	if class == "" {
		return fail("write", tag.SOPClassUID, -1, ErrValue, "missing")
	}
	if instance == "" && class != uid.MediaStorageDirectoryStorage {
		return fail("write", tag.SOPInstanceUID, -1, ErrValue, "missing")
	}
	m := NewDataSet().
		SetString(tag.MediaStorageSOPClassUID, class).
		SetString(tag.MediaStorageSOPInstanceUID, instance).
		SetString(tagSyntax, ts.UID).
		SetString(tag.SourceApplicationEntityTitle, sourceAE)
	if err := m.Err(); err != nil {
		return err
	}
	return part10.Write(c.w, part10.Meta{SOPClassUID: class, SOPInstanceUID: instance, TransferSyntaxUID: ts.UID, SourceAETitle: sourceAE})
}

// dataSet writes all elements. cs is the character set in force.
func (c *encoder) dataSet(d *DataSet, cs charset.Set, top bool) error {
	elems := d.elems
	if !c.keepOrder || d.edited {
		elems = d.sorted()
	}
	if !top && d.Has(tagCharset) {
		cs = d.charset()
	}
	charsetDone, pixelsDone := !top || !c.addCharset, !top || c.pixels == nil
	for i, e := range elems {
		if !c.keepOrder && (e.Tag.Group() == 0xFFFE || e.Tag.Element() == 0 && e.Tag.Group() != 2) {
			continue // stray delimiters and group lengths
		}
		if i+1 < len(elems) && elems[i+1].Tag == e.Tag && !c.keepOrder {
			continue // the last of a repeated tag counts
		}
		if !charsetDone && e.Tag > tagCharset {
			charsetDone = true
			if err := c.charsetElement(); err != nil {
				return err
			}
		}
		if !pixelsDone && e.Tag >= tagPixels {
			pixelsDone = true
			if err := c.pixelData(d); err != nil {
				return err
			}
		}
		if top && c.pixels != nil && (e.Tag == tagPixels || e.Tag == tagEOT || e.Tag == tagEOTLens) {
			continue
		}
		if err := c.element(e, cs); err != nil {
			return err
		}
	}
	if !charsetDone {
		if err := c.charsetElement(); err != nil {
			return err
		}
	}
	if !pixelsDone {
		return c.pixelData(d)
	}
	return nil
}

// charsetElement writes ISO_IR 192.
func (c *encoder) charsetElement() error {
	v := []byte("ISO_IR 192")
	return c.element(&Element{Tag: tagCharset, VR: "CS", val: v, n: int64(len(v))}, charset.UTF8())
}

// item writes the header of an item, a delimiter or a fragment.
func (c *encoder) item(t Tag, n int64) error {
	_, err := c.w.Write(c.coding.AppendItem(c.scratch[:0], t, uint32(n)))
	return err
}

// long writes a 32-bit length.
func (c *encoder) long(n int64) error {
	_, err := c.w.Write(c.coding.AppendLength(c.scratch[:0], uint32(n)))
	return err
}

// header writes tag, VR and length.
func (c *encoder) header(t Tag, vr string, n int64) error {
	if n > encoding.Undefined {
		return fail("write", t, -1, ErrLimit, "%d bytes", n)
	}
	_, err := c.w.Write(c.coding.AppendHeader(c.scratch[:0], t, vr, uint32(n)))
	return err
}

// element writes one element.
func (c *encoder) element(e *Element, cs charset.Set) error {
	if e.cut != nil {
		return e.cut
	}
	if e.unchanged() && e.portable() && (e.enc == c.coding || e.Encapsulated() && !e.enc.Big && !c.coding.Big && !e.enc.Implicit && !c.coding.Implicit) {
		return c.copySpan(e.src.r, e.start, e.end-e.start)
	}
	if e.seq || e.VR == "SQ" {
		return c.sequence(e, cs)
	}
	if e.frags != nil {
		return c.copyFragments(e)
	}
	if e.Tag.Group() == 0xFFFE {
		return c.item(e.Tag, 0)
	}
	vr := e.VR
	if vr == "UN" && e.enc.Implicit && !c.coding.Implicit {
		vr = encoding.DictionaryVR(e.Tag, false)
	}
	info := encoding.LookupVR(vr)
	if e.utf8 {
		b, ok := cs.Encode(e.val)
		if !ok {
			return fail("write", e.Tag, -1, ErrCharset, "text does not fit the character set of the data set")
		}
		b = encoding.Pad(b[:len(b):len(b)], ' ')
		if err := c.header(e.Tag, vr, int64(len(b))); err != nil {
			return err
		}
		_, err := c.w.Write(b)
		return err
	}
	n := e.n + e.n%2
	if err := c.header(e.Tag, vr, n); err != nil {
		return err
	}
	size := 1
	if info != nil {
		size = info.Size
	}
	if err := c.value(e, size); err != nil {
		return err
	}
	if e.n%2 == 1 {
		p := byte(0)
		if info != nil {
			p = info.Pad
		}
		return c.w.WriteByte(p)
	}
	return nil
}

// value copies a value, swapping words of the given size when the byte order
// changes.
func (c *encoder) value(e *Element, size int) error {
	var r io.Reader = e.Reader()
	if e.val != nil || e.src == nil {
		if size == 1 || e.enc.Big == c.coding.Big {
			_, err := c.w.Write(e.val)
			return err
		}
	}
	if size == 1 || e.enc.Big == c.coding.Big {
		n, err := io.Copy(c.w, r)
		if err == nil && n != e.n {
			err = fail("write", e.Tag, e.voff, ErrTruncated, "")
		}
		return err
	}
	buf := make([]byte, 32<<10)
	for left := e.n; left > 0; {
		k := int(min(int64(len(buf)), left))
		if _, err := io.ReadFull(r, buf[:k]); err != nil {
			return &Error{Op: "write", Tag: e.Tag, Offset: e.voff, Err: fmt.Errorf("%w: %w", ErrTruncated, err)}
		}
		encoding.Swap(buf[:k], size)
		if _, err := c.w.Write(buf[:k]); err != nil {
			return err
		}
		left -= int64(k)
	}
	return nil
}

// copySpan copies bytes of the source.
func (c *encoder) copySpan(r io.ReaderAt, off, n int64) error {
	if n == 0 {
		return nil
	}
	k, err := io.Copy(c.w, io.NewSectionReader(r, off, n))
	if err == nil && k != n {
		err = fail("write", Tag(0), off, ErrTruncated, "the source became shorter")
	}
	return err
}

// sequence writes items with undefined lengths, which need no second pass.
// Items that were not changed keep their bytes.
func (c *encoder) sequence(e *Element, cs charset.Set) error {
	if len(e.items) == 0 {
		return c.header(e.Tag, "SQ", 0)
	}
	if err := c.header(e.Tag, "SQ", encoding.Undefined); err != nil {
		return err
	}
	for _, it := range e.items {
		if it.unchanged() && it.portable() && it.enc == c.coding {
			if err := c.copySpan(it.src.r, it.start, it.end-it.start); err != nil {
				return err
			}
			continue
		}
		if err := c.item(tagItem, encoding.Undefined); err != nil {
			return err
		}
		if err := c.dataSet(it, cs, false); err != nil {
			return err
		}
		if err := c.item(tagItemEnd, 0); err != nil {
			return err
		}
	}
	return c.item(tagSeqEnd, 0)
}

// copyFragments writes encapsulated pixel data anew.
func (c *encoder) copyFragments(e *Element) error {
	if c.coding.Implicit || c.coding.Big {
		return fail("write", e.Tag, -1, ErrUnsupported, "fragments in this encoding")
	}
	if err := c.header(e.Tag, "OB", encoding.Undefined); err != nil {
		return err
	}
	for _, f := range e.frags {
		if err := c.item(tagItem, f.N); err != nil {
			return err
		}
		if err := c.copySpan(e.src.r, f.Off, f.N); err != nil {
			return err
		}
	}
	return c.item(tagSeqEnd, 0)
}
