// Package node is the daemon: it takes objects from the network into the
// spool, decides when a study is complete, has it analysed and delivers the
// results, each step durable before the next begins.
//
//	receive.go   C-STORE into spool and store; success only when both hold it
//	arrivals.go  how long a study has been waiting, by a clock nobody sets
//	complete.go  when a study is complete
//	remove.go    removal of studies, after their time or by command
//	look.go      the analysis of loops, from the moment they are received
//	analyse.go   the job that combines a study from its loops
//	sign.go      the outputs of a result that a reader has signed
//	commit.go    storage commitment, where the configuration offers it
//	deliver.go   the delivery job, one queue per destination
//	confirm.go   storage commitment asked of destinations whose answers were lost
//	settings.go  what processes of one database have to agree on
//	status.go    what a person or a monitor may look at
//	health.go    whether the node does its work, and how much of it waits
//	metrics.go   what Prometheus is told
//
// The unit of work is the loop. Its result is kept under what it depends on,
// and a study is combined from its loops' results when the last of them is
// there and the study is complete. So a late loop costs itself, and a run that
// would change nothing makes nothing. The order is fair: loops of complete
// studies go first, and studies take turns. A loop that ends the process, takes
// too long or panics costs itself: interrupted loops are taken alone, and given
// up after some attempts, with the reason in the study's result.
//
// An object that is sent again with the same picture and other attributes is a
// correction and takes the place of the version before; another picture under
// the same UID is refused (0111H), see Node.accept.
//
// A study moves receiving → queued → analysing → done (or failed); a late
// loop takes it back to receiving and leads to a further run whose report
// names its predecessor. Other objects are kept and lead to nothing, so that
// nodes that send each other their results come to rest. All state is in the
// store, so that a node that was killed at any moment goes on where it was.
package node

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/pipeline/deliver"
	"github.com/echonode/echonode/pipeline/internal/jobs"
	"github.com/echonode/echonode/pipeline/internal/turns"
	"github.com/echonode/echonode/pipeline/kept"
	"github.com/echonode/echonode/pipeline/objects"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/pipeline/spool"
	"github.com/echonode/echonode/pipeline/store"
	"github.com/echonode/echonode/scp"
)

// Processor analyses loops, and makes outputs of studies.
type Processor interface {
	// Basis is what the results of loops, and the outputs of a study, depend on
	// beside their objects: the network, the program, the settings.
	Basis() (loop, outputs string)
	// Loops is how many loops to look at at a time.
	Loops() int
	// Look analyses one object and keeps the result. What is wrong with the
	// object belongs into the result; the error is for what would fail every
	// object.
	Look(ctx context.Context, req LoopRequest) (Seen, error)
	// GiveUp keeps as the result of an object why it is not analysed, and
	// returns the key. It must not read the object.
	GiveUp(ctx context.Context, req LoopRequest, why string) (key string, err error)
	// Process combines the loops of one study and writes DICOM objects and
	// pictures into Dir, which exists and is empty. An [UnmakeableError] says that
	// it never can.
	Process(ctx context.Context, req Request) (*result.Document, error)
}

// LoopRequest is the analysis of one object.
type LoopRequest struct {
	StudyInstanceUID, SeriesInstanceUID string
	SOPInstanceUID, SOPClassUID         string
	Number                              int    // order of arrival in the study, from 1
	Sender                              string // of the study
	Path                                string // name of the object, a Part 10 file
	Sum                                 string // of what was received, see store.Instance
	Kept                                kept.Dir
	// Objects gives the file of the object, for as long as the request lasts.
	Objects *objects.Hold
}

// Seen is what became of a loop.
type Seen struct {
	Key string // of the kept result
	// Problem says why the result may come out better another time, for example
	// because time ran out; "" for results that would be the same.
	Problem string
}

// Request is the combination of a study.
type Request struct {
	StudyInstanceUID string
	Loops            []LoopRequest
	Keys             []string // of the loops' results
	problems         []string // of the loops, see Seen
	Dir              string
	Revision         int
	// Objects gives files of objects, also of what was drawn.
	Objects *objects.Hold
	// Predecessor is the report that this run's report supersedes, if any, with its
	// SeriesInstanceUID. Its file may be lost.
	Predecessor *store.Output
	// Own are those of destinations with outputs of their own form, by name.
	Own map[string]*store.Output
	// RemovedBefore says that the study was removed after an earlier report of this
	// patient, see result.Study.
	RemovedBefore bool
}

// Destination is a place results are delivered to.
type Destination struct {
	Name    string
	Address string
	Dialer  *scp.Dialer
	Kinds   []string // kinds of output sent there, see package result
	// Stow takes the place of Address and Dialer for a DICOMweb destination.
	Stow    *deliver.Stow
	Convert deliver.Conversion
	Rules   []deliver.Rule // the first that holds replaces Kinds
	// Withdraws: is told, by an object of its own, which results it has under a
	// patient that a study is not of any more.
	Withdraws bool
	Own       bool // the processor makes outputs for it in a form of its own
	// What was being sent when its answer was lost, the destination is asked for
	// before it is sent again: by query, unless Unasked; with Commitment by storage
	// commitment before that, whose report may come so long after.
	Unasked    bool
	Commitment time.Duration
}

