package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// ErrOutdated says that a study has gone on since a reader opened it.
var ErrOutdated = errors.New("the study has changed meanwhile")

// Review is what a reader signed.
type Review struct {
	Verdict      string // see result.Review
	User         string // account
	Name         string // PN
	Organisation string
	Comment      string
	Corrections  string // JSON
	Signed       time.Time
}

// Sign records a reader's review as a run of its own: its outputs and their
// deliveries, all in one transaction. The study must be done and its last run base,
// which the reader looked at, otherwise nothing is recorded and the error wraps
// [ErrOutdated]. Reports and summaries before it that were given up are not sent any
// more.
func (s *Store) Sign(ctx context.Context, r Review, run, base Run, outputs []Output, routes []Route,
	enqueue func(tx *Tx, run int64, destination string) error) (Run, error) {
	err := s.Transact(ctx, func(tx *Tx) error {
		if err := tx.lock(ctx, run.StudyInstanceUID); err != nil {
			return err
		}
		// Another study that came under its UIDs after a removal has the same revisions.
		err := tx.QueryRowContext(ctx, `UPDATE studies SET revision = revision + 1 WHERE study_uid = ? AND state = 'done' AND revision = ?
			AND EXISTS (SELECT 1 FROM runs r WHERE r.id = ? AND r.study_uid = studies.study_uid AND r.revision = studies.revision AND r.finished_at = ?)
			RETURNING revision`, run.StudyInstanceUID, base.Revision, base.ID, base.Finished.UnixMilli()).Scan(&run.Revision)
		if errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("study %s is not at revision %d any more: %w", run.StudyInstanceUID, base.Revision, ErrOutdated)
		}
		if err != nil {
			return err
		}
		at := r.Signed.UnixMilli()
		if err := tx.QueryRowContext(ctx,
			`INSERT INTO runs (id, study_uid, revision, started_at, finished_at, directory, summary, basis) VALUES (`+nextRun+`,?,?,?,?,?,?,?) RETURNING id`,
			run.StudyInstanceUID, run.Revision, run.Started.UnixMilli(), at, run.Directory, run.Summary, run.Basis).Scan(&run.ID); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx,
			`INSERT INTO reviews (run_id, verdict, "user", name, organisation, comment, corrections, signed_at) VALUES (?,?,?,?,?,?,?,?)`,
			run.ID, r.Verdict, r.User, r.Name, r.Organisation, r.Comment, r.Corrections, at); err != nil {
			return err
		}
		if err := deliver(ctx, tx, run.ID, outputs, routes, enqueue); err != nil {
			return err
		}
		return supersede(ctx, tx, run.StudyInstanceUID)
	})
	if err != nil {
		return Run{}, fmt.Errorf("sign: %w", err)
	}
	return run, nil
}

// Reviews are the reviews of a study by the revision of their run.
func (s *Store) Reviews(ctx context.Context, study string) (map[int]Review, error) {
	type row struct {
		Review
		revision int
	}
	all, err := collect(ctx, s.read, func(r *sql.Rows) (v row, err error) {
		var at int64
		err = r.Scan(&v.revision, &v.Verdict, &v.User, &v.Name, &v.Organisation, &v.Comment, &v.Corrections, &at)
		v.Signed = time.UnixMilli(at)
		return v, err
	}, `SELECT r.revision, v.verdict, v."user", v.name, v.organisation, v.comment, v.corrections, v.signed_at
		FROM reviews v JOIN runs r ON r.id = v.run_id WHERE r.study_uid = ?`, study)
	out := make(map[int]Review, len(all))
	for _, v := range all {
		out[v.revision] = v.Review
	}
	return out, err
}
