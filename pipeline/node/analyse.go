package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/pipeline/deliver"
	"github.com/echonode/echonode/pipeline/internal/jobs"
	"github.com/echonode/echonode/pipeline/internal/turns"
	"github.com/echonode/echonode/pipeline/kept"
	"github.com/echonode/echonode/pipeline/objects"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/pipeline/store"
)

// Reanalyse starts a new run of a study that is done or failed. Loops are
// analysed anew where the network, the program or a setting has changed, or
// where time ran out before. When nothing of that changes anything, neither do
// the outputs.
func (n *Node) Reanalyse(ctx context.Context, study string) error {
	basis, _ := n.processor.Basis()
	defer n.wakeLookers()
	return n.store.Requeue(ctx, study, basis, n.jobs.Combine)
}

// combine is the job that makes a revision of a study from its loops.
func (n *Node) combine(ctx context.Context, job jobs.Job, uid string, revision int) error {
	log := n.log.With("study", uid, "revision", revision)
	study, err := n.store.Study(ctx, uid)
	if errors.Is(err, store.ErrNotFound) {
		return jobs.Cancel(err)
	}
	if err != nil {
		return err
	}
	if study.Revision != revision || study.State == store.Receiving {
		log.Info("analysis skipped: the study has received more and will be analysed again")
		return nil
	}
	if study.State == store.Done || study.State == store.Failed {
		return nil // finished just before the process was killed
	}
	start := time.Now()
	bounded, cancel := context.WithTimeout(ctx, n.opt.Timeout)
	defer cancel()
	run, err := n.analyse(bounded, uid, revision)
	switch {
	case errors.Is(err, errLoopsLeft):
		log.Info("loops of the study are analysed again", "because", err)
		return nil
	case errors.Is(err, store.ErrOutdated):
		log.Info("what was made is thrown away: objects of the study were corrected meanwhile")
		return nil
	case errors.Is(err, errNoLoops):
		log.Info("no loop is left in the study: nothing is reported of it")
		return nil
	case err == nil:
		n.metrics.analysed("done", time.Since(start))
		n.outputsFail.note(nil)
		log.Info("study analysed", "took", time.Since(start).Round(time.Millisecond))
		return nil
	case ctx.Err() != nil && bounded.Err() != context.DeadlineExceeded:
		// The node is stopping: the job goes on at the next start.
		return jobs.Later(0)
	}
	if errors.Is(err, objects.ErrUnavailable) {
		log.Warn("analysis waits for the object store", "error", err)
		return jobs.Later(storeWait)
	}
	// What failed may have been an object that another version has taken the place of.
	now, nerr := n.store.Study(context.WithoutCancel(ctx), uid)
	if nerr == nil && (now.Revision != revision || now.State == store.Receiving) && !errors.As(err, new(*panicError)) {
		log.Info("analysis ended: the study has received more meanwhile and will be analysed again", "error", err)
		return nil
	}
	final, wait := n.afterFailure(err, job, time.Since(job.Created))
	n.metrics.analysed("failed", time.Since(start))
	if !errors.As(err, new(*PatientsError)) && !errors.As(err, new(*failedLoops)) && !errors.As(err, new(*panicError)) &&
		!errors.As(err, new(*UnmakeableError)) {
		n.outputsFail.note(err)
	}
	log.Error("analysis failed", "attempt", job.Attempt, "final", final, "error", err)
	err = errors.Join(err, n.store.FailRun(context.WithoutCancel(ctx), run, err, final))
	switch {
	case final:
		return jobs.Cancel(err)
	case wait > 0:
		return jobs.Later(wait)
	}
	return err
}

// afterFailure says what becomes of a study whose outputs could not be made.
// What no time can mend is final at once. Everything else is worth trying for as
// long as a full disk may stay full: after its attempts the job only waits,
// which does not count. 0 is the wait between attempts.
func (n *Node) afterFailure(err error, job jobs.Job, age time.Duration) (final bool, wait time.Duration) {
	switch {
	case errors.As(err, new(*PatientsError)), errors.As(err, new(*failedLoops)), errors.As(err, new(*UnmakeableError)):
		return true, 0
	case !job.Last():
		return false, 0
	case age >= n.opt.RetryFor, errors.As(err, new(*panicError)):
		return true, 0
	}
	return false, min(max(age/2, backoff(1)), maxBackoff)
}

