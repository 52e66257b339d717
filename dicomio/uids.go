package dicomio

// Implementation identification written into file meta information.
const (
	ImplementationClassUID    = "2.25.138711527111267688378671273509010527546"
	ImplementationVersionName = "ECHONODE"
)

// SOP classes (PS3.4 annex B.5) that EchoNode receives or makes.
const (
	SOPVerification                  = "1.2.840.10008.1.1"
	SOPUltrasoundMultiframe          = "1.2.840.10008.5.1.4.1.1.3.1"
	SOPUltrasoundMultiframeRetired   = "1.2.840.10008.5.1.4.1.1.3"
	SOPUltrasound                    = "1.2.840.10008.5.1.4.1.1.6.1"
	SOPUltrasoundRetired             = "1.2.840.10008.5.1.4.1.1.6"
	SOPEnhancedUSVolume              = "1.2.840.10008.5.1.4.1.1.6.2"
	SOPSecondaryCapture              = "1.2.840.10008.5.1.4.1.1.7"
	SOPMultiframeSingleBitSC         = "1.2.840.10008.5.1.4.1.1.7.1"
	SOPMultiframeGrayscaleByteSC     = "1.2.840.10008.5.1.4.1.1.7.2"
	SOPMultiframeGrayscaleWordSC     = "1.2.840.10008.5.1.4.1.1.7.3"
	SOPMultiframeTrueColorSC         = "1.2.840.10008.5.1.4.1.1.7.4"
	SOPBasicTextSR                   = "1.2.840.10008.5.1.4.1.1.88.11"
	SOPEnhancedSR                    = "1.2.840.10008.5.1.4.1.1.88.22"
	SOPComprehensiveSR               = "1.2.840.10008.5.1.4.1.1.88.33"
	SOPComprehensive3DSR             = "1.2.840.10008.5.1.4.1.1.88.34"
	SOPExtensibleSR                  = "1.2.840.10008.5.1.4.1.1.88.35"
	SOPSimplifiedAdultEchoSR         = "1.2.840.10008.5.1.4.1.1.88.72"
	SOPKeyObjectSelection            = "1.2.840.10008.5.1.4.1.1.88.59"
	SOPSegmentation                  = "1.2.840.10008.5.1.4.1.1.66.4"
	SOPLabelMapSegmentation          = "1.2.840.10008.5.1.4.1.1.66.7"
	SOPGrayscaleSoftcopyPresentation = "1.2.840.10008.5.1.4.1.1.11.1"
	SOPColorSoftcopyPresentation     = "1.2.840.10008.5.1.4.1.1.11.2"
	SOPEncapsulatedPDF               = "1.2.840.10008.5.1.4.1.1.104.1"
	SOPStorageCommitmentPushModel    = "1.2.840.10008.1.20.1"
	SOPMediaStorageDirectory         = "1.2.840.10008.1.3.10"
)

// Transfer syntaxes (PS3.6 annex A).
const (
	ImplicitVRLittleEndian         = "1.2.840.10008.1.2"
	ExplicitVRLittleEndian         = "1.2.840.10008.1.2.1"
	EncapsulatedUncompressed       = "1.2.840.10008.1.2.1.98"
	DeflatedExplicitVRLittleEndian = "1.2.840.10008.1.2.1.99"
	ExplicitVRBigEndian            = "1.2.840.10008.1.2.2"
	JPEGBaseline                   = "1.2.840.10008.1.2.4.50"
	JPEGExtended                   = "1.2.840.10008.1.2.4.51"
	JPEGProgressive                = "1.2.840.10008.1.2.4.55"
	JPEGLossless                   = "1.2.840.10008.1.2.4.57"
	JPEGLosslessSV1                = "1.2.840.10008.1.2.4.70"
	JPEGLSLossless                 = "1.2.840.10008.1.2.4.80"
	JPEGLSNearLossless             = "1.2.840.10008.1.2.4.81"
	JPEG2000Lossless               = "1.2.840.10008.1.2.4.90"
	JPEG2000                       = "1.2.840.10008.1.2.4.91"
	JPEG2000MCLossless             = "1.2.840.10008.1.2.4.92"
	JPEG2000MC                     = "1.2.840.10008.1.2.4.93"
	MPEG2MainML                    = "1.2.840.10008.1.2.4.100"
	MPEG2MainMLF                   = "1.2.840.10008.1.2.4.100.1"
	MPEG2MainHL                    = "1.2.840.10008.1.2.4.101"
	MPEG2MainHLF                   = "1.2.840.10008.1.2.4.101.1"
	H264High41                     = "1.2.840.10008.1.2.4.102"
	H264High41F                    = "1.2.840.10008.1.2.4.102.1"
	H264High41BD                   = "1.2.840.10008.1.2.4.103"
	H264High41BDF                  = "1.2.840.10008.1.2.4.103.1"
	H264High422D                   = "1.2.840.10008.1.2.4.104"
	H264High422DF                  = "1.2.840.10008.1.2.4.104.1"
	H264High423D                   = "1.2.840.10008.1.2.4.105"
	H264High423DF                  = "1.2.840.10008.1.2.4.105.1"
	H264Stereo                     = "1.2.840.10008.1.2.4.106"
	H264StereoF                    = "1.2.840.10008.1.2.4.106.1"
	HEVCMain                       = "1.2.840.10008.1.2.4.107"
	HEVCMain10                     = "1.2.840.10008.1.2.4.108"
	HTJ2KLossless                  = "1.2.840.10008.1.2.4.201"
	HTJ2KLosslessRPCL              = "1.2.840.10008.1.2.4.202"
	HTJ2K                          = "1.2.840.10008.1.2.4.203"
	RLELossless                    = "1.2.840.10008.1.2.5"
	DeflatedImageFrame             = "1.2.840.10008.1.2.8.1"
)

