package measure_test

import (
	"fmt"

	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/measure"
	"github.com/echonode/echonode/pipeline/measure/heart"
	"github.com/echonode/echonode/pipeline/result"
)

// Two loops of a study, here of a simulated heart of 117.8 mL that ejects 60 %,
// are measured each by itself and then together.
func Example() {
	o := measure.Options{LV: lv.DefaultOptions()}
	var s result.Study
	for i, view := range []string{"A4C", "A2C"} {
		l := heart.Clip{Beats: heart.Regular(60, 60, 117.81, 4), FPS: 50, Start: 700, View: view, Seed: uint64(i)}.Loop()
		measure.Loop(&l, o)
		s.Loops = append(s.Loops, l)
	}
	measure.Study(&s, o)
	for _, m := range s.Measurements {
		if m.Name == result.EDV || m.Name == result.EF {
			fmt.Printf("%s %.0f %s (%s, %s, %d beats)\n", m.Name, *m.Value, m.Unit, m.Method, m.Quality.Grade, len(m.Beats))
		}
	}
	// Output:
	// EF 60 % (biplane method of disks, good, 3 beats)
	// EDV 118 ml (biplane method of disks, good, 3 beats)
}
