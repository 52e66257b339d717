package node

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/echonode/echonode/pipeline/objects"
	"github.com/echonode/echonode/pipeline/spool"
	"github.com/echonode/echonode/pipeline/store"
)

// Health says whether the node does its work.
type Health struct {
	Status   string    `json:"status"`
	Roles    []string  `json:"roles,omitempty"` // of this process; none: all
	Problems []Problem `json:"problems"`        // [] when there are none
}

// Values of Health.Status. A refusing node answers C-STORE with a failure; a
// degraded one takes objects, and a person should look at what it cannot do.
const (
	HealthOK       = "ok"
	HealthDegraded = "degraded"
	HealthRefusing = "refusing"
)

// Problem is one thing that is wrong. Codes are stable.
type Problem struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

// Codes of problems.
const (
	ProblemDatabase = "database"       // it cannot be written: objects are refused
	ProblemObjects  = "object-store"   // it cannot be reached or refuses: objects are refused, work waits
	ProblemSpace    = "disk-space"     // below the watermark: objects are refused
	ProblemDisk     = "disk"           // the spool cannot be written: objects are refused
	ProblemDead     = "dead"           // deliveries were given up
	ProblemNoDest   = "no-destination" // deliveries wait for a destination that is not configured
	ProblemFailed   = "failed-studies"
	ProblemLost     = "lost-objects" // received objects that are missing, damaged or unreadable: their study was reported without them
	ProblemAnalysis = "analysis"     // fails for reasons that are no object's own
	ProblemFiles    = "files"        // of removed studies, that cannot be deleted
	ProblemSettings = "settings"     // another process goes by others
	ProblemNobody   = "nobody"       // work waits, and no process lives that does it
	ProblemClock    = "clock"        // the time of day was set: nothing is removed for a day; or it is not the database's
)

// problemCodes are those of what the node itself looks at; see also Options.Checks.
var problemCodes = []string{ProblemDatabase, ProblemObjects, ProblemSpace, ProblemDisk, ProblemDead, ProblemNoDest, ProblemFailed, ProblemLost,
	ProblemAnalysis, ProblemFiles, ProblemSettings, ProblemNobody, ProblemClock}

// healthCache keeps an answer for a moment, so that asking costs little.
type healthCache struct {
	mu   sync.Mutex
	at   time.Time
	last Health
	// trouble with the object store was known.
	trouble bool
	// recording is why an object could not be recorded, for faultFor or until one
	// was: a balancer that sends no more would never let the node see that the
	// database is well.
	recording atomic.Pointer[fault]
	// full is why an object found no room, for faultFor or until one did: what
	// is free above the watermark may be too little for an object.
	full atomic.Pointer[fault]
	// uploads are objects that the object store did not take, in a row: one that is
	// too slow for them may answer small questions.
	uploads streak
}

// unwritable is why something could not be recorded lately, although the database
// has just answered: it may have room for a probe and none for an object. A server
// that was away is back.
func (h *healthCache) unwritable(server bool) error {
	f := h.recording.Load()
	switch {
	case f == nil || time.Since(f.at) >= faultFor:
		return nil
	case server && store.Away(f.err):
		h.recording.CompareAndSwap(f, nil)
		return nil
	}
	return f.err
}

// probeFor is how long the database may take to answer.
const probeFor = 10 * time.Second

// fault is an error and when it happened.
type fault struct {
	err error
	at  time.Time // with a monotonic reading
}

// streak counts what fails without anything in between that does not.
type streak struct {
	mu    sync.Mutex
	count int
	err   error     // of the last
	at    time.Time // when it was, with a monotonic reading
}

// note takes down an attempt: an error, or nil for success.
func (s *streak) note(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err = err; err == nil {
		s.count = 0
		return
	}
	s.count++
	s.at = time.Now()
}

// lately reports whether the last was within some time.
func (s *streak) lately(d time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Since(s.at) < d
}

