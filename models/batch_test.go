package models

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeGPU stands in for a device: its answer for a frame is made of the frame's first byte, it takes the given time for
// a batch and runs out of memory above a limit.
type fakeGPU struct {
	takes time.Duration
	limit int // largest batch that fits; 0 for any
	fail  error

	mu      sync.Mutex
	batches []int
	ctxErrs []error // how the context of each run stood at its end
	closed  bool
}

func (f *fakeGPU) name() string { return "fake" }

func (f *fakeGPU) run(ctx context.Context, frames []byte, n int, r rows) error {
	f.mu.Lock()
	f.batches = append(f.batches, n)
	fits := f.limit == 0 || n <= f.limit
	err := f.fail
	f.mu.Unlock()
	if !fits {
		return errors.New("CUDA failure 2: out of memory")
	}
	if err != nil {
		return err
	}
	select {
	case <-time.After(f.takes):
	case <-ctx.Done():
	}
	f.mu.Lock()
	f.ctxErrs = append(f.ctxErrs, ctx.Err())
	f.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	size := len(frames) / n
	for i := range n {
		fakeAnswer(frames[i*size], rows{part(r.mask, i, n), part(r.heatmaps, i, n), part(r.view, i, n), nil})
	}
	return nil
}

func (f *fakeGPU) close() error {
	f.closed = true
	return nil
}

func part[T any](s []T, i, n int) []T { return s[i*len(s)/n : (i+1)*len(s)/n] }

func fakeAnswer(b byte, r rows) {
	for i := range r.mask {
		r.mask[i] = b + byte(i)
	}
	for i := range r.heatmaps {
		r.heatmaps[i] = float32(b) / float32(i+256)
	}
	for i := range r.view {
		r.view[i] = float32(b) + float32(i)
	}
}

var fakeCard = Card{
	Contract: 1, Name: "fake", Version: "1", Input: CardInput{Width: 32, Height: 32, Channels: 1},
	Classes: []string{ClassLVCavity}, Keypoints: []string{KeypointApex}, Views: []string{ViewA4C, ViewOther},
}

// fakeFrames gives frames whose first bytes are first, first+1, ...
func fakeFrames(first, n int) []byte {
	frames := make([]byte, n*fakeCard.FrameSize())
	for i := range n {
		frames[i*fakeCard.FrameSize()] = byte(first + i)
	}
	return frames
}

func checkFake(t *testing.T, out *Output, first, n int) {
	t.Helper()
	if out.N != n {
		t.Fatalf("%d frames, want %d", out.N, n)
	}
	for i := range n {
		var want Output
		want.reset(fakeCard, 1)
		fakeAnswer(byte(first+i), want.rows(0, 1))
		got := out.rows(i, i+1)
		if !bytes.Equal(got.mask, want.Mask) || !slices.Equal(got.heatmaps, want.Heatmaps) || !slices.Equal(got.view, want.View) {
			t.Errorf("frame %d has the answer of another", first+i)
		}
	}
}

func newFakeBatcher(t *testing.T, gpu *fakeGPU, lanes int) (*batcher, *bytes.Buffer) {
	var log bytes.Buffer
	b := newBatcher(fakeCard, gpu, []int{1, 8, 32}, lanes, 4*time.Millisecond, slog.New(slog.NewTextHandler(&log, nil)), nil)
	b.openFallback = func() (device, error) { return nil, errors.New("this test has no CPU") }
	t.Cleanup(func() {
		if err := b.Close(); err != nil || !gpu.closed {
			t.Errorf("close: %v, device closed: %v", err, gpu.closed)
		}
	})
	return b, &log
}

