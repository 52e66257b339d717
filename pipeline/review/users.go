package review

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"golang.org/x/crypto/argon2"
)

// Role is what a user may do. A user may have several.
type Role string

// Roles of users.
const (
	Viewer        Role = "viewer"        // may look
	Reader        Role = "reader"        // may also correct and sign
	Administrator Role = "administrator" // may also look after studies, deliveries and the audit trail
)

// Roles lists all roles.
var Roles = []Role{Viewer, Reader, Administrator}

// User is an account of the page.
type User struct {
	Name string `yaml:"name"`
	// Person is the user's name as DICOM writes it (PN): Family^Given^^Prefix.
	Person       string `yaml:"person"`
	Organisation string `yaml:"organisation,omitempty"`
	Roles        []Role `yaml:"roles,flow"`
	// Password is an argon2id hash in PHC form, see [HashPassword].
	Password string `yaml:"password"`
}

// May reports whether the user has one of the roles.
func (u User) May(roles ...Role) bool {
	return slices.ContainsFunc(roles, func(r Role) bool { return slices.Contains(u.Roles, r) })
}

// Display is the user's name for people.
func (u User) Display() string {
	if name := personName(u.Person); name != "" {
		return name
	}
	return u.Name
}

var userName = regexp.MustCompile(`^[a-z0-9][a-z0-9._@-]{0,63}$`)

// Validate checks an account, the password's hash included.
func (u User) Validate() error {
	if !userName.MatchString(u.Name) {
		return fmt.Errorf("user name %q: use 1 to 64 of a-z, 0-9, '.', '_', '@' and '-'", u.Name)
	}
	if len(u.Roles) == 0 {
		return fmt.Errorf("user %s has no role", u.Name)
	}
	for _, r := range u.Roles {
		if !slices.Contains(Roles, r) {
			return fmt.Errorf("user %s: %q is not one of the roles %v", u.Name, r, Roles)
		}
	}
	if strings.ContainsAny(u.Person, "\\=\r\n\x00\x1b") || utf8.RuneCountInString(u.Person) > 64 || strings.Count(u.Person, "^") > 4 {
		return fmt.Errorf("user %s: %q is not a person's name such as Family^Given", u.Name, u.Person)
	}
	if u.May(Reader) && strings.Trim(u.Person, "^ ") == "" {
		return fmt.Errorf("user %s is a reader and needs a person's name (Family^Given), which stands in signed reports", u.Name)
	}
	if u.May(Reader) && strings.TrimSpace(u.Organisation) == "" {
		return fmt.Errorf("user %s is a reader and needs an organisation, which stands in signed reports", u.Name)
	}
	if strings.ContainsAny(u.Organisation, "\\\r\n\x00\x1b") || utf8.RuneCountInString(u.Organisation) > 64 {
		return fmt.Errorf("user %s: the organisation must have at most 64 characters and no backslash", u.Name)
	}
	_, err := parseHash(u.Password)
	if err != nil {
		return fmt.Errorf("user %s: %w", u.Name, err)
	}
	return nil
}

// Users is the file of accounts. It is read again whenever it has changed.
type Users struct {
	path string

	mu    sync.Mutex
	seen  fs.FileInfo
	users []User
	err   error
}

// usersFile is the file's form.
type usersFile struct {
	Users []User `yaml:"users"`
}

// OpenUsers reads the file at path, which must exist and be valid.
func OpenUsers(path string) (*Users, error) {
	u := &Users{path: path}
	_, err := u.All()
	return u, err
}

// All returns the accounts.
func (u *Users) All() ([]User, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	info, err := os.Stat(u.path)
	if err != nil {
		return nil, err
	}
	if u.seen == nil || !os.SameFile(u.seen, info) || !u.seen.ModTime().Equal(info.ModTime()) || u.seen.Size() != info.Size() {
		u.users, u.err = readUsers(u.path)
		u.seen = info
	}
	return u.users, u.err
}

// Find returns the account of that name.
func (u *Users) Find(name string) (User, bool, error) {
	all, err := u.All()
	if err != nil {
		return User{}, false, err
	}
	i := slices.IndexFunc(all, func(u User) bool { return u.Name == name })
	if i < 0 {
		return User{}, false, nil
	}
	return all[i], true, nil
}

