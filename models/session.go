package models

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	ort "github.com/yalue/onnxruntime_go"
)

// gpuLanes is the number of batches a GPU has in flight: while one computes, the next is copied.
const gpuLanes = 2

// session is an ONNX Runtime session with a fixed stock of tensors for each batch size. Session and tensors are made
// once; a run copies frames in and results out, which costs microseconds, and allocates nothing of note.
type session struct {
	provider string
	session  *ort.DynamicAdvancedSession
	slots    map[int]chan *slot // by batch size
	frame    int                // bytes
}

// slot is a set of tensors for one batch size. The slices are the tensors' memory.
type slot struct {
	frames          []uint8
	rows            rows
	inputs, outputs []ort.Value
}

// newSession makes a session on one provider with lanes slots for each batch size. If the provider cannot be used the
// error is a *ProviderError.
func newSession(onnx []byte, card Card, c Config, provider string, sizes []int, lanes int) (*session, error) {
	s := &session{provider: provider, slots: map[int]chan *slot{}, frame: card.FrameSize()}
	options, err := sessionOptions(card, c, provider, slices.Max(sizes))
	if err != nil {
		return nil, err
	}
	defer func() { _ = options.Destroy() }() // cannot fail on options that were made
	s.session, err = ort.NewDynamicAdvancedSessionWithONNXData(onnx, []string{"frames"}, outputNames(card), options)
	if err != nil {
		if provider != CPU {
			return nil, &ProviderError{provider, err}
		}
		return nil, fmt.Errorf("models: load %s %s: %w", card.Name, card.Version, err)
	}
	for _, size := range sizes {
		s.slots[size] = make(chan *slot, lanes)
		for range lanes {
			slot, err := newSlot(card, size)
			if err != nil {
				return nil, errors.Join(err, s.close())
			}
			s.slots[size] <- slot
		}
	}
	return s, nil
}

func outputNames(card Card) []string {
	_, outputs := card.tensors()
	names := make([]string, len(outputs))
	for i, t := range outputs {
		names[i] = t.name
	}
	return names
}

// sessionOptions makes fresh options for one attempt: an option object that a provider was appended to in vain must not
// be used again, and an error that is overlooked here gives a CPU session without a word.
func sessionOptions(card Card, c Config, provider string, largest int) (*ort.SessionOptions, error) {
	o, err := ort.NewSessionOptions()
	if err != nil {
		return nil, fmt.Errorf("models: session options: %w", err)
	}
	settings := []func() error{
		// Failures come back as errors; ONNX Runtime would print them as well.
		func() error { return o.SetLogSeverityLevel(ort.LoggingLevelFatal) },
		func() error { return o.SetGraphOptimizationLevel(ort.GraphOptimizationLevelEnableAll) },
		func() error { return o.SetIntraOpNumThreads(c.Threads) },
		func() error { return o.SetInterOpNumThreads(1) },
		// Spinning threads of several sessions starve each other and everybody else.
		func() error { return o.AddSessionConfigEntry("session.intra_op.allow_spinning", "0") },
	}
	if provider != CPU && c.Provider == provider {
		// Asked for by name: every node runs there or the session is refused.
		settings = append(settings, func() error { return o.AddSessionConfigEntry("session.disable_cpu_ep_fallback", "1") })
	}
	for _, set := range settings {
		if err := set(); err != nil {
			return nil, errors.Join(fmt.Errorf("models: session options: %w", err), o.Destroy())
		}
	}
	switch provider {
	case TensorRT:
		err = appendTensorRT(o, card, c, largest)
		if err == nil {
			err = appendCUDA(o, c) // for what TensorRT leaves over
		}
	case CUDA:
		err = appendCUDA(o, c)
	}
	if err != nil {
		_ = o.Destroy()
		return nil, &ProviderError{provider, err}
	}
	return o, nil
}

func appendCUDA(o *ort.SessionOptions, c Config) error {
	cuda, err := ort.NewCUDAProviderOptions()
	if err != nil {
		return err
	}
	defer func() { _ = cuda.Destroy() }()
	if err := cuda.Update(map[string]string{
		"device_id":              strconv.Itoa(c.Device),
		"cudnn_conv_algo_search": "HEURISTIC", // EXHAUSTIVE takes seconds for each batch size
		"arena_extend_strategy":  "kSameAsRequested",
	}); err != nil {
		return err
	}
	return o.AppendExecutionProviderCUDA(cuda)
}

