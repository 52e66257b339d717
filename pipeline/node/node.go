// Package node is the daemon: it takes objects from the network into the
// spool, decides when a study is complete, has it analysed and delivers the
// results, each step durable before the next begins.
//
//	receive.go   C-STORE into spool and store; success only when both hold it
//	complete.go  when a study is complete
//	remove.go    removal of studies, after their time or by command
//	analyse.go   the analysis job
//	commit.go    storage commitment, where the configuration offers it
//	deliver.go   the delivery job, one queue per destination
//	status.go    what a person or a monitor may look at
//
// A study moves receiving → queued → analysing → done (or failed); a late
// object takes it back to receiving and leads to a further run whose report
// names its predecessor. All state is in the store, so that a node that was
// killed at any moment goes on where it was.
package node

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riversqlite"

	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/pipeline/spool"
	"github.com/echonode/echonode/pipeline/store"
	"github.com/echonode/echonode/scp"
)

// Processor analyses a study and writes its outputs.
type Processor interface {
	// Process analyses the objects of one study and writes DICOM objects and
	// pictures into dir, which exists and is empty. What is wrong with single
	// objects belongs into the document; the error is for what would fail
	// every study.
	Process(ctx context.Context, req Request) (*result.Document, error)
}

// Request is one analysis.
type Request struct {
	StudyInstanceUID string
	Files            []string // Part 10 files
	Dir              string
	Revision         int
	// Predecessor is the report that this run's report supersedes, if any.
	Predecessor *store.Output
	// Progress is told after each object.
	Progress func(done, total int)
}

// Destination is a place results are delivered to.
type Destination struct {
	Name    string
	Address string
	Dialer  *scp.Dialer
	Kinds   []string // kinds of output sent there, see package result
}

// Options are the settings of a Node.
type Options struct {
	ResultsDir   string
	Idle, Cap    time.Duration // see Study in the configuration
	Retention    time.Duration // 0: keep for ever
	Attempts     int           // of an analysis
	Timeout      time.Duration // of an analysis
	Destinations []Destination
	RetryFirst   time.Duration
	RetryMax     time.Duration
	Deliveries   int // attempts of a delivery
	// CommitPeers are the addresses to send reports of storage commitment to
	// on a new association, by AE title. A peer that is not listed gets its
	// report on its own association only.
	CommitPeers map[string]Peer
}

// Node ties spool, store, analysis and delivery together. It implements
// scp.Handler and scp.AssociationWatcher.
type Node struct {
	opt       Options
	log       *slog.Logger
	spool     *spool.Spool
	store     *store.Store
	processor Processor
	metrics   *Metrics
	jobs      *river.Client[*sql.Tx]

	mu     sync.Mutex
	open   map[string]map[uint64]bool // study → associations that sent for it
	closed map[string]time.Time       // study → when the last of them ended
	at     map[string][2]int          // study under analysis → objects done, of how many

	objects *locks // by SOP Instance UID: receiving and deleting its file
	studies *locks // by Study Instance UID: making and deleting its results
}

// Queue names of the jobs.
const (
	analysisQueue  = "analysis"
	deliveryPrefix = "deliver-"
)

// New prepares a node. Jobs left running by a process that died are made
// available again.
func New(ctx context.Context, opt Options, sp *spool.Spool, st *store.Store, processor Processor, metrics *Metrics, log *slog.Logger) (*Node, error) {
	n := &Node{opt: opt, log: log, spool: sp, store: st, processor: processor, metrics: metrics,
		open: map[string]map[uint64]bool{}, closed: map[string]time.Time{}, at: map[string][2]int{},
		objects: newLocks(), studies: newLocks()}
	workers := river.NewWorkers()
	if err := errors.Join(river.AddWorkerSafely(workers, &analyseWorker{node: n}), river.AddWorkerSafely(workers, &deliverWorker{node: n}),
		river.AddWorkerSafely(workers, &commitWorker{node: n})); err != nil {
		return nil, err
	}
	queues := map[string]river.QueueConfig{analysisQueue: {MaxWorkers: 1}, commitmentQueue: {MaxWorkers: 4}}
	for _, d := range opt.Destinations {
		queues[deliveryPrefix+d.Name] = river.QueueConfig{MaxWorkers: 1}
	}
	var err error
	n.jobs, err = river.NewClient(riversqlite.New(st.DB()), &river.Config{
		Logger:                      quiet(log),
		Queues:                      queues,
		Workers:                     workers,
		JobTimeout:                  -1, // each worker has its own deadline
		RescueStuckJobsAfter:        opt.Timeout + time.Hour,
		CompletedJobRetentionPeriod: 24 * time.Hour,
		DiscardedJobRetentionPeriod: 30 * 24 * time.Hour,
	})
	if err != nil {
		return nil, fmt.Errorf("job queue: %w", err)
	}
	return n, errors.Join(n.recover(ctx), n.deleteFiles(ctx), n.recoverSpool(ctx), n.sweepResults(ctx))
}

// quiet keeps the job library's own notes out of the log below warnings.
func quiet(log *slog.Logger) *slog.Logger {
	return slog.New(levelHandler{log.Handler(), slog.LevelWarn})
}

type levelHandler struct {
	slog.Handler
	min slog.Level
}

func (h levelHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= h.min && h.Handler.Enabled(ctx, l)
}
func (h levelHandler) WithAttrs(a []slog.Attr) slog.Handler {
	return levelHandler{h.Handler.WithAttrs(a), h.min}
}
func (h levelHandler) WithGroup(g string) slog.Handler {
	return levelHandler{h.Handler.WithGroup(g), h.min}
}

// recover takes up what a killed process left.
func (n *Node) recover(ctx context.Context) error {
	exhausted, err := n.store.RecoverJobs(ctx)
	if err != nil {
		return fmt.Errorf("recover jobs: %w", err)
	}
	for _, j := range exhausted {
		var err error
		switch j.Kind {
		case analyseArgs{}.Kind():
			var args analyseArgs
			if err = json.Unmarshal(j.Args, &args); err == nil {
				err = n.store.FailRun(ctx, args.Study, args.Revision, errors.New("the process ended every time this study was analysed"), true)
			}
		case deliverArgs{}.Kind():
			var args deliverArgs
			if err = json.Unmarshal(j.Args, &args); err == nil {
				err = n.store.BuryDeliveries(ctx, args.Run, args.Destination)
			}
		}
		if err != nil {
			return fmt.Errorf("recover jobs: %w", err)
		}
	}
	return nil
}

// Run works until ctx ends, then stops: running jobs are cancelled and go on
// at the next start.
func (n *Node) Run(ctx context.Context) error {
	if err := n.jobs.Start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("job queue: %w", err)
	}
	n.sweep(ctx)
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if err := n.jobs.StopAndCancel(stop); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("job queue: %w", err)
	}
	return nil
}
