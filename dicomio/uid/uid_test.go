package uid

import (
	"slices"
	"strings"
	"testing"
)

func TestValid(t *testing.T) {
	long := strings.Repeat("1.", 31) + "12" // 64 characters
	for s, want := range map[string]struct{ valid, conforms bool }{
		"":                    {false, false},
		"1":                   {true, true},
		"0":                   {true, true},
		"1.2.840.10008.1.2.1": {true, true},
		"1.2.0.3":             {true, true},
		"1.2.03":              {true, false}, // seen in the field
		"1.2.00":              {true, false},
		"01.2":                {true, false},
		".1":                  {false, false},
		"1.":                  {false, false},
		"1..2":                {false, false},
		"1.2a":                {false, false},
		"1.2 ":                {false, false},
		"1.2\x00":             {false, false},
		"1/2":                 {false, false},
		long:                  {true, true},
		long + "3":            {false, false},
	} {
		if Valid(s) != want.valid || Conforms(s) != want.conforms {
			t.Errorf("%q: valid %v, conforms %v", s, Valid(s), Conforms(s))
		}
	}
}

func TestLookup(t *testing.T) {
	if !slices.IsSortedFunc(entries[:], func(a, b Entry) int { return strings.Compare(a.UID, b.UID) }) {
		t.Fatal("the UIDs do not ascend")
	}
	for _, e := range entries {
		if got, ok := Lookup(e.UID); !ok || got != e || !Conforms(e.UID) {
			t.Errorf("%s: %v, %v", e.UID, got, ok)
		}
	}
	for uid, want := range map[string]string{
		Verification:                     "Verification",
		UltrasoundMultiFrameImageStorage: "Ultrasound Multi-frame Image Storage",
		JPEGBaseline8Bit:                 "JPEG Baseline (Process 1)",
		"1.2.3":                          "1.2.3",
	} {
		if got := Name(uid); got != want {
			t.Errorf("%s: %q, expected %q", uid, got, want)
		}
	}
}

func TestStorageClass(t *testing.T) {
	for s, want := range map[string]bool{
		UltrasoundMultiFrameImageStorage: true, "1.2.840.10008.5.1.4.1.1.999.1": true, "1.2.826.0.1.3680043.9.1": true,
		Verification: false, StorageCommitmentPushModel: false, StudyRootQueryRetrieveInformationModelFind: false, "": false, "x": false,
	} {
		if got := StorageClass(s); got != want {
			t.Errorf("%q: %v", s, got)
		}
	}
}

// TestSyntaxes: every transfer syntax of the standard is described, but for
// retired ones that nobody sends and those whose objects are not whole.
func TestSyntaxes(t *testing.T) {
	var left []string
	for _, e := range entries {
		if e.Kind != TransferSyntax {
			continue
		}
		if s, ok := LookupSyntax(e.UID); !ok {
			left = append(left, e.UID)
		} else if s.Name != e.Name {
			t.Errorf("%s: %q, expected %q", e.UID, s.Name, e.Name)
		}
	}
	want := []string{
		JPEGExtended35, JPEGSpectralSelectionNonHierarchical79, JPEGFullProgressionNonHierarchical1113, JPEGLosslessNonHierarchical15,
		JPEGExtendedHierarchical1618, JPEGExtendedHierarchical1719, JPEGSpectralSelectionHierarchical2022, JPEGSpectralSelectionHierarchical2123,
		JPEGFullProgressionHierarchical2426, JPEGFullProgressionHierarchical2527, JPEGLosslessHierarchical28, JPEGLosslessHierarchical29,
		JPIPReferenced, JPIPReferencedDeflate, JPIPHTJ2KReferenced, JPIPHTJ2KReferencedDeflate,
		RFC2557MIMEEncapsulation, XMLEncoding, Papyrus3ImplicitVRLittleEndian,
		SMPTEST211020UncompressedProgressiveActiveVideo, SMPTEST211020UncompressedInterlacedActiveVideo, SMPTEST211030PCMDigitalAudio,
	}
	slices.Sort(want)
	if !slices.Equal(left, want) {
		t.Errorf("left out are %q, expected %q", left, want)
	}
	n := 0
	for s := range Syntaxes() {
		n++
		if e, ok := Lookup(s.UID); !ok || e.Kind != TransferSyntax || (s.Video || s.Lossy) && !s.Encapsulated {
			t.Errorf("%+v", s)
		}
	}
	if n != 41 {
		t.Errorf("%d transfer syntaxes", n)
	}
	if _, ok := LookupSyntax("1.2.3"); ok {
		t.Error("1.2.3 is known")
	}
}

func TestNoImage(t *testing.T) {
	for s, want := range map[string]bool{
		ComprehensiveSRStorage: true, SegmentationStorage: true, RawDataStorage: true, EncapsulatedPDFStorage: true, GeneralECGWaveformStorage: true,
		UltrasoundMultiFrameImageStorage: false, SecondaryCaptureImageStorage: false, EnhancedUSVolumeStorage: false, "1.2.826.0.1": false, "": false,
	} {
		if got := NoImage(s); got != want {
			t.Errorf("%q: %v", s, got)
		}
	}
}
