package letters

import (
	"strings"
	"testing"
)

func TestShown(t *testing.T) {
	s, err := New()
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"Baseline": "Baseline", "Müller, Jürgen": "Müller, Jürgen", "Ιωάννης": "Ιωάννης", "Иванов": "Иванов", "42 ± 3 µm²": "42 ± 3 µm²",
		"Jose\u0301": "José", "静息": "?", "山田 太郎": "? ?", "REST 静息 1": "REST ? 1", "محمد": "?", "a\u0000b": "a?b", "": "", "\ufffd": "?",
	} {
		if got := s.Shown(text); got != want {
			t.Errorf("%q is shown as %q, want %q", text, got, want)
		}
	}
}

func TestGroup(t *testing.T) {
	s, err := New()
	if err != nil {
		t.Fatal(err)
	}
	for pn, want := range map[string]string{
		"Wang^XiaoDong=王^小東": "Wang^XiaoDong", "王^小東=Wang^XiaoDong": "Wang^XiaoDong", "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう": "", "=山田^太郎=Yamada^Taro": "Yamada^Taro",
		"Doe^Jane": "Doe^Jane", "": "", "^^=Doe": "Doe", "Jose\u0301^": "Jose\u0301^",
	} {
		if got := s.Group(pn); got != want {
			t.Errorf("%q: %q, want %q", pn, got, want)
		}
	}
}

// However long a text is, a line of it is found by few measurements of short texts.
func TestFit(t *testing.T) {
	measured, longest := 0, 0
	width := func(s string) float64 {
		measured, longest = measured+1, max(longest, len(s))
		return float64(len([]rune(s)))
	}
	for text, want := range map[string]string{
		"": "", "short": "short", "ten letters": "ten let...", "ééééééééééééé": "ééééééé...", strings.Repeat("x", 1<<20): "xxxxxxx...",
	} {
		if got := Fit(text, 10, width); got != want {
			t.Errorf("%d letters: %q, want %q", len(text), got, want)
		}
	}
	if got := Fit("ab", 1, width); got != "..." {
		t.Errorf("no room: %q", got)
	}
	if measured > 40 || longest > 2*mostOnALine {
		t.Errorf("%d measurements, the longest of %d bytes", measured, longest)
	}
}
