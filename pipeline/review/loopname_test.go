package review

import (
	"testing"

	"github.com/echonode/echonode/pipeline/result"
)

// The pages call a loop as reports do.
func TestLoopName(t *testing.T) {
	all, _, err := loadWords()
	if err != nil {
		t.Fatal(err)
	}
	de, en := all["de"], all["en"]
	for n, want := range map[result.LoopName][2]string{
		{Number: 7}:              {"Schleife 7", "Loop 7"},
		{Series: 3, Number: 1}:   {"Serie 3, Schleife 1", "Series 3, loop 1"},
		{Number: 2, Place: true}: {"Schleife #2", "Loop #2"},
	} {
		if got := [2]string{loopName(de, n), loopName(en, n)}; got != want {
			t.Errorf("%+v: %q, want %q", n, got, want)
		}
	}
}
