package store

import (
	"slices"
	"testing"
	"time"
)

// The sum of what was received is recorded with it, and is of the recorded file:
// not of one that a program of before has recorded in its place.
func checkSums(t *testing.T, s *Store) {
	ctx := t.Context()
	in := instance("1", "1.1", 1000)
	in.Sum = "crc32c:01234567"
	add(t, s, in)
	add(t, s, instance("1", "1.2", 1000)) // as of a program of before
	want := func(sop, sum string) {
		t.Helper()
		got, err := s.Instance(ctx, sop)
		if err != nil || got.Sum != sum {
			t.Errorf("%s has the sum %q, %v; want %q", sop, got.Sum, err, sum)
		}
	}
	want("1.1", in.Sum)
	want("1.2", "")
	if l, err := s.LeaseLoop(ctx, time.Now(), true, 10); err != nil || l.Sum != in.Sum {
		t.Errorf("leased with the sum %q, %v", l.Sum, err)
	}
	in.Path, in.Sum = "other.dcm", "crc32c:89abcdef"
	if _, err := s.Replace(ctx, in); err != nil {
		t.Fatal(err)
	}
	want("1.1", in.Sum)
	in.Path = "third.dcm"
	if err := s.Heal(ctx, in); err != nil {
		t.Fatal(err)
	}
	want("1.1", in.Sum)
	// The file that was damaged is to be deleted, the one that took its place is not.
	if gone, err := s.Removals(ctx); err != nil || !slices.Contains(gone, Removal{"other.dcm", "1.1"}) ||
		slices.Contains(gone, Removal{"third.dcm", "1.1"}) {
		t.Errorf("to be deleted: %v, %v", gone, err)
	}
	if _, err := s.db.ExecContext(ctx, `UPDATE instances SET path = 'fourth.dcm' WHERE sop_uid = '1.1'`); err != nil {
		t.Fatal(err)
	}
	want("1.1", "")
	var all []string
	for after := ""; ; {
		some, err := s.InstancesAfter(ctx, after, 1)
		if err != nil {
			t.Fatal(err)
		}
		if len(some) == 0 {
			break
		}
		after = some[0].SOPInstanceUID
		all = append(all, after)
	}
	if len(all) != 2 || all[0] != "1.1" || all[1] != "1.2" {
		t.Errorf("in order of their UIDs: %v", all)
	}
}
