package node

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"github.com/riverqueue/river"

	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/pipeline/store"
)

// analyseArgs name one revision of a study to analyse.
type analyseArgs struct {
	Study    string `json:"study"`
	Revision int    `json:"revision"`
}

// Kind implements river.JobArgs.
func (analyseArgs) Kind() string { return "analyse" }

func (n *Node) enqueueAnalysis(ctx context.Context, tx *sql.Tx, study string, revision int) error {
	_, err := n.jobs.InsertTx(ctx, tx, analyseArgs{study, revision}, &river.InsertOpts{Queue: analysisQueue, MaxAttempts: n.opt.Attempts})
	return err
}

// Reanalyse starts a new run of a study that is done or failed.
func (n *Node) Reanalyse(ctx context.Context, study string) error {
	return n.store.Requeue(ctx, study, func(tx *sql.Tx, revision int) error {
		return n.enqueueAnalysis(ctx, tx, study, revision)
	})
}

type analyseWorker struct {
	river.WorkerDefaults[analyseArgs]
	node *Node
}

// NextRetry waits as long as a passing fault (a full disk, a busy GPU) may
// need: 10 s, 40 s, 90 s, ...
func (w *analyseWorker) NextRetry(job *river.Job[analyseArgs]) time.Time {
	return time.Now().Add(time.Duration(10*job.Attempt*job.Attempt) * time.Second)
}

// Work implements river.Worker.
func (w *analyseWorker) Work(ctx context.Context, job *river.Job[analyseArgs]) error {
	n, args := w.node, job.Args
	log := n.log.With("study", args.Study, "revision", args.Revision)
	study, err := n.store.Study(ctx, args.Study)
	if errors.Is(err, store.ErrNotFound) {
		return river.JobCancel(err)
	}
	if err != nil {
		return err
	}
	if study.Revision != args.Revision || study.State == store.Receiving {
		log.Info("analysis skipped: the study has received more and will be analysed again")
		return nil
	}
	if study.State == store.Done {
		return nil // finished just before the process was killed
	}
	start := time.Now()
	bounded, cancel := context.WithTimeout(ctx, n.opt.Timeout)
	defer cancel()
	err = n.analyse(bounded, args)
	switch {
	case err == nil:
		n.metrics.analysed("done", time.Since(start))
		log.Info("study analysed", "took", time.Since(start).Round(time.Millisecond))
		return nil
	case ctx.Err() != nil && bounded.Err() != context.DeadlineExceeded:
		// The node is stopping: the job goes on at the next start.
		return river.JobSnooze(0)
	}
	final := job.Attempt >= job.MaxAttempts || errors.As(err, new(*PatientsError))
	n.metrics.analysed("failed", time.Since(start))
	log.Error("analysis failed", "attempt", job.Attempt, "final", final, "error", err)
	err = errors.Join(err, n.store.FailRun(context.WithoutCancel(ctx), args.Study, args.Revision, err, final))
	if final {
		return river.JobCancel(err)
	}
	return err
}

// analyse runs one revision and records what it made. A panic is an error: it
// must end in the study's state like any other failure.
func (n *Node) analyse(ctx context.Context, args analyseArgs) (err error) {
	defer func() {
		if r := recover(); r != nil {
			n.log.Error("analysis panicked", "study", args.Study, "panic", r, "stack", string(debug.Stack()))
			err = fmt.Errorf("analysis panicked: %v", r)
		}
	}()
	run, err := n.store.StartRun(ctx, args.Study, args.Revision)
	if err != nil {
		return err
	}
	instances, err := n.store.Instances(ctx, args.Study)
	if err != nil {
		return err
	}
	patients, err := n.store.Patients(ctx, args.Study)
	if err != nil {
		return err
	}
	if patients > 1 {
		return &PatientsError{Patients: patients}
	}
	predecessor, err := n.predecessor(ctx, args)
	if err != nil {
		return err
	}
	run.Directory = filepath.Join(n.studyDir(args.Study), strconv.Itoa(args.Revision))
	unlock := n.studies.lock(args.Study)
	err = errors.Join(os.RemoveAll(run.Directory), os.MkdirAll(run.Directory, 0o750))
	unlock()
	if err != nil {
		return fmt.Errorf("results directory: %w", err)
	}
	req := Request{StudyInstanceUID: args.Study, Dir: run.Directory, Revision: args.Revision, Predecessor: predecessor,
		Progress: func(done, total int) { n.progress(args.Study, done, total) }}
	defer n.progress(args.Study, 0, 0)
	for _, in := range instances {
		req.Files = append(req.Files, in.Path)
	}
	doc, err := n.processor.Process(ctx, req)
	if err != nil {
		return err
	}
	outputs, err := n.record(&run, doc)
	if err != nil {
		return err
	}
	routes := make([]store.Route, len(n.opt.Destinations))
	for i, d := range n.opt.Destinations {
		routes[i] = store.Route{Destination: d.Name, Kinds: d.Kinds}
	}
	return n.store.FinishRun(ctx, run, outputs, routes, func(tx *sql.Tx, destination string) error {
		return n.enqueueDelivery(ctx, tx, run.ID, destination)
	})
}

