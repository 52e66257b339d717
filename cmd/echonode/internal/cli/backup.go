package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/echonode/echonode/cmd/echonode/internal/config"
	"github.com/echonode/echonode/pipeline/objects"
	"github.com/echonode/echonode/pipeline/store"
)

// A backup is a folder: manifest.json, node.db (a snapshot) and the files of the data directory under their own names.
const (
	manifestName  = "manifest.json"
	databaseName  = "node.db"
	backupFormat  = 1
	snapshotTries = 5
	// restoringName is in a data directory that a restore has begun and not ended.
	restoringName = "restoring"
)

// manifest says what a backup holds.
type manifest struct {
	Format    int          `json:"format"`
	Version   string       `json:"version"`   // of the program that made it
	Created   time.Time    `json:"created"`   // of the snapshot
	Directory string       `json:"directory"` // storage.directory, as the database names it
	Files     []backupFile `json:"files"`
}

type backupFile struct {
	Path   string `json:"path"` // below the folder, with slashes
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

func (p *program) backupCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "backup [-c FILE] DIR",
		Short: "Copy the node's data, also while it runs",
		Long: `Writes a backup into DIR, which must not exist: a consistent snapshot of the
database, every received object and result it refers to, and a manifest with
checksums. The node may run meanwhile; what it receives after the snapshot is not
part of the backup. Run it as the node's user or as root. Where objects are in a
shared folder or an S3-compatible store (storage.objects), they are not copied:
that store needs a backup of its own, made after this one.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := load(path)
			if err != nil {
				return err
			}
			return p.backup(cmd.Context(), c, args[0])
		},
	}
	cmd.Flags().StringVarP(&path, "config", "c", "", "configuration file (default: the embedded one)")
	return cmd
}

func (p *program) restoreCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "restore [-c FILE] DIR",
		Short: "Put a backup back into an empty data directory",
		Long: `Copies the backup in DIR into storage.directory, which must be empty or not
exist, and compares every file with its checksum. The node must not run. A backup
of an older version is brought up to date, one of a newer version is refused.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := load(path)
			if err != nil {
				return err
			}
			return p.restore(cmd.Context(), c, args[0])
		},
	}
	cmd.Flags().StringVarP(&path, "config", "c", "", "configuration file (default: the embedded one)")
	return cmd
}

// owner is the user a folder belongs to, and gives it what root makes there.
type owner struct{ uid, gid int }

