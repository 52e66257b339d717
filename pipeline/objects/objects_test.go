package objects_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/echonode/echonode/conformance/s3gateway"
	"github.com/echonode/echonode/pipeline/objects"
)

// s3 opens the server's bucket, by way of an address.
func s3(t *testing.T, endpoint string, change ...func(*objects.S3Options)) *objects.S3 {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", s3gateway.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", s3gateway.SecretKey)
	opt := objects.S3Options{Endpoint: endpoint, Region: "us-east-1", Bucket: s3gateway.Bucket, Prefix: "node/", Timeout: time.Minute,
		Checksums: objects.ChecksumMD5}
	for _, c := range change {
		c(&opt)
	}
	s, err := objects.NewS3(opt)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// kinds are all stores, each with nothing in it; others gives another process's
// view of it.
func kinds(t *testing.T) map[string]func(t *testing.T) (s, other objects.Store) {
	server := sync.OnceValue(func() *s3gateway.Server { return s3gateway.Start(t) })
	gateway := func(sum objects.Checksums, old bool) func(*testing.T) (s, o objects.Store) {
		return func(t *testing.T) (objects.Store, objects.Store) {
			p := s3gateway.NewProxy(t, server().Endpoint)
			if old {
				p.Set(s3gateway.Old)
			}
			change := func(o *objects.S3Options) {
				o.Checksums = sum
				o.Prefix = strings.ReplaceAll(t.Name(), "/", "-") + "/"
			}
			return s3(t, p.Endpoint, change), s3(t, p.Endpoint, change)
		}
	}
	return map[string]func(*testing.T) (s, other objects.Store){
		"directory": func(t *testing.T) (objects.Store, objects.Store) {
			dir := filepath.Join(t.TempDir(), "below", "made")
			return objects.NewDirectory(dir), objects.NewDirectory(dir)
		},
		"shared directory": func(t *testing.T) (objects.Store, objects.Store) {
			dir := t.TempDir()
			// Another machine has mounted it elsewhere.
			mount := filepath.Join(t.TempDir(), "mount")
			if err := os.Symlink(dir, mount); err != nil {
				t.Fatal(err)
			}
			return objects.NewShared(dir), objects.NewShared(mount)
		},
		"S3":                               gateway(objects.ChecksumMD5, false),
		"S3 without checksums":             gateway(objects.ChecksumNone, false),
		"S3 with CRC-32C":                  gateway(objects.ChecksumCRC32C, false),
		"S3 that knows no newer checksums": gateway(objects.ChecksumMD5, true),
	}
}

// TestConformance is what every kind of store must do.
func TestConformance(t *testing.T) {
	for name, open := range kinds(t) {
		t.Run(name, func(t *testing.T) {
			s, other := open(t)
			conform(t, s, other)
		})
	}
}

func read(t *testing.T, s objects.Store, name string, offset, length int64) string {
	t.Helper()
	r, err := s.Open(t.Context(), name, offset, length)
	if err != nil {
		t.Fatalf("open %s: %v", name, err)
	}
	b, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatalf("read %s: %v", name, err)
	}
	return string(b)
}

func list(t *testing.T, s objects.Store, name string) (names []string) {
	t.Helper()
	for e, err := range s.List(t.Context(), name) {
		if err != nil {
			t.Fatal(err)
		}
		what := e.Base
		if e.Folder {
			what += "/"
		}
		names = append(names, what)
	}
	slices.Sort(names)
	return names
}

