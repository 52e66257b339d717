// Package pipeline turns the objects of one echocardiography study into
// results: it decides by tags and view which loops can be measured, runs the
// network on every frame of those, finds end-diastole and end-systole,
// measures, and combines loops into the study's values.
//
//	classify.go   which objects are 2D cines (tags, colour)
//	loop.go       one loop: frames through the network, contours, beats
//	measure.go    one loop's values with their quality gates
//	study.go      the loops of a study: best per view and stage, biplane
//
// Sub-packages: lv is the clinical mathematics, result the document, output
// what is made of it, spool and store what is durable, node the daemon.
//
// A loop that cannot be used never fails its study: it is listed with its
// reason. A value whose quality gates fail is listed without a number.
package pipeline
