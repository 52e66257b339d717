package dicomio

import (
	"bytes"
	"cmp"
	"io"
	"iter"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/echonode/echonode/dicomio/encoding"
	"github.com/echonode/echonode/dicomio/internal/charset"
)

// DataSet is an ordered set of elements. Reading one from several goroutines
// is safe; changing one is not.
//
// Setters return the data set so that calls chain. The first failure is kept
// and returned by Err and by Write.
type DataSet struct {
	elems  []*Element
	parent *DataSet
	err    error
	edited bool // elements were set or deleted

	ascending bool        // tags ascend strictly: find may bisect
	index     map[Tag]int // of large data sets that do not ascend

	// Of a parsed data set.
	src        *origin
	start, end int64 // of an item with its header, in src
	enc        encoding.Syntax
	undef      bool // item of undefined length
	noEnd      bool // undefined length, but the delimiter is missing
}

// NewDataSet returns an empty data set. Text set in it is UTF-8 and written
// so, with Specific Character Set ISO_IR 192 when it is not plain ASCII.
func NewDataSet() *DataSet { return &DataSet{} }

// find returns the place of a tag. The last one counts when a damaged data
// set repeats a tag.
func (d *DataSet) find(t Tag) int {
	switch {
	case d == nil:
		return -1
	case d.ascending:
		i, ok := slices.BinarySearchFunc(d.elems, t, func(e *Element, t Tag) int { return cmp.Compare(e.Tag, t) })
		if !ok {
			return -1
		}
		return i
	case d.index != nil:
		if i, ok := d.index[t]; ok {
			return i
		}
		return -1
	}
	for i := len(d.elems) - 1; i >= 0; i-- {
		if d.elems[i].Tag == t {
			return i
		}
	}
	return -1
}

// settle prepares find after parsing.
func (d *DataSet) settle() {
	d.ascending = true
	for i := 1; i < len(d.elems) && d.ascending; i++ {
		d.ascending = d.elems[i-1].Tag < d.elems[i].Tag
	}
	if !d.ascending && len(d.elems) > 100 {
		d.index = make(map[Tag]int, len(d.elems))
		for i, e := range d.elems {
			d.index[e.Tag] = i
		}
	}
}

// Get returns the element of a tag.
func (d *DataSet) Get(t Tag) (*Element, bool) {
	if i := d.find(t); i >= 0 {
		return d.elems[i], true
	}
	return nil, false
}

// Has reports whether the element is present, empty or not.
func (d *DataSet) Has(t Tag) bool { return d.find(t) >= 0 }

// Len is the number of elements.
func (d *DataSet) Len() int { return len(d.elems) }

// Elements iterates over the elements in the order of the source, or of
// setting for new data sets.
func (d *DataSet) Elements() iter.Seq[*Element] {
	return func(yield func(*Element) bool) {
		for _, e := range d.elems {
			if !yield(e) {
				return
			}
		}
	}
}

// All iterates over the elements of the data set and, depth first, of all its
// sequences, with their depth (0 for the data set itself).
func (d *DataSet) All() iter.Seq2[int, *Element] {
	return func(yield func(int, *Element) bool) { d.walk(0, yield) }
}

// walk is the recursion of All; it returns false when the consumer stopped.
func (d *DataSet) walk(depth int, yield func(int, *Element) bool) bool {
	for _, e := range d.elems {
		if !yield(depth, e) {
			return false
		}
		for _, it := range e.items {
			if !it.walk(depth+1, yield) {
				return false
			}
		}
	}
	return true
}

// String returns the first value as trimmed UTF-8 text, "" when the element
// is absent, empty or not text. Numbers are formatted.
func (d *DataSet) String(t Tag) string {
	e, ok := d.Get(t)
	if !ok {
		return ""
	}
	return e.first(d.charset())
}

// Strings returns all values as trimmed UTF-8 text; nil for values that are longer
// (1 MiB, 2 MiB of text), or more (131,072), than attributes have.
func (d *DataSet) Strings(t Tag) []string {
	e, ok := d.Get(t)
	if !ok {
		return nil
	}
	return e.strings(d.charset())
}

