package cli

import (
	"testing"

	"github.com/echonode/echonode/cmd/echonode/internal/config"
)

// dicom.sop_classes holds for what comes over DICOMweb too.
func TestAcceptedClasses(t *testing.T) {
	const ultrasound, dose, vendors, verification = "1.2.840.10008.5.1.4.1.1.3.1", "1.2.840.10008.5.1.4.1.1.481.2", "1.3.12.2.1107.5.9.1", "1.2.840.10008.1.1"
	for _, c := range []struct {
		dicom config.DICOM
		want  map[string]bool
	}{
		{config.DICOM{SOPClasses: "any"}, map[string]bool{ultrasound: true, dose: true, vendors: true, verification: false}},
		{config.DICOM{SOPClasses: "known"}, map[string]bool{ultrasound: true, dose: false, vendors: false, verification: false}},
		{config.DICOM{SOPClasses: "known", ExtraSOPClasses: []string{vendors}}, map[string]bool{ultrasound: true, dose: false, vendors: true}},
	} {
		accepts := acceptedClasses(c.dicom)
		for class, want := range c.want {
			if accepts(class) != want {
				t.Errorf("%s %v: %s accepted: %v", c.dicom.SOPClasses, c.dicom.ExtraSOPClasses, class, !want)
			}
		}
	}
}
