package store

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"
)

// The number of a database is read without making or changing anything.
func TestIdentity(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none.db")
	if number, err := Identity(t.Context(), none, ""); err != nil || number != "" {
		t.Errorf("%q, %v", number, err)
	}
	if _, err := os.Stat(none); err == nil {
		t.Error("a database was made")
	}
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			database := d.open(t)
			if d.name != "SQLite" {
				if number, err := Identity(t.Context(), database, ""); err != nil || number != "" {
					t.Errorf("before it is used: %q, %v", number, err)
				}
			}
			s := open(t, database)
			if number, err := Identity(t.Context(), database, ""); err != nil || number != "" {
				t.Errorf("before it has a number: %q, %v", number, err)
			}
			key, err := s.Key(t.Context(), StoreKey, []byte("a number"))
			if err != nil {
				t.Fatal(err)
			}
			if number, err := Identity(t.Context(), database, ""); err != nil || number != hex.EncodeToString(key) {
				t.Errorf("%q, %v, want %x", number, err, key)
			}
		})
	}
}
