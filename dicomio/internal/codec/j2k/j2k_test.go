package j2k

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/echonode/echonode/dicomio/internal/fault"
	"github.com/echonode/echonode/dicomio/pixel"
)

// A codestream of a few bytes that would make a decoder set up millions of
// precincts is refused before the decoder sees it.
func TestJ2KBlocks(t *testing.T) {
	siz := []byte{0xFF, 0x4F, 0xFF, 0x51, 0, 41, 0, 0}
	for _, v := range []uint32{8000, 8000, 0, 0, 8000, 8000, 0, 0} {
		siz = append(siz, byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
	}
	siz = append(siz, 0, 1, 7, 1, 1)
	stream := func(cod ...byte) []byte {
		b := append(append([]byte(nil), siz...), 0xFF, 0x52, 0, byte(len(cod)+2))
		b = append(b, cod...)
		b = append(b, 0xFF, 0x90, 0, 10, 0, 0, 0, 0, 0, 14, 0, 1, 0xFF, 0x93)
		return append(b, 0xFF, 0xD9)
	}
	d := pixel.Frame{Rows: 8000, Columns: 8000, Samples: 1, Bits: 8}
	for _, c := range []struct {
		name string
		cod  []byte
		want error
	}{
		{"usual", []byte{0, 0, 0, 1, 0, 5, 4, 4, 0, 1}, nil},
		{"precincts of one pixel", []byte{1, 0, 0, 1, 0, 1, 4, 4, 0, 1, 0, 0}, fault.ErrLimit},
		{"blocks of 4x4", []byte{0, 0, 0, 1, 0, 5, 0, 0, 0, 1}, fault.ErrLimit},
		{"blocks too large", []byte{0, 0, 0, 1, 0, 5, 9, 4, 0, 1}, fault.ErrCodestream},
		{"levels", []byte{0, 0, 0, 1, 0, 50, 4, 4, 0, 1}, fault.ErrCodestream},
	} {
		b := stream(c.cod...)
		h, err := parse(b, &d)
		if err != nil {
			t.Fatal(err)
		}
		if err := checkTileParts(b, &h); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// Each byte of a codestream is passed once, however many tile-parts it has: of
// half a million parts of 16 bytes (SOT and a comment of nothing) the headers are
// read to their own ends, not to that of the codestream.
func TestManyTileParts(t *testing.T) {
	part := []byte{0xFF, 0x90, 0, 10, 0, 0, 0, 0, 0, 16, 0, 1, 0xFF, 0x64, 0, 2}
	b := append([]byte{0xFF, 0x4F}, bytes.Repeat(part, 500_000)...)
	b = append(b, 0xFF, 0xD9)
	done := make(chan error, 1)
	go func() {
		done <- checkTileParts(b, &header{tiles: 1, comps: 1, tileW: 8, tileH: 8, dx: 1 << 31, dy: 1 << 31})
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("no end")
	}
}
