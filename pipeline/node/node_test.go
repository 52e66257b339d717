package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/instance"
	"github.com/echonode/echonode/pipeline/internal/jobs"
	"github.com/echonode/echonode/pipeline/kept"
	"github.com/echonode/echonode/pipeline/objects"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/pipeline/spool"
	"github.com/echonode/echonode/pipeline/store"
	"github.com/echonode/echonode/scp"
)

// writeObject makes a small object of a study as a Part 10 file.
func writeObject(t *testing.T, dir, study, sop string, edit func(*dicomio.DataSet)) string {
	t.Helper()
	ds := dicomio.NewDataSet()
	ds.SetString(tag.SOPClassUID, uid.UltrasoundMultiFrameImageStorage)
	ds.SetString(tag.SOPInstanceUID, sop)
	ds.SetString(tag.StudyInstanceUID, study)
	ds.SetString(tag.SeriesInstanceUID, study+".1")
	ds.SetString(tag.Modality, "US")
	if edit != nil {
		edit(ds)
	}
	path := filepath.Join(dir, sop+".dcm")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(dicomio.Write(f, ds, dicomio.WriteOptions{TransferSyntax: uid.ExplicitVRLittleEndian}), f.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// fakeProcessor stands for the analysis: it keeps an empty result for every
// loop, and writes one report. block, fail, panics and started concern the
// combination of a study; look concerns loops.
type fakeProcessor struct {
	t       *testing.T
	look    func(ctx context.Context, req LoopRequest) (Seen, error) // nil: all is well
	basis   string
	width   int // loops at a time, 2 when 0
	looked  []string
	gaveUp  []string
	block   chan struct{} // when set, Process waits for it or for the context
	fail    error
	panics  bool
	mu      sync.Mutex
	calls   []Request
	started chan struct{}
}

func (p *fakeProcessor) Basis() (loop, outputs string) {
	return "network " + p.basis, "outputs " + p.basis
}

func (p *fakeProcessor) Loops() int {
	if p.width > 0 {
		return p.width
	}
	return 2
}

func (p *fakeProcessor) Look(ctx context.Context, req LoopRequest) (Seen, error) {
	p.mu.Lock()
	p.looked = append(p.looked, req.SOPInstanceUID)
	p.mu.Unlock()
	seen := Seen{Key: req.SOPInstanceUID + p.basis}
	if p.look != nil {
		var err error
		if seen, err = p.look(ctx, req); err != nil {
			return seen, err
		}
		if seen.Key == "" {
			seen.Key = req.SOPInstanceUID + p.basis
		}
	}
	return seen, req.Kept.Save(ctx, seen.Key, &result.Loop{SOPInstanceUID: req.SOPInstanceUID, Number: req.Number})
}

func (p *fakeProcessor) GiveUp(ctx context.Context, req LoopRequest, why string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gaveUp = append(p.gaveUp, req.SOPInstanceUID+": "+why)
	key := req.SOPInstanceUID + "-given-up"
	return key, req.Kept.Save(ctx, key, &result.Loop{SOPInstanceUID: req.SOPInstanceUID, Status: result.Failed})
}

// seen lists the loops that were looked at, in order.
func (p *fakeProcessor) seen() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.looked)
}

func (p *fakeProcessor) Process(ctx context.Context, req Request) (*result.Document, error) {
	p.mu.Lock()
	p.calls = append(p.calls, req)
	p.mu.Unlock()
	if p.started != nil {
		p.started <- struct{}{}
	}
	if p.block != nil {
		select {
		case <-p.block:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if p.panics {
		panic("index out of range")
	}
	if p.fail != nil {
		return nil, p.fail
	}
	for i, l := range req.Loops {
		if _, err := l.Kept.Load(ctx, req.Keys[i]); err != nil {
			return nil, err
		}
	}
	report := instance.UID("test report", p.basis, req.StudyInstanceUID, fmt.Sprint(req.Revision))
	path := writeObject(p.t, req.Dir, req.StudyInstanceUID, report, func(ds *dicomio.DataSet) {
		ds.SetString(tag.SOPClassUID, uid.ComprehensiveSRStorage)
		ds.SetString(tag.Modality, "SR")
	})
	return &result.Document{Studies: []result.Study{{StudyInstanceUID: req.StudyInstanceUID, Measurements: []result.Measurement{},
		Outputs: []result.Output{{Kind: result.KindReport, File: path, SOPClassUID: uid.ComprehensiveSRStorage, SOPInstanceUID: report}}}}}, nil
}

func (p *fakeProcessor) requests() []Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Request(nil), p.calls...)
}

