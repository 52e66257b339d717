package models

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// Engine runs one model. It is safe for concurrent use.
type Engine interface {
	// Card describes the model.
	Card() Card
	// Provider names what runs it: cpu, cuda, tensorrt or remote, and what became of it.
	Provider() string
	// Infer runs n frames of Card().FrameSize() bytes each, row by row, top row first, and fills out. It returns the
	// context's error soon after the context ends, and never touches out after it returned.
	Infer(ctx context.Context, frames []byte, n int, out *Output) error
	// Close waits for running calls and frees the engine. Infer then fails with ErrClosed. Close may be called again.
	Close() error
}

// InFlight is how many frames at a time, in calls of one frame each, keep an engine busy: more of them only wait.
func InFlight(e Engine) int {
	if e, ok := e.(interface{ inFlight() int }); ok {
		return e.inFlight()
	}
	return runtime.GOMAXPROCS(0)
}

// Providers.
const (
	Auto     = "auto"
	CPU      = "cpu"
	CUDA     = "cuda"
	TensorRT = "tensorrt"
	Remote   = "remote"
)

// Variants of the embedded model.
const (
	FP32 = "fp32"
	INT8 = "int8"
)

// Config says which model runs where. The zero value runs the embedded model on the best provider there is.
type Config struct {
	// Path of an ONNX file; empty for the embedded model.
	Path string
	// Variant of the embedded model: fp32, int8, or empty for int8 on the CPU where it is shipped and fp32 elsewhere.
	Variant string
	// Library is the path of the ONNX Runtime library or its folder; empty to search, see LibraryEnv.
	Library string
	// Provider is auto (or empty), cpu, cuda, tensorrt or remote. auto tries tensorrt, cuda and cpu in turn; a provider
	// that is asked for by name and is not there is an error.
	Provider string
	// Remote is the base URL of an Open Inference Protocol (KServe v2) server, optionally with the model:
	// http://host:8000 or http://host:8000/v2/models/NAME[/versions/VERSION]. The model's card comes from Path or the
	// embedded model, and the server's description must fit it.
	Remote string
	// HTTPClient reaches the remote server; nil for one with a timeout of 60 s.
	HTTPClient *http.Client
	// Workers is the number of frames in work at a time on the CPU, or of requests on their way to a remote server.
	// 0 means one per CPU of this process (GOMAXPROCS, which follows the cgroup's quota), and 4 for remote.
	Workers int
	// Threads of ONNX Runtime within one frame; 0 means 1, which with several workers is fastest.
	Threads int
	// Device is the index of the GPU.
	Device int
	// BatchSizes are the sizes GPU batches are padded to; empty means 1, 8, 32. A single size makes results
	// independent of what else is running.
	BatchSizes []int
	// FlushAfter is how long a frame waits for others to fill a GPU batch; 0 means 4 ms.
	FlushAfter time.Duration
	// StartLimit bounds the self-test of a model that is opened, so that one that does not end is refused; 0 means 5 min.
	StartLimit time.Duration
	// CacheDir keeps TensorRT engines, whose making takes minutes; empty means none is kept.
	CacheDir string
}

func (c Config) withDefaults() Config {
	if c.Provider == "" {
		c.Provider = Auto
	}
	if c.Workers <= 0 {
		c.Workers = runtime.GOMAXPROCS(0)
		if c.Provider == Remote {
			c.Workers = 4
		}
	}
	if c.Threads <= 0 {
		c.Threads = 1
	}
	if len(c.BatchSizes) == 0 {
		c.BatchSizes = []int{1, 8, 32}
	}
	c.BatchSizes = slices.Compact(slices.Sorted(slices.Values(c.BatchSizes)))
	if c.FlushAfter <= 0 {
		c.FlushAfter = 4 * time.Millisecond
	}
	if c.StartLimit <= 0 {
		c.StartLimit = 5 * time.Minute
	}
	return c
}

func (c Config) check() error {
	var errs []error
	switch c.Provider {
	case "", Auto, CPU, CUDA, TensorRT:
	case Remote:
		if c.Remote == "" {
			errs = append(errs, &ProviderError{Remote, errors.New("no URL is configured")})
		}
	default:
		errs = append(errs, &ProviderError{c.Provider, errors.New("it is unknown; there are auto, cpu, cuda, tensorrt, remote")})
	}
	switch c.Variant {
	case "", FP32, INT8:
	default:
		errs = append(errs, fmt.Errorf("models: unknown variant %q; there are fp32 and int8", c.Variant))
	}
	if c.Workers < 0 || c.Threads < 0 || c.Device < 0 || c.FlushAfter < 0 {
		errs = append(errs, errors.New("models: workers, threads, device and flush time must not be negative"))
	}
	for _, size := range c.BatchSizes {
		if size < 1 || size > maxBatch {
			errs = append(errs, fmt.Errorf("models: batch size %d is not within 1..%d", size, maxBatch))
		}
	}
	return errors.Join(errs...)
}

// maxBatch bounds batch sizes: memory grows with them and does not come back.
const maxBatch = 256

// Choice is a model on a provider, as Open would try it.
type Choice struct {
	Provider string
	Model    string // file, or "embedded" and its name
	Card     Card
}

// Choices lists what Open would try, in its order, without ONNX Runtime and network: for a provider that is named just
// that one; for auto the GPU providers whose plug-in lies beside the library that Library finds, and the CPU. The first
// that works runs.
func Choices(c Config) ([]Choice, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	tries := []string{c.Provider}
	if c.Provider == Auto {
		library, _, err := Library(c.Library)
		tries = slices.DeleteFunc([]string{TensorRT, CUDA}, func(p string) bool { return err != nil || !hasProvider(library, p) })
		tries = append(tries, CPU)
	}
	var choices []Choice
	for _, provider := range tries {
		name, onnx, err := load(c.Path, c.Variant, provider)
		if err != nil {
			return nil, err
		}
		card, err := ReadCard(name, onnx)
		if err != nil {
			return nil, err
		}
		choices = append(choices, Choice{provider, name, card})
	}
	return choices, nil
}

