//go:build cgo && !purego

package pixel

/*
#cgo CFLAGS: -O3
#include <stdint.h>
#include <stddef.h>

// en_sum leaves in tot the weighted sum of rows: first and last count in part
// (of 256), the full rows from inner on count 128 each.
static void en_sum(const uint8_t *restrict first, const uint8_t *restrict last, const uint8_t *restrict inner, ptrdiff_t stride, int full,
		uint32_t wt, uint32_t wb, uint32_t *restrict tot, int n) {
	uint16_t t = (uint16_t)wt, b = (uint16_t)wb;
	switch (full) {
	case 0:
		for (int x = 0; x < n; x++) tot[x] = (uint32_t)((uint16_t)(first[x] * t) >> 1) + ((uint16_t)(last[x] * b) >> 1);
		return;
	case 1:
		for (int x = 0; x < n; x++) tot[x] = (uint32_t)((uint16_t)(first[x] * t) >> 1) + ((uint16_t)(last[x] * b) >> 1) + ((uint32_t)inner[x] << 7);
		return;
	case 2: {
		const uint8_t *restrict r1 = inner + stride;
		for (int x = 0; x < n; x++)
			tot[x] = (uint32_t)((uint16_t)(first[x] * t) >> 1) + ((uint16_t)(last[x] * b) >> 1) + ((uint32_t)(uint16_t)(inner[x] + r1[x]) << 7);
		return;
	}
	case 3: {
		const uint8_t *restrict r1 = inner + stride, *restrict r2 = r1 + stride;
		for (int x = 0; x < n; x++)
			tot[x] = (uint32_t)((uint16_t)(first[x] * t) >> 1) + ((uint16_t)(last[x] * b) >> 1) + ((uint32_t)(uint16_t)(inner[x] + r1[x] + r2[x]) << 7);
		return;
	}
	}
	for (int x = 0; x < n; x++) tot[x] = (uint32_t)((uint16_t)(first[x] * t) >> 1) + ((uint16_t)(last[x] * b) >> 1);
	for (int k = 0; k < full; k++, inner += stride) {
		for (int x = 0; x < n; x++) tot[x] += (uint32_t)inner[x] << 7;
	}
}

// en_columns averages the sums over the columns of each pixel.
static void en_columns(uint8_t *restrict out, int w, const uint32_t *restrict tot, int sw, double scale) {
	int step = sw / w, rest = sw % w, x = 0, frac = 0;
	for (int i = 0; i < w; i++) {
		int x0 = x, f0 = frac;
		x += step;
		frac += rest;
		if (frac >= w) { frac -= w; x++; }
		uint64_t s = 0;
		for (int k = x0; k < x; k++) s += tot[k];
		s = s * (uint64_t)w + (uint64_t)tot[x] * (uint64_t)frac - (uint64_t)tot[x0] * (uint64_t)f0;
		out[i] = (uint8_t)((double)(int64_t)s * scale + 0.5);
	}
}
*/
import "C"

import "unsafe"

// resampleRows is the loop of ResampleArea with the kernels in C, which the
// compiler vectorises; the arithmetic is that of resampleGo.
func resampleRows(out []byte, outStride, w, h int, pix []byte, stride, sw, sh int) {
	r := resamplers.Get().(*resampler)
	defer resamplers.Put(r)
	if sh/h > 1<<15 {
		// Sums of a column would not fit 32 bits.
		resampleGo(out, outStride, w, h, pix, stride, sw, sh)
		return
	}
	if cap(r.tall) < sw+1 {
		r.tall = make([]uint32, sw+1)
	}
	tot := r.tall[:sw+1]
	tot[sw] = 0
	at := func(y int) *C.uint8_t { return (*C.uint8_t)(unsafe.Pointer(&pix[y*stride])) }
	for y := range h {
		y0, y1, full, wTop, wBottom := rowSpan(y*sh, (y+1)*sh, h)
		// A row that does not count is replaced by one that exists.
		inner := min(y0+1, sh-1)
		first, last := max(y0, 0), min(y1, sh-1)
		C.en_sum(at(first), at(last), at(inner), C.ptrdiff_t(stride), C.int(full), C.uint32_t(wTop), C.uint32_t(wBottom),
			(*C.uint32_t)(unsafe.Pointer(&tot[0])), C.int(sw))
		scale := 2 / (float64(full*256+wTop+wBottom) * float64(sw))
		C.en_columns((*C.uint8_t)(unsafe.Pointer(&out[y*outStride])), C.int(w), (*C.uint32_t)(unsafe.Pointer(&tot[0])), C.int(sw), C.double(scale))
	}
}
