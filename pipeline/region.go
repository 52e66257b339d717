package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"image"
	"slices"
	"strings"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/echo"
	"github.com/echonode/echonode/pipeline/internal/evidence"
	"github.com/echonode/echonode/pipeline/result"
)

// Several pictures on a screen are judged by fewer frames than one, and no more
// of them than there are on the screens of today.
const (
	regionFrames = 3
	mostRegions  = 6
)

// candidate is one of several 2D regions with what the network says of it.
type candidate struct {
	echo.TissueRegion
	view   string
	p      float64
	reason string // why it is not measured; "" where it may be
}

// String tells a candidate to a reader.
func (c candidate) String() string {
	if c.reason != "" {
		return fmt.Sprintf("that at (%d, %d) %s", c.Rect.Min.X, c.Rect.Min.Y, c.reason)
	}
	return fmt.Sprintf("that at (%d, %d) shows %s (%.0f %%)", c.Rect.Min.X, c.Rect.Min.Y, c.view, 100*c.p)
}

// chooseRegion takes, where the screen holds several 2D regions (two planes side
// by side, a zoom beside its overview, the same picture with colour), the one
// that shows a view that is measured, the four-chamber view before others. What
// the other regions show is told.
//
// Where the other of two is a two-chamber view beside the four-chamber one it may be
// the second plane of one recording; see lookBeside.
func (a *Analyzer) chooseRegion(ctx context.Context, l *loop, frames *dicomio.FrameReader, sample []int) error {
	all := l.facts.TissueRegions()
	if len(all) < 2 || !l.facts.Tissue.Fits {
		return nil
	}
	some := make([]int, 0, regionFrames)
	for _, n := range spread(len(sample), regionFrames) {
		some = append(some, sample[n])
	}
	var found []candidate
	for _, r := range all[:min(len(all), mostRegions)] {
		c, err := a.judge(ctx, l, frames, some, r)
		if err != nil {
			return err
		}
		found = append(found, c)
	}
	chosen := bestRegion(found)
	if n := copies(found, chosen); n > 1 {
		return refused(result.Regions, "the screen holds %d pictures of one view (%s): stages or beats side by side, of which nobody knows which is which",
			n, found[chosen].view)
	}
	l.useAlone(found[chosen].TissueRegion)
	if i := besideOf(found, chosen); i >= 0 && len(all) == len(found) {
		l.other = &found[i].TissueRegion
	}
	var others []string
	for i, c := range found {
		if i != chosen {
			others = append(others, c.String())
		}
	}
	l.Warnings = append(l.Warnings, result.Reasonf(result.Regions, "the screen holds %d pictures; the values are from the one at (%d, %d); of the others %s",
		len(all), l.region.Min.X, l.region.Min.Y, strings.Join(others, "; ")))
	return nil
}

// judge looks at some frames of a region.
func (a *Analyzer) judge(ctx context.Context, l *loop, frames *dicomio.FrameReader, some []int, r echo.TissueRegion) (candidate, error) {
	c := candidate{TissueRegion: r}
	l.use(r)
	if err := l.place(a.engine.Card()); err != nil {
		c.reason = "has no picture"
		return c, nil
	}
	var v *verdict
	if err := a.checkColour(ctx, l, frames, some); errors.As(err, &v) {
		c.reason = "is coloured"
		return c, nil
	} else if err != nil {
		return c, err
	}
	if err := a.infer(ctx, l, frames, some); err != nil {
		return c, err
	}
	vote, err := a.vote(l, some)
	// The next region's frames are others.
	for _, i := range some {
		l.frames[i] = frame{}
	}
	l.brightest = [2]evidence.Brightest{}
	limits := a.engine.Card().Limits
	switch {
	case errors.As(err, &v):
		c.reason = "gives the network nothing finite to say"
	case err != nil:
		return c, err
	case !measuredView(vote.view):
		c.reason = "shows no view that is measured"
	case limits.Novelty > 0 && vote.novelty > limits.Novelty:
		c.reason = "is unlike the pictures that the model was made for"
	}
	c.view, c.p = vote.view, vote.p
	return c, nil
}

// bestRegion is the place of the region to measure: one that may be before one
// that may not, then by view, then the one of which the network is surer.
func bestRegion(found []candidate) int {
	order := []string{models.ViewA4C, models.ViewA2C, models.ViewA3C, models.ViewPLAX}
	rank := func(c candidate) int {
		if c.reason != "" {
			return len(order)
		}
		return slices.Index(order, c.view)
	}
	best := 0
	for i, c := range found {
		if cmp.Or(cmp.Compare(rank(c), rank(found[best])), cmp.Compare(found[best].p, c.p)) < 0 {
			best = i
		}
	}
	return best
}

