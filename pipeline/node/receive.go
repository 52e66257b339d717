package node

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"time"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/compare"
	"github.com/echonode/echonode/dicomio/part10"
	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/pipeline/echo"
	"github.com/echonode/echonode/pipeline/internal/turns"
	"github.com/echonode/echonode/pipeline/objects"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/pipeline/spool"
	"github.com/echonode/echonode/pipeline/store"
	"github.com/echonode/echonode/scp"
)

// Store implements scp.Handler. It returns nil, which acknowledges the object,
// after the file and the record of it are durable.
func (n *Node) Store(ctx context.Context, req *scp.StoreRequest, r io.Reader) error {
	err := StatusOf(n.keep(ctx, req, r))
	n.metrics.stored(err)
	switch {
	case err == nil:
		n.health.full.Store(nil)
		n.health.uploads.note(nil)
	case errors.Is(err, spool.ErrObjectStore):
		n.health.uploads.note(err)
	case errors.Is(err, spool.ErrDiskFull), errors.Is(err, spool.ErrDisk):
		n.health.full.Store(&fault{err, time.Now()})
	}
	return err
}

// refusals are the DIMSE statuses of what a spool refuses (PS3.4 table B.2-1).
var refusals = []struct {
	err     error
	status  uint16
	comment string
}{
	{spool.ErrUID, scp.StatusInvalidInstance, "SOP Instance UID is not a UID"},
	{spool.ErrWatermark, scp.StatusOutOfResources, "disk space below the watermark"},
	{spool.ErrDiskFull, scp.StatusOutOfResources, "disk full"},
	{spool.ErrDisk, scp.StatusOutOfResources, "disk cannot be written"},
	{spool.ErrDescriptors, scp.StatusOutOfResources, "out of file descriptors"},
	{spool.ErrObjectStore, scp.StatusOutOfResources, "object store not available"},
}

// StatusOf gives an error of a spool the status under which a sender hears of
// it. What has a status, or is no such error, stays as it is.
func StatusOf(err error) error {
	if err == nil || errors.As(err, new(*scp.StatusError)) {
		return err
	}
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			return &scp.StatusError{Status: r.status, Comment: r.comment, Err: err}
		}
	}
	return err
}

// keep is Store.
func (n *Node) keep(ctx context.Context, req *scp.StoreRequest, r io.Reader) (err error) {
	// What comes back from a PACS that forwards everything is not analysed.
	own, err := n.store.IsOutput(ctx, req.SOPInstanceUID)
	if err != nil {
		return n.unrecorded(err)
	}
	if own {
		_, err := io.Copy(io.Discard, r)
		return err
	}
	in, err := n.spool.Begin(req.Meta())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Abort()) }() // of what was not committed, also where something panics
	steps := turns.Begin(n.working(ctx, host(req.Association.RemoteAddr), turns.Receiving))
	defer steps.End()
	if _, err := in.ReadFrom(&inTurns{ctx, r, steps}); err != nil {
		return err
	}
	// Whose it is is read before anybody has to wait for it: the step may have to
	// wait for a turn, and nobody waits for that with the object's lock.
	id, err := n.announced(ctx, in, req, steps)
	if err != nil {
		return err
	}
	ahead, err := n.compareAhead(ctx, in, id, steps)
	if err != nil {
		return err
	}
	// An object that gets a name of its own is nobody else's until it is recorded:
	// nobody waits for its way to the store.
	var entry spool.Entry
	_, inPlace := n.files.InPlace("")
	if !inPlace {
		if entry, err = in.Commit(ctx); err != nil {
			return err
		}
	}
	// From here to its record the object is not deleted: a removal that is under
	// way may be about to delete the file that this one is a duplicate of.
	unlock, err := n.objects.Lock(ctx, req.SOPInstanceUID)
	if err != nil {
		err = n.unrecorded(err)
		if !inPlace {
			err = errors.Join(err, n.spool.Discard(context.WithoutCancel(ctx), entry.Path))
		}
		return err
	}
	defer unlock()
	if inPlace {
		if entry, err = in.Commit(ctx); err != nil {
			return err
		}
	}
	hold := n.files.Hold()
	defer hold.Release()
	id.Path, id.Size, id.Sum, id.Received = entry.Path, entry.Size, entry.Sum, n.store.Now()
	if n.arrivals.received(id.StudyInstanceUID, req.Association.ID) {
		if err := n.tellOthers(ctx); err != nil {
			return n.unrecorded(err)
		}
	}
	// The object is durable in the spool; the record must not be lost to an
	// association that ends at this moment.
	if err := n.accept(context.WithoutCancel(ctx), id, entry.Duplicate, hold, ahead); err != nil {
		return err
	}
	n.health.recording.Store(nil)
	if id.Loop && n.opt.OnArrival {
		n.wakeLookers()
	}
	return nil
}

