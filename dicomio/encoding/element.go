package encoding

import (
	"encoding/binary"
	"fmt"
	"iter"

	"github.com/echonode/echonode/dicomio/tag"
)

// Undefined is the length of values that end with a delimiter.
const Undefined = 0xFFFFFFFF

// Longest is the most bytes that an element header takes.
const Longest = 12

// Syntax is how elements are encoded; the zero value is Explicit VR Little
// Endian.
type Syntax struct{ Implicit, Big bool }

// Order is the byte order of tags, lengths and binary values.
func (s Syntax) Order() binary.ByteOrder {
	if s.Big {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

// Tag reads a tag; b holds 4 bytes.
func (s Syntax) Tag(b []byte) tag.Tag {
	if s.Big {
		return tag.New(binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:]))
	}
	return tag.New(binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:]))
}

func (s Syntax) uint16(b []byte) uint16 {
	if s.Big {
		return binary.BigEndian.Uint16(b)
	}
	return binary.LittleEndian.Uint16(b)
}

// Uint32 reads a length; b holds 4 bytes.
func (s Syntax) Uint32(b []byte) uint32 {
	if s.Big {
		return binary.BigEndian.Uint32(b)
	}
	return binary.LittleEndian.Uint32(b)
}

// Header is what stands before a value.
type Header struct {
	Tag    tag.Tag
	VR     string // of the element, or of the dictionary where it has none
	Length uint32 // of the value; Undefined
	Size   int    // of the header: 8 or 12 bytes
	Bare   bool   // an explicit element without VR letters, or with unknown ones, in the short form: not as the syntax says
}

// hasLetters reports whether two bytes could be a VR.
func hasLetters(a, b byte) bool { return a >= 'A' && a <= 'Z' && b >= 'A' && b <= 'Z' }

// Header reads the header at the beginning of b, which holds 12 bytes where
// there are so many and 8 at least; left is how many bytes there are from it to
// the end of what contains it. signed says how VRs that follow Pixel
// Representation are read.
//
// It reads what devices write: an element without VR letters in an explicit
// data set is taken for an implicit one, and a VR that is not known has the long
// form unless only the short one fits. ErrTruncated: b ends inside the header.
func (s Syntax) Header(b []byte, left int64, signed bool) (Header, error) {
	h, err := s.header(b, left)
	if err == nil && h.VR == "" && h.Tag.Group() != 0xFFFE {
		h.VR = DictionaryVR(h.Tag, signed)
	}
	return h, err
}

// header is Header without a look into the dictionary.
func (s Syntax) header(b []byte, left int64) (Header, error) {
	if len(b) < 8 {
		return Header{}, ErrTruncated
	}
	h := Header{Tag: s.Tag(b), Size: 8}
	v := VROf(b[4], b[5])
	switch {
	case s.Implicit || h.Tag.Group() == 0xFFFE || v == nil && !hasLetters(b[4], b[5]):
		h.Length, h.Bare = s.Uint32(b[4:]), v == nil
	case v != nil && !v.Long:
		h.VR, h.Length = v.Name, uint32(s.uint16(b[6:]))
	case v != nil:
		if len(b) < 12 {
			return h, ErrTruncated
		}
		h.VR, h.Length, h.Size = v.Name, s.Uint32(b[8:]), 12
	default:
		h.VR = string(b[4:6])
		short := s.uint16(b[6:])
		if len(b) < 12 {
			if 8+int64(short) > left {
				return h, ErrTruncated
			}
			h.Length, h.Bare = uint32(short), true
			break
		}
		if n := s.Uint32(b[8:]); b[6] != 0 || b[7] != 0 || n != Undefined && 12+int64(n) > left {
			h.Length, h.Bare = uint32(short), true
		} else {
			h.Length, h.Size = n, 12
		}
	}
	return h, nil
}

// AppendTag appends a tag.
func (s Syntax) AppendTag(b []byte, t tag.Tag) []byte {
	if s.Big {
		return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, t.Group()), t.Element())
	}
	return binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(b, t.Group()), t.Element())
}

// AppendLength appends a 32-bit length.
func (s Syntax) AppendLength(b []byte, n uint32) []byte {
	if s.Big {
		return binary.BigEndian.AppendUint32(b, n)
	}
	return binary.LittleEndian.AppendUint32(b, n)
}

// AppendHeader appends tag, VR and length. A value that does not fit the short
// length of its VR, or whose VR is none, becomes UN (PS3.5 6.2.2 note).
func (s Syntax) AppendHeader(b []byte, t tag.Tag, vr string, n uint32) []byte {
	b = s.AppendTag(b, t)
	if s.Implicit {
		return s.AppendLength(b, n)
	}
	v := LookupVR(vr)
	if v == nil || !v.Long && n > 0xFFFE {
		v = LookupVR("UN")
	}
	b = append(b, v.Name...)
	switch {
	case v.Long:
		return s.AppendLength(append(b, 0, 0), n)
	case s.Big:
		return binary.BigEndian.AppendUint16(b, uint16(n))
	}
	return binary.LittleEndian.AppendUint16(b, uint16(n))
}

