package result

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// Person is what tells the patients of a study apart: digests of what an
// object says of its patient, empty where it says nothing.
type Person struct {
	ID     string `json:"id,omitempty"`
	Issuer string `json:"issuer,omitempty"`
	Family string `json:"family,omitempty"` // of the family name
	Born   string `json:"born,omitempty"`   // of the birth date
}

// PersonOf is who an object says it is of: Patient ID, its issuer, name (PN) and
// birth date (DA). Without a Patient ID, name and birth date stand for it.
func PersonOf(id, issuer, name, family, born string) Person {
	p := Person{ID: personDigest(id), Issuer: personDigest(issuer), Family: personDigest(family), Born: personDigest(born)}
	if p.ID == "" {
		p.ID = personDigest(name + "\x00" + born)
	}
	return p
}

// personDigest tells texts apart without holding them; empty of an empty one. It
// does not hide a text from somebody who can guess it.
func personDigest(s string) string {
	if strings.Trim(s, "\x00") == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:8])
}

// Patients counts the patients among persons. Persons are of one patient when
// their Patient ID is the same and their issuers, where both name one, are too.
// Family name or birth date alone may have been corrected; where both differ it
// is an ID that several share ("0", "UNKNOWN").
func Patients(persons []Person) int {
	byID := map[string][]Person{}
	for _, p := range persons {
		byID[p.ID] = append(byID[p.ID], p)
	}
	n := 0
	for _, same := range byID {
		issuers := map[string]bool{}
		for _, p := range same {
			if p.Issuer != "" {
				issuers[p.Issuer] = true
			}
		}
		patients := max(len(issuers), 1)
		if patients == 1 && shared(same) {
			patients = 2
		}
		n += patients
	}
	return n
}

// shared reports whether two persons differ in family name and birth date.
func shared(persons []Person) bool {
	type who struct{ family, born string }
	seen := map[who]bool{}
	for _, p := range persons {
		if p.Family != "" && p.Born != "" {
			seen[who{p.Family, p.Born}] = true
		}
	}
	for a := range seen {
		for b := range seen {
			if a.family != b.family && a.born != b.born {
				return true
			}
		}
	}
	return false
}
