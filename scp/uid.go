package scp

import "strings"

// UIDs of the services this package speaks (PS3.6 annex A).
const (
	VerificationSOPClass         = "1.2.840.10008.1.1"
	StorageCommitmentSOPClass    = "1.2.840.10008.1.20.1"
	StorageCommitmentSOPInstance = "1.2.840.10008.1.20.1.1"

	// Query/Retrieve, Study Root model (PS3.4 C.6.2).
	StudyRootFind = "1.2.840.10008.5.1.4.1.2.2.1"
	StudyRootMove = "1.2.840.10008.5.1.4.1.2.2.2"
	StudyRootGet  = "1.2.840.10008.5.1.4.1.2.2.3"

	applicationContext = "1.2.840.10008.3.1.1.1"
)

// ImplementationClassUID and ImplementationVersionName name this
// implementation in associations and in file meta information (PS3.7 D.3.3.2).
const (
	ImplementationClassUID    = "2.25.138711527111267688378671273509010527546"
	ImplementationVersionName = "ECHONODE"
)

// Transfer syntaxes that the package itself has to tell apart.
const (
	ImplicitVRLittleEndian = "1.2.840.10008.1.2"
	ExplicitVRLittleEndian = "1.2.840.10008.1.2.1"
	DeflatedExplicitVR     = "1.2.840.10008.1.2.1.99"
	ExplicitVRBigEndian    = "1.2.840.10008.1.2.2"
)

// DefaultTransferSyntaxes are the syntaxes in which storage objects are taken:
// all that put the whole object on the wire, from uncompressed to HEVC. The
// JPIP referenced syntaxes are left out because their pixels are elsewhere.
func DefaultTransferSyntaxes() []string {
	return []string{
		ExplicitVRLittleEndian,
		ImplicitVRLittleEndian,
		DeflatedExplicitVR,
		ExplicitVRBigEndian,
		"1.2.840.10008.1.2.1.98",    // Encapsulated Uncompressed Explicit VR Little Endian
		"1.2.840.10008.1.2.4.50",    // JPEG Baseline (Process 1)
		"1.2.840.10008.1.2.4.51",    // JPEG Extended (Process 2 & 4)
		"1.2.840.10008.1.2.4.53",    // JPEG Spectral Selection, Non-Hierarchical (Process 6 & 8), retired
		"1.2.840.10008.1.2.4.55",    // JPEG Full Progression, Non-Hierarchical (Process 10 & 12), retired
		"1.2.840.10008.1.2.4.57",    // JPEG Lossless, Non-Hierarchical (Process 14)
		"1.2.840.10008.1.2.4.70",    // JPEG Lossless, First-Order Prediction
		"1.2.840.10008.1.2.4.80",    // JPEG-LS Lossless
		"1.2.840.10008.1.2.4.81",    // JPEG-LS Near-Lossless
		"1.2.840.10008.1.2.4.90",    // JPEG 2000 Lossless Only
		"1.2.840.10008.1.2.4.91",    // JPEG 2000
		"1.2.840.10008.1.2.4.92",    // JPEG 2000 Part 2 Multi-component Lossless Only
		"1.2.840.10008.1.2.4.93",    // JPEG 2000 Part 2 Multi-component
		"1.2.840.10008.1.2.4.100",   // MPEG2 Main Profile / Main Level
		"1.2.840.10008.1.2.4.100.1", // the same, fragmentable
		"1.2.840.10008.1.2.4.101",   // MPEG2 Main Profile / High Level
		"1.2.840.10008.1.2.4.101.1",
		"1.2.840.10008.1.2.4.102", // MPEG-4 AVC/H.264 High Profile / Level 4.1
		"1.2.840.10008.1.2.4.102.1",
		"1.2.840.10008.1.2.4.103", // MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1
		"1.2.840.10008.1.2.4.103.1",
		"1.2.840.10008.1.2.4.104", // MPEG-4 AVC/H.264 High Profile / Level 4.2 For 2D Video
		"1.2.840.10008.1.2.4.104.1",
		"1.2.840.10008.1.2.4.105", // MPEG-4 AVC/H.264 High Profile / Level 4.2 For 3D Video
		"1.2.840.10008.1.2.4.105.1",
		"1.2.840.10008.1.2.4.106", // MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2
		"1.2.840.10008.1.2.4.106.1",
		"1.2.840.10008.1.2.4.107", // HEVC/H.265 Main Profile / Level 5.1
		"1.2.840.10008.1.2.4.108", // HEVC/H.265 Main 10 Profile / Level 5.1
		"1.2.840.10008.1.2.4.110", // JPEG XL Lossless
		"1.2.840.10008.1.2.4.111", // JPEG XL JPEG Recompression
		"1.2.840.10008.1.2.4.112", // JPEG XL
		"1.2.840.10008.1.2.4.201", // High-Throughput JPEG 2000 Lossless Only
		"1.2.840.10008.1.2.4.202", // High-Throughput JPEG 2000 with RPCL Options Lossless Only
		"1.2.840.10008.1.2.4.203", // High-Throughput JPEG 2000
		"1.2.840.10008.1.2.5",     // RLE Lossless
		"1.2.840.10008.1.2.8.1",   // Deflated Image Frame Compression
	}
}

