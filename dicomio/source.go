package dicomio

import (
	"compress/flate"
	"context"
	"errors"
	"io"
	"os"
)

// window reads an io.ReaderAt in small blocks that move forward, so that an
// index of a large file touches only the headers.
type window struct {
	r    io.ReaderAt
	size int64
	buf  []byte
	off  int64 // of buf[0]
	n    int   // valid bytes in buf
	open bool  // the source may end before size
}

// windowSize is the block that one read brings in.
const windowSize = 8 << 10

// at returns n bytes at off. The slice is valid until the next call.
func (w *window) at(off int64, n int) ([]byte, error) {
	if off < 0 || n < 0 || off+int64(n) > w.size {
		return nil, ErrTruncated
	}
	if off >= w.off && off+int64(n) <= w.off+int64(w.n) {
		i := int(off - w.off)
		return w.buf[i : i+n], nil
	}
	want := int(min(int64(max(n, windowSize)), w.size-off))
	if cap(w.buf) < want {
		w.buf = make([]byte, want)
	}
	w.buf = w.buf[:want]
	w.n = 0
	if w.open {
		got, err := w.r.ReadAt(w.buf, off)
		if got < n {
			if err == io.EOF {
				err = ErrTruncated
			}
			return nil, err
		}
		want = got
	} else if err := readFull(w.r, w.buf, off); err != nil {
		return nil, err
	}
	w.off, w.n = off, want
	return w.buf[:n], nil
}

// ends reports whether a source of unknown length ends exactly at off.
func (w *window) ends(off int64) bool {
	if !w.open {
		return false
	}
	_, err := w.at(off, 1)
	return err == ErrTruncated
}

// errRewind is what a stream cannot do.
var errRewind = errors.New("the data set cannot be read in one pass")

// stream is an io.ReaderAt over a source that can only be read forward, and
// only up to limit. It keeps what it read last, for a reader that steps back a
// little.
type stream struct {
	r     io.Reader
	limit int64
	at    int64  // bytes read so far
	last  []byte // of them
	err   error  // what ended r
}

// streamBack is how far a reader may step back.
const streamBack = 32 << 10

// ReadAt implements io.ReaderAt. It is not safe for concurrent use.
func (s *stream) ReadAt(p []byte, off int64) (int, error) {
	if off < s.at-int64(len(s.last)) {
		return 0, &Error{Op: "inflate", Offset: off, Err: errRewind}
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
func (s *stream) more() {
	const piece = 16 << 10
	if s.at >= s.limit {
		s.err = fail("inflate", Tag(0), s.at, ErrLimit, "more than %d bytes", s.limit)
		return
	}
	if cap(s.last) == 0 {
		s.last = make([]byte, 0, streamBack+piece)
	}
	if len(s.last) > streamBack {
		n := copy(s.last, s.last[len(s.last)-streamBack:])
		s.last = s.last[:n]
	}
	n, err := s.r.Read(s.last[len(s.last):cap(s.last)])
	s.last = s.last[:len(s.last)+n]
	s.at += int64(n)
	switch {
	case err == nil:
	case errors.Is(err, io.ErrUnexpectedEOF):
		s.err = fail("inflate", Tag(0), s.at, ErrTruncated, "")
	case err != io.EOF:
		s.err = fail("inflate", Tag(0), s.at, ErrMalformed, "%v", err)
	default:
		s.err = io.EOF
	}
}

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
	stream := func() *limitedReader {
		return &limitedReader{ctx: p.ctx, r: flate.NewReader(io.NewSectionReader(f.src, at, f.size-at)), left: limit}
	}
	limited := stream()
	c, err := readChunks(limited, inflateInMemory)
	if err == nil {
		f.body, f.bodySize = c, c.size
	} else if errors.Is(err, ErrLimit) && limited.left >= 0 {
		c = nil
		if _, err = io.Copy(io.Discard, limited); err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
			f.body, f.bodySize, err = spill(f, stream())
		}
	}
	switch {
	case err == nil:
	case limited.left < 0:
		return fail("inflate", Tag(0), at, ErrLimit, "more than %d bytes", limit)
	case errors.Is(err, io.ErrUnexpectedEOF):
		f.truncated = fail("inflate", Tag(0), at, ErrTruncated, "")
		if c != nil { // it ended while it was small
			f.body, f.bodySize = c, c.size
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

// limitedReader ends with ErrLimit after left bytes (left is then negative),
// or with its context.
type limitedReader struct {
	ctx  context.Context
	r    io.Reader
	left int64
}

// Read implements io.Reader.
func (l *limitedReader) Read(p []byte) (int, error) {
	if l.ctx != nil && l.ctx.Err() != nil {
		return 0, l.ctx.Err()
	}
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, ErrLimit
	}
	return n, err
}

// copyTo fills b from off without moving the window over large values.
func (w *window) copyTo(b []byte, off int64) error {
	if len(b) > windowSize/2 {
		if off+int64(len(b)) > w.size {
			return ErrTruncated
		}
		return readFull(w.r, b, off)
	}
	p, err := w.at(off, len(b))
	if err == nil {
		copy(b, p)
	}
	return err
}

// chunks holds inflated data in equal blocks; it implements io.ReaderAt
// without the copies and the slack of a growing buffer.
type chunks struct {
	blocks [][]byte
	size   int64
}

// chunkSize is the length of all blocks but the last.
const chunkSize = 1 << 20

// readChunks reads r to its end or to limit; more is ErrLimit beside what was
// read. Space is taken only for bytes that arrived.
func readChunks(r io.Reader, limit int64) (*chunks, error) {
	c := &chunks{}
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
		c.size += int64(n)
		if c.size > limit && err == nil {
			c.blocks = append(c.blocks, block)
			return c, ErrLimit
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
func (c *chunks) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) && off < c.size {
		k := copy(p[n:], c.blocks[off/chunkSize][off%chunkSize:])
		n += k
		off += int64(k)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
