package objects

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// A share that is mounted again, under another number, is the store by its marker; a
// mount point without it, or another database's share, is not.
func TestShareMountedAgain(t *testing.T) {
	base := t.TempDir()
	root := filepath.Join(base, "share")
	if err := os.Mkdir(root, 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := NewFiles(NewShared(root), "", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Belong(t.Context(), []byte("database"), func(context.Context) ([]string, error) { return nil, nil }); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, MarkerName))
	if err != nil {
		t.Fatal(err)
	}
	put := func() error { return PutBytes(t.Context(), f.Store, f.Name("a"), []byte("a")) }
	for i, c := range []struct {
		marker string // of the folder that is at the root then, "" for none
		want   bool
	}{{string(text), true}, {"", false}, {string(text), true}, {"another" + string(text), false}, {string(text), true}} {
		// The one before stays, so that its number is not given again.
		if err := errors.Join(os.Rename(root, filepath.Join(base, string(rune('a'+i)))), os.Mkdir(root, 0o700)); err != nil {
			t.Fatal(err)
		}
		if c.marker != "" {
			if err := os.WriteFile(filepath.Join(root, MarkerName), []byte(c.marker), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		err := put()
		if (err == nil) != c.want || err != nil && !errors.Is(err, ErrUnavailable) {
			t.Errorf("%d: marker %.12q: %v", i, c.marker, err)
		}
		if _, err := os.Stat(filepath.Join(root, "a")); (err == nil) != c.want {
			t.Errorf("%d: written: %v", i, err)
		}
	}
}
