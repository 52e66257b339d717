package pipeline

import (
	"image"
	"math"
	"testing"

	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline/lv"
	"github.com/echonode/echonode/pipeline/result"
)

// A cavity that is round at both ends and has no keypoints, a wall all around it
// but for the valve, below: the wall is seen, since the apex is above. The shape
// alone, whose upper end is flatter by less than counts, would take the valve
// for an apex without a wall.
func TestValveIsNoUnseenWall(t *testing.T) {
	const side = 200
	l := &loop{Loop: result.Loop{Rows: side, Columns: side, Region: &result.Region{MaxX: side, MaxY: side}}, spacing: lv.Spacing{X: 1, Y: 1}}
	var err error
	if l.box, err = models.NewLetterbox(image.Rect(0, 0, side, side), 1, side, side); err != nil {
		t.Fatal(err)
	}
	f := &frame{outline: &lv.Outline{}}
	inside := func(x, y, grow float64) bool { return math.Hypot((x-100)/(25+grow), (y-100)/(45+grow)) < 1 }
	for i := range 200 {
		sin, cos := math.Sincos(2 * math.Pi * float64(i) / 200)
		f.outline.Points = append(f.outline.Points, lv.Point{X: 100 + 25*cos, Y: max(100+45*sin, 55.5)})
	}
	input := image.NewGray(image.Rect(0, 0, side, side))
	for y := range side {
		for x := range side {
			if x, y := float64(x), float64(y); inside(x, y, 14) && !inside(x, y, 0) && y < 132 {
				input.Pix[input.PixOffset(int(x), int(y))] = 200
			}
		}
	}
	o := lv.DefaultAxisOptions()
	shape, err := lv.LongAxis(f.outline.Points, l.spacing, lv.Landmarks{}, o)
	if err != nil {
		t.Fatal(err)
	}
	if shape.Apex.Y < 100 {
		t.Fatalf("the shape alone finds the apex at %v: the test shows nothing", shape.Apex)
	}
	if got := l.unseen(input, f, o); got > 0.05 {
		t.Errorf("no wall beside %.2f of the outline", got)
	}
}
