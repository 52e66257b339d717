package cli

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/image/tiff"

	"github.com/echonode/echonode/dicomio"
)

// Pictures that hold more than one: a TIFF of several pages, as programs for images
// write loops, and the animated kinds of PNG and WebP.

// movesAsPicture reports whether a file with the name of a picture holds several. What
// cannot be read is none.
func movesAsPicture(path string) bool {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".tif", ".tiff":
		pages, one, err := tiffPages(path)
		return err == nil && len(pages) > 1 && one
	case ".png":
		return animatedPNG(path)
	}
	return false
}

// maxPages bounds how many pages of a TIFF are looked for.
const maxPages = 100_000

// tiffPages are where the directories of a TIFF's pages begin; those that hold the
// picture before them once more, smaller, or its mask are no pages. oneSize says that
// all have the size of the first, as the frames of a loop do.
func tiffPages(path string) (pages []uint32, oneSize bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, false, err
	}
	defer f.Close() // read only
	var head [8]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return nil, false, err
	}
	var order binary.ByteOrder = binary.LittleEndian
	switch string(head[:4]) {
	case "II*\x00":
	case "MM\x00*":
		order = binary.BigEndian
	default:
		return nil, false, errors.New("no TIFF")
	}
	info, err := f.Stat()
	if err != nil {
		return nil, false, err
	}
	oneSize = true
	var first [2]uint32
	left := info.Size() // of what directories that do not overlap can hold
	seen := map[uint32]bool{}
	for at := order.Uint32(head[4:]); at != 0 && !seen[at] && len(seen) < maxPages; {
		seen[at] = true
		var count [2]byte
		if _, err := f.ReadAt(count[:], int64(at)); err != nil {
			return pages, oneSize, err
		}
		entries := make([]byte, 12*int(order.Uint16(count[:]))+4)
		if left -= int64(len(entries)); left < 0 {
			return pages, oneSize, errors.New("directories that lie over each other")
		}
		if _, err := f.ReadAt(entries, int64(at)+2); err != nil {
			return pages, oneSize, err
		}
		kind, size := uint32(0), [2]uint32{} // NewSubfileType (254): 1 reduced, 4 a mask
		for i := 0; i+12 < len(entries); i += 12 {
			value := order.Uint32(entries[i+8:])
			if order.Uint16(entries[i+2:]) == 3 { // SHORT
				value = uint32(order.Uint16(entries[i+8:]))
			}
			switch order.Uint16(entries[i:]) {
			case 254:
				kind = value
			case 256:
				size[0] = value
			case 257:
				size[1] = value
			}
		}
		if kind&5 == 0 {
			if len(pages) == 0 {
				first = size
			}
			oneSize = oneSize && size == first
			pages = append(pages, at)
		}
		at = order.Uint32(entries[len(entries)-4:])
	}
	return pages, oneSize, nil
}

// page is a TIFF of which a given page is the first.
type page struct {
	io.ReaderAt
	at uint32
}

func (p page) ReadAt(b []byte, off int64) (int, error) {
	n, err := p.ReaderAt.ReadAt(b, off)
	if off < 8 && off+int64(n) > 4 {
		var head [8]byte
		if _, err := p.ReaderAt.ReadAt(head[:], 0); err != nil {
			return 0, err
		}
		if head[0] == 'I' {
			binary.LittleEndian.PutUint32(head[4:], p.at)
		} else {
			binary.BigEndian.PutUint32(head[4:], p.at)
		}
		copy(b[:n], head[off:])
	}
	return n, err
}

// Read is for the decoder's type; it reads at places.
func (p page) Read([]byte) (int, error) { return 0, errors.New("read at a place") }

// stackToDICOM writes a TIFF of several pages as one ultrasound object; see toDICOM.
func stackToDICOM(ctx context.Context, path, dir, sum string, ds *dicomio.DataSet, o mediaSettings) (made, error) {
	pages, _, err := tiffPages(path)
	if err != nil {
		return made{}, err
	}
	f, err := os.Open(path)
	if err != nil {
		return made{}, err
	}
	defer f.Close() // read only
	all := len(pages)
	pages = pages[:min(all, o.frames)]
	c, err := tiff.DecodeConfig(page{f, pages[0]})
	if err != nil {
		return made{}, err
	}
	size := image.Pt(c.Width, c.Height)
	if err := checkSide(size, "a picture"); err != nil {
		return made{}, err
	}
	describeMedia(ds, size, len(pages), o)
	m := made{path: filepath.Join(dir, sum[:32]+".dcm"), frames: all}
	if timeMedia(ds, o.fps); o.fps <= 0 {
		m.timeless = "the pages of a TIFF have no times: give --fps"
	}
	return m, writeMedia(m.path, ds, dicomio.FrameFunc(len(pages), int64(3*size.X*size.Y), func(i int) ([]byte, error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		p := page{f, pages[i]}
		c, err := tiff.DecodeConfig(p)
		if err == nil && (c.Width != size.X || c.Height != size.Y) {
			err = errors.New("a picture of another size than the first")
		}
		var img image.Image
		if err == nil {
			img, err = tiff.Decode(p)
		}
		if err != nil {
			return nil, fmt.Errorf("page %d of %d: %w", i+1, all, err)
		}
		return rgbOf(img), nil
	}))
}

// animatedPNG reports whether a PNG says before its first picture that it holds several.
func animatedPNG(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close() // read only
	var head [8]byte
	if _, err := io.ReadFull(f, head[:]); err != nil || hex.EncodeToString(head[:]) != "89504e470d0a1a0a" {
		return false
	}
	for range 1000 {
		if _, err := io.ReadFull(f, head[:]); err != nil {
			return false
		}
		switch kind := string(head[4:]); kind {
		case "acTL":
			var frames [4]byte
			_, err := io.ReadFull(f, frames[:])
			return err == nil && binary.BigEndian.Uint32(frames[:]) > 1
		case "IDAT", "IEND":
			return false
		}
		if _, err := f.Seek(int64(binary.BigEndian.Uint32(head[:4]))+4, io.SeekCurrent); err != nil {
			return false
		}
	}
	return false
}

// animatedWebP reports whether a WebP file says that it is animated.
func animatedWebP(f io.ReaderAt) bool {
	var head [21]byte
	if n, _ := f.ReadAt(head[:], 0); n < len(head) {
		return false
	}
	return bytes.Equal(head[:4], []byte("RIFF")) && bytes.Equal(head[8:16], []byte("WEBPVP8X")) && head[20]&2 != 0
}