// announced reads whose an object is that has arrived, in a turn of its sender's.
func (n *Node) announced(ctx context.Context, in spool.Arrival, req *scp.StoreRequest, steps *turns.Steps) (store.Instance, error) {
	path, err := in.Staged()
	if err != nil {
		return store.Instance{}, err
	}
	if err := steps.Next(ctx); err != nil {
		return store.Instance{}, err
	}
	defer steps.End()
	id, err := identify(ctx, path, req)
	if err != nil {
		refused := &scp.StatusError{Status: scp.StatusCannotUnderstand, Comment: "data set cannot be read", Err: err}
		var mismatch mismatchError
		switch {
		case errors.As(err, &mismatch):
			refused.Status, refused.Comment = scp.StatusDataSetMismatch, string(mismatch)
		case errors.Is(err, dicomio.ErrTruncated):
			refused.Comment = "data set ends early"
		}
		return id, refused
	}
	return id, n.unrecorded(n.judgeDerived(ctx, &id))
}

// judgeDerived takes an image for no loop that was derived from an output of this
// node. One that was derived from something else begins no run once its study was
// reported, and the run that it is part of says whether it is measured: not beside
// its source.
func (n *Node) judgeDerived(ctx context.Context, in *store.Instance) error {
	for _, source := range in.Sources {
		own, err := n.store.IsOutput(ctx, source)
		if err != nil {
			return err
		}
		if own {
			in.Loop = false
			return nil
		}
	}
	return nil
}

// compared is what came out when the picture of an object that arrives was
// compared with that of the version before.
type compared struct {
	with *store.Instance // the version before; nil: nothing was compared
	same bool
	err  error
}

// holds reports whether it is about that version. Its path alone does not say: in
// a directory it is that of every version of an object, one after the other.
func (c *compared) holds(old store.Instance) bool {
	return c.with != nil && c.with.Version() == old.Version()
}

// compareAhead compares the picture of an object that has arrived with that of
// the version before, if it is another one, in turns of its sender's. It is done
// before the object's lock is taken, for which others would have to wait as long.
// Should the version before be another one by then, it is compared anew.
func (n *Node) compareAhead(ctx context.Context, in spool.Arrival, id store.Instance, steps *turns.Steps) (*compared, error) {
	none := &compared{}
	old, err := n.store.Instance(ctx, id.SOPInstanceUID)
	if errors.Is(err, store.ErrNotFound) || err == nil && old.SOPClassUID != id.SOPClassUID {
		return none, nil
	}
	if err != nil {
		return nil, n.unrecorded(err)
	}
	is, err := in.Staged()
	if err != nil {
		return nil, err
	}
	hold := n.files.Hold()
	defer hold.Release()
	was, err := hold.File(ctx, old.Path)
	if err != nil {
		return none, nil // what is wrong is seen to later
	}
	if err := steps.Next(ctx); err != nil {
		return nil, err
	}
	defer steps.End()
	if same, err := spool.Same(was, is); err != nil || same {
		return none, nil
	}
	same, err := compare.PixelsBySteps(ctx, was, is, dicomio.Options{Limits: n.opt.Limits}, steps.Next)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return &compared{with: &old, same: same, err: err}, nil
}

// inTurns is what an association sends, as fast as its sender's turns come: who
// reads has one while it uses what it has read, and none while it waits for the
// network. So a peer that sends a lot is slowed down by its own connections.
type inTurns struct {
	ctx   context.Context
	r     io.Reader
	steps *turns.Steps
}

func (t *inTurns) Read(p []byte) (int, error) {
	t.steps.End()
	n, err := t.r.Read(p)
	if n == 0 || err != nil {
		return n, err
	}
	return n, t.steps.Next(t.ctx)
}

