package store

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"
)

// A question for commitment is answered once, for what is in doubt at its own
// destination; a later question takes the place of an earlier one.
func checkCommitments(t *testing.T, s *Store) {
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
	outputs := []Output{{SOPInstanceUID: "2.1", Kind: "report"}, {SOPInstanceUID: "2.2", Kind: "report"},
		{SOPInstanceUID: "2.3", Kind: "report"}, {SOPInstanceUID: "2.4", Kind: "report"}}
	routes := []Route{{Destination: "pacs", Kinds: []string{"report"}}, {Destination: "other", Kinds: []string{"report"}}}
	if err := s.FinishRun(ctx, run, outputs, routes, func(*Tx, int64, string) error { return nil }); err != nil {
		t.Fatal(err)
	}
	for _, uid := range []string{"2.1", "2.2", "2.3"} { // 2.4 was never sent
		for _, d := range []string{"pacs", "other"} {
			if err := s.Sending(ctx, Delivery{Output: Output{SOPInstanceUID: uid}, RunID: run.ID, Begun: mark(run), Destination: d}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := s.Commitment(ctx, run.ID, "pacs"); !errors.Is(err, ErrNotFound) {
		t.Errorf("before it is asked: %v", err)
	}
	asked := time.UnixMilli(5000)
	former := Commitment{RunID: run.ID, Destination: "pacs", TransactionUID: "9.1", Asked: asked}
	now := Commitment{RunID: run.ID, Destination: "pacs", TransactionUID: "9.2", Asked: asked}
	for _, c := range []Commitment{former, now, {RunID: run.ID, Destination: "other", TransactionUID: "9.3", Asked: asked}} {
		if err := s.AskCommitment(ctx, c); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := s.Commitment(ctx, run.ID, "pacs"); err != nil || got != now {
		t.Errorf("%+v, %v", got, err)
	}
	if sent, err := s.AnswerCommitment(ctx, former, []string{"2.1"}, nil); !errors.Is(err, ErrNotFound) || len(sent) > 0 {
		t.Errorf("a question that was replaced is answered: %v, %v", sent, err)
	}
	sent, err := s.AnswerCommitment(ctx, now, []string{"2.1", "2.4", "7.7"}, []string{"2.2"})
	if err != nil || !slices.Equal(sent, []string{"2.1"}) {
		t.Errorf("sent: %v, %v", sent, err)
	}
	if got, err := s.CommitmentOf(ctx, "9.2"); err != nil || !got.Answered {
		t.Errorf("%+v, %v", got, err)
	}
	if sent, err := s.AnswerCommitment(ctx, now, []string{"2.3"}, nil); !errors.Is(err, ErrNotFound) || len(sent) > 0 {
		t.Errorf("answered twice: %v, %v", sent, err)
	}
	for destination, want := range map[string][]string{"pacs": {"2.3"}, "other": {"2.1", "2.2", "2.3"}} {
		got, err := s.Doubtful(ctx, run.ID, destination)
		slices.Sort(got)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("in doubt at %s: %v, want %v, %v", destination, got, want, err)
		}
	}
	deliveries, err := s.Deliveries(ctx, "1")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range deliveries {
		if want := d.Destination == "pacs" && d.SOPInstanceUID == "2.1"; (d.State == Sent && d.Status != nil && *d.Status == 0) != want {
			t.Errorf("%s at %s is %s", d.SOPInstanceUID, d.Destination, d.State)
		}
	}
	if err := s.EndCommitment(ctx, now); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CommitmentOf(ctx, "9.2"); !errors.Is(err, ErrNotFound) {
		t.Errorf("after its end: %v", err)
	}
	if err := s.Delete(ctx, "1"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CommitmentOf(ctx, "9.3"); !errors.Is(err, ErrNotFound) {
		t.Errorf("after its study has gone: %v", err)
	}
}
