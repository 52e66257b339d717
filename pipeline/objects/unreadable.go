package objects

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// ErrUnreadable says that one object cannot be read, written or deleted though its store
// works: nothing is to be waited for.
var ErrUnreadable = errors.New("the store works, but not for this object")

// unreadableError is ErrUnreadable with what reading says. It is not ErrUnavailable,
// whatever reading says.
type unreadableError struct{ err error }

func (e *unreadableError) Error() string {
	return fmt.Sprintf("%v: %s", ErrUnreadable, strings.ReplaceAll(e.err.Error(), ErrUnavailable.Error()+": ", ""))
}

func (e *unreadableError) Is(target error) bool {
	return target == ErrUnreadable || target != ErrUnavailable && errors.Is(e.err, target)
}

func (e *unreadableError) As(target any) bool { return errors.As(e.err, target) }

// reading reads an object by once, and again where that fails in a way in which it
// does while a store is away. If the store works before and after the second time,
// the error is of the object: ErrUnreadable.
func (f *Files) reading(ctx context.Context, once func() error) error {
	err := once()
	if !f.doubtful(err) || !f.works(ctx) {
		return err
	}
	if err = once(); f.doubtful(err) && f.works(ctx) {
		return &unreadableError{err}
	}
	return err
}

// writing is [Files.reading] for an error of writing or deleting, which is not tried
// twice.
func (f *Files) writing(ctx context.Context, err error) error {
	if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUnreadable) || !f.works(ctx) {
		return err
	}
	return &unreadableError{err}
}

// doubtful reports whether an error may be that of a store or of one object in it.
// Of a store elsewhere it has said so; what else fails there is of this machine.
func (f *Files) doubtful(err error) bool {
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrUnreadable) {
		return false
	}
	if _, ok := f.Store.(filed); !ok {
		return errors.Is(err, ErrUnavailable)
	}
	return errors.Is(err, ErrUnavailable) || errors.As(err, new(*fs.PathError)) && !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE)
}

// worksFor is how long a store may take to show that it works.
const worksFor = time.Minute

// works tries whether the store does what it should.
func (f *Files) works(ctx context.Context) bool {
	if ctx.Err() != nil || f.Trouble() != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, worksFor)
	defer cancel()
	err := Probe(ctx, f.Store)
	if d, ok := f.Store.(*Directory); ok && !d.shared {
		_ = os.Remove(filepath.Dir(d.Name("probe", "x"))) // it has no such folder otherwise
	}
	return err == nil
}
