package node

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/pipeline/store"
)

// An order for several studies moves none where one is unknown, and tells what
// was moved where a later one can't be.
func TestMoveInPart(t *testing.T) {
	n := start(t, t.TempDir(), byContent(t), Options{})
	studies := []string{"1.2.3", "1.2.4", "1.2.5"}
	n.mustSend(t, picture(t, "1.2.3", "1.2.3.10", 7, nil), picture(t, "1.2.4", "1.2.4.10", 8, nil), picture(t, "1.2.5", "1.2.5.10", 9, nil))
	eventually(t, "done", func() bool {
		for _, s := range studies {
			if n.status(t, s).State != store.Done {
				return false
			}
		}
		return true
	})
	post := func(path string, form url.Values) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		n.API().ServeHTTP(w, r)
		return w
	}
	w := post("/studies/move", url.Values{"uid": {"1.2.3", "9.9"}, "to_id": {"P2"}, "reason": {ReasonCorrect}})
	if got := n.stored(t, "1.2.3.10").String(tag.PatientID); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "9.9") || got != "P1" {
		t.Errorf("an unknown study: %d %s; the first is of %s", w.Code, w.Body, got)
	}
	in, err := n.store.Instance(t.Context(), "1.2.4.10")
	if err == nil {
		err = os.Truncate(in.Path, in.Size-9)
	}
	if err != nil {
		t.Fatal(err)
	}
	w = post("/studies/move", url.Values{"uid": studies[1:2], "to_id": {"P2"}, "reason": {ReasonCorrect}})
	if w.Code != http.StatusConflict {
		t.Errorf("a damaged study alone: %d %s", w.Code, w.Body)
	}
	for _, order := range []struct {
		path string
		form url.Values
		to   string
	}{
		{"/studies/move", url.Values{"uid": studies, "reason": {ReasonCorrect}}, "P2"},
		{"/patients/merge", url.Values{"id": {"P1"}, "reason": {ReasonCoerce}}, "P3"},
	} {
		if order.path == "/patients/merge" {
			// The first has to be the patient's again.
			if _, err := n.MoveStudy(t.Context(), "1.2.3", Move{To: Patient{ID: "P1"}, Reason: ReasonCorrect}); err != nil {
				t.Fatal(err)
			}
		}
		order.form.Set("to_id", order.to)
		w := post(order.path, order.form)
		var moves Moves
		if err := json.Unmarshal(w.Body.Bytes(), &moves); err != nil {
			t.Fatalf("%s: %d %s", order.path, w.Code, w.Body)
		}
		if w.Code != http.StatusMultiStatus || len(moves.Studies) != 1 || moves.Studies[0].Study != "1.2.3" || moves.Studies[0].Objects != 1 ||
			!strings.Contains(moves.Error, "study 1.2.4, after 1 of 3") {
			t.Errorf("%s: %d %+v", order.path, w.Code, moves)
		}
		if first, third := n.stored(t, "1.2.3.10").String(tag.PatientID), n.stored(t, "1.2.5.10").String(tag.PatientID); first != order.to || third != "P1" {
			t.Errorf("%s: of %s and %s", order.path, first, third)
		}
	}
}

// What passes by itself is a conflict and no fault of the node.
func TestAnswerOfConflict(t *testing.T) {
	w := httptest.NewRecorder()
	answer(w, nil, errors.Join(conflict("study 1.2 goes on changing"), nil))
	if w.Code != http.StatusConflict {
		t.Errorf("%d", w.Code)
	}
}

// Who orders a move while another one is under way waits no longer than somebody
// wants it: it is not done afterwards, and the audit trail says so.
func TestMoveWaitsNoLongerThanItsOrder(t *testing.T) {
	n := start(t, t.TempDir(), byContent(t), Options{})
	n.mustSend(t, picture(t, "1.2.3", "1.2.3.10", 7, nil))
	n.moving <- struct{}{} // another
	gone := errors.New("the client has gone")
	ctx, leave := context.WithCancelCause(t.Context())
	order := Move{To: Patient{ID: "P2"}, Reason: ReasonCorrect, By: "anna"}
	done := make(chan error, 1)
	go func() {
		_, err := n.MoveStudy(ctx, "1.2.3", order)
		done <- err
	}()
	leave(gone)
	select {
	case err := <-done:
		if !errors.Is(err, gone) {
			t.Errorf("error %v", err)
		}
	case <-time.After(patience):
		t.Fatal("a move waits for another without its context")
	}
	if got := n.stored(t, "1.2.3.10").String(tag.PatientID); got != "P1" {
		t.Errorf("it was moved to %s all the same", got)
	}
	audit, err := n.store.AuditTrail(t.Context(), "1.2.3", 0, 10)
	if err != nil || len(audit) != 1 || !audit[0].Failed || audit[0].User != "anna" {
		t.Errorf("audit trail: %+v, %v", audit, err)
	}
	<-n.moving
	if moved, err := n.MoveStudy(t.Context(), "1.2.3", order); err != nil || moved.Objects != 1 {
		t.Errorf("the next one: %+v, %v", moved, err)
	}
}
