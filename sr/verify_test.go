package sr

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/echonode/echonode/dicomio/tag"
)

// A report that somebody has signed says who, and is final.
func TestVerified(t *testing.T) {
	r := report()
	r.Verified = &Verification{Name: "Müller^Anna", Organisation: "City Hospital", Time: time.Date(2024, 1, 10, 11, 0, 0, 0, time.FixedZone("", 3600))}
	ds := build(t, r)
	for k, want := range map[string]string{
		ds.String(tag.VerificationFlag): "VERIFIED", ds.String(tag.PreliminaryFlag): "FINAL", ds.String(tag.CompletionFlag): "COMPLETE",
	} {
		if k != want {
			t.Errorf("%q, want %q", k, want)
		}
	}
	o := ds.Item(tag.VerifyingObserverSequence, 0)
	if o == nil || o.String(tag.VerifyingObserverName) != "Müller^Anna" || o.String(tag.VerifyingOrganization) != "City Hospital" ||
		o.String(tag.VerificationDateTime) != "20240110110000+0100" || !o.Has(tag.VerifyingObserverIdentificationCodeSequence) {
		t.Errorf("verifying observer %v", o)
	}
	doc, err := Parse(ds)
	if err != nil {
		t.Fatal(err)
	}
	if c := doc.Comments(); slices.Contains(c, Disclaimer) || !slices.Contains(c, Signed) {
		t.Errorf("comments %q", c)
	}
	for name, v := range map[string]Verification{
		"no name": {Name: "^^", Organisation: "x", Time: r.Time}, "no organisation": {Name: "x", Organisation: " ", Time: r.Time}, "no time": {Name: "x", Organisation: "x"},
	} {
		r.Verified = &v
		if _, err := Build(r); !errors.Is(err, ErrReport) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A flag without the observer, and the other way round, is found.
	ds.Delete(tag.VerifyingObserverSequence)
	if len(Check(ds, r.Evidence)) == 0 {
		t.Error("a verified report without an observer passes")
	}
	r.Verified = nil
	plain := build(t, r)
	plain.SetString(tag.VerificationFlag, "VERIFIED")
	if len(Check(plain, r.Evidence)) == 0 {
		t.Error("a verified, preliminary report passes")
	}
}
