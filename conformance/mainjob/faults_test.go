package mainjob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/echonode/echonode/dicomio/tag"

	"github.com/echonode/echonode/conformance/postgres"
	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/scp"
)

// pacs is an archive that can be out of order.
type pacs struct {
	mu      sync.Mutex
	out     bool // refuses everything
	objects map[string]*archived
}

// archived is one object in the archive.
type archived struct {
	study, source, modality string
	predecessors            []string
}

func (p *pacs) Store(_ context.Context, req *scp.StoreRequest, r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	f, err := dicomio.Read(bytes.NewReader(b), int64(len(b)), dicomio.Options{TransferSyntax: req.TransferSyntaxUID})
	if err != nil {
		return err
	}
	defer f.Close()
	a := &archived{study: f.DataSet.String(tag.StudyInstanceUID), modality: f.DataSet.String(tag.Modality)}
	if src := f.DataSet.Items(tag.SourceImageSequence); len(src) > 0 {
		a.source = src[0].String(tag.ReferencedSOPInstanceUID)
	}
	for _, study := range f.DataSet.Items(tag.PredecessorDocumentsSequence) {
		for _, series := range study.Items(tag.ReferencedSeriesSequence) {
			for _, ref := range series.Items(tag.ReferencedSOPSequence) {
				a.predecessors = append(a.predecessors, ref.String(tag.ReferencedSOPInstanceUID))
			}
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.out {
		return &scp.StatusError{Status: scp.StatusOutOfResources, Comment: "out of order"}
	}
	p.objects[req.SOPInstanceUID] = a
	return nil
}

func (p *pacs) setOut(out bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out = out
}

// variant is another UID of the same length, for every k another one: digits of
// its root count up that are not the first of a component. What tells UIDs of
// one root apart stays as it is.
func variant(uid string, k int) string {
	b := []byte(uid)
	for i := len("1.2.840."); i < len(b) && k > 0; i++ {
		if b[i] != '.' && b[i-1] != '.' {
			b[i] = byte('0' + (int(b[i]-'0')+k)%10)
			k /= 10
		}
	}
	return string(b)
}

// copyLoop writes a loop under UIDs of its own and returns those.
func copyLoop(t *testing.T, dir string, number, k int) (path, sop, study string) {
	t.Helper()
	data, err := os.ReadFile(loop(t, number))
	if err != nil {
		t.Fatal(err)
	}
	id, err := dicomio.IdentifyFile(context.Background(), loop(t, number), dicomio.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, uid := range []string{id.SOPInstanceUID, id.StudyInstanceUID} {
		data = bytes.ReplaceAll(data, []byte(uid), []byte(variant(uid, k)))
	}
	path = filepath.Join(dir, fmt.Sprintf("%d-%d.dcm", k, number))
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if id, err = dicomio.IdentifyFile(context.Background(), path, dicomio.Options{}); err != nil {
		t.Fatal(err)
	}
	return path, id.SOPInstanceUID, id.StudyInstanceUID
}

// Rounds of faults at random instants: the node is killed or stopped while it
// receives, analyses and delivers, the archive refuses for a while, two
// associations bring a study's loops in turn, a loop comes late. Afterwards
// nothing that was acknowledged is missing, every study is done and delivered,
// no loop has overlays and no revision has reports under two UIDs. All rounds
// are on one data directory. ECHONODE_ROUNDS says how many (default 4),
// ECHONODE_SEED which.
//
// On PostgreSQL the database also goes away for a while.
func TestFaultRounds(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) { faultRounds(t, 4, nil) })
	t.Run("PostgreSQL", func(t *testing.T) { faultRounds(t, 2, postgres.Start(t)) })
}

func faultRounds(t *testing.T, rounds int, database *postgres.Server) {
	if s := os.Getenv("ECHONODE_ROUNDS"); s != "" {
		rounds = atoi(t, s)
	}
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("ECHONODE_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	archive := &pacs{objects: map[string]*archived{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &scp.Server{AETitle: "PACS", Handler: archive}
	go func() { _ = srv.Serve(l) }() // ends with the test
	t.Cleanup(func() { _ = srv.Close() })
	n := newNode(t, l.Addr().String())
	// Random kills must not exhaust the patience with a loop.
	text, err := os.ReadFile(n.config)
	if err != nil {
		t.Fatal(err)
	}
	text = fmt.Appendf(text, "analysis: {attempts: 20}\n")
	if err := os.WriteFile(n.config, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if database != nil {
		n.on(database)
	}
	f := &faults{t: t, n: n, database: database, archive: archive, random: random, dir: t.TempDir(), acknowledged: map[string]map[string]bool{},
		keep: func(f func()) { f() }}
	n.start()
	if database != nil {
		f.keep = attend(t, []*node{n})
	}
	round := 0
	for ; round < rounds && !lateFor(t, round); round++ {
		f.round(round)
	}
	t.Logf("%d rounds: %d studies, %d kills, %d stops, %d refusing archives, %d late loops, %d times without the database; %d objects in the archive",
		round, len(f.acknowledged), f.kills, f.stops, f.refusals, f.late, f.outages, len(archive.objects))
}

type faults struct {
	t       *testing.T
	n       *node
	archive *pacs
	// database is the server of PostgreSQL, or nil
	database *postgres.Server
	random   *rand.Rand
	dir      string
	// keep has the node's process for itself: see attend
	keep func(func())

	mu           sync.Mutex
	acknowledged map[string]map[string]bool // study → objects

	kills, stops, refusals, late, outages int
}

// send sends files until they are all acknowledged, across deaths of the node.
func (f *faults) send(study string, paths []string) {
	left := slices.Clone(paths)
	for deadline := time.Now().Add(patience); len(left) > 0; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			f.t.Errorf("study %s: %d objects not taken within %v", study, len(left), patience)
			return
		}
		sources := make([]scp.ObjectSource, len(left))
		for i, p := range left {
			sources[i] = scp.FileSource(p)
		}
		d := &scp.Dialer{CallingAE: "CART", CalledAE: "ECHONODE"}
		results, _ := d.SendAll(context.Background(), f.n.dicom, sources, nil) // what failed is in the results
		var again []string
		for i, r := range results {
			if r.Err != nil {
				again = append(again, left[i])
				continue
			}
			f.mu.Lock()
			f.acknowledged[study][left[i]] = true
			f.mu.Unlock()
		}
		left = again
	}
}

// restart ends the node, as a power cut or as the service manager does, and starts
// it again.
func (f *faults) restart() {
	if f.random.IntN(4) == 0 {
		f.stops++
		// It may end with an error, as one does that loses its database while it starts.
		if err := f.n.stop(); err != nil && !errors.As(err, new(*exec.ExitError)) && !errors.Is(err, os.ErrProcessDone) {
			f.t.Error(err)
		}
	} else {
		f.kills++
		f.n.kill()
	}
	if err := f.n.again(); err != nil {
		f.t.Fatal(err)
	}
}

// again starts the node without the clean-up that belongs to its first start.
func (n *node) again() error {
	cmd := exec.Command(n.program(), "serve", "-c", n.config)
	cmd.Stdout, cmd.Stderr = n.log, n.log
	if err := cmd.Start(); err != nil {
		return err
	}
	n.cmd = cmd
	return nil
}

func (f *faults) round(round int) {
	t, random := f.t, f.random
	var sending sync.WaitGroup
	studies := map[string]int{} // loops
	for s := range 1 + random.IntN(2) {
		numbers := []int{7, 8, 9, 10, 19, 20, 21, 22}
		random.Shuffle(len(numbers), func(i, j int) { numbers[i], numbers[j] = numbers[j], numbers[i] })
		numbers = numbers[:2+random.IntN(3)]
		var paths []string
		var study string
		for _, number := range numbers {
			path, _, uid := copyLoop(t, f.dir, number, 1+2*round+s)
			paths, study = append(paths, path), uid
		}
		studies[study] = len(paths)
		f.mu.Lock()
		f.acknowledged[study] = map[string]bool{}
		f.mu.Unlock()
		if random.IntN(3) == 0 {
			f.late++
			last, wait := paths[len(paths)-1], time.Duration(random.IntN(4000))*time.Millisecond
			paths = paths[:len(paths)-1]
			sending.Go(func() { time.Sleep(wait); f.send(study, []string{last}) })
		}
		sending.Go(func() { f.send(study, paths[:len(paths)/2]) })
		sending.Go(func() { f.send(study, paths[len(paths)/2:]) })
	}
	if random.IntN(3) == 0 {
		f.refusals++
		f.archive.setOut(true)
	}
	for range 1 + random.IntN(3) {
		time.Sleep(time.Duration(random.IntN(2500)) * time.Millisecond)
		if f.database != nil && random.IntN(2) == 0 {
			f.outages++
			f.database.Stop()
			time.Sleep(time.Duration(random.IntN(3000)) * time.Millisecond)
			if err := f.database.Run(); err != nil {
				t.Fatal(err)
			}
			continue // the node lives through it, and waits for it when it starts
		}
		f.keep(f.restart)
	}
	sending.Wait()
	f.archive.setOut(false)
	for study, loops := range studies {
		f.check(round, study, loops)
	}
}

// check waits until a study is done and holds the archive against it.
func (f *faults) check(round int, study string, loops int) {
	t := f.t
	t.Helper()
	var a account
	eventually(t, fmt.Sprintf("round %d: study %s done and delivered", round, study), func() bool {
		var err error
		a, err = f.n.accountOf(study)
		return err == nil && a.State == "done" && a.Objects == loops && len(a.Runs) > 0 &&
			!slices.ContainsFunc(a.Deliveries, func(d delivery) bool { return d.State == "pending" })
	})
	f.mu.Lock()
	acknowledged := len(f.acknowledged[study])
	f.mu.Unlock()
	if acknowledged != loops {
		t.Errorf("round %d: study %s: %d of %d loops acknowledged", round, study, acknowledged, loops)
	}
	f.archive.mu.Lock()
	defer f.archive.mu.Unlock()
	kinds := map[string]string{}
	for _, d := range a.Deliveries {
		kinds[d.SOPInstanceUID] = d.Kind
	}
	sources, replaced, reports := map[string]string{}, map[string]string{}, 0
	for uid, o := range f.archive.objects {
		if o.study != study {
			continue
		}
		if kinds[uid] == "" {
			t.Errorf("round %d: study %s: %s (%s) is in the archive and not in the node's account", round, study, uid, o.modality)
		}
		if kinds[uid] == "report" {
			reports++
			for _, p := range o.predecessors {
				if other, twice := replaced[p]; twice {
					t.Errorf("round %d: study %s: reports %s and %s both replace %s", round, study, uid, other, p)
				}
				replaced[p] = uid
			}
			if len(o.predecessors) == 0 {
				if other, twice := replaced[""]; twice {
					t.Errorf("round %d: study %s: reports %s and %s replace nothing", round, study, uid, other)
				}
				replaced[""] = uid
			}
			continue
		}
		if kinds[uid] != "overlay" {
			continue
		}
		if other, twice := sources[o.source]; twice {
			t.Errorf("round %d: study %s: overlays %s and %s of one loop", round, study, uid, other)
		}
		sources[o.source] = uid
	}
	if reports == 0 || reports > len(a.Runs) {
		t.Errorf("round %d: study %s: %d reports of %d runs", round, study, reports, len(a.Runs))
	}
	for _, d := range a.Deliveries {
		if d.State != "sent" && d.State != "warning" {
			t.Errorf("round %d: study %s: %+v", round, study, d)
		} else if f.archive.objects[d.SOPInstanceUID] == nil {
			t.Errorf("round %d: study %s: %s is not in the archive", round, study, d.SOPInstanceUID)
		}
	}
}

// errNoAccount says that the node does not answer or does not know the study.
var errNoAccount = errors.New("no account of the study")
