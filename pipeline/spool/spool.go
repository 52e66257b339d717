// Package spool keeps received DICOM objects on local disk, durably.
//
// An object is written to incoming/*.part while it arrives. Commit seals the
// part by renaming it to a name with its final name, length and CRC-32C, links
// it to its final name, syncs the file and the directory, and then drops the
// sealed name. What Commit has returned survives a crash at any instant. The
// link before the sync lets a journaling file system put all of it into one
// journal commit instead of two; in return a crash may leave a final name whose
// file is not whole, always with its sealed name beside it. Open resolves this
// before anything else: unsealed parts are removed, sealed ones are compared
// with their length and checksum, and where they fail the final name goes too.
// So to whoever opened the spool, a file under its final name is whole. This
// needs names that reach the disk in the order they were given, which the
// journals of ext4 and XFS promise; elsewhere, also on an ext4 that was made
// without a journal, the order is the classical one: sync, rename, sync.
//
//	<dir>/.lock                 held while a process uses the spool
//	<dir>/incoming/*.part       objects that are arriving or being committed
//	<dir>/ab/<SOP Instance UID>.dcm
//	<dir>/ab/<SOP Instance UID>.<digest>.dcm
//
// ab is the first byte of the SHA-256 of the SOP Instance UID. Only valid UIDs
// (digits and dots, at most 64) become file names, so a peer cannot leave the
// directory.
//
// # The same UID again
//
// An object whose data set equals, byte for byte, one that is there already is
// a duplicate: nothing is stored, and Commit reports the first file. An object
// with another data set, or transfer syntax, under the same UID is a conflict. A modality that
// repeats a UID and an archive that sends a corrected patient name both cause
// it, and either would lose data if one version were dropped: the first stays
// untouched, the new one is kept beside it under its digest, and Entry.Conflict
// tells the caller.
package spool

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/echonode/echonode/dicomio/part10"
	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/scp/bufpool"
)

// Errors of the spool. The first five pass: the same object can be taken later.
var (
	ErrDiskFull    = errors.New("spool: disk full")
	ErrDisk        = errors.New("spool: the disk cannot be written")
	ErrWatermark   = errors.New("spool: free space below the watermark")
	ErrDescriptors = errors.New("spool: out of file descriptors")
	ErrObjectStore = errors.New("spool: object store not available")
	ErrUID         = errors.New("spool: SOP Instance UID is not a UID")
	ErrLocked      = errors.New("spool: directory is in use by another process")
	ErrClosed      = errors.New("spool: closed")
)

// Passes reports whether an object that the spool has refused can be taken
// later: the disk, the descriptors or the object store were the reason.
func Passes(err error) bool {
	return slices.ContainsFunc([]error{ErrDiskFull, ErrDisk, ErrWatermark, ErrDescriptors, ErrObjectStore}, func(e error) bool { return errors.Is(err, e) })
}

// Options adjust a Spool. The zero value is for production.
type Options struct {
	// MinFree is the watermark: bytes that must be free for an object to be
	// accepted. 0 is 1 GiB or a twentieth of the file system, whichever is
	// less; negative switches the watermark off.
	MinFree int64
	// Digest fills Entry.SHA256. It is off because it adds more than half to the
	// processor time of receiving and writing (0.57 s/GB beside 0.9 s/GB,
	// measured on an AMD EPYC with SHA extensions). Duplicates are found without
	// it.
	Digest bool
	// NoSync leaves out every sync. For measurements only: what is
	// acknowledged may be lost.
	NoSync bool
	Logger *slog.Logger // nil: discard
}

// Spool is a directory of objects. Its methods may be called from several
// goroutines.
type Spool struct {
	dir     string
	opt     Options
	minFree uint64
	log     *slog.Logger
	lock    *os.File
	seq     atomic.Uint64
	closed  atomic.Bool
	byLink  bool            // objects get their name before they are synced, see the package comment
	shards  [256]sync.Mutex // of the final directories; held while an object gets its name
	buffers bufpool.Pool
}

