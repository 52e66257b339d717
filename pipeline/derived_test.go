package pipeline

import (
	"slices"
	"strings"
	"testing"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/result"
)

// A loop whose sources are loops of the study is set aside, in whichever order they
// stand, and so is what is derived from it; of a ring nothing is, nor what nothing
// measured stands for.
func TestDerivedLoopsAreSetAside(t *testing.T) {
	for name, c := range map[string]struct {
		loops []string // UID, "!" where it failed, "<" and its sources, by commas
		aside string
	}{
		"none":               {[]string{"1", "2"}, ""},
		"source elsewhere":   {[]string{"1<9", "2"}, ""},
		"source before":      {[]string{"1", "2<1"}, "2"},
		"source after":       {[]string{"2<1", "1"}, "2"},
		"one of two sources": {[]string{"1", "2<9,1"}, "2"},
		"chain":              {[]string{"3<2", "2<1", "1"}, "3 2"},
		"chain from outside": {[]string{"3<2", "2<9"}, "3"},
		"itself":             {[]string{"1<1", "2"}, ""},
		"ring":               {[]string{"1<2", "2<1"}, ""},
		"ring with a root":   {[]string{"1<2,3", "2<1", "3"}, "1 2"},
		"source fails":       {[]string{"1!", "2<1"}, ""},
		"chain, root fails":  {[]string{"3<2", "2<1", "1!"}, "3"},
		"step fails":         {[]string{"3<2", "2!<1", "1"}, "3"},
		"all but one fail":   {[]string{"3<2", "2!<1", "1!"}, ""},
	} {
		var loops []result.Loop
		for _, text := range c.loops {
			uid, from, _ := strings.Cut(text, "<")
			uid, fails := strings.CutSuffix(uid, "!")
			l := result.Loop{SOPInstanceUID: uid, Status: result.Analysed, Measurements: make([]result.Measurement, 1), FrameResults: make([]result.Frame, 1)}
			if from != "" {
				l.Sources = strings.Split(from, ",")
			}
			if fails {
				l.Status = result.Failed
			}
			loops = append(loops, l)
		}
		setDerivedAside(loops)
		var aside []string
		for _, l := range loops {
			if l.Status == result.Analysed || l.Status == result.Failed {
				continue
			}
			aside = append(aside, l.SOPInstanceUID)
			if l.Status != result.Refused || l.Reason == nil || l.Reason.Code != result.Derived || l.Measurements != nil || l.FrameResults != nil {
				t.Errorf("%s: %+v", name, l)
			}
		}
		if got := strings.Join(aside, " "); got != c.aside {
			t.Errorf("%s: %q are set aside, want %q", name, got, c.aside)
		}
	}
}

// What is measured although another program derived it says so at every value.
func TestDerivedLoopIsRemarkedOn(t *testing.T) {
	for _, kind := range []string{"DERIVED", "ORIGINAL"} {
		c := standard("1.2.3.1")
		c.edit = func(ds *dicomio.DataSet) {
			ds.SetString(tag.ImageType, kind, "PRIMARY")
			ds.SetItems(tag.SourceImageSequence, dicomio.NewDataSet().SetString(tag.ReferencedSOPInstanceUID, "1.2.3.9"))
		}
		s := analyse(t, newBrightness(models.ViewA4C), c.write(t, t.TempDir()))
		values := 0
		for _, m := range s.Measurements {
			if m.Value == nil {
				continue
			}
			said := slices.ContainsFunc(m.Quality.Warnings, func(r result.Reason) bool { return r.Code == result.Derived })
			if values++; said != (kind == "DERIVED") {
				t.Errorf("%s: %s has the remark: %v", kind, m.Name, said)
			}
		}
		if values == 0 {
			t.Errorf("%s: nothing measured: %+v", kind, s.Loops[0].Reason)
		}
	}
}
