//go:build cgo && !purego

package dicomio

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/echonode/echonode/dicomio/internal/codec/j2k"
)

// HTJ2K codestreams that OpenJPH makes decode here to the picture that went in
// (reversible) or to what OpenJPH itself decodes (irreversible, within 1):
// another encoder and another decoder than the one linked here.
func TestHTJ2KAgainstOpenJPH(t *testing.T) {
	for _, tool := range []string{"ojph_compress", "ojph_expand"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed (package openjph-tools)", tool)
		}
	}
	for _, p := range []struct{ samples, top, w, h int }{{1, 255, 131, 77}, {1, 65535, 131, 77}, {1, 4095, 64, 64}, {3, 255, 131, 77}, {3, 255, 600, 430}} {
		for _, opt := range []string{"-reversible true", "-reversible true -num_decomps 2 -block_size {32,32} -prog_order LRCP", "-reversible false -qstep 0.01",
			"-reversible true -colour_trans false"} {
			if p.samples == 1 && strings.Contains(opt, "colour_trans") {
				continue
			}
			t.Run(fmt.Sprintf("%dx%dx%d to %d %s", p.w, p.h, p.samples, p.top, opt), func(t *testing.T) {
				dir := t.TempDir()
				in, code, out := filepath.Join(dir, "in.pnm"), filepath.Join(dir, "x.j2c"), filepath.Join(dir, "out.pnm")
				for _, f := range []*string{&in, &out} {
					*f = strings.Replace(*f, "pnm", map[int]string{1: "pgm", 3: "ppm"}[p.samples], 1)
				}
				picture := smoothPNM(p.samples, p.top, p.w, p.h)
				if err := os.WriteFile(in, picture, 0o600); err != nil {
					t.Fatal(err)
				}
				if msg, err := exec.Command("ojph_compress", append([]string{"-i", in, "-o", code}, strings.Fields(opt)...)...).CombinedOutput(); err != nil {
					t.Fatalf("ojph_compress: %v: %s", err, msg)
				}
				if msg, err := exec.Command("ojph_expand", "-i", code, "-o", out).CombinedOutput(); err != nil {
					t.Fatalf("ojph_expand: %v: %s", err, msg)
				}
				stream, err := os.ReadFile(code)
				if err != nil {
					t.Fatal(err)
				}
				want, err := os.ReadFile(out)
				if err != nil {
					t.Fatal(err)
				}
				reversible := strings.Contains(opt, "reversible true")
				if reversible && !bytes.Equal(pixelsOfPNM(want, p.w, p.h), pixelsOfPNM(picture, p.w, p.h)) {
					t.Fatal("OpenJPH does not give back what it took")
				}
				bits := 8
				if p.top > 255 {
					bits = 16
				}
				got := Frame{Rows: p.h, Columns: p.w, Samples: p.samples, Bits: bits, Stored: bits, HighBit: bits - 1,
					Photometric: map[int]string{1: "MONOCHROME2", 3: "YBR_RCT"}[p.samples], Data: make([]byte, p.w*p.h*p.samples*bits/8)}
				if err := (j2k.Codec{}).Decode(stream, PixelInfo{}, &got, 1<<30); err != nil {
					t.Fatal(err)
				}
				worst := 0
				for k, px := 0, pixelsOfPNM(want, p.w, p.h); k < p.w*p.h*p.samples; k++ {
					v := int(px[k*bits/8])
					if bits == 16 {
						v = int(binary.BigEndian.Uint16(px[2*k:]))
					}
					d := int(got.Value(k)) - v
					worst = max(worst, d, -d)
				}
				if limit := map[bool]int{true: 0, false: 1}[reversible]; worst > limit {
					t.Errorf("%d off OpenJPH", worst)
				}
			})
		}
	}
}

// smoothPNM is a picture of gradients, discs and a little noise.
func smoothPNM(samples, top, w, h int) []byte {
	rng := rand.New(rand.NewPCG(3, 4))
	b := fmt.Appendf(nil, "P%d\n%d %d\n%d\n", map[int]int{1: 5, 3: 6}[samples], w, h, top)
	for y := range h {
		for x := range w {
			for s := range samples {
				v := top * (x + y*(s+1)) / (w + h*(s+1))
				if d := (x-w/2)*(x-w/2) + (y-h/3)*(y-h/3); d < h*h/16 {
					v = top - v
				}
				v = min(max(v+rng.IntN(top/16+1)-top/32, 0), top)
				if top > 255 {
					b = binary.BigEndian.AppendUint16(b, uint16(v))
				} else {
					b = append(b, byte(v))
				}
			}
		}
	}
	return b
}

// pixelsOfPNM leaves the header out.
func pixelsOfPNM(b []byte, w, h int) []byte {
	var kind string
	var top int
	r := bytes.NewReader(b)
	fmt.Fscan(r, &kind, &w, &h, &top)
	r.ReadByte()
	return b[len(b)-r.Len():]
}
