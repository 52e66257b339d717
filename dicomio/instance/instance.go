// Package instance holds what every object made from a study has in common:
// the patient and study of the source, the identity of the new instance, the
// equipment that made it, references to its sources, and UIDs that depend on
// nothing but the inputs.
package instance

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/encoding"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/dicomio/uid"
)

// ErrSource says that the source data set lacks what a derived object needs.
var ErrSource = errors.New("source data set is unusable")

// UID derives a UID from a kind of object and everything that determines its
// content: the UIDs of the sources, the model's name, version and checksum, the
// settings. Equal inputs give equal UIDs, so that a repeated run makes the same
// instance again.
//
// The result is "2.25." followed by a version 8 UUID (RFC 9562 5.8, PS3.5
// B.2), made of the first 128 bits of the SHA-256 over the parts, each preceded
// by its length.
func UID(kind string, parts ...string) string {
	h := sha256.New()
	for _, p := range append([]string{"EchoNode", kind}, parts...) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write([]byte(p))
	}
	u := h.Sum(nil)[:16]
	u[6] = u[6]&0x0F | 0x80
	u[8] = u[8]&0x3F | 0x80
	return "2.25." + new(big.Int).SetBytes(u).String()
}

// Seal gives the data set a SOP Instance UID that is a digest of everything
// else it holds, pixels included: two objects that differ in one byte have
// different UIDs, and the same content has the same UID whenever it is made.
// o is how the data set will be written; its pixels are read once here. It
// returns the UID.
func Seal(ds *dicomio.DataSet, kind string, o dicomio.WriteOptions) (string, error) {
	h := sha256.New()
	ds.SetString(tag.SOPInstanceUID, "2.25.0") // a place holder, as files need one
	if err := dicomio.Write(h, ds, o); err != nil {
		return "", err
	}
	uid := UID(kind, string(h.Sum(nil)))
	ds.SetString(tag.SOPInstanceUID, uid)
	return uid, ds.Err()
}

// Equipment is the device or program that makes objects.
type Equipment struct {
	Manufacturer string
	Model        string
	Version      string
	Serial       string // optional
	Station      string // optional, at most 16 characters: its name or AE title
	Institution  string // optional
	UID          string // Device Observer UID
}

func (e Equipment) validate() error {
	if e.Manufacturer == "" || e.Model == "" || e.Version == "" || e.UID == "" {
		return fmt.Errorf("equipment needs manufacturer, model, version and UID: %+v", e)
	}
	return nil
}

// Algorithm identifies the model behind a result (TID 4019).
type Algorithm struct {
	Name       string
	Version    string
	Parameters []string // optional, for example "sha256=..."
}

func (a Algorithm) validate() error {
	if a.Name == "" || a.Version == "" {
		return fmt.Errorf("algorithm needs name and version: %+v", a)
	}
	return nil
}

// Header is the identity of a new instance.
type Header struct {
	// Source is any instance of the study: patient and study are copied.
	Source      *dicomio.DataSet
	SOPClassUID string
	// SOPInstanceUID may be empty for an object that is sealed later.
	SOPInstanceUID    string
	SeriesInstanceUID string
	SeriesNumber      int
	InstanceNumber    int
	SeriesDescription string
	Modality          string
	// Time is the moment of creation. It is written in the time zone of the
	// source where that names one, else in its own; the zone is written too.
	Time      time.Time
	Equipment Equipment
}

// copied are the attributes of the patient and study modules (PS3.3 C.7.1.1,
// C.7.2.1, C.7.2.2) that are taken over when present.
var copied = []dicomio.Tag{
	tag.PatientName, tag.PatientID, tag.IssuerOfPatientID, tag.PatientBirthDate, tag.PatientSex,
	tag.OtherPatientIDsSequence, tag.EthnicGroup, tag.PatientIdentityRemoved, tag.DeidentificationMethod,
	tag.DeidentificationMethodCodeSequence,
	tag.StudyInstanceUID, tag.StudyDate, tag.StudyTime, tag.StudyID, tag.AccessionNumber,
	tag.IssuerOfAccessionNumberSequence, tag.ReferringPhysicianName, tag.StudyDescription,
	tag.PatientAge, tag.PatientSize, tag.PatientWeight,
}

