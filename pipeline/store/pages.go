package store

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Query selects studies. The zero value selects the newest MaxPage.
type Query struct {
	UID    string  // one study
	States []State // in one of these states; none: in any
	After  string  // the cursor of the page before
	Limit  int     // studies a page; 0: MaxPage
}

// MaxPage is the most studies that one page lists.
const MaxPage = 1000

// Page lists studies, the last touched first, and gives the cursor of the next
// page, "" after the last one.
func (s *Store) Page(ctx context.Context, q Query) (studies []Study, next string, err error) {
	if q.Limit <= 0 || q.Limit > MaxPage {
		q.Limit = MaxPage
	}
	where, args := []string{"1 = 1"}, []any{}
	if q.UID != "" {
		where, args = append(where, "study_uid = ?"), append(args, q.UID)
	}
	if len(q.States) > 0 {
		where, args = append(where, "state IN ("+listRows+")"), append(args, list(q.States))
	}
	if q.After != "" {
		ms, uid, ok := strings.Cut(q.After, ":")
		at, err := strconv.ParseInt(ms, 10, 64)
		if !ok || err != nil {
			return nil, "", fmt.Errorf("cursor %q: %w", q.After, ErrCursor)
		}
		where, args = append(where, "(last_received_at, study_uid) < (?, ?)"), append(args, at, uid)
	}
	query := studyColumns + " WHERE " + strings.Join(where, " AND ") + " ORDER BY last_received_at DESC, study_uid DESC LIMIT ?"
	studies, err = collect(ctx, s.read, scanStudy, query, append(args, q.Limit+1)...)
	if err == nil && len(studies) > q.Limit {
		studies = studies[:q.Limit]
		last := studies[q.Limit-1]
		next = fmt.Sprintf("%d:%s", last.Last.UnixMilli(), last.StudyInstanceUID)
	}
	return studies, next, err
}

// Work is how much of a study there is and how much is done.
type Work struct {
	Objects, Loops, LoopsDone int
	Corrected                 int    // objects whose attributes were replaced
	Conflicts                 int    // objects under whose UID another picture was refused
	Derived                   int    // secondary captures and ultrasound images that are no loops
	Problem                   string // of a loop that waits for another attempt
}

// WorkOf counts objects and loops of studies, by Study Instance UID.
func (s *Store) WorkOf(ctx context.Context, studies []string) (map[string]Work, error) {
	type row struct {
		uid  string
		work Work
	}
	rows, err := collect(ctx, s.read, func(r *sql.Rows) (w row, err error) {
		return w, r.Scan(&w.uid, &w.work.Objects, &w.work.Loops, &w.work.LoopsDone, &w.work.Problem, &w.work.Corrected, &w.work.Conflicts, &w.work.Derived)
	}, `SELECT i.study_uid, count(*), count(l.sop_uid), count(*) FILTER (WHERE l.state IN ('done','failed')),
			coalesce(max(l.problem) FILTER (WHERE l.state = 'waiting'), ''), count(*) FILTER (WHERE i.corrections > 0), count(c.sop_uid),
			count(*) FILTER (WHERE l.sop_uid IS NULL AND (i.sop_class = '1.2.840.10008.5.1.4.1.1.7' OR i.sop_class LIKE '1.2.840.10008.5.1.4.1.1.7.%'
				OR i.sop_class IN ('1.2.840.10008.5.1.4.1.1.3', '1.2.840.10008.5.1.4.1.1.3.1', '1.2.840.10008.5.1.4.1.1.6', '1.2.840.10008.5.1.4.1.1.6.1')))
		FROM instances i LEFT JOIN loops l ON l.sop_uid = i.sop_uid LEFT JOIN conflicts c ON c.sop_uid = i.sop_uid
		WHERE i.study_uid IN (`+listRows+`) GROUP BY i.study_uid`, list(studies))
	out := make(map[string]Work, len(rows))
	for _, r := range rows {
		out[r.uid] = r.work
	}
	return out, err
}

// RunsOf lists the runs of studies, newest first, by Study Instance UID.
func (s *Store) RunsOf(ctx context.Context, studies []string) (map[string][]Run, error) {
	runs, err := collect(ctx, s.read, scanRun, runColumns+`WHERE study_uid IN (`+listRows+`) ORDER BY revision DESC`, list(studies))
	out := make(map[string][]Run, len(studies))
	for _, r := range runs {
		out[r.StudyInstanceUID] = append(out[r.StudyInstanceUID], r)
	}
	return out, err
}

// DeliveriesOf lists the deliveries of studies, newest run first, by Study
// Instance UID.
func (s *Store) DeliveriesOf(ctx context.Context, studies []string) (map[string][]Delivery, error) {
	type row struct {
		uid string
		d   Delivery
	}
	rows, err := collect(ctx, s.read, func(r *sql.Rows) (w row, err error) {
		var status sql.NullInt64
		var at int64
		err = r.Scan(&w.uid, &w.d.SOPInstanceUID, &w.d.SOPClassUID, &w.d.Kind, &w.d.Path, &w.d.RunID, &w.d.Destination, &w.d.State,
			&w.d.Attempts, &status, &w.d.Comment, &w.d.Error, &at)
		if status.Valid {
			v := uint16(status.Int64)
			w.d.Status = &v
		}
		w.d.Updated = time.UnixMilli(at)
		return w, err
	}, `SELECT r.study_uid, o.sop_uid, o.sop_class, o.kind, o.path, d.run_id, d.destination, d.state, d.attempts, d.status, d.comment, d.error, d.updated_at
		FROM deliveries d JOIN outputs o ON o.sop_uid = d.sop_uid JOIN runs r ON r.id = d.run_id
		WHERE r.study_uid IN (`+listRows+`) ORDER BY r.revision DESC, d.destination, o.kind DESC, o.sop_uid`, list(studies))
	out := make(map[string][]Delivery, len(studies))
	for _, r := range rows {
		out[r.uid] = append(out[r.uid], r.d)
	}
	return out, err
}
