package main

import (
	"bytes"
	"fmt"
	"image"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/pixel"
)

// decodeFor decodes frames of the cine to 224x224 in n goroutines for about
// that long and returns the microseconds per frame by the clock.
func decodeFor(path string, n int, d time.Duration) (float64, error) {
	f, err := dicomio.Open(path, dicomio.Options{})
	if err != nil {
		return 0, err
	}
	defer f.Close()
	r, err := f.Frames()
	if err != nil {
		return 0, err
	}
	var wg sync.WaitGroup
	var frames atomic.Int64
	errs := make([]error, n)
	start := time.Now()
	for k := range n {
		wg.Go(func() {
			var g image.Gray
			small := image.NewGray(image.Rect(0, 0, 224, 224))
			for i := 0; time.Since(start) < d; i++ {
				if errs[k] = r.Gray(i%r.Len(), &g); errs[k] != nil {
					return
				}
				pixel.ResampleArea(small, &g, g.Rect)
				frames.Add(1)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return 0, err
		}
	}
	return float64(time.Since(start).Microseconds()) / float64(frames.Load()), nil
}

// children runs n processes of this program side by side.
func children(path string, n int, d time.Duration) (float64, error) {
	out := make([]bytes.Buffer, n)
	cmds := make([]*exec.Cmd, n)
	for k := range cmds {
		cmds[k] = exec.Command(os.Args[0], "-child", d.String(), path)
		cmds[k].Stdout, cmds[k].Stderr = &out[k], os.Stderr
		if err := cmds[k].Start(); err != nil {
			return 0, err
		}
	}
	rate := 0.0
	for k, c := range cmds {
		if err := c.Wait(); err != nil {
			return 0, err
		}
		us, err := strconv.ParseFloat(strings.TrimSpace(out[k].String()), 64)
		if err != nil {
			return 0, err
		}
		rate += 1 / us
	}
	return 1 / rate, nil
}

// runScale compares one and two goroutines, and one and two processes, in
// turns, and prints medians: a virtual machine's processors are not always
// there, and the spread is larger than the differences.
func runScale(path string) error {
	const rounds, slice = 24, 200 * time.Millisecond
	settings := []struct {
		name    string
		measure func(path string, n int, d time.Duration) (float64, error)
	}{{"goroutines", decodeFor}, {"processes", children}}
	ones, twos := make([][]float64, len(settings)), make([][]float64, len(settings))
	for range rounds {
		for i, s := range settings {
			one, err := s.measure(path, 1, slice)
			if err != nil {
				return err
			}
			two, err := s.measure(path, 2, slice)
			if err != nil {
				return err
			}
			ones[i], twos[i] = append(ones[i], one), append(twos[i], two)
		}
	}
	fmt.Println("| in parallel | one, us per frame | two | ratio, median (quartiles) |\n|---|---|---|---|")
	for i, s := range settings {
		ratios := make([]float64, rounds)
		for k := range ratios {
			ratios[k] = ones[i][k] / twos[i][k]
		}
		fmt.Printf("| %s | %.0f | %.0f | %.2f (%.2f to %.2f) |\n", s.name, quantile(ones[i], 0.5), quantile(twos[i], 0.5),
			quantile(ratios, 0.5), quantile(ratios, 0.25), quantile(ratios, 0.75))
	}
	return nil
}

// quantile is the q-quantile of v (nearest rank).
func quantile(v []float64, q float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[int(q*float64(len(s)-1)+0.5)]
}
