package rle

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/echonode/echonode/dicomio/internal/fault"
	"github.com/echonode/echonode/dicomio/pixel"
)

// A header has room for 15 segments (PS3.5 G.5): 3 samples of 32 bits are 12 of
// them. Samples that need more have no RLE, whatever the header says and whether
// or not something follows it.
func TestSegments(t *testing.T) {
	for _, c := range []struct {
		samples, bits int
		want          error
	}{
		{1, 8, nil}, {3, 8, nil}, {3, 32, nil}, {1, 64, nil},
		{4, 32, fault.ErrMismatch}, {2, 64, fault.ErrMismatch}, {3, 64, fault.ErrMismatch}, {4, 64, fault.ErrMismatch},
	} {
		// One pixel: each segment is a literal of its one byte, which is its number.
		n := c.samples * c.bits / 8
		frame := binary.LittleEndian.AppendUint32(nil, uint32(n))
		for i := range 15 {
			frame = binary.LittleEndian.AppendUint32(frame, uint32(64+2*i))
		}
		for i := range n {
			frame = append(frame, 0, byte(i))
		}
		in := pixel.Info{Rows: 1, Columns: 1, Samples: c.samples, BitsAllocated: c.bits, BitsStored: c.bits, HighBit: c.bits - 1, Frames: 1}
		dst := &pixel.Frame{Rows: 1, Columns: 1, Samples: c.samples, Bits: c.bits, Data: make([]byte, n)}
		if c.want != nil {
			// A header that is all there is, and one that goes on behind its end.
			alone, long := binary.LittleEndian.AppendUint32(nil, uint32(n)), binary.LittleEndian.AppendUint32(nil, uint32(n))
			for range n {
				alone, long = binary.LittleEndian.AppendUint32(alone, 64), binary.LittleEndian.AppendUint32(long, uint32(4+4*n))
			}
			for _, frame := range [][]byte{alone[:64], append(long, 0, 0)} {
				if err := (Codec{}).Decode(frame, in, dst, 1<<20); !errors.Is(err, c.want) {
					t.Errorf("%d samples of %d bits in %d bytes: %v", c.samples, c.bits, len(frame), err)
				}
			}
		}
		if err := (Codec{}).Decode(frame, in, dst, 1<<20); !errors.Is(err, c.want) {
			t.Errorf("%d samples of %d bits: %v", c.samples, c.bits, err)
		}
		// The highest byte of the first sample comes first, the lowest of the last one last.
		if size := c.bits / 8; c.want == nil && (dst.Data[size-1] != 0 || dst.Data[n-size] != byte(n-1)) {
			t.Errorf("%d samples of %d bits: % x", c.samples, c.bits, dst.Data)
		}
	}
}

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
