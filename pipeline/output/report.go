package output

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/instance"
	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/indices"
	"github.com/echonode/echonode/pipeline/internal/longaxis"
	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/quantity"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/sr"
)

var views = map[string]sr.View{
	models.ViewA4C: sr.A4C, models.ViewA2C: sr.A2C, models.ViewA3C: sr.A3C, models.ViewPLAX: sr.PLAX,
}

var methods = map[string]sr.Method{
	result.Biplane: sr.DisksBiplane, result.SinglePlane: sr.DisksSinglePlane, result.AreaLength: sr.AreaLengthSinglePlane,
	result.BiplaneAreaLength: sr.AreaLengthBiplane, result.Cube: sr.CubeMethod,
}

// reports writes the structured reports, and what people read of them.
func (w *writer) reports() error {
	stages := stagesOf(w.s)
	coded, told := w.codedStages(stages)
	groups := [][]stage{coded}
	if w.o.Stages == StagesSeparate {
		groups = nil
		for _, s := range coded {
			groups = append(groups, []stage{s})
		}
	}
	if len(groups) == 0 {
		groups = [][]stage{nil}
	}
	for i, g := range groups {
		name, description := "report", ""
		if i > 0 {
			name += fmt.Sprintf("-stage-%d", i+1)
		}
		if len(groups) > 1 {
			description = instance.Clip(strings.TrimSpace("AI Echo Measurements "+g[0].name), 64)
		}
		if err := w.report(name, i, description, g, told); err != nil {
			return err
		}
	}
	return nil
}

// codedStages says which stages' values are coded, and which are told in words.
func (w *writer) codedStages(stages []stage) (coded, told []stage) {
	if w.o.Stages == StagesAll || w.o.Stages == StagesSeparate {
		return stages, nil
	}
	for _, s := range stages {
		// The first stage stands for the study where nothing says otherwise.
		if len(coded) == 0 && s.code.AtRest() {
			coded = append(coded, s)
		} else {
			told = append(told, s)
		}
	}
	return coded, told
}

func (w *writer) report(name string, index int, description string, coded, told []stage) error {
	ds, err := w.document(index, description, coded, told)
	if err != nil {
		return err
	}
	ref := instance.RefOf(ds)
	if err := w.createObject(result.Output{Kind: result.KindReport, File: name + ".dcm", SOPClassUID: ref.SOPClassUID, SOPInstanceUID: ref.SOPInstanceUID},
		dicomWriter(ds, ref)); err != nil {
		return err
	}
	if !w.o.Pictures {
		return nil
	}
	// What people read is made from the object itself, so that both say the same.
	doc, err := sr.Parse(ds)
	if err != nil {
		return err
	}
	doc.Names = loopNames(w.s)
	if p := w.s.Subject; p.Child() { // the template's title says that it is of an adult
		doc.Title = "Echocardiography Procedure Report, child of " + years(*p.AgeYears)
	}
	if err := w.create(result.Output{Kind: result.KindReportText, File: name + ".txt"}, doc.WriteText); err != nil {
		return err
	}
	w.pages = append(w.pages, htmlPage{name + ".html", doc})
	return nil
}

