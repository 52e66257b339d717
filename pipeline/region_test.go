package pipeline

import (
	"context"
	"image"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/result"
)

// seeing knows a picture with a bright cavity as A4C, with a mark in its corner as A2C, and any other as no view.
type seeing struct{ *brightness }

func (e seeing) Infer(ctx context.Context, frames []byte, n int, out *models.Output) error {
	if err := e.brightness.Infer(ctx, frames, n, out); err != nil {
		return err
	}
	side := e.card.Input.Width
	view := models.ViewOther
	for _, v := range frames[:side*side] {
		if v > 150 {
			view = models.ViewA4C
		}
	}
	if view == models.ViewA4C && frames[26*side+3] > 30 {
		view = models.ViewA2C
	}
	clear(out.View)
	out.View[e.card.View(view)] = 1
	return nil
}

// besides puts a second 2D region of another scale beside the one that the cine has.
func besides(kind int64, x0, x1, height int64, first bool) func(*dicomio.DataSet) {
	return func(ds *dicomio.DataSet) {
		r := dicomio.NewDataSet()
		for t, v := range map[dicomio.Tag]int64{tag.RegionSpatialFormat: 1, tag.RegionDataType: kind, tag.RegionFlags: 0, tag.RegionLocationMinX0: x0,
			tag.RegionLocationMinY0: 0,
			tag.RegionLocationMaxX1: x1 - 1, tag.RegionLocationMaxY1: height - 1, tag.PhysicalUnitsXDirection: 3, tag.PhysicalUnitsYDirection: 3} {
			r.SetInt(t, v)
		}
		r.SetFloat(tag.PhysicalDeltaX, 0.08)
		r.SetFloat(tag.PhysicalDeltaY, 0.08)
		own := ds.Items(tag.SequenceOfUltrasoundRegions)[0]
		if first {
			ds.SetItems(tag.SequenceOfUltrasoundRegions, r, own)
		} else {
			ds.SetItems(tag.SequenceOfUltrasoundRegions, own, r)
		}
	}
}

// Of several 2D regions that with a view is measured, at its own scale, wherever it stands and however large the others
// are; what the others show is said.
func TestTheRightRegion(t *testing.T) {
	e := seeing{newBrightness(models.ViewA4C)}
	plain := standard("1.2.3.1")
	w := plain.width
	for name, tt := range map[string]struct {
		x0      int
		edit    func(*dicomio.DataSet)
		kind    string
		refused string
	}{
		"left, listed first":  {0, besides(1, int64(w), int64(2*w+200), int64(plain.height), false), "no view", ""},
		"right, listed first": {w + 200, besides(1, 0, int64(w+200), int64(plain.height), false), "no view", ""},
		"right, listed last":  {w + 200, besides(1, 0, int64(w+200), int64(plain.height), true), "no view", ""},
		"beside colour":       {0, besides(2, int64(w), int64(2*w+200), int64(plain.height), true), "", ""},
		"under colour":        {0, besides(2, 40, int64(w), int64(plain.height), true), "", result.ColourDoppler},
	} {
		c := plain
		c.width, c.x0, c.y0, c.x1, c.y1 = 2*w+200, tt.x0, 0, tt.x0+w, plain.height
		c.edit = tt.edit
		l := loopOf(t, e, "", c.write(t, t.TempDir()))
		if tt.refused != "" {
			if l.Status != result.Refused || l.Reason.Code != tt.refused {
				t.Errorf("%s: %s, %v", name, l.Status, l.Reason)
			}
			continue
		}
		if l.Status != result.Analysed || l.Region.MinX != tt.x0 {
			t.Errorf("%s: %s, %v, region %v", name, l.Status, l.Reason, l.Region)
			continue
		}
		if got := value(t, l.Measurements, result.EDV); math.Abs(got-117.81) > 3 {
			t.Errorf("%s: EDV %.1f, want 117.8: the scale of another region", name, got)
		}
		said := ""
		for _, r := range l.Warnings {
			if r.Code == result.Regions {
				said = r.Text
			}
		}
		if tt.kind != "" && !strings.Contains(said, tt.kind) || tt.kind == "" && said != "" {
			t.Errorf("%s: said %q", name, said)
		}
	}
}

