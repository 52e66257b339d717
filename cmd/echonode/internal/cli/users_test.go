package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/echonode/echonode/cmd/echonode/internal/config"
	"github.com/echonode/echonode/pipeline/review"
)

// Accounts are named in any case, and one that is not there is said to be none.
func TestUserCommands(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users.yaml")
	run := func(input string, args ...string) (int, string) {
		var out, errw bytes.Buffer
		code := Main("test", append([]string{"user"}, append(args, "--file", file)...), strings.NewReader(input), &out, &errw)
		return code, out.String() + errw.String()
	}
	hash := func(name string) string {
		users, err := review.OpenUsers(file)
		if err != nil {
			t.Fatal(err)
		}
		u, _, err := users.Find(name)
		if err != nil {
			t.Fatal(err)
		}
		return u.Password
	}
	const password = "a long enough password\n"
	for _, no := range [][]string{{"password", "bob"}, {"remove", "bob"}} {
		if code, said := run(password, no...); code == 0 || !strings.Contains(said, "there is no user bob") {
			t.Errorf("%v of no file: %d %s", no, code, said)
		}
	}
	if code, said := run(password, "add", "Bob"); code != 0 {
		t.Fatal(said)
	}
	first := hash("bob")
	if code, said := run(password, "password", "BOB"); code != 0 || hash("bob") == first || hash("bob") == "" {
		t.Errorf("password: %d %s", code, said)
	}
	if code, said := run(password, "remove", "Bob"); code != 0 || hash("bob") != "" {
		t.Errorf("remove: %d %s", code, said)
	}
	if code, said := run(password, "password", "Bob"); code == 0 || !strings.Contains(said, "there is no user bob") {
		t.Errorf("password of a removed account: %d %s", code, said)
	}
}

// What the node's user could not read, for its owner and mode or those of a folder
// on the way to it, is found by a check that root runs.
func TestLiveOwners(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("gives files to others, which takes root")
	}
	top := t.TempDir()
	if err := os.Chmod(filepath.Dir(top), 0o755); err != nil { // the test's own, which only root may pass
		t.Fatal(err)
	}
	dir := filepath.Join(top, "data")
	put := func(path string, uid, gid int, mode os.FileMode) string {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte("x"), mode),
			os.Chown(path, uid, gid), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	put(filepath.Join(dir, "device-uid"), 65534, 65534, 0o640)
	if err := os.Chown(dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	key := put(filepath.Join(top, "private", "review.key"), 0, 65534, 0o640)
	secret := put(filepath.Join(top, "secret"), 65534, 0, 0o400)
	c, err := config.Parse(fmt.Appendf(nil, `
storage: {directory: %s}
review: {listen: "127.0.0.1:0", users: %s, tls: {certificate: %s, key: %s}}
destinations: [{name: a, url: "https://a/", auth: {user: u, password_file: %s}, send: [report]}]
`, dir, filepath.Join(dir, "users.yaml"), key, key, secret))
	if err != nil {
		t.Fatal(err)
	}
	found := func() string {
		info, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		l := &liveCheck{c: c}
		l.owners(dir, info)
		var out []string
		for _, f := range l.findings {
			if f.verdict != broken {
				t.Errorf("%+v", f)
			}
			out = append(out, f.what+" "+f.text)
		}
		return strings.Join(out, "\n")
	}
	users := put(filepath.Join(dir, "users.yaml"), 65534, 0, 0o600)
	if got := found(); got != "" {
		t.Errorf("all can be read: %s", got)
	}
	for name, tc := range map[string]struct {
		spoil, mend func() error
		want        string
	}{
		"accounts of root": {func() error { return os.Chown(users, 0, 0) }, func() error { return os.Chown(users, 65534, 0) }, "review.users " + users},
		"key of another group": {func() error { return os.Chown(key, 0, 0) }, func() error { return os.Chown(key, 0, 65534) },
			"review.tls.certificate " + key},
		"folder that stops it": {func() error { return os.Chmod(filepath.Dir(key), 0o700) }, func() error { return os.Chmod(filepath.Dir(key), 0o755) },
			"owner and mode of " + filepath.Dir(key)},
		"password":   {func() error { return os.Chmod(secret, 0) }, func() error { return os.Chmod(secret, 0o400) }, "destinations[0].auth.password_file " + secret},
		"device-uid": {func() error { return os.Chown(filepath.Join(dir, "device-uid"), 0, 0) }, func() error { return os.Chown(filepath.Join(dir, "device-uid"), 65534, 0) }, "device-uid can't be read by user"},
	} {
		if err := tc.spoil(); err != nil {
			t.Fatal(err)
		}
		if got := found(); !strings.Contains(got, tc.want) {
			t.Errorf("%s: found %q", name, got)
		}
		if err := tc.mend(); err != nil {
			t.Fatal(err)
		}
		if got := found(); got != "" {
			t.Errorf("%s, mended: %s", name, got)
		}
	}
}
