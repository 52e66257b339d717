package dicomio

import (
	"image"

	"github.com/echonode/echonode/dicomio/internal/codec"
	"github.com/echonode/echonode/dicomio/internal/codec/jpeg"
	"github.com/echonode/echonode/dicomio/uid"
)

// Codec tells how this build decodes a transfer syntax.
type Codec struct {
	Syntax  uid.Syntax
	Decodes bool
	By      string // library or program, "own" for code of this module
}

// Codecs lists all transfer syntaxes and what decodes them in this build and on
// this machine.
func Codecs() []Codec {
	r := codec.Standard()
	var out []Codec
	for t := range uid.Syntaxes() {
		by := r.By(t)
		out = append(out, Codec{t, by != "", by})
	}
	return out
}

// EncodeJPEG encodes a picture as JPEG Baseline, YCbCr with 4:2:2 chroma: the
// form of Photometric Interpretation YBR_FULL_422. quality is 1 to 100. Alpha
// is ignored. Without cgo chroma is 4:2:0.
func EncodeJPEG(img *image.RGBA, quality int) ([]byte, error) { return jpeg.Encode(img, quality) }
