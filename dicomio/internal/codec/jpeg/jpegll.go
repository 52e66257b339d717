package jpeg

import (
	"encoding/binary"

	"github.com/echonode/echonode/dicomio/internal/fault"
	"github.com/echonode/echonode/dicomio/pixel"
	"github.com/echonode/echonode/dicomio/tag"
)

// decodeLossless decodes process 14 (ITU-T T.81 annex H), Huffman coded,
// 2 to 16 bits, all seven predictors, into dst, whose geometry is set.
func decodeLossless(b []byte, h Header, dst *pixel.Frame) error {
	if dst.Bits != 8 && dst.Bits != 16 {
		return fault.New("jpeg lossless", tag.PixelData, -1, fault.ErrMismatch, "%d bits allocated", dst.Bits)
	}
	for i := range h.IDs {
		if h.H[i] != h.H[0] || h.V[i] != h.V[0] {
			return fault.New("jpeg lossless", tag.PixelData, -1, fault.ErrUnsupported, "subsampled components")
		}
	}
	return scans(b, h, func(s *scan) (int, error) { return losslessScan(s, h, dst) })
}

// losslessScan decodes the components of one scan.
func losslessScan(s *scan, h Header, dst *pixel.Frame) (int, error) {
	bad := func(kind error, why string) (int, error) {
		return 0, fault.New("jpeg lossless", tag.PixelData, int64(s.base), kind, "%s", why)
	}
	if s.ss < 1 || s.ss > 7 || s.al >= h.Precision {
		return bad(fault.ErrCodestream, "predictor or point transform")
	}
	for _, t := range s.dc {
		if t == nil {
			return bad(fault.ErrCodestream, "a Huffman table is missing")
		}
	}
	w, rows, nc := h.Columns, h.Rows, len(s.comps)
	if s.interval%w != 0 {
		return bad(fault.ErrUnsupported, "a restart interval that is not a whole number of rows")
	}
	start := int32(1) << uint(h.Precision-s.al-1)
	r := &bitReader{b: s.data}
	// The components of a pixel lie side by side; the row above is kept.
	cur, up := make([]int32, w*nc), make([]int32, w*nc)
	restart, first := 0, true
	for y := range rows {
		if s.interval > 0 && y > 0 && y*w%s.interval == 0 {
			if !r.restart(restart) {
				return bad(fault.ErrCodestream, "no restart marker")
			}
			restart++
			first = true
		}
		if !r.differences(cur, s.dc) {
			if r.exhausted() {
				return bad(fault.ErrTruncated, "entropy-coded data")
			}
			return bad(fault.ErrCodestream, "a Huffman code")
		}
		if r.exhausted() {
			return bad(fault.ErrTruncated, "entropy-coded data")
		}
		predictor := s.ss
		for c := range nc {
			if first {
				cur[c] = (cur[c] + start) & 0xFFFF
			} else {
				cur[c] = (cur[c] + up[c]) & 0xFFFF
			}
		}
		if first {
			predictor = 1
		}
		undoPrediction(cur, up, nc, predictor)
		for i, c := range s.comps {
			StoreRow(dst, y, c, cur[i:], nc, uint(s.al))
		}
		cur, up = up, cur
		first = false
	}
	return r.at, nil
}

// undoPrediction turns the differences in cur, but for those of the first
// pixel, into samples (H.1.2.1). up is the row above; nc components alternate.
func undoPrediction(cur, up []int32, nc, predictor int) {
	up = up[:len(cur)]
	left, corner := cur[:len(cur)-nc], up[:len(cur)-nc]
	cur, up = cur[nc:], up[nc:]
	up, corner, left = up[:len(cur)], corner[:len(cur)], left[:len(cur)]
	switch predictor {
	case 1:
		for k, d := range cur {
			cur[k] = (d + left[k]) & 0xFFFF
		}
	case 2:
		for k, d := range cur {
			cur[k] = (d + up[k]) & 0xFFFF
		}
	case 3:
		for k, d := range cur {
			cur[k] = (d + corner[k]) & 0xFFFF
		}
	case 4:
		for k, d := range cur {
			cur[k] = (d + left[k] + up[k] - corner[k]) & 0xFFFF
		}
	case 5:
		for k, d := range cur {
			cur[k] = (d + left[k] + (up[k]-corner[k])>>1) & 0xFFFF
		}
	case 6:
		for k, d := range cur {
			cur[k] = (d + up[k] + (left[k]-corner[k])>>1) & 0xFFFF
		}
	case 7:
		for k, d := range cur {
			cur[k] = (d + (left[k]+up[k])>>1) & 0xFFFF
		}
	}
}

// StoreRow writes a decoded row of component c. Its samples are step apart.
func StoreRow(dst *pixel.Frame, y, c int, row []int32, step int, shift uint) {
	n, w := dst.Samples, dst.Columns
	if dst.Bits == 8 {
		p := dst.Data[y*w*n+c:]
		for x := range w {
			p[x*n] = uint8(row[x*step] << shift)
		}
		return
	}
	p := dst.Data[2*(y*w*n+c):]
	for x := range w {
		binary.LittleEndian.PutUint16(p[2*x*n:], uint16(row[x*step]<<shift))
	}
}
