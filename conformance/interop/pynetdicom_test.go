package interop

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/echonode/echonode/conformance/freeport"
	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/scp"
)

// python returns an interpreter that has pynetdicom: ECHONODE_PYTHON, python3
// of the path, or Debian's.
func python(t *testing.T) string {
	t.Helper()
	for _, p := range []string{os.Getenv("ECHONODE_PYTHON"), "python3", "/usr/bin/python3"} {
		if p != "" && exec.Command(p, "-c", "import pynetdicom").Run() == nil {
			return p
		}
	}
	t.Skip("no Python with pynetdicom; name one in ECHONODE_PYTHON (python3 -m venv x; x/bin/pip install pynetdicom)")
	return ""
}

// pynetdicomSend sends files as bytes, one presentation context for each pair
// of class and syntax; arguments: host, port, called title, CA, certificate and
// key file ("" for no TLS), files. It exits with 1 unless every status is 0.
const pynetdicomSend = `
import ssl, sys
from pydicom import dcmread
from pynetdicom import AE, build_context
host, port, called, ca, cert, key = sys.argv[1], int(sys.argv[2]), *sys.argv[3:7]
files = sys.argv[7:]
tls = None
if ca:
    context = ssl.create_default_context(cafile=ca)
    context.load_cert_chain(cert, key)
    tls = (context, "localhost")
ae = AE(ae_title="PYNETDICOM")
metas = [dcmread(f, stop_before_pixels=True).file_meta for f in files]
pairs = sorted({(m.MediaStorageSOPClassUID, m.TransferSyntaxUID) for m in metas})
ae.requested_contexts = [build_context("1.2.840.10008.1.1")] + [build_context(c, [t]) for c, t in pairs]
assoc = ae.associate(host, port, ae_title=called, tls_args=tls)
if not assoc.is_established:
    sys.exit("no association")
bad = 0
if assoc.send_c_echo().Status != 0:
    bad += 1
for f in files:
    status = assoc.send_c_store(f)
    if not status or status.Status != 0:
        print(f, status)
        bad += 1
assoc.release()
sys.exit(1 if bad else 0)
`

// pynetdicomStore receives into a directory; arguments: port, directory and,
// for TLS with certificates on both sides, CA, certificate and key file.
const pynetdicomStore = `
import ssl, sys, os
from pynetdicom import AE, evt, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts
def store(event):
    with open(os.path.join(sys.argv[2], event.request.AffectedSOPInstanceUID), "wb") as f:
        f.write(event.encoded_dataset())
    return 0
ae = AE(ae_title="PYSTORE")
for c in AllStoragePresentationContexts:
    ae.add_supported_context(c.abstract_syntax, ALL_TRANSFER_SYNTAXES)
ae.add_supported_context("1.2.840.10008.1.1")
tls = None
if len(sys.argv) > 3:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=sys.argv[3])
    tls.load_cert_chain(sys.argv[4], sys.argv[5])
    tls.verify_mode = ssl.CERT_REQUIRED
ae.start_server(("127.0.0.1", int(sys.argv[1])), evt_handlers=[(evt.EVT_C_STORE, store)], ssl_context=tls)
`

// pynetdicomKnows leaves out the high-throughput JPEG 2000 syntaxes, which only
// newer versions have.
func pynetdicomKnows(s string) bool { return !strings.HasPrefix(s, "1.2.840.10008.1.2.4.20") }

func TestPynetdicomIntoUs(t *testing.T) {
	py := python(t)
	objs := objects(t, pynetdicomKnows)
	n := startNode(t, nil)
	run(t, py, append([]string{"-c", pynetdicomSend, n.host, n.port, "ECHONODE", "", "", ""}, paths(objs)...)...)
	n.wantObjects(t, objs)
}

func TestPynetdicomIntoUsTLS(t *testing.T) {
	py := python(t)
	objs := objects(t, pynetdicomKnows)
	ca := newAuthority(t)
	ours, _, _ := ca.issue(t, "ECHONODE")
	_, key, cert := ca.issue(t, "PYNETDICOM")
	n := startNode(t, func(s *scp.Server) {
		s.TLSConfig, s.PeerAETitles = scp.ServerTLS(ours, ca.pool), scp.CertificateTitles
	})
	run(t, py, append([]string{"-c", pynetdicomSend, n.host, n.port, "ECHONODE", ca.file, cert, key}, paths(objs)...)...)
	n.wantObjects(t, objs)
}

func TestUsIntoPynetdicom(t *testing.T) {
	py := python(t)
	// It aborts on a C-STORE of a retired class, also when it accepted the context.
	objs := slices.DeleteFunc(objects(t, pynetdicomKnows), func(o object) bool { return o.class == usmfRetired })
	t.Run("plain", func(t *testing.T) {
		dir, port := t.TempDir(), freeport.Port(t)
		start(t, port, py, "-c", pynetdicomStore, port, dir)
		echo(t, dialer("PYSTORE"), hostPort(port))
		sendAll(t, dialer("PYSTORE"), hostPort(port), objs)
		wantFiles(t, dir, objs)
	})
	t.Run("TLS", func(t *testing.T) {
		ca := newAuthority(t)
		ours, _, _ := ca.issue(t, "ECHONODE")
		_, key, cert := ca.issue(t, "PYSTORE")
		dir, port := t.TempDir(), freeport.Port(t)
		start(t, port, py, "-c", pynetdicomStore, port, dir, ca.file, cert, key)
		d := dialer("PYSTORE")
		d.TLSConfig = scp.ClientTLS(&ours, ca.pool)
		echo(t, d, hostPort(port))
		sendAll(t, d, hostPort(port), objs)
		wantFiles(t, dir, objs)
		d = dialer("PYSTORE")
		d.TLSConfig = scp.ClientTLS(nil, ca.pool)
		if c, err := d.Dial(timeout(t), hostPort(port),
			[]scp.PresentationContext{{AbstractSyntax: uid.Verification, TransferSyntaxes: []string{uid.ImplicitVRLittleEndian}}}); err == nil {
			c.Abort()
			t.Error("associated without a certificate")
		}
	})
}
