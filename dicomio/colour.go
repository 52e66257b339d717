package dicomio

import (
	"image"
	"math"
	"strings"

	"github.com/echonode/echonode/dicomio/encoding"
	"github.com/echonode/echonode/dicomio/pixel"
	"github.com/echonode/echonode/dicomio/tag"
)

// palette maps stored values to 8-bit colours (PS3.3 C.7.6.3.1.5).
type palette struct {
	first int
	rgb   [][3]uint8
}

// at finds the colour of a stored value; values outside take the nearest end.
func (p *palette) at(v int64) [3]uint8 {
	i := v - int64(p.first)
	return p.rgb[max(0, min(i, int64(len(p.rgb))-1))]
}

// readPalette reads the lookup tables, segmented ones included.
func readPalette(ds *DataSet, in PixelInfo) (*palette, error) {
	p := &palette{}
	for c := uint16(0); c < 3; c++ {
		dt := tag.New(0x0028, 0x1101+c)
		e, ok := ds.Get(dt)
		if !ok {
			return nil, fail("palette", dt, -1, ErrValue, "missing")
		}
		d := e.ints("US")
		if len(d) < 3 {
			return nil, fail("palette", dt, -1, ErrValue, "%d values", len(d))
		}
		n, first, bits := int(d[0]), int(d[1]), int(d[2])
		if n == 0 {
			n = 65536
		}
		if in.Signed {
			first = int(int16(d[1]))
		}
		if bits != 8 && bits != 16 {
			return nil, fail("palette", dt, -1, ErrValue, "%d bits per entry", bits)
		}
		lt := tag.New(0x0028, 0x1201+c)
		var lut []uint16
		if b, err := ds.Bytes(lt); err != nil {
			return nil, err
		} else if len(b) > 0 {
			le, _ := ds.Get(lt)
			lut = paletteEntries(b, n, bits, le.enc)
		} else {
			lt = tag.New(0x0028, 0x1221+c)
			b, err := ds.Bytes(lt)
			if err != nil {
				return nil, err
			}
			se, ok := ds.Get(lt)
			if !ok || len(b) == 0 {
				return nil, fail("palette", lt, -1, ErrValue, "missing")
			}
			if lut, err = segmented(b, n, bits, se.enc); err != nil {
				return nil, fail("palette", lt, -1, ErrValue, "%v", err)
			}
		}
		if len(lut) < n {
			return nil, fail("palette", lt, -1, ErrValue, "%d entries of %d", len(lut), n)
		}
		lut = lut[:n]
		if p.rgb == nil {
			p.first = first
			p.rgb = make([][3]uint8, n)
		}
		if len(p.rgb) != n || p.first != first {
			return nil, fail("palette", dt, -1, ErrValue, "tables of different extent")
		}
		shift := uint(0)
		for _, v := range lut {
			if v > 255 {
				shift = 8 // otherwise 8-bit entries in 16-bit words
			}
		}
		for i, v := range lut {
			p.rgb[i][c] = uint8(v >> shift)
		}
	}
	return p, nil
}

// paletteEntries reads n entries of 8 or 16 bits.
func paletteEntries(b []byte, n, bits int, enc encoding.Syntax) []uint16 {
	if bits == 16 || len(b) >= 2*n {
		out := make([]uint16, 0, len(b)/2)
		for ; len(b) >= 2; b = b[2:] {
			out = append(out, enc.Order().Uint16(b))
		}
		return out
	}
	out := make([]uint16, len(b))
	for i, v := range b {
		if enc.Big {
			v = b[min(i^1, len(b)-1)] // two 8-bit entries in a swapped word
		}
		out[i] = uint16(v)
	}
	return out
}