// required are those of them that must be present, if empty (type 2).
var required = []dicomio.Tag{
	tag.PatientName, tag.PatientID, tag.PatientBirthDate, tag.PatientSex,
	tag.StudyDate, tag.StudyTime, tag.StudyID, tag.AccessionNumber, tag.ReferringPhysicianName,
}

// Subject is what [New] takes of a source, its patient and study, apart from the
// source: that may be closed.
func Subject(source *dicomio.DataSet) (*dicomio.DataSet, error) {
	var b bytes.Buffer
	ds := dicomio.NewDataSet().CopyFrom(source, append(slices.Clone(copied), tag.TimezoneOffsetFromUTC)...)
	if err := dicomio.Write(&b, ds, dicomio.WriteOptions{TransferSyntax: uid.ExplicitVRLittleEndian, Bare: true}); err != nil {
		return nil, err
	}
	f, err := dicomio.Read(bytes.NewReader(b.Bytes()), int64(b.Len()), dicomio.Options{TransferSyntax: uid.ExplicitVRLittleEndian})
	if err != nil {
		return nil, err
	}
	return f.DataSet, nil // of bytes in memory: there is nothing to close
}

// New starts a data set with the patient and study of the source, the identity,
// the series, the general equipment and the SOP common module.
// Values of the source that the standard does not allow are left empty.
func New(h Header) (*dicomio.DataSet, error) {
	if h.Source == nil {
		return nil, fmt.Errorf("no source: %w", ErrSource)
	}
	if h.Source.String(tag.StudyInstanceUID) == "" {
		return nil, fmt.Errorf("no Study Instance UID: %w", ErrSource)
	}
	if h.SOPClassUID == "" || h.SeriesInstanceUID == "" || h.Modality == "" || h.Time.IsZero() {
		return nil, errors.New("header needs SOP class, series UID, modality and time")
	}
	if err := h.Equipment.validate(); err != nil {
		return nil, err
	}
	ds := dicomio.NewDataSet()
	ds.CopyFrom(h.Source, copied...)
	clean(ds)
	for _, t := range required {
		if !ds.Has(t) {
			ds.SetEmpty(t)
		}
	}
	at := Local(h.Source, h.Time)
	date, clock := at.Format("20060102"), at.Format("150405")
	ds.SetString(tag.TimezoneOffsetFromUTC, at.Format("-0700"))
	ds.SetString(tag.SOPClassUID, h.SOPClassUID)
	if h.SOPInstanceUID != "" {
		ds.SetString(tag.SOPInstanceUID, h.SOPInstanceUID)
	}
	ds.SetString(tag.InstanceCreationDate, date)
	ds.SetString(tag.InstanceCreationTime, clock)
	ds.SetString(tag.SeriesDate, date)
	ds.SetString(tag.SeriesTime, clock)
	ds.SetString(tag.ContentDate, date)
	ds.SetString(tag.ContentTime, clock)
	ds.SetString(tag.Modality, h.Modality)
	ds.SetString(tag.SeriesInstanceUID, h.SeriesInstanceUID)
	ds.SetInt(tag.SeriesNumber, int64(h.SeriesNumber))
	ds.SetInt(tag.InstanceNumber, int64(max(h.InstanceNumber, 1)))
	if h.SeriesDescription != "" {
		ds.SetString(tag.SeriesDescription, Clip(encoding.Line(h.SeriesDescription), encoding.LookupVR("LO").Max))
	}
	h.Equipment.set(ds)
	if h.Equipment.Serial != "" {
		ds.SetString(tag.DeviceSerialNumber, h.Equipment.Serial)
	}
	if h.Equipment.Institution != "" {
		ds.SetString(tag.InstitutionName, h.Equipment.Institution)
	}
	if h.Equipment.Station != "" {
		ds.SetString(tag.StationName, h.Equipment.Station)
	}
	return ds, ds.Err()
}

// Local is a moment in the time zone that a data set names in Timezone Offset
// From UTC (0008,0201), in which all its dates and times stand; without one it
// is left in its own zone.
func Local(ds *dicomio.DataSet, t time.Time) time.Time {
	if ds == nil {
		return t
	}
	zone, err := time.Parse("-0700", ds.String(tag.TimezoneOffsetFromUTC))
	if err != nil {
		return t
	}
	_, offset := zone.Zone()
	return t.In(time.FixedZone("", offset))
}

