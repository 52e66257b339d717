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

// counted stands in the place of a script for what tells those apart who share a
// name: JR and SR, the number of a twin.
const counted script = 'N'

// maxWords bounds the words of a name that count.
const maxWords = 8

// word is one of a name, as it is compared.
type word struct {
	text string
	// noName: it stands for a name that is not known, or is a number.
	noName bool
}

// names takes a person name (PN, PS3.5 section 6.2.1.1) apart: the words of the
// family name and those of given and middle names, of all its groups, and what
// counts those who share them. The prefix doesn't count.
func names(pn string) (family, given []word, counts []string) {
	for group := range strings.SplitSeq(pn, "=") {
		parts := strings.SplitN(group, "^", 6)
		for i, p := range parts[:min(len(parts), 5)] {
			if i == 3 {
				continue
			}
			all := letterwise(p)
			c, rest := counter(all, i)
			if c != "" {
				counts = append(counts, c)
			}
			switch i {
			case 0:
				family = append(family, words(rest)...)
			case 1, 2:
				given = append(given, words(rest)...)
			}
		}
	}
	return family[:min(len(family), maxWords)], given[:min(len(given), maxWords)], counts[:min(len(counts), maxWords)]
}

// counter is what the words of part i of a name end with that counts those who
// share the name, and the words without it, as far as it is none of the name: JR
// or SR, or a number, 1 as I too. A Roman number is one behind a family name,
// in the suffix and where no given name is known; else it may be an initial.
func counter(all []string, i int) (counts string, rest []string) {
	name := slices.DeleteFunc(slices.Clone(all), func(w string) bool { return slices.Contains(titles, w) })
	suffix, n := i == 4, len(name)
	if n == 0 || n == 1 && i == 0 {
		return "", all
	}
	last, before := name[n-1], name[:n-1]
	roman, digits := romans[last], strings.Trim(last, "0123456789") == ""
	switch {
	case digits || suffix && roman == "" && utf8.RuneCountInString(last) == 1:
		return last, all // that of a twin may be all that is known of its name
	case generations[last] != "" && (n > 1 || suffix):
		return generations[last], before
	case roman != "" && (i == 0 || suffix):
		return roman, before
	case roman != "" && (len(last) > 1 && roman < "5" || n > 1 && unnamed(name[n-2])):
		return roman, append(before, roman)
	}
	return "", all
}

// words are those of a part of a name, as they are compared: without umlauts,
// titles and doubled letters.
func words(all []string) (out []word) {
	name := slices.DeleteFunc(slices.Clone(all), func(w string) bool { return slices.Contains(titles, w) || w == "SR" && len(all) > 1 })
	if len(name) == 0 {
		name = all
	}
	for _, w := range name {
		out = append(out, word{undouble(umlauts.Replace(w)), unnamed(w)})
	}
	return out
}

// letterwise are the words of a text in the letters that are compared: without
// accents and what distinguishes upper and lower case, a number at the end of a
// word on its own. Words with characters that were lost on the way are left out.
func letterwise(s string) (out []string) {
	lost := func(r rune) bool { return r == '?' || r == '*' || r == unicode.ReplacementChar }
	mute := func(r rune) bool { return strings.ContainsRune("'`´‘’ʹʻʼʽ′＇", r) }
	inWord := func(r rune) bool {
		return unicode.In(r, unicode.L, unicode.N, unicode.M) || lost(r) || mute(r)
	}
	for _, w := range strings.FieldsFunc(s, func(r rune) bool { return !inWord(r) }) {
		if strings.ContainsFunc(w, lost) {
			continue
		}
		// What is mute goes first: some of it is decomposed into other signs.
		w = strings.Map(func(r rune) rune {
			if mute(r) {
				return -1
			}
			return r
		}, w)
		w = strings.ToUpper(letters.Replace(strings.ToLower(w)))
		w = strings.Map(func(r rune) rune {
			switch {
			case !unicode.In(r, unicode.L, unicode.N, unicode.Mc):
				return -1
			case r >= 'ァ' && r <= 'ヶ':
				return r - 'ァ' + 'ぁ'
			}
			return r
		}, norm.NFKD.String(w))
		if w == "" {
			continue
		}
		if name := strings.TrimRight(w, "0123456789"); name != w && len(name) > 1 && !strings.ContainsAny(name, "0123456789") {
			out = append(out, name)
			w = w[len(name):]
		}
		out = append(out, w)
	}
	return out
}

// letters that are no letter with an accent.
var letters = strings.NewReplacer("ß", "ss", "æ", "ae", "œ", "oe", "ø", "o", "đ", "d", "ð", "d", "þ", "th", "ł", "l", "ı", "i")

// umlauts as those write them who have none: Müller, Mueller and Muller are one.
var umlauts = strings.NewReplacer("AE", "A", "OE", "O", "UE", "U")

// titles say nothing of who it is.
var titles = []string{"DR", "PROF", "MED", "MR", "MRS", "MS", "MISS", "SIR", "HERR", "FRAU", "MME", "SIG", "SRA", "MD", "PHD"}

// generations behind a name.
var generations = map[string]string{"JR": "JR", "JUNIOR": "JR", "SR": "SR", "SENIOR": "SR"}

// romans are the numbers behind a name that are written in letters.
var romans = map[string]string{"I": "1", "II": "2", "III": "3", "IV": "4", "V": "5", "VI": "6"}