func ownerOf(path string) (owner, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return owner{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return owner{int(st.Uid), int(st.Gid)}, nil
}

func (o owner) give(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return os.Lchown(path, o.uid, o.gid)
}

// giveBeside gives what SQLite makes beside a database when it opens it and nobody else has.
func (o owner) giveBeside(database string) error {
	for _, suffix := range []string{"-wal", "-shm"} {
		if err := o.give(database + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (p *program) backup(ctx context.Context, c *config.Config, to string) (err error) {
	if err := elsewhere(c); err != nil {
		return err
	}
	from := c.Storage.Directory
	database := c.Database()
	who, err := ownerOf(database)
	if err != nil {
		return fmt.Errorf("no data of a node: %w", err)
	}
	if uid := os.Geteuid(); uid != 0 && uid != who.uid {
		return fmt.Errorf("%s belongs to user %d: run as that user or as root", database, who.uid)
	}
	if inside, err := within(to, from); err != nil {
		return err
	} else if inside {
		return usageError{fmt.Errorf("%s is in the data directory %s, which it would copy into itself; name a folder elsewhere", to, from)}
	}
	if err := os.Mkdir(to, 0o750); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(to))
		}
	}()
	m := manifest{Format: backupFormat, Version: p.version, Directory: from}
	copying := newCopying(from, to, database)
	// A study that the node removes between snapshot and copy takes its files along, and what is received or corrected
	// then may take their places. A later snapshot no longer has it.
	var missing, replaced []string
	for try := range snapshotTries {
		snapshot := filepath.Join(to, databaseName)
		if err := os.Remove(snapshot); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		m.Created = time.Now()
		if err := store.Snapshot(ctx, database, snapshot); err != nil {
			return err
		}
		if err := who.giveBeside(database); err != nil {
			return err
		}
		if err := copying.round(ctx); err != nil {
			return err
		}
		if c.Storage.Objects.Kind != config.KindDirectory {
			break // what it refers to is elsewhere
		}
		missing, replaced, err = copying.check(ctx, snapshot)
		if err := errors.Join(err, who.giveBeside(database)); err != nil {
			return err
		}
		if len(missing)+len(replaced) == 0 {
			break
		}
		if try < snapshotTries-1 {
			fmt.Fprintf(p.err, "%d files were removed or replaced meanwhile, once more\n", len(missing)+len(replaced))
		}
	}
	copied, unread := copying.copied, copying.unread
	f, err := hashFile(filepath.Join(to, databaseName))
	if err != nil {
		return err
	}
	f.Path = databaseName
	m.Files = append(m.Files, f)
	total := f.Size
	for _, f := range copied {
		m.Files = append(m.Files, f.backupFile)
		total += f.Size
	}
	slices.SortFunc(m.Files, func(a, b backupFile) int { return strings.Compare(a.Path, b.Path) })
	b, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(to, manifestName), append(b, '\n'), 0o640); err != nil {
		return err
	}
	if err := syncFileSystem(to); err != nil {
		return err
	}
	fmt.Fprintf(p.out, "%s: %d files, %s, as of %s\n", to, len(m.Files), humanize.IBytes(uint64(total)), m.Created.Format(time.DateTime))
	var problems []error
	for _, rel := range slices.Sorted(maps.Keys(unread)) {
		fmt.Fprintf(p.err, "left out: %v\n", unread[rel])
	}
	if len(unread) > 0 {
		problems = append(problems, fmt.Errorf("%d files cannot be read and are not in the backup", len(unread)))
	}
	if len(missing) > 0 {
		problems = append(problems, fmt.Errorf("%d files that the database names are not there, the first is %s", len(missing), missing[0]))
	}
	if len(replaced) > 0 {
		problems = append(problems, fmt.Errorf("%d files were replaced while they were copied, and may not be what the database names; the first is %s: "+
			"make another backup", len(replaced), replaced[0]))
	}
	if len(problems) > 0 {
		return partError{errors.Join(problems...)}
	}
	return nil
}

// within reports whether the folder dir, which is to be made, would be below or be root, whatever links lead there.
func within(dir, root string) (bool, error) {
	at, err := filepath.Abs(dir)
	if err != nil {
		return false, err
	}
	top, err := os.Stat(root)
	if err != nil {
		return false, err
	}
	if at, err = filepath.EvalSymlinks(filepath.Dir(at)); err != nil {
		return false, err
	}
	for {
		info, err := os.Stat(at)
		if err != nil {
			return false, err
		}
		if os.SameFile(info, top) {
			return true, nil
		}
		up := filepath.Dir(at)
		if up == at {
			return false, nil
		}
		at = up
	}
}

// skipped are files of a running process, which nothing refers to, and what a node makes again.
func skipped(rel string) bool {
	top, _, _ := strings.Cut(rel, "/")
	return strings.HasPrefix(rel, databaseName) ||
		slices.Contains([]string{"tensorrt", "lock", "scratch", "cache", "arriving", restoringName, objects.MarkerName}, top) ||
		strings.HasSuffix(rel, "/.lock") ||
		strings.HasPrefix(rel, "spool/incoming/") || strings.HasSuffix(rel, ".part") || rel == manifestName
}

// copying is a data directory that is copied while a node may use it, in rounds: after each it is looked whether what was
// copied is what a snapshot from before the round names.
type copying struct {
	from, to, database string
	rounds             int                   // so many have begun
	copied             map[string]copiedFile // by the path below the folder, with slashes
	seen               map[string]int        // the round in which a file or folder was last found to be as it was copied
	unread             map[string]error      // what could not be read in the last round
}

