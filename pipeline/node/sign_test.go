package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/instance"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/pipeline/objects"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/pipeline/store"
)

// Where the answer to a signature is lost its files stay: it may have been
// recorded, and it is told whether it was.
func TestAnswerToASignatureIsLost(t *testing.T) {
	n := start(t, t.TempDir(), &fakeProcessor{t: t}, Options{})
	n.mustSend(t, picture(t, "1.2.3", "1.2.3.10", 7, nil))
	eventually(t, "analysed", func() bool { return n.status(t, "1.2.3").State == store.Done })
	runs, err := n.store.Runs(t.Context(), "1.2.3")
	if err != nil || len(runs) != 1 {
		t.Fatal(len(runs), err)
	}
	lost := errors.New("the connection went away")
	run := store.Run{StudyInstanceUID: "1.2.3", Revision: 2, Started: time.Now(), Directory: "here", Summary: "{}", Basis: "b"}
	if _, keep, err := n.perhapsSigned(t.Context(), run, lost); keep || !errors.Is(err, lost) {
		t.Errorf("nothing recorded: keep %t, %v", keep, err)
	}
	none := func(*store.Tx, int64, string) error { return nil }
	if _, err := n.store.Sign(t.Context(), store.Review{Verdict: "accepted", User: "u", Signed: time.Now()}, run, runs[0], nil, nil, none); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel() // the reader's browser has left too
	if signed, keep, err := n.perhapsSigned(ended, run, lost); !keep || err != nil || signed.Revision != 2 {
		t.Errorf("recorded: revision %d, keep %t, %v", signed.Revision, keep, err)
	}
	other := run
	other.Directory = "there"
	if _, keep, err := n.perhapsSigned(t.Context(), other, lost); keep || !errors.Is(err, lost) {
		t.Errorf("another reader's: keep %t, %v", keep, err)
	}
	n.stop()
	if _, keep, err := n.perhapsSigned(t.Context(), run, lost); !keep || !errors.Is(err, lost) {
		t.Errorf("nobody knows: keep %t, %v", keep, err)
	}
}

// signing is a processor that makes a report of what a reader has signed.
type signing struct{ *fakeProcessor }

func (p signing) Reissue(_ context.Context, req ReissueRequest) error {
	s := &req.Document.Studies[0]
	report := instance.UID("signed report", s.StudyInstanceUID, fmt.Sprint(req.Revision))
	path := writeObject(p.t, req.Dir, s.StudyInstanceUID, report, func(ds *dicomio.DataSet) {
		ds.SetString(tag.SOPClassUID, uid.ComprehensiveSRStorage)
		ds.SetString(tag.Modality, "SR")
	})
	s.Outputs = []result.Output{{Kind: result.KindReport, File: path, SOPClassUID: uid.ComprehensiveSRStorage, SOPInstanceUID: report}}
	return nil
}

