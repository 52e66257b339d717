package dicomio

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/echonode/echonode/dicomio/encoding"
	"github.com/echonode/echonode/dicomio/frames"
	"github.com/echonode/echonode/dicomio/internal/budget"
	"github.com/echonode/echonode/dicomio/internal/codec"
	"github.com/echonode/echonode/dicomio/internal/source"
	"github.com/echonode/echonode/dicomio/part10"
	"github.com/echonode/echonode/dicomio/uid"
)

// File is a parsed file: its meta group, its data set and the source that
// lazy values are read from.
type File struct {
	Meta           *DataSet // group 0002; empty for bare data sets
	DataSet        *DataSet
	TransferSyntax string // of the data set: from the meta group, the options, or told from the bytes
	Syntax         uid.Syntax
	Known          bool // the transfer syntax is in the table of this package

	truncated error
	limits    Limits
	src       io.ReaderAt // the input
	size      int64
	metaEnd   int64       // where the data set starts in src
	metaAt    int64       // where the meta group starts in src
	body      io.ReaderAt // the data set's bytes: src, or the inflated copy
	bodySize  int64
	trailer   frames.Span // bytes of body after the last element
	closer    io.Closer
	scratch   io.Closer        // holds what was inflated
	memory    budget.Lease     // of the index
	processes frames.Processes // that decode video
	ctx       context.Context  // ends everything done for this file
	syntaxOf  encoding.Syntax
}

// Open reads the file at path. Close releases it.
func Open(path string, o Options) (*File, error) { return OpenContext(context.Background(), path, o) }

// OpenContext is Open under a context that ends everything that is done for
// the file until it is closed: reading, waiting for memory, decoding frames and
// the processes that decode video.
func OpenContext(ctx context.Context, path string, o Options) (*File, error) {
	f, st, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	d, err := ReadContext(ctx, f, st.Size(), o)
	if err != nil {
		f.Close()
		return nil, err
	}
	d.closer = f
	return d, nil
}

// openRegular opens a file. What cannot be one is no DICOM file.
func openRegular(path string) (*os.File, fs.FileInfo, error) {
	f, st, err := part10.Open(path)
	if errors.Is(err, part10.ErrNotRegular) {
		err = fail("open", Tag(0), -1, ErrNotDICOM, "%s is not a regular file", path)
	}
	return f, st, err
}

// Close ends the processes that decode the file, closes what Open opened and
// gives its part of Limits.Memory back. Lazy values and frames cannot be read
// afterwards.
func (f *File) Close() error {
	f.processes.Close()
	f.memory.Drop()
	var errs [2]error
	if f.scratch != nil {
		errs[0] = f.scratch.Close()
	}
	if f.closer != nil {
		errs[1] = f.closer.Close()
	}
	return errors.Join(errs[:]...)
}

// Truncated is nil for a whole file, and for one that lacks only the delimiter behind
// frames that are all there (see Element.Undelimited). For an input that ends inside an element,
// an item or a fragment it is the *Error that says where. DataSet then holds
// what is whole, the value of the element that is cut is not to be had, and
// Frames, RawFrames, WriteTo and Write of the data set return this error too.
func (f *File) Truncated() error { return f.truncated }

// Limits are those it was read with, defaults filled in.
func (f *File) Limits() Limits { return f.limits.withDefaults() }

// Size is the length of the input in bytes.
func (f *File) Size() int64 { return f.size }

// Read indexes size bytes of r: a Part 10 file or a bare data set. It loads
// values up to Limits.InlineValue and only remembers where the others are, so
// r must stay readable as long as the File is used. Every failure is an
// *Error. An input whose data set is cut is read as far as it is whole, see
// File.Truncated, or refused, see Options.Strict. Close is needed where
// Limits.Memory is set.
//
// A bare data set of unknown transfer syntax is taken for one only when its
// first elements are in the dictionary and follow each other.
func Read(r io.ReaderAt, size int64, o Options) (*File, error) {
	return ReadContext(context.Background(), r, size, o)
}

