package output

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"image"
	stddraw "image/draw"
	"image/png"
	"io"
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"

	"github.com/echonode/echonode/dicomio/instance"
	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/derived"
	"github.com/echonode/echonode/pipeline/indices"
	"github.com/echonode/echonode/pipeline/internal/letters"
	"github.com/echonode/echonode/pipeline/internal/longaxis"
	"github.com/echonode/echonode/pipeline/internal/overlay"
	"github.com/echonode/echonode/pipeline/internal/summary"
	"github.com/echonode/echonode/pipeline/internal/turns"
	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/quantity"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/sr"
)

// summaries make the summary pages, one for each stage: as pictures and as one
// PDF, as far as the options ask for them. The report's page shows them too.
func (w *writer) summaries(ctx context.Context) error {
	if !w.o.Summary && !w.o.PDF && !w.o.Pictures {
		return nil
	}
	sheets, err := w.sheets()
	if err != nil {
		return err
	}
	// A page takes some 60 ms of a core.
	made := make([][]result.Output, len(sheets))
	figures := make([]sr.Figure, len(sheets))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for k, sh := range sheets {
		group.Go(func() (err error) {
			if made[k], figures[k], err = sh.write(ctx, w.o.Pictures); unmakeable(err) {
				made[k], err = append(made[k], result.Output{Kind: result.KindSummary, LeftOut: why(err)}), nil
			}
			return err
		})
	}
	err = group.Wait()
	for k := range sheets {
		w.made = append(w.made, made[k]...)
		if len(figures[k].Data) > 0 {
			w.figures = append(w.figures, figures[k])
		}
	}
	if err != nil || !w.o.PDF || len(sheets) == 0 {
		return err
	}
	return w.attempt(result.KindPDF, "", func() error { return w.pdf(ctx, sheets) })
}

// pdf makes one PDF of the pages.
func (w *writer) pdf(ctx context.Context, sheets []*sheet) error {
	pages, err := illustrated(ctx, sheets)
	if err != nil {
		return err
	}
	var pdf bytes.Buffer
	if err := summary.WritePDF(&pdf, pages...); err != nil {
		return fmt.Errorf("%w: %w", derived.ErrDocument, err)
	}
	if w.o.Pictures {
		if err := w.create(result.Output{Kind: result.KindPDFFile, File: "summary.pdf"},
			func(f io.Writer) error { _, err := f.Write(pdf.Bytes()); return err }); err != nil {
			return err
		}
	}
	d := derived.Document{Identity: w.summaryIdentity(result.KindPDF, pdfSeries, "AI LV summary (PDF)", w.patient),
		Title: "AI left ventricle summary, " + w.standing(), PDF: pdf.Bytes(), Identified: true}
	for i := range w.s.Loops {
		if l := &w.s.Loops[i]; l.Status == result.Analysed {
			if ref := refOf(w.s, l); writable(ref) {
				d.Sources = append(d.Sources, ref)
			}
		}
	}
	return w.createObject(result.Output{Kind: result.KindPDF, File: "summary-pdf.dcm", SOPClassUID: uid.EncapsulatedPDFStorage}, d.Write)
}

// sheet is the page of a stage.
type sheet struct {
	w     *writer // makes this page: its time and options are the page's own
	index int     // of the stage
	stage stage
	shown []stillOf
	page  summary.Page // without frames and curve before illustrate
}

// sheets are the pages of all stages; of several, one without a value needs no
// page of its own.
func (w *writer) sheets() ([]*sheet, error) {
	stages := stagesOf(w.s)
	var out []*sheet
	for i, st := range stages {
		if len(stages) > 1 && !slices.ContainsFunc(st.measurements, func(m result.Measurement) bool { return m.Value != nil }) {
			continue
		}
		pw := *w
		pw.o, pw.run, pw.made = w.o.ofPage(), w.runOf(st), nil
		if err := pw.describe(); err != nil {
			return nil, err
		}
		out = append(out, &sheet{w: &pw, index: i, stage: st, shown: w.stills(st), page: pw.page(st)})
	}
	return out, nil
}