// A repetition with nothing changed makes and sends nothing after a reader has
// signed either, and what was signed stays the last word and signed; what has
// changed is another result, which nobody has signed.
func TestRepetitionAfterASignature(t *testing.T) {
	dir, pacs := t.TempDir(), &archive{}
	p := signing{&fakeProcessor{t: t}}
	n := start(t, dir, p, Options{Destinations: []Destination{destination("pacs", listen(t, "PACS", pacs))}})
	done := func(revision, objects int) {
		t.Helper()
		eventually(t, fmt.Sprintf("revision %d delivered", revision), func() bool {
			s := n.status(t, "1.2.3")
			return s.Revision == revision && s.Finished() && pacs.objects() == objects
		})
	}
	n.mustSend(t, picture(t, "1.2.3", "1.2.3.10", 7, nil))
	done(1, 1)
	runs, err := n.store.Runs(t.Context(), "1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := n.readResult(t.Context(), &runs[0])
	if err != nil {
		t.Fatal(err)
	}
	review := store.Review{Verdict: "accepted", User: "reader", Corrections: "{}", Signed: time.UnixMilli(5000)}
	if _, err := n.Sign(t.Context(), SignRequest{Document: doc, Base: runs[0], Review: review}); err != nil {
		t.Fatal(err)
	}
	done(2, 2)
	signed := n.status(t, "1.2.3").Deliveries
	for revision := 3; revision <= 4; revision++ {
		if err := n.Reanalyse(t.Context(), "1.2.3"); err != nil {
			t.Fatal(err)
		}
		done(revision, 2)
		reviews, err := n.store.Reviews(t.Context(), "1.2.3")
		if err != nil || reviews[revision] != review {
			t.Errorf("revision %d: %v, reviews %+v", revision, err, reviews)
		}
		uids := func(all []DeliveryStatus) []string {
			m := map[string]bool{}
			for _, d := range all {
				m[d.SOPInstanceUID] = true
			}
			return slices.Sorted(maps.Keys(m))
		}
		if now := n.status(t, "1.2.3").Deliveries; !slices.Equal(uids(now), uids(signed)) {
			t.Errorf("revision %d: deliveries %+v, were %+v", revision, now, signed)
		}
	}
	if len(p.requests()) != 1 {
		t.Errorf("outputs were made %d times", len(p.requests()))
	}
	n.mustSend(t, picture(t, "1.2.3", "1.2.3.11", 8, nil))
	done(5, 3)
	if reviews, err := n.store.Reviews(t.Context(), "1.2.3"); err != nil || len(reviews) != 3 || reviews[5].User != "" {
		t.Errorf("after a late loop: %v, reviews %+v", err, reviews)
	}
	if former := p.requests()[1].Predecessor; former == nil || former.SOPInstanceUID != instance.UID("signed report", "1.2.3", "2") {
		t.Errorf("its report replaces %+v", former)
	}
}

// A study is analysed and signed again whatever has become of the file of the report
// before: what the database has of it is enough to name it, and one of an earlier
// version, of which it has too little, is not named.
func TestFormerReportIsLost(t *testing.T) {
	for _, c := range []struct {
		name    string
		harm    func(path string) error
		earlier bool // an earlier version has made it
		named   bool
	}{
		{"removed", os.Remove, false, true},
		{"removed, of an earlier version", os.Remove, true, false},
		{"cut off, of an earlier version", func(path string) error { return os.Truncate(path, 150) }, true, false},
		{"a folder, of an earlier version", func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o750)) }, true, false},
		{"whole, of an earlier version", func(string) error { return nil }, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			pacs := &archive{}
			p := signing{&fakeProcessor{t: t}}
			n := start(t, t.TempDir(), p, Options{Destinations: []Destination{destination("pacs", listen(t, "PACS", pacs))}})
			done := func(revision int) store.RunOutput {
				t.Helper()
				eventually(t, fmt.Sprintf("revision %d delivered", revision), func() bool {
					s := n.status(t, "1.2.3")
					return s.Revision == revision && s.State == store.Done && s.Finished()
				})
				made, err := n.store.Outputs(t.Context(), "1.2.3")
				if err != nil || made[0].Revision != revision {
					t.Fatalf("outputs %+v, %v", made, err)
				}
				if err := c.harm(made[0].Path); err != nil {
					t.Fatal(err)
				}
				if !c.earlier {
					return made[0]
				}
				if err := n.store.Transact(t.Context(), func(tx *store.Tx) error {
					_, err := tx.ExecContext(t.Context(), `UPDATE runs SET summary = replace(summary, '"report_series"', '"unknown"')`)
					return err
				}); err != nil {
					t.Fatal(err)
				}
				return made[0]
			}
			n.mustSend(t, picture(t, "1.2.3", "1.2.3.10", 7, nil))
			first := done(1)
			n.mustSend(t, picture(t, "1.2.3", "1.2.3.11", 8, nil))
			second := done(2)
			check := func(by string, got *store.Output, want store.RunOutput) {
				t.Helper()
				if !c.named && got != nil || c.named && (got == nil || got.SOPInstanceUID != want.SOPInstanceUID || got.SeriesInstanceUID != "1.2.3.1") {
					t.Errorf("%s replaces %+v", by, got)
				}
			}
			check("the report of a late loop", p.requests()[1].Predecessor, first)
			runs, err := n.store.Runs(t.Context(), "1.2.3")
			if err != nil {
				t.Fatal(err)
			}
			doc, err := n.readResult(t.Context(), &runs[0])
			if err != nil {
				t.Fatal(err)
			}
			former, _, err := n.predecessors(t.Context(), "1.2.3", 3)
			if err != nil {
				t.Fatal(err)
			}
			check("what is signed", former, second)
			review := store.Review{Verdict: "accepted", User: "reader", Corrections: "{}", Signed: time.UnixMilli(5000)}
			if _, err := n.Sign(t.Context(), SignRequest{Document: doc, Base: runs[0], Review: review}); err != nil {
				t.Fatal(err)
			}
			done(3)
			if shown := n.status(t, "1.2.3").Runs[0].Summary; shown.Series != nil {
				t.Errorf("the status shows %v", shown.Series)
			}
		})
	}
}

// What time or an owner brings back is waited for.
func TestUnobtainable(t *testing.T) {
	file := func(err error) error { return &fs.PathError{Op: "open", Path: "report.dcm", Err: err} }
	for _, err := range []error{nil, objects.ErrUnavailable, context.Canceled, context.DeadlineExceeded, file(syscall.EACCES), file(syscall.EMFILE),
		file(syscall.EIO), dicomio.ErrBusy, fmt.Errorf("%w: %w", objects.ErrUnreadable, file(syscall.EACCES))} {
		if unobtainable(err) {
			t.Errorf("nobody waits: %v", err)
		}
	}
	for _, err := range []error{file(syscall.ENOENT), objects.ErrDamaged, objects.ErrName, fmt.Errorf("%w: %w", objects.ErrUnreadable, file(syscall.EIO)),
		dicomio.ErrTruncated, dicomio.ErrNotDICOM} {
		if !unobtainable(err) {
			t.Errorf("waited for: %v", err)
		}
	}
}
