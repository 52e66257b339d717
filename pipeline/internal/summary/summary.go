// Package summary lays the result of one examination, or of one stage of it, out
// on a single page: the frames at end-diastole and end-systole with what was
// drawn on them, the area curve, the values with their normal ranges, and what a
// reader has to know before believing them. The page becomes a picture for the
// archive or a PDF; both come from the same layout.
package summary

import (
	"fmt"
	"image"
	"image/color"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/echonode/echonode/pipeline/internal/letters"
)

// Page is what stands on a page. Empty parts are left out.
type Page struct {
	Title string
	// Subject are short lines on patient and study.
	Subject []Line
	// Headline is the one result that a reader looks for, Under what belongs to it.
	Headline, Under string
	// Doubtful prints the headline in a warning's colour.
	Doubtful bool
	Rows     []Row
	Stills   []Still // up to four
	Curve    *Curve
	// Remarks are doubts and reasons, one sentence each.
	Remarks []string
	// Notice is printed in a warning's colour.
	Notice string
	// Made says by what and when.
	Made string
}

// Line is text of which the last part stays whole where the first has to be cut.
type Line struct{ Text, Last string }

// Row is one value.
type Row struct {
	Name, Value, Normal, Method string
	// Outside marks a value outside its normal range.
	Outside bool
}

// Still is a frame with its caption.
type Still struct {
	Caption string
	Image   image.Image
}

// Curve is a quantity over time.
type Curve struct {
	Title, Unit string
	// TimesMS and Values have one entry per frame; NaN where there is none.
	TimesMS, Values []float64
	Smoothed        []float64 // of the same length, or none
	ED, ES          []int     // frames that are marked
}

// The page is A4 across, in points of 1/72 inch.
const (
	pageWidth, pageHeight = 842.0, 595.0
	margin                = 24.0
	stillWidth            = 236.0
	stillHeight           = 186.0
	gap                   = 10.0
	columnWidth           = 420.0 // of the values, at most
	subjectWidth          = 400.0 // of patient and study, at most
	curveHeight           = 190.0 // where there is room
	remarkSize            = 8.5
	remarkLine            = 10.5
)

// canvas is what a page is drawn on; y grows downwards, text stands on y. Letters
// that the font lacks are drawn as [letters.Missing].
type canvas interface {
	text(x, y, size float64, bold bool, c color.RGBA, s string)
	width(size float64, bold bool, s string) float64
	line(x1, y1, x2, y2, width float64, c color.RGBA)
	fill(x, y, w, h float64, c color.RGBA)
	picture(x, y, w, h float64, img image.Image)
}

// theme are the colours of a page: dark for reading rooms, light for paper.
type theme struct {
	ground, text, faint, curve, ed, es, warn color.RGBA
}

var (
	dark = theme{color.RGBA{12, 14, 18, 255}, color.RGBA{235, 235, 235, 255}, color.RGBA{150, 155, 165, 255}, color.RGBA{40, 230, 120, 255},
		color.RGBA{255, 110, 100, 255}, color.RGBA{110, 170, 255, 255}, color.RGBA{255, 190, 90, 255}}
	light = theme{color.RGBA{255, 255, 255, 255}, color.RGBA{25, 25, 25, 255}, color.RGBA{95, 100, 110, 255}, color.RGBA{0, 130, 75, 255},
		color.RGBA{190, 40, 30, 255}, color.RGBA{30, 90, 190, 255}, color.RGBA{150, 80, 0, 255}}
)

// draw lays the page out.
func (p Page) draw(c canvas, t theme) {
	c.fill(0, 0, pageWidth, pageHeight, t.ground)
	y := margin + 12.0
	right := pageWidth - margin
	title := right
	for i, l := range p.Subject {
		s := l.fit(c, 9, subjectWidth)
		x := right - c.width(9, false, s)
		c.text(x, margin+6+float64(i)*11, 9, false, t.text, s)
		title = min(title, x)
	}
	c.text(margin, y, 15, true, t.text, fit(c, 15, true, p.Title, title-margin-2*gap))
	y += 4
	for _, l := range wrap(c, 10, true, p.Notice, title-margin-2*gap) {
		y += 12
		c.text(margin, y, 10, true, t.warn, l)
	}
	top := max(y, margin+28) + 16
	bottom := pageHeight - margin - 14
	left := margin
	if len(p.Stills) > 0 || p.Curve != nil {
		var below float64
		left, below = p.stills(c, t, margin, top)
		p.curve(c, t, margin, below, left-gap-margin, min(bottom, below+curveHeight))
	}
	p.column(c, t, left, top, min(right, left+columnWidth), bottom)
	c.text(margin, pageHeight-margin+4, 8, false, t.faint, fit(c, 8, false, p.Made, pageWidth-2*margin))
}

