// Command grade says what the grade of an ejection fraction is worth: it reads the
// volumes of patients that were held out of a network's training, and prints the
// error of EF by grade, for a limit of the expected agreement and for the best one.
//
//	go run ./conformance/bench/grade [-limit DICE] [-view VIEW] VOLUMES.csv
//
// The file has one patient in a row and at least the columns view, ef_expert, ef,
// expected_ed and expected_es (see models.ExtraExpectedDice). A value is "good"
// where both phases are expected to agree at least as well as the limit. The limit
// that separates best was looked for: p is how often as good a one is found where
// errors and patients are shuffled.
package main

import (
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
)

func main() {
	limit := flag.Float64("limit", 0, "the least expected Dice of both phases of a good value; 0: the best one")
	view := flag.String("view", "A4C", "the view whose patients count")
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(os.Stdout, flag.Arg(0), *view, *limit); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(w io.Writer, path, view string, limit float64) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	patients, err := read(f, view)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	found, p := fit(patients)
	if limit == 0 {
		limit = found
	}
	_, err = io.WriteString(w, table(patients, limit)+fmt.Sprintf("\nThe best limit is %.3f (p %.2f).\n", found, p))
	return err
}

// patient is the error of one EF, in points, and the expected Dice of the worse
// of its two outlines.
type patient struct{ off, expected float64 }

func read(r io.Reader, view string) ([]patient, error) {
	rows, err := csv.NewReader(r).ReadAll()
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, errors.New("no header")
	}
	column := map[string]int{}
	for i, name := range rows[0] {
		column[name] = i
	}
	for _, name := range []string{"view", "ef_expert", "ef", "expected_ed", "expected_es"} {
		if _, ok := column[name]; !ok {
			return nil, fmt.Errorf("no column %q", name)
		}
	}
	var out []patient
	for line, row := range rows[1:] {
		if row[column["view"]] != view {
			continue
		}
		var v [4]float64
		for k, name := range []string{"ef_expert", "ef", "expected_ed", "expected_es"} {
			if v[k], err = strconv.ParseFloat(row[column[name]], 64); err != nil {
				return nil, fmt.Errorf("line %d: %w", line+2, err)
			}
		}
		out = append(out, patient{math.Abs(v[1] - v[0]), min(v[2], v[3])})
	}
	if len(out) < 10 {
		return nil, fmt.Errorf("%d patients of view %s: at least 10 are needed", len(out), view)
	}
	return out, nil
}

// errorsBy are the errors above and below a limit, in order of size.
func errorsBy(patients []patient, limit float64) (good, fair []float64) {
	for _, p := range patients {
		if p.expected >= limit {
			good = append(good, p.off)
		} else {
			fair = append(fair, p.off)
		}
	}
	slices.Sort(good)
	slices.Sort(fair)
	return good, fair
}

func mean(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

// separate finds the limit below which the mean error is larger by most; between
// a tenth and a half of the patients lie below it.
func separate(patients []patient) (limit, more float64) {
	expected := make([]float64, len(patients))
	for i, p := range patients {
		expected[i] = p.expected
	}
	slices.Sort(expected)
	more = math.Inf(-1)
	for _, l := range expected[max(len(expected)/10, 1) : len(expected)/2+1] {
		good, fair := errorsBy(patients, l)
		if len(fair) == 0 {
			continue
		}
		if d := mean(fair) - mean(good); d > more {
			limit, more = l, d
		}
	}
	return limit, more
}

const shuffles = 1000

// fit is the limit that separates best, and the part of shuffled patients in
// which one separates as well.
func fit(patients []patient) (limit, p float64) {
	limit, more := separate(patients)
	rng := rand.New(rand.NewPCG(1, 7))
	shuffled := slices.Clone(patients)
	n := 0
	for range shuffles {
		rng.Shuffle(len(shuffled), func(i, j int) { shuffled[i].off, shuffled[j].off = shuffled[j].off, shuffled[i].off })
		if _, m := separate(shuffled); m >= more {
			n++
		}
	}
	return limit, float64(n) / shuffles
}

func table(patients []patient, limit float64) string {
	good, fair := errorsBy(patients, limit)
	out := fmt.Sprintf("Expected Dice at least %.3f at both phases: good.\n\n"+
		"| grade | patients | mean error of EF | median | over 10 points |\n|---|---|---|---|---|\n", limit)
	for _, g := range []struct {
		name string
		v    []float64
	}{{"good", good}, {"fair", fair}} {
		if len(g.v) == 0 {
			out += fmt.Sprintf("| %s | 0 | - | - | - |\n", g.name)
			continue
		}
		over := 0
		for _, x := range g.v {
			if x > 10 {
				over++
			}
		}
		out += fmt.Sprintf("| %s | %d | %.1f | %.1f | %.0f %% |\n", g.name, len(g.v), mean(g.v), g.v[len(g.v)/2], 100*float64(over)/float64(len(g.v)))
	}
	return out
}
