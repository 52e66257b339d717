package result

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
)

// Person is what tells patients apart: digests of what an object says of its
// patient, empty where it says nothing. It does not hide a text from somebody
// who can guess it.
type Person struct {
	ID     string `json:"id,omitempty"`
	Issuer string `json:"issuer,omitempty"`
	Family string `json:"family,omitempty"` // words of the family name, see spell
	Given  string `json:"given,omitempty"`  // words of given and middle names
	Born   string `json:"born,omitempty"`   // of the birth date
	Sex    string `json:"sex,omitempty"`    // M or F
}

// PersonOf is who an object says it is of: Patient ID, its issuer, name (PN),
// birth date (DA) and sex (CS). Without a Patient ID, name and birth date stand
// for it. What cannot be a value of a person counts as not given: half a birth
// date, a sex other than M and F, characters that were lost.
func PersonOf(id, issuer, name, born, sex string) Person {
	family, given := names(name)
	p := Person{ID: personDigest(id), Issuer: personDigest(issuer), Family: spell(family, given...), Given: spell(given)}
	if day := date(born); day != "" {
		p.Born = personDigest(day)
		if strings.HasSuffix(day, "0101") {
			p.Born += guessed
		}
	}
	if s := strings.ToUpper(strings.TrimSpace(sex)); s != "" && (s[0] == 'M' || s[0] == 'F') {
		p.Sex = s[:1]
	}
	if p.ID == "" {
		p.ID = personDigest(p.Family + "^" + p.Given + "^" + p.Born)
	}
	return p
}

// Digest is a short name of the person, for file names and keys.
func (p Person) Digest() string {
	return personDigest(strings.Join([]string{p.ID, p.Issuer, p.Family, p.Given, p.Born, p.Sex}, "\x00"))[:8]
}

// guessed marks the first of January, which is typed where only the year of
// birth is known, or nothing: that two share it does not say that they are one.
const guessed = "~"

// date is a birth date as YYYYMMDD, "" where it is none. The separators of
// ACR-NEMA and of people are left out.
func date(s string) string {
	s = strings.NewReplacer(".", "", "-", "", "/", "").Replace(strings.TrimSpace(s))
	if len(s) != 8 || strings.Trim(s, "0123456789") != "" || s[4:6] < "01" || s[4:6] > "12" || s[6:] < "01" || s[6:] > "31" {
		return ""
	}
	return s
}

// personDigest tells texts apart without holding them; empty of an empty one.
func personDigest(s string) string {
	if strings.Trim(s, "^ ") == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:8])
}

// Patients counts the patients among persons. Two persons are two patients when
// anything that both say contradicts:
//
//   - the Patient ID, or its issuer;
//   - the birth date;
//   - the sex, M against F;
//   - the name, by its words: see contradicts. Case, accents and umlauts, order,
//     hyphens, titles, suffixes and doubled letters don't count, names may be
//     left out or shortened to an initial, and of a name in several scripts one
//     that both have counts. A family name alone may have changed, by marriage
//     or by a correction, if the birth date is the same and is not the first of
//     January.
//
// What one of them does not say contradicts nothing. So an ID that several
// persons share ("0", "UNKNOWN", that of a mother for her newborns) mixes none
// of whom more is known, and a typing error in a given name or a birth date
// holds a study back until somebody has looked.
func Patients(persons []Person) int {
	return len(patients(persons))
}

// maxPatients bounds the work: more are not told apart.
const maxPatients = 100

// patients puts persons together that contradict none of each other, those of
// whom most is known first.
func patients(all []Person) (groups [][]person) {
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b Person) int {
		return cmp.Or(cmp.Compare(b.known(), a.known()), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Issuer, b.Issuer), cmp.Compare(a.Family, b.Family),
			cmp.Compare(a.Given, b.Given), cmp.Compare(a.Born, b.Born), cmp.Compare(a.Sex, b.Sex))
	})
next:
	for _, one := range slices.Compact(all) {
		p := parse(one)
		for i, g := range groups {
			if !p.contradictsAny(g) {
				groups[i] = append(g, p)
				continue next
			}
		}
		if len(groups) == maxPatients {
			break
		}
		groups = append(groups, []person{p})
	}
	return groups
}

// known is how much a person says.
func (p Person) known() (n int) {
	for _, s := range []string{p.Issuer, p.Family, p.Given, p.Born, p.Sex} {
		if s != "" {
			n++
		}
	}
	return n
}

// Apart gives each person the number of its patient, from 0. One who may be
// several of the others is put with none of them.
func Apart(persons []Person) []int {
	groups := patients(persons)
	numbers := map[Person]int{}
	for i, g := range groups {
		for _, p := range g {
			numbers[p.Person] = i
		}
	}
	n := len(groups)
	for i, g := range groups {
		for _, p := range g {
			if slices.ContainsFunc(groups[:i], func(other []person) bool { return !p.contradictsAny(other) }) ||
				slices.ContainsFunc(groups[i+1:], func(other []person) bool { return !p.contradictsAny(other) }) {
				numbers[p.Person] = n
				n++
			}
		}
	}
	out := make([]int, len(persons))
	order := map[int]int{} // numbers in order of appearance, without gaps
	for i, p := range persons {
		k, ok := numbers[p]
		if !ok {
			k = n // beyond maxPatients
			numbers[p], n = n, n+1
		}
		if _, ok := order[k]; !ok {
			order[k] = len(order)
		}
		out[i] = order[k]
	}
	return out
}

// person is a Person whose name has been taken apart.
type person struct {
	Person
	name map[script]fullName
}

func parse(p Person) person {
	out := person{Person: p, name: map[script]fullName{}}
	for s, w := range unspell(p.Family) {
		out.name[s] = fullName{family: w}
	}
	for s, w := range unspell(p.Given) {
		n := out.name[s]
		n.given = w
		out.name[s] = n
	}
	return out
}

func (p person) contradictsAny(all []person) bool {
	return slices.ContainsFunc(all, func(q person) bool { return p.contradicts(q) })
}

// contradicts reports whether two persons cannot be one patient, see [Patients].
func (p person) contradicts(q person) bool {
	differ := func(a, b string) bool { return a != "" && b != "" && a != b }
	if p.ID != q.ID || differ(p.Issuer, q.Issuer) || differ(p.Born, q.Born) || differ(p.Sex, q.Sex) {
		return true
	}
	sameDay := p.Born != "" && p.Born == q.Born && !strings.HasSuffix(p.Born, guessed)
	own, transcribed := false, false // a contradiction between names as their owners write them, and as others do
	same := false                    // the full name, as its owner writes it
	for s, a := range p.name {
		b, ok := q.name[s]
		if !ok {
			continue
		}
		is := a.compare(b)
		if is == otherFamily && sameDay {
			is = mayBeSame
		}
		contradiction := is == otherName || is == otherFamily
		switch {
		case s.transcribes():
			transcribed = transcribed || contradiction
		case contradiction:
			own = true
		case is == sameName:
			same = true
		}
	}
	// Tarou and Taro may be one name. What its owner writes says which.
	return own || transcribed && !same
}
