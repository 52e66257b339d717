// Command bench measures the review page beside OHIF on Orthanc in one run: the
// same study, the same Chromium, loopback.
//
//	go run ./bench [-repeat 3] [-parts cine,worklist,memory]        (in conformance/review, after make setup-test)
//
//	cine      a cine of 60 frames of 800x600 at 60 frames/s: time from the
//	          navigation to its first frame on the screen and bytes sent, of both;
//	          of the page also the frames that were due and not seen in ten
//	          seconds of playing (OHIF is not played)
//	worklist  10,000 studies: processor time of server and page until the first
//	          paint, and the time of that
//	memory    resident memory of the node while 20 readers sign in, open the
//	          study and take every frame of its loop
//
// It prints Markdown. On a machine that does other work its times say little
// unless it runs before all others (chrt -r 1).
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	_ "github.com/echonode/echonode/models/devlibrary"
)

// What conformance/bench/review makes.
const (
	columns, rows, frames = 800, 600, 60
	studyUID              = "1.2.826.0.1.3680043.10.1554.7.1"
	objectUID             = studyUID + ".1.1"
	user, password        = "reader", "a long enough password"
)

func main() {
	repeat := flag.Int("repeat", 3, "rounds; medians count")
	parts := flag.String("parts", "cine,worklist,memory", "what to measure")
	flag.Parse()
	b := &bench{repeat: *repeat}
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupted
		b.close() // no server stays
		os.Exit(1)
	}()
	err := b.run(strings.Split(*parts, ","))
	b.close()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type bench struct {
	repeat  int
	root    string // of the source tree
	dir     string
	binary  string // of the program
	helper  string // conformance/bench/review
	mu      sync.Mutex
	closers []func()
}

// later does something at the end, also when the bench is interrupted.
func (b *bench) later(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closers = append(b.closers, f)
}

func (b *bench) close() {
	b.mu.Lock()
	closers := b.closers
	b.closers = nil
	b.mu.Unlock()
	for _, c := range slices.Backward(closers) {
		c()
	}
}

func (b *bench) run(parts []string) error {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/echonode/echonode").Output()
	if err != nil {
		return err
	}
	b.root = strings.TrimSpace(string(out))
	if b.dir, err = os.MkdirTemp("", "echonode-bench"); err != nil {
		return err
	}
	b.later(func() { _ = os.RemoveAll(b.dir) })
	b.binary, b.helper = filepath.Join(b.dir, "echonode"), filepath.Join(b.dir, "review")
	build := exec.Command("go", "build", "-ldflags", "-X main.version=bench", "-o", b.dir, "./cmd/echonode", "./conformance/bench/review")
	build.Dir = b.root
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return err
	}
	fmt.Printf("%s, %d processors, load %s\n\n", time.Now().Format(time.DateOnly), runtime.NumCPU(), strings.Fields(string(load))[0])
	for _, p := range parts {
		switch p {
		case "cine":
			err = b.cine()
		case "worklist":
			err = b.worklist()
		case "memory":
			err = b.memory()
		default:
			err = fmt.Errorf("no part %q", p)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	return nil
}

// cineFile is the object that is looked at.
func (b *bench) cineFile() (string, error) {
	path := filepath.Join(b.dir, "cine.dcm")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if out, err := exec.Command(b.helper, "cine", path).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
}

// median of what f says of each round.
func median[T any](all []T, f func(T) float64) float64 {
	v := make([]float64, len(all))
	for i, r := range all {
		v[i] = f(r)
	}
	slices.Sort(v)
	return v[len(v)/2]
}
