// Package setup tests the script that prepares a machine.
package setup

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// aptHere is an environment in which apt-get has a state of its own in a folder, and
// the file that it locks to read its lists anew.
func aptHere(t *testing.T) (env []string, lock string) {
	t.Helper()
	if _, err := exec.LookPath("apt-get"); err != nil || os.Geteuid() != 0 {
		t.Skip("needs apt-get, and root")
	}
	dir := t.TempDir()
	for _, d := range []string{"state/lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	config := fmt.Sprintf("Dir::State %q;\nDir::State::status \"/dev/null\";\nDir::Cache %q;\nDir::Etc::sourcelist \"/dev/null\";\n"+
		"Dir::Etc::sourceparts \"/dev/null\";\nAPT::Sandbox::User \"root\";\n", filepath.Join(dir, "state"), filepath.Join(dir, "cache"))
	path := filepath.Join(dir, "apt.conf")
	if err := os.WriteFile(path, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	return append(os.Environ(), "APT_CONFIG="+path), filepath.Join(dir, "state", "lists", "lock")
}

// hold takes the lock as another apt does, until release.
func hold(t *testing.T, path string) (release func()) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		t.Fatal(err)
	}
	return func() { _ = f.Close() }
}

// A new Ubuntu runs apt by itself for its first minutes: the set-up waits for it and
// says so, and goes on when it can.
func TestWaitsForAnotherApt(t *testing.T) {
	env, lock := aptHere(t)
	release := hold(t, lock)
	defer release()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "./setup.sh", "apt", "update")
	cmd.Env = append(env, "APT_WAIT=50")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "setup: waiting for another apt: ") || !strings.Contains(line, lock) {
		t.Errorf("%q, %v", line, err)
	}
	release()
	if rest, err := io.ReadAll(out); err != nil || len(rest) > 0 {
		t.Errorf("%q, %v", rest, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after the other has ended: %v", err)
	}
}

// It does not wait for ever, nor for what waiting does not mend.
func TestAptThatFails(t *testing.T) {
	env, lock := aptHere(t)
	for _, c := range []struct {
		name, says string
		args       []string
		locked     bool
	}{
		{"locked for too long", "Could not get lock", []string{"update"}, true},
		{"no such package", "Unable to locate package", []string{"-y", "install", "no-such-package-of-echonode"}, false},
	} {
		release := func() {}
		if c.locked {
			release = hold(t, lock)
		}
		cmd := exec.CommandContext(t.Context(), "./setup.sh", append([]string{"apt"}, c.args...)...)
		cmd.Env = append(env, "APT_WAIT=1")
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), c.says) || !strings.Contains(string(out), "failed") {
			t.Errorf("%s: %v\n%s", c.name, err, out)
		}
		release()
	}
}
