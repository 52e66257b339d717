package dicomio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"io"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/echonode/echonode/dicomio/frames"
	"github.com/echonode/echonode/dicomio/internal/codec/j2k"
	"github.com/echonode/echonode/dicomio/internal/codec/jpeg"
	"github.com/echonode/echonode/dicomio/internal/source"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
)

// fuzzLimits keep one input cheap.
var fuzzLimits = Limits{Nesting: 32, Elements: 20_000, InlineTotal: 4 << 20, Value: 8 << 20, Frame: 4 << 20, Inflated: 8 << 20,
	Frames: 10_000, Video: time.Second}

// fuzzMemory is more than fuzzLimits let one input allocate in all.
const fuzzMemory = 256 << 20

// fuzzTime bounds one input.
const fuzzTime = 2 * time.Second

// fuzzEnd is when an input counts as one without end. The process is ended then,
// so that a fuzzer keeps the input: nothing else ends a decoder's loop.
const fuzzEnd = 2 * time.Minute

// stopwatch says how long the process has worked since the call: a machine that
// does something else meanwhile is not an input's fault. What waits is, after a
// while.
func stopwatch() func() time.Duration {
	worked := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			return 0
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	start, before := time.Now(), worked()
	return func() time.Duration {
		wall := time.Since(start)
		return max(min(wall, worked()-before), wall-time.Minute)
	}
}

// bounded runs fn and fails when it costs too much or leaves an untyped error.
func bounded(t *testing.T, fn func() error) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	end := time.AfterFunc(fuzzEnd, func() { panic("an input without end") })
	defer end.Stop()
	took := stopwatch()
	err := fn()
	spent := took()
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > fuzzMemory {
		t.Errorf("%d bytes allocated", n)
	}
	if spent > fuzzTime {
		t.Errorf("took %v", spent)
	}
	var typed *Error
	if err != nil && !errors.As(err, &typed) {
		t.Errorf("untyped error %T %v", err, err)
	}
}

// useFile exercises everything that reads a parsed file.
func useFile(t *testing.T, f *File, input []byte) error {
	for _, e := range f.DataSet.All() {
		e.strings(f.DataSet.charset())
		e.ints(e.effectiveVR())
		e.floats(e.effectiveVR())
	}
	var out bytes.Buffer
	if cut := f.Truncated(); cut != nil {
		_, err := f.WriteTo(&out)
		_, ferr := f.Frames()
		if !errors.Is(err, cut) || !errors.Is(ferr, cut) || !errors.Is(Write(&out, f.DataSet, WriteOptions{Bare: true}), cut) || out.Len() > 0 {
			t.Errorf("truncated, but rewritten or with frames: %v, %v", err, ferr)
		}
		return cut
	}
	if _, err := f.WriteTo(&out); err != nil || !bytes.Equal(out.Bytes(), input) {
		t.Errorf("rewritten differently: %v", err)
	}
	if f.Syntax.Video {
		return nil // the decoder process is another program
	}
	r, err := f.Frames()
	if err != nil {
		return err
	}
	var g image.Gray
	var c image.RGBA
	if err := r.Gray(0, &g); err != nil {
		return err
	}
	if err := r.RGB(0, &c); err != nil {
		return err
	}
	return r.Gray(r.Len()-1, &g)
}

func FuzzRead(f *testing.F) {
	for _, name := range fixtures(f) {
		f.Add(fixture(f, name), byte(0))
	}
	var sr bytes.Buffer
	if err := Write(&sr, nestedDataSet(), WriteOptions{}); err != nil {
		f.Fatal(err)
	}
	f.Add(sr.Bytes(), byte(1))
	syntaxes := []string{"", uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.DeflatedExplicitVRLittleEndian,
		uid.JPEGBaseline8Bit, uid.RLELossless, "1.2.3"}
	f.Fuzz(func(t *testing.T, b []byte, kind byte) {
		bounded(t, func() error {
			o := Options{Limits: fuzzLimits, TransferSyntax: syntaxes[kind&7], Strict: kind&8 != 0}
			file, err := Read(bytes.NewReader(b), int64(len(b)), o)
			if err != nil {
				return err
			}
			return useFile(t, file, b)
		})
	})
}

