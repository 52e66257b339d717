package dicomio

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"syscall"

	"github.com/echonode/echonode/dicomio/internal/fault"
)

// Kinds of failure. Every error of this package that comes from its input is
// an *Error that wraps one of them, so callers decide with errors.Is.
var (
	// ErrNotDICOM: the bytes are neither a Part 10 file nor a data set.
	ErrNotDICOM = fault.ErrNotDICOM
	// ErrTruncated: the input ends inside an element, a fragment or a frame.
	ErrTruncated = fault.ErrTruncated
	// ErrMalformed: an encoding that PS3.5 does not allow.
	ErrMalformed = fault.ErrMalformed
	// ErrLimit: a bound of Limits would be exceeded.
	ErrLimit = fault.ErrLimit
	// ErrUnsupported: well formed, but this build cannot do it.
	ErrUnsupported = fault.ErrUnsupported
	// ErrNoPixels: the data set has no pixel data.
	ErrNoPixels = fault.ErrNoPixels
	// ErrFrames: the number or the extent of the frames contradicts the attributes.
	ErrFrames = fault.ErrFrames
	// ErrMismatch: the header of a codestream contradicts the attributes.
	ErrMismatch = fault.ErrMismatch
	// ErrCodestream: a compressed frame is damaged.
	ErrCodestream = fault.ErrCodestream
	// ErrValue: a value that its VR or its attribute does not allow.
	ErrValue = fault.ErrValue
	// ErrCharset: text that the character set cannot express.
	ErrCharset = fault.ErrCharset
)

// Error is a failure at a place. Offset is the byte offset in the input (in
// the inflated data set for deflated syntaxes) and -1 when there is none; Tag
// is the zero Tag when no element is concerned.
type Error = fault.Error

// OfInput reports whether an error says something of the input itself, which is so
// however often it is read. What passes is no word on it, though an *Error tells where it
// happened: a file that cannot be read at the moment, memory that others hold, a
// context that has ended.
func OfInput(err error) bool {
	if errors.As(err, new(*fs.PathError)) || errors.As(err, new(syscall.Errno)) || errors.Is(err, ErrBusy) || errors.Is(err, context.Canceled) {
		return false // a DeadlineExceeded with a kind is that of a decoder, see Limits
	}
	return slices.ContainsFunc([]error{ErrNotDICOM, ErrTruncated, ErrMalformed, ErrLimit, ErrUnsupported, ErrNoPixels, ErrFrames, ErrMismatch, ErrCodestream,
		ErrValue, ErrCharset}, func(kind error) bool { return errors.Is(err, kind) })
}

// fail makes an *Error of the given kind.
func fail(op string, t Tag, off int64, kind error, format string, args ...any) error {
	return fault.New(op, t, off, kind, format, args...)
}