// ReadContext is Read under a context, as OpenContext is Open.
func ReadContext(ctx context.Context, r io.ReaderAt, size int64, o Options) (_ *File, err error) {
	f := &File{ctx: ctx, src: r, size: size, limits: o.Limits.withDefaults(), Meta: NewDataSet()}
	defer func() {
		if err != nil {
			_ = f.Close() // nothing was written
		}
	}()
	p := &parser{lim: f.limits, ctx: ctx}
	p.use(r, size)

	at, err := p.readMeta(f, o)
	if err != nil {
		return nil, err
	}
	syntax, enc, known, start := f.declared(o, at)
	f.body, f.bodySize = r, size
	if known && f.Syntax.Deflated {
		if err := p.inflate(f, at); err != nil {
			return nil, err
		}
		start = 0
	}
	if enc, err = p.told(f, start, syntax, known, enc); err != nil {
		return nil, err
	}
	if pool := f.limits.Memory.Indexes(); pool != nil {
		if f.memory, err = p.reserve(f, start, enc, pool); err != nil {
			return nil, err
		}
	}
	org := &origin{r: f.body, maxValue: f.limits.Value}
	p.org = org
	ds, end, err := p.dataSet(start, f.bodySize, enc, nil, 0, topLevel)
	switch {
	case err == nil:
		err = f.truncated // of the compressed stream
	case !errors.Is(err, ErrTruncated):
		return nil, err
	}
	if err != nil && o.Strict {
		return nil, err
	}
	f.truncated = err
	ds.err = err
	f.DataSet = ds
	f.trailer = frames.Span{Off: end, N: f.bodySize - end}
	return f, nil
}

// declared is what meta group and options say of the data set that follows the
// meta group, which ends at at.
func (f *File) declared(o Options, at int64) (syntax string, enc encoding.Syntax, known bool, start int64) {
	f.metaEnd = at
	syntax = strings.TrimSpace(f.Meta.String(tagSyntax))
	if syntax == "" {
		syntax = o.TransferSyntax
	}
	if t, ok := uid.LookupSyntax(syntax); ok {
		f.Syntax, known = t, true
		enc = encoding.Syntax{Implicit: t.Implicit, Big: t.BigEndian}
	} else if syntax != "" {
		// An unknown or private syntax is explicit little endian with
		// encapsulated pixels, unless the bytes say otherwise.
		f.Syntax = uid.Syntax{UID: syntax, Name: "unknown", Encapsulated: true}
	}
	return syntax, enc, known, at
}

// told says how the data set is encoded: as declared, unless its first
// bytes say otherwise.
func (p *parser) told(f *File, start int64, syntax string, known bool, enc encoding.Syntax) (encoding.Syntax, error) {
	guess, ok := encoding.Syntax{}, false
	if syntax == "" && f.metaAt == 0 {
		guess, ok = p.recognise(start)
	} else {
		guess, ok = p.guess(start, syntax == "", enc)
	}
	if ok {
		if syntax == "" {
			switch {
			case guess.Implicit:
				syntax = uid.ImplicitVRLittleEndian
			case guess.Big:
				syntax = uid.ExplicitVRBigEndian
			default:
				syntax = uid.ExplicitVRLittleEndian
			}
			f.Syntax, known = uid.LookupSyntax(syntax)
		}
		enc = guess
	} else if syntax == "" {
		return enc, fail("read", Tag(0), start, ErrNotDICOM, "neither a preamble nor plausible elements")
	}
	f.TransferSyntax, f.Known, f.syntaxOf = syntax, known, enc
	if known {
		p.syntax = f.Syntax
	}
	return enc, nil
}

// reserve walks the data set once without keeping it and takes from the pool
// what its index will hold.
func (p *parser) reserve(f *File, start int64, enc encoding.Syntax, pool *budget.Pool) (budget.Lease, error) {
	before, inline := p.elems, p.inline
	s := &survey{}
	if _, err := p.survey(f, start, enc, s); err != nil && !errors.Is(err, ErrTruncated) {
		return budget.Lease{}, err
	}
	cost := s.cost(p.elems)
	p.elems, p.inline, p.signed, p.frames = before, inline, false, 0
	if own := pool.Size() / indexShare; cost > own {
		return budget.Lease{}, fail("read", Tag(0), start, ErrLimit, "an index of %d bytes, %d are set aside for one", cost, own)
	}
	l, err := pool.Take(p.ctx, cost, indexWait)
	if err != nil {
		err = &Error{Op: "read", Offset: start, Err: err}
	}
	return l, err
}

// level says where a data set ends.
type level int

const (
	topLevel   level = iota // at the end of the input
	definedLen              // at its length
	untilDelim              // at an item delimiter
)

