package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A database whose file is taken away, or is another, while it is open takes
// nothing more: nobody would find it again.
func TestFileGone(t *testing.T) {
	dir := t.TempDir()
	path, aside := filepath.Join(dir, "node.db"), filepath.Join(dir, "aside.db")
	s := open(t, path)
	ctx := context.Background()
	add := func() error {
		_, err := s.AddInstance(ctx, Instance{SOPInstanceUID: "1.2.3", StudyInstanceUID: "1.2", Received: time.Now()})
		return err
	}
	all := map[string]func() error{
		"probe": func() error { return s.Probe(ctx) }, "object": add,
		"audit": func() error { return s.Audit(ctx, AuditEntry{At: time.Now(), Action: "a"}) },
	}
	want := func(when string, gone bool) {
		t.Helper()
		for what, call := range all {
			if err := call(); errors.Is(err, ErrFileGone) != gone || !gone && err != nil {
				t.Errorf("%s, %s: %v", when, what, err)
			}
		}
	}
	want("at the beginning", false)
	if err := os.Rename(path, aside); err != nil {
		t.Fatal(err)
	}
	want("without the file", true)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	want("with another file", true)
	if err := os.Rename(aside, path); err != nil {
		t.Fatal(err)
	}
	want("with the file again", false)
}
