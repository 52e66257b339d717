package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/echonode/echonode/pipeline/objects"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/pipeline/store"
)

// Withdrawer makes objects that say that others are not to be used any more. A
// Processor that can do so implements it.
type Withdrawer interface {
	// Withdraw writes such an object about the objects of some files, all of one
	// study and patient, as path.
	Withdraw(ctx context.Context, files []string, path string) (result.Output, error)
}

// withdrawals are objects for destinations that want to be told which results
// they have under a patient that the study is not of any more: it was moved, or
// corrected by the archive. made is what this run has made.
func (n *Node) withdrawals(ctx context.Context, run *store.Run, made []store.Output) ([]store.Output, error) {
	if len(made) == 0 {
		return nil, nil
	}
	hold := n.files.Hold()
	defer hold.Release()
	now, err := personIn(ctx, hold, made[0].Path)
	if err != nil {
		return nil, err
	}
	return n.withdrawWrong(ctx, run, made, hold, func(_ store.Delivery, p result.Person) bool { return result.Patients([]result.Person{p, now}) > 1 })
}

// note ends a run that makes no results. What was sent before is withdrawn all
// the same: everything where no loop is left, else what was made of loops that
// are another patient's now.
func (n *Node) note(ctx context.Context, run store.Run, state store.State, reason error) error {
	run.Directory = n.files.Name(resultsFolder, studyFolder(run.StudyInstanceUID), runFolder(run.Revision, run.Attempt))
	wrong := func(store.Delivery, result.Person) bool { return true }
	if !errors.Is(reason, errNoLoops) {
		now, err := n.personsNow(ctx, run.StudyInstanceUID)
		if err != nil {
			return err
		}
		wrong = func(x store.Delivery, p result.Person) bool {
			return slices.ContainsFunc(now(x.RunID), func(q result.Person) bool { return result.Patients([]result.Person{p, q}) > 1 })
		}
	}
	hold := n.files.Hold()
	defer hold.Release()
	notes, err := n.withdrawWrong(ctx, &run, nil, hold, wrong)
	if err != nil {
		return err
	}
	routes := make([]store.Route, len(n.opt.Destinations))
	for i, d := range n.opt.Destinations {
		routes[i] = store.Route{Destination: d.Name} // notes say where they go
	}
	return n.store.NoteRun(ctx, run, state, reason, notes, routes, n.jobs.Deliver)
}

// personsNow says of whom the loops are now that earlier runs of a study were
// made of.
func (n *Node) personsNow(ctx context.Context, study string) (func(run int64) []result.Person, error) {
	if err := n.readPersons(ctx, study); err != nil {
		return nil, err
	}
	instances, err := n.store.Instances(ctx, study)
	if err != nil {
		return nil, err
	}
	of := map[string]result.Person{}
	for _, in := range instances {
		of[in.SOPInstanceUID] = personIs(in.Person)
	}
	runs, err := n.store.Runs(ctx, study)
	if err != nil {
		return nil, err
	}
	persons := map[int64][]result.Person{}
	for _, r := range runs {
		if r.Finished.IsZero() {
			continue
		}
		doc, err := n.readResult(ctx, &r)
		if err != nil && !n.lost(&r, err) {
			return nil, err
		}
		if err != nil {
			n.log.Warn("a result that may have to be withdrawn cannot be read", "study", study, "revision", r.Revision, "error", err)
			continue
		}
		for _, st := range doc.Studies {
			for _, l := range st.Loops {
				if p, ok := of[l.SOPInstanceUID]; ok {
					persons[r.ID] = append(persons[r.ID], p)
				}
			}
		}
	}
	return func(run int64) []result.Person { return persons[run] }, nil
}

