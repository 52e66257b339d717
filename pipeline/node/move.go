package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/echonode/echonode/dicomio/part10"
	"github.com/echonode/echonode/dicomio/tag"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/pipeline/internal/turns"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/pipeline/spool"
	"github.com/echonode/echonode/pipeline/store"
)

// Patient is who a study is moved to. What is empty, the ID aside, stays as the
// objects have it.
type Patient struct {
	ID, Issuer string
	Name       string // PN
	BirthDate  string // DA
	Sex        string // M, F or O
}

// Move is an administrator's order to give a study, or all studies of a
// patient, another patient.
type Move struct {
	To Patient
	// Reason goes into the objects and the audit trail: CORRECT, the values
	// were wrong (a study under the wrong patient), or COERCE, they were replaced
	// by those of a master index (two records of one patient are merged). PS3.3
	// C.12.1.1.9.
	Reason string
	By     string // who says so, for the audit trail
	From   string // and from which address
	// AllPersons says that a study of several persons is this patient's as a
	// whole. Without it such a study is left alone.
	AllPersons bool
}

// Reasons of a [Move].
const (
	ReasonCorrect = "CORRECT"
	ReasonCoerce  = "COERCE"
)

// Moved is what a move did.
type Moved struct {
	Study   string `json:"study_instance_uid"`
	Objects int    `json:"objects"`              // that are the other patient's now
	Unsent  int64  `json:"deliveries_withdrawn"` // made under the former patient and not sent yet
	// Sent are the results that destinations have from before.
	Sent int `json:"outputs_sent_before"`
}

// MoveStudy gives a study another patient: every object of it is written anew
// with the patient's attributes and a record of the former ones (Original
// Attributes Sequence), all of them or none. The study is analysed again, and
// its report supersedes the one before; what was made under the former patient
// and has not been sent is not sent any more.
func (n *Node) MoveStudy(ctx context.Context, study string, m Move) (moved Moved, err error) {
	defer func() {
		detail := fmt.Sprintf("%s, %d objects", m.Reason, moved.Objects)
		if err != nil {
			detail = m.Reason + ": not possible"
		}
		aerr := n.store.Audit(context.WithoutCancel(ctx), store.AuditEntry{At: time.Now(), User: m.By, Address: m.From, Action: "moved to another patient",
			Study: study, Detail: detail, Failed: err != nil})
		err = errors.Join(err, aerr)
	}()
	if err := m.check(); err != nil {
		return moved, err
	}
	// The one before takes as long as it takes, but nobody has this done for whom it
	// came to nothing meanwhile.
	select {
	case n.moving <- struct{}{}:
		defer func() { <-n.moving }()
	case <-ctx.Done():
		return moved, context.Cause(ctx)
	}
	if !m.AllPersons {
		if err := n.onePerson(ctx, []string{study},
			"the study is of %d persons: nothing was moved; correct or remove what is wrong, or order it for all of them (--all-persons)"); err != nil {
			return moved, err
		}
	}
	// Nobody takes for left behind what is on its way, however long that takes.
	done, err := n.moves.Lock(ctx, study)
	if err != nil {
		return moved, err
	}
	defer done()
	// A second look takes what arrived during the first.
	var from []result.Person
	for range maxLooks {
		left, err := n.moveObjects(ctx, study, m, &moved, &from)
		if err != nil || left == 0 {
			return moved, err
		}
	}
	return moved, conflict("study " + study + " goes on changing: try again when it is complete")
}

