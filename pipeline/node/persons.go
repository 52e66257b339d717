package node

import (
	"context"

	"github.com/echonode/echonode/dicomio"
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
// of before has recorded less of it than is needed to tell patients apart. Of an
// object that cannot be read any more its ID is all that is known.
func (n *Node) readPersons(ctx context.Context, study string) error {
	left, err := n.store.Unread(ctx, study)
	if err != nil || len(left) == 0 {
		return err
	}
	hold := n.files.Hold()
	defer hold.Release()
	for _, in := range left {
		path, err := hold.File(ctx, in.Path)
		if err == nil {
			var id dicomio.Identity
			if id, err = dicomio.IdentifyFile(ctx, path, dicomio.Options{}); err == nil {
				in.Person = personOf(id)
			} else if ctx.Err() == nil {
				n.log.Warn("whose an object is cannot be read again", "object", in.SOPInstanceUID, "error", err)
				in.Family, err = "", nil
			}
		} else if lost(err) {
			n.log.Warn("whose an object is cannot be read again", "object", in.SOPInstanceUID, "error", err)
			in.Family, err = "", nil
		}
		if err != nil {
			return err
		}
		if err := n.store.SetPerson(ctx, in); err != nil {
			return err
		}
	}
	return nil
}

// personIs is a person as results know it, recorded as the store does.
func personIs(p store.Person) result.Person {
	return result.Person{ID: p.Patient, Issuer: p.Issuer, Family: p.Family, Given: p.Given, Born: p.Born, Sex: p.Sex}
}

func recorded(p result.Person) store.Person {
	return store.Person{Patient: p.ID, Issuer: p.Issuer, Family: p.Family, Given: p.Given, Born: p.Born, Sex: p.Sex}
}
