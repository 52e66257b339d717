// Package charset turns text of the character sets of PS3.3 C.12.1.1.2 into
// UTF-8 and back, code extensions by ISO 2022 escape sequences included.
package charset

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
)

// Set is a decoded Specific Character Set (0008,0005), PS3.3 C.12.1.1.2.
// The zero value is the default repertoire.
type Set struct {
	initial  *codeSet
	extended bool // code extensions by ISO 2022 escape sequences
	whole    encoding.Encoding
	utf8     bool
}

// UTF8 is ISO_IR 192.
func UTF8() Set { return Set{utf8: true} }

// codeSet is one character set element that ISO 2022 can designate to G0
// (bytes below 0x80) or G1 (bytes above).
type codeSet struct {
	term   string // defined term with code extensions
	g0     string // escape sequence for G0, "" when there is none
	g1     string // escape sequence for G1
	double bool   // two bytes per character
	// How text is read and written: by a table of one byte per character, or read
	// only.
	both encoding.Encoding
	dec  func(b []byte) string
}

// decode turns bytes of the set into UTF-8.
func (s *codeSet) decode(b []byte) string {
	if s.both != nil {
		return decodeAll(s.both, b)
	}
	return s.dec(b)
}

// single makes a decoder of an 8-bit table that ignores the high bit rules.
func single(e encoding.Encoding) func([]byte) string {
	return func(b []byte) string { return decodeAll(e, b) }
}

// decodeAll decodes b; what the encoding does not know becomes U+FFFD.
func decodeAll(e encoding.Encoding, b []byte) string {
	s, err := e.NewDecoder().Bytes(b)
	if err != nil {
		return strings.Repeat("\uFFFD", len(b))
	}
	return string(s)
}

// high sets the top bit of every byte, which turns a G0 set into its EUC form.
func high(b []byte, prefix ...byte) []byte {
	out := make([]byte, 0, len(b)*2)
	for i, c := range b {
		if i%2 == 0 {
			out = append(out, prefix...)
		}
		out = append(out, c|0x80)
	}
	return out
}

// codeSets are the sets of PS3.3 tables C.12-2 to C.12-4.
var codeSets = []codeSet{
	{term: "6", g0: "(B", dec: Latin},
	{term: "100", g1: "-A", both: charmap.ISO8859_1},
	{term: "101", g1: "-B", both: charmap.ISO8859_2},
	{term: "109", g1: "-C", both: charmap.ISO8859_3},
	{term: "110", g1: "-D", both: charmap.ISO8859_4},
	{term: "144", g1: "-L", both: charmap.ISO8859_5},
	{term: "127", g1: "-G", both: charmap.ISO8859_6},
	{term: "126", g1: "-F", both: charmap.ISO8859_7},
	{term: "138", g1: "-H", both: charmap.ISO8859_8},
	{term: "148", g1: "-M", both: charmap.ISO8859_9},
	{term: "203", g1: "-b", both: charmap.ISO8859_15},
	{term: "166", g1: "-T", dec: single(charmap.Windows874)},
	{term: "13", g0: "(J", g1: ")I", dec: single(japanese.ShiftJIS)},
	{term: "87", g0: "$B", double: true, dec: func(b []byte) string { return decodeAll(japanese.EUCJP, high(b)) }},
	{term: "159", g0: "$(D", double: true, dec: func(b []byte) string { return decodeAll(japanese.EUCJP, high(b, 0x8F)) }},
	{term: "149", g1: "$)C", double: true, dec: func(b []byte) string { return decodeAll(korean.EUCKR, high(b)) }},
	{term: "58", g1: "$)A", double: true, dec: func(b []byte) string { return decodeAll(simplifiedchinese.GBK, high(b)) }},
}

