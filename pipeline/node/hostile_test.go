package node

import (
	"bytes"
	"compress/flate"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/echonode/echonode/dicomio/part10"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/scp"
)

// dataSet is an explicit VR data set with an identity and what follows it.
func dataSet(study, sop, rest string) string {
	el := func(group, element byte, vr, v string) string {
		if len(v)%2 == 1 {
			v += "\x00"
		}
		return string([]byte{group, 0, element, 0}) + vr + string([]byte{byte(len(v)), 0}) + v
	}
	return el(8, 0x16, "UI", uid.UltrasoundMultiFrameImageStorage) + el(8, 0x18, "UI", sop) + el(0x10, 0x20, "LO", "P1") +
		el(0x20, 0x0D, "UI", study) + el(0x20, 0x0E, "UI", study+".1") + rest
}

// writeRaw makes a Part 10 file of the bytes of a data set.
func writeRaw(t *testing.T, dir, sop, syntax, data string) string {
	t.Helper()
	var b bytes.Buffer
	if err := part10.Write(&b, part10.Meta{SOPClassUID: uid.UltrasoundMultiFrameImageStorage, SOPInstanceUID: sop, TransferSyntaxUID: syntax,
		SourceAETitle: "CART"}); err != nil {
		t.Fatal(err)
	}
	b.WriteString(data)
	path := filepath.Join(dir, sop+".dcm")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func deflate(t *testing.T, s string) string {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Objects that are small on the wire and large when they are inflated or
// indexed cost the receiver nothing of that, neither when they come nor at the
// next start.
func TestReceivingCostsNoMemory(t *testing.T) {
	dir := t.TempDir()
	const zeros = 64 << 20
	pixels := func() string { return "\xE0\x7F\x10\x00OB\x00\x00\x00\x00\x00\x04" + strings.Repeat("\x00", zeros) }
	paths := []string{
		writeRaw(t, dir, "1.2.3.10", uid.DeflatedExplicitVRLittleEndian, deflate(t, dataSet("1.2.3", "1.2.3.10", pixels()))),
		writeRaw(t, dir, "1.2.3.11", uid.ExplicitVRLittleEndian, dataSet("1.2.3", "1.2.3.11", strings.Repeat("\x21\x00\x10\x00LO\x00\x00", 400_000))),
	}
	allocated := func(f func()) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	n := start(t, dir, &fakeProcessor{t: t}, Options{Idle: time.Hour, Cap: 2 * time.Hour})
	if took := allocated(func() { n.mustSend(t, paths...) }); took > 16<<20 {
		t.Errorf("receiving allocated %d MiB", took>>20)
	}
	if s := n.status(t, "1.2.3"); s.Objects != 2 {
		t.Errorf("status: %+v", s)
	}
	forget(t, n, "1.2.3")
	n.stop()
	if took := allocated(func() { n = start(t, dir, &fakeProcessor{t: t}, Options{Idle: time.Hour, Cap: 2 * time.Hour}) }); took > 16<<20 {
		t.Errorf("starting allocated %d MiB", took>>20)
	}
	if s := n.status(t, "1.2.3"); s.Objects != 2 {
		t.Errorf("status after the start: %+v", s)
	}
}

// A data set that is not the object that was announced is refused and leaves
// nothing: another class, another instance, meta information of its own.
func TestAnnouncedObjectOnly(t *testing.T) {
	dir := t.TempDir()
	n := start(t, dir, &fakeProcessor{t: t}, Options{})
	meta := "\x02\x00\x10\x00UI\x14\x001.2.840.10008.1.2.2" + "\x00"
	for name, path := range map[string]string{
		"another instance":     writeRaw(t, dir, "1.2.3.20", uid.ExplicitVRLittleEndian, dataSet("1.2.3", "1.2.3.99", "")),
		"another class":        writeRaw(t, dir, "1.2.3.21", uid.ExplicitVRLittleEndian, strings.Replace(dataSet("1.2.3", "1.2.3.21", ""), "5.1.4.1.1.3.1", "5.1.4.1.1.6.1", 1)),
		"meta information":     writeRaw(t, dir, "1.2.3.22", uid.ExplicitVRLittleEndian, meta+dataSet("1.2.3", "1.2.3.22", "")),
		"an incomplete object": writeRaw(t, dir, "1.2.3.23", uid.ExplicitVRLittleEndian, dataSet("1.2.3", "1.2.3.23", "\xE0\x7F\x10\x00OB\x00\x00\x00\x01\x00\x00\x00\x00")),
	} {
		var status *scp.StatusError
		want := scp.StatusCannotUnderstand
		if strings.HasPrefix(name, "another") {
			want = scp.StatusDataSetMismatch
		}
		if res := n.send(t, path)[0]; !errors.As(res.Err, &status) || status.Status != want {
			t.Errorf("%s: %v, want status %04XH", name, res.Err, want)
		}
	}
	kept := 0
	if err := n.spool.Each(t.Context(), func(string) error { kept++; return nil }); err != nil || kept != 0 {
		t.Errorf("%d objects kept in the spool, %v", kept, err)
	}
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.24", func(ds *dicomio.DataSet) { ds.SetString(tag.PatientID, "P1") }))
}
