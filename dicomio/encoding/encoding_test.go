package encoding

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/echonode/echonode/conformance/golden"
	"github.com/echonode/echonode/dicomio/tag"
)

var syntaxes = map[string]Syntax{"explicit": {}, "implicit": {Implicit: true}, "big": {Big: true}}

// object is one data set in three encodings.
var object = map[string]string{
	"explicit": `
0800 1800 "UI" 0600 "1.2.3" 00       ; (0008,0018) SOP Instance UID, short form, padded with NUL
0800 9911 "SQ" 0000 1e000000         ; (0008,1199) sequence, long form: two reserved bytes, 30 bytes
feff 00e0 0e000000                   ;   item of 14 bytes, without VR in every syntax
0800 5011 "UI" 0600 "1.2.50"         ;   (0008,1150)
feff 00e0 00000000                   ;   an empty item
1000 1000 "PN" 0800 "Doe^Jane"       ; (0010,0010)
2800 1000 "US" 0200 5802             ; (0028,0010) Rows, 600
`,
	"implicit": `
0800 1800 06000000 "1.2.3" 00        ; the VR is the dictionary's, every length has 32 bits
0800 9911 1e000000
feff 00e0 0e000000
0800 5011 06000000 "1.2.50"
feff 00e0 00000000
1000 1000 08000000 "Doe^Jane"
2800 1000 02000000 5802
`,
	"big": `
0008 0018 "UI" 0006 "1.2.3" 00       ; numbers with the high byte first, letters as ever
0008 1199 "SQ" 0000 0000001e
fffe e000 0000000e
0008 1150 "UI" 0006 "1.2.50"
fffe e000 00000000
0010 0010 "PN" 0008 "Doe^Jane"
0028 0010 "US" 0002 0258
`,
}

func TestGolden(t *testing.T) {
	for name, s := range syntaxes {
		want := golden.Bytes(t, object[name])
		b := s.AppendString(nil, tag.SOPInstanceUID, "UI", "1.2.3")
		b = s.AppendSequence(b, tag.ReferencedSOPSequence, 2, func(b []byte, i int) []byte {
			if i == 1 {
				return b
			}
			return s.AppendString(b, tag.ReferencedSOPClassUID, "UI", "1.2.50")
		})
		b = s.AppendString(b, tag.PatientName, "PN", "Doe^Jane")
		b = s.AppendUint16(b, tag.Rows, 600)
		if !bytes.Equal(b, want) {
			t.Errorf("%s: wrote\n%x, want\n%x", name, b, want)
		}
		var got []string
		for e, err := range s.Elements(want) {
			if err != nil {
				t.Fatal(name, err)
			}
			vr := e.VR
			if (vr == "") != s.Implicit {
				t.Errorf("%s: %v has the VR %q", name, e.Tag, vr)
			}
			if vr == "" {
				vr = DictionaryVR(e.Tag, false)
			}
			got = append(got, vr)
			if vr != "SQ" {
				continue
			}
			for item, err := range s.Items(e.Value) {
				if err != nil {
					t.Fatal(name, err)
				}
				for e := range s.Elements(item) {
					got = append(got, string(e.Value))
				}
				got = append(got, "item")
			}
		}
		if s := strings.Join(got, " "); s != "UI SQ 1.2.50 item item PN US" {
			t.Errorf("%s: read %s", name, s)
		}
	}
}

// TestHeader: what devices write beside the standard.
func TestHeader(t *testing.T) {
	for _, tt := range []struct {
		name, bytes string
		s           Syntax
		left        int64
		want        Header
		err         error
	}{
		{"long", `1000 1000 "UT" 0000 00000100 ; a VR with a 32-bit length`, Syntax{}, 1 << 20, Header{tag.PatientName, "UT", 0x10000, 12, false}, nil},
		{"implicit in explicit", `2800 1000 02000000 5802 0000 ; no letters where the VR stands`, Syntax{}, 12, Header{tag.Rows, "US", 2, 8, true}, nil},
		{"unknown VR, short", `2800 1000 "ZZ" 0400 01020304 ; the long form would not fit`, Syntax{}, 12, Header{tag.Rows, "ZZ", 4, 8, true}, nil},
		{"unknown VR, long", `2800 1000 "ZZ" 0000 04000000 ; reserved bytes and a length that fits`, Syntax{}, 16, Header{tag.Rows, "ZZ", 4, 12, false}, nil},
		{"signed", `2800 0601 02000000 ffff 0000 ; Smallest Image Pixel Value follows Pixel Representation`, Syntax{Implicit: true}, 12, Header{tag.SmallestImagePixelValue, "SS", 2, 8, true}, nil},
		{"item", `feff 00e0 ffffffff ; of undefined length`, Syntax{}, 8, Header{tag.Item, "", Undefined, 8, true}, nil},
		{"cut", `1000 1000 "UT" 0000 ; the length is missing`, Syntax{}, 8, Header{tag.PatientName, "", 0, 8, false}, ErrTruncated},
		{"nothing", `1000 1000`, Syntax{}, 4, Header{}, ErrTruncated},
	} {
		got, err := tt.s.Header(golden.Bytes(t, tt.bytes), tt.left, tt.name == "signed")
		if got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%s: %+v, %v, want %+v, %v", tt.name, got, err, tt.want, tt.err)
		}
	}
	// What does not fit the short form of its VR becomes UN.
	if b := (Syntax{}).AppendHeader(nil, tag.PatientName, "PN", 70000); !bytes.Equal(b, golden.Bytes(t, `1000 1000 "UN" 0000 70110100`)) {
		t.Errorf("%x", b)
	}
}

