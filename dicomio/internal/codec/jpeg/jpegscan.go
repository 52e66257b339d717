package jpeg

import (
	"encoding/binary"

	"github.com/echonode/echonode/dicomio/internal/fault"
	"github.com/echonode/echonode/dicomio/tag"
)

// scan is a scan header and what was defined before it.
type scan struct {
	comps    []int // indices into the components of the frame header
	dc, ac   []*huffman
	ss, se   int
	ah, al   int
	interval int // restart interval in MCUs
	quant    [4][64]uint16
	quantSet [4]bool
	data     []byte // entropy-coded bytes and everything after
	base     int    // offset of data
}

// MaxScans bounds the scans of one frame.
const MaxScans = 16

// scans walks the markers of a Huffman-coded stream and calls each for
// every scan; each returns how many bytes of its data it used.
func scans(b []byte, h Header, each func(*scan) (int, error)) error {
	var dc, ac [4]*huffman
	var quant [4][64]uint16
	var quantSet [4]bool
	interval, scans := 0, 0
	var seen Components
	bad := func(at int, why string) error {
		return fault.New("jpeg", tag.PixelData, int64(at), fault.ErrCodestream, "%s", why)
	}
	short := func(at int) error {
		return fault.New("jpeg", tag.PixelData, int64(at), fault.ErrTruncated, "inside a segment")
	}
	for at := 2; ; {
		if at+2 > len(b) {
			if seen.All(h) {
				return nil // the end marker is missing, the samples are not
			}
			return fault.New("jpeg", tag.PixelData, int64(at), fault.ErrTruncated, "%d of %d components", seen.n, len(h.IDs))
		}
		m := b[at+1]
		if b[at] != 0xFF || m == 0xFF || m == 0 || m == 1 || m >= 0xD0 && m <= 0xD8 {
			at++
			continue
		}
		if m == 0xD9 {
			if !seen.All(h) {
				return bad(at, "the end before all components")
			}
			return nil
		}
		if at+4 > len(b) {
			return short(at)
		}
		n := int(binary.BigEndian.Uint16(b[at+2:]))
		if n < 2 || at+2+n > len(b) {
			return short(at)
		}
		seg := b[at+4 : at+2+n]
		next := at + 2 + n
		switch m {
		case 0xC4:
			for len(seg) > 0 {
				if len(seg) < 17 {
					return bad(at, "a short Huffman table")
				}
				total := 0
				for _, c := range seg[1:17] {
					total += int(c)
				}
				class, id := seg[0]>>4, seg[0]&15
				if total > 256 || len(seg) < 17+total || class > 1 || id > 3 {
					return bad(at, "a Huffman table")
				}
				t, ok := newHuffman(seg[1:17], append([]byte(nil), seg[17:17+total]...))
				if !ok {
					return bad(at, "Huffman codes")
				}
				if class == 0 {
					dc[id] = t
				} else {
					ac[id] = t
				}
				seg = seg[17+total:]
			}
		case 0xDB:
			for len(seg) > 0 {
				p, id := int(seg[0]>>4), seg[0]&15
				size := 64 * (1 + p)
				if p > 1 || id > 3 || len(seg) < 1+size {
					return bad(at, "a quantisation table")
				}
				for i := range 64 {
					if p == 0 {
						quant[id][zigzag[i]] = uint16(seg[1+i])
					} else {
						quant[id][zigzag[i]] = binary.BigEndian.Uint16(seg[1+2*i:])
					}
				}
				quantSet[id] = true
				seg = seg[1+size:]
			}
		case 0xDD:
			if len(seg) < 2 {
				return bad(at, "a restart interval")
			}
			interval = int(binary.BigEndian.Uint16(seg))
		case 0xCC:
			return fault.New("jpeg", tag.PixelData, int64(at), fault.ErrUnsupported, "arithmetic coding")
		case 0xDA:
			if scans++; scans > MaxScans {
				return bad(at, "too many scans")
			}
			if len(seg) < 1 || seg[0] < 1 || seg[0] > 4 || len(seg) < 4+2*int(seg[0]) {
				return bad(at, "a scan header")
			}
			s := &scan{interval: interval, quant: quant, quantSet: quantSet, data: b[next:], base: next}
			k := int(seg[0])
			for i := range k {
				c := -1
				for j, id := range h.IDs {
					if id == seg[1+2*i] {
						c = j
					}
				}
				d, a := seg[2+2*i]>>4, seg[2+2*i]&15
				if c < 0 || d > 3 || a > 3 || !seen.Add(c) {
					return bad(at, "a component of a scan")
				}
				s.comps = append(s.comps, c)
				s.dc, s.ac = append(s.dc, dc[d]), append(s.ac, ac[a])
			}
			s.ss, s.se = int(seg[1+2*k]), int(seg[2+2*k])
			s.ah, s.al = int(seg[3+2*k]>>4), int(seg[3+2*k]&15)
			used, err := each(s)
			if err != nil {
				return err
			}
			next += used
		}
		at = next
	}
}

// Components are the components that scans have given. Outside progressive
// streams each comes once, and all must come.
type Components struct {
	has [4]bool
	n   int
}

// Add reports whether a component is new.
func (s *Components) Add(c int) bool {
	if s.has[c] {
		return false
	}
	s.has[c] = true
	s.n++
	return true
}

// All reports whether every component of the frame is there.
func (s *Components) All(h Header) bool { return s.n == len(h.IDs) }

// zigzag is the order of coefficients in a stream.
var zigzag = [64]int{
	0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
}
