package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/pipeline/store"
	"github.com/echonode/echonode/scp"
)

// Loops are looked at while their study is still received; with the setting off
// they wait for it.
func TestLoopsAreLookedAtOnArrival(t *testing.T) {
	for _, onArrival := range []bool{true, false} {
		t.Run(fmt.Sprint(onArrival), func(t *testing.T) {
			dir, p := t.TempDir(), &fakeProcessor{t: t}
			n := start(t, dir, p, Options{OnArrival: onArrival, Idle: time.Hour, Cap: 2 * time.Hour})
			n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.10", nil), writeObject(t, dir, "1.2.3", "1.2.3.11", nil))
			if onArrival {
				eventually(t, "loops looked at", func() bool { return n.status(t, "1.2.3").Progress == "2/2" })
			} else {
				n.looksRound(t)
			}
			if s := n.status(t, "1.2.3"); s.State != store.Receiving || len(p.requests()) != 0 {
				t.Errorf("%+v with %d combinations", s, len(p.requests()))
			}
			if !onArrival && len(p.seen()) != 0 {
				t.Errorf("looked at %v before the study was complete", p.seen())
			}
			n.complete(t)
			eventually(t, "done", func() bool { return n.status(t, "1.2.3").State == store.Done })
			if len(p.seen()) != 2 || len(p.requests()) != 1 {
				t.Errorf("%v looked at, %d combinations", p.seen(), len(p.requests()))
			}
		})
	}
}

// A late loop costs itself, and a repeated analysis nothing, not even a
// delivery; another network costs all of it.
func TestOnlyWhatHasChangedIsMadeAgain(t *testing.T) {
	dir, pacs := t.TempDir(), &archive{}
	dest := []Destination{destination("pacs", listen(t, "PACS", pacs))}
	p := &fakeProcessor{t: t}
	n := start(t, dir, p, Options{OnArrival: true, Destinations: dest})
	done := func(revision, reports int) {
		t.Helper()
		eventually(t, fmt.Sprintf("revision %d done", revision), func() bool {
			s := n.status(t, "1.2.3")
			return s.Revision == revision && s.Finished() && pacs.objects() == reports
		})
	}
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.10", nil), writeObject(t, dir, "1.2.3", "1.2.3.11", nil))
	done(1, 1)
	again := func() {
		t.Helper()
		if err := n.Reanalyse(context.Background(), "1.2.3"); err != nil {
			t.Fatal(err)
		}
	}
	again()
	done(2, 1)
	if len(p.seen()) != 2 || len(p.requests()) != 1 {
		t.Errorf("a repetition looked at %v and combined %d times", p.seen(), len(p.requests()))
	}
	for uid, times := range pacs.got {
		if times != 1 {
			t.Errorf("%s was sent %d times", uid, times)
		}
	}
	s := n.status(t, "1.2.3")
	if s.Runs[0].Directory != s.Runs[1].Directory || len(s.Deliveries) != 1 {
		t.Errorf("after a repetition: %+v", s)
	}

	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.12", nil))
	done(3, 2)
	if got := p.seen(); len(got) != 3 || got[2] != "1.2.3.12" {
		t.Errorf("a late loop: looked at %v", got)
	}
	if req := p.requests()[1]; len(req.Loops) != 3 || req.Loops[2].Number != 3 || req.Predecessor == nil {
		t.Errorf("a late loop: %+v", req)
	}

	// Somebody removes a kept result: that loop is looked at again.
	if err := n.keptDir("1.2.3").Remove(context.Background(), "1.2.3.11"); err != nil {
		t.Fatal(err)
	}
	again()
	done(4, 2)
	if got := p.seen(); len(got) != 4 || got[3] != "1.2.3.11" {
		t.Errorf("a lost result: looked at %v", got)
	}
	// A bad disk cuts one, and the loop that came late makes a run necessary.
	cut := filepath.Join(filepath.Join(dir, "results", studyFolder("1.2.3"), "loops"), "1.2.3.10.json.gz")
	if err := os.Truncate(cut, 5); err != nil {
		t.Fatal(err)
	}
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.13", nil))
	done(5, 3)
	if got := p.seen(); len(got) != 6 || got[5] != "1.2.3.10" {
		t.Errorf("a damaged result: looked at %v", got)
	}
	// A bad disk changes a digit of a run's document: it is made anew, from what is kept.
	doc := filepath.Join(n.status(t, "1.2.3").Runs[0].Directory, resultFile)
	b, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Replace(b, []byte(`"1.2.3`), []byte(`"1.2.7`), 1)
	if err := os.WriteFile(doc, changed, 0o600); err != nil || bytes.Equal(b, changed) {
		t.Fatal("nothing changed", err)
	}
	combined := len(p.requests())
	again()
	done(6, 4)
	if got := p.seen(); len(got) != 6 || len(p.requests()) != combined+1 {
		t.Errorf("a damaged document: looked at %v, combined %d times", got, len(p.requests())-combined)
	}
	n.stop()
	other := &fakeProcessor{t: t, basis: "2"}
	n = start(t, dir, other, Options{OnArrival: true, Destinations: dest})
	again()
	done(7, 5)
	if got := other.seen(); len(got) != 4 {
		t.Errorf("another network: looked at %v", got)
	}
}

