package node

import (
	"context"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/pipeline/store"
	"github.com/echonode/echonode/scp"
)

// committer is an archive that loses its first answer and offers storage
// commitment.
type committer struct {
	losing
	mu     sync.Mutex
	asked  []*scp.CommitRequest
	answer func(*scp.CommitRequest) (*scp.CommitAnswer, error)
}

func (c *committer) Store(ctx context.Context, req *scp.StoreRequest, r io.Reader) error {
	return c.losing.Store(ctx, req, r)
}

func (c *committer) Commit(_ context.Context, req *scp.CommitRequest) (*scp.CommitAnswer, error) {
	c.mu.Lock()
	c.asked = append(c.asked, req)
	c.mu.Unlock()
	return c.answer(req)
}

func (c *committer) requests() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.asked)
}

func all(req *scp.CommitRequest) *scp.CommitResult {
	return &scp.CommitResult{TransactionUID: req.TransactionUID, Committed: req.References}
}

func none(req *scp.CommitRequest, reason uint16) *scp.CommitResult {
	r := &scp.CommitResult{TransactionUID: req.TransactionUID}
	for _, ref := range req.References {
		r.Failed = append(r.Failed, scp.FailedReference{Reference: ref, Reason: reason})
	}
	return r
}

// TestCommitmentBeforeASecondSend: what was being sent when its answer was lost
// is sent again only when the archive does not commit to it and the query that
// follows does not find it.
func TestCommitmentBeforeASecondSend(t *testing.T) {
	here := func(r func(*scp.CommitRequest) *scp.CommitResult) func(*scp.CommitRequest) (*scp.CommitAnswer, error) {
		return func(req *scp.CommitRequest) (*scp.CommitAnswer, error) { return &scp.CommitAnswer{Result: r(req)}, nil }
	}
	var node atomic.Pointer[running]
	var reports sync.WaitGroup
	elsewhere := func(report bool) func(*scp.CommitRequest) (*scp.CommitAnswer, error) {
		return func(req *scp.CommitRequest) (*scp.CommitAnswer, error) {
			if report {
				reports.Go(func() {
					d := &scp.Dialer{CallingAE: "PACS", CalledAE: "ECHONODE"}
					if err := d.ReportCommitment(t.Context(), node.Load().addr, all(req)); err != nil {
						t.Errorf("report: %v", err)
					}
				})
			}
			return nil, nil
		}
	}
	for _, c := range []struct {
		name    string
		answer  func(*scp.CommitRequest) (*scp.CommitAnswer, error)
		queries int // that follow; they find nothing
		copies  int
	}{
		{"on the same association", here(all), 0, 1},
		{"on another association", elsewhere(true), 0, 1},
		{"the archive lacks it", here(func(r *scp.CommitRequest) *scp.CommitResult { return none(r, scp.FailureNoSuchInstance) }), 0, 2},
		{"the archive does not say", here(func(r *scp.CommitRequest) *scp.CommitResult { return none(r, scp.FailureResourceLimitation) }), 1, 2},
		{"the archive says both", here(func(r *scp.CommitRequest) *scp.CommitResult {
			both := none(r, scp.FailureNoSuchInstance)
			both.Committed = r.References
			return both
		}), 1, 2},
		{"of another SOP class", here(func(r *scp.CommitRequest) *scp.CommitResult {
			other := &scp.CommitResult{TransactionUID: r.TransactionUID}
			for _, ref := range r.References {
				other.Committed = append(other.Committed, scp.Reference{SOPClassUID: uid.SecondaryCaptureImageStorage, SOPInstanceUID: ref.SOPInstanceUID})
			}
			return other
		}), 1, 2},
		{"refused", func(*scp.CommitRequest) (*scp.CommitAnswer, error) {
			return nil, &scp.StatusError{Status: scp.StatusProcessingFailure}
		}, 1, 2},
		{"no report comes", elsewhere(false), 1, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, pacs := t.TempDir(), &committer{answer: c.answer}
			dest := destination("pacs", listen(t, "PACS", pacs))
			dest.Commitment = time.Minute
			if c.name == "no report comes" {
				dest.Commitment = 500 * time.Millisecond
			}
			n := start(t, dir, &fakeProcessor{t: t}, Options{Destinations: []Destination{dest}})
			defer n.stop()
			defer reports.Wait() // the node takes a report before it has answered it
			node.Store(n)
			var queries atomic.Int32
			n.has = func(context.Context, Destination, []string) (map[string]bool, error) {
				queries.Add(1)
				return nil, nil
			}
			n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.10", nil))
			eventually(t, "delivered", func() bool {
				s := n.status(t, "1.2.3")
				return s.Finished() && len(s.Deliveries) == 1 && s.Deliveries[0].State == store.Sent
			})
			pacs.losing.mu.Lock()
			for uid, count := range pacs.got {
				if count != c.copies {
					t.Errorf("object %s came %d times, want %d", uid, count, c.copies)
				}
			}
			pacs.losing.mu.Unlock()
			if pacs.requests() != 1 || int(queries.Load()) != c.queries {
				t.Errorf("asked %d times for commitment and %d by query, want 1 and %d", pacs.requests(), queries.Load(), c.queries)
			}
			if refs := pacs.asked[0].References; len(refs) != 1 || pacs.got[refs[0].SOPInstanceUID] == 0 || refs[0].SOPClassUID == "" {
				t.Errorf("asked for %v", refs)
			}
		})
	}
}

