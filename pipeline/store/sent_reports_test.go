package store

import (
	"context"
	"reflect"
	"testing"
)

// What destinations have of a study outlives it, and its later removals.
func checkSentReports(t *testing.T, s *Store) {
	ctx := context.Background()
	report := SentReport{Output{SOPInstanceUID: "2.1", SOPClassUID: "1.88", Kind: "report", SeriesInstanceUID: "2", For: []string{"importer", ""}},
		Person{"a", "b", "c", "d", "e", "f"}}
	usual := SentReport{Output: Output{SOPInstanceUID: "2.2", SOPClassUID: "1.88", Kind: "report", SeriesInstanceUID: "3", For: []string{}}}
	for i, c := range []struct{ sent, want []SentReport }{
		{nil, nil},
		{[]SentReport{report, usual}, []SentReport{report, usual}},
		{nil, []SentReport{report, usual}}, // nothing was sent this time
		{[]SentReport{usual}, []SentReport{usual}},
	} {
		add(t, s, instance("1", "1.1", 1000))
		if err := s.Delete(ctx, "1", c.sent...); err != nil {
			t.Fatal(err)
		}
		got, err := s.SentReports(ctx, "1")
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("removal %d: %+v, want %+v, %v", i+1, got, c.want, err)
		}
	}
	if err := s.Delete(ctx, "1", report); err == nil {
		t.Error("a study that is not there was removed")
	}
	if got, err := s.SentReports(ctx, "1"); err != nil || len(got) != 1 {
		t.Errorf("a removal that failed is recorded: %+v, %v", got, err)
	}
}