// Entry is an object in the spool.
type Entry struct {
	Path      string // of the file, a DICOM Part 10 file
	Size      int64  // of the data set, in bytes
	FileSize  int64  // of the file
	SHA256    string // of the data set, hexadecimal; "" unless Options.Digest
	Sum       string // of the data set, see the function
	Duplicate bool   // the same data set was there already; Path is that file
	Conflict  bool   // another data set was there already under the UID
	First     string // with Conflict, the file of that one
}

const (
	incomingDir = "incoming"
	partSuffix  = ".part"
	fileSuffix  = ".dcm"
	checkEvery  = 64 << 20 // bytes between checks of the watermark
)

// castagnoli is the table of CRC-32C, which processors compute.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Open makes or opens the spool in dir, takes its lock and sweeps incoming.
func Open(dir string, opt Options) (*Spool, error) {
	s := &Spool{dir: dir, opt: opt, log: opt.Logger}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(filepath.Join(dir, incomingDir), 0o750); err != nil {
		return nil, err
	}
	var err error
	if s.lock, err = os.OpenFile(filepath.Join(dir, ".lock"), os.O_RDWR|os.O_CREATE, 0o640); err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(s.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		s.lock.Close()
		return nil, fmt.Errorf("%w: %s", ErrLocked, dir)
	}
	if err := s.prepare(); err != nil {
		s.lock.Close()
		return nil, err
	}
	return s, nil
}

