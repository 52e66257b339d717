package models

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// batcher is the engine for GPUs. It gathers the frames of all callers into batches of fixed sizes: a batch leaves when
// the largest size is full or when its oldest frame has waited for flush, padded with black frames to the next size.
//
// When the device runs out of memory the batch is cut to the next smaller size, which from then on is the largest; when
// not even the smallest fits, the CPU takes over for good. Both are logged, named by Provider and recorded in
// Output.Provider.
type batcher struct {
	lifecycle
	device device
	sizes  []int // ascending
	flush  time.Duration
	logger *slog.Logger

	openFallback  func() (device, error)
	fallbackLanes int

	queue   chan item
	quit    chan struct{}
	stopped chan struct{}
	lanes   chan struct{} // one token per batch in flight
	scratch sync.Pool     // of *batchBuffers

	largest  atomic.Int64 // current largest size
	provider atomic.Value // string
	fallback struct {
		sync.Mutex
		device device
		err    error
	}
	useFallback atomic.Bool
}

// item is one frame of a call.
type item struct {
	call  *call
	index int
}

// call is one Infer. Its frames may be spread over batches that end at different times.
type call struct {
	ctx     context.Context
	frames  []byte
	out     *Output
	pending sync.WaitGroup

	mu       sync.Mutex
	err      error
	provider string
}

// finish records what became of one frame. The first error stays; a fallback in any frame is named.
func (c *call) finish(provider string, fellBack bool, err error) {
	c.mu.Lock()
	if c.err == nil {
		c.err = err
	}
	if c.provider == "" || fellBack {
		c.provider = provider
	}
	c.mu.Unlock()
	c.pending.Done()
}

// batchBuffers hold a padded batch.
type batchBuffers struct {
	frames []byte
	out    Output
}

func newBatcher(card Card, d device, sizes []int, lanes int, flush time.Duration, logger *slog.Logger, release func() error) *batcher {
	b := &batcher{
		lifecycle: lifecycle{card: card, release: release},
		device:    d, sizes: sizes, flush: flush, logger: logger,
		queue: make(chan item), quit: make(chan struct{}), stopped: make(chan struct{}), lanes: make(chan struct{}, lanes),
		scratch: sync.Pool{New: func() any { return new(batchBuffers) }},
	}
	b.largest.Store(int64(slices.Max(sizes)))
	b.provider.Store(d.name())
	go b.dispatch()
	return b
}

// inFlight fills every batch on the device and the one that is being formed.
func (b *batcher) inFlight() int { return (cap(b.lanes) + 1) * slices.Max(b.sizes) }

func (b *batcher) Provider() string { return b.provider.Load().(string) }

func (b *batcher) Infer(ctx context.Context, frames []byte, n int, out *Output) error {
	if err := b.enter(frames, n, out); err != nil {
		return err
	}
	defer b.leave()
	c := &call{ctx: ctx, frames: frames, out: out}
	c.pending.Add(n)
	queued := 0
	for queued < n && ctx.Err() == nil {
		select {
		case b.queue <- item{c, queued}:
			queued++
		case <-ctx.Done():
		}
	}
	c.pending.Add(queued - n)
	c.pending.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	out.Provider = c.provider
	return c.err
}

// dispatch forms batches until the engine is closed. Close waits for all calls first, so the queue is empty then.
func (b *batcher) dispatch() {
	defer close(b.stopped)
	for {
		select {
		case b.lanes <- struct{}{}:
		case <-b.quit:
			return
		}
		batch := b.collect()
		if batch == nil {
			<-b.lanes
			return
		}
		go func() {
			defer func() { <-b.lanes }()
			b.process(batch)
		}()
	}
}

// collect waits for a frame and then for others until the batch is full or the first has waited long enough. It returns
// nil when the engine is closed.
func (b *batcher) collect() []item {
	var batch []item
	select {
	case first := <-b.queue:
		batch = append(batch, first)
	case <-b.quit:
		return nil
	}
	timer := time.NewTimer(b.flush)
	defer timer.Stop()
	for len(batch) < int(b.largest.Load()) {
		select {
		case next := <-b.queue:
			batch = append(batch, next)
		case <-timer.C:
			return batch
		}
	}
	return batch
}

// process runs a batch on the device, in smaller pieces or on the CPU if its memory does not suffice.
func (b *batcher) process(batch []item) {
	batch = slices.DeleteFunc(batch, func(it item) bool {
		if it.call.ctx.Err() == nil {
			return false
		}
		it.call.finish("", false, context.Cause(it.call.ctx))
		return true
	})
	for len(batch) > 0 {
		if b.useFallback.Load() {
			b.runFallback(batch)
			return
		}
		n := min(len(batch), int(b.largest.Load()))
		err := b.runBatch(batch[:n])
		if outOfMemory(err) {
			b.shrink(n, err)
			continue
		}
		for _, it := range batch[:n] {
			it.call.finish(b.device.name(), false, err)
		}
		batch = batch[n:]
	}
}

// padded is the smallest batch size that holds n frames.
func (b *batcher) padded(n int) int {
	i, _ := slices.BinarySearch(b.sizes, n)
	return b.sizes[i]
}

