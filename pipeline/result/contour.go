package result

import (
	"encoding/json"
	"strconv"
)

// UnmarshalJSON reads what MarshalJSON writes without reflection: contours are
// most of a result, and a study is combined from those of all its loops. Every
// other form is read as any array is.
func (c *Contour) UnmarshalJSON(b []byte) error {
	if points, ok := readContour(b); ok {
		*c = points
		return nil
	}
	var points [][2]float64
	if err := json.Unmarshal(b, &points); err != nil {
		return err
	}
	*c = points
	return nil
}

// readContour reads an array of pairs of numbers without white space; ok is
// false for anything else.
func readContour(b []byte) (points Contour, ok bool) {
	if len(b) < 2 || b[0] != '[' || b[len(b)-1] != ']' {
		return nil, false
	}
	const least = len("[0,0],")
	points = make(Contour, 0, len(b)/(2*least))
	rest := b[1 : len(b)-1]
	for len(rest) > 0 {
		if len(points) > 0 {
			if rest[0] != ',' {
				return nil, false
			}
			rest = rest[1:]
		}
		var p [2]float64
		for k, end := range [2]byte{',', ']'} {
			if k == 0 {
				if len(rest) == 0 || rest[0] != '[' {
					return nil, false
				}
				rest = rest[1:]
			}
			v, n := readNumber(rest)
			if n == 0 || n >= len(rest) || rest[n] != end {
				return nil, false
			}
			p[k], rest = v, rest[n+1:]
		}
		points = append(points, p)
	}
	return points, true
}

// readNumber reads a JSON number at the start of b and returns its length, 0
// where there is none.
func readNumber(b []byte) (v float64, n int) {
	const exact = 15 // digits of which float64 holds every integer
	var mantissa int64
	digits, decimals := 0, -1
	for ; n < len(b); n++ {
		switch ch := b[n]; {
		case ch >= '0' && ch <= '9':
			if digits++; digits > exact {
				return 0, 0
			}
			mantissa = mantissa*10 + int64(ch-'0')
			if decimals >= 0 {
				decimals++
			}
		case ch == '-' && n == 0:
		case ch == '.' && digits > 0 && decimals < 0:
			decimals = 0
		case ch == ',' || ch == ']':
			if digits == 0 || decimals == 0 {
				return 0, 0
			}
			v = float64(mantissa)
			if decimals > 0 {
				v /= powersOfTen[decimals] // both are exact, so the quotient is rounded once
			}
			if b[0] == '-' {
				v = -v
			}
			return v, n
		default:
			return 0, 0
		}
	}
	return 0, 0
}

var powersOfTen = func() (p [16]float64) {
	for i := range p {
		p[i], _ = strconv.ParseFloat("1e"+strconv.Itoa(i), 64)
	}
	return p
}()
