package jpeg

import (
	"github.com/echonode/echonode/dicomio/internal/fault"
	"github.com/echonode/echonode/dicomio/pixel"

	"github.com/echonode/echonode/dicomio/tag"
)

// decode12 decodes sequential Huffman-coded DCT frames of 8 or 12 bits
// (JPEG Extended, process 2 and 4) that libjpeg-turbo does not: the integer
// transform of libjpeg ("islow"), so that results equal those of its 12-bit
// build.
func decode12(b []byte, h Header, dst *pixel.Frame) error {
	if h.Precision != 12 && h.Precision != 8 || dst.Bits != 16 && dst.Bits != 8 || h.Precision > dst.Bits {
		return fault.New("jpeg", tag.PixelData, -1, fault.ErrUnsupported, "%d-bit DCT", h.Precision)
	}
	for i := range h.IDs {
		if h.H[i] != h.H[0] || h.V[i] != h.V[0] {
			return fault.New("jpeg", tag.PixelData, -1, fault.ErrUnsupported, "%d-bit DCT with subsampled chroma", h.Precision)
		}
	}
	for _, q := range h.quant {
		if q > 3 {
			return fault.New("jpeg", tag.PixelData, -1, fault.ErrCodestream, "a table selector")
		}
	}
	if err := scans(b, h, func(s *scan) (int, error) { return dctScan(s, h, dst) }); err != nil {
		return err
	}
	if dst.Samples == 3 {
		dst.Photometric = "YBR_FULL"
		if h.rgb("YBR_FULL") {
			dst.Photometric = "RGB"
		}
	}
	return nil
}

// dctScan decodes one scan with one block per component and MCU. Spectral
// selection is ignored, as libjpeg does: encoders leave zeros there.
func dctScan(s *scan, h Header, dst *pixel.Frame) (int, error) {
	bad := func(kind error, why string) (int, error) {
		return 0, fault.New("jpeg", tag.PixelData, int64(s.base), kind, "%s", why)
	}
	for i, c := range s.comps {
		if s.dc[i] == nil || s.ac[i] == nil || !s.quantSet[h.quant[c]] {
			return bad(fault.ErrCodestream, "a table is missing")
		}
	}
	var pred [4]int
	r := &bitReader{b: s.data}
	bw, bh := (h.Columns+7)/8, (h.Rows+7)/8
	mcu, restart := 0, 0
	var coef [64]int32
	for by := range bh {
		for bx := range bw {
			if s.interval > 0 && mcu > 0 && mcu%s.interval == 0 {
				if !r.restart(restart) {
					return bad(fault.ErrCodestream, "no restart marker")
				}
				restart++
				pred = [4]int{}
			}
			mcu++
			for i, c := range s.comps {
				if why := dctBlock(r, s.dc[i], s.ac[i], &s.quant[h.quant[c]], &pred[i], &coef); why != "" {
					if r.exhausted() {
						return bad(fault.ErrTruncated, "entropy-coded data")
					}
					return bad(fault.ErrCodestream, why)
				}
				idct(&coef, h.Precision)
				storeBlock(dst, c, bx*8, by*8, &coef)
			}
		}
		if r.exhausted() {
			return bad(fault.ErrTruncated, "entropy-coded data")
		}
	}
	return r.at, nil
}

// dctBlock reads and dequantises one block.
func dctBlock(r *bitReader, dc, ac *huffman, q *[64]uint16, pred *int, coef *[64]int32) string {
	clear(coef[:])
	t := r.decode(dc)
	if t < 0 || t > 15 {
		return "a DC code"
	}
	*pred = int(int32(*pred + r.extend(t)))
	coef[0] = int32(*pred) * int32(q[0])
	for k := 1; k < 64; k++ {
		rs := r.decode(ac)
		if rs < 0 {
			return "an AC code"
		}
		run, size := rs>>4, rs&15
		if size == 0 {
			if run != 15 {
				break
			}
			k += 15
			continue
		}
		k += run
		if k > 63 {
			return "a run past the block"
		}
		z := zigzag[k]
		coef[z] = int32(r.extend(size)) * int32(q[z])
	}
	return ""
}

