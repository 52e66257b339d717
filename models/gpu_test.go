package models

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// gpuEnv names the provider, cuda or tensorrt, that the tests of this file run on. They need a GPU and, named by
// ECHONODE_ONNXRUNTIME, an ONNX Runtime with that provider (`make setup-gpu`).
const gpuEnv = "ECHONODE_TEST_GPU"

func gpuProvider(t testing.TB) string {
	t.Helper()
	provider := os.Getenv(gpuEnv)
	if provider == "" {
		t.Skipf("needs a GPU: %s=cuda or tensorrt", gpuEnv)
	}
	return provider
}

// scene gives n different frames that look like hearts from afar: testPicture, darkened and moved.
func scene(card Card, n int) []byte {
	w, h := card.Input.Width, card.Input.Height
	picture := testPicture(w, h)
	frames := make([]byte, n*card.FrameSize())
	for k := range n {
		dx, dy := k%17-8, k/17%11-5
		gain := 0.5 + 0.5*float64(k%29)/28
		for y := range h {
			for x := range w {
				if sx, sy := x-dx, y-dy; sx >= 0 && sx < w && sy >= 0 && sy < h {
					frames[k*w*h+y*w+x] = uint8(gain*float64(picture[sy*w+sx])) + uint8((x*7+y*13+k)%9)
				}
			}
		}
	}
	return frames
}

// TestGPUAgreesWithCPU compares the shipped fp32 model on both. GPUs add in another order and round products to TF32 or
// FP16, so that the answers are near each other and not equal.
func TestGPUAgreesWithCPU(t *testing.T) {
	provider := gpuProvider(t)
	const n = 67 // two full batches and a padded one
	var log bytes.Buffer
	gpu, err := Open(t.Context(), Config{Provider: provider, CacheDir: t.TempDir()}, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer gpu.Close()
	t.Log(strings.TrimSpace(log.String()))
	cpu := open(t, Config{Provider: CPU, Variant: FP32})
	if gpu.Card().SHA256 != cpu.Card().SHA256 {
		t.Fatal("two models")
	}
	frames := scene(cpu.Card(), n)
	got, want := infer(t, gpu, frames, n), infer(t, cpu, frames, n)
	if got.Provider != provider {
		t.Errorf("provider %q", got.Provider)
	}
	inside, differ, largest, sum := 0, 0, 0, 0
	for i, m := range want.Mask {
		d := max(int(m), int(got.Mask[i])) - min(int(m), int(got.Mask[i]))
		sum += d
		largest = max(largest, d)
		if m > 127 {
			inside++
		}
		if (m > 127) != (got.Mask[i] > 127) {
			differ++
		}
	}
	heat, view := 0.0, 0.0
	for i, v := range want.Heatmaps {
		heat = max(heat, math.Abs(float64(v-got.Heatmaps[i])))
	}
	for i, v := range want.View {
		view = max(view, math.Abs(float64(v-got.View[i])))
	}
	t.Logf("mask: %d of %d cells inside change sides, largest difference %d of 255, mean %.4f; heatmaps %.4f, view %.4f",
		differ, inside, largest, float64(sum)/float64(len(want.Mask)), heat, view)
	if inside == 0 || float64(differ) > 0.005*float64(inside) || heat > 0.05 || view > 0.05 {
		t.Error("GPU and CPU disagree")
	}
}

// TestGPUSameBits runs one set of frames alone and from many callers at once with a single batch size: the answers must be
// the same bit for bit, whatever else shares a batch.
func TestGPUSameBits(t *testing.T) {
	e := open(t, Config{Provider: gpuProvider(t), BatchSizes: []int{16}, CacheDir: t.TempDir()})
	const n = 24
	frames := scene(e.Card(), n)
	want := infer(t, e, frames, n)
	var group sync.WaitGroup
	for caller := range 8 {
		group.Go(func() {
			for round := range 5 {
				first := (caller*7 + round*5) % n
				count := min(n-first, 1+(caller+round)%11)
				var out Output
				size := e.Card().FrameSize()
				if err := e.Infer(t.Context(), frames[first*size:(first+count)*size], count, &out); err != nil {
					t.Error(err)
					return
				}
				for i := range count {
					for c := range out.Classes {
						if !bytes.Equal(out.MaskPlane(i, c), want.MaskPlane(first+i, c)) {
							t.Errorf("caller %d: mask %d of frame %d differs", caller, c, first+i)
							return
						}
					}
				}
			}
		})
	}
	group.Wait()
}

// TestGPUCancel ends one caller's context while others run on.
func TestGPUCancel(t *testing.T) {
	e := open(t, Config{Provider: gpuProvider(t), CacheDir: t.TempDir()})
	const n = 400
	frames := scene(e.Card(), n)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		var out Output
		done <- e.Infer(ctx, frames, n, &out)
	}()
	time.AfterFunc(5*time.Millisecond, cancel)
	infer(t, e, frames[:40*e.Card().FrameSize()], 40)
	if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	infer(t, e, frames[:3*e.Card().FrameSize()], 3)
}

// TestGPUOutOfMemory runs while somebody else holds nearly all memory of the GPU (ECHONODE_TEST_GPU_FULL=1 says so): the
// engine must go on in smaller batches or on the CPU, or be refused with a provider's error, and must not crash.
func TestGPUOutOfMemory(t *testing.T) {
	provider := gpuProvider(t)
	if os.Getenv("ECHONODE_TEST_GPU_FULL") == "" {
		t.Skip("needs a GPU whose memory is nearly used up: ECHONODE_TEST_GPU_FULL=1")
	}
	var log bytes.Buffer
	e, err := Open(t.Context(), Config{Provider: provider, BatchSizes: []int{1, 8, 64, maxBatch}}, slog.New(slog.NewTextHandler(&log, nil)))
	t.Log(log.String())
	if err != nil {
		if !errors.Is(err, ErrProvider) {
			t.Errorf("not the provider's error: %v", err)
		}
		t.Log(err)
		auto := open(t, Config{})
		t.Logf("auto takes %s", auto.Provider())
		return
	}
	defer e.Close()
	const n = 300
	out := infer(t, e, scene(e.Card(), n), n)
	t.Logf("provider %s, output by %s", e.Provider(), out.Provider)
	if what := outOfRange(out); what != "" {
		t.Error(what)
	}
	if !strings.Contains(log.String(), "out of memory") {
		t.Error("it fitted: the GPU was not full")
	}
}

// BenchmarkGPU times the shipped fp32 model on the GPU of gpuEnv: callers send loops of 64 frames.
func BenchmarkGPU(b *testing.B) {
	provider := gpuProvider(b)
	for _, size := range []int{1, 8, 32, 128} {
		e, err := Open(b.Context(), Config{Provider: provider, BatchSizes: []int{size}}, nil)
		if err != nil {
			b.Fatal(err)
		}
		for _, callers := range []int{1, 4, 16} {
			b.Run("batch="+strconv.Itoa(size)+"/callers="+strconv.Itoa(callers), func(b *testing.B) {
				const n = 64
				frames := scene(e.Card(), n)
				work := make(chan struct{})
				var group sync.WaitGroup
				for range callers {
					group.Go(func() {
						var out Output
						for range work {
							if err := e.Infer(b.Context(), frames, n, &out); err != nil {
								b.Error(err)
							}
						}
					})
				}
				b.ResetTimer()
				for range b.N { // not b.Loop, which stops the clock while the last calls are still under way
					work <- struct{}{}
				}
				close(work)
				group.Wait()
				b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "frames/s")
			})
		}
		if err := e.Close(); err != nil {
			b.Error(err)
		}
	}
}
