package review

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/pipeline/objects"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/pipeline/spool"
	"github.com/echonode/echonode/pipeline/store"
)

// A header that a disk has changed names nobody: the one before it does, and at last
// what is listed already, as long as that is of the patient who is recorded.
func TestIndexOfDamagedObjects(t *testing.T) {
	s := newSite(t)
	for i, name := range []string{"Doe^Jane", "Doe^Jane^Ann"} {
		s.add(sample{study: "1.2.1", loop: fmt.Sprint("1.2.1.", i), name: name, state: store.Receiving})
		s.pass(time.Second)
	}
	listed := func(want string) {
		t.Helper()
		s.indexed()
		l, err := s.store.Listing(t.Context(), "1.2.1")
		if err != nil || l.PatientName != want || l.Objects != 2 {
			t.Errorf("%+v, %v, want %q", l, err, want)
		}
	}
	again := func() {
		t.Helper()
		if _, err := s.server.list(t.Context(), store.Change{StudyInstanceUID: "1.2.1"}); err != nil {
			t.Fatal(err)
		}
	}
	listed("Doe, Jane Ann")
	for _, step := range []struct{ loop, want string }{{"1.2.1.1", "Doe, Jane"}, {"1.2.1.0", "Doe, Jane"}} {
		path := filepath.Join(s.dir, step.loop+".dcm")
		b, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path, bytes.Replace(b, []byte("Doe^"), []byte("Poe^"), 1), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		again()
		listed(step.want)
	}
	for _, step := range []struct{ id, want string }{{"P-1.2.1", "Doe, Jane"}, {"P-2", ""}} {
		for i := range 2 {
			in, err := s.store.Instance(t.Context(), fmt.Sprint("1.2.1.", i))
			if err != nil {
				t.Fatal(err)
			}
			p := result.PersonOf(step.id, "", "Doe^Jane", "19600102", "F")
			in.Person = store.Person{Patient: p.ID, Family: p.Family, Given: p.Given, Born: p.Born, Sex: p.Sex}
			if err := s.store.SetPerson(t.Context(), in); err != nil {
				t.Fatal(err)
			}
		}
		again()
		listed(step.want)
	}
}