// segmented expands a segmented lookup table (PS3.3 C.7.9.2): discrete,
// linear and indirect segments, never more than n entries.
func segmented(b []byte, n, bits int, enc encoding.Syntax) ([]uint16, error) {
	var words []uint16
	if bits == 8 {
		for _, v := range b {
			words = append(words, uint16(v))
		}
	} else {
		for ; len(b) >= 2; b = b[2:] {
			words = append(words, enc.Order().Uint16(b))
		}
	}
	var out []uint16
	steps := 0
	// expand interprets count segments from at; segments < 0 means to the end.
	var expand func(at, count int, nested bool) error
	expand = func(at, count int, nested bool) error {
		for k := 0; at+1 < len(words) && (count < 0 || k < count); k++ {
			if steps++; steps > 1<<16 || len(out) >= n {
				return nil
			}
			op, length := words[at], int(words[at+1])
			at += 2
			switch op {
			case 0:
				if at+length > len(words) {
					return ErrTruncated
				}
				out = append(out, words[at:at+length]...)
				at += length
			case 1:
				if at >= len(words) || len(out) == 0 {
					return ErrMalformed
				}
				from, to := int(out[len(out)-1]), int(words[at])
				at++
				for i := 1; i <= length && len(out) < n; i++ {
					// Rounded to nearest, as the ends must be met exactly.
					out = append(out, uint16(from+int(math.Round(float64((to-from)*i)/float64(length)))))
				}
			case 2:
				need := 2
				if bits == 8 {
					need = 4
				}
				if nested || at+need > len(words) {
					return ErrMalformed
				}
				off := int(words[at]) | int(words[at+1])<<16
				if bits == 8 {
					off = int(words[at]) | int(words[at+1])<<8 | int(words[at+2])<<16 | int(words[at+3])<<24
				}
				at += need
				if bits != 8 {
					off /= 2
				}
				if off >= len(words) {
					return ErrMalformed
				}
				if err := expand(off, length, true); err != nil {
					return err
				}
			default:
				return ErrMalformed
			}
		}
		return nil
	}
	if err := expand(0, -1, false); err != nil {
		return nil, err
	}
	return out, nil
}

// voi is the way from stored values to display values.
type voi struct {
	slope, intercept float64
	center, width    float64
	window           bool
}

// readVOI reads rescale and window, from the functional groups if need be.
func readVOI(ds *DataSet) voi {
	v := voi{slope: 1}
	places := []*DataSet{ds}
	for _, t := range []Tag{tag.SharedFunctionalGroupsSequence, tag.PerFrameFunctionalGroupsSequence} {
		if g := ds.Item(t, 0); g != nil {
			places = append(places, g.Item(tag.PixelValueTransformationSequence, 0), g.Item(tag.FrameVOILUTSequence, 0))
		}
	}
	for _, d := range places {
		if d == nil {
			continue
		}
		if s, ok := d.Float(tag.RescaleSlope); ok && s != 0 {
			v.slope = s
			v.intercept, _ = d.Float(tag.RescaleIntercept)
		}
		c, ok1 := d.Float(tag.WindowCenter)
		w, ok2 := d.Float(tag.WindowWidth)
		if ok1 && ok2 && w >= 1 && !v.window {
			v.center, v.width, v.window = c, w, true
		}
	}
	return v
}

// rangeFrames bounds how many frames are looked at for the range of a loop.
const rangeFrames = 64

// window is the way to display values: the window of the data set, and where
// more than 8 bits come without one the range of the loop, found once. The range
// of each frame for itself would make the loop flicker with its brightest pixel.
// Of more than rangeFrames frames as many are looked at, spread over the loop.
func (r *FrameReader) window(f *Frame) voi {
	if f.Stored <= 8 && !f.Signed || r.voi.window {
		return r.voi
	}
	r.rangeOnce.Do(func() {
		lo, hi := math.Inf(1), math.Inf(-1)
		n, seen := r.Len(), min(r.Len(), rangeFrames)
		var g Frame
		for i := range seen {
			if err := r.Decode(i*(n-1)/max(seen-1, 1), &g); err != nil {
				continue // its own error when it is asked for
			}
			for k := range g.Rows * g.Columns {
				x := float64(g.Value(k))*r.voi.slope + r.voi.intercept
				lo, hi = min(lo, x), max(hi, x)
			}
		}
		r.ranged = r.voi
		r.ranged.center, r.ranged.width = (lo+hi)/2+0.5, hi-lo+1
	})
	return r.ranged
}

