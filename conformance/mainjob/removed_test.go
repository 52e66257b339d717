package mainjob

import (
	"slices"
	"strings"
	"testing"

	"github.com/echonode/echonode/conformance/freeport"
	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/instance"
	"github.com/echonode/echonode/dicomio/tag"
)

// A study that was removed and comes again has a report that names the one that
// the archive has as its predecessor.
func TestPredecessorAfterRemoval(t *testing.T) {
	needTools(t, "storescu", "storescp")
	archive := freeport.Addr(t)
	n := newNode(t, archive)
	dir := storescp(t, archive)
	n.start()
	reports := func() map[string]*dicomio.DataSet {
		all := map[string]*dicomio.DataSet{}
		for _, path := range received(t, dir)["SR"] {
			f, err := dicomio.Open(path, dicomio.Options{})
			if err != nil {
				t.Fatal(err)
			}
			all[f.DataSet.String(tag.SOPInstanceUID)] = f.DataSet
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}
		return all
	}
	delivered := func() bool {
		all := n.studies()
		if len(all) != 1 || all[0].State != "done" || len(all[0].Deliveries) == 0 {
			return false
		}
		for _, d := range all[0].Deliveries {
			if d.State != "sent" {
				return false
			}
		}
		return true
	}
	send := func() {
		run(t, "storescu", "-xy", "-aec", "ECHONODE", "127.0.0.1", port(t, n.dicom), loop(t, 9))
		eventually(t, "delivered", delivered)
	}
	send()
	former := reports()
	if len(former) != 1 {
		t.Fatalf("%d reports at first", len(former))
	}
	run(t, binary, "remove", "-c", n.config, n.studies()[0].StudyInstanceUID)
	if left := n.studies(); len(left) != 0 {
		t.Fatalf("after the removal: %+v", left)
	}
	send()
	now := reports()
	if len(now) != 2 {
		t.Fatalf("%d reports at last", len(now))
	}
	if out := run(t, binary, "studies", "-c", n.config, n.studies()[0].StudyInstanceUID); !strings.Contains(out, "removed after an earlier report") {
		t.Errorf("echonode studies says\n%s", out)
	}
	for uid, ds := range now {
		const since = "of the objects that came since"
		if remarked := says(ds, since); remarked == (former[uid] != nil) {
			t.Errorf("report %s says that it is %s: %v", uid, since, remarked)
		}
		if former[uid] != nil {
			continue
		}
		var named []instance.Ref
		for _, study := range ds.Items(tag.PredecessorDocumentsSequence) {
			for _, series := range study.Items(tag.ReferencedSeriesSequence) {
				for _, o := range series.Items(tag.ReferencedSOPSequence) {
					named = append(named, instance.Ref{StudyUID: study.String(tag.StudyInstanceUID), SeriesUID: series.String(tag.SeriesInstanceUID),
						SOPClassUID: o.String(tag.ReferencedSOPClassUID), SOPInstanceUID: o.String(tag.ReferencedSOPInstanceUID)})
				}
			}
		}
		if len(named) != 1 || former[named[0].SOPInstanceUID] == nil || named[0] != instance.RefOf(former[named[0].SOPInstanceUID]) {
			t.Errorf("the report names %+v", named)
		}
	}
}

// says reports whether words stand in a text of a report.
func says(ds *dicomio.DataSet, words string) bool {
	return strings.Contains(ds.String(tag.TextValue), words) ||
		slices.ContainsFunc(ds.Items(tag.ContentSequence), func(item *dicomio.DataSet) bool { return says(item, words) })
}