// TransferSyntax describes how a data set and its pixels are encoded.
type TransferSyntax struct {
	UID          string
	Name         string
	Implicit     bool // implicit VR
	BigEndian    bool
	Deflated     bool // the whole data set is deflated
	Encapsulated bool // pixel data are in fragments
	Lossy        bool // the compression may lose information
	Video        bool // one stream holds all frames
}

// transferSyntaxes is the table behind LookupTransferSyntax.
var transferSyntaxes = []TransferSyntax{
	{UID: ImplicitVRLittleEndian, Name: "Implicit VR Little Endian", Implicit: true},
	{UID: ExplicitVRLittleEndian, Name: "Explicit VR Little Endian"},
	{UID: EncapsulatedUncompressed, Name: "Encapsulated Uncompressed Explicit VR Little Endian", Encapsulated: true},
	{UID: DeflatedExplicitVRLittleEndian, Name: "Deflated Explicit VR Little Endian", Deflated: true},
	{UID: ExplicitVRBigEndian, Name: "Explicit VR Big Endian (Retired)", BigEndian: true},
	{UID: JPEGBaseline, Name: "JPEG Baseline (Process 1)", Encapsulated: true, Lossy: true},
	{UID: JPEGExtended, Name: "JPEG Extended (Process 2 & 4)", Encapsulated: true, Lossy: true},
	{UID: JPEGProgressive, Name: "JPEG Full Progression, Non-Hierarchical (Process 10 & 12) (Retired)", Encapsulated: true, Lossy: true},
	{UID: JPEGLossless, Name: "JPEG Lossless, Non-Hierarchical (Process 14)", Encapsulated: true},
	{UID: JPEGLosslessSV1, Name: "JPEG Lossless, Non-Hierarchical, First-Order Prediction", Encapsulated: true},
	{UID: JPEGLSLossless, Name: "JPEG-LS Lossless", Encapsulated: true},
	{UID: JPEGLSNearLossless, Name: "JPEG-LS Lossy (Near-Lossless)", Encapsulated: true, Lossy: true},
	{UID: JPEG2000Lossless, Name: "JPEG 2000 (Lossless Only)", Encapsulated: true},
	{UID: JPEG2000, Name: "JPEG 2000", Encapsulated: true, Lossy: true},
	{UID: JPEG2000MCLossless, Name: "JPEG 2000 Part 2 Multi-component (Lossless Only)", Encapsulated: true},
	{UID: JPEG2000MC, Name: "JPEG 2000 Part 2 Multi-component", Encapsulated: true, Lossy: true},
	{UID: MPEG2MainML, Name: "MPEG2 Main Profile / Main Level", Encapsulated: true, Lossy: true, Video: true},
	{UID: MPEG2MainMLF, Name: "Fragmentable MPEG2 Main Profile / Main Level", Encapsulated: true, Lossy: true, Video: true},
	{UID: MPEG2MainHL, Name: "MPEG2 Main Profile / High Level", Encapsulated: true, Lossy: true, Video: true},
	{UID: MPEG2MainHLF, Name: "Fragmentable MPEG2 Main Profile / High Level", Encapsulated: true, Lossy: true, Video: true},
	{UID: H264High41, Name: "MPEG-4 AVC/H.264 High Profile / Level 4.1", Encapsulated: true, Lossy: true, Video: true},
	{UID: H264High41F, Name: "Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.1", Encapsulated: true, Lossy: true, Video: true},
	{UID: H264High41BD, Name: "MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1", Encapsulated: true, Lossy: true, Video: true},
	{UID: H264High41BDF, Name: "Fragmentable MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1", Encapsulated: true, Lossy: true, Video: true},
	{UID: H264High422D, Name: "MPEG-4 AVC/H.264 High Profile / Level 4.2 For 2D Video", Encapsulated: true, Lossy: true, Video: true},
	{UID: H264High422DF, Name: "Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.2 For 2D Video", Encapsulated: true, Lossy: true, Video: true},
	{UID: H264High423D, Name: "MPEG-4 AVC/H.264 High Profile / Level 4.2 For 3D Video", Encapsulated: true, Lossy: true, Video: true},
	{UID: H264High423DF, Name: "Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.2 For 3D Video", Encapsulated: true, Lossy: true, Video: true},
	{UID: H264Stereo, Name: "MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2", Encapsulated: true, Lossy: true, Video: true},
	{UID: H264StereoF, Name: "Fragmentable MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2", Encapsulated: true, Lossy: true, Video: true},
	{UID: HEVCMain, Name: "HEVC/H.265 Main Profile / Level 5.1", Encapsulated: true, Lossy: true, Video: true},
	{UID: HEVCMain10, Name: "HEVC/H.265 Main 10 Profile / Level 5.1", Encapsulated: true, Lossy: true, Video: true},
	{UID: HTJ2KLossless, Name: "High-Throughput JPEG 2000 (Lossless Only)", Encapsulated: true},
	{UID: HTJ2KLosslessRPCL, Name: "High-Throughput JPEG 2000 with RPCL Options (Lossless Only)", Encapsulated: true},
	{UID: HTJ2K, Name: "High-Throughput JPEG 2000", Encapsulated: true, Lossy: true},
	{UID: RLELossless, Name: "RLE Lossless", Encapsulated: true},
	{UID: DeflatedImageFrame, Name: "Deflated Image Frame Compression", Encapsulated: true},
}

// LookupTransferSyntax finds a transfer syntax by UID. The second result is
// false when the UID is not in the table of this package.
func LookupTransferSyntax(uid string) (TransferSyntax, bool) {
	for _, t := range transferSyntaxes {
		if t.UID == uid {
			return t, true
		}
	}
	return TransferSyntax{}, false
}
