package longaxis

import (
	"math"
	"testing"

	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/result"
)

// An ellipse has no base of its own: the apex is on the side of the transducer,
// above, with a region and without.
func TestTransducerIsAbove(t *testing.T) {
	var f result.Frame
	for i := range 200 {
		sin, cos := math.Sincos(2 * math.Pi * float64(i) / 200)
		f.Contour = append(f.Contour, [2]float64{100 + 25*cos, 100 + 45*sin})
	}
	for name, region := range map[string]*result.Region{"no region": nil, "region": {MinX: 60, MinY: 20, MaxX: 180, MaxY: 190}} {
		l := &result.Loop{Columns: 240, Rows: 200, Region: region, Spacing: result.Spacing{Aspect: 1}}
		a, err := Of(l, &f)
		if err != nil {
			t.Fatal(err)
		}
		if a.Apex.Y > 60 || a.Base.Y < 100 {
			t.Errorf("%s: apex at %v, base at %v", name, a.Apex, a.Base)
		}
		want := lv.Point{X: 120}
		if region != nil {
			want = lv.Point{X: 120, Y: 20}
		}
		if got := *Options(l, lv.AxisOptions{}).ApexSide; got != want {
			t.Errorf("%s: transducer at %v, want %v", name, got, want)
		}
	}
}