// document builds a structured report of the coded stages.
func (w *writer) document(index int, description string, coded, told []stage) (*dicomio.DataSet, error) {
	s := w.s
	r := sr.Report{
		Source: w.patient, SeriesInstanceUID: w.seriesUID("report", w.patient, strconv.Itoa(index)),
		SeriesNumber: w.seriesNumber(reportSeries + index), SeriesDescription: w.described(description, "AI Echo Measurements"),
		Time: s.Run.Time, Observer: w.equipment, Algorithm: w.algorithm, Settings: sr.Settings{Codeset: w.o.Codeset}, Subject: w.characteristics(),
	}
	if index == 0 {
		r.Predecessor = w.o.Predecessor
	}
	if v := s.Review; v != nil {
		r.Verified = &sr.Verification{Name: v.Name, Organisation: v.Organisation, Time: v.Time}
		r.Comments = append(r.Comments, reviewed(v)...)
	}
	loops := w.evidence(&r)
	r.Comments = append(r.Comments, w.remarks...)
	r.Comments = append(r.Comments, w.left...)
	missing := newGroups()
	for i, st := range coded {
		g := group{w: w, stage: st, loops: loops, preferred: i == 0 && len(coded) > 1}
		if text := st.unknown(); text != "" {
			r.Comments = append(r.Comments, text)
		}
		for _, m := range st.measurements {
			q, ok := quantity.Of(m.Name)
			switch {
			case !ok:
			case m.Value != nil:
				g.add(q, m)
			case m.Name == result.EF && severe(m):
				r.Comments = append(r.Comments, prefix(st.name, "EF "+m.Reason.Text))
			case q.Core && q.Code != 0:
				missing.add(prefix(st.name, m.Reason.Text), m.Name)
			}
		}
		r.Measurements = append(r.Measurements, g.finish()...)
		if text := w.uncoded(st); text != "" {
			r.Comments = append(r.Comments, prefix(st.name, text))
		}
		if text := w.geometry(st); text != "" {
			r.Comments = append(r.Comments, prefix(st.name, text))
		}
	}
	if len(coded) == 0 && len(told) > 0 {
		r.Comments = append(r.Comments, "No stage of the study is known to be at rest: none of its values is coded.")
	}
	for _, st := range told {
		r.Comments = append(r.Comments, w.inWords(st, loops)...)
	}
	for _, reason := range missing.order {
		r.NotMeasured = append(r.NotMeasured, sr.NotMeasured{What: strings.Join(missing.of[reason], ", "), Reason: reason})
	}
	r.Comments = append(r.Comments, w.notAnalysed()...)
	if len(r.Measurements) == 0 {
		// Values name the model; a report without any must do so itself.
		r.Comments = append(r.Comments, fmt.Sprintf("Model: %s %s", w.algorithm.Name, w.algorithm.Version))
	}
	return sr.Build(r)
}

// notAnalysed says which loops were not analysed, and why.
func (w *writer) notAnalysed() (out []string) {
	unused := newGroups()
	for _, l := range byNumber(w.s.Loops) {
		if l.Reason != nil {
			unused.add(l.Reason.Text, w.loopName(l))
		}
	}
	for _, reason := range unused.order {
		out = append(out, fmt.Sprintf("Not analysed: %s: %s", together(unused.of[reason]), reason))
	}
	return out
}

// reviewed says what a reader made of the automatic values.
func reviewed(v *result.Review) []string {
	var out []string
	if len(v.Before) > 0 {
		var values []string
		for _, m := range v.Before {
			if m.Value != nil {
				values = append(values, prefix(m.Stage, valueText(m)))
			}
		}
		if len(values) > 0 {
			out = append(out, fmt.Sprintf("%s by the reader; the automatic analysis had said %s", v.Verdict, strings.Join(values, ", ")))
		}
	}
	if c := strings.TrimSpace(v.Comment); c != "" {
		out = append(out, "Reader: "+c)
	}
	return out
}

