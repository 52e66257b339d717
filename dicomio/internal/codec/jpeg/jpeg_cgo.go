//go:build cgo && !purego

package jpeg

/*
#cgo LDFLAGS: -ljpeg
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jpeglib.h>
#include <jerror.h>

typedef struct {
	struct jpeg_error_mgr mgr;
	jmp_buf jump;
	int damaged;   // a warning that means lost data
	int eof;       // the stream ended early
	char text[JMSG_LENGTH_MAX];
} en_error;

static void en_exit(j_common_ptr c) {
	en_error *e = (en_error *)c->err;
	(*c->err->format_message)(c, e->text);
	longjmp(e->jump, 1);
}

static void en_emit(j_common_ptr c, int level) {
	en_error *e = (en_error *)c->err;
	if (level >= 0) return;
	switch (c->err->msg_code) {
	case JWRN_JPEG_EOF:
		e->eof = 1;
		break;
	case JWRN_HIT_MARKER:
	case JWRN_HUFF_BAD_CODE:
	case JWRN_MUST_RESYNC:
	case JWRN_ARITH_BAD_CODE:
	case JWRN_BOGUS_PROGRESSION:
		e->damaged = 1;
		break;
	default:
		return;
	}
	if (!e->text[0]) (*c->err->format_message)(c, e->text);
}

static void en_out(j_common_ptr c) { (void)c; }

// en_progress stops progressive streams with an absurd number of scans.
static void en_progress(j_common_ptr c) {
	j_decompress_ptr d = (j_decompress_ptr)c;
	if (!c->is_decompressor) return;
	// Every scan passes over all blocks: large frames get fewer of them.
	long scans = (1L << 28) / ((long)d->image_width * d->image_height * d->num_components + 1);
	if (scans > 100) scans = 100;
	if (scans < 10) scans = 10; // what cjpeg -progressive writes
	if (d->input_scan_number > scans) {
		en_error *e = (en_error *)c->err;
		strcpy(e->text, "too many scans");
		longjmp(e->jump, 1);
	}
}

// en_decode decodes one frame. space is the colour space of the stream, out
// the one wanted; rows go to dst, stride bytes apart. Returns 0 for success,
// 1 damaged, 2 ended early, 3 another size or number of components.
static int en_decode(const unsigned char *src, unsigned long n, int space, int out,
		int width, int height, int comps, unsigned char *dst, long stride, long memory, char *text) {
	struct jpeg_decompress_struct c;
	struct jpeg_progress_mgr progress;
	en_error e;
	memset(&e, 0, sizeof e);
	c.err = jpeg_std_error(&e.mgr);
	e.mgr.error_exit = en_exit;
	e.mgr.emit_message = en_emit;
	e.mgr.output_message = en_out;
	if (setjmp(e.jump)) {
		jpeg_destroy_decompress(&c);
		snprintf(text, JMSG_LENGTH_MAX, "%s", e.text);
		return e.eof ? 2 : 1;
	}
	jpeg_create_decompress(&c);
	c.mem->max_memory_to_use = memory;
	memset(&progress, 0, sizeof progress);
	progress.progress_monitor = en_progress;
	c.progress = &progress;
	jpeg_mem_src(&c, src, n);
	jpeg_read_header(&c, TRUE);
	if ((int)c.image_width != width || (int)c.image_height != height || c.num_components != comps) {
		snprintf(text, JMSG_LENGTH_MAX, "%ux%u with %d components", c.image_width, c.image_height, c.num_components);
		jpeg_destroy_decompress(&c);
		return 3;
	}
	c.jpeg_color_space = (J_COLOR_SPACE)space;
	c.out_color_space = (J_COLOR_SPACE)out;
	jpeg_start_decompress(&c);
	while (c.output_scanline < c.output_height) {
		JSAMPROW row[4];
		int k = 0;
		while (k < 4 && c.output_scanline + k < c.output_height) {
			row[k] = dst + (long)(c.output_scanline + k) * stride;
			k++;
		}
		jpeg_read_scanlines(&c, row, k);
	}
	jpeg_finish_decompress(&c);
	// A sequential stream may lack its end marker; a progressive one that ends
	// early lacks scans.
	int cut = e.eof && c.progressive_mode;
	jpeg_destroy_decompress(&c);
	snprintf(text, JMSG_LENGTH_MAX, "%s", e.text);
	return cut ? 2 : e.damaged ? 1 : 0;
}

// en_encode encodes RGBX rows as YCbCr 4:2:2 (or gray, comps 1). The result
// is malloc'ed.
static int en_encode(const unsigned char *src, long stride, int width, int height, int comps, int quality,
		unsigned char **out, unsigned long *n, char *text) {
	struct jpeg_compress_struct c;
	en_error e;
	memset(&e, 0, sizeof e);
	c.err = jpeg_std_error(&e.mgr);
	e.mgr.error_exit = en_exit;
	e.mgr.emit_message = en_emit;
	e.mgr.output_message = en_out;
	*out = NULL;
	*n = 0;
	if (setjmp(e.jump)) {
		jpeg_destroy_compress(&c);
		snprintf(text, JMSG_LENGTH_MAX, "%s", e.text);
		return 1;
	}
	jpeg_create_compress(&c);
	jpeg_mem_dest(&c, out, n);
	c.image_width = width;
	c.image_height = height;
	c.input_components = comps;
	c.in_color_space = comps == 1 ? JCS_GRAYSCALE : JCS_EXT_RGBX;
	if (comps != 1) c.input_components = 4;
	jpeg_set_defaults(&c);
	jpeg_set_quality(&c, quality, TRUE);
	c.optimize_coding = TRUE;
	if (comps != 1) {
		c.comp_info[0].h_samp_factor = 2;
		c.comp_info[0].v_samp_factor = 1;
	}
	jpeg_start_compress(&c, TRUE);
	while (c.next_scanline < c.image_height) {
		JSAMPROW row = (JSAMPROW)(src + (long)c.next_scanline * stride);
		jpeg_write_scanlines(&c, &row, 1);
	}
	jpeg_finish_compress(&c);
	jpeg_destroy_compress(&c);
	return 0;
}
*/
import "C"

