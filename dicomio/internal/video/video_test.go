package video

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/echonode/echonode/dicomio/uid"
)

// What ffmpeg wrote becomes a line that is the same from run to run and that a
// terminal can show.
func TestCleanComplaint(t *testing.T) {
	if got := cleanComplaint("[mov,mp4 @ 0x55d0c8a1b2c0] moov atom\n\x1b[31mnot found\xff"); got != "[mov,mp4] moov atom [31mnot found?" {
		t.Errorf("%q", got)
	}
}

// An MP4 file of any order of boxes comes out with its index first, and every
// chunk offset points at the same bytes as before.
func TestIndexFirst(t *testing.T) {
	be := binary.BigEndian
	mk := func(kind string, body ...[]byte) []byte {
		b := append(be.AppendUint32(nil, 0), kind...)
		b = append(b, bytes.Join(body, nil)...)
		be.PutUint32(b, uint32(len(b)))
		return b
	}
	index := func(offsets ...int) []byte {
		stco := be.AppendUint32(be.AppendUint32(nil, 0), uint32(len(offsets)))
		co64 := bytes.Clone(stco)
		for _, o := range offsets {
			stco, co64 = be.AppendUint32(stco, uint32(o)), be.AppendUint64(co64, uint64(o))
		}
		stbl := func(x []byte) []byte { return mk("trak", mk("mdia", mk("minf", mk("stbl", x)))) }
		return mk("moov", mk("mvhd", make([]byte, 12)), stbl(mk("stco", stco)), stbl(mk("co64", co64)))
	}
	ftyp, free := mk("ftyp", []byte("isomiso2")), mk("free", make([]byte, 5))
	first, second := mk("mdat", []byte("AAAAaaaa")), mk("mdat", []byte("BBBBbbbb"))
	chunks := []string{"AAAA", "aaaa", "BBBB"}
	for name, order := range map[string][][]byte{
		"index at the end": {ftyp, free, first, second, nil},
		"in the middle":    {ftyp, first, nil, second, free},
		"no file type":     {first, free, second, nil},
		"first already":    {ftyp, nil, first, second},
		"a padding byte":   {ftyp, first, second, nil, {0}},
	} {
		plain := bytes.Join(order, nil)
		build := func(at []int) []byte {
			var b []byte
			for _, o := range order {
				if o == nil {
					o = index(at...)
				}
				b = append(b, o...)
			}
			return b
		}
		blank := build([]int{0, 0, 0})
		var at []int
		for _, c := range chunks {
			at = append(at, bytes.Index(blank, []byte(c)))
		}
		src := build(at)
		r, err := indexFirst(bytes.NewReader(src), int64(len(src)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := io.ReadAll(r)
		if err != nil || len(got) < len(plain) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
			continue
		}
		if bytes.Index(got, []byte("moov")) > bytes.Index(got, []byte("mdat")) {
			t.Errorf("%s: the index is not first", name)
		}
		for _, x := range []struct {
			kind string
			size int
		}{{"stco", 4}, {"co64", 8}} {
			table := got[bytes.Index(got, []byte(x.kind))+12:]
			for i, c := range chunks {
				o := int(be.Uint32(table[i*x.size+x.size-4:]))
				if o+4 > len(got) || string(got[o:o+4]) != c {
					t.Errorf("%s, %s: chunk %d points at %q, want %q", name, x.kind, i, got[o:min(o+4, len(got))], c)
				}
			}
		}
	}
	for name, src := range map[string][]byte{
		"no index":       slices.Concat(ftyp, first),
		"a long box":     append(slices.Concat(ftyp, first), "\x00\xFF\x00\x00moov"...),
		"a short table":  slices.Concat(ftyp, first, mk("moov", mk("trak", mk("mdia", mk("minf", mk("stbl", mk("stco", []byte{0, 0, 0, 0, 0, 0, 1, 0}))))))),
		"a chunk beyond": slices.Concat(ftyp, first, index(100000)),
	} {
		if _, err := indexFirst(bytes.NewReader(src), int64(len(src))); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// FuzzIndexFirst: whatever bytes an MP4 file has, moving its index ends without
// a panic and gives at most the bytes that were there.
func FuzzIndexFirst(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x10ftypisom\x00\x00\x00\x00\x00\x00\x00\x0cmdatAAAA" +
		"\x00\x00\x00\x38moov\x00\x00\x00\x30trak\x00\x00\x00\x28mdia" +
		"\x00\x00\x00\x20minf\x00\x00\x00\x18stbl\x00\x00\x00\x14stco\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x18"))
	f.Add([]byte("\x00\x00\x00\x01mdat\x00\x00\x00\x00\x00\x00\x00\x10\x00\x00\x00\x00moov"))
	f.Add([]byte("\x00\x00\x00\x08mdat\x00\x00\x00\x08moov\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := indexFirst(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		n, err := io.Copy(io.Discard, r)
		if err != nil || n > int64(len(b)) {
			t.Errorf("%d of %d bytes, %v", n, len(b), err)
		}
	})
}

// cutOff cannot be read from an offset on.
type cutOff struct {
	io.ReaderAt
	from int64
}

func (c cutOff) ReadAt(b []byte, off int64) (int, error) {
	if off+int64(len(b)) > c.from {
		return 0, syscall.EIO
	}
	return c.ReaderAt.ReadAt(b, off)
}

// A stream that cannot be read to its end at the moment is not one that ends early.
func TestUnreadableIsNotShort(t *testing.T) {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("no ffmpeg here")
	}
	made, err := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=320x240:rate=25:duration=4",
		"-c:v", "mpeg2video", "-b:v", "2M", "-f", "mpeg2video", "pipe:1").Output()
	if err != nil {
		t.Fatal(err)
	}
	syntax, _ := uid.LookupSyntax(uid.MPEG2MPML)
	s := Stream{Size: int64(len(made)), Syntax: syntax, Rows: 240, Columns: 320, MaxFrame: 1 << 20, MaxFrames: 200, Time: time.Minute}
	for _, c := range []struct {
		from int64
		want error
	}{{s.Size, nil}, {s.Size / 2, syscall.EIO}, {100, syscall.EIO}} {
		s.Source = cutOff{bytes.NewReader(made), c.from}
		d := New(t.Context(), s, 100)
		b := make([]byte, 320*240)
		if err := d.Frame(99, true, b); !errors.Is(err, c.want) {
			t.Errorf("readable up to %d of %d: %v", c.from, s.Size, err)
		}
		d.Close()
	}
}
