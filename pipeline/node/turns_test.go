package node

import (
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/echonode/echonode/pipeline/turns"
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
