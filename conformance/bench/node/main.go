// Command node measures the running node: this build and, with -old, another,
// taking turns in one run, each as a process of its own that receives a study,
// analyses it and delivers to an archive in this program.
//
//	latency  from the moment a study of 24 loops is complete (the end of its
//	         association and the idle time) to its report being stored
//	late     processor time of the node for a loop that comes late to the 23
//	         others, beside that for the same loop as a study of its own
//	again    processor time of the node for a repetition of that study with nothing
//	         changed, beside that of its first analysis
//	loops    processor and wall time of the node for many loops, from the first
//	         C-STORE to the last delivery, beside the network alone on as many
//	         frames; studies are complete half a second after their last loop
//
// conformance/bench/node.sh builds the programs and runs it.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/scp"
)

func main() {
	old := flag.String("old", "", "build to compare with")
	build := flag.String("new", "", "build to measure")
	inference := flag.String("inference", "", "program of conformance/bench/analysis, the yardstick of loops")
	repeat := flag.Int("repeat", 3, "rounds; medians count")
	idle := flag.Duration("idle", 5*time.Second, "study.idle")
	copies := flag.Int("copies", 5, "loops: how often every file is sent, each under UIDs of its own")
	what := flag.String("measure", "latency,late,again,loops", "what to measure")
	flag.Parse()
	if *build == "" || flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	b := &bench{builds: []string{*build}, inference: *inference, repeat: *repeat, idle: *idle, copies: *copies}
	if *old != "" {
		b.builds = append(b.builds, *old)
	}
	if err := b.run(flag.Arg(0), strings.Split(*what, ",")); err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		os.Exit(1)
	}
}

type bench struct {
	builds    []string // this one first
	inference string
	repeat    int
	idle      time.Duration
	copies    int
	files     []string // all
	stress    []string // the study of 24 loops
}

func (b *bench) run(dir string, measure []string) (err error) {
	if b.files, err = filepath.Glob(filepath.Join(dir, "*.dcm")); err != nil {
		return err
	}
	slices.Sort(b.files)
	studies := map[string][]string{}
	for _, path := range b.files {
		id, err := dicomio.IdentifyFile(context.Background(), path, dicomio.Options{})
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		studies[id.StudyInstanceUID] = append(studies[id.StudyInstanceUID], path)
	}
	for _, s := range studies {
		if len(s) == 24 {
			b.stress = s
		}
	}
	if b.stress == nil {
		return errors.New("no study of 24 loops")
	}
	for _, m := range measure {
		if err := map[string]func() error{"latency": b.latency, "late": b.late, "again": b.again, "loops": b.loops}[m](); err != nil {
			return fmt.Errorf("%s: %w", m, err)
		}
		fmt.Println()
	}
	return nil
}

func (b *bench) name(build int) string { return []string{"this build", "old build"}[build] }

// each runs f for every build in turn, as often as asked for, and collects what
// it measured.
func (b *bench) each(f func(build string) ([]float64, error)) ([][][]float64, error) {
	out := make([][][]float64, len(b.builds))
	for range b.repeat {
		for i, build := range b.builds {
			v, err := f(build)
			if err != nil {
				return nil, err
			}
			out[i] = append(out[i], v)
		}
	}
	return out, nil
}

// medians are those of each column.
func medians(rounds [][]float64) []float64 {
	out := make([]float64, len(rounds[0]))
	for c := range out {
		var column []float64
		for _, r := range rounds {
			column = append(column, r[c])
		}
		slices.Sort(column)
		out[c] = column[len(column)/2]
	}
	return out
}

