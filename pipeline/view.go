package pipeline

import (
	"context"
	"math"
	"regexp"
	"slices"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/encoding"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/echo"
	"github.com/echonode/echonode/pipeline/result"
)

// MirroredDisplay says what becomes of a loop whose display shows left and
// right the other way round.
type MirroredDisplay string

const (
	MeasureMirrored MirroredDisplay = "measure" // turned for the network, measured and drawn as it came
	RefuseMirrored  MirroredDisplay = "refuse"
)

// bothWays is how many of the sampled frames are looked at as they came and
// turned left to right.
const bothWays = 3

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
	if apicalView(v.view) && a.knowsMirrored() {
		if v, err = a.chooseDisplay(ctx, l, frames, sample, v); err != nil {
			return err
		}
	}
	l.Views = make(map[string]float64, len(v.views))
	for name, p := range v.views {
		l.Views[name] = result.Round(p, 4)
	}
	l.View, l.ViewProbability, l.Novelty = v.view, result.Round(v.p, 4), result.Round(v.novelty, 3)
	limits := a.engine.Card().Limits
	why := func(code, format string, args ...any) error {
		r := result.Reasonf(code, format, args...)
		if upsideDown(l.sector()) {
			r = result.Reasonf(code, "%s: the display seems to be upside down, as its sector opens upwards", r.Text)
		}
		return &verdict{result.Refused, r}
	}
	switch {
	case !measuredView(l.View):
		return why(result.ViewNotMeasured, "view %s is not measured", l.View)
	case limits.View > 0 && v.p < limits.View:
		return why(result.ViewUncertain, "the view is not certain: %s with %.1f %%, of which the model asks %.0f %%", l.View, 100*v.p, 100*limits.View)
	case limits.Novelty > 0 && v.novelty > limits.Novelty:
		return why(result.Unfamiliar, "the picture is unlike those that the model was made for (distance %.1f, at most %.1f)", v.novelty, limits.Novelty)
	case l.Mirrored && a.opt.Mirrored == RefuseMirrored:
		return refused(result.MirroredDisplay, "the display is mirrored: left and right are exchanged")
	}
	if l.Mirrored {
		l.Warnings = append(l.Warnings, result.Reasonf(result.MirroredDisplay, "the display is mirrored: the picture was turned for the network"))
	}
	return nil
}

// opensUpwards is how many times as wide as near its lower end a sector is near its
// upper one where it is upside down, and nearEnd the part of its height that is near.
// Own choice: one with the transducer above is less than half as wide there as below.
const opensUpwards, nearEnd = 1.5, 0.1

// upsideDown reports whether a sector's outline, convex, narrows downwards, as where
// the apex of the heart is shown below.
func upsideDown(sector result.Contour) bool {
	if len(sector) < 3 {
		return false
	}
	top, bottom := math.Inf(1), math.Inf(-1)
	for _, p := range sector {
		top, bottom = min(top, p[1]), max(bottom, p[1])
	}
	width := func(y float64) float64 {
		lo, hi := math.Inf(1), math.Inf(-1)
		for i, a := range sector {
			b := sector[(i+1)%len(sector)]
			if (a[1] <= y) != (b[1] <= y) {
				x := a[0] + (y-a[1])/(b[1]-a[1])*(b[0]-a[0])
				lo, hi = min(lo, x), max(hi, x)
			}
		}
		return max(0, hi-lo)
	}
	return width(top+nearEnd*(bottom-top)) > opensUpwards*width(bottom-nearEnd*(bottom-top))
}

// Words by which machines and people name views. What is none of the measured views
// is sought first: "RV focused A4C" and "subcostal 4CH" are no four-chamber views
// of the left ventricle.
var viewWords = []struct {
	view  string // "" for one that is not measured
	words *regexp.Regexp
}{
	{"", regexp.MustCompile(`(?i)psax|short axis|\bsax\b|` +
		`sub ?-?(cost|xiph)|\bsc? ?4 ?-?ch?\b|\brv ?4|supra ?st|\brv\b|right vent|\brvot|\b(a|ap)? ?5 ?-?ch?\b|five.?ch|\bivc\b|\bssn\b|` +
		`kurz(e )?achse|petit axe|eje corto|asse corto|eixo curto|korte as\b|subkost|sous-?cost|subcost|sottocost|` +
		`(^|\P{L})(5|f[üu]nf|cinq|cinco|cinque) ?-?(kb|kam+er|cavi|c[aáâ]m[ae]r)|rechter vent|ventr\pL+ (droit|derecho|destr|direito)|短轴|短軸|五腔|剑突下|肋下|右室`)},
	{models.ViewPLAX, regexp.MustCompile(`(?i)\bplax|parasternal long|\bpsl\b|\blax\b|parasternal\w* (lang|l[aä]ngs)|` +
		`parae?st\w* (grand axe|eje largo|asse lungo|eixo longo)|` +
		`(grand axe|eje largo|asse lungo|eixo longo) parae?st|胸骨旁长轴|胸骨旁左室长轴|胸骨左縁長軸`)},
	{models.ViewA3C, regexp.MustCompile(`(?i)\ba?p? ?3 ?-?ch?\b|\bap(ical)? ?3\b|\b3 ?-?ch|three.?ch|aplax|apical long|\blax\b|` +
		`(^|\P{L})(3|drei|trois|tres|tre|drie) ?-?(kb|kam+er|cavi|c[aáâ]m[ae]r)|` +
		`(ap[ie][ckq]\w*) (lang|l[aä]ngs|grand axe|eje largo|asse lungo|eixo longo)|三腔|3腔|心尖长轴|心尖部長軸`)},
	{models.ViewA2C, regexp.MustCompile(`(?i)\ba?p? ?2 ?-?ch?\b|\bap(ical)? ?2\b|\b2 ?-?ch|two.?ch|` +
		`(^|\P{L})(2|zwei|deux|dos|due|duas|twee) ?-?(kb|kam+er|cavi|c[aáâ]m[ae]r)|[二两兩2]腔`)},
	{models.ViewA4C, regexp.MustCompile(`(?i)\ba?p? ?4 ?-?ch?\b|\bap(ical)? ?4\b|\b4 ?-?ch|four.?ch|` +
		`(^|\P{L})(4|vier|quatre|cuatro|quattro|quatro) ?-?(kb|kam+er|cavi|c[aáâ]m[ae]r)|[四4]腔`)},
}

