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