// evidence lists the analysed images of the study. What is no image, and what
// has a UID that no object can hold, is left out; the latter is said.
func (w *writer) evidence(r *sr.Report) map[string]*result.Loop {
	loops := map[string]*result.Loop{}
	var single []string
	for _, l := range byNumber(w.s.Loops) {
		if l.Status != result.Analysed || !instance.IsImage(l.SOPClassUID) || loops[l.SOPInstanceUID] != nil {
			continue
		}
		ref := refOf(w.s, l)
		// Devices make UIDs with zeros before a component too; dcmtk refuses a
		// report that refers to one.
		if _, err := instance.ByStudy([]instance.Ref{ref}); err != nil || !uid.Conforms(ref.SOPInstanceUID) || !uid.Conforms(ref.SeriesUID) {
			r.Comments = append(r.Comments, fmt.Sprintf("The UID of %s is none that DICOM allows: it is not referred to.", w.loopName(l)))
			continue
		}
		loops[l.SOPInstanceUID] = l
		r.Evidence = append(r.Evidence, ref)
		if l.Frames > 1 && instance.SingleFrame(l.SOPClassUID) {
			single = append(single, w.loopName(l))
		}
		if r.Pictures == nil {
			r.Pictures = map[string]sr.Picture{}
		}
		r.Pictures[l.SOPInstanceUID] = sr.Picture{Name: w.loopName(l), View: views[l.View], Stage: sr.StageOf(w.s.StageOf(l))}
	}
	if len(single) > 0 {
		r.Comments = append(r.Comments, fmt.Sprintf("Stored as a single picture, of which no frame can be named: %s. "+
			"What is measured there refers to the whole object.", together(single)))
	}
	return loops
}

// writable reports whether the UIDs of a reference can be written as they are.
func writable(ref instance.Ref) bool {
	ds := ref.SOP()
	ds.SetString(tag.SeriesInstanceUID, ref.SeriesUID)
	return ds.Err() == nil
}

// characteristics are those of the patient; nil without a body surface area,
// which the template wants.
func (w *writer) characteristics() *sr.Subject {
	p := w.s.Subject
	if p == nil || p.HeightCM <= 0 || p.WeightKG <= 0 {
		return nil
	}
	s := &sr.Subject{Sex: p.Sex, HeightCM: p.HeightCM, WeightKG: p.WeightKG, BSA: lv.BSADuBois(p.WeightKG, p.HeightCM), Formula: sr.DuBois}
	if p.AgeYears != nil {
		s.AgeYears = *p.AgeYears
	}
	return s
}

// group collects the values of one stage with the remarks on them.
type group struct {
	w         *writer
	stage     stage
	loops     map[string]*result.Loop
	preferred bool
	out       []sr.Measurement
	remarks   groups               // names of values by remark
	beside    []result.Measurement // whose spreads are told together
}

// add codes a value.
func (g *group) add(q quantity.Quantity, m result.Measurement) {
	if g.remarks.of == nil {
		g.remarks = *newGroups()
	}
	if !g.w.coded(q, m) {
		return // whose remarks would be on what the report does not hold
	}
	if z, ok := q.ZScore(*m.Value, m.View, indices.ChildSurface(g.w.s.Subject)); ok && g.stage.compared(m) {
		source := q.Child.Source
		if q.Child.Otherwise != "" {
			source += ", measured there " + q.Child.Otherwise
		}
		g.remarks.add(fmt.Sprintf("z-score %s (%s)", signed(z), source), valueText(m))
	}
	if m.Name == result.EF && m.Quality.Grade == result.Poor {
		g.remarks.add("quality poor", valueText(m))
	} else if m.Name == result.EF && g.w.s.Subject.Adult() && g.stage.compared(m) {
		sex := ""
		if g.w.s.Subject != nil {
			sex = g.w.s.Subject.Sex
		}
		g.remarks.add(fmt.Sprintf("%s (%s)", quantity.EFBand(*m.Value, sex), quantity.ASE2015), valueText(m))
	}
	if text := spread(m); text != "" && m.Name == result.EF {
		g.remarks.add(text, m.Name)
	} else if text != "" {
		g.beside = append(g.beside, m)
	}
	for _, text := range g.w.doubts(m, g.loops, g.stage.measurements) {
		g.remarks.add(text, m.Name)
	}
	c := sr.Measurement{Quantity: q.Code, Value: q.Round(*m.Value), Unit: sr.Unit(m.Unit), Decimals: q.Decimals, Method: methods[m.Method], Mode: sr.Mode2D,
		View: views[m.View], Group: g.stage.name, Stage: g.stage.code}
	if m.Name == result.HR {
		c.Mode, c.View = 0, 0
	}
	switch s := statisticsOf(m.Beats); {
	case s.isMean(*m.Value):
		c.Derivation = sr.Mean
	case s.isMedian(*m.Value):
		c.Derivation = sr.Median
	}
	if s := statisticsOf(m.Beats); s.n > 1 {
		c.Spread = &sr.Spread{Beats: s.n, SD: s.sd}
	}
	if g.preferred {
		c.Selection = sr.MostRecentChosen
		if c.Derivation == sr.Mean {
			c.Selection = sr.MeanChosen
		}
	}
	if m.ByReader {
		c.Selection = sr.UserChosen
	}
	for _, src := range m.Sources {
		if l := planeOf(g.loops, src); l != nil {
			c.Sources = append(c.Sources, sourceOf(l, src, m.Name))
		}
	}
	g.out = append(g.out, c)
}

