package node

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/pipeline/objects"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/pipeline/store"
)

// persons lists the different persons that the objects of a study name.
func (n *Node) persons(ctx context.Context, study string) ([]result.Person, error) {
	if err := n.readPersons(ctx, study); err != nil {
		return nil, err
	}
	named, err := n.store.Persons(ctx, study)
	if err != nil {
		return nil, err
	}
	persons := make([]result.Person, len(named))
	for i, p := range named {
		persons[i] = personIs(p)
	}
	return persons, nil
}

// readPersons reads in the objects themselves of whom they are where a program
// of before has recorded it in another form. Of an object that is gone or damaged
// its ID is all that is known. Where that stood for the name and birth date of
// somebody without one, other objects say which.
func (n *Node) readPersons(ctx context.Context, study string) error {
	left, err := n.store.Unread(ctx, study, result.Form)
	if err != nil || len(left) == 0 {
		return err
	}
	hold := n.files.Hold()
	defer hold.Release()
	var lost []int
	named := map[string]store.Person{} // persons without an ID, by what stood for it before
	for i, in := range left {
		id, gone, err := n.identityOf(ctx, hold, in.Path)
		if err != nil {
			return err
		}
		if gone != nil {
			n.log.Warn("whose an object is cannot be read again", "object", in.SOPInstanceUID, "error", gone)
			lost = append(lost, i)
			continue
		}
		left[i].Person = personOf(id)
		if _, known := named[in.Patient]; !known && personIs(left[i].Person).WithoutID() {
			named[in.Patient] = left[i].Person
		}
	}
	for _, i := range lost {
		in := &left[i]
		p, known := named[in.Patient]
		if !known {
			p = recorded(personIs(in.Person).IDOnly())
		}
		in.Person = p
	}
	for _, in := range left {
		if err := n.store.SetPerson(ctx, in); err != nil {
			return err
		}
	}
	return nil
}

// identityOf reads what an object says it is. gone is why nobody can any more, err
// why it isn't possible now.
func (n *Node) identityOf(ctx context.Context, hold *objects.Hold, name string) (id dicomio.Identity, gone, err error) {
	path, err := hold.File(ctx, name)
	if lost(err) {
		return id, err, nil
	}
	if err != nil {
		return id, nil, err
	}
	id, gone = dicomio.IdentifyFile(ctx, path, dicomio.Options{})
	var file *fs.PathError
	switch {
	case gone == nil:
		return id, nil, nil
	case ctx.Err() != nil || errors.As(gone, &file) && !errors.Is(gone, fs.ErrNotExist):
		return id, nil, gone
	case file != nil:
		// Without its folder the whole disk may not be there.
		_, err := os.Stat(filepath.Dir(path))
		return id, gone, err
	}
	return id, gone, nil
}

// personIs is a person as results know it, recorded as the store does.
func personIs(p store.Person) result.Person {
	return result.Person{ID: p.Patient, Issuer: p.Issuer, Family: p.Family, Given: p.Given, Born: p.Born, Sex: p.Sex}
}

func recorded(p result.Person) store.Person {
	return store.Person{Patient: p.ID, Issuer: p.Issuer, Family: p.Family, Given: p.Given, Born: p.Born, Sex: p.Sex}
}