func (s *streak) told() (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count, s.err
}

// failuresInARow is when failures are the node's and not a study's.
const failuresInARow = 3

// clocksApart is when clocks of machines differ by more than people overlook.
const clocksApart = 5 * time.Second

// clocksDiffer says so of a clock that is so much ahead of the database's, "" of
// one that is not.
func clocksDiffer(ahead time.Duration) string {
	how := "ahead of"
	switch {
	case ahead.Abs() <= clocksApart:
		return ""
	case ahead < 0:
		how = "behind"
	}
	return fmt.Sprintf("the clock of this machine is %v %s the database's: times in what is made here are wrong", ahead.Abs().Round(time.Second), how)
}

// uploadsInARow is when the object store is too slow, or full, and not an upload
// unlucky.
const uploadsInARow = 2

// faultFor is how long a fault is told of that does not happen again.
const faultFor = time.Minute

// healthFor is how long an answer is kept.
const healthFor = 2 * time.Second

// Health looks at what the node needs and what it has not finished.
func (n *Node) Health(ctx context.Context) Health {
	n.health.mu.Lock()
	defer n.health.mu.Unlock()
	// What is known without asking is never old.
	trouble := n.files.Trouble() != nil
	if time.Since(n.health.at) > healthFor || trouble != n.health.trouble {
		n.health.trouble = trouble
		n.health.last = n.examine(ctx)
		n.health.at = time.Now()
	}
	return n.health.last
}

// problemOfDisk tells a disk that cannot be written from one that is full.
func problemOfDisk(err error) string {
	if errors.Is(err, spool.ErrDisk) {
		return ProblemDisk
	}
	return ProblemSpace
}

func (n *Node) examine(ctx context.Context) Health {
	h := Health{Status: HealthOK, Roles: n.opt.Roles, Problems: []Problem{}}
	add := func(status, code, format string, args ...any) {
		if h.Status != HealthRefusing {
			h.Status = status
		}
		h.Problems = append(h.Problems, Problem{code, fmt.Sprintf(format, args...)})
	}
	ctx, cancel := context.WithTimeout(ctx, probeFor)
	defer cancel()
	if err := n.store.Probe(ctx); err != nil {
		add(HealthRefusing, ProblemDatabase, "%v", err)
	} else if err := n.health.unwritable(n.store.Shared()); err != nil {
		add(HealthRefusing, ProblemDatabase, "an object or a result could not be recorded: %v", err)
	}
	refusing := HealthRefusing
	if !n.does(RoleReceive) {
		refusing = HealthDegraded // there is nothing to refuse here
	}
	trouble := n.files.Trouble()
	if trouble != nil {
		add(refusing, ProblemObjects, "%v", trouble)
	} else if count, err := n.health.uploads.told(); count >= uploadsInARow && n.health.uploads.lately(faultFor) {
		add(refusing, ProblemObjects, "it answers, but did not take the last %d objects: %v", count, err)
	}
	if err := n.spool.Refuses(); err != nil && n.does(RoleReceive) && !errors.Is(err, objects.ErrUnavailable) {
		add(HealthRefusing, problemOfDisk(err), "%v", err)
	}
	if f := n.health.full.Load(); f != nil && time.Since(f.at) < faultFor {
		add(HealthRefusing, problemOfDisk(f.err), "an object could not be kept: %v", f.err)
	}
	waiting, err := n.store.Waiting(ctx)
	if err != nil {
		add(HealthRefusing, ProblemDatabase, "%v", err)
	}
	for _, w := range waiting {
		switch {
		case !n.configured(w.Destination) && !n.does(RoleDeliver):
			// Those that deliver have it, or say so.
		case !n.configured(w.Destination):
			add(HealthDegraded, ProblemNoDest, "%d deliveries wait for destination %q, which is not configured: redirect or drop them", w.Count, w.Destination)
		case w.State == store.Dead:
			add(HealthDegraded, ProblemDead, "%d deliveries to %q were given up: restart them with retry", w.Count, w.Destination)
		}
	}
	states, err := n.store.StateCounts(ctx)
	if err == nil && states[store.Failed] > 0 {
		add(HealthDegraded, ProblemFailed, "%d studies failed: see their reasons", states[store.Failed])
	}
	if lost, err := n.store.LoopsWith(ctx, objectMissing, objectDamaged, objectUnreadable); err == nil && lost > 0 {
		add(HealthDegraded, ProblemLost,
			"%d received objects are missing, damaged or unreadable where they are stored: `echonode verify` names them, sending them again heals them", lost)
	}
	if count, err := n.loopsFail.told(); count >= failuresInARow {
		add(HealthDegraded, ProblemAnalysis, "the last %d analyses of loops failed: %v", count, err)
	}
	if count, err := n.outputsFail.told(); count >= failuresInARow {
		add(HealthDegraded, ProblemAnalysis, "the last %d times that outputs of a study were to be made failed: %v", count, err)
	}
	if left := n.undeleted.Load() + n.uncleared.Load(); left > 0 {
		add(HealthDegraded, ProblemFiles, "%d files or folders of removed studies or objects cannot be deleted: see the log, and who owns them", left)
	}
	if differ := n.differ.Load(); differ != nil {
		add(HealthDegraded, ProblemSettings, "%s", *differ)
	}
	n.missing(ctx, states, waiting, add)
	if !n.clock.steady(time.Since(n.began)) {
		add(HealthDegraded, ProblemClock, "the time of day was set, or the node had not run for more than a day: nothing is removed for a day")
	}
	if apart := clocksDiffer(n.store.Ahead()); apart != "" {
		add(HealthDegraded, ProblemClock, "%s", apart)
	}
	for _, check := range n.opt.Checks {
		for _, p := range check() {
			add(HealthDegraded, p.Code, "%s", p.Text)
		}
	}
	return h
}

