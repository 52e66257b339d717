package rle

import (
	"fmt"
	"testing"
)

// RLE segments of every kind unpack; runs past the frame are cut, missing
// bytes are an error.
func TestUnpackBits(t *testing.T) {
	dst := make([]byte, 10)
	if err := unpackBits([]byte{2, 1, 2, 3, 0xFE, 9, 0x80, 0xFD, 7}, dst, 10, 1); err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(dst), fmt.Sprint([]byte{1, 2, 3, 9, 9, 9, 7, 7, 7, 7}); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for _, src := range [][]byte{{}, {2, 1}, {0xFE}, {0, 1}, {0x80}} {
		if err := unpackBits(src, dst, 10, 1); err == nil {
			t.Errorf("%v: no error", src)
		}
	}
}
