package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/echonode/echonode/pipeline/store"
	"github.com/echonode/echonode/scp"
)

// StudyStatus is the state of a study for people and monitors. It holds UIDs
// and results, no names of patients.
type StudyStatus struct {
	StudyInstanceUID string           `json:"study_instance_uid"`
	State            store.State      `json:"state"`
	Revision         int              `json:"revision"`
	Received         time.Time        `json:"last_received"`
	Objects          int              `json:"objects"`
	Corrected        int              `json:"objects_corrected,omitempty"`   // sent again with other attributes
	Conflicts        int              `json:"objects_conflicting,omitempty"` // under whose UID another picture was refused
	Remarks          []string         `json:"remarks,omitempty"`             // why objects are in no run
	Error            string           `json:"error,omitempty"`
	Progress         string           `json:"progress,omitempty"` // "3/24" loops looked at, until done or failed
	Runs             []RunStatus      `json:"runs,omitempty"`
	Deliveries       []DeliveryStatus `json:"deliveries,omitempty"`
}

// RunStatus is one analysis.
type RunStatus struct {
	Revision  int       `json:"revision"`
	Started   time.Time `json:"started"`
	Seconds   float64   `json:"seconds,omitempty"`
	Error     string    `json:"error,omitempty"`
	Directory string    `json:"directory,omitempty"`
	Summary   *Summary  `json:"summary,omitempty"`
}

// DeliveryStatus is one object at one destination.
type DeliveryStatus struct {
	Destination    string              `json:"destination"`
	Kind           string              `json:"kind"`
	SOPInstanceUID string              `json:"sop_instance_uid"`
	State          store.DeliveryState `json:"state"`
	Attempts       int                 `json:"attempts"`
	Status         *uint16             `json:"status,omitempty"`
	Comment        string              `json:"comment,omitempty"`
	Error          string              `json:"error,omitempty"`
	Updated        time.Time           `json:"updated"`
}

// StatusPage reports a page of studies, the last touched first, and gives the
// cursor of the next page. A single study that is not there is
// store.ErrNotFound.
func StatusPage(ctx context.Context, st *store.Store, q store.Query) (page []StudyStatus, next string, err error) {
	studies, next, err := st.Page(ctx, q)
	if err != nil {
		return nil, "", err
	}
	if q.UID != "" && len(studies) == 0 {
		return nil, "", fmt.Errorf("study %s: %w", q.UID, store.ErrNotFound)
	}
	uids := make([]string, len(studies))
	for i, s := range studies {
		uids[i] = s.StudyInstanceUID
	}
	work, err := st.WorkOf(ctx, uids)
	if err != nil {
		return nil, "", err
	}
	runs, err := st.RunsOf(ctx, uids)
	if err != nil {
		return nil, "", err
	}
	deliveries, err := st.DeliveriesOf(ctx, uids)
	if err != nil {
		return nil, "", err
	}
	page = make([]StudyStatus, len(studies))
	for i, s := range studies {
		uid := s.StudyInstanceUID
		if page[i], err = statusOf(s, work[uid], runs[uid], deliveries[uid]); err != nil {
			return nil, "", err
		}
	}
	return page, next, nil
}

// statusOf puts together what is recorded of a study.
func statusOf(s store.Study, w store.Work, runs []store.Run, deliveries []store.Delivery) (StudyStatus, error) {
	status := StudyStatus{StudyInstanceUID: s.StudyInstanceUID, State: s.State, Revision: s.Revision, Received: s.Last, Error: s.Error, Objects: w.Objects,
		Corrected: w.Corrected, Conflicts: w.Conflicts}
	if w.Derived > 0 {
		status.Remarks = append(status.Remarks,
			fmt.Sprintf("%d images that were derived from others begin no run and are not measured", w.Derived))
	}
	if left := w.Loops - w.LoopsDone; left > 0 && s.State == store.Done {
		status.Remarks = append(status.Remarks,
			fmt.Sprintf("%d derived images that may be of another program came after the report: the next run takes them along", left))
	}
	if s.State != store.Done && s.State != store.Failed {
		status.Progress = fmt.Sprintf("%d/%d", w.LoopsDone, w.Loops)
		if w.Problem != "" && status.Error == "" {
			status.Error = "will be tried again: " + w.Problem
		}
	}
	for _, r := range runs {
		rs := RunStatus{Revision: r.Revision, Started: r.Started, Error: r.Error, Directory: r.Directory}
		if !r.Finished.IsZero() {
			rs.Seconds = r.Finished.Sub(r.Started).Seconds()
		}
		if r.Summary != "" {
			if err := json.Unmarshal([]byte(r.Summary), &rs.Summary); err != nil {
				return status, err
			}
			rs.Summary.For, rs.Summary.Series = nil, nil // the node's own
			if rs.Summary.RemovedBefore && len(status.Runs) == 0 {
				status.Remarks = append(status.Remarks, "the study was removed after an earlier report: the newest is of the objects that came since alone")
			}
		}
		status.Runs = append(status.Runs, rs)
	}
	for _, d := range deliveries {
		status.Deliveries = append(status.Deliveries, DeliveryStatus{Destination: d.Destination, Kind: d.Kind, SOPInstanceUID: d.SOPInstanceUID,
			State: d.State, Attempts: d.Attempts, Status: d.Status, Comment: d.Comment, Error: d.Error, Updated: d.Updated})
	}
	return status, nil
}

