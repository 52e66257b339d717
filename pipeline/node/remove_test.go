package node

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/echonode/echonode/dicomio/tag"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/pipeline/internal/jobs"
	"github.com/echonode/echonode/pipeline/objects"
	"github.com/echonode/echonode/pipeline/store"
	"github.com/echonode/echonode/scp"
)

// held reports whether an object is recorded and its file is there.
func (r *running) held(t *testing.T, sop string) bool {
	t.Helper()
	in, err := r.store.Instance(context.Background(), sop)
	if errors.Is(err, store.ErrNotFound) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	_, err = os.Stat(in.Path)
	return err == nil
}

// An object that comes again while its study is being removed is acknowledged
// and kept, at whatever moment of the removal it comes.
func TestRemovalAndReceiptExcludeEachOther(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	n := start(t, dir, &fakeProcessor{t: t}, Options{Idle: time.Hour, Cap: 2 * time.Hour})
	path := writeObject(t, dir, "1.2.3", "1.2.3.10", nil)
	n.mustSend(t, path)

	// Between the record and the file.
	if err := n.store.Delete(ctx, "1.2.3"); err != nil {
		t.Fatal(err)
	}
	n.mustSend(t, path)
	if err := n.deleteFiles(ctx); err != nil {
		t.Fatal(err)
	}
	if !n.held(t, "1.2.3.10") {
		t.Fatal("an acknowledged object is lost")
	}
	// A removal that has listed the file and is about to delete it.
	if err := n.store.Delete(ctx, "1.2.3"); err != nil {
		t.Fatal(err)
	}
	listed, err := n.store.Removals(ctx)
	if err != nil || len(listed) != 1 {
		t.Fatalf("Removals = %v, %v", listed, err)
	}
	n.mustSend(t, path)
	if err := n.deleteFile(ctx, listed[0]); err != nil {
		t.Fatal(err)
	}
	if !n.held(t, "1.2.3.10") {
		t.Fatal("an acknowledged object is lost")
	}
	// All at once.
	var group sync.WaitGroup
	stop := make(chan struct{})
	group.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := n.Remove(ctx, "1.2.3"); err != nil && !errors.Is(err, store.ErrNotFound) {
				t.Error(err)
				return
			}
		}
	})
	for range 20 {
		n.mustSend(t, path)
	}
	close(stop)
	group.Wait()
	n.mustSend(t, path)
	if !n.held(t, "1.2.3.10") {
		t.Error("an acknowledged object is lost")
	}
	if err := n.Remove(ctx, "1.2.3"); err != nil {
		t.Fatal(err)
	}
	kept := 0
	if err := n.spool.Each(t.Context(), func(string) error { kept++; return nil }); err != nil || kept != 0 {
		t.Errorf("%d objects left after the removal, %v", kept, err)
	}
}

// A process that died between the record and the files of a removed study
// finishes the removal at its next start; it does not take the study up again.
func TestRemovalIsFinishedAtStart(t *testing.T) {
	dir := t.TempDir()
	p := &fakeProcessor{t: t}
	n := start(t, dir, p, Options{})
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.10", nil), writeObject(t, dir, "1.2.4", "1.2.4.10", nil))
	eventually(t, "analysed", func() bool {
		return n.status(t, "1.2.3").State == store.Done && n.status(t, "1.2.4").State == store.Done
	})
	gone, stays := n.status(t, "1.2.3").Runs[0].Directory, n.status(t, "1.2.4").Runs[0].Directory
	if err := n.store.Delete(context.Background(), "1.2.3"); err != nil {
		t.Fatal(err)
	}
	n.stop()
	n = start(t, dir, p, Options{})
	if _, err := n.store.Study(context.Background(), "1.2.3"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a removed study is back: %v", err)
	}
	if _, err := os.Stat(filepath.Dir(gone)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("results of a removed study: %v", err)
	}
	if _, err := os.Stat(stays); err != nil {
		t.Errorf("results of another study: %v", err)
	}
	if !n.held(t, "1.2.4.10") {
		t.Error("another study's object is gone")
	}
	kept := 0
	if err := n.spool.Each(t.Context(), func(string) error { kept++; return nil }); err != nil || kept != 1 {
		t.Errorf("%d objects in the spool, %v, want the other study's", kept, err)
	}
}

