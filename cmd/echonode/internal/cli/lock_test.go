package cli

import (
	"errors"
	"os"
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
	link := filepath.Join(t.TempDir(), "link.db")
	if err := errors.Join(os.WriteFile(c.Storage.Database, nil, 0o600), os.Symlink(c.Storage.Database, link)); err != nil {
		t.Fatal(err)
	}
	other := &config.Config{Storage: config.Storage{Directory: t.TempDir(), Database: c.Storage.Database}}
	if _, err := lockDatabase(other); !errors.As(err, new(usageError)) {
		t.Errorf("the second node: %v", err)
	}
	linked := &config.Config{Storage: config.Storage{Directory: t.TempDir(), Database: link}}
	if _, err := lockDatabase(linked); !errors.As(err, new(usageError)) {
		t.Errorf("by a link: %v", err)
	}
	unlock()
	if unlock, err = lockDatabase(other); err != nil {
		t.Fatal(err)
	}
	unlock()
}