// Finished reports whether nothing more will happen to the study by itself:
// it is done or failed, and every delivery was answered or given up.
func (s StudyStatus) Finished() bool {
	if s.State != store.Done && s.State != store.Failed {
		return false
	}
	for _, d := range s.Deliveries {
		if d.State == store.Pending {
			return false
		}
	}
	return true
}

// API serves the state of the node over HTTP:
//
//	GET  /healthz                    200 while objects are taken, 503 while they are refused, see [Health]
//	GET  /health                     the same as JSON
//	GET  /studies                    []StudyStatus, the last touched first, a page at a time
//	       ?uid=UID                  one study
//	       ?state=STATE              those in a state; may be repeated
//	       ?limit=N                  studies a page; 100, at most 1000
//	       ?after=CURSOR             the next page: what the header Next-Page of this one said
//	POST /studies/retry?uid=UID      dead deliveries of the study start again
//	POST /studies/reanalyse?uid=UID  a new run of a study that is done or failed
//	POST /studies/remove?uid=UID     the study, its objects and results are deleted
//	       &object=UID               only these objects of it; may be repeated
//	POST /studies/move               the studies get another patient; a form: see [moveForm]
//	POST /patients/merge             so do all studies of a patient; a form: id, issuer, and as above
//	       both answer [Moves], with 207 where it was done in part
//	POST /objects/verify?after=UID   [Verified]: stored objects, some at a time, are compared with what was received
//	       &record=true              those of which nothing is known get the checksum that they have now
//	POST /deliveries/retry           the dead deliveries of all studies start again
//	       ?destination=NAME         those to one destination
//	POST /deliveries/redirect?from=NAME&to=NAME  what is left for one destination goes to another
//	POST /deliveries/drop?destination=NAME       what is left for a destination is given up
//	POST /accounts/sign-out?name=NAME            all sessions of an account at the review page end
func (n *Node) API() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", n.healthz)
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, r *http.Request) { answer(w, n.Health(r.Context()), nil) })
	mux.HandleFunc("GET /studies", n.serveStudies)
	mux.HandleFunc("POST /studies/remove", func(w http.ResponseWriter, r *http.Request) {
		v := r.URL.Query()
		if objects := v["object"]; len(objects) > 0 {
			removed, err := n.RemoveObjects(r.Context(), v.Get("uid"), objects)
			answer(w, removed, err)
			return
		}
		err := n.Remove(r.Context(), v.Get("uid"))
		answer(w, map[string]any{"state": "removed"}, err)
	})
	mux.HandleFunc("POST /deliveries/redirect", func(w http.ResponseWriter, r *http.Request) {
		moved, dropped, err := n.Redirect(r.Context(), r.URL.Query().Get("from"), r.URL.Query().Get("to"))
		answer(w, map[string]int{"deliveries": moved, "dropped": dropped}, err)
	})
	mux.HandleFunc("POST /deliveries/drop", func(w http.ResponseWriter, r *http.Request) {
		count, err := n.Drop(r.Context(), r.URL.Query().Get("destination"))
		answer(w, map[string]int{"deliveries": count}, err)
	})
	mux.HandleFunc("POST /accounts/sign-out", func(w http.ResponseWriter, r *http.Request) {
		count, err := n.SignOut(r.Context(), r.URL.Query().Get("name"), r.RemoteAddr)
		answer(w, map[string]int{"sessions": count}, err)
	})
	mux.HandleFunc("POST /studies/move", func(w http.ResponseWriter, r *http.Request) {
		m, err := moveForm(w, r)
		studies := r.PostForm["uid"]
		if err == nil && len(studies) == 0 {
			err = badRequest("no study is named")
		}
		var all []Moved
		if err == nil {
			all, err = n.moveStudies(r.Context(), studies, m)
		}
		answerMoves(w, all, err)
	})
	mux.HandleFunc("POST /patients/merge", func(w http.ResponseWriter, r *http.Request) {
		m, err := moveForm(w, r)
		var all []Moved
		if err == nil {
			all, err = n.MergePatient(r.Context(), r.PostForm.Get("id"), r.PostForm.Get("issuer"), m)
		}
		answerMoves(w, all, err)
	})
	mux.HandleFunc("POST /objects/verify", n.serveVerify)
	mux.HandleFunc("POST /studies/retry", func(w http.ResponseWriter, r *http.Request) {
		count, err := n.Retry(r.Context(), r.URL.Query().Get("uid"))
		answer(w, map[string]int{"deliveries": count}, err)
	})
	mux.HandleFunc("POST /deliveries/retry", func(w http.ResponseWriter, r *http.Request) {
		count, err := n.RetryAll(r.Context(), r.URL.Query().Get("destination"))
		answer(w, map[string]int{"deliveries": count}, err)
	})
	mux.HandleFunc("POST /studies/reanalyse", func(w http.ResponseWriter, r *http.Request) {
		err := n.Reanalyse(r.Context(), r.URL.Query().Get("uid"))
		answer(w, map[string]string{"state": string(store.Queued)}, err)
	})
	// The page a browser shows must not be able to act here from elsewhere.
	return http.NewCrossOriginProtection().Handler(onlyText(mux))
}

