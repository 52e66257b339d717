package pipeline

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/echonode/echonode/dicomio/tag"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/instance"
	"github.com/echonode/echonode/pipeline/echo"
	"github.com/echonode/echonode/pipeline/result"
)

// Bounds of what is taken for a person's height in cm and weight in kg.
const (
	minHeight, maxHeight = 30, 250
	minWeight, maxWeight = 1, 400
)

// recordedOn are the dates that an object has; what is none counts as absent.
func recordedOn(d *dicomio.DataSet) result.Dates {
	date := func(tags ...dicomio.Tag) string {
		for _, t := range tags {
			if s := strings.TrimSpace(d.String(t)); len(s) >= 8 {
				if day := cmp.Or(instance.Date(s[:8]), instance.Date(s[:min(len(s), 10)])); day != "" {
					return day
				}
			}
		}
		return ""
	}
	return result.Dates{Acquisition: date(tag.AcquisitionDateTime, tag.AcquisitionDate), Content: date(tag.ContentDate), Study: date(tag.StudyDate)}
}

// SubjectOf reads what an object says of its patient, without the name.
func SubjectOf(ds *dicomio.DataSet) result.Subject {
	person := result.PersonOf(ds.String(tag.PatientID), ds.String(tag.IssuerOfPatientID), ds.String(tag.PatientName), ds.String(tag.PatientBirthDate),
		ds.String(tag.PatientSex))
	s := result.Subject{Key: patientKey(ds), Person: &person}
	s.Sex = instance.Sex(ds.String(tag.PatientSex))
	doubt := func(format string, v float64) {
		s.Doubts = append(s.Doubts, result.Reasonf(result.BodySize, format, v, "nothing is indexed by the body surface"))
	}
	noNumber := func(t dicomio.Tag, format string) {
		text := echo.Text(ds, t)
		if _, ok := ds.Float(t); !ok && text != "" {
			s.Doubts = append(s.Doubts, result.Reasonf(result.BodySize, format, text, "nothing is indexed by the body surface"))
		}
	}
	noNumber(tag.PatientSize, "Patient's Size is no number (%q): %s")
	noNumber(tag.PatientWeight, "Patient's Weight is no number (%q): %s")
	if m, ok := ds.Float(tag.PatientSize); ok && m > 0 {
		if 100*m >= minHeight && 100*m <= maxHeight {
			s.HeightCM = result.Round(100*m, 1)
		} else {
			doubt("Patient's Size of %g m is no person's: %s", m)
		}
	}
	if kg, ok := ds.Float(tag.PatientWeight); ok && kg > 0 {
		if kg >= minWeight && kg <= maxWeight {
			s.WeightKG = result.Round(kg, 1)
		} else {
			doubt("Patient's Weight of %g kg is no person's: %s", kg)
		}
	}
	years, contradiction := age(ds)
	if s.AgeYears = years; contradiction != nil {
		s.Doubts = append(s.Doubts, *contradiction)
	}
	return s
}

// patientKey is a digest of Patient ID and its issuer. It tells patients apart
// and names nobody; it does not hide an ID from somebody who can guess it.
func patientKey(ds *dicomio.DataSet) string {
	sum := sha256.Sum256([]byte(ds.String(tag.PatientID) + "\x00" + ds.String(tag.IssuerOfPatientID)))
	return hex.EncodeToString(sum[:6])
}

// age in completed years on the day of the study: Patient's Age where it is given,
// else from the dates; nil when neither says it, or when the one says a child and
// the other an adult. The reason says that they contradict each other by more than
// the year of a birthday.
func age(ds *dicomio.DataSet) (*int, *result.Reason) {
	stated, byDates := statedAge(ds.String(tag.PatientAge)), ageByDates(ds)
	if born, on := instance.Date(ds.String(tag.PatientBirthDate)), instance.Date(ds.String(tag.StudyDate)); stated == nil && on != "" && born > on {
		r := result.Reasonf(result.PatientAge, "the birth date lies after the study: %s", "no value is compared with a normal range")
		return nil, &r
	}
	if stated == nil || byDates == nil || max(*stated-*byDates, *byDates-*stated) <= 1 {
		return cmp.Or(stated, byDates), nil
	}
	if (*stated < result.AdultAge) == (*byDates < result.AdultAge) {
		return stated, contradicting(*stated, *byDates, "the former counts")
	}
	return nil, contradicting(*stated, *byDates, "no value is compared with a normal range")
}

func contradicting(stated, byDates int, follows string) *result.Reason {
	r := result.Reasonf(result.PatientAge, "Patient's Age of %d years contradicts the birth date, by which it is %d: %s", stated, byDates, follows)
	return &r
}

var ageString = regexp.MustCompile(`^([0-9]{1,3})([YMWD])$`)

// statedAge reads Patient's Age (0010,1010), also without its leading zeros.
func statedAge(s string) *int {
	m := ageString.FindStringSubmatch(strings.TrimSpace(s))
	if m == nil {
		return nil
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return nil
	}
	return years(n / map[string]int{"Y": 1, "M": 12, "W": 52, "D": 365}[m[2]])
}

// ageByDates is the age from the birth date to the day of the study.
func ageByDates(ds *dicomio.DataSet) *int {
	born, err1 := time.Parse("20060102", instance.Date(ds.String(tag.PatientBirthDate)))
	on, err2 := time.Parse("20060102", instance.Date(ds.String(tag.StudyDate)))
	if err1 != nil || err2 != nil {
		return nil
	}
	n := on.Year() - born.Year()
	if on.Month() < born.Month() || on.Month() == born.Month() && on.Day() < born.Day() {
		n--
	}
	return years(n)
}

// years is an age that a person can have; nil for another.
func years(n int) *int {
	if n < 0 || n > 130 {
		return nil
	}
	return &n
}
