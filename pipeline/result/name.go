package result

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// script is in what a word is written: words of two scripts can't be compared.
type script byte

const (
	latin    script = 'L' // and digits
	han      script = 'H'
	kana     script = 'K'
	hangul   script = 'G'
	cyrillic script = 'C'
	greek    script = 'R'
	arabic   script = 'A'
	hebrew   script = 'I'
	thai     script = 'T'
	other    script = 'O'
)

// transcribes reports whether a script may say how a name that is written in
// another is spoken: the alphabetic and the phonetic group (PS3.5 section 6.2.1).
func (s script) transcribes() bool { return s == latin || s == kana }

// abbreviates reports whether a letter alone is an initial.
func (s script) abbreviates() bool { return s == latin || s == cyrillic || s == greek }

func scriptOf(r rune) script {
	switch {
	case unicode.Is(unicode.Han, r):
		return han
	case unicode.In(r, unicode.Hiragana, unicode.Katakana):
		return kana
	case unicode.Is(unicode.Hangul, r):
		return hangul
	case unicode.Is(unicode.Cyrillic, r):
		return cyrillic
	case unicode.Is(unicode.Greek, r):
		return greek
	case unicode.Is(unicode.Arabic, r):
		return arabic
	case unicode.Is(unicode.Hebrew, r):
		return hebrew
	case unicode.Is(unicode.Thai, r):
		return thai
	case unicode.Is(unicode.Latin, r) || unicode.IsNumber(r):
		return latin
	}
	return other
}

// maxWords bounds the words of a name that count.
const maxWords = 8

// names takes a person name (PN, PS3.5 section 6.2.1.1) apart: the words of the
// family name and those of given and middle names, of all its groups. Prefix and
// suffix don't count.
func names(pn string) (family, given []string) {
	for group := range strings.SplitSeq(pn, "=") {
		parts := strings.Split(group, "^")
		family = append(family, words(parts[0])...)
		for _, p := range parts[1:min(len(parts), 3)] {
			given = append(given, words(p)...)
		}
	}
	return family[:min(len(family), maxWords)], given[:min(len(given), maxWords)]
}

// words are those of a text, as they are compared: without accents, umlauts,
// titles, doubled letters and what distinguishes upper and lower case. Words
// with characters that were lost on the way are left out.
func words(s string) (out []string) {
	lost := func(r rune) bool { return r == '?' || r == '*' || r == unicode.ReplacementChar }
	mute := func(r rune) bool { return r == '\'' || r == '`' || r == '’' || r == '´' }
	inWord := func(r rune) bool {
		return unicode.In(r, unicode.L, unicode.N, unicode.M) || lost(r) || mute(r)
	}
	var titles []string
	for _, w := range strings.FieldsFunc(s, func(r rune) bool { return !inWord(r) }) {
		if strings.ContainsFunc(w, lost) {
			continue
		}
		w = strings.ToUpper(letters.Replace(strings.ToLower(w)))
		w = strings.Map(func(r rune) rune {
			switch {
			case mute(r) || unicode.Is(unicode.Mn, r):
				return -1
			case r >= 'ァ' && r <= 'ヶ':
				return r - 'ァ' + 'ぁ'
			}
			return r
		}, norm.NFKD.String(w))
		if w == "" {
			continue
		}
		if slices.Contains(noNames, w) {
			titles = append(titles, w)
			continue
		}
		out = append(out, undouble(umlauts.Replace(w)))
	}
	if len(out) == 0 {
		return titles
	}
	return out
}

// letters that are no letter with an accent.
var letters = strings.NewReplacer("ß", "ss", "æ", "ae", "œ", "oe", "ø", "o", "đ", "d", "ð", "d", "þ", "th", "ł", "l", "ı", "i")

// umlauts as those write them who have none: Müller, Mueller and Muller are one.
var umlauts = strings.NewReplacer("AE", "A", "OE", "O", "UE", "U")

// noNames are titles and what tells generations apart.
var noNames = []string{"DR", "PROF", "MED", "MR", "MRS", "MS", "MISS", "SIR", "HERR", "FRAU", "MME", "SIG", "SRA", "JR", "SR", "II", "III", "IV", "MD", "PHD"}

// undouble leaves one of equal letters that follow each other; digits stay.
func undouble(s string) string {
	var b strings.Builder
	last := rune(-1)
	for _, r := range s {
		if r != last || !unicode.IsLetter(r) {
			b.WriteRune(r)
		}
		last = r
	}
	return b.String()
}

