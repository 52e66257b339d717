// Package encoding is the element codec: how tags, value representations,
// lengths and values stand in bytes (PS3.5 sections 6 and 7), once for data
// sets, command sets, file meta information and the data sets of DIMSE-N
// services. It knows no files, no sources and no limits but those of the
// encoding; who reads untrusted bytes bounds what it asks for.
package encoding

import "errors"

// Kinds of failure of a reader.
var (
	// ErrTruncated: the bytes end inside an element, a fragment or a frame.
	ErrTruncated = errors.New("truncated")
	// ErrMalformed: an encoding that PS3.5 does not allow.
	ErrMalformed = errors.New("malformed")
)
