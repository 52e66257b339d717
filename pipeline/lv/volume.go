package lv

import (
	"fmt"
	"math"
	"sort"
)

// DiskCount is the number of disks of the method of disks
// (ASE/EACVI 2015: 20).
const DiskCount = 20

// Disk is one slice of the cavity perpendicular to the long axis.
type Disk struct {
	// A and B are the ends of the slice in source pixels.
	A, B Point
	// DiameterMM is the part of the slice inside the contour.
	DiameterMM float64
}

// Disks cuts the contour into n slices at the middle of n equal parts of the
// long axis, from base to apex, perpendicular to it in millimetres. Where a
// slice leaves the contour and enters it again only the parts inside count.
func Disks(contour []Point, s Spacing, axis Axis, n int) ([]Disk, error) {
	if n < 1 {
		return nil, fmt.Errorf("%d disks", n)
	}
	base := s.scale(axis.Base)
	dir, l := direction(base, s.scale(axis.Apex))
	if !s.Valid() || l == 0 || len(contour) < 3 {
		return nil, ErrNoAxis
	}
	side := perpendicular(dir)

	// The contour in axis coordinates: u along the axis, v across it.
	type uv struct{ u, v float64 }
	c := make([]uv, len(contour))
	for i, p := range contour {
		d := sub(s.scale(p), base)
		c[i] = uv{dot(d, dir), dot(d, side)}
	}
	disks := make([]Disk, n)
	var cuts []float64
	for i := range disks {
		u := (float64(i) + 0.5) / float64(n) * l
		cuts = cuts[:0]
		prev := c[len(c)-1]
		for _, p := range c {
			if (prev.u > u) != (p.u > u) {
				t := (u - prev.u) / (p.u - prev.u)
				cuts = append(cuts, prev.v+t*(p.v-prev.v))
			}
			prev = p
		}
		on := along(base, dir, u)
		if len(cuts) == 0 {
			disks[i] = Disk{A: s.unscale(on), B: s.unscale(on)}
			continue
		}
		sort.Float64s(cuts)
		for k := 0; k+1 < len(cuts); k += 2 {
			disks[i].DiameterMM += cuts[k+1] - cuts[k]
		}
		disks[i].A = s.unscale(along(on, side, cuts[0]))
		disks[i].B = s.unscale(along(on, side, cuts[len(cuts)-1]))
	}
	return disks, nil
}

// SinglePlaneVolume is the volume in mL by the method of disks in one plane:
// V = pi/4 * sum(a_i^2) * L/n, with the axis length L in mm.
func SinglePlaneVolume(disks []Disk, lengthMM float64) float64 {
	var sum float64
	for _, d := range disks {
		sum += d.DiameterMM * d.DiameterMM
	}
	return math.Pi / 4 * sum * lengthMM / float64(len(disks)) / 1000
}

// BiplaneVolume is the volume in mL by the biplane method of disks:
// V = pi/4 * sum(a_i*b_i) * L/n, where L is the longer of the two axes of the
// same phase (ASE/EACVI 2015). Both planes must have the same number of disks.
func BiplaneVolume(a []Disk, lengthA float64, b []Disk, lengthB float64) (float64, error) {
	if len(a) != len(b) || len(a) == 0 {
		return 0, fmt.Errorf("biplane volume of %d and %d disks", len(a), len(b))
	}
	var sum float64
	for i := range a {
		sum += a[i].DiameterMM * b[i].DiameterMM
	}
	return math.Pi / 4 * sum * max(lengthA, lengthB) / float64(len(a)) / 1000, nil
}

// AreaLengthVolume is the volume in mL by the single plane area-length method:
// V = 8*A^2/(3*pi*L), with the area in mm2 and the length in mm.
func AreaLengthVolume(areaMM2, lengthMM float64) float64 {
	return 8 * areaMM2 * areaMM2 / (3 * math.Pi * lengthMM) / 1000
}

// BiplaneAreaLengthVolume is the volume in mL by the area-length method in two
// planes: V = 8*A1*A2/(3*pi*L), with the areas in mm2 and L, in mm, the shorter of
// the two lengths (left atrium, ASE/EACVI 2015).
func BiplaneAreaLengthVolume(area1, length1, area2, length2 float64) float64 {
	return 8 * area1 * area2 / (3 * math.Pi * min(length1, length2)) / 1000
}

// Plane is everything that one apical contour gives.
type Plane struct {
	// AreaMM2 is the area on the apex's side of the line between the hinge
	// points, where the disks are; CutMM2 is what lies beyond it.
	AreaMM2  float64
	CutMM2   float64
	Axis     Axis
	Disks    []Disk
	VolumeML float64
}

// MeasurePlane measures one apical contour with [DiskCount] disks.
func MeasurePlane(contour []Point, s Spacing, marks Landmarks, o AxisOptions) (Plane, error) {
	axis, err := LongAxis(contour, s, marks, o)
	if err != nil {
		return Plane{}, err
	}
	disks, err := Disks(contour, s, axis, DiskCount)
	if err != nil {
		return Plane{}, err
	}
	all := PolygonArea(contour, s)
	area := PolygonArea(cutAtAnnulus(contour, s, axis), s)
	return Plane{
		AreaMM2: area, CutMM2: max(all-area, 0), Axis: axis, Disks: disks,
		VolumeML: SinglePlaneVolume(disks, axis.LengthMM),
	}, nil
}

// cutAtAnnulus keeps the part of the contour on the apex's side of the line
// through the hinge points (Sutherland and Hodgman 1974): an outline that leaks
// into the atrium counts no further than the valve.
func cutAtAnnulus(contour []Point, s Spacing, axis Axis) []Point {
	a, b := s.scale(axis.Annulus[0]), s.scale(axis.Annulus[1])
	dir, width := direction(a, b)
	if width == 0 {
		return contour
	}
	normal := perpendicular(dir)
	if dot(sub(s.scale(axis.Apex), a), normal) < 0 {
		normal = Point{-normal.X, -normal.Y}
	}
	height := func(p Point) float64 { return dot(sub(s.scale(p), a), normal) }
	var out []Point
	prev := contour[len(contour)-1]
	for _, p := range contour {
		u, v := height(prev), height(p)
		if (u >= 0) != (v >= 0) {
			f := u / (u - v)
			out = append(out, Point{prev.X + f*(p.X-prev.X), prev.Y + f*(p.Y-prev.Y)})
		}
		if v >= 0 {
			out = append(out, p)
		}
		prev = p
	}
	return out
}
