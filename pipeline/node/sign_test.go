package node

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/echonode/echonode/pipeline/store"
)

// Where the answer to a signature is lost its files stay: it may have been
// recorded, and it is told whether it was.
func TestAnswerToASignatureIsLost(t *testing.T) {
	n := start(t, t.TempDir(), &fakeProcessor{t: t}, Options{})
	n.mustSend(t, picture(t, "1.2.3", "1.2.3.10", 7, nil))
	eventually(t, "analysed", func() bool { return n.status(t, "1.2.3").State == store.Done })
	runs, err := n.store.Runs(t.Context(), "1.2.3")
	if err != nil || len(runs) != 1 {
		t.Fatal(len(runs), err)
	}
	lost := errors.New("the connection went away")
	run := store.Run{StudyInstanceUID: "1.2.3", Revision: 2, Started: time.Now(), Directory: "here", Summary: "{}", Basis: "b"}
	if _, keep, err := n.perhapsSigned(t.Context(), run, lost); keep || !errors.Is(err, lost) {
		t.Errorf("nothing recorded: keep %t, %v", keep, err)
	}
	none := func(*store.Tx, int64, string) error { return nil }
	if _, err := n.store.Sign(t.Context(), store.Review{Verdict: "accepted", User: "u", Signed: time.Now()}, run, runs[0], nil, nil, none); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel() // the reader's browser has left too
	if signed, keep, err := n.perhapsSigned(ended, run, lost); !keep || err != nil || signed.Revision != 2 {
		t.Errorf("recorded: revision %d, keep %t, %v", signed.Revision, keep, err)
	}
	other := run
	other.Directory = "there"
	if _, keep, err := n.perhapsSigned(t.Context(), other, lost); keep || !errors.Is(err, lost) {
		t.Errorf("another reader's: keep %t, %v", keep, err)
	}
	n.stop()
	if _, keep, err := n.perhapsSigned(t.Context(), run, lost); !keep || !errors.Is(err, lost) {
		t.Errorf("nobody knows: keep %t, %v", keep, err)
	}
}