func newCopying(from, to, database string) *copying {
	return &copying{from: from, to: to, database: database, copied: map[string]copiedFile{}, seen: map[string]int{}, unread: map[string]error{}}
}

// copiedFile is a file as it was copied.
type copiedFile struct {
	backupFile
	state fileState // when copying it began
}

// fileState tells two contents of a file, or two files of one name, apart: results are written in place.
type fileState struct {
	inode          uint64
	size, modified int64
}

func stateOf(info fs.FileInfo) fileState {
	s := fileState{size: info.Size(), modified: info.ModTime().UnixNano()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.inode = st.Ino
	}
	return s
}

// round copies the files that are not copied yet, or have changed since. A file that goes away meanwhile is passed over; one
// that cannot be read, as of a disk that fails, is in unread and keeps nothing from the others.
func (c *copying) round(ctx context.Context) error {
	c.rounds++
	clear(c.unread) // one that could not be read before may be gone, or be read now
	return filepath.WalkDir(c.from, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path != c.from {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		rel, relErr := filepath.Rel(c.from, path)
		if relErr != nil || err != nil && path == c.from {
			return errors.Join(err, relErr)
		}
		if err != nil { // a folder that cannot be read
			if !skipped(rel) {
				c.unread[rel] = err
			}
			return nil
		}
		switch {
		case path == c.from:
			return nil
		case skipped(rel) || strings.HasPrefix(path, c.database):
			return nil
		case e.IsDir():
			c.seen[rel] = c.rounds
			return os.MkdirAll(filepath.Join(c.to, rel), 0o750)
		case !e.Type().IsRegular():
			return nil
		}
		return c.file(rel)
	})
}

// file copies one file, unless it is as it was copied before.
func (c *copying) file(rel string) error {
	flag := os.O_EXCL
	former, again := c.copied[rel]
	if again {
		flag = os.O_TRUNC
		switch info, err := os.Lstat(filepath.Join(c.from, rel)); {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err == nil && stateOf(info) == former.state:
			c.seen[rel] = c.rounds
			return nil
		}
	}
	f, readErr, err := copyFile(filepath.Join(c.from, rel), filepath.Join(c.to, rel), flag)
	switch {
	case err != nil:
		return err
	case errors.Is(readErr, fs.ErrNotExist):
		return nil
	case readErr != nil:
		c.unread[rel] = readErr
		delete(c.copied, rel)
		if err := os.Remove(filepath.Join(c.to, rel)); !errors.Is(err, fs.ErrNotExist) {
			return err // what is there may be that of a round before
		}
		return nil
	}
	f.Path = rel
	c.copied[rel], c.seen[rel] = f, c.rounds
	return nil
}

// check compares what was copied with what a snapshot from before the last round names: missing is not there, and replaced
// are files that the round did not find to be what the snapshot means, or that have changed since. What else is left of
// rounds before, and gone, is taken out of the copy: a study that was removed would be received anew from it.
func (c *copying) check(ctx context.Context, snapshot string) (missing, replaced []string, err error) {
	files, err := store.Files(ctx, snapshot)
	if err != nil {
		return nil, nil, err
	}
	overtaken, err := store.Overtaken(ctx, c.database, snapshot)
	if err != nil {
		return nil, nil, err
	}
	named := map[string]bool{}
	for _, file := range files {
		rel, err := filepath.Rel(c.from, file)
		if err != nil || !filepath.IsLocal(rel) {
			missing = append(missing, file)
			continue
		}
		named[rel] = true
		if c.unread[rel] != nil {
			continue // that is told of it
		}
		_, err = os.Lstat(filepath.Join(c.to, rel))
		if errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, file)
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		now, err := os.Lstat(filepath.Join(c.from, rel))
		gone := errors.Is(err, fs.ErrNotExist)
		if err != nil && !gone {
			return nil, nil, err
		}
		f, isFile := c.copied[rel]
		if c.seen[rel] != c.rounds || !gone && (overtaken[file] || isFile && stateOf(now) != f.state) {
			replaced = append(replaced, file)
		}
	}
	for rel := range c.copied {
		if c.seen[rel] == c.rounds || named[rel] {
			continue
		}
		if _, err := os.Lstat(filepath.Join(c.from, rel)); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := os.Remove(filepath.Join(c.to, rel)); err != nil {
			return nil, nil, err
		}
		delete(c.copied, rel)
	}
	return missing, replaced, nil
}

