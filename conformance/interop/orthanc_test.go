package interop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/echonode/echonode/conformance/freeport"
	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/scp"
)

// orthanc is a running Orthanc that knows our node as the modality "us".
type orthanc struct {
	t    *testing.T
	rest string
	port string // DICOM
}

func startOrthanc(t *testing.T, n *node, options map[string]any) *orthanc {
	t.Helper()
	program := need(t, "Orthanc", "orthanc")
	dir := t.TempDir()
	o := &orthanc{t: t, port: freeport.Port(t)}
	http := freeport.Port(t)
	o.rest = "http://127.0.0.1:" + http
	settings := map[string]any{
		"Name": "interop", "StorageDirectory": dir, "IndexDirectory": dir,
		"HttpPort": json.Number(http), "DicomPort": json.Number(o.port), "DicomAet": "ORTHANC",
		"RemoteAccessAllowed": false, "AuthenticationEnabled": false, "DicomCheckCalledAet": true,
		"DicomModalities":         map[string]any{"us": map[string]any{"AET": "ECHONODE", "Host": n.host, "Port": json.Number(n.port), "AllowStorageCommitment": true, "UseDicomTls": options != nil}},
		"UnknownSopClassAccepted": true, "StableAge": 1, "Plugins": []string{},
		"DicomScuTimeout": 10, "ConcurrentJobs": 1,
	}
	maps.Copy(settings, options)
	config, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "orthanc.json")
	if err := os.WriteFile(path, config, 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, o.port, program, path)
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		if _, err := o.request("GET", "/system", nil); err == nil {
			return o
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func (o *orthanc) request(method, path string, body []byte) ([]byte, error) {
	req, err := http.NewRequest(method, o.rest+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, b)
	}
	return b, err
}

// call fails the test unless Orthanc answers 200, and decodes the answer.
func (o *orthanc) call(method, path string, in, out any) {
	o.t.Helper()
	body, raw := in.([]byte)
	if !raw {
		var err error
		if body, err = json.Marshal(in); err != nil {
			o.t.Fatal(err)
		}
	}
	b, err := o.request(method, path, body)
	if err != nil {
		o.t.Fatal(err)
	}
	if out != nil {
		if err := json.Unmarshal(b, out); err != nil {
			o.t.Fatalf("%s: %v", b, err)
		}
	}
}

// upload puts files into Orthanc and returns its identifiers.
func (o *orthanc) upload(objs []object) (ids []string) {
	o.t.Helper()
	for _, obj := range objs {
		b, err := os.ReadFile(obj.path)
		if err != nil {
			o.t.Fatal(err)
		}
		var answer struct{ ID string }
		o.call("POST", "/instances", b, &answer)
		ids = append(ids, answer.ID)
	}
	return ids
}

func orthancKnows(s string) bool {
	// Orthanc 1.10.1 is linked with DCMTK 3.6.7. Deflated objects it inflates
	// when it sends them.
	return dcmtkKnows(s) && s != deflated
}

func TestOrthancIntoUs(t *testing.T) {
	objs := objects(t, orthancKnows)
	n := startNode(t, nil)
	o := startOrthanc(t, n, nil)
	o.call("POST", "/modalities/us/echo", []byte("{}"), nil)
	o.call("POST", "/modalities/us/store", o.upload(objs), nil)
	n.wantObjects(t, objs)
}

func TestUsIntoOrthanc(t *testing.T) {
	objs := objects(t, orthancKnows)
	n := startNode(t, nil)
	o := startOrthanc(t, n, nil)
	echo(t, dialer("ORTHANC"), hostPort(o.port))
	sendAll(t, dialer("ORTHANC"), hostPort(o.port), objs)
	for _, obj := range objs {
		var ids []string
		var found []struct{ ID, Type string }
		o.call("POST", "/tools/lookup", []byte(obj.instance), &found)
		for _, f := range found {
			if f.Type == "Instance" {
				ids = append(ids, f.ID)
			}
		}
		if len(ids) != 1 {
			t.Errorf("%s: Orthanc has it %d times", obj.name, len(ids))
			continue
		}
		b, err := o.request("GET", "/instances/"+ids[0]+"/file", nil)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "back.dcm")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		sameDataSet(t, obj, path)
	}
	if _, err := dialer("SOMEONE").Dial(timeout(t), hostPort(o.port),
		[]scp.PresentationContext{{AbstractSyntax: usmfClass, TransferSyntaxes: []string{jpegBaseline}}}); err == nil ||
		!strings.Contains(err.Error(), "called AE title not recognized") {
		t.Errorf("wrong called title: %v", err)
	}
}

