package measure

import (
	"math"

	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/result"
)

// series are the values of one quantity over beats, with the findings that
// concern it.
type series struct {
	name, unit, method string
	values             []float64
	needsCalibration   bool
	phase              string // "ED", "ES" or "" for both
}

// add turns series into measurements: the mean over beats, or the reason why
// there is none.
func (l *loop) add(all []series, beats []lv.Beat, findings []lv.Finding) {
	var rejected *result.Reason
	var warnings []result.Reason
	for _, f := range findings {
		r := result.Reason{Code: string(f.Gate), Text: f.Reason}
		if f.Severity == lv.Reject {
			if rejected == nil {
				rejected = &r
			}
		} else {
			warnings = append(warnings, r)
		}
	}
	warnings = distinct(warnings)
	for _, s := range all {
		switch {
		case rejected != nil:
			l.Measurements = append(l.Measurements, l.missing(s, *rejected))
		case len(s.values) == 0:
			l.Measurements = append(l.Measurements, l.missing(s, result.Reasonf(result.NoContour, "no beat with a contour at end-diastole and end-systole")))
		case s.needsCalibration && !l.Spacing.Trusted:
			l.Measurements = append(l.Measurements, l.missing(s, result.Reasonf(result.NoCalibration, "no trustworthy calibration: %s", l.Spacing.Reason)))
		default:
			m := result.Measurement{Name: s.name, Unit: s.unit, Method: s.method, View: l.View, Stage: l.Stage,
				Quality: result.Quality{Grade: result.Good, Warnings: warnings}}
			if len(warnings) > 0 {
				m.Quality.Grade = result.Fair
			}
			mean := round(lv.Summarize(s.values).Mean, 4)
			m.Value = &mean
			for _, v := range s.values {
				m.Beats = append(m.Beats, round(v, 4))
			}
			for _, b := range beats {
				if s.phase != "ES" {
					m.Sources = append(m.Sources, result.Source{SOPInstanceUID: l.SOPInstanceUID, Frame: b.ED, Phase: "ED"})
				}
				if s.phase != "ED" {
					m.Sources = append(m.Sources, result.Source{SOPInstanceUID: l.SOPInstanceUID, Frame: b.ES, Phase: "ES"})
				}
			}
			l.Measurements = append(l.Measurements, m)
		}
	}
}

func distinct(in []result.Reason) []result.Reason {
	seen := map[string]bool{}
	var out []result.Reason
	for _, r := range in {
		if !seen[r.Code] {
			seen[r.Code] = true
			out = append(out, r)
		}
	}
	return out
}

func (l *loop) missing(s series, r result.Reason) result.Measurement {
	return result.Measurement{Name: s.name, Unit: s.unit, Method: s.method, View: l.View, Stage: l.Stage,
		Quality: result.Quality{Grade: result.None}, Reason: &r}
}

// addHeartRate reports the rate from the R peaks or the curve, else the
// device's own.
func (l *loop) addHeartRate() {
	rate, method := l.rhythm.HeartRate, l.rhythm.HeartRateSource
	if rate == 0 && l.HeartRate > 0 {
		rate, method = l.HeartRate, lv.RateFromDevice
	}
	s := series{name: result.HR, unit: result.UnitRate, method: method}
	if rate == 0 {
		l.Measurements = append(l.Measurements, l.missing(s, result.Reasonf(result.NoBeat, "neither R peaks, a whole cycle nor a stored heart rate")))
		return
	}
	v := round(rate, 1)
	m := l.missing(s, result.Reason{})
	m.Value, m.Reason, m.Quality.Grade = &v, nil, result.Good
	m.Sources = []result.Source{{SOPInstanceUID: l.SOPInstanceUID, Frame: 0}}
	l.Measurements = append(l.Measurements, m)
}

func round(v float64, digits int) float64 {
	p := math.Pow(10, float64(digits))
	return math.Round(v*p) / p
}
