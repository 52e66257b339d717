package node

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/echonode/echonode/pipeline/store"
)

// sweep looks for complete studies, old ones and stuck jobs until ctx ends.
func (n *Node) sweep(ctx context.Context) {
	tick := time.NewTicker(min(max(n.opt.Idle/20, 20*time.Millisecond), 500*time.Millisecond))
	defer tick.Stop()
	var cleaned time.Time // with a monotonic reading, as all waits here
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		// By the settings of those who receive, who know what is on its way.
		if n.does(RoleReceive) {
			if err := n.queueComplete(ctx); err != nil && ctx.Err() == nil {
				n.complaints.Log(n.log, "looking for complete studies", err)
			}
		}
		if time.Since(cleaned) > time.Minute {
			cleaned = time.Now()
			n.tidy(ctx, cleaned)
		}
	}
}

// Complaints keeps what goes wrong again and again, as while the database does
// not answer, from filling the log. The zero value is ready.
type Complaints struct {
	mu   sync.Mutex
	said map[string]time.Time
}

// complainEvery is how often the same is said.
const complainEvery = time.Minute

// Log says what goes wrong, unless it has said so within the last minute. With are
// further attributes.
func (c *Complaints) Log(log *slog.Logger, what string, err error, with ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.said == nil {
		c.said = map[string]time.Time{}
	}
	if at, said := c.said[what]; said && time.Since(at) < complainEvery {
		return
	}
	c.said[what] = time.Now()
	log.Error(what, append(with, "error", err)...)
}

// tidy does what has to be done now and then.
func (n *Node) tidy(ctx context.Context, now time.Time) {
	n.files.Forget(copiesFor)
	if n.store.Shared() {
		n.suspects.Store(true) // another process may have found some
		n.wakeLookers()
	}
	if far, err := n.jobs.RescheduleFar(ctx, n.longestWait()); err != nil && ctx.Err() == nil {
		n.log.Error("looking for jobs that wait too long", "error", err)
	} else if far > 0 {
		n.log.Warn("jobs were scheduled further ahead than any wait: the clock was; they start now", "jobs", far)
	}
	n.compareSettings(ctx)
	if n.does(RoleReceive) {
		n.removeOld(ctx, now)
	}
}

// removeOld removes studies after their time, while the time can be believed.
func (n *Node) removeOld(ctx context.Context, now time.Time) {
	own := now.Sub(n.began)
	now = n.today(now)
	if n.clock.jumped(now, own) {
		n.log.Warn("the clock was set: nothing is removed for a day")
	}
	if err := n.store.SetClock(ctx, now, n.clock.left(own)); err != nil {
		if ctx.Err() == nil {
			n.complaints.Log(n.log, "noting the time", err)
		}
		// The database is away, or full: only room is made.
		if err := n.deleteFiles(ctx); err != nil && ctx.Err() == nil {
			n.complaints.Log(n.log, "deleting files of removed objects", err)
		}
		return
	}
	if n.uncleared.Load() > 0 {
		if err := n.sweepResults(ctx); err != nil && ctx.Err() == nil {
			n.complaints.Log(n.log, "deleting results of removed studies", err)
		}
	}
	if !n.clock.steady(own) {
		// What was removed before that is removed.
		if err := n.deleteFiles(ctx); err != nil && ctx.Err() == nil {
			n.complaints.Log(n.log, "deleting files of removed objects", err)
		}
		return
	}
	if err := n.removeExpired(ctx, n.retention(now)); err != nil && ctx.Err() == nil {
		n.complaints.Log(n.log, "removing old studies", err)
	}
}

// today is the time of day by the database's clock, given it by this machine's: one
// whose clock is wrong removes nothing before its time.
func (n *Node) today(now time.Time) time.Time { return now.Add(-n.store.Ahead()) }

// copiesFor is how long a copy on this machine outlives its last use: another
// process may have removed the study.
const copiesFor = time.Hour

// retention is what may be removed at a time.
func (n *Node) retention(now time.Time) (r store.Retention) {
	if n.opt.Retention > 0 {
		r.Done = now.Add(-n.opt.Retention)
	}
	if n.opt.RetentionFailed > 0 {
		r.Failed = now.Add(-n.opt.RetentionFailed)
	}
	return r
}

