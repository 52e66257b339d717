package summary

import (
	"image"
	"image/color"
	"math"

	"golang.org/x/image/draw"
	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
	"golang.org/x/image/vector"

	"github.com/echonode/echonode/pipeline/internal/letters"
)

// scale of the picture: pixels of a point. 1684 x 1190 pixels are read without
// zooming on the screens of a reading room.
const scale = 2

// The size of the picture in pixels.
const (
	ImageWidth  = pageWidth * scale
	ImageHeight = pageHeight * scale
)

// Image draws the page on a dark ground.
func (p Page) Image() (*image.RGBA, error) {
	r := &raster{img: image.NewRGBA(image.Rect(0, 0, ImageWidth, ImageHeight)), faces: map[faceKey]font.Face{}}
	var err error
	if r.letters, err = letters.New(); err != nil {
		return nil, err
	}
	if r.regular, err = opentype.Parse(goregular.TTF); err != nil {
		return nil, err
	}
	if r.bold, err = opentype.Parse(gobold.TTF); err != nil {
		return nil, err
	}
	p.draw(r, dark)
	return r.img, r.err
}

type faceKey struct {
	size float64
	bold bool
}

// raster is a canvas of pixels.
type raster struct {
	img           *image.RGBA
	regular, bold *opentype.Font
	faces         map[faceKey]font.Face
	letters       *letters.Set
	err           error
}

func (r *raster) face(size float64, bold bool) font.Face {
	k := faceKey{size, bold}
	if f := r.faces[k]; f != nil {
		return f
	}
	f := r.regular
	if bold {
		f = r.bold
	}
	face, err := opentype.NewFace(f, &opentype.FaceOptions{Size: size * scale, DPI: 72, Hinting: font.HintingFull})
	if err != nil {
		r.err = err
		return nil
	}
	r.faces[k] = face
	return face
}

func (r *raster) text(x, y, size float64, bold bool, c color.RGBA, s string) {
	if f := r.face(size, bold); f != nil {
		d := font.Drawer{Dst: r.img, Src: image.NewUniform(c), Face: f, Dot: fixed.P(int(x*scale), int(y*scale))}
		d.DrawString(r.letters.Shown(s))
	}
}

func (r *raster) width(size float64, bold bool, s string) float64 {
	f := r.face(size, bold)
	if f == nil {
		return 0
	}
	return float64(font.MeasureString(f, r.letters.Shown(s))) / 64 / scale
}

func (r *raster) line(x1, y1, x2, y2, width float64, c color.RGBA) {
	dx, dy := x2-x1, y2-y1
	l := math.Hypot(dx, dy)
	if l == 0 {
		return
	}
	half := max(width*scale, 1) / 2
	nx, ny := -dy/l*half, dx/l*half
	// Only the line's own rectangle is rasterised.
	box := image.Rect(int(min(x1, x2)*scale-half)-1, int(min(y1, y2)*scale-half)-1, int(max(x1, x2)*scale+half)+2, int(max(y1, y2)*scale+half)+2)
	if box = box.Intersect(r.img.Rect); box.Empty() {
		return
	}
	z := vector.NewRasterizer(box.Dx(), box.Dy())
	at := func(x, y float64) (float32, float32) {
		return float32(x) - float32(box.Min.X), float32(y) - float32(box.Min.Y)
	}
	z.MoveTo(at(x1*scale+nx, y1*scale+ny))
	z.LineTo(at(x2*scale+nx, y2*scale+ny))
	z.LineTo(at(x2*scale-nx, y2*scale-ny))
	z.LineTo(at(x1*scale-nx, y1*scale-ny))
	z.ClosePath()
	z.DrawOp = draw.Over
	z.Draw(r.img, box, image.NewUniform(c), image.Point{})
}

func (r *raster) fill(x, y, w, h float64, c color.RGBA) {
	draw.Draw(r.img, r.rect(x, y, w, h), image.NewUniform(c), image.Point{}, draw.Src)
}

func (r *raster) picture(x, y, w, h float64, img image.Image) {
	draw.CatmullRom.Scale(r.img, r.rect(x, y, w, h), img, img.Bounds(), draw.Src, nil)
}

func (r *raster) rect(x, y, w, h float64) image.Rectangle {
	return image.Rect(int(math.Round(x*scale)), int(math.Round(y*scale)), int(math.Round((x+w)*scale)), int(math.Round((y+h)*scale)))
}