// prepare makes the shard directories durable, sweeps and sets the watermark.
func (s *Spool) prepare() error {
	for i := range len(s.shards) {
		if err := os.Mkdir(s.shardDir(byte(i)), 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if err := errors.Join(s.syncDir(s.dir), s.syncDir(filepath.Dir(filepath.Clean(s.dir)))); err != nil {
		return err
	}
	s.byLink = ordersNames(s.dir)
	if err := s.sweep(); err != nil {
		return err
	}
	_, total, err := s.Space()
	if err != nil {
		return err
	}
	switch {
	case s.opt.MinFree > 0:
		s.minFree = uint64(s.opt.MinFree)
	case s.opt.MinFree == 0:
		s.minFree = min(1<<30, total/20)
	}
	return nil
}

// sweep resolves what a crash left in incoming.
func (s *Spool) sweep() error {
	parts, err := os.ReadDir(filepath.Join(s.dir, incomingDir))
	if err != nil {
		return err
	}
	kept := 0
	for _, p := range parts {
		if !strings.HasSuffix(p.Name(), partSuffix) {
			continue
		}
		path := filepath.Join(s.dir, incomingDir, p.Name())
		whole, err := s.resolve(path)
		if err != nil {
			return err
		}
		if whole {
			kept++
		}
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	if len(parts) > 0 {
		s.log.Info("swept unfinished objects", "parts", len(parts), "complete", kept)
	}
	return nil
}

// resolve decides about a part that a crash left: a sealed and linked one that
// is whole keeps its final name, and is made durable, because a sender may be
// told that it is here; any other loses the name if it had got one.
func (s *Spool) resolve(part string) (whole bool, err error) {
	final, size, sum, ok := s.parseSealed(filepath.Base(part))
	if !ok {
		return false, nil
	}
	pi, err := os.Lstat(part)
	if err != nil {
		return false, err
	}
	fi, err := os.Lstat(final)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(pi, fi) {
		return false, nil // not linked, or another object has the name
	}
	if err != nil {
		return false, err
	}
	f, err := os.Open(part)
	if err != nil {
		return false, err
	}
	defer f.Close()
	h := crc32.New(castagnoli)
	n, err := io.Copy(h, f)
	if err != nil {
		return false, err
	}
	if n != size || h.Sum32() != sum {
		return false, errors.Join(os.Remove(final), s.syncDir(filepath.Dir(final)))
	}
	if !s.opt.NoSync {
		if err := f.Sync(); err != nil {
			return false, err
		}
	}
	return true, s.syncDir(filepath.Dir(final))
}

// sealedName is the name of a part that is whole: final base name, file length,
// CRC-32C.
func (s *Spool) sealedName(final string, size int64, sum uint32) string {
	return filepath.Join(s.dir, incomingDir, fmt.Sprintf("%s.%d.%08x%s", filepath.Base(final), size, sum, partSuffix))
}

// parseSealed is the inverse, for a final name that exists.
func (s *Spool) parseSealed(name string) (final string, size int64, sum uint32, ok bool) {
	base, rest, ok := strings.Cut(strings.TrimSuffix(name, partSuffix), fileSuffix+".")
	if !ok {
		return "", 0, 0, false
	}
	if n, err := fmt.Sscanf(rest, "%d.%08x", &size, &sum); err != nil || n != 2 {
		return "", 0, 0, false
	}
	// The base is a UID, or for a conflict UID.digest, and a digest may be all digits.
	for _, instance := range []string{base, base[:max(0, strings.LastIndexByte(base, '.'))]} {
		if !uid.Valid(instance) {
			continue
		}
		path := filepath.Join(s.shardDir(shardOf(instance)), base+fileSuffix)
		if _, err := os.Lstat(path); err == nil {
			return path, size, sum, true
		}
	}
	return "", 0, 0, false
}

// Close releases the lock. Objects that are still arriving fail to commit.
func (s *Spool) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	return s.lock.Close()
}

// Space is the free (to this user) and total size of the file system, in bytes.
func (s *Spool) Space() (free, total uint64, err error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(s.dir, &st); err != nil {
		return 0, 0, &os.PathError{Op: "statfs", Path: s.dir, Err: err}
	}
	return st.Bavail * uint64(st.Bsize), st.Blocks * uint64(st.Bsize), nil
}

func (s *Spool) shardDir(b byte) string { return filepath.Join(s.dir, hex.EncodeToString([]byte{b})) }

func shardOf(uid string) byte {
	sum := sha256.Sum256([]byte(uid))
	return sum[0]
}

// Path is where the first object under a SOP Instance UID is, or would be.
func (s *Spool) Path(instance string) (string, error) {
	if !uid.Valid(instance) {
		return "", ErrUID
	}
	return filepath.Join(s.shardDir(shardOf(instance)), instance+fileSuffix), nil
}

// Incoming is an object that is arriving. Write its bare data set, then Commit
// or Abort it.
type Incoming struct {
	s         *Spool
	meta      part10.Meta
	path      string // of the final file
	part      string
	f         *os.File
	buf       []byte    // the file is written in pieces of this length
	used      int       // of buf, not yet written
	sum       uint32    // CRC-32C of what is written
	headSum   uint32    // of the header
	digest    hash.Hash // nil unless Options.Digest
	size      int64     // of the data set
	header    int64
	written   int64 // bytes of the file
	flushed   int64 // bytes whose write-back was started
	nextCheck int64
	err       error // sticky
}

// Create starts an object and writes its Part 10 header. It fails with
// ErrWatermark when the disk is too full to take another object.
func (s *Spool) Create(m part10.Meta) (*Incoming, error) {
	if s.closed.Load() {
		return nil, ErrClosed
	}
	path, err := s.Path(m.SOPInstanceUID)
	if err != nil {
		return nil, err
	}
	if err := s.checkSpace(s.minFree); err != nil {
		return nil, err
	}
	part := filepath.Join(s.dir, incomingDir, fmt.Sprintf("%016x%s", s.seq.Add(1), partSuffix))
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return nil, unwritten(err)
	}
	in := &Incoming{s: s, meta: m, path: path, part: part, f: f, nextCheck: checkEvery}
	if s.opt.Digest {
		in.digest = sha256.New()
	}
	in.buf = s.buffers.Get()
	header := bytes.NewBuffer(in.buf[:0])
	if err := part10.Write(header, m); err != nil {
		return nil, errors.Join(err, in.Abort())
	}
	in.used = copy(in.buf, header.Bytes())
	in.header = int64(in.used)
	in.headSum = crc32.Checksum(in.buf[:in.used], castagnoli)
	return in, nil
}

// Refuses is why a new object would be refused now, nil if it would not.
func (s *Spool) Refuses() error {
	if s.closed.Load() {
		return ErrClosed
	}
	incoming := filepath.Join(s.dir, incomingDir)
	if err := unix.Access(incoming, unix.W_OK|unix.X_OK); err != nil {
		return unwritten(&fs.PathError{Op: "write", Path: incoming, Err: err})
	}
	return s.checkSpace(s.minFree)
}

// MinFree is the watermark in bytes.
func (s *Spool) MinFree() uint64 { return s.minFree }

// checkSpace fails with ErrWatermark when fewer than want bytes are free.
func (s *Spool) checkSpace(want uint64) error {
	if want == 0 {
		return nil
	}
	free, _, err := s.Space()
	if err != nil {
		return err
	}
	if free < want {
		return fmt.Errorf("%w: %d bytes free, %d required", ErrWatermark, free, want)
	}
	return nil
}

// full turns "no space" into ErrDiskFull and a lack of descriptors into
// ErrDescriptors.
func full(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: %w", ErrDiskFull, err)
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return fmt.Errorf("%w: %w", ErrDescriptors, err)
	}
	return err
}

