package dicomio

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/echonode/echonode/dicomio/encoding"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
)

// nestedDataSet has every VR, nested sequences, private elements and text
// outside ASCII.
func nestedDataSet() *DataSet {
	inner := NewDataSet().SetString(tag.CodeValue, "18026-5").SetString(tag.CodeMeaning, "Größe").SetString(tag.CodingSchemeDesignator, "LN")
	item := NewDataSet().SetString(tag.ValueType, "CONTAINER").SetItems(tag.ConceptNameCodeSequence, inner).SetItems(tag.ContentSequence)
	return NewDataSet().
		SetString(tag.SOPClassUID, uid.ComprehensiveSRStorage).
		SetString(tag.SOPInstanceUID, "1.2.826.0.1.3680043.10.4").
		SetString(tag.PatientName, "Müller^Jürgen=王^小東").
		SetString(tag.PatientBirthDate, "19700101").
		SetString(tag.StudyTime, "101112.123456").
		SetString(tag.AcquisitionDateTime, "20260101101112.5+0100").
		SetString(tag.PatientAge, "056Y").
		SetString(tag.RetrieveAETitle, "ECHONODE", "PACS").
		SetString(tag.ImageType, "DERIVED", "SECONDARY").
		SetString(tag.ImageComments, "line one\r\nline two \\ not a separator").
		SetString(tag.RetrieveURL, "https://example.org/wado?a=1").
		SetString(tag.LongCodeValue, strings.Repeat("x", 300)).
		SetInt(tag.NumberOfFrames, 12).
		SetInt(tag.RegionFlags, 3).
		SetInt(tag.ReferencePixelX0, -5).
		SetFloat(tag.PhysicalDeltaX, 0.0123456789).
		SetFloat(tag.PixelSpacing, 0.1, 0.30000000000000004).
		SetTags(tag.FrameIncrementPointer, tag.FrameTime).
		SetIntVR(tag.Tag(0x00091001), "SV", -7).
		SetIntVR(tag.Tag(0x00091002), "UV", 1<<40).
		SetBytes(tag.Tag(0x00091003), "OL", []byte{1, 2, 3, 4}).
		SetBytes(tag.Tag(0x00091004), "OD", make([]byte, 16)).
		SetBytes(tag.Tag(0x00091005), "OV", []byte{1, 2, 3, 4, 5, 6, 7, 8}).
		SetFloatVR(tag.Tag(0x00091006), "FL", 1.5, -2.25).
		SetStringVR(tag.Tag(0x00091007), "UC", "unlimited", "characters").
		SetStringVR(tag.Tag(0x00090010), "LO", "ECHONODE TEST").
		SetEmpty(tag.AccessionNumber).
		SetItems(tag.ContentSequence, item, NewDataSet())
}

// plain flattens a data set into comparable text.
func plain(d *DataSet) []string {
	var out []string
	var walk func(d *DataSet, indent string)
	walk = func(d *DataSet, indent string) {
		elems := d.sorted()
		for i, e := range elems {
			again := i+1 < len(elems) && elems[i+1].Tag == e.Tag
			if e.Tag == tagCharset || again || e.Tag.Element() == 0 || e.Tag.Group() == 0xFFFE {
				continue // of a repeated tag the last counts
			}
			s := e.strings(d.charset())
			if s == nil && e.val != nil {
				b := append([]byte(nil), e.val...)
				if info := encoding.LookupVR(e.VR); info != nil && e.enc.Big {
					encoding.Swap(b, info.Size)
				}
				s = []string{string(b)}
			}
			out = append(out, indent+e.Tag.String()+" "+strings.Join(s, "|"))
			for _, it := range e.items {
				out = append(out, indent+" item")
				walk(it, indent+"  ")
			}
		}
	}
	walk(d, "")
	return out
}

