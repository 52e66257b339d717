// Package derived makes the image objects that go back to the archive beside
// the report: the loop with its contours burned in, as a secondary capture or
// as a derived ultrasound object, and binary segmentations.
//
// Every object carries patient and study of its source, belongs to a series of
// its own, names source, program and model, and is checked before it is
// handed out. Sections of PS3.3 are named where they are followed.
package derived
