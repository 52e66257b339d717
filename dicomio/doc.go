// Package dicomio reads, decodes and writes DICOM data sets and frames.
//
// Reading works over an [io.ReaderAt]: [Open] and [Read] index a Part 10 file
// or a bare data set, keep small values and leave large ones where they are.
// [File.Frames] gives the frames: raw, as 8-bit gray for a model, as RGB for
// people, or as the stored sample values. [Write] makes Part 10 files, with
// native or encapsulated pixel data. Packages tag and uid name attributes and
// UIDs, encoding is the element codec, frames finds and decodes the frames, pixel
// is the arithmetic of pictures.
//
// Every input is untrusted. [Limits] bounds what it may cost, every failure is
// an [*Error] with tag and offset that wraps one of the Err values. Of an input
// that ends early the whole attributes are read; [File.Truncated], the frames
// and writing it give the error.
//
// The package needs cgo with libjpeg-turbo and OpenJPEG; with CGO_ENABLED=0 or
// the build tag purego it uses image/jpeg and lacks JPEG 2000, see [Codecs].
// DESIGN.md tells why the data set parser is its own.
package dicomio
