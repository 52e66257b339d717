package encoding

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
)

// VR is a value representation (PS3.5 tables 6.2-1 and 7.1-1).
type VR struct {
	Name   string
	Long   bool // its explicit header has a 32-bit length
	Size   int  // bytes that are swapped together, 1 for bytes and text
	Text   bool // follows Specific Character Set
	String bool // text or any other string
	Single bool // a backslash is not a separator
	Pad    byte
	Max    int // longest value in characters, 0 for none
}

// vrs is ordered by name.
var vrs = [...]VR{
	{Name: "AE", Size: 1, String: true, Pad: ' ', Max: 16},
	{Name: "AS", Size: 1, String: true, Pad: ' ', Max: 4},
	{Name: "AT", Size: 2},
	{Name: "CS", Size: 1, String: true, Pad: ' ', Max: 16},
	{Name: "DA", Size: 1, String: true, Pad: ' ', Max: 8},
	{Name: "DS", Size: 1, String: true, Pad: ' ', Max: 16},
	{Name: "DT", Size: 1, String: true, Pad: ' ', Max: 26},
	{Name: "FD", Size: 8},
	{Name: "FL", Size: 4},
	{Name: "IS", Size: 1, String: true, Pad: ' ', Max: 12},
	{Name: "LO", Size: 1, String: true, Text: true, Pad: ' ', Max: 64},
	{Name: "LT", Size: 1, String: true, Text: true, Single: true, Pad: ' ', Max: 10240},
	{Name: "OB", Long: true, Size: 1},
	{Name: "OD", Long: true, Size: 8},
	{Name: "OF", Long: true, Size: 4},
	{Name: "OL", Long: true, Size: 4},
	{Name: "OV", Long: true, Size: 8},
	{Name: "OW", Long: true, Size: 2},
	{Name: "PN", Size: 1, String: true, Text: true, Pad: ' ', Max: 64 * 3},
	{Name: "SH", Size: 1, String: true, Text: true, Pad: ' ', Max: 16},
	{Name: "SL", Size: 4},
	{Name: "SQ", Long: true, Size: 1},
	{Name: "SS", Size: 2},
	{Name: "ST", Size: 1, String: true, Text: true, Single: true, Pad: ' ', Max: 1024},
	{Name: "SV", Long: true, Size: 8},
	{Name: "TM", Size: 1, String: true, Pad: ' ', Max: 16},
	{Name: "UC", Long: true, Size: 1, String: true, Text: true, Pad: ' '},
	{Name: "UI", Size: 1, String: true, Pad: 0, Max: uid.Longest},
	{Name: "UL", Size: 4},
	{Name: "UN", Long: true, Size: 1},
	{Name: "UR", Long: true, Size: 1, String: true, Single: true, Pad: ' '},
	{Name: "US", Size: 2},
	{Name: "UT", Long: true, Size: 1, String: true, Text: true, Single: true, Pad: ' '},
	{Name: "UV", Long: true, Size: 8},
}

// vrIndex maps the two letters of a VR to its place in vrs, plus one.
var vrIndex = func() (ix [26 * 26]uint8) {
	for i, v := range vrs {
		ix[int(v.Name[0]-'A')*26+int(v.Name[1]-'A')] = uint8(i + 1)
	}
	return ix
}()

// VROf finds a VR by its two letters, nil when there is none.
func VROf(a, b byte) *VR {
	if a < 'A' || a > 'Z' || b < 'A' || b > 'Z' {
		return nil
	}
	if i := vrIndex[int(a-'A')*26+int(b-'A')]; i > 0 {
		return &vrs[i-1]
	}
	return nil
}

// LookupVR finds a VR by name, nil when there is none.
func LookupVR(name string) *VR {
	if len(name) != 2 {
		return nil
	}
	return VROf(name[0], name[1])
}

// DictionaryVR is the VR that an element without VR letters has: that of the
// dictionary, "UN" when it does not know the tag. Attributes with a choice get
// the usual one: OW for pixel-like data, US for numbers that follow Pixel
// Representation (signed turns them into SS).
func DictionaryVR(t tag.Tag, signed bool) string {
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

// CheckString says what is wrong with one value of a string VR, "" for nothing.
func (v *VR) CheckString(s string) string {
	if v.Max > 0 && utf8.RuneCountInString(s) > v.Max {
		return fmt.Sprintf("longer than %d characters", v.Max)
	}
	ok := func(set string) bool { return strings.Trim(s, set) == "" }
	switch v.Name {
	case "AE":
		if s != "" && !ValidAETitle(strings.Trim(s, " ")) {
			return "an AE title holds printable ASCII without backslash"
		}
	case "UI":
		if s != "" && !uid.Valid(s) {
			return "a UID holds digits and single dots"
		}
	case "CS":
		if !ok("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _") {
			return "a code string holds A-Z, 0-9, space and underscore"
		}
	case "DA":
		if s != "" && (len(s) != 8 || !ok("0123456789")) {
			return "a date is YYYYMMDD"
		}
	case "IS":
		if s != "" {
			if _, err := strconv.ParseInt(strings.TrimSpace(s), 10, 32); err != nil {
				return "not a 32-bit integer"
			}
		}
	case "DS":
		if s != "" {
			if _, good := ParseNumber(s); !good {
				return "not a decimal number"
			}
		}
	case "TM":
		if !ok("0123456789.") {
			return "a time is HHMMSS.FFFFFF"
		}
	case "DT":
		if !ok("0123456789.+-") {
			return "a date time is YYYYMMDDHHMMSS.FFFFFF&ZZXX"
		}
	default:
		for _, r := range s {
			if r < 0x20 && r != 0x1B && !(v.Single && (r == '\r' || r == '\n' || r == '\t' || r == '\f')) {
				return "a control character"
			}
			if !v.Text && r > 0x7E {
				return "not ASCII"
			}
		}
	}
	return ""
}

// Clean is a text without the characters that no value of the VR can hold: control
// characters, a backslash too where that parts values, become spaces, but for ends of
// lines, tabs and form feeds in a VR of one value; what is no UTF-8 becomes U+FFFD. How
// long it may be is not looked at.
func (v *VR) Clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case v.Single && (r == '\r' || r == '\n' || r == '\t' || r == '\f'):
		case unicode.IsControl(r), r == '\\' && !v.Single:
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, string(utf8.RuneError)))
}

// Line is what a text of any VR says in one line, as a value of a short VR holds it:
// clean, and with single spaces between words.
func Line(s string) string {
	return strings.Join(strings.Fields(LookupVR("LO").Clean(s)), " ")
}

// ValidAETitle reports whether s is an AE title (PS3.5 6.2): 1 to 16 printable
// ASCII characters without backslash, not only spaces. Leading and trailing
// spaces are not significant: cut them before.
func ValidAETitle(s string) bool {
	if len(s) > 16 || strings.Trim(s, " ") == "" {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] > '~' || s[i] == '\\' {
			return false
		}
	}
	return true
}
