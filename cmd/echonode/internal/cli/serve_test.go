package cli

import (
	"log/slog"
	"slices"
	"testing"

	"github.com/echonode/echonode/dicomio/uid"
)

// The listener accepts what this machine decodes and nothing else: JPEG XL and
// spectral selection are stored nowhere as pictures that nobody can look at.
func TestDecodedSyntaxes(t *testing.T) {
	got := decodedSyntaxes(slog.New(slog.DiscardHandler))
	for _, uid := range []string{uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.JPEGBaseline8Bit, uid.RLELossless, uid.JPEGLosslessSV1} {
		if !slices.Contains(got, uid) {
			t.Errorf("%s is not accepted", uid)
		}
	}
	for _, uid := range []string{"1.2.840.10008.1.2.4.53", "1.2.840.10008.1.2.4.110", "1.2.840.10008.1.2.4.111", "1.2.840.10008.1.2.4.112", uid.JPEG2000MC} {
		if slices.Contains(got, uid) {
			t.Errorf("%s is accepted, and nothing decodes it", uid)
		}
	}
}
