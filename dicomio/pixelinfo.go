package dicomio

import (
	"strings"

	"github.com/echonode/echonode/dicomio/pixel"
	"github.com/echonode/echonode/dicomio/tag"
)

var tagNumberOfFrames = tag.NumberOfFrames

// PixelInfo is the Image Pixel module (PS3.3 C.7.6.3).
type PixelInfo = pixel.Info

// PixelInfoOf reads the attributes and checks them against each other; ErrValue
// or ErrUnsupported.
func PixelInfoOf(ds *DataSet) (PixelInfo, error) {
	var p PixelInfo
	get := func(t Tag, def, lo, hi int64) (int, error) {
		v, ok := ds.Int(t)
		if !ok {
			if e, has := ds.Get(t); def < 0 || has && e.n > 0 {
				return 0, fail("pixels", t, -1, ErrValue, "missing or not a number")
			}
			v = def
		}
		if v < lo || v > hi {
			return 0, fail("pixels", t, -1, ErrValue, "%d, expected %d to %d", v, lo, hi)
		}
		return int(v), nil
	}
	var err error
	read := func(dst *int, t Tag, def, lo, hi int64) {
		if err == nil {
			*dst, err = get(t, def, lo, hi)
		}
	}
	read(&p.Rows, tag.Rows, -1, 1, 65535)
	read(&p.Columns, tag.Columns, -1, 1, 65535)
	read(&p.Samples, tag.SamplesPerPixel, 1, 1, 4)
	read(&p.BitsAllocated, tag.BitsAllocated, -1, 1, 64)
	read(&p.BitsStored, tag.BitsStored, int64(p.BitsAllocated), 1, 64)
	read(&p.HighBit, tag.HighBit, int64(p.BitsStored)-1, 0, 63)
	read(&p.Planar, tag.PlanarConfiguration, 0, 0, 1)
	read(&p.Frames, tag.NumberOfFrames, 1, 0, 1<<31-1)
	signed := 0
	read(&signed, tag.PixelRepresentation, 0, 0, 1)
	if err != nil {
		return p, err
	}
	if p.Frames == 0 {
		p.Frames = 1 // seen where the attribute is meant to be absent
	}
	p.Signed = signed == 1
	switch p.BitsAllocated {
	case 1, 8, 16, 32, 64:
	default:
		return p, fail("pixels", tag.BitsAllocated, -1, ErrUnsupported, "%d bits", p.BitsAllocated)
	}
	if p.BitsStored > p.BitsAllocated {
		return p, fail("pixels", tag.BitsStored, -1, ErrValue, "%d of %d bits", p.BitsStored, p.BitsAllocated)
	}
	if p.HighBit >= p.BitsAllocated || p.HighBit < p.BitsStored-1 {
		p.HighBit = p.BitsStored - 1
	}
	p.Photometric = strings.ToUpper(ds.String(tag.PhotometricInterpretation))
	if p.Photometric == "" {
		p.Photometric = "MONOCHROME2"
		if p.Samples == 3 {
			p.Photometric = "RGB"
		}
	}
	if p.Subsampled() && p.Columns%2 == 1 {
		return p, nil // refused only if it turns out to be native
	}
	return p, nil
}

// readPalette reads the lookup tables, segmented ones included.
func readPalette(ds *DataSet, in PixelInfo) (*pixel.Palette, error) {
	p := &pixel.Palette{}
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
		if b, err := paletteTable(ds, lt); err != nil {
			return nil, err
		} else if len(b) > 0 {
			le, _ := ds.Get(lt)
			lut = pixel.PaletteEntries(b, n, bits, le.enc.Order())
		} else {
			lt = tag.New(0x0028, 0x1221+c)
			b, err := paletteTable(ds, lt)
			if err != nil {
				return nil, err
			}
			se, ok := ds.Get(lt)
			if !ok || len(b) == 0 {
				return nil, fail("palette", lt, -1, ErrValue, "missing")
			}
			if lut, err = pixel.PaletteSegments(b, n, bits, se.enc.Order()); err != nil {
				return nil, fail("palette", lt, -1, ErrValue, "%v", err)
			}
		}
		if len(lut) < n {
			return nil, fail("palette", lt, -1, ErrValue, "%d entries of %d", len(lut), n)
		}
		lut = lut[:n]
		if p.RGB == nil {
			p.First = first
			p.RGB = make([][3]uint8, n)
		}
		if len(p.RGB) != n || p.First != first {
			return nil, fail("palette", dt, -1, ErrValue, "tables of different extent")
		}
		shift := uint(0)
		for _, v := range lut {
			if v > 255 {
				shift = 8 // otherwise 8-bit entries in 16-bit words
			}
		}
		for i, v := range lut {
			p.RGB[i][c] = uint8(v >> shift)
		}
	}
	return p, nil
}

// maxPalette is the longest lookup table that is read, in bytes: 65,536
// entries of two bytes (PS3.3, C.7.6.3.1.6) and as many again, for segments.
const maxPalette = 4 * 65536

func paletteTable(ds *DataSet, t Tag) ([]byte, error) {
	if e, ok := ds.Get(t); ok && e.n > maxPalette {
		return nil, fail("palette", t, -1, ErrLimit, "%d bytes, limit %d", e.n, maxPalette)
	}
	return ds.Bytes(t)
}

// readWindow reads rescale and window, from the functional groups if need be, and
// whether gray is inverted.
func readWindow(ds *DataSet) pixel.Window {
	v := pixel.Window{Slope: 1, Inverse: strings.EqualFold(ds.String(tag.PresentationLUTShape), "INVERSE")}
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
			v.Slope = s
			v.Intercept, _ = d.Float(tag.RescaleIntercept)
		}
		c, ok1 := d.Float(tag.WindowCenter)
		w, ok2 := d.Float(tag.WindowWidth)
		if ok1 && ok2 && w >= 1 && !v.Given {
			v.Center, v.Width, v.Given = c, w, true
		}
	}
	return v
}