// FuzzRewrite checks that what Write makes of a parsed data set reads back
// the same.
func FuzzRewrite(f *testing.F) {
	for _, name := range fixtures(f) {
		f.Add(fixture(f, name), byte(0))
	}
	targets := []string{uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.DeflatedExplicitVRLittleEndian}
	f.Fuzz(func(t *testing.T, b []byte, kind byte) {
		bounded(t, func() error {
			file, err := Read(bytes.NewReader(b), int64(len(b)), Options{Limits: fuzzLimits})
			if err != nil {
				return err
			}
			ts := targets[kind&3]
			var out bytes.Buffer
			if err := Write(&out, file.DataSet, WriteOptions{TransferSyntax: ts, Bare: true}); err != nil {
				return err
			}
			if out.Len() == 0 {
				return nil
			}
			again, err := Read(bytes.NewReader(out.Bytes()), int64(out.Len()), Options{Limits: fuzzLimits, TransferSyntax: ts})
			if err != nil {
				if errors.Is(err, ErrLimit) {
					return nil
				}
				t.Fatalf("what was written is refused: %v", err)
			}
			var twice bytes.Buffer
			if err := Write(&twice, again.DataSet, WriteOptions{TransferSyntax: ts, Bare: true}); err != nil {
				t.Fatalf("written again: %v", err)
			}
			if !bytes.Equal(out.Bytes(), twice.Bytes()) {
				t.Fatal("written again differently")
			}
			return nil
		})
	})
}

// FuzzFragments builds encapsulated pixel data from arbitrary fragments, offset
// tables and frame counts.
func FuzzFragments(f *testing.F) {
	f.Add([]byte{4, 4, 4}, []byte{0, 0, 0, 0, 12, 0, 0, 0}, []byte{}, []byte("\xFF\xD8\xFF1aaa\xFF\xD8\xFF2"), uint16(3), byte(0))
	f.Add([]byte{8, 4}, []byte{}, []byte{0, 0, 0, 0, 0, 0, 0, 0}, []byte("\xFF\x4F\xFF\x51bbbbcccc"), uint16(1), byte(1))
	f.Add([]byte{2, 2, 2, 2}, []byte{0, 0, 0, 0, 20, 0, 0, 0}, []byte{0, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0, 0, 0, 0, 0}, []byte("abcdefgh"), uint16(2), byte(2))
	uids := []string{uid.JPEGBaseline8Bit, uid.JPEG2000, uid.RLELossless, uid.EncapsulatedUncompressedExplicitVRLittleEndian}
	f.Fuzz(func(t *testing.T, lens, bot, eot, data []byte, frames uint16, kind byte) {
		bounded(t, func() error {
			d := syntheticBase(max(int(frames), 1), 1, 8, 8, "MONOCHROME2")
			if len(eot) > 0 {
				d.SetBytes(tagEOT, "OV", eot)
			}
			var b bytes.Buffer
			if err := Write(&b, d, WriteOptions{TransferSyntax: uids[kind&3]}); err != nil {
				return err
			}
			item := func(p []byte) {
				b.Write([]byte{0xFE, 0xFF, 0, 0xE0})
				b.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(p))))
				b.Write(p)
			}
			b.Write([]byte{0xE0, 0x7F, 0x10, 0, 'O', 'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF})
			item(bot)
			want := []byte{}
			for _, n := range lens {
				p := data[:min(int(n), len(data))]
				data = data[len(p):]
				item(p)
				want = append(want, p...)
			}
			b.Write([]byte{0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0})
			file, err := Read(bytes.NewReader(b.Bytes()), int64(b.Len()), Options{Limits: fuzzLimits})
			if err != nil {
				return err
			}
			r, err := file.RawFrames()
			if err != nil {
				return err
			}
			// Frames that are found hold every byte, once and in order.
			var got []byte
			for i := range r.Len() {
				p, err := r.Raw(i)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, p...)
			}
			if !bytes.Equal(got, want) {
				t.Fatalf("%d bytes in %d frames, %d were stored", len(got), r.Len(), len(want))
			}
			return nil
		})
	})
}

