package interop

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/echonode/echonode/dicomio/part10"
	"github.com/echonode/echonode/dicomio/uid"
)

const (
	usClass        = "1.2.840.10008.5.1.4.1.1.6.1"
	usmfClass      = "1.2.840.10008.5.1.4.1.1.3.1"
	usmfRetired    = "1.2.840.10008.5.1.4.1.1.3"
	scTrueColour   = "1.2.840.10008.5.1.4.1.1.7.4"
	comprehensive  = "1.2.840.10008.5.1.4.1.1.88.33"
	encapsulated   = "1.2.840.10008.5.1.4.1.1.104.1"
	instanceRoot   = "1.2.826.0.1.3680043.2.1143.7"
	frames         = 3
	rows, columns  = 48, 64
	jpegBaseline   = "1.2.840.10008.1.2.4.50"
	deflated       = uid.DeflatedExplicitVRLittleEndian
	explicitLittle = uid.ExplicitVRLittleEndian
)

// object is a Part 10 file to send.
type object struct {
	name, path              string
	class, instance, syntax string
	data                    []byte // the bare data set
}

// dataSetWriter writes a data set in Explicit VR Little Endian.
type dataSetWriter struct{ b []byte }

func (w *dataSetWriter) header(tag uint32, vr string, n uint32) {
	w.b = binary.LittleEndian.AppendUint16(w.b, uint16(tag>>16))
	w.b = binary.LittleEndian.AppendUint16(w.b, uint16(tag))
	w.b = append(w.b, vr...)
	switch vr {
	case "OB", "OW", "SQ", "UN", "UT":
		w.b = append(w.b, 0, 0)
		w.b = binary.LittleEndian.AppendUint32(w.b, n)
	default:
		w.b = binary.LittleEndian.AppendUint16(w.b, uint16(n))
	}
}

func (w *dataSetWriter) str(tag uint32, vr, v string) {
	if len(v)%2 == 1 {
		if vr == "UI" {
			v += "\x00"
		} else {
			v += " "
		}
	}
	w.header(tag, vr, uint32(len(v)))
	w.b = append(w.b, v...)
}

func (w *dataSetWriter) us(tag uint32, v uint16) {
	w.header(tag, "US", 2)
	w.b = binary.LittleEndian.AppendUint16(w.b, v)
}

func (w *dataSetWriter) item(n int) {
	w.b = append(w.b, 0xFE, 0xFF, 0x00, 0xE0)
	w.b = binary.LittleEndian.AppendUint32(w.b, uint32(n))
}

// cine is the data set of a small gray multi-frame image; encapsulated ones
// have one fragment of noise for each frame, which no peer here decodes.
func cine(class, instance string, compressed bool, noise *rand.Rand) []byte {
	w := &dataSetWriter{}
	w.str(0x00080016, "UI", class)
	w.str(0x00080018, "UI", instance)
	w.str(0x00080020, "DA", "20260102")
	w.str(0x00080030, "TM", "101112")
	w.str(0x00080060, "CS", "US")
	w.str(0x00080090, "PN", "")
	w.str(0x00100010, "PN", "Interop^Test")
	w.str(0x00100020, "LO", "INTEROP-1")
	w.str(0x00100030, "DA", "")
	w.str(0x00100040, "CS", "O")
	w.str(0x00181063, "DS", "33.3")
	w.str(0x0020000D, "UI", instanceRoot+".1")
	w.str(0x0020000E, "UI", instanceRoot+".1.1")
	w.str(0x00200010, "SH", "1")
	w.str(0x00200011, "IS", "1")
	w.str(0x00200013, "IS", "1")
	w.us(0x00280002, 1)
	w.str(0x00280004, "CS", "MONOCHROME2")
	w.str(0x00280008, "IS", fmt.Sprint(frames))
	w.header(0x00280009, "AT", 4)
	w.b = append(w.b, 0x18, 0, 0x63, 0x10)
	w.us(0x00280010, rows)
	w.us(0x00280011, columns)
	w.us(0x00280100, 8)
	w.us(0x00280101, 8)
	w.us(0x00280102, 7)
	w.us(0x00280103, 0)
	if compressed {
		w.header(0x7FE00010, "OB", 0xFFFFFFFF)
		w.item(0)
		for range frames {
			n := 2 * (200 + noise.IntN(300))
			w.item(n)
			for range n {
				w.b = append(w.b, byte(noise.Uint32()))
			}
		}
		w.b = append(w.b, 0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0)
		return w.b
	}
	w.header(0x7FE00010, "OB", frames*rows*columns)
	for i := range frames * rows * columns {
		w.b = append(w.b, byte(i/columns+i%columns+int(noise.Uint32()%8)))
	}
	return w.b
}

