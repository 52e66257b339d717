package store

import (
	"context"
	"slices"
	"testing"
	"time"
)

// What another destination has already is dropped, not sent twice.
func checkRedirect(t *testing.T, s *Store) {
	ctx := context.Background()
	add(t, s, instance("1", "1.1", 1000))
	look(t, s)
	if queued, err := s.Queue(ctx, "1", time.UnixMilli(2000), "basis", noJob); err != nil || !queued {
		t.Fatal(queued, err)
	}
	run, err := s.StartRun(ctx, "1", 1)
	if err != nil {
		t.Fatal(err)
	}
	outputs := []Output{{SOPInstanceUID: "2.1", Kind: "report"}, {SOPInstanceUID: "2.2", Kind: "overlay"}, {SOPInstanceUID: "2.3", Kind: "overlay"}}
	routes := []Route{{Destination: "old", Kinds: []string{"report", "overlay"}}, {Destination: "new", Kinds: []string{"report"}}}
	noDelivery := func(*Tx, int64, string) error { return nil }
	if err := s.FinishRun(ctx, run, outputs, routes, noDelivery); err != nil {
		t.Fatal(err)
	}
	var queues []string
	moved, dropped, err := s.Redirect(ctx, "old", "new", func(_ *Tx, _ int64, d string) error {
		queues = append(queues, d)
		return nil
	})
	if err != nil || moved != 2 || dropped != 1 || !slices.Equal(queues, []string{"new"}) {
		t.Errorf("%d moved, %d dropped, jobs for %v, %v", moved, dropped, queues, err)
	}
	if d, err := s.PendingDeliveries(ctx, run.ID, "new"); err != nil || len(d) != 3 {
		t.Errorf("%d deliveries to the other, %v", len(d), err)
	}
	if n, err := s.DropDeliveries(ctx, "old"); err != nil || n != 0 {
		t.Errorf("%d left of the first, %v", n, err)
	}
}