// Int returns the first value as an integer. It accepts any numeric VR and
// text that holds a number, because real files mix them up.
func (d *DataSet) Int(t Tag) (int64, bool) {
	e, ok := d.Get(t)
	if !ok {
		return 0, false
	}
	vr := e.effectiveVR()
	if v := e.leading(vr).ints(vr); len(v) > 0 {
		return v[0], true
	}
	if s := d.String(t); s != "" {
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return n, true
		}
	}
	f, ok := d.Float(t)
	if !ok || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0, false
	}
	return int64(f), true
}

// Float returns the first value as a finite number.
func (d *DataSet) Float(t Tag) (float64, bool) {
	e, ok := d.Get(t)
	if !ok {
		return 0, false
	}
	vr := e.effectiveVR()
	lead := e.leading(vr)
	if v := lead.floats(vr); len(v) > 0 {
		if math.IsNaN(v[0]) || math.IsInf(v[0], 0) {
			return 0, false
		}
		return v[0], true
	}
	if v := lead.ints(vr); len(v) > 0 {
		return float64(v[0]), true
	}
	return encoding.ParseNumber(e.first(d.charset()))
}

// Floats returns all values as numbers, with the bounds of Strings; a text value
// that is no number is NaN.
func (d *DataSet) Floats(t Tag) []float64 {
	e, ok := d.Get(t)
	if !ok {
		return nil
	}
	vr := e.effectiveVR()
	if v := e.floats(vr); v != nil {
		return v
	}
	if v := e.ints(vr); v != nil {
		out := make([]float64, len(v))
		for i, n := range v {
			out[i] = float64(n)
		}
		return out
	}
	vals := e.strings(d.charset())
	if len(vals) == 0 {
		return nil
	}
	out := make([]float64, len(vals))
	for i, s := range vals {
		if out[i], ok = encoding.ParseNumber(s); !ok {
			out[i] = math.NaN()
		}
	}
	if len(out) == 1 && math.IsNaN(out[0]) {
		return nil
	}
	return out
}

// Tags returns the values of an AT element.
func (d *DataSet) Tags(t Tag) []Tag {
	e, ok := d.Get(t)
	if !ok || e.effectiveVR() != "AT" {
		return nil
	}
	return e.tags()
}

// Bytes returns the raw value of an element, nil when it is absent.
func (d *DataSet) Bytes(t Tag) ([]byte, error) {
	e, ok := d.Get(t)
	if !ok {
		return nil, nil
	}
	return e.Bytes()
}

// Items returns the items of a sequence, nil when it is absent or no sequence.
func (d *DataSet) Items(t Tag) []*DataSet {
	e, ok := d.Get(t)
	if !ok {
		return nil
	}
	return e.items
}

// Item returns item i of a sequence, or nil.
func (d *DataSet) Item(t Tag, i int) *DataSet {
	if it := d.Items(t); i >= 0 && i < len(it) {
		return it[i]
	}
	return nil
}

// Err returns the first failure of a setter in this data set or its items, or
// where the input ended that the data set was read from.
func (d *DataSet) Err() error {
	if d.err != nil {
		return d.err
	}
	for _, e := range d.elems {
		for _, it := range e.items {
			if err := it.Err(); err != nil {
				return err
			}
		}
	}
	return nil
}

// refuse keeps the first failure.
func (d *DataSet) refuse(t Tag, kind error, format string, args ...any) *DataSet {
	if d.err == nil {
		d.err = fail("set", t, -1, kind, format, args...)
	}
	return d
}

// put stores an element in the place of one with the same tag or at the end.
func (d *DataSet) put(e *Element) *DataSet {
	d.edited = true
	for _, it := range e.items {
		it.parent = d
	}
	if i := d.find(e.Tag); i >= 0 {
		d.elems[i] = e
		return d
	}
	d.ascending, d.index = false, nil
	d.elems = append(d.elems, e)
	return d
}

// Set stores a copy of an element taken from another data set; text keeps its
// meaning when the data set it came from is given to CopyFrom instead.
func (d *DataSet) Set(e Element) *DataSet {
	c := e
	if c.items != nil {
		c.items = make([]*DataSet, len(e.items))
		for i, it := range e.items {
			c.items[i] = it.Clone()
		}
	}
	return d.put(&c)
}

// CopyFrom copies the named elements that src has, recursively, as UTF-8
// text; no tags copies all. Values are not checked against their VR.
func (d *DataSet) CopyFrom(src *DataSet, tags ...Tag) *DataSet {
	if len(tags) == 0 {
		for _, e := range src.elems {
			d.put(e.detach(src.charset()))
		}
		return d
	}
	for _, t := range tags {
		if e, ok := src.Get(t); ok {
			d.put(e.detach(src.charset()))
		}
	}
	return d
}

