package mainjob

import (
	"bytes"
	endian "encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/echonode/echonode/conformance/freeport"
)

// loser stands between a node and an archive: the answer to the first object is
// lost, and the association with it, once cut is false. It keeps which objects
// are sent.
type loser struct {
	to    string
	mu    sync.Mutex
	cut   bool
	sends []string // SOP Instance UIDs of C-STORE requests
}

// lose starts one before the archive at an address, and returns its own.
func lose(t *testing.T, to string) (*loser, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	x := &loser{to: to, cut: true}
	var open sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	open.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			open.Go(func() { x.relay(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		open.Wait()
	})
	return x, l.Addr().String()
}

func (x *loser) relay(node net.Conn) {
	defer node.Close()
	archive, err := net.Dial("tcp", x.to)
	if err != nil {
		return
	}
	defer archive.Close()
	go func() {
		defer archive.Close()
		for {
			pdu, err := readPDU(node)
			if err != nil {
				return
			}
			x.note(pdu)
			if _, err := archive.Write(pdu); err != nil {
				return
			}
		}
	}()
	for {
		pdu, err := readPDU(archive)
		if err != nil || pdu[0] == pduData && x.loses() {
			return
		}
		if _, err := node.Write(pdu); err != nil {
			return
		}
	}
}

// Of PS3.8 9.3.
const (
	pduData   = 4
	pduHeader = 6
)

func readPDU(r io.Reader) ([]byte, error) {
	pdu := make([]byte, pduHeader)
	if _, err := io.ReadFull(r, pdu); err != nil {
		return nil, err
	}
	pdu = append(pdu, make([]byte, endian.BigEndian.Uint32(pdu[2:]))...)
	_, err := io.ReadFull(r, pdu[pduHeader:])
	return pdu, err
}

// note keeps the Affected SOP Instance UID (0000,1000) of requests.
func (x *loser) note(pdu []byte) {
	affected := []byte{0x00, 0x00, 0x00, 0x10}
	for i := pduHeader; pdu[0] == pduData && i+8 < len(pdu); i++ {
		if !bytes.HasPrefix(pdu[i:], affected) {
			continue
		}
		value := pdu[i+8:]
		n := int(endian.LittleEndian.Uint32(pdu[i+4:]))
		if n > len(value) || n > 64 || !bytes.HasPrefix(value, []byte("2.25.")) { // ours
			continue
		}
		x.mu.Lock()
		x.sends = append(x.sends, strings.TrimRight(string(value[:n]), "\x00"))
		x.mu.Unlock()
		return
	}
}

func (x *loser) loses() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	first := !x.cut
	x.cut = true
	return first
}

// pynetdicomCommits is an archive that keeps nothing and commits to what it was
// sent, on the association on which it is asked; arguments: port.
const pynetdicomCommits = `
import sys, threading
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pynetdicom import AE, evt, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance
have = set()
def store(event):
    have.add(event.request.AffectedSOPInstanceUID)
    return 0
def report(assoc, request):
    ds = Dataset()
    ds.TransactionUID = request.TransactionUID
    there = [r for r in request.ReferencedSOPSequence if r.ReferencedSOPInstanceUID in have]
    away = [r for r in request.ReferencedSOPSequence if r.ReferencedSOPInstanceUID not in have]
    ds.ReferencedSOPSequence = Sequence(there)
    if away:
        for r in away:
            r.FailureReason = 0x0112
        ds.FailedSOPSequence = Sequence(away)
    assoc.send_n_event_report(ds, 2 if away else 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
def action(event):
    threading.Timer(0.2, report, (event.assoc, event.action_information)).start()
    return 0, None
ae = AE(ae_title="PYARCHIVE")
for c in AllStoragePresentationContexts:
    ae.add_supported_context(c.abstract_syntax, ALL_TRANSFER_SYNTAXES)
ae.add_supported_context(StorageCommitmentPushModel)
ae.add_supported_context("1.2.840.10008.1.1")
ae.start_server(("127.0.0.1", int(sys.argv[1])), evt_handlers=[(evt.EVT_C_STORE, store), (evt.EVT_N_ACTION, action)])
`