// TestBatchFlush uses a false clock: a lone frame waits exactly the flush time, a full batch not at all, and what is
// left over of 70 frames goes in the next fixed size.
func TestBatchFlush(t *testing.T) {
	for _, c := range []struct {
		frames  int
		batches []int
		waits   time.Duration
	}{
		{1, []int{1}, 4 * time.Millisecond},
		{2, []int{8}, 4 * time.Millisecond},
		{32, []int{32}, 0},
		{64, []int{32, 32}, 0},
		{70, []int{32, 32, 8}, 4 * time.Millisecond},
		{41, []int{32, 32}, 4 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			gpu := &fakeGPU{}
			b, _ := newFakeBatcher(t, gpu, 1)
			var out Output
			start := time.Now()
			if err := b.Infer(t.Context(), fakeFrames(3, c.frames), c.frames, &out); err != nil {
				t.Fatal(err)
			}
			checkFake(t, &out, 3, c.frames)
			if waited := time.Since(start); waited != c.waits {
				t.Errorf("%d frames waited %v, want %v", c.frames, waited, c.waits)
			}
			if !slices.Equal(gpu.batches, c.batches) {
				t.Errorf("%d frames went as %v, want %v", c.frames, gpu.batches, c.batches)
			}
			if out.Provider != "fake" {
				t.Errorf("provider %q", out.Provider)
			}
		})
	}
}

// TestBatchAcrossCallers starts 16 callers with 2 frames each at the same time: they fill one batch of 32.
func TestBatchAcrossCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gpu := &fakeGPU{takes: time.Millisecond}
		b, _ := newFakeBatcher(t, gpu, 2)
		var wg sync.WaitGroup
		for g := range 16 {
			wg.Go(func() {
				var out Output
				if err := b.Infer(t.Context(), fakeFrames(5*g, 2), 2, &out); err != nil {
					t.Error(err)
					return
				}
				checkFake(t, &out, 5*g, 2)
			})
		}
		wg.Wait()
		if !slices.Equal(gpu.batches, []int{32}) {
			t.Errorf("batches %v, want one of 32", gpu.batches)
		}
	})
}

// TestBatchOutOfMemory lets only batches of 8 fit: the frames all arrive, later batches are small from the start.
func TestBatchOutOfMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gpu := &fakeGPU{limit: 8}
		b, log := newFakeBatcher(t, gpu, 1)
		for range 2 {
			var out Output
			if err := b.Infer(t.Context(), fakeFrames(0, 32), 32, &out); err != nil {
				t.Fatal(err)
			}
			checkFake(t, &out, 0, 32)
			if out.Provider != "fake" || b.Provider() != "fake" {
				t.Errorf("provider %q of the output, %q of the engine", out.Provider, b.Provider())
			}
		}
		if want := []int{32, 8, 8, 8, 8, 8, 8, 8, 8}; !slices.Equal(gpu.batches, want) {
			t.Errorf("batches %v, want %v", gpu.batches, want)
		}
		if n := strings.Count(log.String(), "smaller batches"); n != 1 {
			t.Errorf("logged %d times: %s", n, log)
		}
	})
}

// TestBatchFallback lets nothing fit: the CPU takes over, once and for good, and every output says so.
func TestBatchFallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gpu := &fakeGPU{limit: -1}
		b, log := newFakeBatcher(t, gpu, 2)
		cpu, opened := &fakeGPU{}, 0
		b.openFallback = func() (device, error) { opened++; return cpu, nil }
		b.fallbackLanes = 3
		const name = "cpu (fake out of memory)"
		for range 2 {
			var out Output
			if err := b.Infer(t.Context(), fakeFrames(1, 40), 40, &out); err != nil {
				t.Fatal(err)
			}
			checkFake(t, &out, 1, 40)
			if out.Provider != name || b.Provider() != name {
				t.Errorf("provider %q of the output, %q of the engine", out.Provider, b.Provider())
			}
		}
		if opened != 1 || len(cpu.batches) != 80 {
			t.Errorf("CPU opened %d times for %d frames", opened, len(cpu.batches))
		}
		if n := strings.Count(log.String(), "the CPU takes over"); n != 1 {
			t.Errorf("logged %d times: %s", n, log)
		}
		if err := b.Close(); err != nil || !cpu.closed {
			t.Errorf("close: %v, CPU closed: %v", err, cpu.closed)
		}
	})
}