// stills draws two columns of frames and returns where the text beside and the
// curve below them begin.
func (p Page) stills(c canvas, t theme, x, y float64) (left, below float64) {
	left, below = x+2*(stillWidth+gap)+gap, y
	for i, s := range p.Stills {
		if i == 4 {
			break
		}
		sx := x + float64(i%2)*(stillWidth+gap)
		sy := y + float64(i/2)*(stillHeight+gap+10)
		b := s.Image.Bounds()
		scale := min(stillWidth/float64(b.Dx()), stillHeight/float64(b.Dy()))
		w, h := float64(b.Dx())*scale, float64(b.Dy())*scale
		c.fill(sx, sy, stillWidth, stillHeight, color.RGBA{0, 0, 0, 255})
		c.picture(sx+(stillWidth-w)/2, sy+(stillHeight-h)/2, w, h, s.Image)
		c.text(sx, sy+stillHeight+10, 8.5, false, t.text, fit(c, 8.5, false, s.Caption, stillWidth))
		below = sy + stillHeight + gap + 14
	}
	return left, below
}

// column draws headline, values and remarks.
func (p Page) column(c canvas, t theme, x, y, right, bottom float64) {
	y += 18
	ink := t.text
	if p.Doubtful {
		ink = t.warn
	}
	c.text(x, y, 24, true, ink, fit(c, 24, true, p.Headline, right-x))
	for _, l := range wrap(c, 10, false, p.Under, right-x) {
		y += 14
		c.text(x, y, 10, false, t.faint, l)
	}
	y += 12
	value := x + 0.5*(right-x)
	normal := value + 0.22*(right-x)
	for _, r := range p.Rows {
		if r.Normal != "" {
			c.text(normal, y+2, 8, false, t.faint, "normal")
			break
		}
	}
	for i, r := range p.Rows {
		if y > bottom-30 {
			p.Remarks = append([]string{strconv.Itoa(len(p.Rows)-i) + " more values stand in the report."}, p.Remarks...)
			break
		}
		y += 13
		nameSize := 9.5
		for nameSize > 6 && c.width(nameSize, false, r.Name) > value-x-6 {
			nameSize -= 0.5
		}
		c.text(x, y, nameSize, false, t.text, fit(c, nameSize, false, r.Name, value-x-6))
		ink := t.text
		if r.Outside {
			ink = t.warn
		}
		c.text(value, y, 9.5, true, ink, r.Value)
		c.text(normal, y, 8, false, t.faint, fit(c, 8, false, r.Normal, right-normal))
		c.line(x, y+3, right, y+3, 0.3, t.faint)
	}
	y += 8
	for i, r := range p.Remarks {
		lines := wrap(c, remarkSize, false, r, right-x-8)
		// The last line belongs to the remarks that follow, if any do.
		room := int((bottom - y) / remarkLine)
		if i+1 < len(p.Remarks) {
			room--
		}
		if len(lines) > room {
			if n := len(p.Remarks) - i; y+remarkLine <= bottom {
				c.text(x, y+remarkLine, remarkSize, true, t.warn, fit(c, remarkSize, true, more(n), right-x))
			}
			return
		}
		c.text(x, y+remarkLine, remarkSize, true, t.warn, "!")
		for _, l := range lines {
			y += remarkLine
			c.text(x+8, y, remarkSize, false, t.text, l)
		}
	}
}

// more says that remarks are left out.
func more(n int) string {
	if n == 1 {
		return "and 1 more remark: see the report"
	}
	return fmt.Sprintf("and %d more remarks: see the report", n)
}

