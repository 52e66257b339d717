//go:build !cgo || purego

package jpeg

import (
	"bytes"
	"strings"
	"testing"
)

// Each scan of a stream passes over all blocks: a frame of a few bytes a scan is
// refused before it is decoded, the larger the frame the sooner.
func TestTooManyScans(t *testing.T) {
	head := []byte{0xFF, 0xD8, 0xFF, 0xC2, 0, 11, 8, 0, 8, 0, 8, 1, 1, 0x11, 0}
	scan := []byte{0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 63, 0, 0xFF, 0x00, 0xFF, 0xD0}
	for _, c := range []struct {
		scans, w, h, comps int
		want               bool
	}{
		{10, 8, 8, 1, false}, {100, 8, 8, 1, false}, {101, 8, 8, 1, true},
		{10, 10000, 10000, 3, false}, {11, 10000, 10000, 3, true},
	} {
		b := append(append(bytes.Clone(head), bytes.Repeat(scan, c.scans)...), 0xFF, 0xD9)
		if got := tooManyScans(b, c.w, c.h, c.comps); got != c.want {
			t.Errorf("%d scans of %dx%d with %d components: %v", c.scans, c.w, c.h, c.comps, got)
		}
	}
	many := append(append(bytes.Clone(head), bytes.Repeat(scan, 101)...), 0xFF, 0xD9)
	if err := decode8(many, 8, 8, 1, false, Gray, make([]byte, 64), 8, 1<<20); err == nil || !strings.Contains(err.Error(), "too many scans") {
		t.Errorf("error %v", err)
	}
}
