package echo

import (
	"image"

	"github.com/echonode/echonode/dicomio/pixel"
)

// ColourThreshold separates B-mode from colour Doppler in the largest
// ColourFraction of a few frames spread over the loop (39 real loops: at most
// 0.008 for B-mode, the graphics on it, and at least 0.047 for colour).
const ColourThreshold = 0.015

const (
	saturated  = 64  // more than this between the largest and smallest of R, G and B is a clear colour
	tintLow    = 60  // luma from which a pixel shows whether the map has a tint ...
	tintHigh   = 200 // ... and up to which it is not whitened by gain
	tintedPart = 0.9 // of those pixels, in a tinted map
	tintSpread = 28  // distance in Cb and Cr from the tint of that luma; saturated red is 33 away from gray, blue 32
	lumaBin    = 8   // luma values that share a tint
	lumaReach  = 3   // neighbouring bins that have a say in it, each way
)

// ColourFraction is the part of the pixels of r, 0 to 1, whose colour is not
// that of the grey map. Headers do not tell B-mode from colour Doppler (see
// ColourFlag), and many loops with colour declare only a tissue region.
//
// In a grey picture those are the clearly coloured pixels. A tinted map
// ("sepia", "amber", "blue") colours all pixels but the darkest, however
// strongly, and gives every brightness one colour: there the pixels count that
// are away from the usual colour of their luma. Colour Doppler fails the first
// or the second: grey tissue stays beside it, and velocities have many hues.
func ColourFraction(img *image.RGBA, r image.Rectangle) float64 {
	r = r.Intersect(img.Rect)
	if r.Empty() {
		return 0
	}
	// As in eachPixel; a call for every pixel would take most of the time.
	clear, bright, tinted, all := 0, 0, 0, 0
	step := pixelStep(r)
	for y := r.Min.Y; y < r.Max.Y; y += step {
		row := img.Pix[img.PixOffset(r.Min.X, y):][:4*r.Dx()]
		all += (len(row)/4 + step - 1) / step
		for x := 0; x+4 <= len(row); x += 4 * step {
			p := row[x : x+4 : x+4]
			red, green, blue := p[0], p[1], p[2]
			if red == green && green == blue {
				if red >= tintLow && red <= tintHigh { // the luma of gray is that gray
					bright++
				}
				continue
			}
			hi := max(red, green, blue)
			span := hi - min(red, green, blue)
			if span > saturated {
				clear++
			}
			if l := pixel.Luma(red, green, blue); l >= tintLow && l <= tintHigh {
				bright++
				if 10*int(span) > int(hi) {
					tinted++
				}
			}
		}
	}
	if clear == 0 || float64(tinted) < tintedPart*float64(bright) {
		return float64(clear) / float64(all)
	}
	off, ok := offTint(img, r)
	if !ok {
		off = clear
	}
	return float64(off) / float64(all)
}

// eachPixel calls f with the colour of every pixel of r, which lies in img, or
// of every so manieth where there are more than enough, and returns how many.
func eachPixel(img *image.RGBA, r image.Rectangle, f func(red, green, blue uint8)) (n int) {
	step := pixelStep(r)
	for y := r.Min.Y; y < r.Max.Y; y += step {
		row := img.Pix[img.PixOffset(r.Min.X, y):][:4*r.Dx()]
		for ; len(row) >= 4; row = row[min(4*step, len(row)):] {
			f(row[0], row[1], row[2])
			n++
		}
	}
	return n
}

// pixelStep is how many columns and rows further the next pixel to look at is.
func pixelStep(r image.Rectangle) int {
	step := 1
	for r.Dx()*r.Dy() > enoughPixels*step*step {
		step++
	}
	return step
}

// enoughPixels tell how much of a picture is coloured as well as all of them.
const enoughPixels = 60_000

// chroma is Cb and Cr of a colour (PS3.3 C.7.6.3.1.2).
func chroma(red, green, blue uint8) (cb, cr uint8) {
	r, g, b := int32(red), int32(green), int32(blue)
	return pixel.Clamp((-11056*r-21712*g+32768*b)>>16 + 128), pixel.Clamp((32768*r-27440*g-5328*b)>>16 + 128)
}

// offTint counts the pixels that are away from the median chroma of their luma
// and those near it: so that a colour cannot be the usual one of a luma which
// the tissue hardly has. It fails when brightnesses have opposite colours, as no
// map gives them.
func offTint(img *image.RGBA, r image.Rectangle) (n int, ok bool) {
	var hist [256 / lumaBin][2][256]int
	all := eachPixel(img, r, func(red, green, blue uint8) {
		cb, cr := chroma(red, green, blue)
		h := &hist[pixel.Luma(red, green, blue)/lumaBin]
		h[0][cb]++
		h[1][cr]++
	})
	var tint [256 / lumaBin][2]int
	var near [2][256]int // of the bins that have a say
	add := func(k, sign int) {
		if k < 0 || k >= len(hist) {
			return
		}
		for c := range near {
			for v, n := range hist[k][c] {
				near[c][v] += sign * n
			}
		}
	}
	for k := range lumaReach {
		add(k, 1)
	}
	for i := range tint {
		add(i+lumaReach, 1)
		add(i-lumaReach-1, -1)
		for c := range tint[i] {
			tint[i][c] = median(&near[c])
		}
	}
	count := func(i int) (n int) {
		for _, v := range hist[i][0] {
			n += v
		}
		return n
	}
	var usual [][2]int // tints of more than a fiftieth of the pixels
	for i := range tint {
		if 50*count(i) > all {
			usual = append(usual, tint[i])
		}
	}
	for i, a := range usual {
		for _, b := range usual[:i] {
			x, y, u, v := a[0]-128, a[1]-128, b[0]-128, b[1]-128
			if x*u+y*v < 0 && x*x+y*y > tintSpread*tintSpread && u*u+v*v > tintSpread*tintSpread {
				return 0, false
			}
		}
	}
	eachPixel(img, r, func(red, green, blue uint8) {
		cb, cr := chroma(red, green, blue)
		t := tint[pixel.Luma(red, green, blue)/lumaBin]
		if b, r := int(cb)-t[0], int(cr)-t[1]; b*b+r*r > tintSpread*tintSpread {
			n++
		}
	})
	return n, true
}

// median of the bytes of which counts says how many there are of each.
func median(counts *[256]int) int {
	total := 0
	for _, n := range counts {
		total += n
	}
	sum := 0
	for v, n := range counts {
		if sum += n; 2*sum >= total {
			return v
		}
	}
	return 255
}
