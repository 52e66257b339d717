package dicomio

import (
	"compress/flate"
	"errors"
	"io"
	"os"

	"github.com/echonode/echonode/dicomio/internal/source"
)

// inflateInMemory is the longest inflated data set that is not put into a file.
const inflateInMemory = 1 << 20

// inflateRatio is how many times its compressed length a large data set may be
// long: pictures stay far below it, and what is above costs more than it holds.
const (
	inflateRatio = 64
	inflateFloor = 64 << 20
)

// inflate replaces the body of the file by the inflated data set: in memory
// when it is small, otherwise in a file without a name in Limits.Scratch, after
// a first pass that only counts, so that one over its limit writes nothing.
func (p *parser) inflate(f *File, at int64) error {
	limit := min(f.limits.Inflated, inflateFloor+inflateRatio*(f.size-at))
	stream := func() *source.Limited {
		return &source.Limited{Context: p.ctx, R: flate.NewReader(io.NewSectionReader(f.src, at, f.size-at)), Left: limit}
	}
	limited := stream()
	c, err := source.ReadChunks(limited, inflateInMemory)
	if err == nil {
		f.body, f.bodySize = c, c.Size
	} else if errors.Is(err, ErrLimit) && limited.Left >= 0 {
		c = nil
		if _, err = io.Copy(io.Discard, limited); err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
			f.body, f.bodySize, err = spill(f, stream())
		}
	}
	switch {
	case err == nil:
	case limited.Left < 0:
		return fail("inflate", Tag(0), at, ErrLimit, "more than %d bytes", limit)
	case errors.Is(err, io.ErrUnexpectedEOF):
		f.truncated = fail("inflate", Tag(0), at, ErrTruncated, "")
		if c != nil { // it ended while it was small
			f.body, f.bodySize = c, c.Size
		}
	case errors.As(err, new(flate.CorruptInputError)):
		return fail("inflate", Tag(0), at, ErrMalformed, "%v", err)
	default:
		return &Error{Op: "inflate", Offset: at, Err: err}
	}
	p.use(f.body, f.bodySize)
	return nil
}

// spill writes what is inflated into an unnamed file. What was written before
// an error of r is kept.
func spill(f *File, r io.Reader) (io.ReaderAt, int64, error) {
	tmp, err := os.CreateTemp(f.limits.Scratch, "inflated-")
	if err != nil {
		return f.src, f.size, err
	}
	f.scratch = tmp
	if err := os.Remove(tmp.Name()); err != nil {
		return f.src, f.size, err
	}
	n, err := io.Copy(tmp, r)
	return tmp, n, err
}
