package spool

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/echonode/echonode/dicomio/part10"
	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/scp"
	"github.com/echonode/echonode/scp/bufpool"
)

const (
	class    = "1.2.840.10008.5.1.4.1.1.3.1"
	explicit = uid.ExplicitVRLittleEndian
)

func open(t *testing.T, dir string, opt Options) *Spool {
	t.Helper()
	opt.MinFree = max(opt.MinFree, -1)
	if opt.MinFree == 0 {
		opt.MinFree = -1
	}
	s, err := Open(dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func request(uid string) part10.Meta {
	return part10.Meta{
		SourceAETitle: "CART",
		SOPClassUID:   class, SOPInstanceUID: uid, TransferSyntaxUID: explicit,
	}
}

func store(t *testing.T, s *Spool, uid string, data []byte) (Entry, error) {
	t.Helper()
	in, err := s.Create(request(uid))
	if err != nil {
		return Entry{}, err
	}
	if _, err := io.Copy(in, bytes.NewReader(data)); err != nil {
		return Entry{}, errors.Join(err, in.Abort())
	}
	return in.Commit()
}

func parts(t *testing.T, dir string) []string {
	t.Helper()
	p, err := filepath.Glob(filepath.Join(dir, incomingDir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func readBack(t *testing.T, path string) []byte {
	t.Helper()
	o, err := scp.FileObject(path)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	b, err := io.ReadAll(o.DataSet)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCommitDuplicateConflict(t *testing.T) {
	for _, digest := range []bool{false, true} {
		for _, byLink := range []bool{false, true} {
			t.Run(fmt.Sprintf("digest %v, by link %v", digest, byLink), func(t *testing.T) { testCommitDuplicateConflict(t, digest, byLink) })
		}
	}
}

func testCommitDuplicateConflict(t *testing.T, digest, byLink bool) {
	dir := t.TempDir()
	s := open(t, dir, Options{Digest: digest})
	s.byLink = byLink
	wantDigest := ""
	if digest {
		wantDigest = "80d8f975e768eecac59d22a788bf8e811e51ca85e309ee47f1e821e3e58280f2"
	}
	first, err := store(t, s, "1.2.3", []byte("first version"))
	if err != nil {
		t.Fatal(err)
	}
	if first.Duplicate || first.Conflict || first.Size != 13 || first.SHA256 != wantDigest {
		t.Fatalf("first: %+v", first)
	}
	if fi, err := os.Stat(first.Path); err != nil || fi.Size() != first.FileSize {
		t.Fatalf("file size %v, entry %+v, %v", fi, first, err)
	}
	again, err := store(t, s, "1.2.3", []byte("first version"))
	if err != nil || !again.Duplicate || again.Conflict || again.Path != first.Path || again.SHA256 != first.SHA256 {
		t.Fatalf("duplicate: %+v, %v", again, err)
	}
	second, err := store(t, s, "1.2.3", []byte("other version"))
	if err != nil || second.Duplicate || !second.Conflict || second.Path == first.Path || second.First != first.Path {
		t.Fatalf("conflict: %+v, %v", second, err)
	}
	if third, err := store(t, s, "1.2.3", []byte("other version")); err != nil || !third.Duplicate || !third.Conflict || third.Path != second.Path {
		t.Fatalf("duplicate of the conflict: %+v, %v", third, err)
	}
	if got := readBack(t, first.Path); string(got) != "first version" {
		t.Errorf("first file holds %q", got)
	}
	if got := readBack(t, second.Path); string(got) != "other version" {
		t.Errorf("second file holds %q", got)
	}
	if p := parts(t, dir); len(p) != 0 {
		t.Errorf("left in incoming: %v", p)
	}
	var all []string
	if err := s.Walk(func(p string) error { all = append(all, p); return nil }); err != nil || len(all) != 2 {
		t.Errorf("walk: %v, %v", all, err)
	}
	if err := s.Remove(second.Path); err != nil {
		t.Error(err)
	}
	if err := s.Remove(filepath.Join(dir, "..", "other.dcm")); err == nil {
		t.Error("removed a file outside the spool")
	}
}

func TestHostileUIDs(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	for _, uid := range []string{"", ".", "..", "../../etc/passwd", "1.2/3", "1..2", "1.2.", ".1", "1.2\x00", "1.2 3", strings.Repeat("1", 65), "1.2.a", "١.٢"} {
		_, err := s.Create(request(uid))
		if !errors.Is(err, ErrUID) || Passes(err) {
			t.Errorf("%q: %v", uid, err)
		}
	}
}

func TestAbortAndSweep(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	in, err := s.Create(request("1.2.3"))
	if err != nil {
		t.Fatal(err)
	}
	in.Write([]byte("half"))
	if err := in.Abort(); err != nil {
		t.Fatal(err)
	}
	if err := in.Abort(); err != nil {
		t.Fatal("second abort:", err)
	}
	if _, err := in.Commit(); !errors.Is(err, ErrClosed) {
		t.Fatal("commit after abort:", err)
	}
	if p := parts(t, dir); len(p) != 0 {
		t.Fatalf("abort left %v", p)
	}
	if _, err := s.Create(request("1.2.4")); err != nil { // as a crash would leave it
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrLocked) {
		t.Fatalf("second opener: %v", err)
	}
	s.Close()
	if _, err := s.Create(request("1.2.5")); !errors.Is(err, ErrClosed) {
		t.Fatalf("create after close: %v", err)
	}
	if p := parts(t, dir); len(p) != 1 {
		t.Fatalf("parts %v", p)
	}
	open(t, dir, Options{})
	if p := parts(t, dir); len(p) != 0 {
		t.Fatalf("sweep left %v", p)
	}
}

// TestResolveAfterCrash builds what a crash can leave between the link and the
// removal of the sealed name.
func TestResolveAfterCrash(t *testing.T) {
	content := []byte("DICM and all that follows")
	sum := crc32.Checksum(content, castagnoli)
	const uid = "1.2.840.77"
	for _, tc := range []struct {
		name    string
		base    string // of the final file
		sealed  []byte // content of the part; nil: none
		linked  bool   // the part has the final name too
		other   bool   // another file has the final name
		survive bool
	}{
		{"whole and linked", uid, content, true, false, true},
		{"cut off and linked", uid, content[:10], true, false, false},
		{"right length, wrong bytes", uid, bytes.Repeat([]byte{0}, len(content)), true, false, false},
		{"empty and linked", uid, []byte{}, true, false, false},
		{"whole, not linked", uid, content, false, false, false},
		{"another object has the name", uid, content[:5], false, true, true},
		{"conflict, whole", uid + ".0123456789abcdef", content, true, false, true},
		{"conflict, cut off", uid + ".0123456789abcdef", content[:3], true, false, false},
		{"conflict, digest of digits, cut off", uid + ".0123456789012345", content[:3], true, false, false},
		{"conflict, digest of digits, whole", uid + ".0123456789012345", content, true, false, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, Options{})
			final := filepath.Join(s.shardDir(shardOf(uid)), tc.base+fileSuffix)
			sealed := s.sealedName(final, int64(len(content)), sum)
			if err := os.WriteFile(sealed, tc.sealed, 0o600); err != nil {
				t.Fatal(err)
			}
			if tc.linked {
				if err := os.Link(sealed, final); err != nil {
					t.Fatal(err)
				}
			}
			if tc.other {
				if err := os.WriteFile(final, content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s.Close()
			open(t, dir, Options{})
			if p := parts(t, dir); len(p) != 0 {
				t.Errorf("left in incoming: %v", p)
			}
			if _, err := os.Stat(final); (err == nil) != tc.survive {
				t.Errorf("final name: %v", err)
			}
		})
	}
}

func TestWatermark(t *testing.T) {
	s := open(t, t.TempDir(), Options{MinFree: 1 << 60})
	_, err := s.Create(request("1.2.3"))
	if !errors.Is(err, ErrWatermark) || !Passes(err) {
		t.Fatalf("got %v", err)
	}
}

// TestSameUIDAtOnce commits the same and different data sets under few UIDs
// from several goroutines: the first file of a UID never changes and exactly
// one file exists for each data set.
func TestSameUIDAtOnce(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{NoSync: true})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range 40 {
				uid := fmt.Sprintf("1.2.%d", i%5)
				e, err := store(t, s, uid, []byte(fmt.Sprintf("data %d", (g+i)%3)))
				if err != nil {
					t.Errorf("store: %v", err)
					return
				}
				if got := readBack(t, e.Path); string(got) != fmt.Sprintf("data %d", (g+i)%3) {
					t.Errorf("entry holds %q", got)
				}
			}
		}()
	}
	wg.Wait()
	n := 0
	s.Walk(func(string) error { n++; return nil })
	if n != 15 {
		t.Errorf("%d files, want 5 UIDs x 3 data sets", n)
	}
}

// TestDiskFull fills a small tmpfs.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("mounting a tmpfs is not permitted: %v: %s", err, bytes.TrimSpace(out))
	}
	defer exec.Command("umount", dir).Run()
	s, err := Open(dir, Options{MinFree: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	first, err := store(t, s, "1.1", make([]byte, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	_, err = store(t, s, "1.2", make([]byte, 4<<20))
	if !errors.Is(err, ErrDiskFull) || !Passes(err) {
		t.Fatalf("full disk: %v", err)
	}
	if p := parts(t, dir); len(p) != 0 {
		t.Errorf("left in incoming: %v", p)
	}
	if got := readBack(t, first.Path); len(got) != 1<<20 {
		t.Errorf("first object has %d bytes", len(got))
	}
	if _, err := store(t, s, "1.3", make([]byte, 100<<10)); err != nil {
		t.Errorf("small object after the failure: %v", err)
	}
}

// What a file holds has the same sum whether it is computed from the stream or
// from the file, and its sealed name that of the whole file.
func TestSum(t *testing.T) {
	for _, size := range []int{0, 1, 13, bufpool.Small, bufpool.Small*9 + 5} {
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(i * i >> 3)
		}
		s := open(t, t.TempDir(), Options{})
		e, err := store(t, s, "1.2.3", data)
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("crc32c:%08x", crc32.Checksum(data, castagnoli)); e.Sum != want {
			t.Errorf("%d bytes: %s, want %s", size, e.Sum, want)
		}
		if sum, err := Sum(e.Path); err != nil || sum != e.Sum {
			t.Errorf("%d bytes: the file says %s, %v", size, sum, err)
		}
	}
	if _, err := Sum(filepath.Join(t.TempDir(), "none.dcm")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// A damaged version of an object stays until the one that takes its place is
// durable; one that differs in nothing but the transfer syntax is no damaged one.
func TestDamagedVersion(t *testing.T) {
	s := open(t, t.TempDir(), Options{Digest: true})
	if _, err := store(t, s, "1.2.3", []byte("first version")); err != nil {
		t.Fatal(err)
	}
	second, err := store(t, s, "1.2.3", []byte("other version"))
	if err != nil {
		t.Fatal(err)
	}
	again := func(syntax string, harm func(in *Incoming)) (Entry, error) {
		t.Helper()
		m := request("1.2.3")
		m.TransferSyntaxUID = syntax
		in, err := s.Create(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := in.Write([]byte("other version")); err != nil {
			t.Fatal(err)
		}
		harm(in)
		return in.Commit()
	}
	recoded, err := again("1.2.840.10008.1.2.4.90", func(*Incoming) {})
	if err != nil || recoded.Duplicate || recoded.Path == second.Path {
		t.Errorf("in another transfer syntax: %+v, %v", recoded, err)
	}
	if got := readBack(t, second.Path); string(got) != "other version" {
		t.Errorf("the version before holds %q", got)
	}
	if err := os.Truncate(second.Path, second.FileSize-3); err != nil {
		t.Fatal(err)
	}
	if e, err := again(request("").TransferSyntaxUID, func(in *Incoming) { _ = os.Remove(in.part) }); err == nil {
		t.Fatalf("%+v of a part that has gone", e)
	}
	if _, err := os.Stat(second.Path); err != nil {
		t.Error("what was left went before the one that takes its place was there:", err)
	}
	e, err := again(request("").TransferSyntaxUID, func(*Incoming) {})
	if err != nil || e.Duplicate || e.Path != second.Path {
		t.Fatalf("%+v, %v", e, err)
	}
	if got := readBack(t, second.Path); string(got) != "other version" {
		t.Errorf("it holds %q", got)
	}
}
