package dicomio

import (
	"io"

	"github.com/echonode/echonode/dicomio/internal/codec"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
)

// Native reports whether Transcode can write the file in a native transfer
// syntax: nil, or why not.
func (f *File) Native() error {
	if f.truncated != nil {
		return f.truncated
	}
	e, ok := f.DataSet.Get(tagPixels)
	if !ok || !e.Encapsulated() {
		return nil
	}
	if f.Syntax.Video {
		return fail("transcode", tagPixels, -1, ErrUnsupported, "%s is not decompressed", f.Syntax.Name)
	}
	if !f.Known || !codec.Standard().Decodes(f.Syntax) {
		return fail("transcode", tagPixels, -1, ErrUnsupported, "transfer syntax %s %s", f.TransferSyntax, f.Syntax.Name)
	}
	return nil
}

// Transcode writes the data set in a native transfer syntax, the one of o:
// compressed pixels are decompressed, all else stays. Nothing is lost by it, so
// the object keeps its UID; what an earlier compression has lost stays marked
// (Lossy Image Compression). Video is refused. o.Pixels must be nil.
func (f *File) Transcode(w io.Writer, o WriteOptions) error {
	if ts, ok := uid.LookupSyntax(o.TransferSyntax); o.TransferSyntax != "" && (!ok || ts.Encapsulated) {
		return fail("transcode", tagSyntax, -1, ErrUnsupported, "to transfer syntax %s", o.TransferSyntax)
	}
	if err := f.Native(); err != nil {
		return err
	}
	e, ok := f.DataSet.Get(tagPixels)
	if !ok || !e.Encapsulated() {
		return Write(w, f.DataSet, o)
	}
	r, err := f.Frames()
	if err != nil {
		return err
	}
	var frame Frame
	if err := r.Decode(0, &frame); err != nil {
		return err
	}
	ds := f.DataSet.Clone()
	ds.Delete(tagPixels, tagEOT, tagEOTLens)
	ds.SetString(tag.PhotometricInterpretation, frame.Photometric)
	if frame.Samples > 1 {
		ds.SetInt(tag.PlanarConfiguration, 0)
	}
	if ds.Has(tagNumberOfFrames) || r.Len() > 1 {
		ds.SetInt(tagNumberOfFrames, int64(r.Len()))
	}
	if f.Syntax.Lossy && f.Syntax.UID != uid.JPEG2000 && f.Syntax.UID != uid.HTJ2K {
		ds.SetString(tag.LossyImageCompression, "01")
	}
	next := func(i int) ([]byte, error) {
		if err := r.Decode(i, &frame); err != nil {
			return nil, err
		}
		return frame.Data, nil
	}
	if r.Info.BitsAllocated == 1 {
		o.Pixels = BitFrames(r.Len(), r.Rows*r.Columns, next)
	} else {
		o.Pixels = FrameFunc(r.Len(), r.Info.DecodedBytes(), next)
	}
	return Write(w, ds, o)
}