// display maps the samples of a monochrome frame to 8 bits.
func display(f *Frame, v voi, put func(k int, g uint8)) {
	n := f.Rows * f.Columns
	invert := f.Photometric == "MONOCHROME1"
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
	lo, hi := v.center-0.5-(v.width-1)/2, v.center-0.5+(v.width-1)/2
	scale := 0.0
	if hi > lo {
		scale = 255 / (hi - lo)
	}
	for k := 0; k < n; k++ {
		x := float64(f.Value(k))*v.slope + v.intercept
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
func (r *FrameReader) colours(f *Frame, put func(k int, red, green, blue uint8)) error {
	n := f.Rows * f.Columns
	if f.Photometric == "PALETTE COLOR" {
		if r.palette == nil || f.Samples != 1 {
			return fail("colour", tag.PhotometricInterpretation, -1, ErrValue, "PALETTE COLOR with %d samples", f.Samples)
		}
		for k := 0; k < n; k++ {
			c := r.palette.at(f.Value(k))
			put(k, c[0], c[1], c[2])
		}
		return nil
	}
	if f.Samples != 3 {
		return fail("colour", tag.SamplesPerPixel, -1, ErrUnsupported, "%d samples, %s", f.Samples, f.Photometric)
	}
	if f.Bits == 8 {
		d := f.Data
		switch f.Photometric {
		case "YBR_FULL", "YBR_FULL_422":
			for k := 0; k < n; k++ {
				red, green, blue := pixel.YBRFull(d[3*k], d[3*k+1], d[3*k+2])
				put(k, red, green, blue)
			}
		case "YBR_PARTIAL_422", "YBR_PARTIAL_420":
			for k := 0; k < n; k++ {
				red, green, blue := pixel.YBRPartial(d[3*k], d[3*k+1], d[3*k+2])
				put(k, red, green, blue)
			}
		default:
			for k := 0; k < n; k++ {
				put(k, d[3*k], d[3*k+1], d[3*k+2])
			}
		}
		return nil
	}
	if strings.HasPrefix(f.Photometric, "YBR_PARTIAL") {
		return fail("colour", tag.PhotometricInterpretation, -1, ErrUnsupported, "%s of %d bits", f.Photometric, f.Bits)
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

// toGray converts a decoded frame to luma.
func (r *FrameReader) toGray(f *Frame, dst *image.Gray) error {
	w := f.Columns
	if f.Monochrome() {
		if f.Bits == 8 && f.Stored == 8 && !f.Signed && f.Photometric != "MONOCHROME1" {
			for y := 0; y < f.Rows; y++ {
				copy(dst.Pix[y*dst.Stride:][:w], f.Data[y*w:])
			}
			return nil
		}
		display(f, r.window(f), func(k int, g uint8) { dst.Pix[k/w*dst.Stride+k%w] = g })
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
					row[x] = pixel.Clamp((76309*(int32(src[3*x])-16) + 32768) >> 16)
				}
			default:
				for x := range row {
					row[x] = pixel.Luma(src[3*x], src[3*x+1], src[3*x+2])
				}
			}
		}
		return nil
	}
	return r.colours(f, func(k int, red, green, blue uint8) {
		dst.Pix[k/w*dst.Stride+k%w] = pixel.Luma(red, green, blue)
	})
}

// toRGB converts a decoded frame to RGBA.
func (r *FrameReader) toRGB(f *Frame, dst *image.RGBA) error {
	w := f.Columns
	put := func(k int, red, green, blue uint8) {
		p := dst.Pix[k/w*dst.Stride+k%w*4:]
		p[0], p[1], p[2], p[3] = red, green, blue, 255
	}
	if f.Monochrome() {
		display(f, r.window(f), func(k int, g uint8) { put(k, g, g, g) })
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
	return r.colours(f, put)
}
