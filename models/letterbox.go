package models

import (
	"fmt"
	"image"
	"math"
	"slices"
)

// Strides of the output planes: one mask cell covers MaskStride x MaskStride input pixels, one heatmap cell
// HeatmapStride x HeatmapStride.
const (
	MaskStride    = 2
	HeatmapStride = 4
)

// Affine is an axis-aligned map x' = Sx*x + Ox, y' = Sy*y + Oy between two pixel grids. On either side the origin is
// the centre of the top-left pixel, x right, y down.
type Affine struct{ Sx, Sy, Ox, Oy float64 }

// Apply maps a position.
func (a Affine) Apply(x, y float64) (float64, float64) {
	return a.Sx*x + a.Ox, a.Sy*y + a.Oy
}

// Inverse is the map in the other direction.
func (a Affine) Inverse() Affine {
	return Affine{Sx: 1 / a.Sx, Sy: 1 / a.Sy, Ox: -a.Ox / a.Sx, Oy: -a.Oy / a.Sy}
}

// Then is the map that applies a first and b after it.
func (a Affine) Then(b Affine) Affine {
	return Affine{Sx: b.Sx * a.Sx, Sy: b.Sy * a.Sy, Ox: b.Sx*a.Ox + b.Ox, Oy: b.Sy*a.Oy + b.Oy}
}

// Letterbox places a rectangle of a source frame into the input of the network: as large as it fits with its physical
// aspect ratio kept, centred, the rest zero.
//
// The rectangle that receives the picture, Content, lies on whole input pixels, so resampling needs no fractions; the
// scales follow from it exactly, source edge to content edge, and differ from the wanted aspect ratio by less than
// half an input pixel over the whole picture. A source position p (pixel centres at integers) lands at
//
//	in = (p + 0.5 - Crop.Min) * scale - 0.5 + Content.Min
//
// with scale = Content size / Crop size, separately in x and y. If Mirrored, x counts from the
// right edge of Content.
type Letterbox struct {
	Crop    image.Rectangle // in source pixels, half-open
	Content image.Rectangle // in input pixels, half-open
	Width   int             // of the input
	Height  int
	// Mirrored: the network sees the content turned left to right (see Mirror); the maps know it.
	Mirrored bool
}

// NewLetterbox fits crop into an input of width x height pixels. aspect is the physical width of a source pixel divided
// by its physical height, 1 for square pixels.
func NewLetterbox(crop image.Rectangle, aspect float64, width, height int) (Letterbox, error) {
	switch {
	case crop.Empty():
		return Letterbox{}, fmt.Errorf("models: letterbox of the empty rectangle %v", crop)
	case width <= 0 || height <= 0:
		return Letterbox{}, fmt.Errorf("models: letterbox into %dx%d", width, height)
	case !(aspect > 0) || math.IsInf(aspect, 0):
		return Letterbox{}, fmt.Errorf("models: letterbox with pixel aspect ratio %v", aspect)
	}
	w, h := float64(crop.Dx())*aspect, float64(crop.Dy())
	scale := math.Min(float64(width)/w, float64(height)/h)
	cw := min(max(int(math.Round(w*scale)), 1), width)
	ch := min(max(int(math.Round(h*scale)), 1), height)
	corner := image.Pt((width-cw)/2, (height-ch)/2)
	return Letterbox{
		Crop:    crop,
		Content: image.Rectangle{Min: corner, Max: corner.Add(image.Pt(cw, ch))},
		Width:   width,
		Height:  height,
	}, nil
}

// InputFromSource maps source pixels to input pixels.
func (l Letterbox) InputFromSource() Affine {
	sx := float64(l.Content.Dx()) / float64(l.Crop.Dx())
	sy := float64(l.Content.Dy()) / float64(l.Crop.Dy())
	a := Affine{
		Sx: sx, Ox: (0.5-float64(l.Crop.Min.X))*sx - 0.5 + float64(l.Content.Min.X),
		Sy: sy, Oy: (0.5-float64(l.Crop.Min.Y))*sy - 0.5 + float64(l.Content.Min.Y),
	}
	if l.Mirrored {
		a.Sx, a.Ox = -a.Sx, float64(l.Content.Min.X+l.Content.Max.X-1)-a.Ox
	}
	return a
}

// SourceFromInput maps input pixels to source pixels.
func (l Letterbox) SourceFromInput() Affine { return l.InputFromSource().Inverse() }

// SourceFromMask maps cells of a mask plane to source pixels.
func (l Letterbox) SourceFromMask() Affine {
	return inputFromCells(MaskStride).Then(l.SourceFromInput())
}

// SourceFromHeatmap maps cells of a heatmap plane to source pixels. (DecodeKeypoint already answers in input pixels:
// those go through SourceFromInput.)
func (l Letterbox) SourceFromHeatmap() Affine {
	return inputFromCells(HeatmapStride).Then(l.SourceFromInput())
}

// Mirror turns an image left to right in place.
func Mirror(img *image.Gray) {
	b := img.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y++ {
		row := img.Pix[img.PixOffset(b.Min.X, y):]
		slices.Reverse(row[:b.Dx()])
	}
}

// Canvas prepares an input image for resampling: it zeroes the padding and returns the part of dst that receives the
// picture. dst must be as large as the input.
func (l Letterbox) Canvas(dst *image.Gray) (*image.Gray, error) {
	b := dst.Bounds()
	if b.Dx() != l.Width || b.Dy() != l.Height {
		return nil, fmt.Errorf("models: letterbox for %dx%d on an image of %dx%d", l.Width, l.Height, b.Dx(), b.Dy())
	}
	for y := range l.Height {
		row := dst.Pix[y*dst.Stride : y*dst.Stride+l.Width]
		if y < l.Content.Min.Y || y >= l.Content.Max.Y {
			clear(row)
			continue
		}
		clear(row[:l.Content.Min.X])
		clear(row[l.Content.Max.X:])
	}
	return dst.SubImage(l.Content.Add(b.Min)).(*image.Gray), nil
}

// inputFromCells maps plane cells to input pixels: cell 0 covers pixels 0..stride-1, its centre is at (stride-1)/2.
func inputFromCells(stride int) Affine {
	s := float64(stride)
	return Affine{Sx: s, Sy: s, Ox: (s - 1) / 2, Oy: (s - 1) / 2}
}
