package cli

import (
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
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/echonode/echonode/dicomio/tag"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/pipeline/deliver"
	"github.com/echonode/echonode/pipeline/node"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/pipeline/store"
	"github.com/echonode/echonode/scp"
)

// exampleLoops is the Go module whose examples are real echo loops. It comes
// through the module cache and is no dependency of the program.
const exampleLoops = "github.com/grailbio/go-dicom@v0.0.0-20211105193521-b0e216a1c5cd"

func (p *program) demoCommand() *cobra.Command {
	var d demo
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run the whole node on real echo loops and show what comes back",
		Long: `Starts a node and a receiving archive on loopback ports, sends real echo loops
as studies by C-STORE, waits until the results have come back by C-STORE, and
prints for every loop what was found and for every study where its report and
overlays are. The loops are the examples of the Go module
` + exampleLoops + `
(fetched with the go command), or the DICOM files of --loops. With --archive the
results go to a PACS of yours instead, for example an Orthanc that knows no
calling titles. With --web the node stays, with its review page.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d.p = p
			return d.run(cmd.Context())
		},
	}
	cmd.Flags().StringVarP(&d.out, "out", "o", "demo-output", "folder for the results; emptied first")
	cmd.Flags().StringVar(&d.loops, "loops", "", "folder of DICOM files to send instead of the examples")
	cmd.Flags().StringVar(&d.archive, "archive", "", "AE@HOST:PORT of an archive to deliver to instead of our own")
	cmd.Flags().StringVar(&d.model, "model", "", "ONNX model file instead of the built-in one")
	cmd.Flags().BoolVar(&d.web, "web", false, "keep the node running at the end, with its review page")
	cmd.Flags().DurationVar(&d.timeout, "timeout", 20*time.Minute, "longest wait for the results")
	return cmd
}

// demo is one run of the demonstration.
type demo struct {
	p                   *program
	out, loops, archive string
	model               string
	timeout             time.Duration
	web                 bool

	nodeAddr, httpAddr, archiveAddr, pageAddr string
	received                                  string // folder of our archive
	password                                  string // of the review page
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.p.out, format+"\n", args...) }

func (d *demo) run(ctx context.Context) (err error) {
	whole := ctx // the processes outlive the wait for results
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	files, err := d.findLoops(ctx)
	if err != nil {
		return err
	}
	if err := d.prepare(); err != nil {
		return err
	}
	var processes []*process
	defer func() {
		for _, pr := range slices.Backward(processes) {
			err = errors.Join(err, pr.stop())
		}
	}()
	if d.archive == "" {
		d.received = filepath.Join(d.out, "archive")
		pr, err := d.start(whole, "archive", "archive", d.received, "--listen", d.archiveAddr)
		if err != nil {
			return err
		}
		processes = append(processes, pr)
	}
	config, err := d.writeConfig()
	if err != nil {
		return err
	}
	pr, err := d.start(whole, "node", "serve", "-c", config)
	if err != nil {
		return err
	}
	processes = append(processes, pr)
	if err := d.waitReady(ctx, processes); err != nil {
		return err
	}
	d.say("node listens on %s, results go to %s", d.nodeAddr, d.destination())

	g := groupByStudy(files)
	for _, r := range g.rejected {
		d.say("%s: %s", r.File, r.Reason.Text)
	}
	start := time.Now()
	var order []string
	for i, key := range g.order {
		if !slices.Contains(order, key.study) {
			order = append(order, key.study)
		}
		dialer := &scp.Dialer{CallingAE: "DEMOCART", CalledAE: "ECHONODE"}
		if err := d.p.send(ctx, dialer, d.nodeAddr, g.byStudy[key], deliver.Never, true); err != nil {
			return fmt.Errorf("sending study %d: %w", i+1, err)
		}
		d.say("sent study %d of %d: %d objects", i+1, len(g.order), len(g.byStudy[key]))
	}
	studies, err := d.waitFinished(ctx, order, processes)
	if err != nil {
		return err
	}
	took := time.Since(start)
	names := map[string]string{}
	for _, f := range files {
		if file, err := dicomio.Open(f, dicomio.Options{}); err == nil {
			names[file.DataSet.String(tag.SOPInstanceUID)] = filepath.Base(f)
			_ = file.Close() // read only
		}
	}
	if err := d.report(order, studies, names, took); err != nil {
		return err
	}
	if d.web {
		return d.stay(whole, processes)
	}
	d.say("`make demo WEB=1` (--web) keeps the node running with its review page")
	return nil
}

// findLoops lists the loops to send.
func (d *demo) findLoops(ctx context.Context) ([]string, error) {
	dir := d.loops
	if dir == "" {
		d.say("fetching the example loops (%s)", exampleLoops)
		cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", exampleLoops)
		cmd.Dir = os.TempDir() // outside any module
		b, err := cmd.Output()
		var answer struct{ Dir, Error string }
		if jsonErr := json.Unmarshal(b, &answer); jsonErr == nil && answer.Error != "" {
			err = errors.New(answer.Error)
		}
		if err != nil {
			return nil, fmt.Errorf("fetching the example loops with the go command (use --loops DIR for your own): %w", err)
		}
		dir = filepath.Join(answer.Dir, "examples")
	}
	files, err := findFiles([]string{dir}, isDICOM)
	if err != nil {
		return nil, err
	}
	// The examples also hold CT, X-ray and broken files, which no cart sends
	// to an echo node.
	files = slices.DeleteFunc(files, func(path string) bool {
		f, err := dicomio.Open(path, dicomio.Options{})
		if err != nil {
			return true
		}
		defer f.Close()
		return f.DataSet.String(tag.Modality) != "US"
	})
	if len(files) == 0 {
		return nil, fmt.Errorf("no ultrasound objects in %s", dir)
	}
	slices.Sort(files)
	return files, nil
}

// prepare empties the output folder and picks free ports.
func (d *demo) prepare() error {
	if err := errors.Join(os.RemoveAll(filepath.Join(d.out, "node")), os.RemoveAll(filepath.Join(d.out, "archive")),
		os.RemoveAll(filepath.Join(d.out, "studies")), os.MkdirAll(d.out, 0o755)); err != nil {
		return err
	}
	for _, addr := range []*string{&d.nodeAddr, &d.httpAddr, &d.archiveAddr, &d.pageAddr} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close() // not before all are chosen: a closed port could be given again
		*addr = l.Addr().String()
	}
	return nil
}

func (d *demo) destination() string {
	if d.archive != "" {
		return d.archive
	}
	return "our own archive on " + d.archiveAddr
}

// writeConfig writes the node's configuration: the embedded defaults with
// loopback ports, a short idle time and the archive as destination.
func (d *demo) writeConfig() (string, error) {
	title, address := "ARCHIVE", d.archiveAddr
	if d.archive != "" {
		var ok bool
		if title, address, ok = strings.Cut(d.archive, "@"); !ok {
			return "", usageError{fmt.Errorf("--archive %q is not AE@HOST:PORT", d.archive)}
		}
	}
	type m = map[string]any
	page := m{}
	if d.web {
		if err := d.makeAccount(); err != nil {
			return "", err
		}
		page["listen"] = d.pageAddr
	}
	b, err := yaml.Marshal(m{
		"review":       page,
		"dicom":        m{"listen": d.nodeAddr},
		"http":         m{"listen": d.httpAddr},
		"storage":      m{"directory": filepath.Join(d.out, "node"), "min_free": "64MiB"},
		"study":        m{"idle": "2s"},
		"outputs":      m{"pictures": true},
		"delivery":     m{"retry_first": "2s"},
		"analysis":     m{"model": d.model},
		"destinations": []m{{"name": "archive", "address": address, "ae_title": title}},
	})
	if err != nil {
		return "", err
	}
	path := filepath.Join(d.out, "echonode.yaml")
	return path, os.WriteFile(path, b, 0o644)
}

// process is a child process of the demo.
type process struct {
	name string
	cmd  *exec.Cmd
	log  *os.File
	done chan struct{}
	err  error // valid after done
}

// start runs this program again with other arguments, its output in a file.
func (d *demo) start(ctx context.Context, name string, args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(d.out, name+".log"))
	if err != nil {
		return nil, err
	}
	pr := &process{name: name, log: log, done: make(chan struct{}), cmd: exec.CommandContext(ctx, self, args...)}
	pr.cmd.Stdout, pr.cmd.Stderr = log, log
	pr.cmd.Cancel = func() error { return pr.cmd.Process.Signal(syscall.SIGTERM) }
	pr.cmd.WaitDelay = 30 * time.Second
	if err := pr.cmd.Start(); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	go func() {
		pr.err = pr.cmd.Wait()
		close(pr.done)
	}()
	return pr, nil
}

// exited is the error of a process that should still be running.
func (pr *process) exited() error {
	select {
	case <-pr.done:
		return fmt.Errorf("the %s ended: %w; see %s", pr.name, pr.err, pr.log.Name())
	default:
		return nil
	}
}

func (pr *process) stop() error {
	_ = pr.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	<-pr.done
	return pr.log.Close()
}

// waitReady waits until the node answers.
func (d *demo) waitReady(ctx context.Context, processes []*process) error {
	for {
		if _, err := d.ask(ctx, "/healthz"); err == nil {
			return nil
		}
		for _, pr := range processes {
			if err := pr.exited(); err != nil {
				return err
			}
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("waiting for the node: %w", err)
		}
	}
}

func (d *demo) ask(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.httpAddr+path, nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	return io.ReadAll(res.Body)
}

// waitFinished shows progress until every study is analysed and delivered.
func (d *demo) waitFinished(ctx context.Context, order []string, processes []*process) (map[string]node.StudyStatus, error) {
	shown := map[string]string{}
	for {
		b, err := d.ask(ctx, "/studies")
		if err != nil {
			for _, pr := range processes {
				if e := pr.exited(); e != nil {
					return nil, e
				}
			}
			return nil, fmt.Errorf("waiting for results: %w", err)
		}
		var studies []node.StudyStatus
		if err := json.Unmarshal(b, &studies); err != nil {
			return nil, err
		}
		found := map[string]node.StudyStatus{}
		finished := 0
		for _, s := range studies {
			i := slices.Index(order, s.StudyInstanceUID)
			if i < 0 {
				continue
			}
			found[s.StudyInstanceUID] = s
			now := string(s.State)
			if s.Progress != "" {
				now += " " + s.Progress
			}
			if s.State == store.Done && !s.Finished() {
				now = "delivering"
			}
			if s.Finished() {
				finished++
				now = "finished"
			}
			if shown[s.StudyInstanceUID] != now {
				shown[s.StudyInstanceUID] = now
				d.say("study %d: %s", i+1, now)
			}
		}
		if finished == len(order) {
			return found, nil
		}
		if err := sleep(ctx, 500*time.Millisecond); err != nil {
			return nil, fmt.Errorf("waiting for results: %w", err)
		}
	}
}

func sleep(ctx context.Context, t time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(t):
		return nil
	}
}

// report prints the results, checks that they arrived and gathers them in one
// folder.
func (d *demo) report(order []string, studies map[string]node.StudyStatus, names map[string]string, took time.Duration) error {
	var problems []string
	frames, loops := 0, 0
	var inference, wall float64
	for i, uid := range order {
		s := studies[uid]
		if s.State != store.Done || len(s.Runs) == 0 {
			problems = append(problems, fmt.Sprintf("study %d is %s: %s", i+1, s.State, s.Error))
			continue
		}
		b, err := os.ReadFile(filepath.Join(s.Runs[0].Directory, "result.json"))
		if err != nil {
			return err
		}
		var doc result.Document
		if err := json.Unmarshal(b, &doc); err != nil {
			return err
		}
		for j := range doc.Studies {
			for k := range doc.Studies[j].Loops {
				l := &doc.Studies[j].Loops[k]
				loops++
				if n := names[l.SOPInstanceUID]; n != "" {
					l.File = n
				}
				if l.Status == result.Analysed {
					frames += l.Frames
					inference += l.Timing.Inference
				}
				wall += l.Timing.Wall
			}
		}
		dir := filepath.Join(d.out, "studies", fmt.Sprintf("study-%02d", i+1))
		missing, err := d.gather(s, dir)
		if err != nil {
			return err
		}
		problems = append(problems, missing...)
		for j := range doc.Studies {
			doc.Studies[j].Outputs = nil // listed below, as they arrived
		}
		d.say("")
		if err := printDocument(d.p.out, &doc); err != nil {
			return err
		}
		overlays := 0
		for _, dl := range s.Deliveries {
			if dl.Kind == result.KindOverlay {
				overlays++
			}
		}
		d.say("study %d: report and summary (report.html shows both) and %d overlay cines in %s", i+1, overlays, dir)
	}
	if len(problems) > 0 {
		return fmt.Errorf("not all results arrived:\n  %s", strings.Join(problems, "\n  "))
	}
	d.say("\n%d loops in %d studies, %d frames analysed; %.1f s from the first C-STORE to the last result", loops, len(order), frames, took.Seconds())
	if wall > 0 && inference > 0 {
		d.say("analysis %.1f frames/s by wall time of the loops; inference alone %.1f ms per frame and worker", 1000*float64(frames)/wall, inference/float64(frames))
	}
	d.say("everything is in %s", d.out)
	return nil
}

// gather copies a study's results into one folder: the DICOM objects as they
// arrived at the archive, the pictures from the node. It lists what did not
// arrive.
func (d *demo) gather(s node.StudyStatus, dir string) (missing []string, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := os.CopyFS(dir, os.DirFS(s.Runs[0].Directory)); err != nil {
		return nil, err
	}
	reports := 0
	for _, dl := range s.Deliveries {
		if dl.State != store.Sent && dl.State != store.Warning {
			missing = append(missing, fmt.Sprintf("%s %s: %s %s", dl.Kind, dl.SOPInstanceUID, dl.State, dl.Error))
			continue
		}
		if dl.Kind == result.KindReport {
			reports++
		}
		if d.received == "" {
			continue // somebody else's archive: its answer has to do
		}
		path := filepath.Join(d.received, dl.SOPInstanceUID+".dcm")
		f, err := dicomio.Open(path, dicomio.Options{})
		if err != nil {
			missing = append(missing, fmt.Sprintf("%s %s is not in the archive: %v", dl.Kind, dl.SOPInstanceUID, err))
			continue
		}
		if got := f.DataSet.String(tag.StudyInstanceUID); got != s.StudyInstanceUID {
			missing = append(missing, fmt.Sprintf("%s %s arrived under study %s", dl.Kind, dl.SOPInstanceUID, got))
		}
		if err := f.Close(); err != nil {
			return missing, err
		}
	}
	if reports == 0 {
		missing = append(missing, "no report of study "+s.StudyInstanceUID)
	}
	return missing, nil
}
