package cli

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/echonode/echonode/pipeline"
	"github.com/echonode/echonode/pipeline/output"
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

Videos (AVI, MP4, MOV, MKV, WebM, WMV, GIF and others that ffmpeg reads) and
pictures (PNG, JPEG, BMP, TIFF, WebP) are analysed too, each as a study of its own.
What they do not say themselves is given: --spacing for the size of a pixel as it is
shown, without which there are ratios and no volumes (by pixels as wide as the file
says, else square), and --fps where the times of the file are not those of the heart,
as those of a GIF or an animated PNG never are, or where it has none, as a TIFF of
several pages: without it only their view is told. Animated WebP is not read.
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
	if a.csv != "" && filepath.Clean(a.csv) == filepath.Clean(a.jsonl) {
		return usageError{errors.New("--csv and --jsonl name one file")}
	}
	media, err := a.media(c.Analysis.MaxFrames)
	if err != nil {
		return usageError{err}
	}
	earlier := outputsOf{}
	files, err := findFiles(args, func(path string) bool {
		// The directory of a disc is no object, and what an earlier run made no input.
		// What claims to be DICOM and is not readable is listed, not hidden.
		return !strings.EqualFold(filepath.Base(path), "DICOMDIR") && !earlier.made(path) && (isMedia(path) || isDICOM(path) || claimsDICOM(path))
	})
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "echonode-media-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	w := &analysisRun{p: p, analysis: a}
	var same []string
	files, w.origin, w.rejected, same = convert(ctx, files, scratch, media)
	c.Log.Level = "warn"
	// The files are looked at while the network is loaded, which takes one core.
	var unreadable []result.RejectedFile
	var grouping sync.WaitGroup
	grouping.Go(func() {
		g := groupByStudy(files)
		w.order, w.byStudy, w.instances, unreadable, same = g.order, g.byStudy, g.instances, g.rejected, append(same, g.same...)
	})
	analyzer, engine, err := p.openAnalyzer(ctx, c, "", logger(p.err, c.Log))
	grouping.Wait()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	if !a.quiet {
		for _, line := range same {
			fmt.Fprintln(p.err, line)
		}
	}
	w.analyzer, w.rejected = analyzer, append(unreadable, w.rejected...)
	w.tally = tally{failed: len(w.rejected), files: len(w.instances) + len(w.rejected)}
	ctx, stop := rearm(ctx)
	defer stop()

	w.outputs = outputOptions(c, c.Outputs)
	if w.outputs.DeviceUID, err = installationUID(c, false); err != nil {
		return err
	}
	if err := w.openFiles(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.table.close(), w.lines.close()) }()
	w.choose()
	if err := w.studies(ctx); err != nil {
		return err
	}
	if err := w.print(); err != nil {
		return err
	}
	return w.problems()
}

// media are the settings of videos and pictures.
func (a analysis) media(frames int) (mediaSettings, error) {
	if a.fps < 0 || math.IsNaN(a.fps) || math.IsInf(a.fps, 0) {
		return mediaSettings{}, fmt.Errorf("--fps %g", a.fps)
	}
	spacing, err := parseSpacing(a.spacing)
	return mediaSettings{fps: a.fps, spacing: spacing, square: a.spacing != "" && !strings.Contains(a.spacing, ","), frames: frames}, err
}

// analysisRun is one run of the analyze command.
type analysisRun struct {
	p *program
	analysis
	analyzer *pipeline.Analyzer
	outputs  output.Options

	origin    origins
	order     []studyKey
	byStudy   map[studyKey][]string // the objects' files
	instances map[string]string     // their SOP Instance UIDs
	todo      []studyKey            // of order, those that are not in the files that grow

	table, lines *growing // nil where none was asked for

	folders  folders
	tally    tally
	rejected []result.RejectedFile
	done     []*pipeline.Study // for the table
	encoded  []func() ([]byte, error)
	faults   []error // none of which ended the run
}

// grows reports whether results go to files that grow.
func (w *analysisRun) grows() bool { return w.table != nil || w.lines != nil }

// openFiles opens the files that grow. They are closed also after an error.
func (w *analysisRun) openFiles() (err error) {
	if w.csv != "" {
		if w.table, err = openTable(w.csv, w.analyzer.Model()); err != nil {
			return err
		}
	}
	if w.jsonl != "" {
		if w.lines, err = openLines(w.jsonl, w.analyzer.Model()); err != nil {
			return errors.Join(err, w.table.close())
		}
	}
	return nil
}

