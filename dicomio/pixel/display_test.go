package pixel

import (
	"encoding/binary"
	"fmt"
	"testing"
)

// Windows and rescale map deep pixels to 8 bits.
func TestWindow(t *testing.T) {
	f := Frame{Rows: 1, Columns: 5, Samples: 1, Bits: 16, Stored: 12, HighBit: 11, Photometric: "MONOCHROME2",
		Data: []byte{0, 0, 100, 0, 0xC8, 0, 0x2C, 1, 0xFF, 0x0F}}
	var got [5]uint8
	Window{Slope: 1, Center: 200, Width: 201, Given: true}.gray(&f, func(k int, g uint8) { got[k] = g })
	// The window spans 99.5 to 299.5: 100 -> 0.6, 200 -> 128.1.
	if want := [5]uint8{0, 1, 128, 255, 255}; got != want {
		t.Errorf("window: %v, want %v", got, want)
	}
}

// A segmented palette: discrete, linear and indirect segments (PS3.3 C.7.9.2).
func TestSegmentedPalette(t *testing.T) {
	words := []byte{
		0, 0, 2, 0, 10, 0, 20, 0, // discrete: 10 20
		1, 0, 4, 0, 60, 0, // linear to 60 in 4 steps: 30 40 50 60
		2, 0, 1, 0, 0, 0, 0, 0, // one segment again from offset 0: 10 20
	}
	got, err := PaletteSegments(words, 8, 16, binary.LittleEndian)
	if err != nil {
		t.Fatal(err)
	}
	if want := []uint16{10, 20, 30, 40, 50, 60, 10, 20}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", got, want)
	}
	if _, err := PaletteSegments([]byte{1, 0, 4, 0, 60, 0}, 8, 16, binary.LittleEndian); err == nil {
		t.Error("a linear segment first is accepted")
	}
}
