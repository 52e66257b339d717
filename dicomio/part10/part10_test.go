package part10

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/echonode/echonode/conformance/golden"
	"github.com/echonode/echonode/dicomio/uid"
)

func TestGolden(t *testing.T) {
	var b bytes.Buffer
	if err := Write(&b, Meta{"1.2.3", "1.2.50", uid.ExplicitVRLittleEndian, "CART1"}); err != nil {
		t.Fatal(err)
	}
	want := append(make([]byte, 128), golden.Bytes(t, `
"DICM"
0200 0000 "UL" 0400 98000000                      ; (0002,0000) group length 152
0200 0100 "OB" 0000 02000000 0001                 ; (0002,0001) version
0200 0200 "UI" 0600 "1.2.3" 00                    ; (0002,0002) media storage SOP class UID
0200 0300 "UI" 0600 "1.2.50"                      ; (0002,0003) media storage SOP instance UID
0200 1000 "UI" 1400 "1.2.840.10008.1.2.1" 00      ; (0002,0010) transfer syntax UID
0200 1200 "UI" 2c00 "2.25.138711527111267688378671273509010527546" ; (0002,0012) implementation class UID
0200 1300 "SH" 0800 "ECHONODE"                    ; (0002,0013) implementation version name
0200 1600 "AE" 0600 "CART1 "                      ; (0002,0016) source application entity title
`)...)
	if !bytes.Equal(b.Bytes(), want) {
		t.Errorf("got\n%x, want\n%x", b.Bytes(), want)
	}
	o, offset, err := Read(bufio.NewReader(bytes.NewReader(append(want, 8, 0, 5, 0))))
	if err != nil || offset != int64(len(want)) || o.SOPClassUID != "1.2.3" || o.SOPInstanceUID != "1.2.50" || o.TransferSyntaxUID != uid.ExplicitVRLittleEndian {
		t.Errorf("read back %+v at %d, %v", o, offset, err)
	}
}

func TestRefuses(t *testing.T) {
	start := append(make([]byte, 128), "DICM"...)
	for name, b := range map[string][]byte{
		"empty": nil, "short": make([]byte, 131), "no magic": make([]byte, 200), "no meta": start,
		"huge element": append(start[:132:132], golden.Bytes(t, `0200 0100 "OB" 0000 ffffffff`)...),
		"cut off":      append(start[:132:132], golden.Bytes(t, `0200 0200 "UI" 1400 "1"`)...),
		"long UID":     append(start[:132:132], append(golden.Bytes(t, `0200 0200 "UN" 0000 00200000`), make([]byte, 0x2000)...)...),
		"no UIDs":      append(start[:132:132], golden.Bytes(t, `0200 1600 "AE" 0600 "CART1 "`)...),
	} {
		if m, _, err := Read(bufio.NewReader(bytes.NewReader(b))); !errors.Is(err, ErrNotPart10) {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
}

// A stream that cannot be read is not one that is no Part 10 file, wherever in
// the meta information that happens.
func TestReadErrors(t *testing.T) {
	whole := append(Meta{"1.2.3", "1.2.50", uid.ExplicitVRLittleEndian, "CART1"}.Append(nil), golden.Bytes(t, `0800 0500 "CS" 0400 "UTF8"`)...)
	for n := range whole {
		r := io.MultiReader(bytes.NewReader(whole[:n]), iotest.ErrReader(syscall.EIO))
		if m, _, err := Read(bufio.NewReader(iotest.OneByteReader(r))); errors.Is(err, ErrNotPart10) || err != nil && !errors.Is(err, syscall.EIO) {
			t.Fatalf("after %d bytes: %+v, %v", n, m, err)
		}
	}
	if _, _, err := Read(bufio.NewReader(iotest.ErrReader(syscall.EIO))); !errors.Is(err, syscall.EIO) {
		t.Error(err)
	}
}

// FuzzRead reads file meta information.
func FuzzRead(f *testing.F) {
	f.Add(Meta{"1.2.3", "1.2.50", uid.ExplicitVRLittleEndian, "CART1"}.Append(nil))
	f.Add(append(make([]byte, 128), golden.Bytes(f, `"DICM" 0200 0100 "OB" 0000 ffffffff`)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, n, err := Read(bufio.NewReader(bytes.NewReader(b)))
		if err != nil {
			return
		}
		if n < PreambleSize || n > int64(len(b)) {
			t.Fatalf("data set at %d of %d", n, len(b))
		}
		again, _, err := Read(bufio.NewReader(bytes.NewReader(m.Append(nil))))
		if err != nil || again != m {
			t.Fatalf("%+v comes back as %+v, %v", m, again, err)
		}
	})
}