// Roles of a process. One that has all of them needs no other.
const (
	RoleReceive = "receive"
	RoleAnalyse = "analyse"
	RoleDeliver = "deliver"
	RoleWeb     = "web"
)

// Roles are all roles.
var Roles = []string{RoleReceive, RoleAnalyse, RoleDeliver, RoleWeb}

// Options are the settings of a Node.
type Options struct {
	// Objects is where results are kept, and where received objects are read
	// from; Scratch is a folder of this machine, best on the same file system.
	Objects *objects.Files
	Scratch string
	// StoreIdentity tells the database from others, where Objects are in a store
	// that others may reach; none: whatever is there is taken.
	StoreIdentity []byte
	Idle, Cap     time.Duration // see Study in the configuration
	Retention     time.Duration // 0: keep for ever
	// RetentionFailed is for studies that failed and those with deliveries that
	// were given up. 0: keep for ever.
	RetentionFailed time.Duration
	OnArrival       bool          // analyse loops before their study is complete
	Attempts        int           // of an analysis
	RetryFor        time.Duration // how long an analysis is tried again after an error that may pass, beyond its attempts
	Timeout         time.Duration // of the analysis of one loop, and of the making of one study's outputs
	LookAgain       time.Duration // how often loops are looked for where nothing says that there are any; 0: every second
	Destinations    []Destination
	RetryFirst      time.Duration
	RetryMax        time.Duration
	Deliveries      int // attempts of a delivery
	// Checks find problems that the node itself does not know of.
	Checks []func() []Problem
	// Roles are what this process does; none is everything.
	Roles []string
	// Settings are what all processes of a database have to agree on, as people read
	// it, by key; only what the roles of this one go by.
	Settings map[string]string
	// Seat is what only one process uses at a time on this machine, for example
	// its data directory: one that takes it knows that the one before has ended.
	Seat string
	// Alone says that Objects are where no other process can see them: with such a
	// one on the same database either is refused.
	Alone   bool
	Version string // of the program
	// Heartbeat is how often this process shows others that it lives, Horizon
	// after how long without a heartbeat it is taken for dead. 0: the defaults.
	Heartbeat, Horizon time.Duration
	// Limits are those that received objects are compared under.
	Limits dicomio.Limits
	// Places are shared by all work on the processor, of which senders have their
	// turns; nil: nobody waits for a turn but within the Processor.
	Places *turns.Places
	// CommitPeers are the addresses to send reports of storage commitment to
	// on a new association, by AE title. A peer that is not listed gets its
	// report on its own association only.
	CommitPeers map[string]Peer
	// Account reports whether the review page has an account of that name; nil
	// where there is no page.
	Account func(name string) (bool, error)
}

// Node ties spool, store, analysis and delivery together. It implements
// scp.Handler and scp.AssociationWatcher.
type Node struct {
	opt       Options
	log       *slog.Logger
	spool     spool.Intake
	files     *objects.Files
	store     *store.Store
	processor Processor
	metrics   *Metrics
	jobs      *jobs.Room

	wake chan struct{} // a loop may have to be looked at

	// has asks a destination what it has.
	has func(ctx context.Context, d Destination, paths []string) (map[string]bool, error)

	arrivals *arrivals
	clock    clockWatch
	began    time.Time // with a monotonic reading
	health   healthCache

	moving     chan struct{} // has room for one move at a time
	objects    *store.Locks  // by SOP Instance UID: receiving and deleting its file
	studies    *store.Locks  // by Study Instance UID: making and deleting its results
	recovering *store.Locks  // of who looks through a shared store
	moves      *store.Locks  // by Study Instance UID: moves that have files on their way

	complaints Complaints

	loopsFail, outputsFail streak // for reasons that are no object's own

	undeleted atomic.Int64           // files of removed objects that could not be deleted when it was last tried
	uncleared atomic.Int64           // folders of removed studies, likewise
	differ    atomic.Pointer[string] // how the settings of other processes differ; nil: they don't

	leases   leases
	suspects atomic.Bool // there may be loops over which a process has died
	telling  sync.Mutex  // other processes what associations send for
	untold   atomic.Bool // something of that
}

