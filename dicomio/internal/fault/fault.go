// Package fault is the error of dicomio and its codecs: a kind of failure at a
// place in the input.
package fault

import (
	"errors"
	"fmt"
	"strings"

	"github.com/echonode/echonode/dicomio/encoding"
	"github.com/echonode/echonode/dicomio/tag"
)

// Kinds of failure. Every error of dicomio that comes from its input is
// an *Error that wraps one of them, so callers decide with errors.Is.
var (
	// ErrNotDICOM: the bytes are neither a Part 10 file nor a data set.
	ErrNotDICOM = errors.New("not DICOM")
	// ErrTruncated: the input ends inside an element, a fragment or a frame.
	ErrTruncated = encoding.ErrTruncated
	// ErrMalformed: an encoding that PS3.5 does not allow.
	ErrMalformed = encoding.ErrMalformed
	// ErrLimit: a bound of Limits would be exceeded.
	ErrLimit = errors.New("limit exceeded")
	// ErrUnsupported: well formed, but this build cannot do it.
	ErrUnsupported = errors.New("unsupported")
	// ErrNoPixels: the data set has no pixel data.
	ErrNoPixels = errors.New("no pixel data")
	// ErrFrames: the number or the extent of the frames contradicts the attributes.
	ErrFrames = errors.New("frames do not match the attributes")
	// ErrMismatch: the header of a codestream contradicts the attributes.
	ErrMismatch = errors.New("codestream does not match the attributes")
	// ErrCodestream: a compressed frame is damaged.
	ErrCodestream = errors.New("damaged codestream")
	// ErrValue: a value that its VR or its attribute does not allow.
	ErrValue = errors.New("invalid value")
	// ErrCharset: text that the character set cannot express.
	ErrCharset = errors.New("character set")
)

// Error is a failure at a place. Offset is the byte offset in the input (in
// the inflated data set for deflated syntaxes) and -1 when there is none; Tag
// is the zero Tag when no element is concerned.
type Error struct {
	Op     string // what was being done, for example "read", "frames", "jpeg"
	Tag    tag.Tag
	Offset int64
	Err    error
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("dicomio: ")
	b.WriteString(e.Op)
	if e.Tag != tag.Tag(0) {
		b.WriteByte(' ')
		b.WriteString(e.Tag.String())
	}
	if e.Offset >= 0 {
		fmt.Fprintf(&b, " at offset %d", e.Offset)
	}
	b.WriteString(": ")
	b.WriteString(e.Err.Error())
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// New makes an *Error of the given kind.
func New(op string, t tag.Tag, off int64, kind error, format string, args ...any) error {
	if format == "" {
		return &Error{Op: op, Tag: t, Offset: off, Err: kind}
	}
	return &Error{Op: op, Tag: t, Offset: off, Err: fmt.Errorf("%w: %s", kind, fmt.Sprintf(format, args...))}
}