// notThere lists what a snapshot refers to and the backup lacks.
func notThere(ctx context.Context, snapshot, from, to string) (missing []string, err error) {
	files, err := store.Files(ctx, snapshot)
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		rel, err := filepath.Rel(from, file)
		if err != nil || !filepath.IsLocal(rel) {
			missing = append(missing, file)
			continue
		}
		if _, err := os.Stat(filepath.Join(to, rel)); errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, file)
		} else if err != nil {
			return nil, err
		}
	}
	return missing, nil
}

func hashFile(path string) (backupFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return backupFile{}, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	return describeFile(n, h), err
}

func describeFile(size int64, h hash.Hash) backupFile {
	return backupFile{Size: size, SHA256: hex.EncodeToString(h.Sum(nil))}
}

// copyFile copies a file to a new one (os.O_EXCL) or in the place of one (os.O_TRUNC), with its mode as far as its owner and
// group go, and describes what was copied. What cannot be read is not there: readErr says why.
func copyFile(from, to string, flag int) (f copiedFile, readErr, err error) {
	in, readErr := os.Open(from)
	if readErr != nil {
		return f, readErr, nil
	}
	defer in.Close()
	info, readErr := in.Stat()
	if readErr != nil {
		return f, readErr, nil
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|flag, info.Mode().Perm()&0o640)
	if err != nil {
		return f, nil, err
	}
	h := sha256.New()
	source := &reading{r: in}
	n, err := io.Copy(io.MultiWriter(out, h), source)
	err = errors.Join(err, out.Close())
	if source.err != nil {
		return f, source.err, os.Remove(to)
	}
	return copiedFile{describeFile(n, h), stateOf(info)}, nil, err
}

// reading remembers why a file could not be read to its end.
type reading struct {
	r   io.Reader
	err error
}

func (r *reading) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}

func syncFileSystem(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return os.NewSyscallError("syncfs", unix.Syncfs(int(f.Fd())))
}

func (p *program) restore(ctx context.Context, c *config.Config, from string) (err error) {
	if err := elsewhere(c); err != nil {
		return err
	}
	b, err := os.ReadFile(filepath.Join(from, manifestName))
	if err != nil {
		return fmt.Errorf("no backup: %w", err)
	}
	var m manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return fmt.Errorf("%s: %w", filepath.Join(from, manifestName), err)
	}
	if m.Format != backupFormat {
		return fmt.Errorf("the backup has format %d, made by version %s; this program knows format %d", m.Format, m.Version, backupFormat)
	}
	to := c.Storage.Directory
	entries, err := os.ReadDir(to)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := wholeDirectory(to); err != nil {
		return err
	}
	if slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return !emptyWith(e) }) {
		return fmt.Errorf("%s is not empty; move what is in it away first", to)
	}
	unlock, err := lockDirectory(to)
	if err != nil {
		return err
	}
	defer unlock()
	who, err := ownerOf(to)
	if err != nil {
		return err
	}
	if err := who.give(filepath.Join(to, "lock")); err != nil {
		return err
	}
	if _, err := os.Stat(c.Database()); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(fmt.Errorf("%s is there already; move it away first", c.Database()), err)
	}
	// No node takes for data what an interrupted restore leaves, and one that fails leaves nothing.
	marker := filepath.Join(to, restoringName)
	if err := errors.Join(os.WriteFile(marker, nil, 0o640), syncFileSystem(to)); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, empty(to))
		}
	}()
	missing, err := putBack(ctx, c, m, from, who)
	if err != nil {
		return err
	}
	if err := errors.Join(os.Remove(marker), syncFileSystem(to)); err != nil {
		return err
	}
	fmt.Fprintf(p.out, "%s: %d files restored, as of %s\n", to, len(m.Files), m.Created.Format(time.DateTime))
	if len(missing) > 0 {
		fmt.Fprintf(p.err, "warning: %d files that the database names are not in the backup, the first is %s\n", len(missing), missing[0])
	}
	return nil
}

