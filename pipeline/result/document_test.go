package result

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

// Whichever bit a disk loses, a document is the one that was written or none.
func TestNoDamagedDocument(t *testing.T) {
	doc := &Document{Schema: Schema, Studies: []Study{{StudyInstanceUID: "1.2.3"}}}
	b, err := doc.Encode()
	if err != nil {
		t.Fatal(err)
	}
	summary := fmt.Sprintf(`{"loops_analysed":1,"result_sha256":%q}`, Digest(b))
	if got, err := Decode(b, summary); err != nil || got.Studies[0].StudyInstanceUID != "1.2.3" {
		t.Fatal(got, err)
	}
	for bit := range 8 * len(b) {
		damaged := bytes.Clone(b)
		damaged[bit/8] ^= 1 << (bit % 8)
		if got, err := Decode(damaged, summary); !errors.Is(err, ErrDamaged) {
			t.Fatalf("bit %d: %+v, %v", bit, got, err)
		}
	}
	// Runs of earlier versions have no digest.
	for _, old := range []string{"", "{}", `{"loops_analysed":1}`} {
		if _, err := Decode(b, old); err != nil {
			t.Errorf("%q: %v", old, err)
		}
		if _, err := Decode(b[:len(b)-1], old); !errors.Is(err, ErrDamaged) {
			t.Errorf("%q: half a document: %v", old, err)
		}
	}
}
