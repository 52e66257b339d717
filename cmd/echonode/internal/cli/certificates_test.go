package cli

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"
)

func TestCertificateProblems(t *testing.T) {
	from := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	all := certificates{{"dicom.tls", &x509.Certificate{NotBefore: from, NotAfter: from.AddDate(1, 0, 0)}}}
	for at, want := range map[time.Time]string{
		from.Add(-time.Hour):    "valid from",
		from.AddDate(0, 6, 0):   "",
		from.AddDate(0, 11, 15): "expires on",
		from.AddDate(1, 0, 1):   "has expired",
	} {
		got := ""
		for _, p := range all.problems(at) {
			got += p.Text
		}
		if !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("at %v: %q, want %q", at, got, want)
		}
	}
}