// detach copies an element so that it no longer depends on the character set
// of its data set. Text that is longer than text is stays as it is.
func (e *Element) detach(cs charset.Set) *Element {
	c := *e
	if info := encoding.LookupVR(e.VR); info != nil && info.Text && !e.utf8 && e.n > 0 && e.n <= maxText {
		if b, err := e.Bytes(); err == nil {
			c = Element{Tag: e.Tag, VR: e.VR, utf8: true}
			c.val = encoding.Pad([]byte(cs.Text(b, e.VR)), info.Pad)
			c.n = int64(len(c.val))
		}
	}
	if e.items != nil {
		c.src = nil
		c.items = make([]*DataSet, len(e.items))
		for i, it := range e.items {
			n := NewDataSet()
			ics := it.charset()
			for _, ie := range it.elems {
				if ie.Tag != tagCharset {
					n.put(ie.detach(ics))
				}
			}
			c.items[i] = n
		}
	}
	return &c
}

// Recode has all text in ISO_IR 192, that of items too, so that any may be set. Text
// that is not what the character set allows, whose letters would be guesses, is refused
// (ErrCharset), and nothing is changed.
func (d *DataSet) Recode() error {
	if err := d.recodable(); err != nil {
		return err
	}
	cs := d.charset()
	for _, e := range slices.Clone(d.elems) {
		if info := encoding.LookupVR(e.VR); info != nil && info.Text || e.items != nil {
			d.put(e.detach(cs))
		}
	}
	d.SetString(tagCharset, "ISO_IR 192")
	return d.Err()
}

// Guessed reports whether text is not what the character set in force allows: letters
// of it are then guesses.
func (d *DataSet) Guessed(t Tag) bool {
	e, ok := d.Get(t)
	if !ok || e.n > maxText {
		return false
	}
	b, err := e.Bytes()
	return err == nil && e.encodedText() && !d.charset().Allows(b, e.VR)
}

// encodedText reports whether the value is text in the character set of its data set.
func (e *Element) encodedText() bool {
	info := encoding.LookupVR(e.VR)
	return info != nil && info.Text && !e.utf8 && e.n > 0
}

// recodable finds text that is not what its character set allows.
func (d *DataSet) recodable() error {
	cs := d.charset()
	for _, e := range d.elems {
		for _, it := range e.items {
			if err := it.recodable(); err != nil {
				return err
			}
		}
		if !e.encodedText() {
			continue
		}
		if e.n > maxText {
			if err := e.needsNoCharset(); err != nil {
				return err
			}
			continue
		}
		b, err := e.Bytes()
		if err != nil {
			return err
		}
		if !cs.Allows(b, e.VR) {
			return fail("recode", e.Tag, -1, ErrCharset, "text is not what the character set allows")
		}
	}
	return nil
}

// needsNoCharset refuses a long text that is more than ASCII, which it reads as a stream.
func (e *Element) needsNoCharset() error {
	b := make([]byte, 32<<10)
	for r := e.Reader(); ; {
		n, err := r.Read(b)
		if bytes.ContainsFunc(b[:n], func(c rune) bool { return c >= 0x80 || c == 0x1B }) {
			return fail("recode", e.Tag, -1, ErrCharset, "%d bytes of text in the character set", e.n)
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return &Error{Op: "recode", Tag: e.Tag, Offset: e.voff, Err: err}
		}
	}
}

// SetString stores text values under the VR of the dictionary. A value may
// itself hold several parts separated by a backslash. Values over the length
// of their VR, and characters the VR does not allow, are refused (ErrValue).
func (d *DataSet) SetString(t Tag, vals ...string) *DataSet {
	return d.SetStringVR(t, encoding.DictionaryVR(t, false), vals...)
}

// SetStringVR is SetString for tags that the dictionary does not know.
func (d *DataSet) SetStringVR(t Tag, vr string, vals ...string) *DataSet {
	info := encoding.LookupVR(vr)
	if info == nil || !info.String {
		return d.refuse(t, ErrValue, "text for VR %s", vr)
	}
	joined := strings.Join(vals, "\\")
	if !utf8.ValidString(joined) {
		return d.refuse(t, ErrCharset, "not UTF-8")
	}
	parts := []string{joined}
	if !info.Single {
		parts = strings.Split(joined, "\\")
	}
	for _, p := range parts {
		if err := info.CheckString(p); err != "" {
			return d.refuse(t, ErrValue, "%s %q: %s", vr, p, err)
		}
	}
	val := encoding.Pad([]byte(joined), info.Pad)
	return d.put(&Element{Tag: t, VR: vr, val: val, n: int64(len(val)), utf8: info.Text})
}

