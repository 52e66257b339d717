package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/echonode/echonode/conformance/postgres"
	"github.com/echonode/echonode/pipeline/store"
)

// A node of its own keeps the key of exported labels in its data directory;
// processes that share a database have one key, that of the file where the first
// of them has one.
func TestLabelsKey(t *testing.T) {
	key := func(st *store.Store, path string) []byte {
		t.Helper()
		k, err := labelsKey(t.Context(), path, st)
		if err != nil || len(k) != 32 {
			t.Fatalf("%x, %v", k, err)
		}
		return k
	}
	open := func(database string) *store.Store {
		t.Helper()
		st, err := store.Open(t.Context(), database)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := st.Close(); err != nil {
				t.Error(err)
			}
		})
		return st
	}
	dir := t.TempDir()
	alone := open(filepath.Join(dir, "node.db"))
	first := key(alone, filepath.Join(dir, "labels.key"))
	if again := key(alone, filepath.Join(dir, "labels.key")); !bytes.Equal(first, again) {
		t.Error("another key the second time")
	}
	t.Run("PostgreSQL", func(t *testing.T) {
		shared := open(postgres.WithPassword(postgres.Start(t).Create(t)))
		one := key(shared, filepath.Join(dir, "labels.key"))
		other := key(shared, filepath.Join(t.TempDir(), "labels.key"))
		if !bytes.Equal(one, first) || !bytes.Equal(other, first) {
			t.Errorf("keys %x and %x, the file has %x", one, other, first)
		}
		broken := filepath.Join(t.TempDir(), "labels.key")
		if err := os.WriteFile(broken, []byte("short"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := labelsKey(t.Context(), broken, shared); err == nil {
			t.Error("half a key is taken")
		}
	})
}
