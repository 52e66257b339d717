package store

import (
	"errors"
	"testing"
	"time"
)

// A session ends when nothing has happened for the idle time, and at the longest
// time whatever happens.
func TestLifetime(t *testing.T) {
	l := Lifetime{Idle: time.Minute, Longest: time.Hour}
	created := time.UnixMilli(1_000_000_000)
	for _, tt := range []struct {
		seen, now time.Duration
		over      bool
	}{
		{0, time.Minute - 1, false}, {0, time.Minute, true}, {30 * time.Second, time.Minute, false},
		{59 * time.Minute, time.Hour - 1, false}, {59*time.Minute + 1, time.Hour, true}, {2 * time.Hour, 2 * time.Hour, true},
	} {
		if got := l.Over(Session{Created: created, Seen: created.Add(tt.seen)}, created.Add(tt.now)); got != tt.over {
			t.Errorf("seen after %v, at %v: over %v, want %v", tt.seen, tt.now, got, tt.over)
		}
	}
}

// checkOldSessions: one that has ended makes room to the millisecond, by idleness
// and by age.
func checkOldSessions(t *testing.T, s *Store) {
	ctx, now := t.Context(), time.UnixMilli(1_000_000_000)
	l := Lifetime{Idle: time.Minute, Longest: time.Hour}
	open := func(token string, after time.Duration) error {
		return s.OpenSession(ctx, token, Session{Account: token, Profile: "{}", Created: now.Add(after), Seen: now.Add(after)}, l, 1)
	}
	if err := open("a", 0); err != nil {
		t.Fatal(err)
	}
	full := func(token string, after time.Duration) {
		t.Helper()
		if err := open(token, after); !errors.Is(err, ErrTooManySessions) {
			t.Errorf("after %v: %v, want %v", after, err, ErrTooManySessions)
		}
	}
	full("b", time.Minute-time.Millisecond)
	if err := s.TouchSession(ctx, "a", now.Add(time.Hour-time.Second)); err != nil {
		t.Fatal(err)
	}
	full("b", time.Hour-time.Millisecond)
	if err := open("b", time.Hour); err != nil {
		t.Error(err)
	}
	full("c", time.Hour+time.Minute-time.Millisecond)
	if err := open("c", time.Hour+time.Minute); err != nil {
		t.Error(err)
	}
}