// geometry is the pattern of the ventricle at rest, where its wall points were
// valid and nothing contradicts what it is of: "concentric remodelling (mass index 110 g/m2, RWT 0.50; ASE/EACVI 2015)".
func (w *writer) geometry(st stage) string {
	pattern := indices.Geometry(w.s, st.measurements)
	if pattern == "" {
		return ""
	}
	var of []string
	for _, m := range st.measurements {
		if m.Value == nil || m.Name != result.MassIndex && m.Name != result.RWT {
			continue
		}
		if !st.compared(m) {
			return ""
		}
		of = append(of, valueText(m))
	}
	return fmt.Sprintf("LV geometry: %s (%s; %s)", pattern, strings.Join(of, ", "), quantity.ASE2015)
}

// uncoded tells the indexed volumes of one plane, for which there is no code, with
// their normal ranges in adults at rest.
func (w *writer) uncoded(st stage) string {
	var values []string
	for _, m := range st.measurements {
		q, ok := quantity.Of(m.Name)
		if !ok || m.Value == nil || w.coded(q, m) || q.Code != sr.EDVIndex && q.Code != sr.ESVIndex {
			continue
		}
		text := valueText(m)
		if s := w.s.Subject; s.Adult() && st.compared(m) && s != nil {
			if normal, known := q.NormalFor(s.Sex); known && (s.Sex == quantity.Male || s.Sex == quantity.Female) {
				text += fmt.Sprintf(" (normal %s to %s, %s)", plain(normal.Lo), plain(normal.Hi), q.Normal.Source)
			}
		}
		values = append(values, text)
	}
	if len(values) == 0 {
		return ""
	}
	return "From one plane, for which there are no codes: " + strings.Join(values, ", ")
}

// coded reports whether a value has a code that fits it.
func (w *writer) coded(q quantity.Quantity, m result.Measurement) bool {
	switch {
	case q.Code == 0, q.OnRequest && !w.o.Strain:
		return false
	case q.Code == sr.EDVIndex, q.Code == sr.ESVIndex:
		return m.Method == result.Biplane // the codes say so
	case q.Code == sr.LAArea:
		return m.View == models.ViewA4C
	}
	return true
}

// finish hangs the remarks on the first value, as they are written once for a
// group.
func (g *group) finish() []sr.Measurement {
	if len(g.out) == 0 {
		return nil
	}
	remarks := g.remarks.united()
	for _, text := range remarks.order {
		g.out[0].Remarks = append(g.out[0].Remarks, listed(distinct(remarks.of[text]))+": "+text)
	}
	g.out[0].Remarks = append(g.out[0].Remarks, spreads(g.beside)...)
	return g.out
}

// planeOf is the loop, and of two planes of one object that, which a source is on; nil
// where it is not among the loops.
func planeOf(loops map[string]*result.Loop, src result.Source) *result.Loop {
	if l := loops[src.SOPInstanceUID]; l != nil {
		return l.Of(src)
	}
	return nil
}

