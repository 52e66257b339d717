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