func (e Equipment) set(ds *dicomio.DataSet) {
	ds.SetString(tag.Manufacturer, e.Manufacturer)
	ds.SetString(tag.ManufacturerModelName, e.Model)
	ds.SetString(tag.SoftwareVersions, e.Version)
}

// clean empties values that are not valid for their attribute.
func clean(ds *dicomio.DataSet) {
	for _, t := range []dicomio.Tag{tag.PatientBirthDate, tag.StudyDate} {
		if s := ds.String(t); s != Date(s) {
			set(ds, t, Date(s))
		}
	}
	if s := ds.String(tag.StudyTime); s != "" && !validTime(s) {
		ds.SetEmpty(tag.StudyTime)
	}
	if s := ds.String(tag.PatientSex); s != Sex(s) {
		set(ds, tag.PatientSex, Sex(s))
	}
	if s := ds.String(tag.PatientAge); !validAge(s) {
		ds.Delete(tag.PatientAge)
	}
	for _, t := range []dicomio.Tag{tag.PatientSize, tag.PatientWeight} {
		if v, ok := ds.Float(t); !ok || v <= 0 {
			ds.Delete(t)
		}
	}
}

// set sets a value, or empties the attribute.
func set(ds *dicomio.DataSet, t dicomio.Tag, s string) {
	if s == "" {
		ds.SetEmpty(t)
	} else {
		ds.SetString(t, s)
	}
}

// Date is a date as DICOM writes it, also of one with the separators of ACR-NEMA
// (1950.01.02) and of people (1950-01-02); "" for what is none.
func Date(s string) string {
	s = strings.TrimSpace(s)
	for _, layout := range []string{"20060102", "2006.01.02", "2006-01-02", "2006/01/02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.Format("20060102")
		}
	}
	return ""
}

// Sex is Patient's Sex as DICOM writes it, also of one that is spelt out in
// English; "" for what is none of them.
func Sex(s string) string {
	switch strings.ToUpper(strings.TrimSpace(s)) {
	case "M", "MALE", "MAN":
		return "M"
	case "F", "FEMALE", "WOMAN":
		return "F"
	case "O", "OTHER":
		return "O"
	}
	return ""
}

func validTime(s string) bool {
	for _, layout := range []string{"15", "1504", "150405", "150405.999999"} {
		if _, err := time.Parse(layout, s); err == nil {
			return true
		}
	}
	return false
}