// codecSeeds gives the frames of fixtures whose name holds one of the words.
func codecSeeds(f *testing.F, uids ...string) {
	for _, name := range fixtures(f) {
		file := readBytes(f, fixture(f, name), Options{})
		for _, uid := range uids {
			if file.TransferSyntax != uid {
				continue
			}
			r, err := file.Frames()
			if err != nil {
				f.Fatal(err)
			}
			b, err := r.Raw(0)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b, uint16(r.Rows), uint16(r.Columns), byte(r.Info.Samples), byte(r.Info.BitsAllocated))
		}
	}
}

// streamReader reads b as the only frame of its pixel data.
func streamReader(in PixelInfo, syntax string, b []byte, l Limits) (*FrameReader, error) {
	ts, known := uid.LookupSyntax(syntax)
	in.Frames = 1
	return frames.Open(frames.Source{
		Bytes: bytes.NewReader(b), Syntax: ts, Known: known, Info: in, Counted: true,
		Items:  []frames.Span{{}, {N: int64(len(b))}},
		Limits: frames.Limits{Value: l.Value, Frame: l.Frame, Frames: l.Frames, Video: l.Video},
	})
}

// decodeStream decodes b as the only frame of its pixel data.
func decodeStream(in PixelInfo, syntax string, b []byte, dst *Frame) error {
	r, err := streamReader(in, syntax, b, DefaultLimits())
	if err != nil {
		return err
	}
	return r.Decode(0, dst)
}

// fuzzCodec decodes b as a frame of the given syntax with attributes that,
// when follow is set, are taken from the stream as far as limits allow.
func fuzzCodec(f *testing.F, syntax string) {
	f.Fuzz(func(t *testing.T, b []byte, rows, cols uint16, samples, bits byte) {
		in := PixelInfo{Rows: int(rows), Columns: int(cols), Samples: int(samples), BitsAllocated: int(bits), BitsStored: int(bits), HighBit: int(bits) - 1,
			Frames: 1, Photometric: "MONOCHROME2"}
		if h, err := jpeg.Parse(b); err == nil && bits&0x80 == 0 {
			in.Rows, in.Columns, in.Samples = h.Rows, h.Columns, len(h.IDs)
		}
		if in.Rows < 1 || in.Columns < 1 || in.Samples < 1 || in.Samples > 4 || in.Values() > 1<<18 {
			return
		}
		switch in.BitsAllocated {
		case 1, 8, 16, 32, 64:
		default:
			in.BitsAllocated, in.BitsStored, in.HighBit = 16, 16, 15
		}
		if in.Samples == 3 {
			in.Photometric = "YBR_FULL_422"
		}
		r, err := streamReader(in, syntax, b, fuzzLimits.withDefaults())
		if err != nil {
			return
		}
		bounded(t, func() error {
			var d Frame
			if err := r.Decode(0, &d); err != nil {
				return err
			}
			var c image.RGBA
			if err := r.RGB(0, &c); err != nil {
				return err
			}
			var g image.Gray
			return r.Gray(0, &g)
		})
	})
}

func FuzzJPEG(f *testing.F) {
	codecSeeds(f, uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGFullProgressionNonHierarchical1012)
	fuzzCodec(f, uid.JPEGBaseline8Bit)
}

func FuzzJPEGLossless(f *testing.F) {
	codecSeeds(f, uid.JPEGLossless, uid.JPEGLosslessSV1)
	fuzzCodec(f, uid.JPEGLossless)
}

