// Package pipeline turns the objects of one echocardiography study into
// results: it decides by tags and view which loops can be measured, runs the
// network on every frame of those, looks in the pixels for what its outlines
// claim, and has package measure find end-diastole and end-systole, measure, and
// combine loops into the study's values.
//
//	classify.go   which objects are 2D cines (tags, colour)
//	loop.go       one loop: frames through the network, contours
//	frames.go     the frames of all loops in one flow
//	sector.go     where on the screen the picture lies
//	view.go       which view a loop shows, and on which display
//	measuring.go  the settings of measuring, for who measures again
//	subject.go    what an object says of its patient
//	study.go      the loops of a study together
//
// Sub-packages: lv is the clinical mathematics, quantity the table of what is
// measured, evidence what the pixels say of an outline, measure a loop's and a
// study's values with their quality gates, indices what follows from them,
// correct a reader's changes, result the document, output what is made of it,
// with overlay, summary and derived for pictures, pages and objects; spool,
// store, kept and jobs are what is durable, node the daemon, dicomweb its second
// way in, deliver the way out, fetch the way to archives, review the page.
//
// A loop that cannot be used never fails its study: it is listed with its
// reason. A value whose quality gates fail is listed without a number.
package pipeline
