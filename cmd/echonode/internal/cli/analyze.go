package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/suyashkumar/dicom/pkg/tag"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/pipeline"
	"github.com/echonode/echonode/pipeline/output"
	"github.com/echonode/echonode/pipeline/quantity"
	"github.com/echonode/echonode/pipeline/result"
)

func (p *program) analyzeCommand() *cobra.Command {
	var configPath, out string
	var asJSON, quiet bool
	cmd := &cobra.Command{
		Use:   "analyze FILE|DIR...",
		Short: "Analyse DICOM files without a network",
		Long: `Runs the node's analysis on files: every loop of every study, grouped by Study
Instance UID. Prints a table, or with --json one document (schema
` + result.Schema + `, described in pipeline/result). With --out it writes the DICOM objects,
the report as text and HTML, animations and stills, one folder for each study.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.analyze(cmd.Context(), args, configPath, out, asJSON, quiet)
		},
	}
	cmd.Flags().StringVarP(&configPath, "config", "c", "", "configuration file (default: the embedded one)")
	cmd.Flags().StringVarP(&out, "out", "o", "", "folder for DICOM objects and pictures")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "no progress on standard error")
	return cmd
}

func (p *program) analyze(ctx context.Context, args []string, configPath, out string, asJSON, quiet bool) (err error) {
	c, err := load(configPath)
	if err != nil {
		return err
	}
	files, err := findFiles(args)
	if err != nil {
		return err
	}
	c.Log.Level = "warn"
	log := logger(p.err, c.Log)
	analyzer, engine, err := p.openAnalyzer(ctx, c, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	ctx, stop := rearm(ctx)
	defer stop()

	order, byStudy, rejected := groupByStudy(files)
	var studies []*pipeline.Study
	for i, uid := range order {
		study, err := analyzer.Analyze(ctx, byStudy[uid], func(done, total int, l *result.Loop) {
			if !quiet {
				fmt.Fprintf(p.err, "study %d/%d loop %d/%d  %s\n", i+1, len(order), done, total, loopLine(l))
			}
		})
		if err != nil {
			return err
		}
		if out != "" {
			dir := filepath.Join(out, fmt.Sprintf("study-%02d", i+1))
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
			o := outputOptions(c)
			o.Pictures = true
			study.Outputs, err = output.Write(ctx, &study.Study, output.FilesOf(&study.Study, dicomio.Limits{}), dir, o)
			if err != nil {
				return err
			}
		}
		studies = append(studies, study)
	}
	doc := analyzer.Document(studies...)
	doc.Rejected = rejected
	if asJSON {
		b, err := doc.Encode()
		if err != nil {
			return err
		}
		if _, err := p.out.Write(append(b, '\n')); err != nil {
			return err
		}
	} else if err := printDocument(p.out, doc); err != nil {
		return err
	}
	failed := len(rejected)
	analysed := 0
	for _, s := range doc.Studies {
		for _, l := range s.Loops {
			switch l.Status {
			case result.Failed:
				failed++
			case result.Analysed:
				analysed++
			}
		}
	}
	switch {
	case failed > 0 && analysed == 0 && failed == len(files):
		return errors.New("no input could be read")
	case failed > 0:
		return partError{fmt.Errorf("%d of %d inputs could not be read", failed, len(files))}
	}
	return nil
}

// groupByStudy sorts files by Study Instance UID in order of appearance. Files
// that are not DICOM are returned with the reason.
func groupByStudy(files []string) (order []string, byStudy map[string][]string, rejected []result.RejectedFile) {
	byStudy = map[string][]string{}
	for _, path := range files {
		f, err := dicomio.Open(path, dicomio.Options{})
		if err != nil {
			rejected = append(rejected, result.RejectedFile{File: path, Reason: result.Reasonf(result.Unreadable, "%v", err)})
			continue
		}
		uid := f.DataSet.String(tag.StudyInstanceUID)
		_ = f.Close() // read only
		if byStudy[uid] == nil {
			order = append(order, uid)
		}
		byStudy[uid] = append(byStudy[uid], path)
	}
	return order, byStudy, rejected
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
		if m.Value == nil {
			continue
		}
		parts = append(parts, m.Name+" "+shown(m))
	}
	for _, m := range ms {
		if m.Value == nil {
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
			fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", filepath.Base(l.File), view, l.Frames, l.Stage, what)
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

// printMeasurements lists what was measured, then what was not, together by
// reason.
func printMeasurements(w io.Writer, ms []result.Measurement) {
	type missing struct{ stage, reason string }
	var order []missing
	names := map[missing][]string{}
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
		for _, q := range m.Quality.Warnings {
			quality += "; " + q.Text
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
}