func TestBatchFallbackMissing(t *testing.T) {
	b, _ := newFakeBatcher(t, &fakeGPU{limit: -1}, 1)
	var out Output
	if err := b.Infer(t.Context(), fakeFrames(0, 3), 3, &out); err == nil || !strings.Contains(err.Error(), "no CPU") {
		t.Errorf("error %v", err)
	}
}

func TestBatchError(t *testing.T) {
	broken := errors.New("CUDA failure 700: an illegal memory access was encountered")
	gpu := &fakeGPU{fail: broken}
	b, _ := newFakeBatcher(t, gpu, 1)
	var out Output
	if err := b.Infer(t.Context(), fakeFrames(0, 3), 3, &out); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	gpu.mu.Lock()
	gpu.fail = nil
	gpu.mu.Unlock()
	if err := b.Infer(t.Context(), fakeFrames(0, 3), 3, &out); err != nil {
		t.Errorf("the next call: %v", err)
	}
}

// TestBatchCancel has two callers in one batch. One gives up: the other gets its frames. Both give up: the run ends.
func TestBatchCancel(t *testing.T) {
	for _, both := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			gpu := &fakeGPU{takes: time.Second}
			b, _ := newFakeBatcher(t, gpu, 1)
			stays, leaveToo := context.WithCancel(t.Context())
			defer leaveToo()
			leaves, leave := context.WithCancel(t.Context())
			time.AfterFunc(100*time.Millisecond, func() {
				leave()
				if both {
					leaveToo()
				}
			})
			start := time.Now()
			var wg sync.WaitGroup
			wg.Go(func() {
				var out Output
				err := b.Infer(stays, fakeFrames(9, 2), 2, &out)
				switch {
				case both && !errors.Is(err, context.Canceled):
					t.Errorf("cancelled caller: %v", err)
				case !both && err != nil:
					t.Errorf("remaining caller: %v", err)
				case !both:
					checkFake(t, &out, 9, 2)
				}
			})
			wg.Go(func() {
				var out Output
				if err := b.Infer(leaves, fakeFrames(77, 2), 2, &out); !errors.Is(err, context.Canceled) {
					t.Errorf("cancelled caller: %v", err)
				}
			})
			wg.Wait()
			want := 1004 * time.Millisecond
			if both {
				want = 100 * time.Millisecond
			}
			if took := time.Since(start); took != want {
				t.Errorf("both=%v: took %v, want %v", both, took, want)
			}
			if len(gpu.ctxErrs) != 1 || (gpu.ctxErrs[0] != nil) != both {
				t.Errorf("both=%v: runs ended with %v", both, gpu.ctxErrs)
			}
		})
	}
}

// TestBatchCancelQueued gives up while the device is busy with another call: the waiting frames never run.
func TestBatchCancelQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gpu := &fakeGPU{takes: time.Second}
		b, _ := newFakeBatcher(t, gpu, 1)
		var wg sync.WaitGroup
		wg.Go(func() {
			var out Output
			if err := b.Infer(t.Context(), fakeFrames(0, 32), 32, &out); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		start := time.Now()
		var out Output
		if err := b.Infer(ctx, fakeFrames(0, 50), 50, &out); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if took := time.Since(start); took != 10*time.Millisecond {
			t.Errorf("returned after %v", took)
		}
		wg.Wait()
		if !slices.Equal(gpu.batches, []int{32}) {
			t.Errorf("batches %v", gpu.batches)
		}
	})
}

