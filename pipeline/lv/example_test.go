package lv_test

import (
	"fmt"
	"log"
	"math"

	"github.com/echonode/echonode/pipeline/lv"
)

// The left ventricle as a half ellipsoid, apex up: 5 cm wide and 9 cm long at
// end-diastole, 3.5 and 7.5 cm at end-systole. Its volume by formula is
// pi/6 x D^2 x L, 117.8 and 48.1 mL; twenty disks give it within 0.1 mL.
func Example() {
	spacing := lv.Spacing{X: 0.5, Y: 0.5} // mm per pixel
	outline := func(diameterMM, lengthMM float64) []lv.Point {
		var contour []lv.Point
		for i := range 1001 {
			sin, cos := math.Sincos(math.Pi * float64(i) / 1000)
			contour = append(contour, lv.Point{X: 200 + diameterMM/2*cos/spacing.X, Y: 300 - lengthMM*sin/spacing.Y})
		}
		return contour
	}
	ed, err := lv.MeasurePlane(outline(50, 90), spacing, lv.Landmarks{}, lv.DefaultAxisOptions())
	if err != nil {
		log.Fatal(err)
	}
	es, err := lv.MeasurePlane(outline(35, 75), spacing, lv.Landmarks{}, lv.DefaultAxisOptions())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("EDV %.1f mL, ESV %.1f mL, length %.0f mm\n", ed.VolumeML, es.VolumeML, ed.Axis.LengthMM)
	fmt.Printf("EF %.1f %%, FAC %.1f %%\n", lv.EF(ed.VolumeML, es.VolumeML), lv.FAC(ed.AreaMM2, es.AreaMM2))
	// Output:
	// EDV 117.8 mL, ESV 48.1 mL, length 90 mm
	// EF 59.2 %, FAC 41.7 %
}
