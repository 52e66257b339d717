package pixel

import (
	"encoding/binary"
	"errors"
	"math"
)

// Palette maps stored values to 8-bit colours (PS3.3 C.7.6.3.1.5).
type Palette struct {
	First int // stored value of the first entry
	RGB   [][3]uint8
}

// At finds the colour of a stored value; values outside take the nearest end.
func (p *Palette) At(v int64) [3]uint8 {
	i := v - int64(p.First)
	return p.RGB[max(0, min(i, int64(len(p.RGB))-1))]
}

// PaletteEntries reads n entries of 8 or 16 bits.
func PaletteEntries(b []byte, n, bits int, order binary.ByteOrder) []uint16 {
	if bits == 16 || len(b) >= 2*n {
		out := make([]uint16, 0, len(b)/2)
		for ; len(b) >= 2; b = b[2:] {
			out = append(out, order.Uint16(b))
		}
		return out
	}
	out := make([]uint16, len(b))
	for i, v := range b {
		if order == binary.BigEndian {
			v = b[min(i^1, len(b)-1)] // two 8-bit entries in a swapped word
		}
		out[i] = uint16(v)
	}
	return out
}

// What is wrong with a segmented lookup table.
var (
	errCut     = errors.New("a segment is cut")
	errSegment = errors.New("a segment that the standard does not allow")
)

// PaletteSegments expands a segmented lookup table (PS3.3 C.7.9.2): discrete,
// linear and indirect segments, never more than n entries.
func PaletteSegments(b []byte, n, bits int, order binary.ByteOrder) ([]uint16, error) {
	var words []uint16
	if bits == 8 {
		for _, v := range b {
			words = append(words, uint16(v))
		}
	} else {
		for ; len(b) >= 2; b = b[2:] {
			words = append(words, order.Uint16(b))
		}
	}
	var out []uint16
	steps := 0
	// expand interprets count segments from at; segments < 0 means to the end.
	var expand func(at, count int, nested bool) error
	expand = func(at, count int, nested bool) error {
		for k := 0; at+1 < len(words) && (count < 0 || k < count); k++ {
			if steps++; steps > 1<<16 || len(out) >= n {
				return nil
			}
			op, length := words[at], int(words[at+1])
			at += 2
			switch op {
			case 0:
				if at+length > len(words) {
					return errCut
				}
				out = append(out, words[at:at+length]...)
				at += length
			case 1:
				if at >= len(words) || len(out) == 0 {
					return errSegment
				}
				from, to := int(out[len(out)-1]), int(words[at])
				at++
				for i := 1; i <= length && len(out) < n; i++ {
					// Rounded to nearest, as the ends must be met exactly.
					out = append(out, uint16(from+int(math.Round(float64((to-from)*i)/float64(length)))))
				}
			case 2:
				need := 2
				if bits == 8 {
					need = 4
				}
				if nested || at+need > len(words) {
					return errSegment
				}
				off := int(words[at]) | int(words[at+1])<<16
				if bits == 8 {
					off = int(words[at]) | int(words[at+1])<<8 | int(words[at+2])<<16 | int(words[at+3])<<24
				}
				at += need
				if bits != 8 {
					off /= 2
				}
				if off >= len(words) {
					return errSegment
				}
				if err := expand(off, length, true); err != nil {
					return err
				}
			default:
				return errSegment
			}
		}
		return nil
	}
	if err := expand(0, -1, false); err != nil {
		return nil, err
	}
	return out, nil
}
