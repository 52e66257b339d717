package dicomio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
)

// mustRead reads a file.
func mustRead(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// bare builds explicit VR little endian bytes from parts: strings are copied.
func bare(parts ...string) []byte { return []byte(strings.Join(parts, "")) }

// class is an element that starts most hand-made data sets.
const class = "\x08\x00\x16\x00UI\x04\x001.2\x00"

// Each input is refused with its kind.
func TestReadRefusals(t *testing.T) {
	deep := class
	for range 100 {
		deep += "\x08\x00\x40\x11SQ\x00\x00\xFF\xFF\xFF\xFF\xFE\xFF\x00\xE0\xFF\xFF\xFF\xFF"
	}
	cases := []struct {
		name string
		b    []byte
		kind error
	}{
		{"empty", nil, ErrNotDICOM},
		{"text", []byte("this is not a DICOM file at all, but a sentence"), ErrNotDICOM},
		{"tag only", []byte(class[:6]), ErrTruncated},
		{"value past the end", bare(class, "\x10\x00\x10\x00PN\x20\x00Doe"), ErrTruncated},
		{"a length that lies", bare(class, "\xE1\x7F\x10\x00OB\x00\x00\xF0\xFF\xFF\x7F"), ErrTruncated},
		{"no sequence delimiter", bare(class, "\x08\x00\x40\x11SQ\x00\x00\xFF\xFF\xFF\xFF"), ErrTruncated},
		{"no item", bare(class, "\x08\x00\x40\x11SQ\x00\x00\x08\x00\x00\x00\x10\x00\x10\x00PN\x00\x00"), ErrMalformed},
		{"item past its sequence", bare(class, "\x08\x00\x40\x11SQ\x00\x00\x08\x00\x00\x00\xFE\xFF\x00\xE0\x10\x00\x00\x00", "\x10\x00\x10\x00PN\x08\x00Doe^John"), ErrMalformed},
		{"element past its item", bare(class, "\x08\x00\x40\x11SQ\x00\x00\x10\x00\x00\x00\xFE\xFF\x00\xE0\x08\x00\x00\x00\x10\x00\x10\x00PN\x08\x00", "\x10\x00\x10\x00PN\x08\x00Doe^John"), ErrMalformed},
		{"nesting", []byte(deep), ErrLimit},
		{"item outside", bare(class, "\xFE\xFF\x00\xE0\x00\x00\x00\x00"), ErrMalformed},
		{"fragment of undefined length", bare(class, "\xE0\x7F\x10\x00OB\x00\x00\xFF\xFF\xFF\xFF\xFE\xFF\x00\xE0\xFF\xFF\xFF\xFF"), ErrMalformed},
		{"no fragment", bare(class, "\xE0\x7F\x10\x00OB\x00\x00\xFF\xFF\xFF\xFF\x08\x00\x16\x00\x00\x00\x00\x00"), ErrMalformed},
	}
	for _, c := range cases {
		_, err := Read(bytes.NewReader(c.b), int64(len(c.b)), Options{Strict: true})
		var typed *Error
		if !errors.Is(err, c.kind) || !errors.As(err, &typed) {
			t.Errorf("%s: %v, want %v", c.name, err, c.kind)
		}
		// Without Strict a data set that is cut is read and says so.
		f, lax := Read(bytes.NewReader(c.b), int64(len(c.b)), Options{})
		if lax == nil {
			if lax = f.Truncated(); !errors.Is(lax, ErrTruncated) {
				t.Errorf("%s: read", c.name)
			}
		}
		if lax.Error() != err.Error() {
			t.Errorf("%s: %v, strict %v", c.name, lax, err)
		}
	}
	// More elements than allowed.
	b := []byte(class)
	for range 50 {
		b = append(b, "\x08\x00\x60\x00CS\x02\x00US"...)
	}
	if _, err := Read(bytes.NewReader(b), int64(len(b)), Options{Limits: Limits{Elements: 20}}); !errors.Is(err, ErrLimit) {
		t.Errorf("elements: %v", err)
	}
	// More inflated bytes than allowed.
	z := fixture(t, "rgb-deflated")
	if _, err := Read(bytes.NewReader(z), int64(len(z)), Options{Limits: Limits{Inflated: 1000}}); !errors.Is(err, ErrLimit) {
		t.Errorf("inflated: %v", err)
	}
	// A reader that gives less than the size promises.
	g := fixture(t, "gray8")
	if _, err := Read(bytes.NewReader(g[:len(g)-100]), int64(len(g)), Options{Strict: true}); !errors.Is(err, ErrTruncated) {
		t.Errorf("short reader: %v", err)
	}
}

// Of a data set that is cut the whole elements are there, the cut one gives an
// error, and nothing of it is written, in no way.
func TestTruncated(t *testing.T) {
	check := func(name string, b []byte, cutTag Tag, at int64) *File {
		t.Helper()
		f := readBytes(t, b, Options{})
		var typed *Error
		if !errors.As(f.Truncated(), &typed) || !errors.Is(typed, ErrTruncated) || typed.Tag != cutTag || typed.Offset != at {
			t.Fatalf("%s: %v, want %v at %d", name, f.Truncated(), cutTag, at)
		}
		if _, err := f.Frames(); !errors.Is(err, typed) {
			t.Errorf("%s: frames: %v", name, err)
		}
		if _, err := f.RawFrames(); !errors.Is(err, typed) {
			t.Errorf("%s: raw frames: %v", name, err)
		}
		var out bytes.Buffer
		if _, err := f.WriteTo(&out); !errors.Is(err, typed) || out.Len() > 0 {
			t.Errorf("%s: WriteTo: %v", name, err)
		}
		for _, d := range []*DataSet{f.DataSet, f.DataSet.Clone()} {
			if err := Write(&out, d, WriteOptions{Bare: true}); !errors.Is(err, typed) || out.Len() > 0 {
				t.Errorf("%s: Write: %v", name, err)
			}
		}
		if e, ok := f.DataSet.Get(cutTag); ok {
			if v, err := e.Bytes(); !errors.Is(err, typed) || v != nil {
				t.Errorf("%s: %d bytes, %v", name, len(v), err)
			}
			if n, err := io.Copy(io.Discard, e.Reader()); !errors.Is(err, typed) || n > 0 {
				t.Errorf("%s: %d bytes, %v", name, n, err)
			}
			c := NewDataSet().CopyFrom(f.DataSet)
			if err := Write(&out, c, WriteOptions{Bare: true, TransferSyntax: f.TransferSyntax}); !errors.Is(err, ErrTruncated) {
				t.Errorf("%s: a copy with the cut element is written: %v", name, err)
			}
		}
		return f
	}
	for _, name := range []string{"gray8", "rgb-jpeg", "gray16-big", "gray8-implicit"} {
		whole := fixture(t, name)
		e, _ := readBytes(t, whole, Options{}).DataSet.Get(tagPixels)
		b := whole[:len(whole)-100]
		at := e.start
		if e.Encapsulated() {
			at = e.frags[len(e.frags)-1].Off - 8
		}
		f := check(name, b, tagPixels, at)
		if got := f.DataSet.String(tag.PatientID); got != "FIXTURE" {
			t.Errorf("%s: %q", name, got)
		}
	}
	check("tag", bare(class, "\x10\x00"), Tag(0), 12)
	check("value", bare(class, "\x10\x00\x10\x00PN\x20\x00Doe"), tag.PatientName, 12)
	f := check("item", bare(class, "\x08\x00\x40\x11SQ\x00\x00\x18\x00\x00\x00\xFE\xFF\x00\xE0\x10\x00\x00\x00", "\x08\x00\x50\x11UI\x04\x001."),
		tag.ReferencedSOPClassUID, 32)
	if f.DataSet.Item(tag.ReferencedImageSequence, 0) == nil {
		t.Error("the cut item is not there")
	}
	// Deflated: the stream is cut, and the data set with it.
	z := fixture(t, "gray8-deflated")
	f = readBytes(t, z[:len(z)-50], Options{})
	if !errors.Is(f.Truncated(), ErrTruncated) || f.DataSet.String(tag.PatientID) != "FIXTURE" {
		t.Errorf("deflated: %v", f.Truncated())
	}
	if _, err := Read(bytes.NewReader(z[:len(z)-50]), int64(len(z)-50), Options{Strict: true}); !errors.Is(err, ErrTruncated) {
		t.Errorf("deflated, strict: %v", err)
	}
}

// What is not DICOM is refused as that, whatever it looks like from its first
// bytes, and never taken for a data set that is cut.
func TestNotDICOM(t *testing.T) {
	pad := strings.Repeat("some more text ", 20)
	cases := map[string]string{
		"text":        pad,
		"HTTP":        "GET /index.html HTTP/1.1\r\nHost: pacs.example.org\r\n\r\n" + pad,
		"HTML":        "<!DOCTYPE html><html>" + pad,
		"JSON":        "{\"a\": 1, \"b\": 2}" + pad,
		"JPEG":        "\xFF\xD8\xFF\xE0\x00\x10JFIF\x00\x01\x02\x00\x00\x64\x00\x64" + pad,
		"PNG":         "\x89PNG\r\n\x1A\n\x00\x00\x00\x0DIHDR\x00\x00\x02\x00\x00\x00\x01\x00\x08\x00" + pad,
		"GIF":         "GIF89a\x10\x00\x10\x00" + pad,
		"BMP":         "BM\x36\x10\x00\x00\x00\x00\x00\x00\x36\x00\x00\x00" + pad,
		"TIFF":        "II*\x00\x08\x00\x00\x00\x0C\x00\x00\x01\x03\x00\x01\x00\x00\x00" + pad,
		"PDF":         "%PDF-1.7\n%\xE2\xE3\xCF\xD3\n" + pad,
		"ZIP":         "PK\x03\x04\x14\x00\x00\x00\x08\x00" + pad,
		"gzip":        "\x1F\x8B\x08\x00\x00\x00\x00\x00\x00\x03" + pad,
		"ELF":         "\x7FELF\x02\x01\x01\x00\x00\x00\x00\x00" + pad,
		"EXE":         "MZ\x90\x00\x03\x00\x00\x00\x04\x00\x00\x00\xFF\xFF" + pad,
		"MP4":         "\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00" + pad,
		"MPEG":        "\x00\x00\x01\xBA\x44\x00\x04\x00\x04\x01" + pad,
		"TLS":         "\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03" + pad,
		"DIMSE PDU":   "\x01\x00\x00\x00\x00\xD0\x00\x01\x00\x00ECHONODE        " + pad,
		"zeros":       strings.Repeat("\x00", 500),
		"ones":        strings.Repeat("\xFF", 500),
		"spaces":      strings.Repeat(" ", 500),
		"NIfTI":       "\x5C\x01\x00\x00" + strings.Repeat("\x00", 400),
		"a command":   "\x00\x00\x00\x00\x04\x00\x00\x00\x38\x00\x00\x00\x00\x00\x02\x00\x12\x00\x00\x001.2.840.10008.1.1\x00" + pad,
		"a byte off":  " " + class + "\x08\x00\x60\x00CS\x02\x00US" + pad,
		"one implied": "\x08\x00\x60\x00\x02\x00\x00\x00US" + pad,
		"descending":  "\x08\x00\x60\x00\x02\x00\x00\x00US\x08\x00\x16\x00\x02\x00\x00\x00US" + pad,
		"group two":   "\x02\x00\x00\x00\x01\x00\x00\x00" + pad,
	}
	for name, s := range cases {
		_, err := Read(strings.NewReader(s), int64(len(s)), Options{})
		var typed *Error
		if !errors.Is(err, ErrNotDICOM) || !errors.As(err, &typed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 512)
	for range 20_000 {
		for i := 0; i < len(b); i += 8 {
			binary.LittleEndian.PutUint64(b[i:], rng.Uint64())
		}
		if rng.IntN(2) == 0 {
			b[1], b[3] = 0, 0 // small groups and elements
		}
		_, err := Read(bytes.NewReader(b), int64(len(b)), Options{})
		if !errors.Is(err, ErrNotDICOM) {
			t.Fatalf("%x: %v", b[:32], err)
		}
	}
}

// Attributes of frames that cannot be are refused before anything is allocated.
func TestFrameRefusals(t *testing.T) {
	cases := []struct {
		name string
		edit func(d *DataSet)
		kind error
	}{
		{"no rows", func(d *DataSet) { d.Delete(tag.Rows) }, ErrValue},
		{"zero rows", func(d *DataSet) { d.SetInt(tag.Rows, 0) }, ErrValue},
		{"rows as text", func(d *DataSet) { d.SetStringVR(tag.Rows, "LO", "many") }, ErrValue},
		{"100 million frames", func(d *DataSet) { d.SetInt(tag.NumberOfFrames, 100_000_000) }, ErrLimit},
		{"pictures for each frame", func(d *DataSet) { d.SetInt(tag.NumberOfFrames, 1) }, ErrFrames},
		{"negative frames", func(d *DataSet) { d.SetInt(tag.NumberOfFrames, -1) }, ErrValue},
		{"larger", func(d *DataSet) { d.SetInt(tag.Rows, 65535).SetInt(tag.Columns, 65535) }, ErrFrames},
		{"bits", func(d *DataSet) { d.SetInt(tag.BitsAllocated, 12) }, ErrUnsupported},
		{"stored bits", func(d *DataSet) { d.SetInt(tag.BitsStored, 16) }, ErrValue},
		{"no pixels", func(d *DataSet) { d.Delete(tagPixels) }, ErrNoPixels},
		{"no palette", func(d *DataSet) { d.SetString(tag.PhotometricInterpretation, "PALETTE COLOR") }, ErrValue},
	}
	for _, c := range cases {
		f := readBytes(t, fixture(t, "gray8"), Options{})
		c.edit(f.DataSet)
		_, err := f.Frames()
		var typed *Error
		if !errors.Is(err, c.kind) || !errors.As(err, &typed) {
			t.Errorf("%s: %v, want %v", c.name, err, c.kind)
		}
	}
	f := readBytes(t, fixture(t, "rgb-jpeg"), Options{Limits: Limits{Frame: 1000}})
	if _, err := f.Frames(); !errors.Is(err, ErrLimit) {
		t.Errorf("frame limit: %v", err)
	}
}

// Pixel data of another number of frames than announced give those that are
// there, and both numbers.
func TestFrameCountDisagrees(t *testing.T) {
	frame := syntheticFrame(0, 1, 8)
	var native bytes.Buffer
	if err := Write(&native, syntheticBase(5, 1, 8, 8, "MONOCHROME2"), WriteOptions{Pixels: FrameBytes([][]byte{frame, frame, frame, frame, frame})}); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name            string
		file            []byte
		announce, holds int
	}{
		{"native, as many", native.Bytes(), 5, 5},
		{"native, one too many", native.Bytes(), 6, 5},
		{"native, far too many", native.Bytes(), 60, 5},
		{"native, two too few", native.Bytes(), 3, 5},
		{"native, none", native.Bytes(), 0, 5},
		{"JPEG, too many", fixture(t, "rgb-jpeg"), 3, 2},
		{"JPEG, too few", fixture(t, "rgb-jpeg"), 1, 2},
		{"RLE, too many", fixture(t, "rgb-rle"), 3, 2},
	}
	for _, c := range cases {
		f := readBytes(t, c.file, Options{})
		if f.DataSet.SetInt(tag.NumberOfFrames, int64(c.announce)); c.announce == 0 {
			f.DataSet.Delete(tag.NumberOfFrames)
		}
		r, err := f.Frames()
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if r.Len() != c.holds || r.Announced != max(c.announce, 1) {
			t.Errorf("%s: %d frames of %d announced", c.name, r.Len(), r.Announced)
		}
		var g image.Gray
		for i := range r.Len() {
			if err := r.Gray(i, &g); err != nil {
				t.Errorf("%s: frame %d: %v", c.name, i, err)
			}
		}
	}
}

// An unknown transfer syntax is read, its frames are found, decoding refused.
func TestUnknownTransferSyntax(t *testing.T) {
	b := bytes.Replace(fixture(t, "rgb-jpeg"), []byte(uid.JPEGBaseline8Bit), []byte("1.2.840.10008.9.9.9.99"), 1)
	f := readBytes(t, b, Options{})
	if f.Known || f.TransferSyntax != "1.2.840.10008.9.9.9.99" {
		t.Fatalf("%q known %v", f.TransferSyntax, f.Known)
	}
	if _, err := f.Frames(); !errors.Is(err, ErrUnsupported) {
		t.Errorf("Frames: %v", err)
	}
	r, err := f.RawFrames()
	if err != nil || r.Len() != 2 {
		t.Fatalf("RawFrames: %v", err)
	}
	if raw, err := r.Raw(1); err != nil || raw[0] != 0xFF {
		t.Errorf("Raw: %v", err)
	}
}

// A data set received over the network has neither preamble nor meta group.
func TestBareDataSets(t *testing.T) {
	for _, name := range []string{"gray8", "gray16-big", "gray8-implicit", "rgb-jpeg", "gray8-deflated"} {
		f := readBytes(t, fixture(t, name), Options{})
		b := fixture(t, name)[f.metaEnd:]
		g := readBytes(t, b, Options{TransferSyntax: f.TransferSyntax})
		if g.Meta.Len() != 0 || g.DataSet.Len() != f.DataSet.Len() || g.TransferSyntax != f.TransferSyntax {
			t.Errorf("%s: %d elements under %s", name, g.DataSet.Len(), g.TransferSyntax)
		}
		if _, err := g.Frames(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var out bytes.Buffer
		if _, err := g.WriteTo(&out); err != nil || !bytes.Equal(out.Bytes(), b) {
			t.Errorf("%s: rewritten differently (%v)", name, err)
		}
		if f.Syntax.Deflated {
			continue
		}
		// Without being told, the encoding is seen from the bytes.
		h := readBytes(t, b, Options{})
		if h.DataSet.Len() != f.DataSet.Len() || h.syntaxOf != f.syntaxOf {
			t.Errorf("%s: guessed %s", name, h.TransferSyntax)
		}
	}
}

// UN of undefined length, and UN of a public sequence, are sequences in
// implicit VR little endian (PS3.5 6.2.2).
func TestUNAsSequence(t *testing.T) {
	item := "\xFE\xFF\x00\xE0\x10\x00\x00\x00" + "\x08\x00\x50\x11\x08\x00\x00\x001.2.3.4\x00"
	private := bare(class, "\x09\x00\x01\x10UN\x00\x00\xFF\xFF\xFF\xFF", item, "\xFE\xFF\xDD\xE0\x00\x00\x00\x00", "\x10\x00\x20\x00LO\x02\x00AB")
	f := readBytes(t, private, Options{})
	if got := f.DataSet.Item(tag.Tag(0x00091001), 0).String(tag.ReferencedSOPClassUID); got != "1.2.3.4" {
		t.Errorf("undefined length: %q", got)
	}
	if f.DataSet.String(tag.PatientID) != "AB" {
		t.Error("the element after it is lost")
	}
	public := bare(class, "\x08\x00\x40\x11UN\x00\x00\x18\x00\x00\x00", item)
	f = readBytes(t, public, Options{})
	if got := f.DataSet.Item(tag.ReferencedImageSequence, 0).String(tag.ReferencedSOPClassUID); got != "1.2.3.4" {
		t.Errorf("defined length: %q", got)
	}
	var out bytes.Buffer
	if _, err := f.WriteTo(&out); err != nil || !bytes.Equal(out.Bytes(), public) {
		t.Errorf("rewritten differently: %v", err)
	}
	// What does not parse stays bytes.
	f = readBytes(t, bare(class, "\x08\x00\x40\x11UN\x00\x00\x0A\x00\x00\x00not a seq."), Options{})
	if b, _ := f.DataSet.Bytes(tag.ReferencedImageSequence); string(b) != "not a seq." {
		t.Errorf("%q", b)
	}
}

// Text in the character sets of PS3.5 annexes H to K, as it is and in ISO_IR 192.
func TestCharacterSets(t *testing.T) {
	cases := []struct{ set, raw, want string }{
		{"ISO_IR 13", "\xd4\xcf\xc0\xde^\xc0\xdb\xb3", "ﾔﾏﾀﾞ^ﾀﾛｳ"},
		{"ISO_IR 166", "\xca\xc1\xaa\xd2\xc2^A", "สมชาย^A"},
		{"\\ISO 2022 IR 159", "Y=\x1b$(D0!\x1b(B^Z", "Y=丂^Z"},
		{"", "Adams^John", "Adams^John"},
		{"ISO_IR 100", "Buc^J\xe9r\xf4me", "Buc^Jérôme"},
		{"ISO_IR 144", "\xbb\xee\xda^\xdb\xee\xd1\xc0", decodeHere("\xbb\xee\xda^\xdb\xee\xd1\xc0")},
		{"ISO_IR 192", "Wang^XiaoDong=王^小東=", "Wang^XiaoDong=王^小東"},
		{"GB18030", "Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab", "Wang^XiaoDong=王^小东"},
		{"\\ISO 2022 IR 87", "Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B", "Yamada^Tarou=山田^太郎=やまだ^たろう"},
		{"ISO 2022 IR 13\\ISO 2022 IR 87", "\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J", "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎"},
		{"\\ISO 2022 IR 149", "Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7", "Hong^Gildong=洪^吉洞"},
		{"\\ISO 2022 IR 58", "Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab", "Zhang^XiaoDong=张^小东"},
	}
	for _, c := range cases {
		d := NewDataSet().SetBytes(tagCharset, "CS", []byte(c.set)).SetBytes(tag.PatientName, "PN", []byte(c.raw))
		if got := d.String(tag.PatientName); got != c.want {
			t.Errorf("%q: %q, want %q", c.set, got, c.want)
		}
		d.SetItems(tag.RequestAttributesSequence, NewDataSet().SetBytes(tag.RequestedProcedureDescription, "LO", []byte(c.raw)))
		if err := d.Recode(); err != nil {
			t.Errorf("%q: %v", c.set, err)
			continue
		}
		d.SetString(tag.SOPClassUID, "1.2.3").SetString(tag.SOPInstanceUID, "1.2.3.4")
		var b bytes.Buffer
		if err := Write(&b, d, WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		again := readBytes(t, b.Bytes(), Options{}).DataSet
		item := strings.TrimRight(again.Item(tag.RequestAttributesSequence, 0).String(tag.RequestedProcedureDescription), "=")
		if got := again.String(tag.PatientName); got != c.want || item != c.want || again.String(tagCharset) != "ISO_IR 192" {
			t.Errorf("%q in ISO_IR 192: %q, in an item %q", c.set, got, item)
		}
	}
	// The second byte of a two-byte character may be a backslash.
	d := NewDataSet().SetBytes(tagCharset, "CS", []byte("\\ISO 2022 IR 87")).SetBytes(tag.OtherPatientNames, "PN", []byte("\x1b$B%\\\x1b(B\\B"))
	if got := d.Strings(tag.OtherPatientNames); len(got) != 2 || got[0] != "ボ" || got[1] != "B" {
		t.Errorf("backslash inside a character: %q", got)
	}
}

// decodeHere decodes ISO 8859-5 by arithmetic: the block of U+0400 starts at
// 0xA0 there.
func decodeHere(s string) string {
	var out []rune
	for _, c := range []byte(s) {
		if c > 0xA0 {
			out = append(out, rune(c)-0xA0+0x400)
		} else {
			out = append(out, rune(c))
		}
	}
	return string(out)
}

// Large values stay in the source; the index is small.
func TestLazyValues(t *testing.T) {
	big := make([]byte, 3<<20)
	d := NewDataSet().SetString(tag.SOPClassUID, uid.UltrasoundImageStorage).SetString(tag.SOPInstanceUID, "1.2.3").
		SetBytes(tag.Tag(0x00091001), "OB", big).SetBytes(tag.Tag(0x00091002), "OB", []byte{1, 2})
	var b bytes.Buffer
	if err := Write(&b, d, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	f := readBytes(t, b.Bytes(), Options{})
	e, _ := f.DataSet.Get(tag.Tag(0x00091001))
	if e.InMemory() || e.Len() != 3<<20 {
		t.Errorf("in memory %v, %d bytes", e.InMemory(), e.Len())
	}
	if v, err := e.Bytes(); err != nil || len(v) != 3<<20 {
		t.Errorf("%d bytes, %v", len(v), err)
	}
	f = readBytes(t, b.Bytes(), Options{Limits: Limits{Value: 1 << 20}})
	e, _ = f.DataSet.Get(tag.Tag(0x00091001))
	if _, err := e.Bytes(); !errors.Is(err, ErrLimit) {
		t.Errorf("over the limit: %v", err)
	}
	if e, _ := f.DataSet.Get(tag.Tag(0x00091002)); !e.InMemory() {
		t.Error("a small value was not loaded")
	}
}

// Fragments are grouped by count, by offset tables and by start codes.
func TestFragmentGrouping(t *testing.T) {
	frag := func(s string) string {
		return "\xFE\xFF\x00\xE0" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(s)))) + s
	}
	offs := func(v ...uint32) string {
		var b []byte
		for _, o := range v {
			b = binary.LittleEndian.AppendUint32(b, o)
		}
		return string(b)
	}
	soi := "\xFF\xD8\xFF\xC0aaaaaa"
	cases := []struct {
		name   string
		frames int
		bot    string
		frags  []string
		want   []string
	}{
		{"one each", 2, "", []string{"aa", "bb"}, []string{"aa", "bb"}},
		{"wrong table, one each", 2, offs(0, 99), []string{"aa", "bb"}, []string{"aa", "bb"}},
		{"one frame", 1, "", []string{"aa", "bb", "cc"}, []string{"aabbcc"}},
		{"table", 2, offs(0, 20), []string{"aa", "bb", "cc"}, []string{"aabb", "cc"}},
		{"start codes", 2, "", []string{soi, "bb", soi}, []string{soi + "bb", soi}},
		{"table that misses, start codes", 2, offs(0, 21), []string{soi, "bb", soi}, []string{soi + "bb", soi}},
		{"nothing tells", 2, "", []string{"aa", "bb", "cc"}, nil},
		{"too few", 3, "", []string{"aa", "bb"}, nil},
		{"empty", 1, "", nil, nil},
	}
	for _, c := range cases {
		var b bytes.Buffer
		if err := Write(&b, syntheticBase(c.frames, 1, 8, 8, "MONOCHROME2"), WriteOptions{TransferSyntax: uid.JPEGBaseline8Bit}); err != nil {
			t.Fatal(err)
		}
		b.WriteString("\xE0\x7F\x10\x00OB\x00\x00\xFF\xFF\xFF\xFF" + frag(c.bot))
		for _, s := range c.frags {
			b.WriteString(frag(s))
		}
		b.WriteString("\xFE\xFF\xDD\xE0\x00\x00\x00\x00")
		r, err := readBytes(t, b.Bytes(), Options{}).Frames()
		if c.want == nil {
			if !errors.Is(err, ErrFrames) {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		for i, want := range c.want {
			if got, err := r.Raw(i); err != nil || string(got) != want {
				t.Errorf("%s: frame %d is %q, %v", c.name, i, got, err)
			}
		}
	}
}

// sparse is a large input of which only the head is not zero.
type sparse struct {
	head []byte
	size int64
	read int64
}

// ReadAt implements io.ReaderAt.
func (s *sparse) ReadAt(p []byte, off int64) (int, error) {
	n := int(min(int64(len(p)), s.size-off))
	clear(p[:n])
	if off < int64(len(s.head)) {
		copy(p[:n], s.head[off:])
	}
	s.read += int64(n)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// The index of a large native cine reads and allocates little.
func TestIndexOfLargeCine(t *testing.T) {
	const frames, w, h = 60, 800, 600
	var b bytes.Buffer
	d := syntheticBase(frames, 3, 8, 8, "RGB").SetInt(tag.Rows, h).SetInt(tag.Columns, w)
	if err := Write(&b, d, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	b.WriteString("\xE0\x7F\x10\x00OW\x00\x00")
	b.Write(binary.LittleEndian.AppendUint32(nil, frames*w*h*3))
	src := &sparse{head: b.Bytes(), size: int64(b.Len()) + frames*w*h*3}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f, err := Read(src, src.size, Options{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := f.Frames()
	runtime.ReadMemStats(&after)
	if err != nil || r.Len() != frames {
		t.Fatal(err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 || src.read > 64<<10 {
		t.Errorf("%d bytes allocated, %d read", n, src.read)
	}
}

// A few bytes behind the pixel data, as some senders leave them, cost no frame
// and are written back; more than that is an element that is cut.
func TestStrayBytesAfterPixels(t *testing.T) {
	for _, name := range []string{"gray8", "rgb-jpeg"} {
		b := fixture(t, name)
		whole := readBytes(t, b, Options{})
		if n := whole.DataSet.elems; n[len(n)-1].Tag != tagPixels {
			t.Fatalf("%s does not end with its pixels", name)
		}
		for _, stray := range []string{"\n", "\x00\x00\x01", "garbage"} {
			f := readBytes(t, append(append([]byte(nil), b...), stray...), Options{Strict: true})
			if err := f.Truncated(); err != nil {
				t.Errorf("%s and %q: %v", name, stray, err)
			}
			decodeAllFrames(t, f)
			var out bytes.Buffer
			if _, err := f.WriteTo(&out); err != nil || out.String() != string(b)+stray {
				t.Errorf("%s and %q: rewritten otherwise, %v", name, stray, err)
			}
		}
		cut := append(append([]byte(nil), b...), "\xFC\xFF\xFC\xFFOB\x00\x00\x10\x00\x00\x00half"...)
		if f := readBytes(t, cut, Options{}); f.Truncated() == nil {
			t.Errorf("%s: an element that is cut is not noticed", name)
		}
	}
	// Before the pixels a few bytes are a cut.
	d := NewDataSet().SetString(tag.SOPClassUID, uid.UltrasoundImageStorage).SetString(tag.SOPInstanceUID, "1.2.3")
	var out bytes.Buffer
	if err := Write(&out, d, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	if f := readBytes(t, append(out.Bytes(), "abc"...), Options{}); f.Truncated() == nil {
		t.Error("stray bytes without pixels are not noticed")
	}
}
