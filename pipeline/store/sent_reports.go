package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
)

// SentReport is a report that destinations have of a study that was removed: with
// For, and without Path.
type SentReport struct {
	Output
	Person // whose it is
}

// SentReports are the reports that destinations have of a study that was
// removed, as [Store.Delete] was told.
func (s *Store) SentReports(ctx context.Context, study string) ([]SentReport, error) {
	sent, err := collect(ctx, s.read, func(r *sql.Rows) (o SentReport, err error) {
		var forms string
		err = r.Scan(&o.SOPInstanceUID, &o.SOPClassUID, &o.SeriesInstanceUID, &forms, &o.Patient, &o.Issuer, &o.Family, &o.Given, &o.Born, &o.Sex)
		o.Kind = reportKind
		return o, errors.Join(err, json.Unmarshal([]byte(forms), &o.For))
	}, `SELECT sop_uid, sop_class, series_uid, forms, patient, issuer, family, given, born, sex FROM sent_reports WHERE study_uid = ? ORDER BY sop_uid`, study)
	if err != nil {
		return nil, fmt.Errorf("reports of a removed study: %w", err)
	}
	return sent, nil
}

const reportKind = "report" // see package result

// keepSent records the reports of a study that is removed in place of those of
// an earlier removal, if there are any.
func keepSent(ctx context.Context, tx *Tx, study string, sent []SentReport) error {
	if len(sent) == 0 {
		return nil
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM sent_reports WHERE study_uid = ?`, study); err != nil {
		return err
	}
	for _, o := range sent {
		if _, err := tx.ExecContext(ctx, `INSERT INTO sent_reports 
			(study_uid, sop_uid, sop_class, series_uid, forms, patient, issuer, family, given, born, sex, removed_at) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)`,
			study, o.SOPInstanceUID, o.SOPClassUID, o.SeriesInstanceUID, list(o.For),
			o.Patient, o.Issuer, o.Family, o.Given, o.Born, o.Sex, tx.now().UnixMilli()); err != nil {
			return err
		}
	}
	return nil
}
