package cli

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/pipeline"
	"github.com/echonode/echonode/pipeline/objects"
	"github.com/echonode/echonode/pipeline/output"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/pipeline/store"
	"github.com/echonode/echonode/sr"
)

// A report names the one that it replaces whether or not that one's file is there.
func TestPredecessorThatIsLost(t *testing.T) {
	dir := t.TempDir()
	files, err := objects.NewFiles(objects.NewDirectory(dir), "", 0)
	if err != nil {
		t.Fatal(err)
	}
	hold := files.Hold()
	defer hold.Release()
	source := filepath.Join(dir, "object.dcm")
	f, err := os.Create(source)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ds := dicomio.NewDataSet().SetString(tag.SOPClassUID, uid.UltrasoundMultiFrameImageStorage).SetString(tag.SOPInstanceUID, "1.2.3.10").
		SetString(tag.StudyInstanceUID, "1.2.3").SetString(tag.SeriesInstanceUID, "1.2.3.1").SetString(tag.PatientID, "P1")
	if err := dicomio.Write(f, ds, dicomio.WriteOptions{TransferSyntax: uid.ExplicitVRLittleEndian}); err != nil {
		t.Fatal(err)
	}
	reason := result.Reasonf(result.SingleFrame, "one frame")
	study := &result.Study{StudyInstanceUID: "1.2.3", Run: result.Run{Time: time.Unix(1700000000, 0), Software: result.Software{Version: "1"},
		Model: result.Model{Name: "test", Version: "1"}}, Loops: []result.Loop{{SOPInstanceUID: "1.2.3.10", SOPClassUID: uid.UltrasoundMultiFrameImageStorage,
		SeriesInstanceUID: "1.2.3.1", File: source, Number: 1, Status: result.Refused, Reason: &reason}}}
	p := &processor{analyzer: new(pipeline.Analyzer), forms: []form{{names: []string{""}, o: output.Options{Report: true, Codeset: sr.SCT, Revision: 2}}}}
	former := &store.Output{SOPInstanceUID: "1.2.3.90", SOPClassUID: uid.ComprehensiveSRStorage, SeriesInstanceUID: "1.2.3.9", Kind: result.KindReport,
		Path: filepath.Join(dir, "gone.dcm")}
	out := t.TempDir()
	made, err := p.write(t.Context(), study, hold, out, former, nil, func(form, *output.Options) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	report, err := dicomio.Open(made[0].File, dicomio.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer report.Close()
	series := report.DataSet.Item(tag.PredecessorDocumentsSequence, 0).Item(tag.ReferencedSeriesSequence, 0)
	if got := series.String(tag.SeriesInstanceUID); got != "1.2.3.9" {
		t.Errorf("it replaces a report of series %q", got)
	}
	if got := series.Item(tag.ReferencedSOPSequence, 0).String(tag.ReferencedSOPInstanceUID); got != "1.2.3.90" {
		t.Errorf("it replaces %q", got)
	}
}
