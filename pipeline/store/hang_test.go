package store

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/echonode/echonode/conformance/postgres"
)

// A server that hangs, with its connections open, is not waited for by
// anybody, whatever the caller's own patience: a C-STORE is refused instead of
// hanging. Many objects that wait to be recorded do not wait for each other.
func TestServerHangs(t *testing.T) {
	server := postgres.Start(t, "fsync=off")
	s := open(t, postgres.WithPassword(server.Create(t)))
	if s.read.limit != postgresTimeout || s.db.limit != postgresTimeout {
		t.Fatal("statements have no limit")
	}
	s.read.limit, s.db.limit = time.Second, time.Second
	ctx := context.Background()
	if _, err := s.IsOutput(ctx, "1.2"); err != nil { // a connection is open
		t.Fatal(err)
	}
	calls := map[string]func() error{
		"one row":     func() error { _, err := s.IsOutput(ctx, "1.2"); return err },
		"rows":        func() error { _, err := s.Studies(ctx); return err },
		"statement":   func() error { return s.RecordConflict(ctx, "1.2", "PEER") },
		"heartbeat":   func() error { _, err := s.Beat(ctx); return err },
		"transaction": func() error { return s.Delete(ctx, "1.2") },
	}
	for i := range maxAdditions {
		calls[fmt.Sprintf("object %d", i)] = func() error {
			_, err := s.AddInstance(ctx, Instance{SOPInstanceUID: fmt.Sprintf("1.2.%d", i), StudyInstanceUID: "1.2", Received: time.Now()})
			return err
		}
	}
	resume := server.Pause(t)
	var group sync.WaitGroup
	for what, call := range calls {
		group.Go(func() {
			if err := call(); err == nil {
				t.Errorf("%s: no error of a server that hangs", what)
			}
		})
	}
	all := make(chan struct{})
	go func() { group.Wait(); close(all) }()
	select {
	case <-all:
	case <-time.After(3 * time.Minute): // many times the limit
		t.Error("somebody still waits for a server that hangs")
	}
	resume()
	<-all
	var err error
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if _, err = s.IsOutput(ctx, "1.2"); err == nil {
			return
		}
	}
	t.Errorf("the server answers again: %v", err)
}
