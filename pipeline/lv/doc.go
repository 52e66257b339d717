// Package lv is the clinical mathematics of the left ventricle: contours from
// probability planes, the long axis, volumes by the method of disks, the
// derived indices, heart beats from an area curve, and the gates that decide
// whether a number may be believed.
//
// Everything here is a pure function of numbers. The package knows nothing of
// DICOM, of networks or of image files.
//
// # Coordinates and units
//
// A [Point] is in source pixels: x to the right, y down, the origin at the
// centre of the top-left pixel. A [Spacing] turns pixels into millimetres and
// may differ between the axes. Lengths are in mm, areas in mm2, volumes in mL,
// times in ms unless a name says otherwise. Without a trustworthy calibration
// the caller passes a spacing that carries the pixel's shape only (for example
// {1, 1}); lengths, areas and volumes are then in arbitrary units and only the
// ratios (EF, FAC, FS) keep a meaning.
//
// # Sources
//
// Formulas and conventions: Lang et al., Recommendations for Cardiac Chamber
// Quantification by Echocardiography in Adults (ASE/EACVI), J Am Soc
// Echocardiogr 2015;28:1-39, named "ASE/EACVI 2015" below. Thresholds without
// a published source are this project's own choice and are named so.
package lv
