package overlay

import (
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/png"
	"io"
	"math"
	"slices"

	"github.com/disintegration/imaging"
)

// GIFOptions bound an animation.
type GIFOptions struct {
	// MaxWidth of a frame; wider ones are reduced.
	MaxWidth int
	// MaxPixels of all frames together; beyond it frames are reduced further.
	MaxPixels int
	// Hold are frames that are shown longer, by HoldMS.
	Hold   []int
	HoldMS float64
}

// DefaultGIFOptions keeps an animation of a few seconds to some megabytes.
func DefaultGIFOptions() GIFOptions { return GIFOptions{MaxWidth: 480, MaxPixels: 16 << 20} }

// shortestDelay is the shortest delay, in hundredths of a second, that viewers
// respect; most play shorter ones at ten frames per second.
const shortestDelay = 2

// WriteGIF writes an endless animation of the frames at their real times.
// timesMS are the times of the frames from the first; the last frame is shown
// as long as the one before it. Frames that would be shown for less than 20 ms
// are left out, so that the speed is kept. frame is called once for each frame
// that is shown, in order, and is done with before the next call.
func WriteGIF(w io.Writer, timesMS []float64, o GIFOptions, frame func(i int) (image.Image, error)) error {
	if len(timesMS) == 0 {
		return errors.New("animation without frames")
	}
	shown, delays := schedule(timesMS)
	for k, i := range shown {
		if slices.Contains(o.Hold, i) {
			delays[k] = min(delays[k]+int(o.HoldMS/10), 0xFFFF)
		}
	}
	q := newQuantizer()
	out := gif.GIF{Delay: delays}
	var width int
	for k, i := range shown {
		img, err := frame(i)
		if err != nil {
			return fmt.Errorf("frame %d: %w", i, err)
		}
		if k == 0 {
			width = targetWidth(img.Bounds().Size(), len(shown), o)
		}
		if img.Bounds().Dx() > width {
			img = imaging.Resize(img, width, 0, imaging.Box)
		}
		out.Image = append(out.Image, q.paletted(img))
	}
	return gif.EncodeAll(w, &out)
}

// targetWidth is the width that keeps to the options.
func targetWidth(size image.Point, n int, o GIFOptions) int {
	width := size.X
	if o.MaxWidth > 0 {
		width = min(width, o.MaxWidth)
	}
	if o.MaxPixels > 0 {
		perFrame := float64(o.MaxPixels) / float64(n)
		width = min(width, int(math.Sqrt(perFrame*float64(size.X)/float64(size.Y))))
	}
	return max(width, 16)
}

// schedule chooses the frames that are shown and their delays in hundredths of
// a second. Delays are rounded so that errors do not add up.
func schedule(timesMS []float64) (shown, delays []int) {
	start := timesMS[0]
	end := start + 1000
	if n := len(timesMS); n > 1 {
		end = 2*timesMS[n-1] - timesMS[n-2]
	}
	tick := func(ms float64) int { return int(math.Round((ms - start) / 10)) }
	for i, t := range timesMS {
		if len(shown) > 0 && tick(t)-tick(timesMS[shown[len(shown)-1]]) < shortestDelay {
			continue
		}
		shown = append(shown, i)
	}
	for k, i := range shown {
		next := end
		if k+1 < len(shown) {
			next = timesMS[shown[k+1]]
		}
		delays = append(delays, min(max(tick(next)-tick(timesMS[i]), shortestDelay), 0xFFFF))
	}
	return shown, delays
}

const grays = 160

// quantizer maps colours to a fixed palette: grays, the colours of the overlay
// and a colour cube for what else is in the image.
type quantizer struct {
	palette color.Palette
	near    [1 << 15]uint8 // nearest entry, by 5 bits of each channel
}

func newQuantizer() *quantizer {
	q := &quantizer{}
	for i := range grays {
		v := uint8(i * 255 / (grays - 1))
		q.palette = append(q.palette, color.RGBA{v, v, v, 255})
	}
	for _, c := range overlayColours() {
		q.palette = append(q.palette, c)
		// The same colour half transparent over black, for soft edges.
		q.palette = append(q.palette, color.RGBA{c.R / 2, c.G / 2, c.B / 2, 255})
	}
	for _, r := range [4]uint8{0, 85, 170, 255} {
		for _, g := range [4]uint8{0, 85, 170, 255} {
			for _, b := range [4]uint8{0, 85, 170, 255} {
				q.palette = append(q.palette, color.RGBA{r, g, b, 255})
			}
		}
	}
	for i := range q.near {
		r, g, b := i>>10&31*255/31, i>>5&31*255/31, i&31*255/31
		best, at := math.MaxInt, 0
		for k, c := range q.palette {
			p := c.(color.RGBA)
			dr, dg, db := r-int(p.R), g-int(p.G), b-int(p.B)
			if d := 3*dr*dr + 6*dg*dg + db*db; d < best {
				best, at = d, k
			}
		}
		q.near[i] = uint8(at)
	}
	return q
}

func (q *quantizer) index(r, g, b uint8) uint8 {
	if lo, hi := min(r, g, b), max(r, g, b); hi-lo <= 12 {
		luma := (299*int(r) + 587*int(g) + 114*int(b)) / 1000
		return uint8((luma*(grays-1) + 127) / 255)
	}
	return q.near[int(r)>>3<<10|int(g)>>3<<5|int(b)>>3]
}

func (q *quantizer) paletted(img image.Image) *image.Paletted {
	b := img.Bounds()
	out := image.NewPaletted(image.Rect(0, 0, b.Dx(), b.Dy()), q.palette)
	var pix []uint8
	var stride int
	switch src := img.(type) {
	case *image.RGBA:
		pix, stride = src.Pix[src.PixOffset(b.Min.X, b.Min.Y):], src.Stride
	case *image.NRGBA:
		pix, stride = src.Pix[src.PixOffset(b.Min.X, b.Min.Y):], src.Stride
	default:
		c := imaging.Clone(img)
		pix, stride = c.Pix, c.Stride
	}
	for y := range b.Dy() {
		row := pix[y*stride:]
		for x := range b.Dx() {
			out.Pix[y*out.Stride+x] = q.index(row[4*x], row[4*x+1], row[4*x+2])
		}
	}
	return out
}

// WritePNG writes a still.
func WritePNG(w io.Writer, img image.Image) error {
	e := png.Encoder{CompressionLevel: png.BestSpeed}
	return e.Encode(w, img)
}
