package models

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// spreader is the engine for devices that gain nothing from batches across callers, the CPU and a remote server (which
// batches by itself): it cuts the frames of each call into chunks and runs up to lanes of them at a time. The device
// limits what runs in all calls together.
type spreader struct {
	lifecycle
	device device
	chunk  int
	lanes  int
}

func newSpreader(card Card, d device, chunk, lanes int, release func() error) *spreader {
	return &spreader{lifecycle: lifecycle{card: card, release: release}, device: d, chunk: chunk, lanes: lanes}
}

func (s *spreader) inFlight() int { return s.lanes }

func (s *spreader) Provider() string { return s.device.name() }

func (s *spreader) Infer(ctx context.Context, frames []byte, n int, out *Output) error {
	if err := s.enter(frames, n, out); err != nil {
		return err
	}
	defer s.leave()
	chunks := (n + s.chunk - 1) / s.chunk
	size := s.card.FrameSize()
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range min(chunks, s.lanes) {
		group.Go(func() error {
			for {
				from := (int(next.Add(1)) - 1) * s.chunk
				if from >= n {
					return nil
				}
				to := min(from+s.chunk, n)
				if err := s.device.run(ctx, frames[from*size:to*size], to-from, out.rows(from, to)); err != nil {
					return fmt.Errorf("models: frames %d to %d on %s: %w", from, to-1, s.device.name(), err)
				}
			}
		})
	}
	out.Provider = s.device.name()
	return group.Wait()
}

func (s *spreader) Close() error { return s.shutdown(s.release) }

func (s *spreader) closeKeeping() error { return s.shutdown(nil) }

func (s *spreader) shutdown(release func() error) error {
	if !s.end() {
		return nil
	}
	err := s.device.close()
	if release != nil {
		err = errors.Join(err, release())
	}
	return err
}
