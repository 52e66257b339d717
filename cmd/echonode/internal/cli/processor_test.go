package cli

import (
	"errors"
	"fmt"
	"testing"

	"github.com/echonode/echonode/pipeline/node"
	"github.com/echonode/echonode/pipeline/output"
	"github.com/echonode/echonode/sr"
)

// A report that is not valid never will be; a full disk passes.
func TestUnmakeable(t *testing.T) {
	_, invalid := sr.Build(sr.Report{})
	for _, c := range []struct {
		err   error
		final bool
	}{{fmt.Errorf("report: %w", invalid), true}, {errors.New("disk full"), false}, {output.ErrNoSource, false}} {
		err := unmakeable(c.err)
		if final := errors.As(err, new(*node.UnmakeableError)); final != c.final || !errors.Is(err, c.err) {
			t.Errorf("%v: %v, final %v", c.err, err, final)
		}
	}
}
