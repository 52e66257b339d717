//go:build !cgo || purego

package pixel

// resampleRows is the loop of ResampleArea.
func resampleRows(out []byte, outStride, w, h int, pix []byte, stride, sw, sh int) {
	resampleGo(out, outStride, w, h, pix, stride, sw, sh)
}
