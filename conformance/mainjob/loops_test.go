package mainjob

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/echonode/echonode/conformance/freeport"
)

// account is the node's own account of its only study.
type account struct {
	State      string
	Revision   int
	Objects    int
	Progress   string
	Runs       []struct{ Revision int }
	Deliveries []delivery
}

type delivery struct {
	Kind, State    string
	Attempts       int
	SOPInstanceUID string `json:"sop_instance_uid"`
}

func (n *node) account() (a account) {
	n.t.Helper()
	res, err := client.Get("http://" + n.http + "/studies")
	if err != nil {
		n.t.Fatal(err)
	}
	defer res.Body.Close()
	var all []account
	if err := json.NewDecoder(res.Body).Decode(&all); err != nil {
		n.t.Fatal(err)
	}
	if len(all) == 1 {
		a = all[0]
	}
	return a
}

// settled waits until a revision is done and delivered.
func (n *node) settled(revision int) account {
	n.t.Helper()
	var a account
	eventually(n.t, fmt.Sprintf("revision %d delivered", revision), func() bool {
		a = n.account()
		return a.Revision == revision && a.State == "done" && !slices.ContainsFunc(a.Deliveries, func(d delivery) bool { return d.State == "pending" })
	})
	return a
}

// objects are what was delivered, by kind.
func (a account) objects(kind string) (uids []string) {
	for _, d := range a.Deliveries {
		if d.Kind == kind {
			uids = append(uids, d.SOPInstanceUID)
		}
	}
	slices.Sort(uids)
	return uids
}

// A late loop adds its overlay and a further report; the overlays that were
// delivered keep their UIDs and are not sent again. A repetition with nothing
// changed makes and sends nothing, and neither does what comes back from the
// archive.
func TestLateLoopAndRepetition(t *testing.T) {
	needTools(t, "storescu", "storescp")
	archive := freeport.Addr(t)
	dir := storescp(t, archive)
	n := newNode(t, archive)
	n.start()
	send := func(paths ...string) {
		t.Helper()
		run(t, "storescu", append([]string{"-xy", "-aec", "ECHONODE", "127.0.0.1", port(t, n.dicom)}, paths...)...)
	}
	send(loop(t, 9), loop(t, 10))
	first := n.settled(1)
	if len(first.objects("report")) != 1 || len(first.objects("overlay")) != 2 {
		t.Fatalf("first: %+v", first)
	}

	res, err := client.Post("http://"+n.http+"/studies/reanalyse?uid="+studyOf(t, n), "", nil)
	if err != nil || res.Body.Close() != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("reanalyse: %v, %v", err, res)
	}
	again := n.settled(2)
	if !slices.Equal(again.objects("report"), first.objects("report")) || !slices.Equal(again.objects("overlay"), first.objects("overlay")) {
		t.Errorf("a repetition made other objects:\n%+v\n%+v", first, again)
	}

	send(loop(t, 11))
	late := n.settled(3)
	if reports := late.objects("report"); len(reports) != 2 {
		t.Errorf("after a late loop there are %d reports", len(reports))
	}
	for _, uid := range first.objects("overlay") {
		if !slices.Contains(late.objects("overlay"), uid) {
			t.Errorf("overlay %s was replaced", uid)
		}
	}
	if len(late.objects("overlay")) != 3 {
		t.Errorf("%d overlays", len(late.objects("overlay")))
	}
	for _, d := range late.Deliveries {
		if d.Attempts != 1 {
			t.Errorf("%s %s was sent %d times", d.Kind, d.SOPInstanceUID, d.Attempts)
		}
	}

	// The archive returns everything, as one that forwards does.
	var files []string
	for _, paths := range received(t, dir) {
		files = append(files, paths...)
	}
	if len(files) != 7 { // two reports and two summaries, three overlays
		t.Fatalf("%d objects in the archive", len(files))
	}
	study := studyOf(t, n)
	send(files...)
	n.passes()
	if a, err := n.accountOf(study); err != nil || a.Revision != 3 || a.State != "done" || a.Objects != 3 {
		t.Errorf("after its own objects came back: %+v", a)
	}
	// A node that does not know them knows them by their content.
	other := newNode(t, archive)
	other.start()
	run(t, "storescu", append([]string{"-xy", "-aec", "ECHONODE", "127.0.0.1", port(t, other.dicom)}, files...)...)
	other.passes()
	if a, err := other.accountOf(study); err != nil || a.Revision != 0 || a.State != "done" || a.Objects != len(files) {
		t.Errorf("another node's objects: %+v", a)
	}
}

// passes sends a loop of a second study and waits until both are done: what was
// sent before and had anything to begin has begun it.
func (n *node) passes() {
	n.t.Helper()
	run(n.t, "storescu", "-xy", "-aec", "ECHONODE", "127.0.0.1", port(n.t, n.dicom), loop(n.t, 4))
	eventually(n.t, "two studies are done", func() bool {
		done := 0
		for _, s := range n.studies() {
			if s.State == "done" {
				done++
			}
		}
		return done == 2
	})
}

func studyOf(t *testing.T, n *node) string {
	t.Helper()
	s := n.studies()
	if len(s) != 1 {
		t.Fatalf("%d studies", len(s))
	}
	return s[0].StudyInstanceUID
}

// Every loop is analysed while its study is still received; the setting
// switches it off.
func TestAnalysisOnArrival(t *testing.T) {
	needTools(t, "storescu")
	var took time.Duration // until both were looked at, where it is on
	for _, on := range []bool{true, false} {
		n := newNode(t, freeport.Addr(t))
		text, err := os.ReadFile(n.config)
		if err != nil {
			t.Fatal(err)
		}
		text = bytes.Replace(text, []byte("idle: 1s, cap: 5m"), []byte("idle: 1h, cap: 2h"), 1)
		text = fmt.Appendf(text, "analysis: {on_arrival: %v}\n", on)
		if err := os.WriteFile(n.config, text, 0o600); err != nil {
			t.Fatal(err)
		}
		n.start()
		sent := time.Now()
		run(t, "storescu", "-xy", "-aec", "ECHONODE", "127.0.0.1", port(t, n.dicom), loop(t, 9), loop(t, 10))
		want := "0/2"
		if on {
			want = "2/2"
			eventually(t, "both loops looked at", func() bool { return n.account().Progress == want })
			took = time.Since(sent)
		} else {
			time.Sleep(2 * took) // nothing says that nothing is done
		}
		if a := n.account(); a.State != "receiving" || a.Progress != want {
			t.Errorf("on_arrival %v: %+v", on, a)
		}
		kept, err := filepath.Glob(filepath.Join(n.dir, "data", "results", "*", "loops", "*.json.gz"))
		if err != nil || on != (len(kept) == 2) {
			t.Errorf("on_arrival %v: kept %s, %v", on, strings.Join(kept, " "), err)
		}
		n.kill()
	}
}

// accountOf is the node's account of one study.
func (n *node) accountOf(study string) (account, error) {
	res, err := client.Get("http://" + n.http + "/studies?uid=" + study)
	if err != nil {
		return account{}, err
	}
	defer res.Body.Close()
	var all []account
	if err := json.NewDecoder(res.Body).Decode(&all); err != nil || len(all) != 1 {
		return account{}, errors.Join(err, errNoAccount)
	}
	return all[0], nil
}