// analyse runs one revision and records what it made. The run is the attempt, and
// has the number 0 where none could be started. A panic is an error: it must end in
// the study's state like any other failure.
func (n *Node) analyse(ctx context.Context, study string, revision int) (run store.Run, err error) {
	run = store.Run{StudyInstanceUID: study, Revision: revision}
	defer func() {
		if r := recover(); r != nil {
			n.log.Error("analysis panicked", "study", study, "panic", r, "stack", string(debug.Stack()))
			err = &panicError{r}
		}
	}()
	started, err := n.store.StartRun(ctx, study, revision)
	if err != nil {
		return run, err
	}
	run = started
	return run, n.combineRun(ctx, run)
}

// combineRun makes and records the outputs of a run.
func (n *Node) combineRun(ctx context.Context, run store.Run) error {
	hold := n.files.Hold()
	defer hold.Release()
	req, err := n.request(ctx, run.StudyInstanceUID, run.Revision, hold)
	switch {
	case errors.Is(err, errNoLoops):
		if nerr := n.note(ctx, run, store.Done, err); nerr != nil {
			return nerr
		}
	case errors.As(err, new(*PatientsError)):
		if nerr := n.note(ctx, run, store.Failed, err); nerr != nil {
			return nerr
		}
	}
	if err != nil {
		return err
	}
	_, outputBasis := n.processor.Basis()
	run.Basis, err = kept.Digest([]any{outputBasis, req.Keys})
	if err != nil {
		return err
	}
	sender, err := n.store.Sender(ctx, run.StudyInstanceUID)
	if err != nil {
		return err
	}
	ctx = n.working(ctx, sender, turns.Making)
	outputs, same, err := n.unchanged(ctx, &run)
	if err != nil {
		return err
	}
	if !same {
		if err := n.forgetHarmed(ctx, req); err != nil {
			return err
		}
		outputs, err = n.make(ctx, &run, req)
		if errors.Is(err, kept.ErrNotKept) {
			return n.forgetDamaged(ctx, req)
		}
		if err != nil {
			return err
		}
		notes, err := n.withdrawals(ctx, &run, outputs)
		if err != nil {
			return err
		}
		outputs = append(outputs, notes...)
	}
	routes, err := n.routes(ctx, &run)
	if err != nil {
		return err
	}
	if err := n.store.FinishRun(ctx, run, outputs, routes, n.jobs.Deliver); err != nil || same {
		return err
	}
	var summary Summary
	if err := json.Unmarshal([]byte(run.Summary), &summary); err != nil {
		return err
	}
	n.metrics.measured(summary)
	return nil
}

// routes says what each destination gets of a run, by its rules.
func (n *Node) routes(ctx context.Context, run *store.Run) ([]store.Route, error) {
	routes := make([]store.Route, len(n.opt.Destinations))
	var facts *deliver.Facts
	for i, d := range n.opt.Destinations {
		routes[i] = store.Route{Destination: d.Name, Kinds: d.Kinds, Own: d.Own}
		if len(d.Rules) == 0 {
			continue
		}
		if facts == nil {
			f, err := n.facts(ctx, run)
			if err != nil {
				return nil, err
			}
			facts = f
		}
		rule := 0
		if routes[i].Kinds, rule = deliver.Choose(d.Rules, d.Kinds, *facts); rule > 0 {
			n.log.Info("rule of a destination", "destination", d.Name, "rule", rule, "sends", routes[i].Kinds, "study", run.StudyInstanceUID)
		}
	}
	return routes, nil
}