// unwritten is full of an error of writing: whatever else the file system says,
// a folder that belongs to another, one that is gone, a disk that turned
// read-only, is no fault of the object.
func unwritten(err error) error {
	if err = full(err); err == nil || Passes(err) {
		return err
	}
	if errors.As(err, new(*fs.PathError)) || errors.As(err, new(*os.LinkError)) || errors.As(err, new(*os.SyscallError)) {
		return fmt.Errorf("%w: %w", ErrDisk, err)
	}
	return err
}

// Write adds bytes of the data set.
func (in *Incoming) Write(p []byte) (n int, err error) {
	for n < len(p) && in.err == nil {
		m := copy(in.buf[in.used:], p[n:])
		in.add(m)
		n += m
	}
	return n, in.err
}

// ReadFrom adds what r gives until io.EOF. It reads into the buffer that the
// file is written from; io.Copy would let r push instead and copy once more.
func (in *Incoming) ReadFrom(r io.Reader) (n int64, err error) {
	for in.err == nil {
		m, err := r.Read(in.buf[in.used:])
		in.add(m)
		n += int64(m)
		if err == io.EOF {
			break
		}
		if err != nil {
			return n, errors.Join(err, in.err)
		}
	}
	return n, in.err
}

// add takes n bytes that were put behind what is in the buffer. Their error is
// sticky.
func (in *Incoming) add(n int) {
	if in.digest != nil {
		in.digest.Write(in.buf[in.used : in.used+n])
	}
	in.used += n
	in.size += int64(n)
	if in.used < len(in.buf) {
		return
	}
	err := in.flush()
	if err == nil && in.size >= in.nextCheck {
		// Half of the reserve is for objects that were let in above the watermark.
		in.nextCheck = in.size + checkEvery
		err = in.s.checkSpace(in.s.minFree / 2)
	}
	if err != nil {
		in.err = unwritten(err)
	}
}

// flush writes the buffer. All but the last piece of a file are whole buffers,
// and so begin where pages do.
func (in *Incoming) flush() error {
	n, err := in.f.Write(in.buf[:in.used])
	in.sum = crc32.Update(in.sum, castagnoli, in.buf[:n])
	in.written += int64(n)
	in.used = 0
	if err == nil && !in.s.opt.NoSync {
		in.startWriteback()
	}
	return err
}

// Staged ends the writing and returns the file that holds the object until
// Commit, for its reader to look at.
func (in *Incoming) Staged() (path string, err error) {
	if in.err == nil {
		if err := in.flush(); err != nil {
			in.err = unwritten(err)
		}
		in.release()
	}
	return in.part, in.err
}

// Commit makes the object durable and visible. After an error nothing is left
// of it.
func (in *Incoming) Commit() (Entry, error) {
	e, err := in.commit()
	if err != nil {
		return Entry{}, errors.Join(unwritten(err), in.Abort())
	}
	return e, nil
}

func (in *Incoming) commit() (Entry, error) {
	s := in.s
	if in.err != nil {
		return Entry{}, in.err
	}
	if s.closed.Load() {
		return Entry{}, ErrClosed
	}
	if err := in.flush(); err != nil {
		return Entry{}, err
	}
	in.release()
	e := Entry{Path: in.path, Size: in.size, FileSize: in.header + in.size, Sum: sumText(without(in.headSum, in.sum, in.size))}
	if in.digest != nil {
		e.SHA256 = hex.EncodeToString(in.digest.Sum(nil))
	}
	if err := in.place(&e); err != nil {
		return Entry{}, err
	}
	in.err = ErrClosed
	return e, nil
}