// missing says what nobody does: a receiver that is well takes in what waits for
// ever when the processes behind it are gone.
func (n *Node) missing(ctx context.Context, states map[store.State]int, waiting []store.Waiting, add func(status, code, format string, args ...any)) {
	if n.does(RoleAnalyse) && n.does(RoleDeliver) && n.does(RoleReceive) {
		return
	}
	all, err := n.store.Processes(ctx)
	if err != nil {
		return // the database was asked before
	}
	does := func(role string) bool {
		return n.does(role) || slices.ContainsFunc(all, func(p store.Process) bool {
			return p.Roles == "" || slices.Contains(strings.Split(p.Roles, ","), role)
		})
	}
	if waiting := states[store.Receiving]; waiting > 0 && !does(RoleReceive) {
		add(HealthDegraded, ProblemNobody, "%d studies wait to be complete, and no process with the role %s lives", waiting, RoleReceive)
	}
	if !does(RoleAnalyse) {
		loops, err := n.store.LoopsLeft(ctx)
		if studies := states[store.Queued] + states[store.Analysing]; err == nil && loops+studies > 0 {
			add(HealthDegraded, ProblemNobody, "%d loops and %d studies wait, and no process with the role %s lives", loops, studies, RoleAnalyse)
		}
	}
	if !does(RoleDeliver) {
		count := 0
		for _, w := range waiting {
			if w.State == store.Pending && (n.configured(w.Destination) || !n.does(RoleDeliver)) {
				count += w.Count
			}
		}
		if count > 0 {
			add(HealthDegraded, ProblemNobody, "%d deliveries wait, and no process with the role %s lives", count, RoleDeliver)
		}
	}
}

// Load is what waits in a node, and the room that it has.
type Load struct {
	Free, Total, MinFree uint64 // bytes of the data directory's disk; below MinFree objects are refused
	Studies              map[store.State]int
	Waiting              []store.Waiting
}

