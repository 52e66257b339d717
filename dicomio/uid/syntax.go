package uid

import "iter"

// Syntax describes how a data set and its pixels are encoded (PS3.5 annex A).
type Syntax struct {
	UID          string
	Name         string
	Implicit     bool // implicit VR
	BigEndian    bool
	Deflated     bool // the whole data set is deflated
	Encapsulated bool // pixel data are in fragments
	Lossy        bool // the compression may lose information
	Video        bool // one stream holds all frames
}

// syntaxes is what the standard says of the transfer syntaxes of objects that
// are whole in themselves. Those that leave the pixels elsewhere (JPIP), carry
// no data set (MIME, XML) or none that is stored (SMPTE ST 2110) are left out.
var syntaxes = [...]Syntax{
	{UID: ExplicitVRLittleEndian},
	{UID: ImplicitVRLittleEndian, Implicit: true},
	{UID: DeflatedExplicitVRLittleEndian, Deflated: true},
	{UID: ExplicitVRBigEndian, BigEndian: true},
	{UID: EncapsulatedUncompressedExplicitVRLittleEndian, Encapsulated: true},
	{UID: JPEGBaseline8Bit, Encapsulated: true, Lossy: true},
	{UID: JPEGExtended12Bit, Encapsulated: true, Lossy: true},
	{UID: JPEGSpectralSelectionNonHierarchical68, Encapsulated: true, Lossy: true},
	{UID: JPEGFullProgressionNonHierarchical1012, Encapsulated: true, Lossy: true},
	{UID: JPEGLossless, Encapsulated: true},
	{UID: JPEGLosslessSV1, Encapsulated: true},
	{UID: JPEGLSLossless, Encapsulated: true},
	{UID: JPEGLSNearLossless, Encapsulated: true, Lossy: true},
	{UID: JPEG2000Lossless, Encapsulated: true},
	{UID: JPEG2000, Encapsulated: true, Lossy: true},
	{UID: JPEG2000MCLossless, Encapsulated: true},
	{UID: JPEG2000MC, Encapsulated: true, Lossy: true},
	{UID: MPEG2MPML, Encapsulated: true, Lossy: true, Video: true},
	{UID: MPEG2MPMLF, Encapsulated: true, Lossy: true, Video: true},
	{UID: MPEG2MPHL, Encapsulated: true, Lossy: true, Video: true},
	{UID: MPEG2MPHLF, Encapsulated: true, Lossy: true, Video: true},
	{UID: MPEG4HP41, Encapsulated: true, Lossy: true, Video: true},
	{UID: MPEG4HP41F, Encapsulated: true, Lossy: true, Video: true},
	{UID: MPEG4HP41BD, Encapsulated: true, Lossy: true, Video: true},
	{UID: MPEG4HP41BDF, Encapsulated: true, Lossy: true, Video: true},
	{UID: MPEG4HP422D, Encapsulated: true, Lossy: true, Video: true},
	{UID: MPEG4HP422DF, Encapsulated: true, Lossy: true, Video: true},
	{UID: MPEG4HP423D, Encapsulated: true, Lossy: true, Video: true},
	{UID: MPEG4HP423DF, Encapsulated: true, Lossy: true, Video: true},
	{UID: MPEG4HP42STEREO, Encapsulated: true, Lossy: true, Video: true},
	{UID: MPEG4HP42STEREOF, Encapsulated: true, Lossy: true, Video: true},
	{UID: HEVCMP51, Encapsulated: true, Lossy: true, Video: true},
	{UID: HEVCM10P51, Encapsulated: true, Lossy: true, Video: true},
	{UID: JPEGXLLossless, Encapsulated: true},
	{UID: JPEGXLJPEGRecompression, Encapsulated: true, Lossy: true},
	{UID: JPEGXL, Encapsulated: true, Lossy: true},
	{UID: HTJ2KLossless, Encapsulated: true},
	{UID: HTJ2KLosslessRPCL, Encapsulated: true},
	{UID: HTJ2K, Encapsulated: true, Lossy: true},
	{UID: RLELossless, Encapsulated: true},
	{UID: DeflatedImageFrameCompression, Encapsulated: true},
}

// LookupSyntax finds a transfer syntax by UID. The second result is false when
// it is none of Syntaxes.
func LookupSyntax(uid string) (Syntax, bool) {
	for i := range syntaxes {
		if syntaxes[i].UID == uid {
			return syntaxes[i].named(), true
		}
	}
	return Syntax{}, false
}

// Syntaxes iterates over the transfer syntaxes that put a whole object on the
// wire, from uncompressed to RLE.
func Syntaxes() iter.Seq[Syntax] {
	return func(yield func(Syntax) bool) {
		for _, s := range syntaxes {
			if !yield(s.named()) {
				return
			}
		}
	}
}

func (s Syntax) named() Syntax {
	s.Name = Name(s.UID)
	return s
}
