package scp

import (
	"fmt"

	"github.com/echonode/echonode/dicomio/part10"
)

// FileObject opens a DICOM Part 10 file for sending. Only the file meta
// information is read, at most 1 MiB of it; the object's DataSet is the file,
// positioned behind it. Close the object. Files that are not Part 10, or whose
// meta information lacks a UID, are part10.ErrNotPart10.
func FileObject(path string) (Object, error) {
	f, _, err := part10.Open(path)
	if err != nil {
		return Object{}, err
	}
	m, size, err := part10.Behind(f)
	if err != nil {
		f.Close()
		return Object{}, fmt.Errorf("%s: %w", path, err)
	}
	return Object{
		SOPClassUID: m.SOPClassUID, SOPInstanceUID: m.SOPInstanceUID, TransferSyntaxUID: m.TransferSyntaxUID,
		DataSet: f, Size: size,
	}, nil
}
