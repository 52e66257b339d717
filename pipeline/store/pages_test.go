package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"
)

// long is a text that no database makes shorter.
func long() string {
	var b strings.Builder
	for range 1000 {
		b.WriteString(rand.Text())
	}
	return b.String()
}

// counting counts the statements that are run.
type counting struct {
	runner
	n atomic.Int32
}

func (c *counting) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	c.n.Add(1)
	return c.runner.QueryContext(ctx, query, args...)
}

func (c *counting) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	c.n.Add(1)
	return c.runner.QueryRowContext(ctx, query, args...)
}

// A page of studies costs as many statements as one study does, and shows of each what
// is its own.
func checkPageCost(t *testing.T, s *Store) {
	ctx := context.Background()
	fill := func(first, last int) {
		t.Helper()
		for i := first; i <= last; i++ {
			uid := fmt.Sprint(i)
			add(t, s, instance(uid, uid+".1", int64(1000*i)))
			if i%2 == 0 {
				add(t, s, instance(uid, uid+".2", int64(1000*i)))
			}
			look(t, s)
			if queued, err := s.Queue(ctx, uid, time.UnixMilli(int64(1000*i)), "basis", noJob); err != nil || !queued {
				t.Fatal(queued, err)
			}
			run, err := s.StartRun(ctx, uid, 1)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.FinishRun(ctx, run, []Output{{SOPInstanceUID: uid + ".8", Kind: "report"}}, []Route{{Destination: "pacs", Kinds: []string{"report"}}},
				func(*Tx, int64, string) error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
	}
	cost := func(studies int) int32 {
		t.Helper()
		c := &counting{runner: s.read.on}
		read := s.read
		s.read.on = c
		defer func() { s.read = read }()
		page, _, err := s.Page(ctx, Query{Limit: 100})
		if err != nil || len(page) != studies {
			t.Fatal(len(page), err)
		}
		uids := make([]string, len(page))
		for i, p := range page {
			uids[i] = p.StudyInstanceUID
		}
		work, err1 := s.WorkOf(ctx, uids)
		runs, err2 := s.RunsOf(ctx, uids)
		deliveries, err3 := s.DeliveriesOf(ctx, uids)
		if err1 != nil || err2 != nil || err3 != nil {
			t.Fatal(err1, err2, err3)
		}
		for i, uid := range uids {
			objects := 1
			if (studies-i)%2 == 0 {
				objects = 2
			}
			if d := deliveries[uid]; work[uid].Objects != objects || len(runs[uid]) != 1 || len(d) != 1 || d[0].SOPInstanceUID != uid+".8" {
				t.Errorf("study %s: %+v, %+v, %+v", uid, work[uid], runs[uid], d)
			}
		}
		return c.n.Load()
	}
	fill(1, 1)
	one := cost(1)
	fill(2, 60)
	if many := cost(60); many != one || one == 0 {
		t.Errorf("one study costs %d statements, 60 cost %d", one, many)
	}
	// The count of those with a problem goes by an index of few.
	if n, err := s.LoopsWith(ctx, "lost", "damaged"); err != nil || n != 0 {
		t.Errorf("%d loops with a problem, %v", n, err)
	}
	add(t, s, instance("61", "61.1", 61_000))
	if err := s.FinishLoop(ctx, lease(t, s, true), "basis", "key", "lost", noJob); err != nil {
		t.Fatal(err)
	}
	if n, err := s.LoopsWith(ctx, "lost", "damaged"); err != nil || n != 1 {
		t.Errorf("%d loops with a problem, %v", n, err)
	}
	// A text of any length is recorded.
	add(t, s, instance("62", "62.1", 62_000))
	if err := s.FailLoop(ctx, lease(t, s, true), errors.New(strings.Repeat("incompressible ö ", 5)+long()), time.Now(), noJob); err != nil {
		t.Fatal(err)
	}
	if problem, err := s.Problem(ctx, "62.1"); err != nil || len(problem) < 1000 || len(problem) > 5000 || !utf8.ValidString(problem) {
		t.Errorf("a problem of %d bytes, %v", len(problem), err)
	}
}
