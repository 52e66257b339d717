package node

import (
	"net/http"
	"testing"
	"time"

	"github.com/echonode/echonode/pipeline/store"
)

// Who looks after the node ends the sessions of one account, and of nobody else.
func TestSignOut(t *testing.T) {
	n := start(t, t.TempDir(), &fakeProcessor{t: t}, Options{Account: func(name string) (bool, error) { return name == "eve", nil }})
	now := time.Now()
	life := store.Lifetime{Idle: time.Hour, Longest: time.Hour}
	for token, account := range map[string]string{"a": "eve", "b": "eve", "c": "anna"} {
		if err := n.store.OpenSession(t.Context(), token, store.Session{Account: account, Created: now, Seen: now}, life, 10); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []int{2, 0} {
		var answer struct{ Sessions int }
		if w := ask(t, n, http.MethodPost, "/accounts/sign-out?name=Eve", &answer); w.Code != http.StatusOK || answer.Sessions != want {
			t.Errorf("%d, %d sessions ended, want %d", w.Code, answer.Sessions, want)
		}
	}
	if w := ask(t, n, http.MethodPost, "/accounts/sign-out?name=Evee", nil); w.Code != http.StatusNotFound {
		t.Errorf("an account that is not: %d", w.Code)
	}
	if _, err := n.store.Session(t.Context(), "c"); err != nil {
		t.Errorf("the other account's session: %v", err)
	}
	trail, err := n.store.AuditTrail(t.Context(), "", 0, 10)
	if err != nil || len(trail) != 1 || trail[0].User != "eve" || trail[0].Action != "sign-out" {
		t.Errorf("audit trail: %+v, %v", trail, err)
	}
}
