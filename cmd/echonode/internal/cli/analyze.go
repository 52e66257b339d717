package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/echonode/echonode/dicomio/tag"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/pipeline"
	"github.com/echonode/echonode/pipeline/output"
	"github.com/echonode/echonode/pipeline/quantity"
	"github.com/echonode/echonode/pipeline/result"
)

// analysis are the settings of the analyze command.
type analysis struct {
	config, out, csv, jsonl string
	json, quiet             bool
	fps                     float64
	spacing                 string
}

func (p *program) analyzeCommand() *cobra.Command {
	var a analysis
	cmd := &cobra.Command{
		Use:   "analyze FILE|DIR...",
		Short: "Analyse DICOM files without a network",
		Long: `Runs the node's analysis on files: every loop of every study, grouped by Study
Instance UID. Prints a table, or with --json one document (schema
` + result.Schema + `, described in pipeline/result). With --out it writes the DICOM objects,
the report as text and HTML, animations and stills into a folder for each study,
named by its Study Instance UID.

Videos (AVI, MP4 and others that ffmpeg reads) and pictures (PNG, JPEG) are
analysed too, each as a study of its own. What they do not say themselves is
given: --spacing for the size of a pixel as it is shown, without which there are
ratios and no volumes (by pixels as wide as the file says, else square), and --fps where the times of the file are not those of the
heart.
With --fps, pictures of a folder that are numbered one after the other under one
name (f0001.png, f0002.png, ...) are the frames of one loop.

--csv and --jsonl grow while it works, by a study at a time: a row for every
value, and a line with the whole result. A run that was cut off goes on where the
files end; studies that are in them are not analysed again. Where one of them has
got files since, they are named and the exit code is 3.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return p.analyze(cmd.Context(), args, a) },
	}
	cmd.Flags().StringVarP(&a.config, "config", "c", "", "configuration file (default: the embedded one)")
	cmd.Flags().StringVarP(&a.out, "out", "o", "", "folder for DICOM objects and pictures")
	cmd.Flags().BoolVar(&a.json, "json", false, "print one JSON document")
	cmd.Flags().StringVar(&a.csv, "csv", "", "table of all values, a file that grows and is continued")
	cmd.Flags().StringVar(&a.jsonl, "jsonl", "", "results as JSON Lines, one study a line, a file that grows and is continued")
	cmd.Flags().Float64Var(&a.fps, "fps", 0, "frames per second of videos (default: as the file says) and of numbered pictures")
	cmd.Flags().StringVar(&a.spacing, "spacing", "", "size of a pixel of videos and pictures in mm: 0.3, or across and down: 0.3,0.25")
	cmd.Flags().BoolVarP(&a.quiet, "quiet", "q", false, "no progress on standard error")
	return cmd
}

func (p *program) analyze(ctx context.Context, args []string, a analysis) (err error) {
	c, err := load(a.config)
	if err != nil {
		return err
	}
	files, err := findFiles(args, func(path string) bool {
		// What claims to be DICOM and is not readable is listed, not hidden.
		return isMedia(path) || isDICOM(path) || claimsDICOM(path)
	})
	if err != nil {
		return err
	}
	media := mediaSettings{fps: a.fps, frames: c.Analysis.MaxFrames}
	if media.spacing, err = parseSpacing(a.spacing); err != nil {
		return usageError{err}
	}
	media.square = a.spacing != "" && !strings.Contains(a.spacing, ",")
	if a.fps < 0 || math.IsNaN(a.fps) || math.IsInf(a.fps, 0) {
		return usageError{fmt.Errorf("--fps %g", a.fps)}
	}
	scratch, err := os.MkdirTemp("", "echonode-media-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	files, origin, unreadable, same := convert(ctx, files, scratch, media)
	if !a.quiet {
		for _, line := range same {
			fmt.Fprintln(p.err, line)
		}
	}
	c.Log.Level = "warn"
	log := logger(p.err, c.Log)
	// The files are looked at while the network is loaded, which takes one core.
	var order []studyKey
	var byStudy map[studyKey][]string
	var instances map[string]string
	var rejected []result.RejectedFile
	var grouping sync.WaitGroup
	grouping.Go(func() { order, byStudy, instances, rejected = groupByStudy(files) })
	analyzer, engine, err := p.openAnalyzer(ctx, c, "", log)
	grouping.Wait()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	ctx, stop := rearm(ctx)
	defer stop()

	outputs := outputOptions(c, c.Outputs)
	if outputs.DeviceUID, err = installationUID(c, false); err != nil {
		return err
	}
	var table, lines *growing
	if a.csv != "" {
		if table, err = openTable(a.csv, analyzer.Model()); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, table.close()) }()
	}
	if a.jsonl != "" {
		if lines, err = openLines(a.jsonl, analyzer.Model()); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, lines.close()) }()
	}
	grows := table != nil || lines != nil
	rejected = append(rejected, unreadable...)
	objects := map[studyKey][]string{}
	for key, paths := range byStudy {
		for _, path := range paths {
			objects[key] = append(objects[key], instances[path])
		}
	}
	table.match(objects)
	lines.match(objects)
	var todo []studyKey
	var inputs, late []string
	for _, key := range order {
		if !grows || !table.hasStudy(key) || !lines.hasStudy(key) {
			todo = append(todo, key)
			inputs = append(inputs, byStudy[key]...)
			continue
		}
		for _, path := range byStudy[key] {
			if sop := instances[path]; !table.hasLoop(key, sop) || !lines.hasLoop(key, sop) {
				late = append(late, origin.of(path))
			}
		}
	}
	if n := len(order) - len(todo); n > 0 && !a.quiet {
		fmt.Fprintf(p.err, "%d of %d studies are in the files already\n", n, len(order))
	}
	t := tally{failed: len(rejected), files: len(instances) + len(rejected)}
	var studies []*pipeline.Study
	var faults []error
	if len(late) > 0 {
		faults = append(faults,
			fmt.Errorf("%d files came later than the results of their studies, which stand without them (first %s): name another file for these studies",
				len(late), late[0]))
		if !a.quiet {
			fmt.Fprintf(p.err, "came later: %s\n", strings.Join(late, ", "))
		}
	}
	left := newClock(inputs)
	var telling sync.Mutex // of two studies
	begun := analyzeInTurn(ctx, analyzer, len(todo), func(i int) ([]string, pipeline.Progress) {
		return byStudy[todo[i]], func(done, total int, l *result.Loop) {
			telling.Lock()
			defer telling.Unlock()
			left.done += size(l.File)
			if !a.quiet {
				shown := *l
				shown.File = origin.of(l.File)
				fmt.Fprintf(p.err, "study %d/%d loop %d/%d  %s%s\n", i+1, len(todo), done, total, loopLine(&shown), left.left(time.Now()))
			}
		}
	})
	defer func() { // whatever ends this: what is under analysis uses the engine
		stop()
		for wait := range begun {
			_, _ = wait() // it has no result any more
		}
	}()
	for _, key := range todo {
		study, err := (<-begun)()
		if err != nil {
			return err
		}
		if study.Subject != nil {
			study.Subject.Key = key.patient
		}
		origin.cut(&study.Study)
		if a.out != "" {
			// A study that cannot be written does not take the others with it.
			if err := writeStudy(ctx, study, a.out, outputs, analyzer.Limits(), origin); err != nil {
				if ctx.Err() != nil {
					return err
				}
				faults = append(faults, fmt.Errorf("study %s: %w", key.study, err))
			}
		}
		origin.name(&study.Study)
		if err := errors.Join(table.add(&study.Study), lines.add(&study.Study)); err != nil {
			return err
		}
		t.count(&study.Study)
		// What grows is not kept in memory too: there may be thousands.
		if !grows || a.json {
			studies = append(studies, study)
		}
	}
	doc := analyzer.Document(studies...)
	doc.Rejected = rejected
	switch {
	case a.json:
		if err := writeIndented(p.out, doc); err != nil {
			return err
		}
	case grows:
		fmt.Fprintf(p.out, "%d studies analysed, %d loops measured or refused, %d inputs not readable\n", len(todo), t.analysed+t.refused, t.failed)
	default:
		if err := printDocument(p.out, doc); err != nil {
			return err
		}
	}
	switch {
	case t.failed > 0 && t.failed == t.files:
		return errors.New("no input could be read")
	case t.failed > 0:
		faults = append(faults, fmt.Errorf("%d of %d inputs could not be read", t.failed, t.files))
	}
	if len(faults) > 0 {
		return partError{errors.Join(faults...)}
	}
	return nil
}

// analyzeInTurn begins the analysis of one study after the other, each when the
// objects of the one before are nearly done, so that the engine has always work.
// What waits for their results comes in their order.
func analyzeInTurn(ctx context.Context, a *pipeline.Analyzer, n int, study func(i int) ([]string, pipeline.Progress)) <-chan func() (*pipeline.Study, error) {
	begun := make(chan func() (*pipeline.Study, error))
	go func() {
		defer close(begun)
		for i := range n {
			paths, progress := study(i)
			begun <- a.Begin(ctx, paths, progress)
		}
	}()
	return begun
}

// origins are the files behind objects that were made of them, with their frames.
type origins map[string]made

func (o origins) of(path string) string {
	if from := o[path].path; from != "" {
		return from
	}
	return path
}

// cut says of the loops whose files have more frames than were read.
func (o origins) cut(s *result.Study) {
	for i := range s.Loops {
		if l := &s.Loops[i]; o[l.File].frames > l.Frames && l.Frames > 0 {
			l.CutFrom(o[l.File].frames)
		}
	}
}

// name puts the files in the place of the objects.
func (o origins) name(s *result.Study) {
	for i := range s.Loops {
		s.Loops[i].File = o.of(s.Loops[i].File)
	}
}

// convert makes objects of the videos and pictures among the files. origin
// names the file behind each of them, same says which have one content.
func convert(ctx context.Context, files []string, dir string, o mediaSettings) (out []string, origin origins, unreadable []result.RejectedFile, same []string) {
	origin = origins{}
	take := func(path string, m made, err error) {
		if err != nil {
			unreadable = append(unreadable, result.RejectedFile{File: path, Reason: result.Reasonf(result.Unreadable, "%v", err)})
			return
		}
		if first, again := origin[m.path]; again { // equal content is analysed once
			same = append(same, fmt.Sprintf("%s has the same content as %s, which is analysed", path, first.path))
			return
		}
		out = append(out, m.path)
		origin[m.path] = made{path, m.frames}
	}
	if o.fps > 0 {
		var cines []sequence
		cines, files = sequences(files)
		for _, s := range cines {
			m, err := s.toDICOM(dir, o)
			take(s.name, m, err)
		}
	}
	for _, path := range files {
		if !isMedia(path) {
			out = append(out, path)
			continue
		}
		m, err := toDICOM(ctx, path, dir, o)
		take(path, m, err)
	}
	return out, origin, unreadable, same
}

// tally counts what became of the inputs.
type tally struct{ files, analysed, refused, failed int }

func (t *tally) count(s *result.Study) {
	for _, l := range s.Loops {
		switch l.Status {
		case result.Failed:
			t.failed++
		case result.Analysed:
			t.analysed++
		default:
			t.refused++
		}
	}
}

// studyKey tells studies apart. Two patients under one Study Instance UID, as
// happens where anonymisation went wrong or a machine was not told of the next
// patient, are two studies.
type studyKey struct{ study, patient string }

// groupByStudy sorts files by study and patient in order of appearance. Files
// that are not DICOM are returned with the reason, the others' SOP Instance UIDs
// by path.
func groupByStudy(paths []string) (order []studyKey, byStudy map[studyKey][]string, instances map[string]string, rejected []result.RejectedFile) {
	byStudy, instances = map[studyKey][]string{}, map[string]string{}
	files, subjects := map[string][]string{}, map[string][]result.Subject{}
	var studies []string
	first := map[string]string{} // the file of each SOP Instance UID
	for _, path := range paths {
		f, err := dicomio.Open(path, dicomio.Options{})
		if err != nil {
			rejected = append(rejected, result.RejectedFile{File: path, Reason: result.Reasonf(result.Unreadable, "%v", err)})
			continue
		}
		study, sop := f.DataSet.String(tag.StudyInstanceUID), f.DataSet.String(tag.SOPInstanceUID)
		if other, twice := first[sop]; twice && sop != "" {
			_ = f.Close() // read only
			if !sameContent(path, other) {
				rejected = append(rejected, result.RejectedFile{File: path,
					Reason: result.Reasonf(result.Unreadable, "another object has its SOP Instance UID, and comes first: %s", other)})
			}
			continue
		}
		first[sop] = path
		instances[path] = sop
		if files[study] == nil {
			studies = append(studies, study)
		}
		files[study] = append(files[study], path)
		subjects[study] = append(subjects[study], pipeline.SubjectOf(f.DataSet))
		_ = f.Close() // read only
	}
	for _, study := range studies {
		keys := patientKeys(subjects[study])
		for i, path := range files[study] {
			key := studyKey{study, keys[i]}
			if byStudy[key] == nil {
				order = append(order, key)
			}
			byStudy[key] = append(byStudy[key], path)
		}
	}
	return order, byStudy, instances, rejected
}

// sameContent reports whether two files hold the same bytes.
func sameContent(a, b string) bool {
	x, err1 := digest(a)
	y, err2 := digest(b)
	return err1 == nil && err2 == nil && x == y
}

// patientKeys gives each object of a study the key of its patient: that of its
// Patient ID, with the digest of the person behind it for each of several who
// share one.
func patientKeys(subjects []result.Subject) []string {
	persons := make([]result.Person, len(subjects))
	for i, s := range subjects {
		persons[i] = *s.Person
	}
	numbers := result.Apart(persons)
	// One patient's objects may have two keys: the issuer is not always given.
	first, of := map[int]string{}, map[int]string{}
	for i, k := range numbers {
		if d := persons[i].Digest(); first[k] == "" || d < first[k] {
			first[k] = d
		}
		if key := subjects[i].Key; of[k] == "" || key < of[k] {
			of[k] = key
		}
	}
	sharers := map[string]int{}
	for _, key := range of {
		sharers[key]++
	}
	keys := make([]string, len(subjects))
	for i, k := range numbers {
		if keys[i] = of[k]; sharers[of[k]] > 1 {
			keys[i] += "-" + first[k]
		}
	}
	return keys
}

// resultFile in the folder of a study says whose it is and what was written.
const resultFile = "result.json"

// errOtherStudy says that a folder is not the study's own.
var errOtherStudy = errors.New("the folder holds something else")

// writeStudy makes the outputs of a study in a folder of its own below out,
// beside its result. Outputs of an earlier run of the same study are replaced;
// a folder that holds anything else is refused.
func writeStudy(ctx context.Context, study *pipeline.Study, out string, o output.Options, limits dicomio.Limits, origin origins) (err error) {
	dir, err := claim(out, &study.Study)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	o.Pictures = true
	study.Outputs, err = output.Write(ctx, &study.Study, output.FilesOf(&study.Study, limits), dir, o)
	if err != nil {
		return err
	}
	origin.name(&study.Study)
	b, err := json.MarshalIndent(&study.Study, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, resultFile), append(b, '\n'), 0o640)
}

// claim finds or chooses the folder of a study and empties it. The same UID with
// another patient gets a folder of its own.
func claim(out string, s *result.Study) (string, error) {
	dir := filepath.Join(out, folderName(s.StudyInstanceUID))
	err := reuse(dir, s)
	if s.Subject == nil || !errors.Is(err, errOtherPatient) {
		return dir, err
	}
	id, _, _ := strings.Cut(s.Subject.Key, "-")
	earlier, err := filepath.Glob(filepath.Join(out, folderName(s.StudyInstanceUID)+"-"+id+"*"))
	if err != nil {
		return dir, err
	}
	dir += "-" + s.Subject.Key
	own := []string{dir}
	if s.Subject.Person != nil {
		own = append(own, dir+"-"+s.Subject.Person.Digest())
	}
	for _, dir := range append(earlier, own...) {
		if err = reuse(dir, s); !errors.Is(err, errOtherPatient) {
			return dir, err
		}
	}
	return dir, err
}

// folderName makes a folder of a Study Instance UID. What is no UID comes from
// a file and becomes no path.
func folderName(uid string) string {
	if len(uid) > 0 && len(uid) <= 64 && strings.Trim(uid, "0123456789.") == "" && strings.Trim(uid, ".") != "" {
		return uid
	}
	sum := sha256.Sum256([]byte(uid))
	return "study-" + hex.EncodeToString(sum[:8])
}

var errOtherPatient = fmt.Errorf("the study's folder belongs to another patient: %w", errOtherStudy)

// reuse empties a folder of what an earlier run of the same study wrote there.
func reuse(dir string, s *result.Study) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	b, err := os.ReadFile(filepath.Join(dir, resultFile))
	if err != nil {
		return fmt.Errorf("%s: %w, and no %s of an earlier run", dir, errOtherStudy, resultFile)
	}
	var old result.Study
	if err := json.Unmarshal(b, &old); err != nil {
		return fmt.Errorf("%s: %w: %w", filepath.Join(dir, resultFile), errOtherStudy, err)
	}
	switch {
	case old.StudyInstanceUID != s.StudyInstanceUID:
		return fmt.Errorf("%s: %w: study %s", dir, errOtherStudy, old.StudyInstanceUID)
	case !sameSubject(&old, s):
		return fmt.Errorf("%s: %w", dir, errOtherPatient)
	}
	for _, o := range old.Outputs {
		// Only names in this very folder: the list is a file like any other.
		if err := os.Remove(filepath.Join(dir, filepath.Base(o.File))); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return os.Remove(filepath.Join(dir, resultFile))
}

// sameSubject reports whether an earlier result of a study is of its patient.
// Where the keys differ, as they do since others share the Patient ID, or a
// program of before wrote it, the same objects say so.
func sameSubject(old, s *result.Study) bool {
	a, b := old.Subject, s.Subject
	if a == nil || b == nil {
		return true
	}
	if !result.SameKey(a.Key, b.Key) || a.Other(b) {
		return false
	}
	if a.Key == b.Key && (a.Person == nil || a.Person.Current()) {
		return true
	}
	loops := loopsOf(old)
	return slices.ContainsFunc(s.Loops, func(l result.Loop) bool { return loops[l.SOPInstanceUID] })
}

// loopLine says in one line what became of a loop.
func loopLine(l *result.Loop) string {
	head := fmt.Sprintf("%s  %d frames", filepath.Base(l.File), l.Frames)
	if l.View != "" {
		head += fmt.Sprintf("  %s %.0f %%", l.View, 100*l.ViewProbability)
	}
	if l.Status != result.Analysed {
		return head + "  " + l.Status + ": " + l.Reason.Text
	}
	return head + "  " + values(l.Measurements)
}

// values sums up what was measured, or why the first thing was not.
func values(ms []result.Measurement) string {
	var parts []string
	for _, m := range ms {
		if q, ok := quantity.Of(m.Name); m.Value == nil || ok && !q.Core {
			continue
		}
		parts = append(parts, m.Name+" "+shown(m))
	}
	for _, m := range ms {
		if q, ok := quantity.Of(m.Name); m.Value == nil && (q.Core || !ok) {
			parts = append(parts, fmt.Sprintf("%s not measured: %s", m.Name, m.Reason.Text))
			break
		}
	}
	return strings.Join(parts, ", ")
}

// shown is a value with its unit, in the decimals of its quantity.
func shown(m result.Measurement) string {
	q, ok := quantity.Of(m.Name)
	if !ok {
		return strings.TrimSpace(fmt.Sprintf("%.3g %s", *m.Value, quantity.UnitText(m.Unit)))
	}
	return strings.TrimSpace(q.Format(*m.Value) + " " + q.UnitText())
}

func printDocument(out io.Writer, doc *result.Document) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	for _, s := range doc.Studies {
		fmt.Fprintf(w, "study %s\n", s.StudyInstanceUID)
		for _, line := range headlines(s.Measurements) {
			fmt.Fprintln(w, line)
		}
		fmt.Fprintln(w)
		fmt.Fprintln(w, "FILE\tVIEW\tFRAMES\tSTAGE\tRESULT")
		for _, l := range s.Loops {
			view := l.View
			if view == "" {
				view = "-"
			}
			what := values(l.Measurements)
			if l.Status != result.Analysed {
				what = l.Status + ": " + l.Reason.Text
			}
			frames := strconv.Itoa(l.Frames)
			if l.ObjectFrames > l.Frames {
				frames += fmt.Sprintf(" of %d", l.ObjectFrames)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", filepath.Base(l.File), view, frames, l.Stage, what)
		}
		printMeasurements(w, s.Measurements)
		for _, o := range s.Outputs {
			fmt.Fprintf(w, "%s\t%s\n", o.Kind, o.File)
		}
		fmt.Fprintln(w)
	}
	for _, r := range doc.Rejected {
		fmt.Fprintf(w, "%s\tnot readable: %s\n", r.File, r.Reason.Text)
	}
	fmt.Fprintf(w, "model %s %s on %s. %s\n", doc.Model.Name, doc.Model.Version, doc.Model.Provider, doc.Notice)
	return w.Flush()
}

// headlines say of each stage what a reader looks for first: "Rest: EF 59 %
// (good), EDV 118 mL, ESV 48 mL; biplane method of disks, 3 beats".
func headlines(ms []result.Measurement) (lines []string) {
	for _, m := range ms {
		if m.Name != result.EF {
			continue
		}
		stage := ""
		if m.Stage != "" {
			stage = strings.TrimSpace(m.Stage) + ": "
		}
		if m.Value == nil {
			what := "EF not measured: "
			if m.Reason.Code == result.SeverelyReduced {
				what = "EF "
			}
			lines = append(lines, stage+what+m.Reason.Text)
			continue
		}
		line := fmt.Sprintf("%sEF %s (%s)", stage, shown(m), m.Quality.Grade)
		for _, o := range ms {
			if o.Stage == m.Stage && o.StageNumber == m.StageNumber && o.Value != nil && (o.Name == result.EDV || o.Name == result.ESV) {
				line += ", " + o.Name + " " + shown(o)
			}
		}
		method := m.Method
		if m.View != "" {
			method += ", " + m.View
		}
		line += "; " + method
		switch n := len(m.Beats); n {
		case 0:
		case 1:
			line += ", 1 beat"
		default:
			line += fmt.Sprintf(", %d beats", n)
		}
		lines = append(lines, line)
	}
	return lines
}

// printMeasurements lists what was measured, then what was not, together by
// reason, then once each remark that the values have the numbers of.
func printMeasurements(w io.Writer, ms []result.Measurement) {
	type missing struct{ stage, reason string }
	var order []missing
	names := map[missing][]string{}
	var remarks []string
	fmt.Fprintln(w, "\nQUANTITY\tSTAGE\tVALUE\tMETHOD\tQUALITY")
	for _, m := range ms {
		if m.Value == nil {
			key := missing{m.Stage, m.Reason.Text}
			if names[key] == nil {
				order = append(order, key)
			}
			names[key] = append(names[key], m.Name)
			continue
		}
		quality := m.Quality.Grade
		var numbers []int
		for _, q := range m.Quality.Warnings {
			n := slices.Index(remarks, q.Text) + 1
			if n == 0 {
				remarks = append(remarks, q.Text)
				n = len(remarks)
			}
			numbers = append(numbers, n)
		}
		slices.Sort(numbers)
		if len(numbers) > 0 {
			quality += fmt.Sprintf(" [%s]", strings.Trim(strings.ReplaceAll(fmt.Sprint(numbers), " ", ","), "[]"))
		}
		method := m.Method
		if m.View != "" {
			method += ", " + m.View
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", m.Name, m.Stage, shown(m), method, quality)
	}
	for _, key := range order {
		fmt.Fprintf(w, "not measured\t%s\t%s: %s\n", key.stage, strings.Join(names[key], ", "), key.reason)
	}
	for i, r := range remarks {
		fmt.Fprintf(w, "[%d] %s\n", i+1, r)
	}
}
