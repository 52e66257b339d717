package node

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/pipeline/store"
	"github.com/echonode/echonode/scp"
)

// picture makes an object with pixels in a file of its own.
func picture(t *testing.T, study, sop string, grey byte, edit func(*dicomio.DataSet)) string {
	t.Helper()
	ds := dicomio.NewDataSet()
	ds.SetString(tag.SOPClassUID, uid.UltrasoundMultiFrameImageStorage).SetString(tag.SOPInstanceUID, sop)
	ds.SetString(tag.StudyInstanceUID, study).SetString(tag.SeriesInstanceUID, study+".1").SetString(tag.Modality, "US")
	ds.SetString(tag.PatientID, "P1").SetString(tag.PatientName, "Doe^Jane")
	ds.SetInt(tag.NumberOfFrames, 1).SetInt(tag.Rows, 4).SetInt(tag.Columns, 4).SetInt(tag.SamplesPerPixel, 1)
	ds.SetString(tag.PhotometricInterpretation, "MONOCHROME2").SetInt(tag.BitsAllocated, 8).SetInt(tag.BitsStored, 8).SetInt(tag.HighBit, 7).
		SetInt(tag.PixelRepresentation, 0)
	if edit != nil {
		edit(ds)
	}
	f, err := os.CreateTemp(t.TempDir(), "*.dcm")
	if err != nil {
		t.Fatal(err)
	}
	pixels := dicomio.FrameBytes([][]byte{bytes.Repeat([]byte{grey}, 16)})
	if err := errors.Join(dicomio.Write(f, ds, dicomio.WriteOptions{TransferSyntax: uid.ExplicitVRLittleEndian, Pixels: pixels}), f.Close()); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// What a destination that was down has not got of a study is not sent any more
// once the study is another patient's, not even on request.
func TestCorrectionWithdrawsWhatIsUnsent(t *testing.T) {
	dir, pacs := t.TempDir(), &archive{refuse: &scp.StatusError{Status: 0xA700}}
	p := &fakeProcessor{t: t, look: func(ctx context.Context, req LoopRequest) (Seen, error) {
		key, err := keyOf(ctx, req, "basis")
		return Seen{Key: key}, err
	}}
	n := start(t, dir, p, Options{Destinations: []Destination{destination("pacs", listen(t, "PACS", pacs))}})
	n.mustSend(t, picture(t, "1.2.3", "1.2.3.10", 7, nil))
	eventually(t, "a report that is refused", func() bool {
		s := n.status(t, "1.2.3")
		return s.State == store.Done && len(s.Deliveries) == 1 && s.Deliveries[0].Attempts > 0
	})
	wrong := n.status(t, "1.2.3").Deliveries[0].SOPInstanceUID
	n.mustSend(t, picture(t, "1.2.3", "1.2.3.10", 7, func(ds *dicomio.DataSet) {
		ds.SetString(tag.PatientID, "P2").SetString(tag.PatientName, "Roe^Richard")
	}))
	eventually(t, "the second analysis", func() bool { s := n.status(t, "1.2.3"); return s.State == store.Done && s.Revision == 2 })
	pacs.mu.Lock()
	pacs.refuse = nil
	pacs.mu.Unlock()
	if _, err := n.Retry(t.Context(), "1.2.3"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the right report", func() bool { return n.status(t, "1.2.3").Finished() && pacs.objects() > 0 })
	pacs.mu.Lock()
	defer pacs.mu.Unlock()
	if len(pacs.got) != 1 || pacs.got[wrong] != 0 {
		t.Errorf("the archive got %v, the report under the former patient is %s", pacs.got, wrong)
	}
	if all := p.requests(); len(all) != 2 || all[1].Predecessor != nil {
		t.Errorf("the right report replaces one that nobody has: %+v", all[len(all)-1].Predecessor)
	}
}

// The rule for objects that come again: the same is acknowledged, other
// attributes with the same picture take the place of the version before and
// lead to a new run, another picture is refused and seen.
func TestCorrectedObjects(t *testing.T) {
	dir, pacs := t.TempDir(), &archive{}
	p := &fakeProcessor{t: t, look: func(ctx context.Context, req LoopRequest) (Seen, error) {
		key, err := keyOf(ctx, req, "basis") // as the real one's
		return Seen{Key: key}, err
	}}
	n := start(t, dir, p, Options{Destinations: []Destination{destination("pacs", listen(t, "PACS", pacs))}})
	named := func(name string) func(*dicomio.DataSet) {
		return func(ds *dicomio.DataSet) { ds.SetString(tag.PatientName, name) }
	}
	first := picture(t, "1.2.3", "1.2.3.10", 7, nil)
	n.mustSend(t, first)
	eventually(t, "first report", func() bool { return n.status(t, "1.2.3").Finished() && pacs.objects() == 1 })

	stored := func() string {
		t.Helper()
		in, err := n.store.Instance(context.Background(), "1.2.3.10")
		if err != nil {
			t.Fatal(err)
		}
		f, err := dicomio.Open(in.Path, dicomio.Options{Strict: true})
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		return f.DataSet.String(tag.PatientName)
	}
	for i, name := range []string{"Doe^Janet", "Doe^Janette", "Doe^Jane"} { // the last is the first again
		corrected := picture(t, "1.2.3", "1.2.3.10", 7, named(name))
		n.mustSend(t, corrected)
		if got := stored(); got != name {
			t.Errorf("the name is %s after a correction to %s", got, name)
		}
		n.mustSend(t, corrected) // the same again changes nothing
		eventually(t, "report of the correction", func() bool { return n.status(t, "1.2.3").Finished() && pacs.objects() == 2+i })
	}
	files := 0
	if err := n.spool.Each(t.Context(), func(string) error { files++; return nil }); err != nil || files != 1 {
		t.Errorf("%d files of one object, %v", files, err)
	}
	if s := n.status(t, "1.2.3"); s.Corrected != 1 || s.Conflicts != 0 || s.Objects != 1 {
		t.Errorf("status %+v", s)
	}

	var status *scp.StatusError
	for range 2 {
		if res := n.send(t, picture(t, "1.2.3", "1.2.3.10", 8, named("Roe^Richard")))[0]; !errors.As(res.Err, &status) ||
			status.Status != scp.StatusDuplicateInstance {
			t.Errorf("another picture: %v, want 0111H", res.Err)
		}
	}
	if s := n.status(t, "1.2.3"); s.Conflicts != 1 || stored() != "Doe^Jane" {
		t.Errorf("status %+v, name %s", s, stored())
	}
	runs := len(n.status(t, "1.2.3").Runs)
	n.stop()
	n = start(t, dir, p, Options{})
	files = 0
	if err := n.spool.Each(t.Context(), func(string) error { files++; return nil }); err != nil || files != 1 || !n.held(t, "1.2.3.10") {
		t.Errorf("%d files of one object after a restart, %v", files, err)
	}
	if s := n.status(t, "1.2.3"); len(s.Runs) != runs {
		t.Errorf("%d runs after the restart, %d before", len(s.Runs), runs)
	}
}

// Two patients under one study are resolved by a correction or by removing
// what does not belong there; an object that was moved leaves its study.
func TestPatientsAreResolved(t *testing.T) {
	dir := t.TempDir()
	p := &fakeProcessor{t: t}
	n := start(t, dir, p, Options{})
	of := func(id string) func(*dicomio.DataSet) {
		return func(ds *dicomio.DataSet) { ds.SetString(tag.PatientID, id) }
	}
	held := func() bool {
		s := n.status(t, "1.2.3")
		return s.State == store.Failed && strings.Contains(s.Error, "patients")
	}
	done := func() bool { return n.status(t, "1.2.3").State == store.Done }
	n.mustSend(t, picture(t, "1.2.3", "1.2.3.10", 7, of("P1")), picture(t, "1.2.3", "1.2.3.11", 8, of("P2")))
	eventually(t, "held", held)
	n.mustSend(t, picture(t, "1.2.3", "1.2.3.11", 8, of("P1")))
	eventually(t, "corrected", done)
	n.mustSend(t, picture(t, "1.2.3", "1.2.3.12", 9, of("P3")))
	eventually(t, "held again", held)
	if removed, err := n.RemoveObjects(context.Background(), "1.2.3", []string{"1.2.3.12", "9.9"}); err != nil || removed.Objects != 1 {
		t.Fatalf("RemoveObjects = %+v, %v", removed, err)
	}
	eventually(t, "removed", done)
	if n.held(t, "1.2.3.12") {
		t.Error("the removed object is still there")
	}
	if _, err := n.RemoveObjects(context.Background(), "1.2.3", []string{"1.2.3.12"}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("removing it again: %v", err)
	}
	n.mustSend(t, picture(t, "1.2.4", "1.2.3.11", 8, of("P1"))) // moved by the archive
	eventually(t, "both studies analysed", func() bool {
		return done() && n.status(t, "1.2.3").Objects == 1 && n.status(t, "1.2.4").State == store.Done
	})
}

// A version that was written but not recorded when the process died was not
// acknowledged: it goes, and the recorded one stays.
func TestUnrecordedVersionGoes(t *testing.T) {
	dir := t.TempDir()
	n := start(t, dir, &fakeProcessor{t: t}, Options{Idle: time.Hour, Cap: 2 * time.Hour})
	n.mustSend(t, picture(t, "1.2.3", "1.2.3.10", 7, nil))
	in, err := n.store.Instance(context.Background(), "1.2.3.10")
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(in.Path)
	if err != nil {
		t.Fatal(err)
	}
	other := strings.TrimSuffix(in.Path, ".dcm") + ".0123456789abcdef.dcm"
	if err := os.WriteFile(other, bytes.Replace(b, []byte("Doe^Jane"), []byte("Roe^Jane"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	n.stop()
	n = start(t, dir, &fakeProcessor{t: t}, Options{Idle: time.Hour, Cap: 2 * time.Hour})
	if _, err := os.Stat(other); !errors.Is(err, os.ErrNotExist) || !n.held(t, "1.2.3.10") {
		t.Errorf("the unrecorded version: %v; recorded one held: %v", err, n.held(t, "1.2.3.10"))
	}
}

// A correction may come in another transfer syntax, as from an archive that has
// decompressed or recoded the object; the same object recoded changes nothing.
func TestCorrectionInAnotherSyntax(t *testing.T) {
	n := start(t, t.TempDir(), byContent(t), Options{})
	n.mustSend(t, picture(t, "1.2.3", "1.2.3.10", 7, nil))
	finished := func(revision int) func() bool {
		return func() bool { s := n.status(t, "1.2.3"); return s.State == store.Done && s.Revision == revision }
	}
	eventually(t, "done", finished(1))
	recode := func(path string) string {
		t.Helper()
		f, err := dicomio.Open(path, dicomio.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		out, err := os.CreateTemp(t.TempDir(), "*.dcm")
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.Transcode(out, dicomio.WriteOptions{TransferSyntax: uid.ImplicitVRLittleEndian}), out.Close()); err != nil {
			t.Fatal(err)
		}
		return out.Name()
	}
	n.mustSend(t, recode(picture(t, "1.2.3", "1.2.3.10", 7, nil)))
	if s := n.status(t, "1.2.3"); s.State != store.Done || s.Corrected != 0 || s.Conflicts != 0 || n.files(t) != 1 {
		t.Errorf("the same, recoded: %+v, %d files", s, n.files(t))
	}
	n.mustSend(t, recode(picture(t, "1.2.3", "1.2.3.10", 7, func(ds *dicomio.DataSet) { ds.SetString(tag.PatientName, "Doe^Janet") })))
	eventually(t, "corrected", finished(2))
	if got := n.stored(t, "1.2.3.10").String(tag.PatientName); got != "Doe^Janet" || n.files(t) != 1 {
		t.Errorf("%s, %d files", got, n.files(t))
	}
	scaled := func(ds *dicomio.DataSet) {
		ds.SetString(tag.PatientName, "Doe^Janet").SetFloat(tag.PixelSpacing, 0.2, 0.2)
	}
	n.mustSend(t, picture(t, "1.2.3", "1.2.3.10", 7, scaled))
	eventually(t, "another scale, recoded", finished(3))
	if got := n.stored(t, "1.2.3.10").String(tag.PixelSpacing); got != "0.2" || n.files(t) != 1 {
		t.Errorf("Pixel Spacing %q, %d files", got, n.files(t))
	}
	var status *scp.StatusError
	if res := n.send(t, recode(picture(t, "1.2.3", "1.2.3.10", 9, nil)))[0]; !errors.As(res.Err, &status) || status.Status != scp.StatusDuplicateInstance {
		t.Errorf("another picture, recoded: %v, want 0111H", res.Err)
	}
}

// What was made with an object that is removed, and has not been sent, is not sent
// any more: the object may be another patient's.
func TestRemovedObjectsAreNotSent(t *testing.T) {
	pacs, down := &archive{}, &archive{refuse: &scp.StatusError{Status: 0xA700}}
	p := byContent(t)
	n := start(t, t.TempDir(), p, Options{RetryFirst: time.Hour, RetryMax: time.Hour,
		Destinations: []Destination{destination("pacs", listen(t, "PACS", pacs)), destination("down", listen(t, "PACS", down))}})
	n.mustSend(t, picture(t, "1.2.3", "1.2.3.10", 7, nil), picture(t, "1.2.3", "1.2.3.11", 8, nil))
	tried := func(reports int) func() bool {
		return func() bool {
			s := n.status(t, "1.2.3")
			return s.State == store.Done && pacs.objects() == reports && len(s.Deliveries) == 2*reports &&
				!slices.ContainsFunc(s.Deliveries, func(d DeliveryStatus) bool { return d.Attempts == 0 })
		}
	}
	eventually(t, "a report at one archive", tried(1))
	down.mu.Lock()
	down.refuse = nil
	down.mu.Unlock()
	first := p.requests()[0]
	removed, err := n.RemoveObjects(t.Context(), "1.2.3", []string{"1.2.3.11"})
	removed.State = "" // which may have gone on by now
	if err != nil || removed != (RemovedObjects{Objects: 1, Unsent: 1, Sent: 1}) {
		t.Fatalf("%+v, %v", removed, err)
	}
	eventually(t, "the report without it", func() bool { return n.status(t, "1.2.3").Finished() && pacs.objects() == 2 && down.objects() == 1 })
	if calls := p.requests(); len(calls) != 2 || len(first.Loops) != 2 || len(calls[1].Loops) != 1 || calls[1].Predecessor == nil {
		t.Errorf("%d runs", len(calls))
	}
	if removed, err = n.RemoveObjects(t.Context(), "1.2.3", []string{"1.2.3.10"}); err != nil || removed.Objects != 1 || removed.Unsent != 0 || removed.Sent != 2 {
		t.Fatalf("the last: %+v, %v", removed, err)
	}
	eventually(t, "rests", func() bool { return n.status(t, "1.2.3").State == store.Done })
	if down.objects() != 1 {
		t.Errorf("%d objects at the archive that was down", down.objects())
	}
}

// What fails while a correction takes the place of what outputs are made of is no
// failure: the study is analysed again.
func TestCorrectionDuringOutputs(t *testing.T) {
	dir := t.TempDir()
	var log logged
	p := &fakeProcessor{t: t, started: make(chan struct{}, 1), block: make(chan struct{}), fail: fs.ErrNotExist}
	n := startLogging(t, dir, p, Options{}, log.logger())
	n.mustSend(t, picture(t, "1.2.3", "1.2.3.10", 7, nil))
	<-p.started
	n.mustSend(t, picture(t, "1.2.3", "1.2.3.10", 7, func(ds *dicomio.DataSet) { ds.SetString(tag.PatientName, "Doe^Janet") }))
	p.block <- struct{}{} // and the attempt fails
	<-p.started
	p.mu.Lock()
	p.fail = nil
	p.mu.Unlock()
	p.block <- struct{}{}
	eventually(t, "done", func() bool { return n.status(t, "1.2.3").State == store.Done })
	for _, r := range n.status(t, "1.2.3").Runs {
		if r.Error != "" {
			t.Errorf("run %d: %s", r.Revision, r.Error)
		}
	}
	if text := log.String(); strings.Contains(text, "level=ERROR") {
		t.Errorf("logged:\n%s", text)
	}
}
