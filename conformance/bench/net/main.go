// Command net measures how fast storage receivers take objects from one sender
// on the loopback interface: ours with and without sync, DCMTK storescp with and
// without +B, Orthanc, pynetdicom, go-netdicom, and as the yardstick a raw copy
// from TCP to files with and without fsync. It prints a Markdown table. What is
// not installed is left out.
//
// Run it with conformance/bench/net.sh.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/echonode/echonode/conformance/freeport"
	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/scp"
)

const (
	usmf     = uid.UltrasoundMultiFrameImageStorage
	jpeg     = uid.JPEGBaseline8Bit
	explicit = uid.ExplicitVRLittleEndian
	root     = "1.2.826.0.1.3680043.2.1143.8"
)

// workload is n objects of one size over some associations.
type workload struct {
	name         string
	n            int
	object       []byte // data set with the SOP instance UID at uidAt
	uidAt        int
	syntax       string
	associations int
}

// receiver is a program under test. start returns its address and process id.
type receiver struct {
	name  string
	raw   bool
	start func(dir string) (addr string, cmd *exec.Cmd, err error)
}

func main() {
	a := flag.Int("a", 100, "objects of 5.4 MB, JPEG cines")
	b := flag.Int("b", 10, "objects of 86 MB, native cines")
	runs := flag.Int("runs", 3, "runs of each cell; the median is printed")
	dir := flag.String("dir", "", "directory on the disk to measure (default: a temporary one)")
	bin := flag.String("bin", "", "directory with receiver and, if built, netdicom-receiver")
	only := flag.String("only", "", "comma-separated parts of receiver names")
	rawServe := flag.String("raw", "", "internal: serve raw copies into this directory")
	rawSync := flag.Bool("rawsync", false, "internal")
	rawSplice := flag.Bool("rawsplice", false, "internal")
	flag.Parse()
	if *rawServe != "" {
		serveRaw(*rawServe, *rawSync, *rawSplice)
		return
	}
	if err := run(*a, *b, *runs, *dir, *bin, *only); err != nil {
		fmt.Fprintln(os.Stderr, "net:", err)
		os.Exit(1)
	}
}

func run(a, b, runs int, dir, bin, only string) error {
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "netbench"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	}
	cineA, atA := cine(54, 100000, true)
	cineB, atB := cine(280, 640*480, false)
	cells := []workload{
		{"A, 1 association", a, cineA, atA, jpeg, 1},
		{"A, 4 associations", a, cineA, atA, jpeg, 4},
		{"B, 1 association", b, cineB, atB, explicit, 1},
		{"B, 4 associations", b, cineB, atB, explicit, 4},
		{"8 parallel", 8, cineB, atB, explicit, 8},
	}
	fmt.Printf("A = %d objects of %.1f MB, encapsulated; B = %d objects of %.1f MB, native; MB/s, median of %d; %d processors\n\n",
		a, float64(len(cineA))/1e6, b, float64(len(cineB))/1e6, runs, runtime.NumCPU())
	fmt.Println("| receiver | A c1 | A c4 | B c1 | B c4 | CPU s/GB, B c1 | peak MB, 8 x B |")
	fmt.Println("|---|---|---|---|---|---|---|")
	var list []receiver
	for _, r := range receivers(bin) {
		if only == "" || slices.ContainsFunc(strings.Split(only, ","), func(s string) bool { return strings.Contains(r.name, s) }) {
			list = append(list, r)
		}
	}
	// Runs are outermost, so that what else the machine does hits all receivers.
	results := make(map[string][]measurement)
	for n := range runs {
		for _, r := range list {
			for i, c := range cells {
				if i == 4 && n > 0 {
					continue // memory is measured once
				}
				m, err := measure(r, c, dir)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", r.name, c.name, err)
				}
				results[r.name+c.name] = append(results[r.name+c.name], m)
			}
		}
	}
	for _, r := range list {
		row := []string{r.name}
		for _, c := range cells[:4] {
			row = append(row, fmt.Sprintf("%.0f", median(results[r.name+c.name], func(m measurement) float64 { return m.rate })))
		}
		row = append(row,
			fmt.Sprintf("%.2f", median(results[r.name+cells[2].name], func(m measurement) float64 { return m.cpu })),
			fmt.Sprintf("%.0f", results[r.name+cells[4].name][0].peak))
		fmt.Println("| " + strings.Join(row, " | ") + " |")
	}
	return nil
}

