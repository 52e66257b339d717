package overlay

import (
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"math"
	"strings"

	"github.com/echonode/echonode/pipeline/internal/letters"
	"github.com/echonode/echonode/pipeline/lv"
	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

// Kind is the structure that an outline bounds.
type Kind int

// The structures.
const (
	Ventricle Kind = iota
	Myocardium
	Atrium
	// Ghost is the ventricle's outline of an earlier frame, kept for comparison.
	Ghost
	// Doubtful is a ventricle's outline that nothing is measured with: it is
	// dashed and grey, so that nobody takes it for a measurement.
	Doubtful
)

// The colours of the drawing. They stay apart for the common colour vision
// deficiencies by lightness as well as by hue.
var (
	colourVentricle  = color.RGBA{40, 230, 120, 255}
	colourMyocardium = color.RGBA{255, 170, 40, 255}
	colourAtrium     = color.RGBA{90, 170, 255, 255}
	colourAxis       = color.RGBA{255, 255, 255, 255}
	colourDisk       = color.RGBA{40, 230, 120, 255}
	colourKeypoint   = color.RGBA{255, 235, 60, 255}
	colourGhost      = color.RGBA{150, 215, 180, 255}
	colourDoubtful   = color.RGBA{170, 170, 170, 255}
	colourAlert      = color.RGBA{255, 150, 60, 255}
	colourNotice     = color.RGBA{255, 190, 90, 255}
	colourText       = color.RGBA{225, 225, 225, 255}
	colourBadge      = color.RGBA{255, 90, 90, 255}
)

// overlayColours are the ones that an animation's palette must hold.
func overlayColours() []color.RGBA {
	return []color.RGBA{
		colourVentricle, colourMyocardium, colourAtrium, colourAxis, colourKeypoint, colourNotice, colourBadge, colourGhost, colourAlert,
	}
}

// Outline is a closed contour to draw.
type Outline struct {
	Kind   Kind
	Points []lv.Point
}

// Line is an open line between two points, for calipers.
type Line struct{ A, B lv.Point }

// Scene is what is drawn on one frame. Empty parts are left out.
type Scene struct {
	Outlines  []Outline
	Keypoints []lv.Point
	Lines     []Line
	Axis      *lv.Axis
	Disks     []lv.Disk
	// Alert stands on the picture: that and why nothing is measured here.
	Alert string
	// Title is the first line of the footer: view, stage, result, beat.
	Title string
	// Status is the second line of the footer: frame, time, area.
	Status string
	// Badge is a short mark in the footer: "ED" or "ES".
	Badge string
}

// Notice stands in every footer of what nobody has verified.
const Notice = "AI - NOT FOR DIAGNOSIS - UNVERIFIED"

// NoticeVerified stands there where a reader has signed what is drawn.
const NoticeVerified = "AI, CORRECTED AND VERIFIED BY A READER"

// Renderer draws frames of one size. It must not be used by several goroutines
// at once.
type Renderer struct {
	// Notice stands in the footer; [NewRenderer] sets [Notice].
	Notice string

	width, height int
	footer        int // rows below the image
	lineHeight    int
	stroke        float64
	face          font.Face
	letters       *letters.Set
	product       string
	ownLine       bool // the product needs a line of its own
	mask          *image.Alpha
}

// NewRenderer prepares for frames of width x height pixels. product names the
// program and the model with their versions; it stands in the footer.
func NewRenderer(width, height int, product string) (*Renderer, error) {
	if width < 16 || height < 16 || width > 1<<14 || height > 1<<14 {
		return nil, fmt.Errorf("frames of %d x %d pixels", width, height)
	}
	parsed, err := opentype.Parse(goregular.TTF)
	if err != nil {
		return nil, err
	}
	size := min(max(float64(width)/48, 8), 22)
	face, err := opentype.NewFace(parsed, &opentype.FaceOptions{Size: size, DPI: 72, Hinting: font.HintingFull})
	if err != nil {
		return nil, err
	}
	known, err := letters.New()
	if err != nil {
		return nil, err
	}
	r := &Renderer{
		Notice: Notice, letters: known,
		width: width, height: height, face: face, product: product,
		lineHeight: int(math.Ceil(size * 1.35)),
		stroke:     min(max(float64(width)/400, 1.6), 4),
		mask:       image.NewAlpha(image.Rect(0, 0, width, height)),
	}
	lines := 3
	r.ownLine = max(r.textWidth(Notice), r.textWidth(NoticeVerified))+r.textWidth(product)+3*r.lineHeight > width
	if r.ownLine {
		lines = 4
	}
	r.footer = lines*r.lineHeight + r.lineHeight/2
	r.footer += r.footer % 2 // even, as chroma is subsampled
	return r, nil
}

// Size is the size of a rendered frame: the image and the footer below it, so
// that image pixels keep their coordinates.
func (r *Renderer) Size() image.Point { return image.Pt(r.width, r.height+r.footer) }

// NewImage makes an image for [Renderer.Render].
func (r *Renderer) NewImage() *image.RGBA {
	return image.NewRGBA(image.Rectangle{Max: r.Size()})
}

var errSize = errors.New("image of another size")

// Render draws the frame, the scene on it and the footer into dst, whose size
// must be that of the renderer.
func (r *Renderer) Render(dst *image.RGBA, frame image.Image, s Scene) error {
	if dst.Rect != (image.Rectangle{Max: r.Size()}) {
		return fmt.Errorf("destination is %v, not %v: %w", dst.Rect, r.Size(), errSize)
	}
	if b := frame.Bounds(); b.Dx() != r.width || b.Dy() != r.height {
		return fmt.Errorf("frame is %d x %d, not %d x %d: %w", b.Dx(), b.Dy(), r.width, r.height, errSize)
	}
	content := image.Rect(0, 0, r.width, r.height)
	draw.Draw(dst, content, frame, frame.Bounds().Min, draw.Src)
	r.Draw(dst, s)
	draw.Draw(dst, image.Rect(0, r.height, r.width, r.height+r.footer), image.Black, image.Point{}, draw.Src)
	r.drawFooter(dst, s)
	return nil
}

// Draw draws the graphics of the scene on an image whose top-left part is the
// frame, without a footer.
func (r *Renderer) Draw(img *image.RGBA, s Scene) {
	for _, d := range s.Disks {
		r.polyline(img, []lv.Point{d.A, d.B}, false, r.stroke*0.5, colourDisk, 0.6)
	}
	for _, o := range s.Outlines {
		switch o.Kind {
		case Myocardium:
			r.polyline(img, o.Points, true, r.stroke*0.7, colourMyocardium, 0.8)
		case Atrium:
			r.polyline(img, o.Points, true, r.stroke*0.6, colourAtrium, 0.8)
		case Ghost:
			r.polyline(img, o.Points, true, r.stroke*0.45, colourGhost, 0.55)
		case Doubtful:
			r.dashed(img, o.Points, r.stroke*0.6, colourDoubtful, 0.8)
		}
	}
	for _, o := range s.Outlines {
		if o.Kind == Ventricle {
			r.polyline(img, o.Points, true, r.stroke, colourVentricle, 1)
		}
	}
	if s.Axis != nil {
		r.dashes(img, s.Axis.Base, s.Axis.Apex)
	}
	for _, l := range s.Lines {
		r.polyline(img, []lv.Point{l.A, l.B}, false, r.stroke, colourVentricle, 1)
	}
	for _, p := range s.Keypoints {
		a := 2.5 * r.stroke
		r.polyline(img, []lv.Point{{X: p.X - a, Y: p.Y}, {X: p.X + a, Y: p.Y}}, false, r.stroke*0.8, colourKeypoint, 1)
		r.polyline(img, []lv.Point{{X: p.X, Y: p.Y - a}, {X: p.X, Y: p.Y + a}}, false, r.stroke*0.8, colourKeypoint, 1)
	}
	if s.Alert != "" {
		r.alert(img, s.Alert)
	}
}

// dashed strokes a closed line with gaps, by the length along it.
func (r *Renderer) dashed(img *image.RGBA, pts []lv.Point, width float64, c color.RGBA, opacity float64) {
	n := len(pts)
	if n < 2 {
		return
	}
	step := 5 * r.stroke
	drawn, left := true, step // whether this piece is drawn, and how much of it is left
	var dash []lv.Point
	flush := func() {
		r.polyline(img, dash, false, width, c, opacity)
		dash = dash[:0]
	}
	for i := range n {
		a, b := pts[i], pts[(i+1)%n]
		if !finite(a.X, a.Y, b.X, b.Y) || math.Hypot(b.X-a.X, b.Y-a.Y) > float64(r.width+r.height) {
			continue
		}
		l := math.Hypot(b.X-a.X, b.Y-a.Y)
		p := func(t float64) lv.Point { return lv.Point{X: a.X + (b.X-a.X)*t/l, Y: a.Y + (b.Y-a.Y)*t/l} }
		// Every round ends a piece or the side, however lengths are rounded.
		for at := 0.0; at < l; {
			end := at + left
			ends := end <= l
			if !ends {
				end = l
			}
			if drawn {
				dash = append(dash, p(at), p(end))
			}
			if left -= end - at; ends {
				flush()
				drawn, left = !drawn, step
			}
			at = end
		}
	}
	flush()
}

// alert writes text on a dark ground at the top left of the picture, in as many
// lines as it needs.
func (r *Renderer) alert(img *image.RGBA, s string) {
	pad := r.lineHeight / 2
	lines := r.wrap(s, r.width-4*pad)
	width := 0
	for _, l := range lines {
		width = max(width, r.textWidth(l))
	}
	box := image.Rect(pad, pad, min(pad+width+2*pad, r.width), min(pad+len(lines)*r.lineHeight+pad, r.height))
	draw.Draw(img, box, image.NewUniform(color.RGBA{0, 0, 0, 190}), image.Point{}, draw.Over)
	for i, l := range lines {
		r.text(img, 2*pad, pad+(i+1)*r.lineHeight-r.lineHeight/5, l, colourAlert)
	}
}

// wrap breaks text at spaces; a word that is too long is cut.
func (r *Renderer) wrap(s string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(s) {
		if joined := strings.TrimSpace(line + " " + word); r.textWidth(joined) <= width || line == "" {
			line = joined
			continue
		}
		lines = append(lines, r.fit(line, width))
		line = word
	}
	return append(lines, r.fit(line, width))
}

// dashes draws a dashed line.
func (r *Renderer) dashes(img *image.RGBA, a, b lv.Point) {
	l := math.Hypot(b.X-a.X, b.Y-a.Y)
	if !finite(a.X, a.Y, b.X, b.Y) || l > float64(2*(r.width+r.height)) {
		return
	}
	step := 4 * r.stroke
	for t := 0.0; t < l; t += 2 * step {
		end := min(t+step, l)
		at := func(t float64) lv.Point {
			return lv.Point{X: a.X + (b.X-a.X)*t/l, Y: a.Y + (b.Y-a.Y)*t/l}
		}
		r.polyline(img, []lv.Point{at(t), at(end)}, false, r.stroke*0.6, colourAxis, 0.85)
	}
}

// polyline strokes a line with round joins and ends. The coverage of a pixel is
// that of the nearest segment, so that a line never blends over itself.
func (r *Renderer) polyline(img *image.RGBA, pts []lv.Point, closed bool, width float64, c color.RGBA, opacity float64) {
	n := len(pts)
	if n < 2 {
		return
	}
	touched := image.Rectangle{}
	last := n - 1
	if closed {
		last = n
	}
	for i := range last {
		touched = touched.Union(r.segment(pts[i], pts[(i+1)%n], width/2))
	}
	for y := touched.Min.Y; y < touched.Max.Y; y++ {
		row := r.mask.Pix[y*r.mask.Stride+touched.Min.X : y*r.mask.Stride+touched.Max.X]
		for x, m := range row {
			if m == 0 {
				continue
			}
			row[x] = 0
			a := uint32(float64(m)*opacity + 0.5)
			p := img.Pix[img.PixOffset(touched.Min.X+x, y):]
			p[0] = mix(p[0], c.R, a)
			p[1] = mix(p[1], c.G, a)
			p[2] = mix(p[2], c.B, a)
			p[3] = 255
		}
	}
}

func mix(under, over uint8, alpha uint32) uint8 {
	return uint8((uint32(under)*(255-alpha) + uint32(over)*alpha + 127) / 255)
}

// segment raises the mask to the coverage of one segment and returns the
// rectangle it may have touched.
func (r *Renderer) segment(a, b lv.Point, half float64) image.Rectangle {
	reach := half + 0.5
	if !finite(a.X, a.Y, b.X, b.Y) {
		return image.Rectangle{}
	}
	clampTo := func(v float64, hi int) int { return int(min(max(v, 0), float64(hi))) }
	box := image.Rect(
		clampTo(math.Floor(min(a.X, b.X)-reach), r.width), clampTo(math.Floor(min(a.Y, b.Y)-reach), r.height),
		clampTo(math.Ceil(max(a.X, b.X)+reach)+1, r.width), clampTo(math.Ceil(max(a.Y, b.Y)+reach)+1, r.height))
	dx, dy := b.X-a.X, b.Y-a.Y
	ll := dx*dx + dy*dy
	for y := box.Min.Y; y < box.Max.Y; y++ {
		for x := box.Min.X; x < box.Max.X; x++ {
			px, py := float64(x)-a.X, float64(y)-a.Y
			t := 0.0
			if ll > 0 {
				t = min(max((px*dx+py*dy)/ll, 0), 1)
			}
			ex, ey := px-t*dx, py-t*dy
			d := ex*ex + ey*ey
			if d >= reach*reach {
				continue
			}
			cover := min(half+0.5-math.Sqrt(d), 1)
			m := &r.mask.Pix[y*r.mask.Stride+x]
			*m = max(*m, uint8(cover*255+0.5))
		}
	}
	return box
}

func finite(v ...float64) bool {
	for _, f := range v {
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return false
		}
	}
	return true
}

