package dicomio

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
)

func TestSamePixels(t *testing.T) {
	dir := t.TempDir()
	n := 0
	file := func(syntax string, grey byte, edit func(*DataSet)) string {
		t.Helper()
		d := syntheticBase(2, 1, 8, 8, "MONOCHROME2").SetInt(tag.Rows, 4).SetInt(tag.Columns, 6)
		if edit != nil {
			edit(d)
		}
		frame := bytes.Repeat([]byte{grey}, 24)
		var b bytes.Buffer
		if err := Write(&b, d, WriteOptions{TransferSyntax: syntax, Pixels: FrameBytes([][]byte{frame, frame})}); err != nil {
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
		base := file(syntax, 7, nil)
		named := file(syntax, 7, func(d *DataSet) { d.SetString(tag.PatientName, "A^Rather^Long^Name^That^Moves^Everything") })
		for name, c := range map[string]struct {
			other string
			want  bool
		}{
			"itself":           {base, true},
			"another name":     {named, true},
			"other pixels":     {file(syntax, 8, nil), false},
			"another geometry": {file(syntax, 7, func(d *DataSet) { d.SetInt(tag.Rows, 6).SetInt(tag.Columns, 4) }), false},
			"another syntax":   {file(uid.ExplicitVRBigEndian, 7, nil), false},
		} {
			if same, err := SamePixels(context.Background(), base, c.other, Options{}); err != nil || same != c.want {
				t.Errorf("%s, %s: %v, %v", syntax, name, same, err)
			}
		}
	}
	memory := NewMemory(1 << 30)
	if same, err := SamePixels(context.Background(), file(uid.ExplicitVRLittleEndian, 7, nil), file(uid.ExplicitVRLittleEndian, 7, nil), Options{Limits: Limits{Memory: memory}}); err != nil || !same || memory.InUse() != 0 {
		t.Errorf("%v, %v, %d bytes held", same, err, memory.InUse())
	}
}
