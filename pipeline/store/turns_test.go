package store

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/echonode/echonode/conformance/postgres"
)

// TestTurnsOfProcesses: what a sender may have in work at a time is for each
// process: a second worker takes loops although the first has its share.
func TestTurnsOfProcesses(t *testing.T) {
	ctx, database := t.Context(), postgres.Database(t)
	a, b := open(t, database), open(t, database)
	if err := errors.Join(a.Enter(ctx, Process{ID: "a"}), b.Enter(ctx, Process{ID: "b"})); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		if _, err := a.AddInstance(ctx, Instance{SOPInstanceUID: fmt.Sprintf("1.2.3.%d", i), StudyInstanceUID: "1.2.3", SeriesInstanceUID: "1.2.3.0",
			SOPClassUID: "1.2", Path: fmt.Sprint(i), Sender: "cart", Received: time.Now(), Loop: true}); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		who  *Store
		gets bool
	}{{a, true}, {a, false}, {b, true}, {b, false}} {
		_, err := step.who.LeaseLoop(ctx, time.Now(), true, 1)
		if step.gets && err != nil || !step.gets && !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", step.who.owner(), err)
		}
	}
}