import (
	"image"
	"unsafe"

	"github.com/echonode/echonode/dicomio/internal/fault"
	"github.com/echonode/echonode/dicomio/tag"
)

// Library names what decodes JPEG in this build.
const Library = "libjpeg-turbo"

// Form is a form of decoded JPEG frames.
type Form int

const (
	Gray Form = iota // luma, one byte
	RGBA             // four bytes, the last 255
	RGB              // three bytes
	Raw              // the components as they are, interleaved
)

// decode8 decodes an 8-bit DCT frame into rows of dst. rgb says that the
// components of a three-component stream are R, G and B.
func decode8(src []byte, w, h, comps int, rgb bool, out Form, dst []byte, stride int, limit int64) error {
	space := C.int(C.JCS_YCbCr)
	switch {
	case comps == 1:
		space = C.JCS_GRAYSCALE
	case comps == 4:
		space = C.JCS_CMYK
	case rgb:
		space = C.JCS_RGB
	}
	to := C.int(C.JCS_GRAYSCALE)
	switch out {
	case RGBA:
		to = C.JCS_EXT_RGBA
	case RGB:
		to = C.JCS_RGB
	case Raw:
		to = space
	}
	per := map[Form]int{Gray: 1, RGBA: 4, RGB: 3, Raw: comps}[out]
	if w <= 0 || h <= 0 || stride < w*per || len(dst) < (h-1)*stride+w*per || len(src) == 0 {
		return fault.New("jpeg", tag.PixelData, -1, fault.ErrCodestream, "%d bytes", len(src))
	}
	var text [C.JMSG_LENGTH_MAX]C.char
	rc := C.en_decode((*C.uchar)(unsafe.Pointer(&src[0])), C.ulong(len(src)), space, to,
		C.int(w), C.int(h), C.int(comps), (*C.uchar)(unsafe.Pointer(&dst[0])), C.long(stride), C.long(4*limit), &text[0])
	switch rc {
	case 0:
		return nil
	case 2:
		return fault.New("jpeg", tag.PixelData, -1, fault.ErrTruncated, "%s", C.GoString(&text[0]))
	case 3:
		return fault.New("jpeg", tag.PixelData, -1, fault.ErrMismatch, "%s, expected %dx%d with %d", C.GoString(&text[0]), w, h, comps)
	}
	return fault.New("jpeg", tag.PixelData, -1, fault.ErrCodestream, "%s", C.GoString(&text[0]))
}

// Encode encodes a picture as JPEG Baseline, YCbCr with 4:2:2 chroma: the
// form of Photometric Interpretation YBR_FULL_422. quality is 1 to 100. Alpha
// is ignored.
func Encode(img *image.RGBA, quality int) ([]byte, error) {
	return encode(img.Pix, img.Stride, img.Rect, quality)
}

// encode checks the geometry and calls the library.
func encode(pix []byte, stride int, r image.Rectangle, quality int) ([]byte, error) {
	const per, comps = 4, 3 // bytes of a pixel of RGBA, components of the stream
	w, h := r.Dx(), r.Dy()
	if w <= 0 || h <= 0 || w > 65535 || h > 65535 || stride < w*per || len(pix) < (h-1)*stride+w*per {
		return nil, fault.New("jpeg encode", tag.PixelData, -1, fault.ErrValue, "a picture of %dx%d", w, h)
	}
	if quality < 1 || quality > 100 {
		return nil, fault.New("jpeg encode", tag.PixelData, -1, fault.ErrValue, "quality %d", quality)
	}
	var out *C.uchar
	var n C.ulong
	var text [C.JMSG_LENGTH_MAX]C.char
	rc := C.en_encode((*C.uchar)(unsafe.Pointer(&pix[0])), C.long(stride), C.int(w), C.int(h), C.int(comps), C.int(quality), &out, &n, &text[0])
	defer C.free(unsafe.Pointer(out))
	if rc != 0 {
		return nil, fault.New("jpeg encode", tag.PixelData, -1, fault.ErrCodestream, "%s", C.GoString(&text[0]))
	}
	return C.GoBytes(unsafe.Pointer(out), C.int(n)), nil
}
