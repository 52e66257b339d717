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

// What the sonographer called the view is compared with what the network says.
func TestCalledOtherwise(t *testing.T) {
	for name, views := range map[string]string{ // the views that it may be taken for
		"A4C": "A4C", "Apical 4": "A4C", "AP4": "A4C", "4CH": "A4C", "Four Chamber": "A4C", "A2C": "A2C", "AP2": "A2C", "2 CH": "A2C", "PLAX": "PLAX",
		"APLAX": "A3C", "Apical long axis": "A3C", "3CH": "A3C", "SUBCOSTAL 4CH": "", "PSAX MID": "", "RV FOCUSED": "", "RV focused A4C": "", "5CH": "", "A5C": "",
		"A4C/A2C": "A4C A2C", "AP4 & AP2": "A4C A2C", "Apical 2D": "any", "AP 3D": "any", "A4C LV & RV": "A4C",
		"A4C RV/LV": "A4C", "A4CH": "A4C", "4C": "A4C", "2C": "A2C", "SC4C": "", "SC 4CH": "", "RV4C": "", "LV focused": "any", "": "any", "Apex": "any", "View 4": "any",
		"Apikal 2-Kammerblick": "A2C", "2KB": "A2C", "3KB": "A3C", "apikaler Vierkammerblick": "A4C", "vue apicale 2 cavités": "A2C", "2 camere": "A2C",
		"4 cavidades": "A4C", "quattro camere": "A4C", "apical dos cámaras": "A2C", "心尖两腔": "A2C", "心尖四腔心": "A4C", "心尖部二腔像": "A2C", "LAX": "A3C PLAX",
		"parasternal lange Achse": "PLAX", "apikale lange Achse": "A3C", "Parasternal kurze Achse": "", "sous-costale 4 cavités": "", "5-Kammerblick": "",
		"subkostal 4-Kammer": "", "胸骨旁短轴": "", "2 Kamelien": "any", "ventrículo derecho": "", "ventrículo direito": "", "paraesternal eixo curto": "",
		"paraesternal eixo longo": "PLAX", "Bild 4 camera": "A4C",
	} {
		ds := dicomio.NewDataSet()
		ds.SetString(tag.SpecificCharacterSet, "ISO_IR 192").SetBytes(tag.ViewName, "SH", []byte(name)) // however long
		for _, view := range []string{models.ViewA4C, models.ViewA2C, models.ViewA3C, models.ViewPLAX} {
			if got, want := calledOtherwise(ds, view) == nil, views == "any" || slices.Contains(strings.Fields(views), view); got != want {
				t.Errorf("%q taken for %s: agrees %v", name, view, got)
			}
		}
	}
	code := dicomio.NewDataSet()
	code.SetString(tag.CodeMeaning, "Apical two chamber")
	ds := dicomio.NewDataSet()
	ds.SetItems(tag.ViewCodeSequence, code)
	if r := calledOtherwise(ds, models.ViewA4C); r == nil || r.Text != `the object calls the view "Apical two chamber", the network takes it for A4C` {
		t.Errorf("%v", r)
	}
	c := standard("1.2.3.1")
	c.edit = func(ds *dicomio.DataSet) { ds.SetString(tag.ViewName, "RV FOCUSED") }
	l := loopOf(t, newBrightness(models.ViewA4C), "", c.write(t, t.TempDir()))
	for _, m := range l.Measurements {
		if m.Name == result.EF && (m.Value == nil || m.Quality.Grade != result.Fair) {
			t.Errorf("%+v", m)
		}
	}
}

// A sector that narrows downwards is shown upside down.
func TestUpsideDown(t *testing.T) {
	fan := func(turned bool) (out result.Contour) {
		for _, p := range [][2]float64{{100, 0}, {110, 0}, {200, 120}, {160, 150}, {50, 150}, {10, 120}} {
			if turned {
				p[1] = 150 - p[1]
			}
			out = append(out, p)
		}
		return out
	}
	for name, tt := range map[string]struct {
		sector result.Contour
		want   bool
	}{"as usual": {fan(false), false}, "turned": {fan(true), true}, "a box": {result.Contour{{0, 0}, {9, 0}, {9, 9}, {0, 9}}, false}, "none": {nil, false}} {
		if got := upsideDown(tt.sector); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
