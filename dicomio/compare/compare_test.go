package compare

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/jpeg"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
)

// base is an image data set without pixels, of 8 bits.
func base(frames, samples int, photometric string) *dicomio.DataSet {
	d := dicomio.NewDataSet().
		SetString(tag.SOPClassUID, uid.UltrasoundMultiFrameImageStorage).
		SetString(tag.SOPInstanceUID, "1.2.826.0.1.3680043.10.1").
		SetString(tag.PatientName, "Synthetic^Fixture").
		SetInt(tag.NumberOfFrames, int64(frames)).
		SetInt(tag.SamplesPerPixel, int64(samples)).
		SetInt(tag.BitsAllocated, 8).SetInt(tag.BitsStored, 8).SetInt(tag.HighBit, 7).SetInt(tag.PixelRepresentation, 0).
		SetString(tag.PhotometricInterpretation, photometric)
	if samples > 1 {
		d.SetInt(tag.PlanarConfiguration, 0)
	}
	return d
}

// inSequence puts an accession number into a request.
func inSequence(value string) func(*dicomio.DataSet) {
	return func(d *dicomio.DataSet) {
		d.SetItems(tag.RequestAttributesSequence, dicomio.NewDataSet().SetString(tag.AccessionNumber, value))
	}
}

func TestSame(t *testing.T) {
	dir := t.TempDir()
	n := 0
	file := func(syntax string, grey byte, edit func(*dicomio.DataSet)) string {
		t.Helper()
		d := base(2, 1, "MONOCHROME2").SetInt(tag.Rows, 4).SetInt(tag.Columns, 6)
		if edit != nil {
			edit(d)
		}
		frame := bytes.Repeat([]byte{grey}, 24)
		var b bytes.Buffer
		if err := dicomio.Write(&b, d, dicomio.WriteOptions{TransferSyntax: syntax, Pixels: dicomio.FrameBytes([][]byte{frame, frame})}); err != nil {
			t.Fatal(err)
		}
		n++
		path := filepath.Join(dir, string(rune('a'+n)))
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, syntax := range []string{uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian, uid.JPEGBaseline8Bit} {
		plain := file(syntax, 7, nil)
		named := file(syntax, 7, func(d *dicomio.DataSet) { d.SetString(tag.PatientName, "A^Rather^Long^Name^That^Moves^Everything") })
		for name, c := range map[string]struct {
			other string
			want  bool
		}{
			"itself":           {plain, true},
			"another name":     {named, true},
			"other pixels":     {file(syntax, 8, nil), false},
			"another geometry": {file(syntax, 7, func(d *dicomio.DataSet) { d.SetInt(tag.Rows, 6).SetInt(tag.Columns, 4) }), false},
		} {
			if same, err := Pixels(context.Background(), plain, c.other, dicomio.Options{}); err != nil || same != c.want {
				t.Errorf("%s, %s: %v, %v", syntax, name, same, err)
			}
		}
	}
	// Under other transfer syntaxes what is seen counts.
	native := file(uid.ExplicitVRLittleEndian, 7, nil)
	for name, c := range map[string]struct {
		other string
		want  bool
	}{
		"implicit":         {file(uid.ImplicitVRLittleEndian, 7, nil), true},
		"big endian":       {file(uid.ExplicitVRBigEndian, 7, nil), true},
		"deflated":         {file(uid.DeflatedExplicitVRLittleEndian, 7, nil), true},
		"other pixels":     {file(uid.ImplicitVRLittleEndian, 8, nil), false},
		"another geometry": {file(uid.ImplicitVRLittleEndian, 7, func(d *dicomio.DataSet) { d.SetInt(tag.Rows, 6).SetInt(tag.Columns, 4) }), false},
	} {
		for _, pair := range [][2]string{{native, c.other}, {c.other, native}} {
			if same, err := Pixels(context.Background(), pair[0], pair[1], dicomio.Options{}); err != nil || same != c.want {
				t.Errorf("%s: %v, %v", name, same, err)
			}
		}
	}
	// A lossy loop decompressed by somebody, and another loop.
	img := image.NewRGBA(image.Rect(0, 0, 32, 24))
	for i := range img.Pix {
		img.Pix[i] = uint8(i * i / 50)
	}
	lossy, err := dicomio.EncodeJPEG(img, 90)
	if err != nil {
		t.Fatal(err)
	}
	colour := func(syntax string, frame []byte) string {
		d := base(1, 3, "RGB").SetInt(tag.Rows, 24).SetInt(tag.Columns, 32)
		if syntax == uid.JPEGBaseline8Bit {
			d.SetString(tag.PhotometricInterpretation, "YBR_FULL_422")
		}
		var b bytes.Buffer
		if err := dicomio.Write(&b, d, dicomio.WriteOptions{TransferSyntax: syntax, Pixels: dicomio.FrameBytes([][]byte{frame})}); err != nil {
			t.Fatal(err)
		}
		n++
		path := filepath.Join(dir, string(rune('a'+n)))
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	compressed := colour(uid.JPEGBaseline8Bit, lossy)
	f, err := dicomio.Open(compressed, dicomio.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := f.Frames()
	if err != nil {
		t.Fatal(err)
	}
	var decoded image.RGBA
	if err := errors.Join(r.RGB(0, &decoded), f.Close()); err != nil {
		t.Fatal(err)
	}
	raw := func(change func(i int, v uint8) uint8) []byte {
		var out []byte
		for i, v := range decoded.Pix {
			if i%4 != 3 {
				out = append(out, change(i, v))
			}
		}
		return out
	}
	for name, c := range map[string]struct {
		change func(i int, v uint8) uint8
		want   bool
	}{
		"the same": {func(_ int, v uint8) uint8 { return v }, true},
		"rounded":  {func(i int, v uint8) uint8 { return v ^ uint8(i/8&1) }, true},
		"one bright point": {func(i int, v uint8) uint8 {
			if i == 400 {
				return v + 100
			}
			return v
		}, false},
		"brighter": {func(_ int, v uint8) uint8 { return uint8(min(int(v)+3, 255)) }, false},
	} {
		if same, err := Pixels(context.Background(), compressed, colour(uid.ExplicitVRLittleEndian, raw(c.change)), dicomio.Options{}); err != nil || same != c.want {
			t.Errorf("decompressed, %s: %v, %v", name, same, err)
		}
	}
	memory := dicomio.NewMemory(1 << 30)
	if same, err := Pixels(context.Background(), file(uid.ExplicitVRLittleEndian, 7, nil), file(uid.ExplicitVRLittleEndian, 7, nil),
		dicomio.Options{Limits: dicomio.Limits{Memory: memory}}); err != nil || !same || memory.InUse() != 0 {
		t.Errorf("%v, %v, %d bytes held", same, err, memory.InUse())
	}
}

// What says the same in another transfer syntax, and what is a correction.
func TestAttributes(t *testing.T) {
	dir := t.TempDir()
	n := 0
	file := func(syntax string, pixels bool, edit func(*dicomio.DataSet)) string {
		t.Helper()
		d := base(1, 1, "MONOCHROME2").SetInt(tag.Rows, 4).SetInt(tag.Columns, 6).SetFloat(tag.PixelSpacing, 0.3, 0.3)
		o := dicomio.WriteOptions{TransferSyntax: syntax}
		if pixels {
			o.Pixels = dicomio.FrameBytes([][]byte{bytes.Repeat([]byte{byte(n)}, 24)})
		}
		edit(d)
		var b bytes.Buffer
		if err := dicomio.Write(&b, d, o); err != nil {
			t.Fatal(err)
		}
		n++
		path := filepath.Join(dir, strconv.Itoa(n))
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	type edit = func(*dicomio.DataSet)
	nothing := func(*dicomio.DataSet) {}
	value := func(at tag.Tag, vr string, size int, last byte) edit {
		return func(d *dicomio.DataSet) {
			b := bytes.Repeat([]byte{1, 2}, size/2)
			b[len(b)-1] = last
			d.SetBytes(at, vr, b)
		}
	}
	icon := func(grey byte) edit {
		return func(d *dicomio.DataSet) {
			d.SetItems(tag.IconImageSequence, base(1, 1, "MONOCHROME2").SetInt(tag.Rows, 2).SetInt(tag.Columns, 2).
				SetBytes(tag.PixelData, "OW", []byte{grey, 2, 3, 4}))
		}
	}
	private := tag.New(0x0009, 0x1010)
	floats := func(d *dicomio.DataSet) { d.SetFloatVR(private, "FD", 1, 2) }
	for name, c := range map[string]struct {
		a, b   edit
		pixels bool
		want   bool
	}{
		"the same":       {nothing, nothing, true, true},
		"another name":   {nothing, func(d *dicomio.DataSet) { d.SetString(tag.PatientName, "Another^Name") }, true, false},
		"one more":       {nothing, func(d *dicomio.DataSet) { d.SetString(tag.RetrieveAETitle, "PACS") }, true, false},
		"in a sequence":  {inSequence("A"), inSequence("B"), true, false},
		"same sequences": {inSequence("A"), inSequence("A"), true, true},
		"two items": {func(d *dicomio.DataSet) {
			d.SetItems(tag.RequestAttributesSequence, dicomio.NewDataSet().SetString(tag.AccessionNumber, "A"), dicomio.NewDataSet())
		}, inSequence("A"), true, false},
		"another pixel spacing": {nothing, func(d *dicomio.DataSet) { d.SetFloat(tag.PixelSpacing, 0.2, 0.2) }, true, false},
		"pixels that are not square": {nothing, func(d *dicomio.DataSet) { d.SetString(tag.PixelAspectRatio, "3", "4") },
			true, false},
		"a window":      {nothing, func(d *dicomio.DataSet) { d.SetFloat(tag.WindowCenter, 100).SetFloat(tag.WindowWidth, 50) }, true, false},
		"names burned":  {nothing, func(d *dicomio.DataSet) { d.SetString(tag.BurnedInAnnotation, "YES") }, true, false},
		"was lossy":     {nothing, func(d *dicomio.DataSet) { d.SetString(tag.LossyImageCompression, "01") }, true, true},
		"planes":        {nothing, func(d *dicomio.DataSet) { d.SetString(tag.PhotometricInterpretation, "RGB") }, true, true},
		"no pixels":     {nothing, nothing, false, true},
		"rows of none":  {nothing, func(d *dicomio.DataSet) { d.SetInt(tag.Rows, 5) }, false, false},
		"another icon":  {icon(1), icon(9), true, false},
		"the same icon": {icon(1), icon(1), true, true},
		"another long document": {value(tag.EncapsulatedDocument, "OB", 2<<20, 1), value(tag.EncapsulatedDocument, "OB", 2<<20, 2),
			false, false},
		"the same long document": {value(tag.EncapsulatedDocument, "OB", 2<<20, 1), value(tag.EncapsulatedDocument, "OB", 2<<20, 1),
			false, true},
		"another long waveform":       {value(tag.WaveformData, "OW", 2<<20, 1), value(tag.WaveformData, "OW", 2<<20, 2), false, false},
		"the same long waveform":      {value(tag.WaveformData, "OW", 2<<20, 1), value(tag.WaveformData, "OW", 2<<20, 1), false, true},
		"other long private data":     {value(private, "UN", 2<<20, 1), value(private, "UN", 2<<20, 2), false, false},
		"a private number":            {value(private, "US", 2, 1), value(private, "US", 2, 2), true, false},
		"the same private number":     {value(private, "US", 2, 1), value(private, "US", 2, 1), true, true},
		"text over what text may be":  {value(tag.TextValue, "UT", 3<<20, '1'), value(tag.TextValue, "UT", 3<<20, '2'), false, false},
		"the same text, as long":      {value(tag.TextValue, "UT", 3<<20, '1'), value(tag.TextValue, "UT", 3<<20, '1'), false, true},
		"shown inverted":              {nothing, func(d *dicomio.DataSet) { d.SetString(tag.PresentationLUTShape, "INVERSE") }, true, false},
		"numbers of more than a word": {floats, floats, true, true},
	} {
		a := file(uid.ExplicitVRLittleEndian, c.pixels, c.a)
		for _, syntax := range []string{uid.ImplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian, uid.ExplicitVRBigEndian} {
			b := file(syntax, c.pixels, c.b)
			if same, err := Attributes(t.Context(), a, b, dicomio.Options{}); err != nil || same != c.want {
				t.Errorf("%s, %s: %v, %v", name, syntax, same, err)
			}
		}
	}
	// Text in another character set is the same text.
	latin := func(d *dicomio.DataSet) {
		d.SetString(tag.SpecificCharacterSet, "ISO_IR 100").SetString(tag.PatientName, "Müller^Jörg")
	}
	unicode := func(d *dicomio.DataSet) {
		d.SetString(tag.SpecificCharacterSet, "ISO_IR 192").SetString(tag.PatientName, "Müller^Jörg")
	}
	// A character set that is corrected is a correction, if it makes other letters sure.
	raw := func(set string) edit {
		return func(d *dicomio.DataSet) {
			if set != "" {
				d.SetString(tag.SpecificCharacterSet, set)
			}
			d.SetBytes(tag.PatientName, "PN", []byte("M\xFCller^J\xF6rg "))
		}
	}
	for set, want := range map[string]bool{"": true, "ISO_IR 100": false, "ISO_IR 101": false} {
		a, b := file(uid.ExplicitVRLittleEndian, true, raw("")), file(uid.ImplicitVRLittleEndian, true, raw(set))
		if same, err := Attributes(t.Context(), a, b, dicomio.Options{}); err != nil || same != want {
			t.Errorf("character set corrected to %q: %v, %v", set, same, err)
		}
	}
	a, b := file(uid.ExplicitVRLittleEndian, true, latin), file(uid.ImplicitVRLittleEndian, true, unicode)
	if same, err := Attributes(t.Context(), a, b, dicomio.Options{}); err != nil || !same {
		t.Errorf("another character set: %v, %v", same, err)
	}
	// What is cut says nothing for sure.
	whole, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(dir, "cut")
	if err := os.WriteFile(cut, whole[:len(whole)-10], 0o600); err != nil {
		t.Fatal(err)
	}
	if same, err := Attributes(t.Context(), a, cut, dicomio.Options{}); same || !errors.Is(err, dicomio.ErrTruncated) {
		t.Errorf("a file that is cut: %v, %v", same, err)
	}
}

// Long values are compared without being held.
func TestAttributesHoldNoValues(t *testing.T) {
	var paths [2]string
	for i, syntax := range []string{uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian} {
		d := base(1, 1, "MONOCHROME2")
		for k := range 8 {
			d.SetBytes(tag.New(0x0009, 0x1010+uint16(k)), "UN", bytes.Repeat([]byte("A long private text. "), 100_000))
		}
		var b bytes.Buffer
		if err := dicomio.Write(&b, d, dicomio.WriteOptions{TransferSyntax: syntax}); err != nil {
			t.Fatal(err)
		}
		paths[i] = filepath.Join(t.TempDir(), "a.dcm")
		if err := os.WriteFile(paths[i], b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	same, err := Attributes(t.Context(), paths[0], paths[1], dicomio.Options{})
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; err != nil || !same || got > 2<<20 {
		t.Errorf("%v, %v, %d bytes for 2 x 16 MB of values", same, err, got)
	}
}

// An object that lacks the delimiter behind its frames, and the same with it, as an
// archive may send it back, hold the same picture.
func TestUndelimited(t *testing.T) {
	var stream bytes.Buffer
	if err := jpeg.Encode(&stream, image.NewGray(image.Rect(0, 0, 32, 24)), nil); err != nil {
		t.Fatal(err)
	}
	d := base(2, 1, "MONOCHROME2").SetInt(tag.Rows, 24).SetInt(tag.Columns, 32)
	var b bytes.Buffer
	o := dicomio.WriteOptions{TransferSyntax: uid.JPEGBaseline8Bit, Pixels: dicomio.FrameBytes([][]byte{stream.Bytes(), stream.Bytes()})}
	if err := dicomio.Write(&b, d, o); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	whole, bare, less := filepath.Join(dir, "whole"), filepath.Join(dir, "bare"), filepath.Join(dir, "less")
	frame := (stream.Len()+1)/2*2 + 8
	if err := errors.Join(os.WriteFile(whole, b.Bytes(), 0o600), os.WriteFile(bare, b.Bytes()[:b.Len()-8], 0o600),
		os.WriteFile(less, b.Bytes()[:b.Len()-8-frame], 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, pair := range [][2]string{{whole, bare}, {bare, whole}} {
		if same, err := Pixels(t.Context(), pair[0], pair[1], dicomio.Options{}); err != nil || !same {
			t.Errorf("%v: %v, %v", pair, same, err)
		}
	}
	if same, err := Pixels(t.Context(), whole, less, dicomio.Options{}); same || !errors.Is(err, dicomio.ErrTruncated) {
		t.Errorf("a frame less: %v, %v", same, err)
	}
}

// How gray is shown is no part of the picture, and all of its bits are.
func TestShownOtherwise(t *testing.T) {
	file := func(syntax string, value byte, edit func(*dicomio.DataSet)) string {
		d := base(1, 1, "MONOCHROME2").SetInt(tag.Rows, 4).SetInt(tag.Columns, 6).
			SetInt(tag.BitsAllocated, 16).SetInt(tag.BitsStored, 12).SetInt(tag.HighBit, 11).SetFloat(tag.WindowCenter, 2000).SetFloat(tag.WindowWidth, 4000)
		edit(d)
		var b bytes.Buffer
		o := dicomio.WriteOptions{TransferSyntax: syntax, Pixels: dicomio.FrameBytes([][]byte{bytes.Repeat([]byte{value, 3}, 24)})}
		if err := dicomio.Write(&b, d, o); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "a.dcm")
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	nothing := func(*dicomio.DataSet) {}
	a := file(uid.ExplicitVRLittleEndian, 64, nothing)
	for name, c := range map[string]struct {
		value byte
		edit  func(*dicomio.DataSet)
		want  bool
	}{
		"the same":       {64, nothing, true},
		"another window": {64, func(d *dicomio.DataSet) { d.SetFloat(tag.WindowCenter, 800).SetFloat(tag.WindowWidth, 200) }, true},
		"inverted":       {64, func(d *dicomio.DataSet) { d.SetString(tag.PresentationLUTShape, "INVERSE") }, true},
		"rescaled":       {64, func(d *dicomio.DataSet) { d.SetFloat(tag.RescaleSlope, 2).SetFloat(tag.RescaleIntercept, 5) }, true},
		"the lowest bit": {65, nothing, false},
		"signed":         {64, func(d *dicomio.DataSet) { d.SetInt(tag.PixelRepresentation, 1) }, false},
	} {
		for _, syntax := range []string{uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian} {
			if same, err := Pixels(t.Context(), a, file(syntax, c.value, c.edit), dicomio.Options{}); err != nil || same != c.want {
				t.Errorf("%s in %s: %v, %v", name, syntax, same, err)
			}
		}
	}
}

// Pixels of floating point are a picture too.
func TestFloatPixels(t *testing.T) {
	file := func(syntax string, at tag.Tag, v float64) string {
		d := dicomio.NewDataSet().SetString(tag.SOPClassUID, uid.UltrasoundMultiFrameImageStorage).SetString(tag.SOPInstanceUID, "1.2.3")
		if at == tag.FloatPixelData {
			d.SetFloatVR(at, "FL", v, v)
			b, err := d.Bytes(at)
			if err != nil {
				t.Fatal(err)
			}
			d.SetBytes(at, "OF", b)
		} else {
			d.SetFloatVR(at, "FD", v, v)
			b, err := d.Bytes(at)
			if err != nil {
				t.Fatal(err)
			}
			d.SetBytes(at, "OD", b)
		}
		var b bytes.Buffer
		if err := dicomio.Write(&b, d, dicomio.WriteOptions{TransferSyntax: syntax}); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "a.dcm")
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, at := range []tag.Tag{tag.FloatPixelData, tag.DoubleFloatPixelData} {
		a := file(uid.ExplicitVRLittleEndian, at, 1.5)
		for _, syntax := range []string{uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian} {
			for v, want := range map[float64]bool{1.5: true, 2.5: false} {
				if same, err := Pixels(t.Context(), a, file(syntax, at, v), dicomio.Options{}); err != nil || same != want {
					t.Errorf("%v %v in %s: %v, %v", at, v, syntax, same, err)
				}
			}
		}
		other := tag.FloatPixelData ^ tag.DoubleFloatPixelData ^ at
		if same, err := Pixels(t.Context(), a, file(uid.ImplicitVRLittleEndian, other, 1.5), dicomio.Options{}); err != nil || same {
			t.Errorf("%v beside %v: %v, %v", at, other, same, err)
		}
	}
}

// While a comparison waits for its next step it holds nothing of the memory that
// others may be waiting for to end theirs.
func TestStepsHoldNoMemory(t *testing.T) {
	dir := t.TempDir()
	const rows, columns = 3000, 6000
	frame := bytes.Repeat([]byte{7}, rows*columns)
	file := func(name, syntax string) string {
		var b bytes.Buffer
		d := base(1, 1, "MONOCHROME2").SetInt(tag.Rows, rows).SetInt(tag.Columns, columns).SetString(tag.PatientName, name)
		if err := dicomio.Write(&b, d, dicomio.WriteOptions{TransferSyntax: syntax, Pixels: dicomio.FrameBytes([][]byte{frame})}); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	plain, named := file("A", uid.ExplicitVRLittleEndian), file("B", uid.ExplicitVRLittleEndian)
	for name, c := range map[string]struct {
		other string
		least int // steps
	}{"one syntax": {named, 4}, "another syntax": {file("C", uid.ImplicitVRLittleEndian), 1}} {
		memory := dicomio.NewMemory(1 << 30)
		steps, most := 0, int64(0)
		same, err := PixelsBySteps(t.Context(), plain, c.other, dicomio.Options{Limits: dicomio.Limits{Memory: memory}}, func(context.Context) error {
			steps, most = steps+1, max(most, memory.InUse())
			return nil
		})
		if err != nil || !same || steps < c.least {
			t.Errorf("%s: %v after %d steps, %v", name, same, steps, err)
		}
		if most > 0 || memory.InUse() > 0 || memory.Peak() == 0 {
			t.Errorf("%s: %d bytes were held between steps, %d after, %d at most", name, most, memory.InUse(), memory.Peak())
		}
	}
	gone := errors.New("gone")
	steps := 0
	if same, err := PixelsBySteps(t.Context(), plain, named, dicomio.Options{}, func(context.Context) error {
		if steps++; steps > 2 {
			return gone
		}
		return nil
	}); same || !errors.Is(err, gone) || steps != 3 {
		t.Errorf("after a step that was not had: %v, %v, %d steps", same, err, steps)
	}
}
