package models

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/echonode/echonode/models/devlibrary"
)

const tiny = "testdata/tiny.onnx"

// tinyAbs is tiny for tests that change the working directory.
var tinyAbs, _ = filepath.Abs(tiny)

// requireLibrary skips where ONNX Runtime is not installed. `make test` installs it, so nothing is skipped there.
func requireLibrary(t testing.TB) {
	t.Helper()
	if _, _, err := acquireEnvironment(""); err != nil {
		t.Skipf("needs ONNX Runtime: %v", err)
	}
	if err := releaseEnvironment(); err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, c Config) Engine {
	t.Helper()
	requireLibrary(t)
	e, err := Open(t.Context(), c, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// noise gives n different frames.
func noise(card Card, n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	frames := make([]byte, n*card.FrameSize())
	for i := range frames {
		frames[i] = uint8(r.Uint32())
	}
	return frames
}

func infer(t testing.TB, e Engine, frames []byte, n int) *Output {
	t.Helper()
	var out Output
	if err := e.Infer(t.Context(), frames, n, &out); err != nil {
		t.Fatal(err)
	}
	return &out
}

func TestOpenCPU(t *testing.T) {
	var log bytes.Buffer
	requireLibrary(t)
	e, err := Open(t.Context(), Config{Path: tiny, Provider: CPU, Workers: 2}, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	card := e.Card()
	if card.Name != "tiny" || card.Input.Width != 64 || card.Class(ClassLVCavity) != 0 || card.Keypoint(KeypointPWOuter) != 6 ||
		card.View(ViewPLAX) != 3 || card.View("A5C") != -1 || len(card.SHA256) != 64 {
		t.Errorf("card %+v", card)
	}
	if e.Provider() != CPU {
		t.Errorf("provider %q", e.Provider())
	}
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "provider=cpu") || !strings.Contains(got, "onnxruntime=1.") {
		t.Errorf("log: %s", got)
	}
	out := infer(t, e, noise(card, 3), 3)
	if out.N != 3 || out.Provider != CPU || len(out.MaskPlane(2, 2)) != 32*32 || len(out.Heatmap(2, 6)) != 16*16 || len(out.ViewProbs(2)) != 6 {
		t.Errorf("output of %d frames by %s", out.N, out.Provider)
	}
	if what := outOfRange(out); what != "" {
		t.Error(what)
	}
}

// TestOutputLayout pins orientation and stride of the outputs.
func TestOutputLayout(t *testing.T) {
	e := open(t, Config{Path: tiny, Provider: CPU})
	frame := noise(e.Card(), 1)
	out := infer(t, e, frame, 1)

	// A mask cell is a function of its four input pixels alone: change one pixel, and only the cell that holds it may
	// change.
	changed := bytes.Clone(frame)
	const x, y = 21, 44
	changed[y*64+x] ^= 0xff
	other := infer(t, e, changed, 1)
	for class := range out.Classes {
		a, b := out.MaskPlane(0, class), other.MaskPlane(0, class)
		for i := range a {
			if (a[i] != b[i]) && i != (y/2)*32+x/2 {
				t.Fatalf("class %d: cell (%d, %d) depends on pixel (%d, %d)", class, i%32, i/32, x, y)
			}
		}
	}
	differs := 0
	for k := range out.Keypoints {
		a, b := out.Heatmap(0, k), other.Heatmap(0, k)
		for i := range a {
			if a[i] != b[i] {
				differs++
				if i != (y/4)*16+x/4 {
					t.Fatalf("keypoint %d: cell (%d, %d) depends on pixel (%d, %d)", k, i%16, i/16, x, y)
				}
			}
		}
	}
	if differs == 0 {
		t.Error("no heatmap depends on the changed pixel")
	}
}

const withExtras = "testdata/extras.onnx"

// TestExtras reads the further values of a model that has some, frame by frame, and its limits; one without has none.
func TestExtras(t *testing.T) {
	e := open(t, Config{Path: withExtras, Provider: CPU, Workers: 2})
	card := e.Card()
	if card.Extra(ExtraExpectedDice) != 0 || card.Extra(ExtraNovelty) != 1 || card.Extra("weight") != -1 {
		t.Errorf("extras of the card: %q", card.Extras)
	}
	if want := (Limits{View: 0.6, Novelty: 9, ExpectedDice: 0.88}); card.Limits != want {
		t.Errorf("limits %+v, want %+v", card.Limits, want)
	}
	frames := noise(card, 5)
	all := infer(t, e, frames, 5)
	for i := range 5 {
		one := infer(t, e, frames[i*card.FrameSize():(i+1)*card.FrameSize()], 1)
		if got := all.ExtraValues(i); len(got) != 2 || !slices.Equal(got, one.ExtraValues(0)) {
			t.Errorf("frame %d: %v in a call of five, %v alone", i, got, one.ExtraValues(0))
		}
	}
	if slices.Equal(all.ExtraValues(0), all.ExtraValues(1)) {
		t.Errorf("two frames have the same extras %v", all.ExtraValues(0))
	}
	if plain := infer(t, open(t, Config{Path: tiny, Provider: CPU}), frames, 5); len(plain.ExtraValues(4)) != 0 {
		t.Errorf("a model without extras answers %v", plain.ExtraValues(4))
	}
}

func TestMirrored(t *testing.T) {
	for name, want := range map[string]bool{ViewA4CMirrored: true, ViewA2CMirrored: true, ViewA4C: false, ViewOther: false} {
		if view, mirrored := Mirrored(name); mirrored != want || view != strings.TrimSuffix(name, "-mirrored") {
			t.Errorf("%s: %s, mirrored %v", name, view, mirrored)
		}
	}
}

// TestSameBits runs one set of frames alone, in calls of several sizes and from many goroutines at once: every answer
// must be the same bit for bit.
func TestSameBits(t *testing.T) {
	const n = 24
	e := open(t, Config{Path: tiny, Provider: CPU, Workers: 4})
	frames := noise(e.Card(), n)
	size := e.Card().FrameSize()
	want := infer(t, e, frames, n)

	var wg sync.WaitGroup
	errs := make(chan error, 64)
	for g := range 8 {
		wg.Go(func() {
			var out Output
			for round := range 6 {
				count := 1 + (g+round)%5
				from := (g*7 + round*3) % (n - count)
				if err := e.Infer(context.Background(), frames[from*size:(from+count)*size], count, &out); err != nil {
					errs <- err
					return
				}
				part := want.rows(from, from+count)
				if !bytes.Equal(out.Mask, part.mask) || fmt.Sprint(out.Heatmaps) != fmt.Sprint(part.heatmaps) || fmt.Sprint(out.View) != fmt.Sprint(part.view) {
					errs <- fmt.Errorf("frames %d to %d differ", from, from+count-1)
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
}

func TestInferArguments(t *testing.T) {
	e := open(t, Config{Path: tiny, Provider: CPU})
	var out Output
	if err := e.Infer(t.Context(), make([]byte, 10), 1, &out); err == nil {
		t.Error("10 bytes are taken for a frame")
	}
	if err := e.Infer(t.Context(), nil, -1, &out); err == nil {
		t.Error("-1 frames are taken")
	}
	if err := e.Infer(t.Context(), nil, 0, &out); err != nil || out.N != 0 || len(out.Mask) != 0 {
		t.Errorf("no frames: %v, %d", err, out.N)
	}
	// An output is reused: from many frames to few.
	infer5, frames := noise(e.Card(), 5), noise(e.Card(), 2)
	if err := e.Infer(t.Context(), infer5, 5, &out); err != nil {
		t.Fatal(err)
	}
	before := &out.Mask[0]
	if err := e.Infer(t.Context(), frames, 2, &out); err != nil || out.N != 2 || len(out.View) != 12 || &out.Mask[0] != before {
		t.Errorf("reuse: %v, %d frames, same memory %v", err, out.N, &out.Mask[0] == before)
	}
}

// TestCancel stops a run inside ONNX Runtime: the model loops practically for ever.
func TestCancel(t *testing.T) {
	requireLibrary(t)
	name, onnx, err := load("testdata/slow.onnx", "", CPU)
	if err != nil {
		t.Fatal(err)
	}
	card, err := ReadCard(name, onnx)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := acquireEnvironment(""); err != nil {
		t.Fatal(err)
	}
	s, err := newSession(onnx, card, Config{}.withDefaults(), CPU, []int{1}, 1)
	if err != nil {
		t.Fatal(err)
	}
	e := newSpreader(card, s, 1, 1, releaseEnvironment)
	defer e.Close()

	var out Output
	for range 2 { // the second time shows that nothing sticks
		ctx, cancel := context.WithCancel(t.Context())
		timer := time.AfterFunc(50*time.Millisecond, cancel)
		start := time.Now()
		err := e.Infer(ctx, noise(card, 3), 3, &out)
		timer.Stop()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled run ends with %v", err)
		}
		if took := time.Since(start); took > time.Minute {
			t.Errorf("cancelled run ended after %v", took)
		}
	}

	// The self-test of Open is bounded by the context.
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := Open(ctx, Config{Path: "testdata/slow.onnx", Provider: CPU}, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Open with a deadline: %v", err)
	}
	// So it is by its own limit: a model that does not end is refused.
	_, err = Open(t.Context(), Config{Path: "testdata/slow.onnx", Provider: CPU, StartLimit: 100 * time.Millisecond}, nil)
	if !errors.Is(err, ErrSelfTest) || !strings.Contains(err.Error(), "no answer within 100ms") {
		t.Errorf("Open of a model that does not end: %v", err)
	}
}

func TestClose(t *testing.T) {
	requireLibrary(t)
	for range 3 { // the environment comes and goes
		a, err := Open(t.Context(), Config{Path: tiny, Provider: CPU}, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := Open(t.Context(), Config{Path: tiny, Provider: CPU}, nil)
		if err != nil {
			t.Fatal(err)
		}
		frame := noise(a.Card(), 1)
		for range 2 {
			if err := a.Close(); err != nil {
				t.Error(err)
			}
		}
		var out Output
		if err := a.Infer(t.Context(), frame, 1, &out); !errors.Is(err, ErrClosed) {
			t.Errorf("Infer on a closed engine: %v", err)
		}
		infer(t, b, frame, 1) // is not touched by the other's end
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	environment.Lock()
	defer environment.Unlock()
	if environment.users != 0 {
		t.Errorf("%d uses of the environment are left", environment.users)
	}
}

// TestCloseWaits closes while calls run: each call either finishes or fails with ErrClosed.
func TestCloseWaits(t *testing.T) {
	requireLibrary(t)
	e, err := Open(t.Context(), Config{Path: tiny, Provider: CPU, Workers: 2}, nil)
	if err != nil {
		t.Fatal(err)
	}
	frames := noise(e.Card(), 4)
	var wg sync.WaitGroup
	var running sync.WaitGroup
	running.Add(8)
	for range 8 {
		wg.Go(func() {
			var out Output
			begun := sync.OnceFunc(running.Done)
			defer begun()
			for {
				err := e.Infer(context.Background(), frames, 4, &out)
				if errors.Is(err, ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				begun()
			}
		})
	}
	running.Wait()
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
}

// TestAuto runs where only the CPU provider is compiled in, as in the pinned library.
func TestAuto(t *testing.T) {
	requireLibrary(t)
	var log bytes.Buffer
	e, err := Open(t.Context(), Config{Path: tiny}, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	got := log.String()
	if strings.Count(got, "\n") != 1 {
		t.Errorf("not one log line:\n%s", got)
	}
	if e.Provider() == CPU && (!strings.Contains(got, "provider tensorrt is not available") || !strings.Contains(got, "provider cuda is not available")) {
		t.Errorf("the log does not say why the others do not run: %s", got)
	}
}

func TestProviderRefused(t *testing.T) {
	requireLibrary(t)
	for _, c := range []Config{
		{Path: tiny, Provider: "coreml"},
		{Path: tiny, Provider: Remote},
		{Path: tiny, Provider: CUDA},
		{Path: tiny, Provider: TensorRT},
	} {
		e, err := Open(t.Context(), c, nil)
		if err == nil {
			e.Close()
			if c.Provider == CUDA || c.Provider == TensorRT {
				continue // a machine with a GPU and a library for it
			}
			t.Errorf("%s is taken", c.Provider)
			continue
		}
		var p *ProviderError
		if !errors.Is(err, ErrProvider) || !errors.As(err, &p) || p.Provider != c.Provider || !strings.Contains(err.Error(), c.Provider) {
			t.Errorf("%s: %v", c.Provider, err)
		}
	}
}

// choice is the card of what Open would try first.
func choice(c Config) (Card, error) {
	choices, err := Choices(c)
	if err != nil {
		return Card{}, err
	}
	return choices[0].Card, nil
}

func TestConfigRefused(t *testing.T) {
	for _, c := range []Config{
		{Workers: -1}, {Threads: -1}, {Device: -1}, {BatchSizes: []int{0}}, {BatchSizes: []int{maxBatch + 1}}, {Variant: "int4"}, {FlushAfter: -1},
	} {
		if _, err := choice(c); err == nil || errors.Is(err, ErrNoModel) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestDefaults(t *testing.T) {
	c := Config{BatchSizes: []int{32, 1, 8, 8}}.withDefaults()
	if c.Provider != Auto || c.Workers != runtime.GOMAXPROCS(0) || c.Threads != 1 || fmt.Sprint(c.BatchSizes) != "[1 8 32]" || c.FlushAfter != 4*time.Millisecond {
		t.Errorf("%+v", c)
	}
}

// TestContractRefused opens one file for each clause of the contract; the message must name what is off.
func TestContractRefused(t *testing.T) {
	for file, says := range map[string]string{
		"no-card":           `metadata "echonode.card" is missing`,
		"card-not-json":     `metadata "echonode.card" is not a card`,
		"card-contract-2":   "the card is for contract 2",
		"card-more-classes": `output "mask" has the shape [N,3,32,32], want [N,4,32,32]`,
		"card-no-lv":        `lack "lv_cavity"`,
		"card-twice-apex":   `the keypoints of the card name "apex" twice`,
		"card-other-size":   `input "frames" has the shape [N,1,64,64], want [N,1,64,96]`,
		"size-48":           "48x48 of the card is not divisible by 32",
		"batch-1":           `input "frames" has the shape [1,1,64,64], want [N,1,64,64]`,
		"input-name":        `input "frames" is missing (there are: image)`,
		"input-float":       `input "frames" is float32, want uint8`,
		"no-view":           `output "view" is missing (there are: mask, heatmaps)`,
		"mask-full-size":    `output "mask" has the shape [N,3,64,64], want [N,3,32,32]`,
		"mask-float":        `output "mask" is float32, want uint8`,
		"card-no-extras":    `output "extras" is missing (there are: mask, heatmaps, view)`,
	} {
		t.Run(file, func(t *testing.T) {
			path := filepath.Join("testdata", file+".onnx")
			_, err := choice(Config{Path: path})
			var c *ContractError
			if !errors.Is(err, ErrContract) || !errors.As(err, &c) || len(c.Problems) == 0 || c.Model != path {
				t.Fatalf("Choices: %v", err)
			}
			if !strings.Contains(err.Error(), says) {
				t.Errorf("%q is not said by: %v", says, err)
			}
			requireLibrary(t)
			if _, err := Open(t.Context(), Config{Path: path}, nil); !errors.Is(err, ErrContract) {
				t.Errorf("Open: %v", err)
			}
		})
	}
}

func TestSelfTestRefused(t *testing.T) {
	requireLibrary(t)
	for file, says := range map[string]string{
		"nan":    `output "heatmaps" holds NaN`,
		"random": "two different answers",
		"blind":  "ignores its input",
		"logits": `output "view"`,
	} {
		path := filepath.Join("testdata", file+".onnx")
		if _, err := choice(Config{Path: path}); err != nil {
			t.Errorf("%s: the contract alone should hold: %v", file, err)
		}
		_, err := Open(t.Context(), Config{Path: path, Provider: CPU}, nil)
		if !errors.Is(err, ErrSelfTest) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestModelFileRefused(t *testing.T) {
	text := filepath.Join(t.TempDir(), "model.onnx")
	if err := os.WriteFile(text, []byte("this is not a model"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := choice(Config{Path: text}); !errors.Is(err, ErrContract) {
		t.Errorf("text file: %v", err)
	}
	if _, err := choice(Config{Path: filepath.Join(t.TempDir(), "absent.onnx")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent file: %v", err)
	}
	if _, err := choice(Config{Path: t.TempDir()}); err == nil {
		t.Error("a folder is taken for a model")
	}
	// Every truncation is refused or, at a boundary of the file's outermost fields, still a whole model.
	whole, err := os.ReadFile(tiny)
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		if card, err := ReadCard("cut", whole[:n]); err == nil && card.Name != "tiny" {
			t.Errorf("cut to %d bytes: %+v", n, card)
		}
	}
}

func TestLibraryRefused(t *testing.T) {
	environment.Lock()
	users := environment.users
	environment.Unlock()
	if users != 0 {
		t.Fatalf("%d engines are still open", users)
	}
	fake := filepath.Join(t.TempDir(), "libonnxruntime.so.1.30.0")
	if err := os.WriteFile(fake, []byte("not a library"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, library := range []string{fake, filepath.Dir(fake), filepath.Join(t.TempDir(), "absent.so"), t.TempDir()} {
		_, err := Open(t.Context(), Config{Path: tiny, Library: library}, nil)
		var l *LibraryError
		if !errors.Is(err, ErrLibrary) || !errors.As(err, &l) || len(l.Tried) != 1 || !strings.HasPrefix(l.Tried[0], library) {
			t.Errorf("%s: %v", library, err)
		}
	}
	t.Setenv(LibraryEnv, fake)
	if _, err := Open(t.Context(), Config{Path: tiny}, nil); !errors.Is(err, ErrLibrary) || !strings.Contains(err.Error(), fake) {
		t.Errorf("%s set: %v", LibraryEnv, err)
	}
}

// TestLibraryOrder checks the order of the search: configuration, environment, what is installed with the program.
func TestLibraryOrder(t *testing.T) {
	paths := func(places []libraryPlace) (out []string) {
		for _, p := range places {
			out = append(out, p.path)
		}
		return out
	}
	root := t.TempDir()
	plant := func(elem ...string) string {
		path := filepath.Join(append([]string{root}, elem...)...)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	beside := plant("bin", "lib", "libonnxruntime.so.1")
	below := plant("lib", "echonode", "libonnxruntime.so.1.30.0")
	if got := paths(installedLibraries(filepath.Join(root, "bin"))); fmt.Sprint(got) != fmt.Sprint([]string{beside, below}) {
		t.Errorf("installed: %q", got)
	}
	if got := installedLibraries(filepath.Join(root, "elsewhere", "bin")); len(got) != 2 || got[0].named {
		t.Errorf("nothing installed: %+v", got)
	}
	t.Setenv(LibraryEnv, "/opt/ort.so")
	if got := paths(findLibrary("")); fmt.Sprint(got) != "[/opt/ort.so]" {
		t.Errorf("environment: %q", got)
	}
	if got := findLibrary(filepath.Dir(below)); len(got) != 1 || got[0].path != below || !got[0].named {
		t.Errorf("configuration: %+v", got)
	}
}

// TestLibraryNotFromWorkingDirectory plants libraries where somebody else could: in the working directory, above it and
// on the loader's search path.
func TestLibraryNotFromWorkingDirectory(t *testing.T) {
	root := t.TempDir()
	deep := filepath.Join(root, "a", "b")
	for _, dir := range []string{root, filepath.Join(root, ".build", "onnxruntime"), filepath.Join(root, "lib"), deep,
		filepath.Join(deep, ".build", "onnxruntime"), filepath.Join(deep, "lib")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, name := range libraryNames {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("planted"), 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Chdir(deep)
	t.Setenv(LibraryEnv, "")
	t.Setenv("LD_LIBRARY_PATH", root)
	for _, p := range findLibrary("") {
		if strings.HasPrefix(p.path, root) || !filepath.IsAbs(p.path) {
			t.Errorf("would load %s", p.path)
		}
	}
	if _, err := Open(t.Context(), Config{Path: tinyAbs, Provider: CPU}, nil); !errors.Is(err, ErrLibrary) {
		t.Errorf("opened: %v", err)
	}
}

// TestLibraryChecked: what was found must be a pinned build; what was named may be one's own, if it is an ONNX Runtime
// that nobody else can have written.
func TestLibraryChecked(t *testing.T) {
	requireLibrary(t)
	real, build, err := Library("")
	if err != nil || !strings.HasPrefix(build, "1.30.0") {
		t.Fatalf("%s, %q, %v", real, build, err)
	}
	if _, err := (libraryPlace{real, false}).check(); err != nil {
		t.Errorf("pinned and found: %v", err)
	}
	b, err := os.ReadFile(real)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	own := filepath.Join(dir, "libonnxruntime.so")
	if err := os.WriteFile(own, append(b, 0), 0o700); err != nil { // trailing bytes don't count for the loader
		t.Fatal(err)
	}
	if _, err := (libraryPlace{own, false}).check(); err == nil || !strings.Contains(err.Error(), "SHA-256") {
		t.Errorf("own build, found: %v", err)
	}
	if pinned, err := (libraryPlace{own, true}).check(); err != nil || pinned != "" {
		t.Errorf("own build, named: %q, %v", pinned, err)
	}
	if err := os.Chmod(own, 0o766); err != nil {
		t.Fatal(err)
	}
	if _, err := (libraryPlace{own, true}).check(); err == nil || !strings.Contains(err.Error(), "written by others") {
		t.Errorf("file writable by others: %v", err)
	}
	if err := errors.Join(os.Chmod(own, 0o700), os.Chmod(dir, 0o777)); err != nil {
		t.Fatal(err)
	}
	if _, err := (libraryPlace{own, true}).check(); err == nil || !strings.Contains(err.Error(), "written by others") {
		t.Errorf("folder writable by others: %v", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	libc := filepath.Join(dir, "other.so")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]func() ([]byte, error){
		"text":      func() ([]byte, error) { return []byte("not a library"), nil },
		"a program": func() ([]byte, error) { return os.ReadFile(self) },
		"another library": func() ([]byte, error) {
			return os.ReadFile(filepath.Join(filepath.Dir(real), "libonnxruntime_providers_shared.so"))
		},
	} {
		b, err := content()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(libc, b, 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := (libraryPlace{libc, true}).check(); err == nil {
			t.Errorf("%s passes for ONNX Runtime", name)
		}
	}
}

// TestPinnedLibraries: the set-up fetches the builds that are loaded without being named.
func TestPinnedLibraries(t *testing.T) {
	b, err := os.ReadFile("../conformance/setup/setup.sh")
	if err != nil {
		t.Fatal(err)
	}
	for sum, build := range pinnedLibraries {
		if !bytes.Contains(b, []byte("sha256="+sum)) {
			t.Errorf("%s is not what setup.sh fetches: %s", build, sum)
		}
	}
	if got := bytes.Count(b, []byte("sha256=")); got < len(pinnedLibraries) {
		t.Errorf("setup.sh names %d sums", got)
	}
}

// TestChoices: version and check-config name the model that runs, on the CPU the one with eight bits.
func TestChoices(t *testing.T) {
	requireLibrary(t)
	for provider, want := range map[string]string{
		Auto: "cpu embedded " + shippedINT8, CPU: "cpu embedded " + shippedINT8, CUDA: "cuda embedded " + shippedFP32, TensorRT: "tensorrt embedded " + shippedFP32,
	} {
		choices, err := Choices(Config{Provider: provider})
		if err != nil {
			t.Fatal(err)
		}
		last := choices[len(choices)-1]
		if got := last.Provider + " " + last.Model; got != want {
			t.Errorf("%s: %s, want %s", provider, got, want)
		}
		if provider != Auto && len(choices) != 1 {
			t.Errorf("%s: %d choices", provider, len(choices))
		}
	}
	e := open(t, Config{Provider: Auto})
	choices, err := Choices(Config{Provider: Auto})
	if err != nil {
		t.Fatal(err)
	}
	if got := choices[len(choices)-1].Card; got.SHA256 != e.Card().SHA256 {
		t.Errorf("promised %s %s, runs %s", got.Version, got.SHA256, e.Card().SHA256)
	}
}

func TestProviderErrorReadable(t *testing.T) {
	for given, want := range map[string]string{
		"/onnxruntime_src/onnxruntime/core/session/provider_bridge_ort.cc:1988 onnxruntime::Provider& onnxruntime::ProviderLibrary::Get() [ONNXRuntimeError] : 1 : FAIL : Failed to load library x.so": "Failed to load library x.so",
		"CUDA execution provider is not enabled in this build.": "CUDA execution provider is not enabled in this build.",
	} {
		if got := (&ProviderError{CUDA, errors.New(given)}).Error(); got != "models: provider cuda is not available: "+want {
			t.Errorf("%s", got)
		}
	}
}
