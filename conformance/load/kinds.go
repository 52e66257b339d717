package main

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"

	"github.com/echonode/echonode/dicomio"
)

// Sizes of the objects.
type Sizes struct {
	Inflated  int // bytes of a deflated data set
	Elements  int // empty elements
	Padding   int // zero bytes
	J2KSide   int // rows and columns of JPEG 2000 frames
	J2KFrames int
	Side      int // rows and columns of RLE and JPEG frames
	Frames    int // of an RLE, JPEG or video cine
	Video     int // rows and columns of video frames
	Pause     int // ms between the objects of an association
}

// harmless are the sizes in the repository.
var harmless = Sizes{Inflated: 32 << 20, Elements: 100_000, Padding: 1 << 20, J2KSide: 1024, J2KFrames: 40, Side: 1024, Frames: 40, Video: 480, Pause: 100}

// kind is one way to cost a lot.
type kind struct {
	name, syntax string
	pause        time.Duration
	oneStudy     bool   // all its objects are of one study per association
	rows, cols   int    // 0: no pixel description
	frames       int    // 0: none
	tail         []byte // what follows the identity and description
}

// object is one object of a kind: what differs between them, and what is
// shared.
type object struct {
	sop  string
	head []byte
	tail []byte
}

func (o object) size() int64 { return int64(len(o.head) + len(o.tail)) }
func (o object) reader() io.Reader {
	return io.MultiReader(bytes.NewReader(o.head), bytes.NewReader(o.tail))
}

func (k *kind) bytes() int { return len(k.tail) }

// object makes an object of the kind.
func (k *kind) object(study, sop string) object {
	var b bytes.Buffer
	text := func(group, element uint16, vr, v string) {
		if len(v)%2 == 1 {
			v += " "
			if vr == "UI" {
				v = v[:len(v)-1] + "\x00"
			}
		}
		_ = binary.Write(&b, binary.LittleEndian, []uint16{group, element})
		b.WriteString(vr)
		_ = binary.Write(&b, binary.LittleEndian, uint16(len(v)))
		b.WriteString(v)
	}
	number := func(group, element uint16, v int) {
		text(group, element, "US", string([]byte{byte(v), byte(v >> 8)}))
	}
	text(8, 0x16, "UI", uid.UltrasoundMultiFrameImageStorage)
	text(8, 0x18, "UI", sop)
	text(8, 0x60, "CS", "US")
	text(0x10, 0x10, "PN", "Load^"+k.name)
	text(0x10, 0x20, "LO", "LOAD")
	text(0x18, 0x1063, "DS", "33")
	text(0x20, 0x0D, "UI", study)
	text(0x20, 0x0E, "UI", newUID("series", study))
	if k.rows > 0 {
		number(0x28, 2, 1)
		text(0x28, 4, "CS", "MONOCHROME2")
		text(0x28, 8, "IS", fmt.Sprint(k.frames))
		number(0x28, 0x10, k.rows)
		number(0x28, 0x11, k.cols)
		number(0x28, 0x100, 8)
		number(0x28, 0x101, 8)
		number(0x28, 0x102, 7)
		number(0x28, 0x103, 0)
	}
	head := b.Bytes()
	if k.syntax == uid.DeflatedExplicitVRLittleEndian {
		// A flushed stream and another one after it are one stream.
		var z bytes.Buffer
		w, _ := flate.NewWriter(&z, flate.BestSpeed)
		_, _ = w.Write(head)
		_ = w.Flush()
		head = z.Bytes()
	}
	return object{sop, head, k.tail}
}