// runOf is when and by what the values of a stage came about: the last analysis
// of its loops, so that its page stays what it is when another stage gets a
// loop. A reader's signature is later than all of them.
func (w *writer) runOf(st stage) result.Run {
	run, known := w.run, false
	if w.s.Review != nil {
		return run
	}
	for i := range w.s.Loops {
		l := &w.s.Loops[i]
		if l.Run != nil && w.s.StageOf(l) == st.name && (!known || l.Run.Time.After(run.Time)) {
			run, known = *l.Run, true
		}
	}
	return run
}

// illustrate draws the frames and the curve.
func (sh *sheet) illustrate(ctx context.Context) error {
	for _, still := range sh.shown {
		img, err := sh.w.still(ctx, still)
		if Undrawable(ctx, err) || unmakeable(err) {
			continue // the page is worth having without it
		}
		if err != nil {
			return err
		}
		if img != nil {
			sh.page.Stills = append(sh.page.Stills, summary.Still{Caption: still.caption, Image: img})
		}
	}
	if len(sh.page.Stills) > 0 {
		sh.page.Curve = areaCurve(sh.shown[0].loop)
	}
	return nil
}

// key stands for all that the object of a page holds.
func (sh *sheet) key(ctx context.Context) (string, error) {
	type part struct {
		Loop    *result.Loop
		Frame   int
		Caption string
		There   bool
	}
	var parts []part
	for _, s := range sh.shown {
		f, err := sh.w.src.Open(ctx, s.loop.SOPInstanceUID)
		if err == nil {
			_ = f.Close() // read only
		}
		parts = append(parts, part{s.loop, s.frame, s.caption, err == nil})
	}
	c, done, err := sh.object(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	header, err := c.Fingerprint()
	if err != nil {
		return "", err
	}
	h := sha256.New()
	if err := json.NewEncoder(h).Encode([]any{header, sh.page, parts}); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)[:20]), nil
}

// write makes the page's object, unless it is kept, and with pictures its
// picture.
func (sh *sheet) write(ctx context.Context, pictures bool) ([]result.Output, sr.Figure, error) {
	if sh.w.keep == nil || pictures {
		return sh.draw(ctx, sh.w.dir, pictures)
	}
	key, err := sh.key(ctx)
	if err != nil {
		return nil, sr.Figure{}, err
	}
	made, err := sh.w.keep(key, func(dir string) ([]result.Output, error) {
		made, _, err := sh.draw(ctx, dir, false)
		return made, err
	})
	return made, sr.Figure{}, err
}