// parser walks one source.
type parser struct {
	ctx    context.Context
	dry    *survey // not nil: nothing is kept
	w      source.Window
	lim    Limits
	org    *origin
	elems  int
	inline int64
	arena  []byte
	slab   []Element
	syntax uid.Syntax // of the data set, where it is known
	frames int        // Number of Frames of the outermost level, 0 where it is none
	signed bool       // Pixel Representation of the data set being read
	solid  int64      // up to here zeros are known to be followed by something else
}

// use makes r the source.
func (p *parser) use(r io.ReaderAt, size int64) {
	p.w.Use(r, size)
}

// count counts an element, item or fragment against the limit.
func (p *parser) count(t Tag, off int64) error {
	p.elems++
	if p.elems > p.lim.Elements {
		return fail("read", t, off, ErrLimit, "more than %d elements", p.lim.Elements)
	}
	if p.elems%4096 == 0 && p.ctx != nil && p.ctx.Err() != nil {
		return &Error{Op: "read", Tag: t, Offset: off, Err: p.ctx.Err()}
	}
	return nil
}

// keep copies a small value into shared blocks, a larger one into its own.
func (p *parser) keep(n int) []byte {
	if n > 1024 {
		return make([]byte, n)
	}
	if len(p.arena) < n {
		p.arena = make([]byte, 8<<10)
	}
	b := p.arena[:n:n]
	p.arena = p.arena[n:]
	return b
}

// element takes an Element from a block.
func (p *parser) element(depth int) *Element {
	if p.dry != nil {
		return p.dry.element(depth)
	}
	if len(p.slab) == 0 {
		p.slab = make([]Element, 32)
	}
	e := &p.slab[0]
	p.slab = p.slab[1:]
	return e
}

// readMeta reads preamble and meta group and returns where the data set
// starts. A file that starts with the meta group, without preamble, is taken.
func (p *parser) readMeta(f *File, o Options) (int64, error) {
	at := int64(0)
	if head, err := p.w.At(0, part10.PreambleSize); err == nil && part10.HasPreamble(head) {
		at = part10.PreambleSize
	} else if t, _ := uid.LookupSyntax(o.TransferSyntax); t.Deflated && p.w.Size > 0 {
		return 0, nil // deflated, a data set may be shorter than a header
	} else if head, err := p.w.At(0, 8); err != nil {
		if p.w.Size == 0 {
			return 0, fail("read", Tag(0), 0, ErrNotDICOM, "%d bytes", p.w.Size)
		}
		if !errors.Is(err, ErrTruncated) {
			return 0, &Error{Op: "read", Err: err} // it cannot be read: what it is nobody knows
		}
		return 0, fail("read", Tag(0), 0, ErrTruncated, "%d bytes", p.w.Size)
	} else if bytes.Equal(head[:4], []byte("DICM")) {
		at = 4
	} else if t, _, ok := p.plausible(0, encoding.Syntax{Implicit: encoding.VROf(head[4], head[5]) == nil}); o.TransferSyntax != "" ||
		t.Group() != 2 || !known(t) || !ok {
		return 0, nil // a bare data set
	}
	f.metaAt = at
	f.Meta.src = &origin{r: f.src, maxValue: f.limits.Value}
	f.Meta.start = at
	p.org = f.Meta.src
	for first := at; ; {
		head, err := p.w.At(at, 8)
		if err != nil {
			if at == p.w.Size {
				break
			}
			return 0, &Error{Op: "read", Offset: at, Err: err}
		}
		if (encoding.Syntax{}).Tag(head).Group() != 2 {
			break
		}
		implicit := encoding.VROf(head[4], head[5]) == nil
		e, next, err := p.one(at, p.w.Size, encoding.Syntax{Implicit: implicit}, f.Meta, 0)
		if err != nil {
			return 0, err
		}
		f.Meta.elems = append(f.Meta.elems, e)
		at = next
		if len(f.Meta.elems) > part10.MaxElements || at-first > part10.MaxSize {
			return 0, fail("read", e.Tag, at, ErrLimit, "meta information of %d elements, %d bytes", len(f.Meta.elems), at-first)
		}
	}
	f.Meta.end = at
	return at, nil
}

