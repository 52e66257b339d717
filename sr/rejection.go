package sr

import (
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/instance"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
)

// Rejection is a note that instances are not to be used any more: a Key Object
// Selection document (PS3.3 A.35.4, TID 2010) as the profile Imaging Object
// Change Management asks for (IHE RAD TF-1, section 53; TF-3, 4.66).
type Rejection struct {
	// Source is one of the rejected instances: the note is of its patient and
	// study.
	Source *dicomio.DataSet
	// Rejected are the instances, all of one study.
	Rejected []instance.Ref
	Reason   RejectionReason
	// Description is a sentence for people; optional.
	Description string
	Time        time.Time
	Observer    instance.Equipment
}

// RejectionReason is the title of the note (PS3.16 CID 7011).
type RejectionReason int

// Reasons of a [Rejection].
const (
	// WrongPatient: Incorrect Modality Worklist Entry. Patient or study were
	// wrong.
	WrongPatient RejectionReason = iota
	// PatientSafety: Rejected for Patient Safety Reasons.
	PatientSafety
)

var rejectionReasons = map[RejectionReason]term{
	WrongPatient:  dcm("113038", "Incorrect Modality Worklist Entry"),
	PatientSafety: dcm("113037", "Rejected for Patient Safety Reasons"),
}

var keyObjectDescription = dcm("113012", "Key Object Description")

// BuildRejection makes the data set of a rejection, with a UID that is a digest
// of its content.
func BuildRejection(r Rejection) (*dicomio.DataSet, error) {
	title, ok := rejectionReasons[r.Reason]
	if !ok || len(r.Rejected) == 0 {
		return nil, errors.New("a rejection needs a reason and something to reject")
	}
	study := r.Source.String(tag.StudyInstanceUID)
	for _, ref := range r.Rejected {
		if ref.StudyUID != study {
			return nil, fmt.Errorf("instance %s is of another study than %s", ref.SOPInstanceUID, study)
		}
	}
	parts := []string{study, r.Observer.UID}
	for _, t := range []dicomio.Tag{tag.PatientID, tag.IssuerOfPatientID, tag.PatientName, tag.PatientBirthDate, tag.PatientSex} {
		parts = append(parts, r.Source.String(t))
	}
	series := instance.UID("rejection series", parts...)
	ds, err := instance.New(instance.Header{
		Source: r.Source, SOPClassUID: uid.KeyObjectSelectionDocumentStorage, Modality: "KO",
		// A series is of one patient.
		SeriesInstanceUID: series, SeriesNumber: 9990 + int(crc32.ChecksumIEEE([]byte(series))%10),
		SeriesDescription: "Withdrawn", Time: r.Time, Equipment: r.Observer,
	})
	if err != nil {
		return nil, err
	}
	ds.SetEmpty(tag.ReferencedPerformedProcedureStepSequence)
	evidence, err := instance.ByStudy(r.Rejected)
	if err != nil {
		return nil, err
	}
	ds.SetItems(tag.CurrentRequestedProcedureEvidenceSequence, evidence...)
	root := &Item{Type: Container, Concept: title.code(SCT), Continuity: "SEPARATE", Template: "2010"}
	root.add(&Item{Relationship: HasObsContext, Type: CodeValue, Concept: observerType.code(SCT), Code: device.code(SCT)},
		&Item{Relationship: HasObsContext, Type: UIDRef, Concept: observerUID.code(SCT), Text: r.Observer.UID})
	if r.Description != "" {
		root.add(&Item{Relationship: Contains, Type: Text, Concept: keyObjectDescription.code(SCT), Text: r.Description})
	}
	seen := map[string]bool{}
	for _, ref := range r.Rejected {
		if seen[ref.SOPInstanceUID] {
			continue
		}
		seen[ref.SOPInstanceUID] = true
		it := &Item{Relationship: Contains, Type: Composite, Image: ImageRef{SOPClassUID: ref.SOPClassUID, SOPInstanceUID: ref.SOPInstanceUID}}
		if instance.IsImage(ref.SOPClassUID) {
			it.Type = Image
		}
		root.add(it)
	}
	root.encode(ds)
	if err := ds.Err(); err != nil {
		return nil, err
	}
	_, err = instance.Seal(ds, "rejection", dicomio.WriteOptions{TransferSyntax: uid.ExplicitVRLittleEndian})
	return ds, err
}