// draw makes the page's object and picture in a folder.
func (sh *sheet) draw(ctx context.Context, dir string, pictures bool) (made []result.Output, figure sr.Figure, err error) {
	if err := sh.illustrate(ctx); err != nil {
		return nil, figure, err
	}
	steps := turns.Begin(ctx)
	defer steps.End()
	if err := steps.Next(ctx); err != nil {
		return nil, figure, err
	}
	img, err := sh.page.Image()
	if err != nil {
		return nil, figure, fmt.Errorf("%w: %w", derived.ErrCine, err)
	}
	w := *sh.w
	w.dir = dir
	if pictures {
		var b bytes.Buffer
		if err := (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(&b, img); err != nil {
			return nil, figure, err
		}
		figure = sr.Figure{Title: sh.page.Title, Type: "image/png", Data: b.Bytes()}
		if err := w.create(result.Output{Kind: result.KindSummaryPicture, File: summaryName(sh.index) + ".png"},
			func(f io.Writer) error { _, err := f.Write(b.Bytes()); return err }); err != nil {
			return nil, figure, err
		}
	}
	if !w.o.Summary {
		return w.made, figure, nil
	}
	steps.End()
	c, done, err := sh.object(ctx)
	if err != nil {
		return w.made, figure, err
	}
	defer done()
	if err := steps.Next(ctx); err != nil {
		return w.made, figure, err
	}
	err = w.createObject(result.Output{Kind: result.KindSummary, File: summaryName(sh.index) + ".dcm", SOPClassUID: c.SOPClassUID()},
		func(f io.Writer) (string, error) {
			return c.Write(f, func(int) (*image.RGBA, error) { return img, nil })
		})
	return w.made, figure, err
}

// object is the page as a single-frame secondary capture. Its source is a loop
// of the stage, so that it gets that stage's name and number. It is done with
// before done is called.
func (sh *sheet) object(ctx context.Context) (c derived.Cine, done func(), err error) {
	var source *dicomio.File
	err = ErrNoSource
	if len(sh.shown) > 0 {
		source, err = sh.w.src.Open(ctx, sh.shown[0].loop.SOPInstanceUID)
	}
	if err != nil {
		if source, err = sh.w.src.Open(ctx, sh.w.patientUID); err != nil {
			return c, nil, err
		}
	}
	done = func() { _ = source.Close() } // read only
	name := strings.TrimSpace(sh.stage.name)
	number := summarySeries
	if sh.index > 0 {
		number = pdfSeries + sh.index
	}
	title := strings.TrimSpace("AI LV summary " + name)
	id := sh.w.summaryIdentity(result.KindSummary, number, title, sh.w.patient, name)
	id.InstanceNumber = sh.index + 1
	return derived.Cine{Identity: id, Source: source.DataSet, Class: derived.SecondaryCapture, Rows: summary.ImageHeight, Columns: summary.ImageWidth, Frames: 1,
		Quality: 95, Description: instance.Clip(title+", "+sh.w.standing(), 1024), Identified: true}, done, nil
}

// PDF writes the summary pages of a study as one PDF, the same that
// [Options.PDF] encapsulates.
func PDF(ctx context.Context, s *result.Study, src Sources, o Options, to io.Writer) error {
	w := &writer{s: s, src: src, o: o, run: s.Run}
	if err := w.identify(ctx); err != nil {
		return err
	}
	sheets, err := w.sheets()
	if err != nil {
		return err
	}
	pages, err := illustrated(ctx, sheets)
	if err != nil {
		return err
	}
	return summary.WritePDF(to, pages...)
}

// illustrated are the pages with their frames and curves.
func illustrated(ctx context.Context, sheets []*sheet) ([]summary.Page, error) {
	pages := make([]summary.Page, len(sheets))
	for i, sh := range sheets {
		if len(sh.page.Stills) == 0 {
			if err := sh.illustrate(ctx); err != nil {
				return nil, err
			}
		}
		pages[i] = sh.page
	}
	return pages, nil
}

func summaryName(i int) string {
	if i == 0 {
		return "summary"
	}
	return fmt.Sprintf("summary-stage-%d", i+1)
}

func (w *writer) summaryIdentity(kind string, series int, description string, patient *dicomio.DataSet, more ...string) derived.Identity {
	return derived.Identity{
		SeriesInstanceUID: w.seriesUID(kind, patient, more...), SeriesNumber: w.seriesNumber(series), InstanceNumber: 1,
		SeriesDescription: w.described(description, ""), Patient: patient, Time: w.run.Time, Equipment: w.equipment, Algorithm: w.algorithm,
	}
}

// standing is the report's Verification Flag (0040,A493), which the summary of
// the same values shares.
func (w *writer) standing() string {
	if w.s.Review != nil {
		return "VERIFIED"
	}
	return "UNVERIFIED"
}

// notice tells a page's readers whether somebody answers for its values.
func (w *writer) notice() string {
	v := w.s.Review
	if v == nil {
		return "UNVERIFIED result of artificial intelligence. Not for diagnosis without review."
	}
	by := nameOnPage(v.Name)
	if v.Organisation != "" {
		by += ", " + v.Organisation
	}
	return fmt.Sprintf("Result of artificial intelligence, %s and VERIFIED by a reader: %s, %s", v.Verdict, by,
		instance.Local(w.patient, v.Time).Format("2006-01-02 15:04 -0700"))
}

// page collects the words and values that stand on the page of a stage.
func (w *writer) page(st stage) summary.Page {
	ds := w.patient
	p := summary.Page{
		Title:  "Left ventricle",
		Notice: w.notice(),
		Made: fmt.Sprintf("EchoNode %s, model %s %s, %s", w.run.Software.Version, w.run.Model.Name, w.run.Model.Version,
			instance.Local(ds, w.run.Time).Format("2006-01-02 15:04 -0700")),
		Subject: []summary.Line{
			{Text: nameOnPage(ds.String(tag.PatientName)), Last: ds.String(tag.PatientID)},
			{Text: strings.TrimSpace(readableDate(instance.Date(ds.String(tag.PatientBirthDate))) + "  " + instance.Sex(ds.String(tag.PatientSex)) + w.age())},
			{Text: "Study " + readableDate(instance.Date(ds.String(tag.StudyDate))), Last: ds.String(tag.AccessionNumber)},
		},
	}
	if name := strings.TrimSpace(st.name); name != "" {
		p.Title += ", " + name
	}
	// What concerns the patient comes first: of the rest a page may hold a part.
	p.Remarks = slices.Clone(w.remarks)
	if text := st.unknown(); text != "" {
		p.Remarks = append(p.Remarks, text)
	}
	w.values(st, &p)
	return p
}

// nameOnPage is a person name as the page's font can show it; a name all of whose
// groups have other letters is said to be one.
func nameOnPage(pn string) string {
	known, err := letters.New()
	if err != nil || strings.Trim(pn, "=^ ") == "" {
		return sr.ReadableName(pn)
	}
	if group := known.Group(pn); group != "" {
		return sr.ReadableName(group)
	}
	return "(name in letters that this page cannot show)"
}

// age at the study, in years, to follow the sex; empty where it is not known.
func (w *writer) age() string {
	if s := w.s.Subject; s != nil && s.AgeYears != nil {
		return "  " + years(*s.AgeYears)
	}
	return ""
}

// signed is a z-score as people write it: +1.4, -2.0, 0.0.
func signed(z float64) string {
	if math.Abs(z) < 0.05 {
		return "0.0"
	}
	return fmt.Sprintf("%+.1f", z)
}

// values fills in headline, rows and remarks.
func (w *writer) values(st stage, p *summary.Page) {
	sex, adult := "", w.s.Subject.Adult()
	if w.s.Subject != nil {
		sex = w.s.Subject.Sex
	}
	remarks, missing, otherwise := newGroups(), newGroups(), newGroups()
	for _, m := range st.measurements {
		q, ok := quantity.Of(m.Name)
		if !ok || q.OnRequest && !w.o.Strain {
			continue
		}
		if m.Value == nil {
			if m.Name == result.EF && severe(m) {
				p.Headline, p.Under = "EF severely reduced", m.Reason.Text
				continue
			}
			if q.Core && m.Reason != nil {
				missing.add(m.Reason.Text, m.Name)
			}
			continue
		}
		for _, r := range m.Quality.Warnings {
			remarks.add(about(r.Text, m, st.measurements), m.Name)
		}
		if m.Name == result.EF {
			p.Headline, p.Doubtful = valueText(m), m.Quality.Grade == result.Poor
			var about []string
			if adult && st.compared(m) {
				about = append(about, fmt.Sprintf("%s (%s)", quantity.EFBand(*m.Value, sex), quantity.ASE2015))
			}
			method := m.Method
			if m.View != "" {
				method += ", " + m.View
			}
			about = append(about, method, "quality "+m.Quality.Grade)
			if text := spread(m); text != "" {
				about = append(about, text)
			}
			p.Under = strings.Join(about, "; ")
			continue
		}
		row := summary.Row{Name: q.Title, Value: strings.TrimSpace(q.Format(*m.Value) + " " + q.UnitText())}
		if normal, known := q.NormalFor(sex); known && adult && st.compared(m) {
			row.Normal = plain(normal.Lo) + " to " + plain(normal.Hi)
			row.Outside = !normal.Holds(q.Round(*m.Value))
			if sex != quantity.Male && sex != quantity.Female { // what is normal in one may be so here
				row.Normal += " (both sexes)"
				row.Outside = !q.Normal.Male.Holds(q.Round(*m.Value)) && !q.Normal.Female.Holds(q.Round(*m.Value))
			}
		}
		child := indices.ChildSurface(w.s.Subject)
		if normal, known := q.NormalForChild(m.View, child); known && st.compared(m) {
			z, _ := q.ZScore(*m.Value, m.View, child)
			otherwise.add(q.Child.Otherwise, m.Name)
			row.Normal = fmt.Sprintf("%s to %s (z %s)", q.Format(normal.Lo), q.Format(normal.Hi), signed(z))
			row.Outside = math.Abs(z) > 2
		}
		p.Rows = append(p.Rows, row)
	}
	if text := w.geometry(st); text != "" {
		p.Remarks = append(p.Remarks, text)
	}
	if p.Headline == "" {
		p.Headline = "EF not measured"
		for _, m := range st.measurements {
			if m.Name == result.EF && m.Reason != nil {
				p.Under = m.Reason.Text
			}
		}
	}
	for _, text := range otherwise.order {
		if text != "" {
			p.Remarks = append(p.Remarks, fmt.Sprintf("%s: the healthy children (%s) were measured %s", strings.Join(otherwise.of[text], ", "), quantity.PHN2017, text))
		}
	}
	remarks = remarks.united()
	for _, text := range remarks.order {
		p.Remarks = append(p.Remarks, concerned(distinct(remarks.of[text]))+": "+text)
	}
	if len(p.Rows) == 0 && !slices.ContainsFunc(w.s.Loops, func(l result.Loop) bool { return l.Status == result.Analysed }) {
		p.Remarks = append(p.Remarks, w.notAnalysed()...)
		return // why nothing is measured stands above
	}
	for _, text := range missing.order {
		p.Remarks = append(p.Remarks, "Not measured: "+strings.Join(missing.of[text], ", ")+": "+text)
	}
}

// mostNamed is how many values a remark on a page names. Own choice.
const mostNamed = 3

// concerned names the values that a remark is about: of those around the ejection
// fraction the three that the others follow from, of others the first few.
func concerned(names []string) string {
	var main []string
	for _, name := range []string{result.EF, result.EDV, result.ESV} {
		if slices.Contains(names, name) {
			main = append(main, name)
		}
	}
	if len(main) > 0 {
		return strings.Join(main, ", ")
	}
	if n := len(names) - mostNamed; n > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:mostNamed], ", "), n)
	}
	return strings.Join(names, ", ")
}

