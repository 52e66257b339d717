// Package tag names the attributes of DICOM and knows what PS3.6 says of them:
// VR, VM and keyword. Its tables are generated.
package tag

import (
	"fmt"
	"iter"
	"slices"
)

//go:generate go run ../internal/dictionary

// Tag identifies an attribute: the group number in the upper, the element
// number in the lower half. Tags are in the order of a data set.
type Tag uint32

// Structure of sequences (PS3.5 7.5). They have no VR.
const (
	Item                     Tag = 0xFFFEE000
	ItemDelimitationItem     Tag = 0xFFFEE00D
	SequenceDelimitationItem Tag = 0xFFFEE0DD
)

// New makes a tag from group and element numbers.
func New(group, element uint16) Tag { return Tag(group)<<16 | Tag(element) }

// Group is the group number.
func (t Tag) Group() uint16 { return uint16(t >> 16) }

// Element is the element number.
func (t Tag) Element() uint16 { return uint16(t) }

// Private reports whether the group is odd.
func (t Tag) Private() bool { return t>>16&1 == 1 }

// String writes (gggg,eeee) in hexadecimal.
func (t Tag) String() string { return fmt.Sprintf("(%04x,%04x)", t.Group(), t.Element()) }

// Info is what the standard says of an attribute.
type Info struct {
	VR      string // a choice is written as in PS3.6, for example "US or SS"
	VM      string
	Keyword string
}

// span is a repeating attribute: the element in every even group, or every
// element of the group, from first to last.
type span struct {
	first, last Tag
	info        Info
}

func (s span) holds(t Tag) bool {
	if t < s.first || t > s.last || t.Private() {
		return false
	}
	return s.first.Group() == s.last.Group() || t.Element() == s.first.Element()
}

// Find looks a tag up; repeating groups are known by all their numbers. Private
// attributes and group lengths are not in the tables, but those of groups 0000
// and 0002.
func Find(t Tag) (Info, bool) {
	if i, ok := slices.BinarySearch(tags[:], t); ok {
		return infos[i], true
	}
	for _, r := range repeating {
		if r.holds(t) {
			return r.info, true
		}
	}
	return Info{}, false
}

// All iterates over the attributes that have one number, in ascending order.
func All() iter.Seq2[Tag, Info] {
	return func(yield func(Tag, Info) bool) {
		for i, t := range tags {
			if !yield(t, infos[i]) {
				return
			}
		}
	}
}

// Keyword returns the keyword of a tag, or its number.
func Keyword(t Tag) string {
	if i, ok := Find(t); ok {
		return i.Keyword
	}
	return t.String()
}
