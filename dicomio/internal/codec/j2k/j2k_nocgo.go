//go:build !cgo || purego

package j2k

import (
	"github.com/echonode/echonode/dicomio/internal/fault"
	"github.com/echonode/echonode/dicomio/pixel"

	"github.com/echonode/echonode/dicomio/tag"
)

// Available says that this build does not decode JPEG 2000.
const Available = false

// decode is not in this build.
func decode([]byte, *pixel.Frame) error {
	return fault.New("jpeg 2000", tag.PixelData, -1, fault.ErrUnsupported, "this build has no JPEG 2000 (cgo with OpenJPEG is needed)")
}
