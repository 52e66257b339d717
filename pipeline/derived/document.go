package derived

import (
	"errors"
	"fmt"
	"io"

	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/instance"
)

// ErrDocument says that a [Document] cannot be turned into a valid object.
var ErrDocument = errors.New("invalid document")

// Document is a PDF about a study (Encapsulated PDF, PS3.3 A.45.1).
type Document struct {
	Identity Identity
	// Title of the document, at most 1024 characters.
	Title string
	// Sources are the objects that it was made from.
	Sources []instance.Ref
	PDF     []byte
	// Identified says that the pages name the patient.
	Identified bool
}

// Write writes the object as a Part 10 file and returns its SOP Instance UID.
func (d Document) Write(w io.Writer) (string, error) {
	id := d.Identity
	if id.Patient == nil || len(d.PDF) == 0 || d.Title == "" {
		return "", fmt.Errorf("%w: it needs a patient, a title and pages", ErrDocument)
	}
	ds, err := instance.New(instance.Header{
		Source: id.Patient, SOPClassUID: uid.EncapsulatedPDFStorage, SOPInstanceUID: id.SOPInstanceUID,
		SeriesInstanceUID: id.SeriesInstanceUID, SeriesNumber: id.SeriesNumber, InstanceNumber: id.InstanceNumber,
		SeriesDescription: id.SeriesDescription, Modality: "DOC", Time: id.Time, Equipment: id.Equipment,
	})
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrDocument, err)
	}
	contribution, err := instance.Contribution(id.Equipment, id.Algorithm, instance.Local(id.Patient, id.Time), "Automatic left ventricular analysis")
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrDocument, err)
	}
	ds.SetItems(tag.ContributingEquipmentSequence, contribution)
	// SC Equipment (C.8.6.1) and Encapsulated Document (C.24.2).
	ds.SetString(tag.ConversionType, "WSD")
	ds.SetEmpty(tag.AcquisitionDateTime)
	ds.SetString(tag.BurnedInAnnotation, yesNo(d.Identified))
	ds.SetString(tag.DocumentTitle, d.Title)
	ds.SetEmpty(tag.ConceptNameCodeSequence)
	ds.SetString(tag.MIMETypeOfEncapsulatedDocument, "application/pdf")
	ds.SetInt(tag.EncapsulatedDocumentLength, int64(len(d.PDF)))
	pdf := d.PDF
	if len(pdf)%2 == 1 {
		pdf = append(pdf[:len(pdf):len(pdf)], 0)
	}
	ds.SetBytes(tag.EncapsulatedDocument, "OB", pdf)
	var sources []*dicomio.DataSet
	for _, r := range d.Sources {
		sources = append(sources, r.SOP())
	}
	if len(sources) > 0 {
		ds.SetItems(tag.SourceInstanceSequence, sources...)
	}
	if err := ds.Err(); err != nil {
		return "", fmt.Errorf("%w: %w", ErrDocument, err)
	}
	return write(w, ds, "document", ErrDocument, id, dicomio.WriteOptions{})
}
