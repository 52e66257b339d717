package summary

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	"io"

	"github.com/signintech/gopdf"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/goregular"

	"github.com/echonode/echonode/pipeline/internal/letters"
)

// WritePDF draws the pages on paper, one after the other. Equal pages give equal
// bytes: the document carries no time of its own.
func WritePDF(w io.Writer, pages ...Page) error {
	if len(pages) == 0 {
		return errors.New("no page")
	}
	known, err := letters.New()
	if err != nil {
		return err
	}
	d := &paper{letters: known}
	d.pdf.Start(gopdf.Config{PageSize: gopdf.Rect{W: pageWidth, H: pageHeight}})
	if err := errors.Join(d.pdf.AddTTFFontData("regular", goregular.TTF), d.pdf.AddTTFFontData("bold", gobold.TTF)); err != nil {
		return err
	}
	for _, p := range pages {
		d.pdf.AddPage()
		p.draw(d, light)
	}
	if d.err != nil {
		return d.err
	}
	_, err = d.pdf.WriteTo(w)
	return err
}

// paper is a canvas of a PDF page.
type paper struct {
	pdf     gopdf.GoPdf
	letters *letters.Set // the library refuses others
	err     error
}

func (d *paper) note(err error) {
	if d.err == nil {
		d.err = err
	}
}

func (d *paper) font(size float64, bold bool) {
	family := "regular"
	if bold {
		family = "bold"
	}
	d.note(d.pdf.SetFont(family, "", size))
}

func (d *paper) text(x, y, size float64, bold bool, c color.RGBA, s string) {
	if s == "" {
		return
	}
	d.font(size, bold)
	d.pdf.SetTextColor(c.R, c.G, c.B)
	d.pdf.SetXY(x, y)
	d.note(d.pdf.Text(d.letters.Shown(s)))
}

func (d *paper) width(size float64, bold bool, s string) float64 {
	if s == "" {
		return 0
	}
	d.font(size, bold)
	w, err := d.pdf.MeasureTextWidth(d.letters.Shown(s))
	d.note(err)
	return w
}

func (d *paper) line(x1, y1, x2, y2, width float64, c color.RGBA) {
	d.pdf.SetStrokeColor(c.R, c.G, c.B)
	d.pdf.SetLineWidth(width)
	d.pdf.Line(x1, y1, x2, y2)
}

func (d *paper) fill(x, y, w, h float64, c color.RGBA) {
	d.pdf.SetFillColor(c.R, c.G, c.B)
	d.pdf.RectFromUpperLeftWithStyle(x, y, w, h, "F")
}

func (d *paper) picture(x, y, w, h float64, img image.Image) {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 90}); err != nil {
		d.note(err)
		return
	}
	holder, err := gopdf.ImageHolderByBytes(b.Bytes())
	if err != nil {
		d.note(err)
		return
	}
	d.note(d.pdf.ImageByHolder(holder, x, y, &gopdf.Rect{W: w, H: h}))
}
