package encoding

import (
	"encoding/binary"
	"math"
	"strconv"
	"strings"

	"github.com/echonode/echonode/dicomio/tag"
)

// WordSize is the number of bytes of one value of a binary VR, 0 for others.
func WordSize(vr string) int {
	switch vr {
	case "US", "SS", "OW":
		return 2
	case "UL", "SL", "FL", "OL", "OF", "AT":
		return 4
	case "FD", "SV", "UV", "OV", "OD":
		return 8
	case "OB":
		return 1
	}
	return 0
}

// Ints reads the values of an integer VR, nil for other VRs. Those of UV and OV
// over the range wrap.
func Ints(vr string, b []byte, o binary.ByteOrder) []int64 {
	size := WordSize(vr)
	switch vr {
	case "OB", "US", "OW", "SS", "UL", "OL", "SL", "SV", "UV", "OV":
	default:
		return nil
	}
	out := make([]int64, 0, len(b)/size)
	for ; len(b) >= size; b = b[size:] {
		var v int64
		switch vr {
		case "OB":
			v = int64(b[0])
		case "US", "OW":
			v = int64(o.Uint16(b))
		case "SS":
			v = int64(int16(o.Uint16(b)))
		case "UL", "OL":
			v = int64(o.Uint32(b))
		case "SL":
			v = int64(int32(o.Uint32(b)))
		default:
			v = int64(o.Uint64(b))
		}
		out = append(out, v)
	}
	return out
}

// Floats reads the values of a floating-point VR, nil for other VRs.
func Floats(vr string, b []byte, o binary.ByteOrder) []float64 {
	var out []float64
	switch vr {
	case "FD", "OD":
		for ; len(b) >= 8; b = b[8:] {
			out = append(out, math.Float64frombits(o.Uint64(b)))
		}
	case "FL", "OF":
		for ; len(b) >= 4; b = b[4:] {
			out = append(out, float64(math.Float32frombits(o.Uint32(b))))
		}
	}
	return out
}

// Tags reads the values of an AT element.
func Tags(b []byte, o binary.ByteOrder) []tag.Tag {
	var out []tag.Tag
	for ; len(b) >= 4; b = b[4:] {
		out = append(out, tag.New(o.Uint16(b), o.Uint16(b[2:])))
	}
	return out
}

// IntRange is what a binary integer VR can hold, ok false for other VRs. UV is
// held to the range of int64.
func IntRange(vr string) (lo, hi int64, ok bool) {
	switch vr {
	case "US":
		return 0, math.MaxUint16, true
	case "SS":
		return math.MinInt16, math.MaxInt16, true
	case "UL":
		return 0, math.MaxUint32, true
	case "SL":
		return math.MinInt32, math.MaxInt32, true
	case "SV":
		return math.MinInt64, math.MaxInt64, true
	case "UV":
		return 0, math.MaxInt64, true
	}
	return 0, 0, false
}

// AppendInt appends a value of a binary integer VR in little endian.
func AppendInt(b []byte, vr string, v int64) []byte {
	for i := range WordSize(vr) {
		b = append(b, byte(v>>(8*i)))
	}
	return b
}

// AppendFloat appends a value of FL or FD in little endian.
func AppendFloat(b []byte, vr string, v float64) []byte {
	if vr == "FL" {
		return binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(v)))
	}
	return binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
}

// ParseNumber reads a DS or IS value. Blanks around it are allowed.
func ParseNumber(s string) (float64, bool) {
	s = strings.TrimSpace(s)
	if s == "" {
		return 0, false // an error is more to make than there is to read
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return 0, false
	}
	return f, true
}

// FormatDS writes a finite number in at most 16 characters, as a decimal
// string (PS3.5 6.2) allows, with as many digits as fit.
func FormatDS(v float64) string {
	s := strconv.FormatFloat(v, 'g', -1, 64)
	for p := 16; len(s) > 16 && p > 0; p-- {
		s = strconv.FormatFloat(v, 'g', p, 64)
	}
	return s
}

// Pad makes the length even.
func Pad(b []byte, p byte) []byte {
	if len(b)%2 == 1 {
		b = append(b, p)
	}
	return b
}

// Swap reverses the bytes of every whole word of 2, 4 or 8 bytes.
func Swap(b []byte, size int) {
	for ; len(b) >= size; b = b[size:] {
		switch size {
		case 2:
			b[0], b[1] = b[1], b[0]
		case 4:
			binary.LittleEndian.PutUint32(b, binary.BigEndian.Uint32(b))
		case 8:
			binary.LittleEndian.PutUint64(b, binary.BigEndian.Uint64(b))
		default:
			return
		}
	}
}