// withdrawWrong makes notes about what destinations have of earlier runs that is
// wrong.
func (n *Node) withdrawWrong(ctx context.Context, run *store.Run, made []store.Output, hold *objects.Hold,
	wrong func(store.Delivery, result.Person) bool) ([]store.Output, error) {
	w, ok := n.processor.(Withdrawer)
	if !ok || !slices.ContainsFunc(n.opt.Destinations, func(d Destination) bool { return d.Withdraws }) {
		return nil, nil
	}
	runs, err := n.store.Runs(ctx, run.StudyInstanceUID)
	if err != nil {
		return nil, err
	}
	revisions := map[int64]int{}
	for _, r := range runs {
		revisions[r.ID] = r.Revision
	}
	deliveries, err := n.store.Deliveries(ctx, run.StudyInstanceUID)
	if err != nil {
		return nil, err
	}
	persons := map[string]result.Person{} // by path
	notes := map[string]*note{}           // by the files they are about
	var order []string
	for _, d := range n.opt.Destinations {
		if !d.Withdraws {
			continue
		}
		var of []result.Person
		var paths []string
		for _, x := range standing(d.Name, deliveries, revisions, run.Revision) {
			if slices.ContainsFunc(made, func(o store.Output) bool { return o.SOPInstanceUID == x.SOPInstanceUID }) {
				continue
			}
			p, known := persons[x.Path]
			if !known {
				p, err = personIn(ctx, hold, x.Path)
				if unobtainable(err) {
					n.log.Warn("a result that may have to be withdrawn cannot be read", "object", x.SOPInstanceUID, "error", err)
					continue
				}
				if err != nil {
					return nil, fmt.Errorf("withdrawal: %w", err)
				}
				persons[x.Path] = p
			}
			if wrong(x, p) {
				of, paths = append(of, p), append(paths, x.Path)
			}
		}
		byPatient := map[int][]string{}
		for i, patient := range result.Apart(of) {
			byPatient[patient] = append(byPatient[patient], paths[i])
		}
		for _, files := range byPatient {
			slices.Sort(files)
			key := strings.Join(files, "\x00")
			if notes[key] == nil {
				notes[key] = &note{files: files}
				order = append(order, key)
			}
			notes[key].to = append(notes[key].to, d.Name)
		}
	}
	slices.Sort(order)
	var out []store.Output
	for i, key := range order {
		o, err := n.withdraw(ctx, w, run, hold, notes[key].files, fmt.Sprintf("withdrawal-%d.dcm", i+1))
		if err != nil {
			return nil, fmt.Errorf("withdrawal: %w", err)
		}
		out = append(out, store.Output{SOPInstanceUID: o.SOPInstanceUID, SOPClassUID: o.SOPClassUID, Kind: result.KindWithdrawal, Path: o.File, To: notes[key].to})
		n.log.Info("results under a former patient or study are withdrawn", "study", run.StudyInstanceUID, "objects", len(notes[key].files),
			"destinations", notes[key].to)
	}
	return out, nil
}

// standing are the deliveries of results that a destination has of revisions before
// one, and that no withdrawal since can have been about.
func standing(destination string, deliveries []store.Delivery, revisions map[int64]int, before int) (out []store.Delivery) {
	told := -1 // the revision that withdrew last: it knew of all before
	for _, x := range deliveries {
		if x.Destination == destination && x.Kind == result.KindWithdrawal {
			told = max(told, revisions[x.RunID])
		}
	}
	for _, x := range deliveries {
		has := x.Destination == destination && x.Kind != result.KindWithdrawal && (x.State == store.Sent || x.State == store.Warning)
		if r := revisions[x.RunID]; has && r >= told && r < before {
			out = append(out, x)
		}
	}
	return out
}

// withdraw has an object made about others and puts it beside the outputs of a
// run.
func (n *Node) withdraw(ctx context.Context, w Withdrawer, run *store.Run, hold *objects.Hold, names []string, base string) (o result.Output, err error) {
	files := make([]string, len(names))
	for i, name := range names {
		if files[i], err = hold.File(ctx, name); err != nil {
			return o, err
		}
	}
	if err := os.MkdirAll(n.opt.Scratch, 0o750); err != nil {
		return o, err
	}
	dir, err := os.MkdirTemp(n.opt.Scratch, "withdrawal-")
	if err != nil {
		return o, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	o, err = w.Withdraw(ctx, files, filepath.Join(dir, base))
	if err != nil {
		return o, err
	}
	// The last part of the run's folder is the only one that varies.
	parts := []string{resultsFolder, studyFolder(run.StudyInstanceUID), path.Base(run.Directory), base}
	name, err := n.files.NameOf(o.File, parts...)
	if err != nil {
		return o, err
	}
	err = n.files.Adopt(ctx, name, o.File)
	o.File = name
	return o, err
}

// note is one object about some files, for some destinations.
type note struct{ files, to []string }

// personIn reads of whom an object is.
func personIn(ctx context.Context, hold *objects.Hold, name string) (result.Person, error) {
	id, err := identityIn(ctx, hold, name)
	return personIs(personOf(id)), err
}