// TestLostAnswersOfArchives: three archives take the report and its answer is
// lost. Orthanc commits to it on an association of its own, pynetdicom on ours,
// dcmqrscp knows no storage commitment and is queried. None gets it twice.
func TestLostAnswersOfArchives(t *testing.T) {
	needTools(t, "Orthanc", "dcmqrscp", "storescu")
	interpreter := os.Getenv("ECHONODE_PYTHON")
	if interpreter == "" {
		interpreter = "../../.build/peers/bin/python"
	}
	if exec.Command(interpreter, "-c", "import pynetdicom").Run() != nil {
		missing(t, "Python with pynetdicom")
	}
	n := newNode(t, "127.0.0.1:1")
	dir := t.TempDir()
	begin := func(addr, program string, args ...string) {
		t.Helper()
		cmd := exec.Command(program, args...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
		eventually(t, program+" listens", func() bool {
			c, err := net.Dial("tcp", addr)
			return err == nil && c.Close() == nil
		})
	}
	write := func(name string, text []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	addresses := map[string]string{"ORTHANC": freeport.Addr(t), "QRSCP": freeport.Addr(t), "PYARCHIVE": freeport.Addr(t)}
	config, err := json.Marshal(map[string]any{
		"Name": "test", "StorageDirectory": dir, "IndexDirectory": dir, "DicomAet": "ORTHANC", "DicomPort": atoi(t, port(t, addresses["ORTHANC"])),
		"HttpPort": atoi(t, port(t, freeport.Addr(t))), "DicomAlwaysAllowStore": true,
		"DicomModalities": map[string]any{"echonode": []any{"ECHONODE", "127.0.0.1", atoi(t, port(t, n.dicom))}},
	})
	if err != nil {
		t.Fatal(err)
	}
	begin(addresses["ORTHANC"], "Orthanc", write("orthanc.json", config))
	area := filepath.Join(dir, "db")
	if err := os.Mkdir(area, 0o700); err != nil {
		t.Fatal(err)
	}
	begin(addresses["QRSCP"], "dcmqrscp", "--config",
		write("dcmqrscp.cfg", fmt.Appendf(nil, "NetworkTCPPort = %s\nMaxPDUSize = 16384\nMaxAssociations = 16\n"+
			"HostTable BEGIN\nHostTable END\n"+
			"VendorTable BEGIN\nVendorTable END\nAETable BEGIN\nQRSCP %s RW (100, 1024mb) ANY\nAETable END\n", port(t, addresses["QRSCP"]), area)))
	begin(addresses["PYARCHIVE"], interpreter, "-c", pynetdicomCommits, port(t, addresses["PYARCHIVE"]))

	var destinations strings.Builder
	losers := map[string]*loser{}
	for title, addr := range addresses {
		x, between := lose(t, addr)
		losers[title] = x
		fmt.Fprintf(&destinations, "  - {name: %s, address: %q, ae_title: %s, send: [report], ask: commitment, ask_wait: 1m}\n",
			strings.ToLower(title), between, title)
	}
	text, err := os.ReadFile(n.config)
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := strings.Cut(string(text), "destinations:")
	if err := os.WriteFile(n.config, []byte(head+"destinations:\n"+destinations.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := run(t, binary, "check-config", "-c", n.config, "--live"); strings.Count(out, "offers no storage commitment") != 1 {
		t.Errorf("check-config --live does not say who offers no storage commitment:\n%s", out)
	}
	for _, x := range losers {
		x.mu.Lock()
		x.cut = false
		x.mu.Unlock()
	}
	n.start()
	run(t, "storescu", "-xy", "-aec", "ECHONODE", "127.0.0.1", port(t, n.dicom), loop(t, 9))
	eventually(t, "three reports delivered", func() bool {
		sent := 0
		for _, s := range n.studies() {
			for _, d := range s.Deliveries {
				if d.State == "sent" {
					sent++
				}
			}
		}
		return sent == len(addresses)
	})
	for title, x := range losers {
		x.mu.Lock()
		if !x.cut || len(x.sends) != 1 {
			t.Errorf("%s: the answer was lost (%v), and it was sent %v", title, x.cut, x.sends)
		}
		x.mu.Unlock()
	}
	for _, c := range []struct{ destination, says string }{
		{"orthanc", "the destination has committed to it"}, {"pyarchive", "the destination has committed to it"},
		{"qrscp", "the destination offers no storage commitment"}, {"qrscp", "delivered before its answer was lost"},
	} {
		eventually(t, "the log says of "+c.destination+" that "+c.says, func() bool { // a line may come behind what it tells of
			return slices.ContainsFunc(strings.Split(n.log.String(), "\n"), func(line string) bool {
				return strings.Contains(line, c.says) && strings.Contains(line, "destination="+c.destination)
			})
		})
	}
}