// Load looks at queue, deliveries and disk.
func (n *Node) Load(ctx context.Context) (l Load, err error) {
	l.MinFree = n.spool.MinFree()
	if l.Free, l.Total, err = n.spool.Space(); err != nil {
		return l, err
	}
	if l.Studies, err = n.store.StateCounts(ctx); err != nil {
		return l, err
	}
	l.Waiting, err = n.store.Waiting(ctx)
	return l, err
}

// configured reports whether a destination is.
func (n *Node) configured(name string) bool {
	for _, d := range n.opt.Destinations {
		if d.Name == name {
			return true
		}
	}
	return false
}

// warnOfOrphans says at the start what waits for destinations that are not
// configured: nothing else would.
func (n *Node) warnOfOrphans(ctx context.Context) error {
	if !n.does(RoleDeliver) {
		return nil
	}
	waiting, err := n.store.Waiting(ctx)
	for _, w := range waiting {
		if !n.configured(w.Destination) {
			n.log.Warn("deliveries wait for a destination that is not configured: use `echonode redirect` or `echonode drop`",
				"destination", w.Destination, "state", w.State, "deliveries", w.Count)
		}
	}
	return err
}

// Redirect delivers what is left for one destination, whether configured or
// not, to another that is. It says how many deliveries go there now, and how
// many were dropped because what they bring is there already or is owed to it.
func (n *Node) Redirect(ctx context.Context, from, to string) (moved, dropped int, err error) {
	if !n.configured(to) {
		return 0, 0, fmt.Errorf("destination %q is not configured: %w", to, store.ErrNotFound)
	}
	if from == to {
		return 0, 0, badRequest("from and to are the same destination")
	}
	moved, dropped, err = n.store.Redirect(ctx, from, to, n.jobs.Deliver)
	if err == nil && moved+dropped == 0 && !n.configured(from) {
		return 0, 0, noDestination(from)
	}
	if err == nil {
		n.log.Info("deliveries redirected by command", "from", from, "to", to, "deliveries", moved, "dropped", dropped)
	}
	return moved, dropped, err
}

// badRequest is an error in what was asked for.
type badRequest string

func (e badRequest) Error() string { return string(e) }

// noDestination says of a name that it stands for nothing.
func noDestination(name string) error {
	return fmt.Errorf("no destination %q is configured, and nothing is left to deliver to one: %w", name, store.ErrNotFound)
}

// Drop gives up what is left to deliver to a destination, whether configured or not.
func (n *Node) Drop(ctx context.Context, destination string) (int, error) {
	count, err := n.store.DropDeliveries(ctx, destination)
	if err == nil && count == 0 && !n.configured(destination) {
		return 0, noDestination(destination)
	}
	if err == nil {
		n.log.Info("deliveries dropped by command", "destination", destination, "deliveries", count)
	}
	return count, err
}

// SignOut ends all sessions that an account has at the review page, on every
// process, and says how many there were.
func (n *Node) SignOut(ctx context.Context, account, from string) (int, error) {
	account = strings.ToLower(strings.TrimSpace(account))
	count, err := n.store.CloseSessions(ctx, account)
	if err == nil && count == 0 && n.opt.Account != nil {
		var there bool
		if there, err = n.opt.Account(account); err == nil && !there {
			err = fmt.Errorf("there is no account %q, and nobody is signed in under that name: %w", account, store.ErrNotFound)
		}
	}
	if err != nil || count == 0 {
		return 0, err
	}
	return count, n.store.Audit(context.WithoutCancel(ctx), store.AuditEntry{At: time.Now(), User: account, Address: from, Action: "sign-out",
		Detail: "everywhere, by command"})
}

