package review

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Number writes v with so many decimals in the way of the language.
func (w *Words) Number(v float64, decimals int) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "–"
	}
	s := strconv.FormatFloat(v, 'f', decimals, 64)
	if strings.TrimLeft(s, "-0.") == "" {
		s = strings.TrimPrefix(s, "-") // no minus zero
	}
	if w.Lang == "de" {
		s = strings.Replace(s, ".", ",", 1)
	}
	return s
}

// Time writes a date and time in the way of the language.
func (w *Words) Time(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	if w.Lang == "de" {
		return t.Format("02.01.2006 15:04")
	}
	return t.Format("2006-01-02 15:04")
}

// Seconds writes a date and time with seconds.
func (w *Words) Seconds(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return w.Time(t) + t.Format(":05")
}

// Date writes a DICOM date (DA); what is none is shown as it is.
func (w *Words) Date(da string) string {
	t, err := time.Parse("20060102", da)
	if err != nil {
		return da
	}
	if w.Lang == "de" {
		return t.Format("02.01.2006")
	}
	return t.Format(time.DateOnly)
}

// Unit writes a UCUM unit for people.
func (w *Words) Unit(u string) string {
	switch u {
	case "1":
		return ""
	case "{H.B.}/min":
		return "/min"
	case "cm2":
		return "cm²"
	case "mm2":
		return "mm²"
	case "m2":
		return "m²"
	case "ml/m2":
		return "ml/m²"
	case "g/m2":
		return "g/m²"
	case "l/min/m2":
		return "l/min/m²"
	}
	return u
}