// readableDate is a DICOM date as 2006-01-02; what is no date is left as it is.
func readableDate(s string) string {
	if t, err := time.Parse("20060102", s); err == nil {
		return t.Format("2006-01-02")
	}
	return s
}

func plain(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// stillOf is a frame that a page shows.
type stillOf struct {
	loop    *result.Loop
	frame   int
	caption string
}

// stills are the frames behind a stage's values: at end-diastole and
// end-systole of up to two loops, those of the ejection fraction first.
func (w *writer) stills(st stage) (out []stillOf) {
	loops := map[string]*result.Loop{}
	for i := range w.s.Loops {
		if l := &w.s.Loops[i]; l.Status == result.Analysed && loops[l.SOPInstanceUID] == nil {
			loops[l.SOPInstanceUID] = l
		}
	}
	var order []*result.Loop // planes
	phases := map[*result.Loop]map[string]int{}
	for _, name := range []string{result.EF, result.FAC, result.AreaED, result.AreaES, result.LVIDd, result.LVIDs} {
		for _, m := range st.measurements {
			if m.Name != name || m.Value == nil {
				continue
			}
			for _, src := range m.Sources {
				l := planeOf(loops, src)
				if l == nil || src.Phase == "" {
					continue
				}
				if phases[l] == nil {
					phases[l] = map[string]int{}
					order = append(order, l)
				}
				if _, ok := phases[l][src.Phase]; !ok {
					phases[l][src.Phase] = src.Frame
				}
			}
		}
	}
	slices.SortStableFunc(order, func(a, b *result.Loop) int { return strings.Compare(viewOrder(a.View), viewOrder(b.View)) })
	for _, l := range order {
		for _, phase := range []string{"ED", "ES"} {
			if frame, ok := phases[l][phase]; ok && len(out) < 4 {
				out = append(out, stillOf{l, frame, fmt.Sprintf("%s, %s, %s, frame %d", l.View, phase, w.loopName(loops[l.SOPInstanceUID]), frame+1)})
			}
		}
	}
	return out
}

func viewOrder(view string) string {
	if view == models.ViewA4C {
		return ""
	}
	return view
}

// still draws a frame with what is on it, cut to the part that was analysed;
// nil when the object is gone.
func (w *writer) still(ctx context.Context, s stillOf) (image.Image, error) {
	file, err := w.src.Open(ctx, s.loop.SOPInstanceUID)
	if err != nil {
		return nil, nil
	}
	defer file.Close()
	frames, err := file.Frames()
	if err != nil {
		return nil, err
	}
	steps := turns.Begin(ctx)
	defer steps.End()
	if err := steps.Next(ctx); err != nil {
		return nil, err
	}
	var source image.RGBA
	if err := frames.RGB(s.frame, &source); err != nil {
		return nil, err
	}
	r, err := overlay.NewRenderer(source.Rect.Dx(), source.Rect.Dy(), "")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", derived.ErrCine, err)
	}
	img := image.NewRGBA(source.Rect)
	stddraw.Draw(img, img.Rect, &source, source.Rect.Min, stddraw.Src)
	t := trustOf(s.loop)
	sc := w.scene(s.loop, t, s.frame)
	sc.Outlines = slices.DeleteFunc(sc.Outlines, func(o overlay.Outline) bool { return o.Kind == overlay.Ghost })
	r.Draw(img, sc)
	if g := s.loop.Region; g != nil {
		if cut := image.Rect(g.MinX, g.MinY, g.MaxX, g.MaxY).Intersect(img.Rect); !cut.Empty() {
			return img.SubImage(cut), nil
		}
	}
	return img, nil
}

// areaCurve is the curve of a loop's cavity.
func areaCurve(l *result.Loop) *summary.Curve {
	if len(l.FrameTimes) != l.Frames || l.Frames < 2 || l.View == models.ViewPLAX {
		return nil
	}
	c := &summary.Curve{Title: "Area, " + l.View, Unit: "cm2", TimesMS: l.FrameTimes}
	factor := 0.01 // mm2 to cm2
	if !l.Spacing.Trusted {
		c.Unit, factor = "pixels", 1
	}
	for i := range l.Frames {
		v := math.NaN()
		if f := l.FrameAt(i); f != nil && len(f.Contour) > 0 {
			v = factor * lv.PolygonArea(longaxis.Points(f.Contour), longaxis.Spacing(l))
		}
		c.Values = append(c.Values, v)
	}
	if l.Curve != nil && len(l.Curve.Smoothed) == l.Frames {
		for _, v := range l.Curve.Smoothed {
			c.Smoothed = append(c.Smoothed, factor*v)
		}
	}
	for _, b := range trustOf(l).beats {
		c.ED, c.ES = append(c.ED, b.ED), append(c.ES, b.ES)
	}
	return c
}
