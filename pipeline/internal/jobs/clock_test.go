package jobs

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/echonode/echonode/pipeline/store"
)

// The library measures with the clock that it is given: a wall clock that is set
// must not change what it measures.
func TestClockMeasures(t *testing.T) {
	st, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "node.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	c := clock{st}
	if now := c.Now(); !strings.Contains(now.String(), " m=") {
		t.Errorf("%v has no monotonic reading", now)
	}
	if now := c.NowOrNil(); now != nil {
		t.Errorf("the database has a clock of its own: %v", now)
	}
}
