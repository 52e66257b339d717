package pipeline

import (
	"context"
	"slices"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/result"
)

// MirroredDisplay says what becomes of a loop whose display shows left and
// right the other way round.
type MirroredDisplay string

const (
	MeasureMirrored MirroredDisplay = "measure" // turned for the network, measured and drawn as it came
	RefuseMirrored  MirroredDisplay = "refuse"
)

// suspectMirrored is the part of a view's probability that a mirrored display
// must have for the sample to be looked at both ways.
const suspectMirrored = 0.25

// vote is what the sampled frames of a loop say together.
type vote struct {
	views    map[string]float64 // probability of each view, either way of display
	view     string             // the most probable
	p        float64
	mirrored float64 // of p, what speaks for a mirrored display
	novelty  float64 // median; 0 when the model does not say
}

// vote averages the view head over the sampled frames.
func (a *Analyzer) vote(l *loop, sample []int) (vote, error) {
	sample = slices.DeleteFunc(slices.Clone(sample), func(i int) bool { return l.frames[i].lost != nil })
	if len(sample) == 0 {
		return vote{}, failed(result.NetworkOutput, "the network's answer is not finite in any frame by which the view is judged")
	}
	card := a.engine.Card()
	out := vote{views: make(map[string]float64, len(card.Views))}
	mirrored := map[string]float64{}
	for v, name := range card.Views {
		sum := 0.0
		for _, i := range sample {
			sum += float64(l.frames[i].views[v])
		}
		view, other := models.Mirrored(name)
		out.views[view] += sum / float64(len(sample))
		if other {
			mirrored[view] += sum / float64(len(sample))
		}
	}
	for _, name := range card.Views {
		if p := out.views[name]; p > out.p {
			out.view, out.p, out.mirrored = name, p, mirrored[name]
		}
	}
	if c := card.Extra(models.ExtraNovelty); c >= 0 {
		values := make([]float64, len(sample))
		for n, i := range sample {
			values[n] = float64(l.frames[i].extras[c])
		}
		slices.Sort(values)
		out.novelty = (values[(len(values)-1)/2] + values[len(values)/2]) / 2
	}
	return out, nil
}

// decideView names the view of a loop whose sampled frames were looked at, and
// whether its display is mirrored; a *verdict says why the loop is not
// measured.
func (a *Analyzer) decideView(ctx context.Context, l *loop, frames *dicomio.FrameReader, sample []int) error {
	v, err := a.vote(l, sample)
	if err != nil {
		return err
	}
	if v.mirrored > suspectMirrored*v.p {
		if v, err = a.lookBothWays(ctx, l, frames, sample, v); err != nil {
			return err
		}
	}
	l.Views = make(map[string]float64, len(v.views))
	for name, p := range v.views {
		l.Views[name] = round(p, 4)
	}
	l.View, l.ViewProbability, l.Novelty = v.view, round(v.p, 4), round(v.novelty, 3)
	limits := a.engine.Card().Limits
	switch {
	case !measuredView(l.View):
		return refused(result.ViewNotMeasured, "view %s is not measured", l.View)
	case limits.View > 0 && v.p < limits.View:
		return refused(result.ViewUncertain, "the view is not certain: %s with %.0f %%, of which the model asks %.0f %%", l.View, 100*v.p, 100*limits.View)
	case limits.Novelty > 0 && v.novelty > limits.Novelty:
		return refused(result.Unfamiliar, "the picture is unlike those that the model was made for (distance %.1f, at most %.1f)", v.novelty, limits.Novelty)
	case l.Mirrored && a.opt.Mirrored == RefuseMirrored:
		return refused(result.MirroredDisplay, "the display is mirrored: left and right are exchanged")
	}
	if l.Mirrored {
		l.Warnings = append(l.Warnings, result.Reasonf(result.MirroredDisplay, "the display is mirrored: the picture was turned for the network"))
	}
	return nil
}

// lookBothWays turns the sampled frames left to right and keeps the way of
// display in which the network knows the view better; before is the vote on
// the frames as they came.
func (a *Analyzer) lookBothWays(ctx context.Context, l *loop, frames *dicomio.FrameReader, sample []int, before vote) (vote, error) {
	asTheyCame := make([]frame, len(sample))
	for n, i := range sample {
		asTheyCame[n] = l.frames[i]
	}
	l.box.Mirrored = true
	if err := a.infer(ctx, l, frames, sample); err != nil {
		return vote{}, err
	}
	after, err := a.vote(l, sample)
	if err != nil {
		return vote{}, err
	}
	if after.p-after.mirrored > before.p-before.mirrored {
		l.Mirrored = true
		return after, nil
	}
	l.box.Mirrored = false
	for n, i := range sample {
		l.frames[i] = asTheyCame[n]
	}
	return before, nil
}