func (r *Renderer) textWidth(s string) int {
	return font.MeasureString(r.face, r.letters.Shown(s)).Ceil()
}

// drawFooter writes status and badge, notice and product below the image.
func (r *Renderer) drawFooter(img *image.RGBA, s Scene) {
	pad := r.lineHeight / 2
	y := r.height + r.lineHeight
	room := r.width - 2*pad
	if s.Badge != "" {
		w := r.textWidth(s.Badge)
		r.text(img, r.width-pad-w, y, s.Badge, colourBadge)
		room -= w + pad
	}
	r.text(img, pad, y, r.fit(s.Title, room), colourText)
	y += r.lineHeight
	r.text(img, pad, y, r.fit(s.Status, r.width-2*pad), colourText)
	y += r.lineHeight
	r.text(img, pad, y, r.fit(r.Notice, r.width-2*pad), colourNotice)
	if r.ownLine {
		r.text(img, pad, y+r.lineHeight, r.fit(r.product, r.width-2*pad), colourText)
	} else {
		r.text(img, r.width-pad-r.textWidth(r.product), y, r.product, colourText)
	}
}

func (r *Renderer) text(img *image.RGBA, x, y int, s string, c color.RGBA) {
	d := font.Drawer{Dst: img, Src: image.NewUniform(c), Face: r.face, Dot: fixed.P(x, y)}
	d.DrawString(r.letters.Shown(s))
}

// fit cuts text to a width in pixels.
func (r *Renderer) fit(s string, width int) string {
	return letters.Fit(s, float64(width), func(s string) float64 { return float64(r.textWidth(s)) })
}
