package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/echonode/echonode/pipeline/store"
)

// A file that cannot be read to its end is told and left out, and leaves nothing behind;
// what is copied keeps what its mode forbids.
func TestCopyFile(t *testing.T) {
	dir := t.TempDir()
	to := filepath.Join(dir, "copy")
	_, readErr, err := copyFile("/proc/self/mem", to, os.O_EXCL) // an input/output error, for root too
	if !errors.Is(readErr, syscall.EIO) || err != nil {
		t.Errorf("%v, %v", readErr, err)
	}
	if _, err := os.Stat(to); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("half a file is left: %v", err)
	}
	for mode, want := range map[fs.FileMode]fs.FileMode{0o600: 0o600, 0o640: 0o640, 0o644: 0o640, 0o777: 0o640} {
		from := filepath.Join(dir, mode.String())
		if err := errors.Join(os.WriteFile(from, []byte("users"), mode), os.Chmod(from, mode)); err != nil {
			t.Fatal(err)
		}
		f, readErr, err := copyFile(from, from+" copy", os.O_EXCL)
		if readErr != nil || err != nil || f.Size != 5 {
			t.Fatal(f, readErr, err)
		}
		if info, err := os.Stat(from + " copy"); err != nil || info.Mode().Perm() != want {
			t.Errorf("%v becomes %v, %v", mode, info.Mode(), err)
		}
	}
}

// Files and folders that cannot be read keep nothing from the others.
func TestCopyingGoesOn(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	if err := errors.Join(os.WriteFile(filepath.Join(from, "a"), []byte("a"), 0o600), os.WriteFile(filepath.Join(from, "z"), []byte("z"), 0o600)); err != nil {
		t.Fatal(err)
	}
	// The file that is to be made is there already, as a folder: that is the backup's disk, and ends it.
	if err := os.Mkdir(filepath.Join(to, "z"), 0o700); err != nil {
		t.Fatal(err)
	}
	c := newCopying(from, to, filepath.Join(from, "node.db"))
	if err := c.round(t.Context()); err == nil || len(c.unread) != 0 || c.copied["a"].Size != 1 {
		t.Errorf("%v, %v, %v", err, c.copied, c.unread)
	}
	if os.Geteuid() == 0 {
		return // who can read everything
	}
	if err := errors.Join(os.Remove(filepath.Join(to, "z")), os.Chmod(filepath.Join(from, "a"), 0)); err != nil {
		t.Fatal(err)
	}
	c = newCopying(from, t.TempDir(), filepath.Join(from, "node.db"))
	if err := c.round(t.Context()); err != nil || c.unread["a"] == nil || c.copied["z"].Size != 1 {
		t.Errorf("%v, %v, %v", err, c.copied, c.unread)
	}
}