// curve draws the curve with its marks.
func (p Page) curve(c canvas, t theme, x, y, right, bottom float64) {
	v := p.Curve
	if v == nil || len(v.TimesMS) != len(v.Values) || len(v.Values) < 2 || bottom-y < 40 {
		return
	}
	hi := 0.0
	for _, a := range v.Values {
		if !math.IsNaN(a) && !math.IsInf(a, 0) {
			hi = max(hi, a)
		}
	}
	t0, t1 := v.TimesMS[0], v.TimesMS[len(v.TimesMS)-1]
	if !(hi > 0) || !(t1 > t0) {
		return
	}
	c.text(x, y+8, 8.5, false, t.faint, v.Title+", "+v.Unit)
	x, y, bottom = x+26, y+14, bottom-12
	px := func(ms float64) float64 { return x + (ms-t0)/(t1-t0)*(right-x) }
	py := func(a float64) float64 { return bottom - a/(1.1*hi)*(bottom-y) }
	c.line(x, bottom, right, bottom, 0.5, t.faint)
	c.line(x, y, x, bottom, 0.5, t.faint)
	for _, a := range ticks(1.1 * hi) {
		s := strconv.FormatFloat(a, 'g', 3, 64)
		c.text(x-4-c.width(7.5, false, s), py(a)+3, 7.5, false, t.faint, s)
	}
	for _, ms := range []float64{t0, (t0 + t1) / 2, t1} {
		s := strconv.FormatFloat(ms/1000, 'f', 2, 64) + " s"
		c.text(px(ms)-c.width(7.5, false, s)/2, bottom+10, 7.5, false, t.faint, s)
	}
	line := v.Smoothed
	if len(line) != len(v.Values) {
		line = v.Values
	}
	for i := 1; i < len(line); i++ {
		if a, b := line[i-1], line[i]; !math.IsNaN(a) && !math.IsNaN(b) {
			c.line(px(v.TimesMS[i-1]), py(a), px(v.TimesMS[i]), py(b), 1, t.curve)
		}
	}
	for i, a := range v.Values {
		if !math.IsNaN(a) && !math.IsInf(a, 0) {
			c.fill(px(v.TimesMS[i])-1, py(a)-1, 2, 2, t.curve)
		}
	}
	type moment struct {
		frame int
		name  string
		ink   color.RGBA
	}
	var moments []moment
	for _, i := range v.ED {
		moments = append(moments, moment{i, "ED", t.ed})
	}
	for _, i := range v.ES {
		moments = append(moments, moment{i, "ES", t.es})
	}
	slices.SortStableFunc(moments, func(a, b moment) int { return a.frame - b.frame })
	moments = slices.DeleteFunc(moments, func(m moment) bool {
		return m.frame < 0 || m.frame >= len(v.Values) || math.IsNaN(v.Values[m.frame])
	})
	const nameSize = 7.5
	room := 4 + c.width(nameSize, true, "ED")
	named := true // each by its line; where lines of many beats leave no room, above the curve
	for i := 1; i < len(moments); i++ {
		named = named && px(v.TimesMS[moments[i].frame])-px(v.TimesMS[moments[i-1].frame]) >= room
	}
	if !named {
		c.text(right-2*room, y-6, nameSize, true, t.ed, "ED")
		c.text(right-room, y-6, nameSize, true, t.es, "ES")
	}
	for _, m := range moments {
		at := px(v.TimesMS[m.frame])
		c.line(at, y, at, bottom, 0.6, m.ink)
		if named {
			// At the foot, where no cavity is so small that its curve comes down to.
			c.text(at+2, bottom-2, nameSize, true, m.ink, m.name)
		}
	}
}

// ticks are the marks of an axis from 0 to hi: three to five round numbers.
func ticks(hi float64) (out []float64) {
	step := math.Pow(10, math.Floor(math.Log10(hi)))
	switch times := hi / step; {
	case times < 2:
		step /= 2
	case times >= 5:
		step *= 2
	}
	for a := 0.0; a <= hi; a += step {
		out = append(out, a)
	}
	return out
}

// fit is the line cut to a width.
func (l Line) fit(c canvas, size, width float64) string {
	last := l.Last
	if l.Text != "" && last != "" {
		last = "  " + last
	}
	room := width - c.width(size, false, last)
	if room < width/4 {
		return fit(c, size, false, strings.TrimSpace(last), width)
	}
	return fit(c, size, false, l.Text, room) + last
}

// fit cuts text to a width.
func fit(c canvas, size float64, bold bool, s string, width float64) string {
	return letters.Fit(s, width, func(s string) float64 { return c.width(size, bold, s) })
}

// mostWrapped is more letters than a remark on a page has room for.
const mostWrapped = 4000

// wrap breaks text at spaces.
func wrap(c canvas, size float64, bold bool, s string, width float64) []string {
	s, cut := letters.Bounded(s, mostWrapped)
	if cut {
		s += "..."
	}
	var lines []string
	line := ""
	for _, word := range strings.Fields(s) {
		if joined := strings.TrimSpace(line + " " + word); line == "" || c.width(size, bold, joined) <= width {
			line = joined
			continue
		}
		lines = append(lines, fit(c, size, bold, line, width))
		line = word
	}
	if line != "" {
		lines = append(lines, fit(c, size, bold, line, width))
	}
	return lines
}
