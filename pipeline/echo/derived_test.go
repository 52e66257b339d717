package echo

import (
	"fmt"
	"testing"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
)

func TestDerived(t *testing.T) {
	const multi, us = uid.MultiFrameTrueColorSecondaryCaptureImageStorage, uid.UltrasoundMultiFrameImageStorage
	for _, c := range []struct {
		class string
		kind  []string
		want  bool
	}{
		{multi, []string{"DERIVED", "SECONDARY"}, true},
		{uid.SecondaryCaptureImageStorage, []string{"DERIVED", "SECONDARY", "", "0001"}, true},
		{multi, []string{"ORIGINAL", "SECONDARY"}, false},
		{multi, []string{"DERIVED", "PRIMARY"}, false},
		{multi, []string{"DERIVED"}, false},
		{multi, nil, false},
		{us, []string{"DERIVED", "SECONDARY"}, false},
	} {
		if got := Derived(c.class, c.kind); got != c.want {
			t.Errorf("%s %q: %v", c.class, c.kind, got)
		}
	}
}

func TestNamesSource(t *testing.T) {
	item := func(seq tag.Tag, edit func(*dicomio.DataSet)) func(*dicomio.DataSet) {
		return func(ds *dicomio.DataSet) {
			it := dicomio.NewDataSet()
			edit(it)
			ds.SetItems(seq, it)
		}
	}
	code := func(value string) func(*dicomio.DataSet) {
		return func(ds *dicomio.DataSet) {
			ds.SetString(tag.CodeValue, value)
			ds.SetString(tag.CodingSchemeDesignator, "DCM")
		}
	}
	image := func(purpose string) func(*dicomio.DataSet) {
		return func(ds *dicomio.DataSet) {
			ds.SetString(tag.ReferencedSOPInstanceUID, "1.2.3")
			if purpose != "" {
				item(tag.PurposeOfReferenceCodeSequence, code(purpose))(ds)
			}
		}
	}
	text := func(s string) func(*dicomio.DataSet) {
		return func(ds *dicomio.DataSet) { ds.SetString(tag.DerivationDescription, s) }
	}
	both := func(edits ...func(*dicomio.DataSet)) func(*dicomio.DataSet) {
		return func(ds *dicomio.DataSet) {
			for _, edit := range edits {
				edit(ds)
			}
		}
	}
	source := item(tag.SourceImageSequence, image(""))
	for name, c := range map[string]struct {
		edit func(*dicomio.DataSet)
		want bool
	}{
		"source":                       {source, true},
		"source, code of compression":  {both(source, item(tag.DerivationCodeSequence, code("113040"))), false},
		"source, text of compression":  {both(source, text("JPEG lossy compression")), false},
		"source, compressed, outlined": {both(source, text("Contours"), item(tag.DerivationCodeSequence, code("113040"))), true},
		"nothing":                      {func(*dicomio.DataSet) {}, false},
	} {
		ds := dicomio.NewDataSet()
		c.edit(ds)
		if got := Reworked(ds, []string{"DERIVED", "PRIMARY"}); got != c.want {
			t.Errorf("reworked, %s: %v", name, got)
		}
		if Reworked(ds, []string{"ORIGINAL", "PRIMARY"}) {
			t.Errorf("reworked, %s: an original", name)
		}
	}
	for name, c := range map[string]struct {
		edit func(*dicomio.DataSet)
		want bool
	}{
		"nothing":               {func(*dicomio.DataSet) {}, false},
		"source":                {item(tag.SourceImageSequence, image("")), true},
		"source, processed":     {item(tag.SourceImageSequence, image("121322")), true},
		"source, compressed":    {item(tag.SourceImageSequence, image("121320")), false},
		"source without a UID":  {item(tag.SourceImageSequence, func(*dicomio.DataSet) {}), false},
		"referenced image":      {item(tag.ReferencedImageSequence, image("")), true},
		"segmentation":          {item(tag.DerivationCodeSequence, code("113076")), true},
		"lossy compression":     {item(tag.DerivationCodeSequence, code("113040")), false},
		"description":           {text("Contours"), true},
		"description of a copy": {text("Lossy compression with JPEG baseline"), false},
		"processing equipment":  {item(tag.ContributingEquipmentSequence, item(tag.PurposeOfReferenceCodeSequence, code("109102"))), true},
		"acquisition equipment": {item(tag.ContributingEquipmentSequence, item(tag.PurposeOfReferenceCodeSequence, code("109101"))), false},
	} {
		ds := dicomio.NewDataSet()
		c.edit(ds)
		if got := NamesSource(ds); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// What an object was derived from, but for what it is a compressed copy of.
func TestSources(t *testing.T) {
	ds := dicomio.NewDataSet()
	code := dicomio.NewDataSet().SetString(tag.CodeValue, "121320").SetString(tag.CodingSchemeDesignator, "DCM")
	copied := dicomio.NewDataSet().SetString(tag.ReferencedSOPInstanceUID, "1.2.1")
	copied.SetItems(tag.PurposeOfReferenceCodeSequence, code)
	ds.SetItems(tag.SourceImageSequence, copied, dicomio.NewDataSet().SetString(tag.ReferencedSOPInstanceUID, "1.2.2"), dicomio.NewDataSet())
	ds.SetItems(tag.ReferencedImageSequence, dicomio.NewDataSet().SetString(tag.ReferencedSOPInstanceUID, "1.2.3"))
	if got := Sources(ds); len(got) != 1 || got[0] != "1.2.2" || Processed(ds) {
		t.Errorf("%q, processed: %v", got, Processed(ds))
	}
	many := make([]*dicomio.DataSet, 300)
	for i := range many {
		many[i] = dicomio.NewDataSet().SetString(tag.ReferencedSOPInstanceUID, fmt.Sprint("1.2.", i/2))
	}
	ds.SetItems(tag.SourceImageSequence, many...)
	if got := Sources(ds); len(got) != 64 || got[0] != "1.2.0" || got[63] != "1.2.63" {
		t.Errorf("of 150 sources, named twice: %q", got)
	}
	if !FromOthers([]string{"DERIVED ", "PRIMARY"}) || FromOthers([]string{"ORIGINAL", "DERIVED"}) || FromOthers(nil) {
		t.Error("which images are derived")
	}
}