// Two patients under one Study Instance UID are never mixed: nothing is made
// or sent, and the state says why.
func TestTwoPatientsUnderOneStudy(t *testing.T) {
	of := func(id, name, born string) func(*dicomio.DataSet) {
		return func(ds *dicomio.DataSet) {
			ds.SetString(tag.PatientID, id).SetString(tag.PatientName, name).SetString(tag.PatientBirthDate, born)
		}
	}
	t.Run("two IDs", func(t *testing.T) {
		testTwoPatients(t, of("P1", "One^A", "19400101"), of("P2", "One^A", "19400101"))
	})
	t.Run("an ID that persons share", func(t *testing.T) {
		testTwoPatients(t, of("0", "One^A", "19400101"), of("0", "Other^B", "19900101"))
	})
	sexed := func(name, born, sex string) func(*dicomio.DataSet) {
		return func(ds *dicomio.DataSet) { of("0", name, born)(ds); ds.SetString(tag.PatientSex, sex) }
	}
	t.Run("one family name", func(t *testing.T) {
		testTwoPatients(t, sexed("Mueller^Anna", "19400101", "F"), sexed("Mueller^Hans", "19800202", "M"))
	})
	t.Run("only the given names", func(t *testing.T) { testTwoPatients(t, sexed("Mueller^Anna", "", ""), sexed("Mueller^Hans", "", "")) })
	t.Run("only the birth dates", func(t *testing.T) {
		testTwoPatients(t, sexed("Mueller^Anna", "19400101", "F"), sexed("Mueller^Anna", "19800202", "F"))
	})
	t.Run("only the sex", func(t *testing.T) {
		testTwoPatients(t, sexed("Mueller^Baby", "20200301", "F"), sexed("Mueller^Baby", "20200301", "M"))
	})
}

func testTwoPatients(t *testing.T, one, other func(*dicomio.DataSet)) {
	dir, pacs := t.TempDir(), &archive{}
	p := &fakeProcessor{t: t}
	n := start(t, dir, p, Options{Attempts: 3, Destinations: []Destination{destination("pacs", listen(t, "PACS", pacs))}})
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.10", one), writeObject(t, dir, "1.2.3", "1.2.3.11", other))
	eventually(t, "study held", func() bool { return n.status(t, "1.2.3").State == store.Failed })
	if s := n.status(t, "1.2.3"); !strings.Contains(s.Error, "2 patients") || len(s.Deliveries) != 0 {
		t.Errorf("status %+v", s)
	}
	if len(p.requests()) != 0 || pacs.objects() != 0 {
		t.Errorf("%d analyses, %d objects sent", len(p.requests()), pacs.objects())
	}
	eventually(t, "the analysis is not tried again", func() bool { return unfinishedJobs(t, n, jobs.KindCombine) == 0 })
}

// losing is an archive that stores and then cuts the association, the first
// time.
type losing struct {
	archive
	cut atomic.Bool
}

func (a *losing) Store(ctx context.Context, req *scp.StoreRequest, r io.Reader) error {
	err := a.archive.Store(ctx, req, r)
	if a.cut.CompareAndSwap(false, true) {
		panic("the answer is lost")
	}
	return err
}

// What an archive has although its answer was lost is not sent a second time,
// when the archive says so.
func TestLostAnswers(t *testing.T) {
	for _, answers := range []bool{true, false} {
		dir, pacs := t.TempDir(), &losing{}
		n := start(t, dir, &fakeProcessor{t: t}, Options{Destinations: []Destination{destination("pacs", listen(t, "PACS", pacs))}})
		var asked atomic.Int32
		n.has = func(_ context.Context, _ Destination, paths []string) (map[string]bool, error) {
			asked.Add(1)
			there := map[string]bool{}
			for _, p := range paths {
				uid := strings.TrimSuffix(filepath.Base(p), ".dcm")
				pacs.mu.Lock()
				there[uid] = answers && pacs.got[uid] > 0
				pacs.mu.Unlock()
			}
			return there, nil
		}
		n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.10", nil))
		eventually(t, "delivered", func() bool {
			s := n.status(t, "1.2.3")
			return s.Finished() && len(s.Deliveries) == 1 && s.Deliveries[0].State == store.Sent
		})
		want := 2
		if answers {
			want = 1
		}
		pacs.mu.Lock()
		for uid, count := range pacs.got {
			if count != want {
				t.Errorf("object %s came %d times, want %d (the archive answers queries: %v)", uid, count, want, answers)
			}
		}
		pacs.mu.Unlock()
		if asked.Load() != 1 {
			t.Errorf("asked %d times", asked.Load())
		}
		n.stop()
	}
}

