// Package uid names the unique identifiers of DICOM (PS3.6 annex A), says what
// is a UID, and what a transfer syntax and a SOP class are. Its table is
// generated.
package uid

import (
	"slices"
	"strings"
)

//go:generate go run ../internal/dictionary

// Identification of this implementation in associations (PS3.7 D.3.3.2) and in
// file meta information (PS3.10 7.1).
const (
	ImplementationClass       = "2.25.138711527111267688378671273509010527546"
	ImplementationVersionName = "ECHONODE"
)

// Kind says what a UID of the standard identifies.
type Kind int

// Kinds of UIDs (PS3.6 table A-1).
const (
	SOPClass Kind = iota + 1
	MetaSOPClass
	TransferSyntax
	SOPInstance
	ServiceClass
	ApplicationContext
	HostingModel
	CodingScheme
	UIDScheme
	MappingResource
	FrameOfReference
)

// Entry is a UID of the standard.
type Entry struct {
	UID     string
	Kind    Kind
	Keyword string
	Name    string
}

// Lookup finds a UID of the standard.
func Lookup(uid string) (Entry, bool) {
	i, ok := slices.BinarySearchFunc(entries[:], uid, func(e Entry, uid string) int { return strings.Compare(e.UID, uid) })
	if !ok {
		return Entry{}, false
	}
	return entries[i], true
}

// Name is the standard's name of a UID without "SOP Class", or the UID itself.
func Name(uid string) string {
	e, ok := Lookup(uid)
	if !ok {
		return uid
	}
	return strings.Replace(e.Name, " SOP Class", "", 1)
}

// Longest is the most characters that a UID may have (PS3.5 9.1).
const Longest = 64

// Valid reports whether s is 1 to 64 characters of digits and single dots,
// neither first nor last. Leading zeros of a component, which PS3.5 9.1
// forbids, are tolerated because devices in the field send them, and an object
// can only be referred to by the UID that it has; see Conforms.
func Valid(s string) bool {
	if s == "" || len(s) > Longest {
		return false
	}
	dot := true // a dot may not stand here
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			dot = false
		case c == '.' && !dot:
			dot = true
		default:
			return false
		}
	}
	return !dot
}

// Conforms reports whether s is a UID to the letter of PS3.5 9.1: Valid, and no
// component of several digits begins with a zero.
func Conforms(s string) bool {
	if !Valid(s) {
		return false
	}
	for c := range strings.SplitSeq(s, ".") {
		if len(c) > 1 && c[0] == '0' {
			return false
		}
	}
	return true
}

// Trim cuts the padding that PS3.5 (NUL) and careless peers (spaces) put behind
// a UID.
func Trim(b []byte) string { return strings.TrimRight(string(b), "\x00 ") }

const (
	standardRoot = "1.2.840.10008."
	storageRoot  = "1.2.840.10008.5.1.4.1.1." // of the storage classes of PS3.4 annex B
)

// StorageClass reports whether a SOP class can be one of objects: a storage
// class of the standard, or private and thus unknown.
func StorageClass(uid string) bool {
	return Valid(uid) && (strings.HasPrefix(uid, storageRoot) || !strings.HasPrefix(uid, standardRoot))
}

// noImages are the storage classes, and with a dot at the end the groups of
// classes, of objects that are no images: reports, presentation states,
// waveforms, documents, registrations, segmentations and plans.
var noImages = []string{
	storageRoot + "88.", storageRoot + "11.", storageRoot + "9.", storageRoot + "104.",
	RawDataStorage, storageRoot + "66.", RealWorldValueMappingStorage, storageRoot + "68.",
	MacularGridThicknessAndVolumeReportStorage, OphthalmicVisualFieldStaticPerimetryMeasurementsStorage, ContentAssessmentResultsStorage, storageRoot + "481.",
}

// NoImage reports whether a storage class of the standard is one of objects
// that are no images. Of classes that are not known it says false.
func NoImage(class string) bool {
	return slices.ContainsFunc(noImages, func(c string) bool {
		return class == c || strings.HasSuffix(c, ".") && strings.HasPrefix(class, c)
	})
}
