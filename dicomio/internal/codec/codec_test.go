package codec

import (
	"testing"

	"github.com/echonode/echonode/dicomio/internal/codec/j2k"
	"github.com/echonode/echonode/dicomio/internal/codec/jpeg"
	"github.com/echonode/echonode/dicomio/internal/codec/jpegls"
	"github.com/echonode/echonode/dicomio/internal/codec/rle"
	"github.com/echonode/echonode/dicomio/uid"
)

func TestRegistry(t *testing.T) {
	r := Standard()
	for u := range r {
		if s, ok := uid.LookupSyntax(u); !ok || !s.Encapsulated || s.Video {
			t.Errorf("%s is no compressed syntax", u)
		}
	}
	for u, want := range map[string]bool{
		uid.ExplicitVRLittleEndian: true, uid.DeflatedExplicitVRLittleEndian: true, uid.JPEGBaseline8Bit: true, uid.RLELossless: true, uid.HEVCMP51: true,
		uid.HTJ2K: j2k.Available, uid.JPEG2000MC: false, uid.JPEGXL: false, uid.JPEGSpectralSelectionNonHierarchical68: false,
	} {
		s, _ := uid.LookupSyntax(u)
		if r.Decodes(s) != want {
			t.Errorf("%s: decoded %v", s.Name, !want)
		}
		if !s.Video && (r.By(s) != "") != want {
			t.Errorf("%s: by %q", s.Name, r.By(s))
		}
	}
}

// TestFor: the stream tells its codec, whatever the object says.
func TestFor(t *testing.T) {
	r := Standard()
	lsHeader := []byte{0xFF, 0xD8, 0xFF, 0xF7, 0, 11, 8, 0, 4, 0, 4, 1, 1, 0x11, 0, 0xFF, 0xDA}
	for _, tt := range []struct {
		syntax string
		b      []byte
		want   Codec
	}{
		{uid.JPEGBaseline8Bit, []byte{0xFF, 0xD8, 0xFF, 0xE0, 0, 16}, jpeg.Codec{}},
		{uid.JPEGBaseline8Bit, lsHeader, jpegls.Codec{}}, // labelled wrongly
		{uid.JPEGLSLossless, lsHeader, jpegls.Codec{}},
		{uid.JPEG2000, []byte{0xFF, 0x4F, 0xFF, 0x51, 0, 41}, j2k.Codec{}},
		{uid.RLELossless, []byte{1, 0, 0, 0, 64, 0, 0, 0}, rle.Codec{}},
		{uid.JPEGBaseline8Bit, []byte{1, 0, 0, 0, 64, 0, 0, 0}, nil},
		{uid.JPEGBaseline8Bit, nil, nil},
	} {
		if got := r.For(tt.syntax, tt.b); got != tt.want {
			t.Errorf("% x under %s: %T", tt.b, tt.syntax, got)
		}
		if starts := r.Starts(tt.syntax, tt.b); starts != (tt.want != nil) {
			t.Errorf("% x under %s: starts %v", tt.b, tt.syntax, starts)
		}
	}
}
