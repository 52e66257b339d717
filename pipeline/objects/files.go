package objects

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"
)

// Files gives files of this machine for objects: those of a directory as they
// are, and copies of others, which are kept while there is room for them.
type Files struct {
	Store
	dir   string
	limit int64

	fetching singleflight.Group

	mu      sync.Mutex
	copies  map[string]*fileCopy
	size    int64
	seq     uint64
	trouble error // why the store was not available the last time
	probing bool

	belongs func(context.Context) error // see Belong; nil: whatever is there is it

	ctx context.Context // of what is tried in the background
	end context.CancelFunc
}

// fileCopy is a local copy of an object.
type fileCopy struct {
	path string
	size int64
	used uint64    // when it was last asked for, in order
	at   time.Time // when that was
	held int       // by so many
}

// filed is a store whose objects are files of this machine.
type filed interface {
	file(name string) (string, error)
}

// NewFiles gives files for the objects of a store. What has to be copied is
// copied into dir, which is emptied and belongs to this process alone; copies
// that nobody holds are kept up to limit bytes in all.
func NewFiles(s Store, dir string, limit int64) (*Files, error) {
	f := &Files{Store: s, dir: dir, limit: limit, copies: map[string]*fileCopy{}}
	f.ctx, f.end = context.WithCancel(context.Background())
	if _, ok := s.(filed); ok {
		return f, nil
	}
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o750)); err != nil {
		return nil, err
	}
	return f, nil
}

// Hold collects what one piece of work needs. It may be used by several
// goroutines.
type Hold struct {
	files *Files
	mu    sync.Mutex
	held  []*fileCopy
	known map[string]*expected
}

// expected is what is known of an object, and whether it is so.
type expected struct {
	intact func(path string) error
	mu     sync.Mutex
	told   bool
	err    error
}