// pixels is the header of Pixel Data of a length.
func pixels(n int) []byte {
	return append([]byte("\xE0\x7F\x10\x00OB\x00\x00"), byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
}

// encapsulated is Pixel Data of so many frames, all alike.
func encapsulated(frame []byte, frames int) []byte {
	if len(frame)%2 == 1 {
		frame = append(frame, 0)
	}
	item := func(b []byte) []byte {
		return append([]byte{0xFE, 0xFF, 0x00, 0xE0, byte(len(b)), byte(len(b) >> 8), byte(len(b) >> 16), byte(len(b) >> 24)}, b...)
	}
	out := append(pixels(-1), item(nil)...)
	one := item(frame)
	for range frames {
		out = append(out, one...)
	}
	return append(out, 0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0)
}

func makeKinds(s Sizes, dir string) ([]*kind, error) {
	pause := time.Duration(s.Pause) * time.Millisecond
	zeros, err := deflated(s.Inflated)
	if err != nil {
		return nil, err
	}
	flat, err := flatJPEG(s.Side)
	if err != nil {
		return nil, err
	}
	kinds := []*kind{
		{name: "deflate", syntax: uid.DeflatedExplicitVRLittleEndian, tail: zeros},
		{name: "elements", syntax: uid.ExplicitVRLittleEndian, tail: bytes.Repeat([]byte("\x29\x00\x10\x00LO\x00\x00"), s.Elements)},
		{name: "padding", syntax: uid.ExplicitVRLittleEndian, rows: 64, cols: 64, frames: 1,
			tail: append(append(pixels(4096), make([]byte, 4096)...), make([]byte, s.Padding)...)},
		{name: "j2k", syntax: uid.JPEG2000Lossless, rows: s.J2KSide, cols: s.J2KSide, frames: s.J2KFrames, tail: encapsulated(emptyJ2K(s.J2KSide), s.J2KFrames)},
		{name: "rle", syntax: uid.RLELossless, rows: s.Side, cols: s.Side, frames: s.Frames, tail: encapsulated(runs(s.Side*s.Side), s.Frames)},
		{name: "jpeg", syntax: uid.JPEGBaseline8Bit, rows: s.Side, cols: s.Side, frames: s.Frames, tail: encapsulated(flat, s.Frames)},
		{name: "loops", syntax: uid.ExplicitVRLittleEndian, rows: 32, cols: 32, frames: 1, tail: append(pixels(1024), make([]byte, 1024)...), oneStudy: true},
	}
	stream, err := flatVideo(s.Video, s.Frames, dir)
	if err != nil {
		return nil, err
	}
	kinds = append(kinds, &kind{name: "video", syntax: uid.MPEG2MPHL, rows: s.Video, cols: s.Video, frames: s.Frames, tail: encapsulated(stream, 1)})
	for _, k := range kinds {
		k.pause = pause
	}
	kinds[6].pause = pause / 5
	return kinds, nil
}

// deflated is the rest of a deflated data set: one value of zeros.
func deflated(n int) ([]byte, error) {
	var z bytes.Buffer
	w, err := flate.NewWriter(&z, flate.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(pixels(n)); err != nil {
		return nil, err
	}
	block := make([]byte, 1<<20)
	for left := n; left > 0; left -= len(block) {
		if _, err := w.Write(block[:min(left, len(block))]); err != nil {
			return nil, err
		}
	}
	return z.Bytes(), w.Close()
}

// emptyJ2K is a JPEG 2000 codestream (ITU-T T.800 annex A) of a square picture
// with one tile, no decomposition and one packet, which is empty.
func emptyJ2K(side int) []byte {
	var b bytes.Buffer
	put := func(v ...any) {
		for _, x := range v {
			_ = binary.Write(&b, binary.BigEndian, x)
		}
	}
	n := uint32(side)
	put(uint16(0xFF4F))                                                                                                        // SOC
	put(uint16(0xFF51), uint16(41), uint16(0), n, n, uint32(0), uint32(0), n, n, uint32(0), uint32(0), uint16(1))              // SIZ
	put(uint8(7), uint8(1), uint8(1))                                                                                          // 8 bits, not subsampled
	put(uint16(0xFF52), uint16(12), uint8(0), uint8(0), uint16(1), uint8(0), uint8(0), uint8(4), uint8(4), uint8(0), uint8(1)) // COD
	put(uint16(0xFF5C), uint16(4), uint8(0x40), uint8(8<<3))                                                                   // QCD, reversible
	put(uint16(0xFF90), uint16(10), uint16(0), uint32(15), uint8(0), uint8(1))                                                 // SOT
	put(uint16(0xFF93), uint8(0))                                                                                              // SOD, the packet
	put(uint16(0xFFD9))                                                                                                        // EOC
	return b.Bytes()
}

// runs is an RLE frame (PS3.5 annex G) of n equal bytes.
func runs(n int) []byte {
	b := make([]byte, 64)
	b[0], b[4] = 1, 64
	for ; n > 0; n -= 128 {
		b = append(b, byte(257-min(n, 128)), 9)
	}
	return b
}

func flatJPEG(side int) ([]byte, error) {
	img := image.NewGray(image.Rect(0, 0, side, side))
	for i := range img.Pix {
		img.Pix[i] = color.Gray{Y: 60}.Y
	}
	var b bytes.Buffer
	err := jpeg.Encode(&b, img, nil)
	return b.Bytes(), err
}

func flatVideo(side, frames int, dir string) ([]byte, error) {
	path := filepath.Join(dir, "flat.m2v")
	out, err := exec.Command("ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", fmt.Sprintf("color=size=%dx%d:rate=25:color=gray", side, side),
		"-frames:v", fmt.Sprint(frames), "-c:v", "mpeg2video", "-f", "mpeg2video", path).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("ffmpeg: %w: %s", err, out)
	}
	return os.ReadFile(path)
}

// newUID is a UID of constant length made of its parts.
func newUID(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return fmt.Sprintf("2.25.1%s", zeroPad(new(big.Int).Mod(new(big.Int).SetBytes(sum[:]), new(big.Int).Exp(big.NewInt(10), big.NewInt(38), nil)).String(), 38))
}

// renamed copies a file as an object of another study.
func renamed(from, to, study, sop string) (err error) {
	f, err := dicomio.Open(from, dicomio.Options{Strict: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	f.DataSet.SetString(tag.StudyInstanceUID, study).SetString(tag.SOPInstanceUID, sop).SetString(tag.SeriesInstanceUID, newUID("series", study))
	f.DataSet.SetString(tag.PatientID, "GOOD").SetString(tag.PatientName, "Good^Study")
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	return errors.Join(dicomio.Write(out, f.DataSet, dicomio.WriteOptions{TransferSyntax: f.TransferSyntax}), out.Close())
}

// zeroPad fills a number up to n digits.
func zeroPad(s string, n int) string { return strings.Repeat("0", max(n-len(s), 0)) + s }
