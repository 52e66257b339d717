package cli

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A file that cannot be read to its end is told and left out, and leaves nothing behind;
// what is copied keeps what its mode forbids.
func TestCopyFile(t *testing.T) {
	dir := t.TempDir()
	to := filepath.Join(dir, "copy")
	_, readErr, err := copyFile("/proc/self/mem", to) // an input/output error, for root too
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
		f, readErr, err := copyFile(from, from+" copy")
		if readErr != nil || err != nil || f.Size != 5 {
			t.Fatal(f, readErr, err)
		}
		if info, err := os.Stat(from + " copy"); err != nil || info.Mode().Perm() != want {
			t.Errorf("%v becomes %v, %v", mode, info.Mode(), err)
		}
	}
}

// Files and folders that cannot be read keep nothing from the others.
func TestCopyNewGoesOn(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	if err := errors.Join(os.WriteFile(filepath.Join(from, "a"), []byte("a"), 0o600), os.WriteFile(filepath.Join(from, "z"), []byte("z"), 0o600)); err != nil {
		t.Fatal(err)
	}
	// The file that is to be made is there already, as a folder: that is the backup's disk, and ends it.
	if err := os.Mkdir(filepath.Join(to, "z"), 0o700); err != nil {
		t.Fatal(err)
	}
	copied, unread := map[string]backupFile{}, map[string]error{}
	if err := copyNew(t.Context(), from, to, filepath.Join(from, "node.db"), copied, unread); err == nil || len(unread) != 0 || copied["a"].Size != 1 {
		t.Errorf("%v, %v, %v", err, copied, unread)
	}
	if os.Geteuid() == 0 {
		return // who can read everything
	}
	if err := errors.Join(os.Remove(filepath.Join(to, "z")), os.Chmod(filepath.Join(from, "a"), 0)); err != nil {
		t.Fatal(err)
	}
	clear(copied)
	if err := copyNew(t.Context(), from, to, filepath.Join(from, "node.db"), copied, unread); err != nil || unread["a"] == nil || copied["z"].Size != 1 {
		t.Errorf("%v, %v, %v", err, copied, unread)
	}
}
