package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/echonode/echonode/pipeline/store"
)

// StudyStatus is the state of a study for people and monitors. It holds UIDs
// and results, no names of patients.
type StudyStatus struct {
	StudyInstanceUID string           `json:"study_instance_uid"`
	State            store.State      `json:"state"`
	Revision         int              `json:"revision"`
	Received         time.Time        `json:"last_received"`
	Objects          int              `json:"objects"`
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

// Status reports one study, or all of them when uid is empty.
func Status(ctx context.Context, st *store.Store, uid string) ([]StudyStatus, error) {
	var studies []store.Study
	if uid == "" {
		all, err := st.Studies(ctx)
		if err != nil {
			return nil, err
		}
		studies = all
	} else {
		one, err := st.Study(ctx, uid)
		if err != nil {
			return nil, err
		}
		studies = append(studies, one)
	}
	out := []StudyStatus{}
	for _, s := range studies {
		status := StudyStatus{StudyInstanceUID: s.StudyInstanceUID, State: s.State, Revision: s.Revision, Received: s.Last, Error: s.Error}
		instances, err := st.Instances(ctx, s.StudyInstanceUID)
		if err != nil {
			return nil, err
		}
		status.Objects = len(instances)
		if s.State != store.Done && s.State != store.Failed {
			done, total, err := st.LoopsDone(ctx, s.StudyInstanceUID)
			if err != nil {
				return nil, err
			}
			status.Progress = fmt.Sprintf("%d/%d", done, total)
		}
		runs, err := st.Runs(ctx, s.StudyInstanceUID)
		if err != nil {
			return nil, err
		}
		for _, r := range runs {
			rs := RunStatus{Revision: r.Revision, Started: r.Started, Error: r.Error, Directory: r.Directory}
			if !r.Finished.IsZero() {
				rs.Seconds = r.Finished.Sub(r.Started).Seconds()
			}
			if r.Summary != "" {
				if err := json.Unmarshal([]byte(r.Summary), &rs.Summary); err != nil {
					return nil, err
				}
			}
			status.Runs = append(status.Runs, rs)
		}
		deliveries, err := st.Deliveries(ctx, s.StudyInstanceUID)
		if err != nil {
			return nil, err
		}
		for _, d := range deliveries {
			status.Deliveries = append(status.Deliveries, DeliveryStatus{Destination: d.Destination, Kind: d.Kind, SOPInstanceUID: d.SOPInstanceUID,
				State: d.State, Attempts: d.Attempts, Status: d.Status, Comment: d.Comment, Error: d.Error, Updated: d.Updated})
		}
		out = append(out, status)
	}
	return out, nil
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
//	GET  /healthz                  200 while the store answers
//	GET  /studies[?uid=UID]        []StudyStatus
//	POST /studies/retry?uid=UID    dead deliveries of the study start again
//	POST /studies/reanalyse?uid=UID  a new run of a study that is done or failed
func (n *Node) API() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		if _, err := n.store.Studies(r.Context(), store.Receiving); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("GET /studies", func(w http.ResponseWriter, r *http.Request) {
		studies, err := Status(r.Context(), n.store, r.URL.Query().Get("uid"))
		answer(w, studies, err)
	})
	mux.HandleFunc("POST /studies/retry", func(w http.ResponseWriter, r *http.Request) {
		count, err := n.Retry(r.Context(), r.URL.Query().Get("uid"))
		answer(w, map[string]int{"deliveries": count}, err)
	})
	mux.HandleFunc("POST /studies/reanalyse", func(w http.ResponseWriter, r *http.Request) {
		err := n.Reanalyse(r.Context(), r.URL.Query().Get("uid"))
		answer(w, map[string]string{"state": string(store.Queued)}, err)
	})
	// The page a browser shows must not be able to act here from elsewhere.
	return http.NewCrossOriginProtection().Handler(mux)
}

func answer(w http.ResponseWriter, v any, err error) {
	switch {
	case errors.Is(err, store.ErrNotFound):
		http.Error(w, err.Error(), http.StatusNotFound)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	default:
		w.Header().Set("Content-Type", "application/json")
		enc := json.NewEncoder(w)
		enc.SetIndent("", " ")
		_ = enc.Encode(v)
	}
}