// guess tells the encoding from the first element at off. With a known
// syntax it only corrects explicit against implicit, as files mix them up.
func (p *parser) guess(off int64, free bool, enc encoding.Syntax) (encoding.Syntax, bool) {
	b, err := p.w.At(off, 8)
	if err != nil {
		return enc, false
	}
	group := uint16(b[0]) | uint16(b[1])<<8
	explicit := encoding.VROf(b[4], b[5]) != nil
	if !free {
		if enc.Big {
			return enc, true
		}
		if enc.Implicit && explicit && (b[6] != 0 || b[7] != 0 || encoding.VROf(b[4], b[5]).Long) && !p.fits(off, b) {
			return encoding.Syntax{}, true
		}
		if !enc.Implicit && !explicit && p.fits(off, b) {
			return encoding.Syntax{Implicit: true}, true
		}
		return enc, true
	}
	if group >= 0x0100 && b[0] == 0 && b[1] < 0x80 {
		enc.Big = true
		enc.Implicit = !explicit
		return enc, explicit
	}
	if explicit {
		return encoding.Syntax{}, group != 0
	}
	return encoding.Syntax{Implicit: true}, group != 0 && group <= 0x7FE0 && p.fits(off, b)
}

// recognise tells the encoding of a bare data set of unknown syntax. The first
// element must be a public one of the dictionary, and elements must follow each
// other in ascending order: two whole ones at least, or one with VR letters, or
// one that is the whole input. Anything could be read as an implicit element.
func (p *parser) recognise(off int64) (encoding.Syntax, bool) {
	for _, enc := range []encoding.Syntax{{}, {Big: true}, {Implicit: true}} {
		at, last, whole := off, Tag(0), 0
		for at < p.w.Size && whole < 2 {
			t, next, ok := p.plausible(at, enc)
			if !ok || whole == 0 && (t.Group()%2 == 1 || !known(t)) || whole > 0 && t <= last {
				break
			}
			whole++
			at, last = next, t
		}
		if whole == 2 || whole == 1 && (!enc.Implicit || at == p.w.Size) {
			return enc, true
		}
	}
	return encoding.Syntax{}, false
}

// plausible reads the header at at and returns where the next one would be.
func (p *parser) plausible(at int64, enc encoding.Syntax) (Tag, int64, bool) {
	h, err := p.header(at, p.w.Size, enc)
	t, n, voff := h.Tag, int64(h.Length), at+int64(h.Size)
	switch {
	case err != nil:
		return t, 0, false
	case enc.Implicit && !t.Private() && !known(t), !enc.Implicit && (h.Bare || encoding.LookupVR(h.VR) == nil):
		return t, 0, false
	}
	if n == encoding.Undefined {
		return t, voff, encoding.DictionaryVR(t, false) == "SQ" // its item then ends the chain
	}
	return t, voff + n, t.Group() >= 2 && (t.Element() > 0 || n == 4) && voff+n <= p.w.Size
}

// fits reports whether the bytes are a plausible implicit VR header.
func (p *parser) fits(off int64, b []byte) bool {
	n := encoding.Syntax{}.Uint32(b[4:])
	return n == encoding.Undefined || off+8+int64(n) <= p.w.Size
}