// longestWait is longer than any wait between attempts of a job.
func (n *Node) longestWait() time.Duration { return max(n.opt.RetryMax, time.Hour) + reportDelay }

// clockWatch finds out that the time of day was set. Removal goes by the time
// of day, and a clock that is far ahead would remove everything.
type clockWatch struct {
	mu     sync.Mutex
	begun  bool
	offset time.Duration // of the time of day to the process's own clock
	until  time.Duration // nothing is removed before, on the process's own clock
}

// clockJump is what is no drift any more; clockRest is how long nothing is
// removed after one.
const (
	clockJump = 10 * time.Minute
	clockRest = 24 * time.Hour
)

// jumped reports whether the time of day was set since it was last asked, given
// it and the process's own clock.
func (c *clockWatch) jumped(day time.Time, own time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	offset := time.Duration(day.UnixNano()) - own
	moved := offset - c.offset
	c.offset = offset
	if !c.begun || moved > -clockJump && moved < clockJump {
		c.begun = true
		return false
	}
	c.until = own + clockRest
	return true
}

// rest has nothing removed for some time.
func (c *clockWatch) rest(own, rest time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until = max(c.until, own+rest)
}

// left is how long nothing is removed yet.
func (c *clockWatch) left(own time.Duration) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(c.until-own, 0)
}

// steady reports whether the clock has not been set for a while.
func (c *clockWatch) steady(own time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.until == 0 || own > c.until
}

// lookAtClock compares the time of day at a start with when the node ran before: a
// machine that has come up with a wrong time, or a backup, would lose what its
// retention time seems to be over for.
func (n *Node) lookAtClock(ctx context.Context) error {
	at, rest, ok, err := n.store.Clock(ctx)
	if err != nil || !ok {
		return err
	}
	if away := n.today(n.began).Round(0).Sub(at); away > clockRest || away < -clockRest {
		rest = clockRest
		n.log.Warn("the time of day is far from when the node last ran: nothing is removed for a day", "last", at)
	}
	n.clock.rest(0, rest)
	return nil
}

// hearOthers takes note of what other processes receive.
func (n *Node) hearOthers(ctx context.Context, studies []store.Study) error {
	if !n.store.Shared() {
		return nil
	}
	if n.untold.Swap(false) {
		if err := n.tellOthers(ctx); err != nil {
			return err
		}
	}
	if len(studies) == 0 {
		return nil
	}
	sending, err := n.store.Elsewhere(ctx)
	for _, s := range studies {
		n.arrivals.elsewhere(s.StudyInstanceUID, sending[s.StudyInstanceUID], s.Last)
	}
	return err
}

// tellOthers lets other processes know which studies associations of this one
// send for.
func (n *Node) tellOthers(ctx context.Context) error {
	if !n.store.Shared() {
		return nil
	}
	n.telling.Lock()
	defer n.telling.Unlock()
	err := n.store.Associate(context.WithoutCancel(ctx), n.arrivals.associations())
	if err != nil {
		n.untold.Store(true)
	}
	return err
}

func (n *Node) queueComplete(ctx context.Context) error {
	studies, err := n.store.Studies(ctx, store.Receiving)
	if err != nil {
		return err
	}
	n.arrivals.forget(studies)
	if err := n.hearOthers(ctx, studies); err != nil {
		return err
	}
	basis, _ := n.processor.Basis()
	// Those that are complete at the same time share commits.
	var group errgroup.Group
	group.SetLimit(queueAtOnce)
	for _, s := range studies {
		why := n.arrivals.complete(s)
		if why == "" {
			continue
		}
		group.Go(func() error {
			queued, err := n.store.Queue(ctx, s.StudyInstanceUID, s.Last, basis, n.jobs.Combine)
			if err != nil || !queued {
				return err
			}
			n.wakeLookers()
			n.arrivals.queued(s.StudyInstanceUID)
			n.log.Info("study complete", "study", s.StudyInstanceUID, "because", why)
			return nil
		})
	}
	return group.Wait()
}

// queueAtOnce bounds the studies that are queued at a time.
const queueAtOnce = 16