// New prepares a node. Jobs left running by a process that died are made
// available again.
func New(ctx context.Context, opt Options, sp spool.Intake, st *store.Store, processor Processor, metrics *Metrics, log *slog.Logger) (*Node, error) {
	opt.LookAgain = cmp.Or(opt.LookAgain, time.Second)
	n := &Node{opt: opt, log: log, spool: sp, files: opt.Objects, store: st, processor: processor, metrics: metrics,
		wake: make(chan struct{}, 1), has: func(ctx context.Context, d Destination, paths []string) (map[string]bool, error) {
			return d.has(ctx, paths)
		}, arrivals: newArrivals(opt.Idle, opt.Cap), began: time.Now(),
		objects: st.NewLocks(1), studies: st.NewLocks(2), recovering: st.NewLocks(3), moves: st.NewLocks(4), moving: make(chan struct{}, 1)}
	n.suspects.Store(true)
	if err := n.belong(ctx); err != nil {
		return n, err
	}
	var err error
	n.jobs, err = jobs.Open(st, n.jobOptions(), n.jobHandlers(), log)
	if err != nil {
		return nil, err
	}
	// A process that is refused leaves everything as it is.
	if err := n.jobs.Recover(ctx); err != nil {
		return n, err
	}
	if err := n.relocate(ctx); err != nil {
		return n, err
	}
	if err := n.belongHere(ctx); err != nil {
		return n, err
	}
	if err := n.lookAtClock(ctx); err != nil {
		return n, err
	}
	// A file that nobody can delete must not keep the node from what it is for.
	if err := n.deleteFiles(ctx); err != nil {
		n.log.Error("files of removed objects are left", "error", err)
	}
	return n, errors.Join(n.recoverAtStart(ctx), n.warnOfOrphans(ctx))
}

// jobOptions are what the settings of the node mean for its jobs.
func (n *Node) jobOptions() jobs.Options {
	opt := n.opt
	o := jobs.Options{
		CombineWorkers: 2, CombineAttempts: opt.Attempts, CombineWait: backoff, NoCombining: !n.does(RoleAnalyse),
		DeliveryAttempts: opt.Deliveries, DeliveryWait: n.deliveryWait, NoDelivering: !n.does(RoleDeliver),
		Longest: opt.Timeout, Seat: opt.Seat, Alone: opt.Alone, Roles: opt.Roles, Version: opt.Version, Settings: n.settings(),
		Beat: opt.Heartbeat, Horizon: opt.Horizon,
	}
	for _, d := range opt.Destinations {
		o.Destinations = append(o.Destinations, d.Name)
	}
	return o
}

// jobHandlers are what the node does for its jobs, and for those of processes that
// have died.
func (n *Node) jobHandlers() jobs.Handlers {
	return jobs.Handlers{
		Combine: n.combine, Deliver: n.deliverRun, Report: n.reportCommitment,
		CombineDied: n.combineDied,
		DeliverDied: n.store.BuryDeliveries,
		LoopsFreed:  n.loopsFreed,
		Entered:     func() { n.untold.Store(true) },
		Rescued:     n.metrics.rescued,
	}
}

// combineDied is told of a study whose analysis no process has survived.
func (n *Node) combineDied(ctx context.Context, study string, revision int) error {
	err := errors.New("the process ended every time this study was analysed")
	return n.store.FailRun(ctx, store.Run{StudyInstanceUID: study, Revision: revision}, err, true)
}

// loopsFreed is told of the studies whose loops a process that died was looking
// at.
func (n *Node) loopsFreed(studies []string) error {
	var errs []error
	for _, study := range studies {
		errs = append(errs, n.keptDir(study).Sweep())
	}
	n.suspects.Store(true)
	n.wakeLookers()
	return errors.Join(errs...)
}

// does reports whether the process has a role.
func (n *Node) does(role string) bool {
	return len(n.opt.Roles) == 0 || slices.Contains(n.opt.Roles, role)
}

// recoverAtStart takes up what a process that died has left of objects and
// results on this machine's disk.
func (n *Node) recoverAtStart(ctx context.Context) error {
	if _, own := n.files.InPlace(""); !own {
		return nil
	}
	return errors.Join(n.recoverSpool(ctx), n.sweepResults(ctx))
}

// recoverLater is recoverAtStart for other stores, which take long to list, and
// may not be available when the process starts. One process does it at a time,
// once an hour: what is left behind is known for that only when it is older than
// anything that is still on its way.
func (n *Node) recoverLater(ctx context.Context) {
	if _, own := n.files.InPlace(""); own || !n.does(RoleReceive) {
		return
	}
	for {
		wait := recoverEvery
		if err := n.recoverOnce(ctx); err != nil {
			if ctx.Err() != nil {
				return
			}
			n.log.Warn("looking for objects that were not recorded", "error", err)
			wait = time.Minute
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

// recoverEvery is how often a shared store is looked through.
const recoverEvery = time.Hour

// recoverOnce looks through a shared store, unless another process does so.
func (n *Node) recoverOnce(ctx context.Context) error {
	soon, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	unlock, err := n.recovering.Lock(soon, "recover")
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	return errors.Join(n.recoverSpool(ctx), n.sweepResults(ctx))
}

// Run works until ctx ends, then stops: running jobs are cancelled and go on
// at the next start.
func (n *Node) Run(ctx context.Context) error {
	if err := n.jobs.Start(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // it was stopped while it began
		}
		return err
	}
	var background sync.WaitGroup
	if n.does(RoleAnalyse) {
		background.Go(func() { n.looking(ctx) })
	}
	background.Go(func() { n.recoverLater(ctx) })
	n.sweep(ctx)
	background.Wait()
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	return n.jobs.Stop(stop)
}