// Of interprets the values of Specific Character Set. Misspelt terms
// that are seen in real files (ISO-IR 100, ISO IR 6) are understood; unknown
// ones fall back to the default repertoire.
func Of(vals []string) Set {
	var cs Set
	for i, v := range vals {
		v = strings.ToUpper(strings.Trim(v, " \x00"))
		v = strings.NewReplacer("-", "_", " ", "_").Replace(v)
		switch v {
		case "ISO_IR_192", "UTF_8", "UTF8", "ISO_2022_IR_192":
			return UTF8()
		case "GB18030":
			return Set{whole: simplifiedchinese.GB18030}
		case "GBK":
			return Set{whole: simplifiedchinese.GBK}
		}
		term := ""
		switch {
		case strings.HasPrefix(v, "ISO_IR_"):
			term = v[len("ISO_IR_"):]
		case strings.HasPrefix(v, "ISO_2022_IR_"):
			term = v[len("ISO_2022_IR_"):]
			cs.extended = true
		case strings.HasPrefix(v, "ISO_2022_"):
			term = v[len("ISO_2022_"):]
			cs.extended = true
		}
		if i == 0 {
			for j := range codeSets {
				if codeSets[j].term == term && codeSets[j].term != "6" {
					cs.initial = &codeSets[j]
				}
			}
		}
	}
	if len(vals) > 1 {
		cs.extended = true
	}
	return cs
}

// Decode is the values of Text.
func (cs Set) Decode(b []byte, vr string) []string {
	if whole(vr) {
		return []string{cs.Text(b, vr)}
	}
	return strings.Split(cs.Text(b, vr), "\\")
}

// First is the first of the values of Decode, without the others where they
// need not be read for it.
func (cs Set) First(b []byte, vr string) string {
	if whole(vr) {
		return cs.Text(b, vr)
	}
	// Behind a byte that is not ASCII, or an escape, a backslash may be half a letter.
	if i := bytes.IndexByte(b, '\\'); i >= 0 && ascii(b[:i]) && (cs.initial == nil || !cs.initial.double) {
		b = b[:i]
	}
	first, _, _ := strings.Cut(cs.Text(b, vr), "\\")
	return first
}

// whole reports whether a value of text is one, backslashes and all.
func whole(vr string) bool { return vr == "ST" || vr == "LT" || vr == "UT" }

// ascii reports whether b has neither other letters nor escapes.
func ascii(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 || c == 0x1B {
			return false
		}
	}
	return true
}

// Text converts a value to UTF-8, in which every backslash separates values
// where the VR has several. Bytes outside the declared sets are kept as Latin-1,
// or as UTF-8 when the value is valid UTF-8.
func (cs Set) Text(b []byte, vr string) string {
	s, _ := cs.decode(b, vr)
	return s
}

// Allows reports whether a value is what the set allows, so that none of its
// letters is a guess: every byte belongs to a set that is in force where it
// stands, by the declared one or by an escape sequence where those are declared.
func (cs Set) Allows(b []byte, vr string) bool {
	s, certain := cs.decode(b, vr)
	return certain && !strings.ContainsRune(s, '\uFFFD')
}

// decode is Text; certain is false where bytes were outside of every set.
func (cs Set) decode(b []byte, vr string) (s string, certain bool) {
	switch {
	case ascii(b) && (cs.initial == nil || cs.initial.g0 == "" || cs.initial.term == "13"):
		return string(b), true
	case cs.utf8:
		return strings.ToValidUTF8(string(b), "\uFFFD"), true
	case cs.whole != nil:
		return decodeAll(cs.whole, b), true
	}
	return cs.decode2022(b, vr)
}

