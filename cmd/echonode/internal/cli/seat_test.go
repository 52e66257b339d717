package cli

import (
	"os"
	"path/filepath"
	"testing"
)

// A directory has one seat, another in its place another: of two processes with
// one path, and one host name, neither takes the other for its predecessor.
func TestSeat(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "data")
	seat := func() string {
		t.Helper()
		s, err := seatOf(dir)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if _, err := seatOf(dir); err == nil {
		t.Error("no directory, and a seat")
	}
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	first := seat()
	if err := os.WriteFile(filepath.Join(dir, "node.db"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if again := seat(); again != first {
		t.Errorf("%q became %q", first, again)
	}
	if err := os.Rename(dir, filepath.Join(parent, "before")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	if other := seat(); other == first {
		t.Errorf("two directories have the seat %q", other)
	}
}
