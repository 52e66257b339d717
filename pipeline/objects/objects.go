// Package objects keeps what the node has received and made, in a directory, a
// directory that several machines share, or an S3-compatible store. Whoever
// reads and writes does so through [Store] alone, and conforms to what the suite
// of this package tries on every kind.
//
//	directory.go  Directory, local or shared
//	s3.go         S3, any store that speaks its protocol
//	files.go      Files, local copies for those who need a file
//
// An object is whole or not there. It is written once; what is written under
// its name again holds the same, or takes its place at once. A name says
// nothing of the bytes unless it was made by [Digested]: such a name, kept in
// the index, holds a SHA-256 of ours, and a copy that is fetched is compared
// with it whatever the store itself checks.
//
// Nothing here relies on locks, on one process seeing a rename of another at
// once, or on the order of what others do: names that may be written by several
// processes are written with the same content, and all others are unique.
package objects

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"regexp"
	"strings"
	"time"
)

// Store keeps objects under names. Its methods may be called from several
// goroutines and several processes. Errors wrap [ErrUnavailable] when the store
// cannot be reached or refuses what it should do, so that the same may work
// later.
type Store interface {
	// Name makes the name of an object, or of what has objects below it, from
	// the parts of its path. Names are recorded as they are; what they look like
	// is the store's business.
	Name(parts ...string) string
	// Put keeps the size bytes of r under a name. When it returns nil the object
	// survives the loss of power of whoever called it; after an error it is not
	// there, or whole.
	Put(ctx context.Context, name string, r io.ReadSeeker, size int64) error
	// Open reads length bytes of an object from an offset, all the rest when
	// length is negative. An error wrapping fs.ErrNotExist: there is none.
	Open(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error)
	// Stat describes an object. An error wrapping fs.ErrNotExist: there is none.
	Stat(ctx context.Context, name string) (Entry, error)
	// Remove removes an object; that there is none is no error.
	Remove(ctx context.Context, name string) error
	// List gives what is directly below a name, in no useful order: objects, and
	// names that have objects below them. Of a name that has nothing below it, it
	// gives nothing.
	List(ctx context.Context, name string) iter.Seq2[Entry, error]
}

// Entry is an object, or a name that has objects below it.
type Entry struct {
	Name     string
	Base     string // the last part of Name
	Folder   bool   // there are objects below it
	Size     int64
	Modified time.Time
}

var (
	// ErrUnavailable says that the store cannot be reached, is too slow, or
	// refuses.
	ErrUnavailable = errors.New("object store not available")
	// ErrDamaged says that what a store gave is not what was put there.
	ErrDamaged = errors.New("object damaged")
	// ErrName says that a name is not one of the store's.
	ErrName = errors.New("not a name of this object store")
)

// digestBytes is how much of its SHA-256 stands in a name.
const digestBytes = 16

var digested = regexp.MustCompile(`\.sha256-([0-9a-f]{32})(\.|$)`)

// Digested puts the SHA-256 of an object's bytes into the last part of its
// name: before the extension. [Files] checks what it fetches against it.
func Digested(base string, sum []byte) string {
	ext := path.Ext(base)
	return strings.TrimSuffix(base, ext) + ".sha256-" + hex.EncodeToString(sum[:digestBytes]) + ext
}

// digestOf is the digest in the last part of a name, nil if there is none.
func digestOf(name string) []byte {
	m := digested.FindStringSubmatch(name[strings.LastIndexByte(name, '/')+1:])
	if m == nil {
		return nil
	}
	sum, err := hex.DecodeString(m[1])
	if err != nil {
		return nil
	}
	return sum
}

// HasDigest reports whether a name tells a digest of its object.
func HasDigest(name string) bool { return digestOf(name) != nil }

// SameDigest reports whether two names say that their objects have the same
// bytes.
func SameDigest(a, b string) bool {
	x := digestOf(a)
	return x != nil && bytes.Equal(x, digestOf(b))
}

