package video

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"slices"
	"strconv"

	"github.com/echonode/echonode/dicomio/internal/source"
)

// Bounds of an MP4 file: boxes in all, bytes of the index, nesting of the way
// to the chunk offsets.
const (
	maxBoxes = 100000
	maxIndex = 8 << 20
)

// box is one box of ISO/IEC 14496-12, header included.
type box struct {
	kind         string
	off, n, head int64
}

// boxes lists the boxes of one level, at most max of them. A rest that is no
// box, such as a padding byte, is left out.
func boxes(src io.ReaderAt, off, end int64, max int) ([]box, error) {
	var out []box
	for end-off >= 8 {
		if len(out) == max {
			return nil, errors.New("too many boxes")
		}
		var h [16]byte
		k := min(end-off, 16)
		if err := source.ReadFull(src, h[:k], off); err != nil {
			return nil, err
		}
		b := box{string(h[4:8]), off, int64(binary.BigEndian.Uint32(h[:])), 8}
		switch {
		case b.n == 0:
			b.n = end - off // to the end of the file
		case b.n == 1 && k == 16:
			if n := binary.BigEndian.Uint64(h[8:]); n <= math.MaxInt64 {
				b.n, b.head = int64(n), 16
			}
		}
		if b.n < b.head || b.n > end-off {
			if len(out) > 0 && len(bytes.Trim(h[:k], "\x00")) == 0 {
				return out, nil // zeros behind the last box
			}
			return nil, errors.New("a box " + strconv.Quote(b.kind) + " that is longer than what holds it")
		}
		out = append(out, b)
		off += b.n
	}
	return out, nil
}

// indexFirst gives an MP4 file with its index (moov) before the media data, the
// chunk offsets in it adjusted.
func indexFirst(src io.ReaderAt, size int64) (io.Reader, error) {
	all, err := boxes(src, 0, size, maxBoxes)
	if err != nil {
		return nil, err
	}
	index := slices.IndexFunc(all, func(b box) bool { return b.kind == "moov" })
	media := slices.IndexFunc(all, func(b box) bool { return b.kind == "mdat" })
	if index < 0 {
		return nil, errors.New("no index (moov)")
	}
	if media < 0 || index < media {
		return io.NewSectionReader(src, 0, size), nil
	}
	moov := all[index]
	if moov.n > maxIndex {
		return nil, errors.New("an index of more than 8 MiB")
	}
	b := make([]byte, moov.n)
	if err := source.ReadFull(src, b, moov.off); err != nil {
		return nil, err
	}
	front := 0
	if all[0].kind == "ftyp" {
		front = 1
	}
	order := slices.Concat(all[:front], all[index:index+1], all[front:index], all[index+1:])
	moved := make(map[int64]int64, len(order)) // where each box comes to lie, by its offset
	at := int64(0)
	for _, o := range order {
		moved[o.off] = at
		at += o.n
	}
	place := func(off uint64) (uint64, bool) {
		// A search: there may be very many chunks and boxes.
		i, _ := slices.BinarySearchFunc(all, off, func(o box, off uint64) int {
			if uint64(o.off+o.n) <= off {
				return -1
			}
			return 1
		})
		if i == len(all) || off < uint64(all[i].off) {
			return 0, false
		}
		return off - uint64(all[i].off) + uint64(moved[all[i].off]), true
	}
	if err := shiftChunks(b, 0, int64(len(b)), 0, place); err != nil {
		return nil, err
	}
	var parts []io.Reader
	for _, o := range order {
		if o.off == moov.off {
			parts = append(parts, bytes.NewReader(b))
		} else {
			parts = append(parts, io.NewSectionReader(src, o.off, o.n))
		}
	}
	return io.MultiReader(parts...), nil
}

// shiftChunks changes the chunk offsets (stco, co64) within b[off:end].
func shiftChunks(b []byte, off, end int64, depth int, place func(uint64) (uint64, bool)) error {
	list, err := boxes(bytes.NewReader(b), off, end, maxBoxes)
	if err != nil {
		return err
	}
	for _, x := range list {
		body := b[x.off+x.head : x.off+x.n]
		size := 4
		switch x.kind {
		case "moov", "trak", "mdia", "minf", "stbl":
			if depth > 8 {
				return errors.New("boxes nested too deeply")
			}
			if err := shiftChunks(b, x.off+x.head, x.off+x.n, depth+1, place); err != nil {
				return err
			}
			continue
		case "co64":
			size = 8
		case "stco":
		case "cmov":
			return errors.New("a compressed index")
		default:
			continue
		}
		if len(body) < 8 || int64(len(body)-8) < int64(binary.BigEndian.Uint32(body[4:]))*int64(size) {
			return errors.New("a short table of chunks")
		}
		for i := range int(binary.BigEndian.Uint32(body[4:])) {
			e := body[8+i*size:]
			old := uint64(binary.BigEndian.Uint32(e))
			if size == 8 {
				old = binary.BigEndian.Uint64(e)
			}
			to, ok := place(old)
			if !ok || size == 4 && to > math.MaxUint32 {
				return errors.New("a chunk outside the file")
			}
			if size == 8 {
				binary.BigEndian.PutUint64(e, to)
			} else {
				binary.BigEndian.PutUint32(e, uint32(to))
			}
		}
	}
	return nil
}
