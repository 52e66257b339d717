package dicomio

import (
	"strings"

	"github.com/suyashkumar/dicom/pkg/tag"
)

// Tag identifies an attribute. Names of standard attributes are the variables
// of package tag, for example tag.PatientName.
type Tag = tag.Tag

// T makes a tag from group and element numbers.
func T(group, element uint16) Tag { return Tag{Group: group, Element: element} }

// Structural tags of PS3.5 7.5.
var (
	tagItem     = T(0xFFFE, 0xE000)
	tagItemEnd  = T(0xFFFE, 0xE00D)
	tagSeqEnd   = T(0xFFFE, 0xE0DD)
	tagPixels   = T(0x7FE0, 0x0010)
	tagCharset  = T(0x0008, 0x0005)
	tagPixelRep = T(0x0028, 0x0103)
	tagSyntax   = T(0x0002, 0x0010)
	tagEOT      = T(0x7FE0, 0x0001)
	tagEOTLens  = T(0x7FE0, 0x0002)
)

// overlayVRs are the VRs of the repeating overlay group 60xx (PS3.6), which
// the dictionary of package tag does not list.
var overlayVRs = map[uint16]string{
	0x0010: "US", 0x0011: "US", 0x0012: "US", 0x0015: "IS", 0x0022: "LO", 0x0040: "CS", 0x0045: "LO",
	0x0050: "SS", 0x0051: "US", 0x0052: "US", 0x0060: "CS", 0x0100: "US", 0x0102: "US", 0x0110: "CS",
	0x1001: "CS", 0x1100: "US", 0x1101: "US", 0x1102: "US", 0x1103: "US", 0x1200: "US", 0x1201: "US",
	0x1202: "US", 0x1203: "US", 0x1301: "IS", 0x1302: "DS", 0x1303: "DS", 0x1500: "LO", 0x3000: "OW",
}

// curveVRs are the VRs of the retired repeating curve group 50xx.
var curveVRs = map[uint16]string{
	0x0005: "US", 0x0010: "US", 0x0020: "CS", 0x0022: "LO", 0x0030: "SH", 0x0040: "SH", 0x0103: "US",
	0x0104: "US", 0x0105: "US", 0x0106: "SH", 0x0110: "US", 0x0112: "US", 0x0114: "US", 0x2000: "US",
	0x2002: "US", 0x2004: "US", 0x2006: "UL", 0x2008: "UL", 0x200A: "UL", 0x200E: "LT", 0x2500: "LO",
	0x2600: "SQ", 0x2610: "US", 0x3000: "OW",
}

// dictVR gives the VR of a tag from the dictionary, "UN" when unknown.
// Attributes with a choice get the usual one: OW for pixel-like data, US for
// numbers that follow Pixel Representation (signed turns them into SS).
func dictVR(t Tag, signed bool) string {
	if t.Element == 0 {
		return "UL" // group length
	}
	if t.Group%2 == 1 {
		if t.Element >= 0x10 && t.Element <= 0xFF {
			return "LO" // private creator
		}
		return "UN"
	}
	info, err := tag.Find(t)
	if err != nil || len(info.VRs) == 0 {
		switch {
		case t.Group >= 0x6000 && t.Group <= 0x60FF:
			if vr, ok := overlayVRs[t.Element]; ok {
				return vr
			}
		case t.Group >= 0x5000 && t.Group <= 0x50FF:
			if vr, ok := curveVRs[t.Element]; ok {
				return vr
			}
		}
		return "UN"
	}
	vr := info.VRs[0]
	for _, v := range info.VRs {
		if v == "OW" {
			return "OW"
		}
	}
	if vr == "US" || vr == "SS" {
		for _, v := range info.VRs {
			if v == "SS" && signed {
				return "SS"
			}
			if v == "US" && !signed {
				return "US"
			}
		}
	}
	if i := strings.IndexByte(vr, ' '); i == 2 {
		vr = vr[:2]
	}
	if vrOf(vr) == nil {
		return "UN"
	}
	return vr
}

// known reports whether the dictionary has a tag. Group lengths count.
func known(t Tag) bool {
	if t.Element == 0 {
		return t.Group > 0 && t.Group%2 == 0 && t.Group <= 0x7FE0
	}
	_, err := tag.Find(t)
	return err == nil
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
