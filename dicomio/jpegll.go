package dicomio

import "encoding/binary"

// decodeJPEGLossless decodes process 14 (ITU-T T.81 annex H), Huffman coded,
// 2 to 16 bits, all seven predictors, into dst, whose geometry is set.
func decodeJPEGLossless(b []byte, dst *Frame) error {
	h, err := parseJPEG(b)
	if err != nil {
		return err
	}
	if dst.Bits != 8 && dst.Bits != 16 {
		return fail("jpeg lossless", tagPixels, -1, ErrMismatch, "%d bits allocated", dst.Bits)
	}
	for i := range h.ids {
		if h.h[i] != h.h[0] || h.v[i] != h.v[0] {
			return fail("jpeg lossless", tagPixels, -1, ErrUnsupported, "subsampled components")
		}
	}
	return jpegScans(b, h, func(s *jpegScan) (int, error) { return losslessScan(s, h, dst) })
}

// losslessScan decodes the components of one scan.
func losslessScan(s *jpegScan, h jpegHeader, dst *Frame) (int, error) {
	bad := func(kind error, why string) (int, error) {
		return 0, fail("jpeg lossless", tagPixels, int64(s.base), kind, "%s", why)
	}
	if s.ss < 1 || s.ss > 7 || s.al >= h.precision {
		return bad(ErrCodestream, "predictor or point transform")
	}
	for _, t := range s.dc {
		if t == nil {
			return bad(ErrCodestream, "a Huffman table is missing")
		}
	}
	w, rows, nc := h.cols, h.rows, len(s.comps)
	if s.interval%w != 0 {
		return bad(ErrUnsupported, "a restart interval that is not a whole number of rows")
	}
	start := 1 << uint(h.precision-s.al-1)
	r := &bitReader{b: s.data}
	// Rows with one border column; one pair per component.
	lines := make([][]int32, 2*nc)
	for i := range lines {
		lines[i] = make([]int32, w)
	}
	diffs := make([][]int32, nc)
	for i := range diffs {
		diffs[i] = s.dc[i].differences()
	}
	restart, first := 0, true
	for y := range rows {
		if s.interval > 0 && y > 0 && y*w%s.interval == 0 {
			if !r.restart(restart) {
				return bad(ErrCodestream, "no restart marker")
			}
			restart++
			first = true
		}
		for x := range w {
			for i := range nc {
				diff, ok := r.difference(s.dc[i], diffs[i])
				if !ok {
					if r.exhausted() {
						return bad(ErrTruncated, "entropy-coded data")
					}
					return bad(ErrCodestream, "a Huffman code")
				}
				cur, up := lines[2*i], lines[2*i+1]
				var p int
				switch {
				case first && x == 0:
					p = start
				case first:
					p = int(cur[x-1])
				case x == 0:
					p = int(up[0])
				default:
					ra, rb, rc := int(cur[x-1]), int(up[x]), int(up[x-1])
					switch s.ss {
					case 1:
						p = ra
					case 2:
						p = rb
					case 3:
						p = rc
					case 4:
						p = ra + rb - rc
					case 5:
						p = ra + (rb-rc)>>1
					case 6:
						p = rb + (ra-rc)>>1
					case 7:
						p = (ra + rb) >> 1
					}
				}
				cur[x] = int32((p + diff) & 0xFFFF)
			}
		}
		if r.exhausted() {
			return bad(ErrTruncated, "entropy-coded data")
		}
		for i, c := range s.comps {
			storeRow(dst, y, c, lines[2*i], uint(s.al))
			lines[2*i], lines[2*i+1] = lines[2*i+1], lines[2*i]
		}
		first = false
	}
	return r.at, nil
}

// storeRow writes a decoded row of one component.
func storeRow(dst *Frame, y, c int, row []int32, shift uint) {
	n := dst.Samples
	if dst.Bits == 8 {
		p := dst.Data[y*dst.Columns*n+c:]
		for x, v := range row {
			p[x*n] = uint8(v << shift)
		}
		return
	}
	p := dst.Data[2*(y*dst.Columns*n+c):]
	for x, v := range row {
		binary.LittleEndian.PutUint16(p[2*x*n:], uint16(v<<shift))
	}
}
