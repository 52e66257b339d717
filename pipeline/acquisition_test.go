package pipeline

import (
	"testing"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/result"
)

// Pictures with contrast and from within the body are refused as far as the object says so, and by nothing else.
func TestAcquisition(t *testing.T) {
	for _, tt := range []struct {
		tag  tag.Tag
		text string
		code string
	}{
		{tag.PatientSpeciesDescription, "Canis lupus familiaris", result.NotHuman},
		{tag.PatientSpeciesDescription, "Homo sapiens", ""},
		{tag.PatientSpeciesDescription, "Human being", ""},
		{tag.PatientSpeciesDescription, "Humano", ""},
		{tag.PatientSpeciesDescription, "UNKNOWN", ""},
		{tag.PatientSpeciesDescription, "N/A", ""},
		{tag.PatientSpeciesDescription, "Not specified", ""},
		{tag.PatientSpeciesDescription, "H. sapiens", ""},
		{tag.PatientSpeciesDescription, "Homme", ""},
		{tag.PatientSpeciesDescription, "?", ""},
		{tag.PatientSpeciesDescription, "Humpback whale", result.NotHuman},
		{tag.PatientSpeciesDescription, "HS", ""},
		{tag.PatientSpeciesDescription, "Adult", ""},
		{tag.StudyDescription, "Fetal Echo", result.Fetal},
		{tag.StudyDescription, "Fetale Echokardiographie", result.Fetal},
		{tag.BodyPartExamined, "FETALHEART", result.Fetal},
		{tag.StudyDescription, "no fetal echo", ""},
		{tag.StudyDescription, "Neonate: persistent fetal circulation", ""},
		{tag.StudyDescription, "Fetal alcohol syndrome, adult echo", ""},
		{tag.StudyDescription, "Mother of child with fetal anomaly", ""},
		{tag.StudyDescription, "Abnormal fetal echo, postnatal control", ""},
		{tag.StudyDescription, "Ice hockey screening", ""},
		{tag.SeriesDescription, "Perflutren declined", ""},
		{tag.TransducerData, "P7-3Ts", result.Transoesophageal},
		{tag.TransducerData, "PET-512MC", result.Transoesophageal},
		{tag.TransducerData, "MPT4-8", result.Transoesophageal},
		{tag.TransducerData, "TEE122", result.Transoesophageal},
		{tag.TransducerData, "UST-52127S", result.Transoesophageal},
		{tag.TransducerData, "10T-D", result.Transoesophageal},
		{tag.TransducerData, "6TC", result.Transoesophageal},
		{tag.TransducerData, "V7M", result.Transoesophageal},
		{tag.TransducerData, "T6207", result.Transoesophageal},
		{tag.TransducerData, "P4-2s", ""},
		{tag.TransducerData, "AcuNav 10F", result.Intracardiac},
		{tag.StudyDescription, "Intracardiac echo", result.Intracardiac},
		{tag.StudyDescription, "ICE", result.Intracardiac},
		{tag.StudyDescription, "Epicardial echo", result.Intracardiac},
		{tag.StudyDescription, "r/o intracardiac thrombus", ""},
		{tag.StudyDescription, "Epicardial fat", ""},
		{tag.SeriesDescription, "A4C w/ UEA", result.Contrast},
		{tag.SeriesDescription, "Ultrasound enhancing agent", result.Contrast},
		{tag.SeriesDescription, "Perflutren 2D", result.Contrast},
		{tag.SeriesDescription, "LVContrast", result.Contrast},
		{tag.SeriesDescription, "LVOContrast", result.Contrast},
		{tag.SeriesDescription, "CEUS", result.Contrast},
		{tag.SeriesDescription, "A4C Contrast-free", ""},
		{tag.SeriesDescription, "LVO off axis", result.Contrast},
		{tag.SeriesDescription, "LVO no foreshortening", result.Contrast},
		{tag.SeriesDescription, "Contrast Offline", result.Contrast},
		{tag.StudyDescription, "No complications TEE", result.Transoesophageal},
		{tag.StudyDescription, "no indication for TEE", ""},
		{tag.ContrastBolusAgent, "None given", ""},
		{tag.ContrastBolusAgent, "No contrast used", ""},
		{tag.ContrastBolusAgent, "0 ml", ""},
		{tag.ContrastBolusAgent, "No contrast agent", ""},
		{tag.ContrastBolusAgent, "No Contrast Agent Used", ""},
		{tag.ContrastBolusAgent, "without contrast agent", ""},
		{tag.ContrastBolusAgent, "N.A.", ""},
		{tag.ContrastBolusAgent, "(none)", ""},
		{tag.ContrastBolusAgent, "None.", ""},
		{tag.ContrastBolusAgent, "ohne KM", ""},
		{tag.ContrastBolusAgent, "nicht gegeben", ""},
		{tag.ContrastBolusAgent, "nessuno", ""},
		{tag.ContrastBolusAgent, "Off", ""},
		{tag.ContrastBolusAgent, "No. 2", result.Contrast},
		{tag.SeriesDescription, "no Definity", ""},
		{tag.SeriesDescription, "Contrast not used", ""},
		{tag.SeriesDescription, "Contrast none A4C", ""},
		{tag.SeriesDescription, "LV opac", result.Contrast},
		{tag.StudyDescription, "no prior TEE", ""},
		{tag.StudyDescription, "never had a TEE", ""},
		{tag.ContrastBolusAgent, "Definity", result.Contrast},
		{tag.ContrastBolusAgent, "NONE", ""},
		{tag.ContrastBolusAgent, "", ""},
		{tag.ContrastBolusAgent, "NO CONTRAST", ""},
		{tag.ContrastBolusAgent, "0", ""},
		{tag.ContrastBolusAgent, "kein", ""},
		{tag.ContrastBolusAgent, "kein Kontrastmittel", ""},
		{tag.ContrastBolusAgent, "sans", ""},
		{tag.ContrastBolusAgent, "Sonovue 2 ml", result.Contrast},
		{tag.ContrastBolusAgent, "Contrast", result.Contrast},
		{tag.SeriesDescription, "kein Kontrast", ""},
		{tag.SeriesDescription, "LVO off", ""},
		{tag.SeriesDescription, "no LVO", ""},
		{tag.SeriesDescription, "LVO", result.Contrast},
		{tag.StudyDescription, "Echo before TEE", ""},
		{tag.StudyDescription, "no TEE", ""},
		{tag.StudyDescription, "TEE declined", ""},
		{tag.StudyDescription, "kein TEE", ""},
		{tag.StudyDescription, "TEE", result.Transoesophageal},
		{tag.StudyDescription, "TEE before surgery", result.Transoesophageal},
		{tag.StageName, "Rest LVO", result.Contrast},
		{tag.SeriesDescription, "A4C with contrast", result.Contrast},
		{tag.SeriesDescription, "A4C without contrast", ""},
		{tag.ProtocolName, "pre-contrast", ""},
		{tag.StudyDescription, "Stress echo with contrast", ""}, // some of its loops
		{tag.ViewName, "Kontrastm. A4C", result.Contrast},
		{tag.TransducerType, "ENDOCAV_PA", result.Transoesophageal},
		{tag.TransducerType, "ESOPHAGEAL", result.Transoesophageal},
		{tag.TransducerType, "TEE", result.Transoesophageal},
		{tag.TransducerType, "IV_PHASED", result.Transoesophageal},
		{tag.TransducerType, "SECTOR_PHASED", ""},
		{tag.TransducerData, "X7-2t", result.Transoesophageal},
		{tag.TransducerData, "X5-1", ""},
		{tag.TransducerData, "6VT-D", result.Transoesophageal},
		{tag.StudyDescription, "TEE probe guidance", result.Transoesophageal},
		{tag.StudyDescription, "Transesophageal echo", result.Transoesophageal},
		{tag.StudyDescription, "TTE before TEE", ""},
		{tag.StudyDescription, "Committee review", ""},
		{tag.StudyDescription, "Echo transthoracic", ""},
	} {
		ds := dicomio.NewDataSet()
		ds.SetString(tt.tag, tt.text)
		code := ""
		if r := refuseByAcquisition(ds); r != nil {
			code = r.Code
		}
		if code != tt.code {
			t.Errorf("%v %q: %q, want %q", tt.tag, tt.text, code, tt.code)
		}
	}
	coded := func(t tag.Tag, value, meaning string) *dicomio.DataSet {
		item := dicomio.NewDataSet()
		if value != "" {
			item.SetString(tag.CodeValue, value).SetString(tag.CodeMeaning, meaning)
		}
		return dicomio.NewDataSet().SetItems(t, item)
	}
	for _, tt := range []struct {
		ds   *dicomio.DataSet
		code string
	}{
		{coded(tag.ContrastBolusAgentSequence, "", ""), ""}, {coded(tag.ContrastBolusAgentSequence, "260413007", "None"), ""},
		{coded(tag.ContrastBolusAgentSequence, "C-B0343", "Perflutren"), result.Contrast},
		{coded(tag.PatientSpeciesCodeSequence, "L-80700", "Canis lupus familiaris"), result.NotHuman},
		{coded(tag.PatientSpeciesCodeSequence, "337915000", "Homo sapiens"), ""}, {coded(tag.PatientSpeciesCodeSequence, "L-85B00", "Mensch"), ""},
		{coded(tag.AnatomicRegionSequence, "87878005", "Fetal heart"), result.Fetal}, {coded(tag.AnatomicRegionSequence, "80891009", "Heart"), ""},
	} {
		if r := refuseByAcquisition(tt.ds); (r == nil) != (tt.code == "") || r != nil && r.Code != tt.code {
			t.Errorf("%v: %v, want %q", tt.ds, r, tt.code)
		}
	}
	for _, tt := range []struct {
		tag        tag.Tag
		text, code string
	}{
		{tag.PatientSexNeutered, "ALTERED", result.NotHuman}, {tag.PatientBreedDescription, "Maine Coon", result.NotHuman},
		{tag.ResponsiblePersonRole, "OWNER", result.NotHuman}, {tag.ResponsiblePersonRole, "PARENT", ""}, {tag.PatientBreedDescription, "Human", ""},
		{tag.StudyDescription, "TTE with Definity", result.Contrast}, {tag.StudyDescription, "TTE without contrast", ""},
	} {
		r := acquisitionDoubt(dicomio.NewDataSet().SetString(tt.tag, tt.text))
		if (r == nil) != (tt.code == "") || r != nil && r.Code != tt.code {
			t.Errorf("%v %q: %v, want %q", tt.tag, tt.text, r, tt.code)
		}
	}
	c := standard("1.2.3.1")
	c.edit = func(ds *dicomio.DataSet) { ds.SetString(tag.ContrastBolusAgent, "SonoVue") }
	if l := loopOf(t, newBrightness(models.ViewA4C), "", c.write(t, t.TempDir())); l.Status != result.Refused || l.Reason.Code != result.Contrast {
		t.Errorf("%s, %v", l.Status, l.Reason)
	}
}
