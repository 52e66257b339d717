package pipeline

import (
	"slices"

	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/result"
)

// Own choice: no acquired picture equals another one to the bit but where a program
// doubled it, so that a still of so many ms, or so large a part of the frames
// that come again, at least so many, is no motion of the heart.
const (
	stillMS      = 120
	repeatedPart = 0.2
	repeatedMin  = 5
)

// repeats looks at digests of a loop's frames, 0 for one that is not known, at times
// in ms: pictures that are shown several times each, that stand still, or that come
// again, as where a loop is played forth and back; nil for a loop as it was acquired.
func repeats(digests []uint64, times []float64) *result.Reason {
	if len(digests) < 2 || len(times) != len(digests) || slices.Contains(digests, 0) {
		return nil
	}
	reason := func(code, format string, args ...any) *result.Reason {
		r := result.Reasonf(code, format, args...)
		return &r
	}
	var lengths []float64 // of runs of equal frames
	longest := 0.0        // between others, in ms
	for i := 0; i < len(digests); {
		j := i
		for j+1 < len(digests) && digests[j+1] == digests[i] {
			j++
		}
		lengths = append(lengths, float64(j-i+1))
		if i > 0 && j+1 < len(digests) { // before the first and behind the last motion it changes no interval
			longest = max(longest, times[j]-times[i])
		}
		i = j + 1
	}
	if len(lengths) == 1 {
		return reason(result.Repeated, "all frames are one picture")
	}
	if each := lv.Median(lengths); each >= 2 && len(lengths) >= repeatedMin {
		rate := 1000 * float64(len(lengths)) / (times[len(times)-1] - times[0])
		return reason(result.FrameTimes, "each picture is shown %.0f times: there are %.0f a second", each, rate)
	}
	if longest > stillMS {
		return reason(result.Repeated, "the picture stands still for %.0f ms: the rate may not be the heart's", longest)
	}
	seen, again := map[uint64]int{}, 0
	for i, d := range digests {
		if last, ok := seen[d]; ok && last != i-1 {
			again++
		}
		seen[d] = i
	}
	if again >= repeatedMin && float64(again) >= repeatedPart*float64(len(digests)) {
		return reason(result.Repeated, "%d of %d frames come again: the loop is played forth and back or repeated, and the rate may not be the heart's",
			again, len(digests))
	}
	return nil
}
