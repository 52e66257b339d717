package store

import (
	"errors"
	"testing"
	"time"
)

// checkHeal: a loop whose result is sound is left alone when its object's bytes
// come again; one that came to nothing waits again, and its study with it. Who
// works on it meanwhile finds the lease gone.
func checkHeal(t *testing.T, s *Store) {
	ctx := t.Context()
	for _, sop := range []string{"1.1", "1.2"} {
		add(t, s, instance("1", sop, 1000))
	}
	if ok, err := s.Queue(ctx, "1", time.UnixMilli(1000), "basis", noJob); err != nil || !ok {
		t.Fatal(ok, err)
	}
	for range 2 {
		l, err := s.LeaseLoop(ctx, time.Now(), true, 10)
		if err != nil {
			t.Fatal(err)
		}
		problem := map[string]string{"1.2": "damaged"}[l.SOPInstanceUID]
		if err := s.FinishLoop(ctx, l, "basis", "key", problem, noJob); err != nil {
			t.Fatal(err)
		}
	}
	heal := func(sop string, at int64) {
		t.Helper()
		in := instance("1", sop, at)
		in.Path = sop + ".healed.dcm"
		if err := s.Heal(ctx, in); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Instance(ctx, sop); err != nil || got.Path != in.Path {
			t.Errorf("%s is in %s, %v", sop, got.Path, err)
		}
	}
	heal("1.1", 2000)
	if done, total, err := s.LoopsDone(ctx, "1"); err != nil || done != 2 || total != 2 {
		t.Errorf("%d of %d loops are done, %v", done, total, err)
	}
	if got := study(t, s, "1"); got.State == Receiving || got.Last.UnixMilli() != 1000 {
		t.Errorf("the study is %s, last touched at %d", got.State, got.Last.UnixMilli())
	}
	heal("1.2", 3000)
	if done, total, err := s.LoopsDone(ctx, "1"); err != nil || done != 1 || total != 2 {
		t.Errorf("%d of %d loops are done, %v", done, total, err)
	}
	if got := study(t, s, "1"); got.State != Receiving || got.First.UnixMilli() != 3000 || got.Last.UnixMilli() != 3000 {
		t.Errorf("the study is %s since %d, last touched at %d", got.State, got.First.UnixMilli(), got.Last.UnixMilli())
	}
	l, err := s.LeaseLoop(ctx, time.Now(), true, 10)
	if err != nil || l.SOPInstanceUID != "1.2" || l.Problem != "" {
		t.Fatal(l, err)
	}
	heal("1.2", 4000)
	if err := s.FinishLoop(ctx, l, "basis", "key", "", noJob); !errors.Is(err, ErrStale) {
		t.Errorf("a loop that was healed meanwhile: %v", err)
	}
	if err := s.Heal(ctx, instance("1", "1.3", 5000)); !errors.Is(err, ErrNotFound) {
		t.Errorf("an object that is not there: %v", err)
	}
}
