// Command mutate asks what the tests of a package would notice: it changes the
// package's code in one place at a time (a comparison, a sign, a condition, a
// statement left out) and runs the tests. A change that no test fails for, a
// mutant that lives, is a line that nothing holds in place.
//
//	go run ./conformance/mutate [-tests PKG,PKG] [-run REGEXP] [-file PART,PART] [-n MUTANTS] [-seed N] PACKAGE...
//
// A package with a long suite is asked file by file, with -file and with the
// tests that concern these files as -run. What lives then may still be noticed
// by the others.
//
// The tree is not touched: the changed file is given to the go command as an
// overlay. Mutants that do not compile do not count. Of more than -n mutants a
// sample is taken, the same one for the same seed and code.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func main() {
	var q question
	tests := flag.String("tests", "", "packages whose tests must notice, comma separated; PACKAGE itself when empty")
	flag.StringVar(&q.run, "run", "", "only tests that match, as of go test; all when empty")
	files := flag.String("file", "", "only files whose name holds one of these, comma separated; all when empty")
	flag.IntVar(&q.n, "n", 100, "most mutants; 0 for all")
	flag.Uint64Var(&q.seed, "seed", 1, "of the sample")
	flag.DurationVar(&q.limit, "timeout", 2*time.Minute, "for the tests of one mutant; one that runs longer is noticed")
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	q.packages, q.tests, q.files = flag.Args(), list(*tests), list(*files)
	if _, err := q.ask(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

// list are the parts of a comma separated list.
func list(s string) []string { return strings.FieldsFunc(s, func(r rune) bool { return r == ',' }) }

// question is what is changed and who must notice.
type question struct {
	packages []string
	files    []string // parts of names; none: all files
	tests    []string // packages; none: those that are changed
	run      string   // regular expression; "": all tests
	n        int      // most mutants; 0: all
	seed     uint64
	limit    time.Duration // of the tests of one mutant
}

// ask tries the mutants and returns how many live.
func (q question) ask(ctx context.Context) (int, error) {
	if len(q.tests) == 0 {
		q.tests = q.packages
	}
	mutants, err := mutantsOf(ctx, q.packages, q.files)
	if err != nil {
		return 0, err
	}
	all := len(mutants)
	if q.n > 0 && all > q.n {
		rng := rand.New(rand.NewPCG(q.seed, 1))
		rng.Shuffle(all, func(i, j int) { mutants[i], mutants[j] = mutants[j], mutants[i] })
		mutants = mutants[:q.n]
		slices.SortFunc(mutants, func(a, b mutant) int { return strings.Compare(a.String(), b.String()) })
	}
	dir, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	if out, err := q.goTest(ctx, ""); err != nil {
		return 0, fmt.Errorf("the tests fail without a change: %w\n%s", err, out)
	} else if strings.Contains(string(out), "[no tests to run]") || strings.Contains(string(out), "[no test files]") {
		return 0, fmt.Errorf("a package has no test that could notice:\n%s", out)
	}
	killed, alive, invalid := 0, 0, 0
	for i, m := range mutants {
		overlay, err := m.overlay(dir)
		if err != nil {
			return 0, err
		}
		out, err := q.goTest(ctx, overlay)
		switch {
		case err == nil:
			alive++
			fmt.Printf("lives: %s\n", m)
		case strings.Contains(string(out), "[build failed]"), strings.Contains(string(out), "[setup failed]"):
			invalid++
		default:
			killed++
		}
		fmt.Fprintf(os.Stderr, "\r%d of %d: %d noticed, %d live, %d do not compile  ", i+1, len(mutants), killed, alive, invalid)
	}
	fmt.Fprintln(os.Stderr)
	if killed+alive == 0 {
		return 0, errors.New("no mutant compiles")
	}
	fmt.Printf("%s: %d of %d mutants noticed, %.0f %% (%d tried of %d, %d do not compile)\n", strings.Join(append(slices.Clone(q.packages), q.files...), " "),
		killed, killed+alive, 100*float64(killed)/float64(killed+alive), len(mutants), all, invalid)
	return alive, nil
}

// goTest runs the tests under an overlay; "" for none. A test that hangs is ended.
func (q question) goTest(ctx context.Context, overlay string) ([]byte, error) {
	args := []string{"test", "-count=1", "-failfast", "-short", "-vet=off", "-timeout", q.limit.String()}
	if q.run != "" {
		args = append(args, "-run", q.run)
	}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, q.tests...)...)
	return cmd.CombinedOutput()
}

// mutant is one change of a file.
type mutant struct {
	file       string // absolute
	line       int
	start, end int // bytes
	with       string
	what       string
}

// String says where and what.
func (m mutant) String() string {
	return fmt.Sprintf("%s:%d: %s", filepath.Base(m.file), m.line, m.what)
}

// overlay writes the changed file and the go command's description of it.
func (m mutant) overlay(dir string) (string, error) {
	src, err := os.ReadFile(m.file)
	if err != nil {
		return "", err
	}
	changed := slices.Concat(src[:m.start], []byte(m.with), src[m.end:])
	file, list := filepath.Join(dir, "mutant.go"), filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, changed, 0o600); err != nil {
		return "", err
	}
	b, err := json.Marshal(map[string]map[string]string{"Replace": {m.file: file}})
	if err != nil {
		return "", err
	}
	return list, os.WriteFile(list, b, 0o600)
}
