//go:build cgo && !purego

package j2k

/*
#cgo pkg-config: libopenjp2
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <openjpeg.h>

typedef struct { const unsigned char *p; size_t n, at; int past; } en_mem;

static OPJ_SIZE_T en_read(void *buf, OPJ_SIZE_T n, void *user) {
	en_mem *m = user;
	if (m->at >= m->n) { m->past = 1; return (OPJ_SIZE_T)-1; }
	if (n > m->n - m->at) { n = m->n - m->at; }
	memcpy(buf, m->p + m->at, n);
	m->at += n;
	return n;
}
static OPJ_OFF_T en_skip(OPJ_OFF_T n, void *user) {
	en_mem *m = user;
	if (n < 0 || (uint64_t)n > m->n - m->at) { m->at = m->n; m->past = 1; return -1; }
	m->at += n;
	return n;
}
static OPJ_BOOL en_seek(OPJ_OFF_T n, void *user) {
	en_mem *m = user;
	if (n < 0 || (uint64_t)n > m->n) return OPJ_FALSE;
	m->at = n;
	return OPJ_TRUE;
}

typedef struct { char text[256]; int warned; } en_log;
static void en_err(const char *msg, void *user) {
	en_log *l = user;
	if (!l->text[0]) { strncpy(l->text, msg, sizeof l->text - 1); }
}
static void en_warn(const char *msg, void *user) {
	en_log *l = user;
	l->warned++;
	en_err(msg, user);
}

// en_j2k decodes a codestream of known geometry into interleaved samples of
// size bytes, little endian. Returns 0 for success, 1 for damage, 2 when the
// result has another geometry.
static int en_j2k(const unsigned char *src, size_t n, int w, int h, int comps, int size, unsigned char *dst, char *text) {
	en_mem m = { src, n, 0, 0 };
	en_log log;
	memset(&log, 0, sizeof log);
	int rc = 1;
	opj_image_t *img = NULL;
	opj_dparameters_t par;
	opj_set_default_decoder_parameters(&par);
	opj_codec_t *codec = opj_create_decompress(OPJ_CODEC_J2K);
	opj_stream_t *s = opj_stream_create(n < 65536 ? 65536 : (n > 1048576 ? 1048576 : n), OPJ_TRUE);
	if (!codec || !s) goto done;
	opj_set_error_handler(codec, en_err, &log);
	opj_set_warning_handler(codec, en_warn, &log);
	opj_stream_set_read_function(s, en_read);
	opj_stream_set_skip_function(s, en_skip);
	opj_stream_set_seek_function(s, en_seek);
	opj_stream_set_user_data(s, &m, NULL);
	opj_stream_set_user_data_length(s, n);
	if (!opj_setup_decoder(codec, &par)) goto done;
#if OPJ_VERSION_MAJOR > 2 || OPJ_VERSION_MINOR >= 5
	opj_decoder_set_strict_mode(codec, OPJ_TRUE); // always strict before 2.5
#endif
	if (!opj_read_header(s, codec, &img)) goto done;
	if (!opj_decode(codec, s, img)) goto done;
	opj_end_decompress(codec, s);
	rc = 2;
	if ((int)img->numcomps != comps) goto done;
	for (int c = 0; c < comps; c++) {
		if ((int)img->comps[c].w != w || (int)img->comps[c].h != h || !img->comps[c].data) goto done;
	}
	size_t px = (size_t)w * h;
	for (int c = 0; c < comps; c++) {
		const OPJ_INT32 *d = img->comps[c].data;
		unsigned char *o = dst + c * size;
		size_t step = (size_t)comps * size;
		if (size == 1) {
			for (size_t i = 0; i < px; i++, o += step) *o = (unsigned char)d[i];
		} else if (size == 2) {
			for (size_t i = 0; i < px; i++, o += step) { o[0] = (unsigned char)d[i]; o[1] = (unsigned char)(d[i] >> 8); }
		} else {
			for (size_t i = 0; i < px; i++, o += step) {
				for (int k = 0; k < size; k++) o[k] = k < 4 ? (unsigned char)(d[i] >> (8 * k)) : (d[i] < 0 ? 255 : 0);
			}
		}
	}
	rc = 0;
done:
	memcpy(text, log.text, sizeof log.text);
	if (img) opj_image_destroy(img);
	if (s) opj_stream_destroy(s);
	if (codec) opj_destroy_codec(codec);
	return rc;
}
*/
import "C"

import (
	"strings"
	"unsafe"

	"github.com/echonode/echonode/dicomio/internal/fault"
	"github.com/echonode/echonode/dicomio/pixel"
	"github.com/echonode/echonode/dicomio/tag"
)

// Available says that this build decodes JPEG 2000.
const Available = true

// decode decodes a JPEG 2000 or HTJ2K frame with OpenJPEG. The multiple
// component transform, if any, is undone, so the result is RGB then.
func decode(b []byte, dst *pixel.Frame) error {
	b, err := stream(b)
	if err != nil {
		return err
	}
	h, err := parse(b, dst)
	if err != nil {
		return err
	}
	if err := checkTileParts(b, &h); err != nil {
		return err
	}
	var text [256]C.char
	rc := C.en_j2k((*C.uchar)(unsafe.Pointer(&b[0])), C.size_t(len(b)), C.int(dst.Columns), C.int(dst.Rows),
		C.int(dst.Samples), C.int(dst.Bits/8), (*C.uchar)(unsafe.Pointer(&dst.Data[0])), &text[0])
	msg := strings.TrimSpace(C.GoString(&text[0]))
	switch rc {
	case 0:
		return finishJ2K(h, b, dst)
	case 2:
		return fault.New("jpeg 2000", tag.PixelData, -1, fault.ErrMismatch, "%s", msg)
	}
	return fault.New("jpeg 2000", tag.PixelData, -1, fault.ErrCodestream, "%s", msg)
}

// finishJ2K sets what the stream says of its samples.
func finishJ2K(h header, b []byte, dst *pixel.Frame) error {
	if dst.Samples == 3 && (dst.Photometric == "YBR_RCT" || dst.Photometric == "YBR_ICT") {
		dst.Photometric = "RGB"
	}
	return nil
}
