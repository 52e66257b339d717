package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/echonode/echonode/pipeline/quantity"
	"github.com/echonode/echonode/pipeline/result"
)

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
			if o := l.Beside; o != nil {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", "", o.View, frames, l.Stage, values(o.Measurements))
			}
		}
		printMeasurements(w, s.Measurements)
		for _, o := range s.Outputs {
			what := o.File
			if o.LeftOut != "" {
				what = "left out: " + o.LeftOut
			}
			fmt.Fprintf(w, "%s\t%s\n", o.Kind, what)
		}
		fmt.Fprintln(w)
	}
	for _, r := range doc.Rejected {
		what := "not readable"
		if r.Reason.Code == result.SameUID {
			what = "not analysed"
		}
		fmt.Fprintf(w, "%s\t%s: %s\n", r.File, what, r.Reason.Text)
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

// clock estimates how long the rest takes, by the size of the files.
type clock struct {
	start       time.Time
	total, done int64
}

func newClock(files []string) *clock {
	c := &clock{start: time.Now()}
	for _, f := range files {
		c.total += size(f)
	}
	return c
}

func size(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// left says about how long it still takes, or nothing while that is not known.
func (c *clock) left(now time.Time) string {
	if c.done <= 0 || c.done >= c.total {
		return ""
	}
	took := now.Sub(c.start)
	rest := time.Duration(float64(took) * float64(c.total-c.done) / float64(c.done))
	if took < 3*time.Second || rest < 5*time.Second {
		return ""
	}
	return "  about " + rest.Round(time.Second).String() + " left"
}
