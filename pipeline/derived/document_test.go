package derived

import (
	"bytes"
	"errors"
	"testing"

	"github.com/echonode/echonode/dicomio/tag"

	"github.com/echonode/echonode/dicomio/instance"
)

func TestDocument(t *testing.T) {
	id := identity("pdf")
	id.Patient, id.SOPInstanceUID = loop(3), ""
	d := Document{Identity: id, Title: "AI echo summary", PDF: []byte("%PDF-1.7\n%%EOF\nx"), Sources: []instance.Ref{instance.RefOf(loop(3))}, Identified: true}
	var b bytes.Buffer
	uid, err := d.Write(&b)
	if err != nil {
		t.Fatal(err)
	}
	f, file := reopen(t, b.Bytes())
	validate(t, file, "needed to build DICOMDIR")
	ds := f.DataSet
	if ds.String(tag.SOPInstanceUID) != uid || ds.String(tag.BurnedInAnnotation) != "YES" || ds.String(tag.MIMETypeOfEncapsulatedDocument) != "application/pdf" {
		t.Error("header is wrong")
	}
	if n, _ := ds.Int(tag.EncapsulatedDocumentLength); int(n) != len(d.PDF) {
		t.Errorf("length %d of %d", n, len(d.PDF))
	}
	if pdf, err := ds.Bytes(tag.EncapsulatedDocument); err != nil || !bytes.HasPrefix(pdf, d.PDF) || len(pdf)%2 == 1 {
		t.Errorf("%d bytes, %v", len(pdf), err)
	}
	d.PDF = nil
	if _, err := d.Write(&b); !errors.Is(err, ErrDocument) {
		t.Errorf("without pages: %v", err)
	}
}