// A report that comes after a restart ends the doubt all the same; one that
// nobody waits for is taken, so that it does not come again.
func TestReportAfterARestart(t *testing.T) {
	dir := t.TempDir()
	pacs := &committer{answer: func(*scp.CommitRequest) (*scp.CommitAnswer, error) { return nil, nil }}
	dest := destination("pacs", listen(t, "PACS", pacs))
	dest.Commitment = time.Hour
	o := Options{Destinations: []Destination{dest}}
	n := start(t, dir, &fakeProcessor{t: t}, o)
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.10", nil))
	eventually(t, "asked", func() bool { return pacs.requests() == 1 })
	n.stop()
	n = start(t, dir, &fakeProcessor{t: t}, o)
	defer n.stop()
	d := &scp.Dialer{CallingAE: "PACS", CalledAE: "ECHONODE"}
	for range 2 {
		if err := d.ReportCommitment(t.Context(), n.addr, all(pacs.asked[0])); err != nil {
			t.Errorf("report: %v", err)
		}
	}
	eventually(t, "delivered", func() bool {
		s := n.status(t, "1.2.3")
		return len(s.Deliveries) == 1 && s.Deliveries[0].State == store.Sent
	})
	if pacs.requests() != 1 || pacs.objects() != 1 {
		t.Errorf("asked %d times, %d objects came", pacs.requests(), pacs.objects())
	}
}

// The service is offered to those who report only where a destination is asked.
func TestReportsAreTakenWhereAsked(t *testing.T) {
	for _, c := range []struct {
		commits, asks bool
		wants         []bool // as a Committer, as a CommitReceiver
	}{{false, false, []bool{false, false}}, {true, false, []bool{true, false}}, {false, true, []bool{false, true}}, {true, true, []bool{true, true}}} {
		n := &Node{}
		if c.asks {
			n.opt.Destinations = []Destination{{Commitment: time.Second}}
		}
		h := n.Handler(c.commits)
		_, commits := h.(scp.Committer)
		_, receives := h.(scp.CommitReceiver)
		_, watches := h.(scp.AssociationWatcher)
		if !slices.Equal([]bool{commits, receives}, c.wants) || !watches {
			t.Errorf("%+v: commits %v, receives %v, watches %v", c, commits, receives, watches)
		}
	}
}
