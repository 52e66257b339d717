package node

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/instance"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
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
		with("research", research, deliver.Rule{When: deliver.Condition{From: []string{"NOBODY"}}},
			deliver.Rule{When: deliver.Condition{Result: "nothing"}, Send: []string{result.KindReport}}),
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

// inForms is a processor that makes a report for most, one for importers, and a
// picture for all.
type inForms struct{ *fakeProcessor }

func (p inForms) Process(ctx context.Context, req Request) (*result.Document, error) {
	doc, err := p.fakeProcessor.Process(ctx, req)
	if err != nil {
		return nil, err
	}
	outputs := &doc.Studies[0].Outputs
	for _, o := range []result.Output{{Kind: result.KindReport, For: []string{"importer", "importer2"}},
		{Kind: result.KindOverlay, For: []string{"", "importer", "importer2"}}} {
		o.SOPInstanceUID, o.SOPClassUID = instance.UID(o.Kind, o.For[0], fmt.Sprint(req.Revision)), uid.ComprehensiveSRStorage
		o.File = writeObject(p.t, req.Dir, req.StudyInstanceUID, o.SOPInstanceUID, func(ds *dicomio.DataSet) { ds.SetString(tag.SOPClassUID, o.SOPClassUID) })
		*outputs = append(*outputs, o)
	}
	return doc, nil
}

// A destination with outputs of its own form gets those, others do not; the
// reports of each form follow each other; analysing again sends nothing twice.
func TestOwnForms(t *testing.T) {
	archives := map[string]*archive{"pacs": {}, "importer": {}, "importer2": {}}
	var destinations []Destination
	for name, a := range archives {
		d := destination(name, listen(t, "PACS", a))
		d.Own, d.Kinds = name != "pacs", []string{result.KindReport, result.KindOverlay}
		destinations = append(destinations, d)
	}
	p := inForms{&fakeProcessor{t: t}}
	n := start(t, t.TempDir(), p, Options{Destinations: destinations})
	dir := t.TempDir()
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.10", nil))
	finished := func(revision int) func() bool {
		return func() bool {
			s := n.status(t, "1.2.3")
			return s.Finished() && s.Revision == revision
		}
	}
	eventually(t, "delivered", finished(1))
	if w := ask(t, n, http.MethodGet, "/studies?uid=1.2.3", nil); !strings.Contains(w.Body.String(), `"loops_analysed"`) ||
		strings.Contains(w.Body.String(), "outputs_for") {
		t.Errorf("the status page says what is the node's own: %s", w.Body) // which it reads to analyse again
	}
	holds := func(name string, want ...string) {
		t.Helper()
		a := archives[name]
		a.mu.Lock()
		defer a.mu.Unlock()
		if got := slices.Sorted(maps.Keys(a.got)); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
			t.Errorf("%s has %v, want %v", name, got, want)
		}
		for uid, times := range a.got {
			if times != 1 {
				t.Errorf("%s got %s %d times", name, uid, times)
			}
		}
	}
	usual := func(revision string) string { return instance.UID("test report", "", "1.2.3", revision) }
	own := func(revision string) string { return instance.UID(result.KindReport, "importer", revision) }
	shared := func(revision string) string { return instance.UID(result.KindOverlay, "", revision) }
	holds("pacs", usual("1"), shared("1"))
	holds("importer", own("1"), shared("1"))
	holds("importer2", own("1"), shared("1"))
	if err := n.Reanalyse(t.Context(), "1.2.3"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "analysed again", finished(2))
	holds("importer", own("1"), shared("1"))
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.11", nil))
	eventually(t, "a late loop", finished(3))
	holds("pacs", usual("1"), shared("1"), usual("3"), shared("3"))
	holds("importer2", own("1"), shared("1"), own("3"), shared("3"))
	last := p.requests()[len(p.requests())-1]
	if last.Predecessor == nil || last.Predecessor.SOPInstanceUID != usual("1") || last.Own["importer"] == nil || last.Own["importer"].SOPInstanceUID != own("1") {
		t.Errorf("predecessors %+v, %+v", last.Predecessor, last.Own)
	}
}

// Rules go by the network that a study came from.
func TestRulesOfNetworks(t *testing.T) {
	here, elsewhere := &archive{}, &archive{}
	with := func(name string, a *archive, network string) Destination {
		d := destination(name, listen(t, "PACS", a))
		d.Kinds, d.Rules = nil, []deliver.Rule{{When: deliver.Condition{Networks: []string{network}}, Send: []string{result.KindReport}}}
		return d
	}
	n := start(t, t.TempDir(), &fakeProcessor{t: t},
		Options{Destinations: []Destination{with("here", here, "127.0.0.0/8"), with("elsewhere", elsewhere, "10.0.0.0/8")}})
	n.mustSend(t, writeObject(t, t.TempDir(), "1.2.3", "1.2.3.10", nil))
	eventually(t, "delivered", func() bool { return n.status(t, "1.2.3").Finished() && here.objects() == 1 })
	if elsewhere.objects() != 0 {
		t.Error("something went where the rule says nothing")
	}
}
