package models_test

import (
	"context"
	"fmt"
	"image"
	"log"

	"github.com/echonode/echonode/models"
)

// A frame goes through the letterbox into the network, and what comes out goes back to source pixels.
func Example() {
	ctx := context.Background()
	engine, err := models.Open(ctx, models.Config{Provider: models.Auto}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = engine.Close() }()
	card := engine.Card()

	// The ultrasound region of a frame of 800x600 with pixels 5 % wider than high.
	region := image.Rect(100, 40, 740, 560)
	box, err := models.NewLetterbox(region, 1.05, card.Input.Width, card.Input.Height)
	if err != nil {
		log.Fatal(err)
	}
	input := image.NewGray(image.Rect(0, 0, card.Input.Width, card.Input.Height))
	content, err := box.Canvas(input)
	if err != nil {
		log.Fatal(err)
	}
	_ = content // receives the region, resampled by pixel.ResampleArea

	var out models.Output
	if err := engine.Infer(ctx, input.Pix, 1, &out); err != nil {
		log.Fatal(err)
	}
	x, y, confidence := out.Keypoint(0, card.Keypoint(models.KeypointApex))
	x, y = box.SourceFromInput().Apply(x, y)
	fmt.Printf("apex at source pixel (%.1f, %.1f), confidence %.2f\n", x, y, confidence)
	cavity := out.MaskPlane(0, card.Class(models.ClassLVCavity))
	fmt.Printf("mask of %d cells, cell to source %+v\n", len(cavity), box.SourceFromMask())
}
