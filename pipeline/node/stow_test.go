package node

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/pipeline/deliver"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/pipeline/store"
	"github.com/echonode/echonode/scp"
)

// logged is a log that is written and read at once.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logged) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// service is a DICOMweb destination that answers as it is told.
func service(t *testing.T, answer http.HandlerFunc) Destination {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			t.Error(err)
		}
		answer(w, r)
	}))
	t.Cleanup(srv.Close)
	d := destination("web", "")
	d.Stow = &deliver.Stow{URL: srv.URL}
	return d
}

// What a DICOMweb server writes into a refusal is shown to who asks for the
// study, and not logged.
func TestWordsOfAServiceAreNotLogged(t *testing.T) {
	dir, log := t.TempDir(), &logged{}
	n := startLogging(t, dir, &fakeProcessor{t: t}, Options{Deliveries: 1, Destinations: []Destination{service(t, func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "DOE^JANE is merged", http.StatusInternalServerError)
	})}}, log.logger())
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.10", nil))
	eventually(t, "given up", func() bool { return n.status(t, "1.2.3").Finished() })
	d := n.status(t, "1.2.3").Deliveries[0]
	if d.State != store.Dead || d.Comment != "DOE^JANE is merged" || d.Error != "HTTP 500 Internal Server Error" {
		t.Errorf("delivery %+v", d)
	}
	n.stop()
	if text := log.String(); strings.Contains(text, "DOE") || !strings.Contains(text, "HTTP 500") {
		t.Errorf("log:\n%s", text)
	}
}

// A refused object is not logged as delivered.
func TestRefusalsAreLoggedAsRefusals(t *testing.T) {
	for name, refuse := range map[string]error{"delivered": nil, "refused": &scp.StatusError{Status: scp.StatusOutOfResources}} {
		dir, log := t.TempDir(), &logged{}
		n := startLogging(t, dir, &fakeProcessor{t: t},
			Options{Deliveries: 1, Destinations: []Destination{destination("pacs", listen(t, "PACS", &archive{refuse: refuse}))}}, log.logger())
		n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.10", nil))
		eventually(t, "answered", func() bool { return n.status(t, "1.2.3").Finished() })
		n.stop()
		for _, what := range []string{"delivered", "refused"} {
			if got := strings.Contains(log.String(), "msg="+what+" "); got != (what == name) {
				t.Errorf("%s: %q is in the log: %v\n%s", name, what, got, log)
			}
		}
	}
}

// A DICOMweb service is asked (QIDO-RS) for what was under way when an answer
// was lost; what it does not say that it has is sent again.
func TestLostAnswerOfAService(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(w http.ResponseWriter, uid string)
		stores int32
	}{
		"it has it": {func(w http.ResponseWriter, uid string) {
			io.WriteString(w, `[{"00080018":{"vr":"UI","Value":["`+uid+`"]}}]`)
		}, 1},
		"it has another": {func(w http.ResponseWriter, uid string) {
			io.WriteString(w, `[{"00080018":{"vr":"UI","Value":["1.2"]}}]`)
		}, 2},
		"it has nothing":      {func(w http.ResponseWriter, _ string) { w.WriteHeader(http.StatusNoContent) }, 2},
		"it offers no search": {func(w http.ResponseWriter, _ string) { w.WriteHeader(http.StatusNotFound) }, 2},
		"it talks nonsense":   {func(w http.ResponseWriter, _ string) { io.WriteString(w, "<html>") }, 2},
		"it is broken":        {func(w http.ResponseWriter, _ string) { w.WriteHeader(http.StatusBadGateway) }, 2},
	} {
		t.Run(name, func(t *testing.T) {
			dir, log := t.TempDir(), &logged{}
			var came, asked atomic.Int32
			n := startLogging(t, dir, &fakeProcessor{t: t}, Options{Destinations: []Destination{service(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet {
					asked.Add(1)
					if !strings.HasPrefix(r.URL.Path, "/studies/1.2.3/series/") {
						t.Errorf("asked for %s", r.URL)
					}
					c.answer(w, r.URL.Query().Get("SOPInstanceUID"))
					return
				}
				if came.Add(1) == 1 {
					panic(http.ErrAbortHandler) // the answer is lost
				}
			})}}, log.logger())
			n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.10", nil))
			eventually(t, "delivered", func() bool {
				s := n.status(t, "1.2.3")
				return s.Finished() && len(s.Deliveries) == 1
			})
			// It never says what it has stored; whether it has it, it may.
			want := store.Warning
			if name == "it has it" {
				want = store.Sent
			}
			if d := n.status(t, "1.2.3").Deliveries[0]; d.State != want {
				t.Errorf("%+v, want %s", d, want)
			}
			n.stop()
			if came.Load() != c.stores || asked.Load() == 0 {
				t.Errorf("came %d times, asked %d times\n%s", came.Load(), asked.Load(), log)
			}
		})
	}
}