// Reports, and objects that another node has made, are kept and begin nothing.
func TestWhatIsNoLoopBeginsNothing(t *testing.T) {
	dir, p := t.TempDir(), &fakeProcessor{t: t}
	n := start(t, dir, p, Options{OnArrival: true})
	sr := func(ds *dicomio.DataSet) {
		ds.SetString(tag.SOPClassUID, uid.ComprehensiveSRStorage)
		ds.SetString(tag.Modality, "SR")
	}
	overlay := func(ds *dicomio.DataSet) { ds.SetString(tag.Manufacturer, "EchoNode") }
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.1", sr))
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.10", nil))
	eventually(t, "first run", func() bool { return n.status(t, "1.2.3").State == store.Done && len(p.requests()) == 1 })
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.2", sr), writeObject(t, dir, "1.2.3", "1.2.3.3", overlay))
	n.passes(t, "1.2.4")
	s := n.status(t, "1.2.3")
	if s.State != store.Done || s.Revision != 1 || s.Objects != 4 || len(p.requests()) != 2 || !slices.Equal(p.seen(), []string{"1.2.3.10", "1.2.4.1"}) {
		t.Errorf("%+v, looked at %v, combined %d times", s, p.seen(), len(p.requests()))
	}
}

// Another program's drawing that names what it was made from begins nothing. One
// that names nothing may be a scanner's loop that was converted: it is measured,
// but begins no run of its own once the study was reported.
func TestDerivedObjectsBeginNothing(t *testing.T) {
	dir, p := t.TempDir(), &fakeProcessor{t: t}
	n := start(t, dir, p, Options{OnArrival: true})
	captured := func(ds *dicomio.DataSet) {
		ds.SetString(tag.Manufacturer, "Another")
		ds.SetString(tag.SOPClassUID, uid.MultiFrameTrueColorSecondaryCaptureImageStorage)
		ds.SetString(tag.ImageType, "DERIVED", "SECONDARY")
	}
	drawn := func(ds *dicomio.DataSet) {
		captured(ds)
		ds.SetString(tag.DerivationDescription, "Contours")
	}
	reported := func(revision, combined int) {
		t.Helper()
		eventually(t, "reported", func() bool {
			s := n.status(t, "1.2.3")
			return s.State == store.Done && s.Revision == revision && len(p.requests()) == combined
		})
	}
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.1", drawn), writeObject(t, dir, "1.2.3", "1.2.3.10", captured))
	reported(1, 1)
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.2", drawn), writeObject(t, dir, "1.2.3", "1.2.3.11", captured))
	n.passes(t, "1.2.4")
	s := n.status(t, "1.2.3")
	if s.State != store.Done || s.Revision != 1 || s.Objects != 4 || len(s.Remarks) != 2 || !slices.Equal(p.seen(), []string{"1.2.3.10", "1.2.4.1"}) {
		t.Errorf("%+v, looked at %v", s, p.seen())
	}
	if left, err := n.store.LoopsLeft(t.Context()); err != nil || left != 0 {
		t.Errorf("%d loops are left (%v), want none: nothing is to be done", left, err)
	}
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.12", nil))
	reported(2, 3)
	if got := p.seen(); len(got) != 4 || !slices.Contains(got, "1.2.3.11") || !slices.Contains(got, "1.2.3.12") {
		t.Errorf("with a late loop: looked at %v", got)
	}
	if s := n.status(t, "1.2.3"); len(s.Remarks) != 1 {
		t.Errorf("remarks: %q", s.Remarks)
	}
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.13", captured))
	if s := n.status(t, "1.2.3"); s.Revision != 2 || s.State != store.Done {
		t.Errorf("%+v", s)
	}
	if err := n.Reanalyse(t.Context(), "1.2.3"); err != nil {
		t.Fatal(err)
	}
	reported(3, 4)
	if got := p.seen(); !slices.Contains(got, "1.2.3.13") {
		t.Errorf("a new run: looked at %v", got)
	}
}

