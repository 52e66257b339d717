package mainjob

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/echonode/echonode/conformance/postgres"
	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/scp"
)

// versionBefore is the commit that this version takes over from while it runs:
// its schema ends with step 32, and it records persons in another form and no
// sums. After a release it is that release. The Makefile reads this line too.
const versionBefore = "d2abd1b9f9a6d1bacfd15c95288be18dbc5fc44b"

// before builds the program as it was, once.
var before = sync.OnceValues(func() (program string, err error) {
	dir := filepath.Join(filepath.Dir(binary), "before") // removed with it
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	unpack := exec.Command("sh", "-c", `git -C "$(git rev-parse --show-toplevel)" archive "$1" | tar -x -C "$2"`, "sh", versionBefore, dir)
	if out, err := unpack.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	program = filepath.Join(dir, "echonode-before")
	build := exec.Command("go", "build", "-buildvcs=false", "-ldflags", "-X main.version=before", "-o", program, "./cmd/echonode")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return program, nil
})

// bornInJanuary gives an object's patient a birth date that the two versions
// record in different forms.
func bornInJanuary(t *testing.T, path string) {
	t.Helper()
	f, err := dicomio.Open(path, dicomio.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var changed bytes.Buffer
	err = dicomio.Write(&changed, f.DataSet.SetString(tag.PatientBirthDate, "19400101"), dicomio.WriteOptions{TransferSyntax: f.TransferSyntax})
	if err := errors.Join(err, f.Close(), os.WriteFile(path, changed.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// Processes of the version before are replaced one by one while studies come in
// over both receivers, are analysed and delivered: in the order that the manual
// gives, those that analyse first. Nothing that was acknowledged is missing,
// everything is done and delivered, and nothing twice. The studies that the old
// ones have reported stay as they are.
func TestRollingUpgrade(t *testing.T) {
	if err := exec.Command("git", "cat-file", "-e", versionBefore+"^{commit}").Run(); err != nil {
		if shallow, gitErr := exec.Command("git", "rev-parse", "--is-shallow-repository").Output(); gitErr == nil && strings.TrimSpace(string(shallow)) == "false" {
			t.Fatalf("the version before is no commit of this clone, which is whole: %v", err)
		}
		t.Skipf("the version before is not in this clone, which is shallow or has no git: %v", err) // make test says so
	}
	old, err := before()
	if err != nil {
		t.Fatal(err)
	}
	database := postgres.Start(t)
	archive := &pacs{objects: map[string]*archived{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &scp.Server{AETitle: "PACS", Handler: archive}
	go func() { _ = srv.Serve(l) }() // ends with the test
	t.Cleanup(func() { _ = srv.Close() })

	first := newNode(t, l.Addr().String())
	first.binary = old
	first.on(database)
	text, err := os.ReadFile(first.config)
	if err != nil {
		t.Fatal(err)
	}
	settings := strings.Replace(string(text), "min_free: 16MiB", fmt.Sprintf(`min_free: 16MiB, objects: {kind: shared, shared: "%s"}`, t.TempDir()), 1) +
		"outputs: {device_uid: \"2.25.329800735698586629295641978511506172918\"}\n"
	all := inRoles(first, settings)
	for _, n := range all {
		n.start()
	}
	outside := *first
	outside.dicom = balance(t, []string{all[0].dicom, all[1].dicom})
	f := &faults{t: t, n: &outside, archive: archive, random: rand.New(rand.NewPCG(1, 1)), dir: t.TempDir(), acknowledged: map[string]map[string]bool{}}
	var sending sync.WaitGroup
	var studies []string
	// send begins to send the next study, half of it over each receiver.
	send := func() {
		var paths []string
		var study string
		for _, number := range []int{7, 8} {
			path, _, uid := copyLoop(t, f.dir, number, 1+len(studies))
			bornInJanuary(t, path)
			paths, study = append(paths, path), uid
		}
		studies = append(studies, study)
		f.mu.Lock()
		f.acknowledged[study] = map[string]bool{}
		f.mu.Unlock()
		sending.Go(func() { f.send(study, paths[:1]) })
		sending.Go(func() { f.send(study, paths[1:]) })
	}
	send()
	sending.Wait()
	f.check(0, studies[0], 2)
	reports := func(study string) (n int) {
		archive.mu.Lock()
		defer archive.mu.Unlock()
		for _, o := range archive.objects {
			if o.study == study && o.modality == "SR" {
				n++
			}
		}
		return n
	}
	reported := reports(studies[0])
	for _, i := range []int{2, 3, 0, 1} { // analyse, analyse and deliver, receive, receive and web
		n := all[i]
		send() // is received, analysed or delivered while one goes
		if i < 2 {
			sending.Wait() // a receiver that goes is one of two
			send()
		}
		if err := n.stop(); err != nil && !errors.As(err, new(*exec.ExitError)) {
			t.Fatalf("an old process: %v", err)
		}
		n.binary = binary
		if err := n.again(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the new process answers", func() bool { return n.health() == n.healthy })
		send() // while old and new work together
		sending.Wait()
	}
	for i, study := range studies {
		f.check(i, study, 2)
	}
	if now := reports(studies[0]); now != reported {
		t.Errorf("the study of the old processes has %d reports, %d before", now, reported)
	}
}
