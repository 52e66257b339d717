package jpeg

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"testing"

	"github.com/echonode/echonode/dicomio/pixel"
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
					d := pixel.Frame{Rows: h, Columns: w, Samples: nc, Bits: 8}
					if precision > 8 {
						d.Bits = 16
					}
					d.Stored, d.HighBit = d.Bits, d.Bits-1
					d.Data = make([]byte, w*h*nc*d.Bits/8)
					b := encodeLossless(samples, w, h, nc, precision, predictor, restart)
					h, err := Parse(b)
					if err != nil {
						t.Fatal(err)
					}
					if err := decodeLossless(b, h, &d); err != nil {
						t.Fatalf("%s: %v", name, err)
					}
					for i, want := range samples {
						if got := d.Value(i); got != int64(want) {
							t.Fatalf("%s: sample %d is %d, want %d", name, i, got, want)
						}
					}
				}
			}
		}
	}
}

// The colour space of a JPEG stream is told by the stream before the header.
func TestJPEGColourRule(t *testing.T) {
	h := func(ids string, sub int, jfif bool, adobe int) Header {
		return Header{IDs: []byte(ids), H: []int{sub, 1, 1}, V: []int{1, 1, 1}, jfif: jfif, adobe: adobe}
	}
	cases := []struct {
		name  string
		h     Header
		photo string
		rgb   bool
	}{
		{"Adobe and header say RGB", h("\x01\x02\x03", 1, false, 0), "RGB", true},
		{"Adobe says RGB, header YBR", h("\x01\x02\x03", 1, false, 0), "YBR_FULL_422", false},
		{"Adobe says RGB, subsampled", h("\x01\x02\x03", 2, false, 0), "RGB", false},
		{"Adobe says YCbCr", h("RGB", 1, false, 1), "RGB", false},
		{"JFIF", h("RGB", 1, true, -1), "RGB", false},
		{"subsampled", h("RGB", 2, false, -1), "RGB", false},
		{"ids", h("RGB", 1, false, -1), "YBR_FULL_422", true},
		{"header RGB", h("\x01\x02\x03", 1, false, -1), "RGB", true},
		{"header YBR", h("\x01\x02\x03", 1, false, -1), "YBR_FULL", false},
	}
	for _, c := range cases {
		if got := c.h.rgb(c.photo); got != c.rgb {
			t.Errorf("%s: RGB %v", c.name, got)
		}
	}
}