// archive is a PACS: it counts what it stored, and can refuse.
type archive struct {
	mu     sync.Mutex
	got    map[string]int
	refuse error
}

func (a *archive) Store(_ context.Context, req *scp.StoreRequest, r io.Reader) error {
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.refuse != nil {
		return a.refuse
	}
	if a.got == nil {
		a.got = map[string]int{}
	}
	a.got[req.SOPInstanceUID]++
	return nil
}

func (a *archive) objects() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.got)
}

// listen serves a handler on a loopback port until the test ends.
func listen(t *testing.T, title string, h scp.Handler) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &scp.Server{AETitle: title, Handler: h}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
	return l.Addr().String()
}

func destination(name, addr string) Destination {
	return Destination{Name: name, Address: addr, Dialer: &scp.Dialer{CallingAE: "ECHONODE", CalledAE: "PACS"}, Kinds: []string{result.KindReport}}
}

// running is a node with its parts, as one process would have them.
type running struct {
	*Node
	addr string
	stop func()
}

// start runs a node on dir; starting it again on the same dir is a restart.
func start(t *testing.T, dir string, p Processor, o Options) *running {
	t.Helper()
	return startLogging(t, dir, p, o, slog.New(slog.DiscardHandler))
}

// startLogging is start with a log.
func startLogging(t *testing.T, dir string, p Processor, o Options, log *slog.Logger) *running {
	t.Helper()
	return startMeasured(t, dir, p, o, log, nil)
}

