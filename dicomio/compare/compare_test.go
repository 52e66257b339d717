package compare

import (
	"bytes"
	"context"
	"errors"
	"image"
	"os"
	"path/filepath"
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
	jpeg, err := dicomio.EncodeJPEG(img, 90)
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
	compressed := colour(uid.JPEGBaseline8Bit, jpeg)
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
	for name, c := range map[string]struct {
		a, b string
		want bool
	}{
		"the same":        {native, file(uid.ImplicitVRLittleEndian, 7, nil), true},
		"other pixels":    {native, file(uid.ImplicitVRLittleEndian, 9, nil), true},
		"another name":    {native, file(uid.ImplicitVRLittleEndian, 7, func(d *dicomio.DataSet) { d.SetString(tag.PatientName, "Another^Name") }), false},
		"one more":        {native, file(uid.ExplicitVRLittleEndian, 7, func(d *dicomio.DataSet) { d.SetString(tag.RetrieveAETitle, "PACS") }), false},
		"in a sequence":   {file(uid.ExplicitVRLittleEndian, 7, inSequence("A")), file(uid.ImplicitVRLittleEndian, 7, inSequence("B")), false},
		"equal sequences": {file(uid.ExplicitVRLittleEndian, 7, inSequence("A")), file(uid.ImplicitVRLittleEndian, 7, inSequence("A")), true},
	} {
		if same, err := Attributes(context.Background(), c.a, c.b, dicomio.Options{}); err != nil || same != c.want {
			t.Errorf("attributes, %s: %v, %v", name, same, err)
		}
	}
	memory := dicomio.NewMemory(1 << 30)
	if same, err := Pixels(context.Background(), file(uid.ExplicitVRLittleEndian, 7, nil), file(uid.ExplicitVRLittleEndian, 7, nil),
		dicomio.Options{Limits: dicomio.Limits{Memory: memory}}); err != nil || !same || memory.InUse() != 0 {
		t.Errorf("%v, %v, %d bytes held", same, err, memory.InUse())
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
