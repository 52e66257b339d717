// Package postgres runs PostgreSQL servers of the tests' own: from Debian's
// package, in a folder and on a port of their own, as an unprivileged user where
// the tests run as root, which the server refuses.
package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"github.com/echonode/echonode/conformance/freeport"
)

// Password is that of the user of every server here.
const Password = "not a secret: of tests"

// Server is a server.
type Server struct {
	Port int

	bin, dir string // programs; data, socket and log
	as       *syscall.Credential
	options  []string
	process  *os.Process
	ended    chan struct{}
	log      bytes.Buffer
	release  func() error // of the port
}

// programs is the folder of the server's programs, "" where there are none.
func programs() string {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	slices.Sort(found)
	if len(found) > 0 {
		return filepath.Dir(found[len(found)-1])
	}
	if out, err := exec.Command("pg_config", "--bindir").Output(); err == nil {
		dir := strings.TrimSpace(string(out))
		if _, err := os.Stat(filepath.Join(dir, "postgres")); err == nil {
			return dir
		}
	}
	return ""
}

// unprivileged is who the server runs as when the tests run as root.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(uidErr, gidErr)
	}
	return nil, errors.New("no user to run PostgreSQL as")
}

// Start starts a server for a test, which is skipped where PostgreSQL is not
// installed. Options are settings, like "fsync=off".
func Start(t testing.TB, options ...string) *Server {
	t.Helper()
	s, err := start(options)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.remove(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func start(options []string) (s *Server, err error) {
	s = &Server{bin: programs(), options: options}
	if s.bin == "" {
		return nil, fmt.Errorf("PostgreSQL (Debian's package postgresql): %w", fs.ErrNotExist)
	}
	if s.as, err = unprivileged(); err != nil {
		return nil, err
	}
	// Not in a test's own folder, which nobody but its user may enter.
	if s.dir, err = os.MkdirTemp("/tmp", "echonode-postgres-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(s.dir))
		}
	}()
	port, release, err := freeport.Reserve()
	if err != nil {
		return nil, err
	}
	s.release = release
	if s.Port, err = strconv.Atoi(port); err != nil {
		return nil, err
	}
	secret := filepath.Join(s.dir, "password")
	if err := os.WriteFile(secret, []byte(Password), 0o600); err != nil {
		return nil, err
	}
	if s.as != nil {
		for _, path := range []string{s.dir, secret} {
			if err := os.Chown(path, int(s.as.Uid), int(s.as.Gid)); err != nil {
				return nil, err
			}
		}
	}
	init := exec.Command(filepath.Join(s.bin, "initdb"), "-D", filepath.Join(s.dir, "data"), "-U", "echonode", "--pwfile", secret,
		"--auth", "scram-sha-256", "-E", "UTF8", "--locale", "C.UTF-8", "-N")
	init.Dir, init.SysProcAttr = s.dir, &syscall.SysProcAttr{Credential: s.as}
	init.Env = append(os.Environ(), "HOME="+s.dir)
	if out, err := init.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return s, s.Run()
}

// Run starts the server, after Start and Stop, and waits until it answers.
func (s *Server) Run() error {
	args := []string{"-D", filepath.Join(s.dir, "data"), "-p", strconv.Itoa(s.Port), "-k", s.dir, "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200"}
	for _, o := range s.options {
		args = append(args, "-c", o)
	}
	cmd := exec.Command(filepath.Join(s.bin, "postgres"), args...)
	// It ends with the tests, however they end.
	cmd.Dir, cmd.SysProcAttr = s.dir, &syscall.SysProcAttr{Credential: s.as, Pdeathsig: syscall.SIGQUIT}
	cmd.Stdout, cmd.Stderr = &s.log, &s.log
	started, ended := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread() // what Pdeathsig goes by
		defer close(ended)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	s.process, s.ended = cmd.Process, ended
	var err error
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		select {
		case <-ended:
			return fmt.Errorf("PostgreSQL ended at its start: %s", s.log.String())
		default:
		}
		if err = s.exec("postgres", "SELECT 1"); err == nil {
			return nil
		}
	}
	return fmt.Errorf("PostgreSQL does not answer: %w", err)
}

// Stop ends the server at once, as a power cut of its machine would end what
// its peers see of it. What was committed is there after Run.
func (s *Server) Stop() {
	_ = s.process.Signal(syscall.SIGQUIT)
	<-s.ended
}

