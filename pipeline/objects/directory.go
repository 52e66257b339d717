package objects

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// Directory keeps objects as files below a directory. An object is written
// under another name in the same folder, synced, renamed, and the folder synced.
//
// Names are the paths of the files; those of a shared directory are relative to
// it, since it may be mounted elsewhere on another machine, and what fails
// there wraps [ErrUnavailable].
type Directory struct {
	root   string
	shared bool
	pinned atomic.Pointer[pin] // of a shared one, once it is known to be the right one
	gate
}

// unfinished begins the names of files that are being written.
const unfinished = "unfinished-"

// NewDirectory keeps objects below root on this machine. It is made when it is
// first written to.
func NewDirectory(root string) *Directory { return &Directory{root: root} }

// NewShared keeps objects below root, which other machines see too. Root must
// be there: if it is not, the file system is not mounted.
func NewShared(root string) *Directory { return &Directory{root: root, shared: true} }

// Name implements [Store].
func (d *Directory) Name(parts ...string) string {
	if d.shared {
		return filepath.ToSlash(filepath.Join(parts...))
	}
	return filepath.Join(append([]string{d.root}, parts...)...)
}

// path is the file of a name.
func (d *Directory) path(name string) (string, error) {
	if d.shared {
		if err := checkParts(name); err != nil {
			return "", err
		}
		if err := d.there(); err != nil {
			return "", err
		}
		return filepath.Join(d.root, filepath.FromSlash(name)), nil
	}
	if below(d.root, name) {
		return name, nil
	}
	// The directory may have been named in another way when the name was made.
	root, err1 := filepath.Abs(d.root)
	abs, err2 := filepath.Abs(name)
	if name == "" || err1 != nil || err2 != nil || !below(root, abs) {
		return "", fmt.Errorf("%q: %w", name, ErrName)
	}
	return name, nil
}

// errNoFile is of what has an object's name and cannot be one.
var errNoFile = fmt.Errorf("no regular file: %w", fs.ErrNotExist)

// isRegular is nil for what can be an object. Everything else is as if nothing
// were there: who reads a pipe, a socket or a device may wait for ever.
func isRegular(path string, info fs.FileInfo) error {
	if info.Mode().IsRegular() {
		return nil
	}
	return &fs.PathError{Op: "open", Path: path, Err: errNoFile}
}

// regular is isRegular of the file at a path; an error may also be that of looking.
func regular(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return isRegular(path, info)
}

func below(root, name string) bool {
	rel, err := filepath.Rel(root, name)
	return err == nil && filepath.IsLocal(rel) && rel != "."
}

// file is the path of an object that a reader may use as it is.
func (d *Directory) file(name string) (string, error) { return d.path(name) }

// wrap says what kind an error is.
func (d *Directory) wrap(err error) error {
	if d.shared {
		return unavailable(err)
	}
	return err
}

// Put implements [Store].
func (d *Directory) Put(_ context.Context, name string, r io.ReadSeeker, size int64) error {
	path, err := d.path(name)
	if err != nil {
		return err
	}
	f, err := d.create(path)
	if err != nil {
		return d.wrap(err)
	}
	n, err := io.Copy(f, r)
	if err == nil && n != size {
		err = fmt.Errorf("%d bytes instead of %d: %w", n, size, io.ErrUnexpectedEOF)
	}
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return d.wrap(errors.Join(err, os.Remove(f.Name())))
	}
	return d.wrap(place(f.Name(), path))
}