// TestOrthancAsksForCommitment: Orthanc sends N-ACTION, we report on a new
// association; one object is here, the other is not.
func TestOrthancAsksForCommitment(t *testing.T) {
	objs := objects(t, func(string) bool { return false })
	n := startNode(t, nil)
	o := startOrthanc(t, n, nil)
	var reports sync.WaitGroup
	defer reports.Wait() // Orthanc may have shown a report before it has answered it
	n.answer = func(req *scp.CommitRequest) *scp.CommitAnswer {
		res := &scp.CommitResult{TransactionUID: req.TransactionUID}
		for _, r := range req.References {
			if _, ok := n.entries[r.SOPInstanceUID]; ok {
				res.Committed = append(res.Committed, r)
			} else {
				res.Failed = append(res.Failed, scp.FailedReference{Reference: r, Reason: scp.FailureNoSuchInstance})
			}
		}
		reports.Go(func() {
			// The report may be there before Orthanc has seen the answer to its request;
			// what it does not take is sent again.
			retry := scp.Retry{Attempts: 100, Wait: 100 * time.Millisecond, MaxWait: time.Second}
			if err := dialer("ORTHANC").RetryReport(timeout(t), hostPort(o.port), res, retry); err != nil {
				t.Errorf("report: %v", err)
			}
		})
		return nil
	}
	ids := o.upload(objs)
	o.call("POST", "/modalities/us/store", ids[:1], nil)
	for i, want := range []string{"Success", "Failure"} {
		var ticket struct{ ID string }
		o.call("POST", "/modalities/us/storage-commitment", map[string]any{"Resources": ids[i : i+1]}, &ticket)
		var report struct {
			Status   string
			Success  []struct{ SOPInstanceUID string }
			Failures []struct {
				SOPInstanceUID string
				FailureReason  int
			}
		}
		for deadline := time.Now().Add(patience); report.Status != want; time.Sleep(50 * time.Millisecond) {
			o.call("GET", "/storage-commitment/"+ticket.ID, []byte(nil), &report)
			if time.Now().After(deadline) {
				t.Fatalf("object %d: %+v, want %s", i, report, want)
			}
		}
		t.Logf("%+v", report)
	}
}

// TestWeAskOrthancForCommitment: we send N-ACTION, Orthanc reports on a new
// association to our server.
func TestWeAskOrthancForCommitment(t *testing.T) {
	objs := objects(t, func(string) bool { return false })
	n := startNode(t, nil)
	o := startOrthanc(t, n, nil)
	sendAll(t, dialer("ORTHANC"), hostPort(o.port), objs[:1])
	c, err := dialer("ORTHANC").Dial(timeout(t), hostPort(o.port),
		[]scp.PresentationContext{{AbstractSyntax: uid.StorageCommitmentPushModel, TransferSyntaxes: []string{explicitLittle, uid.ImplicitVRLittleEndian}}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Abort()
	refs := []scp.Reference{{SOPClassUID: objs[0].class, SOPInstanceUID: objs[0].instance}, {SOPClassUID: objs[1].class, SOPInstanceUID: objs[1].instance}}
	if err := c.RequestCommitment(timeout(t), instanceRoot+".99.1", refs); err != nil {
		t.Fatal(err)
	}
	if err := c.Release(timeout(t)); err != nil {
		t.Fatal(err)
	}
	select {
	case r := <-n.reports:
		if r.TransactionUID != instanceRoot+".99.1" || len(r.Committed) != 1 || r.Committed[0] != refs[0] ||
			len(r.Failed) != 1 || r.Failed[0].Reference != refs[1] || r.Failed[0].Reason != scp.FailureNoSuchInstance {
			t.Errorf("report %+v", r)
		}
	case <-time.After(patience):
		t.Error("no report")
	}
}

// TestOrthancTLS sends both ways over TLS with certificates on both sides.
func TestOrthancTLS(t *testing.T) {
	need(t, "Orthanc", "orthanc")
	ca := newAuthority(t)
	ours, _, _ := ca.issue(t, "ECHONODE")
	_, key, cert := ca.issue(t, "ORTHANC")
	objs := objects(t, func(s string) bool { return s == jpegBaseline })
	n := startNode(t, func(s *scp.Server) {
		s.TLSConfig, s.PeerAETitles = scp.ServerTLS(ours, ca.pool), scp.CertificateTitles
	})
	o := startOrthanc(t, n, map[string]any{
		"DicomTlsEnabled": true, "DicomTlsCertificate": cert, "DicomTlsPrivateKey": key, "DicomTlsTrustedCertificates": ca.file,
	})
	o.call("POST", "/modalities/us/echo", []byte("{}"), nil)
	o.call("POST", "/modalities/us/store", o.upload(objs[:3]), nil)
	n.wantObjects(t, objs[:3])

	d := dialer("ORTHANC")
	d.TLSConfig = scp.ClientTLS(&ours, ca.pool)
	echo(t, d, hostPort(o.port))
	sendAll(t, d, hostPort(o.port), objs[3:])
	for _, obj := range objs {
		var found []struct{ ID, Type string }
		o.call("POST", "/tools/lookup", []byte(obj.instance), &found)
		if len(found) == 0 {
			t.Errorf("%s did not arrive", obj.name)
		}
	}
}