// writeObject writes a Part 10 file and reads it back as an object.
func writeObject(t *testing.T, dir, name, class, instance, syntax string, data []byte) object {
	t.Helper()
	path := filepath.Join(dir, name+".dcm")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := part10.Write(f, part10.Meta{SOPClassUID: class, SOPInstanceUID: instance, TransferSyntaxUID: syntax}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return object{name, path, class, instance, syntax, data}
}

// encapsulatedSyntaxes are sent as they are; their frames are noise.
var encapsulatedSyntaxes = map[string]string{
	"jpeg-baseline":       "1.2.840.10008.1.2.4.50",
	"jpeg-extended":       "1.2.840.10008.1.2.4.51",
	"jpeg-lossless":       "1.2.840.10008.1.2.4.57",
	"jpeg-lossless-sv1":   "1.2.840.10008.1.2.4.70",
	"jpegls-lossless":     "1.2.840.10008.1.2.4.80",
	"jpegls-near":         "1.2.840.10008.1.2.4.81",
	"jpeg2000-lossless":   "1.2.840.10008.1.2.4.90",
	"jpeg2000":            "1.2.840.10008.1.2.4.91",
	"jpeg2000-mc-ll":      "1.2.840.10008.1.2.4.92",
	"jpeg2000-mc":         "1.2.840.10008.1.2.4.93",
	"mpeg2-ml":            "1.2.840.10008.1.2.4.100",
	"mpeg2-hl":            "1.2.840.10008.1.2.4.101",
	"h264-41":             "1.2.840.10008.1.2.4.102",
	"h264-41-bd":          "1.2.840.10008.1.2.4.103",
	"h264-42-2d":          "1.2.840.10008.1.2.4.104",
	"h264-42-3d":          "1.2.840.10008.1.2.4.105",
	"h264-42-stereo":      "1.2.840.10008.1.2.4.106",
	"hevc":                "1.2.840.10008.1.2.4.107",
	"hevc-10":             "1.2.840.10008.1.2.4.108",
	"rle":                 "1.2.840.10008.1.2.5",
	"htj2k-lossless":      "1.2.840.10008.1.2.4.201",
	"htj2k-lossless-rpcl": "1.2.840.10008.1.2.4.202",
	"htj2k":               "1.2.840.10008.1.2.4.203",
}

// objects makes one object for each transfer syntax. With dcmtk the syntaxes
// that change the encoding of the data set are made by dcmconv from the
// explicit one; without, they are left out.
func objects(t *testing.T, keep func(syntax string) bool) []object {
	t.Helper()
	dir := t.TempDir()
	noise := rand.New(rand.NewPCG(1, 2))
	var out []object
	n := 0
	instance := func() string { n++; return fmt.Sprintf("%s.%d", instanceRoot, n) }
	for name, syntax := range encapsulatedSyntaxes {
		if keep(syntax) {
			uid := instance()
			out = append(out, writeObject(t, dir, name, usmfClass, uid, syntax, cine(usmfClass, uid, true, noise)))
		}
	}
	for _, class := range []string{usmfClass, usmfRetired, usClass, scTrueColour} {
		uid := instance()
		out = append(out, writeObject(t, dir, "explicit-"+class, class, uid, explicitLittle, cine(class, uid, false, noise)))
	}
	dcmconv := need(t, "dcmconv")
	for name, c := range map[string]struct{ flag, syntax string }{
		"implicit": {"+ti", uid.ImplicitVRLittleEndian}, "big": {"+tb", uid.ExplicitVRBigEndian}, "deflated": {"+td", deflated},
	} {
		if !keep(c.syntax) {
			continue
		}
		uid := instance()
		src := writeObject(t, dir, name+"-source", usmfClass, uid, explicitLittle, cine(usmfClass, uid, false, noise))
		o := object{name, filepath.Join(dir, name+".dcm"), usmfClass, uid, c.syntax, nil}
		run(t, dcmconv, c.flag, src.path, o.path)
		var syntax string
		if o.data, syntax = dataSet(t, o.path); syntax != c.syntax {
			t.Fatalf("dcmconv wrote %s", syntax)
		}
		out = append(out, o)
	}
	return out
}

func paths(objects []object) (out []string) {
	for _, o := range objects {
		out = append(out, o.path)
	}
	return out
}
