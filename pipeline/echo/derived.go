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
	code := func(item *dicomio.DataSet, seq tag.Tag, code string) bool {
		return slices.ContainsFunc(item.Items(seq), func(c *dicomio.DataSet) bool {
			return strings.TrimSpace(c.String(tag.CodeValue)) == code && strings.TrimSpace(c.String(tag.CodingSchemeDesignator)) == "DCM"
		})
	}
	for _, item := range append(ds.Items(tag.SourceImageSequence), ds.Items(tag.ReferencedImageSequence)...) {
		if item.String(tag.ReferencedSOPInstanceUID) != "" && !code(item, tag.PurposeOfReferenceCodeSequence, predecessor) {
			return true
		}
	}
	for _, item := range ds.Items(tag.DerivationCodeSequence) {
		if c := strings.TrimSpace(item.String(tag.CodeValue)); c != "" && c != lossyCompression {
			return true
		}
	}
	if d := strings.TrimSpace(ds.String(tag.DerivationDescription)); d != "" && !compression.MatchString(d) {
		return true
	}
	return slices.ContainsFunc(ds.Items(tag.ContributingEquipmentSequence), func(item *dicomio.DataSet) bool {
		return code(item, tag.PurposeOfReferenceCodeSequence, processing)
	})
}
