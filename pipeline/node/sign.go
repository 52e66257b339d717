package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/echonode/echonode/pipeline/objects"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/pipeline/store"
)

// Reissuer makes the outputs of a result that a reader has signed. A Processor
// that can do so implements it.
type Reissuer interface {
	// Reissue makes the outputs of the document's only study in Dir, which
	// exists and is empty, and lists them in it.
	Reissue(ctx context.Context, req ReissueRequest) error
}

// ReissueRequest is a result that outputs are made of.
type ReissueRequest struct {
	Document    *result.Document
	Files       map[string]string // names of the source objects, by SOP Instance UID
	Objects     *objects.Hold     // gives their files
	Dir         string
	Revision    int
	Predecessor *store.Output
	Own         map[string]*store.Output // see Request
	// Silent makes no object: the site sends nothing for this verdict.
	Silent bool
}

// SignRequest is a reader's word on a study.
type SignRequest struct {
	// Document holds the study as signed, with its Review.
	Document *result.Document
	// Base is the run whose result the reader looked at.
	Base   store.Run
	Review store.Review
	Silent bool
}

// signedBasis begins the bases of runs that readers have signed.
const signedBasis = "signed "

// ErrCannotSign says that this node's processor makes no outputs of signed
// results.
var ErrCannotSign = errors.New("signing is not possible here")

// Sign makes the outputs of a result that a reader has signed and has them
// delivered like all others. Everything is recorded in one step at the end: a
// node that dies before has signed nothing, one that dies after delivers. An
// error wrapping store.ErrOutdated says that the study has gone on meanwhile.
func (n *Node) Sign(ctx context.Context, req SignRequest) (revision int, err error) {
	reissuer, ok := n.processor.(Reissuer)
	if !ok || len(req.Document.Studies) != 1 {
		return 0, ErrCannotSign
	}
	study := req.Document.Studies[0].StudyInstanceUID
	now, err := n.store.Study(ctx, study)
	if err != nil {
		return 0, err
	}
	if now.State != store.Done || now.Revision != req.Base.Revision {
		return 0, fmt.Errorf("study %s: %w", study, store.ErrOutdated)
	}
	run := store.Run{StudyInstanceUID: study, Revision: req.Base.Revision + 1, Started: req.Review.Signed, Basis: signedBasis + rand.Text()}
	// A directory of its own, so that two readers who sign at once do not write
	// into each other's; the one who comes second removes his.
	w, err := n.workplace(ctx, &run, fmt.Sprintf("%d-signed-%s", run.Revision, rand.Text()[:8]))
	if err != nil {
		return 0, err
	}
	defer w.close()
	keep := false
	defer func() {
		if err != nil && !keep {
			err = errors.Join(err, w.drop(ctx))
		}
	}()
	hold := n.files.Hold()
	defer hold.Release()
	predecessor, own, err := n.predecessors(ctx, study, run.Revision)
	if err != nil {
		return 0, err
	}
	instances, err := n.store.Instances(ctx, study)
	if err != nil {
		return 0, err
	}
	files := make(map[string]string, len(instances))
	for _, in := range instances {
		files[in.SOPInstanceUID] = in.Path
		Expect(hold, in)
	}
	if err := reissuer.Reissue(ctx, ReissueRequest{Document: req.Document, Files: files, Dir: w.dir, Objects: hold, Revision: run.Revision,
		Predecessor: predecessor, Own: own, Silent: req.Silent}); err != nil {
		return 0, fmt.Errorf("outputs: %w", err)
	}
	outputs, err := n.record(ctx, &run, w, req.Document)
	if err != nil {
		return 0, err
	}
	routes, err := n.routes(ctx, &run)
	if err != nil {
		return 0, err
	}
	signed, err := n.store.Sign(ctx, req.Review, run, req.Base, outputs, routes, n.jobs.Deliver)
	if err != nil {
		if signed, keep, err = n.perhapsSigned(ctx, run, err); err != nil {
			return 0, err
		}
	}
	n.log.Info("study signed", "study", study, "revision", signed.Revision, "verdict", req.Review.Verdict)
	return signed.Revision, nil
}

// perhapsSigned looks what has become of a run whose signing ended with an error:
// the answer to a step that was done may be lost. keep says that the run's files
// are needed, or may be: those that nothing names go with the study.
func (n *Node) perhapsSigned(ctx context.Context, run store.Run, failed error) (signed store.Run, keep bool, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookAfter)
	defer cancel()
	runs, err := n.store.Runs(ctx, run.StudyInstanceUID)
	if err != nil {
		return signed, true, errors.Join(failed, err)
	}
	i := slices.IndexFunc(runs, func(r store.Run) bool { return r.Directory == run.Directory })
	if i < 0 {
		return signed, false, failed
	}
	n.log.Warn("the database said that signing failed, and did it", "study", run.StudyInstanceUID, "error", failed)
	return runs[i], true, nil
}

// lookAfter is how long the database may take to say what has become of a step
// whose answer was lost.
const lookAfter = 10 * time.Second