// working is a context for work on the processor for somebody who has sent
// something.
func (n *Node) working(ctx context.Context, sender string, work turns.Work) context.Context {
	if n.opt.Places == nil {
		return ctx
	}
	return turns.With(ctx, n.opt.Places, sender, work)
}

// again is an object that arrives under a UID that is recorded.
type again struct {
	old, in store.Instance
	was, is string       // their files, empty where there is none
	drop    func() error // deletes the file that arrived, unless it was here before
}

// accept makes an object of the spool the node's. An object that is recorded
// already under another file is another version of it. The caller holds the
// object's lock.
//
// The same picture with other attributes is a correction: a patient's name, a
// study it was moved to, what an archive adds when it forwards. It takes the
// place of the version before, and its study is analysed again. It may come in
// another transfer syntax; what says the same in another one changes nothing.
// Another picture is refused, because it cannot be told which of the two is meant
// by what refers to the UID; the first stays, and the study's state says that it
// happened.
//
// Where the version before is damaged or gone, the one that comes takes its
// place: see heal. Where it is removed at this moment, nothing was before. ahead is
// what is known already of the comparison.
func (n *Node) accept(ctx context.Context, in store.Instance, duplicate bool, hold *objects.Hold, ahead *compared) error {
	var err error
	for range acceptTries {
		if err = n.acceptOver(ctx, in, duplicate, hold, ahead); !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	later := &scp.StatusError{Status: scp.StatusOutOfResources, Comment: "removed and received over and over at this moment", Err: err}
	if duplicate {
		return later
	}
	return errors.Join(later, n.spool.Discard(ctx, in.Path))
}

// acceptTries bounds how often an object is taken for another's version that is then
// removed.
const acceptTries = 3

// acceptOver is accept of an object that is not removed meanwhile. An error wrapping
// store.ErrNotFound: it was, and nothing is recorded or deleted.
func (n *Node) acceptOver(ctx context.Context, in store.Instance, duplicate bool, hold *objects.Hold, ahead *compared) error {
	a := &again{in: in, drop: func() error {
		if duplicate {
			return nil // somebody else's to delete
		}
		return n.spool.Discard(ctx, in.Path)
	}}
	if done, err := n.recordFirst(ctx, a, duplicate); done || err != nil {
		return err
	}
	if done, err := n.healDamaged(ctx, a, hold); done || err != nil {
		return err
	}
	if done, err := n.sentAgain(ctx, a); done || err != nil {
		return err
	}
	if err := n.samePicture(ctx, a, ahead); err != nil {
		return err
	}
	if a.old.TransferSyntaxUID != in.TransferSyntaxUID && a.old.StudyInstanceUID == in.StudyInstanceUID {
		// What says the same in another transfer syntax changes nothing.
		if same, err := compare.Attributes(ctx, a.was, a.is, dicomio.Options{Limits: n.opt.Limits}); err == nil && same {
			return a.drop()
		}
	}
	return n.takePlace(ctx, a)
}

// recordFirst records an object of which no other file is recorded; done is false
// where one is, a.old.
func (n *Node) recordFirst(ctx context.Context, a *again, duplicate bool) (done bool, err error) {
	a.old, err = n.store.Instance(ctx, a.in.SOPInstanceUID)
	if err == nil && a.old.Path == a.in.Path && !duplicate {
		return true, n.heal(ctx, a, fs.ErrNotExist) // nothing was there under its name
	}
	if err == nil && a.old.Path != a.in.Path {
		return false, nil
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return false, n.unrecorded(err)
	}
	if isNew, err := n.store.AddInstance(ctx, a.in); err != nil || isNew {
		return isNew, n.unrecorded(err)
	}
	// Another process may have recorded another version at this moment.
	if a.old, err = n.store.Instance(ctx, a.in.SOPInstanceUID); err != nil {
		return false, n.unrecorded(err)
	}
	if a.old.Path != a.in.Path {
		return false, nil
	}
	n.learnSum(ctx, a.old, a.in)
	return true, nil
}

// healDamaged finds the files of both versions, and heals the one before where it
// is damaged or gone.
func (n *Node) healDamaged(ctx context.Context, a *again, hold *objects.Hold) (done bool, err error) {
	was, lacks := hold.File(ctx, a.old.Path)
	is, err := hold.File(ctx, a.in.Path)
	if err != nil {
		return false, errors.Join(n.unread(errors.Join(lacks, err)), a.drop())
	}
	a.is = is
	if lost(lacks) || lacks != nil && ctx.Err() == nil && sameBytes(a.old, a.in) {
		return true, n.heal(ctx, a, lacks)
	}
	if lacks != nil {
		return false, errors.Join(n.unread(lacks), a.drop())
	}
	a.was = was
	broken := n.broken(ctx, was, a.old)
	if broken == nil {
		return false, nil
	}
	if errors.Is(broken, errUnreadable) && !sameBytes(a.old, a.in) {
		// Whether it is a correction of it can be told when it is read.
		return false, errors.Join(n.unread(broken), a.drop())
	}
	return true, n.heal(ctx, a, broken)
}

// sentAgain is the case of an object that comes once more as it is stored: nothing
// changes, unless the store has not what it should.
func (n *Node) sentAgain(ctx context.Context, a *again) (done bool, err error) {
	same, err := spool.Same(a.was, a.is)
	if err != nil {
		return false, errors.Join(n.unread(err), a.drop())
	}
	if !same {
		return false, nil
	}
	if !n.files.Local() {
		// The copy on this machine is whole. What other machines find may not be.
		if problem, err := n.store.Problem(ctx, a.in.SOPInstanceUID); err == nil && ofObject(problem) {
			return true, n.heal(ctx, a, errors.New(problem))
		}
		if e, err := n.files.Stat(ctx, a.old.Path); lost(err) {
			return true, n.heal(ctx, a, err)
		} else if info, serr := os.Stat(a.was); err == nil && serr == nil && e.Size != info.Size() {
			return true, n.heal(ctx, a, fmt.Errorf("%w: %d bytes are stored of %d", objects.ErrDamaged, e.Size, info.Size()))
		}
	}
	return true, a.drop()
}

// samePicture refuses an object whose picture is not that of the version before.
func (n *Node) samePicture(ctx context.Context, a *again, ahead *compared) error {
	same, err := false, error(nil)
	if a.old.SOPClassUID == a.in.SOPClassUID {
		if same, err = ahead.same, ahead.err; !ahead.holds(a.old) {
			same, err = compare.Pixels(ctx, a.was, a.is, dicomio.Options{Limits: n.opt.Limits})
		}
	}
	if passes(err) {
		later := &scp.StatusError{Status: scp.StatusOutOfResources, Comment: "cannot be compared with the one stored at this moment", Err: err}
		return errors.Join(later, a.drop())
	}
	if err != nil || !same {
		refused := &scp.StatusError{Status: scp.StatusDuplicateInstance, Comment: "another picture is stored under this UID", Err: err}
		return errors.Join(refused, a.drop(), n.store.RecordConflict(ctx, a.in.SOPInstanceUID, a.in.CallingAE))
	}
	return nil
}

// takePlace records a correction in the place of the version before.
func (n *Node) takePlace(ctx context.Context, a *again) error {
	if err := n.arrived(ctx, a.in); err != nil {
		return err
	}
	unsent, err := n.store.Replace(ctx, a.in)
	if err != nil {
		return n.unrecorded(err)
	}
	in := a.in
	n.log.Info("object corrected", "study", in.StudyInstanceUID, "object", in.SOPInstanceUID, "deliveries_withdrawn", unsent)
	if a.old.StudyInstanceUID != in.StudyInstanceUID {
		n.log.Info("object moved", "from", a.old.StudyInstanceUID, "to", in.StudyInstanceUID, "object", in.SOPInstanceUID)
	}
	// What is left of the version before is deleted later if it cannot be now.
	if err := n.deleteLocked(ctx, store.Removal{Path: a.old.Path, SOPInstanceUID: in.SOPInstanceUID}); err != nil {
		n.log.Warn("the file of a corrected object is left for later", "path", a.old.Path, "error", err)
	}
	return nil
}

// learnSum records the checksum of an object that a program of before has stored
// without one: what is stored was compared, byte by byte, with the one that was
// sent again. The object is there whether or not that can be recorded.
func (n *Node) learnSum(ctx context.Context, old, in store.Instance) {
	if old.Sum != "" || in.Sum == "" {
		return
	}
	if _, err := n.store.SetSum(ctx, in); err != nil {
		n.log.Warn("the checksum of an object that was sent again is not recorded", "object", in.SOPInstanceUID, "error", err)
	}
}

// passes reports whether two objects could not be compared for a reason that is
// none of theirs, as memory that others hold or a disk that cannot be read at this
// moment: what is sent again later may then be compared.
func passes(err error) bool { return err != nil && !dicomio.OfInput(err) }

// errUnreadable says that a stored object cannot be read: for ever, a bad sector,
// or at this moment.
var errUnreadable = errors.New("a stored object cannot be read")

// broken is why a file cannot be what was recorded under a name: it is gone, cut
// off, has other bytes than its name says or says to be another object. An error
// wrapping errUnreadable: nobody knows. nil: nothing of that can be seen.
func (n *Node) broken(ctx context.Context, path string, old store.Instance) error {
	if err := intact(path, old); lost(err) {
		return err
	} else if err != nil {
		return fmt.Errorf("%w: %w", errUnreadable, err)
	}
	id, err := dicomio.IdentifyFile(ctx, path, dicomio.Options{})
	switch {
	case ctx.Err() != nil:
		return nil
	case errors.As(err, new(*fs.PathError)):
		return fmt.Errorf("%w: %w", errUnreadable, err)
	case err != nil:
		return err
	case id.SOPInstanceUID != old.SOPInstanceUID:
		return errors.New("it says to be another object")
	}
	size, err := dataSetSize(path)
	if err != nil {
		return fmt.Errorf("%w: %w", errUnreadable, err)
	}
	if old.Size > 0 && size != old.Size {
		return fmt.Errorf("its data set has %d bytes, %d were received", size, old.Size)
	}
	return nil
}

// intact compares a file with what is known of the bytes of the object: a digest
// in its name, or the sum of what was received. Of objects that a program of
// before has recorded in a directory nothing is.
func intact(path string, in store.Instance) error {
	if objects.HasDigest(in.Path) {
		return objects.Verify(in.Path, path)
	}
	return received(path, in)
}

// received compares a file with what is recorded of what was received: what it
// is, and the sum.
func received(path string, in store.Instance) error {
	return spool.Intact(path, part10.Meta{SOPClassUID: in.SOPClassUID, SOPInstanceUID: in.SOPInstanceUID, TransferSyntaxUID: in.TransferSyntaxUID}, in.Sum)
}

// sameBytes reports whether two versions of an object are known to be one: by
// the digests of their files, or by the sums of their data sets.
func sameBytes(a, b store.Instance) bool {
	return objects.SameDigest(a.Path, b.Path) || a.Sum != "" && a.Sum == b.Sum && a.Size == b.Size &&
		a.TransferSyntaxUID == b.TransferSyntaxUID && a.SOPClassUID == b.SOPClassUID && a.StudyInstanceUID == b.StudyInstanceUID
}

// heal lets an object that was sent again take the place of its recorded version
// that is damaged or gone. With the same bytes, see sameBytes, nothing else
// changes, but that what was given up for want of the object is analysed. With
// others it counts as a correction, as far as it is of the same patient and
// study and nothing that is recorded or left of the damaged one, the file a.was,
// contradicts that it is the same object: of another nobody can tell whether it
// is the same picture, and it is refused.
func (n *Node) heal(ctx context.Context, a *again, cause error) error {
	old, in := a.old, a.in
	if err := n.arrived(ctx, in); err != nil {
		return err
	}
	switch {
	case sameBytes(old, in):
		if err := n.store.Heal(ctx, in); err != nil {
			return n.unrecorded(err)
		}
	case old.SOPClassUID == in.SOPClassUID && old.StudyInstanceUID == in.StudyInstanceUID &&
		result.Patients([]result.Person{personIs(old.Person), personIs(in.Person)}) == 1:
		var unreadable *fs.PathError
		if err := another(old, in, a.was, a.is); errors.As(err, &unreadable) {
			return errors.Join(n.unread(err), a.drop())
		} else if err != nil {
			refused := &scp.StatusError{Status: scp.StatusDuplicateInstance, Comment: "damaged, and not this one: see echonode remove", Err: errors.Join(cause, err)}
			return errors.Join(refused, a.drop(), n.store.RecordConflict(ctx, in.SOPInstanceUID, in.CallingAE))
		}
		if _, err := n.store.Replace(ctx, in); err != nil {
			return n.unrecorded(err)
		}
	default:
		refused := &scp.StatusError{Status: scp.StatusDuplicateInstance, Comment: "another object is recorded under this UID and cannot be read", Err: cause}
		return errors.Join(refused, a.drop(), n.store.RecordConflict(ctx, in.SOPInstanceUID, in.CallingAE))
	}
	n.log.Warn("a stored object was damaged or gone: the one that was sent again has taken its place",
		"study", in.StudyInstanceUID, "object", in.SOPInstanceUID, "error", cause)
	if old.Path != in.Path {
		if err := n.deleteLocked(ctx, store.Removal{Path: old.Path, SOPInstanceUID: in.SOPInstanceUID}); err != nil {
			n.log.Warn("the file of a damaged object is left for later", "path", old.Path, "error", err)
		}
	}
	return nil
}

// arrived makes sure that a version that takes another's place is where it was
// put: by a store whose clock is wrong it may have been taken for one that was
// left behind long ago.
func (n *Node) arrived(ctx context.Context, in store.Instance) error {
	if _, own := n.files.InPlace(""); own {
		return nil
	}
	if _, err := n.files.Stat(ctx, in.Path); err != nil {
		return n.unread(err)
	}
	return nil
}

// another is why an object is not the one that was recorded under its UID and is
// damaged: it is encoded otherwise or has another size, or what is left in the
// file was differs from the file is. Without such a file digests or sums decide,
// and where none is recorded nothing speaks against an object of that size.
func another(old, in store.Instance, was, is string) error {
	if old.TransferSyntaxUID != in.TransferSyntaxUID {
		return errors.New("another transfer syntax was received")
	}
	if old.Size > 0 && old.Size != in.Size {
		return fmt.Errorf("a data set of %d bytes was received, this one has %d", old.Size, in.Size)
	}
	var told bool
	if was != "" && is != "" {
		same, other, err := compareBlocks(was, is)
		if err != nil {
			return err
		}
		if told = same+other > 0; other*minSame > same {
			return fmt.Errorf("%d of %d blocks of what is left of it are other ones", other, same+other)
		}
	}
	if !told && (old.Sum != "" && in.Sum != "" || objects.HasDigest(old.Path) && objects.HasDigest(in.Path)) {
		return errors.New("other bytes were received")
	}
	return nil
}

// minSame blocks must be equal for each that is not: damage is of some sectors,
// and of two pictures little but their frames' scales and letters are equal.
const minSame = 9

// compareBlocks counts which blocks of 512 bytes of two data sets are equal and
// which are not, as far as the first file goes. What is the same byte throughout
// in either says nothing: no sound, or what a disk gives for what it has lost.
func compareBlocks(damaged, whole string) (same, other int, err error) {
	b, err := scp.FileObject(whole)
	if err != nil {
		return 0, 0, err
	}
	defer b.Close()
	a, err := scp.FileObject(damaged)
	if err != nil {
		return 0, 0, nil // nothing is left that can be compared
	}
	defer a.Close()
	ra, rb := bufio.NewReaderSize(a.DataSet, 1<<16), bufio.NewReaderSize(b.DataSet, 1<<16)
	x, y := make([]byte, 512), make([]byte, 512)
	for {
		n, errA := io.ReadFull(ra, x)
		m, errB := io.ReadFull(rb, y)
		if errB != nil && errB != io.EOF && errB != io.ErrUnexpectedEOF {
			return same, other, errB
		}
		k := min(n, m)
		switch {
		case k == 0 || uniform(x[:k]) || uniform(y[:k]):
		case bytes.Equal(x[:k], y[:k]):
			same++
		default:
			other++
		}
		if errA != nil || errB != nil {
			return same, other, nil // the damaged one may end, or be unreadable, anywhere
		}
	}
}

// uniform reports whether all bytes are the same.
func uniform(b []byte) bool { return bytes.Count(b, b[:1]) == len(b) }

// unrecorded is how an object is refused whose record cannot be written: that
// passes, so the peer may try again. In a directory its file stays for that
// attempt, or for the next start; a store elsewhere gets another object. That the
// record is not there any more is no fault of the database: see accept.
func (n *Node) unrecorded(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, store.ErrNotFound) {
		return err
	}
	n.health.recording.Store(&fault{err, time.Now()})
	return &scp.StatusError{Status: scp.StatusOutOfResources, Comment: "database cannot be written", Err: fmt.Errorf("%w: %w", errDatabase, err)}
}