// facts are what the rules of destinations ask about.
func (n *Node) facts(ctx context.Context, run *store.Run) (*deliver.Facts, error) {
	doc, err := n.readResult(ctx, run)
	if err != nil {
		return nil, err
	}
	f := &deliver.Facts{Study: &result.Study{}, Ready: time.Now()}
	if len(doc.Studies) > 0 {
		f.Study = &doc.Studies[0]
	}
	if f.Sender, err = n.store.Sender(ctx, run.StudyInstanceUID); err != nil {
		return nil, err
	}
	instances, err := n.store.Instances(ctx, run.StudyInstanceUID)
	for _, in := range instances {
		if !slices.Contains(f.From, in.CallingAE) {
			f.From = append(f.From, in.CallingAE)
		}
	}
	return f, err
}

// panicError is a panic, which does not go away with time.
type panicError struct{ value any }

func (e *panicError) Error() string { return fmt.Sprintf("analysis panicked: %v", e.value) }

// UnmakeableError is what a Processor says of a study of whose results no report can
// be made, as often as it is tried.
type UnmakeableError struct{ Err error }

func (e *UnmakeableError) Error() string {
	return fmt.Sprintf("no report can be made of the study: %v", e.Err)
}
func (e *UnmakeableError) Unwrap() error { return e.Err }

// PatientsError is why a study that holds objects of several patients is not
// analysed. Whose the values would be nobody can tell but a person: nothing is
// sent until the objects that are wrong are corrected (sent again with the right
// Patient ID) or removed.
type PatientsError struct{ Patients int }

func (e *PatientsError) Error() string {
	return fmt.Sprintf("objects of %d patients under one Study Instance UID: nothing is reported until the wrong ones are corrected or removed", e.Patients)
}

// errNoLoops says that all loops of a study have gone to other studies.
var errNoLoops = errors.New("no loop is left in the study")

// errLoopsLeft says that a study cannot be combined yet. When its loops are
// there, it is tried again.
var errLoopsLeft = errors.New("loops are left to analyse")

// failedLoops are those that something has failed that is no fault of theirs.
type failedLoops struct {
	count  int
	reason string
}

func (e *failedLoops) Error() string {
	return fmt.Sprintf("the analysis of %d loops failed: %s", e.count, e.reason)
}

// request collects the results of a study's loops.
func (n *Node) request(ctx context.Context, study string, revision int, hold *objects.Hold) (Request, error) {
	req := Request{StudyInstanceUID: study, Revision: revision, Objects: hold}
	loops, err := n.store.Loops(ctx, study)
	if err != nil {
		return req, err
	}
	if len(loops) == 0 {
		return req, errNoLoops
	}
	var failed failedLoops
	left := 0
	for _, l := range loops {
		there := true
		if l.State == store.LoopDone {
			if there, err = n.keptDir(study).Has(ctx, l.Result); err != nil {
				return req, err
			}
		}
		switch {
		case l.State == store.LoopFailed:
			failed.count++
			failed.reason = l.Problem
		case l.State != store.LoopDone:
			left++
		case !there:
			n.log.Warn("the kept result of a loop has gone", "object", l.SOPInstanceUID)
			if err := n.store.ForgetLoop(ctx, l.SOPInstanceUID); err != nil {
				return req, err
			}
			left++
		default:
			req.Loops = append(req.Loops, n.loopRequest(l, hold))
			req.problems = append(req.problems, l.Problem)
			req.Keys = append(req.Keys, l.Result)
		}
	}
	persons, err := n.persons(ctx, study)
	if err != nil {
		return req, err
	}
	switch patients := result.Patients(persons); {
	case patients > 1:
		return req, &PatientsError{Patients: patients}
	case left > 0:
		n.wakeLookers()
		return req, fmt.Errorf("%d of %d: %w", left, len(loops), errLoopsLeft)
	case failed.count > 0:
		return req, &failed
	}
	if req.Predecessor, req.Own, err = n.predecessors(ctx, study, revision); err != nil {
		return req, err
	}
	former, err := n.formerReports(ctx, study)
	req.RemovedBefore = len(former) > 0
	return req, err
}