// dataSet reads elements from at to end. It returns the data set, with what
// was read so far beside an error, and the offset after it.
func (p *parser) dataSet(at, end int64, enc encoding.Syntax, parent *DataSet, depth int, lv level) (*DataSet, int64, error) {
	var d *DataSet
	if p.dry != nil {
		d = p.dry.set(depth)
		p.dry.items++
	} else {
		d = new(DataSet)
		defer d.settle()
	}
	*d = DataSet{parent: parent, src: p.org, start: at, enc: enc}
	var last Tag
	unended := false // an element before has no delimiter
	if lv != topLevel && at < end {
		// Items may be encoded otherwise than the data set around them.
		if g, ok := p.itemCoding(at, end, enc); ok {
			enc = g
			d.enc = g
		}
	}
	for at < end {
		if end-at < 8 {
			d.end = at
			return d, at, p.rest(at, end, last, lv)
		}
		b, err := p.w.At(at, 8)
		if err != nil {
			if lv == topLevel && p.w.Ends(at) {
				break // of a stream, whose length is not known before
			}
			return d, at, &Error{Op: "read", Offset: at, Err: err}
		}
		t := enc.Tag(b)
		if lv == topLevel && p.dry != nil && p.dry.done(t) {
			break
		}
		switch {
		case t == tagItemEnd && lv == untilDelim:
			d.end = at + 8
			return d, at + 8, nil
		case unended && (t == tagItemEnd || t == tagSeqEnd):
			// It has one: what was taken for what comes behind it is a part of it.
			return d, at, fail("read", t, at, ErrMalformed, "a delimiter behind more than it ends")
		case t == tagSeqEnd && lv == untilDelim:
			d.noEnd = true
			d.end = at
			return d, at, nil // the item delimiter is missing
		case t == tagItemEnd || t == tagSeqEnd:
			// A stray delimiter; kept so that the bytes can be rewritten.
			e := p.element(depth)
			*e = Element{Tag: t, src: p.org, start: at, end: at + 8, enc: enc}
			if err := p.count(t, at); err != nil {
				return d, at, err
			}
			if p.dry == nil {
				d.elems = append(d.elems, e)
			}
			at += 8
			continue
		case t == Tag(0) && lv == topLevel && p.zeros(at, end):
			d.end = at
			return d, at, nil // the file is padded with zeros
		case t == Tag(0) && lv == topLevel && p.solid >= at+paddingRun:
			return d, at, fail("read", t, at, ErrMalformed, "%d zero bytes where an element must be", p.solid-at)
		}
		if unended && t <= last {
			return d, at, fail("read", t, at, ErrMalformed, "a lower tag behind an element without delimiter")
		}
		e, next, err := p.one(at, end, enc, d, depth)
		unended = unended || err == nil && e.noEnd
		if p.dry != nil {
			if err != nil {
				return d, at, err
			}
			if t <= last {
				p.dry.jumps = true
			}
			if depth == 0 {
				p.dry.took(e)
			}
			last, at = t, next
			continue
		}
		last = t
		if err != nil {
			if e != nil {
				d.elems = append(d.elems, e) // cut
			}
			d.end = at
			d.edited = true // what is left is not what the source announced
			return d, at, err
		}
		d.elems = append(d.elems, e)
		at = next
	}
	d.end = at
	if lv == untilDelim && end < p.w.Size {
		d.noEnd = true // what is around it has a length, and ends here
		return d, at, nil
	}
	if lv == untilDelim {
		return d, at, fail("read", Tag(0), at, ErrTruncated, "no item delimiter")
	}
	return d, at, nil
}

// itemCoding tells whether an item is encoded as enc says.
func (p *parser) itemCoding(at, end int64, enc encoding.Syntax) (encoding.Syntax, bool) {
	if enc.Big || end-at < 8 {
		return enc, false
	}
	b, err := p.w.At(at, 8)
	if err != nil || b[0] == 0xFE && b[1] == 0xFF {
		return enc, false
	}
	explicit := encoding.VROf(b[4], b[5]) != nil
	if enc.Implicit && explicit {
		n := encoding.Syntax{}.Uint32(b[4:])
		if at+8+int64(n) > end {
			return encoding.Syntax{}, true
		}
	}
	if !enc.Implicit && !explicit && (b[4] < 'A' || b[4] > 'Z' || b[5] < 'A' || b[5] > 'Z') {
		n := encoding.Syntax{}.Uint32(b[4:])
		if n == encoding.Undefined || at+8+int64(n) <= end {
			return encoding.Syntax{Implicit: true}, true
		}
	}
	return enc, false
}

// paddingRun is how many zero bytes are no element any more.
const paddingRun = 64

// zeros reports whether only zero bytes are left. It looks at every byte once.
func (p *parser) zeros(at, end int64) bool {
	if at < p.solid {
		return false
	}
	for at < end {
		n := int(min(end-at, source.WindowSize/2))
		b, err := p.w.At(at, n)
		if err != nil || len(bytes.TrimLeft(b, "\x00")) > 0 {
			p.solid = at + int64(n) - int64(len(bytes.TrimLeft(b, "\x00")))
			return false
		}
		at += int64(n)
	}
	return true
}

// header reads the element header at at.
func (p *parser) header(at, end int64, enc encoding.Syntax) (encoding.Header, error) {
	b, err := p.w.At(at, encoding.Longest)
	if err != nil {
		if b, err = p.w.At(at, 8); err != nil {
			return encoding.Header{}, &Error{Op: "read", Offset: at, Err: err}
		}
	}
	h, err := enc.Header(b, end-at, p.signed)
	if err != nil {
		return h, fail("read", h.Tag, at, err, "inside the header")
	}
	return h, nil
}