func median(list []measurement, of func(measurement) float64) float64 {
	var v []float64
	for _, m := range list {
		v = append(v, of(m))
	}
	slices.Sort(v)
	return v[len(v)/2]
}

// measurement is one cell of the table.
type measurement struct {
	rate float64 // MB/s
	peak float64 // resident set of the receiver, MB
	cpu  float64 // processor time of the receiver and its ended children, s/GB
}

// measure starts the receiver on an empty directory and sends the workload.
func measure(r receiver, w workload, base string) (m measurement, err error) {
	dir, err := os.MkdirTemp(base, "run")
	if err != nil {
		return m, err
	}
	defer os.RemoveAll(dir)
	exec.Command("sync", "-f", base).Run() // what earlier runs left dirty
	addr, cmd, err := r.start(dir)
	if err != nil {
		return m, err
	}
	before := processorTime(cmd.Process.Pid)
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	send := sendDICOM
	if r.raw {
		send = sendRaw
	}
	ready := make(chan struct{})
	var wg, connected sync.WaitGroup
	errs := make([]error, w.associations)
	for i := range w.associations {
		wg.Add(1)
		connected.Add(1)
		go func() {
			defer wg.Done()
			errs[i] = send(addr, w, i, connected.Done, ready)
		}()
	}
	connected.Wait()
	begin := time.Now()
	close(ready)
	wg.Wait()
	elapsed := time.Since(begin)
	for _, e := range errs {
		if e != nil {
			return m, e
		}
	}
	time.Sleep(50 * time.Millisecond) // for forked children to be reaped
	total := float64(w.n * len(w.object))
	return measurement{
		rate: total / 1e6 / elapsed.Seconds(),
		peak: peakRSS(cmd.Process.Pid),
		cpu:  (processorTime(cmd.Process.Pid) - before).Seconds() / (total / 1e9),
	}, nil
}

// processorTime is user and system time of a process and its waited-for children.
func processorTime(pid int) (d time.Duration) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	for _, f := range strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))[11:15] {
		ticks, _ := strconv.Atoi(f)
		d += time.Duration(ticks) * time.Second / 100
	}
	return d
}

// share is how many of the objects association i sends.
func (w workload) share(i int) int { return (w.n + w.associations - 1 - i) / w.associations }

func (w workload) uid(i, j int) string { return fmt.Sprintf("%s.%02d.%06d", root, i, j) }

// sendDICOM sends over one association. Only the instance UID differs between
// objects; it is patched in while the object passes.
func sendDICOM(addr string, w workload, i int, connected func(), ready chan struct{}) error {
	ctx := context.Background()
	d := &scp.Dialer{CallingAE: "BENCH", CalledAE: "BENCH"}
	c, err := d.Dial(ctx, addr, []scp.PresentationContext{{AbstractSyntax: usmf, TransferSyntaxes: []string{w.syntax}}})
	connected()
	if err != nil {
		return err
	}
	defer c.Abort()
	<-ready
	for j := range w.share(i) {
		uid := w.uid(i, j)
		data := io.MultiReader(bytes.NewReader(w.object[:w.uidAt]), strings.NewReader(uid), bytes.NewReader(w.object[w.uidAt+len(uid):]))
		if _, err := c.Store(ctx, scp.Object{SOPClassUID: usmf, SOPInstanceUID: uid, TransferSyntaxUID: w.syntax, DataSet: data}); err != nil {
			return err
		}
	}
	return c.Release(ctx)
}

// sendRaw sends length and bytes, and waits for one byte after each object.
func sendRaw(addr string, w workload, i int, connected func(), ready chan struct{}) error {
	c, err := net.Dial("tcp", addr)
	connected()
	if err != nil {
		return err
	}
	defer c.Close()
	<-ready
	for range w.share(i) {
		if _, err := c.Write(binary.BigEndian.AppendUint64(nil, uint64(len(w.object)))); err != nil {
			return err
		}
		for rest := w.object; len(rest) > 0; {
			n := min(len(rest), 256<<10)
			if _, err := c.Write(rest[:n]); err != nil {
				return err
			}
			rest = rest[n:]
		}
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			return err
		}
	}
	return nil
}

