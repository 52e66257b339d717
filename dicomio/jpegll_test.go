package dicomio

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"testing"
)

// encodeLossless is a plain process 14 encoder for tests: eight-bit codes for
// all 17 categories, interleaved components, any predictor, point transform 0.
func encodeLossless(samples []uint16, w, h, nc, precision, predictor, restart int) []byte {
	b := []byte{0xFF, 0xD8, 0xFF, 0xC4, 0, 19 + 17, 0x00}
	counts := make([]byte, 16)
	counts[7] = 17 // codes of eight bits
	b = append(b, counts...)
	for k := range 17 {
		b = append(b, byte(k))
	}
	sof := []byte{byte(precision), byte(h >> 8), byte(h), byte(w >> 8), byte(w), byte(nc)}
	sos := []byte{byte(nc)}
	for c := range nc {
		sof = append(sof, byte(c+1), 0x11, 0)
		sos = append(sos, byte(c+1), 0)
	}
	seg := func(m byte, p []byte) {
		b = append(b, 0xFF, m)
		b = binary.BigEndian.AppendUint16(b, uint16(len(p)+2))
		b = append(b, p...)
	}
	seg(0xC3, sof)
	if restart > 0 {
		seg(0xDD, binary.BigEndian.AppendUint16(nil, uint16(restart)))
	}
	seg(0xDA, append(sos, byte(predictor), 0, 0))
	var acc uint64
	n := 0
	put := func(v, k int) {
		acc = acc<<uint(k) | uint64(v)&(1<<uint(k)-1)
		for n += k; n >= 8; n -= 8 {
			c := byte(acc >> uint(n-8))
			if b = append(b, c); c == 0xFF {
				b = append(b, 0)
			}
		}
	}
	flush := func() {
		if n > 0 {
			put(1<<uint(8-n)-1, 8-n)
		}
	}
	at := func(x, y, c int) int { return int(samples[(y*w+x)*nc+c]) }
	marker, first := 0, true
	for y := range h {
		if restart > 0 && y > 0 && y*w%restart == 0 {
			flush()
			b = append(b, 0xFF, byte(0xD0+marker&7))
			marker++
			first = true
		}
		for x := range w {
			for c := range nc {
				p := 0
				switch {
				case first && x == 0:
					p = 1 << uint(precision-1)
				case first:
					p = at(x-1, y, c)
				case x == 0:
					p = at(0, y-1, c)
				default:
					ra, rb, rc := at(x-1, y, c), at(x, y-1, c), at(x-1, y-1, c)
					p = []int{0, ra, rb, rc, ra + rb - rc, ra + (rb-rc)>>1, rb + (ra-rc)>>1, (ra + rb) >> 1}[predictor]
				}
				d := int(int16(at(x, y, c) - p))
				if d == -32768 {
					put(16, 8)
					continue
				}
				k := bits.Len(uint(max(d, -d)))
				put(k, 8)
				if d < 0 {
					d += 1<<uint(k) - 1
				}
				put(d, k)
			}
		}
		first = false
	}
	flush()
	return append(b, 0xFF, 0xD9)
}

// Every predictor, precision, component count and restart interval comes back.
func TestJPEGLosslessRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	const w, h = 21, 13
	for predictor := 1; predictor <= 7; predictor++ {
		for _, precision := range []int{2, 8, 12, 16} {
			for _, nc := range []int{1, 3} {
				for _, restart := range []int{0, w, 4 * w} {
					name := fmt.Sprintf("predictor %d, %d bits, %d components, restart %d", predictor, precision, nc, restart)
					samples := make([]uint16, w*h*nc)
					for i := range samples {
						samples[i] = uint16(rng.UintN(1 << precision))
						if i%7 < 4 && i > nc {
							samples[i] = samples[i-nc]
						}
					}
					d := Frame{Rows: h, Columns: w, Samples: nc, Bits: 8}
					if precision > 8 {
						d.Bits = 16
					}
					d.Stored, d.HighBit = d.Bits, d.Bits-1
					d.Data = make([]byte, w*h*nc*d.Bits/8)
					b := encodeLossless(samples, w, h, nc, precision, predictor, restart)
					if err := decodeJPEGLossless(b, &d); err != nil {
						t.Fatalf("%s: %v", name, err)
					}
					for i, want := range samples {
						if got := d.value(i); got != int64(want) {
							t.Fatalf("%s: sample %d is %d, want %d", name, i, got, want)
						}
					}
				}
			}
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
