package node

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/echonode/echonode/pipeline/store"
)

// What goes wrong again and again is said once a minute, and nothing else is
// kept back by it.
func TestComplaintsAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		log := slog.New(slog.NewTextHandler(&said, nil))
		var c complaints
		for _, step := range []struct {
			after time.Duration
			what  string
			lines int // so far
		}{
			{0, "database", 1}, {time.Second, "database", 1}, {0, "loops", 2}, {58 * time.Second, "database", 2}, {time.Second, "database", 3},
			{59 * time.Second, "database", 3}, {0, "loops", 4},
		} {
			time.Sleep(step.after) // of the bubble's clock
			c.log(log, step.what, errors.New("away"))
			if got := strings.Count(said.String(), "\n"); got != step.lines {
				t.Errorf("%q: %d lines, want %d", step.what, got, step.lines)
			}
		}
	})
}

// Studies are kept for ever unless a time is set, for those that are done and
// those that failed apart.
func TestWhatMayBeRemoved(t *testing.T) {
	now := time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		opt  Options
		want store.Retention
	}{
		{Options{}, store.Retention{}},
		{Options{Retention: 24 * time.Hour}, store.Retention{Done: now.AddDate(0, 0, -1)}},
		{Options{RetentionFailed: 48 * time.Hour}, store.Retention{Failed: now.AddDate(0, 0, -2)}},
	} {
		if got := (&Node{opt: tt.opt}).retention(now); got != tt.want {
			t.Errorf("%v and %v: %+v, want %+v", tt.opt.Retention, tt.opt.RetentionFailed, got, tt.want)
		}
	}
	for wait, want := range map[time.Duration]time.Duration{time.Minute: time.Hour + reportDelay, 2 * time.Hour: 2*time.Hour + reportDelay} {
		if got := (&Node{opt: Options{RetryMax: wait}}).longestWait(); got != want {
			t.Errorf("attempts at most %v apart: a job waits at most %v, want %v", wait, got, want)
		}
	}
}
