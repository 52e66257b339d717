package output

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/quantity"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/sr"
	"github.com/echonode/echonode/sr/instance"
)

var views = map[string]sr.View{
	models.ViewA4C: sr.A4C, models.ViewA2C: sr.A2C, models.ViewA3C: sr.A3C, models.ViewPLAX: sr.PLAX,
}

var methods = map[string]sr.Method{
	result.Biplane: sr.DisksBiplane, result.SinglePlane: sr.DisksSinglePlane,
}

// document builds the structured report.
func (w *writer) document() (*dicomio.DataSet, error) {
	s := w.s
	r := sr.Report{
		Source: w.subject.DataSet, SeriesInstanceUID: instance.UID("report series", w.parts...), SeriesNumber: reportSeries,
		Time: s.Run.Time, Observer: w.equipment, Algorithm: w.algorithm, Predecessor: w.o.Predecessor, Settings: sr.Settings{Codeset: w.o.Codeset},
	}
	loops := map[string]*result.Loop{}
	for i := range s.Loops {
		l := &s.Loops[i]
		// An object that could not be read has no identity to refer to.
		if l.SOPInstanceUID == "" || l.SeriesInstanceUID == "" || loops[l.SOPInstanceUID] != nil {
			continue
		}
		loops[l.SOPInstanceUID] = l
		if l.Frames > 0 {
			r.Evidence = append(r.Evidence, instance.Ref{StudyUID: s.StudyInstanceUID, SeriesUID: l.SeriesInstanceUID,
				SOPClassUID: l.SOPClassUID, SOPInstanceUID: l.SOPInstanceUID})
		}
	}
	missing := newGroups()
	for _, m := range s.Measurements {
		q, ok := quantity.Of(m.Name)
		if !ok || q.Code == 0 || q.OnRequest {
			continue
		}
		if m.Value == nil {
			missing.add(prefix(m.Stage, m.Reason.Text), m.Name)
			continue
		}
		c := sr.Measurement{Quantity: q.Code, Value: q.Round(*m.Value), Unit: sr.Unit(m.Unit), Method: methods[m.Method], Mode: sr.Mode2D,
			View: views[m.View], Group: m.Stage, Stage: sr.StageOf(m.Stage)}
		if m.Name == result.HR {
			c.Mode, c.View = 0, 0
		}
		if len(m.Beats) > 1 {
			c.Derivation = sr.Mean
		}
		for _, src := range m.Sources {
			c.Sources = append(c.Sources, sourceOf(loops[src.SOPInstanceUID], src, m.Name))
		}
		for _, w := range m.Quality.Warnings {
			c.Remarks = append(c.Remarks, w.Text)
		}
		r.Measurements = append(r.Measurements, c)
	}
	for _, reason := range missing.order {
		r.NotMeasured = append(r.NotMeasured, sr.NotMeasured{What: strings.Join(missing.of[reason], ", "), Reason: reason})
	}
	unused := newGroups()
	for i := range s.Loops {
		l := &s.Loops[i]
		if l.Reason != nil {
			unused.add(l.Reason.Text, loopName(l))
		}
	}
	for _, reason := range unused.order {
		r.Comments = append(r.Comments, fmt.Sprintf("Not analysed: loop %s: %s", strings.Join(unused.of[reason], ", "), reason))
	}
	if len(r.Measurements) == 0 {
		// Values name the model; a report without any must do so itself.
		r.Comments = append(r.Comments, fmt.Sprintf("Model: %s %s", w.algorithm.Name, w.algorithm.Version))
	}
	return sr.Build(r)
}

// sourceOf refers to the frame that a value was measured on, with the contour
// where the value comes from it.
func sourceOf(l *result.Loop, src result.Source, measurement string) sr.Source {
	ref := sr.Source{SOPInstanceUID: src.SOPInstanceUID}
	if l == nil || l.Frames == 1 {
		return ref
	}
	ref.Frame = src.Frame + 1
	if f := l.FrameAt(src.Frame); f != nil && len(f.Contour) > 0 && l.View != models.ViewPLAX && measurement != result.HR {
		for _, p := range f.Contour {
			ref.Contour = append(ref.Contour, sr.Point{X: p[0], Y: p[1]})
		}
		ref.Closed = true
	}
	return ref
}

// groups collects names under a text, in order of appearance.
type groups struct {
	order []string
	of    map[string][]string
}

func newGroups() *groups { return &groups{of: map[string][]string{}} }

func (g *groups) add(text, name string) {
	if g.of[text] == nil {
		g.order = append(g.order, text)
	}
	g.of[text] = append(g.of[text], name)
}

func prefix(stage, text string) string {
	if stage == "" {
		return text
	}
	return stage + ": " + text
}

// loopName names a loop for people: its instance number where it has one.
func loopName(l *result.Loop) string {
	if l.InstanceNumber != 0 {
		return strconv.Itoa(l.InstanceNumber)
	}
	return l.SOPInstanceUID
}

// Series numbers of the outputs, high enough not to mix with the study's own.
const (
	reportSeries       = 9001
	overlaySeries      = 9002
	segmentationSeries = 9003
)