// one reads the element at at, which must end by end.
func (p *parser) one(at, end int64, enc encoding.Syntax, d *DataSet, depth int) (*Element, int64, error) {
	h, err := p.header(at, end, enc)
	if err != nil {
		return nil, at, err
	}
	if err := p.count(h.Tag, at); err != nil {
		return nil, at, err
	}
	t, vr := h.Tag, h.VR
	n, voff := int64(h.Length), at+int64(h.Size)
	if t.Group() == 0xFFFE {
		return nil, at, fail("read", t, at, ErrMalformed, "an item outside a sequence")
	}

	e := p.element(depth)
	*e = Element{Tag: t, VR: vr, src: p.org, start: at, voff: voff, enc: enc}
	if h.Bare {
		e.enc.Implicit = true // whatever the data set around it is
	}
	if n == encoding.Undefined {
		e.undef = true
		if t == tagPixels && depth == 0 || vr == "OB" || vr == "OW" {
			return p.fragments(e, end, depth)
		}
		if vr == "UN" && !enc.Implicit {
			// UN of undefined length is implicit VR little endian (PS3.5 6.2.2).
			enc = encoding.Syntax{Implicit: true}
		}
		return p.sequence(e, voff, end, enc, d, depth, true)
	}
	if voff+n > end {
		return p.overlong(e, at, end, n, enc, d, depth)
	}
	if vr == "SQ" {
		return p.sequence(e, voff, voff+n, enc, d, depth, false)
	}
	e.n, e.end = n, voff+n
	if vr == "UN" && n >= 8 && t.Group()%2 == 0 && encoding.DictionaryVR(t, false) == "SQ" {
		if s, err := p.unknown(e, d, depth); s != nil {
			return s, s.end, nil
		} else if err != nil {
			return nil, at, err
		}
	}
	if err := p.value(e, depth); err != nil {
		return nil, at, err
	}
	return e, e.end, nil
}

// unknown reads a value of VR UN as the sequence that the dictionary says it is,
// which a sender passed on without knowing it; nil when it is none.
func (p *parser) unknown(e *Element, d *DataSet, depth int) (*Element, error) {
	saved, as := p.elems, *e
	inner, end := *p, e.voff+e.n
	s, next, err := inner.sequence(e, e.voff, end, encoding.Syntax{Implicit: true}, d, depth, false)
	if err == nil && next == end {
		p.elems, p.inline, p.arena, p.slab, p.w = inner.elems, inner.inline, inner.arena, inner.slab, inner.w
		return s, nil
	}
	p.elems, p.w = saved, inner.w
	*e = as
	if errors.Is(err, ErrLimit) {
		return nil, err
	}
	return nil, nil
}

// rest judges what is too short for an element: padding, or a few stray bytes that
// no frame misses, are none.
func (p *parser) rest(at, end int64, last Tag, lv level) error {
	switch {
	case lv == topLevel && (last >= tagPixels || p.zeros(at, end)):
		return nil
	case lv == definedLen:
		return fail("read", Tag(0), at, ErrMalformed, "%d stray bytes at the end of an item", end-at)
	}
	return fail("read", Tag(0), at, ErrTruncated, "inside a tag")
}

// overlong is an element whose value of n bytes passes the end of what is around
// it: cut where the input ends, malformed elsewhere.
func (p *parser) overlong(e *Element, at, end, n int64, enc encoding.Syntax, d *DataSet, depth int) (*Element, int64, error) {
	left := end - e.voff
	if p.w.Open && end == p.w.Size {
		return nil, at, fail("read", e.Tag, at, ErrLimit, "%d bytes of value, at most %d are looked at", n, left)
	}
	if end < p.w.Size {
		return nil, at, fail("read", e.Tag, at, ErrMalformed, "%d bytes of value, %d left", n, left)
	}
	err := fail("read", e.Tag, at, ErrTruncated, "%d bytes of value, %d left", n, left)
	if e.VR == "SQ" {
		s, _, inside := p.sequence(e, e.voff, end, enc, d, depth, false)
		if inside != nil {
			err = inside
		}
		if s != nil {
			s.cut = err
		}
		return s, at, err
	}
	e.n, e.end, e.cut = left, end, err
	return e, at, err
}

