package dicomio

import "strings"

// FamilyName is the family name of a person name (PN, PS3.5 section 6.2.1.1) in
// upper case, for comparing: of the first component group that is not empty,
// so of the alphabetic one where there is one. It is empty when the name is.
func FamilyName(pn string) string {
	for group := range strings.SplitSeq(pn, "=") {
		family, _, _ := strings.Cut(group, "^")
		if family = strings.ToUpper(strings.TrimSpace(family)); family != "" {
			return family
		}
	}
	return ""
}