// ProcessorTime is that of the server and its processes so far.
func (s *Server) ProcessorTime(t testing.TB) (total time.Duration) {
	t.Helper()
	stat := func(pid string) (parent string, own, ended int64) {
		b, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil {
			return "", 0, 0 // it has ended, and is its parent's now
		}
		// After the name, in parentheses: 2 is the parent, 12 to 15 are the times of
		// the process and of its children that have ended, in 1/100 s.
		f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		ticks := func(i int) (n int64) { n, _ = strconv.ParseInt(f[i], 10, 64); return n }
		return f[1], ticks(11) + ticks(12), ticks(13) + ticks(14)
	}
	main := strconv.Itoa(s.process.Pid)
	for {
		_, own, ended := stat(main)
		ticks := own + ended
		all, err := os.ReadDir("/proc")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range all {
			if _, err := strconv.Atoi(e.Name()); err != nil {
				continue
			}
			if parent, own, _ := stat(e.Name()); parent == main {
				ticks += own
			}
		}
		if _, _, now := stat(main); now == ended { // none has ended meanwhile
			return time.Duration(ticks) * 10 * time.Millisecond
		}
	}
}

// Pause keeps the server from doing anything, as a machine or disk that hangs
// would, until the returned function is called or the test ends: connections
// stay open, and nothing answers.
func (s *Server) Pause(t testing.TB) (resume func()) {
	t.Helper()
	// The server first, so that it begins no other process.
	pids := []int{s.process.Pid}
	if err := syscall.Kill(pids[0], syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for _, pid := range s.children(t) {
		if syscall.Kill(pid, syscall.SIGSTOP) == nil {
			pids = append(pids, pid)
		}
	}
	resume = sync.OnceFunc(func() {
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
	})
	t.Cleanup(resume)
	return resume
}

// Pin lets the server, and each process that it begins from now on, run on some
// processors only.
func (s *Server) Pin(t testing.TB, processors ...int) {
	t.Helper()
	var set unix.CPUSet
	for _, p := range processors {
		set.Set(p)
	}
	if err := unix.SchedSetaffinity(s.process.Pid, &set); err != nil {
		t.Fatal(err)
	}
	for _, pid := range s.children(t) {
		_ = unix.SchedSetaffinity(pid, &set) // it may have ended
	}
}

// children are the server's processes beside the first.
func (s *Server) children(t testing.TB) (pids []int) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// "PID (NAME) STATE PARENT ...", proc(5); the name may hold anything.
		var state string
		var parent int
		if _, err := fmt.Sscan(string(b[bytes.LastIndexByte(b, ')')+1:]), &state, &parent); err != nil || parent != s.process.Pid {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

func (s *Server) remove() error {
	s.Stop()
	return errors.Join(os.RemoveAll(s.dir), s.release())
}

// URL is the URL of a database of the server, without the password.
func (s *Server) URL(database string) string {
	return fmt.Sprintf("postgres://echonode@127.0.0.1:%d/%s?sslmode=disable", s.Port, database)
}

// WithPassword adds the password to a URL.
func WithPassword(database string) string {
	return strings.Replace(database, "echonode@", "echonode:"+url.PathEscape(Password)+"@", 1)
}

func (s *Server) exec(database, query string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, WithPassword(s.URL(database)))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, query)
	return errors.Join(err, conn.Close(ctx))
}

// Create creates an empty database and returns its URL.
func (s *Server) Create(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("test%d", databases.Add(1))
	if err := s.exec("postgres", "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	return s.URL(name)
}

var databases atomic.Int64

// shared is the server of all tests of a package; they don't survive power cuts.
var shared = sync.OnceValues(func() (*Server, error) {
	s, err := start([]string{"fsync=off", "shared_buffers=32MB"})
	running.Store(s)
	return s, err
})

var running atomic.Pointer[Server]

// SetClock has new connections to a database take its clock for one that is so much
// behind, or ahead where by is negative: as they do whose own clock is wrong by that.
func SetClock(t testing.TB, database string, by time.Duration) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	var name string
	err = conn.QueryRow(t.Context(), `SELECT current_database()`).Scan(&name)
	for _, f := range []string{"now", "clock_timestamp"} {
		if err == nil {
			_, err = conn.Exec(t.Context(), fmt.Sprintf(`CREATE FUNCTION public.%s() RETURNS timestamptz LANGUAGE sql STABLE AS
				$$ SELECT pg_catalog.%s() - interval '%d seconds' $$`, f, f, int(by.Seconds())))
		}
	}
	if err == nil {
		_, err = conn.Exec(t.Context(), `ALTER DATABASE "`+name+`" SET search_path = public, pg_catalog`)
	}
	if err := errors.Join(err, conn.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
}

// Database is a new database, with its password, on a server that the tests of
// a package share. The package's TestMain is Main.
func Database(t testing.TB) string {
	t.Helper()
	s, err := shared()
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return WithPassword(s.Create(t))
}

// Main runs the tests of a package that use Database.
func Main(m *testing.M) {
	code := m.Run()
	if s := running.Load(); s != nil {
		if err := s.remove(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}
