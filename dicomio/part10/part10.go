// Package part10 is the file meta information of DICOM files (PS3.10 section 7):
// what stands before a data set on disk and in a DICOMweb message.
package part10

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/echonode/echonode/dicomio/encoding"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
)

// ErrNotPart10 is returned for what has no usable file meta information.
var ErrNotPart10 = errors.New("not a DICOM Part 10 file")

// ErrNotRegular is wrapped in the error for a directory, pipe, socket or device.
var ErrNotRegular = errors.New("not a regular file")

// Open opens a regular file for reading. Nobody waits for what has the name of one
// and is a pipe without a writer.
func Open(path string) (*os.File, fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // which regular files do not heed
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: path, Err: ErrNotRegular}
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// Bounds of file meta information, which has about a dozen short elements and
// may carry private ones.
const (
	MaxElements = 256
	MaxSize     = 1 << 20
)

// PreambleSize is how many bytes stand before the first element: 128 that
// nobody reads, and "DICM".
const PreambleSize = 132

// HasPreamble reports whether b begins with preamble and "DICM".
func HasPreamble(b []byte) bool {
	return len(b) >= PreambleSize && bytes.Equal(b[128:PreambleSize], []byte("DICM"))
}

// Meta is what file meta information says of the data set behind it.
type Meta struct {
	SOPClassUID, SOPInstanceUID, TransferSyntaxUID string
	SourceAETitle                                  string // Source Application Entity Title; may be empty
}

// Append appends preamble and file meta information in their order of tags,
// with this implementation's names. Values are written as they are.
func (m Meta) Append(b []byte) []byte {
	var explicit encoding.Syntax
	b = append(b, make([]byte, 128)...)
	b = append(b, "DICM"...)
	b = explicit.AppendUint32(b, tag.FileMetaInformationGroupLength, 0)
	start := len(b)
	b = append(explicit.AppendHeader(b, tag.FileMetaInformationVersion, "OB", 2), 0, 1)
	b = explicit.AppendString(b, tag.MediaStorageSOPClassUID, "UI", m.SOPClassUID)
	b = explicit.AppendString(b, tag.MediaStorageSOPInstanceUID, "UI", m.SOPInstanceUID)
	b = explicit.AppendString(b, tag.TransferSyntaxUID, "UI", m.TransferSyntaxUID)
	b = explicit.AppendString(b, tag.ImplementationClassUID, "UI", uid.ImplementationClass)
	b = explicit.AppendString(b, tag.ImplementationVersionName, "SH", uid.ImplementationVersionName)
	if m.SourceAETitle != "" {
		b = explicit.AppendString(b, tag.SourceApplicationEntityTitle, "AE", m.SourceAETitle)
	}
	explicit.PutLength(b[start-4:], uint32(len(b)-start))
	return b
}

// Write writes what a bare data set needs before it to be a DICOM file.
func Write(w io.Writer, m Meta) error {
	_, err := w.Write(m.Append(make([]byte, 0, 512)))
	return err
}

// Behind reads the file meta information of a file, at most MaxSize of it,
// positions the file behind it, where the data set begins, and returns the size
// of that.
func Behind(f io.ReadSeeker) (m Meta, size int64, err error) {
	m, offset, err := Read(bufio.NewReaderSize(io.LimitReader(f, MaxSize), 4096))
	if err != nil {
		return m, 0, err
	}
	end, err := f.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = f.Seek(offset, io.SeekStart)
	}
	return m, end - offset, err
}

// longestUID bounds the values that are kept.
const longestUID = 4096

// ended says what it means that a stream gives no more: that it has ended, or
// that it cannot be read at this moment.
func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrNotPart10
	}
	return fmt.Errorf("file meta information: %w", err)
}

// Read reads preamble and file meta information from a stream, leaves r at the
// beginning of the data set and returns how many bytes it has read. Elements are
// trusted more than the group length, which some writers get wrong. Streams
// that are not Part 10, or whose meta information lacks a UID, are
// ErrNotPart10; other errors are r's. The buffer of r holds at least 132 bytes.
func Read(r *bufio.Reader) (m Meta, n int64, err error) {
	b, err := r.Peek(PreambleSize)
	if err != nil {
		return m, 0, ended(err)
	}
	if !HasPreamble(b) {
		return m, 0, ErrNotPart10
	}
	discard := func(k int64) error {
		n += k
		if _, err := io.CopyN(io.Discard, r, k); err != nil {
			return ended(err)
		}
		return nil
	}
	if err := discard(PreambleSize); err != nil {
		return m, n, err
	}
	var explicit encoding.Syntax
	for k := 0; n < MaxSize && k < MaxElements; k++ {
		b, err := r.Peek(encoding.Longest)
		if err != nil && !errors.Is(err, io.EOF) {
			return m, n, ended(err)
		}
		if len(b) < 8 || explicit.Tag(b).Group() != 0x0002 {
			break
		}
		h, err := explicit.Header(b, MaxSize, false)
		if err != nil {
			return m, n, ErrNotPart10
		}
		if h.Length > MaxSize {
			return m, n, fmt.Errorf("%w: meta element of %d bytes", ErrNotPart10, h.Length)
		}
		if err := discard(int64(h.Size)); err != nil {
			return m, n, err
		}
		var to *string
		switch h.Tag {
		case tag.MediaStorageSOPClassUID:
			to = &m.SOPClassUID
		case tag.MediaStorageSOPInstanceUID:
			to = &m.SOPInstanceUID
		case tag.TransferSyntaxUID:
			to = &m.TransferSyntaxUID
		default:
			if err := discard(int64(h.Length)); err != nil {
				return m, n, err
			}
			continue
		}
		if h.Length > longestUID {
			return m, n, ErrNotPart10
		}
		v := make([]byte, h.Length)
		if _, err := io.ReadFull(r, v); err != nil {
			return m, n, ended(err)
		}
		n += int64(h.Length)
		*to = uid.Trim(v)
	}
	if !uid.Valid(m.SOPClassUID) || !uid.Valid(m.SOPInstanceUID) || !uid.Valid(m.TransferSyntaxUID) {
		return m, n, fmt.Errorf("%w: SOP class, instance or transfer syntax UID missing or malformed", ErrNotPart10)
	}
	return m, n, nil
}
