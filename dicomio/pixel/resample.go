package pixel

import (
	"encoding/binary"
	"image"
	"sync"
)

// resampler holds the buffers of ResampleArea.
type resampler struct {
	prefix []uint64
	tall   []uint32
}

var resamplers = sync.Pool{New: func() any { return new(resampler) }}

// ResampleArea reduces the crop rectangle of src to the whole of dst: every
// destination pixel is the mean of the source area it covers, pixels on its
// border counting in part. The result is within 1 of the exact mean. crop is
// in the coordinates of src and is cut to its bounds; an empty crop clears
// dst. dst and src must not share memory.
//
// Destination pixel x covers source columns from crop.Min.X + x*s to
// crop.Min.X + (x+1)*s, s being crop.Dx() / dst.Dx(), and likewise for rows.
//
// Rows are added eight pixels at a time in the 16-bit lanes of two words;
// columns are then summed by differences of a running total.
func ResampleArea(dst, src *image.Gray, crop image.Rectangle) {
	crop = crop.Intersect(src.Rect)
	w, h := dst.Rect.Dx(), dst.Rect.Dy()
	if w <= 0 || h <= 0 {
		return
	}
	if crop.Empty() {
		for y := 0; y < h; y++ {
			clear(dst.Pix[y*dst.Stride:][:w])
		}
		return
	}
	pix := src.Pix[src.PixOffset(crop.Min.X, crop.Min.Y):]
	out := dst.Pix[dst.PixOffset(dst.Rect.Min.X, dst.Rect.Min.Y):]
	resampleRows(out, dst.Stride, w, h, pix, src.Stride, crop.Dx(), crop.Dy())
}

// resampleGo reduces sw x sh pixels to w x h.
func resampleGo(out []byte, outStride, w, h int, pix []byte, stride, sw, sh int) {
	r := resamplers.Get().(*resampler)
	defer resamplers.Put(r)
	if cap(r.prefix) < sw+9 {
		r.prefix = make([]uint64, sw+9)
	}
	r.prefix = r.prefix[:sw+9]
	for y := range h {
		// Bounds of the row in source rows, in units of 1/h.
		weight := r.sumRows(pix, stride, sw, y*sh, (y+1)*sh, h)
		r.sumColumns(out[y*outStride:][:w], sw, weight)
	}
}

// rowSpan gives the source rows that make up a destination row, from
// top/h to bottom/h: a first row y0 and a last row y1 that count in part, and
// full whole rows between them. Weights are of 256; a weight of 0 means that
// the row does not count. When all lies inside one row, that is y0.
func rowSpan(top, bottom, h int) (y0, y1, full, wTop, wBottom int) {
	y0, y1 = top/h, (bottom-1)/h
	full = y1 - y0 - 1
	switch {
	case full < 0:
		return y0, y0, 0, 256, 0
	case full == 0:
		span := bottom - top
		wTop = (((y0+1)*h-top)*512 + span) / (2 * span)
		return y0, y1, 0, wTop, 256 - wTop
	}
	wTop = (((y0+1)*h-top)*512 + h) / (2 * h)
	wBottom = ((bottom-y1*h)*512 + h) / (2 * h)
	if wTop == 256 {
		// A whole first row goes with the others, which is exact.
		wTop, y0, full = 0, y0-1, full+1
	}
	if wBottom == 256 {
		wBottom, y1, full = 0, y1+1, full+1
	}
	return y0, y1, full, wTop, wBottom
}