// check says what is wrong with an order.
func (m Move) check() error {
	switch {
	case strings.TrimSpace(m.To.ID) == "":
		return badRequest("the Patient ID to move to is missing")
	case strings.Contains(m.To.ID+m.To.Issuer+m.To.Name, `\`):
		return badRequest("a patient has one ID and one name: no backslash")
	case strings.ContainsFunc(m.To.ID+m.To.Issuer+m.To.Name, unicode.IsControl):
		return badRequest("a patient's ID and name hold no control characters")
	case !isName(m.To.Name):
		return badRequest("the name is none of DICOM: up to three groups (letters, ideographs, phonetic) with =, each of up to five parts with ^ and 64 characters")
	case m.Reason != ReasonCorrect && m.Reason != ReasonCoerce:
		return badRequest("the reason is neither " + ReasonCorrect + " nor " + ReasonCoerce)
	case !slices.Contains([]string{"", "M", "F", "O"}, m.To.Sex):
		return badRequest("the sex is not M, F or O")
	}
	ds := dicomio.NewDataSet().SetString(tag.PatientID, m.To.ID).SetString(tag.IssuerOfPatientID, m.To.Issuer).
		SetString(tag.PatientName, m.To.Name).SetString(tag.PatientBirthDate, m.To.BirthDate)
	if err := ds.Err(); err != nil {
		return badRequest(err.Error())
	}
	if _, err := time.Parse("20060102", m.To.BirthDate); m.To.BirthDate != "" && err != nil {
		return badRequest("the birth date is no date YYYYMMDD")
	}
	return nil
}

// isName reports whether a text can be a Person Name (PS3.5 6.2).
func isName(name string) bool {
	groups := strings.Split(name, "=")
	return len(groups) <= 3 && !slices.ContainsFunc(groups, func(g string) bool {
		return strings.Count(g, "^") > 4 || utf8.RuneCountInString(g) > 64
	})
}

// maxLooks bounds how often a study is looked at for objects to move.
const maxLooks = 5

// MergePatient gives all studies of a patient, or those of an issuer if one is
// named, to another. Studies of several persons who share the Patient ID, as far
// as [result.Patients] tells them apart, are left alone: they have to be moved
// one by one.
func (n *Node) MergePatient(ctx context.Context, id, issuer string, m Move) ([]Moved, error) {
	from := result.PersonOf(id, issuer, "", "", "")
	switch {
	case id == "" || m.To.ID == "":
		return nil, badRequest("a Patient ID is missing")
	case id == m.To.ID && (m.To.Issuer == "" || m.To.Issuer == issuer):
		return nil, badRequest("both are the same patient")
	}
	studies, err := n.store.StudiesOf(ctx, from.ID, from.Issuer)
	if err != nil {
		return nil, err
	}
	if len(studies) == 0 {
		return nil, fmt.Errorf("no study of this patient: %w", store.ErrNotFound)
	}
	if err := n.onePerson(ctx, studies, sharedID(id)); err != nil {
		return nil, err
	}
	if m.To.Name == "" && m.To.BirthDate == "" && m.To.Sex == "" {
		if m.To, err = n.known(ctx, m.To); err != nil {
			return nil, err
		}
	}
	var all []Moved
	for _, study := range studies {
		moved, err := n.MoveStudy(ctx, study, m)
		if err != nil {
			return all, fmt.Errorf("study %s, after %d of %d: %w", study, len(all), len(studies), err)
		}
		all = append(all, moved)
	}
	return all, nil
}

// sharedID is said of studies with one ID that are of several persons.
func sharedID(id string) string {
	return "the studies with Patient ID " + strings.ReplaceAll(id, "%", "%%") + " are of %d persons: move them one by one"
}

// onePerson refuses studies that are of several persons, with a reason that has
// a place for their number.
func (n *Node) onePerson(ctx context.Context, studies []string, reason string) error {
	var persons []result.Person
	for _, study := range studies {
		named, err := n.persons(ctx, study)
		if err != nil {
			return err
		}
		persons = append(persons, named...)
	}
	if patients := result.Patients(persons); patients > 1 {
		return badRequest(fmt.Sprintf(reason, patients))
	}
	return nil
}

// known completes a patient by what the newest object of the patient here says;
// nothing where there is none.
func (n *Node) known(ctx context.Context, p Patient) (Patient, error) {
	digests := result.PersonOf(p.ID, p.Issuer, "", "", "")
	studies, err := n.store.StudiesOf(ctx, digests.ID, digests.Issuer)
	if err != nil || len(studies) == 0 {
		return p, err
	}
	if err := n.onePerson(ctx, studies, sharedID(p.ID)); err != nil {
		return p, err
	}
	var newest store.Instance
	for _, study := range studies {
		instances, err := n.store.Instances(ctx, study)
		if err != nil {
			return p, err
		}
		for _, in := range instances {
			if in.Patient == digests.ID && !in.Received.Before(newest.Received) {
				newest = in
			}
		}
	}
	hold := n.files.Hold()
	defer hold.Release()
	path, err := hold.File(ctx, newest.Path)
	if err == nil {
		err = n.broken(ctx, path, newest)
	}
	if err != nil {
		return p, fmt.Errorf("object %s, which names the patient: %w", newest.SOPInstanceUID, err)
	}
	f, err := dicomio.OpenContext(ctx, path, dicomio.Options{Limits: n.opt.Limits})
	if err != nil {
		return p, err
	}
	p.Name, p.BirthDate, p.Sex = f.DataSet.String(tag.PatientName), f.DataSet.String(tag.PatientBirthDate), f.DataSet.String(tag.PatientSex)
	if p.Issuer == "" {
		p.Issuer = f.DataSet.String(tag.IssuerOfPatientID)
	}
	return p, f.Close()
}

// moveObjects moves the objects of a study that are not the patient's yet, and
// says how many it found; from are the persons that they were of. They are written to the spool first; recording them
// is one step.
func (n *Node) moveObjects(ctx context.Context, study string, m Move, moved *Moved, from *[]result.Person) (found int, err error) {
	moved.Study = study
	versions, err := n.rewriteStudy(ctx, study, m)
	defer func() { err = errors.Join(err, abort(versions)) }()
	if err != nil || len(versions) == 0 {
		return 0, err
	}
	// An object that gets a name of its own can go to the store before anybody has
	// to wait for it.
	_, inPlace := n.files.InPlace("")
	var records []store.Instance
	recorded := false
	defer func() {
		for _, r := range records {
			if !inPlace && !recorded {
				err = errors.Join(err, n.spool.Discard(context.WithoutCancel(ctx), r.Path))
			}
		}
	}()
	if !inPlace {
		if records, err = commitVersions(ctx, versions, n.store.Now()); err != nil {
			return 0, err
		}
	}
	names := make([]string, len(versions))
	for i, v := range versions {
		names[i] = v.former.SOPInstanceUID
		*from = append(*from, personIs(v.former.Person))
	}
	if !m.AllPersons && result.Patients(*from) > 1 {
		return 0, badRequest("an object of another person has come meanwhile: look at the study again")
	}
	unlock, err := n.objects.Lock(ctx, names...)
	if err != nil {
		return 0, err
	}
	defer unlock()
	// What has been corrected or removed meanwhile is looked at again.
	if changed, err := n.anyChanged(ctx, versions); err != nil {
		return 0, err
	} else if changed {
		return len(versions), nil
	}
	if inPlace {
		if records, err = commitVersions(ctx, versions, n.store.Now()); err != nil {
			return 0, err
		}
	}
	// A file that was long on its way may have been taken for one that nobody will
	// record, if the lock that says that it is on its way was lost meanwhile: what
	// is recorded must be there.
	if gone, err := n.anyGone(ctx, records); err != nil {
		return 0, err
	} else if gone {
		return len(versions), nil
	}
	recorded = true // after an error nobody knows; the next start deletes files that are not
	err = n.recordMoved(ctx, study, versions, records, moved, *from)
	if errors.Is(err, store.ErrNotFound) {
		// One was removed at this moment, and none is recorded: what is left is looked
		// at again. The next start would take what was made for received.
		recorded = false
		if inPlace {
			err = n.discardUnrecorded(context.WithoutCancel(ctx), records)
		} else {
			err = nil
		}
		return len(versions), err
	}
	if err != nil {
		return 0, err
	}
	return len(records), nil
}

// discardUnrecorded deletes files in a directory that no record names. The caller
// holds the locks of their objects.
func (n *Node) discardUnrecorded(ctx context.Context, records []store.Instance) error {
	var errs []error
	for _, r := range records {
		now, err := n.store.Instance(ctx, r.SOPInstanceUID)
		switch {
		case errors.Is(err, store.ErrNotFound), err == nil && now.Path != r.Path && !n.sameFile(now.Path, r.Path):
			if err := n.spool.Discard(ctx, r.Path); !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		default:
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// rewriteStudy writes the objects of a study with another patient, those that are
// not that patient's yet. After an error the versions so far are the caller's to
// abort.
func (n *Node) rewriteStudy(ctx context.Context, study string, m Move) (versions []*version, err error) {
	if err := n.readPersons(ctx, study); err != nil {
		return nil, err
	}
	instances, err := n.store.Instances(ctx, study)
	if err != nil {
		return nil, err
	}
	if len(instances) == 0 {
		return nil, fmt.Errorf("study %s: %w", study, store.ErrNotFound)
	}
	at := time.Now()
	steps := turns.Begin(n.working(ctx, moves, turns.Making))
	defer steps.End()
	for _, in := range instances {
		if err := ctx.Err(); err != nil {
			return versions, err
		}
		v, err := n.rewrite(ctx, in, m, at, steps)
		if err != nil {
			return versions, fmt.Errorf("object %s: %w", in.SOPInstanceUID, err)
		}
		if v != nil {
			versions = append(versions, v)
		}
	}
	return versions, nil
}

// abort deletes the new files that were not given their names.
func abort(versions []*version) (err error) {
	for _, v := range versions {
		if v.in != nil {
			err = errors.Join(err, v.in.Abort())
		}
	}
	return err
}

// recordMoved records the new versions in the place of the former ones, counts
// what that concerns, and deletes the former files. The caller holds the objects'
// locks; from are the persons that they were of.
func (n *Node) recordMoved(ctx context.Context, study string, versions []*version, records []store.Instance, moved *Moved, from []result.Person) error {
	unsent, err := n.store.Replace(context.WithoutCancel(ctx), records...)
	if err != nil {
		return err
	}
	// With what is being sent now.
	if moved.Sent, err = n.sentBefore(context.WithoutCancel(ctx), study, from); err != nil {
		n.log.Warn("what was sent before a move is not counted", "study", study, "error", err)
	}
	moved.Objects += len(records)
	moved.Unsent += unsent
	n.log.Info("study moved to another patient by command", "study", study, "objects", len(records), "deliveries_withdrawn", unsent)
	for _, v := range versions {
		if err := n.deleteLocked(ctx, store.Removal{Path: v.former.Path, SOPInstanceUID: v.former.SOPInstanceUID}); err != nil {
			n.log.Warn("the file of a moved object is left for later", "path", v.former.Path, "error", err)
		}
	}
	if n.opt.OnArrival {
		n.wakeLookers()
	}
	return nil
}

// anyChanged reports whether the object that some version was made of has been
// corrected or removed since.
func (n *Node) anyChanged(ctx context.Context, versions []*version) (bool, error) {
	for _, v := range versions {
		now, err := n.store.Instance(ctx, v.former.SOPInstanceUID)
		if errors.Is(err, store.ErrNotFound) || err == nil && now.Path != v.former.Path {
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
	return false, nil
}

// anyGone reports whether the file of some record is not there.
func (n *Node) anyGone(ctx context.Context, records []store.Instance) (bool, error) {
	for _, r := range records {
		if _, err := n.files.Stat(ctx, r.Path); errors.Is(err, fs.ErrNotExist) {
			return true, nil
		} else if err != nil {
			return false, err
		}
	}
	return false, nil
}

// sentBefore counts the results of a study that some destination has under the
// patient that it was of last.
func (n *Node) sentBefore(ctx context.Context, study string, last []result.Person) (int, error) {
	deliveries, err := n.store.Deliveries(ctx, study)
	hold := n.files.Hold()
	defer hold.Release()
	sent := map[string]bool{}
	for _, d := range deliveries {
		if _, seen := sent[d.SOPInstanceUID]; seen || d.Kind == result.KindWithdrawal || d.State != store.Sent && d.State != store.Warning {
			continue
		}
		p, err := personIn(ctx, hold, d.Path)
		sent[d.SOPInstanceUID] = err != nil || p.ID == "" ||
			slices.ContainsFunc(last, func(q result.Person) bool { return result.Patients([]result.Person{p, q}) == 1 })
	}
	count := 0
	for _, counts := range sent {
		if counts {
			count++
		}
	}
	return count, err
}

// version is an object written anew.
type version struct {
	former store.Instance
	in     spool.Arrival
	person store.Person
}

// commitVersions gives the new files their names.
func commitVersions(ctx context.Context, versions []*version, at time.Time) ([]store.Instance, error) {
	var records []store.Instance
	for _, v := range versions {
		entry, err := v.in.Commit(ctx)
		if err != nil {
			return records, err
		}
		v.in = nil
		rec := v.former
		rec.Path, rec.Size, rec.Sum, rec.Received, rec.Person = entry.Path, entry.Size, entry.Sum, at, v.person
		records = append(records, rec)
	}
	return records, nil
}

// patientTags are what a move may change.
var patientTags = []dicomio.Tag{tag.PatientName, tag.PatientID, tag.IssuerOfPatientID, tag.PatientBirthDate, tag.PatientSex, tag.PatientAge,
	tag.TypeOfPatientID, tag.IssuerOfPatientIDQualifiersSequence}

// moves is whose turns are taken for what a person has moved.
const moves = "moves by command"

// rewrite writes an object with another patient; nil: it is that patient's.
func (n *Node) rewrite(ctx context.Context, in store.Instance, m Move, at time.Time, steps *turns.Steps) (v *version, err error) {
	hold := n.files.Hold()
	defer hold.Release()
	path, err := hold.File(ctx, in.Path)
	if lost(err) {
		return nil, notWhole(err)
	}
	if err != nil {
		return nil, err
	}
	if err := steps.Next(ctx); err != nil {
		return nil, err
	}
	defer steps.End()
	// What is written anew gets a sum of its own: damage would not be noticed any more.
	if err := n.broken(ctx, path, in); err != nil {
		if errors.Is(err, errUnreadable) {
			return nil, err
		}
		return nil, notWhole(err)
	}
	f, err := dicomio.OpenContext(ctx, path, dicomio.Options{Limits: n.opt.Limits})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Truncated(); err != nil {
		return nil, err
	}
	ds := f.DataSet
	changed := putPatient(ds, m, at)
	if err := ds.Err(); err != nil || !changed {
		return nil, err
	}
	v = &version{former: in, person: recorded(result.PersonOf(ds.String(tag.PatientID), ds.String(tag.IssuerOfPatientID), ds.String(tag.PatientName),
		ds.String(tag.PatientBirthDate), ds.String(tag.PatientSex)))}
	write := func() error {
		v.in, err = n.spool.Begin(part10.Meta{SOPClassUID: in.SOPClassUID, SOPInstanceUID: in.SOPInstanceUID, TransferSyntaxUID: in.TransferSyntaxUID,
			SourceAETitle: in.CallingAE})
		if err != nil {
			return err
		}
		if err := dicomio.Write(v.in, ds, dicomio.WriteOptions{TransferSyntax: f.TransferSyntax, Bare: true}); err != nil {
			return errors.Join(err, v.in.Abort())
		}
		return nil
	}
	err = write()
	if errors.Is(err, dicomio.ErrCharset) { // it has not all letters of the patient's ID and name
		of := cmp.Or(strings.Join(ds.Strings(tag.SpecificCharacterSet), `\`), "its default, ASCII")
		if ds.Recode() != nil {
			return nil, conflict(fmt.Sprintf("the character set of the object (%.64q) has not all letters of the patient's ID and name, and cannot be "+
				"changed, since the object holds text that it does not allow: write them with letters that it has, or correct the study where it "+
				"comes from and send it again", of))
		}
		err = write()
	}
	if err != nil {
		return nil, err
	}
	return v, nil
}

// putPatient gives a data set the patient of an order, and keeps what it had in
// Original Attributes Sequence (PS3.3 C.12.1); false: it had that patient. What
// does not go in is the data set's error.
func putPatient(ds *dicomio.DataSet, m Move, at time.Time) (changed bool) {
	former := dicomio.NewDataSet()
	former.CopyFrom(ds, slices.DeleteFunc(slices.Clone(patientTags), func(t dicomio.Tag) bool { return !ds.Has(t) })...)
	set := func(t dicomio.Tag, v string) bool {
		if v == "" || ds.String(t) == v {
			return false
		}
		changed = true
		ds.SetString(t, v)
		return true
	}
	identified := set(tag.PatientID, m.To.ID)
	if set(tag.IssuerOfPatientID, m.To.Issuer) || identified {
		ds.Delete(tag.TypeOfPatientID, tag.IssuerOfPatientIDQualifiersSequence)
	}
	set(tag.PatientName, m.To.Name)
	if set(tag.PatientBirthDate, m.To.BirthDate) {
		ds.Delete(tag.PatientAge) // follows from the dates
	}
	set(tag.PatientSex, m.To.Sex)
	if changed {
		modification := dicomio.NewDataSet().SetItems(tag.ModifiedAttributesSequence, former).
			SetString(tag.AttributeModificationDateTime, at.Format("20060102150405.000000-0700")).
			SetString(tag.ModifyingSystem, result.Manufacturer).SetEmpty(tag.SourceOfPreviousValues).
			SetString(tag.ReasonForTheAttributeModification, m.Reason)
		ds.AddItem(tag.OriginalAttributesSequence, modification)
	}
	return changed
}

// notWhole refuses a move of what is not what was received.
func notWhole(err error) error {
	return conflict(fmt.Sprintf("it is damaged or missing where it is stored: send it again or remove it, then move the study (%v)", err))
}