func TestElementsRefuse(t *testing.T) {
	deep := strings.Repeat("0800 9911 ffffffff feff 00e0 ffffffff\n", maxNesting)
	for name, tt := range map[string]struct {
		bytes string
		want  error
	}{
		"length beyond the end": {"0800 1800 ff000000 31", ErrTruncated},
		"half a header":         {"0800 1800 06", ErrTruncated},
		"no delimiter":          {"0800 9911 ffffffff feff 00e0 00000000", ErrTruncated},
		"nested too deeply":     {deep, ErrMalformed},
	} {
		var err error
		for _, err = range (Syntax{Implicit: true}).Elements(golden.Bytes(t, tt.bytes)) {
		}
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var err error
	for _, err = range (Syntax{}).Items(golden.Bytes(t, `1000 1000 "PN" 0000`)) {
	}
	if !errors.Is(err, ErrMalformed) {
		t.Errorf("no item: %v", err)
	}
}

func TestValidAETitle(t *testing.T) {
	for s, want := range map[string]bool{
		"ECHONODE": true, "a b": true, "0123456789ABCDEF": true, "0123456789ABCDEFG": false, "": false, "   ": false, "A\\B": false, "A\x00": false, "É": false, "A\n": false,
	} {
		if ValidAETitle(s) != want {
			t.Errorf("%q: %v", s, !want)
		}
	}
}

// A text that was cleaned for a VR is one that its values can hold, whatever it was.
func TestClean(t *testing.T) {
	for in, want := range map[string]struct{ lo, ut, line string }{
		"Rest  1":              {"Rest  1", "Rest  1", "Rest 1"},
		"Rest\x001":            {"Rest 1", "Rest 1", "Rest 1"},
		"a\r\nb\tc\x1b\\d\x7f": {"a  b c  d ", "a\r\nb\tc \\d ", "a b c d"},
		"\u0085\u009bä心\xff":   {"  ä心\uFFFD", "  ä心\uFFFD", "ä心\uFFFD"},
		"":                     {"", "", ""},
	} {
		for _, c := range []struct{ vr, got, want string }{
			{"LO", LookupVR("LO").Clean(in), want.lo}, {"UT", LookupVR("UT").Clean(in), want.ut}, {"LO", Line(in), want.line},
		} {
			if c.got != c.want {
				t.Errorf("%q for %s: %q, want %q", in, c.vr, c.got, c.want)
			}
			if why := LookupVR(c.vr).CheckString(c.got); why != "" {
				t.Errorf("%q for %s: %q: %s", in, c.vr, c.got, why)
			}
		}
	}
}

// FuzzElements: reading ends, what it gives lies in the input in order, and
// defined lengths come back as they were written.
func FuzzElements(f *testing.F) {
	for name, s := range syntaxes {
		f.Add(golden.Bytes(f, object[name]), s.Implicit, s.Big)
	}
	f.Add(golden.Bytes(f, "0800 9911 ffffffff feff 00e0 ffffffff feff 0de0 00000000 feff dde0 00000000"), true, false)
	f.Fuzz(func(t *testing.T, b []byte, implicit, big bool) {
		s := Syntax{Implicit: implicit, Big: big}
		at := 0
		for e, err := range s.Elements(b) {
			if err != nil {
				if !errors.Is(err, ErrTruncated) && !errors.Is(err, ErrMalformed) {
					t.Fatal(err)
				}
				return
			}
			if !bytes.Equal(b[at+e.Size:at+e.Size+len(e.Value)], e.Value) {
				t.Fatalf("%v is not at %d", e.Tag, at)
			}
			if v := LookupVR(e.VR); e.Length != Undefined && !e.Bare && v != nil && !s.Implicit {
				if again := append(s.AppendHeader(nil, e.Tag, e.VR, e.Length), e.Value...); !bytes.Equal(again[:6], b[at:at+6]) || len(again) != e.Size+len(e.Value) {
					t.Fatalf("%x comes back as %x", b[at:at+e.Size], again[:e.Size])
				}
			}
			at += e.Size + len(e.Value)
			if e.Length == Undefined {
				at += 8
			}
			for item, err := range s.Items(e.Value) {
				if err != nil {
					break
				}
				for _, err := range s.Elements(item) {
					if err != nil {
						break
					}
				}
			}
		}
		if at != len(b) {
			t.Fatalf("%d of %d bytes read without an error", at, len(b))
		}
	})
}