// What changes while a backup is made is copied again, or told of: never does the
// database name half a file, or another than it means.
func TestBackupOfWhatChanges(t *testing.T) {
	ctx, from, to := t.Context(), t.TempDir(), t.TempDir()
	database := filepath.Join(from, "node.db")
	st, err := store.Open(ctx, database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	path := func(rel string) string { return filepath.Join(from, rel) }
	write := func(rel, content string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(path(rel)), 0o750), os.WriteFile(path(rel), []byte(content), 0o640)); err != nil {
			t.Fatal(err)
		}
	}
	receive := func(study, rel string, at int64) {
		t.Helper()
		in := store.Instance{SOPInstanceUID: study + ".1", StudyInstanceUID: study, Path: path(rel), Received: time.UnixMilli(at)}
		if _, err := st.AddInstance(ctx, in); err != nil {
			t.Fatal(err)
		}
	}
	report := func(run int, study string) {
		t.Helper()
		if err := st.Transact(ctx, func(tx *store.Tx) error {
			_, err := tx.ExecContext(ctx, `INSERT INTO runs (id, study_uid, revision, started_at, finished_at, directory) VALUES (?,?,1,1,1,?)`,
				run, study, path("results/s/1"))
			if err == nil {
				_, err = tx.ExecContext(ctx, `INSERT INTO outputs (sop_uid, run_id, kind, sop_class, path) VALUES (?,?,'report','x',?)`,
					study+".9", run, path("results/s/1/report.dcm"))
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	c := newCopying(from, to, database)
	snapshots := 0
	snapshot := func() string {
		t.Helper()
		snapshots++
		name := filepath.Join(t.TempDir(), fmt.Sprint(snapshots))
		if err := store.Snapshot(ctx, database, name); err != nil {
			t.Fatal(err)
		}
		return name
	}
	round := func() {
		t.Helper()
		if err := c.round(ctx); err != nil || len(c.unread) != 0 {
			t.Fatal(err, c.unread)
		}
	}
	check := func(what, snapshot string, wantMissing, wantReplaced []string) {
		t.Helper()
		missing, replaced, err := c.check(ctx, snapshot)
		if err != nil || !slices.Equal(missing, wantMissing) || !slices.Equal(replaced, wantReplaced) {
			t.Errorf("%s: missing %q, replaced %q, %v", what, missing, replaced, err)
		}
	}
	is := func(what, rel, want string) {
		t.Helper()
		got, err := os.ReadFile(filepath.Join(to, rel))
		if err != nil && want != "" || string(got) != want {
			t.Errorf("%s: %s is %q, %v", what, rel, got, err)
		}
		sum, err := hashFile(filepath.Join(to, rel))
		if f, there := c.copied[rel]; there != (want != "") || there && (err != nil || f.SHA256 != sum.SHA256 || f.Size != int64(len(want))) {
			t.Errorf("%s: %s is listed as %+v", what, rel, f)
		}
	}

	write("spool/1.dcm", "first")
	write("spool/2.dcm", "second")
	receive("1", "spool/1.dcm", 1000)
	receive("2", "spool/2.dcm", 1000)
	first := snapshot()
	write("results/s/1/report.dcm", "ha") // it is being made
	round()
	check("the first round", first, nil, nil)
	is("while it is made", "results/s/1/report.dcm", "ha")

	write("results/s/1/report.dcm", "half, and the rest")
	report(7, "1")
	if err := errors.Join(st.Delete(ctx, "2"), os.Remove(path("spool/2.dcm"))); err != nil {
		t.Fatal(err)
	}
	former, err := os.Stat(filepath.Join(to, "spool/1.dcm"))
	if err != nil {
		t.Fatal(err)
	}
	second := snapshot()
	round()
	check("the second round", second, nil, nil)
	is("made", "results/s/1/report.dcm", "half, and the rest")
	is("unchanged", "spool/1.dcm", "first")
	is("of a removed study", "spool/2.dcm", "")
	if now, err := os.Stat(filepath.Join(to, "spool/1.dcm")); err != nil || !now.ModTime().Equal(former.ModTime()) {
		t.Errorf("what has not changed was copied again: %v", err)
	}

	write("results/s/1/report.dcm", "being made once more")
	check("changed after it was copied", second, nil, []string{path("results/s/1/report.dcm")})
	round()
	check("copied again", second, nil, nil)

	// The study is removed, received again and reported again under the same names.
	third := snapshot()
	if err := st.Delete(ctx, "1"); err != nil {
		t.Fatal(err)
	}
	write("results/s/1/report.dcm", "of another run")
	receive("1", "spool/1.dcm", 2000)
	report(8, "1")
	round()
	check("names that mean something else", third, nil, []string{path("results/s/1"), path("results/s/1/report.dcm"), path("spool/1.dcm")})
	fourth := snapshot()
	round()
	check("with a snapshot of now", fourth, nil, nil)

	if err := os.Remove(path("results/s/1/report.dcm")); err != nil {
		t.Fatal(err)
	}
	round()
	check("gone before the round", fourth, nil, []string{path("results/s/1/report.dcm")})
	if err := os.Remove(filepath.Join(to, "spool/1.dcm")); err != nil {
		t.Fatal(err)
	}
	check("not in the copy", fourth, []string{path("spool/1.dcm")}, []string{path("results/s/1/report.dcm")})
}