// SetInt stores integers under the VR of the dictionary: binary or IS or DS.
// A value out of range of the VR is refused.
func (d *DataSet) SetInt(t Tag, vals ...int64) *DataSet {
	neg := false
	for _, v := range vals {
		neg = neg || v < 0
	}
	return d.SetIntVR(t, encoding.DictionaryVR(t, neg), vals...)
}

// SetIntVR is SetInt for tags that the dictionary does not know.
func (d *DataSet) SetIntVR(t Tag, vr string, vals ...int64) *DataSet {
	if vr == "IS" || vr == "DS" {
		s := make([]string, len(vals))
		for i, v := range vals {
			s[i] = strconv.FormatInt(v, 10)
		}
		return d.SetStringVR(t, vr, s...)
	}
	if vr == "FL" || vr == "FD" {
		f := make([]float64, len(vals))
		for i, v := range vals {
			f[i] = float64(v)
		}
		return d.SetFloatVR(t, vr, f...)
	}
	lo, hi, ok := encoding.IntRange(vr)
	if !ok {
		return d.refuse(t, ErrValue, "integer for VR %s", vr)
	}
	var b []byte
	for _, v := range vals {
		if v < lo || v > hi {
			return d.refuse(t, ErrValue, "%d is out of range of %s", v, vr)
		}
		b = encoding.AppendInt(b, vr, v)
	}
	return d.put(&Element{Tag: t, VR: vr, val: b, n: int64(len(b))})
}

// SetFloat stores numbers under the VR of the dictionary: FL, FD or DS, which
// keeps as many digits as its 16 characters hold. NaN and infinities are
// refused.
func (d *DataSet) SetFloat(t Tag, vals ...float64) *DataSet {
	return d.SetFloatVR(t, encoding.DictionaryVR(t, false), vals...)
}

// SetFloatVR is SetFloat for tags that the dictionary does not know.
func (d *DataSet) SetFloatVR(t Tag, vr string, vals ...float64) *DataSet {
	var b []byte
	var s []string
	for _, v := range vals {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return d.refuse(t, ErrValue, "%v", v)
		}
		switch vr {
		case "DS":
			s = append(s, encoding.FormatDS(v))
		case "IS":
			if v != math.Trunc(v) {
				return d.refuse(t, ErrValue, "%v for VR IS", v)
			}
			s = append(s, strconv.FormatFloat(v, 'f', 0, 64))
		case "FD", "FL":
			if vr == "FL" && math.Abs(v) > math.MaxFloat32 {
				return d.refuse(t, ErrValue, "%v is out of range of FL", v)
			}
			b = encoding.AppendFloat(b, vr, v)
		default:
			return d.refuse(t, ErrValue, "number for VR %s", vr)
		}
	}
	if vr == "DS" || vr == "IS" {
		return d.SetStringVR(t, vr, s...)
	}
	if encoding.LookupVR(vr) == nil || encoding.WordSize(vr) == 0 {
		return d.refuse(t, ErrValue, "number for VR %s", vr)
	}
	return d.put(&Element{Tag: t, VR: vr, val: b, n: int64(len(b))})
}

// SetTags stores an AT value.
func (d *DataSet) SetTags(t Tag, vals ...Tag) *DataSet {
	var b []byte
	for _, v := range vals {
		b = append(b, byte(v.Group()), byte(v.Group()>>8), byte(v.Element()), byte(v.Element()>>8))
	}
	return d.put(&Element{Tag: t, VR: "AT", val: b, n: int64(len(b))})
}

// SetBytes stores a raw little-endian value, padded to even length.
func (d *DataSet) SetBytes(t Tag, vr string, b []byte) *DataSet {
	info := encoding.LookupVR(vr)
	if info == nil || vr == "SQ" {
		return d.refuse(t, ErrValue, "bytes for VR %s", vr)
	}
	val := encoding.Pad(append([]byte(nil), b...), info.Pad)
	return d.put(&Element{Tag: t, VR: vr, val: val, n: int64(len(val))})
}