// Expect has File ask, before it gives the file of an object for the first time,
// whether it is what it should be; an error wrapping ErrDamaged says that it isn't,
// and is File's from then on. What is copied from elsewhere is compared when it is
// fetched, and not asked for.
func (h *Hold) Expect(name string, intact func(path string) error) {
	if _, ok := h.files.Store.(filed); !ok {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.known == nil {
		h.known = map[string]*expected{}
	}
	if h.known[name] == nil {
		h.known[name] = &expected{intact: intact}
	}
}

// met reports what is wrong with a file of which something is expected. Errors
// that pass are not remembered.
func (h *Hold) met(ctx context.Context, name, path string) error {
	h.mu.Lock()
	e := h.known[name]
	h.mu.Unlock()
	if e == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.told {
		return e.err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	err := e.intact(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // whoever opens it finds out
	}
	if err == nil || errors.Is(err, ErrDamaged) {
		e.told, e.err = true, err
	}
	return err
}

// Hold begins a piece of work, which ends with Release.
func (f *Files) Hold() *Hold { return &Hold{files: f} }

// Release lets go of all files.
func (h *Hold) Release() {
	h.mu.Lock()
	held := h.held
	h.held = nil
	h.mu.Unlock()
	h.files.mu.Lock()
	defer h.files.mu.Unlock()
	for _, c := range held {
		c.held--
	}
	h.files.shrink()
}

// File is a file with the bytes of an object, until Release. It must not be
// changed. An error wrapping fs.ErrNotExist: there is no such object; one wrapping
// ErrDamaged: it is not what it was, see Expect; one wrapping ErrUnreadable: it alone
// cannot be read.
func (h *Hold) File(ctx context.Context, name string) (string, error) {
	f := h.files
	if s, ok := f.Store.(filed); ok {
		path, err := s.file(name)
		if err != nil {
			return "", err
		}
		if err := f.reading(ctx, func() error { return f.appears(ctx, name, path) }); err != nil {
			return path, err
		}
		if err := regular(path); errors.Is(err, errNoFile) {
			return path, err // for others, whoever opens it finds out
		}
		return path, f.reading(ctx, func() error { return h.met(ctx, name, path) })
	}
	for {
		if path, ok := h.take(name); ok {
			return path, nil
		}
		// One fetch for all who want it; whose context ends leaves it to others.
		fetched := f.fetching.DoChan(name, func() (any, error) {
			own, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchLimit)
			defer cancel()
			return nil, f.reading(own, func() error { return f.fetch(own, name) })
		})
		select {
		case r := <-fetched:
			if r.Err != nil {
				return "", r.Err
			}
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// fetchLimit is how long one object may take to arrive.
const fetchLimit = 10 * time.Minute

// take holds a copy that is there.
func (h *Hold) take(name string) (string, bool) {
	f := h.files
	f.mu.Lock()
	c := f.copies[name]
	if c != nil {
		c.held++
		f.seq++
		c.used, c.at = f.seq, time.Now()
	}
	f.mu.Unlock()
	if c == nil {
		return "", false
	}
	h.mu.Lock()
	h.held = append(h.held, c)
	h.mu.Unlock()
	return c.path, true
}

// patience is how long a file of a shared directory, which the index names, may
// take to appear on this machine: network file systems remember for a while what
// was not there.
const patience = 3 * time.Second

// appears waits for a file of a shared directory.
func (f *Files) appears(ctx context.Context, name, path string) error {
	d, ok := f.Store.(*Directory)
	if !ok || !d.shared {
		return nil // whoever opens it finds out
	}
	for end := time.Now().Add(patience); ; {
		_, err := d.Stat(ctx, name)
		if err == nil || !errors.Is(err, fs.ErrNotExist) || time.Now().After(end) {
			return err
		}
		// Reading the folder makes a client ask again.
		_, _ = os.ReadDir(filepath.Dir(path))
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// fetch copies an object and compares it with its digest, if it has one.
func (f *Files) fetch(ctx context.Context, name string) (err error) {
	r, err := f.Open(ctx, name, 0, -1)
	if err != nil {
		return err
	}
	defer r.Close()
	to, err := os.CreateTemp(f.dir, "copy-*"+filepath.Ext(name))
	if err != nil {
		return err
	}
	h := sha256.New()
	size, err := io.Copy(io.MultiWriter(to, h), r)
	if err = errors.Join(err, to.Close()); err == nil {
		if want := digestOf(name); want != nil && !bytes.Equal(want, h.Sum(nil)[:len(want)]) {
			err = fmt.Errorf("%s: %w: its bytes have another digest than its name says", name, ErrDamaged)
		}
	}
	if err != nil {
		return errors.Join(err, os.Remove(to.Name()))
	}
	f.keep(name, to.Name(), size)
	return nil
}

// keep takes a file as the copy of an object.
func (f *Files) keep(name, path string, size int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.copies[name] != nil { // somebody else has one
		_ = os.Remove(path)
		return
	}
	f.seq++
	f.copies[name] = &fileCopy{path: path, size: size, used: f.seq, at: time.Now()}
	f.size += size
	f.shrink(name)
}

// shrink removes the copies that were used longest ago. The caller holds the
// lock.
func (f *Files) shrink(except ...string) {
	for f.size > f.limit {
		oldest := ""
		for name, c := range f.copies {
			if c.held == 0 && (len(except) == 0 || name != except[0]) && (oldest == "" || c.used < f.copies[oldest].used) {
				oldest = name
			}
		}
		if oldest == "" {
			return
		}
		f.drop(oldest)
	}
}

// Forget removes the copies that nobody has asked for for so long. Whoever
// removes an object does not know of the copies on other machines.
func (f *Files) Forget(unused time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, c := range f.copies {
		if c.held == 0 && time.Since(c.at) >= unused {
			f.drop(name)
		}
	}
}

// DropCopy removes the copy of an object, unless somebody holds it.
func (f *Files) DropCopy(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.copies[name]; c != nil && c.held == 0 {
		f.drop(name)
	}
}

func (f *Files) drop(name string) {
	c := f.copies[name]
	_ = os.Remove(c.path) // what is left is removed at the next start
	f.size -= c.size
	delete(f.copies, name)
}

// Adopt puts a local file under a name and keeps it as the copy of the object.
func (f *Files) Adopt(ctx context.Context, name, file string) error {
	if err := f.note(f.writing(ctx, Adopt(ctx, f.Store, name, file))); err != nil {
		return err
	}
	if _, ok := f.Store.(filed); ok {
		return nil
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	f.mu.Lock()
	f.seq++
	own := filepath.Join(f.dir, "own-"+strconv.FormatUint(f.seq, 36)+filepath.Ext(name))
	f.mu.Unlock()
	if err := os.Rename(file, own); err != nil {
		return nil // it is where it belongs; the copy is only for speed
	}
	f.keep(name, own, info.Size())
	return nil
}

// AdoptAll puts local files under names. They are durable when it returns; after
// an error some may be.
func (f *Files) AdoptAll(ctx context.Context, files []Named) error {
	if d, ok := f.Store.(*Directory); ok {
		return f.note(f.writing(ctx, d.adoptAll(ctx, files)))
	}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for _, n := range files {
		group.Go(func() error { return f.Adopt(gctx, n.Name, n.File) })
	}
	return group.Wait()
}

// Named is a local file and the name it is to have.
type Named struct{ Name, File string }

// atOnce is how many objects are put at a time.
const atOnce = 8

// Put implements [Store].
func (f *Files) Put(ctx context.Context, name string, r io.ReadSeeker, size int64) error {
	return f.note(f.writing(ctx, f.Store.Put(ctx, name, r, size)))
}

// Open implements [Store]. For an error wrapping ErrUnreadable see [Hold.File].
func (f *Files) Open(ctx context.Context, name string, offset, length int64) (r io.ReadCloser, err error) {
	err = f.reading(ctx, func() error {
		r, err = f.Store.Open(ctx, name, offset, length)
		return err
	})
	return r, f.note(err)
}

// Stat implements [Store]. For an error wrapping ErrUnreadable see [Hold.File].
func (f *Files) Stat(ctx context.Context, name string) (e Entry, err error) {
	err = f.reading(ctx, func() error {
		e, err = f.Store.Stat(ctx, name)
		return err
	})
	return e, err
}

// readAll is [ReadAll].
func (f *Files) readAll(ctx context.Context, name string, limit int64) (b []byte, err error) {
	err = f.reading(ctx, func() error {
		b, err = ReadAll(ctx, f.Store, name, limit)
		return err
	})
	return b, f.note(err)
}

// Trouble is why the store was not available when it was last used, nil if it
// was. While there is trouble the store is tried again and again.
func (f *Files) Trouble() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.trouble
}

// tryAgain is how long the store is left alone before it is tried again.
const tryAgain = 2 * time.Second

// note remembers that the store was not available.
func (f *Files) note(err error) error {
	if !errors.Is(err, ErrUnavailable) {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.trouble = err
	if !f.probing {
		f.probing = true
		go f.probe()
	}
	return err
}

// Close ends what is tried in the background. Files are given on.
func (f *Files) Close() { f.end() }

// probe tries the store until it works.
func (f *Files) probe() {
	for {
		select {
		case <-time.After(tryAgain):
		case <-f.ctx.Done():
			return
		}
		ctx, cancel := context.WithTimeout(f.ctx, time.Minute)
		f.mu.Lock()
		belongs := f.belongs
		f.mu.Unlock()
		var err error
		if belongs != nil {
			err = belongs(ctx)
		}
		if err == nil {
			err = Probe(ctx, f.Store)
		}
		cancel()
		if f.ctx.Err() != nil {
			return
		}
		f.mu.Lock()
		f.trouble = err
		if err == nil {
			f.probing = false
			f.mu.Unlock()
			return
		}
		f.mu.Unlock()
	}
}

// Remove implements [Store].
func (f *Files) Remove(ctx context.Context, name string) error {
	f.DropCopy(name)
	return f.writing(ctx, f.Store.Remove(ctx, name))
}

// InPlace is the path at which files may be written that are then objects under
// a name, of a directory of this machine; ok is false for other stores.
func (f *Files) InPlace(name string) (path string, ok bool) {
	d, ok := f.Store.(*Directory)
	if !ok || d.shared {
		return "", false
	}
	return name, true
}

// Place is the file that an object is in, where objects are files of this machine.
func (f *Files) Place(name string) (path string, ok bool) {
	s, ok := f.Store.(filed)
	if !ok {
		return "", false
	}
	path, err := s.file(name)
	return path, err == nil
}

// Local reports whether objects are files of this machine, without copies.
func (f *Files) Local() bool { _, ok := f.Store.(filed); return ok }

// NameOf makes a name for a local file. In a directory of this machine it is
// the given path; elsewhere its last part holds the file's digest too.
func (f *Files) NameOf(file string, parts ...string) (string, error) {
	if _, own := f.InPlace(""); own {
		return f.Name(parts...), nil
	}
	r, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer r.Close()
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", err
	}
	last := len(parts) - 1
	return f.Name(append(append([]string{}, parts[:last]...), Digested(parts[last], h.Sum(nil)))...), nil
}

// clear removes everything below a name.
func (f *Files) clear(ctx context.Context, name string) error {
	return f.note(f.writing(ctx, Clear(ctx, f.Store, name)))
}
