package dicomio

import (
	"github.com/echonode/echonode/dicomio/tag"
)

// Tag identifies an attribute; package tag names the standard ones.
type Tag = tag.Tag

// Tags that reading and writing turn on.
const (
	tagItem     = tag.Item
	tagItemEnd  = tag.ItemDelimitationItem
	tagSeqEnd   = tag.SequenceDelimitationItem
	tagPixels   = tag.PixelData
	tagCharset  = tag.SpecificCharacterSet
	tagPixelRep = tag.PixelRepresentation
	tagSyntax   = tag.TransferSyntaxUID
	tagEOT      = tag.ExtendedOffsetTable
	tagEOTLens  = tag.ExtendedOffsetTableLengths
)

// known reports whether the dictionary has a tag. Group lengths count.
func known(t Tag) bool {
	if t.Element() == 0 {
		return t.Group() > 0 && !t.Private() && t.Group() <= 0x7FE0
	}
	_, ok := tag.Find(t)
	return ok
}
