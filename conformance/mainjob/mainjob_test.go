// Package mainjob runs the built binary against real peers: dcmtk and Orthanc
// send real echo loops and receive the results, dicom3tools and dcmtk judge
// the objects, and the node is killed, starved and misconfigured on the way.
package mainjob

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"

	"github.com/echonode/echonode/conformance/freeport"
	"github.com/echonode/echonode/conformance/postgres"
	"github.com/echonode/echonode/dicomio"
	_ "github.com/echonode/echonode/models/devlibrary"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/sr"
)

// exampleLoops is the module whose examples are real echo loops.
const exampleLoops = "github.com/grailbio/go-dicom@v0.0.0-20211105193521-b0e216a1c5cd"

// binary is the program under test, built once.
var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "echonode-mainjob")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "echonode")
		build := exec.Command("go", "build", "-ldflags", "-X main.version=test", "-o", binary, "github.com/echonode/echonode/cmd/echonode")
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

func needTools(t *testing.T, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			missing(t, tool)
		}
	}
}

// loops is the folder of the example loops, "" where there is none.
var loops = sync.OnceValue(func() string {
	cmd := exec.Command("go", "mod", "download", "-json", exampleLoops)
	cmd.Dir = os.TempDir()
	out, err := cmd.Output()
	var answer struct{ Dir string }
	if err != nil || json.Unmarshal(out, &answer) != nil || answer.Dir == "" {
		return ""
	}
	return filepath.Join(answer.Dir, "examples")
})

// loop is the path of an example loop.
func loop(t *testing.T, number int) string {
	t.Helper()
	if loops() == "" {
		missing(t, "the module with the example loops")
	}
	return filepath.Join(loops(), fmt.Sprintf("I_%06d.dcm", number))
}

func port(t *testing.T, addr string) string {
	t.Helper()
	_, p, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// node is a running `echonode serve`.
type node struct {
	t                    *testing.T
	binary               string // "": the program under test
	dir, config          string
	dicom, http, archive string
	cmd                  *exec.Cmd
	log                  *logged
	healthy              int // the status of /healthz once the node has started
}

// newNode configures a node that delivers to archive (AE title PACS).
func newNode(t *testing.T, archive string) *node {
	t.Helper()
	n := &node{t: t, dir: t.TempDir(), dicom: freeport.Addr(t), http: freeport.Addr(t), archive: archive, healthy: http.StatusOK}
	n.config = filepath.Join(n.dir, "echonode.yaml")
	text := fmt.Sprintf(`dicom: {listen: "%s"}
http: {listen: "%s"}
storage: {directory: "%s", min_free: 16MiB}
study: {idle: 1s, cap: 5m}
delivery: {retry_first: 200ms, retry_max: 1s, timeout: 10s}
destinations:
  - {name: pacs, address: "%s", ae_title: PACS}
`, n.dicom, n.http, filepath.Join(n.dir, "data"), archive)
	if err := os.WriteFile(n.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return n
}

// on puts the node's database on a server.
func (n *node) on(s *postgres.Server) {
	n.t.Helper()
	secret := filepath.Join(n.dir, "password")
	if err := os.WriteFile(secret, []byte(postgres.Password+"\n"), 0o600); err != nil {
		n.t.Fatal(err)
	}
	text, err := os.ReadFile(n.config)
	if err != nil {
		n.t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("storage: {"), fmt.Appendf(nil, `storage: {database: "%s", database_password_file: "%s", `, s.Create(n.t), secret), 1)
	if err := os.WriteFile(n.config, text, 0o600); err != nil {
		n.t.Fatal(err)
	}
}

// logged is what a process has written so far, also while it writes.
type logged struct {
	mu   sync.Mutex
	text []byte
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	return len(p), nil
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}

// start runs the node and waits until it answers.
func (n *node) start() {
	n.t.Helper()
	n.log = new(logged)
	cmd := exec.Command(n.program(), "serve", "-c", n.config)
	cmd.Stdout, cmd.Stderr = n.log, n.log
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.cmd = cmd
	n.t.Cleanup(func() { n.kill() })
	n.t.Cleanup(func() {
		if n.t.Failed() {
			n.kill()
			n.t.Logf("log of the node:\n%s", n.log)
		}
	})
	eventually(n.t, "the node answers", func() bool { return n.health() == n.healthy })
}

func (n *node) program() string {
	if n.binary != "" {
		return n.binary
	}
	return binary
}

// health is the status of the node's own word on its health, 0 while it does not answer.
func (n *node) health() int {
	res, err := client.Get("http://" + n.http + "/healthz")
	if err != nil {
		return 0
	}
	if err := res.Body.Close(); err != nil {
		n.t.Error(err)
	}
	return res.StatusCode
}

// stop ends the node as the service manager does.
func (n *node) stop() error {
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		_ = n.cmd.Wait()
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- n.cmd.Wait() }()
	select {
	case err := <-ended:
		return err
	case <-time.After(patience):
		_ = n.cmd.Process.Kill()
		<-ended
		return errors.New("it does not stop")
	}
}

// kill ends the node as a power cut would.
func (n *node) kill() {
	if n.cmd != nil && n.cmd.ProcessState == nil {
		_ = n.cmd.Process.Kill()
		_ = n.cmd.Wait()
	}
}

// studies is the node's own account.
func (n *node) studies() []struct {
	StudyInstanceUID string `json:"study_instance_uid"`
	State            string
	Objects          int
	Progress         string
	Error            string
	Deliveries       []struct{ Kind, State, Error string }
} {
	n.t.Helper()
	res, err := client.Get("http://" + n.http + "/studies")
	if err != nil {
		n.t.Fatal(err)
	}
	defer res.Body.Close()
	var out []struct {
		StudyInstanceUID string `json:"study_instance_uid"`
		State            string
		Objects          int
		Progress         string
		Error            string
		Deliveries       []struct{ Kind, State, Error string }
	}
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
		n.t.Fatal(err)
	}
	return out
}

