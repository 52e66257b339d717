package derived

import (
	"bytes"
	"testing"
)

// A frame that cannot be had whole again is an error, and not the end of another.
func TestSpillIsWhole(t *testing.T) {
	s := spill{memory: 4, folder: t.TempDir()}
	for _, b := range []string{"1234", "56789", "abcde"} {
		if err := s.add([]byte(b)); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []string{"1234", "56789", "abcde"} {
		if got, err := s.frame(i); err != nil || !bytes.Equal(got, []byte(want)) {
			t.Errorf("frame %d: %q, %v", i, got, err)
		}
	}
	if err := s.file.Truncate(8); err != nil {
		t.Fatal(err)
	}
	if got, err := s.frame(2); err == nil {
		t.Errorf("of a file that was cut off: %q", got)
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
}
