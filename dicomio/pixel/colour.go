// Package pixel is the arithmetic of pictures: colour spaces and area
// resampling. It knows no objects.
package pixel

// Luma is the ITU-R BT.601 weighting of libjpeg.
func Luma(r, g, b uint8) uint8 {
	return uint8((19595*uint32(r) + 38470*uint32(g) + 7471*uint32(b) + 32768) >> 16)
}

// Clamp limits to a byte.
func Clamp(v int32) uint8 {
	if uint32(v) > 255 {
		if v < 0 {
			return 0
		}
		return 255
	}
	return uint8(v)
}

// YBRFull converts full-range YCbCr by the inverse of PS3.3 C.7.6.3.1.2, in
// the fixed point of libjpeg: rounded to nearest.
func YBRFull(y, cb, cr uint8) (r, g, b uint8) {
	u, v := int32(cb)-128, int32(cr)-128
	r = Clamp(int32(y) + (91881*v+32768)>>16)
	g = Clamp(int32(y) + (-22554*u-46802*v+32768)>>16)
	b = Clamp(int32(y) + (116130*u+32768)>>16)
	return r, g, b
}

// YBRPartial converts YCbCr of studio range (16 to 235).
func YBRPartial(y, cb, cr uint8) (r, g, b uint8) {
	l := 76309 * (int32(y) - 16)
	u, v := int32(cb)-128, int32(cr)-128
	r = Clamp((l + 104597*v + 32768) >> 16)
	g = Clamp((l - 25675*u - 53279*v + 32768) >> 16)
	b = Clamp((l + 132201*u + 32768) >> 16)
	return r, g, b
}
