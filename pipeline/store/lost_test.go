package store

import (
	"bytes"
	"errors"
	"net"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/echonode/echonode/conformance/postgres"
)

// Loops that are leased to a process and that it knows nothing of are free again;
// those that it knows stay.
func checkFreeLost(t *testing.T, s *Store) {
	ctx := t.Context()
	if err := s.Enter(ctx, Process{ID: "this", Seat: "here"}); err != nil {
		t.Fatal(err)
	}
	for _, sop := range []string{"1.1", "1.2"} {
		add(t, s, instance("1", sop, 1000))
	}
	known, lost := lease(t, s, true), lease(t, s, true)
	if n, err := s.FreeLost(ctx, []int64{known.Token, lost.Token}); err != nil || n != 0 {
		t.Errorf("freed %d of those that are known, %v", n, err)
	}
	if n, err := s.FreeLost(ctx, []int64{known.Token}); err != nil || n != 1 {
		t.Errorf("freed %d, %v", n, err)
	}
	if again := lease(t, s, true); again.SOPInstanceUID != lost.SOPInstanceUID || again.Deaths != 0 || again.Attempts != 0 {
		t.Errorf("leased %+v", again)
	}
	if err := s.FinishLoop(ctx, lost, "b", "key", "", nil); !errors.Is(err, ErrStale) {
		t.Errorf("the lost lease still counts: %v", err)
	}
	if err := s.FinishLoop(ctx, known, "b", "key", "", nil); err != nil {
		t.Error(err)
	}
}

// A lease is recorded and the connection ends before the answer: the loop is
// free again as soon as the process has looked.
func TestAnswerToALeaseIsLost(t *testing.T) {
	ctx, database := t.Context(), postgres.Database(t)
	direct := open(t, database)
	to, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	var armed atomic.Bool
	address := to.Host
	to.Host = losesAnswers(t, address, &armed)
	s := open(t, to.String())
	if err := s.Enter(ctx, Process{ID: "this", Seat: "here"}); err != nil {
		t.Fatal(err)
	}
	add(t, s, instance("1", "1.1", 1000))
	armed.Store(true)
	if l, err := s.LeaseLoop(ctx, time.Now(), true, 1); err == nil || errors.Is(err, ErrNotFound) {
		t.Fatalf("leased %+v, %v", l, err)
	}
	if armed.Load() {
		t.Fatal("no answer was lost")
	}
	if _, err := direct.LeaseLoop(ctx, time.Now(), true, 1); !errors.Is(err, ErrNotFound) {
		t.Fatalf("the lease was not recorded: %v", err)
	}
	if n, err := s.FreeLost(ctx, nil); err != nil || n != 1 {
		t.Fatalf("freed %d, %v", n, err)
	}
	if l, err := s.LeaseLoop(ctx, time.Now(), true, 1); err != nil || l.SOPInstanceUID != "1.1" {
		t.Errorf("leased %+v, %v", l, err)
	}
}

// losesAnswers stands before a server of PostgreSQL. Once armed it ends the next
// connection that commits when the server has answered, and keeps the answer.
func losesAnswers(t *testing.T, to string, armed *atomic.Bool) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	pass := func(client, server net.Conn) {
		defer client.Close()
		defer server.Close()
		var kept atomic.Bool
		go func() {
			defer client.Close()
			defer server.Close()
			answer := make([]byte, 1<<16)
			for {
				n, err := server.Read(answer)
				if err != nil || kept.Load() {
					return
				}
				if _, err := client.Write(answer[:n]); err != nil {
					return
				}
			}
		}()
		question := make([]byte, 1<<16)
		for {
			n, err := client.Read(question)
			if err != nil {
				return
			}
			if bytes.Contains(question[:n], []byte("commit\x00")) && armed.CompareAndSwap(true, false) {
				kept.Store(true)
			}
			if _, err := server.Write(question[:n]); err != nil {
				return
			}
		}
	}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return // closed
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				_ = client.Close()
				continue
			}
			go pass(client, server)
		}
	}()
	return l.Addr().String()
}