// serveRaw is the yardstick: TCP to file, fsync if asked, one byte back.
func serveRaw(dir string, sync, splice bool) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr())
	for n := 0; ; n++ {
		c, err := l.Accept()
		if err != nil {
			panic(err)
		}
		go func() {
			defer c.Close()
			buf := make([]byte, 256<<10)
			var head [8]byte
			for i := 0; ; i++ {
				if _, err := io.ReadFull(c, head[:]); err != nil {
					return
				}
				f, err := os.Create(filepath.Join(dir, fmt.Sprintf("%d-%d", n, i)))
				if err != nil {
					panic(err)
				}
				to := io.Writer(f)
				if !splice {
					to = struct{ io.Writer }{f} // hides ReadFrom, so that the copy is by read and write
				}
				if _, err := io.CopyBuffer(to, io.LimitReader(c, int64(binary.BigEndian.Uint64(head[:]))), buf); err != nil {
					panic(err)
				}
				if sync {
					if err := f.Sync(); err != nil {
						panic(err)
					}
				}
				f.Close()
				c.Write(head[:1])
			}
		}()
	}
}

func peakRSS(pid int) float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, _ := strconv.Atoi(strings.Fields(v)[0])
			return float64(kib) / 1e3
		}
	}
	return 0
}

// cine is a data set of frames of a size, and where its instance UID is.
func cine(frames, frameSize int, encapsulated bool) (b []byte, uidAt int) {
	el := func(group, element uint16, vr, v string) {
		if len(v)%2 == 1 {
			v += " "
		}
		b = binary.LittleEndian.AppendUint16(b, group)
		b = binary.LittleEndian.AppendUint16(b, element)
		b = append(b, vr...)
		b = binary.LittleEndian.AppendUint16(b, uint16(len(v)))
		b = append(b, v...)
	}
	el(0x0008, 0x0016, "UI", usmf+"\x00")
	uidAt = len(b) + 8
	el(0x0008, 0x0018, "UI", fmt.Sprintf("%s.%02d.%06d", root, 0, 0))
	el(0x0008, 0x0060, "CS", "US")
	el(0x0010, 0x0010, "PN", "Bench^Mark")
	el(0x0010, 0x0020, "LO", "BENCH")
	el(0x0020, 0x000D, "UI", root+".1\x00")
	el(0x0020, 0x000E, "UI", root+".1.1\x00")
	el(0x0028, 0x0002, "US", "\x01\x00")
	el(0x0028, 0x0004, "CS", "MONOCHROME2")
	el(0x0028, 0x0008, "IS", fmt.Sprint(frames))
	el(0x0028, 0x0010, "US", "\xe0\x01")
	el(0x0028, 0x0011, "US", "\x80\x02")
	el(0x0028, 0x0100, "US", "\x08\x00")
	el(0x0028, 0x0101, "US", "\x08\x00")
	el(0x0028, 0x0102, "US", "\x07\x00")
	el(0x0028, 0x0103, "US", "\x00\x00")
	b = append(b, 0xE0, 0x7F, 0x10, 0x00, 'O', 'B', 0, 0)
	noise := rand.NewChaCha8([32]byte{1})
	frame := make([]byte, frameSize)
	noise.Read(frame)
	if !encapsulated {
		b = binary.LittleEndian.AppendUint32(b, uint32(frames*frameSize))
		for range frames {
			b = append(b, frame...)
		}
		return b, uidAt
	}
	item := func(n int) { b = binary.LittleEndian.AppendUint32(append(b, 0xFE, 0xFF, 0x00, 0xE0), uint32(n)) }
	b = append(b, 0xFF, 0xFF, 0xFF, 0xFF)
	item(0)
	for range frames {
		item(frameSize)
		b = append(b, frame...)
	}
	return append(b, 0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0), uidAt
}

// printed starts a program that prints its address on the first line.
func printed(name string, args ...string) (string, *exec.Cmd, error) {
	cmd := exec.Command(name, args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	lines := bufio.NewReader(out)
	line, err := lines.ReadString('\n')
	if err != nil {
		return "", nil, fmt.Errorf("%s printed no address: %w", name, err)
	}
	go io.Copy(io.Discard, lines)
	return strings.TrimSpace(line), cmd, nil
}

// onPort starts a program that listens on a port it is told.
func onPort(port, name string, args ...string) (string, *exec.Cmd, error) {
	cmd := exec.Command(name, args...)
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	addr := net.JoinHostPort("127.0.0.1", port)
	for begin := time.Now(); time.Since(begin) < 30*time.Second; time.Sleep(50 * time.Millisecond) {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			time.Sleep(200 * time.Millisecond)
			return addr, cmd, nil
		}
	}
	cmd.Process.Kill()
	return "", nil, fmt.Errorf("%s does not listen on %s", name, port)
}