// forgetHarmed lets those loops be analysed again, that is given up with the reason,
// whose object is not what was received any more, or cannot be had: nothing may be
// drawn of it, and nobody's results be filed under what its header says now. Where
// that was found before, what is made does without it.
func (n *Node) forgetHarmed(ctx context.Context, req Request) error {
	harmed := 0
	for i, l := range req.Loops {
		if ofObject(req.problems[i]) {
			continue
		}
		gone := objectGone(ctx, l)
		if whyGone(gone) == "" {
			continue
		}
		n.log.Error("a stored object is lost", "study", l.StudyInstanceUID, "object", l.SOPInstanceUID, "error", gone)
		harmed++
		if err := n.store.ForgetLoop(ctx, l.SOPInstanceUID); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil || harmed == 0 {
		return err
	}
	n.wakeLookers()
	return fmt.Errorf("lost objects: %w", errLoopsLeft)
}

// forgetDamaged lets those loops be analysed again whose kept result cannot be
// read.
func (n *Node) forgetDamaged(ctx context.Context, req Request) error {
	for i, l := range req.Loops {
		if _, err := l.Kept.Load(ctx, req.Keys[i]); !errors.Is(err, kept.ErrNotKept) {
			continue
		}
		n.log.Warn("the kept result of a loop is damaged", "object", l.SOPInstanceUID)
		if err := l.Kept.Remove(ctx, req.Keys[i]); err != nil { // what is kept next takes its place
			n.log.Warn("it is left where it is", "object", l.SOPInstanceUID, "error", err)
		}
		if err := n.store.ForgetLoop(ctx, l.SOPInstanceUID); err != nil {
			return err
		}
	}
	n.wakeLookers()
	return fmt.Errorf("damaged results: %w", errLoopsLeft)
}

// unchanged finds the outputs of the last run when they depend on nothing else
// than those of this one: they are what it would make. What a reader has signed since
// stays as it is signed: a repetition is no word against it.
func (n *Node) unchanged(ctx context.Context, run *store.Run) ([]store.Output, bool, error) {
	runs, err := n.store.Runs(ctx, run.StudyInstanceUID)
	if err != nil {
		return nil, false, err
	}
	last := slices.IndexFunc(runs, func(r store.Run) bool { return r.Revision < run.Revision && !r.Finished.IsZero() })
	if last < 0 {
		return nil, false, nil
	}
	basis := runs[last].Basis
	for _, r := range runs[last+1:] { // the newer first
		if !strings.HasPrefix(basis, signedBasis) {
			break
		}
		if !r.Finished.IsZero() {
			basis = r.Basis
		}
	}
	if basis != run.Basis {
		return nil, false, nil
	}
	doc, err := n.readResult(ctx, &runs[last])
	if n.lost(&runs[last], err) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	forms := formsOf(doc)
	made, err := n.store.Outputs(ctx, run.StudyInstanceUID)
	if err != nil {
		return nil, false, err
	}
	if slices.ContainsFunc(made, func(o store.RunOutput) bool {
		return o.Kind == result.KindWithdrawal && o.Revision > runs[last].Revision
	}) {
		return nil, false, nil // it was taken back meanwhile
	}
	var outputs []store.Output
	for _, o := range made {
		if o.Revision == runs[last].Revision {
			o.For = forms[o.SOPInstanceUID]
			outputs = append(outputs, o.Output)
		}
	}
	run.Directory, run.Summary, run.Like = runs[last].Directory, runs[last].Summary, runs[last].Revision
	n.log.Info("nothing has changed since the last run", "study", run.StudyInstanceUID, "revision", run.Revision)
	return outputs, true, nil
}

// make makes the outputs of a run.
func (n *Node) make(ctx context.Context, run *store.Run, req Request) ([]store.Output, error) {
	// Each attempt has a folder of its own: a process that was taken for dead may
	// still write into the one before.
	former := []string{strconv.Itoa(run.Revision)}
	for attempt := max(2, run.Attempt-10); attempt < run.Attempt; attempt++ {
		former = append(former, runFolder(run.Revision, attempt))
	}
	w, err := n.workplace(ctx, run, runFolder(run.Revision, run.Attempt), former...)
	if err != nil {
		return nil, err
	}
	defer w.close()
	req.Dir = w.dir
	doc, err := n.processor.Process(ctx, req)
	if err != nil {
		return nil, err
	}
	return n.record(ctx, run, w, doc)
}

// runFolder names the folder of a run's attempt.
func runFolder(revision, attempt int) string {
	if attempt > 1 {
		return fmt.Sprintf("%d.%d", revision, attempt)
	}
	return strconv.Itoa(revision)
}

// resultFile is the document of a run, in its directory.
const resultFile = "result.json"

// maxDocument bounds what is read of one.
const maxDocument = 1 << 30

// record puts the document beside the outputs, makes all of them durable and
// lists the DICOM objects among them.
func (n *Node) record(ctx context.Context, run *store.Run, w *workplace, doc *result.Document) ([]store.Output, error) {
	series, err := seriesOf(ctx, doc) // while they are files of this machine
	if err != nil {
		return nil, err
	}
	digest, err := w.keep(ctx, run.StudyInstanceUID, doc)
	if err != nil {
		return nil, err
	}
	var outputs []store.Output
	for _, s := range doc.Studies {
		for _, o := range s.Outputs {
			if o.LeftOut != "" {
				n.log.Warn("an output cannot be made: it is left out", "study", run.StudyInstanceUID, "kind", o.Kind, "object", o.Source, "error", o.LeftOut)
			}
			if o.SOPInstanceUID != "" {
				outputs = append(outputs, store.Output{SOPInstanceUID: o.SOPInstanceUID, SOPClassUID: o.SOPClassUID, Kind: o.Kind, Path: o.File, For: o.For})
			}
		}
	}
	made := Summarize(doc)
	made.Digest, made.For, made.Series = digest, formsOf(doc), series
	summary, err := json.Marshal(made)
	if err != nil {
		return nil, err
	}
	run.Summary = string(summary)
	return outputs, nil
}

// seriesOf says of which series the reports are that a run has made, by SOP Instance UID.
func seriesOf(ctx context.Context, doc *result.Document) (map[string]string, error) {
	series := map[string]string{}
	for _, s := range doc.Studies {
		for _, o := range s.Outputs {
			if o.Kind != result.KindReport || o.SOPInstanceUID == "" {
				continue
			}
			id, err := dicomio.IdentifyFile(ctx, o.File, dicomio.Options{})
			if err != nil {
				return nil, fmt.Errorf("report %s: %w", o.SOPInstanceUID, err)
			}
			series[o.SOPInstanceUID] = id.SeriesInstanceUID
		}
	}
	return series, nil
}

// Summary is what the status page shows of a run.
type Summary struct {
	Analysed     int                  `json:"loops_analysed"`
	Refused      int                  `json:"loops_refused"`
	Failed       int                  `json:"loops_failed"`
	Reasons      map[string]int       `json:"reasons,omitempty"` // loops that were refused or failed, by the code of the reason
	Measurements []result.Measurement `json:"measurements"`
	// RemovedBefore is result.Study's.
	RemovedBefore bool   `json:"removed_before,omitempty"`
	Digest        string `json:"result_sha256,omitempty"` // of the run's document
	// For says for which destinations outputs were made, by SOP Instance UID, see
	// result.Output; nil in runs of earlier versions, which do not say it here, and
	// in what [StatusPage] reports.
	For map[string][]string `json:"outputs_for,omitzero"`
	// Series are those of the run's reports, by SOP Instance UID, so that a report that
	// follows can refer to one whose file is lost. Runs of earlier versions do not say
	// it, and what [StatusPage] reports doesn't either.
	Series map[string]string `json:"report_series,omitempty"`
}

// Summarize counts a document's loops and keeps the values that were measured.
func Summarize(doc *result.Document) Summary {
	var s Summary
	for _, st := range doc.Studies {
		s.RemovedBefore = s.RemovedBefore || st.RemovedBefore
		for _, l := range st.Loops {
			switch l.Status {
			case result.Analysed:
				s.Analysed++
			case result.Refused:
				s.Refused++
			default:
				s.Failed++
			}
			if l.Status != result.Analysed && l.Reason != nil {
				if s.Reasons == nil {
					s.Reasons = map[string]int{}
				}
				s.Reasons[l.Reason.Code]++
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

// predecessors are the reports of the latest finished run before this one: the
// usual one, and those of destinations with a form of their own. Where there was
// none, they are those that were sent before the study was removed. All have a
// SeriesInstanceUID.
func (n *Node) predecessors(ctx context.Context, study string, revision int) (usual *store.Output, own map[string]*store.Output, err error) {
	// What was taken back before any destination had it supersedes nothing, and is
	// superseded by nothing.
	deliveries, err := n.store.Deliveries(ctx, study)
	if err != nil {
		return nil, nil, err
	}
	goes := map[string]bool{}
	for _, d := range deliveries {
		goes[d.SOPInstanceUID] = goes[d.SOPInstanceUID] || d.State != store.Dead || d.Sending
	}
	last, err := n.latestReports(ctx, study, func(o store.RunOutput) bool {
		return o.Revision < revision && (goes[o.SOPInstanceUID] || len(n.opt.Destinations) == 0)
	})
	if err == nil && len(last) == 0 {
		last, err = n.formerReports(ctx, study)
	}
	if err == nil {
		last, err = n.withSeries(ctx, study, last)
	}
	if err != nil || len(last) == 0 {
		return nil, nil, err
	}
	own = map[string]*store.Output{}
	for _, o := range last {
		names := o.For
		if len(names) == 0 {
			names = []string{""}
		}
		for _, name := range names {
			if name == "" && usual == nil {
				usual = &o
			} else if name != "" && own[name] == nil {
				own[name] = &o
			}
		}
	}
	return usual, own, nil
}

// withSeries completes reports of runs of earlier versions, which say in their files
// only of which series they are. One whose file is lost no other can refer to, and
// none waits for it.
func (n *Node) withSeries(ctx context.Context, study string, reports []store.Output) ([]store.Output, error) {
	hold := n.files.Hold()
	defer hold.Release()
	var out []store.Output
	for _, o := range reports {
		if o.SeriesInstanceUID == "" {
			id, err := identityIn(ctx, hold, o.Path)
			if unobtainable(err) {
				n.log.Warn("a report cannot be read: the one that follows does not name it", "study", study, "object", o.SOPInstanceUID, "error", err)
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("predecessor: %w", err)
			}
			o.SeriesInstanceUID = id.SeriesInstanceUID
		}
		out = append(out, o)
	}
	return out, nil
}

// formerReports are those that were sent before the study was removed, if they
// are of the patient that it is of now.
func (n *Node) formerReports(ctx context.Context, study string) ([]store.Output, error) {
	sent, err := n.store.SentReports(ctx, study)
	if err != nil || len(sent) == 0 {
		return nil, err
	}
	now, err := n.persons(ctx, study)
	if err != nil {
		return nil, err
	}
	var out []store.Output
	for _, s := range sent {
		if result.Patients(append(slices.Clone(now), personIs(s.Person))) > 1 {
			n.log.Warn("a report that was sent before the study was removed is of another patient: it is not named as predecessor",
				"study", study, "object", s.SOPInstanceUID)
			continue
		}
		out = append(out, s.Output)
	}
	return out, nil
}

// latestReports are those reports of a study of the newest run of which there
// are any, with For and, where the run says it, SeriesInstanceUID.
func (n *Node) latestReports(ctx context.Context, study string, which func(store.RunOutput) bool) ([]store.Output, error) {
	made, err := n.store.Outputs(ctx, study)
	if err != nil {
		return nil, err
	}
	made = slices.DeleteFunc(made, func(o store.RunOutput) bool { return o.Kind != result.KindReport || !which(o) })
	if len(made) == 0 {
		return nil, nil
	}
	runs, err := n.store.Runs(ctx, study)
	if err != nil {
		return nil, err
	}
	newest := made[0].Revision
	var forms map[string][]string
	var series map[string]string
	if i := slices.IndexFunc(runs, func(r store.Run) bool { return r.Revision == newest }); i >= 0 {
		if forms, err = n.forms(ctx, &runs[i]); err != nil {
			return nil, err
		}
		series = summaryOf(&runs[i]).Series
	}
	var out []store.Output
	for _, o := range made {
		if o.Revision != newest {
			break
		}
		o.For, o.SeriesInstanceUID = forms[o.SOPInstanceUID], series[o.SOPInstanceUID]
		out = append(out, o.Output)
	}
	return out, nil
}

// summaryOf is what the database has of a run's outputs. One that cannot be read
// says nothing.
func summaryOf(run *store.Run) (s Summary) {
	if err := json.Unmarshal([]byte(run.Summary), &s); err != nil {
		return Summary{}
	}
	return s
}

// readResult reads the document of a run. What is there and is not what was
// written is an error wrapping [result.ErrDamaged].
func (n *Node) readResult(ctx context.Context, run *store.Run) (*result.Document, error) {
	b, err := objects.ReadAll(ctx, n.files, below(run.Directory, resultFile), maxDocument)
	if err != nil {
		return nil, err
	}
	doc, err := result.Decode(b, run.Summary)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", resultFile, err)
	}
	return doc, nil
}

// forms says for which destinations the outputs of a run were made. Most runs
// say it in their summary, so that their document needs not be read for it.
func (n *Node) forms(ctx context.Context, run *store.Run) (map[string][]string, error) {
	if s := summaryOf(run); s.For != nil {
		return s.For, nil
	}
	doc, err := n.readResult(ctx, run)
	if err != nil && !n.lost(run, err) {
		return nil, err
	}
	return formsOf(doc), nil
}

// lost reports whether the document of a former run is not there any more, or is
// not what was written: a new run does without it.
func (n *Node) lost(run *store.Run, err error) bool {
	if errors.Is(err, result.ErrDamaged) {
		n.log.Error("the result of a run is damaged", "study", run.StudyInstanceUID, "revision", run.Revision, "error", err)
		return true
	}
	return unobtainable(err)
}

// unobtainable reports whether a file of a former run is not there, is not what it
// was, cannot be read from a disk that works, or is none of the object store that is
// configured now: no waiting brings it back. What this process may not read does not
// count, see nextLook.
func unobtainable(err error) bool {
	return err != nil && !errors.Is(err, fs.ErrPermission) &&
		(lost(err) || errors.Is(err, objects.ErrUnreadable) || errors.Is(err, objects.ErrName) || !passes(err))
}

// identityIn reads what the file of an object says to be. An error wrapping
// [objects.ErrUnreadable]: the disk works, but not for this file.
func identityIn(ctx context.Context, hold *objects.Hold, name string) (id dicomio.Identity, err error) {
	err = readIn(ctx, hold, name, func(path string) (err error) {
		id, err = dicomio.IdentifyFile(ctx, path, dicomio.Options{})
		return err
	})
	return id, err
}

// readIn has the file of an object read. Where files are this machine's they are read
// when they are asked for, so that the store can tell a bad sector from a disk that is
// away.
func readIn(ctx context.Context, hold *objects.Hold, name string, read func(path string) error) error {
	hold.Expect(name, read)
	path, err := hold.File(ctx, name)
	if err != nil {
		return err
	}
	return read(path)
}

// formsOf says for which destinations outputs were made, see result.Output.
func formsOf(doc *result.Document) map[string][]string {
	forms := map[string][]string{}
	if doc == nil {
		return forms
	}
	for _, s := range doc.Studies {
		for _, o := range s.Outputs {
			if len(o.For) > 0 {
				forms[o.SOPInstanceUID] = o.For
			}
		}
	}
	return forms
}