// errDatabase says that it was the database.
var errDatabase = errors.New("database")

// unread is how an object is refused that cannot be read again: that passes.
func (n *Node) unread(err error) error {
	return &scp.StatusError{Status: scp.StatusOutOfResources, Comment: "object store not available", Err: err}
}

// AssociationOpened implements scp.AssociationWatcher.
func (n *Node) AssociationOpened(*scp.AssociationInfo) {}

// AssociationClosed implements scp.AssociationWatcher.
func (n *Node) AssociationClosed(a *scp.AssociationInfo, _ error) {
	n.arrivals.ended(a.ID)
	n.untold.Store(true)
}

// identify reads where an object belongs and checks that it is the object the
// request announced.
func identify(ctx context.Context, path string, req *scp.StoreRequest) (store.Instance, error) {
	in, err := readIdentity(ctx, path)
	if err != nil {
		return in, err
	}
	// Meta information at the start of the data set would be taken for ours.
	if in.TransferSyntaxUID != req.TransferSyntaxUID {
		return in, mismatchError("data set names another transfer syntax than it came in")
	}
	if in.SOPInstanceUID != req.SOPInstanceUID {
		return in, mismatchError("data set is another object than announced")
	}
	if in.SOPClassUID != req.SOPClassUID {
		return in, mismatchError("data set is of another SOP class than announced")
	}
	if req.StudyInstanceUID != "" && in.StudyInstanceUID != req.StudyInstanceUID {
		return in, mismatchError("data set is of another study than the request names")
	}
	in.CallingAE, in.Sender = req.Association.CallingAE, host(req.Association.RemoteAddr)
	return in, nil
}