// several makes an output of each of some kinds beside the report.
type several struct {
	*fakeProcessor
	kinds []string
}

func (p *several) Process(ctx context.Context, req Request) (*result.Document, error) {
	doc, err := p.fakeProcessor.Process(ctx, req)
	if err != nil {
		return nil, err
	}
	outputs := &doc.Studies[0].Outputs
	for i, kind := range p.kinds {
		sop := fmt.Sprintf("%s.9.%d", req.StudyInstanceUID, 100+i)
		path := writeObject(p.t, req.Dir, req.StudyInstanceUID, sop, nil)
		*outputs = append(*outputs, result.Output{Kind: kind, File: path, SOPClassUID: uid.UltrasoundMultiFrameImageStorage, SOPInstanceUID: sop})
	}
	return doc, nil
}

// choking is an archive that ends the association at some objects.
type choking []string

func (c choking) Store(_ context.Context, req *scp.StoreRequest, r io.Reader) error {
	if slices.Contains(c, req.SOPInstanceUID) {
		panic("no memory")
	}
	_, err := io.Copy(io.Discard, r)
	return err
}

// Objects that a destination chokes on each time keep no others from being sent,
// however they are ordered, and what was not tried has not failed.
func TestOthersGoPastWhatAlwaysFails(t *testing.T) {
	kinds := []string{result.KindSummary, result.KindStill, result.KindSegmentation, result.KindOverlay}
	bad := []string{"1.2.3.9.100", "1.2.3.9.101"} // the first two that are sent
	web := destination("web", "")
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		for _, sop := range bad {
			if bytes.Contains(b, []byte(sop)) || r.Method == http.MethodGet {
				w.WriteHeader(http.StatusInternalServerError)
				return
			}
		}
	}))
	t.Cleanup(srv.Close)
	web.Stow = &deliver.Stow{URL: srv.URL}
	for _, d := range []Destination{web, destination("pacs", listen(t, "PACS", choking(bad)))} {
		t.Run(d.Name, func(t *testing.T) {
			d.Kinds, d.Unasked = append([]string{result.KindReport}, kinds...), true
			dir := t.TempDir()
			n := start(t, dir, &several{&fakeProcessor{t: t}, kinds}, Options{Deliveries: 3, Destinations: []Destination{d}})
			n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.10", nil))
			eventually(t, "given up", func() bool { return n.status(t, "1.2.3").Finished() })
			for _, d := range n.status(t, "1.2.3").Deliveries {
				failing := slices.Contains(bad, d.SOPInstanceUID)
				want := 1
				if failing {
					want = 3
				}
				if (d.State == store.Dead) != failing || d.Attempts != want {
					t.Errorf("%s: %s after %d attempts: %s", d.Kind, d.State, d.Attempts, d.Error)
				}
			}
			n.stop()
		})
	}
}