// shared is a site whose objects are in a shared directory.
func shared(t *testing.T) (s *site, root string) {
	t.Helper()
	root = filepath.Join(t.TempDir(), "share")
	if err := os.MkdirAll(root, 0o750); err != nil {
		t.Fatal(err)
	}
	f, err := objects.NewFiles(objects.NewShared(root), t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	if err := f.Belong(t.Context(), []byte("this one"), func(context.Context) ([]string, error) { return nil, nil }); err != nil {
		t.Fatal(err)
	}
	return newSite(t, func(o *Options) { o.Objects = f }), root
}

// receive records a sample that is, or will be, in a shared directory.
func (s *site) receive(root string, a sample) {
	s.t.Helper()
	name := a.loop + ".dcm"
	in := store.Instance{SOPInstanceUID: a.loop, StudyInstanceUID: a.study, SeriesInstanceUID: a.study + ".1", SOPClassUID: uid.UltrasoundMultiFrameImageStorage,
		TransferSyntaxUID: uid.ExplicitVRLittleEndian, Path: name, Received: s.now(), Loop: true}
	if _, err := os.Stat(root); err == nil {
		writeLoop(s.t, filepath.Join(root, name), a)
		if in.Sum, err = spool.Sum(filepath.Join(root, name)); err != nil {
			s.t.Fatal(err)
		}
	}
	if _, err := s.store.AddInstance(s.t.Context(), in); err != nil {
		s.t.Fatal(err)
	}
}

// Objects that are away for a moment take the patient off no list, and what came
// meanwhile is named when they are back.
func TestListingWhileObjectsAreAway(t *testing.T) {
	s, root := shared(t)
	s.receive(root, sample{study: "1.2.1", loop: "1.2.1.1", name: "Doe^Jane"})
	listed := func(study, name string, state store.State) {
		t.Helper()
		l, err := s.store.Listing(t.Context(), study)
		accession := ""
		if name != "" {
			accession = "A" + study
		}
		if err != nil || l.PatientName != name || l.Accession != accession || l.State != state {
			t.Errorf("%+v, %v, want %s, %s", l, err, name, state)
		}
	}
	left := func(want int) {
		t.Helper()
		s.server.indexChanges(t.Context())
		if c, err := s.store.Changes(t.Context(), "", 10); err != nil || len(c) != want {
			t.Errorf("%v to be listed, %v, want %d", c, err, want)
		}
	}
	left(0)
	listed("1.2.1", "Doe, Jane", store.Receiving)
	away := root + ".away"
	if err := os.Rename(root, away); err != nil {
		t.Fatal(err)
	}
	st, err := s.store.Study(t.Context(), "1.2.1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.store.Queue(t.Context(), "1.2.1", st.Last, "test", func(*store.Tx, string, int) error { return nil }); err != nil {
		t.Fatal(err)
	}
	writeLoop(t, filepath.Join(away, "1.2.2.1.dcm"), sample{study: "1.2.2", loop: "1.2.2.1", name: "Roe^Ann"})
	s.receive(root, sample{study: "1.2.2", loop: "1.2.2.1"})
	for range 2 {
		left(2)
		listed("1.2.1", "Doe, Jane", store.Queued)
		listed("1.2.2", "", store.Receiving)
		s.pass(listAgainEvery)
	}
	if err := os.Rename(away, root); err != nil {
		t.Fatal(err)
	}
	left(0)
	listed("1.2.1", "Doe, Jane", store.Queued)
	listed("1.2.2", "Roe, Ann", store.Receiving)
	s.as("viewer").want(http.StatusSeeOther, http.MethodGet, "/accession/A1.2.1", "")
}

// However many changes cannot be listed, others are. Those that failed are tried one
// by one, and not for ever where another process has listed them.
func TestFailedChangesAreNotInTheWay(t *testing.T) {
	s, root := shared(t)
	if err := os.Rename(root, root+".away"); err != nil {
		t.Fatal(err)
	}
	for i := range changesAtOnce + 1 {
		s.receive(root, sample{study: fmt.Sprintf("1.2.%d", i), loop: fmt.Sprintf("1.2.%d.1", i)})
	}
	s.server.indexChanges(t.Context())
	none := store.Instance{SOPInstanceUID: "1.3.1", StudyInstanceUID: "1.3", SeriesInstanceUID: "1", SOPClassUID: "1", Path: "../gone", Received: s.now()}
	if _, err := s.store.AddInstance(t.Context(), none); err != nil {
		t.Fatal(err)
	}
	s.server.indexChanges(t.Context())
	changes, err := s.store.Changes(t.Context(), "", 1000)
	if err != nil || len(changes) != changesAtOnce+1 || changes[len(changes)-1].StudyInstanceUID > "1.3" {
		t.Fatalf("%d changes are left, %v", len(changes), err)
	}
	first := s.server.unlisted.waiting[0]
	s.pass(listAgainEvery)
	s.server.indexChanges(t.Context())
	if w := s.server.unlisted.waiting; len(w) != changesAtOnce+1 || w[0] == first || w[len(w)-1] != first {
		t.Errorf("%d wait, %v first", len(w), w[0])
	}
	if err := s.store.List(t.Context(), first, &store.Listing{StudyInstanceUID: first.StudyInstanceUID, Time: s.now()}); err != nil {
		t.Fatal(err)
	}
	s.server.indexChanges(t.Context())
	if w := s.server.unlisted.waiting; len(w) != changesAtOnce {
		t.Errorf("%d wait", len(w))
	}
}

// What passes keeps a study to be listed; what an object is for good does not.
func TestPassingErrors(t *testing.T) {
	s := newSite(t)
	here, gone := filepath.Join(s.dir, "gone.dcm"), filepath.Join(s.dir, "no folder", "gone.dcm")
	full := &fs.PathError{Op: "write", Path: "copy", Err: errors.New("no space left on device")}
	for _, c := range []struct {
		name   string
		path   string
		err    error
		passes bool
	}{
		{"a store that is away", here, fmt.Errorf("%w: refused", objects.ErrUnavailable), true},
		{"a full disk", here, full, true},
		{"a full disk for what is inflated", here, fmt.Errorf("read: %w", full), true},
		{"files of another owner", here, errors.Join(objects.ErrUnreadable, fs.ErrPermission), true},
		{"a memory budget in use", here, dicomio.ErrBusy, true},
		{"a disk that may be away", gone, fs.ErrNotExist, true},
		{"a missing object", here, fs.ErrNotExist, false},
		{"a damaged object", here, objects.ErrDamaged, false},
		{"an unreadable object", here, objects.ErrUnreadable, false},
		{"a name of another store", here, objects.ErrName, false},
		{"no DICOM", here, &dicomio.Error{Op: "read", Err: dicomio.ErrNotDICOM}, false},
		{"an object over its limit", here, &dicomio.Error{Op: "read", Err: dicomio.ErrLimit}, false},
	} {
		if err := s.server.passing(store.Instance{Path: c.path}, c.err); (err != nil) != c.passes {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
