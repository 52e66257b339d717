package pipeline

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/sr"
	"github.com/echonode/echonode/sr/instance"
)

// quantities codes the measurements of the result. RWT has no code in the
// template's context groups and stays out of the report.
var quantities = map[string]sr.Quantity{
	result.EF:     sr.EF,
	result.EDV:    sr.EDV,
	result.ESV:    sr.ESV,
	result.SV:     sr.StrokeVolume,
	result.FAC:    sr.FractionalAreaChange,
	result.AreaED: sr.LVAreaD,
	result.AreaES: sr.LVAreaS,
	result.LenED:  sr.LVLengthD,
	result.LenES:  sr.LVLengthS,
	result.IVSd:   sr.IVSd,
	result.LVIDd:  sr.LVIDd,
	result.LVPWd:  sr.LVPWd,
	result.LVIDs:  sr.LVIDs,
	result.FS:     sr.FractionalShortening,
	result.Mass:   sr.LVMass,
	result.HR:     sr.HeartRate,
}

var units = map[string]sr.Unit{
	unitLength: sr.CM, unitArea: sr.CM2, unitVolume: sr.ML, unitPercent: sr.Percent, unitMass: sr.Gram, unitRatio: sr.Ratio, unitRate: sr.BPM,
}

var views = map[string]sr.View{
	models.ViewA4C: sr.A4C, models.ViewA2C: sr.A2C, models.ViewA3C: sr.A3C, models.ViewPLAX: sr.PLAX,
}

var methods = map[string]sr.Method{
	result.Biplane: sr.DisksBiplane, result.SinglePlane: sr.DisksSinglePlane,
}

// identity is what outputs of a study have in common.
type identity struct {
	source      *dicomio.DataSet // of any object of the study
	equipment   instance.Equipment
	algorithm   instance.Algorithm
	predecessor *instance.Ref
	time        time.Time
	// determined by the inputs, the model and the settings: with the kind of
	// object they make its UID.
	parts []string
}

// report builds the structured report of a study.
func (s *Study) report(id identity, settings sr.Settings) (*dicomio.DataSet, error) {
	r := sr.Report{
		Source: id.source, SOPInstanceUID: instance.UID("report", id.parts...), SeriesInstanceUID: instance.UID("report series", id.parts...),
		SeriesNumber: reportSeries, Time: id.time, Observer: id.equipment, Algorithm: id.algorithm,
		Predecessor: id.predecessor, Settings: settings,
	}
	loops := map[string]*loop{}
	for _, l := range s.loops {
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
		q, ok := quantities[m.Name]
		if !ok {
			continue
		}
		if m.Value == nil {
			missing.add(prefix(m.Stage, m.Reason.Text), m.Name)
			continue
		}
		c := sr.Measurement{Quantity: q, Value: reported(*m.Value, m.Unit), Unit: units[m.Unit], Method: methods[m.Method], Mode: sr.Mode2D,
			View: views[m.View], Group: m.Stage, Stage: sr.StageOf(m.Stage)}
		if m.Name == result.HR {
			c.Mode, c.View = 0, 0
		}
		if len(m.Beats) > 1 {
			c.Derivation = sr.Mean
		}
		for _, src := range m.Sources {
			c.Sources = append(c.Sources, loops[src.SOPInstanceUID].source(src, m.Name))
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
	for _, l := range s.loops {
		if l.Reason != nil {
			unused.add(l.Reason.Text, l.name())
		}
	}
	for _, reason := range unused.order {
		r.Comments = append(r.Comments, fmt.Sprintf("Not analysed: loop %s: %s", strings.Join(unused.of[reason], ", "), reason))
	}
	if len(r.Measurements) == 0 {
		// Values name the model; a report without any must do so itself.
		r.Comments = append(r.Comments, fmt.Sprintf("Model: %s %s", id.algorithm.Name, id.algorithm.Version))
	}
	return sr.Build(r)
}

// source refers to the frame that a value was measured on, with the contour
// where the value comes from it.
func (l *loop) source(src result.Source, measurement string) sr.Source {
	ref := sr.Source{SOPInstanceUID: src.SOPInstanceUID}
	if l == nil || l.Frames == 1 {
		return ref
	}
	ref.Frame = src.Frame + 1
	if f := &l.frames[src.Frame]; f.outline != nil && l.View != models.ViewPLAX && measurement != result.HR {
		for _, p := range f.outline.Points {
			ref.Contour = append(ref.Contour, sr.Point(p))
		}
		ref.Closed = true
	}
	return ref
}

// reported rounds a value to what its unit can carry in a report.
func reported(v float64, unit string) float64 {
	switch unit {
	case unitLength, unitRatio:
		return round(v, 2)
	case unitMass, unitRate:
		return round(v, 0)
	}
	return round(v, 1)
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

// name of a loop for people: its instance number where it has one.
func (l *loop) name() string {
	if l.instanceNumber != 0 {
		return strconv.FormatInt(l.instanceNumber, 10)
	}
	return l.SOPInstanceUID
}

// Series numbers of the outputs, high enough not to mix with the study's own.
const (
	reportSeries       = 9001
	overlaySeries      = 9002
	segmentationSeries = 9003
)
