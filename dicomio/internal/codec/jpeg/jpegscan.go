package jpeg

import (
	"bytes"
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

// tables are what the segments before a scan define.
type tables struct {
	dc, ac   [4]*huffman
	quant    [4][64]uint16
	quantSet [4]bool
	interval int
}

// scans walks the markers of a Huffman-coded stream and calls each for
// every scan; each returns how many bytes of its data it used.
func scans(b []byte, h Header, each func(*scan) (int, error)) error {
	var t tables
	var seen Components
	scans := 0
	for at := 2; ; {
		m, seg, next, err := segment(b, at)
		if err != nil {
			return err
		}
		start := int64(next - len(seg) - 4)
		why := ""
		switch m {
		case 0, 0xD9:
			if seen.All(h) {
				return nil // also when the end marker is missing: the samples are not
			}
			kind := fault.ErrCodestream
			if m == 0 {
				kind = fault.ErrTruncated
			}
			return fault.New("jpeg", tag.PixelData, start, kind, "the end after %d of %d components", seen.n, len(h.IDs))
		case 0xC4:
			why = t.huffman(seg)
		case 0xDB:
			why = t.quantisation(seg)
		case 0xDD:
			if len(seg) < 2 {
				why = "a restart interval"
			} else {
				t.interval = int(binary.BigEndian.Uint16(seg))
			}
		case 0xCC:
			return fault.New("jpeg", tag.PixelData, start, fault.ErrUnsupported, "arithmetic coding")
		case 0xDA:
			if scans++; scans > MaxScans {
				why = "too many scans"
				break
			}
			var s *scan
			if s, why = t.scan(seg, h, &seen); why == "" {
				s.data, s.base = b[next:], next
				used, err := each(s)
				if err != nil {
					return err
				}
				next += used
			}
		}
		if why != "" {
			return fault.New("jpeg", tag.PixelData, start, fault.ErrCodestream, "%s", why)
		}
		at = next
	}
}

// huffman takes over the tables of a DHT segment. It returns what is wrong with
// them, or "".
func (t *tables) huffman(seg []byte) string {
	for len(seg) > 0 {
		if len(seg) < 17 {
			return "a short Huffman table"
		}
		total := 0
		for _, c := range seg[1:17] {
			total += int(c)
		}
		class, id := seg[0]>>4, seg[0]&15
		if total > 256 || len(seg) < 17+total || class > 1 || id > 3 {
			return "a Huffman table"
		}
		h, ok := newHuffman(seg[1:17], append([]byte(nil), seg[17:17+total]...))
		if !ok {
			return "Huffman codes"
		}
		if class == 0 {
			t.dc[id] = h
		} else {
			t.ac[id] = h
		}
		seg = seg[17+total:]
	}
	return ""
}

// quantisation takes over the tables of a DQT segment.
func (t *tables) quantisation(seg []byte) string {
	for len(seg) > 0 {
		p, id := int(seg[0]>>4), seg[0]&15
		size := 64 * (1 + p)
		if p > 1 || id > 3 || len(seg) < 1+size {
			return "a quantisation table"
		}
		for i := range 64 {
			if p == 0 {
				t.quant[id][zigzag[i]] = uint16(seg[1+i])
			} else {
				t.quant[id][zigzag[i]] = binary.BigEndian.Uint16(seg[1+2*i:])
			}
		}
		t.quantSet[id] = true
		seg = seg[1+size:]
	}
	return ""
}

// scan reads a scan header (SOS).
func (t *tables) scan(seg []byte, h Header, seen *Components) (*scan, string) {
	if len(seg) < 1 || seg[0] < 1 || seg[0] > 4 || len(seg) < 4+2*int(seg[0]) {
		return nil, "a scan header"
	}
	s := &scan{interval: t.interval, quant: t.quant, quantSet: t.quantSet}
	k := int(seg[0])
	for i := range k {
		c := bytes.IndexByte(h.IDs, seg[1+2*i])
		d, a := seg[2+2*i]>>4, seg[2+2*i]&15
		if c < 0 || d > 3 || a > 3 || !seen.Add(c) {
			return nil, "a component of a scan"
		}
		s.comps = append(s.comps, c)
		s.dc, s.ac = append(s.dc, t.dc[d]), append(s.ac, t.ac[a])
	}
	s.ss, s.se = int(seg[1+2*k]), int(seg[2+2*k])
	s.ah, s.al = int(seg[3+2*k]>>4), int(seg[3+2*k]&15)
	return s, ""
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
