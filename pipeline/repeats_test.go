package pipeline

import (
	"strings"
	"testing"

	"github.com/echonode/echonode/pipeline/result"
)

// Pictures that a program doubled, froze or played again are told from acquired ones.
func TestRepeats(t *testing.T) {
	digests := func(ids ...int) (d []uint64) {
		for _, id := range ids {
			d = append(d, uint64(id)<<1|1)
		}
		return d
	}
	count := func(n int, id func(i int) int) []uint64 {
		var ids []int
		for i := range n {
			ids = append(ids, id(i))
		}
		return digests(ids...)
	}
	for name, tt := range map[string]struct {
		digests    []uint64
		code, text string
	}{
		"as acquired":     {count(40, func(i int) int { return i }), "", ""},
		"forth and back":  {count(40, func(i int) int { return min(i%20, 20-i%20) }), result.Repeated, "of 40 frames come again"},
		"one beat twice":  {count(40, func(i int) int { return i % 20 }), result.Repeated, "20 of 40 frames come again"},
		"four times each": {count(40, func(i int) int { return i / 4 }), result.FrameTimes, "shown 4 times: there are 10 a second"},
		"frozen":          {count(40, func(i int) int { return i - min(max(i-10, 0), 8) }), result.Repeated, "stands still for 200 ms"},
		"held at the end": {count(40, func(i int) int { return min(i, 32) }), "", ""},
		"held before":     {count(40, func(i int) int { return max(i, 8) }), "", ""},
		"one doubled":     {count(40, func(i int) int { return max(i, 2) }), "", ""},
		"one comes again": {count(40, func(i int) int { return i % 39 }), "", ""},
		"a still":         {count(10, func(int) int { return 1 }), result.Repeated, "all frames are one picture"},
		"not all known":   {append(count(39, func(int) int { return 1 }), 0), "", ""},
	} {
		times := make([]float64, len(tt.digests))
		for i := range times {
			times[i] = 25 * float64(i)
		}
		r := repeats(tt.digests, times)
		if (r == nil) != (tt.code == "") || r != nil && (r.Code != tt.code || !strings.Contains(r.Text, tt.text)) {
			t.Errorf("%s: %v", name, r)
		}
	}
	if repeats(digests(1, 1, 1), nil) != nil {
		t.Error("without times")
	}
}
