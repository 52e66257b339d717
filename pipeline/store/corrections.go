package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Replace records another version of a recorded object: the same picture with
// other attributes. Its loop is to be analysed again, its study, and the one it
// was in before if that is another, go back to Receiving, and the file of the
// former version is to be deleted, see [Store.Removals]. What was made of the
// studies and has not been sent is not sent any more, since it may be another
// patient's; unsent says how many deliveries that were. What of it is made again
// as it was gets a delivery again. ErrNotFound: no such object is recorded.
func (s *Store) Replace(ctx context.Context, in Instance) (unsent int64, err error) {
	err = s.tx(ctx, func(tx *sql.Tx) error {
		now := in.Received.UnixMilli()
		var path, study string
		err := tx.QueryRowContext(ctx, `SELECT path, study_uid FROM instances WHERE sop_uid = ?`, in.SOPInstanceUID).Scan(&path, &study)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrNotFound
		}
		if err != nil {
			return err
		}
		// The newest version of a study's attributes counts, whatever a clock that was set back says.
		arrived := now
		if err := tx.QueryRowContext(ctx, `SELECT max(?, coalesce(max(received_at), 0)) FROM instances WHERE study_uid = ?`, now, in.StudyInstanceUID).Scan(&arrived); err != nil {
			return err
		}
		for _, step := range []struct {
			query string
			args  []any
		}{
			{`INSERT INTO studies (study_uid, state, first_received_at, last_received_at, sender) VALUES (?, 'done', ?, ?, ?) ON CONFLICT (study_uid) DO NOTHING`,
				[]any{in.StudyInstanceUID, now, now, in.Sender}},
			{`UPDATE instances SET study_uid = ?, series_uid = ?, transfer_syntax = ?, path = ?, size = ?, calling_ae = ?, received_at = ?,
				patient = ?, issuer = ?, family = ?, born = ?, corrections = corrections + 1 WHERE sop_uid = ?`,
				[]any{in.StudyInstanceUID, in.SeriesInstanceUID, in.TransferSyntaxUID, in.Path, in.Size, in.CallingAE, arrived, in.Patient, in.Issuer, in.Family, in.Born, in.SOPInstanceUID}},
			{`DELETE FROM removals WHERE path = ?`, []any{in.Path}},
			{`INSERT OR IGNORE INTO removals (path, sop_uid) SELECT ?1, ?2 WHERE ?1 <> ?3`, []any{path, in.SOPInstanceUID, in.Path}},
			// Whoever works on the former version finds its lease gone.
			{`UPDATE loops SET study_uid = ?1, state = 'waiting', token = token + 1, attempts = 0, deaths = 0, not_before = 0, problem = '', result = '',
				number = CASE WHEN study_uid = ?1 THEN number ELSE (SELECT 1 + coalesce(max(n.number), 0) FROM loops n WHERE n.study_uid = ?1) END WHERE sop_uid = ?2`,
				[]any{in.StudyInstanceUID, in.SOPInstanceUID}},
		} {
			if _, err := tx.ExecContext(ctx, step.query, step.args...); err != nil {
				return err
			}
		}
		res, err := tx.ExecContext(ctx, `DELETE FROM deliveries WHERE state IN ('pending','dead')
			AND run_id IN (SELECT id FROM runs WHERE study_uid IN (?, ?))`, study, in.StudyInstanceUID)
		if err != nil {
			return err
		}
		if unsent, err = res.RowsAffected(); err != nil {
			return err
		}
		return touch(ctx, tx, now, study, in.StudyInstanceUID)
	})
	if err != nil {
		return 0, fmt.Errorf("replace instance: %w", err)
	}
	return unsent, nil
}

// touch takes studies back to Receiving, or those without loops to Done.
func touch(ctx context.Context, tx *sql.Tx, now int64, studies ...string) error {
	slices.Sort(studies)
	for _, uid := range slices.Compact(studies) {
		if _, err := tx.ExecContext(ctx, `UPDATE studies SET
			first_received_at = CASE state WHEN 'receiving' THEN first_received_at ELSE ?1 END, last_received_at = ?1, error = '',
			state = CASE WHEN EXISTS (SELECT 1 FROM loops l WHERE l.study_uid = studies.study_uid) THEN 'receiving' ELSE 'done' END
			WHERE study_uid = ?2`, now, uid); err != nil {
			return err
		}
	}
	return nil
}

// DeleteInstances removes objects of a study, as [Store.Delete] does all of
// them, and takes the study back to Receiving. It says how many there were.
func (s *Store) DeleteInstances(ctx context.Context, study string, sopUIDs []string) (n int, err error) {
	err = s.tx(ctx, func(tx *sql.Tx) error {
		uids := list(sopUIDs)
		if _, err := tx.ExecContext(ctx, `INSERT OR IGNORE INTO removals (path, sop_uid) SELECT path, sop_uid FROM instances
			WHERE study_uid = ? AND sop_uid IN (SELECT value FROM json_each(?))`, study, uids); err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx, `DELETE FROM instances WHERE study_uid = ? AND sop_uid IN (SELECT value FROM json_each(?))`, study, uids)
		if err != nil {
			return err
		}
		k, err := res.RowsAffected()
		if n = int(k); err != nil || n == 0 {
			return err
		}
		return touch(ctx, tx, time.Now().UnixMilli(), study)
	})
	if err != nil {
		return 0, fmt.Errorf("delete instances: %w", err)
	}
	return n, nil
}

// RecordConflict notes that another picture came under the UID of a recorded
// object and was refused.
func (s *Store) RecordConflict(ctx context.Context, sopUID, callingAE string) error {
	_, err := s.db.ExecContext(ctx, `INSERT INTO conflicts (sop_uid, count, last_at, calling_ae) VALUES (?, 1, ?, ?)
		ON CONFLICT (sop_uid) DO UPDATE SET count = count + 1, last_at = excluded.last_at, calling_ae = excluded.calling_ae`,
		sopUID, time.Now().UnixMilli(), callingAE)
	if err != nil {
		return fmt.Errorf("record conflict: %w", err)
	}
	return nil
}
