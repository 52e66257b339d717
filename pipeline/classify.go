package pipeline

import (
	"slices"
	"strings"

	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/echo"
	"github.com/echonode/echonode/pipeline/result"
)

// Views that are analysed whole. The others are named in the result and left.
var measuredViews = []string{models.ViewA4C, models.ViewA2C, models.ViewA3C, models.ViewPLAX}

// apicalView reports whether a view is one of the apical ones.
func apicalView(v string) bool {
	return v == models.ViewA4C || v == models.ViewA2C || v == models.ViewA3C
}

func measuredView(v string) bool { return slices.Contains(measuredViews, v) }

// refuseByTags says why an object is not a 2D image of tissue, judging by its
// attributes alone; nil lets it pass to the pixels.
func refuseByTags(f echo.Facts) *result.Reason {
	refuse := func(code, format string, args ...any) *result.Reason {
		r := result.Reasonf(code, format, args...)
		return &r
	}
	switch {
	case !strings.EqualFold(f.Modality, "US") && f.Modality != "":
		return refuse(result.NotUltrasound, "not ultrasound: modality is %s", f.Modality)
	case f.Frames == 0 || f.Rows == 0 || f.Columns == 0:
		return refuse(result.NoPixels, "the object holds no image")
	case f.Volume != "":
		return refuse(result.Volume, "slices of a volume and no cine: %s", f.Volume)
	case f.HasSpectral:
		return refuse(result.SpectralDoppler, "spectral Doppler: no 2D cine to measure")
	case f.HasMMode:
		return refuse(result.MMode, "M-mode: no 2D cine to measure")
	case f.HasColour && !f.ColourApart():
		return refuse(result.ColourDoppler, "colour or tissue Doppler: colours cover the grey levels that are measured")
	case len(f.Regions) > 0 && f.Tissue == nil:
		return refuse(result.NotTwoD, "no 2D tissue region among the object's ultrasound regions")
	}
	return nil
}
