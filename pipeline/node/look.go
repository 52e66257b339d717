package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/echonode/echonode/pipeline/internal/turns"
	"github.com/echonode/echonode/pipeline/kept"
	"github.com/echonode/echonode/pipeline/objects"
	"github.com/echonode/echonode/pipeline/store"
)

// looking analyses loops, one after the other and as many at a time as the
// processor wants, until ctx ends. Which one is next is the store's answer, so
// that nothing waits in this process, and nothing can be lost with it.
func (n *Node) looking(ctx context.Context) {
	// One place more than the processor needs is for another sender than those
	// who have taken them.
	places := make(chan struct{}, n.perSender()+1)
	var working sync.WaitGroup
	defer working.Wait()
	for {
		if n.suspects.Swap(false) && n.anySuspects(ctx) {
			working.Wait() // so that nobody else dies of them
			n.lookAtSuspects(ctx)
		}
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return
		}
		lease, err := n.nextLoop(ctx)
		if errors.Is(err, errSuspects) {
			<-places
			continue
		}
		if err != nil {
			return
		}
		working.Go(func() {
			defer func() { <-places }()
			n.lookAt(ctx, lease)
			n.leases.end(lease)
			n.wakeLookers() // its sender may have another looked at now
		})
	}
}

// errSuspects says that there may be loops to be looked at alone.
var errSuspects = errors.New("a process has died over loops")

// perSender is how many loops of one sender are looked at at a time.
func (n *Node) perSender() int { return max(n.processor.Loops(), 1) }

// anySuspects reports whether there are loops over which a process has died:
// only for them is it worth to let places stand empty. Where the database does
// not say, there may be.
func (n *Node) anySuspects(ctx context.Context) bool {
	there, err := n.store.Suspects(ctx)
	return there || err != nil
}

// lookAtSuspects takes loops over which the process has died one at a time, so
// that the one that does it takes no other with it.
func (n *Node) lookAtSuspects(ctx context.Context) {
	for ctx.Err() == nil {
		lease, err := n.lease(ctx, n.store.LeaseSuspect)
		if errors.Is(err, store.ErrNotFound) {
			return
		}
		if err != nil {
			if ctx.Err() == nil {
				n.complaints.Log(n.log, "looking for loops that were interrupted", err)
				n.suspects.Store(true)
				select { // the database is away
				case <-time.After(time.Second):
				case <-ctx.Done():
				}
			}
			return
		}
		n.lookAt(ctx, lease)
		n.leases.end(lease)
	}
}

// leases are those that this process has.
type leases struct {
	mu      sync.Mutex
	tokens  []int64
	unclear bool // one may have been recorded without an answer; of the goroutine that leases
}

func (l *leases) begin(lease store.Lease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tokens = append(l.tokens, lease.Token)
}

func (l *leases) end(lease store.Lease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tokens = slices.DeleteFunc(l.tokens, func(t int64) bool { return t == lease.Token })
}

func (l *leases) all() []int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.tokens)
}

// lease leases a loop. Where the database did not answer, the lease may have been
// recorded all the same: it is undone before the next, or the loop would be
// nobody's for as long as this process lives.
func (n *Node) lease(ctx context.Context, get func(context.Context) (store.Lease, error)) (store.Lease, error) {
	if n.leases.unclear {
		freed, err := n.store.FreeLost(ctx, n.leases.all())
		if err != nil {
			return store.Lease{}, err
		}
		n.leases.unclear = false
		if freed > 0 {
			n.log.Warn("a lease was recorded whose answer was lost: the loop is free again", "loops", freed)
		}
	}
	lease, err := get(ctx)
	switch {
	case err == nil:
		n.leases.begin(lease)
	case !errors.Is(err, store.ErrNotFound):
		n.leases.unclear = true
	}
	return lease, err
}

// wakeLookers says that a loop may have to be looked at.
func (n *Node) wakeLookers() {
	select {
	case n.wake <- struct{}{}:
	default: // they have been told
	}
}

// nextLoop waits for the loop that is next. The error is errSuspects or the
// context's.
func (n *Node) nextLoop(ctx context.Context) (store.Lease, error) {
	for {
		if n.suspects.Load() {
			return store.Lease{}, errSuspects
		}
		lease, err := n.lease(ctx, func(ctx context.Context) (store.Lease, error) {
			return n.store.LeaseLoop(ctx, n.store.Now(), n.opt.OnArrival, n.perSender())
		})
		if err == nil {
			n.wakeLookers() // there may be more
			return lease, nil
		}
		if ctx.Err() != nil {
			return lease, ctx.Err()
		}
		if !errors.Is(err, store.ErrNotFound) {
			n.complaints.Log(n.log, "looking for loops to analyse", err)
		}
		select {
		case <-n.wake:
		case <-time.After(n.opt.LookAgain): // for those that wait for another attempt
			if n.store.Shared() {
				n.suspects.Store(true) // another process may have found some
			}
		case <-ctx.Done():
			return lease, ctx.Err()
		}
	}
}

