package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Replace records other versions of recorded objects: the same pictures with
// other attributes. Their loops are to be analysed again, their studies, and
// those they were in before, go back to Receiving, and the files of the former
// versions are to be deleted, see [Store.Removals]. What was made of the
// studies and has not been sent is not sent any more, since it may be another
// patient's, and a run that is under way records nothing; unsent says how many
// deliveries that were. What of it is made again as it was gets a delivery
// again. All of it happens or nothing. ErrNotFound: an object is not recorded.
func (s *Store) Replace(ctx context.Context, instances ...Instance) (unsent int64, err error) {
	err = s.Transact(ctx, func(tx *Tx) error {
		unsent = 0
		if err := lockReplaced(ctx, tx, instances); err != nil {
			return err
		}
		studies := map[string]int64{} // when they were last touched
		for _, in := range instances {
			former, err := replace(ctx, tx, in)
			if err != nil {
				return err
			}
			for _, study := range []string{former, in.StudyInstanceUID} {
				studies[study] = max(studies[study], in.Received.UnixMilli())
			}
		}
		for _, study := range slices.Sorted(maps.Keys(studies)) {
			n, err := withdraw(ctx, tx, study)
			if err != nil {
				return err
			}
			unsent += n
			if err := touch(ctx, tx, studies[study], study); err != nil {
				return err
			}
			if err := recall(ctx, tx, study); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("replace instances: %w", err)
	}
	return unsent, nil
}

// lockReplaced makes the studies that objects are moved to, and locks them and
// those that the objects were in.
func lockReplaced(ctx context.Context, tx *Tx, instances []Instance) error {
	studies, objects := map[string]Instance{}, make([]string, len(instances))
	for i, in := range instances {
		studies[in.StudyInstanceUID], objects[i] = in, in.SOPInstanceUID
	}
	for _, study := range slices.Sorted(maps.Keys(studies)) {
		in := studies[study]
		now := in.Received.UnixMilli()
		if _, err := tx.ExecContext(ctx,
			`INSERT INTO studies (study_uid, state, first_received_at, last_received_at, sender) VALUES (?, 'done', ?, ?, ?) ON CONFLICT (study_uid) DO NOTHING`,
			study, now, now, in.Sender); err != nil {
			return err
		}
	}
	return tx.lockOf(ctx, `SELECT study_uid FROM instances WHERE sop_uid IN (`+listRows+`) UNION SELECT study_uid FROM studies WHERE study_uid IN (`+listRows+`)`,
		list(objects), list(slices.Collect(maps.Keys(studies))))
}

// replace records another version of an object, and gives the study in which
// the former was.
func replace(ctx context.Context, tx *Tx, in Instance) (former string, err error) {
	now := in.Received.UnixMilli()
	var path string
	err = tx.QueryRowContext(ctx, `SELECT path, study_uid FROM instances WHERE sop_uid = ?`, in.SOPInstanceUID).Scan(&path, &former)
	if errors.Is(err, sql.ErrNoRows) {
		return "", ErrNotFound
	}
	if err != nil {
		return "", err
	}
	// The newest version of a study's attributes counts, whatever a clock that was set back says.
	var newest int64
	if err := tx.QueryRowContext(ctx, `SELECT coalesce(max(received_at), 0) FROM instances WHERE study_uid = ?`, in.StudyInstanceUID).Scan(&newest); err != nil {
		return "", err
	}
	arrived := max(now, newest)
	for _, step := range []struct {
		query string
		args  []any
	}{
		{`UPDATE instances SET study_uid = ?, series_uid = ?, transfer_syntax = ?, path = ?, size = ?, calling_ae = ?, received_at = ?,
			patient = ?, issuer = ?, family = ?, given = ?, born = ?, sex = ?, sum = ?, corrections = corrections + 1 WHERE sop_uid = ?`,
			[]any{in.StudyInstanceUID, in.SeriesInstanceUID, in.TransferSyntaxUID, in.Path, in.Size, in.CallingAE, arrived, in.Patient, in.Issuer, in.Family, in.Given,
				in.Born, in.Sex, tied(in.Sum, in.Path), in.SOPInstanceUID}},
		{`DELETE FROM removals WHERE path = ?`, []any{in.Path}},
		{`INSERT INTO removals (path, sop_uid) SELECT ?1, ?2 WHERE ?1 <> ?3 ON CONFLICT DO NOTHING`, []any{path, in.SOPInstanceUID, in.Path}},
		// Whoever works on the former version finds its lease gone.
		{`UPDATE loops SET study_uid = ?1, state = 'waiting', token = token + 1, attempts = 0, deaths = 0, not_before = 0, problem = '', result = '',
			number = CASE WHEN study_uid = ?1 THEN number ELSE (SELECT 1 + coalesce(max(n.number), 0) FROM loops n WHERE n.study_uid = ?1) END WHERE sop_uid = ?2`,
			[]any{in.StudyInstanceUID, in.SOPInstanceUID}},
	} {
		if _, err := tx.ExecContext(ctx, step.query, step.args...); err != nil {
			return "", err
		}
	}
	return former, nil
}

// Heal records that an object's bytes are in another file now, since the former
// was damaged or gone, and of whom they are; that file is to be deleted. A loop that has no result, or
// one with a problem, is to be analysed again.
func (s *Store) Heal(ctx context.Context, in Instance) error {
	err := s.Transact(ctx, func(tx *Tx) error {
		var path, study string
		if err := tx.lockOf(ctx, `SELECT study_uid FROM instances WHERE sop_uid = ?`, in.SOPInstanceUID); err != nil {
			return err
		}
		err := tx.QueryRowContext(ctx, `SELECT path, study_uid FROM instances WHERE sop_uid = ?`, in.SOPInstanceUID).Scan(&path, &study)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrNotFound
		}
		if err != nil {
			return err
		}
		for _, step := range []struct {
			query string
			args  []any
		}{
			{`UPDATE instances SET path = ?, size = ?, patient = ?, issuer = ?, family = ?, given = ?, born = ?, sex = ?, sum = ? WHERE sop_uid = ?`,
				[]any{in.Path, in.Size, in.Patient, in.Issuer, in.Family, in.Given, in.Born, in.Sex, tied(in.Sum, in.Path), in.SOPInstanceUID}},
			{`DELETE FROM removals WHERE path = ?`, []any{in.Path}},
			{`INSERT INTO removals (path, sop_uid) SELECT ?1, ?2 WHERE ?1 <> ?3 ON CONFLICT DO NOTHING`, []any{path, in.SOPInstanceUID, in.Path}},
		} {
			if _, err := tx.ExecContext(ctx, step.query, step.args...); err != nil {
				return err
			}
		}
		res, err := tx.ExecContext(ctx, `UPDATE loops SET state = 'waiting', token = token + 1, attempts = 0, deaths = 0, not_before = 0, problem = '', result = ''
			WHERE sop_uid = ? AND (state <> 'done' OR problem <> '')`, in.SOPInstanceUID)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return err
		}
		return touch(ctx, tx, in.Received.UnixMilli(), study)
	})
	if err != nil {
		return fmt.Errorf("heal an object: %w", err)
	}
	return nil
}

