package overlay

import (
	"bufio"
	"errors"
	"fmt"
	"html"
	"io"
	"math"

	"github.com/echonode/echonode/pipeline/lv"
)

// Curve is an area curve to draw.
type Curve struct {
	Title string
	// Unit of the values, for example "cm2".
	Unit string
	// TimesMS and Values have one entry per frame; NaN where there is no value.
	TimesMS, Values []float64
	// Smoothed is drawn as a line when it has the same length.
	Smoothed []float64
	Beats    []lv.Beat
	RWaveMS  []float64
}

const (
	curveWidth, curveHeight               = 720, 300
	plotLeft, plotRight, plotTop, plotBot = 62, 700, 40, 250

	maxTicks = 16 // of an axis; niceStep gives fewer
)

// WriteSVG draws the curve with its ED and ES marks as an SVG picture that
// needs nothing else.
func (c Curve) WriteSVG(out io.Writer) error {
	if len(c.TimesMS) != len(c.Values) || len(c.Values) == 0 {
		return errors.New("curve without values or times")
	}
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, v := range c.Values {
		if finite(v) {
			lo, hi = min(lo, v), max(hi, v)
		}
	}
	if lo > hi {
		return errors.New("curve has no value in any frame")
	}
	lo = min(lo, 0) // areas are read against zero
	step := niceStep((hi - lo) / 5)
	hi = math.Ceil(hi/step*1.0001) * step
	t0, t1 := c.TimesMS[0], c.TimesMS[len(c.TimesMS)-1]
	if t1 <= t0 {
		t1 = t0 + 1
	}
	x := func(t float64) float64 { return plotLeft + (t-t0)/(t1-t0)*(plotRight-plotLeft) }
	y := func(v float64) float64 { return plotBot - (v-lo)/(hi-lo)*(plotBot-plotTop) }

	w := bufio.NewWriter(out)
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n",
		curveWidth, curveHeight, curveWidth, curveHeight)
	fmt.Fprintf(w, `<rect width="100%%" height="100%%" fill="#fff"/>`+"\n")
	fmt.Fprintf(w, `<text x="%d" y="22" font-size="14">%s</text>`+"\n", plotLeft, html.EscapeString(c.Title))
	for k := range maxTicks {
		v := lo + float64(k)*step
		if !(v <= hi+step/2) {
			break
		}
		fmt.Fprintf(w, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%.4g</text>`+"\n",
			plotLeft, plotRight, y(v), y(v), plotLeft-6, y(v)+4, v)
	}
	ts := niceStep((t1 - t0) / 6)
	for k := range maxTicks {
		t := (math.Ceil(t0/ts) + float64(k)) * ts
		if !(t <= t1+ts/1000) {
			break
		}
		fmt.Fprintf(w, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#999"/><text x="%.1f" y="%d" text-anchor="middle">%.3g</text>`+"\n",
			x(t), x(t), plotBot, plotBot+5, x(t), plotBot+18, t/1000)
	}
	fmt.Fprintf(w, `<text x="%d" y="%d" text-anchor="middle">s</text><text x="14" y="%d">%s</text>`+"\n",
		(plotLeft+plotRight)/2, curveHeight-10, plotTop-8, html.EscapeString(c.Unit))
	for _, r := range c.RWaveMS {
		if r >= t0 && r <= t1 {
			fmt.Fprintf(w, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#b9b" stroke-dasharray="3 3"/><text x="%.1f" y="%d" fill="#939">R</text>`+"\n",
				x(r), x(r), plotTop, plotBot, x(r)+3, plotTop+10)
		}
	}
	if len(c.Smoothed) == len(c.Values) {
		fmt.Fprint(w, `<polyline fill="none" stroke="#7a9" stroke-width="1.5" points="`)
		for i, v := range c.Smoothed {
			if finite(v) {
				fmt.Fprintf(w, "%.1f,%.1f ", x(c.TimesMS[i]), y(v))
			}
		}
		fmt.Fprint(w, `"/>`+"\n")
	}
	for i, v := range c.Values {
		if finite(v) {
			fmt.Fprintf(w, `<circle cx="%.1f" cy="%.1f" r="2" fill="#0a6"/>`+"\n", x(c.TimesMS[i]), y(v))
		}
	}
	for _, b := range c.Beats {
		c.mark(w, x, y, b.ED, "ED", "#c33", -8)
		c.mark(w, x, y, b.ES, "ES", "#26c", 18)
	}
	fmt.Fprint(w, "</svg>\n")
	return w.Flush()
}

func (c Curve) mark(w io.Writer, x, y func(float64) float64, i int, name, colour string, dy float64) {
	if i < 0 || i >= len(c.Values) || !finite(c.Values[i]) {
		return
	}
	px, py := x(c.TimesMS[i]), y(c.Values[i])
	fmt.Fprintf(w,
		`<circle cx="%.1f" cy="%.1f" r="5" fill="none" stroke="%s" stroke-width="2"/><text x="%.1f" y="%.1f" text-anchor="middle" fill="%s">%s</text>`+"\n",
		px, py, colour, px, py+dy, colour, name)
}

// niceStep rounds up to 1, 2 or 5 times a power of ten.
func niceStep(v float64) float64 {
	if !(v > 0) {
		return 1
	}
	p := math.Pow(10, math.Floor(math.Log10(v)))
	for _, f := range []float64{1, 2, 5} {
		if f*p >= v {
			return f * p
		}
	}
	return 10 * p
}
