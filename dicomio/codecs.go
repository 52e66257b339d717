package dicomio

import "os/exec"

// codecFor reports whether this build decodes frames of a transfer syntax.
func codecFor(uid string) bool {
	switch uid {
	case EncapsulatedUncompressed, DeflatedImageFrame, RLELossless,
		JPEGBaseline, JPEGExtended, JPEGProgressive, JPEGLossless, JPEGLosslessSV1, JPEGLSLossless, JPEGLSNearLossless:
		return true
	case JPEG2000Lossless, JPEG2000, HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K:
		return haveJ2K
	}
	t, ok := LookupTransferSyntax(uid)
	return ok && t.Video
}

// Codec tells how this build decodes a transfer syntax.
type Codec struct {
	Syntax  TransferSyntax
	Decodes bool
	By      string // library or program, "own" for code of this package
}

// Codecs lists all transfer syntaxes of the table and what decodes them in
// this build and on this machine.
func Codecs() []Codec {
	_, missing := exec.LookPath("ffmpeg")
	var out []Codec
	for _, t := range transferSyntaxes {
		c := Codec{Syntax: t, Decodes: !t.Encapsulated || codecFor(t.UID), By: "own"}
		switch t.UID {
		case JPEGBaseline, JPEGProgressive:
			c.By = jpegLibrary
		case JPEGExtended:
			c.By = jpegLibrary + ", own for 12 bits"
		case JPEG2000Lossless, JPEG2000, HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K:
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
