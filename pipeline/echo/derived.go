package echo

import (
	"regexp"
	"slices"
	"strings"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
)

var secondaryCaptures = []string{
	uid.SecondaryCaptureImageStorage, uid.MultiFrameSingleBitSecondaryCaptureImageStorage,
	uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage, uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
	uid.MultiFrameTrueColorSecondaryCaptureImageStorage,
}

// Derived reports whether an object of a storage class, of an Image Type (PS3.3
// C.7.6.1.1.2), says that its pixels were derived from others and that it is no
// direct result of an examination. Frame grabbers and converters say so too: see
// [NamesSource].
func Derived(class string, imageType []string) bool {
	return slices.Contains(secondaryCaptures, class) && len(imageType) > 1 &&
		strings.TrimSpace(imageType[0]) == "DERIVED" && strings.TrimSpace(imageType[1]) == "SECONDARY"
}

// FromOthers reports whether an Image Type says of any image that its pixels were
// derived from others. Modalities say so of loops that they compress: see [Sources].
func FromOthers(imageType []string) bool {
	return len(imageType) > 0 && strings.TrimSpace(imageType[0]) == "DERIVED"
}

// Codes of PS3.16, of Coding Scheme Designator DCM.
const (
	lossyCompression = "113040" // CID 7203
	predecessor      = "121320" // CID 7202: uncompressed predecessor
	processing       = "109102" // CID 7005: processing equipment
)

// A copy that is compressed holds the picture that was acquired.
var compression = regexp.MustCompile(`(?i)compress`)

// NamesSource reports whether a derived object says what it was made from or how:
// by Source or Referenced Image Sequence, Derivation Code Sequence or Description
// (PS3.3 C.7.6.1), or by the processing equipment in its Contributing Equipment
// Sequence (C.12.1). That it was compressed does not count, nor which scanner or
// archive it came by.
func NamesSource(ds *dicomio.DataSet) bool {
	if len(Sources(ds)) > 0 || len(images(ds, tag.ReferencedImageSequence)) > 0 {
		return true
	}
	for _, item := range ds.Items(tag.DerivationCodeSequence) {
		if c := strings.TrimSpace(item.String(tag.CodeValue)); c != "" && c != lossyCompression {
			return true
		}
	}
	if d := strings.TrimSpace(ds.String(tag.DerivationDescription)); d != "" && !compression.MatchString(d) {
		return true
	}
	return Processed(ds)
}

// Reworked reports whether an object, of an Image Type, says that a program made it
// or names what it was derived from, and not that it is only compressed: what made it may have drawn into the
// picture or cut it.
func Reworked(ds *dicomio.DataSet, imageType []string) bool {
	return FromOthers(imageType) && (Processed(ds) || len(Sources(ds)) > 0 && !compressed(ds))
}

// compressed reports whether all that is told of a derivation is a compression.
func compressed(ds *dicomio.DataSet) bool {
	told := false
	for _, item := range ds.Items(tag.DerivationCodeSequence) {
		if c := strings.TrimSpace(item.String(tag.CodeValue)); c != lossyCompression {
			return false
		}
		told = true
	}
	d := strings.TrimSpace(ds.String(tag.DerivationDescription))
	return (told || d != "") && (d == "" || compression.MatchString(d))
}

// Sources are the SOP Instance UIDs of the images from which an object says that it
// was derived: by its Source Image Sequence (PS3.3 C.7.6.1), but for what it is a
// compressed copy of: each once, and no more than some dozens.
func Sources(ds *dicomio.DataSet) []string { return images(ds, tag.SourceImageSequence) }

// maxSources bounds what an object may name.
const maxSources = 64

// Processed reports whether an object names processing equipment among what
// contributed to it.
func Processed(ds *dicomio.DataSet) bool {
	return slices.ContainsFunc(ds.Items(tag.ContributingEquipmentSequence), func(item *dicomio.DataSet) bool { return purpose(item, processing) })
}

// images are those that a sequence refers to.
func images(ds *dicomio.DataSet, sequence tag.Tag) (uids []string) {
	for _, item := range ds.Items(sequence) {
		if len(uids) == maxSources {
			break
		}
		if uid := strings.TrimSpace(item.String(tag.ReferencedSOPInstanceUID)); uid != "" && !slices.Contains(uids, uid) && !purpose(item, predecessor) {
			uids = append(uids, uid)
		}
	}
	return uids
}

// purpose reports whether an item's Purpose of Reference is a code of DCM.
func purpose(item *dicomio.DataSet, code string) bool {
	return slices.ContainsFunc(item.Items(tag.PurposeOfReferenceCodeSequence), func(c *dicomio.DataSet) bool {
		return strings.TrimSpace(c.String(tag.CodeValue)) == code && strings.TrimSpace(c.String(tag.CodingSchemeDesignator)) == "DCM"
	})
}
