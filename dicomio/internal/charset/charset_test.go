package charset

import "testing"

// The first value is told without the others, and a backslash that is half a
// letter ends none: in GBK 82 5C is one letter, in JIS X 0208 32 5C behind its
// escape, in Latin-1 and UTF-8 no byte of a letter is a backslash.
func TestFirst(t *testing.T) {
	for _, c := range []struct {
		set       []string
		text, vr  string
		want      string
		wantCount int
	}{
		{nil, `a\b\c`, "LO", "a", 3},
		{nil, `a\b\c`, "LT", `a\b\c`, 1},
		{nil, `\\`, "SH", "", 3},
		{nil, ``, "SH", "", 1},
		{[]string{"ISO_IR 100"}, "\xE4\\b", "LO", "ä", 2},
		{[]string{"ISO_IR 192"}, "ä\\b", "LO", "ä", 2},
		{[]string{"GB18030"}, "\x82\x5Cx\\b", "LO", "俓x", 2},
		{[]string{"GB18030"}, "x\\\x82\x5C", "LO", "x", 2},
		{[]string{"", "ISO 2022 IR 87"}, "a\x1B$B2\\\x1B(B\\b", "LO", "a蝦", 2},
		{[]string{"ISO 2022 IR 87"}, "2\\\x1B(B\\b", "LO", "蝦", 2},
	} {
		cs := Of(c.set)
		if got := cs.First([]byte(c.text), c.vr); got != c.want {
			t.Errorf("%q: %q, want %q", c.text, got, c.want)
		}
		if all := cs.Decode([]byte(c.text), c.vr); len(all) != c.wantCount || all[0] != c.want {
			t.Errorf("%q: all are %q", c.text, all)
		}
	}
}

// What is not in the sets that are declared is read as well as can be, and not
// allowed: another page of Windows, Shift JIS, halves of letters, escapes that nobody
// declared.
func TestAllows(t *testing.T) {
	for _, c := range []struct {
		set  []string
		text string
		want bool
	}{
		{nil, "Adams^John", true},
		{nil, "M\xFCller", false},
		{nil, "Müller", false},
		{nil, "\x1B$B;3ED\x1B(B", false},
		{[]string{"ISO_IR 100"}, "M\xFCller", true},
		{[]string{"ISO_IR 100"}, "M\xFCller \x1B$B;3ED\x1B(B", false},
		{[]string{"ISO_IR 109"}, "\xA5", false}, // no letter of Latin-3
		{[]string{"ISO_IR 192"}, "Müller", true},
		{[]string{"ISO_IR 192"}, "M\xFCller", false},
		{[]string{"GB18030"}, "\xCD\xF5", true},
		{[]string{"GB18030"}, "\xCD", false},
		{[]string{"ISO_IR 166"}, "\xCA\xC1\xAA\xD2\xC2", true},
		{[]string{"ISO_IR 166"}, "\x80", false}, // the euro of Windows-874
		{[]string{"ISO_IR 13"}, "\xD4\xCF\xC0\xDE", true},
		{[]string{"ISO_IR 13"}, "\x8E\x52\x93\x63", false}, // Shift JIS
		{[]string{"", "ISO 2022 IR 87"}, "Y=\x1B$B;3ED\x1B(B^T", true},
		{[]string{"ISO 2022 IR 87"}, ";3ED", true},
		{[]string{"", "ISO 2022 IR 87"}, "\x1B$B;3E\x1B(B", false},
		{[]string{"", "ISO 2022 IR 87"}, "\x1B$B;3E", false},
		{[]string{"", "ISO 2022 IR 87"}, "\x1BX", false},
		{[]string{"", "ISO 2022 IR 87"}, "\xE4", false},
		{[]string{"", "ISO 2022 IR 149"}, "\x1B$)C\xFB\xF3", true},
		{[]string{"", "ISO 2022 IR 149"}, "\x1B$)C\xFB", false},
		{[]string{"", "ISO 2022 IR 58"}, "\x1B$)A\xD5\xC5", true},
		{[]string{"", "ISO 2022 IR 58"}, "\x1B$)A\x81\x40", false}, // GBK
		{[]string{"ISO 2022 IR 100", "ISO 2022 IR 144"}, "\xE4 \x1B-L\xD0", true},
	} {
		if got := Of(c.set).Allows([]byte(c.text), "PN"); got != c.want {
			t.Errorf("%q of %q: %v", c.text, c.set, got)
		}
	}
}