// doubts are the remarks on a value and on the loops that it is from.
func (w *writer) doubts(m result.Measurement, loops map[string]*result.Loop, stage []result.Measurement) (out []string) {
	for _, r := range m.Quality.Warnings {
		out = append(out, about(r.Text, m, stage))
	}
	for _, src := range m.Sources {
		if l := planeOf(loops, src); l != nil {
			for _, r := range l.Warnings {
				// What the values of the loop say themselves is not said again, and the rate's is the rate's.
				said := slices.ContainsFunc(append([]result.Measurement{m}, stage...), func(o result.Measurement) bool {
					same := func(s result.Source) bool { return s.SOPInstanceUID == src.SOPInstanceUID && s.Beside == src.Beside }
					return o.Value != nil && slices.ContainsFunc(o.Sources, same) &&
						slices.ContainsFunc(o.Quality.Warnings, func(w result.Reason) bool { return w.Code == r.Code })
				})
				if said || r.Code == result.Repeated {
					continue
				}
				out = append(out, fmt.Sprintf("%s, %s: %s", l.View, w.loopName(l), r.Text))
			}
		}
	}
	return out
}

// inWords tells a stage that is not coded, a sentence each: "Peak (in words only, so
// that no reader takes it for rest): EF 65 %, EDV 90 ml", "Peak: EF: the planes
// disagree ...".
func (w *writer) inWords(s stage, loops map[string]*result.Loop) []string {
	var values []string
	remarks, missing := newGroups(), newGroups()
	for _, m := range s.measurements {
		q, ok := quantity.Of(m.Name)
		switch {
		case !ok || !q.Core && m.Name != result.CO:
		case m.Name == result.EF && severe(m):
			values = append(values, "EF "+m.Reason.Text)
		case m.Value == nil:
			missing.add(m.Reason.Text, m.Name)
		default:
			text := valueText(m)
			if m.Name == result.EF && m.Method != "" {
				text += " (" + m.Method + ")"
			}
			values = append(values, text)
			for _, d := range w.doubts(m, loops, s.measurements) {
				remarks.add(d, m.Name)
			}
		}
	}
	if len(values) == 0 {
		return nil
	}
	name := s.name
	if name == "" {
		name = "Stage without a name"
	}
	sentences := []string{fmt.Sprintf("%s (in words only, so that no reader takes it for rest): %s", name, strings.Join(values, ", "))}
	remarks = remarks.united()
	for _, text := range remarks.order {
		sentences = append(sentences, name+": "+listed(distinct(remarks.of[text]))+": "+text)
	}
	for _, text := range missing.order {
		sentences = append(sentences, name+": not measured: "+strings.Join(missing.of[text], ", ")+": "+text)
	}
	return sentences
}

// mostListed is how many values a remark of a report names. Own choice.
const mostListed = 4

// listed names the values that a remark is about, the first of many: they stand in
// the order of the report, in which what follows from others comes behind them.
func listed(names []string) string {
	if n := len(names) - mostListed; n > 1 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:mostListed], ", "), n)
	}
	return strings.Join(names, ", ")
}