// sumRows leaves in r.prefix the running totals over the columns of the
// weighted sum of source rows top/h to bottom/h. A whole row counts 128;
// the result is the sum of the weights with 256 for a whole row.
func (r *resampler) sumRows(pix []byte, stride, sw, top, bottom, h int) int {
	y0, y1, full, top256, bottom256 := rowSpan(top, bottom, h)
	wTop, wBottom := uint64(top256), uint64(bottom256)
	weight := full*256 + top256 + bottom256
	if full > 256 {
		return r.sumManyRows(pix, stride, sw, y0, y1, wTop, wBottom, weight)
	}
	const lanes = 0x00FF00FF00FF00FF
	const half = 0x7FFF7FFF7FFF7FFF
	inner := pix[max(0, (y0+1)*stride):]
	var first, last []byte
	if wTop > 0 {
		first = pix[y0*stride:][:sw]
	}
	if wBottom > 0 {
		last = pix[y1*stride:][:sw]
	}
	prefix := r.prefix
	var total uint64
	prefix[0] = 0
	x := 0
	for ; x+8 <= sw; x += 8 {
		var even, odd, edgeEven, edgeOdd uint64
		for k, o := 0, x; k < full; k, o = k+1, o+stride {
			v := binary.LittleEndian.Uint64(inner[o:])
			even += v & lanes
			odd += v >> 8 & lanes
		}
		if first != nil {
			v := binary.LittleEndian.Uint64(first[x:])
			edgeEven = (v & lanes) * wTop >> 1 & half
			edgeOdd = (v >> 8 & lanes) * wTop >> 1 & half
		}
		if last != nil {
			v := binary.LittleEndian.Uint64(last[x:])
			edgeEven += (v & lanes) * wBottom >> 1 & half
			edgeOdd += (v >> 8 & lanes) * wBottom >> 1 & half
		}
		p := prefix[x+1 : x+9 : x+9]
		total += (even&0xFFFF)<<7 + edgeEven&0xFFFF
		p[0] = total
		total += (odd&0xFFFF)<<7 + edgeOdd&0xFFFF
		p[1] = total
		total += (even>>16&0xFFFF)<<7 + edgeEven>>16&0xFFFF
		p[2] = total
		total += (odd>>16&0xFFFF)<<7 + edgeOdd>>16&0xFFFF
		p[3] = total
		total += (even>>32&0xFFFF)<<7 + edgeEven>>32&0xFFFF
		p[4] = total
		total += (odd>>32&0xFFFF)<<7 + edgeOdd>>32&0xFFFF
		p[5] = total
		total += even>>48<<7 + edgeEven>>48
		p[6] = total
		total += odd>>48<<7 + edgeOdd>>48
		p[7] = total
	}
	for ; x < sw; x++ {
		var s, edge uint64
		for k, o := 0, x; k < full; k, o = k+1, o+stride {
			s += uint64(inner[o])
		}
		if first != nil {
			edge = uint64(first[x]) * wTop >> 1
		}
		if last != nil {
			edge += uint64(last[x]) * wBottom >> 1
		}
		total += s<<7 + edge
		prefix[x+1] = total
	}
	return weight
}

// sumManyRows is sumRows for reductions of more than 256 rows to one.
func (r *resampler) sumManyRows(pix []byte, stride, sw, y0, y1 int, wTop, wBottom uint64, weight int) int {
	if cap(r.tall) < sw {
		r.tall = make([]uint32, sw)
	}
	sum := r.tall[:sw]
	clear(sum)
	for y := y0 + 1; y < y1; y++ {
		row := pix[y*stride:][:sw]
		for x, v := range row {
			sum[x] += uint32(v)
		}
	}
	var total uint64
	r.prefix[0] = 0
	for x, s := range sum {
		edge := uint64(0)
		if wTop > 0 {
			edge = uint64(pix[y0*stride+x]) * wTop >> 1
		}
		if wBottom > 0 {
			edge += uint64(pix[y1*stride+x]) * wBottom >> 1
		}
		total += uint64(s)<<7 + edge
		r.prefix[x+1] = total
	}
	return weight
}

// sumColumns averages the running totals over the columns of each pixel.
func (r *resampler) sumColumns(out []byte, sw, weight int) {
	w := len(out)
	scale := 2 / (float64(weight) * float64(sw))
	prefix := r.prefix
	// Column bounds in units of 1/w: whole part and remainder.
	step, rest := sw/w, sw%w
	x, frac := 0, 0
	before := uint64(0) // total up to the left bound, times w
	for i := range out {
		x += step
		if frac += rest; frac >= w {
			frac -= w
			x++
		}
		at := prefix[x] * uint64(w)
		if frac > 0 {
			at += (prefix[x+1] - prefix[x]) * uint64(frac)
		}
		out[i] = uint8(float64(at-before)*scale + 0.5)
		before = at
	}
}