// patience is for what must come true, on however slow a machine.
const patience = 5 * time.Minute

// client waits for no answer for ever.
var client = &http.Client{Timeout: patience}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not within %v: %s", patience, what)
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// storescp is dcmtk's receiver on a folder.
func storescp(t *testing.T, addr string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	cmd := exec.Command("storescp", "-od", dir, "-aet", "PACS", "+xa", port(t, addr))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	eventually(t, "storescp listens", func() bool {
		c, err := net.Dial("tcp", addr)
		return err == nil && c.Close() == nil
	})
	return dir
}

// received sorts a receiver's files by modality.
func received(t *testing.T, dir string) map[string][]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		f, err := dicomio.Open(path, dicomio.Options{})
		if err != nil {
			continue // still being written
		}
		if f.Truncated() != nil {
			_ = f.Close() // so is this
			continue
		}
		m := f.DataSet.String(tag.Modality)
		out[m] = append(out[m], path)
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// validate runs the validators that the objects have to pass.
func validate(t *testing.T, path string, report bool) {
	t.Helper()
	out, err := exec.Command("dciodvfy", "-new", path).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "Error") {
			t.Errorf("dciodvfy %s: %s", filepath.Base(path), line)
		}
	}
	if report {
		run(t, "dsrdump", path)
	}
}