// mismatchError is why a data set is not what was announced (PS3.4 B.2.3, A9xx).
type mismatchError string

func (e mismatchError) Error() string { return string(e) }

// host is the machine of an address.
func host(a net.Addr) string {
	if a == nil {
		return ""
	}
	if h, _, err := net.SplitHostPort(a.String()); err == nil {
		return h
	}
	return a.String()
}

// recoverSpool records objects that are in the spool but not in the store: the
// process died between the two. They were not acknowledged, but a peer that
// gave up would otherwise leave them behind for ever.
func (n *Node) recoverSpool(ctx context.Context) error {
	known, err := n.store.Paths(ctx)
	if err != nil {
		return err
	}
	return n.spool.Each(ctx, func(name string) error {
		if known[name] {
			return nil
		}
		in, err := n.readSpooled(ctx, name)
		if in == nil || err != nil {
			return err
		}
		return n.recordSpooled(ctx, *in)
	})
}

// readSpooled reads what a file of the spool is; nil: nothing that can be recorded,
// and it is left alone, so that the others are looked at all the same.
func (n *Node) readSpooled(ctx context.Context, name string) (*store.Instance, error) {
	hold := n.files.Hold()
	defer hold.Release()
	path, err := hold.File(ctx, name)
	if lost(err) || errors.Is(err, objects.ErrName) || errors.Is(err, objects.ErrUnreadable) {
		n.log.Warn("damaged or missing object in the spool is left alone", "path", name, "error", err)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	in, err := readIdentity(ctx, path)
	in.Path = name
	if err == nil {
		in.Size, err = dataSetSize(path)
	}
	if err == nil {
		in.Sum, err = spool.Sum(path)
	}
	if err != nil {
		n.log.Warn("unreadable object in the spool is left alone", "path", name, "error", err)
		return nil, nil
	}
	return &in, n.judgeDerived(ctx, &in)
}

// recordSpooled records an object of the spool, unless another version of it is
// recorded: then this one was not acknowledged, and its file goes.
func (n *Node) recordSpooled(ctx context.Context, in store.Instance) error {
	// What a move has on its way may take as long as it takes.
	soon, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	rest, err := n.moves.Lock(soon, in.StudyInstanceUID)
	cancel()
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return nil
	}
	if err != nil {
		return err
	}
	defer rest()
	// Who records another version, or moves it, does so under this lock, and
	// looks whether its file is still there.
	unlock, err := n.objects.Lock(ctx, in.SOPInstanceUID)
	if err != nil {
		return err
	}
	defer unlock()
	known, err := n.store.Instance(ctx, in.SOPInstanceUID)
	if errors.Is(err, store.ErrNotFound) {
		in.Received = n.store.Now()
		if _, err := n.store.AddInstance(ctx, in); err != nil {
			return err
		}
		n.log.Info("object recovered from the spool", "object", in.SOPInstanceUID)
		return nil
	}
	if err != nil {
		return err
	}
	if known.Path == in.Path || n.sameFile(known.Path, in.Path) {
		return nil // another process has recorded it meanwhile, or it has two names
	}
	// Without the one that was acknowledged this may be all that there is.
	if _, err := n.files.Stat(ctx, known.Path); lost(err) || errors.Is(err, objects.ErrName) || errors.Is(err, objects.ErrUnreadable) {
		n.log.Warn("the file of an object is not where it was; another one of it in the spool is left alone",
			"object", in.SOPInstanceUID, "path", in.Path, "recorded", known.Path)
		return nil
	} else if err != nil {
		return err
	}
	err = n.spool.Discard(ctx, in.Path)
	if err != nil && !errors.Is(err, objects.ErrUnavailable) {
		n.log.Warn("another version of an object is left in the spool", "path", in.Path, "error", err)
		return nil
	}
	return err
}

