package interop

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/echonode/echonode/conformance/freeport"
	"github.com/echonode/echonode/scp"
)

// dicomRS returns a tool of dicom-rs, from the path or ECHONODE_DICOMRS.
func dicomRS(t *testing.T, name string) string {
	t.Helper()
	return need(t, filepath.Join(os.Getenv("ECHONODE_DICOMRS"), name), name)
}

// dicomrsKnows leaves out the one syntax whose data set dicom-rs refuses to
// read back.
func dicomrsKnows(s string) bool { return s != deflated }

func TestDicomRSIntoUs(t *testing.T) {
	storescu := dicomRS(t, "dicom-storescu")
	objs := objects(t, dicomrsKnows)
	n := startNode(t, nil)
	run(t, storescu, append([]string{"--never-transcode", "--fail-first", "--called-ae-title", "ECHONODE", n.addr()}, paths(objs)...)...)
	n.wantObjects(t, objs)
}

func TestUsIntoDicomRS(t *testing.T) {
	storescp := dicomRS(t, "dicom-storescp")
	objs := objects(t, dicomrsKnows)
	dir, port := t.TempDir(), freeport.Port(t)
	start(t, port, storescp, "--non-blocking", "--promiscuous", "-p", port, "-o", dir)
	echo(t, dialer("STORE-SCP"), hostPort(port))
	sendAll(t, dialer("STORE-SCP"), hostPort(port), objs)
	wantFiles(t, dir, objs)
}

// dicomRSTLS skips when a tool was built without TLS (cargo install --features tls).
func dicomRSTLS(t *testing.T, tool string) {
	t.Helper()
	if out, _ := try(t, tool, "--help"); !strings.Contains(out, "--tls") {
		t.Skipf("%s has no TLS", filepath.Base(tool))
	}
}

func TestDicomRSIntoUsTLS(t *testing.T) {
	storescu := dicomRS(t, "dicom-storescu")
	dicomRSTLS(t, storescu)
	objs := objects(t, dicomrsKnows)
	ca := newAuthority(t)
	ours, _, _ := ca.issue(t, "ECHONODE")
	_, key, cert := ca.issue(t, "STORE-SCU")
	n := startNode(t, func(s *scp.Server) {
		s.TLSConfig, s.PeerAETitles = scp.ServerTLS(ours, ca.pool), scp.CertificateTitles
	})
	run(t, storescu, append([]string{"--tls", "--key", key, "--cert", cert, "--add-certs", ca.file,
		"--never-transcode", "--fail-first", "--calling-ae-title", "STORE-SCU", "--called-ae-title", "ECHONODE", n.addr()}, paths(objs)...)...)
	n.wantObjects(t, objs)
}

func TestUsIntoDicomRSTLS(t *testing.T) {
	storescp := dicomRS(t, "dicom-storescp")
	dicomRSTLS(t, storescp)
	objs := objects(t, dicomrsKnows)
	ca := newAuthority(t)
	ours, _, _ := ca.issue(t, "ECHONODE")
	_, key, cert := ca.issue(t, "STORE-SCP")
	dir, port := t.TempDir(), freeport.Port(t)
	start(t, port, storescp, "--tls", "--key", key, "--cert", cert, "--add-certs", ca.file, "--non-blocking", "--promiscuous", "-p", port, "-o", dir)
	d := dialer("STORE-SCP")
	d.TLSConfig = scp.ClientTLS(&ours, ca.pool)
	echo(t, d, hostPort(port))
	sendAll(t, d, hostPort(port), objs)
	wantFiles(t, dir, objs)
}
