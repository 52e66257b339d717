package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/compare"
	"github.com/echonode/echonode/pipeline/objects"
	"github.com/echonode/echonode/pipeline/output"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/pipeline/store"
	"github.com/echonode/echonode/scp"
)

// byContent looks at loops as the real processor does: results are kept under
// the object's bytes.
func byContent(t *testing.T) *fakeProcessor {
	return &fakeProcessor{t: t, look: func(ctx context.Context, req LoopRequest) (Seen, error) {
		key, err := keyOf(ctx, req, "basis")
		return Seen{Key: key}, err
	}}
}

// stored reads an object as the node has it.
func (r *running) stored(t *testing.T, sop string) *dicomio.DataSet {
	t.Helper()
	in, err := r.store.Instance(context.Background(), sop)
	if err != nil {
		t.Fatal(err)
	}
	f, err := dicomio.Open(in.Path, dicomio.Options{Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return f.DataSet.Clone()
}

func (r *running) files(t *testing.T) (n int) {
	t.Helper()
	if err := r.spool.Each(t.Context(), func(string) error { n++; return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

// A study gets another patient: every object says so and remembers the former,
// pictures stay as they are, what is unsent goes, a second report names the
// first, and the audit trail knows.
func TestMoveStudy(t *testing.T) {
	dir, pacs, down := t.TempDir(), &archive{}, &archive{refuse: &scp.StatusError{Status: 0xA700}}
	p := byContent(t)
	// What is refused is not tried again while it is looked at: on its way it would
	// count as perhaps sent.
	n := start(t, dir, p, Options{RetryFirst: time.Hour, RetryMax: time.Hour,
		Destinations: []Destination{destination("pacs", listen(t, "PACS", pacs)), destination("down", listen(t, "PACS", down))}})
	latin := func(ds *dicomio.DataSet) {
		ds.SetString(tag.SpecificCharacterSet, "ISO_IR 100").SetString(tag.PatientName, "Müller^Änne").SetString(tag.PatientBirthDate, "19600101").
			SetString(tag.PatientAge, "066Y").SetString(tag.IssuerOfPatientID, "HOSP")
	}
	sent := []string{picture(t, "1.2.3", "1.2.3.10", 7, latin), picture(t, "1.2.3", "1.2.3.11", 8, latin)}
	n.mustSend(t, sent...)
	eventually(t, "a report at one archive", func() bool {
		s := n.status(t, "1.2.3")
		return s.State == store.Done && pacs.objects() == 1 && len(s.Deliveries) == 2 && s.Deliveries[0].Attempts > 0 && s.Deliveries[1].Attempts > 0
	})
	down.mu.Lock()
	down.refuse = nil
	down.mu.Unlock()
	order := Move{To: Patient{ID: "P2", Name: "Søe^Jane", Sex: "F", BirthDate: "19611231"}, Reason: ReasonCorrect, By: "root", From: "127.0.0.1"}
	moved, err := n.MoveStudy(t.Context(), "1.2.3", order)
	if err != nil || moved != (Moved{Study: "1.2.3", Objects: 2, Unsent: 1, Sent: 1}) {
		t.Fatalf("%+v, %v", moved, err)
	}
	eventually(t, "the second report", func() bool { return n.status(t, "1.2.3").Finished() && pacs.objects() == 2 && down.objects() == 1 })
	for i, sop := range []string{"1.2.3.10", "1.2.3.11"} {
		ds := n.stored(t, sop)
		if ds.String(tag.PatientID) != "P2" || ds.String(tag.PatientName) != "Søe^Jane" || ds.String(tag.PatientBirthDate) != "19611231" ||
			ds.String(tag.PatientSex) != "F" ||
			ds.Has(tag.PatientAge) || ds.String(tag.IssuerOfPatientID) != "HOSP" || ds.String(tag.SpecificCharacterSet) != "ISO_IR 100" {
			t.Errorf("%s is of %q %q", sop, ds.String(tag.PatientID), ds.String(tag.PatientName))
		}
		was := ds.Item(tag.OriginalAttributesSequence, 0)
		if was == nil || was.String(tag.ReasonForTheAttributeModification) != "CORRECT" || was.String(tag.ModifyingSystem) == "" {
			t.Fatalf("%s has no record of what it was", sop)
		}
		if former := was.Item(tag.ModifiedAttributesSequence, 0); former.String(tag.PatientName) != "Müller^Änne" || former.String(tag.PatientID) != "P1" ||
			former.String(tag.PatientAge) != "066Y" {
			t.Errorf("%s was of %q", sop, former.String(tag.PatientName))
		}
		in, err := n.store.Instance(t.Context(), sop)
		if err != nil {
			t.Fatal(err)
		}
		if same, err := compare.Pixels(t.Context(), sent[i], in.Path, dicomio.Options{}); err != nil || !same {
			t.Errorf("%s: another picture, %v", sop, err)
		}
	}
	if calls := p.requests(); len(calls) != 2 || calls[1].Predecessor == nil || pacs.got[calls[1].Predecessor.SOPInstanceUID] != 1 {
		t.Errorf("%d runs, the second does not name the first", len(calls))
	}
	if again, err := n.MoveStudy(t.Context(), "1.2.3", order); err != nil || again.Objects != 0 {
		t.Errorf("the same again: %+v, %v", again, err)
	}
	if _, err := n.MoveStudy(t.Context(), "9.9", order); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an unknown study: %v", err)
	}
	trail, err := n.store.AuditTrail(t.Context(), "1.2.3", 0, 10)
	if err != nil || len(trail) != 2 || trail[1].User != "root" || trail[1].Failed || trail[1].Detail != "CORRECT, 2 objects" {
		t.Errorf("audit %+v, %v", trail, err)
	}
	if n.files(t) != 2 {
		t.Errorf("%d files of 2 objects", n.files(t))
	}
	// The cart sends the former version once more: the study is held, not mixed.
	n.mustSend(t, sent[0])
	eventually(t, "held", func() bool {
		s := n.status(t, "1.2.3")
		return s.State == store.Failed && strings.Contains(s.Error, "2 patients")
	})
	if moved, err := n.MoveStudy(t.Context(), "1.2.3", order); !errors.As(err, new(badRequest)) || moved.Objects != 0 ||
		!strings.Contains(err.Error(), "2 persons") {
		t.Errorf("a study of two persons was moved: %+v, %v", moved, err)
	}
	order.AllPersons = true
	if moved, err := n.MoveStudy(t.Context(), "1.2.3", order); err != nil || moved.Objects != 1 {
		t.Errorf("moved again: %+v, %v", moved, err)
	}
	eventually(t, "resolved", func() bool { return n.status(t, "1.2.3").Finished() && n.status(t, "1.2.3").State == store.Done })
	n.stop()
	n = start(t, dir, p, Options{})
	if n.files(t) != 2 {
		t.Errorf("%d files of 2 objects after a restart", n.files(t))
	}
}

// What is being made under the former patient when a study is moved is thrown
// away.
func TestMoveDuringAnalysis(t *testing.T) {
	dir, pacs := t.TempDir(), &archive{}
	p := byContent(t)
	p.block, p.started = make(chan struct{}), make(chan struct{}, 10)
	n := start(t, dir, p, Options{Destinations: []Destination{destination("pacs", listen(t, "PACS", pacs))}})
	n.mustSend(t, picture(t, "1.2.3", "1.2.3.10", 7, nil))
	<-p.started
	if moved, err := n.MoveStudy(t.Context(), "1.2.3", Move{To: Patient{ID: "P2"}, Reason: ReasonCorrect}); err != nil || moved.Objects != 1 {
		t.Fatalf("%+v, %v", moved, err)
	}
	close(p.block)
	eventually(t, "the second analysis", func() bool {
		s := n.status(t, "1.2.3")
		return s.Finished() && s.State == store.Done && s.Revision == 2
	})
	if s := n.status(t, "1.2.3"); len(s.Runs) != 1 || s.Runs[0].Revision != 2 || len(s.Deliveries) != 1 || pacs.objects() != 1 {
		t.Errorf("%+v; %d objects at the archive", s, pacs.objects())
	}
}

// All objects or none.
func TestMoveIsWhole(t *testing.T) {
	n := start(t, t.TempDir(), byContent(t), Options{})
	n.mustSend(t, picture(t, "1.2.3", "1.2.3.10", 7, nil), picture(t, "1.2.3", "1.2.3.11", 8, nil))
	eventually(t, "done", func() bool { return n.status(t, "1.2.3").State == store.Done })
	in, err := n.store.Instance(t.Context(), "1.2.3.11")
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(in.Path)
	if err == nil {
		err = os.WriteFile(in.Path, b[:len(b)-9], 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.MoveStudy(t.Context(), "1.2.3", Move{To: Patient{ID: "P2"}, Reason: ReasonCorrect}); err == nil || !strings.Contains(err.Error(), "1.2.3.11") {
		t.Errorf("a damaged object: %v", err)
	}
	if got := n.stored(t, "1.2.3.10").String(tag.PatientID); got != "P1" || n.status(t, "1.2.3").State != store.Done || n.files(t) != 2 {
		t.Errorf("half of it was moved: %s, %d files", got, n.files(t))
	}
	if trail, err := n.store.AuditTrail(t.Context(), "1.2.3", 0, 1); err != nil || len(trail) != 1 || !trail[0].Failed {
		t.Errorf("audit %+v, %v", trail, err)
	}
	for name, bad := range map[string]Move{
		"no ID":      {Reason: ReasonCorrect},
		"no reason":  {To: Patient{ID: "P2"}},
		"a long ID":  {To: Patient{ID: strings.Repeat("9", 65)}, Reason: ReasonCorrect},
		"no date":    {To: Patient{ID: "P2", BirthDate: "20260230"}, Reason: ReasonCorrect},
		"a sex":      {To: Patient{ID: "P2", Sex: "X"}, Reason: ReasonCorrect},
		"a control":  {To: Patient{ID: "P2", Name: "A\x01B"}, Reason: ReasonCorrect},
		"an escape":  {To: Patient{ID: "N1\x1b[0m"}, Reason: ReasonCorrect},
		"six parts":  {To: Patient{ID: "P2", Name: "a^b^c^d^e^f"}, Reason: ReasonCorrect},
		"four names": {To: Patient{ID: "P2", Name: "a=b=c=d"}, Reason: ReasonCorrect},
		"two values": {To: Patient{ID: "P2\\P3"}, Reason: ReasonCorrect},
	} {
		if _, err := n.MoveStudy(t.Context(), "1.2.3", bad); !errors.As(err, new(badRequest)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A name beyond the character set of an object takes the object to ISO_IR 192, with all
// other text as it was; where that is not what its character set allows, nobody knows
// what it says, and the object stays as it is.
func TestMoveBeyondTheCharacterSet(t *testing.T) {
	dir := t.TempDir()
	n := start(t, dir, &fakeProcessor{t: t}, Options{Idle: time.Hour, Cap: 2 * time.Hour})
	latin := func(comments string) func(*dicomio.DataSet) {
		return func(ds *dicomio.DataSet) {
			item := dicomio.NewDataSet().SetBytes(tag.CodeMeaning, "LO", []byte("Gr\xf6\xdfe"))
			ds.SetString(tag.SpecificCharacterSet, "ISO_IR 100").SetBytes(tag.PatientName, "PN", []byte("M\xfcller^J\xfcrgen")).
				SetBytes(tag.PatientComments, "LT", []byte(comments)).SetItems(tag.ProcedureCodeSequence, item)
		}
	}
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.10", latin("stra\xdfe")))
	move := func(study, name string) (Moved, error) {
		return n.MoveStudy(t.Context(), study, Move{To: Patient{ID: "P9", Name: name}, Reason: ReasonCorrect})
	}
	read := func(sop string) *dicomio.DataSet {
		t.Helper()
		in, err := n.store.Instance(t.Context(), sop)
		if err != nil {
			t.Fatal(err)
		}
		f, err := dicomio.Open(in.Path, dicomio.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f.DataSet
	}
	const name = "Ünal^Ayşe=王^小東"
	if m, err := move("1.2.3", name); err != nil || m.Objects != 1 {
		t.Fatalf("%+v, %v", m, err)
	}
	ds := read("1.2.3.10")
	if got := []string{ds.String(tag.SpecificCharacterSet), ds.String(tag.PatientName), ds.String(tag.PatientComments),
		ds.Items(tag.ProcedureCodeSequence)[0].String(tag.CodeMeaning)}; !slices.Equal(got, []string{"ISO_IR 192", name, "straße", "Größe"}) {
		t.Errorf("%q", got)
	}
	if former := ds.Items(tag.OriginalAttributesSequence)[0].Items(tag.ModifiedAttributesSequence)[0]; former.String(tag.PatientName) != "Müller^Jürgen" {
		t.Errorf("it was %q", former.String(tag.PatientName))
	}
	// Code extensions by escape sequences, as Japanese objects have them.
	n.mustSend(t, writeObject(t, dir, "1.2.5", "1.2.5.10", func(ds *dicomio.DataSet) {
		ds.SetString(tag.SpecificCharacterSet, "", "ISO 2022 IR 87").SetString(tag.PatientName, "Yamada^Tarou").
			SetBytes(tag.PatientComments, "LT", []byte("\x1b$B;3ED\x1b(B"))
	}))
	if m, err := move("1.2.5", name); err != nil || m.Objects != 1 {
		t.Fatalf("%+v, %v", m, err)
	}
	ds = read("1.2.5.10")
	if got := []string{ds.String(tag.SpecificCharacterSet), ds.String(tag.PatientName), ds.String(tag.PatientComments)}; !slices.Equal(got,
		[]string{"ISO_IR 192", name, "山田"}) {
		t.Errorf("%q", got)
	}
	// Bytes that ASCII, which no attribute says is another set, has not.
	n.mustSend(t, writeObject(t, dir, "1.2.4", "1.2.4.10", func(ds *dicomio.DataSet) {
		latin("stra\xdfe")(ds)
		ds.SetString(tag.SpecificCharacterSet, "ISO_IR 6").SetString(tag.PatientName, "Muller^Jurgen")
	}))
	if m, err := move("1.2.4", name); !errors.As(err, new(conflict)) || !strings.Contains(err.Error(), "ISO_IR 6") || m.Objects != 0 {
		t.Errorf("%+v, %v", m, err)
	}
	if m, err := move("1.2.4", "Unal^Ayse"); err != nil || m.Objects != 1 {
		t.Errorf("%+v, %v", m, err)
	}
}

// A patient is merged into another, whose name and birth date count; people who
// share an ID are not.
func TestMergePatient(t *testing.T) {
	n := start(t, t.TempDir(), byContent(t), Options{})
	of := func(id, name, born string) func(*dicomio.DataSet) {
		return func(ds *dicomio.DataSet) {
			ds.SetString(tag.PatientID, id).SetString(tag.PatientName, name).SetString(tag.PatientBirthDate, born)
		}
	}
	n.mustSend(t,
		picture(t, "1.2.3", "1.2.3.10", 7, of("OLD", "Doe^Jane", "19600101")),
		picture(t, "1.2.4", "1.2.4.10", 8, of("OLD", "Doe^J", "19600101")),
		picture(t, "1.2.5", "1.2.5.10", 9, of("NEW", "Roe^Jane", "19600101")),
		picture(t, "1.2.6", "1.2.6.10", 10, of("0", "Poe^Ann", "19500101")),
		picture(t, "1.2.7", "1.2.7.10", 11, of("0", "Moe^Ben", "19700101")))
	all := func() bool {
		for _, s := range []string{"1.2.3", "1.2.4", "1.2.5", "1.2.6", "1.2.7"} {
			if n.status(t, s).State != store.Done {
				return false
			}
		}
		return true
	}
	eventually(t, "done", all)
	post := func(form url.Values) (int, string) {
		form.Set("reason", ReasonCoerce)
		r := httptest.NewRequest(http.MethodPost, "/patients/merge", strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		n.API().ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	for _, c := range []struct {
		from, to string
		code     int
		text     string
	}{
		{"0", "NEW", 400, "2 persons"}, {"OLD", "0", 400, "2 persons"}, {"NOBODY", "NEW", 404, "no study"}, {"NEW", "NEW", 400, "same"}, {"", "NEW", 400, "missing"},
		{"OLD", "NEW", 200, "1.2.4"},
	} {
		if code, text := post(url.Values{"id": {c.from}, "to_id": {c.to}}); code != c.code || !strings.Contains(text, c.text) {
			t.Errorf("%s into %s: %d %s", c.from, c.to, code, text)
		}
	}
	eventually(t, "done again", all)
	for _, sop := range []string{"1.2.3.10", "1.2.4.10"} {
		if ds := n.stored(t, sop); ds.String(tag.PatientID) != "NEW" || ds.String(tag.PatientName) != "Roe^Jane" {
			t.Errorf("%s is of %s %s", sop, ds.String(tag.PatientID), ds.String(tag.PatientName))
		}
	}
	if ds := n.stored(t, "1.2.6.10"); ds.String(tag.PatientID) != "0" || ds.Has(tag.OriginalAttributesSequence) {
		t.Error("a study of somebody else was changed")
	}
}

// Encapsulated pixels and their offsets stay byte for byte.
func TestMoveKeepsFragments(t *testing.T) {
	n := start(t, t.TempDir(), byContent(t), Options{})
	ds := dicomio.NewDataSet().SetString(tag.SOPClassUID, uid.UltrasoundMultiFrameImageStorage).SetString(tag.SOPInstanceUID, "1.2.3.10").
		SetString(tag.StudyInstanceUID, "1.2.3").SetString(tag.SeriesInstanceUID, "1.2.3.1").SetString(tag.PatientID, "P1").
		SetInt(tag.NumberOfFrames, 2).SetInt(tag.Rows, 4).SetInt(tag.Columns, 4).SetInt(tag.SamplesPerPixel, 1).
		SetString(tag.PhotometricInterpretation, "MONOCHROME2").SetInt(tag.BitsAllocated, 8).SetInt(tag.BitsStored, 8).SetInt(tag.HighBit, 7).
		SetInt(tag.PixelRepresentation, 0)
	path := t.TempDir() + "/x.dcm"
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	pixels := dicomio.FrameBytes([][]byte{bytes.Repeat([]byte{1}, 33), bytes.Repeat([]byte{2}, 20)})
	if err := errors.Join(dicomio.Write(f, ds, dicomio.WriteOptions{TransferSyntax: uid.JPEGBaseline8Bit, Pixels: pixels}), f.Close()); err != nil {
		t.Fatal(err)
	}
	n.mustSend(t, path)
	if _, err := n.MoveStudy(t.Context(), "1.2.3", Move{To: Patient{ID: "P2"}, Reason: ReasonCorrect}); err != nil {
		t.Fatal(err)
	}
	in, err := n.store.Instance(t.Context(), "1.2.3.10")
	if err != nil {
		t.Fatal(err)
	}
	if same, err := compare.Pixels(t.Context(), path, in.Path, dicomio.Options{}); err != nil || !same || in.TransferSyntaxUID != uid.JPEGBaseline8Bit {
		t.Errorf("%v, %v", same, err)
	}
}

// withdrawing is a processor whose reports are of the patient of their study's
// objects, and which makes withdrawals.
type withdrawing struct {
	*fakeProcessor
	more  int // reports beside the first
	mu    sync.Mutex
	notes map[string][]string // by the note's UID: what it is about
}

func (p *withdrawing) Process(ctx context.Context, req Request) (*result.Document, error) {
	doc, err := p.fakeProcessor.Process(ctx, req)
	if err != nil {
		return nil, err
	}
	path, err := req.Objects.File(ctx, req.Loops[0].Path)
	if err != nil {
		return nil, err
	}
	id, err := dicomio.IdentifyFile(ctx, path, dicomio.Options{})
	if err != nil {
		return nil, err
	}
	st := &doc.Studies[0]
	for i := range p.more {
		o := st.Outputs[0]
		o.SOPInstanceUID = fmt.Sprintf("%s.%d", o.SOPInstanceUID[:40], i+1)
		st.Outputs = append(st.Outputs, o)
	}
	for i := range st.Outputs {
		o := &st.Outputs[i]
		o.File = writeObject(p.t, req.Dir, req.StudyInstanceUID, o.SOPInstanceUID, func(ds *dicomio.DataSet) {
			ds.SetString(tag.SOPClassUID, o.SOPClassUID).SetString(tag.PatientID, id.PatientID).SetString(tag.PatientName, id.PatientName)
		})
	}
	for _, l := range req.Loops {
		st.Loops = append(st.Loops, result.Loop{SOPInstanceUID: l.SOPInstanceUID})
	}
	return doc, nil
}

func (p *withdrawing) Withdraw(ctx context.Context, files []string, path string) (result.Output, error) {
	o, err := output.Withdraw(files, path, result.Software{Version: "1"}, time.Now(), output.Options{Station: "ECHONODE"})
	if err != nil {
		return o, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, file := range files {
		id, err := dicomio.IdentifyFile(ctx, file, dicomio.Options{})
		if err != nil {
			return o, err
		}
		p.notes[o.SOPInstanceUID] = append(p.notes[o.SOPInstanceUID], id.SOPInstanceUID)
	}
	return o, nil
}

// A destination that wants to know is told once which results it has under a
// former patient; others are not, and what stays right is not withdrawn.
func TestWithdrawals(t *testing.T) {
	wants, does := &archive{}, &archive{}
	told := destination("told", listen(t, "PACS", wants))
	told.Withdraws = true
	p := &withdrawing{fakeProcessor: byContent(t), notes: map[string][]string{}}
	n := start(t, t.TempDir(), p, Options{Destinations: []Destination{told, destination("other", listen(t, "PACS", does))}})
	n.mustSend(t, picture(t, "1.2.3", "1.2.3.10", 7, nil))
	finished := func(revision int) func() bool {
		return func() bool { s := n.status(t, "1.2.3"); return s.Finished() && s.Revision == revision }
	}
	eventually(t, "the first report", finished(1))
	move := func(id, name string, sent int) {
		t.Helper()
		moved, err := n.MoveStudy(t.Context(), "1.2.3", Move{To: Patient{ID: id, Name: name}, Reason: ReasonCorrect})
		if err != nil {
			t.Fatal(err)
		}
		if moved.Sent != sent {
			t.Errorf("%d results were sent under the patient before %s, want %d", moved.Sent, id, sent)
		}
	}
	has := func(reports, notes int) {
		t.Helper()
		p.mu.Lock()
		defer p.mu.Unlock()
		if wants.objects() != reports+notes || does.objects() != reports || len(p.notes) != notes {
			t.Errorf("%d and %d objects, %d notes; want %d reports and %d notes", wants.objects(), does.objects(), len(p.notes), reports, notes)
		}
	}
	has(1, 0)
	move("P1", "DOE^Jane M.", 1) // the same person, written otherwise
	eventually(t, "the second report", finished(2))
	has(2, 0)
	move("P2", "Roe^Jane", 2)
	eventually(t, "the third report", finished(3))
	has(3, 1)
	for _, about := range p.notes {
		if len(about) != 2 {
			t.Errorf("the note is about %v", about)
		}
	}
	n.mustSend(t, picture(t, "1.2.3", "1.2.3.11", 8, func(ds *dicomio.DataSet) { ds.SetString(tag.PatientID, "P2").SetString(tag.PatientName, "Roe^Jane") }))
	eventually(t, "a late loop", finished(4))
	has(4, 1)
	if err := n.Reanalyse(t.Context(), "1.2.3"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "analysed again", finished(5))
	has(4, 1)
	move("P1", "Doe^Jane", 2) // back; not those of before
	eventually(t, "back", finished(6))
	has(5, 2)
	for _, d := range n.status(t, "1.2.3").Deliveries {
		if d.Kind == result.KindWithdrawal && d.Destination != "told" {
			t.Errorf("%+v", d)
		}
	}
}

// Of results under a former patient those are withdrawn whose files are whole: what
// of one cannot be read keeps neither the others from that nor the study from its
// report.
func TestWithdrawalOfLostResults(t *testing.T) {
	for name, harm := range map[string]func(path string) error{
		"gone": os.Remove,
		"cut off": func(path string) error {
			info, err := os.Stat(path)
			return errors.Join(err, os.Truncate(path, info.Size()-3))
		},
	} {
		t.Run(name, func(t *testing.T) {
			told := destination("told", listen(t, "PACS", &archive{}))
			told.Withdraws = true
			p := &withdrawing{fakeProcessor: byContent(t), notes: map[string][]string{}, more: 1}
			n := start(t, t.TempDir(), p, Options{Destinations: []Destination{told}})
			n.mustSend(t, picture(t, "1.2.3", "1.2.3.10", 7, nil))
			finished := func(revision int) func() bool {
				return func() bool {
					s := n.status(t, "1.2.3")
					return s.Finished() && s.State == store.Done && s.Revision == revision
				}
			}
			eventually(t, "the first reports", finished(1))
			made, err := n.store.Outputs(t.Context(), "1.2.3")
			if err != nil || len(made) != 2 {
				t.Fatalf("outputs %+v, %v", made, err)
			}
			if err := harm(made[0].Path); err != nil {
				t.Fatal(err)
			}
			if _, err := n.MoveStudy(t.Context(), "1.2.3", Move{To: Patient{ID: "P2", Name: "Roe^Jane"}, Reason: ReasonCorrect}); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the reports of the right patient", finished(2))
			p.mu.Lock()
			defer p.mu.Unlock()
			if len(p.notes) != 1 {
				t.Fatalf("notes %v", p.notes)
			}
			for _, about := range p.notes {
				if !slices.Equal(about, []string{made[1].SOPInstanceUID}) {
					t.Errorf("the note is about %v", about)
				}
			}
		})
	}
}

// away is a store that can be away.
type away struct {
	objects.Store
	is atomic.Bool
}

func (s *away) err() error {
	if s.is.Load() {
		return objects.ErrUnavailable
	}
	return nil
}

func (s *away) Open(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if err := s.err(); err != nil {
		return nil, err
	}
	return s.Store.Open(ctx, name, offset, length)
}

func (s *away) Put(ctx context.Context, name string, r io.ReadSeeker, size int64) error {
	if err := s.err(); err != nil {
		return err
	}
	return s.Store.Put(ctx, name, r, size)
}

// What may have to be withdrawn is not forgotten while the object store is away.
func TestWithdrawalWaits(t *testing.T) {
	told := destination("told", listen(t, "PACS", &archive{}))
	told.Withdraws = true
	s := &away{Store: objects.NewDirectory(t.TempDir())}
	p := &withdrawing{fakeProcessor: byContent(t), notes: map[string][]string{}}
	n := start(t, t.TempDir(), p, Options{Objects: copies(t, s), Destinations: []Destination{told}})
	n.mustSend(t, picture(t, "1.2.3", "1.2.3.10", 7, nil))
	eventually(t, "the first report", func() bool {
		s := n.status(t, "1.2.3")
		return s.Finished() && s.State == store.Done && len(s.Deliveries) == 1
	})
	made, err := n.store.Outputs(t.Context(), "1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	s.is.Store(true)
	n.Node.files.DropCopy(made[0].Path)
	hold := n.Node.files.Hold()
	defer hold.Release()
	all := func(store.Delivery, result.Person) bool { return true }
	notes, err := n.withdrawWrong(t.Context(), &store.Run{StudyInstanceUID: "1.2.3", Revision: 2}, nil, hold, all)
	if !errors.Is(err, objects.ErrUnavailable) {
		t.Errorf("%d notes, %v", len(notes), err)
	}
}

// slowArchive takes objects when it is told to, and lets know of each.
type slowArchive struct {
	archive
	came, take chan struct{}
}

func (a *slowArchive) Store(ctx context.Context, req *scp.StoreRequest, r io.Reader) error {
	if err := a.archive.Store(ctx, req, r); err != nil {
		return err
	}
	select {
	case a.came <- struct{}{}: // the first
		<-a.take
	case <-a.take: // all others, when that one was looked at
	}
	return nil
}

// What is withdrawn while one of several objects is on its way: that one is
// taken back by a note, and none of the others is sent.
func TestWithdrawnUnderWay(t *testing.T) {
	pacs := &slowArchive{came: make(chan struct{}), take: make(chan struct{})}
	told := destination("told", listen(t, "PACS", pacs))
	told.Withdraws = true
	p := &withdrawing{fakeProcessor: byContent(t), notes: map[string][]string{}, more: 3}
	n := start(t, t.TempDir(), p, Options{Destinations: []Destination{told}})
	n.mustSend(t, picture(t, "1.2.3", "1.2.3.10", 7, nil))
	<-pacs.came
	var wrong string
	pacs.mu.Lock()
	for sop := range pacs.got {
		wrong = sop
	}
	pacs.mu.Unlock()
	moved, err := n.MoveStudy(t.Context(), "1.2.3", Move{To: Patient{ID: "P2", Name: "Roe^Jane"}, Reason: ReasonCorrect})
	if err != nil || moved.Unsent != 3 || moved.Sent != 1 {
		t.Errorf("%+v, %v: 1 of 4 objects is on its way", moved, err)
	}
	close(pacs.take)
	eventually(t, "the right reports and a note", func() bool { s := n.status(t, "1.2.3"); return s.Finished() && s.Revision == 2 })
	p.mu.Lock()
	defer p.mu.Unlock()
	if pacs.objects() != 1+4+1 || len(p.notes) != 1 {
		t.Errorf("%d objects arrived, %d notes; want the one that was on its way, 4 right ones and a note", pacs.objects(), len(p.notes))
	}
	for _, about := range p.notes {
		if len(about) != 1 || about[0] != wrong {
			t.Errorf("the note is about %v, sent was %s", about, wrong)
		}
	}
}

// told starts a node with a destination that wants to know of withdrawals.
func told(t *testing.T) (*running, *archive, *withdrawing) {
	pacs := &archive{}
	dest := destination("told", listen(t, "PACS", pacs))
	dest.Withdraws = true
	p := &withdrawing{fakeProcessor: byContent(t), notes: map[string][]string{}}
	return start(t, t.TempDir(), p, Options{Destinations: []Destination{dest}}), pacs, p
}

// A study whose loops have all been corrected into another takes back what was
// sent of it, once, and reports anew when they come back.
func TestStudyLeftBehind(t *testing.T) {
	n, pacs, p := told(t)
	n.mustSend(t, picture(t, "1.2.3", "1.2.3.10", 7, nil))
	eventually(t, "the report", func() bool { return n.status(t, "1.2.3").Finished() && pacs.objects() == 1 })
	first := n.status(t, "1.2.3").Deliveries[0].SOPInstanceUID
	n.mustSend(t, picture(t, "1.2.4", "1.2.3.10", 7, nil))
	eventually(t, "a note, and the report of the other study", func() bool {
		return n.status(t, "1.2.3").Finished() && n.status(t, "1.2.4").Finished() && pacs.objects() == 3
	})
	p.mu.Lock()
	for _, about := range p.notes {
		if len(about) != 1 || about[0] != first {
			t.Errorf("the note is about %v, sent was %s", about, first)
		}
	}
	if s := n.status(t, "1.2.3"); len(p.notes) != 1 || s.State != store.Done || s.Error != "" {
		t.Errorf("%d notes; %+v", len(p.notes), s)
	}
	p.mu.Unlock()
	n.mustSend(t, picture(t, "1.2.3", "1.2.3.10", 7, nil))
	eventually(t, "back: another report, and a note about the other study's", func() bool {
		return n.status(t, "1.2.3").Finished() && n.status(t, "1.2.4").Finished() && pacs.objects() == 5
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.notes) != 2 {
		t.Errorf("%d notes", len(p.notes))
	}
}

// A study that is held for two patients takes back the report whose loops are
// another patient's now; a late object of somebody else says nothing of the
// report that is there.
func TestHeldStudyWithdraws(t *testing.T) {
	n, pacs, p := told(t)
	of := func(id string) func(*dicomio.DataSet) {
		return func(ds *dicomio.DataSet) { ds.SetString(tag.PatientID, id) }
	}
	held := func() bool { s := n.status(t, "1.2.3"); return s.State == store.Failed && s.Finished() }
	n.mustSend(t, picture(t, "1.2.3", "1.2.3.10", 7, nil))
	eventually(t, "the report", func() bool { return n.status(t, "1.2.3").Finished() && pacs.objects() == 1 })
	n.mustSend(t, picture(t, "1.2.3", "1.2.3.11", 8, of("P2")))
	eventually(t, "held", held)
	if pacs.objects() != 1 {
		t.Errorf("a report was withdrawn for an object of somebody else")
	}
	was := n.setIdle(time.Hour) // what comes after the move comes before the study is complete
	if _, err := n.MoveStudy(t.Context(), "1.2.3", Move{To: Patient{ID: "P2"}, Reason: ReasonCorrect, AllPersons: true}); err != nil {
		t.Fatal(err)
	}
	n.mustSend(t, picture(t, "1.2.3", "1.2.3.12", 9, nil)) // of the former patient
	n.setIdle(was)
	eventually(t, "held again, with a note", func() bool { return held() && pacs.objects() == 2 })
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.notes) != 1 {
		t.Errorf("%d notes", len(p.notes))
	}
}

// A loop that is moved while it is looked at is no failure.
func TestMoveDuringLook(t *testing.T) {
	p := byContent(t)
	looked, goOn := make(chan struct{}, 1), make(chan struct{})
	inner := p.look
	p.look = func(ctx context.Context, req LoopRequest) (Seen, error) {
		select {
		case looked <- struct{}{}:
			<-goOn
			return Seen{}, os.ErrNotExist
		default:
			return inner(ctx, req)
		}
	}
	n := start(t, t.TempDir(), p, Options{})
	n.mustSend(t, picture(t, "1.2.3", "1.2.3.10", 7, nil))
	eventually(t, "a look", func() bool { return len(looked) == 1 })
	lease := store.Lease{}
	lease.SOPInstanceUID = "1.2.3.10"
	in, err := n.store.Instance(t.Context(), "1.2.3.10")
	if err != nil {
		t.Fatal(err)
	}
	if lease.Path = in.Path; n.replaced(t.Context(), lease) {
		t.Error("replaced before the move")
	}
	if _, err := n.MoveStudy(t.Context(), "1.2.3", Move{To: Patient{ID: "P2"}, Reason: ReasonCorrect}); err != nil {
		t.Fatal(err)
	}
	if !n.replaced(t.Context(), lease) {
		t.Error("not replaced after the move")
	}
	close(goOn)
	eventually(t, "done", func() bool { return n.status(t, "1.2.3").State == store.Done })
}