func readUsers(path string) ([]User, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var f usersFile
	if err := yaml.UnmarshalWithOptions(b, &f, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	names := map[string]bool{}
	for _, u := range f.Users {
		if err := u.Validate(); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if names[u.Name] {
			return nil, fmt.Errorf("%s: user %s is there twice", path, u.Name)
		}
		names[u.Name] = true
	}
	return f.Users, nil
}

// EditUsers changes the file of accounts, which is made if it is missing, in
// one step: others see the old file or the new one, and of two who change it at
// once the second changes what the first has made. The file keeps its owner and
// mode; a new one, and folders that are made for it, get the owner of the folder
// that was there, so that root does not take it away from the node. Who could
// not leave it to its owner may not change it.
func EditUsers(path string, edit func([]User) ([]User, error)) error {
	// A link stays one.
	if to, err := filepath.EvalSymlinks(path); err == nil {
		path = to
	}
	dir := filepath.Dir(path)
	if err := makeFolder(dir); err != nil {
		return err
	}
	unlock, err := lockFolder(dir)
	if err != nil {
		return err
	}
	defer unlock()
	at, mode := dir, fs.FileMode(0o600)
	switch info, err := os.Stat(path); {
	case err == nil:
		at, mode = path, info.Mode().Perm()
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	who, err := ownerOf(at)
	if err != nil {
		return err
	}
	if err := who.mayEdit(os.Geteuid(), path); err != nil {
		return err
	}
	if at == dir && who.uid == 0 && who.gid != 0 {
		mode = 0o640 // a folder of the configuration, whose group is the node's
	}
	users, err := readUsers(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if users, err = edit(users); err != nil {
		return err
	}
	for _, u := range users {
		if err := u.Validate(); err != nil {
			return err
		}
	}
	b, err := yaml.Marshal(usersFile{users})
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".users-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString("# Accounts of the review page; change them with `echonode user`.\n" + string(b))
	// The owner first: giving a file away may take rights of it away.
	if err := errors.Join(err, who.give(f.Name()), f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// owner is whom a file belongs to.
type owner struct{ uid, gid int }

func ownerOf(path string) (owner, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return owner{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return owner{int(st.Uid), int(st.Gid)}, nil
}

// mayEdit is why a user may not change the file: a new one would be that user's,
// and the owner's no more.
func (o owner) mayEdit(euid int, path string) error {
	if euid == 0 || euid == o.uid {
		return nil
	}
	name := strconv.Itoa(o.uid)
	if u, err := user.LookupId(name); err == nil {
		name = u.Username
	}
	return fmt.Errorf("%s belongs to user %s: run this as that user or as root", path, name)
}

// give lets the owner have what is there now, where it is somebody else's.
func (o owner) give(path string) error {
	is, err := ownerOf(path)
	if err != nil || is == o {
		return err
	}
	return os.Lchown(path, o.uid, o.gid)
}

// makeFolder makes a folder and those above it, each the owner's of the one that
// it is in.
func makeFolder(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	above := filepath.Dir(dir)
	if above == dir {
		return nil // there is none above it
	}
	if err := makeFolder(above); err != nil {
		return err
	}
	who, err := ownerOf(above)
	if err != nil {
		return err
	}
	if err := who.mayEdit(os.Geteuid(), above); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o750); errors.Is(err, fs.ErrExist) {
		return nil
	} else if err != nil {
		return err
	}
	return who.give(dir)
}

// lockWait is how long a change waits for another one to end.
const lockWait = 20 * time.Second

// lockFolder keeps others from changing the file of accounts in a folder.
func lockFolder(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(lockWait); ; time.Sleep(20 * time.Millisecond) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil // which gives the lock back
		}
		if errors.Is(err, syscall.EINTR) || errors.Is(err, syscall.EWOULDBLOCK) && time.Now().Before(end) {
			continue
		}
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = errors.New("somebody else is changing the accounts")
		}
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), f.Close())
	}
}

// ---- passwords ----

// Cost of new hashes: of the choices that OWASP's cheat sheet on password
// storage holds to be equally strong the one with the least memory, which is the
// most that a sign-in costs the node. Older hashes say their own cost.
const (
	hashMemory  = 7 * 1024 // KiB
	hashTime    = 5
	hashThreads = 1
	hashLength  = 32
)

// MinPassword is the shortest password that is accepted, in characters.
const MinPassword = 10

// HashPassword returns the argon2id hash of a password with a salt of its own,
// in PHC form: $argon2id$v=19$m=7168,t=5,p=1$SALT$HASH.
func HashPassword(password string) (string, error) {
	if utf8.RuneCountInString(password) < MinPassword || len(password) > maxPassword {
		return "", fmt.Errorf("a password has %d to %d characters", MinPassword, maxPassword)
	}
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never fails
	hash := argon2.IDKey([]byte(password), salt, hashTime, hashMemory, hashThreads, hashLength)
	enc := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, hashMemory, hashTime, hashThreads, enc.EncodeToString(salt),
		enc.EncodeToString(hash)), nil
}

const maxPassword = 256

type passwordHash struct {
	memory, time uint32
	threads      uint8
	salt, hash   []byte
}

func parseHash(s string) (h passwordHash, err error) {
	bad := errors.New("the password is not an argon2id hash; set one with `echonode user password`")
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return h, bad
	}
	var version int
	if _, err := fmt.Sscanf(parts[2], "v=%d", &version); err != nil || version != argon2.Version {
		return h, bad
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.memory, &h.time, &h.threads); err != nil {
		return h, bad
	}
	enc := base64.RawStdEncoding.Strict()
	if h.salt, err = enc.DecodeString(parts[4]); err != nil {
		return h, bad
	}
	if h.hash, err = enc.DecodeString(parts[5]); err != nil {
		return h, bad
	}
	// Bounded, so that a file cannot make a sign-in take for ever.
	if h.memory < 8 || h.memory > 1<<20 || h.time < 1 || h.time > 64 || h.threads < 1 || len(h.salt) < 8 || len(h.hash) < 16 || len(h.hash) > 64 {
		return h, bad
	}
	return h, nil
}

func (h passwordHash) matches(password string) bool {
	got := argon2.IDKey([]byte(password), h.salt, h.time, h.memory, h.threads, uint32(len(h.hash)))
	return subtle.ConstantTimeCompare(got, h.hash) == 1
}

// stranger is checked where there is no such user, so that the answer takes as
// long.
var stranger = passwordHash{memory: hashMemory, time: hashTime, threads: hashThreads, salt: make([]byte, 16), hash: make([]byte, hashLength)}

// personName turns a DICOM person name into "Family, Given Middle" for people:
// its first component group that is not empty.
func personName(pn string) string {
	for group := range strings.SplitSeq(pn, "=") {
		parts := strings.Split(group, "^")
		for i := range parts {
			parts[i] = strings.TrimSpace(parts[i])
		}
		at := func(i int) string {
			if i < len(parts) {
				return parts[i]
			}
			return ""
		}
		given := strings.Join(strings.Fields(strings.Join([]string{at(3), at(1), at(2)}, " ")), " ")
		switch {
		case at(0) != "" && given != "":
			return at(0) + ", " + given
		case at(0) != "" || given != "":
			return at(0) + given
		}
	}
	return ""
}