// storeBlock writes the part of a block that lies inside the frame.
func storeBlock(dst *pixel.Frame, c, x0, y0 int, coef *[64]int32) {
	for y := y0; y < min(y0+8, dst.Rows); y++ {
		for x := x0; x < min(x0+8, dst.Columns); x++ {
			v := coef[(y-y0)*8+x-x0]
			k := (y*dst.Columns+x)*dst.Samples + c
			if dst.Bits == 8 {
				dst.Data[k] = uint8(v)
			} else {
				dst.Data[2*k], dst.Data[2*k+1] = uint8(v), uint8(v>>8)
			}
		}
	}
}

// Constants of the integer transform, 13 fractional bits.
const (
	fix0298631336 = 2446
	fix0390180644 = 3196
	fix0541196100 = 4433
	fix0765366865 = 6270
	fix0899976223 = 7373
	fix1175875602 = 9633
	fix1501321110 = 12299
	fix1847759065 = 15137
	fix1961570560 = 16069
	fix2053119869 = 16819
	fix2562915447 = 20995
	fix3072711026 = 25172
)

// idct transforms a block in place to samples (jidctint.c of libjpeg; two
// guard bits between the passes for 8-bit samples, one for 12-bit ones).
func idct(b *[64]int32, precision int) {
	pass1 := uint(2)
	if precision > 8 {
		pass1 = 1
	}
	var ws [64]int64
	for x := range 8 {
		var in, out [8]int64
		for k := range 8 {
			in[k] = int64(b[k*8+x])
		}
		idct1(&in, &out, 13-pass1)
		for k := range 8 {
			ws[k*8+x] = out[k]
		}
	}
	half, top := int64(1)<<(precision-1), int64(1)<<precision-1
	for y := range 8 {
		var in, out [8]int64
		copy(in[:], ws[y*8:y*8+8])
		idct1(&in, &out, 13+pass1+3)
		for k := range 8 {
			b[y*8+k] = int32(max(0, min(out[k]+half, top)))
		}
	}
}

// idct1 is one pass over eight values; results are rounded and shifted.
func idct1(in, out *[8]int64, shift uint) {
	z1 := (in[2] + in[6]) * fix0541196100
	t2 := z1 - in[6]*fix1847759065
	t3 := z1 + in[2]*fix0765366865
	t0 := (in[0] + in[4]) << 13
	t1 := (in[0] - in[4]) << 13
	t10, t13, t11, t12 := t0+t3, t0-t3, t1+t2, t1-t2

	a0, a1, a2, a3 := in[7], in[5], in[3], in[1]
	y1, y2, y3, y4 := a0+a3, a1+a2, a0+a2, a1+a3
	y5 := (y3 + y4) * fix1175875602
	a0 *= fix0298631336
	a1 *= fix2053119869
	a2 *= fix3072711026
	a3 *= fix1501321110
	y1 *= -fix0899976223
	y2 *= -fix2562915447
	y3 = y3*-fix1961570560 + y5
	y4 = y4*-fix0390180644 + y5
	a0 += y1 + y3
	a1 += y2 + y4
	a2 += y2 + y3
	a3 += y1 + y4

	round := int64(1) << (shift - 1)
	out[0] = (t10 + a3 + round) >> shift
	out[7] = (t10 - a3 + round) >> shift
	out[1] = (t11 + a2 + round) >> shift
	out[6] = (t11 - a2 + round) >> shift
	out[2] = (t12 + a1 + round) >> shift
	out[5] = (t12 - a1 + round) >> shift
	out[3] = (t13 + a0 + round) >> shift
	out[4] = (t13 - a0 + round) >> shift
}