// SetEmpty stores an element without value, as type 2 attributes need.
func (d *DataSet) SetEmpty(t Tag) *DataSet {
	vr := encoding.DictionaryVR(t, false)
	return d.put(&Element{Tag: t, VR: vr, seq: vr == "SQ"})
}

// SetItems stores a sequence. The data sets become items of this one and must
// not be used elsewhere; Clone them for that.
func (d *DataSet) SetItems(t Tag, items ...*DataSet) *DataSet {
	for _, it := range items {
		if it == nil {
			return d.refuse(t, ErrValue, "nil item")
		}
	}
	return d.put(&Element{Tag: t, VR: "SQ", items: items, seq: true})
}

// AddItem appends an item to a sequence, which is made when absent.
func (d *DataSet) AddItem(t Tag, item *DataSet) *DataSet {
	return d.SetItems(t, append(append([]*DataSet(nil), d.Items(t)...), item)...)
}

// Delete removes elements; absent ones are ignored.
func (d *DataSet) Delete(tags ...Tag) *DataSet {
	for _, t := range tags {
		for i := d.find(t); i >= 0; i = d.find(t) {
			d.elems = append(d.elems[:i:i], d.elems[i+1:]...)
			d.edited, d.index = true, nil
		}
	}
	return d
}

// Clone returns a deep copy that shares only the immutable values and the
// source of lazy ones.
func (d *DataSet) Clone() *DataSet {
	c := *d
	c.parent = nil
	c.elems = make([]*Element, len(d.elems))
	for i, e := range d.elems {
		n := *e
		if e.items != nil {
			n.items = make([]*DataSet, len(e.items))
			for j, it := range e.items {
				n.items[j] = it.Clone()
				n.items[j].parent = &c
			}
		}
		c.elems[i] = &n
	}
	return &c
}

// unchanged reports whether the data set still is what was parsed.
func (d *DataSet) unchanged() bool {
	if d.edited || d.src == nil {
		return false
	}
	for _, e := range d.elems {
		if !e.unchanged() {
			return false
		}
	}
	return true
}

// unchanged reports whether the element still is what was parsed.
func (e *Element) unchanged() bool {
	if e.src == nil {
		return false
	}
	for _, it := range e.items {
		if !it.unchanged() {
			return false
		}
	}
	return true
}

// portable reports whether the bytes mean the same anywhere: the header of an
// unknown VR has two forms that only its surroundings tell apart, so such an
// element is written as UN; where the delimiter of an element or item is missing,
// only what comes behind tells its end, so it is written with one.
func (e *Element) portable() bool {
	if encoding.LookupVR(e.VR) == nil && e.Tag.Group() != 0xFFFE || e.noEnd {
		return false
	}
	for _, it := range e.items {
		if !it.portable() {
			return false
		}
	}
	return true
}

// portable is portable of all elements.
func (d *DataSet) portable() bool {
	if d.noEnd {
		return false
	}
	for _, e := range d.elems {
		if !e.portable() {
			return false
		}
	}
	return true
}

// sorted returns the elements in ascending order of their tags.
func (d *DataSet) sorted() []*Element {
	less := func(i, j int) bool { return d.elems[i].Tag < d.elems[j].Tag }
	if sort.SliceIsSorted(d.elems, less) {
		return d.elems
	}
	out := append([]*Element(nil), d.elems...)
	sort.SliceStable(out, func(i, j int) bool { return out[i].Tag < out[j].Tag })
	return out
}

// charset finds the character set that governs the data set: its own or that
// of the data set around it.
func (d *DataSet) charset() charset.Set {
	for p := d; p != nil; p = p.parent {
		if e, ok := p.Get(tagCharset); ok {
			// Looked at for every text: what is no list of terms must not cost.
			if e.n > 1024 {
				return charset.Set{}
			}
			b, err := e.Bytes()
			if err == nil {
				return charset.Of(strings.Split(charset.Latin(b), "\\"))
			}
		}
	}
	if d != nil && d.root().src == nil {
		return charset.UTF8()
	}
	return charset.Set{}
}

// root is the outermost data set.
func (d *DataSet) root() *DataSet {
	for d.parent != nil {
		d = d.parent
	}
	return d
}

// CharacterSets lists the defined terms of Specific Character Set that text is
// read in: without code extensions and with them.
func CharacterSets() []string { return charset.Terms() }