// The main job with dcmtk on both sides: an apical pair and loops that must
// be refused go in, a report and overlays that pass the validators come out.
// A second destination gets both in a form of its own.
func TestStudyThroughDCMTK(t *testing.T) {
	needTools(t, "storescu", "storescp", "dciodvfy", "dsrdump")
	archive, importer := freeport.Addr(t), freeport.Addr(t)
	dir, own := storescp(t, archive), storescp(t, importer)
	n := newNode(t, archive)
	config, err := os.ReadFile(n.config)
	if err != nil {
		t.Fatal(err)
	}
	config = fmt.Appendf(config, "  - {name: importer, address: %q, ae_title: PACS, send: [report, overlay], outputs: {code_set: srt, overlay_class: us}}\n",
		importer)
	if err := os.WriteFile(n.config, config, 0o600); err != nil {
		t.Fatal(err)
	}
	n.start()
	run(t, "storescu", "-xy", "-aec", "ECHONODE", "127.0.0.1", port(t, n.dicom), loop(t, 8), loop(t, 9), loop(t, 10), loop(t, 11))
	eventually(t, "report and overlays in the archive", func() bool {
		s := n.studies()
		return len(s) == 1 && s[0].State == "done" && len(s[0].Deliveries) > 0 && len(received(t, dir)["SR"]) == 1 && pending(s[0].Deliveries) == 0
	})
	got := received(t, dir)
	if len(got["US"]) < 3 {
		t.Fatalf("%d pictures arrived, want at least the summary and the overlays of the four- and the two-chamber loop", len(got["US"]))
	}
	for _, path := range got["US"] {
		validate(t, path, false)
		checkOverlay(t, path)
	}
	validate(t, got["SR"][0], true)
	checkReport(t, got["SR"][0])

	at := received(t, own)
	if len(at["SR"]) != 1 || len(at["US"]) != len(got["US"])-1 {
		t.Fatalf("%d reports and %d overlays of their own form", len(at["SR"]), len(at["US"]))
	}
	validate(t, at["SR"][0], true)
	checkReport(t, at["SR"][0])
	for _, c := range []struct{ path, has, hasNot string }{{got["SR"][0], "SCT", "SRT"}, {at["SR"][0], "SRT", "SCT"}} {
		b, err := os.ReadFile(c.path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(b, []byte(c.has)) || bytes.Contains(b, []byte(c.hasNot)) {
			t.Errorf("%s is not coded in %s alone", c.path, c.has)
		}
	}
	for _, path := range at["US"] {
		f, err := dicomio.Open(path, dicomio.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if class := f.DataSet.String(tag.SOPClassUID); class != uid.UltrasoundMultiFrameImageStorage {
			t.Errorf("an overlay of class %s", class)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		validate(t, path, false)
	}
}

func pending(ds []struct{ Kind, State, Error string }) (k int) {
	for _, d := range ds {
		if d.State == "pending" {
			k++
		}
	}
	return k
}

// checkOverlay holds an overlay, or a summary, against the loop it was made from.
func checkOverlay(t *testing.T, path string) {
	t.Helper()
	f, err := dicomio.Open(path, dicomio.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ds := f.DataSet
	src := ds.Items(tag.SourceImageSequence)
	if len(src) == 0 {
		t.Fatalf("%s names no source", path)
	}
	for _, number := range []int{8, 9, 10, 11} {
		s, err := dicomio.Open(loop(t, number), dicomio.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if s.DataSet.String(tag.SOPInstanceUID) == src[0].String(tag.ReferencedSOPInstanceUID) {
			shared := []dicomio.Tag{tag.PatientID, tag.StudyInstanceUID}
			if ds.String(tag.SOPClassUID) != uid.SecondaryCaptureImageStorage { // a summary is one page
				shared = append(shared, tag.NumberOfFrames)
			}
			for _, same := range shared {
				if a, b := ds.String(same), s.DataSet.String(same); a != b {
					t.Errorf("%s: %s is %q, the source has %q", path, tag.Keyword(same), a, b)
				}
			}
			if ds.String(tag.SeriesInstanceUID) == s.DataSet.String(tag.SeriesInstanceUID) {
				t.Errorf("%s is in the source's series", path)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Errorf("%s names a source that was not sent", path)
}

// checkReport reads the report back.
func checkReport(t *testing.T, path string) {
	t.Helper()
	f, err := dicomio.Open(path, dicomio.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if v := f.DataSet.String(tag.VerificationFlag); v != "UNVERIFIED" {
		t.Errorf("verification flag %q", v)
	}
	doc, err := sr.Parse(f.DataSet)
	if err != nil {
		t.Fatal(err)
	}
	if name, version := doc.Algorithm(); name == "" || version == "" {
		t.Errorf("the report names model %q version %q", name, version)
	}
	if len(doc.Measurements()) == 0 {
		t.Error("nothing was measured in an apical pair")
	}
	if len(doc.NotMeasured())+len(doc.Comments()) == 0 {
		t.Error("the report does not say what was not measured")
	}
}

// Orthanc sends a study with its own client and gets the results back.
func TestStudyThroughOrthanc(t *testing.T) {
	needTools(t, "Orthanc")
	archive, web := freeport.Addr(t), freeport.Addr(t)
	n := newNode(t, archive)
	dir := t.TempDir()
	config, err := json.Marshal(map[string]any{
		"Name": "test", "StorageDirectory": dir, "IndexDirectory": dir, "DicomAet": "PACS", "DicomPort": atoi(t, port(t, archive)),
		"HttpPort": atoi(t, port(t, web)), "RemoteAccessAllowed": false, "DicomCheckCalledAet": true, "DicomAlwaysAllowStore": true,
		"DicomModalities": map[string]any{"echonode": []any{"ECHONODE", "127.0.0.1", atoi(t, port(t, n.dicom))}},
	})
	if err != nil {
		t.Fatal(err)
	}
	startOrthanc(t, dir, web, config)
	n.start()
	study := putStudy(t, web)
	var sent any
	call(t, http.MethodPost, "http://"+web+"/modalities/echonode/store", []byte(study), &sent)
	resultsIn(t, web, study)
}

// startOrthanc starts Orthanc in a directory, and waits until it answers.
func startOrthanc(t *testing.T, dir, web string, config []byte) {
	t.Helper()
	path := filepath.Join(dir, "orthanc.json")
	if err := os.WriteFile(path, config, 0o600); err != nil {
		t.Fatal(err)
	}
	orthanc := exec.Command("Orthanc", path)
	if err := orthanc.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = orthanc.Process.Kill()
		_ = orthanc.Wait()
	})
	eventually(t, "Orthanc answers", func() bool {
		res, err := client.Get("http://" + web + "/system")
		return err == nil && res.Body.Close() == nil && res.StatusCode == http.StatusOK
	})
}

// putStudy gives an Orthanc a study of two loops, and returns its name there.
func putStudy(t *testing.T, web string) string {
	t.Helper()
	var stored struct{ ParentStudy string }
	for _, number := range []int{9, 10} {
		b, err := os.ReadFile(loop(t, number))
		if err != nil {
			t.Fatal(err)
		}
		call(t, http.MethodPost, "http://"+web+"/instances", b, &stored)
	}
	return stored.ParentStudy
}

// resultsIn waits until the study's report and an overlay of each loop are there.
func resultsIn(t *testing.T, web, study string) {
	t.Helper()
	eventually(t, "results in Orthanc", func() bool {
		var series []struct {
			MainDicomTags struct{ Modality, SeriesDescription string }
		}
		call(t, http.MethodGet, "http://"+web+"/studies/"+study+"/series", nil, &series)
		reports, overlays := 0, 0
		for _, s := range series {
			switch d := s.MainDicomTags.SeriesDescription; {
			case strings.HasPrefix(d, "AI Echo Measurements"):
				reports++
			case strings.HasPrefix(d, "AI LV A"): // a series for each loop, named by its view
				overlays++
			}
		}
		return reports == 1 && overlays == 2
	})
}

func atoi(t *testing.T, s string) (n int) {
	t.Helper()
	if _, err := fmt.Sscan(s, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

func call(t *testing.T, method, url string, body []byte, v any) {
	t.Helper()
	req, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s: %s", method, url, res.Status, b)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatal(err)
	}
}

// A node that is killed at any moment after it acknowledged the objects goes
// on where it was, while the archive is down at first.
func TestKilledNodeGoesOn(t *testing.T) {
	needTools(t, "dcmsend", "storescp")
	archive := freeport.Addr(t)
	n := newNode(t, archive)
	n.start()
	run(t, "dcmsend", "-aec", "ECHONODE", "127.0.0.1", port(t, n.dicom), loop(t, 9), loop(t, 31))
	for _, moment := range []struct {
		name  string
		ready func() bool
	}{
		{"receiving", func() bool { return len(n.studies()) == 2 }},
		{"analysing", func() bool {
			for _, s := range n.studies() {
				if s.State == "analysing" || s.State == "done" {
					return true
				}
			}
			return false
		}},
		{"delivering", func() bool {
			for _, s := range n.studies() {
				if len(s.Deliveries) > 0 {
					return true
				}
			}
			return false
		}},
	} {
		eventually(t, moment.name, moment.ready)
		n.kill()
		n.start()
	}
	dir := storescp(t, archive)
	eventually(t, "both reports delivered", func() bool { return len(received(t, dir)["SR"]) == 2 })
	eventually(t, "everything answered", func() bool {
		for _, s := range n.studies() {
			if s.State != "done" || pending(s.Deliveries) > 0 {
				return false
			}
		}
		return true
	})
}

// SIGTERM ends the node in order, with exit code 0; the end of the session that
// began it does not.
func TestGracefulStop(t *testing.T) {
	n := newNode(t, freeport.Addr(t))
	n.start()
	if err := n.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the node says that it has heard", func() bool { return strings.Contains(n.log.String(), "SIGHUP changes nothing") })
	if n.health() != http.StatusOK {
		t.Error("not well after SIGHUP")
	}
	if err := n.stop(); err != nil {
		t.Errorf("after SIGTERM: %v\n%s", err, n.log)
	}
	if !strings.Contains(n.log.String(), "EchoNode stopped") {
		t.Errorf("no closing line in the log:\n%s", n.log)
	}
}

// A truncated cine and a study without a usable loop each get an answer, and
// another study is not held up.
func TestBadInputIsAnswered(t *testing.T) {
	needTools(t, "storescp")
	archive := freeport.Addr(t)
	dir := storescp(t, archive)
	n := newNode(t, archive)
	n.start()
	whole, err := os.ReadFile(loop(t, 31))
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(t.TempDir(), "cut.dcm")
	if err := os.WriteFile(cut, whole[:len(whole)*2/3], 0o600); err != nil {
		t.Fatal(err)
	}
	text := filepath.Join(t.TempDir(), "text.dcm")
	if err := os.WriteFile(text, []byte(strings.Repeat("not a DICOM file\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{cut, text} {
		out, code := echonode(t, "send", "--called", "ECHONODE", n.dicom, path)
		if code != 1 || !strings.Contains(out, "not stored") {
			t.Errorf("send %s: exit %d\n%s", filepath.Base(path), code, out)
		}
	}
	if out, code := echonode(t, "send", "--called", "ECHONODE", n.dicom, loop(t, 34), loop(t, 38)); code != 0 {
		t.Fatalf("send: exit %d\n%s", code, out)
	}
	eventually(t, "a report that says why", func() bool { return len(received(t, dir)["SR"]) == 1 })
	f, err := dicomio.Open(received(t, dir)["SR"][0], dicomio.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	doc, err := sr.Parse(f.DataSet)
	if err != nil {
		t.Fatal(err)
	}
	all := fmt.Sprint(doc.Comments(), doc.NotMeasured())
	if len(doc.Measurements()) != 0 || !strings.Contains(all, "M-mode") || !strings.Contains(all, "Doppler") {
		t.Errorf("report of a study without a usable loop: %s", all)
	}
	if out, code := echonode(t, "echo", "--called", "WRONG", n.dicom); code != 1 || !strings.Contains(out, "called AE title not recognized") {
		t.Errorf("echo to a wrong title: exit %d\n%s", code, out)
	}
}

// With less space free than the configuration asks for, objects are refused
// with A700 and the node goes on answering.
func TestFullDiskIsRefused(t *testing.T) {
	n := newNode(t, freeport.Addr(t))
	config, err := os.ReadFile(n.config)
	if err != nil {
		t.Fatal(err)
	}
	config = bytes.Replace(config, []byte("min_free: 16MiB"), []byte("min_free: 4EiB"), 1)
	if err := os.WriteFile(n.config, config, 0o600); err != nil {
		t.Fatal(err)
	}
	n.healthy = http.StatusServiceUnavailable // it says so before it is asked
	n.start()
	if out, code := echonode(t, "send", "--called", "ECHONODE", n.dicom, loop(t, 9)); code != 1 || !strings.Contains(out, "A700") {
		t.Errorf("send to a full node: exit %d\n%s", code, out)
	}
	if out, code := echonode(t, "echo", "--called", "ECHONODE", n.dicom); code != 0 {
		t.Errorf("echo after the refusal: exit %d\n%s", code, out)
	}
}

// Two nodes cannot share a data directory.
func TestDataDirectoryIsLocked(t *testing.T) {
	n := newNode(t, freeport.Addr(t))
	n.start()
	if out, code := echonode(t, "serve", "-c", n.config); code != 1 || !strings.Contains(out, "in use by another node") {
		t.Errorf("second node on the same directory: exit %d\n%s", code, out)
	}
}

// No patient name or number may be in the log at the default level.
func TestLogHoldsNoPatientData(t *testing.T) {
	archive := freeport.Addr(t)
	n := newNode(t, archive)
	n.start()
	if out, code := echonode(t, "send", "--called", "ECHONODE", n.dicom, loop(t, 8)); code != 0 {
		t.Fatalf("send: exit %d\n%s", code, out)
	}
	eventually(t, "analysis", func() bool { s := n.studies(); return len(s) == 1 && s[0].State == "done" })
	f, err := dicomio.Open(loop(t, 8), dicomio.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n.kill()
	for _, secret := range []dicomio.Tag{tag.PatientName, tag.PatientID, tag.AccessionNumber} {
		if v := f.DataSet.String(secret); len(v) > 5 && strings.Contains(n.log.String(), v) {
			t.Errorf("%s stands in the log:\n%s", tag.Keyword(secret), n.log)
		}
	}
}

// echonode runs the program to its end.
func echonode(t *testing.T, args ...string) (output string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, binary, args...).CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return string(out), exit.ExitCode()
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(out), 0
}

func TestCommandLine(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	for name, tc := range map[string]struct {
		args []string
		code int
		want string
	}{
		"help names exit codes":  {[]string{"serve", "--help"}, 0, "Exit codes"},
		"version":                {[]string{"version"}, 0, "echonode test"},
		"default configuration":  {[]string{"check-config"}, 0, "configuration is valid"},
		"unknown key":            {[]string{"check-config", "-c", write("key.yaml", "dicom:\n  ae_tilte: X\n")}, 2, "[2:3]"},
		"serve with unknown key": {[]string{"serve", "-c", write("key2.yaml", "studdy: {}\n")}, 2, "[1:1]"},
		"missing file":           {[]string{"serve", "-c", filepath.Join(dir, "none.yaml")}, 2, "none.yaml"},
		"missing model":          {[]string{"check-config", "-c", write("model.yaml", "analysis:\n  model: /nonexistent/m.onnx\n")}, 2, "/nonexistent/m.onnx"},
		"missing provider":       {[]string{"analyze", "-c", write("cuda.yaml", "analysis:\n  provider: cuda\n"), loop(t, 34)}, 1, "cuda"},
		"port in use":            {[]string{"serve", "-c", write("busy.yaml", fmt.Sprintf("dicom: {listen: %q}\nhttp: {listen: \"\"}\nstorage: {directory: %q}\n", busy.Addr(), filepath.Join(dir, "data")))}, 1, "address already in use"},
		"unknown command":        {[]string{"frobnicate"}, 2, "unknown command"},
		"unknown flag":           {[]string{"serve", "--fast"}, 2, "unknown flag"},
		"too few arguments":      {[]string{"send", "localhost:1"}, 2, "requires at least 2 arg"},
		"nothing to analyse":     {[]string{"analyze", filepath.Join(dir, "none")}, 2, "none"},
		"nobody listens":         {[]string{"echo", "127.0.0.1:1"}, 1, "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			out, code := echonode(t, tc.args...)
			if code != tc.code || !strings.Contains(out, tc.want) {
				t.Errorf("exit %d, want %d and %q in:\n%s", code, tc.code, tc.want, out)
			}
		})
	}
}

// analyze --json gives the documented document, and single frames are analysed.
func TestAnalyzeJSON(t *testing.T) {
	out := t.TempDir()
	cmd := exec.Command(binary, "analyze", "--json", "--quiet", "--out", out, loop(t, 9), loop(t, 34))
	b, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	var doc result.Document
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&doc); err != nil {
		t.Fatal(err)
	}
	if doc.Schema != result.Schema || doc.Model.Version == "" || len(doc.Studies) != 2 {
		t.Fatalf("document: schema %q, model %+v, %d studies", doc.Schema, doc.Model, len(doc.Studies))
	}
	l := doc.Studies[0].Loops[0]
	if l.Status != result.Analysed || l.View != "A4C" || len(l.FrameResults) != l.Frames || len(l.FrameTimes) != l.Frames {
		t.Fatalf("four-chamber loop: status %s, view %s, %d of %d frames", l.Status, l.View, len(l.FrameResults), l.Frames)
	}
	for _, f := range l.FrameResults {
		if len(f.Contour) < 10 || f.LVArea <= 0 {
			t.Errorf("frame %d: %d contour points, area %g", f.Index, len(f.Contour), f.LVArea)
		}
		for _, p := range f.Contour {
			if p[0] < -0.5 || p[1] < -0.5 || p[0] > float64(l.Columns) || p[1] > float64(l.Rows) {
				t.Errorf("frame %d: contour point %v outside %dx%d", f.Index, p, l.Columns, l.Rows)
			}
		}
	}
	if r := doc.Studies[1].Loops[0]; r.Status != result.Refused || r.Reason.Code != result.MMode {
		t.Errorf("M-mode loop: %s %+v", r.Status, r.Reason)
	}
	for _, o := range doc.Studies[0].Outputs {
		if info, err := os.Stat(o.File); err != nil || info.Size() == 0 {
			t.Errorf("output %s: %v", o.File, err)
		}
	}
}
