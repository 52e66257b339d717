package dicomio

import (
	"strings"

	"github.com/echonode/echonode/dicomio/tag"
)

// Tag identifies an attribute; package tag names the standard ones.
type Tag = tag.Tag

// Tags that reading and writing turn on.
const (
	tagItem     = tag.Item
	tagItemEnd  = tag.ItemDelimitationItem
	tagSeqEnd   = tag.SequenceDelimitationItem
	tagPixels   = tag.PixelData
	tagCharset  = tag.SpecificCharacterSet
	tagPixelRep = tag.PixelRepresentation
	tagSyntax   = tag.TransferSyntaxUID
	tagEOT      = tag.ExtendedOffsetTable
	tagEOTLens  = tag.ExtendedOffsetTableLengths
)

// dictVR gives the VR of a tag from the dictionary, "UN" when unknown.
// Attributes with a choice get the usual one: OW for pixel-like data, US for
// numbers that follow Pixel Representation (signed turns them into SS).
func dictVR(t Tag, signed bool) string {
	if t.Element() == 0 {
		return "UL" // group length
	}
	if t.Private() {
		if t.Element() >= 0x10 && t.Element() <= 0xFF {
			return "LO" // private creator
		}
		return "UN"
	}
	info, ok := tag.Find(t)
	switch vr := info.VR; {
	case !ok:
		return "UN"
	case len(vr) == 2:
		return vr
	case strings.HasSuffix(vr, "OW"):
		return "OW"
	case signed:
		return "SS"
	default:
		return "US"
	}
}

// known reports whether the dictionary has a tag. Group lengths count.
func known(t Tag) bool {
	if t.Element() == 0 {
		return t.Group() > 0 && !t.Private() && t.Group() <= 0x7FE0
	}
	_, ok := tag.Find(t)
	return ok
}

// vrInfo describes a value representation (PS3.5 table 6.2-1 and 7.1-1).
type vrInfo struct {
	name   string
	long   bool // explicit VR header with 32-bit length
	size   int  // bytes that are swapped together, 1 for bytes and text
	text   bool // follows Specific Character Set
	str    bool // any string
	single bool // a backslash is not a separator
	pad    byte
	max    int // longest value in characters, 0 for none
}

// vrTable is ordered by name.
var vrTable = []vrInfo{
	{name: "AE", size: 1, str: true, pad: ' ', max: 16},
	{name: "AS", size: 1, str: true, pad: ' ', max: 4},
	{name: "AT", size: 2},
	{name: "CS", size: 1, str: true, pad: ' ', max: 16},
	{name: "DA", size: 1, str: true, pad: ' ', max: 8},
	{name: "DS", size: 1, str: true, pad: ' ', max: 16},
	{name: "DT", size: 1, str: true, pad: ' ', max: 26},
	{name: "FD", size: 8},
	{name: "FL", size: 4},
	{name: "IS", size: 1, str: true, pad: ' ', max: 12},
	{name: "LO", size: 1, str: true, text: true, pad: ' ', max: 64},
	{name: "LT", size: 1, str: true, text: true, single: true, pad: ' ', max: 10240},
	{name: "OB", long: true, size: 1},
	{name: "OD", long: true, size: 8},
	{name: "OF", long: true, size: 4},
	{name: "OL", long: true, size: 4},
	{name: "OV", long: true, size: 8},
	{name: "OW", long: true, size: 2},
	{name: "PN", size: 1, str: true, text: true, pad: ' ', max: 64 * 3},
	{name: "SH", size: 1, str: true, text: true, pad: ' ', max: 16},
	{name: "SL", size: 4},
	{name: "SQ", long: true, size: 1},
	{name: "SS", size: 2},
	{name: "ST", size: 1, str: true, text: true, single: true, pad: ' ', max: 1024},
	{name: "SV", long: true, size: 8},
	{name: "TM", size: 1, str: true, pad: ' ', max: 16},
	{name: "UC", long: true, size: 1, str: true, text: true, pad: ' '},
	{name: "UI", size: 1, str: true, pad: 0, max: 64},
	{name: "UL", size: 4},
	{name: "UN", long: true, size: 1},
	{name: "UR", long: true, size: 1, str: true, single: true, pad: ' '},
	{name: "US", size: 2},
	{name: "UT", long: true, size: 1, str: true, text: true, single: true, pad: ' '},
	{name: "UV", long: true, size: 8},
}

// vrIndex maps the two letters of a VR to its place in vrTable, plus one.
var vrIndex = func() (ix [26 * 26]uint8) {
	for i, v := range vrTable {
		ix[int(v.name[0]-'A')*26+int(v.name[1]-'A')] = uint8(i + 1)
	}
	return ix
}()

// vrOfBytes finds a VR by its two letters, nil when there is none.
func vrOfBytes(a, b byte) *vrInfo {
	if a < 'A' || a > 'Z' || b < 'A' || b > 'Z' {
		return nil
	}
	if i := vrIndex[int(a-'A')*26+int(b-'A')]; i > 0 {
		return &vrTable[i-1]
	}
	return nil
}

// vrOf finds a VR by name, nil when there is none.
func vrOf(name string) *vrInfo {
	if len(name) != 2 {
		return nil
	}
	return vrOfBytes(name[0], name[1])
}
