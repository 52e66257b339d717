package node

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"
	"time"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/pipeline/internal/turns"
	"github.com/echonode/echonode/pipeline/spool"
	"github.com/echonode/echonode/scp"
)

// Who receives has a place on the processor for what it does with what it has
// read, and none while it waits for the network.
func TestReceivingInTurns(t *testing.T) {
	n := &Node{opt: Options{Places: turns.New(turns.NewAccounts(), 1)}}
	ctx := n.working(t.Context(), "192.0.2.1", turns.Receiving)
	in, out := io.Pipe()
	fromNetwork := funcReader(func(p []byte) (int, error) {
		if n.opt.Places.Idle() != 1 {
			t.Error("a place is held while the network is waited for")
		}
		return in.Read(p)
	})
	steps := turns.Begin(ctx)
	r := &inTurns{ctx, iotest.OneByteReader(fromNetwork), steps}
	go func() {
		_, _ = out.Write([]byte("ab"))
		_ = out.CloseWithError(io.ErrUnexpectedEOF)
	}()
	var p [8]byte
	for range 2 {
		if n, err := r.Read(p[:]); n != 1 || err != nil {
			t.Fatalf("read %d bytes, error %v", n, err)
		}
		if n.opt.Places.Idle() != 0 {
			t.Error("no place is held for what was read")
		}
	}
	if _, err := r.Read(p[:]); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error = %v", err)
	}
	steps.End()
	if n.opt.Places.Idle() != 1 {
		t.Error("the place was not given back")
	}
}

type funcReader func(p []byte) (int, error)

func (f funcReader) Read(p []byte) (int, error) { return f(p) }

// An object is compared with its version before in turns of its sender's, before
// anybody has to wait for it; what came out holds for that version only.
func TestComparingInTurns(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dir := t.TempDir()
	n := start(t, dir, &fakeProcessor{t: t}, Options{Idle: time.Hour, Cap: 2 * time.Hour})
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.10", nil))
	old, err := n.store.Instance(t.Context(), "1.2.3.10")
	if err != nil {
		t.Fatal(err)
	}
	again := filepath.Join(dir, "again")
	if err := os.Mkdir(again, 0o750); err != nil {
		t.Fatal(err)
	}
	renamed := writeObject(t, again, "1.2.3", "1.2.3.10", func(ds *dicomio.DataSet) { ds.SetString(tag.PatientName, "Other^Name") })
	places := turns.New(turns.NewAccounts(), 1)
	turn, err := places.Take(ctx, "another", turns.Analysing)
	if err != nil {
		t.Fatal(err)
	}
	// While another has the only place it waits, and again before each of its
	// steps: as soon as it has had a place, that other is served before it.
	done := make(chan *compared, 1)
	go func() {
		got, err := n.compareAhead(ctx, staged{path: renamed}, old, turns.Begin(turns.With(ctx, places, "192.0.2.1", turns.Receiving)))
		if err != nil {
			t.Error(err)
		}
		done <- got
	}()
	waits := func(others int) {
		t.Helper()
		eventually(t, "it waits for its turn", func() bool {
			if len(done) > 0 {
				t.Fatal("it did not wait for its turn")
			}
			return places.Waiting() == 1+others
		})
	}
	waits(0)
	next := make(chan turns.Turn, 1)
	go func() {
		turn, err := places.Take(ctx, "another", turns.Analysing)
		if err != nil {
			t.Errorf("the other has no turn between: %v", err)
		}
		next <- turn
	}()
	waits(1)
	turn.Done()
	if turn = <-next; t.Failed() {
		return
	}
	waits(0)
	turn.Done()
	if got := <-done; got == nil || !got.same || !got.holds(old) {
		t.Errorf("%+v", got)
	}
	for _, c := range []struct {
		path     string
		compared bool
	}{{renamed, true}, {old.Path, false}} {
		got, err := n.compareAhead(ctx, staged{path: c.path}, old, turns.Begin(turns.With(ctx, places, "192.0.2.1", turns.Receiving)))
		if err != nil || got.same != c.compared || got.holds(old) != c.compared || got.err != nil {
			t.Errorf("%s: %+v, %v", c.path, got, err)
		}
		if places.Idle() != 1 {
			t.Fatal("the place was not given back")
		}
	}
	hold := n.Node.files.Hold()
	defer hold.Release()
	changed := old
	changed.Path = renamed
	var refused *scp.StatusError
	if err := n.accept(ctx, changed, true, hold, &compared{with: &old}); !errors.As(err, &refused) || refused.Status != scp.StatusDuplicateInstance {
		t.Errorf("what was compared is not heeded: %v", err)
	}
	other := old
	other.Path = "another version"
	if err := n.accept(ctx, changed, true, hold, &compared{with: &other}); err != nil {
		t.Errorf("what was compared with another version is heeded: %v", err)
	}
}

// staged is an object that has arrived as a file.
type staged struct {
	spool.Arrival
	path string
}

func (s staged) Staged() (string, error) { return s.path, nil }