// decode2022 follows escape sequences. The initial sets return at the end of a
// line, a value and, in person names, a component (PS3.5 6.1.2.5.3).
func (cs Set) decode2022(b []byte, vr string) (text string, certain bool) {
	single := whole(vr)
	var out strings.Builder
	g0, g1 := cs.reset()
	certain = true
	for i := 0; i < len(b); {
		c := b[i]
		if c == 0x1B {
			if s, n, toG1 := designated(b[i+1:]); s != nil {
				if toG1 {
					g1 = s
				} else {
					g0 = s
				}
				i += 1 + n
				certain = certain && cs.extended
				continue
			}
			certain = false
			out.WriteByte(c)
			i++
			continue
		}
		if c < 0x80 {
			if g0 != nil && g0.double && c > 0x20 && i+1 < len(b) {
				j := i + 2
				for clean(b[i+1]) && j+1 < len(b) && clean(b[j]) && clean(b[j+1]) {
					j += 2
				}
				out.WriteString(g0.decode(b[i:j]))
				certain = certain && g0.holds(b[i:j])
				i = j
				continue
			}
			certain = certain && (g0 == nil || !g0.double || c <= 0x20)
			switch {
			case c == '\\' && !single || c == '\n' || c == '\r' || c == '\f' || c == '\t' || vr == "PN" && (c == '^' || c == '='):
				out.WriteByte(c)
				g0, g1 = cs.reset()
			default:
				out.WriteByte(c)
			}
			i++
			continue
		}
		j := i
		for j < len(b) && b[j] >= 0x80 {
			j++
		}
		run := b[i:j]
		switch {
		case g1 != nil:
			out.WriteString(g1.decode(run))
			certain = certain && g1.holds(run)
		case utf8.Valid(run):
			out.Write(run)
			certain = false
		default:
			out.WriteString(Latin(run))
			certain = false
		}
		i = j
	}
	return out.String(), certain
}

// holds reports whether bytes are such as the set has at all. What decodes them may
// know more: Windows pages, Shift JIS, GBK.
func (s *codeSet) holds(b []byte) bool {
	for _, c := range b {
		c &= 0x7F
		switch {
		case s.both != nil:
		case s.double && (c <= 0x20 || c == 0x7F), !s.double && c <= 0x20, s.term == "13" && c >= 0x60:
			return false
		}
	}
	return !s.double || len(b)%2 == 0
}

// clean reports whether c can be part of a two-byte character in G0.
func clean(c byte) bool { return c > 0x20 && c < 0x7F }

// reset gives the sets in force at the start of a value.
func (cs Set) reset() (g0, g1 *codeSet) {
	if cs.initial == nil {
		return nil, nil
	}
	if cs.initial.double && cs.initial.g0 != "" {
		return cs.initial, nil
	}
	return nil, cs.initial
}

// designated finds the set that the bytes after an ESC designate, the length
// of the sequence, and whether it goes to G1.
func designated(b []byte) (s *codeSet, n int, g1 bool) {
	for i := range codeSets {
		s := &codeSets[i]
		if s.g0 != "" && strings.HasPrefix(string(b[:min(len(b), 3)]), s.g0) {
			return s, len(s.g0), false
		}
		if s.g1 != "" && strings.HasPrefix(string(b[:min(len(b), 3)]), s.g1) {
			return s, len(s.g1), true
		}
	}
	return nil, 0, false
}

// Encode converts UTF-8 text into the character set, for text that is set in
// a data set that has one. Only single sets are written; text that needs code
// extensions is refused.
func (cs Set) Encode(text []byte) ([]byte, bool) {
	plain := true
	for _, c := range text {
		if c >= 0x80 {
			plain = false
			break
		}
	}
	if plain || cs.utf8 {
		return text, true
	}
	enc := cs.whole
	if enc == nil && cs.initial != nil {
		enc = cs.initial.both
	}
	if enc == nil {
		return nil, false
	}
	b, err := enc.NewEncoder().Bytes(text)
	return b, err == nil
}

// Terms lists the defined terms of Specific Character Set that text is
// read in: without code extensions and with them.
func Terms() []string {
	out := []string{"ISO_IR 192", "GB18030", "GBK"}
	for _, c := range codeSets {
		if !c.double && c.term != "6" {
			out = append(out, "ISO_IR "+c.term)
		}
		out = append(out, "ISO 2022 IR "+c.term)
	}
	return out
}

// Latin converts bytes of VRs that allow ASCII only, keeping stray high bytes
// as Latin-1.
func Latin(b []byte) string {
	for _, c := range b {
		if c >= 0x80 {
			r := make([]rune, len(b))
			for i, c := range b {
				r[i] = rune(c)
			}
			return string(r)
		}
	}
	return string(b)
}
