package node

import (
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/echonode/echonode/pipeline/objects"
	"github.com/echonode/echonode/pipeline/spool"
	"github.com/echonode/echonode/pipeline/store"
	"github.com/echonode/echonode/scp"
)

// A data directory may be moved, and named in another way: whatever was received
// and made stays, and nothing is made again.
func TestDataDirectoryMoved(t *testing.T) {
	base := t.TempDir()
	t.Chdir(base)
	was := filepath.Join(base, "data")
	if err := os.Mkdir(was, 0o700); err != nil {
		t.Fatal(err)
	}
	step := func(dir string) {
		t.Helper()
		p := &fakeProcessor{t: t}
		n := start(t, dir, p, Options{})
		defer n.stop()
		names, err := n.store.NamedElsewhere(t.Context(), filepath.Join(dir, SpoolFolder), filepath.Join(dir, resultsFolder))
		if err != nil || len(names) > 0 {
			t.Errorf("%s: named elsewhere: %q, %v", dir, names, err)
		}
		v, err := n.Verify(t.Context(), "", false)
		if err != nil || v.Objects != 2 || len(v.Damaged) > 0 {
			t.Errorf("%s: %d objects, %v, %v", dir, v.Objects, v.Damaged, err)
		}
		if s := n.status(t, "1.2.3"); s.State != store.Done {
			t.Errorf("%s: the study is %s", dir, s.State)
		}
	}
	n := start(t, was, &fakeProcessor{t: t}, Options{})
	n.mustSend(t, writeObject(t, t.TempDir(), "1.2.3", "1.2.3.10", nil))
	n.mustSend(t, writeObject(t, t.TempDir(), "1.2.3", "1.2.3.11", nil))
	eventually(t, "done", func() bool { return n.status(t, "1.2.3").State == store.Done })
	n.stop()
	received := spooled(t, was)
	if len(received) != 2 {
		t.Fatalf("%d files received", len(received))
	}

	step("data") // the same folder in other words
	t.Chdir(was)
	step(".")
	t.Chdir(base)
	// As a restore into "./" once named them, and with a second name for one file.
	st, err := store.Open(t.Context(), filepath.Join(was, "node.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(st.Relocate(t.Context(), ".", "/nowhere/."), st.Relocate(t.Context(), "/nowhere", "././/data"), st.Close()); err != nil {
		t.Fatal(err)
	}
	step("data")
	step(was)
	if err := os.Symlink(was, filepath.Join(base, "link")); err != nil {
		t.Fatal(err)
	}
	step(filepath.Join(base, "link"))
	deeper := filepath.Join(base, "larger", "results", "data") // a disk may be called so
	if err := errors.Join(os.MkdirAll(filepath.Dir(deeper), 0o700), os.Rename(was, deeper)); err != nil {
		t.Fatal(err)
	}
	step(deeper)
	if err := os.Rename(deeper, filepath.Join(base, "larger", "data")); err != nil {
		t.Fatal(err)
	}
	step(filepath.Join(base, "larger", "data"))
	if got := spooled(t, filepath.Join(base, "larger", "data")); !slices.Equal(got, received) {
		t.Errorf("left of %q: %q", received, got)
	}
}

// Half a move is refused, and nothing is touched.
func TestDataDirectoryHalfMoved(t *testing.T) {
	base := t.TempDir()
	was, is := filepath.Join(base, "was"), filepath.Join(base, "is")
	if err := errors.Join(os.Mkdir(was, 0o700), os.Mkdir(is, 0o700)); err != nil {
		t.Fatal(err)
	}
	n := start(t, was, &fakeProcessor{t: t}, Options{})
	n.mustSend(t, writeObject(t, t.TempDir(), "1.2.3", "1.2.3.10", nil))
	eventually(t, "done", func() bool { return n.status(t, "1.2.3").State == store.Done })
	n.stop()
	if err := errors.Join(os.Rename(filepath.Join(was, "node.db"), filepath.Join(is, "node.db"))); err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(t.Context(), filepath.Join(is, "node.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}()
	before, err := st.Paths(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Objects: copies(t, objects.NewDirectory(is)), Attempts: 1, Deliveries: 1}
	_, err = New(t.Context(), o, nil, st, &fakeProcessor{t: t}, nil, slog.New(slog.DiscardHandler))
	var moved *MovedError
	if !errors.As(err, &moved) || moved.Before != was || moved.Files < 2 {
		t.Errorf("opened with %v", err)
	}
	after, err := st.Paths(t.Context())
	if err != nil || len(after) != 1 || !maps.Equal(before, after) || len(spooled(t, was)) != 1 {
		t.Errorf("the database names %v, %v; the spool has %q", after, err, spooled(t, was))
	}
}

// What is in the spool beside an object whose own file is gone may be all there
// is of it, and stays.
func TestOtherVersionOfWhatIsGone(t *testing.T) {
	dir := t.TempDir()
	n := start(t, dir, &fakeProcessor{t: t}, Options{})
	n.mustSend(t, writeObject(t, t.TempDir(), "1.2.3", "1.2.3.10", nil))
	eventually(t, "done", func() bool { return n.status(t, "1.2.3").State == store.Done })
	n.stop()
	file := filepath.Join(dir, spooled(t, dir)[0])
	if err := os.Rename(file, filepath.Join(filepath.Dir(file), "1.2.3.10.other.dcm")); err != nil {
		t.Fatal(err)
	}
	start(t, dir, &fakeProcessor{t: t}, Options{}).stop()
	if got := spooled(t, dir); len(got) != 1 {
		t.Errorf("left: %q", got)
	}
}

// A store that others may reach belongs to one database; where its share is not
// mounted nothing is written, and nothing is taken for lost.
func TestStoreOfAnother(t *testing.T) {
	mount := filepath.Join(t.TempDir(), "mount")
	share := mount + "-away"
	if err := os.Mkdir(mount, 0o700); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	options := func(id string) Options {
		return Options{Objects: copies(t, objects.NewShared(mount)), StoreIdentity: []byte(id), Attempts: 1, Deliveries: 1}
	}
	refused := func(dir string, o Options, want error) {
		t.Helper()
		st, err := store.Open(t.Context(), filepath.Join(dir, "node.db"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = New(t.Context(), o, nil, st, &fakeProcessor{t: t}, nil, slog.New(slog.DiscardHandler))
		if !errors.Is(err, want) {
			t.Errorf("opened with %v, want %v", err, want)
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}
	made := func() (n int) {
		for _, err := range objects.Walk(t.Context(), objects.NewShared(mount), "results") {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		return n
	}
	n := start(t, dir, &fakeProcessor{t: t}, options("one"))
	n.mustSend(t, writeObject(t, t.TempDir(), "1.2.3", "1.2.3.10", nil))
	eventually(t, "done", func() bool { return n.status(t, "1.2.3").State == store.Done })
	before := made()

	// The share goes away and leaves its mount point.
	swap := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	swap(mount, share)
	if err := os.Mkdir(mount, 0o700); err != nil {
		t.Fatal(err)
	}
	path := writeObject(t, t.TempDir(), "1.2.4", "1.2.4.10", nil)
	var status *scp.StatusError
	if err := n.send(t, path)[0].Err; !errors.As(err, &status) || status.Status != scp.StatusOutOfResources {
		t.Errorf("without the share: %v", err)
	}
	if e, err := os.ReadDir(mount); err != nil || len(e) > 0 {
		t.Errorf("below the mount point: %v, %v", e, err)
	}
	if err := os.Remove(mount); err != nil {
		t.Fatal(err)
	}
	swap(share, mount)
	eventually(t, "the share is there again", func() bool { return n.Node.files.Trouble() == nil })
	n.mustSend(t, path)
	n.stop()

	refused(t.TempDir(), options("two"), objects.ErrAnother)
	if after := made(); before == 0 || after < before {
		t.Errorf("%d files of results, %d before", after, before)
	}
	swap(mount, share)
	if err := os.Mkdir(mount, 0o700); err != nil {
		t.Fatal(err)
	}
	refused(dir, options("one"), objects.ErrNotThere)
	if err := os.Remove(mount); err != nil {
		t.Fatal(err)
	}
	swap(share, mount)
	// A store that is away at the start is asked before anything is done with it.
	swap(mount, share)
	o := options("two")
	n = start(t, t.TempDir(), &fakeProcessor{t: t}, o)
	swap(share, mount)
	eventually(t, "the node knows whose it is", func() bool { return errors.Is(n.Node.files.Trouble(), objects.ErrAnother) })
	if err := n.recoverOnce(t.Context()); !errors.Is(err, objects.ErrUnavailable) {
		t.Errorf("looked through another's store: %v", err)
	}
	n.stop()
	if after := made(); after < before {
		t.Errorf("%d files of results, %d before", after, before)
	}
	// Of a store from before there were markers.
	if err := os.Remove(filepath.Join(mount, objects.MarkerName)); err != nil {
		t.Fatal(err)
	}
	n = start(t, dir, &fakeProcessor{t: t}, options("one"))
	v, err := n.Verify(t.Context(), "", false)
	if err != nil || v.Objects != 2 || len(v.Damaged) > 0 {
		t.Errorf("%d objects, %v, %v", v.Objects, v.Damaged, err)
	}
	n.stop()
	refused(t.TempDir(), options("two"), objects.ErrAnother)
}

// The kind of the object store is not changed while studies are kept.
func TestKindOfStoreChanged(t *testing.T) {
	dir, shared := t.TempDir(), t.TempDir()
	other := t.TempDir()
	for dir, o := range map[string]Options{dir: {}, other: {Objects: copies(t, objects.NewShared(shared))}} {
		n := start(t, dir, &fakeProcessor{t: t}, o)
		n.mustSend(t, writeObject(t, t.TempDir(), "1.2.3", "1.2.3.10", nil))
		eventually(t, "done", func() bool { return n.status(t, "1.2.3").State == store.Done })
		n.stop()
	}
	for dir, s := range map[string]objects.Store{dir: objects.NewShared(shared), other: objects.NewDirectory(other)} {
		st, err := store.Open(t.Context(), filepath.Join(dir, "node.db"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = New(t.Context(), Options{Objects: copies(t, s), Attempts: 1, Deliveries: 1}, nil, st, &fakeProcessor{t: t}, nil, slog.New(slog.DiscardHandler))
		if !errors.As(err, new(*KindError)) {
			t.Errorf("opened with %v", err)
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Two names are of one file when both are there and lead to it; in a store
// elsewhere names are not those of files.
func TestSameFile(t *testing.T) {
	dir := t.TempDir()
	name := func(base string) string { return filepath.Join(dir, base) }
	if err := errors.Join(os.WriteFile(name("a"), nil, 0o600), os.WriteFile(name("b"), nil, 0o600), os.Link(name("a"), name("link"))); err != nil {
		t.Fatal(err)
	}
	here, elsewhere := &Node{files: copies(t, objects.NewDirectory(dir))}, &Node{files: copies(t, objects.NewShared(dir))}
	for _, tt := range []struct {
		n    *Node
		a, b string
		want bool
	}{
		{here, "a", "a", true}, {here, "a", "link", true}, {here, "link", "a", true}, {here, "a", "b", false},
		{here, "a", "none", false}, {here, "none", "a", false}, {here, "none", "none", false}, {elsewhere, "a", "link", false},
	} {
		if got := tt.n.sameFile(name(tt.a), name(tt.b)); got != tt.want {
			t.Errorf("%s and %s are one file: %v, want %v", tt.a, tt.b, got, tt.want)
		}
	}
}

// spooled lists what was received, below the directory dir.
func spooled(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, SpoolFolder, "*", "*.dcm"))
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range files {
		if files[i], err = filepath.Rel(dir, f); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// What was still to be deleted when the data directory was moved is deleted, and not
// taken up again.
func TestRemovalMovesAlong(t *testing.T) {
	base := t.TempDir()
	was, is := filepath.Join(base, "was"), filepath.Join(base, "is")
	n := start(t, makeDir(t, was), &fakeProcessor{t: t}, Options{})
	n.mustSend(t, writeObject(t, t.TempDir(), "1.2.3", "1.2.3.10", nil))
	eventually(t, "done", func() bool { return n.status(t, "1.2.3").State == store.Done })
	// The process dies between the record and the file.
	if err := n.store.Delete(t.Context(), "1.2.3"); err != nil {
		t.Fatal(err)
	}
	n.stop()
	if got := spooled(t, was); len(got) != 1 {
		t.Fatalf("%q are there", got)
	}
	if err := os.Rename(was, is); err != nil {
		t.Fatal(err)
	}
	n = start(t, is, &fakeProcessor{t: t}, Options{})
	if got := spooled(t, is); len(got) != 0 {
		t.Errorf("%q are left", got)
	}
	if _, err := n.store.Study(t.Context(), "1.2.3"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the study is there again: %v", err)
	}
	if left, err := n.store.Removals(t.Context()); err != nil || len(left) > 0 {
		t.Errorf("%v to be removed, %v", left, err)
	}
}

func makeDir(t *testing.T, path string) string {
	t.Helper()
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// A data directory and a database that do not belong together are told from each other:
// an empty database beside objects, or a folder without its disk, is no new node.
func TestDirectoryOfAnotherDatabase(t *testing.T) {
	base := t.TempDir()
	dir := makeDir(t, filepath.Join(base, "data"))
	n := start(t, dir, &fakeProcessor{t: t}, Options{StoreIdentity: []byte("first")})
	n.mustSend(t, writeObject(t, t.TempDir(), "1.2.3", "1.2.3.10", nil))
	eventually(t, "done", func() bool { return n.status(t, "1.2.3").State == store.Done })
	n.stop()
	begin := func(dir, id string) error {
		t.Helper()
		st, err := store.Open(t.Context(), filepath.Join(dir, "node.db"))
		if err != nil {
			t.Fatal(err)
		}
		files, err := objects.NewFiles(objects.NewDirectory(dir), "", 0)
		if err != nil {
			t.Fatal(err)
		}
		sp, err := spool.Open(filepath.Join(dir, SpoolFolder), spool.Options{MinFree: -1})
		if err != nil {
			t.Fatal(err)
		}
		_, err = New(t.Context(), Options{Objects: files, Scratch: filepath.Join(dir, "scratch"), StoreIdentity: []byte(id), Idle: time.Hour, Cap: time.Hour,
			Attempts: 1, Deliveries: 1}, sp, st, &fakeProcessor{t: t}, nil, slog.New(slog.DiscardHandler))
		if cerr := errors.Join(sp.Close(), st.Close()); cerr != nil {
			t.Fatal(cerr)
		}
		return err
	}
	if err := begin(dir, "first"); err != nil {
		t.Errorf("its own: %v", err)
	}
	// The disk of the database is not there: a new one is made.
	aside := filepath.Join(base, "aside.db")
	if err := os.Rename(filepath.Join(dir, "node.db"), aside); err != nil {
		t.Fatal(err)
	}
	if err := begin(dir, "second"); !errors.Is(err, objects.ErrAnother) {
		t.Errorf("with an empty database: %v", err)
	}
	if got := spooled(t, dir); len(got) != 1 {
		t.Errorf("%q are left", got)
	}
	// The disk of the directory is not there.
	mount := makeDir(t, filepath.Join(base, "mount"))
	if err := errors.Join(os.Rename(dir, dir+"-away"), os.Rename(mount, dir), os.Rename(aside, filepath.Join(dir, "node.db"))); err != nil {
		t.Fatal(err)
	}
	if err := begin(dir, "first"); !errors.Is(err, objects.ErrNotThere) {
		t.Errorf("without its files: %v", err)
	}
}