func appendTensorRT(o *ort.SessionOptions, card Card, c Config, largest int) error {
	trt, err := ort.NewTensorRTProviderOptions()
	if err != nil {
		return err
	}
	defer func() { _ = trt.Destroy() }()
	shape := func(n int) string {
		return fmt.Sprintf("frames:%dx1x%dx%d", n, card.Input.Height, card.Input.Width)
	}
	settings := map[string]string{
		"device_id":              strconv.Itoa(c.Device),
		"trt_fp16_enable":        "1",
		"trt_profile_min_shapes": shape(1),
		"trt_profile_opt_shapes": shape(largest),
		"trt_profile_max_shapes": shape(largest),
	}
	if c.CacheDir != "" {
		if err := os.MkdirAll(c.CacheDir, 0o755); err != nil {
			return err
		}
		settings["trt_engine_cache_enable"] = "1"
		settings["trt_engine_cache_path"] = c.CacheDir
		settings["trt_timing_cache_enable"] = "1"
		settings["trt_timing_cache_path"] = c.CacheDir
	}
	if err := trt.Update(settings); err != nil {
		return err
	}
	return o.AppendExecutionProviderTensorRT(trt)
}

func newSlot(card Card, size int) (*slot, error) {
	var out Output
	out.reset(card, size)
	s := &slot{frames: make([]uint8, size*card.FrameSize()), rows: out.rows(0, size)}
	n := int64(size)
	input, outputs := card.tensors()
	shape := func(t tensorInfo) ort.Shape { return append(ort.Shape{n}, t.dims[1:]...) }

	frames, err := ort.NewTensor(shape(input), s.frames)
	if err != nil {
		return nil, fmt.Errorf("models: input tensor: %w", err)
	}
	s.inputs = []ort.Value{frames}
	mask, err1 := ort.NewTensor(shape(outputs[0]), s.rows.mask)
	heatmaps, err2 := ort.NewTensor(shape(outputs[1]), s.rows.heatmaps)
	view, err3 := ort.NewTensor(shape(outputs[2]), s.rows.view)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, fmt.Errorf("models: output tensors: %w", err)
	}
	s.outputs = []ort.Value{mask, heatmaps, view}
	if len(outputs) > len(s.outputs) {
		extras, err := ort.NewTensor(shape(outputs[3]), s.rows.extras)
		if err != nil {
			return nil, fmt.Errorf("models: output tensors: %w", err)
		}
		s.outputs = append(s.outputs, extras)
	}
	return s, nil
}

func (s *session) name() string { return s.provider }

func (s *session) run(ctx context.Context, frames []byte, n int, r rows) error {
	slots, ok := s.slots[n]
	if !ok {
		return fmt.Errorf("no slot for a batch of %d", n)
	}
	var slot *slot
	select {
	case slot = <-slots:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { slots <- slot }()
	copy(slot.frames, frames[:n*s.frame])
	if err := s.execute(ctx, slot); err != nil {
		return err
	}
	r.copyFrom(slot.rows)
	return nil
}

// execute runs the session on a slot's tensors and stops it when the context ends. The terminate flag of run options is
// sticky, so each run has options of its own.
func (s *session) execute(ctx context.Context, slot *slot) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	options, err := ort.NewRunOptions()
	if err != nil {
		return fmt.Errorf("run options: %w", err)
	}
	terminated := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(terminated)
		_ = options.Terminate() // a run that misses the flag ends by itself
	})
	err = s.session.RunWithOptions(slot.inputs, slot.outputs, options)
	if !stop() {
		<-terminated // it still uses the options
	}
	err = errors.Join(err, options.Destroy())
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// close frees tensors and session. No run may be under way.
func (s *session) close() error {
	var errs []error
	for _, slots := range s.slots {
		for range len(slots) {
			slot := <-slots
			for _, v := range append(slot.inputs, slot.outputs...) {
				errs = append(errs, v.Destroy())
			}
		}
	}
	return errors.Join(append(errs, s.session.Destroy())...)
}

// outOfMemory recognises the messages of ONNX Runtime, CUDA and TensorRT when a device's memory is used up; the C API
// has no code of its own for it.
func outOfMemory(err error) bool {
	if err == nil {
		return false
	}
	message := strings.ToLower(err.Error())
	for _, sign := range []string{
		"out of memory", "outofmemory", "failed to allocate memory", "cudaerrormemoryallocation", "alloc_failed",
		"insufficient memory", "bfcarena", "resource allocation failed", "allocation_failed",
	} {
		if strings.Contains(message, sign) {
			return true
		}
	}
	return false
}
