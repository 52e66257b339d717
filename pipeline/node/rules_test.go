package node

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/echonode/echonode/pipeline/deliver"
	"github.com/echonode/echonode/pipeline/dicomweb"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/pipeline/store"
	"github.com/echonode/echonode/scp"
)

// What a destination gets is what its first rule that holds says: here the
// study has nothing measured.
func TestRulesOfDestinations(t *testing.T) {
	dir, pacs, research, night := t.TempDir(), &archive{}, &archive{}, &archive{}
	with := func(name string, a *archive, rules ...deliver.Rule) Destination {
		d := destination(name, listen(t, "PACS", a))
		d.Rules = rules
		return d
	}
	n := start(t, dir, &fakeProcessor{t: t}, Options{Destinations: []Destination{
		with("pacs", pacs, deliver.Rule{When: deliver.Condition{Result: "nothing"}}),
		with("research", research, deliver.Rule{When: deliver.Condition{From: []string{"NOBODY"}}}, deliver.Rule{When: deliver.Condition{Result: "nothing"}, Send: []string{result.KindReport}}),
		with("night", night, deliver.Rule{When: deliver.Condition{Result: "measured"}}),
	}})
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.10", nil))
	eventually(t, "reports delivered", func() bool { return n.status(t, "1.2.3").Finished() && research.objects() == 1 && night.objects() == 1 })
	for _, d := range n.status(t, "1.2.3").Deliveries {
		if d.Destination == "pacs" {
			t.Errorf("something is to go where the rule says nothing: %+v", d)
		}
	}
	if pacs.objects() != 0 {
		t.Errorf("%d objects went where the rule says nothing", pacs.objects())
	}
}

// A DICOMweb destination is one like the others: its refusals are kept in its
// words, its deliveries are restarted.
func TestDICOMwebDestination(t *testing.T) {
	dir, pacs := t.TempDir(), &archive{refuse: &scp.StatusError{Status: 0xA700}}
	path := filepath.Join(dir, "accounts")
	if err := os.WriteFile(path, []byte("ECHONODE:a long secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	accounts, err := dicomweb.ReadAccounts(path)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(&dicomweb.Server{Handler: pacs, Accounts: accounts})
	defer srv.Close()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("a long secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := Destination{Name: "web", Kinds: []string{result.KindReport}, Stow: &deliver.Stow{URL: srv.URL, Authorize: deliver.Bearer(secret)}}
	n := start(t, dir, &fakeProcessor{t: t}, Options{Deliveries: 2, Destinations: []Destination{d}})
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.10", nil))
	eventually(t, "delivery given up", func() bool { return n.status(t, "1.2.3").Finished() })
	got := n.status(t, "1.2.3").Deliveries[0]
	if got.State != store.Dead || got.Status == nil || *got.Status != 0xA700 {
		t.Errorf("refused: %+v", got)
	}
	pacs.mu.Lock()
	pacs.refuse = nil
	pacs.mu.Unlock()
	if count, err := n.Retry(t.Context(), "1.2.3"); err != nil || count != 1 {
		t.Fatalf("Retry = %d, %v", count, err)
	}
	eventually(t, "restarted delivery", func() bool { return pacs.objects() == 1 && n.status(t, "1.2.3").Deliveries[0].State == store.Sent })
}
