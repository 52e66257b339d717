package node

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

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
	n.mustSend(t, picture(t, "1.2.3", "1.2.3.10", 7, ofPerson("0", "Mueller^Anna", "19400203", "F")),
		picture(t, "1.2.4", "1.2.4.10", 8, ofPerson("0", "Mueller^Hans", "19800202", "M")))
	eventually(t, "done", func() bool {
		return n.status(t, "1.2.3").State == store.Done && n.status(t, "1.2.4").State == store.Done
	})
	forget := func(sop string) {
		t.Helper()
		in, err := n.store.Instance(t.Context(), sop)
		if err == nil {
			in.Family, in.Given, in.Sex, in.Born = "0f5a9c3b7d1e2468", "", "", "8642e1d7b3c9a5f0"
			err = n.store.SetPerson(t.Context(), in)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	forget("1.2.3.10")
	forget("1.2.4.10")
	if _, err := n.MergePatient(t.Context(), "0", "", Move{To: Patient{ID: "NEW"}, Reason: ReasonCoerce}); !errors.As(err, new(badRequest)) ||
		!strings.Contains(err.Error(), "2 persons") {
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
	if _, err := n.MoveStudy(t.Context(), "1.2.3", Move{To: Patient{ID: "NEW"}, Reason: ReasonCorrect}); !errors.As(err, new(badRequest)) ||
		!strings.Contains(err.Error(), "2 persons") {
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
	if got, err := n.persons(t.Context(), "1.2.4"); err != nil || len(got) != 1 || got[0].ID != in.Patient || got[0] != got[0].IDOnly() {
		t.Errorf("of a damaged object: %+v, %v", got, err)
	}
	if err := os.Remove(in.Path); err != nil {
		t.Fatal(err)
	}
	forget("1.2.4.10")
	if got, err := n.persons(t.Context(), "1.2.4"); err != nil || len(got) != 1 || got[0].ID != in.Patient || got[0] != got[0].IDOnly() {
		t.Errorf("of an object that is gone: %+v, %v", got, err)
	}
}

// One object of a study of before that is gone leaves the study what it was: of
// one patient. What cannot be read at this moment is not taken for gone.
func TestPersonsOfBeforePartlyGone(t *testing.T) {
	dir := t.TempDir()
	n := start(t, dir, byContent(t), Options{Idle: time.Hour, Cap: 2 * time.Hour})
	jane := ofPerson("P1", "Doe^Jane", "19400101", "F")
	n.mustSend(t, picture(t, "1.2.3", "1.2.3.10", 7, jane), picture(t, "1.2.3", "1.2.3.11", 8, jane), picture(t, "1.2.3", "1.2.3.12", 9, jane))
	before := func(sop string, p store.Person) store.Instance {
		t.Helper()
		in, err := n.store.Instance(t.Context(), sop)
		if err == nil {
			p.Patient = in.Patient
			in.Person = p
			err = n.store.SetPerson(t.Context(), in)
		}
		if err != nil {
			t.Fatal(err)
		}
		return in
	}
	digest := func(s string) string {
		sum := sha256.Sum256([]byte(s))
		return hex.EncodeToString(sum[:8])
	}
	was := store.Person{Family: digest("Doe"), Born: digest("19400101")}
	gone := before("1.2.3.10", was)
	away := before("1.2.3.11", was)
	before("1.2.3.12", store.Person{Given: "what a correction by the program of before left", Sex: "M"})
	// A file that cannot be opened now.
	err := errors.Join(os.Remove(gone.Path), os.Rename(away.Path, away.Path+"x"), os.Symlink(away.Path, away.Path))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.persons(t.Context(), "1.2.3"); !errors.As(err, new(*fs.PathError)) {
		t.Errorf("what cannot be read now: %v", err)
	}
	if now, err := n.store.Instance(t.Context(), "1.2.3.11"); err != nil || now.Person != away.Person {
		t.Errorf("%+v, %v", now.Person, err)
	}
	// The disk is away.
	if err := errors.Join(os.Remove(away.Path), os.Rename(away.Path+"x", away.Path), os.Rename(filepath.Dir(away.Path), filepath.Dir(away.Path)+"x")); err != nil {
		t.Fatal(err)
	}
	before("1.2.3.11", was)
	if _, err := n.persons(t.Context(), "1.2.3"); !errors.As(err, new(*fs.PathError)) {
		t.Errorf("a folder that is away: %v", err)
	}
	if err := os.Rename(filepath.Dir(away.Path)+"x", filepath.Dir(away.Path)); err != nil {
		t.Fatal(err)
	}
	got, err := n.persons(t.Context(), "1.2.3")
	if err != nil || result.Patients(got) != 1 || len(got) != 2 || !slices.Contains(got, result.PersonOf("P1", "", "Doe^Jane", "19400101", "F")) {
		t.Errorf("%+v, %v", got, err)
	}
	if left, err := n.store.Unread(t.Context(), "1.2.3", result.Form); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// One object of a study of before without Patient IDs that is gone is of the same
// patient as those that have had the same name and birth date, whatever a program
// of before put for the ID; it is healed when it is sent again.
func TestPersonsOfBeforeWithoutID(t *testing.T) {
	for name, former := range map[string]string{"one patient": "what stood for both", "two patients": "what stood for another"} {
		t.Run(name, func(t *testing.T) {
			n := start(t, t.TempDir(), byContent(t), Options{Idle: time.Hour, Cap: 2 * time.Hour})
			jane := ofPerson("", "Doe^Jane", "19400101", "F")
			first := picture(t, "1.2.3", "1.2.3.10", 7, jane)
			n.mustSend(t, first, picture(t, "1.2.3", "1.2.3.11", 8, jane))
			for sop, id := range map[string]string{"1.2.3.10": former, "1.2.3.11": "what stood for both"} {
				in, err := n.store.Instance(t.Context(), sop)
				if err == nil {
					in.Person = store.Person{Patient: id, Family: "of before"}
					err = n.store.SetPerson(t.Context(), in)
				}
				if err == nil && sop == "1.2.3.10" {
					err = os.Remove(in.Path)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			got, err := n.persons(t.Context(), "1.2.3")
			want := 1
			if former != "what stood for both" {
				want = 2
			}
			if err != nil || result.Patients(got) != want {
				t.Errorf("%d patients: %+v, %v", result.Patients(got), got, err)
			}
			n.mustSend(t, first)
		})
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