// place gives the object its final name, durably, or drops it as a duplicate.
// The lock is held until the object is durable, so that no duplicate is
// acknowledged on the strength of a file that is not.
func (in *Incoming) place(e *Entry) error {
	s := in.s
	shard := &s.shards[shardOf(in.meta.SOPInstanceUID)]
	shard.Lock()
	defer shard.Unlock()
	same, taken, err := in.compare(in.path, e)
	if err != nil {
		return err
	}
	if taken && !same {
		digest, err := in.contentDigest(e)
		if err != nil {
			return err
		}
		e.Conflict, e.First = true, in.path
		e.Path = strings.TrimSuffix(in.path, fileSuffix) + "." + digest[:16] + fileSuffix
		if same, taken, err = in.compare(e.Path, e); err != nil {
			return err
		}
	}
	if taken && !same {
		// It holds another data set than its name says, so it is damaged, and this
		// is what it was. What is left of it stays until this one is durable.
		s.log.Warn("a damaged file is replaced", "path", e.Path)
		return in.nameByRename(e)
	}
	if taken {
		e.Duplicate = true
		// The name may be younger than the last sync, after a crash.
		return errors.Join(in.f.Close(), os.Remove(in.part), s.syncDir(filepath.Dir(e.Path)))
	}
	if s.byLink {
		return in.nameByLink(e)
	}
	return in.nameByRename(e)
}

// nameByLink seals the part, links it to its final name and syncs both.
func (in *Incoming) nameByLink(e *Entry) error {
	s := in.s
	sealed := s.sealedName(e.Path, e.FileSize, in.sum)
	if err := os.Rename(in.part, sealed); err != nil {
		return err
	}
	in.part = sealed
	if err := os.Link(sealed, e.Path); err != nil {
		return err
	}
	if err := errors.Join(in.sync(), s.syncDir(filepath.Dir(e.Path)), in.f.Close()); err != nil {
		return errors.Join(err, os.Remove(e.Path))
	}
	// Not synced: if a crash brings the name back, Open finds the object whole.
	if err := os.Remove(sealed); err != nil {
		s.log.Warn("sealed name is left for the next start", "error", err)
	}
	return nil
}

// nameByRename syncs, renames and syncs the directory.
func (in *Incoming) nameByRename(e *Entry) error {
	if err := errors.Join(in.sync(), in.f.Close()); err != nil {
		return err
	}
	if err := os.Rename(in.part, e.Path); err != nil {
		return err
	}
	return in.s.syncDir(filepath.Dir(e.Path))
}

func (in *Incoming) sync() error {
	if in.s.opt.NoSync {
		return nil
	}
	return in.f.Sync()
}

// object is a file of the spool, positioned at its data set.
type object struct {
	*os.File
	part10.Meta
	size int64 // of the data set
}