// spell writes the words of a part of a name as digests, with spaces between:
// the script, the digest of the first letter, that of the word if it is no
// initial. Where a script has several words, one more after "=" is of them
// without spaces; with a family name, one after ">" is of the full name.
func spell(words []string, given ...string) string {
	var out []string
	whole, last := map[script]string{}, map[script]string{}
	count := map[script]int{}
	for _, w := range words {
		r := []rune(w)
		s := scriptOf(r[0])
		d := string(s) + wordDigest(string(r[:1]), initialDigits)
		if len(r) > 1 || !s.abbreviates() || !unicode.IsLetter(r[0]) {
			d += wordDigest(w, wordDigits)
		}
		out = append(out, d)
		whole[s] += w
		count[s]++
	}
	for _, w := range given {
		s, _ := utf8.DecodeRuneInString(w)
		last[scriptOf(s)] += w
	}
	joined := func(s string) string { return wordDigest(undouble(umlauts.Replace(s)), wordDigits) }
	for s, n := range count {
		if n > 1 {
			out = append(out, string(s)+"="+joined(whole[s]))
		}
		if last[s] != "" {
			out = append(out, string(s)+">"+joined(whole[s]+last[s]))
		}
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), " ")
}

// Digits of digests.
const (
	initialDigits = 4
	wordDigits    = 12
)

func wordDigest(s string, digits int) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])[:digits]
}

// wordList are the words of one part of a name in one script.
type wordList struct {
	words []string // digest of the first letter, and that of the word or nothing
	whole string   // digest of all of them as one word
	full  string   // of a family name: digest of it and the given name as one word
}

// unspell reads what spell wrote. Anything else, as a digest of before, says
// nothing.
func unspell(s string) map[script]wordList {
	var out map[script]wordList
	for d := range strings.FieldsSeq(s) {
		if d[0] < 'A' || d[0] > 'Z' {
			continue
		}
		if out == nil {
			out = map[script]wordList{}
		}
		l, rest := out[script(d[0])], d[1:]
		if whole, ok := strings.CutPrefix(rest, "="); ok {
			l.whole = whole
		} else if full, ok := strings.CutPrefix(rest, ">"); ok {
			l.full = full
		} else if len(rest) == initialDigits || len(rest) == initialDigits+wordDigits {
			l.words = append(l.words, rest)
			if l.whole == "" && len(rest) > initialDigits {
				l.whole = rest[initialDigits:]
			}
		}
		out[script(d[0])] = l
	}
	return out
}

// fullName is a name in one script.
type fullName struct{ family, given wordList }

// likeness of two names.
type likeness int

const (
	mayBeSame   likeness = iota
	sameName             // family and given name of both
	otherFamily          // but the given name is the same
	otherName
)

// compare says how alike two names in one script are.
func (a fullName) compare(b fullName) likeness {
	families := len(a.family.words) > 0 && len(b.family.words) > 0
	givens := len(a.given.words) > 0 && len(b.given.words) > 0
	switch {
	case families && givens && a.family.agrees(b.family) && a.given.agrees(b.given):
		return sameName
	case within(a.words(), b.words()) || within(b.words(), a.words()) || a.full() != "" && a.full() == b.full():
		return mayBeSame // the order was another, or one part says all
	case families && givens && a.given.agrees(b.given):
		return otherFamily
	}
	return otherName
}

// full is the name as one word, "" where it is an initial.
func (a fullName) full() string { return cmp.Or(a.family.full, a.family.whole, a.given.whole) }

func (a fullName) words() []string { return slices.Concat(a.family.words, a.given.words) }

// agrees reports whether two lists may be of one name: one has no word that the
// other has not, or they are the same but for spaces.
func (a wordList) agrees(b wordList) bool {
	return a.whole != "" && a.whole == b.whole || within(a.words, b.words) || within(b.words, a.words)
}

// within reports whether each word of a is one of b, itself or as an initial.
func within(a, b []string) bool {
	if len(a) > len(b) {
		return false
	}
	b = slices.Clone(b)
	take := func(w string, like func(string) bool) bool {
		i := slices.IndexFunc(b, like)
		if i >= 0 {
			b = slices.Delete(b, i, i+1)
		}
		return i >= 0
	}
	var left []string
	for _, w := range a {
		if !take(w, func(v string) bool { return v == w }) {
			left = append(left, w)
		}
	}
	for _, w := range left {
		initial := w[:initialDigits]
		if !take(w, func(v string) bool {
			return v[:initialDigits] == initial && (len(v) == initialDigits || len(w) == initialDigits)
		}) {
			return false
		}
	}
	return true
}
