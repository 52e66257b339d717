package jpegls

import (
	"encoding/hex"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/echonode/echonode/dicomio/internal/codec/jpeg"
	"github.com/echonode/echonode/dicomio/internal/fault"
	"github.com/echonode/echonode/dicomio/pixel"
)

// The parameter of a Golomb code is the least k with n * 2^k >= a, also where
// that is more than 32 bits hold.
func TestGolombParameter(t *testing.T) {
	for _, c := range []struct {
		n    int32
		a    int64
		want int
	}{
		{1, 1, 0}, {1, 2, 1}, {1, 4, 2}, {3, 4, 1}, {64, 64, 0}, {64, 65, 1},
		{17, 1_539_986_106, 27}, {32768, 1<<30 + 1, 16}, {65535, math.MaxInt32, 16}, {1, math.MaxInt32, 31},
	} {
		if got := golombK(c.n, c.a); got != c.want {
			t.Errorf("n %d, a %d: %d, want %d", c.n, c.a, got, c.want)
		}
	}
}

// Mapped errors are at most the range of the samples, here 256; above it is
// damage. The codes have four zeros, the one, and six bits: 4 * 64 and 0 or 1.
func TestErrorRange(t *testing.T) {
	h := jpeg.Header{Precision: 8, Rows: 1, Columns: 4, IDs: []byte{1}, H: []int{1}, V: []int{1}}
	for _, c := range []struct {
		name   string
		data   []byte
		damage bool
	}{
		{"256", []byte{0b0000_1000, 0b0000_0000, 0, 0, 0, 0, 0, 0}, false},
		{"257", []byte{0b0000_1000, 0b0010_0000, 0, 0, 0, 0, 0, 0}, true},
	} {
		for _, run := range []bool{false, true} {
			d, err := newLS(h, lsPreset{}, 0, 0, []int{0}, c.data, 0)
			if err != nil {
				t.Fatal(err)
			}
			if run {
				d.run[0].a = 64
				d.runError(0, 0)
			} else {
				d.ctx[9].a = 64
				d.regular(9, 0, 0, 0)
			}
			if (d.aborted != nil) != c.damage || c.damage && !errors.Is(d.aborted, fault.ErrCodestream) {
				t.Errorf("%s, at the end of a run %v: %v", c.name, run, d.aborted)
			}
		}
	}
}

// longCodes is a frame of 64 x 1 pixels of 8 bits: a run of none that the sample
// 100 interrupts, and then samples of one context whose codes are as long as
// codes may be: 22 zeros, the one, and k bits. Each makes the sum of errors of the
// context, and with it k, larger: 4, 50, 393 ... 1,539,986,106, where doubling 17
// in 32 bits gave 0, which stayed below the sum for ever.
const longCodes = "ffd8fff7000b080001004001011100ffda0008010100000000000001c6000003800002e000003fe000007ff000003ffe000007ff7800001fff780000" +
	"1fff6400000fff79800001ff7f8800001fff7bc00000ff7fed000003ff7fd6000007ff7fd2000007ff7fe7000003ff7ff940"

// A frame of codes that only grow is damage, and is told at once.
func TestLongCodes(t *testing.T) {
	b, err := hex.DecodeString(longCodes)
	if err != nil {
		t.Fatal(err)
	}
	b = append(b, make([]byte, 40)...)
	in := pixel.Info{Rows: 1, Columns: 64, Samples: 1, BitsAllocated: 8, BitsStored: 8, HighBit: 7, Photometric: "MONOCHROME2", Frames: 1}
	dst := &pixel.Frame{Rows: 1, Columns: 64, Samples: 1, Bits: 8, Stored: 8, HighBit: 7, Data: make([]byte, 64)}
	done := make(chan error, 1)
	go func() { done <- Codec{}.Decode(b, in, dst, 1<<20) }()
	select {
	case err := <-done:
		if !errors.Is(err, fault.ErrCodestream) {
			t.Errorf("%v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("no end")
	}
}
