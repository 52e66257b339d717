package dicomio

import (
	"bytes"
	"encoding/binary"
	"image"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/echonode/echonode/dicomio/pixel"
	"github.com/echonode/echonode/dicomio/tag"
)

// exactRGB is the inverse of the equations of PS3.3 C.7.6.3.1.2, in the
// coefficients of ITU-R BT.601 that they round, not yet limited to 0 to 255.
func exactRGB(y, cb, cr float64) [3]float64 {
	return [3]float64{
		y + 2*(1-0.299)*(cr-128),
		y - 2*(1-0.114)*0.114/0.587*(cb-128) - 2*(1-0.299)*0.299/0.587*(cr-128),
		y + 2*(1-0.114)*(cb-128),
	}
}

// Native YBR_FULL is the exact value, rounded to nearest.
func TestYBRFullIsRounded(t *testing.T) {
	// Worked: Y 100, Cb 90, Cr 200 gives R 100 + 1.402*72 = 200.944,
	// G 100 + 0.344136*38 - 0.714136*72 = 61.659, B 100 - 1.772*38 = 32.664.
	if r, g, b := pixel.YBRFull(100, 90, 200); r != 201 || g != 62 || b != 33 {
		t.Errorf("worked example: %d %d %d", r, g, b)
	}
	for _, y := range []int{0, 1, 100, 128, 254, 255} {
		for cb := range 256 {
			for cr := range 256 {
				r, g, b := pixel.YBRFull(uint8(y), uint8(cb), uint8(cr))
				for i, got := range []uint8{r, g, b} {
					want := max(0, min(exactRGB(float64(y), float64(cb), float64(cr))[i], 255))
					// 65536ths of the fixed point may tip a half.
					if d := math.Abs(float64(got) - want); d > 0.503 {
						t.Fatalf("%d %d %d: %d, exactly %.3f", y, cb, cr, got, want)
					}
				}
			}
		}
	}
	// 16 bits: gray stays gray, and colours are those of 8 bits.
	f := &Frame{Rows: 1, Columns: 2, Samples: 3, Bits: 16, Stored: 16, HighBit: 15, Photometric: "YBR_FULL"}
	for _, v := range []uint16{0x8080, 0x8000, 0x8000, 100 << 8, 90 << 8, 200 << 8} {
		f.Data = binary.LittleEndian.AppendUint16(f.Data, v)
	}
	got := image.NewRGBA(image.Rect(0, 0, 2, 1))
	if err := (pixel.Display{}).RGB(f, got); err != nil {
		t.Fatal(err)
	}
	if want := []byte{128, 128, 128, 255, 200, 61, 33, 255}; !bytes.Equal(got.Pix, want) {
		t.Errorf("16 bits: %v", got.Pix)
	}
}

// What dcmtk makes of native YBR_FULL: it centres chroma at 127.5 and cuts the
// fraction off, where PS3.3 C.7.6.3.1.2 has 128. It is up to 1.9 off the exact
// value and ours up to 0.5, so the two may differ by 2.
func TestYBRFullOfDcmtk(t *testing.T) {
	if _, err := exec.LookPath("dcm2pnm"); err != nil {
		t.Skip("dcm2pnm is not installed")
	}
	pix := make([]byte, 0, 3<<16)
	for cb := range 256 {
		for cr := range 256 {
			pix = append(pix, 128, byte(cb), byte(cr))
		}
	}
	d := syntheticBase(1, 3, 8, 8, "YBR_FULL").SetInt(tag.Rows, 256).SetInt(tag.Columns, 256)
	var b bytes.Buffer
	if err := Write(&b, d, WriteOptions{Pixels: FrameBytes([][]byte{pix})}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ybr.dcm")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("dcm2pnm", "+op", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	_, _, theirs, ok := readPPM(out)
	if !ok {
		t.Fatalf("%d bytes", len(out))
	}
	fr, err := readBytes(t, b.Bytes(), Options{}).Frames()
	if err != nil {
		t.Fatal(err)
	}
	var ours image.RGBA
	if err := fr.RGB(0, &ours); err != nil {
		t.Fatal(err)
	}
	worstOurs, worstTheirs, apart := 0.0, 0.0, 0
	for k := range 1 << 16 {
		exact := exactRGB(float64(pix[3*k]), float64(pix[3*k+1]), float64(pix[3*k+2]))
		for i, want := range exact {
			want = max(0, min(want, 255))
			o, p := ours.Pix[4*k+i], theirs[3*k+i]
			worstOurs = max(worstOurs, math.Abs(float64(o)-want))
			worstTheirs = max(worstTheirs, math.Abs(float64(p)-want))
			apart = max(apart, int(o)-int(p), int(p)-int(o))
		}
	}
	t.Logf("off the exact value: %.3f here, %.3f dcmtk; apart %d", worstOurs, worstTheirs, apart)
	if worstOurs > 0.503 || apart > 2 {
		t.Errorf("off the exact value: %.3f here, %.3f dcmtk; apart %d", worstOurs, worstTheirs, apart)
	}
}
