package node

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/pipeline/store"
)

func ofPerson(id, name, born, sex string) func(*dicomio.DataSet) {
	return func(ds *dicomio.DataSet) {
		ds.SetString(tag.PatientID, id).SetString(tag.PatientName, name).SetString(tag.PatientBirthDate, born).SetString(tag.PatientSex, sex)
	}
}

// One patient whose objects are written in different ways is one.
func TestOnePatientWrittenDifferently(t *testing.T) {
	dir := t.TempDir()
	n := start(t, dir, &fakeProcessor{t: t}, Options{})
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.10", ofPerson("P1", "Mueller^Anna", "19400203", "F")),
		writeObject(t, dir, "1.2.3", "1.2.3.11", ofPerson("P1", "MUELLER^ANNA^MARIA^^", "19400203", "")),
		writeObject(t, dir, "1.2.3", "1.2.3.12", ofPerson("P1", "Mueller^A", "", "F")))
	eventually(t, "done", func() bool { return n.status(t, "1.2.3").State == store.Done })
}

// What a program of before has recorded tells no persons apart: the objects are
// read again before anything is made of them, moved or merged. Of one that
// cannot be read the ID has to do.
func TestPersonsOfBefore(t *testing.T) {
	dir := t.TempDir()
	n := start(t, dir, byContent(t), Options{})
	n.mustSend(t, picture(t, "1.2.3", "1.2.3.10", 7, ofPerson("0", "Mueller^Anna", "19400203", "F")), picture(t, "1.2.4", "1.2.4.10", 8, ofPerson("0", "Mueller^Hans", "19800202", "M")))
	eventually(t, "done", func() bool {
		return n.status(t, "1.2.3").State == store.Done && n.status(t, "1.2.4").State == store.Done
	})
	forget := func(sop string) {
		t.Helper()
		in, err := n.store.Instance(t.Context(), sop)
		if err == nil {
			in.Family, in.Given, in.Sex = "0f5a9c3b7d1e2468", "", ""
			err = n.store.SetPerson(t.Context(), in)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	forget("1.2.3.10")
	forget("1.2.4.10")
	if _, err := n.MergePatient(t.Context(), "0", "", Move{To: Patient{ID: "NEW"}, Reason: ReasonCoerce}); !errors.As(err, new(badRequest)) || !strings.Contains(err.Error(), "2 persons") {
		t.Errorf("two persons are merged: %v", err)
	}
	if in, err := n.store.Instance(t.Context(), "1.2.3.10"); err != nil || in.Person != recorded(result.PersonOf("0", "", "Mueller^Anna", "19400203", "F")) {
		t.Errorf("%+v, %v", in.Person, err)
	}
	// A late object of another person, under a study of before.
	forget("1.2.3.10")
	n.mustSend(t, picture(t, "1.2.3", "1.2.3.11", 9, ofPerson("0", "Mueller^Hans", "19800202", "M")))
	eventually(t, "held", func() bool {
		s := n.status(t, "1.2.3")
		return s.State == store.Failed && strings.Contains(s.Error, "2 patients")
	})
	forget("1.2.3.10")
	if _, err := n.MoveStudy(t.Context(), "1.2.3", Move{To: Patient{ID: "NEW"}, Reason: ReasonCorrect}); !errors.As(err, new(badRequest)) || !strings.Contains(err.Error(), "2 persons") {
		t.Errorf("two persons are moved: %v", err)
	}
	forget("1.2.4.10")
	in, err := n.store.Instance(t.Context(), "1.2.4.10")
	if err == nil {
		err = os.WriteFile(in.Path, []byte("damaged"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got, err := n.persons(t.Context(), "1.2.4"); err != nil || len(got) != 1 || got[0].ID != in.Patient || got[0].Family != "" {
		t.Errorf("of a damaged object: %+v, %v", got, err)
	}
	if err := os.Remove(in.Path); err != nil {
		t.Fatal(err)
	}
	forget("1.2.4.10")
	if got, err := n.persons(t.Context(), "1.2.4"); err != nil || len(got) != 1 || got[0].ID != in.Patient || got[0].Family != "" {
		t.Errorf("of an object that is gone: %+v, %v", got, err)
	}
}

// A study that is corrected object by object from one person to another with the
// same ID is held on the way, and what was sent of the first is taken back.
func TestCorrectionToAnotherPerson(t *testing.T) {
	n, pacs, p := told(t)
	anna, hans := ofPerson("0", "Mueller^Anna", "19400203", "F"), ofPerson("0", "Mueller^Hans", "19800202", "M")
	done := func() bool { s := n.status(t, "1.2.3"); return s.State == store.Done && s.Finished() }
	n.mustSend(t, picture(t, "1.2.3", "1.2.3.10", 7, anna), picture(t, "1.2.3", "1.2.3.11", 8, anna))
	eventually(t, "the report", func() bool { return done() && pacs.objects() == 1 })
	n.mustSend(t, picture(t, "1.2.3", "1.2.3.10", 7, hans))
	eventually(t, "held, with a note", func() bool {
		s := n.status(t, "1.2.3")
		return s.State == store.Failed && s.Finished() && strings.Contains(s.Error, "2 patients") && pacs.objects() == 2
	})
	n.mustSend(t, picture(t, "1.2.3", "1.2.3.11", 8, hans))
	eventually(t, "the other's report", func() bool { return done() && pacs.objects() == 3 })
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.notes) != 1 {
		t.Errorf("%d notes", len(p.notes))
	}
}
