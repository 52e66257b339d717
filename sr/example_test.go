package sr_test

import (
	"fmt"
	"log"
	"os"
	"time"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/instance"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/sr"
)

// A report with one value and one that could not be measured is built, checked
// against its template, read back, and shown as text.
func Example() {
	study := dicomio.NewDataSet().
		SetString(tag.PatientName, "Doe^Jo").SetString(tag.PatientID, "4711").
		SetString(tag.StudyInstanceUID, "1.2.3").SetString(tag.StudyDate, "20260101").SetString(tag.StudyTime, "101112")
	loop := instance.Ref{StudyUID: "1.2.3", SeriesUID: "1.2.3.1", SOPClassUID: uid.UltrasoundMultiFrameImageStorage, SOPInstanceUID: "1.2.3.1.1"}
	ds, err := sr.Build(sr.Report{
		Source:         study,
		SOPInstanceUID: "2.25.1", SeriesInstanceUID: "2.25.2", SeriesNumber: 9003,
		Time:      time.Date(2026, 1, 1, 10, 30, 0, 0, time.UTC),
		Observer:  instance.Equipment{Manufacturer: "Example", Model: "Example", Version: "1", Serial: "1", UID: "2.25.3"},
		Algorithm: instance.Algorithm{Name: "example", Version: "1"},
		Evidence:  []instance.Ref{loop},
		Measurements: []sr.Measurement{
			{Quantity: sr.EF, Value: 59.2, Unit: sr.Percent, Method: sr.DisksSinglePlane, Mode: sr.Mode2D, View: sr.A4C},
		},
		NotMeasured: []sr.NotMeasured{{What: "Left ventricular mass", Reason: "no parasternal long axis loop"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range sr.Check(ds, []instance.Ref{loop}) {
		log.Fatal(p)
	}
	doc, err := sr.Parse(ds)
	if err != nil {
		log.Fatal(err)
	}
	for _, m := range doc.Measurements() {
		fmt.Println(m.Concept.Meaning, m.Value, m.Unit.Value)
	}
	fmt.Println()
	if err := doc.WriteText(os.Stdout); err != nil {
		log.Fatal(err)
	}
	// Output:
	// Left Ventricular Ejection Fraction 59.2 %
	//
	// Adult Echocardiography Procedure Report
	// =======================================
	//
	// Status:     PRELIMINARY COMPLETE UNVERIFIED
	// Patient:    Doe, Jo
	// Patient ID: 4711
	// Study:      2026-01-01
	// Made:       2026-01-01 10:30:00
	// By:         Example 1
	// Model:      example 1
	//
	// Automatic analysis without review by a physician. Not for diagnosis.
	//
	// Left ventricle
	//   [AI LV Function]
	//   Left Ventricular Ejection Fraction                             59.2 %         Method of Disks, Single Plane, Apical four chamber, 2D mode
	//
	// Not measured
	//   Left ventricular mass: no parasternal long axis loop
	//
	// Images
	//   image 1  1.2.3.1.1
	//
	// Report 2.25.1
}
