package sr

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"os"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/instance"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
)

// A rejection is of the patient and study of what it rejects, names each
// instance once, images as images and others as composites, and dicom3tools
// finds nothing wrong with it.
func TestRejection(t *testing.T) {
	source := dicomio.NewDataSet().SetString(tag.PatientName, "Doe^Jane").SetString(tag.PatientID, "P1").
		SetString(tag.PatientSex, "F").SetString(tag.PatientBirthDate, "19600101").
		SetString(tag.StudyInstanceUID, "1.2.3").SetString(tag.StudyDate, "20260102").SetString(tag.StudyTime, "101112").
		SetString(tag.StudyID, "1").SetString(tag.AccessionNumber, "A1")
	refs := []instance.Ref{
		{StudyUID: "1.2.3", SeriesUID: "1.2.3.1", SOPClassUID: uid.ComprehensiveSRStorage, SOPInstanceUID: "1.2.3.1.1"},
		{StudyUID: "1.2.3", SeriesUID: "1.2.3.2", SOPClassUID: uid.MultiFrameTrueColorSecondaryCaptureImageStorage, SOPInstanceUID: "1.2.3.2.1"},
		{StudyUID: "1.2.3", SeriesUID: "1.2.3.2", SOPClassUID: uid.MultiFrameTrueColorSecondaryCaptureImageStorage, SOPInstanceUID: "1.2.3.2.1"},
	}
	r := Rejection{Source: source, Rejected: refs, Description: "Made under another patient.", Time: time.Date(2026, 1, 2, 10, 11, 12, 0, time.UTC),
		Observer: instance.Equipment{Manufacturer: "M", Model: "EchoNode", Version: "1", Station: "ECHONODE", UID: "1.2.9"}}
	ds, err := BuildRejection(r)
	if err != nil {
		t.Fatal(err)
	}
	if ds.String(tag.PatientID) != "P1" || ds.String(tag.Modality) != "KO" || ds.String(tag.SOPClassUID) != uid.KeyObjectSelectionDocumentStorage {
		t.Errorf("of %s, %s", ds.String(tag.PatientID), ds.String(tag.Modality))
	}
	if title := ds.Item(tag.ConceptNameCodeSequence, 0).String(tag.CodeValue); title != "113038" {
		t.Errorf("title %s", title)
	}
	if got := readRefs(ds.Items(tag.CurrentRequestedProcedureEvidenceSequence)); len(got) != 2 || got[0] != refs[0] || got[1] != refs[1] {
		t.Errorf("rejects %+v", got)
	}
	kinds := ""
	for _, it := range ds.Items(tag.ContentSequence) {
		kinds += it.String(tag.ValueType) + " "
	}
	if kinds != "CODE UIDREF TEXT COMPOSITE IMAGE " {
		t.Errorf("items %s", kinds)
	}
	again, err := BuildRejection(r)
	if err != nil || again.String(tag.SOPInstanceUID) != ds.String(tag.SOPInstanceUID) {
		t.Errorf("another UID for the same: %v", err)
	}
	other := r
	other.Source = source.Clone().SetString(tag.PatientID, "P2")
	if of, err := BuildRejection(other); err != nil || of.String(tag.SeriesInstanceUID) == ds.String(tag.SeriesInstanceUID) ||
		again.String(tag.SeriesInstanceUID) != ds.String(tag.SeriesInstanceUID) {
		t.Errorf("one series for the notes of two patients, or two for one: %v", err)
	}
	for name, bad := range map[string]Rejection{
		"nothing":       {Source: source, Time: r.Time, Observer: r.Observer},
		"another study": {Source: source, Time: r.Time, Observer: r.Observer, Rejected: []instance.Ref{{StudyUID: "1.2.4", SeriesUID: "1", SOPClassUID: "1", SOPInstanceUID: "1"}}},
		"no reason":     {Source: source, Time: r.Time, Observer: r.Observer, Rejected: refs, Reason: 9},
	} {
		if _, err := BuildRejection(bad); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	path := filepath.Join(t.TempDir(), "note.dcm")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := dicomio.Write(f, ds, dicomio.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("dciodvfy"); err != nil {
		if os.Getenv("ECHONODE_PEERS") == "required" {
			t.Fatal(err)
		}
		t.Skip("dciodvfy is not installed")
	}
	out, _ := exec.Command("dciodvfy", "-new", path).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "Error") {
			t.Error(strings.TrimSpace(line))
		}
	}
	if !strings.Contains(string(out), "KeyObjectSelectionDocument") {
		t.Errorf("dciodvfy: %s", out)
	}
}
