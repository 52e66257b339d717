package result

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"reflect"
	"strconv"
	"testing"
)

// What is read is what any array of pairs would be read as, and what was written
// comes back to the bit.
func FuzzContour(f *testing.F) {
	for _, s := range []string{"[]", "[[1,2]]", "[[1.5,-2.125],[0,0.001],[-0,1234567.891]]", "null", "[[1]]", "[[1,2,3]]", "[ [1 , 2] ]", "[[1e3,2]]", "[[,1]]",
		"[[1.,2]]", "[[01,2]]", "[[12345678901234567890,2]]", "[[1,2],]", "[1,2]", "[[1,2]", "[[-,1]]", "[[.5,1]]", "{}", `"x"`, "[[0.1,0.2],[0.3,1e-7]]", "[null]"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var want [][2]float64
		var got Contour
		wantErr, err := json.Unmarshal(b, &want), json.Unmarshal(b, &got)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%s: error %v, want %v", b, err, wantErr)
		}
		if err != nil {
			return
		}
		if !reflect.DeepEqual([][2]float64(got), want) {
			t.Fatalf("%s: %v, want %v", b, got, want)
		}
		rounded := NewContour(len(got), func(i int) (x, y float64) { return got[i][0], got[i][1] })
		if written, err := json.Marshal(rounded); err == nil {
			var again Contour
			if err := json.Unmarshal(written, &again); err != nil {
				t.Fatal(err)
			}
			for i := range rounded {
				for k := range 2 {
					if math.Abs(rounded[i][k]) < 1e9 && again[i][k] != rounded[i][k] {
						t.Fatalf("%v comes back as %v", rounded[i], again[i])
					}
				}
			}
		}
	})
}

// Coordinates are written as strconv writes them.
func TestContourDigits(t *testing.T) {
	values := []float64{0, math.Copysign(0, -1), 0.0004, -0.0004, 0.0005, 1, -1, 0.1, 12.34, 0.999, 0.9996, -123.456, 1e9, 1e12, 1e15, 123456789.125, 1e-9}
	r := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		values = append(values, (r.Float64()-0.5)*math.Pow(10, float64(r.IntN(12))))
	}
	for _, v := range values {
		if got, want := string(appendFixed(nil, v)), strconv.FormatFloat(thousandth(v), 'f', -1, 64); got != want {
			t.Fatalf("%v is written as %s, want %s", v, got, want)
		}
	}
}

func BenchmarkContour(b *testing.B) {
	c := NewContour(200, func(i int) (x, y float64) {
		return 300 + 100*math.Cos(float64(i)/32), 200 + 100*math.Sin(float64(i)/32)
	})
	text, err := json.Marshal(c)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("ours", func(b *testing.B) {
		for b.Loop() {
			var got Contour
			if err := json.Unmarshal(text, &got); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("any array", func(b *testing.B) {
		for b.Loop() {
			var got [][2]float64
			if err := json.Unmarshal(text, &got); err != nil {
				b.Fatal(err)
			}
		}
	})
}
