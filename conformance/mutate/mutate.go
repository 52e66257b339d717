// Command mutate asks what the tests of a package would notice: it changes the
// package's code in one place at a time (a comparison, a sign, a condition, a
// statement left out) and runs the tests. A change that no test fails for, a
// mutant that lives, is a line that nothing holds in place.
//
//	go run ./conformance/mutate [-tests PKG,PKG] [-n MUTANTS] [-seed N] [-file PART] PACKAGE...
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
	tests := flag.String("tests", "", "packages whose tests must notice, comma separated; PACKAGE itself when empty")
	n := flag.Int("n", 100, "most mutants; 0 for all")
	seed := flag.Uint64("seed", 1, "of the sample")
	part := flag.String("file", "", "only files whose name holds this")
	limit := flag.Duration("timeout", 2*time.Minute, "for the tests of one mutant; one that runs longer is noticed")
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	if _, err := run(context.Background(), flag.Args(), strings.FieldsFunc(*tests, func(r rune) bool { return r == ',' }), *part, *n, *seed, *limit); err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

// run tries the mutants of some packages and returns how many live.
func run(ctx context.Context, packages, tests []string, part string, n int, seed uint64, limit time.Duration) (int, error) {
	if len(tests) == 0 {
		tests = packages
	}
	mutants, err := mutantsOf(ctx, packages, part)
	if err != nil {
		return 0, err
	}
	all := len(mutants)
	if n > 0 && all > n {
		rng := rand.New(rand.NewPCG(seed, 1))
		rng.Shuffle(all, func(i, j int) { mutants[i], mutants[j] = mutants[j], mutants[i] })
		mutants = mutants[:n]
		slices.SortFunc(mutants, func(a, b mutant) int { return strings.Compare(a.String(), b.String()) })
	}
	dir, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	if out, err := goTest(ctx, "", tests, limit); err != nil {
		return 0, fmt.Errorf("the tests fail without a change: %w\n%s", err, out)
	}
	killed, alive, invalid := 0, 0, 0
	for i, m := range mutants {
		overlay, err := m.overlay(dir)
		if err != nil {
			return 0, err
		}
		out, err := goTest(ctx, overlay, tests, limit)
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
	fmt.Printf("%s: %d of %d mutants noticed, %.0f %% (%d tried of %d, %d do not compile)\n", strings.Join(packages, " "),
		killed, killed+alive, 100*float64(killed)/float64(killed+alive), len(mutants), all, invalid)
	return alive, nil
}

// goTest runs tests under an overlay; "" for none. A test that hangs is ended.
func goTest(ctx context.Context, overlay string, packages []string, limit time.Duration) ([]byte, error) {
	args := []string{"test", "-count=1", "-failfast", "-short", "-timeout", limit.String()}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, packages...)...)
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