func conform(t *testing.T, s, other objects.Store) {
	ctx := t.Context()
	put := func(content string, parts ...string) string {
		t.Helper()
		name := s.Name(parts...)
		if err := objects.PutBytes(ctx, s, name, []byte(content)); err != nil {
			t.Fatal(err)
		}
		return name
	}

	// What is not there.
	none := s.Name("none", "of it")
	if _, err := s.Open(ctx, none, 0, -1); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, objects.ErrUnavailable) {
		t.Errorf("open of nothing: %v", err)
	}
	if _, err := s.Stat(ctx, none); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("stat of nothing: %v", err)
	}
	if err := s.Remove(ctx, none); err != nil {
		t.Errorf("remove of nothing: %v", err)
	}
	if got := list(t, s, s.Name("none")); len(got) != 0 {
		t.Errorf("list of nothing: %v", got)
	}

	// What is there, and for other processes too.
	before := time.Now().Add(-time.Minute)
	a := put("the first", "study", "1", "a.dcm")
	if got := read(t, other, a, 0, -1); got != "the first" {
		t.Errorf("%q", got)
	}
	e, err := other.Stat(ctx, a)
	if err != nil || e.Size != 9 || e.Name != a || e.Base != "a.dcm" || e.Folder || e.Modified.Before(before) || e.Modified.After(time.Now().Add(time.Minute)) {
		t.Errorf("%+v, %v", e, err)
	}
	if _, err := s.Stat(ctx, s.Name("study", "1")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder is no object: %v", err)
	}
	if _, err := s.Open(ctx, s.Name("study", "1"), 0, -1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder is no object: %v", err)
	}

	// Ranges.
	for _, r := range []struct {
		offset, length int64
		want           string
	}{{0, 3, "the"}, {4, 2, "fi"}, {4, -1, "first"}, {0, 0, ""}, {0, 1, "t"}, {8, 1, "t"}, {4, 100, "first"}, {9, -1, ""}, {9, 5, ""}, {0, 9, "the first"}} {
		if got := read(t, s, a, r.offset, r.length); got != r.want {
			t.Errorf("%d bytes from %d: %q, want %q", r.length, r.offset, got, r.want)
		}
	}

	// The same name again takes the place of what was there.
	put("another, longer one", "study", "1", "a.dcm")
	if got := read(t, other, a, 0, -1); got != "another, longer one" {
		t.Errorf("%q", got)
	}
	empty := put("", "study", "1", "empty")
	if got := read(t, s, empty, 0, -1); got != "" {
		t.Errorf("%q", got)
	}
	if b, err := objects.ReadAll(ctx, s, a, 19); err != nil || len(b) != 19 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if _, err := objects.ReadAll(ctx, s, a, 18); err == nil {
		t.Error("longer than the limit")
	}

	// Lists.
	put("x", "study", "2", "deep", "b.dcm")
	put("x", "study", "list.json")
	put("x", "studying")
	if got, want := list(t, other, s.Name("study")), []string{"1/", "2/", "list.json"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got, want := list(t, other, s.Name("study", "1")), []string{"a.dcm", "empty"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	var all []string
	for e, err := range objects.Walk(ctx, other, s.Name("study")) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e.Name)
	}
	slices.Sort(all)
	if want := []string{a, empty, s.Name("study", "2", "deep", "b.dcm"), s.Name("study", "list.json")}; !slices.Equal(all, want) {
		t.Errorf("%v, want %v", all, want)
	}

	// Names that would leave the place.
	for _, name := range []string{"", ".", "..", s.Name("study") + "/../../x", "../x", "/etc/passwd", s.Name("study") + "/../.."} {
		if err := objects.PutBytes(ctx, s, name, nil); !errors.Is(err, objects.ErrName) {
			t.Errorf("put %q: %v", name, err)
		}
		if _, err := s.Open(ctx, name, 0, -1); !errors.Is(err, objects.ErrName) {
			t.Errorf("open %q: %v", name, err)
		}
		if err := s.Remove(ctx, name); !errors.Is(err, objects.ErrName) {
			t.Errorf("remove %q: %v", name, err)
		}
	}

	// Objects of every size, whole, from a file too.
	random := rand.NewChaCha8([32]byte{1})
	for _, size := range []int{1, 4095, 65536, 5<<20 + 7} {
		content := make([]byte, size)
		random.Read(content)
		file := filepath.Join(t.TempDir(), "local")
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		name := s.Name("sizes", fmt.Sprint(size))
		if err := objects.Adopt(ctx, s, name, file); err != nil {
			t.Fatal(err)
		}
		if got := read(t, other, name, 0, -1); got != string(content) {
			t.Errorf("%d bytes came back as %d, or others", size, len(got))
		}
		if size > 100 {
			if got := read(t, other, name, 17, 64); got != string(content[17:81]) {
				t.Error("another range")
			}
		}
	}

	// What ends early, or fails, is not there, and what was there stays.
	for _, r := range []io.ReadSeeker{strings.NewReader("short"), &failing{strings.NewReader("much longer than it reads")}} {
		if err := s.Put(ctx, s.Name("study", "half"), r, 20); err == nil {
			t.Error("half an object was put")
		}
		if _, err := s.Stat(ctx, s.Name("study", "half")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("half an object: %v", err)
		}
		if err := s.Put(ctx, a, r, 20); err == nil {
			t.Error("half an object was put")
		}
		if got := read(t, s, a, 0, -1); got != "another, longer one" {
			t.Errorf("%q", got)
		}
	}

	// A context that has ended.
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, ok := s.(*objects.S3); ok {
		if err := s.Put(ended, s.Name("study", "late"), strings.NewReader("x"), 1); !errors.Is(err, context.Canceled) {
			t.Errorf("put: %v", err)
		}
	}

	// Two who write the same at once, while others read it: whole every time.
	both := s.Name("study", "both")
	content := strings.Repeat("same ", 20000)
	if err := objects.PutBytes(ctx, s, both, []byte(content)); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for _, st := range []objects.Store{s, other, s, other} {
		group.Go(func() {
			for range 5 {
				if err := objects.PutBytes(ctx, st, both, []byte(content)); err != nil {
					t.Error(err)
				}
				r, err := st.Open(ctx, both, 0, -1)
				if err != nil {
					t.Error(err)
					continue
				}
				b, err := io.ReadAll(r)
				if err != nil || string(b) != content {
					t.Errorf("%d bytes, %v", len(b), err)
				}
				r.Close()
			}
		})
	}
	group.Wait()

	// Removal.
	if err := s.Remove(ctx, empty); err != nil {
		t.Error(err)
	}
	if _, err := other.Stat(ctx, empty); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed: %v", err)
	}
	if err := objects.Clear(ctx, s, s.Name("study")); err != nil {
		t.Error(err)
	}
	if got := list(t, other, s.Name("study")); len(got) != 0 {
		t.Errorf("cleared: %v", got)
	}
	if got := read(t, other, s.Name("studying"), 0, -1); got != "x" {
		t.Errorf("a name that only begins alike was cleared: %q", got)
	}
	if err := objects.Clear(ctx, s, s.Name("study")); err != nil {
		t.Error(err)
	}
	if err := objects.Probe(ctx, s); err != nil {
		t.Error(err)
	}
}

