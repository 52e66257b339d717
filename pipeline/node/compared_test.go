package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/pipeline/spool"
	"github.com/echonode/echonode/pipeline/store"
	"github.com/echonode/echonode/scp"
)

// corrected is an object whose name is corrected by another version, which has
// arrived and is not recorded yet.
func corrected(t *testing.T) (n *running, old, next store.Instance) {
	t.Helper()
	dir := t.TempDir()
	n = start(t, dir, byContent(t), Options{Idle: time.Hour, Cap: 2 * time.Hour})
	n.mustSend(t, picture(t, "1.2.3", "1.2.3.10", 7, ofPerson("P1", "Doe^Jane", "", "")))
	old, err := n.store.Instance(t.Context(), "1.2.3.10")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "again.dcm")
	if err := os.Rename(picture(t, "1.2.3", "1.2.3.10", 7, ofPerson("P1", "Doe^Jane^Ann", "", "")), path); err != nil {
		t.Fatal(err)
	}
	if next, err = readIdentity(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	if next.Size, err = dataSetSize(next.Path); err != nil {
		t.Fatal(err)
	}
	if next.Sum, err = spool.Sum(next.Path); err != nil {
		t.Fatal(err)
	}
	return n, old, next
}

// A correction that cannot be compared with what is stored is refused for good
// only where that is the objects' fault: a sender repeats it after A700H and does
// not after 0111H.
func TestNotComparableNow(t *testing.T) {
	disk := &fs.PathError{Op: "read", Path: "x", Err: syscall.EIO}
	for name, c := range map[string]struct {
		err  error
		want uint16
	}{
		"memory":         {fmt.Errorf("index: %w", dicomio.ErrBusy), scp.StatusOutOfResources},
		"disk":           {&dicomio.Error{Op: "frames", Offset: 7, Err: disk}, scp.StatusOutOfResources},
		"descriptors":    {&fs.PathError{Op: "open", Path: "x", Err: syscall.EMFILE}, scp.StatusOutOfResources},
		"scratch":        {errors.Join(errors.New("no space left"), disk), scp.StatusOutOfResources},
		"another":        {nil, scp.StatusDuplicateInstance},
		"damaged frames": {&dicomio.Error{Op: "frames", Offset: 7, Err: dicomio.ErrCodestream}, scp.StatusDuplicateInstance},
		"too large":      {fmt.Errorf("%w: needs much", dicomio.ErrLimit), scp.StatusDuplicateInstance},
	} {
		t.Run(name, func(t *testing.T) {
			n, old, next := corrected(t)
			hold := n.Node.files.Hold()
			defer hold.Release()
			var refused *scp.StatusError
			if err := n.accept(t.Context(), next, true, hold, &compared{with: &old, err: c.err}); !errors.As(err, &refused) || refused.Status != c.want {
				t.Errorf("refused with %v", err)
			}
			conflicts := 0
			if c.want == scp.StatusDuplicateInstance {
				conflicts = 1
			}
			if s := n.status(t, "1.2.3"); s.Conflicts != conflicts || s.Corrected != 0 {
				t.Errorf("%d conflicts, %d corrections", s.Conflicts, s.Corrected)
			}
			// What is sent again later is what it is.
			if err := n.accept(t.Context(), next, true, hold, &compared{}); err != nil {
				t.Errorf("sent again: %v", err)
			}
		})
	}
}

// What was compared holds for the version that it was compared with, not for
// another that has come to its path since: the object was removed and sent again.
func TestComparedWithWhatIsGone(t *testing.T) {
	for name, change := range map[string]func(*store.Instance){
		"other bytes":         func(in *store.Instance) { in.Sum = "another" },
		"later, without sums": func(in *store.Instance) { in.Received = in.Received.Add(-time.Minute) },
		"corrected":           func(in *store.Instance) { in.Corrections++ },
		"another file":        func(in *store.Instance) { in.Path = "another" },
	} {
		t.Run(name, func(t *testing.T) {
			n, old, next := corrected(t)
			hold := n.Node.files.Hold()
			defer hold.Release()
			change(&old)
			if err := n.accept(t.Context(), next, true, hold, &compared{with: &old}); err != nil {
				t.Errorf("what was compared with a version that is gone is heeded: %v", err)
			}
		})
	}
}
