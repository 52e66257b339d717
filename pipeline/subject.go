package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/echonode/echonode/dicomio/tag"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/pipeline/result"
)

// Bounds of what is taken for a person's height in cm and weight in kg.
const (
	minHeight, maxHeight = 30, 250
	minWeight, maxWeight = 1, 400
)

// recordedOn is the date on which an object was recorded, as far as it says; "" when
// it does not.
func recordedOn(d *dicomio.DataSet) string {
	for _, t := range []dicomio.Tag{tag.AcquisitionDateTime, tag.AcquisitionDate, tag.ContentDate, tag.StudyDate} {
		if s := strings.TrimSpace(d.String(t)); len(s) >= 8 {
			if _, err := time.Parse("20060102", s[:8]); err == nil {
				return s[:8]
			}
		}
	}
	return ""
}

// SubjectOf reads what an object says of its patient, without the name.
func SubjectOf(ds *dicomio.DataSet) result.Subject {
	person := result.PersonOf(ds.String(tag.PatientID), ds.String(tag.IssuerOfPatientID), ds.String(tag.PatientName), ds.String(tag.PatientBirthDate),
		ds.String(tag.PatientSex))
	s := result.Subject{Key: patientKey(ds), Person: &person}
	switch sex := ds.String(tag.PatientSex); sex {
	case "M", "F", "O":
		s.Sex = sex
	}
	if m, ok := ds.Float(tag.PatientSize); ok && 100*m >= minHeight && 100*m <= maxHeight {
		s.HeightCM = result.Round(100*m, 1)
	}
	if kg, ok := ds.Float(tag.PatientWeight); ok && kg >= minWeight && kg <= maxWeight {
		s.WeightKG = result.Round(kg, 1)
	}
	s.AgeYears = age(ds)
	return s
}

// patientKey is a digest of Patient ID and its issuer. It tells patients apart
// and names nobody; it does not hide an ID from somebody who can guess it.
func patientKey(ds *dicomio.DataSet) string {
	sum := sha256.Sum256([]byte(ds.String(tag.PatientID) + "\x00" + ds.String(tag.IssuerOfPatientID)))
	return hex.EncodeToString(sum[:6])
}

// age in completed years on the day of the study: Patient's Age where it is
// given, else from the dates; nil when neither says it.
func age(ds *dicomio.DataSet) *int {
	years := func(n int) *int {
		if n < 0 || n > 130 {
			return nil
		}
		return &n
	}
	if s := ds.String(tag.PatientAge); len(s) == 4 {
		if n, err := strconv.Atoi(s[:3]); err == nil {
			switch s[3] {
			case 'Y':
				return years(n)
			case 'M':
				return years(n / 12)
			case 'W':
				return years(n / 52)
			case 'D':
				return years(n / 365)
			}
		}
	}
	born, err1 := time.Parse("20060102", ds.String(tag.PatientBirthDate))
	on, err2 := time.Parse("20060102", ds.String(tag.StudyDate))
	if err1 != nil || err2 != nil {
		return nil
	}
	n := on.Year() - born.Year()
	if on.Month() < born.Month() || on.Month() == born.Month() && on.Day() < born.Day() {
		n--
	}
	return years(n)
}
