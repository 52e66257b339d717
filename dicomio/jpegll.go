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
	start := int32(1) << uint(h.precision-s.al-1)
	r := &bitReader{b: s.data}
	// The components of a pixel lie side by side; the row above is kept.
	cur, up := make([]int32, w*nc), make([]int32, w*nc)
	restart, first := 0, true
	for y := range rows {
		if s.interval > 0 && y > 0 && y*w%s.interval == 0 {
			if !r.restart(restart) {
				return bad(ErrCodestream, "no restart marker")
			}
			restart++
			first = true
		}
		if !r.differences(cur, s.dc) {
			if r.exhausted() {
				return bad(ErrTruncated, "entropy-coded data")
			}
			return bad(ErrCodestream, "a Huffman code")
		}
		if r.exhausted() {
			return bad(ErrTruncated, "entropy-coded data")
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
			storeRow(dst, y, c, cur[i:], nc, uint(s.al))
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

// storeRow writes a decoded row of component c. Its samples are step apart.
func storeRow(dst *Frame, y, c int, row []int32, step int, shift uint) {
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