// An ultrasound image that another program derived from an output of ours begins
// nothing and is no loop. One that was derived from something else, or names
// processing equipment, is one, but begins no run once the study was reported; a
// modality's own compressed loop is like others.
func TestDerivedUltrasoundBeginsNothing(t *testing.T) {
	dir, p := t.TempDir(), &fakeProcessor{t: t}
	got := &archive{}
	n := start(t, dir, p, Options{OnArrival: true, Destinations: []Destination{destination("pacs", listen(t, "PACS", got))}})
	lossy := func(ds *dicomio.DataSet) { ds.SetString(tag.ImageType, "DERIVED", "PRIMARY") }
	from := func(source string) func(*dicomio.DataSet) {
		return func(ds *dicomio.DataSet) {
			lossy(ds)
			ds.SetItems(tag.SourceImageSequence, dicomio.NewDataSet().SetString(tag.ReferencedSOPInstanceUID, source))
		}
	}
	processed := func(ds *dicomio.DataSet) {
		lossy(ds)
		code := dicomio.NewDataSet().SetString(tag.CodeValue, "109102").SetString(tag.CodingSchemeDesignator, "DCM")
		equipment := dicomio.NewDataSet()
		equipment.SetItems(tag.PurposeOfReferenceCodeSequence, code)
		ds.SetItems(tag.ContributingEquipmentSequence, equipment)
	}
	reported := func(revision, combined int) {
		t.Helper()
		eventually(t, "reported", func() bool {
			s := n.status(t, "1.2.3")
			return s.State == store.Done && s.Finished() && s.Revision == revision && len(p.requests()) == combined
		})
	}
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.10", nil), writeObject(t, dir, "1.2.3", "1.2.3.1", from("1.2.3.10")),
		writeObject(t, dir, "1.2.3", "1.2.3.2", from("1.2.3.1")))
	reported(1, 1)
	outputs, err := n.store.Outputs(t.Context(), "1.2.3")
	if err != nil || len(outputs) == 0 {
		t.Fatal(outputs, err)
	}
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.3", from("1.2.3.10")), writeObject(t, dir, "1.2.3", "1.2.3.4", from(outputs[0].SOPInstanceUID)),
		writeObject(t, dir, "1.2.3", "1.2.3.11", from("1.2.9.9")), writeObject(t, dir, "1.2.3", "1.2.3.12", processed))
	n.passes(t, "1.2.4")
	s := n.status(t, "1.2.3")
	seen := p.seen()
	slices.Sort(seen)
	if s.State != store.Done || s.Revision != 1 || s.Objects != 7 || len(s.Remarks) != 2 ||
		!slices.Equal(seen, []string{"1.2.3.1", "1.2.3.10", "1.2.3.2", "1.2.4.1"}) {
		t.Errorf("%+v, looked at %v", s, seen)
	}
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.13", lossy))
	reported(2, 3)
	seen = p.seen()
	slices.Sort(seen)
	if want := []string{"1.2.3.1", "1.2.3.10", "1.2.3.11", "1.2.3.12", "1.2.3.13", "1.2.3.2", "1.2.3.3", "1.2.4.1"}; !slices.Equal(seen, want) {
		t.Errorf("looked at %v, want %v", seen, want)
	}
}