func (b *bench) latency() error {
	results, err := b.each(func(build string) ([]float64, error) {
		n, err := b.start(build, "all")
		if err != nil {
			return nil, err
		}
		defer n.stop()
		ended, err := n.send(b.stress)
		if err != nil {
			return nil, err
		}
		at, err := n.report(1)
		if err != nil {
			return nil, err
		}
		return []float64{at.Sub(ended.Add(b.idle)).Seconds()}, nil
	})
	if err != nil {
		return err
	}
	fmt.Printf("From complete (24 loops sent, %v without more) to the report stored at the archive, medians of %d\n\n| | s | all |\n|---|---|---|\n",
		b.idle, b.repeat)
	for i, r := range results {
		var all []string
		for _, v := range r {
			all = append(all, fmt.Sprintf("%.2f", v[0]))
		}
		fmt.Printf("| %s | %.2f | %s |\n", b.name(i), medians(r)[0], strings.Join(all, ", "))
	}
	if len(results) > 1 {
		fmt.Printf("\nthis / old: %.3f\n", medians(results[0])[0]/medians(results[1])[0])
	}
	return nil
}

func (b *bench) late() error {
	late := b.stress[6]
	others := slices.DeleteFunc(slices.Clone(b.stress), func(p string) bool { return p == late })
	results, err := b.each(func(build string) ([]float64, error) {
		cost := func(first []string) (float64, error) {
			n, err := b.start(build, "all")
			if err != nil {
				return 0, err
			}
			defer n.stop()
			reports := 1
			if first != nil {
				if _, err := n.send(first); err != nil {
					return 0, err
				}
				if err := n.finished(reports); err != nil {
					return 0, err
				}
				reports++
			}
			before, err := n.cpu()
			if err != nil {
				return 0, err
			}
			if _, err := n.send([]string{late}); err != nil {
				return 0, err
			}
			if err := n.finished(reports); err != nil {
				return 0, err
			}
			after, err := n.cpu()
			return (after - before).Seconds(), err
		}
		alone, err := cost(nil)
		if err != nil {
			return nil, err
		}
		added, err := cost(others)
		return []float64{alone, added, added / alone}, err
	})
	if err != nil {
		return err
	}
	fmt.Printf("A late loop (%s), processor seconds of the node from its C-STORE to the last delivery, medians of %d\n\n"+
		"| | as a study of its own | added to 23 others | ratio |\n|---|---|---|---|\n", filepath.Base(late), b.repeat)
	for i, r := range results {
		m := medians(r)
		fmt.Printf("| %s | %.2f | %.2f | %.2f |\n", b.name(i), m[0], m[1], m[2])
	}
	return nil
}

func (b *bench) again() error {
	results, err := b.each(func(build string) ([]float64, error) {
		n, err := b.start(build, "all")
		if err != nil {
			return nil, err
		}
		defer n.stop()
		var at [3]time.Duration
		if at[0], err = n.cpu(); err != nil {
			return nil, err
		}
		if _, err := n.send(b.stress); err != nil {
			return nil, err
		}
		if err := n.finished(1); err != nil {
			return nil, err
		}
		if at[1], err = n.cpu(); err != nil {
			return nil, err
		}
		if err := n.repeat(); err != nil {
			return nil, err
		}
		if at[2], err = n.cpu(); err != nil {
			return nil, err
		}
		first, again := (at[1] - at[0]).Seconds(), (at[2] - at[1]).Seconds()
		return []float64{first, again, again / first}, nil
	})
	if err != nil {
		return err
	}
	fmt.Printf("A study of 24 loops analysed again with nothing changed, processor seconds of the node, medians of %d\n\n"+
		"| | first | again | ratio |\n|---|---|---|---|\n", b.repeat)
	for i, r := range results {
		m := medians(r)
		fmt.Printf("| %s | %.2f | %.2f | %.3f |\n", b.name(i), m[0], m[1], m[2])
	}
	return nil
}

