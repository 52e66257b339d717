package dicomio

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
)

// Fixtures under testdata are synthetic pictures of one or two frames, native
// (gray8, gray16, rgb, palette) and compressed from those by dcmtk and gdcm.
// They are made by
//
//	DICOMIO_WRITE_FIXTURES=1 go test -run TestWriteFixtures ./dicomio

// fixtureSizes is the geometry of the fixtures: odd where the codecs allow it.
const fixtureW, fixtureH = 38, 29

// syntheticBase is an image data set without pixels.
func syntheticBase(frames, samples, bits, stored int, photometric string) *DataSet {
	d := NewDataSet().
		SetString(tag.SOPClassUID, uid.UltrasoundMultiFrameImageStorage).
		SetString(tag.SOPInstanceUID, "1.2.826.0.1.3680043.10.1").
		SetString(tag.StudyInstanceUID, "1.2.826.0.1.3680043.10.2").
		SetString(tag.SeriesInstanceUID, "1.2.826.0.1.3680043.10.3").
		SetString(tag.Modality, "US").
		SetString(tag.PatientName, "Synthetic^Fixture").
		SetString(tag.PatientID, "FIXTURE").
		SetInt(tag.NumberOfFrames, int64(frames)).
		SetTags(tag.FrameIncrementPointer, tag.FrameTime).
		SetFloat(tag.FrameTime, 20).
		SetInt(tag.Rows, fixtureH).
		SetInt(tag.Columns, fixtureW).
		SetInt(tag.SamplesPerPixel, int64(samples)).
		SetInt(tag.BitsAllocated, int64(bits)).
		SetInt(tag.BitsStored, int64(stored)).
		SetInt(tag.HighBit, int64(stored-1)).
		SetInt(tag.PixelRepresentation, 0).
		SetString(tag.PhotometricInterpretation, photometric)
	if samples > 1 {
		d.SetInt(tag.PlanarConfiguration, 0)
	}
	return d
}

// syntheticFrame draws gradients, rings, flat areas and a little texture.
func syntheticFrame(i, samples, stored int) []byte {
	top := float64(uint(1)<<stored - 1)
	var out []byte
	for y := range fixtureH {
		for x := range fixtureW {
			for c := range samples {
				v := 0.0
				switch {
				case x < 6 && y < 9:
					v = 0
				case x > 30:
					v = 1
				case y > 22:
					v = float64(x) / fixtureW
				default:
					r := math.Hypot(float64(x-20+c*2), float64(y-12+i*3))
					v = 0.5 + 0.5*math.Sin(r*0.9)*float64((x*7+y*13+i*5)%11)/11
				}
				u := uint16(v * top)
				out = append(out, byte(u))
				if stored > 8 {
					out = append(out, byte(u>>8))
				}
			}
		}
	}
	return out
}

// syntheticNative are the native fixtures by name.
func syntheticNative(t testing.TB) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	put := func(name string, d *DataSet, o WriteOptions) {
		var b bytes.Buffer
		if err := Write(&b, d, o); err != nil {
			t.Fatal(err)
		}
		out[name] = b.Bytes()
	}
	put("gray8", syntheticBase(2, 1, 8, 8, "MONOCHROME2"), WriteOptions{Pixels: FrameBytes([][]byte{syntheticFrame(0, 1, 8), syntheticFrame(1, 1, 8)})})
	put("gray16", syntheticBase(2, 1, 16, 12, "MONOCHROME2"), WriteOptions{Pixels: FrameBytes([][]byte{syntheticFrame(0, 1, 12), syntheticFrame(1, 1, 12)})})
	put("rgb", syntheticBase(2, 3, 8, 8, "RGB"), WriteOptions{Pixels: FrameBytes([][]byte{syntheticFrame(0, 3, 8), syntheticFrame(1, 3, 8)})})
	pal := syntheticBase(1, 1, 8, 8, "PALETTE COLOR")
	for c := range uint16(3) {
		lut := make([]byte, 0, 512)
		for v := range 256 {
			lut = binary.LittleEndian.AppendUint16(lut, uint16((v*(int(c)+1))%256)<<8)
		}
		pal.SetIntVR(tag.New(0x28, 0x1101+c), "US", 256, 0, 16)
		pal.SetBytes(tag.New(0x28, 0x1201+c), "OW", lut)
	}
	put("palette", pal, WriteOptions{Pixels: FrameBytes([][]byte{syntheticFrame(0, 1, 8)})})
	return out
}

// TestWriteFixtures makes the fixtures; it runs only when asked to.
func TestWriteFixtures(t *testing.T) {
	if os.Getenv("DICOMIO_WRITE_FIXTURES") == "" {
		t.Skip("DICOMIO_WRITE_FIXTURES is not set: the fixtures stay as they are")
	}
	native := syntheticNative(t)
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
	}
	path := func(name string) string { return filepath.Join("testdata", name+".dcm") }
	for name, b := range native {
		if err := os.WriteFile(path(name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, src := range []string{"gray8", "gray16", "rgb"} {
		for _, sv := range []string{"2", "3", "4", "5", "6", "7"} {
			run("dcmcjpeg", "+el", "+sv", sv, path(src), path(src+"-lossless-p"+sv))
		}
		run("dcmcjpeg", "+e1", path(src), path(src+"-lossless-sv1"))
		run("dcmcrle", path(src), path(src+"-rle"))
		run("dcmcjpls", "+el", path(src), path(src+"-jls"))
		run("dcmcjpls", "+en", "+md", "3", path(src), path(src+"-jlsn"))
		run("gdcmconv", "--j2k", path(src), path(src+"-j2k"))
		run("dcmconv", "+te", "+tb", path(src), path(src+"-big"))
		run("dcmconv", "+ti", path(src), path(src+"-implicit"))
		run("dcmconv", "+td", path(src), path(src+"-deflated"))
	}
	run("dcmcjpls", "+el", "+in", path("rgb"), path("rgb-jls-planes"))
	run("dcmcjpls", "+el", "+is", path("rgb"), path("rgb-jls-sample"))
	run("dcmcjpeg", "+ee", "+q", "85", path("gray16"), path("gray16-jpeg12"))
	run("dcmcjpeg", "+eb", "+q", "85", path("gray8"), path("gray8-jpeg"))
	run("dcmcjpeg", "+eb", "+q", "85", "+s2", path("rgb"), path("rgb-jpeg"))
	run("dcmcjpeg", "+eb", "+q", "85", "+cr", path("rgb"), path("rgb-jpeg-rgb"))
	run("dcmcjpeg", "+ep", "+q", "85", path("gray8"), path("gray8-progressive"))
	run("gdcmconv", "--j2k", "--lossy", "-q", "40", path("rgb"), path("rgb-j2k-lossy"))
}

// fixture reads a file of testdata.
func fixture(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".dcm"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// fixtures lists the files of testdata.
func fixtures(t testing.TB) []string {
	t.Helper()
	m, err := filepath.Glob(filepath.Join("testdata", "*.dcm"))
	if err != nil || len(m) < 30 {
		t.Fatalf("%d fixtures: %v", len(m), err)
	}
	for i := range m {
		m[i] = strings.TrimSuffix(filepath.Base(m[i]), ".dcm")
	}
	return m
}

// readBytes reads a file in memory.
func readBytes(t testing.TB, b []byte, o Options) *File {
	t.Helper()
	f, err := Read(bytes.NewReader(b), int64(len(b)), o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}