// AppendItem appends the header of an item, a delimiter or a fragment.
func (s Syntax) AppendItem(b []byte, t tag.Tag, n uint32) []byte {
	return s.AppendLength(s.AppendTag(b, t), n)
}

// AppendString appends an element of a string VR, padded to even length.
func (s Syntax) AppendString(b []byte, t tag.Tag, vr, value string) []byte {
	b = s.AppendHeader(b, t, vr, uint32(len(value)+len(value)%2))
	b = append(b, value...)
	if len(value)%2 == 1 {
		b = append(b, LookupVR(vr).Pad)
	}
	return b
}

// AppendUint16 appends an element of VR US.
func (s Syntax) AppendUint16(b []byte, t tag.Tag, v uint16) []byte {
	b = s.AppendHeader(b, t, "US", 2)
	if s.Big {
		return binary.BigEndian.AppendUint16(b, v)
	}
	return binary.LittleEndian.AppendUint16(b, v)
}

// AppendUint32 appends an element of VR UL.
func (s Syntax) AppendUint32(b []byte, t tag.Tag, v uint32) []byte {
	return s.AppendLength(s.AppendHeader(b, t, "UL", 4), v)
}

// AppendSequence appends a sequence of n items with defined lengths, whose
// content item appends.
func (s Syntax) AppendSequence(b []byte, t tag.Tag, n int, item func(b []byte, i int) []byte) []byte {
	b = s.AppendHeader(b, t, "SQ", 0)
	start := len(b)
	for i := range n {
		b = s.AppendItem(b, tag.Item, 0)
		at := len(b)
		b = item(b, i)
		s.PutLength(b[at-4:], uint32(len(b)-at))
	}
	s.PutLength(b[start-4:], uint32(len(b)-start))
	return b
}

// PutLength writes a 32-bit length over the beginning of b.
func (s Syntax) PutLength(b []byte, n uint32) { s.Order().PutUint32(b, n) }

// Element is an element of a data set in memory. The value of a sequence is its
// items; that of undefined length is without its delimiter. Its VR is empty
// where the element has none: DictionaryVR then gives the usual one.
type Element struct {
	Header
	Value []byte
}

// maxNesting bounds sequences within sequences of Elements and Items.
const maxNesting = 16

// Elements iterates over the elements of a data set that is in memory, without
// copying anything. It ends after the first error, which wraps ErrTruncated or
// ErrMalformed.
func (s Syntax) Elements(b []byte) iter.Seq2[Element, error] {
	return func(yield func(Element, error) bool) {
		for rest := b; len(rest) > 0; {
			h, n, after, err := s.next(rest, tag.SequenceDelimitationItem, 0)
			if err != nil {
				yield(Element{Header: h}, err)
				return
			}
			if !yield(Element{h, rest[h.Size : h.Size+n]}, nil) {
				return
			}
			rest = rest[h.Size+n+after:]
		}
	}
}

// Items iterates over the contents of the items of a sequence, as Elements over
// elements.
func (s Syntax) Items(value []byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for rest := value; len(rest) > 0; {
			h, n, after, err := s.next(rest, tag.ItemDelimitationItem, 0)
			if err == nil && h.Tag != tag.Item {
				err = fmt.Errorf("%w: %v where an item must start", ErrMalformed, h.Tag)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(rest[h.Size:h.Size+n], nil) {
				return
			}
			rest = rest[h.Size+n+after:]
		}
	}
}

// next finds the extent of the element or item at the beginning of b: n bytes of
// value behind the header, then after bytes of the delimiter end.
func (s Syntax) next(b []byte, end tag.Tag, depth int) (h Header, n, after int, err error) {
	if h, err = s.header(b[:min(len(b), Longest)], int64(len(b))); err != nil {
		return h, 0, 0, fmt.Errorf("%w inside a header", err)
	}
	if h.Length != Undefined {
		if int64(h.Length) > int64(len(b)-h.Size) {
			return h, 0, 0, fmt.Errorf("%w: %v of %d bytes, %d left", ErrTruncated, h.Tag, h.Length, len(b)-h.Size)
		}
		return h, int(h.Length), 0, nil
	}
	inner := s
	if h.VR == "UN" {
		inner.Implicit = true // PS3.5 6.2.2
	}
	n, after, err = inner.extent(b[h.Size:], end, depth+1)
	return h, n, after, err
}

// extent finds the delimiter end of a sequence or item of undefined length.
func (s Syntax) extent(b []byte, end tag.Tag, depth int) (n, after int, err error) {
	if depth > maxNesting {
		return 0, 0, fmt.Errorf("%w: nested more than %d deep", ErrMalformed, maxNesting)
	}
	for n < len(b) {
		if len(b)-n >= 8 && s.Tag(b[n:]) == end {
			return n, 8, nil
		}
		inner := tag.SequenceDelimitationItem
		if len(b)-n >= 4 && s.Tag(b[n:]) == tag.Item {
			inner = tag.ItemDelimitationItem
		}
		h, k, after, err := s.next(b[n:], inner, depth)
		if err != nil {
			return 0, 0, err
		}
		n += h.Size + k + after
	}
	return 0, 0, fmt.Errorf("%w: no delimiter", ErrTruncated)
}
