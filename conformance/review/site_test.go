// Package review runs the built binary with its review page, and opens the
// page in a real, headless Chromium.
package review

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/echonode/echonode/conformance/freeport"
	"github.com/echonode/echonode/conformance/review/browser"
	_ "github.com/echonode/echonode/models/devlibrary"
)

// exampleLoops is the module whose examples are real echo loops.
const exampleLoops = "github.com/grailbio/go-dicom@v0.0.0-20211105193521-b0e216a1c5cd"

const password = "a long enough password"

// binary is the program under test, built once.
var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "echonode-review")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "echonode")
		build := exec.Command("go", "build", "-ldflags", "-X main.version=test", "-o", binary, "github.com/echonode/echonode/cmd/echonode")
		build.Dir = "../.." // the module of the program
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// missing skips a test for want of a tool, unless the tools were promised
// (`make test` installs them), when their absence is a failure.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("ECHONODE_PEERS") == "required" {
		t.Fatalf("%s is missing; run make setup-test", what)
	}
	t.Skipf("%s is missing; make test installs it", what)
}

// loops is the folder of the example loops, "" where there is none.
var loops = sync.OnceValue(func() string {
	cmd := exec.Command("go", "mod", "download", "-json", exampleLoops)
	cmd.Dir = os.TempDir() // outside any module
	out, err := cmd.Output()
	var answer struct{ Dir string }
	if err != nil || json.Unmarshal(out, &answer) != nil || answer.Dir == "" {
		return ""
	}
	return filepath.Join(answer.Dir, "examples")
})

// examples are the files of the example loops.
func examples(t *testing.T) []string {
	t.Helper()
	if loops() == "" {
		missing(t, "the module with the example loops")
	}
	files, err := filepath.Glob(filepath.Join(loops(), "I_*.dcm"))
	if err != nil || len(files) == 0 {
		t.Fatal("no example loops", err)
	}
	// This one is no ultrasound.
	return slices.DeleteFunc(files, func(f string) bool { return strings.HasSuffix(f, "I_000000.dcm") })
}

// site is a running node with an archive that it delivers to.
type site struct {
	t              *testing.T
	dir, config    string
	dicom, status  string
	page           string // address of the review page, with http://
	archive        string // folder of the archive's objects
	archiveAddress string

	mu        sync.Mutex
	processes []*exec.Cmd
	node      *exec.Cmd
	log       *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newSite configures a node and its accounts, and starts both it and the
// archive. The extra text is added to the configuration of the page; {page} in
// it is the page's address, {dir} a folder with a file secret and what is put
// there before the node starts.
func newSite(t *testing.T, review string, before ...func(dir string)) *site {
	t.Helper()
	if browser.Find() == "" {
		missing(t, "chromium")
	}
	s := &site{t: t, dir: t.TempDir(), dicom: freeport.Addr(t), status: freeport.Addr(t), archiveAddress: freeport.Addr(t), log: new(lockedBuffer)}
	page := freeport.Addr(t)
	s.page, s.archive, s.config = "http://"+page, filepath.Join(s.dir, "archive"), filepath.Join(s.dir, "echonode.yaml")
	text := fmt.Sprintf(`dicom: {listen: "%s"}
http: {listen: "%s"}
storage: {directory: "%s", min_free: 16MiB}
study: {idle: 1s, cap: 5m}
delivery: {retry_first: 200ms, retry_max: 1s, timeout: 10s}
destinations:
  - {name: pacs, address: "%s", ae_title: ARCHIVE}
review:
  listen: "%s"
%s`, s.dicom, s.status, filepath.Join(s.dir, "data"), s.archiveAddress, page, strings.NewReplacer("{page}", s.page, "{dir}", s.dir).Replace(review))
	if err := os.WriteFile(filepath.Join(s.dir, "secret"), []byte("a secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, f := range before {
		f(s.dir)
	}
	for _, u := range [][]string{
		{"viewer", "--role", "viewer"},
		{"reader", "--role", "reader", "--person", "Müller^Anna^^Dr.", "--organisation", "City Hospital"},
		{"second", "--role", "reader", "--person", "Roe^Richard", "--organisation", "City Hospital"},
		{"admin", "--role", "administrator"},
	} {
		cmd := exec.Command(binary, append([]string{"user", "add", "-c", s.config}, u...)...)
		cmd.Stdin = strings.NewReader(password + "\n")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("user add %v: %v\n%s", u, err, out)
		}
	}
	t.Cleanup(func() {
		for _, p := range s.processes {
			_ = p.Process.Kill()
			_ = p.Wait()
		}
		if t.Failed() {
			t.Logf("log of the node:\n%s", s.log)
		}
	})
	s.start("archive", s.archive, "--listen", s.archiveAddress)
	s.startNode()
	return s
}

func (s *site) start(args ...string) *exec.Cmd {
	s.t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Stdout, cmd.Stderr = s.log, s.log
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.processes = append(s.processes, cmd)
	return cmd
}

func (s *site) startNode() {
	s.t.Helper()
	s.node = s.start("serve", "-c", s.config)
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		if res, err := http.Get(s.page + "/login"); err == nil {
			_ = res.Body.Close()
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatal("the review page does not answer")
		}
	}
}

// kill ends the node as a power cut would.
func (s *site) kill() {
	s.t.Helper()
	_ = s.node.Process.Signal(syscall.SIGKILL)
	_ = s.node.Wait()
}

// study is what the node says of a study.
type study struct {
	UID        string `json:"study_instance_uid"`
	State      string `json:"state"`
	Revision   int    `json:"revision"`
	Deliveries []struct {
		Kind, State    string
		SOPInstanceUID string `json:"sop_instance_uid"`
	} `json:"deliveries"`
	Runs []struct {
		Revision  int    `json:"revision"`
		Directory string `json:"directory"`
		Summary   struct {
			Measurements []struct {
				Name  string   `json:"name"`
				Value *float64 `json:"value"`
			} `json:"measurements"`
		} `json:"summary"`
	} `json:"runs"`
}

func (s *site) studies() []study {
	s.t.Helper()
	res, err := http.Get("http://" + s.status + "/studies")
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	var out []study
	if err := json.Unmarshal(b, &out); err != nil {
		s.t.Fatal(err, string(b))
	}
	return out
}

// send sends objects and waits until their studies are analysed and delivered.
func (s *site) send(want int, files ...string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	args := append([]string{"send", "--called", "ECHONODE", s.dicom}, files...)
	if out, err := exec.CommandContext(ctx, binary, args...).CombinedOutput(); err != nil {
		s.t.Fatalf("send: %v\n%s", err, out)
	}
	s.settled(want)
}

// settled waits until so many studies are there, and all are done.
func (s *site) settled(want int) {
	s.t.Helper()
	for deadline := time.Now().Add(4 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		done := 0
		for _, st := range s.studies() {
			waiting := false
			for _, d := range st.Deliveries {
				waiting = waiting || d.State == "pending"
			}
			if st.State == "done" && !waiting && len(st.Deliveries) > 0 {
				done++
			}
		}
		if done >= want {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%d of %d studies are done", done, want)
		}
	}
}

// open starts a browser and signs in; the browser's complaints fail the test.
func (s *site) open(user string) *browser.Browser {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	b, err := browser.Open(ctx)
	if err != nil {
		cancel()
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { b.Close(); cancel() })
	if user != "" {
		if err := b.SignIn(s.page, user, password); err != nil {
			s.t.Fatal(err)
		}
	}
	return b
}

// certificate writes cert.pem and key.pem for 127.0.0.1 into a folder.
func certificate(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "collector"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