func (b *bench) loops() error {
	dir, err := os.MkdirTemp("", "loops")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var paths []string
	for c := range b.copies {
		for _, path := range b.files {
			p, err := copyAs(path, dir, c)
			if err != nil {
				return err
			}
			paths = append(paths, p)
		}
	}
	frames := 0
	quick := *b
	quick.idle = 500 * time.Millisecond // most of it is spent on analysis
	results, err := b.each(func(build string) ([]float64, error) {
		n, err := quick.start(build, "none")
		if err != nil {
			return nil, err
		}
		defer n.stop()
		before, err := n.cpu()
		if err != nil {
			return nil, err
		}
		start := time.Now()
		if _, err := n.send(paths); err != nil {
			return nil, err
		}
		if err := n.finished(b.copies * 3); err != nil {
			return nil, err
		}
		wall := time.Since(start)
		after, err := n.cpu()
		if err != nil {
			return nil, err
		}
		if frames, err = n.frames(); err != nil {
			return nil, err
		}
		alone := exec.Command(b.inference, "-infer", strconv.Itoa(frames))
		start = time.Now()
		if out, err := alone.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%w: %s", err, out)
		}
		inferred := time.Since(start)
		usage := alone.ProcessState.SystemTime() + alone.ProcessState.UserTime()
		return []float64{wall.Seconds(), (after - before).Seconds(), wall.Seconds() / inferred.Seconds(), (after - before).Seconds() / usage.Seconds()}, nil
	})
	if err != nil {
		return err
	}
	fmt.Printf("%d loops through serve, reports only, %d frames looked at, beside the network alone on as many, medians of %d\n\n"+
		"| | wall s | processor s | wall x inference | processor x inference |\n|---|---|---|---|---|\n", len(paths), frames, b.repeat)
	for i, r := range results {
		m := medians(r)
		fmt.Printf("| %s | %.1f | %.1f | %.2f | %.2f |\n", b.name(i), m[0], m[1], m[2], m[3])
	}
	return nil
}

// copyAs writes a file under other SOP and Study Instance UIDs of the same
// length.
func copyAs(path, dir string, copy int) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	id, err := dicomio.IdentifyFile(context.Background(), path, dicomio.Options{})
	if err != nil {
		return "", err
	}
	for _, uid := range []string{id.SOPInstanceUID, id.StudyInstanceUID} {
		data = bytes.ReplaceAll(data, []byte(uid), []byte(variant(uid, copy)))
	}
	out := filepath.Join(dir, fmt.Sprintf("%d-%s", copy, filepath.Base(path)))
	return out, os.WriteFile(out, data, 0o600)
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

// node is a running build with its archive.
type node struct {
	b          *bench
	dir        string
	addr, http string
	cmd        *exec.Cmd
	archive    *archive
	server     *scp.Server
}

// archive notes when objects come.
type archive struct {
	mu      sync.Mutex
	reports []time.Time
	objects int
}

