package jpeg

import "encoding/binary"

// HasFF reports whether one of the eight bytes is 0xFF.
func HasFF(v uint64) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	return (^v-ones)&v&tops != 0
}

// bitReader reads the entropy-coded segment of a JPEG stream: most
// significant bit first, 0xFF00 for 0xFF. At a marker or the end it delivers
// zeros and remembers that it did.
type bitReader struct {
	b    []byte
	at   int
	acc  uint64
	n    int // valid bits in acc
	over int // bits delivered past the end
}

// fill tops the accumulator up to more than 32 bits.
func (r *bitReader) fill() {
	if r.at+8 <= len(r.b) && r.n <= 56 {
		v := binary.BigEndian.Uint64(r.b[r.at:])
		if !HasFF(v) {
			k := (64 - r.n) >> 3
			r.acc = r.acc<<uint(8*k) | v>>uint(64-8*k)
			r.n += 8 * k
			r.at += k
			return
		}
	}
	for r.n <= 48 {
		c := byte(0)
		switch {
		case r.at >= len(r.b):
			r.over += 8
		case r.b[r.at] != 0xFF:
			c = r.b[r.at]
			r.at++
		case r.at+1 < len(r.b) && r.b[r.at+1] == 0:
			c = 0xFF
			r.at += 2
		default:
			r.over += 8 // a marker
		}
		r.acc = r.acc<<8 | uint64(c)
		r.n += 8
	}
}

// bits reads k bits, 0 to 16.
func (r *bitReader) bits(k int) int {
	if r.n < k {
		r.fill()
	}
	r.n -= k
	return int(r.acc>>uint(r.n)) & (1<<uint(k) - 1)
}

// exhausted reports whether bits past the end were used.
func (r *bitReader) exhausted() bool { return r.over > r.n }

// restart skips to the marker RSTm, which must come next, and starts anew.
func (r *bitReader) restart(m int) bool {
	for r.at+1 < len(r.b) && r.b[r.at] == 0xFF && r.b[r.at+1] == 0xFF {
		r.at++
	}
	// Padding bits of the last byte are still in the accumulator.
	if r.exhausted() || r.n-r.over >= 8 || r.at+1 >= len(r.b) || r.b[r.at] != 0xFF || r.b[r.at+1] != byte(0xD0+m&7) {
		return false
	}
	r.at += 2
	r.acc, r.n, r.over = 0, 0, 0
	return true
}

// huffman is a decoding table.
type huffman struct {
	fast [512]uint16 // of the first nine bits: length<<8 | value, 0 if longer
	max  [18]int32   // largest code of each length, -1 for none
	off  [17]int32   // index of the first value of a length minus its first code
	vals []byte

	diffs *[1 << diffBits]int32 // see differences
}

// diffBits is how many bits one look into the table of differences covers.
const diffBits = 12

// differences makes a table of whole DC differences: value<<8 | bits for every
// prefix of diffBits bits that holds the code and its additional bits, else 0.
func (h *huffman) differences() *[1 << diffBits]int32 {
	if h.diffs != nil {
		return h.diffs
	}
	h.diffs = new([1 << diffBits]int32)
	for w := range h.diffs {
		e := h.fast[w>>(diffBits-9)]
		l, k := int(e>>8), int(e&0xFF)
		if e == 0 || l+k > diffBits || k > 15 {
			continue
		}
		v := 0
		if k > 0 {
			v = w >> uint(diffBits-l-k) & (1<<uint(k) - 1)
			if v < 1<<uint(k-1) {
				v -= 1<<uint(k) - 1
			}
		}
		h.diffs[w] = int32(v)<<8 | int32(l+k)
	}
	return h.diffs
}

// differences decodes the DC differences of a row of n components by turns. It
// returns false for a code that is not in its table.
func (r *bitReader) differences(row []int32, tables []*huffman) bool {
	var diffs [4]*[1 << diffBits]int32
	for i, t := range tables {
		diffs[i] = t.differences()
	}
	acc, n := r.acc, r.n
	c := 0
	for k := range row {
		if n < 32 {
			r.acc, r.n = acc, n
			r.fill()
			acc, n = r.acc, r.n
		}
		e := diffs[c&3][acc>>(uint(n-diffBits)&63)&(1<<diffBits-1)]
		if e != 0 {
			n -= int(e & 0xFF)
			row[k] = e >> 8
		} else {
			r.acc, r.n = acc, n
			k2 := r.decode(tables[c])
			switch {
			case k2 < 0 || k2 > 16:
				return false
			case k2 == 16:
				row[k] = 32768
			default:
				row[k] = int32(r.extend(k2))
			}
			acc, n = r.acc, r.n
		}
		if c++; c == len(tables) {
			c = 0
		}
	}
	r.acc, r.n = acc, n
	return true
}

// newHuffman builds a table from the counts per length and the values.
func newHuffman(counts []byte, vals []byte) (*huffman, bool) {
	h := &huffman{vals: vals}
	code, k := int32(0), int32(0)
	for l := 1; l <= 16; l++ {
		n := int32(counts[l-1])
		h.off[l] = k - code
		if code+n > 1<<uint(l) || int(k+n) > len(vals) {
			return nil, false
		}
		for i := int32(0); i < n; i++ {
			if l <= 9 {
				e := uint16(l)<<8 | uint16(vals[k])
				base := int(code) << uint(9-l)
				for j := 0; j < 1<<uint(9-l); j++ {
					h.fast[base+j] = e
				}
			}
			code++
			k++
		}
		h.max[l] = code - 1
		if n == 0 {
			h.max[l] = -1
		}
		code <<= 1
	}
	return h, true
}

// decode reads one symbol; it is negative for a code that is not in the table.
func (r *bitReader) decode(h *huffman) int {
	if r.n < 16 {
		r.fill()
	}
	if e := h.fast[int(r.acc>>uint(r.n-9))&511]; e != 0 {
		r.n -= int(e >> 8)
		return int(e & 0xFF)
	}
	w := int32(r.acc>>uint(r.n-16)) & 0xFFFF
	for l := 10; l <= 16; l++ {
		c := w >> uint(16-l)
		if h.max[l] >= 0 && c <= h.max[l] && c+h.off[l] >= 0 {
			r.n -= l
			return int(h.vals[c+h.off[l]])
		}
	}
	return -1
}

// extend reads the k additional bits of a difference.
func (r *bitReader) extend(k int) int {
	if k == 0 {
		return 0
	}
	v := r.bits(k)
	if v < 1<<uint(k-1) {
		v -= 1<<uint(k) - 1
	}
	return v
}
