package dicomio

import (
	"image"
	"path/filepath"
	"testing"

	"github.com/echonode/echonode/dicomio/pixel"
)

// BenchmarkCineToGray decodes frames of a real cine to 224x224.
func BenchmarkCineToGray(b *testing.B) {
	f, err := Open(filepath.Join(goDicom(b), "I_000031.dcm"), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	r, err := f.Frames()
	if err != nil {
		b.Fatal(err)
	}
	var g image.Gray
	small := image.NewGray(image.Rect(0, 0, 224, 224))
	for i := 0; b.Loop(); i++ {
		if err := r.Gray(i%r.Len(), &g); err != nil {
			b.Fatal(err)
		}
		pixel.ResampleArea(small, &g, g.Rect)
	}
}

// BenchmarkCineToGrayParallel does the same in GOMAXPROCS goroutines on one
// FrameReader: run it with -cpu 1,2.
func BenchmarkCineToGrayParallel(b *testing.B) {
	f, err := Open(filepath.Join(goDicom(b), "I_000031.dcm"), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	r, err := f.Frames()
	if err != nil {
		b.Fatal(err)
	}
	b.RunParallel(func(pb *testing.PB) {
		var g image.Gray
		small := image.NewGray(image.Rect(0, 0, 224, 224))
		for i := 0; pb.Next(); i++ {
			if err := r.Gray(i%r.Len(), &g); err != nil {
				b.Error(err)
				return
			}
			pixel.ResampleArea(small, &g, g.Rect)
		}
	})
}

// BenchmarkSpinParallel is arithmetic without memory, locks or cgo: how much
// the machine's further processors are worth.
func BenchmarkSpinParallel(b *testing.B) {
	b.RunParallel(func(pb *testing.PB) {
		x := uint64(1)
		for pb.Next() {
			for range 1 << 18 {
				x = x*6364136223846793005 + 1442695040888963407
			}
		}
		if x == 0 {
			b.Error("unreachable")
		}
	})
}

// BenchmarkDecode decodes the small fixtures of each codec.
func BenchmarkDecode(b *testing.B) {
	for _, name := range []string{"rgb-jpeg", "gray16-jpeg12", "rgb-lossless-sv1", "rgb-jls", "rgb-j2k", "rgb-rle"} {
		b.Run(name, func(b *testing.B) {
			r, err := readBytes(b, fixture(b, name), Options{}).Frames()
			if err != nil {
				b.Skip(err)
			}
			var d Frame
			b.SetBytes(r.Info.DecodedBytes())
			for b.Loop() {
				if err := r.Decode(0, &d); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRead indexes a cine.
func BenchmarkRead(b *testing.B) {
	path := filepath.Join(goDicom(b), "I_000031.dcm")
	b.ReportAllocs()
	for b.Loop() {
		f, err := Open(path, Options{})
		if err != nil {
			b.Fatal(err)
		}
		f.Close()
	}
}
