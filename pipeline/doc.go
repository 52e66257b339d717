// Package pipeline turns the objects of one echocardiography study into
// results: it decides by tags and view which loops can be measured, runs the
// network on every frame of those, finds end-diastole and end-systole,
// measures, and combines loops into the study's values.
//
//	classify.go   which objects are 2D cines (tags, colour)
//	loop.go       one loop: frames through the network, contours
//	frames.go     the frames of all loops in one flow
//	subject.go    what an object says of its patient
//	study.go      the loops of a study together
//
// Sub-packages: lv is the clinical mathematics, quantity the table of what is
// measured, measure a loop's and a study's values with their quality gates,
// indices what follows from them, result the document, output what is made of
// it, with overlay, summary and derived for pictures, pages and objects; spool
// and store are what is durable, node the daemon, review the page.
//
// A loop that cannot be used never fails its study: it is listed with its
// reason. A value whose quality gates fail is listed without a number.
package pipeline
