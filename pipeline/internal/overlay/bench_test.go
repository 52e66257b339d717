package overlay

import (
	"image"
	"io"
	"testing"

	"github.com/echonode/echonode/pipeline/lv"
)

func BenchmarkRender(b *testing.B) {
	r, err := NewRenderer(640, 480, "EchoNode 0.1.0, model echonode-lv 0.3")
	if err != nil {
		b.Fatal(err)
	}
	frame, dst := gray(640, 480, 60), r.NewImage()
	s := Scene{
		Outlines: []Outline{{Ventricle, lv.Resample(square(200, 100, 400, 380), 200)}, {Myocardium, square(180, 80, 420, 390)}},
		Status:   "A4C frame 12/60  0.363 s  LV area 31.2 cm2", Badge: "ED",
	}
	for b.Loop() {
		if err := r.Render(dst, frame, s); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGIF(b *testing.B) {
	frame := gray(640, 480, 60)
	var times []float64
	for i := range 30 {
		times = append(times, float64(i)*33)
	}
	for b.Loop() {
		if err := WriteGIF(io.Discard, times, DefaultGIFOptions(), func(int) (image.Image, error) { return frame, nil }); err != nil {
			b.Fatal(err)
		}
	}
}