// Two nodes that send each other everything come to rest.
func TestNodesThatFeedEachOtherRest(t *testing.T) {
	dirA, dirB := t.TempDir(), t.TempDir()
	var a, b *running
	relay := func(to **running) *forwarder { return &forwarder{to: to} }
	toB, toA := relay(&b), relay(&a)
	pa, pb := &fakeProcessor{t: t, basis: "a"}, &fakeProcessor{t: t, basis: "b"}
	a = start(t, dirA, pa, Options{OnArrival: true, Destinations: []Destination{destination("b", listen(t, "PACS", toB))}})
	b = start(t, dirB, pb, Options{OnArrival: true, Destinations: []Destination{destination("a", listen(t, "PACS", toA))}})
	path := writeObject(t, dirA, "1.2.3", "1.2.3.10", nil)
	a.mustSend(t, path)
	b.mustSend(t, path)
	eventually(t, "both done", func() bool {
		return a.status(t, "1.2.3").Finished() && b.status(t, "1.2.3").Finished() && toA.count() > 0 && toB.count() > 0
	})
	a.passes(t, "1.2.4")
	b.passes(t, "1.2.5")
	eventually(t, "their reports sent", func() bool { return toA.count() >= 2 && toB.count() >= 2 })
	for name, n := range map[string]*running{"a": a, "b": b} {
		if s := n.status(t, "1.2.3"); s.Revision != 1 || s.State != store.Done || s.Objects != 2 {
			t.Errorf("%s: %+v", name, s)
		}
	}
	if toA.count() != 2 || toB.count() != 2 {
		t.Errorf("%d and %d objects sent, want two reports each way", toA.count(), toB.count())
	}
}

// A study that is complete does not wait for one that is still received, and a
// small one not for a large one.
func TestOrderIsFair(t *testing.T) {
	dir := t.TempDir()
	gate := make(chan struct{})
	var mu sync.Mutex
	var order []string
	p := &fakeProcessor{t: t, width: 1, look: func(ctx context.Context, req LoopRequest) (Seen, error) {
		select {
		case <-gate:
		case <-ctx.Done():
			return Seen{}, ctx.Err()
		}
		mu.Lock()
		defer mu.Unlock()
		order = append(order, req.StudyInstanceUID)
		return Seen{}, nil
	}}
	n := start(t, dir, p, Options{OnArrival: true, Idle: time.Hour, Cap: 2 * time.Hour})
	for i := range 12 {
		n.mustSend(t, writeObject(t, dir, "1.1", fmt.Sprintf("1.1.%d", i+1), nil))
	}
	for i := range 2 {
		n.mustSend(t, writeObject(t, dir, "1.2", fmt.Sprintf("1.2.%d", i+1), nil), writeObject(t, dir, "1.3", fmt.Sprintf("1.3.%d", i+1), nil))
	}
	for _, study := range []string{"1.1", "1.2"} { // 1.3 is still received
		s, err := n.store.Study(context.Background(), study)
		if err != nil {
			t.Fatal(err)
		}
		basis, _ := p.Basis()
		if queued, err := n.store.Queue(context.Background(), study, s.Last, basis, n.jobs.Combine); err != nil || !queued {
			t.Fatal(err)
		}
	}
	close(gate)
	eventually(t, "all", func() bool { return len(p.seen()) == 16 && n.status(t, "1.1").State == store.Done })
	mu.Lock()
	defer mu.Unlock()
	if last := slices.Index(order[:5], "1.2"); last < 0 || slices.Contains(order[5:], "1.2") {
		t.Errorf("the small study was not served in turn: %v", order)
	}
	// One loop was in work before anything was complete.
	if i := slices.Index(order, "1.3"); i < len(order)-2 {
		t.Errorf("a study that is received went before complete ones: %v", order)
	}
}