// sourceOf refers to the frame that a value was measured on: with the contour
// where the value comes from it, with the axis for a length, with the line for
// a diameter or a thickness. Where no frame can be named, nor anything on one, it is
// the object.
func sourceOf(l *result.Loop, src result.Source, measurement string) sr.Source {
	ref := sr.Source{SOPInstanceUID: src.SOPInstanceUID}
	if l.Frames == 1 || instance.SingleFrame(l.SOPClassUID) {
		return ref
	}
	ref.Frame = src.Frame + 1
	f := l.FrameAt(src.Frame)
	if f == nil {
		return ref
	}
	line := func(a, b lv.Point) { ref.Contour = []sr.Point{sr.Point(a), sr.Point(b)} }
	closed := func(c result.Contour) {
		for _, p := range c {
			ref.Contour = append(ref.Contour, sr.Point{X: p[0], Y: p[1]})
		}
		ref.Closed = len(c) > 0
	}
	switch measurement {
	case result.HR, result.PeakEjection, result.PeakFilling:
	case result.LenED, result.LenES:
		if axis, err := longaxis.Of(l, f); err == nil {
			line(axis.Base, axis.Apex)
		}
	case result.IVSd, result.LVIDd, result.LVIDs, result.LVPWd:
		if c, ok := longaxis.Calipers(longaxis.Keypoints(f), 0); ok {
			switch measurement {
			case result.IVSd:
				line(c.IVSRight, c.IVSLeft)
			case result.LVPWd:
				line(c.PWInner, c.PWOuter)
			default:
				line(c.IVSLeft, c.PWInner)
			}
		}
	case result.LAArea, result.LAVolume, result.LAVolumeIndex:
		closed(f.Structures[models.ClassLeftAtrium])
	default:
		if l.View != models.ViewPLAX {
			closed(f.Contour)
		}
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

// united is the groups with each remark that holds for both apical planes told once.
func (g *groups) united() *groups {
	out := newGroups()
	const four, two = models.ViewA4C + ": ", models.ViewA2C + ": "
	for _, text := range g.order {
		key := text
		for _, plane := range []string{four, two} {
			if rest, ok := strings.CutPrefix(text, plane); ok && g.of[four+rest] != nil && g.of[two+rest] != nil {
				key = models.ViewA4C + ", " + two + rest
			}
		}
		for _, name := range g.of[text] {
			out.add(key, name)
		}
	}
	return out
}

// about is a remark on a value as a report tells it: where a stage has values of
// two planes, one on a value of one plane names it as those on the others do, so
// that what concerns a loop is told once.
func about(text string, m result.Measurement, stage []result.Measurement) string {
	planes := slices.ContainsFunc(stage, func(o result.Measurement) bool { return o.Value != nil && o.Method == result.Biplane })
	if planes && (m.View == models.ViewA4C || m.View == models.ViewA2C) && m.Name != result.HR {
		return m.View + ": " + text
	}
	return text
}

func distinct(in []string) []string {
	var out []string
	for _, s := range in {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

func prefix(stage, text string) string {
	if stage == "" {
		return text
	}
	return stage + ": " + text
}

// loopNames are what people call the loops, in remarks, captions and the names of files.
func loopNames(s *result.Study) map[string]string {
	names := map[string]string{}
	for uid, n := range s.LoopNames() {
		names[uid] = n.String()
	}
	return names
}

// loopName is what people call a loop: "loop 7".
func (w *writer) loopName(l *result.Loop) string {
	return w.loopNames()[l.SOPInstanceUID]
}

// loopNames are those of all loops, by SOP Instance UID.
func (w *writer) loopNames() map[string]string {
	if w.names == nil {
		w.names = loopNames(w.s)
	}
	return w.names
}

// together names several loops: "loop 2, 5, 9".
func together(names []string) string {
	short := slices.Clone(names)
	for i := range short {
		rest, simple := strings.CutPrefix(short[i], "loop ")
		if !simple {
			return strings.Join(names, ", ")
		}
		short[i] = rest
	}
	return "loop " + strings.Join(short, ", ")
}

// byNumber are the loops in the order of their instance numbers, where several have one
// number of their series, those that have none where they stand, behind them.
func byNumber(loops []result.Loop) []*result.Loop {
	out := make([]*result.Loop, len(loops))
	for i := range loops {
		out[i] = &loops[i]
	}
	several := slices.ContainsFunc(loops, func(a result.Loop) bool { // of one number
		return a.InstanceNumber > 0 && slices.ContainsFunc(loops, func(b result.Loop) bool {
			return a.InstanceNumber == b.InstanceNumber && a.SeriesNumber != b.SeriesNumber
		})
	})
	slices.SortStableFunc(out, func(a, b *result.Loop) int {
		bySeries := 0
		if several {
			bySeries = cmp.Compare(a.SeriesNumber, b.SeriesNumber)
		}
		return cmp.Or(bySeries, cmp.Compare(cmp.Or(max(a.InstanceNumber, 0), math.MaxInt), cmp.Or(max(b.InstanceNumber, 0), math.MaxInt)))
	})
	return out
}