// bothVentricles are what every four-chamber view shows.
var bothVentricles = regexp.MustCompile(`(?i)\b[lr]v ?(&|/|\+|,|and|und) ?[lr]v\b`)

// calledOtherwise says that an object calls its view otherwise than the network
// does, by View Name or the meaning of View Code Sequence; nil where it calls it so,
// or nothing that is known.
func calledOtherwise(ds *dicomio.DataSet, view string) *result.Reason {
	names := []string{ds.String(tag.ViewName)}
	for _, item := range ds.Items(tag.ViewCodeSequence) {
		names = append(names, item.String(tag.CodeMeaning))
	}
	for _, name := range names {
		agrees, otherwise := false, false
		name := bothVentricles.ReplaceAllString(name, "")
		for _, w := range viewWords {
			switch {
			case !w.words.MatchString(name):
			case w.view == view: // also of a picture that shows two planes
				agrees = true
			default:
				otherwise = true
			}
		}
		if otherwise && (!agrees || viewWords[0].words.MatchString(name)) {
			r := result.Reasonf(result.ViewName, "the object calls the view %q, the network takes it for %s", echo.Short(encoding.Line(name)), view)
			return &r
		}
	}
	return nil
}

// plain is the probability of the view on the usual display.
func (v vote) plain() float64 { return v.p - v.mirrored }

// knowsMirrored reports whether the network names mirrored displays; of others
// it is not known what turning tells.
func (a *Analyzer) knowsMirrored() bool {
	return slices.ContainsFunc(a.engine.Card().Views, func(name string) bool {
		_, mirrored := models.Mirrored(name)
		return mirrored
	})
}

// chooseDisplay keeps the way of display in which the network knows a standard
// view better: a mirrored two-chamber view may look like a four-chamber one,
// so that what it says of the frames as they came does not suffice. A few
// frames tell; only a loop that looks mirrored has its whole sample turned.
// before is the vote on the sample as it came.
func (a *Analyzer) chooseDisplay(ctx context.Context, l *loop, frames *dicomio.FrameReader, sample []int, before vote) (vote, error) {
	some := make([]int, 0, bothWays)
	for _, n := range spread(len(sample), bothWays) {
		some = append(some, sample[n])
	}
	asIs, err := a.vote(l, some)
	if err != nil {
		return before, nil // those frames are lost; the others have said what they say
	}
	asTheyCame := make([]frame, len(sample))
	for n, i := range sample {
		asTheyCame[n] = l.frames[i]
	}
	l.box.Mirrored = true
	turned, known, err := a.turn(ctx, l, frames, some, asIs)
	if err == nil && known && turned.plain() > asIs.plain() {
		if turned, err = a.lookAgain(ctx, l, frames, sample); err == nil && turned.plain() > before.plain() {
			l.Mirrored = true
			return turned, nil
		}
	}
	l.box.Mirrored = false
	for n, i := range sample {
		l.frames[i] = asTheyCame[n]
	}
	return before, err
}

// turn looks at frames turned left to right, one after the other, and returns
// their vote. known is false when it stopped because the frames left, however
// sure, could not make the turned display the better one: on most loops the
// first frame tells.
func (a *Analyzer) turn(ctx context.Context, l *loop, frames *dicomio.FrameReader, indices []int, asIs vote) (turned vote, known bool, err error) {
	most := 0.0 // what the frames so far can add to the sum of plain()
	for n, i := range indices {
		if err := a.infer(ctx, l, frames, []int{i}); err != nil {
			return vote{}, false, err
		}
		f := &l.frames[i]
		if f.lost != nil {
			most = math.Inf(1) // the others weigh more
		}
		best := 0.0
		for v, p := range f.views {
			if _, mirrored := models.Mirrored(a.engine.Card().Views[v]); !mirrored {
				best = max(best, float64(p))
			}
		}
		most += best
		// A little is for the rounding of the sums.
		if left := len(indices) - n - 1; left > 0 && most+float64(left)+1e-6 < asIs.plain()*float64(len(indices)) {
			return vote{}, false, nil
		}
	}
	turned, err = a.vote(l, indices)
	return turned, true, err
}

// lookAgain looks at frames once more and returns their vote.
func (a *Analyzer) lookAgain(ctx context.Context, l *loop, frames *dicomio.FrameReader, indices []int) (vote, error) {
	if err := a.infer(ctx, l, frames, indices); err != nil {
		return vote{}, err
	}
	return a.vote(l, indices)
}