// unnamed reports whether a word stands where no name is known, as that of many
// newborns, or is an initial or a number.
func unnamed(w string) bool {
	r, size := utf8.DecodeRuneInString(w)
	if size == len(w) && scriptOf(r).abbreviates() || strings.Trim(w, "0123456789") == "" {
		return true
	}
	return slices.ContainsFunc(noNames, func(n string) bool { return w == n || len(n) > 4 && strings.HasPrefix(w, n) }) ||
		strings.HasPrefix(w, "BABY") || strings.HasPrefix(w, "TWIN")
}

// noNames are what is written for a name in their place, in the letters that are
// compared; with more behind it the longer ones too.
var noNames = []string{
	"BABY", "BABYBOY", "BABYGIRL", "BB", "BG", "BOY", "GIRL", "TWIN", "TRIPLET", "NEWBORN", "INFANT", "CHILD", "SON", "DAUGHTER", "MALE", "FEMALE",
	"FETUS", "FOETUS", "NEONATE", "UNKNOWN", "UNNAMED", "NONAME", "NN", "ANONYMOUS", "ANONYM", "ANON", "PATIENT", "TEST",
	"ZWILLING", "DRILLING", "NEUGEBORENES", "NEUGEBORENE", "NEUGEBORENER", "SAUGLING", "SAEUGLING", "KIND", "JUNGE", "KNABE", "MADCHEN", "MAEDCHEN", "SOHN",
	"TOCHTER", "UNBEKANNT",
	"BEBE", "GARCON", "FILLE", "FILS", "JUMEAU", "JUMELLE", "NOUVEAU", "NOUVEAUNE", "ENFANT", "INCONNU",
	"RN", "RECIEN", "NACIDO", "NACIDA", "HIJO", "HIJA", "GEMELO", "GEMELA", "MELLIZO", "MELLIZA", "DESCONOCIDO",
	"RECEM", "NASCIDO", "FILHO", "FILHA", "GEMEO", "GEMEA", "NEONATO", "NEONATA", "GEMELLO", "GEMELLA", "FIGLIO", "FIGLIA", "BIMBO", "BIMBA",
	"TWEELING", "JONGEN", "MEISJE", "PASGEBORENE", "BARN", "TVILLING", "NYFODD", "GUTT", "JENTE", "POJKE", "FLICKA", "POIKA", "TYTTO", "VAUVA", "KAKSONEN",
	"NOWORODEK", "BLIZNIAK", "SYN", "CORKA", "CHLOPIEC", "DZIEWCZYNKA", "BEBEK", "KIZ", "ERKEK", "IKIZ",
	"РЕБЕНОК", "НОВОРОЖДЕННЫИ", "НОВОРОЖДЕННАЯ", "МАЛЬЧИК", "ДЕВОЧКА", "БЛИЗНЕЦ", "СЫН", "ДОЧЬ", "НЕИЗВЕСТНО",
	"子", "女", "之子", "之女", "婴", "婴儿", "嬰兒", "新生儿", "新生兒", "新生児", "児", "へひー",
}

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
// initial, "-" where it names nobody. Where a script has several words, one more
// after "=" is of them without spaces; with a family name, one after ">" is of
// the full name.
func spell(words []word, given ...word) string {
	var out []string
	whole, last := map[script]string{}, map[script]string{}
	count := map[script]int{}
	for _, w := range words {
		r := []rune(w.text)
		s := scriptOf(r[0])
		d := string(s) + wordDigest(string(r[:1]), initialDigits)
		if len(r) > 1 || !s.abbreviates() || !unicode.IsLetter(r[0]) {
			d += wordDigest(w.text, wordDigits)
			if w.noName {
				d += "-"
			}
		}
		out = append(out, d)
		whole[s] += w.text
		count[s]++
	}
	for _, w := range given {
		s, _ := utf8.DecodeRuneInString(w.text)
		last[scriptOf(s)] += w.text
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

// spellCounts writes what counts those of one name, as spell does.
func spellCounts(counts []string) (out string) {
	slices.Sort(counts)
	for _, c := range slices.Compact(counts) {
		out += " " + string(counted) + wordDigest(c[:1], initialDigits) + wordDigest(c, wordDigits)
	}
	return out
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
	names []string // those that name somebody
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
		} else if rest, noName := strings.CutSuffix(rest, "-"); len(rest) == initialDigits || len(rest) == initialDigits+wordDigits {
			l.words = append(l.words, rest)
			if len(rest) > initialDigits {
				l.whole = cmp.Or(l.whole, rest[initialDigits:])
				if !noName {
					l.names = append(l.names, rest)
				}
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
	family, given := families && a.family.agrees(b.family), givens && a.given.agrees(b.given)
	switch {
	case family && given:
		return sameName
	case a.full() != "" && a.full() == b.full():
		return mayBeSame // one part says all, or the spaces are others
	case within(a.words(), b.words()) || within(b.words(), a.words()):
		// One says less, or the order was another: then initials alone say nothing.
		if (families || givens) && family == families && given == givens || common(a.names(), b.names()) {
			return mayBeSame
		}
	case given && (common(a.given.names, b.given.names) || len(a.given.names) > 0 && a.given.whole == b.given.whole):
		return otherFamily
	}
	return otherName
}

func common(a, b []string) bool {
	return slices.ContainsFunc(a, func(w string) bool { return slices.Contains(b, w) })
}

// full is the name as one word, "" where it is an initial.
func (a fullName) full() string { return cmp.Or(a.family.full, a.family.whole, a.given.whole) }

func (a fullName) words() []string { return slices.Concat(a.family.words, a.given.words) }

func (a fullName) names() []string { return slices.Concat(a.family.names, a.given.names) }

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