// choose passes over the studies that the files that grow have already, and names
// what has come to them since.
func (w *analysisRun) choose() {
	objects := map[studyKey][]string{}
	for key, paths := range w.byStudy {
		for _, path := range paths {
			objects[key] = append(objects[key], w.instances[path])
		}
	}
	w.table.match(objects)
	w.lines.match(objects)
	var late []string
	for _, key := range w.order {
		if !w.grows() || !w.table.hasStudy(key) || !w.lines.hasStudy(key) {
			w.todo = append(w.todo, key)
			continue
		}
		for _, path := range w.byStudy[key] {
			if sop := w.instances[path]; !w.table.hasLoop(key, sop) || !w.lines.hasLoop(key, sop) {
				late = append(late, w.origin.of(path))
			}
		}
	}
	if n := len(w.order) - len(w.todo); n > 0 && !w.quiet {
		fmt.Fprintf(w.p.err, "%d of %d studies are in the files already\n", n, len(w.order))
	}
	if len(late) > 0 {
		w.faults = append(w.faults,
			fmt.Errorf("%d files came later than the results of their studies, which stand without them (first %s): name another file for these studies",
				len(late), late[0]))
		if !w.quiet {
			fmt.Fprintf(w.p.err, "came later: %s\n", strings.Join(late, ", "))
		}
	}
}

// studies analyses what is to be done and writes each result where it goes.
func (w *analysisRun) studies(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	begun := analyzeInTurn(ctx, w.analyzer, len(w.todo), w.inTurn())
	defer func() { // whatever ends this: what is under analysis uses the engine
		stop()
		for wait := range begun {
			_, _ = wait() // it has no result any more
		}
	}()
	for _, key := range w.todo {
		study, err := (<-begun)()
		if err != nil {
			return err
		}
		if err := w.take(ctx, key, study); err != nil {
			return err
		}
	}
	return nil
}

// inTurn gives the files of each study in its turn, with what tells of its
// progress.
func (w *analysisRun) inTurn() func(i int) ([]string, pipeline.Progress) {
	var inputs []string
	for _, key := range w.todo {
		inputs = append(inputs, w.byStudy[key]...)
	}
	left := newClock(inputs)
	var telling sync.Mutex // of two studies
	return func(i int) ([]string, pipeline.Progress) {
		return w.byStudy[w.todo[i]], func(done, total int, l *result.Loop) {
			telling.Lock()
			defer telling.Unlock()
			left.done += size(l.File)
			if !w.quiet {
				shown := *l
				shown.File = w.origin.of(l.File)
				fmt.Fprintf(w.p.err, "study %d/%d loop %d/%d  %s%s\n", i+1, len(w.todo), done, total, loopLine(&shown), left.left(time.Now()))
			}
		}
	}
}

// take writes an analysed study where it goes. One that cannot be written to its
// folder does not take the others with it.
func (w *analysisRun) take(ctx context.Context, key studyKey, study *pipeline.Study) error {
	if study.Subject != nil {
		study.Subject.Key = key.patient
	}
	w.origin.cut(&study.Study)
	w.origin.timeless(&study.Study)
	if w.out != "" {
		if err := w.folders.writeStudy(ctx, study, w.out, w.outputs, w.analyzer.Limits(), w.origin); err != nil {
			if ctx.Err() != nil {
				return err
			}
			w.faults = append(w.faults, fmt.Errorf("study %s: %w", w.called(key), err))
		}
	}
	w.origin.name(&study.Study)
	if err := errors.Join(w.table.add(&study.Study), w.lines.add(&study.Study)); err != nil {
		return err
	}
	w.tally.count(&study.Study)
	// What grows is not kept in memory too: there may be thousands.
	switch {
	case w.json:
		w.encoded = append(w.encoded, inBackground(&study.Study))
	case !w.grows():
		w.done = append(w.done, study)
	}
	return nil
}

// called is what people know a study by: its UID, else its first file.
func (w *analysisRun) called(key studyKey) string {
	if key.study == "" {
		return "of " + w.origin.of(w.byStudy[key][0])
	}
	return key.study
}

// print prints what was asked for.
func (w *analysisRun) print() error {
	if w.grows() && !w.json {
		_, err := fmt.Fprintf(w.p.out, "%d studies analysed, %d loops measured or refused, %d inputs not readable or not analysed\n",
			len(w.todo), w.tally.analysed+w.tally.refused, w.tally.failed)
		return err
	}
	doc := w.analyzer.Document(w.done...)
	doc.Rejected = w.rejected
	if w.json {
		return writeDocument(w.p.out, doc, w.encoded)
	}
	return printDocument(w.p.out, doc)
}

// problems is what the run ends with, although it ended.
func (w *analysisRun) problems() error {
	switch {
	case w.tally.failed > 0 && w.tally.failed == w.tally.files:
		return errors.New("no input could be read")
	case w.tally.failed > 0:
		w.faults = append(w.faults, fmt.Errorf("%d of %d inputs could not be read or analysed", w.tally.failed, w.tally.files))
	}
	if len(w.faults) > 0 {
		return partError{errors.Join(w.faults...)}
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
