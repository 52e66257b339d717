package dicomio

import (
	"bytes"
	"io"
	"strconv"
	"strings"

	"github.com/echonode/echonode/dicomio/encoding"
	"github.com/echonode/echonode/dicomio/frames"
	"github.com/echonode/echonode/dicomio/internal/charset"
	"github.com/echonode/echonode/dicomio/internal/source"
)

// origin is where parsed elements came from.
type origin struct {
	r        io.ReaderAt
	maxValue int64 // Limits.Value
}

// Element is one attribute of a data set. Its value is the raw bytes of the
// encoding it came with, decoded on demand; a value longer than
// Limits.InlineValue stays in the source until it is asked for. Elements that
// a DataSet returns belong to it and must not be changed, except through the
// setters of the data set.
type Element struct {
	Tag Tag
	VR  string

	val   []byte        // value, when it is in memory
	voff  int64         // offset of the value in src
	n     int64         // length of the value in bytes, 0 for undefined lengths
	items []*DataSet    // of a sequence
	frags []frames.Span // of encapsulated pixel data: basic offset table first

	src        *origin         // nil for elements made in memory
	start, end int64           // the whole element in src, header included
	enc        encoding.Syntax // of the bytes in src and in val
	seq        bool            // items hold the value, whatever the VR says
	undef      bool            // undefined length
	noEnd      bool            // undefined length, but the delimiter is missing
	utf8       bool            // val is UTF-8 text whatever the data set says
	cut        error           // the input ended inside this element
}

// Len is the length of the value in bytes, 0 for sequences and encapsulated
// pixel data of undefined length.
func (e *Element) Len() int64 { return e.n }

// Encapsulated reports whether the value is pixel data in fragments.
func (e *Element) Encapsulated() bool { return e.frags != nil }

// Fragments is the number of fragments of encapsulated pixel data, the basic
// offset table not counted.
func (e *Element) Fragments() int { return max(len(e.frags)-1, 0) }

// InMemory reports whether the value was loaded when the file was indexed.
func (e *Element) InMemory() bool { return e.val != nil || e.n == 0 }

// Bytes returns the raw value in the byte order of its source. The caller
// must not change it. The error is ErrLimit for values over Limits.Value,
// ErrTruncated for an element that is cut, and a read error otherwise.
func (e *Element) Bytes() ([]byte, error) {
	if e.cut != nil {
		return nil, e.cut
	}
	if e.val != nil || e.n == 0 || e.src == nil {
		return e.val, nil
	}
	if e.n > e.src.maxValue {
		return nil, fail("value", e.Tag, e.voff, ErrLimit, "%d bytes, limit %d", e.n, e.src.maxValue)
	}
	b := make([]byte, e.n)
	if err := source.ReadFull(e.src.r, b, e.voff); err != nil {
		return nil, &Error{Op: "value", Tag: e.Tag, Offset: e.voff, Err: err}
	}
	return b, nil
}

// Reader returns the raw value as a stream that loads nothing by itself. It
// fails at once for an element that is cut.
func (e *Element) Reader() io.Reader {
	if e.cut != nil {
		return failedReader{e.cut}
	}
	if e.val != nil || e.src == nil {
		return bytes.NewReader(e.val)
	}
	return io.NewSectionReader(e.src.r, e.voff, e.n)
}

// Undelimited reports whether the value is pixel data in fragments behind which the
// delimiter is missing. Their frames are whole; an element is written with it.
func (e *Element) Undelimited() bool { return e.frags != nil && e.noEnd }

// Stored is the value of a parsed element as its source has it, the items of
// encapsulated pixel data included, but not the delimiter that ends them; empty for
// one made in memory.
func (e *Element) Stored() *io.SectionReader {
	if e.src == nil {
		return io.NewSectionReader(bytes.NewReader(nil), 0, 0)
	}
	end := e.end
	if n := len(e.frags); n > 0 {
		end = e.frags[n-1].Off + e.frags[n-1].N
	}
	return io.NewSectionReader(e.src.r, e.voff, end-e.voff)
}

// failedReader gives only an error.
type failedReader struct{ err error }

// Read implements io.Reader.
func (r failedReader) Read([]byte) (int, error) { return 0, r.err }

// effectiveVR is the VR that tells how to read the value: the element's own,
// or the dictionary's for UN.
func (e *Element) effectiveVR() string {
	if e.VR == "UN" || encoding.LookupVR(e.VR) == nil {
		return encoding.DictionaryVR(e.Tag, false)
	}
	return e.VR
}

// maxNumbers is the longest value that is read as numbers: what is longer are
// samples, of which Bytes and Reader give what is asked for.
const maxNumbers = 1 << 20

// maxText is the longest value that is read as text of many letters, and maxValues
// how many values text may have, which are more to hold than it is: as many as of
// eight bytes each are read.
const (
	maxText   = 2 << 20
	maxValues = maxNumbers / 8
)