// dataSetSize is the length of the data set in a file.
func dataSetSize(path string) (int64, error) {
	o, err := scp.FileObject(path)
	if err != nil {
		return 0, err
	}
	return o.Size, o.Close()
}

// readIdentity reads whose object a file holds, as a stream: nothing that a
// peer has sent is inflated or held whole for it.
func readIdentity(ctx context.Context, path string) (store.Instance, error) {
	id, err := dicomio.IdentifyFile(ctx, path, dicomio.Options{})
	if err != nil {
		return store.Instance{}, err
	}
	in := store.Instance{
		SOPInstanceUID:    id.SOPInstanceUID,
		SOPClassUID:       id.SOPClassUID,
		StudyInstanceUID:  id.StudyInstanceUID,
		SeriesInstanceUID: id.SeriesInstanceUID,
		TransferSyntaxUID: id.TransferSyntax,
		Path:              path,
		Received:          time.Now(),
		Person:            personOf(id),
		Loop:              !uid.NoImage(id.SOPClassUID) && id.Manufacturer != result.Manufacturer,
	}
	if in.Loop && echo.FromOthers(id.ImageType) {
		from, err := derivationOf(ctx, path, id.TransferSyntax)
		if ctx.Err() != nil {
			return in, err
		}
		// What cannot be told now is told when the loop is analysed.
		if echo.Derived(id.SOPClassUID, id.ImageType) {
			in.Loop, in.Copy = err != nil || !from.named, true
		} else {
			in.Sources, in.Copy = from.sources, from.processed || len(from.sources) > 0
		}
	}
	for _, a := range []struct{ name, uid string }{{"SOP Instance UID", in.SOPInstanceUID}, {"Study Instance UID", in.StudyInstanceUID},
		{"Series Instance UID", in.SeriesInstanceUID}} {
		if !uid.Valid(a.uid) {
			// Not what stands there: it may be anything, and errors are logged.
			return in, fmt.Errorf("%s is missing or invalid", a.name)
		}
	}
	return in, nil
}

