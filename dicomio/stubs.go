package dicomio

import "image"

func codecFor(uid string) bool {
	switch uid {
	case JPEGBaseline, RLELossless, EncapsulatedUncompressed, DeflatedImageFrame:
		return true
	}
	return false
}
func isJ2K(b []byte) bool { return false }
func decodeJ2K(b []byte, dst *Frame, limit int64) error {
	return fail("j2k", tagPixels, -1, ErrUnsupported, "")
}
func decodeJPEGLS(b []byte, dst *Frame) error {
	return fail("jpegls", tagPixels, -1, ErrUnsupported, "")
}
func decodeJPEGLossless(b []byte, dst *Frame) error {
	return fail("jpegls", tagPixels, -1, ErrUnsupported, "")
}
func decodeJPEG12(b []byte, h jpegHeader, dst *Frame) error {
	return fail("jpegls", tagPixels, -1, ErrUnsupported, "")
}

type video struct{}

func newVideo(r *FrameReader) *video               { return nil }
func (v *video) decode(i int, dst *Frame) error    { return nil }
func (v *video) gray(i int, dst *image.Gray) error { return nil }
func (v *video) rgb(i int, dst *image.RGBA) error  { return nil }
