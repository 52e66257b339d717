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
	// Family begins with Form, by which a Person of an older program is known.
	// Then come the words of the family name, see spell.
	Family string `json:"family,omitempty"`
	Given  string `json:"given,omitempty"` // words of given and middle names
	Born   string `json:"born,omitempty"`  // of the birth date
	Sex    string `json:"sex,omitempty"`   // M or F
}

// Form is that of the fields of a Person in this version.
const Form = "v2"

// PersonOf is who an object says it is of: Patient ID, its issuer, name (PN),
// birth date (DA) and sex (CS). Without a Patient ID, name and birth date stand
// for it. What cannot be a value of a person counts as not given: half a birth
// date, a sex other than M and F, characters that were lost.
func PersonOf(id, issuer, name, born, sex string) Person {
	family, given, counts := names(name)
	p := Person{ID: personDigest(id), Issuer: personDigest(issuer), Family: strings.TrimSpace(spell(family, given...) + spellCounts(counts)), Given: spell(given)}
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
		p.ID = p.standIn()
	}
	p.Family = strings.TrimSpace(Form + " " + p.Family)
	return p
}

// standIn is what stands for a Patient ID that is not given.
func (p Person) standIn() string {
	return personDigest(strings.TrimSpace(strings.TrimPrefix(p.Family, Form)) + "^" + p.Given + "^" + p.Born)
}

// WithoutID reports whether the person's ID stands for a Patient ID that is not
// given.
func (p Person) WithoutID() bool { return p.ID != "" && p.Current() && p.ID == p.standIn() }

// IDOnly is the person of an object of which nothing else is known.
func (p Person) IDOnly() Person { return Person{ID: p.ID, Issuer: p.Issuer, Family: Form} }

// Current reports whether the fields of a person are of this version's form, not
// those of a program of before.
func (p Person) Current() bool { return p.Family == Form || strings.HasPrefix(p.Family, Form+" ") }

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
// anything that both say contradicts: the Patient ID or its issuer; the birth
// date; the sex, M against F; a number behind the name, or JR and SR; or the
// words of family and given names. Case, accents and umlauts, titles, hyphens,
// spaces and doubled letters don't count; names may be left out, shortened to an
// initial, or in another order where they share a whole one; and of a name in
// several scripts one that both have counts. A family name alone may have
// changed, by marriage or by a correction, if a given name is the same, which
// BABY, TWIN, numbers and initials are not, and so is the birth date, which the
// first of January is not.
//
// Where neither has a Patient ID the name has to say who it is: both give a
// family name that names somebody and a given name, and those agree. The same
// name with and without a middle name or a birth date is one patient then, and a
// changed family name, or an object that names nobody, another.
//
// What one of them does not say contradicts nothing. So an ID that several
// persons share ("0", "UNKNOWN", that of a mother for her newborns) mixes none
// of whom more is known, and a typing error in a given name or a birth date
// holds a study back until somebody has looked. Of a person that a program of
// before has recorded ID and issuer are all that counts.
func Patients(persons []Person) int {
	groups, left := patients(persons)
	return len(groups) + min(left, 1)
}

// maxCompared bounds the work: of persons beyond so many pairs it is not said
// which patient they are.
const maxCompared = 100_000

// patients puts persons together that contradict none of each other, those of
// whom most is known first, and says how many are left.
func patients(all []Person) (groups [][]person, left int) {
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b Person) int {
		return cmp.Or(cmp.Compare(b.known(), a.known()), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Issuer, b.Issuer), cmp.Compare(a.Family, b.Family),
			cmp.Compare(a.Given, b.Given), cmp.Compare(a.Born, b.Born), cmp.Compare(a.Sex, b.Sex))
	})
	all = slices.Compact(all)
	compared := 0
	byID := map[string][]int{} // groups
next:
	for i, one := range all {
		p := parse(one)
		for _, g := range byID[p.id()] {
			if compared += len(groups[g]); compared > maxCompared {
				return groups, len(all) - i
			}
			if !p.contradictsAny(groups[g]) {
				groups[g] = append(groups[g], p)
				continue next
			}
		}
		byID[p.id()] = append(byID[p.id()], len(groups))
		groups = append(groups, []person{p})
	}
	return groups, 0
}

// known is how much a person says.
func (p Person) known() (n int) {
	for _, s := range []string{p.Issuer, strings.TrimPrefix(p.Family, Form), p.Given, p.Born, p.Sex} {
		if s != "" {
			n++
		}
	}
	return n
}

// Apart gives each person the number of its patient, from 0. One who may be
// several of the others is put with none of them.
func Apart(persons []Person) []int {
	groups, _ := patients(persons)
	numbers := map[Person]int{}
	byID := map[string][]int{}
	for i, g := range groups {
		byID[g[0].id()] = append(byID[g[0].id()], i)
		for _, p := range g {
			numbers[p.Person] = i
		}
	}
	n, compared := len(groups), 0
	for i, g := range groups {
		for _, p := range g {
			if slices.ContainsFunc(byID[p.id()], func(j int) bool {
				if i != j {
					compared += len(groups[j])
				}
				return i != j && (compared > maxCompared || !p.contradictsAny(groups[j]))
			}) {
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
			k = n // beyond maxCompared
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
	noID bool // its ID is a standIn
}

// id is what persons have in common that may be one.
func (p person) id() string {
	if p.noID {
		return "-" // no digest
	}
	return p.ID
}

func parse(p Person) person {
	out := person{Person: p, name: map[script]fullName{}}
	if !p.Current() {
		return out
	}
	out.noID = p.WithoutID()
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
	if p.id() != q.id() || differ(p.Issuer, q.Issuer) {
		return true
	}
	if !p.Current() || !q.Current() {
		return false
	}
	if differ(p.Born, q.Born) || differ(p.Sex, q.Sex) {
		return true
	}
	sameDay := p.Born != "" && p.Born == q.Born && !strings.HasSuffix(p.Born, guessed)
	own, transcribed := false, false // a contradiction between names as their owners write them, and as others do
	same := false                    // the full name, as its owner writes it
	named := p.ID == q.ID            // a full name of somebody, in any script, or a Patient ID
	for s, a := range p.name {
		b, ok := q.name[s]
		if !ok {
			continue
		}
		is := a.compare(b)
		if is == otherFamily && sameDay && !p.noID {
			is = mayBeSame
		}
		named = named || is == sameName && common(a.family.names, b.family.names)
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
	return own || transcribed && !same || !named
}
