// Package source reads bytes for those who walk them: in small blocks, as a stream
// with bounds, held in blocks.
package source

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/echonode/echonode/dicomio/internal/fault"
	"github.com/echonode/echonode/dicomio/tag"
)

// ReadFull fills b from off; a short read is fault.ErrTruncated.
func ReadFull(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fault.ErrTruncated
	}
	return err
}

// Window reads an io.ReaderAt in small blocks that move forward, so that an
// index of a large file touches only the headers.
type Window struct {
	R    io.ReaderAt
	Size int64
	buf  []byte
	off  int64 // of buf[0]
	n    int   // valid bytes in buf
	Open bool  // the source may end before size
}

// Use makes r the source, of so many bytes.
func (w *Window) Use(r io.ReaderAt, size int64) { *w = Window{R: r, Size: size, buf: w.buf} }

// WindowSize is the block that one read brings in.
const WindowSize = 8 << 10

// At returns n bytes at off. The slice is valid until the next call.
func (w *Window) At(off int64, n int) ([]byte, error) {
	if off < 0 || n < 0 || off+int64(n) > w.Size {
		return nil, fault.ErrTruncated
	}
	if off >= w.off && off+int64(n) <= w.off+int64(w.n) {
		i := int(off - w.off)
		return w.buf[i : i+n], nil
	}
	want := int(min(int64(max(n, WindowSize)), w.Size-off))
	if cap(w.buf) < want {
		w.buf = make([]byte, want)
	}
	w.buf = w.buf[:want]
	w.n = 0
	if w.Open {
		got, err := w.R.ReadAt(w.buf, off)
		if got < n {
			if err == io.EOF {
				err = fault.ErrTruncated
			}
			return nil, err
		}
		want = got
	} else if err := ReadFull(w.R, w.buf, off); err != nil {
		return nil, err
	}
	w.off, w.n = off, want
	return w.buf[:n], nil
}

// Ends reports whether a source of unknown length ends exactly at off.
func (w *Window) Ends(off int64) bool {
	if !w.Open {
		return false
	}
	_, err := w.At(off, 1)
	return errors.Is(err, fault.ErrTruncated)
}

// CopyTo fills b from off without moving the window over large values.
func (w *Window) CopyTo(b []byte, off int64) error {
	if len(b) > WindowSize/2 {
		if off+int64(len(b)) > w.Size {
			return fault.ErrTruncated
		}
		return ReadFull(w.R, b, off)
	}
	p, err := w.At(off, len(b))
	if err == nil {
		copy(b, p)
	}
	return err
}

// errRewind is what a stream cannot do.
var errRewind = errors.New("the data set cannot be read in one pass")

// Stream is an io.ReaderAt over a source that can only be read forward, and
// only up to Limit. It keeps what it read last, for a reader that steps back a
// little.
type Stream struct {
	R     io.Reader
	Limit int64
	at    int64  // bytes read so far
	last  []byte // of them
	err   error  // what ended R
}

// streamBack is how far a reader may step back.
const streamBack = 32 << 10

// ReadAt implements io.ReaderAt. It is not safe for concurrent use.
func (s *Stream) ReadAt(p []byte, off int64) (int, error) {
	if off < s.at-int64(len(s.last)) {
		return 0, &fault.Error{Op: "inflate", Offset: off, Err: errRewind}
	}
	for s.at < off+int64(len(p)) && s.err == nil {
		s.more()
	}
	from := off - (s.at - int64(len(s.last)))
	if from >= int64(len(s.last)) {
		return 0, s.err
	}
	n := copy(p, s.last[from:])
	if n < len(p) {
		return n, s.err
	}
	return n, nil
}

// more reads the next piece.
func (s *Stream) more() {
	const piece = 16 << 10
	if s.at >= s.Limit {
		s.err = fault.New("inflate", tag.Tag(0), s.at, fault.ErrLimit, "more than %d bytes", s.Limit)
		return
	}
	if cap(s.last) == 0 {
		s.last = make([]byte, 0, streamBack+piece)
	}
	if len(s.last) > streamBack {
		n := copy(s.last, s.last[len(s.last)-streamBack:])
		s.last = s.last[:n]
	}
	n, err := s.R.Read(s.last[len(s.last):cap(s.last)])
	s.last = s.last[:len(s.last)+n]
	s.at += int64(n)
	switch {
	case err == nil:
	case errors.Is(err, io.ErrUnexpectedEOF):
		s.err = fault.New("inflate", tag.Tag(0), s.at, fault.ErrTruncated, "")
	case err != io.EOF:
		s.err = &fault.Error{Op: "inflate", Offset: s.at, Err: fmt.Errorf("%w: %w", fault.ErrMalformed, err)}
	default:
		s.err = io.EOF
	}
}

// Limited ends with fault.ErrLimit after Left bytes (Left is then negative),
// or with its context.
type Limited struct {
	Context context.Context
	R       io.Reader
	Left    int64
}

// Read implements io.Reader.
func (l *Limited) Read(p []byte) (int, error) {
	if l.Context != nil && l.Context.Err() != nil {
		return 0, l.Context.Err()
	}
	n, err := l.R.Read(p)
	if l.Left -= int64(n); l.Left < 0 {
		return 0, fault.ErrLimit
	}
	return n, err
}

// Chunks holds inflated data in equal blocks; it implements io.ReaderAt
// without the copies and the slack of a growing buffer.
type Chunks struct {
	blocks [][]byte
	Size   int64
}

// chunkSize is the length of all blocks but the last.
const chunkSize = 1 << 20

// ReadChunks reads r to its end or to limit; more is fault.ErrLimit beside what was
// read. Space is taken only for bytes that arrived.
func ReadChunks(r io.Reader, limit int64) (*Chunks, error) {
	c := &Chunks{}
	block := make([]byte, 0, 16<<10)
	for {
		if len(block) == cap(block) {
			if len(c.blocks) == 0 && cap(block) < chunkSize {
				block = append(make([]byte, 0, min(4*cap(block), chunkSize)), block...)
			} else {
				c.blocks = append(c.blocks, block)
				block = make([]byte, 0, chunkSize)
			}
		}
		n, err := r.Read(block[len(block):cap(block)])
		block = block[:len(block)+n]
		c.Size += int64(n)
		if c.Size > limit && err == nil {
			c.blocks = append(c.blocks, block)
			return c, fault.ErrLimit
		}
		if err != nil {
			if len(block) > 0 {
				c.blocks = append(c.blocks, block)
			}
			if err == io.EOF {
				err = nil
			}
			return c, err
		}
	}
}

// ReadAt implements io.ReaderAt.
func (c *Chunks) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) && off < c.Size {
		k := copy(p[n:], c.blocks[off/chunkSize][off%chunkSize:])
		n += k
		off += int64(k)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