// healthz answers 200 while the node takes objects and 503 while it refuses
// them. The body is "ok", or the status and its problems, one a line.
func (n *Node) healthz(w http.ResponseWriter, r *http.Request) {
	h := n.Health(r.Context())
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if h.Status == HealthRefusing {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	var b strings.Builder
	b.WriteString(h.Status + "\n")
	for _, p := range h.Problems {
		b.WriteString(p.Code + ": " + p.Text + "\n")
	}
	_, _ = w.Write([]byte(b.String()))
}

// collector reports what waits, when a monitor asks.
type collector struct {
	n                                                 *Node
	studies, loops, jobs, deliveries, free, watermark *prometheus.Desc
	healthy, ready, problem                           *prometheus.Desc
	budget, held                                      *prometheus.Desc
}

// Collector reports the state of the node to Prometheus: what waits and what
// is wrong. Counters of what happened are in Metrics.
func (n *Node) Collector() prometheus.Collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("echonode_"+name, help, labels, nil)
	}
	return &collector{n: n,
		studies: desc("studies", "Studies by state: receiving, queued, analysing, done, failed.", "state"),
		loops: desc("loops", "Loops that wait for their analysis or its next attempt (waiting), are being analysed (working), "+
			"or of which that failed for good (failed).", "state"),
		jobs:       desc("queue_jobs", "Jobs that have still to run, by queue and state.", "queue", "state"),
		deliveries: desc("deliveries_waiting", "Objects not delivered yet, by destination and state: pending, dead.", "destination", "state"),
		free:       desc("disk_free_bytes", "Free bytes on the file system of the spool."),
		watermark:  desc("disk_min_free_bytes", "Free bytes below which objects are refused."),
		healthy:    desc("healthy", "1 while nothing needs a person, see /healthz."),
		ready:      desc("ready", "1 while objects are taken."),
		problem:    desc("problem", "1 while /healthz has a line with this code.", "code"),
		budget:     desc("memory_budget_bytes", "memory.budget: what received objects may make the node hold at a time."),
		held:       desc("memory_budget_used_bytes", "What of it is held now."),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements prometheus.Collector. What cannot be found out is left
// out; ready says that.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	is := func(v bool) float64 {
		if v {
			return 1
		}
		return 0
	}
	h := c.n.Health(ctx)
	gauge(c.healthy, is(h.Status == HealthOK))
	gauge(c.ready, is(h.Status != HealthRefusing))
	problems := map[string]bool{}
	for _, code := range problemCodes {
		problems[code] = false // alerts need the zero
	}
	for _, p := range h.Problems {
		problems[p.Code] = true
	}
	for code, there := range problems {
		gauge(c.problem, is(there), code)
	}
	if m := c.n.opt.Limits.Memory; m != nil {
		gauge(c.budget, float64(m.Total()))
		gauge(c.held, float64(m.InUse()))
	}
	if states, err := c.n.store.StateCounts(ctx); err == nil {
		for s, count := range states {
			gauge(c.studies, float64(count), string(s))
		}
	}
	if loops, err := c.n.store.LoopCounts(ctx); err == nil {
		for s, count := range loops {
			gauge(c.loops, float64(count), string(s))
		}
	}
	if jobs, err := c.n.jobs.Depths(ctx); err == nil {
		for _, j := range jobs {
			gauge(c.jobs, float64(j.Count), j.Queue, j.State)
		}
	}
	waiting, err := c.n.store.Waiting(ctx)
	if err == nil {
		// A destination with nothing to wait for says so: alerts need the zero.
		counts := map[string]map[store.DeliveryState]int{}
		for _, d := range c.n.opt.Destinations {
			counts[d.Name] = map[store.DeliveryState]int{store.Pending: 0, store.Dead: 0}
		}
		for _, w := range waiting {
			if counts[w.Destination] == nil {
				counts[w.Destination] = map[store.DeliveryState]int{}
			}
			counts[w.Destination][w.State] = w.Count
		}
		for dest, states := range counts {
			for state, count := range states {
				gauge(c.deliveries, float64(count), dest, string(state))
			}
		}
	}
	if free, _, err := c.n.spool.Space(); err == nil {
		gauge(c.free, float64(free))
		gauge(c.watermark, float64(c.n.spool.MinFree()))
	}
}
