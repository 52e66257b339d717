// Command analysis measures a whole analysis beside inference alone: `echonode
// analyze` of one or more builds over the same files, and as the yardstick a
// process that opens the engine and runs the network on the frames that the
// analysis looked at, once each, decoded before, one at a time for each processor
// as the analysis does. The runs take turns, so that what else
// the machine does falls on all of them. It prints a Markdown table of medians:
// wall time, processor time, peak memory, and the ratios to the yardstick.
//
//	analysis -new BIN [-old BIN] [-repeat N] DIR
//
// conformance/bench/analysis.sh builds the programs and runs it.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"image"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/pixel"
	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/result"
)

func main() {
	old := flag.String("old", "", "build to compare with")
	build := flag.String("new", "", "build to measure")
	repeat := flag.Int("repeat", 5, "rounds; medians count")
	infer := flag.Int("infer", 0, "run the network on this many frames and end (used by the program itself)")
	inputs := flag.String("inputs", "", "file of the network's inputs, one after the other, for -infer; a pattern without")
	flag.Parse()
	var err error
	switch {
	case *infer > 0:
		err = inferOnly(*infer, *inputs)
	case *build == "" || flag.NArg() != 1:
		flag.Usage()
		os.Exit(2)
	default:
		err = compare(*old, *build, flag.Arg(0), *repeat)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "analysis:", err)
		os.Exit(1)
	}
}

// inferOnly is the yardstick: every worker runs the network on frame after
// frame, as fast as it can.
func inferOnly(frames int, inputs string) error {
	ctx := context.Background()
	e, err := models.Open(ctx, models.Config{}, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer func() { _ = e.Close() }() // the process ends here
	size := e.Card().FrameSize()
	pictures := make([]byte, size)
	for i := range pictures {
		pictures[i] = byte(i * 7)
	}
	if inputs != "" {
		if pictures, err = os.ReadFile(inputs); err != nil {
			return err
		}
	}
	work := make(chan int)
	errs := make(chan error, 1)
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			var out models.Output
			for i := range work {
				at := i * size % len(pictures)
				if err := e.Infer(ctx, pictures[at:at+size], 1, &out); err != nil {
					select {
					case errs <- err:
					default:
					}
				}
			}
		})
	}
	for i := range frames {
		work <- i
	}
	close(work)
	all.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

// figures are what one process used.
type figures struct {
	wall, cpu time.Duration
	memory    int64 // peak, bytes
}

func measure(out *bytes.Buffer, program string, args ...string) (figures, error) {
	cmd := exec.Command(program, args...)
	cmd.Stdout = out
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return figures{}, fmt.Errorf("%s: %w: %s", program, err, complaint.String())
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return figures{}, fmt.Errorf("no resource usage of %s", program)
	}
	return figures{time.Since(start), time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), usage.Maxrss << 10}, nil
}

func compare(old, build, dir string, repeat int) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var document bytes.Buffer
	if _, err := measure(&document, build, "analyze", "--json", "-q", dir); err != nil {
		return err
	}
	var doc result.Document
	if err := json.Unmarshal(document.Bytes(), &doc); err != nil {
		return err
	}
	frames, objects := 0, 0
	for _, s := range doc.Studies {
		for _, l := range s.Loops {
			frames += len(l.FrameResults)
			objects++
		}
	}
	inputs, err := writeInputs(&doc)
	if err != nil {
		return err
	}
	defer os.Remove(inputs)
	type contestant struct {
		name string
		args []string
		runs []figures
	}
	all := []*contestant{{name: "inference alone", args: []string{self, "-infer", strconv.Itoa(frames), "-inputs", inputs}},
		{name: "analyze", args: []string{build, "analyze", "--json", "-q", dir}}}
	if old != "" {
		all = append(all, &contestant{name: "analyze, old build", args: []string{old, "analyze", "--json", "-q", dir}})
	}
	for range repeat {
		for _, c := range all {
			f, err := measure(new(bytes.Buffer), c.args[0], c.args[1:]...)
			if err != nil {
				return err
			}
			c.runs = append(c.runs, f)
		}
	}
	fmt.Printf("%d objects, %d frames looked at, network %s %s, %d processors, %d rounds in turn, medians (least wall time in brackets)\n\n", objects, frames,
		doc.Model.Name, doc.Model.Version, runtime.GOMAXPROCS(0), repeat)
	fmt.Println("| | wall s | x inference | processor s | x inference | peak MB |")
	fmt.Println("|---|---|---|---|---|---|")
	var base figures
	for i, c := range all {
		m := figures{
			wall:   median(c.runs, func(f figures) time.Duration { return f.wall }),
			cpu:    median(c.runs, func(f figures) time.Duration { return f.cpu }),
			memory: int64(median(c.runs, func(f figures) time.Duration { return time.Duration(f.memory) })),
		}
		if i == 0 {
			base = m
		}
		least := slices.MinFunc(c.runs, func(a, b figures) int { return int(a.wall - b.wall) }).wall
		fmt.Printf("| %s | %.2f (%.2f) | %.2f | %.2f | %.2f | %d |\n", c.name, m.wall.Seconds(), least.Seconds(), float64(m.wall)/float64(base.wall),
			m.cpu.Seconds(), float64(m.cpu)/float64(base.cpu), m.memory/1e6)
	}
	return nil
}

// writeInputs writes what the network saw of the frames that were looked at, in
// the order of the document.
func writeInputs(doc *result.Document) (path string, err error) {
	choices, err := models.Choices(models.Config{Provider: models.CPU})
	if err != nil {
		return "", err
	}
	out, err := os.CreateTemp("", "inputs")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	input := image.NewGray(image.Rect(0, 0, choices[0].Card.Input.Width, choices[0].Card.Input.Height))
	for _, s := range doc.Studies {
		for i := range s.Loops {
			if err := writeLoop(out, &s.Loops[i], input); err != nil {
				return "", fmt.Errorf("%s: %w", s.Loops[i].File, err)
			}
		}
	}
	return out.Name(), nil
}

func writeLoop(out io.Writer, l *result.Loop, input *image.Gray) error {
	if len(l.FrameResults) == 0 {
		return nil
	}
	file, err := dicomio.Open(l.File, dicomio.Options{})
	if err != nil {
		return err
	}
	defer file.Close()
	frames, err := file.Frames()
	if err != nil {
		return err
	}
	x, y := l.PixelSize()
	box, err := models.NewLetterbox(image.Rect(l.Region.MinX, l.Region.MinY, l.Region.MaxX, l.Region.MaxY), x/y, input.Rect.Dx(), input.Rect.Dy())
	if err != nil {
		return err
	}
	box.Mirrored = l.Mirrored
	var gray image.Gray
	for _, f := range l.FrameResults {
		if err := frames.Gray(f.Index, &gray); err != nil {
			return err
		}
		canvas, err := box.Canvas(input)
		if err != nil {
			return err
		}
		pixel.ResampleArea(canvas, &gray, box.Crop)
		if box.Mirrored {
			models.Mirror(canvas)
		}
		if _, err := out.Write(input.Pix); err != nil {
			return err
		}
	}
	return nil
}

func median(runs []figures, of func(figures) time.Duration) time.Duration {
	values := make([]time.Duration, len(runs))
	for i, r := range runs {
		values[i] = of(r)
	}
	slices.Sort(values)
	return values[len(values)/2]
}