// startMeasured is startLogging with metrics.
func startMeasured(t *testing.T, dir string, p Processor, o Options, log *slog.Logger, metrics *Metrics) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	st, err := store.Open(ctx, filepath.Join(dir, "node.db"))
	if err != nil {
		t.Fatal(err)
	}
	var sp spool.Intake
	closeSpool := func() error { return nil }
	if o.Scratch = filepath.Join(dir, "scratch"); o.Objects == nil {
		if o.Objects, err = objects.NewFiles(objects.NewDirectory(dir), "", 0); err != nil {
			t.Fatal(err)
		}
		s, err := spool.Open(filepath.Join(dir, "spool"), spool.Options{MinFree: -1})
		if err != nil {
			t.Fatal(err)
		}
		sp, closeSpool = s, s.Close
	} else {
		r, err := spool.OpenRelay(filepath.Join(dir, "arriving"), o.Objects, spool.Options{MinFree: -1})
		if err != nil {
			t.Fatal(err)
		}
		sp, closeSpool = r, r.Close
	}
	if o.Idle == 0 {
		o.Idle = 200 * time.Millisecond
	}
	if o.Cap == 0 {
		o.Cap = time.Minute
	}
	if o.Attempts == 0 {
		o.Attempts = 2
	}
	if o.Deliveries == 0 {
		o.Deliveries = 10_000 // a test that wants an end of them says so
	}
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	if o.RetryFirst == 0 {
		o.RetryFirst, o.RetryMax = 10*time.Millisecond, 50*time.Millisecond
	}
	n, err := New(ctx, o, sp, st, p, metrics, log)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &scp.Server{AETitle: "ECHONODE", Handler: n.Handler(false), Observer: metrics.Observer(), Policy: scp.AccessList{CalledAETitles: []string{"ECHONODE"}}}
	served, ran := make(chan error, 1), make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	go func() { ran <- n.Run(ctx) }()
	r := &running{Node: n, addr: l.Addr().String()}
	var once sync.Once
	r.stop = func() {
		once.Do(func() {
			if err := srv.Close(); err != nil {
				t.Error(err)
			}
			<-served
			cancel()
			if err := <-ran; err != nil {
				t.Error(err)
			}
			if err := errors.Join(closeSpool(), st.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(r.stop)
	return r
}

func (r *running) send(t *testing.T, paths ...string) []scp.SendResult {
	t.Helper()
	var sources []scp.ObjectSource
	for _, p := range paths {
		sources = append(sources, scp.FileSource(p))
	}
	d := &scp.Dialer{CallingAE: "CART", CalledAE: "ECHONODE"}
	results, err := d.SendAll(context.Background(), r.addr, sources, nil)
	if err != nil {
		t.Fatal(err)
	}
	return results
}

func (r *running) mustSend(t *testing.T, paths ...string) {
	t.Helper()
	for _, res := range r.send(t, paths...) {
		if res.Err != nil {
			t.Fatal(res.Err)
		}
	}
}

func (r *running) status(t *testing.T, study string) StudyStatus {
	t.Helper()
	s, _, err := StatusPage(context.Background(), r.store, store.Query{UID: study})
	if err != nil {
		t.Fatal(err)
	}
	return s[0]
}

// patience is for what must come true, on however slow a machine.
const patience = 3 * time.Minute

// eventually waits for a condition that must come true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not within %v: %s", patience, what)
}

// complete queues what has come of studies for which no association is open,
// however long they have to be quiet.
func (r *running) complete(t *testing.T) {
	t.Helper()
	was := r.setIdle(0)
	defer r.setIdle(was)
	if err := r.queueComplete(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// setIdle changes how long a study has to be quiet, and returns what it was.
func (r *running) setIdle(d time.Duration) (was time.Duration) {
	r.arrivals.mu.Lock()
	defer r.arrivals.mu.Unlock()
	was, r.arrivals.idle = r.arrivals.idle, d
	return was
}

// passes sends a loop of another study and waits for its results: what came before
// it and had anything to begin has begun it.
func (r *running) passes(t *testing.T, study string) {
	t.Helper()
	r.mustSend(t, writeObject(t, t.TempDir(), study, study+".1", nil))
	eventually(t, study+" has passed", func() bool { return r.status(t, study).Finished() })
}

// looksRound waits until the loops that may be looked at have been asked for.
func (r *running) looksRound(t *testing.T) {
	t.Helper()
	for range 2 { // the first may have been asked before
		r.wakeLookers()
		eventually(t, "asked for loops", func() bool { return len(r.wake) == 0 })
	}
}

func TestStudyComesBackAsReport(t *testing.T) {
	dir, pacs := t.TempDir(), &archive{}
	p := &fakeProcessor{t: t}
	n := start(t, dir, p, Options{Destinations: []Destination{destination("pacs", listen(t, "PACS", pacs))}})
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.10", nil), writeObject(t, dir, "1.2.3", "1.2.3.11", nil))
	eventually(t, "report delivered", func() bool { return n.status(t, "1.2.3").Finished() && pacs.objects() == 1 })
	s := n.status(t, "1.2.3")
	if s.Objects != 2 || len(s.Runs) != 1 || s.Deliveries[0].State != store.Sent || s.Deliveries[0].Attempts != 1 {
		t.Errorf("status = %+v", s)
	}
	if got := len(p.requests()[0].Loops); got != 2 {
		t.Errorf("analysis saw %d loops, want both objects", got)
	}

	// The same objects again are acknowledged and change nothing.
	n.mustSend(t, filepath.Join(dir, "1.2.3.10.dcm"))
	// A PACS that forwards everything returns the report: not analysed.
	report := filepath.Join(s.Runs[0].Directory, s.Deliveries[0].SOPInstanceUID+".dcm")
	n.mustSend(t, report)
	n.passes(t, "1.2.4")
	if s := n.status(t, "1.2.3"); s.State != store.Done || s.Objects != 2 || len(p.requests()) != 2 {
		t.Errorf("after repeats: %+v with %d analyses", s, len(p.requests()))
	}

	// A late loop leads to a new run that knows its predecessor.
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.12", nil))
	eventually(t, "second report", func() bool { return pacs.objects() == 3 })
	req := p.requests()[2]
	if len(req.Loops) != 3 || req.Revision != 2 || req.Predecessor == nil || req.Predecessor.SOPInstanceUID != s.Deliveries[0].SOPInstanceUID {
		t.Errorf("second run = %+v", req)
	}
}

func TestStudyWaitsForItsAssociation(t *testing.T) {
	dir := t.TempDir()
	p := &fakeProcessor{t: t}
	n := start(t, dir, p, Options{})
	path := writeObject(t, dir, "1.2.3", "1.2.3.10", nil)
	ctx := context.Background()
	d := &scp.Dialer{CallingAE: "CART", CalledAE: "ECHONODE"}
	c, err := d.Dial(ctx, n.addr,
		[]scp.PresentationContext{{AbstractSyntax: uid.UltrasoundMultiFrameImageStorage, TransferSyntaxes: []string{uid.ExplicitVRLittleEndian}}})
	if err != nil {
		t.Fatal(err)
	}
	o, err := scp.FileObject(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Store(ctx, o); err != nil {
		t.Fatal(err)
	}
	n.passes(t, "1.2.4") // the idle time is over, the association is open
	if s := n.status(t, "1.2.3"); s.State != store.Receiving {
		t.Fatalf("study is %s while its association is open", s.State)
	}
	if err := errors.Join(c.Release(ctx), o.Close()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "analysis after release", func() bool { return n.status(t, "1.2.3").State == store.Done })
}

func TestOneBadDestinationDoesNotHoldUpAnother(t *testing.T) {
	dir, good := t.TempDir(), &archive{}
	bad := &archive{refuse: &scp.StatusError{Status: 0xA700, Comment: "disk full at noon"}}
	n := start(t, dir, &fakeProcessor{t: t}, Options{Deliveries: 2, Destinations: []Destination{
		destination("bad", listen(t, "PACS", bad)), destination("good", listen(t, "PACS", good))}})
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.10", nil))
	eventually(t, "good destination served, bad one given up", func() bool { return n.status(t, "1.2.3").Finished() })
	for _, d := range n.status(t, "1.2.3").Deliveries {
		switch d.Destination {
		case "good":
			if d.State != store.Sent {
				t.Errorf("good: %+v", d)
			}
		case "bad":
			if d.State != store.Dead || d.Status == nil || *d.Status != 0xA700 || d.Comment != "disk full at noon" || d.Attempts != 2 {
				t.Errorf("bad: %+v, want dead after two attempts with the peer's words", d)
			}
		}
	}
	// A person restarts the dead delivery once the disk is emptied.
	bad.mu.Lock()
	bad.refuse = nil
	bad.mu.Unlock()
	if count, err := n.Retry(context.Background(), "1.2.3"); err != nil || count != 1 {
		t.Fatalf("Retry = %d, %v", count, err)
	}
	eventually(t, "restarted delivery", func() bool { return bad.objects() == 1 })
}

// A node that is stopped in the middle of an analysis goes on at its next
// start, without the peer's help.
func TestRestartGoesOn(t *testing.T) {
	dir, pacs := t.TempDir(), &archive{}
	dest := []Destination{destination("pacs", listen(t, "PACS", pacs))}
	first := &fakeProcessor{t: t, block: make(chan struct{}), started: make(chan struct{}, 1)}
	n := start(t, dir, first, Options{Destinations: dest})
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.10", nil))
	<-first.started
	n.stop()
	second := &fakeProcessor{t: t}
	start(t, dir, second, Options{Destinations: dest})
	eventually(t, "report after restart", func() bool { return pacs.objects() == 1 })
	if got := second.requests(); len(got) != 1 || got[0].Revision != 1 {
		t.Errorf("after restart: %d analyses, want the same revision once", len(got))
	}
}

func TestFailingAnalysisEndsAsFailed(t *testing.T) {
	dir := t.TempDir()
	p := &fakeProcessor{t: t, fail: errors.New("no space left for results")}
	n := start(t, dir, p, Options{Attempts: 1})
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.10", nil))
	eventually(t, "study failed", func() bool { return n.status(t, "1.2.3").State == store.Failed })
	if s := n.status(t, "1.2.3"); s.Error != "no space left for results" {
		t.Errorf("error = %q", s.Error)
	}
	if err := n.Reanalyse(context.Background(), "1.2.3"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "second try", func() bool { return len(p.requests()) == 2 })
}

func TestPanicEndsAsFailed(t *testing.T) {
	dir := t.TempDir()
	n := start(t, dir, &fakeProcessor{t: t, panics: true}, Options{Attempts: 1})
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.10", nil))
	eventually(t, "study failed", func() bool { return n.status(t, "1.2.3").State == store.Failed })
	if s := n.status(t, "1.2.3"); !strings.Contains(s.Error, "index out of range") {
		t.Errorf("error = %q", s.Error)
	}
}

func TestUnreadableObjectIsRefusedAndLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	n := start(t, dir, &fakeProcessor{t: t}, Options{})
	bad := writeObject(t, dir, "1.2.3", "1.2.3.10", func(ds *dicomio.DataSet) { ds.Delete(tag.StudyInstanceUID) })
	res := n.send(t, bad)[0]
	var status *scp.StatusError
	if !errors.As(res.Err, &status) || status.Status != scp.StatusCannotUnderstand {
		t.Fatalf("send = %v, want status C000H", res.Err)
	}
	kept := 0
	if err := n.spool.Each(t.Context(), func(string) error { kept++; return nil }); err != nil || kept != 0 {
		t.Errorf("%d objects kept in the spool, %v", kept, err)
	}
}

// forget drops the record of a study as if it had never been written.
func forget(t *testing.T, n *running, study string) {
	t.Helper()
	if _, err := n.store.SQLite().Exec(`DELETE FROM studies WHERE study_uid = ?`, study); err != nil {
		t.Fatal(err)
	}
}

// Objects that were written but not recorded when the process died are found
// again at the next start.
func TestSpoolIsTakenUpAtStart(t *testing.T) {
	dir := t.TempDir()
	n := start(t, dir, &fakeProcessor{t: t}, Options{Idle: time.Hour, Cap: 2 * time.Hour})
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.10", nil))
	forget(t, n, "1.2.3")
	n.stop()
	p := &fakeProcessor{t: t}
	start(t, dir, p, Options{})
	eventually(t, "recovered object analysed", func() bool { return len(p.requests()) == 1 })
}

func TestRetention(t *testing.T) {
	dir, pacs := t.TempDir(), &archive{}
	n := start(t, dir, &fakeProcessor{t: t}, Options{Destinations: []Destination{destination("pacs", listen(t, "PACS", pacs))}})
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.10", nil))
	eventually(t, "delivered", func() bool { return n.status(t, "1.2.3").Finished() })
	results := n.status(t, "1.2.3").Runs[0].Directory
	if err := n.removeExpired(context.Background(), store.Retention{Done: time.Now().Add(time.Minute)}); err != nil {
		t.Fatal(err)
	}
	kept := 0
	if err := n.spool.Each(t.Context(), func(string) error { kept++; return nil }); err != nil || kept != 0 {
		t.Errorf("%d objects left, %v", kept, err)
	}
	if _, err := os.Stat(results); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("results are still there: %v", err)
	}
	if _, err := n.store.Study(context.Background(), "1.2.3"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("study record: %v", err)
	}
}

// A study that comes again after its time is reported with what was sent of it
// before as predecessor, in every form; that of another patient is none.
func TestPredecessorAfterRetention(t *testing.T) {
	for _, c := range []struct {
		name  string
		again func(*dicomio.DataSet) // the second time
		named bool
	}{
		{"the same patient", nil, true},
		{"another patient", func(ds *dicomio.DataSet) { ds.SetString(tag.PatientID, "P2") }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, own := t.TempDir(), destination("importer", listen(t, "PACS", &archive{}))
			own.Own = true
			p := inForms{&fakeProcessor{t: t}}
			n := start(t, dir, p, Options{Destinations: []Destination{destination("pacs", listen(t, "PACS", &archive{})), own}})
			defer n.stop()
			finished := func() bool {
				s, err := n.store.Study(t.Context(), "1.2.3")
				return err == nil && s.State == store.Done && n.status(t, "1.2.3").Finished()
			}
			n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.10", nil))
			eventually(t, "delivered", finished)
			if err := n.removeExpired(t.Context(), store.Retention{Done: time.Now().Add(time.Minute)}); err != nil {
				t.Fatal(err)
			}
			n.mustSend(t, writeObject(t, t.TempDir(), "1.2.3", "1.2.3.11", c.again))
			eventually(t, "delivered again", finished)
			last := p.requests()[1]
			if p.requests()[0].RemovedBefore || last.RemovedBefore != c.named {
				t.Errorf("removed before: %v, then %v", p.requests()[0].RemovedBefore, last.RemovedBefore)
			}
			if !c.named {
				if last.Predecessor != nil || len(last.Own) > 0 {
					t.Errorf("another patient's report is a predecessor: %+v, %+v", last.Predecessor, last.Own)
				}
				return
			}
			former := last.Predecessor
			if former == nil || former.SOPInstanceUID != instance.UID("test report", "", "1.2.3", "1") || former.SeriesInstanceUID == "" ||
				former.SOPClassUID != uid.ComprehensiveSRStorage || former.Path != "" {
				t.Errorf("predecessor %+v", former)
			}
			if importer := last.Own["importer"]; importer == nil || importer.SOPInstanceUID != instance.UID(result.KindReport, "importer", "1") {
				t.Errorf("predecessors of own form %+v", last.Own)
			}
		})
	}
}

// receiver takes commitment reports that come on a new association.
type receiver struct{ got chan *scp.CommitResult }

func (r *receiver) Store(context.Context, *scp.StoreRequest, io.Reader) error {
	return &scp.StatusError{Status: scp.StatusSOPClassUnsupported}
}

func (r *receiver) CommitReported(_ context.Context, _ *scp.AssociationInfo, result *scp.CommitResult) error {
	r.got <- result
	return nil
}

func TestStorageCommitment(t *testing.T) {
	dir := t.TempDir()
	modality := &receiver{got: make(chan *scp.CommitResult, 1)}
	peer := Peer{Address: listen(t, "CART", modality), Dialer: &scp.Dialer{CallingAE: "ECHONODE", CalledAE: "CART"}}
	n := start(t, dir, &fakeProcessor{t: t}, Options{Idle: time.Hour, Cap: 2 * time.Hour, CommitPeers: map[string]Peer{"CART": peer}})
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.10", nil))
	// Recorded, but the file has gone: nothing to commit to.
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.11", nil))
	if gone, err := n.store.Instance(context.Background(), "1.2.3.11"); err != nil || os.Remove(gone.Path) != nil {
		t.Fatal(gone, err)
	}
	addr := listen(t, "ECHONODE", &Committing{n.Node})
	ctx := context.Background()
	us := uid.UltrasoundMultiFrameImageStorage
	refs := []scp.Reference{{SOPClassUID: us, SOPInstanceUID: "1.2.3.10"}, {SOPClassUID: us, SOPInstanceUID: "1.2.3.99"},
		{SOPClassUID: uid.UltrasoundImageStorage, SOPInstanceUID: "1.2.3.10"}, {SOPClassUID: us, SOPInstanceUID: "1.2.3.11"}}
	request := func() *scp.Client {
		t.Helper()
		d := &scp.Dialer{CallingAE: "CART", CalledAE: "ECHONODE"}
		c, err := d.Dial(ctx, addr,
			[]scp.PresentationContext{{AbstractSyntax: uid.StorageCommitmentPushModel, TransferSyntaxes: []string{uid.ImplicitVRLittleEndian}}})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.RequestCommitment(ctx, "1.2.3.4.5", refs); err != nil {
			t.Fatal(err)
		}
		return c
	}
	check := func(result *scp.CommitResult) {
		t.Helper()
		if len(result.Committed) != 1 || result.Committed[0].SOPInstanceUID != "1.2.3.10" || len(result.Failed) != 3 ||
			result.Failed[0].Reason != scp.StatusNoSuchInstance || result.Failed[1].Reason != scp.StatusClassInstance ||
			result.Failed[2].Reason != scp.StatusProcessingFailure {
			t.Errorf("result = %+v", result)
		}
	}
	c := request()
	result, err := c.WaitCommitment(ctx)
	if err != nil {
		t.Fatal(err)
	}
	check(result)
	if err := c.Release(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the job of a report that was delivered is withdrawn", func() bool { return unfinishedJobs(t, n, jobs.KindReport) == 0 })

	// A modality that hangs up gets its report on a new association.
	request().Abort()
	eventually(t, "the report waits as a job", func() bool { return unfinishedJobs(t, n, jobs.KindReport) == 1 })
	if _, err := n.store.SQLite().ExecContext(ctx, `UPDATE river_job SET state = 'available', scheduled_at = datetime('now', '-1 minute') WHERE kind = ?`,
		jobs.KindReport); err != nil {
		t.Fatal(err)
	}
	select {
	case result := <-modality.got:
		check(result)
	case <-time.After(patience):
		t.Fatal("no report on a new association")
	}
}

// unfinishedJobs counts jobs of a kind that have still to run.
func unfinishedJobs(t *testing.T, n *running, kind string) (count int) {
	t.Helper()
	if err := n.store.SQLite().QueryRow(`SELECT count(*) FROM river_job WHERE kind = ? AND state IN ('available','scheduled','retryable','running')`, kind).
		Scan(&count); err != nil {
		t.Fatal(err)
	}
	return count
}

// keyOf is what a loop's result is kept under, as the real processor makes it.
func keyOf(ctx context.Context, req LoopRequest, basis string) (string, error) {
	path, err := req.Objects.File(ctx, req.Path)
	if err != nil {
		return "", err
	}
	return kept.Key(path, basis)
}

// An error that may pass is tried again beyond its attempts for retry_for, at
// growing intervals; what cannot pass is not.
func TestRetryFor(t *testing.T) {
	n := &Node{opt: Options{RetryFor: 72 * time.Hour}}
	full, panicked, patients, loops := errors.New("disk full"), &panicError{"x"}, &PatientsError{2}, &failedLoops{}
	last := jobs.Job{Attempt: 3, MaxAttempts: 3}
	for _, c := range []struct {
		name  string
		err   error
		job   jobs.Job
		age   time.Duration
		final bool
		wait  time.Duration
	}{
		{"an attempt is left", full, jobs.Job{Attempt: 1, MaxAttempts: 3}, time.Minute, false, 0},
		{"attempts are used up", full, last, 2 * time.Minute, false, time.Minute},
		{"at once", full, last, 0, false, 10 * time.Second},
		{"the clock was set back", full, last, -time.Hour, false, 10 * time.Second},
		{"after a day", full, last, 24 * time.Hour, false, 30 * time.Minute},
		{"just before the end", full, last, 72*time.Hour - 1, false, 30 * time.Minute},
		{"the end", full, last, 72 * time.Hour, true, 0},
		{"a panic, an attempt left", panicked, jobs.Job{Attempt: 2, MaxAttempts: 3}, time.Minute, false, 0},
		{"a panic", panicked, last, time.Minute, true, 0},
		{"two patients", patients, jobs.Job{Attempt: 1, MaxAttempts: 3}, 0, true, 0},
		{"no report", fmt.Errorf("x: %w", &UnmakeableError{full}), jobs.Job{Attempt: 1, MaxAttempts: 3}, 0, true, 0},
		{"loops that fail", fmt.Errorf("x: %w", loops), jobs.Job{Attempt: 1, MaxAttempts: 3}, 0, true, 0},
	} {
		if final, wait := n.afterFailure(c.err, c.job, c.age); final != c.final || wait != c.wait {
			t.Errorf("%s: final %v, wait %v; want %v, %v", c.name, final, wait, c.final, c.wait)
		}
	}
}

// A study of which no report can be made is told so at once, and not tried again.
func TestUnmakeableReportIsFinal(t *testing.T) {
	p := &fakeProcessor{t: t, fail: &UnmakeableError{errors.New("frame 4 of a single-frame image")}}
	n := start(t, t.TempDir(), p, Options{Attempts: 3, RetryFor: 72 * time.Hour})
	n.mustSend(t, writeObject(t, t.TempDir(), "1.2.3", "1.2.3.10", nil))
	eventually(t, "failed", func() bool { return n.status(t, "1.2.3").State == store.Failed })
	if s := n.status(t, "1.2.3"); !strings.Contains(s.Error, "no report can be made of the study: frame 4") || len(p.requests()) != 1 {
		t.Errorf("%+v after %d attempts", s, len(p.requests()))
	}
	if count, err := n.outputsFail.told(); count != 0 {
		t.Errorf("the node takes it for a fault of its own: %v", err)
	}
}

// An error that may pass leaves its study queued when all attempts are used up.
func TestPassingErrorWaits(t *testing.T) {
	p := &fakeProcessor{t: t, fail: errors.New("disk full")}
	n := start(t, t.TempDir(), p, Options{Attempts: 1, RetryFor: time.Hour})
	n.mustSend(t, writeObject(t, t.TempDir(), "1.2.3", "1.2.3.10", nil))
	eventually(t, "an attempt", func() bool { return len(p.requests()) > 0 && n.status(t, "1.2.3").Error != "" })
	if s := n.status(t, "1.2.3"); s.State != store.Queued || !strings.Contains(s.Error, "disk full") {
		t.Errorf("%+v", s)
	}
}
