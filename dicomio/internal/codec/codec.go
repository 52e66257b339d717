// Package codec lists the decoders of compressed frames.
package codec

import (
	"os/exec"

	"github.com/echonode/echonode/dicomio/internal/codec/j2k"
	"github.com/echonode/echonode/dicomio/internal/codec/jpeg"
	"github.com/echonode/echonode/dicomio/internal/codec/jpegls"
	"github.com/echonode/echonode/dicomio/internal/codec/rle"
	"github.com/echonode/echonode/dicomio/pixel"
	"github.com/echonode/echonode/dicomio/uid"
)

// Codec decodes the frames of one family of codestreams.
type Codec interface {
	// Starts reports whether b begins as a codestream of the family does.
	Starts(b []byte) bool
	// Decode decodes a frame to stored values, into dst, whose geometry is that
	// of in. limit bounds the bytes of a decoded frame. Errors are *fault.Error.
	Decode(b []byte, in pixel.Info, dst *pixel.Frame, limit int64) error
}

// entry says what decodes the frames of a transfer syntax.
type entry struct {
	by    string
	codec Codec // nil: without one, by the frame reader itself
}

// Registry maps transfer syntaxes to what decodes their frames in this build.
type Registry map[string]entry

// Standard is all that this build has.
func Standard() Registry {
	r := Registry{
		uid.EncapsulatedUncompressedExplicitVRLittleEndian: {"own", nil},
		uid.DeflatedImageFrameCompression:                  {"own", nil},
		uid.RLELossless:                                    {"own", rle.Codec{}},
		uid.JPEGBaseline8Bit:                               {jpeg.Library, jpeg.Codec{}},
		uid.JPEGExtended12Bit:                              {jpeg.Library + ", own for 12 bits", jpeg.Codec{}},
		uid.JPEGFullProgressionNonHierarchical1012:         {jpeg.Library, jpeg.Codec{}},
		uid.JPEGLossless:                                   {"own", jpeg.Codec{}},
		uid.JPEGLosslessSV1:                                {"own", jpeg.Codec{}},
		uid.JPEGLSLossless:                                 {"own", jpegls.Codec{}},
		uid.JPEGLSNearLossless:                             {"own", jpegls.Codec{}},
	}
	if j2k.Available {
		for _, s := range []string{uid.JPEG2000Lossless, uid.JPEG2000, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K} {
			r[s] = entry{"OpenJPEG", j2k.Codec{}}
		}
	}
	return r
}

// Decodes reports whether frames of a transfer syntax are decoded, with ffmpeg
// in the case of video.
func (r Registry) Decodes(s uid.Syntax) bool {
	_, ok := r[s.UID]
	return ok || s.Video || !s.Encapsulated
}

// By names what decodes a transfer syntax on this machine, "" for nothing.
func (r Registry) By(s uid.Syntax) string {
	switch e, ok := r[s.UID]; {
	case ok:
		return e.by
	case s.Video:
		if _, err := exec.LookPath("ffmpeg"); err != nil {
			return ""
		}
		return "ffmpeg"
	case s.Encapsulated:
		return ""
	}
	return "own"
}

// For finds the codec of a frame: the one of its transfer syntax where nothing
// in the stream tells (RLE), and else the one that knows its beginning, because
// objects are labelled wrongly. nil is none.
func (r Registry) For(syntax string, b []byte) Codec {
	if _, ok := r[syntax].codec.(rle.Codec); ok {
		return rle.Codec{}
	}
	for _, c := range []Codec{jpegls.Codec{}, jpeg.Codec{}, j2k.Codec{}} {
		if c.Starts(b) {
			return c
		}
	}
	return nil
}

// Starts reports whether a frame of a transfer syntax begins at b.
func (r Registry) Starts(syntax string, b []byte) bool {
	if c, ok := r[syntax].codec.(rle.Codec); ok {
		return c.Starts(b)
	}
	return jpeg.Codec{}.Starts(b) || j2k.Starts(b)
}

// JPEG2000 reports whether a transfer syntax is of that family.
func (r Registry) JPEG2000(syntax string) bool {
	_, ok := r[syntax].codec.(j2k.Codec)
	return ok
}

// IsJ2K reports whether a frame is JPEG 2000, which needs more memory to decode.
func IsJ2K(b []byte) bool { return j2k.Starts(b) }
