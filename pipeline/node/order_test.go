package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/echonode/echonode/dicomio/part10"
	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/pipeline/deliver"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/pipeline/store"
	"github.com/echonode/echonode/scp"
)

// ordered is an archive that notes in which order reports come, and refuses some.
type ordered struct {
	mu     sync.Mutex
	got    []string
	refuse func(sop string) error
}

func (o *ordered) Store(_ context.Context, req *scp.StoreRequest, r io.Reader) error {
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.refuse != nil {
		if err := o.refuse(req.SOPInstanceUID); err != nil {
			return err
		}
	}
	if req.SOPClassUID == uid.ComprehensiveSRStorage {
		o.got = append(o.got, req.SOPInstanceUID)
	}
	return nil
}

func (o *ordered) reports() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.got)
}

// The report of a newer run does not go out before that of an older one that may get
// through soon; one that the destination has refused for good, or that cannot be read,
// gives way, and does not come after it.
func TestReportsGoOutInOrder(t *testing.T) {
	for name, c := range map[string]struct {
		status uint16
		order  []int // of the revisions' reports
	}{
		"out of resources": {0xA700, []int{1, 2}},
		"refused for good": {0x0122, []int{2}},
		"file is gone":     {0xA700, []int{2}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			pacs := &ordered{refuse: func(string) error { return &scp.StatusError{Status: c.status} }}
			p := &fakeProcessor{t: t}
			n := start(t, dir, p, Options{OnArrival: true, Deliveries: 1000, Destinations: []Destination{destination("pacs", listen(t, "PACS", pacs))}})
			n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.10", nil))
			report := map[int]string{}
			made := func(revision int) {
				t.Helper()
				eventually(t, "analysed", func() bool {
					outputs, err := n.store.Outputs(t.Context(), "1.2.3")
					for _, o := range outputs {
						report[o.Revision] = o.SOPInstanceUID
					}
					return err == nil && report[revision] != "" && n.status(t, "1.2.3").State == store.Done
				})
			}
			made(1)
			first := report[1]
			if name == "file is gone" {
				outputs, err := n.store.Outputs(t.Context(), "1.2.3")
				if err != nil || os.Remove(outputs[0].Path) != nil {
					t.Fatal(outputs, err)
				}
			}
			if c.status != 0xA700 {
				pacs.mu.Lock()
				pacs.refuse = func(sop string) error {
					if sop == first {
						return &scp.StatusError{Status: c.status}
					}
					return nil
				}
				pacs.mu.Unlock()
			}
			n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.11", nil))
			made(2)
			if c.status == 0xA700 {
				pacs.mu.Lock()
				pacs.refuse = nil
				pacs.mu.Unlock()
			}
			eventually(t, "delivered", func() bool { return n.status(t, "1.2.3").Finished() && len(pacs.reports()) >= len(c.order) })
			pacs.mu.Lock()
			pacs.refuse = nil // from now on it would take everything
			pacs.mu.Unlock()
			if _, err := n.Retry(t.Context(), "1.2.3"); err != nil {
				t.Fatal(err)
			}
			n.passes(t, "1.2.4")
			eventually(t, "the other one's", func() bool { return len(pacs.reports()) > len(c.order) })
			var want []string
			for _, revision := range c.order {
				want = append(want, report[revision])
			}
			if got := pacs.reports(); !slices.Equal(got[:len(want)], want) || len(got) != len(want)+1 {
				t.Errorf("reports came as %v, want %v and another study's", got, want)
			}
		})
	}
}

// The newer report takes the older one's place as soon as it was taken, whatever else
// of its run the destination refuses.
func TestNewerReportCountsAlone(t *testing.T) {
	dir := t.TempDir()
	pacs := &ordered{refuse: func(string) error { return &scp.StatusError{Status: 0x0122} }}
	d := destination("pacs", listen(t, "PACS", pacs))
	d.Kinds = []string{result.KindReport, result.KindOverlay}
	n := start(t, dir, inForms{&fakeProcessor{t: t}}, Options{OnArrival: true, Deliveries: 1000, Destinations: []Destination{d}})
	of := func(kind string) (uids []string) {
		for _, d := range n.status(t, "1.2.3").Deliveries {
			if d.Kind == kind {
				uids = append(uids, d.SOPInstanceUID)
			}
		}
		return uids
	}
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.10", nil))
	eventually(t, "a report", func() bool { return len(of(result.KindReport)) == 1 })
	older := of(result.KindReport)[0]
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.11", nil))
	eventually(t, "another report", func() bool { return len(of(result.KindReport)) == 2 })
	pacs.mu.Lock()
	newer := slices.DeleteFunc(of(result.KindReport), func(sop string) bool { return sop == older })[0]
	pacs.refuse = func(sop string) error {
		if sop == newer {
			return nil
		}
		return &scp.StatusError{Status: 0x0122}
	}
	pacs.mu.Unlock()
	eventually(t, "the newer one is taken alone", func() bool { return slices.Equal(of(result.KindReport), []string{newer}) })
	if !slices.Equal(pacs.reports(), []string{newer}) || len(of(result.KindOverlay)) == 0 || n.status(t, "1.2.3").Finished() {
		t.Errorf("%v came; %+v", pacs.reports(), n.status(t, "1.2.3").Deliveries)
	}
}

// What holds a newer report back is what may pass soon, and nothing that is the older
// object's own.
func TestWhatGivesWay(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{&scp.StatusError{Status: 0x0122}, true},
		{&scp.StatusError{Status: 0xC000}, true},
		{&scp.StatusError{Status: 0xA700}, false},
		{&scp.ContextError{}, true},
		{&fs.PathError{Op: "open", Path: "report.dcm", Err: fs.ErrNotExist}, true},
		{part10.ErrNotPart10, true},
		{&deliver.HTTPError{Status: 413}, true},
		{&deliver.HTTPError{Status: 409}, true},
		{&deliver.HTTPError{Status: 429}, false},
		{&deliver.HTTPError{Status: 401}, false},
		{&deliver.HTTPError{Status: 503}, false},
		{&net.OpError{Op: "dial", Err: errors.New("refused")}, false},
		{&scp.AbortError{}, false},
		{io.ErrUnexpectedEOF, false},
	} {
		if got := ofItself(fmt.Errorf("sent: %w", c.err)); got != c.want {
			t.Errorf("%v: gives way: %v", c.err, got)
		}
	}
}