// openObject opens an object, which may be damaged.
func openObject(path string) (*object, error) {
	f, _, err := part10.Open(path)
	if err != nil {
		return nil, err
	}
	m, size, err := part10.Behind(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &object{f, m, size}, nil
}

// contentDigest is a digest of the data set and of the transfer syntax, without
// which it says nothing.
func (in *Incoming) contentDigest(e *Entry) (string, error) {
	data := e.SHA256
	if data == "" { // not computed while the object arrived
		o, err := openObject(in.part)
		if err != nil {
			return "", full(err)
		}
		defer o.Close()
		h := sha256.New()
		if _, err := io.Copy(h, o); err != nil {
			return "", err
		}
		data = hex.EncodeToString(h.Sum(nil))
	}
	sum := sha256.Sum256([]byte(in.meta.TransferSyntaxUID + " " + data))
	return hex.EncodeToString(sum[:]), nil
}

// compare reports whether path exists (taken) and holds the same data set as
// the part file. One that cannot be read holds another, as far as one can tell:
// the object gets a name beside it, and whoever records it decides.
func (in *Incoming) compare(path string, e *Entry) (same, taken bool, err error) {
	old, err := openObject(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, false, nil
	case errors.As(err, new(*fs.PathError)):
		return false, true, in.unreadable(path, full(err))
	case err != nil: // it is damaged
		return false, true, nil
	}
	defer old.Close()
	if old.size != e.Size || !old.says(in.meta) {
		return false, true, nil
	}
	part, err := openObject(in.part)
	if err != nil {
		return false, false, full(err)
	}
	defer part.Close()
	same, err = equal(old, part)
	return same, true, in.unreadable(path, full(err))
}

// unreadable is nil for an error that is the file's at path: not that of the
// part, nor that this machine has no room or descriptors.
func (in *Incoming) unreadable(path string, err error) error {
	var of *fs.PathError
	if errors.As(err, &of) && of.Path == path && !errors.Is(err, ErrDiskFull) && !errors.Is(err, ErrDescriptors) {
		in.s.log.Warn("a file cannot be read", "path", path, "error", of.Err)
		return nil
	}
	return err
}

// equal compares two streams of one length.
func equal(a, b io.Reader) (bool, error) {
	bufA, bufB := make([]byte, bufpool.Small), make([]byte, bufpool.Small)
	for {
		n, err := io.ReadFull(a, bufA)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return false, err
		}
		m, berr := io.ReadFull(b, bufB[:n])
		if berr != nil && berr != io.EOF && berr != io.ErrUnexpectedEOF {
			return false, berr
		}
		if !bytes.Equal(bufA[:n], bufB[:m]) {
			return false, nil
		}
		if err != nil {
			return true, nil
		}
	}
}

// says reports whether the head of a file names an object, its SOP class and its
// transfer syntax.
func (o *object) says(m part10.Meta) bool {
	return o.SOPClassUID == m.SOPClassUID && o.SOPInstanceUID == m.SOPInstanceUID && o.TransferSyntaxUID == m.TransferSyntaxUID
}

// Same reports whether two files hold the same data set in the same transfer
// syntax, and their heads say so.
func Same(pathA, pathB string) (same bool, err error) {
	a, err := openObject(pathA)
	if err != nil {
		return false, full(err)
	}
	defer a.Close()
	b, err := openObject(pathB)
	if err != nil {
		return false, full(err)
	}
	defer b.Close()
	if a.size != b.size || !a.says(b.Meta) {
		return false, nil
	}
	return equal(a, b)
}

// release gives the buffer back.
func (in *Incoming) release() {
	if in.buf != nil {
		in.s.buffers.Put(in.buf)
		in.buf = nil
	}
}

// Abort removes what has been written. After Commit it does nothing.
func (in *Incoming) Abort() error {
	if errors.Is(in.err, ErrClosed) {
		return nil
	}
	in.err = ErrClosed
	in.release()
	in.f.Close() // an error here is of no interest: the file goes
	if err := os.Remove(in.part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (s *Spool) syncDir(dir string) error {
	if s.opt.NoSync {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return full(err)
	}
	return errors.Join(d.Sync(), d.Close())
}

// Remove deletes an object of the spool, given its Entry.Path.
func (s *Spool) Remove(path string) error {
	rel, err := filepath.Rel(s.dir, path)
	if err != nil || !filepath.IsLocal(rel) || !strings.HasSuffix(rel, fileSuffix) {
		return fmt.Errorf("spool: %s is not an object of %s", path, s.dir)
	}
	if b, err := hex.DecodeString(filepath.Dir(rel)); err == nil && len(b) == 1 {
		// Not while an object is compared with this one.
		s.shards[b[0]].Lock()
		defer s.shards[b[0]].Unlock()
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	return s.syncDir(filepath.Dir(path))
}

// Walk calls visit with the path of every object, in no useful order: what an
// index can be compared with after a crash between Commit and the index.
func (s *Spool) Walk(visit func(path string) error) error {
	for i := range len(s.shards) {
		files, err := os.ReadDir(s.shardDir(byte(i)))
		if err != nil {
			return err
		}
		for _, f := range files {
			if !strings.HasSuffix(f.Name(), fileSuffix) {
				continue
			}
			if err := visit(filepath.Join(s.shardDir(byte(i)), f.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
