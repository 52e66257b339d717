package fetch

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/scp"
)

// The rate is kept over an object, whatever the sizes of the reads.
func TestThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &Fetcher{BytesPerSecond: 10_000}
		start := time.Now()
		n, err := io.Copy(io.Discard, f.throttle(context.Background(), bytes.NewReader(make([]byte, 50_000))))
		if err != nil || n != 50_000 {
			t.Fatal(n, err)
		}
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("50 kB at 10 kB/s took %v", took)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := io.Copy(io.Discard, f.throttle(ctx, bytes.NewReader(make([]byte, 50_000)))); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a deadline: %v", err)
		}
	})
}

// An association never needs more contexts than there are, and each object's
// class has all syntaxes.
func TestContextsOfFetch(t *testing.T) {
	f := &Fetcher{}
	var in []Instance
	for _, c := range scp.DefaultStorageClasses() {
		in = append(in, Instance{"1.2." + c, c}, Instance{"1.3." + c, c})
	}
	seen := 0
	for _, g := range f.byClass(in) {
		seen += len(g)
		contexts := f.contexts(g)
		if len(contexts) > maxContexts {
			t.Errorf("%d contexts", len(contexts))
		}
		for _, x := range g {
			n := 0
			for _, pc := range contexts {
				if pc.AbstractSyntax == x.SOPClassUID {
					n += len(pc.TransferSyntaxes)
				}
			}
			if n != len(f.syntaxes()) {
				t.Errorf("%s: %d syntaxes", x.SOPClassUID, n)
			}
		}
	}
	if seen != len(in) {
		t.Errorf("%d of %d objects", seen, len(in))
	}
	if n := len(f.contexts([]Instance{{"1.2.3", ""}})); n > maxContexts || n < len(scp.DefaultStorageClasses()) {
		t.Errorf("%d contexts for an unknown class", n)
	}
}

func TestQueryNeedsAKey(t *testing.T) {
	f := &Fetcher{}
	if _, err := f.Studies(context.Background(), Query{Modality: "US"}); err == nil {
		t.Error("a query for everything")
	}
}

// A patient's ID is one ID, also where the archive takes it for a pattern.
func TestWhoseStudies(t *testing.T) {
	for _, c := range []struct {
		q                  Query
		patient, accession string
		want               bool
	}{
		{Query{PatientID: "*"}, "PID001", "", false},
		{Query{PatientID: "*"}, "", "", false},
		{Query{PatientID: "PID0?1"}, "PID001", "", false},
		{Query{PatientID: "PID0?1"}, "PID0?1", "", true},
		{Query{PatientID: " PID001"}, "PID001", "", true},
		{Query{PatientID: "PID001"}, "", "", true},
		{Query{PatientID: `A\B`}, "B", "", false},
		{Query{AccessionNumber: "A*"}, "PID001", "A1", false},
		{Query{AccessionNumber: "A1"}, "PID001", "A1", true},
		{Query{Date: "20260101-"}, "PID001", "A1", true},
	} {
		d := dicomio.NewDataSet().SetString(tag.PatientID, c.patient).SetString(tag.AccessionNumber, c.accession)
		if got := c.q.names(d, equal); got != c.want {
			t.Errorf("%+v, a match of patient %q, accession number %q: %v", c.q, c.patient, c.accession, got)
		}
	}
}

// Of an archive that compares numbers without case those are taken that are written as
// was asked for, or else those that differ in case alone.
func TestNumbersWithoutCase(t *testing.T) {
	q := Query{PatientID: "ab1", AccessionNumber: "X9"}
	match := func(patient, accession string) *dicomio.DataSet {
		return dicomio.NewDataSet().SetString(tag.PatientID, patient).SetString(tag.AccessionNumber, accession)
	}
	for _, c := range []struct {
		patient, accession string
		exact, alike       bool
	}{{"ab1", "X9", true, true}, {"AB1", "x9", false, true}, {"AB1", "X9", false, true}, {"AB2", "X9", false, false}} {
		d := match(c.patient, c.accession)
		if exact, alike := q.names(d, equal), q.names(d, strings.EqualFold); exact != c.exact || alike != c.alike {
			t.Errorf("%s, %s: exact %v, alike %v", c.patient, c.accession, exact, alike)
		}
	}
	all := func() []Study { return []Study{{StudyInstanceUID: "1"}, {StudyInstanceUID: "2"}} }
	for _, c := range []struct {
		alike map[string]bool
		want  int
	}{{nil, 2}, {map[string]bool{"1": true}, 1}, {map[string]bool{"1": true, "2": true}, 2}} {
		if got := asWritten(all(), c.alike); len(got) != c.want {
			t.Errorf("%v: %v", c.alike, got)
		}
	}
}

// Why nothing could be kept is told to who fetches, not to the archive alone.
func TestWhyNothingIsKept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f := &Fetcher{Dir: file}
	req := &scp.StoreRequest{Association: &scp.AssociationInfo{}, SOPInstanceUID: "1.2.3"}
	_, err := f.keepOrSay(t.Context(), "1.2", req, strings.NewReader(""))
	if status, _ := scp.StatusOf(err); status != scp.StatusOutOfResources {
		t.Errorf("the archive is told %v", err)
	}
	if err := f.notKept(); err == nil || !strings.Contains(err.Error(), "object 1.2.3 cannot be kept") || !strings.Contains(err.Error(), file) {
		t.Errorf("%v", err)
	}
	if err := f.notKept(); err != nil {
		t.Errorf("said again of another series: %v", err)
	}
}
