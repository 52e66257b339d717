package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/echonode/echonode/pipeline/objects"
	"github.com/echonode/echonode/pipeline/spool"
)

// SpoolFolder holds received objects in a directory of this machine.
const SpoolFolder = "spool"

// MovedError says that files which the database names are not below the data
// directory but where they were before it got another name.
type MovedError struct {
	Directory string // now
	Before    string // where the files are
	Files     int
}

func (e *MovedError) Error() string {
	return fmt.Sprintf("storage.directory is %s, but %d files that the database names are below %s and not there; "+
		"move the whole of %s while the node is stopped, or name it as before", e.Directory, e.Files, e.Before, e.Before)
}

// KindError says that the database names files of another kind of object store
// than the configured one.
type KindError struct {
	Files   int
	Example string
}

func (e *KindError) Error() string {
	return fmt.Sprintf("storage.objects.kind cannot be changed while studies are kept: the database names %d files of another kind of store, "+
		"for example %q; set it as it was, or let all studies be removed first", e.Files, e.Example)
}

// belong makes sure that a store which others may reach is the one of the
// database.
func (n *Node) belong(ctx context.Context) error {
	if _, own := n.files.InPlace(""); own {
		return nil
	}
	other, err := n.store.NamedElsewhere(ctx, n.files.Name(spool.Received), n.files.Name(resultsFolder))
	if err != nil {
		return err
	}
	if len(other) > 0 {
		return &KindError{len(other), other[0]}
	}
	return n.identify(ctx)
}

// belongHere is belong for a directory of this machine, once the database names its
// files as they are there: the disk of the one or of the other may not be mounted.
func (n *Node) belongHere(ctx context.Context) error {
	if _, own := n.files.InPlace(""); !own {
		return nil
	}
	err := n.identify(ctx)
	if errors.Is(err, objects.ErrNotThere) {
		err = fmt.Errorf("%w (where the files are lost for good, write %x into %s and start again)", err, n.opt.StoreIdentity, n.files.Name(objects.MarkerName))
	}
	return err
}

// identify compares the marker of the object store with the database.
func (n *Node) identify(ctx context.Context) error {
	if len(n.opt.StoreIdentity) == 0 {
		return nil
	}
	return n.files.Belong(ctx, n.opt.StoreIdentity, func(ctx context.Context) ([]string, error) {
		some, err := n.store.InstancesAfter(ctx, "", 50)
		names := make([]string, len(some))
		for i, in := range some {
			names[i] = in.Path
		}
		return names, err
	})
}

// inStore are names of received objects in a store that others may reach.
var inStore = regexp.MustCompile(`^` + spool.Received + `/[0-9a-f]{2}/[^/]*$`)

// relocate lets the database name files where they are now, of a data directory
// that was moved or is named in another way than before. It changes nothing and
// is a *MovedError if some of them were left where they were.
func (n *Node) relocate(ctx context.Context) error {
	if _, own := n.files.InPlace(""); !own {
		return nil
	}
	root := n.files.Name()
	names, err := n.store.NamedElsewhere(ctx, filepath.Join(root, SpoolFolder), filepath.Join(root, resultsFolder))
	if err != nil {
		return err
	}
	if foreign := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !inStore.MatchString(name) }); len(foreign) > 0 {
		return &KindError{len(foreign), foreign[0]}
	}
	before, strange, err := formerly(root, names)
	if err != nil {
		return err
	}
	// A file that is still to be deleted has moved with the others.
	removals, err := n.store.Removals(ctx)
	if err != nil {
		return err
	}
	for _, r := range removals {
		dir, folder, rest := split(r.Path)
		if folder == "" || dir == filepath.ToSlash(root) {
			continue
		}
		if _, err := os.Lstat(filepath.Join(root, folder, filepath.FromSlash(rest))); err == nil {
			if before[dir] == nil {
				before[dir] = &former{}
			}
			before[dir].here++
		}
	}
	for dir, f := range before {
		if f.there > 0 {
			return &MovedError{root, dir, f.there}
		}
	}
	for dir, f := range before {
		if f.here == 0 {
			strange++ // what was there is gone; the one who looks for it says so
			continue
		}
		for _, folder := range []string{SpoolFolder, resultsFolder} {
			// As it is written there.
			from := folder
			if dir != "" {
				from = dir + "/" + folder
			}
			if err := n.store.Relocate(ctx, from, filepath.Join(root, folder)); err != nil {
				return err
			}
		}
		n.log.Info("the data directory has another name than before", "directory", root, "before", dir, "files", f.here)
	}
	if strange > 0 {
		n.log.Warn("the database names files outside of the data directory, which are not there", "directory", root)
	}
	return nil
}

// former is what is left of the files that the database names in a data directory
// of before.
type former struct {
	here  int // now in the data directory
	there int // still where they were
}

// formerly sorts names of files by the data directory they are in, and counts
// those that are in none.
func formerly(root string, names []string) (before map[string]*former, strange int, err error) {
	before = map[string]*former{}
	for _, name := range names {
		dir, folder, rest := split(name)
		if folder == "" {
			strange++
			continue
		}
		f := before[dir]
		if f == nil {
			f = &former{}
			before[dir] = f
		}
		_, err := os.Lstat(filepath.Join(root, folder, filepath.FromSlash(rest)))
		if err == nil {
			f.here++
			continue
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, 0, err
		}
		if _, err := os.Lstat(name); err == nil {
			f.there++
		}
	}
	return before, strange, nil
}

// sameFile reports whether two names are of one file of this machine.
func (n *Node) sameFile(a, b string) bool {
	if _, own := n.files.InPlace(""); !own {
		return false
	}
	one, err1 := os.Stat(a)
	other, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(one, other)
}

// split takes the name of a file apart into data directory, folder of it and the
// rest; folder is empty for what is in neither.
func split(name string) (dir, folder, rest string) {
	parts := strings.Split(filepath.ToSlash(name), "/")
	for i := len(parts) - 2; i >= 0; i-- {
		if parts[i] == SpoolFolder || parts[i] == resultsFolder {
			return strings.Join(parts[:i], "/"), parts[i], strings.Join(parts[i+1:], "/")
		}
	}
	return "", "", ""
}
