package measure

import (
	"math"

	"github.com/echonode/echonode/pipeline/result"
)

// ThumbnailSide is the width and height of a loop's thumbnail.
const ThumbnailSide = 16

// Own choice: two different views of the example loops correlate at 0.80 at
// most.
const sameCorrelation = 0.98

// samePicture reports whether two loops show the same picture, mirrored or not,
// as when a display was mirrored between two recordings or an export.
func samePicture(a, b *result.Loop) bool {
	const n = ThumbnailSide
	if len(a.Thumbnail) != n*n || len(b.Thumbnail) != n*n {
		return false
	}
	mirrored := make([]byte, n*n)
	for y := range n {
		for x := range n {
			mirrored[y*n+x] = b.Thumbnail[y*n+n-1-x]
		}
	}
	return correlation(a.Thumbnail, b.Thumbnail) > sameCorrelation || correlation(a.Thumbnail, mirrored) > sameCorrelation
}

// correlation is Pearson's r; 0 where either picture is uniform.
func correlation(a, b []byte) float64 {
	var sa, sb, saa, sbb, sab float64
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		sa, sb, saa, sbb, sab = sa+x, sb+y, saa+x*x, sbb+y*y, sab+x*y
	}
	n := float64(len(a))
	va, vb := saa-sa*sa/n, sbb-sb*sb/n
	if va <= 0 || vb <= 0 {
		return 0
	}
	return (sab - sa*sb/n) / math.Sqrt(va*vb)
}