// A report that was being sent when its study went may be at the archive: the next
// one names it.
func TestReportUnderWayIsRemembered(t *testing.T) {
	dir := t.TempDir()
	n := start(t, dir, &fakeProcessor{t: t}, Options{Destinations: []Destination{destination("pacs", listen(t, "PACS", &archive{}))}})
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.10", nil))
	eventually(t, "delivered", func() bool { return n.status(t, "1.2.3").Finished() && len(n.status(t, "1.2.3").Deliveries) == 1 })
	for _, c := range []struct {
		state   string
		sending int
		want    int
	}{{"sent", 0, 1}, {"pending", 0, 0}, {"pending", 1, 1}, {"dead", 1, 1}, {"dead", 0, 0}} {
		if _, err := n.store.SQLite().ExecContext(t.Context(), `UPDATE deliveries SET state = ?, sending = ?`, c.state, c.sending); err != nil {
			t.Fatal(err)
		}
		if got, err := n.sentReports(t.Context(), "1.2.3"); err != nil || len(got) != c.want {
			t.Errorf("%+v: %d reports, %v", c, len(got), err)
		}
	}
}

// interrupting is a store that does something once, when it is asked for an entry.
type interrupting struct {
	objects.Store
	do atomic.Pointer[func()]
}

func (s *interrupting) Stat(ctx context.Context, name string) (objects.Entry, error) {
	if do := s.do.Swap(nil); do != nil {
		(*do)()
	}
	return s.Store.Stat(ctx, name)
}

// What takes the place of an object at the moment at which that is removed is new:
// it is kept, and nobody says that the database cannot be written. What a move has
// made of a removed study is not received at the next start.
func TestRemovedAtThisMoment(t *testing.T) {
	for name, again := range map[string]func(t *testing.T, n *running, former store.Instance) string{
		"corrected": func(t *testing.T, _ *running, _ store.Instance) string {
			return picture(t, "1.2.3", "1.2.3.10", 7, func(ds *dicomio.DataSet) { ds.SetString(tag.PatientName, "Doe^Jane M.") })
		},
		"healed": func(t *testing.T, n *running, former store.Instance) string {
			n.Node.files.DropCopy(former.Path)
			if err := os.Remove(former.Path); err != nil {
				t.Fatal(err)
			}
			return picture(t, "1.2.3", "1.2.3.10", 7, nil)
		},
		"moved": func(*testing.T, *running, store.Instance) string { return "" },
	} {
		t.Run(name, func(t *testing.T) {
			bucket := t.TempDir()
			s := &interrupting{Store: objects.NewDirectory(bucket)}
			n := start(t, t.TempDir(), byContent(t), Options{Objects: copies(t, s), Idle: time.Hour, Cap: 2 * time.Hour})
			n.mustSend(t, picture(t, "1.2.3", "1.2.3.10", 7, nil))
			former, err := n.store.Instance(t.Context(), "1.2.3.10")
			if err != nil {
				t.Fatal(err)
			}
			path := again(t, n, former)
			remove := func() {
				if err := n.store.Delete(context.Background(), "1.2.3"); err != nil {
					t.Error(err)
				}
			}
			s.do.Store(&remove)
			left := func() []string {
				t.Helper()
				if err := n.deleteFiles(t.Context()); err != nil {
					t.Fatal(err)
				}
				files, err := filepath.Glob(filepath.Join(bucket, "received", "*", "*"))
				if err != nil || s.do.Load() != nil {
					t.Fatal("nothing was removed", err)
				}
				return files
			}
			if path == "" {
				if _, err := n.MoveStudy(t.Context(), "1.2.3", Move{To: Patient{ID: "P2"}, Reason: ReasonCorrect}); !errors.Is(err, store.ErrNotFound) {
					t.Errorf("moved: %v", err)
				}
				if files := left(); len(files) != 0 {
					t.Errorf("left are %q", files)
				}
				return
			}
			n.mustSend(t, path)
			if err := n.health.unwritable(false); err != nil {
				t.Errorf("health says %v", err)
			}
			now, err := n.store.Instance(t.Context(), "1.2.3.10")
			if err != nil || now.Path == former.Path || now.Corrections != 0 {
				t.Fatalf("%+v, %v; was %s", now, err, former.Path)
			}
			if files := left(); !slices.Equal(files, []string{now.Path}) {
				t.Errorf("files %q, recorded is %s", files, now.Path)
			}
		})
	}
}
