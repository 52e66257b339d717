package lv

import (
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"testing"
)

// floats reads little-endian numbers of any value.
func floats(b []byte) []float64 {
	out := make([]float64, len(b)/4)
	for i := range out {
		out[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:])))
	}
	return out
}

// Whatever the curve and the R peaks, beats lie in order within the clip, on
// frames that have a value of their own.
func FuzzFindBeats(f *testing.F) {
	seed := func(v []float64) []byte {
		var b []byte
		for _, x := range v {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(x)))
		}
		return b
	}
	area, _ := clip(500, 2800, 900, 0.5, 33.3)
	f.Add(seed(area), uint8(33), float32(400), float32(1300), float32(66))
	short, _ := clip(0, 350, 900, 0, 25)
	f.Add(seed(short), uint8(25), float32(0), float32(math.Inf(1)), float32(70))
	f.Fuzz(func(t *testing.T, b []byte, step uint8, r1, r2, rate float32) {
		area := floats(b)
		times := make([]float64, len(area))
		for i := range times {
			times[i] = float64(i) * float64(step)
		}
		o := DefaultBeatOptions()
		o.RWaveMS, o.HeartRateBPM = []float64{float64(r1), float64(r2)}, float64(rate)
		got, err := FindBeats(area, times, o)
		checkRhythm(t, area, got, err)
	})
}

// Random curves of every kind of clip: many beats or a part of one, noise,
// gaps, wrong R peaks, uneven times.
func TestFindBeatsOnRandomClips(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	found := 0
	for range 5000 {
		period := 300 + 1200*rng.Float64()
		area, times := clip(period*rng.Float64(), period*(0.2+4*rng.Float64()), period, 3*rng.Float64()*rng.Float64(),
			15+70*rng.Float64(), 15+70*rng.Float64())
		for i := range area {
			if rng.Float64() < 0.05 {
				area[i] = []float64{math.NaN(), 0, -3, math.Inf(1), 80}[rng.IntN(5)]
			}
		}
		o := DefaultBeatOptions()
		for range rng.IntN(5) {
			o.RWaveMS = append(o.RWaveMS, 4000*rng.Float64()-500)
		}
		if rng.IntN(2) == 0 {
			o.HeartRateBPM = 60000 / period
		}
		got, err := FindBeats(area, times, o)
		checkRhythm(t, area, got, err)
		found += len(got.Beats)
	}
	if found < 2000 {
		t.Errorf("%d beats in 5000 clips", found)
	}
}

func checkRhythm(t *testing.T, area []float64, got Rhythm, err error) {
	t.Helper()
	var none *NoBeatError
	if err != nil && !errors.As(err, &none) {
		t.Fatalf("error of another type: %v", err)
	}
	if (err == nil) == (len(got.Beats) == 0) {
		t.Fatalf("%d beats with error %v", len(got.Beats), err)
	}
	last := -1
	for _, beat := range got.Beats {
		if beat.ED < 0 || beat.ES < 0 || beat.ES == beat.ED || (beat.ES < beat.ED) != beat.Crossed || beat.ES >= len(area) || beat.NextED >= len(area) ||
			beat.NextED >= 0 && beat.NextED <= beat.ES || beat.ED <= last {
			t.Fatalf("beats %+v of %d frames", got.Beats, len(area))
		}
		last = beat.ED
		for _, i := range []int{beat.ED, beat.ES} {
			if v := area[i]; math.IsNaN(v) || math.IsInf(v, 0) || v <= 0 {
				t.Fatalf("beat %+v on a frame of value %v", beat, v)
			}
		}
	}
	if r := got.HeartRate; r != 0 && !(r > 0 && r < 1000) {
		t.Fatalf("heart rate %v", r)
	}
}

// Whatever the polygon, a plane is measured without a panic, and a measured one
// has finite numbers.
func FuzzMeasurePlane(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 65, 0, 0, 0, 0, 0, 0, 32, 65, 0, 0, 32, 65}, float32(0.3), float32(0.3))
	f.Fuzz(func(t *testing.T, b []byte, sx, sy float32) {
		v := floats(b)
		var poly []Point
		for i := 0; i+1 < len(v) && len(poly) < 300; i += 2 {
			if math.IsNaN(v[i]+v[i+1]) || math.Abs(v[i]) > 1e6 || math.Abs(v[i+1]) > 1e6 {
				return
			}
			poly = append(poly, Point{v[i], v[i+1]})
		}
		if sx < 1e-3 || sx > 1e3 || sy < 1e-3 || sy > 1e3 {
			return
		}
		p, err := MeasurePlane(poly, Spacing{float64(sx), float64(sy)}, Landmarks{}, DefaultAxisOptions())
		if err != nil {
			return
		}
		if len(p.Disks) != DiskCount || math.IsNaN(p.VolumeML) || math.IsInf(p.VolumeML, 0) || p.VolumeML < 0 || !(p.Axis.LengthMM > 0) {
			t.Fatalf("plane %+v of %v", p, poly)
		}
	})
}
