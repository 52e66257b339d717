package node

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/pipeline/objects"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/pipeline/store"
)

// removeExpired deletes studies that nobody needs any more.
func (n *Node) removeExpired(ctx context.Context, before store.Retention) error {
	studies, err := n.store.Expired(ctx, before)
	if err != nil {
		return err
	}
	var errs []error
	for _, study := range studies {
		removed, err := n.remove(ctx, study, func(sent []store.SentReport) (bool, error) { return n.store.DeleteExpired(ctx, study, before, sent...) })
		if ctx.Err() != nil {
			return err
		}
		if err != nil { // it keeps no other
			errs = append(errs, fmt.Errorf("study %s: %w", study, err))
		}
		if removed {
			n.log.Info("study removed after its retention time", "study", study)
		}
	}
	return errors.Join(append(errs, n.deleteFiles(ctx))...)
}

// Remove deletes a study, whatever its state: objects, results and what is
// left to deliver.
func (n *Node) Remove(ctx context.Context, study string) error {
	if _, err := n.remove(ctx, study, func(sent []store.SentReport) (bool, error) { return true, n.store.Delete(ctx, study, sent...) }); err != nil {
		return err
	}
	n.log.Info("study removed by command", "study", study)
	return n.deleteFiles(ctx)
}

// RemovedObjects is what became of objects that were to be removed.
type RemovedObjects struct {
	State   store.State `json:"state"` // of the study now
	Objects int         `json:"objects"`
	Unsent  int64       `json:"deliveries_withdrawn"` // made with them, or beside them, and not sent yet
	Sent    int         `json:"results_sent"`         // of the study, with them or not, which stay where they are
}

// RemoveObjects deletes objects of a study. What was made with them and is not
// sent yet is not sent any more; the study is analysed again without them.
func (n *Node) RemoveObjects(ctx context.Context, study string, objects []string) (RemovedObjects, error) {
	count, unsent, err := n.store.DeleteInstances(ctx, study, objects)
	if err != nil {
		return RemovedObjects{}, err
	}
	out := RemovedObjects{Objects: count, Unsent: unsent}
	if count == 0 {
		return out, fmt.Errorf("none of these objects in study %s: %w", study, store.ErrNotFound)
	}
	n.log.Info("objects removed by command", "study", study, "objects", count, "deliveries_withdrawn", unsent)
	// They are removed, whatever cannot be told or deleted yet: files are tried again.
	err = n.deleteFiles(ctx)
	if now, serr := n.store.Study(ctx, study); serr == nil {
		out.State = now.State
	} else {
		err = errors.Join(err, serr)
	}
	deliveries, derr := n.store.Deliveries(ctx, study)
	sent := map[string]bool{}
	for _, d := range deliveries {
		if d.Kind != result.KindWithdrawal && (d.State == store.Sent || d.State == store.Warning) {
			sent[d.SOPInstanceUID] = true
		}
	}
	out.Sent = len(sent)
	if err = errors.Join(err, derr); err != nil {
		n.log.Error("after objects were removed", "study", study, "error", err)
	}
	return out, nil
}

// remove deletes the record of a study and its results, but for which reports
// destinations have of it. The record goes first, and names its files as to be deleted in the same step, so that a crash
// leaves files that are deleted later rather than records of missing ones.
func (n *Node) remove(ctx context.Context, study string, record func(sent []store.SentReport) (bool, error)) (bool, error) {
	// A new round of the study must not lose the directory it has just made.
	unlock, err := n.studies.Lock(ctx, studyFolder(study))
	if err != nil {
		return false, err
	}
	defer unlock()
	sent, err := n.sentReports(ctx, study)
	if err != nil {
		return false, err
	}
	if removed, err := record(sent); err != nil || !removed {
		return false, err
	}
	err = objects.Clear(context.WithoutCancel(ctx), n.files, n.studyResults(study))
	if err != nil {
		n.uncleared.Add(1)
	}
	return true, err
}

