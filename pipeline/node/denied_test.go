package node

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"
	"time"

	"github.com/echonode/echonode/pipeline/objects"
	"github.com/echonode/echonode/pipeline/store"
)

// What may not be read is put right by who owns it: no loop is given up for it, no
// delivery by itself, no earlier result done without.
func TestDeniedIsWaitedFor(t *testing.T) {
	n := &Node{opt: Options{Attempts: 2, RetryFor: time.Minute}}
	of := func(why error) error {
		return fmt.Errorf("look: %w", errors.Join(objects.ErrUnreadable, &fs.PathError{Op: "open", Path: "x", Err: why}))
	}
	for why, waits := range map[syscall.Errno]bool{syscall.EACCES: true, syscall.EPERM: true, syscall.EIO: false} {
		err := of(why)
		for attempt := 1; attempt < 200; attempt += 99 {
			at, final := n.nextLook(time.Now(), attempt, err), attempt > 1 && !waits
			if wait := time.Until(at); at.IsZero() != final || !final && (wait < 0 || wait > maxDenied) {
				t.Errorf("%v, attempt %d: again after %v", why, attempt, wait)
			}
		}
		if gone := whyGone(err); (gone == "") != waits {
			t.Errorf("%v: given up since %q", why, gone)
		}
		if ofItself(err) == waits {
			t.Errorf("%v: of the delivery itself: %v", why, !waits)
		}
		if n.lost(&store.Run{}, err) == waits {
			t.Errorf("%v: an earlier result is lost: %v", why, !waits)
		}
	}
}