func FuzzJPEGLS(f *testing.F) {
	codecSeeds(f, uid.JPEGLSLossless, uid.JPEGLSNearLossless)
	fuzzCodec(f, uid.JPEGLSLossless)
}

func FuzzJPEG2000(f *testing.F) {
	if !j2k.Available {
		f.Skip("this build has no JPEG 2000")
	}
	codecSeeds(f, uid.JPEG2000Lossless, uid.JPEG2000)
	fuzzCodec(f, uid.JPEG2000)
}

func FuzzRLE(f *testing.F) {
	codecSeeds(f, uid.RLELossless)
	// One pixel in as many segments as its samples have bytes, also in more than
	// the 15 that a header has room for: it goes on behind its end.
	for _, c := range []struct{ samples, bits byte }{{1, 64}, {3, 32}, {4, 32}, {3, 64}} {
		n := int(c.samples) * int(c.bits) / 8
		b := binary.LittleEndian.AppendUint32(nil, uint32(n))
		for range max(n, 15) {
			b = binary.LittleEndian.AppendUint32(b, uint32(max(64, 4+4*n)))
		}
		f.Add(append(b, 0, 0), uint16(1), uint16(1), c.samples, c.bits)
	}
	fuzzCodec(f, uid.RLELossless)
}

// FuzzPalette reads lookup tables, segmented ones included.
func FuzzPalette(f *testing.F) {
	f.Add([]byte{0, 1, 0, 0, 16, 0}, []byte{0, 0, 2, 0, 0, 0, 255, 255, 1, 0, 254, 0, 0, 0}, true, false)
	f.Add([]byte{0, 0, 0, 0, 8, 0}, []byte{0, 2, 0, 255, 2, 1, 0, 0, 0, 0}, true, true)
	f.Fuzz(func(t *testing.T, desc, lut []byte, seg, signed bool) {
		d := NewDataSet()
		for c := range uint16(3) {
			d.SetBytes(tag.New(0x28, 0x1101+c), "US", desc)
			if seg {
				d.SetBytes(tag.New(0x28, 0x1221+c), "OW", lut)
			} else {
				d.SetBytes(tag.New(0x28, 0x1201+c), "OW", lut)
			}
		}
		bounded(t, func() error {
			p, err := readPalette(d, PixelInfo{Signed: signed})
			if err != nil {
				return err
			}
			p.At(-1 << 40)
			p.At(1 << 40)
			return nil
		})
	})
}

// FuzzCharset decodes text under any Specific Character Set.
func FuzzCharset(f *testing.F) {
	f.Add("ISO 2022 IR 6\\ISO 2022 IR 87", []byte("Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B"), "PN")
	f.Add("ISO 2022 IR 13\\ISO 2022 IR 87\\ISO 2022 IR 159", []byte("\xd4\xcf\xc0\xde^\xc0\xdb\xb3"), "LO")
	f.Add("GB18030", []byte("Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab"), "PN")
	f.Add("GB18030", []byte("\x82\x5cx\\b"), "LO")
	f.Add("\\ISO 2022 IR 87", []byte("a\x1b$B2\\\x1b(B\\b"), "LO")
	f.Fuzz(func(t *testing.T, set string, b []byte, vr string) {
		d := NewDataSet().SetBytes(tagCharset, "CS", []byte(set)).SetBytes(tag.PatientComments, "LT", b)
		bounded(t, func() error {
			cs := d.charset()
			if all, first := cs.Decode(b, vr), cs.First(b, vr); all[0] != first {
				t.Errorf("the first of %q is %q", all, first)
			}
			if all, first := d.Strings(tag.PatientComments), d.String(tag.PatientComments); len(all) > 0 && all[0] != first {
				t.Errorf("the first of %q is %q", all, first)
			}
			var out bytes.Buffer
			return Write(&out, d, WriteOptions{Bare: true})
		})
	})
}

var _ io.ReaderAt = (*source.Chunks)(nil)