// underWay is said of deliveries that were withdrawn while they were being sent.
const underWay = "withdrawn while it was being sent: the destination may have it"

// withdraw forgets what of a study has not been sent, and the run that is under
// way: see [Store.FinishRun]. What is being sent, or was when its answer was
// lost, counts as sent with a Warning until an answer comes, so that it can be
// taken back: its column sending is 2.
func withdraw(ctx context.Context, tx *Tx, study string) (unsent int64, err error) {
	if _, err := tx.ExecContext(ctx, `DELETE FROM runs WHERE study_uid = ? AND finished_at IS NULL AND error = ''`, study); err != nil {
		return 0, err
	}
	if _, err := tx.ExecContext(ctx,
		`UPDATE deliveries SET state = 'warning', sending = 2, error = ?, updated_at = ? WHERE state IN ('pending','dead') AND sending = 1
		AND run_id IN (SELECT id FROM runs WHERE study_uid = ?)`, underWay, tx.now().UnixMilli(), study); err != nil {
		return 0, err
	}
	res, err := tx.ExecContext(ctx, `DELETE FROM deliveries WHERE state IN ('pending','dead')
		AND run_id IN (SELECT id FROM runs WHERE study_uid = ?)`, study)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// StudiesOf lists the studies that hold objects of a patient, given as a digest
// of the Patient ID, and of the issuer unless that is empty.
func (s *Store) StudiesOf(ctx context.Context, patient, issuer string) ([]string, error) {
	return collect(ctx, s.read, func(r *sql.Rows) (uid string, err error) { return uid, r.Scan(&uid) },
		`SELECT DISTINCT study_uid FROM instances WHERE patient = ?1 AND (?2 = '' OR coalesce(issuer, '') IN ('', ?2)) ORDER BY study_uid`, patient, issuer)
}

// touch takes a study back to Receiving, or one without loops to Done.
func touch(ctx context.Context, tx *Tx, now int64, study string) error {
	_, err := tx.ExecContext(ctx, `UPDATE studies SET
		first_received_at = CASE state WHEN 'receiving' THEN first_received_at ELSE ?1 END, last_received_at = ?1, error = '',
		state = CASE WHEN EXISTS (SELECT 1 FROM loops l WHERE l.study_uid = studies.study_uid) THEN 'receiving' ELSE 'done' END
		WHERE study_uid = ?2`, now, study)
	return err
}

// recall takes a study without loops to Receiving when results of it have been
// sent, so that a run can take them back.
func recall(ctx context.Context, tx *Tx, study string) error {
	_, err := tx.ExecContext(ctx, `UPDATE studies SET state = 'receiving' WHERE study_uid = ?1 AND state = 'done'
		AND NOT EXISTS (SELECT 1 FROM loops l WHERE l.study_uid = ?1)
		AND EXISTS (SELECT 1 FROM deliveries d JOIN runs r ON r.id = d.run_id WHERE r.study_uid = ?1 AND d.state IN ('sent','warning'))`, study)
	return err
}

// DeleteInstances removes objects of a study, as [Store.Delete] does all of
// them, and takes the study back to Receiving. What was made with them and has
// not been sent is not sent any more, and a run that is under way records
// nothing: they may be another patient's. It says how many objects there were,
// and how many deliveries are not made.
func (s *Store) DeleteInstances(ctx context.Context, study string, sopUIDs []string) (n int, unsent int64, err error) {
	err = s.Transact(ctx, func(tx *Tx) error {
		unsent = 0
		uids := list(sopUIDs)
		if err := tx.lock(ctx, study); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO removals (path, sop_uid) SELECT path, sop_uid FROM instances
			WHERE study_uid = ? AND sop_uid IN (`+listRows+`) ON CONFLICT DO NOTHING`, study, uids); err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx, `DELETE FROM instances WHERE study_uid = ? AND sop_uid IN (`+listRows+`)`, study, uids)
		if err != nil {
			return err
		}
		k, err := res.RowsAffected()
		if n = int(k); err != nil || n == 0 {
			return err
		}
		if unsent, err = withdraw(ctx, tx, study); err != nil {
			return err
		}
		if err := touch(ctx, tx, tx.now().UnixMilli(), study); err != nil {
			return err
		}
		return recall(ctx, tx, study)
	})
	if err != nil {
		return 0, 0, fmt.Errorf("delete instances: %w", err)
	}
	return n, unsent, nil
}

// RecordConflict notes that another picture came under the UID of a recorded
// object and was refused.
func (s *Store) RecordConflict(ctx context.Context, sopUID, callingAE string) error {
	_, err := s.db.ExecContext(ctx, `INSERT INTO conflicts (sop_uid, count, last_at, calling_ae) VALUES (?, 1, ?, ?)
		ON CONFLICT (sop_uid) DO UPDATE SET count = conflicts.count + 1, last_at = excluded.last_at, calling_ae = excluded.calling_ae`,
		sopUID, s.Now().UnixMilli(), callingAE)
	if err != nil {
		return fmt.Errorf("record conflict: %w", err)
	}
	return nil
}
