package review

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/argon2"
)

func TestHashPassword(t *testing.T) {
	h, err := HashPassword(password)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := HashPassword(password); again == h || !strings.HasPrefix(h, "$argon2id$v=19$m=7168,t=5,p=1$") {
		t.Errorf("hash %s", h)
	}
	p, err := parseHash(h)
	if err != nil || !p.matches(password) || p.matches(password+"x") || p.matches("") {
		t.Error(err, "hash does not tell passwords apart")
	}
	for _, bad := range []string{"short", strings.Repeat("x", maxPassword+1)} {
		if _, err := HashPassword(bad); err == nil {
			t.Errorf("%d characters accepted", len(bad))
		}
	}
	// A hash of another program, with other costs.
	salt := []byte("somesalt")
	enc := base64.RawStdEncoding
	other := "$argon2id$v=19$m=256,t=1,p=2$" + enc.EncodeToString(salt) + "$" + enc.EncodeToString(argon2.IDKey([]byte("password"), salt, 1, 256, 2, 24))
	if p, err := parseHash(other); err != nil || !p.matches("password") {
		t.Error(err, other)
	}
	for _, bad := range []string{"", "password", "$2b$12$abcdefghijklmnopqrstuv", strings.Replace(h, "argon2id", "argon2i", 1),
		strings.Replace(h, "v=19", "v=16", 1),
		strings.Replace(h, "m=7168", "m=99999999", 1), strings.Replace(h, "t=5", "t=0", 1), strings.Replace(h, "p=1", "p=0", 1), h[:len(h)-30], h + "!"} {
		if _, err := parseHash(bad); err == nil {
			t.Errorf("accepted %q", bad)
		}
	}
}

func TestUsersFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "users.yaml")
	add := func(u User) error {
		return EditUsers(path, func(all []User) ([]User, error) { return append(all, u), nil })
	}
	good := User{Name: "mueller", Person: "Müller^Anna", Organisation: "City Hospital", Roles: []Role{Reader, Administrator}, Password: hash()}
	if err := add(good); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	users, err := OpenUsers(path)
	if err != nil {
		t.Fatal(err)
	}
	if u, ok, err := users.Find("mueller"); err != nil || !ok || !u.May(Administrator) || u.May(Viewer) || u.Display() != "Müller, Anna" {
		t.Errorf("%+v %v %v", u, ok, err)
	}
	// A change of the file counts at once.
	if err := add(User{Name: "viewer", Roles: []Role{Viewer}, Password: hash()}); err != nil {
		t.Fatal(err)
	}
	if _, ok, _ := users.Find("viewer"); !ok {
		t.Error("the new account is not seen")
	}
	edit := func(f func(*User)) User {
		u := good
		u.Name = "other"
		f(&u)
		return u
	}
	for name, bad := range map[string]User{
		"name":         edit(func(u *User) { u.Name = "Not a name" }),
		"no role":      edit(func(u *User) { u.Roles = nil }),
		"other role":   edit(func(u *User) { u.Roles = []Role{"king"} }),
		"no person":    edit(func(u *User) { u.Person = "" }),
		"person":       edit(func(u *User) { u.Person = `A\B` }),
		"organisation": edit(func(u *User) { u.Organisation = strings.Repeat("x", 65) }),
		"password":     edit(func(u *User) { u.Password = "clear" }),
	} {
		if err := add(bad); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if all, err := users.All(); err != nil || len(all) != 2 {
		t.Errorf("%d accounts after refused changes, %v", len(all), err)
	}
	for name, text := range map[string]string{"syntax": "users: [", "unknown key": "users: []\nmore: 1",
		"twice": "users:\n- &a {name: a, roles: [viewer], password: '" + hash() + "'}\n- *a\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenUsers(path); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// Root changes accounts without taking them away from the node's user, and makes
// the file and its folders that user's.
func TestUsersStayTheirOwners(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("gives files to others, which takes root")
	}
	dir := t.TempDir()
	node := owner{65534, 65533}
	if err := os.Chown(dir, node.uid, node.gid); err != nil {
		t.Fatal(err)
	}
	add := func(path string) {
		t.Helper()
		err := EditUsers(path, func(all []User) ([]User, error) {
			return append(all, User{Name: fmt.Sprintf("user%d", len(all)), Roles: []Role{Viewer}, Password: hash()}), nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	is := func(path string, who owner, mode fs.FileMode) {
		t.Helper()
		got, err := ownerOf(path)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil || got != who || info.Mode().Perm() != mode {
			t.Errorf("%s: %+v %v, want %+v %v", path, got, info.Mode(), who, mode)
		}
	}
	path := filepath.Join(dir, "a", "b", "users.yaml")
	add(path)
	is(path, node, 0o600)
	is(filepath.Dir(path), node, 0o750)
	is(filepath.Join(dir, "a"), node, 0o750)
	// As an administrator may have set it up: root's, the node's group may read.
	if err := errors.Join(os.Chown(path, 0, node.gid), os.Chmod(path, 0o640)); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "conf", "users.yaml")
	if err := errors.Join(os.Mkdir(filepath.Dir(conf), 0o750), os.Chown(filepath.Dir(conf), 0, node.gid)); err != nil {
		t.Fatal(err)
	}
	add(conf)
	is(conf, owner{0, node.gid}, 0o640)
	link := filepath.Join(dir, "link.yaml")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	add(link)
	is(path, owner{0, node.gid}, 0o640)
	if to, err := os.Readlink(link); err != nil || to != path {
		t.Errorf("the link is %q, %v", to, err)
	}
	if all, err := readUsers(path); err != nil || len(all) != 2 {
		t.Errorf("%d accounts, %v", len(all), err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("%v are left, %v", left, err)
	}
}

// Who is neither root nor the owner is told whose it is.
func TestUsersOfOthers(t *testing.T) {
	for euid, may := range map[int]bool{0: true, 65534: true, 65533: false} {
		err := owner{65534, 65534}.mayEdit(euid, "users.yaml")
		if may != (err == nil) || err != nil && !strings.Contains(err.Error(), "run this as that user or as root") {
			t.Errorf("user %d: %v", euid, err)
		}
	}
}

// Of changes that are made at once none is lost.
func TestUsersAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "users.yaml")
	var all sync.WaitGroup
	const n = 8
	for i := range n {
		all.Go(func() {
			err := EditUsers(path, func(all []User) ([]User, error) {
				for range 1000 {
					runtime.Gosched() // the others begin meanwhile
				}
				return append(all, User{Name: fmt.Sprintf("user%d", i), Roles: []Role{Viewer}, Password: hash()}), nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if users, err := readUsers(path); err != nil || len(users) != n {
		t.Errorf("%d of %d accounts, %v", len(users), n, err)
	}
}
