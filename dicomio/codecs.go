package dicomio

import (
	"os/exec"

	"github.com/echonode/echonode/dicomio/uid"
)

// codecFor reports whether this build decodes frames of a transfer syntax.
func codecFor(syntax string) bool {
	switch syntax {
	case uid.EncapsulatedUncompressedExplicitVRLittleEndian, uid.DeflatedImageFrameCompression, uid.RLELossless,
		uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGFullProgressionNonHierarchical1012, uid.JPEGLossless, uid.JPEGLosslessSV1, uid.JPEGLSLossless, uid.JPEGLSNearLossless:
		return true
	case uid.JPEG2000Lossless, uid.JPEG2000, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K:
		return haveJ2K
	}
	t, ok := uid.LookupSyntax(syntax)
	return ok && t.Video
}

// Codec tells how this build decodes a transfer syntax.
type Codec struct {
	Syntax  uid.Syntax
	Decodes bool
	By      string // library or program, "own" for code of this package
}

// Codecs lists all transfer syntaxes of the table and what decodes them in
// this build and on this machine.
func Codecs() []Codec {
	_, missing := exec.LookPath("ffmpeg")
	var out []Codec
	for t := range uid.Syntaxes() {
		c := Codec{Syntax: t, Decodes: !t.Encapsulated || codecFor(t.UID), By: "own"}
		switch t.UID {
		case uid.JPEGBaseline8Bit, uid.JPEGFullProgressionNonHierarchical1012:
			c.By = jpegLibrary
		case uid.JPEGExtended12Bit:
			c.By = jpegLibrary + ", own for 12 bits"
		case uid.JPEG2000Lossless, uid.JPEG2000, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K:
			c.By = "OpenJPEG"
		}
		if t.Video {
			c.By = "ffmpeg"
			c.Decodes = missing == nil
		}
		if !c.Decodes {
			c.By = ""
		}
		out = append(out, c)
	}
	return out
}