// A loop that panics, hangs or ends the process costs itself: the rest of its
// study is reported.
func TestBadLoopCostsItself(t *testing.T) {
	dir := t.TempDir()
	p := &fakeProcessor{t: t, look: func(ctx context.Context, req LoopRequest) (Seen, error) {
		switch {
		case strings.HasSuffix(req.SOPInstanceUID, ".11"):
			panic("index out of range")
		case strings.HasSuffix(req.SOPInstanceUID, ".12"):
			<-ctx.Done()
			return Seen{}, ctx.Err()
		}
		return Seen{}, nil
	}}
	n := start(t, dir, p, Options{OnArrival: true, Timeout: time.Second})
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.10", nil), writeObject(t, dir, "1.2.3", "1.2.3.11", nil),
		writeObject(t, dir, "1.2.3", "1.2.3.12", nil), writeObject(t, dir, "1.2.3", "1.2.3.13", nil))
	eventually(t, "done", func() bool { return n.status(t, "1.2.3").State == store.Done })
	want := []string{"1.2.3.10", "1.2.3.11-given-up", "1.2.3.12-given-up", "1.2.3.13"}
	if got := p.requests()[0].Keys; !slices.Equal(got, want) {
		t.Errorf("combined from %v, want %v", got, want)
	}
	slices.Sort(p.gaveUp)
	if len(p.gaveUp) != 2 || !strings.Contains(p.gaveUp[0], "panicked: index out of range") || !strings.Contains(p.gaveUp[1], "not analysed within 1s") {
		t.Errorf("given up: %v", p.gaveUp)
	}
	// Asked for again, those two are tried again.
	p.look = nil
	if err := n.Reanalyse(context.Background(), "1.2.3"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "second run", func() bool { return len(p.requests()) == 2 && n.status(t, "1.2.3").State == store.Done })
	if got := p.seen(); len(got) != 6 {
		t.Errorf("looked at %v", got)
	}
}