// sentReports are the latest reports of a study that some destination has, or may
// have.
func (n *Node) sentReports(ctx context.Context, study string) ([]store.SentReport, error) {
	deliveries, err := n.store.Deliveries(ctx, study)
	if err != nil {
		return nil, err
	}
	there := map[string]bool{}
	for _, d := range deliveries {
		if d.Kind == result.KindReport && (d.State == store.Sent || d.State == store.Warning || d.Sending) {
			there[d.SOPInstanceUID] = true
		}
	}
	reports, err := n.latestReports(ctx, study, func(o store.RunOutput) bool { return there[o.SOPInstanceUID] })
	if err != nil {
		return nil, err
	}
	hold := n.files.Hold()
	defer hold.Release()
	var sent []store.SentReport
	for _, o := range reports {
		path, err := hold.File(ctx, o.Path)
		var id dicomio.Identity
		if err == nil {
			id, err = dicomio.IdentifyFile(ctx, path, dicomio.Options{})
		}
		switch {
		case errors.Is(err, objects.ErrUnavailable) || ctx.Err() != nil:
			return nil, err
		case err != nil:
			n.log.Warn("a report cannot be read: one that follows will not name it", "study", study, "object", o.SOPInstanceUID, "error", err)
			continue
		}
		o.SeriesInstanceUID, o.Path = id.SeriesInstanceUID, ""
		sent = append(sent, store.SentReport{Output: o, Person: personOf(id)})
	}
	return sent, nil
}

// deleteFiles deletes the files of removed objects. One that was received again
// meanwhile is recorded again and no longer to be deleted: receiving and this
// exclude each other, object by object.
func (n *Node) deleteFiles(ctx context.Context) error {
	files, err := n.store.Removals(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range files {
		if err := n.deleteFile(ctx, f); err != nil {
			errs = append(errs, err)
		}
	}
	n.undeleted.Store(int64(len(errs)))
	return errors.Join(errs...)
}

func (n *Node) deleteFile(ctx context.Context, f store.Removal) error {
	unlock, err := n.objects.Lock(ctx, f.SOPInstanceUID)
	if err != nil {
		return err
	}
	defer unlock()
	return n.deleteLocked(ctx, f)
}

// deleteLocked is deleteFile for who holds the lock of the object.
func (n *Node) deleteLocked(ctx context.Context, f store.Removal) error {
	still, err := n.store.Removing(ctx, f.Path)
	if err != nil || !still {
		return err
	}
	if err := n.spool.Discard(ctx, f.Path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return n.store.Removed(ctx, f.Path)
}

// sweepResults deletes results of studies that are not recorded: the process
// died while it removed them, or something cannot be deleted. That keeps nothing
// else, and is counted.
func (n *Node) sweepResults(ctx context.Context) error {
	n.uncleared.Store(0)
	return n.sweepFolders(ctx, n.recordedFolders)
}

// sweepFolders is sweepResults, given the folders of recorded studies.
func (n *Node) sweepFolders(ctx context.Context, recorded func(context.Context) (map[string]bool, error)) error {
	var entries []objects.Entry
	for e, err := range n.files.List(ctx, n.files.Name(resultsFolder)) {
		if err != nil {
			return err
		}
		entries = append(entries, e)
	}
	if len(entries) == 0 {
		return nil
	}
	known, err := recorded(ctx)
	if err != nil {
		return err
	}
	left := slices.DeleteFunc(entries, func(e objects.Entry) bool {
		b, err := hex.DecodeString(e.Base)
		return err != nil || len(b) != studyFolderBytes || strings.ToLower(e.Base) != e.Base || known[e.Base]
	})
	for some := range slices.Chunk(left, sweptAtOnce) {
		if err := n.sweepStudies(ctx, some, recorded); err != nil {
			return fmt.Errorf("results of removed studies: %w", err)
		}
	}
	return nil
}

// sweptAtOnce is how many folders are looked for in one list of all studies:
// there may be 100,000, and all wait whose folders are being swept.
const sweptAtOnce = 16

// recordedFolders are those of all studies.
func (n *Node) recordedFolders(ctx context.Context) (map[string]bool, error) {
	studies, err := n.store.Studies(ctx)
	known := make(map[string]bool, len(studies))
	for _, s := range studies {
		known[studyFolder(s.StudyInstanceUID)] = true
	}
	return known, err
}

// sweepStudies deletes those folders of studies that are not recorded by now:
// another process may have received one while this one listed.
func (n *Node) sweepStudies(ctx context.Context, folders []objects.Entry, recorded func(context.Context) (map[string]bool, error)) error {
	names := make([]string, len(folders))
	for i, e := range folders {
		names[i] = e.Base
	}
	unlock, err := n.studies.Lock(ctx, names...)
	if err != nil {
		return err
	}
	defer unlock()
	known, err := recorded(ctx)
	if err != nil {
		return err
	}
	for _, e := range folders {
		if known[e.Base] {
			continue
		}
		err := objects.Clear(ctx, n.files, e.Name)
		if errors.Is(err, objects.ErrUnavailable) || ctx.Err() != nil {
			return err
		}
		if err != nil {
			n.uncleared.Add(1)
			n.log.Error("results of a removed study cannot be deleted", "folder", e.Name, "error", err)
		}
	}
	return nil
}
