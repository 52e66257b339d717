// Command lv measures simulated hearts (package heart) whose ejection fraction
// and volumes are known, and prints what comes out as tables in Markdown:
// noise, frame and heart rates, and the faults that loops have.
//
//	go run ./conformance/bench/lv [-n LOOPS] [-seed N] [-only TABLE]
//
// bias and "95 %" are of EF in points: the mean error, and the error that 95 %
// of the loops with a value stay within. "remarked" and "refused" are shares of
// the loops in per cent, "severe" those answered with "severely reduced" in words;
// "wrong, no remark" counts values that miss EF by more than 5 points or EDV by
// more than 15 % and carry no warning, and severe answers whose bound for EF the
// true one exceeds.
package main

import (
	"cmp"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"

	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/measure"
	"github.com/echonode/echonode/pipeline/measure/heart"
	"github.com/echonode/echonode/pipeline/result"
)

func main() {
	n := flag.Int("n", 200, "loops for every row")
	seed := flag.Uint64("seed", 1, "of the random numbers")
	only := flag.String("only", "", "noise, rates, faults or pairs")
	flag.Parse()
	options := measure.Options{LV: lv.DefaultOptions()}
	for _, table := range []struct {
		name  string
		print func(*bench)
	}{{"noise", noise}, {"rates", rates}, {"faults", faults}, {"pairs", pairs}} {
		if *only == "" || *only == table.name {
			table.print(&bench{options: options, n: *n, rng: rand.New(rand.NewPCG(*seed, 5))})
			fmt.Fprintln(os.Stdout)
		}
	}
}

type bench struct {
	options measure.Options
	n       int
	rng     *rand.Rand
}

// score collects the outcomes of one row.
type score struct {
	errors                                    []float64
	loops, refused, severe, remarked, unnoted int
	reasons                                   map[string]int
}

func (s *score) add(m *result.Measurement, edv *result.Measurement, ef, volume float64) {
	s.loops++
	if s.reasons == nil {
		s.reasons = map[string]int{}
	}
	if m == nil || m.Value == nil {
		if m != nil && m.Reason != nil {
			s.reasons[m.Reason.Code]++
			if m.Reason.Code == result.SeverelyReduced {
				s.severe++
				if ef > bound(m.Reason.Text) {
					s.unnoted++
				}
				return
			}
		}
		s.refused++
		return
	}
	off := *m.Value - ef
	s.errors = append(s.errors, off)
	wrong := math.Abs(off) > 5
	if edv != nil && edv.Value != nil && volume > 0 {
		wrong = wrong || math.Abs(*edv.Value-volume) > 0.15*volume
	}
	if len(m.Quality.Warnings) > 0 {
		s.remarked++
		for _, w := range m.Quality.Warnings {
			s.reasons[w.Code]++
		}
	} else if wrong {
		s.unnoted++
	}
}

// bound is the EF that a severely reduced one is said to be under.
func bound(text string) float64 {
	var v float64
	if _, after, ok := strings.Cut(text, "under about "); ok {
		if _, err := fmt.Sscanf(after, "%f", &v); err != nil {
			return 0
		}
	}
	return v
}

func (s *score) String() string {
	percent := func(n int) string { return fmt.Sprintf("%.0f", 100*float64(n)/float64(s.loops)) }
	if len(s.errors) == 0 {
		return fmt.Sprintf("- | - | %s | %s | %s | %d", percent(s.remarked), percent(s.severe), percent(s.refused), s.unnoted)
	}
	sum := 0.0
	size := make([]float64, len(s.errors))
	for i, e := range s.errors {
		sum += e
		size[i] = math.Abs(e)
	}
	slices.Sort(size)
	return fmt.Sprintf("%+.1f | %.1f | %s | %s | %s | %d", sum/float64(len(size)), size[min(len(size)*95/100, len(size)-1)],
		percent(s.remarked), percent(s.severe), percent(s.refused), s.unnoted)
}

// why lists the commonest reasons and warnings.
func (s *score) why() string {
	var codes []string
	for c := range s.reasons {
		codes = append(codes, c)
	}
	slices.SortFunc(codes, func(a, b string) int { return cmp.Or(s.reasons[b]-s.reasons[a], strings.Compare(a, b)) })
	return strings.Join(codes[:min(3, len(codes))], ", ")
}

const columns = "bias | 95 % | remarked % | severe % | refused % | wrong, no remark |"

func find(ms []result.Measurement, name string) *result.Measurement {
	i := slices.IndexFunc(ms, func(m result.Measurement) bool { return m.Name == name })
	if i < 0 {
		return nil
	}
	return &ms[i]
}

func pick[T any](rng *rand.Rand, v ...T) T { return v[rng.IntN(len(v))] }

// clip is three seconds of a regular heart, begun anywhere in a beat.
func (b *bench) clip(rate, ef, fps, noise float64) heart.Clip {
	rr := 60000 / rate
	start := b.rng.Float64() * rr
	length := max(3000, 2.2*rr)
	return heart.Clip{
		Beats: heart.Regular(rate, ef, 117.81, int((start+length)/rr)+2), FPS: fps, Start: start, Length: length,
		Noise: noise, Stray: 0.5, Seed: b.rng.Uint64N(1 << 40),
	}
}

func (b *bench) measure(s *score, c heart.Clip, ef float64) {
	l := c.Loop()
	measure.Loop(&l, b.options)
	s.add(find(l.Measurements, result.EF), find(l.Measurements, result.EDV), ef, 117.81)
}

func noise(b *bench) {
	fmt.Print("Noise of the area from frame to frame; 25 to 80 frames per second, 45 to 110 beats per minute.\n\n")
	fmt.Printf("| EF | noise %% | %s\n|---|---|---|---|---|---|---|---|\n", columns)
	for _, ef := range []float64{5, 10, 20, 35, 50, 60, 70, 80} {
		for _, noise := range []float64{0, 1, 2, 3, 4} {
			var s score
			for range b.n {
				b.measure(&s, b.clip(45+65*b.rng.Float64(), ef, pick(b.rng, 25, 30, 40, 50, 80.), noise/100), ef)
			}
			fmt.Printf("| %.0f | %.0f | %s |\n", ef, noise, &s)
		}
	}
}

func rates(b *bench) {
	fmt.Print("Frame rate and heart rate; EF 20 to 75, noise 2 %.\n\n")
	fmt.Printf("| frames/s | beats/min | %s\n|---|---|---|---|---|---|---|---|\n", columns)
	for _, fps := range []float64{10, 15, 20, 25, 30, 50, 80, 120} {
		for _, rate := range []float64{35, 60, 90, 120, 150, 180, 200} {
			var s score
			for range b.n {
				ef := 20 + 55*b.rng.Float64()
				b.measure(&s, b.clip(rate, ef, fps, 0.02), ef)
			}
			fmt.Printf("| %.0f | %.0f | %s |\n", fps, rate, &s)
		}
	}
}