// emptyWith reports whether a directory counts as empty although it has e.
func emptyWith(e fs.DirEntry) bool { return e.Name() == "lost+found" || e.Name() == "lock" }

// empty removes what is in a directory, the marker of the restore last.
func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if emptyWith(e) || e.Name() == restoringName {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return os.Remove(filepath.Join(dir, restoringName))
}

// wholeDirectory refuses a data directory whose restore did not end.
func wholeDirectory(dir string) error {
	_, err := os.Lstat(filepath.Join(dir, restoringName))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("storage.directory: %w", err)
	}
	return usageError{fmt.Errorf("storage.directory %s holds part of a backup, whose restore did not end; empty it and restore again", dir)}
}

// putBack copies a backup, the database last and under a name that no node opens. It lists files that the database names
// and the backup lacks.
func putBack(ctx context.Context, c *config.Config, m manifest, from string, who owner) (missing []string, err error) {
	to := c.Storage.Directory
	folder, name := filepath.Dir(c.Database()), filepath.Base(c.Database())
	pending := name + ".restore"
	path := filepath.Join(folder, pending)
	defer func() {
		if err != nil {
			for _, suffix := range []string{"", "-wal", "-shm"} {
				if e := os.Remove(path + suffix); !errors.Is(e, fs.ErrNotExist) {
					err = errors.Join(err, e)
				}
			}
		}
	}()
	for _, f := range m.Files {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if !filepath.IsLocal(f.Path) {
			return nil, fmt.Errorf("the manifest names %q, outside the backup", f.Path)
		}
		below, target := to, f.Path
		if target == databaseName {
			below, target = folder, pending
		}
		if err := restoreFile(filepath.Join(from, f.Path), below, target, f, who); err != nil {
			return nil, err
		}
	}
	if err := store.Relocate(ctx, path, m.Directory, to); err != nil {
		return nil, err
	}
	if c.Storage.Objects.Kind == config.KindDirectory {
		missing, err = notThere(ctx, path, to, to)
	} else {
		err = store.Renumber(ctx, path)
	}
	if err != nil {
		return nil, err
	}
	for _, suffix := range []string{"-wal", "-shm"} { // of Relocate; empty, or gone
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return missing, errors.Join(syncFileSystem(to), os.Rename(path, c.Database()), syncFileSystem(folder))
}

// restoreFile copies one file of a backup below dir, checks it, and gives it and new folders to the owner of dir.
func restoreFile(from, dir, rel string, want backupFile, who owner) error {
	parent := dir
	for part := range strings.SplitSeq(filepath.Dir(rel), "/") {
		parent = filepath.Join(parent, part)
		if err := os.Mkdir(parent, 0o750); err == nil {
			if err := who.give(parent); err != nil {
				return err
			}
		} else if !errors.Is(err, syscall.EEXIST) {
			return err
		}
	}
	got, readErr, err := copyFile(from, filepath.Join(dir, rel), os.O_EXCL)
	err = errors.Join(readErr, err)
	if err != nil {
		return err
	}
	if got.SHA256 != want.SHA256 {
		return fmt.Errorf("%s is damaged: its SHA-256 is not that of the manifest", from)
	}
	return who.give(filepath.Join(dir, rel))
}