// Open loads a model, tests it and logs in one line what runs it. The context bounds loading and self-test.
//
// Errors match ErrNoModel, ErrContract, ErrLibrary, ErrProvider or ErrSelfTest.
//
// The CUDA provider replaces the process's signal handlers while it loads (onnxruntime_go issue 140): a program that
// catches signals calls signal.Reset and signal.Notify again after Open.
func Open(ctx context.Context, c Config, logger *slog.Logger) (Engine, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	if c.Provider == Remote {
		return openRemote(ctx, c, logger)
	}

	library, version, err := acquireEnvironment(c.Library)
	if err != nil {
		return nil, err
	}
	tries := []string{c.Provider}
	if c.Provider == Auto {
		tries = []string{TensorRT, CUDA, CPU}
	}
	var failed []error
	for _, provider := range tries {
		if c.Provider == Auto && provider != CPU && !hasProvider(library, provider) {
			failed = append(failed, &ProviderError{provider, errors.New("its plug-in is not beside the library")})
			continue // a model of tens of megabytes need not be loaded for it
		}
		e, model, err := openLocal(ctx, c, provider, logger)
		if err == nil {
			logReady(logger, e, model, failed, "workers", c.Workers, "library", library, "onnxruntime", version)
			return e, nil
		}
		failed = append(failed, err)
		// Only a provider that is missing or does not work sends auto on to the next; a broken model or an ended
		// context would fail there just the same.
		if !errors.Is(err, ErrProvider) || ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(append(failed, releaseEnvironment())...)
}

// logReady writes the one line that says what runs and why the providers before it do not.
func logReady(logger *slog.Logger, e Engine, model string, failed []error, more ...any) {
	attrs := []any{"provider", e.Provider(), "model", model, "name", e.Card().Name, "version", e.Card().Version, "sha256", e.Card().SHA256}
	attrs = append(attrs, more...)
	if len(failed) > 0 {
		reasons := make([]string, len(failed))
		for i, err := range failed {
			reasons[i] = strings.TrimPrefix(err.Error(), "models: ")
		}
		attrs = append(attrs, "not_used", strings.Join(reasons, "; "))
	}
	logger.Info("inference engine ready", attrs...)
}

// openLocal makes and tests an engine on one provider of ONNX Runtime. On success the engine owns the caller's use of
// the environment. Failures of the provider, as opposed to the model, match ErrProvider.
func openLocal(ctx context.Context, c Config, provider string, logger *slog.Logger) (Engine, string, error) {
	model, onnx, err := load(c.Path, c.Variant, provider)
	if err != nil {
		return nil, "", err
	}
	card, err := ReadCard(model, onnx)
	if err != nil {
		return nil, "", err
	}
	cpu := func() (device, error) { return newSession(onnx, card, c, CPU, []int{1}, c.Workers) }

	var e Engine
	if provider == CPU {
		d, err := cpu()
		if err != nil {
			return nil, "", err
		}
		e = newSpreader(card, d, 1, c.Workers, releaseEnvironment)
	} else {
		d, err := newSession(onnx, card, c, provider, c.BatchSizes, gpuLanes)
		if err != nil {
			return nil, "", err
		}
		b := newBatcher(card, d, c.BatchSizes, gpuLanes, c.FlushAfter, logger, releaseEnvironment)
		b.openFallback, b.fallbackLanes = cpu, c.Workers
		e = b
	}
	if err := selfTest(ctx, e, c.StartLimit); err != nil {
		// The environment stays with the caller, who may try the next provider.
		return nil, "", errors.Join(gpuFault(provider, err), e.(keeper).closeKeeping())
	}
	return e, model, nil
}

// gpuFault lets a failing run on a GPU count as a fault of the provider: drivers and cards differ, the model does not.
func gpuFault(provider string, err error) error {
	if provider == CPU {
		return err
	}
	return &ProviderError{provider, err}
}

// device runs batches. Implementations are safe for concurrent use and block while all their buffers are taken.
type device interface {
	name() string
	// run infers n frames into r. A device with fixed batch sizes takes only those.
	run(ctx context.Context, frames []byte, n int, r rows) error
	close() error
}

// keeper is an engine that can be closed without giving up its use of the environment.
type keeper interface{ closeKeeping() error }

// lifecycle is what engines have in common: a card and an orderly end.
type lifecycle struct {
	card    Card
	release func() error // what the engine holds beyond its device; may be nil

	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup
}

func (l *lifecycle) Card() Card { return l.card }

// enter checks the arguments of Infer and keeps Close waiting until leave.
func (l *lifecycle) enter(frames []byte, n int, out *Output) error {
	if n < 0 || len(frames) != n*l.card.FrameSize() {
		return fmt.Errorf("models: %d bytes for %d frames of %d", len(frames), n, l.card.FrameSize())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return fmt.Errorf("models: %w", ErrClosed)
	}
	l.running.Add(1)
	out.reset(l.card, n)
	return nil
}

func (l *lifecycle) leave() { l.running.Done() }

// end stops new calls, waits for running ones and reports whether this call was the first.
func (l *lifecycle) end() bool {
	l.mu.Lock()
	first := !l.closed
	l.closed = true
	l.mu.Unlock()
	l.running.Wait()
	return first
}