// freePort keeps a port for a peer as long as this process runs.
func freePort() string {
	port, _, err := freeport.Reserve()
	if err != nil {
		return "11112"
	}
	return port
}

// python returns an interpreter with pynetdicom, or "".
func python() string {
	for _, p := range []string{os.Getenv("ECHONODE_PYTHON"), "python3", "/usr/bin/python3"} {
		if p != "" && exec.Command(p, "-c", "import pynetdicom").Run() == nil {
			return p
		}
	}
	return ""
}

const pynetdicomStore = `
import sys, os
from pynetdicom import AE, evt, ALL_TRANSFER_SYNTAXES
def store(event):
    with open(os.path.join(sys.argv[2], event.request.AffectedSOPInstanceUID), "wb") as f:
        f.write(event.encoded_dataset())
    return 0
ae = AE(ae_title="BENCH")
ae.maximum_pdu_size = 0
ae.add_supported_context("1.2.840.10008.5.1.4.1.1.3.1", ALL_TRANSFER_SYNTAXES)
ae.start_server(("127.0.0.1", int(sys.argv[1])), evt_handlers=[(evt.EVT_C_STORE, store)])
`

func receivers(bin string) []receiver {
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	list := []receiver{
		{"raw TCP to file", true, func(dir string) (string, *exec.Cmd, error) { return printed(self, "-raw", dir) }},
		{"raw TCP to file, splice", true, func(dir string) (string, *exec.Cmd, error) { return printed(self, "-rawsplice", "-raw", dir) }},
		{"raw TCP to file, splice + fsync", true, func(dir string) (string, *exec.Cmd, error) {
			return printed(self, "-rawsplice", "-rawsync", "-raw", dir)
		}},
		{"raw TCP to file + fsync", true, func(dir string) (string, *exec.Cmd, error) { return printed(self, "-rawsync", "-raw", dir) }},
		{"EchoNode scp + spool, fsync", false, func(dir string) (string, *exec.Cmd, error) {
			return printed(filepath.Join(bin, "receiver"), "-minfree", "-1", "-dir", dir)
		}},
		{"EchoNode scp + spool, no fsync", false, func(dir string) (string, *exec.Cmd, error) {
			return printed(filepath.Join(bin, "receiver"), "-minfree", "-1", "-nosync", "-dir", dir)
		}},
		{"EchoNode scp, discarding", false, func(dir string) (string, *exec.Cmd, error) {
			return printed(filepath.Join(bin, "receiver"), "-discard")
		}},
	}
	if storescp, err := exec.LookPath("storescp"); err == nil {
		for _, bit := range []string{"-B", "+B"} {
			list = append(list, receiver{"dcmtk storescp " + bit, false, func(dir string) (string, *exec.Cmd, error) {
				port := freePort()
				return onPort(port, storescp, "--fork", "+xa", bit, "-pdu", "131072", "-od", dir, port)
			}})
		}
	}
	for _, name := range []string{"Orthanc", "orthanc"} {
		if orthanc, err := exec.LookPath(name); err == nil {
			list = append(list, receiver{"Orthanc", false, func(dir string) (string, *exec.Cmd, error) { return startOrthanc(orthanc, dir) }})
			break
		}
	}
	if py := python(); py != "" {
		list = append(list, receiver{"pynetdicom", false, func(dir string) (string, *exec.Cmd, error) {
			port := freePort()
			return onPort(port, py, "-c", pynetdicomStore, port, dir)
		}})
	}
	if _, err := os.Stat(filepath.Join(bin, "netdicom-receiver")); err == nil {
		list = append(list, receiver{"go-netdicom", false, func(dir string) (string, *exec.Cmd, error) {
			return printed(filepath.Join(bin, "netdicom-receiver"), "-dir", dir)
		}})
	}
	return list
}

func startOrthanc(program, dir string) (string, *exec.Cmd, error) {
	port := freePort()
	config, err := json.Marshal(map[string]any{
		"StorageDirectory": dir, "IndexDirectory": dir, "HttpServerEnabled": false, "DicomPort": json.Number(port), "DicomAet": "BENCH",
		"Plugins": []string{}, "MaximumPatientCount": 0, "DicomAlwaysAllowStore": true,
	})
	if err != nil {
		return "", nil, err
	}
	path := filepath.Join(dir, "orthanc.json")
	if err := os.WriteFile(path, config, 0o600); err != nil {
		return "", nil, err
	}
	return onPort(port, program, path)
}