// Of several objects in doubt one whose file is gone does not keep the service from being
// asked for the others, and these from being taken for sent.
func TestInDoubtBesideALostFile(t *testing.T) {
	kinds := []string{result.KindSummary, result.KindOverlay}
	dir := t.TempDir()
	web := destination("web", "")
	var lost, gone atomic.Bool
	var mu sync.Mutex
	came := map[string]int{}
	web.Kinds = append([]string{result.KindReport}, kinds...)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			sop := r.URL.Query().Get("SOPInstanceUID")
			mu.Lock()
			defer mu.Unlock()
			if came[sop] > 0 {
				_, _ = fmt.Fprintf(w, `[{"00080018":{"vr":"UI","Value":["%s"]}}]`, sop)
			}
			return
		}
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		for i, sop := range []string{"1.2.3.9.100", "1.2.3.9.101"} {
			if !bytes.Contains(b, []byte(sop)) {
				continue
			}
			mu.Lock()
			came[sop]++
			mu.Unlock()
			if i == 1 {
				lost.Store(true)
			}
			if !gone.Load() {
				panic(http.ErrAbortHandler) // the answers are lost
			}
		}
	}))
	t.Cleanup(srv.Close)
	web.Stow = &deliver.Stow{URL: srv.URL}
	n := start(t, dir, &several{&fakeProcessor{t: t}, kinds}, Options{Destinations: []Destination{web}, RetryFirst: time.Hour, RetryMax: time.Hour})
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.10", nil))
	eventually(t, "in doubt", func() bool {
		return lost.Load() && !slices.ContainsFunc(n.status(t, "1.2.3").Deliveries, func(d DeliveryStatus) bool { return d.Attempts == 0 })
	})
	outputs, err := n.store.Outputs(t.Context(), "1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range outputs {
		if o.Kind == result.KindSummary {
			if err := os.Remove(o.Path); err != nil {
				t.Fatal(err)
			}
		}
	}
	gone.Store(true)
	deliveries, err := n.store.Deliveries(t.Context(), "1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	_, err = n.attempt(t.Context(), web, deliveries[0].RunID)
	if err == nil {
		t.Error("the lost file was sent")
	}
	mu.Lock()
	defer mu.Unlock()
	for _, d := range n.status(t, "1.2.3").Deliveries {
		if d.Kind == result.KindOverlay && (d.State != store.Sent || came[d.SOPInstanceUID] != 1) {
			t.Errorf("%+v, came %d times", d, came[d.SOPInstanceUID])
		}
	}
}

// What stands where an identifier should be is not repeated: errors are logged.
func TestErrorsHoldNoAttributes(t *testing.T) {
	const stand, words = "1.2.3.77", "DOE^JANE"
	for _, a := range []tag.Tag{tag.SOPClassUID, tag.StudyInstanceUID, tag.SeriesInstanceUID} {
		path := writeObject(t, t.TempDir(), "1.2.3", "1.2.3.10", func(ds *dicomio.DataSet) { ds.SetString(a, stand) })
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		// The last one: that of the data set, not of the meta information.
		copy(b[bytes.LastIndex(b, []byte(stand)):], words)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err = identify(context.Background(), path, &scp.StoreRequest{Association: &scp.AssociationInfo{}, SOPInstanceUID: "1.2.3.10",
			SOPClassUID: uid.UltrasoundMultiFrameImageStorage, TransferSyntaxUID: uid.ExplicitVRLittleEndian})
		if err == nil || strings.Contains(err.Error(), "DOE") {
			t.Errorf("%v: %v", a, err)
		}
	}
	path := writeObject(t, t.TempDir(), "1.2.3", "1.2.3.10", nil)
	for _, req := range []scp.StoreRequest{
		{SOPInstanceUID: "1.2.3.11", SOPClassUID: uid.UltrasoundMultiFrameImageStorage, TransferSyntaxUID: uid.ExplicitVRLittleEndian},
		{SOPInstanceUID: "1.2.3.10", SOPClassUID: uid.UltrasoundMultiFrameImageStorage, TransferSyntaxUID: uid.JPEGBaseline8Bit},
	} {
		req.Association = &scp.AssociationInfo{}
		if _, err := identify(context.Background(), path, &req); err == nil {
			t.Errorf("%s as %s is taken for what it is not", req.SOPInstanceUID, req.TransferSyntaxUID)
		}
	}
}