// ints reads an integer VR, nil for other VRs.
func (e *Element) ints(vr string) []int64 {
	if e.n > maxNumbers {
		return nil
	}
	b, err := e.Bytes()
	if err != nil {
		return nil
	}
	return encoding.Ints(vr, b, e.enc.Order())
}

// floats reads a floating-point VR, nil for other VRs.
func (e *Element) floats(vr string) []float64 {
	if e.n > maxNumbers {
		return nil
	}
	b, err := e.Bytes()
	if err != nil {
		return nil
	}
	return encoding.Floats(vr, b, e.enc.Order())
}

// strings reads the values as trimmed UTF-8 text; numbers are formatted.
func (e *Element) strings(cs charset.Set) []string {
	vr := e.effectiveVR()
	info := encoding.LookupVR(vr)
	if info != nil && !info.String && vr != "UN" {
		return e.formatted(vr)
	}
	b := e.text(vr)
	if len(b) == 0 || !info.Single && bytes.Count(b, []byte{'\\'}) >= maxValues {
		return nil
	}
	var vals []string
	switch {
	case info.Text:
		vals = e.charset(cs).Decode(b, vr)
	case info.Single:
		vals = []string{charset.Latin(b)}
	default:
		vals = strings.Split(charset.Latin(b), "\\")
	}
	for i, v := range vals {
		vals[i] = trim(v, info)
	}
	return vals
}

// first is the first of strings, "" for none. The others are not made for it.
func (e *Element) first(cs charset.Set) string {
	vr := e.effectiveVR()
	info := encoding.LookupVR(vr)
	if info != nil && !info.String && vr != "UN" {
		if vals := e.leading(vr).formatted(vr); len(vals) > 0 {
			return vals[0]
		}
		return ""
	}
	b := e.text(vr)
	switch {
	case len(b) == 0:
		return ""
	case info.Text:
		return trim(e.charset(cs).First(b, vr), info)
	case !info.Single:
		b, _, _ = bytes.Cut(b, []byte{'\\'})
	}
	return trim(charset.Latin(b), info)
}

// text is the value of an element that is text, nil of any other and of one that
// is longer than text is; Bytes gives it.
func (e *Element) text(vr string) []byte {
	info := encoding.LookupVR(vr)
	if info == nil || e.seq || e.frags != nil {
		return nil
	}
	if many := info.Text || vr == "UN"; e.n > maxText || !many && e.n > maxNumbers {
		return nil
	}
	b, err := e.Bytes()
	if err != nil || vr == "UN" && !printable(b) { // a private or unknown value: text if it looks like text
		return nil
	}
	return b
}

// charset is the character set of the value in a data set of the given one.
func (e *Element) charset(cs charset.Set) charset.Set {
	if e.utf8 {
		return charset.UTF8()
	}
	return cs
}

// trim takes away what pads a value.
func trim(v string, info *encoding.VR) string {
	const blank = " \x00\r\n\t\f"
	if info.Single && info.Text {
		return strings.TrimRight(v, blank)
	}
	v = strings.Trim(v, blank)
	if info.Name == "PN" {
		v = strings.TrimRight(v, "=") // empty groups at the end may be left out
	}
	return v
}

// leading is the element with the first number of a binary value alone, itself
// where that is not shorter or is not read as numbers.
func (e *Element) leading(vr string) *Element {
	size := int64(encoding.WordSize(vr))
	if size == 0 || e.n <= size || e.n > maxNumbers {
		return e
	}
	c := *e
	c.n = size
	if c.val != nil {
		c.val = c.val[:size]
	}
	return &c
}

// formatted are the values of a binary VR as text.
func (e *Element) formatted(vr string) (out []string) {
	switch vr {
	case "FL", "FD":
		bits := 64
		if vr == "FL" {
			bits = 32
		}
		for _, f := range e.floats(vr) {
			out = append(out, strconv.FormatFloat(f, 'g', -1, bits))
		}
	case "US", "SS", "UL", "SL", "SV":
		for _, v := range e.ints(vr) {
			out = append(out, strconv.FormatInt(v, 10))
		}
	case "UV":
		for _, v := range e.ints(vr) {
			out = append(out, strconv.FormatUint(uint64(v), 10))
		}
	case "AT":
		for _, t := range e.tags() {
			out = append(out, t.String())
		}
	}
	return out
}

// printable reports whether b holds only ASCII text, trailing zeros aside.
func printable(b []byte) bool {
	for len(b) > 0 && b[len(b)-1] == 0 {
		b = b[:len(b)-1]
	}
	for _, c := range b {
		if c < 0x20 && c != '\r' && c != '\n' && c != '\t' || c > 0x7E {
			return false
		}
	}
	return true
}

// tags reads an AT value.
func (e *Element) tags() []Tag {
	if e.n > maxNumbers {
		return nil
	}
	b, err := e.Bytes()
	if err != nil {
		return nil
	}
	return encoding.Tags(b, e.enc.Order())
}