func (a *archive) Store(_ context.Context, req *scp.StoreRequest, r io.Reader) error {
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.objects++
	if req.SOPClassUID == uid.ComprehensiveSRStorage {
		a.reports = append(a.reports, time.Now())
	}
	return nil
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func (b *bench) start(build, overlay string) (n *node, err error) {
	n = &node{b: b, archive: &archive{}}
	if n.dir, err = os.MkdirTemp("", "node"); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	n.server = &scp.Server{AETitle: "PACS", Handler: n.archive}
	go func() { _ = n.server.Serve(l) }() // ends with the program
	if n.addr, err = freePort(); err != nil {
		return nil, err
	}
	if n.http, err = freePort(); err != nil {
		return nil, err
	}
	config := fmt.Sprintf(`dicom: {listen: "%s"}
storage: {directory: "%s"}
study: {idle: %s}
outputs: {overlay: %s}
destinations: [{name: pacs, address: "%s", ae_title: PACS, send: [report, overlay]}]
http: {listen: "%s"}
`, n.addr, filepath.Join(n.dir, "data"), b.idle, overlay, l.Addr(), n.http)
	path := filepath.Join(n.dir, "config.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(n.dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	n.cmd = exec.Command(build, "serve", "-c", path)
	n.cmd.Stderr = log
	if err := n.cmd.Start(); err != nil {
		return nil, err
	}
	for range 1200 {
		res, err := http.Get("http://" + n.http + "/healthz")
		if err == nil {
			_ = res.Body.Close()
			return n, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	n.stop()
	return nil, errors.New("the node does not answer")
}

func (n *node) stop() {
	_ = n.cmd.Process.Signal(syscall.SIGTERM)
	_ = n.cmd.Wait()
	_ = n.server.Close()
	_ = os.RemoveAll(n.dir)
}

// send sends files and returns when the association ended.
func (n *node) send(paths []string) (time.Time, error) {
	sources := make([]scp.ObjectSource, len(paths))
	for i, p := range paths {
		sources[i] = scp.FileSource(p)
	}
	d := &scp.Dialer{CallingAE: "CART", CalledAE: "ECHONODE"}
	results, err := d.SendAll(context.Background(), n.addr, sources, nil)
	for _, r := range results {
		err = errors.Join(err, r.Err)
	}
	return time.Now(), err
}

const patience = 15 * time.Minute

// report waits for so many reports and returns when the last of them came.
func (n *node) report(count int) (time.Time, error) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		n.archive.mu.Lock()
		reports := slices.Clone(n.archive.reports)
		n.archive.mu.Unlock()
		if len(reports) >= count {
			return reports[count-1], nil
		}
	}
	return time.Time{}, fmt.Errorf("no %d reports within %v", count, patience)
}

// finished waits for so many reports and until nothing is left to deliver.
func (n *node) finished(reports int) error {
	if _, err := n.report(reports); err != nil {
		return err
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		studies, err := n.status()
		if err != nil {
			return err
		}
		left := 0
		for _, s := range studies {
			if s.State != "done" {
				left++
			}
			for _, d := range s.Deliveries {
				if d.State == "pending" {
					left++
				}
			}
		}
		if left == 0 {
			return nil
		}
	}
	return errors.New("something is left to deliver")
}

// repeat has the only study analysed again, and waits until that is done.
func (n *node) repeat() error {
	studies, err := n.status()
	if err != nil || len(studies) != 1 {
		return errors.Join(err, fmt.Errorf("%d studies", len(studies)))
	}
	res, err := http.Post("http://"+n.http+"/studies/reanalyse?uid="+studies[0].UID, "", nil)
	if err != nil {
		return err
	}
	if err := res.Body.Close(); err != nil || res.StatusCode != http.StatusOK {
		return errors.Join(err, fmt.Errorf("reanalyse: %s", res.Status))
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		now, err := n.status()
		if err != nil || len(now) == 1 && now[0].State == "done" && now[0].Revision > studies[0].Revision {
			return err
		}
	}
	return errors.New("the repetition does not end")
}

type study struct {
	UID      string `json:"study_instance_uid"`
	Revision int
	State    string

	Runs []struct{ Directory string }

	Deliveries []struct{ State string }
}

func (n *node) status() (studies []study, err error) {
	res, err := http.Get("http://" + n.http + "/studies")
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	return studies, json.NewDecoder(res.Body).Decode(&studies)
}

// frames counts the frames that were looked at.
func (n *node) frames() (count int, err error) {
	studies, err := n.status()
	if err != nil {
		return 0, err
	}
	for _, s := range studies {
		b, err := os.ReadFile(filepath.Join(s.Runs[0].Directory, "result.json"))
		if err != nil {
			return 0, err
		}
		var doc struct {
			Studies []struct {
				Loops []struct {
					Frames []struct{} `json:"frame_results"`
				}
			}
		}
		if err := json.Unmarshal(b, &doc); err != nil {
			return 0, err
		}
		for _, s := range doc.Studies {
			for _, l := range s.Loops {
				count += len(l.Frames)
			}
		}
	}
	return count, nil
}

// cpu is the processor time that the node has used.
func (n *node) cpu() (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+2:]))
	var ticks int64
	for _, f := range fields[11:13] { // utime, stime
		v, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += v
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil // USER_HZ is 100
}
