// Package deliver brings results to their destinations in the form that each of
// them takes: in a transfer syntax that it accepts, over DIMSE or DICOMweb, and
// only what the rules of routing say.
package deliver

import (
	"io"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/uid"
	"github.com/echonode/echonode/scp"
)

// Conversion says in which transfer syntaxes an object may be sent beside its
// own. Whatever it says, an uncompressed object may go as Implicit or Explicit
// VR Little Endian, which is the same content (PS3.5 10.1 demands that Implicit
// VR Little Endian is offered), and nothing is ever compressed.
type Conversion string

// Conversions.
const (
	// Auto sends an object as it is, and decompressed to a peer that does not
	// take its compression.
	Auto Conversion = "auto"
	// Never sends compressed objects as they are or not at all.
	Never Conversion = "never"
	// Uncompressed sends all but video decompressed.
	Uncompressed Conversion = "uncompressed"
)

// Source is a scp.Convertible for a Part 10 file.
type Source struct {
	Path    string
	Broken  error      // why there is nothing to be read at Path
	Convert Conversion // "" is Auto
	Limits  dicomio.Limits
	// Before, where it is set, is asked when the object's turn comes: after an
	// error it is not sent.
	Before func() error
}

var _ scp.Convertible = Source{}

// native are the syntaxes of uncompressed objects in order of preference.
var native = []string{uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian}

// Header implements scp.ObjectSource.
func (s Source) Header() (scp.ObjectHeader, error) {
	if s.Broken != nil {
		return scp.ObjectHeader{}, s.Broken
	}
	h, err := scp.FileSource(s.Path).Header()
	if err == nil && s.Convert == Uncompressed && s.convertible(h) {
		h.TransferSyntaxUID = native[0]
	}
	return h, err
}

// convertible reports whether the compressed object of a file can be
// decompressed.
func (s Source) convertible(h scp.ObjectHeader) bool {
	ts, ok := uid.LookupSyntax(h.TransferSyntaxUID)
	if !ok || !ts.Encapsulated {
		return false
	}
	f, err := dicomio.Open(s.Path, dicomio.Options{Limits: s.Limits})
	if err != nil {
		return false
	}
	err = f.Native()
	return f.Close() == nil && err == nil
}

// Open implements scp.ObjectSource.
func (s Source) Open() (scp.Object, error) {
	if s.Before != nil {
		if err := s.Before(); err != nil {
			return scp.Object{}, err
		}
	}
	o, err := scp.FileSource(s.Path).Open()
	if err != nil || s.Convert != Uncompressed {
		return o, err
	}
	if h := (scp.ObjectHeader{SOPClassUID: o.SOPClassUID, SOPInstanceUID: o.SOPInstanceUID, TransferSyntaxUID: o.TransferSyntaxUID}); !s.convertible(h) {
		return o, nil
	}
	if err := o.Close(); err != nil {
		return scp.Object{}, err
	}
	return s.OpenAs(native[0])
}

// Alternatives implements scp.Convertible.
func (s Source) Alternatives() ([]string, error) {
	h, err := s.Header()
	if err != nil {
		return nil, err
	}
	var out []string
	if ts, ok := uid.LookupSyntax(h.TransferSyntaxUID); !ok || ts.Encapsulated && (s.Convert == Never || !s.convertible(h)) {
		return nil, nil
	}
	for _, uid := range native {
		if uid != h.TransferSyntaxUID {
			out = append(out, uid)
		}
	}
	return out, nil
}

// OpenAs implements scp.Convertible. The object is converted while it is sent.
func (s Source) OpenAs(transferSyntax string) (scp.Object, error) {
	if s.Before != nil {
		if err := s.Before(); err != nil {
			return scp.Object{}, err
		}
	}
	h, err := scp.FileSource(s.Path).Header()
	if err != nil {
		return scp.Object{}, err
	}
	f, err := dicomio.Open(s.Path, dicomio.Options{Limits: s.Limits, Strict: true})
	if err != nil {
		return scp.Object{}, err
	}
	r, w := io.Pipe()
	go func() {
		err := f.Transcode(w, dicomio.WriteOptions{TransferSyntax: transferSyntax, Bare: true})
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		w.CloseWithError(err)
	}()
	return scp.Object{SOPClassUID: h.SOPClassUID, SOPInstanceUID: h.SOPInstanceUID, TransferSyntaxUID: transferSyntax, DataSet: r, Size: -1}, nil
}