// PatientsError is why a study that holds objects of several patients is not
// analysed. Whose the values would be nobody can tell but a person: nothing is
// sent until the objects that are wrong are corrected (sent again with the right
// Patient ID) or removed.
type PatientsError struct{ Patients int }

func (e *PatientsError) Error() string {
	return fmt.Sprintf("objects of %d patients under one Study Instance UID: nothing is reported until the wrong ones are corrected or removed", e.Patients)
}

// progress notes how far the analysis of a study is; a total of 0 ends it.
func (n *Node) progress(study string, done, total int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if total == 0 {
		delete(n.at, study)
	} else {
		n.at[study] = [2]int{done, total}
	}
}

// record writes the document beside the outputs, makes all of them durable
// and lists the DICOM objects among them.
func (n *Node) record(run *store.Run, doc *result.Document) ([]store.Output, error) {
	b, err := doc.Encode()
	if err != nil {
		return nil, fmt.Errorf("encode result: %w", err)
	}
	if err := os.WriteFile(filepath.Join(run.Directory, "result.json"), b, 0o640); err != nil {
		return nil, err
	}
	if err := syncTree(run.Directory); err != nil {
		return nil, err
	}
	var outputs []store.Output
	for _, s := range doc.Studies {
		for _, o := range s.Outputs {
			if o.SOPInstanceUID != "" {
				outputs = append(outputs, store.Output{SOPInstanceUID: o.SOPInstanceUID, SOPClassUID: o.SOPClassUID, Kind: o.Kind, Path: o.File})
			}
		}
	}
	summary, err := json.Marshal(Summarize(doc))
	if err != nil {
		return nil, err
	}
	run.Summary = string(summary)
	return outputs, nil
}

// Summary is what the status page shows of a run.
type Summary struct {
	Analysed     int                  `json:"loops_analysed"`
	Refused      int                  `json:"loops_refused"`
	Failed       int                  `json:"loops_failed"`
	Measurements []result.Measurement `json:"measurements"`
}

// Summarize counts a document's loops and keeps the values that were measured.
func Summarize(doc *result.Document) Summary {
	var s Summary
	for _, st := range doc.Studies {
		for _, l := range st.Loops {
			switch l.Status {
			case result.Analysed:
				s.Analysed++
			case result.Refused:
				s.Refused++
			default:
				s.Failed++
			}
		}
		for _, m := range st.Measurements {
			if m.Value != nil {
				s.Measurements = append(s.Measurements, m)
			}
		}
	}
	return s
}

// predecessor is the report of the latest finished run before this one.
func (n *Node) predecessor(ctx context.Context, args analyseArgs) (*store.Output, error) {
	deliveries, err := n.store.Outputs(ctx, args.Study)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(deliveries, func(o store.RunOutput) bool {
		return o.Kind == result.KindReport && o.Revision < args.Revision
	})
	if i < 0 {
		return nil, nil
	}
	return &deliveries[i].Output, nil
}

// studyDir is where a study's results are kept. UIDs from the network do not
// become paths.
func (n *Node) studyDir(study string) string {
	sum := sha256.Sum256([]byte(study))
	return filepath.Join(n.opt.ResultsDir, hex.EncodeToString(sum[:studyDirBytes]))
}

// studyDirBytes is how much of its digest names a study's directory.
const studyDirBytes = 12

// syncTree makes the files of a directory durable, and their names.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}
