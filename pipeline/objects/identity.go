package objects

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
)

// MarkerName is the object by which a store says to which database it belongs.
const MarkerName = "echonode-store"

const markerText = "\nThis store belongs to the EchoNode database of that number. Another one does not use it while this object is here.\n"

// ErrAnother says that a store belongs to another database.
var ErrAnother = errors.New("the object store belongs to another database")

// ErrNotThere says that nothing of what a database names is in the store.
var ErrNotThere = errors.New("the object store holds nothing of what the database names: is the folder mounted, are bucket and prefix right?")

// Belong makes sure that the store is the one of the database that has the
// identity id, and gives it the marker that says so if it has none. Named lists
// some of the objects that the database names; of a store without a marker one of
// them has to be there. Where the store is not available nothing is done with it
// until it is and has been asked.
//
// The error wraps [ErrAnother], [ErrNotThere], or is that of asking.
func (f *Files) Belong(ctx context.Context, id []byte, named func(context.Context) ([]string, error)) error {
	belongs := func(ctx context.Context) error {
		err := belong(ctx, f.Store, id, named)
		if g, ok := f.Store.(gated); ok {
			g.bar(err)
		}
		return err
	}
	f.mu.Lock()
	f.belongs = belongs
	f.mu.Unlock()
	err := belongs(ctx)
	if errors.Is(err, ErrUnavailable) {
		_ = f.note(err) // and tried again
		return nil
	}
	return err
}

// gated is a store that is asked whose it is before it is used.
type gated interface {
	bar(why error) // nil: it may be used
	ungated() Store
}

// gate is shut with a reason; one that nobody has shut is open.
type gate struct{ why atomic.Pointer[error] }

func (g *gate) bar(why error) {
	if why != nil && !errors.Is(why, ErrUnavailable) {
		why = fmt.Errorf("%w: %w", ErrUnavailable, why)
	}
	g.why.Store(&why)
}

func (g *gate) pass() error {
	if why := g.why.Load(); why != nil {
		return *why
	}
	return nil
}

func (d *Directory) ungated() Store { return &Directory{root: d.root, shared: d.shared} }
func (s *S3) ungated() Store        { return &S3{client: s.client, opt: s.opt, single: s.single} }

func belong(ctx context.Context, s Store, id []byte, named func(context.Context) ([]string, error)) error {
	d, shared := s.(*Directory)
	shared = shared && d.shared
	if shared {
		if _, err := os.Stat(d.root); err != nil {
			return errNotMounted(d.root, err)
		}
	}
	if g, ok := s.(gated); ok {
		s = g.ungated()
	}
	name := s.Name(MarkerName)
	got, err := marker(ctx, s, name)
	if errors.Is(err, fs.ErrNotExist) {
		if err := anyThere(ctx, s, named); err != nil {
			return err
		}
		if err := PutBytes(ctx, s, name, []byte(hex.EncodeToString(id)+markerText)); err != nil {
			return err
		}
		got, err = marker(ctx, s, name) // whoever came last
	}
	if err != nil {
		return err
	}
	if got != hex.EncodeToString(id) {
		return fmt.Errorf("%w: its %s says %.64q, this database has the number %x", ErrAnother, MarkerName, got, id)
	}
	if shared {
		return d.pin(got)
	}
	return nil
}

func marker(ctx context.Context, s Store, name string) (string, error) {
	b, err := ReadAll(ctx, s, name, 4<<10)
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSpace(line), err
}

// anyThere is ErrNotThere for a store that has none of the objects.
func anyThere(ctx context.Context, s Store, named func(context.Context) ([]string, error)) error {
	names, err := named(ctx)
	if err != nil || len(names) == 0 {
		return err
	}
	for _, name := range names {
		_, err := s.Stat(ctx, name)
		if err == nil {
			return nil
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrName) {
			return err
		}
	}
	return ErrNotThere
}

// rootID identifies a folder while it is mounted.
type rootID struct{ device, inode uint64 }

// pin is the folder that is the store, and the identity in its marker.
type pin struct {
	rootID
	database string
}

// pin keeps to the folder that is at the root now: what is there later, a mount
// point without its share, is not the store.
func (d *Directory) pin(database string) error {
	id, err := identify(d.root)
	if err != nil {
		return errNotMounted(d.root, err)
	}
	d.pinned.Store(&pin{id, database})
	return nil
}

// there fails where the folder at the root is another than the pinned one. A share
// that was mounted again may have another number: its marker says that it is the one.
func (d *Directory) there() error {
	if err := d.pass(); err != nil {
		return err
	}
	want := d.pinned.Load()
	if want == nil {
		return nil
	}
	got, err := identify(d.root)
	if err == nil && got != want.rootID {
		if now, merr := marker(context.Background(), d.ungated(), d.Name(MarkerName)); merr == nil && now == want.database {
			d.pinned.Store(&pin{got, now})
			return nil
		}
		err = errors.New("another folder is in its place")
	}
	if err != nil {
		return errNotMounted(d.root, err)
	}
	return nil
}

func identify(path string) (rootID, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return rootID{}, err
	}
	return rootID{uint64(st.Dev), st.Ino}, nil //nolint:unconvert // another type elsewhere
}

// errNotMounted is of a share that is away, which is not an object that is missing.
func errNotMounted(root string, err error) error {
	return fmt.Errorf("%w: the shared directory %s is not there, is it mounted? %v", ErrUnavailable, root, err) //nolint:errorlint // see above
}
