package dicomio

import "testing"

func TestFamilyName(t *testing.T) {
	for pn, want := range map[string]string{
		"": "", "^^": "", "Doe^Jane": "DOE", " doe ^Jane": "DOE", "Adams^John Robert Quincy^^Rev.^B.A. M.Div.": "ADAMS",
		"Yamada^Tarou=山田^太郎=やまだ^たろう": "YAMADA", "=山田^太郎": "山田", "^Jane=山田^太郎": "山田",
	} {
		if got := FamilyName(pn); got != want {
			t.Errorf("%q: %q, want %q", pn, got, want)
		}
	}
}
