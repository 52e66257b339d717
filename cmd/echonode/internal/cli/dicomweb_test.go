package cli

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/echonode/echonode/cmd/echonode/internal/config"
	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/pipeline/node"
	"github.com/echonode/echonode/scp"
)

// dicom.sop_classes holds for both ways in, with what can be decoded of the classes
// that are known.
func TestWhatIsTaken(t *testing.T) {
	const ultrasound, dose, vendors, verification = "1.2.840.10008.5.1.4.1.1.3.1", "1.2.840.10008.5.1.4.1.1.481.2", "1.3.12.2.1107.5.9.1", "1.2.840.10008.1.1"
	const class, syntax = scp.StatusSOPClassUnsupported, scp.StatusSyntaxUnsupported
	for _, c := range []struct {
		dicom config.DICOM
		want  map[[2]string]uint16
	}{
		{config.DICOM{SOPClasses: "any"}, map[[2]string]uint16{{ultrasound, uid.JPEGBaseline8Bit}: 0, {ultrasound, uid.JPEGXL}: syntax, {dose, uid.JPEGXL}: 0,
			{vendors, uid.JPEGXL}: 0, {verification, uid.ImplicitVRLittleEndian}: class}},
		{config.DICOM{SOPClasses: "known"}, map[[2]string]uint16{{ultrasound, uid.JPEGBaseline8Bit}: 0, {dose, uid.ExplicitVRLittleEndian}: class,
			{vendors, uid.ExplicitVRLittleEndian}: class}},
		{config.DICOM{SOPClasses: "known", ExtraSOPClasses: []string{vendors}}, map[[2]string]uint16{{vendors, uid.ExplicitVRLittleEndian}: 0,
			{vendors, uid.JPEGXL}: syntax, {dose, uid.ExplicitVRLittleEndian}: class}},
	} {
		srv, err := dicomServer(&config.Config{DICOM: c.dicom}, new(node.Node), nil, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		for what, want := range c.want {
			var status *scp.StatusError
			if err := srv.Takes(what[0], what[1]); (err == nil) != (want == 0) || err != nil && (!errors.As(err, &status) || status.Status != want) {
				t.Errorf("%s %v: %v: %v, want %04XH", c.dicom.SOPClasses, c.dicom.ExtraSOPClasses, what, err, want)
			}
		}
	}
}
