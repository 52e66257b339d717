package pipeline

import (
	"testing"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/result"
)

// A stage stands in Stage Name, Stage Code Sequence, or Series Description.
func TestStageNamed(t *testing.T) {
	code := func(value, meaning string) *dicomio.DataSet {
		return dicomio.NewDataSet().SetItems(tag.StageCodeSequence, dicomio.NewDataSet().SetString(tag.CodeValue, value).SetString(tag.CodeMeaning, meaning))
	}
	series := func(s string) *dicomio.DataSet { return dicomio.NewDataSet().SetString(tag.SeriesDescription, s) }
	for _, tt := range []struct {
		ds         *dicomio.DataSet
		name, want string
	}{
		{code("434161005", "Peak"), "REST", "REST"}, {code("434161005", "x"), "", "Peak cardiac stress state"}, {code("F-01604", ""), "", "Resting State"},
		{code("99", "Ruhe"), "", "Ruhe"}, {series("IMPOST"), "", "IMPOST"}, {series("Peak dobutamine"), "", "Peak dobutamine"}, {series("Rest"), "", "Rest"},
		{series("Immediate post exercise"), "", "Immediate post exercise"}, {series("Low dose"), "", "Low dose"}, {series("STRESS ECHO"), "", ""},
		{series("A4C Peak Stress"), "", "A4C Peak Stress"}, {series("Dobutamin 20"), "", "Dobutamin 20"}, {series("mid"), "", ""}, {series("Max"), "", ""},
		{dicomio.NewDataSet(), "A4C", ""}, {dicomio.NewDataSet(), "N/A", ""}, {series("IMPOST"), "None", "IMPOST"},
		{series("PSAX basal"), "", ""}, {series("LVOT peak gradient"), "", ""}, {series("A4C"), " ", " "}, {dicomio.NewDataSet(), "", ""},
	} {
		if got := stageNamed(tt.ds, tt.name); got != tt.want {
			t.Errorf("%v: %q, want %q", tt.ds, got, tt.want)
		}
	}
}

// What Stage Name says where that is a view is kept as such.
func TestStageNameIsAView(t *testing.T) {
	for name, want := range map[string]string{"A4C": "A4C", "Apical 2 chamber": "Apical 2 chamber", " PLAX ": "PLAX", "AP4": "AP4", "4CH view": "4CH view",
		"REST A4C": "", "N/A": "", "Stage 2": "", "4": ""} {
		c := standard("1.2.3.1")
		c.stage = name
		l := loopOf(t, newBrightness(models.ViewA4C), "", c.write(t, t.TempDir()))
		if l.StageView != want || want != "" && l.Stage != "" {
			t.Errorf("%q: stage %q, view %q", name, l.Stage, l.StageView)
		}
	}
}

// An examination under stress whose loops name no stage is remarked on.
func TestStageNotSaid(t *testing.T) {
	for text, want := range map[string]bool{"Dobutamine Stress Echo": true, "STRESS ECHO EXERCISE": true, "DSE": true, "Belastungsecho": true, "Ergometrie": true,
		"Echo d'effort": true, "Eco stress": true, "TTE": false, "no stress": false, "Stress cardiomyopathy": false, "Respiratory distress": false,
		"Takotsubo (stress) cardiomyopathy": false, "exercise tolerance reduced": false, "Echo before stress test": false,
		"Exercise intolerance": false, "Belastungsdyspnoe": false, "Strain": false,
		"ECHOCARDIOGRAM 2D COMPLETE (REST/STRESS NOT DONE)": false, "Echo stress negative history": false, "TTE after pharmacologic stress test": false,
		"Stress echo declined": false, "Stress echo post exercise": true, "Echo after exercise": true, "Stress test not limited": true} {
		ds := dicomio.NewDataSet().SetString(tag.StudyDescription, text)
		if got := stageNotSaid(ds, &result.Loop{}) != nil; got != want {
			t.Errorf("%q: %v", text, got)
		}
		if stageNotSaid(ds, &result.Loop{Stage: "REST"}) != nil || stageNotSaid(ds, &result.Loop{StageNumber: 1}) != nil {
			t.Errorf("%q with a stage", text)
		}
	}
	c := standard("1.2.3.1")
	c.edit = func(ds *dicomio.DataSet) { ds.SetString(tag.StudyDescription, "Stress echo") }
	l := loopOf(t, newBrightness(models.ViewA4C), "", c.write(t, t.TempDir()))
	for _, m := range l.Measurements {
		if m.Name == result.EF && (m.Value == nil || m.Quality.Grade != result.Fair || m.Quality.Warnings[0].Code != result.StageUnknown) {
			t.Errorf("%+v", m)
		}
	}
}
