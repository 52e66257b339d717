package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// Commitment is a question to a destination: to which objects of a run, whose
// answers were lost, it has committed. The answer may come to another process.
type Commitment struct {
	RunID          int64
	Destination    string
	TransactionUID string
	Asked          time.Time
	Answered       bool
}

// AskCommitment records a question before it is asked, in place of the one
// before.
func (s *Store) AskCommitment(ctx context.Context, c Commitment) error {
	_, err := s.db.ExecContext(ctx, `INSERT INTO commitments (run_id, destination, transaction_uid, asked_at) VALUES (?,?,?,?)
		ON CONFLICT (run_id, destination) DO UPDATE SET transaction_uid = excluded.transaction_uid, asked_at = excluded.asked_at, answered = 0`,
		c.RunID, c.Destination, c.TransactionUID, c.Asked.UnixMilli())
	if err != nil {
		return fmt.Errorf("record a question for commitment: %w", err)
	}
	return nil
}

const commitmentColumns = `SELECT run_id, destination, transaction_uid, asked_at, answered FROM commitments `

// Commitment is what a destination was asked of a run, or ErrNotFound.
func (s *Store) Commitment(ctx context.Context, run int64, destination string) (Commitment, error) {
	return s.commitment(ctx, commitmentColumns+`WHERE run_id = ? AND destination = ?`, run, destination)
}

// CommitmentOf is the question with a Transaction UID, or ErrNotFound.
func (s *Store) CommitmentOf(ctx context.Context, transaction string) (Commitment, error) {
	return s.commitment(ctx, commitmentColumns+`WHERE transaction_uid = ?`, transaction)
}

func (s *Store) commitment(ctx context.Context, query string, args ...any) (Commitment, error) {
	found, err := collect(ctx, s.read, func(r *sql.Rows) (c Commitment, err error) {
		var asked int64
		var answered int
		err = r.Scan(&c.RunID, &c.Destination, &c.TransactionUID, &asked, &answered)
		c.Asked, c.Answered = time.UnixMilli(asked), answered != 0
		return c, err
	}, query, args...)
	if err != nil {
		return Commitment{}, fmt.Errorf("question for commitment: %w", err)
	}
	if len(found) == 0 {
		return Commitment{}, fmt.Errorf("question for commitment: %w", ErrNotFound)
	}
	return found[0], nil
}

// AnswerCommitment records what a destination says of deliveries that are in
// doubt, see [Store.Doubtful]: those of has are sent, those of lacks have not
// arrived. It returns those that are sent by that. Another question is not
// answered by it: ErrNotFound.
func (s *Store) AnswerCommitment(ctx context.Context, c Commitment, has, lacks []string) (sent []string, err error) {
	err = s.Transact(ctx, func(tx *Tx) error {
		sent = nil
		if err := tx.lockOf(ctx, `SELECT study_uid FROM runs WHERE id = ?`, c.RunID); err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx, `UPDATE commitments SET answered = 1 WHERE transaction_uid = ? AND answered = 0`, c.TransactionUID)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			if err == nil {
				err = ErrNotFound
			}
			return err
		}
		const doubtful = ` WHERE run_id = ? AND sop_uid = ? AND destination = ? AND state = 'pending' AND sending = 1`
		for _, uid := range has {
			res, err := tx.ExecContext(ctx, `UPDATE deliveries SET state = 'sent', attempts = attempts + 1, sending = 0, status = 0,
				comment = '', error = '', updated_at = ?`+doubtful,
				tx.now().UnixMilli(), c.RunID, uid, c.Destination)
			if err != nil {
				return err
			}
			if n, err := res.RowsAffected(); err != nil {
				return err
			} else if n > 0 {
				sent = append(sent, uid)
			}
		}
		for _, uid := range lacks {
			if _, err := tx.ExecContext(ctx, `UPDATE deliveries SET sending = 0`+doubtful, c.RunID, uid, c.Destination); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("record an answer for commitment: %w", err)
	}
	return sent, nil
}

// EndCommitment forgets a question: an answer that still comes changes nothing.
func (s *Store) EndCommitment(ctx context.Context, c Commitment) error {
	if _, err := s.db.ExecContext(ctx, `DELETE FROM commitments WHERE transaction_uid = ?`, c.TransactionUID); err != nil {
		return fmt.Errorf("forget a question for commitment: %w", err)
	}
	return nil
}
