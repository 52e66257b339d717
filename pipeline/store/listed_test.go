package store

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/echonode/echonode/conformance/postgres"
)

// What one process lists, the others hear of, and it itself does not; who listens
// is told when the server is gone, and hears again when it is back.
func TestListedIsHeard(t *testing.T) {
	server := postgres.Start(t)
	database := postgres.WithPassword(server.Create(t))
	one, other := open(t, database), open(t, database)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for name, s := range map[string]*Store{"one": one, "other": other} {
		if err := s.Enter(ctx, Process{ID: name, Seat: name, Started: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	follow := func(s *Store) (heard chan string, ended chan error) {
		t.Helper()
		heard, ended = make(chan string, 10), make(chan error, 1)
		started := make(chan struct{})
		go func() { ended <- s.FollowListed(ctx, func() { close(started) }, func(study string) { heard <- study }) }()
		select {
		case <-started:
		case err := <-ended:
			t.Fatal(err)
		}
		return heard, ended
	}
	list := func(study string) {
		t.Helper()
		for tries := 0; ; tries++ { // connections of before may be found broken first
			_, err := one.AddInstance(ctx, Instance{SOPInstanceUID: study + ".1", StudyInstanceUID: study, Received: time.Now()})
			if err == nil {
				break
			}
			if tries == 100 {
				t.Fatal(err)
			}
		}
		changes, err := one.Changes(ctx, "", 10)
		if err != nil || len(changes) != 1 {
			t.Fatal(changes, err)
		}
		if err := one.List(ctx, changes[0], &Listing{StudyInstanceUID: study, Time: time.Now(), State: Done}); err != nil {
			t.Fatal(err)
		}
	}
	late := time.AfterFunc(3*time.Minute, func() { panic("nothing is heard") })
	defer late.Stop()
	own, ownEnded := follow(one)
	heard, ended := follow(other)
	list("1.2")
	if got := <-heard; got != "1.2" {
		t.Errorf("heard of %q", got)
	}
	server.Stop()
	if err := <-ended; err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("of a server that is gone: %v", err)
	}
	<-ownEnded
	if len(own) != 0 {
		t.Errorf("a process hears of itself: %q", <-own)
	}
	if err := server.Run(); err != nil {
		t.Fatal(err)
	}
	heard, ended = follow(other)
	list("1.3")
	if got := <-heard; got != "1.3" {
		t.Errorf("heard of %q", got)
	}
	cancel()
	<-ended
}