// runBatch copies the frames together, runs them and hands the results to their calls.
func (b *batcher) runBatch(batch []item) error {
	buffers := b.scratch.Get().(*batchBuffers)
	defer b.scratch.Put(buffers)
	n, size := b.padded(len(batch)), b.card.FrameSize()
	buffers.frames = resize(buffers.frames, n*size)
	buffers.out.reset(b.card, n)
	for i, it := range batch {
		copy(buffers.frames[i*size:], it.call.frames[it.index*size:(it.index+1)*size])
	}
	clear(buffers.frames[len(batch)*size:])

	ctx, cancel := whileAnyLives(batch)
	defer cancel()
	if err := b.device.run(ctx, buffers.frames, n, buffers.out.rows(0, n)); err != nil {
		return fmt.Errorf("models: batch of %d on %s: %w", n, b.device.name(), err)
	}
	for i, it := range batch {
		it.call.out.rows(it.index, it.index+1).copyFrom(buffers.out.rows(i, i+1))
	}
	return nil
}

// whileAnyLives returns a context that ends when the contexts of all calls in a batch have ended: one caller who gives
// up must not stop the frames of another.
func whileAnyLives(batch []item) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	calls := map[*call]struct{}{}
	for _, it := range batch {
		calls[it.call] = struct{}{}
	}
	var alive atomic.Int64
	alive.Store(int64(len(calls)))
	stops := make([]func() bool, 0, len(calls))
	for c := range calls {
		stops = append(stops, context.AfterFunc(c.ctx, func() {
			if alive.Add(-1) == 0 {
				cancel()
			}
		}))
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
		cancel()
	}
}

// shrink reacts to a batch of n frames that did not fit.
func (b *batcher) shrink(n int, err error) {
	size := b.padded(n)
	i := slices.Index(b.sizes, size)
	if i > 0 {
		// Another batch may have shrunk it further meanwhile.
		smaller := int64(b.sizes[i-1])
		for old := b.largest.Load(); old > smaller; old = b.largest.Load() {
			if b.largest.CompareAndSwap(old, smaller) {
				b.logger.Warn("GPU out of memory, smaller batches", "provider", b.device.name(), "batch", size, "now", smaller, "err", err)
			}
		}
		return
	}
	if b.useFallback.CompareAndSwap(false, true) {
		b.provider.Store(b.fallbackName())
		b.logger.Warn("GPU out of memory, the CPU takes over", "provider", b.device.name(), "err", err)
	}
}

func (b *batcher) fallbackName() string { return "cpu (" + b.device.name() + " out of memory)" }

// runFallback runs a batch on the CPU, frame by frame.
func (b *batcher) runFallback(batch []item) {
	d, err := b.fallbackDevice()
	if err != nil {
		for _, it := range batch {
			it.call.finish(b.fallbackName(), true, err)
		}
		return
	}
	size := b.card.FrameSize()
	var group errgroup.Group
	group.SetLimit(max(b.fallbackLanes, 1))
	for _, it := range batch {
		group.Go(func() error {
			frame := it.call.frames[it.index*size : (it.index+1)*size]
			err := d.run(it.call.ctx, frame, 1, it.call.out.rows(it.index, it.index+1))
			it.call.finish(b.fallbackName(), true, err)
			return nil
		})
	}
	_ = group.Wait() // errors went to their calls
}

// fallbackDevice opens the CPU when it is first needed.
func (b *batcher) fallbackDevice() (device, error) {
	b.fallback.Lock()
	defer b.fallback.Unlock()
	if b.fallback.device == nil && b.fallback.err == nil {
		b.fallback.device, b.fallback.err = b.openFallback()
	}
	return b.fallback.device, b.fallback.err
}

// warm runs a full batch of each size, so that the first study does not pay for what the GPU prepares per size.
func (b *batcher) warm(ctx context.Context, picture []byte) error {
	var out Output
	for _, n := range b.sizes {
		out.reset(b.card, n)
		frames := make([]byte, 0, n*len(picture))
		for range n {
			frames = append(frames, picture...)
		}
		err := b.device.run(ctx, frames, n, out.rows(0, n))
		if outOfMemory(err) {
			b.shrink(n, err)
			return nil
		}
		if err != nil {
			return fmt.Errorf("models: %w: batch of %d on %s: %w", ErrSelfTest, n, b.device.name(), err)
		}
	}
	return nil
}

func (b *batcher) Close() error { return b.shutdown(b.release) }

func (b *batcher) closeKeeping() error { return b.shutdown(nil) }

func (b *batcher) shutdown(release func() error) error {
	if !b.end() {
		return nil
	}
	close(b.quit)
	<-b.stopped
	for range cap(b.lanes) { // batches that still tidy up
		b.lanes <- struct{}{}
	}
	err := b.device.close()
	b.fallback.Lock()
	defer b.fallback.Unlock()
	if b.fallback.device != nil {
		err = errors.Join(err, b.fallback.device.close())
	}
	if release != nil {
		err = errors.Join(err, release())
	}
	return err
}