// storageRoot begins the UIDs of the storage classes of PS3.4 annex B.
const storageRoot = "1.2.840.10008.5.1.4.1.1."

// StorageClass reports whether a SOP class can be one of objects: a storage
// class of the standard, or private and thus unknown.
func StorageClass(uid string) bool {
	return ValidUID(uid) && (strings.HasPrefix(uid, storageRoot) || !strings.HasPrefix(uid, "1.2.840.10008."))
}

// DefaultStorageClasses are the SOP classes an echocardiography node meets:
// ultrasound (current and retired), secondary capture, structured reports,
// segmentations, presentation states, waveforms, raw data, photographs and
// encapsulated documents.
func DefaultStorageClasses() []string {
	const base = storageRoot
	suffixes := []string{
		"6.1",                                       // Ultrasound Image
		"3.1",                                       // Ultrasound Multi-frame Image
		"6",                                         // Ultrasound Image, retired
		"3",                                         // Ultrasound Multi-frame Image, retired
		"6.2",                                       // Enhanced US Volume
		"7",                                         // Secondary Capture Image
		"7.1",                                       // Multi-frame Single Bit Secondary Capture
		"7.2",                                       // Multi-frame Grayscale Byte Secondary Capture
		"7.3",                                       // Multi-frame Grayscale Word Secondary Capture
		"7.4",                                       // Multi-frame True Color Secondary Capture
		"88.1",                                      // Text SR, trial, retired
		"88.2",                                      // Audio SR, trial, retired
		"88.3",                                      // Detail SR, trial, retired
		"88.4",                                      // Comprehensive SR, trial, retired
		"88.11", "88.22", "88.33", "88.34", "88.35", // Basic Text, Enhanced, Comprehensive, Comprehensive 3D, Extensible SR
		"88.40", "88.50", "88.59", "88.65", // Procedure Log, Mammography CAD, Key Object Selection, Chest CAD
		"88.67", "88.68", "88.69", "88.70", // X-Ray and Radiopharmaceutical Dose, Colon CAD, Implantation Plan
		"88.71", "88.72", "88.73", // Acquisition Context, Simplified Adult Echo, Patient Radiation Dose SR
		"88.74", "88.75", "88.76", // Planned and Performed Imaging Agent, Enhanced X-Ray Radiation Dose SR
		"66.4", "66.5", "66.7", // Segmentation, Surface Segmentation, Label Map Segmentation
		"11.1", "11.2", "11.3", "11.4", // Grayscale, Color, Pseudo-Color, Blending Softcopy Presentation State
		"11.5", "11.6", "11.7", "11.8", // XA/XRF, Planar MPR Grayscale and Compositing, Advanced Blending
		"11.9", "11.10", "11.11", "11.12", // Volume Rendering, segmented and multiple; Variable Modality LUT
		"104.1", "104.2", "104.3", // Encapsulated PDF, CDA, STL
		"9.1.1", "9.1.2", "9.1.3", "9.1.4", // 12-lead, General, Ambulatory and General 32-bit ECG Waveform
		"9.2.1", "9.3.1", // Hemodynamic, Cardiac Electrophysiology Waveform
		"9.4.1", "9.4.2", // Basic and General Voice Audio Waveform
		"9.5.1", "9.6.1", "9.6.2", // Arterial Pulse, Respiratory, Multi-channel Respiratory Waveform
		"66", "66.1", "66.2", "66.3", "67", // Raw Data, Registrations and Fiducials, Real World Value Mapping
		"77.1.4", "77.1.4.1", // VL and Video Photographic Image
	}
	out := make([]string, len(suffixes))
	for i, s := range suffixes {
		out[i] = base + s
	}
	return out
}

// DefaultStorageContexts pairs each of DefaultStorageClasses with all of
// DefaultTransferSyntaxes: what a [Server] without Contexts accepts. A client
// has to propose less than that; see [ContextsFor].
func DefaultStorageContexts() []PresentationContext {
	ts := DefaultTransferSyntaxes()
	classes := DefaultStorageClasses()
	out := make([]PresentationContext, len(classes))
	for i, c := range classes {
		out[i] = PresentationContext{AbstractSyntax: c, TransferSyntaxes: ts}
	}
	return out
}

// ValidUID reports whether s is 1 to 64 characters of digits and single dots,
// neither first nor last. Leading zeros of a component, which PS3.5 9.1
// forbids, are tolerated because devices in the field send them.
func ValidUID(s string) bool {
	if s == "" || len(s) > 64 {
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

// trimUID cuts the padding that PS3.5 (NUL) and careless peers (spaces) put
// behind a UID.
func trimUID(b []byte) string {
	return strings.TrimRight(string(b), "\x00 ")
}
