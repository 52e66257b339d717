package node

import (
	"context"
	"time"

	"github.com/echonode/echonode/pipeline/store"
)

// sweep looks for complete studies until ctx ends. DICOM has no message that
// says that a study is complete, so it is three inputs: the associations that
// sent for it are closed, nothing has arrived for the idle time, or the cap
// has passed.
func (n *Node) sweep(ctx context.Context) {
	tick := time.NewTicker(min(max(n.opt.Idle/20, 20*time.Millisecond), 250*time.Millisecond))
	defer tick.Stop()
	var cleaned time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := n.queueComplete(ctx, time.Now()); err != nil && ctx.Err() == nil {
			n.log.Error("looking for complete studies", "error", err)
		}
		if n.opt.Retention > 0 && time.Since(cleaned) > time.Minute {
			cleaned = time.Now()
			if err := n.removeExpired(ctx, cleaned.Add(-n.opt.Retention)); err != nil && ctx.Err() == nil {
				n.log.Error("removing old studies", "error", err)
			}
		}
	}
}

func (n *Node) queueComplete(ctx context.Context, now time.Time) error {
	studies, err := n.store.Studies(ctx, store.Receiving)
	if err != nil {
		return err
	}
	for _, s := range studies {
		why := n.complete(s, now)
		if why == "" {
			continue
		}
		basis, _ := n.processor.Basis()
		queued, err := n.store.Queue(ctx, s.StudyInstanceUID, s.Last, basis, n.enqueueAnalysis)
		if err != nil {
			return err
		}
		if queued {
			n.wakeLookers()
			n.log.Info("study complete", "study", s.StudyInstanceUID, "because", why)
		}
	}
	return nil
}

// complete says why a study is complete, or "" if it is not.
func (n *Node) complete(s store.Study, now time.Time) string {
	if now.Sub(s.First) >= n.opt.Cap {
		return "cap"
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.open[s.StudyInstanceUID]) > 0 {
		return ""
	}
	quiet := s.Last
	if c := n.closed[s.StudyInstanceUID]; c.After(quiet) {
		quiet = c
	}
	if now.Sub(quiet) >= n.opt.Idle {
		delete(n.closed, s.StudyInstanceUID)
		return "idle"
	}
	return ""
}

// sending notes that an association sent an object of the study.
func (n *Node) sending(study string, association uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.open[study] == nil {
		n.open[study] = map[uint64]bool{}
	}
	n.open[study][association] = true
}

// ended notes that an association is over.
func (n *Node) ended(association uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for study, open := range n.open {
		if open[association] {
			delete(open, association)
			n.closed[study] = time.Now()
		}
		if len(open) == 0 {
			delete(n.open, study)
		}
	}
}