func validAge(s string) bool {
	if len(s) != 4 || !slices.Contains([]byte("DWMY"), s[3]) {
		return false
	}
	for _, c := range s[:3] {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// imageClasses are the storage classes of images that a study of the heart may
// hold (PS3.4 table B.5-1). What is no image must not be referred to as one
// (PS3.3 C.17.3.2.1): readers refuse the whole document.
var imageClasses = []string{
	uid.UltrasoundImageStorage, uid.UltrasoundImageStorageRetired, uid.UltrasoundMultiFrameImageStorage, uid.UltrasoundMultiFrameImageStorageRetired,
	uid.SecondaryCaptureImageStorage, uid.MultiFrameTrueColorSecondaryCaptureImageStorage,
	uid.MultiFrameSingleBitSecondaryCaptureImageStorage, uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
	uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
	uid.EnhancedUSVolumeStorage, uid.XRayAngiographicImageStorage, uid.EnhancedXAImageStorage,
	uid.CTImageStorage, uid.EnhancedCTImageStorage, uid.MRImageStorage, uid.EnhancedMRImageStorage,
}

// singleFrameClasses are those of imageClasses whose objects hold one frame.
var singleFrameClasses = []string{
	uid.UltrasoundImageStorage, uid.UltrasoundImageStorageRetired, uid.SecondaryCaptureImageStorage, uid.CTImageStorage, uid.MRImageStorage,
}

// SingleFrame reports whether objects of a storage class hold one frame; a reference
// to one must not name a frame (PS3.3 table 10-3). Converters store cines under such
// classes all the same.
func SingleFrame(class string) bool { return slices.Contains(singleFrameClasses, class) }

// IsImage reports whether a storage class is that of an image.
func IsImage(class string) bool { return slices.Contains(imageClasses, class) }

// Ref names one instance of a study.
type Ref struct {
	StudyUID, SeriesUID         string
	SOPClassUID, SOPInstanceUID string
}

// RefOf reads the reference of a data set.
func RefOf(ds *dicomio.DataSet) Ref {
	return Ref{
		StudyUID: ds.String(tag.StudyInstanceUID), SeriesUID: ds.String(tag.SeriesInstanceUID),
		SOPClassUID: ds.String(tag.SOPClassUID), SOPInstanceUID: ds.String(tag.SOPInstanceUID),
	}
}

func (r Ref) validate() error {
	if r.StudyUID == "" || r.SeriesUID == "" || r.SOPClassUID == "" || r.SOPInstanceUID == "" {
		return fmt.Errorf("reference needs study, series, class and instance UID: %+v", r)
	}
	return nil
}

// SOP is the item of class and instance UID that references are made of
// (SOP Instance Reference macro, PS3.3 table 10-11).
func (r Ref) SOP() *dicomio.DataSet {
	ds := dicomio.NewDataSet()
	ds.SetString(tag.ReferencedSOPClassUID, r.SOPClassUID)
	ds.SetString(tag.ReferencedSOPInstanceUID, r.SOPInstanceUID)
	return ds
}

// ByStudy makes the items of a hierarchical reference sequence (Hierarchical
// SOP Instance Reference macro, PS3.3 table C.17-3), in the order of first
// mention, each instance once.
func ByStudy(refs []Ref) ([]*dicomio.DataSet, error) {
	var studies []*dicomio.DataSet
	series := map[string]*dicomio.DataSet{}
	byUID := map[string]*dicomio.DataSet{}
	seen := map[string]bool{}
	for _, r := range refs {
		if err := r.validate(); err != nil {
			return nil, err
		}
		if seen[r.SOPInstanceUID] {
			continue
		}
		seen[r.SOPInstanceUID] = true
		study := byUID[r.StudyUID]
		if study == nil {
			study = dicomio.NewDataSet()
			study.SetString(tag.StudyInstanceUID, r.StudyUID)
			byUID[r.StudyUID] = study
			studies = append(studies, study)
		}
		key := r.StudyUID + "\\" + r.SeriesUID
		if series[key] == nil {
			s := dicomio.NewDataSet()
			s.SetString(tag.SeriesInstanceUID, r.SeriesUID)
			series[key] = s
			study.AddItem(tag.ReferencedSeriesSequence, s)
		}
		series[key].AddItem(tag.ReferencedSOPSequence, r.SOP())
	}
	return studies, nil
}

// Code makes an item of the Code Sequence macro (PS3.3 table 8.8-1).
func Code(value, scheme, meaning string) *dicomio.DataSet {
	ds := dicomio.NewDataSet()
	ds.SetString(tag.CodeValue, value)
	ds.SetString(tag.CodingSchemeDesignator, scheme)
	ds.SetString(tag.CodeMeaning, meaning)
	return ds
}

// Contribution makes the item of Contributing Equipment Sequence
// (0018,A001) that names the program and the model (PS3.3 C.12.1).
func Contribution(e Equipment, a Algorithm, at time.Time, description string) (*dicomio.DataSet, error) {
	if err := e.validate(); err != nil {
		return nil, err
	}
	if err := a.validate(); err != nil {
		return nil, err
	}
	ds := dicomio.NewDataSet()
	ds.SetItems(tag.PurposeOfReferenceCodeSequence, Code("109102", "DCM", "Processing Equipment"))
	ds.SetString(tag.Manufacturer, e.Manufacturer)
	ds.SetString(tag.ManufacturerModelName, e.Model)
	ds.SetString(tag.SoftwareVersions, e.Version, Clip("model "+a.Name+" "+a.Version, 64))
	ds.SetString(tag.ContributionDateTime, at.Format("20060102150405"))
	ds.SetString(tag.ContributionDescription, description)
	return ds, ds.Err()
}

// Clip cuts text to n characters.
func Clip(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n])
	}
	return s
}

// CopyLossy takes over the history of lossy compression (PS3.3 C.7.6.1.1.5):
// once lossy, always lossy. It reports whether the source was lossy.
func CopyLossy(dst, src *dicomio.DataSet) bool {
	if src.String(tag.LossyImageCompression) != "01" {
		return false
	}
	dst.SetString(tag.LossyImageCompression, "01")
	dst.CopyFrom(src, tag.LossyImageCompressionRatio, tag.LossyImageCompressionMethod)
	return true
}