// What is written in any encoding reads back with the same values.
func TestWriteRead(t *testing.T) {
	d := nestedDataSet()
	for _, ts := range []string{uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.DeflatedExplicitVRLittleEndian} {
		for _, bare := range []bool{false, true} {
			var b bytes.Buffer
			if err := Write(&b, d, WriteOptions{TransferSyntax: ts, Bare: bare}); err != nil {
				t.Fatal(err)
			}
			o := Options{}
			if bare {
				o.TransferSyntax = ts
			}
			f := readBytes(t, b.Bytes(), o)
			want := plain(d)
			got := plain(f.DataSet)
			if ts == uid.ImplicitVRLittleEndian {
				// Private elements have no VR there.
				drop := func(s []string) (out []string) {
					for _, l := range s {
						if !strings.HasPrefix(l, "(0009,10") {
							out = append(out, l)
						}
					}
					return out
				}
				want, got = drop(want), drop(got)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s bare=%v: %s", ts, bare, diff)
			}
			if cs := f.DataSet.String(tagCharset); cs != "ISO_IR 192" {
				t.Errorf("character set %q", cs)
			}
			if !bare && (f.Meta.String(tag.MediaStorageSOPInstanceUID) != "1.2.826.0.1.3680043.10.4" || f.TransferSyntax != ts) {
				t.Errorf("meta group: %v", plain(f.Meta))
			}
		}
	}
}

// Changing one element leaves the bytes of all others alone.
func TestEditKeepsTheRest(t *testing.T) {
	for _, name := range []string{"rgb", "gray16-big", "gray8-implicit", "rgb-jpeg"} {
		src := fixture(t, name)
		f := readBytes(t, src, Options{})
		f.DataSet.SetString(tag.PatientID, "EDITED")
		var b bytes.Buffer
		if _, err := f.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		want := bytes.Replace(src, []byte("FIXTURE "), []byte("EDITED"), 1)
		i := bytes.Index(want, []byte("EDITED"))
		// The length in front of the value is the only other change.
		if f.syntaxOf.Implicit {
			want[i-4] = 6
		} else if f.syntaxOf.Big {
			want[i-1] = 6
		} else {
			want[i-2] = 6
		}
		if !bytes.Equal(b.Bytes(), want) {
			t.Errorf("%s: other bytes changed", name)
		}
	}
}

func TestSetRefusals(t *testing.T) {
	cases := map[string]func(d *DataSet){
		"UID":           func(d *DataSet) { d.SetString(tag.SOPInstanceUID, "1..3") },
		"UID letters":   func(d *DataSet) { d.SetString(tag.SOPInstanceUID, "1.2.x") },
		"long UID":      func(d *DataSet) { d.SetString(tag.SOPInstanceUID, "1."+strings.Repeat("1", 63)) },
		"code string":   func(d *DataSet) { d.SetString(tag.Modality, "us") },
		"date":          func(d *DataSet) { d.SetString(tag.StudyDate, "2026-01-01") },
		"integer":       func(d *DataSet) { d.SetString(tag.NumberOfFrames, "12.5") },
		"decimal":       func(d *DataSet) { d.SetString(tag.PixelSpacing, "one") },
		"text in US":    func(d *DataSet) { d.SetString(tag.Rows, "5") },
		"US range":      func(d *DataSet) { d.SetInt(tag.Rows, 70000) },
		"infinite":      func(d *DataSet) { d.SetFloat(tag.PhysicalDeltaX, 1/zero) },
		"control":       func(d *DataSet) { d.SetString(tag.PatientID, "a\nb") },
		"not UTF-8":     func(d *DataSet) { d.SetString(tag.PatientID, "\xff") },
		"nil item":      func(d *DataSet) { d.SetItems(tag.ContentSequence, nil) },
		"nested":        func(d *DataSet) { d.SetItems(tag.ContentSequence, NewDataSet().SetInt(tag.Rows, -1)) },
		"float for US":  func(d *DataSet) { d.SetFloat(tag.Rows, 1.5) },
		"bytes for SQ":  func(d *DataSet) { d.SetBytes(tag.ContentSequence, "SQ", nil) },
		"long SH":       func(d *DataSet) { d.SetString(tag.AccessionNumber, strings.Repeat("é", 17)) },
		"space in time": func(d *DataSet) { d.SetString(tag.StudyTime, "10:11") },
	}
	for name, set := range cases {
		d := NewDataSet().SetString(tag.SOPClassUID, uid.UltrasoundImageStorage).SetString(tag.SOPInstanceUID, "1.2.3")
		set(d)
		if err := d.Err(); !errors.Is(err, ErrValue) && !errors.Is(err, ErrCharset) {
			t.Errorf("%s: %v", name, err)
		}
		if err := Write(&bytes.Buffer{}, d, WriteOptions{}); err == nil {
			t.Errorf("%s: written", name)
		}
	}
}