// value loads the value of an element when it is short, and else only looks
// whether its last byte is there: the size of the input may be overstated.
func (p *parser) value(e *Element, depth int) error {
	inline := e.n <= p.lim.InlineValue && p.inline+e.n <= p.lim.InlineTotal && e.Tag != tagPixels
	used := (e.Tag == tagPixelRep || e.Tag == tagNumberOfFrames) && e.n <= 16 // by the parser itself
	switch {
	case p.dry != nil && inline && !used && !p.dry.wants(e.Tag, e.n, depth):
		p.inline += e.n
		p.dry.other += e.n
	case inline:
		e.val = p.keep(int(e.n))
		if err := p.w.CopyTo(e.val, e.voff); err != nil {
			return &Error{Op: "read", Tag: e.Tag, Offset: e.voff, Err: err}
		}
		p.inline += e.n
	case e.n > 0:
		var last [1]byte
		if err := source.ReadFull(p.w.R, last[:], e.voff+e.n-1); err != nil {
			return &Error{Op: "read", Tag: e.Tag, Offset: e.voff, Err: err}
		}
	}
	if e.Tag == tagPixelRep && e.n == 2 && e.val != nil {
		p.signed = e.enc.Order().Uint16(e.val) == 1
	}
	if used && e.Tag == tagNumberOfFrames && depth == 0 {
		p.frames, _ = strconv.Atoi(strings.Trim(string(e.val), " \x00"))
	}
	return nil
}

// sequence reads items from at to end, or to the sequence delimiter.
func (p *parser) sequence(e *Element, at, end int64, enc encoding.Syntax, d *DataSet, depth int, undef bool) (*Element, int64, error) {
	e.seq, e.undef = true, undef
	if depth >= p.lim.Nesting {
		return nil, at, fail("read", e.Tag, e.start, ErrLimit, "nested more than %d deep", p.lim.Nesting)
	}
	for at < end || undef {
		if at == end && end < p.w.Size {
			e.noEnd = true // what is around it has a length, and ends here
			break
		}
		b, err := p.w.At(at, 8)
		if err != nil || end-at < 8 {
			if undef || end == p.w.Size {
				return p.cutSequence(e, at, fail("read", e.Tag, at, ErrTruncated, "inside a sequence"))
			}
			return nil, at, fail("read", e.Tag, at, ErrMalformed, "%d stray bytes at the end of a sequence", end-at)
		}
		t, n := enc.Tag(b), int64(enc.Uint32(b[4:]))
		if err := p.count(t, at); err != nil {
			return nil, at, err
		}
		if t == tagSeqEnd {
			at += 8
			if undef {
				break
			}
			continue // a delimiter inside a sequence of defined length
		}
		if undef && p.behind(e.Tag, t, at, enc) {
			e.noEnd = true
			break
		}
		if t != tagItem {
			return nil, at, fail("read", e.Tag, at, ErrMalformed, "%v where an item must start", t)
		}
		lv, stop := definedLen, at+8+n
		var cut error
		if n == encoding.Undefined {
			lv, stop = untilDelim, end
		} else if stop > end {
			kind := ErrMalformed
			if end == p.w.Size {
				kind = ErrTruncated
			}
			cut = fail("read", e.Tag, at, kind, "an item of %d bytes, %d left", n, end-at-8)
			if !errors.Is(kind, ErrTruncated) {
				return nil, at, cut
			}
			stop = end
		}
		it, next, err := p.dataSet(at+8, stop, enc, d, depth+1, lv)
		if err == nil {
			err = cut
		}
		if err != nil {
			if errors.Is(err, ErrTruncated) && p.dry == nil {
				e.items = append(e.items, it)
			}
			return p.cutSequence(e, at, err)
		}
		it.start, it.end = at, next
		it.undef = lv == untilDelim
		if p.dry == nil {
			e.items = append(e.items, it)
		}
		at = next
	}
	e.end = at
	if !undef {
		e.n = at - e.voff
	}
	return e, at, nil
}

// cutSequence ends a sequence at a failure; where the input ends, its items
// are kept.
func (p *parser) cutSequence(e *Element, at int64, err error) (*Element, int64, error) {
	if !errors.Is(err, ErrTruncated) {
		return nil, at, err
	}
	e.end, e.cut = at, err
	return e, at, err
}

// behind reports whether what is at at, where an item or a delimiter must be, is the
// element behind the one with tag before.
func (p *parser) behind(before, t Tag, at int64, enc encoding.Syntax) bool {
	if t <= before || t.Group() == 0xFFFE {
		return false
	}
	_, _, ok := p.plausible(at, enc)
	return ok
}

