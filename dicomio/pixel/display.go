package pixel

import (
	"fmt"
	"image"
	"math"
	"strings"
)

// Window is the way from stored to displayed values of gray: rescale, and a
// linear window (PS3.3 C.11.2.1.2) where one is given.
type Window struct {
	Slope, Intercept float64
	Center, Width    float64
	Given            bool // Center and Width are
	// Inverse is Presentation LUT Shape INVERSE of the object itself, which says
	// of gray the same as MONOCHROME1 (PS3.3 C.11.6), not once more.
	Inverse bool
}

// Over is the window that spans a range of rescaled values.
func (v Window) Over(lo, hi float64) Window {
	v.Center, v.Width = (lo+hi)/2+0.5, hi-lo+1
	return v
}

// Rescaled is a stored value after rescale.
func (v Window) Rescaled(stored int64) float64 { return float64(stored)*v.Slope + v.Intercept }

// Display makes pictures of stored values. Frames of colour need no Window, those
// without a palette none. The error of its methods says which samples have no way
// to colours.
type Display struct {
	Window  Window
	Palette *Palette
}

// Inverts reports whether small stored values of a monochrome frame are bright.
// A slope below nothing turns those of up to 8 bits, which are shown over the
// whole of their range; of more bits, rescale does it.
func (v Window) Inverts(photometric string, stored int, signed bool) bool {
	inverse := photometric == "MONOCHROME1" || v.Inverse
	return inverse != (v.Slope < 0 && stored <= 8 && !signed)
}

// gray calls put with the 8-bit gray of every pixel of a monochrome frame.
func (v Window) gray(f *Frame, put func(k int, g uint8)) {
	n := f.Rows * f.Columns
	invert := v.Inverts(f.Photometric, f.Stored, f.Signed)
	if f.Stored <= 8 && !f.Signed {
		top := 1<<f.Stored - 1
		for k := 0; k < n; k++ {
			g := int(f.Value(k)) * 255 / top
			if invert {
				g = 255 - g
			}
			put(k, uint8(g))
		}
		return
	}
	// Linear function of PS3.3 C.11.2.1.2.
	lo, hi := v.Center-0.5-(v.Width-1)/2, v.Center-0.5+(v.Width-1)/2
	scale := 0.0
	if hi > lo {
		scale = 255 / (hi - lo)
	}
	for k := 0; k < n; k++ {
		x := float64(f.Value(k))*v.Slope + v.Intercept
		g := 0.0
		switch {
		case x > hi || scale == 0 && x >= hi:
			g = 255
		case x > lo:
			g = math.Round((x - lo) * scale)
		}
		if invert {
			g = 255 - g
		}
		put(k, uint8(g))
	}
}

// colours calls put with the 8-bit RGB of every pixel of a colour frame.
func (d Display) colours(f *Frame, put func(k int, red, green, blue uint8)) error {
	n := f.Rows * f.Columns
	if f.Photometric == "PALETTE COLOR" {
		if d.Palette == nil || f.Samples != 1 {
			return fmt.Errorf("PALETTE COLOR with %d samples", f.Samples)
		}
		for k := 0; k < n; k++ {
			c := d.Palette.At(f.Value(k))
			put(k, c[0], c[1], c[2])
		}
		return nil
	}
	if f.Samples != 3 {
		return fmt.Errorf("%d samples, %s", f.Samples, f.Photometric)
	}
	if f.Bits == 8 {
		p := f.Data
		switch f.Photometric {
		case "YBR_FULL", "YBR_FULL_422":
			for k := 0; k < n; k++ {
				red, green, blue := YBRFull(p[3*k], p[3*k+1], p[3*k+2])
				put(k, red, green, blue)
			}
		case "YBR_PARTIAL_422", "YBR_PARTIAL_420":
			for k := 0; k < n; k++ {
				red, green, blue := YBRPartial(p[3*k], p[3*k+1], p[3*k+2])
				put(k, red, green, blue)
			}
		default:
			for k := 0; k < n; k++ {
				put(k, p[3*k], p[3*k+1], p[3*k+2])
			}
		}
		return nil
	}
	if strings.HasPrefix(f.Photometric, "YBR_PARTIAL") {
		return fmt.Errorf("%s of %d bits", f.Photometric, f.Bits)
	}
	top := uint64(1)<<f.Stored - 1
	full := func(k int) float64 { return float64(uint64(f.Value(k)) & top) }
	// Chroma is centred before it is scaled: half of the levels is no multiple
	// of 1/255.
	scale, half := 255/float64(top), float64(top/2+1)
	to8 := func(v float64) uint8 { return uint8(max(0, min(math.Round(v*scale), 255))) }
	for k := 0; k < n; k++ {
		a, b, c := full(3*k), full(3*k+1), full(3*k+2)
		if f.Photometric == "YBR_FULL" || f.Photometric == "YBR_FULL_422" {
			y, cb, cr := a, b-half, c-half
			a, b, c = y+1.402*cr, y-(0.114*1.772*cb+0.299*1.402*cr)/0.587, y+1.772*cb
		}
		put(k, to8(a), to8(b), to8(c))
	}
	return nil
}