// derivation is what an object says of what it was derived from: see package echo.
type derivation struct {
	named, processed bool
	sources          []string
}

// How many elements, and bytes of their values, are held of an object for what it says of
// that: every association may bring one, and none waits for another's.
const (
	derivationElements = 32_768
	derivationValues   = 4 << 20
)

// derivationOf reads what a file says of that. What is deflated is not inflated for
// it, and nothing is told of what has more elements.
func derivationOf(ctx context.Context, path, syntax string) (derivation, error) {
	if t, _ := uid.LookupSyntax(syntax); t.Deflated {
		return derivation{}, nil
	}
	f, err := dicomio.OpenContext(ctx, path, dicomio.Options{Limits: dicomio.Limits{Elements: derivationElements, InlineTotal: derivationValues}})
	if err != nil {
		return derivation{}, err
	}
	defer f.Close()
	return derivation{named: echo.NamesSource(f.DataSet), processed: echo.Processed(f.DataSet), sources: echo.Sources(f.DataSet)}, nil
}

// personOf is who an object is of: the state of the node names no patients.
func personOf(id dicomio.Identity) store.Person {
	return recorded(result.PersonOf(id.PatientID, id.IssuerOfPatientID, id.PatientName, id.PatientBirthDate, id.PatientSex))
}