// adopt gives a local file its name here, or copies it if it is on another file
// system.
func (d *Directory) adopt(ctx context.Context, name, file string) error {
	path, err := d.path(name)
	if err != nil {
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return d.wrap(err)
	}
	if err := d.folder(filepath.Dir(path)); err != nil {
		return d.wrap(err)
	}
	err = place(file, path)
	if !errors.Is(err, syscall.EXDEV) {
		return d.wrap(err)
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return errors.Join(d.Put(ctx, name, f, info.Size()), os.Remove(file))
}

// adoptAll is adopt of several files, with one sync of each folder.
func (d *Directory) adoptAll(ctx context.Context, files []Named) error {
	folders := map[string]bool{}
	for _, n := range files {
		path, err := d.path(n.Name)
		if err != nil {
			return err
		}
		if err := syncPath(n.File); err != nil {
			return d.wrap(err)
		}
		if err := d.folder(filepath.Dir(path)); err != nil {
			return d.wrap(err)
		}
		err = os.Rename(n.File, path)
		if errors.Is(err, syscall.EXDEV) {
			if err := d.adopt(ctx, n.Name, n.File); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return d.wrap(err)
		}
		folders[filepath.Dir(path)] = true
	}
	for folder := range folders {
		if err := syncPath(folder); err != nil {
			return d.wrap(err)
		}
	}
	return nil
}

// create makes a file beside where path is to be.
func (d *Directory) create(path string) (*os.File, error) {
	for tries := 0; ; tries++ {
		if err := d.folder(filepath.Dir(path)); err != nil {
			return nil, err
		}
		f, err := os.CreateTemp(filepath.Dir(path), unfinished)
		// The folder may have been removed between the two.
		if errors.Is(err, fs.ErrNotExist) && tries < 3 {
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := f.Chmod(0o640); err != nil {
			return nil, errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
		return f, nil
	}
}

// place renames a synced file and makes its name durable.
func place(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		if errors.Is(err, syscall.EXDEV) {
			return err
		}
		return errors.Join(err, os.Remove(from))
	}
	return syncPath(filepath.Dir(to))
}

// folder makes a folder below root, durably.
func (d *Directory) folder(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	if d.shared {
		if _, err := os.Stat(d.root); err != nil {
			return errNotMounted(d.root, err)
		}
	}
	var made []string
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(at); err == nil || at == filepath.Dir(at) {
			break
		}
		made = append(made, filepath.Dir(at))
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	for _, parent := range made {
		if err := syncPath(parent); err != nil {
			return err
		}
	}
	return nil
}

// syncPath makes a file, or the names in a folder, durable.
func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Open implements [Store].
func (d *Directory) Open(_ context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	path, err := d.path(name)
	if err != nil {
		return nil, err
	}
	if err := regular(path); err != nil {
		return nil, d.wrap(err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, d.wrap(err)
	}
	if info, err := f.Stat(); err != nil || info.IsDir() {
		return nil, errors.Join(d.wrap(err), f.Close(), &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist})
	}
	if offset > 0 {
		if _, err := f.Seek(offset, io.SeekStart); err != nil {
			return nil, d.wrap(errors.Join(err, f.Close()))
		}
	}
	if length < 0 {
		return f, nil
	}
	return &limited{io.LimitReader(f, length), f}, nil
}

type limited struct {
	io.Reader
	io.Closer
}

// Stat implements [Store].
func (d *Directory) Stat(_ context.Context, name string) (Entry, error) {
	path, err := d.path(name)
	if err != nil {
		return Entry{}, err
	}
	info, err := os.Stat(path)
	if err == nil {
		err = isRegular(path, info)
	}
	if err != nil {
		return Entry{}, d.wrap(err)
	}
	return Entry{Name: name, Base: info.Name(), Size: info.Size(), Modified: info.ModTime()}, nil
}

// Remove implements [Store].
func (d *Directory) Remove(_ context.Context, name string) error {
	path, err := d.path(name)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return d.wrap(err)
	}
	return d.wrap(syncPath(filepath.Dir(path)))
}

// List implements [Store]. A folder that is empty has no objects below it, but
// is listed until it is cleared.
func (d *Directory) List(ctx context.Context, name string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		path, err := d.path(name)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		files, err := os.ReadDir(path)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				yield(Entry{}, d.wrap(err))
			}
			return
		}
		for _, f := range files {
			if ctx.Err() != nil {
				yield(Entry{}, ctx.Err())
				return
			}
			if strings.HasPrefix(f.Name(), unfinished) {
				continue
			}
			info, err := f.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue // removed meanwhile
			}
			if err != nil {
				yield(Entry{}, d.wrap(err))
				return
			}
			e := Entry{Name: d.below(name, f.Name()), Base: f.Name(), Folder: info.IsDir(), Size: info.Size(), Modified: info.ModTime()}
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (d *Directory) below(name, base string) string {
	if d.shared {
		return name + "/" + base
	}
	return filepath.Join(name, base)
}

// clear removes a folder.
func (d *Directory) clear(_ context.Context, name string) error {
	path, err := d.path(name)
	if err != nil {
		return err
	}
	return d.wrap(os.RemoveAll(path))
}

// Sweep removes what processes that died left unfinished directly below a name,
// if it is older than age. In a directory of this machine that nobody writes to
// at the moment that may be 0.
func (d *Directory) Sweep(name string, age time.Duration) error {
	path, err := d.path(name)
	if err != nil {
		return err
	}
	files, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, f := range files {
		if !strings.HasPrefix(f.Name(), unfinished) {
			continue
		}
		if info, ierr := f.Info(); ierr == nil && time.Since(info.ModTime()) >= age {
			err = errors.Join(err, os.RemoveAll(filepath.Join(path, f.Name())))
		}
	}
	return d.wrap(err)
}
