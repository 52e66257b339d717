package jobs

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

// What the queue's library complains of is said when the database answers, and
// not while it does not.
func TestComplaints(t *testing.T) {
	var b bytes.Buffer
	c := newComplaints()
	log := quiet(slog.New(slog.NewTextHandler(&b, nil)), c).With("part", "producer")
	log.Info("started")
	log.Warn("slow")
	for range 2 * maxComplaints {
		log.Error("fetching", "queue", "analysis")
	}
	if got := b.String(); strings.Contains(got, "started") || !strings.Contains(got, "slow") || strings.Contains(got, "fetching") {
		t.Errorf("before the heartbeat:\n%s", got)
	}
	select {
	case <-c.wake:
	default:
		t.Error("the heartbeat is not brought forward")
	}
	c.settle(true)
	c.settle(false)
	if strings.Contains(b.String(), "fetching") {
		t.Errorf("what was dropped was said:\n%s", &b)
	}
	for range 2 * maxComplaints {
		log.Error("fetching", "queue", "analysis")
	}
	c.settle(false)
	if n := strings.Count(b.String(), "level=ERROR msg=fetching part=producer queue=analysis"); n != maxComplaints {
		t.Errorf("%d errors are said, want %d:\n%s", n, maxComplaints, &b)
	}
}