// Verify compares a file with the digest in an object's name, if there is one:
// ErrDamaged, or why it cannot be read.
func Verify(name, file string) error {
	want := digestOf(name)
	if want == nil {
		return nil
	}
	if err := regular(file); err != nil {
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if !bytes.Equal(want, h.Sum(nil)[:len(want)]) {
		return fmt.Errorf("%s: %w: its bytes have another digest than its name says", name, ErrDamaged)
	}
	return nil
}

// VerifyStored is Verify of the object as the store gives it.
func VerifyStored(ctx context.Context, s Store, name string) error {
	want := digestOf(name)
	if want == nil {
		return nil
	}
	r, err := s.Open(ctx, name, 0, -1)
	if err != nil {
		return err
	}
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return errors.Join(err, r.Close())
	}
	if err := r.Close(); err != nil {
		return err
	}
	if !bytes.Equal(want, h.Sum(nil)[:len(want)]) {
		return fmt.Errorf("%s: %w: its bytes have another digest than its name says", name, ErrDamaged)
	}
	return nil
}

// adopter is a store that can take a local file as it is.
type adopter interface {
	adopt(ctx context.Context, name, file string) error
}

// Adopt is Put of a local file. The store may take the file itself: it must not
// be used any more.
func Adopt(ctx context.Context, s Store, name, file string) error {
	if a, ok := s.(adopter); ok {
		return a.adopt(ctx, name, file)
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return s.Put(ctx, name, f, info.Size())
}

// PutBytes is Put of what is in memory.
func PutBytes(ctx context.Context, s Store, name string, b []byte) error {
	return s.Put(ctx, name, bytes.NewReader(b), int64(len(b)))
}

// ReadAll reads an object of at most limit bytes whole.
func ReadAll(ctx context.Context, s Store, name string, limit int64) ([]byte, error) {
	if f, ok := s.(*Files); ok {
		return f.readAll(ctx, name, limit)
	}
	r, err := s.Open(ctx, name, 0, limit+1)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s is longer than %d bytes", name, limit)
	}
	return b, nil
}

// clearer is a store that can remove many objects in one step.
type clearer interface {
	clear(ctx context.Context, name string) error
}

// Clear removes everything below a name. What others put there meanwhile may
// stay.
func Clear(ctx context.Context, s Store, name string) error {
	if c, ok := s.(clearer); ok {
		return c.clear(ctx, name)
	}
	var names []string
	for e, err := range Walk(ctx, s, name) {
		if err != nil {
			return err
		}
		names = append(names, e.Name)
	}
	for _, n := range names {
		if err := s.Remove(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// Walk gives every object below a name.
func Walk(ctx context.Context, s Store, name string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) { walk(ctx, s, name, yield) }
}

func walk(ctx context.Context, s Store, name string, yield func(Entry, error) bool) bool {
	for e, err := range s.List(ctx, name) {
		if err == nil && e.Folder {
			if !walk(ctx, s, e.Name, yield) {
				return false
			}
			continue
		}
		if !yield(e, err) || err != nil {
			return false
		}
	}
	return true
}

// Probe tries everything that the node does with a store, with an object of its
// own that it removes.
func Probe(ctx context.Context, s Store) error {
	name := s.Name("probe", rand.Text())
	content := rand.Text()
	if err := PutBytes(ctx, s, name, []byte(content)); err != nil {
		return fmt.Errorf("put: %w", err)
	}
	b, err := ReadAll(ctx, s, name, 1<<10)
	if err != nil {
		return errors.Join(fmt.Errorf("get: %w", err), s.Remove(ctx, name))
	}
	if string(b) != content {
		return errors.Join(fmt.Errorf("get: %w: other bytes come back than were put there", ErrDamaged), s.Remove(ctx, name))
	}
	found := false
	for e, err := range s.List(ctx, s.Name("probe")) {
		if err != nil {
			return errors.Join(fmt.Errorf("list: %w", err), s.Remove(ctx, name))
		}
		found = found || e.Name == name
	}
	if !found {
		return errors.Join(errors.New("list: what was put there is not listed"), s.Remove(ctx, name))
	}
	if err := s.Remove(ctx, name); err != nil {
		return fmt.Errorf("remove: %w", err)
	}
	if _, err := s.Stat(ctx, name); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(errors.New("remove: the object is still there"), err)
	}
	return nil
}

// checkParts refuses what would not be a path below another.
func checkParts(name string) error {
	if !fs.ValidPath(name) || name == "." || strings.ContainsAny(name, "\\\x00") {
		return fmt.Errorf("%q: %w", name, ErrName)
	}
	return nil
}

func unavailable(err error) error {
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, context.Canceled) || errors.Is(err, ErrName) || errors.Is(err, ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