// lookAt analyses one loop and records what became of it.
func (n *Node) lookAt(ctx context.Context, lease store.Lease) {
	log := n.log.With("study", lease.StudyInstanceUID, "object", lease.SOPInstanceUID)
	hold := n.files.Hold()
	defer hold.Release()
	req := n.loopRequest(lease.Loop, hold)
	start := time.Now()
	seen, err := n.see(ctx, req, lease)
	if err == nil {
		err = stillKept(ctx, req, seen.Key)
	}
	// Whatever happened must be recorded, even while stopping.
	var record func(ctx context.Context) error
	switch {
	case err == nil:
		basis, _ := n.processor.Basis()
		n.metrics.looked("done", time.Since(start))
		n.loopsFail.note(nil)
		if seen.Problem != "" {
			log.Warn("loop analysed with a problem", "problem", seen.Problem)
		}
		record = func(ctx context.Context) error {
			return n.store.FinishLoop(ctx, lease, basis, seen.Key, seen.Problem, n.jobs.Combine)
		}
	case ctx.Err() != nil:
		record = func(ctx context.Context) error { return n.store.ReleaseLoop(ctx, lease) }
	case errors.Is(err, objects.ErrUnavailable):
		log.Warn("analysis waits for the object store", "error", err)
		select {
		case <-time.After(storeWait):
		case <-ctx.Done():
		}
		record = func(ctx context.Context) error { return n.store.ReleaseLoop(ctx, lease) }
	case n.replaced(ctx, lease):
		log.Info("analysis of a loop ended: it was corrected or removed meanwhile", "error", err)
		return // it is not this lease's any more
	default:
		n.metrics.looked("failed", time.Since(start))
		if whyGone(err) == "" {
			n.loopsFail.note(err)
		}
		attempt := lease.Attempts + 1
		retry := n.nextLook(n.store.Now(), attempt, err)
		log.Error("analysis of a loop failed", "attempt", attempt, "final", retry.IsZero(), "error", err)
		cause := err
		record = func(ctx context.Context) error {
			return n.store.FailLoop(ctx, lease, cause, retry, n.jobs.Combine)
		}
	}
	n.recordLoop(ctx, log, record)
}

// nextLook is when a loop is looked at again after so many attempts; zero: never. What
// this process may not read or write is put right by who owns it, however late: nothing
// is reported without that, and health says why.
func (n *Node) nextLook(now time.Time, attempt int, err error) (at time.Time) {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return now.Add(min(backoff(attempt), maxDenied))
	case attempt < n.opt.Attempts || waited(attempt) < n.opt.RetryFor:
		return now.Add(backoff(attempt))
	}
	return at
}

// maxDenied is how long after an owner was put right that is noticed.
const maxDenied = 5 * time.Minute

// stillKept makes sure that a result is there when it was kept: the loop would be
// analysed again and again for it.
func stillKept(ctx context.Context, req LoopRequest, key string) error {
	there, err := req.Kept.Has(ctx, key)
	if err == nil && !there {
		err = fmt.Errorf("result %s cannot be read after it was kept", key)
	}
	return err
}

// replaced reports whether another version has taken a loop's place, or nothing.
func (n *Node) replaced(ctx context.Context, lease store.Lease) bool {
	now, err := n.store.Instance(ctx, lease.SOPInstanceUID)
	return errors.Is(err, store.ErrNotFound) || err == nil && now.Path != lease.Path
}

// recordLoop writes what became of a loop. While the database cannot be written the
// loop keeps its place: what was found is worth more than another loop's start.
func (n *Node) recordLoop(ctx context.Context, log *slog.Logger, write func(context.Context) error) {
	for try := 0; ; try++ {
		err := write(context.WithoutCancel(ctx))
		switch {
		case err == nil:
			n.health.recording.Store(nil)
			return
		case errors.Is(err, store.ErrStale):
			log.Info("the loop has been removed or replaced meanwhile, or another process has it")
			return
		case try == 0:
			log.Error("recording the result of a loop", "error", err)
		}
		n.health.recording.Store(&fault{err, time.Now()})
		select {
		case <-ctx.Done():
			return // it is freed at the next start
		case <-time.After(time.Second):
		}
	}
}