// fragments indexes encapsulated pixel data. Where their delimiter is missing, be
// it that the input ends or that another element follows, they end there if all
// frames are whole.
func (p *parser) fragments(e *Element, end int64, depth int) (*Element, int64, error) {
	at := e.voff
	e.frags = []frames.Span{}
	for {
		var t Tag
		var n int64
		short := end-at < 8
		if !short {
			b, err := p.w.At(at, 8)
			if err != nil {
				return nil, at, &Error{Op: "read", Tag: e.Tag, Offset: at, Err: err}
			}
			t, n = e.enc.Tag(b), int64(e.enc.Uint32(b[4:]))
		}
		if t == tagSeqEnd {
			at += 8
			break
		}
		if t != tagItem && depth == 0 {
			if next, ok := p.undelimited(e, at, end); ok {
				e.noEnd, at = true, next
				break
			}
		}
		if short {
			return p.cutFragments(e, at, fail("read", e.Tag, at, ErrTruncated, "inside the fragments"))
		}
		if t != tagItem {
			return nil, at, fail("read", e.Tag, at, ErrMalformed, "%v where a fragment must start", t)
		}
		if err := p.count(t, at); err != nil {
			return nil, at, err
		}
		if n == encoding.Undefined {
			return nil, at, fail("read", e.Tag, at, ErrMalformed, "a fragment of undefined length")
		}
		if at+8+n > end {
			return p.cutFragments(e, at, fail("read", e.Tag, at, ErrTruncated, "a fragment of %d bytes, %d left", n, end-at-8))
		}
		if p.dry == nil {
			e.frags = append(e.frags, frames.Span{Off: at + 8, N: n})
		} else {
			p.dry.frags++
		}
		at += 8 + n
	}
	e.end = at
	return e, at, nil
}

// undelimited reports whether the fragments end at at although no delimiter is there,
// and where what follows begins: another element, zeros, or nothing but, where that
// is what was cut, the beginning of the delimiter. All frames must be whole.
func (p *parser) undelimited(e *Element, at, end int64) (next int64, ok bool) {
	left := int(min(end-at, 8))
	b, err := p.w.At(at, left)
	switch {
	case err != nil:
		return 0, false
	case left < 8 && bytes.HasPrefix(e.enc.AppendItem(nil, tagSeqEnd, 0), b):
		next = end
	case left == 8 && p.behind(e.Tag, e.enc.Tag(b), at, e.enc), p.zeros(at, end):
		next = at
	default:
		return 0, false
	}
	return next, p.whole(e, at)
}

// whole reports whether the fragments up to at, of which nobody knows whether others
// were to follow, are all the frames that Number of Frames and a basic offset table
// announce, the last one with its end: each begins with the start of a codestream,
// behind the end of the one before. Video, which tells neither, is never whole, nor
// is what nobody counted: a transfer that broke off between two fragments must not
// become a shorter loop.
func (p *parser) whole(e *Element, at int64) bool {
	rle := p.syntax.UID == uid.RLELossless
	if e.Tag != tagPixels || !p.syntax.Encapsulated || p.syntax.Video {
		return false
	}
	codecs := codec.Standard()
	frames, fragments, starts, ended := int64(p.frames), int64(-1), int64(0), true
	for off := e.voff; off < at; fragments++ {
		b, err := p.w.At(off, 8)
		if err != nil {
			return false
		}
		n := int64(e.enc.Uint32(b[4:]))
		off += 8 + n
		if fragments < 0 {
			if frames == 0 && n == 4 {
				frames = 1
			}
			if n != 0 && n != 4*frames {
				return false
			}
			continue
		}
		if n < 8 {
			ended = ended && n == 0
			continue
		}
		if b, err = p.w.At(off-n, 8); err != nil {
			return false
		}
		if codecs.Starts(p.syntax.UID, b) && ended {
			starts++
		} else if rle {
			return false // a frame is one fragment (PS3.5 A.4.2)
		}
		if b, err = p.w.At(off-3, 3); err != nil {
			return false
		}
		ended = rle || bytes.HasSuffix(bytes.TrimSuffix(b, []byte{0}), []byte{0xFF, 0xD9}) // EOI, EOC
	}
	return frames > 0 && starts == frames && ended
}

// cutFragments ends a truncated index.
func (p *parser) cutFragments(e *Element, at int64, err error) (*Element, int64, error) {
	e.end, e.cut = at, err
	return e, at, err
}