// Gray converts a decoded frame to 8-bit luma, into dst, which has its size.
func (d Display) Gray(f *Frame, dst *image.Gray) error {
	w := f.Columns
	if f.Monochrome() {
		if f.Bits == 8 && f.Stored == 8 && !f.Signed && !d.Window.Inverts(f.Photometric, f.Stored, f.Signed) {
			for y := 0; y < f.Rows; y++ {
				copy(dst.Pix[y*dst.Stride:][:w], f.Data[y*w:])
			}
			return nil
		}
		d.Window.gray(f, func(k int, g uint8) { dst.Pix[k/w*dst.Stride+k%w] = g })
		return nil
	}
	if f.Bits == 8 && f.Samples == 3 {
		for y := 0; y < f.Rows; y++ {
			row, src := dst.Pix[y*dst.Stride:][:w], f.Data[3*y*w:][:3*w]
			switch f.Photometric {
			case "YBR_FULL", "YBR_FULL_422":
				for x := range row {
					row[x] = src[3*x]
				}
			case "YBR_PARTIAL_422", "YBR_PARTIAL_420":
				for x := range row {
					row[x] = Clamp((76309*(int32(src[3*x])-16) + 32768) >> 16)
				}
			default:
				for x := range row {
					row[x] = Luma(src[3*x], src[3*x+1], src[3*x+2])
				}
			}
		}
		return nil
	}
	return d.colours(f, func(k int, red, green, blue uint8) {
		dst.Pix[k/w*dst.Stride+k%w] = Luma(red, green, blue)
	})
}

// RGB converts a decoded frame for people, into dst, which has its size; alpha is 255.
func (d Display) RGB(f *Frame, dst *image.RGBA) error {
	w := f.Columns
	put := func(k int, red, green, blue uint8) {
		p := dst.Pix[k/w*dst.Stride+k%w*4:]
		p[0], p[1], p[2], p[3] = red, green, blue, 255
	}
	if f.Monochrome() {
		d.Window.gray(f, func(k int, g uint8) { put(k, g, g, g) })
		return nil
	}
	if f.Bits == 8 && f.Samples == 3 && (f.Photometric == "RGB" || f.Photometric == "YBR_RCT" || f.Photometric == "YBR_ICT") {
		for y := 0; y < f.Rows; y++ {
			row, src := dst.Pix[y*dst.Stride:][:4*w], f.Data[3*y*w:][:3*w]
			for len(src) >= 3 {
				row[0], row[1], row[2], row[3] = src[0], src[1], src[2], 255
				row, src = row[4:], src[3:]
			}
		}
		return nil
	}
	return d.colours(f, put)
}

// SizeGray sizes a gray picture.
func SizeGray(dst *image.Gray, w, h int) {
	if dst.Rect != image.Rect(0, 0, w, h) || len(dst.Pix) < dst.Stride*(h-1)+w || dst.Stride < w {
		dst.Pix, dst.Stride, dst.Rect = Grow(dst.Pix, w*h), w, image.Rect(0, 0, w, h)
	}
}

// SizeRGBA sizes a colour picture.
func SizeRGBA(dst *image.RGBA, w, h int) {
	if dst.Rect != image.Rect(0, 0, w, h) || len(dst.Pix) < dst.Stride*(h-1)+4*w || dst.Stride < 4*w {
		dst.Pix, dst.Stride, dst.Rect = Grow(dst.Pix, 4*w*h), 4*w, image.Rect(0, 0, w, h)
	}
}