func TestBatchClosed(t *testing.T) {
	gpu := &fakeGPU{}
	b, _ := newFakeBatcher(t, gpu, 2)
	for range 2 {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	var out Output
	if err := b.Infer(t.Context(), fakeFrames(0, 1), 1, &out); !errors.Is(err, ErrClosed) {
		t.Errorf("Infer on a closed engine: %v", err)
	}
}

func TestBatchWarm(t *testing.T) {
	gpu := &fakeGPU{}
	b, _ := newFakeBatcher(t, gpu, 2)
	if err := b.warm(t.Context(), testPicture(32, 32)); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(gpu.batches, []int{1, 8, 32}) {
		t.Errorf("warmed %v", gpu.batches)
	}
	// A GPU in which 32 do not fit starts with 8.
	small := &fakeGPU{limit: 8}
	b, _ = newFakeBatcher(t, small, 2)
	if err := b.warm(t.Context(), testPicture(32, 32)); err != nil || b.largest.Load() != 8 {
		t.Errorf("warm: %v, largest %d", err, b.largest.Load())
	}
	broken := &fakeGPU{fail: errors.New("driver too old")}
	b, _ = newFakeBatcher(t, broken, 2)
	if err := b.warm(t.Context(), testPicture(32, 32)); !errors.Is(err, ErrSelfTest) {
		t.Errorf("warm: %v", err)
	}
}

// TestBatchUnderLoad is for the race detector: real time, many callers, calls of all sizes, some cancelled.
func TestBatchUnderLoad(t *testing.T) {
	gpu := &fakeGPU{takes: 200 * time.Microsecond, limit: 8}
	b, _ := newFakeBatcher(t, gpu, 2)
	var wg sync.WaitGroup
	for g := range 12 {
		wg.Go(func() {
			var out Output
			for round := range 20 {
				n := 1 + (g*5+round)%37
				ctx, cancel := context.WithCancel(t.Context())
				if round%4 == 3 {
					time.AfterFunc(time.Duration(g)*50*time.Microsecond, cancel)
				}
				err := b.Infer(ctx, fakeFrames(g+round, n), n, &out)
				cancel()
				if err == nil {
					checkFake(t, &out, g+round, n)
				} else if round%4 != 3 || !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestOutOfMemoryMessages(t *testing.T) {
	for message, want := range map[string]bool{
		"CUDA failure 2: out of memory ; GPU=0":                                          true,
		"Error running network: BFCArena::AllocateRawInternal Failed to allocate memory": true,
		"CUDNN failure 4: CUDNN_STATUS_ALLOC_FAILED":                                     true,
		"CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED":                           true,
		// seen on a full H200, when a second batch in flight wanted a handle of its own
		"CUBLAS failure 3: the resource allocation failed ; GPU=0 ; hostname=vm ; expr=cublasCreate(&cublas_handle_);": true,
		"[TRT] OutOfMemory (Requested size was 1073741824 bytes.)":                                                     true,
		"CUDA failure 700: an illegal memory access was encountered":                                                   false,
		"Exiting due to terminate flag being set to true":                                                              false,
		"Failed to load library libonnxruntime_providers_cuda.so: cannot open shared object":                           false,
	} {
		if got := outOfMemory(fmt.Errorf("wrapped: %w", errors.New(message))); got != want {
			t.Errorf("%q: %v", message, got)
		}
	}
	if outOfMemory(nil) {
		t.Error("no error is out of memory")
	}
}

// TestInFlight: as many callers of one frame each as InFlight says keep two
// lanes in full batches without a wait, whatever order they come in.
func TestInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gpu := &fakeGPU{takes: 10 * time.Millisecond}
		b, _ := newFakeBatcher(t, gpu, 2)
		callers := InFlight(b)
		if callers != 96 {
			t.Fatalf("%d in flight, want two batches of 32 under way and one forming", callers)
		}
		start := time.Now()
		var all sync.WaitGroup
		for i := range callers {
			all.Go(func() {
				var out Output
				for range 10 {
					if err := b.Infer(t.Context(), fakeFrames(i, 1), 1, &out); err != nil {
						t.Error(err)
					}
					checkFake(t, &out, i, 1)
				}
			})
		}
		all.Wait()
		// At the end some callers are a round behind the others.
		for _, n := range gpu.batches[:20] {
			if n != 32 {
				t.Fatalf("batches %v, want full ones", gpu.batches)
			}
		}
		// 960 frames are 30 batches on two lanes, 150 ms.
		if took := time.Since(start); took < 150*time.Millisecond || took > 190*time.Millisecond {
			t.Errorf("took %v, want 150ms and a little", took)
		}
	})
}
