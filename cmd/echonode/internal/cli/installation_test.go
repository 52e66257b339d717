package cli

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/echonode/echonode/cmd/echonode/internal/config"
)

// Every installation has a UID of its own, which stays.
func TestInstallationUID(t *testing.T) {
	at := func(dir string) *config.Config {
		c := &config.Config{}
		c.Storage.Directory = dir
		return c
	}
	old := unix.Umask(0) // the file's mode does not depend on it
	defer unix.Umask(old)
	a, b := at(t.TempDir()), at(t.TempDir())
	first, err := installationUID(a, true)
	if err != nil || !uidForm.MatchString(first) {
		t.Fatalf("%q, %v", first, err)
	}
	if info, err := os.Stat(filepath.Join(a.Storage.Directory, installationFile)); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the file is %v, %v", info, err)
	}
	if again, err := installationUID(a, false); err != nil || again != first {
		t.Errorf("at the next start %q, %v; was %q", again, err, first)
	}
	if other, err := installationUID(b, true); err != nil || other == first {
		t.Errorf("another installation has %q, %v", other, err)
	}
	if name, err := installationUID(at(t.TempDir()), false); err != nil || name == first || !uidForm.MatchString(name) {
		t.Errorf("without a node: %q, %v", name, err)
	}
	a.Outputs.DeviceUID = "1.2.3"
	if set, err := installationUID(a, true); err != nil || set != "1.2.3" {
		t.Errorf("configured: %q, %v", set, err)
	}
	if err := os.WriteFile(filepath.Join(b.Storage.Directory, installationFile), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := installationUID(b, true); err == nil {
		t.Errorf("a spoilt file gives %q", got)
	}
}
