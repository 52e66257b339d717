package pipeline_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"

	"github.com/echonode/echonode/models"
	"github.com/echonode/echonode/pipeline"
	"github.com/echonode/echonode/pipeline/lv"
)

// The shipped network looks at the loops of a study, and what it saw is
// measured. Loops that cannot be used are listed with their reason.
func Example() {
	ctx := context.Background()
	engine, err := models.Open(ctx, models.Config{Provider: models.Auto}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = engine.Close() }()
	analyzer := pipeline.NewAnalyzer(engine, pipeline.Options{LV: lv.DefaultOptions()}, slog.New(slog.DiscardHandler))
	study, err := analyzer.Analyze(ctx, []string{"loop-1.dcm", "loop-2.dcm"}, nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, m := range study.Measurements {
		if m.Value != nil {
			fmt.Printf("%s %.1f %s, %s\n", m.Name, *m.Value, m.Unit, m.Quality.Grade)
		} else {
			fmt.Printf("%s is not measured: %s\n", m.Name, m.Reason)
		}
	}
}