// serveStudies answers with a page of studies.
func (n *Node) serveStudies(w http.ResponseWriter, r *http.Request) {
	v := r.URL.Query()
	q := store.Query{UID: v.Get("uid"), After: v.Get("after"), Limit: defaultPage}
	for _, s := range v["state"] {
		if !slices.Contains(states, store.State(s)) {
			http.Error(w, fmt.Sprintf("%q is no state of a study: they are %v", s, states), http.StatusBadRequest)
			return
		}
		q.States = append(q.States, store.State(s))
	}
	if l := v.Get("limit"); l != "" {
		limit, err := strconv.Atoi(l)
		if err != nil || limit < 1 {
			http.Error(w, "limit is not a number of studies", http.StatusBadRequest)
			return
		}
		q.Limit = limit
	}
	studies, next, err := StatusPage(r.Context(), n.store, q)
	if next != "" {
		w.Header().Set(NextPage, next)
	}
	answer(w, studies, err)
}

// onlyText refuses what no database takes as text.
func onlyText(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, values := range r.URL.Query() {
			for _, v := range values {
				if !utf8.ValidString(v) || strings.ContainsRune(v, 0) {
					http.Error(w, "a parameter is no text", http.StatusBadRequest)
					return
				}
			}
		}
		next.ServeHTTP(w, r)
	})
}

// moveForm reads an order from a form, which stays out of addresses and thus out
// of logs: to_id, to_issuer, to_name, to_birth_date, to_sex; reason, CORRECT or
// COERCE; by, who says so; uid, once for every study; and all_persons, true for
// studies of several persons.
func moveForm(w http.ResponseWriter, r *http.Request) (Move, error) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	if err := r.ParseForm(); err != nil {
		return Move{}, badRequest("no form of at most 1 MiB")
	}
	v := r.PostForm
	m := Move{To: Patient{ID: v.Get("to_id"), Issuer: v.Get("to_issuer"), Name: v.Get("to_name"), BirthDate: v.Get("to_birth_date"), Sex: v.Get("to_sex")},
		Reason: v.Get("reason"), By: scp.Printable(v.Get("by")[:min(len(v.Get("by")), 64)]), From: r.RemoteAddr, AllPersons: v.Get("all_persons") == "true"}
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		m.From = host
	}
	return m, m.check()
}

// Moves is what became of an order to move studies.
type Moves struct {
	Studies []Moved `json:"studies"`
	// Error is why the rest of the studies were left as they are.
	Error string `json:"error,omitempty"`
}

// moveStudies moves studies, until one cannot be moved. All have to be there
// before the first is.
func (n *Node) moveStudies(ctx context.Context, studies []string, m Move) (all []Moved, err error) {
	for _, study := range studies {
		if _, err := n.store.Study(ctx, study); err != nil {
			return nil, err
		}
	}
	for i, study := range studies {
		moved, err := n.MoveStudy(ctx, study, m)
		if err == nil || moved.Objects > 0 {
			all = append(all, moved)
		}
		if err != nil {
			return all, fmt.Errorf("study %s, after %d of %d: %w", study, i, len(studies), err)
		}
	}
	return all, nil
}

// answerMoves tells of the studies that were moved, also where one then failed.
func answerMoves(w http.ResponseWriter, all []Moved, err error) {
	moves := Moves{Studies: all}
	if err != nil {
		if !slices.ContainsFunc(all, func(m Moved) bool { return m.Objects > 0 }) {
			answer(w, nil, err)
			return
		}
		moves.Error = err.Error()
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusMultiStatus)
	}
	answer(w, moves, nil)
}

// states are those of studies.
var states = []store.State{store.Receiving, store.Queued, store.Analysing, store.Done, store.Failed}

// NextPage is the header of an answer with the cursor of the next page.
const NextPage = "Next-Page"

// defaultPage is how many studies a page lists.
const defaultPage = 100

// conflict is an error that comes of what else happens to a study: it may pass.
type conflict string

func (e conflict) Error() string { return string(e) }

func answer(w http.ResponseWriter, v any, err error) {
	switch {
	case errors.Is(err, store.ErrNotFound):
		http.Error(w, err.Error(), http.StatusNotFound)
	case errors.Is(err, store.ErrCursor), errors.As(err, new(badRequest)):
		http.Error(w, err.Error(), http.StatusBadRequest)
	case errors.As(err, new(conflict)):
		http.Error(w, err.Error(), http.StatusConflict)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	default:
		w.Header().Set("Content-Type", "application/json")
		enc := json.NewEncoder(w)
		enc.SetIndent("", " ")
		_ = enc.Encode(v)
	}
}
