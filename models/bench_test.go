package models

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
)

// BenchmarkInfer times the shipped model, 16 frames per call. conformance/bench/infer compares with ONNX Runtime in
// Python.
func BenchmarkInfer(b *testing.B) {
	requireLibrary(b)
	for _, variant := range []string{FP32, INT8} {
		if variant == INT8 {
			if _, err := shipped.ReadFile(shippedINT8); err != nil {
				continue
			}
		}
		workers := []int{1, runtime.GOMAXPROCS(0)}
		for _, workers := range slices.Compact(workers) {
			b.Run(fmt.Sprintf("%s/workers=%d", variant, workers), func(b *testing.B) {
				e, err := Open(b.Context(), Config{Variant: variant, Provider: CPU, Workers: workers}, nil)
				if err != nil {
					b.Fatal(err)
				}
				defer e.Close()
				const n = 16
				frames := noise(e.Card(), n)
				var out Output
				b.ReportAllocs()
				for b.Loop() {
					if err := e.Infer(b.Context(), frames, n, &out); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "frames/s")
			})
		}
	}
}

func BenchmarkDecodeKeypoint(b *testing.B) {
	heat := gaussian(56, 56, 20.3, 31.7, 1.5, 1.5, 0.8)
	for b.Loop() {
		DecodeKeypoint(heat, 56, 56)
	}
}