// besideOf is the place of the region that may show the other plane of a recording with
// two or three, as matrix probes make it: the only two-chamber view beside the only
// four-chamber one, apart from it and of about its size, and nothing else but the apical
// long axis; -1 without such a one.
func besideOf(found []candidate, chosen int) int {
	four, at := found[chosen], -1
	if four.reason != "" || four.view != models.ViewA4C || len(found) > 3 {
		return -1
	}
	size := func(c candidate) float64 { return float64(c.Rect.Dx()) * float64(c.Rect.Dy()) }
	for i, c := range found {
		switch {
		case i == chosen:
		case c.reason != "" || four.Rect.Overlaps(c.Rect) || min(size(four), size(c)) < sameSize*max(size(four), size(c)):
			return -1
		case c.view == models.ViewA2C && at < 0:
			at = i
		case c.view != models.ViewA3C:
			return -1
		}
	}
	return at
}

// lookBeside looks at the other plane of a loop's object, where there may be one. What
// speaks against it is told, and costs the loop nothing.
func (a *Analyzer) lookBeside(ctx context.Context, l *loop, file *dicomio.File, frames *dicomio.FrameReader, sample []int) error {
	if l.other == nil || l.View != models.ViewA4C {
		return nil
	}
	o := l.describeBeside(a.opt.MaxFrames)
	if o.place(a.engine.Card()) != nil {
		return nil // it has no picture
	}
	err := a.checkColour(ctx, o, frames, sample)
	if err == nil {
		err = a.lookThrough(ctx, o, file, frames, sample)
	}
	l.took.decode.Add(o.took.decode.Load())
	l.took.infer.Add(o.took.infer.Load())
	l.took.contour.Add(o.took.contour.Load())
	var v *verdict
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &v):
		l.Warnings = append(l.Warnings, result.Reasonf(result.Regions, "the other picture is no second plane: %s", v.reason.Text))
		return nil
	case err != nil:
		return err
	case o.View != models.ViewA2C:
		l.Warnings = append(l.Warnings, result.Reasonf(result.Regions, "the other picture is no second plane: it shows %s", o.View))
		return nil
	}
	// A name of one plane is that of the picture.
	named := func(w result.Reason) bool { return w.Code == result.ViewName }
	if !slices.ContainsFunc(l.Warnings, named) || !slices.ContainsFunc(o.Warnings, named) {
		l.Warnings, o.Warnings = slices.DeleteFunc(l.Warnings, named), slices.DeleteFunc(o.Warnings, named)
	}
	o.Status = result.Analysed
	o.report(a.engine.Card())
	second := o.Loop
	l.Beside = &second
	l.Warnings = slices.DeleteFunc(l.Warnings, func(w result.Reason) bool { return w.Code == result.Regions })
	l.Warnings = append(l.Warnings, result.Reasonf(result.TwoPlanes,
		"the screen holds two planes, which are measured as one recording: A4C at (%d, %d), A2C at (%d, %d)",
		l.region.Min.X, l.region.Min.Y, o.region.Min.X, o.region.Min.Y))
	if len(l.facts.TissueRegions()) > 2 {
		l.Warnings = append(l.Warnings, result.Reasonf(result.TwoPlanes, "the third picture of the screen, the apical long axis, is not measured"))
	}
	return nil
}

// copies is how many of the regions show the view of the chosen one at about its
// size: stages of a comparison, or a frozen beat beside the live one. An overview beside
// its zoom is smaller.
func copies(found []candidate, chosen int) (n int) {
	size := func(c candidate) float64 { return float64(c.Rect.Dx()) * float64(c.Rect.Dy()) }
	best := found[chosen]
	for _, c := range found {
		if c.reason == "" && c.view == best.view && min(size(c), size(best)) > sameSize*max(size(c), size(best)) {
			n++
		}
	}
	return n
}

// sameSize is the part of one picture's area that another has at least where they are
// compared. Own choice.
const sameSize = 0.75

// useAlone makes a region of several the one that is analysed: what the object's facts
// say of regions and scale was said of another, or of all.
func (l *loop) useAlone(r echo.TissueRegion) {
	l.use(r)
	l.Warnings = slices.DeleteFunc(l.Warnings, func(w result.Reason) bool { return w.Code == result.Regions || w.Code == result.Scale })
	if text := l.facts.Contradicted(r.Calibration); text != "" {
		l.Warnings = append(l.Warnings, result.Reason{Code: result.Scale, Text: text})
	}
}

// use makes a region the one that is analysed, with its calibration.
func (l *loop) use(r echo.TissueRegion) {
	l.calibrate(r.Calibration)
	l.analyseRegion(r.Rect.Intersect(image.Rect(0, 0, l.Columns, l.Rows)))
}