// see has a loop analysed. What concerns this loop alone, time and panics
// included, is in what was seen; the error would have been the same for any.
func (n *Node) see(ctx context.Context, req LoopRequest, lease store.Lease) (seen Seen, err error) {
	if lease.Deaths >= n.opt.Attempts {
		return n.giveUp(ctx, req, fmt.Sprintf("the process ended %d times while this object was analysed", lease.Deaths))
	}
	bounded, cancel := context.WithTimeout(ctx, n.opt.Timeout)
	defer cancel()
	defer func() {
		if r := recover(); r != nil {
			n.log.Error("analysis panicked", "object", req.SOPInstanceUID, "panic", r, "stack", string(debug.Stack()))
			seen, err = n.giveUp(ctx, req, fmt.Sprintf("the analysis panicked: %v", r))
		}
	}()
	// No value comes from bytes that a disk has changed.
	if _, err = req.Objects.File(bounded, req.Path); err == nil {
		seen, err = n.processor.Look(n.working(bounded, req.Sender, turns.Analysing), req)
	}
	if err != nil && ctx.Err() == nil && errors.Is(bounded.Err(), context.DeadlineExceeded) {
		return n.giveUp(ctx, req, fmt.Sprintf("not analysed within %v", n.opt.Timeout))
	}
	if (lost(err) || errors.Is(err, objects.ErrUnreadable)) && ctx.Err() == nil && lease.Attempts+1 >= n.opt.Attempts {
		gone := objectGone(ctx, req)
		if why := whyGone(gone); why != "" {
			n.log.Error("an object is lost", "object", req.SOPInstanceUID, "error", gone)
			return n.giveUp(ctx, req, why)
		}
	}
	return seen, err
}

// Why a loop was given up for want of its object.
const (
	objectMissing    = "the received object is missing in the object store"
	objectDamaged    = "the received object is damaged in the object store"
	objectUnreadable = "the received object cannot be read in the object store"
)

// whyGone says it of an error of [objectGone], "" of one that passes.
func whyGone(err error) string {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return "" // see nextLook
	case errors.Is(err, objects.ErrDamaged):
		return objectDamaged
	case errors.Is(err, objects.ErrUnreadable):
		return objectUnreadable
	case lost(err):
		return objectMissing
	}
	return ""
}

// ofObject reports whether a problem of a loop is that its object was missing,
// damaged or unreadable.
func ofObject(problem string) bool {
	return slices.ContainsFunc([]string{objectMissing, objectDamaged, objectUnreadable, objects.ErrDamaged.Error(), objects.ErrUnreadable.Error(),
		fs.ErrNotExist.Error(), syscall.ENOENT.Error()},
		func(s string) bool { return strings.Contains(problem, s) })
}

// lost says that an object is not there, or not what it was.
func lost(err error) bool {
	return errors.Is(err, objects.ErrDamaged) || errors.Is(err, fs.ErrNotExist)
}

// objectGone is why the object of a loop cannot be had, nil if it can. That a
// file of this machine is not there counts where its folder is: otherwise the
// whole disk may not be, which passes.
func objectGone(ctx context.Context, req LoopRequest) error {
	path, err := req.Objects.File(ctx, req.Path)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Dir(path)); err != nil {
		return nil
	}
	_, err = os.Stat(path)
	return err
}

// Expect has a hold compare an object with what was received before its header or
// its pixels are used for anything that is measured, made or shown.
func Expect(hold *objects.Hold, in store.Instance) {
	hold.Expect(in.Path, func(path string) error { return unharmed(path, in) })
}

// unharmed compares a file with what was received: with the sum of what was received, which costs less than
// the digest in its name; with that where there is no sum.
func unharmed(path string, in store.Instance) error {
	if in.Sum == "" {
		return intact(path, in)
	}
	return received(path, in)
}

// giveUp keeps as the result of a loop why it has none.
func (n *Node) giveUp(ctx context.Context, req LoopRequest, why string) (Seen, error) {
	key, err := n.processor.GiveUp(context.WithoutCancel(ctx), req, why)
	return Seen{Key: key, Problem: why}, err
}

func (n *Node) loopRequest(l store.Loop, hold *objects.Hold) LoopRequest {
	Expect(hold, store.Instance{SOPInstanceUID: l.SOPInstanceUID, SOPClassUID: l.SOPClassUID, TransferSyntaxUID: l.TransferSyntax, Path: l.Path, Sum: l.Sum})
	return LoopRequest{StudyInstanceUID: l.StudyInstanceUID, SeriesInstanceUID: l.SeriesInstanceUID, SOPInstanceUID: l.SOPInstanceUID, SOPClassUID: l.SOPClassUID,
		Number: l.Number, Sender: l.Sender, Path: l.Path, Sum: l.Sum, Kept: n.keptDir(l.StudyInstanceUID), Objects: hold}
}

// keptDir holds the results of a study's loops.
func (n *Node) keptDir(study string) kept.Dir {
	return kept.In(n.files, n.opt.Scratch, resultsFolder, studyFolder(study), "loops")
}

// backoff is how long a passing fault (a full disk, a busy GPU) may need: 10 s,
// 40 s, 90 s, ... up to half an hour.
func backoff(attempt int) time.Duration {
	return min(time.Duration(10*attempt*attempt)*time.Second, maxBackoff)
}

const maxBackoff = 30 * time.Minute

// waited is how long so many attempts have waited for each other.
func waited(attempts int) (d time.Duration) {
	for a := 1; a < attempts && d < 1<<60; a++ {
		d += backoff(a)
	}
	return d
}
