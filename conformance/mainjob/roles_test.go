package mainjob

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/echonode/echonode/conformance/freeport"
	"github.com/echonode/echonode/conformance/postgres"
	"github.com/echonode/echonode/scp"
)

// balance hands connections to one address on to several in turn, and past those
// that do not answer.
func balance(t *testing.T, to []string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	var turn atomic.Uint32
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer in.Close()
				for range to {
					out, err := net.Dial("tcp", to[int(turn.Add(1))%len(to)])
					if err != nil {
						continue
					}
					defer out.Close()
					go func() { _, _ = io.Copy(out, in); _ = out.Close() }()
					_, _ = io.Copy(in, out)
					return
				}
			}()
		}
	}()
	return l.Addr().String()
}

// Two receivers behind one address, two that analyse, one of which delivers:
// processes on one database and one shared folder, each with a disk of its own.
// One after the other is killed at random instants while studies come in over
// both receivers. Nothing that was acknowledged is missing, every study is done
// and delivered, and nothing is there under two UIDs. ECHONODE_ROUNDS says how
// many rounds (default 1), ECHONODE_SEED which.
func TestRoles(t *testing.T) {
	rounds, seed := 1, uint64(time.Now().UnixNano())
	if s := os.Getenv("ECHONODE_ROUNDS"); s != "" {
		rounds = atoi(t, s)
	}
	if s := os.Getenv("ECHONODE_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("seed %d", seed)
	database := postgres.Start(t)
	archive := &pacs{objects: map[string]*archived{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &scp.Server{AETitle: "PACS", Handler: archive}
	go func() { _ = srv.Serve(l) }() // ends with the test
	t.Cleanup(func() { _ = srv.Close() })

	shared := t.TempDir()
	first := newNode(t, l.Addr().String())
	first.on(database)
	text, err := os.ReadFile(first.config)
	if err != nil {
		t.Fatal(err)
	}
	settings := strings.Replace(string(text), "min_free: 16MiB", fmt.Sprintf(`min_free: 16MiB, objects: {kind: shared, shared: "%s"}`, shared), 1) +
		"analysis: {attempts: 20}\noutputs: {device_uid: \"2.25.329800735698586629295641978511506172918\"}\n"
	var all []*node
	for i, roles := range []string{"receive", "receive, web", "analyse", "analyse, deliver"} {
		n := first
		if i > 0 {
			n = &node{t: t, dir: t.TempDir(), dicom: freeport.Addr(t), http: freeport.Addr(t), archive: first.archive, healthy: first.healthy}
			n.config = filepath.Join(n.dir, "echonode.yaml")
		}
		own := "roles: [" + roles + "]\n" + strings.NewReplacer(first.dicom, n.dicom, first.http, n.http,
			`directory: "`+filepath.Join(first.dir, "data"), `directory: "`+filepath.Join(n.dir, "data")).Replace(settings)
		if err := os.WriteFile(n.config, []byte(own), 0o600); err != nil {
			t.Fatal(err)
		}
		all = append(all, n)
	}
	for _, n := range all {
		n.start()
	}
	// Studies go to one address; the account is asked of one who receives.
	outside := *first
	outside.dicom = balance(t, []string{all[0].dicom, all[1].dicom})
	f := &faults{t: t, n: &outside, archive: archive, random: rand.New(rand.NewPCG(seed, 0)), dir: t.TempDir(), acknowledged: map[string]map[string]bool{}}
	for round := range rounds {
		numbers := []int{7, 8, 9}
		var paths []string
		var study string
		for _, number := range numbers {
			path, _, uid := copyLoop(t, f.dir, number, 1+round)
			paths, study = append(paths, path), uid
		}
		f.acknowledged[study] = map[string]bool{}
		var sending sync.WaitGroup
		sending.Go(func() { f.send(study, paths[:1]) })
		sending.Go(func() { f.send(study, paths[1:]) })
		for _, n := range all {
			time.Sleep(time.Duration(f.random.IntN(1500)) * time.Millisecond)
			f.kills++
			n.kill()
			time.Sleep(time.Duration(f.random.IntN(500)) * time.Millisecond)
			(&faults{t: t, n: n}).again()
		}
		sending.Wait()
		f.check(round, study, len(paths))
	}
	t.Logf("%d rounds, %d kills, %d objects in the archive", rounds, f.kills, len(archive.objects))
}