func TestBestRegion(t *testing.T) {
	at := func(view string, p float64, reason string) candidate {
		return candidate{view: view, p: p, reason: reason}
	}
	for name, tt := range map[string]struct {
		found []candidate
		want  int
	}{
		"four chambers before two":       {[]candidate{at("A2C", 0.99, ""), at("A4C", 0.6, "")}, 1},
		"the surer of one view":          {[]candidate{at("A4C", 0.7, ""), at("A4C", 0.9, ""), at("A4C", 0.8, "")}, 1},
		"what may be measured":           {[]candidate{at("A4C", 0.99, "is coloured"), at("PLAX", 0.5, "")}, 1},
		"nothing may: the surest":        {[]candidate{at("other", 0.5, "x"), at("PSAX", 0.9, "x")}, 1},
		"alike: the first":               {[]candidate{at("A4C", 0.9, ""), at("A4C", 0.9, "")}, 0},
		"long axis before short of none": {[]candidate{at("A3C", 0.9, ""), at("PLAX", 0.99, "")}, 0},
	} {
		if got := bestRegion(tt.found); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}

// Where another region than the first is measured, its own scale is compared with
// Pixel Spacing.
func TestContradictionIsOfTheRegionMeasured(t *testing.T) {
	e := seeing{newBrightness(models.ViewA4C)}
	for spacing, contradicted := range map[float64]bool{0.8: true, standard("").spacingX: false} {
		c := standard("1.2.3.1")
		w := c.width
		c.width, c.x0, c.x1, c.y1 = 2*w+200, w+200, 2*w+200, c.height
		beside := besides(1, 0, int64(w+200), int64(c.height), true)
		c.edit = func(ds *dicomio.DataSet) {
			beside(ds)
			ds.SetFloat(tag.PixelSpacing, spacing, spacing)
		}
		l := loopOf(t, e, "", c.write(t, t.TempDir()))
		said := slices.ContainsFunc(l.Warnings, func(r result.Reason) bool { return r.Code == result.Scale })
		if l.Region.MinX != w+200 || said != contradicted {
			t.Errorf("Pixel Spacing %g: region %v, contradiction told: %v", spacing, l.Region, said)
		}
	}
}

// Pictures of one view and size side by side are stages or beats; an overview is
// smaller than its zoom.
func TestCopies(t *testing.T) {
	at := func(view string, side int, reason string) candidate {
		c := candidate{view: view, p: 0.9, reason: reason}
		c.Rect = image.Rect(0, 0, side, side)
		return c
	}
	for name, tt := range map[string]struct {
		found []candidate
		want  int
	}{
		"quad":         {[]candidate{at("A4C", 200, ""), at("A4C", 200, ""), at("A4C", 195, ""), at("A4C", 200, "")}, 4},
		"biplane":      {[]candidate{at("A4C", 200, ""), at("A2C", 200, "")}, 1},
		"zoom":         {[]candidate{at("A4C", 200, ""), at("A4C", 80, "")}, 1},
		"with colour":  {[]candidate{at("A4C", 200, ""), at("", 200, "is coloured")}, 1},
		"not measured": {[]candidate{at("A4C", 200, ""), at("A4C", 200, "is unlike")}, 1},
	} {
		if got := copies(tt.found, 0); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}

// The second plane of a recording is the only two-chamber view beside the only
// four-chamber one.
func TestBesideOf(t *testing.T) {
	at := func(view string, x, side int, reason string) candidate {
		c := candidate{view: view, p: 0.9, reason: reason}
		c.Rect = image.Rect(x, 0, x+side, side)
		return c
	}
	four, two, three := at("A4C", 0, 200, ""), at("A2C", 200, 200, ""), at("A3C", 400, 200, "")
	for name, tt := range map[string]struct {
		found []candidate
		want  int
	}{
		"two planes":              {[]candidate{four, two}, 1},
		"three planes":            {[]candidate{four, three, two}, 2},
		"two of two chambers":     {[]candidate{four, two, at("A2C", 400, 200, "")}, -1},
		"no two-chamber view":     {[]candidate{four, three}, -1},
		"two-chamber view chosen": {[]candidate{two, three}, -1},
		"alone":                   {[]candidate{four}, -1},
		"over each other":         {[]candidate{four, at("A2C", 199, 200, "")}, -1},
		"smaller":                 {[]candidate{four, at("A2C", 200, 170, "")}, -1},
		"nearly as large":         {[]candidate{four, at("A2C", 200, 180, "")}, 1},
		"coloured":                {[]candidate{four, at("A2C", 200, 200, "is coloured")}, -1},
		"beside a short axis":     {[]candidate{four, two, at("PSAX", 400, 200, "shows no view that is measured")}, -1},
		"four pictures":           {[]candidate{four, two, three, at("A3C", 600, 200, "")}, -1},
		"not to be measured":      {[]candidate{at("A4C", 0, 200, "is unlike"), two}, -1},
	} {
		if got := besideOf(tt.found, 0); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}
