// Package letters says what the font of the pictures and pages that EchoNode makes
// (Go Regular and Go Bold: Latin, Greek, Cyrillic) can show of a text.
package letters

import (
	"fmt"
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/text/unicode/norm"
)

// Missing stands for letters that the font lacks, however many follow each other.
const Missing = "?"

// Set knows the letters of the font. It must not be used by several goroutines
// at once.
type Set struct {
	font *sfnt.Font
	buf  sfnt.Buffer
	has  map[rune]bool // what was asked for beyond ASCII
}

// New reads the font.
func New() (*Set, error) {
	f, err := sfnt.Parse(goregular.TTF)
	if err != nil {
		return nil, fmt.Errorf("letters: %w", err)
	}
	return &Set{font: f, has: map[rune]bool{}}, nil
}

func (s *Set) knows(r rune) bool {
	if r >= ' ' && r <= '~' {
		return true
	}
	known, asked := s.has[r]
	if !asked {
		i, err := s.font.GlyphIndex(&s.buf, r)
		known = err == nil && i != 0 && unicode.IsPrint(r)
		s.has[r] = known
	}
	return known
}

// Has reports whether the font has every letter of a text, composed where they
// came apart.
func (s *Set) Has(text string) bool {
	return strings.IndexFunc(norm.NFC.String(text), func(r rune) bool { return !s.knows(r) }) < 0
}

// Shown is a text as the font can show it: composed, with Missing for letters that
// it lacks.
func (s *Set) Shown(text string) string {
	plain := true
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' {
			plain = false
			break
		}
	}
	if plain {
		return text
	}
	var b strings.Builder
	missing := false
	for _, r := range norm.NFC.String(text) {
		switch {
		case s.knows(r) && r != utf8.RuneError:
			b.WriteRune(r)
			missing = false
		case !missing:
			b.WriteString(Missing)
			missing = true
		}
	}
	return b.String()
}

// Group is the first of the groups of a person name (PS3.5 section 6.2.1.1) that
// the font can show whole, else "".
func (s *Set) Group(pn string) string {
	for group := range strings.SplitSeq(pn, "=") {
		if strings.Trim(group, "^ ") != "" && s.Has(group) {
			return group
		}
	}
	return ""
}

// Bounded is the beginning of a text of at most so many letters, and whether something
// is missing.
func Bounded(text string, most int) (beginning string, cut bool) {
	for at := range text {
		if most == 0 {
			return text[:at], true
		}
		most--
	}
	return text, false
}

// mostOnALine is more letters than any line has room for.
const mostOnALine = 400

// Fit is a text cut to a width as measure tells it, with "..." where something is missing.
func Fit(text string, width float64, measure func(string) float64) string {
	text, cut := Bounded(text, mostOnALine)
	if !cut && measure(text) <= width {
		return text
	}
	r := []rune(text)
	n := sort.Search(len(r), func(n int) bool { return measure(string(r[:n+1])+"...") > width })
	return string(r[:n]) + "..."
}
