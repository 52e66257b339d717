package dicomio

import (
	"io"
)

// window reads an io.ReaderAt in small blocks that move forward, so that an
// index of a large file touches only the headers.
type window struct {
	r    io.ReaderAt
	size int64
	buf  []byte
	off  int64 // of buf[0]
	n    int   // valid bytes in buf
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
	if err := readFull(w.r, w.buf, off); err != nil {
		return nil, err
	}
	w.off, w.n = off, want
	return w.buf[:n], nil
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

// readChunks reads r to its end or to limit; more is ErrLimit. Space is taken
// only for bytes that arrived.
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
		if c.size > limit {
			return nil, ErrLimit
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