// A loop over which the process dies is taken alone at the next start, and
// given up in the end. The one that was in work beside it is done.
func TestLoopThatEndsTheProcess(t *testing.T) {
	dir := t.TempDir()
	stuck := func(ctx context.Context, _ LoopRequest) (Seen, error) { <-ctx.Done(); return Seen{}, ctx.Err() }
	p := &fakeProcessor{t: t, look: stuck}
	n := start(t, dir, p, Options{OnArrival: true, Idle: time.Hour, Cap: 2 * time.Hour})
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.10", nil), writeObject(t, dir, "1.2.3", "1.2.3.11", nil))
	eventually(t, "both in work", func() bool { return len(p.seen()) == 2 })
	kill := func() {
		t.Helper()
		n.stop()
		// As a killed process leaves it.
		st, err := store.Open(context.Background(), filepath.Join(dir, "node.db"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := st.SQLite().Exec(`UPDATE loops SET state = 'working' WHERE state = 'waiting'`); err != nil {
			t.Fatal(err)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	}
	kill()
	alone := make(chan string, 4)
	p = &fakeProcessor{t: t, look: func(ctx context.Context, req LoopRequest) (Seen, error) {
		alone <- req.SOPInstanceUID
		if req.SOPInstanceUID == "1.2.3.10" {
			return Seen{}, nil
		}
		return stuck(ctx, req)
	}}
	n = start(t, dir, p, Options{OnArrival: true, Idle: time.Hour, Cap: 2 * time.Hour})
	if first, second := <-alone, <-alone; first != "1.2.3.10" || second != "1.2.3.11" {
		t.Errorf("%s, then %s", first, second)
	}
	if s := n.status(t, "1.2.3"); s.Progress != "1/2" {
		t.Errorf("%+v", s)
	}
	kill() // the second death over it, of two attempts
	p = &fakeProcessor{t: t, look: stuck}
	n = start(t, dir, p, Options{OnArrival: true})
	eventually(t, "done", func() bool { return n.status(t, "1.2.3").State == store.Done })
	if len(p.gaveUp) != 1 || !strings.Contains(p.gaveUp[0], "1.2.3.11: the process ended 2 times") || len(p.seen()) != 0 {
		t.Errorf("given up %v, looked at %v", p.gaveUp, p.seen())
	}
}

// That a process may have died over loops keeps nobody waiting where none has.
func TestNoSuspectsNoWait(t *testing.T) {
	dir := t.TempDir()
	p := &fakeProcessor{t: t, look: func(ctx context.Context, req LoopRequest) (Seen, error) {
		if req.SOPInstanceUID == "1.2.3.10" {
			<-ctx.Done() // a long one
			return Seen{}, ctx.Err()
		}
		return Seen{}, nil
	}}
	n := start(t, dir, p, Options{OnArrival: true, Idle: time.Hour, Cap: 2 * time.Hour})
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.10", nil))
	eventually(t, "the first is in work", func() bool { return len(p.seen()) == 1 })
	n.suspects.Store(true)
	n.wakeLookers()
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.11", nil))
	eventually(t, "the second beside it", func() bool { return n.status(t, "1.2.3").Progress == "1/2" })
}

// A sender who has as many loops in work as he may have has the next one looked
// at as soon as one of them is done, whatever else happens or does not.
func TestNextLoopFollowsAtOnce(t *testing.T) {
	dir := t.TempDir()
	gate := make(chan struct{})
	p := &fakeProcessor{t: t, width: 1, look: func(ctx context.Context, req LoopRequest) (Seen, error) {
		select {
		case <-gate:
			return Seen{}, nil
		case <-ctx.Done():
			return Seen{}, ctx.Err()
		}
	}}
	n := start(t, dir, p, Options{OnArrival: true, Idle: time.Hour, Cap: 2 * time.Hour, LookAgain: time.Hour})
	for i := range 3 {
		n.mustSend(t, writeObject(t, dir, "1.2.3", fmt.Sprintf("1.2.3.%d", 10+i), nil))
	}
	eventually(t, "the first is in work", func() bool { return len(p.seen()) == 1 })
	n.looksRound(t) // and finds that the others have to wait
	close(gate)
	eventually(t, "all", func() bool { return n.status(t, "1.2.3").Progress == "3/3" })
}

// A lease that was recorded and whose answer was lost is undone before the next:
// the loop would be nobody's for as long as the process lives.
func TestLostLeaseIsUndone(t *testing.T) {
	dir := t.TempDir()
	n := start(t, dir, &fakeProcessor{t: t}, Options{Roles: []string{RoleReceive}, Idle: time.Hour, Cap: 2 * time.Hour})
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.10", nil), writeObject(t, dir, "1.2.3", "1.2.3.11", nil))
	get := func(ctx context.Context) (store.Lease, error) { return n.store.LeaseLoop(ctx, time.Now(), true, 2) }
	first, err := n.lease(t.Context(), get)
	if err != nil {
		t.Fatal(err)
	}
	gone := errors.New("connection closed")
	if _, err := n.lease(t.Context(), func(ctx context.Context) (store.Lease, error) {
		if _, err := get(ctx); err != nil {
			t.Error(err)
		}
		return store.Lease{}, gone
	}); !errors.Is(err, gone) {
		t.Fatal(err)
	}
	second, err := n.lease(t.Context(), get)
	if err != nil || second.SOPInstanceUID == first.SOPInstanceUID {
		t.Fatalf("leased %s after %s, %v", second.SOPInstanceUID, first.SOPInstanceUID, err)
	}
	if _, err := n.lease(t.Context(), get); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("leased what is in work: %v", err)
	}
}

// An engine that fails fails every loop: there is no report about that.
func TestFailingEngineFailsTheStudy(t *testing.T) {
	dir := t.TempDir()
	lost := errors.New("device lost")
	p := &fakeProcessor{t: t, look: func(context.Context, LoopRequest) (Seen, error) { return Seen{}, lost }}
	n := start(t, dir, p, Options{OnArrival: true, Attempts: 1})
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.10", nil), writeObject(t, dir, "1.2.3", "1.2.3.11", nil))
	eventually(t, "failed", func() bool { return n.status(t, "1.2.3").State == store.Failed })
	if s := n.status(t, "1.2.3"); !strings.Contains(s.Error, "2 loops failed") || !strings.Contains(s.Error, "device lost") || len(p.requests()) != 0 {
		t.Errorf("%+v", s)
	}
	p.look = nil
	if err := n.Reanalyse(context.Background(), "1.2.3"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "done", func() bool { return n.status(t, "1.2.3").State == store.Done })
}

// What a process left unfinished among kept results is swept at the next start.
func TestUnfinishedResultsAreSwept(t *testing.T) {
	dir := t.TempDir()
	p := &fakeProcessor{t: t, look: func(ctx context.Context, req LoopRequest) (Seen, error) {
		left := filepath.Join(dir, "results", studyFolder("1.2.3"), "loops")
		if err := errors.Join(os.MkdirAll(left, 0o750), os.WriteFile(filepath.Join(left, "unfinished-1"), nil, 0o600)); err != nil {
			t.Error(err)
		}
		<-ctx.Done()
		return Seen{}, ctx.Err()
	}}
	n := start(t, dir, p, Options{OnArrival: true, Idle: time.Hour, Cap: 2 * time.Hour})
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.10", nil))
	eventually(t, "in work", func() bool { return len(p.seen()) == 1 })
	left := filepath.Join(dir, "results", studyFolder("1.2.3"), "loops")
	n.stop()
	st, err := store.Open(context.Background(), filepath.Join(dir, "node.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.SQLite().Exec(`UPDATE loops SET state = 'working'`); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	start(t, dir, &fakeProcessor{t: t}, Options{Idle: time.Hour, Cap: 2 * time.Hour})
	entries, err := os.ReadDir(left)
	if err != nil || slices.ContainsFunc(entries, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), "unfinished") }) {
		t.Errorf("%v, %v", entries, err)
	}
}

// forwarder is a PACS that forwards what it gets to a node at once.
type forwarder struct {
	archive
	to **running
}

func (f *forwarder) Store(ctx context.Context, req *scp.StoreRequest, r io.Reader) error {
	var b bytes.Buffer
	if _, err := io.Copy(&b, r); err != nil {
		return err
	}
	if err := f.archive.Store(ctx, req, bytes.NewReader(b.Bytes())); err != nil { // is counted
		return err
	}
	d := &scp.Dialer{CallingAE: "PACS", CalledAE: "ECHONODE"}
	c, err := d.Dial(ctx, (*f.to).addr, []scp.PresentationContext{{AbstractSyntax: req.SOPClassUID, TransferSyntaxes: []string{req.TransferSyntaxUID}}})
	if err != nil {
		return err
	}
	defer c.Abort() // nothing after a release
	if _, err := c.Store(ctx, scp.Object{SOPClassUID: req.SOPClassUID, SOPInstanceUID: req.SOPInstanceUID, TransferSyntaxUID: req.TransferSyntaxUID,
		DataSet: &b}); err != nil {
		return err
	}
	return c.Release(ctx)
}

func (f *forwarder) count() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, times := range f.got {
		n += times
	}
	return n
}