var zero float64

// Text keeps its meaning when it moves between character sets.
func TestCharsetsMeet(t *testing.T) {
	latin := NewDataSet().SetString(tagCharset, "ISO_IR 100").SetBytes(tag.PatientName, "PN", []byte("M\xfcller^J\xfcrgen"))
	if got := latin.String(tag.PatientName); got != "Müller^Jürgen" {
		t.Fatalf("read as %q", got)
	}
	d := NewDataSet().SetString(tag.SOPClassUID, uid.UltrasoundImageStorage).SetString(tag.SOPInstanceUID, "1.2.3").CopyFrom(latin, tag.PatientName)
	var b bytes.Buffer
	if err := Write(&b, d, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	f := readBytes(t, b.Bytes(), Options{})
	if got := f.DataSet.String(tag.PatientName); got != "Müller^Jürgen" || f.DataSet.String(tagCharset) != "ISO_IR 192" {
		t.Errorf("copied as %q in %q", got, f.DataSet.String(tagCharset))
	}
	// Set in a Latin-1 data set, text becomes Latin-1; what does not fit is refused.
	latin.SetString(tag.SOPClassUID, uid.UltrasoundImageStorage).SetString(tag.SOPInstanceUID, "1.2.3").SetString(tag.PatientComments, "Größe")
	b.Reset()
	if err := Write(&b, latin, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(b.Bytes(), []byte("Gr\xf6\xdfe")) {
		t.Error("not written as Latin-1")
	}
	latin.SetString(tag.PatientComments, "王")
	if err := Write(&b, latin, WriteOptions{}); !errors.Is(err, ErrCharset) {
		t.Errorf("Chinese in Latin-1: %v", err)
	}
}

// A binary segmentation packs bits across frames, and they come back.
func TestBitFrames(t *testing.T) {
	const n, px = 5, fixtureW * fixtureH
	masks := make([][]byte, n)
	for i := range masks {
		masks[i] = make([]byte, px)
		for k := range masks[i] {
			if (k*k+i*31)%7 < 3 {
				masks[i][k] = 1
			}
		}
	}
	d := syntheticBase(n, 1, 1, 1, "MONOCHROME2").SetInt(tag.HighBit, 0)
	var b bytes.Buffer
	if err := Write(&b, d, WriteOptions{Pixels: BitFrames(n, px, func(i int) ([]byte, error) { return masks[i], nil })}); err != nil {
		t.Fatal(err)
	}
	f := readBytes(t, b.Bytes(), Options{})
	if e, _ := f.DataSet.Get(tagPixels); e.n != (n*px+15)/16*2 {
		t.Errorf("%d bytes of pixel data", e.n)
	}
	r, err := f.Frames()
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		var fr Frame
		if err := r.Decode(i, &fr); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(fr.Data, masks[i]) {
			t.Errorf("frame %d differs", i)
		}
	}
}

// Offset tables are written, found and agree with the frames, whatever the
// fragments are.
func TestOffsetTables(t *testing.T) {
	frames := [][]byte{[]byte("first frame!"), []byte("odd"), []byte("third one.")}
	for _, kind := range []OffsetTable{OffsetsAuto, OffsetsNone, OffsetsBasic, OffsetsExtended} {
		p := FrameBytes(frames)
		p.Offsets = kind
		var b bytes.Buffer
		if err := Write(&b, syntheticBase(3, 1, 8, 8, "MONOCHROME2"), WriteOptions{TransferSyntax: uid.JPEGBaseline8Bit, Pixels: p}); err != nil {
			t.Fatal(err)
		}
		f := readBytes(t, b.Bytes(), Options{})
		r, err := f.Frames()
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range frames {
			got, err := r.Raw(i)
			if err != nil || !bytes.Equal(bytes.TrimRight(got, "\x00"), want) {
				t.Errorf("kind %d frame %d: %q %v", kind, i, got, err)
			}
		}
		if has := f.DataSet.Has(tagEOT); has != (kind == OffsetsExtended) {
			t.Errorf("kind %d: extended offset table %v", kind, has)
		}
		e, _ := f.DataSet.Get(tagPixels)
		if e.Fragments() != 3 {
			t.Errorf("%d fragments", e.Fragments())
		}
		want := map[OffsetTable]int64{OffsetsAuto: 12, OffsetsBasic: 12}[kind]
		if e.frags[0].N != want {
			t.Errorf("kind %d: basic offset table of %d bytes", kind, e.frags[0].N)
		}
	}
	// Lengths that are not known leave the table empty.
	var b bytes.Buffer
	if err := Write(&b, syntheticBase(3, 1, 8, 8, "MONOCHROME2"),
		WriteOptions{TransferSyntax: uid.JPEGBaseline8Bit, Pixels: FrameFunc(3, -1, func(i int) ([]byte, error) { return frames[i], nil })}); err != nil {
		t.Fatal(err)
	}
	if f := readBytes(t, b.Bytes(), Options{}); f.DataSet.Len() == 0 {
		t.Error("nothing read")
	}
}

// Pixels that contradict the data set are refused before anything is written.
func TestWritePixelRefusals(t *testing.T) {
	var b bytes.Buffer
	cases := map[string]struct {
		d  *DataSet
		p  *Pixels
		ts string
	}{
		"frame count": {syntheticBase(2, 1, 8, 8, "MONOCHROME2"), FrameBytes([][]byte{syntheticFrame(0, 1, 8)}), ""},
		"frame size":  {syntheticBase(1, 1, 8, 8, "MONOCHROME2"), FrameBytes([][]byte{{1, 2, 3}}), ""},
		"no length":   {syntheticBase(1, 1, 8, 8, "MONOCHROME2"), FrameFunc(1, -1, nil), ""},
		"bits":        {syntheticBase(1, 1, 8, 8, "MONOCHROME2"), BitFrames(1, 10, nil), ""},
		"syntax":      {syntheticBase(1, 1, 8, 8, "MONOCHROME2"), nil, "1.2.3.4"},
	}
	for name, c := range cases {
		var typed *Error
		if err := Write(&b, c.d, WriteOptions{TransferSyntax: c.ts, Pixels: c.p}); !errors.As(err, &typed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if b.Len() > 0 {
		t.Errorf("%d bytes written", b.Len())
	}
}

// External programs read what Write makes without complaint.
func TestWrittenFilesInTools(t *testing.T) {
	dir := t.TempDir()
	for name, b := range syntheticNative(t) {
		path := filepath.Join(dir, name+".dcm")
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := exec.LookPath("dcmdump"); err != nil {
			t.Skip("dcmdump is not installed")
		}
		out, err := exec.Command("dcmdump", "-v", path).CombinedOutput()
		if err != nil || bytes.Contains(out, []byte("W:")) || bytes.Contains(out, []byte("E:")) {
			t.Errorf("%s: dcmdump: %v\n%.500s", name, err, out)
		}
	}
}

// UIDs are written as they were received: a leading zero stays.
func TestUIDWithLeadingZero(t *testing.T) {
	const instance = "1.2.826.007.01"
	d := NewDataSet().SetString(tag.SOPClassUID, uid.UltrasoundImageStorage).SetString(tag.SOPInstanceUID, instance).SetString(tag.StudyInstanceUID, "1.02")
	var b bytes.Buffer
	if err := Write(&b, d, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	f := readBytes(t, b.Bytes(), Options{})
	if got := f.DataSet.String(tag.SOPInstanceUID); got != instance {
		t.Errorf("%q, want %q", got, instance)
	}
	if got := f.Meta.String(tag.New(2, 3)); got != instance {
		t.Errorf("meta group: %q, want %q", got, instance)
	}
}