type failing struct{ *strings.Reader }

func (f *failing) Read(p []byte) (int, error) {
	if f.Len() < 10 {
		return 0, errors.New("a disk that cannot be read")
	}
	return f.Reader.Read(p[:min(len(p), 8)])
}

// TestFiles fetches copies, keeps no more than it may, and compares them with
// the digest in their names.
func TestFiles(t *testing.T) {
	for name, open := range kinds(t) {
		t.Run(name, func(t *testing.T) {
			s, other := open(t)
			ctx := t.Context()
			f, err := objects.NewFiles(s, filepath.Join(t.TempDir(), "copies"), 1000)
			if err != nil {
				t.Fatal(err)
			}
			put := func(base, content string) string {
				sum := sha256.Sum256([]byte(content))
				name := s.Name("o", objects.Digested(base, sum[:]))
				if err := objects.PutBytes(ctx, other, name, []byte(content)); err != nil {
					t.Fatal(err)
				}
				return name
			}
			var names []string
			for i := range 8 {
				names = append(names, put(fmt.Sprintf("%d.dcm", i), strings.Repeat(fmt.Sprint(i), 300)))
			}
			hold := f.Hold()
			var held sync.WaitGroup
			for i := range 24 {
				held.Go(func() {
					path, err := hold.File(ctx, names[i%8])
					if err != nil {
						t.Error(err)
						return
					}
					if b, err := os.ReadFile(path); err != nil || string(b) != strings.Repeat(fmt.Sprint(i%8), 300) || filepath.Ext(path) != ".dcm" {
						t.Errorf("%s: %d bytes, %v", path, len(b), err)
					}
				})
			}
			held.Wait()
			// While they are held they stay, whatever the limit.
			path, err := hold.File(ctx, names[0])
			if err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(path); err != nil {
				t.Error(err)
			}
			hold.Release()
			if !f.Local() {
				entries, err := os.ReadDir(filepath.Dir(path))
				if err != nil || len(entries) > 3 {
					t.Errorf("%d copies of 300 bytes are kept, %v", len(entries), err)
				}
			}
			// Of a directory of this machine, whoever opens the file finds out.
			if _, err := f.Hold().File(ctx, s.Name("o", "none")); name != "directory" && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("no such object: %v", err)
			}

			// What the store gives must be what was put there. The files of a
			// directory are read as they are.
			sum := sha256.Sum256([]byte("what it was"))
			bad := s.Name("o", objects.Digested("bad.dcm", sum[:]))
			if err := objects.PutBytes(ctx, s, bad, []byte("what it is")); err != nil {
				t.Fatal(err)
			}
			if _, err := f.Hold().File(ctx, bad); !f.Local() && !errors.Is(err, objects.ErrDamaged) {
				t.Errorf("damaged: %v", err)
			}

			// A file that is adopted is there for others, and here without fetching.
			file := filepath.Join(t.TempDir(), "x.dcm")
			if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
				t.Fatal(err)
			}
			mine := s.Name("o", "mine.dcm")
			if err := f.Adopt(ctx, mine, file); err != nil {
				t.Fatal(err)
			}
			if got := read(t, other, mine, 0, -1); got != "mine" {
				t.Errorf("%q", got)
			}
			own := f.Hold()
			defer own.Release()
			path, err = own.File(ctx, mine)
			if err != nil {
				t.Fatal(err)
			}
			if b, err := os.ReadFile(path); err != nil || string(b) != "mine" {
				t.Errorf("%q, %v", b, err)
			}
		})
	}
}

