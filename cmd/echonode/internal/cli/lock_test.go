package cli

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/echonode/echonode/cmd/echonode/internal/config"
)

// One database of SQLite is one node's, whatever their directories are.
func TestOneNodeADatabase(t *testing.T) {
	c := &config.Config{Storage: config.Storage{Directory: t.TempDir(), Database: filepath.Join(t.TempDir(), "shared.db")}}
	unlock, err := lockDatabase(c)
	if err != nil {
		t.Fatal(err)
	}
	other := &config.Config{Storage: config.Storage{Directory: t.TempDir(), Database: c.Storage.Database}}
	if _, err := lockDatabase(other); !errors.As(err, new(usageError)) {
		t.Errorf("the second node: %v", err)
	}
	unlock()
	if unlock, err = lockDatabase(other); err != nil {
		t.Fatal(err)
	}
	unlock()
}
