// Command infer runs raw frames through package models and writes down what comes out and how long it took. compare.py
// calls it beside ONNX Runtime in Python; by itself it is a quick way to time a model.
//
//	infer -model FILE -frames FILE -out FILE [-variant fp32|int8] [-provider cpu] [-workers N] [-repeat N]
//
// -frames holds gray frames of the model's input size one after the other. -out receives the masks of all frames, then
// the heatmaps and the view probabilities as little-endian float32. One JSON object with the figures goes to stdout.
package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/echonode/echonode/models"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "infer:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("infer", flag.ExitOnError)
	var (
		config models.Config
		frames = flags.String("frames", "", "file of raw gray frames")
		out    = flags.String("out", "", "file for the outputs; empty for none")
		repeat = flags.Int("repeat", 3, "timed runs; the fastest counts")
	)
	flags.StringVar(&config.Path, "model", "", "ONNX file; empty for the embedded model")
	flags.StringVar(&config.Variant, "variant", "", "embedded model: fp32 or int8")
	flags.StringVar(&config.Provider, "provider", models.CPU, "auto, cpu, cuda, tensorrt")
	flags.StringVar(&config.Library, "library", "", "ONNX Runtime library")
	flags.IntVar(&config.Workers, "workers", 0, "frames at a time; 0 for one per CPU")
	flags.IntVar(&config.Threads, "threads", 0, "threads within a frame; 0 for 1")
	if err := flags.Parse(args); err != nil {
		return err
	}
	data, err := os.ReadFile(*frames)
	if err != nil {
		return err
	}
	engine, err := models.Open(ctx, config, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return err
	}
	defer func() { _ = engine.Close() }() // the process ends here

	n := len(data) / engine.Card().FrameSize()
	var output models.Output
	var best time.Duration
	runs := max(*repeat, 1)
	before, err := cpuTime()
	if err != nil {
		return err
	}
	for range runs {
		start := time.Now()
		if err := engine.Infer(ctx, data, n, &output); err != nil {
			return err
		}
		if took := time.Since(start); best == 0 || took < best {
			best = took
		}
	}
	after, err := cpuTime()
	if err != nil {
		return err
	}
	if *out != "" {
		var b bytes.Buffer
		b.Write(output.Mask)
		_ = binary.Write(&b, binary.LittleEndian, output.Heatmaps) // a bytes.Buffer takes everything
		_ = binary.Write(&b, binary.LittleEndian, output.View)
		if err := os.WriteFile(*out, b.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"model": engine.Card().Name, "version": engine.Card().Version, "sha256": engine.Card().SHA256,
		"provider": output.Provider, "frames": n, "frames_per_second": float64(n) / best.Seconds(),
		"cpu_ms_per_frame": (after - before).Seconds() * 1000 / float64(n*runs),
	})
}

// cpuTime is what this process has used of all CPUs. Other load on the machine disturbs it far less than elapsed time.
func cpuTime() (time.Duration, error) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0, err
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), nil
}