func TestDigested(t *testing.T) {
	sum := sha256.Sum256([]byte("abc")) // ba7816bf 8f01cfea 414140de 5dae2223 ... (FIPS 180-2, appendix B.1)
	if got, want := objects.Digested("1.2.3.dcm", sum[:]), "1.2.3.sha256-ba7816bf8f01cfea414140de5dae2223.dcm"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := objects.Digested("list", sum[:]), "list.sha256-ba7816bf8f01cfea414140de5dae2223"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestSharedNotMounted must not write into the folder under a mount point.
func TestSharedNotMounted(t *testing.T) {
	s := objects.NewShared(filepath.Join(t.TempDir(), "not mounted"))
	if err := objects.PutBytes(t.Context(), s, s.Name("a", "b"), []byte("x")); !errors.Is(err, objects.ErrUnavailable) {
		t.Errorf("%v", err)
	}
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	s := objects.NewDirectory(dir)
	if err := errors.Join(objects.PutBytes(t.Context(), s, s.Name("k", "kept"), []byte("x")), os.WriteFile(filepath.Join(dir, "k", "unfinished-1"), nil, 0o600),
		os.MkdirAll(filepath.Join(dir, "k", "unfinished-2", "x"), 0o700)); err != nil {
		t.Fatal(err)
	}
	if got := list(t, s, s.Name("k")); !slices.Equal(got, []string{"kept"}) {
		t.Errorf("%v", got)
	}
	for _, age := range []time.Duration{time.Hour, 0} {
		if err := s.Sweep(s.Name("k"), age); err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(filepath.Join(dir, "k"))
		if want := map[bool]int{true: 1, false: 3}[age == 0]; err != nil || len(entries) != want {
			t.Errorf("%v: %v, %v", age, entries, err)
		}
	}
	if err := s.Sweep(s.Name("none"), 0); err != nil {
		t.Error(err)
	}
}

// TestS3Faults is what the caller hears of a store that is gone, slow, refusing
// or wrong, and that it works again afterwards.
func TestS3Faults(t *testing.T) {
	server := s3gateway.Start(t)
	p := s3gateway.NewProxy(t, server.Endpoint)
	s := s3(t, p.Endpoint, func(o *objects.S3Options) { o.Timeout = time.Second })
	name := s.Name("a", "b")
	content := bytes.Repeat([]byte("x"), 1000)
	// A store that is there answers in time in the end.
	works := func(t *testing.T, what string, f func() error) {
		t.Helper()
		var err error
		for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			if err = f(); !errors.Is(err, objects.ErrUnavailable) {
				break
			}
		}
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	put := func() error { return objects.PutBytes(t.Context(), s, name, content) }
	works(t, "before", put)
	for what, fault := range map[string]s3gateway.Fault{
		"hangs":          s3gateway.Hang,
		"drops":          s3gateway.Drop,
		"busy":           s3gateway.Refuse(503, "SlowDown"),
		"denied":         s3gateway.Refuse(403, "AccessDenied"),
		"no such bucket": s3gateway.Refuse(404, "NoSuchBucket"),
		"full":           s3gateway.Refuse(507, "InsufficientStorage"),
	} {
		t.Run(what, func(t *testing.T) {
			p.Set(fault)
			defer p.Set(nil)
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			_, openErr := s.Open(ctx, name, 0, -1)
			_, statErr := s.Stat(ctx, name)
			var listErr error
			for _, err := range s.List(ctx, s.Name("a")) {
				listErr = err
			}
			for op, err := range map[string]error{"put": objects.PutBytes(ctx, s, name, content), "open": openErr, "stat": statErr, "list": listErr,
				"remove": s.Remove(ctx, name)} {
				if what == "no such bucket" && op == "stat" {
					continue // a HEAD has no body that would say it
				}
				if !errors.Is(err, objects.ErrUnavailable) || errors.Is(err, fs.ErrNotExist) || ctx.Err() != nil {
					t.Errorf("%s: %v", op, err)
				}
				if err != nil && (strings.Contains(err.Error(), s3gateway.SecretKey) || strings.Contains(err.Error(), s3gateway.AccessKey)) {
					t.Errorf("%s: the error holds credentials: %v", op, err)
				}
			}
			p.Set(nil)
			works(t, "afterwards", put)
		})
	}
	server.Stop()
	if err := objects.PutBytes(t.Context(), s, name, content); !errors.Is(err, objects.ErrUnavailable) {
		t.Errorf("gone: %v", err)
	}
	server.Restart(t)
	var got []byte
	works(t, "restarted", func() error {
		r, err := s.Open(t.Context(), name, 0, -1)
		if err != nil {
			return err
		}
		defer r.Close()
		got, err = io.ReadAll(r)
		return err
	})
	if !bytes.Equal(got, content) {
		t.Errorf("%d bytes", len(got))
	}

	// A body that stops in the middle.
	p.Set(func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Length", "1000")
		w.Header().Set("Last-Modified", "Fri, 27 Nov 2026 12:00:00 GMT")
		_, _ = w.Write(content[:500])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return true
	})
	var r io.ReadCloser
	works(t, "the beginning of a body", func() (err error) {
		r, err = s.Open(t.Context(), name, 0, -1)
		return err
	})
	defer r.Close()
	if b, err := io.ReadAll(r); !errors.Is(err, objects.ErrUnavailable) || len(b) != 500 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

func TestS3Options(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	t.Setenv("AWS_ACCESS_KEY", "")
	t.Setenv("AWS_SECRET_KEY", "")
	dir := t.TempDir()
	good := filepath.Join(dir, "good")
	if err := errors.Join(os.WriteFile(good, []byte("[default]\naws_access_key_id = a\naws_secret_access_key = secret-b\n"), 0o600),
		os.WriteFile(filepath.Join(dir, "bad"), []byte("aws_access_key_id = a\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	base := objects.S3Options{Endpoint: "https://s3.example:9000", Region: "us-east-1", Bucket: "b", CredentialsFile: good, Timeout: time.Second}
	if _, err := objects.NewS3(base); err != nil {
		t.Errorf("%v", err)
	}
	for what, change := range map[string]func(*objects.S3Options){
		"no URL":            func(o *objects.S3Options) { o.Endpoint = "s3.example" },
		"a path":            func(o *objects.S3Options) { o.Endpoint = "https://s3.example/x" },
		"a password":        func(o *objects.S3Options) { o.Endpoint = "https://a:b@s3.example" },
		"no credentials":    func(o *objects.S3Options) { o.CredentialsFile = "" },
		"no such file":      func(o *objects.S3Options) { o.CredentialsFile = filepath.Join(dir, "none") },
		"nothing in it":     func(o *objects.S3Options) { o.CredentialsFile = filepath.Join(dir, "bad") },
		"no such authority": func(o *objects.S3Options) { o.CA = filepath.Join(dir, "none") },
		"no certificate":    func(o *objects.S3Options) { o.CA = good },
	} {
		opt := base
		change(&opt)
		if _, err := objects.NewS3(opt); err == nil {
			t.Errorf("%s: no error", what)
		} else if strings.Contains(err.Error(), "secret-b") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// What is expected of an object is asked for once in a piece of work; what passes
// is asked for again, and a file that is gone is for whoever opens it.
func TestExpect(t *testing.T) {
	dir := t.TempDir()
	f, err := objects.NewFiles(objects.NewDirectory(dir), "", 0)
	if err != nil {
		t.Fatal(err)
	}
	passing := errors.New("the disk is busy")
	for name, tc := range map[string]struct {
		says  error
		want  error
		asked int // by three requests
	}{
		"whole":   {nil, nil, 1},
		"damaged": {fmt.Errorf("other bytes: %w", objects.ErrDamaged), objects.ErrDamaged, 1},
		"passing": {passing, passing, 3},
		"gone":    {fs.ErrNotExist, nil, 3},
	} {
		hold, asked := f.Hold(), 0
		path := filepath.Join(dir, name)
		for range 2 { // the second changes nothing
			hold.Expect(path, func(string) error { asked++; return tc.says })
		}
		for range 3 {
			if _, err := hold.File(t.Context(), path); !errors.Is(err, tc.want) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := hold.File(t.Context(), path+"2"); err != nil || asked != tc.asked {
			t.Errorf("%s: another object: %v; asked %d times", name, err, asked)
		}
		hold.Release()
	}
}
